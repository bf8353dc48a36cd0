"""fit: from a table of runs to coefficients, one fit or a batch of groups, through one code path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import FitError, RunsError
from scaling.fitting.covariance import sandwich
from scaling.fitting.diagnose import (
    ILL_CONDITIONED,
    deciding_run,
    design_warnings,
    lack_of_fit,
    noise_sizes,
    null_direction,
    one_step,
    outlier_warning,
    run_names,
    weak_direction,
)
from scaling.fitting.noise import log_compute, noise_model
from scaling.fitting.objective import Huber, Objective, get_objective
from scaling.fitting.problem import Problem
from scaling.fitting.result import PER_ROW, FitResult, FitStatus, FitWarning, domain_of
from scaling.fitting.scale import Coordinates
from scaling.fitting.solver import LOOSE_TOLERANCE, Solution, _second_order, evaluate, solve
from scaling.fitting.starts import StatesStarts, search
from scaling.laws.law import Array, Law

if TYPE_CHECKING:
    import pandas as pd

AGREEMENT = 1e-6  # relative difference of objectives that counts as the same optimum
EXACT = 1e-20  # objective of runs that lie on the law to rounding
SETTLE_ROUNDS = 50  # re-estimates of each run's noise for the robust objective; half as many are usual
SETTLED = (
    1e-12  # relative change of the noise that ends them: looser, and the order of the rows shows in the ninth digit
)
SCALE_ROUNDS = 3  # re-estimates of the residual scale for objectives that take it from the data


def fit(
    law: Law | str,
    runs: pd.DataFrame | Mapping[str, Any],
    objective: Objective | str = "robust",
    *,
    by: str | Sequence[str] = (),
    fixed: Mapping[str, float] | None = None,
    weights: Array | str | None = None,
    start: Mapping[str, float] | None = None,
) -> FitResult:
    """Estimate the coefficients of a law from logged runs.

    Parameters
    ----------
    law : a Law, or the name of a registered one.
    runs : table (or mapping of columns) with the law's inputs and its target, one row per observation.
    objective : an Objective or one of robust (default: bounded influence, each run in units of its own noise), hoffmann (Huber 1e-3
        on log loss, as in the literature), huber, squared, squared-log, absolute, asymmetric.
    by : column(s) that separate groups; every group is fitted, and the result has a leading axis of groups.
    fixed : coefficients held at a value.
    weights : (n,) positive weights of the runs, or the name of a column.
    start : coefficients to start from instead of the global search.

    Returns a FitResult: shape () or (groups,). A group that cannot be fitted is a row with a status and a sentence.
    Raises RunsError for missing columns or unusable values, FitError when a single fit has too few runs.
    """
    import pandas as pd

    law = _law(law)
    objective = get_objective(objective)
    coordinates = Coordinates(law, {k: float(v) for k, v in (fixed or {}).items()})
    table = runs if isinstance(runs, pd.DataFrame) else pd.DataFrame({k: np.asarray(v) for k, v in runs.items()})
    read = table.attrs.get("read", {})
    table = table.reset_index(drop=True)
    columns = [by] if isinstance(by, str) else list(by)
    _check_table(law, objective, table, columns)
    point_weights = _weights(table, weights)

    if columns:
        grouped = table.groupby(columns, sort=True, dropna=False)
        rows = [np.asarray(v) for v in grouped.indices.values()]
        keys = list(grouped.indices.keys())
        rows = [np.sort(r) for r in rows]
        groups = pd.DataFrame([k if isinstance(k, tuple) else (k,) for k in keys], columns=columns)
    else:
        rows, groups = [np.arange(len(table))], None

    n_free = len(coordinates.free)
    counts = np.array([np.count_nonzero(point_weights[r]) for r in rows])
    enough = counts >= n_free + (2 if start is None else 0)
    if groups is None and not enough[0]:
        raise FitError(
            f"{counts[0]} runs are too few for the {n_free} free coefficients of {law.name!r}: at least {n_free + 2} are needed, "
            "and 25 or more for useful intervals. Add runs, fix a coefficient, or choose a law with fewer coefficients."
        )
    problem = _stack(law, table, rows, point_weights)
    usable = np.flatnonzero(enough)
    # a redescending objective has many local optima: the search is for the Huber optimum, and it starts there
    searched = Huber(of=objective.of) if objective.redescends else objective
    solution, delta, tried, agreeing = _minimise(coordinates, searched, problem.take(usable), start)
    slope = np.zeros(len(usable))
    if objective.redescends and len(usable):
        solution, delta, spread, slope = _settle(coordinates, objective, problem.take(usable), solution)
        all_weights = problem.weights.copy()
        all_weights[usable] /= spread**2
        problem = replace(problem, weights=all_weights)

    n_groups = len(rows)
    u = np.full((n_groups, n_free), np.nan)
    u[usable] = solution.u
    theta = np.full((n_groups, len(law.coefs)), np.nan)
    good = np.isfinite(u).all(-1)
    theta[good] = coordinates.to_theta(u[good])[0]
    covariance = np.full((n_groups, n_free, n_free), np.nan)
    condition = np.full(n_groups, np.nan)
    full_delta = np.full((n_groups, delta.shape[-1]), np.nan)
    full_delta[usable] = delta
    at_bound = np.zeros((n_groups, n_free), bool)
    at_bound[usable] = solution.at_bound
    if good.any():
        g = np.flatnonzero(good)
        with np.errstate(all="ignore"):
            covariance[g], condition[g] = sandwich(
                coordinates, objective, problem.take(g), u[g], full_delta[g], at_bound[g]
            )

    def over_groups(values: Array, fill: Any, dtype: Any) -> Array:
        out = np.full(n_groups, fill, dtype=dtype)
        out[usable] = values
        return out

    gradient = over_groups(solution.gradient, np.inf, float)
    converged = over_groups(solution.converged, False, bool)
    agree = over_groups(agreeing, 0, int)
    status = np.empty(n_groups, dtype=object)
    message = np.empty(n_groups, dtype=object)
    warnings: list[tuple[FitWarning, ...]] = []
    summary = {k: np.full(n_groups, np.nan) for k in ("rmse_log", "r2", "aic", "bic", "noise")}
    for i in range(n_groups):
        part = {k: table[k].to_numpy(float)[rows[i]] for k in law.inputs}
        if not enough[i]:
            status[i] = FitStatus.TOO_FEW_RUNS
            message[i] = (
                f"{counts[i]} runs are too few for {n_free} free coefficients; at least {n_free + 2} are needed."
            )
            warnings.append(())
            continue
        y = table[law.target].to_numpy(float)[rows[i]]
        status[i], message[i], found = _judge(
            coordinates, objective, part, y, problem.take(np.array([i])), u[i], full_delta[i], at_bound[i],
            bool(converged[i]), float(gradient[i]), float(condition[i]), int(agree[i]), start is None, covariance[i],
            run_names(table.iloc[rows[i]], len(rows[i])),
        )  # fmt: skip
        warnings.append(tuple(found))
        if good[i]:
            for k, v in _quality(law, objective, part, y, theta[i], n_free).items():
                summary[k][i] = v
    value = over_groups(solution.value, np.nan, float)
    if objective.redescends:
        summary["noise_slope"] = over_groups(slope, np.nan, float)
    provenance = {
        "files": [dict(f) for f in read.get("files", [])],
        "n_rows_dropped": int(sum(d.get("count", 0) for d in read.get("dropped", []))),
        "version": _version(),
        "loss_unit": str(read.get("loss_unit", "nats/token")),
    }
    result = FitResult(
        law=law, objective=objective, theta=theta, objective_value=value, status=status, message=message, gradient=gradient,
        iterations=over_groups(solution.iterations, 0, int), starts_tried=tried, starts_agreeing=agree, condition=condition,
        covariance=covariance, delta=full_delta, domain=domain_of(table, law), n_runs=counts, fixed=dict(coordinates.fixed),
        warnings=tuple(warnings), problem=problem, runs=table, rows_of_group=tuple(rows), groups=groups,
        provenance=provenance, summary=summary,
    )  # fmt: skip
    if groups is not None:
        return result
    return _squeeze(result)


def _settle(
    coordinates: Coordinates, objective: Objective, problem: Problem, solution: Solution
) -> tuple[Solution, Array, Array, Array]:
    """From a Huber fit to the robust one: noise from the residuals, fit, and again until the noise stands still.

    Returns the solution, delta (B, n), each run's relative noise (B, n) and the trend of ln noise in ln compute (B,).
    """
    n_free = len(coordinates.free)
    covariate = log_compute(problem.x, problem.y)
    u, before = solution.u, np.full(problem.n_rows, np.nan)
    for _ in range(SETTLE_ROUNDS):
        residual, _ = evaluate(coordinates, objective, problem, u)
        sigma, spread, slope = noise_model(np.nan_to_num(residual), problem.weights, covariate, n_free)
        weighted = replace(problem, weights=problem.weights / spread**2)
        delta = objective.scales * sigma[:, None] * spread
        solution = minimise_rows(coordinates, objective, weighted, u, delta)
        _polish(coordinates, objective, weighted, solution, delta)
        u = np.where(np.isfinite(solution.u), solution.u, u)
        if (np.abs(sigma - before) <= SETTLED * sigma).all():
            break
        before = sigma
    return solution, delta, spread, slope


def _polish(coordinates: Coordinates, objective: Objective, problem: Problem, solution: Solution, delta: Array) -> None:
    """One Newton step on rows that converged, kept where it lowers the gradient.

    A solve that starts next to its optimum ends at the first gradient below tolerance; the noise re-estimated from
    there would inherit where it started from.
    """
    rows = np.flatnonzero(solution.converged & ~solution.at_bound.any(-1))
    if not len(rows):
        return
    part, bend, u = problem.take(rows), delta[rows], solution.u[rows]

    def slope(at: Array) -> tuple[Array, Array, Array, Array]:
        residual, jac = evaluate(coordinates, objective, part, at)
        psi = part.weights * objective.psi(residual, bend)
        return residual, jac, psi, np.matmul(jac, psi[..., None])[..., 0]

    with np.errstate(all="ignore"):
        residual, jac, psi, gradient = slope(u)
        curved = part.weights * objective.curvature(residual, bend)
        hessian = np.matmul(jac * curved[:, None], jac.swapaxes(1, 2))
        hessian += _second_order(coordinates, objective, part, u, psi, gradient)
        root = 1 / np.sqrt(np.maximum(np.abs(np.diagonal(hessian, axis1=1, axis2=2)), 1e-300))
        scaled = np.nan_to_num(hessian * root[:, :, None] * root[:, None, :])
        step = root * np.matmul(np.linalg.pinv(scaled, rcond=1e-13), (root * gradient)[..., None])[..., 0]
        new = u - step
        after = slope(new)[-1]
        better = np.isfinite(new).all(-1) & (np.abs(root * after).max(-1) < np.abs(root * gradient).max(-1))
        better &= np.abs(step).max(-1) < 1e-3  # a polish, not a search
    solution.u[rows[better]] = new[better]


def minimise_rows(
    coordinates: Coordinates,
    objective: Objective,
    problem: Problem,
    u0: Array,
    delta: Array,
    near: Array | None = None,
) -> Solution:
    """Solve every row from its start, with scipy as the last resort for the few that the batched solver leaves.

    near : (B,) bool, rows that start next to their optima (see `solve`).
    """
    solution = solve(coordinates, objective, problem, u0, delta, near=near)
    for row in np.flatnonzero(~solution.converged):
        _last_resort(
            coordinates, objective, problem.take(np.array([row])), delta[row : row + 1], solution, int(row), u0[row]
        )
    return solution


def _minimise(
    coordinates: Coordinates, objective: Objective, problem: Problem, start: Mapping[str, float] | None
) -> tuple[Solution, Array, int, Array]:
    """Global search, polish of the best starts, choice: a solution per row, its delta, starts tried and agreeing."""
    law, n_rows = coordinates.law, problem.n_rows
    n_free = len(coordinates.free)
    if start is not None:
        if missing := [c for c in law.coef_names if c not in start and c not in coordinates.fixed]:
            raise FitError(f"start leaves out {', '.join(missing)}: give a value for each coefficient of {law.name!r}.")
        theta = np.array([coordinates.fixed.get(c, start.get(c, np.nan)) for c in law.coef_names], dtype=float)
        with np.errstate(all="ignore"):
            u_start = coordinates.to_working(theta)
        if not np.isfinite(u_start).all():
            raise FitError(f"start values must lie inside the coefficients' bounds: {dict(start)}.")
        first, owner, tried = np.tile(u_start, (n_rows, 1)), np.arange(n_rows), 1
    else:
        blocks, owners, tried = [], [], 0
        for row in range(n_rows):
            found, tried = search(coordinates, objective, problem.take(np.array([row])))
            blocks.append(found)
            owners.append(np.full(len(found), row))
        first = np.concatenate(blocks) if blocks else np.empty((0, n_free))
        owner = np.concatenate(owners).astype(int) if owners else np.empty(0, int)
    many = problem.take(owner)
    if objective.delta is not None:
        delta = np.full((len(owner), 1), objective.delta)
        polished = solve(coordinates, objective, many, first, delta)
    else:
        residual, _ = evaluate(coordinates, objective, many, first)
        delta = objective.delta_for(np.nan_to_num(residual, nan=1.0), many.weights)
        for _ in range(SCALE_ROUNDS):
            polished = solve(coordinates, objective, many, first, delta)
            residual, _ = evaluate(coordinates, objective, many, polished.u)
            delta = objective.delta_for(np.nan_to_num(residual, nan=1.0), many.weights)
            first = polished.u
        # the scale differs between starts: judge and finish them all with that of the best one in each row
        delta = _best_delta(delta, owner, n_rows)
        polished = solve(coordinates, objective, many, np.where(np.isfinite(first), first, 0.0), delta)

    out = Solution.empty(n_rows, n_free)
    chosen_delta = np.full((n_rows, 1), np.nan)
    agreeing = np.zeros(n_rows, int)
    for row in range(n_rows):
        mine = np.flatnonzero((owner == row) & np.isfinite(polished.value))
        if not len(mine):
            continue
        best_value = polished.value[mine].min()
        same = mine[polished.value[mine] <= best_value + AGREEMENT * abs(best_value) + EXACT]
        proven = same[polished.converged[same]]
        best = (proven if len(proven) else same)[0]
        best = best if len(proven) else mine[polished.value[mine].argmin()]
        agreeing[row] = max(len(same), 1)
        chosen_delta[row] = delta[best]
        for name in ("u", "value", "gradient", "iterations", "converged", "at_bound"):
            getattr(out, name)[row] = getattr(polished, name)[best]
        # where the best of the starts that a law states found no optimum, a valley has no end: scipy crawls along it no faster
        endless = start is None and isinstance(law, StatesStarts)
        if not out.converged[row] and not endless:
            _last_resort(
                coordinates,
                objective,
                problem.take(np.array([row])),
                chosen_delta[row : row + 1],
                out,
                row,
                first[best],
            )
    return out, chosen_delta, tried, agreeing


def _best_delta(delta: Array, owner: Array, n_rows: int) -> Array:
    out = delta.copy()
    for row in range(n_rows):
        mine = owner == row
        if mine.any():
            out[mine] = delta[mine].min()
    return out


def _last_resort(
    coordinates: Coordinates,
    objective: Objective,
    problem: Problem,
    delta: Array,
    solution: Solution,
    row: int,
    u0: Array,
) -> None:
    """scipy's trust-region least squares on one row, then the batched finish from there; kept only where it is better."""
    from scipy.optimize import least_squares

    bend = delta[0]

    def residuals(u: Array) -> Array:
        r = evaluate(coordinates, objective, problem, u[None])[0][0]
        loss = objective.loss(r, bend) * problem.weights[0]
        return np.nan_to_num(np.sign(r) * np.sqrt(2 * loss), nan=1e150, posinf=1e150, neginf=-1e150)

    def jacobian(u: Array) -> Array:
        r, jac = (a[0] for a in evaluate(coordinates, objective, problem, u[None]))
        root = residuals(u)
        psi = objective.psi(r, bend) * problem.weights[0]
        with np.errstate(all="ignore"):
            outer = np.where(np.abs(root) > 0, psi / root, np.sqrt(problem.weights[0]))
        return np.nan_to_num(outer[:, None] * jac.T)

    for begin in (u0, solution.u[row]):
        if not np.isfinite(begin).all():
            continue
        try:
            with np.errstate(all="ignore"):  # trial points may overflow; they are turned into huge residuals
                found = least_squares(
                    residuals, begin, jac=jacobian, x_scale="jac", xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=2000
                )
        except (ValueError, np.linalg.LinAlgError):
            continue
        again = solve(coordinates, objective, problem, found.x[None], delta)
        better = again.value[0] < solution.value[row] * (1 + 1e-12) or not np.isfinite(solution.value[row])
        if better or (again.converged[0] and again.value[0] <= solution.value[row] * (1 + 1e-9)):
            for name in ("u", "value", "gradient", "iterations", "converged", "at_bound"):
                getattr(solution, name)[row] = getattr(again, name)[0]
        if solution.converged[row]:
            return


