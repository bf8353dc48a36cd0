"""The best run for every draw, budget and set of constraints, in one solve.

Loss falls with N and D, so a budget is spent whole unless the constraints stop it first: along the budget the loss is a
function of ln N alone, because the accounting gives D, and every constraint is a bound on ln N. For sums of power terms
that function is convex: the optimum found is the optimum. Where the loss can rise with D (rounding after training does
that) the rows concerned are solved again with D free below its bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from scaling.allocation.constraints import SLACK, Budgets, Constraints, Region, clash, joined, region, too_small
from scaling.allocation.search import CHUNK, GRID, KNOTS, STEP, Curve, between, minimise, one_valley, polish, refine
from scaling.errors import LawError, PlanError
from scaling.laws.law import Array, Law

INNER = 60  # halvings of ln D where the loss can rise with it


class Solution(NamedTuple):
    """All (..., m): ln N, ln D, loss; whether it is an optimum and not an end of the search; names of what binds."""

    log_n: Array
    log_d: Array
    loss: Array
    inside: Array
    binding: Array
    budget: Array


@dataclass(frozen=True)
class Surface:
    """The loss of a law at fixed other inputs. theta (rows, P); log_n, log_d (rows, m) or (rows, m, grid)."""

    law: Law
    others: Mapping[str, Any]
    theta: Array

    def inputs(self, n_params: Array, n_tokens: Array) -> dict[str, Array]:
        """The law's inputs at sizes and tokens that broadcast; of unique tokens no more than are trained on."""
        x: dict[str, Array] = {"n_params": n_params, "n_tokens": n_tokens}
        for name, value in self.others.items():
            if name == "n_unique_tokens":
                x[name] = np.where(np.real(n_tokens) < value, n_tokens, value)
            else:
                x[name] = np.broadcast_to(np.asarray(value, dtype=float), np.shape(n_params))
        return x

    def loss(self, n_params: Array, n_tokens: Array) -> Array:
        theta = self.theta if np.ndim(n_params) < 3 else self.theta[:, None, :]
        return self.law.formula(self.inputs(n_params, n_tokens), theta)

    def slopes(self, log_n: Array, log_d: Array) -> tuple[Array, Array]:
        """d loss / d ln N and d loss / d ln D, by the complex step: exact to rounding."""
        n, d = np.exp(log_n), np.exp(log_d)
        return np.imag(self.loss(n * (1 + 1j * STEP), d)) / STEP, self.slope_in_tokens(log_n, log_d)

    def slope_in_tokens(self, log_n: Array, log_d: Array) -> Array:
        return np.imag(self.loss(np.exp(log_n), np.exp(log_d) * (1 + 1j * STEP))) / STEP


def check_law(law: Law, others: Mapping[str, Any]) -> None:
    """Refuse, with a LawError, a law without both N and D, or one whose other inputs have no value."""
    if not {"n_params", "n_tokens"} <= set(law.inputs):
        raise LawError(
            f"law {law.name!r} depends on {', '.join(law.inputs)}: without both n_params and n_tokens there is nothing to "
            "trade off. Fit 'chinchilla' or another law of both."
        )
    if missing := set(law.inputs) - {"n_params", "n_tokens"} - set(others):
        raise LawError(f"law {law.name!r} also needs {', '.join(sorted(missing))}: give values with inputs={{...}}.")


