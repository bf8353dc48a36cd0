"""All models that reach a loss: the threshold curve over size and tokens, its cheapest point, and over-trained small models.

An ability that appears at a loss appears along a curve of (N, D), which is why thresholds in parameters disagree between
families: longer training crosses at a smaller size. Source: Du et al. 2024, arXiv:2403.15796, with Hoffmann et al. 2022,
arXiv:2203.15556, sec. 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from scaling.allocation import allocate, flops_for_loss
from scaling.allocation.allocate import Fitted
from scaling.errors import LawError, PlanError
from scaling.laws.law import Array, Law

RATIOS = (20.0, 200.0, 2000.0)  # tokens per parameter
LOG_RANGE = (np.log(1e3), np.log(1e20))  # of sizes and tokens looked at
N_STEPS = 60  # bisections: the range is divided by 1e18 (by 1e12 in golden sections)


@dataclass(frozen=True)
class Threshold:
    """Where a loss is reached.

    cheapest : flops, n_params, n_tokens of the least compute, each with _low and _high at `level`.
    over_trained : one row per tokens-per-parameter: tokens_per_param, n_params, n_tokens, flops, extra (compute over the
        cheapest), each with _low and _high; nan where no size reaches the loss.
    curve : n_params, n_tokens, flops of the point estimate, smallest size first.
    reducible_per_doubling : share of the reducible loss that a doubling of compute removes at the optimum.
    share : part of the draws that reach the loss at any budget. domain_factor : least compute over the largest
        of the fit; nan where the law does not say what it was fitted on.
    """

    loss: float
    cheapest: pd.DataFrame
    over_trained: pd.DataFrame
    curve: pd.DataFrame
    reducible_per_doubling: float
    share: float
    domain_factor: float
    level: float
    draws: Array = field(repr=False)
    warnings: tuple[str, ...] = ()

    @property
    def finding(self) -> str:
        """One sentence."""
        row = self.cheapest.iloc[0]
        band = ""
        if np.isfinite(row["flops_low"]):
            band = f" ({self.level:.0%}: {row['flops_low']:.3g} to {row['flops_high']:.3g})"
        return (
            f"A loss of {self.loss:g} takes at least {row['flops']:.3g} FLOPs{band}, with {row['n_params']:.3g} parameters "
            f"on {row['n_tokens']:.3g} tokens."
        )

    def __str__(self) -> str:
        table = self.over_trained[["tokens_per_param", "n_params", "n_tokens", "flops", "extra"]]
        text = table.to_string(index=False, float_format=lambda v: f"{v:.4g}")
        return "\n".join([self.finding, "", text, *(f"warning: {w}" for w in self.warnings)])


def threshold(
    fitted: Fitted,
    loss: float,
    *,
    tokens_per_param: Sequence[float] = RATIOS,
    level: float = 0.8,
    n_curve: int = 25,
) -> Threshold:
    """The curve of models that reach a loss.

    Parameters
    ----------
    fitted : a law over n_params and n_tokens alone, best a bootstrap (its draws make the intervals).
    loss : the threshold, in the unit and on the text of the law.
    tokens_per_param : ratios at which over-trained models are looked for.
    n_curve : sizes of the curve, from the smallest that reaches the loss at 1e20 tokens or less up to 100 times the best.

    Raises LawError for a law with other inputs, PlanError if the loss is never reached.
    """
    law = fitted.law
    if set(law.inputs) != {"n_params", "n_tokens"}:
        raise LawError(
            f"law {law.name!r} takes {', '.join(law.inputs)}: a threshold curve needs n_params and n_tokens alone."
        )
    if not 0 < level < 1:
        raise PlanError(f"level must lie between 0 and 1, not {level}.")
    point = getattr(fitted, "of", None) or fitted
    theta = np.asarray(point.theta, float)
    if theta.ndim != 1:
        raise LawError("a threshold is for one law: take one group first.")
    draws = np.asarray(fitted.theta, float) if point is not fitted else theta[None]
    if point is not fitted:
        converged = getattr(fitted, "converged", np.ones(len(draws), bool))
        draws = draws[np.isfinite(draws).all(axis=1) & np.asarray(converged, bool)]
    flops = float(flops_for_loss(point, loss))
    many = flops_for_loss(_Draws(law, draws), loss) if point is not fitted else np.array([flops])
    share = float(np.mean(np.isfinite(many)))
    best = allocate(point, flops)
    sizes = _best_sizes(law, draws, many) if point is not fitted else np.array([[float(best.n_params[0])] * 1])
    tails = [0.5 - level / 2, 0.5 + level / 2]
    row: dict[str, float] = {}
    for name, one, values in (
        ("flops", flops, many),
        ("n_params", float(best.n_params[0]), sizes.ravel()),
        ("n_tokens", float(best.n_tokens[0]), many / (6 * sizes.ravel())),
    ):
        row |= {name: one, **_band(name, values, tails, point is not fitted)}
    over = []
    for ratio in tokens_per_param:
        n_one = float(_crossing(law, theta[None], loss, ratio)[0])
        n_all = _crossing(law, draws, loss, ratio)
        c_one, c_all = 6 * ratio * n_one**2, 6 * ratio * n_all**2
        entry: dict[str, float] = {"tokens_per_param": float(ratio)}
        for name, one, values in (
            ("n_params", n_one, n_all),
            ("n_tokens", n_one * ratio, n_all * ratio),
            ("flops", c_one, c_all),
            ("extra", c_one / flops, c_all / many),
        ):
            entry |= {name: one, **_band(name, values, tails, point is not fitted)}
        over.append(entry)
    warnings, factor = [], float("nan")
    domain = getattr(point, "domain", {}) or {}
    if "n_params" in domain and "n_tokens" in domain:
        seen = 6 * float(domain["n_params"][1]) * float(domain["n_tokens"][1])
        factor = flops / seen
        if factor > 1:
            warnings.append(f"the least compute lies {np.log10(factor):.2g} decades beyond the largest runs of the fit")
    if share < 1:
        warnings.append(f"{1 - share:.0%} of the draws never reach the loss: it lies near their floor")
    return Threshold(
        loss=float(loss),
        cheapest=pd.DataFrame([row]),
        over_trained=pd.DataFrame(over),
        curve=_curve(law, theta, loss, float(best.n_params[0]), n_curve),
        reducible_per_doubling=_per_doubling(point, flops),
        share=share,
        domain_factor=factor,
        level=level,
        draws=many,
        warnings=tuple(warnings),
    )


@dataclass(frozen=True)
class _Draws:
    law: Law
    theta: Array


def _band(name: str, values: Array, tails: list[float], has_draws: bool) -> dict[str, float]:
    if not has_draws:
        return {f"{name}_low": float("nan"), f"{name}_high": float("nan")}
    finite = np.where(np.isnan(values), np.inf, values)  # a draw that never reaches the loss needs more than any budget
    low, high = np.quantile(finite, tails, method="inverted_cdf")
    return {f"{name}_low": float(low), f"{name}_high": float(high)}


def _best_sizes(law: Law, draws: Array, flops: Array) -> Array:
    """Best size (R,) of each draw at its own budget, by golden section: along a budget the loss has one valley."""
    shrink = (np.sqrt(5) - 1) / 2
    budget = np.log(np.where(np.isfinite(flops), flops, 1e20) / 6)
    low, high = np.zeros(len(draws)), budget
    for _ in range(N_STEPS):
        a, b = high - shrink * (high - low), low + shrink * (high - low)
        left = _loss(law, draws, a, budget - a) < _loss(law, draws, b, budget - b)
        low, high = np.where(left, low, a), np.where(left, b, high)
    return np.where(np.isfinite(flops), np.exp((low + high) / 2), np.nan)


def _loss(law: Law, theta: Array, log_n: Array, log_d: Array) -> Array:
    """Losses (R,) of draws theta (R, P), each at its own size and tokens (R,)."""
    x = {"n_params": np.exp(log_n)[:, None], "n_tokens": np.exp(log_d)[:, None]}
    with np.errstate(all="ignore"):
        return np.asarray(law.predict(x, theta))[:, 0]


def _crossing(law: Law, theta: Array, loss: float, ratio: float) -> Array:
    """Sizes (R,) at which models with D = ratio N reach the loss; nan where none does."""
    low, high = np.full(len(theta), LOG_RANGE[0]), np.full(len(theta), LOG_RANGE[1])
    reached = _loss(law, theta, high, high + np.log(ratio)) <= loss
    for _ in range(N_STEPS):
        middle = (low + high) / 2
        below = _loss(law, theta, middle, middle + np.log(ratio)) <= loss
        high, low = np.where(below, middle, high), np.where(below, low, middle)
    return np.where(reached, np.exp(high), np.nan)


def _curve(law: Law, theta: Array, loss: float, best: float, n: int) -> pd.DataFrame:
    """Tokens that each size needs, for sizes about the best one."""
    log_n = np.linspace(np.log(best / 100), np.log(best * 100), 4 * n)
    rows = np.broadcast_to(theta, (len(log_n), len(theta)))
    low, high = np.full(len(log_n), LOG_RANGE[0]), np.full(len(log_n), LOG_RANGE[1])
    reached = _loss(law, rows, log_n, high) <= loss
    for _ in range(N_STEPS):
        middle = (low + high) / 2
        below = _loss(law, rows, log_n, middle) <= loss
        high, low = np.where(below, middle, high), np.where(below, low, middle)
    sizes, tokens = np.exp(log_n)[reached], np.exp(high)[reached]
    pick = np.unique(np.linspace(0, len(sizes) - 1, min(n, len(sizes))).round().astype(int))
    return pd.DataFrame({"n_params": sizes[pick], "n_tokens": tokens[pick], "flops": 6 * sizes[pick] * tokens[pick]})


def _per_doubling(fitted: Fitted, flops: float) -> float:
    """1 - 2^-gamma from the law itself: what a doubling removes of the loss above its value at boundless compute."""
    at = allocate(fitted, [flops, 2 * flops, 1e60]).loss
    return float(1 - (at[1] - at[2]) / (at[0] - at[2]))


def compare_thresholds(laws: dict[str, Fitted], loss: float, **options: Any) -> pd.DataFrame:
    """The least compute under several laws: law, flops with bounds, n_params, n_tokens, domain_factor; nan where unreached."""
    rows = []
    for name, fitted in laws.items():
        try:
            found = threshold(fitted, loss, **options)
        except PlanError:
            rows.append({"law": name, "flops": np.nan})
            continue
        cheapest = found.cheapest.iloc[0]
        kept = ("flops", "flops_low", "flops_high", "n_params", "n_tokens")
        rows.append({"law": name, **{k: float(cheapest[k]) for k in kept}, "domain_factor": found.domain_factor})
    return pd.DataFrame(rows)
