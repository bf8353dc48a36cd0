"""From a budget to model size, tokens, loss and cost, under the user's fit and published laws side by side."""

import cache
import inputs
import numpy as np
import pandas as pd
import streamlit as st

import scaling
from scaling import charts
from scaling.hardware import ACCELERATORS
from scaling.laws.published import PUBLISHED
from scaling.planning import plan

st.title("Plan")
OWN = "your fit"
published = [
    k for k, e in PUBLISHED.items() if {"n_params", "n_tokens"} == set(e.law.inputs) and e.law.target == "loss"
]
one, two = st.columns([3, 2])
sources = one.multiselect(
    "Laws",
    [OWN, *published],
    default=[OWN],
    key="sources",
    bind="query-params",
    help="Your fit is the one of the page Fit; published laws stand beside it.",
)
kind = (
    two.segmented_control(
        "Budget", ["FLOPs", "accelerators", "money", "loss"], default="FLOPs", key="budget", bind="query-params"
    )
    or "FLOPs"
)
runs = inputs.current_runs()
request: dict = {}
fields = st.columns(4)
with fields[0]:
    if kind == "FLOPs":
        top = 10 * float(runs["flops"].max()) if "flops" in runs else 1e21
        request["flops"] = inputs.quantity(
            "Training compute [FLOPs]", "flops", "flops", f"{top:.0e}".replace("e+", "e"), "For example 5.76e23."
        )
    elif kind == "loss":
        request["loss"] = inputs.quantity(
            "Wanted loss",
            "loss",
            "loss",
            f"{0.95 * float(runs['loss'].min()):.3g}",
            "The least compute that reaches it is found.",
        )
    elif kind == "money":
        request["usd"] = inputs.quantity("Money", "usd", "usd", "$2.5M")
    else:
        request["days"] = inputs.quantity("Days", "days", "days", "30d")
with fields[1]:
    chips = ["none", *ACCELERATORS] if kind in ("FLOPs", "loss") else list(ACCELERATORS)
    chip = st.selectbox(
        "Accelerator",
        chips,
        index=chips.index("H100-SXM") if kind not in ("FLOPs", "loss") else 0,
        key="accelerator",
        bind="query-params",
    )
if chip != "none":
    request["accelerator"] = chip
    with fields[2]:
        request["count"] = inputs.quantity("How many", "count", "count", "256")
    with fields[3]:
        request["mfu"] = inputs.quantity(
            "Share of peak (MFU)",
            "fraction",
            "mfu",
            "40%",
            "Model FLOPs utilisation: what part of the accelerator's peak training reaches.",
        )
        request["usd_per_hour"] = inputs.quantity(
            "Dollars per hour of one", "usd", "usd_per_hour", "", "Empty: the assumption listed in the library."
        )
with st.expander("Constraints"):
    columns = st.columns(5)
    for column, (name, label, unit) in zip(
        columns,
        (("max_params", "At most parameters", "params"), ("max_tokens", "At most tokens", "tokens"), ("n_params", "Exactly parameters", "params"),
         ("tokens_per_param", "Exactly tokens per parameter", "count"), ("inference_tokens", "Tokens served in its life", "tokens")), strict=True,
    ):  # fmt: skip
        with column:
            request[name] = inputs.quantity(label, unit, name)
level = st.select_slider("Level of the bands", [0.5, 0.8, 0.9, 0.95], 0.8, key="band", bind="query-params")
if not sources:
    st.info("Choose a law.")
    st.stop()
request = {k: v for k, v in request.items() if v is not None}
if "count" in request:
    request["count"] = int(request["count"])
plans = {}
for source in sources:
    with inputs.sentences():
        if source == OWN:
            laws = [
                n
                for n in st.session_state.get("laws", ["chinchilla"])
                if n in ("chinchilla", "kaplan", "overtraining", "farseer")
            ] or ["chinchilla"]
            law = cache.fit(
                laws[0],
                runs,
                st.session_state.get("objective", "hoffmann"),
                st.session_state.get("resamples", 300) or 300,
            )
        else:
            law = PUBLISHED[source]
        plans[source] = plan(law, band=level, **request)
made = plans[sources[0]]
(step,) = made.steps
st.success(inputs.escape(str(made).splitlines()[0]))
for column, (label, band, form) in zip(
    st.columns(4),
    (("Model size", step.n_params, "params"), ("Training tokens", step.n_tokens, "tokens"), ("Tokens per parameter", step.tokens_per_param, "count"), ("Loss", step.loss, "loss")), strict=True,
):  # fmt: skip
    span = (
        ""
        if band.low is None
        else f"{scaling.format_quantity(band.low, form)} to {scaling.format_quantity(band.high, form)}"
    )
    column.metric(
        label,
        scaling.format_quantity(band.estimate, form, digits=4 if form == "loss" else 3),
        span or None,
        delta_color="off",
        delta_arrow="off",
    )
if step.hardware:
    h = step.hardware
    cost = st.columns(3)
    cost[0].metric("Accelerator-hours", scaling.format_quantity(h.gpu_hours))
    cost[1].metric(
        "Days", f"{h.days:.3g}", f"on {h.count:,} at {h.mfu:.0%} of peak", delta_color="off", delta_arrow="off"
    )
    if h.usd is not None:
        cost[2].metric(
            "Money",
            scaling.format_quantity(h.usd, "usd"),
            f"at ${h.usd_per_hour:.2f} an hour",
            delta_color="off",
            delta_arrow="off",
        )
for warning in step.warnings:
    st.warning(inputs.escape(warning.message))
for caveat in made.caveats:
    st.caption(inputs.escape(caveat))
with inputs.sentences():
    budgets = np.geomspace(step.flops / 100, step.flops * 10, 25)
    best = scaling.allocate(made.allocation.fitted, budgets)
    picture = charts.frontier(best, made.allocation.fitted if sources[0] == OWN else None, level)
inputs.show_chart(picture, "frontier", "Best model size and tokens against compute")
st.subheader("Side by side")
beside = pd.concat([p.table().assign(law=name) for name, p in plans.items()], ignore_index=True)
inputs.show_table(beside[["law", *[c for c in beside if c != "law"]]])
inputs.downloads("plan", beside, made.to_dict(), picture)
