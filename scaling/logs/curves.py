"""The rows of a run: which is its last, which runs diverged, and wide chart exports turned into rows."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd

from scaling.logs.delimited import LOSS_LIKE
from scaling.logs.raw_table import RawTable

_PARTS = re.compile(r"(?P<run>.+) - (?P<metric>[^ ].*?)(?P<bound>__MIN|__MAX)?", re.DOTALL)
_THINNED = (500, 1000, 10_000)  # what trackers and their exports reduce a long curve to


def run_keys(frame: pd.DataFrame) -> np.ndarray:
    """(rows,) an integer for each training.

    One name can stand for several trainings (a sweep that numbers its runs from 0 in each file, seeds under one
    name); model size and seed then tell them apart.
    """
    numbers: dict[str, int] = {}
    keys = np.array([numbers.setdefault(name, len(numbers)) for name in frame["run"].tolist()], dtype=int)
    if len(numbers) == len(keys):
        return keys
    for column in ("n_params", "seed"):
        if column in frame:
            values = np.unique(frame[column].to_numpy(), return_inverse=True)[1]
            keys = np.unique(keys * (values.max() + 1) + values, return_inverse=True)[1]
    return keys


def ordered_by(frame: pd.DataFrame) -> str:
    """The column that orders the rows of a run: 'step', else 'n_tokens', else 'flops', else '' (the order of the file)."""
    for column in ("step", "n_tokens", "flops"):
        if column in frame and any_known(frame[column]):
            return column
    return ""


def any_known(column: pd.Series) -> bool:
    """Whether any cell holds a value; numbers without the detour through pandas, of which thousands of small files have many."""
    values = column.array if column.dtype == object else column.to_numpy()
    return not np.isnan(values).all() if values.dtype.kind == "f" else bool(pd.notna(column).any())


def last_rows(keys: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Positions of the last row of each run, in file order. A step that occurs twice (a resumed run): the later row counts.

    keys : (rows,) run of each row. order : (rows,) step or the like; nan sorts first.
    """
    if not len(keys):
        return np.empty(0, dtype=int)
    if np.bincount(keys).max() == 1:  # each row is a run of its own
        return np.arange(len(keys))
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
    pairs = np.stack([keys[known], order[known]], axis=1)
    return len(pairs) - len(np.unique(pairs, axis=0)) if len(np.unique(keys)) < len(keys) else 0


def thinned(keys: np.ndarray) -> int:
    """How many runs have exactly as many rows as trackers reduce a curve to when they export it."""
    return int(np.isin(np.bincount(keys), _THINNED).sum()) if len(keys) else 0


def phases(keys: np.ndarray, order: np.ndarray, lr: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each row stands in its run's learning-rate schedule.

    keys, order : as in last_rows. lr : (rows,) learning rate at the row; nan where not logged.
    Returns (rows,) bool rising: before the peak was reached; (rows,) bool falling: after the peak and before the last row,
    of a run that ends below nine tenths of its peak; and (rows,) the peak of the row's run, nan where none was logged.
    """
    known = ~np.isnan(lr)
    n = int(keys.max()) + 1 if len(keys) else 0
    peak, first, last, end = np.full(n, -np.inf), np.full(n, np.inf), np.full(n, -np.inf), np.full(n, np.nan)
    np.maximum.at(peak, keys[known], lr[known])
    at_peak = known & (lr >= 0.999 * peak[keys])
    np.minimum.at(first, keys[at_peak], order[at_peak])
    np.maximum.at(last, keys, np.where(np.isnan(order), -np.inf, order))
    rows = np.flatnonzero(known)
    tail = rows[last_rows(keys[rows], order[rows])]
    end[keys[tail]] = lr[tail]
    with np.errstate(invalid="ignore"):
        decays = end < 0.9 * peak
        rising = known & (lr < 0.999 * peak[keys]) & (order < first[keys])
        falling = decays[keys] & (order >= first[keys]) & (order < last[keys])
    return rising, falling, np.where(np.isfinite(peak), peak, np.nan)[keys]


def unfold_wide(table: RawTable) -> RawTable | None:
    """A chart export with a column per run ('Step', 'run a - loss', 'run b - loss', ...) as rows of run, step and loss.

    None when the table is of another shape. A chart of several metrics gives a column for each; one over another axis than
    the step has _step columns besides. The name is split at its last ' - ', since run names hold dashes themselves;
    columns ending in __MIN and __MAX repeat the value and are left out, and the cells that pad shorter runs vanish.
    """
    headers = list(table.columns)
    parts = {h: m for h in headers[1:] if (m := _PARTS.fullmatch(h)) is not None}
    by_run: dict[str, dict[str, str]] = {}
    for header, m in parts.items():
        if m["bound"] is None:
            by_run.setdefault(re.sub(r"^Group: ", "", m["run"]), {})[m["metric"]] = header
    metrics = list(dict.fromkeys(metric for found in by_run.values() for metric in found if metric != "_step"))
    several = len(metrics) > 1 and not any(LOSS_LIKE.search(m) for m in metrics)  # two of anything are no export
    if len(parts) < len(headers) - 1 or not metrics or several or _PARTS.fullmatch(headers[0]):
        return None
    if any("_step" in found for found in by_run.values()):
        metrics.append("_step")
    pieces: dict[str, list[np.ndarray]] = {c: [] for c in ("run", headers[0], *metrics)}
    rows = []
    for run, found in by_run.items():
        kept = np.zeros(len(table.rows), dtype=bool)
        for metric, header in found.items():
            if metric != "_step":
                kept |= ~pd.isna(table.columns[header])
        if not kept.any():
            continue
        rows.append(table.rows[kept])
        pieces["run"].append(np.full(int(kept.sum()), run, dtype=object))
        pieces[headers[0]].append(table.columns[headers[0]][kept])
        for metric in metrics:
            values = table.columns[found[metric]][kept].astype(object) if metric in found else None
            pieces[metric].append(np.full(int(kept.sum()), None, dtype=object) if values is None else values)
    if not rows:
        return None
    note = (
        "wide_export",
        f"a chart export with one column for each of {len(by_run)} runs; read as one row per run and {headers[0]}",
    )
    columns = {name: np.concatenate(values) for name, values in pieces.items()}
    return replace(table, columns=columns, rows=np.concatenate(rows), notes=(*table.notes, note))
