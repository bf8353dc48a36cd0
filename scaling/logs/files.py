"""From a path, a glob, a stream or a DataFrame to raw tables: which files, their bytes, and what they turn out to be.

Nothing here knows what a loss is. Every failure is a RunsError that names the file, the row where there is one, and the way out.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scaling.errors import RunsError
from scaling.logs import formats
from scaling.logs.compressed import too_large, unpack
from scaling.logs.delimited import delimited_text
from scaling.logs.json_table import json_table
from scaling.logs.parquet import parquet_table
from scaling.logs.raw_table import RawTable, apart, arrays_of, named
from scaling.logs.schema import did_you_mean
from scaling.logs.text import text_of
from scaling.quantities import quote

MAX_BYTES = 2_000_000_000  # of decompressed content; a few KB of gzip can otherwise fill any memory
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
    found = formats.folder_tables(folder, max_bytes)
    if found is None:
        return None
    return (
        t if isinstance(t, RawTable) else parse_bytes(_read_path(t, max_bytes), t, max_bytes=max_bytes, format=format)
        for t in found
    )


def parse_bytes(content: bytes, name: str, *, max_bytes: int = MAX_BYTES, format: str | None = None) -> RawTable:
    """A table from the bytes of a file; the format is told by the content, not by the name, unless it is given."""
    digest = hashlib.sha256(content).hexdigest()
    if not content:
        raise RunsError(f"{named(name)} is empty; it should hold a header line and one row per run.")
    content = unpack(content, named(name), max_bytes)
    if content[:4] == b"PAR1":
        return parquet_table(content, name, digest, max_bytes)
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
        return json_table(text, name, digest, notes)
    return delimited_text(text, name, digest, notes)


def _from_frame(frame: pd.DataFrame) -> RawTable:
    if frame.columns.nlevels > 1:
        raise RunsError("The DataFrame has several header levels; join them into one name per column.")
    names = [str(c) for c in frame.columns]
    unique, duplicated = apart(names)
    if not len(frame):
        raise RunsError("The DataFrame has no rows.")
    return RawTable("the DataFrame", arrays_of(frame, unique), np.arange(1, len(frame) + 1), duplicated=duplicated)


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
