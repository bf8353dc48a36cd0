"""llm.c's main.log: 's:250 trl:4.56 lr:0.0006 norm:1.2' (training), 's:250 tel:4.60' (held out), 's:250 eval:0.2812' (HellaSwag).

Source: github.com/karpathy/llm.c, llmc/logger.h.
"""

from __future__ import annotations

import re

from scaling.logs.formats.format import Cell, Format, Rows, number, one_run
from scaling.logs.raw_table import RawTable
from scaling.logs.text import text_of

_LINE = re.compile(r"^s:(\d+) ((?:[a-z]+:\S+\s*)+)$")
_DETECT = re.compile(rb"s:\d+ (?:trl|tel|eval):[\w.+-]+")
_NAMES = {"trl": "train_loss", "tel": "val_loss", "eval": "hellaswag", "lr": "lr", "norm": "grad_norm"}


def detect(head: bytes, name: str) -> bool:
    return _DETECT.match(head[:200].lstrip()) is not None


def read(content: bytes, name: str) -> RawTable:
    """Columns step, train_loss (one step's batch), val_loss, hellaswag [fraction], and lr, grad_norm in newer logs."""
    text, notes = text_of(content, name)
    rows = Rows(name, notes=notes)
    for line_number, line in enumerate(text.split("\n"), 1):
        if m := _LINE.match(line.strip()):
            cells: dict[str, Cell] = {}
            for pair in m[2].split():
                key, _, value = pair.partition(":")
                cells[_NAMES.get(key, key)] = number(value)
            rows.add(int(m[1]), cells, line_number)
    return one_run(rows.table("lines such as 's:250 tel:4.60'"))


LLMC = Format("llm.c", "a main.log of llm.c", detect, read)
