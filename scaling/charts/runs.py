"""Runs in pictures, before any law: where they lie, and their training curves."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from scaling.charts.axes import (
    MOST_MARKS,
    MUTED,
    POINTS,
    POWER,
    TITLES,
    VIRIDIS,
    decades,
    decades_within,
    log_axis,
    log_scale,
)
from scaling.errors import RunsError


def runs_chart(runs: pd.DataFrame, unit: str = "nats") -> alt.TopLevelMixin:
    """Runs by model size and training tokens, coloured by loss; grey lines join points of equal compute (6 N D)."""
    if missing := [c for c in ("n_params", "n_tokens", "loss") if c not in runs]:
        raise RunsError(f"the runs have no {missing[0]}: the plane of sizes and tokens cannot be drawn.")
    frame = runs[["run", "n_params", "n_tokens", "loss"]].iloc[:MOST_MARKS].copy()
    frame["run"] = frame["run"].astype(str)
    n, d = frame["n_params"].to_numpy(float), frame["n_tokens"].to_numpy(float)
    budgets = [c for c in decades(6 * n * d) if (6 * n * d).min() / 10 < c < (6 * n * d).max() * 10]
    sizes = np.geomspace(n.min(), n.max(), POINTS)
    line = pd.concat(
        [pd.DataFrame({"n_params": sizes, "n_tokens": c / (6 * sizes), "flops": c}) for c in budgets] or [frame]
    )
    line = line[(line["n_tokens"] >= d.min() / 1.1) & (line["n_tokens"] <= d.max() * 1.1)]
    x = alt.X("n_params:Q", title=TITLES["n_params"], scale=log_scale(n), axis=log_axis(n))
    y = alt.Y("n_tokens:Q", title=TITLES["n_tokens"], scale=log_scale(d), axis=log_axis(d))
    colour = alt.Color(
        "loss:Q",
        scale=alt.Scale(scheme=VIRIDIS, reverse=True),
        title=f"loss [{unit}]",
        legend=alt.Legend(orient="bottom"),
    )
    return alt.layer(
        alt.Chart(line).mark_line(color=MUTED, opacity=0.4, strokeDash=[2, 3]).encode(x=x, y=y, detail="flops:N"),
        alt.Chart(frame).mark_circle(size=70, opacity=1).encode(x=x, y=y, color=colour, tooltip=["run", "n_params", "n_tokens", "loss"]),
    ).properties(
        width=560, height=380, title=alt.Title(f"{len(runs)} runs", subtitle="dotted: equal training compute, one line for each power of ten", anchor="start", subtitleColor=MUTED)
    )  # fmt: skip


def training_curves(rows: pd.DataFrame, unit: str = "nats") -> alt.TopLevelMixin:
    """Loss during training, one line for each run; long logs are thinned evenly in the logarithm of the axis."""
    x_name = next((c for c in ("n_tokens", "step") if c in rows), None)
    if x_name is None or "loss" not in rows:
        raise RunsError("training curves need the column loss, and n_tokens or step.")
    rows = rows[rows[x_name] > 0]
    kept = thinned(rows)
    frame = kept[["run", x_name, "loss"]].copy()
    frame["run"] = frame["run"].astype(str)
    colour = {}
    if "flops" in kept and kept["flops"].max() > 0:  # of the whole run: more compute is lighter
        frame["flops"] = kept.groupby("run")["flops"].transform("max")
        frame = frame[frame["flops"] > 0]
        colour["color"] = alt.Color(
            "flops:Q", title="compute [FLOPs]",
            scale=alt.Scale(type="log", scheme=VIRIDIS),
            legend=alt.Legend(orient="bottom", labelExpr=POWER, values=decades_within(frame["flops"])),
        )  # fmt: skip
    return (
        alt.Chart(frame)
        .mark_line(opacity=0.8)
        .encode(
            x=alt.X(f"{x_name}:Q", scale=log_scale(frame[x_name]), axis=log_axis(frame[x_name]), title=TITLES.get(x_name, x_name)),
            y=alt.Y("loss:Q", scale=alt.Scale(zero=False), title=f"loss [{unit}]"), detail="run:N", tooltip=["run", x_name, "loss"], **colour,
        )
        .properties(width=560, height=320, title=alt.Title(f"Loss during training of {rows['run'].nunique()} runs", subtitle="one line for each run", anchor="start", subtitleColor=MUTED))
    )  # fmt: skip


def thinned(rows: pd.DataFrame, most: int = MOST_MARKS) -> pd.DataFrame:
    """At most `most` rows of training curves in all, evenly in the logarithm of the row number, ends kept."""
    order = rows.sort_values(["run", "step"] if "step" in rows else "run", kind="stable")
    if len(order) <= most:
        return order
    per_run = max(2, most // order["run"].nunique())
    position = order.groupby("run", sort=False).cumcount().to_numpy()
    length = order.groupby("run", sort=False)["run"].transform("size").to_numpy()
    # row i of m is kept when it is the first to reach a new one of per_run marks on the log scale
    with np.errstate(divide="ignore", invalid="ignore"):
        mark = np.floor((per_run - 1) * np.log1p(position) / np.log(length))
        before = np.where(position == 0, -1, np.floor((per_run - 1) * np.log(np.maximum(position, 1)) / np.log(length)))
    return order[(mark > before) | (position == length - 1) | (length <= per_run)]
