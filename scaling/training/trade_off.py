"""What it costs to train a model smaller or larger than the best, and what it saves in serving."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.allocation import Allocation, Fitted, allocate, loss_at
from scaling.compute import DENSE, INFERENCE, Accounting
from scaling.errors import PlanError
from scaling.laws.law import Array

if TYPE_CHECKING:
    import pandas as pd


FAR = 1000.0  # times the compute, past which a page says "beyond reach"
RATIOS = tuple(np.geomspace(0.1, 3.0, 30).tolist())


def positive(name: str, value: float) -> float:
    """A number above zero; PlanError, naming it, for anything else."""
    value = float(value)
    if not (math.isfinite(value) and value > 0):
        raise PlanError(f"{name} must be a positive number, not {value}.")
    return value


@dataclass(frozen=True)
class TradeOff:
    """Models at `ratio` (k,) of the compute-optimal size N*.

    At the same training budget: n_params, n_tokens (k,), loss and penalty (..., k), the loss above that of N*.
    For the same loss as N*: n_tokens_same_loss and overhead (..., k), training compute over the budget less one; nan
    where no amount of data makes up for the size. saving (k,) : share of serving FLOPs saved, 1 - ratio.
    total (..., k) : FLOPs of training to the same loss and of serving inference_tokens.
    Leading axes are those of the coefficients; `of` is the trade-off under the point estimate when they are draws.
    """

    flops: float
    inference_tokens: float
    best_n_params: float
    best_n_tokens: float
    ratio: Array
    n_params: Array
    n_tokens: Array
    loss: Array
    penalty: Array
    n_tokens_same_loss: Array
    overhead: Array
    total: Array
    of: TradeOff | None = None

    @property
    def point(self) -> TradeOff:
        """The trade-off under the point estimate."""
        return self if self.of is None else self.of

    @property
    def saving(self) -> Array:
        return 1 - self.ratio

    @property
    def cheapest(self) -> float:
        """The ratio to N* whose training and serving together cost the least for the same loss, of those asked for."""
        return float(self.point.ratio[np.nanargmin(self.point.total)])

    def band(self, name: str, level: float = 0.8) -> tuple[Array, Array]:
        """(low, high), each (k,), of loss, penalty, n_tokens_same_loss, overhead or total over the draws; nan without."""
        if not 0 < level < 1:
            raise PlanError(f"a band's level must lie between 0 and 1 (0.8 is 80 %), not {level}.")
        values = getattr(self, name)
        if self.of is None:
            return np.full(self.ratio.shape, np.nan), np.full(self.ratio.shape, np.nan)
        values = np.where(np.isnan(values), np.inf, values)  # never reached: beyond any bound
        low, high = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2], axis=0, method="nearest")
        return np.where(np.isfinite(low), low, np.nan), np.where(np.isfinite(high), high, np.nan)

    def table(self, level: float = 0.8) -> pd.DataFrame:
        """One row per ratio, the point estimates with _low and _high."""
        import pandas as pd

        p = self.point
        columns: dict[str, Any] = {"ratio": p.ratio, "n_params": p.n_params, "n_tokens": p.n_tokens, "saving": p.saving}
        for name in ("loss", "penalty", "n_tokens_same_loss", "overhead", "total"):
            low, high = self.band(name, level)
            columns |= {name: getattr(p, name), f"{name}_low": low, f"{name}_high": high}
        return pd.DataFrame(columns)

    def to_dict(self, level: float = 0.8) -> dict[str, Any]:
        """A JSON-able dictionary, None for nan."""
        rows = self.table(level).to_dict("records")
        return {
            "flops": self.flops, "inference_tokens": self.inference_tokens, "best_n_params": self.point.best_n_params,
            "best_n_tokens": self.point.best_n_tokens, "cheapest": self.cheapest, "level": level,
            "ratios": [{k: float(v) if math.isfinite(v) else None for k, v in row.items()} for row in rows],
        }  # fmt: skip

    def __str__(self) -> str:
        p = self.point
        lines = [f"best size {p.best_n_params:.3g} on {p.best_n_tokens:.3g} tokens; at a share of that size:"]
        for i, ratio in enumerate(p.ratio):
            times = 1 + p.overhead[i]
            lines.append(
                f"  {ratio:5.2f}  loss {p.penalty[i]:+.4f} at the same compute; same loss "
                + (f"for {times:.4g} times the compute" if times < FAR else "only far beyond reach")
                + f"; serving {ratio:.2g} times"
            )
        return "\n".join(lines)


def trade_off(
    fitted: Fitted,
    flops: float | str,
    ratios: Sequence[float] = RATIOS,
    *,
    inference_tokens: float = 0.0,
    compute: Accounting = DENSE,
    serving: Accounting = INFERENCE,
    inputs: Mapping[str, float] | None = None,
) -> TradeOff:
    """What a model smaller (or larger) than the compute-optimal one costs in loss or compute, and saves in serving.

    Parameters
    ----------
    fitted : a fit, a bootstrap or a published law of n_params and n_tokens.
    flops : the training budget that fixes N* and the loss to reach.
    ratios : (k,) sizes over N*. inference_tokens : tokens served over the model's life.
    inputs : values of the law's other inputs.

    Draws share the sizes of the point estimate: each draw is asked what those runs would do under it.
    Raises LawError when the law does not trade N against D, PlanError for a ratio or budget that is not positive.
    Source: the overhead at fixed loss after Hoffmann et al. 2022, arXiv:2203.15556, eq. 4, and Sardana et al. 2023,
    arXiv:2401.00448, sec. 2.
    """
    shares = np.array([positive("a ratio", r) for r in ratios])
    if not shares.size:
        raise PlanError("no ratio was given: name at least one, such as 0.5.")
    if not (math.isfinite(inference_tokens) and inference_tokens >= 0):
        raise PlanError(f"inference_tokens must be zero or a positive number, not {inference_tokens}.")
    best = allocate(fitted, flops, compute=compute, inputs=inputs)
    if best.flops.size != 1:
        raise PlanError(f"a trade-off is at one budget, not {best.flops.size}.")
    if best.point.n_params.ndim != 1:
        raise PlanError("a trade-off is for one law: take one group or one draw first.")
    n_best = float(best.point.n_params[0])
    at_point = _trade_off(best.point, n_best, shares, inference_tokens, compute, serving)
    if best.of is None:
        return at_point
    drawn = _trade_off(best, n_best, shares, inference_tokens, compute, serving)
    return TradeOff(**{**vars(drawn), "of": at_point})


def _trade_off(
    best: Allocation, n_best: float, ratio: Array, served: float, compute: Accounting, serving: Accounting
) -> TradeOff:
    budget = float(best.flops[0])
    n = n_best * ratio
    with np.errstate(all="ignore"):
        d = compute.n_tokens(n, budget)
        d_best = float(compute.n_tokens(n_best, budget))
        loss = loss_at(best, n, d)
        target = loss_at(best, np.array([n_best]), np.array([d_best]))  # (..., 1)
        same = _tokens_for(lambda tokens: loss_at(best, n, tokens), target, loss.shape)
        training = compute.flops(n, same)
        return TradeOff(
            flops=budget, inference_tokens=served, best_n_params=n_best, best_n_tokens=d_best, ratio=ratio, n_params=n,
            n_tokens=d, loss=loss, penalty=loss - target, n_tokens_same_loss=same, overhead=training / budget - 1,
            total=training + serving.flops(n, served),
        )  # fmt: skip


def _tokens_for(loss: Callable[[Array], Array], target: Array, shape: tuple[int, ...]) -> Array:
    """Tokens (..., k) at which a loss that falls with tokens meets its target; nan where it never does. By bisection in ln D."""
    low, high = np.zeros(shape), np.full(shape, math.log(1e30))
    reached = loss(np.exp(high)) <= target
    for _ in range(70):  # 70 halvings of ln(1e30) leave less than rounding
        middle = 0.5 * (low + high)
        enough = loss(np.exp(middle)) <= target
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.where(reached, np.exp(high), np.nan)
