"""Values as Python's own: in a document, where nan and infinities become None, and in a sentence of an error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def plain(value: Any) -> Any:
    """The value as a Python object; None for nan and infinities, anything that is not a number as it is."""
    value = _python(value)
    return None if isinstance(value, float) and not np.isfinite(value) else value


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One dictionary of plain values per row of a table."""
    return [{str(k): plain(v) for k, v in row.items()} for row in table.to_dict("records")]


def shown(value: Any) -> str:
    """A cell as a sentence shows it: text in quotes, numbers bare, whatever numpy calls their type."""
    return repr(_python(value))


def _python(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
