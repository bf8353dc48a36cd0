"""One surface for several groups: shared exponents, and how efficiently each group uses parameters and data."""

from __future__ import annotations

from functools import partial

import numpy as np

from scaling.errors import LawError
from scaling.laws.law import Array, Coef, Inputs, Law, split, stack


def efficiency_law(n_groups: int, *, own_floor: bool = False) -> Law:
    """The Chinchilla surface for several architectures, optimisers or corpora that share its exponents.

    The input `group` is the number of the group of each run, 0 for the reference. Group g sees rho_N_g N parameters and
    rho_D_g D tokens; with `own_floor` its irreducible loss is E_g as well. Training it on rho_N rho_D times less
    compute gives the loss of the reference, whatever the loss: that product is the compute multiplier.
    Raises LawError for fewer than two groups. Source: Volkova et al. 2026, arXiv:2602.07712.
    """
    if n_groups < 2:
        raise LawError(f"shared exponents need two groups or more, not {n_groups}: fit the chinchilla law to one.")
    others = range(1, n_groups)
    floors = tuple(
        Coef(
            f"E_{g}" if g else "E", f"irreducible loss{f' of group {g}' if g else ''} [target unit]", starts=(0.1, 5.0)
        )
        for g in (range(n_groups) if own_floor else (0,))
    )
    factors = tuple(
        Coef(f"rho_{letter}_{g}", f"{what} of group {g} worth one of group 0", starts=(0.2, 5.0))
        for letter, what in (("N", "parameters"), ("D", "tokens"))
        for g in others
    )
    shape = (
        Coef("A", "model-size term at N = 1 [target unit]", starts=(1e0, 1e6)),
        Coef("B", "data term at D = 1 [target unit]", starts=(1e0, 1e6)),
        Coef("alpha", "model-size exponent, shared", starts=(0.05, 1.5)),
        Coef("beta", "data exponent, shared", starts=(0.05, 1.5)),
    )
    return Law(
        name="efficiency",
        title=f"Chinchilla with efficiency factors, {n_groups} groups",
        equation=f"L_g(N, D) = E{'_g' if own_floor else ''} + A / (rho_N_g N)^alpha + B / (rho_D_g D)^beta",
        latex=rf"L_g(N, D) = E{'_g' if own_floor else ''} + \frac{{A}}{{(\rho_{{N,g}} N)^{{\alpha}}}}"
        r" + \frac{B}{(\rho_{D,g} D)^{\beta}}",
        inputs=("n_params", "n_tokens", "group"),
        coefs=(*floors, *shape, *factors),
        linear=(*(c.name for c in floors), "A", "B"),
        formula=partial(_loss, n_groups=n_groups, n_floors=len(floors)),
        jacobian=partial(_jacobian, n_groups=n_groups, n_floors=len(floors)),
        domain="runs of one evaluation text and tokenizer; group is 0 for the reference, then 1, 2, ...",
        source="Volkova et al. 2026, arXiv:2602.07712",
    )


def _terms(x: Inputs, theta: Array, n_groups: int, n_floors: int) -> tuple[Array, Array, Array, Array, Array]:
    """Floor, size term, data term (..., n), log of effective size and of effective tokens."""
    coefs = split(theta)
    A, B, alpha, beta = coefs[n_floors : n_floors + 4]
    rest = coefs[n_floors + 4 :]
    group = np.real(x["group"])
    floor = coefs[0]
    if n_floors > 1:
        floor = np.sum([np.where(group == g, coefs[g], 0.0) for g in range(n_floors)], axis=0)
    log_n, log_d = np.log(x["n_params"]), np.log(x["n_tokens"])
    for g in range(1, n_groups):
        log_n = log_n + np.where(group == g, np.log(rest[g - 1]), 0.0)
        log_d = log_d + np.where(group == g, np.log(rest[n_groups - 2 + g]), 0.0)
    return floor, A * np.exp(-alpha * log_n), B * np.exp(-beta * log_d), log_n, log_d


def _loss(x: Inputs, theta: Array, *, n_groups: int, n_floors: int) -> Array:
    floor, size, data, _, _ = _terms(x, theta, n_groups, n_floors)
    return floor + size + data


def _jacobian(x: Inputs, theta: Array, *, n_groups: int, n_floors: int) -> tuple[Array, Array]:
    floor, size, data, log_n, log_d = _terms(x, theta, n_groups, n_floors)
    coefs = split(theta)
    A, B, alpha, beta = coefs[n_floors : n_floors + 4]
    rest = coefs[n_floors + 4 :]
    value = floor + size + data
    group = np.broadcast_to(x["group"], value.shape)
    floors = [np.where(group == g, 1.0, 0.0) for g in range(n_floors)] if n_floors > 1 else [np.ones_like(value)]
    by_n = [np.where(group == g, -alpha * size / rest[g - 1], 0.0) for g in range(1, n_groups)]
    by_d = [np.where(group == g, -beta * data / rest[n_groups - 2 + g], 0.0) for g in range(1, n_groups)]
    return value, stack(*floors, size / A, data / B, -log_n * size, -log_d * data, *by_n, *by_d)
