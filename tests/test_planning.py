"""A plan turns budgets into runs, says what they cost, and refuses what makes no sense."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import scaling
from scaling.errors import PlanError, QuantityError
from scaling.planning import plan


@pytest.fixture(scope="module")
def law():
    return scaling.published("besiroglu2024")


@pytest.fixture(scope="module")
def result():
    rng = np.random.default_rng(0)
    n = np.geomspace(1e7, 1e10, 12)[:, None]
    d = np.geomspace(1e9, 1e12, 8)[None, :]
    loss = 1.8 + 480 * n**-0.35 + 2100 * d**-0.37
    runs = {"n_params": np.broadcast_to(n, loss.shape).ravel(), "n_tokens": np.broadcast_to(d, loss.shape).ravel()}
    runs["loss"] = loss.ravel() * np.exp(rng.normal(0, 0.003, loss.size))
    runs["flops"] = 6 * runs["n_params"] * runs["n_tokens"]
    return scaling.fit("chinchilla", scaling.read_runs(pd.DataFrame(runs)))


def test_accelerators_days_and_utilisation_make_the_budget_they_pay_for(law):
    made = plan(law, accelerator="H100", count=256, days="30d", mfu="40%")
    (step,) = made.steps
    assert step.flops == pytest.approx(256 * 30 * 86400 * 989e12 * 0.4)
    assert step.hardware.days == pytest.approx(30)
    assert step.hardware.gpu_hours == pytest.approx(256 * 720)
    assert step.hardware.usd == pytest.approx(256 * 720 * step.hardware.usd_per_hour)


def test_money_buys_hours_at_the_price_given(law):
    (step,) = plan(law, accelerator="A100", usd="$1M", usd_per_hour=2, count=512).steps
    assert step.hardware.gpu_hours == pytest.approx(5e5)
    assert step.flops == pytest.approx(5e5 * 3600 * 312e12 * 0.4)
    (deadline,) = plan(law, accelerator="A100", usd="$1M", usd_per_hour=2, count=512, days="10d").steps
    assert deadline.hardware.days == pytest.approx(10)  # the deadline comes before the money is spent


def test_a_wanted_loss_finds_the_least_budget(law):
    (step,) = plan(scaling.published("hoffmann2022-3-printed"), loss=2.0).steps
    assert step.loss.estimate == pytest.approx(2.0, abs=1e-9)
    assert step.flops == pytest.approx(1.11006e23, rel=1e-4)


def test_the_fewest_accelerators_that_meet_a_deadline(law):
    (step,) = plan(law, flops=1e23, accelerator="H100", days=None, mfu=0.4).steps
    assert step.hardware.count == 1


def test_a_fit_brings_bands_and_a_published_law_says_that_it_has_none(law, result):
    (step,) = plan(result, flops=1e22).steps
    for band in (step.n_params, step.n_tokens, step.tokens_per_param, step.loss):
        assert band.low < band.estimate < band.high
    assert "draws from the fit's uncertainty" in str(plan(result, flops=1e22))
    (known,) = plan(law, flops=1e22).steps
    assert known.n_params.low is None
    assert "no uncertainty is known" in str(plan(law, flops=1e22))


def test_a_bootstrap_and_the_covariance_give_bands_of_one_size(result):
    parametric = plan(result, flops=1e22).steps[0].n_params
    resampled = plan(scaling.bootstrap(result, 1000), flops=1e22).steps[0].n_params
    widths = [np.log(b.high / b.low) for b in (parametric, resampled)]
    assert widths[0] / widths[1] == pytest.approx(1, abs=0.35)


def test_reaching_far_beyond_the_runs_is_a_warning(result):
    near, far = plan(result, flops=1e22).steps[0], plan(result, flops=1e25).steps[0]
    assert not near.warnings
    assert {w.code for w in far.warnings} == {"extrapolation"}
    assert far.extrapolation == pytest.approx(1e25 / 6e22)


def test_several_budgets_of_an_allocation_are_rows_of_one_plan(result):
    best = scaling.allocate(scaling.bootstrap(result, 200), ["1e21", "1e22", "1e23"])
    made = plan(best, accelerator="H100-SXM", count=256, mfu=0.4)
    table = made.table()
    assert len(table) == 3
    assert table["gpu_hours"].to_numpy() == pytest.approx(best.flops / (989e12 * 0.4) / 3600)
    assert len(made.to_dict()["plans"]) == 3


def test_unique_text_is_weighed_where_the_law_can_and_is_a_limit_elsewhere(law):
    (repeated,) = plan(scaling.published("muennighoff2023"), flops=9.3e21, unique_tokens="25B").steps
    assert repeated.n_tokens.estimate > 100e9
    (single,) = plan(law, flops=9.3e21, unique_tokens="25B").steps
    assert single.n_tokens.estimate == pytest.approx(25e9)
    assert single.binding == ("unique_tokens",)


def test_serving_moves_the_plan_to_a_smaller_model_and_is_not_billed_as_training(law):
    (alone,) = plan(law, flops=1e23, accelerator="H100", count=100).steps
    (served,) = plan(law, flops=1e23, inference_tokens="1T", accelerator="H100", count=100).steps
    assert served.n_params.estimate < alone.n_params.estimate
    training = 6 * served.n_params.estimate * served.n_tokens.estimate
    assert served.hardware.gpu_hours == pytest.approx(training / (989e12 * 0.4) / 3600)
    assert training + 2e12 * served.n_params.estimate == pytest.approx(1e23)


def test_the_document_is_json_and_the_page_answers_first(result):
    made = plan(result, flops=1e22, max_params="1B", accelerator="H100", count=64)
    document = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert document["schema"] == "scaling.plan/1"
    assert document["binding"] == ["max_params"]
    page = str(made).splitlines()
    assert page[0].startswith("Train 1B parameters on 1.67T tokens")
    order = [i for i, line in enumerate(page) if line.startswith(("What binds", "Cost", "Law", "note"))]
    assert order == sorted(order)
    assert "max_params = 1e+09" in str(made)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({}, "no budget was given"),
        ({"flops": 1e21, "loss": 2.0}, "more than one budget"),
        ({"flops": 0}, "not positive"),
        ({"flops": -1}, "not positive"),
        ({"flops": float("nan")}, "not a number"),
        ({"flops": "1e400"}, "too large"),
        ({"flops": "5,000"}, "write"),
        ({"flops": []}, "no budget"),
        ({"flops": 1e21, "max_tokens": "0"}, "not positive"),
        ({"flops": 1e21, "max_tokkens": 1}, "unknown constraint max_tokkens"),
        ({"accelerator": "H100", "days": 30}, "how many H100-SXM"),
        ({"accelerator": "H900", "count": 8, "days": 30}, "did you mean"),
        ({"count": 8, "days": 30}, "which accelerator"),
        ({"accelerator": "H100", "count": 8, "days": "-3d"}, "not positive"),
        ({"accelerator": "H100", "count": 8, "days": 1e9}, "ten years"),
        ({"accelerator": "H100", "count": 1e9, "days": 3}, "more than exist"),
        ({"accelerator": "H100", "count": 2.5, "days": 3}, "whole number"),
        ({"accelerator": "H100", "count": 8, "days": 3, "mfu": 40}, "fraction"),
        ({"accelerator": "H20", "usd": "$1M"}, "what does an hour"),
        ({"loss": 1.0}, "cannot be reached"),
        ({"loss": "nan"}, "not a number"),
        ({"flops": 1e21, "band": 1.5}, "between 0 and 1"),
        ({"flops": 1e21, "inference_tokens": -1}, "not positive"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_the_way_out(law, request_, words):
    with pytest.raises((PlanError, QuantityError), match=words):
        plan(law, **request_)


def test_a_law_that_its_runs_do_not_determine_gives_no_confident_answer():
    n = np.geomspace(1e6, 1e9, 12)
    runs = pd.DataFrame({"n_params": n, "n_tokens": 1e9, "loss": 1.7 + 400 * n**-0.34 + 0.2})
    made = scaling.plan(scaling.fit("chinchilla", runs), flops=1e21)
    assert not made.steps[0].determined
    assert str(made).startswith("Not determined by the runs.")
    assert "undetermined" in [w["code"] for w in made.to_dict()["warnings"]]
    sure = scaling.plan(scaling.published("besiroglu2024"), flops=1e21)
    assert sure.steps[0].determined and str(sure).startswith("Train ")
