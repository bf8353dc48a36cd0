"""Fits of Chinchilla's law: Besiroglu et al., Llama 3, Marin, (Mis)Fitting."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from scaling.allocation import allocate
from scaling.approaches import isoflop
from scaling.fitting import FitResult, Squared, fit
from scaling.laws.chinchilla import CHINCHILLA
from scaling.laws.law import Array, Coef, Law
from scaling.uncertainty import bootstrap
from targets.rows import README, Row, against, coefs_of, huber, read, rows_of


def chinchilla_epoch(folder: Path) -> list[Row]:
    """Besiroglu et al. 2024: Hoffmann et al.'s runs, read off their figure."""
    name = "chinchilla-epoch"
    runs = read(folder, name)
    kept = runs[~runs["excluded_in_paper"].astype(bool)]
    assert len(kept) == 240
    result = fit(CHINCHILLA, kept, "hoffmann")
    grid = {"A": 477.84171, "B": 2143.86379, "E": 1.817235504, "alpha": 0.3473126576, "beta": 0.3671826174}
    objective = Row(
        name, "objective, 240 runs", 0.0010182740346, float(result.objective_value), "at most", 1e-8,
        "a lower one is a better fit of the same runs",
    )  # fmt: skip
    out = [objective]
    flat = "flat optimum: their search stopped 1e-11 above ours, where coefficients still move by 2e-4"
    out += rows_of(name, against(coefs_of(result), grid), "rel", 5e-4, flat)
    headline = {"E": (1.81686, 0.02566), "A": (482.00572, 124.52232), "B": (2085.43420, 1293.28410), "alpha": (0.34781, 0.01540), "beta": (0.36585, 0.02060)}  # fmt: skip
    why = "a tenth of the printed standard error: their headline fit has one more coefficient and stopped early"
    for coef, (value, error) in headline.items():
        out.append(Row(name, f"{coef}, headline", value, coefs_of(result)[coef], "abs", 0.1 * error, why))
    optimum = {"A": 477.826, "B": 2143.417, "E": 1.817218, "alpha": 0.347311, "beta": 0.367172}
    out += rows_of(name, against(coefs_of(result), optimum), "rel", 2e-6, "the digits printed", origin=README)
    everything = {"A": 495.7, "B": 12845.6, "E": 1.8913, "alpha": 0.3493, "beta": 0.4530}
    out += rows_of(
        name, against(coefs_of(fit(CHINCHILLA, runs, "hoffmann")), everything, "all 245 runs: "), "rel", 2e-4,
        "the digits printed", origin=README,
    )  # fmt: skip
    draws = bootstrap(result, n_resamples=4000, rng=42)
    low, high = np.quantile(draws.theta, (0.025, 0.975), axis=0)
    printed = {"A": (285.2, 743.6), "B": (1042.4, 5810.3), "E": (1.769, 1.871), "alpha": (0.317, 0.373), "beta": (0.331, 0.415)}  # fmt: skip
    for i, coef in enumerate(CHINCHILLA.coef_names):
        slack, why = (0.1, "other random resamples; these ends move by a few per cent") if coef in "AB" else (0.02, "other random resamples")  # fmt: skip
        for end, target, value in (("2.5 %", printed[coef][0], low[i]), ("97.5 %", printed[coef][1], high[i])):
            out.append(Row(name, f"{coef}, {end} of 4000 resamples", target, float(value), "rel", slack, why))
    return out


def llama3_isoflop(folder: Path) -> list[Row]:
    """Open Athena's analysis of the Llama 3 isoFLOP figure."""
    name = "llama3-isoflop"
    runs = read(folder, name).query("condition == 'raw_loss'")
    assert len(runs) == 133
    by_budget = isoflop(runs, curve="parabola", weights="equal", n_resamples=20)
    far = by_budget.predict(3.8e25).iloc[0]
    out = rows_of(name, [("exponent a", 0.4632, by_budget.a), ("exponent b", 0.5368, by_budget.b)], "abs", 5.1e-5, "the digits printed")  # fmt: skip
    out += rows_of(
        name, [("approach 2, D* at 3.8e25", 16.1e12, far["n_tokens"]), ("approach 2, N* at 3.8e25", 393.3e9, far["n_params"])],
        "rel", 4e-3, "half of the last digit printed of D*; 3.8e25 is itself rounded",
    )  # fmt: skip
    surface = fit(CHINCHILLA, runs, Squared())
    ours = coefs_of(surface)
    for coef, value, half in (("E", 0.6047, 5.1e-5), ("A", 59.1, 0.051), ("B", 155.1, 0.051), ("alpha", 0.3100, 5.1e-5), ("beta", 0.3136, 5.1e-5)):  # fmt: skip
        out.append(Row(name, f"surface {coef}", value, ours[coef], "abs", half, "the digits printed"))
    best = allocate(surface, 3.8e25)
    out += rows_of(
        name, [("surface, D* at 3.8e25", 10.2e12, best.n_tokens[0]), ("surface, N* at 3.8e25", 621.6e9, best.n_params[0])],
        "rel", 5e-3, "half of the last digit printed of D*",
    )  # fmt: skip
    squares = 2 * float(surface.objective_value)
    out.append(Row(name, "surface, sum of squares", 0.0020197, squares, "abs", 5.1e-8, "the digits printed", README))
    log_huber = coefs_of(fit(CHINCHILLA, runs, "hoffmann"))
    pairs = [("log-Huber alpha", 0.2835, log_huber["alpha"]), ("log-Huber beta", 0.3157, log_huber["beta"])]
    return out + rows_of(name, pairs, "abs", 5.1e-5, "the digits printed", origin=README)


