"""The best model size and number of tokens for a budget, and the budget for a wanted loss or size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from scaling.allocation.constraints import Budgets, Constraints, Limit
from scaling.allocation.search import falling_root
from scaling.allocation.solve import Surface, solve
from scaling.compute import DENSE, Accounting
from scaling.errors import PlanError
from scaling.laws.law import Array, Law

if TYPE_CHECKING:
    import pandas as pd

MOST_FLOPS = 1e60  # past 1e80 the loss is flat in double precision about its floor, and a best size is noise
FLOPS_RANGE = (1e2, 1e60)  # budgets searched for a wanted loss


class Fitted(Protocol):
    """Anything with a law and its coefficients theta (..., P): a fit, a bootstrap, a published law."""

    @property
    def law(self) -> Law: ...

    @property
    def theta(self) -> Array: ...


@dataclass(frozen=True)
class Allocation:
    """How to spend budgets under a law.

    flops (m,); n_params, n_tokens, loss (..., m) with the leading axes of theta; inside (..., m) is False where the
    optimum is the end of the searched range, not an optimum; binding (..., m) names the constraints that decide beside the
    budget, or ""; budget (..., m) names the budget that is spent whole ("flops" or a limit), "" where constraints stop first.
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
    budget: Array = field(default_factory=lambda: np.array("flops"))
    limits: tuple[Limit, ...] = ()

    @property
    def tokens_per_param(self) -> Array:
        return self.n_tokens / self.n_params

    @property
    def spent(self) -> Array:
        """FLOPs (..., m) that the runs take, by the accounting of `flops`; less than `flops` where another limit binds."""
        return self.compute.flops(self.n_params, self.n_tokens)

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
    limits: Sequence[Limit] = (),
) -> Allocation:
    """Model size and tokens with the lowest predicted loss at each budget.

    Parameters
    ----------
    fitted : a fit, a bootstrap or a published law, whose law has the inputs n_params and n_tokens.
    flops : (m,) or one training budget [FLOPs], as numbers or as text such as "5.76e23".
    compute : how FLOPs follow from N and D; default C = 6 N D.
    constraints : sizes, tokens and ratios to respect. Where they stop a run before the budget is spent, the rest is left.
    inputs : values of the law's other inputs; `n_unique_tokens` means the unique tokens at hand (fewer are used when
        the run is shorter).
    limits : more budgets, each with its accounting, that the run must stay within as well.

    Returns an Allocation. Raises LawError when the law does not trade N against D, PlanError for a bad budget or when
    the constraints leave nothing at a budget.
    Source: Hoffmann et al. 2022, arXiv:2203.15556, sec. 3.3.
    """
    constraints = constraints or Constraints()
    amounts = budgets_of(flops)
    point_of = getattr(fitted, "of", None)
    result = _allocation(fitted, amounts, compute, constraints, inputs or {}, tuple(limits))
    if point_of is None:
        return result
    return replace(result, of=_allocation(point_of, amounts, compute, constraints, inputs or {}, tuple(limits)))


def _allocation(
    fitted: Fitted, flops: Array, compute: Accounting, constraints: Constraints, inputs: Mapping[str, float],
    limits: tuple[Limit, ...],
) -> Allocation:  # fmt: skip
    found = solve(
        fitted.law, np.asarray(fitted.theta, dtype=float), _budgets(flops, compute, limits), constraints, inputs
    )
    with np.errstate(all="ignore"):
        n, d = np.exp(found.log_n), np.exp(found.log_d)
    return Allocation(
        fitted.law, fitted, compute, constraints, flops, n, d, found.loss, found.inside, found.binding,
        inputs=dict(inputs), budget=found.budget, limits=limits,
    )  # fmt: skip


def _budgets(flops: Array, compute: Accounting, limits: Sequence[Limit] = ()) -> Budgets:
    for limit in limits:
        if not (np.isfinite(limit.flops).all() and np.all(np.asarray(limit.flops) > 0)):
            raise PlanError(f"the limit {limit.name!r} must leave a positive number of FLOPs, not {limit.flops}.")
    return Budgets(
        ("flops", *(limit.name for limit in limits)), (compute, *(limit.compute for limit in limits)),
        (flops, *(np.asarray(limit.flops, dtype=float) for limit in limits)),
    )  # fmt: skip


