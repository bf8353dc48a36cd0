"""A table of runs read as an isoFLOP sweep: complete in size, tokens and FLOPs, and grouped by budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.compute import Accounting
from scaling.errors import RunsError
from scaling.laws.law import Array

if TYPE_CHECKING:
    import pandas as pd

GAP = 0.2  # in ln FLOPs: runs further apart belong to different budgets
SPREAD = 0.5  # in ln FLOPs: a budget wider than this is no budget
MIN_SIZES = 4  # different sizes in a budget; three leave nothing to check a curve with


def complete_runs(runs: pd.DataFrame, compute: Accounting) -> pd.DataFrame:
    """n_params, n_tokens, flops and loss as positive numbers; of the first three, one may be missing."""
    table = runs.reset_index(drop=True).copy()
    if "loss" not in table:
        raise RunsError("isoFLOP analysis needs a column 'loss'; name yours with --column loss=HEADER.")
    missing = [c for c in ("n_params", "n_tokens", "flops") if c not in table]
    if len(missing) > 1:
        raise RunsError(f"isoFLOP analysis needs two of n_params, n_tokens, flops; missing are {', '.join(missing)}.")
    for column in ("n_params", "n_tokens", "flops", "loss"):
        if column in missing:
            continue
        values = table[column].to_numpy(dtype=float)
        bad = ~(np.isfinite(values) & (values > 0))
        if bad.any():
            raise RunsError(
                f"column {column!r} has {int(bad.sum())} values that are not positive numbers (first in row "
                f"{int(np.argmax(bad)) + 1}: {values[np.argmax(bad)]}); drop these rows."
            )
        table[column] = values
    if missing == ["flops"]:
        table["flops"] = compute.flops(table["n_params"].to_numpy(), table["n_tokens"].to_numpy())
    elif missing == ["n_tokens"]:
        table["n_tokens"] = compute.n_tokens(table["n_params"].to_numpy(), table["flops"].to_numpy())
    elif missing == ["n_params"]:
        table["n_params"] = compute.n_params(table["n_tokens"].to_numpy(), table["flops"].to_numpy())
    return table


def rows_by_budget(flops: Array) -> list[Array]:
    """Rows of each budget, smallest budget first."""
    if not len(flops):
        raise RunsError("there are no runs to find budgets in.")
    log_c = np.log(flops)
    order = np.argsort(log_c, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(log_c[order]) > GAP) + 1)
    for g in groups:
        low, high = flops[g].min(), flops[g].max()
        if np.log(high / low) > SPREAD:
            raise RunsError(
                f"the FLOPs of {len(g)} rows run on from {low:.3g} to {high:.3g} without a gap: these are not runs at fixed "
                "budgets. Keep the last row of each run, use envelope for training curves, or fit a law of the whole surface."
            )
    if len(groups) < 2:
        raise RunsError(
            f"all runs have about the same FLOPs ({flops.mean():.3g}): growth with compute needs two or more budgets."
        )
    return groups


def mixed_experiments(table: pd.DataFrame, budgets: list[Array]) -> str:
    """A sentence where a column tells several whole sweeps apart: each of its values with sizes to choose from at two or
    more budgets, and the same budgets under more than one value."""
    known = {"run", "n_params", "n_tokens", "flops", "loss", "step", "seed"}
    found = []
    for column in table.columns:
        if column in known or "seed" in str(column).lower():
            continue
        sweeps: dict[Any, int] = {}
        shared = 0
        for g in budgets:
            part = table.iloc[g]
            sizes = part.groupby(column)["n_params"].agg(lambda v: n_different(np.log(v.to_numpy(float))))
            whole = sizes[sizes >= MIN_SIZES].index
            shared += len(whole) > 1
            for value in whole:
                sweeps[value] = sweeps.get(value, 0) + 1
        if shared and (several := sum(n > 1 for n in sweeps.values())) > 1:
            found.append(f"{several} values of {column!r}")
    if not found:
        return ""
    return (
        f"the runs at a budget mix {', '.join(found)}, each a sweep of its own: if they are different experiments, their "
        "optima are averaged here; keep one with --where."
    )


def n_different(log_sizes: Array) -> int:
    """How many sizes differ by more than 0.1 %."""
    return 1 + int((np.diff(np.sort(log_sizes)) > 1e-3).sum())
