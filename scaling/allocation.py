"""The best model size and number of tokens for a budget, and the budget for a wanted loss or size.

Along a budget C the loss is a function of log N alone, because the accounting gives D = D(N, C). Every constraint is a
bound on log N, so one bracketed Newton search serves every law, draw, budget and constraint at once. For sums of power
terms in N and D that function is convex in log N: the optimum found is the optimum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from scaling.compute import DENSE, Accounting
from scaling.errors import LawError, PlanError
from scaling.laws.law import Array, Law

if TYPE_CHECKING:
    import pandas as pd

SMALLEST = 1.0  # parameters and tokens: the ends of the searched range
GRID = 64  # points of the first search along a budget, over the whole range of sizes
CHUNK = 400_000  # evaluations of the law at a time: bounds memory whatever the number of draws and budgets
ITERATIONS = 100  # of the bracketed Newton search; it takes 5 to 10
FLOPS_RANGE = (1e2, 1e60)  # budgets searched for a wanted loss


class Fitted(Protocol):
    """Anything with a law and its coefficients theta (..., P): a fit, a bootstrap, a published law."""

    @property
    def law(self) -> Law: ...

    @property
    def theta(self) -> Array: ...


@dataclass(frozen=True)
class Constraints:
    """What a plan must respect. None means free; `n_params` and `tokens_per_param` fix a value, the rest are bounds."""

    n_params: float | None = None
    n_tokens: float | None = None
    tokens_per_param: float | None = None
    max_params: float | None = None
    min_params: float | None = None
    max_tokens: float | None = None
    min_tokens_per_param: float | None = None
    max_tokens_per_param: float | None = None

    def __post_init__(self) -> None:
        fixed = [name for name in ("n_params", "n_tokens", "tokens_per_param") if getattr(self, name) is not None]
        if len(fixed) > 1:
            raise PlanError(
                f"{' and '.join(fixed)} are both fixed: with a budget one of them decides the others; keep one."
            )
        for name, value in self.given.items():
            if not (np.isfinite(value) and value > 0):
                raise PlanError(f"{name} must be a positive number, not {value}.")
        for low, high in (("min_params", "max_params"), ("min_tokens_per_param", "max_tokens_per_param")):
            a, b = getattr(self, low), getattr(self, high)
            if a is not None and b is not None and a > b:
                raise PlanError(f"{low} ({a:g}) is above {high} ({b:g}): nothing lies between them.")

    @property
    def given(self) -> dict[str, float]:
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Allocation:
    """How to spend budgets under a law.

    flops (m,); n_params, n_tokens, loss (..., m) with the leading axes of theta; inside (..., m) is False where the
    optimum is the end of the searched range, not an optimum; binding (..., m) names the constraint that decides, or "".
    `of` is the allocation under the point estimate when theta was a bootstrap.
    """

    law: Law
    fitted: Fitted
    compute: Accounting
    constraints: Constraints
    flops: Array
    n_params: Array
    n_tokens: Array
    loss: Array
    inside: Array
    binding: Array
    inputs: Mapping[str, float] = field(default_factory=dict)
    of: Allocation | None = None

    @property
    def tokens_per_param(self) -> Array:
        return self.n_tokens / self.n_params

    @property
    def point(self) -> Allocation:
        """The allocation under the point estimate."""
        return self if self.of is None else self.of

    def band(self, name: str, level: float = 0.8) -> tuple[Array, Array]:
        """(low, high), each (m,), of n_params, n_tokens, tokens_per_param or loss over the draws; nan without draws."""
        if not 0 < level < 1:
            raise PlanError(f"a band's level must lie between 0 and 1 (0.8 is 80 %), not {level}.")
        values = getattr(self, name)
        if self.of is None:
            nothing = np.full(self.flops.shape, np.nan)
            return nothing, nothing
        usable = values[np.isfinite(values).all(axis=-1)]
        if not len(usable):
            nothing = np.full(self.flops.shape, np.nan)
            return nothing, nothing
        low, high = np.quantile(usable, [0.5 - level / 2, 0.5 + level / 2], axis=0)
        return low, high

    def table(self, level: float = 0.8) -> pd.DataFrame:
        """One row per budget: flops, then n_params, n_tokens, tokens_per_param and loss with _low and _high, binding."""
        import pandas as pd

        point = self.point
        if point.n_params.ndim != 1:
            raise PlanError("a table is for one law: take one group or one draw first.")
        columns: dict[str, Any] = {"flops": point.flops}
        for name in ("n_params", "n_tokens", "tokens_per_param", "loss"):
            low, high = self.band(name, level)
            columns |= {name: getattr(point, name), f"{name}_low": low, f"{name}_high": high}
        return pd.DataFrame({**columns, "binding": point.binding})


def allocate(
    fitted: Fitted,
    flops: Any,
    *,
    compute: Accounting = DENSE,
    constraints: Constraints | None = None,
    inputs: Mapping[str, float] | None = None,
) -> Allocation:
    """Model size and tokens with the lowest predicted loss at each budget.

    Parameters
    ----------
    fitted : a fit, a bootstrap or a published law, whose law has the inputs n_params and n_tokens.
    flops : (m,) or one training budget [FLOPs], as numbers or as text such as "5.76e23".
    compute : how FLOPs follow from N and D; default C = 6 N D.
    constraints : sizes, tokens and ratios to respect.
    inputs : values of the law's other inputs; `n_unique_tokens` means the unique tokens at hand (fewer are used when
        the run is shorter).

    Returns an Allocation. Raises LawError when the law does not trade N against D, PlanError for a bad budget or when
    the constraints leave nothing at a budget.
    Source: Hoffmann et al. 2022, arXiv:2203.15556, sec. 3.3.
    """
    constraints = constraints or Constraints()
    budgets = _budgets(flops)
    point_of = getattr(fitted, "of", None)
    parts = _allocate(fitted.law, np.asarray(fitted.theta, dtype=float), budgets, compute, constraints, inputs or {})
    result = Allocation(fitted.law, fitted, compute, constraints, budgets, *parts, inputs=dict(inputs or {}))
    if point_of is None:
        return result
    return replace(result, of=allocate(point_of, budgets, compute=compute, constraints=constraints, inputs=inputs))


def flops_for_loss(
    fitted: Fitted,
    loss: float,
    *,
    compute: Accounting = DENSE,
    constraints: Constraints | None = None,
    inputs: Mapping[str, float] | None = None,
) -> Array:
    """Least compute (...) [FLOPs] that reaches a loss, over the leading axes of theta; nan where no budget reaches it.

    Raises PlanError when a single law cannot reach it, naming the loss it ends at.
    """
    if not (np.isfinite(loss) and loss > 0):
        raise PlanError(f"the wanted loss must be a positive number, not {loss}.")

    def best_loss(log_flops: Array) -> Array:
        parts = _allocate(
            fitted.law, theta, np.exp(log_flops)[..., None], compute, constraints or Constraints(), inputs or {},
            strict=False,
        )  # fmt: skip
        return np.where(np.isnan(parts[2][..., 0]), np.inf, parts[2][..., 0])

    theta = np.asarray(fitted.theta, dtype=float)
    answer = _falling_root(lambda log_flops: best_loss(log_flops) - loss, theta.shape[:-1], np.log(FLOPS_RANGE))
    if not theta.shape[:-1] and np.isnan(answer):
        least = float(best_loss(np.asarray(np.log(FLOPS_RANGE[1]))))
        raise PlanError(
            f"a loss of {loss:g} cannot be reached: under this law and these constraints the loss stays above "
            f"{least:.4g} at any budget. Ask for a higher loss, or relax a constraint."
        )
    return np.exp(answer)


def flops_for_params(fitted: Fitted, n_params: float, *, compute: Accounting = DENSE) -> Array:
    """The budget (...) [FLOPs] at which a model size is the best one; nan where it never is."""
    theta = np.asarray(fitted.theta, dtype=float)

    def distance(log_flops: Array) -> Array:
        parts = _allocate(fitted.law, theta, np.exp(log_flops)[..., None], compute, Constraints(), {}, strict=False)
        return np.log(n_params) - np.log(parts[0][..., 0])

    return np.exp(_falling_root(distance, theta.shape[:-1], np.log(FLOPS_RANGE)))


def tokens_per_param_at(
    fitted: Fitted, flops: Any, level: float = 0.95, *, compute: Accounting = DENSE
) -> dict[str, dict[str, float | None]]:
    """Tokens per parameter of the best run at each budget: {"1e21": {"estimate", "low", "high", "level"}}."""
    best = allocate(fitted, flops, compute=compute)
    low, high = best.band("tokens_per_param", level)

    def known(value: float) -> float | None:
        return float(value) if np.isfinite(value) else None

    return {
        f"{c:g}".replace("e+", "e"): {"estimate": known(r), "low": known(a), "high": known(b), "level": level}
        for c, r, a, b in zip(best.flops, best.point.tokens_per_param, low, high, strict=True)
    }


def loss_at(allocation: Allocation, n_params: Array, n_tokens: Array) -> Array:
    """Loss (..., m) under the allocation's draws at given sizes and tokens (m,)."""
    x = _inputs(n_params, n_tokens, allocation.inputs)
    return allocation.law.predict(x, np.asarray(allocation.fitted.theta, dtype=float))


