"""Chinchilla's approach 2: at each compute budget the best size, and how it grows with compute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.approaches.grid_bias import parabola_bias
from scaling.approaches.isoflop_lines import Optima, growth_with_compute, line_through
from scaling.approaches.isoflop_result import IsoFlop, PowerLaw, check_level, sum_of_exponents
from scaling.approaches.isoflop_sweep import (
    GAP,
    MIN_SIZES,
    complete_runs,
    mixed_experiments,
    n_different,
    rows_by_budget,
)
from scaling.approaches.profiles import CURVES, Profiles, profiles
from scaling.compute import DENSE, Accounting
from scaling.errors import FitError
from scaling.fitting.result import FitWarning
from scaling.laws.law import Array
from scaling.progress import Bar, Report

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["GAP", "MIN_SIZES", "IsoFlop", "PowerLaw", "isoflop", "parabola_bias"]

OUTER = 0.2  # share of the grid's width at each end where a minimum is poorly enclosed
BUDGETS_TO_RESAMPLE = 6  # below it there are too few budgets to draw from: the runs within them are perturbed
BIAS_WORTH_SAYING = 0.02


def isoflop(
    runs: pd.DataFrame,
    *,
    curve: str | None = None,
    weights: str = "variance",
    resample: str | None = None,
    n_resamples: int = 1000,
    rng: int | np.random.Generator = 0,
    level: float = 0.95,
    compute: Accounting = DENSE,
    progress: Report | None = None,
) -> IsoFlop:
    """Optimal size and tokens at every compute budget, and the power laws through them.

    Parameters
    ----------
    runs : final losses with n_params, loss, and two of n_params, n_tokens, flops (the third follows from `compute`).
        Budgets are found as clusters of flops.
    curve : 'asymmetric' (the default where enough runs are there), 'parabola' (as in the literature), or 'akima'.
    weights : 'variance' weights each budget's optimum by its variance, 'equal' takes all alike.
    resample : 'budgets' draws whole budgets, and covers errors that the runs of a budget share; 'runs' perturbs runs by
        their residuals, each with a random sign. Default: 'budgets' from 6 budgets on, else 'runs'.
    rng : seed or generator; equal seeds give equal intervals.
    progress : called with (work done, work in all); what it raises ends the work.

    Intervals are Student's t on the spread of the draws. Raises RunsError for runs that are no isoFLOP sweep, FitError
    when fewer than two budgets enclose a minimum.
    Source: Hoffmann et al. 2022, arXiv:2203.15556, sec. 3.2.
    """
    check_level(level)
    if curve is not None and curve not in CURVES:
        raise FitError(f"unknown curve {curve!r}; choose one of {', '.join(CURVES)}.")
    if weights not in ("variance", "equal"):
        raise FitError(f"unknown weights {weights!r}; choose 'variance' or 'equal'.")
    if resample not in (None, "budgets", "runs"):
        raise FitError(f"unknown resample {resample!r}; choose 'budgets' or 'runs'.")
    if n_resamples < 20:
        raise FitError(f"n_resamples must be at least 20 for an interval, not {n_resamples}.")
    of_curves, of_draws = Bar(progress).parts(1, n_resamples / 1000)
    table = complete_runs(runs, compute)
    groups = rows_by_budget(table["flops"].to_numpy())
    log_n, log_d = np.log(table["n_params"].to_numpy()), np.log(table["n_tokens"].to_numpy())
    loss, log_c = table["loss"].to_numpy(), np.log(table["flops"].to_numpy())
    sizes = np.array([n_different(log_n[g]) for g in groups])
    enough = sizes >= MIN_SIZES
    if enough.sum() < 2:
        raise FitError(
            f"{len(groups)} budgets were found and {int(enough.sum())} of them have {MIN_SIZES} or more different sizes; "
            "at least two must. Log more sizes per budget, or fit a law of the whole surface instead (scaling fit)."
        )
    kept = [g for g, ok in zip(groups, enough, strict=True) if ok]
    n_sizes, d_sizes, losses = [log_n[g] for g in kept], [log_d[g] for g in kept], [loss[g] for g in kept]
    warnings = [FitWarning("several_experiments", sentence)] if (sentence := mixed_experiments(table, kept)) else []
    spare = sum(map(len, kept)) - 3 * len(kept) - 2
    if curve is None:
        curve = "asymmetric" if spare >= 4 else "parabola"
        if curve == "parabola":
            warnings.append(FitWarning("parabola_only", "too few runs to fit an asymmetric curve: the parabola's minimum is displaced on wide grids."))  # fmt: skip
    elif curve == "asymmetric" and spare < 1:
        raise FitError("the asymmetric curve needs more runs than 3 per budget plus 2; ask for curve='parabola'.")
    of_curves(1, 3)
    by_n, by_d = profiles(curve, n_sizes, losses), profiles(curve, d_sizes, losses)
    plain = by_n if curve == "parabola" else profiles("parabola", n_sizes, losses)
    of_curves(1, 1)

    verdicts = [_verdict(by_n, by_d, k, *sizes) for k, sizes in enumerate(zip(n_sizes, d_sizes, strict=True))]
    used = np.array([ok for ok, _, _ in verdicts])
    if used.sum() < 2:
        reasons = "; ".join(
            f"{np.exp(log_c[g].mean()):.3g} FLOPs: {why}" for g, (_, _, why) in zip(kept, verdicts, strict=True)
        )
        raise FitError(
            f"only {int(used.sum())} of {len(kept)} budgets enclose a minimum of the loss, and a power law needs two ({reasons}). "
            "Add runs beyond the ends of these grids."
        )
    seed = int(rng) if isinstance(rng, int | np.integer) else None
    resample = resample or ("budgets" if used.sum() >= BUDGETS_TO_RESAMPLE or curve == "akima" else "runs")
    if resample == "runs" and curve == "akima":
        raise FitError("an interpolation has no residuals to resample: use resample='budgets', or another curve.")
    budget_c = np.array([np.exp(log_c[g].mean()) for g in kept])
    optima = Optima(budget_c, used, curve, (by_n, by_d), (n_sizes, d_sizes), losses, weights)
    n_law, d_law = growth_with_compute(optima, resample, n_resamples, np.random.default_rng(rng), of_draws)
    parabola_ok = used & np.isfinite(plain.log_optimum)
    parabola_a = float(line_through(plain, parabola_ok, budget_c, weights)[1]) if parabola_ok.sum() >= 2 else np.nan
    budgets = _budget_table(table, groups, kept, verdicts, by_n, by_d, plain)
    warnings += _warnings(budgets, curve, n_law, d_law, level, parabola_a)
    return IsoFlop(
        n_opt=n_law, d_opt=d_law, budgets=budgets, curve=curve, resampled=resample, weights=weights, level=level,
        sum_exponents=sum_of_exponents(n_law, d_law, level), parabola_exponent=parabola_a, shape=by_n.shape, noise=by_n.noise,
        n_resamples=n_resamples, seed=seed, warnings=tuple(warnings), runs=table,
    )  # fmt: skip


def _budget_table(
    table: pd.DataFrame,
    groups: list[Array],
    kept: list[Array],
    verdicts: list[tuple[bool, str, str]],
    by_n: Profiles,
    by_d: Profiles,
    plain: Profiles,
) -> pd.DataFrame:
    """One row per budget: its runs and sizes, the optimum by the chosen curve and by the parabola, the verdict and why."""
    import pandas as pd

    log_n, log_c = np.log(table["n_params"].to_numpy()), np.log(table["flops"].to_numpy())
    position = {id(g): k for k, g in enumerate(kept)}
    rows = []
    for g in groups:
        row: dict[str, Any] = {"flops": float(np.exp(log_c[g].mean())), "runs": len(g), "sizes": n_different(log_n[g])}
        k = position.get(id(g))
        if k is None:
            sentence = f"{row['sizes']} different sizes; {MIN_SIZES} are needed to check a curve"
            rows.append(row | {"used": False, "verdict": "too few sizes", "reason": sentence})
            continue
        used, verdict, reason = verdicts[k]
        row |= {
            "n_params": float(np.exp(by_n.log_optimum[k])), "n_tokens": float(np.exp(by_d.log_optimum[k])),
            "log_std_error": float(np.sqrt(by_n.variance[k])), "loss": float(by_n.loss[k]),
            "curvature_t": float(by_n.curvature_t[k]), "parabola_n_params": float(np.exp(plain.log_optimum[k])),
            "parabola_bias": float(np.expm1(plain.log_optimum[k] - by_n.log_optimum[k])),
        }  # fmt: skip
        rows.append(row | {"used": used, "verdict": verdict, "reason": reason})
    return pd.DataFrame(rows)


def _verdict(by_n: Profiles, by_d: Profiles, k: int, log_size: Array, log_tokens: Array) -> tuple[bool, str, str]:
    """(used, verdict, reason) of budget k with its sizes and tokens, both (n_k,) in logs."""
    used, verdict, reason = _verdict_on_size(by_n, k, log_size)
    if used and not log_tokens.min() <= by_d.log_optimum[k] <= log_tokens.max():
        return False, "minimum outside", "the minimum over tokens lies outside the tokens that were tried"
    return used, verdict, reason


def _verdict_on_size(p: Profiles, k: int, log_size: Array) -> tuple[bool, str, str]:
    at, low, high = p.log_optimum[k], log_size.min(), log_size.max()
    if not np.isfinite(at):
        return (
            False,
            "no minimum",
            "the loss has no minimum within these sizes: it is flat, or falls or rises throughout",
        )
    if not low <= at <= high:
        side = "smaller" if at < low else "larger"
        return (
            False,
            "minimum outside",
            f"the curve's minimum lies outside the sizes that were tried: add {side} models",
        )
    if np.isfinite(p.curvature_t[k]) and p.dof:
        from scipy.special import stdtrit

        if p.curvature_t[k] < stdtrit(p.dof, 0.975):
            return True, "flat", "the curvature does not stand out from the noise: the minimum could be far away"
    place = (at - low) / (high - low)
    if place < OUTER or place > 1 - OUTER:
        side = "smaller" if place < OUTER else "larger"
        return True, "near the edge", f"the minimum lies in the outer fifth of the sizes: add {side} models"
    return True, "ok", "the minimum is enclosed"


def _warnings(
    budgets: pd.DataFrame, curve: str, n_law: PowerLaw, d_law: PowerLaw, level: float, parabola_a: float
) -> list[FitWarning]:
    out = []
    for verdict in ("too few sizes", "no minimum", "minimum outside", "flat", "near the edge"):
        some = budgets[budgets["verdict"] == verdict]
        if len(some):
            which = ", ".join(f"{c:.3g}" for c in some["flops"])
            fate = "kept" if some["used"].all() else "left out"
            out.append(
                FitWarning(verdict.replace(" ", "_"), f"{verdict} at {which} FLOPs ({fate}): {some['reason'].iloc[0]}.")
            )
    total, low, high = sum_of_exponents(n_law, d_law, level)
    if abs(total - 1) > 0.01 and not low <= 1 <= high:
        out.append(FitWarning("sum_of_exponents", f"a + b is {total:.3f}, not 1: the budgets are not 6 N D for every run, so N and D at a budget do not multiply to it."))  # fmt: skip
    bias = budgets.loc[budgets["used"], "parabola_bias"].to_numpy(dtype=float)
    if (
        curve == "asymmetric"
        and np.isfinite(bias).any()
        and abs(typical := float(np.nanmedian(bias))) > BIAS_WORTH_SAYING
    ):
        out.append(FitWarning("parabola_bias", f"a parabola would put the best size {abs(typical):.1%} too {'high' if typical > 0 else 'low'} (median over budgets) and its exponent at {parabola_a:.3f}: the loss rises unequally on the two sides."))  # fmt: skip
    if int(budgets["used"].sum()) < 4:
        out.append(FitWarning("few_budgets", f"the power laws stand on {int(budgets['used'].sum())} budgets: whether growth is a power law cannot be seen."))  # fmt: skip
    return out
