"""Mixtures of experts by number of experts: routed models at fixed data, and size, data and experts together.

Both saturate the number of experts into E_hat, which runs from E_start at one expert to E_max at infinitely many.
"""

from __future__ import annotations

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack

LN10 = np.log(10.0)


def _log_saturated(experts: Array, E_start: Array, E_max: Array) -> Array:
    """ln E_hat."""
    shift = 1 / (1 / E_start - 1 / E_max)
    return -np.log(1 / (experts - 1 + shift) + 1 / E_max)


def _log_saturated_slopes(experts: Array, E_start: Array, E_max: Array) -> tuple[Array, Array, Array]:
    """ln E_hat and its derivatives by E_start and E_max."""
    shift = 1 / (1 / E_start - 1 / E_max)
    share = (shift / (experts - 1 + shift)) ** 2
    inverse = 1 / (experts - 1 + shift) + 1 / E_max
    return -np.log(inverse), share / E_start**2 / inverse, (1 - share) / E_max**2 / inverse


def saturated_experts(n_experts: Array, E_start: float, E_max: float) -> Array:
    """E_hat of Clark et al., eq. 8: the effective number of experts."""
    return np.exp(_log_saturated(np.asarray(n_experts, dtype=float), np.asarray(E_start), np.asarray(E_max)))


def _routed(x: Inputs, theta: Array) -> Array:
    a, b, c, d, E_start, E_max = split(theta)
    log_e = _log_saturated(x["n_experts"], E_start, E_max) / LN10
    log_n = np.log10(x["n_params"])
    return np.exp(LN10 * (a * log_n + b * log_e + c * log_n * log_e + d))


def _routed_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    a, b, c, d, E_start, E_max = split(theta)
    log_hat, by_start, by_max = _log_saturated_slopes(x["n_experts"], E_start, E_max)
    log_e, log_n = log_hat / LN10, np.log10(x["n_params"])
    loss = np.exp(LN10 * (a * log_n + b * log_e + c * log_n * log_e + d))
    slope = LN10 * loss
    by_hat = loss * (b + c * log_n)  # d L / d ln E_hat
    return loss, stack(slope * log_n, slope * log_e, slope * log_n * log_e, slope, by_hat * by_start, by_hat * by_max)


def _free(name: str, meaning: str, starts: tuple[float, float]) -> Coef:
    return Coef(name, meaning, starts=starts, lower=-np.inf)


_E_START = Coef("E_start", "effective experts of a dense model", starts=(1.0, 6.0))
_E_MAX = Coef("E_max", "effective experts of infinitely many", starts=(50.0, 1000.0))

ROUTED = Law(
    name="routed",
    title="Clark et al., routed language models",
    equation="log10 L = a log10 N + b log10 E_hat + c log10 N log10 E_hat + d, "
    "1/E_hat = 1/(E - 1 + 1/(1/E_start - 1/E_max)) + 1/E_max",
    latex=r"\log_{10} L = a\log_{10} N + b\log_{10}\hat E + c\log_{10} N\,\log_{10}\hat E + d,\quad "
    r"\frac1{\hat E} = \frac1{E - 1 + \left(\frac1{E_{\rm start}} - \frac1{E_{\max}}\right)^{-1}} + \frac1{E_{\max}}",
    inputs=("n_params", "n_experts"),
    coefs=(
        _free("a", "model-size exponent, negative", (-0.3, -0.01)),
        _free("b", "expert exponent, negative", (-0.4, -0.01)),
        _free("c", "interaction: experts help large models less", (0.0, 0.05)),
        _free("d", "log10 of the loss at N = E_hat = 1 [decades of the target unit]", (0.2, 2.5)),
        _E_START,
        _E_MAX,
    ),
    formula=_routed,
    jacobian=_routed_jacobian,
    derived={"n_cutoff": lambda theta: 10 ** (-theta[..., 1] / theta[..., 2])},  # size at which experts stop helping
    domain="N = parameters used per token, one number of tokens throughout, 1 to 512 experts",
    source="Clark et al. 2022, arXiv:2202.01169, eqs. 7 and 8",
)


