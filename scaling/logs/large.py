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
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from scaling.errors import RunsError
from scaling.logs import curves, formats
from scaling.logs.compressed import RATE, Unpacked, is_packed, pieces
from scaling.logs.delimited import MISSING, delimited
from scaling.logs.raw_table import RawTable, named
from scaling.logs.scan import plain_rows
from scaling.logs.schema import COLUMNS, match_columns

LARGE = 1 << 25  # bytes: smaller files are read whole
_HEAD = 1 << 17
_LINE = 1 << 27  # bytes: no row of a log is longer
_BLOCK = 1 << 21  # larger ones leave the cache of the processor: measured slower
_PIECE = 1 << 19  # bytes of a block that are scanned at once: measured fastest, the temporaries of numpy stay small
_THREADS = 2
_ORDERS = ("step", "n_tokens", "flops")  # the first that a file has orders its rows
_KEYS = ("run", "n_params", "seed")
_KEPT = 1 << 28  # bytes of lines kept: beyond it the rows are runs, not curves


def last_rows_of_file(
    path: str,
    columns: Mapping[str, str],
    target: str = "loss",
    *,
    block_bytes: int = _BLOCK,
    read: Callable[[int], None] = lambda _: None,
) -> RawTable | None:
    """The rows of a delimited file that its final losses depend on, in memory bounded by the block and by what is kept.

    path : a CSV, TSV or the like, perhaps compressed, with a column that orders the rows (step, n_tokens or flops).
    columns, target : as in read_runs. block_bytes : how much is read at once. read : called with the bytes of the file read so
    far, block by block; what it raises ends the reading.
    Kept are, of each block, the last row of each run with a target and the row with its largest learning rate; row numbers are
    those of the file. None for a file that cannot be reduced so (another format, no order, cells with line breaks).
    Raises RunsError for a mapped column that does not exist, as match_columns does.
    """
    with open(path, "rb") as raw:
        layout = _layout(_unpacked(raw, path).read(_HEAD), path, columns, target)
        if layout is None:
            return None
        raw.seek(0)
        return _reduce(raw, path, layout, block_bytes, read)


def is_large(path: str) -> bool:
    """Whether a file is to be reduced while it is read: for its size, or for what it may unpack to."""
    size = os.path.getsize(path)
    if size > LARGE or size < LARGE // RATE:
        return size > LARGE
    with open(path, "rb") as raw:
        if not is_packed(raw.read(4)):
            return False
        raw.seek(0)
        unpacked = 0
        for piece in pieces(_unpacked(raw, path)):
            unpacked += len(piece)
            if unpacked > LARGE:
                return True
    return False


def _unpacked(raw: BinaryIO, path: str) -> BinaryIO:
    head = raw.read(4)
    raw.seek(0)
    if not is_packed(head):
        return raw
    return io.BufferedReader(Unpacked(raw, named(path)), _BLOCK)


@dataclass(frozen=True)
class _Layout:
    """The columns of the file and, in `at`, the positions of those that tell runs and rows apart; `order` orders rows."""

    names: list[str]
    delimiter: str
    header: bytes
    at: dict[str, int]
    order: str


def _layout(head: bytes, path: str, columns: Mapping[str, str], target: str) -> _Layout | None:
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
    at = {"target" if c == target else c: names.index(m.header) for c, m in matches.items()}
    order = next((c for c in _ORDERS if c in at), "")
    if (
        not order or "target" not in at or ("run" not in at and "n_params" in at)
    ):  # without names, rows of sizes are runs
        return None
    needed = {c: i for c, i in at.items() if c not in _ORDERS or c == order}  # what is not needed is not parsed
    return _Layout(names, delimiter, header, needed, order)


def _blocks(stream: BinaryIO, size: int) -> Iterator[bytes | None]:
    """Blocks of whole lines; None, as the last, where a line has no end in sight."""
    while block := stream.read(size):
        if not block.endswith(b"\n"):
            rest = stream.readline(_LINE)
            if len(rest) == _LINE and not rest.endswith(b"\n"):
                yield None
                return
            block += rest
        yield block if block.endswith(b"\n") else block + b"\n"


def _in_order(blocks: Iterator[bytes | None], work: Callable[[bytes], Any]) -> Iterator[tuple[bytes, Any]]:
    """(block, work(block)) in order, (b"", None) for a block that is None, a few blocks ahead in threads: the parser does not hold the interpreter."""
    with ThreadPoolExecutor(_THREADS) as pool:
        ahead: deque[tuple[bytes, Future[Any]]] = deque()
        for block in blocks:
            if block is None:
                yield b"", None
                return
            ahead.append((block, pool.submit(work, block)))
            if len(ahead) > _THREADS:
                first, future = ahead.popleft()
                yield first, future.result()
        for first, future in ahead:
            yield first, future.result()