# --- the search ------------------------------------------------------------------------------------------------------


def _budgets(flops: Any) -> Array:
    from scaling.quantities import parse_quantity

    values = [flops] if isinstance(flops, str) or np.ndim(flops) == 0 else list(flops)
    if not values:
        raise PlanError("no budget was given: name at least one, such as 1e21.")
    return np.array([parse_quantity(v, "flops", name="flops") for v in values])


def _inputs(n_params: Array, n_tokens: Array, others: Mapping[str, float]) -> dict[str, Array]:
    x: dict[str, Array] = {"n_params": n_params, "n_tokens": n_tokens}
    for name, value in others.items():
        if name == "n_unique_tokens":
            x[name] = np.where(np.real(n_tokens) < value, n_tokens, value)
        else:
            x[name] = np.broadcast_to(np.asarray(value, dtype=float), np.shape(n_params))
    return x


def _check_law(law: Law, others: Mapping[str, float]) -> None:
    if not {"n_params", "n_tokens"} <= set(law.inputs):
        raise LawError(
            f"law {law.name!r} depends on {', '.join(law.inputs)}: without both n_params and n_tokens there is nothing to "
            "trade off. Fit 'chinchilla' or another law of both."
        )
    if missing := set(law.inputs) - {"n_params", "n_tokens"} - set(others):
        raise LawError(f"law {law.name!r} also needs {', '.join(sorted(missing))}: give values with inputs={{...}}.")


