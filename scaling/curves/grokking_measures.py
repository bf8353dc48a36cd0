"""One run: from which step it knows its training set, from which the rule, and what lies between."""

from __future__ import annotations

from typing import Any

import numpy as np

from scaling.laws.law import Array

LEAST_GAP = 0.2  # accuracy by which validation trails on average (in log time) during the delay


def sustained(steps: Array, values: Array, threshold: float, count: int) -> int:
    """Index of the first of `count` consecutive values at or above the threshold, or -1. steps, values : (n,)."""
    above = np.concatenate([[0], np.cumsum(np.asarray(values) >= threshold)])
    if len(values) < count:
        return -1
    starts = np.flatnonzero(above[count:] - above[:-count] == count)
    return int(starts[0]) if len(starts) else -1


def measures_of_run(
    steps: Array, train: Array, val: Array, train_threshold: float, threshold: float, sustain: int, least_ratio: float
) -> dict[str, Any]:
    """Columns of `Grokking.runs` for one run: steps, training and validation accuracy (n,), steps rising."""
    i, j = sustained(steps, train, train_threshold, sustain), sustained(steps, val, threshold, sustain)
    first_positive = steps[steps > 0][0]

    def before(k: int) -> float:
        return max(steps[k - 1] if k else 0.0, first_positive)

    def at(k: int) -> float:
        return max(steps[k], first_positive)

    out: dict[str, Any] = {
        "memorised": steps[i] if i >= 0 else np.nan,
        "generalised": steps[j] if j >= 0 else np.nan,
        "delay": steps[j] - steps[i] if min(i, j) >= 0 else np.nan,
        "ratio": np.nan,
        "ratio_low": np.nan,
        "ratio_high": np.nan,
        "gap": np.nan,
        "status": "not memorised",
    }
    if i >= 0:
        until = j if j >= 0 else len(steps) - 1
        out["ratio_low"] = (before(j) if j >= 0 else at(until)) / at(i)
        out["ratio_high"] = at(j) / before(i) if j >= 0 else np.inf
        out["ratio"] = at(j) / at(i) if j >= 0 else np.nan
        if until > i:
            t = np.log(np.maximum(steps[i : until + 1], first_positive))
            trailing = train[i : until + 1] - val[i : until + 1]
            span = t[-1] - t[0]
            out["gap"] = float(np.sum((trailing[1:] + trailing[:-1]) / 2 * np.diff(t)) / span) if span > 0 else 0.0
        else:
            out["gap"] = 0.0
        late = out["ratio_low"] >= least_ratio and out["gap"] >= LEAST_GAP
        out["status"] = "memorised only" if j < 0 else "grokked" if late else "prompt"
    out["sharpness"] = _sharpness(steps, val, j, sustain, first_positive)
    above = np.flatnonzero(val >= 0.99)
    after = val[j:] if j >= 0 else np.array([])
    return out | {
        "first_99": steps[above[0]] if len(above) else np.nan,
        "maximum": val.max(),
        "final": val[-1],
        "lowest_after": after.min() if len(after) else np.nan,
        "drops_95": float((after < 0.95).sum()) if len(after) else np.nan,
        "drops_90": float((after < 0.90).sum()) if len(after) else np.nan,
        "last_step": steps[-1],
    }


def _sharpness(steps: Array, val: Array, j: int, sustain: int, first_positive: float) -> float:
    """Decades from 10 to 90 % of the way between the start and the level reached when the threshold is held."""
    if j < 0:
        return np.nan
    start, top = val[0], np.median(val[j : j + sustain])
    low, high = (start + share * (top - start) for share in (0.1, 0.9))
    reached = np.flatnonzero(val[: j + 1] >= high)
    end = reached[0] if len(reached) else j
    below = np.flatnonzero(val[: end + 1] <= low)
    begin = below[-1] if len(below) else 0
    t = np.log10(np.maximum(steps[[begin, end]], first_positive))
    return float(t[1] - t[0])
