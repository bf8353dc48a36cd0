"""The store of a batch: a directory with SQLite (WAL) for fits and history and one file of draws per committed chunk.

Schema 1. `fits`: one row per fit ever made (key, law, slot, status, message, document = the JSON of the fit, draws =
file under draws/, made = UTC time). `passes`: one row per refit. `seen`: which fit each slot had in each pass. A slot
is a law and a group; a key is the sha256 of the group's content, the law, the options and the package version.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from scaling.errors import RunsError

SCHEMA = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS fits (key TEXT PRIMARY KEY, law TEXT NOT NULL, slot TEXT NOT NULL, status TEXT NOT NULL,
    message TEXT NOT NULL, document TEXT NOT NULL, draws TEXT NOT NULL, made TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS passes (id INTEGER PRIMARY KEY AUTOINCREMENT, started TEXT NOT NULL, finished TEXT);
CREATE TABLE IF NOT EXISTS seen (pass INTEGER NOT NULL, slot TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (pass, slot));
"""


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class Store:
    """A store opened for reading and, inside `writing()`, for one writer at a time."""

    def __init__(self, path: str | Path, create: bool = False) -> None:
        self.path = Path(path)
        if not create and not (self.path / "fits.sqlite").exists():
            raise RunsError(
                f"{str(self.path)!r} is no store of fits: make one with a refit, or name another directory."
            )
        try:
            (self.path / "draws").mkdir(parents=True, exist_ok=True)
            self.db = sqlite3.connect(self.path / "fits.sqlite", timeout=30)
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.executescript(_TABLES)
            with self.db:
                self.db.execute("INSERT OR IGNORE INTO about VALUES ('schema', ?)", (str(SCHEMA),))
        except (OSError, sqlite3.Error) as error:
            raise RunsError(
                f"cannot open the store {str(self.path)!r}: {error}. Free space or choose another."
            ) from error
        found = self.db.execute("SELECT value FROM about WHERE name = 'schema'").fetchone()[0]
        if found != str(SCHEMA):
            self.db.close()
            raise RunsError(
                f"the store {str(self.path)!r} has schema {found}, this version reads {SCHEMA}: use a new directory."
            )

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.db.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the store for one refit; the system releases the lock when the process dies, however it dies."""
        import fcntl

        with open(self.path / "lock", "w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunsError(
                    f"another refit is writing to {str(self.path)!r}: wait until it ends, or choose another store."
                ) from error
            yield

    def begin(self) -> int:
        with self.db:
            return int(self.db.execute("INSERT INTO passes (started) VALUES (?)", (now(),)).lastrowid or 0)

    def finish(self, number: int) -> None:
        with self.db:
            self.db.execute("UPDATE passes SET finished = ? WHERE id = ?", (now(), number))

    def known(self, keys: Iterable[str]) -> set[str]:
        have = {k for (k,) in self.db.execute("SELECT key FROM fits")}
        return have & set(keys)

    def mark(self, number: int, slots: Mapping[str, str]) -> None:
        with self.db:
            self.db.executemany(
                "INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", [(number, s, k) for s, k in slots.items()]
            )

    def commit(self, number: int, fits: list[dict[str, Any]]) -> None:
        """Write one chunk: its draws first, under a name that only the commit makes known, then all rows at once."""
        try:
            name = self._write_draws(fits)
            with self.db:
                self.db.executemany(
                    "INSERT OR REPLACE INTO fits VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    [
                        (f["key"], f["law"], f["slot"], f["status"], f["message"], json.dumps(f["document"]),
                         name if f["draws"] is not None else "", now())
                        for f in fits
                    ],
                )  # fmt: skip
                self.db.executemany(
                    "INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", [(number, f["slot"], f["key"]) for f in fits]
                )
        except (OSError, sqlite3.OperationalError) as error:
            raise RunsError(
                f"cannot write to the store {str(self.path)!r}: {error}. What was committed before is safe; free space and run again."
            ) from error

    def _write_draws(self, fits: list[dict[str, Any]]) -> str:
        kept = {f["key"]: f["draws"] for f in fits if f["draws"] is not None}
        if not kept:
            return ""
        name = hashlib.sha256("".join(sorted(kept)).encode()).hexdigest() + ".npz"  # no name from the logs in a path
        partial = self.path / "draws" / f".{name}"
        try:
            with open(partial, "wb") as handle:
                np.savez(handle, **kept)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(partial, self.path / "draws" / name)
        finally:
            partial.unlink(missing_ok=True)
        return name

    def draws(self, key: str) -> np.ndarray:
        """(R, P) resampled coefficients of a fit."""
        row = self.db.execute("SELECT draws FROM fits WHERE key = ?", (key,)).fetchone()
        if row is None or not row[0]:
            raise RunsError(f"the store holds no draws for {key!r}: refit with resamples.")
        with np.load(self.path / "draws" / row[0], allow_pickle=False) as archive:
            return np.asarray(archive[key])

    def passes(self) -> list[int]:
        """Numbers of the finished refits, oldest first."""
        return [i for (i,) in self.db.execute("SELECT id FROM passes WHERE finished IS NOT NULL ORDER BY id")]

    def fits_of(self, number: int) -> dict[str, dict[str, Any]]:
        """Fits of one refit: slot -> key, law, status, message, document."""
        query = "SELECT s.slot, f.key, f.law, f.status, f.message, f.document FROM seen s JOIN fits f USING (key) WHERE s.pass = ?"
        return {
            slot: {"key": key, "law": law, "status": status, "message": message, "document": json.loads(document)}
            for slot, key, law, status, message, document in self.db.execute(query, (number,))
        }
