"""When is the far side of the peak worth having? And errors of learning linear functions from examples in a prompt.

Closed forms of least squares with isotropic features: Hastie et al. 2019, arXiv:1903.08560, theorems 1 and 4. The same curve,
with the number of examples as its axis, is what in-context learning of linear functions is held against: Garg et al. 2022,
arXiv:2208.01066.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from scaling.errors import LawError
from scaling.laws.double_descent import ridge_risk, ridgeless_risk
from scaling.laws.law import Array

DECAY = 2.0  # default exponent a of the share of the signal beyond gamma, (1 + gamma)^-a
N_STEPS = 60


def second_descent(snr: Any, decay: float = DECAY) -> pd.DataFrame:
    """Is the second descent useful? Least risk on either side of the threshold, for signal-to-noise ratios (m,).

    snr : squared norm of the coefficients over the label noise. decay : the first gamma n features hold a share
    1 - (1 + gamma)^-decay of the signal. Returns snr, below_at, below, above_at, above (risk per unit of noise; above_at
    inf where the risk only approaches that of predicting nothing) and useful (the far side has a minimum, and it is lower).
    """
    ratios = np.atleast_1d(np.asarray(snr, float))
    if not (ratios > 0).all() or decay <= 0:
        raise LawError("signal-to-noise ratios and the decay of the signal must be positive.")
    below, above = np.geomspace(1e-4, 0.999, 2000), np.geomspace(1.001, 1e5, 4000)
    rows = []
    for ratio in ratios:
        row: dict[str, float | bool] = {"snr": float(ratio)}
        for name, gamma in (("below", below), ("above", above)):
            risk = ridgeless_risk(gamma, float(ratio), 1.0, 1 - (1 + gamma) ** -decay)
            k = int(np.argmin(risk))
            row |= {f"{name}_at": float(gamma[k]) if k < len(gamma) - 1 else np.inf, name: float(risk[k])}
        rows.append({**row, "useful": bool(row["above"] < row["below"] and np.isfinite(row["above_at"]))})
    return pd.DataFrame(rows)


def needed_snr(decay: float = DECAY) -> float:
    """Least signal-to-noise ratio at which the second descent beats the first; inf where it never does (up to 1e8)."""
    low, high = np.log(1e-4), np.log(1e8)
    if not bool(second_descent(np.exp(high), decay)["useful"].iloc[0]):
        return float("inf")
    for _ in range(N_STEPS // 2):
        middle = (low + high) / 2
        if bool(second_descent(np.exp(middle), decay)["useful"].iloc[0]):
            high = middle
        else:
            low = middle
    return float(np.exp(high))


def second_descent_crossing(fitted: Any, x: Array) -> float:
    """Smallest x beyond the peak of a fitted double-descent law where it falls below its least value before the peak.

    fitted : a fit of a law of one input; x (m,) increasing, the values to look at. inf if it never does within them; nan if
    the curve has no peak inside.
    """
    at = np.asarray(x, float)
    (name,) = fitted.law.inputs
    y = np.asarray(fitted.law.predict({name: at}, np.asarray(fitted.theta, float)))
    rises = np.flatnonzero(np.diff(y) > 0)
    if not len(rises):
        return float("nan")
    first = int(rises[0])
    falls = np.flatnonzero(np.diff(y[first:]) < 0)
    if not len(falls):
        return float("nan")
    peak = first + int(falls[0])
    peak += int(np.argmax(y[peak:]))
    beyond = np.flatnonzero(y[peak:] < y[: peak + 1].min())
    return float(at[peak + beyond[0]]) if len(beyond) else float("inf")


def in_context_baselines(n_examples: Any, dimension: int, noise: float = 0.0) -> pd.DataFrame:
    """Expected squared error, over the signal's size, of learners of a linear function from k examples (m,) in `dimension`.

    Coefficients and inputs are standard normal, the target is divided by sqrt(dimension), noise is its label variance.
    Returns n_examples, zero (always 1), least_squares (minimum norm below the dimension; the exact finite formula, inf at
    k = d - 1 to d + 1 with noise), ridge (the best possible penalty; the limit of many dimensions). Errors exclude the noise
    of the test label. Source: Hastie et al. 2019, arXiv:1903.08560; Garg et al. 2022, arXiv:2208.01066.
    """
    k = np.atleast_1d(np.asarray(n_examples, float))
    if dimension < 1 or (k < 0).any() or noise < 0:
        raise LawError("give a dimension of 1 or more, and no negative number of examples or noise.")
    with np.errstate(divide="ignore", invalid="ignore"):
        d = float(dimension)
        under = (1 - k / d) + np.where(noise > 0, noise * k / np.maximum(d - k - 1, 0), 0.0)
        over = np.where(noise > 0, noise * d / np.maximum(k - d - 1, 0), 0.0)
        least = np.where(k < d, under, over)
        least = np.where((k == 0), 1.0, least)
        ridge = np.where(noise > 0, 1.0, least)
        seen = k > 0
        if noise > 0 and seen.any():
            gamma = d / k[seen]
            ridge[seen] = ridge_risk(gamma, 1.0, noise, noise * gamma)
    return pd.DataFrame({"n_examples": k, "zero": 1.0, "least_squares": least, "ridge": ridge})
