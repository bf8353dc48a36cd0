"""Is there a second descent? Where is the peak, how tall, and which side of it is better?

The claim does not rest on a picture nor on one curve family: a peak is a rise followed by a fall, both larger than noise
makes on *any* curve that only falls, only rises, or is U-shaped (`peak_test`). Its place, height and width come from a
power law with the variance peak of ridge regression, compared with curves that have no peak. Complexity can be measured by
effective parameters instead of size (Curth et al. 2023, arXiv:2310.18988).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from scaling.curves.band import Band
from scaling.curves.descent_result import DoubleDescent
from scaling.curves.effective_parameters import effective_parameters, least_squares_smoother, neighbours_smoother
from scaling.curves.observed_peak import (
    better_side,
    fitted_from,
    fold_of_peak,
    least_value,
    normal_quantile,
    range_of_peak,
    slope_of,
)
from scaling.curves.peak_evidence import NOISE_FLOOR, PeakTest, effective_counts, peak_test
from scaling.curves.peak_families import Families, compare_families, peak_bands, simulated_peaks
from scaling.curves.peak_profile import place_of_top
from scaling.curves.sweep_points import AXIS_COLUMNS, FEWEST_POINTS, VALUE_COLUMNS, sweep_of
from scaling.errors import RunsError
from scaling.progress import Bar, Report

__all__ = [
    "AXIS_COLUMNS",
    "FEWEST_POINTS",
    "VALUE_COLUMNS",
    "DoubleDescent",
    "PeakTest",
    "double_descent",
    "double_descents",
    "effective_parameters",
    "least_squares_smoother",
    "neighbours_smoother",
    "peak_test",
]


def double_descent(
    table: pd.DataFrame,
    axis: str | None = None,
    value: str | None = None,
    *,
    replicate: str | None = None,
    centre: str = "mean",
    train: str | None = None,
    fitted_at: float | None = None,
    n_samples: float | None = None,
    level: float = 0.95,
    n_resamples: int = 200,
    rng: int = 0,
    progress: Report | None = None,
) -> DoubleDescent:
    """Test for, locate and measure a double descent along one axis (size, training time or samples).

    Parameters
    ----------
    table : one row per run (or per run and epoch). axis, value : columns, both positive; by default the first of
        AXIS_COLUMNS and VALUE_COLUMNS in the table. Rows with the same axis value are repeats; a warning names columns
        that look like conditions of an experiment among them. An accuracy is analysed as the error 1 - accuracy.
    replicate : column that names the repeat ('seed' when there is one); used when a long curve is averaged in bins.
    centre : "mean" (of logs) or "median" over repeats, for heavy tails.
    train : column of training accuracy (its name holds 'acc') or training error; the threshold is where its centre
        first passes `fitted_at` (0.99, or 0.01 for an error or loss).
    n_samples : training-set size, reported beside the peak. n_resamples : simulated curves behind the intervals.
    progress : called with (work done, work in all); what it raises ends the work.

    Raises RunsError for missing columns, values that are not positive, or fewer than 6 distinct axis values.
    """
    if centre not in ("mean", "median"):
        raise RunsError(f"centre is 'mean' or 'median', not {centre!r}.")
    if not 0 < level < 1:
        raise RunsError(f"level lies between 0 and 1, not {level}.")
    warnings: list[str] = []
    sweep = sweep_of(table, axis, value, replicate, train, warnings)
    x, logs = sweep.x, sweep.logs
    bar = Bar(progress)
    of_test, of_families, of_simulated, of_place = bar.parts(1, 6, 1, 3)
    test = peak_test(x, logs, centre=centre)
    of_test(1, 1)
    middle = np.array([np.median(v) if centre == "median" else np.mean(v) for v in logs])
    counts = effective_counts(logs, centre)
    found = test.p_value <= 1 - level
    if not test.from_replicates:
        warnings.append("no repeats: the noise is estimated from neighbouring points, as if they were independent.")

    y = np.exp(middle)
    inside = slice(test.left, test.right + 1)
    peak = test.left + int(np.argmax(y[inside])) if found else int(np.argmax(y))
    before, after = least_value(x, y, 0, peak), least_value(x, y, peak + 1, len(x))
    families = compare_families(x, y, counts, sweep.axis, sweep.value, of_families)
    spread = np.maximum(test.noise, NOISE_FLOOR) / np.sqrt(counts)
    draws = simulated_peaks(families, x, y, spread, n_resamples if found else 0, rng)
    of_simulated(1, 1)
    height, width = peak_bands(families.peaked, draws, x, level)
    location = Band(np.nan, np.nan, np.nan, level)
    if families.peaked is not None:
        variance = max(test.noise, NOISE_FLOOR) ** 2 if test.from_replicates else 0.0
        place = place_of_top(x, middle, counts, variance, test.dof, level, families.peaked, of_place)
        location = Band(place.estimate, place.low, place.high, level)
    threshold = np.nan
    if train is not None:
        threshold = fitted_from(sweep.table, sweep.rows_at, train, fitted_at, warnings)
    if found:
        warnings += _doubts(families)
    bar(1, 1)
    z = normal_quantile(0.5 + level / 2)
    points = pd.DataFrame(
        {
            sweep.axis: x,
            "value": y,
            "low": np.exp(middle - z * spread),
            "high": np.exp(middle + z * spread),
            "n": [len(v) for v in logs],
            "expected": families.expected(x),
        }
    )
    first_end = int(np.argmin(y[: peak + 1]))
    recovered = np.flatnonzero((x > x[peak]) & (y < before[1]))  # none where nothing lies before: nan
    return DoubleDescent(
        axis=sweep.axis,
        value=sweep.value,
        points=points,
        models=families.models,
        test=test,
        found=found,
        peak_at=float(x[peak]),
        peak_range=range_of_peak(x, middle, counts, test.noise, peak, level),
        peak_value=float(y[peak]),
        fold=fold_of_peak(middle, counts, test.noise, peak, level),
        before=before,
        after=after,
        better=better_side(logs, middle, counts, test.noise, peak, level),
        location=location,
        height=height,
        width=width,
        first_rate=slope_of(x[: first_end + 1], y[: first_end + 1], level),
        second_rate=slope_of(x[peak:], y[peak:], level),
        recovers_at=float(x[recovered[0]]) if len(recovered) else np.nan,
        threshold=threshold,
        n_samples=np.nan if n_samples is None else float(n_samples),
        level=level,
        theta=families.theta,
        laws=families.laws,
        warnings=tuple(warnings),
    )


def _doubts(families: Families) -> list[str]:
    """What speaks against the fitted peak, where the points have one."""
    found = []
    if len(families.models) and not families.models["model"].iloc[0].startswith(("double", "broken")):
        found.append(
            f"the curve family with the least AICc is {families.models['model'].iloc[0]}, which has no peak: "
            "trust the observed place more than the fitted one."
        )
    if families.peaked is not None and families.peaked[-1] < 1e-5:
        found.append(
            "the fitted peak has no rounded top: its height follows from where the axis happens to be sampled."
        )
    return found


def double_descents(
    table: pd.DataFrame, by: str | Sequence[str], *, progress: Report | None = None, **options: Any
) -> dict[Any, DoubleDescent]:
    """`double_descent` for each group of a table (label noise, penalty, ...): {group: result}, groups sorted.

    progress : called with (work done, work in all); what it raises ends the work.
    """
    columns = [by] if isinstance(by, str) else list(by)
    for column in columns:
        if column not in table:
            raise RunsError(f"no column {column!r} to group by; columns: {', '.join(map(str, table.columns))}.")
    groups = list(table.groupby(columns, sort=True))
    return {
        (key[0] if len(columns) == 1 else key): double_descent(rows, **options, progress=part)
        for (key, rows), part in zip(groups, Bar(progress).each(len(groups)), strict=True)
    }
