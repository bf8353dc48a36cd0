"""Model size, tokens and compute: whichever of the three a row lacks follows from the other two."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from scaling.errors import RunsError
from scaling.logs.account import Account, count_rows
from scaling.logs.schema import SCALES
from scaling.quantities import format_quantity, quote


class _SixND:
    """C = 6 N D: two FLOPs for the forward and four for the backward pass, per parameter and token."""

    name = "6ND"

    def flops(self, n: np.ndarray, d: np.ndarray) -> np.ndarray:
        return 6 * n * d

    def tokens(self, n: np.ndarray, c: np.ndarray) -> np.ndarray:
        return c / (6 * n)

    def params(self, d: np.ndarray, c: np.ndarray) -> np.ndarray:
        return c / (6 * d)


def accounting_of(given: Any) -> Any:
    """The accounting asked for: '6ND', or an object with flops, tokens and params; RunsError for anything else."""
    if given == "6ND":
        return _SixND()
    if all(callable(getattr(given, name, None)) for name in ("flops", "tokens", "params")):
        return given
    raise RunsError(
        f"unknown accounting of FLOPs {quote(given)}; known: 6ND, or an object with flops, tokens and params."
    )


def fill_in(runs: pd.DataFrame, accounting: Any, account: Account) -> dict[str, int]:
    """Compute whichever of N, D, C a row lacks from the other two, and hold C against 6 N D where the file has all three."""
    N, D, C = (runs[c].to_numpy(dtype=float).copy() if c in runs else np.full(len(runs), np.nan) for c in SCALES)
    with np.errstate(all="ignore"):
        usable_n, usable_d, usable_c = (np.isfinite(v) & (v > 0) for v in (N, D, C))
        known = usable_n & usable_d & usable_c
        _note_accounting(N, D, np.where(known, C, np.nan), known, accounting, account)
        fill_c = np.isnan(C) & usable_n & usable_d
        fill_d = np.isnan(D) & usable_n & usable_c
        fill_n = np.isnan(N) & usable_d & usable_c
        C[fill_c] = accounting.flops(N, D)[fill_c]
        D[fill_d] = accounting.tokens(N, C)[fill_d]
        N[fill_n] = accounting.params(D, C)[fill_n]
    filled = {}
    name = getattr(accounting, "name", "the accounting given")
    for column, values, mask in (("flops", C, fill_c), ("n_tokens", D, fill_d), ("n_params", N, fill_n)):
        if mask.any():
            runs[column] = values
            filled[column] = int(mask.sum())
            others = " and ".join(c for c in SCALES if c != column)
            account.note(
                f"filled_{column}", f"{column} was computed from {others} ({name}) in {count_rows(filled[column])}"
            )
    return filled


def _note_accounting(
    N: np.ndarray, D: np.ndarray, C: np.ndarray, known: np.ndarray, accounting: Any, account: Account
) -> None:
    if known.any():
        ratio = float(np.median(C[known] / accounting.flops(N, D)[known]))
        if abs(ratio - 1) > 0.1:
            name = getattr(accounting, "name", "the accounting given")
            message = f"flops is {ratio:.3g} times {name} (median of {int(known.sum())} rows)"
            for power, hint in ((9, "billions"), (6, "millions"), (12, "trillions"), (3, "thousands")):
                if abs(math.log10(ratio) - power) < 0.3:
                    message += f", as if n_params or n_tokens were in {hint}; if so, scale it with --column n_params=NAME*1e{power}"
                if abs(math.log10(ratio) + power) < 0.3:
                    message += f", as if flops were in units of 1e{power} FLOPs; if so, scale it with --column flops=NAME*1e{power}"
            account.note("flops_not_6nd", message)
    sizes = N[np.isfinite(N) & (N > 0)]
    if len(sizes) and sizes.max() < 1e4:
        low, high = format_quantity(sizes.min()), format_quantity(sizes.max())
        account.note(
            "small_n_params",
            f"n_params looks like billions or millions: it runs from {low} to {high}. "
            "If so, scale it with --column n_params=NAME*1e9; models of fewer than 10,000 parameters are rare",
        )
