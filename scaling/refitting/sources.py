"""From the sources of a refit to the rows of its groups: which files there are, which of them changed, what they hold.

A file counts as unchanged when its size, its times of writing and of change, and its inode are those noted when it was last read,
and when it had been left alone for two seconds then. Otherwise its content is hashed, and read when the hash is new.
The time of change cannot be set back by hand, so a copy that keeps the time of writing is noticed.
"""

from __future__ import annotations

import glob
import hashlib
import io
import json
import os
import stat
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import RunsError
from scaling.refitting.store import Part

if TYPE_CHECKING:
    import pandas as pd

SETTLED = 2.0  # seconds: coarser than the clock of any file system, so that a later write has another time
MAX_BYTES = 1 << 29  # decompressed: what a few KB of gzip may fill
_TRIES = 3
TABLE = "(the table)"


@dataclass(frozen=True)
class Reading:
    """How files become rows of groups: needed columns, the target among them, columns to group by, options of read_runs."""

    needed: tuple[str, ...]
    target: str
    by: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    version: str = ""
    max_bytes: int = MAX_BYTES

    @cached_property
    def digest(self) -> str:
        """A name for this way of reading: files read otherwise are read again."""
        options = {k: _content_of(v) if hasattr(v, "columns") else v for k, v in self.options.items()}
        parts = (self.needed, self.target, self.by, options, self.version, self.max_bytes)
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class Source:
    """A file to be read: size and modified [ns] as seen here; identity: see above; content: its bytes, where they travel."""

    path: str
    size: int = -1
    modified: int = -1
    identity: str = ""
    settled: bool = False
    sha256: str = ""
    content: bytes | None = None


@dataclass(frozen=True)
class FileRead:
    """What a worker found: parts None means the content is what it was; elsewhere means it does not see that file."""

    path: str
    sha256: str = ""
    error: str = ""
    parts: tuple[Part, ...] | None = ()
    elsewhere: bool = False


