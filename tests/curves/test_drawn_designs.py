"""The benchmark of curves on designs drawn anew: every problem runs on them, and saved rows make the same page."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="module")
def benchmark():
    path = Path(__file__).parents[2] / "benchmarks" / "calibration_curves.py"
    spec = importlib.util.spec_from_file_location("calibration_curves", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows(benchmark):
    return pd.concat([benchmark.measure(p, 1, 0, drawn) for drawn in (False, True) for p in benchmark.PROBLEMS])


def test_every_problem_answers_on_drawn_designs_and_they_are_others(rows):
    stated, drawn = (rows[rows["designs"] == kind] for kind in ("stated", "drawn"))
    assert list(stated["quantity"]) == list(drawn["quantity"])
    assert not np.isclose(stated["truth"], drawn["truth"]).any()
    assert drawn["covered"].notna().sum() >= len(drawn) - 1
    inside = (rows["low"] <= rows["truth"]) & (rows["truth"] <= rows["high"])
    assert (inside[rows["covered"].notna()] == rows["covered"].dropna().astype(bool)).all()


def test_saved_rows_make_the_page_and_replace_only_its_section(benchmark, rows, tmp_path, monkeypatch, capsys):
    saved, page = tmp_path / "rows.csv", tmp_path / "page.md"
    rows.to_csv(saved, index=False)
    page.write_text("# Page\n\nkept\n\n## Curves\n\nstale rows\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["x", "--rows", str(saved), "--append", str(page)])
    assert benchmark.main() == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Page\n\nkept\n\n## Curves") and "stale" not in text
    assert text.count("| double-descent peak |") == 2 and "--sets 1 --seed 0" in text
    assert "Drawn: 18 to 40 sizes" in text
    assert capsys.readouterr().out.strip() in text
