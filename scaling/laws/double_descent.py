"""Double descent: a falling trend with a peak at the interpolation threshold, and the closed forms of least squares."""

from __future__ import annotations

from functools import partial

import numpy as np

from scaling.errors import LawError
from scaling.laws.law import Array, Coef, Inputs, Law, split, stack

# --- closed forms -----------------------------------------------------------------------------------------------------


def ridge_variance(gamma: Array, ridge: Array) -> Array:
    """Variance part of the risk of ridge regression at gamma = p / n, per unit of noise variance.

    V = (1/2) [(1 + gamma + ridge) / sqrt((1 + gamma + ridge)^2 - 4 gamma) - 1] for isotropic features; as ridge -> 0 it
    becomes gamma / (1 - gamma) below the threshold and 1 / (gamma - 1) above. Arguments broadcast.
    Source: Hastie et al. 2019, arXiv:1903.08560 (Marchenko-Pastur law).
    """
    return _variance(gamma, ridge)[0]


def ridgeless_risk(gamma: Array, signal: float, noise: float, used: Array | float = 1.0) -> Array:
    """Excess risk of minimum-norm least squares at gamma = p / n (isotropic features, n -> infinity).

    signal : squared norm r^2 of the true coefficients. noise : variance sigma^2 of the label noise (test error is the
    risk plus it). used : share of the signal that lies in the p features used, in [0, 1]; below 1 the rest acts as bias
    and as noise. Infinite at gamma = 1 when there is noise. Raises LawError unless gamma > 0.
    Source: Hastie et al. 2019, arXiv:1903.08560, theorems 1 and 4.
    """
    gamma, used = np.asarray(gamma, float), np.asarray(used, float)
    if not (gamma > 0).all() or not ((used >= 0) & (used <= 1)).all():
        raise LawError("ridgeless risk needs gamma = p / n above 0 and a share of the signal between 0 and 1.")
    missed = signal * (1 - used)
    with np.errstate(divide="ignore"):
        below = missed + (missed + noise) * gamma / np.where(gamma < 1, 1 - gamma, 0.0)
        above = missed + signal * used * (1 - 1 / gamma) + (missed + noise) / np.where(gamma > 1, gamma - 1, 0.0)
    return np.where(gamma < 1, below, above)


def ridge_risk(gamma: Array, signal: float, noise: float, ridge: Array) -> Array:
    """Excess risk of ridge regression, objective |y - X b|^2 / n + ridge |b|^2, at gamma = p / n.

    At ridge = noise gamma / signal it is the least possible and has no peak. Raises LawError unless gamma and ridge > 0.
    Source: Hastie et al. 2019, arXiv:1903.08560, theorem 5.
    """
    gamma, ridge = np.asarray(gamma, float), np.asarray(ridge, float)
    if not ((gamma > 0).all() and (ridge > 0).all()):
        raise LawError("ridge risk needs gamma = p / n and the penalty above 0; for no penalty use ridgeless_risk.")
    b = 1 - gamma + ridge
    root = np.sqrt(b**2 + 4 * gamma * ridge)
    # the two forms of the root of a quadratic: each is free of cancellation on one side of b = 0
    m = np.where(b > 0, 2 / (b + root), (root - b) / (2 * gamma * ridge))
    # derivative from gamma l m^2 + b m - 1 = 0 with z = -l, m' = dm/dz = -dm/dl
    slope = (gamma * m**2 + m) / (2 * gamma * ridge * m + b)
    return signal * ridge**2 * slope + noise * gamma * (m - ridge * slope)


