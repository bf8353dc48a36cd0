"""Where a fit starts: starts that a law states, and what the search makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from scaling.fitting import Huber, Squared, fit
from scaling.fitting.problem import Problem
from scaling.fitting.scale import Coordinates
from scaling.fitting.screen import SCREENED_OUT, descend
from scaling.fitting.starts import StatesStarts, search
from scaling.laws import LAWS, broken_power_law
from scaling.laws.law import Coef, Law

LOG_SQUARES = Squared(of="log")


@dataclass(frozen=True)
class Wave(Law):
    """A law whose objective has an optimum per period: no cover of the ranges finds the right one, the data's own start does."""

    def starts_from(self, x, y, weights):
        t = x["x"]
        frequencies = 2 * np.pi * np.arange(1, 4 * len(t)) / (8 * np.ptp(t))
        power = [np.abs((weights * (y - y.mean()) * np.exp(1j * f * t)).sum()) for f in frequencies]
        best = frequencies[np.argsort(power)[-24:]]
        return np.column_stack([np.full(24, y.mean()), np.full(24, 0.5), best])


def wave(kind: type[Law]) -> Law:
    return kind(
        name="wave",
        equation="y = m + h sin(f x)",
        inputs=("x",),
        target="y",
        coefs=(
            Coef("m", "mean", starts=(1.0, 10.0)),
            Coef("h", "height", starts=(0.1, 1.0)),
            Coef("f", "frequency", starts=(1.0, 1e4)),
        ),
        formula=lambda x, theta: theta[..., :1] + theta[..., 1:2] * np.sin(theta[..., 2:] * x["x"]),
    )


@pytest.fixture
def wavy():
    t = np.random.default_rng(0).uniform(0, 1, 60)
    return pd.DataFrame({"x": t, "y": 3.0 + 0.7 * np.sin(71.0 * t)})


def test_a_law_may_state_its_own_starts(wavy):
    law = wave(Wave)
    assert isinstance(law, StatesStarts)
    assert not isinstance(wave(Law), StatesStarts)
    np.testing.assert_allclose(fit(law, wavy, "squared").theta, [3.0, 0.7, 71.0], rtol=1e-8)
    # the cover of the ranges misses it, so it is the stated starts that found it
    assert fit(wave(Law), wavy, "squared").summary["r2"] < 0.9


def test_with_a_coefficient_fixed_the_ranges_are_covered_instead(wavy):
    law = wave(Wave)
    fixed = fit(law, wavy, "squared", fixed={"f": 71.0})
    np.testing.assert_allclose(fixed.theta, [3.0, 0.7, 71.0], rtol=1e-8)
    assert fixed.starts_tried != fit(law, wavy, "squared").starts_tried


def test_stated_starts_are_screened_by_a_few_steps():
    law = broken_power_law(2)
    x = np.geomspace(1e15, 1e22, 40)
    truth = np.array([0.3, 40.0, 0.08, 0.15, 1e18, 0.3, -0.1, 3e20, 0.2])
    y = law.predict({"flops": x}, truth) * np.exp(np.random.default_rng(1).normal(0, 0.003, 40))
    problem = Problem({"flops": x}, y, np.ones((1, 40)))
    coordinates = Coordinates(law, {})
    stated = law.starts_from({"flops": x}, y, np.ones(40))
    found, tried = search(coordinates, LOG_SQUARES, problem)
    assert tried == len(stated)
    assert len(found) == round(len(stated) / SCREENED_OUT[-1])

    def value(theta):
        return (np.log(law.predict({"flops": x}, theta) / y) ** 2).sum(-1)

    before, after = value(stated), value(coordinates.to_theta(found)[0])
    assert after.min() < before.min()
    assert (np.diff(after) >= 0).all(), "best first"


@pytest.mark.parametrize("objective", [LOG_SQUARES, Squared(of="raw"), Huber(delta=1e-3, of="log")], ids=str)
def test_a_descent_lowers_every_start_and_no_start_that_it_cannot_evaluate(objective):
    law = broken_power_law(1)
    x = np.geomspace(1e15, 1e22, 30)
    y = law.predict({"flops": x}, np.array([0.3, 40.0, 0.08, 0.15, 1e18, 0.3])) * np.exp(0.01 * np.sin(np.arange(30)))
    weights = np.where(np.arange(30) == 7, 0.0, 1.0)[None]
    coordinates, delta = Coordinates(law, {}), np.full((1, 1), 1e-3)
    u = coordinates.to_working(law.starts_from({"flops": x}, y, weights[0]))
    u[3] = 800.0  # its exponentials overflow

    def value(at):
        with np.errstate(all="ignore"):
            residual, _ = objective.residuals(law.predict({"flops": x}, coordinates.to_theta(at)[0]), y)
            return objective.value(residual, weights, delta)

    before = value(u)
    moved, after = descend(coordinates, objective, Problem({"flops": x}, y, weights), u, delta, 6)
    np.testing.assert_array_equal(moved[3], u[3])
    usable = np.isfinite(before)
    assert not usable[3]
    np.testing.assert_allclose(after[usable], value(moved)[usable], rtol=1e-12)
    assert (after[usable] <= before[usable]).all()
    assert np.median(after[usable] / before[usable]) < 0.9
    # the points as a row of their own, as the engine cuts them out of a batch, make no difference
    row = Problem({"flops": x[None]}, y[None], weights)
    np.testing.assert_array_equal(descend(coordinates, objective, row, u, delta, 6)[0], moved)


def test_the_grid_of_a_law_without_starts_is_what_it_was():
    x = {"n_params": np.geomspace(1e7, 1e10, 30), "n_tokens": np.geomspace(1e9, 3e11, 30)[::-1].copy()}
    y = LAWS["chinchilla"].predict(x, np.array([1.7, 400.0, 900.0, 0.34, 0.31]))
    found, tried = search(Coordinates(LAWS["chinchilla"], {}), LOG_SQUARES, Problem(x, y, np.ones((1, 30))))
    assert tried == 400
    assert len(found) == 6
