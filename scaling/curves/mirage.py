"""Is a sudden rise a property of the metric? Exact match as a power of a per-token rate, limits of a test, PassUntil.

An answer of k tokens, each right with probability p, is right as a whole with probability p^k: smooth improvement of p
reads as a sudden ability. Here k is estimated from paired scores, and the same curves are fitted to both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, special

from scaling.curves import binomial as curves
from scaling.curves.band import Band, natural_place
from scaling.curves.emergence import Emergence, emergence
from scaling.curves.emergence_bands import critical_drop
from scaling.curves.plain import plain, records
from scaling.errors import RunsError
from scaling.laws.law import Array
from scaling.progress import Bar, Report

SCHEMA = "scaling.mirage/1"
MOST_TOKENS = 1e3
N_SIMULATED = 400


@dataclass(frozen=True)
class Mirage:
    """A whole-answer score beside the rate of its parts.

    exponent : k in exact = per_token^k with its interval; the number of tokens if their errors are independent.
    p_power : p-value of that relation (simulated tables); small where no power explains the exact score.
    dispersion : variance of the exact score over that of independent items, of the relation.
    exact, per_token : the same analysis on either metric. verdict : "metric", "ability" or "undecided".
    table : scale, exact, per_token, from_parts (per_token^k).
    """

    exponent: Band
    p_power: float
    dispersion: float
    exact: Emergence
    per_token: Emergence
    verdict: str
    table: pd.DataFrame

    @property
    def finding(self) -> str:
        """One sentence."""
        k = f"exact = per-token rate to the power {self.exponent.estimate:.3g} ({self.exponent.low:.3g} to {self.exponent.high:.3g})"
        fits = (
            "explains the exact scores" if self.p_power >= 0.05 else f"does not explain them (p = {self.p_power:.2g})"
        )
        widths = (
            f"the rise takes {self.exact.width.estimate:.2g} {self.exact.unit} in the exact score and "
            f"{self.per_token.width.estimate:.2g} in the per-token rate"
        )
        opening = {
            "metric": "The suddenness belongs to the metric"
            if self.p_power >= 0.05
            else "The exact score is sudden and the per-token rate is not, though no power of that rate makes the one of the other",
            "ability": "The rise is sudden in the per-token rate as well",
            "undecided": "Not decided whether the metric makes the rise sudden",
            "gradual": "The exact score itself rises gradually",
        }[self.verdict]
        return f"{opening}: {k} {fits}; {widths}."

    def __str__(self) -> str:
        return f"{self.finding}\n\n{self.table.to_string(index=False, float_format=lambda v: f'{v:.4g}')}"

    def to_dict(self) -> dict[str, Any]:
        """The JSON document `scaling.mirage/1`."""
        return {
            "schema": SCHEMA,
            "finding": self.finding,
            "verdict": self.verdict,
            "exponent": self.exponent.to_dict(),
            "p_power": plain(self.p_power),
            "dispersion": plain(self.dispersion),
            "exact": self.exact.to_dict(),
            "per_token": self.per_token.to_dict(),
            "points": records(self.table),
        }


def mirage(
    table: pd.DataFrame,
    *,
    x: str = "flops",
    exact: str = "exact_match",
    per_token: str = "per_token",
    n_items: int | str,
    n_tokens_per_item: float = 1.0,
    chance_per_token: float = 0.0,
    sudden_width: float | None = None,
    level: float = 0.95,
    rng: int | np.random.Generator = 0,
    progress: Report | None = None,
    **options: Any,
) -> Mirage:
    """Hold a whole-answer score against the rate of its parts.

    Parameters
    ----------
    table : one row per model with both scores. exact : rate of wholly right answers. per_token : rate of right parts.
    n_items : test items, a number or a column. n_tokens_per_item : parts per item, from which the counts of the
        per-token rate follow. chance_per_token : the per-token rate of guessing.
    progress : called with (work done, work in all); what it raises ends the work.
    options : passed to `emergence` for both metrics.

    The verdict is "metric" where the exact score is sudden and the per-token rate is surely not, "ability" where both are
    sudden, "gradual" where the exact score itself surely is not, else "undecided". Raises RunsError as `emergence`.
    Source: Schaeffer et al. 2023, arXiv:2304.15004.
    """
    for name in (x, exact, per_token, *([n_items] if isinstance(n_items, str) else [])):
        if name not in table.columns:
            raise RunsError(f"column {name!r} is not in the table; it has {', '.join(map(str, table.columns[:12]))}.")
    numbers = table[[x, exact, per_token]].astype(float)
    complete = np.isfinite(numbers.to_numpy()).all(axis=1)
    used = table[complete].copy()
    items = used[n_items].to_numpy(float) if isinstance(n_items, str) else np.full(len(used), float(n_items))
    used["_part_trials"] = items * n_tokens_per_item
    shared: dict[str, Any] = {"x": x, "sudden_width": sudden_width, "level": level, "rng": rng, **options}
    of_whole, of_parts, of_power = Bar(progress).parts(10, 10, 1)
    whole = emergence(used, score=exact, n_items=n_items, floor=0.0, progress=of_whole, **shared)
    parts = emergence(
        used, score=per_token, n_items="_part_trials", floor=chance_per_token, progress=of_parts, **shared
    )

    p, rate = used[per_token].to_numpy(float), used[exact].to_numpy(float)
    exponent, p_power, dispersion = _power(p, rate * items, items, level, np.random.default_rng(rng))
    of_power(1, 1)
    if whole.verdict == "gradual":
        verdict = "gradual"
    elif whole.verdict == "sudden" and parts.verdict == "gradual":
        verdict = "metric"
    elif whole.verdict == "sudden" and parts.verdict == "sudden":
        verdict = "ability"
    else:
        verdict = "undecided"
    rows = used[[x, exact, per_token]].copy()
    rows["from_parts"] = p**exponent.estimate
    return Mirage(exponent, p_power, dispersion, whole, parts, verdict, rows.reset_index(drop=True))


def _power(
    p: Array, successes: Array, trials: Array, level: float, rng: np.random.Generator
) -> tuple[Band, float, float]:
    """k of successes / trials = p^k by maximum likelihood, with a profile interval and a simulated goodness of fit."""
    p = np.clip(p, 1e-12, 1 - 1e-12)
    grid = np.geomspace(1e-2, MOST_TOKENS, 400)

    def value(log_k: float) -> float:
        return float(curves.log_likelihood(successes, trials, p ** np.exp(log_k)))

    def best_k(rows: Array) -> Array:
        """k (B,) of each row of successes (B, n), by a grid and a few Newton steps on log k."""
        mu = np.clip(p ** grid[:, None], curves.TINY, 1 - curves.TINY)
        k = grid[np.argmax(rows @ np.log(mu).T + (trials - rows) @ np.log1p(-mu).T, axis=1)]
        for _ in range(8):
            mu = np.clip(p ** k[:, None], curves.TINY, 1 - curves.TINY)
            slope = np.log(p) * mu * k[:, None]
            gradient = ((rows - trials * mu) / (mu * (1 - mu)) * slope).sum(axis=1)
            k = k * np.exp(np.clip(gradient / ((trials / (mu * (1 - mu)) * slope**2).sum(axis=1) + 1e-12), -0.5, 0.5))
        return np.clip(k, grid[0], grid[-1])

    k = float(best_k(successes[None])[0])
    mu = p**k
    dof = max(len(p) - 1, 1)
    chi = float(curves.pearson(successes, trials, np.clip(mu, 1e-6, 1 - 1e-6)))
    dispersion = max(chi / dof, 1.0)
    drop = critical_drop(level, dispersion, True, dof) * dispersion
    top = value(np.log(k))

    def below(log_k: float) -> float:
        return top - value(log_k) - drop

    ends = []
    for edge in (grid[0], grid[-1]):
        a, b = np.log(k), np.log(edge)
        ends.append(float(np.exp(optimize.brentq(below, min(a, b), max(a, b)))) if below(b) > 0 else float(edge))
    rows = curves.simulate(mu, trials, 1.0, N_SIMULATED, rng)
    refit = p ** best_k(rows)[:, None]
    observed = float(curves.deviance(successes, trials, mu))
    simulated = curves.deviance(rows, trials, refit)
    p_value = (1 + int(np.sum(simulated >= observed - 1e-9))) / (N_SIMULATED + 1)
    return Band(k, ends[0], ends[1], level), p_value, dispersion


@dataclass(frozen=True)
class Resolution:
    """What a test of `n_items` can show: `smallest` is the lowest true rate (or gain over chance) seen with the power
    asked for; `bound_at_zero` the highest rate that a score of zero (or of chance) does not exclude."""

    n_items: int
    floor: float
    smallest: float
    bound_at_zero: float
    power: float
    level: float


def resolution(n_items: int, *, floor: float = 0.0, power: float = 0.95, level: float = 0.95) -> Resolution:
    """The resolution of a test set.

    With floor 0: the rate at which at least one right answer is seen with probability `power`, about 3 / n for 95 %.
    With a chance floor: the rate above it that a one-sided exact test at `level` detects with that power. Rates are
    returned as rates, not gains. Raises RunsError for fewer than one item.
    """
    if n_items < 1:
        raise RunsError(f"n_items must be at least 1, not {n_items}.")
    if not 0 <= floor < 1:
        raise RunsError(f"floor must lie in [0, 1), not {floor!r}.")
    needed = 1.0
    if floor > 0:  # the least count that guessing reaches with probability below 1 - level
        needed = float(special.bdtrik(level, n_items, floor))
        needed = np.floor(needed) + 1
        while special.bdtrc(needed - 1, n_items, floor) > 1 - level:
            needed += 1
    if needed > n_items:
        return Resolution(n_items, floor, float("nan"), 1.0, power, level)
    smallest = float(special.betaincinv(needed, n_items - needed + 1, power))
    at_floor = np.floor(n_items * floor)
    bound = float(special.betaincinv(at_floor + 1, n_items - at_floor, level))
    return Resolution(n_items, floor, smallest, bound, power, level)


@dataclass(frozen=True)
class PassRate:
    """Rates of one task from sampling until a number of successes: unbiased estimate, exact interval, censored or not."""

    rate: Array
    low: Array
    high: Array
    censored: Array
    level: float


def pass_until(successes: Any, samples: Any, *, wanted: int | None = None, level: float = 0.95) -> PassRate:
    """Pass rates from sampling until `wanted` successes or a cap on samples.

    successes, samples : (n,) counts; a row with fewer than `wanted` successes hit the cap and is censored: its rate is
    successes / samples, and with no success its low bound is 0. Others have the unbiased (r - 1) / (K - 1) of inverse
    sampling (r / K, the rate that the paper prints, is too high) for r of at least 2, and r / K for r = 1.
    wanted : default the largest number of successes in the table.

    Raises RunsError for impossible counts. Source: Hu et al. 2023, arXiv:2310.03262; Haldane 1945.
    """
    r, k = np.broadcast_arrays(np.atleast_1d(np.asarray(successes, float)), np.atleast_1d(np.asarray(samples, float)))
    if np.any((r < 0) | (k < 1) | (r > k)):
        i = int(np.argmax((r < 0) | (k < 1) | (r > k)))
        raise RunsError(
            f"row {i} has {r[i]:g} successes of {k[i]:g} samples: give counts with 0 <= successes <= samples."
        )
    target = int(r.max()) if wanted is None else wanted
    if target < 1:
        target = 1  # nothing passed anywhere: every row is censored
    censored = r < target
    unbiased = np.where(k > 1, (r - 1) / np.maximum(k - 1, 1), 1.0)
    rate = np.where(censored | (r < 2), r / k, unbiased)
    tail = (1 - level) / 2
    # inverse sampling: the last sample was a success, so the count before it decides the upper end
    low = np.where(r > 0, special.betaincinv(np.maximum(r, 1e-9), k - r + 1, tail), 0.0)
    high_censored = np.where(r < k, special.betaincinv(r + 1, np.maximum(k - r, 1e-9), 1 - tail), 1.0)
    high_stopped = np.where(r < k, special.betaincinv(np.maximum(r, 1e-9), np.maximum(k - r, 1e-9), 1 - tail), 1.0)
    return PassRate(rate, low, np.where(censored, high_censored, high_stopped), censored, level)


def pass_law(
    table: pd.DataFrame, *, x: str = "n_params", successes: str = "successes", samples: str = "samples", **options: Any
) -> Emergence:
    """The task law of PassUntil, -log(pass rate) = c x^-alpha, as a curve from 0 to 1 with forecasts.

    Stopping after r successes and stopping at a cap give the same likelihood as a fixed number of samples, so censored
    rows count for what they are. In the result `power_of_rate` is the task law (alpha = 1.34 / width in decades); the
    other curves stand beside it. options : as for `emergence`.
    """
    for name in (x, successes, samples):
        if name not in table.columns:
            raise RunsError(f"column {name!r} is not in the table; it has {', '.join(map(str, table.columns[:12]))}.")
    used = table.copy()
    pass_until(used[successes].to_numpy(float), used[samples].to_numpy(float))  # refuses impossible counts
    used["pass_rate"] = used[successes] / used[samples]
    return emergence(used, x=x, score="pass_rate", n_items=samples, floor=0.0, ceiling=1.0, **options)


@dataclass(frozen=True)
class OneCurve:
    """Do groups of models share one curve? p_value of the common curve; table: group, middle, width, n_points."""

    p_value: float
    common: Emergence
    table: pd.DataFrame
    by: str

    @property
    def finding(self) -> str:
        """One sentence."""
        if self.p_value >= 0.05:
            said = f"One curve over {self.common.x} serves all {len(self.table)} groups"
        else:
            said = f"The {len(self.table)} groups do not share one curve over {self.common.x}"
        return f"{said} (p = {self.p_value:.2g})."

    def __str__(self) -> str:
        return f"{self.finding}\n\n{self.table.to_string(index=False, float_format=lambda v: f'{v:.4g}')}"


def one_curve(
    table: pd.DataFrame,
    *,
    by: str,
    x: str = "loss",
    score: str = "score",
    n_items: int | str | None = None,
    floor: float | None = 0.0,
    ceiling: float | None = None,
    n_draws: int = 200,
    rng: int | np.random.Generator = 0,
    progress: Report | None = None,
    **options: Any,
) -> OneCurve:
    """The loss view: does the score follow from the loss alone, whatever the family, or has each group its own curve?

    A logistic curve is fitted to all scores and to each group of the column `by` (groups with fewer than 3 scores are left
    out); the gain in likelihood is held against simulated tables in which one curve is the truth, with the scatter
    of the separate curves. progress : called with (work done, work in all); what it raises ends the work.

    Raises RunsError for fewer than two groups. Source: Du et al. 2024, arXiv:2403.15796.
    """
    if by not in table.columns:
        raise RunsError(f"column {by!r} is not in the table; it has {', '.join(map(str, table.columns[:12]))}.")
    generator = np.random.default_rng(rng)
    known = table[np.isfinite(table[[x, score]].astype(float).to_numpy()).all(axis=1)]
    sizes = known.groupby(by)[x].nunique()
    kept = [g for g in sizes.index if sizes[g] >= 3]
    if len(kept) < 2:
        raise RunsError(
            f"column {by!r} has {len(kept)} groups with at least 3 different values of {x!r}: two are needed."
        )
    used = known[known[by].isin(kept)].reset_index(drop=True)
    of_all, of_groups, of_simulated = Bar(progress).parts(1 + n_draws / 250, 0.1, n_draws / 250)
    common = emergence(
        used, x=x, score=score, n_items=n_items, floor=floor, ceiling=ceiling, rng=generator, n_draws=n_draws,
        progress=of_all, **options,
    )  # fmt: skip
    place = common._working(used[x].to_numpy(float))
    trials = common.points["trials"].to_numpy(float)
    successes = trials * used[score].to_numpy(float)
    members = [np.flatnonzero(used[by].to_numpy() == g) for g in kept]
    dof = max(len(used) - len(kept) * common.box.n_free, 1)
    counted = n_items is not None

    def statistic(rows: Array, bar: Bar) -> tuple[Array, Array, Array, list[Array]]:
        of_common, of_members = bar.parts(1, 1)
        together, value = curves.fit_shape(curves.LOGISTIC, place, rows, trials, common.box, of_common)
        apart, chi, fitted = np.zeros(len(rows)), np.zeros(len(rows)), []
        for m, part in zip(members, of_members.each(len(members)), strict=True):
            theta, v = curves.fit_shape(curves.LOGISTIC, place[m], rows[:, m], trials[m], common.box, part)
            apart += v
            chi += curves.pearson(rows[:, m], trials[m], curves.mean(curves.LOGISTIC, place[m], theta))
            fitted.append(theta)
        phi = np.maximum(chi / dof, 1.0 if counted else 1e-8)
        return (apart - value) / phi, phi, together, fitted

    observed, phi, together, fitted = statistic(successes[None], of_groups)
    mu = curves.mean(curves.LOGISTIC, place, together[0])
    simulated = statistic(curves.simulate(mu, trials, float(phi[0]), n_draws, generator), of_simulated)[0]
    p_value = (1 + int(np.sum(simulated >= observed[0] - 1e-9))) / (n_draws + 1)
    rows = [
        {
            by: g,
            "middle": natural_place(float(theta[0, curves.MIDDLE]), common.log_x, common.flipped),
            "width": float(theta[0, curves.WIDTH]),
            "ceiling": float(theta[0, curves.CEILING]),
            "n_points": len(m),
        }
        for g, theta, m in zip(kept, fitted, members, strict=True)
    ]
    return OneCurve(p_value, common, pd.DataFrame(rows), by)
