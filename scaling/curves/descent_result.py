"""What a sweep says about double descent, as numbers, sentences and a document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from scaling.curves.band import Band
from scaling.curves.peak_evidence import N_NULL, PeakTest
from scaling.curves.plain import plain, records
from scaling.laws.law import Array, Law

SCHEMA = "scaling.descent/1"


@dataclass(frozen=True)
class DoubleDescent:
    """What a sweep says about double descent.

    points : axis, value (geometric mean or median over repeats), low, high (interval from the noise), n, and expected
        (the curve with the peak). models : model, n_coefs, rmse_log, aicc, weight; the best first.
    test : the evidence for a peak. found : p_value at most 1 - level.
    peak_at, peak_value : the highest observed point between the two descents; peak_range : the stretch of points about it
        that noise may hide the highest of. fold : observed peak over the least value before it, interval from the noise.
    before, after : (x, value) of the least observed value on each side of it. better : "after", "before" or "undecided" at `level`.
    location : where the fitted curve is highest between its two descents, in units of the axis, with the places that the
        runs allow (profile of the fit). Given whether or not a peak is `found`: where it would be if there is one. nan at an
        end that they leave open.
    height, width : of the fitted peak: value at the peak over the trend there; decades over which more than half of the
        excess remains. Intervals from curves simulated from the fit.
    first_rate, second_rate : slopes of ln value in ln axis down to the first minimum and down from the peak.
    recovers_at : smallest x beyond the peak with a value below the least before it; nan where there is none.
    threshold : smallest x at which the training set is fitted; nan where not given. n_samples : as given.
    """

    axis: str
    value: str
    points: pd.DataFrame
    models: pd.DataFrame
    test: PeakTest
    found: bool
    peak_at: float
    peak_range: tuple[float, float]
    peak_value: float
    fold: Band
    before: tuple[float, float]
    after: tuple[float, float]
    better: str
    location: Band
    height: Band
    width: Band
    first_rate: Band
    second_rate: Band
    recovers_at: float
    threshold: float
    n_samples: float
    level: float
    theta: Mapping[str, Array] = field(repr=False)
    laws: Mapping[str, Law] = field(repr=False)
    warnings: tuple[str, ...] = ()

    @property
    def finding(self) -> str:
        """One sentence."""
        sure = f"p = {self.test.p_value:.2g}" if self.test.p_value > 1 / N_NULL else f"p < {1 / N_NULL:.2g}"
        if not self.found:
            best = self.models["model"].iloc[0] if len(self.models) else "none"
            return (
                f"No double descent in {self.value} along {self.axis}: no rise followed by a fall that noise does not "
                f"make ({sure}); the curve with the least AICc is {best.replace('_', ' ')}."
            )
        side = {
            "after": f"the far side is better ({self.after[1]:.3g} at {self.after[0]:.4g} against {self.before[1]:.3g} at "
            f"{self.before[0]:.4g})",
            "before": f"the near side is better ({self.before[1]:.3g} at {self.before[0]:.4g} against {self.after[1]:.3g} "
            f"at {self.after[0]:.4g})",
            "undecided": f"neither side is clearly better ({self.before[1]:.3g} at {self.before[0]:.4g}, "
            f"{self.after[1]:.3g} at {self.after[0]:.4g})",
        }[self.better]
        return (
            f"Double descent: {self.value} peaks at {self.axis} = {self.peak_at:.4g}, {self.fold.estimate:.3g} times its earlier "
            f"minimum ({sure}); {side}."
        )

    def expected(self, x: Array) -> Array:
        """Values (m,) of the fitted curve with a peak at axis values x (m,)."""
        with np.errstate(over="ignore"):
            return self.laws["double_descent"].predict({self.axis: np.asarray(x, float)}, self.theta["double_descent"])

    def worse_than_smaller(self) -> list[tuple[float, float]]:
        """Stretches (from, to) of the axis where the observed value is above its best at smaller x."""
        x, y = self.points[self.axis].to_numpy(float), self.points["value"].to_numpy(float)
        above = y > np.minimum.accumulate(y)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], above.astype(int), [0]])))
        return [(float(x[a]), float(x[b - 1])) for a, b in zip(edges[::2], edges[1::2], strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able values; nan and infinities become None."""
        bands = ("fold", "location", "height", "width", "first_rate", "second_rate")
        return {
            "schema": SCHEMA,
            "finding": self.finding,
            "axis": self.axis,
            "value": self.value,
            "found": self.found,
            "level": self.level,
            "test": {k: plain(getattr(self.test, k)) for k in PeakTest.__dataclass_fields__},
            "peak": {"at": plain(self.peak_at), "range": list(self.peak_range), "value": plain(self.peak_value)},
            "before": {"at": plain(self.before[0]), "value": plain(self.before[1])},
            "after": {"at": plain(self.after[0]), "value": plain(self.after[1])},
            "better": self.better,
            **{k: getattr(self, k).to_dict() for k in bands},
            "recovers_at": plain(self.recovers_at),
            "threshold": plain(self.threshold),
            "n_samples": plain(self.n_samples),
            "worse_than_smaller": [list(s) for s in self.worse_than_smaller()],
            "coefs": {k: dict(zip(self.laws[k].coef_names, map(float, v), strict=True)) for k, v in self.theta.items()},
            "models": records(self.models),
            "points": records(self.points),
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        lines = [self.finding, ""]
        if self.found:
            lines.append(
                f"{'peak':<12} {self.peak_at:.4g}  ({self.peak_range[0]:.4g} to {self.peak_range[1]:.4g}), observed"
            )
            for name in ("fold", "location", "height", "width", "first_rate", "second_rate"):
                b = getattr(self, name)
                low, high = (f"{end:.4g}" if np.isfinite(end) else "open" for end in (b.low, b.high))
                lines.append(f"{name.replace('_', ' '):<12} {b.estimate:.4g}  ({low} to {high})")
            if np.isfinite(self.threshold):
                lines.append(f"{'threshold':<12} {self.threshold:.4g}  (training set fitted)")
            if np.isfinite(self.n_samples):
                lines.append(f"{'n samples':<12} {self.n_samples:.4g}")
            lines.append("")
        lines.append(self.models.to_string(index=False, float_format=lambda v: f"{v:.4g}"))
        return "\n".join([*lines, *(f"note: {w}" for w in self.warnings)])
