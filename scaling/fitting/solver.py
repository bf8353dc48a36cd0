"""Batched minimisation: damped Gauss-Newton on reweighted residuals, then Newton steps on the objective itself.

Each row of the batch is one fit. Gauss-Newton with iteratively reweighted residuals (Levenberg-Marquardt damping) is
safe far from the optimum but approaches a Huber optimum only linearly; near it, rows switch to Newton steps on the true
objective, whose second-order term is differenced from the law's exact derivative, with an exact line search along the
linearised residuals. That makes the gradient zero to rounding, and the row carries the proof. Rows that finish leave.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaling.fitting.objective import Objective
from scaling.fitting.problem import Problem
from scaling.fitting.scale import Coordinates
from scaling.laws.law import Array

GRADIENT_TOLERANCE = 1e-9  # scaled gradient of a converged row; rounding leaves about 1e-13
LOOSE_TOLERANCE = 1e-6  # accepted when no step lowers the objective any more (rounding-limited problems)
CHUNK_ELEMENTS = 60_000  # rows x points handled at once: the working set stays in the cache
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


def evaluate(coordinates: Coordinates, objective: Objective, problem: Problem, u: Array) -> tuple[Array, Array]:
    """Residuals (B, n) and their derivative (B, p, n) with respect to the working coordinates u (B, p)."""
    with np.errstate(all="ignore"):  # a trial step may overflow; it is rejected because its value is not finite
        theta, slope = coordinates.to_theta(u)
        predicted, jacobian = coordinates.law.value_and_jacobian(problem.x, theta)
        residual, outer = objective.residuals(predicted, problem.y)
        columns = np.moveaxis(jacobian, -1, -2)
        if len(coordinates.fixed):
            columns = columns[..., coordinates.free, :]
        return residual, columns * slope[..., None] * outer[..., None, :]


def solve(
    coordinates: Coordinates,
    objective: Objective,
    problem: Problem,
    u0: Array,
    delta: Array,
    max_iterations: int = 300,
) -> Solution:
    """Minimise every row of `problem` from u0 (B, p); delta (B, 1) is the bend of the objective."""
    n_rows, n_free = u0.shape
    out = Solution.empty(n_rows, n_free)
    chunk = max(1, CHUNK_ELEMENTS // max(problem.n_points, 1))
    for first in range(0, n_rows, chunk):
        rows = np.arange(first, min(first + chunk, n_rows))
        _solve_chunk(coordinates, objective, problem.take(rows), u0[rows], delta[rows], max_iterations, out, rows)
    return out


@dataclass
class _State:
    """Arrays of the rows still at work, all with the same leading axis."""

    rows: Array
    u: Array
    residual: Array
    jac: Array
    value: Array
    damping: Array
    growth: Array  # factor by which damping grows at the next rejection
    newton: Array  # bool: the row takes Newton steps
    second: Array  # second-order term (B, p, p)
    age: Array  # Newton iterations since it was differenced
    slow: Array  # consecutive steps that lowered the objective by little or nothing
    delta: Array
    diagonal: Array  # largest curvature met so far along each coordinate: the scale of the damping (More 1978)

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
    out: Solution,
    rows: Array,
) -> None:
    n_rows, n_free = u0.shape
    eye = np.eye(n_free)
    vanishing = coordinates.on_log_scale
    residual, jac = evaluate(coordinates, objective, problem, u0)
    value = objective.value(residual, problem.weights, delta)
    s = _State(
        rows=rows,
        u=u0.copy(),
        residual=residual,
        jac=jac,
        value=value,
        damping=np.full(n_rows, 1e-3),
        growth=np.full(n_rows, 4.0),
        newton=np.zeros(n_rows, bool),
        second=np.zeros((n_rows, n_free, n_free)),
        age=np.full(n_rows, SECOND_ORDER_EVERY),
        slow=np.zeros(n_rows, int),
        delta=delta,
        diagonal=np.zeros((n_rows, n_free)),
    )
    finite = np.isfinite(value) & np.isfinite(jac).all((1, 2))
    if not finite.all():
        out.u[rows[~finite]] = u0[~finite]
        problem = problem.take(np.flatnonzero(finite))
        s.keep(finite)

    for iteration in range(max_iterations + 1):
        if not len(s.rows):
            return
        weights = problem.weights
        size = np.abs(s.residual)
        tilted = weights * objective.tilt(s.residual)
        psi = np.clip(s.residual, -s.delta, s.delta) * tilted  # derivative of the loss
        gradient = np.matmul(s.jac, psi[..., None])[..., 0]
        reach = np.matmul(np.abs(s.jac), np.abs(psi)[..., None])[..., 0]
        scaled, at_bound = _scaled_gradient(gradient, reach, s.jac, vanishing)
        worst = scaled.max(-1)

        exact = (size * (weights > 0)).max(-1) <= 1e-14 * np.maximum(1.0, _magnitude(problem.y, objective))
        done = (worst <= GRADIENT_TOLERANCE) | exact
        # no step lowers the objective any more: as converged as rounding allows if the gradient or the residuals are small
        stuck = (s.slow >= 10) | (s.damping > 1e12)
        tiny = (size * (weights > 0)).max(-1) <= 1e-10 * _magnitude(problem.y, objective)
        leave = done | stuck | (iteration == max_iterations)
        if leave.any():
            i = s.rows[leave]
            out.u[i], out.value[i] = s.u[leave], s.value[leave]
            out.gradient[i] = np.where(exact, 0.0, worst)[leave]
            out.iterations[i] = iteration
            # a coordinate that the target no longer feels has run away to a flat region, not to an optimum
            now = (s.jac**2 * problem.weights[:, None]).sum(-1)
            escaped = ((now <= 1e-20 * s.diagonal) & ~at_bound).any(-1)
            out.converged[i] = (~escaped & (done | (stuck & ((worst <= LOOSE_TOLERANCE) | tiny))))[leave]
            out.at_bound[i] = at_bound[leave]
            stay = ~leave
            problem = problem.take(np.flatnonzero(stay))
            s.keep(stay)
            if not len(s.rows):
                return
            gradient, at_bound, psi, tilted, size = (a[stay] for a in (gradient, at_bound, psi, tilted, size))

        # curvature: majorising weights (always positive) or the objective's own
        major = tilted * np.minimum(1.0, s.delta / np.maximum(size, 1e-300))
        gauss = np.matmul(s.jac * major[:, None, :], s.jac.swapaxes(1, 2))
        s.diagonal = np.maximum(s.diagonal, np.maximum(np.diagonal(gauss, axis1=1, axis2=2), 1e-300))
        diagonal = s.diagonal
        hessian = gauss.copy()
        if s.newton.any():
            stale = np.flatnonzero(s.newton & (s.age >= SECOND_ORDER_EVERY))
            if len(stale):
                s.second[stale] = _second_order(
                    coordinates, objective, problem.take(stale), s.u[stale], psi[stale], gradient[stale]
                )
                s.age[stale] = 0
            s.age += 1
            n = np.flatnonzero(s.newton)
            inside = tilted[n] * (size[n] < s.delta[n])
            hessian[n] = np.matmul(s.jac[n] * inside[:, None, :], s.jac[n].swapaxes(1, 2)) + s.second[n]

        hold = at_bound
        step = _solve_rows(hessian, gradient, diagonal, s.damping, hold, eye)
        uphill = ~((step * gradient).sum(-1) < 0)
        if uphill.any():  # an indefinite Hessian: fall back to the majoriser
            step[uphill] = _solve_rows(
                gauss[uphill],
                gradient[uphill],
                diagonal[uphill],
                np.maximum(s.damping[uphill], 1e-8),
                hold[uphill],
                eye,
            )
        if s.newton.any():
            n = np.flatnonzero(s.newton)
            step[n] *= _line_search(s.residual[n], s.jac[n], tilted[n], s.delta[n], s.second[n], step[n], gradient[n])[
                :, None
            ]
        length = np.abs(step).max(-1, keepdims=True)
        step *= np.minimum(1.0, 10.0 / np.maximum(length, 1e-300)) if objective.of == "log" else 1.0

        trial = s.u + step
        residual, jac = evaluate(coordinates, objective, problem, trial)
        value = objective.value(residual, problem.weights, s.delta)
        slack = 1e-14 * np.abs(s.value)  # rounding of the sum
        finite = np.isfinite(value) & np.isfinite(jac).all((1, 2))
        accept = finite & (value <= s.value + slack)
        gain = np.where(accept, s.value - value, 0.0)
        promised = -(step * gradient).sum(-1) - 0.5 * (step * np.matmul(hessian, step[..., None])[..., 0]).sum(-1)
        ratio = gain / np.maximum(promised, 1e-300)

        small = gain <= 1e-13 * np.abs(s.value)
        s.slow = np.where(accept & ~small, 0, s.slow + 1)
        good = ratio > 0.75
        s.damping = np.where(
            accept,
            np.maximum(np.where(good, s.damping / 9.0, np.where(ratio > 0.25, s.damping, s.damping * 2.0)), 1e-15),
            np.maximum(s.damping, 1e-9) * s.growth,
        )
        s.growth = np.where(accept, 4.0, np.minimum(s.growth * 2.0, 64.0))
        # Newton from the moment that reweighting crawls
        crawl = accept & (gain < 3e-2 * np.abs(s.value)) & (iteration >= 2)
        fresh = crawl & ~s.newton
        s.newton |= crawl
        s.age[fresh] = SECOND_ORDER_EVERY
        s.damping[fresh] = np.minimum(s.damping[fresh], 1e-8)
        s.age[~accept & s.newton] = SECOND_ORDER_EVERY

        s.u[accept] = trial[accept]
        s.residual[accept] = residual[accept]
        s.jac = np.where(accept[:, None, None], jac, s.jac)
        s.value = np.where(accept, value, s.value)


def _magnitude(y: Array, objective: Objective) -> Array | float:
    """What a residual is small against: the target's size, or 1 for logs."""
    return 1.0 if objective.of == "log" else np.abs(y).max(-1)


