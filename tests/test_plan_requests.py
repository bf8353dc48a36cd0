"""Every budget, every constraint: what each asks for is what the plan respects, and what makes no sense is refused."""

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
from scaling.errors import PlanError, QuantityError, ScalingError
from scaling.hardware import accelerator
from scaling.laws import get
from scaling.planning import plan
from scaling.planning.advice import advise
from scaling.planning.score import link_of
from scaling.planning.spread import average, plan_each

LAW = scaling.published("besiroglu2024")
H100 = accelerator("H100")
RATE = 989e12 * 0.4  # FLOP/s of one H100 at 40 %


def schema(name):
    return json.loads(resources.files("scaling").joinpath(f"schemas/{name}.schema.json").read_text())


@pytest.fixture(scope="module")
def result():
    rng = np.random.default_rng(0)
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e10, 12), np.geomspace(1e9, 1e12, 8)))
    loss = (1.8 + 480 * n**-0.35 + 2100 * d**-0.37) * np.exp(rng.normal(0, 0.003, n.size))
    runs = scaling.read_runs(pd.DataFrame({"n_params": n, "n_tokens": d, "loss": loss, "flops": 6 * n * d}))
    return scaling.bootstrap(scaling.fit("chinchilla", runs), 300)


def one(source=LAW, **request):
    made = plan(source, **request)
    jsonschema.validate(json.loads(json.dumps(made.to_dict(), allow_nan=False)), schema("plan"))
    assert str(made).startswith("Train ")
    return made.steps[0]


# --- budgets ---------------------------------------------------------------------------------------------------------


def test_energy_buys_the_hours_that_draw_it():
    step = one(kwh="500 MWh", accelerator="H100", count=64, pue=1.2, power_share="70%")
    kilowatts = 0.7 * 0.7 * 1.2
    assert step.hardware.gpu_hours == pytest.approx(5e5 / kilowatts)
    assert step.hardware.kwh == pytest.approx(5e5)
    assert step.flops == pytest.approx(5e5 / kilowatts * 3600 * RATE)
    assert step.budget == "kwh"
    assert one(kwh=5e5, accelerator="H100", pue=1.2, power_share=0.7).flops == pytest.approx(step.flops)


def test_overhead_and_the_kind_of_price_change_what_money_buys():
    plain = one(usd="$1M", accelerator="H100")
    dear = one(usd="$1M", accelerator="H100", overhead="25%")
    assert dear.flops == pytest.approx(plain.flops / 1.25)
    assert dear.hardware.usd == pytest.approx(1e6)
    low, high = H100.usd_range
    for pricing, price in (("reserved", low), ("on-demand", high)):
        assert one(usd="$1M", accelerator="H100", pricing=pricing).hardware.gpu_hours == pytest.approx(1e6 / price)


def test_a_deadline_is_the_days_until_it():
    by_date = one(accelerator="H100", count=128, deadline="2027-03-31", start="2027-03-01")
    assert by_date.flops == pytest.approx(128 * 30 * 86400 * RATE)
    assert by_date.hardware.days == pytest.approx(30)


@pytest.mark.parametrize(("money", "binding"), [("$100k", "usd"), ("$10M", "days")])
def test_of_money_and_time_the_scarcer_decides_and_has_the_price(money, binding):
    step = one(usd=money, accelerator="H100", count=256, days="30d")
    amount = {"usd": 1e5 / 2.5, "days": 256 * 720}[binding]
    assert step.hardware.gpu_hours == pytest.approx(amount)
    assert step.budget == binding
    price = {p.name: p for p in step.prices}
    assert price[binding].loss_per_unit < 0
    assert price[{"usd": "days", "days": "usd"}[binding]].loss_per_unit == 0
    more = {"usd": {"usd": 1.1e5 / 1.0, "days": "30d"}, "days": {"usd": money, "days": 33}}[binding]
    really = one(accelerator="H100", count=256, **more).loss.estimate - step.loss.estimate
    assert price[binding].loss_per_tenth == pytest.approx(really, rel=0.08)  # first order against a tenth


