"""The page of a fit: the law, its coefficients with their intervals, and what to mind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scaling.fitting.result import FitResult


def page(result: FitResult) -> str:
    """One fit as lines of text; groups as a table of coefficients and one of statuses."""
    point = result.point
    if point.shape:
        table = result.coef_table()
        wide = table.pivot_table(
            index=list(point.groups.columns) if point.groups is not None else None,
            columns="coef",
            values="estimate",
            sort=False,
        )
        statuses = result.fit_table()[[*(point.groups.columns if point.groups is not None else []), "n_runs", "status"]]
        return f"{result.law.equation}\n{wide.to_string()}\n{statuses.to_string(index=False)}"
    low, high = result.interval(0.95)
    width = max(len(n) for n in result.law.coef_names)
    lines = [
        result.law.equation,
        f"{int(point.n_runs)} runs, objective {_objective_words(point)}",
    ]
    for i, c in enumerate(result.law.coefs):
        interval = "fixed" if c.name in result.fixed else f"[{_short(low[i])}, {_short(high[i])}]"
        lines.append(
            f"  {c.name:<{width}}  {_short(point.theta[i]):>10}  {interval:<24}  {c.meaning.replace('target unit', result.loss_unit)}"
        )
    for name, function in result.law.derived.items():
        span = ""
        if result.of is not None and result.converged.any():
            ends = np.quantile(function(result.theta[result.converged]), [0.025, 0.975])
            span = f"[{_short(ends[0])}, {_short(ends[1])}]"
        lines.append(
            f"  {name:<{width}}  {_short(float(function(point.theta))):>10}  {span:<24}  follows from the others".rstrip()
        )
    kind = f"{result.shape[0]} resamples" if result.of is not None else "HC3 sandwich, Student t"
    lines.append(f"95 % intervals: {kind}")
    lines.append(f"{str(point.status).replace('_', ' ')}: {point.message}")
    lines += [f"warning ({w.code}): {w.message}" for w in point.warnings]
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else "open"


def _objective_words(point: FitResult) -> str:
    objective, bend = point.objective, float(np.ravel(point.delta)[0])
    log = objective.of == "log"
    words = f"{objective.name} on {'log ' if log else ''}residuals"
    if not objective.redescends:
        return words + (f", delta {bend:.3g}" if np.isfinite(bend) else "")
    noise = float(np.median(point.delta)) / objective.scales
    size = f"{noise:.2%}" if log else f"{noise:.3g}"
    decade = float(10.0 ** float(np.ravel(point.summary.get("noise_slope", 0.0))[0]))
    trend = "" if abs(decade - 1) < 0.005 else f" at the middle run, {decade:.2g} times that per decade of compute"
    return f"{words}: far runs have no influence, noise {size}{trend}"
