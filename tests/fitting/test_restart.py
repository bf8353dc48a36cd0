"""Starts of resampled refits: nearer to the optima than the fit itself, and no other optima."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from scaling.fitting import fit
from scaling.fitting.problem import Problem
from scaling.fitting.restart import ENOUGH, restarts
from scaling.fitting.solver import solve
from scaling.uncertainty import bootstrap
from scaling.uncertainty.bootstrap import _drawn_only


def runs(seed: int, count: int, noise: float = 0.003) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n, d = 10 ** rng.uniform(7, 10, count), 10 ** rng.uniform(9, 12, count)
    loss = (1.7 + 400 / n**0.34 + 410 / d**0.28) * np.exp(rng.normal(0, noise, count))
    return pd.DataFrame({"run": [f"r{i}" for i in range(count)], "n_params": n, "n_tokens": d, "loss": loss})


def resampled(result, count, seed=0):
    """The problem of `count` resamples, the optimum of all runs, and its bend."""
    one = result.problem
    weights = np.random.default_rng(seed).multinomial(one.n_points, np.full(one.n_points, 1 / one.n_points), count)
    problem = Problem({k: v.reshape(-1) for k, v in one.x.items()}, one.y.reshape(-1), weights.astype(float))
    return problem, result.coordinates.to_working(result.theta), np.reshape(result.delta, -1)


@pytest.mark.parametrize("objective", ["hoffmann", "asymmetric"])
def test_starts_are_nearer_and_lead_to_the_same_optima(objective):
    result = fit("chinchilla", runs(1, 250), objective)
    problem, u, delta = resampled(result, 60)
    here, bends = np.tile(u, (60, 1)), np.tile(delta, (60, 1))
    starts, near = restarts(result.coordinates, result.objective, problem, u, delta, result.covariance)
    assert near.mean() > 0.8
    walked = solve(result.coordinates, result.objective, problem, here, bends)
    jumped = solve(result.coordinates, result.objective, problem, starts, bends, near=near)
    assert walked.converged.all() and jumped.converged.all()
    np.testing.assert_allclose(jumped.u, walked.u, rtol=0, atol=1e-6)
    before, after = (np.abs(at - walked.u).max(-1)[near] for at in (here, starts))
    assert np.median(after) < 0.2 * np.median(before)
    assert jumped.iterations.mean() < 0.7 * walked.iterations.mean()


def test_rows_that_an_expansion_does_not_reach_start_at_the_fit():
    result = fit("chinchilla", runs(2, 250, noise=0.01), "hoffmann")  # so noisy that some resamples scatter far
    problem, u, delta = resampled(result, 80)
    starts, near = restarts(result.coordinates, result.objective, problem, u, delta, result.covariance)
    assert 0 < near.sum() < 80
    assert (starts[~near] == u).all() and (starts[near] != u).all()


def test_where_starts_stay_at_the_fit():
    few = fit("chinchilla", runs(3, 5 * ENOUGH - 1), "hoffmann")
    enough = fit("chinchilla", runs(3, 5 * ENOUGH), "hoffmann")
    redescending, squared = (fit("chinchilla", runs(3, 5 * ENOUGH), name) for name in ("robust", "squared"))
    for result, some in ((few, False), (enough, True), (redescending, False), (squared, False)):
        problem, u, delta = resampled(result, 10)
        starts, near = restarts(result.coordinates, result.objective, problem, u, delta, result.covariance)
        assert near.any() == some and (starts != u).any() == some
    for spread in (np.nan, 9.0):  # coefficients that are not determined, or hardly
        covariance = np.diag([*np.diagonal(enough.covariance)[:4], spread])
        problem, u, delta = resampled(enough, 10)
        assert not restarts(enough.coordinates, enough.objective, problem, u, delta, covariance)[1].any()


def test_an_expansion_that_overflows_is_not_taken():
    result = fit("chinchilla", runs(4, 200), "hoffmann")
    problem, u, delta = resampled(result, 10)
    far = u + np.array([0, 800, 0, 0, 0])
    starts, near = restarts(result.coordinates, result.objective, problem, far, delta, result.covariance)
    assert not near.any() and (starts == far).all()


def test_fixed_coefficients_and_drawn_targets():
    result = fit("chinchilla", runs(5, 200), "hoffmann", fixed={"E": 1.7})
    plain = bootstrap(result, 40, rng=1)
    wild = bootstrap(result, 40, rng=1, kind="wild")
    for draws in (plain, wild):
        assert draws.converged.all() and (draws.theta[:, 0] == 1.7).all()
        assert draws.iterations.mean() < 4.5  # 7 and more from the fit


def test_resamples_do_not_depend_on_where_they_start(monkeypatch):
    module = sys.modules["scaling.uncertainty.bootstrap"]
    result = fit("chinchilla", runs(6, 250), "hoffmann")
    near = bootstrap(result, 100, rng=3)
    monkeypatch.setattr(
        module, "restarts", lambda c, o, p, u, *_: (np.tile(u, (p.n_rows, 1)), np.zeros(p.n_rows, bool))
    )
    far = bootstrap(result, 100, rng=3)
    np.testing.assert_allclose(near.theta, far.theta, rtol=1e-6)
    assert near.gradient.max() <= 1e-9


@pytest.mark.parametrize("kind", ["cases", "wild"])
@pytest.mark.parametrize("objective", ["robust", "hoffmann"])
def test_runs_not_drawn_are_left_out_without_a_trace(monkeypatch, objective, kind):
    module = sys.modules["scaling.uncertainty.bootstrap"]
    # the smaller group is padded to the larger one: runs of weight zero in every resample
    table = pd.concat([runs(7, 90).assign(team="a"), runs(8, 30).assign(team="b")])
    result = fit("chinchilla", table, objective, by="team")
    packed = bootstrap(result, 30, rng=2, kind=kind)
    monkeypatch.setattr(module, "_drawn_only", lambda rows, delta: (rows, delta))
    whole = bootstrap(result, 30, rng=2, kind=kind)
    np.testing.assert_allclose(packed.objective_value, whole.objective_value, rtol=1e-9)
    np.testing.assert_allclose(np.log(packed.theta), np.log(whole.theta), rtol=0, atol=1e-6)


def test_drawn_only_keeps_the_sums():
    rng = np.random.default_rng(0)
    weights = rng.multinomial(50, np.full(50, 0.02), 20).astype(float)
    rows = Problem({"n": rng.uniform(1, 2, 50)}, rng.uniform(1, 2, 50), weights)
    packed, delta = _drawn_only(rows, np.full((20, 1), 0.1))
    assert packed.n_points == rows.n_used.max() < 0.8 * 50 and delta.shape == (20, 1)
    np.testing.assert_allclose((packed.weights * packed.y * packed.x["n"]).sum(-1), weights @ (rows.y * rows.x["n"]))
    bends = rng.uniform(1, 2, (20, 50))
    _, taken = _drawn_only(rows, bends)
    np.testing.assert_allclose((packed.weights * taken).sum(-1), (weights * bends).sum(-1))
    full = Problem(rows.x, rows.y, np.ones((3, 50)))
    assert _drawn_only(full, delta)[0] is full
