"""Repeated data: tokens seen again and parameters beyond what the data can feed are worth less and less."""

from __future__ import annotations

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack


def _parts(x: Inputs, theta: Array) -> tuple[Array, ...]:
    """Effective data and parameters, with what their derivatives need."""
    _, A, B, alpha, beta, Rd, Rn = split(theta)
    unique = np.minimum(x["n_unique_tokens"], x["n_tokens"])
    epochs = x["n_tokens"] / unique - 1
    d_eff = unique * (1 - Rd * np.expm1(-epochs / Rd))
    # parameters that are compute-optimal for the unique tokens: G (U G)^(beta/alpha), G of the base law
    log_fed = (np.log(alpha) + np.log(A) - np.log(beta) - np.log(B) + beta * np.log(unique)) / alpha
    fed = np.exp(log_fed)
    excess = x["n_params"] / fed - 1
    over = np.real(excess) > 0  # the law is smooth there: both branches have the value N and the same slope
    excess = np.where(over, excess, 0.0)
    n_eff = np.where(over, fed * (1 - Rn * np.expm1(-excess / Rn)), x["n_params"])
    return unique, epochs, d_eff, log_fed, fed, excess, over, n_eff


def _loss(x: Inputs, theta: Array) -> Array:
    E, A, B, alpha, beta, _, _ = split(theta)
    _, _, d_eff, _, _, _, _, n_eff = _parts(x, theta)
    return E + A * np.exp(-alpha * np.log(n_eff)) + B * np.exp(-beta * np.log(d_eff))


def _jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    E, A, B, alpha, beta, Rd, Rn = split(theta)
    unique, epochs, d_eff, log_fed, fed, excess, over, n_eff = _parts(x, theta)
    log_n, log_d = np.log(n_eff), np.log(d_eff)
    power_n, power_d = np.exp(-alpha * log_n), np.exp(-beta * log_d)
    term_n, term_d = A * power_n, B * power_d
    kept_d, kept_n = np.exp(-epochs / Rd), np.exp(-excess / Rn)
    by_Rd = -beta * term_d * unique * (1 - kept_d * (1 + epochs / Rd)) / d_eff
    by_Rn = np.where(over, -alpha * term_n * fed * (1 - kept_n * (1 + excess / Rn)) / n_eff, 0.0)
    # through the parameters that the data can feed: d n_eff / d ln(fed)
    rise = fed * (1 + Rn * (1 - kept_n) - (1 + excess) * kept_n)
    by_fed = np.where(over, -alpha * term_n * rise / n_eff, 0.0)
    return E + term_n + term_d, stack(
        np.ones_like(term_n + term_d),
        power_n + by_fed / (alpha * A),
        power_d - by_fed / (alpha * B),
        -log_n * term_n + by_fed * (1 / alpha - log_fed) / alpha,
        -log_d * term_d + by_fed * (np.log(unique) - 1 / beta) / alpha,
        by_Rd,
        by_Rn,
    )


DATA_CONSTRAINED = Law(
    name="data_constrained",
    title="Muennighoff et al., repeated data",
    equation="L = E + A / N'^alpha + B / D'^beta, D' = U (1 + Rd (1 - exp(-(D/U - 1)/Rd))), "
    "N' = U_N (1 + Rn (1 - exp(-max(N/U_N - 1, 0)/Rn)))",
    latex=r"L = E + \frac{A}{N'^{\alpha}} + \frac{B}{D'^{\beta}},\quad "
    r"D' = U\left[1 + R_D^*\left(1 - e^{-R_D/R_D^*}\right)\right],\quad "
    r"N' = U_N\left[1 + R_N^*\left(1 - e^{-R_N/R_N^*}\right)\right]",
    inputs=("n_params", "n_tokens", "n_unique_tokens"),
    coefs=(
        Coef("E", "irreducible loss [target unit]", starts=(0.5, 3.0)),
        Coef("A", "model-size term at N' = 1 [target unit]", starts=(1e1, 1e5)),
        Coef("B", "data term at D' = 1 [target unit]", starts=(1e1, 1e5)),
        Coef("alpha", "model-size exponent", starts=(0.15, 0.7)),
        Coef("beta", "data exponent", starts=(0.15, 0.7)),
        Coef("Rd", "epochs of repetition after which most value is used up", starts=(2.0, 60.0)),
        Coef("Rn", "the like for parameters beyond those the unique data can feed", starts=(1.0, 30.0)),
    ),
    linear=("E",),
    formula=_loss,
    jacobian=_jacobian,
    domain="1 to about 500 epochs of one corpus; cannot rise with more epochs. N' < N only above "
    "U_N = (alpha A / (beta B))^(1/alpha) U^(beta/alpha)",
    source="Muennighoff et al. 2023, arXiv:2305.16264, eqs. 5, 6, 16, 17",
)


def effective_tokens(n_tokens: Array, n_unique_tokens: Array, Rd: float = 15.387756) -> Array:
    """Unique tokens that would be worth as much as n_tokens over n_unique_tokens of data. Muennighoff et al. eq. 5."""
    unique = np.minimum(n_unique_tokens, n_tokens)
    return unique * (1 - Rd * np.expm1(-(np.asarray(n_tokens) / unique - 1) / Rd))
