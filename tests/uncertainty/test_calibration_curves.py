"""The benchmark of curves runs, refuses nothing, and counts what its intervals enclose."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def benchmark():
    path = Path(__file__).parents[2] / "benchmarks" / "calibration_curves.py"
    spec = importlib.util.spec_from_file_location("calibration_curves", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_problem_gives_intervals_around_something(benchmark):
    rows = pd.concat([benchmark.measure(problem, 1, 0) for problem in benchmark.PROBLEMS])
    assert set(rows["problem"]) == set(benchmark.PROBLEMS)
    assert len(rows) == 9 and rows["covered"].notna().sum() >= 8
    assert (rows["width"].dropna() > 0).all()
    text = benchmark.section(rows, "command")
    assert all(f"| {q} |" in text for q in rows["quantity"])


def test_coverage_counts_truths_inside_and_refusals_apart(benchmark, monkeypatch):
    cases = iter([(1.0, 0.5, 1.5), (2.0, 0.5, 1.5), (1.0, np.nan, np.nan)])
    monkeypatch.setitem(benchmark.PROBLEMS, "peak", lambda rng: {"x": next(cases)})
    rows = benchmark.measure("peak", 3, 0)
    np.testing.assert_array_equal(rows["covered"], [1.0, 0.0, np.nan])
    assert "| x | 50.0 |" in benchmark.section(rows, "command") and "| 33.3 | 3 |" in benchmark.section(rows, "command")
