"""A law whose data exponent and amplitude depend on model size, so that size and data do not separate."""

from __future__ import annotations

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack


def _stretched(log_n: Array, a: Array, power: Array, b: Array) -> Array:
    """a N^power + b, the exponent of each of the law's three parts."""
    return a * np.exp(power * log_n) + b


def _loss(x: Inputs, theta: Array) -> Array:
    a1, alpha, b1, a2, beta, b2, a3, gamma, b3 = split(theta)
    log_n = np.log(x["n_params"])
    exponent = np.exp(_stretched(log_n, a1, alpha, b1))
    return np.exp(_stretched(log_n, a3, gamma, b3)) + np.exp(
        _stretched(log_n, a2, beta, b2) - exponent * np.log(x["n_tokens"])
    )


def _jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    a1, alpha, b1, a2, beta, b2, a3, gamma, b3 = split(theta)
    log_n, log_d = np.log(x["n_params"]), np.log(x["n_tokens"])
    p1, p2, p3 = np.exp(alpha * log_n), np.exp(beta * log_n), np.exp(gamma * log_n)
    exponent = np.exp(a1 * p1 + b1)
    size = np.exp(a3 * p3 + b3)
    data = np.exp(a2 * p2 + b2 - exponent * log_d)
    slope = -data * log_d * exponent  # by ln of the exponent
    return size + data, stack(
        slope * p1, slope * a1 * p1 * log_n, slope,
        data * p2, data * a2 * p2 * log_n, data,
        size * p3, size * a3 * p3 * log_n, size,
    )  # fmt: skip


def _free(name: str, meaning: str, starts: tuple[float, float]) -> Coef:
    return Coef(name, meaning, starts=starts, lower=-np.inf)


FARSEER = Law(
    name="farseer",
    title="Farseer (Li et al.)",
    equation="L(N, D) = exp(a3 N^gamma + b3) + exp(a2 N^beta + b2) D^-exp(a1 N^alpha + b1)",
    latex=r"L(N, D) = e^{a_3 N^{\gamma} + b_3} + e^{a_2 N^{\beta} + b_2}\, D^{-\exp(a_1 N^{\alpha} + b_1)}",
    inputs=("n_params", "n_tokens"),
    coefs=(
        _free("a1", "how size lowers the data exponent", (-0.4, -0.05)),
        _free("alpha", "power of size in the data exponent", (0.05, 0.2)),
        _free("b1", "ln of the data exponent at size zero", (-0.5, 1.0)),
        _free("a2", "how size lowers the data amplitude", (10.0, 200.0)),
        _free("beta", "power of size in the data amplitude, negative", (-0.2, -0.05)),
        _free("b2", "ln of the data amplitude at unlimited size [of the target unit]", (-10.0, 2.0)),
        _free("a3", "how size lowers the loss that data cannot", (-0.1, -0.005)),
        _free("gamma", "power of size in that loss", (0.08, 0.25)),
        _free("b3", "ln of that loss at size zero [of the target unit]", (-1.0, 1.5)),
    ),
    formula=_loss,
    jacobian=_jacobian,
    domain="N without embeddings, D/N of 1 or more, inside the sizes of the fit: it has no floor, and at fixed compute "
    "a second, spurious minimum at D far below N",
    source="Li et al. 2025, arXiv:2506.10972, eq. 15",
)
