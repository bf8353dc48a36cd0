"""How far a policy may move before the true reward falls: peak and safe KL under over-optimisation laws.

Source: Gao et al. 2022, arXiv:2210.10760.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.errors import LawError
from scaling.laws.law import Array

LAWS = ("reward_best_of_n", "reward_rl")


@dataclass(frozen=True)
class SafeKL:
    """kl [nats] up to which the true reward still rises in all but 1 - level of the draws; peak (with low, high) is where
    the point estimate and the draws have it, reward the true reward there. share_unbounded : draws without a peak."""

    kl: float
    peak: float
    low: float
    high: float
    reward: float
    level: float
    share_unbounded: float

    @property
    def finding(self) -> str:
        """One sentence."""
        return (
            f"The true reward peaks at a KL of {self.peak:.3g} nats ({self.low:.3g} to {self.high:.3g}); up to {self.kl:.3g} nats "
            f"it still rises in {self.level:.0%} of the draws."
        )


def safe_kl(fitted: Any, *, level: float = 0.95) -> SafeKL:
    """The KL budget of a policy.

    fitted : a fit, or better a bootstrap, of "reward_best_of_n" or "reward_rl". The safe budget is the (1 - level) quantile of
    the peaks: beyond it the true reward may already fall. Without draws it is the peak itself. Raises LawError for
    another law, or where the fitted reward has no peak.
    """
    law = fitted.law
    if law.name not in LAWS:
        raise LawError(f"a safe KL is for {' and '.join(LAWS)}, not {law.name!r}.")
    if not 0 < level < 1:
        raise LawError(f"level must lie between 0 and 1, not {level}.")
    point = np.asarray((getattr(fitted, "of", None) or fitted).theta, float)

    def peaks(theta: Array) -> Array:
        """KL divergence [nats] at which the gold reward peaks, (..., P) -> (...); inf without a peak, 0 without a rise."""
        with np.errstate(all="ignore"):
            d = np.asarray(law.derived["peak_distance"](theta))
            at = np.where((theta[..., 1] > 0) & (d > 0), d**2, np.inf)
        return np.where(theta[..., 0] <= 0, 0.0, at) if law.name == "reward_best_of_n" else at

    peak = float(peaks(point))
    if not np.isfinite(peak):
        raise LawError(
            "the fitted reward has no peak: beta is not positive, so nothing is over-optimised within the data."
        )
    draws = np.atleast_2d(np.asarray(fitted.theta, float))
    many = peaks(draws[np.isfinite(draws).all(axis=1)])
    low, high, safe = np.quantile(many, [0.5 - level / 2, 0.5 + level / 2, 1 - level], method="inverted_cdf")
    return SafeKL(
        kl=min(float(safe), peak),
        peak=peak,
        low=float(low),
        high=float(high),
        reward=float(law.derived["peak_reward"](point)),
        level=level,
        share_unbounded=float(np.mean(~np.isfinite(many))),
    )
