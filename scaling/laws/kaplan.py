"""Kaplan et al. 2020: loss from model size and unique data under early stopping, as one joint power law."""

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack


def _terms(x: Inputs, theta: Array) -> tuple[Array, ...]:
    N_c, D_c, alpha_N, alpha_D = split(theta)
    # logs first: N_c / N to the power alpha_N / alpha_D overflows early in a search
    log_size = alpha_N / alpha_D * (np.log(N_c) - np.log(x["n_params"]))
    log_data = np.log(D_c) - np.log(x["n_tokens"])
    return log_size, log_data, alpha_N, alpha_D


def _loss(x: Inputs, theta: Array) -> Array:
    log_size, log_data, _, alpha_D = _terms(x, theta)
    return np.exp(alpha_D * np.log(np.exp(log_size) + np.exp(log_data)))


def _jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    N_c, D_c, _, _ = split(theta)
    log_size, log_data, alpha_N, alpha_D = _terms(x, theta)
    log_sum = np.logaddexp(log_size, log_data)
    share = np.exp(log_size - log_sum)  # of the model-size term in the bracket
    loss = np.exp(alpha_D * log_sum)
    return loss, stack(
        loss * alpha_N * share / N_c,
        loss * alpha_D * (1 - share) / D_c,
        loss * alpha_D * share * log_size / alpha_N,
        loss * (log_sum - share * log_size),
    )


KAPLAN = Law(
    name="kaplan",
    title="Kaplan et al., joint law in N and D",
    equation="L(N, D) = ((N_c / N)^(alpha_N / alpha_D) + D_c / D)^alpha_D",
    latex=r"L(N, D) = \left[\left(\frac{N_c}{N}\right)^{\alpha_N/\alpha_D} + \frac{D_c}{D}\right]^{\alpha_D}",
    inputs=("n_params", "n_tokens"),
    coefs=(
        Coef("N_c", "scale of model size [parameters, non-embedding]", starts=(1e8, 1e18)),
        Coef("D_c", "scale of data [unique tokens]", starts=(1e8, 1e18)),
        Coef("alpha_N", "model-size exponent", starts=(0.03, 0.6)),
        Coef("alpha_D", "data exponent", starts=(0.03, 0.6)),
    ),
    formula=_loss,
    jacobian=_jacobian,
    domain="non-embedding parameters, early-stopped training on D unique tokens; no floor, so not for the far end",
    source="Kaplan et al. 2020, arXiv:2001.08361, eq. 1.5",
)
