"""What scores say about one ability, as numbers, forecasts, sentences and a document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from scaling.curves import binomial as curves
from scaling.curves.band import Band, band_text, natural_band
from scaling.curves.binomial import FLOOR, Box
from scaling.curves.emergence_bands import critical_drop, places_reached, within_drop
from scaling.curves.emergence_fits import SHAPE_OF, SHAPES
from scaling.curves.plain import plain, records
from scaling.laws.law import Array

SCHEMA = "scaling.emergence/1"


@dataclass(frozen=True)
class Emergence:
    """What a table of scores says about one ability.

    points : one row per score: the scale column, score, n_items, low and high (exact interval for the true rate),
        expected (best curve), inside (between 10 and 90 % of the way).
    models : model, words, n_coefs, deviance, aicc, bic, weight; sorted, the best first.
    theta : {shape: (4,) middle, width, floor, ceiling}, in log10 of the scale where `log_x`.
    verdict : "sudden", "gradual", "undecided" or "no change"; `reason` says why in words.
    width : decades (or units of x) from 10 to 90 % of the way, bounds by profile likelihood over all four curves.
    middle : scale at which half of the way is done, in units of x. ceiling : the score it approaches.
    onset : scale at which the expected score passes chance by `onset_gain`.
    p_change : of a constant score (simulated likelihood ratio). p_corner : of the smooth curves against one with a
        corner or a jump, likewise.
    dispersion : variance of the scores over that of independent items (below 1 a variance where items are not given).
    draws : {shape: (R, 4)}, coefficients given the scores, shapes weighted by AICc: what a chain of models needs.
    region : {shape: (theta (S, 4), drop (S,))}, curves spread over all that the scores allow with the log likelihood each
        loses to the best (over the dispersion); bands of forecasts, onset and ceiling are the extremes over those within
        the critical value, so that they hold at the edge cases where a bell curve does not.
    """

    x: str
    score: str
    log_x: bool
    flipped: bool
    points: pd.DataFrame
    models: pd.DataFrame
    theta: Mapping[str, Array]
    verdict: str
    reason: str
    sudden_width: float | None
    width: Band
    middle: Band
    ceiling: Band
    onset: Band
    onset_gain: float
    p_change: float
    p_corner: float
    dispersion: float
    n_inside: int
    level: float
    draws: Mapping[str, Array] = field(repr=False)
    region: Mapping[str, tuple[Array, Array]] = field(repr=False)
    counted: bool
    box: Box = field(repr=False)
    warnings: tuple[str, ...] = ()

    # --- what follows ------------------------------------------------------------------------------------------------

    @property
    def best(self) -> str:
        """Name of the curve (of the four) with the least AICc."""
        return str(next(m for m in self.models["model"] if m in SHAPE_OF))

    @property
    def unit(self) -> str:
        """Of `width`."""
        return "decades" if self.log_x else "units"

    def expected(self, x: Array) -> Array:
        """The best curve's scores (m,) at scales x (m,)."""
        return curves.mean(SHAPE_OF[self.best], self._working(x), self.theta[self.best])

    def score_draws(self, x: Array) -> Array:
        """Expected scores (R, ..., m) at scales x (..., m): each draw is a curve that the observed scores allow.

        Shapes are mixed by their AICc weights, so that the spread contains not knowing the form.
        """
        at = self._working(x)
        parts = []
        for name, theta in self.draws.items():
            shaped = theta.reshape(len(theta), *(1,) * (max(at.ndim, 1) - 1), 4)
            parts.append(curves.mean(SHAPE_OF[name], at, shaped))
        return np.concatenate(parts)

    def forecast(
        self, x: Array | list[float], *, level: float | None = None, n_items: int | None = None
    ) -> pd.DataFrame:
        """Scores to expect at scales x (m,): the x column, score, low, high, and how many decades beyond the data.

        n_items : gives the band of an observed score on that many items instead of the band of the true rate.
        """
        level = self.level if level is None else level
        at = np.atleast_1d(np.asarray(x, float))
        allowed = np.concatenate(
            [curves.mean(SHAPE_OF[k], self._working(at), t) for k, t in self._allowed(level).items()]
        )
        low, high = allowed.min(axis=0), allowed.max(axis=0)
        middle = np.clip(np.median(self.score_draws(at), axis=0), low, high)
        if n_items is not None:
            from scipy.stats import binom

            low = binom.ppf(0.5 - level / 2, int(n_items), low) / n_items
            high = binom.ppf(0.5 + level / 2, int(n_items), high) / n_items
        w, seen = self._working(at), self._working(self.points[self.x].to_numpy(float))
        return pd.DataFrame(
            {self.x: at, "score": middle, "low": low, "high": high, "beyond": np.maximum(w - seen.max(), 0.0)}
        )

    def reaches(self, score: float, *, level: float | None = None) -> Band:
        """The scale at which the expected score passes `score`; inf where the curves that the scores allow never do."""
        level = self.level if level is None else level
        low, mid, high = places_reached(self.draws, self._allowed(level), score)
        return natural_band(Band(mid, low, high, level), self.log_x, self.flipped)

    def _allowed(self, level: float) -> dict[str, Array]:
        """Curves {shape: (S, 4)} that the scores do not reject at a level."""
        critical = critical_drop(level, self.dispersion, self.counted, len(self.points) - self.box.n_free)
        return within_drop(self.region, critical)

    def held_out(self) -> pd.DataFrame:
        """Leave-one-scale-out log score of each curve: the mean log likelihood per left-out point, the best first."""
        x = self._working(self.points[self.x].to_numpy(float))
        trials = self.points["trials"].to_numpy(float)
        successes = trials * self.points[self.score].to_numpy(float)
        rows = []
        for shape in SHAPES:
            total, count = 0.0, 0
            for place in np.unique(x):
                keep = x != place
                theta, _ = curves.fit_shape(shape, x[keep], successes[None, keep], trials[keep], self.box)
                mu = np.clip(
                    curves.mean(shape, x[~keep], theta[0]), 0.5 / (trials[~keep] + 1), 1 - 0.5 / (trials[~keep] + 1)
                )
                total += float(curves.log_likelihood(successes[~keep], trials[~keep], mu)) / self.dispersion
                count += int((~keep).sum())
            rows.append({"model": shape.name, "log_score": total / count})
        return pd.DataFrame(rows).sort_values("log_score", ascending=False, ignore_index=True)

    # --- documents ---------------------------------------------------------------------------------------------------

    @property
    def finding(self) -> str:
        """One sentence for a reader in a hurry."""
        if self.verdict == "no change":
            return (
                f"No change of {self.score} with {self.x}: one constant rate explains the scores (p = {self.p_change:.2g}); "
                f"{self.reason}."
            )
        opening = {"sudden": "Sudden", "gradual": "Gradual", "undecided": "Undecided", "rise": "A rise"}[self.verdict]
        bounds = f"{band_text(self.width.low, self.width.high)} {self.unit}"
        corner = (
            f"; a corner or jump fits better than any smooth curve (p = {self.p_corner:.2g})"
            if self.p_corner < 0.05
            else ""
        )
        return (
            f"{opening}: {self.score} goes from 10 to 90 % of the way within {self.width.estimate:.2g} {self.unit} of {self.x} "
            f"({self.level:.0%}: {bounds}), half way at {self.middle.estimate:.3g} "
            f"({band_text(self.middle.low, self.middle.high)}); {self.reason}{corner}."
        )

    def __str__(self) -> str:
        shown = self.models[["model", "n_coefs", "deviance", "aicc", "weight"]].copy()
        lines = [
            self.finding,
            "",
            shown.to_string(index=False, float_format=lambda v: f"{v:.4g}"),
            "",
            f"chance floor {self.theta[self.best][FLOOR]:.3g}, ceiling {self.ceiling.estimate:.3g} "
            f"({band_text(self.ceiling.low, self.ceiling.high)}), "
            f"{self.n_inside} of {len(self.points)} scores inside the transition",
            f"passes chance by {self.onset_gain:g} at {self.onset.estimate:.3g} ({band_text(self.onset.low, self.onset.high)})",
            f"p(constant) = {self.p_change:.3g}, p(no corner) = {self.p_corner:.3g}, dispersion {self.dispersion:.3g}",
        ]
        return "\n".join([*lines, *(f"warning: {w}" for w in self.warnings)])

    def to_dict(self) -> dict[str, Any]:
        """The JSON document `scaling.emergence/1`."""
        return {
            "schema": SCHEMA,
            "finding": self.finding,
            "x": self.x,
            "score": self.score,
            "log_x": self.log_x,
            "verdict": self.verdict,
            "reason": self.reason,
            "sudden_width": self.sudden_width,
            "unit": self.unit,
            "width": self.width.to_dict(),
            "middle": self.middle.to_dict(),
            "ceiling": self.ceiling.to_dict(),
            "onset": {**self.onset.to_dict(), "gain": self.onset_gain},
            "p_change": plain(self.p_change),
            "p_corner": plain(self.p_corner),
            "dispersion": plain(self.dispersion),
            "n_points": len(self.points),
            "n_inside": self.n_inside,
            "best": self.best,
            "models": records(self.models),
            "coefs": {
                k: dict(zip(("middle", "width", "floor", "ceiling"), map(plain, v), strict=True))
                for k, v in self.theta.items()
            },
            "points": records(self.points),
            "warnings": list(self.warnings),
        }

    def _working(self, x: Any) -> Array:
        at = np.asarray(x, float)
        at = np.log10(at) if self.log_x else at
        return -at if self.flipped else at
