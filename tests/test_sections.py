"""Every kind of result has its section in a report, and the section says what the result says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import scaling
from scaling.curves.mirage import mirage
from scaling.logs import read_table
from scaling.sections import section

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def runs():
    return scaling.read_runs(DATA / "ladder" / "runs.csv")


@pytest.fixture(scope="module")
def draws(runs):
    return scaling.bootstrap(scaling.fit("chinchilla", runs), 60)


@pytest.fixture(scope="module")
def evals():
    return read_table([str(DATA / "emergence" / "addition.csv")])


def test_of_a_fit(draws):
    said = section(draws)
    assert said.equation == draws.law.equation
    assert len(said.charts) == 3  # the fit, the cloud of exponents, the residuals
    assert said.tables[0][1]["estimate"].tolist() == draws.coef_table()["estimate"].tolist()
    assert said.warnings == tuple(w.message for w in draws.point.warnings)


def test_of_a_fit_without_resamples(draws):
    assert len(section(draws.point).charts) == 2


def test_of_plans(draws):
    made = scaling.plan(draws, flops=1e14)
    said = section(made)
    assert said.heading == str(made).splitlines()[0]
    assert len(said.charts) == 1
    several = scaling.plan_each({"own": draws, "published": scaling.published("besiroglu2024")}, flops=1e14)
    assert section(several).tables[0][1]["law"].tolist() == ["own", "published", "average"]


def test_of_comparisons_of_laws_budgets_and_designs(runs, draws):
    compared = scaling.compare(["chinchilla", "kaplan"], runs, n_resamples=20)
    best = scaling.isoflop(runs, n_resamples=20)
    made = scaling.design(draws.point, 1e14, 1e13)
    for result in (compared, best, made):
        assert section(result).finding == result.finding
    assert section(made).tables[0][1] is made.runs


def test_of_curves(draws, evals):
    table = read_table([str(DATA / "double_descent" / "width.csv")])
    table = table[(table["ridge"] == 0) & (table["label_noise"] == 0.1)].reset_index(drop=True)
    options = {"n_items": "n_items", "score": "exact_match", "n_draws": 40}
    risen, of_loss = (scaling.emergence(evals, x=x, **options) for x in ("flops", "loss"))
    parts = mirage(evals, exact="exact_match", per_token="per_digit", n_items="n_items", n_draws=40)
    late = scaling.grokking(read_table([str(DATA / "grokking" / "curves.csv")]))
    along = scaling.score_along(scaling.allocate(draws, np.geomspace(1e12, 1e14, 5)), of_loss)
    for result in (scaling.double_descent(table, n_resamples=40), risen, parts, late, along):
        said = section(result)
        assert said.finding == result.finding
        assert said.tables


def test_of_runs_and_laws(runs):
    assert "38 runs" in section(runs).text
    assert len(section(runs.drop(columns="n_params")).charts) == 0
    law = section(scaling.get("chinchilla"))
    assert "besiroglu2024" in law.tables[1][1]["key"].tolist()


def test_of_a_refit_store(tmp_path):
    for seed in (0, 1):
        scaling.refit(
            [str(DATA / "ladder" / "runs.csv")],
            ["chinchilla"],
            store=tmp_path / "s",
            resamples=20,
            seed=seed,
            workers=1,
        )
    said = section(tmp_path / "s")
    assert len(said.charts) == 5
    assert [caption for caption, _ in said.tables][-1] == "What the last refit changed"
