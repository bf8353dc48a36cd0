"""Resample the runs, refit, and let the spread of the refits speak for every number derived from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from scaling.errors import FitError
from scaling.fitting.engine import minimise_rows
from scaling.fitting.problem import Problem
from scaling.fitting.result import FitResult, FitStatus, FitWarning
from scaling.fitting.solver import CHUNK_ELEMENTS
from scaling.laws.law import Array

UNCONVERGED_SHARE = 0.01  # of the resamples, above which it is a warning


def bootstrap(
    result: FitResult,
    n_resamples: int = 1000,
    rng: int | np.random.Generator = 0,
    kind: str = "cases",
    clusters: str = "run",
    progress: Callable[[int, int], None] | None = None,
) -> FitResult:
    """Refit on resampled runs.

    Parameters
    ----------
    result : a fit (or a batch of groups) with its runs.
    n_resamples : how many; 200 for standard errors, 1000 for intervals.
    rng : seed or generator; equal seeds give equal resamples.
    kind : "cases" draws runs; "clusters" draws all rows that share a value of the column `clusters` together, which
        is right when several rows come from one training or one seed family.
    progress : called with (resamples done, resamples in all).

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
    if kind not in ("cases", "clusters"):
        raise FitError(f"unknown bootstrap kind {kind!r}; choose 'cases' or 'clusters'.")
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
    block = max(1, 4 * CHUNK_ELEMENTS // problem.n_points)
    for g in range(n_groups):
        if not usable[g]:
            continue
        one = problem.take(np.array([g]))
        draw = _drawer(result, g, one, kind, clusters)
        u_hat = coordinates.to_working(theta_hat[g])
        for first in range(0, n_resamples, block):
            count = min(block, n_resamples - first)
            weights = draw(generator, count)
            rows = Problem({k: v.reshape(-1) for k, v in one.x.items()}, one.y.reshape(-1), weights)
            s = minimise_rows(
                coordinates, objective, rows, np.tile(u_hat, (count, 1)), np.tile(delta_hat[g], (count, 1))
            )
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
        of=point, seed=seed, problem=None,
    )  # fmt: skip


def _drawer(
    result: FitResult, group: int, one: Problem, kind: str, clusters: str
) -> Callable[[np.random.Generator, int], Array]:
    """A function (rng, count) -> weights (count, n) of one group's resamples."""
    base = one.weights[0]
    present = np.flatnonzero(base > 0)
    if kind == "cases":
        n = len(present)

        def cases(rng: np.random.Generator, count: int) -> Array:
            drawn = rng.integers(n, size=(count, n)) + n * np.arange(count)[:, None]
            weights = np.zeros((count, len(base)))
            weights[:, present] = np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n)
            return weights * base

        return cases
    assert result.runs is not None
    if clusters not in result.runs:
        raise FitError(
            f"there is no column {clusters!r} to draw clusters by; the runs have {', '.join(map(str, result.runs.columns[:20]))}."
        )
    rows = result.rows_of_group[group] if result.rows_of_group is not None else np.arange(len(result.runs))
    labels = np.unique(result.runs[clusters].to_numpy()[rows].astype(str), return_inverse=True)[1]
    n_clusters = labels.max() + 1
    if n_clusters < 2:
        raise FitError(f"column {clusters!r} has one value only: there are no clusters to draw.")
    membership = np.zeros((n_clusters, len(base)))
    membership[labels, np.arange(len(rows))] = 1.0

    def whole(rng: np.random.Generator, count: int) -> Array:
        return rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=count) @ membership * base

    return whole
