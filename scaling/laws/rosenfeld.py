"""Error against size and data over the whole range, from random guessing to the floor."""

from __future__ import annotations

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack


def _terms(x: Inputs, theta: Array) -> tuple[Array, Array, Array]:
    alpha, b, beta, c_inf, _eta, _eps0 = split(theta)
    data = np.exp(-alpha * np.log(x["n_tokens"]))
    power = np.exp(-beta * np.log(x["n_params"]))
    return data, power, data + b * power + c_inf


def _error(x: Inputs, theta: Array) -> Array:
    *_, eta, eps0 = split(theta)
    *_, total = _terms(x, theta)
    return eps0 / np.sqrt(1 + (eta / total) ** 2)


def _jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    _alpha, b, _beta, _c_inf, eta, eps0 = split(theta)
    data, power, total = _terms(x, theta)
    ratio = eta / total
    share = 1 / np.sqrt(1 + ratio**2)
    slope = eps0 * share**3 * ratio**2 / total  # d error / d total
    return eps0 * share, stack(
        -slope * data * np.log(x["n_tokens"]),
        slope * power,
        -slope * b * power * np.log(x["n_params"]),
        slope,
        -eps0 * share**3 * ratio / total,
        share,
    )


ROSENFELD = Law(
    name="rosenfeld",
    title="Rosenfeld et al., from random guessing to the floor",
    equation="eps(N, D) = eps0 t / sqrt(t^2 + eta^2), t = D^-alpha + b N^-beta + c_inf",
    latex=r"\hat\varepsilon(m, n) = \varepsilon_0 \left|\frac{\tilde\varepsilon}{\tilde\varepsilon - i\eta}\right|,"
    r"\quad \tilde\varepsilon = n^{-\alpha} + b\,m^{-\beta} + c_\infty",
    inputs=("n_params", "n_tokens"),
    coefs=(
        Coef("alpha", "data exponent", starts=(0.1, 1.5)),
        Coef("b", "size term relative to the data term", starts=(1e-5, 1e3)),
        Coef("beta", "model-size exponent", starts=(0.1, 1.5)),
        Coef("c_inf", "floor of t", starts=(1e-8, 1e2)),
        Coef("eta", "t at which the error leaves the plateau of random guessing", starts=(1e-3, 1e2)),
        Coef("eps0", "error of random guessing [target unit]", starts=(0.1, 20.0)),
    ),
    linear=("eps0",),
    formula=_error,
    jacobian=_jacobian,
    domain="size and data as fractions of the largest in the sweep (the printed coefficients need that), chance level included",
    source="Rosenfeld et al. 2020, arXiv:1909.12673, eqs. 4 and 5, with a = 1 (its scale is absorbed in eta)",
)
