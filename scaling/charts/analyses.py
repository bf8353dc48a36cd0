"""isoFLOP profiles and laws compared, in pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt
import numpy as np
import pandas as pd

from scaling.approaches.isoflop import GAP, MIN_SIZES
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
    headline,
    log_axis,
    log_scale,
    padded,
)
from scaling.errors import FitError

if TYPE_CHECKING:
    from scaling.approaches import Envelope, IsoFlop
    from scaling.selection import Comparison


def isoflop_chart(result: IsoFlop) -> alt.HConcatChart:
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


def isoflop_page(result: IsoFlop) -> alt.TopLevelMixin:
    """`profiles_chart` above `isoflop_chart`: what a file of an isoFLOP analysis shows. The latter alone where runs are not at hand."""
    laws = isoflop_chart(result)
    if result.runs is None:
        return laws
    return alt.vconcat(profiles_chart(result), laws).resolve_scale(
        color="independent", shape="independent", strokeDash="independent"
    )


def profiles_chart(result: IsoFlop) -> alt.LayerChart | alt.FacetChart:
    """Loss against model size at each budget: runs, the asymmetric curve, the parabola, and the minimum with its interval.

    Needs the runs that the result was made of (FitError otherwise). Budgets without a minimum keep their runs and curves.
    """
    from scipy.special import stdtrit

    table = result.runs
    if table is None:
        raise FitError("the runs are not in this result, so there are no profiles to draw.")
    log_c = np.log(table["flops"].to_numpy(float))
    order = np.argsort(log_c, kind="stable")  # budgets lie apart by more than GAP, and are listed smallest first
    groups = np.split(order, np.flatnonzero(np.diff(log_c[order]) > GAP) + 1)
    budgets = result.budgets.reset_index(drop=True)
    curved = budgets["sizes"] >= MIN_SIZES
    dof = int(budgets.loc[curved, "runs"].sum()) - 3 * int(curved.sum()) - (2 if result.shape else 0)
    t = float(stdtrit(dof, 0.5 + result.level / 2)) if dof > 0 else np.nan
    runs, curves, minima = [], [], []
    for i in np.flatnonzero(curved)[np.unique(np.linspace(0, curved.sum() - 1, min(MOST_CURVES, curved.sum())).round().astype(int))]:  # fmt: skip
        row = budgets.iloc[i]
        mine = table.iloc[groups[i]]
        runs.append(mine[["n_params", "loss"]].assign(run=_run_names(mine), budget=row["flops"]))
        log_n, loss = np.log(mine["n_params"].to_numpy(float)), mine["loss"].to_numpy(float)
        at = np.linspace(log_n.min() - 0.1, log_n.max() + 0.1, POINTS)
        for name, shape in (("asymmetric", result.shape), ("parabola", None)):
            if name == "parabola" or shape is not None:
                coefs = np.linalg.lstsq(_along(log_n - log_n.mean(), shape), loss, rcond=None)[0]
                drawn = {"n_params": np.exp(at), "loss": _along(at - log_n.mean(), shape) @ coefs}
                curves.append(pd.DataFrame(drawn).assign(curve=name, budget=row["flops"]))
        if row["used"]:
            half = t * float(row["log_std_error"])
            n = float(row["n_params"])
            ends = (n * np.exp(-half), n * np.exp(half)) if np.isfinite(half) else (n, n)
            minima.append({"n_params": n, "loss": row["loss"], "low": ends[0], "high": ends[1], "budget": row["flops"]})
    points, lines, best = pd.concat(runs), pd.concat(curves), pd.DataFrame(minima)
    spread = lines["n_params"].to_numpy()
    best = best.assign(low=best["low"].clip(lower=spread.min()), high=best["high"].clip(upper=spread.max()))
    points = points.iloc[:MOST_MARKS]
    x = alt.X("n_params:Q", title=TITLES["n_params"], scale=log_scale(spread), axis=log_axis(spread))
    y_scale = alt.Scale(domain=padded(np.concatenate([points["loss"], best["loss"]])), zero=False, nice=False)
    y = alt.Y("loss:Q", title="loss", scale=y_scale)
    colour = alt.Color(
        "budget:Q", title="compute [FLOPs]",
        scale=alt.Scale(type="log", scheme=VIRIDIS, domain=[float(budgets["flops"].min()), float(budgets["flops"].max())]),
        legend=alt.Legend(labelExpr=POWER, values=decades_within(budgets["flops"]), orient="bottom"),
    )  # fmt: skip
    names = list(dict.fromkeys(lines["curve"]))
    dash = alt.StrokeDash("curve:N", title="curve", scale=alt.Scale(domain=names, range=[[1, 0], [4, 4]][-len(names) :] if len(names) > 1 else [[1, 0]]), legend=alt.Legend(orient="bottom", symbolStrokeColor=MUTED))  # fmt: skip
    note = "" if np.isnan(t) else f" with its interval at {result.level:.0%}"
    return alt.layer(
        alt.Chart(lines).mark_line(strokeWidth=1.5, clip=True).encode(x=x, y=y, color=colour, strokeDash=dash, detail=["budget:N", "curve:N"]),
        alt.Chart(points).mark_circle(size=40, opacity=0.9).encode(x=x, y=y, color=colour, tooltip=["run", "budget", "n_params", "loss"]),
        alt.Chart(best).mark_rule(color=OPTIMUM, strokeWidth=3, opacity=0.6).encode(x=alt.X("low:Q", title=TITLES["n_params"], scale=log_scale(spread), axis=log_axis(spread)), x2="high:Q", y=y),
        alt.Chart(best).mark_point(color=OPTIMUM, shape="diamond", filled=True, size=90, opacity=1).encode(x=x, y=y, tooltip=["budget", "n_params", "low", "high", "loss"]),
    ).properties(
        width=560, height=360,
        title=headline(f"{len(best)} of {len(budgets)} budgets enclose a best model size", f"Points: runs; curves: one for each budget; red: the minimum{note}"),
    )  # fmt: skip


def _along(w: np.ndarray, shape: tuple[float, float] | None) -> np.ndarray:
    """(n, 3) functions of ln size w (n,), centred, whose combinations are a profile: with alpha and beta, or a parabola."""
    if shape is None:
        return np.stack([np.ones_like(w), w, w**2], axis=-1)
    alpha, beta = shape
    return np.stack([np.ones_like(w), np.expm1(-alpha * w) / alpha, np.expm1(beta * w) / beta], axis=-1)


def _run_names(table: pd.DataFrame) -> np.ndarray:
    return (table["run"] if "run" in table else table.index.to_series()).astype(str).to_numpy()


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