def solve(
    law: Law,
    theta: Array,
    budgets: Budgets,
    constraints: Constraints,
    others: Mapping[str, Any],
    strict: bool = True,
) -> Solution:
    """The best run for coefficients theta (..., P), budgets (m,) or (..., m) and constraints that broadcast with them.

    Where nothing is feasible: PlanError when strict, else nan.
    """
    check_law(law, others)
    allowed = region(constraints)
    low, high = allowed.along(budgets)
    (n_least, d_least), (n_most, d_most) = allowed.smallest, allowed.largest
    spread = np.broadcast_shapes(*(np.shape(f) for f in budgets.flops), np.shape(low.value), np.shape(high.value))
    with np.errstate(all="ignore"):
        empty = np.broadcast_to(allowed.empty, spread)
        poor = np.broadcast_to(budgets.over(n_least.value, d_least.value), spread) > SLACK
        # the largest run allowed costs less than the budget: the constraints decide alone
        bounded = np.isfinite(n_most.value) & np.isfinite(d_most.value)
        top_n, top_d = (np.where(bounded, b.value, 0.0) for b in (n_most, d_most))
        idle = np.broadcast_to(bounded, spread) & np.broadcast_to(budgets.over(top_n, top_d) < -SLACK, spread)
    if strict and empty.any():
        raise PlanError(clash(allowed, tuple(int(i) for i in np.argwhere(empty)[0]), spread))
    if strict and (poor | np.isnan(poor)).any():
        raise PlanError(too_small(allowed, budgets, tuple(int(i) for i in np.argwhere(poor)[0]), spread))

    shape = np.broadcast_shapes((*theta.shape[:-1], 1), spread)
    rows, m = int(np.prod(shape[:-1])), shape[-1]
    flat = _Flat(shape, rows, m)
    flat_theta = np.broadcast_to(theta, (*shape[:-1], theta.shape[-1])).reshape(rows, -1)
    bad = flat(empty | poor) | ~np.isfinite(flat_theta).all(axis=-1)[:, None]
    lo, hi = flat(low.value), np.maximum(flat(low.value), flat(high.value))
    lo, hi = np.where(bad, 0.0, lo), np.where(bad, 0.0, hi)
    free_ends = flat(low.name) == "", flat(high.name) == ""
    log_n = _along(law, theta, flat_theta, budgets, others, (lo, hi), free_ends, flat)
    every = Budgets(budgets.names, budgets.accountings, tuple(flat(c) for c in budgets.flops))
    with np.errstate(all="ignore"):
        log_d = np.log(every.n_tokens(np.exp(log_n)))
        # rounding must not carry D across a bound of its own
        log_d = np.minimum(log_d, np.minimum(flat(allowed.d_high.value), log_n + flat(allowed.r_high.value)))
        log_d = np.maximum(log_d, np.maximum(flat(allowed.d_low.value), log_n + flat(allowed.r_low.value)))
    at_low, at_high = log_n <= lo + SLACK, log_n >= hi - SLACK
    name_low, name_high = flat(low.name), flat(high.name)
    binding = np.where(at_low & (name_low != ""), name_low, np.where(at_high, name_high, ""))
    inside = ~((at_low & (name_low == "")) | (at_high & (name_high == "")))
    budget = every.binding(log_n)
    unspent = flat(idle)
    if unspent.any():
        both = joined(n_most.name, d_most.name)
        log_n, log_d = (np.where(unspent, flat(b.value), a) for b, a in ((n_most, log_n), (d_most, log_d)))
        binding, budget = np.where(unspent, flat(_once(both)), binding), np.where(unspent, "", budget)
        inside = inside | unspent
    surface = Surface(law, others, flat_theta)
    log_n, log_d, binding, budget = _retreat(surface, every, allowed, flat, (log_n, log_d, binding, budget), bad)
    with np.errstate(all="ignore"):
        loss = surface.loss(np.exp(log_n), np.exp(log_d))
    log_n, log_d, loss = (np.where(bad, np.nan, a).reshape(shape) for a in (log_n, log_d, loss))
    return Solution(
        log_n, log_d, loss, (inside & ~bad).reshape(shape), np.where(bad, "", binding).reshape(shape), budget.reshape(shape)
    )  # fmt: skip


@dataclass(frozen=True)
class _Flat:
    """Leading axes of an array that broadcasts to `shape`, as one: (rows, m)."""

    shape: tuple[int, ...]
    rows: int
    m: int

    def __call__(self, a: Any) -> Array:
        return np.broadcast_to(a, self.shape).reshape(self.rows, self.m)


def _once(names: Array) -> Array:
    """Each name of "a, b, a" once."""
    unique, place = np.unique(names, return_inverse=True)
    tidy = [", ".join(x for x in dict.fromkeys(str(u).split(", ")) if x) for u in unique]
    return np.array(tidy)[place].reshape(np.shape(names))