def dense_equivalent(n_params: Array, n_experts: Array, theta: Array) -> Array:
    """Parameters of the dense model with the loss of a routed one; theta (..., 6) of ROUTED. Clark et al. sec. 5."""
    a, b, c, _, E_start, E_max = split(theta)
    log_e = _log_saturated(np.asarray(n_experts, dtype=float), E_start, E_max) / LN10
    log_one = np.log10(E_start)
    dense = a + c * log_one
    return 10 ** (((a + c * log_e) * np.log10(n_params) + b * (log_e - log_one)) / dense)


def _joint(x: Inputs, theta: Array) -> Array:
    a, alpha, delta, gamma, b, beta, omega, zeta, E_start, E_max, c = split(theta)
    log_e = _log_saturated(x["n_experts"], E_start, E_max)
    log_n, log_d = np.log(x["n_params"]), np.log(x["n_tokens"])
    size = a * np.exp(delta * log_e + (alpha + gamma * log_e) * log_n)
    return size + b * np.exp(omega * log_e + (beta + zeta * log_e) * log_d) + c


def _joint_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    a, alpha, delta, gamma, b, beta, omega, zeta, E_start, E_max, c = split(theta)
    log_e, by_start, by_max = _log_saturated_slopes(x["n_experts"], E_start, E_max)
    log_n, log_d = np.log(x["n_params"]), np.log(x["n_tokens"])
    unit_n = np.exp(delta * log_e + (alpha + gamma * log_e) * log_n)
    unit_d = np.exp(omega * log_e + (beta + zeta * log_e) * log_d)
    size, data = a * unit_n, b * unit_d
    by_hat = size * (delta + gamma * log_n) + data * (omega + zeta * log_d)
    return size + data + c, stack(
        unit_n, size * log_n, size * log_e, size * log_e * log_n,
        unit_d, data * log_d, data * log_e, data * log_e * log_d,
        by_hat * by_start, by_hat * by_max, np.ones_like(by_hat),
    )  # fmt: skip


JOINT_MOE = Law(
    name="joint_moe",
    title="Ludziejewski et al., mixture of experts with size and data",
    equation="L = a E_hat^delta N^(alpha + gamma ln E_hat) + b E_hat^omega D^(beta + zeta ln E_hat) + c, "
    "1/E_hat = 1/(E - 1 + 1/(1/E_start - 1/E_max)) + 1/E_max",
    latex=r"L = a\hat E^{\delta} N^{\alpha + \gamma\ln\hat E} + b\hat E^{\omega} D^{\beta + \zeta\ln\hat E} + c",
    inputs=("n_params", "n_tokens", "n_experts"),
    coefs=(
        Coef("a", "model-size term [target unit]", starts=(1e0, 1e3)),
        _free("alpha", "model-size exponent, negative", (-0.5, -0.05)),
        _free("delta", "how experts shrink the model-size term, negative", (-0.5, 0.0)),
        _free("gamma", "how experts flatten the model-size exponent", (0.0, 0.03)),
        Coef("b", "data term [target unit]", starts=(1e0, 1e3)),
        _free("beta", "data exponent, negative", (-0.5, -0.05)),
        _free("omega", "how experts raise the data term", (0.0, 1.0)),
        _free("zeta", "how experts steepen the data exponent, negative", (-0.06, 0.0)),
        _E_START,
        _E_MAX,
        Coef("c", "irreducible loss [target unit]", starts=(0.1, 3.0)),
    ),
    linear=("a", "b", "c"),
    formula=_joint,
    jacobian=_joint_jacobian,
    domain="N = active non-embedding parameters, 1 to 32 experts",
    source="Ludziejewski et al. 2025, arXiv:2502.05172, eq. 6; signs as printed",
)

ROUTED_LAWS = (ROUTED, JOINT_MOE)
