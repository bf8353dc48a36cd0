"""Run the code of the generated pages and write its output under it: python docs/refresh_pages.py [PAGE...]

In these pages a block fenced as `python` is followed by one fenced as `text` with what it prints; a block fenced as `console`
holds commands and what they print, as in the README. Each python block runs on its own, the names of earlier ones gone; in a
page that says `<!-- one session -->` they run one after the other.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("docs/topics.md", "docs/chinchilla_and_emergence.md")
PAIR = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<out>.*?)```\n)?", re.DOTALL)
CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)
ONE_SESSION = "<!-- one session -->"


def output_of(code: str, names: dict[str, object]) -> str:
    """What a block of Python prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "page", "exec"), names)
    return "".join(line.rstrip() + "\n" for line in printed.getvalue().rstrip().splitlines())


def refreshed(text: str) -> str:
    """The page with present outputs."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        from refresh_readme import run_console
    finally:
        sys.path.remove(str(ROOT / "docs"))
    shared: dict[str, object] = {}

    def renewed(match: re.Match[str]) -> str:
        out = output_of(match["code"], shared if ONE_SESSION in text else {})
        return f"```python\n{match['code']}```\n\n```text\n{out}```\n"

    text = PAIR.sub(renewed, text)
    return CONSOLE.sub(lambda m: f"```console\n{run_console(m[1])}```", text)


if __name__ == "__main__":
    os.chdir(ROOT)
    for name in sys.argv[1:] or PAGES:
        page = Path(name)
        page.write_text(refreshed(page.read_text(encoding="utf-8")), encoding="utf-8")
