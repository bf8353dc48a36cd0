"""Altair charts from results and tables: the same picture in a notebook, a report and the app."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
import pandas as pd

from scaling.allocation import Allocation, allocate
from scaling.compute import DENSE
from scaling.errors import FitError, ScalingError
from scaling.fitting.result import FitResult
from scaling.laws.law import Array
from scaling.quantities import format_quantity
from scaling.uncertainty.shared import cluster_budgets

if TYPE_CHECKING:
    from scaling.approaches import IsoFlop
    from scaling.curves.double_descent import DoubleDescent
    from scaling.curves.emergence import Emergence
    from scaling.curves.grokking import Grokking
    from scaling.laws.law import Law
    from scaling.selection import Comparison

OPTIMUM = "#d62728"
INK = "#4c78a8"
MUTED = "#7f7f7f"  # readable on light and dark
POINTS = 150  # of a drawn curve
MOST_CURVES = 12  # isoFLOP curves drawn; more budgets are thinned evenly
MOST_MARKS = 10_000
TITLES = {
    "n_params": "model size N [parameters]", "n_tokens": "training tokens D", "flops": "training compute C [FLOPs]",
    "loss": "loss", "n_unique_tokens": "unique tokens",
}  # fmt: skip
_POWER = "'10' + replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(toString(round(log(datum.value)/LN10)),'-','\u207b'),/0/g,'\u2070'),/1/g,'\u00b9'),/2/g,'\u00b2'),/3/g,'\u00b3'),/4/g,'\u2074'),/5/g,'\u2075'),/6/g,'\u2076'),/7/g,'\u2077'),/8/g,'\u2078'),/9/g,'\u2079')"
_COUNT = "replace(format(datum.value, '~s'), 'G', 'B')"


def fit_chart(result: FitResult, level: float = 0.95) -> alt.TopLevelMixin:
    """Runs and the fitted law.

    A law of N and D: loss against model size, one curve per compute budget, the best size of each. A law of one input: the
    runs, the curve and its band. Any other: predicted against observed. One fit only (of a group: result.group(i)).
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
        return _isoflop_curves(result, table, unit, subtitle)
    if len(point.law.inputs) == 1:
        return _one_input(result, table, level, unit, subtitle)
    return _predicted_observed(table, point.law, subtitle)


def frontier(best: Allocation, result: FitResult | None = None, level: float = 0.8) -> alt.TopLevelMixin:
    """Best model size and tokens against compute, with bands; the runs' range of compute is shaded when `result` is given."""
    table = best.table(level)
    parts = []
    for name in ("n_params", "n_tokens"):
        x = alt.X("flops:Q", title=TITLES["flops"], scale=_log(table["flops"]), axis=_axis(table["flops"], powers=True))
        scale, axis = _log(table[[name, f"{name}_low", f"{name}_high"]].to_numpy()), _axis(table[name])
        base = alt.Chart(table).encode(x=x)
        layers: list[Any] = []
        domain = None if result is None else result.domain.get("flops")
        if domain is not None:
            span = pd.DataFrame(
                {"low": [max(domain[0], table["flops"].min())], "high": [min(domain[1], table["flops"].max())]}
            )
            if span["low"][0] < span["high"][0]:
                layers.append(
                    alt.Chart(span)
                    .mark_rect(color="#888888", opacity=0.12)
                    .encode(x=alt.X("low:Q", scale=_log(table["flops"])), x2="high:Q")
                )
        if table[f"{name}_low"].notna().any():
            layers.append(
                base.mark_area(color=OPTIMUM, opacity=0.18).encode(
                    y=alt.Y(f"{name}_low:Q", scale=scale), y2=f"{name}_high:Q"
                )
            )
        layers.append(
            base.mark_line(color=OPTIMUM, strokeDash=[6, 4]).encode(
                y=alt.Y(f"{name}:Q", title=TITLES[name], scale=scale, axis=axis)
            )
        )
        layers.append(
            base.mark_point(color=OPTIMUM, shape="diamond", filled=True, size=60).encode(
                y=alt.Y(f"{name}:Q", scale=scale), tooltip=["flops", name, f"{name}_low", f"{name}_high"]
            )
        )
        parts.append(alt.layer(*layers).properties(width=300, height=240))
    last = table.iloc[-1]
    title = f"At {last['flops']:.3g} FLOPs: {format_quantity(last['n_params'])} parameters, {format_quantity(last['n_tokens'])} tokens"
    return alt.hconcat(*parts).properties(
        title=alt.Title(
            title, subtitle=f"{best.law.equation}; bands of {level:.0%}", anchor="start", subtitleColor=MUTED
        )
    )


