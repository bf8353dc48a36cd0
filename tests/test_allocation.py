"""The best size for a budget agrees with closed forms, brute force and printed answers."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scaling
from scaling.allocation import Constraints, allocate, flops_for_loss, flops_for_params
from scaling.compute import DENSE, Lifetime
from scaling.errors import LawError, PlanError
from scaling.laws import CHINCHILLA, get
from scaling.laws.law import Law


@dataclass(frozen=True)
class Known:
    law: Law
    theta: np.ndarray
    of: Any = None


def chinchilla(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28):
    return Known(CHINCHILLA, np.array([E, A, B, alpha, beta]))


def closed_form(fitted, flops):
    E, A, B, alpha, beta = np.moveaxis(fitted.theta, -1, 0)[..., None]
    G = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    n = G * (flops / 6) ** (beta / (alpha + beta))
    d = flops / 6 / n
    return n, d, E + A * n**-alpha + B * d**-beta


@pytest.fixture(scope="module")
def vectors(science):
    return tomllib.loads(science("test_vectors.toml").read_text())


def test_golden_optima_of_two_published_surfaces(vectors):
    for golden in vectors["closed_form"]:
        known = chinchilla(**golden["coef"])
        best = allocate(known, golden["flops"])
        for name, key in (("n_params", "n_opt"), ("n_tokens", "d_opt"), ("loss", "loss_opt")):
            assert getattr(best, name) == pytest.approx(golden[key], rel=golden["rtol"])
        assert flops_for_loss(known, 2.0) == pytest.approx(golden["flops_for_loss_2"], rel=golden["rtol"])
        assert best.inside.all()
        assert (best.binding == "").all()


exponents = st.floats(0.1, 1.2)
amplitudes = st.floats(0.0, 5.0).map(lambda e: 10**e)


@settings(max_examples=60)
@given(alpha=exponents, beta=exponents, A=amplitudes, B=amplitudes, log_c=st.floats(16, 27))
def test_the_search_finds_the_closed_form_for_any_chinchilla_law(alpha, beta, A, B, log_c):
    known = chinchilla(1.5, A, B, alpha, beta)
    n, _, loss = closed_form(known, np.array([10**log_c]))
    best = allocate(known, 10**log_c)
    if best.inside.all():
        assert np.log(best.n_params) == pytest.approx(np.log(n), abs=1e-7)
    assert (best.loss <= loss * (1 + 1e-12)).all() or not best.inside.all()


def test_draws_times_budgets_equal_a_loop():
    rng = np.random.default_rng(0)
    theta = chinchilla().theta * np.exp(rng.normal(0, 0.05, (40, 5)))
    budgets = np.geomspace(1e19, 1e25, 7)
    together = allocate(Known(CHINCHILLA, theta), budgets)
    assert together.n_params.shape == (40, 7)
    n, _d, loss = closed_form(Known(CHINCHILLA, theta), budgets)
    assert np.abs(np.log(together.n_params / n)).max() < 1e-8
    assert np.abs(together.loss / loss - 1).max() < 1e-14
    one = allocate(Known(CHINCHILLA, theta[7]), budgets[3])
    assert one.n_params[0] == pytest.approx(together.n_params[7, 3], rel=1e-9)


@pytest.mark.parametrize("name", ["kaplan", "data_constrained", "overtraining"])
def test_laws_without_a_closed_form_agree_with_brute_force(name):
    key = {"kaplan": "kaplan2020-nd", "data_constrained": "muennighoff2023", "overtraining": "gadre2024-c4"}[name]
    entry = scaling.published(key)
    inputs = {"n_unique_tokens": 25e9} if name == "data_constrained" else {}
    best = allocate(entry, 9.3e21, inputs=inputs)
    n = np.exp(np.linspace(np.log(best.n_params[0] / 30), np.log(best.n_params[0] * 30), 200_001))
    x = {"n_params": n, "n_tokens": 9.3e21 / 6 / n} | {k: np.minimum(v, 9.3e21 / 6 / n) for k, v in inputs.items()}
    assert best.loss[0] <= entry.law.predict(x, entry.theta).min() + 1e-12


def test_the_golden_optimum_with_repeated_data(vectors):
    for golden in vectors["data_constrained_optimum"]:
        best = allocate(
            scaling.published("muennighoff2023"), golden["flops"], inputs={"n_unique_tokens": golden["unique"]}
        )
        assert best.loss[0] == pytest.approx(golden["loss"], rel=golden["rtol"])
        assert best.n_params[0] == pytest.approx(golden["n"], rel=2e-3)


@pytest.mark.parametrize(
    ("constraint", "value", "n"),
    [
        ("n_params", 7e9, 7e9), ("n_tokens", 1e12, 1e22 / 6e12), ("tokens_per_param", 20.0, np.sqrt(1e22 / 120)),
        ("max_params", 1e9, 1e9), ("min_params", 1e11, 1e11), ("max_tokens", 1e11, 1e22 / 6e11),
        ("min_tokens_per_param", 1000.0, np.sqrt(1e22 / 6000)), ("max_tokens_per_param", 1.0, np.sqrt(1e22 / 6)),
    ],
)  # fmt: skip
def test_a_constraint_that_bites_decides_and_is_named(constraint, value, n):
    best = allocate(chinchilla(), 1e22, constraints=Constraints(**{constraint: value}))
    assert best.n_params[0] == pytest.approx(n, rel=1e-9)
    assert best.binding.tolist() == [constraint]
    assert best.inside.all()


def test_a_constraint_that_does_not_bite_changes_nothing():
    free = allocate(chinchilla(), 1e22)
    loose = allocate(
        chinchilla(), 1e22, constraints=Constraints(max_params=1e12, max_tokens=1e15, min_tokens_per_param=1.0)
    )
    assert loose.n_params == pytest.approx(free.n_params, rel=1e-9)
    assert loose.binding.tolist() == [""]


def test_limits_that_stop_a_run_before_the_budget_is_spent_leave_the_rest():
    best = allocate(chinchilla(), 1e23, constraints=Constraints(max_tokens=1e12, max_params=7e9))
    assert (best.n_params[0], best.n_tokens[0]) == pytest.approx((7e9, 1e12), rel=1e-12)
    assert best.binding.tolist() == ["max_params, max_tokens"]
    assert best.budget.tolist() == [""]
    assert best.spent[0] == pytest.approx(4.2e22)


def test_constraints_that_leave_nothing_name_the_conflict_and_a_way_out():
    with pytest.raises(
        PlanError, match=r"fixed model size and the least number of tokens ask .* 6e\+22 FLOPs.*find 600 times"
    ):
        allocate(chinchilla(), 1e20, constraints=Constraints(n_params=1e10, min_tokens=1e12))
    with pytest.raises(PlanError, match="both fixed"):
        Constraints(n_params=1e9, tokens_per_param=20)
    with pytest.raises(PlanError, match="nothing lies between"):
        Constraints(min_params=2e9, max_params=1e9)


def test_serving_shrinks_the_model_as_printed(vectors):
    """Least total cost for the quality of a 30B model at its own optimum, with 1e13 tokens served."""
    (golden,) = vectors["inference_aware"]
    known = chinchilla()
    total = flops_for_loss(known, golden["target_loss"], compute=Lifetime(DENSE, 1e13))
    best = allocate(known, float(total), compute=Lifetime(DENSE, 1e13))
    assert best.n_params[0] == pytest.approx(golden["n"], rel=golden["rtol"])
    assert best.n_tokens[0] == pytest.approx(golden["tokens"], rel=golden["rtol"])
    alone = float(flops_for_loss(known, golden["target_loss"]))
    n_alone = float(allocate(known, alone).n_params[0])
    assert 1 - float(total) / (alone + 2 * n_alone * 1e13) == pytest.approx(golden["saving"], abs=1e-3)


def test_inverses_undo_the_allocation():
    known = chinchilla()
    best = allocate(known, [1e18, 1e21, 1e25])
    for flops, n, loss in zip(best.flops, best.n_params, best.loss, strict=True):
        assert flops_for_loss(known, loss) == pytest.approx(flops, rel=1e-9)
        assert flops_for_params(known, n) == pytest.approx(flops, rel=1e-9)
    many = Known(CHINCHILLA, known.theta * np.array([[1.0], [1.01]]))
    assert flops_for_loss(many, 2.2).shape == (2,)
    for accounting in (DENSE, Lifetime(DENSE, 1e12)):
        n, c = np.array([1e9, 5e9]), np.array([1e23, 2e23])
        d = accounting.n_tokens(n, c)
        assert accounting.flops(n, d) == pytest.approx(c, rel=1e-12)
        assert accounting.n_params(d, c) == pytest.approx(n, rel=1e-12)


def test_a_loss_below_the_floor_is_refused_with_the_loss_it_ends_at():
    with pytest.raises(PlanError, match=r"a loss of 1.5 cannot be reached.*above 1.69"):
        flops_for_loss(chinchilla(), 1.5)


def test_laws_that_trade_nothing_off_are_refused():
    with pytest.raises(LawError, match="nothing to trade off"):
        allocate(Known(get("power_n"), np.array([10.0, 0.1])), 1e21)
    with pytest.raises(LawError, match="also needs n_unique_tokens"):
        allocate(scaling.published("muennighoff2023"), 1e21)


def test_bands_come_from_the_draws_and_the_point_from_the_fit():
    rng = np.random.default_rng(1)
    point = chinchilla()
    draws = Known(CHINCHILLA, point.theta * np.exp(rng.normal(0, 0.01, (500, 5))), of=point)
    best = allocate(draws, [1e20, 1e22])
    assert best.of.n_params == pytest.approx(allocate(point, [1e20, 1e22]).n_params)
    low, high = best.band("n_params", 0.8)
    inside = ((best.n_params >= low) & (best.n_params <= high)).mean(axis=0)
    assert inside == pytest.approx([0.8, 0.8], abs=0.01)
    table = best.table()
    assert (table["n_params_low"] < table["n_params"]).all()
    assert (table["loss"] < table["loss_high"]).all()


def test_a_valley_is_preferred_to_an_end_of_the_search_that_lies_lower():
    """Farseer's loss falls without end towards one token for a huge model, far outside of what it was fitted to."""
    entry = scaling.published("farseer2025")
    best = allocate(entry, [1e19, 1e21])
    assert best.inside.all()
    for n, c, loss in zip(best.n_params, best.flops, best.loss, strict=True):
        near = n * np.exp(np.linspace(-0.5, 0.5, 2001))
        around = entry.law.predict({"n_params": near, "n_tokens": c / 6 / near}, entry.theta)
        assert near[around.argmin()] == pytest.approx(n, rel=1e-3)
        at_the_end = entry.law.predict({"n_params": np.array([c / 6]), "n_tokens": np.array([1.0])}, entry.theta)
        assert at_the_end[0] < loss
    bounded = allocate(entry, [1e19, 1e21], constraints=Constraints(max_tokens_per_param=5.0))
    assert bounded.tokens_per_param == pytest.approx([5.0, 5.0])
