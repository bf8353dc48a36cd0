"""read_runs: from logged files to the runs table, with an account of what was understood, converted, filled in and dropped."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from scaling.errors import QuantityError, RunsError
from scaling.logs import curves
from scaling.logs.conditions import kept_by
from scaling.logs.files import LOSS_LIKE, MAX_BYTES, RawTable, named, read_tables
from scaling.logs.schema import COLUMNS, SCALES, Match, loss_unit_of, match_columns, missing_column, squash
from scaling.quantities import format_quantity, parse_quantity, quote

LOSS_UNITS = {
    "nats": "nats/token",
    "bits": "nats/token (converted from bits/token)",
    "perplexity": "nats/token (the log of perplexity)",
    "bits_per_byte": "bits/byte",
    "nats_per_byte": "nats/byte",
    "other": "the file's own unit",
}
_Columns = dict[str, np.ndarray]
_NOTES_PER_CODE = 5  # thousands of files with one quirk are not thousands of notes
_LARGEST_VOCABULARY = 2**18  # a loss above its log is worse than guessing among all tokens
# What configurations call the length of the schedule, in steps of the optimiser.
_PLANNED = {"plannedsteps", "maxsteps", "numtrainsteps", "totalsteps", "trainiters", "maxiters", "trainernumtrainsteps"}
_DIVERGED = 1.0  # nats above the curve's own lowest loss: no noise of a held-out loss
_TRAINING_LOSS = {squash(a) for a in COLUMNS["loss"].aliases[-1]}
_MISSING, _NOT_FINITE, _TEXT = 1, 2, 3  # why a target cell is no number
_NO_VALUE = {"", "null", "none", "na", "n/a", "#n/a", "-", "--"}


@dataclass
class _Account:
    """What happens while runs are read; becomes attrs['read']."""

    files: list[dict[str, Any]] = field(default_factory=list)
    mapping: dict[str, dict[str, Any]] = field(default_factory=dict)
    dropped: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, str]] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    unsaid: dict[str, int] = field(default_factory=dict)

    def note(self, code: str, message: str) -> None:
        sentence = message if message.split(" ")[0] in COLUMNS else message[:1].upper() + message[1:]
        entry = {"code": code, "message": sentence.rstrip(".") + "."}
        if entry in self.notes:
            return
        if sum(n["code"] == code for n in self.notes) < _NOTES_PER_CODE:
            self.notes.append(entry)
        else:
            self.unsaid[code] = self.unsaid.get(code, 0) + 1

    def all_notes(self) -> list[dict[str, str]]:
        notes = list(self.notes)
        for code, count in self.unsaid.items():
            last = max(i for i, n in enumerate(notes) if n["code"] == code)
            said = f"{count:,} more note{'s' if count > 1 else ''} of this kind left out."
            notes.insert(last + 1, {"code": code, "message": said})
        return notes

    def drop(self, code: str, reason: str, count: int, examples: Sequence[str], *, warn: bool = False) -> None:
        for entry in self.dropped:
            if entry["reason"] == reason:
                entry["count"] += count
                entry["examples"] = [*entry["examples"], *examples][:5]
                return
        self.dropped.append({"code": code, "reason": reason, "count": count, "examples": list(examples)[:5]})
        if warn:
            self.note(
                code, f"{_rows(count)} dropped: {reason} ({', '.join(examples[:3])}{', ...' if count > 3 else ''})"
            )


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

    Returns a DataFrame with `run` (text), the canonical columns found (float64) and every other column of the files.
    attrs['read'] is a plain dict: files (name, sha256, rows), mapping, dropped (code, reason, count, examples),
    notes (code, message), flops_accounting, filled, reduced, loss_unit, n_rows.
    Raises RunsError, naming file, row and column, for input that cannot be read one way only.
    """
    if loss_unit is not None and loss_unit not in LOSS_UNITS:
        raise RunsError(f"unknown loss unit {quote(loss_unit)}; known: {', '.join(LOSS_UNITS)}.")
    if bytes_per_token is not None and not 0.1 <= bytes_per_token <= 100:
        raise RunsError(f"bytes_per_token is {quote(bytes_per_token)}; a tokenizer has about 2 to 6 bytes per token.")
    account, accounting = _Account(), _accounting(flops_accounting)
    pieces: list[_Columns] = []
    units: dict[str, str] = {}
    whole = not final or bool(where) or format not in (None, "table")

    def final_rows(path: str) -> RawTable | None:
        return None if whole else _reduced(path, columns or {}, target)

    n_read = 0
    for table in read_tables(source, max_bytes=max_bytes, format=format, reduced=final_rows):
        n_read += len(table.rows) if table.n_rows is None else table.n_rows
        mapped = _required_of_its_own(required, table, target) | dict(columns or {})
        piece, unit = _canonical(table, account, mapped, loss_unit, target, bytes_per_token)
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
        _join_meta(runs, meta, account, max_bytes)
    filled = _fill_in(runs, accounting, account)
    _require(runs, required, account)
    runs = _filter(runs, [where] if isinstance(where, str) else list(where), account)
    keys, order = curves.run_keys(runs), curves.row_order(runs)
    unit = next(iter(units))
    _note_schedule(runs, keys, order, final, account)
    good = _drop_bad(runs, keys, order, target, unit, final, drop_bad, account)
    if not good.all():  # thousands of small files: each copy that is not made counts
        runs, keys, order = runs[good], keys[good], order[good]
    _note_curves(runs, keys, order, final, account)
    reduced = {
        "rows": len(runs),
        "runs": len(np.unique(keys)),
        "by": curves.ordered_by(runs) or "order in the file",
        "final": final,
    }
    if final:
        last = curves.last_rows(keys, order)
        _note_rises(runs, keys, last, target, account)
        kept = last[_ended(runs if len(last) == len(runs) else runs.iloc[last], unfinished, account)]
        runs = runs if len(kept) == len(runs) else runs.iloc[kept]
    _note_values(runs, target, unit, account)
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


