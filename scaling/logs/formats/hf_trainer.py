"""Hugging Face Trainer: trainer_state.json, and the dicts it prints on the console.

Source: github.com/huggingface/transformers, trainer_callback.py (TrainerState).
"""

from __future__ import annotations

import json
import re

import numpy as np

from scaling.errors import RunsError
from scaling.logs.formats.format import Cell, Format, Rows, noted, number, one_run
from scaling.logs.raw_table import RawTable, named
from scaling.logs.text import text_of
from scaling.quantities import quote

# 'loss' is the mean over the steps since the previous log, not a held-out loss.
_NAMES = {"loss": "train_loss", "learning_rate": "lr", "num_input_tokens_seen": "n_tokens"}
_SUMMARY = "train_runtime"  # the last entry holds means over the whole run: its train_loss is no final loss
_DICT = re.compile(r"\{'[^{}\n]*\}")
_PAIR = re.compile(r"'([^']+)':\s*'?([^,}']+)'?")
_DETECT_DICT = re.compile(rb"\{'(?:loss|eval_loss|train_runtime)': [^{}\n]*'epoch': ")


def detect_state(head: bytes, name: str) -> bool:
    return head[:64].lstrip()[:1] == b"{" and b'"log_history"' in head and b'"global_step"' in head


def read_state(content: bytes, name: str) -> RawTable:
    """Columns step, train_loss (mean since the previous entry), lr, eval_loss or eval_<set>_loss and the other values of
    log_history, planned_steps (max_steps), flops in the rows of the last step (the Trainer's own estimate, total_flos), and
    n_tokens where it counted tokens. Entries of one step are one row."""
    text, notes = text_of(content, name)
    try:
        state = json.loads(text)  # Python's reader takes the bare NaN that the Trainer writes
        history = state["log_history"]
        entries = [dict(e) for e in history]
    except (ValueError, RecursionError, KeyError, TypeError):
        raise RunsError(
            f"{named(name)} is no whole trainer_state.json (cut off while it was written?); copy it again."
        ) from None
    rows = Rows(name, notes=notes)
    for position, entry in enumerate(entries, 1):
        step = entry.pop("step", None)
        if not isinstance(step, int | float) or isinstance(step, bool):
            raise RunsError(
                f"{named(name)}, entry {position} of log_history: step is {quote(step)}, not a number; mend that entry."
            )
        if _SUMMARY in entry:
            continue
        cells = {str(_NAMES.get(k, k)): v for k, v in entry.items() if isinstance(v, int | float | str)}
        if not cells.get("n_tokens"):
            cells.pop("n_tokens", None)  # 0: they were not counted
        rows.add(float(step), {k: float(v) if isinstance(v, int) else v for k, v in cells.items()}, position)
    if isinstance(state.get("max_steps"), int) and state["max_steps"] > 0:
        rows.constants["planned_steps"] = state["max_steps"]
    table = one_run(rows.table("entries in log_history"))
    total = state.get("total_flos")
    if isinstance(total, int | float) and total > 0:
        last = table.columns["step"] == state.get("global_step")
        table.columns["flops"] = np.where(last, float(total), np.nan)
        return noted(table, "trainer_flops", f"flops of {named(name)} is the Trainer's own estimate (total_flos)")
    return table


def detect_console(head: bytes, name: str) -> bool:
    return b"{'" in head and b"'epoch': " in head and _DETECT_DICT.search(head) is not None


def read_console(content: bytes, name: str) -> RawTable:
    """Columns epoch, train_loss, lr, eval_loss, ...: one row per printed dict, in their order, since steps are not printed.
    The same dict in succession (once per rank) is one row."""
    text, notes = text_of(content, name)
    rows, last, repeated, count = Rows(name, notes=notes), "", 0, 0
    for line_number, line in enumerate(text.split("\n"), 1):
        for found in _DICT.findall(line):
            pairs = dict(_PAIR.findall(found))
            if "epoch" not in pairs or _SUMMARY in pairs:
                continue
            if found == last:
                repeated += 1
                continue
            last, count = found, count + 1
            cells: dict[str, Cell] = {str(_NAMES.get(k, k)): number(v) for k, v in pairs.items()}
            rows.add(count, cells, line_number)
    table = rows.table("dicts such as {'loss': 3.1, 'epoch': 0.5}")
    del table.columns["step"]  # it only kept the order
    if repeated:
        what = "dicts that repeat" if repeated > 1 else "dict that repeats"
        table = noted(
            table, "several_ranks", f"{repeated} {what} the one before in {named(name)} left out (several ranks)"
        )
    return one_run(table)


HF_TRAINER = Format("hf-trainer", "a trainer_state.json of the Hugging Face Trainer", detect_state, read_state)
HF_CONSOLE = Format("hf-console", "the console output of the Hugging Face Trainer", detect_console, read_console)
