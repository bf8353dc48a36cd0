"""Compute after pre-training: samples at test time, and reinforcement learning."""

from __future__ import annotations

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack
from scaling.laws.stable import sigmoid


def _coverage(x: Inputs, theta: Array) -> Array:
    a, b = split(theta)
    return np.exp(-a * np.exp(-b * np.log(x["n_attempts"])))


def _coverage_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    a, b = split(theta)
    log_k = np.log(x["n_attempts"])
    power = np.exp(-b * log_k)
    score = np.exp(-a * power)
    return score, stack(-score * power, score * a * power * log_k)


COVERAGE = Law(
    name="coverage",
    title="Brown et al., problems solved by any of k samples",
    equation="score(k) = exp(-a k^-b)",
    latex=r"\mathrm{pass@}k = e^{-a k^{-b}}",
    inputs=("n_attempts",),
    target="score",
    coefs=(
        Coef("a", "-ln of the share solved by one sample", starts=(0.05, 8.0)),
        Coef("b", "exponent of samples", starts=(0.05, 1.2)),
    ),
    formula=_coverage,
    jacobian=_coverage_jacobian,
    domain="checked answers, independent samples k of one model; unbiased pass@k over a fixed set of problems",
    source="Brown et al. 2024, arXiv:2407.21787, eq. 3 (with a and b positive)",
)


def pass_at_k(n_samples: Array, n_correct: Array, k: int) -> Array:
    """Unbiased share solved by any of k samples, from n_correct right ones of n_samples (k at most n_samples).

    1 - C(n - c, k) / C(n, k), as a product that does not overflow.
    """
    n, c = np.broadcast_arrays(np.asarray(n_samples, dtype=float), np.asarray(n_correct, dtype=float))
    missed = np.ones(n.shape)
    for i in range(k):
        missed = missed * np.maximum(n - c - i, 0.0) / (n - i)
    return 1 - missed


def _rl(x: Inputs, theta: Array) -> Array:
    R0, A, log_mid, B = split(theta)
    return R0 + (A - R0) * sigmoid(B * (np.log(x["flops"]) - log_mid))


def _rl_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    R0, A, log_mid, B = split(theta)
    ahead = np.log(x["flops"]) - log_mid
    share, rest = sigmoid(B * ahead), sigmoid(-B * ahead)
    slope = (A - R0) * share * rest
    return R0 + (A - R0) * share, stack(rest, share, -slope * B, slope * ahead)


RL_COMPUTE = Law(
    name="rl_compute",
    title="Khatri et al., reward of reinforcement learning by compute",
    equation="R(C) = R0 + (A - R0) / (1 + (exp(ln_C_mid) / C)^B)",
    latex=r"R(C) = R_0 + \frac{A - R_0}{1 + (C_{\rm mid}/C)^{B}}",
    inputs=("flops",),
    target="reward",
    coefs=(
        Coef("R0", "reward before training [target unit]", starts=(0.0, 0.6), lower=-np.inf),
        Coef("A", "ceiling [target unit]", starts=(0.3, 1.0)),
        Coef("ln_C_mid", "ln of the compute half-way [ln FLOPs]", starts=(39.0, 56.0), lower=-np.inf),
        Coef("B", "efficiency: steepness in ln C", starts=(0.2, 2.0)),
    ),
    linear=("R0", "A"),
    formula=_rl,
    jacobian=_rl_jacobian,
    derived={"C_mid": lambda theta: np.exp(theta[..., 2])},
    domain="pass rate on held-out problems of one recipe, past the first steps",
    source="Khatri et al. 2025, arXiv:2510.13786, eq. 1",
)

AFTER_TRAINING_LAWS = (COVERAGE, RL_COMPUTE)
