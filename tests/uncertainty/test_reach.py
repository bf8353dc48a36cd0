"""What smaller cuts of the same runs would have said: drift and held-out errors."""

import numpy as np
import pytest

from scaling.errors import FitError, RunsError
from scaling.fitting import fit, load_fit
from scaling.laws import get
from scaling.laws.chinchilla import CHINCHILLA
from scaling.uncertainty import distance, drift, held_out_errors
from tests.uncertainty.test_intervals import sweep


def test_cuts_are_the_fits_to_what_is_left():
    runs = sweep(1)
    result = fit(CHINCHILLA, runs, "squared-log")
    found = drift(result)
    assert found.table["n_runs"].tolist()[:2] == [63, 54]
    alone = fit(CHINCHILLA, runs[runs.budget > 0], "squared-log")
    np.testing.assert_allclose(found.table[list(CHINCHILLA.coef_names)].iloc[1], alone.theta, rtol=1e-6)


def test_the_right_law_does_not_drift_and_a_wrong_one_does():
    alarms = sum(bool(drift(fit(CHINCHILLA, sweep(s), "squared-log")).drifting) for s in range(12))
    assert alarms <= 2
    runs = sweep(3, noise=0.001, budgets=14)
    x = runs["flops"].to_numpy()
    law = get("power_c")  # no floor, though there is one
    result = fit(
        law, runs.loc[runs["n_params"].groupby(runs["budget"]).rank() == 5].assign(flops=np.unique(x)), "squared-log"
    )
    found = drift(result)
    assert "alpha" in found.drifting and "alpha" in str(found)
    assert found.table["alpha"].is_monotonic_decreasing  # the floor flattens it


def test_held_out_errors_are_those_of_the_smaller_fit():
    runs = sweep(1)
    result = fit(CHINCHILLA, runs, "squared-log")
    errors = held_out_errors(result)
    last = errors[errors["cut"] == errors["cut"].max()]
    smaller = fit(CHINCHILLA, runs[runs.budget < 6], "squared-log")
    above = runs[runs.budget == 6]
    expected = np.log(above["loss"] / smaller.predict(above))
    np.testing.assert_allclose(last["error"], expected, atol=1e-8)
    np.testing.assert_allclose(last["decades"], 0.5, atol=1e-6)


def test_distance_says_how_far_and_how_wrong():
    result = fit(CHINCHILLA, sweep(1), "squared-log")
    n = np.array([1e9, 1e10, 3e10, 1e14])
    table = distance(result, {"n_params": n, "n_tokens": 20 * n})
    assert table["decades"].iloc[0] == 0 and np.isnan(table["error"].iloc[0])
    assert table["decades"].iloc[1] == pytest.approx(np.log10(6 * 20 * 1e20 / 1e21), abs=1e-6)
    assert 0.001 < table["error"].iloc[1] < 0.02 and table["n"].iloc[1] >= 5
    assert "further than the runs can test" in table["note"].iloc[3]
    # noise ten times as large makes the errors as much larger
    worse = distance(fit(CHINCHILLA, sweep(1, noise=0.03), "squared-log"), {"n_params": n[1], "n_tokens": 20 * n[1]})
    assert worse["error"].iloc[0] > 4 * table["error"].iloc[1]


def test_bad_requests():
    result = fit(CHINCHILLA, sweep(1), "squared-log")
    with pytest.raises(RunsError, match="missing: n_tokens"):
        distance(result, {"n_params": 1e9})
    with pytest.raises(FitError, match="loaded from a file"):
        drift(load_fit(result.to_dict()))
    few = fit(CHINCHILLA, sweep(1, budgets=2, sizes=8), "squared-log")
    with pytest.raises(FitError, match="no cut leaves 15 runs"):
        drift(few)
