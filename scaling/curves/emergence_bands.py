"""What the scores allow: bounds of a coefficient by profile likelihood, and the curves that are not rejected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from scaling.curves import binomial as curves
from scaling.curves.band import Band
from scaling.curves.binomial import CEILING, FLOOR, LOGISTIC, MIDDLE, WIDTH, Box, Shape
from scaling.curves.emergence_fits import SHAPE_OF, SHAPES, Fits
from scaling.curves.emergence_scores import Scores
from scaling.laws.law import Array
from scaling.progress import Bar

N_REGION = 2000  # curves that map what the scores allow, of each shape
LEAST_WEIGHT = 0.005  # of a shape, below which forecasts leave it out
CROSSING_ROUNDS, CROSSING_VALUES = 3, 9  # of a search between two values of a profile


def critical_drop(level: float, dispersion: float, counted: bool, dof: int) -> float:
    """Half of the scaled deviance that a profile may rise: chi-square, or F where the dispersion was estimated."""
    if counted and dispersion == 1:
        return float(special.chdtri(1, 1 - level)) / 2
    return float(special.fdtri(1, max(dof, 1), level)) / 2


def profile_band(
    scores: Scores,
    fits: Fits,
    box: Box,
    coefficient: int,
    critical: float,
    level: float,
    estimate: float,
    bar: Bar,
) -> Band:
    """Values of a coefficient that some curve reconciles with the scores: the union over the shapes, by profiles."""
    best = max(float(fits.value[s.name][0]) for s in SHAPES)
    low, high = box.low[coefficient], box.high[coefficient]
    own = [float(fits.theta[s.name][0][coefficient]) for s in SHAPES]
    log = coefficient == WIDTH

    def spread(a: float, b: float, n: int) -> Array:
        return np.geomspace(a, b, n) if log else np.linspace(a, b, n)

    coarse, *fine = bar.parts(41, *[CROSSING_VALUES] * 2 * CROSSING_ROUNDS)
    rounds = iter([coarse, *fine])

    def drop(values: Array) -> Array:
        """Scaled log likelihood that the best curve with each value loses to the best of all."""
        each = [
            curves.profile(s, scores.x, scores.successes, scores.trials, box, coefficient, values, part)
            for s, part in zip(SHAPES, next(rounds).each(len(SHAPES)), strict=True)
        ]
        return (best - np.max(each, axis=0)) / float(fits.dispersion[0])

    values = np.unique(np.concatenate([spread(low, high, 41), own]))
    allowed = drop(values) <= critical
    allowed |= np.isin(values, own) & (values == own[int(np.argmax([float(fits.value[s.name][0]) for s in SHAPES]))])
    first, last = int(np.argmax(allowed)), len(allowed) - 1 - int(np.argmax(allowed[::-1]))
    lower = (
        _crossing(drop, spread, values[first - 1], values[first], critical) if first > 0 else (0.0 if log else -np.inf)
    )
    upper = _crossing(drop, spread, values[last + 1], values[last], critical) if last + 1 < len(values) else np.inf
    bar(1, 1)
    return Band(estimate, min(lower, estimate), max(upper, estimate), level)


def _crossing(drop: Any, spread: Any, outside: float, inside: float, critical: float) -> float:
    """Where the drop passes the critical value between a value outside and one inside."""
    for _ in range(CROSSING_ROUNDS):
        values = spread(outside, inside, CROSSING_VALUES)
        allowed = drop(values) <= critical
        allowed[-1] = True
        k = int(np.argmax(allowed))
        if k == 0:
            return float(outside)
        outside, inside = float(values[k - 1]), float(values[k])
    return outside  # the conservative end of the last cell


def draws_by_weight(
    models: pd.DataFrame, cells: Mapping[str, curves.Cells], n: int, rng: np.random.Generator
) -> dict[str, Array]:
    """About n curves {shape: (R, 4)} given the scores, as many of each shape as its weight says."""
    weights = {str(m): float(w) for m, w in zip(models["model"], models["weight"], strict=True) if m in SHAPE_OF}
    total = sum(weights.values())
    if total <= 0:
        weights, total = {LOGISTIC.name: 1.0}, 1.0
    kept = {m: w / total for m, w in weights.items() if w / total >= LEAST_WEIGHT}
    return {m: cells[m].draw(max(1, round(n * w / sum(kept.values()))), rng) for m, w in kept.items()}


def region_of_curves(
    scores: Scores, fits: Fits, cells: Mapping[str, curves.Cells], rng: np.random.Generator
) -> dict[str, tuple[Array, Array]]:
    """Curves spread over all that the scores allow, and the log likelihood each loses to the best: {shape: (theta, drop)}."""
    best = max(float(fits.value[s.name][0]) for s in SHAPES)
    out = {}
    for s in SHAPES:
        spread = [cells[s.name].draw(N_REGION // 2, rng, temper) for temper in (0.3, 0.8)]
        theta = np.concatenate([fits.theta[s.name], *spread])
        value = curves.log_likelihood(scores.successes, scores.trials, curves.mean(s, scores.x, theta))
        out[s.name] = (theta, (best - value) / float(fits.dispersion[0]))
    return out


def within_drop(region: Mapping[str, tuple[Array, Array]], critical: float) -> dict[str, Array]:
    """Curves of a region within the critical drop, and always the best one."""
    least = min(float(drop.min()) for _, drop in region.values())
    kept = {k: theta[drop <= max(critical, least)] for k, (theta, drop) in region.items()}
    return {k: theta for k, theta in kept.items() if len(theta)}


def places_reached(
    draws: Mapping[str, Array], allowed: Mapping[str, Array], score: float
) -> tuple[float, float, float]:
    """Working positions at which a score is passed: the lowest allowed, the median of the draws, the highest allowed."""
    middle = np.concatenate([_position(SHAPE_OF[k], theta, score) for k, theta in draws.items()])
    ends = np.concatenate([_position(SHAPE_OF[k], theta, score) for k, theta in allowed.items()])
    low, high = float(ends.min()), float(ends.max())
    return low, float(np.clip(np.quantile(middle, 0.5, method="inverted_cdf"), low, high)), high


def _position(shape: Shape, theta: Array, score: float) -> Array:
    """Working positions (R,) at which curves (R, 4) pass a score: -inf always above it, inf never."""
    floor, ceiling = theta[:, FLOOR], theta[:, CEILING]
    with np.errstate(divide="ignore", invalid="ignore"):
        q = np.where(ceiling > floor, (score - floor) / np.maximum(ceiling - floor, 1e-12), np.inf)
    return theta[:, MIDDLE] + theta[:, WIDTH] * curves.inverse(shape, q)
