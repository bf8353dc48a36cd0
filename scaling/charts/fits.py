"""A fit in pictures: data and law, best sizes of a plan."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
import pandas as pd

from scaling.allocation import allocate
from scaling.charts.axes import (
    INK,
    MOST_CURVES,
    MOST_MARKS,
    MUTED,
    OPTIMUM,
    POINTS,
    POWER,
    TITLES,
    VIRIDIS,
    decades_within,
    log_axis,
    log_scale,
    padded,
)
from scaling.compute import DENSE
from scaling.errors import FitError
from scaling.fitting.result import FitResult
from scaling.uncertainty.shared import cluster_budgets

if TYPE_CHECKING:
    from scaling.laws.law import Array, Law


def fit_chart(
    result: FitResult,
    level: float = 0.95,
    selection: alt.Parameter | None = None,
    marked: Collection[str] | None = None,
) -> alt.TopLevelMixin:
    """Runs and the fitted law.

    A law of N and D: loss against model size, one curve per compute budget, the best size of each. A law of one input: the
    runs, the curve and its band. Any other: predicted against observed. One fit only (of a group: result.group(i)).
    selection : a point selection over "run"; runs outside it fade. marked : names of runs to draw a ring around instead; the others fade.
    """
    point = result.point
    if point.shape:
        raise FitError("a chart draws one fit: take a group first, result.group(i).")
    if point.runs is None:
        raise FitError("this fit was loaded from a file: the runs are not in it, so there is nothing to draw.")
    table = point.run_table()
    unit = point.loss_unit
    subtitle = [f"{point.law.equation}; {int(point.n_runs)} runs; {_coefs(result, level)}"]
    if {"n_params", "n_tokens"} <= set(point.law.inputs) and point.law.target == "loss":
        subtitle[-1] += "."
        subtitle.append("Points: runs; curves: the law at one compute each; red: the best size of each")
        return _isoflop_curves(result, table, unit, subtitle, selection, marked)
    if len(point.law.inputs) == 1:
        return _one_input(result, table, level, unit, subtitle, selection, marked)
    return _predicted_observed(table, point.law, subtitle, selection, marked)


def residual_chart(
    result: FitResult, selection: alt.Parameter | None = None, marked: Collection[str] | None = None
) -> alt.TopLevelMixin:
    """Residual of each run on the log scale against compute, or the law's first input.

    selection : a point selection over "run"; runs outside it fade. marked : names of runs to draw a ring around instead; the others fade.
    The runs must be in the fit (FitError otherwise).
    """
    point = result.point
    if point.shape or point.runs is None:
        raise FitError("residuals are drawn of one fit that has its runs.")
    table = point.run_table()
    x = "flops" if "flops" in table else point.law.inputs[0]
    frame = table[["run", x, "residual"]].iloc[:MOST_MARKS].copy()
    frame["run"] = frame["run"].astype(str)
    values = frame[x].to_numpy(float)
    scale, axis = (
        (log_scale(values), log_axis(values, powers=x == "flops"))
        if values.min() > 0
        else (alt.Scale(zero=False), alt.Axis(grid=False))
    )
    x_axis = alt.X(f"{x}:Q", title=TITLES.get(x, x), scale=scale, axis=axis)
    up = alt.Scale(domain=padded(np.append(frame["residual"].to_numpy(float), 0.0)), nice=False)
    y_axis = alt.Y("residual:Q", title=f"log {point.law.target}: observed less fitted", scale=up)
    marks = alt.Chart(frame).mark_circle(size=70, color=INK).encode(
        x=x_axis, y=y_axis, opacity=_faded(selection, 1.0, marked), tooltip=["run", x, "residual"]
    )  # fmt: skip
    zero = alt.Chart(pd.DataFrame({"residual": [0.0]})).mark_rule(color=MUTED, strokeDash=[4, 4]).encode(y="residual:Q")
    chart = alt.layer(zero, marks, _rings(frame, marked, x_axis, y_axis)).properties(
        width=560, height=260,
        title=alt.Title(f"Half of the runs lie within {100 * float(np.nanmedian(np.abs(frame['residual']))):.2g}% of the law", subtitle=f"{len(table)} runs; {point.law.equation}", anchor="start", subtitleColor=MUTED),
    )  # fmt: skip
    return chart if selection is None else chart.add_params(selection)


def _faded(selection: alt.Parameter | None, full: float, marked: Collection[str] | None) -> Any:
    """Opacity of runs: faded outside of what is marked, or of what a click here chose."""
    if marked is not None:
        chosen = alt.FieldOneOfPredicate("run", sorted(marked))
        return alt.condition(chosen, alt.value(full), alt.value(0.25)) if marked else alt.value(full)
    return alt.value(full) if selection is None else alt.condition(selection, alt.value(full), alt.value(0.25))


def _rings(frame: pd.DataFrame, marked: Collection[str] | None, x: alt.X, y: alt.Y) -> alt.Chart:
    """Rings around the marked runs of a table with the column run; a click goes through them."""
    return (
        alt.Chart(frame[frame["run"].isin(list(marked or ()))])
        .mark_point(size=190, color=OPTIMUM, filled=False, strokeWidth=2.5, opacity=1, tooltip=None)
        .encode(x=x, y=y)
    )


def _names(table: pd.DataFrame) -> Array:
    """Name of each run as text; of a table without names, its row."""
    return (table["run"] if "run" in table else table.index.to_series()).astype(str).to_numpy()


def exponents_chart(result: FitResult) -> alt.TopLevelMixin:
    """Two exponents over the resamples, one point each, with the fit in red: how they move together.

    The exponents are the first two coefficients of the law named alpha, beta, ...; a fit without resamples raises FitError.
    """
    names = [n for n in result.law.coef_names if n in ("alpha", "beta", "gamma", "alpha_n", "alpha_d")][:2]
    if result.of is None or len(names) < 2 or result.point.shape:
        raise FitError("a cloud of exponents needs resamples of one fit of a law with two exponents.")
    i, j = (result.law.coef_names.index(n) for n in names)
    theta = result.theta[result.converged][:MOST_MARKS]
    cloud = pd.DataFrame({"x": theta[:, i], "y": theta[:, j]})
    if np.ptp(theta[:, [i, j]], axis=0).min() <= 1e-9:
        raise FitError("all resamples give the same exponents: there is no cloud to draw.")
    best = pd.DataFrame({"x": [result.point.theta[i]], "y": [result.point.theta[j]]})
    rho = float(np.corrcoef(cloud["x"], cloud["y"])[0, 1])
    middle = cloud.quantile([0.005, 0.995])
    x = alt.X("x:Q", title=names[0], scale=alt.Scale(zero=False, domain=list(middle["x"]), clamp=True))
    y = alt.Y("y:Q", title=names[1], scale=alt.Scale(zero=False, domain=list(middle["y"]), clamp=True))
    return alt.layer(
        alt.Chart(cloud).mark_circle(size=20, opacity=0.6, color=INK).encode(x=x, y=y),
        alt.Chart(best).mark_point(shape="diamond", filled=True, size=110, color=OPTIMUM).encode(x=x, y=y),
    ).properties(
        width=320, height=320,
        title=alt.Title(f"{names[0]} and {names[1]}: correlation {rho:.2f} over the resamples", subtitle=f"{len(cloud)} resamples", anchor="start", subtitleColor=MUTED),
    )  # fmt: skip


def _isoflop_curves(
    result: FitResult,
    table: pd.DataFrame,
    unit: str,
    subtitle: list[str],
    selection: alt.Parameter | None,
    marked: Collection[str] | None,
) -> alt.TopLevelMixin:
    point = result.point
    budgets = (
        table["flops"].to_numpy(float)
        if "flops" in table
        else DENSE.flops(table["n_params"].to_numpy(float), table["n_tokens"].to_numpy(float))
    )
    labels = cluster_budgets(budgets)
    if np.exp([np.ptp(np.log(budgets[labels == b])) for b in np.unique(labels)]).max() > 2:  # no ladder: half decades
        labels = np.round(2 * np.log10(budgets))
    values, counts = np.unique(labels, return_counts=True)
    drawn = values[counts >= 3] if (counts >= 3).any() else values
    drawn = drawn[np.unique(np.linspace(0, len(drawn) - 1, min(MOST_CURVES, len(drawn))).round().astype(int))]
    centres = np.array([np.exp(np.log(budgets[labels == b]).mean()) for b in drawn])
    others = {c: float(table[c].median()) for c in point.law.inputs if c not in ("n_params", "n_tokens")}
    curves = []
    for b, c in zip(drawn, centres, strict=True):
        sizes = table["n_params"].to_numpy(float)[labels == b]
        n = np.geomspace(sizes.min() / 1.3, sizes.max() * 1.3, POINTS)
        inputs = {"n_params": n, "n_tokens": c / (6 * n), **{k: np.full(POINTS, v) for k, v in others.items()}}
        curves.append(pd.DataFrame({"n_params": n, "loss": point.law.predict(inputs, point.theta), "budget": c}))
    curve = pd.concat(curves, ignore_index=True)
    runs = pd.DataFrame({
        "n_params": table["n_params"].to_numpy(float), "n_tokens": table["n_tokens"].to_numpy(float),
        "loss": table["loss"].to_numpy(float), "budget": budgets,
        "run": _names(table),
    }).iloc[:MOST_MARKS]  # fmt: skip
    best = allocate(point, np.sort(centres), inputs=others or None)
    optimum = pd.DataFrame(
        {"n_params": best.n_params, "loss": best.loss, "flops": best.flops, "tokens_per_param": best.tokens_per_param}
    )
    sizes = np.concatenate([runs["n_params"], curve["n_params"]])
    in_view = optimum[(optimum["n_params"] > sizes.min()) & (optimum["n_params"] < sizes.max())]
    losses = np.concatenate([runs["loss"], curve["loss"]])
    x = alt.X("n_params:Q", title=TITLES["n_params"], scale=log_scale(sizes), axis=log_axis(sizes))
    y = alt.Y("loss:Q", title=f"loss [{unit}]", scale=alt.Scale(domain=padded(losses), zero=False, nice=False))
    colour = alt.Color(
        "budget:Q", title="compute [FLOPs]",
        scale=alt.Scale(type="log", scheme=VIRIDIS, domain=[float(budgets.min()), float(budgets.max())]),
        legend=alt.Legend(labelExpr=POWER, values=decades_within(budgets), orient="bottom"),
    )  # fmt: skip
    chart = alt.layer(
        alt.Chart(curve).mark_line(strokeWidth=1.5).encode(x=x, y=y, color=colour, detail="budget:N"),
        alt.Chart(runs).mark_circle(size=45).encode(x=x, y=y, color=colour, opacity=_faded(selection, 0.9, marked), tooltip=["run", "n_params", "n_tokens", "budget", "loss"]),
        alt.Chart(in_view).mark_line(color=OPTIMUM, strokeDash=[6, 4]).encode(x=x, y=y),
        alt.Chart(in_view).mark_point(color=OPTIMUM, shape="diamond", filled=True, size=80).encode(x=x, y=y, tooltip=["flops", "n_params", "tokens_per_param", "loss"]),
        _rings(runs, marked, x, y),
    )  # fmt: skip
    chart = chart if selection is None else chart.add_params(selection)
    return chart.properties(
        width=560, height=360, title=alt.Title(_finding(result), subtitle=subtitle, anchor="start", subtitleColor=MUTED)
    )


def _finding(result: FitResult) -> str:
    law, point = result.law, result.point
    if "a" not in law.derived:
        return f"{law.title}: fitted"
    a = law.derived["a"]
    title = f"The best model size grows as C^{float(a(point.theta)):.2f}"
    if result.of is not None:
        low, high = np.quantile(a(result.theta[result.converged]), [0.025, 0.975])
        title += f" (95% interval {low:.2f} to {high:.2f})"
    return title


def _one_input(
    result: FitResult,
    table: pd.DataFrame,
    level: float,
    unit: str,
    subtitle: list[str],
    selection: alt.Parameter | None,
    marked: Collection[str] | None,
) -> alt.TopLevelMixin:
    law = result.law
    (column,) = law.inputs
    values = table[column].to_numpy(float)
    grid = (
        np.geomspace(values.min(), values.max() * 3, POINTS)
        if values.min() > 0
        else np.linspace(values.min(), values.max(), POINTS)
    )
    band = result.predict({column: grid}, level=level)
    assert isinstance(band, pd.DataFrame)
    band[column] = grid
    runs = pd.DataFrame({"run": _names(table), column: values, law.target: table[law.target].to_numpy(float)}).iloc[
        :MOST_MARKS
    ]
    x = alt.X(
        f"{column}:Q",
        title=TITLES.get(column, column),
        scale=log_scale(grid) if values.min() > 0 else alt.Scale(zero=False),
        axis=log_axis(grid, powers=column == "flops"),
    )
    y_title = f"{law.target} [{unit}]" if law.target == "loss" else law.target
    spread = np.concatenate([runs[law.target], band["predicted"]])
    scale = alt.Scale(domain=padded(spread), zero=False, nice=False, clamp=True)
    y = alt.Y(f"{law.target}:Q", scale=scale, title=y_title)
    base = alt.Chart(band).encode(x=x)
    chart = alt.layer(
        base.mark_area(color=INK, opacity=0.18).encode(y=alt.Y("low:Q", scale=scale, title=y_title), y2="high:Q"),
        base.mark_line(color=INK).encode(y=alt.Y("predicted:Q", scale=scale)),
        alt.Chart(runs)
        .mark_circle(color=MUTED, size=45)
        .encode(x=x, y=y, opacity=_faded(selection, 0.9, marked), tooltip=["run", column, law.target]),
        _rings(runs, marked, x, y),
    )
    chart = chart if selection is None else chart.add_params(selection)
    i = law.coef_names.index("alpha") if "alpha" in law.coef_names else None
    title = f"{law.title}: exponent {result.point.theta[i]:.3f}" if i is not None else law.title
    return chart.properties(
        width=560, height=360, title=alt.Title(title, subtitle=subtitle, anchor="start", subtitleColor=MUTED)
    )


def _predicted_observed(
    table: pd.DataFrame, law: Law, subtitle: list[str], selection: alt.Parameter | None, marked: Collection[str] | None
) -> alt.TopLevelMixin:
    frame = pd.DataFrame(
        {
            "run": _names(table),
            "predicted": table["predicted"].to_numpy(float),
            "observed": table[law.target].to_numpy(float),
        }
    ).iloc[:MOST_MARKS]
    ends = padded(frame[["predicted", "observed"]].to_numpy())
    scale = alt.Scale(domain=ends, zero=False, nice=False)
    x, y = alt.X("predicted:Q", scale=scale), alt.Y("observed:Q", scale=scale)
    equal = pd.DataFrame({"predicted": ends, "observed": ends})
    chart = alt.layer(
        alt.Chart(equal).mark_line(color="#888888", strokeDash=[4, 4]).encode(x=x, y=y),
        alt.Chart(frame)
        .mark_circle(color=INK, size=45)
        .encode(x=x, y=y, opacity=_faded(selection, 0.9, marked), tooltip=["run", "predicted", "observed"]),
        _rings(frame, marked, x, y),
    )
    chart = chart if selection is None else chart.add_params(selection)
    return chart.properties(
        width=400,
        height=400,
        title=alt.Title(
            f"{law.title}: predicted against observed {law.target}",
            subtitle=subtitle,
            anchor="start",
            subtitleColor=MUTED,
        ),
    )


def _coefs(result: FitResult, level: float) -> str:
    low, high = result.interval(level)
    parts = []
    for i, name in enumerate(result.law.coef_names):
        span = f" [{low[i]:.3g}, {high[i]:.3g}]" if np.isfinite([low[i], high[i]]).all() else ""
        parts.append(f"{name} = {result.point.theta[i]:.3g}{span}")
    return ", ".join(parts[-2:]) + f" ({level:.0%})"
