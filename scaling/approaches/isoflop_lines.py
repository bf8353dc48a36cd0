"""Power laws through the optima of the budgets: weighted lines in logs, and draws of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaling.approaches.isoflop_result import PowerLaw
from scaling.approaches.profiles import Profiles, optima_of_draws
from scaling.errors import FitError
from scaling.laws.law import Array
from scaling.progress import Bar


@dataclass(frozen=True)
class Optima:
    """Minima of the loss at K budgets, and the runs behind them.

    flops : (K,). used : (K,) budgets that a line goes through. curve, found : the curves over sizes and over tokens.
    sizes : the logs of both that were tried, per budget (n_k,), as are losses. weights : 'variance' or 'equal'.
    """

    flops: Array
    used: Array
    curve: str
    found: tuple[Profiles, Profiles]
    sizes: tuple[list[Array], list[Array]]
    losses: list[Array]
    weights: str


def growth_with_compute(
    optima: Optima, resample: str, n: int, rng: np.random.Generator, bar: Bar
) -> tuple[PowerLaw, PowerLaw]:
    """N_opt(C) and D_opt(C) through the optima, each with n draws of its line, from whole 'budgets' or from their 'runs'."""
    draws, dof = _draws(optima, resample, n, rng, bar)
    lines = [line_through(p, optima.used, optima.flops, optima.weights) for p in optima.found]
    pivot = _pivot(optima.flops[optima.used])
    n_law, d_law = (
        PowerLaw(float(line[1]), float(line[0]), pivot, drawn, dof) for line, drawn in zip(lines, draws, strict=True)
    )
    return n_law, d_law


def line_through(found: Profiles, used: Array, flops: Array, weights: str) -> Array:
    """(2,) intercept and slope of the weighted line through the log optima of the used budgets, flops (K,)."""
    x = np.log(flops[used] / _pivot(flops[used]))
    return _lines(x, found.log_optimum[used][None], _line_weights(found.variance[used], weights))[0]


def _pivot(flops: Array) -> float:
    """The middle of budgets, where intercept and slope of a line are least correlated."""
    return float(np.exp(np.log(flops).mean()))


def _line_weights(variance: Array, kind: str) -> Array:
    """(K,) one over variance, where variances are known; no budget counts more than 25 times the typical one."""
    if kind == "equal" or not np.isfinite(variance).all() or not (variance > 0).any():
        return np.ones(len(variance))
    typical = np.median(variance)
    return typical / np.maximum(variance, max(typical, 1e-300) / 25)


def _lines(x: Array, y: Array, w: Array) -> Array:
    """(R, 2) intercept and slope of weighted lines: x (K,), y (R, K), w (K,) or (R, K)."""
    w = np.broadcast_to(w, y.shape)
    total = w.sum(axis=1)
    mx, my = (w * x).sum(axis=1) / total, (w * y).sum(axis=1) / total
    dx = x - mx[:, None]
    slope = (w * dx * (y - my[:, None])).sum(axis=1) / (w * dx**2).sum(axis=1)
    return np.stack([my - slope * mx, slope], axis=1)


def _draws(
    optima: Optima, resample: str, n: int, rng: np.random.Generator, bar: Bar
) -> tuple[tuple[Array, Array], int]:
    """Draws (R, 2) of both lines, scaled so that their spread is that of the estimate, and the degrees of freedom."""
    used, found, losses = optima.used, optima.found, optima.losses
    x = np.log(optima.flops[used] / _pivot(optima.flops[used]))
    k_used = int(used.sum())
    every = np.ones((n, len(losses)))
    if resample == "budgets":
        # A line needs two different budgets; draws without are drawn again.
        counts = rng.multinomial(k_used, np.full(k_used, 1 / k_used), size=n).astype(float)
        while (few := (counts > 0).sum(axis=1) < min(3, k_used)).any():
            counts[few] = rng.multinomial(k_used, np.full(k_used, 1 / k_used), size=int(few.sum()))
        every[:, used] = counts
        dof = max(k_used - 2, 1)
        stretch = np.sqrt(k_used / dof)  # residuals of a line are smaller than the errors they stand for
        noisy = [losses, losses]
    else:
        counts = np.ones((n, k_used))
        signs = [rng.choice([-1.0, 1.0], size=(n, len(y))) for y in losses]
        noisy = [
            [
                fitted + s * (y - fitted) / (1 - np.minimum(h, 0.9))
                for fitted, h, s, y in zip(p.fitted, p.leverage, signs, losses, strict=True)
            ]
            for p in found
        ]
        dof, stretch = max(found[0].dof, 1), 1.0
    out = []
    for p, size, y, part in zip(found, optima.sizes, noisy, bar.each(2), strict=True):
        at = optima_of_draws(optima.curve, size, y, every, part)[:, used]
        known = np.isfinite(at)  # a draw may lose a minimum; it then stands on the other budgets
        at = np.where(known, at, 0.0)
        w_draw = counts * _line_weights(p.variance[used], optima.weights) * known
        ok = (w_draw > 0).sum(axis=1) >= 2
        lines = _lines(x, at[ok], w_draw[ok])
        if len(lines) < n / 2:
            raise FitError(
                "more than half of the resamples have no minimum in two budgets: the sweep does not determine an optimum. Add runs."
            )
        out.append(lines.mean(axis=0) + stretch * (lines - lines.mean(axis=0)))
    m = min(map(len, out))
    return (out[0][:m], out[1][:m]), dof
