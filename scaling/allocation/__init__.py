"""From a law and a budget to the run to train: the best size and tokens under constraints, and what each constraint costs."""

from __future__ import annotations

from scaling.allocation.allocate import (
    Allocation,
    Fitted,
    allocate,
    budgets_of,
    flops_for_loss,
    flops_for_params,
    loss_at,
    tokens_per_param_at,
)
from scaling.allocation.constraints import Constraints, Limit
from scaling.allocation.prices import shadow_prices

__all__ = [
    "Allocation", "Constraints", "Fitted", "Limit", "allocate", "budgets_of", "flops_for_loss", "flops_for_params",
    "loss_at", "shadow_prices", "tokens_per_param_at",
]  # fmt: skip
