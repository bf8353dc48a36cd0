"""Run the README's commands and write their output under them: python docs/refresh_readme.py

A block fenced as `console` holds lines that begin with "$ " and what they print. A block fenced as `pycon` is a doctest. The picture is drawn too.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
_CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)
_PYCON = re.compile(r"```pycon\n(.*?)```", re.DOTALL)


def run_console(block: str) -> str:
    """The block with the present output of each of its commands."""
    from click.testing import CliRunner

    from scaling.cli import main

    out = []
    for line in block.splitlines():
        if line.startswith("$ scaling "):
            done = CliRunner().invoke(main, shlex.split(line)[2:], prog_name="scaling")
            if done.exit_code:
                raise RuntimeError(f"{line}\n{done.stderr}")
            out += [line, *done.stdout.rstrip().splitlines(), ""]
    return "\n".join(out).rstrip() + "\n"


def run_pycon(block: str) -> str:
    """The block with the present output of each of its statements."""
    import doctest

    names: dict[str, object] = {}
    out = []
    for example in doctest.DocTestParser().get_examples(block):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(example.source, "README", "single"), names)
        first, *rest = example.source.rstrip().splitlines()
        out += [f">>> {first}", *(f"... {line}" for line in rest), *printed.getvalue().rstrip().splitlines()]
    return "\n".join(out) + "\n"


def refreshed(text: str) -> str:
    """README text with present outputs; paths are relative to the root of the checkout."""
    text = _CONSOLE.sub(lambda m: f"```console\n{run_console(m[1])}```", text)
    return _PYCON.sub(lambda m: f"```pycon\n{run_pycon(m[1])}```", text)


if __name__ == "__main__":
    os.chdir(ROOT)
    README.write_text(refreshed(README.read_text(encoding="utf-8")), encoding="utf-8")
    sys.exit(0)
