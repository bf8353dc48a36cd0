"""The next runs narrow the band as promised, more than repeating the ladder does, and no further than can be."""

from __future__ import annotations

import json
from importlib.resources import files
from types import SimpleNamespace

import click
import jsonschema
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import scaling
from scaling.commands.design import design as command
from scaling.compute import DENSE
from scaling.designing import band_with, design, ladder_for
from scaling.designing.local import added, linearise, quadratic
from scaling.designing.search import best_shares
from scaling.errors import PlanError, QuantityError

THETA = np.array([1.8, 480.0, 2100.0, 0.35, 0.37])
NOISE = 0.004


def observed(runs: pd.DataFrame, rng: np.random.Generator, noise: float = NOISE, shared: float = 0.0) -> pd.DataFrame:
    runs = runs.loc[runs.index.repeat(runs["count"])] if "count" in runs else runs
    table = runs[["n_params", "n_tokens"]].reset_index(drop=True)
    table["flops"] = (6 * table["n_params"] * table["n_tokens"]).round(-12)
    return scaling.simulate(
        scaling.CHINCHILLA, table, theta=THETA, noise=noise, shared={"flops": shared} if shared else None, rng=rng
    )


def ladder() -> pd.DataFrame:
    """Five budgets, 1e17 to 1e19 FLOPs, with seven sizes each, a factor of two apart."""
    rows = [
        (n, c / 6 / n) for c in 10.0 ** np.arange(17, 19.5, 0.5) for n in np.sqrt(c / 120) * 2.0 ** np.arange(-3, 4)
    ]
    return pd.DataFrame(rows, columns=["n_params", "n_tokens"])


def cost(runs: pd.DataFrame) -> float:
    return float((6 * runs["n_params"] * runs["n_tokens"] * runs.get("count", 1)).sum())


@pytest.fixture(scope="module")
def result():
    return scaling.fit("chinchilla", observed(ladder(), np.random.default_rng(0)), "squared-log")


# --- the search against what is known ---------------------------------------------------------------------------------


def test_shares_of_a_straight_line_extrapolated_are_the_known_ones():
    # Hoel and Levine 1964: a line seen on [-1, 1] and wanted at 3 is best measured at the ends, 2/3 of it at +1
    x = np.linspace(-1, 1, 21)
    gradients = np.stack([np.ones_like(x), x], -1)[None]
    c, now = np.array([[1.0, 3.0]]), 1e-9 * np.eye(2)[None]
    local = SimpleNamespace(now=now, c=c, variance_now=quadratic(now, c), inflation=1.0)
    share = best_shares(local, gradients, np.arange(21), np.zeros(21), np.ones(21), np.ones(21))
    assert share[-1] == pytest.approx(2 / 3, abs=0.01)
    assert share[0] == pytest.approx(1 / 3, abs=0.01)


@pytest.mark.parametrize(("seed", "tau"), [(0, 0.0), (1, 0.0), (2, 0.0), (3, 0.7), (4, 2.0)])
def test_shares_are_as_good_as_those_of_a_general_solver(seed, tau):
    from scipy.optimize import minimize

    rng = np.random.default_rng(seed)
    m, p = 12, 3
    gradients, c = rng.normal(size=(2, m, p)), rng.normal(size=(2, p))
    now, bought = np.broadcast_to(np.eye(p), (2, p, p)), np.exp(rng.normal(size=m)) * 5
    base, group, shared = quadratic(now, c), np.arange(m) % 3, np.full(m, tau)
    local = SimpleNamespace(now=now, c=c, variance_now=base, inflation=1.0)

    def value(share):
        return (quadratic(now + added(gradients, (share * bought)[None], group, shared)[0], c) / base).mean()

    theirs = min(
        minimize(lambda z: value(np.exp(z) / np.exp(z).sum()), rng.normal(size=m), method="BFGS").fun for _ in range(3)
    )
    assert value(best_shares(local, gradients, group, shared, bought, np.ones(m))) <= theirs * 1.004


