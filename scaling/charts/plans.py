"""From a law to a plan in pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
import pandas as pd

from scaling.allocation import Allocation, allocate
from scaling.charts.axes import INK, MUTED, OPTIMUM, POINTS, TITLES, headline, log_axis, log_scale
from scaling.compute import DENSE, Accounting
from scaling.fitting.result import FitResult
from scaling.quantities import format_quantity

if TYPE_CHECKING:
    from scaling.capability import Capability
    from scaling.designing import Design
    from scaling.planning import Plan
    from scaling.training import TradeOff


def frontier(best: Allocation, result: FitResult | None = None, level: float = 0.8) -> alt.TopLevelMixin:
    """Best model size and tokens against compute, with bands; the runs' range of compute is shaded when `result` is given."""
    table = best.table(level)
    parts = []
    for name in ("n_params", "n_tokens"):
        x = alt.X(
            "flops:Q",
            title=TITLES["flops"],
            scale=log_scale(table["flops"]),
            axis=log_axis(table["flops"], powers=True),
        )
        scale, axis = log_scale(table[[name, f"{name}_low", f"{name}_high"]].to_numpy()), log_axis(table[name])
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
                    .encode(x=alt.X("low:Q", scale=log_scale(table["flops"])), x2="high:Q")
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


def frontier_of(made: Plan) -> Allocation:
    """The best runs of a plan's law from a hundredth of its smallest budget to ten times its largest, without constraints.

    Raises PlanError where its law has no best size at a budget alone.
    """
    spent = [6 * s.n_params.estimate * s.n_tokens.estimate for s in made.steps]
    return allocate(made.allocation.fitted, np.geomspace(min(spent) / 100, max(spent) * 10, 25))


def plan_chart(made: Plan) -> alt.TopLevelMixin:
    """`frontier_of` a plan in a picture; raises what it raises."""
    fitted = made.allocation.fitted
    return frontier(frontier_of(made), fitted if isinstance(fitted, FitResult) else None, made.level)


def contour_chart(fitted: Any, flops: float, compute: Accounting = DENSE, unit: str = "nats") -> alt.TopLevelMixin:
    """Lines of equal loss over model size and tokens, the line of the budget, and the best point on it.

    fitted : anything with a law of n_params and n_tokens and one set of coefficients. flops : the budget. unit : of the loss.
    """
    law, theta = fitted.law, np.asarray(getattr(fitted, "point", fitted).theta)
    best = allocate(getattr(fitted, "point", fitted), flops, compute=compute)
    n0, d0, loss0 = (float(np.squeeze(v)) for v in (best.n_params, best.n_tokens, best.loss))
    n, d = n0 * np.geomspace(1 / 30, 30, POINTS), d0 * np.geomspace(1 / 1000, 1000, 4 * POINTS)
    surface = law.predict({"n_params": np.repeat(n, len(d)), "n_tokens": np.tile(d, len(n))}, theta).reshape(
        len(n), len(d)
    )
    levels = np.unique(
        np.append(
            loss0,
            loss0
            + (loss0 - float(law.predict({"n_params": np.array([1e30]), "n_tokens": np.array([1e30])}, theta)[0]))
            * np.array([-0.3, -0.15, 0.2, 0.5, 1.0]),
        )
    )
    lines = []
    for level in levels:
        # loss falls with tokens at every size, so that each size crosses a level once at most
        at = [np.interp(-level, -row, np.log(d), left=np.nan, right=np.nan) for row in surface]
        lines.append(pd.DataFrame({"n_params": n, "n_tokens": np.exp(at), "level": f"{level:.3f}"}))
    window = (d0 / 30, d0 * 30)
    line = pd.concat(lines).dropna().query("n_tokens > @window[0] and n_tokens < @window[1]")
    budget = pd.DataFrame({"n_params": n, "n_tokens": compute.n_tokens(n, flops)}).query(
        "n_tokens > @window[0] and n_tokens < @window[1]"
    )
    sx, sy = log_scale(n), log_scale(window)
    x = alt.X("n_params:Q", title=TITLES["n_params"], scale=sx, axis=log_axis(n))
    y = alt.Y("n_tokens:Q", title=TITLES["n_tokens"], scale=sy, axis=log_axis(window))
    ends = line.sort_values("n_params").groupby("level", as_index=False).last()
    point = pd.DataFrame({"n_params": [n0], "n_tokens": [d0], "loss": [loss0]})
    return alt.layer(
        alt.Chart(line).mark_line(color=INK, opacity=0.8).encode(x=x, y=y, detail="level:N"),
        alt.Chart(ends).mark_text(align="right", dx=-4, dy=-10, color=INK).encode(x=x, y=y, text="level:N"),
        alt.Chart(budget).mark_line(color=MUTED, strokeDash=[6, 4]).encode(x=x, y=y),
        alt.Chart(point).mark_point(shape="diamond", filled=True, size=110, color=OPTIMUM).encode(x=x, y=y, tooltip=["n_params", "n_tokens", "loss"]),
    ).properties(
        width=420, height=340,
        title=alt.Title(f"The lowest loss on the budget of {flops:.3g} FLOPs is {loss0:.3f} {unit}", subtitle="lines of equal loss; dashed: every way to spend the budget", anchor="start", subtitleColor=MUTED),
    )  # fmt: skip


