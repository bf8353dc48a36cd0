"""Which runs are asked for, and where they may lie: FLOPs of one run, tokens per parameter, size and tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.compute import Accounting
from scaling.designing.search import Room
from scaling.errors import PlanError
from scaling.fitting.result import FitResult
from scaling.quantities import parse_quantity

KINDS = ("free", "isoflop")
LARGEST_SHARE = 1 / 4  # of the spend: the dearest run, so that one failed run does not lose it all
MOST_RUNS = 64  # many small runs tell much per FLOP, but each is work
TAILS = (0.02, 0.98)  # of the tokens per parameter of the runs done: one odd run opens no range
LEAST_RATIO_SPAN = 16.0  # of the tokens per parameter that runs may have


@dataclass(frozen=True)
class Limits:
    """Runs as asked for: kind, the cheapest [FLOPs], how many at most, (lowest, highest) tokens per parameter.

    None leaves a limit to the runs done. Raises PlanError for a kind, number or range that no runs can have.
    """

    kind: str
    smallest: Any
    most_runs: int
    tokens_per_param: tuple[float, float] | None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise PlanError(f"kind={self.kind!r}: choose {' or '.join(KINDS)}.")
        if self.most_runs < 1:
            raise PlanError(f"most_runs must be at least 1, not {self.most_runs}.")
        if self.tokens_per_param is not None:
            low, high = self.tokens_per_param
            if not 0 < low <= high < np.inf:
                raise PlanError(f"tokens_per_param is (lowest, highest), both positive, not ({low}, {high}).")

    def room(self, result: FitResult, spend: float, largest: Any, compute: Accounting) -> Room:
        """Where new runs may lie, as asked or as the runs done have it."""
        problem, domain = result.problem, result.domain
        if self.smallest is not None:
            least, least_n, least_d = parse_quantity(self.smallest, "flops", name="smallest"), 0.0, 0.0
        elif problem is not None:
            used = problem.weights[0] > 0
            n, d = problem.x["n_params"][used], problem.x["n_tokens"][used]
            least, least_n, least_d = float(compute.flops(n, d).min()), float(n.min()), float(d.min())
        else:
            least_n, least_d = domain["n_params"][0], domain["n_tokens"][0]
            least = float(domain["flops"][0]) if "flops" in domain else float(compute.flops(least_n, least_d))
        if largest is not None:
            top = min(spend, parse_quantity(largest, "flops", name="largest"))
        else:
            top = min(spend, max(LARGEST_SHARE * spend, least))
        if least > top * (1 + 1e-9):
            raise PlanError(
                f"runs of at most {top:.3g} FLOPs are smaller than the smallest of the runs done ({least:.3g}), where no law was seen: "
                "raise the spend or largest, or state smallest."
            )
        return Room(least, top, self.tokens_per_param or _ratios(result), least_n, least_d, self.most_runs)


def _ratios(result: FitResult) -> tuple[float, float]:
    """Tokens per parameter that new runs may have: those of the runs done, widened where these hardly differ."""
    if result.problem is not None:
        used = result.problem.weights[0] > 0
        ratio = (result.problem.x["n_tokens"] / result.problem.x["n_params"])[used]
        low, high = (float(v) for v in np.quantile(ratio, TAILS, method="nearest"))
    else:
        low, high = 2.0, 200.0
    if high / low < LEAST_RATIO_SPAN:
        middle = np.sqrt(low * high)
        low, high = float(middle / LEAST_RATIO_SPAN**0.5), float(middle * LEAST_RATIO_SPAN**0.5)
    return low, high
