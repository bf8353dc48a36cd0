"""Profile-likelihood intervals: how much worse must the fit become for a quantity to take another value?

The quantity is pulled towards a target by one more, quadratic term in the objective, all coefficients free. Where that
sum is least, the objective itself is the least possible for the value the quantity has there, whatever the strength of
the pull: every pulled fit lies exactly on the profile. A grid of targets, for all quantities and both sides, is one
batch of rows for the solver; the ends are then closed in upon by interpolation of the signed root, batch by batch.

With squared residuals the threshold is that of normal errors with one unknown variance: the interval is exact for a law
linear in its coefficients (it is Student's), and n ln(RSS / RSS_min) reaches n ln(1 + t^2 / (n - p)) at its ends. Other
objectives are no likelihoods: their drop is scaled by the ratio of the sandwich (HC3) variance of the quantity to the
curvature's (Kent 1982; Stafford 1996), so that the profile gives the shape of the interval and the sandwich its size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scaling.errors import FitError
from scaling.fitting.engine import minimise_rows
from scaling.fitting.objective import Objective, robust_scale
from scaling.fitting.problem import Problem
from scaling.fitting.result import FitResult
from scaling.fitting.scale import Coordinates
from scaling.fitting.solver import _second_order, evaluate, solve
from scaling.laws.law import Array, Inputs, Law
from scaling.uncertainty.intervals import Interval, _quantity

#: targets in units of the expected half-width; the far ones are for the ends of skewed and open profiles only
NEAR = np.array([0.5, 0.85, 1.0, 1.2, 1.6])
FAR = np.array([2.5, 4.0, 8.0, 16.0, 64.0])
PULL = 9.0  # curvature of the pull over that of the profile: a target of z standard errors is met to within a tenth
ROUNDS = 12  # of interpolation between the grid points around an end
CLOSE = 1e-6  # relative precision of the root at an end
STEP = 1e-5  # of the central differences of a quantity, relative to each coefficient
BETTER = -1e-3  # root of a fall below the fit's own objective that is more than rounding
LOST = "an end was not found with proof of convergence"
METHODS = ("auto", "likelihood", "sandwich")


@dataclass(frozen=True)
class _Pulled(Objective):
    """The runs' objective, and half squares for the quantities appended behind them."""

    base: Objective | None = None
    n_runs: int = 0

    def residuals(self, predicted: Array, observed: Array) -> tuple[Array, Array]:
        """The base objective's residuals and outer derivatives of the runs, and plain differences behind them."""
        assert self.base is not None
        n = self.n_runs
        residual, outer = self.base.residuals(predicted[..., :n], observed[..., :n])
        behind = predicted[..., n:] - observed[..., n:]
        return np.concatenate([residual, behind], -1), np.concatenate([outer, np.ones_like(behind)], -1)

    def loss(self, residuals: Array, delta: Array | float) -> Array:
        return self._both("loss", residuals, delta, lambda r: 0.5 * np.square(r))

    def psi(self, residuals: Array, delta: Array | float) -> Array:
        return self._both("psi", residuals, delta, lambda r: r)

    def majoriser(self, residuals: Array, delta: Array | float) -> Array:
        return self._both("majoriser", residuals, delta, np.ones_like)

    def curvature(self, residuals: Array, delta: Array | float) -> Array:
        return self._both("curvature", residuals, delta, np.ones_like)

    def _both(self, name: str, residuals: Array, delta: Array | float, behind: Callable[[Array], Array]) -> Array:
        n = self.n_runs
        runs = residuals[..., :n]
        first = np.broadcast_to(getattr(self.base, name)(runs, np.asarray(delta)[..., :n]), runs.shape)
        with np.errstate(over="ignore", invalid="ignore"):  # a trial step far out; it is rejected
            return np.concatenate([first, behind(residuals[..., n:])], -1)


