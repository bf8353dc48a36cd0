"""Training curves too large for memory, reduced to the last row of each run while they are read.

Two passes over each block of lines: a fast one over the few columns that tell runs and rows apart finds the lines to keep;
those lines alone are then read like any other file, so that the numbers are the same as those of a small file.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import BinaryIO

import numpy as np
import pandas as pd

from scaling.errors import RunsError
from scaling.logs import curves, formats
from scaling.logs.files import MISSING, RawTable, delimited, named
from scaling.logs.schema import COLUMNS, match_columns

LARGE = 1 << 28  # bytes: smaller files are read whole
_BLOCK = 1 << 25
_KEPT = 1 << 28  # bytes of lines kept: beyond it the rows are runs, not curves


def last_rows_of_file(
    path: str, columns: Mapping[str, str], target: str = "loss", block_bytes: int = _BLOCK
) -> RawTable | None:
    """The rows of a delimited file that its final losses depend on, in memory bounded by the block and by what is kept.

    path : a plain CSV, TSV or the like with a column that orders the rows (step, n_tokens or flops).
    columns, target : as in read_runs. block_bytes : how much is read at once.
    Kept are, of each block, the last row of each run with a target and the row with its largest learning rate; row numbers are
    those of the file. None for a file that cannot be reduced so (another format, no order, cells with line breaks).
    Raises RunsError for a mapped column that does not exist, as match_columns does.
    """
    with open(path, "rb") as stream:
        layout = _layout(stream, path, columns, target)
        if layout is None:
            return None
        return _reduce(stream, path, layout, block_bytes)


class _Layout:
    """Where in a line the columns stand that tell runs and rows apart."""

    def __init__(self, names: list[str], delimiter: str, header: bytes, at: dict[str, int]) -> None:
        self.names, self.delimiter, self.header, self.at = names, delimiter, header, at
        self.order = next((c for c in ("step", "n_tokens", "flops") if c in at), "")


def _layout(stream: BinaryIO, path: str, columns: Mapping[str, str], target: str) -> _Layout | None:
    head = stream.read(1 << 17)
    stream.seek(0)
    first = head.lstrip(b"\xef\xbb\xbf")
    if b"\n" not in first or b"\0" in first or first[:1] in (b"[", b"{", b"\n", b"\r") or formats.find(head, path):
        return None
    header = first.split(b"\n", 1)[0] + b"\n"
    if header.startswith((b"sep=", b'"sep=')):
        return None
    try:
        sample = delimited(first[: first.rindex(b"\n") + 1], path)
    except RunsError:
        return None  # the ordinary reader says what is wrong
    names = list(sample.columns)
    delimiter = max(",;\t|", key=re.sub(rb'"[^"]*"', b"", header).decode("utf-8", "replace").count)
    fields = next(csv.reader([header.decode("utf-8", "replace").strip()], delimiter=delimiter))
    if sample.decimal_comma or len(fields) != len(names) or curves.unfold_wide(sample) is not None:
        return None
    wanted = ["run", "step", "n_params", "n_tokens", "flops", "lr", "seed", *(["loss"] if target == "loss" else [])]
    explicit = dict(columns) | ({target: target} if target not in COLUMNS and target in names else {})
    explicit = {c: h for c, h in explicit.items() if c in (*wanted, target)}
    matches = match_columns(names, explicit, file=path, duplicated=sample.duplicated, wanted=wanted)
    at = {c: names.index(m.header) for c, m in matches.items()}
    layout = _Layout(names, delimiter, header, {"target" if c == target else c: i for c, i in at.items()})
    one_run = "run" in at or "n_params" not in at
    return layout if layout.order and "target" in layout.at and one_run else None


def _blocks(stream: BinaryIO, size: int) -> Iterator[bytes]:
    """Blocks of whole lines."""
    rest = b""
    while block := stream.read(size):
        block = rest + block
        end = block.rfind(b"\n") + 1
        rest = block[end:]
        if end:
            yield block[:end]
    if rest:
        yield rest + b"\n"


def _reduce(stream: BinaryIO, path: str, layout: _Layout, block_bytes: int) -> RawTable | None:
    digest, size = hashlib.sha256(), 0
    kept: list[bytes] = []
    lines: list[np.ndarray] = []
    line, n_rows = 1, 0
    for block in _blocks(stream, block_bytes):
        digest.update(block)
        body = block
        if line == 1:
            body = block.split(b"\n", 1)[1]
            line = 2
        if not body:
            continue
        starts = np.append(0, np.flatnonzero(np.frombuffer(body, dtype=np.uint8) == ord("\n")) + 1)
        count = len(starts) - 1
        found = _rows_to_keep(body, count, layout)
        if found is None:
            return None
        rows, used = found
        n_rows += used
        kept += [body[starts[i] : starts[i + 1]] for i in rows]
        lines.append(rows + line)
        size += sum(len(part) for part in kept[-len(rows) :]) if len(rows) else 0
        if size > _KEPT:
            return None
        line += count
    if not kept:
        return None
    table = delimited(layout.header + b"".join(kept), path)
    if len(table.rows) != len(kept):
        return None
    gigabytes = os.path.getsize(path) / 1e9
    note = (
        "read_in_parts",
        f"{named(path)} ({gigabytes:.1f} GB) was reduced to the last rows of its runs while it was read; rows within the curves are not checked",
    )
    return replace(
        table,
        rows=np.concatenate(lines),
        sha256=digest.hexdigest(),
        n_rows=n_rows,
        notes=(*table.notes, note),
    )


def _rows_to_keep(body: bytes, count: int, layout: _Layout) -> tuple[np.ndarray, int] | None:
    """(positions of the lines to keep, ascending; rows that are no blank lines), or None for lines that are no rows."""
    at = layout.at
    names = {position: column for column, position in at.items()}
    text = {at[c]: "category" for c in ("run",) if c in at}
    try:
        frame = pd.read_csv(
            io.BytesIO(body),
            sep=layout.delimiter,
            header=None,
            names=list(range(len(layout.names))),
            usecols=sorted(names),
            dtype=text,
            index_col=False,
            skip_blank_lines=False,
            skipinitialspace=True,
            keep_default_na=False,
            na_values=MISSING,
            low_memory=False,
            encoding_errors="replace",
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError, OverflowError):
        return None
    if len(frame) != count:
        return None
    frame = frame.rename(columns=names)
    target = frame["target"]
    logged = np.flatnonzero(target.notna().to_numpy())
    used = int(frame.notna().any(axis=1).sum()) if len(logged) < count else count
    keys = _keys(frame)
    order = pd.to_numeric(frame[layout.order], errors="coerce").to_numpy(dtype=float)
    kept = [logged[_last(keys[logged], order[logged])]]
    if "lr" in frame:
        lr = pd.to_numeric(frame["lr"], errors="coerce").to_numpy(dtype=float)
        known = np.flatnonzero(~np.isnan(lr))
        kept.append(known[_last(keys[known], lr[known])])
    return np.unique(np.concatenate(kept)), used


def _keys(frame: pd.DataFrame) -> np.ndarray:
    """(rows,) an integer for each training of the block, by run, size and seed, as curves.run_keys tells them apart."""
    keys = np.zeros(len(frame), dtype=np.int64)
    for column in ("run", "n_params", "seed"):
        if column in frame:
            values = frame[column]
            codes = values.cat.codes.to_numpy() if column == "run" else pd.factorize(values)[0]
            keys = pd.factorize(keys * (int(codes.max(initial=0)) + 2) + codes)[0]
    return keys


def _last(keys: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Positions of the row with the largest order of each key, the later of equal ones."""
    if not len(keys):
        return np.empty(0, dtype=int)
    known = np.where(np.isnan(order), -np.inf, order)
    largest = np.full(int(keys.max()) + 1, -np.inf)
    np.maximum.at(largest, keys, known)
    best = np.flatnonzero(known == largest[keys])
    last = np.full(len(largest), -1)
    last[keys[best]] = best  # of several assignments to one place the last stays
    return last[last >= 0]
