"""What a fit cannot know, in words: designs that leave coefficients open, laws that the runs contradict.

The collinear-design check and the lack-of-fit test are those of `docs/` on honest numbers: in simulation the first
finds every design whose runs lie on one line in (log N, log D), the second every wrong law, at 1 to 2 % false alarms.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from scaling.fitting.objective import robust_scale
from scaling.fitting.result import FitResult, FitWarning
from scaling.fitting.scale import Coordinates
from scaling.laws.law import Array, Coef, Law

if TYPE_CHECKING:
    import pandas as pd

COLLINEAR_SPREAD = 0.3  # standard deviation of ln(D/N) around its trend in ln C, below which N and D are not told apart
LACK_OF_FIT_LEVEL = 0.01
ILL_CONDITIONED = 1e7  # of the column-scaled derivative; the 240 Chinchilla runs have 2e3

FAR = 4.685  # noise sizes from which a run is named: where the robust objective gives it no weight
NAMED = 3  # runs named in a warning; the others are counted
DECIDES = 0.8  # HC3 standard errors that one run may move a coefficient: all runs' moves squared make up one
WEAK = 0.5  # standard error of the log of a floor or an exponent, from which it is open which value it has


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


def lack_of_fit(law: Law, x: Mapping[str, Array], residual: Array, jac: Array, weights: Array) -> FitWarning | None:
    """F test of the residuals against (ln D/N)^2, (ln D/N)^3, (ln D/N)^2 ln C, (ln C)^3, beyond what the law can absorb.

    residual (n,), jac (p, n) in working coordinates, weights (n,) inverse variances up to a factor. For laws of one input: its log squared and cubed, centred.
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
    root = np.sqrt(weights / weights.mean())
    residual, jac, extra = residual * root, jac * root, extra * root
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


def run_names(runs: pd.DataFrame | None, n: int) -> Array:
    """What to call each of n runs (n,): its name where the table has a column `run`, else its row."""
    if runs is not None and "run" in runs and len(runs) == n:
        return runs["run"].to_numpy().astype(str)
    return np.array([f"row {i}" for i in range(n)])


def noise_sizes(residual: Array, weights: Array, n_free: int) -> Array:
    """Residuals (n,), prediction minus observation, as how far each run lies above the law in units of its own noise.

    The unit is a robust standard deviation with degrees of freedom taken off; weights (n,) are inverse variances. Runs
    without weight count as 0.
    """
    used = (weights > 0).astype(float)
    scaled = np.where(weights > 0, residual, 0.0) * np.sqrt(weights)
    n = used.sum()
    sigma = robust_scale(scaled[None], used[None])[0] * np.sqrt(n / max(n - n_free, 1.0))
    return -scaled / sigma if sigma > 1e-10 else np.zeros_like(scaled)


def standardised(result: FitResult) -> Array:
    """`noise_sizes` (n,) of the runs of a single fit."""
    assert result.problem is not None
    return noise_sizes(result.residuals, result.problem.weights[0], len(result.coordinates.free))


def outlier_warning(size: Array, residual: Array, log: bool, names: Array, redescends: bool) -> FitWarning | None:
    """Names the runs that lie further off the law than noise explains. size from `noise_sizes`, all (n,)."""
    far = np.flatnonzero(np.abs(size) > FAR)
    if not len(far):
        return None
    far = far[np.argsort(-np.abs(size[far]))]
    off = np.expm1(-residual[far]) if log else -residual[far]
    shown = ", ".join(
        f"{names[i]} ({f'{o:+.1%}' if log else f'{o:+.2g}'}, {abs(size[i]):.0f} times the noise)"
        for i, o in zip(far[:NAMED], off[:NAMED], strict=True)
    )
    more = f" and {len(far) - NAMED} more" if len(far) > NAMED else ""
    says = (
        "they have no influence on this fit"
        if redescends
        else "they pull on this fit; the robust objective ignores them"
    )
    subject = "1 run lies" if len(far) == 1 else f"{len(far)} runs lie"
    says = (
        says.replace("they have", "it has").replace("they pull", "it pulls").replace("ignores them", "ignores it")
        if len(far) == 1
        else says
    )
    return FitWarning("outliers", f"{subject} far off the law: {shown}{more}; {says}. Nothing was dropped.")


def deciding_run(influence: Array, covariance: Array, names: Array, coordinates: Coordinates) -> FitWarning | None:
    """Names the run without which a coefficient would move most, when it moves by more than `DECIDES` standard errors.

    influence (p, n): to first order, the change of the working coordinates when each run is left out (`one_step`).
    """
    error = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.nan_to_num(np.abs(influence) / error[:, None], nan=0.0, posinf=0.0)
    k, i = np.unravel_index(int(moved.argmax()), moved.shape)
    if not moved[k, i] > DECIDES:
        return None
    name = coordinates.law.coefs[coordinates.free[int(k)]].name
    return FitWarning(
        "one_run_decides",
        f"without {names[i]} {name} would move by {moved[k, i]:.1f} of its standard errors: the answer hangs on that run. "
        "Repeat it, or add runs next to it.",
    )