# -- one file ------------------------------------------------------------------------------------------------------


def _canonical(
    table: RawTable,
    account: _Account,
    columns: dict[str, str],
    loss_unit: str | None,
    target: str,
    bytes_per_token: float | None,
) -> tuple[_Columns, str]:
    """The columns under canonical names and as numbers, plus _file, _row, _state (why the target is no number) and
    _logged (its text); and the unit of the loss."""
    table = curves.unfold_wide(table) or table
    headers = list(table.columns)
    for code, message in table.notes:
        account.note(code, message)
    for reason, row in table.dropped:
        account.drop("cut_off", reason, 1, [f"row {row} of {named(table.name)}"], warn=True)
    wanted = [c for c in COLUMNS if c != "loss" or target == "loss"]
    if target not in COLUMNS and target not in columns:
        columns[target] = _own_column(target, headers, table.name)
    matches = match_columns(headers, columns, file=table.name, duplicated=table.duplicated, wanted=wanted)
    if target not in matches:
        raise missing_column(target, headers, file=table.name)
    unit = "other"
    if target == "loss":
        told = bytes_per_token is not None and loss_unit == "nats"
        unit = _unit_of_loss(matches[target], None if told else loss_unit, target in columns, table.name)
    out = _rename(table, matches)
    n = len(table.rows)
    for canonical, match in matches.items():
        if canonical == "run":
            continue
        cells = _Cells.read(table, match, COLUMNS[canonical].kind if canonical in COLUMNS else "number")
        if canonical == target:
            _require_numbers(cells, match, target, table.name)
            out["_state"], out["_logged"] = cells.states, cells.texts
        elif (cells.states == _TEXT).any():
            account.note(
                "text_in_column",
                f"column {quote(match.header)} of {named(table.name)} has {int((cells.states == _TEXT).sum())} cells that are no numbers, "
                f"left empty: {cells.shown(_TEXT)}",
            )
        out[canonical] = cells.values
        _record(account, canonical, match, table.name)
    if unit in ("bits", "perplexity"):
        with np.errstate(divide="ignore", invalid="ignore"):
            out["loss"] = out["loss"] * math.log(2) if unit == "bits" else np.log(out["loss"])
        account.note("loss_converted", f"loss of {named(table.name)} is in {unit}; converted to nats per token")
    elif unit in ("bits_per_byte", "nats_per_byte") and bytes_per_token is not None:
        out["loss"] = out["loss"] * bytes_per_token * (math.log(2) if unit == "bits_per_byte" else 1)
        said = f"{unit.replace('_', ' ')}; converted to nats per token with {bytes_per_token:g} bytes per token"
        account.note("loss_converted", f"loss of {named(table.name)} is in {said}")
        unit = "nats"
    for name in out.keys() - matches.keys():
        out[name] = _own_numbers(name, out[name])
    out["run"] = _run_names(out, table, account)
    if "run" in matches:
        _record(account, "run", matches["run"], table.name)
    out["_file"], out["_row"] = np.full(n, table.name, dtype=object), table.rows
    account.files.append(
        {"name": table.name, "sha256": table.sha256, "rows": n if table.n_rows is None else table.n_rows}
    )
    return out, unit


