"""Bands around a fitted curve: at each point, and around the whole curve at once."""

import numpy as np
import pandas as pd
import pytest

from scaling.errors import FitError
from scaling.fitting import fit
from scaling.laws import get
from scaling.uncertainty import bootstrap

LAW = get("power_c")
TRUTH = np.array([30.0, 0.06])
AT = {"flops": np.geomspace(1e17, 1e24, 60)}


def runs(seed, n=30, noise=0.01):
    flops = np.geomspace(1e18, 1e21, n)
    loss = LAW.predict({"flops": flops}, TRUTH) * np.exp(noise * np.random.default_rng(seed).standard_normal(n))
    return pd.DataFrame({"flops": flops, "loss": loss})


def inside(band):
    true = LAW.predict(AT, TRUTH)
    return ((band["low"] <= true) & (true <= band["high"])).all()


def test_a_simultaneous_band_encloses_the_whole_curve_as_often_as_it_says():
    results = [fit(LAW, runs(seed), "squared-log") for seed in range(300)]
    at_once = np.mean([inside(r.predict(AT, 0.95, "simultaneous")) for r in results])
    each = np.mean([inside(r.predict(AT, 0.95)) for r in results])
    assert 0.915 < at_once < 0.98  # three standard errors of 300 sweeps
    assert each < at_once


def test_two_coefficients_give_the_band_of_working_and_hotelling_at_most():
    # over all x the sup is Scheffe's: sqrt(2 F(2, n - 2)); over a range of x it is less, and more than one t
    from scipy.stats import f, t

    result = fit(LAW, runs(1), "squared-log")
    width = np.log(result.predict(AT, 0.95, "simultaneous")["high"] / result.predict(AT, 0.95)["high"])
    error = np.log(result.predict(AT, 0.95)["high"] / result.predict(AT, 0.95)["predicted"]) / t.ppf(0.975, 28)
    multiplier = t.ppf(0.975, 28) + (width / error).to_numpy()
    np.testing.assert_allclose(multiplier, multiplier[0], rtol=1e-9)
    assert t.ppf(0.975, 28) * 1.05 < multiplier[0] < np.sqrt(2 * f.ppf(0.95, 2, 28)) * 1.01


def test_resamples_give_the_same_band():
    result = fit(LAW, runs(2, n=200), "squared-log")
    plain, drawn = (r.predict(AT, 0.9, "simultaneous") for r in (result, bootstrap(result, 3000)))
    np.testing.assert_allclose(np.log(drawn["high"] / drawn["low"]), np.log(plain["high"] / plain["low"]), rtol=0.15)


def test_at_a_single_point_both_are_one():
    result = fit(LAW, runs(3), "squared-log")
    one = {"flops": [1e22]}
    each, at_once = (result.predict(one, 0.95, kind) for kind in ("confidence", "simultaneous"))
    assert np.log(at_once["high"][0] / at_once["predicted"][0]) == pytest.approx(
        np.log(each["high"][0] / each["predicted"][0]), rel=0.03
    )


def test_an_unknown_kind_names_the_known_ones():
    with pytest.raises(FitError, match="simultaneous"):
        fit(LAW, runs(0)).predict(AT, 0.95, "joint")
