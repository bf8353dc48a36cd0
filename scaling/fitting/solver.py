"""Batched minimisation: damped Gauss-Newton on reweighted residuals, then Newton steps on the objective itself.

Each row of the batch is one fit. Gauss-Newton with iteratively reweighted residuals (Levenberg-Marquardt damping) is
safe far from the optimum but approaches a Huber optimum only linearly; near it, rows switch to Newton steps on the true
objective, whose second-order term is differenced from the law's exact derivative, with an exact line search along the
linearised residuals. That makes the gradient zero to rounding, and the row carries the proof. Rows that finish leave.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from scaling.fitting.objective import Objective
from scaling.fitting.problem import Problem
from scaling.fitting.scale import Coordinates
from scaling.laws.law import Array

GRADIENT_TOLERANCE = 1e-9  # scaled gradient of a converged row; rounding leaves about 1e-13
LOOSE_TOLERANCE = 1e-6  # accepted when no step lowers the objective any more (rounding-limited problems)
CHUNK_ELEMENTS = 120_000  # rows x points handled at once: the working set stays in the cache
SECOND_ORDER_EVERY = 3  # Newton iterations that share one second-order term
STEP_FOR_DIFFERENCES = 1e-6


@dataclass
class Solution:
    """What became of each row. `gradient` is the scaled gradient: max_k |sum psi J_k| / sum |psi J_k|."""

    u: Array  # (B, p)
    value: Array  # (B,)
    gradient: Array  # (B,)
    iterations: Array  # (B,)
    converged: Array  # (B,) bool
    at_bound: Array  # (B, p) bool

    @staticmethod
    def empty(n_rows: int, n_free: int) -> Solution:
        return Solution(
            np.full((n_rows, n_free), np.nan),
            np.full(n_rows, np.inf),
            np.full(n_rows, np.inf),
            np.zeros(n_rows, int),
            np.zeros(n_rows, bool),
            np.zeros((n_rows, n_free), bool),
        )


@dataclass
class Local:
    """The law around u, one row per fit, kept in factors so that no array of size rows x coefficients x points is rescaled.

    The derivative of residual i with respect to working coordinate k is jac[k, i] * outer[i] * slope[k].
    """

    residual: Array  # (B, n)
    jac: Array  # (B, p, n) derivative of the prediction with respect to the free natural coefficients
    outer: Array  # (B, n) derivative of the residual with respect to the prediction
    slope: Array  # (B, p) derivative of the natural coefficients with respect to the working coordinates

    def contract(self, psi: Array) -> Array:
        """sum_i psi_i d r_i / du, (B, p)."""
        return np.matmul(self.jac, (psi * self.outer)[..., None])[..., 0] * self.slope

    def gram(self, weights: Array) -> Array:
        """sum_i w_i (d r_i / du)(d r_i / du)', (B, p, p)."""
        inner = np.matmul(self.jac * (weights * self.outer**2)[:, None], self.jac.swapaxes(1, 2))
        return inner * self.slope[:, :, None] * self.slope[:, None, :]

    def diagonal(self, weights: Array) -> Array:
        """Diagonal (B, p) of `gram`."""
        return np.matmul(np.square(self.jac), (weights * self.outer**2)[..., None])[..., 0] * self.slope**2

    def along(self, step: Array) -> Array:
        """Change of the residuals (B, n) along a step (B, p), to first order."""
        return np.matmul((step * self.slope)[:, None], self.jac)[:, 0] * self.outer

    def full(self) -> Array:
        """d r / du (B, p, n), multiplied out."""
        return self.jac * self.slope[..., None] * self.outer[:, None]

    def take(self, rows: Array) -> Local:
        return Local(self.residual[rows], self.jac[rows], self.outer[rows], self.slope[rows])

    def put_back(self, rows: Array, other: Local) -> None:
        """Overwrite some rows with those of another."""
        for name in ("residual", "jac", "outer", "slope"):
            getattr(self, name)[rows] = getattr(other, name)[rows]

    def finite(self) -> Array:
        """(B,) True where residuals and derivatives are finite. A sum is finite only if its terms are."""
        with np.errstate(all="ignore"):
            total = np.matmul(self.jac, self.outer[..., None])[..., 0].sum(-1)
            return np.isfinite(total + self.residual.sum(-1) + self.slope.sum(-1))


