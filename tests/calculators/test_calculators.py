"""Small planners that follow from a law: transfer, mixtures, alternatives, experts, latents, facts, reward, cooldown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scaling import bootstrap, fit, published
from scaling.calculators import (
    alternatives,
    best_cooldown,
    best_experts,
    best_latents,
    best_mixture,
    bits_per_param,
    break_even,
    capacity_bits,
    data_transferred,
    latents_for,
    params_for_facts,
    reconstruction_floor,
    safe_kl,
    schedule,
    valid_for_fit,
)
from scaling.errors import LawError, PlanError, RunsError
from scaling.laws import mixing_law


def test_data_transferred_inverts_the_law_and_flags_ossification():
    law = published("kaplan2020-nd")
    sizes, used, from_scratch = np.full(3, 1e8), np.array([1e7, 1e8, 1e9]), np.array([4e7, 2e8, 5e8])
    loss = law.predict({"n_params": sizes, "n_tokens": from_scratch})
    found = data_transferred(law, pd.DataFrame({"n_params": sizes, "n_tokens": used, "loss": loss}))
    assert found["n_tokens_from_scratch"].to_numpy() == pytest.approx(from_scratch, rel=1e-9)
    assert found["n_tokens_transferred"].to_numpy() == pytest.approx(from_scratch - used, rel=1e-7)
    assert found["ossified"].tolist() == [False, False, True]
    below = pd.DataFrame({"n_params": [1e8], "n_tokens": [1e8], "loss": [0.1]})
    assert np.isnan(data_transferred(law, below)["multiplier"][0]), "no data reaches this loss"
    with pytest.raises(RunsError, match="no column 'loss'"):
        data_transferred(law, below.drop(columns="loss"))
    with pytest.raises(LawError, match="n_tokens"):
        data_transferred(published("kaplan2020-n"), below)


def test_at_break_even_transfer_is_worth_the_set_itself():
    law = published("hernandez2021-text")
    sizes = np.array([1e7, 1e9])
    at = break_even(law, sizes)
    assert law.predict({"n_samples": at, "n_params": sizes}) == pytest.approx(at)
    with pytest.raises(LawError, match="'transfer'"):
        break_even(published("besiroglu2024"), 1e9)


SHARES = ["web", "code", "books"]


def mixture_fits(n_resamples: int = 0):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.dirichlet([1, 1, 1], 40), columns=SHARES)
    fits = {}
    for domain, (c, k, code, books) in {"web": (1.8, 0.5, 0.8, -0.9), "code": (1.0, 0.9, -2.5, 0.2)}.items():
        loss = c + k * np.exp(code * table["code"] + books * table["books"])
        noisy = table.assign(loss=loss * np.exp(0.001 * rng.standard_normal(40)))
        fits[domain] = fit(mixing_law(SHARES), noisy)
        if n_resamples:
            fits[domain] = bootstrap(fits[domain], n_resamples)
    return fits


def test_the_best_mixture_is_that_of_a_fine_grid():
    fits = mixture_fits()
    found = best_mixture(fits, SHARES, weights={"web": 0.6, "code": 0.4})
    steps = np.linspace(0, 1, 201)
    code, books = (v.ravel() for v in np.meshgrid(steps, steps))
    inside = code + books <= 1 + 1e-12
    x = {"code": code[inside], "books": books[inside]}
    total = 0.6 * fits["web"].predict(x) + 0.4 * fits["code"].predict(x)
    assert found.loss <= total.min() + 1e-9 and found.loss == pytest.approx(total.min(), abs=1e-4)
    assert found.shares["share"].sum() == pytest.approx(1)
    capped = best_mixture(fits, SHARES, limits={"code": (0.0, 0.1)})
    assert capped.shares["share"][1] == pytest.approx(0.1)


def test_mixtures_have_intervals_from_resamples_and_refuse_what_cannot_be():
    fits = mixture_fits(40)
    found = best_mixture(fits, SHARES, weights={"web": 0.6, "code": 0.4})
    assert (
        (found.shares["low"] <= found.shares["share"] + 1e-6) & (found.shares["share"] <= found.shares["high"] + 1e-6)
    ).all()
    with pytest.raises(PlanError, match="no mixture satisfies"):
        best_mixture(fits, SHARES, limits=dict.fromkeys(SHARES, (0.0, 0.2)))
    with pytest.raises(LawError, match="mixing_law"):
        best_mixture({"web": published("besiroglu2024")}, SHARES)


def test_alternatives_spend_the_same_and_rank_by_loss():
    law = published("besiroglu2024")
    table = alternatives(law, n_params=220e6, n_tokens=34e9, batch_tokens=65536, critical_batch=2e5)
    others = table[table["way"] != "as it is"]
    assert others["flops"].to_numpy() == pytest.approx(4 * 6 * 220e6 * 34e9)
    assert table["loss"].is_monotonic_increasing
    assert table["loss"].to_numpy() == pytest.approx(
        law.predict({c: table[c].to_numpy() for c in ("n_params", "n_tokens")})
    )
    loss = table.set_index("way")["loss"]
    assert loss["4 x steps"] < loss["4 x batch"] < loss["as it is"]
    free = alternatives(law, n_params=220e6, n_tokens=34e9).set_index("way")["loss"]
    assert free["4 x batch"] == free["4 x steps"]
    with pytest.raises(PlanError, match="both batch_tokens"):
        alternatives(law, n_params=1e8, n_tokens=1e9, batch_tokens=1e5)


def test_memory_takes_experts_away():
    law = published("ludziejewski2025")
    free = best_experts(law, 1e21)
    tight = best_experts(law, 1e21, memory_bytes=4e9)
    assert free["n_experts"][0] == 32 and not free["at_cap"].any()
    assert tight["n_experts"][0] < 32 and (tight["bytes"] <= 4e9 * (1 + 1e-9)).all()
    assert tight["loss"][0] > free["loss"][0]
    assert (tight["n_params"] * tight["n_tokens"] * 6).to_numpy() == pytest.approx(1e21, rel=1e-6)
    with pytest.raises(LawError, match="n_experts"):
        best_experts(published("besiroglu2024"), 1e21)


def test_latents_invert_the_law_down_to_the_floor():
    law = published("gao2024-sae")
    n = np.array([1e4, 1e6])
    loss = law.predict({"n_latents": n, "n_active_latents": np.full(2, 32.0)})
    assert latents_for(law, loss, 32) == pytest.approx(n)
    floor = reconstruction_floor(law, 32)
    assert np.isnan(latents_for(law, floor * 0.99, 32)).all()
    plan = best_latents(law, [1e16, 1e18], d_model=768, tokens_at=(1e5, 0.6), n_active=32)
    assert (12 * 768 * plan["n_latents"] * plan["n_tokens"]).to_numpy() == pytest.approx([1e16, 1e18])
    assert plan["loss"].is_monotonic_decreasing and (plan["loss"] > plan["floor"]).all()


def test_facts_and_parameters_are_two_bits_apart():
    assert capacity_bits(1e9) == 2e9 and params_for_facts(1e6, 40) == pytest.approx(2e7)
    assert bits_per_param(100) == pytest.approx(1) and bits_per_param(1e5) == pytest.approx(2)
    assert bits_per_param(bits_stored=4) == pytest.approx(0.7)
    with pytest.raises(PlanError, match="100 exposures"):
        bits_per_param(10)


@pytest.mark.parametrize("name", ["reward_best_of_n", "reward_rl"])
def test_the_reward_falls_beyond_its_peak_and_the_safe_budget_lies_before(name):
    rng = np.random.default_rng(0)
    d = np.linspace(0.3, 6, 40)
    value = d * (1.0 - 0.15 * d) if name == "reward_best_of_n" else d * (1.0 - 0.6 * np.log(d))
    runs = pd.DataFrame({"sqrt_kl": d, "reward": value + 0.03 * rng.standard_normal(40)})
    result = fit(name, runs, "squared")
    found = safe_kl(bootstrap(result, 100))
    truth = (1 / 0.3) ** 2 if name == "reward_best_of_n" else np.exp(2 * (1 / 0.6 - 1))
    assert found.low <= truth <= found.high and found.kl < found.peak
    around = result.predict({"sqrt_kl": np.sqrt(found.peak) * np.array([0.97, 1, 1.03])})
    assert around[1] > around[0] and around[1] > around[2] and around[1] == pytest.approx(found.reward)
    with pytest.raises(LawError, match="safe KL"):
        safe_kl(published("besiroglu2024"))


def test_cooldowns_are_ranked_by_the_law_and_schedules_are_what_they_say():
    lr = schedule(1000, 1e-3, 0.2, warmup=100)
    assert lr[99] == lr[500] == 1e-3 and lr[-1] == 0 and (np.diff(lr[-180:]) < 0).all() and len(lr) == 1000
    table = best_cooldown(published("tissue2024-100m"), 5000, 1e-3, warmup=200)
    assert table["loss"].is_monotonic_increasing and table["cooldown"].iloc[-1] == 0.0
    with pytest.raises(LawError, match="annealing"):
        best_cooldown(published("besiroglu2024"), 100, 1e-3)
    with pytest.raises(LawError, match="shape"):
        schedule(10, 1.0, 0.1, shape="cubic")


def test_only_decayed_rows_enter_a_fit():
    lr = schedule(100, 1.0, 0.2, warmup=10, shape="linear")
    curves = pd.DataFrame({"run": "a", "step": np.arange(100), "lr": lr})
    kept = valid_for_fit(curves.sample(frac=1, random_state=0))
    assert kept.sort_index().to_numpy().nonzero()[0].tolist() == [i for i in range(50, 100) if lr[i] <= 0.1]
    assert not kept.sort_index().iloc[:20].any(), "warm-up is no decay"
    assert not valid_for_fit(curves.assign(lr=1.0)).any()
    with pytest.raises(RunsError, match="no column 'rate'"):
        valid_for_fit(curves, lr="rate")
