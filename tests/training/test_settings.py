"""Suggested settings are the published laws; the over-training curve is the closed form; known runs are as printed."""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

import scaling
from scaling.allocation import allocate, flops_for_loss
from scaling.compute import DENSE, Lifetime, Shape
from scaling.errors import LawError, PlanError
from scaling.hardware import ACCELERATORS
from scaling.laws import CHINCHILLA
from scaling.laws.law import Law
from scaling.laws.published import PUBLISHED, STATUSES
from scaling.training import settings, trade_off
from scaling.training.known_runs import KNOWN_RUNS, beside_known


@dataclass(frozen=True)
class Known:
    law: Law
    theta: np.ndarray
    of: Any = None


def chinchilla(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28):
    return Known(CHINCHILLA, np.array([E, A, B, alpha, beta]))


# --- settings ----------------------------------------------------------------------------------------------------------


def test_each_suggestion_is_its_law_at_the_run():
    """The printed coefficients, by hand; DeepSeek's M of a 32-layer model of width 4096 at a context of 4096."""
    shape = Shape(32, 4096, 11008, 32, 102400)
    core = shape.n_non_embedding
    found = settings(shape.n_params, 2e12, shape=shape)
    flops = (72 * 32 * 4096**2 + 12 * 32 * 4096 * 4096) * 2e12
    assert found.n_non_embedding == core
    assert found.flops_deepseek == pytest.approx(flops, rel=1e-12)
    (step_lr, deepseek_lr), (step_batch, deepseek_batch) = found.of("lr"), found.of("batch_tokens")
    assert step_lr.value == pytest.approx(1.79 * core**-0.713 * 2e12**0.307, rel=1e-9)
    assert step_batch.value == pytest.approx(0.58 * 2e12**0.571, rel=1e-9)
    assert deepseek_lr.value == pytest.approx(0.3118 * flops**-0.125, rel=1e-9)
    assert deepseek_batch.value == pytest.approx(0.2920 * flops**0.3271, rel=1e-9)
    zhang, bergsma = found.of("critical_batch_tokens")
    assert zhang.value == pytest.approx(512 * 93.2 * (shape.n_params / 1e6) ** 0.47, rel=1e-9)
    assert bergsma.value == pytest.approx(2048 * 0.0471 * 2e12**0.462, rel=1e-9)
    (decay,) = found.of("weight_decay")
    timescale = 1.084 * (2e12 / shape.n_params) ** -0.527
    assert decay.value == pytest.approx(step_batch.value / (step_lr.value * 2e12 * timescale), rel=1e-9)


def test_deepseek_s_own_7b_and_67b_settings_are_near_its_law():
    """arXiv:2401.02954, table 2: 4.2e-4 and 2304 x 4096 tokens for 7B, 3.2e-4 and 4608 x 4096 for 67B, both on 2e12 tokens."""
    for layers, width, heads, rate, batch in ((30, 4096, 32, 4.2e-4, 2304 * 4096), (95, 8192, 64, 3.2e-4, 4608 * 4096)):
        shape = Shape(layers, width, round(8 * width / 3), heads, 102400)
        found = settings(shape.n_params, 2e12, shape=shape)
        assert found.of("lr")[1].value == pytest.approx(rate, rel=0.15)
        assert found.of("batch_tokens")[1].value == pytest.approx(batch, rel=0.35)


def test_stretching_a_law_is_said_and_staying_inside_is_not():
    far = settings(4.05e11, 1.56e13)
    assert {"n_params", "n_tokens"} == set(far.of("lr")[0].beyond)
    assert far.of("lr")[0].beyond["n_tokens"] == pytest.approx(156)  # the step law's runs end at 1e11 tokens
    assert "156 times above its tokens" in str(far.of("lr")[0])
    assert "where it holds is not printed" in str(far.of("critical_batch_tokens")[1])
    near = settings(5e8, 2e10, n_non_embedding=4e8)
    assert not near.of("lr")[0].beyond
    assert not near.of("batch_tokens")[0].beyond
    small = settings(2e7, 1e9, n_non_embedding=1e7)
    assert small.of("lr")[0].beyond == pytest.approx({"n_params": 1 / 6, "n_tokens": 0.5})
    assert "6 times below its model sizes" in str(small.of("lr")[0])


def test_bands_are_the_printed_intervals_about_the_middle_of_the_runs():
    middle_d = math.sqrt(2e9 * 1e11)
    at_middle = settings(5e8, middle_d, n_non_embedding=math.sqrt(6e7 * 1e9)).of("batch_tokens")[0]
    assert (at_middle.low, at_middle.high) == pytest.approx((at_middle.value, at_middle.value))
    away = settings(5e8, 100 * middle_d, n_non_embedding=1e9).of("batch_tokens")[0]
    assert away.high / away.low == pytest.approx(100 ** (0.606 - 0.534))
    assert away.low < away.value < away.high
    assert settings(5e8, 1e10).of("lr")[1].low is None