def _bounds(flops: Array, compute: Accounting, c: Constraints) -> tuple[Array, Array, list[str], list[str]]:
    """log N between which the budgets (..., m) may be spent: ends (k, ..., m) and what sets each end."""

    def ratio(value: float) -> Array:  # the size at which D / N has this value; D / N falls with N
        return _falling_root(
            lambda log_n: np.log(np.maximum(compute.n_tokens(np.exp(log_n), flops), 1e-300)) - log_n - np.log(value),
            flops.shape, (np.log(1e-3), np.log(1e60)),
        )  # fmt: skip

    def at_tokens(value: float) -> Array:
        return np.log(compute.n_params(value, flops))

    def const(value: float) -> Array:
        return np.full(flops.shape, np.log(value))

    low: list[tuple[str, Array]] = [("", const(SMALLEST))]
    high: list[tuple[str, Array]] = [("", at_tokens(SMALLEST))]
    if c.n_params:
        low.append(("n_params", const(c.n_params)))
        high.append(("n_params", const(c.n_params)))
    if c.n_tokens:
        low.append(("n_tokens", at_tokens(c.n_tokens)))
        high.append(("n_tokens", at_tokens(c.n_tokens)))
    if c.tokens_per_param:
        low.append(("tokens_per_param", ratio(c.tokens_per_param)))
        high.append(("tokens_per_param", low[-1][1]))
    if c.min_params:
        low.append(("min_params", const(c.min_params)))
    if c.max_params:
        high.append(("max_params", const(c.max_params)))
    if c.max_tokens:
        low.append(("max_tokens", at_tokens(c.max_tokens)))
    if c.min_tokens_per_param:
        high.append(("min_tokens_per_param", ratio(c.min_tokens_per_param)))
    if c.max_tokens_per_param:
        low.append(("max_tokens_per_param", ratio(c.max_tokens_per_param)))
    return (
        np.array([v for _, v in low]), np.array([v for _, v in high]), [n for n, _ in low], [n for n, _ in high]
    )  # fmt: skip


