"""What a log format is, and how the lines of a training log become rows: one row per step, what belongs together merged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from scaling.errors import RunsError
from scaling.logs.raw_table import RawTable, column_of, named
from scaling.quantities import QuantityError, parse_quantity

Cell = float | str | None


@dataclass(frozen=True)
class Format:
    """One kind of file that a trainer or a tracker writes.

    name : what to write in `format=`. title : what it is, for messages.
    detect : (head, name) -> whether a file that holds `head` (its first and last 128 KiB) is of this kind; cheap, and
        true only for what cannot be another table.
    read : (content, name) -> RawTable with the file's columns, its training loss named train_loss and never loss.
        Raises RunsError for content that is not of this kind.
    """

    name: str
    title: str
    detect: Callable[[bytes, str], bool]
    read: Callable[[bytes, str], RawTable]


@dataclass
class _Row:
    step: float
    cells: dict[str, Cell]
    line: int


@dataclass
class Rows:
    """Collects what a log says, in its order, and makes a table of it.

    Entries of one step that say different things (a training loss, then a held-out loss) are one row. When the step
    goes back and the same things are said again, the run was resumed: what was said from that step on is superseded.
    """

    name: str
    rows: list[_Row] = field(default_factory=list)
    constants: dict[str, float] = field(default_factory=dict)
    notes: list[tuple[str, str]] = field(default_factory=list)
    superseded: int = 0
    resumed_at: list[int] = field(default_factory=list)

    def add(self, step: float, cells: Mapping[str, Cell], line: int) -> None:
        """One entry of the log: `cells` at `step`, found in `line` (1-based)."""
        last = self.rows[-1] if self.rows else None
        if last is not None and last.step == step:
            again = last.cells.keys() & cells.keys()
            if all(_same(last.cells[k], cells[k]) for k in again):  # several ranks write the same line
                last.cells.update(cells)
                return
        if last is not None and step <= last.step:
            self._resume(step, cells)
        self.rows.append(_Row(step, dict(cells), line))

    def _resume(self, step: float, cells: Mapping[str, Cell]) -> None:
        keep = len(self.rows)
        said_again = False
        while keep and self.rows[keep - 1].step >= step:
            keep -= 1
            said_again = said_again or bool(self.rows[keep].cells.keys() & cells.keys() - {"wall_time"})
        if said_again:
            self.superseded += len(self.rows) - keep
            self.resumed_at.append(int(step))
            del self.rows[keep:]

    def table(self, what: str) -> RawTable:
        """The rows as a table; RunsError when there is none. what : the entries looked for, for the message."""
        if not self.rows:
            raise RunsError(f"{named(self.name)} holds no {what}; give the log of a training run, or another format=.")
        names = list(dict.fromkeys(key for row in self.rows for key in row.cells))
        columns = {"step": np.array([row.step for row in self.rows], dtype=float)}
        columns |= {key: column_of([row.cells.get(key) for row in self.rows]) for key in names}
        columns |= {key: np.full(len(self.rows), value) for key, value in self.constants.items()}
        notes = list(self.notes)
        if self.superseded:
            at = ", ".join(f"{s:,}" for s in self.resumed_at[:3]) + (", ..." if len(self.resumed_at) > 3 else "")
            notes.append(
                (
                    "resumed",
                    f"{named(self.name)} goes back to step {at} (resumed): {self.superseded} earlier "
                    f"row{'s' if self.superseded > 1 else ''} from there on {'are' if self.superseded > 1 else 'is'} superseded",
                )
            )
        return RawTable(self.name, columns, np.array([row.line for row in self.rows]), notes=tuple(notes))


def _same(a: Cell, b: Cell) -> bool:
    return a == b or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))


def number(text: str) -> Cell:
    """A number as logs write it ('3.1', '19,361', 'nan', '1.2E+01', '42%' as 42); other text as it stands, '' as None."""
    plain = text.strip().replace(",", "").removesuffix("%")
    try:
        return float(plain)
    except ValueError:
        return plain or None


def quantity(text: str, kind: str) -> float | None:
    """'123.59M' -> 123.59e6; None for what is no quantity."""
    try:
        return parse_quantity(text.strip(), kind)
    except QuantityError:
        return None


def carried(table: RawTable, names: Iterable[str]) -> RawTable:
    """The table with the counters `names` carried on into later rows that lack them (tokens seen are logged with the
    training loss, and the held-out loss stands in a row of its own). One run, in the order of the file."""
    columns = dict(table.columns)
    filled: list[str] = []
    for name in names:
        if name not in columns:
            continue
        values = pd.Series(columns[name])
        later = values.ffill()
        if int(later.notna().sum()) > int(values.notna().sum()):
            columns[name], filled = later.to_numpy(), [*filled, name]
    if not filled:
        return table
    note = ("sparse_rows", f"{', '.join(filled)} of {named(table.name)} carried on into the rows that lack it")
    return replace(table, columns=columns, notes=(*table.notes, note))


def noted(table: RawTable, code: str, message: str) -> RawTable:
    """The table with one more note."""
    return replace(table, notes=(*table.notes, (code, message)))


def one_run(table: RawTable, run: str = "") -> RawTable:
    """The table with a run column: the whole file is the curve of one run, by default named after the file."""
    return replace(table, columns={"run": np.full(len(table.rows), run or table.stem, dtype=object)} | table.columns)
