"""The generated pages print what they say they print, and every topic of the table is on the page."""

from __future__ import annotations

import importlib.util
import re
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NUMBER = re.compile(r"[-+]?(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)(?:e[-+]?\d+)?")


def _refresh_pages():
    spec = importlib.util.spec_from_file_location("refresh_pages", ROOT / "docs" / "refresh_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = _refresh_pages()
TOPICS = (ROOT / "docs" / "topics.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"^## ", TOPICS, flags=re.MULTILINE)[1:]


def same(printed: str, expected: str) -> None:
    """Equal words; numbers may differ by what libraries round differently and simulations near a bound flip."""
    words = [" ".join(NUMBER.sub("#", text).split()) for text in (printed, expected)]
    assert words[0] == words[1]
    for a, b in zip(NUMBER.findall(printed), NUMBER.findall(expected), strict=True):
        assert float(a.replace(",", "")) == pytest.approx(float(b.replace(",", "")), rel=0.05, abs=1e-6)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda s: s.splitlines()[0])
def test_every_block_of_the_topics_runs(section, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert "```text" in section or "```console" in section, "a topic shows what its code prints"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(PAGES.refreshed(section), section)


def test_no_block_is_without_output():
    for match in PAGES.PAIR.finditer(TOPICS):
        assert match["out"] and match["out"].strip(), match["code"]


def test_the_page_on_thresholds_runs(reference, monkeypatch):
    reference("chinchilla-epoch")
    monkeypatch.chdir(ROOT)
    text = (ROOT / "docs" / "chinchilla_and_emergence.md").read_text(encoding="utf-8")
    same(PAGES.refreshed(text), text)
    assert len(re.findall(r"^## [1-5]\. ", text, re.MULTILINE)) == 5
    assert text.count("80 %") + text.count("80%") + text.count("95 %") >= 5, "each step has its interval"


def test_the_page_on_false_claims_keeps_its_bounds():
    """A rate may leave its bound by two standard errors of its own simulation, and no more."""
    text = (ROOT / "docs" / "false_claims.md").read_text(encoding="utf-8")
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
    curves = [r for r in rows if r[0] in ("double descent", "grokking")]
    emergence = [r for r in rows if r[1] in ("null", "sudden", "corner")]
    assert len(curves) == 20 and sum(r[1] == "null" for r in emergence) >= 9

    def rate(cell: str) -> float:
        return float(cell.split("%")[0]) / 100

    judged = [(r[2] == "yes", int(r[3]), rate(r[4])) for r in curves if "not judged" not in r[4]]
    judged += [(r[1] != "null", int(r[3]), rate(r[4] if r[1] != "corner" else r[6])) for r in emergence]
    for there, n, share in judged:
        if there:
            assert share >= 0.90 - 2 * (0.9 * 0.1 / n) ** 0.5
        else:
            assert share <= 0.05 + 2 * (0.05 * 0.95 / n) ** 0.5