def _allocate(
    law: Law,
    theta: Array,
    flops: Array,
    compute: Accounting,
    constraints: Constraints,
    others: Mapping[str, float],
    strict: bool = True,
) -> tuple[Array, Array, Array, Array, Array]:
    """n_params, n_tokens, loss, inside, binding (..., m) for budgets (m,) or (..., m)."""  # fmt: skip
    _check_law(law, others)
    lows, highs, low_names, high_names = _bounds(flops, compute, constraints)
    low, high = lows.max(axis=0), highs.min(axis=0)
    empty = ~(high - low > -1e-9 * (1 + np.abs(low)))
    if strict and empty.any():
        i = int(np.argmax(empty))  # budgets are (m,) when strict
        first, second = low_names[int(lows[:, i].argmax())], high_names[int(highs[:, i].argmin())]
        raise PlanError(
            _conflict(float(flops[i]), first, second, float(np.exp(low[i])), float(np.exp(high[i])), compute)
        )
    high = np.maximum(low, high)
    shape = np.broadcast_shapes((*theta.shape[:-1], 1), flops.shape)
    rows, m = int(np.prod(shape[:-1])), shape[-1]
    flat_theta = np.broadcast_to(theta, (*shape[:-1], theta.shape[-1])).reshape(rows, -1)

    def spread(a: Array) -> Array:
        return np.broadcast_to(a, shape).reshape(rows, m)

    c, lo, hi = spread(flops), spread(low), spread(high)
    log_n = np.empty((rows, m))
    step = max(1, CHUNK // (m * GRID))
    for start in range(0, rows, step):
        part = slice(start, start + step)
        log_n[part] = _minimise(law, flat_theta[part], c[part], lo[part], hi[part], compute, others)
    n = np.exp(log_n)
    d = compute.n_tokens(n, c)
    loss = law.predict(_inputs(n, d, others), flat_theta)
    at_low, at_high = log_n <= lo + 1e-9, log_n >= hi - 1e-9
    name_low = np.array(low_names)[spread(lows.argmax(axis=0))]
    name_high = np.array(high_names)[spread(highs.argmin(axis=0))]
    binding = np.where(at_low & (name_low != ""), name_low, np.where(at_high, name_high, ""))
    inside = ~((at_low & (name_low == "")) | (at_high & (name_high == "")))
    bad = spread(empty) | ~np.isfinite(flat_theta).all(axis=-1)[:, None]
    n, d, loss = (np.where(bad, np.nan, a) for a in (n, d, loss))
    return tuple(a.reshape(shape) for a in (n, d, loss, inside & ~bad, binding))  # type: ignore[return-value]


def _minimise(
    law: Law, theta: Array, flops: Array, low: Array, high: Array, compute: Accounting, others: Mapping[str, float]
) -> Array:
    """log N (rows, m) of least loss between low and high: the best point of a grid, then Newton in its bracket."""

    def loss(log_n: Array) -> Array:
        n = np.exp(log_n)
        return law.formula(_inputs(n, compute.n_tokens(n, flops[..., None]), others), theta[:, None, :])

    def slope(log_n: Array) -> Array:
        """d loss / d log N by the complex step, exact to rounding."""
        n = np.exp(log_n + 1e-100j)
        return np.imag(law.formula(_inputs(n, compute.n_tokens(n, flops), others), theta)) / 1e-100

    share = np.linspace(0.0, 1.0, GRID)
    points = low[..., None] + (high - low)[..., None] * share
    with np.errstate(all="ignore"):
        values = loss(points)
    best = np.nan_to_num(values, nan=np.inf).argmin(axis=-1)[..., None]
    left = np.take_along_axis(points, np.maximum(best - 1, 0), -1)[..., 0]
    right = np.take_along_axis(points, np.minimum(best + 1, GRID - 1), -1)[..., 0]
    with np.errstate(all="ignore"):
        falls_left, falls_right = slope(left) >= 0, slope(right) <= 0  # the least loss is that end of the bracket
        x = np.where(falls_left, left, np.where(falls_right, right, (left + right) / 2))
        free = ~(falls_left | falls_right)
        for _ in range(ITERATIONS):
            g = slope(x)
            left, right = np.where(g < 0, x, left), np.where(g > 0, x, right)
            h = 1e-4
            curvature = (slope(x + h) - slope(x - h)) / (2 * h)
            newton = x - g / curvature
            inside = (newton > left) & (newton < right) & (curvature > 0)
            new = np.where(g == 0, x, np.where(inside, newton, (left + right) / 2))
            moved = np.abs(new - x)
            x = np.where(free, new, x)
            free = free & (moved > 1e-13 * np.maximum(np.abs(x), 1.0))
            if not free.any():
                break
    return np.clip(x, low, high)


def _falling_root(f: Callable[[Array], Array], shape: tuple[int, ...], between: Any) -> Array:
    """Where a falling function of an array crosses zero, elementwise, by the Illinois method; nan without a crossing."""
    low, high = np.full(shape, float(between[0])), np.full(shape, float(between[1]))
    with np.errstate(all="ignore"):
        # a bisection until both ends are finite and close, then the faster method
        f_low, f_high = f(low), f(high)
        crossing = (f_low >= 0) & (f_high <= 0)
        side = np.zeros(shape)
        for i in range(200):
            secant = (low * f_high - high * f_low) / (f_high - f_low)
            middle = np.where((i % 4 == 3) | ~((secant > low) & (secant < high)), (low + high) / 2, secant)
            value = f(middle)
            up = value > 0  # still above zero: the root is to the right
            f_low, f_high = (
                np.where(up, value, np.where(side == -1, f_low / 2, f_low)),
                np.where(up, np.where(side == 1, f_high / 2, f_high), value),
            )
            low, high = np.where(up, middle, low), np.where(up, high, middle)
            side = np.where(up, 1.0, -1.0)
            answer = middle
            done = (np.abs(high - low) < 1e-13 * np.maximum(1.0, np.abs(middle))) | (np.abs(value) < 1e-15) | ~crossing
            if np.all(done):
                break
    return np.where(crossing, answer, np.nan)


def _conflict(flops: float, low: str, high: str, n_low: float, n_high: float, compute: Accounting) -> str:
    words = {
        "n_params": "the fixed model size", "n_tokens": "the fixed number of tokens", "tokens_per_param": "the fixed tokens per parameter",
        "max_tokens": "the limit on tokens", "max_params": "the limit on model size", "min_params": "the least model size",
        "min_tokens_per_param": "the least tokens per parameter", "max_tokens_per_param": "the most tokens per parameter",
        "": "the smallest run there is (one parameter, one token)",
    }  # fmt: skip
    return (
        f"nothing fits a budget of {flops:.3g} FLOPs: {words[low]} asks for at least {n_low:.3g} parameters and "
        f"{words[high]} allows at most {n_high:.3g}. Relax one of them"
        + (
            f", or spend only {float(np.real(compute.flops(n_high, compute.n_tokens(n_low, flops)))):.3g} FLOPs."
            if low == "max_tokens"
            else "."
        )
    )
