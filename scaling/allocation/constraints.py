"""What a run must respect: bounds on size, tokens and their ratio, and budgets; where they meet, and where they clash.

In ln N and ln D every bound is a straight line, so the runs that respect all of them have a smallest and a largest one
(in both N and D), and a budget cuts between the two, lies above, or lies below: fits, is not needed, or is too small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.allocation.search import falling_root
from scaling.compute import INFERENCE, Accounting, Lifetime
from scaling.errors import PlanError
from scaling.laws.law import Array

SMALLEST = 1.0  # parameters and tokens: the ends of the searched range
SLACK = 1e-9  # relative, in logs: what rounding may cost
#: what each constraint is about, as powers of N and D: the gradient of its logarithm
POWERS = {
    "n_params": (1.0, 0.0), "min_params": (1.0, 0.0), "max_params": (1.0, 0.0),
    "n_tokens": (0.0, 1.0), "min_tokens": (0.0, 1.0), "max_tokens": (0.0, 1.0),
    "tokens_per_param": (-1.0, 1.0), "min_tokens_per_param": (-1.0, 1.0), "max_tokens_per_param": (-1.0, 1.0),
}  # fmt: skip
WORDS = {
    "n_params": "the fixed model size", "n_tokens": "the fixed number of tokens",
    "tokens_per_param": "the fixed tokens per parameter", "max_tokens": "the limit on tokens",
    "min_tokens": "the least number of tokens", "max_params": "the limit on model size",
    "min_params": "the least model size", "min_tokens_per_param": "the least tokens per parameter",
    "max_tokens_per_param": "the most tokens per parameter",
    "": "the smallest run there is (one parameter, one token)",
}  # fmt: skip


@dataclass(frozen=True)
class Constraints:
    """What a plan must respect. None means free; `n_params`, `n_tokens`, `tokens_per_param` fix a value, the rest are bounds.

    Values are numbers, or arrays that broadcast against the budgets (m,): (k, 1, 1) asks for k answers to each draw and budget.
    """

    n_params: Any = None
    n_tokens: Any = None
    tokens_per_param: Any = None
    max_params: Any = None
    min_params: Any = None
    max_tokens: Any = None
    min_tokens: Any = None
    min_tokens_per_param: Any = None
    max_tokens_per_param: Any = None

    def __post_init__(self) -> None:
        fixed = [name for name in ("n_params", "n_tokens", "tokens_per_param") if getattr(self, name) is not None]
        if len(fixed) > 1:
            raise PlanError(
                f"{' and '.join(fixed)} are both fixed: with a budget one of them decides the others; keep one."
            )
        for name, value in self.given.items():
            if not (np.isfinite(value).all() and np.all(np.asarray(value) > 0)):
                raise PlanError(f"{name} must be a positive number, not {value}.")
        for kind in ("params", "tokens", "tokens_per_param"):
            a, b = getattr(self, f"min_{kind}"), getattr(self, f"max_{kind}")
            if a is not None and b is not None and np.any(np.asarray(a) > np.asarray(b)):
                low, high = (v if np.ndim(v) else f"{v:g}" for v in (a, b))
                raise PlanError(
                    f"min_{kind} ({low}) is above max_{kind} ({high}): nothing lies between them; the nearest run has {high}. "
                    "Relax one of them."
                )

    @property
    def given(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Limit:
    """One more budget that a run must stay within: `compute.flops(n_params, n_tokens)` is at most `flops`.

    Time, money and energy are such budgets: each buys so many FLOPs of training, and serving may take a part of it
    (see `scaling.compute.Lifetime`). flops : a number or (m,), one for each budget.
    """

    name: str
    flops: Any
    compute: Accounting


@dataclass(frozen=True)
class Budgets:
    """All budgets of a request: names, accountings, and FLOPs (m,) or (..., m) each."""

    names: tuple[str, ...]
    accountings: tuple[Accounting, ...]
    flops: tuple[Array, ...]

    def n_tokens(self, n_params: Array, only: int | None = None) -> Array:
        """The tokens that every budget (or one of them) pays for; complex sizes are followed along the tightest."""
        if only is not None:
            return self.accountings[only].n_tokens(n_params, self.flops[only])
        all_of_them = [a.n_tokens(n_params, c) for a, c in zip(self.accountings, self.flops, strict=True)]
        least = all_of_them[0]
        for other in all_of_them[1:]:
            least = np.where(np.real(other) < np.real(least), other, least)
        return least

    @property
    def one_base(self) -> Accounting | None:
        """How all the budgets count training, serving aside; None where they differ."""
        bases = [a.base if isinstance(a, Lifetime) else a for a in self.accountings]
        return bases[0] if all(b == bases[0] for b in bases) else None

    def crossings(self, m: int) -> list[Array]:
        """ln N (m,) where two budgets pay for as many tokens. With one base they cross at most once: what serving leaves
        of each budget is a straight line in N. nan where they do not cross."""
        served = [a.inference_tokens if isinstance(a, Lifetime) else 0.0 for a in self.accountings]
        lines = [(np.broadcast_to(c, m), INFERENCE.flops(1.0, t)) for c, t in zip(self.flops, served, strict=True)]
        with np.errstate(all="ignore"):
            return [np.log((c - d) / (a - b)) for i, (c, a) in enumerate(lines) for d, b in lines[:i]]

    def n_params(self, n_tokens: Array) -> Array:
        """The largest size that every budget can train on so many tokens."""
        return np.minimum.reduce(
            np.broadcast_arrays(*(a.n_params(n_tokens, c) for a, c in zip(self.accountings, self.flops, strict=True)))
        )

    def n_params_at_ratio(self, log_ratio: Array) -> Array:
        """The largest size that every budget can train on that many tokens per parameter."""
        sizes = []
        for accounting, flops in zip(self.accountings, self.flops, strict=True):
            shape = np.broadcast_shapes(np.shape(flops), np.shape(log_ratio))

            def surplus(log_n: Array, a: Accounting = accounting, c: Array = flops) -> Array:
                return np.log(np.maximum(a.n_tokens(np.exp(log_n), c), 1e-300)) - log_n - log_ratio

            sizes.append(np.exp(falling_root(surplus, shape, (np.log(1e-3), np.log(1e60)))))
        return np.minimum.reduce(np.broadcast_arrays(*sizes))

    def over(self, log_n: Array, log_d: Array) -> Array:
        """ln(cost / budget) of the budget that is hardest pressed."""
        return np.maximum.reduce(np.broadcast_arrays(*self.pressures(log_n, log_d)))

    def pressures(self, log_n: Array, log_d: Array) -> list[Array]:
        """ln(cost / budget) of each budget for a run."""
        with np.errstate(all="ignore"):
            return [
                np.log(a.flops(np.exp(log_n), np.exp(log_d))) - np.log(c)
                for a, c in zip(self.accountings, self.flops, strict=True)
            ]

    def binding(self, log_n: Array) -> Array:
        """The name of the budget that pays for the fewest tokens at a size; both names, ", " between, where two do."""
        tokens = np.stack(
            np.broadcast_arrays(
                *(a.n_tokens(np.exp(log_n), c) for a, c in zip(self.accountings, self.flops, strict=True))
            )
        )
        first = tokens.argmin(axis=0)
        names = np.array(self.names)[first]
        if len(self.names) == 1:
            return names
        close = tokens <= tokens.min(axis=0) * (1 + SLACK)
        for k, name in enumerate(self.names):
            names = np.where(close[k] & (first != k), joined(names, np.full(names.shape, name)), names)
        return names


@dataclass(frozen=True)
class Bound:
    """A bound (...) in logs and the name (...) of the constraint that sets it; "" where none does."""

    value: Array
    name: Array

    def __add__(self, other: Bound) -> Bound:
        return Bound(self.value + other.value, joined(self.name, other.name))

    def __sub__(self, other: Bound) -> Bound:
        return Bound(self.value - other.value, joined(self.name, other.name))


def joined(first: Array, second: Array) -> Array:
    joint = np.char.add(np.char.add(first, ", "), second)
    return np.where(first == "", second, np.where(second == "", first, joint))


def bound(name: str, value: Any) -> Bound:
    value = np.asarray(value, dtype=float)
    return Bound(value, np.full(value.shape, name))


def tightest(bounds: Sequence[Bound], pick: Callable[[Any, Any], Array]) -> Bound:
    """The largest (np.greater) or smallest (np.less) of several bounds."""
    best = bounds[0]
    for other in bounds[1:]:
        better = pick(other.value, best.value)
        best = Bound(np.where(better, other.value, best.value), np.where(better, other.name, best.name))
    return best


@dataclass(frozen=True)
class Region:
    """The runs that respect the constraints, budgets aside, in logs: N, D and R = D / N between bounds."""

    n_low: Bound
    n_high: Bound
    d_low: Bound
    d_high: Bound
    r_low: Bound
    r_high: Bound

    @property
    def smallest(self) -> tuple[Bound, Bound]:
        """ln N and ln D of the smallest run that the lower bounds ask for."""
        return (
            tightest([self.n_low, self.d_low - self.r_high], np.greater),
            tightest([self.d_low, self.n_low + self.r_low], np.greater),
        )

    @property
    def largest(self) -> tuple[Bound, Bound]:
        """ln N and ln D of the largest run that the upper bounds allow; inf where nothing bounds it."""
        return (
            tightest([self.n_high, self.d_high - self.r_low], np.less),
            tightest([self.d_high, self.n_high + self.r_high], np.less),
        )

    @property
    def empty(self) -> Array:
        """Where no run respects the constraints, whatever the budget."""
        (n_top, d_top) = self.largest
        return (
            (n_top.value < self.n_low.value - SLACK)
            | (d_top.value < self.d_low.value - SLACK)
            | (self.r_low.value > self.r_high.value + SLACK)
        )

    def along(self, budgets: Budgets) -> tuple[Bound, Bound]:
        """Bounds of ln N on the line where a budget is spent whole: D falls with N there, so bounds on D bound N."""
        with np.errstate(all="ignore"):
            lows, highs = [self.n_low], [self.n_high]
            highs.append(Bound(np.log(budgets.n_params(np.exp(self.d_low.value))), self.d_low.name))
            if np.isfinite(self.d_high.value).any():
                lows.append(Bound(np.log(budgets.n_params(np.exp(self.d_high.value))), self.d_high.name))
            if np.isfinite(self.r_high.value).any():
                lows.append(Bound(np.log(budgets.n_params_at_ratio(self.r_high.value)), self.r_high.name))
            if np.isfinite(self.r_low.value).any():
                highs.append(Bound(np.log(budgets.n_params_at_ratio(self.r_low.value)), self.r_low.name))
        return tightest(lows, np.greater), tightest(highs, np.less)


def region(c: Constraints) -> Region:
    """The region of the constraints, in logs."""

    def side(floor: float, names: tuple[str, ...], pick: Callable[[Any, Any], Array]) -> Bound:
        given = [bound(name, np.log(getattr(c, name))) for name in names if getattr(c, name) is not None]
        return tightest([bound("", floor), *given], pick)

    least = float(np.log(SMALLEST))
    return Region(
        n_low=side(least, ("n_params", "min_params"), np.greater),
        n_high=side(np.inf, ("n_params", "max_params"), np.less),
        d_low=side(least, ("n_tokens", "min_tokens"), np.greater),
        d_high=side(np.inf, ("n_tokens", "max_tokens"), np.less),
        r_low=side(-np.inf, ("tokens_per_param", "min_tokens_per_param"), np.greater),
        r_high=side(np.inf, ("tokens_per_param", "max_tokens_per_param"), np.less),
    )


def words(names: str) -> str:
    return " with ".join(WORDS.get(name, name) for name in names.split(", "))


def clash(where: Region, at: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """The sentence for constraints that no run meets, whatever the budget."""

    def show(b: Bound) -> tuple[float, str]:
        return float(np.broadcast_to(b.value, shape)[at]), words(str(np.broadcast_to(b.name, shape)[at]))

    (n_top, d_top), (n_low, d_low) = where.largest, (where.n_low, where.d_low)
    for top, low, what in ((n_top, n_low, "parameters"), (d_top, d_low, "tokens")):
        (most, upper), (least, lower) = show(top), show(low)
        if most < least - SLACK:
            return (
                f"no run meets all constraints: {lower} asks for at least {np.exp(least):.3g} {what} and {upper} allows at "
                f"most {np.exp(most):.3g}. The nearest run that keeps to the limits has {_run(n_top, d_top, at, shape)}; "
                "relax one of them."
            )
    (least, lower), (most, upper) = show(where.r_low), show(where.r_high)
    return (
        f"no run meets all constraints: {lower} asks for {np.exp(least):.3g} tokens per parameter and {upper} allows "
        f"{np.exp(most):.3g}; relax one of them."
    )


def _run(n: Bound, d: Bound, at: tuple[int, ...], shape: tuple[int, ...]) -> str:
    parts = []
    for b, what in ((n, "parameters"), (d, "tokens")):
        value = float(np.exp(np.broadcast_to(b.value, shape)[at]))
        parts.append(f"{value:.3g} {what}" if np.isfinite(value) else f"any number of {what}")
    return " and ".join(parts)


def too_small(where: Region, budgets: Budgets, at: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """The sentence for a budget that cannot pay for the smallest run that the constraints allow."""
    n, d = (Bound(np.broadcast_to(b.value, shape), np.broadcast_to(b.name, shape)) for b in where.smallest)
    pressures = [np.broadcast_to(p, shape)[at] for p in budgets.pressures(n.value, d.value)]
    k = int(np.argmax(pressures))
    has = float(np.broadcast_to(budgets.flops[k], shape)[at])
    asked = [name for name in dict.fromkeys(", ".join([str(n.name[at]), str(d.name[at])]).split(", ")) if name]
    because = " and ".join(words(name) for name in asked) or words("")
    of = "" if budgets.names[k] == "flops" else f", all that the limit {budgets.names[k]!r} leaves,"
    return (
        f"nothing fits a budget of {has:.3g} FLOPs{of}: {because} ask{'s' if len(asked) < 2 else ''} for at least "
        f"{np.exp(n.value[at]):.3g} parameters on {np.exp(d.value[at]):.3g} tokens, which take {has * np.exp(pressures[k]):.3g} "
        f"FLOPs. That is the nearest plan: find {np.exp(pressures[k]):.3g} times the budget, or relax a constraint."
    )
