"""Four learning curves of Alabdulmohsin et al., from a bare power to a sigmoid in log x. Exponents c are negative as printed."""

from __future__ import annotations

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack
from scaling.laws.stable import sigmoid, softplus

SOURCE = "Alabdulmohsin, Neyshabur and Zhai 2022, arXiv:2209.06640"
_BETA = Coef("beta", "reducible error at one example [target unit]", starts=(1e-2, 1e5))
_C = Coef("c", "exponent, negative", starts=(-1.2, -0.02), lower=-np.inf, upper=0.0)
_EPS_INF = Coef("eps_inf", "error with unlimited data [target unit]", starts=(1e-3, 1.0))


def _m1(x: Inputs, theta: Array) -> Array:
    beta, c = split(theta)
    return beta * np.exp(c * np.log(x["n_samples"]))


def _m1_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    beta, c = split(theta)
    log_x = np.log(x["n_samples"])
    power = np.exp(c * log_x)
    return beta * power, stack(power, beta * power * log_x)


M1 = Law(
    name="alabdulmohsin_m1",
    title="Alabdulmohsin et al., M1: bare power",
    equation="eps(x) = beta x^c",
    latex=r"\varepsilon(x) = \beta x^{c}",
    inputs=("n_samples",),
    target="error",
    coefs=(_BETA, _C),
    linear=("beta",),
    formula=_m1,
    jacobian=_m1_jacobian,
    domain="learning curves far above their floor and far below chance",
    source=f"{SOURCE}, sec. 3",
)


def _m2(x: Inputs, theta: Array) -> Array:
    beta, c, eps_inf = split(theta)
    return eps_inf + beta * np.exp(c * np.log(x["n_samples"]))


def _m2_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    beta, c, eps_inf = split(theta)
    log_x = np.log(x["n_samples"])
    power = np.exp(c * log_x)
    term = beta * power
    return eps_inf + term, stack(power, term * log_x, np.ones_like(term))


M2 = Law(
    name="alabdulmohsin_m2",
    title="Alabdulmohsin et al., M2: power and floor",
    equation="eps(x) = eps_inf + beta x^c",
    latex=r"\varepsilon(x) = \varepsilon_\infty + \beta x^{c}",
    inputs=("n_samples",),
    target="error",
    coefs=(_BETA, _C, _EPS_INF),
    linear=("beta", "eps_inf"),
    formula=_m2,
    jacobian=_m2_jacobian,
    domain="learning curves far below chance",
    source=f"{SOURCE}, sec. 3",
)


def _m3(x: Inputs, theta: Array) -> Array:
    beta, c, gamma = split(theta)
    return beta * np.exp(-c * np.log(1 / x["n_samples"] + gamma))


def _m3_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    beta, c, gamma = split(theta)
    base = 1 / x["n_samples"] + gamma
    power = np.exp(-c * np.log(base))
    value = beta * power
    return value, stack(power, -value * np.log(base), -c * value / base)


M3 = Law(
    name="alabdulmohsin_m3",
    title="Alabdulmohsin et al., M3: floor through the data",
    equation="eps(x) = beta (1/x + gamma)^(-c)",
    latex=r"\varepsilon(x) = \beta \left(x^{-1} + \gamma\right)^{-c}",
    inputs=("n_samples",),
    target="error",
    coefs=(
        _BETA,
        _C,
        Coef("gamma", "inverse of the data at which the floor is felt [1/examples]", starts=(1e-12, 1e-2)),
    ),
    linear=("beta",),
    formula=_m3,
    jacobian=_m3_jacobian,
    derived={"eps_inf": lambda theta: theta[..., 0] * theta[..., 2] ** -theta[..., 1]},
    domain="learning curves far below chance",
    source=f"{SOURCE}, sec. 3",
)