def _reduced(path: str, columns: Mapping[str, str], target: str) -> RawTable | None:
    """The rows that matter of a file too large to be read whole; None for any other file."""
    from scaling.logs import large

    try:
        if not large.is_large(path):
            return None
        return large.last_rows_of_file(path, columns, target)
    except OSError:
        return None  # the ordinary reader says what is wrong


def _require_numbers(cells: _Cells, match: Match, target: str, file: str) -> None:
    if not np.isfinite(cells.values).any() and not (cells.states == _NOT_FINITE).any():
        raise RunsError(
            f"column {quote(match.header)} of {named(file)}, taken as {target}, holds no number: {cells.shown()}. "
            f"Map the right one with --column {target}=NAME."
        )


def _required_of_its_own(required: Sequence[str], table: RawTable, target: str) -> dict[str, str]:
    """Required columns that are not canonical (n_samples, batch_tokens, ... of a law) -> the table's own, to be read as numbers."""
    headers = {squash(h): h for h in reversed(list(table.columns))}
    others = [name for name in required if name not in COLUMNS and name != target and squash(name) in headers]
    return {name: name if name in table.columns else headers[squash(name)] for name in others}


def _own_column(target: str, headers: Sequence[str], file: str) -> str:
    if target in headers:
        return target
    same = [h for h in headers if squash(h) == squash(target)]
    if len(same) != 1:
        raise missing_column(target, headers, file=file)
    return same[0]


def _unit_of_loss(match: Match, loss_unit: str | None, mapped: bool, file: str) -> str:
    stated = loss_unit_of(match.header)
    if loss_unit is None:
        return stated or "nats"
    if stated is not None and stated != loss_unit and loss_unit != "other" and not mapped:
        way = " (nats per token would need the number of bytes per token)" if stated == "bits_per_byte" else ""
        raise RunsError(
            f"column {quote(match.header)} of {named(file)} is {stated.replace('_', ' ')} by its name, not {loss_unit}{way}; say --loss-unit {stated}, "
            f"or map the column you mean with --column loss=NAME."
        )
    return loss_unit


def _rename(table: RawTable, matches: Mapping[str, Match]) -> _Columns:
    """The columns under canonical names; one that another displaces keeps its name with ' (as in file)'."""
    source = {m.header: c for c, m in matches.items()}
    renamed = {source.get(h, f"{h} (as in file)" if h in matches else h): v for h, v in table.columns.items()}
    return renamed | {
        c: table.columns[m.header] for c, m in matches.items() if c not in renamed
    }  # one column mapped to two names


def _record(account: _Account, canonical: str, match: Match, file: str) -> None:
    account.mapping.setdefault(canonical, {"column": match.header, "factor": match.factor})
    account.renamed.setdefault(match.header, canonical)
    if match.note:
        account.note("column_choice", f"{match.note} (choose with --column {canonical}=NAME)")
    if match.factor != 1:
        account.note(
            "column_factor",
            f"{canonical} is column {quote(match.header, 60)} of {named(file)} times {format_quantity(match.factor, 'number')}",
        )
    if canonical == "loss" and squash(match.header) in _TRAINING_LOSS:
        account.note(
            "training_loss", f"loss is the training loss ({quote(match.header, 60)}); no held-out loss was found"
        )
    if canonical == "n_params" and squash(match.header) in {
        squash(a) for a in COLUMNS["n_params_non_embedding"].aliases[0]
    } | {"nparamsnonembedding"}:
        account.note("non_embedding", f"n_params is {quote(match.header)}: parameters outside the embeddings")


