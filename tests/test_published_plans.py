"""Plans and allocations that were printed, from their published coefficients."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import scaling
from scaling.allocation import allocate, flops_for_loss, flops_for_params
from scaling.compute import DENSE, Lifetime, Shape
from scaling.planning import plan
from scaling.training import trade_off
from scaling.training.known_runs import KNOWN_RUNS

HOFFMANN = scaling.published("hoffmann2022-3")


# --- Hoffmann et al. 2022 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    # arXiv:2203.15556, table 2: D grows as N^(b / a); the intervals of a and b are the printed 10th to 90th percentiles
    ("approach", "a", "b"), [("approach1", (0.488, 0.502), (0.501, 0.512)), ("approach2", (0.462, 0.534), (0.483, 0.529))],
)  # fmt: skip
def test_the_exponents_of_approaches_1_and_2_carry_table_3_to_its_rows(reference, approach, a, b):
    table = pd.read_csv(reference("chinchilla-tables") / "optimal_allocation.csv").query("group == @approach")
    assert len(table) == 9
    log_n, log_d = np.log(table["params"]), np.log(table["tokens"])
    slope, _ = np.polyfit(log_n, log_d, 1)
    assert b[0] / a[1] <= slope <= b[1] / a[0]
    # the law of optimal data through the row of Chinchilla itself gives the other eight
    through = table.query("params == 67e9").iloc[0]
    share = slope / (1 + slope)  # D ~ C^b with a + b = 1
    k = through["tokens"] / (6 * through["params"] * through["tokens"]) ** share
    law = scaling.get("optimal_d")
    flops = 6 * table["params"].to_numpy() * table["tokens"].to_numpy()
    np.testing.assert_allclose(law.predict({"flops": flops}, np.array([k, share])), table["tokens"], rtol=0.09)


# Table A3, approach 3: size, FLOPs, tokens
TABLE_A3 = (
    (4e8, 2.21e19, 9.2e9), (1e9, 1.62e20, 27.1e9), (1e10, 2.46e22, 410.1e9), (67e9, 1.71e24, 4.1e12),
    (175e9, 1.26e25, 12.0e12), (280e9, 3.52e25, 20.1e12), (520e9, 1.36e26, 43.5e12), (1e12, 5.65e26, 94.1e12),
    (1e13, 8.55e28, 1425.5e12),
)  # fmt: skip


def test_approach_3_allocates_as_table_a3():
    """The table's own exponent (0.459) is not quite that of the unrounded coefficients (0.457): 8 % over nine decades."""
    sizes, flops, tokens = np.array(TABLE_A3).T
    np.testing.assert_allclose(6 * sizes * tokens, flops, rtol=0.05)  # the table is consistent to its digits
    found = allocate(HOFFMANN, flops)
    np.testing.assert_allclose(found.n_params, sizes, rtol=0.09)
    assert np.polyfit(np.log(flops), np.log(found.n_params), 1)[0] == pytest.approx(
        np.polyfit(np.log(flops), np.log(sizes), 1)[0], abs=0.003
    )
    # the printed, rounded coefficients miss the table by up to 45 %: nobody should plan with them
    rounded = allocate(scaling.published("hoffmann2022-3-printed"), flops).n_params
    assert np.abs(rounded / sizes - 1).max() > 0.25


def test_gopher_s_budget_asks_for_40_billion_under_approach_3_and_chinchilla_was_close():
    """arXiv:2203.15556, sec. 3.4: approach 3 predicts 40B for 5.76e23 FLOPs, approaches 1 and 2 67B and 63B."""
    best = allocate(HOFFMANN, 5.76e23)
    assert best.n_params[0] == pytest.approx(40e9, rel=0.02)
    chinchilla_itself = HOFFMANN.predict({"n_params": [70e9], "n_tokens": [1.37e12]})[0]
    assert 0 < chinchilla_itself - best.loss[0] < 0.005


def test_besiroglu_s_coefficients_ask_for_about_20_tokens_a_parameter():
    """arXiv:2404.10102, sec. 4: consistent with the 20 that Hoffmann et al. trained with; their own fit asks for about 70."""
    replicated, original = scaling.published("besiroglu2024"), HOFFMANN
    budgets = [1e21, 5.76e23, 1e25]
    ratios = allocate(replicated, budgets).tokens_per_param
    assert ((ratios > 15) & (ratios < 25)).all()
    assert ratios[1] == pytest.approx(20, rel=0.1)
    assert (allocate(original, 5.76e23).tokens_per_param > 55).all()
    # a budget grown tenfold asks for 10^0.513 times the size (a = 0.513 +- 0.020)
    growth = np.log10(allocate(replicated, 1e25).n_params / allocate(replicated, 1e24).n_params)
    assert growth[0] == pytest.approx(0.513, abs=0.001)


