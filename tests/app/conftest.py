"""What the tests of the app share: a page run in this process leaves no trace in it."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture(autouse=True)
def _main_module_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page takes the place of `__main__`, which every worker process of a later test would run again."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
