"""Power law plus constant in the paper's own scale x0, for each of size, data and compute.

The same curves as power_*_floor, with A = x0^alpha. L_inf reads as the entropy of the data, the rest as a divergence.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack


def _loss(x: Inputs, theta: Array, column: str) -> Array:
    L_inf, x0, alpha = split(theta)
    return L_inf + np.exp(alpha * (np.log(x0) - np.log(x[column])))


def _jacobian(x: Inputs, theta: Array, column: str) -> tuple[Array, Array]:
    L_inf, x0, alpha = split(theta)
    log_ratio = np.log(x0) - np.log(x[column])
    term = np.exp(alpha * log_ratio)
    return L_inf + term, stack(np.ones_like(term), term * alpha / x0, term * log_ratio)


def _law(letter: str, column: str, what: str, unit: str, scale: tuple[float, float]) -> Law:
    return Law(
        name=f"henighan_{letter.lower()}",
        title=f"Henighan et al., {what}",
        equation=f"L({letter}) = L_inf + (x0/{letter})^alpha",
        latex=rf"L({letter}) = L_\infty + \left(\frac{{x_0}}{{{letter}}}\right)^{{\alpha}}",
        inputs=(column,),
        coefs=(
            Coef("L_inf", "irreducible loss, the entropy of the data [target unit]", starts=(0.05, 5.0)),
            Coef("x0", f"{what} at which the reducible loss is 1 [{unit}]", starts=scale),
            Coef("alpha", f"exponent of {what}", starts=(0.03, 0.6)),
        ),
        linear=("L_inf",),
        formula=partial(_loss, column=column),
        jacobian=partial(_jacobian, column=column),
        domain="generative models of one modality; N and C without embeddings, C on the compute-efficient frontier",
        source="Henighan et al. 2020, arXiv:2010.14701, eq. 1.1",
    )


HENIGHAN_LAWS = (
    _law("N", "n_params", "model size", "parameters", (1e1, 1e18)),
    _law("D", "n_tokens", "data", "tokens", (1e1, 1e18)),
    _law("C", "flops", "compute", "FLOPs", (1e10, 1e32)),
)