def save(chart: alt.TopLevelMixin, path: str | Path) -> None:
    """Write a chart as .svg, .png or .html (one file that opens offline)."""
    path = Path(path)
    kind = path.suffix.lower()
    try:
        import vl_convert  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise ScalingError("drawing to a file needs vl-convert-python: pip install 'scaling-laws[report]'.") from None
    spec = chart.to_dict()
    if kind == ".svg":
        path.write_text(vl_convert.vegalite_to_svg(spec), encoding="utf-8")
    elif kind == ".png":
        path.write_bytes(vl_convert.vegalite_to_png(spec, scale=2))
    elif kind == ".html":
        path.write_text(_page(spec, vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")), encoding="utf-8")
    else:
        raise ScalingError(f"{str(path)!r}: a chart is written as .svg, .png or .html.")


def script_json(document: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(document).replace("<", "\\u003c")


def _page(spec: dict[str, Any], library: str) -> str:
    """One HTML file that opens offline. No text of the specification can end its script: every < is written as an escape."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>scaling</title></head><body><div id="chart"></div>\n'
        f'<script type="module">{library}</script>\n'
        f'<script type="module">window.vegaEmbed("#chart", {script_json(spec)}, '
        '{actions: false, renderer: "svg"});</script>\n</body></html>\n'
    )


# --- the three pictures of a fit -------------------------------------------------------------------------------------


def _isoflop_curves(result: FitResult, table: pd.DataFrame, unit: str, subtitle: list[str]) -> alt.TopLevelMixin:
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
        "run": (table["run"] if "run" in table else table.index.to_series()).astype(str).to_numpy(),
    }).iloc[:MOST_MARKS]  # fmt: skip
    best = allocate(point, np.sort(centres), inputs=others or None)
    optimum = pd.DataFrame(
        {"n_params": best.n_params, "loss": best.loss, "flops": best.flops, "tokens_per_param": best.tokens_per_param}
    )
    sizes = np.concatenate([runs["n_params"], curve["n_params"]])
    in_view = optimum[(optimum["n_params"] > sizes.min()) & (optimum["n_params"] < sizes.max())]
    losses = np.concatenate([runs["loss"], curve["loss"]])
    x = alt.X("n_params:Q", title=TITLES["n_params"], scale=_log(sizes), axis=_axis(sizes))
    y = alt.Y("loss:Q", title=f"loss [{unit}]", scale=alt.Scale(domain=_padded(losses), zero=False, nice=False))
    colour = alt.Color(
        "budget:Q", title="compute [FLOPs]",
        scale=alt.Scale(type="log", scheme=alt.SchemeParams(name="viridis", extent=[0.1, 0.95]), domain=[float(budgets.min()), float(budgets.max())]),
        legend=alt.Legend(labelExpr=_POWER, values=_decades(budgets), orient="right"),
    )  # fmt: skip
    chart = alt.layer(
        alt.Chart(curve).mark_line(strokeWidth=1.5).encode(x=x, y=y, color=colour, detail="budget:N"),
        alt.Chart(runs).mark_circle(size=45, opacity=0.9).encode(x=x, y=y, color=colour, tooltip=["run", "n_params", "n_tokens", "budget", "loss"]),
        alt.Chart(in_view).mark_line(color=OPTIMUM, strokeDash=[6, 4]).encode(x=x, y=y),
        alt.Chart(in_view).mark_point(color=OPTIMUM, shape="diamond", filled=True, size=80).encode(x=x, y=y, tooltip=["flops", "n_params", "tokens_per_param", "loss"]),
    )  # fmt: skip
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
        title += f" (95 % interval {low:.2f} to {high:.2f})"
    return title


def _one_input(
    result: FitResult, table: pd.DataFrame, level: float, unit: str, subtitle: list[str]
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
    runs = pd.DataFrame({column: values, law.target: table[law.target].to_numpy(float)}).iloc[:MOST_MARKS]
    x = alt.X(
        f"{column}:Q",
        title=TITLES.get(column, column),
        scale=_log(grid) if values.min() > 0 else alt.Scale(zero=False),
        axis=_axis(grid, powers=column == "flops"),
    )
    y_title = f"{law.target} [{unit}]" if law.target == "loss" else law.target
    spread = np.concatenate([runs[law.target], band["predicted"]])
    scale = alt.Scale(domain=_padded(spread), zero=False, nice=False, clamp=True)
    base = alt.Chart(band).encode(x=x)
    chart = alt.layer(
        base.mark_area(color=INK, opacity=0.18).encode(y=alt.Y("low:Q", scale=scale, title=y_title), y2="high:Q"),
        base.mark_line(color=INK).encode(y=alt.Y("predicted:Q", scale=scale)),
        alt.Chart(runs)
        .mark_circle(color=MUTED, size=45)
        .encode(x=x, y=alt.Y(f"{law.target}:Q", scale=scale, title=y_title)),
    )
    i = law.coef_names.index("alpha") if "alpha" in law.coef_names else None
    title = f"{law.title}: exponent {result.point.theta[i]:.3f}" if i is not None else law.title
    return chart.properties(
        width=560, height=360, title=alt.Title(title, subtitle=subtitle, anchor="start", subtitleColor=MUTED)
    )


def _predicted_observed(table: pd.DataFrame, law: Law, subtitle: list[str]) -> alt.TopLevelMixin:
    frame = pd.DataFrame(
        {"predicted": table["predicted"].to_numpy(float), "observed": table[law.target].to_numpy(float)}
    ).iloc[:MOST_MARKS]
    ends = _padded(frame.to_numpy())
    scale = alt.Scale(domain=ends, zero=False, nice=False)
    line = alt.Chart(pd.DataFrame({"predicted": ends, "observed": ends})).mark_line(color="#888888", strokeDash=[4, 4])
    points = alt.Chart(frame).mark_circle(color=INK, size=45)
    chart = alt.layer(
        *(
            part.encode(x=alt.X("predicted:Q", scale=scale), y=alt.Y("observed:Q", scale=scale))
            for part in (line, points)
        )
    )
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


# --- axes ------------------------------------------------------------------------------------------------------------


def _coefs(result: FitResult, level: float) -> str:
    low, high = result.interval(level)
    parts = []
    for i, name in enumerate(result.law.coef_names):
        span = f" [{low[i]:.3g}, {high[i]:.3g}]" if np.isfinite([low[i], high[i]]).all() else ""
        parts.append(f"{name} = {result.point.theta[i]:.3g}{span}")
    return ", ".join(parts[-2:]) + f" ({level:.0%})"


def _ends(values: Any) -> tuple[float, float]:
    v = np.asarray(values, dtype=float)
    v = v[np.isfinite(v) & (v > 0)]
    return float(v.min()), float(v.max())


def _log(values: Any) -> alt.Scale:
    low, high = _ends(values)
    return alt.Scale(type="log", domain=[low / 1.1, high * 1.1], nice=False)


def _decades(values: Any) -> list[float]:
    low, high = _ends(values)
    return [10.0**k for k in range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)]


def _axis(values: Any, powers: bool = False) -> alt.Axis:
    """Ticks of a log axis: 1-2-5 per decade up to 2.5 decades, else one per decade."""
    low, high = _ends(values)
    decades = _decades(values)
    if np.log10(high / low) <= 2.5 and not powers:
        ticks = [d * m for d in decades for m in (1, 2, 5)]
    else:
        ticks = decades
    ticks = [t for t in ticks if low / 1.1 <= t <= high * 1.1]
    return alt.Axis(values=ticks, labelExpr=_POWER if powers else _COUNT, grid=False)


def _padded(values: Array) -> list[float]:
    v = np.asarray(values, dtype=float)
    v = v[np.isfinite(v)]
    margin = 0.04 * (float(np.ptp(v)) or 1.0)
    return [float(v.min() - margin), float(v.max() + margin)]


# --- the analyses ----------------------------------------------------------------------------------------------------


def isoflop_chart(result: IsoFlop) -> alt.TopLevelMixin:
    """Best size and tokens of each budget with their power laws and bands, log-log."""
    table = result.budget_table()
    table = table[table["used"].astype(bool)]
    flops = np.geomspace(table["flops"].min(), table["flops"].max() * 10, POINTS)
    lines = result.predict(flops, level=result.level)
    parts = []
    for name in ("n_params", "n_tokens"):
        frame = pd.DataFrame(
            {"flops": flops, "value": lines[name], "low": lines[f"{name}_low"], "high": lines[f"{name}_high"]}
        )
        spread = np.concatenate([frame[["low", "high"]].to_numpy().ravel(), table[name]])
        x = alt.X("flops:Q", title=TITLES["flops"], scale=_log(flops), axis=_axis(flops, powers=True))
        scale = _log(spread)
        y = alt.Y("value:Q", title=TITLES[name], scale=scale, axis=_axis(spread))
        parts.append(
            alt.layer(
                alt.Chart(frame)
                .mark_area(color=OPTIMUM, opacity=0.18)
                .encode(x=x, y=alt.Y("low:Q", scale=scale, title=TITLES[name]), y2="high:Q"),
                alt.Chart(frame).mark_line(color=OPTIMUM, strokeDash=[6, 4]).encode(x=x, y=y),
                alt.Chart(table[["flops", name]].rename(columns={name: "value"}))
                .mark_point(color=OPTIMUM, shape="diamond", filled=True, size=70)
                .encode(x=x, y=y),
            ).properties(width=300, height=260)
        )
    return alt.hconcat(*parts).properties(
        title=_headline(
            result.finding,
            f"{len(table)} budgets; bands of {result.level:.0%}; the line reaches ten times beyond the runs",
        )
    )


def descent_chart(result: DoubleDescent) -> alt.TopLevelMixin:
    """Test error along the axis, the fitted curve, the peak, and the interpolation threshold where it is known."""
    points = result.points.rename(columns={result.axis: "x", result.value: "y"})
    columns = {"axis": "x", "value": "y"}
    points = points.rename(columns={k: v for k, v in columns.items() if k in points})
    grid = np.geomspace(points["x"].min(), points["x"].max(), POINTS)
    curve = pd.DataFrame({"x": grid, "y": result.expected(grid)})
    x = alt.X("x:Q", title=result.axis, scale=_log(grid), axis=_axis(grid))
    y = alt.Y("y:Q", title=result.value, scale=_log(points["y"]), axis=alt.Axis(grid=False))
    layers = [
        alt.Chart(points)
        .mark_rule(color=MUTED)
        .encode(x=x, y=alt.Y("low:Q", scale=_log(points["y"]), title=result.value), y2="high:Q"),
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
        title=_headline(result.finding, f"{len(points)} points; bars are intervals at {result.level:.0%}"),
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
    scale_x = _log(values) if result.log_x else alt.Scale(zero=False)
    axis_x = _axis(values, powers=result.x == "flops") if result.log_x else alt.Axis(grid=False)
    x = alt.X("x:Q", title=TITLES.get(result.x, result.x), scale=scale_x, axis=axis_x)
    y = alt.Y("y:Q", title=f"{result.score} (share of items)", scale=alt.Scale(domain=[0, 1]))
    chart = alt.layer(
        alt.Chart(points).mark_rule(color=MUTED).encode(x=x, y=alt.Y("low:Q", title=""), y2="high:Q"),
        alt.Chart(points).mark_circle(color=MUTED, size=45, opacity=1).encode(x=x, y=y),
        alt.Chart(curve).mark_line(color=INK).encode(x=x, y=y),
    )
    return chart.properties(
        width=560,
        height=340,
        title=_headline(result.finding, f"{len(points)} scores; bars are intervals at {result.level:.0%}"),
    )


def grokking_chart(result: Grokking) -> alt.TopLevelMixin:
    """Step of generalisation against step of memorisation, run by run; triangles had not generalised when the run ended."""
    runs = result.runs[result.runs["memorised"].notna()].copy()
    if runs.empty:
        raise ScalingError("no run memorised its training set, so there is no delay to draw.")
    runs["ended"] = runs["generalised"].isna()
    runs["y"] = runs["generalised"].fillna(runs["last_step"])
    runs["memorised"] = runs["memorised"].clip(lower=1)
    spread = np.concatenate([runs["memorised"], runs["y"]])
    scale, axis = _log(spread), _axis(spread)
    ends = list(_ends(spread))
    x = alt.X("memorised:Q", title="step of memorisation", scale=scale, axis=axis)
    y = alt.Y("y:Q", title="step of generalisation", scale=scale, axis=axis)
    diagonal = pd.DataFrame({"memorised": ends, "y": ends})
    chart = alt.layer(
        alt.Chart(diagonal).mark_line(color="#888888", strokeDash=[4, 4]).encode(x=x, y=y),
        alt.Chart(runs[["memorised", "y", "ended", "status"]]).mark_point(filled=True, size=60).encode(
            x=x, y=y, color=alt.Color("status:N", title="", scale=alt.Scale(scheme="tableau10")),
            shape=alt.Shape("ended:N", title="run ended first", scale=alt.Scale(range=["circle", "triangle-up"])),
        ),
    )  # fmt: skip
    return chart.properties(
        width=420,
        height=420,
        title=_headline(result.finding, f"{len(runs)} runs; on the dashed line both come together"),
    )


def compare_chart(result: Comparison) -> alt.TopLevelMixin:
    """Held-out error of each law with its interval."""
    frame = pd.DataFrame(
        {
            "law": s.name,
            "error": 100 * s.error,
            "low": 100 * s.low,
            "high": 100 * s.high,
            "verdict": "ruled out" if s.ruled_out else "in the running",
        }
        for s in result.scores
    )
    y = alt.Y("law:N", sort=list(frame["law"]), title="")
    x = alt.X("error:Q", title="error on the largest scales, held out [%]", scale=alt.Scale(zero=True))
    colour = alt.Color(
        "verdict:N", title="", scale=alt.Scale(domain=["in the running", "ruled out"], range=[INK, "#999999"])
    )
    chart = alt.layer(
        alt.Chart(frame)
        .mark_rule(strokeWidth=2)
        .encode(y=y, x=alt.X("low:Q", title="error on the largest scales, held out [%]"), x2="high:Q", color=colour),
        alt.Chart(frame).mark_circle(size=80, opacity=1).encode(y=y, x=x, color=colour),
    )
    return chart.properties(
        width=480, height=40 * len(frame) + 20, title=_headline(result.finding, "bars are intervals over the runs")
    )


def _headline(finding: str, subtitle: str) -> alt.Title:
    """The first sentence of a finding as a title of one or two lines."""
    from textwrap import wrap

    sentence = finding.split(". ")[0].rstrip(".")
    return alt.Title(wrap(sentence, 95)[:3], subtitle=subtitle, anchor="start", fontSize=13, subtitleColor=MUTED)
