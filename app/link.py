"""The address of a page: values in it that no input takes are named; columns chosen and runs left out stand in it.

Loaded before anything is shown, so nothing slow is imported here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st
import uploads
from words import PageEnd, escape

WITHOUT = "without"  # a run left out; repeated for several
MOST_NAMED = 50  # runs left out that an address holds: browsers cut addresses of several thousand characters
CHOSEN = {f"map_{name}": name for name in uploads.MAPPED} | {
    uploads.UNIT: uploads.UNIT
}  # by the inputs of the page Runs

LOG = logging.getLogger("scaling.app")
UNFORESEEN = (
    "This page met something it did not foresee ({kind}): check the data on the page Runs or go back to the sample; if it "
    "stays, report it with the last lines that the terminal of scaling app shows."
)


@contextmanager
def followed(title: str) -> Iterator[None]:
    """Runs a page: takes what the address says of runs and columns first, says afterwards which values were not taken."""
    place = st.empty()
    st.session_state["arrived"] = st.session_state.get("page") != title  # the first run of this visit to the page
    st.session_state["page"] = title
    asked = {key: st.query_params.get_all(key) for key in st.query_params}
    if WITHOUT in asked and "excluded" not in st.session_state:
        st.session_state["excluded"] = set(asked[WITHOUT])
    if chosen := {CHOSEN[key]: values[0] for key, values in asked.items() if key in CHOSEN}:
        st.session_state["reading"] = uploads.reading() | chosen
    try:
        yield
    except PageEnd:
        pass
    except Exception as error:  # of anything else the visitor sees one sentence, and the server keeps the whole story
        LOG.exception("page %s failed", title)
        st.error(escape(UNFORESEEN.format(kind=type(error).__name__)))
    _keep(WITHOUT, sorted(uploads.excluded())[:MOST_NAMED])
    for key, name in CHOSEN.items():
        if key not in st.session_state:  # else the input of the page Runs keeps it
            _keep(key, [uploads.reading()[name]] if name in uploads.reading() else [])
    if refused := [(key, value) for key, values in asked.items() for value in values if not _taken(key, value)]:
        named = ", ".join(f"{key}={value[:60]}" for key, value in refused)
        place.info(escape(f"Left out of the link, because no input here takes it: {named}."))


def _taken(key: str, value: str) -> bool:
    """Whether an input holds the value; what belongs to no input of this page is left alone."""
    if key == WITHOUT or value in st.query_params.get_all(key):
        return True
    held = st.session_state.get(key)
    return any(_same(one, value) for one in (held if isinstance(held, list | tuple) else [held]))


def _same(held: object, text: str) -> bool:
    if isinstance(held, float):
        try:
            return held == float(text)
        except ValueError:
            return False
    return str(held) == text or (held is None and not text)


def _keep(key: str, values: list[str]) -> None:
    """The address holds these values of a key, and no others."""
    if values != st.query_params.get_all(key):
        if values:
            st.query_params[key] = values
        else:
            del st.query_params[key]
