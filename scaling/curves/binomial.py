"""Rising curves between a floor and a ceiling, fitted to numbers of right answers: many rows of counts in one call.

A curve is mu(x) = floor + (ceiling - floor) q(x), where q goes from 0 to 1 and passes one half at `middle`. Every shape
has the same four coefficients, so that shapes differ in nothing but their form:

    middle   position at which half of the way is done          [units of x]
    width    from 10 % to 90 % of the way                       [units of x]
    floor    score of guessing
    ceiling  score that is approached at the right
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scaling.laws.law import Array
from scaling.progress import Bar, Report

MIDDLE, WIDTH, FLOOR, CEILING = range(4)
TINY = 1e-9  # a predicted rate is kept this far from 0 and 1
LOG9 = float(np.log(9.0))
LOG2 = float(np.log(2.0))
DOUBLE_LOG_WIDTH = float(np.log(np.log(10.0) / -np.log(0.9)))  # 10 to 90 % of exp(-exp(-z)), in z
MAX_STEPS = 60
MANY_SCALES = 24
MOST_NARROWINGS = 15
ENOUGH_CELLS = 0.1  # part of a likelihood grid within 12 of the best, at which it is fine enough
SMOOTH_STARTS = 2
PIECES = 8  # starts of a curve with corners
FEW = 1e-10  # gain of log likelihood, relative and times 10^4 absolute, at which a row is done


@dataclass(frozen=True)
class Shape:
    """A form of q. `curve(z)` returns (q, dq/dz) at z = (x - middle) / width."""

    name: str
    words: str
    curve: Callable[[Array], tuple[Array, Array]]
    smooth: bool

    @property
    def cornered(self) -> bool:
        return not self.smooth


def _logistic(z: Array) -> tuple[Array, Array]:
    q = 0.5 * (1 + np.tanh(LOG9 * z))  # 1 / (1 + exp(-2 log(9) z))
    return q, 2 * LOG9 * q * (1 - q)


def _power_of_rate(z: Array) -> tuple[Array, Array]:
    hazard = LOG2 * np.exp(np.clip(-DOUBLE_LOG_WIDTH * z, -700, 700))
    q = np.exp(-hazard)
    return q, DOUBLE_LOG_WIDTH * hazard * q


def _many_ways(z: Array) -> tuple[Array, Array]:
    q, slope = _power_of_rate(-z)
    return 1 - q, slope


def _ramp(z: Array) -> tuple[Array, Array]:
    inside = np.abs(z) < 0.625  # 0 to 1 over 1.25 widths, so that 10 to 90 % takes one
    return np.clip(0.5 + 0.8 * z, 0.0, 1.0), np.where(inside, 0.8, 0.0)


LOGISTIC = Shape("logistic", "logistic in log scale", _logistic, smooth=True)
POWER_OF_RATE = Shape(
    "power_of_rate", "a per-token rate whose log falls as a power law, to a power", _power_of_rate, True
)
MANY_WAYS = Shape("many_ways", "a power-law rise that saturates", _many_ways, smooth=True)
RAMP = Shape("hinge", "flat, then linear from a corner", _ramp, smooth=False)
SMOOTH = (LOGISTIC, POWER_OF_RATE, MANY_WAYS)


def mean(shape: Shape, x: Array, theta: Array) -> Array:
    """Expected scores (..., n) at positions x (n,) or (..., n) for coefficients theta (..., 4)."""
    middle, width, floor, ceiling = np.moveaxis(np.asarray(theta, float), -1, 0)[..., None]
    return floor + (ceiling - floor) * shape.curve((x - middle) / width)[0]


def log_likelihood(successes: Array, trials: Array, mu: Array) -> Array:
    """Binomial log likelihood without its constant, summed over the last axis; fractions of a success are allowed."""
    mu = np.clip(mu, TINY, 1 - TINY)
    return np.sum(successes * np.log(mu) + (trials - successes) * np.log1p(-mu), axis=-1)


def deviance(successes: Array, trials: Array, mu: Array) -> Array:
    """Twice the log-likelihood ratio against the observed rates, summed over the last axis: (...)."""
    return np.maximum(
        2 * (log_likelihood(successes, trials, successes / trials) - log_likelihood(successes, trials, mu)), 0
    )


def pearson(successes: Array, trials: Array, mu: Array) -> Array:
    """Pearson's sum of squared residuals over the last axis: (...)."""
    mu = np.clip(mu, TINY, 1 - TINY)
    return np.sum((successes - trials * mu) ** 2 / (trials * mu * (1 - mu)), axis=-1)