def linearise(coordinates: Coordinates, objective: Objective, problem: Problem, u: Array) -> Local:
    """Residuals and derivative of every row at working coordinates u (B, p)."""
    with np.errstate(all="ignore"):  # a trial step may overflow; it is rejected because its value is not finite
        theta, slope = coordinates.to_theta(u)
        predicted, jacobian = coordinates.law.value_and_jacobian(problem.x, theta)
        residual, outer = objective.residuals(predicted, problem.y)
        columns = np.moveaxis(jacobian, -1, -2)
        if len(coordinates.fixed):
            columns = columns[..., coordinates.free, :]
        return Local(residual, columns, outer, slope)


def evaluate(coordinates: Coordinates, objective: Objective, problem: Problem, u: Array) -> tuple[Array, Array]:
    """Residuals (B, n) and their derivative (B, p, n) with respect to the working coordinates u (B, p)."""
    local = linearise(coordinates, objective, problem, u)
    with np.errstate(all="ignore"):
        return local.residual, local.full()


def solve(
    coordinates: Coordinates,
    objective: Objective,
    problem: Problem,
    u0: Array,
    delta: Array,
    max_iterations: int = 300,
    near: Array | None = None,
) -> Solution:
    """Minimise every row of `problem` from u0 (B, p); delta (B, 1) or (B, n) is the bend of the objective.

    near : (B,) bool, rows that start next to their optima, where Newton steps are safe from the first on.
    """
    n_rows, n_free = u0.shape
    out = Solution.empty(n_rows, n_free)
    near = np.zeros(n_rows, bool) if near is None else near
    # glibc hands freed memory back above a threshold that follows the largest block ever freed: without this, every
    # temporary of an iteration is mapped and zeroed afresh, a quarter of the time
    np.empty(30 * 2**20, dtype=np.uint8)
    size = max(1, CHUNK_ELEMENTS // max(problem.n_points, 1))

    def one(first: int) -> None:
        rows = np.arange(first, min(first + size, n_rows))
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # far from the optimum a row may overflow; it is then not accepted
            _solve_chunk(
                coordinates, objective, problem.take(rows), u0[rows], delta[rows], max_iterations, near[rows], out, rows
            )

    chunks = range(0, n_rows, size)
    threads = min(len(chunks), _usable_cores())
    if threads > 1:  # numpy lets go of the interpreter inside its loops; each chunk writes rows of its own
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, chunks))
    else:
        for first in chunks:
            one(first)
    return out


def _usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class _State:
    """Arrays of the rows still at work, all with the same leading axis."""

    rows: Array
    finished: Array  # recorded already; computed on until enough rows finish to be worth packing the others together
    u: Array
    value: Array
    damping: Array
    growth: Array  # factor by which damping grows at the next rejection
    newton: Array  # bool: the row takes Newton steps
    second: Array  # second-order term (B, p, p)
    age: Array  # Newton iterations since it was differenced
    slow: Array  # consecutive steps that lowered the objective by little or nothing
    delta: Array
    curvature: Array  # diagonal of the Gauss-Newton curvature when last computed: what a gradient is small against
    widest: Array  # largest such diagonal met so far: the scale of the damping (More 1978)
    at_bound: Array

    def keep(self, mask: Array) -> None:
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name)[mask])


