"""read_runs: from logged files to the runs table, with an account of what was understood, converted, filled in and dropped."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from glob import glob
from typing import Any

import numpy as np
import pandas as pd

from scaling.errors import RunsError
from scaling.logs import curves
from scaling.logs.account import Account
from scaling.logs.canonical import Columns, canonical_columns, required_of_its_own
from scaling.logs.conditions import kept_by
from scaling.logs.files import MAX_BYTES, read_tables
from scaling.logs.meta import join_meta
from scaling.logs.raw_table import RawTable, named
from scaling.logs.remarks import finished, note_curves, note_rises, note_schedule, note_values
from scaling.logs.scales import accounting_of, fill_in
from scaling.logs.schema import COLUMNS, missing_column
from scaling.logs.usable import places, usable_rows
from scaling.progress import Bar, Report
from scaling.quantities import quote

LOSS_UNITS = {
    "nats": "nats/token",
    "bits": "nats/token (converted from bits/token)",
    "perplexity": "nats/token (the log of perplexity)",
    "bits_per_byte": "bits/byte",
    "nats_per_byte": "nats/byte",
    "other": "the file's own unit",
}


def read_runs(
    source: Any,
    *,
    columns: Mapping[str, str] | None = None,
    where: str | Iterable[str] = (),
    meta: Any = None,
    loss_unit: str | None = None,
    target: str = "loss",
    required: Sequence[str] = (),
    final: bool = True,
    flops_accounting: Any = "6ND",
    drop_bad: bool = True,
    max_bytes: int = MAX_BYTES,
    format: str | None = None,
    bytes_per_token: float | None = None,
    unfinished: bool | None = None,
    progress: Report | None = None,
) -> pd.DataFrame:
    """The runs table of logged training runs: canonical columns, plain numbers, one row per run.

    source : a path, a glob, '-' (standard input), an open file, a DataFrame, or a sequence of these. CSV, TSV and other
        delimited text, JSON lines, a JSON list, Parquet; gzip or zstd; told by their content.
    columns : canonical name -> the file's column, where it is not found by name; 'name*1e9' scales its cells.
    where : conditions such as 'loss<5' or 'dataset=web'; a row is kept when it meets all.
    meta : a table (any source) with one row per run, joined on the run's name, that gives n_params, n_tokens, ...
    loss_unit : 'nats' (per token), 'bits' or 'perplexity' (both converted to nats), 'bits_per_byte', 'nats_per_byte',
        or 'other' (kept as it is; may be negative). None: as the column's name says, else nats.
    target : the column to be explained later; rows without it are dropped.
    required : canonical columns that must be found, for example the inputs of a law.
    final : keep the last row of each run; False keeps whole training curves.
    flops_accounting : how FLOPs follow from N and D: '6ND', or an object with flops(n, d), tokens(n, c) and params(d, c).
        It fills in whichever of the three is absent, and is held against the FLOPs of the file where all are present.
    drop_bad : False raises RunsError for rows that would be dropped.
    max_bytes : refuse files that hold more than this, decompressed. Larger CSV files of curves are read all the same, gzip or
        zstd too, when only their final rows are wanted (final=True and no `where`): reduced while they are read.
    format : what the files are (a name in scaling.logs.formats.FORMATS, or 'table'); None: told by their content.
    bytes_per_token : of the held-out text under the tokenizer; converts losses per byte to nats per token.
    unfinished : whether to keep runs that stopped before the planned end of their schedule, where the log states it
        (with final=True). None: only when no run finished.
    progress : called with the share of the bytes of all named files that is read; what it raises ends the reading.

    Returns a DataFrame with `run` (text), the canonical columns found (float64) and every other column of the files.
    attrs['read'] is a plain dict: files (name, sha256, rows), mapping, dropped (code, reason, count, examples),
    notes (code, message), flops_accounting, filled, reduced, loss_unit, n_rows.
    Raises RunsError, naming file, row and column, for input that cannot be read one way only.
    """
    if loss_unit is not None and loss_unit not in LOSS_UNITS:
        raise RunsError(f"unknown loss unit {quote(loss_unit)}; known: {', '.join(LOSS_UNITS)}.")
    if bytes_per_token is not None and not 0.1 <= bytes_per_token <= 100:
        raise RunsError(f"bytes_per_token is {quote(bytes_per_token)}; a tokenizer has about 2 to 6 bytes per token.")
    account, accounting = Account(), accounting_of(flops_accounting)
    pieces: list[Columns] = []
    units: dict[str, str] = {}
    whole = not final or bool(where) or format not in (None, "table")

    turn_of = _metered(source, progress)

    def final_rows(path: str) -> RawTable | None:
        read = turn_of(path)
        return None if whole else _reduced(path, columns or {}, target, read)

    n_read = 0
    for table in read_tables(source, max_bytes=max_bytes, format=format, reduced=final_rows):
        n_read += len(table.rows) if table.n_rows is None else table.n_rows
        mapped = required_of_its_own(required, table, target) | dict(columns or {})
        piece, unit = canonical_columns(table, account, mapped, loss_unit, target, bytes_per_token)
        pieces.append(piece)
        units.setdefault(unit, table.name)
    if len({LOSS_UNITS[u].split(" (")[0] for u in units}) > 1:
        listed = " and ".join(f"{LOSS_UNITS[u].split(' (')[0]} in {named(name)}" for u, name in units.items())
        raise RunsError(
            f"The files state their losses in different units ({listed}); read them apart, or say --loss-unit."
        )
    runs = _stack(pieces)
    n_stacked = len(runs)  # its index counts them
    if len(pieces) > 1 and "file" not in runs:
        base = {name: re.split(r"[/\\]", name)[-1] for name in runs["_file"].unique()}
        runs["file"] = runs["_file"].map(base)
    if meta is not None:
        join_meta(runs, meta, account, max_bytes)
    filled = fill_in(runs, accounting, account)
    _require(runs, required, account)
    runs = _filter(runs, [where] if isinstance(where, str) else list(where), account)
    keys, order = curves.run_keys(runs), curves.row_order(runs)
    unit = next(iter(units))
    note_schedule(runs, keys, order, final, account)
    good = usable_rows(runs, keys, order, target, unit, final, drop_bad, account)
    if not good.all():  # thousands of small files: each copy that is not made counts
        runs, keys, order = runs[good], keys[good], order[good]
    note_curves(runs, keys, order, final, account)
    reduced = {
        "rows": len(runs),
        "runs": len(np.unique(keys)),
        "by": curves.ordered_by(runs) or "order in the file",
        "final": final,
    }
    if final:
        last = curves.last_rows(keys, order)
        note_rises(runs, keys, last, target, account)
        kept = last[finished(runs if len(last) == len(runs) else runs.iloc[last], unfinished, account)]
        runs = runs if len(kept) == len(runs) else runs.iloc[kept]
    note_values(runs, target, unit, account)
    others = [c for c in runs if c not in COLUMNS and c not in ("_file", "_row", "_state", "_logged")]
    runs = runs[[c for c in COLUMNS if c in runs] + others]
    if len(runs) != n_stacked:
        runs = runs.reset_index(drop=True)
    runs.attrs["read"] = {
        "files": account.files,
        "mapping": account.mapping,
        "n_rows": {"read": n_read, "used": len(runs)},
        "dropped": account.dropped,
        "notes": account.all_notes(),
        "flops_accounting": str(getattr(accounting, "name", accounting)),
        "filled": filled,
        "reduced": reduced,
        "loss_unit": LOSS_UNITS[unit],
    }
    return runs


def _metered(source: Any, progress: Report | None) -> Callable[[str], Callable[[int], None]]:
    """For each file as its turn comes, what takes the bytes read of it; those of all files are reported."""
    if progress is None:
        return lambda _: lambda _: None
    parts = source if isinstance(source, Sequence) and not isinstance(source, str | bytes) else [source]
    named_ones = [os.fspath(p) for p in parts if isinstance(p, str | os.PathLike)]
    total = sum(_size(path) for name in named_ones for path in glob(name) or [name])
    bar, before = Bar(progress), 0

    def turn_of(path: str) -> Callable[[int], None]:
        nonlocal before
        start, before = before, before + _size(path)
        bar(start, total)
        return lambda read: bar(start + read, total)

    return turn_of


def _size(path: str) -> int:
    return os.path.getsize(path) if os.path.isfile(path) else 0


def _reduced(path: str, columns: Mapping[str, str], target: str, read: Callable[[int], None]) -> RawTable | None:
    """The rows that matter of a file too large to be read whole; None for any other file."""
    from scaling.logs import large

    try:
        if not large.is_large(path):
            return None
        return large.last_rows_of_file(path, columns, target, read=read)
    except OSError:
        return None  # the ordinary reader says what is wrong


def _stack(pieces: list[Columns]) -> pd.DataFrame:
    """The rows of all files. Built column by column: pandas' own concat guesses types from empty columns."""
    lengths = [len(p["_row"]) for p in pieces]
    stacked: Columns = {}
    for name in dict.fromkeys(c for p in pieces for c in p):
        parts = [p.get(name) for p in pieces]
        kinds = {p.dtype.kind for p in parts if p is not None}
        if kinds <= {"f", "i", "u"} or (len(kinds) == 1 and all(p is not None for p in parts)):
            stacked[name] = np.concatenate(
                [np.full(n, np.nan) if p is None else p for p, n in zip(parts, lengths, strict=True)]
            )
        else:
            mixed = [
                np.full(n, None, dtype=object) if p is None else p.astype(object)
                for p, n in zip(parts, lengths, strict=True)
            ]
            stacked[name] = np.concatenate(mixed)
    return pd.DataFrame(stacked)


def _require(runs: pd.DataFrame, required: Sequence[str], account: Account) -> None:
    for name in required:
        if name not in runs or not curves.any_known(runs[name]):
            headers = [str(c) for c in runs if not str(c).startswith("_")]
            raise missing_column(name, headers, file=account.files[0]["name"])


def _filter(runs: pd.DataFrame, conditions: list[str], account: Account) -> pd.DataFrame:
    for condition in conditions:
        visible = runs.drop(columns=["_file", "_row", "_state", "_logged"])
        kept = kept_by(condition, visible, account.renamed)
        if not kept.any():
            raise RunsError(f"where {quote(condition)} keeps none of the {len(runs)} rows.")
        if not kept.all():
            account.drop(
                "where", f"not kept by where {quote(condition, 80)}", int((~kept).sum()), places(runs, ~kept, None)
            )
        runs = runs[kept]
    return runs
