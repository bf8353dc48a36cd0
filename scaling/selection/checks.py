"""Likelihood of a fit and checks of its residuals: trends, heavy tails, clusters."""

from __future__ import annotations

import numpy as np

from scaling.fitting.diagnose import _centred, _residual_squares
from scaling.fitting.objective import Objective, robust_scale
from scaling.fitting.result import FitResult
from scaling.fitting.solver import evaluate
from scaling.laws.law import Array

MISFIT = 6.63  # difference of -2 log likelihood that the folds need behind them: chi square of one, 1 %
TREND_LEVEL = 0.01
GAP = 0.2  # jump of ln C that separates two budgets


def log_likelihood(part: FitResult, residual: Array, y: Array, objective: Objective) -> float:
    """Highest log likelihood of the residuals under the density that makes this fit its maximum.

    That density is exp(-loss(r) / tau) / Z(tau), with tau estimated: normal for least squares, nearly Laplace for a Huber
    loss whose bend is far inside the noise. The bisquare has no density; its Huber stand-in (95 % efficient) is used.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import erf

    delta = float(np.median(part.delta))
    if objective.redescends:
        objective = Objective("huber", objective.of)
        delta *= 1.345 / 4.685
    total = float(np.sum(objective.loss(residual, delta)))
    n = len(residual)

    def normaliser(tau: float) -> float:
        if not np.isfinite(delta):
            return float(np.sqrt(2 * np.pi * tau))
        bend = delta**2 / (2 * tau)
        return float(np.sqrt(2 * np.pi * tau) * erf(np.sqrt(bend)) + 2 * tau / delta * np.exp(-bend))

    def deviance(log_tau: float) -> float:
        tau = float(np.exp(log_tau))
        # a tilted loss is the loss of tau / tilt on each side
        sides = (2 * (1 - objective.quantile), 2 * objective.quantile)
        z = 0.5 * sum(normaliser(tau / side) for side in sides)
        return total / tau + n * float(np.log(z))

    # tau lies between its values for least squares (loss / n, twice) and for absolute deviations (loss / n), both widened
    middle = float(np.log(max(total / n, 1e-300)))
    found = minimize_scalar(deviance, bounds=(middle - 4, middle + 4), method="bounded", options={"xatol": 1e-9})
    value = -float(found.fun)
    return value - float(np.log(y).sum()) if objective.of == "log" else value


def likelihood_words(objective: Objective, n: int, n_clusters: int) -> str:
    """What the information criteria took the residuals for, in a sentence."""
    what = "log residuals" if objective.of == "log" else "residuals"
    if objective.redescends:
        kind = f"a Huber density of the {what} (the bisquare has none)"
    elif objective.delta is not None and np.isinf(objective.delta):
        kind = f"normal {what}"
    else:
        kind = f"{what} with density proportional to exp(-loss / tau) of the objective, nearly Laplace where the bend is inside the noise"
    text = f"{kind}; the scale is estimated and counted"
    if n_clusters < n:
        text += f"; {n} rows of {n_clusters} runs, the log likelihood scaled to the number of runs"
    return text


def residuals_and_slopes(part: FitResult) -> tuple[Array, Array, Array]:
    """Residuals (n,), their derivative (p, n) in working coordinates, and which runs count."""
    assert part.problem is not None
    u = part.coordinates.to_working(part.theta)[None]
    residual, jac = evaluate(part.coordinates, part.objective, part.problem, u)
    return residual[0], np.nan_to_num(jac[0]), part.problem.weights[0] > 0


def trend_p(residual: Array, jac: Array, t: Array) -> float:
    """p value of t and t^2 in the residuals beyond what the law can take up; outliers down-weighted at three robust sd."""
    from scipy.special import fdtrc

    scale = float(robust_scale(residual[None], np.ones((1, len(residual))))[0])
    if scale <= 1e-10 or np.ptp(t) < 1e-9:
        return 1.0
    t = _centred(t)
    weight = np.minimum(1.0, 3 * scale / np.maximum(np.abs(residual), 1e-300)) ** 0.5
    base = (jac / np.maximum(np.linalg.norm(jac, axis=1, keepdims=True), 1e-300) * weight).T
    full = np.concatenate([base, (np.stack([t, t**2]) * weight).T], axis=1)
    before, rank_before = _residual_squares(base, residual * weight)
    after, rank_after = _residual_squares(full, residual * weight)
    added, dof = rank_after - rank_before, len(residual) - rank_after
    if added <= 0 or dof <= 0 or after <= 0:
        return 1.0
    return float(fdtrc(added, dof, max(before - after, 0.0) / added / (after / dof)))


def tails(scaled: Array) -> tuple[float, bool]:
    """Share of runs beyond three robust standard deviations, and whether it is too many for a normal (p < 0.01)."""
    from scipy.special import bdtrc

    beyond = int((np.abs(scaled) > 3).sum())
    # 0.27 % beyond three sd, doubled because the scale is estimated
    return beyond / len(scaled), bool(beyond > 0 and bdtrc(beyond - 1, len(scaled), 0.0054) < TREND_LEVEL)


def cluster_p(residual: Array, groups: Array) -> float:
    """p value of equal mean residuals over clusters (one-way analysis of variance); nan without clusters."""
    from scipy.special import fdtrc

    groups = np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(groups)
    k, n = len(sizes), len(residual)
    if k < 3 or k > n / 2:
        return float("nan")
    means = np.bincount(groups, residual) / sizes
    within = float(((residual - means[groups]) ** 2).sum())
    between = float((sizes * (means - residual.mean()) ** 2).sum())
    return float(fdtrc(k - 1, n - k, between / (k - 1) / (within / (n - k)))) if within > 0 else float("nan")


def budgets(amount: Array) -> Array:
    """(n,) labels of compute budgets: sorted compute split where its log jumps."""
    order = np.argsort(amount, kind="stable")
    labels = np.empty(len(amount), int)
    labels[order] = np.concatenate([[0], np.cumsum(np.diff(np.log(amount[order])) > GAP)])
    return labels
