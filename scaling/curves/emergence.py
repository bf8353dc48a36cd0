"""Does an ability appear suddenly with scale? Where, how fast, and what comes next, from scores and their item counts.

A score counts right answers, so its error follows from the number of items, and a score of zero is a bound. Four curves
between chance and a ceiling (three smooth, one with a corner), a line, a step and a constant are fitted by maximum
likelihood; "sudden" is the statement that the rise from 10 to 90 % of the way takes less than a stated number of decades
even for the widest curve the scores allow.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from scaling.curves import binomial as curves
from scaling.curves.band import Band, natural_band
from scaling.curves.binomial import CEILING, FLOOR, MIDDLE, WIDTH, Shape
from scaling.curves.emergence_bands import (
    critical_drop,
    draws_by_weight,
    places_reached,
    profile_band,
    region_of_curves,
    within_drop,
)
from scaling.curves.emergence_fits import SHAPE_OF, SHAPES, fit_all, model_table, simulated_tests
from scaling.curves.emergence_result import Emergence
from scaling.curves.emergence_scores import (
    Scores,
    below_chance,
    check_levels,
    exact_interval,
    is_loss_column,
    notes_on,
    scores_of,
)
from scaling.laws.law import Array
from scaling.progress import Bar, Report

__all__ = ["SHAPES", "Band", "Emergence", "emergence", "exact_interval"]

SUDDEN_DECADES = 1.0  # the default of what counts as sudden: within a factor of ten
INSIDE_FOR_SHAPE = 3  # scales inside the transition, below which its sharpness is only bounded


def emergence(
    table: pd.DataFrame,
    *,
    x: str = "flops",
    score: str = "score",
    n_items: int | str | None = None,
    floor: float | None = 0.0,
    ceiling: float | None = None,
    log_x: bool | None = None,
    sudden_width: float | None = None,
    onset_gain: float = 0.05,
    level: float = 0.95,
    n_draws: int = 400,
    rng: int | np.random.Generator = 0,
    progress: Report | None = None,
) -> Emergence:
    """Place, width and suddenness of the rise of a score with scale.

    Parameters
    ----------
    table : one row per evaluated model; rows without a score or a scale are left out and counted in `warnings`.
    x : the scale, rising (flops, n_params, n_tokens, step) or a loss, along which scores fall.
    score : a column of rates in [0, 1].
    n_items : number of test items, one for all or a column; None estimates the noise from the scatter of the scores.
    floor : the score of guessing, 1 / options for multiple choice, 0 for exact match; None estimates it.
    ceiling : the highest score possible; None estimates it, up to 1.
    log_x : whether log10 of the scale is the axis; by default for every column but a loss.
    sudden_width : the width below which a rise is called sudden, default one decade; needed for a loss axis, where
        no default makes sense.
    onset_gain : the onset is where the expected score passes the floor by this much.
    level : of all intervals; the false-claim rate of "sudden" is at most (1 - level) / 2 for the curves considered.
    n_draws : simulated tables for each p-value, and curves for forecasts.
    progress : called with (work done, work in all); what it raises ends the work.

    Returns an Emergence. Raises RunsError for scores outside [0, 1], scales that cannot be logged, too few of them.
    Source: tests and shapes as in Wei et al. 2022, arXiv:2206.07682; Schaeffer et al. 2023, arXiv:2304.15004; Du et al.
    2024, arXiv:2403.15796; Hu et al. 2023, arXiv:2310.03262.
    """
    generator = np.random.default_rng(rng)
    flipped = is_loss_column(x)
    log_x = not flipped if log_x is None else log_x
    if sudden_width is None and log_x:
        sudden_width = SUDDEN_DECADES
    check_levels(floor, ceiling)
    scores = scores_of(table, x, score, n_items, log_x, flipped)
    warnings = notes_on(table, scores)
    highest_floor = float(np.clip(np.median(scores.successes / scores.trials), 0.01, 0.9))
    box = curves.box_for(scores.x, floor, ceiling, highest_floor)

    # about the time that each takes: simulated tables are fitted in batches, profiles value by value
    first, simulated, widths, middles, spread = Bar(progress).parts(0.1, n_draws / 250, 0.4, 0.4, 0.2)
    fits = fit_all(scores.x, scores.successes[None], scores.trials, box, scores.counted, first)
    dispersion = float(fits.dispersion[0])
    models = model_table(scores, fits, box, log_x)
    theta = {s.name: fits.theta[s.name][0] for s in SHAPES}
    best = SHAPE_OF[next(m for m in models["model"] if m in SHAPE_OF)]
    at = theta[best.name]

    p_change, p_corner = simulated_tests(scores, fits, box, n_draws, generator, simulated)
    critical = critical_drop(level, dispersion, scores.counted, len(scores.x) - box.n_free)
    width, middle = (
        profile_band(scores, fits, box, coefficient, critical, level, float(at[coefficient]), part)
        for coefficient, part in ((WIDTH, widths), (MIDDLE, middles))
    )

    cells = {
        s.name: curves.likelihood_cells(
            s, scores.x, scores.successes, scores.trials, box, dispersion, fits.theta[s.name][0], part
        )
        for s, part in zip(SHAPES, spread.each(len(SHAPES)), strict=True)
    }
    draws = draws_by_weight(models, cells, n_draws, generator)
    region = region_of_curves(scores, fits, cells, generator)
    allowed = within_drop(region, critical)
    tops = np.concatenate([t[:, CEILING] for t in allowed.values()])
    onset = places_reached(draws, allowed, float(at[FLOOR]) + onset_gain)
    points = _points(scores, best, at, x, score, level)
    n_inside = len(np.unique(scores.x[points["inside"]]))
    if scores.counted and floor and (under := below_chance(scores, floor)):
        warnings.append(
            f"{under} of {len(scores.x)} scores lie below the chance floor {floor:g} by more than noise: it is not the score "
            "of guessing on this test, and what follows rests on it (0 for exact match, 1 / options for multiple choice)"
        )
    verdict, reason = (
        _verdict(width, sudden_width, n_inside, "decades" if log_x else f"units of {x}")
        if p_change < 1 - level
        else ("no change", _smallest_visible(scores, floor))
    )
    return Emergence(
        x=x,
        score=score,
        log_x=log_x,
        flipped=flipped,
        points=points,
        models=models,
        theta=theta,
        verdict=verdict,
        reason=reason,
        sudden_width=sudden_width,
        width=width,
        middle=natural_band(middle, log_x, flipped),
        ceiling=Band(float(at[CEILING]), float(tops.min()), float(tops.max()), level),
        onset=natural_band(Band(onset[1], onset[0], onset[2], level), log_x, flipped),
        onset_gain=onset_gain,
        p_change=p_change,
        p_corner=p_corner,
        dispersion=dispersion,
        n_inside=n_inside,
        level=level,
        draws=draws,
        region=region,
        counted=scores.counted,
        box=box,
        warnings=tuple(warnings),
    )


def _points(scores: Scores, best: Shape, theta: Array, x: str, score: str, level: float) -> pd.DataFrame:
    """One row per score: observed, with its exact interval, and expected of the best curve, theta (4,)."""
    low, high = exact_interval(scores.successes, scores.trials, level) if scores.counted else (np.nan, np.nan)
    done = best.curve((scores.x - theta[MIDDLE]) / theta[WIDTH])[0]
    return pd.DataFrame(
        {
            x: scores.table[x].to_numpy(float),
            score: scores.successes / scores.trials,
            "trials": scores.trials,
            "low": low,
            "high": high,
            "expected": curves.mean(best, scores.x, theta),
            "inside": (done > 0.1) & (done < 0.9),
        }
    )


def _verdict(width: Band, sudden_width: float | None, n_inside: int, unit: str) -> tuple[str, str]:
    """The verdict on a rise, and its reason in words."""
    few = (
        f"only {n_inside} of the scales lie inside the transition, so the scores bound its width from above and not from below"
        if n_inside < INSIDE_FOR_SHAPE
        else f"{n_inside} scales lie inside the transition"
    )
    if sudden_width is None:
        return "rise", few
    if width.high < sudden_width:
        return "sudden", f"every curve that fits takes less than {sudden_width:g} {unit}; {few}"
    if width.low >= sudden_width:
        return "gradual", f"every curve that fits takes {sudden_width:g} {unit} or more; {few}"
    return "undecided", f"the scores allow widths on both sides of {sudden_width:g} {unit}; {few}"


def _smallest_visible(scores: Scores, floor: float | None) -> str:
    if not scores.counted:
        return "without item counts the smallest visible change is not known"
    n, base = float(np.median(scores.trials)), floor or 0.0
    if base == 0:
        return f"with {n:.0f} items a true rate below {3 / n:.2g} reads zero more often than not in 1 of 20 scores"
    return f"with {n:.0f} items a score must pass chance by {1.645 * np.sqrt(base * (1 - base) / n):.2g} to show"
