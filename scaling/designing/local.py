"""A fit seen from close by: what each run, done or to come, tells about the quantity to be decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.allocation import allocate
from scaling.compute import Accounting
from scaling.errors import PlanError
from scaling.fitting.noise import MOST_SPREAD, log_compute
from scaling.fitting.result import FitResult
from scaling.laws.law import Array, Law
from scaling.uncertainty import draws as draw
from scaling.uncertainty import interval
from scaling.uncertainty.intervals import _noise_variance, linearise_fit
from scaling.uncertainty.shared import cluster_budgets

QUANTITIES = ("n_params", "tokens_per_param", "loss")
DRAWS = 24  # sets of coefficients over which a design is averaged
STEP = 1e-5  # of central differences of a quantity, in working coordinates (logs): error 1e-10
WORST_CONDITION = 1e13  # of the scaled information of a draw, beyond which its inverse is rounding


@dataclass(frozen=True)
class Local:
    """A law linearised at K coefficient sets, the estimate first, in the p free working coordinates.

    c (K, p) : derivative of the log of the quantity. now (K, p, p) : information of the runs done.
    inflation : what the fit's own interval says over what this information says, as a ratio of variances of the quantity;
        it makes `variance` agree with the interval at `level` before any new run, and holds for new runs as for those done.
    tau : standard deviation of an error that runs of one budget share, 0 for none. dof : runs less coefficients.
    centre, slope, within : noise against compute, exp(slope (ln C - centre)) with ln C held to `within`.
    noise : standard deviation of one run at the centre, in the residuals' units (log of the loss, or its own).
    """

    result: FitResult
    theta: Array
    slopes: Array
    columns: Array
    c: Array
    now: Array
    inflation: float
    noise: float
    tau: float
    dof: float
    centre: float
    slope: float
    within: tuple[float, float]
    inputs: Mapping[str, float]
    done: (
        tuple[Array, Array, Array] | None
    )  # gradients, budget labels and shared errors of the runs done, as in `added`

    @property
    def variance_now(self) -> Array:
        """(K,) of the log of the quantity."""
        return self.inflation * quadratic(self.now, self.c)

    def repeated(self, times: float) -> Array:
        """(K, p, p) information that the runs done would add if each were repeated so many times, in the same budgets."""
        assert self.done is not None
        gradients, labels, shared = self.done
        return np.asarray(added(gradients, np.full((1, len(labels)), 1 + times), labels, shared)[0] - self.now)

    def of_runs(self, n_params: Array, n_tokens: Array) -> Array:
        """(K, runs, p): derivative of each run's residual over its noise; its outer product is one run's information."""
        x = {"n_params": n_params, "n_tokens": n_tokens}
        return (
            _gradients(self.result, self.theta, self.slopes, self.columns, x, self.inputs) / self.noise_at(x)[:, None]
        )

    def noise_at(self, x: Mapping[str, Array]) -> Array:
        """(runs,) noise of runs; beyond the compute of the runs done it is held, for a trend is no promise."""
        reach = np.clip(log_compute(x, x["n_params"]), *self.within) - self.centre
        return self.noise * np.exp(np.clip(self.slope * reach, -MOST_SPREAD, MOST_SPREAD))

    def shared(self, n_params: Array, n_tokens: Array) -> Array:
        """(runs,) the error that runs of one budget share over each run's own noise."""
        return np.asarray(self.tau / self.noise_at({"n_params": n_params, "n_tokens": n_tokens}))

    def variance(self, information: Array) -> Array:
        """(..., K) variance of the log of the quantity after runs that add information (..., K, p, p)."""
        return self.inflation * quadratic(self.now + information, self.c)


@dataclass(frozen=True)
class _At:
    """Coefficients that need no fit."""

    law: Law
    theta: Array


def quadratic(information: Array, c: Array) -> Array:
    """(...,) c' M^-1 c of information M (..., p, p) and c (..., p)."""
    return np.asarray(np.einsum("...p,...p->...", c, solve(information, c)))


def solve(information: Array, c: Array) -> Array:
    """(..., p) M^-1 c, with M scaled to a unit diagonal first: working coordinates differ by orders of magnitude."""
    root = 1 / np.sqrt(np.maximum(np.diagonal(information, axis1=-2, axis2=-1), 1e-300))
    scaled = information * root[..., :, None] * root[..., None, :]
    rhs = np.broadcast_to(c, root.shape) * root
    return np.asarray(root * np.linalg.solve(scaled, rhs[..., None])[..., 0])


