"""What the README and the guides print is what the package prints."""

from __future__ import annotations

import doctest
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?")


@pytest.fixture(scope="module")
def refresh():
    spec = importlib.util.spec_from_file_location("refresh_readme", ROOT / "docs" / "refresh_readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def same(printed: str, expected: str) -> None:
    """Equal text; numbers may differ in the last digits that libraries round differently."""
    assert NUMBER.sub("#", printed) == NUMBER.sub("#", expected)
    for a, b in zip(NUMBER.findall(printed), NUMBER.findall(expected), strict=True):
        a, b = float(a.replace(",", "")), float(b.replace(",", ""))
        assert a == pytest.approx(b, rel=0.02, abs=1e-9)


def test_the_readme_shows_what_its_commands_print_today(refresh, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    text = README.replace("--chart docs/ladder.svg", f"--chart {tmp_path}/ladder.svg")
    same(refresh.refreshed(text).replace(str(tmp_path), "docs"), README)
    assert "<svg" in (tmp_path / "ladder.svg").read_text()[:200]


def test_the_picture_of_the_readme_is_there():
    assert (ROOT / "docs" / "ladder.svg").stat().st_size > 5000


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda p: p.name)
def test_the_guides_run(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    text = path.read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```pycon\n(.*?)```", text, re.DOTALL))
    test = doctest.DocTestParser().get_doctest(blocks, {}, path.name, str(path), 0)
    report: list[str] = []
    results = doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert results.failed == 0, "".join(report)


def test_the_two_commands_are_complete_and_ci_runs_the_second_as_it_stands():
    commands = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)[0].strip().splitlines()
    assert len(commands) == 2
    assert all(c.startswith("python3 -m venv .venv && .venv/bin/pip install") for c in commands)
    assert commands[1].endswith("-m pytest -q")
    ci = (ROOT / ".ci" / "run").read_text()
    assert "README.md" in ci, "the command is read from the README, so that the two cannot drift apart"
