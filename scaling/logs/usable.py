"""Which rows can be used: bad ones are counted by their reason and shown by file and row, or refused."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from scaling.errors import RunsError
from scaling.logs import curves
from scaling.logs.account import Account, count_rows
from scaling.logs.cells import EMPTY, NOT_FINITE, TEXT
from scaling.logs.raw_table import named
from scaling.logs.schema import SCALES
from scaling.quantities import quote


def usable_rows(
    runs: pd.DataFrame,
    keys: np.ndarray,
    order: np.ndarray,
    target: str,
    unit: str,
    final: bool,
    drop_bad: bool,
    account: Account,
) -> np.ndarray:
    """(rows,) bool: usable rows. What is not is counted by its reason, or raised when drop_bad is False or nothing is left."""
    state, value = runs["_state"].to_numpy(), runs[target].to_numpy(dtype=float)
    good = np.ones(len(runs), dtype=bool)
    found: list[tuple[str, str, np.ndarray]] = []

    def mark(code: str, reason: str, bad: np.ndarray) -> None:
        """Count rows (rows,) bool as bad, unless an earlier reason has them."""
        bad = bad & good
        if bad.any():
            found.append((code, reason, bad))
            good[bad] = False

    if final:
        logged = np.flatnonzero(state != EMPTY)
        last = logged[curves.last_rows(keys[logged], order[logged])]
        ended_badly = keys[last[(state[last] == NOT_FINITE) | (state[last] == TEXT)]]
        longer = np.bincount(keys, minlength=keys.max() + 1) > 1
        ended_badly = ended_badly[longer[ended_badly]]
        mark("diverged", f"its run diverged (the last {target} is nan or infinite)", np.isin(keys, ended_badly))
    mark(f"missing_{target}", f"{target} is missing", state == EMPTY)
    mark(
        f"{target}_not_finite",
        f"{target} is nan or infinite",
        (state == NOT_FINITE) | ((state == 0) & ~np.isfinite(value) & (value > 0)),
    )
    mark(f"text_in_{target}", f"{target} is text", state == TEXT)
    if target == "loss" and unit != "other":
        mark("loss_not_positive", "loss is not positive", ~(value > 0))
    for column in SCALES:
        if column in runs:
            scale = runs[column].to_numpy(dtype=float)
            mark(f"{column}_not_positive", f"{column} is not positive", scale <= 0)
            mark(f"{column}_not_finite", f"{column} is infinite", np.isinf(scale))
    shown = {reason: places(runs, bad, _shown_column(reason, target, runs)) for _, reason, bad in found}
    if found and (not drop_bad or not good.any()):
        raise _unusable(runs, found, shown, target, all_bad=not good.any())
    for code, reason, bad in found:
        account.drop(code, reason, int(bad.sum()), shown[reason], warn=not code.startswith("missing_"))
    return good


def _shown_column(reason: str, target: str, runs: pd.DataFrame) -> str | None:
    column = reason.split(" ")[0]
    return column if column in runs else target if target in reason else None


def places(runs: pd.DataFrame, rows: np.ndarray, column: str | None) -> list[str]:
    """Up to five 'row 14 (0.0)', with the file where there are several."""
    at = np.flatnonzero(rows)[:5]
    several = runs["_file"].iloc[0] != runs["_file"].iloc[-1] or runs["_file"].nunique() > 1
    listed = []
    for i in at:
        row = runs.iloc[i]
        place = f"row {row['_row']}" + (f" of {named(row['_file'])}" if several else "")
        if column is not None:
            logged = row["_logged"] if isinstance(row["_logged"], str) and row["_state"] else None
            number = row[column]
            place += f" ({'empty' if row['_state'] == EMPTY else quote(logged, 20) if logged else f'{number:.6g}'})"
        listed.append(place)
    return listed


def _unusable(
    runs: pd.DataFrame,
    found: list[tuple[str, str, np.ndarray]],
    shown: Mapping[str, list[str]],
    target: str,
    *,
    all_bad: bool,
) -> RunsError:
    code, reason, bad = max(found, key=lambda f: int(f[2].sum())) if all_bad else found[0]
    where = named(runs["_file"].iloc[0]) if runs["_file"].nunique() == 1 else f"{runs['_file'].nunique()} files"
    count = int(bad.sum())
    listed = ", ".join(shown[reason]) + (", ..." if count > 5 else "")
    way = {
        "loss_not_positive": "Drop these rows, name the metric you meant with target='error_rate', or say --loss-unit other if it may be negative",
        "missing_loss": "Map the column that holds the loss with --column loss=NAME",
    }.get(code, "Drop these rows or mend them")
    if all_bad:
        others = "; ".join(f"{count_rows(int(b.sum()))}: {r}" for _, r, b in found if r != reason)
        return RunsError(
            f"No usable row is left of the {len(runs)} in {where}: {count_rows(count)}: {reason} ({listed})"
            f"{'; ' + others if others else ''}. {way}."
        )
    return RunsError(f"{count_rows(count).capitalize()} of {where} cannot be used: {reason} ({listed}). {way}.")
