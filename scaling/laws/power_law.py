"""Powers of the scales: one power with and without a floor, and a product of powers (the form of many tuning rules)."""

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


def _power_law(letter: str, column: str, what: str, floor: bool, domain: str) -> Law:
    """The power law in one column; `letter` names it in equations."""
    E = (Coef("E", "irreducible loss [target unit]", starts=(0.1, 5.0)),) if floor else ()
    return Law(
        name=f"power_{letter.lower()}{'_floor' if floor else ''}",
        title=f"Power law in {what}{' with a floor' if floor else ''}",
        equation=f"L({letter}) = {'E + ' if floor else ''}A / {letter}^alpha",
        latex=rf"L({letter}) = {'E + ' if floor else ''}\frac{{A}}{{{letter}^{{\alpha}}}}",
        inputs=(column,),
        coefs=(
            *E,
            Coef("A", f"reducible loss at {letter} = 1 [target unit]", starts=(1e-1, 1e8)),
            Coef("alpha", f"exponent of {what}", starts=(0.01, 1.5)),
        ),
        linear=("E", "A") if floor else ("A",),
        formula=partial(_loss_floor if floor else _loss, column=column),
        jacobian=partial(_jacobian_floor if floor else _jacobian, column=column),
        domain=f"runs in which {what} is what limits the loss ({domain}){'' if floor else ', far above any floor'}",
        source="Hestness et al. 2017, arXiv:1712.00409; Kaplan et al. 2020, arXiv:2001.08361, eqs. 1.1 to 1.3"
        + ("; with a floor: Henighan et al. 2020, arXiv:2010.14701, eq. 1.1" if floor else ""),
    )


_AXES = (
    ("N", "n_params", "model size", "ample data and training"),
    ("D", "n_tokens", "data", "models large enough for it"),
    ("C", "flops", "compute", "the best run of each budget"),
)
POWER_LAWS = tuple(
    _power_law(letter, column, what, floor, domain) for letter, column, what, domain in _AXES for floor in (False, True)
)


def _product(x: Inputs, theta: Array, columns: tuple[str, ...], signs: tuple[int, ...]) -> Array:
    k, *powers = split(theta)
    return k * np.exp(sum(s * p * np.log(x[c]) for p, c, s in zip(powers, columns, signs, strict=True)))


def _product_jacobian(x: Inputs, theta: Array, columns: tuple[str, ...], signs: tuple[int, ...]) -> tuple[Array, Array]:
    k, *powers = split(theta)
    slopes = [s * np.log(x[c]) for c, s in zip(columns, signs, strict=True)]
    unit = np.exp(sum(p * slope for p, slope in zip(powers, slopes, strict=True)))
    value = k * unit
    return value, stack(unit, *(value * slope for slope in slopes))


def product_law(
    name: str,
    target: str,
    factors: tuple[tuple[str, str, str, int, tuple[float, float]], ...],
    *,
    title: str,
    amplitude: tuple[str, str],
    domain: str,
    source: str,
    letters: tuple[str, str] = ("y", "y"),
) -> Law:
    """y = k x1^p1 x2^p2 ...: an amplitude times a power of each column.

    factors : (column, letter, coefficient, sign, starts) each; sign -1 writes x^-p. An exponent whose starts include a
        negative value is free, any other is positive.
    amplitude : name and meaning of k. letters : the target in the equation and in LaTeX.
    """
    columns, signs = tuple(f[0] for f in factors), tuple(f[3] for f in factors)
    plain = " ".join(f"{letter}^{'-' if sign < 0 else ''}{coef}" for _, letter, coef, sign, _ in factors)
    latex = r"\,".join(f"{letter}^{{{'-' if sign < 0 else ''}{coef}}}" for _, letter, coef, sign, _ in factors)
    return Law(
        name=name,
        title=title,
        equation=f"{letters[0]} = {amplitude[0]} {plain}",
        latex=rf"{letters[1]} = {amplitude[0]}\,{latex}",
        inputs=columns,
        target=target,
        coefs=(
            Coef(amplitude[0], amplitude[1], starts=(1e-8, 1e10)),
            *(
                Coef(coef, f"exponent of {letter}", starts=starts, lower=-np.inf if starts[0] < 0 else 0.0)
                for _, letter, coef, _, starts in factors
            ),
        ),
        linear=(amplitude[0],),
        formula=partial(_product, columns=columns, signs=signs),
        jacobian=partial(_product_jacobian, columns=columns, signs=signs),
        domain=domain,
        source=source,
    )
