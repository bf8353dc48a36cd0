"""How the estimate would scatter: sandwich covariance in working coordinates.

HC3 (residuals inflated by their leverage) holds at the sizes of real ladders; HC0 is too narrow there. The curvature of
a Huber loss whose bend is far inside the noise is a density at zero, so it is estimated with a kernel rather than by
counting the few residuals inside the bend.
"""

from __future__ import annotations

import numpy as np

from scaling.fitting.objective import Objective, robust_scale
from scaling.fitting.problem import Problem
from scaling.fitting.scale import Coordinates
from scaling.fitting.solver import _second_order, evaluate
from scaling.laws.law import Array


def sandwich(
    coordinates: Coordinates, objective: Objective, problem: Problem, u: Array, delta: Array, at_bound: Array
) -> tuple[Array, Array]:
    """HC3 covariance (B, p, p) of u (B, p), and the condition number (B,) of the weighted, column-scaled derivative.

    Coordinates at a bound get zero rows: their uncertainty is one-sided and not a variance.
    """
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
    inflated = weights * psi / np.maximum(1.0 - leverage, 1e-3)  # a count of 2 is two equal runs, drawn together
    meat = np.matmul(scaled_jac * inflated[:, None] ** 2, scaled_jac.swapaxes(1, 2))
    bread = _inverse(hessian * scale + held)
    covariance = np.matmul(np.matmul(bread, meat), bread.swapaxes(1, 2)) * scale
    covariance = 0.5 * (covariance + covariance.swapaxes(1, 2))
    # an ill-conditioned optimum can round to a negative variance: nothing is known about that coefficient then
    lost = np.diagonal(covariance, axis1=1, axis2=2) < 0
    return np.where(lost[:, :, None] | lost[:, None, :], np.nan, covariance), condition


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
