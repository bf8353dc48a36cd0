"""Logs of sums that neither overflow nor lose digits, for real coefficients and for the complex step alike."""

from __future__ import annotations

import numpy as np

from scaling.laws.law import Array


def log_add(a: Array, b: Array) -> Array:
    """ln(e^a + e^b), elementwise; a and b may be complex (np.logaddexp is for real numbers only)."""
    upper = np.maximum(np.real(a), np.real(b))  # a real constant: it cancels, so it has no part in the derivative
    return upper + np.log(np.exp(a - upper) + np.exp(b - upper))


def softplus(z: Array) -> Array:
    """ln(1 + e^z)."""
    positive = np.real(z) > 0
    return np.where(positive, z, 0.0) + np.log1p(np.exp(np.where(positive, -z, z)))


def sigmoid(z: Array) -> Array:
    """1 / (1 + e^-z), the derivative of softplus."""
    positive = np.real(z) > 0
    small = np.exp(np.where(positive, -z, z))
    return np.where(positive, 1.0, small) / (1 + small)
