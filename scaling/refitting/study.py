"""A study file: what a nightly refit reads, fits and where it stores it, in TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from scaling.errors import RunsError
from scaling.refitting.run import READING_OPTIONS

_KINDS: dict[str, tuple[type, str]] = {
    "store": (str, "a text"), "objective": (str, "a text"), "scheduler": (str, "a text"),
    "resamples": (int, "a whole number"), "seed": (int, "a whole number"), "workers": (int, "a whole number"),
    "reading": (dict, "a table, [reading]"),
}  # fmt: skip


@dataclass(frozen=True)
class Study:
    """Arguments of refit; paths are relative to the study file. reading: the table [reading], options of read_runs."""

    sources: tuple[str, ...]
    laws: tuple[str, ...]
    store: str
    by: tuple[str, ...] = ()
    objective: str = "robust"
    resamples: int = 0
    seed: int = 0
    workers: int | None = None
    scheduler: str | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)


def read_study(path: str | Path) -> Study:
    """Read a study file. Raises RunsError naming the file and the entry that is wrong."""
    path = Path(path)
    try:
        entries: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RunsError(f"cannot read the study {str(path)!r}: {error}.") from error
    _check_names(path, "entry", entries, [f.name for f in fields(Study)])
    for name in ("sources", "laws", "by"):
        value = entries.get(name, [])
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value) or (name != "by" and not value):
            raise RunsError(f"{path.name!r}: {name} must be a text or a list of texts.")
        entries[name] = tuple(value)
    for name, (kind, words) in _KINDS.items():
        if name in entries and type(entries[name]) is not kind:
            raise RunsError(f"{path.name!r}: {name} must be {words}.")
    for name, least in (("resamples", 0), ("seed", 0), ("workers", 1)):
        if entries.get(name, least) < least:
            raise RunsError(f"{path.name!r}: {name} must be at least {least}, not {entries[name]}.")
    if "store" not in entries:
        raise RunsError(f'{path.name!r} does not say where the fits go: add store = "a directory".')
    reading = dict(entries.get("reading", {}))
    _check_names(path, "entry of [reading]", reading, list(READING_OPTIONS))
    for name, kinds, words in (
        ("columns", dict, "a table, [reading.columns]"), ("where", (str, list), "a text or a list of texts"),
        ("meta", str, "a text"), ("loss_unit", str, "a text"), ("format", str, "a text"),
        ("bytes_per_token", (int, float), "a number"), ("unfinished", bool, "true or false"),
    ):  # fmt: skip
        if name in reading and not isinstance(reading[name], kinds):
            raise RunsError(f"{path.name!r}: {name} of [reading] must be {words}.")
    if "meta" in reading:
        reading["meta"] = _beside(path, reading["meta"])
    entries |= {
        "store": _beside(path, entries["store"]),
        "sources": tuple(_beside(path, s) for s in entries["sources"]),
        "reading": reading,
    }
    return Study(**entries)


def _beside(study: Path, name: str) -> str:
    return name if "://" in name else str(study.parent / name)


def _check_names(path: Path, what: str, entries: Mapping[str, Any], known: list[str]) -> None:
    if unknown := sorted(set(entries) - set(known)):
        raise RunsError(f"{path.name!r} has the unknown {what} {unknown[0]!r}; known: {', '.join(known)}.")