def random_features_risk(psi1: Array, psi2: float, zeta: float, linear: float, nonlinear: float, noise: float) -> Array:
    """Excess risk of ridgeless random-features regression with psi1 = N / d features and psi2 = n / d samples.

    zeta : E[G s(G)] over the nonlinear part of the activation (ReLU: 1.6589). linear, nonlinear : F_1^2 and F_*^2, squared
    size of the linear and the nonlinear part of the target. noise : label-noise variance. Peak at psi1 = psi2.
    Source: Mei and Montanari 2019, arXiv:1908.05355, theorem 5.
    """
    psi1 = np.asarray(psi1, float)
    psi, z2 = np.minimum(psi1, psi2), zeta**2
    b = psi * z2 - z2 - 1
    c = -(np.sqrt(b**2 + 4 * z2 * psi) + b) / (2 * z2)
    both = psi1 * psi2
    e0 = (
        -(c**5) * z2**3 + 3 * c**4 * z2**2 + (both - psi2 - psi1 + 1) * c**3 * z2**3 - 2 * c**3 * z2**2 - 3 * c**3 * z2
        + (psi1 + psi2 - 3 * both + 1) * c**2 * z2**2 + 2 * c**2 * z2 + c**2 + 3 * both * c * z2 - both
    )  # fmt: skip
    e1 = psi2 * c**3 * z2**2 - psi2 * c**2 * z2 + both * c * z2 - both
    e2 = (
        c**5 * z2**3 - 3 * c**4 * z2**2 + (psi1 - 1) * c**3 * z2**3 + 2 * c**3 * z2**2 + 3 * c**3 * z2
        - (psi1 + 1) * c**2 * z2**2 - 2 * c**2 * z2 - c**2
    )  # fmt: skip
    return linear * e1 / e0 + (noise + nonlinear) * e2 / e0 + nonlinear


def _variance(g: Array, ridge: Array) -> tuple[Array, Array, Array]:
    """V and its derivatives by gamma and by ridge, written without cancellation."""
    u = 1 + g + ridge
    square = (1 - g) ** 2 + ridge * (2 * (1 + g) + ridge)
    root = np.sqrt(square)
    cube = root * square
    return 2 * g / (root * (u + root)), (1 + ridge - g) / cube, -2 * g / cube


# --- laws to fit ------------------------------------------------------------------------------------------------------


def _peak(x: Inputs, theta: Array, column: str) -> Array:
    e, a, alpha, tau, place, nu, ridge = split(theta)
    log_x = np.log(x[column])
    return e + a * np.exp(-alpha * log_x) + tau * _variance(np.exp(nu * (log_x - np.log(place))), ridge)[0]


def _peak_jacobian(x: Inputs, theta: Array, column: str) -> tuple[Array, Array]:
    e, a, alpha, tau, place, nu, ridge = split(theta)
    log_x = np.log(x[column])
    distance = log_x - np.log(place)
    g = np.exp(nu * distance)
    v, by_g, by_ridge = _variance(g, ridge)
    trend = np.exp(-alpha * log_x)
    steep = tau * by_g * g
    return e + a * trend + tau * v, stack(
        np.ones_like(v), trend, -a * trend * log_x, v, -steep * nu / place, steep * distance, tau * by_ridge
    )


def double_descent_law(
    x: str = "n_params", target: str = "loss", x_range: tuple[float, float] = (1e7, 1e11), name: str = ""
) -> Law:
    """A power law plus the variance peak of ridge regression, over column x: 7 coefficients, 0 <= tau.

    x_range : where the peak is searched for; the range of the data is best. tau = 0 is a power law with a floor.
    nu : features per unit of ln x (width of a two-layer network: about 2; more samples move it the other way).
    Raises LawError for an empty range.
    """
    if not 0 < x_range[0] < x_range[1]:
        raise LawError(f"the peak is searched for in a range 0 < low < high, not {x_range}.")
    return Law(
        name=name or "double_descent",
        title="Double descent: power law and ridge-variance peak" + (f" ({name})" if name else ""),
        equation=f"{target} = E + A / x^alpha + tau V((x / peak)^nu, ridge), x = {x}",
        latex=r"L = E + A x^{-\alpha} + \tau V\left((x/x_*)^{\nu}, \lambda\right), "
        r"V(\gamma, \lambda) = \frac{1}{2}\left[\frac{1+\gamma+\lambda}{\sqrt{(1+\gamma+\lambda)^2-4\gamma}}-1\right]",
        inputs=(x,),
        target=target,
        coefs=(
            Coef("E", "limit at unlimited x [target unit]", starts=(1e-2, 3.0)),
            Coef("A", "trend at x = 1 [target unit]", starts=(1e-1, 1e4)),
            Coef("alpha", "exponent of the trend", starts=(0.1, 1.5)),
            Coef("tau", "size of the peak, as label noise [target unit]", starts=(1e-2, 1.0)),
            Coef("peak", "interpolation threshold [unit of x]", starts=x_range),
            Coef("nu", "stretch of ln x about the peak", starts=(0.5, 4.0), upper=50.0),
            Coef("ridge", "effective regularisation: the smaller, the taller", starts=(1e-3, 0.5), upper=100.0),
        ),
        linear=("E", "A", "tau"),
        formula=partial(_peak, column=x),
        jacobian=partial(_peak_jacobian, column=x),
        domain="a sweep of size or training length with at least 3 points within a factor 3 on each side of the peak",
        source="variance of ridge regression: Hastie et al. 2019, arXiv:1903.08560; the trend and the stretch are added",
    )