def _solve_chunk(
    coordinates: Coordinates,
    objective: Objective,
    problem: Problem,
    u0: Array,
    delta: Array,
    max_iterations: int,
    near: Array,
    out: Solution,
    rows: Array,
) -> None:
    n_rows, n_free = u0.shape
    eye = np.eye(n_free)
    vanishing = coordinates.on_log_scale
    here = linearise(coordinates, objective, problem, u0)
    alike = delta.shape[-1] == 1 and bool((delta == delta[0]).all())

    def bends(rows: Array | slice = slice(None)) -> Array:
        """Bends of some rows: one number where all agree, with which numpy is several times as fast as with a column."""
        return delta[0, 0] if alike else s.delta[rows]

    s = _State(
        rows=rows,
        finished=np.zeros(n_rows, bool),
        u=u0.copy(),
        value=objective.value(here.residual, problem.weights, delta),
        damping=np.where(near, 1e-8, 1e-3),
        growth=np.full(n_rows, 4.0),
        newton=near,
        second=np.zeros((n_rows, n_free, n_free)),
        age=np.full(n_rows, SECOND_ORDER_EVERY),
        slow=np.zeros(n_rows, int),
        delta=delta,
        curvature=np.zeros((n_rows, n_free)),
        widest=np.zeros((n_rows, n_free)),
        at_bound=np.zeros((n_rows, n_free), bool),
    )

    def keep(mask: Array) -> None:
        nonlocal problem, here
        index = np.flatnonzero(mask)
        problem, here = problem.take(index), here.take(index)
        s.keep(index)

    finite = np.isfinite(s.value) & here.finite()
    if not finite.all():
        out.u[rows[~finite]] = u0[~finite]
        keep(finite)

    for iteration in range(max_iterations + 1):
        if not len(s.rows):
            return
        psi = objective.psi(here.residual, bends()) * problem.weights
        gradient = here.contract(psi)

        # curvature: reweighted residuals (never negative) far out, the objective's own near the optimum
        if s.newton.all():
            curved = objective.curvature(here.residual, bends())
        else:
            curved = objective.majoriser(here.residual, bends())
            if s.newton.any():
                curved = np.where(s.newton[:, None], objective.curvature(here.residual, bends()), curved)
        hessian = here.gram(curved * problem.weights)
        stale = np.flatnonzero(s.newton & (s.age >= SECOND_ORDER_EVERY))
        plain = ~s.newton
        s.curvature[plain] = np.diagonal(hessian, axis1=1, axis2=2)[plain]
        if len(stale):
            rows_all = len(stale) == len(s.rows)
            some, part = (here, problem) if rows_all else (here.take(stale), problem.take(stale))
            s.curvature[stale] = some.diagonal(objective.majoriser(some.residual, bends(stale)) * part.weights)
            s.second[stale] = _second_order(
                coordinates, objective, part, s.u[stale], psi if rows_all else psi[stale], gradient[stale], some
            )
            s.age[stale] = 0
        s.age += 1
        hessian = np.where(s.newton[:, None, None], hessian + s.second, hessian)
        s.widest = np.maximum(s.widest, np.maximum(s.curvature, 1e-300))
        # a term that has vanished from every prediction, and that the objective would have smaller still, is at its bound
        s.at_bound = vanishing & (s.curvature <= 1e-16 * s.curvature.max(-1, keepdims=True)) & (gradient >= 0)

        work = _inner(psi, here.residual)
        reach = np.sqrt(np.maximum(s.curvature * work[:, None], 1e-300))
        scaled = np.where(s.at_bound, 0.0, np.abs(gradient) / reach).max(-1)
        exact = np.zeros(len(s.rows), bool)
        if (s.value <= 1e-9 * problem.weights.sum(-1) * _magnitude(problem.y, objective)).any():
            exact = _largest(here, problem) <= 1e-14 * _magnitude(problem.y, objective)
        done = (scaled <= GRADIENT_TOLERANCE) | exact
        # no step lowers the objective any more: as converged as rounding allows if the gradient or the residuals are small
        stuck = (s.slow >= 10) | (s.damping > 1e12)
        leave = (done | stuck | (iteration == max_iterations)) & ~s.finished
        if leave.any():
            tiny = stuck.any() and _largest(here, problem) <= 1e-10 * _magnitude(problem.y, objective)
            # a coordinate that the target no longer feels has run away to a flat region, not to an optimum
            escaped = ((s.curvature <= 1e-20 * s.widest) & ~s.at_bound).any(-1)
            i = s.rows[leave]
            out.u[i], out.value[i] = s.u[leave], s.value[leave]
            out.gradient[i] = np.where(exact, 0.0, scaled)[leave]
            out.iterations[i] = iteration
            out.converged[i] = (~escaped & (done | (stuck & ((scaled <= LOOSE_TOLERANCE) | tiny))))[leave]
            out.at_bound[i] = s.at_bound[leave]
            s.finished |= leave
            if s.finished.all():
                return
        if s.finished.mean() > 0.2:
            stay = ~s.finished
            gradient, hessian = gradient[stay], hessian[stay]
            keep(stay)

        step = _solve_rows(hessian, gradient, s.widest, s.damping, s.at_bound, eye)
        uphill = np.flatnonzero(~((step * gradient).sum(-1) < 0) & s.newton)
        if len(uphill):  # an indefinite Hessian: fall back to the reweighted residuals
            some = here.take(uphill)
            gauss = some.gram(objective.majoriser(some.residual, bends(uphill)) * problem.weights[uphill])
            damping = np.maximum(s.damping[uphill], 1e-8)
            step[uphill] = _solve_rows(gauss, gradient[uphill], s.widest[uphill], damping, s.at_bound[uphill], eye)
        if s.newton.any():
            length = _line_search(
                objective, here.residual, here.along(step), problem.weights, bends, s.second, step, gradient, s.newton
            )
            step *= length[:, None]
        if objective.of == "log":
            step *= np.minimum(1.0, 10.0 / np.maximum(np.abs(step).max(-1, keepdims=True), 1e-300))

        trial = s.u + step
        there = linearise(coordinates, objective, problem, trial)
        value = objective.value(there.residual, problem.weights, bends())
        slack = 1e-14 * np.abs(s.value)  # rounding of the sum
        accept = np.isfinite(value) & (value <= s.value + slack) & there.finite()
        gain = np.where(accept, s.value - value, 0.0)
        promised = -(step * gradient).sum(-1) - 0.5 * (step * np.matmul(hessian, step[..., None])[..., 0]).sum(-1)
        ratio = gain / np.maximum(promised, 1e-300)
        small = gain <= 1e-13 * np.abs(s.value)
        s.slow = np.where(accept & ~small, 0, s.slow + 1)
        s.damping = np.where(
            accept,
            np.maximum(s.damping * np.where(ratio > 0.75, 1 / 9, np.where(ratio > 0.25, 1.0, 2.0)), 1e-15),
            np.maximum(s.damping, 1e-9) * s.growth,
        )
        s.growth = np.where(accept, 4.0, np.minimum(s.growth * 2.0, 64.0))
        # Newton from the moment that reweighting crawls
        crawl = accept & (gain < 3e-2 * np.abs(s.value)) & (iteration >= 2)
        fresh = crawl & ~s.newton
        s.newton |= crawl
        s.damping[fresh] = np.minimum(s.damping[fresh], 1e-8)
        s.age[fresh | (~accept & s.newton)] = SECOND_ORDER_EVERY

        reject = np.flatnonzero(~accept)
        if len(reject):
            trial[reject], value[reject] = s.u[reject], s.value[reject]
            there.put_back(reject, here)
        s.u, s.value, here = trial, value, there