def capability_chart(result: Capability) -> alt.TopLevelMixin:
    """The score that each budget buys at its best model, with its band; grey where the loss lies below every loss the link saw."""
    table = result.table()
    x = alt.X(
        "flops:Q", title=TITLES["flops"], scale=log_scale(table["flops"]), axis=log_axis(table["flops"], powers=True)
    )
    top = 1.0 if float(table["high"].max()) <= 1 else float(table["high"].max())
    y = alt.Y("score:Q", title="score", scale=alt.Scale(domain=[0, top]))
    seen, beyond = "within the losses seen", "below every loss seen"
    table = table.assign(reach=np.where(table["extrapolated"].astype(bool), beyond, seen))
    colour = alt.Color(
        "reach:N",
        title="",
        scale=alt.Scale(domain=[seen, beyond], range=[INK, MUTED]),
        legend=alt.Legend(orient="bottom"),
    )
    return alt.layer(
        alt.Chart(table).mark_area(color=INK, opacity=0.18).encode(x=x, y=alt.Y("low:Q", title="score"), y2="high:Q"),
        alt.Chart(table).mark_line(color=INK).encode(x=x, y=y),
        alt.Chart(table).mark_circle(size=45, opacity=1).encode(x=x, y=y, color=colour, tooltip=["flops", "n_params", "n_tokens", "loss", "score"]),
    ).properties(
        width=560, height=300, title=headline(result.finding, f"along the best models of each budget; bands of {result.level:.0%}")
    )  # fmt: skip


def ratio_chart(laws: Mapping[str, Any], flops: Sequence[float] = (1e19, 1e27)) -> alt.TopLevelMixin:
    """Best tokens per parameter against compute under several laws of n_params and n_tokens: {name: fitted or published}."""
    grid = np.geomspace(min(flops), max(flops), 33)
    lines = pd.concat(
        pd.DataFrame({"flops": grid, "ratio": np.median(np.reshape(allocate(law, grid).tokens_per_param, (-1, len(grid))), axis=0), "law": name})
        for name, law in laws.items()
    )  # fmt: skip
    lines = lines[np.isfinite(lines["ratio"]) & (lines["ratio"] > 0)]
    return (
        alt.Chart(lines)
        .mark_line()
        .encode(
            x=alt.X("flops:Q", title=TITLES["flops"], scale=log_scale(grid), axis=log_axis(grid, powers=True)),
            y=alt.Y("ratio:Q", title="tokens per parameter", scale=log_scale(lines["ratio"]), axis=log_axis(lines["ratio"])),
            color=alt.Color("law:N", title="", scale=alt.Scale(scheme="tableau20"), legend=alt.Legend(orient="bottom", columns=2, columnPadding=4, labelFontSize=9, symbolSize=40, labelLimit=200, symbolLimit=40)), detail="law:N", tooltip=["law", "flops", "ratio"],
        )
        .properties(width=560, height=340 + 8 * len(laws), title=alt.Title(_ratio_title(lines), subtitle="the best ratio at each compute; medians over resamples where a law has them", anchor="start", subtitleColor=MUTED))
    )  # fmt: skip


