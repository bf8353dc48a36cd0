"""The least of many functions of one variable at once, and their roots: what every allocation comes down to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from scaling.laws.law import Array

GRID = 64  # points of the first search
CHUNK = 400_000  # evaluations of the law at a time: bounds memory whatever the number of draws and budgets
ITERATIONS = 100  # of the bracketed Newton search; it takes 5 to 10, and 50 at a kink
STEP = 1e-100  # of the complex step
KNOTS = 9  # budgets at which a long row of budgets is searched from scratch; the others start from their neighbours
CLOSE = 1e-10  # in ln N, of a polish: a step that is a hundredth of what is promised

#: f(log_n (rows, m) or (rows, m, grid)) -> the same shape, of the rows and budgets of a chunk
Curve = Callable[[Array], Array]


def between(low: Array, high: Array) -> Array:
    """The grid (rows, m, GRID) of the first search."""
    return low[..., None] + (high - low)[..., None] * np.linspace(0.0, 1.0, GRID)


def minimise(
    loss: Curve, slope: Curve, low: Array, high: Array, open_low: Array | bool = False, open_high: Array | bool = False
) -> Array:
    """Where `loss` is least between low and high, all (rows, m): the best point of a grid, then Newton in its bracket.

    slope : the derivative of loss, which may jump; there the search ends by bisection.
    open_low, open_high : whether an end is one of the search alone (one token, one parameter), where laws mean nothing: a
        valley between the ends is then preferred to such an end, even one that lies lower.
    """
    points = between(low, high)
    with np.errstate(all="ignore"):
        values = np.nan_to_num(loss(points), nan=np.inf)
        if np.any(open_low) or np.any(open_high):
            values = _without_open_ends(values, open_low, open_high)
        return refine(slope, points, values)


def _without_open_ends(values: Array, open_low: Array | bool, open_high: Array | bool) -> Array:
    """Losses (rows, m, GRID) with inf wherever there is no local minimum, where there is one beside the open ends."""
    wall = np.full((*values.shape[:-1], 1), np.inf)
    before, after = np.concatenate([wall, values[..., :-1]], -1), np.concatenate([values[..., 1:], wall], -1)
    valley = np.asarray((values < before) & (values <= after))
    valley[..., 0] &= ~np.asarray(open_low)
    valley[..., -1] &= ~np.asarray(open_high)
    return np.where(valley | ~valley.any(axis=-1, keepdims=True), values, np.inf)


def refine(slope: Curve, points: Array, values: Array) -> Array:
    """The second half of `minimise`, from the losses (rows, m, GRID) at the grid."""
    low, high = points[..., 0], points[..., -1]
    best = np.nan_to_num(values, nan=np.inf).argmin(axis=-1)[..., None]
    left = np.take_along_axis(points, np.maximum(best - 1, 0), -1)[..., 0]
    right = np.take_along_axis(points, np.minimum(best + 1, GRID - 1), -1)[..., 0]
    with np.errstate(all="ignore"):
        falls_left, falls_right = slope(left) >= 0, slope(right) <= 0  # the least loss is that end of the bracket
        x = np.where(falls_left, left, np.where(falls_right, right, (left + right) / 2))
        free = ~(falls_left | falls_right)
        for i in range(ITERATIONS):
            if not free.any():
                break
            g = slope(x)
            left, right = np.where(g < 0, x, left), np.where(g > 0, x, right)
            h = 1e-4
            curvature = (slope(x + h) - slope(x - h)) / (2 * h)
            newton = x - g / curvature
            # at a kink Newton's steps overshoot for ever: every second one is then a halving
            inside = (newton >= left) & (newton <= right) & (curvature > 0) & (i < 10 or i % 2 == 0)
            new = np.where(g == 0, x, np.where(inside, newton, (left + right) / 2))
            moved = np.abs(new - x)
            x = np.where(free, new, x)
            # a Newton step in the tail of the convergence, or a bracket that has closed around a kink
            free = free & (moved > 1e-13 * np.maximum(np.abs(x), 1.0)) & (right - left > 1e-14 * np.abs(x))
    return np.clip(x, low, high)


def one_valley(values: Array) -> bool:
    """Whether each curve (..., grid) falls to one minimum and then rises, as far as the grid can tell."""
    with np.errstate(invalid="ignore"):
        step = np.diff(values, axis=-1)
    rises = step > 1e-12 * np.abs(values[..., 1:])
    falls = step < -1e-12 * np.abs(values[..., 1:])
    rose_before = np.logical_or.accumulate(rises, axis=-1)
    return bool(np.isfinite(values).all() and not (rose_before & falls).any())


def polish(slope: Curve, start: Array, curvature: Array) -> tuple[Array, Array]:
    """Zeros of a rising slope near `start` by the secant method; (x, whether each was found), all (rows, m)."""
    x, g = start, slope(start)
    stiffness = curvature
    found = np.zeros(x.shape, dtype=bool)
    with np.errstate(all="ignore"):
        for _ in range(12):
            step = -g / stiffness
            x = np.where(found, x, x + step)
            found = found | (np.abs(step) < CLOSE)
            if found.all():
                break
            new = slope(x)
            secant = (new - g) / step
            stiffness = np.where((secant > 0.2 * stiffness) & (secant < 5 * stiffness), secant, stiffness)
            g = new
    return x, found & (np.abs(x - start) < 1.0) & (stiffness > 0)


def falling_root(f: Callable[[Array], Array], shape: tuple[int, ...], between: Any) -> Array:
    """Where a falling function of an array crosses zero, elementwise, by the Illinois method; nan without a crossing."""
    low, high = np.full(shape, float(between[0])), np.full(shape, float(between[1]))
    with np.errstate(all="ignore"):
        # a bisection until both ends are finite and close, then the faster method
        f_low, f_high = f(low), f(high)
        crossing = (f_low >= 0) & (f_high <= 0)
        side = np.zeros(shape)
        for i in range(200):
            secant = (low * f_high - high * f_low) / (f_high - f_low)
            middle = np.where((i % 4 == 3) | ~((secant > low) & (secant < high)), (low + high) / 2, secant)
            value = f(middle)
            up = value > 0  # still above zero: the root is to the right
            f_low, f_high = (
                np.where(up, value, np.where(side == -1, f_low / 2, f_low)),
                np.where(up, np.where(side == 1, f_high / 2, f_high), value),
            )
            low, high = np.where(up, middle, low), np.where(up, high, middle)
            side = np.where(up, 1.0, -1.0)
            answer = middle
            done = (np.abs(high - low) < 1e-13 * np.maximum(1.0, np.abs(middle))) | (np.abs(value) < 1e-15) | ~crossing
            if np.all(done):
                break
    return np.where(crossing, answer, np.nan)