def test_flops_within_a_deadline():
    step = one(flops=1e24, accelerator="H100", count=64, days=10)
    assert step.hardware.days == pytest.approx(10)
    assert step.budget == "days"
    assert step.flops == pytest.approx(64 * 10 * 86400 * RATE)


def test_a_wanted_loss_has_a_band_of_compute_days_and_money(result):
    step = one(result, loss=2.0, accelerator="H100", count=64)
    for band in (step.flops_band, step.hardware.days_band, step.hardware.usd_band):
        assert band.low < band.estimate < band.high
    assert step.hardware.days_band.estimate == pytest.approx(step.hardware.days)
    # by hand: each draw's own answer
    needed = np.sort(scaling.flops_for_loss(result, 2.0))
    assert step.flops_band.low == pytest.approx(np.quantile(needed, 0.1), rel=0.01)


def test_a_wanted_loss_that_the_money_cannot_pay_for_is_refused():
    assert one(loss=2.1, usd="$1M", accelerator="H100").loss.estimate == pytest.approx(2.1, abs=1e-9)
    with pytest.raises(PlanError, match=r"loss of 2.1 cannot be reached.*stays above"):
        plan(LAW, loss=2.1, usd="$1k", accelerator="H100")


def test_a_wanted_score_goes_through_the_link():
    link = link_of(get("score_sigmoid"), {"floor": 0.25, "ceiling": 0.95, "k": 4.0, "L0": 2.2})
    step = one(score=0.6, link=link)
    assert step.loss.estimate == pytest.approx(2.2, abs=1e-9)  # half way between floor and ceiling
    assert step.score.estimate == pytest.approx(0.6, abs=1e-9)
    error = scaling.published("gadre2024-c4-error17")  # a law of the error: the score is one minus it
    low = one(score=0.45, link=error)
    eps, k, gamma = error.theta
    assert 1 - (eps - k * np.exp(-gamma * low.loss.estimate)) == pytest.approx(0.45, abs=1e-9)
    with pytest.raises(PlanError, match=r"0.25 to 0.95"):
        plan(LAW, score=0.97, link=link)
    with pytest.raises(PlanError, match="give link"):
        plan(LAW, score=0.5)


def test_a_score_carries_the_doubt_of_the_loss(result):
    link = link_of(get("score_sigmoid"), {"floor": 0.25, "ceiling": 0.95, "k": 4.0, "L0": 2.2})
    step = one(result, flops=1e22, link=link)
    assert step.score.low < step.score.estimate < step.score.high
    at = 0.25 + 0.7 / (1 + np.exp(4 * (step.loss.estimate - 2.2)))
    assert step.score.estimate == pytest.approx(at, abs=0.003)


# --- serving ---------------------------------------------------------------------------------------------------------


def test_money_pays_for_training_and_serving_at_their_own_prices_and_utilisation():
    step = one(
        usd="$5M", accelerator="H100", mfu=0.4, usd_per_hour=2, inference_tokens="2T", serving_accelerator="A100",
        serving_mfu="5%", serving_usd_per_hour=1.5,
    )  # fmt: skip
    n, d = step.n_params.estimate, step.n_tokens.estimate
    train = 6 * n * d / (989e12 * 0.4 * 3600) * 2
    serve = 2 * n * 2e12 / (312e12 * 0.05 * 3600) * 1.5
    assert (step.hardware.usd, step.hardware.serving_usd) == pytest.approx((train, serve))
    assert train + serve == pytest.approx(5e6)
    # no other size does better with the same money
    for other in (0.9, 1.1):
        size = n * other
        tokens = (5e6 - serve * other) / 2 * (989e12 * 0.4 * 3600) / (6 * size)
        assert (
            LAW.law.predict({"n_params": np.array([size]), "n_tokens": np.array([tokens])}, LAW.theta)[0]
            > step.loss.estimate
        )


