"""Data mixtures: loss on one domain against the shares of the training data; and one loss against another."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from scaling.errors import LawError
from scaling.laws.law import Array, Coef, Inputs, Law, split, stack


def _mixture(x: Inputs, theta: Array, columns: tuple[str, ...]) -> Array:
    c, k, *slopes = split(theta)
    return c + k * np.exp(sum(t * x[column] for t, column in zip(slopes, columns, strict=True)))


def _mixture_jacobian(x: Inputs, theta: Array, columns: tuple[str, ...]) -> tuple[Array, Array]:
    c, k, *slopes = split(theta)
    unit = np.exp(sum(t * x[column] for t, column in zip(slopes, columns, strict=True)))
    return c + k * unit, stack(np.ones_like(unit), unit, *(k * unit * x[column] for column in columns))


def mixing_law(shares: Sequence[str]) -> Law:
    """The data mixing law in the shares of two domains or more; `shares` names their columns.

    The shares add up to one, so the first has no coefficient: each t says what moving data from it to another domain does.
    Raises LawError for fewer than two columns, or one named twice.
    """
    if len(shares) < 2 or len(set(shares)) != len(shares):
        raise LawError(f"the mixing law needs the share columns of two different domains or more, not {list(shares)}.")
    first, *others = shares
    numbers = range(2, len(shares) + 1)
    return Law(
        name="mixing",
        title=f"Ye et al., mixture of {len(shares)} domains",
        equation="L(r) = c + k exp(" + " + ".join(f"t{i} r{i}" for i in numbers) + ")",
        latex=r"L(r) = c + k \exp\left(" + " + ".join(f"t_{{{i}}} r_{{{i}}}" for i in numbers) + r"\right)",
        inputs=tuple(others),
        coefs=(
            Coef("c", "loss that no mixture undercuts [target unit]", starts=(0.2, 3.0)),
            Coef("k", f"what {first!r} alone adds to it [target unit]", starts=(0.05, 5.0)),
            *(
                Coef(f"t{i}", f"effect of moving data from {first!r} to {column!r}", starts=(-3.0, 3.0), lower=-np.inf)
                for i, column in zip(numbers, others, strict=True)
            ),
        ),
        linear=("c", "k"),
        formula=partial(_mixture, columns=tuple(others)),
        jacobian=partial(_mixture_jacobian, columns=tuple(others)),
        domain="validation loss of one domain, one size and number of tokens, shares between 0 and 1 that add up to 1",
        source="Ye et al. 2024, arXiv:2403.16952, eq. 6, with t = 0 for the first domain",
    )


def _translate(x: Inputs, theta: Array) -> Array:
    K, kappa, E_0, E_1 = split(theta)
    return E_1 + K * np.exp(kappa * np.log(_gap(x, E_0)))


def _gap(x: Inputs, E_0: Array) -> Array:
    return x["source_loss"] - E_0


def _translate_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    K, kappa, E_0, E_1 = split(theta)
    log_gap = np.log(_gap(x, E_0))
    power = np.exp(kappa * log_gap)
    return E_1 + K * power, stack(power, K * power * log_gap, -K * kappa * power / _gap(x, E_0), np.ones_like(power))


LOSS_TO_LOSS = Law(
    name="loss_to_loss",
    title="Brandfonbrener et al., one loss from another",
    equation="L_1 = K (L_0 - E_0)^kappa + E_1",
    latex=r"L_1 = K \left(L_0 - E_0\right)^{\kappa} + E_1",
    inputs=("source_loss",),
    coefs=(
        Coef("K", "reducible loss where that of the source is 1 [target unit]", starts=(0.1, 5.0)),
        Coef("kappa", "ratio of the exponents", starts=(0.3, 3.0)),
        Coef("E_0", "irreducible loss of the source, below every source loss [its unit]", starts=(0.1, 1.4)),
        Coef("E_1", "irreducible loss of the target [target unit]", starts=(0.1, 3.0)),
    ),
    linear=("K", "E_1"),
    formula=_translate,
    jacobian=_translate_jacobian,
    domain="models paired by compute; fix E_0 and E_1 at the floors of the two laws' own fits",
    source="Brandfonbrener et al. 2024, arXiv:2411.12925, eq. 4",
)
