"""How far the minimum of a curve through a grid of sizes lies from the optimum, without any noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.allocation import Fitted, allocate
from scaling.approaches.isoflop_sweep import MIN_SIZES
from scaling.approaches.profiles import profiles
from scaling.compute import DENSE, Accounting
from scaling.errors import FitError
from scaling.laws.law import Array

if TYPE_CHECKING:
    import pandas as pd


def parabola_bias(
    fitted: Fitted,
    flops: Any,
    grid: float | Sequence[float] | Array = 8.0,
    *,
    curve: str = "parabola",
    points: int = 9,
    compute: Accounting = DENSE,
) -> pd.DataFrame:
    """How far a per-budget curve's minimum lies from the optimum of a fitted surface, without any noise.

    fitted : a law of n_params and n_tokens with its coefficients, such as an approach-3 fit or a published law.
    flops : (K,) budgets. grid : the sizes tried, as a factor either side of the optimum (8 is from 1/8 to 8 times it, in
    `points` equal steps of ln N) or as ratios (m,) to the optimum, off centre if you like.

    Returns one row per budget: flops, n_params (true optimum), curve_n_params, bias (relative).
    """
    import pandas as pd

    budgets = np.atleast_1d(np.asarray(flops, dtype=float))
    if np.ndim(grid) == 0:
        if not float(np.asarray(grid)) > 1:
            raise FitError(f"grid as a factor must be above 1 (8 is from 1/8 to 8 times the optimum), not {grid}.")
        half = np.log(float(np.asarray(grid)))
        ratios = np.exp(np.linspace(-half, half, points))
    else:
        ratios = np.asarray(grid, dtype=float)
    if len(ratios) < MIN_SIZES or not (ratios > 0).all():
        raise FitError(f"a grid needs {MIN_SIZES} or more positive ratios to the optimum, not {len(ratios)}.")
    best = np.asarray(allocate(fitted, flops=budgets, compute=compute).n_params, dtype=float).reshape(len(budgets))
    sizes = best[:, None] * ratios
    tokens = compute.n_tokens(sizes, budgets[:, None])
    losses = np.asarray(
        fitted.law.predict({"n_params": sizes, "n_tokens": tokens}, fitted.theta[..., None, :]), dtype=float
    )
    found = profiles(curve, list(np.log(sizes)), list(losses)).log_optimum
    return pd.DataFrame(
        {"flops": budgets, "n_params": best, "curve_n_params": np.exp(found), "bias": np.expm1(found - np.log(best))}
    )
