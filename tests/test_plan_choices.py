"""Serving at its own price under a wanted loss, ways to count compute, text that several laws share, shapes with experts."""

from __future__ import annotations

import json
from importlib import resources

import jsonschema
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import scaling
from scaling.cli import main
from scaling.compute import DENSE, Lifetime, accounting, expert_shapes_for, shapes_for, splits_evenly
from scaling.errors import PlanError
from scaling.hardware import accelerator
from scaling.planning import plan
from scaling.planning.advice import advise
from scaling.planning.spread import plan_each

LAW = scaling.published("besiroglu2024")


def call(*args):
    return CliRunner().invoke(main, [str(a) for a in args])


# --- a wanted loss that is also served -----------------------------------------------------------------------------


def total_usd(n, loss, served, training, serving):
    """Dollars of training a size to a loss and serving it; the tokens follow from the law, written out."""
    E, A, B, alpha, beta = LAW.theta
    left = loss - E - A * n**-alpha
    tokens = np.where(left > 0, np.abs(left) / B, np.nan) ** (-1 / beta)
    return 6 * n * tokens * training + 2 * n * served * serving


@pytest.mark.parametrize("mfu", [0.05, 0.1, 0.4, 0.8])
def test_a_wanted_loss_is_reached_for_the_least_money_of_training_and_serving(mfu):
    step = plan(LAW, loss=2.0, accelerator="H100", inference_tokens="10T", serving_mfu=mfu, usd_per_hour=2.0).steps[0]
    a_flop = 2.0 / (989e12 * 3600)
    sizes = np.exp(np.linspace(np.log(2e9), np.log(2e11), 200_001))
    spent = total_usd(sizes, 2.0, 1e13, a_flop / 0.4, a_flop / mfu)
    best = np.nanargmin(spent)
    assert step.loss.estimate == pytest.approx(2.0, abs=1e-9)
    assert np.log(step.n_params.estimate) == pytest.approx(np.log(sizes[best]), abs=1e-4)
    assert step.hardware.usd + step.hardware.serving_usd == pytest.approx(spent[best], rel=1e-8)
    # the FLOPs that are told are those of the run and of serving, whatever they cost
    n, d = step.n_params.estimate, step.n_tokens.estimate
    assert step.flops == pytest.approx(float(Lifetime(DENSE, 1e13).flops(n, d)))


def test_without_prices_time_on_the_same_machine_decides_and_without_machines_flops():
    lean = plan(LAW, loss=2.0, accelerator="H20", inference_tokens="10T", serving_mfu=0.1)
    assert accelerator("H20").usd_per_hour is None
    priced = plan(LAW, loss=2.0, accelerator="H20", inference_tokens="10T", serving_mfu=0.1, usd_per_hour=1)
    assert lean.steps[0].n_params.estimate == pytest.approx(priced.steps[0].n_params.estimate, rel=1e-9)
    assert any("least time" in c for c in lean.caveats)
    assert any("least money" in c and "4 times" in c for c in priced.caveats)
    plain = plan(LAW, loss=2.0, inference_tokens="10T")
    assert plain.steps[0].n_params.estimate > 1.2 * lean.steps[0].n_params.estimate
    assert not any("least" in c for c in plain.caveats)


def test_the_price_of_a_wanted_loss_is_that_of_the_whole_bill():
    request = {"accelerator": "H100", "inference_tokens": "10T", "serving_mfu": 0.1}
    step = plan(LAW, loss=2.0, **request).steps[0]
    (price,) = [p for p in step.prices if p.name == "usd"]
    assert price.limit == pytest.approx(step.hardware.usd + step.hardware.serving_usd)
    more = plan(LAW, usd=price.limit * 1.001, **request).steps[0].loss.estimate - 2.0
    assert price.loss_per_unit * price.limit * 0.001 == pytest.approx(more, rel=0.01)


def test_a_score_that_binds_is_called_a_score():
    done = call("plan", "--published", "besiroglu2024", "--score", "0.6", "--link", "score_sigmoid:floor=0.25,ceiling=0.95,k=4,L0=2.2", "--brief")  # fmt: skip
    assert "What binds: only the wanted score." in done.stdout