def one_step(jac: Array, psi: Array, weights: Array, hessian: Array) -> Array:
    """Change (p, n) of the working coordinates when each run is left out, to first order, its leverage allowed for.

    jac (p, n) of the residuals, psi (n,) derivative of the loss, hessian (p, p) of the objective.
    """
    root = 1 / np.sqrt(np.maximum(np.abs(np.diagonal(hessian)), 1e-300))
    inverse = np.linalg.pinv(hessian * root[:, None] * root, rcond=1e-13) * root[:, None] * root
    gauss = (jac * weights) @ jac.T
    scale = 1 / np.sqrt(np.maximum(np.diagonal(gauss), 1e-300))
    inner = np.linalg.pinv(gauss * scale[:, None] * scale, rcond=1e-13) * scale[:, None] * scale
    leverage = weights * np.einsum("pn,pq,qn->n", jac, inner, jac)
    return inverse @ jac * (weights * psi / np.maximum(1 - leverage, 1e-3))


def weak_direction(coordinates: Coordinates, jac: Array, covariance: Array) -> FitWarning | None:
    """Says which floor or exponent the runs leave open, and along which direction, when its log is uncertain by `WEAK`."""
    law, error = coordinates.law, np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    logs = coordinates.on_log_scale
    amplitudes = _amplitudes(coordinates, jac)
    names = [
        law.coefs[i].name for k, i in enumerate(coordinates.free) if logs[k] and not amplitudes[k] and error[k] > WEAK
    ]
    if not names:
        return None
    return FitWarning(
        "weakly_determined",
        f"{_and(names)} {'is' if len(names) == 1 else 'are'} not pinned down (uncertain by a factor of "
        f"{np.exp(min(error[logs & ~amplitudes].max(), 50.0)):.2g}): {null_direction(coordinates, jac)} almost without the runs noticing.",
    )


def null_direction(coordinates: Coordinates, jac: Array) -> str:
    """The direction the runs say least about, in words: 'E and both exponents can rise together'.

    jac (p, n), derivative of the residuals (times the root of the weights) in working coordinates. The multipliers of
    power terms are left to follow: that A and alpha move together is only a matter of units.
    """
    law = coordinates.law
    clean = np.nan_to_num(jac)
    columns = (clean / np.maximum(np.linalg.norm(clean, axis=1, keepdims=True), 1e-300)).T  # (n, p)
    follow = _amplitudes(coordinates, jac)
    if 0 < follow.sum() < len(follow) - 1:
        basis, sizes, _ = np.linalg.svd(columns[:, follow], full_matrices=False)
        basis = basis[:, sizes > 1e-12 * sizes[0]]
        columns = columns[:, ~follow] - basis @ (basis.T @ columns[:, ~follow])
        index = np.flatnonzero(~follow)
    else:
        index = np.arange(len(follow))
    columns = columns / np.maximum(np.linalg.norm(columns, axis=0), 1e-300)
    weakest = np.linalg.svd(columns, full_matrices=False)[2][-1]
    moving = np.abs(weakest) > 0.3 * np.abs(weakest).max()
    first = int(np.flatnonzero(moving)[0])
    sign = np.sign(weakest) * np.sign(weakest[first])
    coefs = [law.coefs[coordinates.free[k]] for k in index]
    up = _together([c for c, m, s in zip(coefs, moving, sign, strict=True) if m and s > 0])
    down = _together([c for c, m, s in zip(coefs, moving, sign, strict=True) if m and s < 0])
    together = " together" if moving.sum() > 1 and not down else ""
    return f"{up} can rise{together}" + (
        f" while {down} fall{'s' if ' and ' not in down and 'both' not in down else ''}" if down else ""
    )


def _amplitudes(coordinates: Coordinates, jac: Array) -> Array:
    """(p,) True for multipliers of terms that vary over the runs: the linear coefficients but for floors."""
    law = coordinates.law
    exponents = [_is_exponent(law.coefs[i].meaning) for i in coordinates.free]
    linear = [law.coefs[i].name in law.linear and "irreducible" not in law.coefs[i].meaning for i in coordinates.free]
    return np.array([is_linear and not exponent for is_linear, exponent in zip(linear, exponents, strict=True)])


def _is_exponent(meaning: str) -> bool:
    return "exponent" in meaning


def _together(coefs: list[Coef]) -> str:
    """Names, with two exponents as 'both exponents'."""
    exponents = [c for c in coefs if _is_exponent(c.meaning)]
    if len(exponents) == 2 and len(coefs) > 2:
        return _and([c.name for c in coefs if c not in exponents] + ["both exponents"])
    return _and([c.name for c in coefs])


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def _centred(v: Array) -> Array:
    v = v - v.mean()
    spread = v.std()
    return v / spread if spread > 0 else v


def _residual_squares(design: Array, target: Array) -> tuple[float, int]:
    solution, _, rank, _ = np.linalg.lstsq(design, target, rcond=1e-10)
    return float(((target - design @ solution) ** 2).sum()), int(rank)