# --- Muennighoff et al. 2023 -------------------------------------------------------------------------------------------


def test_limited_text_is_repeated_for_a_smaller_model_as_printed():
    """arXiv:2305.16264, sec. 6: at 9.3e21 FLOPs and 25e9 unique tokens they train 6.34B for 9.7 epochs, not 8.67B for 7.1."""
    law = scaling.published("muennighoff2023")
    best = allocate(law, 9.3e21, inputs={"n_unique_tokens": 25e9})
    epochs = float(best.n_tokens[0]) / 25e9
    assert 7.1 < epochs < 9.7
    assert 6.34e9 < best.n_params[0] < 8.67e9
    x = {"n_params": [6.34e9, 8.67e9], "n_tokens": [242e9, 178e9], "n_unique_tokens": [25e9, 25e9]}
    theirs, as_if_new = law.predict(x)
    assert best.loss[0] <= theirs < as_if_new
    assert theirs - best.loss[0] < 0.5 * (as_if_new - theirs)  # the valley is flat
    # without a limit on text the same budget asks for the larger model
    free = allocate(scaling.published("muennighoff2023-base"), 9.3e21)
    assert free.n_params[0] == pytest.approx(8.67e9, rel=0.03)
    assert free.n_tokens[0] == pytest.approx(178e9, rel=0.03)


@pytest.mark.parametrize(("epochs", "worth"), [(2, 0.984), (4, 0.931), (8, 0.828), (16, 0.661), (40, 0.379)])
def test_repeated_tokens_are_worth_less_the_more_often_they_are_seen(epochs, worth):
    """arXiv:2305.16264, eq. 5 with R* = 15.388: up to 4 epochs cost almost nothing, at 40 most of the value is gone."""
    law, base = scaling.published("muennighoff2023"), scaling.published("muennighoff2023-base")
    n, unique = 1e8, 1e10  # small enough for its text, so that only repetition counts
    repeated = law.predict({"n_params": [n], "n_tokens": [epochs * unique], "n_unique_tokens": [unique]})[0]
    as_new = base.predict({"n_params": [n], "n_tokens": [worth * epochs * unique]})[0]
    assert repeated == pytest.approx(as_new, rel=1e-4)


def test_the_plan_stops_buying_epochs_when_they_are_worth_nothing():
    """Their limit: 1 + R* = 16.4 times the unique text, whatever the epochs."""
    law = scaling.published("muennighoff2023")
    budgets = np.geomspace(1e20, 1e24, 9)
    best = allocate(law, budgets, inputs={"n_unique_tokens": 1e10})
    epochs = best.n_tokens / 1e10
    assert (np.diff(epochs) > 0).all()
    assert epochs[0] < 4 < epochs[-1]
    # under scarce text both size and epochs grow beyond what unlimited text would ask for in size
    free = allocate(scaling.published("muennighoff2023-base"), budgets)
    assert (best.loss[-3:] > free.loss[-3:]).all()
    assert (best.n_params[epochs > 4] < free.n_params[epochs > 4]).all()


# --- smaller than optimal ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ratio", "overhead"), [(0.75, 0.03), (0.57, 0.12), (0.5, 0.20), (0.3, 1.0)])
def test_models_smaller_than_optimal_cost_the_printed_overhead(ratio, overhead):
    """harmdevries.com/post/model-size-vs-compute-overhead: 20 % at half the size, 100 % at 30 %, at every budget."""
    for budget in (1e21, 1e25):
        found = trade_off(HOFFMANN, budget, (ratio,)).overhead[0]
        assert found == pytest.approx(overhead, rel=0.08, abs=0.005)


