"""Double descent, emergence and grokking in pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
import pandas as pd

from scaling.charts.axes import INK, MUTED, OPTIMUM, POINTS, TITLES, ends_of, headline, log_axis, log_scale
from scaling.errors import ScalingError

OUTCOMES = {"grokked": "#4c78a8", "prompt": "#d55e00", "memorised only": "#7f7f7f"}  # of a run that memorised

if TYPE_CHECKING:
    from scaling.curves.double_descent import DoubleDescent
    from scaling.curves.emergence import Emergence
    from scaling.curves.grokking import Grokking


def descent_chart(result: DoubleDescent) -> alt.TopLevelMixin:
    """Test error along the axis, the fitted curve, the peak, and the interpolation threshold where it is known."""
    points = result.points.rename(columns={result.axis: "x", result.value: "y"})
    columns = {"axis": "x", "value": "y"}
    points = points.rename(columns={k: v for k, v in columns.items() if k in points})
    grid = np.geomspace(points["x"].min(), points["x"].max(), POINTS)
    drawn = "double_descent" in result.theta  # too few points leave the curve out
    curve = pd.DataFrame({"x": grid, "y": result.expected(grid)}) if drawn else pd.DataFrame({"x": [], "y": []})
    x = alt.X("x:Q", title=result.axis, scale=log_scale(grid), axis=log_axis(grid))
    spread = points[["y", "low", "high"]].to_numpy()
    scale = log_scale(spread)
    y = alt.Y("y:Q", title=result.value, scale=scale, axis=log_axis(spread))
    layers = []
    if result.found and result.peak_range[1] > result.peak_range[0]:  # where noise may hide the highest point
        near = pd.DataFrame([result.peak_range], columns=["low", "high"])
        layers.append(
            alt.Chart(near)
            .mark_rect(color=OPTIMUM, opacity=0.12)
            .encode(x=alt.X("low:Q", title=result.axis, scale=log_scale(grid), axis=log_axis(grid)), x2="high:Q")
        )
    layers += [
        alt.Chart(points)
        .mark_rule(color=MUTED)
        .encode(x=x, y=alt.Y("low:Q", scale=scale, title=result.value, axis=log_axis(spread)), y2="high:Q"),
        alt.Chart(points).mark_circle(color=MUTED, size=45, opacity=1).encode(x=x, y=y),
        alt.Chart(curve).mark_line(color=INK, clip=True).encode(x=x, y=y),
    ]
    marks = [(result.peak_at, "peak")] if result.found else []
    if np.isfinite(result.threshold):
        marks.append((result.threshold, "training set fitted"))
    if marks:
        frame = pd.DataFrame(marks, columns=["x", "what"])
        layers.append(alt.Chart(frame).mark_rule(color=OPTIMUM, strokeDash=[4, 4]).encode(x=x))
        layers.append(alt.Chart(frame).mark_text(align="left", dx=4, y=10, color=OPTIMUM).encode(x=x, text="what"))
    return alt.layer(*layers).properties(
        width=560,
        height=340,
        title=headline(
            result.finding,
            f"{len(points)} points; bars are intervals at {result.level:.0%}; red: the peak, shaded where noise may hide it",
        ),
    )


def emergence_chart(result: Emergence) -> alt.TopLevelMixin:
    """Scores with binomial intervals against scale, the best curve, and the band that the scores allow."""
    points = result.points.rename(columns={result.x: "x", result.score: "y"})
    values = points["x"].to_numpy(float)
    grid = (
        np.geomspace(values.min(), values.max(), POINTS)
        if result.log_x
        else np.linspace(values.min(), values.max(), POINTS)
    )
    curve = pd.DataFrame({"x": grid, "y": result.expected(grid)})
    scale_x = log_scale(values) if result.log_x else alt.Scale(zero=False)
    axis_x = log_axis(values, powers=result.x == "flops") if result.log_x else alt.Axis(grid=False)
    x = alt.X("x:Q", title=TITLES.get(result.x, result.x), scale=scale_x, axis=axis_x)
    y = alt.Y("y:Q", title=f"{result.score} (share of items)", scale=alt.Scale(domain=[0, 1]))
    layers = [
        alt.Chart(points).mark_rule(color=MUTED).encode(x=x, y=alt.Y("low:Q", title=""), y2="high:Q"),
        alt.Chart(points).mark_circle(color=MUTED, size=45, opacity=1).encode(x=x, y=y),
        alt.Chart(curve).mark_line(color=INK).encode(x=x, y=y),
    ]
    chance = float(result.theta[result.best][2])
    if chance > 0:
        level = pd.DataFrame({"x": [values.min()], "y": [chance], "what": ["chance"]})
        layers += [
            alt.Chart(level).mark_rule(color=OPTIMUM, strokeDash=[4, 4]).encode(y=y),
            alt.Chart(level).mark_text(align="left", dy=-7, color=OPTIMUM).encode(x=x, y=y, text="what"),
        ]
    chart = alt.layer(*layers)
    return chart.properties(
        width=560,
        height=340,
        title=headline(result.finding, f"{len(points)} scores; bars are intervals at {result.level:.0%}"),
    )


def grokking_chart(result: Grokking) -> alt.TopLevelMixin:
    """Step of generalisation against step of memorisation, run by run; triangles had not generalised when the run ended."""
    runs = result.runs[result.runs["memorised"].notna()].copy()
    if runs.empty:
        raise ScalingError("no run memorised its training set, so there is no delay to draw.")
    runs["ended"] = np.where(runs["generalised"].isna(), "not by the run's end", "yes")
    runs["y"] = runs["generalised"].fillna(runs["last_step"])
    runs["memorised"] = runs["memorised"].clip(lower=1)
    spread = np.concatenate([runs["memorised"], runs["y"]])
    scale, axis = log_scale(spread), log_axis(spread)
    ends = list(ends_of(spread))
    x = alt.X("memorised:Q", title="step of memorisation", scale=scale, axis=axis)
    y = alt.Y("y:Q", title="step of generalisation", scale=scale, axis=axis)
    diagonal = pd.DataFrame({"memorised": ends, "y": ends})
    chart = alt.layer(
        alt.Chart(diagonal).mark_line(color="#888888", strokeDash=[4, 4]).encode(x=x, y=y),
        alt.Chart(runs[["memorised", "y", "ended", "status"]]).mark_point(filled=True, size=70, opacity=1).encode(
            x=x, y=y, color=alt.Color("status:N", title="outcome", scale=alt.Scale(domain=[s for s in OUTCOMES if (runs["status"] == s).any()], range=[c for s, c in OUTCOMES.items() if (runs["status"] == s).any()])),
            shape=alt.Shape("ended:N", title="generalised", scale=alt.Scale(domain=["yes", "not by the run's end"], range=["circle", "triangle-up"]), legend=alt.Legend(symbolFillColor=MUTED, symbolStrokeColor=MUTED)),
        ),
    )  # fmt: skip
    return chart.properties(
        width=420,
        height=420,
        title=headline(result.finding, f"{len(runs)} runs; on the dashed line both come together"),
    )


def drift_chart(table: pd.DataFrame, coef: str) -> alt.TopLevelMixin:
    """One coefficient over the refits that saw it, with its interval: rows of `refitting.drift` (first, last, estimate, low, high)."""
    if table.empty:
        raise ScalingError("no refit has this coefficient, so there is nothing to draw.")
    frame = table[["first", "made", "estimate", "low", "high"]]
    ticks = sorted({int(v) for v in frame["first"]})
    x = alt.X("first:Q", title="refit", axis=alt.Axis(values=ticks[:: max(1, len(ticks) // 12)], format="d", grid=False), scale=alt.Scale(domain=[ticks[0] - 0.5, max(ticks[-1], int(table["last"].max())) + 0.5]))  # fmt: skip
    base = alt.Chart(frame).encode(x=x)
    layers: list[Any] = []
    if frame["low"].notna().any():
        layers.append(base.mark_rule(color=MUTED).encode(y=alt.Y("low:Q", title=coef), y2="high:Q"))
    layers += [
        base.mark_line(color=INK, interpolate="step-after").encode(
            y=alt.Y("estimate:Q", title=coef, scale=alt.Scale(zero=False))
        ),
        base.mark_circle(color=INK, size=60, opacity=1).encode(
            y="estimate:Q", tooltip=["first", "made", "estimate", "low", "high"]
        ),
    ]
    now = frame.iloc[-1]
    return alt.layer(*layers).properties(
        width=560, height=260,
        title=alt.Title(f"{coef} is {now['estimate']:.4g} since refit {int(now['first'])}", subtitle="a point for each refit that gave a new estimate; bars are intervals", anchor="start", subtitleColor=MUTED),
    )  # fmt: skip