def _scaled_gradient(gradient: Array, reach: Array, jac: Array, vanishing: Array) -> tuple[Array, Array]:
    """|gradient| over the sum of absolute contributions: rounding level at an optimum, whatever the units.

    A coefficient whose term has vanished from every prediction while the objective would have it smaller still sits at
    its bound: its gradient is set aside and the row says so.
    """
    share = np.abs(jac).max(-1)
    at_bound = vanishing & (share <= 1e-8 * share.max(-1, keepdims=True)) & (gradient >= 0)
    scaled = np.abs(gradient) / np.maximum(reach, 1e-300)
    return np.where(at_bound, 0.0, scaled), at_bound


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
    except np.linalg.LinAlgError:  # one singular row: regularise them all a little
        step = np.linalg.solve(scaled + 1e-10 * eye, right[..., None])[..., 0]
    return step * root


def _second_order(
    coordinates: Coordinates, objective: Objective, problem: Problem, u: Array, psi: Array, gradient: Array
) -> Array:
    """sum_i psi_i d2 r_i / du2, (B, p, p): differences of the exact derivative with psi held fixed."""
    n_free = u.shape[-1]
    second = np.empty((len(u), n_free, n_free))
    for k in range(n_free):
        h = STEP_FOR_DIFFERENCES * np.maximum(1.0, np.abs(u[:, k])) if objective.of == "raw" else STEP_FOR_DIFFERENCES
        stepped = u.copy()
        stepped[:, k] += h
        _, jac = evaluate(coordinates, objective, problem, stepped)
        moved = np.matmul(jac, psi[..., None])[..., 0]
        second[:, :, k] = (moved - gradient) / np.reshape(h, (-1, 1))
    second = 0.5 * (second + second.swapaxes(1, 2))
    return np.where(np.isfinite(second).all((1, 2))[:, None, None], second, 0.0)


