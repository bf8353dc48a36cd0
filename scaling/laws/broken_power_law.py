"""Smoothly broken power laws: straight lines in log-log, joined by bends of any width."""

from __future__ import annotations

from functools import partial

import numpy as np

from scaling.errors import LawError
from scaling.laws.law import Array, Coef, Inputs, Law, split, stack
from scaling.laws.stable import sigmoid, softplus


def _curve(x: Inputs, theta: Array, column: str) -> Array:
    a, b, c0, *breaks = split(theta)
    log_x = np.log(x[column])
    log_power = -c0 * log_x
    for c, d, f in zip(breaks[::3], breaks[1::3], breaks[2::3], strict=True):
        log_power = log_power - c * f * softplus((log_x - np.log(d)) / f)
    return a + b * np.exp(log_power)


def _jacobian(x: Inputs, theta: Array, column: str) -> tuple[Array, Array]:
    a, b, c0, *breaks = split(theta)
    log_x = np.log(x[column])
    log_power = -c0 * log_x
    slopes = [-log_x]  # of log_power, in the order of the coefficients from c0 on
    for c, d, f in zip(breaks[::3], breaks[1::3], breaks[2::3], strict=True):
        z = (log_x - np.log(d)) / f
        bend, share = softplus(z), sigmoid(z)
        log_power = log_power - c * f * bend
        slopes += [-f * bend, c * share / d, c * (z * share - bend)]
    power = np.exp(log_power)
    term = b * power
    return a + term, stack(np.ones_like(term), power, *(term * s for s in slopes))


def broken_power_law(
    n_breaks: int, x: str = "flops", target: str = "loss", x_range: tuple[float, float] = (1e12, 1e26), name: str = ""
) -> Law:
    """The broken neural scaling law with n breaks in column x: 3 + 3 n coefficients.

    x_range : where breaks are searched for; the range of the data is best.
    Slopes of ln(y - a) are -c0 before the first break, -(c0 + c1) after it, and so on; c_i < 0 makes a bump.
    n_breaks = 0 is a power law with a floor. Raises LawError for a negative n_breaks or an empty range.
    """
    if n_breaks < 0 or not 0 < x_range[0] < x_range[1]:
        raise LawError(
            f"a broken power law takes 0 breaks or more and a range 0 < low < high, not {n_breaks} and {x_range}."
        )
    breaks = range(1, n_breaks + 1)
    coefs = [
        Coef("a", "limit at unlimited x [target unit]", starts=(1e-2, 3.0)),
        Coef("b", "amplitude of the first segment at x = 1 [target unit]", starts=(1e-2, 1e6)),
        Coef("c0", "exponent of the first segment", starts=(0.0, 1.0), lower=-np.inf),
    ]
    for i in breaks:
        coefs += [
            Coef(f"c{i}", f"change of exponent at break {i}", starts=(-1.0, 2.0), lower=-np.inf),
            Coef(f"d{i}", f"place of break {i} [unit of x]", starts=x_range),
            Coef(f"f{i}", f"width of break {i} [in ln x]", starts=(0.05, 2.0)),
        ]
    return Law(
        name=name or f"bnsl{n_breaks}",
        title=f"Broken neural scaling law, {n_breaks} break{'' if n_breaks == 1 else 's'}",
        equation="y = a + b x^-c0" + "".join(f" (1 + (x/d{i})^(1/f{i}))^(-c{i} f{i})" for i in breaks),
        latex="y = a + b\\,x^{-c_0}"
        + "".join(rf"\left(1 + (x/d_{{{i}}})^{{1/f_{{{i}}}}}\right)^{{-c_{{{i}}} f_{{{i}}}}}" for i in breaks),
        inputs=(x,),
        target=target,
        coefs=tuple(coefs),
        linear=("a", "b"),
        formula=partial(_curve, column=x),
        jacobian=partial(_jacobian, column=x),
        domain="any one scale on the horizontal axis; extrapolates only past the last break that the data show",
        source="Caballero et al. 2022, arXiv:2210.14891, eq. 1",
    )


BROKEN_POWER_LAWS = tuple(broken_power_law(n) for n in (1, 2, 3))