def test_sardanas_condition_holds_at_the_best_run():
    """alpha A N^-alpha / (beta B D^-beta) = 1 + D_inf / (3 D), laws.md 2.8."""
    step = one(flops=1e24, inference_tokens="3T")
    _, A, B, alpha, beta = LAW.theta
    n, d = step.n_params.estimate, step.n_tokens.estimate
    assert alpha * A * n**-alpha / (beta * B * d**-beta) == pytest.approx(1 + 3e12 / (3 * d), rel=1e-7)


def test_memory_and_speed_of_serving_bound_the_size():
    held = one(flops=1e24, serving_memory="80GB")
    assert held.n_params.estimate == pytest.approx(0.8 * 80e9 / 2)
    assert held.binding == ("serving memory",)
    small = one(flops=1e24, serving_memory="80GB", serve_bits=8)
    assert small.n_params.estimate == pytest.approx(0.8 * 80e9)
    quick = one(flops=1e24, accelerator="H100", serving_speed=200)
    assert quick.n_params.estimate == pytest.approx(3.35e12 / (200 * 2))
    assert quick.binding == ("serving speed",)


# --- text, experts, precision ----------------------------------------------------------------------------------------


def test_epochs_are_counted_and_weighed():
    step = one(scaling.published("muennighoff2023"), flops=9.3e21, unique_tokens="25B")
    assert step.repeats.epochs == pytest.approx(step.n_tokens.estimate / 25e9)
    assert step.repeats.next_token == pytest.approx(np.exp(-(step.repeats.epochs - 1) / 15.387756), rel=1e-4)
    assert {p.name: p.loss_per_unit for p in step.prices}["unique_tokens"] < 0
    assert "many_epochs" in {w.code for w in step.warnings}


def test_any_law_can_weigh_repeats_and_limit_epochs():
    free, repeated = one(flops=9.3e21), one(flops=9.3e21, unique_tokens="25B", repeats=True)
    fresh = one(flops=9.3e21, unique_tokens="25B")
    assert fresh.n_tokens.estimate == pytest.approx(25e9)
    assert fresh.loss.estimate > repeated.loss.estimate > free.loss.estimate
    limited = one(flops=9.3e21, unique_tokens="25B", max_epochs=4)
    assert limited.n_tokens.estimate == pytest.approx(100e9)
    assert limited.binding == ("max_epochs",)
    assert {p.name: p.limit for p in limited.prices}["max_epochs"] == 4
    enough = one(flops=1e20, unique_tokens="1T", repeats=True)
    assert enough.n_params.estimate == pytest.approx(one(flops=1e20).n_params.estimate, rel=1e-9)


def test_experts_cost_their_active_share_and_are_bounded_by_either_count():
    step = one(flops=1e23, active_share="10%")
    n, d = step.n_params.estimate, step.n_tokens.estimate
    assert 0.6 * n * d == pytest.approx(1e23)
    assert (step.n_total, step.n_active) == pytest.approx((n, n / 10))
    bounded = one(flops=1e23, active_share="10%", max_active_params="2B")
    assert bounded.n_params.estimate == pytest.approx(20e9)
    assert {p.name: p.limit for p in bounded.prices}["max_active_params"] == 2e9
    active = one(flops=1e23, active_share="10%", law_counts="active", max_total_params="100B")
    assert active.n_params.estimate == pytest.approx(10e9)
    assert 6 * active.n_params.estimate * active.n_tokens.estimate == pytest.approx(1e23)
    served = one(flops=1e23, active_share="10%", inference_tokens="1T")
    n, d = served.n_params.estimate, served.n_tokens.estimate
    assert 0.6 * n * d + 0.2 * n * 1e12 == pytest.approx(1e23)


