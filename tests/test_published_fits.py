"""Refits of published data agree with what was published, to the digits that can be reproduced."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scaling.fitting import Squared, fit
from scaling.laws.chinchilla import CHINCHILLA
from scaling.laws.law import Coef, Law

NAMES = {"params": "n_params", "tokens": "n_tokens"}
C4 = "eval/c4_val/CrossEntropyLoss"
CORPORA = ("fineweb-100b", "fineweb-edu-100b", "proof-pile-2", "slimpajama-chunk1")


def coefs(result) -> dict[str, float]:
    return dict(zip(result.law.coef_names, result.theta.tolist(), strict=True))


# --- Hoffmann et al. Fig. 4 as read by Besiroglu et al. 2024 -----------------------------------------------------------


@pytest.fixture(scope="module")
def hoffmann_runs(reference) -> pd.DataFrame:
    runs = pd.read_csv(reference("chinchilla-epoch") / "runs.csv").rename(columns=NAMES)
    assert len(runs) == 245
    return runs


@pytest.fixture(scope="module")
def hoffmann_fit(hoffmann_runs):
    return fit(CHINCHILLA, hoffmann_runs[~hoffmann_runs["excluded_in_paper"].astype(bool)], "hoffmann")


def test_the_chinchilla_objective_is_no_worse_than_the_published_grid_search(hoffmann_fit):
    assert int(hoffmann_fit.n_runs) == 240
    assert hoffmann_fit.objective_value <= 0.00101827402 + 1e-11


def test_the_chinchilla_coefficients_are_those_of_the_optimum(hoffmann_fit):
    optimum = {"A": 477.826, "B": 2143.417, "E": 1.817218, "alpha": 0.347311, "beta": 0.367172}
    assert coefs(hoffmann_fit) == pytest.approx(optimum, rel=1e-4)


def test_every_polished_start_reaches_the_same_chinchilla_optimum(hoffmann_fit):
    from scaling.fitting.starts import search

    polished = search(hoffmann_fit.coordinates, hoffmann_fit.objective, hoffmann_fit.problem)[0]
    assert len(polished) >= 4
    assert hoffmann_fit.starts_agreeing == len(polished)


def test_the_chinchilla_coefficients_lie_well_inside_the_printed_bootstrap_intervals(hoffmann_fit):
    printed = {"A": (285.2, 743.6), "B": (1042.4, 5810.3), "E": (1.769, 1.871), "alpha": (0.317, 0.373), "beta": (0.331, 0.415)}  # fmt: skip
    for name, value in coefs(hoffmann_fit).items():
        low, high = printed[name]
        assert low < value < high


def test_the_five_excluded_runs_move_the_fit_as_published(hoffmann_runs):
    everything = {"A": 495.7, "B": 12845.6, "E": 1.8913, "alpha": 0.3493, "beta": 0.4530}
    assert coefs(fit(CHINCHILLA, hoffmann_runs, "hoffmann")) == pytest.approx(everything, rel=1e-3)


# --- Brandfonbrener et al. 2024: four corpora ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kempner(reference) -> tuple[pd.DataFrame, pd.DataFrame]:
    folder = reference("kempner-four-corpora")
    return pd.read_csv(folder / "runs.csv").rename(columns=NAMES), pd.read_csv(folder / "published_fits.csv")


def kaplan_with_floor() -> Law:
    """The second form of the paper, written as a user would: no derivative, no linear coefficients named."""

    def loss(x, theta):
        E, A, B, alpha, beta = np.moveaxis(theta, -1, 0)[..., None]
        return E + (np.exp(alpha / beta * (np.log(A) - np.log(x["n_params"]))) + B / x["n_tokens"]) ** beta

    return Law(
        name="kaplan_floor",
        equation="L = E + ((A/N)^(alpha/beta) + B/D)^beta",
        inputs=("n_params", "n_tokens"),
        coefs=(
            Coef("E", "floor", starts=(0.05, 4.0)),
            Coef("A", "size scale", starts=(1e5, 1e15)),
            Coef("B", "data scale", starts=(1e5, 1e15)),
            Coef("alpha", "size exponent", starts=(0.05, 0.8)),
            Coef("beta", "data exponent", starts=(0.05, 0.8)),
        ),
        linear=("E",),
        formula=loss,
    )


def kempner_fits(kempner, loss_name: str, law: Law):
    """Our fit of every corpus in one batch, and the published rows in the same order."""
    runs, published = kempner
    sweep = runs[(runs["split"] == "fit") & runs[loss_name].notna()].assign(loss=lambda t: t[loss_name])
    result = fit(law, sweep[["group", "n_params", "n_tokens", "loss"]], "hoffmann", by="group")
    rows = published[(published["loss_name"] == loss_name) & (published["kaplan"] == (law.name != "chinchilla"))]
    return result, rows.set_index("data").loc[result.groups["group"]]


def huber(law: Law, runs: pd.DataFrame, theta) -> float:
    """The published objective, written out: the sum of Huber(1e-3) of log residuals."""
    r = np.abs(np.log(law.predict({c: runs[c].to_numpy() for c in law.inputs}, theta) / runs["loss"].to_numpy()))
    return float(np.where(r <= 1e-3, r**2 / 2, 1e-3 * (r - 1e-3 / 2)).sum())


def test_every_corpus_gives_the_published_coefficients(kempner):
    result, rows = kempner_fits(kempner, C4, CHINCHILLA)
    assert tuple(result.groups["group"]) == CORPORA
    np.testing.assert_allclose(result.theta, rows[list(CHINCHILLA.coef_names)], rtol=5e-5)  # five digits
    # theirs is the mean over the runs in single precision, ours the sum
    np.testing.assert_allclose(result.objective_value / result.n_runs, rows["loss"], rtol=3e-6)


def test_every_corpus_predicts_its_large_run_as_published(kempner):
    result, rows = kempner_fits(kempner, C4, CHINCHILLA)
    large = kempner[0].query("split == 'extrapolation'").set_index("group").loc[result.groups["group"]]
    predicted = [float(result[i].predict(large.iloc[[i]])[0]) for i in range(len(large))]
    np.testing.assert_allclose(predicted, [2.5277, 2.7320, 3.2733, 2.7608], atol=5e-5)
    np.testing.assert_allclose(predicted, rows["extrap_pred"], rtol=1e-5)


@pytest.mark.parametrize("law", [CHINCHILLA, kaplan_with_floor()], ids=lambda law: law.name)
def test_no_loss_of_any_corpus_is_fitted_worse_than_published(kempner, law):
    """92 published fits of each form: at our coefficients the published objective is no higher, on every one."""
    names = [n for n in kempner[1]["loss_name"].unique() if n in kempner[0]]
    assert len(names) >= 20
    worse = []
    for name in names:
        result, rows = kempner_fits(kempner, name, law)
        for i, corpus in enumerate(result.groups["group"]):
            ours = huber(law, result[i].runs, result.theta[i])
            theirs = huber(law, result[i].runs, rows.loc[corpus, list(law.coef_names)].to_numpy(float))
            assert ours == pytest.approx(float(result.objective_value[i]), rel=1e-9)
            # an amplitude that the runs do not show is held just above zero, not at it: a few 1e-9
            if not ours <= theirs * (1 + 1e-8):
                worse.append((name, corpus, ours / theirs - 1, str(result.status[i])))
    assert not worse


# --- Llama 3: isoFLOP sweeps --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def llama_runs(reference) -> pd.DataFrame:
    runs = pd.read_csv(reference("llama3-isoflop") / "runs.csv").rename(columns=NAMES)
    return runs[runs["condition"] == "raw_loss"]


def test_the_llama_surface_has_the_published_coefficients(llama_runs):
    result = fit(CHINCHILLA, llama_runs, Squared())
    assert int(result.n_runs) == 133
    printed = {"E": (0.6047, 4), "A": (59.1, 1), "B": (155.1, 1), "alpha": (0.3100, 4), "beta": (0.3136, 4)}
    assert {name: round(value, printed[name][1]) for name, value in coefs(result).items()} == {
        name: value for name, (value, _) in printed.items()
    }
    assert 2 * result.objective_value == pytest.approx(0.0020197, abs=5e-8)  # the residual sum of squares


def test_the_llama_surface_allocates_the_largest_budget_as_published(llama_runs):
    """At 3.8e25 FLOP, found on a fine grid of sizes and not by the closed form that the source used."""
    result = fit(CHINCHILLA, llama_runs, Squared())
    n_params = np.geomspace(1e11, 1e13, 200_001)
    n_tokens = 3.8e25 / (6 * n_params)
    best = int(np.argmin(result.predict({"n_params": n_params, "n_tokens": n_tokens})))
    assert n_params[best] == pytest.approx(621.6e9, rel=1e-3)
    assert n_tokens[best] == pytest.approx(10.2e12, rel=5e-3)


def test_the_objective_matters_for_the_llama_runs(llama_runs):
    result = coefs(fit(CHINCHILLA, llama_runs, "hoffmann"))
    assert (result["alpha"], result["beta"]) == pytest.approx((0.2835, 0.3157), abs=5e-5)


# --- Li et al. 2025, (Mis)Fitting ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def misfitting_runs(reference) -> pd.DataFrame:
    runs = pd.read_csv(reference("misfitting") / "runs.csv.gz").rename(columns=NAMES)
    return runs[runs["portion_steps_elapsed"] == 1]


PRINTED = {"A": np.exp(3.93880), "B": np.exp(13.05576), "E": np.exp(0.592076), "alpha": 0.200196, "beta": 0.635697}


def test_the_misfitting_objective_at_the_printed_coefficients_is_the_printed_one(misfitting_runs):
    assert len(misfitting_runs) == 261
    theta = np.array([PRINTED[c] for c in CHINCHILLA.coef_names])
    assert huber(CHINCHILLA, misfitting_runs, theta) == pytest.approx(0.005021654212, rel=1e-6)


def test_the_misfitting_refit_is_no_worse_and_agrees_to_the_digits_of_the_flat_optimum(misfitting_runs):
    result = fit(CHINCHILLA, misfitting_runs, "hoffmann")
    assert result.objective_value <= 0.005021654212 * (1 + 1e-9)
    # the objective differs by less than 1e-6 relative between these points: four digits of exponents are all there is
    assert coefs(result) == pytest.approx(PRINTED, rel=2e-3)
    assert np.log(coefs(result)["A"]) == pytest.approx(3.93979, abs=5e-4)
    assert coefs(result)["alpha"] == pytest.approx(0.20026, abs=1e-4)
    assert coefs(result)["beta"] == pytest.approx(0.63566, abs=1e-4)


def test_one_exponent_for_both_terms_gives_the_printed_misfitting_coefficients(misfitting_runs):
    """The tied form, again as a user's own law."""

    def loss(x, theta):
        E, A, B, alpha = np.moveaxis(theta, -1, 0)[..., None]
        return E + A * x["n_params"] ** -alpha + B * x["n_tokens"] ** -alpha

    tied = Law(
        name="tied",
        equation="L = E + A/N^alpha + B/D^alpha",
        inputs=("n_params", "n_tokens"),
        coefs=(
            Coef("E", "floor", starts=(0.5, 5.0)),
            Coef("A", "size term", starts=(1.0, 1e6)),
            Coef("B", "data term", starts=(1.0, 1e6)),
            Coef("alpha", "both exponents", starts=(0.1, 1.5)),
        ),
        linear=("E", "A", "B"),
        formula=loss,
    )
    result = coefs(fit(tied, misfitting_runs, "hoffmann"))
    found = [np.log(result["A"]), np.log(result["B"]), np.log(result["E"]), result["alpha"]]
    assert found == pytest.approx([10.42017, 12.43542, 0.934138, 0.603380], rel=1e-3)


def test_selecting_the_best_learning_rate_moves_the_misfitting_exponents(misfitting_runs):
    best = misfitting_runs.loc[misfitting_runs.groupby(["n_params", "n_tokens"])["loss"].idxmin()]
    assert len(best) == 81
    result = coefs(fit(CHINCHILLA, best, "hoffmann"))
    assert (result["alpha"], result["beta"]) == pytest.approx((0.138, 0.670), abs=5e-4)