def added(gradients: Array, counts: Array, groups: Array, shared: Array) -> Array:
    """Information (T, K, p, p) of T designs: counts (T, runs) of runs with gradients (K, runs, p) over their noise.

    groups (runs,) labels runs that share an error; shared (runs,) is its standard deviation over each run's noise.
    """
    k, m, p = gradients.shape
    outer = (gradients[..., :, None] * gradients[..., None, :]).transpose(1, 0, 2, 3).reshape(m, -1)
    information = (counts @ outer).reshape(len(counts), k, p, p)
    if shared.any():  # Woodbury: what runs of one budget have in common is learned once
        flat = (gradients * shared[:, None]).transpose(1, 0, 2).reshape(m, -1)
        for group in np.unique(groups):
            own = groups == group
            total = (counts[:, own] @ flat[own]).reshape(len(counts), k, p)
            shrink = 1 / (1 + counts[:, own] @ shared[own] ** 2)
            information -= shrink[:, None, None, None] * total[..., :, None] * total[..., None, :]
    return np.asarray(information)


def linearise(
    result: FitResult,
    target: float,
    quantity: str,
    compute: Accounting,
    inputs: Mapping[str, float],
    level: float,
    rng: Any,
) -> Local:
    """The fit and draws of its coefficients, linearised. Raises PlanError for a fit that no design can start from."""
    from scipy.special import stdtrit

    point = result.point
    lacking = [c for c in ("n_params", "n_tokens") if c not in result.law.inputs]
    if lacking:
        raise PlanError(
            f"a design is for laws of n_params and n_tokens; {result.law.name!r} has {', '.join(result.law.inputs)}."
        )
    if unset := [c for c in result.law.inputs if c not in ("n_params", "n_tokens", *inputs)]:
        raise PlanError(f"law {result.law.name!r} needs a value for {', '.join(unset)}: give it in inputs.")
    if point.shape:
        raise PlanError("a design is for one fit: take a group first, result.group(i).")
    if not bool(np.isfinite(point.theta).all()) or not bool(point.converged):
        raise PlanError(f"there is no fit to design from: {point.message}")
    close = linearise_fit(point)
    mixed = close.mixed if close.uses_mixed else None
    covariance = point.covariance
    if not np.isfinite(covariance).all():
        raise PlanError(
            "this fit does not say how sure it is (no finite covariance): add runs that spread in size and tokens."
        )
    columns = np.flatnonzero(np.diagonal(covariance) > 0)  # a coefficient at its bound is held there
    covariance = covariance[np.ix_(columns, columns)]
    if not len(columns):
        raise PlanError("every coefficient of this fit is fixed or at its bound: there is nothing to narrow.")
    if not (np.isfinite(point.noise) and point.noise > 1e-9):
        raise PlanError("the runs lie on the law without any scatter: there is no noise to design against.")

    coordinates = point.coordinates
    sample = np.concatenate([point.theta[None], draw(point, DRAWS, rng).theta])
    u = coordinates.to_working(sample)
    held = np.setdiff1d(np.arange(u.shape[1]), columns)
    u[:, held] = u[0, held]
    u = u[np.isfinite(u).all(-1)]
    theta, slopes = coordinates.to_theta(u)
    log_quantity = _log_quantity(point, target, quantity, compute, inputs)
    c, inside = _quantity_gradient(point, u, columns, log_quantity)
    if not inside[0] or not np.isfinite(c[0]).all() or not np.abs(c[0]).any():
        raise PlanError(f"under this fit no size is best at {target:.3g} FLOPs, so there is no {quantity} to narrow.")

    about = _noise_of(point, close.dof)
    tau = 0.0 if mixed is None else mixed.tau
    done = None
    if point.problem is not None:
        x = dict(point.problem.x)
        keep = point.problem.weights[0] > 0
        gradients = _gradients(point, theta, slopes, columns, x, {})[:, keep] / about.each[keep, None]
        labels = cluster_budgets(np.exp(log_compute(x, point.problem.y)))[keep]
        done = (gradients, labels, tau / about.each[keep])
        now = added(done[0], np.ones((1, keep.sum())), *done[1:])[0]
    else:
        now = np.broadcast_to(np.linalg.pinv(covariance, hermitian=True, rcond=1e-14), (len(u), *covariance.shape))
    root = 1 / np.sqrt(np.maximum(np.diagonal(now, axis1=-2, axis2=-1), 1e-300))
    condition = np.linalg.cond(np.nan_to_num(now * root[..., :, None] * root[..., None, :]))
    good = inside & np.isfinite(c).all(-1) & np.isfinite(now).all((-1, -2)) & (condition < WORST_CONDITION)
    if not good[0]:
        raise PlanError(
            "the runs do not determine the law's coefficients: fix some of them, or add runs that spread more."
        )
    own = interval(point, lambda theta: log_quantity(theta)[0], level)
    dof = max(int(point.n_runs) - u.shape[1], 1)
    stated = (0.5 * float(own.high[0] - own.low[0]) / float(stdtrit(dof, 0.5 + level / 2))) ** 2
    inflation = stated / float(quadratic(now[0], c[0]))
    if not (np.isfinite(inflation) and inflation > 0):
        raise PlanError(f"the fit does not bound the {quantity} at {target:.3g} FLOPs: there is no band to narrow.")
    if done is not None:
        done = (done[0][good], *done[1:])
    return Local(
        point, theta[good], slopes[good], columns, c[good], now[good], inflation, about.noise, tau, dof, about.centre,
        about.slope, about.within, dict(inputs), done,
    )  # fmt: skip


