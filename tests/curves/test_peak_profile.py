"""The interval of a peak's place: the curves behind it, what it must enclose, and what it must not depend on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scaling.curves import peak_profile
from scaling.curves.double_descent import double_descent
from scaling.fitting import Squared, fit
from scaling.laws.double_descent import double_descent_law

X = np.geomspace(1e4, 1e8, 30)
LAW = double_descent_law("n_params", "loss", (X[0], X[-1]))
THETA = np.array([0.2, 3.0, 0.25, 0.1, 8e5, 1.1, 0.05])  # E, A, alpha, tau, peak, nu, ridge
SEEDS = 3


def top_of(theta: np.ndarray, low: float = 1e5, high: float = 1e7) -> float:
    """Where the curve is highest above the valley before, on a fine grid."""
    at = np.geomspace(low, high, 40001)
    value = LAW.predict({"n_params": at}, theta)
    return float(at[np.argmax((value - np.minimum.accumulate(value))[:-1])])


def observed(noise: float, seed: int) -> np.ndarray:
    """Mean log values (n,) over SEEDS repeats."""
    clean = np.log(LAW.predict({"n_params": X}, THETA))
    return (clean + noise * np.random.default_rng(seed).standard_normal((SEEDS, len(X)))).mean(0)


def place(log_y: np.ndarray, level: float = 0.95, noise: float = 0.05, x: np.ndarray = X) -> peak_profile.Place:
    weights = np.full(len(x), float(SEEDS))
    return peak_profile.place_of_top(x, log_y, weights, noise**2, (SEEDS - 1) * len(x), level, THETA)


def test_a_curve_written_by_its_top_is_one_of_the_law_and_peaks_there():
    floor, size, alpha, nu, e, s, at = 0.2, 0.1, 0.25, 1.1, 0.06, 0.4, 1e6
    values = peak_profile._curve(np.log([floor, size, alpha, nu, e, s]), np.log(X / at))
    ridge, crest = e / (1 - e), -2 * np.arcsinh(np.sqrt(e / 2) * s)  # ln of g / (1 + ridge) at the top
    theta = np.array([floor, 0.0, alpha, size, at / np.exp((crest + np.log1p(ridge)) / nu), nu, ridge])
    trend = values - LAW.predict({"n_params": X}, theta)  # what is left is a power of x
    slope = np.polyfit(np.log(X), np.log(trend), 1)
    assert slope[0] == pytest.approx(-alpha, abs=1e-9)
    theta[1] = np.exp(slope[1])
    np.testing.assert_allclose(values, LAW.predict({"n_params": X}, theta), rtol=1e-10)
    assert top_of(theta) == pytest.approx(at, rel=2e-4)


def test_exact_runs_give_the_top_of_the_curve_and_not_the_crest_of_its_variance_term():
    found = place(observed(0.0, 0), noise=1e-6)
    top, crest = top_of(THETA), THETA[4] * (1 + THETA[6]) ** (1 / THETA[5])
    assert top < 0.99 * crest
    assert found.estimate == pytest.approx(top, rel=1e-3)
    assert found.low <= top <= found.high and found.high / found.low < 1.01


def test_no_curve_that_fits_as_well_peaks_outside_and_the_ends_are_not_too_wide():
    log_y = observed(0.05, 1)
    found = place(log_y)
    # the law itself, refitted with its threshold held at each of many values: an upper bound of the profile
    table = pd.DataFrame({"n_params": X, "loss": np.exp(log_y)})
    held = []
    for threshold in THETA[4] * np.geomspace(0.6, 1.6, 15):
        theta = fit(LAW, table, Squared(of="log"), fixed={"peak": threshold}).theta
        held.append((top_of(theta), SEEDS * np.sum((log_y - np.log(LAW.predict({"n_params": X}, theta))) ** 2)))
    tops, squares = np.array(held).T
    assert found.squares <= squares.min() * (1 + 1e-6)
    free = (SEEDS - 1) * len(X) + len(X) - 7
    noise = max((found.squares + 0.05**2 * (SEEDS - 1) * len(X)) / free, found.squares / (len(X) - 7))
    close = squares <= found.squares + 3.9 * noise  # the F quantile for 1 and about 80 is 3.95
    assert close.sum() >= 3
    assert (tops[close] >= found.low).all() and (tops[close] <= found.high).all()
    assert found.high / found.low < 1.3 * tops[close].max() / tops[close].min()


def test_intervals_enclose_the_top_as_often_as_they_say():
    inside = [(p := place(observed(0.05, 100 + k), 0.8)).low <= top_of(THETA) <= p.high for k in range(20)]
    assert 12 <= sum(inside) <= 20  # 16 expected; fewer than 12 once in 100


def test_the_interval_grows_with_the_level_and_follows_the_units():
    log_y = observed(0.05, 2)
    narrow, wide = place(log_y, 0.5), place(log_y, 0.99)
    assert wide.low < narrow.low < narrow.estimate < narrow.high < wide.high
    other = place(log_y, 0.5, x=X * 1e3)
    np.testing.assert_allclose([other.low, other.high], [narrow.low * 1e3, narrow.high * 1e3], rtol=1e-4)
    scaled = place(log_y + np.log(7.0), 0.5)
    np.testing.assert_allclose([scaled.low, scaled.high], [narrow.low, narrow.high], rtol=1e-3)


def test_an_end_beyond_the_sweep_is_open():
    short = X <= 9e5  # the sweep stops at the peak
    log_y = observed(0.05, 3)[short]
    found = peak_profile.place_of_top(X[short], log_y, np.full(short.sum(), 3.0), 0.05**2, 40, 0.95, THETA)
    assert np.isnan(found.high)


def test_a_sweep_with_a_weak_peak_still_says_where_it_would_be():
    theta = THETA.copy()
    theta[3] = 0.05
    table = pd.DataFrame({"n_params": np.tile(X, SEEDS), "seed": np.repeat(np.arange(SEEDS), len(X))})
    clean = LAW.predict({"n_params": table["n_params"].to_numpy()}, theta)
    table["loss"] = clean * np.exp(0.06 * np.random.default_rng(5).standard_normal(len(table)))
    found = double_descent(table, "n_params", "loss", n_resamples=20)
    assert not found.found and found.finding.startswith("No double descent")
    assert found.location.low <= top_of(theta) <= found.location.high
    assert found.test.dof == (SEEDS - 1) * len(X)
