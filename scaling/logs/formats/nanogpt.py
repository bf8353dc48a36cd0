"""nanoGPT's text log: 'step 250: train loss 3.1234, val loss 3.2345' and 'iter 250: loss 3.1201, time 225.32ms, mfu 42.10%'.

Source: github.com/karpathy/nanoGPT, train.py.
"""

from __future__ import annotations

import re

from scaling.logs.formats.format import Format, Rows, number, one_run, quantity
from scaling.logs.raw_table import RawTable
from scaling.logs.text import text_of

_EVAL = re.compile(r"\bstep (\d+): train loss ([^\s,]+), val loss ([^\s,]+)")
_ITER = re.compile(r"\biter (\d+): loss ([^\s,]+), time ([\d.]+)ms(?:, mfu (-?[\d.]+)%)?")
_SIZE = re.compile(r"^number of parameters: ([\d.,]+\s?[KMBT]?)\s*$")
_TOKENS_PER_STEP = re.compile(r"^tokens per iteration will be: ([\d,]+)")
_MAX_ITERS = re.compile(r"^(?:Overriding: )?max_iters\s*=\s*(\d+)")


_DETECT_EVAL = re.compile(rb"(?m)^[^\n\"{]{0,40}\bstep \d+: train loss [^\s,]+, val loss ")
_DETECT_ITER = re.compile(rb"(?m)^iter \d+: loss [^\s,]+, time [\d.]+ms")


def detect(head: bytes, name: str) -> bool:
    return (b": train loss " in head and _DETECT_EVAL.search(head) is not None) or (
        b": loss " in head and _DETECT_ITER.search(head) is not None
    )


def read(content: bytes, name: str) -> RawTable:
    """Columns step, train_loss and val_loss (means over the evaluation batches), train_loss_iter (one batch), time_ms,
    mfu [fraction; empty in the first iterations, where -100 % is printed], and n_params, n_tokens, planned_steps where the
    log's preamble states them. n_params leaves position embeddings out, as nanoGPT counts."""
    text, notes = text_of(content, name)
    rows, per_step = Rows(name, notes=notes), None
    for line_number, line in enumerate(text.split("\n"), 1):
        if m := _ITER.search(line):
            mfu = float(m[4]) / 100 if m[4] and float(m[4]) >= 0 else None
            rows.add(int(m[1]), {"train_loss_iter": number(m[2]), "time_ms": float(m[3]), "mfu": mfu}, line_number)
        elif m := _EVAL.search(line):
            rows.add(int(m[1]), {"train_loss": number(m[2]), "val_loss": number(m[3])}, line_number)
        elif m := _SIZE.match(line):
            if (size := quantity(m[1], "params")) is not None:
                rows.constants["n_params"] = size
        elif m := _TOKENS_PER_STEP.match(line):
            per_step = int(m[1].replace(",", ""))
        elif m := _MAX_ITERS.match(line):
            rows.constants["planned_steps"] = int(m[1])
    table = rows.table("lines such as 'step 250: train loss 3.1, val loss 3.2'")
    if per_step:
        table.columns["n_tokens"] = table.columns["step"] * per_step
    return one_run(table)


NANOGPT = Format("nanogpt", "a text log of nanoGPT", detect, read)
