"""Learning curves of classical machine learning: error against training examples, two to four coefficients.

Forms of LCDB, written for an error that falls (LCDB writes some of them for a score that rises).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack
from scaling.laws.stable import sigmoid

SOURCE = "Mohr et al. 2022, LCDB 1.0 (ECML PKDD), table 1"
_DOMAIN = "error of one learner on one data set, training examples n from a handful on"
_FLOOR = (0.005, 0.6)
_GAP = (0.02, 5.0)


def _curve(
    name: str,
    title: str,
    equation: str,
    latex: str,
    coefs: tuple[Coef, ...],
    linear: tuple[str, ...],
    formula: Callable[[Inputs, Array], Array],
    jacobian: Callable[[Inputs, Array], tuple[Array, Array]],
    domain: str = "",
) -> Law:
    return Law(
        name=f"curve_{name}",
        title=f"Learning curve {name}: {title}",
        equation=f"eps(n) = {equation}",
        latex=rf"\varepsilon(n) = {latex}",
        inputs=("n_samples",),
        target="error",
        coefs=coefs,
        linear=linear,
        formula=formula,
        jacobian=jacobian,
        domain=f"{_DOMAIN}{'; ' if domain else ''}{domain}",
        source=SOURCE,
    )


def _free(name: str, meaning: str, starts: tuple[float, float]) -> Coef:
    return Coef(name, meaning, starts=starts, lower=-np.inf)


def _pow3(x: Inputs, theta: Array) -> Array:
    a, b, c = split(theta)
    return a * np.exp(-c * np.log(x["n_samples"])) + b


def _pow3_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    a, b, c = split(theta)
    log_n = np.log(x["n_samples"])
    power = np.exp(-c * log_n)
    return a * power + b, stack(power, np.ones_like(power), -a * power * log_n)


POW3 = _curve(
    "pow3",
    "power and floor",
    "a n^-c + b",
    r"a\,n^{-c} + b",
    (
        Coef("a", "reducible error at one example [target unit]", starts=(1e-2, 1e2)),
        Coef("b", "error with unlimited data [target unit]", starts=_FLOOR),
        Coef("c", "exponent", starts=(0.05, 2.0)),
    ),
    ("a", "b"),
    _pow3,
    _pow3_jacobian,
)


def _log2(x: Inputs, theta: Array) -> Array:
    a, b = split(theta)
    return a - b * np.log(x["n_samples"])


def _log2_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    log_n = np.log(x["n_samples"])
    return _log2(x, theta), stack(np.broadcast_to(1.0, np.shape(_log2(x, theta))), -log_n)


LOG2 = _curve(
    "log2",
    "straight in log n",
    "a - b ln n",
    r"a - b \ln n",
    (
        _free("a", "error at one example [target unit]", (0.05, 2.0)),
        _free("b", "fall per factor e of data [target unit]", (1e-3, 0.3)),
    ),
    ("a", "b"),
    _log2,
    _log2_jacobian,
    "a short stretch only: it falls below zero in the end",
)


def _exp3(x: Inputs, theta: Array) -> Array:
    a, b, c = split(theta)
    return a * np.exp(-b * x["n_samples"]) + c


def _exp3_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    a, b, c = split(theta)
    fall = np.exp(-b * x["n_samples"])
    return a * fall + c, stack(fall, -a * fall * x["n_samples"], np.ones_like(fall))


EXP3 = _curve(
    "exp3",
    "exponential and floor",
    "a exp(-b n) + c",
    r"a\,e^{-b n} + c",
    (
        Coef("a", "reducible error without data [target unit]", starts=_GAP),
        Coef("b", "rate [1/examples]", starts=(1e-5, 1e-1)),
        Coef("c", "error with unlimited data [target unit]", starts=_FLOOR),
    ),
    ("a", "c"),
    _exp3,
    _exp3_jacobian,
)


def _mmf4(x: Inputs, theta: Array) -> Array:
    a, b, c, d = split(theta)
    share = sigmoid(np.log(b) - d * np.log(x["n_samples"]))  # b / (b + n^d)
    return a * share + c * (1 - share)


def _mmf4_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    a, b, c, d = split(theta)
    log_n = np.log(x["n_samples"])
    z = np.log(b) - d * log_n
    share, rest = sigmoid(z), sigmoid(-z)
    slope = (a - c) * share * rest
    return a * share + c * rest, stack(share, slope / b, rest, -slope * log_n)


MMF4 = _curve(
    "mmf4",
    "Morgan-Mercer-Flodin, a sigmoid in log n",
    "(a b + c n^d) / (b + n^d)",
    r"\frac{a b + c\,n^{d}}{b + n^{d}}",
    (
        Coef("a", "error without data [target unit]", starts=(0.05, 2.0)),
        Coef("b", "n^d half-way", starts=(1e0, 1e6)),
        Coef("c", "error with unlimited data [target unit]", starts=_FLOOR),
        Coef("d", "exponent far out", starts=(0.1, 3.0)),
    ),
    ("a", "c"),
    _mmf4,
    _mmf4_jacobian,
    "the best of LCDB's sixteen forms at extrapolation",
)


def _logpow3(x: Inputs, theta: Array) -> Array:
    a, b, c = split(theta)
    return a * sigmoid(c * (b - np.log(x["n_samples"])))


def _logpow3_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    a, b, c = split(theta)
    behind = b - np.log(x["n_samples"])
    share = sigmoid(c * behind)
    slope = a * share * sigmoid(-c * behind)
    return a * share, stack(share, slope * c, slope * behind)


LOGPOW3 = _curve(
    "logpow3",
    "logistic in log n, to zero",
    "a / (1 + (n / exp(b))^c)",
    r"\frac{a}{1 + (n / e^{b})^{c}}",
    (
        Coef("a", "error without data [target unit]", starts=(0.05, 2.0)),
        _free("b", "ln n half-way", (0.0, 20.0)),
        Coef("c", "exponent far out", starts=(0.05, 2.0)),
    ),
    ("a",),
    _logpow3,
    _logpow3_jacobian,
)


def _vap3(x: Inputs, theta: Array) -> Array:
    a, b, c = split(theta)
    return np.exp(a + b / x["n_samples"] + c * np.log(x["n_samples"]))


def _vap3_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    value = _vap3(x, theta)
    return value, stack(value, value / x["n_samples"], value * np.log(x["n_samples"]))


VAP3 = _curve(
    "vap3",
    "vapour pressure",
    "exp(a + b/n + c ln n)",
    r"e^{a + b/n + c \ln n}",
    (
        _free("a", "ln of the error at one example [of the target unit]", (-3.0, 2.0)),
        _free("b", "deviation at small n [examples]", (-10.0, 10.0)),
        _free("c", "exponent, negative for a curve that falls", (-1.0, 0.1)),
    ),
    (),
    _vap3,
    _vap3_jacobian,
)

LEARNING_CURVES = (POW3, LOG2, EXP3, MMF4, LOGPOW3, VAP3)
