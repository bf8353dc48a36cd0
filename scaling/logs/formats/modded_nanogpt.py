"""modded-nanogpt's text log: 'step:125/5100 val_loss:5.8 train_time:22363ms step_avg:178.9ms', after the run's program text.

Source: github.com/KellerJordan/modded-nanogpt.
"""

from __future__ import annotations

import math
import re

from scaling.logs.formats.format import Format, Rows, number, one_run
from scaling.logs.raw_table import RawTable
from scaling.logs.text import text_of

_LINE = re.compile(
    r"\bstep:(\d+)/(\d+) (train_loss|val_loss):(\S+)(?: train_time:([\d.]+)ms)?(?: step_avg:([\d.]+|nan)ms)?"
)
_DETECT = re.compile(rb"(?m)^[^\n\"{]{0,40}\bstep:\d+/\d+ (?:train|val)_loss:[\w.+-]+")
# The program's text states the batch in sequences over all devices and the length of a sequence in tokens.
_SETTING = re.compile(r"^\s*(batch_size|sequence_length|train_seq_len)\s*(?::\s*int\s*)?=\s*(\d+(?:\s*\*\s*\d+)*)\b")


def detect(head: bytes, name: str) -> bool:
    return b"_loss:" in head and _DETECT.search(head) is not None


def read(content: bytes, name: str) -> RawTable:
    """Columns step, planned_steps, train_loss (one batch), val_loss, train_time_ms, step_avg_ms, and n_tokens where the
    program text before the log states batch_size and sequence_length."""
    text, notes = text_of(content, name)
    rows = Rows(name, notes=notes)
    settings: dict[str, int] = {}
    for line_number, line in enumerate(text.split("\n"), 1):
        if m := _LINE.search(line):
            cells = {m[3]: number(m[4])}
            if m[5]:
                cells["train_time_ms"] = float(m[5])
            if m[6] and m[6] != "nan":
                cells["step_avg_ms"] = float(m[6])
            if rows.rows and rows.rows[-1].step == int(m[1]):  # the clock was read again for the second of two losses
                cells = {k: v for k, v in cells.items() if k == m[3] or k not in rows.rows[-1].cells}
            rows.constants["planned_steps"] = int(m[2])
            rows.add(int(m[1]), cells, line_number)
        elif not rows.rows and (m := _SETTING.match(line)):
            settings[m[1]] = math.prod(int(f) for f in m[2].split("*"))
    table = rows.table("lines such as 'step:125/5100 val_loss:5.8'")
    length = settings.get("sequence_length", settings.get("train_seq_len"))
    if length and "batch_size" in settings:
        table.columns["n_tokens"] = table.columns["step"] * (length * settings["batch_size"])
    return one_run(table)


MODDED_NANOGPT = Format("modded-nanogpt", "a text log of modded-nanogpt", detect, read)
