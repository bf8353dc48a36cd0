"""From a path, a glob, a stream or a DataFrame to raw tables: bytes -> text -> columns, with the row numbers people see.

Nothing here knows what a loss is. Every failure is a RunsError that names the file, the row where there is one, and the way out.
"""

from __future__ import annotations

import csv
import glob
import hashlib
import io
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scaling.errors import RunsError
from scaling.logs.compressed import too_large, unpack
from scaling.quantities import quote

MAX_BYTES = 2_000_000_000  # of decompressed content; a few KB of gzip can otherwise fill any memory
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
_ENDINGS = re.compile(r"(\.(csv|tsv|txt|log|out|jsonl|ndjson|json|parquet|pq|gz|zst|zstd))+$", re.IGNORECASE)
# Names that trainers give the log of every run: the folder tells the runs apart.
_SAME_FOR_ALL = ("metrics", "trainer_state", "main")
_REFUSED = {
    b"PK\x03\x04": "a zip or Excel file; save the sheet as CSV",
    b"SQLite format 3": "an SQLite database; export the table as CSV or Parquet",
    b"BZh": "a bzip2 file; compress with gzip or zstd instead",
    b"\xfd7zXZ": "an xz file; compress with gzip or zstd instead",
    b"%PDF": "a PDF; give the table as CSV",
    b"\x89HDF": "an HDF5 file; export the table as CSV or Parquet",
    b"\x80\x04": "a Python pickle, which is never loaded (it can run code); export the table as CSV or Parquet",
    b"\x80\x05": "a Python pickle, which is never loaded (it can run code); export the table as CSV or Parquet",
    b"<!DOCTYPE": "an HTML page, perhaps a log-in page instead of the file; download the CSV itself",
    b"<html": "an HTML page, perhaps a log-in page instead of the file; download the CSV itself",
}


