"""Sparse autoencoders: reconstruction loss against latents and active latents, and against compute."""

from __future__ import annotations

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack

SOURCE = "Gao et al. 2024, arXiv:2406.04093"


def _logs(x: Inputs) -> tuple[Array, Array]:
    return np.log(x["n_latents"]), np.log(x["n_active_latents"])


def _latents(x: Inputs, theta: Array) -> Array:
    alpha, beta_k, beta_n, gamma, zeta, eta = split(theta)
    log_n, log_k = _logs(x)
    return np.exp(alpha + beta_k * log_k + beta_n * log_n + gamma * log_k * log_n) + np.exp(zeta + eta * log_k)


def _latents_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    alpha, beta_k, beta_n, gamma, zeta, eta = split(theta)
    log_n, log_k = _logs(x)
    term = np.exp(alpha + beta_k * log_k + beta_n * log_n + gamma * log_k * log_n)
    floor = np.exp(zeta + eta * log_k)
    return term + floor, stack(term, term * log_k, term * log_n, term * log_k * log_n, floor, floor * log_k)


def _free(name: str, meaning: str, starts: tuple[float, float]) -> Coef:
    return Coef(name, meaning, starts=starts, lower=-np.inf)


SAE_LATENTS = Law(
    name="sae_latents",
    title="Gao et al., sparse autoencoders by latents and active latents",
    equation="L(n, k) = exp(alpha + beta_k ln k + beta_n ln n + gamma ln k ln n) + exp(zeta + eta ln k)",
    latex=r"L(n, k) = e^{\alpha + \beta_k \ln k + \beta_n \ln n + \gamma \ln k \ln n} + e^{\zeta + \eta \ln k}",
    inputs=("n_latents", "n_active_latents"),
    coefs=(
        _free("alpha", "ln of the reducible loss at n = k = 1 [of the target unit]", (-3.0, 3.0)),
        _free("beta_k", "exponent of active latents in the reducible loss", (-0.6, 0.6)),
        _free("beta_n", "exponent of latents", (-0.5, 0.1)),
        _free("gamma", "how active latents steepen the exponent of latents", (-0.1, 0.05)),
        _free("zeta", "ln of the floor at one active latent [of the target unit]", (-4.0, 1.0)),
        _free("eta", "exponent of active latents in the floor", (-0.6, 0.1)),
    ),
    formula=_latents,
    jacobian=_latents_jacobian,
    domain="normalised mean squared reconstruction error of one model's activations, k-sparse, trained to convergence",
    source=f"{SOURCE}, sec. 3.1.3",
)


def _compute(x: Inputs, theta: Array) -> Array:
    L0, C0, p = split(theta)
    return L0 + np.exp(p * (np.log(C0) - np.log(x["flops"])))


def _compute_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    L0, C0, p = split(theta)
    log_ratio = np.log(C0) - np.log(x["flops"])
    term = np.exp(p * log_ratio)
    return L0 + term, stack(np.ones_like(term), term * p / C0, term * log_ratio)


SAE_COMPUTE = Law(
    name="sae_compute",
    title="Gao et al., sparse autoencoders by compute",
    equation="L(C) = L0 + (C0/C)^p",
    latex=r"L(C) = L_0 + \left(\frac{C_0}{C}\right)^{p}",
    inputs=("flops",),
    coefs=(
        Coef("L0", "loss with unlimited compute at this k [target unit]", starts=(0.01, 0.6)),
        Coef("C0", "compute at which the reducible loss is 1 [FLOPs]", starts=(1e4, 1e20)),
        Coef("p", "exponent", starts=(0.03, 0.6)),
    ),
    linear=("L0",),
    formula=_compute,
    jacobian=_compute_jacobian,
    domain="fixed number of active latents, latents and steps chosen best for each budget",
    source=f"{SOURCE}, sec. 3.1.1",
)

SPARSE_AUTOENCODER_LAWS = (SAE_LATENTS, SAE_COMPUTE)