def _line_search(
    residual: Array, jac: Array, tilted: Array, delta: Array, second: Array, step: Array, gradient: Array
) -> Array:
    """Step lengths (B,) in (0, 1] that minimise the objective along `step` with the residuals linearised.

    A Huber loss is piecewise quadratic: a full Newton step overshoots where points cross the bend. Costs no exponential.
    """
    along = np.matmul(step[:, None, :], jac)[:, 0]
    bend = (step * np.matmul(second, step[..., None])[..., 0]).sum(-1)
    start = (step * gradient).sum(-1)

    def slope(t: Array) -> Array:
        moved = residual + t[:, None] * along
        return (np.clip(moved, -delta, delta) * tilted * along).sum(-1) + t * bend

    low, high = np.zeros(len(step)), np.ones(len(step))
    slope_low, slope_high = start, slope(high)
    need = slope_high > 0.05 * np.abs(start)
    length = np.ones(len(step))
    if not need.any():
        return length
    for _ in range(3):
        width = slope_high - slope_low
        middle = low + (high - low) * np.clip(-slope_low / np.where(width == 0, 1.0, width), 0.1, 0.9)
        slope_middle = slope(middle)
        falling = slope_middle < 0
        low, slope_low = np.where(falling, middle, low), np.where(falling, slope_middle, slope_low)
        high, slope_high = np.where(falling, high, middle), np.where(falling, slope_high, slope_middle)
        length = np.where(need, middle, 1.0)
    return length
