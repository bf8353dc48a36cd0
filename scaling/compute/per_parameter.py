"""What a token costs a model of N parameters, as a constant or a power of N: C = 6 N D and its relatives, each way round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from scaling.errors import PlanError

Array = np.ndarray


class Accounting(Protocol):
    """Training compute as a function of N and D, and its two inverses. Arguments broadcast."""

    @property
    def name(self) -> str: ...

    @property
    def equation(self) -> str: ...

    def flops(self, n_params: Any, n_tokens: Any) -> Array: ...

    def n_tokens(self, n_params: Any, flops: Any) -> Array: ...

    def n_params(self, n_tokens: Any, flops: Any) -> Array: ...


def floats(value: Any) -> Array:
    """As floats; complex numbers stay, because allocation differentiates accountings by the complex step."""
    value = np.asarray(value)
    return value if np.iscomplexobj(value) else value.astype(float)


@dataclass(frozen=True)
class PerParameter:
    """C = k N D: each parameter takes part in k FLOPs per token (2 forward, 4 backward)."""

    flops_per_param_token: float = 6.0

    @property
    def name(self) -> str:
        return f"{self.flops_per_param_token:g}ND"

    @property
    def equation(self) -> str:
        return f"C = {self.flops_per_param_token:g} N D"

    def flops(self, n_params: Any, n_tokens: Any) -> Array:
        """FLOPs of training n_params on n_tokens."""
        return self.flops_per_param_token * floats(n_params) * floats(n_tokens)

    def n_tokens(self, n_params: Any, flops: Any) -> Array:
        """Tokens that a budget buys for a model size."""
        return floats(flops) / (self.flops_per_param_token * floats(n_params))

    def n_params(self, n_tokens: Any, flops: Any) -> Array:
        """Model size that a budget can train on so many tokens."""
        return floats(flops) / (self.flops_per_param_token * floats(n_tokens))


DENSE = PerParameter()
FROZEN = PerParameter(4.0)  # fine-tuning adapters: no gradients of the frozen weights
INFERENCE = PerParameter(2.0)  # forward only


@dataclass(frozen=True)
class ActiveExperts:
    """C = 6 (share N) D for a mixture of experts whose law counts all N but a token uses only a share of them.

    Where the law's N is already the active one, DENSE is the accounting.
    """

    active_share: float

    def __post_init__(self) -> None:
        if not 0 < self.active_share <= 1:
            raise PlanError(
                f"active_share {self.active_share!r} is no share of the parameters: it lies in (0, 1], active / total."
            )

    @property
    def name(self) -> str:
        return f"6ND, {self.active_share:.3g} of N active"

    @property
    def equation(self) -> str:
        return f"C = 6 ({self.active_share:.4g} N) D"

    @property
    def _dense(self) -> PerParameter:
        return PerParameter(6.0 * self.active_share)

    def flops(self, n_params: Any, n_tokens: Any) -> Array:
        return self._dense.flops(n_params, n_tokens)

    def n_tokens(self, n_params: Any, flops: Any) -> Array:
        return self._dense.n_tokens(n_params, flops)

    def n_params(self, n_tokens: Any, flops: Any) -> Array:
        return self._dense.n_params(n_tokens, flops)


@dataclass(frozen=True)
class Recomputed:
    """What the hardware executes when activations are recomputed: the forward pass twice, 4/3 of the compute of `of`."""

    of: Accounting = DENSE

    @property
    def name(self) -> str:
        return f"{self.of.name}, activations recomputed"

    @property
    def equation(self) -> str:
        return f"{self.of.equation}, times 4/3"

    def flops(self, n_params: Any, n_tokens: Any) -> Array:
        return self.of.flops(n_params, n_tokens) * 4 / 3

    def n_tokens(self, n_params: Any, flops: Any) -> Array:
        return self.of.n_tokens(n_params, floats(flops) * 3 / 4)

    def n_params(self, n_tokens: Any, flops: Any) -> Array:
        return self.of.n_params(n_tokens, floats(flops) * 3 / 4)


@dataclass(frozen=True)
class Lifetime:
    """Compute of training plus serving: the base accounting and 2 FLOPs per parameter for each token served.

    A budget is then what the model costs over its life. Source: Sardana et al. 2023, arXiv:2401.00448.
    """

    base: Accounting
    inference_tokens: float

    @property
    def name(self) -> str:
        return f"{self.base.name} + 2N T"

    @property
    def equation(self) -> str:
        return f"{self.base.equation} for training, plus 2 N T for serving T = {self.inference_tokens:.3g} tokens"

    def flops(self, n_params: Any, n_tokens: Any) -> Array:
        """FLOPs of training and serving."""
        return self.base.flops(n_params, n_tokens) + INFERENCE.flops(n_params, self.inference_tokens)

    def n_tokens(self, n_params: Any, flops: Any) -> Array:
        """Training tokens left in a budget after serving; negative where serving alone costs more."""
        return self.base.n_tokens(n_params, floats(flops) - INFERENCE.flops(n_params, self.inference_tokens))

    def n_params(self, n_tokens: Any, flops: Any) -> Array:
        """Model size that a budget can train on so many tokens and serve: by bisection in its logarithm."""
        high = np.log(self.base.n_params(n_tokens, flops))
        low = np.full(high.shape, -10.0)
        for _ in range(80):
            middle = (low + high) / 2
            fits = self.flops(np.exp(middle), n_tokens) <= floats(flops)
            low, high = np.where(fits, middle, low), np.where(fits, high, middle)
        return np.exp(low)


@dataclass(frozen=True)
class Logged:
    """C = k N^p D, read off runs that logged their own FLOPs.

    scatter : standard deviation of ln(logged / computed) over those runs.
    """

    k: float
    power: float
    scatter: float = 0.0

    @property
    def name(self) -> str:
        return "as logged"

    @property
    def equation(self) -> str:
        return f"C = {self.k:.4g} N^{self.power:.4g} D"

    def flops(self, n_params: Any, n_tokens: Any) -> Array:
        return self.k * floats(n_params) ** self.power * floats(n_tokens)

    def n_tokens(self, n_params: Any, flops: Any) -> Array:
        return floats(flops) / (self.k * floats(n_params) ** self.power)

    def n_params(self, n_tokens: Any, flops: Any) -> Array:
        return (floats(flops) / (self.k * floats(n_tokens))) ** (1 / self.power)


def logged(n_params: Any, n_tokens: Any, flops: Any) -> Logged:
    """The accounting that logged runs follow: least squares of ln(C / D) on ln N. All (n,), positive.

    Sizes within 1 % of each other cannot show a power: then it is 1 and k is the geometric mean of C / (N D).
    Raises PlanError without a run, or when a value is not positive and finite, or when compute falls as models grow.
    """
    n, d, c = (np.ravel(floats(v)) for v in (n_params, n_tokens, flops))
    if not n.size or not (n.size == d.size == c.size):
        raise PlanError(
            f"an accounting needs size, tokens and FLOPs of the same runs, not {n.size}, {d.size} and {c.size} of them."
        )
    if not all(np.isfinite(v).all() and (v > 0).all() for v in (n, d, c)):
        raise PlanError(
            "an accounting needs sizes, tokens and FLOPs that are positive and finite; drop the runs where they are not."
        )
    log_n, per_token = np.log(n), np.log(c / d)
    centre = log_n.mean()
    spread = log_n - centre
    power = float(spread @ (per_token - per_token.mean()) / (spread @ spread)) if np.ptp(log_n) > 0.01 else 1.0
    if power <= 0:
        raise PlanError(
            f"the logged FLOPs per token fall as models grow (power {power:.3g}); check the units of the FLOPs column."
        )
    log_k = float(per_token.mean() - power * centre)
    return Logged(float(np.exp(log_k)), power, float(np.std(per_token - log_k - power * log_n)))