@given(st.floats(4, 9), st.floats(5, 8))
def test_steps_and_tokens_lie_on_the_hyperbola(log_batch, log_critical):
    """(S / S_min - 1)(E / E_min - 1) = 1, arXiv:1812.06162, eq. 2.11."""
    found = settings(1e9, 2e10)
    steps, tokens = found.time_and_cost(10**log_batch, 10**log_critical)
    least_steps = 2e10 / 10**log_critical
    assert (steps / least_steps - 1) * (tokens / 2e10 - 1) == pytest.approx(1)
    assert tokens == pytest.approx(steps * 10**log_batch)
    assert found.steps(10**log_batch) == pytest.approx(2e10 / 10**log_batch)


def test_settings_are_json_a_table_and_sentences():
    found = settings(7e9, 2e12)
    document = json.loads(json.dumps(found.to_dict()))
    assert [s["law"] for s in document["suggestions"]] == [s.law for s in found.suggestions]
    assert all(s.law in PUBLISHED for s in found.suggestions)
    table = found.table()
    assert set(table["setting"]) == {"lr", "batch_tokens", "critical_batch_tokens", "weight_decay"}
    assert (table["beyond"] >= 1).all()
    assert "steps" in str(found)
    for wrong in ({"n_params": 0, "n_tokens": 1e9}, {"n_params": 1e9, "n_tokens": math.nan}):
        with pytest.raises(PlanError, match="must be a positive number"):
            settings(**wrong)
    with pytest.raises(PlanError, match="no family"):
        settings(1e9, 1e10, family="gpt9")


# --- smaller or larger than the best -----------------------------------------------------------------------------------


@examples(max_examples=60)
@given(
    st.floats(0.1, 0.9), st.floats(0.1, 0.9), st.floats(18, 26), st.lists(st.floats(0.5, 4), min_size=1, max_size=5)
)  # fmt: skip
def test_the_overhead_is_the_closed_form(alpha, beta, log_c, ratios):
    """k_D = [1 - (k_N^-alpha - 1) beta / alpha]^(-1 / beta): harmdevries.com/post/model-size-vs-compute-overhead."""
    known = chinchilla(alpha=alpha, beta=beta)
    if not allocate(known, 10**log_c).inside.all():
        return
    found = trade_off(known, 10**log_c, ratios)
    k_n = np.array(ratios)
    left = 1 - (k_n**-alpha - 1) * beta / alpha
    with np.errstate(all="ignore"):
        k_d = np.where(left > 0, left ** (-1 / beta), np.nan)
    near = ~(k_d > 1e10)  # past 1e30 tokens the search says that there is none
    np.testing.assert_allclose(found.overhead[near], (k_n * k_d - 1)[near], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.n_tokens_same_loss[near], (found.best_n_tokens * k_d)[near], rtol=1e-6)


def test_the_best_size_costs_nothing_and_every_other_one_something():
    found = trade_off(chinchilla(), "1e23", (0.25, 0.5, 1.0, 2.0, 4.0))
    assert found.penalty[2] == 0
    assert found.overhead[2] == pytest.approx(0, abs=1e-9)
    assert (np.delete(found.penalty, 2) > 0).all()
    assert (np.delete(found.overhead, 2) > 0).all()
    np.testing.assert_allclose(found.saving, [0.75, 0.5, 0, -1, -3])
    loss = CHINCHILLA.predict({"n_params": found.n_params, "n_tokens": found.n_tokens}, chinchilla().theta)
    np.testing.assert_allclose(found.loss, loss, rtol=1e-12)
    np.testing.assert_allclose(DENSE.flops(found.n_params, found.n_tokens), 1e23)


def test_a_model_too_small_for_the_loss_never_reaches_it():
    found = trade_off(chinchilla(), 1e23, (0.01, 1.0))
    assert np.isnan(found.overhead[0])
    assert np.isnan(found.total[0])
    assert found.penalty[0] > 0
    assert "only far beyond reach" in str(found)
    assert found.to_dict()["ratios"][0]["overhead"] is None


@pytest.mark.parametrize("served", [1e11, 2e12, 1e14])
def test_the_cheapest_over_its_life_is_what_the_allocator_finds(served):
    known = chinchilla()
    at = allocate(known, 1e23)
    found = trade_off(known, 1e23, np.geomspace(0.2, 1.2, 1201), inference_tokens=served)
    total = float(flops_for_loss(known, float(at.loss[0]), compute=Lifetime(DENSE, served)))
    best = allocate(known, total, compute=Lifetime(DENSE, served))
    assert found.cheapest == pytest.approx(float(best.n_params[0] / at.n_params[0]), rel=2e-3)
    assert np.nanmin(found.total) == pytest.approx(total, rel=1e-6)


