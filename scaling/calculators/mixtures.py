"""The best shares of training data: the mixture that minimises a weighted sum of domain losses under mixing laws.

Source: Ye et al. 2024, arXiv:2403.16952. The sum of exponentials is convex in the shares, so one start finds the optimum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from scaling.errors import LawError, PlanError
from scaling.laws.law import Array

MOST_DRAWS = 200


@dataclass(frozen=True)
class Mixture:
    """The best shares.

    shares : domain, share, low, high (nan without draws), lower, upper (limits asked for). loss : weighted loss there.
    losses : domain, weight, loss. draws (R, k) : best shares of each draw.
    """

    shares: pd.DataFrame
    loss: float
    losses: pd.DataFrame
    level: float
    draws: Array = field(repr=False)

    @property
    def finding(self) -> str:
        """One sentence."""
        parts = []
        for row in self.shares.to_dict("records"):
            band = f" ({row['low']:.0%} to {row['high']:.0%})" if np.isfinite(row["low"]) else ""
            parts.append(f"{row['domain']} {row['share']:.1%}{band}")
        return f"The least weighted loss, {self.loss:.4g}, is at {', '.join(parts)}."

    def __str__(self) -> str:
        return f"{self.finding}\n\n{self.losses.to_string(index=False, float_format=lambda v: f'{v:.4g}')}"


def best_mixture(
    fits: Mapping[str, Any],
    shares: Sequence[str],
    *,
    weights: Mapping[str, float] | None = None,
    limits: Mapping[str, tuple[float, float]] | None = None,
    level: float = 0.8,
) -> Mixture:
    """Shares on the simplex with the least weighted loss.

    Parameters
    ----------
    fits : {validation domain: fit of mixing_law(shares)}; bootstraps give intervals, draw i with draw i.
    shares : the columns of shares, in the order the laws were made with.
    weights : of the validation domains, default equal. limits : {share: (least, most)}, such as the tokens at hand.

    Raises LawError for a law of another kind, PlanError for weights or limits that no mixture satisfies.
    """
    names = list(shares)
    for domain, one in fits.items():
        if one.law.name != "mixing" or list(one.law.inputs) != names[1:]:
            raise LawError(
                f"the fit of {domain!r} is not of mixing_law({names}): its law takes {', '.join(one.law.inputs)}."
            )
    if not fits:
        raise PlanError("no fit was given: one of mixing_law for each validation domain is needed.")
    weight = np.array([1 / len(fits) if weights is None else float(weights.get(d, 0.0)) for d in fits])
    if (weight < 0).any() or weight.sum() <= 0:
        raise PlanError("weights of the domains must not be negative, and one must be positive.")
    bounds = [(limits or {}).get(n, (0.0, 1.0)) for n in names]
    if unknown := set(limits or {}) - set(names):
        raise PlanError(f"limits name {sorted(unknown)}, which are no shares ({', '.join(names)}).")
    if sum(b[0] for b in bounds) > 1 or sum(b[1] for b in bounds) < 1 or any(b[0] > b[1] for b in bounds):
        raise PlanError(
            f"no mixture satisfies the limits {dict(zip(names, bounds, strict=True))}: they must admit a sum of one."
        )
    points = [np.asarray((getattr(f, "of", None) or f).theta, float) for f in fits.values()]
    best = _solve(points, weight, bounds)
    drawn = [np.asarray(f.theta, float) for f in fits.values() if getattr(f, "of", None) is not None]
    draws = np.empty((0, len(names)))
    if len(drawn) == len(fits):
        rows = [np.isfinite(d).all(axis=1) for d in drawn]
        n = min(len(d) for d in drawn)
        usable = np.flatnonzero(np.all([r[:n] for r in rows], axis=0))[:MOST_DRAWS]
        draws = np.array([_solve([d[i] for d in drawn], weight, bounds) for i in usable])
    low = high = np.full(len(names), np.nan)
    if len(draws):
        low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    losses = [float(_loss(p, best)) for p in points]
    return Mixture(
        shares=pd.DataFrame(
            {
                "domain": names,
                "share": best,
                "low": low,
                "high": high,
                "lower": [b[0] for b in bounds],
                "upper": [b[1] for b in bounds],
            }
        ),
        loss=float(weight @ losses),
        losses=pd.DataFrame({"domain": list(fits), "weight": weight, "loss": losses}),
        level=level,
        draws=draws,
    )


def _loss(theta: Array, r: Array) -> float:
    return theta[0] + theta[1] * np.exp(theta[2:] @ r[1:])


def _solve(thetas: list[Array], weight: Array, bounds: Sequence[tuple[float, float]]) -> Array:
    from scipy.optimize import minimize

    low, high = (np.array([b[i] for b in bounds], float) for i in (0, 1))
    room = (high - low).sum()
    start = low + (high - low) * ((1 - low.sum()) / room if room > 0 else 0.0)

    def value(r: Array) -> float:
        return float(weight @ [_loss(t, r) for t in thetas])

    def gradient(r: Array) -> Array:
        """d value / d r (domains,); the first share has no weight of its own."""
        out = np.zeros(len(r))
        for w, t in zip(weight, thetas, strict=True):
            out[1:] += w * t[1] * np.exp(t[2:] @ r[1:]) * t[2:]
        return out

    found = minimize(
        value, start, jac=gradient, method="SLSQP", bounds=list(zip(low, high, strict=True)),
        constraints={"type": "eq", "fun": lambda r: r.sum() - 1, "jac": np.ones_like}, options={"ftol": 1e-13, "maxiter": 500},
    )  # fmt: skip
    r = np.clip(found.x, low, high)
    return r if found.fun <= value(start) else start