def profile(
    result: FitResult,
    quantity: Callable[[Array], Array] | str | None = None,
    level: float = 0.95,
    *,
    log: bool = False,
    method: str = "auto",
) -> Interval:
    """Profile-likelihood interval of coefficients or of anything derived from them.

    Parameters
    ----------
    result : a single fit with its runs.
    quantity : function of theta (..., P) returning (...) or (..., q), such as the loss at a point or the best model size
        at a budget; the name of a derived quantity or coefficient of the law; None for all coefficients.
    level : probability to cover, such as 0.95.
    log : follow the log of the quantity. The profile does not change; for positive quantities that vary by factors
        (model sizes) it is found with fewer rounds.
    method : "likelihood" (normal errors of one variance, times the weights: squared residuals only), "sandwich" (the drop
        scaled so that its curvature is the HC3 variance), or "auto": likelihood for squared residuals, else sandwich.

    Returns an Interval (q,). An end that the runs leave open is the coefficient's bound, or infinite, and `why` says so;
    an end that could not be found with proof of convergence is nan.
    Raises FitError for batches, loaded fits, fits without estimate, and quantities that do not depend on the fit.
    """
    from scipy.special import stdtrit

    if not 0 < level < 1:
        raise FitError(f"level must lie between 0 and 1 (0.95 is 95 %), not {level}.")
    if method not in METHODS:
        raise FitError(f"unknown method {method!r}; choose {', '.join(METHODS)}.")
    if result.of is not None:
        raise FitError("a profile is of the fit itself: give result.of, not its resamples.")
    if result.shape:
        raise FitError("profiles are for one fit: take a group first, result.group(i).")
    if result.problem is None:
        raise FitError("this fit was loaded from a file: the runs are not in it, so no profile can be fitted.")
    if not (bool(np.isfinite(result.theta).all()) and bool(result.converged)):
        raise FitError(f"there is no estimate to put a profile around: {result.message}")
    squared = result.objective.delta == np.inf and not result.objective.redescends and result.objective.quantile == 0.5
    if method == "likelihood" and not squared:
        raise FitError(
            f"objective {result.objective.name!r} is no likelihood; choose method='sandwich' or fit squared residuals."
        )
    likelihood = squared if method == "auto" else method == "likelihood"

    coordinates = result.coordinates
    follow = _follow(result, _quantity(result, quantity), log)
    u_hat = coordinates.to_working(result.theta)
    centre = follow(result.theta)
    dof = max(int(result.n_runs) - len(u_hat), 1)
    problem = Problem(
        {k: v.reshape(-1) for k, v in result.problem.x.items()}, result.problem.y.reshape(-1), result.problem.weights
    )
    delta = np.broadcast_to(np.reshape(result.delta, (1, -1)), problem.weights.shape)

    hessian, residual = _curvature(coordinates, result.objective, problem, u_hat, delta)
    least = float(result.objective.value(residual, problem.weights, delta)[0])
    theta, slope = coordinates.to_theta(u_hat)
    gradient = _differences(follow, theta, coordinates)[:, coordinates.free] * slope  # (q, p)
    size = np.maximum(np.diagonal(hessian), 0.0)
    held = coordinates.on_log_scale & (np.diagonal(result.covariance) == 0)  # at its bound
    gradient = np.where(held, 0.0, gradient)
    root = np.where(held, 0.0, 1 / np.sqrt(np.where(size > 0, size, 1.0)))
    inverse = np.linalg.pinv(hessian * root[:, None] * root, hermitian=True, rcond=1e-13) * root[:, None] * root
    inside = _inside(result, problem, u_hat, held) if held.any() else None
    plain = np.einsum("qp,ps,qs->q", gradient, inverse, gradient)  # variance but for the errors' own
    if likelihood:
        kappa = np.full(len(plain), 2 * least / dof)
    else:
        kappa = np.einsum("qp,ps,qs->q", gradient, result.covariance, gradient) / np.maximum(plain, 1e-300)
    if inside is not None and likelihood:  # a quantity that moves only when a coefficient leaves its bound
        away = np.abs(follow(coordinates.to_theta(inside)[0]) - centre)
        plain = np.where((plain <= 0) & (away > 0), away**2 / np.maximum(kappa, 1e-300), plain)
    if bad := np.flatnonzero(~(np.isfinite(plain) & (plain > 0) & np.isfinite(kappa) & (kappa > 0))).tolist():
        raise FitError(
            f"{_named(result, quantity, bad[0])} does not move with the fit's free coefficients, or not smoothly: it has no profile."
        )

    half = float(stdtrit(dof, 0.5 + level / 2))
    spread = np.sqrt(kappa * plain)  # the standard error of each quantity
    search = _Search(
        result, problem, delta, follow, centre, spread, kappa, least, u_hat, gradient @ inverse / plain[:, None], inside
    )
    ends, remarks = search.ends(half)

    estimate, low, high = centre, centre + spread * ends[0], centre + spread * ends[1]
    if log:
        estimate, low, high = np.exp(estimate), np.exp(low), np.exp(high)
    coefs = (
        range(len(result.theta))
        if quantity is None
        else [result.law.coef_names.index(quantity)]
        if quantity in result.law.coef_names
        else []
    )
    for k, i in enumerate(coefs):  # an open end stops at the coefficient's bound
        low[k], high[k] = max(low[k], result.law.coefs[i].lower), min(high[k], result.law.coefs[i].upper)
    kind = (
        f"normal errors of one variance, t with {dof} degrees of freedom"
        if likelihood
        else f"drop of the {result.objective.name} objective scaled to the HC3 variance, t with {dof} degrees of freedom"
    )
    notes = [f"{_named(result, quantity, k)}: {words}" for k, words in remarks]
    return Interval(estimate, low, high, level, "profile", "; ".join([kind, *notes]))