@dataclass
class _Cells:
    """A column as numbers. states : 0, or why a cell is none. texts : what stood there."""

    values: np.ndarray
    states: np.ndarray
    texts: np.ndarray
    rows: np.ndarray

    @classmethod
    def read(cls, table: RawTable, match: Match, kind: str) -> _Cells:
        column, header = table.columns[match.header], match.header
        n = len(column)
        texts = np.full(n, None, dtype=object)
        if column.dtype.kind in "fiu":
            values = column * match.factor if match.factor != 1 else column.astype(float)
            states = np.where(np.isnan(values), _MISSING, np.where(np.isinf(values), _NOT_FINITE, 0)).astype(np.int8)
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
                states[i] = _MISSING
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
        at = np.flatnonzero(self.states == state if state else self.states > 0)[:3]
        return ", ".join(
            f"row {self.rows[i]} ({'empty' if self.texts[i] is None else quote(self.texts[i], 20)})" for i in at
        )


def _number(cell: Any, kind: str, decimal_comma: bool) -> tuple[float, int]:
    """(value, state) of a cell that holds text. Raises QuantityError for something like a number that is none."""
    text = str(cell).strip()
    if text.lower() in _NO_VALUE:
        return math.nan, _MISSING
    if decimal_comma and re.fullmatch(r"[+-]?\d+(\.\d{3})*,\d+\D*.*", text):
        text = text.replace(".", "").replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        pass
    else:
        return (value, 0) if math.isfinite(value) else (value, _NOT_FINITE)
    if not re.search(r"\d", text):
        return math.nan, _TEXT
    negative = text.startswith("-")
    value = parse_quantity(text.removeprefix("-"), kind, zero=True)
    return (-value if negative else value), 0


def _own_numbers(name: str, values: np.ndarray) -> np.ndarray:
    """A further column of the file that was kept as text in case it was the loss: numbers if each of its cells is one."""
    if values.dtype != object or not LOSS_LIKE.search(name):
        return values
    try:
        return np.array([np.nan if v is None else v for v in values]).astype(float)
    except (TypeError, ValueError):
        return values


def _run_names(columns: _Columns, table: RawTable, account: _Account) -> np.ndarray:
    """The run of each row as text. Without such a column: the file, if it is one training curve; else each row is a run."""
    stem = table.stem
    if "run" in columns:
        given = columns["run"]
        if given.dtype.kind == "f":
            given = np.array([int(v) if v == v and v.is_integer() else v for v in given.tolist()], dtype=object)
        lacking = pd.isna(given)
        names = [str(v).strip() for v in given.tolist()]
        if lacking.any() or "" in names:
            names = [
                f"{stem}:{row}" if gone or not name else name
                for gone, name, row in zip(lacking, names, table.rows, strict=True)
            ]
        return np.array(names, dtype=object)
    if "step" in columns and not np.isnan(columns["step"]).all():
        sizes = columns.get("n_params", np.empty(0))
        if len(np.unique(sizes[~np.isnan(sizes)])) <= 1:
            account.note("one_run_per_file", f"{named(table.name)} has no run column; read as the curve of one run")
            return np.full(len(table.rows), stem, dtype=object)
        account.note(
            "one_run_per_row", f"{named(table.name)} has no run column; each row was taken as a run of its own"
        )
    return np.array([f"{stem}:{row}" for row in table.rows], dtype=object)


def _stack(pieces: list[_Columns]) -> pd.DataFrame:
    """The rows of all files. Built column by column: pandas' own concat guesses types from empty columns."""
    lengths = [len(p["_row"]) for p in pieces]
    stacked: _Columns = {}
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


# -- all files together --------------------------------------------------------------------------------------------


