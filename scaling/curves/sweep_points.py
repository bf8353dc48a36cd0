"""A table of runs along one axis, read as points: the error at each value of the axis, and its repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scaling.curves.plain import shown
from scaling.errors import RunsError
from scaling.laws.law import Array

VALUE_COLUMNS = ("test_loss", "test_error", "val_loss", "validation_loss", "loss")
AXIS_COLUMNS = ("width", "n_params", "params", "epoch", "step", "n_samples", "n_tokens")
MOST_POINTS = 40  # longer curves are averaged in bins even in log x: their neighbours are not independent

FEWEST_POINTS = 6


@dataclass(frozen=True)
class Sweep:
    """A table read along one axis.

    x : (n,) distinct values of the axis, rising. logs : n arrays, the repeats of the log value at each. table, rows_at :
    its rows and the axis value of each. axis, value : columns, the value an error where an accuracy was given.
    """

    axis: str
    value: str
    table: pd.DataFrame
    rows_at: Array
    x: Array
    logs: list[Array]


def sweep_of(
    table: pd.DataFrame,
    axis: str | None,
    value: str | None,
    replicate: str | None,
    train: str | None,
    warnings: list[str],
) -> Sweep:
    """Points of a table along one axis; what a reader should know of them is appended to `warnings`.

    Raises RunsError for missing columns, values that are not positive, or fewer than 6 distinct axis values.
    """
    axis = axis or _first(table, AXIS_COLUMNS, "axis")
    value = value or _first(table, VALUE_COLUMNS, "value")
    if value in table and _is_accuracy(value):
        table, value = _as_error(table, value, warnings)
    if replicate is None and "seed" in table:
        replicate = "seed"
    for column in (axis, value, *((train,) if train else ()), *((replicate,) if replicate else ())):
        if column not in table:
            raise RunsError(f"no column {column!r}; columns: {', '.join(map(str, table.columns))}.")
    if pooled := _pooled(table, axis, (value, train, replicate)):
        warnings.append(
            f"rows with the same {axis} differ in {', '.join(pooled)}, and were averaged as repeats: keep one condition "
            f"(--where {pooled[0].partition(' ')[0]}=...) or analyse each (--by {pooled[0].partition(' ')[0]})."
        )
    rows_at, log_value = _positive(table, axis), np.log(_positive(table, value))
    x, logs = _collect(rows_at, log_value, table[replicate].to_numpy() if replicate else None, warnings)
    if len(x) < FEWEST_POINTS:
        raise RunsError(f"{len(x)} distinct values of {axis!r}; at least {FEWEST_POINTS} are needed to see a peak.")
    return Sweep(axis, value, table, rows_at, x, logs)


def _first(table: pd.DataFrame, names: Sequence[str], option: str) -> str:
    for name in names:
        if name in table:
            return name
    raise RunsError(
        f"none of the columns {', '.join(names)} is in the table ({', '.join(map(str, table.columns))}). "
        f"Name yours with {option}=."
    )


def _is_accuracy(column: str) -> bool:
    return any(word in str(column).lower() for word in ("acc", "score"))


def _as_error(table: pd.DataFrame, value: str, warnings: list[str]) -> tuple[pd.DataFrame, str]:
    """A peak of an accuracy would be its best place: turn it into the error, whose peak is the worst."""
    error = f"error (1 - {value})"
    rate = pd.to_numeric(table[value], errors="coerce")
    if not rate.between(0, 1).all() or (rate == 1).any():
        raise RunsError(
            f"column {value!r} is an accuracy, and double descent is one of an error: 1 - {value} must be positive in "
            "every row. Give rates between 0 and 1, drop rows without any error, or use a loss."
        )
    warnings.append(f"{value} rises as a model improves: its error 1 - {value} is analysed.")
    return table.assign(**{error: 1 - rate}), error


def _pooled(table: pd.DataFrame, axis: str, known: Sequence[str | None]) -> list[str]:
    """Columns that take several values at one axis value, each of them at half of the axis values or more.

    So does a setting that was crossed with the axis; an outcome takes too many values, and what goes with the axis
    takes one at each place.
    """
    out = []
    n_places = table[axis].nunique()
    for column in table.columns:
        if column in (axis, *known) or str(column).lower() in ("seed", "run", "run_id", "replicate", "fold"):
            continue
        places = table.groupby(column, dropna=False)[axis].nunique()
        if len(places) > 1 and (places >= max(2, n_places / 2)).all():
            out.append(f"{column} ({len(places)} values)")
    return out


def _positive(table: pd.DataFrame, column: str) -> Array:
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(float)
    bad = ~(np.isfinite(values) & (values > 0))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise RunsError(
            f"column {column!r}, row {table.index[first]}: {shown(table[column].iloc[first])} is not a positive number "
            f"({int(bad.sum())} such rows). Drop these rows, or name the column you meant."
        )
    return values


def _collect(x: Array, y: Array, replicate: Array | None, warnings: list[str]) -> tuple[Array, list[Array]]:
    """Distinct axis values (n,) and the repeats at each; a long curve is averaged in bins, per repeat."""
    distinct = np.unique(x)
    if len(distinct) <= MOST_POINTS + 1:
        return distinct, [y[x == v] for v in distinct]
    edges = np.geomspace(distinct[0], distinct[-1] * (1 + 1e-9), MOST_POINTS + 1)
    bins = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, MOST_POINTS - 1)
    table = pd.DataFrame({"bin": bins, "x": np.log(x), "y": y, "run": 0 if replicate is None else replicate})
    each = table.groupby(["bin", "run"], sort=True)[["x", "y"]].mean().reset_index()
    warnings.append(f"{len(distinct)} axis values were averaged in {each['bin'].nunique()} bins even in its logarithm.")
    groups = [part for _, part in each.groupby("bin", sort=True)]
    return np.exp([part["x"].mean() for part in groups]), [part["y"].to_numpy(float) for part in groups]
