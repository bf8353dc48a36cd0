"""Resample the runs, refit, and let the spread of the refits speak for every number derived from them.

Kinds: cases (runs), clusters (all runs that belong together), strata (runs within each budget), wild (the design stays,
each run's error changes sign). `bca` corrects the quantiles of a case bootstrap for bias and skewness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from scaling.errors import FitError
from scaling.fitting.engine import minimise_rows
from scaling.fitting.noise import log_compute
from scaling.fitting.problem import Problem
from scaling.fitting.restart import restarts
from scaling.fitting.result import FitResult, FitStatus, FitWarning
from scaling.fitting.solver import CHUNK_ELEMENTS, evaluate
from scaling.laws.law import Array
from scaling.uncertainty.intervals import Interval, _quantity
from scaling.uncertainty.shared import cluster_budgets

KINDS = ("cases", "clusters", "strata", "wild")
MOST_DRAWN = 0.8  # of the runs by a resample, above which it is not worth leaving out the others
UNCONVERGED_SHARE = 0.01  # of the resamples, above which it is a warning


def bootstrap(
    result: FitResult,
    n_resamples: int = 1000,
    rng: int | np.random.Generator = 0,
    kind: str = "cases",
    clusters: str = "run",
    progress: Callable[[int, int], None] | None = None,
    strata: str = "budget",
) -> FitResult:
    """Refit on resampled runs.

    Parameters
    ----------
    result : a fit (or a batch of groups) with its runs.
    n_resamples : how many; 200 for standard errors, 1000 for intervals.
    rng : seed or generator; equal seeds give equal resamples.
    kind : "cases" draws runs; "clusters" draws all rows that share a value of the column `clusters` together, which
        is right when several rows come from one training or one seed family; "strata" draws runs within each value of
        the column `strata`, so that every resample has the design's budgets; "wild" keeps inputs and weights, and gives
        each run the fitted value with its own residual over (1 - leverage) (HC3; Davidson and Flachaire 2008), its sign
        drawn anew, on the scale of the objective's residuals (the log, for most).
    progress : called with (resamples done, resamples in all).
    strata : a column, or "budget": where there is no such column, the compute budgets found from the runs.

    Returns a FitResult with a leading axis of resamples and `of` set to `result`. Every resample starts from the
    fitted coefficients and carries its scaled gradient as proof of convergence; those without it are left out of
    intervals, and above 1 % of them is a warning.
    """
    if result.of is not None:
        raise FitError("this is already a bootstrap: resample the fit itself, result.of.")
    if result.problem is None or result.runs is None:
        raise FitError("this fit was loaded from a file: the runs are not in it, so they cannot be resampled.")
    if n_resamples < 1:
        raise FitError(f"n_resamples must be at least 1, not {n_resamples}.")
    if kind not in KINDS:
        raise FitError(f"unknown bootstrap kind {kind!r}; choose {', '.join(map(repr, KINDS[:-1]))} or {KINDS[-1]!r}.")
    seed = int(rng) if isinstance(rng, int | np.integer) else None
    generator = np.random.default_rng(rng)
    coordinates, objective, problem = result.coordinates, result.objective, result.problem
    n_groups = problem.n_rows
    n_coefs = len(result.law.coefs)
    theta_hat = result.theta.reshape(n_groups, n_coefs)
    usable = np.reshape(result.converged, n_groups)

    total = n_resamples * n_groups
    theta = np.full((n_groups, n_resamples, n_coefs), np.nan)
    value = np.full((n_groups, n_resamples), np.nan)
    gradient = np.full((n_groups, n_resamples), np.inf)
    iterations = np.zeros((n_groups, n_resamples), int)
    converged = np.zeros((n_groups, n_resamples), bool)
    delta_hat = result.delta.reshape(n_groups, -1)
    covariance = result.covariance.reshape(n_groups, *result.covariance.shape[-2:])
    block = max(1, 4 * CHUNK_ELEMENTS // problem.n_points)
    for g in range(n_groups):
        if not usable[g]:
            continue
        one = problem.take(np.array([g]))
        u_hat = coordinates.to_working(theta_hat[g])
        draw = _wild(result, one, u_hat) if kind == "wild" else _drawer(result, g, one, kind, clusters, strata)
        for first in range(0, n_resamples, block):
            count = min(block, n_resamples - first)
            drawn = draw(generator, count)
            weights, y = (np.repeat(one.weights, count, 0), drawn) if kind == "wild" else (drawn, one.y.reshape(-1))
            rows = Problem({k: v.reshape(-1) for k, v in one.x.items()}, y, weights)
            starts, near = restarts(coordinates, objective, rows, u_hat, delta_hat[g], covariance[g])
            rows, delta = _drawn_only(rows, np.tile(delta_hat[g], (count, 1)))
            s = minimise_rows(coordinates, objective, rows, starts, delta, near)
            at = slice(first, first + count)
            theta[g, at] = coordinates.to_theta(s.u)[0]
            value[g, at], gradient[g, at], iterations[g, at], converged[g, at] = (
                s.value,
                s.gradient,
                s.iterations,
                s.converged,
            )
            if progress is not None:
                progress(g * n_resamples + first + count, total)

    status = np.full((n_groups, n_resamples), FitStatus.CONVERGED, dtype=object)
    status[~converged] = FitStatus.MAX_ITERATIONS
    warnings = [list(w) for w in (result.warnings if result.shape else [result.warnings])]
    for g in np.flatnonzero(usable).tolist():
        share = 1 - converged[g].mean()
        if share > UNCONVERGED_SHARE:
            warnings[g].append(
                FitWarning(
                    "resamples_unconverged",
                    f"{share:.1%} of the resamples have no proof of convergence and are left out of the intervals.",
                )
            )

    def lead(a: Array) -> Array:
        """(groups, resamples, ...) -> (resamples, ...) or (resamples, groups, ...)."""
        return np.swapaxes(a, 0, 1) if result.shape else a[0]

    def same(a: Array) -> Array:
        return np.broadcast_to(a, (n_resamples, *np.shape(a)))

    kept = tuple(tuple(w) for w in warnings)
    point = replace(result, warnings=kept if result.shape else kept[0])
    return replace(
        point, theta=lead(theta), objective_value=lead(value), gradient=lead(gradient), iterations=lead(iterations), status=lead(status),
        message=np.full((n_resamples, *result.shape), "", dtype=object), starts_tried=1,
        starts_agreeing=np.ones((n_resamples, *result.shape), int), condition=same(np.asarray(result.condition)),
        covariance=same(result.covariance), delta=same(result.delta), n_runs=same(np.asarray(result.n_runs)),
        of=point, seed=seed, problem=None, provenance={**result.provenance, "resampling": kind},
    )  # fmt: skip


def jackknife(result: FitResult) -> Array:
    """Coefficients (n, P) of a single fit refitted without each run in turn, all in one batch.

    Rows without proof of convergence are nan. Raises FitError where leaving one out leaves too few runs.
    """
    if result.shape:
        raise FitError("the jackknife is for one fit: take a group first, result.group(i).")
    if result.problem is None:
        raise FitError("this fit was loaded from a file: the runs are not in it, so none can be left out.")
    base = result.problem.weights[0]
    present = np.flatnonzero(base > 0)
    n, p = len(present), len(result.coordinates.free)
    if n - 1 < p + 1:
        raise FitError(f"{n} runs are too few to leave one out: {p} free coefficients need at least {p + 2}.")
    weights = np.tile(base, (n, 1))
    weights[np.arange(n), present] = 0.0
    rows = Problem({k: v.reshape(-1) for k, v in result.problem.x.items()}, result.problem.y.reshape(-1), weights)
    u = np.tile(result.coordinates.to_working(result.theta), (n, 1))
    delta = np.tile(np.reshape(result.delta, (1, -1)), (n, 1))
    s = minimise_rows(result.coordinates, result.objective, rows, u, delta)
    return np.where(s.converged[:, None], result.coordinates.to_theta(s.u)[0], np.nan)


def bca(draws: FitResult, quantity: Callable[[Array], Array] | str | None = None, level: float = 0.95) -> Interval:
    """Bias-corrected and accelerated interval (Efron 1987) from a case bootstrap of one fit.

    Parameters
    ----------
    draws : bootstrap(result, kind="cases"); 1000 resamples or more.
    quantity : function of theta (..., P) returning (...) or (..., q), a name, or None for all coefficients.
    level : probability to cover, such as 0.95.

    The quantiles are those at which the resamples are unbiased for the estimate, with the skewness (acceleration) from
    refits without each run in turn. Raises FitError for another kind of resamples, and for too few to hold the tails.
    """
    from scipy.special import ndtr, ndtri

    if not 0 < level < 1:
        raise FitError(f"level must lie between 0 and 1 (0.95 is 95 %), not {level}.")
    if draws.of is None:
        raise FitError("a BCa interval comes from resamples: bca(bootstrap(result)).")
    if draws.of.shape:
        raise FitError("intervals are for one fit: take a group first, draws.group(i).")
    kind = draws.provenance.get("resampling", "unknown")
    if kind != "cases":
        raise FitError(
            f"a BCa interval needs resamples of kind 'cases', not {kind!r}: its jackknife leaves out single runs."
        )
    function = _quantity(draws, quantity)
    good = draws.theta[draws.converged]
    least = int(np.ceil(20 / (1 - level)))
    if len(good) < least:
        raise FitError(f"{len(good)} converged resamples are too few for the tails at {level:.0%}: {least} are needed.")
    values = np.asarray(function(good), dtype=float).reshape(len(good), -1)
    point = np.atleast_1d(function(draws.of.theta)).astype(float).reshape(-1)
    left = jackknife(draws.of)
    left = np.asarray(function(left[np.isfinite(left).all(-1)]), dtype=float)
    left = left.reshape(len(left), -1)
    away = left.mean(0) - left
    squares = (away**2).sum(0)
    moving = squares > 0  # a coefficient held fixed does not move: its interval has no width
    acceleration = np.where(moving, (away**3).sum(0) / (6 * np.where(moving, squares, 1.0) ** 1.5), 0.0)
    below = ((values < point).mean(0) + (values <= point).mean(0)) / 2
    z0 = ndtri(np.clip(below, 0.5 / len(values), 1 - 0.5 / len(values)))
    low, high = np.empty_like(point), np.empty_like(point)
    for end, out in ((0.5 - level / 2, low), (0.5 + level / 2, high)):
        z = z0 + ndtri(end)
        share = ndtr(z0 + z / np.maximum(1 - acceleration * z, 1e-6))
        out[:] = [np.quantile(values[:, k], share[k]) for k in range(len(point))]
    why = f"{len(values)} resamples of runs, {len(left)} refits without one run"
    return Interval(point, low, high, level, "BCa", why)


def _labels(result: FitResult, group: int, column: str, purpose: str) -> Array:
    """Integers (n,) that say which runs of a group agree in a column."""
    assert result.runs is not None
    if column not in result.runs:
        names = ", ".join(map(str, result.runs.columns[:20]))
        raise FitError(f"there is no column {column!r} to draw {purpose} by; the runs have {names}.")
    rows = result.rows_of_group[group] if result.rows_of_group is not None else np.arange(len(result.runs))
    return np.unique(result.runs[column].to_numpy()[rows].astype(str), return_inverse=True)[1]


def _drawer(
    result: FitResult, group: int, one: Problem, kind: str, clusters: str, strata: str
) -> Callable[[np.random.Generator, int], Array]:
    """A function (rng, count) -> weights (count, n) of one group's resamples."""
    base = one.weights[0]
    present = np.flatnonzero(base > 0)
    if kind == "cases":
        return _within([present], base)
    assert result.runs is not None
    if kind == "strata":
        if strata == "budget" and strata not in result.runs:
            flops = np.exp(log_compute({k: v.reshape(-1) for k, v in one.x.items()}, base)[present])
            labels, words = cluster_budgets(flops), "the compute budgets hold"
        else:
            of_rows = _labels(result, group, strata, "strata")
            labels, words = of_rows[present], f"the values of column {strata!r} hold"
        layers = [present[labels == k] for k in np.unique(labels)]
        if max(map(len, layers)) < 2:
            raise FitError(f"{words} one run each: there is nothing to draw within them; use kind='cases' or 'wild'.")
        return _within(layers, base)
    labels = _labels(result, group, clusters, "clusters")
    n_clusters = labels.max() + 1
    if n_clusters < 2:
        raise FitError(f"column {clusters!r} has one value only: there are no clusters to draw.")
    membership = np.zeros((n_clusters, len(base)))
    membership[labels, np.arange(len(labels))] = 1.0

    def whole(rng: np.random.Generator, count: int) -> Array:
        return rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=count) @ membership * base

    return whole