def _judge(
    coordinates: Coordinates, objective: Objective, x: Mapping[str, Array], y: Array, problem: Problem, u: Array, delta: Array,
    at_bound: Array, converged: bool, gradient: float, condition: float, agreeing: int, searched: bool, covariance: Array,
    names: Array,
) -> tuple[FitStatus, str, list[FitWarning]]:  # fmt: skip
    """Status, sentence and warnings of one fit."""
    law = coordinates.law
    if not np.isfinite(u).all():
        return (
            FitStatus.NOT_FINITE,
            "the objective is not finite anywhere in the searched range: check the units of the inputs.",
            [],
        )
    n_free, n = len(coordinates.free), int(problem.n_used[0])
    found = design_warnings(law, x) if n_free > 1 else []
    if n < 5 * n_free:
        found.append(
            FitWarning("few_runs", f"{n} runs for {n_free} coefficients: intervals are wide and depend on single runs.")
        )
    residual, jac = evaluate(coordinates, objective, problem, u[None])
    used = problem.weights[0] > 0
    r, weights, slopes = residual[0][used], problem.weights[0][used], jac[0][:, used]
    if (test := lack_of_fit(law, {k: v[used[: len(v)]] for k, v in x.items()}, r, slopes, weights)) is not None:
        found.append(test)
    if searched and agreeing < 2:
        found.append(
            FitWarning("single_start", "only one of the polished starts reached this optimum: another may exist.")
        )
    if not converged:
        found.append(
            FitWarning("not_converged", f"the scaled gradient is {gradient:.1e}, not below {LOOSE_TOLERANCE:.0e}.")
        )
        return (
            FitStatus.MAX_ITERATIONS,
            f"stopped before the gradient vanished ({gradient:.1e}); do not use the coefficients.",
            found,
        )
    if (far := outlier_warning(
        noise_sizes(r, weights, n_free), r, objective.of == "log", names[used[: len(names)]], objective.redescends
    )) is not None:  # fmt: skip
        found.append(far)
    blocking = [w for w in found if w.code.startswith("undetermined")]
    if blocking:
        return FitStatus.UNDETERMINED, blocking[0].message, found
    if at_bound.any():
        gone = [law.coefs[i].name for i, b in zip(coordinates.free, at_bound, strict=True) if b]
        text = f"{' and '.join(gone)} went to the bound: the runs show no such term. Fit the law without it; no two-sided interval."
        found.append(FitWarning("at_bound", text))
        return FitStatus.AT_BOUND, text, found
    if not condition < ILL_CONDITIONED:
        text = f"{null_direction(coordinates, jac[0])} without the runs noticing (condition number {condition:.0e})."
        found.append(FitWarning("undetermined_ill_conditioned", text))
        return FitStatus.UNDETERMINED, text, found
    if np.isfinite(covariance).all():
        if (weak := weak_direction(coordinates, slopes * np.sqrt(weights), covariance)) is not None:
            found.append(weak)
        bend = delta if np.size(delta) == 1 else delta[used]
        hessian = (slopes * (weights * objective.majoriser(r, bend))) @ slopes.T
        moved = one_step(slopes, objective.psi(r, bend), weights, hessian)
        if (one := deciding_run(moved, covariance, names[used[: len(names)]], coordinates)) is not None:
            found.append(one)
    words = f"gradient {gradient:.0e}" + (f", {agreeing} of the polished starts agree" if searched else "")
    return FitStatus.CONVERGED, words, found


