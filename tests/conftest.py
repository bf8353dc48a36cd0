"""What every test may use: the reference data beside the checkout, and random tests that repeat."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

REFERENCE_DATA = Path(__file__).resolve().parents[2] / "shared" / "reference-data"

# Derandomised: the same examples on every machine and every day, so that a failure is the change's own.
settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repeatable")


def _reference(name: str, folder: Path = REFERENCE_DATA) -> Path:
    path = folder / name
    if path.exists():
        return path
    message = f"reference data {name!r} is not beside this checkout ({folder})"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def reference() -> Callable[[str], Path]:
    """The path of a published data set; the test is skipped where the data is absent, and fails when CI is set."""
    return _reference


@pytest.fixture(scope="session")
def science() -> Callable[[str], Path]:
    """The path of a file of golden numbers; skipped or failed like `reference`."""
    return lambda name: _reference(name, REFERENCE_DATA.parent / "science")
