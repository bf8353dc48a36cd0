"""OLMo's and OLMo-core's console: '[step=20/20000,epoch=1]', then indented lines '    train/CrossEntropyLoss=8.942'.

Numbers above 1,000 are rounded to whole ones there: counters lose nothing, perplexities do.
Source: github.com/allenai/OLMo, olmo/train.py; github.com/allenai/OLMo-core, console_logger.py.
"""

from __future__ import annotations

import re

from scaling.logs.formats.format import Format, Rows, carried, number, one_run
from scaling.logs.raw_table import RawTable
from scaling.logs.text import text_of

_STEP = re.compile(r"\[step=([\d,]+)(?:/([\d,]+))?(?:,[^\]]*)?\]")
_VALUE = re.compile(r"^\s+([A-Za-z][^=]*?)=(\S+)\s*$")
_DETECT = re.compile(rb"\[step=[\d,]+(?:/[\d,]+)?[^\]\n]*\][^\n]*\n\s+[A-Za-z][^=\n]*=")
_NAMES = {
    "train/CrossEntropyLoss": "train_loss",
    "train/CE loss": "train_loss",
    "throughput/total_tokens": "n_tokens",
    "throughput/total tokens": "n_tokens",
    "optim/learning_rate_group0": "lr",
    "optim/LR (group 0)": "lr",
}


def detect(head: bytes, name: str) -> bool:
    return b"[step=" in head and _DETECT.search(head) is not None


def read(content: bytes, name: str) -> RawTable:
    """Columns step, planned_steps, train_loss, n_tokens, lr, and every other value under its own name."""
    text, notes = text_of(content, name)
    rows, step = Rows(name, notes=notes), None
    for line_number, line in enumerate(text.split("\n"), 1):
        if m := _STEP.search(line):
            step = int(m[1].replace(",", ""))
            if m[2]:
                rows.constants["planned_steps"] = int(m[2].replace(",", ""))
        elif step is not None and (m := _VALUE.match(line)):
            rows.add(step, {_NAMES.get(m[1], m[1]): number(m[2])}, line_number)
    return one_run(carried(rows.table("blocks that start with '[step=20/20000,epoch=1]'"), ("n_tokens",)))


OLMO = Format("olmo", "the console output of OLMo", detect, read)
