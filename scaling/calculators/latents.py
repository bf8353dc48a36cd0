"""Planning a sparse autoencoder: latents for a wanted reconstruction, the floor in k, and the best size at a budget.

Source: Gao et al. 2024, arXiv:2406.04093, sec. 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from scaling.errors import LawError, PlanError
from scaling.laws.law import Array


def _coefs(fitted: Any) -> tuple[Array, ...]:
    if fitted.law.name != "sae_latents":
        raise LawError(f"this is for the law 'sae_latents', not {fitted.law.name!r}.")
    return tuple(np.moveaxis(np.asarray(fitted.theta, float), -1, 0)[..., None])


def reconstruction_floor(fitted: Any, n_active: Any) -> Array:
    """Loss (..., m) that no number of latents undercuts with so many active ones (m,)."""
    *_, zeta, eta = _coefs(fitted)
    return np.exp(zeta + eta * np.log(np.atleast_1d(np.asarray(n_active, float))))


def latents_for(fitted: Any, loss: Any, n_active: float) -> Array:
    """Latents (..., m) that reach losses (m,) with `n_active` active ones; nan at or below the floor.

    fitted : a fit, bootstrap or published entry of the law "sae_latents". Raises LawError for another law, or where more latents
    do not lower the loss at this n_active.
    """
    alpha, beta_k, beta_n, gamma, zeta, eta = _coefs(fitted)
    log_k = np.log(float(n_active))
    slope = beta_n + gamma * log_k
    if (slope >= 0).any():
        raise LawError(
            f"at {n_active:g} active latents the fitted law does not fall with more latents: it cannot be inverted."
        )
    gap = np.atleast_1d(np.asarray(loss, float)) - np.exp(zeta + eta * log_k)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(gap > 0, np.exp((np.log(gap) - alpha - beta_k * log_k) / slope), np.nan)


def best_latents(
    fitted: Any, flops: Any, *, d_model: int, tokens_at: tuple[float, float], n_active: float
) -> pd.DataFrame:
    """The best number of latents at training budgets (m,): compute-optimal n under a tokens-to-convergence law.

    d_model : width of the activations; a token costs 6 (2 n d_model) FLOPs, encoder and decoder, forward and backward.
    tokens_at : (t, q) with tokens to convergence t n^q; 0.6 is the exponent of Gao et al. (GPT-2 small), 0.65 of GPT-4. A
    budget then trains one size to convergence, n = (C / (12 d_model t))^(1 / (1 + q)).
    Returns flops, n_latents, n_tokens, loss, floor.
    """
    amount, power = tokens_at
    budget = np.atleast_1d(np.asarray(flops, float))
    if not ((budget > 0).all() and amount > 0 and d_model > 0 and power > -1):
        raise PlanError("budgets, width and tokens must be positive, and the exponent of tokens above -1.")
    _coefs(fitted)
    theta = np.asarray((getattr(fitted, "of", None) or fitted).theta, float)
    n = (budget / (12 * d_model * amount)) ** (1 / (1 + power))
    loss = fitted.law.predict({"n_latents": n, "n_active_latents": np.full(len(n), float(n_active))}, theta)
    return pd.DataFrame(
        {
            "flops": budget,
            "n_latents": n,
            "n_tokens": amount * n**power,
            "loss": loss,
            "floor": float(np.exp(theta[-2] + theta[-1] * np.log(n_active))),
        }
    )
