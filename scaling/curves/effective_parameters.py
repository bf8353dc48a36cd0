"""Effective parameters of a linear smoother, and the smoothers of least squares and nearest neighbours."""

from __future__ import annotations

import numpy as np

from scaling.errors import RunsError
from scaling.laws.law import Array


def effective_parameters(smoother: Array) -> float:
    """Generalised effective parameters of a linear smoother on a set of points.

    smoother : (m, n), rows are the weights of the n training targets in the prediction at each of m points: n times the
    mean squared length of a row. On the training points of least squares it is the number of features up to n; on new points
    it grows without bound at the threshold and falls beyond it: replotted against it, double descent folds back.
    Raises RunsError unless the matrix is 2-dimensional and finite. Source: Curth et al. 2023, arXiv:2310.18988, eq. 5.
    """
    s = np.asarray(smoother, float)
    if s.ndim != 2 or 0 in s.shape or not np.isfinite(s).all():
        raise RunsError(f"a smoother is a finite matrix (points, training points), not an array of shape {s.shape}.")
    return float(s.shape[1] * np.mean((s**2).sum(axis=1)))


def least_squares_smoother(features: Array, at: Array, ridge: float = 0.0) -> Array:
    """Weights (m, n) of least squares: features (n, p) of the training points, `at` (m, p) of the points predicted.

    ridge = 0 is the minimum-norm solution X0 X^+; otherwise X0 (X'X + n ridge I)^-1 X'.
    """
    x, x0 = np.asarray(features, float), np.asarray(at, float)
    if x.ndim != 2 or x0.ndim != 2 or x.shape[1] != x0.shape[1]:
        raise RunsError(f"features are (n, p) and (m, p); got {x.shape} and {x0.shape}.")
    if ridge < 0:
        raise RunsError(f"a ridge penalty is at least 0, not {ridge}.")
    if ridge == 0:
        return x0 @ np.linalg.pinv(x)
    n, p = x.shape
    if p <= n:
        return x0 @ np.linalg.solve(x.T @ x + n * ridge * np.eye(p), x.T)
    return x0 @ x.T @ np.linalg.inv(x @ x.T + n * ridge * np.eye(n))


def neighbours_smoother(points: Array, at: Array, k: int) -> Array:
    """Weights (m, n) of the mean of the k nearest training points: points (n, d), at (m, d)."""
    x, x0 = np.asarray(points, float), np.asarray(at, float)
    if not 1 <= k <= len(x):
        raise RunsError(f"k neighbours lie between 1 and the {len(x)} training points, not {k}.")
    distance = ((x0[:, None] - x) ** 2).sum(-1)
    out = np.zeros(distance.shape)
    np.put_along_axis(out, np.argsort(distance, axis=1, kind="stable")[:, :k], 1 / k, axis=1)
    return out
