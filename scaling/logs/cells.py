"""The cells of a column as numbers, and why a cell is none."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from scaling.errors import QuantityError, RunsError
from scaling.logs.delimited import LOSS_LIKE
from scaling.logs.raw_table import RawTable, named
from scaling.logs.schema import Match
from scaling.quantities import parse_quantity, quote

EMPTY, NOT_FINITE, TEXT = 1, 2, 3  # why a target cell is no number
_NO_VALUE = {"", "null", "none", "na", "n/a", "#n/a", "-", "--"}


@dataclass
class Cells:
    """A column as numbers. states : 0, or why a cell is none. texts : what stood there."""

    values: np.ndarray
    states: np.ndarray
    texts: np.ndarray
    rows: np.ndarray

    @classmethod
    def read(cls, table: RawTable, match: Match, kind: str) -> Cells:
        """The cells of one column, times its factor; `kind` of quantity says which suffixes they may have.

        Raises RunsError, naming file, row and column, for true and false, dates, and something like a number that is none.
        """
        column, header = table.columns[match.header], match.header
        n = len(column)
        texts = np.full(n, None, dtype=object)
        if column.dtype.kind in "fiu":
            values = column * match.factor if match.factor != 1 else column.astype(float)
            states = np.where(np.isnan(values), EMPTY, np.where(np.isinf(values), NOT_FINITE, 0)).astype(np.int8)
            return cls(values, states, texts, table.rows)
        if column.dtype.kind != "O":
            what = "true and false" if column.dtype.kind == "b" else "dates"
            raise RunsError(
                f"column {quote(header)} of {named(table.name)}, taken as {match.canonical}, holds {what}, not numbers; "
                f"map another with --column {match.canonical}=NAME."
            )
        values, states = np.full(n, np.nan), np.zeros(n, dtype=np.int8)
        known: dict[Any, tuple[float, int]] = {}
        problems: list[tuple[int, str]] = []
        for i, cell in enumerate(column.tolist()):
            if cell is None or cell is pd.NA or cell != cell:
                states[i] = EMPTY
                continue
            if cell not in known:
                try:
                    known[cell] = _number(cell, kind, table.decimal_comma)
                except QuantityError as error:
                    problems.append((i, str(error)))
                    continue
            values[i], states[i] = known[cell]
            if states[i]:
                texts[i] = str(cell)
        if problems:
            i, message = problems[0]
            more = f" ({len(problems) - 1} more such cells in this column)" if len(problems) > 1 else ""
            raise RunsError(f"{named(table.name)}, row {table.rows[i]}, column {quote(header)}: {message}{more}")
        return cls(values * match.factor if match.factor != 1 else values, states, texts, table.rows)

    def shown(self, state: int | None = None) -> str:
        """Up to three cells in that state (of any but 0 without one), as 'row 14 (n.a.)'."""
        at = np.flatnonzero(self.states == state if state else self.states > 0)[:3]
        return ", ".join(
            f"row {self.rows[i]} ({'empty' if self.texts[i] is None else quote(self.texts[i], 20)})" for i in at
        )


def _number(cell: Any, kind: str, decimal_comma: bool) -> tuple[float, int]:
    """(value, state) of a cell that holds text. Raises QuantityError for something like a number that is none."""
    text = str(cell).strip()
    if text.lower() in _NO_VALUE:
        return math.nan, EMPTY
    if decimal_comma and re.fullmatch(r"[+-]?\d+(\.\d{3})*,\d+\D*.*", text):
        text = text.replace(".", "").replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        pass
    else:
        return (value, 0) if math.isfinite(value) else (value, NOT_FINITE)
    if not re.search(r"\d", text):
        return math.nan, TEXT
    negative = text.startswith("-")
    value = parse_quantity(text.removeprefix("-"), kind, zero=True)
    return (-value if negative else value), 0


def own_numbers(name: str, values: np.ndarray) -> np.ndarray:
    """A further column of the file that was kept as text in case it was the loss: numbers if each of its cells is one."""
    if values.dtype != object or not LOSS_LIKE.search(name):
        return values
    try:
        return np.array([np.nan if v is None else v for v in values]).astype(float)
    except (TypeError, ValueError):
        return values
