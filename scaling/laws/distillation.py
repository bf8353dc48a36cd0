"""Distillation: a supervised law, and the loss of a student, on which the teacher acts through its loss alone."""

from __future__ import annotations

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack
from scaling.laws.stable import sigmoid, softplus

SOURCE = "Busbridge et al. 2025, arXiv:2502.08606"
_SCALE = (
    Coef("A", "model-size term at N = 1", starts=(1e1, 1e5)),
    Coef("B", "data term at D = 1", starts=(1e1, 1e6)),
    Coef("alpha", "model-size exponent", starts=(0.1, 0.9)),
    Coef("beta", "data exponent", starts=(0.1, 0.9)),
    Coef("gamma", "power of the sum", starts=(0.2, 1.2)),
)


def _reducible(x: Inputs, A: Array, B: Array, alpha: Array, beta: Array, gamma: Array) -> Array:
    """(A / N^alpha + B / D^beta)^gamma."""
    total = A * np.exp(-alpha * np.log(x["n_params"])) + B * np.exp(-beta * np.log(x["n_tokens"]))
    return np.exp(gamma * np.log(total))


def _reducible_slopes(
    x: Inputs, A: Array, B: Array, alpha: Array, beta: Array, gamma: Array
) -> tuple[Array, list[Array]]:
    """The reducible loss and its derivatives by A, B, alpha, beta, gamma."""
    log_n, log_d = np.log(x["n_params"]), np.log(x["n_tokens"])
    power_n, power_d = np.exp(-alpha * log_n), np.exp(-beta * log_d)
    total = A * power_n + B * power_d
    loss = np.exp(gamma * np.log(total))
    slope = gamma * loss / total
    by_A, by_B = slope * power_n, slope * power_d
    return loss, [by_A, by_B, -by_A * A * log_n, -by_B * B * log_d, loss * np.log(total)]


def _supervised(x: Inputs, theta: Array) -> Array:
    E, *scale = split(theta)
    return E + _reducible(x, *scale)


def _supervised_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    E, *scale = split(theta)
    loss, slopes = _reducible_slopes(x, *scale)
    return E + loss, stack(np.ones_like(loss), *slopes)


SUPERVISED = Law(
    name="supervised",
    title="Busbridge et al., supervised training",
    equation="L(N, D) = E + (A / N^alpha + B / D^beta)^gamma",
    latex=r"L(N, D) = E + \left(\frac{A}{N^{\alpha}} + \frac{B}{D^{\beta}}\right)^{\gamma}",
    inputs=("n_params", "n_tokens"),
    coefs=(Coef("E", "irreducible loss [target unit]", starts=(0.1, 3.0)), *_SCALE),
    linear=("E",),
    formula=_supervised,
    jacobian=_supervised_jacobian,
    domain="dense language models, non-embedding N; Chinchilla's law at gamma = 1, with its optimum at any gamma",
    source=f"{SOURCE}, eq. 1",
)


def _student(x: Inputs, theta: Array) -> Array:
    A, B, alpha, beta, gamma, c0, c1, d1, f1 = split(theta)
    log_t = np.log(x["teacher_loss"])
    gap = (log_t - np.log(x["supervised_loss"]) - np.log(d1)) / f1
    help_ = np.exp(-c0 * log_t - c1 * f1 * softplus(gap))
    return x["teacher_loss"] + help_ * _reducible(x, A, B, alpha, beta, gamma)


def _student_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    A, B, alpha, beta, gamma, c0, c1, d1, f1 = split(theta)
    log_t = np.log(x["teacher_loss"])
    gap = (log_t - np.log(x["supervised_loss"]) - np.log(d1)) / f1
    bend, share = softplus(gap), sigmoid(gap)
    help_ = np.exp(-c0 * log_t - c1 * f1 * bend)
    loss, slopes = _reducible_slopes(x, A, B, alpha, beta, gamma)
    term = help_ * loss
    return x["teacher_loss"] + term, stack(
        *(help_ * s for s in slopes),
        -term * log_t, -term * f1 * bend, term * c1 * share / d1, -term * c1 * (bend - gap * share),
    )  # fmt: skip


DISTILLATION = Law(
    name="distillation",
    title="Busbridge et al., distilled student",
    equation="L(N, D, L_T) = L_T + L_T^-c0 (1 + (L_T / (L_S d1))^(1/f1))^(-c1 f1) (A / N^alpha + B / D^beta)^gamma, "
    "L_S = the supervised loss at N and D",
    latex=r"L = L_T + \frac1{L_T^{c_0}} \left(1 + \left(\frac{L_T}{\tilde L_S d_1}\right)^{1/f_1}\right)^{-c_1 f_1} "
    r"\left(\frac{A}{N^{\alpha}} + \frac{B}{D^{\beta}}\right)^{\gamma}",
    inputs=("n_params", "n_tokens", "teacher_loss", "supervised_loss"),
    coefs=(
        *_SCALE,
        Coef("c0", "exponent of the teacher's loss", starts=(0.3, 6.0)),
        Coef("c1", "exponent past the bend", starts=(0.5, 1000.0)),
        Coef("d1", "L_T / L_S at which a weaker teacher starts to pull the student along", starts=(0.5, 2.0)),
        Coef("f1", "width of the bend [in ln L_T]", starts=(0.02, 0.5)),
    ),
    formula=_student,
    jacobian=_student_jacobian,
    domain="student of N parameters on D tokens of a teacher's logits; L_S from the supervised law at the same N and D",
    source=f"{SOURCE}, eq. 8",
)

DISTILLATION_LAWS = (SUPERVISED, DISTILLATION)
