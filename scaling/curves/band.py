"""A number with bounds, on the axis it was measured on or its logarithm, and its bounds in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaling.curves.plain import plain


@dataclass(frozen=True)
class Band:
    """A number with bounds; an infinite or edge bound says that the scores do not bound it on that side."""

    estimate: float
    low: float
    high: float
    level: float

    def to_dict(self) -> dict[str, float | None]:
        """Estimate, low, high and level; None where one is not finite."""
        return {k: plain(getattr(self, k)) for k in ("estimate", "low", "high", "level")}


def natural_place(place: float, log_x: bool, flipped: bool) -> float:
    """A working position in units of the scale: undo the sign of a loss axis and the logarithm; inf beyond 1e300."""
    place = -place if flipped else place
    if not log_x:
        return float(place)
    return float(10.0**place) if place < 300 else float("inf")


def natural_band(band: Band, log_x: bool, flipped: bool) -> Band:
    """A band of working positions in units of the scale, low below high."""
    a, b = natural_place(band.low, log_x, flipped), natural_place(band.high, log_x, flipped)
    return Band(natural_place(band.estimate, log_x, flipped), min(a, b), max(a, b), band.level)


def band_text(low: float, high: float) -> str:
    """Bounds in words: '1 to 3', 'above 1', 'below 3', 'not bounded'."""
    if not np.isfinite(high):
        return f"above {low:.3g}" if np.isfinite(low) and low > 0 else "not bounded"
    if not np.isfinite(low) or low <= 0:
        return f"below {high:.3g}"
    return f"{low:.3g} to {high:.3g}"