def flops_for_loss(
    fitted: Fitted,
    loss: float,
    *,
    compute: Accounting = DENSE,
    constraints: Constraints | None = None,
    inputs: Mapping[str, float] | None = None,
    limits: Sequence[Limit] = (),
) -> Array:
    """Least compute (...) [FLOPs] that reaches a loss, over the leading axes of theta; nan where no budget reaches it.

    Raises PlanError when a single law cannot reach it, naming the loss it ends at.
    """
    if not (np.isfinite(loss) and loss > 0):
        raise PlanError(f"the wanted loss must be a positive number, not {loss}.")
    theta = np.asarray(fitted.theta, dtype=float)

    def best_loss(log_flops: Array) -> Array:
        budgets = _budgets(np.exp(log_flops)[..., None], compute, limits)
        found = solve(fitted.law, theta, budgets, constraints or Constraints(), inputs or {}, strict=False)
        return np.where(np.isnan(found.loss[..., 0]), np.inf, found.loss[..., 0])

    between = np.log(FLOPS_RANGE)
    steps = 2 if theta.ndim == 1 else 0  # 58 budgets in one go, twice: a third of the time of one after the other
    for _ in range(steps):
        ends = np.linspace(between[0], between[1], 59)
        with np.errstate(all="ignore"):
            found = solve(fitted.law, theta, _budgets(np.exp(ends), compute, limits), constraints or Constraints(), inputs or {}, strict=False)  # fmt: skip
        above = np.flatnonzero(~(found.loss <= loss))  # nan: too little for any run
        if not len(above) or above[-1] + 1 == len(ends):
            break
        between = ends[above[-1] : above[-1] + 2]
    answer = falling_root(lambda log_flops: best_loss(log_flops) - loss, theta.shape[:-1], between)
    if not theta.shape[:-1] and np.isnan(answer):
        least = float(best_loss(np.asarray(np.log(FLOPS_RANGE[1]))))
        within = "" if not limits else f" and within the limits ({', '.join(x.name for x in limits)})"
        raise PlanError(
            f"a loss of {loss:g} cannot be reached: under this law and these constraints{within} the loss stays above "
            f"{least:.4g} at any budget. Ask for a higher loss, or relax a constraint."
        )
    return np.exp(answer)


def flops_for_params(fitted: Fitted, n_params: float, *, compute: Accounting = DENSE) -> Array:
    """The budget (...) [FLOPs] at which a model size is the best one; nan where it never is."""
    theta = np.asarray(fitted.theta, dtype=float)

    def distance(log_flops: Array) -> Array:
        budgets = _budgets(np.exp(log_flops)[..., None], compute)
        return np.log(n_params) - solve(fitted.law, theta, budgets, Constraints(), {}, strict=False).log_n[..., 0]

    return np.exp(falling_root(distance, theta.shape[:-1], np.log(FLOPS_RANGE)))


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
    theta = np.asarray(allocation.fitted.theta, dtype=float)
    x = Surface(allocation.law, allocation.inputs, theta).inputs(n_params, n_tokens)
    return allocation.law.predict(x, theta)


def budgets_of(flops: Any) -> Array:
    """Budgets (m,) [FLOPs] from one or several numbers or texts."""
    from scaling.quantities import parse_quantity

    values = [flops] if isinstance(flops, str) or np.ndim(flops) == 0 else list(flops)
    if not values:
        raise PlanError("no budget was given: name at least one, such as 1e21.")
    amounts = np.array([parse_quantity(v, "flops", name="flops") for v in values])
    if (amounts > MOST_FLOPS).any():
        raise PlanError(
            f"flops: at {amounts.max():.3g} rounding hides every difference in loss (limit {MOST_FLOPS:.0e}); write what you have."
        )
    return amounts
