"""Axes, colours and titles that every chart shares."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from scaling.laws.law import Array

OPTIMUM = "#d62728"
INK = "#4c78a8"
MUTED = "#7f7f7f"  # readable on light and dark
VIRIDIS = alt.SchemeParams(name="viridis", extent=[0.25, 0.95])  # without the ends that a theme swallows
POINTS = 150  # of a drawn curve
MOST_CURVES = 12  # isoFLOP curves drawn; more budgets are thinned evenly
MOST_MARKS = 10_000
TITLES = {
    "n_params": "model size N [parameters]", "n_tokens": "training tokens D", "flops": "training compute C [FLOPs]",
    "loss": "loss", "n_unique_tokens": "unique tokens",
}  # fmt: skip
POWER = "'10' + replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(toString(round(log(datum.value)/LN10)),'-','\u207b'),/0/g,'\u2070'),/1/g,'\u00b9'),/2/g,'\u00b2'),/3/g,'\u00b3'),/4/g,'\u2074'),/5/g,'\u2075'),/6/g,'\u2076'),/7/g,'\u2077'),/8/g,'\u2078'),/9/g,'\u2079')"
COUNT = "datum.value < 1 ? format(datum.value, '~g') : replace(format(datum.value, '~s'), 'G', 'B')"


def ends_of(values: Any) -> tuple[float, float]:
    v = np.asarray(values, dtype=float)
    v = v[np.isfinite(v) & (v > 0)]
    return float(v.min()), float(v.max())


def log_scale(values: Any) -> alt.Scale:
    low, high = ends_of(values)
    return alt.Scale(type="log", domain=[low / 1.1, high * 1.1], nice=False)


def decades(values: Any) -> list[float]:
    low, high = ends_of(values)
    return [10.0**k for k in range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)]


def decades_within(values: Any) -> list[float]:
    """Powers of ten for a legend: colours outside the range of the values would be guesses."""
    low, high = ends_of(values)
    inside = [t for t in decades(values) if low / 1.01 <= t <= high * 1.01]
    return inside or decades(values)


def log_axis(values: Any, powers: bool = False) -> alt.Axis:
    """Ticks of a log axis: 1-2-5 per decade up to 2.5 decades, else one per decade."""
    low, high = ends_of(values)
    tens = decades(values)
    ticks = [t * m for t in tens for m in (1, 2, 5)] if np.log10(high / low) <= 2.5 and not powers else tens
    ticks = [t for t in ticks if low / 1.1 <= t <= high * 1.1]
    return alt.Axis(values=ticks, labelExpr=POWER if powers else COUNT, grid=False)


def padded(values: Array) -> list[float]:
    """Ends of a linear axis: those of the finite values, and 4 % of their range around."""
    v = np.asarray(values, dtype=float)
    v = v[np.isfinite(v)]
    margin = 0.04 * (float(np.ptp(v)) or 1.0)
    return [float(v.min() - margin), float(v.max() + margin)]


def headline(finding: str, subtitle: str) -> alt.Title:
    """The first sentence of a finding as a title of one or two lines."""
    from textwrap import wrap

    sentence = finding.split(". ")[0].rstrip(".")
    return alt.Title(wrap(sentence, 95)[:3], subtitle=subtitle, anchor="start", fontSize=13, subtitleColor=MUTED)