def marin_isoflop(folder: Path) -> list[Row]:
    """Three corpora on one grid of budgets; nothing was printed, so the README's refit is the target."""
    name = "marin-isoflop"
    runs = read(folder, name).query("~flagged_outlier")
    printed = {
        "comma": (0.426, 0.552, 0.710, 0.349, 2.684), "dclm": (0.432, 0.544, 0.683, 0.397, 2.567),
        "nemotron": (0.444, 0.532, 0.662, 0.396, 2.500),
    }  # fmt: skip
    out = []
    for corpus, targets in printed.items():
        mine = runs[runs["dataset"] == corpus]
        by_budget = isoflop(mine, curve="parabola", weights="equal", n_resamples=20)
        surface = coefs_of(fit(CHINCHILLA, mine, "hoffmann"))
        ours = (by_budget.a, by_budget.b, surface["alpha"], surface["beta"], surface["E"])
        labels = [f"{corpus}: {what}" for what in ("a", "b", "alpha", "beta", "E")]
        out += rows_of(
            name, zip(labels, targets, ours, strict=True), "abs", 5.1e-4, "the digits printed", origin=README
        )
    return out


def misfitting(folder: Path) -> list[Row]:
    """Li, Kudugunta and Zettlemoyer 2025."""
    name = "misfitting"
    runs = read(folder, name, "runs.csv.gz").query("portion_steps_elapsed == 1")
    assert len(runs) == 261
    printed = {"ln A": 3.93880, "ln B": 13.05576, "ln E": 0.592076, "alpha": 0.200196, "beta": 0.635697}
    theta = np.array([np.exp(printed["ln E"]), np.exp(printed["ln A"]), np.exp(printed["ln B"]), printed["alpha"], printed["beta"]])  # fmt: skip
    objective = 0.005021654212
    out = [Row(name, "objective at the printed coefficients", objective, huber(CHINCHILLA, runs, theta), "rel", 1e-6, "six digits of coefficients")]  # fmt: skip
    result = fit(CHINCHILLA, runs, "hoffmann")
    out.append(Row(name, "objective of the refit", objective, float(result.objective_value), "at most", 1e-9, "lower is better"))  # fmt: skip

    def logs(found: FitResult) -> dict[str, float]:
        c = coefs_of(found)
        return {f"ln {k}": math.log(c[k]) for k in "ABE"} | {k: v for k, v in c.items() if k not in "ABE"}

    flat = "flat optimum: their objective is 1e-6 above the least, where these move by this much"
    out += rows_of(name, against(logs(result), printed), "rel", 1e-3, flat)
    refit = {"ln A": 3.93979, "ln B": 13.0551, "ln E": 0.59226, "alpha": 0.20026, "beta": 0.63566}
    out += rows_of(name, against(logs(result), refit), "abs", 5.1e-5, "the digits printed", origin=README)

    def tied_loss(x: Any, theta: Array) -> Array:
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
        formula=tied_loss,
    )
    one = {"ln A": 10.42017, "ln B": 12.43542, "ln E": 0.934138, "alpha": 0.603380}
    out += rows_of(name, against(logs(fit(tied, runs, "hoffmann")), one, "alpha = beta: "), "rel", 1e-3, flat)
    best = runs.loc[runs.groupby(["n_params", "n_tokens"])["loss"].idxmin()]
    assert len(best) == 81
    chosen = coefs_of(fit(CHINCHILLA, best, "hoffmann"))
    pairs = [("best learning rates only: alpha", 0.138, chosen["alpha"]), ("best learning rates only: beta", 0.670, chosen["beta"])]  # fmt: skip
    return out + rows_of(name, pairs, "abs", 5.1e-4, "the digits printed", origin=README)