@dataclass(frozen=True)
class _Noise:
    noise: float
    each: Array  # (n,) of the runs done
    centre: float
    slope: float
    within: tuple[float, float]


def _noise_of(point: FitResult, dof: int) -> _Noise:
    """Noise of each run as the fit has it, and its trend with compute where the fit found one."""
    if point.problem is None:
        flops = point.domain.get("flops", (1.0, 1.0))
        within = (float(np.log(flops[0] / 6)), float(np.log(flops[1] / 6)))
        return _Noise(point.noise, np.empty(0), float(np.mean(within)), _slope(point), within)
    weights = point.problem.weights[0]
    keep = weights > 0
    each = np.sqrt(_noise_variance(point.residuals, weights, dof))
    each = np.where(keep, each, np.inf)
    t = log_compute(point.problem.x, point.problem.y)[keep]
    slope = _slope(point)
    # what a run at the centre would have, the trend taken off
    noise = float(np.exp(np.mean(np.log(each[keep]) - slope * (t - t.mean()))))
    return _Noise(noise, each, float(t.mean()), slope, (float(t.min()), float(t.max())))


def _slope(point: FitResult) -> float:
    slope = float(point.summary.get("noise_slope", 0.0))
    return slope if np.isfinite(slope) else 0.0


def _gradients(
    point: FitResult, theta: Array, slopes: Array, columns: Array, x: Mapping[str, Array], inputs: Mapping[str, float]
) -> Array:
    """(K, runs, p) derivative of the residual, of the log or of the loss itself as the objective has it."""
    n = len(next(iter(x.values())))
    whole = {k: np.asarray(x[k], float) if k in x else np.full(n, float(inputs[k])) for k in point.law.inputs}
    loss, jacobian = point.law.value_and_jacobian(whole, theta)
    gradients = jacobian[..., point.coordinates.free] * slopes[:, None, :]
    if point.objective.of == "log":
        gradients = gradients / loss[..., None]
    return np.asarray(gradients[..., columns])


def _log_quantity(
    point: FitResult, target: float, quantity: str, compute: Accounting, inputs: Mapping[str, float]
) -> Callable[[Array], tuple[Array, Array]]:
    """Of coefficients (..., P): the log of the quantity at the target (...), and whether the best run is an optimum there."""

    def of(theta: Array) -> tuple[Array, Array]:
        best = allocate(_At(point.law, theta), target, compute=compute, inputs=inputs)
        with np.errstate(all="ignore"):
            return np.log(getattr(best, quantity)[..., 0]), np.asarray(best.inside[..., 0])

    return of


def _quantity_gradient(
    point: FitResult, u: Array, columns: Array, log_quantity: Callable[[Array], tuple[Array, Array]]
) -> tuple[Array, Array]:
    """(K, p) derivative of the log quantity in the working coordinates u (K, .), and (K,) whether it is one of an optimum."""
    steps = STEP * np.eye(u.shape[1])[columns]
    trials = np.concatenate([u[None], u + steps[:, None], u - steps[:, None]])  # (1 + 2p, K, .)
    value, inside = log_quantity(point.coordinates.to_theta(trials)[0])
    p = len(columns)
    return ((value[1 : 1 + p] - value[1 + p :]) / (2 * STEP)).T, np.asarray(inside.all(0))
