"""How many experts fit: the best number under a compute budget and a memory cap.

Source: Ludziejewski et al. 2025, arXiv:2502.05172: memory holds every expert, compute only those a token uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from scaling.allocation import Constraints, allocate
from scaling.errors import LawError, PlanError


def best_experts(
    fitted: Any,
    flops: float,
    *,
    memory_bytes: float = np.inf,
    bytes_per_param: float = 2.0,
    expert_share: float = 2 / 3,
    n_experts: Sequence[float] = (1, 2, 4, 8, 16, 32),
) -> pd.DataFrame:
    """The best size and tokens for each number of experts, the least loss first.

    Parameters
    ----------
    fitted : a law over n_params (active), n_tokens and n_experts, such as published("ludziejewski2025").
    flops : training budget, 6 N_active D. memory_bytes, bytes_per_param : room for all parameters (2 bytes to serve in
        16 bits, 16 or more to train with Adam).
    expert_share : part of the active parameters that lies in the expert; a feed-forward layer of four times the width has 2/3.
        All parameters are N (1 + share (E - 1)).
    n_experts : numbers to compare; the law holds to 32.

    Returns n_experts, n_params (active), n_params_all, n_tokens, bytes, loss, at_cap. Numbers whose model would not fit at
    any size are left out; PlanError when none fits, LawError for another kind of law.
    """
    if set(fitted.law.inputs) != {"n_params", "n_tokens", "n_experts"}:
        raise LawError(f"law {fitted.law.name!r} takes {', '.join(fitted.law.inputs)}: a law with n_experts is needed.")
    if not (0 < expert_share <= 1 and bytes_per_param > 0 and memory_bytes > 0):
        raise PlanError("expert_share lies in (0, 1], and bytes are positive.")
    rows = []
    for e in n_experts:
        whole = 1 + expert_share * (e - 1)
        cap = memory_bytes / bytes_per_param / whole
        limit = Constraints(max_params=cap) if np.isfinite(cap) else Constraints()
        try:
            best = allocate(fitted, flops, constraints=limit, inputs={"n_experts": float(e)}).point
        except PlanError:
            continue
        n = float(best.n_params[0])
        rows.append(
            {
                "n_experts": e,
                "n_params": n,
                "n_params_all": n * whole,
                "n_tokens": float(best.n_tokens[0]),
                "bytes": n * whole * bytes_per_param,
                "loss": float(best.loss[0]),
                "at_cap": bool(n >= cap * (1 - 1e-6)),
            }
        )
    if not rows:
        raise PlanError(f"no model fits in {memory_bytes:g} bytes with this budget: raise the memory.")
    return pd.DataFrame(rows).sort_values("loss", kind="stable", ignore_index=True)