def _quality(
    law: Law, objective: Objective, x: Mapping[str, Array], y: Array, theta: Array, n_free: int
) -> dict[str, float]:
    """Figures of merit of one fit. aic and bic are Gaussian on the objective's residuals, scale estimated and counted."""
    with np.errstate(all="ignore"):
        predicted = law.predict(dict(x), theta)
        residual, _ = objective.residuals(predicted, y)
        n, k = len(y), n_free + 1
        squares = float((residual**2).sum())
        total = float(((y - y.mean()) ** 2).sum())
        likelihood = -0.5 * n * (np.log(2 * np.pi * max(squares, 1e-300) / n) + 1)
        if objective.of == "log":
            likelihood -= float(np.log(y).sum())  # Jacobian: comparable across objectives
        ratio = predicted / y
        rmse_log = float(np.sqrt(np.mean(np.log(ratio) ** 2))) if (ratio > 0).all() else np.nan
    return {
        "rmse_log": rmse_log,
        "r2": 1 - float(((y - predicted) ** 2).sum()) / total if total > 0 else np.nan,
        "aic": 2 * k - 2 * likelihood,
        "bic": k * np.log(n) - 2 * likelihood,
        "noise": float(np.sqrt(squares / max(n - n_free, 1))),
    }


def _check_table(law: Law, objective: Objective, table: pd.DataFrame, by: list[str]) -> None:
    import pandas as pd

    needed = [*law.inputs, law.target, *by]
    if missing := [c for c in needed if c not in table]:
        raise RunsError(
            f"law {law.name!r} needs the column{'s' if len(missing) > 1 else ''} {', '.join(map(repr, missing))}; the runs have "
            f"{', '.join(map(repr, table.columns[:20]))}. Map a column, for example columns={{'{missing[0]}': 'its name in the file'}}."
        )
    if not len(table):
        raise RunsError("there are no runs to fit: the table is empty.")
    for name in [*law.inputs, law.target]:
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise RunsError(
                f"column {name!r} is not numeric (dtype {table[name].dtype}): read the runs with read_runs, or convert it."
            )
        values = table[name].to_numpy(float)
        bad = ~np.isfinite(values)
        if name == law.target and objective.of == "log":
            bad |= values <= 0
        if bad.any():
            rows = np.flatnonzero(bad)[:5]
            listed = ", ".join(f"{r} ({values[r]:g})" for r in rows)
            raise RunsError(
                f"column {name!r} has {int(bad.sum())} values that cannot be fitted{' on a log scale' if objective.of == 'log' else ''}: "
                f"rows {listed}{', ...' if bad.sum() > 5 else ''}. Drop these rows first; read_runs does so and says why."
            )


