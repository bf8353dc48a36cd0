"""Approaches 1 and 2 find the optimum of laws that are known, and what was published for runs that are real."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from scaling.approaches import envelope, isoflop, parabola_bias
from scaling.errors import FitError, RunsError
from scaling.laws.chinchilla import CHINCHILLA


def surface(**coefs: float) -> SimpleNamespace:
    return SimpleNamespace(law=CHINCHILLA, theta=np.array([coefs[n] for n in CHINCHILLA.coef_names]))


HOFFMANN = surface(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
STRONG = surface(E=1.7, A=2e4, B=200.0, alpha=0.6, beta=0.2)
BUDGETS = np.logspace(18.5, 21.5, 7)


def sweep(fitted=HOFFMANN, factor: float = 8.0, noise: float = 0.0, seed: int = 0) -> pd.DataFrame:
    best = parabola_bias(fitted, BUDGETS).n_params.to_numpy()
    n = (best[:, None] * np.geomspace(1 / factor, factor, 9)).ravel()
    c = np.repeat(BUDGETS, 9)
    x = {"n_params": n, "n_tokens": c / (6 * n)}
    loss = fitted.law.predict(x, fitted.theta) * np.exp(noise * np.random.default_rng(seed).normal(size=n.size))
    return pd.DataFrame({**x, "flops": c, "loss": loss})


def published_runs(reference, name: str) -> pd.DataFrame:
    return pd.read_csv(reference(name) / "runs.csv").rename(columns={"params": "n_params", "tokens": "n_tokens"})


@pytest.mark.parametrize(("fitted", "limit"), [(HOFFMANN, 0.01), (STRONG, 0.03)])
def test_the_asymmetric_curve_is_unbiased_where_the_parabola_is_not(fitted, limit):
    bias = {c: parabola_bias(fitted, BUDGETS, 8.0, curve=c).bias.abs().max() for c in ("asymmetric", "parabola")}
    assert bias["asymmetric"] < limit < bias["parabola"]


def test_the_parabolas_bias_is_that_of_the_leading_order_for_narrow_grids():
    h = np.log(2.0)
    moment = parabola_bias(HOFFMANN, [1e20], 2.0, points=401).bias.iloc[0]
    assert moment == pytest.approx((0.34 - 0.28) * h**2 / 10, rel=0.03)  # next order is h^2 (alpha^2 + beta^2)


def test_exact_runs_give_the_closed_form_exponents_and_optimum():
    result = isoflop(sweep(), n_resamples=50)
    alpha, beta, n = 0.34, 0.28, 1e24 / 6
    a = beta / (alpha + beta)
    assert (result.a, result.b) == pytest.approx((a, 1 - a), abs=1e-4)
    optimum = (alpha * 406.4 / (beta * 410.7)) ** (1 / (alpha + beta)) * n**a
    assert result.predict(1e24).n_params[0] == pytest.approx(optimum, rel=0.01)


def test_llama_3_exponents_by_plain_parabolas_are_those_printed(reference):
    runs = published_runs(reference, "llama3-isoflop").query("condition == 'raw_loss'")
    result = isoflop(runs, curve="parabola", weights="equal", n_resamples=50)
    assert (round(result.a, 4), round(result.b, 4)) == (0.4632, 0.5368)
    assert result.predict(3.8e25).n_tokens[0] == pytest.approx(16.1e12, rel=0.002)  # printed to three digits


def test_porian_exponents_follow_from_the_points(reference):
    folder = reference("porian-isoflop-rw")
    published = pd.read_csv(folder / "published_fits.csv").set_index("group")["n_exponent"]
    for group, runs in published_runs(reference, "porian-isoflop-rw").groupby("group"):
        result = isoflop(runs, curve="akima", n_resamples=20)
        assert result.a == pytest.approx(published[group], abs=0.007), group  # without the authors' added noise


def test_marin_sums_of_exponents_are_below_one_and_said_to_be(reference):
    runs = published_runs(reference, "marin-isoflop").query("~flagged_outlier and dataset == 'comma'")
    result = isoflop(runs, curve="parabola", weights="equal")
    assert (round(result.a, 3), round(result.b, 3)) == (0.426, 0.552)
    assert "sum_of_exponents" in {w.code for w in result.warnings}


@pytest.mark.parametrize("resample", ["budgets", "runs"])
def test_intervals_hold_the_true_exponent_about_as_often_as_they_say(resample):
    hits = []
    for seed in range(60):
        result = isoflop(sweep(noise=0.003, seed=seed), resample=resample, n_resamples=100, rng=seed)
        low, high = result.n_opt.exponent_interval(0.95)
        hits.append(low < 0.28 / 0.62 < high)
    assert np.mean(hits) >= 0.87  # 57 of 60 expected; fewer than 53 has probability below 3 % at 95 %


def test_a_result_is_json_and_repeats():
    one, two = (json.dumps(isoflop(sweep(noise=0.002), n_resamples=50).to_dict(), allow_nan=False) for _ in range(2))
    assert one == two
    assert json.loads(one)["schema"] == "scaling.isoflop/1"


def test_runs_without_budgets_are_refused():
    with pytest.raises(RunsError, match="without a gap"):
        isoflop(sweep().assign(flops=np.geomspace(1e18, 1e21, 63)))
    with pytest.raises(RunsError, match="'loss'"):
        isoflop(sweep().drop(columns="loss"))
    with pytest.raises(FitError, match="enclose a minimum"):
        isoflop(sweep().groupby("flops").head(4))


def test_the_envelope_of_exact_curves_grows_as_the_law_says():
    rows = []
    for i, n in enumerate(np.geomspace(1e7, 1e10, 40)):
        d = np.geomspace(1e8, 1e12, 300)
        rows.append(pd.DataFrame({"run": f"r{i}", "n_params": n, "n_tokens": d, "horizon": 1e8}))
    curves = pd.concat(rows, ignore_index=True)
    curves["loss"] = CHINCHILLA.predict({c: curves[c].to_numpy() for c in CHINCHILLA.inputs}, HOFFMANN.theta)
    result = envelope(curves, window=0, n_resamples=20)
    inside = result.points.query("2e7 < n_params < 5e9")
    slope = np.polyfit(np.log(inside.flops), np.log(inside.n_params), 1)[0]
    assert slope == pytest.approx(0.28 / 0.62, abs=0.02)  # sizes are 19 % apart
    with pytest.raises(RunsError, match="isoflop"):
        envelope(curves.groupby("run").tail(1))


def test_a_curve_that_runs_on_alone_is_no_envelope():
    n = np.array([1e7, 3e7, 1e8])
    rows = []
    for size, last in zip(n, (2e8, 6e8, 2e9), strict=True):
        d = np.geomspace(last / 30, last, 60)
        rows.append(pd.DataFrame({"run": f"r{size:g}", "n_params": size, "n_tokens": d}))
    curves = pd.concat(rows, ignore_index=True)
    curves["loss"] = CHINCHILLA.predict({c: curves[c].to_numpy() for c in CHINCHILLA.inputs}, HOFFMANN.theta)
    # a last curve to the highest budget of all, worse than any before it
    bad = pd.DataFrame(
        {"run": "bad", "n_params": 5e9, "n_tokens": np.geomspace(4e7, 4.1e8, 60), "loss": np.linspace(9, 8, 60)}
    )
    plain, with_bad = (envelope(c, window=0, n_resamples=20) for c in (curves, pd.concat([curves, bad])))
    assert "bad" not in set(with_bad.points["run"])
    assert with_bad.a == pytest.approx(plain.a, abs=0.05)
    assert (np.diff(with_bad.points["loss"]) <= 0).all()
    shown = str(plain)
    assert shown.startswith(plain.finding)
    assert "a + b" in shown
    assert set(plain.frontier_table()["run"]) == set(plain.points["run"])


def test_several_experiments_at_the_same_budgets_are_named():
    budgets, ratios = np.array([1e18, 1e19, 1e20]), np.geomspace(0.2, 5, 7)
    parts = []
    for name, shift in (("a", 1.0), ("b", 3.0)):
        size = shift * np.sqrt(budgets / 120)[:, None] * ratios
        loss = 2 + 0.1 * np.log(ratios) ** 2 + 0 * size
        flops = np.broadcast_to(budgets[:, None], size.shape)
        columns = {"n_params": size.ravel(), "flops": flops.ravel(), "loss": loss.ravel()}
        parts.append(pd.DataFrame(columns).assign(dataset=name))
    both = pd.concat(parts, ignore_index=True)
    codes = {w.code: w.message for w in isoflop(both, n_resamples=20).warnings}
    assert "2 values of 'dataset'" in codes["several_experiments"]
    assert "several_experiments" not in {w.code for w in isoflop(parts[0], n_resamples=20).warnings}
    # a seed, or a label of the size or of the budget, is no experiment
    one = parts[0].assign(
        seed=np.arange(21) % 2, size=parts[0]["n_params"].astype(str), c=parts[0]["flops"].astype(str)
    )
    assert "several_experiments" not in {w.code for w in isoflop(one, n_resamples=20).warnings}
