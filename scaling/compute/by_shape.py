"""What a token costs the shape of a family that goes with N; every accounting by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.compute.families import Family, family_named
from scaling.compute.per_parameter import DENSE, FROZEN, Accounting, Array, Recomputed, floats
from scaling.compute.shape import method_named, near
from scaling.errors import PlanError


@dataclass(frozen=True)
class OfFamily:
    """C = f(N) D, with f the FLOPs per token, by a method, of the family's shape of size N.

    counts : what the law's N is, 'total' or 'non-embedding'. context : tokens that attention sees.
    """

    method: str = "palm"
    family: str | Family = "modern"
    context: int = 2048
    counts: str = "total"

    def __post_init__(self) -> None:
        method_named(self.method)
        family_named(self.family)
        if self.counts not in ("total", "non-embedding"):
            raise PlanError(f"counts is 'total' or 'non-embedding', not {self.counts!r}.")
        if self.context < 0:
            raise PlanError(f"context {self.context!r} is no number of tokens.")

    @property
    def name(self) -> str:
        return f"{self.method}, {family_named(self.family).name} shapes, context {self.context}"

    @property
    def equation(self) -> str:
        return f"C = D times {method_named(self.method).equation} ({family_named(self.family).name} shapes, context {self.context})"

    def per_token(self, n_params: Any) -> Array:
        """Training FLOPs per token of a model of this size."""
        return floats(
            family_named(self.family).continuous(n_params, self.counts).flops_per_token(self.context, self.method)
        )

    def flops(self, n_params: Any, n_tokens: Any) -> Array:
        """FLOPs of training n_params on n_tokens."""
        return self.per_token(n_params) * floats(n_tokens)

    def n_tokens(self, n_params: Any, flops: Any) -> Array:
        """Tokens that a budget buys for a model size."""
        return floats(flops) / self.per_token(n_params)

    def n_params(self, n_tokens: Any, flops: Any) -> Array:
        """Model size that a budget can train on so many tokens, by bisection in ln N: per_token rises with N."""
        wanted = np.log(floats(flops) / floats(n_tokens))
        low, high = np.full_like(wanted, np.log(1e1)), np.full_like(wanted, np.log(1e20))
        for _ in range(60):  # 60 halvings of ln(1e19) leave less than rounding
            middle = 0.5 * (low + high)
            below = np.log(self.per_token(np.exp(middle))) < wanted
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return np.exp(0.5 * (low + high))


ACCOUNTINGS: Mapping[str, Accounting] = {
    "dense": DENSE,
    "recomputed": Recomputed(DENSE),
    "frozen": FROZEN,
    "non-embedding": OfFamily("non-embedding"),
    "kaplan": OfFamily("kaplan", "gpt3", 1024, "non-embedding"),
    "palm": OfFamily("palm"),
    "hoffmann": OfFamily("hoffmann", "chinchilla"),
    "deepseek": OfFamily("deepseek", "llama", 4096, "non-embedding"),
}


def accounting(name: str) -> Accounting:
    """A way to count FLOPs by its name in ACCOUNTINGS; PlanError with the nearest names when there is none."""
    if name.lower() not in ACCOUNTINGS:
        raise PlanError(f"FLOPs are not counted by {name[:40]!r}; {near(name, ACCOUNTINGS)}")
    return ACCOUNTINGS[name.lower()]
