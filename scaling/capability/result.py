"""Scores along models of rising cost, and the budget that reaches a score."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from scaling.curves.plain import plain
from scaling.errors import PlanError
from scaling.laws.law import Array

SCHEMA = "scaling.capability/1"


@dataclass(frozen=True)
class Budget:
    """The budget that reaches a score: flops with bounds, inf where the score is not reached within the budgets looked at.

    share : part of the draws that reach the score within the budgets. n_params, n_tokens : the model at `flops`.
    """

    score: float
    flops: float
    low: float
    high: float
    level: float
    share: float
    n_params: float
    n_tokens: float
    smallest: float
    largest: float

    def __str__(self) -> str:
        if not np.isfinite(self.flops):
            least = f", {self.level:.0%} of them only beyond {self.low:.3g}" if np.isfinite(self.low) else ""
            return (
                f"a score of {self.score:.3g} is not expected within {self.largest:.3g} FLOPs: "
                f"{self.share:.0%} of the curves reach it{least}."
            )
        high = f"{self.high:.3g}" if np.isfinite(self.high) else f"beyond {self.largest:.3g}"
        low = f"{self.low:.3g}" if self.low > self.smallest else f"below {self.smallest:.3g}"
        return (
            f"a score of {self.score:.3g} needs {self.flops:.3g} FLOPs ({self.level:.0%}: {low} to {high}), "
            f"a model of {self.n_params:.3g} parameters on {self.n_tokens:.3g} tokens."
        )


@dataclass(frozen=True)
class Capability:
    """Scores along models of rising cost.

    flops, n_params, n_tokens (m,) ; loss, score (m,) medians over the draws with bounds *_low, *_high at `level`.
    draws (R, m) : the score of each draw of the chain. extrapolated (m,) : the loss lies below every loss the link was
    fitted on. loss_share (m,) : part of the variance of the score that comes from the loss law rather than the link.
    """

    flops: Array
    n_params: Array
    n_tokens: Array
    loss: Array
    loss_low: Array
    loss_high: Array
    score: Array
    low: Array
    high: Array
    level: float
    extrapolated: Array
    loss_share: Array
    draws: Array = field(repr=False)
    warnings: tuple[str, ...] = ()

    def reaches(self, score: float, *, level: float | None = None) -> Budget:
        """The least budget at which the expected score passes `score`, from every draw's own crossing.

        Between budgets the score is interpolated in log compute. Raises PlanError for fewer than two budgets.
        """
        level = self.level if level is None else level
        if len(self.flops) < 2 or np.any(np.diff(self.flops) <= 0):
            raise PlanError(
                "which budget reaches a score needs at least two budgets in rising order: give a range of flops."
            )
        if not np.isfinite(score):
            raise PlanError(f"the score to reach must be a number, not {score}.")
        log_c = np.log(self.flops)
        crossings = first_crossing(log_c, self.draws, score)
        low, mid, high = (
            float(v) for v in np.quantile(crossings, [0.5 - level / 2, 0.5, 0.5 + level / 2], method="inverted_cdf")
        )
        at = np.exp(mid) if np.isfinite(mid) else np.inf
        model = [
            float(np.exp(np.interp(mid, log_c, np.log(v)))) if np.isfinite(mid) else float("nan")
            for v in (self.n_params, self.n_tokens)
        ]
        return Budget(
            score=float(score),
            flops=float(at),
            low=float(np.exp(low)),
            high=float(np.exp(high)),
            level=level,
            share=float(np.mean(np.isfinite(crossings))),
            n_params=model[0],
            n_tokens=model[1],
            smallest=float(self.flops[0]),
            largest=float(self.flops[-1]),
        )

    def table(self) -> pd.DataFrame:
        """One row per budget: flops, n_params, n_tokens, loss, score, their bounds, extrapolated."""
        names = (
            "flops",
            "n_params",
            "n_tokens",
            "loss",
            "loss_low",
            "loss_high",
            "score",
            "low",
            "high",
            "extrapolated",
            "loss_share",
        )
        return pd.DataFrame({name: getattr(self, name) for name in names})

    @property
    def finding(self) -> str:
        """One sentence: the score at the largest budget, and where the doubt comes from."""
        share = float(self.loss_share[-1])
        source = "the loss law" if share > 0.5 else "the link from loss to score"
        tail = f", most of the doubt from {source} ({max(share, 1 - share):.0%})" if np.isfinite(share) else ""
        beyond = "; this loss is lower than any the link has seen" if self.extrapolated[-1] else ""
        return (
            f"{self.flops[-1]:.3g} FLOPs buy a score of {self.score[-1]:.3g} ({self.level:.0%}: {self.low[-1]:.3g} to "
            f"{self.high[-1]:.3g}){tail}{beyond}."
        )

    def __str__(self) -> str:
        shown = self.table()[["flops", "n_params", "n_tokens", "loss", "score", "low", "high", "extrapolated"]]
        text = shown.to_string(index=False, float_format=lambda v: f"{v:.4g}")
        return "\n".join([self.finding, "", text, *(f"warning: {w}" for w in self.warnings)])

    def to_dict(self) -> dict[str, Any]:
        """The JSON document `scaling.capability/1`."""
        rows = [
            {str(k): (bool(v) if isinstance(v, bool) else plain(v)) for k, v in row.items()}
            for row in self.table().to_dict("records")
        ]
        return {
            "schema": SCHEMA,
            "finding": self.finding,
            "level": self.level,
            "points": rows,
            "warnings": list(self.warnings),
        }


def first_crossing(log_c: Array, draws: Array, score: float) -> Array:
    """Log budgets (R,) at which each row of scores (R, m) first passes `score`; inf where it never does."""
    above = draws >= score
    ever = above.any(axis=1)
    first = np.argmax(above, axis=1)
    rows = np.arange(len(draws))
    before = np.maximum(first - 1, 0)
    a, b = draws[rows, before], draws[rows, first]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(b > a, (score - a) / (b - a), 0.0)
    at = log_c[before] + np.clip(part, 0, 1) * (log_c[first] - log_c[before])
    return np.where(ever, at, np.inf)
