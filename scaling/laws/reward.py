"""Reward over-optimisation: the true reward rises, then falls, as a policy moves away from where it started."""

from __future__ import annotations

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack

SOURCE = "Gao et al. 2022, arXiv:2210.10760"
_ALPHA = Coef("alpha", "gain per unit of distance at the start [target unit]", starts=(0.1, 10.0), lower=-np.inf)
_BETA = Coef("beta", "how the gain is lost with distance [target unit]", starts=(0.01, 3.0), lower=-np.inf)


def _best_of_n(x: Inputs, theta: Array) -> Array:
    alpha, beta = split(theta)
    d = x["sqrt_kl"]
    return d * (alpha - beta * d)


def _best_of_n_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    value = _best_of_n(x, theta)
    d = np.broadcast_to(x["sqrt_kl"], value.shape)
    return value, stack(d, -(d**2))


REWARD_BEST_OF_N = Law(
    name="reward_best_of_n",
    title="Gao et al., reward over-optimisation by best-of-n",
    equation="R(d) = d (alpha - beta d), d = sqrt(KL)",
    latex=r"R(d) = d\,(\alpha - \beta d),\quad d = \sqrt{D_{\rm KL}}",
    inputs=("sqrt_kl",),
    target="reward",
    coefs=(_ALPHA, _BETA),
    linear=("alpha", "beta"),
    formula=_best_of_n,
    jacobian=_best_of_n_jacobian,
    derived={
        "peak_distance": lambda theta: theta[..., 0] / (2 * theta[..., 1]),
        "peak_reward": lambda theta: theta[..., 0] ** 2 / (4 * theta[..., 1]),
    },
    domain="reward by the true (gold) model less that of the starting policy, KL in nats to that policy",
    source=f"{SOURCE}, eq. 1",
)


def _rl(x: Inputs, theta: Array) -> Array:
    alpha, beta = split(theta)
    d = x["sqrt_kl"]
    return d * (alpha - beta * np.log(d))


def _rl_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    value = _rl(x, theta)
    d = np.broadcast_to(x["sqrt_kl"], value.shape)
    return value, stack(d, -d * np.log(d))


REWARD_RL = Law(
    name="reward_rl",
    title="Gao et al., reward over-optimisation by reinforcement learning",
    equation="R(d) = d (alpha - beta ln d), d = sqrt(KL)",
    latex=r"R(d) = d\,(\alpha - \beta \ln d),\quad d = \sqrt{D_{\rm KL}}",
    inputs=("sqrt_kl",),
    target="reward",
    coefs=(_ALPHA, _BETA),
    linear=("alpha", "beta"),
    formula=_rl,
    jacobian=_rl_jacobian,
    derived={
        "peak_distance": lambda theta: np.exp(theta[..., 0] / theta[..., 1] - 1),
        "peak_reward": lambda theta: theta[..., 1] * np.exp(theta[..., 0] / theta[..., 1] - 1),
    },
    domain="reward by the true (gold) model less that of the starting policy, KL in nats to that policy, d above 0",
    source=f"{SOURCE}, eq. 2",
)


def best_of_n_distance(n: Array) -> Array:
    """sqrt(KL) in nats of the best of n samples to a single one: KL = ln n - (n-1)/n. Gao et al. sec. 2."""
    n = np.asarray(n, dtype=float)
    return np.sqrt(np.log(n) - (n - 1) / n)


REWARD_LAWS = (REWARD_BEST_OF_N, REWARD_RL)
