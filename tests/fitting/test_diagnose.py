"""What a fit says about itself: which direction is open, which runs lie off, and silence where all is well."""

import numpy as np
import pandas as pd
import pytest

from scaling.errors import FitError
from scaling.fitting import fit
from scaling.fitting.diagnose import null_direction, standardised
from scaling.fitting.problem import Problem
from scaling.fitting.scale import Coordinates
from scaling.fitting.solver import evaluate
from scaling.laws.chinchilla import CHINCHILLA

TRUTH = np.array([1.7, 400.0, 900.0, 0.34, 0.31])


def ladder(noise=0.003, seed=0, budgets=6, sizes=8, low=1e18, high=1e21, factor=8.0):
    rng = np.random.default_rng(seed)
    offset, c = np.meshgrid(np.linspace(-np.log(factor), np.log(factor), sizes), np.geomspace(low, high, budgets))
    n = 0.3 * np.sqrt(c / 6) * np.exp(offset)
    runs = pd.DataFrame({"n_params": n.ravel(), "n_tokens": (c / 6 / n).ravel()})
    loss = CHINCHILLA.predict({k: runs[k].to_numpy() for k in CHINCHILLA.inputs}, TRUTH)
    runs["loss"] = loss * np.exp(noise * rng.standard_normal(len(runs)))
    runs["run"] = [f"r{i}" for i in range(len(runs))]
    return runs


def codes(result):
    return [w.code for w in result.warnings]


def message(result, code):
    return next(w.message for w in result.warnings if w.code == code)


@pytest.mark.parametrize("objective", ["robust", "hoffmann"])
def test_outliers_are_named_with_how_far_they_lie_and_stay_in(objective):
    runs = ladder()
    runs.loc[[11, 30], "loss"] *= [1.06, 0.97]
    result = fit(CHINCHILLA, runs, objective)
    words = message(result, "outliers")
    assert "2 runs lie" in words and words.index("r11") < words.index("r30")  # the furthest first
    assert "r11 (+6" in words and "r30 (-3" in words
    assert ("no influence" in words) == (objective == "robust")
    assert int(result.n_runs) == len(runs)
    size = standardised(result)
    assert size[11] > 4.685 and size[30] < -4.685
    assert np.count_nonzero(np.abs(size) > 4.685) == 2


def test_outliers_of_groups_have_the_names_of_their_own_rows():
    first, second = ladder(seed=3).assign(group="x"), ladder(seed=2).iloc[:40].assign(group="y")
    second.loc[5, "loss"] *= 1.08
    second["run"] = "y-" + second["run"]
    result = fit(CHINCHILLA, pd.concat([first, second], ignore_index=True), "robust", by="group")
    assert "outliers" not in [w.code for w in result.warnings[0]]
    assert "y-r5 (+" in next(w.message for w in result.warnings[1] if w.code == "outliers")


def test_healthy_sweeps_raise_nothing():
    found = [c for seed in range(25) for c in codes(fit(CHINCHILLA, ladder(seed=seed), "robust"))]
    assert len(found) <= 2, found


def test_the_null_direction_is_that_of_the_floor_and_both_exponents():
    runs = ladder(budgets=4, low=1e19, high=1e21)
    coordinates = Coordinates(CHINCHILLA, {})
    problem = Problem(
        {k: runs[k].to_numpy() for k in CHINCHILLA.inputs}, runs["loss"].to_numpy(), np.ones((1, len(runs)))
    )
    result = fit(CHINCHILLA, runs)
    _, jac = evaluate(coordinates, result.objective, problem, coordinates.to_working(TRUTH)[None])
    words = null_direction(coordinates, jac[0])
    assert words == "E and both exponents can rise together"
    # and it is true: moving the three the other way against each other costs the runs far more

    def cost(*powers):
        held = {n: float(TRUTH[k] * 1.06**p) for n, k, p in zip(("E", "alpha", "beta"), (0, 3, 4), powers, strict=True)}
        clean = ladder(noise=0.0, budgets=4, low=1e19, high=1e21)
        return float(fit(CHINCHILLA, clean, "squared-log", fixed=held).objective_value)

    assert cost(1, 1, 1) < 0.35 * min(cost(1, -1, -1), cost(1, -1, 1), cost(1, 1, -1))


def test_a_floor_that_is_not_pinned_down_is_said_to_be_open():
    result = fit(CHINCHILLA, ladder(noise=0.03, budgets=4, low=1e19, high=1e20, seed=1), "squared-log")
    words = message(result, "weakly_determined")
    assert "not pinned down" in words and "can rise" in words and "E" in words
    assert "weakly_determined" in str(result)


def test_a_run_that_decides_is_named():
    runs = ladder(noise=0.002, budgets=4, sizes=7)
    lever = runs.iloc[[0]].assign(n_params=3e12, n_tokens=3e8, run="lever")
    x = {k: lever[k].to_numpy() for k in CHINCHILLA.inputs}
    lever["loss"] = CHINCHILLA.predict(x, TRUTH) * 1.01
    result = fit(CHINCHILLA, pd.concat([runs, lever], ignore_index=True), "squared-log")
    words = message(result, "one_run_decides")
    assert "without lever" in words
    without = fit(CHINCHILLA, runs, "squared-log")
    name = words.split("lever ")[1].split(" ")[0]
    k = CHINCHILLA.coef_names.index(name)
    error = np.sqrt(result.covariance[k, k])
    assert abs(np.log(without.theta[k] / result.theta[k])) > 0.5 * error  # it does move, and not only to first order


@pytest.mark.parametrize("n", [5, 6])
def test_fewer_runs_than_coefficients_and_two_are_refused(n):
    with pytest.raises(FitError, match="at least 7"):
        fit(CHINCHILLA, ladder().sample(n, random_state=0))


def test_too_few_sizes_are_said_to_be():
    runs = ladder()
    runs = runs.assign(n_params=np.where(runs.n_params > 1e9, 3e9, 3e8))
    result = fit(CHINCHILLA, runs)
    assert result.status == "undetermined"
    assert "only 2 distinct values of n_params" in result.message
