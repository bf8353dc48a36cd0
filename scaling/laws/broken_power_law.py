"""Smoothly broken power laws: straight lines in log-log, joined by bends of any width."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from scaling.errors import LawError
from scaling.laws.breaks import candidates
from scaling.laws.law import Array, Coef, Inputs, Law, split
from scaling.laws.stable import softplus


def _curve(x: Inputs, theta: Array, column: str) -> Array:
    a, b, c0, *breaks = split(theta)
    log_x = np.log(x[column])
    log_power = -c0 * log_x
    for c, d, f in zip(breaks[::3], breaks[1::3], breaks[2::3], strict=True):
        log_power = log_power - c * f * softplus((log_x - np.log(d)) / f)
    return a + b * np.exp(log_power)


def _bends(log_x: Array, c: Array, d: Array, f: Array, rows: Array) -> tuple[Array, Array, Array]:
    """Derivatives of ln(power) by a break's c, d, f, into rows (3, ..., n), and what they share.

    Returns z, the distance to the break in widths, sigmoid(z) and its derivative, each (..., n).
    """
    z = (log_x - np.log(d)) / f
    low, high = np.minimum(z, 0.0), np.maximum(z, 0.0)
    small = np.exp(low - high)
    inverse = np.reciprocal(1.0 + small)
    rest = small * inverse
    share = np.exp(low, out=low)  # a second exponential is cheaper than a choice between two arrays
    share *= inverse
    bend = np.log1p(small, out=small)
    bend += high
    np.multiply(bend, -f, out=rows[0])
    np.multiply(share, c / d, out=rows[1])
    np.multiply(z, share, out=rows[2])
    rows[2] -= bend
    rows[2] *= c
    return z, share, np.multiply(rest, inverse, out=rest)


def _slopes(log_x: Array, theta: Array, shape: tuple[int, ...]) -> tuple[Array, Array, list[tuple[Array, ...]]]:
    """ln(power) without its amplitude (..., n), its derivatives in rows 2.. of (P, ..., n), and the terms of each break."""
    _, _, c0, *breaks = split(theta)
    out = np.empty((theta.shape[-1], *shape))
    np.negative(log_x, out=out[2])
    log_power = c0 * out[2]
    terms: list[tuple[Array, ...]] = []
    for k, (c, d, f) in enumerate(zip(breaks[::3], breaks[1::3], breaks[2::3], strict=True)):
        rows = out[3 * k + 3 : 3 * k + 6]
        terms.append((c, d, f, *_bends(log_x, c, d, f, rows)))
        log_power += c * rows[0]
    return log_power, out, terms


def _jacobian(x: Inputs, theta: Array, column: str) -> tuple[Array, Array]:
    log_x = np.log(x[column])
    shape = np.broadcast_shapes((*theta.shape[:-1], 1), log_x.shape)
    log_power, out, _ = _slopes(log_x, theta, shape)
    out[0] = 1.0
    power = np.exp(log_power, out=out[1])
    term = theta[..., 1, None] * power
    out[2:] *= term
    return theta[..., 0, None] + term, np.moveaxis(out, 0, -1)  # coefficients first in memory, as `stack` has them


def _second(x: Inputs, theta: Array, weights: Array, column: str) -> Array:
    """sum_i weights_i d2 y_i / d theta2 (..., P, P); with g = ln of the power, d2 (b e^g) = b e^g (g' g'^T + g'')."""
    log_power, slopes, terms = _slopes(np.log(x[column]), theta, weights.shape)
    power = weights * np.exp(log_power)
    term = theta[..., 1, None] * power
    g = np.moveaxis(slopes[2:], 0, -2)  # (..., P - 2, n)
    out = np.zeros((*weights.shape[:-1], theta.shape[-1], theta.shape[-1]))
    out[..., 1, 2:] = out[..., 2:, 1] = np.matmul(g, power[..., None])[..., 0]
    inner = out[..., 2:, 2:]
    inner += np.matmul(g * term[..., None, :], g.swapaxes(-1, -2))
    for k, (c, d, f, z, share, peak) in enumerate(terms):
        i = 3 * k + 3  # where c, d, f of this break stand in theta
        c, d, f = c[..., 0], d[..., 0], f[..., 0]
        of = np.empty((5, *weights.shape))  # share, z share, peak, z peak, z^2 peak, each times b e^g
        np.multiply(term, share, out=of[0])
        np.multiply(of[0], z, out=of[1])
        np.multiply(term, peak, out=of[2])
        np.multiply(of[2], z, out=of[3])
        np.multiply(of[3], z, out=of[4])
        shared, apart, peaked, skew, wide = of.sum(-1)
        for j, m, total in (
            (i, i + 1, shared / d),
            (i, i + 2, apart + theta[..., 1] * out[..., 1, i] / f),  # less the bend, whose sum is known
            (i + 1, i + 2, -c / d * skew / f),
        ):
            out[..., j, m] += total
            out[..., m, j] += total
        out[..., i + 1, i + 1] -= c / d**2 * (peaked / f + shared)
        out[..., i + 2, i + 2] -= c / f * wide
    return out


@dataclass(frozen=True)
class BrokenPowerLaw(Law):
    """A broken power law, which states its own starts: places of breaks are read off the curve, not drawn from a range."""

    def starts_from(self, x: Inputs, y: Array, weights: Array) -> Array:
        """Candidates (K, P) for one curve y (n,) with weights (n,), best first by the squared error of ln y.

        None, (0, P), for a law without breaks, which a grid over its one exponent covers, and where an observation that
        counts is not positive.
        """
        n_breaks, used = (len(self.coefs) - 3) // 3, weights > 0
        y, weights = y[used], weights[used]
        if not n_breaks or not (y > 0).all():
            return np.empty((0, len(self.coefs)))
        return candidates(np.log(x[self.inputs[0]][used]), y, weights, n_breaks)


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
    return BrokenPowerLaw(
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
        second=partial(_second, column=x),
        domain="any one scale on the horizontal axis; extrapolates only past the last break that the data show",
        source="Caballero et al. 2022, arXiv:2210.14891, eq. 1",
    )


BROKEN_POWER_LAWS = tuple(broken_power_law(n) for n in (1, 2, 3))
