"""The lines to keep of a block of a CSV, found from its bytes: eight at a time in numpy, without making a table of them.

Most blocks of a training curve are plain: quotes at most around whole cells, steps in digits, losses that begin with a digit. For
those this finds in a third of the time what the general way (scaling.logs.large) finds; any other block is None here and goes the
general way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np

_WORDS = 16  # cells of up to 128 bytes are compared
_PAD = 8 * _WORDS  # bytes around the block, so that the words of its first and last cells exist
_U = np.uint64
_ZEROS = _U(0x3030303030303030)  # of these bytes xor a digit is its number,
_SIXES, _HIGH = _U(0x0606060606060606), _U(0xF0F0F0F0F0F0F0F0)  # and 6 more than 9 has a high bit
# 8 times how many bytes of a word are not of the cell, by how many are; 7: of a cell that ended, one byte stays
_FOREIGN = np.array([56, 56, 48, 40, 32, 24, 16, 8, 0], dtype="<u8")
_FEW = 64  # cells that are read as numbers sooner than looked at again
_POINT = _U(ord(".") << 8)  # of a word whose second byte is a decimal point
_DECADES = 10.0 ** -np.arange(100.0)


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
    if not body.endswith(b"\n"):
        return None
    view = np.frombuffer(body, dtype=np.uint8)
    is_end = view == 10
    ends = np.flatnonzero(is_end | (view == ord(delimiter)))
    count = int(np.count_nonzero(is_end))
    if len(ends) != count * n_columns:
        return None
    quoted = b'"' in body
    if quoted and not _only_whole_cells(np.flatnonzero(view == 34), ends, len(body)):
        return None
    table = ends.reshape(count, n_columns)
    if not is_end[table[:, -1]].all():
        return None  # a row with more cells than names, and one with fewer
    starts = np.append(0, table[:, -1] + 1)
    returns = b"\r" in body
    if returns and (body.count(b"\r") != count or not (view[table[:, -1] - 1] == 13).all()):
        return None  # some lines only, or within a cell
    padded = bytes(_PAD) + body + bytes(_PAD)
    words = np.ndarray((len(padded) - 7,), dtype="<u8", buffer=padded, strides=(1,))
    cells = {}
    for canonical, i in at.items():
        begin, end = (table[:, i - 1] + 1 if i else starts[:-1]), table[:, i]
        if returns and i == n_columns - 1:
            end = end - 1
        if quoted:
            has = (view[begin] == 34).view(np.int8)
            begin, end = begin + has, end - has
        cells[canonical] = _Cells(words, begin, end)
    steps = cells[order].integers()
    first = view[cells["target"].begin]  # of an empty cell: what stands behind it
    logged = (first >= 48) & (first <= 57)
    if steps is None or not (logged | (cells["target"].length == 0)).all():
        return None
    head = np.zeros(count, dtype=bool)  # where another training starts
    head[0] = True
    names = [cells[c] for c in ("run", "n_params", "seed") if c in cells]
    for column in names:
        changes = column.all_changes()
        if changes is None:
            return None
        head |= changes
    firsts = np.flatnonzero(head)
    if len(firsts) > count // 4 + 16:
        return None  # runs that take turns
    known: dict[tuple[bytes, ...], int] = {}
    numbers = [known.setdefault(tuple(body[c.begin[i] : c.end[i]] for c in names), len(known)) for i in firsts]
    keys = np.repeat(np.asarray(numbers), np.diff(np.append(firsts, count)))
    if logged.all():
        kept = [last(keys, steps)]
    else:
        rows = np.flatnonzero(logged)
        kept = [rows[last(keys[rows], steps[rows])]]
    if "lr" in cells:
        found = _largest_rates(body, cells["lr"], head, keys, last)
        if found is None:
            return None
        kept.append(found)
    return np.unique(np.concatenate(kept)), starts


def _only_whole_cells(quotes: np.ndarray, ends: np.ndarray, size: int) -> bool:
    """Whether quotes stand in pairs around whole cells that hold neither a delimiter nor another quote."""
    if len(quotes) % 2:
        return False
    opening, closing = quotes[::2], quotes[1::2]
    cell = np.searchsorted(ends, opening)
    first = np.append(0, ends[:-1] + 1)[cell]
    after = closing + 1  # a line may end in a carriage return
    return bool((first == opening).all() and ((ends[cell] == after) | (ends[cell] == after + 1)).all()) and bool(
        (closing > opening).all() and size > 0
    )


def _mostly_stays(body: bytes, cells: _Cells) -> bool:
    """Whether the first cells are mostly those above them: what to try first, nothing hangs on it."""
    texts = [body[b:e] for b, e in zip(cells.begin[:33].tolist(), cells.end[:33].tolist(), strict=True)]
    return 2 * sum(a == b for a, b in pairwise(texts)) >= len(texts) - 1


def _largest_rates(
    body: bytes,
    rate: _Cells,
    head: np.ndarray,
    keys: np.ndarray,
    last: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray | None:
    """Rows with the largest rate of each key, the later of equal ones; None where that cannot be told from the bytes.

    A rate may change in every row. Then bounds from its first digits leave few rows whose text is read as a number.
    """
    rows = np.flatnonzero(rate.length > 0)
    few = len(head) // 8 + 100
    steps: list[str | int] = (
        ["ends", 1, 2] if _mostly_stays(body, rate) else [1, "ends", 2]
    )  # the cheap and telling ones first
    for step in steps:
        if len(rows) <= _FEW:
            break
        if isinstance(step, str):  # of a stretch of one run with one rate the last row stands for all
            if len(rows) == len(head):
                whole = rate.all_changes()
                if whole is None:
                    return None
                rows = np.flatnonzero(np.append((whole | head)[1:], True))
                continue
            inside = rows[rows + 1 < len(head)]
            inside = inside[~head[inside + 1]]
            changes = rate.changes(inside + 1)
            if changes is None:
                return None
            ends = np.ones(len(head), dtype=bool)
            ends[inside] = changes
            rows = rows[ends[rows]]
            continue
        low, high = rate.bounds(rows, step)
        of_rows = keys[rows]
        firsts = np.flatnonzero(np.append(True, of_rows[1:] != of_rows[:-1]))
        largest = np.full(int(keys.max()) + 1, -np.inf)
        np.maximum.at(largest, of_rows[firsts], np.maximum.reduceat(low, firsts))
        rows = rows[high >= largest[of_rows]]
    if len(rows) > few:
        return None
    rates = _numbers(body, rate, rows)
    if rates is None:
        return None
    rows, rates = rows[~np.isnan(rates)], rates[~np.isnan(rates)]
    return rows[last(keys[rows], rates)]


class _Cells:
    """A column of a block: where its cells begin and end. words : at each byte of the padded block, the eight from there on."""

    def __init__(self, words: np.ndarray, begin: np.ndarray, end: np.ndarray) -> None:
        self.words, self.begin, self.end = words, np.ascontiguousarray(begin), np.ascontiguousarray(end)
        self.length = end - begin

    def _word(self, back: int, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(rows,) the eight bytes that end 8 back before the cell's end, its last byte on top, and how many low bits are foreign."""
        end, length = (self.end, self.length) if rows is None else (self.end[rows], self.length[rows])
        word = self.words[_PAD - 8 * (back + 1) :][end]
        return word, _FOREIGN.take(length - 8 * back if back else length, mode="clip")

    def changes(self, rows: np.ndarray) -> np.ndarray | None:
        """(rows,) whether the cells of these rows, from 1 on, differ from those above; None for cells too long to be compared."""
        if -(-int(self.length.max()) // 8) > _WORDS:
            return None
        out = self.length[rows] != self.length[rows - 1]
        back = 0
        while len(at := np.flatnonzero(~out & (self.length[rows] > 8 * back))):
            word, foreign = self._word(back, rows[at])
            above, _ = self._word(back, rows[at] - 1)
            out[at] = ((word ^ above) >> foreign) != 0
            back += 1
        return out

    def all_changes(self) -> np.ndarray | None:
        """(all rows,) as changes, with no difference in the first row; faster than asking for every row."""
        n_words = -(-int(self.length.max()) // 8)
        if n_words > _WORDS:
            return None
        out = np.zeros(len(self.end), dtype=bool)
        out[1:] = self.length[1:] != self.length[:-1]
        for back in range(n_words):
            word, foreign = self._word(back)
            differ = ((word[1:] ^ word[:-1]) >> foreign[1:]) != 0
            if back:
                differ &= self.length[1:] > 8 * back
            out[1:] |= differ
        return out

    def integers(self) -> np.ndarray | None:
        """(rows,) float64 the cells as integers; None unless each is 1 to 15 digits, or all are with '.0' behind them."""
        if not self.length.all():
            return None
        cells = self
        at = self.words[_PAD - 8 :]
        # as pandas writes integers where some are missing
        if at[self.end[0]] >> _U(48) == 0x302E and (self.length > 2).all() and (at[self.end] >> _U(48) == 0x302E).all():
            cells = _Cells(self.words, self.begin, self.end - 2)
        longest = int(cells.length.max())
        if longest > 15:
            return None
        value = np.zeros(len(cells.end))
        for back in range(2 if longest > 8 else 1):
            word, foreign = cells._word(back)
            digits = ((word ^ _ZEROS) >> foreign) << foreign  # bytes before the cell count as the digit 0
            if back:
                digits[cells.length <= 8 * back] = 0
            if ((digits | (digits + _SIXES)) & _HIGH).any():
                return None
            value += _number_of(digits) * 1e8**back
        return value

    def bounds(self, rows: np.ndarray, n_words: int) -> tuple[np.ndarray, np.ndarray]:
        """Two (rows,) numbers between which these cells lie, from the first 8 n_words bytes; -inf and inf for a cell that is
        not written d.ddd or d.ddde-dd."""
        whole = len(rows) == len(self.end)
        begin, end, length = (a if whole else a[rows] for a in (self.begin, self.end, self.length))
        decade: np.ndarray | float = 1.0
        tail = self.words[_PAD - 8 :][end] >> _U(32)  # 'e-dd', of which 'e' is lowest
        has_decade = (tail & _U(0xFFFF)) == _U(0x2D65)
        good = length > 2
        if has_decade.any():
            two = (tail >> _U(16)) ^ _U(0x3030)
            good &= ~has_decade | (((two | (two + _U(0x0606))) & _U(0xF0F0)) == 0)
            exponent = np.where(has_decade & good, 10 * (two & _U(0xFF)) + (two >> _U(8)), 0)
            decade, length = _DECADES[exponent.view(np.int64)], length - 4 * has_decade
        low, step = np.zeros(len(rows)), 1e-6
        for i in range(n_words):
            word = self.words[_PAD + 8 * i :][begin]
            # bytes behind the mantissa count as the digit 0
            foreign = _FOREIGN.take(length - 8 * i if i else length, mode="clip")
            digits = ((word ^ _ZEROS) << foreign) >> foreign
            if i:
                digits[length <= 8 * i] = 0
                step = 1e-14
            else:
                good &= (word & _U(0xFF00)) == _POINT
                digits = (digits & _U(0xFF)) | ((digits >> _U(8)) & ~_U(0xFF))  # without the point; seven, and a 0
            good &= ((digits | (digits + _SIXES)) & _HIGH) == 0
            low += _number_of(digits) * (step if i else 1e-7)
        high = (low + step) * decade * (1 + 1e-12)  # the last digits of floating point go to both sides
        low *= decade * (1 - 1e-12)
        low[~good], high[~good] = -np.inf, np.inf
        return low, high


def _number_of(digits: np.ndarray) -> np.ndarray:
    """(rows,) the number that eight bytes of digits make, the lowest byte being the first digit."""
    digits = (digits * _U(2561)) >> _U(8)  # pairs, fours, eights
    digits = ((digits & _U(0x00FF00FF00FF00FF)) * _U(6553601)) >> _U(16)
    return ((digits & _U(0x0000FFFF0000FFFF)) * _U(42949672960001)) >> _U(32)


def _numbers(body: bytes, cells: _Cells, rows: np.ndarray) -> np.ndarray | None:
    """(rows,) the cells as numbers, nan where empty; None where one is neither."""
    texts = [body[b:e] for b, e in zip(cells.begin[rows].tolist(), cells.end[rows].tolist(), strict=True)]
    try:
        return np.array([float(t) if t else np.nan for t in texts])
    except ValueError:
        return None