def test_precision_changes_the_law_the_arithmetic_and_the_memory():
    kumar = one(scaling.published("kumar2024"), flops=1e21, train_bits=4)
    full = one(scaling.published("kumar2024"), flops=1e21)
    assert kumar.loss.estimate > full.loss.estimate
    assert kumar.n_params.estimate > full.n_params.estimate  # part of the size is lost, so more of it is bought
    quick = one(flops=1e23, accelerator="H100", train_bits=8)
    assert quick.hardware.gpu_hours == pytest.approx(1e23 / (1979e12 * 0.4) / 3600)
    assert quick.loss.estimate > one(flops=1e23).loss.estimate
    rounded = plan(LAW, flops=1e23, serve_bits=3)
    assert rounded.steps[0].loss.estimate > one(flops=1e23).loss.estimate
    assert any("Kumar" in c for c in rounded.caveats)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"accelerator": "H100", "count": 8, "deadline": "2020-01-01"}, "in the past.*later date"),
        ({"accelerator": "H100", "count": 8, "deadline": "2027-01-01", "start": "2027-02-01"}, "before the start"),
        ({"accelerator": "H100", "count": 8, "deadline": "soon"}, "no date; write it as"),
        ({"accelerator": "H100", "count": 1e9, "days": 3}, "more than exist"),
        ({"accelerator": "H100", "count": 8, "days": 30, "n_params": "1T"}, "more than training memory allows, 3.2e\\+10.*more accelerators"),
        ({"flops": 1e24, "n_params": "1T", "serving_memory": "80GB"}, "more than serving memory allows"),
        ({"kwh": "5 parsec", "accelerator": "H100"}, "500 MWh"),
        ({"kwh": 0, "accelerator": "H100"}, "not positive"),
        ({"kwh": "1GWh"}, "which accelerator"),
        ({"kwh": "1GWh", "accelerator": "TPU v5p"}, "power of TPU-v5p is not known"),
        ({"usd": "$1M", "accelerator": "H800"}, "Give usd_per_hour"),
        ({"usd": "1e400", "accelerator": "H100"}, "too large"),
        ({"usd": "nan", "accelerator": "H100"}, "not a number"),
        ({"usd": "$1M", "accelerator": "H100", "overhead": "-5%"}, "overhead|negative|not positive"),
        ({"usd": "$1M", "accelerator": "H100", "pricing": "free"}, "listed, reserved or on-demand"),
        ({"flops": 1e21, "pue": 0.5, "accelerator": "H100"}, "not possible"),
        ({"flops": 1e21, "active_share": 1.5}, "fraction"),
        ({"flops": 1e21, "active_share": 0.1, "law_counts": "both"}, "'total' or 'active'"),
        ({"flops": 1e21, "train_bits": 0}, "bits"),
        ({"flops": 1e21, "serve_bits": 64}, "between 1 and 32"),
        ({"flops": 1e21, "max_epochs": 4}, "Give unique_tokens"),
        ({"flops": 1e21, "serving_speed": 100}, "serving_accelerator"),
        ({"flops": 1e21, "serving_mfu": 0.1}, "which accelerator serves"),
        ({"flops": 1e21, "min_params": "2T", "max_tokens": "1T", "min_tokens_per_param": 1}, "nearest run.*1e\\+12 parameters and 1e\\+12 tokens"),
        ({"flops": 1e21, "min_params": "100B", "min_tokens": "1T"}, "find 600 times the budget"),
        ({"flops": 1e21, "min_params": "20B", "unique_tokens": "1B", "min_tokens_per_param": 1}, "limit on tokens is the unique tokens"),
        ({"usd": 1e300, "accelerator": "H100"}, "more than the world produces"),
        ({"kwh": "1e9 TWh", "accelerator": "H100"}, "more than the world produces"),
        ({"flops": 1e21, "inputs": {"n_experts": 8}}, "takes no input n_experts"),
        ({"start": "2027-01-01", "flops": 1e21}, "start needs a deadline"),
        ({"loss": 2.0, "score": 0.5, "link": scaling.published("gadre2024-c4-error17")}, "more than one target"),
    ],
)  # fmt: skip
def test_absurd_requests_are_refused_with_the_way_out(request_, words):
    with pytest.raises((PlanError, QuantityError), match=words):
        plan(LAW, **request_)