def _join_meta(runs: pd.DataFrame, meta: Any, account: _Account, max_bytes: int) -> None:
    """Fill in columns of `runs` from a table with one row per run, joined on the run's name."""
    for table in read_tables(meta, max_bytes=max_bytes):
        headers = list(table.columns)
        wanted = [c for c in COLUMNS if c not in ("step", "loss", "train_loss")]
        matches = match_columns(headers, file=table.name, duplicated=table.duplicated, wanted=wanted)
        if "run" not in matches:
            raise missing_column("run", headers, file=table.name, why=", on which it is joined")
        own = _rename(table, matches)
        names = [str(v).strip() for v in own.pop("run").tolist()]
        if len(set(names)) < len(names):
            double = next(n for i, n in enumerate(names) if n in names[:i])
            row = table.rows[names.index(double, names.index(double) + 1)]
            raise RunsError(
                f"{named(table.name)}, row {row}: run {quote(double)} occurs more than once; keep one row per run."
            )
        place = {name: i for i, name in enumerate(names)}
        at = np.array([place.get(name, -1) for name in runs["run"]])
        if (at < 0).all():
            raise RunsError(
                f"No run of the logs is in {named(table.name)}: the logs have {quote(runs['run'].iloc[0])}, the table {quote(names[0])}. "
                "Give both the same run names."
            )
        absent = sorted(set(runs["run"][at < 0]))
        if absent:
            more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
            account.note(
                "meta_missing",
                f"{named(table.name)} has no row for run {', '.join(quote(a) for a in absent[:3])}{more}",
            )
        for column, values in own.items():
            if column in matches:
                values = _Cells.read(table, matches[column], COLUMNS[column].kind).values
                _record(account, column, matches[column], table.name)
            taken = pd.Series(_own_numbers(column, values)).reindex(at).to_numpy()
            if column not in runs:
                runs[column] = taken
                continue
            lacking = runs[column].isna().to_numpy()
            differ = int((~lacking & pd.notna(taken) & (runs[column].to_numpy() != taken)).sum())
            if differ:
                account.note(
                    "meta_differs",
                    f"{quote(column)} differs between the logs and {named(table.name)} in {_rows(differ)}; the logs' was kept",
                )
            runs[column] = np.where(lacking, taken, runs[column].to_numpy())
        account.files.append({"name": table.name, "sha256": table.sha256, "rows": len(table.rows)})


class _SixND:
    """C = 6 N D: two FLOPs for the forward and four for the backward pass, per parameter and token."""

    name = "6ND"

    def flops(self, n: np.ndarray, d: np.ndarray) -> np.ndarray:
        return 6 * n * d

    def tokens(self, n: np.ndarray, c: np.ndarray) -> np.ndarray:
        return c / (6 * n)

    def params(self, d: np.ndarray, c: np.ndarray) -> np.ndarray:
        return c / (6 * d)


def _accounting(given: Any) -> Any:
    if given == "6ND":
        return _SixND()
    if all(callable(getattr(given, name, None)) for name in ("flops", "tokens", "params")):
        return given
    raise RunsError(
        f"unknown accounting of FLOPs {quote(given)}; known: 6ND, or an object with flops, tokens and params."
    )


def _fill_in(runs: pd.DataFrame, accounting: Any, account: _Account) -> dict[str, int]:
    """Compute whichever of N, D, C a row lacks from the other two, and hold C against 6 N D where the file has all three."""
    N, D, C = (runs[c].to_numpy(dtype=float).copy() if c in runs else np.full(len(runs), np.nan) for c in SCALES)
    with np.errstate(all="ignore"):
        usable_n, usable_d, usable_c = (np.isfinite(v) & (v > 0) for v in (N, D, C))
        known = usable_n & usable_d & usable_c
        _note_accounting(N, D, np.where(known, C, np.nan), known, accounting, account)
        fill_c = np.isnan(C) & usable_n & usable_d
        fill_d = np.isnan(D) & usable_n & usable_c
        fill_n = np.isnan(N) & usable_d & usable_c
        C[fill_c] = accounting.flops(N, D)[fill_c]
        D[fill_d] = accounting.tokens(N, C)[fill_d]
        N[fill_n] = accounting.params(D, C)[fill_n]
    filled = {}
    name = getattr(accounting, "name", "the accounting given")
    for column, values, mask in (("flops", C, fill_c), ("n_tokens", D, fill_d), ("n_params", N, fill_n)):
        if mask.any():
            runs[column] = values
            filled[column] = int(mask.sum())
            others = " and ".join(c for c in SCALES if c != column)
            account.note(f"filled_{column}", f"{column} was computed from {others} ({name}) in {_rows(filled[column])}")
    return filled


