"""Sparse models: the share of inactive experts (Abnar et al.) and of zero weights (Frantar et al.)."""

from __future__ import annotations

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack


def _moe(x: Inputs, theta: Array) -> Array:
    a, alpha, b, beta, c, lam, d, delta, gamma, e = split(theta)
    log_n, log_d, log_active = np.log(x["n_params"]), np.log(x["n_tokens"]), np.log1p(-x["sparsity"])
    return (
        a * np.exp(-alpha * log_n)
        + b * np.exp(-beta * log_d)
        + c * np.exp(-lam * log_active)
        + d * np.exp(-delta * log_active - gamma * log_n)
        + e
    )


def _moe_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    a, alpha, b, beta, c, lam, d, delta, gamma, e = split(theta)
    log_n, log_d, log_active = np.log(x["n_params"]), np.log(x["n_tokens"]), np.log1p(-x["sparsity"])
    p_n, p_d, p_s = np.exp(-alpha * log_n), np.exp(-beta * log_d), np.exp(-lam * log_active)
    p_sn = np.exp(-delta * log_active - gamma * log_n)
    loss = a * p_n + b * p_d + c * p_s + d * p_sn + e
    return loss, stack(
        p_n, -a * p_n * log_n, p_d, -b * p_d * log_d, p_s, -c * p_s * log_active,
        p_sn, -d * p_sn * log_active, -d * p_sn * log_n, np.ones_like(loss),
    )  # fmt: skip


SPARSE_MOE = Law(
    name="sparse_moe",
    title="Abnar et al., sparsity of mixtures of experts",
    equation="L = a / N^alpha + b / D^beta + c / (1-S)^lam + d / ((1-S)^delta N^gamma) + e",
    latex=r"L = \frac{a}{N^{\alpha}} + \frac{b}{D^{\beta}} + \frac{c}{(1-S)^{\lambda}} + \frac{d}{(1-S)^{\delta} N^{\gamma}} + e",
    inputs=("n_params", "n_tokens", "sparsity"),
    coefs=(
        Coef("a", "model-size term at N = 1 [target unit]", starts=(1e1, 1e6)),
        Coef("alpha", "model-size exponent", starts=(0.1, 1.0)),
        Coef("b", "data term at D = 1 [target unit]", starts=(1e1, 1e6)),
        Coef("beta", "data exponent", starts=(0.1, 1.0)),
        Coef("c", "sparsity term of a dense model [target unit]", starts=(0.01, 3.0)),
        Coef(
            "lam",
            "sparsity exponent; negative as printed: sparser is better at equal N",
            starts=(-0.6, 0.3),
            lower=-np.inf,
        ),
        Coef("d", "interaction of sparsity and size [target unit]", starts=(0.1, 1e3)),
        Coef("delta", "sparsity exponent of the interaction", starts=(0.02, 0.8)),
        Coef("gamma", "model-size exponent of the interaction", starts=(0.02, 0.6)),
        Coef("e", "irreducible loss [target unit]", starts=(0.1, 3.0)),
    ),
    linear=("a", "b", "c", "d", "e"),
    formula=_moe,
    jacobian=_moe_jacobian,
    domain="N = total parameters, S = inactive share of the experts; weak beyond the fitted sparsity",
    source="Abnar et al. 2025, arXiv:2501.12370, eq. 6",
)


def _weights(x: Inputs, theta: Array) -> Array:
    a_S, b_S, c_S, b_N, a_D, b_D, c = split(theta)
    size = a_S * np.exp(b_S * np.log1p(-x["sparsity"])) + c_S
    return size * np.exp(-b_N * np.log(x["n_params"])) + np.exp(b_D * (np.log(a_D) - np.log(x["n_tokens"]))) + c


def _weights_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    a_S, b_S, c_S, b_N, a_D, b_D, c = split(theta)
    log_active, log_n = np.log1p(-x["sparsity"]), np.log(x["n_params"])
    log_d = np.log(a_D) - np.log(x["n_tokens"])
    active, power_n = np.exp(b_S * log_active), np.exp(-b_N * log_n)
    size, data = (a_S * active + c_S) * power_n, np.exp(b_D * log_d)
    return size + data + c, stack(
        active * power_n, a_S * active * log_active * power_n, power_n, -size * log_n,
        data * b_D / a_D, data * log_d, np.ones_like(size + data),
    )  # fmt: skip


WEIGHT_SPARSITY = Law(
    name="weight_sparsity",
    title="Frantar et al., weight sparsity",
    equation="L = (a_S (1-S)^b_S + c_S) / N^b_N + (a_D/D)^b_D + c",
    latex=r"L = \left(a_S (1-S)^{b_S} + c_S\right) N^{-b_N} + \left(\frac{a_D}{D}\right)^{b_D} + c",
    inputs=("n_params", "n_tokens", "sparsity"),
    coefs=(
        Coef("a_S", "what density costs at equal non-zero parameters [target unit]", starts=(1e-1, 1e4)),
        Coef("b_S", "density exponent", starts=(0.1, 2.0)),
        Coef("c_S", "model-size term at full sparsity [target unit]", starts=(1e-1, 1e4)),
        Coef("b_N", "model-size exponent", starts=(0.05, 0.8)),
        Coef("a_D", "scale of data [tokens]", starts=(1e5, 1e12)),
        Coef("b_D", "data exponent", starts=(0.05, 1.2)),
        Coef("c", "irreducible loss [target unit]", starts=(0.1, 6.0)),
    ),
    linear=("a_S", "c_S", "c"),
    formula=_weights,
    jacobian=_weights_jacobian,
    domain="N = non-zero parameters, S = share of zero weights, gradual magnitude pruning",
    source="Frantar et al. 2023, arXiv:2309.08520, eq. 1",
)


def dense_size_multiplier(sparsity: Array, theta: Array) -> Array:
    """How many times its non-zero parameters a dense model of equal loss has; theta (..., 7) of WEIGHT_SPARSITY."""
    a_S, b_S, c_S, b_N, *_ = split(theta)
    size = a_S * (1 - np.asarray(sparsity, dtype=float)) ** b_S + c_S
    return ((a_S + c_S) / size) ** (1 / b_N)


SPARSITY_LAWS = (SPARSE_MOE, WEIGHT_SPARSITY)