@dataclass(frozen=True)
class _Search:
    """The profile of q quantities in units of their standard errors."""

    result: FitResult
    problem: Problem
    delta: Array  # (1, n)
    follow: Callable[[Array], Array]  # theta (..., P) -> (..., q)
    centre: Array  # (q,)
    spread: Array  # (q,)
    kappa: Array  # (q,) twice the objective's rise per squared standard error
    least: float  # the objective at the fit
    u_hat: Array  # (p,)
    direction: Array  # (q, p): how the fit moves, to first order, per unit of the quantity
    inside: Array | None  # (p,) a second start, with coefficients that lie at their bounds taken off them

    def ends(self, half: float) -> tuple[Array, list[tuple[int, str]]]:
        """(2, q) ends in standard errors where the signed root of the rise is `half`, and (quantity, remark) pairs."""
        n_q = len(self.centre)
        out = np.full((2, n_q), np.nan)
        remarks: list[tuple[int, str]] = []
        sides = [(q, row) for q in range(n_q) for row in (0, 1)]
        found: dict[tuple[int, int], list[Point]] = {key: [(0.0, 0.0, 0.0)] for key in sides}
        for grid in (NEAR, FAR):
            todo_sides = [key for key in sides if max(p[2] for p in found[key]) < half]
            if not todo_sides:
                break
            which = np.repeat([q for q, _ in todo_sides], len(grid))
            sign = np.repeat([2.0 * row - 1 for _, row in todo_sides], len(grid))
            target = sign * np.tile(half * grid * (1 + 1 / PULL), len(todo_sides))
            met, root, ok = self.pulled(which, target, quick=True)
            for k, key in enumerate(np.repeat(np.arange(len(todo_sides)), len(grid)).tolist()):
                if ok[k]:
                    found[todo_sides[key]].append((target[k], met[k], root[k]))
        worse = {q for q, row in sides if min(p[2] for p in found[q, row]) < BETTER}
        remarks += [
            (q, "the profile found a better optimum than the fit has; fit again from there") for q in sorted(worse)
        ]
        brackets: list[_Bracket] = []
        for q, row in sides:
            points = found[q, row]
            beyond = [k for k, p in enumerate(points) if p[2] >= half]
            if q in worse:
                continue
            if beyond:
                brackets.append(_Bracket(q, row, points[beyond[0] - 1], points[beyond[0]]))
            elif abs(points[-1][0]) >= half * FAR[-3]:
                out[row, q] = (2 * row - 1) * np.inf
                where = "above" if row else "below"
                remarks.append((q, f"no end {where} within {FAR[-1]:g} times the expected half-width: left open"))
            else:
                remarks.append((q, LOST))
        for _ in range(ROUNDS):
            todo = [b for b in brackets if not b.closed(half)]
            if not todo:
                break
            target = np.array([b.guess(half) for b in todo])
            met, root, ok = self.pulled(np.array([b.quantity for b in todo]), target)
            for k, b in enumerate(todo):
                b.update(half, (target[k], met[k], root[k]), bool(ok[k]))
        for b in brackets:
            if b.lost:
                remarks.append((b.quantity, LOST))
            else:
                out[b.row, b.quantity] = b.end(half)
        return out, remarks

    def pulled(self, which: Array, target: Array, quick: bool = False) -> tuple[Array, Array, Array]:
        """Fits pulled towards targets (B,), in standard errors of quantity which (B,).

        Returns where each ended (B,), the root of its scaled rise (B,) there (negative: a better optimum than the fit),
        and whether it converged (B,). quick: rows that the batched solver leaves are left.
        """
        result, n, n_q = self.result, self.problem.n_points, len(self.centre)
        law, objective = (
            _with_quantities(result.law, self.follow, self.centre, self.spread, result.coordinates),
            result.objective,
        )
        pulled = _Pulled(
            objective.name,
            objective.of,
            objective.delta,
            objective.scales,
            objective.quantile,
            objective.redescends,
            objective,
            n,
        )
        rows = len(target)
        weights = np.zeros((rows, n + n_q))
        weights[:, :n] = self.problem.weights
        weights[np.arange(rows), n + which] = PULL * self.kappa[which]
        y = np.zeros((rows, n + n_q))
        y[:, :n] = self.problem.y
        y[np.arange(rows), n + which] = target
        delta = np.concatenate([np.repeat(self.delta, rows, 0), np.full((rows, n_q), np.inf)], 1)
        first = (target * self.spread[which] * PULL / (1 + PULL))[:, None] * self.direction[which]
        first *= np.minimum(1.0, 2.0 / np.maximum(np.abs(first).max(-1, keepdims=True), 1e-300))
        coordinates = Coordinates(law, dict(result.fixed))
        rows_of = Problem(self.problem.x, y, weights)
        minimise = solve if quick else minimise_rows
        solution = minimise(coordinates, pulled, rows_of, self.u_hat + first, delta)
        if self.inside is not None:  # at its bound a coefficient feels no force, though another value asks for it
            second = minimise(coordinates, pulled, rows_of, np.tile(self.inside, (rows, 1)), delta)
            better = second.converged & ~(solution.converged & (solution.value <= second.value))
            for field in ("u", "value", "converged"):
                getattr(solution, field)[better] = getattr(second, field)[better]
        ok = solution.converged & np.isfinite(solution.u).all(-1)
        u = np.where(ok[:, None], solution.u, self.u_hat)
        theta = coordinates.to_theta(u)[0]
        with np.errstate(all="ignore"):
            met = ((self.follow(theta) - self.centre) / self.spread)[np.arange(rows), which]
            residual = objective.residuals(result.law.predict(self.problem.x, theta), self.problem.y)[0]
        rise = 2 * (objective.value(residual, weights[:, :n], delta[:, :n]) - self.least) / self.kappa[which]
        return met, np.sign(rise) * np.sqrt(np.abs(rise)), ok & np.isfinite(rise) & np.isfinite(met)