def _reduce(
    raw: BinaryIO, path: str, layout: _Layout, block_bytes: int, read: Callable[[int], None]
) -> RawTable | None:
    digest, size = hashlib.sha256(), 0
    kept: list[bytes] = []
    lines: list[np.ndarray] = []
    stream = _unpacked(raw, path)
    packed = stream is not raw
    digest.update(stream.readline())
    line, n_rows = 2, 0
    for block, found in _in_order(_blocks(stream, block_bytes), lambda body: _rows_to_keep(body, layout)):
        read(raw.tell())
        if not packed:
            digest.update(block)
        if found is None:
            return None
        n_rows += found.used
        kept += found.lines
        lines.append(found.rows + line)
        size += sum(map(len, found.lines))
        if size > _KEPT:
            return None
        line += found.count
    if not kept:
        return None
    table = delimited(layout.header + b"".join(kept), path)
    if len(table.rows) != len(kept):
        return None
    if packed:  # the file's own bytes, as of any other
        raw.seek(0)
        digest = hashlib.sha256()
        for piece in pieces(raw):
            digest.update(piece)
    gigabytes = os.path.getsize(path) / 1e9
    note = (
        "read_in_parts",
        f"{named(path)} ({gigabytes:.1f} GB) was reduced to the last rows of its runs while it was read; rows within the curves are not checked",
    )
    rows = np.concatenate(lines)
    return replace(table, rows=rows, sha256=digest.hexdigest(), n_rows=n_rows, notes=(*table.notes, note))


@dataclass(frozen=True)
class _Found:
    """Of one block: the lines to keep, their positions, how many lines there are and how many of them are not blank."""

    lines: list[bytes]
    rows: np.ndarray
    count: int
    used: int


def _rows_to_keep(body: bytes, layout: _Layout) -> _Found | None:
    """The lines of a block that its runs' final losses depend on; None for lines that are no rows."""
    return _of_plain_block(body, layout) or _of_block(body, layout)


def _of_plain_block(body: bytes, layout: _Layout) -> _Found | None:
    lines: list[bytes] = []
    rows: list[np.ndarray] = []
    count = at = 0
    while at < len(body):
        end = body.find(b"\n", min(at + _PIECE, len(body) - 1)) + 1 or len(body)
        piece = body[at:end]
        found = plain_rows(piece, layout.delimiter, len(layout.names), layout.at, layout.order, _last)
        if found is None:
            return None
        kept, starts = found
        lines += [piece[starts[i] : starts[i + 1]] for i in kept]
        rows.append(kept + count)
        count += len(starts) - 1
        at = end
    return _Found(lines, np.concatenate(rows), count, count) if rows else None


def _of_block(body: bytes, layout: _Layout) -> _Found | None:
    """As _rows_to_keep, of any block, by pandas."""
    names = {position: column for column, position in layout.at.items()}
    starts = np.append(0, np.flatnonzero(np.frombuffer(body, dtype=np.uint8) == ord("\n")) + 1)
    count = len(starts) - 1
    try:
        frame = pd.read_csv(
            io.BytesIO(body),
            sep=layout.delimiter,
            header=None,
            names=list(range(len(layout.names))),
            usecols=sorted(names),
            dtype={layout.at["run"]: "category"} if "run" in layout.at else None,
            index_col=False,
            skip_blank_lines=False,
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
    is_logged = frame["target"].notna().to_numpy()
    if frame["target"].dtype.kind not in "fiu":  # text somewhere: a cell of blanks is missing, too
        is_logged = is_logged & ~frame["target"].astype(str).str.strip().isin(MISSING).to_numpy()
    logged = np.flatnonzero(is_logged)
    used = count if len(logged) == count else int(frame.notna().any(axis=1).sum())
    keys = _keys(frame)
    order = pd.to_numeric(frame[layout.order], errors="coerce").to_numpy(dtype=float)
    kept = [logged[_last(keys[logged], order[logged])]]
    if "lr" in frame:
        lr = pd.to_numeric(frame["lr"], errors="coerce").to_numpy(dtype=float)
        known = np.flatnonzero(~np.isnan(lr))
        kept.append(known[_last(keys[known], lr[known])])
    rows = np.unique(np.concatenate(kept))
    return _Found([body[starts[i] : starts[i + 1]] for i in rows], rows, count, used)


def _keys(frame: pd.DataFrame) -> np.ndarray:
    """(rows,) an integer for each training of the block, by run, size and seed, as curves.run_keys tells them apart."""
    columns = [frame[c].cat.codes.to_numpy() if c == "run" else frame[c].to_numpy() for c in _KEYS if c in frame]
    head = np.ones(len(frame), dtype=bool)  # where another training starts: one factorisation per stretch, not per row
    head[1:] = np.logical_or.reduce([c[1:] != c[:-1] for c in columns]) if columns else False
    keys = np.zeros(int(head.sum()), dtype=np.int64)
    for values in columns:
        codes = pd.factorize(values[head])[0]
        keys = pd.factorize(keys * (int(codes.max(initial=0)) + 2) + codes)[0]
    return keys[np.cumsum(head) - 1]


def _last(keys: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Positions of the row with the largest order of each key, the later of equal ones."""
    if not len(keys):
        return np.empty(0, dtype=int)
    known = np.where(np.isnan(order), -np.inf, order)
    other = keys[1:] != keys[:-1]
    ends = np.append(np.flatnonzero(other), len(keys) - 1)
    if len(np.unique(keys[ends])) == len(ends) and ((known[1:] >= known[:-1]) | other).all():
        return ends  # the common case: run after run, each in its order
    starts = np.append(0, ends[:-1] + 1)
    best = np.maximum.reduceat(known, starts)
    largest = np.full(int(keys.max()) + 1, -np.inf)
    np.maximum.at(largest, keys[starts], best)
    at = np.flatnonzero(known == largest[keys])
    last = np.full(len(largest), -1)
    last[keys[at]] = at  # of several assignments to one place the last stays
    return last[last >= 0]
