"""Loss of over-trained models: parallel lines in log reducible loss against log compute, one for each D/N."""

from __future__ import annotations

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack


def _logs(x: Inputs) -> tuple[Array, Array]:
    log_n, log_d = np.log(x["n_params"]), np.log(x["n_tokens"])
    return np.log(6.0) + log_n + log_d, log_d - log_n  # ln C, ln M


def _loss(x: Inputs, theta: Array) -> Array:
    E, a, b, eta = split(theta)
    log_c, log_m = _logs(x)
    return E + a * np.exp(eta * (log_m - log_c)) + b * np.exp(-eta * (log_m + log_c))


def _jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    E, a, b, eta = split(theta)
    log_c, log_m = _logs(x)
    rise, fall = np.exp(eta * (log_m - log_c)), np.exp(-eta * (log_m + log_c))
    return E + a * rise + b * fall, stack(
        np.ones_like(rise), rise, fall, a * rise * (log_m - log_c) - b * fall * (log_m + log_c)
    )


OVERTRAINING = Law(
    name="overtraining",
    title="Gadre et al., over-training",
    equation="L(C, M) = E + (a M^eta + b M^-eta) C^-eta, M = D/N, C = 6 N D",
    latex=r"L(C, M) = E + \left(a M^{\eta} + b M^{-\eta}\right) C^{-\eta},\quad M = D/N,\ C = 6ND",
    inputs=("n_params", "n_tokens"),
    coefs=(
        Coef("E", "irreducible loss [target unit]", starts=(0.1, 5.0)),
        Coef("a", "cost of training long: model-size term times 6^eta [target unit]", starts=(1e0, 1e5)),
        Coef("b", "cost of training short: data term times 6^eta [target unit]", starts=(1e0, 1e5)),
        Coef("eta", "half the exponent that N and D share", starts=(0.02, 0.6)),
    ),
    linear=("E", "a", "b"),
    formula=_loss,
    jacobian=_jacobian,
    derived={
        "tokens_per_param": lambda theta: (theta[..., 2] / theta[..., 1]) ** (0.5 / theta[..., 3]),  # of least loss
    },
    domain="D/N from 5 to 640, one data set; Chinchilla's law with alpha = beta",
    source="Gadre et al. 2024, arXiv:2403.08540, eq. 4",
)
