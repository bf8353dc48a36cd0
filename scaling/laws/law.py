"""The contract of a scaling law: data plus a formula. Everything else in the package follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from scaling.errors import LawError

Array = np.ndarray
Inputs = Mapping[str, Array]


@dataclass(frozen=True)
class Coef:
    """One coefficient of a law.

    starts : (low, high), the plausible range that the global search covers (log-spaced when the coefficient is positive).
    lower, upper : open bounds. The default (0, inf) is a positive coefficient; (-inf, inf) is free; finite bounds
        on both sides an interval. The solver works on the log, the identity or the logit accordingly.
    """

    name: str
    meaning: str
    starts: tuple[float, float]
    lower: float = 0.0
    upper: float = np.inf


@dataclass(frozen=True)
class Law:
    """A scaling law.

    formula(x, theta) : x maps each input name to an array (n,) or (..., n); theta is (..., P) in the order of `coefs`;
        returns predictions (..., n). Written with numpy so that complex theta works (the complex step differentiates it).
    jacobian(x, theta) : optional; returns (prediction (..., n), derivative (..., n, P)) from one evaluation. Without it
        the complex step is used.
    second(x, theta, weights) : optional; weights (..., n); returns sum_i weights_i d2 prediction_i / d theta2 (..., P, P). It
        saves the solver the differences of `jacobian` that it takes otherwise: a quarter of the time of a resample.
    linear : names of coefficients in which the formula is linear once the others are fixed; they are eliminated
        in the global search.
    domain : in words, where the law is meant to hold.
    derived : quantities that follow from the coefficients alone, each a function of theta (..., P) returning (...).
    """

    name: str
    equation: str
    inputs: tuple[str, ...]
    coefs: tuple[Coef, ...]
    formula: Callable[[Inputs, Array], Array]
    jacobian: Callable[[Inputs, Array], tuple[Array, Array]] | None = None
    second: Callable[[Inputs, Array, Array], Array] | None = None
    linear: tuple[str, ...] = ()
    target: str = "loss"
    latex: str = ""
    domain: str = ""
    source: str = ""
    title: str = ""
    derived: Mapping[str, Callable[[Array], Array]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [c.name for c in self.coefs]
        if len(set(names)) != len(names):
            raise LawError(f"law {self.name!r} names a coefficient twice: {', '.join(names)}.")
        if unknown := set(self.linear) - set(names):
            raise LawError(
                f"law {self.name!r}: linear names {sorted(unknown)}, which are no coefficients of it ({', '.join(names)})."
            )
        for c in self.coefs:
            low, high = c.starts
            if not (c.lower <= low <= high <= c.upper and np.isfinite([low, high]).all()):
                raise LawError(
                    f"law {self.name!r}: starts {c.starts} of {c.name!r} lie outside its bounds ({c.lower}, {c.upper})."
                )

    @cached_property
    def coef_names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.coefs)

    def __repr__(self) -> str:
        return f"Law({self.name}: {self.equation})"

    def predict(self, x: Inputs, theta: Array) -> Array:
        """Predictions (..., n) of the target at inputs x for coefficients theta (..., P)."""
        return self.formula(x, np.asarray(theta))

    def value_and_jacobian(self, x: Inputs, theta: Array) -> tuple[Array, Array]:
        """Predictions (..., n) and their derivatives (..., n, P) with respect to theta (..., P)."""
        if self.jacobian is not None:
            return self.jacobian(x, theta)
        return complex_step(self.formula, x, theta)


def complex_step(
    formula: Callable[[Inputs, Array], Array], x: Inputs, theta: Array, h: float = 1e-100
) -> tuple[Array, Array]:
    """Prediction and derivative by f(theta + ih).imag / h: exact to rounding for formulas without abs or comparisons."""
    theta = np.asarray(theta, dtype=float)
    n_coefs = theta.shape[-1]
    stepped = theta[..., None, :] + 1j * h * np.eye(n_coefs)  # (..., P, P): one row per stepped coefficient
    x_rows = {k: v if np.ndim(v) == 1 else np.asarray(v)[..., None, :] for k, v in x.items()}
    out = formula(x_rows, stepped)
    value = formula(x, theta)
    return np.asarray(value, dtype=float), np.moveaxis(np.imag(out) / h, -2, -1)


def split(theta: Array) -> tuple[Array, ...]:
    """Coefficients (..., P) as P arrays (..., 1) that broadcast against runs (..., n)."""
    theta = np.asarray(theta)
    return tuple(theta[..., i, None] for i in range(theta.shape[-1]))


def stack(*derivatives: Array) -> Array:
    """P derivatives, each (..., n) or broadcastable, as one array (..., n, P).

    In memory the coefficients come first, so that each derivative is contiguous over the runs: the solver's products
    are twice as fast for it.
    """
    return np.moveaxis(np.stack(np.broadcast_arrays(*derivatives)), 0, -1)