def test_draws_give_bands_about_the_point():
    rng = np.random.default_rng(3)
    point = chinchilla()
    draws = Known(CHINCHILLA, point.theta * np.exp(rng.normal(0, 0.01, (400, 5))), of=point)
    found = trade_off(draws, 1e23, (0.3, 0.5, 1.0))
    assert found.loss.shape == (400, 3)
    low, high = found.band("overhead", 0.8)
    assert (low[:2] < found.point.overhead[:2]).all()
    assert (found.point.overhead[:2] < high[:2]).all()
    one = trade_off(Known(CHINCHILLA, draws.theta[5]), 1e23, (0.5,))
    # a draw is asked about the sizes of the point estimate, not about its own best one
    n, d = found.n_params, found.n_tokens
    expected = CHINCHILLA.predict({"n_params": n, "n_tokens": d}, draws.theta[5])
    np.testing.assert_allclose(found.loss[5], expected)
    assert one.of is None
    assert {"penalty_low", "penalty_high", "overhead_low"} <= set(found.table())
    with pytest.raises(PlanError, match="level must lie"):
        found.band("loss", 80)


def test_repeated_text_makes_small_models_dearer():
    law = scaling.published("muennighoff2023")
    scarce = trade_off(law, 1e22, (0.5, 1.0), inputs={"n_unique_tokens": 5e10})
    ample = trade_off(law, 1e22, (0.5, 1.0), inputs={"n_unique_tokens": 1e14})
    assert scarce.overhead[0] > 1.5 * ample.overhead[0]
    assert scarce.best_n_params < ample.best_n_params  # more epochs before more parameters
    reached = law.predict(
        {"n_params": scarce.n_params, "n_tokens": scarce.n_tokens_same_loss, "n_unique_tokens": np.full(2, 5e10)}
    )
    np.testing.assert_allclose(reached, scarce.loss[1], rtol=1e-9)


def test_impossible_trade_offs_are_refused():
    for wrong, words in (
        ({"ratios": ()}, "no ratio was given"), ({"ratios": (-1,)}, "a ratio must be a positive"),
        ({"inference_tokens": -1}, "zero or a positive"),
    ):  # fmt: skip
        with pytest.raises(PlanError, match=words):
            trade_off(chinchilla(), 1e23, **wrong)
    with pytest.raises(PlanError, match="at one budget"):
        trade_off(chinchilla(), [1e22, 1e23])
    with pytest.raises(LawError, match="nothing to trade off"):
        trade_off(scaling.published("kaplan2020-n"), 1e23)
    many = replace(chinchilla(), theta=np.tile(chinchilla().theta, (3, 1)))
    with pytest.raises(PlanError, match="one group or one draw"):
        trade_off(many, 1e23)


# --- known runs --------------------------------------------------------------------------------------------------------


def test_known_runs_are_the_compiled_facts(science):
    facts = {r["name"]: r for r in tomllib.loads(science("compute.toml").read_text())["run"]}
    assert set(facts) == set(KNOWN_RUNS)
    for name, fact in facts.items():
        run = KNOWN_RUNS[name]
        given_facts = (fact["n"], fact["d"], fact.get("c_reported"), fact.get("n_active"), fact.get("chips"))
        assert (run.n_params, run.n_tokens, run.flops_reported, run.n_active, run.count) == given_facts
        assert run.gpu_hours == fact.get("chip_hours", run.gpu_hours)
        assert (run.accelerator or "").lower() == fact.get("chip", "")
        assert (run.grade, run.status) == (fact["grade"], fact["status"])


@pytest.mark.parametrize("run", KNOWN_RUNS.values(), ids=KNOWN_RUNS)
def test_a_known_run_makes_sense(run):
    assert run.status in STATUSES
    assert run.source
    assert run.accelerator is None or run.accelerator in ACCELERATORS
    assert run.utilisation is None or 0.1 < run.utilisation < 0.6
    if run.utilisation is not None:
        assert run.hours_at(run.utilisation) == pytest.approx(run.gpu_hours)
    assert json.loads(json.dumps(run.to_dict()))["flops"] == run.flops
    assert run.name in str(run)


def test_the_nearest_known_runs_come_first():
    table = beside_known(70e9, 1.4e12)
    assert len(table) == len(KNOWN_RUNS)
    assert table["name"][0] == "Chinchilla 70B"
    assert (table["params_ratio"][0], table["tokens_ratio"][0], table["flops_ratio"][0]) == pytest.approx((1, 1, 1))
    assert beside_known(4e11, 1.5e13, 1)["name"].tolist() == ["Llama 3.1 405B"]
    # a mixture of experts stands at its active size
    assert beside_known(37e9, 14.8e12, 1)["name"].tolist() == ["DeepSeek-V3"]
    with pytest.raises(PlanError, match="n_tokens must be a positive"):
        beside_known(1e9, 0)
    with pytest.raises(PlanError, match="lies in"):
        KNOWN_RUNS["LLaMA 7B"].hours_at(40)
