"""The store of a batch: a directory with SQLite (WAL) for fits and history and one file of draws per committed chunk.

Schema 2, described table by table in docs/refit.md. A slot is a law and a group. A fit is kept under a key, the sha256
of the group's content, the law, the options and the package version; it is never overwritten. What was read of each file
is kept too, so that an unchanged file need not be read again.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from scaling.errors import RunsError

SCHEMA = 2
#: statuses of slots without a usable estimate: a fit's own (`FitResult.failed`), and those of files and groups
FAILED = ("max_iterations", "not_finite", "too_few_runs", "unreadable", "unusable")
_TABLES = """
BEGIN;
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS passes (id INTEGER PRIMARY KEY, started TEXT NOT NULL, finished TEXT, fits INTEGER,
    computed INTEGER, failed INTEGER);
CREATE TABLE IF NOT EXISTS slots (id INTEGER PRIMARY KEY, law TEXT NOT NULL, grp TEXT NOT NULL, UNIQUE (law, grp));
CREATE TABLE IF NOT EXISTS fits (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, law TEXT NOT NULL,
    status TEXT NOT NULL, message TEXT NOT NULL, n_runs INTEGER NOT NULL, document TEXT NOT NULL, draws TEXT NOT NULL,
    made TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS coefs (fit INTEGER NOT NULL, place INTEGER NOT NULL, coef TEXT NOT NULL, estimate REAL,
    low REAL, high REAL, PRIMARY KEY (fit, place)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen (slot INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    fit INTEGER NOT NULL, PRIMARY KEY (slot, first)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_last ON seen (last, first);
CREATE TABLE IF NOT EXISTS files (path TEXT NOT NULL, reading TEXT NOT NULL, identity TEXT NOT NULL,
    sha256 TEXT NOT NULL, error TEXT NOT NULL, PRIMARY KEY (path, reading)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts (id INTEGER PRIMARY KEY, path TEXT NOT NULL, reading TEXT NOT NULL, grp TEXT NOT NULL,
    digest TEXT NOT NULL, unit TEXT NOT NULL, n_rows INTEGER NOT NULL, content BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS parts_group ON parts (reading, grp, path, digest, unit, n_rows);
CREATE INDEX IF NOT EXISTS parts_path ON parts (path, reading);
INSERT OR IGNORE INTO about VALUES ('schema', '2');
COMMIT;
"""


@dataclass(frozen=True)
class Part:
    """The rows of one group in one file: content holds n_rows x columns little-endian float64, row by row."""

    grp: str
    digest: str
    unit: str
    n_rows: int
    content: bytes


@dataclass(frozen=True)
class Fitted:
    """A fit, or why there is none, ready to be stored. coefs: (name, estimate, low, high); draws: (R, P) or None."""

    key: str
    law: str
    status: str
    message: str
    n_runs: int = 0
    document: Mapping[str, Any] | None = None
    coefs: tuple[tuple[str, float | None, float | None, float | None], ...] = ()
    draws: np.ndarray | None = None


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class Store:
    """A store opened for reading and, inside `writing()`, for one writer at a time."""

    def __init__(self, path: str | Path, create: bool = False) -> None:
        self.path = Path(path)
        file = self.path / "fits.sqlite"
        if not create and not file.exists():
            raise RunsError(
                f"{str(self.path)!r} is no store of fits: make one with a refit, or name another directory."
            )
        try:
            if create:
                (self.path / "draws").mkdir(parents=True, exist_ok=True)
            self.db = _opened(file, create)
            row = self.db.execute("SELECT value FROM about WHERE name = 'schema'").fetchone()
        except (OSError, sqlite3.Error) as error:
            raise RunsError(
                f"cannot open the store {str(self.path)!r}: {error}. Free space, mend its permissions or choose another."
            ) from error
        if row is None or row[0] != str(SCHEMA):
            self.db.close()
            raise RunsError(
                f"the store {str(self.path)!r} has schema {row[0] if row else 'none'}, this version reads {SCHEMA}: "
                "use a new directory."
            )

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.db.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the store for one refit; the system releases the lock when the process dies, however it dies."""
        # SQLite's own file lock: the same on every system, and nothing is written to hold it
        lock = sqlite3.connect(self.path / "lock.sqlite", timeout=0, isolation_level=None)
        try:
            try:
                lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise self._cannot_write(error) from error
                raise RunsError(
                    f"another refit is writing to {str(self.path)!r}: wait until it ends, or choose another store."
                ) from error
            for left in (self.path / "draws").glob(".*.partial"):  # of a refit that was killed
                left.unlink(missing_ok=True)
            yield
        finally:
            lock.close()

    def _cannot_write(self, error: Exception) -> RunsError:
        return RunsError(
            f"cannot write to the store {str(self.path)!r}: {error}. What was committed before is safe; free space and run again."
        )

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        try:
            with self.db:
                yield self.db
        except (OSError, sqlite3.OperationalError) as error:
            raise self._cannot_write(error) from error

    # --- refits ------------------------------------------------------------------------------------------------------

    def begin(self) -> int:
        """The number of this refit: the next, or that of one which did not finish, whose work goes on."""
        with self._change() as db:
            row = db.execute("SELECT id, finished FROM passes ORDER BY id DESC LIMIT 1").fetchone()
            if row is not None and row[1] is None:
                number = int(row[0])  # its slots are marked anew: the input may have changed since
                db.execute("DELETE FROM seen WHERE first = ?", (number,))
                db.execute("UPDATE seen SET last = ? WHERE last = ?", (number - 1, number))
                return number
            number = 1 if row is None else int(row[0]) + 1
            db.execute("INSERT INTO passes (id, started) VALUES (?, ?)", (number, now()))
            return number

    def finish(self, number: int, computed: int, readings: Iterable[str]) -> tuple[int, int]:
        """Close a refit; returns the slots it has and how many of them failed. What was read otherwise is forgotten."""
        marks = ", ".join("?" * len(FAILED))
        kept = list(readings)
        with self._change() as db:
            total, failed = db.execute(
                f"SELECT count(*), coalesce(sum(f.status IN ({marks})), 0) FROM seen s JOIN fits f ON f.id = s.fit "
                "WHERE s.last = ?",
                (*FAILED, number),
            ).fetchone()
            db.execute(
                "UPDATE passes SET finished = ?, fits = ?, computed = ?, failed = ? WHERE id = ?",
                (now(), total, computed, failed, number),
            )
            other = f"reading NOT IN ({', '.join('?' * len(kept))})"
            db.execute(f"DELETE FROM parts WHERE {other}", kept)
            db.execute(f"DELETE FROM files WHERE {other}", kept)
        return int(total), int(failed)

    def passes(self) -> list[int]:
        """Numbers of the finished refits, oldest first."""
        return [i for (i,) in self.db.execute("SELECT id FROM passes WHERE finished IS NOT NULL ORDER BY id")]

    # --- what was read -----------------------------------------------------------------------------------------------

    def known_file(self, path: str, reading: str) -> tuple[str, str]:
        """(identity, sha256) under which a file was last read well; empty where it must be looked at again."""
        query = "SELECT identity, sha256 FROM files WHERE path = ? AND reading = ? AND error = ''"
        row = self.db.execute(query, (path, reading)).fetchone()
        return ("", "") if row is None else (row[0], row[1])

    def put_files(self, reading: str, files: Iterable[tuple[str, str, str, str, Sequence[Part] | None]]) -> None:
        """Keep (path, identity, sha256, error, parts) of files; parts None leaves what is known of its rows."""
        with self._change() as db:
            for path, identity, sha256, error, parts in files:
                db.execute(
                    "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", (path, reading, identity, sha256, error)
                )
                if parts is None:
                    continue
                db.execute("DELETE FROM parts WHERE path = ? AND reading = ?", (path, reading))
                db.executemany(
                    "INSERT INTO parts (path, reading, grp, digest, unit, n_rows, content) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [(path, reading, p.grp, p.digest, p.unit, p.n_rows, p.content) for p in parts],
                )

    def use_files(self, paths: Iterable[str]) -> None:
        """Say which files this refit is about; groups and bad files are those of these."""
        with self._change() as db:
            db.execute("CREATE TEMP TABLE IF NOT EXISTS used (path TEXT PRIMARY KEY) WITHOUT ROWID")
            db.execute("DELETE FROM used")
            db.executemany("INSERT OR IGNORE INTO used VALUES (?)", ((p,) for p in paths))

    def bad_files(self, reading: str) -> Iterator[tuple[str, str]]:
        """(path, sentence) of the files in use that could not be read."""
        yield from self.db.execute(
            "SELECT path, error FROM files JOIN used USING (path) WHERE reading = ? AND error <> '' ORDER BY path",
            (reading,),
        ).fetchall()

    def count_groups(self, reading: str) -> int:
        query = "SELECT count(DISTINCT grp) FROM parts WHERE reading = ? AND path IN (SELECT path FROM used)"
        return int(self.db.execute(query, (reading,)).fetchone()[0])

    def group_chunks(self, reading: str, size: int) -> Iterator[list[tuple[str, list[tuple[int, str, str, int, str]]]]]:
        """Chunks of `size` groups in order, each (group, [(part id, digest, unit, rows, path)]); one query a chunk, so
        that no transaction stays open while fits are committed."""
        after = None
        while True:
            start = "" if after is None else "AND grp > :after"
            query = f"""SELECT grp, id, digest, unit, n_rows, path FROM parts WHERE reading = :reading
                AND path IN (SELECT path FROM used) AND grp IN (
                    SELECT DISTINCT grp FROM parts WHERE reading = :reading {start}
                    AND path IN (SELECT path FROM used) ORDER BY grp LIMIT :size)
                ORDER BY grp, path, id"""
            groups: dict[str, list[tuple[int, str, str, int, str]]] = {}
            for grp, *part in self.db.execute(query, {"reading": reading, "after": after, "size": size}):
                groups.setdefault(grp, []).append(tuple(part))
            if not groups:
                return
            yield list(groups.items())
            after = next(reversed(groups))

    def content(self, parts: Sequence[int]) -> bytes:
        """The rows of parts, one after the other."""
        query = "SELECT content FROM parts WHERE id = ?"
        return b"".join(self.db.execute(query, (p,)).fetchone()[0] for p in parts)

    # --- fits --------------------------------------------------------------------------------------------------------

    def known(self, keys: Sequence[str]) -> set[str]:
        """Those of the keys under which there is a fit."""
        found: set[str] = set()
        for i in range(0, len(keys), 500):
            some = keys[i : i + 500]
            marks = ", ".join("?" * len(some))
            found |= {k for (k,) in self.db.execute(f"SELECT key FROM fits WHERE key IN ({marks})", some)}
        return found

    def commit(self, number: int, slots: Iterable[tuple[str, str, str]], fits: Sequence[Fitted] = ()) -> None:
        """Write one chunk: its draws first, under a name that only the commit makes known, then all rows at once.

        slots : (law, group, key of its fit) that this refit has seen.
        """
        try:
            name = self._write_draws(fits)
        except OSError as error:
            raise self._cannot_write(error) from error
        with self._change() as db:
            for f in fits:
                row = db.execute(
                    "INSERT OR IGNORE INTO fits (key, law, status, message, n_runs, document, draws, made) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
                    (f.key, f.law, f.status, f.message, f.n_runs, json.dumps(f.document or {}),
                     name if f.draws is not None else "", now()),
                ).fetchone()  # fmt: skip
                if row is not None:
                    db.executemany(
                        "INSERT INTO coefs VALUES (?, ?, ?, ?, ?, ?)",
                        [(row[0], i, *coef) for i, coef in enumerate(f.coefs)],
                    )
            for law, grp, key in slots:
                db.execute("INSERT OR IGNORE INTO slots (law, grp) VALUES (?, ?)", (law, grp))
                (slot,) = db.execute("SELECT id FROM slots WHERE law = ? AND grp = ?", (law, grp)).fetchone()
                (fit,) = db.execute("SELECT id FROM fits WHERE key = ?", (key,)).fetchone()
                same = db.execute(
                    "UPDATE seen SET last = ? WHERE slot = ? AND fit = ? AND last >= ?", (number, slot, fit, number - 1)
                )
                if same.rowcount == 0:
                    db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)", (slot, number, number, fit))

    def _write_draws(self, fits: Sequence[Fitted]) -> str:
        kept = {f.key: f.draws for f in fits if f.draws is not None}
        if not kept:
            return ""
        name = hashlib.sha256("".join(sorted(kept)).encode()).hexdigest() + ".npz"  # no name from the logs in a path
        partial = self.path / "draws" / f".{name}.partial"
        try:
            with open(partial, "wb") as handle:
                np.savez(handle, **kept)  # type: ignore[arg-type]
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(partial, self.path / "draws" / name)
        finally:
            partial.unlink(missing_ok=True)
        return name

    def draws(self, key: str) -> np.ndarray:
        """(R, P) resampled coefficients of a fit; nan where a resample did not converge."""
        row = self.db.execute("SELECT draws FROM fits WHERE key = ?", (key,)).fetchone()
        if row is None or not row[0]:
            raise RunsError(f"the store holds no draws for {key!r}: refit with resamples.")
        with np.load(self.path / "draws" / row[0], allow_pickle=False) as archive:
            return np.asarray(archive[key])

    def document(self, key: str) -> dict[str, Any]:
        """The JSON document of a fit (schema scaling.fit/1), which `load_fit` reads; empty where there is no fit."""
        row = self.db.execute("SELECT document FROM fits WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise RunsError(f"the store holds no fit {key!r}.")
        document: dict[str, Any] = json.loads(row[0])
        return document


def _opened(file: Path, create: bool) -> sqlite3.Connection:
    db = sqlite3.connect(file, timeout=30)
    try:
        if create and db.execute("SELECT 1 FROM sqlite_master WHERE name = 'about'").fetchone() is None:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(_TABLES)
        db.execute("SELECT count(*) FROM sqlite_master")
        return db
    except sqlite3.OperationalError:
        db.close()
        if create:
            raise
    # no room for the index of the log beside the file: keep it in memory, and read all the same
    db = sqlite3.connect(file, timeout=30)
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    db.execute("SELECT count(*) FROM sqlite_master")
    return db