Point = tuple[float, float, float]  # target, value met, root of the rise there


@dataclass
class _Bracket:
    """One end between two fits on the profile: the nearer has a root below the threshold, the farther above it."""

    quantity: int
    row: int  # 0 low, 1 high
    near: Point
    far: Point
    last: int = 0  # which point was replaced last: -1 the nearer, 1 the farther
    lost: bool = False

    def closed(self, half: float) -> bool:
        """Whether the threshold is met, the bracket has shrunk to nothing, or a fit on it was lost."""
        return (
            self.lost
            or min(abs(self.near[2] - half), abs(self.far[2] - half)) <= CLOSE * half
            or (abs(self.far[1] - self.near[1]) <= CLOSE * abs(self.far[1]))
        )

    def guess(self, half: float) -> float:
        """Next target: linear in the root, kept off the ends so that both sides close in."""
        share = (half - self.near[2]) / max(self.far[2] - self.near[2], 1e-300)
        # the same side twice: step a little over the threshold, to bring in the other side as well
        share += self.last * -0.02
        return self.near[0] + (self.far[0] - self.near[0]) * float(np.clip(share, 0.01, 0.99))

    def update(self, half: float, point: Point, converged: bool) -> None:
        """Put a fit in place of the end on its side of the threshold."""
        if not converged:
            self.lost = True
            return
        if point[2] < half:
            self.last = -1 if self.last <= 0 else 0
            self.near = point
        else:
            self.last = 1 if self.last >= 0 else 0
            self.far = point

    def end(self, half: float) -> float:
        """Value of the quantity where the root crosses the threshold, linear between the two fits."""
        share = np.clip((half - self.near[2]) / max(self.far[2] - self.near[2], 1e-300), 0.0, 1.0)
        return float(self.near[1] + share * (self.far[1] - self.near[1]))


def _follow(result: FitResult, function: Callable[[Array], Array], log: bool) -> Callable[[Array], Array]:
    """The quantity as theta (..., P) -> (..., q), of its log where asked."""
    with np.errstate(all="ignore"):
        shape = np.shape(function(result.theta))
    if len(shape) > 1:
        raise FitError(
            f"a quantity is a function of theta (..., P) returning (...) or (..., q), not shape {shape} for one fit."
        )

    def follow(theta: Array) -> Array:
        """theta (..., P) -> (..., q), the quantity's log where asked."""
        with np.errstate(all="ignore"):
            value = np.asarray(function(theta), dtype=float)
            value = value if shape else value[..., None]
            return np.log(value) if log else value

    if not np.isfinite(follow(result.theta)).all():
        raise FitError("the quantity has no finite value at the fit" + (" (its log is followed)." if log else "."))
    return follow


