"""MLflow: the CSV of search_runs(), the download of its web page, one metric file, and a run folder of its file store.

Source: mlflow.org/docs, mlflow/store/tracking/file_store.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from scaling.errors import RunsError
from scaling.logs.delimited import delimited, header_of
from scaling.logs.formats.format import Cell, Format, noted, number, one_run
from scaling.logs.raw_table import RawTable, column_of, named
from scaling.logs.text import text_of

_LINE = re.compile(r"(\d{12,14}) (\S+)(?: (-?\d+))?")
_DETECT = re.compile(rb"\d{12,14} \S+ -?\d+\r?(?:\n|$)")
_SMALL = 1_000_000  # a parameter or tag of more bytes than this is no number


def detect_search(head: bytes, name: str) -> bool:
    return {"run_id", "experiment_id", "status", "artifact_uri"} <= set(header_of(head))


def read_search(content: bytes, name: str) -> RawTable:
    """The file's columns, 'metrics.' and 'params.' taken off where that leaves names distinct; runs under the names they were
    given where those tell them apart, else under run_id. Each metric is its last value."""
    table = delimited(content, name, ("run_id",))
    plain = {c: re.sub(r"^(metrics|params)\.", "", c) for c in table.columns}
    taken = list(plain.values())
    columns = {plain[c] if taken.count(plain[c]) == 1 else c: v for c, v in table.columns.items()}
    return _named(replace(table, columns=columns), "tags.mlflow.runName", "run_id")


def detect_page(head: bytes, name: str) -> bool:
    return {"Start Time", "Duration", "Run ID", "Source Type", "Status"} <= set(header_of(head))


def read_page(content: bytes, name: str) -> RawTable:
    """The file's columns (parameters, metrics and tags, without prefix); runs under their names where those differ."""
    return _named(delimited(content, name, ("Run ID",)), "Name", "Run ID")


def _named(table: RawTable, column: str, unique: str) -> RawTable:
    names = table.columns.get(column)
    if names is None or pd.isna(names).any() or len(set(names.tolist())) < len(names):
        return replace(table, columns={"run": table.columns[unique]} | table.columns)
    return replace(table, columns={"run": names} | table.columns)


def detect_metric(head: bytes, name: str) -> bool:
    return _DETECT.match(head) is not None


def read_metric(content: bytes, name: str) -> RawTable:
    """One metric file, '<unix ms> <value> <step>' in each line: columns step, wall_time [s] and the value as loss, or as
    train_loss when the file's name says train. Of the values of one step (a resumed run) the last counts."""
    steps, values, times, rows, repeated = _metric(content, name)
    path = re.split(r"[/\\]", name)
    metric = "/".join(path[path.index("metrics") + 1 :]) if "metrics" in path[:-1] else path[-1]
    value = "train_loss" if re.search(r"(^|[^a-z])train", metric, re.IGNORECASE) else "loss"
    columns = {"step": np.array(steps), "wall_time": np.array(times), value: column_of(values)}
    run = path[path.index("metrics") - 1] if "metrics" in path[1:-1] else ""
    table = one_run(RawTable(name, columns, np.array(rows)), run)
    return _counted(noted(table, "scalar_export", f"{named(name)} was taken as {value}"), repeated)


def _metric(content: bytes, name: str) -> tuple[list[float], list[Cell], list[float], list[int], int]:
    """(steps, values, times [s], lines) with one entry per step, and how many others repeated a step."""
    text, _ = text_of(content, name)
    last: dict[float, tuple[Cell, float, int]] = {}
    count = 0
    for line_number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        m = _LINE.fullmatch(line.strip())
        if m is None:
            raise RunsError(
                f"{named(name)}, row {line_number}: no line of an MLflow metric, which holds time, value and step; mend or remove it."
            )
        count += 1
        step = float(m[3] or 0)
        last.pop(step, None)
        last[step] = (number(m[2]), float(m[1]) / 1000, line_number)
    order = sorted(last)
    cells = [last[s] for s in order]
    return order, [c[0] for c in cells], [c[1] for c in cells], [c[2] for c in cells], count - len(last)


def _counted(table: RawTable, repeated: int) -> RawTable:
    if not repeated:
        return table
    rows = f"{repeated} value{'s' if repeated > 1 else ''}"
    return noted(
        table, "resumed", f"{rows} of {named(table.name)} superseded by a later one of the same step (resumed)"
    )


def run_folders(folder: str) -> Iterator[str]:
    """The run folders of a file store below `folder`, in order: those that hold metrics/ and meta.yaml."""
    for path, folders, files in os.walk(folder):
        folders.sort()
        if "metrics" in folders and "meta.yaml" in files:
            folders.clear()
            yield path
        elif ".trash" in folders:
            folders.remove(".trash")  # runs that were deleted


def read_run_folder(folder: str, max_bytes: int) -> RawTable | None:
    """The table of one run folder: metrics joined on their steps, parameters in every row, the run under its name.

    None for a run that logged no metric.
    """
    base = Path(folder)
    by_step: dict[float, dict[str, Cell]] = {}
    repeated = 0
    for path in sorted(p for p in (base / "metrics").rglob("*") if p.is_file()):
        steps, values, times, _, again = _metric(_bytes(path, max_bytes), str(path))
        repeated += again
        metric = path.relative_to(base / "metrics").as_posix()
        for step, value, time in zip(steps, values, times, strict=True):
            by_step.setdefault(step, {})[metric] = value
            by_step[step].setdefault("wall_time", time)
    if not by_step:
        return None
    order = sorted(by_step)
    names = list(dict.fromkeys(k for s in order for k in by_step[s]))
    columns = {"step": np.array(order)} | {k: column_of([by_step[s].get(k) for s in order]) for k in names}
    for path in sorted(p for p in (base / "params").rglob("*") if p.is_file()):
        key = path.relative_to(base / "params").as_posix()
        value = number(_bytes(path, _SMALL).decode("utf-8", "replace").strip())
        columns[key if key not in columns else f"params.{key}"] = column_of([value] * len(order))
    label = base / "tags" / "mlflow.runName"
    run = _bytes(label, _SMALL).decode("utf-8", "replace").strip() if label.is_file() else ""
    table = RawTable(folder, columns, np.arange(1, len(order) + 1))
    return _counted(one_run(table, run or base.name), repeated)


def _bytes(path: Path, max_bytes: int) -> bytes:
    try:
        with open(path, "rb") as stream:
            content = stream.read(max_bytes + 1)
    except OSError as error:
        raise RunsError(f"{named(str(path))} cannot be read: {error.strerror or error}.") from None
    if len(content) > max_bytes:
        raise RunsError(f"{named(str(path))} holds more than {max_bytes:.3g} bytes; it is no MLflow value.")
    return content


MLFLOW_SEARCH = Format("mlflow", "a CSV of mlflow.search_runs()", detect_search, read_search)
MLFLOW_PAGE = Format("mlflow-download", "a download of MLflow's web page", detect_page, read_page)
MLFLOW_METRIC = Format("mlflow-metric", "a metric file of MLflow's store", detect_metric, read_metric)
