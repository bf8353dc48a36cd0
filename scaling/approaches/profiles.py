"""One curve of loss against log size per budget, and where its minimum lies.

Three curves. A parabola, as in Hoffmann et al. 2022, sec. 3.2. The asymmetric curve c + P exp(-alpha w) + R exp(beta w)
in w = ln N: what a Chinchilla law looks like along a budget, so its minimum is not displaced by the shape of the curve;
alpha and beta are shared by all budgets, c, P and R are each budget's own. Akima's interpolation of ln loss, as in
Porian et al. 2024, arXiv:2406.19146.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaling.errors import FitError
from scaling.progress import Bar

Array = np.ndarray
CURVES = ("asymmetric", "parabola", "akima")
SHAPE_RANGE = (0.02, 2.0)  # of alpha and beta; towards 0 the asymmetric curve becomes the parabola
# Where the runs leave the shape open it is drawn to exponents as published: around 0.35, within a factor of two. The
# pull is measured in residual variance, so it vanishes as the runs become exact.
SHAPE_PRIOR = (np.log(0.35), np.log(2.0))
GRID = 31  # values of alpha and of beta in the global search


@dataclass(frozen=True)
class Profiles:
    """Curves of K budgets.

    log_optimum (K,) ln of the size with the lowest loss, nan where the curve has no minimum; variance (K,) of it, by the
    delta method with the noise pooled over budgets (nan without degrees of freedom); loss (K,) at the minimum;
    fitted, leverage: per budget (n_k,); curvature_t (K,) curvature over its standard error; noise: relative residual
    standard deviation; dof of it; shape: (alpha, beta) of the asymmetric curve.
    """

    curve: str
    log_optimum: Array
    variance: Array
    loss: Array
    fitted: tuple[Array, ...]
    leverage: tuple[Array, ...]
    curvature_t: Array
    noise: float
    dof: int
    shape: tuple[float, float] | None = None


def profiles(curve: str, log_size: list[Array], loss: list[Array]) -> Profiles:
    """Fit `curve` to every budget. log_size and loss: K arrays (n_k,), n_k >= 3 with at least 3 different sizes."""
    if curve == "akima":
        return _akima(log_size, loss)
    if curve not in CURVES:
        raise FitError(f"unknown curve {curve!r}; choose one of {', '.join(CURVES)}.")
    w, y, scale = _scaled(log_size, loss)
    shape = _best_shape(w, y) if curve == "asymmetric" else None
    n_coefs = 3 * len(w) + (2 if shape else 0)
    dof = max(sum(map(len, w)) - n_coefs, 0)
    solved = [_solve(wk, yk, shape) for wk, yk in zip(w, y, strict=True)]
    rss = sum(float(np.sum((yk - s[1]) ** 2)) for yk, s in zip(y, solved, strict=True))
    noise = float(np.sqrt(rss / dof)) if dof else np.nan
    log_optimum, variance, lowest, curvature_t = (np.full(len(w), np.nan) for _ in range(4))
    for k, (c, _, _, covariance) in enumerate(solved):
        at, gradient = _minimum(c, shape)
        log_optimum[k] = at + log_size[k].mean()
        variance[k] = noise**2 * gradient @ covariance @ gradient
        lowest[k] = scale[k] * float((_basis(np.atleast_1d(at), shape) @ c)[0])
        with np.errstate(divide="ignore", invalid="ignore"):
            curvature_t[k] = c[2] / (noise * np.sqrt(covariance[2, 2]))
    fitted = tuple(s[1] * m for s, m in zip(solved, scale, strict=True))
    return Profiles(
        curve, log_optimum, variance, lowest, fitted, tuple(s[2] for s in solved), curvature_t, noise, dof, shape
    )


def optima_of_draws(curve: str, log_size: list[Array], losses: list[Array], counts: Array, bar: Bar) -> Array:
    """ln optimum (R, K) for R sets of losses on the same sizes.

    losses : K arrays (R, n_k), or (n_k,) where every draw has the same losses. counts (R, K): how often each budget was
    drawn, which matters to the shape that the budgets share.
    """
    scaled = [y / y.mean(axis=-1, keepdims=True) for y in losses]
    w = [x - x.mean() for x in log_size]
    if curve == "parabola":
        optima = []
        for wk, yk in zip(w, scaled, strict=True):
            c = np.atleast_2d(yk) @ np.linalg.pinv(_basis(wk, None)).T
            optima.append(_minimum(c, None)[0] + 0 * counts[:, 0])
        return np.stack(optima, axis=-1) + np.array([x.mean() for x in log_size])
    if curve == "akima":
        return np.broadcast_to(_akima(log_size, [y if y.ndim == 1 else y[0] for y in losses]).log_optimum, counts.shape)
    shapes = _grid(np.log(SHAPE_RANGE[0]), np.log(SHAPE_RANGE[1]), np.log(SHAPE_RANGE[0]), np.log(SHAPE_RANGE[1]), GRID)
    bases = [_qr(wk, shapes) for wk in w]
    rss = np.zeros((len(counts), len(shapes)))
    of_sums, of_optima = bar.parts(2, 1)
    for (k, (q, _)), _ in zip(enumerate(bases), of_sums.each(len(bases)), strict=True):
        rss += counts[:, k : k + 1] * _residual_sums(q, np.atleast_2d(scaled[k]))
    points = counts @ np.array([len(x) for x in w])
    dof = np.maximum(points - 3 * counts.sum(axis=1) - 2, 1)
    chosen = np.argmin(rss + (rss.min(axis=1) / dof)[:, None] * _penalty(shapes), axis=1)
    optima = []
    for (q, r), yk, _ in zip(bases, scaled, of_optima.each(len(bases)), strict=True):
        projected = np.einsum("rnc,rn->rc", q[chosen], np.broadcast_to(yk, (len(counts), yk.shape[-1])))
        c = np.linalg.solve(r[chosen], projected[..., None])[..., 0]
        optima.append(_minimum(c, shapes[chosen])[0])
    return np.stack(optima, axis=-1) + np.array([x.mean() for x in log_size])


def _scaled(log_size: list[Array], loss: list[Array]) -> tuple[list[Array], list[Array], Array]:
    """Sizes centred per budget, losses relative to the budget's mean: noise is then alike over budgets."""
    scale = np.array([y.mean() for y in loss])
    return [x - x.mean() for x in log_size], [y / m for y, m in zip(loss, scale, strict=True)], scale


