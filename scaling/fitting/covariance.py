"""How the estimate would scatter: sandwich covariance in working coordinates.

HC3 (residuals inflated by their leverage) holds at the sizes of real ladders; HC0 is too narrow there. The curvature of
a Huber loss whose bend is far inside the noise is a density at zero, so it is estimated with a kernel rather than by
counting the few residuals inside the bend.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaling.fitting.objective import Objective, robust_scale
from scaling.fitting.problem import Problem
from scaling.fitting.scale import Coordinates
from scaling.fitting.solver import _second_order, evaluate
from scaling.laws.law import Array

MOST_SHRUNK = 2.0  # variances of the log of a sandwich that its excess over the pooled one must pass to count at all


@dataclass(frozen=True)
class _Parts:
    """What sandwich estimates are made of, in coordinates scaled to an information of one: B fits, p coordinates, n runs."""

    jac: Array  # (B, p, n) of the residuals
    score: Array  # (B, n) weight times psi
    room: Array  # (B, n) one minus the leverage
    bread: Array  # (B, p, p) inverse Hessian
    scale: Array  # (B, p, p) from scaled coordinates back
    condition: Array  # (B,) number of the weighted derivative


def sandwich(
    coordinates: Coordinates, objective: Objective, problem: Problem, u: Array, delta: Array, at_bound: Array
) -> tuple[Array, Array]:
    """HC3 covariance (B, p, p) of u (B, p), and the condition number (B,) of the weighted, column-scaled derivative.

    Coordinates at a bound get zero rows: their uncertainty is one-sided and not a variance.
    """
    parts = _parts(coordinates, objective, problem, u, delta, at_bound)
    inflated = parts.score / parts.room  # a count of 2 is two equal runs, drawn together
    meat = np.matmul(parts.jac * inflated[:, None] ** 2, parts.jac.swapaxes(1, 2))
    covariance = np.matmul(np.matmul(parts.bread, meat), parts.bread.swapaxes(1, 2)) * parts.scale
    covariance = 0.5 * (covariance + covariance.swapaxes(1, 2))
    # an ill-conditioned optimum can round to a negative variance: nothing is known about that coefficient then
    lost = np.diagonal(covariance, axis1=1, axis2=2) < 0
    return np.where(lost[:, :, None] | lost[:, None, :], np.nan, covariance), parts.condition


def pooled(
    coordinates: Coordinates, objective: Objective, problem: Problem, u: Array, delta: Array, at_bound: Array
) -> Array | None:
    """Sandwich covariance (p, p) of one robust fit, u (1, p), with one error variance for all runs in units of their noise.

    HC3 lets every run's own squared error stand for its variance: right whatever the noise, and as uncertain as squares of
    single errors are. A robust fit carries each run's noise in its weights, so that their mean may stand for all. Where HC3 is
    larger along some direction by more than chance, the excess is added back, shrunk by how little the runs show of it
    (positive-part James-Stein on its log, as for the trend of the noise). None where a coefficient is not determined.
    """
    parts = _parts(coordinates, objective, problem, u, delta, at_bound)
    free, weights = ~at_bound[0], problem.weights[0]
    used = weights > 0
    jac, room, score = parts.jac[0][free][:, used], parts.room[0][used], parts.score[0][used]
    root_weight = np.sqrt(weights[used])
    square = np.square(score / root_weight)  # of psi in units of each run's noise
    mean = square.mean()
    if not free.any() or not mean > 0:
        return None
    own = (jac * np.square(score / room)) @ jac.T
    common = (jac * (mean * weights[used] / room)) @ jac.T
    try:
        root = np.linalg.cholesky(common)
        excess, axes = np.linalg.eigh(np.linalg.solve(root, np.linalg.solve(root, own).T))
    except np.linalg.LinAlgError:
        return None
    part = np.square((axes.T @ np.linalg.solve(root, jac)) * root_weight / room)  # what each run adds along each axis
    kurtosis = np.square(square).mean() / mean**2
    log = np.log(np.maximum(excess, 1e-300))
    chance = (kurtosis - 1) * np.square(part).sum(-1) / np.square(part.sum(-1))  # variance of log
    kept = np.where(log > 0, np.maximum(1 - MOST_SHRUNK * chance / np.maximum(log, 1e-12) ** 2, 0.0), 0.0)
    half = root @ (axes * np.exp(0.5 * kept * log))
    side = parts.bread[0][np.ix_(free, free)] @ half
    out = np.zeros_like(parts.bread[0])
    out[np.ix_(free, free)] = side @ side.T
    out *= parts.scale[0]
    return out if np.isfinite(out).all() else None


def _parts(
    coordinates: Coordinates, objective: Objective, problem: Problem, u: Array, delta: Array, at_bound: Array
) -> _Parts:
    residual, jac = evaluate(coordinates, objective, problem, u)
    weights = problem.weights
    size = np.abs(residual)
    psi = objective.psi(residual, delta)
    gradient = np.matmul(jac, (weights * psi)[..., None])[..., 0]
    second = _second_order(coordinates, objective, problem, u, weights * psi, gradient)
    n_used = problem.n_used[:, None]
    bandwidth = np.maximum(0.9 * robust_scale(residual, weights)[:, None] * np.maximum(n_used, 1) ** -0.2, 1e-300)
    kernel = 2 * delta * np.exp(-0.5 * np.minimum(size / bandwidth, 40.0) ** 2) / (bandwidth * np.sqrt(2 * np.pi))
    with np.errstate(invalid="ignore"):
        smoothed = np.minimum(kernel, 1.0) * objective.tilt(residual)
        curvature = weights * np.where(delta < bandwidth, smoothed, objective.curvature(residual, delta))
    hold = at_bound
    jac = np.where(hold[:, :, None], 0.0, jac)
    eye = np.eye(u.shape[-1])

    hessian = np.matmul(jac * curvature[:, None], jac.swapaxes(1, 2)) + np.where(
        hold[:, :, None] | hold[:, None, :], 0.0, second
    )
    gauss = np.matmul(jac * weights[:, None], jac.swapaxes(1, 2))
    root = 1.0 / np.sqrt(np.maximum(np.diagonal(gauss, axis1=1, axis2=2), 1e-300))
    root = np.where(hold, 1.0, root)
    scale = root[:, :, None] * root[:, None, :]
    held = hold[:, :, None] & (eye > 0)
    scaled_gauss = gauss * scale + held
    condition = np.sqrt(np.linalg.cond(np.nan_to_num(scaled_gauss)))
    scaled_jac = jac * root[:, :, None]
    leverage = weights * np.einsum("bpn,bpn->bn", scaled_jac, np.matmul(_inverse(scaled_gauss), scaled_jac))
    room = np.maximum(1.0 - leverage, 1e-3)
    return _Parts(scaled_jac, weights * psi, room, _inverse(hessian * scale + held), scale, condition)


def classical(coordinates: Coordinates, objective: Objective, problem: Problem, u: Array) -> Array:
    """Least squares' textbook covariance, residual variance times inverse Gauss-Newton curvature, (B, p, p)."""
    residual, jac = evaluate(coordinates, objective, problem, u)
    weights = problem.weights
    root_weights = np.sqrt(weights)[:, None]
    _, triangle = np.linalg.qr((jac * root_weights).swapaxes(1, 2))  # twice the digits of the normal equations
    inverse = _inverse(triangle)
    dof = problem.n_used - u.shape[-1]
    variance = (weights * residual**2).sum(-1) / np.maximum(dof, 1)
    return variance[:, None, None] * np.matmul(inverse, inverse.swapaxes(1, 2))


def _inverse(matrices: Array) -> Array:
    """Inverses (B, p, p); the pseudo-inverse where a matrix is singular or not finite."""
    clean = np.nan_to_num(matrices, nan=0.0, posinf=0.0, neginf=0.0)
    try:
        return np.linalg.inv(clean)
    except np.linalg.LinAlgError:
        return np.linalg.pinv(clean, rcond=1e-14)
