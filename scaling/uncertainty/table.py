"""Intervals of a fit as a table, by one method of choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from scaling.errors import FitError
from scaling.fitting.result import FitResult
from scaling.laws.law import Array
from scaling.uncertainty.bootstrap import KINDS, bca, bootstrap
from scaling.uncertainty.intervals import Interval, interval
from scaling.uncertainty.profile import profile

if TYPE_CHECKING:
    import pandas as pd

LINEARISED = ("recommended", "hc3", "mixed")
#: the names a command line can offer: without resampling, by profile, by resampling
METHODS = (*LINEARISED, "profile", "bootstrap", *KINDS, "bca")


def intervals_table(
    result: FitResult,
    quantities: Mapping[str, Callable[[Array], Array] | str] | None = None,
    method: str = "recommended",
    level: float = 0.95,
    *,
    clusters: str | Array | None = None,
    n_resamples: int = 1000,
    rng: int | np.random.Generator = 0,
) -> pd.DataFrame:
    """Intervals of a single fit.

    Parameters
    ----------
    result : a single fit; for the methods beyond "hc3" one with its runs. A bootstrap of one: "bootstrap" takes its resamples.
    quantities : name -> function of theta (..., P) returning (...), or the name of a coefficient or derived quantity.
        Default: the coefficients, and whatever the law derives from them.
    method : one of METHODS. "bootstrap" is "cases".
    level : probability to cover.
    clusters : column (or labels) of runs that share errors, for "recommended" and "mixed"; the column to draw by for
        "clusters" and "strata".
    n_resamples, rng : of the methods that resample.

    Returns a table quantity, estimate, low, high, level, method (what was used), why. Coefficients held fixed have no
    interval (low = high = estimate). Raises FitError for unknown methods and whatever the method itself refuses.
    """
    import pandas as pd

    if method not in METHODS:
        raise FitError(f"unknown interval method {method!r}; choose {', '.join(METHODS)}.")
    if quantities is None:
        free = [n for n in result.law.coef_names if n not in result.fixed]
        held = [n for n in result.law.coef_names if n in result.fixed]
        names: dict[str, Callable[[Array], Array] | str] = {n: n for n in [*free, *_moving(result)]}
    else:
        held, names = [], dict(quantities)
    make = _maker(result, method, level, clusters, n_resamples, rng)
    rows = []
    for name, quantity in names.items():
        found = make(quantity)
        if np.size(found.low) != 1:
            raise FitError(f"{name!r} returns {np.size(found.low)} numbers per theta: give one function for each.")
        rows.append((name, found.estimate[0], found.low[0], found.high[0], level, found.method, found.why))
    for name in held:
        value = result.fixed[name]
        rows.append((name, value, value, value, level, "fixed", "held at this value"))
    return pd.DataFrame(rows, columns=["quantity", "estimate", "low", "high", "level", "method", "why"])


def _moving(result: FitResult) -> list[str]:
    """Derived quantities that depend on the free coefficients."""
    theta = np.asarray(result.point.theta, dtype=float)
    moved = np.tile(theta, (len(theta), 1)) * (1 + 1e-6 * np.eye(len(theta)))
    free = result.coordinates.free
    out = []
    for name, function in result.law.derived.items():
        with np.errstate(all="ignore"):
            if (np.asarray(function(moved))[free] != function(theta)).any():
                out.append(name)
    return out


def _maker(
    result: FitResult,
    method: str,
    level: float,
    clusters: str | Array | None,
    n_resamples: int,
    rng: int | np.random.Generator,
) -> Callable[[Callable[[Array], Array] | str], Interval]:
    names = result.law.coef_names
    if method in LINEARISED:
        # a positive coefficient has an interval symmetric in its log, as the fit's own table has it
        def log_of(quantity: Callable[[Array], Array] | str) -> bool:
            """Whether the interval is symmetric in the log: that of a positive coefficient without an upper bound."""
            if not isinstance(quantity, str) or quantity not in names:
                return False
            coef = result.law.coefs[names.index(quantity)]
            return coef.lower == 0 and not np.isfinite(coef.upper)

        return lambda q: interval(result, q, level, method=method, clusters=clusters, log=log_of(q))
    if method == "profile":
        return lambda q: profile(result, q, level)
    if method == "bootstrap" and result.of is not None:
        return lambda q: interval(result, q, level)
    kind = {"bootstrap": "cases", "bca": "cases"}.get(method, method)
    if clusters is not None and not isinstance(clusters, str) and kind in ("clusters", "strata"):
        raise FitError(f"method {method!r} draws by a column of the runs: give its name as clusters.")
    column = clusters if isinstance(clusters, str) else None
    drawn = bootstrap(result, n_resamples, rng, kind, clusters=column or "run", strata=column or "budget")
    if method == "bca":
        return lambda q: bca(drawn, q, level)
    return lambda q: interval(drawn, q, level)
