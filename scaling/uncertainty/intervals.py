"""The recommended interval of anything that follows from a fit, without resampling.

Where errors are independent: a robust fit has each run's noise, so its sandwich is `pooled` over the runs; other
objectives have not, and take the HC3 sandwich as it is, with Student's t of degrees of freedom that are lowered where a
few runs carry the quantity (`_Linearised.dof_of`). Where runs of one budget (or of another cluster) seem to share errors (likelihood
ratio, p < 0.3): the wider of that and the mixed model of `shared`, averaged over the size of the shared error; the
latter alone takes each run's noise from a robust scale, and is too narrow where errors have heavy tails. All is one
linearisation of the fit, so an interval costs a millisecond. `docs/calibration.md` measures how often it holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from scaling.errors import FitError
from scaling.fitting.covariance import pooled
from scaling.fitting.noise import log_compute
from scaling.fitting.objective import robust_scale
from scaling.fitting.result import PER_ROW, FitResult, FitStatus
from scaling.fitting.solver import evaluate
from scaling.laws.law import Array
from scaling.uncertainty.shared import LEAST_WEIGHT, SharedErrors, cluster_budgets, shared_errors

STEP = 1e-5  # of the central differences of a quantity, in working coordinates (logs): error 1e-10
SHARED_LEVEL = 0.3  # p of no shared error, below which it is allowed for: missing one costs more than a wider interval
MOST_CLUSTERS_SHARE = 0.5  # clusters per run above which there is nothing shared to see


@dataclass(frozen=True)
class Interval:
    """Estimates (q,) with bounds low, high (q,) at `level`; `method` and `why` say how they were made."""

    estimate: Array
    low: Array
    high: Array
    level: float
    method: str
    why: str


@dataclass(frozen=True)
class _Linearised:
    """A single fit around its optimum."""

    result: FitResult
    u: Array  # (p,)
    dof: int
    hc3: Array  # (p, p)
    own: Array  # (p, p) covariance where errors are independent: `pooled` for a robust fit, else HC3
    mixed: SharedErrors | None
    clusters: str
    reach: Array | None = None  # (p, n) how far each run's error, in units of its own noise, moves the fit
    kurtosis: float = 3.0  # of the influence of the runs

    @property
    def uses_pooled(self) -> bool:
        return self.own is not self.hc3

    @cached_property
    def uses_mixed(self) -> bool:
        return self.mixed is not None and self.mixed.p_value < SHARED_LEVEL

    def dof_of(self, gradient: Array) -> Array:
        """Degrees of freedom (q,) of Student's t for quantities with gradient (q, p).

        HC3 is a sum of squared errors with unequal weights: Satterthwaite's count of them (Bell and McCaffrey 2002), with
        the kurtosis of the influences in place of the normal's 3, is what a few dominant runs leave. It takes no account
        of HC3's upward bias at those same runs, and overcorrects alone; its geometric mean with n - p covers.
        """
        if self.reach is None or self.uses_pooled:
            return np.full(len(gradient), float(self.dof))
        part = np.square(gradient @ self.reach)  # (q, n)
        squares = np.maximum(np.square(part).sum(-1), 1e-300)
        count = np.square(part.sum(-1)) / squares * 2 / np.clip(self.kurtosis - 1, 1.0, 4.0)
        count = np.where(part.sum(-1) > 0, count, self.dof)
        return np.sqrt(np.clip(count, 1.0, self.dof) * self.dof)

    @property
    def why(self) -> str:
        """Which errors were taken, independent or shared within clusters, and what spoke for it."""
        if self.mixed is None:
            return f"errors taken as independent: {self.clusters}"
        if self.uses_mixed:
            return (
                f"runs of one {self.clusters} seem to share errors (standard deviation {self.mixed.tau:.2g}, p = {self.mixed.p_value:.2g}, "
                f"{self.mixed.n_clusters} clusters)"
            )
        return f"no sign that runs of one {self.clusters} share errors ({self.mixed.n_clusters} clusters)"


def linearise_fit(result: FitResult, clusters: str | Array | None = None) -> _Linearised:
    """What every interval of a fit needs, computed once."""
    if result.shape:
        raise FitError("intervals are for one fit: take a group first, result.group(i).")
    coordinates = result.coordinates
    if not bool(np.isfinite(result.theta).all()) or result.status == FitStatus.TOO_FEW_RUNS:
        raise FitError(f"there is no estimate to put an interval around: {result.message}")
    u = coordinates.to_working(result.theta)
    dof = max(int(result.n_runs) - len(u), 1)
    if result.problem is None:
        hc3 = result.covariance
        return _Linearised(result, u, dof, hc3, hc3, None, "the runs are not at hand (a loaded fit)")
    problem = result.problem
    residual, jac = (a[0] for a in evaluate(coordinates, result.objective, problem, u[None]))
    weights = problem.weights[0]
    words, labels = _labels(result, clusters)
    reach, kurtosis = _reach(result, residual, jac, weights)
    own = _pooled(result, u) if result.objective.redescends else result.covariance
    if labels is None:
        return _Linearised(result, u, dof, result.covariance, own, None, words, reach, kurtosis)
    majoriser = np.broadcast_to(result.objective.majoriser(residual, result.delta), residual.shape)
    sigma2 = _noise_variance(residual, weights, dof)
    keep = weights > 0
    labels = np.unique(labels[keep], return_inverse=True)[1]
    mixed = shared_errors(residual[keep], jac[:, keep], (sigma2 / np.maximum(majoriser, LEAST_WEIGHT))[keep], labels)
    return _Linearised(result, u, dof, result.covariance, own, mixed, words, reach, kurtosis)


def interval(
    result: FitResult,
    quantity: Callable[[Array], Array] | str | None = None,
    level: float = 0.95,
    *,
    method: str = "recommended",
    clusters: str | Array | None = None,
    log: bool = False,
) -> Interval:
    """An interval for coefficients or for anything derived from them.

    Parameters
    ----------
    result : a single fit with its runs (or a loaded one: HC3 only), or a bootstrap of one (quantiles of the resamples).
    quantity : function of theta (..., P) returning (...) or (..., q); the name of a derived quantity or coefficient of
        the law; None for all coefficients, whose intervals are symmetric in working coordinates (logs).
    method : "recommended"; "hc3", the sandwich of single errors with t(n - p); or "mixed", the mixed model with Satterthwaite's t.
    clusters : column (or labels) of runs that may share errors; default: compute budgets, found from the FLOPs.
    log : symmetric in the log of the quantity (for positive ones such as model sizes).
    """
    if not 0 < level < 1:
        raise FitError(f"level must lie between 0 and 1 (0.95 is 95 %), not {level}.")
    if method not in ("recommended", "hc3", "mixed"):
        raise FitError(f"unknown method {method!r}; choose recommended, hc3 or mixed.")
    function = _quantity(result, quantity)
    if result.of is not None:
        values = function(result.theta[result.converged])
        low, high = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2], axis=0)
        point = np.atleast_1d(function(result.of.theta))
        return Interval(point, np.atleast_1d(low), np.atleast_1d(high), level, "resamples", _counted(result))
    local = linearise_fit(result, clusters)
    if method == "mixed" and local.mixed is None:
        raise FitError(f"the mixed model needs clusters of runs: {local.why}.")
    return _interval(local, function, level, method, quantity is None, log)


def _pooled(result: FitResult, u: Array) -> Array:
    """`pooled` of a fit, or its HC3 covariance where that cannot be had."""
    assert result.problem is not None
    at_bound = np.diagonal(result.covariance)[None] == 0
    found = pooled(result.coordinates, result.objective, result.problem, u[None], np.atleast_2d(result.delta), at_bound)
    return result.covariance if found is None else found


def draws(
    result: FitResult, n: int = 1000, rng: int | np.random.Generator = 0, clusters: str | Array | None = None
) -> FitResult:
    """Coefficients drawn from the recommended uncertainty of a single fit, in the shape of a bootstrap.

    Everything that takes resamples (allocation, plans, scores) takes these: theta (n, P), `of` the fit. Heavy-tailed as
    Student's t with the fit's degrees of freedom; where errors are shared, each draw has its own size of shared error.
    """
    generator = np.random.default_rng(rng)
    local = linearise_fit(result, clusters)
    p = len(local.u)
    heavy = np.sqrt(local.dof / generator.chisquare(local.dof, n))[:, None]
    normal = generator.standard_normal((n, p))
    if local.uses_mixed and local.mixed is not None:
        centre, covariance = local.u + local.mixed.shift, _wider(local.own, local.mixed.covariance)
    else:
        centre, covariance = local.u, local.own
    values, vectors = np.linalg.eigh(np.nan_to_num(covariance))
    u = centre + heavy * (normal * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    theta = result.coordinates.to_theta(u)[0]
    same: dict[str, Any] = {
        name: np.broadcast_to(np.asarray(getattr(result, name)), (n, *np.shape(getattr(result, name))))
        for name in PER_ROW
    }
    same["status"] = np.full(n, FitStatus.CONVERGED, dtype=object)
    return replace(result, **(same | {"theta": theta}), of=result, seed=None, problem=None)


def _wider(first: Array, second: Array) -> Array:
    """The least covariance (p, p) that is, in the coordinates where both are diagonal, the larger of the two."""
    values, vectors = np.linalg.eigh(np.nan_to_num(second))
    keep = values > 1e-14 * max(float(values[-1]), 1e-300)
    root = vectors[:, keep] * np.sqrt(values[keep])  # second = root @ root.T
    white = vectors[:, keep].T / np.sqrt(values[keep])[:, None]
    ratio, turned = np.linalg.eigh(white @ np.nan_to_num(first) @ white.T)
    basis = root @ turned
    return (basis * np.maximum(ratio, 1.0)) @ basis.T


def _interval(
    local: _Linearised,
    function: Callable[[Array], Array],
    level: float,
    method: str,
    coefs: bool,
    log: bool,
) -> Interval:
    from scipy.special import stdtrit

    coordinates = local.result.coordinates
    mixed = local.mixed if method == "mixed" or (method == "recommended" and local.uses_mixed) else None
    u = local.u + mixed.shift if mixed is not None else local.u
    covariance = local.own if method == "recommended" else local.hc3
    kind = "pooled" if method == "recommended" and local.uses_pooled else "HC3"
    name = {
        ("mixed", True): "mixed model",
        ("recommended", True): f"wider of mixed model and {kind} sandwich, Student t",
    }.get((method, mixed is not None), f"{kind} sandwich, Student t")

    def at(v: Array) -> Array:
        value = np.asarray(function(coordinates.to_theta(v)[0]))
        return np.log(value) if log else value

    def half_width(gradient: Array) -> Array:
        """Half widths (q,) of the intervals of quantities with gradients (q, P) in working coordinates."""

        def times_t(covariance: Array, dof: Array) -> Array:
            sd = np.sqrt(np.maximum(np.einsum("qp,ps,qs->q", gradient, covariance, gradient), 0.0))
            return stdtrit(dof, 0.5 + level / 2) * sd

        plain = np.full(len(gradient), float(local.dof))
        shared = None if mixed is None else times_t(mixed.covariance, mixed.degrees_of_freedom(gradient, local.dof))
        if method == "mixed" and shared is not None:
            return shared
        own = times_t(covariance, local.dof_of(gradient) if method == "recommended" else plain)
        return own if shared is None else np.fmax(own, shared)

    if coefs:  # symmetric in working coordinates
        half = half_width(np.eye(len(u)))
        half = np.where(half == 0, np.nan, half)  # held at a bound: open
        theta = coordinates.to_theta(u)[0]
        ends = np.sort(np.stack([coordinates.to_theta(u - half)[0], coordinates.to_theta(u + half)[0]]), axis=0)
        return Interval(theta, ends[0], ends[1], level, name, local.why)
    steps = STEP * np.eye(len(u))
    ahead, behind = at(u + steps), at(u - steps)  # (p, q) or (p,)
    gradient = ((ahead - behind) / (2 * STEP)).reshape(len(u), -1).T
    estimate = np.atleast_1d(at(u))
    half = half_width(gradient)
    low, high = estimate - half, estimate + half
    if log:
        estimate, low, high = np.exp(estimate), np.exp(low), np.exp(high)
    return Interval(estimate, low, high, level, name, local.why)


def _quantity(result: FitResult, quantity: Callable[[Array], Array] | str | None) -> Callable[[Array], Array]:
    if quantity is None:
        return lambda theta: theta
    if callable(quantity):
        return quantity
    if quantity in result.law.derived:
        return result.law.derived[quantity]
    if quantity in result.law.coef_names:
        index = result.law.coef_names.index(quantity)
        return lambda theta: theta[..., index]
    known = ", ".join([*result.law.coef_names, *result.law.derived])
    raise FitError(
        f"law {result.law.name!r} has no quantity {quantity!r}; it has {known}, or give a function of theta."
    )


def _labels(result: FitResult, clusters: str | Array | None) -> tuple[str, Array | None]:
    """Words for the clusters and a label per run, or None when there is nothing to see."""
    n = result.problem.n_points if result.problem is not None else 0
    if isinstance(clusters, str):
        if result.runs is None or clusters not in result.runs:
            raise FitError(f"there is no column {clusters!r} to find clusters of runs by.")
        words, labels = clusters, np.unique(result.runs[clusters].to_numpy().astype(str), return_inverse=True)[1]
    elif clusters is not None:
        words, labels = "cluster", np.unique(np.asarray(clusters), return_inverse=True)[1]
        if len(labels) != n:
            raise FitError(f"clusters must label {n} runs, not {len(labels)}.")
    else:
        assert result.problem is not None
        words, labels = "budget", cluster_budgets(np.exp(log_compute(result.problem.x, result.problem.y)))
    count = int(labels.max()) + 1
    if count < 3 or count > MOST_CLUSTERS_SHARE * n:
        return f"{count} {words}s among {n} runs are too {'few' if count < 3 else 'many'} to see shared errors", None
    return words, labels


def _counted(result: FitResult) -> str:
    """How many resamples the quantiles stand on, and how many have no proof of convergence."""
    n, good = len(result.theta), int(np.count_nonzero(result.converged))
    return f"{good} resamples" + (
        f"; {n - good} more ({(n - good) / n:.1%}) without proof of convergence left out"
        if n > good
        else ", all with proof of convergence"
    )


def _reach(result: FitResult, residual: Array, jac: Array, weights: Array) -> tuple[Array, float]:
    """How far each run moves the fit (p, n) per unit of its own noise, leverage allowed for, and the kurtosis of psi."""
    scale = 1 / np.sqrt(np.maximum((np.square(jac) * weights).sum(-1), 1e-300))
    scaled = np.nan_to_num(jac * scale[:, None])
    inverse = np.linalg.pinv((scaled * weights) @ scaled.T, rcond=1e-13, hermitian=True)
    leverage = weights * np.einsum("pn,pq,qn->n", scaled, inverse, scaled)
    reach = scale[:, None] * (inverse @ scaled) * np.sqrt(weights) / np.maximum(1 - leverage, 1e-3)
    square = np.square(result.objective.psi(residual, np.ravel(result.delta)))[weights > 0] * weights[weights > 0]
    mean = square.mean()
    return reach, float(np.square(square).mean() / mean**2) if mean > 0 else 3.0


def _noise_variance(residual: Array, weights: Array, dof: int) -> Array:
    """Each run's own error variance (n,), from a robust scale; infinite for runs without weight."""
    n = np.count_nonzero(weights)
    with np.errstate(divide="ignore"):
        spread = 1.0 / np.sqrt(weights)  # a robust fit's weights carry each run's relative noise
    standardised = np.where(weights > 0, residual / np.where(weights > 0, spread, 1.0), 0.0)
    sigma = robust_scale(standardised[None], (weights > 0).astype(float)[None])[0] * np.sqrt(n / dof)
    return np.square(np.maximum(sigma, 1e-150) * spread)