def _weights(table: pd.DataFrame, weights: Array | str | None) -> Array:
    if weights is None:
        return np.ones(len(table))
    if isinstance(weights, str):
        if weights not in table:
            raise RunsError(f"there is no column {weights!r} to take weights from.")
        weights = table[weights].to_numpy(float)
    out = np.asarray(weights, dtype=float)
    if out.shape != (len(table),) or not np.isfinite(out).all() or (out < 0).any() or not (out > 0).any():
        raise FitError(f"weights must be {len(table)} finite numbers, none negative and not all zero.")
    return out


def _stack(law: Law, table: pd.DataFrame, rows: list[Array], weights: Array) -> Problem:
    """Groups side by side, padded to the longest with points of weight zero."""
    columns = {k: table[k].to_numpy(float) for k in law.inputs}
    y = table[law.target].to_numpy(float)
    if len(rows) == 1:
        r = rows[0]
        return Problem({k: v[r] for k, v in columns.items()}, y[r], weights[r][None])
    longest = max(len(r) for r in rows)
    index = np.stack([np.concatenate([r, np.full(longest - len(r), r[0])]) for r in rows])
    present = np.stack([np.arange(longest) < len(r) for r in rows])
    return Problem({k: v[index] for k, v in columns.items()}, y[index], np.where(present, weights[index], 0.0))


def _squeeze(result: FitResult) -> FitResult:
    """The only row of a batch of one, without the leading axis."""
    return replace(
        result,
        **{name: getattr(result, name)[0] for name in PER_ROW},
        warnings=result.warnings[0],
        rows_of_group=None,
        summary={k: float(v[0]) for k, v in result.summary.items()},
    )


def _law(law: Law | str) -> Law:
    if isinstance(law, Law):
        return law
    from scaling.laws import get

    return get(law)


def _version() -> str:
    import scaling

    return scaling.__version__
