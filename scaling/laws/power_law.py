"""One power of one scale, with and without a floor."""

from __future__ import annotations

from functools import partial

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack


def _loss(x: Inputs, theta: Array, column: str) -> Array:
    A, alpha = split(theta)
    return A * np.exp(-alpha * np.log(x[column]))


def _jacobian(x: Inputs, theta: Array, column: str) -> tuple[Array, Array]:
    A, alpha = split(theta)
    log_x = np.log(x[column])
    power = np.exp(-alpha * log_x)
    loss = A * power
    return loss, stack(power, -log_x * loss)


def _loss_floor(x: Inputs, theta: Array, column: str) -> Array:
    E, A, alpha = split(theta)
    return E + A * np.exp(-alpha * np.log(x[column]))


def _jacobian_floor(x: Inputs, theta: Array, column: str) -> tuple[Array, Array]:
    E, A, alpha = split(theta)
    log_x = np.log(x[column])
    power = np.exp(-alpha * log_x)
    term = A * power
    return E + term, stack(np.ones_like(term), power, -log_x * term)


def power_law(name: str, column: str, letter: str, what: str, *, floor: bool, domain: str, source: str) -> Law:
    """L = A x^-alpha, or L = E + A x^-alpha with `floor`, of the column `column` written `letter` in the equation."""
    E = Coef("E", "irreducible loss [target unit]", starts=(0.1, 5.0))
    rest = (
        Coef("A", f"loss above the floor at {letter} = 1 [target unit]", starts=(1e0, 1e6)),
        Coef("alpha", f"exponent of {what}", starts=(0.02, 1.5)),
    )
    return Law(
        name=name,
        title=f"Power law of {what}{' with a floor' if floor else ''}",
        equation=f"L({letter}) = {'E + ' if floor else ''}A / {letter}^alpha",
        latex=rf"L({letter}) = {'E + ' if floor else ''}\frac{{A}}{{{letter}^{{\alpha}}}}",
        inputs=(column,),
        coefs=(E, *rest) if floor else rest,
        linear=("E", "A") if floor else ("A",),
        formula=partial(_loss_floor if floor else _loss, column=column),
        jacobian=partial(_jacobian_floor if floor else _jacobian, column=column),
        domain=domain,
        source=source,
    )


_SCALES = (
    ("n", "n_params", "N", "model size", "data and training not limiting"),
    ("d", "n_tokens", "D", "training tokens", "model size not limiting"),
    ("c", "flops", "C", "training compute", "the compute-efficient frontier: the best run of each budget"),
)
POWER_LAWS = tuple(
    power_law(
        f"power_{suffix}{'_floor' if floor else ''}", column, letter, what, floor=floor,
        domain=f"{domain}; {'to the irreducible floor' if floor else 'far above any floor'}",
        source="Henighan et al. 2020, arXiv:2010.14701, eq. 1.1" if floor else "Kaplan et al. 2020, arXiv:2001.08361, eqs. 1.1-1.3",
    )
    for floor in (False, True)
    for suffix, column, letter, what, domain in _SCALES
)  # fmt: skip
POWER_N, POWER_D, POWER_C, POWER_N_FLOOR, POWER_D_FLOOR, POWER_C_FLOOR = POWER_LAWS
