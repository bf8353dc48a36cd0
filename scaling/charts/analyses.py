"""isoFLOP profiles and laws compared, in pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt
import numpy as np
import pandas as pd

from scaling.charts.axes import INK, MOST_MARKS, OPTIMUM, POINTS, TITLES, headline, log_axis, log_scale

if TYPE_CHECKING:
    from scaling.approaches import Envelope, IsoFlop
    from scaling.selection import Comparison


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
        x = alt.X("flops:Q", title=TITLES["flops"], scale=log_scale(flops), axis=log_axis(flops, powers=True))
        scale = log_scale(spread)
        y = alt.Y("value:Q", title=TITLES[name], scale=scale, axis=log_axis(spread))
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
        title=headline(
            result.finding,
            f"{len(table)} budgets; bands of {result.level:.0%}; the line reaches ten times beyond the runs",
        )
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
        width=480, height=40 * len(frame) + 20, title=headline(result.finding, "bars are intervals over the runs")
    )


def envelope_chart(result: Envelope) -> alt.TopLevelMixin:
    """Size and tokens of the runs that touch the lower envelope against compute, with the power laws through them, log-log."""
    points = result.points[["run", "flops", "n_params", "n_tokens", "loss"]].assign(run=lambda t: t["run"].astype(str))
    flops = np.geomspace(points["flops"].min(), points["flops"].max() * 10, POINTS)
    line = result.predict(flops)
    x = alt.X("flops:Q", title=TITLES["flops"], scale=log_scale(flops), axis=log_axis(flops, powers=True))
    parts = []
    for name in ("n_params", "n_tokens"):
        spread = np.concatenate([line[name], points[name]])
        y = alt.Y(f"{name}:Q", title=TITLES[name], scale=log_scale(spread), axis=log_axis(spread))
        parts.append(
            alt.layer(
                alt.Chart(points.iloc[:MOST_MARKS]).mark_circle(color=INK, size=18, opacity=0.5).encode(x=x, y=y, tooltip=["run", "flops", name, "loss"]),
                alt.Chart(line).mark_line(color=OPTIMUM, strokeDash=[6, 4]).encode(x=x, y=y),
            ).properties(width=300, height=260)
        )  # fmt: skip
    return alt.hconcat(*parts).properties(
        title=headline(result.finding, f"{points['run'].nunique()} runs; the line reaches ten times beyond them")
    )
