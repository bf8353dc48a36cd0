"""A study file: what a nightly refit reads, fits and where it stores it, in TOML."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from scaling.errors import RunsError


@dataclass(frozen=True)
class Study:
    """Arguments of refit; paths are relative to the study file."""

    sources: tuple[str, ...]
    laws: tuple[str, ...]
    store: str
    by: tuple[str, ...] = ()
    objective: str = "hoffmann"
    resamples: int = 0
    seed: int = 0


def read_study(path: str | Path) -> Study:
    """Read a study file. Raises RunsError naming the file and the entry that is wrong."""
    path = Path(path)
    try:
        entries: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RunsError(f"cannot read the study {str(path)!r}: {error}.") from error
    known = [f.name for f in fields(Study)]
    if unknown := sorted(set(entries) - set(known)):
        raise RunsError(f"{path.name!r} has the unknown entry {unknown[0]!r}; known: {', '.join(known)}.")
    for name in ("sources", "laws", "by"):
        value = entries.get(name, [])
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value) or (name != "by" and not value):
            raise RunsError(f"{path.name!r}: {name} must be a text or a list of texts.")
        entries[name] = tuple(value)
    for name, kind in (("store", str), ("objective", str), ("resamples", int), ("seed", int)):
        if name in entries and type(entries[name]) is not kind:
            raise RunsError(f"{path.name!r}: {name} must be {'a text' if kind is str else 'a whole number'}.")
    if "store" not in entries:
        raise RunsError(f'{path.name!r} does not say where the fits go: add store = "a directory".')
    entries["store"] = str(path.parent / entries["store"])
    entries["sources"] = tuple(str(path.parent / s) for s in entries["sources"])
    return Study(**entries)