def _inside(result: FitResult, problem: Problem, u: Array, held: Array) -> Array:
    """The fit (p,) with every coefficient that lies at its bound moved to where it makes a hundredth of the prediction."""
    coordinates = result.coordinates
    theta, _ = coordinates.to_theta(u)
    value, slope = result.law.value_and_jacobian(problem.x, theta)
    out = u.copy()
    for k in np.flatnonzero(held).tolist():
        with np.errstate(all="ignore"):
            small = 0.01 * np.median(np.abs(value / slope[:, coordinates.free[k]]))
        out[k] = np.log(small) if np.isfinite(small) and small > 0 else u[k]
    return out


def _differences(follow: Callable[[Array], Array], theta: Array, coordinates: Coordinates) -> Array:
    """Derivative (..., q, P) by central differences, within the bounds; zero for coefficients held fixed."""
    law = coordinates.law
    lower, upper = np.array([c.lower for c in law.coefs]), np.array([c.upper for c in law.coefs])
    room = np.minimum(np.abs(theta - lower), np.abs(upper - theta))
    h = STEP * np.where(
        np.isfinite(room), np.minimum(room, np.maximum(np.abs(theta), 1e-300)), np.maximum(np.abs(theta), 1.0)
    )
    columns = []
    for i in range(theta.shape[-1]):
        if i not in coordinates.free:
            columns.append(np.zeros(follow(theta).shape))
            continue
        ahead, behind = theta.copy(), theta.copy()
        ahead[..., i] += h[..., i]
        behind[..., i] -= h[..., i]
        width = ahead[..., i] - behind[..., i]  # as rounded
        columns.append((follow(ahead) - follow(behind)) / np.where(width == 0, np.nan, width)[..., None])
    return np.stack(columns, -1)


def _with_quantities(
    law: Law, follow: Callable[[Array], Array], centre: Array, spread: Array, coordinates: Coordinates
) -> Law:
    """The law with quantities, in standard errors from their estimates, as further predictions behind the runs."""

    def formula(x: Inputs, theta: Array) -> Array:
        return np.concatenate([law.predict(x, theta), (follow(theta) - centre) / spread], -1)

    def jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
        value, slope = law.value_and_jacobian(x, theta)
        z, dz = (follow(theta) - centre) / spread, _differences(follow, theta, coordinates) / spread[:, None]
        return np.concatenate([value, z], -1), np.concatenate([slope, dz], -2)

    # whatever else the law states about its predictions does not hold for the quantities: a law of its own
    return Law(
        name=law.name,
        equation=law.equation,
        inputs=law.inputs,
        coefs=law.coefs,
        formula=formula,
        jacobian=jacobian,
        target=law.target,
    )


def _curvature(
    coordinates: Coordinates, objective: Objective, problem: Problem, u: Array, delta: Array
) -> tuple[Array, Array]:
    """Hessian (p, p) of the objective at the fit and residuals (1, n).

    A bend far inside the noise (Huber 1e-3) has its curvature smoothed by a kernel, as in the sandwich.
    """
    residual, jac = evaluate(coordinates, objective, problem, u[None])
    weights = problem.weights
    psi = weights * objective.psi(residual, delta)
    gradient = np.matmul(jac, psi[..., None])[..., 0]
    bend = np.broadcast_to(objective.curvature(residual, delta), residual.shape)
    if objective.delta is None or np.isfinite(objective.delta):
        width = 0.9 * robust_scale(residual, weights)[:, None] * max(int(problem.n_used[0]), 1) ** -0.2
        kernel = (
            2
            * np.minimum(delta, 1e150)
            * np.exp(-0.5 * np.minimum(np.abs(residual) / width, 40.0) ** 2)
            / (width * np.sqrt(2 * np.pi))
        )
        bend = np.where(delta < width, np.minimum(kernel, 1.0) * objective.tilt(residual), bend)
    second = _second_order(coordinates, objective, problem, u[None], psi, gradient)
    return (np.matmul(jac * (weights * bend)[:, None], jac.swapaxes(1, 2)) + second)[0], residual


def _named(result: FitResult, quantity: Callable[[Array], Array] | str | None, index: int) -> str:
    if quantity is None:
        return result.law.coef_names[index]
    return quantity if isinstance(quantity, str) else f"quantity {index}"
