"""Working coordinates: coefficients as the solver sees them, unbounded and of order one.

A positive coefficient is worked on as its log, one in an interval as its logit, a free one as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scaling.errors import FitError
from scaling.laws.law import Array, Law


@dataclass(frozen=True)
class Coordinates:
    """The free coefficients of a law (all but the fixed ones) and the map between them and the full theta."""

    law: Law
    fixed: dict[str, float]

    def __post_init__(self) -> None:
        for name, value in self.fixed.items():
            if name not in self.law.coef_names:
                raise FitError(f"cannot fix {name!r}: law {self.law.name!r} has {', '.join(self.law.coef_names)}.")
            coef = self.law.coefs[self.law.coef_names.index(name)]
            if not (np.isfinite(value) and coef.lower <= value <= coef.upper):
                raise FitError(f"cannot fix {name} at {value}: it must lie between {coef.lower:g} and {coef.upper:g}.")
        if len(self.fixed) == len(self.law.coefs):
            raise FitError(f"all coefficients of {self.law.name!r} are fixed: nothing is left to fit.")

    @cached_property
    def free(self) -> list[int]:
        return [i for i, c in enumerate(self.law.coefs) if c.name not in self.fixed]

    @cached_property
    def _only_logs(self) -> Array | None:
        """Lower bounds (p,) of the free coefficients where all of them are worked on as logs, as in most laws; else None."""
        coefs = [self.law.coefs[i] for i in self.free]
        logs = all(np.isfinite(c.lower) and not np.isfinite(c.upper) for c in coefs)
        return np.array([c.lower for c in coefs]) if logs else None

    @cached_property
    def on_log_scale(self) -> Array:
        """(p,) True for coordinates that are logs: those can vanish."""
        return np.array([self.law.coefs[i].lower == 0 and not np.isfinite(self.law.coefs[i].upper) for i in self.free])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the working coordinates, such as 'log A'."""
        return tuple(_label(self.law.coefs[i]) for i in self.free)

    def to_working(self, theta: Array) -> Array:
        """(..., P) -> (..., p)."""
        theta = np.asarray(theta, dtype=float)
        out = np.empty((*theta.shape[:-1], len(self.free)))
        for k, i in enumerate(self.free):
            c, t = self.law.coefs[i], theta[..., i]
            if np.isfinite(c.lower) and np.isfinite(c.upper):
                out[..., k] = np.log((t - c.lower) / (c.upper - t))
            elif np.isfinite(c.lower):
                out[..., k] = np.log(t - c.lower)
            elif np.isfinite(c.upper):
                out[..., k] = -np.log(c.upper - t)
            else:
                out[..., k] = t
        return out

    def to_theta(self, u: Array) -> tuple[Array, Array]:
        """(..., p) -> theta (..., P) and d theta_free / d u (..., p)."""
        theta = np.empty((*u.shape[:-1], len(self.law.coefs)))
        slope = np.empty_like(u)
        for i, c in enumerate(self.law.coefs):
            if c.name in self.fixed:
                theta[..., i] = self.fixed[c.name]
        if self._only_logs is not None:  # the solver comes here at every step
            np.exp(u, out=slope)
            theta[..., self.free] = self._only_logs + slope
            return theta, slope
        for k, i in enumerate(self.free):
            c, v = self.law.coefs[i], u[..., k]
            if np.isfinite(c.lower) and np.isfinite(c.upper):
                share = 0.5 * (1 + np.tanh(0.5 * v))  # the logistic function, without overflow
                theta[..., i] = c.lower + (c.upper - c.lower) * share
                slope[..., k] = (c.upper - c.lower) * share * (1 - share)
            elif np.isfinite(c.lower):
                slope[..., k] = np.exp(v)
                theta[..., i] = c.lower + slope[..., k]
            elif np.isfinite(c.upper):
                slope[..., k] = np.exp(-v)
                theta[..., i] = c.upper - slope[..., k]
            else:
                theta[..., i] = v
                slope[..., k] = 1.0
        return theta, slope

    def bend(self, theta: Array, slope: Array) -> Array:
        """d2 theta_free / d u2 (..., p) where theta (..., P) and slope = d theta_free / d u (..., p)."""
        if self._only_logs is not None:
            return slope
        out = np.zeros_like(slope)
        for k, i in enumerate(self.free):
            c = self.law.coefs[i]
            if np.isfinite(c.lower) and np.isfinite(c.upper):
                out[..., k] = slope[..., k] * (1 - 2 * (theta[..., i] - c.lower) / (c.upper - c.lower))
            elif np.isfinite(c.lower):
                out[..., k] = slope[..., k]
            elif np.isfinite(c.upper):
                out[..., k] = -slope[..., k]
        return out


def _label(c: object) -> str:
    lower, upper, name = c.lower, c.upper, c.name  # type: ignore[attr-defined]
    if np.isfinite(lower) and np.isfinite(upper):
        return f"logit {name}"
    if np.isfinite(lower):
        return f"log {name}" if lower == 0 else f"log({name} - {lower:g})"
    if np.isfinite(upper):
        return f"-log({upper:g} - {name})"
    return str(name)
