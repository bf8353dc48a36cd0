"""Fine-grained mixtures of experts: smaller experts, more of them used."""

from __future__ import annotations

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack


def _loss(x: Inputs, theta: Array) -> Array:
    c, g, gamma, a, alpha, b, beta = split(theta)
    size = g * np.exp(-gamma * np.log(x["granularity"])) + a
    return c + size * np.exp(-alpha * np.log(x["n_params"])) + b * np.exp(-beta * np.log(x["n_tokens"]))


def _jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    c, g, gamma, a, alpha, b, beta = split(theta)
    log_g, log_n, log_d = np.log(x["granularity"]), np.log(x["n_params"]), np.log(x["n_tokens"])
    fine, power_n, power_d = np.exp(-gamma * log_g), np.exp(-alpha * log_n), np.exp(-beta * log_d)
    size, data = (g * fine + a) * power_n, b * power_d
    return c + size + data, stack(
        np.ones_like(size + data), fine * power_n, -g * fine * log_g * power_n, power_n, -size * log_n, power_d, -data * log_d
    )  # fmt: skip


FINE_GRAINED_MOE = Law(
    name="fine_grained_moe",
    title="Krajewski et al., fine-grained mixture of experts",
    equation="L = c + (g / G^gamma + a) / N^alpha + b / D^beta",
    latex=r"L(N, D, G) = c + \left(\frac{g}{G^{\gamma}} + a\right)\frac1{N^{\alpha}} + \frac{b}{D^{\beta}}",
    inputs=("n_params", "n_tokens", "granularity"),
    coefs=(
        Coef("c", "irreducible loss [target unit]", starts=(0.1, 3.0)),
        Coef("g", "what coarse experts cost, at N = 1 [target unit]", starts=(0.1, 1e2)),
        Coef("gamma", "granularity exponent", starts=(0.1, 1.5)),
        Coef("a", "model-size term at N = 1 and unlimited granularity [target unit]", starts=(1e0, 1e4)),
        Coef("alpha", "model-size exponent", starts=(0.05, 0.6)),
        Coef("b", "data term at D = 1 [target unit]", starts=(1e0, 1e4)),
        Coef("beta", "data exponent", starts=(0.05, 0.6)),
    ),
    linear=("c", "g", "a", "b"),
    formula=_loss,
    jacobian=_jacobian,
    domain="N = total non-embedding parameters at expansion rate 64; G = d_ff / d_expert from 1 to 16",
    source="Krajewski et al. 2024, arXiv:2402.07871, eq. 9",
)
