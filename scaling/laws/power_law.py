"""Loss as a power of one quantity (model size, data or compute), with and without a floor."""

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack


def _power_law(letter: str, column: str, words: str, floor: bool) -> Law:
    """The power law in one column; `letter` names it in equations."""

    def loss(x: Inputs, theta: Array) -> Array:
        *E, A, alpha = split(theta)
        return A * np.exp(-alpha * np.log(x[column])) + (E[0] if floor else 0.0)

    def jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
        *E, A, alpha = split(theta)
        log_x = np.log(x[column])
        power = np.exp(-alpha * log_x)
        term = A * power
        if floor:
            return term + E[0], stack(np.ones_like(term), power, -term * log_x)
        return term, stack(power, -term * log_x)

    E = (Coef("E", "irreducible loss [target unit]", starts=(0.1, 5.0)),) if floor else ()
    return Law(
        name=f"power_{letter.lower()}" + ("_floor" if floor else ""),
        title=f"Power law in {words}" + (" with a floor" if floor else ""),
        equation=f"L({letter}) = " + ("E + " if floor else "") + f"A / {letter}^alpha",
        latex=rf"L({letter}) = " + ("E + " if floor else "") + rf"\frac{{A}}{{{letter}^{{\alpha}}}}",
        inputs=(column,),
        coefs=(
            *E,
            Coef("A", f"amplitude at {letter} = 1 [target unit]", starts=(1e-1, 1e8)),
            Coef("alpha", f"exponent of {words}", starts=(0.01, 1.5)),
        ),
        linear=("E", "A") if floor else ("A",),
        formula=loss,
        jacobian=jacobian,
        domain=f"runs in which {words} is what limits the loss",
        source="Hestness et al. 2017, arXiv:1712.00409; Kaplan et al. 2020, arXiv:2001.08361, eqs. 1.1 to 1.3"
        + ("; with a floor: Henighan et al. 2020, arXiv:2010.14701" if floor else ""),
    )


_AXES = (("N", "n_params", "model size"), ("D", "n_tokens", "data"), ("C", "flops", "compute"))
POWER_LAWS = tuple(_power_law(*axis, floor=floor) for axis in _AXES for floor in (False, True))
