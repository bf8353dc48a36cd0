"""Megatron-LM's and Megatron-DeepSpeed's standard output: ' iteration 20/ 1000 | consumed samples: 80 | ... | lm loss: 1.2E+01 |'.

Source: github.com/NVIDIA/Megatron-LM, megatron/training/training.py.
"""

from __future__ import annotations

import re

from scaling.logs.formats.format import Cell, Format, Rows, carried, noted, number, one_run
from scaling.logs.raw_table import RawTable, named
from scaling.logs.text import text_of

_ITERATION = re.compile(r"\biteration\s+(\d+)/\s*(\d+) \|(.*)")
_VALIDATION = re.compile(r"\bvalidation loss at (?:iteration (\d+)|the end of training)([^|]*)\|(.*)")
_SEQ_LENGTH = re.compile(r"^\s*seq_length \.+ (\d+)\s*$")
_SIZE = re.compile(r"number of parameters on \(tensor, pipeline\) model parallel rank \((\d+), (\d+)\): (\d+)")
_DETECT = re.compile(rb"\biteration\s+\d+/\s*\d+ \| [^\n]*(?:consumed samples|elapsed time per iteration)")
_NAMES = {
    "lm loss": "train_loss",
    "loss": "train_loss",
    "learning rate": "lr",
    "consumed tokens": "n_tokens",
    "consumed samples": "consumed_samples",
    "elapsed time per iteration (ms)": "time_ms",
}


def detect(head: bytes, name: str) -> bool:
    return b"iteration" in head and _DETECT.search(head) is not None


def _pairs(text: str) -> dict[str, Cell]:
    """'lm loss: 1.2E+01 | grad norm: 3 |' -> {'train_loss': 12.0, 'grad_norm': 3.0}; another rank's output ends it."""
    cells: dict[str, Cell] = {}
    for part in text.split("[Rank")[0].split("|"):
        key, colon, value = part.strip().rpartition(":")
        if colon and isinstance(parsed := number(value), float):
            cells[_NAMES.get(key.strip(), re.sub(r"\W+", "_", key.strip()).strip("_"))] = parsed
    return cells


def read(content: bytes, name: str) -> RawTable:
    """Columns step, planned_steps, train_loss (mean since the last line; empty where the iterations were skipped), val_loss,
    test_loss, consumed_samples, lr, and what else the lines hold; n_tokens = consumed samples x seq_length where the
    arguments are printed, n_params the sum over the printed model-parallel ranks."""
    text, notes = text_of(content, name)
    rows, length, skipped = Rows(name, notes=notes), None, 0
    sizes: dict[tuple[str, str], int] = {}
    for line_number, line in enumerate(text.split("\n"), 1):
        if m := _ITERATION.search(line):
            cells = _pairs(m[3])
            skipped += "train_loss" not in cells
            rows.constants["planned_steps"] = int(m[2])
            rows.add(int(m[1]), cells, line_number)
        elif m := _VALIDATION.search(line):
            kind = "test" if "test" in m[2] else "val"
            found = _pairs(m[3])
            value = {f"{kind}_loss": found[k] for k in ("lm_loss_value", "loss_value") if k in found}
            step = int(m[1]) if m[1] else rows.rows[-1].step if rows.rows else 0
            if value:
                rows.add(step, value, line_number)
        elif m := _SEQ_LENGTH.match(line):
            length = int(m[1])
        elif m := _SIZE.search(line):
            sizes[m[1], m[2]] = int(m[3])
    if sizes:
        rows.constants["n_params"] = sum(sizes.values())
    table = rows.table("lines such as ' iteration 20/ 1000 | consumed samples: 80 | lm loss: 1.2E+01 |'")
    samples = table.columns.get("consumed_samples")
    if samples is not None and "n_tokens" not in table.columns:
        if length:
            table.columns["n_tokens"] = samples.astype(float) * length
        else:
            note = f"{named(name)} counts samples; for tokens give the sequence length: --column n_tokens=consumed_samples*2048"
            table = noted(table, "samples_not_tokens", note)
    if skipped:
        note = (
            f"{skipped} line{'s' if skipped > 1 else ''} of {named(name)} without a loss: the iterations were skipped"
        )
        table = noted(table, "skipped_iterations", note)
    return one_run(carried(table, ("consumed_samples", "n_tokens")))


MEGATRON = Format("megatron", "the output of Megatron", detect, read)
