"""Low precision: training in few bits costs parameters; quantising after training costs more the longer it trained."""

from __future__ import annotations

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack

SOURCE = "Kumar et al. 2024, arXiv:2411.04330"
_BITS = ("bits_weights", "bits_activations", "bits_kv_cache")
_CHINCHILLA = (
    Coef("A", "model-size term at N = 1 [target unit]", starts=(1e1, 1e5)),
    Coef("alpha", "model-size exponent", starts=(0.1, 0.9)),
    Coef("B", "data term at D = 1 [target unit]", starts=(1e1, 1e6)),
    Coef("beta", "data exponent", starts=(0.1, 0.9)),
    Coef("E", "irreducible loss [target unit]", starts=(0.5, 4.0)),
)
_GAMMAS = tuple(
    Coef(f"gamma_{short}", f"bits of the {what} that keep 63 % of the parameters [bits]", starts=(0.3, 6.0))
    for short, what in (("w", "weights"), ("a", "activations"), ("kv", "key-value cache"))
)


def _log_kept(x: Inputs, gammas: list[Array]) -> Array:
    """ln of the share of parameters that low precision leaves."""
    return sum(np.log(-np.expm1(-x[column] / gamma)) for column, gamma in zip(_BITS, gammas, strict=True))


def _training(x: Inputs, theta: Array) -> Array:
    A, alpha, B, beta, E, *gammas = split(theta)
    log_n = np.log(x["n_params"]) + _log_kept(x, gammas)
    return A * np.exp(-alpha * log_n) + B * np.exp(-beta * np.log(x["n_tokens"])) + E


def _training_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    A, alpha, B, beta, E, *gammas = split(theta)
    log_n, log_d = np.log(x["n_params"]) + _log_kept(x, gammas), np.log(x["n_tokens"])
    power_n, power_d = np.exp(-alpha * log_n), np.exp(-beta * log_d)
    size, data = A * power_n, B * power_d
    # d ln(1 - e^(-P/g)) / dg = -(P/g^2) / (e^(P/g) - 1)
    kept = [-x[c] / g**2 / np.expm1(x[c] / g) for c, g in zip(_BITS, gammas, strict=True)]
    return size + data + E, stack(
        power_n, -size * log_n, power_d, -data * log_d, np.ones_like(size + data), *(-alpha * size * k for k in kept)
    )  # fmt: skip


PRECISION_TRAINING = Law(
    name="precision_training",
    title="Kumar et al., training in low precision",
    equation="L = A / N_eff^alpha + B / D^beta + E, "
    "N_eff = N (1 - exp(-P_w/gamma_w)) (1 - exp(-P_a/gamma_a)) (1 - exp(-P_kv/gamma_kv))",
    latex=r"L = A\,N_{\rm eff}^{-\alpha} + B\,D^{-\beta} + E,\quad "
    r"N_{\rm eff} = N \prod_{x \in \{w, a, kv\}} \left(1 - e^{-P_x/\gamma_x}\right)",
    inputs=("n_params", "n_tokens", *_BITS),
    coefs=(*_CHINCHILLA, *_GAMMAS),
    linear=("A", "B", "E"),
    formula=_training,
    jacobian=_training_jacobian,
    domain="integer types of 3 to 16 bits, non-embedding N; constants do not transfer between recipes",
    source=f"{SOURCE}, eqs. 3 and 4",
)


def _penalty(x: Inputs, gamma_D: Array, gamma_N: Array, gamma_post: Array) -> Array:
    """The penalty of quantising in units of C_T."""
    scale = gamma_D * np.log(x["n_tokens"]) - gamma_N * np.log(x["n_params"])
    return np.exp(scale - x["bits_post"] / gamma_post)


def _post(x: Inputs, theta: Array) -> Array:
    A, alpha, B, beta, E, C_T, *gammas = split(theta)
    base = A * np.exp(-alpha * np.log(x["n_params"])) + B * np.exp(-beta * np.log(x["n_tokens"])) + E
    return base + C_T * _penalty(x, *gammas)


