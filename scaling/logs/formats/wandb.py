"""W&B: a panel's export (a column per run), the runs table (a row per run) and the history of one run (a row per log call).

Source: docs.wandb.ai, "Export data"; github.com/wandb/wandb, apis/public/runs.py.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from scaling.logs import curves
from scaling.logs.delimited import delimited, header_of
from scaling.logs.formats.format import Format, carried, noted, one_run
from scaling.logs.raw_table import RawTable, named

_RUNS_TABLE = {
    "State",
    "Created",
    "Runtime",
    "Tags",
    "Notes",
    "Updated",
    "Sweep",
    "User",
    "_wandb",
    "Group",
    "Job Type",
}
_COUNTERS = re.compile(r"(tokens|flops|gflops|examples|samples)(_seen|_total)?$|global_step$", re.IGNORECASE)
_NOT_ENDED = ("failed", "crashed", "killed", "running", "preempted")
_PER_CALL = {"_runtime", "_timestamp"}


def detect_panel(head: bytes, name: str) -> bool:
    header = header_of(head)
    return len(header) > 1 and " - " not in header[0] and all(" - " in h for h in header[1:] if h)


def read_panel(content: bytes, name: str) -> RawTable:
    """One row per run and step: columns run, the x axis under its own name, and each metric of the panel."""
    table = delimited(content, name)
    return curves.unfold_wide(table) or table


def detect_runs(head: bytes, name: str) -> bool:
    """Whether it is the export of a table of runs: Name first, no step, dotted or well-known columns."""
    header = header_of(head)
    dotted = any(re.fullmatch(r"[\w]+([./][\w-]+)+", h) for h in header)
    first = header[0] if header else ""
    return first == "Name" and "step" not in header and (dotted or bool(_RUNS_TABLE & set(header)))


def read_runs_table(content: bytes, name: str) -> RawTable:
    """The file's columns, the run under its name. No step: each row is the end of its run, or its crash."""
    table = delimited(content, name)
    state = table.columns.get("State")
    if state is None:
        return table
    ended = [str(s).lower() for s in state.tolist()]
    odd = sum(s in _NOT_ENDED for s in ended)
    if not odd:
        return table
    said = f"{odd} of {len(ended)} runs in {named(name)} did not end as 'finished'; their last values are used: leave them out with --where State=finished"
    return noted(table, "state_not_finished", said)


def detect_history(head: bytes, name: str) -> bool:
    header = set(header_of(head))
    return "_step" in header and (bool(_PER_CALL & header) or any("/" in h for h in header)) and "run" not in header


def read_history(content: bytes, name: str) -> RawTable:
    """The file's columns. Training and held-out values stand in rows of their own, so counters (tokens, FLOPs, optimiser
    steps) are carried on into the rows that lack them. _step counts log calls; it orders the rows where no optimiser step
    was logged."""
    table = delimited(content, name)
    whole = [c for c in table.columns if table.columns[c].dtype.kind in "fiu"]
    table = carried(table, [c for c in whole if _COUNTERS.search(c) and not np.isnan(table.columns[c]).all()])
    steps = [c for c in table.columns if re.search(r"(^|/)(global_step|optimizer_step|train_step)$", c)]
    columns = dict(table.columns)
    if len(steps) == 1 and "step" not in columns:
        columns["step"] = columns.pop(steps[0])
        table = noted(
            replace(table, columns=columns),
            "log_calls",
            f"_step of {named(name)} counts log calls; step is {steps[0]!r}",
        )
    elif not steps and "step" not in columns:
        said = f"step of {named(name)} is _step, which counts log calls unless the trainer set it"
        table = noted(table, "log_calls", said)
    return one_run(table)


WANDB_PANEL = Format("wandb-panel", "the CSV of a W&B panel", detect_panel, read_panel)
WANDB_RUNS = Format("wandb-runs", "the CSV of a W&B runs table", detect_runs, read_runs_table)
WANDB_HISTORY = Format("wandb-history", "the history of a W&B run", detect_history, read_history)
