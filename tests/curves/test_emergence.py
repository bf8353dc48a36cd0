"""The emergence analysis against brute force, exact probabilities, simulated truths and real scores."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from scaling.curves import binomial as curves
from scaling.curves.emergence import SHAPES, emergence, exact_interval
from scaling.curves.mirage import mirage, one_curve, pass_law, pass_until, resolution
from scaling.errors import RunsError

ROOT = Path(__file__).resolve().parents[2]
X = np.linspace(19.0, 23.0, 12)


def scores(mu, n=500, seed=0, x=X):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"flops": 10**x, "score": rng.binomial(n, mu) / n})


def logistic(middle, width, floor=0.25, ceiling=0.8, x=X):
    return curves.mean(curves.LOGISTIC, x, np.array([middle, width, floor, ceiling]))


# --- the curves and their fit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.name)
def test_shapes_share_the_meaning_of_middle_and_width(shape):
    q = shape.curve(curves.inverse(shape, np.array([0.1, 0.5, 0.9])))[0]
    np.testing.assert_allclose(q, [0.1, 0.5, 0.9], atol=1e-12)
    z10, z50, z90 = curves.inverse(shape, np.array([0.1, 0.5, 0.9]))
    assert z90 - z10 == pytest.approx(1.0, abs=1e-12)
    assert z50 == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_array_equal(curves.inverse(shape, np.array([-0.1, 0.0, 1.0])), [-np.inf, -np.inf, np.inf])


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.name)
def test_slopes_match_differences(shape):
    z = np.array([-0.61, -0.4, -0.13, 0.02, 0.37, 0.55])
    difference = (shape.curve(z + 1e-6)[0] - shape.curve(z - 1e-6)[0]) / 2e-6
    np.testing.assert_allclose(shape.curve(z)[1], difference, rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.name)
@pytest.mark.parametrize("floor", [0.25, None])
def test_fit_is_at_least_as_good_as_scipy_from_many_starts(shape, floor):
    rng = np.random.default_rng(3)
    n = np.full(12, 400.0)
    y = rng.binomial(400, curves.mean(shape, X, np.array([21.1, 1.4, 0.25, 0.8])), size=(3, 12)).astype(float)
    box = curves.box_for(X, floor, None)
    theta, value = curves.fit_shape(shape, X, y, n, box)
    low, high = np.array(box.low), np.array(box.high)
    assert ((theta >= low - 1e-12) & (theta <= high + 1e-12)).all()
    for row in range(3):
        found = -np.inf
        for _ in range(12):
            start = rng.uniform([20, np.log(0.3), 0.1, 0.6], [22, np.log(4), 0.3, 1.0])

            def negative(u, row=row):
                t = np.clip([u[0], np.exp(u[1]), floor if floor is not None else u[2], u[3]], low, high)
                return -curves.log_likelihood(y[row], n, curves.mean(shape, X, t))

            found = max(found, -optimize.minimize(negative, start, method="Nelder-Mead", options={"maxiter": 600}).fun)
        assert value[row] >= found - 1e-3


def test_profile_peaks_at_the_estimate_and_never_above_it():
    y = scores(logistic(21.1, 1.4)).score.to_numpy() * 500
    n = np.full(12, 500.0)
    box = curves.box_for(X, 0.25, None)
    theta, value = curves.fit_shape(curves.LOGISTIC, X, y[None], n, box)
    at = theta[0, curves.WIDTH] * np.array([0.5, 0.8, 1.0, 1.25, 2.0])
    drop = value[0] - curves.profile(curves.LOGISTIC, X, y, n, box, curves.WIDTH, at)
    assert abs(drop[2]) < 1e-6
    assert (drop[[0, 1, 3, 4]] > 0.5).all()
    assert drop[0] > drop[1]
    assert drop[4] > drop[3]


def test_flat_step_and_line_are_the_closed_forms():
    rng = np.random.default_rng(1)
    y, n = rng.binomial(50, 0.4, size=(4, 12)).astype(float), np.full(12, 50.0)
    rate, flat = curves.fit_flat(y, n)
    np.testing.assert_allclose(rate, y.mean(axis=1) / 50)
    _, line = curves.fit_line(X, y, n)
    assert (line >= flat - 1e-9).all()
    theta, step = curves.fit_step(X, y, n, curves.box_for(X, None, None))
    for b in range(4):  # every split by hand, levels in order
        best = -np.inf
        for k in range(1, 12):
            low, high = y[b, :k].sum() / (50 * k), y[b, k:].sum() / (50 * (12 - k))
            if high >= low:
                best = max(best, curves.log_likelihood(y[b], n, np.repeat([low, high], [k, 12 - k])))
        assert step[b] >= best - 1e-9
        assert theta[b, curves.CEILING] >= theta[b, curves.FLOOR]


def test_simulation_has_the_stated_mean_and_variance():
    rng = np.random.default_rng(0)
    mu, n = np.array([0.1, 0.5, 0.8]), np.full(3, 200.0)
    for dispersion in (1.0, 4.0):
        rows = curves.simulate(mu, n, dispersion, 20_000, rng)
        np.testing.assert_allclose(rows.mean(axis=0), n * mu, rtol=0.01)
        np.testing.assert_allclose(rows.var(axis=0), dispersion * n * mu * (1 - mu), rtol=0.05)
    rates = curves.simulate(mu, np.ones(3), 0.01, 20_000, rng)
    np.testing.assert_allclose(rates.var(axis=0), 0.01 * mu * (1 - mu), rtol=0.05)


def test_draws_agree_with_the_likelihood_where_it_is_a_bell_curve():
    rng = np.random.default_rng(2)
    n = np.full(12, 5000.0)
    y = rng.binomial(5000, logistic(21.0, 2.0)).astype(float)
    box = curves.box_for(X, 0.25, None)
    theta, _ = curves.fit_shape(curves.LOGISTIC, X, y[None], n, box)
    draws = curves.likelihood_cells(curves.LOGISTIC, X, y, n, box, 1.0, theta[0]).draw(4000, rng)
    step = 1e-4 * np.eye(4)
    gradient = [
        (curves.mean(curves.LOGISTIC, X, theta[0] + step[i]) - curves.mean(curves.LOGISTIC, X, theta[0] - step[i]))
        / 2e-4
        for i in (0, 1, 3)
    ]
    mu = curves.mean(curves.LOGISTIC, X, theta[0])
    information = np.einsum("in,n,jn->ij", gradient, n / (mu * (1 - mu)), gradient)
    expected = np.sqrt(np.diag(np.linalg.inv(information)))
    np.testing.assert_allclose(draws[:, [0, 1, 3]].std(axis=0), expected, rtol=0.12)
    np.testing.assert_allclose(draws[:, [0, 1, 3]].mean(axis=0), theta[0, [0, 1, 3]], atol=0.35 * expected.max())


# --- the verdicts -----------------------------------------------------------------------------------------------------


def test_verdicts_on_clear_cases():
    sudden = emergence(scores(logistic(21.1, 0.3)), n_items=500, floor=0.25)
    assert sudden.verdict == "sudden"
    assert sudden.finding.startswith("Sudden: score goes")
    assert sudden.width.low <= 0.3 <= sudden.width.high < 1
    assert sudden.middle.low <= 10**21.1 <= sudden.middle.high
    gradual = emergence(scores(logistic(21.1, 2.5)), n_items=500, floor=0.25)
    assert gradual.verdict == "gradual"
    assert gradual.width.low > 1
    flat = emergence(scores(np.full(12, 0.25)), n_items=500, floor=0.25)
    assert flat.verdict == "no change"
    assert flat.p_change > 0.05
    assert "must pass chance by" in flat.finding


def test_what_counts_as_sudden_is_the_readers_choice():
    table = scores(logistic(21.1, 1.4))
    assert emergence(table, n_items=500, floor=0.25).verdict != "sudden"
    assert emergence(table, n_items=500, floor=0.25, sudden_width=2.5).verdict == "sudden"


def test_too_few_scales_inside_is_said():
    found = emergence(scores(np.where(X > 21.05, 0.8, 0.25)), n_items=500, floor=0.25)
    assert found.n_inside < 3
    assert found.width.low == 0.0
    assert "not from below" in found.reason


def test_a_corner_is_found_where_there_is_one_and_not_on_a_logistic():
    ramp = curves.mean(curves.RAMP, X, np.array([21.6, 1.6, 0.25, 0.9]))
    assert emergence(scores(ramp, n=5000), n_items=5000, floor=0.25).p_corner < 0.05
    assert emergence(scores(logistic(21.1, 2.0), n=5000), n_items=5000, floor=0.25).p_corner > 0.05


def test_intervals_cover():
    hits = np.zeros(3)
    n_simulated = 16
    for seed in range(n_simulated):
        e = emergence(scores(logistic(21.2, 1.2), n=300, seed=seed), n_items=300, floor=0.25, n_draws=100)
        hits += [
            e.width.low <= 1.2 <= e.width.high,
            e.middle.low <= 10**21.2 <= e.middle.high,
            e.ceiling.low <= 0.8 <= e.ceiling.high,
        ]
    assert (hits >= stats.binom.ppf(0.001, n_simulated, 0.93)).all(), hits


def test_overdispersion_is_seen_and_widens_the_interval():
    n = np.full(24, 500.0)
    x = np.linspace(19, 23, 24)
    rows = curves.simulate(logistic(21.1, 1.5, x=x), n, 8.0, 1, np.random.default_rng(4))[0] / 500
    table = pd.DataFrame({"flops": 10**x, "score": rows})
    loose = emergence(table, n_items=500, floor=0.25)
    assert 3 < loose.dispersion < 20
    tight = emergence(scores(logistic(21.1, 1.5, x=x), x=x), n_items=500, floor=0.25)
    assert loose.width.high - loose.width.low > 1.5 * (tight.width.high - tight.width.low)


def test_without_counts_the_scatter_sets_the_noise():
    found = emergence(scores(logistic(21.1, 1.5), n=500), floor=0.25)
    assert 1 / 2500 < found.dispersion < 1 / 100  # about 1 / 500
    assert found.width.low <= 1.5 <= found.width.high
    assert any("no number of items" in w for w in found.warnings)


def test_loss_axis_falls():
    loss = 10 - X / 3
    table = pd.DataFrame({"loss": loss, "score": scores(logistic(21.0, 0.9)).score})
    found = emergence(table, x="loss", n_items=500, floor=0.25)
    assert found.flipped
    assert not found.log_x
    assert found.verdict == "rise"  # no default of what is sudden on a loss axis
    assert found.middle.low <= 3.0 <= found.middle.high
    assert found.width.low <= 0.3 <= found.width.high
    assert emergence(table, x="loss", n_items=500, floor=0.25, sudden_width=1.0).verdict == "sudden"
    assert found.forecast([2.6])["score"].iloc[0] > found.forecast([3.4])["score"].iloc[0]


def test_forecast_covers_larger_scales_and_reaches_inverts_it():
    truth = logistic(21.5, 2.5, 0.0, 0.9)
    inside = 0
    for seed in range(12):
        table = scores(truth, seed=seed, n=1000).iloc[:9]
        e = emergence(table, n_items=1000, n_draws=300)
        ahead = e.forecast(10 ** X[9:], level=0.95)
        inside += int(((ahead.low <= truth[9:]) & (truth[9:] <= ahead.high)).all())
    assert inside >= 9
    assert (ahead.beyond > 0).all()
    wide = e.forecast(10 ** X[9:], level=0.95, n_items=50)
    assert ((wide.high - wide.low) > (ahead.high - ahead.low)).all()
    band = e.reaches(0.45)
    assert band.low <= 10**21.5 <= band.high
    assert e.forecast([band.estimate])["score"].iloc[0] == pytest.approx(0.45, abs=0.03)
    assert e.reaches(0.9999).high == np.inf


def test_held_out_ranks_the_true_shape_first():
    ramp = curves.mean(curves.RAMP, X, np.array([21.2, 2.4, 0.25, 0.9]))
    ranked = emergence(scores(ramp, n=20_000), n_items=20_000, floor=0.25).held_out()
    assert ranked["model"].iloc[0] == "hinge"


def test_document_is_json_and_repeats():
    table = scores(logistic(21.1, 0.8))
    one, two = (emergence(table, n_items=500, floor=0.25, rng=7).to_dict() for _ in range(2))
    assert json.loads(json.dumps(one, allow_nan=False)) == json.loads(json.dumps(two, allow_nan=False))
    assert one["schema"] == "scaling.emergence/1"
    assert {"width", "middle", "verdict", "p_change", "p_corner", "models", "points"} <= one.keys()
    text = str(emergence(table, n_items=500, floor=0.25, rng=7))
    assert text.startswith(one["finding"])


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"score": [50.0] * 12}, {}, "divide by 100"),
        ({"flops": [-1.0, *range(1, 12)]}, {}, "rows 0"),
        ({"flops": [1.0, 2.0] * 6}, {}, "2 different values"),
        ({"score": ["high"] * 12}, {}, "not numbers"),
        ({}, {"score": "accuracy"}, "'accuracy' is not in the table"),
        ({}, {"floor": 1.0}, "floor must lie"),
        ({}, {"ceiling": 0.1, "floor": 0.25}, "ceiling must lie"),
        ({}, {"n_items": 0}, "at least 1"),
        ({"items": [0.0] * 12}, {"n_items": "items"}, "below 1"),
    ],
)
def test_bad_input_is_refused_with_a_way_out(change, options, message):
    table = scores(logistic(21.1, 1.0)).assign(**change)
    with pytest.raises(RunsError, match=message):
        emergence(table, **options)


def test_missing_scores_are_left_out_and_counted():
    table = scores(logistic(21.1, 1.0))
    table.loc[3, "score"] = np.nan
    found = emergence(table, n_items=500, floor=0.25)
    assert len(found.points) == 11
    assert any("1 of 12 rows" in w for w in found.warnings)


# --- metrics and their limits -----------------------------------------------------------------------------------------


def test_exact_interval_is_scipys():
    for y, n in ((0, 100), (1, 30), (17, 40), (40, 40)):
        low, high = exact_interval(np.array([y]), np.array([n]))
        expected = stats.binomtest(y, n).proportion_ci(0.95, method="exact")
        assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_resolution_is_the_rule_of_three_and_the_exact_test():
    assert resolution(1000).smallest == pytest.approx(3 / 1000, rel=0.01)
    found = resolution(200, floor=0.25)
    needed = min(k for k in range(201) if stats.binom.sf(k - 1, 200, 0.25) <= 0.05)
    assert stats.binom.sf(needed - 1, 200, found.smallest) == pytest.approx(0.95, abs=1e-9)
    with pytest.raises(RunsError, match="at least 1"):
        resolution(0)


def test_mirage_recovers_the_number_of_tokens():
    rng = np.random.default_rng(5)
    p = np.exp(-(10 ** (-0.55 * (X - 19.5))))
    table = pd.DataFrame(
        {
            "flops": 10**X,
            "exact_match": rng.binomial(2000, p**12) / 2000,
            "per_token": rng.binomial(200_000, p) / 200_000,
        }
    )
    found = mirage(table, n_items=2000, n_tokens_per_item=100)
    assert found.exponent.low <= 12 <= found.exponent.high
    assert found.exponent.high - found.exponent.low < 2
    assert found.p_power > 0.05
    assert found.verdict == "gradual"  # a power law of the loss makes no sudden exact match, however many tokens
    json.dumps(found.to_dict(), allow_nan=False)
    other = table.assign(exact_match=rng.binomial(2000, np.clip(p - 0.3, 0, 1)) / 2000)
    assert mirage(other, n_items=2000, n_tokens_per_item=100).p_power < 0.05


def test_mirage_tells_the_metric_from_the_ability():
    rng = np.random.default_rng(6)
    per_token = logistic(21.0, 3.0, 0.0, 0.98)
    table = pd.DataFrame(
        {
            "flops": 10**X,
            "exact_match": rng.binomial(4000, per_token**60) / 4000,
            "per_token": rng.binomial(10**6, per_token) / 10**6,
        }
    )
    found = mirage(table, n_items=4000, n_tokens_per_item=250, sudden_width=2.0)
    assert found.per_token.verdict == "gradual"
    assert found.exact.width.estimate < found.per_token.width.estimate
    both = logistic(21.0, 0.4, 0.0, 0.99)
    table = table.assign(exact_match=rng.binomial(4000, both**3) / 4000, per_token=rng.binomial(10**6, both) / 10**6)
    assert mirage(table, n_items=4000, n_tokens_per_item=250).verdict == "ability"


def test_pass_until_is_unbiased_and_covers():
    rng = np.random.default_rng(0)
    true, r, cap = 0.01, 2, 10**6
    samples = np.minimum(rng.negative_binomial(r, true, size=20_000) + r, cap)
    found = pass_until(np.full(20_000, r), samples)
    assert found.rate.mean() == pytest.approx(true, rel=0.04)
    assert (r / samples).mean() > 1.5 * true  # the usual estimate is far too high
    covered = np.mean((found.low <= true) & (true <= found.high))
    assert 0.945 <= covered <= 0.96
    nothing = pass_until([0], [10**5])
    assert nothing.censored[0]
    assert nothing.low[0] == 0
    assert nothing.high[0] == pytest.approx(-np.log(0.025) / 10**5, rel=1e-3)
    with pytest.raises(RunsError, match="row 1"):
        pass_until([1, 5], [10, 4])


def test_pass_law_recovers_its_exponent_through_censored_tasks():
    rng = np.random.default_rng(1)
    x = np.linspace(18, 23, 16)
    rate = np.exp(-8 * 10 ** (-0.3 * (x - 20)))
    samples = np.minimum(rng.negative_binomial(8, np.maximum(rate, 1e-12)) + 8, 100_000)
    table = pd.DataFrame({"n_params": 10**x, "successes": np.where(samples < 100_000, 8, 0), "samples": samples})
    found = pass_law(table)
    assert found.best == "power_of_rate"
    alpha = np.log10(np.log(10) / -np.log(0.9)) / found.theta["power_of_rate"][curves.WIDTH]
    assert alpha == pytest.approx(0.3, abs=0.04)


def test_one_curve_over_loss_or_several():
    loss = np.tile(np.linspace(2, 4, 10), 3)
    family = np.repeat(list("abc"), 10)
    rng = np.random.default_rng(0)

    def table(shift):
        mu = logistic(-2.8, 0.7, 0.25, 0.9, x=-loss + shift * (family == "a"))
        return pd.DataFrame({"loss": loss, "family": family, "score": rng.binomial(800, mu) / 800})

    same = one_curve(table(0.0), by="family", n_items=800, floor=0.25)
    assert same.p_value > 0.05
    assert same.finding.startswith("One curve")
    apart = one_curve(table(0.3), by="family", n_items=800, floor=0.25)
    assert apart.p_value < 0.05
    shifted = apart.table.set_index("family")["middle"]
    assert shifted["a"] - shifted["b"] == pytest.approx(0.3, abs=0.1)
    with pytest.raises(RunsError, match="two are needed"):
        one_curve(table(0.0).assign(family="a"), by="family")


# --- real scores ------------------------------------------------------------------------------------------------------


def test_pythia_lambada_agrees_with_the_published_midpoint(reference):
    runs = pd.read_csv(reference("pythia-evals") / "runs.csv")
    runs = runs.assign(flops=6 * runs["params_label"] * runs["tokens"])
    used = runs[(runs["group"] == "zero-shot") & (runs["flops"] > 0)]
    found = emergence(used, score="lambada_openai/acc", n_items=5153, floor=0.0, n_draws=100)
    # README of the data: least squares gives the midpoint log10(6 N D) = 20.23, ceiling .698
    middle, _, _, ceiling = found.theta["logistic"]
    assert middle == pytest.approx(20.23, abs=0.05)
    assert ceiling == pytest.approx(0.698, abs=0.03)
    assert found.verdict == "gradual"
    assert found.dispersion > 10  # size and tokens do not enter through their product alone


def test_the_addition_networks_learn_within_a_decade_of_size():
    table = pd.read_csv(ROOT / "data" / "emergence" / "addition.csv")
    assert len(table) == 51
    assert (table["n_exact"] == (table["exact_match"] * table["n_items"]).round()).all()
    assert (table["flops"] == 6 * table["n_params"] * table["n_samples"]).all()
    found = mirage(
        table, x="n_params", per_token="per_digit", n_items="n_items", n_tokens_per_item=4, chance_per_token=0.1
    )
    assert found.verdict == "metric"  # exact sums within .6 decades of size, digits within 1.7
    assert found.exact.width.high < found.per_token.width.low
    assert found.exact.middle.low > found.per_token.middle.high
    assert found.p_power < 0.05  # the digits of one sum fail together
    loss = emergence(table, x="loss", score="exact_match", n_items="n_items")
    assert loss.width.high < 1.5


def test_the_script_makes_the_stored_networks():
    spec = importlib.util.spec_from_file_location("make_emergence", ROOT / "data" / "make" / "emergence.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    rng = np.random.default_rng(0)
    x, y = module.sums(rng, 50)
    value = x.reshape(50, 2, 3, 10).argmax(-1) @ np.array([100, 10, 1])
    np.testing.assert_array_equal(value.sum(axis=1), y @ np.array([1000, 100, 10, 1]))
    weights = [w.astype(float) for w in module.start(rng, 5)]
    gradient = module.gradients(weights, x.astype(float), y)
    for i, w in enumerate(weights):  # the derivative along a random direction
        direction = rng.normal(size=w.shape)
        ends = [
            module.score([*weights[:i], w + h * direction, *weights[i + 1 :]], x.astype(float), y)[0]
            for h in (1e-6, -1e-6)
        ]
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(float((gradient[i] * direction).sum()), rel=1e-4, abs=1e-8)


@pytest.mark.slow
def test_false_claims_and_power():
    spec = importlib.util.spec_from_file_location("false_claims", ROOT / "benchmarks" / "false_claims_emergence.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    n = 100
    table = pd.DataFrame([module.simulate_one(truth, n, 99, seed=1) for truth in module.TRUTHS])
    assert not module.misses(table, n)


def test_a_chance_floor_above_the_scores_is_named():
    table = scores(logistic(21.0, 0.5, floor=0.0))
    assert any("below the chance floor 0.5" in w for w in emergence(table, n_items=500, floor=0.5).warnings)
    assert not emergence(table, n_items=500, floor=0.0).warnings
    assert not emergence(scores(logistic(21.0, 0.5)), n_items=500, floor=0.25).warnings


def test_the_command_answers_mirage_families_and_budget(tmp_path):
    from click.testing import CliRunner

    from scaling.commands.emergence import emergence as command
    from scaling.laws.published import published

    law = published("besiroglu2024")
    n = np.tile(np.geomspace(1e8, 1e12, 12), 2)
    loss = law.law.predict({"n_params": n, "n_tokens": 20 * n}, law.theta)
    rng = np.random.default_rng(1)
    part = 1 / (1 + np.exp(4 * (loss - 2.4)))
    table = pd.DataFrame({"flops": 120 * n**2, "loss": loss, "family": np.repeat(["a", "b"], 12), "n": 1000})
    table["score"], table["part"] = rng.binomial(1000, part**4) / 1000, rng.binomial(4000, part) / 4000
    table.to_csv(tmp_path / "evals.csv", index=False)
    base = [str(tmp_path / "evals.csv"), "--items", "n", "--x", "loss"]
    asked = [*base, "--by", "family", "--reach", "0.5", "--published", "besiroglu2024"]
    text = CliRunner().invoke(command, asked, catch_exceptions=False)
    assert text.exit_code == 0, text.output
    assert "One curve over loss serves all 2 groups" in text.stdout
    document = json.loads(CliRunner().invoke(command, [*asked, "--json"]).stdout)
    # the truth: the loss at which part^4 is a half, and the least compute that reaches it under the law
    wanted = 2.4 - np.log(0.5**0.25 / (1 - 0.5**0.25)) / 4
    assert document["reaches"]["estimate"] == pytest.approx(wanted, abs=0.03)
    budgets = np.geomspace(1e19, 1e25, 4000)
    from scaling.allocation import allocate

    best = np.asarray(allocate(law, flops=budgets).loss, float)
    least = budgets[np.argmax(best <= wanted)]
    assert document["budget"]["low"] <= least <= document["budget"]["high"]
    assert document["budget"]["flops"] == pytest.approx(least, rel=0.25)
    split_up = CliRunner().invoke(command, [str(tmp_path / "evals.csv"), "--items", "n", "--parts", "part"])
    assert "per-token rate to the power" in split_up.stdout
    for wrong, words in (
        ([*base, "--published", "besiroglu2024"], "--reach"),
        ([base[0], "--reach", "0.5", "--published", "besiroglu2024"], "not over 'flops'"),
        ([base[0], "--parts", "part"], "--items"),
        ([*asked, "--fit", "fit.json"], "not both"),
    ):
        refused = CliRunner().invoke(command, wrong)
        assert refused.exit_code == 2
        assert words in refused.output
