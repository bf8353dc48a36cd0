"""Words on a page: text from files shown as written, errors as sentences, and the end of a page that has said all it can.

Loaded before anything is shown, so nothing slow is imported here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import streamlit as st

from scaling.errors import ScalingError


class PageEnd(Exception):
    """A page has said all that it can, and ends here."""


def stop() -> NoReturn:
    """End the page here."""
    raise PageEnd


def escape(text: object) -> str:
    """Text from a file as it may stand in Markdown: shown as written, never as a link, an image or a formula."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|<>~:$&])", r"\\\1", str(text).replace("\n", " "))


def sentence(text: object) -> str:
    """The same, its first letter large."""
    return escape(str(text)[:1].upper() + str(text)[1:])


@contextmanager
def sentences() -> Iterator[None]:
    """Errors of the package become a sentence on the page, and the page ends there."""
    try:
        yield
    except ScalingError as error:
        st.error(sentence(error))
        raise PageEnd from None
