"""From which scale does a method help? Score with it less score without it, and the class of many tasks at once.

Chain of thought, tools or retrieval can hurt small models and help large ones. The difference of two conditions is fitted
by a hinge: constant up to a corner, linear in the log of scale beyond it; where it passes zero is the crossing point.
Sources: Wei et al. 2022, arXiv:2201.11903 and arXiv:2206.07682; Schick et al. 2023, arXiv:2302.04761.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from scaling.curves.band import Band
from scaling.curves.emergence import Emergence, emergence
from scaling.errors import RunsError
from scaling.laws.law import Array

FEWEST_PAIRS = 4
N_CORNERS = 60  # places of the corner tried between the second and the last but one scale
LEAST_VARIANCE = 1e-12  # of a difference: two scores of one on every item are not known without error


@dataclass(frozen=True)
class Difference:
    """Score(with) - score(without) along scale.

    points : scale, difference, low, high (interval of that pair), expected, n_models.
    before, after : the constant of the hinge below its corner; its slope per decade beyond. corner : its scale.
    crossing : scale at which the expected difference turns from at most zero to positive; estimate inf where it never
        does within the scales seen, 0 where it is positive at all of them.
    p_change : of one constant difference, p_hinge : of a straight line in log scale (both by simulation).
    worst, best : mean difference over the smaller and the larger half of the scales, each with its interval.
    verdict : "helps beyond a scale", "helps everywhere", "hurts", "no effect", or "undecided".
    """

    x: str
    points: pd.DataFrame
    before: Band
    slope: Band
    corner: Band
    crossing: Band
    p_change: float
    p_hinge: float
    worst: Band
    best: Band
    dispersion: float
    verdict: str
    level: float

    @property
    def finding(self) -> str:
        """One sentence."""
        ends = (
            f"{self.worst.estimate:+.3g} ({self.worst.low:+.3g} to {self.worst.high:+.3g}) over the smaller half of the "
            f"scales, {self.best.estimate:+.3g} ({self.best.low:+.3g} to {self.best.high:+.3g}) over the larger"
        )
        if self.verdict == "helps beyond a scale":
            c = self.crossing
            return (
                f"The method helps beyond {self.x} = {c.estimate:.3g} ({_ends(c)}): {ends} (p = {self.p_change:.2g})."
            )
        words = {
            "helps everywhere": "The method helps at every scale seen",
            "hurts": "The method hurts at every scale seen",
            "no effect": "No effect of the method shows at any scale",
            "undecided": "The effect of the method changes with scale, and where it turns is not decided",
        }[self.verdict]
        return f"{words}: {ends} (p of a change with scale = {self.p_change:.2g})."

    def __str__(self) -> str:
        return f"{self.finding}\n\n{self.points.to_string(index=False, float_format=lambda v: f'{v:.4g}')}"


def difference_of_conditions(
    table: pd.DataFrame,
    *,
    x: str = "flops",
    with_method: str = "score_with",
    without: str = "score_without",
    n_items: int | str | None = None,
    level: float = 0.95,
    n_draws: int = 999,
    rng: int | np.random.Generator = 0,
) -> Difference:
    """The scale from which a method helps.

    Parameters
    ----------
    table : one row per model, with its score in [0, 1] with and without the method.
    n_items : test items behind each score, a number or a column; the two scores then have binomial noise, taken as
        independent (paired items make the difference less noisy than that). None takes the noise from the scatter.
    n_draws : simulated tables behind the p-values and intervals.

    The hinge is fitted by weighted least squares over all corners. Raises RunsError for fewer than 4 scales or scores
    outside [0, 1].
    """
    columns = [x, with_method, without, *([n_items] if isinstance(n_items, str) else [])]
    if missing := [c for c in columns if c not in table]:
        raise RunsError(f"no column {missing[0]!r}; columns: {', '.join(map(str, table.columns))}.")
    used = table[columns].apply(pd.to_numeric, errors="coerce").dropna().sort_values(x, kind="stable")
    a, b, scale = (used[c].to_numpy(float) for c in (with_method, without, x))
    if bad := int(np.sum((a < 0) | (a > 1) | (b < 0) | (b > 1))):
        raise RunsError(
            f"{bad} rows have a score outside [0, 1] in {with_method!r} or {without!r}: give rates, not percentages."
        )
    if (scale <= 0).any():
        raise RunsError(f"column {x!r} holds scales that are not positive, which have no logarithm: drop these rows.")
    if len(np.unique(scale)) < FEWEST_PAIRS:
        raise RunsError(f"{len(np.unique(scale))} different scales; a corner needs {FEWEST_PAIRS} or more.")
    t, d = np.log10(scale), a - b
    if n_items is None:
        variance, counted = np.ones(len(d)), False
    else:
        n = used[n_items].to_numpy(float) if isinstance(n_items, str) else np.full(len(d), float(n_items))
        # one success and one failure added: a score of 0 or 1 is not known without error
        rates = [(r * n + 1) / (n + 2) for r in (a, b)]
        variance, counted = sum(r * (1 - r) / n for r in rates), True
    design = _Designs(t)
    fitted, place, sums = design.fit(d[None], variance)
    expected = fitted[0] @ design.basis(int(place[0])).T
    dof = max(len(d) - 4, 1)
    spread = float(sums["hinge"][0]) / dof
    dispersion = max(spread, 1.0) if counted else max(spread, LEAST_VARIANCE)
    noise = np.sqrt(dispersion * variance)
    generator = np.random.default_rng(rng)
    p_change = design.p_value("flat", d, variance, noise, n_draws, generator)
    p_hinge = design.p_value("line", d, variance, noise, n_draws, generator)
    theta, places, _ = design.fit(expected + noise * generator.standard_normal((n_draws, len(d))), variance)
    corner, corners = float(design.corners[place[0]]), design.corners[places]
    crossings = _crossing(theta, corners, t[0], t[-1])
    at = float(_crossing(fitted, np.array([corner]), t[0], t[-1])[0])
    tails = [0.5 - level / 2, 0.5 + level / 2]

    def band(estimate: float, values: Array) -> Band:
        low, high = np.quantile(values, tails, method="inverted_cdf")
        return Band(estimate, min(float(low), estimate), max(float(high), estimate), level)

    half = len(d) // 2
    weight = 1 / variance
    halves = []
    for part in (slice(0, half), slice(len(d) - half, None)):
        mean = float(np.average(d[part], weights=weight[part]))
        reach = _normal(0.5 + level / 2) * np.sqrt(dispersion / weight[part].sum())
        halves.append(Band(mean, mean - reach, mean + reach, level))
    worst, best = halves
    z = _normal(0.5 + level / 2)
    points = pd.DataFrame(
        {
            x: scale,
            "difference": d,
            "low": d - z * noise,
            "high": d + z * noise,
            "expected": expected,
        }
    )
    changes = p_change < 1 - level
    if changes and best.low > 0 and worst.high < best.low and worst.low <= 0:
        verdict = "helps beyond a scale"
    elif worst.low > 0 and best.low > 0:
        verdict = "helps everywhere"
    elif worst.high < 0 and best.high < 0:
        verdict = "hurts"
    else:
        verdict = (
            "undecided" if changes or best.low > 0 or worst.low > 0 or best.high < 0 or worst.high < 0 else "no effect"
        )
    return Difference(
        x=x,
        points=points,
        before=band(float(fitted[0, 0]), theta[:, 0]),
        slope=band(float(fitted[0, 1]), theta[:, 1]),
        corner=band(10**corner, 10**corners),
        crossing=band(10**at, 10**crossings),
        p_change=p_change,
        p_hinge=p_hinge,
        worst=worst,
        best=best,
        dispersion=dispersion,
        verdict=verdict,
        level=level,
    )


class _Designs:
    """Least squares of a constant, a line and hinges with every corner of a grid, for rows of differences at once."""

    def __init__(self, t: Array) -> None:
        self.t = t
        places = np.unique(t)
        self.corners = np.linspace(places[0], places[-2], N_CORNERS)

    def basis(self, k: int) -> Array:
        return np.column_stack([np.ones_like(self.t), np.maximum(self.t - self.corners[k], 0.0)])

    def fit(self, rows: Array, variance: Array) -> tuple[Array, Array, dict[str, Array]]:
        """Level and slope (B, 2) of the best hinge of each row (B, n), the numbers (B,) of their corners, and the weighted
        sums of squares (B,) of each description."""
        root = 1 / np.sqrt(variance)
        target = rows * root

        def solved(design: Array) -> tuple[Array, Array]:
            scaled = design * root[:, None]
            theta = target @ np.linalg.pinv(scaled).T
            return theta, ((target - theta @ scaled.T) ** 2).sum(axis=1)

        sums = {
            "flat": solved(np.ones((len(self.t), 1)))[1],
            "line": solved(np.column_stack([np.ones_like(self.t), self.t]))[1],
        }
        each = [solved(self.basis(k)) for k in range(len(self.corners))]
        squares = np.array([s for _, s in each])
        place = squares.argmin(axis=0)
        theta = np.array([each[k][0][i] for i, k in enumerate(place)])
        sums["hinge"] = squares.min(axis=0)
        return theta, place, sums

    def p_value(self, null: str, d: Array, variance: Array, noise: Array, n: int, rng: np.random.Generator) -> float:
        """Of the null ("flat" or "line") against the hinge: the relative gain within simulated tables."""
        design = np.ones((len(d), 1)) if null == "flat" else np.column_stack([np.ones_like(self.t), self.t])
        root = 1 / np.sqrt(variance)
        at = design @ (np.linalg.pinv(design * root[:, None]) @ (d * root))

        def gain(sums: dict[str, Array]) -> Array:
            return (sums[null] - sums["hinge"]) / np.maximum(sums["hinge"], 1e-300)

        observed = float(gain(self.fit(d[None], variance)[2])[0])
        simulated = gain(self.fit(at + noise * rng.standard_normal((n, len(d))), variance)[2])
        return (1 + int(np.sum(simulated >= observed - 1e-12))) / (n + 1)


def _crossing(theta: Array, corners: Array, first: float, last: float) -> Array:
    """Log scale (B,) where hinges (B, 2) turn positive: -inf where they are from the first scale on, inf never by the last."""
    level, slope = theta.T
    with np.errstate(divide="ignore", invalid="ignore"):
        at = corners - level / slope
    at = np.where((level <= 0) & (slope > 0), at, np.inf)
    at = np.where(at > last, np.inf, at)
    return np.where(level > 0, np.where(slope < 0, np.inf, -np.inf), at)


def classify_tasks(
    table: pd.DataFrame,
    *,
    task: str = "task",
    x: str = "flops",
    score: str = "score",
    n_items: int | str | None = None,
    floor: float | str | None = 0.0,
    n_draws: int = 199,
    rng: int = 0,
    **options: Any,
) -> pd.DataFrame:
    """Flat, smooth or sharp: the verdict of `emergence` for every task of a long table of scores.

    Returns one row per task: task, class ("flat", "smooth", "sharp" or "undecided"), width with bounds [decades], onset,
    p_change, n_models, note. floor : the chance score, one for all or the name of a column. A task that cannot be
    analysed (too few scales) has the class "unknown" and says why in `note`. The false-claim rates of each verdict are
    those of `emergence`, per task: among many tasks some are wrong.
    """
    for name in (task, x, score, *([floor] if isinstance(floor, str) else [])):
        if name not in table:
            raise RunsError(f"no column {name!r}; columns: {', '.join(map(str, table.columns))}.")
    classes = {
        "no change": "flat",
        "gradual": "smooth",
        "sudden": "sharp",
        "undecided": "undecided",
        "rise": "undecided",
    }
    rows = []
    for key, part in table.groupby(task, sort=True):
        chance = float(part[floor].iloc[0]) if isinstance(floor, str) else floor
        row: dict[str, Any] = {task: key, "n_models": len(part)}
        try:
            found = emergence(
                part, x=x, score=score, n_items=n_items, floor=chance, n_draws=n_draws, rng=rng, **options
            )
        except RunsError as error:
            rows.append({**row, "class": "unknown", "note": str(error)})
            continue
        rows.append(
            {
                **row,
                "class": classes[found.verdict],
                **(_rise(found) if found.verdict != "no change" else {}),
                "p_change": found.p_change,
                "note": found.reason,
            }
        )
    columns = [task, "class", "width", "width_low", "width_high", "onset", "p_change", "n_models", "note"]
    return pd.DataFrame(rows).reindex(columns=columns)


def _rise(found: Emergence) -> dict[str, float]:
    """Where and how wide; a flat task has neither."""
    width = found.width
    return {"width": width.estimate, "width_low": width.low, "width_high": width.high, "onset": found.onset.estimate}


def _ends(band: Band) -> str:
    low = f"{band.low:.3g}" if band.low > 0 else "below the scales seen"
    high = f"{band.high:.3g}" if np.isfinite(band.high) else "not within them"
    return f"{low} to {high}"


def _normal(q: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(q))
