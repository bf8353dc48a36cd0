"""Which runs decide: how far the answer moves when one run is left out, and which runs lie off the law."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from scaling.errors import FitError
from scaling.fitting.diagnose import run_names, standardised
from scaling.fitting.result import FitResult
from scaling.laws.law import Array, Law
from scaling.uncertainty.bootstrap import jackknife
from scaling.uncertainty.intervals import _quantity, interval

if TYPE_CHECKING:
    import pandas as pd

BEYOND = 10.0  # default budget at which the best model size is followed, in units of the largest run's FLOPs
FAR = 4.685  # noise sizes from which a run counts as off the law: where the robust objective gives it no weight


def best_size(law: Law, flops: float) -> Callable[[Array], Array]:
    """ln of the model size of least loss at a budget of 6 N D FLOPs, as a function of theta (..., P) -> (...).

    For any law of n_params and n_tokens; nan where the loss has no minimum between 1e4 parameters and 1e4 tokens.
    Raises FitError for laws of other inputs. 6 N D is Hoffmann et al. 2022's accounting.
    """
    if set(law.inputs) != {"n_params", "n_tokens"}:
        raise FitError(
            f"law {law.name!r} has no best model size: its inputs are {', '.join(law.inputs)}, not n_params and n_tokens."
        )
    total = np.log(flops / 6)

    def function(theta: Array) -> Array:
        """theta (..., P) -> ln of the best size (...); nan where the loss has no minimum between the ends."""
        theta = np.asarray(theta, dtype=float)

        def slope(log_n: Array) -> Array:
            """d loss / d ln N along the budget, by the complex step; (...) -> (...)."""
            z = log_n[..., None] + 1e-100j
            with np.errstate(all="ignore"):
                value = law.formula({"n_params": np.exp(z), "n_tokens": np.exp(total - z)}, theta)
            return np.imag(value)[..., 0] * 1e100

        low, high = np.full(theta.shape[:-1], np.log(1e4)), np.full(theta.shape[:-1], total - np.log(1e4))
        inside = (slope(low) < 0) & (slope(high) > 0)
        for _ in range(60):
            middle = 0.5 * (low + high)
            rising = slope(middle) > 0
            low, high = np.where(rising, low, middle), np.where(rising, middle, high)
        return np.where(inside, 0.5 * (low + high), np.nan)

    return function


def influence(
    result: FitResult, quantity: Callable[[Array], Array] | str | None = None, flops: float | None = None
) -> pd.DataFrame:
    """How far a quantity moves when each run in turn is left out and the law is fitted again, most influential first.

    Parameters
    ----------
    result : a single fit with its runs.
    quantity : one quantity, a function of theta (..., P) returning (...), or its name. Default: ln N_opt at `flops` for
        laws of n_params and n_tokens, else the last coefficient.
    flops : budget of the default quantity; default 10 times the largest run.

    Returns a table run, row, residual (in noise sizes), shift (quantity without the run minus with it), in_se (shift over
    the standard error of the recommended interval). A refit without proof of convergence has a shift of nan.
    """
    import pandas as pd

    function = _quantity(result, quantity) if quantity is not None else _default(result, flops)
    left = jackknife(result)
    assert result.problem is not None
    present = np.flatnonzero(result.problem.weights[0] > 0)
    with np.errstate(all="ignore"):
        here, there = np.asarray(function(result.theta), float), np.asarray(function(left), float)
    if here.ndim:
        raise FitError("influence follows one quantity at a time: give a function that returns one number per theta.")
    around = interval(result, function, 0.6827)
    error = float(around.high[0] - around.low[0]) / 2
    table = pd.DataFrame(
        {
            "run": run_names(result.runs, len(result.problem.weights[0]))[present],
            "row": present,
            "residual": standardised(result)[present],
            "shift": there - here,
            "in_se": (there - here) / error if error > 0 else np.nan,
        }
    )
    order = (-table["shift"].abs()).argsort(kind="stable")
    return table.iloc[order.to_numpy()].reset_index(drop=True)


def outliers(result: FitResult, far: float = FAR) -> pd.DataFrame:
    """Runs that lie further off the law than noise explains: run, row, off (relative, or in units of the target), residual.

    residual is in noise sizes of that run, positive where the run is worse than the law says. Nothing is dropped.
    """
    import pandas as pd

    if result.shape or result.problem is None:
        raise FitError("outliers are named for one fit with its runs: take a group first, result.group(i).")
    size = standardised(result)
    rows = np.flatnonzero(np.abs(size) > far)
    rows = rows[np.argsort(-np.abs(size[rows]))]
    raw = -result.residuals[rows]
    off = np.expm1(raw) if result.objective.of == "log" else raw
    names = run_names(result.runs, len(size))[rows]
    return pd.DataFrame({"run": names, "row": rows, "off": off, "residual": size[rows]})


def _default(result: FitResult, flops: float | None) -> Callable[[Array], Array]:
    law = result.law
    if set(law.inputs) != {"n_params", "n_tokens"}:
        return lambda theta: theta[..., -1]
    if flops is None:
        assert result.problem is not None
        x = result.problem.x
        flops = BEYOND * 6 * float((x["n_params"] * x["n_tokens"]).max())
    return best_size(law, flops)
