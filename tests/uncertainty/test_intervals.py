"""The recommended interval, the table of any kind of interval, and what is drawn from them."""

import sys
import time

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from scaling.errors import FitError
from scaling.fitting import fit
from scaling.laws.chinchilla import CHINCHILLA
from scaling.uncertainty import bootstrap, draws, interval, intervals_table
from scaling.uncertainty.intervals import _wider, linearise_fit
from scaling.uncertainty.table import METHODS

TRUTH = np.array([1.7, 400.0, 900.0, 0.34, 0.31])


def sweep(seed=0, noise=0.003, shared=0.0, budgets=7, sizes=9):
    rng = np.random.default_rng(seed)
    offset, c = np.meshgrid(np.linspace(-2, 2, sizes), np.geomspace(1e18, 1e21, budgets))
    n = 0.3 * np.sqrt(c / 6) * np.exp(offset)
    runs = pd.DataFrame({"n_params": n.ravel(), "n_tokens": (c / 6 / n).ravel(), "flops": c.ravel()})
    loss = CHINCHILLA.predict({k: runs[k].to_numpy() for k in CHINCHILLA.inputs}, TRUTH)
    error = noise * rng.standard_normal(len(runs)) + np.repeat(shared * rng.standard_normal(budgets), sizes)
    return runs.assign(loss=loss * np.exp(error), budget=np.repeat(np.arange(budgets), sizes), run=np.arange(len(runs)))


def test_a_fit_that_does_not_know_its_noise_gets_hc3_with_fewer_degrees_of_freedom():
    result = fit(CHINCHILLA, sweep(1), "hoffmann")
    got, plain = interval(result, "a"), interval(result, "a", method="hc3")
    assert got.method == "HC3 sandwich, Student t" and "no sign" in got.why
    ratio = (got.high - got.low) / (plain.high - plain.low)
    assert 1.0 < ratio[0] < 1.1
    local = linearise_fit(result)
    dof = local.dof_of(np.eye(5))
    assert ((dof > 5) & (dof < local.dof)).all() and local.dof == 63 - 5
    assert student.ppf(0.975, dof.min()) > student.ppf(0.975, local.dof)


def test_a_robust_fit_pools_its_runs_and_its_widths_scatter_less():
    pooled, plain = [], []
    for seed in range(30):
        result = fit(CHINCHILLA, sweep(seed, budgets=5, sizes=7), "robust")
        got, other = interval(result, "a", method="recommended"), interval(result, "a", method="hc3")
        if got.method == "pooled sandwich, Student t":
            pooled.append(float(got.high[0] - got.low[0]))
            plain.append(float(other.high[0] - other.low[0]))
    assert len(pooled) > 20
    assert np.std(np.log(pooled)) < 0.85 * np.std(np.log(plain))
    assert np.mean(pooled) < np.mean(plain)


def test_noise_that_the_fit_did_not_model_is_added_back():
    # noise that grows with the distance from the middle size, which a trend in compute cannot take up
    def uneven(seed):
        runs = sweep(seed, noise=0.0, budgets=40, sizes=9)
        offset = np.tile(np.linspace(-2, 2, 9), 40)
        error = 0.0005 * 20 ** np.abs(offset / 2) * np.random.default_rng(seed).standard_normal(len(runs))
        return runs.assign(loss=runs["loss"] * np.exp(error))

    for seed in range(3):
        result = fit(CHINCHILLA, uneven(seed), "robust")
        local = linearise_fit(result)
        ratio = np.sqrt(np.diagonal(local.own) / np.diagonal(local.hc3))
        assert ratio.min() > 0.9 and ratio.max() < 1.1


def test_equal_leverage_and_normal_errors_keep_their_degrees_of_freedom():
    # one coefficient, all runs alike: HC3 is one mean of n squares, and the count is n
    from scaling.laws.law import Coef, Law

    level = Law(
        name="level", equation="y = c", inputs=("x",), target="y",
        coefs=(Coef("c", "level", (-10.0, 10.0), lower=-np.inf, upper=np.inf),),
        formula=lambda x, theta: theta[..., :1] + 0 * x["x"], linear=("c",),
    )  # fmt: skip
    x = np.linspace(1, 2, 400)
    y = np.random.default_rng(0).standard_normal(400)
    result = fit(level, {"x": x, "y": y}, "squared")
    assert linearise_fit(result).dof_of(np.eye(1))[0] == pytest.approx(399, rel=0.08)


def _t_width(result):
    """Width of the interval of a that takes errors as independent."""
    local = linearise_fit(result)
    A, B = 3, 4  # alpha and beta, as logs: a = beta / (alpha + beta)
    a = float(result.law.derived["a"](result.theta))
    gradient = np.zeros(5)
    gradient[A], gradient[B] = -a * (1 - a), a * (1 - a)
    return 2 * student.ppf(0.975, local.dof) * np.sqrt(gradient @ local.own @ gradient)


