"""CSV, TSV and other delimited text as a table, with the row numbers people see."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from scaling.errors import RunsError
from scaling.logs.raw_table import RawTable, apart, arrays_of, named
from scaling.logs.text import text_of
from scaling.quantities import quote

# Older pandas reads numbers fast and off by an ulp unless asked; newer pandas is exact and refuses to be asked.
_EXACT: dict[str, Any] = (
    {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
)
MISSING = [
    "",
    "null",
    "NULL",
    "None",
    "none",
    "NA",
    "N/A",
    "n/a",
    "#N/A",
    "-",
    "--",
]  # 'nan' is not here: it is a value that was logged
# Read as text: names ('007' is no number), and what may be the loss, where 'nan' (logged) differs from '' (not logged).
_NAME_LIKE = re.compile(r"run|name|^id$", re.IGNORECASE)
LOSS_LIKE = re.compile(r"loss|entropy|^l$|nll|ppl|perplex|bpb|bits|value", re.IGNORECASE)
_DELIMITERS = ",;\t|"
_COMMA_NUMBER = re.compile(r"[+-]?\d+(?:\.\d{3})*,(\d+)(?:[eE][+-]?\d+)?[A-Za-z%]*", re.ASCII)


def delimited(content: bytes, name: str, needs: Sequence[str] = ()) -> RawTable:
    """A CSV or the like as it stands; RunsError for what is none, or lacks one of the columns that it `needs`."""
    text, notes = text_of(content, name)
    if not text.strip():
        raise RunsError(f"{named(name)} is empty; it should hold a header line and one row per run.")
    table = delimited_text(text, name, "", notes)
    for column in needs:
        if column not in table.columns:
            shown = ", ".join(quote(c, 40) for c in list(table.columns)[:8])
            raise RunsError(
                f"{named(name)} has no column {quote(column)}, which this format= has: it has {shown}; leave format= out."
            )
    return table


def header_of(head: bytes) -> tuple[str, ...]:
    """The column names in the first line of a comma-separated file, in their order. Cheap, for detection."""
    start = 3 if head.startswith(b"\xef\xbb\xbf") else 0
    while head[start : start + 1] in (b"\r", b"\n"):
        start += 1
    end = head.find(b"\n", start)
    return _names_in(head[start : end if end >= 0 else len(head)])


@lru_cache(maxsize=256)
def _names_in(line: bytes) -> tuple[str, ...]:
    try:
        return tuple(h.strip() for h in next(csv.reader([line.decode("utf-8", "replace").rstrip("\r")]), []))
    except csv.Error:
        return ()


def delimited_text(text: str, name: str, digest: str, notes: list[tuple[str, str]]) -> RawTable:
    """The table of delimited text, its delimiter told by the header; digest : sha256 of the file. Raises RunsError."""
    skipped = len(text) - len(text.lstrip("\r\n"))  # blank lines before the header
    first_line = text[:skipped].count("\n") + 1
    body = text[skipped:]
    delimiter = None
    if excel := re.match(r'"?sep=([,;\t|])"?\r?\n', body):  # a line that Excel writes and hides
        delimiter, body, first_line = excel[1], body[excel.end() :], first_line + 1
    header_line = re.match(r"[^\r\n]*", body)
    assert header_line is not None
    delimiter = delimiter or max(_DELIMITERS, key=_outside_quotes(header_line[0]).count)
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=delimiter)
    try:
        header = [h.strip() for h in next(reader)]
    except csv.Error as error:
        raise RunsError(f"{named(name)} has a first line that is no header ({quote(error, 80)}).") from None
    header_lines = reader.line_num
    while header and not header[-1] and len(header) > 1:  # a delimiter at the end of each line
        header.pop()
    if all(_is_number(h) for h in header):
        raise RunsError(
            f"{named(name)} has no header: its first line is {quote(header_line[0], 60)}. Put column names there, such as n_params,n_tokens,loss."
        )
    unique, duplicated = apart(header)
    frame = _read_csv(body, name, delimiter, unique, first_line)
    lines = _line_numbers(body, len(frame), header_lines, delimiter) + (first_line - 1)
    columns = arrays_of(frame, unique)
    blank = np.ones(len(frame), dtype=bool)
    for values in columns.values():
        blank &= pd.isna(values)
        if not blank.any():
            break
    if blank.all():
        raise RunsError(f"{named(name)} has a header ({quote(', '.join(unique), 80)}) but no rows.")
    if blank.any():
        columns, lines = {c: v[~blank] for c, v in columns.items()}, lines[~blank]
    comma = _decimal_comma(columns) if delimiter != "," else False
    if comma:
        notes = [
            *notes,
            ("decimal_comma", f"{named(name)} writes decimals with a comma (separator {quote(delimiter)}); read so"),
        ]
    if duplicated:
        notes = [
            *notes,
            (
                "duplicate_header",
                f"{named(name)} has more than one column named {', '.join(quote(d) for d in duplicated[:5])}",
            ),
        ]
    return RawTable(name, columns, lines, digest, comma, duplicated, tuple(notes))


def _outside_quotes(line: str) -> str:
    return re.sub(r'"[^"]*"', "", line[:100_000])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.lower() not in ("nan", "inf", "infinity")


def _read_csv(body: str, name: str, delimiter: str, columns: list[str], first_line: int) -> pd.DataFrame:
    def parse(**more: Any) -> pd.DataFrame:
        """pandas' own reading; a warning of its parser counts as an error."""
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                io.StringIO(body, newline=""),
                sep=delimiter,
                header=None,
                names=columns,
                index_col=False,
                skip_blank_lines=False,
                skipinitialspace=True,
                keep_default_na=False,
                na_values=MISSING,
                **_EXACT,
                low_memory=False,
                **more,
            )

    try:
        text_columns = {c: str for c in columns if LOSS_LIKE.search(c) or _NAME_LIKE.search(c)}
        return parse(skiprows=1, dtype=text_columns)
    except pd.errors.EmptyDataError:
        raise RunsError(f"{named(name)} has a header ({quote(', '.join(columns), 80)}) but no rows.") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning, OverflowError, ValueError) as error:
        trimmed = _without_trailing_delimiters(body, delimiter, len(columns))
        if trimmed is not None:
            return _read_csv(trimmed, name, delimiter, columns, first_line)
        raise _ragged(body, name, delimiter, len(columns), first_line, error) from None