def test_runs_that_share_an_error_add_what_their_covariance_says():
    rng = np.random.default_rng(0)
    g, noise, tau, labels = rng.normal(size=(6, 3)), np.array([1, 1, 2, 2, 3, 3.0]), 1.5, np.array([0, 0, 0, 1, 1, 1])
    covariance = np.diag(noise**2) + tau**2 * (labels[:, None] == labels)
    expected = g.T @ np.linalg.inv(covariance) @ g
    found = added((g / noise[:, None])[None], np.ones((1, 6)), labels, tau / noise)[0, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


# --- promises ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["free", "isoflop"])
def test_the_limits_are_kept_and_the_band_narrows(result, kind):
    made = design(result, "1e22", 2e19, kind=kind, most_runs=40)
    assert 0.9 * 2e19 < made.flops <= 2e19 * (1 + 1e-6)
    assert made.flops == pytest.approx(cost(made.runs))
    assert made.runs["count"].sum() <= 40
    assert made.runs["flops"].max() <= 2e19 / 4 * (1 + 1e-6)
    assert made.runs["flops"].min() >= 1e17 * (1 - 1e-6)
    done = ladder()
    assert (made.runs["n_params"] >= done["n_params"].min() * (1 - 1e-6)).all()
    assert (made.runs["n_tokens"] >= done["n_tokens"].min() * (1 - 1e-6)).all()
    assert 1 < made.width_then < made.width_now
    if kind == "isoflop":
        assert made.runs.groupby(made.runs["flops"].round(-12)).size().nunique() == 1


def test_the_band_now_is_the_interval_of_the_fit(result):
    slope = np.log(1e22 / 6)

    def log_best_size(theta):
        E, A, B, alpha, beta = np.moveaxis(theta, -1, 0)
        return (np.log(alpha * A / beta / B) + beta * slope) / (alpha + beta)

    own = scaling.interval(result, log_best_size, 0.8)
    assert np.log(design(result, 1e22, 2e19).width_now) == pytest.approx(float(own.high[0] - own.low[0]), rel=1e-5)


def test_more_compute_and_more_runs_narrow_more_and_the_promise_is_its_own_sum(result):
    small, large = design(result, 1e22, 2e19), design(result, 1e22, 2e20)
    assert large.width_then < small.width_then < design(result, 1e22, 2e19, most_runs=10).width_then
    assert band_with(result, large.runs, 1e22) == pytest.approx(large.width_then, rel=1e-9)
    assert small.width_then == pytest.approx(band_with(result, small.runs, 1e22), rel=1e-9)


@pytest.mark.parametrize(("quantity", "target"), [("n_params", 1e24), ("tokens_per_param", 1e24), ("loss", 1e24)])
def test_it_beats_the_ladder_repeated_at_equal_cost(result, quantity, target):
    again = ladder()
    made = design(result, target, cost(again), quantity=quantity)
    repeated = band_with(result, again, target, quantity=quantity)
    assert np.log(repeated) / np.log(made.width_then) > 1.5
    # and what it says of repeating is what repeating gives, the degrees of freedom of more runs aside
    assert np.log(made.width_repeated) == pytest.approx(np.log(repeated), rel=0.02)
    assert made.repeat_flops > 2 * made.flops


def test_the_promised_width_is_the_realised_one_and_the_true_scatter():
    rng = np.random.default_rng(1)
    ratios, error, promised = [], [], []
    truth = (np.log(0.35 * 480 / 0.37 / 2100) + 0.37 * np.log(1e22 / 6)) / 0.72
    for _ in range(12):
        first = observed(ladder(), rng)
        made = design(scaling.fit("chinchilla", first, "squared-log"), 1e22, 2e19)
        both = pd.concat([first, observed(made.runs, rng)], ignore_index=True)
        after = scaling.fit("chinchilla", both, "squared-log")
        now = band_with(after, made.runs.head(0), 1e22)
        ratios.append(np.log(now) / np.log(made.width_then))
        error.append(np.log(scaling.allocate(after, 1e22).n_params[0]) - truth)
        promised.append(np.log(made.width_then) / 2 / 1.29)
    assert np.median(ratios) == pytest.approx(1, abs=0.2)
    assert np.sqrt(np.mean(np.square(error))) / np.median(promised) == pytest.approx(
        1, abs=0.45
    )  # of 12: +-21 % by chance


def test_noise_that_falls_with_compute_moves_the_runs_up():
    runs, rng = ladder(), np.random.default_rng(3)
    compute = 6 * runs["n_params"] * runs["n_tokens"]
    even = scaling.fit("chinchilla", observed(runs, rng), "robust")
    falling = scaling.fit(
        "chinchilla", observed(runs, rng, noise=0.004 * (compute / 1e18).to_numpy() ** -0.4), "robust"
    )
    assert falling.summary["noise_slope"] < -0.2
    moved, still = design(falling, 1e22, 2e19), design(even, 1e22, 2e19)

    def middle(made):
        return np.average(np.log(made.runs["flops"]), weights=made.runs["count"] * made.runs["flops"])

    assert middle(moved) > middle(still) + np.log(2)
    assert "noise_trend" in {c.code for c in moved.caveats}


def test_an_error_that_runs_of_a_budget_share_is_not_removed_by_repeats():
    shared = scaling.fit(
        "chinchilla", observed(ladder(), np.random.default_rng(2), noise=0.001, shared=0.006), "squared-log"
    )
    made = design(shared, 1e22, 2e19, quantity="loss")
    assert "shared_error" in {c.code for c in made.caveats}
    one = pd.DataFrame({"n_params": [1e8], "n_tokens": [1e9], "count": [1]})
    local = linearise(shared, 1e22, "loss", DENSE, {}, 0.8, 0)
    g, s = local.of_runs(np.array([1e8]), np.array([1e9])), local.shared(np.array([1e8]), np.array([1e9]))
    few, many = (added(g, np.array([[n]]), np.zeros(1), s)[0, 0] for n in (1.0, 1e6))
    assert np.trace(many) < np.trace(few) * (1 + 1 / s[0] ** 2) * 1.001
    # nor by repeating the ladder in its budgets, however often
    again = linearise(shared, 1e22, "loss", DENSE, {}, 0.8, 0)
    often, more_often = (again.variance(again.repeated(times))[0] for times in (1e6, 1e8))
    assert more_often == pytest.approx(often, rel=0.01)
    assert more_often > 0.5 * again.tau**2 / 5  # five budgets, each with its own
    assert made.repeat_flops > 2 * made.flops
    assert band_with(shared, one, 1e22, quantity="loss") < design(shared, 1e22, 2e19, quantity="loss").width_now * 1.001


# --- how large a ladder -----------------------------------------------------------------------------------------------


def test_the_ladder_for_a_band_reaches_it_and_hardly_more(result):
    found = ladder_for(result, 1e22, 0.04)
    assert found.status == "reached"
    assert found.design.width_then <= found.wanted
    assert design(result, 1e22, found.spend * 0.8).width_then > found.wanted
    assert found.to_dict()["design"]["schema"] == "scaling.design/1"


def test_a_band_that_cannot_be_reached_is_said_to_be(result):
    assert ladder_for(result, 1e22, 1e-4).status == "out_of_reach"
    assert ladder_for(result, 1e22, 0.5).status == "already"
    held = ladder_for(result, 1e22, 0.05, floor=1.2)
    assert held.status == "floor" and held.design is None and held.spend is None
    assert "no ladder" in str(held)


def test_a_floor_widens_every_width(result):
    plain, floored = design(result, 1e22, 2e19), design(result, 1e22, 2e19, floor=1.1)
    assert np.log(floored.width_then) == pytest.approx(np.hypot(np.log(plain.width_then), np.log(1.1)))
    assert floored.width_repeated > plain.width_repeated


# --- what it says -----------------------------------------------------------------------------------------------------


def test_a_design_says_what_it_does_not_see(result):
    made = design(result, 1e24, 4e20)
    codes = {c.code for c in made.caveats}
    assert {"law_error", "far_target"} <= codes
    assert 0 <= made.share_beyond <= 1
    assert ("beyond_runs" in codes) == (made.share_beyond > 0)
    document = made.to_dict()
    assert made.finding in str(made) and document["finding"] == made.finding
    assert sum(r["count"] for r in document["runs"]) == made.runs["count"].sum()


def test_a_design_says_when_more_or_fewer_runs_would_do_better(result):
    held = design(result, 1e24, 3e20, most_runs=2)  # the ladder repeated has many more runs
    assert held.width_repeated < held.width_then
    assert "few_runs" in {c.code for c in held.caveats}
    assert "dear" not in {c.code for c in held.caveats}
    free = design(result, 1e24, 3e20)
    assert free.width_then < free.width_repeated
    assert "few_runs" not in {c.code for c in free.caveats}
    assert "dear" in {c.code for c in design(result, 1e20, 3e20).caveats}
    assert "at most 2 further runs" in ladder_for(result, 1e24, 0.01, limit=3e20, most_runs=2).message


def test_a_loaded_fit_and_a_bootstrap_do(result):
    loaded = scaling.load_fit(result.to_dict())
    made = design(loaded, 1e22, 2e19)
    assert made.width_repeated is None and 1 < made.width_then < made.width_now
    assert "Repeating" not in str(made)
    assert design(scaling.bootstrap(result, 20), 1e22, 2e19).runs.equals(design(result, 1e22, 2e19).runs)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"flops": 1e22, "spend": 0}, "not positive"), ({"flops": "nan", "spend": 1e19}, "not a number"),
        ({"flops": 1e22, "spend": 1e19, "quantity": "price"}, "choose n_params"),
        ({"flops": 1e22, "spend": 1e19, "kind": "grid"}, "choose free or isoflop"),
        ({"flops": 1e22, "spend": 1e19, "level": 2}, "between 0 and 1"), ({"flops": 1e22, "spend": 1e19, "floor": 0.5}, "at least 1"),
        ({"flops": 1e22, "spend": 1e15}, "smaller than the smallest"), ({"flops": 1e22, "spend": 1e19, "most_runs": 0}, "at least 1"),
        ({"flops": 1e22, "spend": 1e19, "tokens_per_param": (5.0, 1.0)}, "lowest, highest"),
        ({"flops": 1e22, "spend": 1e19, "kind": "isoflop", "most_runs": 2}, "buys no run within the limits"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(result, arguments, words):
    with pytest.raises((PlanError, QuantityError), match=words):
        design(result, **arguments)


def test_a_law_without_a_trade_off_and_runs_without_scatter_are_refused(result):
    n = np.geomspace(1e6, 1e9, 8)
    runs = pd.DataFrame({"n_params": n, "loss": 10 * n**-0.1 * np.exp(np.random.default_rng(0).normal(0, 0.01, 8))})
    with pytest.raises(PlanError, match="n_params and n_tokens"):
        design(scaling.fit("power_n", runs), 1e22, 1e19)
    exact = scaling.fit("chinchilla", observed(ladder(), np.random.default_rng(0), noise=0.0), "squared-log")
    with pytest.raises(PlanError, match="scatter|how sure"):
        design(exact, 1e22, 1e19)
    with pytest.raises(PlanError, match="positive share"):
        ladder_for(result, 1e22, -0.1)


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("design") / "runs.csv"
    observed(ladder(), np.random.default_rng(0)).to_csv(path, index=False)
    return str(path)


def run(*arguments: str):
    return CliRunner().invoke(command, list(arguments), standalone_mode=False)


def schema(name: str):
    return json.loads(files("scaling").joinpath("schemas", f"{name}.schema.json").read_text())


def test_the_command_prints_the_same_design(runs_file, result):
    options = (runs_file, "--objective", "squared-log", "--flops", "1e22", "--spend", "2e19", "--quantity", "loss")
    document = json.loads(run(*options, "--json").stdout)
    jsonschema.validate(document, schema("design"))
    expected = design(result, 1e22, 2e19, quantity="loss")
    assert document["width_then"] == pytest.approx(expected.width_then, rel=1e-6)
    text = run(*options).stdout
    assert text.startswith(document["finding"]) and "35 runs" in text


def test_the_command_says_how_much_is_needed(runs_file, result):
    done = run(runs_file, "--objective", "squared-log", "--flops", "1e22", "--reach", "4%", "--json")
    document = json.loads(done.stdout)
    jsonschema.validate(document, schema("ladder"))
    jsonschema.validate(document["design"], schema("design"))
    assert document["spend_flops"] == pytest.approx(ladder_for(result, 1e22, 0.04).spend, rel=1e-6)
    never = json.loads(run(runs_file, "--flops", "1e22", "--reach", "0.01%", "--limit", "1e20", "--json").stdout)
    jsonschema.validate(never, schema("ladder"))
    assert never["status"] == "out_of_reach"


def test_the_command_takes_a_saved_fit_hours_and_money(tmp_path, result):
    path = tmp_path / "fit.json"
    path.write_text(json.dumps(result.to_dict()))
    hours = ("--accelerator", "H100", "--mfu", "40%", "--flops", "1e22", "--json")
    by_hours = json.loads(run("--fit", str(path), "--gpu-hours", "100", *hours).stdout)
    assert by_hours["spend_flops"] == pytest.approx(100 * 3600 * 989e12 * 0.4)
    by_money = json.loads(run("--fit", str(path), "--usd", "$250", "--usd-per-hour", "2.5", *hours).stdout)
    assert by_money == by_hours
    jsonschema.validate(by_hours, schema("design"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--flops", "1e22", "--spend", "1e19"), "one fit"), (("x.csv", "--flops", "1e22"), "none was given"),
        (("x.csv", "--flops", "1e22", "--spend", "1e19", "--reach", "5%"), "--spend and --reach were given"),
        (("x.csv", "--flops", "1e22", "--spend", "1e19", "--limit", "1e20"), "--limit goes with --reach"),
    ],
)  # fmt: skip
def test_the_command_refuses_what_makes_no_sense(arguments, words):
    done = run(*arguments)
    assert isinstance(done.exception, click.UsageError) and words in str(done.exception)


def test_the_command_needs_to_know_the_machine(runs_file):
    done = run(runs_file, "--flops", "1e22", "--usd", "$100")
    assert isinstance(done.exception, click.UsageError) and "--accelerator" in str(done.exception)
    done = run(runs_file, "--flops", "1e22", "--spend", "1e19", "--tokens-per-param", "20")
    assert isinstance(done.exception, click.UsageError) and "LOW:HIGH" in str(done.exception)
