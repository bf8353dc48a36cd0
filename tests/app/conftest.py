"""What the tests of the app share: a page run in this process leaves no trace in it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

MAIN = sys.modules["__main__"]  # as the tests began


@pytest.fixture(autouse=True)
def _main_module_restored() -> Iterator[None]:
    """A page takes the place of `__main__`, which every worker process of a later test would run again."""
    yield
    sys.modules["__main__"] = MAIN
