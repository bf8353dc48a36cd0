"""Double descent, emergence and grokking in pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
import pandas as pd

from scaling.charts.axes import INK, MOST_MARKS, MUTED, OPTIMUM, POINTS, TITLES, ends_of, headline, log_axis, log_scale
from scaling.errors import ScalingError

TRAINING = "#009e73"
OUTCOMES = {"grokked": "#4c78a8", "prompt": "#d55e00", "memorised only": "#7f7f7f"}  # of a run that memorised

if TYPE_CHECKING:
    from scaling.curves.double_descent import DoubleDescent
    from scaling.curves.emergence import Emergence
    from scaling.curves.grokking import Grokking
    from scaling.laws.law import Array


FLOOR = 30.0  # times below the least test error, where a training error that goes on falling is drawn


def descent_chart(result: DoubleDescent, training: pd.DataFrame | None = None) -> alt.TopLevelMixin:
    """Test error along the axis, the fitted curve, the peak, and the interpolation threshold where it is known.

    training : the training error beside it, rows with the axis and one more column, a loss, an error or an accuracy (its
    name holds "acc"; drawn as 1 - accuracy). Repeats are averaged; what falls far below the test error lies at the edge.
    """
    points = result.points.rename(columns={result.axis: "x", result.value: "y"})
    columns = {"axis": "x", "value": "y"}
    points = points.rename(columns={k: v for k, v in columns.items() if k in points})
    grid = np.geomspace(points["x"].min(), points["x"].max(), POINTS)
    drawn = "double_descent" in result.theta  # too few points leave the curve out
    curve = pd.DataFrame({"x": grid, "y": result.expected(grid)}) if drawn else pd.DataFrame({"x": [], "y": []})
    x = alt.X("x:Q", title=result.axis, scale=log_scale(grid), axis=log_axis(grid))
    spread: Array = points[["y", "low", "high"]].to_numpy().ravel()
    layers: list[Any] = []
    title = result.value
    if training is not None:
        name, train = _training_error(training, result.axis)
        title = f"{result.value}, {name}"
        floor = float(points["y"].min()) / FLOOR
        train = train.assign(y=train["y"].clip(lower=floor))
        spread = np.append(spread, train["y"])
    scale = log_scale(spread)
    y = alt.Y("y:Q", title=title, scale=scale, axis=log_axis(spread))
    if training is not None:
        last = train.sort_values("x").tail(1).assign(what=name)
        layers += [
            alt.Chart(train).mark_line(color=TRAINING, strokeDash=[2, 2], clip=True).encode(x=x, y=y),
            alt.Chart(train).mark_point(color=TRAINING, size=30, opacity=1).encode(x=x, y=y),
            alt.Chart(last).mark_text(color=TRAINING, align="right", dy=-8).encode(x=x, y=y, text="what"),
        ]
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
        .encode(x=x, y=alt.Y("low:Q", scale=scale, title=title, axis=log_axis(spread)), y2="high:Q"),
        alt.Chart(points).mark_circle(color=MUTED, size=45, opacity=1).encode(x=x, y=y),
        alt.Chart(curve).mark_line(color=INK, clip=True).encode(x=x, y=y),
    ]
    marks = [(result.peak_at, "peak")] if result.found else []
    if np.isfinite(result.threshold):
        marks.append((result.threshold, "training set fitted"))
    if marks:
        frame = pd.DataFrame(marks, columns=["x", "what"])
        layers.append(alt.Chart(frame).mark_rule(color=OPTIMUM, strokeDash=[4, 4]).encode(x=x))
        layers += [  # one below the other: peak and threshold often stand at the same place
            alt.Chart(frame.iloc[[i]])
            .mark_text(align="left", dx=4, y=10 + 14 * i, color=OPTIMUM)
            .encode(x=x, text="what")
            for i in range(len(frame))
        ]
    return alt.layer(*layers).properties(
        width=560,
        height=340,
        title=headline(
            result.finding,
            f"{len(points)} points; bars are intervals at {result.level:.0%}; red: the peak, shaded where noise may hide it",
        ),
    )


def _training_error(training: pd.DataFrame, axis: str) -> tuple[str, pd.DataFrame]:
    """Its name, and its geometric mean y over repeats at each x."""
    names = [str(c) for c in training if c != axis]
    if axis not in training or len(names) != 1:
        raise ScalingError(f"training errors are a table of {axis!r} and one more column, not of {names}.")
    (name,) = names
    values = pd.to_numeric(training[name], errors="coerce")
    if "acc" in name.lower():
        name, values = f"1 - {name}", 1 - values
    frame = pd.DataFrame({"x": training[axis].to_numpy(float), "y": values.to_numpy(float)}).dropna()
    frame = frame[frame["x"] > 0].assign(y=lambda t: np.log(t["y"].clip(lower=1e-300)))
    if frame.empty:
        raise ScalingError(f"column {name!r} holds no numbers to draw beside the test error.")
    return name, frame.groupby("x", as_index=False)["y"].mean().assign(y=lambda t: np.exp(t["y"]))


def continuous_chart(table: pd.DataFrame, x: str, score: str, log_x: bool = True) -> alt.TopLevelMixin:
    """A continuous score (log-probability of the right answer, Brier score, rate of right parts) against scale.

    table : one row per model with the columns x and score; the line joins the means of equal scales. The title says how
    steadily the score moves: a smooth change here beside a jump of the accuracy speaks for the metric, not the ability.
    """
    if missing := [c for c in (x, score) if c not in table]:
        raise ScalingError(
            f"the table has no column {missing[0]!r}; columns: {', '.join(map(str, table.columns[:12]))}."
        )
    frame = pd.DataFrame({"x": table[x].to_numpy(float), "y": table[score].to_numpy(float)})
    frame = frame[np.isfinite(frame.to_numpy()).all(axis=1)]
    frame = (frame[frame["x"] > 0] if log_x else frame).iloc[:MOST_MARKS]
    if frame["x"].nunique() < 2:
        raise ScalingError(
            f"column {score!r} has numbers at fewer than two scales of {x!r}: there is no curve to draw."
        )
    rank = float(frame["x"].rank().corr(frame["y"].rank())) if frame["y"].nunique() > 1 else 0.0
    middle = frame.groupby("x", as_index=False)["y"].mean()
    values = frame["x"].to_numpy()
    axis = log_axis(values, powers=x == "flops") if log_x else alt.Axis(grid=False)
    across = alt.X(
        "x:Q", title=TITLES.get(x, x), scale=log_scale(values) if log_x else alt.Scale(zero=False), axis=axis
    )
    up = alt.Y("y:Q", title=score, scale=alt.Scale(zero=False))
    way = "does not move" if abs(rank) < 0.1 else ("rises" if rank > 0 else "falls")
    return alt.layer(
        alt.Chart(frame).mark_circle(color=MUTED, size=45, opacity=1).encode(x=across, y=up),
        alt.Chart(middle).mark_line(color=INK).encode(x=across, y=up),
    ).properties(
        width=560, height=240,
        title=headline(f"{score} {way} with {x}: rank correlation {rank:.2f}", f"{len(frame)} scores; the line joins the means of equal scales"),
    )  # fmt: skip


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
            x=x, y=y, color=alt.Color("status:N", title="outcome", legend=alt.Legend(orient="bottom"), scale=alt.Scale(domain=[s for s in OUTCOMES if (runs["status"] == s).any()], range=[c for s, c in OUTCOMES.items() if (runs["status"] == s).any()])),
            shape=alt.Shape("ended:N", title="generalised", scale=alt.Scale(domain=["yes", "not by the run's end"], range=["circle", "triangle-up"]), legend=alt.Legend(orient="top", symbolFillColor=MUTED, symbolStrokeColor=MUTED)),
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
