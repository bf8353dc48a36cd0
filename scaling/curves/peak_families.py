"""Curve families with and without a peak fitted to one sweep, and how tall and wide the fitted peak is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scaling.curves.band import Band
from scaling.curves.peak_evidence import NOISE_FLOOR
from scaling.errors import FitError
from scaling.fitting import Squared, fit
from scaling.fitting.problem import Problem
from scaling.fitting.scale import Coordinates
from scaling.fitting.solver import solve
from scaling.laws.broken_power_law import broken_power_law
from scaling.laws.double_descent import double_descent_law, ridge_variance, u_shaped_law
from scaling.laws.law import Array, Law
from scaling.progress import Bar


@dataclass(frozen=True)
class Families:
    """Fits to one sweep: {family: law}, {family: coefficients} of those that fit, and the table that ranks them."""

    axis: str
    laws: dict[str, Law]
    theta: dict[str, Array]
    models: pd.DataFrame

    @property
    def peaked(self) -> Array | None:
        """Coefficients (7,) of the curve with a peak; None where the points are too few for it."""
        return self.theta.get("double_descent")

    def expected(self, x: Array) -> Array:
        """Values (m,) of the curve with a peak at axis values x (m,); nan where it was not fitted."""
        if self.peaked is None:
            return np.full(len(x), np.nan)
        with np.errstate(over="ignore"):  # far from a steep peak its slopes are 0 / inf
            return self.laws["double_descent"].predict({self.axis: x}, self.peaked)


def compare_families(x: Array, y: Array, counts: Array, axis: str, value: str, bar: Bar) -> Families:
    """Each family fitted to the centres y (n,) in log value, weighted by the repeats counts (n,), ranked by AICc."""
    span = (float(x[0]), float(x[-1]))
    laws = {
        "power_law": broken_power_law(0, axis, value, span),
        "u_shaped": u_shaped_law(axis, value),
        "double_descent": double_descent_law(axis, value, span),
        "broken_power_law_2": broken_power_law(2, axis, value, span),
    }
    table = pd.DataFrame({axis: x, value: y})
    theta: dict[str, Array] = {}
    rows = []
    n = len(x)
    for (name, law), _ in zip(laws.items(), bar.each(len(laws)), strict=True):
        try:
            with np.errstate(all="ignore"):  # a coefficient that the sweep does not determine runs to its bound
                result = fit(law, table, Squared(of="log"), weights=counts / counts.mean())
        except FitError:  # too few points for this family
            continue
        if not np.isfinite(result.theta).all():
            continue
        with np.errstate(over="ignore"):  # far from a steep peak its slopes are 0 / inf
            predicted = law.predict({axis: x}, result.theta)
        if not (predicted > 0).all():
            continue
        theta[name] = result.theta
        mean_square = float(np.average((np.log(y) - np.log(predicted)) ** 2, weights=counts))
        k = len(law.coefs) + 1  # and the noise
        aicc = (
            n * np.log(max(mean_square, NOISE_FLOOR**2))
            + 2 * k
            + (2 * k * (k + 1) / (n - k - 1) if n > k + 1 else np.inf)
        )
        rows.append({"model": name, "n_coefs": k - 1, "rmse_log": np.sqrt(mean_square), "aicc": float(aicc)})
    models = pd.DataFrame(rows, columns=["model", "n_coefs", "rmse_log", "aicc"])
    models = models.sort_values("aicc", kind="stable", ignore_index=True)
    weight = np.exp(-0.5 * (models["aicc"] - models["aicc"].min()).to_numpy(float)) if len(models) else np.array([])
    models["weight"] = weight / weight.sum() if len(weight) and np.isfinite(weight).all() else np.nan
    return Families(axis, laws, theta, models)


def simulated_peaks(families: Families, x: Array, y: Array, spread: Array, n: int, rng: int) -> Array:
    """Coefficients (n, P) of the peaked curve refitted to curves drawn from it.

    The noise is that of the sweep, spread (n,), or the misfit of the curve where that is larger.
    """
    if families.peaked is None or n < 1:
        return np.empty((0, 7))
    law, at, expected = families.laws["double_descent"], families.peaked, families.expected(x)
    misfit = np.sqrt(np.mean(np.log(y / np.maximum(expected, 1e-300)) ** 2))
    scatter = np.maximum(spread, misfit)[None] * np.random.default_rng(rng).standard_normal((n, len(x)))
    drawn = expected * np.exp(scatter)
    coordinates = Coordinates(law, {})
    upper = np.array([c.upper for c in law.coefs])  # a coefficient at its bound has no working coordinate
    u = coordinates.to_working(np.clip(at, 1e-12, upper * (1 - 1e-6))[None])
    weights = np.broadcast_to((spread.mean() / spread) ** 2, (n, len(x))).copy()
    with np.errstate(all="ignore"):
        solution = solve(
            coordinates,
            Squared(of="log"),
            Problem({families.axis: x}, drawn, weights),
            np.repeat(u, n, 0),
            np.ones((n, 1)),
            60,
        )
        draws = coordinates.to_theta(solution.u)[0]
    return draws[np.isfinite(draws).all(-1)]


def peak_bands(best: Array | None, draws: Array, x: Array, level: float) -> tuple[Band, Band]:
    """Height and width of the fitted peak, with the spread of the curves drawn from it."""
    if best is None:
        nothing = Band(np.nan, np.nan, np.nan, level)
        return nothing, nothing
    estimates = _describe(best[None], x)
    spread = _describe(draws, x) if len(draws) else tuple(np.full(1, np.nan) for _ in estimates)
    bands = []
    for one, many in zip(estimates, spread, strict=True):
        low, high = np.quantile(many, [0.5 - level / 2, 0.5 + level / 2])
        bands.append(Band(float(one[0]), float(low), float(high), level))
    return bands[0], bands[1]


def _describe(theta: Array, x: Array) -> tuple[Array, Array]:
    """Height over the trend (a ratio) and full width at half excess [decades] of peaks, theta (R, 7).

    Height is the largest over the observed axis values x (n,): between two of them a curve may rise without bound.
    """
    e, a, alpha, tau, place, nu, ridge = np.moveaxis(theta, -1, 0)[..., None]
    with np.errstate(all="ignore"):
        v = ridge_variance((x / place) ** nu, ridge)
        height = np.nanmax(1 + tau * v / (e + a * x**-alpha), axis=-1)
        top = np.nanmax(v, axis=-1)
        nu, ridge = nu[:, 0], ridge[:, 0]
        # V(g) = h  <=>  (1 + g + ridge)^2 (1 - 1 / (2h + 1)^2) = 4 g, a quadratic whose two roots are the flanks
        share = 1 - 1 / (top + 1) ** 2
        b = 2 * (1 + ridge) - 4 / share
        root = np.sqrt(np.maximum(b**2 - 4 * (1 + ridge) ** 2, 0))
        width = np.log10((-b + root) / np.maximum(-b - root, 1e-300)) / nu
    return height, width
