"""Inputs that pages share: quantities typed as people write them, the runs in use, the settings of the visitor's fit."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import cache
import streamlit as st
import uploads
from streamlit.errors import StreamlitAPIException
from words import sentences, stop

import scaling
from scaling.fitting import OBJECTIVES
from scaling.laws import LAWS
from scaling.laws.published import PUBLISHED
from scaling.logs import LOSS_UNITS
from scaling.quantities import parse_quantity

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 200_000  # of an uploaded table
OWN = "your fit"


def quantity(label: str, kind: str, key: str, default: str = "", help: str | None = None) -> float | None:
    """A quantity as people write it; None when left empty. The text stands in the address."""
    text = st.text_input(label, default, key=key, help=help, bind="query-params")
    if not text or not text.strip():
        return None
    with sentences():
        return parse_quantity(text, kind, name=label)


def text(label: str, key: str, default: str = "", help: str | None = None) -> str | None:
    """Text that the library reads itself; None when left empty. It stands in the address."""
    typed = st.text_input(label, default, key=key, help=help, bind="query-params")
    return typed.strip() or None if typed else None


def current_runs() -> pd.DataFrame:
    """The runs every page works on: uploaded or sample, read as this visitor chose, without the runs they excluded."""
    with sentences():
        files = uploads.files_in_use("runs", uploads.RUNS)
        if chosen := uploads.reading():  # a link may name columns that these files do not have
            known = {str(c) for c in cache.preview(cache.content_key(files), files)}
            st.session_state["reading"] = {
                name: value
                for name, value in chosen.items()
                if value in (LOSS_UNITS if name == uploads.UNIT else known)
            }
        runs = cache.read(files, uploads.reading())
        if len(runs) > MOST_ROWS:
            raise scaling.RunsError(
                f"the log has {len(runs):,} rows; the app takes {MOST_ROWS:,}. Use the command `scaling` for more."
            )
    if uploads.excluded():
        read = runs.attrs
        runs = runs[~runs["run"].isin(uploads.excluded())]
        runs.attrs = read
    return runs


def fit_settings(runs: pd.DataFrame, *places: Any) -> tuple[list[str], str, int]:
    """Laws, objective and resamples of the visitor's fit, on every page that uses it: so its link makes the same fit."""
    able = [n for n, law in LAWS.items() if law.target == "loss" and set(law.inputs) <= set(runs.columns)]
    if not able:
        st.warning("No law fits these columns: map n_params, n_tokens or flops on the page Runs.")
        stop()
    one, two, three = places
    kept = st.session_state.setdefault("own_fit", {})
    for key, value in kept.items() if st.session_state.get("arrived") else ():
        if key not in st.query_params:  # the framework forgets an input that another page shows as well
            st.session_state[key] = value
            with suppress(StreamlitAPIException):  # still bound to the input of the other page, which keeps it there
                st.query_params[key] = [str(v) for v in value] if isinstance(value, list) else str(value)
    laws = [n for n in ("chinchilla",) if n in able] or able[:1]
    chosen = one.multiselect(
        "Laws", able, default=None if "laws" in st.session_state else laws,
        key="laws", bind="query-params",
        help="The first is drawn; all are compared. Each law with its formula is on the page Library.",
    )  # fmt: skip
    objective = two.selectbox(
        "Objective", list(OBJECTIVES), key="objective", bind="query-params",
        help="What is minimised: robust takes the size of the noise from the runs and gives far outliers no weight; hoffmann is Huber 1e-3 on log loss, as in the literature.",
    )  # fmt: skip
    resamples = three.select_slider(
        "Resamples", [0, 100, 300, 1000, 4000], None if "resamples" in st.session_state else 300, key="resamples", bind="query-params",
        help="Refits on runs drawn anew; intervals come from them.",
    )  # fmt: skip
    st.session_state["own_fit"] = {"laws": chosen, "objective": objective, "resamples": resamples}
    return chosen, objective, resamples


def own_fit(runs: pd.DataFrame) -> None:
    """The settings of the visitor's fit on a page that uses it, folded away."""
    with st.expander("Your fit"):
        fit_settings(runs, *st.columns([3, 1, 1]))


PLANNABLE = ("chinchilla", "kaplan", "overtraining", "farseer")  # laws of size and tokens that a page Fit may hold


def published_laws() -> list[str]:
    """Keys of the published laws of loss over model size and tokens."""
    return [k for k, e in PUBLISHED.items() if {"n_params", "n_tokens"} == set(e.law.inputs) and e.law.target == "loss"]


def law_in_use(name: str) -> Any:
    """A published law, or the fit of the page Fit with its resamples."""
    if name != OWN:
        return PUBLISHED[name]
    fitted = [n for n in st.session_state.get("laws", []) if n in PLANNABLE]
    return cache.fit(
        fitted[0] if fitted else "chinchilla",
        current_runs(),
        st.session_state.get("objective", "robust"),
        st.session_state.get("resamples", 300) or 300,
    )