def test_a_share_of_the_peak_that_no_product_of_matrices_reaches_is_noted():
    said = [c for c in plan(LAW, usd="1M", accelerator="H100", mfu="95%").caveats if "matrix products" in c]
    assert len(said) == 1
    assert "95%" in said[0]
    assert not [c for c in plan(LAW, usd="1M", accelerator="H100", mfu="60%").caveats if "matrix products" in c]


def test_days_are_those_of_several_numbers_where_none_was_given():
    alone = str(plan(LAW, flops="1e23", accelerator="H100"))
    assert "293 days on 10 or 29.3 days on 100 at 40%" in alone
    assert "days on 1 at" not in alone
    assert "on 256 at 40%" in str(plan(LAW, flops="1e23", accelerator="H100", count=256))


def test_a_clash_of_text_and_tokens_names_what_was_given():
    with pytest.raises(PlanError, match=r"nearest run has 4e\+11.*limit on tokens is the max epochs"):
        plan(LAW, flops="1e23", unique_tokens="100B", max_epochs=4, min_tokens="1T")


def test_budgets_beyond_the_world_and_beyond_rounding_are_refused():
    with pytest.raises(PlanError, match="all machines of the world"):
        plan(LAW, flops=1e300)
    with pytest.raises(PlanError, match="rounding hides"):
        scaling.allocate(LAW, 1e120)  # whose best size would be wrong by a factor of thousands
    E, A, B, alpha, beta = LAW.theta
    best = (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * (1e60 / 6) ** (beta / (alpha + beta))
    assert np.log(scaling.allocate(LAW, 1e60).n_params[0]) == pytest.approx(np.log(best), abs=1e-6)


def test_flops_with_a_score_say_what_to_leave_away():
    link = ("--link", "score_sigmoid:floor=0.25,ceiling=0.95,k=4,L0=2.2")
    both = call("plan", "--published", "besiroglu2024", "--flops", "1e23", "--score", "0.6", *link)
    assert "flops, score; leave score away" in both.output
    shown = call("plan", "--published", "besiroglu2024", "--flops", "1e23", "--brief", *link).stdout
    assert ", score 0." in shown.splitlines()[0]


# --- how compute is counted ----------------------------------------------------------------------------------------


def test_the_command_counts_compute_as_it_is_told():
    args = ("plan", "--published", "besiroglu2024", "--flops", "1e20", "--brief", "--json", "--compute")
    for name in ("hoffmann", "Palm"):
        document = json.loads(call(*args, name).stdout)
        n, d = document["n_params"]["estimate"], document["n_tokens"]["estimate"]
        assert float(accounting(name).flops(n, d)) == pytest.approx(1e20, rel=1e-6)
        assert 6 * n * d < 0.97e20
    assert "did you mean kaplan" in call(*args, "kaplen").output


def test_logged_flops_are_planned_with_as_they_were_logged(tmp_path):
    rng = np.random.default_rng(1)
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e10, 8), np.geomspace(1e9, 1e12, 6)))
    loss = (1.8 + 480 * n**-0.35 + 2100 * d**-0.37) * np.exp(rng.normal(0, 0.002, n.size))
    runs = pd.DataFrame({"n_params": n, "n_tokens": d, "loss": loss, "flops": 9 * n**0.98 * d})
    runs.to_csv(tmp_path / "runs.csv", index=False)
    args = ("--flops", "1e23", "--resamples", "0", "--brief", "--compute", "logged", "--json")
    document = json.loads(call("plan", tmp_path / "runs.csv", *args).stdout)
    size, text = document["n_params"]["estimate"], document["n_tokens"]["estimate"]
    assert 9 * size**0.98 * text == pytest.approx(1e23, rel=1e-6)
    runs.drop(columns="flops").to_csv(tmp_path / "none.csv", index=False)
    assert "needs a column with the FLOPs" in call("plan", tmp_path / "none.csv", *args).output
    assert "give the log" in call("plan", "--published", "besiroglu2024", *args).output


# --- several laws --------------------------------------------------------------------------------------------------


