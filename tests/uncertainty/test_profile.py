"""Profile intervals: exact where theory is exact, the objective's own where it is not, and open where the runs leave them so."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.stats import t as student

from scaling.errors import FitError
from scaling.fitting import Huber, Squared, fit, load_fit
from scaling.laws.chinchilla import CHINCHILLA
from scaling.laws.law import Coef, Law
from scaling.uncertainty import bootstrap, interval
from scaling.uncertainty.profile import profile

TRUTH = np.array([1.7, 400.0, 900.0, 0.34, 0.31])
FREE = {"lower": -np.inf, "upper": np.inf}
PLANE = Law(
    name="plane", equation="y = c + d x", inputs=("x",), target="y",
    coefs=(Coef("c", "level", (-10.0, 10.0), **FREE), Coef("d", "slope", (-10.0, 10.0), **FREE)),
    formula=lambda x, theta: theta[..., :1] + theta[..., 1:] * x["x"], linear=("c", "d"),
)  # fmt: skip


def sweep(noise=0.003, seed=0, sizes=7, spread=2.0):
    rng = np.random.default_rng(seed)
    n, c = np.meshgrid(np.linspace(-spread, spread, sizes), np.geomspace(1e18, 1e21, 6))
    n = 0.3 * np.sqrt(c / 6) * np.exp(n)
    runs = pd.DataFrame({"n_params": n.ravel(), "n_tokens": (c / 6 / n).ravel(), "flops": c.ravel()})
    loss = CHINCHILLA.predict({k: runs[k].to_numpy() for k in CHINCHILLA.inputs}, TRUTH)
    return runs.assign(loss=loss * np.exp(noise * rng.standard_normal(len(runs))))


def line(n=20, seed=0):
    rng = np.random.default_rng(seed)
    x = np.linspace(0.0, 3.0, n)
    return pd.DataFrame({"x": x, "y": 1.5 - 0.7 * x + 0.2 * rng.standard_normal(n)})


def log_n_opt(theta, flops=1e22):
    _, A, B, alpha, beta = np.moveaxis(theta, -1, 0)
    return (np.log(alpha * A / (beta * B)) + beta * np.log(flops / 6)) / (alpha + beta)


def test_linear_law_gives_students_interval_to_rounding():
    runs = line()
    result = fit(PLANE, runs, Squared())
    design = np.stack([np.ones(20), runs["x"]], 1)
    coefs, rss, *_ = np.linalg.lstsq(design, runs["y"].to_numpy(), rcond=None)
    combination = np.array([1.0, 2.5])  # the value of the line at x = 2.5
    for level in (0.5, 0.95):
        got = profile(
            result, lambda th: np.stack([th[..., 0], th[..., 1], th[..., 0] + 2.5 * th[..., 1]], -1), level=level
        )
        inverse = np.linalg.inv(design.T @ design) * rss[0] / 18
        error = np.sqrt([inverse[0, 0], inverse[1, 1], combination @ inverse @ combination])
        half = student.ppf(0.5 + level / 2, 18) * error
        estimate = np.array([*coefs, combination @ coefs])
        np.testing.assert_allclose(got.low, estimate - half, rtol=1e-6)
        np.testing.assert_allclose(got.high, estimate + half, rtol=1e-6)
        assert got.level == level and got.method == "profile"


@pytest.mark.parametrize("name", ["E", "alpha", "beta"])
def test_ends_are_where_the_fit_with_the_coefficient_held_there_is_worse_by_the_threshold(name):
    runs, objective = sweep(), Squared("log")
    result = fit(CHINCHILLA, runs, objective)
    got = profile(result, name)
    dof = len(runs) - 5
    threshold = float(result.objective_value) * (1 + student.ppf(0.975, dof) ** 2 / dof)
    for end in (got.low[0], got.high[0]):
        held = fit(CHINCHILLA, runs, objective, fixed={name: float(end)})
        np.testing.assert_allclose(float(held.objective_value), threshold, rtol=1e-5)


def test_derived_quantity_agrees_with_a_profile_by_brute_force():
    runs = sweep()
    result = fit(CHINCHILLA, runs, Squared("log"))
    got = profile(result, "a")
    threshold = float(result.objective_value) * (1 + student.ppf(0.975, len(runs) - 5) ** 2 / (len(runs) - 5))
    # with a fixed, beta follows from alpha: a law of four coefficients
    start = dict(zip(CHINCHILLA.coef_names[:4], result.theta[:4].tolist(), strict=True))

    def worse(a):
        def full(theta):
            return np.concatenate([theta, theta[..., 3:] * a / (1 - a)], -1)

        tied = Law(
            name="tied", equation="Chinchilla, a given", inputs=CHINCHILLA.inputs, coefs=CHINCHILLA.coefs[:4],
            formula=lambda x, theta: CHINCHILLA.formula(x, full(theta)),
        )  # fmt: skip
        return float(fit(tied, runs, Squared("log"), start=start).objective_value) - threshold

    point = got.estimate[0]
    for end, away in ((got.low[0], 0.05), (got.high[0], -0.05)):
        found = brentq(worse, end - away, point, xtol=1e-9)
        np.testing.assert_allclose(end, found, atol=1e-6)


@pytest.mark.parametrize("objective", ["hoffmann", "huber", "robust"])
def test_other_objectives_have_the_sandwich_size(objective):
    result = fit(CHINCHILLA, sweep(), objective)

    def quantity(theta):
        return np.stack([theta[..., 3], log_n_opt(theta)], -1)

    got, plain = profile(result, quantity), interval(result, quantity, method="hc3")
    # a Huber bend far inside the noise is a step function's integral: its rise is less even than the kernel's
    tolerance = 0.3 if objective == "hoffmann" else 0.05
    np.testing.assert_allclose(got.high - got.low, plain.high - plain.low, rtol=tolerance)
    assert "HC3" in got.why and (got.low < got.estimate).all() and (got.estimate < got.high).all()


def test_log_of_a_quantity_has_the_same_profile():
    result = fit(CHINCHILLA, sweep(), Squared("log"))
    plain, logged = (profile(result, lambda th: np.exp(log_n_opt(th)), log=log) for log in (False, True))
    np.testing.assert_allclose([plain.low, plain.high], [logged.low, logged.high], rtol=1e-5)


def test_several_quantities_at_once_are_each_alone():
    result = fit(CHINCHILLA, sweep(), Squared("log"))
    together = profile(result)
    for i in (0, 3):
        alone = profile(result, CHINCHILLA.coef_names[i])
        np.testing.assert_allclose([together.low[i], together.high[i]], [alone.low[0], alone.high[0]], rtol=1e-5)


def test_skewed_where_the_runs_say_less_on_one_side():
    # few noisy runs: the floor may be far lower, but not far higher than the best
    result = fit(CHINCHILLA, sweep(noise=0.02, seed=3), Squared("log"))
    got = profile(result, "E")
    assert got.estimate[0] - got.low[0] > 1.2 * (got.high[0] - got.estimate[0])


def test_an_end_that_the_runs_leave_open_is_said_to_be():
    runs = sweep(noise=0.02, seed=3)
    runs = runs[runs["flops"] < 3e19]  # two budgets far above the floor
    got = profile(fit(CHINCHILLA, runs, Squared("log")), "E")
    assert got.low[0] == pytest.approx(0.0, abs=1e-9)
    assert got.high[0] > got.estimate[0]
    assert "E: no end below" in got.why


def test_a_coefficient_at_its_bound_has_a_one_sided_profile():
    runs = sweep(noise=0.01, seed=1)
    rng = np.random.default_rng(1)
    exact = CHINCHILLA.predict({k: runs[k].to_numpy() for k in CHINCHILLA.inputs}, TRUTH * [0, 1, 1, 0.5, 0.5])
    # a curve that bends the wrong way for any floor
    bend = 0.1 * (np.log10(runs["flops"].to_numpy()) - 19.5) ** 2
    runs["loss"] = exact * np.exp(0.01 * rng.standard_normal(len(runs)) - 0.3 * bend)
    result = fit(CHINCHILLA, runs, Squared("log"))
    assert result.theta[0] < 1e-3  # the floor is gone
    got = profile(result, "E")
    assert got.low[0] == pytest.approx(0.0, abs=1e-6)
    dof = len(runs) - 5
    threshold = float(result.objective_value) * (1 + student.ppf(0.975, dof) ** 2 / dof)
    held = fit(CHINCHILLA, runs, Squared("log"), fixed={"E": float(got.high[0])})
    np.testing.assert_allclose(float(held.objective_value), threshold, rtol=1e-4)
    # where alpha is pulled up, the floor comes back; a search that left it at zero would end too early
    alpha = profile(result, "alpha")
    end = fit(CHINCHILLA, runs, Squared("log"), fixed={"alpha": float(alpha.high[0])})
    np.testing.assert_allclose(float(end.objective_value), threshold, rtol=1e-4)


def test_few_runs_have_wider_quantiles():
    few = fit(PLANE, line(5), Squared())
    got = profile(few, "d")
    by_hand = profile(few, "d", level=0.6826895)
    ratio = (got.high - got.low) / (by_hand.high - by_hand.low)
    np.testing.assert_allclose(ratio, student.ppf(0.975, 3) / student.ppf(0.84134475, 3), rtol=1e-5)


def test_profile_of_a_fit_with_a_coefficient_held():
    runs = sweep()
    free, held = fit(CHINCHILLA, runs, Squared("log")), fit(CHINCHILLA, runs, Squared("log"), fixed={"E": 1.7})
    wide, tight = profile(free, "alpha"), profile(held, "alpha")
    assert (tight.high - tight.low)[0] < 0.8 * (wide.high - wide.low)[0]
    dof = len(runs) - 4
    threshold = float(held.objective_value) * (1 + student.ppf(0.975, dof) ** 2 / dof)
    at_end = fit(CHINCHILLA, runs, Squared("log"), fixed={"E": 1.7, "alpha": float(tight.high[0])})
    np.testing.assert_allclose(float(at_end.objective_value), threshold, rtol=1e-5)
    with pytest.raises(FitError, match="E does not move"):
        profile(held, "E")


def test_bad_requests():
    result = fit(CHINCHILLA, sweep(), Huber())
    for kwargs, words in (
        ({"level": 1.0}, "between 0 and 1"),
        ({"method": "exact"}, "unknown method 'exact'"),
        ({"method": "likelihood"}, "no likelihood"),
        ({"quantity": "gamma"}, "no quantity 'gamma'"),
        ({"quantity": lambda th: np.log(-th[..., 0])}, "no finite value"),
        ({"quantity": lambda th: th[..., :1, None]}, "is a function of theta"),
    ):
        with pytest.raises(FitError, match=words):
            profile(result, **{"quantity": "a", **kwargs})
    with pytest.raises(FitError, match=r"result\.of"):
        profile(bootstrap(result, 5), "a")
    with pytest.raises(FitError, match="loaded"):
        profile(load_fit(result.to_dict()), "a")
    grouped = pd.concat([sweep(seed=s).assign(seed=s) for s in (0, 1)])
    with pytest.raises(FitError, match="take a group"):
        profile(fit(CHINCHILLA, grouped, by="seed"), "a")
