"""What a fit minimises: a loss on residuals, summed over the runs with their weights.

Residuals are prediction minus observation, of the target itself (`of="raw"`) or of its logarithm (`of="log"`).
An objective is a Huber loss with its bend at `delta` (infinite for least squares), tilted where asked, or a bisquare that
vanishes beyond it. The loss is summed, never averaged: averaging moves a 1e-3 Huber below the tolerance
of common optimisers and they stop where they started (Besiroglu et al. 2024, arXiv:2404.10102).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaling.errors import FitError

Array = np.ndarray
MAD_TO_SIGMA = 1.4826  # standard deviation of a Gaussian in units of its median absolute deviation


@dataclass(frozen=True)
class Objective:
    """A loss on residuals; build one with Squared, Huber, AbsoluteError or Asymmetric.

    delta : residual at which the loss turns from quadratic to linear; None if it is taken from the data.
    scales : delta as a multiple of the residuals' robust standard deviation (1.4826 MAD), when taken from the data.
    quantile : 0.5 is symmetric; q fits the q-quantile of the observations.
    redescends : Tukey's bisquare instead of Huber: runs beyond delta have no influence at all.
    """

    name: str
    of: str = "log"
    delta: float | None = np.inf
    scales: float = np.nan
    quantile: float = 0.5
    redescends: bool = False

    def __post_init__(self) -> None:
        if self.of not in RESIDUALS:
            raise FitError(f"objective of={self.of!r} is not one of {', '.join(sorted(RESIDUALS))}.")
        if self.delta is not None and not self.delta > 0:
            raise FitError(f"delta must be positive, not {self.delta}.")
        if not 0 < self.quantile < 1:
            raise FitError(f"quantile must lie between 0 and 1, not {self.quantile}.")

    def residuals(self, predicted: Array, observed: Array) -> tuple[Array, Array]:
        """Residuals and their derivative with respect to the prediction, both (..., n)."""
        return RESIDUALS[self.of](predicted, observed)

    def delta_for(self, residuals: Array, weights: Array) -> Array:
        """The bend (..., 1) for residuals (..., n) with weights (..., n)."""
        if self.delta is not None:
            return np.full((*residuals.shape[:-1], 1), self.delta)
        return self.scales * robust_scale(residuals, weights)[..., None]

    def loss(self, residuals: Array, delta: Array | float) -> Array:
        """The loss of each residual (..., n); delta broadcasts against it."""
        size = np.abs(residuals)
        with np.errstate(over="ignore", invalid="ignore"):  # not finite is an answer: the solver rejects such a step
            inside = np.minimum(size, delta)
            if self.redescends:
                third = np.square(delta) / 6
                return third - third * (1 - np.square(inside / delta)) ** 3
            return self._tilted(inside * (size - 0.5 * inside), residuals)

    def psi(self, residuals: Array, delta: Array | float) -> Array:
        """Derivative of the loss."""
        if self.redescends:
            return residuals * self.majoriser(residuals, delta)
        return self._tilted(np.clip(residuals, -delta, delta), residuals)

    def majoriser(self, residuals: Array, delta: Array | float) -> Array:
        """psi over residual: the weight with which least squares stands in for the loss. Never negative."""
        if self.redescends:
            return np.square(np.maximum(1 - np.square(residuals / delta), 0.0))
        return self._tilted(np.minimum(1.0, delta / np.maximum(np.abs(residuals), 1e-300)), residuals)

    def curvature(self, residuals: Array, delta: Array | float) -> Array:
        """Second derivative of the loss."""
        if self.redescends:
            u2 = np.square(residuals / delta)
            return np.where(u2 < 1, (1 - u2) * (1 - 5 * u2), 0.0)
        return self._tilted((np.abs(residuals) < delta).astype(float), residuals)

    def tilt(self, residuals: Array) -> Array | float:
        """Weight of over-prediction (positive residuals) against under-prediction."""
        if self.quantile == 0.5:
            return 1.0
        return np.where(residuals > 0, 2 * (1 - self.quantile), 2 * self.quantile)

    def _tilted(self, values: Array, residuals: Array) -> Array:
        return values if self.quantile == 0.5 else values * self.tilt(residuals)

    def value(self, residuals: Array, weights: Array, delta: Array) -> Array:
        """The objective (...): sum over the last axis of weight times loss."""
        with np.errstate(over="ignore", invalid="ignore"):
            return (weights * self.loss(residuals, delta)).sum(-1)

    def to_dict(self, delta: float) -> dict[str, object]:
        """Name, kind of residuals and the bend of a fit, as its JSON has them."""
        out: dict[str, object] = {"name": self.name, "of": self.of}
        if np.isfinite(delta):
            out["delta"] = float(delta)
        if self.quantile != 0.5:
            out["quantile"] = self.quantile
        return out


def robust_scale(residuals: Array, weights: Array) -> Array:
    """1.4826 times the weighted median absolute residual, shape (...). Tiny but positive for exact fits."""
    size = np.abs(residuals)
    order = np.argsort(size, axis=-1)
    cumulative = np.cumsum(np.take_along_axis(np.broadcast_to(weights, size.shape), order, -1), -1)
    middle = (cumulative >= 0.5 * cumulative[..., -1:]).argmax(-1)
    median = np.take_along_axis(np.take_along_axis(size, order, -1), middle[..., None], -1)[..., 0]
    return np.maximum(MAD_TO_SIGMA * median, 1e-12)


def _raw(predicted: Array, observed: Array) -> tuple[Array, Array]:
    return predicted - observed, np.ones_like(predicted)


def _log(predicted: Array, observed: Array) -> tuple[Array, Array]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(predicted / observed), 1.0 / predicted


RESIDUALS = {"raw": _raw, "log": _log}


def Squared(of: str = "raw") -> Objective:
    """Least squares of the residuals (half the sum of squares)."""
    return Objective("squared" if of == "raw" else f"squared-{of}", of)


def Huber(delta: float | None = None, of: str = "log") -> Objective:
    """Huber's loss. Without delta the bend is 1.345 robust standard deviations of the residuals (95 % efficient)."""
    return Objective("huber", of, delta, scales=1.345)