def _note_accounting(
    N: np.ndarray, D: np.ndarray, C: np.ndarray, known: np.ndarray, accounting: Any, account: _Account
) -> None:
    if known.any():
        ratio = float(np.median(C[known] / accounting.flops(N, D)[known]))
        if abs(ratio - 1) > 0.1:
            name = getattr(accounting, "name", "the accounting given")
            message = f"flops is {ratio:.3g} times {name} (median of {int(known.sum())} rows)"
            for power, hint in ((9, "billions"), (6, "millions"), (12, "trillions"), (3, "thousands")):
                if abs(math.log10(ratio) - power) < 0.3:
                    message += f", as if n_params or n_tokens were in {hint}; if so, scale it with --column n_params=NAME*1e{power}"
                if abs(math.log10(ratio) + power) < 0.3:
                    message += f", as if flops were in units of 1e{power} FLOPs; if so, scale it with --column flops=NAME*1e{power}"
            account.note("flops_not_6nd", message)
    sizes = N[np.isfinite(N) & (N > 0)]
    if len(sizes) and sizes.max() < 1e4:
        low, high = format_quantity(sizes.min()), format_quantity(sizes.max())
        account.note(
            "small_n_params",
            f"n_params looks like billions or millions: it runs from {low} to {high}. "
            "If so, scale it with --column n_params=NAME*1e9; models of fewer than 10,000 parameters are rare",
        )


def _require(runs: pd.DataFrame, required: Sequence[str], account: _Account) -> None:
    for name in required:
        if name not in runs or not curves.any_known(runs[name]):
            headers = [str(c) for c in runs if not str(c).startswith("_")]
            raise missing_column(name, headers, file=account.files[0]["name"])


def _filter(runs: pd.DataFrame, conditions: list[str], account: _Account) -> pd.DataFrame:
    for condition in conditions:
        visible = runs.drop(columns=["_file", "_row", "_state", "_logged"])
        kept = kept_by(condition, visible, account.renamed)
        if not kept.any():
            raise RunsError(f"where {quote(condition)} keeps none of the {len(runs)} rows.")
        if not kept.all():
            account.drop(
                "where", f"not kept by where {quote(condition, 80)}", int((~kept).sum()), _places(runs, ~kept, None)
            )
        runs = runs[kept]
    return runs


def _note_curves(runs: pd.DataFrame, keys: np.ndarray, order: np.ndarray, final: bool, account: _Account) -> None:
    by = curves.ordered_by(runs)
    several = len(np.unique(keys)) < len(keys)
    if several and by != "step" and final:
        account.note(
            "curves_without_step",
            f"there is no step column: of the rows of one run the last {f'by {by}' if by else 'in the file'} counts; "
            "if each row is a run of its own, give them names of their own",
        )
    if by == "step" and (double := curves.repeated_steps(keys, order)):
        account.note(
            "repeated_steps",
            f"{_rows(double)} {'repeats' if double == 1 else 'repeat'} a step of their run (resumed?); the later row counts",
        )
    if several and (thin := curves.thinned(keys)):
        account.note(
            "thinned_curve",
            f"{thin} of {len(np.unique(keys))} curves have exactly 500, 1,000 or 10,000 points: exports of that length leave points out",
        )
    names = len(set(runs["run"]))
    if names < len(np.unique(keys)):
        account.note(
            "run_not_unique",
            f"{names} run names stand for {len(np.unique(keys))} trainings, told apart by n_params and seed",
        )


def _note_schedule(runs: pd.DataFrame, keys: np.ndarray, order: np.ndarray, final: bool, account: _Account) -> None:
    """Say what a learning rate that was logged along the curves means, and with `final` keep its peak, which is what lr means."""
    if "lr" not in runs or curves.ordered_by(runs) != "step" or runs["lr"].dtype.kind != "f":
        return
    rising, falling, peaks = curves.phases(keys, order, runs["lr"].to_numpy(dtype=float))
    if not (rising.any() or falling.any()):
        return
    if final:
        runs["lr"] = peaks
        account.note("lr_peak", "lr changes along the curves; each run's largest was taken")
        return
    if rising.any():
        account.note(
            "warm_up", f"{_rows(int(rising.sum()))} before lr reached its peak: the warm-up, on no scaling law"
        )
    if falling.any():
        account.note(
            "mid_run_points",
            f"{_rows(int(falling.sum()))} of decaying schedules before their end: not the final losses of shorter runs",
        )


