"""What pre-training is worth in fine-tuning data, and when it stops being worth it.

D_T = k D_F^alpha N^beta: tokens (or samples) of fine-tuning data that a model from scratch would need beyond D_F to reach the
fine-tuned loss. Negative D_T is ossification: pre-training hurts. Source: Hernandez et al. 2021, arXiv:2102.01293.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from scaling.errors import LawError, RunsError
from scaling.laws.law import Array, Law

LOG_RANGE = (np.log(1.0), np.log(1e20))
N_STEPS = 80


def data_transferred(from_scratch: Any, runs: pd.DataFrame) -> pd.DataFrame:
    """Effective data transferred of fine-tuned runs: the from-scratch law inverted at the fine-tuned loss.

    from_scratch : a fitted law of the loss with n_tokens (data) as an input, fitted to models without pre-training.
    runs : n_tokens (fine-tuning data, in the same unit), loss of the fine-tuned model, and the law's other inputs.

    Returns the runs with n_tokens_from_scratch (nan where no data reaches the loss), n_tokens_transferred, multiplier
    (from scratch over fine-tuned) and ossified (True where pre-training hurt). Raises LawError for a law without n_tokens.
    """
    law: Law = from_scratch.law
    if "n_tokens" not in law.inputs:
        raise LawError(f"law {law.name!r} has no n_tokens to invert for: fit one of loss against data from scratch.")
    needed = [*law.inputs, "loss"]
    if missing := [c for c in needed if c not in runs]:
        raise RunsError(f"no column {missing[0]!r}; columns: {', '.join(map(str, runs.columns))}.")
    theta = np.asarray(from_scratch.theta, float)
    loss = runs["loss"].to_numpy(float)
    others = {c: runs[c].to_numpy(float) for c in law.inputs if c != "n_tokens"}

    def predicted(log_d: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(law.predict({**others, "n_tokens": np.exp(log_d)}, theta))

    low, high = np.full(len(runs), LOG_RANGE[0]), np.full(len(runs), LOG_RANGE[1])
    reached = predicted(high) <= loss
    for _ in range(N_STEPS):
        middle = (low + high) / 2
        below = predicted(middle) <= loss
        high, low = np.where(below, middle, high), np.where(below, low, middle)
    scratch = np.where(reached, np.exp(high), np.nan)
    used = runs["n_tokens"].to_numpy(float)
    return runs.assign(
        n_tokens_from_scratch=scratch,
        n_tokens_transferred=scratch - used,
        multiplier=scratch / used,
        ossified=scratch < used,
    )


def break_even(fitted: Any, n_params: Any) -> Array:
    """Fine-tuning data (..., m) at which pre-training is worth as much as the data itself, D_T = D_F.

    fitted : a fit, bootstrap or published entry of the law "transfer"; n_params (m,). Below this size of the set most of the
    effective data comes from pre-training. nan where alpha is 1 or more (no such size).
    """
    if fitted.law.name != "transfer":
        raise LawError(f"break_even is for the law 'transfer', not {fitted.law.name!r}.")
    theta = np.asarray(fitted.theta, float)
    names = fitted.law.coef_names
    k, alpha, beta = (theta[..., names.index(c), None] for c in ("k", "alpha", "beta"))
    log_n = np.log(np.atleast_1d(np.asarray(n_params, float)))
    with np.errstate(all="ignore"):
        return np.where(alpha < 1, np.exp((np.log(k) + beta * log_n) / (1 - alpha)), np.nan)