def _within(layers: list[Array], base: Array) -> Callable[[np.random.Generator, int], Array]:
    """Draw each layer's runs among themselves, as many as it has."""

    def draw(rng: np.random.Generator, count: int) -> Array:
        weights = np.zeros((count, len(base)))
        for members in layers:
            n = len(members)
            drawn = rng.integers(n, size=(count, n)) + n * np.arange(count)[:, None]
            weights[:, members] = np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n)
        return weights * base

    return draw


def _drawn_only(rows: Problem, delta: Array) -> tuple[Problem, Array]:
    """The same rows without most of the runs that they have not drawn, a third of all, and delta (B, 1) or (B, n) likewise."""
    most = int(rows.n_used.max())
    if most > MOST_DRAWN * rows.n_points:
        return rows, delta
    at = np.argsort(rows.weights == 0, axis=1, kind="stable")[:, :most]  # padded with runs of weight zero

    def taken(values: Array) -> Array:
        return values[at] if values.ndim == 1 else np.take_along_axis(values, at, 1)

    packed = Problem({k: taken(v) for k, v in rows.x.items()}, taken(rows.y), taken(rows.weights))
    return packed, delta if delta.shape[1] == 1 else taken(delta)


def _wild(result: FitResult, one: Problem, u_hat: Array) -> Callable[[np.random.Generator, int], Array]:
    """A function (rng, count) -> targets (count, n): fitted values with signed, leverage-corrected residuals."""
    residual, jac = (a[0] for a in evaluate(result.coordinates, result.objective, one, u_hat[None]))
    weights, y = one.weights[0], one.y.reshape(-1)
    root = np.sqrt(weights)
    # leverage: squared rows of an orthonormal basis of the weighted derivative
    basis, sizes, _ = np.linalg.svd(
        (jac / np.maximum(np.linalg.norm(jac * root, axis=1, keepdims=True), 1e-300) * root).T, full_matrices=False
    )
    leverage = (basis[:, sizes > 1e-12 * sizes.max()] ** 2).sum(-1)
    error = np.where(weights > 0, residual / np.maximum(1 - leverage, 1e-3), 0.0)
    log = result.objective.of == "log"

    def draw(rng: np.random.Generator, count: int) -> Array:
        signs = rng.integers(2, size=(count, len(y))) * 2.0 - 1.0
        moved = residual - signs * error  # residuals are prediction minus observation
        return y * np.exp(moved) if log else y + moved

    return draw
