"""What is to be decided, and how wide its band is now, after more runs, and after the runs done are repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.compute import Accounting
from scaling.designing.local import QUANTITIES, Local, linearise
from scaling.designing.search import Found
from scaling.errors import PlanError
from scaling.fitting.result import FitResult
from scaling.laws.law import Array
from scaling.quantities import parse_quantity


@dataclass(frozen=True)
class Decision:
    """The band of `quantity` at `target` FLOPs, at `level`, and the law linearised for it.

    floor : width, high / low, of an error that no run removes. compute : what a run costs.
    """

    local: Local
    quantity: str
    target: float
    level: float
    floor: float
    compute: Accounting

    @property
    def width_now(self) -> float:
        """high / low of the band before any more runs."""
        return self.width(np.zeros_like(self.local.now), 0)[0]

    def width(self, extra: Array, more: float) -> tuple[float, tuple[float, float]]:
        """high / low of the band at the estimate, and from 10 to 90 % of the draws, after more runs.

        extra : (K, p, p) information that they add. more : degrees of freedom that they add.
        """
        from scipy.special import stdtrit

        half = stdtrit(self.local.dof + more, 0.5 + self.level / 2) * np.sqrt(self.local.variance(extra))
        widths = np.exp(np.minimum(np.hypot(2 * half, np.log(self.floor)), 700.0))
        low, high = np.quantile(widths, [0.1, 0.9])
        return float(widths[0]), (float(low), float(high))

    def more_freedom(self, counts: Array, groups: Array) -> float:
        """Degrees of freedom that runs add: one each, or one for each budget where those share an error."""
        return float(len(np.unique(groups))) if self.local.tau > 0 else float(counts.sum())

    def repeating(
        self, found: Found, extra: Array, more: float
    ) -> tuple[float, float, float] | tuple[None, None, None]:
        """(times, width, cost): how often over, the band after the runs done are repeated for the same compute, and what
        repeating costs to be equal; None where the runs are not at hand."""
        local, problem = self.local, self.local.result.problem
        if local.done is None or problem is None:
            return None, None, None
        used = problem.weights[0] > 0
        cost = float(self.compute.flops(problem.x["n_params"][used], problem.x["n_tokens"][used]).sum())
        times = float(found.flops @ found.count) / cost
        width, _ = self.width(local.repeated(times), more)
        wanted = float(local.variance(extra)[0])
        low, high = np.log(1e-9), np.log(1e9)  # how many times over
        if float(local.variance(local.repeated(np.exp(high)))[0]) > wanted:
            return times, width, np.inf  # what runs of one budget share stays
        while high - low > 1e-4:
            middle = 0.5 * (low + high)
            if float(local.variance(local.repeated(np.exp(middle)))[0]) > wanted:
                low = middle
            else:
                high = middle
        return times, width, cost * float(np.exp(high))


def decide(
    result: FitResult,
    flops: Any,
    quantity: str,
    level: float,
    floor: float,
    compute: Accounting,
    inputs: Mapping[str, float] | None,
    rng: int | np.random.Generator,
) -> Decision:
    """The decision that a band is of, as `design` states it. Raises PlanError for what no band can be of."""
    target = parse_quantity(flops, "flops", name="flops")
    if quantity not in QUANTITIES:
        raise PlanError(f"quantity={quantity!r}: choose {', '.join(QUANTITIES)}.")
    if not 0 < level < 1:
        raise PlanError(f"level must lie between 0 and 1, not {level}.")
    if not (np.isfinite(floor) and floor >= 1):
        raise PlanError(f"floor is a width, high / low, of at least 1 (1 is none), not {floor}.")
    local = linearise(result, target, quantity, compute, inputs or {}, level, rng)
    return Decision(local, quantity, target, level, floor, compute)