def _basis(w: Array, shape: tuple[float, float] | Array | None) -> Array:
    """(..., n, 3) functions whose combinations are the curve: 1, about w, and about w^2 for small w.

    Written so that they stay independent as alpha and beta go to 0, where exp(-alpha w) and exp(beta w) become lines.
    """
    if shape is None:
        return np.stack([np.ones_like(w), w, w**2], axis=-1)
    alpha, beta = np.moveaxis(np.asarray(shape, dtype=float), -1, 0)[..., None]
    falling, rising = -np.expm1(-alpha * w) / alpha, np.expm1(beta * w) / beta
    return np.stack([np.ones_like(falling), falling, 2 * (rising - falling) / (alpha + beta)], axis=-1)


def _minimum(c: Array, shape: tuple[float, float] | Array | None) -> tuple[Array, Array]:
    """Place (...) of the minimum for coefficients c (..., 3), and its derivative (..., 3); nan where there is none."""
    _, c1, c2 = np.moveaxis(c, -1, 0)
    zero = np.zeros_like(c1)
    with np.errstate(divide="ignore", invalid="ignore"):
        if shape is None:
            at = np.where(c2 > 0, -c1 / (2 * c2), np.nan)
            return at, np.stack([zero, -1 / (2 * c2), c1 / (2 * c2**2)], axis=-1)
        total = np.sum(np.asarray(shape, dtype=float), axis=-1)
        u2 = 2 * c2 / total
        u1 = c1 - u2  # slope = u1 exp(-alpha w) + u2 exp(beta w)
        at = np.where((u1 < 0) & (u2 > 0), np.log(np.where((u1 < 0) & (u2 > 0), -u1 / u2, 1.0)) / total, np.nan)
        d1 = 1 / (u1 * total)
        return at, np.stack([zero, d1, 2 / total * (-1 / (u2 * total) - d1)], axis=-1)


def _solve(w: Array, y: Array, shape: tuple[float, float] | None) -> tuple[Array, Array, Array, Array]:
    """Coefficients (3,), fitted (n,), leverage (n,), and covariance (3, 3) for unit noise."""
    q, r = np.linalg.qr(_basis(w, shape))
    inverse = np.linalg.inv(r)
    return inverse @ (q.T @ y), q @ (q.T @ y), np.sum(q**2, axis=1), inverse @ inverse.T