def name_of(path: str) -> str:
    """A path as text that any encoding can write."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


# --- which files there are ---------------------------------------------------------------------------------------------


def find_files(sources: Any, without: Iterable[str | Path] = ()) -> tuple[list[str], list[tuple[str, str]]]:
    """Paths of files, globs, directories and addresses (file systems of fsspec); folders that cannot be entered, with a sentence.

    without : a directory (the store) or files that are never sources. Raises RunsError where nothing is found.
    """
    left_out = [os.path.abspath(w) for w in without]
    found: list[str] = []
    closed: list[tuple[str, str]] = []
    for source in [sources] if isinstance(sources, str | os.PathLike) else list(sources):
        path = os.fspath(source)
        if "://" in path:
            found += _remote_files(path)
        elif os.path.isdir(path):
            found += _files_in(path, closed)
        elif os.path.lexists(path):
            found.append(path)
        else:
            found += sorted(p for p in glob.glob(path, recursive=True) if not os.path.isdir(p))

    def ours(path: str) -> bool:
        own = os.path.abspath(path)
        return any(own == w or own.startswith(w + os.sep) for w in left_out)

    kept = [p for p in dict.fromkeys(found) if "://" in p or not ours(p)]
    if not kept and not closed:
        shown = ", ".join(repr(str(s)) for s in ([sources] if isinstance(sources, str | Path) else sources))
        raise RunsError(f"no files at {shown}: check the path or the pattern.")
    return kept, closed


def _files_in(folder: str, closed: list[tuple[str, str]]) -> list[str]:
    from scaling.logs.formats import folder_tables

    laid_out = folder_tables(folder, MAX_BYTES)
    if laid_out is not None:  # as a tracker does: its logs, and not all that lies beside them
        first = next(laid_out, None)
        if not isinstance(first, str):
            return [folder]
        return [first, *(p for p in laid_out if isinstance(p, str))]

    def refused(error: OSError) -> None:
        closed.append((str(error.filename), f"the folder cannot be entered: {error.strerror}."))

    found = []
    for at, folders, files in os.walk(folder, onerror=refused):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        found += [os.path.join(at, f) for f in sorted(files) if not f.startswith(".")]
    return found


def _file_system(path: str) -> tuple[Any, str]:
    try:
        fsspec = import_module("fsspec")
    except ImportError as error:
        raise RunsError(
            f"{path!r} is an address, which needs the package fsspec: pip install 'scaling-laws[cluster]'."
        ) from error
    try:
        system, inner = fsspec.core.url_to_fs(path)
    except (ImportError, ValueError) as error:
        raise RunsError(f"{path!r} cannot be opened: {error}.") from error
    return system, inner


def _remote_files(path: str) -> list[str]:
    system, inner = _file_system(path)
    try:
        if glob.has_magic(inner):
            found = [p for p in system.glob(inner) if system.isfile(p)]
        elif system.isdir(inner):
            found = system.find(inner)
        else:
            found = [inner] if system.exists(inner) else []
    except OSError as error:
        raise RunsError(f"{path!r} cannot be listed: {error}.") from error
    return [system.unstrip_protocol(p) for p in sorted(found)]


def look(path: str) -> Source:
    """A file as it stands now, not read. Raises OSError, and RunsError for what is no file that can be read twice."""
    if "://" in path:
        system, inner = _file_system(path)
        info = system.info(inner)
        marks = {
            k: str(info[k])
            for k in ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created", "ino")
            if k in info
        }
        size = int(info.get("size") or 0)
        # without any mark a change of the same size cannot be seen: such a file is read each time
        identity = f"{size} {json.dumps(marks, sort_keys=True)}" if marks else ""
        return Source(path, size, -1, identity, settled=any(k.lower() == "etag" for k in marks))
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        return _look_at_folder(path)
    if not stat.S_ISREG(status.st_mode):
        raise RunsError(f"{name_of(path)!r} is no regular file (a pipe, a device?): it is not read.")
    touched = max(status.st_mtime_ns, status.st_ctime_ns)
    return Source(
        path,
        status.st_size,
        status.st_mtime_ns,
        f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}",
        settled=time.time_ns() - touched > SETTLED * 1e9,
    )


def _look_at_folder(path: str) -> Source:
    """A folder that a tracker laid out counts as one file, whose identity is that of all its files."""
    marks, touched, size = hashlib.sha256(), 0, 0
    for at, folders, files in os.walk(path):
        folders.sort()
        for file in sorted(files):
            status = os.stat(os.path.join(at, file))
            marks.update(
                f"{os.path.join(at, file)!r} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\n".encode()
            )
            touched, size = max(touched, status.st_mtime_ns, status.st_ctime_ns), size + status.st_size
    return Source(path, size, -1, marks.hexdigest(), settled=time.time_ns() - touched > SETTLED * 1e9)


# --- what they hold ----------------------------------------------------------------------------------------------------


def read_files(sources: Sequence[Source], reading: Reading) -> list[FileRead]:
    """Read files where this process sees them as they were listed; a bad file is a sentence, and loses no other."""
    return [_read_one(s, reading) for s in sources]


def read_here(path: str, reading: Reading, sha256: str = "") -> tuple[Source, FileRead]:
    """Read one file in this process, again when it changes meanwhile; and how it stood when it was read."""
    seen = Source(path)
    for _ in range(_TRIES):
        try:
            seen = Source(**{**vars(look(path)), "sha256": sha256})
        except (OSError, RunsError) as error:
            return Source(path), FileRead(path, error=_sentence(path, error))
        found = _read_one(seen, reading)
        if not found.elsewhere:
            return seen, found
        time.sleep(0.05)
    return Source(path), FileRead(
        path, error=f"{name_of(path)!r} changed while it was read; the next refit reads it again."
    )


def load(source: Source) -> tuple[Source, bytes] | None:
    """The bytes of a file for a worker that does not see it; None where it is too large, a folder, or does not stand still."""
    from scaling.logs.large import LARGE

    for _ in range(_TRIES):
        try:
            before = look(source.path)
            if before.size > LARGE or ("://" not in source.path and os.path.isdir(source.path)):
                return None
            content = _bytes_of(source.path)
            if look(source.path).identity == before.identity and len(content) == before.size:
                return before, content
        except (OSError, RunsError):
            return None
        time.sleep(0.05)
    return None


def _bytes_of(path: str) -> bytes:
    if "://" in path:
        system, inner = _file_system(path)
        content: bytes = system.cat_file(inner)
        return content
    with open(path, "rb") as stream:
        return stream.read()


def _read_one(source: Source, reading: Reading) -> FileRead:
    from scaling.logs.compressed import too_large
    from scaling.logs.large import is_large

    path, content = source.path, source.content
    try:
        if content is None:
            try:
                before = look(path)
            except FileNotFoundError:
                return FileRead(path, elsewhere=True)
            if (before.size, before.modified) != (source.size, source.modified):
                return FileRead(path, elsewhere=True)
            if "://" not in path and (os.path.isdir(path) or is_large(path)):
                found = _table(path, reading, glob.escape(path) if os.path.isfile(path) else path)
                return FileRead(path, elsewhere=True) if look(path).identity != before.identity else found
            if before.size > reading.max_bytes:
                raise too_large(repr(name_of(path)), reading.max_bytes)
            content = _bytes_of(path)
            # no half of an old file and half of a new one
            if len(content) != before.size or look(path).identity != before.identity:
                return FileRead(path, elsewhere=True)
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 == source.sha256:
            return FileRead(path, sha256, parts=None)
        stream = io.BytesIO(content)
        stream.name = name_of(path)
        return _table(path, reading, stream, sha256)
    except Exception as error:  # whatever is in one file, the others must be read
        return FileRead(path, error=_sentence(path, error))


def _sentence(path: str, error: Exception) -> str:
    if isinstance(error, RunsError):
        return str(error)
    if isinstance(error, OSError):
        return f"{name_of(path)!r} cannot be read: {error.strerror or error}."
    return f"{name_of(path)!r} cannot be read ({type(error).__name__}: {str(error)[:200]})."


def _table(path: str, reading: Reading, what: Any, sha256: str = "") -> FileRead:
    from scaling.logs import read_runs

    inputs = [c for c in reading.needed if c != reading.target]
    try:
        table = read_runs(what, required=inputs, target=reading.target, max_bytes=reading.max_bytes, **reading.options)
        sha256 = sha256 or table.attrs["read"]["files"][0]["sha256"]
        unit = str(table.attrs["read"]["loss_unit"]).split(" (")[0]
        return FileRead(path, sha256, parts=tuple(split(table, reading, path, unit)))
    except Exception as error:  # a reader that trips over a file must not stop the refit
        return FileRead(path, sha256, _sentence(path, error))


def split(table: pd.DataFrame, reading: Reading, path: str, unit: str = "") -> list[Part]:
    """The rows of a table by group. Raises RunsError for a missing column."""
    if missing := [c for c in (*reading.by, *reading.needed) if c not in table]:
        raise RunsError(
            f"{name_of(path)!r} has no column {missing[0]!r}; it has {', '.join(map(str, table.columns[:8]))}."
        )
    numbers = np.column_stack([table[c].to_numpy(float) for c in reading.needed]).astype("<f8")
    if not reading.by:
        return [_part(group_text({"file": name_of(path)} if path != TABLE else {}), numbers.tobytes(), unit, reading)]
    parts = []
    for key, rows in table.groupby(list(reading.by), sort=True, dropna=False).indices.items():
        values = key if isinstance(key, tuple) else (key,)
        group = {c: str(v) for c, v in zip(reading.by, values, strict=True)}
        parts.append(_part(group_text(group), numbers[rows].tobytes(), unit, reading))
    return parts


def group_text(group: dict[str, str]) -> str:
    return json.dumps(group, sort_keys=True, ensure_ascii=True)


def _part(grp: str, content: bytes, unit: str, reading: Reading) -> Part:
    digest = hashlib.sha256(json.dumps(reading.needed).encode() + content).hexdigest()
    return Part(grp, digest, unit, len(content) // (8 * len(reading.needed)), content)


def _content_of(table: pd.DataFrame) -> str:
    """A hash of a table's names and cells."""
    from pandas.util import hash_pandas_object

    content = hashlib.sha256(json.dumps([str(c) for c in table.columns]).encode())
    content.update(hash_pandas_object(table, index=False).to_numpy().tobytes())
    return content.hexdigest()
