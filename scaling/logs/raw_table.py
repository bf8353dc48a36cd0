"""One file as it stands, before anyone asks what its columns mean."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from scaling.quantities import quote

_ENDINGS = re.compile(r"(\.(csv|tsv|txt|log|out|jsonl|ndjson|json|parquet|pq|gz|zst|zstd))+$", re.IGNORECASE)
# Names that trainers give the log of every run: the folder tells the runs apart.
_SAME_FOR_ALL = ("metrics", "trainer_state", "main")


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


def arrays_of(frame: pd.DataFrame, names: Sequence[str]) -> dict[str, np.ndarray]:
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


def apart(names: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
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