@dataclass(frozen=True)
class RawTable:
    """One file as it stands: columns by their own names, text where the file has text.

    columns : each a 1-d array; numbers (nan: empty), bool, datetime64, or objects (text, and None or nan where empty).
    name : as the user gave it. rows : what to call each row in a message (1-based line of a text file, else 1-based row).
    n_rows : how many rows the file has, where only some were kept.
    duplicated : header names that occur more than once (their columns were renamed apart).
    notes : (code, message) pairs. dropped : (reason, row) of lines that hold no row.
    """

    name: str
    columns: dict[str, np.ndarray]
    rows: np.ndarray
    sha256: str = ""
    decimal_comma: bool = False
    duplicated: tuple[str, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    dropped: tuple[tuple[str, int], ...] = field(default=())
    n_rows: int | None = None

    @property
    def stem(self) -> str:
        """The file's name without folder and endings, as a default name of its run; the folder's where trainers name all logs alike."""
        *folders, base = re.split(r"[/\\]", self.name)
        stem = _ENDINGS.sub("", base) or base
        folders = [f for f in folders if f not in ("", ".", "..")]
        if not folders or not (stem in _SAME_FOR_ALL or "tfevents" in base):
            return stem
        if re.fullmatch(r"checkpoint-\d+", folders[-1]) and len(folders) > 1:
            folders.pop()
        if re.fullmatch(r"version_\d+", folders[-1]) and len(folders) > 1:
            return "/".join(folders[-2:])
        return folders[-1]


def named(file: str) -> str:
    """A file's name as it may stand in a message; of a very long path the end is kept, which tells files apart."""
    return quote(file if len(file) <= 120 else f"...{file[-117:]}", 120)


def read_tables(
    source: Any,
    *,
    max_bytes: int = MAX_BYTES,
    format: str | None = None,
    reduced: Callable[[str], RawTable | None] | None = None,
) -> Iterator[RawTable]:
    """Each table of `source`: a path, a glob, '-' (standard input), an open file, a DataFrame, or a sequence of these.

    A folder is read when a tracker or trainer laid it out (an MLflow store, event files, checkpoints).
    format : a name in scaling.logs.formats.FORMATS; None: told by the content.
    reduced : asked first about each file, for a table of only those of its rows that matter; None: read it whole.
    """
    if hasattr(source, "to_pandas") and not isinstance(source, pd.DataFrame):
        source = source.to_pandas()  # polars, pyarrow
    if isinstance(source, pd.DataFrame):
        yield _from_frame(source)
    elif isinstance(source, str | os.PathLike):
        if os.path.isdir(source) and (tables := _folder(os.fspath(source), max_bytes, format)) is not None:
            yield from tables
            return
        for path in _expand(os.fspath(source)):
            if reduced is not None and path != "-" and (part := reduced(path)) is not None:
                yield part
                continue
            content = (
                _read_stream(sys.stdin.buffer, max_bytes, "standard input")
                if path == "-"
                else _read_path(path, max_bytes)
            )
            name = "standard input" if path == "-" else path
            yield parse_bytes(content, name, max_bytes=max_bytes, format=format)
    elif hasattr(source, "read"):
        name = str(getattr(source, "name", "") or "the open file")
        yield parse_bytes(_read_stream(source, max_bytes, name), name, max_bytes=max_bytes, format=format)
    elif isinstance(source, Sequence) and not isinstance(source, bytes | bytearray):
        if not source:
            raise RunsError("No runs were given: name a file, a glob such as 'runs/*.csv', or - for standard input.")
        for part in source:
            yield from read_tables(part, max_bytes=max_bytes, format=format, reduced=reduced)
    else:
        raise RunsError(
            f"Runs cannot be read from {quote(type(source).__name__)}; give a path, a glob, '-', an open file or a DataFrame."
        )


def read_table(source: Any, *, max_bytes: int = MAX_BYTES) -> pd.DataFrame:
    """Files as they stand, one below the other: columns by their own names, numbers where every cell is one.

    For tables that are not runs (scores, curves of accuracy). Raises RunsError as read_runs does.
    """
    parts = []
    for table in read_tables(source, max_bytes=max_bytes):
        frame = pd.DataFrame(table.columns)
        for column in frame:
            if not pd.api.types.is_numeric_dtype(frame[column]):
                numbers = pd.to_numeric(frame[column], errors="coerce")
                if (numbers.notna() | frame[column].isna()).all():
                    frame[column] = numbers
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def _folder(folder: str, max_bytes: int, format: str | None) -> Iterator[RawTable] | None:
    from scaling.logs.formats import folder_tables

    found = folder_tables(folder, max_bytes)
    if found is None:
        return None
    return (
        t if isinstance(t, RawTable) else parse_bytes(_read_path(t, max_bytes), t, max_bytes=max_bytes, format=format)
        for t in found
    )


def parse_bytes(content: bytes, name: str, *, max_bytes: int = MAX_BYTES, format: str | None = None) -> RawTable:
    """A table from the bytes of a file; the format is told by the content, not by the name, unless it is given."""
    from scaling.logs import formats  # its files need RawTable, which is defined here

    digest = hashlib.sha256(content).hexdigest()
    if not content:
        raise RunsError(f"{named(name)} is empty; it should hold a header line and one row per run.")
    content = unpack(content, named(name), max_bytes)
    if content[:4] == b"PAR1":
        return _parquet(content, name, digest, max_bytes)
    for magic, what in _REFUSED.items():
        if content.lstrip()[: len(magic)].lower() == magic.lower():
            raise RunsError(f"{named(name)} is {what}.")
    if (known := formats.find(content, name, format)) is not None:
        table = known.read(content, name)
        return replace(
            table, sha256=digest, notes=(("format", f"{named(name)} was read as {known.title}"), *table.notes)
        )
    text, notes = text_of(content, name)
    start = re.search(r"\S", text)
    if start is None:
        raise RunsError(f"{named(name)} is empty; it should hold a header line and one row per run.")
    if text[start.start()] in "[{":
        return _json(text, name, digest, notes)
    return _delimited(text, name, digest, notes)


def delimited(content: bytes, name: str, needs: Sequence[str] = ()) -> RawTable:
    """A CSV or the like as it stands; RunsError for what is none, or lacks one of the columns that it `needs`."""
    text, notes = text_of(content, name)
    if not text.strip():
        raise RunsError(f"{named(name)} is empty; it should hold a header line and one row per run.")
    table = _delimited(text, name, "", notes)
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


def _from_frame(frame: pd.DataFrame) -> RawTable:
    if frame.columns.nlevels > 1:
        raise RunsError("The DataFrame has several header levels; join them into one name per column.")
    names = [str(c) for c in frame.columns]
    unique, duplicated = _apart(names)
    if not len(frame):
        raise RunsError("The DataFrame has no rows.")
    return RawTable("the DataFrame", _arrays(frame, unique), np.arange(1, len(frame) + 1), duplicated=duplicated)


def _arrays(frame: pd.DataFrame, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The columns of a DataFrame as arrays under new names: numpy's numbers, bool and datetimes, else objects."""
    arrays = {}
    for position, name in enumerate(names):
        column = frame.iloc[:, position]
        if isinstance(column.dtype, np.dtype) and column.dtype.kind in "fiubM":
            arrays[name] = column.to_numpy()
        elif pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            arrays[name] = column.to_numpy(dtype=float, na_value=np.nan)
        else:
            arrays[name] = column.to_numpy(dtype=object)
    return arrays


def _expand(path: str) -> list[str]:
    if path == "-" or os.path.isfile(path):
        return [path]
    if "\0" in path:
        raise RunsError(f"{named(path)} is no file name.")
    if re.match(r"[a-z][a-z0-9+]+://", path, re.IGNORECASE):
        raise RunsError(
            f"{named(path)} is an address; nothing is fetched from outside, so download the file and give its path."
        )
    if os.path.isdir(path):
        raise RunsError(f"{named(path)} is a folder; name its files, for example '{path.rstrip('/')}/*.csv'.")
    if glob.has_magic(path):
        found = sorted(p for p in glob.glob(path, recursive=True) if os.path.isfile(p))
        if not found:
            raise RunsError(f"No file matches {named(path)}.")
        return found
    if os.path.exists(path):  # a pipe, such as the shell's <(...)
        return [path]
    folder = Path(path).parent
    here = (
        [p.name for p in folder.iterdir() if p.is_file()][:1000]
        if os.access(folder, os.R_OK) and folder.is_dir()
        else []
    )
    from scaling.logs.schema import did_you_mean

    raise RunsError(f"There is no file {named(path)}.{did_you_mean(Path(path).name, here)}")


def _read_path(path: str, max_bytes: int) -> bytes:
    try:
        with open(path, "rb") as stream:
            if os.fstat(stream.fileno()).st_size > max_bytes:
                raise too_large(named(path), max_bytes)
            return _read_stream(stream, max_bytes, path)
    except OSError as error:
        raise RunsError(f"{named(path)} cannot be read: {error.strerror or error}.") from None


def _read_stream(stream: Any, max_bytes: int, name: str) -> bytes:
    try:
        content = stream.read(max_bytes + 1)
    except UnicodeDecodeError:
        raise RunsError(f"{named(name)} was opened as text but is not UTF-8; open it with mode 'rb'.") from None
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    if len(content) > max_bytes:
        raise too_large(named(name), max_bytes)
    return content


def text_of(content: bytes, name: str) -> tuple[str, list[tuple[str, str]]]:
    """The text of a file and notes on its encoding; RunsError for binary content and zero bytes."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return _decoded(content, "utf-16", name), [("encoding", "read as UTF-16")]
    head = content[:4096]
    if b"\0" in head:
        even, odd = head[0::2].count(0), head[1::2].count(0)
        if odd > 0.4 * len(head) / 2 and even == 0:
            return _decoded(content, "utf-16-le", name), [("encoding", "read as UTF-16 (little endian, no mark)")]
        if even > 0.4 * len(head) / 2 and odd == 0:
            return _decoded(content, "utf-16-be", name), [("encoding", "read as UTF-16 (big endian, no mark)")]
        raise RunsError(f"{named(name)} is a binary file, not a table; give CSV, TSV, JSON lines or Parquet.")
    if b"\0" in content:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        raise RunsError(f"{named(name)} has zero bytes in row {line} (a crash while it was written?); remove that row.")
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        control = sum(1 for b in head if b < 32 and b not in b"\t\n\r\f\x1b")
        if control > 0.02 * len(head):
            raise RunsError(
                f"{named(name)} is a binary file, not a table; give CSV, TSV, JSON lines or Parquet."
            ) from None
        line = content[: error.start].count(b"\n") + 1
        return content.decode("latin-1"), [("encoding", f"{named(name)} is not UTF-8 (row {line}); read as Latin-1")]


def _decoded(content: bytes, encoding: str, name: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise RunsError(f"{named(name)} looks like UTF-16 but is damaged or cut off; save it again as UTF-8.") from None


def _apart(names: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Distinct names (a repeated one gets ' (2)', ...; an empty one 'column 3') and the names that were repeated."""
    seen: dict[str, int] = {}
    unique: list[str] = []
    for position, name in enumerate(names, 1):
        name = name or f"column {position}"
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    if len(set(unique)) < len(unique):  # a file that has both 'a', 'a' and 'a (2)'
        unique = [f"{name} [{i}]" if unique.count(name) > 1 else name for i, name in enumerate(unique)]
    return unique, tuple(name for name, count in seen.items() if count > 1)


def _delimited(text: str, name: str, digest: str, notes: list[tuple[str, str]]) -> RawTable:
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
    unique, duplicated = _apart(header)
    frame = _read_csv(body, name, delimiter, unique, first_line)
    lines = _line_numbers(body, len(frame), header_lines, delimiter) + (first_line - 1)
    columns = _arrays(frame, unique)
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


_COMMA_NUMBER = re.compile(r"[+-]?\d+(?:\.\d{3})*,(\d+)(?:[eE][+-]?\d+)?[A-Za-z%]*", re.ASCII)


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


def _parquet(content: bytes, name: str, digest: str, max_bytes: int) -> RawTable:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise RunsError(
            f"{named(name)} is a Parquet file, which needs the package pyarrow: pip install pyarrow."
        ) from None
    try:
        file = pyarrow.parquet.ParquetFile(io.BytesIO(content))
        # equal cells take no room in the file, and eight bytes each here
        frame = None
        if 8 * file.metadata.num_rows * file.metadata.num_columns <= max_bytes:
            frame = file.read().to_pandas()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise RunsError(f"{named(name)} is a damaged Parquet file ({quote(error, 80)}); copy it again.") from None
    if frame is None:
        raise too_large(named(name), max_bytes)
    if frame.index.name is not None or frame.index.nlevels > 1:
        frame = frame.reset_index()
    if not len(frame):
        raise RunsError(f"{named(name)} has a header ({quote(', '.join(map(str, frame.columns)), 80)}) but no rows.")
    unique, duplicated = _apart([str(c) for c in frame.columns])
    return RawTable(name, _arrays(frame, unique), np.arange(1, len(frame) + 1), digest, False, duplicated)


def _json(text: str, name: str, digest: str, notes: list[tuple[str, str]]) -> RawTable:
    records: list[dict[str, Any]] = []
    rows: list[int] = []
    dropped: list[tuple[str, int]] = []
    if text.lstrip()[0] == "[":
        for number, record in enumerate(_loads(text, name, ""), 1):
            if not isinstance(record, dict):
                raise RunsError(
                    f"{named(name)}, row {number}: {quote(record)} is no JSON object; each row is {{column: value, ...}}."
                )
            records.append(_flat(record))
            rows.append(number)
    else:
        lines = text.split("\n")
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                if records and number == len(lines):  # still being written, or cut off: the rest stands
                    dropped.append(("the last line is cut off", number))
                    continue
                if not records:
                    raise _not_json_lines(text, name) from None
                raise RunsError(
                    f"{named(name)}, row {number}: {quote(line)} is no JSON object; mend or remove that line."
                ) from None
            if not isinstance(record, dict):
                raise RunsError(
                    f"{named(name)}, row {number}: {quote(line)} is no JSON object; each line is {{column: value, ...}}."
                )
            records.append(_flat(record))
            rows.append(number)
    if not records:
        raise RunsError(f"{named(name)} holds no rows.")
    names = list(dict.fromkeys(key for record in records for key in record))
    columns = {key: column_of([r.get(key) for r in records]) for key in names}
    return RawTable(name, columns, np.array(rows), digest, notes=tuple(notes), dropped=tuple(dropped))


def column_of(values: list[Any]) -> np.ndarray:
    """Numbers as floats, where None is missing; anything else stays as it is (a bare NaN becomes the text 'nan': it was logged)."""
    plain = all(v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in values)
    logged_nan = any(isinstance(v, float) and v != v for v in values)
    if plain and not logged_nan:
        try:
            return np.array([np.nan if v is None else float(v) for v in values])
        except OverflowError:
            pass
    out = np.empty(len(values), dtype=object)
    for i, v in enumerate(values):
        if isinstance(v, bool | dict | list):
            out[i] = v if isinstance(v, bool) else json.dumps(v)[:1000]
        else:
            out[i] = v if v is None or isinstance(v, str) else repr(v)
    return out


def _flat(record: dict[str, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """{'eval': {'loss': 3}} -> {'eval/loss': 3}."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict) and depth < 8:
            flat |= _flat(value, f"{prefix}{key}/", depth + 1)
        else:
            flat[f"{prefix}{key}".strip()] = value
    return flat


def _loads(text: str, name: str, what: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise RunsError(f"{named(name)} is no valid JSON: row {error.lineno}, {error.msg.lower()}.") from None
    except (ValueError, RecursionError):
        raise RunsError(
            f"{named(name)} is JSON nested too deeply or with numbers too long to be a table of runs."
        ) from None


def _not_json_lines(text: str, name: str) -> RunsError:
    try:
        document = _loads(text, name, "")
    except RunsError as error:
        return error
    keys = ", ".join(quote(k) for k in list(document)[:6])
    return RunsError(
        f"{named(name)} is one JSON object (with {keys}), not a table; give a list of objects, or one object per line "
        "(pandas: to_json(orient='records', lines=True))."
    )
