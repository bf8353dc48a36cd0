"""Leave-one-out influence: the table is what refits say, and the first-order form that every fit uses agrees with it."""

import numpy as np
import pandas as pd
import pytest

from scaling.errors import FitError
from scaling.fitting import fit
from scaling.fitting.diagnose import one_step
from scaling.fitting.solver import evaluate
from scaling.laws import get
from scaling.laws.chinchilla import CHINCHILLA
from scaling.uncertainty import best_size, influence, jackknife, outliers
from tests.fitting.test_diagnose import ladder


def closed_form(theta, flops):
    _, A, B, alpha, beta = theta
    return (np.log(alpha * A / (beta * B)) + beta * np.log(flops / 6)) / (alpha + beta)


def test_best_size_is_hoffmanns_closed_form():
    theta = np.array([[1.7, 400.0, 900.0, 0.34, 0.31], [1.9, 500.0, 300.0, 0.3, 0.35]])
    got = best_size(CHINCHILLA, 1e23)(theta)
    np.testing.assert_allclose(got, [closed_form(t, 1e23) for t in theta], rtol=1e-12)


def test_best_size_of_a_law_without_one():
    with pytest.raises(FitError, match="no best model size"):
        best_size(get("power_n"), 1e23)


def test_the_most_influential_run_is_the_one_whose_absence_moves_the_optimum_most():
    runs = ladder(noise=0.004, seed=2, budgets=4, sizes=6)
    runs.loc[23, "loss"] *= 0.985  # the largest size of the largest budget
    result = fit(CHINCHILLA, runs, "squared-log")
    table = influence(result, flops=1e23)
    moved = [
        closed_form(fit(CHINCHILLA, runs.drop(index=i), "squared-log").theta, 1e23) - closed_form(result.theta, 1e23)
        for i in range(len(runs))
    ]
    assert table["run"].iloc[0] == f"r{int(np.argmax(np.abs(moved)))}"
    np.testing.assert_allclose(table.sort_values("row")["shift"], moved, rtol=1e-4, atol=1e-7)


def test_first_order_influence_agrees_with_refits():
    runs = ladder(noise=0.002, seed=4)
    result = fit(CHINCHILLA, runs, "squared-log")
    coordinates = result.coordinates
    u = coordinates.to_working(result.theta)
    residual, jac = (a[0] for a in evaluate(coordinates, result.objective, result.problem, u[None]))
    moved = one_step(jac, residual, np.ones(len(runs)), jac @ jac.T)
    exact = (coordinates.to_working(jackknife(result)) - u).T
    error = np.sqrt(np.diagonal(result.covariance))[:, None]
    np.testing.assert_allclose(moved / error, exact / error, atol=0.08)
    assert np.corrcoef(moved[3], exact[3])[0, 1] > 0.99


def test_outliers_table_is_empty_without_and_right_with():
    runs = ladder(seed=5)
    assert outliers(fit(CHINCHILLA, runs, "robust")).empty
    runs.loc[9, "loss"] *= 1.05
    table = outliers(fit(CHINCHILLA, runs, "robust"))
    assert list(table["run"]) == ["r9"] and table["row"].iloc[0] == 9
    assert table["off"].iloc[0] == pytest.approx(0.05, abs=0.01)
    assert table["residual"].iloc[0] > 10


def test_other_quantities_and_bad_requests():
    result = fit(get("power_n_floor"), ladder()[["n_params", "loss", "run"]], "squared-log")
    assert len(influence(result)) == 48  # the last coefficient, where there is no best size
    assert influence(result, "E")["shift"].abs().is_monotonic_decreasing
    with pytest.raises(FitError, match="one quantity at a time"):
        influence(result, lambda theta: theta)
    batch = fit(CHINCHILLA, pd.concat([ladder().assign(g=1), ladder().assign(g=2)]), by="g")
    with pytest.raises(FitError, match="take a group first"):
        outliers(batch)
