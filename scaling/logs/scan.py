"""The lines to keep of a block of a CSV, found from its bytes: eight at a time in numpy, without making a table of them.

Most blocks of a training curve are plain: no quotes, steps in digits, losses that begin with a digit. For those this finds in a
third of the time what the general way (scaling.logs.large) finds; any other block is None here and goes the general way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

_PAD = 16  # bytes before the block, so that the words of its first cell exist
_WORDS = 16  # cells of up to 128 bytes are compared
_U = np.uint64
_ZEROS = _U(0x3030303030303030)  # of these bytes xor a digit is its number,
_SIXES, _HIGH = _U(0x0606060606060606), _U(0xF0F0F0F0F0F0F0F0)  # and 6 more than 9 has a high bit


def plain_rows(
    body: bytes,
    delimiter: str,
    n_columns: int,
    at: Mapping[str, int],
    order: str,
    last: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray] | None:
    """(kept,) rows to keep and (rows + 1,) where each begins, of a block of whole lines; None for a block that is not plain.

    at : positions of the columns run, n_params, seed (any of them), target, `order` and perhaps lr.
    last : (keys, order) -> positions of the row with the largest order of each key, the later of equal ones.
    Keys are told apart by their text, so that 1e9 and 1000000000 are two: more rows than necessary, never fewer.
    """
    if b'"' in body or b"\r" in body or not body.endswith(b"\n"):
        return None
    view = np.frombuffer(body, dtype=np.uint8)
    is_end = view == 10
    ends = np.flatnonzero(is_end | (view == ord(delimiter)))
    count = int(np.count_nonzero(is_end))
    if len(ends) != count * n_columns:
        return None
    table = ends.reshape(count, n_columns)
    if not is_end[table[:, -1]].all():
        return None  # a row with more cells than names, and one with fewer
    starts = np.append(0, table[:, -1] + 1)
    padded = bytes(_PAD) + body
    words = np.ndarray((len(padded) - 7,), dtype="<u8", buffer=padded, strides=(1,))
    cells = {c: _Cells(words, table[:, i - 1] + 1 if i else starts[:-1], table[:, i]) for c, i in at.items()}
    steps = cells[order].integers()
    first = view[cells["target"].begin]  # of an empty cell: the delimiter behind it
    logged = (first >= 48) & (first <= 57)
    if steps is None or not (logged | (cells["target"].length == 0)).all():
        return None
    head = np.zeros(count, dtype=bool)  # where another training starts
    head[0] = True
    names = [cells[c] for c in ("run", "n_params", "seed") if c in cells]
    for column in names:
        changes = column.changes()
        if changes is None:
            return None
        head |= changes
    firsts = np.flatnonzero(head)
    if len(firsts) > count // 4 + 16:
        return None  # runs that take turns
    known: dict[tuple[bytes, ...], int] = {}
    numbers = [known.setdefault(tuple(body[c.begin[i] : c.end[i]] for c in names), len(known)) for i in firsts]
    keys = np.asarray(numbers)[np.cumsum(head) - 1]
    rows = np.flatnonzero(logged)
    kept = [rows[last(keys[rows], steps[rows])]]
    if "lr" in cells:
        changes = cells["lr"].changes()
        if changes is None:
            return None
        # of a stretch of one run with one rate the last row stands for all
        stays = np.flatnonzero(np.append((changes | head)[1:], True))
        if len(stays) > count // 8 + 1000:
            return None  # a rate that always changes: pandas reads so many numbers faster
        rates = _numbers(body, cells["lr"], stays)
        if rates is None:
            return None
        stays, rates = stays[~np.isnan(rates)], rates[~np.isnan(rates)]
        kept.append(stays[last(keys[stays], rates)])
    return np.unique(np.concatenate(kept)), starts


class _Cells:
    """A column of a block: where its cells begin and end. words : at each byte of the padded block, the eight from there on."""

    def __init__(self, words: np.ndarray, begin: np.ndarray, end: np.ndarray) -> None:
        self.words, self.begin, self.end = words, begin, end
        self.length = end - begin

    def _word(self, back: int) -> tuple[np.ndarray, np.ndarray]:
        """(rows,) the eight bytes that end 8 back before the cell's end, its last byte on top, and how many low bits are foreign."""
        foreign = np.clip(8 * (back + 1) - self.length, 0, 7).astype(_U) << _U(
            3
        )  # 7: of a cell that ended, one byte stays
        return self.words[np.maximum(self.end + (_PAD - 8 * (back + 1)), 0)], foreign

    def changes(self) -> np.ndarray | None:
        """(rows,) whether a cell differs from the one above; None for cells too long to be compared."""
        n_words = -(-int(self.length.max()) // 8)
        if n_words > _WORDS:
            return None
        out = np.zeros(len(self.end), dtype=bool)
        out[1:] = self.length[1:] != self.length[:-1]
        for back in range(n_words):
            word, foreign = self._word(back)
            out[1:] |= (((word[1:] ^ word[:-1]) >> foreign[1:]) != 0) & (self.length[1:] > 8 * back)
        return out

    def integers(self) -> np.ndarray | None:
        """(rows,) float64 the cells as integers; None unless each is 1 to 15 digits."""
        longest = int(self.length.max())
        if longest > 15 or not self.length.all():
            return None
        value = np.zeros(len(self.end))
        for back in range(2 if longest > 8 else 1):
            word, foreign = self._word(back)
            digits = ((word ^ _ZEROS) >> foreign) << foreign  # bytes before the cell count as the digit 0
            if back:
                digits[self.length <= 8 * back] = 0
            if ((digits | (digits + _SIXES)) & _HIGH).any():
                return None
            digits = (digits * _U(2561)) >> _U(8)  # pairs, fours, eights: the last byte is the last digit
            digits = ((digits & _U(0x00FF00FF00FF00FF)) * _U(6553601)) >> _U(16)
            digits = ((digits & _U(0x0000FFFF0000FFFF)) * _U(42949672960001)) >> _U(32)
            value += digits * 1e8**back
        return value


def _numbers(body: bytes, cells: _Cells, rows: np.ndarray) -> np.ndarray | None:
    """(rows,) the cells as numbers, nan where empty; None where one is neither."""
    texts = [body[b:e] for b, e in zip(cells.begin[rows].tolist(), cells.end[rows].tolist(), strict=True)]
    try:
        return np.array([float(t) if t else np.nan for t in texts])
    except ValueError:
        return None
