"""Resamples: repeatable, converged, and as wide as the scatter of fresh data."""

import numpy as np
import pandas as pd
import pytest

from scaling.errors import FitError
from scaling.fitting import Squared, fit
from scaling.laws.chinchilla import CHINCHILLA
from scaling.uncertainty import bootstrap

TRUTH = np.array([1.7, 400.0, 900.0, 0.34, 0.31])


def runs_with(noise, seed):
    rng = np.random.default_rng(seed)
    n, c = np.meshgrid(np.linspace(-2, 2, 7), np.geomspace(1e18, 1e21, 6))
    n = 0.3 * np.sqrt(c / 6) * np.exp(n)
    runs = pd.DataFrame({"n_params": n.ravel(), "n_tokens": (c / 6 / n).ravel(), "flops": c.ravel()})
    loss = CHINCHILLA.predict({k: runs[k].to_numpy() for k in CHINCHILLA.inputs}, TRUTH)
    return runs.assign(loss=loss * np.exp(noise * rng.standard_normal(len(runs))))


def test_equal_seeds_give_equal_resamples_and_others_do_not():
    result = fit(CHINCHILLA, runs_with(0.005, 0))
    a, b, c = (bootstrap(result, 30, rng=r).theta for r in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert not np.allclose(a, c)


def test_every_resample_carries_its_proof():
    draws = bootstrap(fit(CHINCHILLA, runs_with(0.005, 0)), 300)
    assert draws.shape == (300,)
    assert draws.converged.all()
    assert draws.gradient.max() < 1e-6
    assert draws.of.theta.shape == (5,)


def test_a_resample_is_the_fit_of_the_runs_it_drew():
    runs = runs_with(0.005, 0)
    result = fit(CHINCHILLA, runs, "hoffmann")
    alone = fit(CHINCHILLA, runs.iloc[np.random.default_rng(7).integers(len(runs), size=len(runs))], "hoffmann")
    np.testing.assert_allclose(
        bootstrap(result, 1, rng=7).theta[0], alone.theta, rtol=1e-6
    )  # A and B are flat: the objective agrees to 1e-15


def test_spread_of_resamples_is_that_of_fresh_data():
    truths = np.array([fit(CHINCHILLA, runs_with(0.003, s), Squared("log")).theta for s in range(60)])
    draws = bootstrap(fit(CHINCHILLA, runs_with(0.003, 100), Squared("log")), 300)
    ratio = np.log(draws.theta).std(0) / np.log(truths).std(0)
    assert (ratio > 0.55).all()  # one data set's bootstrap scatters by about 20 % itself
    assert (ratio < 1.8).all()


def test_clusters_are_drawn_whole():
    runs = pd.concat([runs_with(0.003, 0)] * 2)
    runs["run"] = np.tile(np.arange(42), 2)
    result = fit(CHINCHILLA, runs)
    cases, clusters = bootstrap(result, 200), bootstrap(result, 200, kind="clusters")
    ratio = clusters.theta.std(0) / cases.theta.std(0)
    # every run stands there twice: drawn one by one the spread is too small by the square root of 2
    np.testing.assert_allclose(ratio, np.sqrt(2), rtol=0.3)


def test_progress_reaches_the_end():
    seen = []
    bootstrap(fit(CHINCHILLA, runs_with(0.005, 0)), 10, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (10, 10)


@pytest.mark.parametrize(("kwargs", "words"), [
    ({"n_resamples": 0}, "at least 1"),
    ({"kind": "jack"}, "cases"),
    ({"kind": "clusters", "clusters": "family"}, "no column 'family'"),
])  # fmt: skip
def test_bad_requests(kwargs, words):
    with pytest.raises(FitError, match=words):
        bootstrap(fit(CHINCHILLA, runs_with(0.005, 0)), **kwargs)
