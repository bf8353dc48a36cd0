"""PyTorch-Lightning's and Fabric's CSVLogger: metrics.csv with sparse rows, a training row and a validation row apart.

Source: github.com/Lightning-AI/pytorch-lightning, loggers/csv_logs.py; github.com/Lightning-AI/litgpt, pretrain.py.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from scaling.logs.delimited import delimited, header_of
from scaling.logs.formats.format import Format, carried, noted, one_run
from scaling.logs.raw_table import RawTable, named

_LITGPT = {"iter", "iter_time", "step", "loss", "val_loss"}
_OTHERS = {"run", "run_id", "run_name", "name", "_step", "seed", "n_params"}  # tables of several runs


def detect_lightning(head: bytes, name: str) -> bool:
    """Whether the header has epoch and step, no names of runs, and rows leave cells empty, as its CSVLogger does."""
    header = set(header_of(head))
    if not {"epoch", "step"} <= header or "iter" in header or _OTHERS & header or len(header) < 3:
        return False
    lines = head[:20_000].split(b"\n")[1:60]
    return any(b",," in line or line.rstrip().endswith(b",") for line in lines)


def read_lightning(content: bytes, name: str) -> RawTable:
    """The file's columns, without those that are empty throughout. step becomes the number of steps done (Lightning counts
    from zero: 49, 99, ...); <name>_step stands for <name> where that was not logged."""
    table = delimited(content, name)
    columns = {c: v for c, v in table.columns.items() if not pd.isna(v).all()}
    empty = len(table.columns) - len(columns)
    if "train_loss_step" in columns and "train_loss" not in columns:
        columns["train_loss"] = columns.pop("train_loss_step")
    table = replace(table, columns=columns)
    if "step" in columns and _from_zero(columns["step"]):
        columns["step"] = columns["step"].astype(float) + 1
        table = noted(table, "steps_from_zero", f"step of {named(name)} is counted from zero; 1 was added")
    table = _joined(table)
    if empty:
        said = f"{empty} column{'s' if empty > 1 else ''} of {named(name)} without any value left out"
        table = noted(table, "empty_columns", said)
    return one_run(table)


def _joined(table: RawTable) -> RawTable:
    """Rows of one step as one row: a training row and a validation row say different things. Where two say the same
    thing (a resumed run), the later counts, and how often is noted."""
    if "step" not in table.columns or pd.isna(table.columns["step"]).any():
        return table
    frame = pd.DataFrame(table.columns)
    by_step = frame.groupby("step", sort=False)
    if len(by_step) == len(frame):
        return table
    twice = int((by_step.count() > 1).drop(columns=["epoch"], errors="ignore").to_numpy().any(axis=1).sum())
    joined = by_step.last().reset_index()
    rows = pd.Series(table.rows).groupby(frame["step"].to_numpy(), sort=False).last().to_numpy()
    table = replace(table, columns={c: joined[c].to_numpy() for c in frame.columns}, rows=rows)
    if twice:
        said = f"{twice} step{'s' if twice > 1 else ''} of {named(table.name)} logged more than once (resumed?); the later values count"
        table = noted(table, "resumed", said)
    return table


def _from_zero(steps: np.ndarray) -> bool:
    """Whether rows are written at 9, 19, ... or 49, 99, ...: after round numbers of steps, counted from zero."""
    if steps.dtype.kind not in "fiu":
        return False
    known = steps[~np.isnan(steps.astype(float))].astype(float)
    return bool(len(known) and ((known + 1) % 10 == 0).mean() >= 0.8)


def detect_litgpt(head: bytes, name: str) -> bool:
    return set(header_of(head)) >= _LITGPT


def read_litgpt(content: bytes, name: str) -> RawTable:
    """Columns step (optimiser steps), iter (micro-batches), train_loss, val_loss, n_tokens (over all devices: total_tokens),
    tokens_per_device, lr, ...; the tokens are carried on into the validation rows, which lack them."""
    table = delimited(content, name)
    names = {"loss": "train_loss", "total_tokens": "n_tokens", "tokens": "tokens_per_device", "learning_rate": "lr"}
    table = replace(table, columns={names.get(c, c): v for c, v in table.columns.items()})
    return one_run(carried(table, ("n_tokens",)))


LIGHTNING = Format("lightning", "a metrics.csv of PyTorch-Lightning", detect_lightning, read_lightning)
LITGPT = Format("litgpt", "a metrics.csv of LitGPT", detect_litgpt, read_litgpt)