def test_laws_share_the_text_that_one_of_them_repeats():
    laws = {k: scaling.published(k) for k in ("besiroglu2024", "muennighoff2023")}
    made = plan_each(laws, flops="1e24", unique_tokens="100B")
    sizes = {k: p.steps[0].n_params.estimate for k, p in made.plans.items()}
    assert min(sizes["besiroglu2024"], sizes["muennighoff2023"]) < sizes["average"]
    assert sizes["average"] < max(sizes["besiroglu2024"], sizes["muennighoff2023"])
    step = made.average.steps[0]
    x = {"n_params": step.n_params.estimate, "n_tokens": step.n_tokens.estimate}
    # the average is of both losses on repeated text, none on text taken for fresh
    losses = [
        plan(law, flops="1e24", unique_tokens="100B", repeats=True, n_params=x["n_params"]).steps[0].loss.estimate
        for law in laws.values()
    ]
    assert step.loss.estimate == pytest.approx(np.mean(losses), rel=1e-6)
    assert "note (besiroglu2024): repeated text is weighed" in str(made)


def test_several_laws_keep_their_warnings():
    laws = {k: scaling.published(k) for k in ("besiroglu2024", "hoffmann2022-3")}
    page = str(plan_each(laws, flops="1e26"))
    assert "warning (besiroglu2024): the compute 1e+26" in page
    assert "note (all laws): under this law" in page or "note (besiroglu2024): under this law" in page


# --- shapes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    # of released models: total, active, experts a token uses
    ("total", "active", "used"), [(671e9, 37e9, 8), (235.1e9, 22.1e9, 8), (30.5e9, 3.3e9, 8), (46.7e9, 12.9e9, None)],
)  # fmt: skip
def test_a_mixture_of_experts_has_both_its_sizes(total, active, used):
    shapes = expert_shapes_for(total, active)
    for shape in shapes:
        assert shape.n_params == pytest.approx(total, rel=0.1)
        assert shape.n_active == pytest.approx(active, rel=0.1)
        assert shape.n_experts % 8 == 0
        assert shape.d_ff % 64 == 0
    assert used is None or shapes[0].n_active_experts == used
    assert shapes[0].n_params == pytest.approx(total, rel=0.1 if used is None else 0.03)


@pytest.mark.parametrize(("total", "active"), [(1e9, 1e9), (1e9, 2e9), (3e9, 2.9e9), (1e9, 0.0)])
def test_an_impossible_mixture_is_refused(total, active):
    with pytest.raises(PlanError):
        expert_shapes_for(total, active)


def test_advice_lays_out_a_mixture_with_all_its_experts():
    made = plan(LAW, flops="1e24", active_share="5%", accelerator="H100", count=2048)
    advice = advise(made)
    step, shape = made.steps[0], advice.shapes[0]
    assert shape.n_params == pytest.approx(step.n_total, rel=0.05)
    assert shape.n_active == pytest.approx(step.n_active, rel=0.05)
    dense = advise(plan(LAW, flops="1e24", n_params=step.n_active, accelerator="H100", count=2048))
    assert advice.layout.least > 4 * dense.layout.least  # twenty times the weights
    assert "experts" in "\n".join(advice.lines())


def test_a_page_says_what_the_shape_costs_and_which_one_splits_evenly():
    made = plan(LAW, flops="1e24", accelerator="H100", count=1024)
    advice = advise(made, context=8192)
    first = shapes_for(made.steps[0].n_params.estimate)[0]
    page = "\n".join(advice.lines())
    assert f"{first.flops_per_token(8192, 'palm'):.4g} per token at a context of 8,192" in page
    assert ("splits evenly" in page) == (not splits_evenly(first))
    document = advice.to_dict()["shapes"][0]
    assert document["flops_per_token"] == first.flops_per_token(8192, "palm") > document["flops_per_token_6n"]
    schema = json.loads(resources.files("scaling").joinpath("schemas/plan.schema.json").read_text())
    whole = json.loads(call("plan", "--published", "besiroglu2024", "--flops", "1e24", "--active-share", "5%", "--json").stdout)  # fmt: skip
    jsonschema.validate(whole, schema)
    assert whole["training"]["shapes"][0]["n_experts"] > 0
