"""Curves, a line, a step and a constant fitted to the same scores, ranked, and tested by simulated tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scaling.curves import binomial as curves
from scaling.curves.binomial import RAMP, SMOOTH, Box
from scaling.curves.emergence_scores import Scores
from scaling.laws.law import Array
from scaling.progress import Bar

SHAPES = (*SMOOTH, RAMP)
SHAPE_OF = {s.name: s for s in SHAPES}


@dataclass(frozen=True)
class Fits:
    """Log likelihoods (B,) and coefficients (B, 4) of every model for B rows of successes, and their dispersion (B,)."""

    value: dict[str, Array]
    theta: dict[str, Array]
    flat: Array
    dispersion: Array

    def best_of(self, shapes: tuple[str, ...]) -> Array:
        """Largest log likelihood (B,) among the named models."""
        return np.max([self.value[s] for s in shapes], axis=0)


_SMOOTH_NAMES = tuple(s.name for s in SMOOTH)


def fit_all(x: Array, successes: Array, trials: Array, box: Box, counted: bool, bar: Bar) -> Fits:
    """Every model fitted to each row of successes (B, n)."""
    value: dict[str, Array] = {}
    theta: dict[str, Array] = {}
    *of_shapes, of_line = bar.parts(*(3.0 if s.cornered else 1.0 for s in SHAPES), 0.5)  # corners: more starts
    for shape, part in zip(SHAPES, of_shapes, strict=True):
        theta[shape.name], value[shape.name] = curves.fit_shape(shape, x, successes, trials, box, part)
    theta["step"], value["step"] = curves.fit_step(x, successes, trials, box)
    flat, value["flat"] = curves.fit_flat(successes, trials)
    theta["linear"], value["linear"] = curves.fit_line(x, successes, trials, of_line)
    bar(1, 1)
    dof = max(len(x) - box.n_free, 1)
    means = [curves.mean(s, x, theta[s.name]) for s in SHAPES]
    dispersion = np.min([curves.pearson(successes, trials, m) for m in means], axis=0) / dof
    dispersion = np.maximum(dispersion, 1.0 if counted else 1e-8)
    return Fits(value, theta, flat, dispersion)


def model_table(scores: Scores, fits: Fits, box: Box, log_x: bool) -> pd.DataFrame:
    """Deviance, AICc, BIC and weight of each model, the best first."""
    n, dispersion = len(scores.x), float(fits.dispersion[0])
    observed = curves.log_likelihood(scores.successes, scores.trials, scores.successes / scores.trials)
    extra = 0 if dispersion == 1 else 1
    counts = {s.name: box.n_free for s in SHAPES} | {"step": box.n_free - 1, "linear": 2, "flat": 1}
    words = {s.name: s.words for s in SHAPES} | {
        "step": "two levels with a jump",
        "linear": f"linear in the {'log of the ' if log_x else ''}scale",
        "flat": "one constant rate",
    }
    rows = []
    for name, k in counts.items():
        deviance = max(2 * float(observed - fits.value[name][0]), 0.0) / dispersion
        p = k + extra
        small = 2 * p * (p + 1) / (n - p - 1) if n > p + 1 else np.inf
        rows.append(
            {
                "model": name,
                "words": words[name],
                "n_coefs": k,
                "deviance": deviance,
                "aicc": deviance + 2 * p + small,
                "bic": deviance + p * np.log(n),
            }
        )
    table = pd.DataFrame(rows)
    criterion = table["aicc"] if np.isfinite(table["aicc"]).all() else table["bic"]
    weight = np.exp(-(criterion - criterion.min()) / 2)
    table["weight"] = weight / weight.sum()
    order = criterion.sort_values(kind="stable").index
    return table.loc[order].reset_index(drop=True)


def simulated_tests(
    scores: Scores, fits: Fits, box: Box, n_draws: int, rng: np.random.Generator, bar: Bar
) -> tuple[float, float]:
    """p-values of a constant rate, and of the smooth curves against a corner or a jump, both by simulated tables."""
    dispersion = float(fits.dispersion[0])
    flat = np.full(len(scores.x), float(fits.flat[0]))
    name = max(_SMOOTH_NAMES, key=lambda s: float(fits.value[s][0]))
    smooth = curves.mean(SHAPE_OF[name], scores.x, fits.theta[name][0])

    def change(f: Fits) -> Array:
        """What the best smooth curve gains over a constant."""
        return (f.best_of(_SMOOTH_NAMES) - f.value["flat"]) / f.dispersion

    def corner(f: Fits) -> Array:
        """What the better of ramp and step gains over the best smooth curve."""
        return (f.best_of((RAMP.name, "step")) - f.best_of(_SMOOTH_NAMES)) / f.dispersion

    # a constant rate explains scatter around itself only with the dispersion that it would need
    flat_dispersion = float(curves.pearson(scores.successes, scores.trials, flat)) / max(len(scores.x) - 1, 1)
    flat_dispersion = dispersion if scores.counted else max(flat_dispersion, 1e-8)
    out = []
    claims = ((flat, flat_dispersion, change), (smooth, dispersion, corner))
    for (mu, phi, statistic), part in zip(claims, bar.parts(1, 1), strict=True):
        rows = curves.simulate(mu, scores.trials, phi, n_draws, rng)
        simulated = statistic(fit_all(scores.x, rows, scores.trials, box, scores.counted, part))
        observed = float(statistic(fits)[0])
        out.append((1 + int(np.sum(simulated >= observed - 1e-9))) / (n_draws + 1))
    return out[0], out[1]