def _place(x: Inputs, theta: Array) -> tuple[Array, ...]:
    """ln of the right-hand side of M4 less what does not depend on z, and the pieces it is made of."""
    beta, c, eps_inf, eps_0, alpha = split(theta)
    log_gap = np.log(eps_0 - eps_inf)
    return np.log(beta) + c * np.log(x["n_samples"]) - (1 - alpha) * log_gap, alpha, eps_inf, eps_0


def _root(height: Array, alpha: Array) -> Array:
    """z with alpha softplus(z) - softplus(-z) = height; real (...). Increasing in z, so safeguarded Newton finds the one root."""
    ln2 = np.log(2.0)
    low = np.where(height <= alpha * ln2, height - alpha * ln2, height / alpha - ln2)
    high = np.where(height <= -ln2, height + ln2, (height + ln2) / alpha)
    z = np.where(height < 0, np.minimum(high, 0.0), np.maximum(low, 0.0))
    for _ in range(60):
        share = sigmoid(z)
        miss = alpha * softplus(z) - softplus(-z) - height
        low, high = np.where(miss < 0, z, low), np.where(miss > 0, z, high)
        step = z - miss / (alpha * share + sigmoid(-z))
        new = np.where((step > low) & (step < high), step, 0.5 * (low + high))
        done = np.abs(new - z) <= 1e-15 * (1 + np.abs(z))
        z = np.where(miss == 0, z, new)
        if np.all(done | (miss == 0) | ~np.isfinite(miss)):
            break
    return z


def _m4(x: Inputs, theta: Array) -> Array:
    height, alpha, eps_inf, eps_0 = _place(x, theta)
    z = _root(np.real(height), np.real(alpha))
    # one more Newton step, in the coefficients' own arithmetic: it carries a complex step through the root
    z = z - (alpha * softplus(z) - softplus(-z) - height) / (np.real(alpha) * sigmoid(z) + sigmoid(-z))
    return eps_inf + (eps_0 - eps_inf) * sigmoid(z)


def _m4_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    beta, _c, eps_inf, eps_0, alpha = split(theta)
    height, *_ = _place(x, theta)
    z = _root(height, alpha)
    up, down = sigmoid(z), sigmoid(-z)
    gap = eps_0 - eps_inf
    per_height = gap * up * down / (alpha * up + down)  # d eps / d height, by the implicit function theorem
    by_gap = -(1 - alpha) / gap  # d height / d gap
    return eps_inf + gap * up, stack(
        per_height / beta,
        per_height * np.log(x["n_samples"]),
        down - per_height * by_gap,
        up + per_height * by_gap,
        per_height * (np.log(gap) - softplus(z)),
    )


M4 = Law(
    name="alabdulmohsin_m4",
    title="Alabdulmohsin et al., M4: sigmoid in log x",
    equation="(eps - eps_inf) / (eps_0 - eps)^alpha = beta x^c",
    latex=r"\frac{\varepsilon - \varepsilon_\infty}{(\varepsilon_0 - \varepsilon)^{\alpha}} = \beta x^{c}",
    inputs=("n_samples",),
    target="error",
    coefs=(
        _BETA,
        _C,
        Coef("eps_inf", "error with unlimited data [target unit], below eps_0", starts=(1e-3, 0.5)),
        Coef("eps_0", "error of random guessing [target unit]", starts=(0.3, 10.0)),
        Coef("alpha", "sharpness of the bend away from random guessing; 0 is M2", starts=(0.05, 3.0)),
    ),
    formula=_m4,
    jacobian=_m4_jacobian,
    domain="whole learning curves, from chance level to the floor",
    source=f"{SOURCE}, eq. 3",
)


def data_needed(error: Array, theta: Array) -> Array:
    """Examples x at which M4 with coefficients theta (..., 5) reaches an error between eps_inf and eps_0."""
    beta, c, eps_inf, eps_0, alpha = split(theta)
    error = np.asarray(error, dtype=float)
    return np.exp((np.log(error - eps_inf) - alpha * np.log(eps_0 - error) - np.log(beta)) / c)


ALABDULMOHSIN_LAWS = (M1, M2, M3, M4)
