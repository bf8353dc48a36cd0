"""How far a fit can be trusted beyond its runs: what smaller cuts of the same runs would have said.

`drift` refits without the smallest scales: coefficients that keep moving belong to a law that is not quite right.
`held_out_errors` refits without the largest: how wrong the law was, that far beyond what it had seen. `distance` puts the
two facts next to a forecast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import FitError, RunsError
from scaling.fitting.covariance import sandwich
from scaling.fitting.engine import minimise_rows
from scaling.fitting.noise import log_compute
from scaling.fitting.problem import Problem
from scaling.fitting.result import FitResult
from scaling.laws.law import Array

if TYPE_CHECKING:
    import pandas as pd

RUNS_LEFT = 3  # runs per free coefficient that a cut must leave: the sandwich of fewer is no standard error
STEPS = 4  # cuts asked for by default
WINDOW = 0.25  # decades either side of a distance whose held-out errors speak for it
FEWEST = 5  # held-out runs behind an empirical error
DRIFTED = 0.01  # p below which a coefficient is said to drift


@dataclass(frozen=True)
class Drift:
    """Coefficients as small scales are dropped.

    table : one row per cut, the full fit first: dropped_to (compute of the largest run left out,
        over that of the smallest run; 0 for none), n_runs, each
        coefficient, and z_<name>, its distance from the full fit in standard errors of the difference.
    drifting : names of coefficients whose largest z is significant at `DRIFTED`, all cuts and coefficients counted.
    """

    table: pd.DataFrame
    drifting: tuple[str, ...]

    def __str__(self) -> str:
        if not self.drifting:
            return f"no coefficient drifts as small scales are dropped ({len(self.table) - 1} cuts)"
        return (
            f"{', '.join(self.drifting)} drift{'s' if len(self.drifting) == 1 else ''} as small scales are dropped: the law "
            "is not quite right there, and the trend goes on beyond the runs"
        )


def drift(result: FitResult, steps: int = STEPS) -> Drift:
    """Refit without the smallest budgets, in `steps` cuts that leave at least 3 runs per free coefficient each.

    The difference of a fit and a fit to part of its runs has the difference of their variances (Hausman 1978), where the
    full fit is the more efficient; a cut whose sandwich variance is no larger is left out of the judgement.
    Raises FitError where no cut leaves enough runs, and for batches and loaded fits.
    """
    import pandas as pd
    from scipy.special import stdtr

    problem, compute = _single(result)
    present = problem.weights[0] > 0
    p = len(result.coordinates.free)
    least = RUNS_LEFT * p
    levels = [v for v in _levels(compute[present])[:-1] if np.count_nonzero(present & (compute > v + 1e-9)) >= least]
    if not levels:
        raise FitError(
            f"no cut leaves {least} runs, {RUNS_LEFT} for each of {p} coefficients: there is no drift to see."
        )
    if len(levels) > steps:
        levels = [levels[i] for i in np.unique(np.linspace(0, len(levels) - 1, steps).round().astype(int))]
    keep = np.stack([present & (compute > v + 1e-9) for v in levels])
    u, variance, ok = _refit(result, problem, keep)
    u0, full = result.coordinates.to_working(result.theta), np.diagonal(result.covariance)
    gap = variance - full
    with np.errstate(all="ignore"):
        z = np.where(ok[:, None] & (gap > 0.05 * full), (u - u0) / np.sqrt(gap), np.nan)
    theta = np.where(ok[:, None], result.coordinates.to_theta(u)[0], np.nan)
    names = result.law.coef_names
    free = [names[i] for i in result.coordinates.free]
    table = pd.DataFrame(np.vstack([result.theta, theta]), columns=list(names))
    table.insert(0, "n_runs", [int(present.sum()), *keep.sum(1).tolist()])
    smallest = compute[present].min()
    table.insert(0, "dropped_to", [0.0, *np.exp(np.array(levels) - smallest).tolist()])
    for k, name in enumerate(free):
        table[f"z_{name}"] = [0.0, *z[:, k]]
    dof = np.maximum(keep.sum(1) - p, 1)
    with np.errstate(invalid="ignore"):  # the sandwich of few runs: Student's t, and as many chances as were looked at
        chance = 2 * stdtr(dof[:, None], -np.abs(z))
    chances = np.nanmin(np.where(np.isfinite(chance), chance, 1.0), axis=0) * max(int(np.isfinite(z).sum()), 1)
    drifting = [name for name, q in zip(free, chances, strict=True) if q < DRIFTED]
    return Drift(table, tuple(drifting))


def held_out_errors(result: FitResult) -> pd.DataFrame:
    """Errors of the same law and objective, fitted below a cut and asked about the runs above it.

    One row per cut and run above it: cut (ln of relative compute), row, decades (log10 of the run's compute over the
    cut), error (ln observed - ln predicted where the objective is on logs, else the difference). Every budget with at
    least coefficients + 2 runs up to it is a cut. Raises FitError where none is, and for batches and loaded fits.
    """
    import pandas as pd

    problem, compute = _single(result)
    present = problem.weights[0] > 0
    p = len(result.coordinates.free)
    levels = [v for v in _levels(compute[present])[:-1] if np.count_nonzero(present & (compute <= v + 1e-9)) >= p + 2]
    if not levels:
        raise FitError(f"no part of the runs below the largest has the {p + 2} runs that {p} coefficients need.")
    keep = np.stack([present & (compute <= v + 1e-9) for v in levels])
    u, _, ok = _refit(result, problem, keep)
    parts = []
    for level, used, row, good in zip(levels, keep, u, ok, strict=True):
        if not good:
            continue
        rows = np.flatnonzero(present & ~used)
        theta = result.coordinates.to_theta(row)[0]
        with np.errstate(all="ignore"):
            error = -result.objective.residuals(result.law.predict(problem.x, theta), problem.y)[0]
        parts.append(
            pd.DataFrame(
                {"cut": level, "row": rows, "decades": (compute[rows] - level) / np.log(10), "error": error[rows]}
            )
        )
    if not parts:
        raise FitError("no fit to the smaller runs converged: nothing can be said about extrapolation.")
    return pd.concat(parts, ignore_index=True)


def distance(result: FitResult, x: Mapping[str, Any] | pd.DataFrame) -> pd.DataFrame:
    """How far points lie beyond the runs, and how wrong the law was that far beyond smaller cuts of them.

    x : the law's inputs, as for `result.predict`. Returns decades (log10 of compute over the largest run's, 0 inside),
    error (root mean square of the held-out errors within 0.25 decades of that distance, from the largest cuts that have 5
    of them together, which are most like the fit itself; nan inside the runs, and where there are fewer), n (how many), tested (the largest distance that could be tested) and note.
    """
    import pandas as pd

    law = result.law
    if missing := [c for c in law.inputs if c not in x]:
        raise RunsError(f"distance with {law.name!r} needs {', '.join(law.inputs)}; missing: {', '.join(missing)}.")
    problem, compute = _single(result)
    at = {k: np.atleast_1d(np.asarray(x[k], dtype=float)) for k in law.inputs}
    at = dict(zip(at, np.broadcast_arrays(*at.values()), strict=True))
    largest = compute[problem.weights[0] > 0].max()
    decades = np.maximum((log_compute(at, np.zeros(len(next(iter(at.values()))))) - largest) / np.log(10), 0.0)
    try:
        known = held_out_errors(result)
        cut = known["cut"].to_numpy()
        far, error = known["decades"].to_numpy(), known["error"].to_numpy()
        tested = float(far.max())
    except FitError:
        cut, far, error, tested = np.empty(0), np.empty(0), np.empty(0), 0.0
    rows = []
    for d in decades.tolist():
        near = np.abs(far - d) <= WINDOW
        if near.sum() > FEWEST:
            near &= cut >= np.sort(cut[near])[-FEWEST]
        n = int(near.sum())
        if d <= 0:
            rows.append((d, np.nan, 0, tested, "inside the runs' compute"))
        elif n < FEWEST:
            rows.append((d, np.nan, n, tested, f"further than the runs can test ({tested:.1f} decades)"))
        else:
            size = float(np.sqrt(np.mean(error[near] ** 2)))
            rows.append((d, size, n, tested, f"{n} held-out runs this far beyond smaller cuts"))
    return pd.DataFrame(rows, columns=["decades", "error", "n", "tested", "note"])


def _single(result: FitResult) -> tuple[Problem, Array]:
    """Flat problem and ln compute (n,) of a single fit with its runs."""
    if result.shape or result.of is not None:
        raise FitError("take one fit: result.group(i), or result.of for a bootstrap.")
    if result.problem is None:
        raise FitError("this fit was loaded from a file: the runs are not in it, so no part of them can be refitted.")
    if not bool(result.converged):
        raise FitError(f"there is no estimate to follow: {result.message}")
    problem = Problem(
        {k: v.reshape(-1) for k, v in result.problem.x.items()}, result.problem.y.reshape(-1), result.problem.weights
    )
    return problem, log_compute(problem.x, problem.y)


def _levels(compute: Array, gap: float = 0.2) -> list[float]:
    """Largest ln compute of each group of runs, groups split where it jumps by more than `gap`; deciles if it never does."""
    values = np.sort(compute)
    ends = values[np.concatenate([np.diff(values) > gap, [True]])]
    if len(ends) < 3:
        ends = np.unique(np.quantile(values, np.linspace(0.1, 1.0, 10)))
    return [float(v) for v in ends]


def _refit(result: FitResult, problem: Problem, keep: Array) -> tuple[Array, Array, Array]:
    """Working coordinates (S, p), their sandwich variances (S, p) and proof of convergence (S,) for parts (S, n)."""
    coordinates = result.coordinates
    rows = Problem(problem.x, problem.y, np.where(keep, problem.weights, 0.0))
    u0 = np.tile(coordinates.to_working(result.theta), (len(keep), 1))
    delta = np.tile(np.reshape(result.delta, (1, -1)), (len(keep), 1))
    with np.errstate(all="ignore"):
        s = minimise_rows(coordinates, result.objective, rows, u0, delta)
        covariance, _ = sandwich(coordinates, result.objective, rows, s.u, delta, s.at_bound)
    ok = s.converged & np.isfinite(s.u).all(-1)
    return s.u, np.diagonal(covariance, axis1=1, axis2=2), ok