def _valley(x: Inputs, theta: Array, column: str) -> Array:
    e, a, alpha, b, beta = split(theta)
    log_x = np.log(x[column])
    return e + a * np.exp(-alpha * log_x) + b * np.exp(beta * log_x)


def _valley_jacobian(x: Inputs, theta: Array, column: str) -> tuple[Array, Array]:
    e, a, alpha, b, beta = split(theta)
    log_x = np.log(x[column])
    fall, rise = np.exp(-alpha * log_x), np.exp(beta * log_x)
    value = e + a * fall + b * rise
    return value, stack(np.ones_like(value), fall, -a * fall * log_x, rise, b * rise * log_x)


def u_shaped_law(x: str = "n_params", target: str = "loss", name: str = "") -> Law:
    """The classical bias-variance trade-off over column x: a falling and a rising power, 5 coefficients."""
    return Law(
        name=name or "u_shaped",
        title="U-shaped error: a falling and a rising power law" + (f" ({name})" if name else ""),
        equation=f"{target} = E + A / x^alpha + B x^beta, x = {x}",
        latex=r"L = E + A x^{-\alpha} + B x^{\beta}",
        inputs=(x,),
        target=target,
        coefs=(
            Coef("E", "floor [target unit]", starts=(1e-2, 3.0)),
            Coef("A", "falling part at x = 1 [target unit]", starts=(1e-1, 1e4)),
            Coef("alpha", "exponent of the fall", starts=(0.1, 1.5)),
            Coef("B", "rising part at x = 1 [target unit]", starts=(1e-8, 1e-2)),
            Coef("beta", "exponent of the rise", starts=(0.1, 0.6)),
        ),
        linear=("E", "A", "B"),
        formula=partial(_valley, column=x),
        jacobian=partial(_valley_jacobian, column=x),
        domain="below the interpolation threshold: error that falls and then rises with capacity",
        source="bias-variance trade-off as drawn in Belkin et al. 2019, arXiv:1812.11118; the form is this package's",
    )


def _ridgeless_basis(x: Inputs) -> tuple[Array, Array]:
    gamma = x["n_params"] / x["n_samples"]
    with np.errstate(divide="ignore"):
        inflation = np.where(gamma < 1, 1 / np.abs(1 - gamma), gamma / np.abs(gamma - 1))
    return np.where(gamma > 1, 1 - 1 / np.maximum(gamma, 1.0), 0.0), inflation


def _ridgeless(x: Inputs, theta: Array) -> Array:
    signal, noise = split(theta)
    missed, inflation = _ridgeless_basis(x)
    return signal * missed + noise * inflation


def _ridgeless_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    value = _ridgeless(x, theta)
    return value, stack(*(np.broadcast_to(b, value.shape) for b in _ridgeless_basis(x)))


DOUBLE_DESCENT = double_descent_law()
U_SHAPED = u_shaped_law()
RIDGELESS = Law(
    name="ridgeless",
    title="Test error of minimum-norm least squares",
    equation="L = noise / (1 - g) for g < 1, L = signal (1 - 1/g) + noise g / (g - 1) for g > 1, g = N / n",
    latex=r"L = \frac{\sigma^2}{1-\gamma}\ (\gamma<1),\quad r^2(1-\tfrac{1}{\gamma}) + \frac{\sigma^2\gamma}{\gamma-1}\ (\gamma>1)",
    inputs=("n_params", "n_samples"),
    coefs=(
        Coef("signal", "squared norm of the true coefficients [target unit]", starts=(0.1, 10.0)),
        Coef("noise", "variance of the label noise [target unit]", starts=(0.01, 10.0)),
    ),
    linear=("signal", "noise"),
    formula=_ridgeless,
    jacobian=_ridgeless_jacobian,
    domain="isotropic features, no penalty; infinite at N = n",
    source="Hastie et al. 2019, arXiv:1903.08560, theorem 1; L is the risk plus the noise",
)

DOUBLE_DESCENT_LAWS = (DOUBLE_DESCENT, U_SHAPED, RIDGELESS)