def _largest(here: Local, problem: Problem) -> Array:
    """Largest residual (B,) of a run in use."""
    return np.where(problem.weights > 0, np.abs(here.residual), 0.0).max(-1)


def _magnitude(y: Array, objective: Objective) -> Array | float:
    """What a residual is small against: the target's size, or 1 for logs."""
    return 1.0 if objective.of == "log" else np.abs(y).max(-1)


def _solve_rows(hessian: Array, gradient: Array, diagonal: Array, damping: Array, hold: Array, eye: Array) -> Array:
    """Damped steps (B, p), scaled by the diagonal so that units do not matter; held coordinates do not move."""
    root = 1.0 / np.sqrt(diagonal)
    scaled = hessian * root[:, :, None] * root[:, None, :] + (damping[:, None, None] + 1e-15) * eye
    right = -gradient * root
    if hold.any():
        scaled = np.where(hold[:, :, None] | hold[:, None, :], eye, scaled)
        right = np.where(hold, 0.0, right)
    try:
        step = np.linalg.solve(scaled, right[..., None])[..., 0]
    except np.linalg.LinAlgError:  # one singular row: regularise them all a little, each by its own size
        ridge = 1e-10 * (1.0 + np.nan_to_num(np.abs(np.diagonal(scaled, axis1=1, axis2=2))).max(-1))
        step = np.linalg.solve(np.nan_to_num(scaled) + ridge[:, None, None] * eye, right[..., None])[..., 0]
    return step * root


