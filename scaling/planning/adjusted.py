"""A law of size and tokens, adjusted for what it does not know: repeated text, training or serving in few bits.

The adjustments use published constants of other runs, so a plan that rests on one says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scaling.laws.data_constrained import effective_tokens
from scaling.laws.law import Array, Inputs, Law
from scaling.laws.precision import effective_params, quantisation_penalty
from scaling.laws.published import published

FULL_BITS = 16.0  # at which the laws were measured
REPEATS = "repeated text is weighed with the constants of Muennighoff et al. 2023 (16 epochs and more are worth little), not of your runs"
TRAINED = (
    "the cost of training in {0:g} bits is Kumar et al. 2024's for integer types; the authors expect it not to transfer"
)
ROUNDED = "the cost of rounding to {0:g} bits is Kumar et al. 2024's; the authors expect it not to transfer"

Change = Callable[
    [Inputs], tuple[dict[str, Array], Array | float]
]  # inputs -> changed inputs, what is added to the loss


@dataclass(frozen=True)
class Adjusted:
    """A fitted law under a changed formula; everything else is that of `base`."""

    base: Any
    law: Law
    theta: Array
    of: Adjusted | None
    caveats: tuple[str, ...]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "base":
            raise AttributeError(name)
        return getattr(self.base, name)


def adjusted(
    fitted: Any, *, unique_tokens: float | None = None, train_bits: float | None = None, serve_bits: float | None = None
) -> Any:
    """The fitted law with what is asked for added where its own formula lacks it; itself where nothing is.

    unique_tokens : text that may be repeated; train_bits, serve_bits : of training, and of the weights that are served.
    """
    if getattr(fitted, "prepared", False):
        return fitted  # an average of laws that have been through here
    law = fitted.law
    changes: list[Change] = []
    caveats: list[str] = []
    more: list[str] = []
    if unique_tokens is not None and "n_unique_tokens" not in law.inputs:
        changes.append(_repeats)
        caveats.append(REPEATS)
        more.append("n_unique_tokens")
    if train_bits is not None and train_bits < FULL_BITS and "bits_weights" not in law.inputs:
        changes.append(_trained_in(train_bits))
        caveats.append(TRAINED.format(train_bits))
    if serve_bits is not None and serve_bits < FULL_BITS and "bits_post" not in law.inputs:
        changes.append(_rounded_to(serve_bits))
        caveats.append(ROUNDED.format(serve_bits))
    if not changes:
        return fitted
    changed = replace(
        law, inputs=(*law.inputs, *more), formula=_through(law.formula, changes), jacobian=None, second=None
    )
    return _wrap(fitted, changed, tuple(caveats))


def _wrap(fitted: Any, law: Law, caveats: tuple[str, ...]) -> Adjusted:
    of = getattr(fitted, "of", None)
    return Adjusted(
        fitted, law, np.asarray(fitted.theta, float), None if of is None else _wrap(of, law, caveats), caveats
    )


def _through(formula: Callable[[Inputs, Array], Array], changes: list[Change]) -> Callable[[Inputs, Array], Array]:
    def changed(x: Inputs, theta: Array) -> Array:
        """The law at the inputs as changed, plus the penalties of the changes [the law's unit of loss]."""
        inputs, penalty = dict(x), 0.0
        for change in changes:
            inputs, more = change(inputs)
            penalty = penalty + more  # type: ignore[assignment]
        return formula(inputs, theta) + penalty

    return changed


def _repeats(x: Inputs) -> tuple[dict[str, Array], float]:
    unique = np.where(np.real(x["n_tokens"]) < np.real(x["n_unique_tokens"]), x["n_tokens"], x["n_unique_tokens"])
    return {**x, "n_tokens": _effective(x["n_tokens"], unique)}, 0.0


def _effective(n_tokens: Array, unique: Array) -> Array:
    Rd = float(published("muennighoff2023").theta[5])
    return unique * (1 - Rd * np.expm1(-(n_tokens / unique - 1) / Rd))


def _trained_in(bits: float) -> Change:
    kept = float(effective_params(np.asarray(1.0), bits, bits, bits))

    def change(x: Inputs) -> tuple[dict[str, Array], float]:
        return {**x, "n_params": x["n_params"] * kept}, 0.0

    return change


def _rounded_to(bits: float) -> Change:
    theta = published("kumar2024-post").theta

    def change(x: Inputs) -> tuple[dict[str, Array], Array | float]:
        return dict(x), quantisation_penalty(x["n_params"], x["n_tokens"], np.asarray(bits), theta)

    return change


def epochs_worth(n_tokens: float, unique_tokens: float, Rd: float | None = None) -> dict[str, float]:
    """Epochs over the text, what all tokens are worth as unique ones, and what the next repeated token is worth.

    Source: Muennighoff et al. 2023, arXiv:2305.16264, eq. 5: a token of repetition R is worth exp(-R / Rd) of a fresh one.
    """
    Rd = float(published("muennighoff2023").theta[5]) if Rd is None else Rd
    unique = min(n_tokens, unique_tokens)
    repeats = n_tokens / unique - 1
    worth = float(effective_tokens(np.asarray(n_tokens), np.asarray(unique), Rd))
    return {"epochs": n_tokens / unique, "worth": worth / n_tokens, "next_token": float(np.exp(-repeats / Rd))}
