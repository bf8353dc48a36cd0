"""The power laws of Kaplan et al.: one per scale, size and data together, size and steps; the critical batch size.

N and C count no embeddings. Each joint fit has constants of its own: they do not mix with those of the single laws.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack
from scaling.laws.stable import log_add

SOURCE = "Kaplan et al. 2020, arXiv:2001.08361"
_DOMAIN = "dense transformer language models without a floor in sight; N and C without embeddings"


def _joint(x: Inputs, theta: Array) -> Array:
    N_c, D_c, alpha_N, alpha_D = split(theta)
    size = alpha_N / alpha_D * (np.log(N_c) - np.log(x["n_params"]))
    data = np.log(D_c) - np.log(x["n_tokens"])
    return np.exp(alpha_D * log_add(size, data))


def _joint_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    N_c, D_c, alpha_N, alpha_D = split(theta)
    log_size = np.log(N_c) - np.log(x["n_params"])
    size = alpha_N / alpha_D * log_size
    data = np.log(D_c) - np.log(x["n_tokens"])
    total = np.logaddexp(size, data)
    share_n, share_d = np.exp(size - total), np.exp(data - total)
    loss = np.exp(alpha_D * total)
    return loss, stack(
        loss * share_n * alpha_N / N_c,
        loss * share_d * alpha_D / D_c,
        loss * share_n * log_size,
        loss * (total - share_n * size),
    )


KAPLAN = Law(
    name="kaplan",
    title="Kaplan et al., size and data",
    equation="L(N, D) = ((N_c/N)^(alpha_N/alpha_D) + D_c/D)^alpha_D",
    latex=r"L(N, D) = \left[\left(\frac{N_c}{N}\right)^{\alpha_N/\alpha_D} + \frac{D_c}{D}\right]^{\alpha_D}",
    inputs=("n_params", "n_tokens"),
    coefs=(
        Coef("N_c", "scale of model size [parameters]", starts=(1e8, 1e18)),
        Coef("D_c", "scale of data [tokens]", starts=(1e8, 1e18)),
        Coef("alpha_N", "model-size exponent", starts=(0.03, 0.6)),
        Coef("alpha_D", "data exponent", starts=(0.03, 0.6)),
    ),
    formula=_joint,
    jacobian=_joint_jacobian,
    domain=f"{_DOMAIN}; D is unique data under early stopping, so C = 6 N D does not apply",
    source=f"{SOURCE}, eq. 1.5",
)


def _single(x: Inputs, theta: Array, column: str) -> Array:
    scale, alpha = split(theta)
    return np.exp(alpha * (np.log(scale) - np.log(x[column])))


def _single_jacobian(x: Inputs, theta: Array, column: str) -> tuple[Array, Array]:
    scale, alpha = split(theta)
    log_ratio = np.log(scale) - np.log(x[column])
    loss = np.exp(alpha * log_ratio)
    return loss, stack(loss * alpha / scale, loss * log_ratio)


def _one_scale(suffix: str, column: str, letter: str, what: str, unit: str, equation: str, domain: str) -> Law:
    subscript = letter[0]
    return Law(
        name=f"kaplan_{suffix}",
        title=f"Kaplan et al., {what}",
        equation=f"L({letter}) = ({subscript}_c/{letter})^alpha_{subscript}",
        latex=rf"L = \left(\frac{{{subscript}_c}}{{{subscript}}}\right)^{{\alpha_{subscript}}}",
        inputs=(column,),
        coefs=(
            Coef(f"{subscript}_c", f"{what} at which the loss would be 1 [{unit}]", starts=(1e6, 1e20) if suffix != "c" else (1e18, 1e34)),
            Coef(f"alpha_{subscript}", f"exponent of {what}", starts=(0.02, 0.6)),
        ),
        formula=partial(_single, column=column),
        jacobian=partial(_single_jacobian, column=column),
        domain=f"{_DOMAIN}; {domain}",
        source=f"{SOURCE}, {equation}",
    )  # fmt: skip


KAPLAN_N = _one_scale(
    "n", "n_params", "N", "model size", "parameters", "eq. 1.1", "trained to convergence on ample data"
)
KAPLAN_D = _one_scale("d", "n_tokens", "D", "data", "tokens", "eq. 1.2", "large models, stopped early, D unique tokens")
KAPLAN_C = _one_scale(
    "c", "flops", "C", "compute", "FLOPs", "eq. 1.3", "best run of each budget; C at a batch far below critical (see min_flops)"
)  # fmt: skip


def _steps(x: Inputs, theta: Array) -> Array:
    N_c, S_c, alpha_N, alpha_S = split(theta)
    return np.exp(alpha_N * (np.log(N_c) - np.log(x["n_params"]))) + np.exp(alpha_S * (np.log(S_c) - np.log(x["step"])))


def _steps_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    N_c, S_c, alpha_N, alpha_S = split(theta)
    log_n, log_s = np.log(N_c) - np.log(x["n_params"]), np.log(S_c) - np.log(x["step"])
    size, steps = np.exp(alpha_N * log_n), np.exp(alpha_S * log_s)
    return size + steps, stack(size * alpha_N / N_c, steps * alpha_S / S_c, size * log_n, steps * log_s)


KAPLAN_STEPS = Law(
    name="kaplan_steps",
    title="Kaplan et al., size and steps",
    equation="L(N, S) = (N_c/N)^alpha_N + (S_c/S)^alpha_S",
    latex=r"L(N, S_{\min}) = \left(\frac{N_c}{N}\right)^{\alpha_N} + \left(\frac{S_c}{S_{\min}}\right)^{\alpha_S}",
    inputs=("n_params", "step"),
    coefs=(
        Coef("N_c", "scale of model size [parameters]", starts=(1e8, 1e18)),
        Coef("S_c", "scale of steps [steps]", starts=(1e1, 1e7)),
        Coef("alpha_N", "model-size exponent", starts=(0.03, 0.6)),
        Coef("alpha_S", "step exponent", starts=(0.1, 1.5)),
    ),
    formula=_steps,
    jacobian=_steps_jacobian,
    derived={
        # along the compute-efficient frontier at the critical batch with alpha_B = 0.21, eq. B.9
        "alpha_C": lambda theta: 1 / (1 / theta[..., 3] + 1 / 0.21 + 1 / theta[..., 2]),
    },
    domain=f"{_DOMAIN}; after warm-up, ample data, S at a batch far above critical (see min_steps)",
    source=f"{SOURCE}, eq. 1.6",
)


def _critical_batch(x: Inputs, theta: Array) -> Array:
    B_star, alpha_B = split(theta)
    return B_star * np.exp(-np.log(x["loss"]) / alpha_B)


def _critical_batch_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    B_star, alpha_B = split(theta)
    log_loss = np.log(x["loss"])
    power = np.exp(-log_loss / alpha_B)
    return B_star * power, stack(power, B_star * power * log_loss / alpha_B**2)


KAPLAN_CRITICAL_BATCH = Law(
    name="kaplan_critical_batch",
    title="Kaplan et al., critical batch size",
    equation="B_crit(L) = B_star / L^(1/alpha_B)",
    latex=r"B_{\rm crit}(L) = \frac{B_*}{L^{1/\alpha_B}}",
    inputs=("loss",),
    target="batch_tokens",
    coefs=(
        Coef("B_star", "critical batch at a loss of 1 nat [tokens]", starts=(1e5, 1e11)),
        Coef("alpha_B", "inverse exponent of the loss", starts=(0.05, 1.0)),
    ),
    linear=("B_star",),
    formula=_critical_batch,
    jacobian=_critical_batch_jacobian,
    domain="Adam, language models; depends on size only through the loss",
    source=f"{SOURCE}, eq. 1.4",
)


def critical_batch(loss: Array, B_star: float = 2.1e8, alpha_B: float = 0.21) -> Array:
    """Tokens per batch at which steps and examples cost equally, at a loss [nats/token]. Kaplan et al. eq. 1.4, App. A."""
    return KAPLAN_CRITICAL_BATCH.predict({"loss": np.asarray(loss, dtype=float)}, np.array([B_star, alpha_B]))


def min_steps(step: Array, batch_tokens: Array, loss: Array) -> Array:
    """Steps that a very large batch would have needed for the same loss: S / (1 + B_crit/B). Kaplan et al. eq. 5.4."""
    return np.asarray(step) / (1 + critical_batch(loss) / np.asarray(batch_tokens))


def min_flops(flops: Array, batch_tokens: Array, loss: Array) -> Array:
    """Compute that a very small batch would have needed for the same loss: C / (1 + B/B_crit). Kaplan et al. eq. 5.5."""
    return np.asarray(flops) / (1 + np.asarray(batch_tokens) / critical_batch(loss))


KAPLAN_LAWS = (KAPLAN, KAPLAN_N, KAPLAN_D, KAPLAN_C, KAPLAN_STEPS, KAPLAN_CRITICAL_BATCH)