def _note_rises(runs: pd.DataFrame, keys: np.ndarray, last: np.ndarray, target: str, account: _Account) -> None:
    """Name the runs whose loss ends far above its own lowest: they diverged without a nan, and no row says so."""
    if target != "loss" or len(last) == len(runs):
        return
    loss = runs["loss"].to_numpy(dtype=float)
    lowest = np.full(int(keys.max()) + 1, np.inf)
    np.minimum.at(lowest, keys, loss)
    rises = last[loss[last] > lowest[keys[last]] + _DIVERGED]
    if len(rises):
        shown = ", ".join(
            f"{quote(runs['run'].iloc[i], 60)} ({lowest[keys[i]]:.4g}, then {loss[i]:.4g})" for i in rises[:3]
        )
        account.note(
            "rises",
            f"the loss of {len(rises)} of {len(last)} runs ends more than {_DIVERGED:g} above its lowest (diverged?): {shown}"
            f"{', ...' if len(rises) > 3 else ''}; they are kept",
        )


def _ended(last: pd.DataFrame, unfinished: bool | None, account: _Account) -> np.ndarray:
    """(runs,) bool: runs to keep, given the last row of each. Those that stopped before the planned end of their schedule
    are mid-run points: left out unless `unfinished` is True, or None and no run finished."""
    everything = np.ones(len(last), dtype=bool)
    names = [c for c in last if squash(str(c)) in _PLANNED and last[c].dtype.kind in "fiu"]
    counts_calls = (
        account.mapping.get("step", {}).get("column") == "_step"
    )  # W&B's log calls, not steps of the optimiser
    if "step" not in last or not names or (counts_calls and "planned_steps" not in names):
        return everything
    name = "planned_steps" if "planned_steps" in names else names[0]
    step, planned = (last[c].to_numpy(dtype=float) for c in ("step", name))
    early = step < 0.99 * planned - 1  # counted from zero or one; the last hundredth of a schedule moves no loss
    if not early.any():
        return everything
    shown = [
        f"{quote(run, 60)} (step {done:,.0f} of {of:,.0f})"
        for run, done, of in zip(last["run"][early].tolist()[:3], step[early], planned[early], strict=False)
    ]
    many = int(early.sum())
    if unfinished or (unfinished is None and early.all()):
        stopped = f"{many} of {len(last)} runs stopped" if len(last) > 1 else "the run stopped"
        account.note(
            "unfinished",
            f"{stopped} before the planned end: {', '.join(shown)}{', ...' if many > 3 else ''}; "
            "under a decaying schedule that is no final loss",
        )
        return everything
    if early.all():
        raise RunsError(
            f"No run reached the planned end of its schedule: {', '.join(shown)}; to use them all the same, say unfinished=True."
        )
    account.drop("unfinished", "its run stopped before the planned end of its schedule", many, shown, warn=True)
    return ~early


def _drop_bad(
    runs: pd.DataFrame,
    keys: np.ndarray,
    order: np.ndarray,
    target: str,
    unit: str,
    final: bool,
    drop_bad: bool,
    account: _Account,
) -> np.ndarray:
    """(rows,) bool: usable rows. What is not is counted by its reason, or raised when drop_bad is False or nothing is left."""
    state, value = runs["_state"].to_numpy(), runs[target].to_numpy(dtype=float)
    good = np.ones(len(runs), dtype=bool)
    found: list[tuple[str, str, np.ndarray]] = []

    def mark(code: str, reason: str, bad: np.ndarray) -> None:
        bad = bad & good
        if bad.any():
            found.append((code, reason, bad))
            good[bad] = False

    if final:
        logged = np.flatnonzero(state != _MISSING)
        last = logged[curves.last_rows(keys[logged], order[logged])]
        ended_badly = keys[last[(state[last] == _NOT_FINITE) | (state[last] == _TEXT)]]
        longer = np.bincount(keys, minlength=keys.max() + 1) > 1
        ended_badly = ended_badly[longer[ended_badly]]
        mark("diverged", f"its run diverged (the last {target} is nan or infinite)", np.isin(keys, ended_badly))
    mark(f"missing_{target}", f"{target} is missing", state == _MISSING)
    mark(
        f"{target}_not_finite",
        f"{target} is nan or infinite",
        (state == _NOT_FINITE) | ((state == 0) & ~np.isfinite(value) & (value > 0)),
    )
    mark(f"text_in_{target}", f"{target} is text", state == _TEXT)
    if target == "loss" and unit != "other":
        mark("loss_not_positive", "loss is not positive", ~(value > 0))
    for column in SCALES:
        if column in runs:
            scale = runs[column].to_numpy(dtype=float)
            mark(f"{column}_not_positive", f"{column} is not positive", scale <= 0)
            mark(f"{column}_not_finite", f"{column} is infinite", np.isinf(scale))
    shown = {reason: _places(runs, bad, _shown_column(reason, target, runs)) for _, reason, bad in found}
    if found and (not drop_bad or not good.any()):
        raise _unusable(runs, found, shown, target, all_bad=not good.any())
    for code, reason, bad in found:
        account.drop(code, reason, int(bad.sum()), shown[reason], warn=not code.startswith("missing_"))
    return good


