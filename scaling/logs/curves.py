"""The rows of a run: which is its last, which runs diverged, and wide chart exports turned into rows."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd

from scaling.logs.files import RawTable

_PARTS = re.compile(r"(?P<run>.+) - (?P<metric>[^ ].*?)(?P<bound>__MIN|__MAX)?", re.DOTALL)
_THINNED = (500, 1000, 10_000)  # what trackers and their exports reduce a long curve to


def run_keys(frame: pd.DataFrame) -> np.ndarray:
    """(rows,) an integer for each training.

    One name can stand for several trainings (a sweep that numbers its runs from 0 in each file, seeds under one
    name); model size and seed then tell them apart.
    """
    keys = pd.factorize(frame["run"].astype(object))[0]
    for column in ("n_params", "seed"):
        if column in frame:
            values = pd.factorize(frame[column], use_na_sentinel=True)[0]
            keys = pd.factorize(pd.MultiIndex.from_arrays([keys, values]))[0] if len(np.unique(values)) > 1 else keys
    return keys


def ordered_by(frame: pd.DataFrame) -> str:
    """The column that orders the rows of a run: 'step', else 'n_tokens', else 'flops', else '' (the order of the file)."""
    for column in ("step", "n_tokens", "flops"):
        if column in frame and frame[column].notna().any():
            return column
    return ""


def last_rows(keys: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Positions of the last row of each run, in file order. A step that occurs twice (a resumed run): the later row counts.

    keys : (rows,) run of each row. order : (rows,) step or the like; nan sorts first.
    """
    if not len(keys):
        return np.empty(0, dtype=int)
    by_run = np.lexsort((np.arange(len(keys)), np.where(np.isnan(order), -np.inf, order), keys))
    last = np.append(np.diff(keys[by_run]) != 0, True)
    return np.sort(by_run[last])


def row_order(frame: pd.DataFrame) -> np.ndarray:
    """(rows,) what orders the rows of a run, as numbers."""
    column = ordered_by(frame)
    return frame[column].to_numpy(dtype=float) if column else np.arange(len(frame), dtype=float)


def repeated_steps(keys: np.ndarray, order: np.ndarray) -> int:
    """How many rows repeat a step of their run (a resumed run logs some steps twice)."""
    known = ~np.isnan(order)
    pairs = pd.MultiIndex.from_arrays([keys[known], order[known]])
    return int(pairs.duplicated().sum())


def thinned(keys: np.ndarray) -> int:
    """How many runs have exactly as many rows as trackers reduce a curve to when they export it."""
    return int(np.isin(np.bincount(keys), _THINNED).sum()) if len(keys) else 0


def unfold_wide(table: RawTable) -> RawTable | None:
    """A chart export with one column per run ('Step', 'run a - loss', 'run b - loss', ...) as rows of run, step and loss.

    None when the table is of another shape. The name is split at its last ' - ', since run names hold dashes themselves;
    columns ending in __MIN and __MAX repeat the value and are left out, and the cells that pad shorter runs vanish.
    """
    headers = [str(c) for c in table.frame.columns]
    parts = {h: m for h in headers[1:] if (m := _PARTS.fullmatch(h)) is not None}
    values = {h: m for h, m in parts.items() if m["bound"] is None and not m["metric"].lower().startswith("_step")}
    if len(headers) < 2 or len(parts) < len(headers) - 1 or not values or _PARTS.fullmatch(headers[0]):
        return None
    metrics = {m["metric"] for m in values.values()}
    if len(metrics) > 1:
        return None
    pieces, rows = [], []
    for header, match in values.items():
        column = table.frame[header]
        present = column.notna().to_numpy()
        run = re.sub(r"^Group: ", "", match["run"])
        pieces.append(
            pd.DataFrame(
                {
                    "run": np.full(int(present.sum()), run, dtype=object),
                    headers[0]: table.frame[headers[0]].to_numpy()[present],
                    metrics.copy().pop(): column.to_numpy(dtype=object)[present],
                }
            )
        )
        rows.append(table.rows[present])
    frame = pd.concat([p for p in pieces if len(p)] or pieces[:1], ignore_index=True)
    note = ("wide_export", f"a chart export with one column for each of {len(values)} runs; read as one row per run and {headers[0]}")
    return replace(table, frame=frame, rows=np.concatenate(rows), notes=(*table.notes, note))
