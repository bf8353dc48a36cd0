"""What a fit cannot know, in words: designs that leave coefficients open, laws that the runs contradict.

The collinear-design check and the lack-of-fit test are those of `docs/` on honest numbers: in simulation the first
finds every design whose runs lie on one line in (log N, log D), the second every wrong law, at 1 to 2 % false alarms.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scaling.fitting.objective import robust_scale
from scaling.fitting.result import FitWarning
from scaling.laws.law import Array, Law

COLLINEAR_SPREAD = 0.3  # standard deviation of ln(D/N) around its trend in ln C, below which N and D are not told apart
LACK_OF_FIT_LEVEL = 0.01
ILL_CONDITIONED = 1e7  # of the column-scaled derivative; the 240 Chinchilla runs have 2e3


def design_warnings(law: Law, x: Mapping[str, Array]) -> list[FitWarning]:
    """Warnings that depend on where the runs lie, not on their losses. Code 'undetermined_*' settles the status."""
    found: list[FitWarning] = []
    for name in law.inputs:
        values = np.unique(np.round(np.log(x[name]), 2) if (x[name] > 0).all() else x[name])
        if len(values) < 2:
            found.append(
                FitWarning(
                    "undetermined_constant",
                    f"all runs have the same {name}: its coefficients cannot be told apart; add runs at other values of {name}.",
                )
            )
        elif len(values) < 3:
            found.append(
                FitWarning(
                    "undetermined_levels",
                    f"only {len(values)} distinct values of {name}: an exponent and a floor need at least 3.",
                )
            )
        elif name in ("n_params", "n_tokens", "flops") and (factor := x[name].max() / x[name].min()) < 10:
            found.append(
                FitWarning(
                    "narrow_range",
                    f"{name} spans only a factor of {factor:.1f}: exponents from less than a decade are weak.",
                )
            )
    if {"n_params", "n_tokens"} <= set(law.inputs) and not found:
        log_n, log_d = np.log(x["n_params"]), np.log(x["n_tokens"])
        ratio, budget = log_d - log_n, log_d + log_n
        if np.ptp(budget) < 0.1:
            found.append(
                FitWarning(
                    "undetermined_one_budget",
                    "all runs spend the same compute (N x D): the floor and the exponents are not pinned down; add a second budget at least half a decade away.",
                )
            )
        else:
            trend = np.polyval(np.polyfit(budget, ratio, 1), budget) if len(ratio) > 2 else ratio.mean()
            spread = float(np.std(ratio - trend))
            if spread < COLLINEAR_SPREAD:
                found.append(FitWarning(
                    "undetermined_collinear",
                    f"the runs lie on one line of tokens against parameters (ln(D/N) varies by {spread:.2f} around it, below {COLLINEAR_SPREAD}): "
                    "the two exponents are not told apart; the loss along that line can still be predicted. Add runs at other tokens per parameter.",
                ))  # fmt: skip
    return found


def lack_of_fit(law: Law, x: Mapping[str, Array], residual: Array, jac: Array) -> FitWarning | None:
    """F test of the residuals against (ln D/N)^2, (ln D/N)^3, (ln D/N)^2 ln C, (ln C)^3, beyond what the law can absorb.

    residual (n,), jac (p, n) in working coordinates. For laws of one input: its log squared and cubed, centred.
    Outliers are down-weighted at three robust standard deviations.
    """
    from scipy.special import fdtrc

    if {"n_params", "n_tokens"} <= set(law.inputs):
        log_n, log_d = np.log(x["n_params"]), np.log(x["n_tokens"])
        ratio, budget = _centred(log_d - log_n), _centred(log_d + log_n)
        extra = np.stack([ratio**2, ratio**3, ratio**2 * budget, budget**3])
    elif len(law.inputs) == 1 and (x[law.inputs[0]] > 0).all():
        t = _centred(np.log(x[law.inputs[0]]))
        extra = np.stack([t**2, t**3])
    else:
        return None
    n, p = len(residual), len(jac)
    if n < p + len(extra) + 3:
        return None
    scale = float(robust_scale(residual[None], np.ones((1, n)))[0])
    if scale <= 1e-10:
        return None
    weight = np.minimum(1.0, 3 * scale / np.maximum(np.abs(residual), 1e-300)) ** 0.5
    base = (jac / np.maximum(np.linalg.norm(jac, axis=1, keepdims=True), 1e-300) * weight).T
    full = np.concatenate([base, (extra * weight).T], axis=1)
    before, rank_before = _residual_squares(base, residual * weight)
    after, rank_after = _residual_squares(full, residual * weight)
    added, dof = rank_after - rank_before, n - rank_after
    if added <= 0 or dof <= 0 or after <= 0:
        return None
    f = (before - after) / added / (after / dof)
    p_value = float(fdtrc(added, dof, f))
    if p_value >= LACK_OF_FIT_LEVEL:
        return None
    return FitWarning(
        "lack_of_fit",
        f"the residuals have a trend that this law cannot take up (F = {f:.1f}, p = {p_value:.1g}): another law may extrapolate "
        "better, and the intervals are too narrow if this one is wrong. Compare laws on held-out large scales.",
    )  # fmt: skip


def _centred(v: Array) -> Array:
    v = v - v.mean()
    spread = v.std()
    return v / spread if spread > 0 else v


def _residual_squares(design: Array, target: Array) -> tuple[float, int]:
    solution, _, rank, _ = np.linalg.lstsq(design, target, rcond=1e-10)
    return float(((target - design @ solution) ** 2).sum()), int(rank)
