"""When to start the cooldown, and which rows of a log may enter a fit over size and data.

Sources: Haegele et al. 2024, arXiv:2405.18392; Tissue et al. 2024, arXiv:2408.11029.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from scaling.errors import LawError, RunsError
from scaling.laws.annealing import annealing_features
from scaling.laws.law import Array

SHAPES = ("linear", "sqrt")
SHARES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)


def schedule(steps: int, peak: float, cooldown: float, *, warmup: int = 0, shape: str = "sqrt") -> Array:
    """Learning rates (steps,): warm-up, constant, and a cooldown to zero over the last share `cooldown`.

    shape "sqrt" falls like 1 - sqrt of the part done, "linear" straight.
    """
    if shape not in SHAPES:
        raise LawError(f"shape is one of {', '.join(SHAPES)}, not {shape!r}.")
    if not (steps > warmup >= 0 and 0 <= cooldown <= 1 and peak > 0):
        raise LawError("give more steps than warm-up, a cooldown between 0 and 1, and a positive peak.")
    lr = np.full(steps, float(peak))
    if warmup:
        lr[:warmup] = peak * (np.arange(warmup) + 1) / warmup
    n = round(cooldown * (steps - warmup))
    if n:
        part = (np.arange(n) + 1) / n
        lr[-n:] = peak * (1 - (np.sqrt(part) if shape == "sqrt" else part))
    return lr


def best_cooldown(
    fitted: Any,
    steps: int,
    peak: float,
    *,
    shares: Sequence[float] = SHARES,
    decay: float = 0.999,
    warmup: int = 0,
    shape: str = "sqrt",
) -> pd.DataFrame:
    """Final loss of each cooldown share under a fitted annealing law, the least first: cooldown, loss, at_edge.

    fitted : a fit or published entry of the law "annealing", whose coefficients hold for one model and one peak rate. The law
    rewards annealing without end when schedules are free; among ordinary ones of one peak it ranks well. at_edge marks a best
    share that is the largest tried.
    """
    if fitted.law.name != "annealing":
        raise LawError(f"best_cooldown is for the law 'annealing', not {fitted.law.name!r}.")
    theta = np.asarray((getattr(fitted, "of", None) or fitted).theta, float)
    rows = []
    for share in shares:
        s1, s2 = annealing_features(schedule(steps, peak, share, warmup=warmup, shape=shape), decay, warmup or None)
        rows.append((share, float(fitted.law.predict({"lr_sum": s1[-1:], "lr_annealed": s2[-1:]}, theta)[0])))
    table = pd.DataFrame(rows, columns=["cooldown", "loss"]).sort_values("loss", kind="stable", ignore_index=True)
    return table.assign(at_edge=[i == 0 and c == max(shares) for i, c in enumerate(table["cooldown"])])


def valid_for_fit(
    curves: pd.DataFrame, *, run: str = "run", lr: str = "lr", step: str = "step", left: float = 0.1
) -> pd.Series:
    """True for the rows of training curves that lie on L(N, D): the rate has fallen to `left` of the run's peak or below.

    Rows before the decay have a loss that the same tokens would undercut with a schedule of their own length. A run without
    any decay has no valid row. Returns a boolean Series on the index of `curves`; RunsError for missing columns.
    """
    for column in (run, lr, step):
        if column not in curves:
            raise RunsError(f"no column {column!r}; columns: {', '.join(map(str, curves.columns))}.")
    ordered = curves.sort_values([run, step], kind="stable")
    peak = ordered.groupby(run)[lr].transform("max")
    after = (
        ordered[lr].eq(peak).astype(int).groupby(ordered[run]).cummax().astype(bool)
    )  # from the peak on: warm-up is as low as decay
    return (after & (ordered[lr] <= left * peak)).reindex(curves.index)
