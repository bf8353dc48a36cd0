"""Ways to spend more compute, side by side: longer, larger, both, in larger batches, or as an ensemble.

Raffel et al. 2020 (arXiv:1910.10683, sec. 3.6) compared them by training; here a fitted law predicts each of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from scaling.errors import LawError, PlanError
from scaling.laws.law import Array


def alternatives(
    fitted: Any,
    *,
    n_params: float,
    n_tokens: float,
    factor: float = 4.0,
    batch_tokens: float | None = None,
    critical_batch: float | None = None,
    level: float = 0.8,
) -> pd.DataFrame:
    """Losses of spending `factor` times the compute of a run in different ways.

    Parameters
    ----------
    fitted : a law over n_params and n_tokens; a bootstrap gives low and high, and the interval of the gain.
    batch_tokens, critical_batch : tokens per step of the run, and the batch at which steps stop being saved. At the same
        number of steps, f times the batch is worth (1 + B_c / B) / (1 + B_c / (f B)) times the tokens (Kaplan et al. 2020,
        arXiv:2001.08361, eq. 5.4). Without both, the row takes every token to count.

    Returns one row per way: way, n_params, n_tokens, flops (6 N D, all members), loss, gain (loss of the run less this), each
    with _low and _high, note; the least loss first, "as it is" among them. An ensemble has the loss of a single
    member as its bound: a law of single runs knows no more.
    """
    law = fitted.law
    if set(law.inputs) != {"n_params", "n_tokens"}:
        raise LawError(
            f"law {law.name!r} takes {', '.join(law.inputs)}; alternatives need n_params and n_tokens alone."
        )
    if not (factor > 1 and n_params > 0 and n_tokens > 0):
        raise PlanError("give a size, tokens and a factor above 1 for the compute.")
    if (batch_tokens is None) != (critical_batch is None):
        raise PlanError("give both batch_tokens and critical_batch, or neither.")
    root = float(np.sqrt(factor))
    worth, note = factor, "as if every token counted: no critical batch given"
    if batch_tokens is not None and critical_batch is not None:
        worth = (1 + critical_batch / batch_tokens) / (1 + critical_batch / (factor * batch_tokens))
        note = f"worth {worth:.3g} times the tokens at this batch"
    f = f"{factor:g}"
    ways = [
        ("as it is", 1.0, 1.0, 1.0, ""),
        (f"{f} x steps", 1.0, factor, factor, ""),
        (f"{f} x batch", 1.0, worth, factor, note),
        (f"{root:.3g} x size, {root:.3g} x steps", root, root, factor, ""),
        (f"{f} x size", factor, 1.0, factor, ""),
        (f"ensemble of {factor:.0f}", 1.0, 1.0, factor, "at most this: the loss of one member"),
    ]
    point = getattr(fitted, "of", None) or fitted
    sizes = np.array([w[1] for w in ways]) * n_params
    tokens = np.array([w[2] for w in ways]) * n_tokens
    x = {"n_params": sizes, "n_tokens": tokens}
    loss = np.asarray(law.predict(x, np.asarray(point.theta, float)))
    low = high = gain_low = gain_high = np.full(len(ways), np.nan)
    if point is not fitted:
        theta = np.asarray(fitted.theta, float)
        many: Array = np.asarray(law.predict(x, theta[np.isfinite(theta).all(axis=1)]))
        tails = [0.5 - level / 2, 0.5 + level / 2]
        low, high = np.quantile(many, tails, axis=0)
        gain_low, gain_high = np.quantile(many[:, :1] - many, tails, axis=0)
    table = pd.DataFrame(
        {
            "way": [w[0] for w in ways],
            "n_params": sizes,
            "n_tokens": tokens,
            "flops": 6 * n_params * n_tokens * np.array([w[3] for w in ways]),
            "loss": loss,
            "loss_low": low,
            "loss_high": high,
            "gain": loss[0] - loss,
            "gain_low": gain_low,
            "gain_high": gain_high,
            "note": [w[4] for w in ways],
        }
    )
    return table.sort_values("loss", kind="stable", ignore_index=True)