@dataclass(frozen=True)
class Box:
    """Lowest and highest values of the four coefficients; an equal pair holds a coefficient fixed."""

    low: tuple[float, float, float, float]
    high: tuple[float, float, float, float]

    @property
    def n_free(self) -> int:
        return sum(a < b for a, b in zip(self.low, self.high, strict=True))

    def fixing(self, coefficient: int, value: float) -> Box:
        """The same box with one coefficient held at a value."""
        low, high = list(self.low), list(self.high)
        low[coefficient] = high[coefficient] = value
        return Box(tuple(low), tuple(high))  # type: ignore[arg-type]


def box_for(x: Array, floor: float | None, ceiling: float | None, highest_floor: float = 0.9) -> Box:
    """The search range for scores at positions x (n,): transitions up to one range beyond the data on either side.

    floor, ceiling : known values, or None to estimate them.
    """
    places = np.unique(x)
    span = float(places[-1] - places[0])
    gap = float(np.min(np.diff(places)))
    floors = (0.0, highest_floor) if floor is None else (floor, floor)
    ceilings = (floors[0], 1.0) if ceiling is None else (ceiling, ceiling)
    return Box(
        (places[0] - span / 2, min(gap / 20, span / 200), floors[0], ceilings[0]),
        (places[-1] + span, 10 * span, floors[1], ceilings[1]),
    )


@dataclass(frozen=True)
class Grid:
    """Starts (G, 4) with the log rates at the data, so that a whole batch is scanned by two matrix products."""

    theta: Array
    log_mu: Array  # (G, n)
    log_rest: Array  # (G, n)

    def best(self, successes: Array, trials: Array) -> Array:
        """The best start (B, 4) of each row of successes (B, n)."""
        return self.theta[np.argmax(self._scan(successes, trials), axis=-1)]

    def best_per_piece(self, successes: Array, trials: Array, x: Array, k: int, bar: Bar) -> Array:
        """The best start in each of the k most likely pieces (B, k, 4); in a piece both corners stay between two scales.

        A curve with corners has a local optimum in many pieces, so that one start is not enough.
        """
        places = np.unique(x)
        corners = [np.searchsorted(places, self.theta[:, MIDDLE] + s * 0.625 * self.theta[:, WIDTH]) for s in (-1, 1)]
        piece = corners[0] * (len(places) + 1) + corners[1]
        order = np.argsort(piece, kind="stable")
        first = np.flatnonzero(np.diff(piece[order], prepend=-1))
        of_scan, of_tops, of_pieces = bar.parts(2, 2, 1)
        value = self._scan(successes, trials)
        of_scan(1, 1)
        value = value[:, order]
        of_tops(1, 2)
        top = np.maximum.reduceat(value, first, axis=1)  # (B, pieces)
        of_tops(1, 1)
        ends = np.append(first[1:], len(order))
        chosen = np.argsort(-top, axis=1)[:, :k]
        starts = np.empty((len(successes), chosen.shape[1], 4))
        pieces = np.unique(chosen)
        for p, _ in zip(pieces, of_pieces.each(len(pieces)), strict=True):
            b, j = np.nonzero(chosen == p)
            at = first[p] + np.argmax(value[b, first[p] : ends[p]], axis=1)
            starts[b, j] = self.theta[order[at]]
        return starts

    def _scan(self, successes: Array, trials: Array) -> Array:
        return successes @ self.log_mu.T + (trials - successes) @ self.log_rest.T


def grid(shape: Shape, x: Array, box: Box, n_middle: int = 32, n_width: int = 14) -> Grid:
    """Starts that cover a box: evenly spaced middles (and the gaps between scales), log-spaced widths, a few levels."""
    places = np.unique(x)
    gaps = (places[1:] + places[:-1]) / 2
    between = (
        np.concatenate([gaps, places]) if len(places) <= MANY_SCALES else gaps[:0]
    )  # else the even ones are enough

    def values(i: int, free: Array) -> Array:
        return np.array([box.low[i]]) if box.low[i] == box.high[i] else free

    middles = values(MIDDLE, np.concatenate([np.linspace(box.low[MIDDLE], box.high[MIDDLE], n_middle), between]))
    widths = values(WIDTH, np.geomspace(max(box.low[WIDTH], 1e-12), max(box.high[WIDTH], 1e-12), n_width))
    floors = values(FLOOR, np.array([0.0, 0.02, 0.1, 0.25, 0.5]))
    ceilings = values(CEILING, np.array([0.03, 0.1, 0.25, 0.45, 0.65, 0.85, 1.0]))
    theta = np.stack(np.meshgrid(middles, widths, floors, ceilings, indexing="ij"), axis=-1).reshape(-1, 4)
    theta = theta[theta[:, CEILING] >= theta[:, FLOOR] - 1e-12]
    if len(theta) == 0:  # a floor above every ceiling of the grid
        theta = np.array([[middles[0], widths[0], box.low[FLOOR], box.high[CEILING]]])
    mu = np.clip(mean(shape, x, theta), TINY, 1 - TINY)
    return Grid(theta, np.log(mu), np.log1p(-mu))


