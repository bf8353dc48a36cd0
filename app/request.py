"""What a visitor asks of a plan: a budget, machines, constraints. The texts stand in the address."""

from __future__ import annotations

from typing import Any

import inputs
import pandas as pd
import streamlit as st
import words

from scaling.hardware import ACCELERATORS

FLOPS, MACHINES, MONEY, ENERGY, LOSS, SCORE = "FLOPs", "accelerators", "money", "energy", "loss", "score"
CONSTRAINTS = (  # argument of plan, label, kind of quantity, help
    ("max_params", "At most parameters", "params", "For example what memory or serving speed allows."),
    ("max_tokens", "At most tokens", "tokens", "All the text there is, seen once."),
    ("unique_tokens", "Unique tokens", "tokens", "Text at hand; more tokens than that are repeats, worth less each time."),
    ("inference_tokens", "Tokens served in its life", "tokens", "The budget then pays for training and serving."),
    ("min_tokens_per_param", "At least tokens per parameter", "count", "Smaller models, trained longer, are cheaper to serve."),
    ("tokens_per_param", "Exactly tokens per parameter", "count", "Fixes the ratio."),
    ("n_params", "Exactly parameters", "params", "Fixes the model size."),
    ("serving_memory", "Memory to serve it in", "text", "For example 80GB: the weights must fit."),
)  # fmt: skip


def budget(runs: pd.DataFrame) -> dict[str, Any]:
    """Arguments of `plan` for the budget and the machines."""
    kind = st.segmented_control(
        "Budget", [FLOPS, MACHINES, MONEY, ENERGY, LOSS, SCORE], default=FLOPS, key="budget", bind="query-params",
        help="What is given: compute; machines and days; money; energy; or the loss or score to reach, for which the least compute is found.",
    ) or FLOPS  # fmt: skip
    free = kind in (FLOPS, LOSS, SCORE)  # machines only add time and money
    given: dict[str, Any] = {}
    fields = st.columns(5)
    with fields[0]:
        if kind == FLOPS:
            top = 10 * float(runs["flops"].max()) if "flops" in runs else 1e21
            given["flops"] = inputs.quantity(
                "Training compute [FLOPs]", "flops", "flops", f"{top:.0e}".replace("e+", "e"), "For example 5.76e23."
            )
        elif kind == LOSS:
            given["loss"] = inputs.quantity(
                "Wanted loss", "loss", "loss", f"{0.95 * float(runs['loss'].min()):.3g}", "The least compute that reaches it is found."
            )  # fmt: skip
        elif kind == SCORE:
            given["score"] = inputs.quantity("Wanted score", "fraction", "score", "50%", "Share of items solved, by the link of the page Emergence.")  # fmt: skip
        elif kind == MONEY:
            given["usd"] = inputs.quantity("Money", "usd", "usd", "$2.5M", "What training may cost, for example $2.5M.")
        elif kind == ENERGY:
            given["kwh"] = inputs.text("Energy", "kwh", "500 MWh", "At the wall, cooling included.")
        else:
            given["days"] = inputs.quantity(
                "Days", "days", "days", "30d", "How long the machines are yours, for example 30d or 12h."
            )
    chips = ["none", *ACCELERATORS] if free else list(ACCELERATORS)
    chip = fields[1].selectbox(
        "Accelerator",
        chips,
        index=0 if free else chips.index("H100-SXM"),
        key="accelerator",
        bind="query-params",
        help="Turns compute into time, money and energy; peaks and sources are on the page Library.",
    )
    if chip == "none":
        return given
    given["accelerator"] = chip
    with fields[2]:
        given["count"] = inputs.quantity("How many", "count", "count", "256", "Accelerators working together.")
    with fields[3]:
        given["mfu"] = inputs.quantity("Share of peak (MFU)", "fraction", "mfu", "40%", "Model FLOPs utilisation: the part of the accelerator's peak that training reaches.")  # fmt: skip
    with fields[4]:
        given["usd_per_hour"] = inputs.quantity("Dollars per hour of one", "usd", "usd_per_hour", "", "Empty: the assumption listed on the page Library.")  # fmt: skip
    if given["count"] is not None:
        if given["count"] != int(given["count"]):
            st.error(words.escape(f"How many: {given['count']:g} accelerators cannot be had; write a whole number."))
            words.stop()
        given["count"] = int(given["count"])
    return given


def constraints() -> dict[str, Any]:
    """Arguments of `plan` that bound the answer."""
    given: dict[str, Any] = {}
    with st.expander("Constraints"):
        for row in range(0, len(CONSTRAINTS), 4):
            for column, (name, label, kind, help) in zip(st.columns(4), CONSTRAINTS[row : row + 4], strict=True):
                with column:
                    given[name] = inputs.text(label, name, "", help) if kind == "text" else inputs.quantity(label, kind, name, "", help)  # fmt: skip
    return given
