"""What the points themselves say of a peak: its place and fold, the minimum on each side, the slopes, the threshold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from scaling.curves.band import Band
from scaling.laws.law import Array


def least_value(x: Array, y: Array, start: int, stop: int) -> tuple[float, float]:
    """(x, y) of the least value among points start to stop - 1; nan, nan where there are none."""
    if stop <= start:
        return (np.nan, np.nan)
    i = start + int(np.argmin(y[start:stop]))
    return float(x[i]), float(y[i])


def range_of_peak(x: Array, middle: Array, counts: Array, noise: float, peak: int, level: float) -> tuple[float, float]:
    """Points whose value is not below the highest by more than the noise of a comparison with every other point."""
    behind = (middle[peak] - middle) / (noise * np.sqrt(1 / counts + 1 / counts[peak]))
    close = np.flatnonzero(behind < normal_quantile(1 - (1 - level) / max(len(x) - 1, 1)))
    return float(x[close[0]]), float(x[close[-1]])


def fold_of_peak(middle: Array, counts: Array, noise: float, peak: int, level: float) -> Band:
    """The highest value over the least before it, with the interval that noise gives their ratio."""
    if peak == 0:
        return Band(np.nan, np.nan, np.nan, level)
    i = int(np.argmin(middle[:peak]))
    up = middle[peak] - middle[i]
    reach = normal_quantile(0.5 + level / 2) * noise * np.sqrt(1 / counts[i] + 1 / counts[peak])
    return Band(float(np.exp(up)), float(np.exp(up - reach)), float(np.exp(up + reach)), level)


def better_side(logs: Sequence[Array], middle: Array, counts: Array, noise: float, peak: int, level: float) -> str:
    """Which minimum is lower: by the spread at the two points where both have repeats (a peak is noisier than they are)."""
    from scipy.special import stdtrit

    if peak in (0, len(middle) - 1):
        return "undecided"
    i, k = int(np.argmin(middle[:peak])), peak + 1 + int(np.argmin(middle[peak + 1 :]))
    # minima are chosen, so noise pulls both down: ask for the level of a comparison of all pairs
    q = 1 - (1 - level) / (2 * max(peak, len(middle) - peak - 1))
    bar = normal_quantile(q)
    if min(len(logs[i]), len(logs[k])) > 2:
        df = len(logs[i]) + len(logs[k]) - 2
        noise = float(np.sqrt(sum(((logs[j] - logs[j].mean()) ** 2).sum() for j in (i, k)) / df))
        bar = float(stdtrit(df, q))
    difference = middle[i] - middle[k]
    reach = bar * noise * np.sqrt(1 / counts[i] + 1 / counts[k])
    return "after" if difference > reach else "before" if difference < -reach else "undecided"


def slope_of(x: Array, y: Array, level: float) -> Band:
    """Slope of ln y in ln x with its t interval; nan with fewer than 3 points."""
    from scipy.special import stdtrit

    if len(x) < 3:
        return Band(np.nan, np.nan, np.nan, level)
    t, z = np.log(x) - np.log(x).mean(), np.log(y)
    slope = float(t @ z / (t @ t))
    residual = z - z.mean() - slope * t
    reach = float(stdtrit(len(x) - 2, 0.5 + level / 2)) * np.sqrt(residual @ residual / (len(x) - 2) / (t @ t))
    return Band(slope, slope - reach, slope + reach, level)


def fitted_from(table: pd.DataFrame, x: Array, train: str, fitted_at: float | None, warnings: list[str]) -> float:
    """Smallest x at which the training set is fitted: accuracy at least, or error at most, `fitted_at`; nan if never."""
    accuracy = "acc" in train.lower()
    bar = (0.99 if accuracy else 0.01) if fitted_at is None else fitted_at
    values = pd.to_numeric(table[train], errors="coerce").groupby(x).median()
    passed = values.index[(values >= bar) if accuracy else (values <= bar)]
    if not len(passed):
        warnings.append(f"the training set is never fitted: {train} does not pass {bar:g}.")
        return np.nan
    return float(passed[0])


def normal_quantile(q: float) -> float:
    """Standard normal quantile."""
    from scipy.special import ndtri

    return float(ndtri(q))
