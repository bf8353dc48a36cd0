"""Smoothly broken power laws: straight lines in log-log, joined by bends of any width."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from scaling.errors import LawError
from scaling.laws.law import Array, Coef, Inputs, Law, split, stack
from scaling.laws.stable import sigmoid, softplus

PLACES = 16  # of a break, tried at even steps through the points
WIDTHS = 5  # of a break, from a quarter of the mean spacing to half the span
FLOORS = np.array([0.03, 0.3, 0.6, 0.8, 0.9, 0.97, 1.02])  # tried, in units of the lowest observation
BEAM = 48  # candidates kept after each break


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


@dataclass(frozen=True)
class BrokenPowerLaw(Law):
    """A broken power law, which states its own starts: places of breaks are read off the curve, not drawn from a range."""

    def starts_from(self, x: Inputs, y: Array, weights: Array) -> Array:
        """Candidates (K, P) for one curve y (n,), best first by a linearised squared error of ln y.

        With the floor a and the breaks' places and widths given, ln(y - a) is linear in ln b and all exponents. Breaks are
        inserted one after another into the best fits with one fewer: the gain of one more is a projection, not a fit.
        Observations must be positive where their weight is; otherwise no candidates (0, P) are returned.
        """
        used = weights > 0
        y, weights = y[used], weights[used]
        if len(y) < 3 or not (y > 0).all():
            return np.empty((0, len(self.coefs)))
        return _insert_breaks(np.log(x[self.inputs[0]][used]), y, weights, (len(self.coefs) - 3) // 3)


def _insert_breaks(t: Array, y: Array, weights: Array, n_breaks: int) -> Array:
    """theta (K, P) for observations y (n,) at log inputs t (n,)."""
    distinct = np.unique(t)
    span = max(float(distinct[-1] - distinct[0]), 1e-3)
    inside = np.interp(np.linspace(0, len(distinct) - 1, PLACES), np.arange(len(distinct)), distinct)
    places = np.concatenate([inside, [distinct[0] - 0.25 * span, distinct[-1] + 0.25 * span]])
    widths = np.geomspace(0.25 / max(len(distinct) - 1, 1), 0.5, WIDTHS) * span
    place, width = (v.ravel() for v in np.meshgrid(places, widths, indexing="ij"))
    bends = width[:, None] * softplus((t - place[:, None]) / width[:, None])  # (G, n)

    floors = FLOORS * y.min()
    above = np.maximum(y - floors[:, None], 1e-3 * y)
    roots = np.sqrt(weights) * np.where(
        y > floors[:, None], above / y, 0.0
    )  # of weights: d ln y = (y - a)/y d ln(y - a)
    target = np.log(above) * roots

    # a candidate is its floor (K,) and the grid points of its breaks (K, j)
    floor, breaks = np.arange(len(floors)), np.empty((len(floors), 0), int)
    for _ in range(n_breaks):
        basis = _basis(t, bends, breaks) * roots[floor][:, None]
        q = np.linalg.qr(basis.swapaxes(1, 2))[0]  # (K, n, j + 2)
        left = target[floor] - (q @ (q.swapaxes(1, 2) @ target[floor][..., None]))[..., 0]
        new = bends * roots[floor][:, None]  # (K, G, n)
        size = (new**2).sum(-1)
        along = new @ q
        rest = size - (along**2).sum(-1)  # of each bend, what the parent does not have yet
        gain = np.where(rest > 1e-8 * size, (new @ left[..., None])[..., 0] ** 2 / np.maximum(rest, 1e-300), 0.0)
        error = np.maximum((left**2).sum(-1)[:, None] - gain, 0.0)
        # of each parent and place the best widths only, so that the beam does not fill with one curve
        by_place = error.reshape(len(floor), len(places), len(widths))
        best = by_place.argmin(-1)
        chosen = np.argsort(by_place.min(-1), axis=None, kind="stable")[:BEAM]
        parent, at = np.unravel_index(chosen, best.shape)
        point = at * len(widths) + best[parent, at]
        floor, breaks = floor[parent], np.sort(np.concatenate([breaks[parent], point[:, None]], 1), 1)
        _, first = np.unique(np.column_stack([floor, breaks]), axis=0, return_index=True)
        first.sort()
        floor, breaks = floor[first], breaks[first]

    basis = _basis(t, bends, breaks) * roots[floor][:, None]
    norm = np.maximum(np.sqrt((basis**2).sum(-1)), 1e-300)
    basis /= norm[..., None]
    gram = basis @ basis.swapaxes(1, 2) + 1e-10 * np.eye(basis.shape[1])
    slopes = np.linalg.solve(gram, basis @ target[floor][..., None])[..., 0] / norm
    theta = np.empty((len(floor), 3 + 3 * n_breaks))
    theta[:, 0], theta[:, 1], theta[:, 2] = floors[floor], np.exp(np.clip(slopes[:, 0], -600, 600)), -slopes[:, 1]
    theta[:, 3::3], theta[:, 4::3], theta[:, 5::3] = -slopes[:, 2:], np.exp(place[breaks]), width[breaks]
    return theta


def _basis(t: Array, bends: Array, breaks: Array) -> Array:
    """What ln(y - a) is linear in: one, ln x and the bend of each break, (K, 2 + j, n)."""
    line = np.broadcast_to(np.stack([np.ones_like(t), t]), (len(breaks), 2, len(t)))
    return np.concatenate([line, bends[breaks]], 1)


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
        domain="any one scale on the horizontal axis; extrapolates only past the last break that the data show",
        source="Caballero et al. 2022, arXiv:2210.14891, eq. 1",
    )


BROKEN_POWER_LAWS = tuple(broken_power_law(n) for n in (1, 2, 3))
