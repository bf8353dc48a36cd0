"""Kinds of intervals agree where theory says they must, and each keeps what its name promises."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from scaling.errors import FitError
from scaling.fitting import Squared, fit
from scaling.laws.chinchilla import CHINCHILLA
from scaling.laws.law import Coef, Law
from scaling.uncertainty import bootstrap, interval
from scaling.uncertainty.bootstrap import bca, jackknife
from scaling.uncertainty.profile import profile

FREE = {"lower": -np.inf, "upper": np.inf}
PLANE = Law(
    name="plane", equation="y = c + d x", inputs=("x",), target="y",
    coefs=(Coef("c", "level", (-10.0, 10.0), **FREE), Coef("d", "slope", (-10.0, 10.0), **FREE)),
    formula=lambda x, theta: theta[..., :1] + theta[..., 1:] * x["x"], linear=("c", "d"),
)  # fmt: skip
LEVEL = Law(
    name="level", equation="y = c", inputs=("x",), target="y", coefs=(Coef("c", "level", (-10.0, 10.0), **FREE),),
    formula=lambda x, theta: theta[..., :1] + 0 * x["x"], linear=("c",),
)  # fmt: skip
TRUTH = np.array([1.7, 400.0, 900.0, 0.34, 0.31])


def line(n=200, seed=0, spread=None):
    rng = np.random.default_rng(seed)
    x = np.linspace(0.0, 3.0, n)
    noise = 0.2 * rng.standard_normal(n) * (1.0 if spread is None else spread(x))
    return pd.DataFrame({"x": x, "y": 1.5 - 0.7 * x + noise})


def sweep(seed=0, noise=0.003):
    rng = np.random.default_rng(seed)
    n, c = np.meshgrid(np.linspace(-2, 2, 7), np.geomspace(1e18, 1e21, 6))
    n = 0.3 * np.sqrt(c / 6) * np.exp(n)
    runs = pd.DataFrame({"n_params": n.ravel(), "n_tokens": (c / 6 / n).ravel(), "flops": c.ravel()})
    loss = CHINCHILLA.predict({k: runs[k].to_numpy() for k in CHINCHILLA.inputs}, TRUTH)
    return runs.assign(loss=loss * np.exp(noise * rng.standard_normal(len(runs))))


def widths(result, resamples=2000):
    """Standard errors (P,) by each method, for intervals that are all the same in theory."""
    z = norm.ppf(0.975)
    draws = {kind: bootstrap(result, resamples, kind=kind) for kind in ("cases", "wild")}
    found = {kind: d.theta.std(0) for kind, d in draws.items()}
    found["sandwich"] = np.sqrt(np.diagonal(result.covariance))
    for name, ends in (("bca", bca(draws["cases"])), ("profile", profile(result))):
        found[name] = (ends.high - ends.low) / (2 * z)
    return found


def test_linear_law_with_normal_noise_gives_one_answer():
    found = widths(fit(PLANE, line(), Squared()))
    # 2000 resamples know a standard deviation to 1.6 %, the end of a quantile interval to 4 %; 200 runs to 5 %
    for name in ("cases", "wild", "bca", "profile"):
        np.testing.assert_allclose(found[name], found["sandwich"], rtol=0.12, err_msg=name)
    np.testing.assert_allclose(found["wild"], found["sandwich"], rtol=0.06)  # equal but for the draw


def test_unequal_noise_moves_all_but_the_profile():
    # noise grows away from the middle: one variance for all understates the slope's error
    found = widths(fit(PLANE, line(400, 1, lambda x: 0.2 + 1.5 * np.abs(x - 1.5)), Squared()))
    for name in ("cases", "wild", "bca"):
        np.testing.assert_allclose(found[name], found["sandwich"], rtol=0.12, err_msg=name)
    assert found["profile"][1] < 0.9 * found["sandwich"][1]
    result = fit(PLANE, line(400, 1, lambda x: 0.2 + 1.5 * np.abs(x - 1.5)), Squared())
    scaled = profile(result, "d", method="sandwich")
    plain = interval(result, "d", method="hc3")
    np.testing.assert_allclose([scaled.low, scaled.high], [plain.low, plain.high], rtol=1e-5)


def test_scaling_law_kinds_agree():
    result = fit(CHINCHILLA, sweep(), "robust")
    sandwich = interval(result, "a", method="hc3")
    width = sandwich.high - sandwich.low
    for kind in ("cases", "wild", "strata"):
        got = interval(bootstrap(result, 400, kind=kind), "a")
        np.testing.assert_allclose(got.high - got.low, width, rtol=0.45, err_msg=kind)
        assert got.low < sandwich.estimate < got.high


def test_wild_variance_is_hc3s_sum_to_rounding():
    # a mean: the wild variance is sum of (r / (1 - 1/n))^2 / n^2, which is HC3
    runs = line(12)
    result = fit(LEVEL, runs, Squared())
    draws = bootstrap(result, 20_000, kind="wild")
    r = (runs["y"] - runs["y"].mean()).to_numpy() / (1 - 1 / 12)
    exact = np.sqrt((r**2).sum()) / 12
    np.testing.assert_allclose(float(np.sqrt(result.covariance[0, 0])), exact, rtol=1e-9)
    np.testing.assert_allclose(draws.theta.std(), exact, rtol=0.02)
    # every resample is the mean plus a signed sum: there are 2^12 of them, symmetric around it
    np.testing.assert_allclose(draws.theta.mean(), runs["y"].mean(), atol=4 * exact / np.sqrt(20_000))


def test_wild_keeps_a_run_of_full_leverage_finite():
    runs = pd.DataFrame({"x": [0.0] * 9 + [5.0], "y": np.append(np.linspace(0.9, 1.1, 9), 3.0)})
    draws = bootstrap(fit(PLANE, runs, Squared()), 100, kind="wild")
    assert draws.converged.all()
    np.testing.assert_allclose(draws.theta @ [1.0, 5.0], 3.0, atol=1e-6)  # the lone run is always met


def test_wild_on_the_log_scale_keeps_the_loss_positive():
    # one run in ten is off by a factor: on the raw scale the mirror image of its error would be a negative loss
    runs = sweep()
    runs.loc[::10, "loss"] *= 3.0
    draws = bootstrap(fit(CHINCHILLA, runs, "huber"), 100, kind="wild")
    assert draws.converged.mean() > 0.95
    predicted = draws.predict({"n_params": [1e8, 1e9], "n_tokens": [1e10, 1e11]}, level=0.95)
    assert (predicted["low"] > 0).all() and (predicted["low"] < predicted["high"]).all()


def test_strata_keep_every_budget_as_large_as_it_was():
    # levels of two strata differ by far more than the noise within: only strata leave their shares alone
    rng = np.random.default_rng(0)
    runs = pd.DataFrame({"x": np.zeros(40), "y": np.repeat([0.0, 10.0], 20) + 0.1 * rng.standard_normal(40)})
    runs["half"] = np.repeat(["a", "b"], 20)
    result = fit(LEVEL, runs, Squared())
    inside = bootstrap(result, 1000, kind="strata", strata="half").theta.std()
    across = bootstrap(result, 1000, kind="cases").theta.std()
    within = np.sqrt(runs.groupby("half")["y"].var(ddof=0).sum() / 20) / 2
    np.testing.assert_allclose(inside, within, rtol=0.1)
    np.testing.assert_allclose(across, 5 / np.sqrt(40), rtol=0.1)


def test_strata_are_the_budgets_by_default():
    runs = sweep().assign(sweep=np.repeat(range(6), 7), half=np.repeat([0, 1], 21))
    result = fit(CHINCHILLA, runs, Squared("log"))
    a, b, c = (bootstrap(result, 20, rng=3, kind="strata", strata=s).theta for s in ("budget", "sweep", "half"))
    np.testing.assert_array_equal(a, b)  # equal draws within equal budgets
    assert not np.allclose(a, c)


def test_strata_of_groups_are_drawn_within_each():
    runs = pd.concat([sweep(s).assign(corpus=s) for s in (0, 1)], ignore_index=True)
    draws = bootstrap(fit(CHINCHILLA, runs, Squared("log"), by="corpus"), 40, kind="strata", strata="flops")
    assert draws.shape == (40, 2)
    alone = bootstrap(fit(CHINCHILLA, sweep(0), Squared("log")), 40, kind="strata", strata="flops")
    np.testing.assert_allclose(draws.theta[:, 0], alone.theta, rtol=1e-5)


@pytest.mark.parametrize("objective", [Squared("log"), "robust"])
def test_wild_of_groups_has_the_spread_of_each(objective):
    tables = [sweep(0, 0.001), sweep(1, 0.01).iloc[:30]]  # of unequal length: the shorter is padded
    runs = pd.concat([t.assign(corpus=k) for k, t in enumerate(tables)], ignore_index=True)
    draws = bootstrap(fit(CHINCHILLA, runs, objective, by="corpus"), 400, kind="wild")
    assert draws.converged.mean() > 0.99
    for k, table in enumerate(tables):
        alone = bootstrap(fit(CHINCHILLA, table, objective), 400, kind="wild")
        ratio = draws.group(k).theta[:, 3:].std(0) / alone.theta[:, 3:].std(0)
        np.testing.assert_allclose(ratio, 1.0, rtol=0.25)


def test_jackknife_rows_are_the_fits_without_each_run():
    runs = line(15)
    left = jackknife(fit(PLANE, runs, Squared()))
    for i in (0, 7, 14):
        np.testing.assert_allclose(left[i], fit(PLANE, runs.drop(index=i), Squared()).theta, rtol=1e-8)


def test_bca_matches_scipy_on_a_skewed_mean():
    from scipy.stats import bootstrap as reference

    y = np.random.default_rng(4).lognormal(0, 1, 30)
    runs = pd.DataFrame({"x": np.zeros(30), "y": y})
    draws = bootstrap(fit(LEVEL, runs, Squared()), 20_000)
    got, plain = bca(draws, "c"), interval(draws, "c")
    theirs = reference((y,), np.mean, n_resamples=20_000, method="BCa", random_state=1).confidence_interval
    np.testing.assert_allclose([got.low[0], got.high[0]], [theirs.low, theirs.high], rtol=0.02)
    assert got.low > plain.low and got.high > plain.high  # moved towards the long tail
    assert got.method == "BCa" and "30 refits" in got.why


def test_bca_of_a_monotone_transform_is_the_transform_of_bca():
    draws = bootstrap(fit(CHINCHILLA, sweep(), "huber"), 500)
    plain, cubed = bca(draws, "alpha"), bca(draws, lambda th: th[..., 3] ** 3)
    np.testing.assert_allclose([cubed.low, cubed.high], np.array([plain.low, plain.high]) ** 3, rtol=0.01)


def test_bca_gives_a_held_coefficient_no_width():
    got = bca(bootstrap(fit(CHINCHILLA, sweep(), "huber", fixed={"E": 1.7}), 400))
    assert got.low[0] == got.high[0] == 1.7
    assert (got.low[1:] < got.estimate[1:]).all()


def test_few_runs():
    result = fit(PLANE, line(5), Squared())
    draws = bootstrap(result, 5000, kind="wild")
    # five signs: the variance of the resamples is HC3's sum, however few the runs
    np.testing.assert_allclose(draws.theta.std(0), np.sqrt(np.diagonal(result.covariance)), rtol=0.04)
    assert len(jackknife(result)) == 5
    three = fit(PLANE, line(3), Squared(), start={"c": 1.0, "d": 0.0})
    with pytest.raises(FitError, match="3 runs are too few to leave one out"):
        jackknife(three)


@pytest.mark.parametrize(("kwargs", "words"), [
    ({"kind": "strata", "strata": "corpus"}, "no column 'corpus' to draw strata by"),
    ({"kind": "strata", "strata": "loss"}, "hold one run each"),
    ({"kind": "clusters", "clusters": "only"}, "one value only"),
    ({"kind": "residual"}, "'cases', 'clusters', 'strata' or 'wild'"),
])  # fmt: skip
def test_bad_resampling_requests(kwargs, words):
    with pytest.raises(FitError, match=words):
        bootstrap(fit(CHINCHILLA, sweep().assign(only="a"), "huber"), 5, **kwargs)


def test_bad_bca_requests():
    result = fit(CHINCHILLA, sweep(), "huber")
    with pytest.raises(FitError, match=r"bca\(bootstrap\(result\)\)"):
        bca(result)
    with pytest.raises(FitError, match="too few for the tails"):
        bca(bootstrap(result, 100))
    with pytest.raises(FitError, match="not 'wild'"):
        bca(bootstrap(result, 400, kind="wild"))
    with pytest.raises(FitError, match="between 0 and 1"):
        bca(bootstrap(result, 400), level=95)


@pytest.fixture
def calibration(monkeypatch):
    path = Path(__file__).parents[2] / "benchmarks" / "calibration.py"
    spec = importlib.util.spec_from_file_location("calibration", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "calibration", module)
    spec.loader.exec_module(module)
    return module


def test_benchmark_measures_every_method(calibration):
    rows = pd.DataFrame(calibration.one_set(calibration.SCENARIOS[0], 0, 400, 0, "robust"))
    assert not rows["refused"].any()
    assert set(rows["method"]) >= {"recommended", "profile", "cases, BCa", "wild", "strata (budgets)", "flags"}
    intervals = rows[rows["method"] != "flags"]
    assert intervals["width"].between(0.3, 4).all()  # in units of the ideal interval
    inside = intervals["covered"] == 1
    least = intervals["width"] * 2 * 1.959964 / 4.675  # the score without a miss
    np.testing.assert_allclose(intervals["score"][inside], least[inside], rtol=1e-3)
    assert (intervals["score"][~inside] > least[~inside]).all()
    page = calibration.page(rows, 400, 0, "robust")
    assert page.count("| iid |") == rows["method"].nunique()
    assert "--sets 1 --resampled 1 --resamples 400 --seed 0 --objective robust --scenario iid" in page
    again = pd.DataFrame(calibration.one_set(calibration.SCENARIOS[0], 0, 400, 0, "robust"))
    pd.testing.assert_frame_equal(rows.drop(columns="seconds"), again.drop(columns="seconds"))  # equal seeds


@pytest.mark.parametrize(
    ("name", "flag"),
    [("collinear", "undetermined"), ("wrong law: Kaplan", "lack_of_fit"), ("wrong law: sum of powers", "lack_of_fit")],
)
def test_benchmark_sees_flags_on_sweeps_that_cannot_answer(calibration, name, flag):
    scenario = next(s for s in calibration.SCENARIOS if s.name == name)
    rows = pd.DataFrame([r for k in range(4) for r in calibration.one_set(scenario, k, 0, 0, "robust")])
    assert rows.loc[rows["quantity"] == flag, "covered"].mean() >= 0.75
    assert f"| {name} |" in calibration.flag_table(rows)


@pytest.mark.parametrize("index", [0, 3])
def test_ideal_width_is_that_of_an_estimator_that_knows_the_noise(calibration, index):
    scenario, truth = calibration.SCENARIOS[index], TRUTH
    rng = np.random.default_rng(0)
    runs, ideal = calibration.draw_runs(scenario, truth, rng)
    # generalised least squares, one step from the truth, on many sweeps
    x = {k: runs[k].to_numpy() for k in CHINCHILLA.inputs}
    value, jac = CHINCHILLA.value_and_jacobian(x, truth)
    jac = jac * truth / value[:, None]
    same = runs["budget"].to_numpy()[:, None] == runs["budget"].to_numpy()
    precision = np.linalg.inv(np.diag(np.full(len(runs), 0.003**2)) + scenario.shared**2 * same)
    gain = np.linalg.solve(jac.T @ precision @ jac, jac.T @ precision)
    found = []
    for _ in range(300):
        again, _ = calibration.draw_runs(scenario, truth, rng)
        step = gain @ np.log(again["loss"].to_numpy() / value)
        found.append(calibration.quantities(truth * np.exp(0.01 * step)))
    np.testing.assert_allclose(np.std(found, 0) / 0.01, ideal, rtol=0.15)
