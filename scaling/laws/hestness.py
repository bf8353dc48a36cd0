"""Learning curves of Hestness et al.: error against training examples, and the model size that goes with them."""

from __future__ import annotations

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack
from scaling.laws.power_law import product_law

SOURCE = "Hestness et al. 2017, arXiv:1712.00409"


def _loss(x: Inputs, theta: Array) -> Array:
    a, beta_g, gamma = split(theta)
    return a * np.exp(beta_g * np.log(x["n_samples"])) + gamma


def _jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    a, beta_g, gamma = split(theta)
    log_m = np.log(x["n_samples"])
    power = np.exp(beta_g * log_m)
    term = a * power
    return term + gamma, stack(power, log_m * term, np.ones_like(term))


HESTNESS = Law(
    name="hestness",
    title="Hestness et al., generalisation error",
    equation="eps(m) = a m^beta_g + gamma",
    latex=r"\varepsilon(m) = \alpha\, m^{\beta_g} + \gamma",
    inputs=("n_samples",),
    coefs=(
        Coef("a", "reducible error at one example [target unit]", starts=(1e-1, 1e6)),
        Coef("beta_g", "exponent, negative as printed", starts=(-1.0, -0.02), lower=-np.inf, upper=0.0),
        Coef("gamma", "irreducible error [target unit]", starts=(1e-3, 5.0)),
    ),
    linear=("a", "gamma"),
    formula=_loss,
    jacobian=_jacobian,
    domain="the power-law region: past the smallest data sets, best model for each data size",
    source=f"{SOURCE}, sec. 2",
)
HESTNESS_SIZE = product_law(
    "hestness_size",
    "n_params",
    (("n_samples", "m", "beta_p", 1, (0.2, 1.2)),),
    title="Hestness et al., best model size for the data",
    amplitude=("k", "model size at one example [parameters]"),
    letters=("s(m)", "s(m)"),
    domain="smallest model that fits each data set best; the paper finds beta_p between 0.5 and 1",
    source=f"{SOURCE}, sec. 2",
)

HESTNESS_LAWS = (HESTNESS, HESTNESS_SIZE)