def test_shared_errors_get_the_wider_of_two():
    found = [fit(CHINCHILLA, sweep(s, shared=0.003), "robust") for s in range(6)]
    used = [interval(r, "a") for r in found]
    assert sum(u.method.startswith("wider of mixed") for u in used) >= 5
    for result, got in zip(found, used, strict=True):
        if got.method.startswith("wider"):
            width = got.high - got.low
            other = interval(result, "a", method="mixed")
            assert width >= (other.high - other.low) * (1 - 1e-9)
            assert width >= _t_width(result) * 0.99  # its derivative is taken at the shifted coefficients


def test_wider_covariance_bounds_both():
    rng = np.random.default_rng(0)
    first, second = (m @ m.T for m in rng.standard_normal((2, 5, 5)))
    both = _wider(first, second)
    for one in (first, second):
        assert np.linalg.eigvalsh(both - one).min() > -1e-9
    np.testing.assert_allclose(_wider(first, 100 * first), 100 * first, rtol=1e-9)


def test_draws_have_the_width_of_the_interval_where_errors_are_shared():
    result = fit(CHINCHILLA, sweep(0, shared=0.004), "robust")
    got = interval(result, "a")
    assert got.method.startswith("wider")
    drawn = interval(draws(result, 4000), "a")
    assert (drawn.high - drawn.low) / (got.high - got.low) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("method", METHODS)
def test_table_of_every_kind(method):
    result = fit(CHINCHILLA, sweep(2), "robust")
    column = {"clusters": "budget", "strata": "budget"}.get(method)
    table = intervals_table(result, method=method, clusters=column, n_resamples=400)
    assert list(table["quantity"]) == ["E", "A", "B", "alpha", "beta", "a", "b"]
    assert (table["low"] < table["estimate"]).all() and (table["estimate"] < table["high"]).all()
    row = table.set_index("quantity").loc["a"]
    reference = interval(result, "a")
    assert 0.5 < (row["high"] - row["low"]) / (reference.high - reference.low)[0] < 2
    assert table["method"].nunique() == 1 and table["why"].str.len().min() > 5


def test_table_of_given_quantities_and_of_resamples():
    result = fit(CHINCHILLA, sweep(2), "robust")
    names = {"a": "a", "loss": lambda theta: theta[..., 0] + theta[..., 1] * 1e9 ** -theta[..., 3]}
    table = intervals_table(result, names, level=0.8)
    assert list(table["quantity"]) == ["a", "loss"] and (table["level"] == 0.8).all()
    drawn = intervals_table(bootstrap(result, 300), names, "bootstrap")
    assert (drawn["method"] == "resamples").all()


def test_held_coefficients_have_no_width_and_what_follows_from_them_is_left_out():
    result = fit(CHINCHILLA, sweep(2), "robust", fixed={"alpha": 0.34, "beta": 0.31})
    table = intervals_table(result).set_index("quantity")
    assert list(table.index) == ["E", "A", "B", "alpha", "beta"]  # a and b do not move
    assert table.loc["alpha", "low"] == table.loc["alpha", "high"] == 0.34
    assert table.loc["alpha", "method"] == "fixed"


@pytest.mark.parametrize("method", ["recommended", "hc3"])
def test_coefficients_in_the_table_are_those_of_the_interval_itself(method):
    result = fit(CHINCHILLA, sweep(2), "robust")
    table, whole = intervals_table(result, method=method), interval(result, method=method)
    np.testing.assert_allclose(table["low"][:5], whole.low, rtol=1e-4)
    np.testing.assert_allclose(table["high"][:5], whole.high, rtol=1e-4)


def test_resamples_without_proof_are_counted_and_warned_of(monkeypatch):
    module = sys.modules["scaling.uncertainty.bootstrap"]
    plain = module.minimise_rows

    def some_fail(*args):
        solution = plain(*args)
        solution.converged[::20] = False
        return solution

    result = fit(CHINCHILLA, sweep(2), "robust")
    fine = bootstrap(result, 200)
    assert "all with proof" in interval(fine, "a").why
    assert "resamples_unconverged" not in [w.code for w in fine.warnings]
    monkeypatch.setattr(module, "minimise_rows", some_fail)
    drawn = bootstrap(result, 200)
    assert "190 resamples; 10 more (5.0%) without proof" in interval(drawn, "a").why
    assert "5.0% of the resamples" in next(w.message for w in drawn.warnings if w.code == "resamples_unconverged")


def test_bad_requests():
    result = fit(CHINCHILLA, sweep(2), "robust")
    with pytest.raises(FitError, match="unknown interval method"):
        intervals_table(result, method="magic")
    with pytest.raises(FitError, match="one function for each"):
        intervals_table(result, {"two": lambda theta: theta[..., :2]})
    with pytest.raises(FitError, match="by a column"):
        intervals_table(result, method="strata", clusters=np.zeros(63, int))


def test_the_recommended_interval_takes_no_time():
    runs = sweep(0, budgets=10, sizes=25)
    result = fit(CHINCHILLA, runs, "robust")
    intervals_table(result)
    taken = []
    for _ in range(3):
        began = time.process_time()
        intervals_table(result)
        taken.append(time.process_time() - began)
    assert min(taken) < 0.05  # 250 runs, seven quantities
