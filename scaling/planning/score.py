"""A task's score instead of a loss: through a link, a law of one input (the loss) or a curve over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from scaling.errors import LawError, PlanError
from scaling.laws.law import Array, Law

LOSSES = (1e-3, 30.0)  # searched for the loss that a score takes


def expected_score(link: Any, loss: Array) -> Array:
    """The score (n,) that a link expects at losses (n,): of its point estimate, or the median of its curves."""
    if not hasattr(link, "law"):
        return np.median(link.score_draws(np.asarray(loss, float)), axis=0)
    law = link.law
    if len(law.inputs) != 1:
        raise LawError(f"law {law.name!r} takes {', '.join(law.inputs)}: a link takes one input, the loss.")
    point = getattr(link, "of", None) or link
    value = law.predict({law.inputs[0]: np.asarray(loss, float)}, np.asarray(point.theta, float))
    return 1 - value if "err" in law.target.lower() else value


def loss_for_score(link: Any, score: float) -> float:
    """The loss at which a link expects a score. PlanError where it never does, naming the scores that it spans."""
    grid = np.geomspace(*LOSSES, 4001)
    scores = expected_score(link, grid)
    best, worst = float(np.nanmax(scores)), float(np.nanmin(scores))
    if not worst < score < best:
        raise PlanError(
            f"a score of {score:g} is outside what the link from loss to score can give, {worst:.3g} to {best:.3g}; ask for one between."
        )
    below = np.nonzero((scores[:-1] >= score) & (scores[1:] < score))[0]
    if not len(below):
        raise PlanError("the link's score does not fall as the loss rises: it cannot turn a score into a loss.")
    low, high = float(grid[below[-1]]), float(grid[below[-1] + 1])
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if float(expected_score(link, np.array([middle]))[0]) >= score else (low, middle)
    return (low + high) / 2


def score_bands(
    link: Any, flops: Array, n_params: Array, n_tokens: Array, expected: Array, losses: Array, level: float
) -> tuple[Array, Array, Array, tuple[str, ...]]:
    """Score (m,) at the expected loss (m,), its low and high over draws of loss (R, m) and link, and what the reader must know."""
    from scaling.capability import score_along

    path = SimpleNamespace(flops=flops, n_params=n_params, n_tokens=n_tokens, loss=losses)
    chain = score_along(path, link, level=level)
    low, high = (np.full(len(flops), np.nan),) * 2 if len(chain.draws) < 2 else (chain.low, chain.high)
    return expected_score(link, expected), low, high, chain.warnings


@dataclass(frozen=True)
class Link:
    """A law of the loss with given coefficients theta (P,)."""

    law: Law
    theta: Array
    of: None = None


def link_of(law: Law, coefs: Mapping[str, float]) -> Link:
    """A link from coefficients by name. LawError when one is missing or unknown, or the law takes more than a loss."""
    if len(law.inputs) != 1:
        raise LawError(f"law {law.name!r} takes {', '.join(law.inputs)}: a link takes one input, the loss.")
    if set(coefs) != set(law.coef_names):
        raise LawError(
            f"law {law.name!r} needs the coefficients {', '.join(law.coef_names)}, not {', '.join(coefs) or 'none'}."
        )
    return Link(law, np.array([coefs[name] for name in law.coef_names], dtype=float))