def test_a_run_that_nobody_has_trained_is_a_warning():
    assert "lopsided" in {w.code for w in one(flops=1e23, tokens_per_param=1e-3).warnings}
    assert "lopsided" in {w.code for w in one(flops=1e23, max_params="10k").warnings}
    assert "lopsided" not in {w.code for w in one(flops=1e23).warnings}


# --- several laws ----------------------------------------------------------------------------------------------------


def test_the_average_of_laws_minimises_their_mean_loss():
    laws = {key: scaling.published(key) for key in ("besiroglu2024", "hoffmann2022-3", "muennighoff2023-base")}
    spread = plan_each(laws, flops=1e23)
    n = np.geomspace(5e9, 1e11, 40001)
    x = {"n_params": n, "n_tokens": 1e23 / 6 / n}
    mean = np.mean([law.law.predict(x, law.theta) for law in laws.values()], axis=0)
    best = spread.average.steps[0]
    assert best.n_params.estimate == pytest.approx(n[mean.argmin()], rel=2e-4)
    assert best.loss.estimate == pytest.approx(mean.min(), rel=1e-9)
    low, high = spread.range("n_params")
    assert low < best.n_params.estimate < high
    jsonschema.validate(json.loads(json.dumps(spread.to_dict(), allow_nan=False)), schema("plans"))
    assert spread.table()["law"].tolist() == [*laws, "average"]
    assert "a factor of" in str(spread)


def test_weights_of_an_average_and_its_draws(result):
    laws = {"mine": result, "theirs": LAW}
    heavy = plan_each(laws, weights=[1, 1e-9], flops=1e22)
    alone = plan(result, flops=1e22).steps[0]
    assert heavy.average.steps[0].n_params.estimate == pytest.approx(alone.n_params.estimate, rel=1e-6)
    band = heavy.average.steps[0].n_params
    assert band.high / band.low == pytest.approx(alone.n_params.high / alone.n_params.low, rel=1e-3)
    with pytest.raises(PlanError, match="2 positive numbers"):
        plan_each(laws, weights=[1, 0], flops=1e22)
    with pytest.raises(PlanError, match="at least two"):
        average({"mine": result})


def test_a_law_that_cannot_meet_the_request_is_named_and_the_others_are_planned():
    laws = {"besiroglu2024": LAW, "muennighoff2023": scaling.published("muennighoff2023")}
    spread = plan_each(laws, flops=1e22)
    assert set(spread.plans) == {"besiroglu2024"}
    assert "n_unique_tokens" in spread.refused["muennighoff2023"]
    both = plan_each(laws, flops=1e22, unique_tokens="20B", repeats=True, train_bits=8)
    assert set(both.plans) == {"besiroglu2024", "muennighoff2023", "average"}
    losses = [p.steps[0].loss.estimate for p in both.plans.values()]
    assert min(losses[:2]) < losses[2] < max(losses[:2])
    moe = {"besiroglu2024": LAW, "joint": _fitted("joint_moe")}
    assert set(plan_each(moe, flops=1e22, inputs={"n_experts": 8}).plans) == {*moe, "average"}
    with pytest.raises(PlanError, match="none of the laws takes the input granularity"):
        plan_each(moe, flops=1e22, inputs={"granularity": 8})
    with pytest.raises(PlanError, match="none of the laws"):
        plan_each(laws, flops=1e22, min_params="1T", min_tokens="1T", unique_tokens="1T")


def _fitted(name):
    """A published law of that form."""
    return next(p for p in scaling.PUBLISHED.values() if p.law.name == name)


# --- beside the plan, and the command --------------------------------------------------------------------------------