def _without_trailing_delimiters(body: str, delimiter: str, n_columns: int) -> str | None:
    """The text without the one empty field that some tools write at the end of each row; None if that is not the matter."""
    try:
        rows = list(csv.reader(io.StringIO(body, newline=""), delimiter=delimiter))
    except csv.Error:
        return None
    if not all(len(r) <= n_columns or (len(r) == n_columns + 1 and not r[-1].strip()) for r in rows):
        return None
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(r[:n_columns] for r in rows)
    return out.getvalue() if any(len(r) > n_columns for r in rows) else None


def _ragged(body: str, name: str, delimiter: str, n_columns: int, first_line: int, error: Exception) -> RunsError:
    """The error for the first row that has more fields than the header has names."""
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=delimiter)
    before = 0
    try:
        for fields in reader:
            if len(fields) > n_columns:
                hint = (
                    " Put text that holds a comma in double quotes, and write numbers without thousands commas."
                    if delimiter == ","
                    else ""
                )
                return RunsError(
                    f"{named(name)}, row {before + first_line}: {len(fields)} fields, but the header has {n_columns} columns.{hint}"
                )
            before = reader.line_num
    except csv.Error as problem:
        return RunsError(f"{named(name)}, row {before + first_line}: {quote(problem, 80)}.")
    if "EOF inside string" in str(error):
        return RunsError(f"{named(name)} has a double quote that is never closed; close it or remove it.")
    return RunsError(f"{named(name)} is not a readable table: {quote(error, 120)}.")


def _line_numbers(body: str, n_rows: int, header_lines: int, delimiter: str) -> np.ndarray:
    """(n_rows,) 1-based line where each row starts; rows may span lines when a quoted cell holds a line break."""
    n_lines = (
        body.count("\n") + (not body.endswith("\n")) if "\n" in body else body.count("\r") + (not body.endswith("\r"))
    )
    plain = np.arange(header_lines + 1, header_lines + n_rows + 1)
    if n_lines == header_lines + n_rows or '"' not in body:
        return plain
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=delimiter)
    starts, before = [], 0
    try:
        for _ in reader:
            starts.append(before + 1)
            before = reader.line_num
    except csv.Error:
        return plain
    starts = starts[1:]
    return np.array(starts[:n_rows]) if len(starts) >= n_rows else plain


def _decimal_comma(columns: dict[str, np.ndarray]) -> bool:
    """Whether the file writes 3,14: some cell has a comma that can be no thousands comma."""
    for values in columns.values():
        if values.dtype != object:
            continue
        for cell in values:
            if not isinstance(cell, str) or "," not in cell:
                continue
            if (m := _COMMA_NUMBER.fullmatch(cell.strip())) is None:
                break  # text with commas: this column says nothing
            if len(m[1]) != 3 or cell.strip().lstrip("+-").startswith("0,"):
                return True
    return False
