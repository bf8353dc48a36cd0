"""Runs that a known law would have logged: designs, and noise of the kinds that real sweeps show.

design = isoflop_design(budgets=[1e18, 1e19, 1e20], n_points=9)
runs = simulate(result, design, noise=0.005, tail_df=4, shared={"flops": 0.003}, rng=1)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import LawError, RunsError
from scaling.laws.law import Array, Law

if TYPE_CHECKING:
    import pandas as pd

FLOPS_PER_PARAM_TOKEN = 6.0  # forward and backward pass of a dense transformer, C = 6 N D


def isoflop_design(
    budgets: Sequence[float],
    n_points: int = 9,
    tokens_per_param: tuple[float, float] = (2.0, 200.0),
    flops_per_param_token: float = FLOPS_PER_PARAM_TOKEN,
) -> pd.DataFrame:
    """The same compute spent on `n_points` model sizes, at each budget.

    Parameters
    ----------
    budgets : compute of each sweep [FLOPs].
    n_points : sizes per budget, evenly spaced in log size.
    tokens_per_param : (lowest, highest) D / N of each sweep.
    flops_per_param_token : C = this times N times D.

    Returns a DataFrame with n_params, n_tokens, flops; one row per run, budgets in the order given, small models first.
    Raises RunsError for values that are not positive and for fewer than one size.
    Source: Hoffmann et al. 2022, arXiv:2203.15556, sec. 3.2.
    """
    import pandas as pd

    flops = _positive("budgets", budgets)
    low, high = _positive("tokens_per_param", tokens_per_param)
    (cost,) = _positive("flops_per_param_token", [flops_per_param_token])
    if n_points < 1:
        raise RunsError(f"n_points must be at least 1, not {n_points}.")
    ratio = np.geomspace(max(low, high), min(low, high), n_points)
    n_params = np.sqrt(flops[:, None] / (cost * ratio))
    return pd.DataFrame(
        {
            "n_params": n_params.ravel(),
            "n_tokens": (ratio * n_params).ravel(),
            "flops": np.repeat(flops, n_points),
        }
    )


def grid_design(
    n_params: Sequence[float],
    n_tokens: Sequence[float],
    flops_per_param_token: float = FLOPS_PER_PARAM_TOKEN,
) -> pd.DataFrame:
    """Every model size with every number of training tokens.

    Returns a DataFrame with n_params, n_tokens, flops = flops_per_param_token * n_params * n_tokens; one row per run,
    the tokens of the first size first. Raises RunsError for values that are not positive.
    """
    import pandas as pd

    (cost,) = _positive("flops_per_param_token", [flops_per_param_token])
    sizes, tokens = np.meshgrid(_positive("n_params", n_params), _positive("n_tokens", n_tokens), indexing="ij")
    return pd.DataFrame(
        {"n_params": sizes.ravel(), "n_tokens": tokens.ravel(), "flops": cost * sizes.ravel() * tokens.ravel()}
    )


def simulate(
    fitted_or_law: Any,
    design: pd.DataFrame | Mapping[str, Any],
    *,
    theta: Array | Mapping[str, float] | None = None,
    noise: float | Array = 0.01,
    tail_df: float | None = None,
    shared: Mapping[str, float] | None = None,
    rng: int | np.random.Generator = 0,
) -> pd.DataFrame:
    """Runs of a design whose target follows a law exactly, times log-normal or heavier-tailed noise.

    Parameters
    ----------
    fitted_or_law : a fit or a published law (anything with `law` and `theta`), or a Law, which needs `theta`.
    design : table with the law's inputs, one row per run; its other columns are kept.
    theta : (P,) coefficients, or a mapping of name to value; by default those of `fitted_or_law`.
    noise : standard deviation of the log of the target, one number or one per run (n,); 0 is none.
    tail_df : degrees of freedom of Student's t, above 2, in place of the Gaussian; still with standard deviation `noise`.
    shared : {column: standard deviation}: an error common to all runs that agree in a column, such as {"flops": 0.005}
        for budgets that were each tuned as one.
    rng : seed or generator; equal seeds give equal runs.

    Returns the design with the law's target filled in, a column `run` of names where there was none, and in
    attrs["simulated"] the law, coefficients and noise that made it.
    Raises LawError when coefficients are missing or of the wrong number, RunsError for missing or unusable columns.
    """
    import pandas as pd

    law: Law = fitted_or_law if isinstance(fitted_or_law, Law) else fitted_or_law.law
    coefs = _coefficients(fitted_or_law, law, theta)
    table = design.reset_index(drop=True) if isinstance(design, pd.DataFrame) else pd.DataFrame(dict(design))
    table = table.copy()
    if missing := [c for c in (*law.inputs, *(shared or {})) if c not in table]:
        raise RunsError(
            f"the design has no column {', '.join(map(repr, missing))}; it has {', '.join(map(repr, table.columns))}. "
            f"Law {law.name!r} takes {', '.join(law.inputs)}."
        )
    n = len(table)
    scale = np.broadcast_to(np.asarray(noise, dtype=float), (n,))
    if not (np.isfinite(scale) & (scale >= 0)).all():
        raise RunsError(f"noise is a standard deviation: zero or above, not {noise}.")
    if tail_df is not None and not tail_df > 2:
        raise RunsError(f"tail_df must be above 2 for the noise to have a standard deviation, not {tail_df}.")

    x = {c: table[c].to_numpy(float) for c in law.inputs}
    with np.errstate(all="ignore"):
        exact = np.asarray(law.predict(x, coefs), dtype=float)
    if bad := np.flatnonzero(~np.isfinite(exact)).tolist():
        values = ", ".join(f"{c} = {x[c][bad[0]]:.4g}" for c in law.inputs)
        raise RunsError(f"law {law.name!r} has no finite value at row {bad[0]} of the design ({values}).")

    generator = np.random.default_rng(rng)
    if tail_df is None:
        own = generator.standard_normal(n)
    else:
        own = generator.standard_t(tail_df, n) / np.sqrt(tail_df / (tail_df - 2))
    error = scale * own
    for column, spread in (shared or {}).items():
        if not (np.isfinite(spread) and spread >= 0):
            raise RunsError(f"shared[{column!r}] is a standard deviation: zero or above, not {spread}.")
        members = pd.factorize(table[column], use_na_sentinel=False)[0]
        error = error + spread * generator.standard_normal(members.max(initial=-1) + 1)[members]

    table[law.target] = exact * np.exp(error)
    if "run" not in table:
        table.insert(0, "run", [f"sim-{i:0{len(str(max(n - 1, 0)))}d}" for i in range(n)])
    table.attrs["simulated"] = {
        "law": law.name,
        "theta": dict(zip(law.coef_names, coefs.tolist(), strict=True)),
        "noise": scale.tolist() if np.ndim(noise) else float(scale[0]) if n else 0.0,
        "tail_df": tail_df,
        "shared": {str(k): float(v) for k, v in (shared or {}).items()},
    }
    return table


def _coefficients(fitted_or_law: Any, law: Law, theta: Array | Mapping[str, float] | None) -> Array:
    """(P,) coefficients, from the mapping, the array or the fit."""
    if theta is None:
        if isinstance(fitted_or_law, Law):
            raise LawError(f"law {law.name!r} alone has no coefficients: give theta=({', '.join(law.coef_names)}).")
        # a bootstrap has one row per resample; the fit that was resampled is the law that made the runs
        of = getattr(fitted_or_law, "of", None)
        theta = (fitted_or_law if of is None else of).theta
    if isinstance(theta, Mapping):
        if set(theta) != set(law.coef_names):
            raise LawError(f"theta names {', '.join(theta)}, but {law.name!r} has {', '.join(law.coef_names)}.")
        theta = np.array([theta[c] for c in law.coef_names])
    coefs = np.asarray(theta, dtype=float)
    if coefs.shape != (len(law.coefs),):
        raise LawError(
            f"simulating {law.name!r} takes one set of {len(law.coefs)} coefficients, not an array of shape {coefs.shape}; "
            "take one group or resample of a batch first."
        )
    if not np.isfinite(coefs).all():
        raise LawError(f"simulating {law.name!r} takes finite coefficients, not {coefs}: did the fit succeed?")
    return coefs


def _positive(name: str, values: Sequence[float]) -> Array:
    out = np.atleast_1d(np.asarray(values, dtype=float))
    if not (np.isfinite(out) & (out > 0)).all():
        raise RunsError(f"{name} must be positive and finite, not {values}.")
    return out
