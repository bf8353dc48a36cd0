"""Bands of a fit's predictions: of the law at each place, at all places at once, and of one new run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from scaling.laws.law import Array

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fitting.result import FitResult

SUP_DRAWS = 10_000  # of a simultaneous band: its width is known to half a percent


def bands(result: FitResult, inputs: Mapping[str, Array], level: float, kind: str) -> pd.DataFrame:
    """Table predicted, low, high of a single fit at inputs (n,), from its resamples or from its covariance.

    kind : "confidence", "simultaneous" or "prediction", as FitResult.predict has them.
    """
    import pandas as pd
    from scipy.special import stdtrit

    point = result.point
    estimate = result.law.predict(inputs, point.theta)
    log = result.objective.of == "log"
    noise = point.noise if kind == "prediction" else 0.0
    if result.of is not None:
        draws = result.law.predict(inputs, result.theta[result.converged])
        if kind == "simultaneous":
            moved = np.log(draws / estimate) if log else draws - estimate
            return _band(estimate, _sup_width(moved, np.sqrt(np.square(moved).mean(0)), level), log)
        if noise:
            rng = np.random.default_rng(0)
            scatter = noise * rng.choice(point.standardised_residuals, size=draws.shape)
            draws = draws * np.exp(scatter) if log else draws + scatter
        low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    else:
        coordinates = result.coordinates
        u = coordinates.to_working(result.theta)
        theta, slope = coordinates.to_theta(u[None])
        value, jacobian = result.law.value_and_jacobian(inputs, theta)
        gradient = jacobian[0][:, coordinates.free] * slope[0]
        if log:
            gradient = gradient / value[0][:, None]
        error = np.sqrt(np.einsum("np,pq,nq->n", gradient, result.covariance, gradient) + noise**2)
        dof = max(int(result.n_runs) - u.shape[-1], 1)
        if kind == "simultaneous":
            rng = np.random.default_rng(0)
            heavy = np.sqrt(dof / rng.chisquare(dof, SUP_DRAWS))
            values, vectors = np.linalg.eigh(np.nan_to_num(result.covariance))
            normal = rng.standard_normal((SUP_DRAWS, len(values))) * np.sqrt(np.maximum(values, 0.0))
            half = _sup_width(heavy[:, None] * normal @ (gradient @ vectors).T, error, level)
        else:
            half = stdtrit(dof, 0.5 + level / 2) * error
        return _band(estimate, half, log)
    return pd.DataFrame({"predicted": estimate, "low": low, "high": high})


def _sup_width(moved: Array, error: Array, level: float) -> Array:
    """Half widths (n,) in proportion to error (n,) that enclose a share `level` of the curves moved (R, n) everywhere (sup-t)."""
    furthest = np.max(np.abs(moved) / np.maximum(error, 1e-300), axis=-1)
    return error * float(np.quantile(furthest, level))


def _band(estimate: Array, half: Array, log: bool) -> pd.DataFrame:
    import pandas as pd

    low, high = (estimate * np.exp(-half), estimate * np.exp(half)) if log else (estimate - half, estimate + half)
    return pd.DataFrame({"predicted": estimate, "low": low, "high": high})
