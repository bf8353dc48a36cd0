"""Vocabulary size: its parameters scale on their own, and a larger one makes fewer tokens of the same text.

The loss is normalised by the unigram distribution, so that vocabularies can be compared; it is negative.
"""

from __future__ import annotations

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack

SOURCE = "Tao et al. 2024, arXiv:2407.13623"
_E = Coef("E", "how far below the unigram loss training can go [target unit]", starts=(3.0, 8.0))
_A1 = Coef("A1", "term of a million non-vocabulary parameters [target unit]", starts=(0.1, 20.0))
_A2 = Coef("A2", "term of a million vocabulary parameters [target unit]", starts=(0.01, 5.0))
_B = Coef("B", "data term of a billion tokens [target unit]", starts=(0.1, 20.0))
_ALPHA2 = Coef("alpha2", "vocabulary exponent", starts=(0.1, 1.5))
_DOMAIN = (
    "unigram-normalised loss; N_nv = parameters outside the vocabulary, N_v = vocabulary size times width, "
    "vocabularies of 4 thousand to 96 thousand"
)


def _logs(x: Inputs) -> tuple[Array, Array, Array]:
    return np.log(x["n_params_non_vocab"] / 1e6), np.log(x["n_params_vocab"] / 1e6), np.log(x["n_tokens"] / 1e9)


def _free(x: Inputs, theta: Array) -> Array:
    E, A1, A2, B, alpha1, alpha2, beta = split(theta)
    log_n, log_v, log_d = _logs(x)
    return -E + A1 * np.exp(-alpha1 * log_n) + A2 * np.exp(-alpha2 * log_v) + B * np.exp(-beta * log_d)


def _free_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    E, A1, A2, B, alpha1, alpha2, beta = split(theta)
    log_n, log_v, log_d = _logs(x)
    size, words, data = np.exp(-alpha1 * log_n), np.exp(-alpha2 * log_v), np.exp(-beta * log_d)
    loss = -E + A1 * size + A2 * words + B * data
    return loss, stack(
        -np.ones_like(loss), size, words, data, -A1 * size * log_n, -A2 * words * log_v, -B * data * log_d
    )


def _widen(theta: Array) -> Array:
    """Coefficients of the tied law (..., 6) as those of the free one (..., 7)."""
    theta = np.asarray(theta)
    return theta[..., [0, 1, 2, 3, 4, 5, 4]]


def _tied(x: Inputs, theta: Array) -> Array:
    return _free(x, _widen(theta))


def _tied_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    loss, jac = _free_jacobian(x, _widen(theta))
    return loss, np.concatenate((jac[..., :4], jac[..., 4:5] + jac[..., 6:7], jac[..., 5:6]), axis=-1)


VOCABULARY = Law(
    name="vocabulary",
    title="Tao et al., vocabulary size, model and data sharing an exponent",
    equation="L_u = -E + A1 / (N_nv/1e6)^alpha1 + A2 / (N_v/1e6)^alpha2 + B / (D/1e9)^alpha1",
    latex=r"L_u = -E + \frac{A_1}{(N_{nv}/10^6)^{\alpha_1}} + \frac{A_2}{(N_v/10^6)^{\alpha_2}} + \frac{B}{(D/10^9)^{\alpha_1}}",
    inputs=("n_params_non_vocab", "n_params_vocab", "n_tokens"),
    coefs=(_E, _A1, _A2, _B, Coef("alpha1", "exponent of model size and data", starts=(0.1, 1.0)), _ALPHA2),
    linear=("E", "A1", "A2", "B"),
    formula=_tied,
    jacobian=_tied_jacobian,
    domain=_DOMAIN,
    source=f"{SOURCE}, eq. 8",
)
VOCABULARY_FREE = Law(
    name="vocabulary_free",
    title="Tao et al., vocabulary size, exponents free",
    equation="L_u = -E + A1 / (N_nv/1e6)^alpha1 + A2 / (N_v/1e6)^alpha2 + B / (D/1e9)^beta",
    latex=r"L_u = -E + \frac{A_1}{(N_{nv}/10^6)^{\alpha_1}} + \frac{A_2}{(N_v/10^6)^{\alpha_2}} + \frac{B}{(D/10^9)^{\beta}}",
    inputs=("n_params_non_vocab", "n_params_vocab", "n_tokens"),
    coefs=(
        _E, _A1, _A2, _B, Coef("alpha1", "model-size exponent", starts=(0.1, 1.0)), _ALPHA2,
        Coef("beta", "data exponent", starts=(0.1, 1.0)),
    ),
    linear=("E", "A1", "A2", "B"),
    formula=_free,
    jacobian=_free_jacobian,
    domain=_DOMAIN,
    source=f"{SOURCE}, eq. 8",
)  # fmt: skip


def tokens_per_character(vocab_size: Array) -> Array:
    """Tokens that a character of English web text makes under a vocabulary of this size. Tao et al., App. on f(V)."""
    log_v = np.log(np.minimum(np.asarray(vocab_size, dtype=float), 2e5))
    return 0.00639222 * log_v**2 - 0.15811069 * log_v + 1.20470122


def optimal_vocabulary(n_params_non_vocab: float, flops: float, width: float, theta: Array) -> float:
    """Vocabulary size of least loss at a budget: the tokens of C = 6 (N_nv + V d) D shrink as V grows.

    flops : training FLOPs. width : embedding dimension d. theta : (6,) of VOCABULARY or (7,) of VOCABULARY_FREE.
    Raises nothing: returns the end of the searched range, 256 to 4 million, where the optimum lies outside it.
    """
    _, _, A2, B, _, alpha2, beta = np.asarray(theta) if np.size(theta) == 7 else _widen(np.asarray(theta))

    def slope(log_v: float) -> float:
        """d L_u / d ln V at fixed compute, up to a positive factor."""
        vocab = np.exp(log_v) * width
        share = vocab / (n_params_non_vocab + vocab)
        tokens = flops / (6 * (n_params_non_vocab + vocab))
        return beta * B * (tokens / 1e9) ** -beta * share - alpha2 * A2 * (vocab / 1e6) ** -alpha2

    low, high = np.log(256.0), np.log(4e6)
    for _ in range(100):  # one root: the first term rises in V and the second falls
        middle = 0.5 * (low + high)
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(np.exp(0.5 * (low + high)))


VOCABULARY_LAWS = (VOCABULARY, VOCABULARY_FREE)
