"""The address of a page: values in it that no input takes are named, and runs left out stand in it.

Tables and charts are loaded by the page itself, after its title is shown, and not by this file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

WITHOUT = "without"  # a run left out; repeated for several
MOST_NAMED = 50  # runs left out that an address holds: browsers cut addresses of several thousand characters


LOG = logging.getLogger("scaling.app")
UNFORESEEN = (
    "This page met something it did not foresee ({kind}): check the data on the page Runs or go back to the sample; if it "
    "stays, report it with the last lines that the terminal of scaling app shows."
)


class PageEnd(Exception):
    """A page has said all that it can, and ends here."""


@contextmanager
def followed(title: str) -> Iterator[None]:
    """Runs a page: takes the runs to leave out from the address first, says afterwards which values were not taken."""
    place = st.empty()
    st.session_state["arrived"] = st.session_state.get("page") != title  # the first run of this visit to the page
    st.session_state["page"] = title
    asked = {key: st.query_params.get_all(key) for key in st.query_params}
    if WITHOUT in asked and "excluded" not in st.session_state:
        st.session_state["excluded"] = set(asked[WITHOUT])
    try:
        yield
    except PageEnd:
        pass
    except Exception as error:  # of anything else the visitor sees one sentence, and the server keeps the whole story
        import inputs

        LOG.exception("page %s failed", title)
        st.error(inputs.escape(UNFORESEEN.format(kind=type(error).__name__)))
    _keep_excluded()
    if refused := [(key, value) for key, values in asked.items() for value in values if not _taken(key, value)]:
        import inputs

        named = ", ".join(f"{key}={value[:60]}" for key, value in refused)
        place.info(inputs.escape(f"Left out of the link, because no input here takes it: {named}."))


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


def _keep_excluded() -> None:
    import inputs

    names = sorted(inputs.excluded())[:MOST_NAMED]
    if names != st.query_params.get_all(WITHOUT):
        if names:
            st.query_params[WITHOUT] = names
        else:
            del st.query_params[WITHOUT]