def test_advice_goes_with_the_plan():
    made = plan(LAW, flops=1e23, accelerator="H100", count=256)
    advice = advise(made)
    n = made.steps[0].n_params.estimate
    assert advice.shapes[0].n_params == pytest.approx(n, rel=0.02)
    assert advice.layout.count <= 256
    assert {s.setting for s in advice.settings.suggestions} >= {"lr", "batch_tokens", "critical_batch_tokens"}
    assert advice.trade_off.best_n_params == pytest.approx(n, rel=1e-6)
    assert len(advice.known) > 5
    few = advise(plan(LAW, flops=1e21, accelerator="H100", count=1))
    assert few.layout is not None or few.notes
    experts = advise(plan(LAW, flops=1e23, active_share=0.1))
    assert experts.shapes[0].n_params == pytest.approx(10 * experts.shapes[0].n_active, rel=0.1)
    assert experts.shapes[0].n_experts > experts.shapes[0].n_active_experts > 0


def test_advice_on_a_fit_with_draws_is_that_of_its_estimate(result):
    advice = advise(plan(result, flops=1e21))
    lines = "\n".join(advice.lines())
    assert "Smaller or larger" in lines
    assert advice.trade_off.of is not None
    json.dumps(advice.to_dict(), allow_nan=False)


def call(*args):
    return CliRunner().invoke(main, [str(a) for a in args])


def test_the_command_prints_a_page_in_the_order_it_is_read():
    done = call("plan", "--published", "besiroglu2024", "--usd", "$2M", "--accelerator", "H100", "--gpus", 512, "--days", "20d", "--inference-tokens", "1T")  # fmt: skip
    assert done.exit_code == 0, done.output
    order = ["Train ", "What binds", "What more of it does", "Cost: ", "Serving 1T", "To train it", "learning rate", "Smaller or larger", "what others trained", "Law: ", "warning", "note"]  # fmt: skip
    places = [done.stdout.index(words) for words in order]
    assert places == sorted(places)


def test_the_document_of_the_command_is_complete():
    done = call("plan", "--published", "muennighoff2023", "--flops", "1e22", "--unique-tokens", "30B", "--accelerator", "A100", "--gpus", 64, "--json")  # fmt: skip
    document = json.loads(done.stdout)
    jsonschema.validate(document, schema("plan"))
    assert document["training"]["layout"]["count"] == 64
    assert document["repeats"]["epochs"] > 1
    brief = json.loads(call("plan", "--published", "besiroglu2024", "--flops", "1e22", "--brief", "--json").stdout)
    assert "training" not in brief


def test_the_command_plans_under_several_laws():
    done = call("plan", "--published", "besiroglu2024", "--also", "hoffmann2022-3", "--flops", "1e22")
    assert "under the average of the laws" in done.stdout
    document = json.loads(
        call("plan", "--published", "besiroglu2024", "--also", "hoffmann2022-3", "--flops", "1e22", "--json").stdout
    )
    jsonschema.validate(document, schema("plans"))
    for one_plan in document["laws"].values():
        jsonschema.validate(one_plan, schema("plan"))


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ("score_sigmoid:floor=0.2", "needs the coefficients"),
        ("chinchilla:E=1", "takes one input"),
        ("score_sigmoid:floor", "NAME=VALUE"),
        ("gadre2025", "did you mean"),
    ],
)
def test_a_link_that_is_none_is_refused(link, words):
    done = call("plan", "--published", "besiroglu2024", "--score", "0.5", "--link", link)
    assert done.exit_code == 2 or isinstance(done.exception, ScalingError)
    assert words in done.output + str(done.exception)


def test_a_link_may_be_written_out():
    done = call("plan", "--published", "besiroglu2024", "--score", "0.6", "--link", "score_sigmoid:floor=0.25,ceiling=0.95,k=4,L0=2.2", "--brief", "--json")  # fmt: skip
    assert json.loads(done.stdout)["loss"]["estimate"] == pytest.approx(2.2, abs=1e-9)