def _grid(a_low: float, a_high: float, b_low: float, b_high: float, n: int) -> Array:
    """(n * n, 2) pairs of alpha and beta, spaced evenly in their logs."""
    a, b = np.meshgrid(np.linspace(a_low, a_high, n), np.linspace(b_low, b_high, n), indexing="ij")
    return np.exp(np.stack([a.ravel(), b.ravel()], axis=1))


def _qr(w: Array, shapes: Array) -> tuple[Array, Array]:
    """Q (G, n, 3) and R (G, 3, 3) of the curve's functions for every shape."""
    q, r = np.linalg.qr(_basis(w, shapes))
    return q, r


def _residual_sums(q: Array, y: Array) -> Array:
    """(R, G) squared residuals of losses y (R, n) about the curves spanned by q (G, n, 3)."""
    if len(y) == 1:  # the losses themselves: formed as residuals, exact to rounding
        coefficients = np.einsum("gnc,n->gc", q, y[0])
        return np.sum((y[0] - np.einsum("gnc,gc->gn", q, coefficients)) ** 2, axis=1)[None]
    n_shapes, n, _ = q.shape
    centred = y - y.mean(axis=1, keepdims=True)  # the constant is in the span: no digits lost to it
    projected = centred @ np.moveaxis(q, 1, 0).reshape(n, -1)
    explained = np.sum(projected.reshape(len(y), n_shapes, 3) ** 2, axis=2)
    return np.maximum(np.sum(centred**2, axis=1)[:, None] - explained, 0.0)


def _penalty(shapes: Array) -> Array:
    """(G,) squared distance from published exponents, in the units of SHAPE_PRIOR."""
    return np.sum(((np.log(shapes) - SHAPE_PRIOR[0]) / SHAPE_PRIOR[1]) ** 2, axis=1)


def _best_shape(w: list[Array], y: list[Array]) -> tuple[float, float]:
    """The shared exponents: the best of a grid over their whole range, then of ever finer grids around it."""
    low, high = np.log(SHAPE_RANGE)
    dof = max(sum(map(len, w)) - 3 * len(w) - 2, 1)

    def best(shapes: Array, variance: float | None) -> tuple[Array, float]:
        rss = np.zeros(len(shapes))
        for wk, yk in zip(w, y, strict=True):
            rss += _residual_sums(_qr(wk, shapes)[0], yk[None])[0]
        variance = rss.min() / dof if variance is None else min(variance, rss.min() / dof)
        return np.log(shapes[np.argmin(rss + variance * _penalty(shapes))]), variance

    centre, variance = best(_grid(low, high, low, high, GRID), None)
    step = (high - low) / (GRID - 1)
    for _ in range(12):
        a, b = np.clip(centre - step, low, high), np.clip(centre + step, low, high)
        centre, variance = best(_grid(a[0], b[0], a[1], b[1], 9), variance)
        step *= 0.4
    alpha, beta = np.exp(centre)
    return float(alpha), float(beta)


def _akima(log_size: list[Array], loss: list[Array]) -> Profiles:
    """Minimum of Akima's interpolation of ln loss; seeds of one size are averaged."""
    from scipy.interpolate import Akima1DInterpolator

    n = len(loss)
    at, lowest = np.full(n, np.nan), np.full(n, np.nan)
    for k, (x, y) in enumerate(zip(log_size, loss, strict=True)):
        sizes, which = np.unique(x, return_inverse=True)
        means = np.bincount(which, np.log(y)) / np.bincount(which)
        curve = Akima1DInterpolator(sizes, means)
        corners = curve.derivative().roots(extrapolate=False)
        candidates = np.concatenate([sizes, corners[np.isfinite(corners)]])
        values = curve(candidates)
        at[k], lowest[k] = candidates[np.argmin(values)], np.exp(values.min())
        if not sizes[0] < at[k] < sizes[-1]:
            at[k] = np.nan  # the lowest run is at the edge: a bound, no minimum
    unknown = np.full(n, np.nan)
    zeros = tuple(np.ones(len(y)) for y in loss)
    return Profiles("akima", at, unknown, lowest, tuple(np.array(y) for y in loss), zeros, unknown, np.nan, 0)
