"""TensorBoard: a scalar download ('Wall time,Step,Value', run and tag in the file's name) and event files.

Event files are records (length, checksum, content, checksum) of protocol-buffer messages; the few fields that hold scalars
are read here, so that no other package is needed.
Source: github.com/tensorflow/tensorboard, compat/proto/{event,summary,tensor}.proto; TFRecord framing as documented by TensorFlow.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from scaling.errors import RunsError
from scaling.logs.delimited import delimited, header_of
from scaling.logs.formats.format import Cell, Format, Rows, carried, noted, one_run
from scaling.logs.raw_table import RawTable, named
from scaling.quantities import quote

_NAME = re.compile(r"run-(?P<run>.+?)-tag-(?P<tag>.+)$")
_MAGIC = b"brain.Event:"


def detect_scalars(head: bytes, name: str) -> bool:
    return header_of(head) == ("Wall time", "Step", "Value")


def read_scalars(content: bytes, name: str) -> RawTable:
    """Columns run, wall_time [s], step, and the value as loss (train_loss when the tag says train). Rows that a restart
    superseded are left out and counted."""
    table = delimited(content, name, ("Wall time", "Step", "Value"))
    named_so = _NAME.search(table.stem)
    tag = named_so["tag"] if named_so else ""
    value = "train_loss" if re.search(r"(^|[^a-z])train", tag, re.IGNORECASE) else "loss"
    steps, times = table.columns["Step"], table.columns["Wall time"]
    kept = _after_restarts(steps)
    gone = int((~kept).sum())
    columns = {"wall_time": times[kept], "step": steps[kept], value: table.columns["Value"][kept]}
    table = one_run(replace(table, columns=columns, rows=table.rows[kept]), named_so["run"] if named_so else "")
    said = f"'Value' of {named(name)} was taken as {value}{f' (tag {quote(tag)})' if tag else ''}"
    table = noted(table, "scalar_export", said)
    if gone:
        rows = f"{gone} row{'s' if gone > 1 else ''}"
        table = noted(table, "resumed", f"{named(name)} goes back in steps (restarted): {rows} before it superseded")
    return table


def _after_restarts(steps: np.ndarray) -> np.ndarray:
    """(rows,) bool: rows whose step stays below all later ones: what a restart went back over is superseded."""
    if steps.dtype.kind not in "fiu":
        return np.ones(len(steps), dtype=bool)
    later = np.minimum.accumulate(np.append(steps.astype(float), np.inf)[::-1])[::-1][1:]
    return ~(steps >= later)


def detect_events(head: bytes, name: str) -> bool:
    return _MAGIC in head[:64]


def read_events(content: bytes, name: str) -> RawTable:
    """Columns step, wall_time [s] and one per scalar tag: the file of one run, named after its folder."""
    rows, text_only = Rows(name), True
    cut_off = False
    for number, event in enumerate(_records(content, name), 1):
        if event is None:
            cut_off = True
            break
        step, wall_time, scalars = _event(event)
        if scalars:
            text_only = False
            rows.add(step, {**scalars, **({} if _at(rows, step) else {"wall_time": wall_time})}, number)
    if text_only:
        raise RunsError(f"{named(name)} holds no scalars; give the event file of the run that logged the loss.")
    table = rows.table("scalars")
    if cut_off:
        table = noted(
            table, "cut_off", f"{named(name)} ends in the middle of a record (still being written?); read up to there"
        )
    return one_run(carried(table, [c for c in table.columns if re.search(r"tokens|samples_seen", c)]))


def _at(rows: Rows, step: float) -> bool:
    return bool(rows.rows) and rows.rows[-1].step == step


def _records(content: bytes, name: str) -> Iterator[bytes | None]:
    """The content of each record; None in place of one that is cut off. Lengths beyond the file end it: nothing is trusted."""
    at = 0
    while at < len(content):
        if at + 12 > len(content):
            yield None
            return
        (length,) = struct.unpack_from("<Q", content, at)
        if at + 16 + length > len(content):
            yield None
            return
        yield content[at + 12 : at + 12 + length]
        at += 16 + length


def _event(data: bytes) -> tuple[int, float, dict[str, Cell]]:
    """(step, wall time, {tag: value}) of one Event message."""
    step, wall_time = 0, 0.0
    scalars: dict[str, Cell] = {}
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes) and len(value) == 8:
            wall_time = struct.unpack("<d", value)[0]
        elif number == 2 and isinstance(value, int):
            step = value if value < 2**63 else value - 2**64
        elif number == 5 and isinstance(value, bytes):  # summary: repeated value
            for inner, part in _fields(value):
                if inner == 1 and isinstance(part, bytes) and (found := _scalar(part)) is not None:
                    scalars[found[0]] = found[1]
    return step, wall_time, scalars


def _scalar(data: bytes) -> tuple[str, float] | None:
    """(tag, value) of a Summary.Value that holds one number: simple_value, or a tensor of one float or double."""
    tag, result = "", None
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            tag = value.decode("utf-8", "replace")
        elif number == 2 and isinstance(value, bytes) and len(value) == 4:
            result = struct.unpack("<f", value)[0]
        elif number == 8 and isinstance(value, bytes):
            result = _tensor(value)
    return (tag, float(result)) if tag and result is not None else None


def _tensor(data: bytes) -> float | None:
    """The number in a TensorProto of one element, dtype float (1) or double (2)."""
    parts = dict(_fields(data))
    dtype = parts.get(1)
    form, size, field_number = {1: ("<f", 4, 5), 2: ("<d", 8, 6)}.get(
        dtype if isinstance(dtype, int) else 0, ("", 0, 0)
    )
    for number in (4, field_number):  # tensor_content, or float_val / double_val
        raw = parts.get(number)
        if form and isinstance(raw, bytes) and len(raw) == size:
            return float(struct.unpack(form, raw)[0])
    return None


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field of a protocol-buffer message; ends at the first that is damaged."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if wire == 2:
            length, at = _varint(data, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            return
        if at + length > len(data):
            return
        yield key >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            return 0, len(data)
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if not byte & 0x80:
            break
    return result, at


TENSORBOARD = Format("tensorboard", "a scalar download of TensorBoard", detect_scalars, read_scalars)
TENSORBOARD_EVENTS = Format("tensorboard-events", "an event file of TensorBoard", detect_events, read_events)
