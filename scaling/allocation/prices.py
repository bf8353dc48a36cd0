"""What a constraint costs: by how much the loss would move if the constraint, a budget or the text at hand were larger.

At the best run the gradient of the loss is a mix of the gradients of what binds; the weights of the mix are the shadow
prices (Lagrange multipliers, in logs). What does not bind has the price zero.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scaling.allocation.allocate import Allocation
from scaling.allocation.constraints import POWERS
from scaling.allocation.search import STEP
from scaling.allocation.solve import Surface
from scaling.compute import Accounting, Lifetime
from scaling.laws.law import Array

TEXT = "n_unique_tokens"  # an input, not a constraint, that people buy more of


def shadow_prices(allocation: Allocation) -> dict[str, Array]:
    """d loss / d ln(limit) at the best runs, each (..., m), by name.

    There is one for each constraint given, for the budget ("flops"), for each further limit by its name, for
    "n_unique_tokens" where the law weighs repeats, and for "inference_tokens" where the budget pays for serving. Negative: a
    larger limit lowers the loss. Divide by the limit for the price of one more unit. nan where there is no best run.
    """
    n, d = allocation.n_params, allocation.n_tokens
    shape = np.shape(n)
    theta = np.broadcast_to(
        np.asarray(allocation.fitted.theta, float), (*shape[:-1], allocation.fitted.theta.shape[-1])
    )
    flat_n, flat_d = n.reshape(-1, shape[-1]), d.reshape(-1, shape[-1])
    surface = Surface(allocation.law, allocation.inputs, theta.reshape(-1, theta.shape[-1]))
    with np.errstate(all="ignore"):
        by_n, by_d = (g.reshape(shape) for g in surface.slopes(np.log(flat_n), np.log(flat_d)))
    rows: dict[str, Accounting] = {"flops": allocation.compute} | {x.name: x.compute for x in allocation.limits}
    names = [*allocation.constraints.given, *rows]
    prices = {name: np.zeros(shape) for name in names}
    binding, budget = np.broadcast_to(allocation.binding, shape), np.broadcast_to(allocation.budget, shape)
    joint = np.char.add(np.char.add(binding.astype(str), ", "), budget.astype(str))
    for combination in np.unique(joint):
        active = [name for name in str(combination).split(", ") if name in prices][:2]
        here = joint == combination
        if not active:
            continue
        directions = [_direction(name, rows, n[here], d[here]) for name in active]
        for name, price in zip(active, _weights(by_n[here], by_d[here], directions), strict=True):
            prices[name][here] = price
    if TEXT in allocation.inputs and TEXT in allocation.law.inputs:
        prices[TEXT] = _text(allocation, surface, flat_n, flat_d).reshape(shape)
    served = _serving(allocation, rows, prices)
    if served is not None:
        prices["inference_tokens"] = served
    lost = ~np.isfinite(allocation.loss)
    return {name: np.where(lost, np.nan, price) for name, price in prices.items()}


def _direction(name: str, rows: Mapping[str, Accounting], n: Array, d: Array) -> tuple[Array, Array]:
    """The gradient in (ln N, ln D) of the logarithm of what a constraint bounds."""
    if name not in rows:
        size, tokens = POWERS[name]
        return np.full(n.shape, size), np.full(n.shape, tokens)
    accounting = rows[name]
    cost = accounting.flops(n, d)
    return tuple(
        np.imag(accounting.flops(n * a, d * b)) / STEP / cost for a, b in ((1 + 1j * STEP, 1.0), (1.0, 1 + 1j * STEP))
    )


def _weights(by_n: Array, by_d: Array, directions: list[tuple[Array, Array]]) -> list[Array]:
    """Weights w of the gradient: (by_n, by_d) = sum of w x direction."""
    (a, b), *more = directions
    if not more:
        return [(by_n * a + by_d * b) / (a * a + b * b)]
    c, e = more[0]
    determinant = a * e - b * c
    alone = (by_n * a + by_d * b) / (a * a + b * b)
    with np.errstate(all="ignore"):
        # two limits that say the same thing, such as two budgets of one size: the first takes the price
        same = np.abs(determinant) < 1e-9 * np.hypot(a, b) * np.hypot(c, e)
        first, second = (by_n * e - by_d * c) / determinant, (a * by_d - b * by_n) / determinant
    return [np.where(same, alone, first), np.where(same, 0.0, second)]


def _text(allocation: Allocation, surface: Surface, n: Array, d: Array) -> Array:
    """d loss / d ln(unique tokens): zero where the run is shorter than the text."""
    unique = float(allocation.inputs[TEXT])
    x = surface.inputs(n, d)
    x[TEXT] = np.where(d < unique, d + 0j, unique * (1 + 1j * STEP))
    return np.imag(surface.law.formula(x, surface.theta)) / STEP


def _serving(allocation: Allocation, rows: Mapping[str, Accounting], prices: Mapping[str, Array]) -> Array | None:
    """d loss / d ln(tokens served), through every budget that pays for serving."""
    total = None
    for name, accounting in rows.items():
        if isinstance(accounting, Lifetime):
            whole = accounting.flops(allocation.n_params, allocation.n_tokens)
            share = 1 - accounting.base.flops(allocation.n_params, allocation.n_tokens) / whole
            total = (0.0 if total is None else total) - prices[name] * share
    return total
