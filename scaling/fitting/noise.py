"""How noisy each run is: one robust scale, and a trend of the scale with compute where the runs ask for one.

Small runs are often noisier than large ones. Weighting each run by its own noise is what makes the robust fit tighter
than least squares; a trend that is not there costs a little, so it is shrunk towards none by how little the runs show
of it (positive-part James-Stein), without a threshold at which a fit would jump.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scaling.fitting.objective import robust_scale
from scaling.laws.law import Array

SD_OF_LOG_ABS_NORMAL = 1.1107  # standard deviation of ln |z|, z standard normal: pi / sqrt(8)
MOST_SPREAD = np.log(30.0)  # no run is taken to be more than this much noisier than the middle one


def log_compute(x: Mapping[str, Array], like: Array) -> Array:
    """ln of compute, up to a constant, for runs of any law: N x D, flops, or the only positive input."""
    if "n_params" in x and "n_tokens" in x:
        return np.log(x["n_params"]) + np.log(x["n_tokens"])
    for name in ("flops", "n_tokens", "n_params", *x):
        if name in x and (np.asarray(x[name]) > 0).all():
            return np.log(x[name])
    return np.zeros_like(like)


def noise_model(residuals: Array, weights: Array, covariate: Array, n_free: int) -> tuple[Array, Array, Array]:
    """Scale and relative spread of the noise, per row.

    residuals, weights (B, n); covariate (n,) or (B, n), such as ln compute. Returns sigma (B,), the standard deviation
    at the middle run with degrees of freedom taken off; spread (B, n), each run's noise relative to it; slope (B,) of
    ln noise per unit of the covariate, shrunk by 1 - 1 / t^2 and 0 where |t| < 1.
    """
    counts = (weights > 0).astype(float)
    n = counts.sum(-1)
    covariate = np.broadcast_to(covariate, residuals.shape)
    centre = (counts * covariate).sum(-1) / n
    t = (covariate - centre[:, None]) * counts
    sigma = robust_scale(residuals, counts)
    # ln |r| has long lower tails: bounded from below by a twentieth of the scale
    size = np.log(np.maximum(np.abs(residuals), 0.05 * sigma[:, None]))
    size = np.minimum(size, np.log(4 * sigma)[:, None])  # and outliers do not make a trend
    mean = (counts * size).sum(-1) / n
    squares = (t**2).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (t * (size - mean[:, None])).sum(-1) / squares
        error = 0.85 * SD_OF_LOG_ABS_NORMAL / np.sqrt(squares)  # the bounds above take 15 % off the scatter
        kept = np.maximum(1 - (error / slope) ** 2, 0.0)
    slope = np.where((squares > 0) & (slope != 0), kept * slope / 0.8, 0.0)  # they take 20 % off the slope
    spread = np.exp(np.clip(slope[:, None] * t, -MOST_SPREAD, MOST_SPREAD))
    sigma = robust_scale(residuals / spread, counts) * np.sqrt(n / np.maximum(n - n_free, 1.0))
    return sigma, np.where(counts > 0, spread, 1.0), slope