def test_sardana_s_13b_with_2e12_tokens_served_becomes_a_7b_on_2_1_times_the_data():
    """arXiv:2401.00448, sec. 1: 1.7e22 FLOPs or 17 % less over its life, at the quality of a Chinchilla 13B."""
    alone = float(flops_for_params(HOFFMANN, 13e9))
    reference = allocate(HOFFMANN, alone)
    total = float(flops_for_loss(HOFFMANN, float(reference.loss[0]), compute=Lifetime(DENSE, 2e12)))
    best = allocate(HOFFMANN, total, compute=Lifetime(DENSE, 2e12))
    assert best.n_params[0] == pytest.approx(7e9, rel=0.03)
    assert best.n_tokens[0] / reference.n_tokens[0] == pytest.approx(2.1, abs=0.05)
    before = alone + 2 * 13e9 * 2e12
    assert before - total == pytest.approx(1.7e22, rel=0.05)
    assert 1 - total / before == pytest.approx(0.17, abs=0.01)


# --- DeepSeek and Llama 3 ----------------------------------------------------------------------------------------------


def test_deepseek_s_optimum_is_near_what_deepseek_trained():
    """arXiv:2401.02954, eq. 4 and sec. 3.2: size in FLOPs per token M; their 67B (95 layers x 8192) saw 2e12 tokens."""
    n, d = scaling.published("deepseek2024-optimal-n"), scaling.published("deepseek2024-optimal-d")
    per_token = Shape(95, 8192, 22016, 64, 102400, 8).flops_per_token(4096, "deepseek")
    budget = per_token * 2e12
    m_best, d_best = n.predict({"flops": [budget]})[0], d.predict({"flops": [budget]})[0]
    assert m_best * d_best == pytest.approx(budget, rel=2e-3)
    assert per_token / m_best == pytest.approx(0.76, abs=0.02)  # smaller than the law's best by a quarter ...
    overhead = (per_token / m_best) ** -1 * (2e12 / d_best) ** -1
    assert overhead == pytest.approx(1, abs=2e-3)  # ... for the tokens that go with it


def test_llama_3_s_405b_is_the_size_its_law_leaves_for_3_8e25_flops():
    """arXiv:2407.21783, sec. 3.2.1: 402B on 16.55e12 tokens; they trained 405B on 15.6e12 of the same budget."""
    tokens = float(scaling.published("llama3-2024-optimal-d").predict({"flops": [3.8e25]})[0])
    run = KNOWN_RUNS["Llama 3.1 405B"]
    assert run.flops == pytest.approx(3.8e25, rel=0.001)
    assert tokens == pytest.approx(16.55e12, rel=0.02)
    assert run.n_tokens / tokens == pytest.approx(1, abs=0.08)
    assert run.n_params / (3.8e25 / 6 / tokens) == pytest.approx(1, abs=0.08)


# --- hours -------------------------------------------------------------------------------------------------------------

STATED = [name for name, run in KNOWN_RUNS.items() if run.mfu and run.gpu_hours]


def test_at_least_eight_known_runs_state_both_their_hours_and_their_utilisation():
    assert len(STATED) >= 8


@pytest.mark.parametrize("name", STATED)
def test_reported_hours_lie_in_the_range_that_the_stated_utilisation_predicts(name):
    """From the hours that never stop at the highest stated share, to the lowest at two thirds of the wall time.

    The stated shares are of running steps; hours include restarts, evaluation and what was trained twice (PaLM: 0.66).
    """
    run = KNOWN_RUNS[name]
    low, high = run.mfu
    assert run.hours_at(high) * 0.95 <= run.gpu_hours <= run.hours_at(low) / 0.65


def test_most_reported_hours_are_those_of_the_stated_utilisation_within_a_quarter():
    off = {
        name: KNOWN_RUNS[name].gpu_hours / KNOWN_RUNS[name].hours_at(np.mean(KNOWN_RUNS[name].mfu)) for name in STATED
    }
    assert sum(0.8 <= v <= 1.25 for v in off.values()) >= 6, off
    assert max(off.values()) < 1.55


@pytest.mark.parametrize("name", [n for n, r in KNOWN_RUNS.items() if r.gpu_hours and r.count and r.n_active is None])
def test_a_plan_of_a_known_run_takes_its_hours(name):
    """The plan of its size and tokens, at the share of the peak that it reached."""
    run = KNOWN_RUNS[name]
    found = plan(
        HOFFMANN, flops=run.flops, n_params=run.n_params, accelerator=run.accelerator, count=run.count, mfu=run.utilisation
    ).steps[0]  # fmt: skip
    assert found.n_tokens.estimate == pytest.approx(run.n_tokens)
    assert found.hardware.gpu_hours == pytest.approx(run.gpu_hours)
    assert found.hardware.days == pytest.approx(run.gpu_hours / run.count / 24)