def _ratio_title(lines: pd.DataFrame) -> str:
    middle = lines.loc[
        np.isclose(lines["flops"], lines["flops"].unique()[lines["flops"].nunique() // 2]), ["law", "ratio"]
    ]
    low, high = middle["ratio"].min(), middle["ratio"].max()
    at = lines["flops"].unique()[lines["flops"].nunique() // 2]
    if len(middle) < 2 or high / low < 1.05:
        return f"At {at:.0e} FLOPs the law asks for {low:.3g} tokens per parameter".replace("e+", "e")
    return f"At {at:.0e} FLOPs the laws ask for {low:.3g} to {high:.3g} tokens per parameter".replace("e+", "e")


MOST_TIMES = 5.0  # compute over that of the best size, beyond which nothing is drawn


def trade_off_chart(result: TradeOff, level: float = 0.8) -> alt.TopLevelMixin:
    """Models smaller and larger than the best: loss at the same training compute, and training compute for the same loss."""
    table = result.table(level).assign(times=lambda t: 1 + t["overhead"], times_low=lambda t: 1 + t["overhead_low"], times_high=lambda t: 1 + t["overhead_high"])  # fmt: skip
    x = alt.X("ratio:Q", title="model size over the best", scale=log_scale(table["ratio"]), axis=alt.Axis(values=[0.1, 0.2, 0.5, 1, 2, 5], format=".2~f", grid=False))  # fmt: skip
    parts = []
    for name, title in (
        ("penalty", "loss above the best, same compute"),
        ("times", "training compute for the same loss"),
    ):
        frame = table[["ratio", "n_params", "n_tokens"]].assign(
            y=table[name], y_low=table[f"{name}_low"], y_high=table[f"{name}_high"]
        )
        most = np.inf if name == "penalty" else MOST_TIMES
        frame = frame[np.isfinite(frame["y"]) & (frame["y"] <= most)]
        frame = frame.assign(y_high=frame["y_high"].fillna(most).clip(upper=most), y_low=frame["y_low"].fillna(most).clip(upper=most)) if result.of is not None else frame  # fmt: skip
        base = alt.Chart(frame).encode(x=x)
        layers: list[Any] = []
        if frame["y_low"].notna().any():
            layers.append(
                base.mark_area(color=INK, opacity=0.18, clip=True).encode(
                    y=alt.Y("y_low:Q", title=title), y2="y_high:Q"
                )
            )
        layers += [
            base.mark_line(color=INK).encode(y=alt.Y("y:Q", title=title, scale=alt.Scale(zero=False))),
            base.mark_circle(color=INK, size=50, opacity=1).encode(
                y="y:Q", tooltip=["ratio", "n_params", "n_tokens", "y"]
            ),
        ]
        parts.append(alt.layer(*layers).properties(width=300, height=240))
    half = int(np.argmin(np.abs(result.point.ratio - 0.5)))
    smaller, extra = float(result.point.ratio[half]), float(result.point.overhead[half])
    words = f"A model of {smaller:.2g} of the best size reaches its loss for {1 + extra:.2f} times the training compute" if np.isfinite(extra) else f"A model of {smaller:.2g} of the best size never reaches its loss"  # fmt: skip
    return alt.hconcat(*parts).properties(
        title=alt.Title(words, subtitle=f"serving costs in proportion to the size; bands of {level:.0%}", anchor="start", subtitleColor=MUTED)
    )  # fmt: skip


def design_chart(made: Design, result: FitResult) -> alt.TopLevelMixin:
    """Runs done and runs to do next over model size and tokens, with the frontier of best runs up to the target."""
    point = result.point
    budgets = np.geomspace(float(made.runs["flops"].min()), made.target, 30)
    best = allocate(point, budgets)
    line = pd.DataFrame({"n_params": best.n_params, "n_tokens": best.n_tokens})
    after = made.runs.assign(what="next")
    columns = ["n_params", "n_tokens"]
    done = pd.DataFrame(columns=columns) if point.runs is None else point.runs[columns].drop_duplicates()
    every = pd.concat([done, after[columns], line])
    x = alt.X(
        "n_params:Q", title=TITLES["n_params"], scale=log_scale(every["n_params"]), axis=log_axis(every["n_params"])
    )
    y = alt.Y(
        "n_tokens:Q", title=TITLES["n_tokens"], scale=log_scale(every["n_tokens"]), axis=log_axis(every["n_tokens"])
    )
    layers = [
        alt.Chart(line).mark_line(color=OPTIMUM, strokeDash=[6, 4]).encode(x=x, y=y),
        alt.Chart(done).mark_point(color=MUTED, filled=True, size=30).encode(x=x, y=y, tooltip=columns),
        alt.Chart(after)
        .mark_point(color=INK, filled=False, strokeWidth=2)
        .encode(x=x, y=y, size=alt.Size("count:Q", title="runs", scale=alt.Scale(range=[60, 400]), legend=alt.Legend(values=sorted({int(v) for v in after["count"].quantile([0, 0.5, 1])}))),
                tooltip=["n_params", "n_tokens", "flops", "count", "beyond"]),
    ]  # fmt: skip
    return alt.layer(*layers).properties(
        width=460, height=360,
        title=headline(made.finding, "filled: done; rings: next; dashed: the best runs"),
    )  # fmt: skip