def _along(
    law: Law, theta: Array, flat_theta: Array, budgets: Budgets, others: Mapping[str, Any],
    bounds: tuple[Array, Array], ends: tuple[Array, Array], flat: _Flat,
) -> Array:  # fmt: skip
    """ln N (rows, m) of least loss along the budgets, between bounds; ends : which of them are the search's own."""
    low, high = bounds
    if all(c.ndim < 2 for c in budgets.flops) and theta.ndim <= 2 and budgets.one_base is not None:
        free = _free(law, theta.reshape(-1, theta.shape[-1]), budgets, others, flat.m)
        if free is not None:
            wide = free.reshape(*theta.shape[:-1], flat.m) if theta.ndim > 1 else free[0]
            best = np.clip(flat(wide), low, high)
            return np.where(np.isfinite(best), best, low)
    log_n = np.empty((flat.rows, flat.m))
    step = max(1, CHUNK // (flat.m * GRID))
    costs = [flat(c) for c in budgets.flops]
    for start in range(0, flat.rows, step):
        part = slice(start, start + step)
        curve = _curves(law, flat_theta[part], budgets, [c[part] for c in costs], others)
        log_n[part] = minimise(*curve, low[part], high[part], ends[0][part], ends[1][part])
    return log_n


def _curves(
    law: Law, theta: Array, budgets: Budgets, flops: list[Array], others: Mapping[str, Any]
) -> tuple[Curve, Curve]:
    """Loss along the budgets as a function of ln N, and its slope. theta (rows, P), flops (rows, m) each."""
    surface = Surface(law, others, theta)
    wide = Budgets(budgets.names, budgets.accountings, tuple(c[..., None] for c in flops))
    flat = Budgets(budgets.names, budgets.accountings, tuple(flops))

    def loss(log_n: Array) -> Array:
        n = np.exp(log_n)
        return surface.loss(n, wide.n_tokens(n))

    def slope(log_n: Array) -> Array:
        """d loss / d ln N by the complex step, exact to rounding."""
        n = np.exp(log_n) * (1 + 1j * STEP)
        return np.imag(surface.loss(n, flat.n_tokens(n))) / STEP

    return loss, slope


def _free(law: Law, theta: Array, budgets: Budgets, others: Mapping[str, Any], m: int) -> Array | None:
    """ln N (rows, m) of the best run without constraints; None where a loss has several valleys.

    With one valley the best run under constraints is this one moved to the nearest bound, whatever the constraints. Of
    several budgets the tightest counts: the best run is the best of one of them, or lies where two of them cross.
    """
    rows = [Budgets((n,), (a,), (np.broadcast_to(c, m),)) for n, a, c in zip(budgets.names, budgets.accountings, budgets.flops, strict=True)]  # fmt: skip
    found = [_free_of_one(law, theta, row, others) for row in rows]
    known = [f for f in found if f is not None]
    if len(known) < len(found):
        return None
    if len(rows) == 1:
        return known[0]
    crossings = [np.broadcast_to(x, known[0].shape) for x in budgets.crossings(m)]
    surface = Surface(law, others, theta)
    best, least = known[0], np.full(known[0].shape, np.inf)
    for log_n in (*known, *crossings):
        with np.errstate(all="ignore"):
            tokens = budgets.n_tokens(np.exp(log_n))
            loss = np.where(tokens > 0, surface.loss(np.exp(log_n), np.where(tokens > 0, tokens, 1.0)), np.inf)
        better = loss < least
        best, least = np.where(better, log_n, best), np.where(better, loss, least)
    return best


def _free_of_one(law: Law, theta: Array, budgets: Budgets, others: Mapping[str, Any]) -> Array | None:
    """As `_free`, for one budget (m,).

    Long rows of budgets are searched at a few and polished elsewhere: the best ln N moves smoothly with ln C.
    """
    (accounting,), (flops,) = budgets.accountings, budgets.flops
    order = np.argsort(flops)
    m = len(flops)
    few = m <= 2 * KNOTS
    at = order if few else order[np.unique(np.linspace(0, m - 1, KNOTS).round().astype(int))]
    knots = flops[at]
    usable = np.where(np.isfinite(theta).all(axis=-1)[:, None], theta, 1.0)
    with np.errstate(all="ignore"):
        top = np.log(accounting.n_params(1.0, knots))
    if not (np.isfinite(top).all() and (top > 0).all()):
        return None
    rows = len(theta)
    found, bend = np.empty((2, rows, len(at)))
    step = max(1, CHUNK // (len(at) * GRID))
    for start in range(0, rows, step):
        part = slice(start, start + step)
        some = usable[part]
        loss, slope = _curves(law, some, budgets, [np.broadcast_to(knots, (len(some), len(at)))], others)
        points = between(np.zeros((len(some), len(at))), np.broadcast_to(top, (len(some), len(at))))
        with np.errstate(all="ignore"):
            values = loss(points)
            if not one_valley(values):
                return None
            found[part] = refine(slope, points, values)
            if not few:
                bend[part] = (slope(found[part] + 1e-3) - slope(found[part] - 1e-3)) / 2e-3
    out = np.empty((rows, m))
    if few:
        out[:, at] = found
        return out
    log_c, log_knots = np.log(flops), np.log(knots)
    cell = np.clip(np.searchsorted(log_knots, log_c) - 1, 0, len(at) - 2)
    share = (log_c - log_knots[cell]) / (log_knots[cell + 1] - log_knots[cell])
    step = max(1, 40_000 // m)  # a chunk whose complex arrays stay in the cache
    for start in range(0, rows, step):
        part = slice(start, start + step)
        _, slope = _curves(law, usable[part], budgets, [np.broadcast_to(flops, (len(usable[part]), m))], others)
        x = found[part]
        first = x[:, cell] + (x[:, cell + 1] - x[:, cell]) * share
        stiff = np.exp(np.log(np.maximum(bend[part], 1e-300)))
        stiff = stiff[:, cell] ** (1 - share) * stiff[:, cell + 1] ** share
        out[part], good = polish(slope, first, stiff)
        if not good.all():
            loss, slope = _curves(law, usable[part], budgets, [np.broadcast_to(flops, good.shape)], others)
            with np.errstate(all="ignore"):
                tops = np.broadcast_to(np.log(accounting.n_params(1.0, flops)), good.shape)
            again = minimise(loss, slope, np.zeros(good.shape), tops)
            out[part] = np.where(good, out[part], again)
    return out


def _retreat(
    surface: Surface, budgets: Budgets, allowed: Region, flat: _Flat, found: tuple[Array, Array, Array, Array], bad: Array
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """Solve again, with D free below its bound, the problems whose loss rises with D where they were solved."""
    log_n, log_d, binding, budget = found
    floor = np.maximum(flat(allowed.d_low.value), log_n + flat(allowed.r_low.value))
    with np.errstate(all="ignore"):
        rises = (surface.slope_in_tokens(log_n, log_d) > 0) & (log_d > floor + SLACK) & ~bad
    if not rises.any():
        return found
    i, j = np.nonzero(rises)
    part = Surface(surface.law, surface.others, surface.theta[i])
    rows = Budgets(budgets.names, budgets.accountings, tuple(c[i, j][:, None] for c in budgets.flops))
    bounds = {
        k: flat(getattr(allowed, k).value)[i, j][:, None]
        for k in ("n_low", "n_high", "d_low", "d_high", "r_low", "r_high")
    }

    def best_d(x: Array) -> tuple[Array, Array, Array]:
        """ln D of least loss at ln N = x, whether it is free of its bounds, and its highest value."""
        n = np.exp(x)
        with np.errstate(all="ignore"):
            most = np.log(rows.n_tokens(n))
        top = np.minimum(np.minimum(most, bounds["d_high"]), x + bounds["r_high"])
        least = np.minimum(np.maximum(bounds["d_low"], x + bounds["r_low"]), top)
        a, b = least, top
        for _ in range(INNER):
            y = (a + b) / 2
            up = part.slope_in_tokens(x, y) > 0
            a, b = np.where(up, a, y), np.where(up, y, b)
        ends = part.slope_in_tokens(x, top) <= 0
        y = np.where(ends, top, (a + b) / 2)
        return y, ~ends & (y > least + SLACK), top

    def slope(x: Array) -> Array:
        """Of the least loss over D: its partial derivative where D is free, along the bound elsewhere."""
        y, free, top = best_d(x)
        by_n, by_d = part.slopes(x, y)
        bound_moves = (best_d(x + 1e-6)[2] - top) / 1e-6
        return by_n + np.where(free, 0.0, by_d * bound_moves)

    low = np.maximum(bounds["n_low"], bounds["d_low"] - bounds["r_high"])
    with np.errstate(all="ignore"):
        afford = np.log(rows.n_params(np.exp(bounds["d_low"])))
        if np.isfinite(bounds["r_low"]).any():
            afford = np.fmin(afford, np.log(rows.n_params_at_ratio(bounds["r_low"])))
    high = np.maximum(low, np.minimum(np.minimum(bounds["n_high"], bounds["d_high"] - bounds["r_low"]), afford))
    a, b = low.copy(), high.copy()
    for _ in range(INNER):
        x = (a + b) / 2
        up = slope(x) > 0
        a, b = np.where(up, a, x), np.where(up, x, b)
    x = np.where(slope(high) <= 0, high, np.where(slope(low) >= 0, low, (a + b) / 2))
    y, free, _ = best_d(x)
    log_n, log_d, binding, budget = (v.copy() for v in found)
    log_n[i, j], log_d[i, j] = x[:, 0], y[:, 0]
    over = rows.over(x, y)[:, 0]
    names = np.where((x >= bounds["n_high"] - SLACK)[:, 0], flat(allowed.n_high.name)[i, j], "")
    names = np.where((x <= bounds["n_low"] + SLACK)[:, 0], flat(allowed.n_low.name)[i, j], names)
    capped = ~free[:, 0] & (over < -SLACK)
    held = np.where(
        (y >= bounds["d_high"] - SLACK)[:, 0], flat(allowed.d_high.name)[i, j], flat(allowed.r_high.name)[i, j]
    )
    names = np.where(capped, joined(names, held), names)
    binding = binding.astype(object)
    binding[i, j] = names
    budget[i, j] = np.where(over < -SLACK, "", budget[i, j])
    return log_n, log_d, binding.astype(str), budget