def _post_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    A, alpha, B, beta, E, C_T, *gammas = split(theta)
    log_n, log_d = np.log(x["n_params"]), np.log(x["n_tokens"])
    power_n, power_d = np.exp(-alpha * log_n), np.exp(-beta * log_d)
    size, data, unit = A * power_n, B * power_d, _penalty(x, *gammas)
    penalty = C_T * unit
    loss = size + data + E + penalty
    return loss, stack(
        power_n, -size * log_n, power_d, -data * log_d, np.ones_like(loss),
        unit, penalty * log_d, -penalty * log_n, penalty * x["bits_post"] / gammas[-1] ** 2,
    )  # fmt: skip


PRECISION_POST = Law(
    name="precision_post",
    title="Kumar et al., quantised after training",
    equation="L = A / N^alpha + B / D^beta + E + C_T D^gamma_D / N^gamma_N exp(-P_post/gamma_post)",
    latex=r"L = A\,N^{-\alpha} + B\,D^{-\beta} + E + C_T \frac{D^{\gamma_D}}{N^{\gamma_N}}\, e^{-P_{\rm post}/\gamma_{\rm post}}",
    inputs=("n_params", "n_tokens", "bits_post"),
    coefs=(
        *_CHINCHILLA,
        Coef("C_T", "penalty of quantising to no bits at N = D = 1 [target unit]", starts=(1e-3, 1e1)),
        Coef("gamma_D", "how training longer raises the penalty", starts=(0.1, 1.0)),
        Coef("gamma_N", "how size lowers the penalty", starts=(0.1, 1.0)),
        Coef("gamma_post", "bits per factor e of penalty [bits]", starts=(0.2, 2.0)),
    ),
    linear=("A", "B", "E", "C_T"),
    formula=_post,
    jacobian=_post_jacobian,
    domain="trained in 16 bits, weights rounded to P_post bits afterwards; rises with D past a critical number of tokens",
    source=f"{SOURCE}, eqs. 2 and 9",
)


def effective_params(
    n_params: Array,
    bits_weights: Array | float = np.inf,
    bits_activations: Array | float = np.inf,
    bits_kv_cache: Array | float = np.inf,
    gammas: tuple[float, float, float] = (2.6745, 2.2102, 0.9578),
) -> Array:
    """Full-precision parameters worth as much as n_params trained in so many bits. Kumar et al. eq. 3.

    The default gammas are those printed for integer types; the authors expect them not to transfer.
    """
    bits = (bits_weights, bits_activations, bits_kv_cache)
    return np.asarray(n_params) * np.prod(
        np.broadcast_arrays(*(-np.expm1(-np.asarray(b, dtype=float) / g) for b, g in zip(bits, gammas, strict=True))),
        axis=0,
    )


def quantisation_penalty(n_params: Array, n_tokens: Array, bits_post: Array, theta: Array) -> Array:
    """What rounding to bits_post adds to the loss [target unit]; theta (..., 9) of PRECISION_POST."""
    x = {"n_params": np.asarray(n_params), "n_tokens": np.asarray(n_tokens), "bits_post": np.asarray(bits_post)}
    C_T, *gammas = split(theta)[5:]
    return C_T * _penalty(x, *gammas)


def critical_tokens(n_params: Array, bits_post: Array, theta: Array) -> Array:
    """Training tokens past which more of them raise the quantised loss; theta (..., 9) of PRECISION_POST."""
    _, _, B, beta, _, C_T, gamma_D, gamma_N, gamma_post = split(theta)
    log_ratio = np.log(beta * B / (gamma_D * C_T)) + gamma_N * np.log(n_params) + np.asarray(bits_post) / gamma_post
    return np.exp(log_ratio / (gamma_D + beta))


def optimal_bits(gamma: Array) -> Array:
    """Bits of least loss per compute when weights, activations and cache share them and cost is linear in bits.

    gamma : the common gamma [bits]. P = x gamma with e^x = 1 + 3 x, whatever the budget.
    """
    x = 2.0
    for _ in range(50):  # Newton; e^x - 1 - 3x is convex and the start lies right of its positive root
        x -= (np.exp(x) - 1 - 3 * x) / (np.exp(x) - 3)
    return x * np.asarray(gamma)


PRECISION_LAWS = (PRECISION_TRAINING, PRECISION_POST)
