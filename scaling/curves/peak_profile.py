"""Which places of a peak do the runs allow? Every curve with its top at a place, against the best of all.

The curves are those of `double_descent_law`: a falling trend and the variance peak of ridge regression. With k = 1 / (1 +
ridge) and u = nu ln(x / place) - ln(1 + ridge) that peak is V(u) = (1/2) [sqrt((1 + S) / (e + S)) - 1], S = sinh(u/2)^2, e = 1 - k,
symmetric in u. A top at x = m fixes the trend at the slope that the peak's rising side has there, which leaves one
coefficient less. Simulated curves are no substitute: where a fit has taken noise for a needle, what is drawn from it is
one as well, and all of them stand at the same place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaling.laws.law import Array
from scaling.progress import Bar, Report

N_COEFS = 7  # of the curve: one of them the place of the top
#: working coordinates, all logs: floor, size of the peak, exponent of the trend, stretch nu, e, and where the top lies
#: between the crest of V (0) and its steepest point (1)
LOWEST = np.log([1e-9, 1e-9, 0.01, 0.05, 1e-6, 0.01])
HIGHEST = np.log([1e3, 1e6, 5.0, 50.0, 0.99, 1.0])
STARTS = np.stack(
    np.meshgrid([0.1, 0.4], [0.6, 1.2, 3.0, 10.0], [0.003, 0.03, 0.2], [0.1, 0.5], indexing="ij"), -1
).reshape(-1, 4)
KEPT = 3  # starts polished at each place
PLACES = 48
ROUNDS, CELLS = 3, 8  # each round divides what is left around an end of the interval by CELLS
STEPS = 60
ROUGHLY, CLOSE = 1e-3, 1e-6  # relative gain of a step at which a curve is fitted: among starts, and in the end


@dataclass(frozen=True)
class Place:
    """Where a peak lies, and the interval; nan at an end that the runs leave open. squares: weighted, of the best curve."""

    estimate: float
    low: float
    high: float
    squares: float


def place_of_top(
    x: Array, log_y: Array, weights: Array, variance: float, dof: int, level: float, theta: Array,
    progress: Report | None = None,
) -> Place:  # fmt: skip
    """Interval for the axis value at which the curve peaks, by the profile of its squared residuals.

    x (n,) rising axis values; log_y (n,) log values with weights (n,) in units of one observation. variance, dof : of one
    observation from repeats, 0 and 0 without. theta (7,) : coefficients of `double_descent_law`, a start. progress : called
    with (work done, work in all).
    Allowed are places whose best curve has squared residuals within the F quantile of the best curve's; the noise is
    pooled over repeats and residuals, or that of the residuals alone where it is larger (a law that is off).
    """
    from scipy.special import fdtri

    log_x = np.log(x)
    places = np.linspace(log_x[0], log_x[-1], PLACES + 2)[1:-1]
    own = _from_theta(theta)
    bar = Bar(progress)
    of_grid, of_minimum, *of_ends = bar.parts(6, 1, 2, 2)
    squares, w = _best_at(places, log_x, log_y, weights, own, of_grid)
    at, least = _refined_minimum(places, squares, w, log_x, log_y, weights, of_minimum)
    left = len(x) - N_COEFS
    if left < 1 and not dof:
        return Place(float(np.exp(at)), np.nan, np.nan, least)
    residual = least / left if left > 0 else 0.0
    pooled = (least + variance * dof) / max(left + dof, 1)
    noise, free = (residual, left) if residual > pooled else (pooled, max(left + dof, 1))
    limit = least + noise * float(fdtri(1, free, level))
    places, squares, w = _with(places, squares, w, at, least)
    inside = np.flatnonzero(squares <= limit)
    ends = []
    for (k, side), part in zip(((int(inside[0]), -1), (int(inside[-1]), 1)), of_ends, strict=True):
        if not 0 <= k + side < len(places):
            ends.append(np.nan)
            continue
        ends.append(_end(places[k], places[k + side], w[k], w[k + side], limit, log_x, log_y, weights, part))
    bar(1, 1)
    return Place(float(np.exp(at)), float(np.exp(ends[0])), float(np.exp(ends[1])), least)


def _curve(w: Array, t: Array) -> Array:
    """Values (..., n) at t = ln(x / top) (..., n) for working coordinates w (..., 6)."""
    floor, size, alpha, nu, e, s = np.moveaxis(np.exp(w), -1, 0)[..., None]
    top = -2 * np.arcsinh(np.sqrt(e / 2) * s)  # V is steepest very near S = e / 2

    def peak(u: Array) -> Array:
        squared = np.sinh(u / 2) ** 2
        return 0.5 * (np.sqrt((1 + squared) / (e + squared)) - 1)

    squared = np.sinh(top / 2) ** 2
    # dV/du = -(1 - e) sinh(u) / (8 sqrt(1 + S) (e + S)^(3/2))
    slope = -(1 - e) * np.sinh(top) / (8 * np.sqrt(1 + squared) * (e + squared) ** 1.5)
    u = nu * t + top
    u = u - (u.real - np.clip(u.real, -60, 60))  # beyond, V is zero to rounding; complex steps pass through
    return floor + size * (peak(u) + nu * slope / alpha * np.exp(-alpha * t))


def _from_theta(theta: Array) -> Array:
    """Starts (2, 4) of alpha, nu, e and the place within the crest, from coefficients of the law."""
    _, _, alpha, _, _, nu, ridge = np.maximum(theta, 1e-12)
    e = ridge / (1 + ridge)
    return np.array([[alpha, nu, e, 0.1], [alpha, nu, e, 0.5]])


def _best_at(places: Array, log_x: Array, log_y: Array, weights: Array, own: Array, bar: Bar) -> tuple[Array, Array]:
    """Least squared residuals (m,) of curves with their top at each of `places` (m,), and their coordinates (m, 6)."""
    shapes = np.clip(np.log(np.concatenate([STARTS, own])), LOWEST[2:], HIGHEST[2:])
    starts = _with_levels(np.broadcast_to(shapes, (len(places), *shapes.shape)), places, log_x, log_y, weights)
    squares = np.sum(weights * _residual(starts, places[:, None], log_x, log_y) ** 2, axis=-1)
    chosen = np.argsort(squares, axis=1, kind="stable")[:, :KEPT]
    starts = np.take_along_axis(starts, chosen[..., None], axis=1)
    of_starts, of_sweep = bar.parts(2, 1)
    squares, w = _polish(starts.reshape(-1, 6), np.repeat(places, KEPT), log_x, log_y, weights, of_starts, ROUGHLY)
    squares, w = squares.reshape(-1, KEPT), w.reshape(-1, KEPT, 6)
    rows, best = np.arange(len(places)), squares.argmin(axis=1)
    return _swept(places, squares[rows, best], w[rows, best], log_x, log_y, weights, of_sweep)


def _swept(
    places: Array, squares: Array, w: Array, log_x: Array, log_y: Array, weights: Array, bar: Bar
) -> tuple[Array, Array]:
    """Each place once more from the curves of its two neighbours: a local optimum is seldom one of all three."""
    for shift, part in zip((1, -1), bar.parts(1, 1), strict=True):
        again, other = _polish(np.roll(w, shift, axis=0), places, log_x, log_y, weights, part)
        better = again < squares
        squares, w = np.where(better, again, squares), np.where(better[:, None], other, w)
    return squares, w


def _with_levels(shapes: Array, places: Array, log_x: Array, log_y: Array, weights: Array) -> Array:
    """Working coordinates (m, k, 6) for shapes (m, k, 4): floor and size by least squares of the relative residuals."""
    w = np.concatenate([np.zeros((*shapes.shape[:-1], 2)), shapes], axis=-1)
    w[..., 0] = LOWEST[0]
    unit = _curve(w, log_x - places[:, None, None]) - np.exp(LOWEST[0])
    y = np.exp(log_y)
    a, b = 1 / y, unit / y
    saa, sab, sbb = np.sum(weights * a * a), np.sum(weights * a * b, -1), np.sum(weights * b * b, -1)
    sa, sb = np.sum(weights * a), np.sum(weights * b, -1)
    det = np.maximum(saa * sbb - sab**2, 1e-300)
    floor, size = (sa * sbb - sb * sab) / det, (sb * saa - sa * sab) / det
    least = 0.02 * y.min()
    bad = (floor < least) | (size <= 0)
    size = np.where(bad, np.maximum((sb - least * sab) / sbb, 1e-9), size)
    w[..., 0] = np.log(np.where(bad, least, floor))
    w[..., 1] = np.log(size)
    return np.clip(w, LOWEST, HIGHEST)


def _residual(w: Array, places: Array, log_x: Array, log_y: Array) -> Array:
    return np.log(_curve(w, log_x - places[..., None])) - log_y


def _polish(
    w: Array, places: Array, log_x: Array, log_y: Array, weights: Array, bar: Bar, close: float = CLOSE
) -> tuple[Array, Array]:
    """Levenberg-Marquardt from w (b, 6), the top of each row held at its place (b,): squared residuals (b,) and w (b, 6).

    A row is done when a step gains less than `close` of its squared residuals.
    """
    w = w.copy()
    residual = _residual(w, places, log_x, log_y)
    squares = np.sum(weights * residual**2, axis=1)
    damping, rows = np.full(len(w), 1e-2), np.arange(len(w))
    for _ in range(STEPS):
        bar(len(w) - len(rows), len(w))
        at = w[rows]
        moved = at[:, None].astype(complex) + 1e-30j * np.eye(6)  # complex steps: exact derivatives
        jacobian = _residual(moved, np.repeat(places[rows, None], 6, axis=1), log_x, log_y).imag / 1e-30  # (b, 6, n)
        gradient = np.einsum("bkn,bn->bk", jacobian * weights, residual[rows])
        hessian = np.einsum("bkn,bln->bkl", jacobian * weights, jacobian)
        held = ((at <= LOWEST) & (gradient >= 0)) | ((at >= HIGHEST) & (gradient <= 0))
        gradient = np.where(held, 0.0, gradient)
        hessian = np.where(held[:, :, None] | held[:, None, :], 0.0, hessian)
        diagonal = np.einsum("bkk->bk", hessian)
        ridge = damping[rows, None] * diagonal + 1e-10 * (1e-300 + diagonal.max(axis=1, keepdims=True)) + held
        step = np.linalg.solve(hessian + ridge[:, :, None] * np.eye(6), -gradient[..., None])[..., 0]
        new = np.clip(at + np.clip(step, -1.0, 1.0), LOWEST, HIGHEST)
        with np.errstate(all="ignore"):
            tried = _residual(new, places[rows], log_x, log_y)
        value = np.sum(weights * tried**2, axis=1)
        gain = squares[rows] - value
        better = gain > 0
        w[rows[better]], residual[rows[better]], squares[rows[better]] = new[better], tried[better], value[better]
        damping[rows] = np.where(better, damping[rows] / 5, damping[rows] * 6)
        done = (better & (gain <= close * squares[rows])) | (damping[rows] > 1e7)
        rows = rows[~done]
        if not len(rows):
            break
    bar(1, 1)
    return squares, w


def _refined_minimum(
    places: Array, squares: Array, w: Array, log_x: Array, log_y: Array, weights: Array, bar: Bar
) -> tuple[float, float]:
    """The place of the least squared residuals, between the points of the coarse grid as well."""
    k = int(squares.argmin())
    at, least, start, reach = float(places[k]), float(squares[k]), w[k], float(places[1] - places[0])
    for part in bar.each(ROUNDS):
        near = np.clip(at + reach * np.linspace(-1, 1, 2 * CELLS + 1), log_x[0], log_x[-1])
        values, found = _polish(np.repeat(start[None], len(near), 0), near, log_x, log_y, weights, part)
        j = int(values.argmin())
        if values[j] < least:
            at, least, start = float(near[j]), float(values[j]), found[j]
        reach /= CELLS
    return at, least


def _with(places: Array, squares: Array, w: Array, at: float, least: float) -> tuple[Array, Array, Array]:
    """The coarse grid and the best place, in order."""
    k = int(np.searchsorted(places, at))
    best = w[squares.argmin()]
    return np.insert(places, k, at), np.insert(squares, k, least), np.insert(w, k, best, axis=0)


def _end(
    inside: float, outside: float, w_in: Array, w_out: Array, limit: float, log_x: Array, log_y: Array, weights: Array,
    bar: Bar,
) -> float:  # fmt: skip
    """Where the squared residuals pass the limit between a place inside and its neighbour outside."""
    for part in bar.each(ROUNDS):
        places = np.linspace(inside, outside, CELLS + 1)[1:-1]
        starts = np.concatenate([np.repeat(w_in[None], len(places), 0), np.repeat(w_out[None], len(places), 0)])
        squares, w = _polish(starts, np.tile(places, 2), log_x, log_y, weights, part)
        squares, w = squares.reshape(2, -1), w.reshape(2, -1, 6)
        pick = squares.argmin(axis=0)
        ok = np.flatnonzero(squares.min(axis=0) <= limit)
        j = int(ok[-1]) if len(ok) else -1
        if j >= 0:
            inside, w_in = float(places[j]), w[pick[j], j]
        if j + 1 < len(places):
            outside, w_out = float(places[j + 1]), w[pick[j + 1], j + 1]
    return outside  # the conservative end of the last cell