def _shown_column(reason: str, target: str, runs: pd.DataFrame) -> str | None:
    column = reason.split(" ")[0]
    return column if column in runs else target if target in reason else None


def _places(runs: pd.DataFrame, rows: np.ndarray, column: str | None) -> list[str]:
    """Up to five 'row 14 (0.0)', with the file where there are several."""
    at = np.flatnonzero(rows)[:5]
    several = runs["_file"].iloc[0] != runs["_file"].iloc[-1] or runs["_file"].nunique() > 1
    places = []
    for i in at:
        row = runs.iloc[i]
        place = f"row {row['_row']}" + (f" of {named(row['_file'])}" if several else "")
        if column is not None:
            logged = row["_logged"] if isinstance(row["_logged"], str) and row["_state"] else None
            number = row[column]
            place += f" ({'empty' if row['_state'] == _MISSING else quote(logged, 20) if logged else f'{number:.6g}'})"
        places.append(place)
    return places


def _unusable(
    runs: pd.DataFrame,
    found: list[tuple[str, str, np.ndarray]],
    shown: Mapping[str, list[str]],
    target: str,
    *,
    all_bad: bool,
) -> RunsError:
    code, reason, bad = max(found, key=lambda f: int(f[2].sum())) if all_bad else found[0]
    where = named(runs["_file"].iloc[0]) if runs["_file"].nunique() == 1 else f"{runs['_file'].nunique()} files"
    count = int(bad.sum())
    listed = ", ".join(shown[reason]) + (", ..." if count > 5 else "")
    way = {
        "loss_not_positive": "Drop these rows, name the metric you meant with target='error_rate', or say --loss-unit other if it may be negative",
        "missing_loss": "Map the column that holds the loss with --column loss=NAME",
    }.get(code, "Drop these rows or mend them")
    if all_bad:
        others = "; ".join(f"{_rows(int(b.sum()))}: {r}" for _, r, b in found if r != reason)
        return RunsError(
            f"No usable row is left of the {len(runs)} in {where}: {_rows(count)}: {reason} ({listed})"
            f"{'; ' + others if others else ''}. {way}."
        )
    return RunsError(f"{_rows(count).capitalize()} of {where} cannot be used: {reason} ({listed}). {way}.")


def _note_values(runs: pd.DataFrame, target: str, unit: str, account: _Account) -> None:
    if target == "loss" and unit in ("nats", "bits") and len(runs):
        largest = float(runs["loss"].max())
        if largest > math.log(_LARGEST_VOCABULARY):
            account.note(
                "loss_unit_suspect",
                f"the largest loss, {largest:.4g}, is above {math.log(_LARGEST_VOCABULARY):.3g} nats (guessing among {_LARGEST_VOCABULARY:,} tokens): "
                "it may be in bits or perplexity; if so, say --loss-unit bits or perplexity",
            )
    if not any(c in runs and curves.any_known(runs[c]) for c in SCALES):
        account.note(
            "no_scale",
            "neither n_params, n_tokens nor flops was found: map them with --column, or join them with --meta",
        )


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"
