"""Finding the runs: the best shares of the spend, whole runs near them, and the best isoFLOP sweeps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaling.compute import Accounting
from scaling.designing.local import Local, added, solve
from scaling.errors import PlanError
from scaling.laws.law import Array
from scaling.progress import Bar, Report

BUDGETS, RATIOS = 13, 17  # of the grid of single runs
PRICE_STEPS = 16  # of the bisection for the price of one more run
EXCHANGES = 4  # passes over the runs
MOST_STEPS, CLOSE = (
    600,
    3e-3,
)  # of the search for shares: passes, and the proven distance from the optimum it may stop at
SLACK = 1 + 1e-9  # of a spend: rounding
SWEEPS, SPACINGS, SIZES = (1, 2, 3, 4, 5), (2.0, 3.2, 10.0), (3, 4, 5, 6, 7, 8, 9)  # of isoFLOP designs
WINDOWS = 9  # grid of the ends of a sweep's tokens per parameter


NO_ROOM = (
    "the spend buys no run within the limits (at least as large as the smallest run done, at most the largest allowed, and the "
    "tokens per parameter): raise the spend, or state smallest, largest or tokens_per_param."
)


@dataclass(frozen=True)
class Room:
    """Where new runs may lie: FLOPs of one run, tokens per parameter, least size and tokens, and how many at most."""

    smallest: float
    largest: float
    ratios: tuple[float, float]
    least_params: float
    least_tokens: float
    most_runs: int

    def holds(self, n_params: Array, n_tokens: Array) -> Array:
        """(m,) True for runs that are not smaller than may be."""
        return (n_params * SLACK >= self.least_params) & (n_tokens * SLACK >= self.least_tokens)


@dataclass(frozen=True)
class Found:
    """Chosen runs: n_params, n_tokens, flops (runs,), count (runs,), and budget label (runs,)."""

    n_params: Array
    n_tokens: Array
    flops: Array
    count: Array
    group: Array


def information(local: Local, found: Found) -> Array:
    """(K, p, p) that the chosen runs add."""
    gradients = local.of_runs(found.n_params, found.n_tokens)
    return np.asarray(
        added(gradients, found.count[None].astype(float), found.group, local.shared(found.n_params, found.n_tokens))[0]
    )


def score(local: Local, extra: Array) -> Array:
    """(T,) variance of the quantity after extra information (T, K, p, p) over that of now, averaged over the draws."""
    return np.asarray((local.variance(extra) / local.variance_now).mean(-1))


def free_runs(local: Local, spend: float, room: Room, compute: Accounting, bar: Bar) -> Found:
    """Any runs of a grid: the convex problem over shares of the spend, then whole runs by exchange."""
    budgets = np.geomspace(room.smallest, room.largest, BUDGETS if room.largest > room.smallest * 1.01 else 1)
    ratio = np.geomspace(*room.ratios, RATIOS)
    flops = np.repeat(budgets, len(ratio))
    n = size_at(flops, np.tile(ratio, len(budgets)), compute)
    d = compute.n_tokens(n, flops)
    group = np.repeat(np.arange(len(budgets)), len(ratio))
    inside = room.holds(n, d)
    n, d, flops, group = n[inside], d[inside], flops[inside], group[inside]
    if not len(n):
        raise PlanError(NO_ROOM)
    gradients = local.of_runs(n, d)
    shared = local.shared(n, d)
    of_amounts, of_counts = bar.parts(3, 1)
    amount, price = best_amounts(local, gradients, group, shared, flops / spend, room.most_runs, of_amounts)
    counts = whole_runs(local, gradients, group, shared, flops, amount, price, spend, room.most_runs, of_counts)
    if not counts.any():
        raise PlanError(NO_ROOM)
    kept = counts > 0
    return Found(n[kept], d[kept], flops[kept], counts[kept], group[kept])


def best_amounts(
    local: Local, gradients: Array, group: Array, shared: Array, cost: Array, most_runs: int, bar: Bar
) -> tuple[Array, Array]:
    """Best amounts (m,), not whole, of candidates that cost (m,) of the spend each, and the price (m,) that decides.

    Two limits, sum amount cost <= 1 and sum amount <= most_runs, are one at the prices (1 - t) cost + t / most_runs with
    the right t (Lagrange): t is 0 where the spend alone decides, else found by bisection.
    """
    m = len(cost)
    share = np.full(m, 1.0 / m)
    low, high = 0.0, 1.0
    price = cost
    for step, part in enumerate(bar.parts(4, *[1.0] * (PRICE_STEPS - 1))):
        t = 0.0 if step == 0 else 0.5 * (low + high)
        price = (1 - t) * cost + t / most_runs
        share = best_shares(local, gradients, group, shared, 1 / price, 0.95 * share + 0.05 / m, part)
        runs = float((share / price).sum())
        if step == 0 and runs <= most_runs:
            break
        if abs(runs / most_runs - 1) < 0.01:
            break
        low, high = (t, high) if runs > most_runs else (low, t)
    return share / price, price


def best_shares(
    local: Local,
    gradients: Array,
    group: Array,
    shared: Array,
    runs_bought: Array,
    start: Array,
    progress: Report | None = None,
) -> Array:
    """Shares (m,) of the spend for candidates with gradients (K, m, p), of which the spend buys runs_bought (m,) each.

    Minimises the mean over draws of c' (M0 + M)^-1 c, each over its value without new runs, with M the information of
    share_k runs_k runs as in `added`: concave in the shares, so that this is convex. Multiplicative steps
    share_k (s_k / mean s)^1/2 with s_k the saving for a little more of k; the distance from the optimum is at most
    max s - mean s. Source: Yu 2010, Annals of Statistics 38, 1593 (monotone for this power and no shared errors; with them
    the best shares met are kept).
    """
    bar = Bar(progress)
    groups, label = np.unique(group, return_inverse=True)
    member = (np.arange(len(groups))[:, None] == label).astype(float)  # (G, m)
    base = local.variance_now / local.inflation  # (K,)
    share = best = start / start.sum()
    least = np.inf
    for step in range(MOST_STEPS):
        counts = share * runs_bought
        v = solve(local.now + added(gradients, counts[None], group, shared)[0], local.c)  # (K, p)
        value = float((np.einsum("kp,kp->k", v, local.c) / base).mean())
        if value < least:
            least, best = value, share
        along = np.einsum("kmp,kp->km", gradients, v)
        # one more run tells of what is its own: the part that its budget's runs have in common is taken off
        known = ((along * (counts * shared)) @ member.T) / (1 + member @ (counts * shared**2))  # (K, G)
        saving = runs_bought * (np.square(along - shared * known[:, label]) / base[:, None]).mean(0)
        mean = float(share @ saving)
        left = float(saving.max()) - mean
        if mean <= 0 or left < CLOSE * value:
            break
        bar(max(step / MOST_STEPS, CLOSE * value / left), 1)  # the distance falls about as one over the steps
        share = share * np.sqrt(saving / mean)
        share = share / share.sum()
    return np.asarray(best)


def whole_runs(
    local: Local, gradients: Array, group: Array, shared: Array, flops: Array, amount: Array, price: Array, spend: float,
    most_runs: int, bar: Bar,
) -> Array:  # fmt: skip
    """Counts (m,) near the amounts that keep the spend and the number of runs: rounded down, filled up, then exchanged."""
    useful = amount * price > 1e-3 * (amount * price).max()

    def value(counts: Array) -> Array:
        return score(local, added(gradients, counts, group, shared))

    def affordable(counts: Array) -> Array:
        if counts.sum() >= most_runs:
            return np.zeros(0, int)
        return np.flatnonzero(flops <= spend * SLACK - counts @ flops)

    of_fill, *of_passes = bar.parts(*[1.0] * (1 + EXCHANGES))

    def fill(counts: Array, part: Bar) -> Array:
        """Spend what is left, run by run, by saving for the price; the last run by what it saves."""
        counts = counts.copy()
        while len(can := affordable(counts)):
            part(int(counts.sum()), most_runs)
            can = can[useful[can]] if useful[can].any() else can
            trials = np.repeat(counts[None], len(can), 0)
            trials[np.arange(len(can)), can] += 1
            saved = value(counts[None])[0] - value(trials)
            last = spend - counts @ flops < 2 * flops[can].max() or counts.sum() + 1 >= most_runs
            counts = trials[int((saved if last else saved / price[can]).argmax())]
        return counts

    counts = fill(np.floor(amount * SLACK), of_fill)
    best = float(value(counts[None])[0])
    for of_pass in of_passes:
        before = best
        chosen = np.flatnonzero(counts)
        for k, part in zip(chosen, of_pass.each(len(chosen)), strict=True):
            if not counts[k]:
                continue
            lesser = counts.copy()
            lesser[k] -= 1
            can = affordable(lesser)
            can = can[can != k]
            if not len(can):
                continue
            single = np.repeat(lesser[None], len(can), 0)
            single[np.arange(len(can)), can] += 1
            several = np.repeat(lesser[None], len(can), 0)  # one run for as many others as there is room for
            left = np.floor((spend * SLACK - lesser @ flops) / flops[can])
            several[np.arange(len(can)), can] += np.minimum(left, most_runs - lesser.sum())
            trials = np.concatenate([single, several])
            filled = fill(trials[int(value(trials).argmin())], part)
            new = float(value(filled[None])[0])
            if new < best * (1 - 1e-6):
                counts, best = filled, new
        if best > before * (1 - 1e-4):
            break
    return counts


def isoflop_runs(local: Local, spend: float, room: Room, compute: Accounting, bar: Bar) -> Found:
    """One to five sweeps of sizes at equal compute that spend the whole: the best of a grid of such designs."""
    ends = np.geomspace(*room.ratios, WINDOWS)
    low, high = (ends[i] for i in np.triu_indices(WINDOWS, 2))
    best, chosen = np.inf, None
    shapes = [(k, by, m) for k in SWEEPS for by in (SPACINGS if k > 1 else SPACINGS[:1]) for m in SIZES]
    for (sweeps, spacing, m), part in zip(shapes, bar.parts(*(k * m for k, _, m in shapes)), strict=True):
        part(0, 1)
        levels = spacing ** -np.arange(sweeps, dtype=float)
        top = spend / (m * levels.sum())
        times = int(np.ceil(top / room.largest / SLACK))  # a top budget over the limit is run several times smaller
        budgets = top / times * levels
        if budgets[-1] * SLACK < room.smallest or m * sweeps * times > room.most_runs:
            continue
        ratio = np.geomspace(low, high, m, axis=-1)  # (W, m)
        flops = np.repeat(budgets, m)
        group = np.repeat(np.arange(sweeps), m)
        every = np.tile(ratio, (1, sweeps))  # (W, sweeps m)
        all_flops = np.tile(flops, len(every))
        n = size_at(all_flops, every.ravel(), compute)
        d = compute.n_tokens(n, all_flops)
        inside = room.holds(n, d).reshape(every.shape).all(-1)
        if not inside.any():
            continue
        shared = local.shared(n, d).reshape(every.shape)
        gradients = local.of_runs(n, d).reshape(len(local.c), *every.shape, -1)
        counts = np.full((1, len(flops)), float(times))
        windows = np.flatnonzero(inside)
        values = score(local, np.concatenate([added(gradients[:, w], counts, group, shared[w]) for w in windows]))
        if values.min() < best:
            w = int(windows[values.argmin()])
            own = slice(w * len(flops), (w + 1) * len(flops))
            best = float(values.min())
            chosen = Found(n[own], d[own], flops, np.full(len(flops), times), group)
    if chosen is None:
        raise PlanError(NO_ROOM)
    return chosen


def size_at(flops: Array, ratio: Array, compute: Accounting) -> Array:
    """(m,) model size at which `ratio` tokens per parameter take `flops` FLOPs."""
    n = np.sqrt(flops / np.maximum(compute.flops(1.0, ratio), 1e-300))
    for _ in range(60):  # exact at once for C = k N D, geometric for others
        step = np.sqrt(flops / compute.flops(n, ratio * n))
        n = n * step
        if np.abs(step - 1).max() < 1e-12:
            break
    return np.asarray(n)
