"""How well laws predict what they were not fitted to, and whether one does so better than another by more than chance.

The runs are resampled: those below a cutoff refit the law, those above it score it, with the same draws for every law. A
law trained on other small runs would have extrapolated otherwise, and that moves all its held-out errors together;
resampling the held-out runs alone would miss it and name winners by luck.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from scaling.fitting.engine import fit
from scaling.fitting.objective import Objective, robust_scale
from scaling.fitting.problem import Problem
from scaling.fitting.result import FitResult, FitStatus
from scaling.fitting.solver import CHUNK_ELEMENTS, solve
from scaling.laws.law import Array, Law
from scaling.progress import Report
from scaling.selection.checks import MISFIT, budgets, cluster_p, log_likelihood, residuals_and_slopes, tails, trend_p
from scaling.selection.result import LEVEL, MINOR, LawScore

if TYPE_CHECKING:
    import pandas as pd


SAME = 1e-9  # differences of error below this are rounding
WORST_LOG = 10.0  # no log residual counts for more: a prediction off by a factor of 20,000 can be off by anything
_PART = "part of the comparison"


def draw_counts(labels: Array, n_resamples: int, rng: np.random.Generator) -> Array:
    """(R, n) how often each run is drawn; rows of one cluster together."""
    n_clusters = int(labels.max()) + 1
    drawn = rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=n_resamples)
    return drawn[:, labels].astype(float)


def fit_parts(
    law: Law, table: pd.DataFrame, objective: Objective, trained: Array, n_folds: int
) -> tuple[str, list[FitResult]]:
    """The law fitted to every part (rows of `trained`) in one batch; or the reason why it cannot be compared."""
    import pandas as pd

    needed = len(law.coefs) + 2
    sizes = trained.sum(-1)
    if sizes.min() < needed:
        worst = int(sizes.argmin())
        where = "of the table" if worst == 0 else "outside one fold" if worst <= n_folds else "below the lowest cutoff"
        return f"its {len(law.coefs)} coefficients need {needed} runs, and the part {where} has {sizes[worst]}", []
    slim = table[[*law.inputs, law.target]]
    stacked = pd.concat([slim[used].assign(**{_PART: i}) for i, used in enumerate(trained)], ignore_index=True)
    try:
        with np.errstate(all="ignore"):  # far starts may overflow; they are rejected
            batch = fit(law, stacked, objective, by=_PART)
    except np.linalg.LinAlgError as error:  # one law must not cost the comparison of the others
        return f"the search for its coefficients broke down ({error})", []
    parts = [batch[i] for i in range(len(trained))]
    for i, part in enumerate(parts):
        if not np.isfinite(part.theta).all() or part.status == FitStatus.NOT_FINITE:
            where = "all runs" if i == 0 else "one fold's complement" if i <= n_folds else "the runs below a cutoff"
            return f"no fit to {where}: {part.message}", []
    return "", parts


def _refit(parts: Sequence[FitResult], trained: Array, counts: Array, progress: Report | None = None) -> Array:
    """theta (S, R, P) of S parts refitted to resampled runs; nan where that failed.

    trained (S, n) are the runs of each part, counts (R, n) how often each run is drawn. All refits are rows of one batch
    over the same points, and run to convergence: a refit that stops where it started understates the spread. Each starts
    from its part's fit. Rows with no more distinct runs than coefficients are not fitted.
    """
    law, objective, coordinates = parts[0].law, parts[0].objective, parts[0].coordinates
    whole = parts[0].problem
    assert whole is not None
    x, y = {k: v.reshape(-1) for k, v in whole.x.items()}, whole.y.reshape(-1)
    n = len(y)
    base, delta = np.zeros((len(parts), n)), np.ones((len(parts), n))
    for k, (part, used) in enumerate(zip(parts, trained, strict=True)):
        assert part.problem is not None
        base[k, used] = part.problem.weights[0]
        own = np.atleast_1d(part.delta)
        delta[k, used] = own[: used.sum()] if len(own) > 1 else own[0]
    if all(np.ndim(part.delta) == 0 or np.size(part.delta) == 1 for part in parts):
        delta = delta[np.arange(len(parts)), trained.argmax(-1)][:, None]
    with np.errstate(all="ignore"):  # a coefficient at its bound may be zero to the last bit
        u0 = coordinates.to_working(np.stack([part.theta for part in parts]))
    u0 = np.nan_to_num(u0, neginf=-700.0, posinf=700.0)
    theta = np.full((len(parts), len(counts), len(law.coefs)), np.nan)
    distinct = np.stack([np.count_nonzero(counts * b, axis=-1) for b in base])
    part_of, draw_of = np.nonzero(distinct > u0.shape[-1])
    block = max(1, 4 * CHUNK_ELEMENTS // n)
    for first in range(0, len(part_of), block):
        i, r = part_of[first : first + block], draw_of[first : first + block]
        with np.errstate(all="ignore"):  # trial steps may overflow; they are rejected
            found = solve(coordinates, objective, Problem(x, y, counts[r] * base[i]), u0[i], delta[i])
        finite = np.isfinite(found.u).all(-1)
        theta[i[finite], r[finite]] = coordinates.to_theta(found.u[finite])[0]
        if progress is not None:
            progress(first + len(i), len(part_of))
    return theta


def score(
    law: Law, parts: list[FitResult], table: pd.DataFrame, objective: Objective, fold: Array, below: Array, counts: Array,
    labels: Array, amount: Array, progress: Report | None = None,
) -> tuple[LawScore, Array, Array]:  # fmt: skip
    """Everything about one law that needs no other law; its error and its K-fold error in each resample, both (R,)."""
    x = {k: table[k].to_numpy(float) for k in law.inputs}
    y = table[law.target].to_numpy(float)
    n_folds = len(parts) - 1 - len(below)
    whole, folds, cuts = parts[0], parts[1 : 1 + n_folds], parts[1 + n_folds :]

    def residuals(theta: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(objective.residuals(np.asarray(law.predict(x, theta), dtype=float), y)[0])

    worst = WORST_LOG if objective.of == "log" else 100 * float(np.ptp(y)) + 1e-300
    left = np.stack([residuals(part.theta) for part in folds])[fold, np.arange(len(y))]
    cv = np.minimum(np.where(np.isfinite(left), np.abs(left), worst), worst)
    cluster_cv = np.bincount(labels, cv) / np.bincount(labels)
    kfold_errors = counts @ cv / counts.sum(-1)
    kfold, kfold_se = float(cv.mean()), float(cluster_cv.std(ddof=1) / np.sqrt(len(cluster_cv)))

    refits = _refit([whole, *cuts], np.concatenate([np.ones((1, len(y)), bool), below]), counts, progress)
    held_out, bias, per_cut = np.empty(len(cuts)), np.empty(len(cuts)), []
    for q, part in enumerate(cuts):
        above = ~below[q]
        r = residuals(part.theta)[above]
        r = np.clip(np.where(np.isfinite(r), r, worst), -worst, worst)
        held_out[q], bias[q] = np.abs(r).mean(), r.mean()
        with np.errstate(all="ignore"):
            drawn = np.abs(residuals(refits[1 + q]))[:, above]
            # a prediction that overflows is as wrong as can be; a refit that was not made is no prediction
            drawn = np.minimum(np.where(np.isfinite(drawn), drawn, worst), worst)
            drawn[~np.isfinite(refits[1 + q]).all(-1)] = np.nan
            share = counts[:, above]
            per_cut.append((share * drawn).sum(-1) / share.sum(-1))
    if len(cuts):
        error, errors = float(held_out.mean()), np.mean(per_cut, axis=0)
    else:
        error, errors = kfold, kfold_errors

    draws = refits[0]
    failed = ~np.isfinite(draws).all(-1)
    draws = draws[~failed]
    notes = []
    if failed.mean() > 0.01:
        notes.append(f"{failed.mean():.0%} of the resamples could not be refitted")
    if whole.status != FitStatus.CONVERGED:
        notes.append(str(whole.message).rstrip("."))
    if len(draws) < 2:  # nothing to draw a band from: the fit alone
        draws = np.tile(whole.theta, (2, 1))
        notes.append("no resample could be refitted: its band is missing from the average")

    axes = {"ln C": np.log(amount)}
    for name, letter in (("n_params", "ln N"), ("n_tokens", "ln D")):
        if name in table and (table[name].to_numpy(float) > 0).all():
            axes[letter] = np.log(table[name].to_numpy(float))
    residual, jac, used = residuals_and_slopes(whole)
    trends = {k: trend_p(residual[used], jac[:, used], t[used]) for k, t in axes.items()}
    groups = labels if labels.max() + 1 < len(y) else budgets(amount)
    scaled = residual / np.maximum(robust_scale(residual[None], np.ones((1, len(y))))[0], 1e-300)
    tail_share, heavy = tails(scaled)
    deviance = log_likelihood(whole, residual, y, objective)
    n, k = int(labels.max()) + 1, len(law.coefs) + 1
    deviance = -2 * deviance * n / len(y)
    low, high = _interval_of(errors, error, LEVEL)
    low = max(low, 0.0)
    score = LawScore(
        law=law, fit=whole, draws=draws, deviance=deviance,
        aicc=deviance + 2 * k + (2 * k * (k + 1) / (n - k - 1) if n > k + 1 else np.inf), bic=deviance + k * float(np.log(n)),
        kfold_error=kfold, kfold_std_error=kfold_se, held_out=held_out, bias=bias, error=error, low=low, high=high,
        excess=0.0, excess_low=0.0, excess_high=0.0, kfold_excess=0.0, kfold_excess_low=0.0, kfold_excess_high=0.0, ruled_out=False,
        why="", weight=1.0,
        lack_of_fit=next((w.message for w in whole.warnings if w.code == "lack_of_fit"), ""),
        trends=trends, tail_share=tail_share, heavy_tails=heavy, cluster_p=cluster_p(residual, groups), notes=tuple(notes),
    )  # fmt: skip
    return score, errors, kfold_errors


def rank(scores: list[LawScore], replicates: Array, kfold_replicates: Array) -> list[LawScore]:
    """Scores in order, with what was ruled out, the excess over the best, and the weights.

    replicates, kfold_replicates (K, R) : the errors of each law in each resample.
    """
    k = len(scores)
    error, kfold = np.array([s.error for s in scores]), np.array([s.kfold_error for s in scores])
    # Bonferroni over laws and both criteria: one false exclusion in 20 comparisons, not one in 20 laws
    level = 1 - (1 - LEVEL) / max(2 * (k - 1), 1)

    def worse(i: int, j: int, value: Array, draws: Array) -> tuple[float, float]:
        return (0.0, 0.0) if i == j else _difference(draws[i] - draws[j], value[i] - value[j], level)

    def matrix(value: Array, draws: Array) -> Array:
        surely = np.array([[worse(i, j, value, draws)[0] > SAME for j in range(k)] for i in range(k)])
        return surely & (value[:, None] - value > MINOR * value)

    deviance = np.array([s.deviance for s in scores])
    far, near = matrix(error, replicates), matrix(kfold, kfold_replicates)
    near &= deviance[:, None] - deviance > MISFIT
    beaten = (far & ~near.T) | (near & ~far.T)  # [i, j]: i is worse than j on one criterion and better on none
    out = beaten.any(1)
    if out.all():  # a circle: each beats the next
        out[:] = False
    order = np.lexsort((error, out))
    best = order[0]

    # a resample in which a law could not be refitted counts against that law
    filled = np.where(np.isfinite(replicates) & ~out[:, None], replicates, np.inf)
    some = np.isfinite(filled).any(0)
    wins = np.bincount(filled[:, some].argmin(0), minlength=k).astype(float) if some.any() else (~out).astype(float)
    weights = wins / wins.sum()
    ranked = []
    for i in order:
        low, high = worse(i, best, error, replicates)
        kfold_low, kfold_high = worse(i, best, kfold, kfold_replicates)
        why = ""
        if out[i]:
            j = best if beaten[i, best] else int(np.flatnonzero(beaten[i])[error[beaten[i]].argmin()])
            where = " and ".join(["on the held-out scales"] * bool(far[i, j]) + ["in the folds"] * bool(near[i, j]))
            why = f"worse than {scores[j].name} {where}"
        ranked.append(replace(
            scores[i], excess=float(error[i] - error[best]), excess_low=low, excess_high=high,
            kfold_excess=float(kfold[i] - kfold[best]), kfold_excess_low=kfold_low, kfold_excess_high=kfold_high,
            ruled_out=bool(out[i]), why=why, weight=float(weights[i]),
        ))  # fmt: skip
    return ranked


def _interval_of(replicates: Array, value: float, level: float) -> tuple[float, float]:
    """Spread of the replicates put around the observed value.

    Refits to resampled runs predict a little worse than the fit, by a like amount for like laws: the replicates tell the
    spread, the runs themselves the centre.
    """
    kept = replicates[np.isfinite(replicates)]
    if len(kept) < 20:
        return float("nan"), float("nan")
    low, middle, high = np.quantile(kept, [0.5 - level / 2, 0.5, 0.5 + level / 2])
    return float(value - (middle - low)), float(value + (high - middle))


def _difference(replicates: Array, value: float, level: float) -> tuple[float, float]:
    """Interval of a difference between two laws, symmetric around the observed one.

    Where a law contains the other, most resamples may differ by nothing at all and the rest in one direction only:
    quantiles of each side would call any difference sure on the other side.
    """
    kept = replicates[np.isfinite(replicates)]
    if len(kept) < 20:
        return float("-inf"), float("inf")
    half = float(np.quantile(np.abs(kept - np.median(kept)), level))
    return float(value - half), float(value + half)
