"""The chain from scale to score against closed forms, exact draws and a published ladder."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from scaling.capability import link_draws, score_along, score_at
from scaling.curves import binomial as curves
from scaling.curves.emergence import emergence
from scaling.errors import FitError, LawError, PlanError
from scaling.fitting import fit, load_fit
from scaling.laws import get
from scaling.laws.chinchilla import CHINCHILLA
from scaling.laws.law import Coef, Law, split

THETA = np.array([1.7, 400.0, 410.0, 0.34, 0.28])
SIGMOID = get("score_sigmoid")


def _sigmoid(x, theta):
    floor, ceiling, k, middle = split(theta)
    return floor + (ceiling - floor) / (1 + np.exp(k * (x["loss"] - middle)))


LINK = Law(
    name="link",
    equation="s(L)",
    inputs=("loss",),
    target="score",
    coefs=tuple(Coef(n, n, starts=(0.1, 1.0)) for n in ("floor", "ceiling", "k", "middle")),
    formula=_sigmoid,
)
LINK_THETA = np.array([0.25, 0.9, 6.0, 2.4])


@dataclass(frozen=True)
class Fitted:
    law: Law
    theta: np.ndarray
    domain: dict = field(default_factory=dict)


def score_of(loss):
    return LINK.predict({"loss": np.asarray(loss, float)}, LINK_THETA)


def test_point_chain_is_the_composition_and_says_what_it_lacks():
    n, d = np.array([1e8, 1e9, 1e10]), np.array([2e9, 2e10, 2e11])
    found = score_at(Fitted(CHINCHILLA, THETA), Fitted(LINK, LINK_THETA), n_params=n, n_tokens=d)
    loss = CHINCHILLA.predict({"n_params": n, "n_tokens": d}, THETA)
    np.testing.assert_allclose(found.loss, loss)
    np.testing.assert_allclose(found.score, score_of(loss))
    np.testing.assert_allclose(found.flops, 6 * n * d)
    np.testing.assert_allclose(found.low, found.high)
    assert len(found.warnings) == 2
    assert all("own error is not in the bands" in w for w in found.warnings)


def test_the_frontier_and_the_budget_that_reaches_a_score_match_the_closed_form():
    budgets = np.geomspace(1e18, 1e24, 241)
    found = score_along(Fitted(CHINCHILLA, THETA), Fitted(LINK, LINK_THETA), flops=budgets)
    E, A, B, alpha, beta = THETA
    ratio = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    n = ratio * (budgets / 6) ** (beta / (alpha + beta))
    loss = E + A * n**-alpha + B * (budgets / 6 / n) ** -beta
    np.testing.assert_allclose(found.loss, loss, rtol=1e-6)
    np.testing.assert_allclose(found.score, score_of(loss), rtol=1e-6)
    target = float(score_of(loss[120:121])[0])
    reached = found.reaches(target)
    assert reached.flops == pytest.approx(budgets[120], rel=1e-3)
    assert reached.n_params == pytest.approx(n[120], rel=0.02)
    assert reached.share == 1.0
    assert "needs" in str(reached)
    never = found.reaches(0.95)
    assert (never.flops, never.high, never.share) == (np.inf, np.inf, 0.0)
    assert "not expected" in str(never)
    early = found.reaches(0.1)
    assert early.flops == pytest.approx(budgets[0])
    assert "below" in str(early)


def test_the_error_of_the_loss_enters_through_the_slope_of_the_link():
    rng = np.random.default_rng(0)
    spread = 0.01
    theta = np.tile(THETA, (4000, 1))
    theta[:, 0] += spread * rng.standard_normal(4000)
    n, d = np.array([1e9, 1e10]), np.array([2e10, 2e11])
    point = CHINCHILLA.predict({"n_params": n, "n_tokens": d}, THETA)
    slope = (score_of(point + 1e-5) - score_of(point - 1e-5)) / 2e-5
    found = score_at(Fitted(CHINCHILLA, theta), Fitted(LINK, LINK_THETA), n_params=n, n_tokens=d, n_draws=20_000)
    np.testing.assert_allclose(found.draws.std(axis=0), np.abs(slope) * spread, rtol=0.04)
    assert (found.loss_share > 0.99).all()

    link = np.tile(LINK_THETA, (4000, 1))
    link[:, 3] += spread * rng.standard_normal(4000)  # the same shift, of the link's middle: as much again
    both = score_at(Fitted(CHINCHILLA, theta), Fitted(LINK, link), n_params=n, n_tokens=d, n_draws=20_000)
    np.testing.assert_allclose(both.draws.std(axis=0), np.sqrt(2) * np.abs(slope) * spread, rtol=0.04)
    np.testing.assert_allclose(both.loss_share, 0.5, atol=0.05)

    together = theta.copy()  # errors of both steps that are one and the same cancel when draws are paired
    link[:, 3] = LINK_THETA[3] + together[:, 0] - THETA[0]
    paired = score_at(Fitted(CHINCHILLA, together), Fitted(LINK, link), n_params=n, n_tokens=d, paired=True)
    np.testing.assert_allclose(paired.draws.std(axis=0), 0, atol=1e-9)


def test_budget_band_covers_what_the_draws_say():
    rng = np.random.default_rng(1)
    theta = THETA * np.exp(0.01 * rng.standard_normal((500, 5)))
    budgets = np.geomspace(1e20, 1e24, 81)
    found = score_along(Fitted(CHINCHILLA, theta), Fitted(LINK, LINK_THETA), flops=budgets, level=0.8)
    band = found.reaches(0.7)
    own = []
    for row in theta[:60]:
        own.append(score_along(Fitted(CHINCHILLA, row), Fitted(LINK, LINK_THETA), flops=budgets).reaches(0.7).flops)
    inside = np.mean((np.array(own) >= band.low) & (np.array(own) <= band.high))
    assert 0.65 <= inside <= 0.95
    assert np.median(own) == pytest.approx(band.flops, rel=0.5)


def test_a_curve_over_loss_is_a_link_with_its_own_doubt():
    rng = np.random.default_rng(2)
    loss = np.linspace(2.0, 4.0, 25)
    truth = curves.mean(curves.LOGISTIC, -loss, np.array([-2.8, 0.9, 0.25, 0.85]))
    link = emergence(
        pd.DataFrame({"loss": loss, "score": rng.binomial(800, truth) / 800}), x="loss", n_items=800, floor=0.25
    )
    budgets = np.geomspace(1e18, 1e23, 21)
    found = score_along(Fitted(CHINCHILLA, THETA), link, flops=budgets)
    expected = curves.mean(curves.LOGISTIC, -found.loss, np.array([-2.8, 0.9, 0.25, 0.85]))
    assert np.abs(found.score - expected).max() < 0.03
    assert ((found.high - found.low)[3:15] > 0.003).all()
    assert np.nanmax(found.loss_share) < 0.2
    assert (np.diff(found.score) > -1e-3).all()
    beyond = score_along(Fitted(CHINCHILLA, THETA), link, flops=[1e20, 1e26])
    assert beyond.extrapolated.tolist() == [False, True]
    assert "lower than any the link has seen" in beyond.finding


def test_an_error_law_gives_one_minus_it_and_the_domain_is_used():
    error = Law(
        name="err", equation="e", inputs=("loss",), target="error", coefs=(Coef("k", "k", starts=(0.1, 1)),),
        formula=lambda x, theta: split(theta)[0] * x["loss"],
    )  # fmt: skip
    link = Fitted(error, np.array([0.1]), {"loss": (2.5, 4.0)})
    found = score_at(Fitted(CHINCHILLA, THETA), link, n_params=[1e8, 1e11], n_tokens=[1e10, 1e13])
    np.testing.assert_allclose(found.score, 1 - 0.1 * found.loss)
    assert found.extrapolated.tolist() == [False, True]


def test_an_allocation_is_used_as_it_stands():
    path = SimpleNamespace(
        flops=np.array([1e20, 1e21]),
        n_params=np.array([[1e8, 1e9], [2e8, 2e9]]),
        n_tokens=np.array([[1e11, 1e12], [2e11, 2e12]]),
        loss=np.array([[3.0, 2.5], [2.9, 2.4]]),
    )
    found = score_along(path, Fitted(LINK, LINK_THETA), n_draws=400)
    np.testing.assert_allclose(found.n_params, [1.5e8, 1.5e9])
    seen = np.unique(found.draws[:, 1].round(12))
    np.testing.assert_allclose(seen, np.sort(score_of([2.5, 2.4])))
    table = found.table()
    assert list(table.columns[:5]) == ["flops", "n_params", "n_tokens", "loss", "loss_low"]
    json.dumps(found.to_dict(), allow_nan=False)
    assert str(found).startswith(found.finding)


def test_impossible_requests_are_refused():
    fitted, link = Fitted(CHINCHILLA, THETA), Fitted(LINK, LINK_THETA)
    with pytest.raises(PlanError, match="pass flops"):
        score_along(fitted, link)
    with pytest.raises(LawError, match="one input"):
        score_along(fitted, fitted, flops=[1e20])
    with pytest.raises(PlanError, match="at least two budgets"):
        score_along(fitted, link, flops=[1e20]).reaches(0.5)
    with pytest.raises(LawError, match="score_at knows"):
        score_at(Fitted(LINK, LINK_THETA), link, n_params=1e9, n_tokens=1e10)
    draws = Fitted(CHINCHILLA, np.tile(THETA, (5, 1)))
    with pytest.raises(LawError, match="paired"):
        score_at(draws, link, n_params=1e9, n_tokens=1e10, paired=True)
    with pytest.raises(LawError, match="no finite coefficients"):
        score_at(Fitted(CHINCHILLA, THETA * np.nan), link, n_params=1e9, n_tokens=1e10)
    with pytest.raises(PlanError, match="level"):
        score_at(fitted, link, n_params=1e9, n_tokens=1e10, level=90)
    by_compute = emergence(
        pd.DataFrame({"flops": 10.0 ** np.arange(18, 24), "score": [0, 0.1, 0.4, 0.6, 0.8, 0.8]}),
        n_items=100,
        n_draws=50,
    )
    with pytest.raises(LawError, match="x='loss'"):
        score_at(fitted, by_compute, n_params=1e9, n_tokens=1e10)


def test_the_olmo_ladder_predicts_the_13b_model(reference):
    """Both steps fitted on models of at most 1B and 200B tokens; the target has 13B and 5T. Its own score is .832."""
    from scaling.fitting import fit
    from scaling.uncertainty import draws

    runs = pd.read_csv(reference("olmo-ladder") / "runs.csv.gz")
    bpb, accuracy = "eval/downstream_bpb/hellaswag_val_rc_5shot_bpb", "eval/downstream/hellaswag_val_rc_5shot_len_norm"
    assert {bpb, accuracy} <= set(runs.columns)
    ladder = runs[(runs["split"] == "ladder") & runs["run_id"].str.fullmatch(r"(190M|370M|760M|1B)-(1|2|5|10)xC")]
    final = ladder.groupby("run_id", as_index=False).agg(
        n_params=("params", "last"), n_tokens=("tokens", "last"), loss=(bpb, lambda v: v.tail(5).mean())
    )
    assert len(final) == 16
    step1 = fit(CHINCHILLA, final)
    points = pd.concat([g.iloc[len(g) // 10 :: 4] for _, g in ladder.groupby("run_id")]).assign(loss=lambda t: t[bpb])
    step2 = emergence(points, x="loss", score=accuracy, floor=0.25, ceiling=1.0, n_draws=200)
    target = runs[(runs["split"] == "target") & (runs["group"] == "13B-5T")]
    row = target.iloc[-1]
    found = score_at(draws(step1, 500), step2, n_params=row["params"], n_tokens=row["tokens"], level=0.9)
    assert found.loss[0] == pytest.approx(target[bpb].tail(5).mean(), rel=0.03)
    assert found.score[0] == pytest.approx(target[accuracy].tail(5).mean(), abs=0.03)
    assert found.low[0] <= target[accuracy].mean() <= found.high[0]
    assert found.loss_share[0] > 0.9  # sixteen runs leave the extrapolated loss in doubt, not the link
    assert found.extrapolated[0]


# --- draws from a fit with its runs -----------------------------------------------------------------------------------


def scored(noise: float, seed: int, losses: np.ndarray, ceiling: float = 0.9, middle: float = 2.4) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    clean = SIGMOID.predict({"loss": losses}, np.array([0.25, ceiling, 8.0, middle]))
    return pd.DataFrame({"loss": losses, "score": clean + noise * rng.standard_normal(len(losses))})


def test_draws_of_a_well_determined_link_are_the_linear_theory():
    table = scored(0.004, 0, np.linspace(1.8, 3.0, 200))
    link = fit(SIGMOID, table, "squared", fixed={"floor": 0.25})
    drawn = link_draws(link, 4000, 0)
    assert drawn.of is link and drawn.theta.shape == (4000, 4)
    np.testing.assert_array_equal(drawn.theta[:, 0], 0.25)
    jac = SIGMOID.value_and_jacobian({"loss": table["loss"].to_numpy()}, link.theta)[1][:, 1:]
    residual = table["score"] - link.predict(table)
    covariance = np.linalg.inv(jac.T @ jac) * (residual @ residual) / (200 - 3)
    # HC3 widens a little where chance made it larger
    ratio = drawn.theta[:, 1:].std(axis=0) / np.sqrt(np.diagonal(covariance))
    assert ((ratio > 0.95) & (ratio < 1.3)).all()


def test_a_ceiling_that_the_scores_hardly_see_is_open_upwards_and_not_downwards():
    table = scored(0.008, 3, np.linspace(2.3, 3.2, 60))  # scores end below half of the way
    link = fit(SIGMOID, table, "squared", fixed={"floor": 0.25})
    low, mid, high = np.quantile(link_draws(link, 4000, 0).theta[:, 1], [0.025, 0.5, 0.975])
    assert high - mid > 1.5 * (mid - low)
    assert low <= 0.9 <= high


def test_draws_are_stretched_to_the_sandwich_where_errors_are_unequal():
    losses = np.linspace(1.6, 3.0, 120)
    rng = np.random.default_rng(4)
    table = scored(0.0, 0, losses)
    table["score"] += np.where(losses < 2.0, 0.03, 0.002) * rng.standard_normal(120)  # noisy where the ceiling is seen
    link = fit(SIGMOID, table, "squared", fixed={"floor": 0.25})
    sandwich = np.sqrt(np.diagonal(link.covariance))  # of log ceiling, log k, log L0
    spread = np.log(link_draws(link, 4000, 0).theta[:, 1:]).std(axis=0)
    assert (spread > 0.9 * sandwich).all()


def test_fits_with_their_runs_are_drawn_and_give_a_band_that_holds():
    rng = np.random.default_rng(0)
    inside = 0
    for k in range(8):
        n = np.tile(np.geomspace(1e7, 1e9, 8), 5)
        tokens = np.repeat(np.geomspace(2e9, 2e10, 5), 8)
        runs = pd.DataFrame({"n_params": n, "n_tokens": tokens})
        runs["loss"] = CHINCHILLA.predict({"n_params": n, "n_tokens": tokens}, THETA) * np.exp(
            0.003 * rng.standard_normal(40)
        )
        table = scored(0.01, k, runs["loss"].to_numpy(), middle=float(runs["loss"].quantile(0.2)))
        truth = SIGMOID.predict(
            {"loss": CHINCHILLA.predict({"n_params": np.array([1e10]), "n_tokens": np.array([1e11])}, THETA)},
            np.array([0.25, 0.9, 8.0, float(runs["loss"].quantile(0.2))]),
        )[0]
        law, link = fit(CHINCHILLA, runs, "robust"), fit(SIGMOID, table, "squared", fixed={"floor": 0.25})
        found = score_at(law, link, n_params=1e10, n_tokens=1e11, level=0.95, rng=k)
        assert not any("own error is not" in w for w in found.warnings)
        assert 0 <= found.loss_share[0] < 1
        inside += bool(found.low[0] <= truth <= found.high[0])
        again = score_at(law, link, n_params=1e10, n_tokens=1e11, level=0.95, rng=k)
        assert (again.low, again.high) == (found.low, found.high)
    assert inside >= 6  # 7.6 of 8 expected
    along = score_along(law, link, flops=[1e21, 1e22])
    assert (along.loss_high > along.loss_low).all() and (along.high > along.low).all()


def test_rates_stay_rates_where_they_are_forecast():
    table = scored(0.008, 3, np.linspace(2.3, 3.2, 60), ceiling=0.95)
    link = fit(SIGMOID, table, "squared", fixed={"floor": 0.25})
    free, bound = link_draws(link, 2000, 0), link_draws(link, 2000, 0, losses=[1.6])
    top = [SIGMOID.predict({"loss": np.array([1.6])}, d.theta)[:, 0] for d in (free, bound)]
    assert (top[0] > 1.05).mean() > 0.1 > (top[1] > 1.05).mean()
    percent = fit(SIGMOID, table.assign(score=100 * table["score"]), "squared", fixed={"floor": 25.0})
    assert link_draws(percent, 2000, 0, losses=[1.6]).theta[:, 1].max() > 105
    law = Fitted(CHINCHILLA, np.tile(THETA, (3, 1)))
    found = score_at(law, link, n_params=1e12, n_tokens=1e14)
    assert found.draws.max() <= 1 and found.low[0] < found.score[0] < found.high[0]


def test_nothing_is_drawn_from_a_link_without_its_runs():
    link = fit(SIGMOID, scored(0.008, 0, np.linspace(1.8, 3.0, 40)), "squared", fixed={"floor": 0.25})
    loaded = load_fit(link.to_dict())
    with pytest.raises(FitError, match="loaded from a file"):
        link_draws(loaded)