def AbsoluteError(of: str = "log") -> Objective:
    """Least absolute deviations, rounded within a thousandth of the residuals' scale so that Newton steps exist."""
    return Objective("absolute", of, None, scales=1e-3)


def Asymmetric(quantile: float = 0.1, of: str = "log") -> Objective:
    """Frontier fits: the q-quantile of the loss. Badly tuned runs are only ever worse, so q < 0.5 leans on the best."""
    return Objective("asymmetric", of, None, scales=0.1, quantile=quantile)


def Robust(of: str = "log") -> Objective:
    """Tukey's bisquare of residuals in units of each run's own noise (95 % efficient): runs far out have no influence.

    The noise is a robust scale, with a trend in compute where the runs show one; the search starts from a Huber fit.
    """
    return Objective("robust", of, None, scales=4.685, redescends=True)


#: the names the command line takes, the default first; 'hoffmann' is Huber with delta 1e-3 on log loss, summed (Hoffmann et al. 2022)
OBJECTIVES = {
    "robust": Robust(),
    "hoffmann": Objective("hoffmann", "log", 1e-3),
    "huber": Huber(),
    "squared": Squared("raw"),
    "squared-log": Squared("log"),
    "absolute": AbsoluteError(),
    "asymmetric": Asymmetric(),
}


def get_objective(name: str | Objective) -> Objective:
    """An objective by name; an Objective passes through."""
    if isinstance(name, Objective):
        return name
    if name not in OBJECTIVES:
        raise FitError(f"unknown objective {name!r}; choose one of {', '.join(OBJECTIVES)}.")
    return OBJECTIVES[name]
