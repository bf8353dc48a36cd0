"""What a store says: the latest fits, what moved since an earlier refit, how coefficients drift, and tables for other tools."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.errors import RunsError
from scaling.refitting.store import FAILED, Store

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("law", "group", "status", "message", "n_runs", "key", "coef", "estimate", "low", "high")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_BLOCK = 50_000  # rows written at once
BARE = 0.05  # of a coefficient: what counts as a move where there is no interval
Coefficient = tuple[float | None, float | None, float | None]  # estimate, low, high


def _rows_of(store: Store, number: int) -> Iterator[tuple[Any, ...]]:
    """COLUMNS of one refit, a row per coefficient (one row for a slot without coefficients), by law and group."""
    query = """SELECT l.law, l.grp, f.status, f.message, f.n_runs, f.key, c.coef, c.estimate, c.low, c.high
        FROM seen s JOIN slots l ON l.id = s.slot JOIN fits f ON f.id = s.fit LEFT JOIN coefs c ON c.fit = f.id
        WHERE s.first <= ? AND s.last >= ? ORDER BY l.law, l.grp, c.place"""
    yield from store.db.execute(query, (number, number))


def table_of(store: Store, number: int) -> pd.DataFrame:
    """One row per coefficient and fit of a refit (one row per fit without coefficients): the columns of COLUMNS."""
    import pandas as pd

    table = pd.DataFrame(list(_rows_of(store, number)), columns=list(COLUMNS))
    return table.astype(dict.fromkeys(("estimate", "low", "high"), float))


def _last(store: Store) -> int:
    passes = store.passes()
    if not passes:
        raise RunsError(f"the store {str(store.path)!r} holds no finished refit: run one to its end first.")
    return passes[-1]


def status(store: str | Path) -> pd.DataFrame:
    """Fits of the latest finished refit, counted by law and status: law, status, fits."""
    import pandas as pd

    query = """SELECT l.law, f.status, count(*) FROM seen s JOIN slots l ON l.id = s.slot JOIN fits f ON f.id = s.fit
        WHERE s.first <= ? AND s.last >= ? GROUP BY l.law, f.status ORDER BY l.law, f.status"""
    with Store(store) as opened:
        passes = opened.passes()
        rows = opened.db.execute(query, (passes[-1], passes[-1])).fetchall() if passes else []
    return pd.DataFrame(rows, columns=["law", "status", "fits"])


def failures(store: str | Path, most: int = 20) -> pd.DataFrame:
    """The first `most` slots of the latest finished refit without an estimate, and why: law, group, status, message."""
    import pandas as pd

    places = ", ".join("?" * len(FAILED))
    query = f"""SELECT l.law, l.grp, f.status, f.message FROM seen s JOIN slots l ON l.id = s.slot JOIN fits f ON f.id = s.fit
        WHERE s.first <= ? AND s.last >= ? AND f.status IN ({places}) ORDER BY l.law, l.grp LIMIT ?"""
    with Store(store) as opened:
        passes = opened.passes()
        rows = opened.db.execute(query, (passes[-1], passes[-1], *FAILED, most)).fetchall() if passes else []
    return pd.DataFrame(rows, columns=["law", "group", "status", "message"])


def history(store: str | Path) -> pd.DataFrame:
    """Every refit of a store: refit, started, finished (empty: it runs or was stopped), fits, computed, failed."""
    import pandas as pd

    with Store(store) as opened:
        query = "SELECT id, started, coalesce(finished, ''), fits, computed, failed FROM passes ORDER BY id"
        rows = opened.db.execute(query).fetchall()
    return pd.DataFrame(rows, columns=["refit", "started", "finished", "fits", "computed", "failed"])


def drift(store: str | Path, law: str | None = None, coef: str | None = None) -> pd.DataFrame:
    """Every coefficient that a slot ever had: law, group, coef, first and last refit that saw it, estimate, low, high."""
    import pandas as pd

    query = """SELECT l.law, l.grp, c.coef, s.first, s.last, f.made, c.estimate, c.low, c.high FROM seen s
        JOIN slots l ON l.id = s.slot JOIN fits f ON f.id = s.fit JOIN coefs c ON c.fit = f.id
        WHERE (:law IS NULL OR l.law = :law) AND (:coef IS NULL OR c.coef = :coef) ORDER BY l.law, l.grp, c.place, s.first"""
    with Store(store) as opened:
        rows = opened.db.execute(query, {"law": law, "coef": coef}).fetchall()
    return pd.DataFrame(rows, columns=["law", "group", "coef", "first", "last", "made", "estimate", "low", "high"])


@dataclass(frozen=True)
class Fit:
    key: str
    status: str
    message: str
    coefs: dict[str, Coefficient]

    @property
    def works(self) -> bool:
        return self.status not in FAILED


def changed(
    store: str | Path,
    relative: float = 0.0,
    disjoint: bool = False,
    since: int | None = None,
    bare: float = BARE,
) -> pd.DataFrame:
    """What differs between the latest finished refit and the one before: law, group, what, coef, before, after, message.

    what : "moved" (the new estimate lies outside the old interval and differs by more than `relative`; with `disjoint`
        the intervals have no point in common), "loses interval" and "gains interval" (of one coefficient), "loses value" and
        "gains value" (a coefficient that only one of the two fits has), "fails" (also a new file or group that fails),
        "recovers", "new", "gone". message : which of these it was, in words.
    bare : a coefficient without an old interval has moved when it differs by more than this, relative to its old value
        (and by more than `relative`).
    since : number of the refit to compare with.
    """
    import pandas as pd

    with Store(store) as opened:
        passes = opened.passes()
        if since is not None and since not in passes[:-1]:
            raise RunsError(f"the store {str(store)!r} holds no earlier refit {since}; it holds {passes[:-1]}.")
        if len(passes) < 2:
            raise RunsError(f"the store {str(store)!r} holds {len(passes)} finished refit(s): a change needs two.")
        a, b = passes[-2] if since is None else since, passes[-1]
        # only slots whose fit is another: of a million groups that stayed the same none is looked at
        before = _fits_where(opened, "first <= :a AND last >= :a AND last < :b", a, b)
        after = _fits_where(opened, "first <= :b AND last >= :b AND first > :a", a, b)
    rows: list[dict[str, Any]] = []
    for slot in sorted({*before, *after}):
        head = dict(zip(("law", "group"), slot, strict=True))
        for row in _differences(before.get(slot), after.get(slot), relative, disjoint, bare):
            rows.append({**head, **row})
    return pd.DataFrame(rows, columns=["law", "group", "what", "coef", "before", "after", "message"])


def _fits_where(store: Store, condition: str, a: int, b: int) -> dict[tuple[str, str], Fit]:
    query = f"""SELECT l.law, l.grp, f.id, f.key, f.status, f.message FROM seen s JOIN slots l ON l.id = s.slot
        JOIN fits f ON f.id = s.fit WHERE {condition}"""
    out = {}
    for law, grp, fit, key, state, message in store.db.execute(query, {"a": a, "b": b}).fetchall():
        coefs = store.db.execute("SELECT coef, estimate, low, high FROM coefs WHERE fit = ? ORDER BY place", (fit,))
        out[law, grp] = Fit(key, state, message, {name: (v, low, high) for name, v, low, high in coefs})
    return out


def _differences(
    old: Fit | None, new: Fit | None, relative: float, disjoint: bool, bare: float
) -> Iterator[dict[str, Any]]:
    if new is None:
        yield {"what": "gone", "message": "no file or group of the last refit has this name."}
    elif not new.works:
        if old is None or old.works or old.message != new.message:
            yield {"what": "fails", "message": new.message}
    elif old is None:
        yield {"what": "new", "message": "the earlier refit had no such file or group."}
    elif not old.works:
        yield {"what": "recovers", "message": f"it failed before: {old.message or old.status}"}
    elif old.key != new.key:
        for name in dict.fromkeys((*old.coefs, *new.coefs)):
            none = (None, None, None)
            for what, message in _moves(old.coefs.get(name, none), new.coefs.get(name, none), relative, disjoint, bare):
                before, after = (fit.coefs.get(name, none)[0] for fit in (old, new))
                yield {"what": what, "coef": name, "before": before, "after": after, "message": message}


def _moves(
    old: Coefficient, new: Coefficient, relative: float, disjoint: bool, bare: float
) -> Iterator[tuple[str, str]]:
    """(what, message) of one coefficient of two fits that both work."""
    was, low, high = old
    now, new_low, new_high = new
    if was is None or now is None:
        if was is not None or now is not None:
            yield ("loses value", "it has none now.") if now is None else ("gains value", "it had none before.")
        return
    had, has = low is not None and high is not None, new_low is not None and new_high is not None
    if had and not has:
        yield "loses interval", f"it was {low:.6g} to {high:.6g}; the new estimate has none."
    if has and not had:
        yield "gains interval", f"it is {new_low:.6g} to {new_high:.6g}; the old estimate had none."
    change = abs(now - was)
    if change <= relative * abs(was):
        return
    by = f"by {change / abs(was):.2%}" if was else f"by {change:.4g}"
    if low is None or high is None:
        if change > bare * abs(was):
            yield "moved", f"{by}, more than {bare:.2%}; there was no interval to hold it against."
    elif disjoint and new_low is not None and new_high is not None:
        if new_low > high or new_high < low:
            yield (
                "moved",
                f"{by}; the intervals {low:.6g} to {high:.6g} and {new_low:.6g} to {new_high:.6g} are disjoint.",
            )
    elif not low <= now <= high:
        yield "moved", f"{by}, out of the old interval {low:.6g} to {high:.6g}."


def safe_cell(value: Any) -> Any:
    """A text that a spreadsheet would run as a formula, made text again."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def export(store: str | Path, path: str | Path) -> Path:
    """Write the latest finished refit to a .csv (cells that a spreadsheet would run as formulas are quoted) or .parquet.

    Whole or not at all, a block of rows at a time. Raises RunsError for another ending and where nothing can be written.
    """
    target = Path(path)
    if target.suffix not in (".csv", ".parquet"):
        raise RunsError(f"cannot tell the format of {target.name!r}: end the name in .csv or .parquet.")
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with Store(store) as opened:
            rows = _rows_of(opened, _last(opened))
            (_write_csv if target.suffix == ".csv" else _write_parquet)(partial, rows)
        os.replace(partial, target)
    except OSError as error:
        raise RunsError(f"cannot write {str(target)!r}: {error.strerror or error}.") from error
    finally:
        partial.unlink(missing_ok=True)
    return target


def _write_csv(path: Path, rows: Iterator[tuple[Any, ...]]) -> None:
    import csv

    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([safe_cell(v) for v in row] for row in rows)


def _write_parquet(path: Path, rows: Iterator[tuple[Any, ...]]) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise RunsError("a Parquet file needs the package pyarrow: pip install pyarrow, or export a .csv.") from error
    from itertools import islice

    kinds = {"n_runs": pa.int64(), **dict.fromkeys(("estimate", "low", "high"), pa.float64())}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    with pq.ParquetWriter(path, schema) as writer:
        while block := list(islice(rows, _BLOCK)):
            columns = [pa.array(c, t) for c, t in zip(zip(*block, strict=True), schema.types, strict=True)]
            writer.write_table(pa.table(columns, schema=schema))