def _second_order(
    coordinates: Coordinates,
    objective: Objective,
    problem: Problem,
    u: Array,
    psi: Array,
    gradient: Array,
    here: Local | None = None,
) -> Array:
    """sum_i psi_i d2 r_i / du2, (B, p, p), with psi held fixed: as the law states it, else differences of its derivative."""
    n_rows, n_free = u.shape
    if coordinates.law.second is not None:
        with np.errstate(all="ignore"):
            here = linearise(coordinates, objective, problem, u) if here is None else here
            second = _stated_second_order(coordinates, objective, problem, u, psi, here)
        return np.where(np.isfinite(second.sum((1, 2)))[:, None, None], second, 0.0)
    size: Array = np.abs(u) if objective.of == "raw" else np.ones_like(u)
    h = STEP_FOR_DIFFERENCES * np.maximum(1.0, size)
    # all coordinates in one call while that fits the cache, else one by one
    together = n_rows * n_free * problem.n_points <= CHUNK_ELEMENTS
    second = np.empty((n_rows, n_free, n_free))
    for ks in [np.arange(n_free)] if together else np.arange(n_free)[:, None]:
        stepped = np.repeat(u[:, None], len(ks), 1)
        stepped[:, np.arange(len(ks)), ks] += h[:, ks]
        rows = np.repeat(np.arange(n_rows), len(ks))
        with np.errstate(all="ignore"):
            local = linearise(coordinates, objective, problem.take(rows), stepped.reshape(-1, n_free))
            moved = local.contract(psi[rows]).reshape(n_rows, len(ks), n_free)
            second[:, ks] = (moved - gradient[:, None]) / h[:, ks, None]
    second = 0.5 * (second + second.swapaxes(1, 2))
    return np.where(np.isfinite(second.sum((1, 2)))[:, None, None], second, 0.0)


def _stated_second_order(
    coordinates: Coordinates, objective: Objective, problem: Problem, u: Array, psi: Array, here: Local
) -> Array:
    """The same from the law's own second derivatives, by the chain rule through residual and coordinates."""
    law = coordinates.law
    assert law.second is not None
    theta, slope = coordinates.to_theta(u)
    weights = psi * here.outer
    free = coordinates.free
    inner = law.second(problem.x, theta, weights)
    if coordinates.fixed:
        inner = inner[:, free][:, :, free]
    if objective.of == "log":  # d2 ln f = f'' / f - (f' / f)^2
        inner = inner - np.matmul(here.jac * (psi * here.outer**2)[:, None], here.jac.swapaxes(1, 2))
    second = inner * slope[:, :, None] * slope[:, None, :]
    k = np.arange(len(free))
    second[:, k, k] += np.matmul(here.jac, weights[..., None])[..., 0] * coordinates.bend(theta, slope)
    return second


def _line_search(
    objective: Objective,
    residual: Array,
    along: Array,
    weights: Array,
    bends: Callable[..., Array],
    second: Array,
    step: Array,
    gradient: Array,
    wanted: Array,
) -> Array:
    """Step lengths (B,) in (0, 1] that minimise the objective along `step` with the residuals linearised; 1 where not wanted.

    A Huber loss is piecewise quadratic: a full Newton step overshoots where points cross the bend. Costs no exponential.
    """
    curve = (step * np.matmul(second, step[..., None])[..., 0]).sum(-1)
    start = (step * gradient).sum(-1)
    length = np.ones(len(step))
    slope_high = _inner(objective.psi(residual + along, bends()), weights * along) + curve
    rows = np.flatnonzero(wanted & (slope_high > 0.05 * np.abs(start)))
    if not len(rows):
        return length
    residual, along, delta, curve = residual[rows], along[rows], bends(rows), curve[rows]
    weighted = weights[rows] * along
    low, high = np.zeros(len(rows)), np.ones(len(rows))
    slope_low, slope_high = start[rows], slope_high[rows]
    for _ in range(3):
        width = slope_high - slope_low
        middle = low + (high - low) * np.clip(-slope_low / np.where(width == 0, 1.0, width), 0.1, 0.9)
        slope = _inner(objective.psi(residual + middle[:, None] * along, delta), weighted) + middle * curve
        falling = slope < 0
        low, slope_low = np.where(falling, middle, low), np.where(falling, slope, slope_low)
        high, slope_high = np.where(falling, high, middle), np.where(falling, slope_high, slope)
    length[rows] = middle
    return length


def _inner(a: Array, b: Array) -> Array:
    """Sums over the last axis of a times b, (B,) from (B, n)."""
    return np.matmul(a[:, None], b[..., None])[:, 0, 0]
