"""Every published number of docs/reproduced.md comes out of this package again, within the tolerance stated beside it."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _script():
    path = ROOT / "benchmarks" / "reproduced.py"
    spec = importlib.util.spec_from_file_location("benchmark_reproduced", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks its own module up
    spec.loader.exec_module(module)
    return module


SCRIPT = _script()


def row(how="rel", published=2.0, ours=2.0, tolerance=0.1, **more):
    return SCRIPT.Row("data", "target", published, ours, how, tolerance, "why", **more)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SCRIPT.SLOW else n for n in SCRIPT.TARGETS]
)
def test_published_numbers_are_reproduced(reference, name):
    rows = SCRIPT.TARGETS[name](reference("INDEX.md").parent)
    assert rows
    # where the source is known not to give its own number, agreeing would be news as well
    astray = [f"{r.target}: {r.published} published, {r.ours} here" for r in rows if not r.as_stated]
    assert not astray
    assert len({(r.target, r.origin) for r in rows}) == len(rows)  # two rows of one name could hide each other


def test_every_folder_of_reference_data_has_rows_or_a_reason(reference):
    folders = {p.name for p in reference("INDEX.md").parent.iterdir() if p.is_dir()}
    told = {name.split(",")[0] for name in (*SCRIPT.TARGETS, *SCRIPT.WITHOUT)}
    assert folders == told & folders
    assert told <= folders


@pytest.mark.parametrize(
    ("how", "ours", "met"),
    [
        ("rel", 2.19, True), ("rel", 2.21, False), ("rel", 1.79, False), ("rel", float("nan"), False),
        ("abs", 2.09, True), ("abs", 1.85, False),
        ("at most", 0.1, True), ("at most", 2.19, True), ("at most", 2.21, False),
        ("at least", 9.0, True), ("at least", 1.81, True), ("at least", 1.79, False),
    ],
)  # fmt: skip
def test_a_tolerance_means_what_it_says(how, ours, met):
    assert row(how, ours=ours).met is met
    assert row(how, ours=ours, reproducible=False).as_stated is not met


def test_relative_differences_have_the_sign_of_the_gap_for_negative_numbers():
    assert row(published=-2.0, ours=-2.1).difference == pytest.approx(-0.05)
    assert row("at most", published=-2.0, ours=-2.1, tolerance=0.0).met
    assert row("abs", published=0.0, ours=0.5, tolerance=1.0).difference == 0.5


def test_the_page_says_what_was_not_reproduced():
    page = SCRIPT.markdown({"data": [row(), row(ours=3.0, reproducible=False)]})
    assert "2 targets, 1 within" in page
    assert page.count("**not met**") == 1
    assert "- data, target: 2 published, 3 here." in page


def test_the_stored_page_has_the_targets_of_the_script(reference):
    """The page is written by the script; here only its targets and published numbers are compared, ours may move."""
    page = (ROOT / "docs" / "reproduced.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", page, re.M) == list(SCRIPT.TARGETS)
    folder = reference("INDEX.md").parent
    for name in ("gadre-overtraining", "grokking-adamw", "steplaw-hparams"):
        fresh = SCRIPT.markdown({name: SCRIPT.TARGETS[name](folder)}).split(f"## {name}")[1]
        stored = page.split(f"## {name}\n")[1].split("\n## ")[0]

        def targets(text):
            return [line.split(" | ")[:2] for line in text.splitlines() if line.startswith("| ")]

        assert targets(fresh) == targets(stored)