def fit_rows(
    shape: Shape, x: Array, successes: Array, trials: Array, low: Array, high: Array, start: Array,
    progress: Report | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """Maximum likelihood inside a box for every row at once: Fisher scoring with damping, one row each.

    x (n,), successes (B, n), trials (n,), low, high, start (B, 4). The width moves on a log scale; a coefficient that
    presses against its bound is held there for the step. progress : called with (rows done, rows in all) after each step.
    Returns theta (B, 4) and the log likelihood (B,).
    """
    theta = np.clip(start, low, high)
    value = log_likelihood(successes, trials, mean(shape, x, theta))
    damping = np.full(len(theta), 1e-2)
    rows = np.arange(len(theta))  # still moving
    bar = Bar(progress)
    for _ in range(MAX_STEPS):
        bar(len(theta) - len(rows), len(theta))
        at, y = theta[rows], successes[rows]
        middle, width, floor, ceiling = at.T[..., None]
        z = (x - middle) / width
        q, slope = shape.curve(z)
        rise = ceiling - floor
        mu = np.clip(floor + rise * q, TINY, 1 - TINY)
        jacobian = np.stack([-rise * slope / width, -rise * slope * z, 1 - q, q], axis=1)  # (b, 4, n), width in its log
        information = trials / (mu * (1 - mu))
        gradient = np.einsum("bkn,bn->bk", jacobian, (y - trials * mu) / (mu * (1 - mu)))
        hessian = np.einsum("bkn,bn,bln->bkl", jacobian, information, jacobian)
        lo, hi = low[rows], high[rows]
        held = ((at <= lo) & (gradient <= 0)) | ((at >= hi) & (gradient >= 0)) | (lo >= hi)
        gradient = np.where(held, 0.0, gradient)
        hessian = np.where(held[:, :, None] | held[:, None, :], 0.0, hessian)
        diagonal = np.einsum("bkk->bk", hessian).copy()
        scale = np.where(
            held, 1.0, diagonal * (1 + damping[rows, None]) + 1e-10 * (1 + diagonal.max(axis=1, keepdims=True))
        )
        hessian[:, range(4), range(4)] = scale
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        moved = at + step
        moved[:, WIDTH] = at[:, WIDTH] * np.exp(np.clip(step[:, WIDTH], -1.5, 1.5))
        moved = np.clip(moved, lo, hi)
        moved[:, CEILING] = np.maximum(moved[:, CEILING], moved[:, FLOOR])
        new = log_likelihood(y, trials, mean(shape, x, moved))
        gain = new - value[rows]
        better = gain > 0
        theta[rows[better]] = moved[better]
        value[rows[better]] = new[better]
        damping[rows] = np.where(better, damping[rows] / 5, damping[rows] * 8)
        done = (better & (gain <= FEW * (1e4 + np.abs(new)))) | (damping[rows] > 1e8)
        rows = rows[~done]
        if not len(rows):
            break
    bar(1, 1)
    return theta, value


def fit_shape(
    shape: Shape, x: Array, successes: Array, trials: Array, box: Box, progress: Report | None = None
) -> tuple[Array, Array]:
    """Maximum likelihood of one shape for every row of successes (B, n): theta (B, 4) and log likelihood (B,)."""
    of_grid, of_starts, of_rows = Bar(progress).parts(1, 2, 5)
    if shape.cornered:
        starts, k = grid(shape, x, box, n_middle=48, n_width=20), PIECES
    else:
        starts, k = grid(shape, x, box), SMOOTH_STARTS
    of_grid(1, 1)
    start = starts.best_per_piece(successes, trials, x, k, of_starts)
    n_rows, k, _ = start.shape
    rows = np.repeat(successes, k, axis=0)
    start = start.reshape(-1, 4)
    bounds = [np.broadcast_to(np.array(b), start.shape) for b in (box.low, box.high)]
    theta, value = fit_rows(shape, x, rows, trials, bounds[0], bounds[1], start, of_rows)
    pick = np.argmax(value.reshape(n_rows, k), axis=1)
    rows_of = np.arange(n_rows)
    return theta.reshape(n_rows, k, 4)[rows_of, pick], value.reshape(n_rows, k)[rows_of, pick]


def fit_step(x: Array, successes: Array, trials: Array, box: Box) -> tuple[Array, Array]:
    """Two levels with a jump between two scales, for every row: theta (B, 4) at no width, and log likelihood (B,)."""
    box = box.fixing(WIDTH, box.low[WIDTH])
    places = np.unique(x)
    start = np.array([[m, box.low[WIDTH], 0.0, 1.0] for m in (places[1:] + places[:-1]) / 2])
    best_theta = np.zeros((len(successes), 4))
    best = np.full(len(successes), -np.inf)
    for row in start:
        above = x > row[MIDDLE]
        levels = []
        for side, k in ((~above, FLOOR), (above, CEILING)):
            rate = successes[:, side].sum(axis=1) / trials[side].sum()
            levels.append(np.clip(rate, box.low[k], box.high[k]))
        floor, ceiling = levels[0], np.maximum(levels[0], levels[1])
        theta = np.stack([np.full_like(floor, row[MIDDLE]), np.full_like(floor, row[WIDTH]), floor, ceiling], axis=-1)
        value = log_likelihood(successes, trials, np.where(above, ceiling[:, None], floor[:, None]))
        better = value > best
        best_theta[better], best[better] = theta[better], value[better]
    return best_theta, best


def fit_flat(successes: Array, trials: Array) -> tuple[Array, Array]:
    """One rate for all scales: (B,) rates and log likelihoods."""
    rate = successes.sum(axis=1) / trials.sum()
    return rate, log_likelihood(successes, trials, np.broadcast_to(rate[:, None], successes.shape))


def fit_line(x: Array, successes: Array, trials: Array, progress: Report | None = None) -> tuple[Array, Array]:
    """Scores linear in x, never outside (0, 1): the levels at the two ends (B, 2) and the log likelihood (B,)."""
    bar = Bar(progress)
    at = (x - x.min()) / (x.max() - x.min())
    levels = np.array([(a, b) for a in np.linspace(0.01, 0.99, 15) for b in np.linspace(0.01, 0.99, 15)])
    mu = levels[:, :1] * (1 - at) + levels[:, 1:] * at
    theta = levels[np.argmax(successes @ np.log(mu).T + (trials - successes) @ np.log1p(-mu).T, axis=-1)]
    design = np.stack([1 - at, at])  # (2, n)
    value = log_likelihood(successes, trials, theta @ design)
    for done in range(MAX_STEPS):
        bar(done, MAX_STEPS)
        mu = np.clip(theta @ design, TINY, 1 - TINY)
        gradient = ((successes - trials * mu) / (mu * (1 - mu))) @ design.T
        hessian = np.einsum("kn,bn,ln->bkl", design, trials / (mu * (1 - mu)), design)
        hessian[:, range(2), range(2)] *= 1 + 1e-9
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        halved = theta[None] + step[None] * 0.5 ** np.arange(12)[:, None, None]  # the best of a few step lengths
        halved = np.clip(halved, TINY, 1 - TINY)
        values = log_likelihood(successes, trials, halved @ design)
        pick = np.argmax(values, axis=0)
        new, rows = values[pick, np.arange(len(theta))], np.arange(len(theta))
        better = new > value
        theta = np.where(better[:, None], halved[pick, rows], theta)
        gain = np.where(better, new - value, 0.0)
        value = np.maximum(value, new)
        if np.all(gain <= FEW * (1e4 + np.abs(value))):
            break
    return theta, value


def profile(
    shape: Shape, x: Array, successes: Array, trials: Array, box: Box, coefficient: int, values: Array,
    progress: Report | None = None,
) -> Array:  # fmt: skip
    """Log likelihood (K,) of one row of successes (n,) with a coefficient held at each of K values, the others free."""
    theta = np.repeat(grid(shape, x, box.fixing(coefficient, float(values[0]))).theta[None], len(values), axis=0)
    theta[:, :, coefficient] = values[:, None]
    scan = log_likelihood(successes, trials, mean(shape, x, theta))  # (K, G)
    starts = theta[np.arange(len(values)), np.argmax(scan, axis=1)]
    low = np.tile(np.array(box.low), (len(values), 1))
    high = np.tile(np.array(box.high), (len(values), 1))
    low[:, coefficient] = high[:, coefficient] = values
    rows = np.broadcast_to(successes, (len(values), len(successes)))
    return fit_rows(shape, x, rows, trials, low, high, starts, progress)[1]


def simulate(mu: Array, trials: Array, dispersion: float, n: int, rng: np.random.Generator) -> Array:
    """n rows of successes (n, len(mu)) with these means: binomial, or with `dispersion` times its variance.

    With one trial a point (a score without its number of items) the rows are fractions from a beta distribution.
    """
    mu = np.clip(mu, TINY, 1 - TINY)
    if np.all(trials == 1) and dispersion < 1:
        total = 1 / dispersion - 1
        return rng.beta(np.maximum(mu * total, 1e-6), np.maximum((1 - mu) * total, 1e-6), size=(n, len(mu)))
    counts = np.maximum(np.round(trials).astype(np.int64), 1)
    rate = np.broadcast_to(mu, (n, len(mu)))
    if dispersion > 1 + 1e-9:
        correlation = np.clip((dispersion - 1) / np.maximum(counts - 1, 1), 1e-9, 0.95)
        total = 1 / correlation - 1
        rate = rng.beta(np.maximum(mu * total, 1e-6), np.maximum((1 - mu) * total, 1e-6), size=(n, len(mu)))
    return rng.binomial(counts, rate) * (trials / counts)


def inverse(shape: Shape, q: Array) -> Array:
    """z at which q is reached; -inf at or below 0, inf at or above 1."""
    q = np.asarray(q, float)
    inside = np.clip(q, 1e-15, 1 - 1e-15)
    if shape.name == "logistic":
        z = np.log(inside / (1 - inside)) / (2 * LOG9)
    elif shape.name == "power_of_rate":
        z = -np.log(-np.log(inside) / LOG2) / DOUBLE_LOG_WIDTH
    elif shape.name == "many_ways":
        z = np.log(-np.log1p(-inside) / LOG2) / DOUBLE_LOG_WIDTH
    else:
        z = (inside - 0.5) / 0.8
    return np.where(q <= 0, -np.inf, np.where(q >= 1, np.inf, z))


@dataclass(frozen=True)
class Cells:
    """The likelihood of one row of successes on a grid of cells: theta (G, 4) with the width in its log, value (G,) the
    log likelihood against its best, cell (4,) the size of a cell."""

    theta: Array
    value: Array
    cell: Array

    def draw(self, n: int, rng: np.random.Generator, temper: float = 1.0) -> Array:
        """n draws (n, 4) of the coefficients for uniform priors over the box (of the width, in its log).

        A draw is a grid point moved uniformly within its cell. temper : power of the likelihood; below 1 the draws
        spread wider, to map the region that the scores allow.
        """
        weight = np.cumsum(np.exp(temper * self.value))
        draws = self.theta[np.searchsorted(weight, rng.uniform(0, weight[-1], size=n))]
        draws = draws + self.cell * rng.uniform(-0.5, 0.5, size=draws.shape)
        draws[:, WIDTH] = np.exp(draws[:, WIDTH])
        draws[:, CEILING] = np.maximum(draws[:, CEILING], draws[:, FLOOR])
        return draws


def likelihood_cells(
    shape: Shape, x: Array, successes: Array, trials: Array, box: Box, dispersion: float, best: Array,
    progress: Report | None = None,
) -> Cells:  # fmt: skip
    """The log likelihood of successes (n,), over the dispersion, on a grid narrowed to where it is within 12 of its best.

    best : (4,) the coefficients of greatest likelihood, which every grid contains in its range.
    Draws from it stay right where no bell curve is: a transition between two scales, a ceiling that was not reached.
    """
    low, high = np.array(box.low), np.array(box.high)
    low[WIDTH], high[WIDTH] = np.log(low[WIDTH]), np.log(high[WIDTH])
    counts = np.where(high > low, (26, 20, 8, 14), 1)
    top = best.copy()
    top[WIDTH] = np.log(top[WIDTH])
    peak = float(log_likelihood(successes, trials, mean(shape, x, best))) / dispersion
    bar = Bar(progress)
    for narrowed in range(MOST_NARROWINGS):
        bar(narrowed, MOST_NARROWINGS)
        cell = (high - low) / counts
        centres = [a + c * (np.arange(k) + 0.5) for a, c, k in zip(low, cell, counts, strict=True)]
        theta = np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1).reshape(-1, 4)
        theta = np.concatenate([theta[theta[:, CEILING] >= theta[:, FLOOR]], top[None]])
        natural = theta.copy()
        natural[:, WIDTH] = np.exp(natural[:, WIDTH])
        value = log_likelihood(successes, trials, mean(shape, x, natural)) / dispersion
        value -= max(peak, float(value.max()))
        likely = theta[value > -12]
        if len(likely) > ENOUGH_CELLS * len(theta):
            break
        low, high = np.maximum(low, likely.min(axis=0) - cell), np.minimum(high, likely.max(axis=0) + cell)
    return Cells(theta, value, cell)
