"""Does an ability appear suddenly with scale? Where, how fast, and what comes next, from scores and their item counts.

A score counts right answers, so its error follows from the number of items, and a score of zero is a bound. Four curves
between chance and a ceiling (three smooth, one with a corner), a line, a step and a constant are fitted by maximum
likelihood; "sudden" is the statement that the rise from 10 to 90 % of the way takes less than a stated number of decades
even for the widest curve the scores allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from scaling.curves import binomial as curves
from scaling.curves.binomial import CEILING, FLOOR, LOGISTIC, MIDDLE, RAMP, SMOOTH, WIDTH, Box, Shape
from scaling.errors import RunsError
from scaling.laws.law import Array
from scaling.progress import Bar, Report

SCHEMA = "scaling.emergence/1"
SHAPES = (*SMOOTH, RAMP)
SHAPE_OF = {s.name: s for s in SHAPES}
SUDDEN_DECADES = 1.0  # the default of what counts as sudden: within a factor of ten
FEWEST_POINTS = 5
FEWEST_SCALES = 4
N_REGION = 2000  # curves that map what the scores allow, of each shape
LEAST_WEIGHT = 0.005  # of a shape, below which forecasts leave it out
CROSSING_ROUNDS, CROSSING_VALUES = 3, 9  # of a search between two values of a profile
INSIDE_FOR_SHAPE = 3  # scales inside the transition, below which its sharpness is only bounded


@dataclass(frozen=True)
class Band:
    """A number with bounds; an infinite or edge bound says that the scores do not bound it on that side."""

    estimate: float
    low: float
    high: float
    level: float

    def to_dict(self) -> dict[str, float | None]:
        return {k: _plain(getattr(self, k)) for k in ("estimate", "low", "high", "level")}


@dataclass(frozen=True)
class Emergence:
    """What a table of scores says about one ability.

    points : one row per score: the scale column, score, n_items, low and high (exact interval for the true rate),
        expected (best curve), inside (between 10 and 90 % of the way).
    models : model, words, n_coefs, deviance, aicc, bic, weight; sorted, the best first.
    theta : {shape: (4,) middle, width, floor, ceiling}, in log10 of the scale where `log_x`.
    verdict : "sudden", "gradual", "undecided" or "no change"; `reason` says why in words.
    width : decades (or units of x) from 10 to 90 % of the way, bounds by profile likelihood over all four curves.
    middle : scale at which half of the way is done, in units of x. ceiling : the score it approaches.
    onset : scale at which the expected score passes chance by `onset_gain`.
    p_change : of a constant score (simulated likelihood ratio). p_corner : of the smooth curves against one with a
        corner or a jump, likewise.
    dispersion : variance of the scores over that of independent items (below 1 a variance where items are not given).
    draws : {shape: (R, 4)}, coefficients given the scores, shapes weighted by AICc: what a chain of models needs.
    region : {shape: (theta (S, 4), drop (S,))}, curves spread over all that the scores allow with the log likelihood each
        loses to the best (over the dispersion); bands of forecasts, onset and ceiling are the extremes over those within
        the critical value, so that they hold at the edge cases where a bell curve does not.
    """

    x: str
    score: str
    log_x: bool
    flipped: bool
    points: pd.DataFrame
    models: pd.DataFrame
    theta: Mapping[str, Array]
    verdict: str
    reason: str
    sudden_width: float | None
    width: Band
    middle: Band
    ceiling: Band
    onset: Band
    onset_gain: float
    p_change: float
    p_corner: float
    dispersion: float
    n_inside: int
    level: float
    draws: Mapping[str, Array] = field(repr=False)
    region: Mapping[str, tuple[Array, Array]] = field(repr=False)
    counted: bool
    box: Box = field(repr=False)
    warnings: tuple[str, ...] = ()

    # --- what follows ------------------------------------------------------------------------------------------------

    @property
    def best(self) -> str:
        """Name of the curve (of the four) with the least AICc."""
        return str(next(m for m in self.models["model"] if m in SHAPE_OF))

    @property
    def unit(self) -> str:
        return "decades" if self.log_x else "units"

    def expected(self, x: Array) -> Array:
        """The best curve's scores (m,) at scales x (m,)."""
        return curves.mean(SHAPE_OF[self.best], self._working(x), self.theta[self.best])

    def score_draws(self, x: Array) -> Array:
        """Expected scores (R, ..., m) at scales x (..., m): each draw is a curve that the observed scores allow.

        Shapes are mixed by their AICc weights, so that the spread contains not knowing the form.
        """
        at = self._working(x)
        parts = []
        for name, theta in self.draws.items():
            shaped = theta.reshape(len(theta), *(1,) * (max(at.ndim, 1) - 1), 4)
            parts.append(curves.mean(SHAPE_OF[name], at, shaped))
        return np.concatenate(parts)

    def forecast(
        self, x: Array | list[float], *, level: float | None = None, n_items: int | None = None
    ) -> pd.DataFrame:
        """Scores to expect at scales x (m,): the x column, score, low, high, and how many decades beyond the data.

        n_items : gives the band of an observed score on that many items instead of the band of the true rate.
        """
        level = self.level if level is None else level
        at = np.atleast_1d(np.asarray(x, float))
        allowed = np.concatenate(
            [curves.mean(SHAPE_OF[k], self._working(at), t) for k, t in self._allowed(level).items()]
        )
        low, high = allowed.min(axis=0), allowed.max(axis=0)
        middle = np.clip(np.median(self.score_draws(at), axis=0), low, high)
        if n_items is not None:
            from scipy.stats import binom

            low = binom.ppf(0.5 - level / 2, int(n_items), low) / n_items
            high = binom.ppf(0.5 + level / 2, int(n_items), high) / n_items
        w, seen = self._working(at), self._working(self.points[self.x].to_numpy(float))
        return pd.DataFrame(
            {self.x: at, "score": middle, "low": low, "high": high, "beyond": np.maximum(w - seen.max(), 0.0)}
        )

    def reaches(self, score: float, *, level: float | None = None) -> Band:
        """The scale at which the expected score passes `score`; inf where the curves that the scores allow never do."""
        level = self.level if level is None else level
        low, mid, high = _reached(self.draws, self._allowed(level), score)
        return _naturally(Band(mid, low, high, level), self.log_x, self.flipped)

    def _allowed(self, level: float) -> dict[str, Array]:
        """Curves {shape: (S, 4)} that the scores do not reject at a level."""
        critical = _critical(level, self.dispersion, self.counted, len(self.points) - self.box.n_free)
        return _within(self.region, critical)

    def held_out(self) -> pd.DataFrame:
        """Leave-one-scale-out log score of each curve: the mean log likelihood per left-out point, the best first."""
        x = self._working(self.points[self.x].to_numpy(float))
        trials = self.points["trials"].to_numpy(float)
        successes = trials * self.points[self.score].to_numpy(float)
        rows = []
        for shape in SHAPES:
            total, count = 0.0, 0
            for place in np.unique(x):
                keep = x != place
                theta, _ = curves.fit_shape(shape, x[keep], successes[None, keep], trials[keep], self.box)
                mu = np.clip(
                    curves.mean(shape, x[~keep], theta[0]), 0.5 / (trials[~keep] + 1), 1 - 0.5 / (trials[~keep] + 1)
                )
                total += float(curves.log_likelihood(successes[~keep], trials[~keep], mu)) / self.dispersion
                count += int((~keep).sum())
            rows.append({"model": shape.name, "log_score": total / count})
        return pd.DataFrame(rows).sort_values("log_score", ascending=False, ignore_index=True)

    # --- documents ---------------------------------------------------------------------------------------------------

    @property
    def finding(self) -> str:
        """One sentence for a reader in a hurry."""
        if self.verdict == "no change":
            return (
                f"No change of {self.score} with {self.x}: one constant rate explains the scores (p = {self.p_change:.2g}); "
                f"{self.reason}."
            )
        opening = {"sudden": "Sudden", "gradual": "Gradual", "undecided": "Undecided", "rise": "A rise"}[self.verdict]
        bounds = f"{_band_text(self.width.low, self.width.high)} {self.unit}"
        corner = (
            f"; a corner or jump fits better than any smooth curve (p = {self.p_corner:.2g})"
            if self.p_corner < 0.05
            else ""
        )
        return (
            f"{opening}: {self.score} goes from 10 to 90 % of the way within {self.width.estimate:.2g} {self.unit} of {self.x} "
            f"({self.level:.0%}: {bounds}), half way at {self.middle.estimate:.3g} "
            f"({_band_text(self.middle.low, self.middle.high)}); {self.reason}{corner}."
        )

    def __str__(self) -> str:
        shown = self.models[["model", "n_coefs", "deviance", "aicc", "weight"]].copy()
        lines = [
            self.finding,
            "",
            shown.to_string(index=False, float_format=lambda v: f"{v:.4g}"),
            "",
            f"chance floor {self.theta[self.best][FLOOR]:.3g}, ceiling {self.ceiling.estimate:.3g} "
            f"({_band_text(self.ceiling.low, self.ceiling.high)}), "
            f"{self.n_inside} of {len(self.points)} scores inside the transition",
            f"passes chance by {self.onset_gain:g} at {self.onset.estimate:.3g} ({_band_text(self.onset.low, self.onset.high)})",
            f"p(constant) = {self.p_change:.3g}, p(no corner) = {self.p_corner:.3g}, dispersion {self.dispersion:.3g}",
        ]
        return "\n".join([*lines, *(f"warning: {w}" for w in self.warnings)])

    def to_dict(self) -> dict[str, Any]:
        """The JSON document `scaling.emergence/1`."""
        return {
            "schema": SCHEMA,
            "finding": self.finding,
            "x": self.x,
            "score": self.score,
            "log_x": self.log_x,
            "verdict": self.verdict,
            "reason": self.reason,
            "sudden_width": self.sudden_width,
            "unit": self.unit,
            "width": self.width.to_dict(),
            "middle": self.middle.to_dict(),
            "ceiling": self.ceiling.to_dict(),
            "onset": {**self.onset.to_dict(), "gain": self.onset_gain},
            "p_change": _plain(self.p_change),
            "p_corner": _plain(self.p_corner),
            "dispersion": _plain(self.dispersion),
            "n_points": len(self.points),
            "n_inside": self.n_inside,
            "best": self.best,
            "models": [{str(k): _plain(v) for k, v in row.items()} for row in self.models.to_dict("records")],
            "coefs": {
                k: dict(zip(("middle", "width", "floor", "ceiling"), map(_plain, v), strict=True))
                for k, v in self.theta.items()
            },
            "points": [{str(k): _plain(v) for k, v in row.items()} for row in self.points.to_dict("records")],
            "warnings": list(self.warnings),
        }

    def _working(self, x: Any) -> Array:
        at = np.asarray(x, float)
        at = np.log10(at) if self.log_x else at
        return -at if self.flipped else at

    def _natural(self, place: float) -> float:
        return _natural(place, self.log_x, self.flipped)


@dataclass(frozen=True)
class _Scores:
    """The table as arrays: working position, successes, trials."""

    table: pd.DataFrame
    x: Array
    successes: Array
    trials: Array
    counted: bool


@dataclass(frozen=True)
class _Fits:
    """Log likelihoods (B,) and coefficients (B, 4) of every model for B rows of successes, and their dispersion (B,)."""

    value: dict[str, Array]
    theta: dict[str, Array]
    flat: Array
    dispersion: Array

    def best_of(self, shapes: tuple[str, ...]) -> Array:
        return np.max([self.value[s] for s in shapes], axis=0)


_SMOOTH_NAMES = tuple(s.name for s in SMOOTH)


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
    is_loss = _is_loss(x)
    log_x = (not is_loss) if log_x is None else log_x
    flipped = is_loss
    if sudden_width is None and log_x:
        sudden_width = SUDDEN_DECADES
    _check_levels(floor, ceiling)
    scores = _scores(table, x, score, n_items, log_x, flipped)
    warnings = _notes(table, scores)
    highest_floor = float(np.clip(np.median(scores.successes / scores.trials), 0.01, 0.9))
    box = curves.box_for(scores.x, floor, ceiling, highest_floor)

    # about the time that each takes: simulated tables are fitted in batches, profiles value by value
    first, simulated, widths, middles, spread = Bar(progress).parts(0.1, n_draws / 250, 0.4, 0.4, 0.2)
    fits = _fit_all(scores.x, scores.successes[None], scores.trials, box, scores.counted, first)
    dispersion = float(fits.dispersion[0])
    models = _model_table(scores, fits, box, dispersion, log_x)
    theta = {s.name: fits.theta[s.name][0] for s in SHAPES}
    best = SHAPE_OF[next(m for m in models["model"] if m in SHAPE_OF)]

    p_change, p_corner = _tests(scores, fits, box, n_draws, generator, simulated)
    critical = _critical(level, dispersion, scores.counted, len(scores.x) - box.n_free)
    width = _profile_band(scores, fits, box, dispersion, WIDTH, critical, level, float(theta[best.name][WIDTH]), widths)
    middle = _profile_band(
        scores, fits, box, dispersion, MIDDLE, critical, level, float(theta[best.name][MIDDLE]), middles
    )

    cells = {
        s.name: curves.likelihood_cells(
            s, scores.x, scores.successes, scores.trials, box, dispersion, fits.theta[s.name][0], part
        )
        for s, part in zip(SHAPES, spread.each(len(SHAPES)), strict=True)
    }
    draws = _draws(models, cells, n_draws, generator)
    region = _region(scores, fits, cells, dispersion, generator)
    allowed = _within(region, critical)
    tops = np.concatenate([t[:, CEILING] for t in allowed.values()])
    base = float(theta[best.name][FLOOR])
    onset = _reached(draws, allowed, base + onset_gain)

    expected = curves.mean(best, scores.x, theta[best.name])
    z = (scores.x - theta[best.name][MIDDLE]) / theta[best.name][WIDTH]
    done = best.curve(z)[0]
    inside = (done > 0.1) & (done < 0.9)
    n_inside = len(np.unique(scores.x[inside]))
    low, high = exact_interval(scores.successes, scores.trials, level)
    if scores.counted and floor and (under := _below(scores, floor)):
        warnings.append(
            f"{under} of {len(scores.x)} scores lie below the chance floor {floor:g} by more than noise: it is not the score "
            "of guessing on this test, and what follows rests on it (0 for exact match, 1 / options for multiple choice)"
        )
    points = pd.DataFrame(
        {
            x: scores.table[x].to_numpy(float),
            score: scores.successes / scores.trials,
            "trials": scores.trials,
            "low": low if scores.counted else np.nan,
            "high": high if scores.counted else np.nan,
            "expected": expected,
            "inside": inside,
        }
    )
    verdict, reason = _verdict(p_change, width, sudden_width, n_inside, 1 - level, scores, floor, log_x, x)
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
        middle=_naturally(middle, log_x, flipped),
        ceiling=Band(float(theta[best.name][CEILING]), float(tops.min()), float(tops.max()), level),
        onset=_naturally(Band(onset[1], onset[0], onset[2], level), log_x, flipped),
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


def exact_interval(successes: Array, trials: Array, level: float = 0.95) -> tuple[Array, Array]:
    """Clopper and Pearson's interval (n,), (n,) for the rate behind each count; zero right answers give (0, about 3.7 / n)."""
    y, n = np.asarray(successes, float), np.asarray(trials, float)
    tail = (1 - level) / 2
    low = np.where(y > 0, special.betaincinv(np.maximum(y, 1e-9), n - y + 1, tail), 0.0)
    high = np.where(y < n, special.betaincinv(y + 1, np.maximum(n - y, 1e-9), 1 - tail), 1.0)
    return low, high


# --- reading the table -------------------------------------------------------------------------------------------------


def _is_loss(column: str) -> bool:
    words = column.lower().replace("/", "_").split("_")
    return "loss" in words or "bpb" in words or "nll" in words


def _check_levels(floor: float | None, ceiling: float | None) -> None:
    if floor is not None and not 0 <= floor < 1:
        raise RunsError(
            f"floor must lie in [0, 1), not {floor!r}: it is the score of guessing, such as 0.25 for four options."
        )
    if ceiling is not None and not (floor or 0.0) < ceiling <= 1:
        raise RunsError(f"ceiling must lie above the floor and at most at 1, not {ceiling!r}.")


def _scores(table: pd.DataFrame, x: str, score: str, n_items: int | str | None, log_x: bool, flipped: bool) -> _Scores:
    columns = [x, score, *([n_items] if isinstance(n_items, str) else [])]
    for name in columns:
        if name not in table.columns:
            raise RunsError(f"column {name!r} is not in the table; it has {', '.join(map(str, table.columns[:12]))}.")
        try:
            pd.to_numeric(table[name])
        except (ValueError, TypeError) as error:
            raise RunsError(
                f"column {name!r} holds values that are not numbers: {error}. Drop or convert them."
            ) from error
    numbers = table[columns].astype(float)
    complete = np.isfinite(numbers.to_numpy()).all(axis=1)
    used = numbers[complete]
    place, rate = used[x].to_numpy(float), used[score].to_numpy(float)
    _refuse(used, (rate < 0) | (rate > 1), score, "outside [0, 1]", "Give rates, not percentages: divide by 100")
    if log_x:
        _refuse(used, place <= 0, x, "not positive", "Drop these rows, or pass log_x=False")
    if len(used) < FEWEST_POINTS or len(np.unique(place)) < FEWEST_SCALES:
        raise RunsError(
            f"{len(used)} scores at {len(np.unique(place))} different values of {x!r} cannot show a transition: "
            f"give at least {FEWEST_POINTS} scores at {FEWEST_SCALES} scales."
        )
    if isinstance(n_items, str):
        trials = used[n_items].to_numpy(float)
        _refuse(used, trials < 1, n_items, "below 1", "It is the number of test items behind the score")
    elif n_items is not None:
        if n_items < 1:
            raise RunsError(
                f"n_items must be at least 1, not {n_items}: it is the number of test items behind each score."
            )
        trials = np.full(len(used), float(n_items))
    else:
        trials = np.ones(len(used))
    at = np.log10(place) if log_x else place
    return _Scores(used, -at if flipped else at, rate * trials, trials, n_items is not None)


def _refuse(used: pd.DataFrame, bad: Array, column: str, what: str, way_out: str) -> None:
    if bad.any():
        rows = ", ".join(str(i) for i in used.index[bad][:5])
        values = ", ".join(f"{v:g}" for v in used[column].to_numpy(float)[bad][:5])
        raise RunsError(f"column {column!r} has {int(bad.sum())} values {what}: rows {rows} ({values}). {way_out}.")


def _below(scores: _Scores, floor: float) -> int:
    """How many scores are four standard errors or more below guessing."""
    error = np.sqrt(floor * (1 - floor) / scores.trials)
    return int((scores.successes / scores.trials < floor - 4 * error).sum())


def _notes(table: pd.DataFrame, scores: _Scores) -> list[str]:
    notes = []
    if dropped := len(table) - len(scores.table):
        notes.append(f"{dropped} of {len(table)} rows have no score or no scale and were left out")
    if not scores.counted:
        notes.append("no number of items given: the noise is taken from the scatter around the curves")
    return notes


# --- fitting ---------------------------------------------------------------------------------------------------------


def _fit_all(x: Array, successes: Array, trials: Array, box: Box, counted: bool, bar: Bar) -> _Fits:
    value: dict[str, Array] = {}
    theta: dict[str, Array] = {}
    *of_shapes, of_line = bar.parts(*(3.0 if s.cornered else 1.0 for s in SHAPES), 0.5)  # corners: more starts
    for shape, part in zip(SHAPES, of_shapes, strict=True):
        theta[shape.name], value[shape.name] = curves.fit_shape(shape, x, successes, trials, box, part)
    theta["step"], value["step"] = curves.fit_step(x, successes, trials, box)
    flat, value["flat"] = curves.fit_flat(successes, trials)
    theta["linear"], value["linear"] = curves.fit_line(x, successes, trials, of_line)
    bar(1, 1)
    dof = max(len(x) - box.n_free, 1)
    means = [curves.mean(s, x, theta[s.name]) for s in SHAPES]
    dispersion = np.min([curves.pearson(successes, trials, m) for m in means], axis=0) / dof
    dispersion = np.maximum(dispersion, 1.0 if counted else 1e-8)
    return _Fits(value, theta, flat, dispersion)


def _model_table(scores: _Scores, fits: _Fits, box: Box, dispersion: float, log_x: bool) -> pd.DataFrame:
    n = len(scores.x)
    observed = curves.log_likelihood(scores.successes, scores.trials, scores.successes / scores.trials)
    extra = 0 if dispersion == 1 else 1
    counts = {s.name: box.n_free for s in SHAPES} | {"step": box.n_free - 1, "linear": 2, "flat": 1}
    words = {s.name: s.words for s in SHAPES} | {
        "step": "two levels with a jump",
        "linear": f"linear in the {'log of the ' if log_x else ''}scale",
        "flat": "one constant rate",
    }
    rows = []
    for name, k in counts.items():
        deviance = max(2 * float(observed - fits.value[name][0]), 0.0) / dispersion
        p = k + extra
        small = 2 * p * (p + 1) / (n - p - 1) if n > p + 1 else np.inf
        rows.append(
            {
                "model": name,
                "words": words[name],
                "n_coefs": k,
                "deviance": deviance,
                "aicc": deviance + 2 * p + small,
                "bic": deviance + p * np.log(n),
            }
        )
    table = pd.DataFrame(rows)
    criterion = table["aicc"] if np.isfinite(table["aicc"]).all() else table["bic"]
    weight = np.exp(-(criterion - criterion.min()) / 2)
    table["weight"] = weight / weight.sum()
    order = criterion.sort_values(kind="stable").index
    return table.loc[order].reset_index(drop=True)


def _tests(
    scores: _Scores, fits: _Fits, box: Box, n_draws: int, rng: np.random.Generator, bar: Bar
) -> tuple[float, float]:
    """p-values of a constant rate, and of the smooth curves against a corner or a jump, both by simulated tables."""
    dispersion = float(fits.dispersion[0])
    flat = np.full(len(scores.x), float(fits.flat[0]))
    name = max(_SMOOTH_NAMES, key=lambda s: float(fits.value[s][0]))
    smooth = curves.mean(SHAPE_OF[name], scores.x, fits.theta[name][0])

    def change(f: _Fits) -> Array:
        return (f.best_of(_SMOOTH_NAMES) - f.value["flat"]) / f.dispersion

    def corner(f: _Fits) -> Array:
        return (f.best_of((RAMP.name, "step")) - f.best_of(_SMOOTH_NAMES)) / f.dispersion

    # a constant rate explains scatter around itself only with the dispersion that it would need
    flat_dispersion = float(curves.pearson(scores.successes, scores.trials, flat)) / max(len(scores.x) - 1, 1)
    flat_dispersion = dispersion if scores.counted else max(flat_dispersion, 1e-8)
    out = []
    claims = ((flat, flat_dispersion, change), (smooth, dispersion, corner))
    for (mu, phi, statistic), part in zip(claims, bar.parts(1, 1), strict=True):
        rows = curves.simulate(mu, scores.trials, phi, n_draws, rng)
        simulated = statistic(_fit_all(scores.x, rows, scores.trials, box, scores.counted, part))
        observed = float(statistic(fits)[0])
        out.append((1 + int(np.sum(simulated >= observed - 1e-9))) / (n_draws + 1))
    return out[0], out[1]


def _critical(level: float, dispersion: float, counted: bool, dof: int) -> float:
    """Half of the scaled deviance that a profile may rise: chi-square, or F where the dispersion was estimated."""
    if counted and dispersion == 1:
        return float(special.chdtri(1, 1 - level)) / 2
    return float(special.fdtri(1, max(dof, 1), level)) / 2


def _profile_band(
    scores: _Scores,
    fits: _Fits,
    box: Box,
    dispersion: float,
    coefficient: int,
    critical: float,
    level: float,
    estimate: float,
    bar: Bar,
) -> Band:
    """Values of a coefficient that some curve reconciles with the scores: the union over the shapes, by profiles."""
    best = max(float(fits.value[s.name][0]) for s in SHAPES)
    low, high = box.low[coefficient], box.high[coefficient]
    own = [float(fits.theta[s.name][0][coefficient]) for s in SHAPES]
    log = coefficient == WIDTH

    def spread(a: float, b: float, n: int) -> Array:
        return np.geomspace(a, b, n) if log else np.linspace(a, b, n)

    coarse, *fine = bar.parts(41, *[CROSSING_VALUES] * 2 * CROSSING_ROUNDS)
    rounds = iter([coarse, *fine])

    def drop(values: Array) -> Array:
        each = [
            curves.profile(s, scores.x, scores.successes, scores.trials, box, coefficient, values, part)
            for s, part in zip(SHAPES, next(rounds).each(len(SHAPES)), strict=True)
        ]
        return (best - np.max(each, axis=0)) / dispersion

    values = np.unique(np.concatenate([spread(low, high, 41), own]))
    allowed = drop(values) <= critical
    allowed |= np.isin(values, own) & (values == own[int(np.argmax([float(fits.value[s.name][0]) for s in SHAPES]))])
    first, last = int(np.argmax(allowed)), len(allowed) - 1 - int(np.argmax(allowed[::-1]))
    lower = (
        _crossing(drop, spread, values[first - 1], values[first], critical) if first > 0 else (0.0 if log else -np.inf)
    )
    upper = _crossing(drop, spread, values[last + 1], values[last], critical) if last + 1 < len(values) else np.inf
    bar(1, 1)
    return Band(estimate, min(lower, estimate), max(upper, estimate), level)


def _crossing(drop: Any, spread: Any, outside: float, inside: float, critical: float) -> float:
    """Where the drop passes the critical value between a value outside and one inside."""
    for _ in range(CROSSING_ROUNDS):
        values = spread(outside, inside, CROSSING_VALUES)
        allowed = drop(values) <= critical
        allowed[-1] = True
        k = int(np.argmax(allowed))
        if k == 0:
            return float(outside)
        outside, inside = float(values[k - 1]), float(values[k])
    return outside  # the conservative end of the last cell


def _draws(
    models: pd.DataFrame, cells: Mapping[str, curves.Cells], n: int, rng: np.random.Generator
) -> dict[str, Array]:
    weights = {str(m): float(w) for m, w in zip(models["model"], models["weight"], strict=True) if m in SHAPE_OF}
    total = sum(weights.values())
    if total <= 0:
        weights, total = {LOGISTIC.name: 1.0}, 1.0
    kept = {m: w / total for m, w in weights.items() if w / total >= LEAST_WEIGHT}
    return {m: cells[m].draw(max(1, round(n * w / sum(kept.values()))), rng) for m, w in kept.items()}


def _region(
    scores: _Scores, fits: _Fits, cells: Mapping[str, curves.Cells], dispersion: float, rng: np.random.Generator
) -> dict[str, tuple[Array, Array]]:
    best = max(float(fits.value[s.name][0]) for s in SHAPES)
    out = {}
    for s in SHAPES:
        spread = [cells[s.name].draw(N_REGION // 2, rng, temper) for temper in (0.3, 0.8)]
        theta = np.concatenate([fits.theta[s.name], *spread])
        value = curves.log_likelihood(scores.successes, scores.trials, curves.mean(s, scores.x, theta))
        out[s.name] = (theta, (best - value) / dispersion)
    return out


def _within(region: Mapping[str, tuple[Array, Array]], critical: float) -> dict[str, Array]:
    """Curves of a region within the critical drop, and always the best one."""
    least = min(float(drop.min()) for _, drop in region.values())
    kept = {k: theta[drop <= max(critical, least)] for k, (theta, drop) in region.items()}
    return {k: theta for k, theta in kept.items() if len(theta)}


def _reached(draws: Mapping[str, Array], allowed: Mapping[str, Array], score: float) -> tuple[float, float, float]:
    """Working positions at which a score is passed: the lowest allowed, the median of the draws, the highest allowed."""
    middle = np.concatenate([_position(SHAPE_OF[k], theta, score) for k, theta in draws.items()])
    ends = np.concatenate([_position(SHAPE_OF[k], theta, score) for k, theta in allowed.items()])
    low, high = float(ends.min()), float(ends.max())
    return low, float(np.clip(np.quantile(middle, 0.5, method="inverted_cdf"), low, high)), high


def _position(shape: Shape, theta: Array, score: float) -> Array:
    """Working positions (R,) at which curves (R, 4) pass a score: -inf always above it, inf never."""
    floor, ceiling = theta[:, FLOOR], theta[:, CEILING]
    with np.errstate(divide="ignore", invalid="ignore"):
        q = np.where(ceiling > floor, (score - floor) / np.maximum(ceiling - floor, 1e-12), np.inf)
    return theta[:, MIDDLE] + theta[:, WIDTH] * curves.inverse(shape, q)


# --- words -----------------------------------------------------------------------------------------------------------


def _verdict(
    p_change: float,
    width: Band,
    sudden_width: float | None,
    n_inside: int,
    alpha: float,
    scores: _Scores,
    floor: float | None,
    log_x: bool,
    x: str,
) -> tuple[str, str]:
    unit = "decades" if log_x else f"units of {x}"
    if p_change >= alpha:
        return "no change", _smallest_visible(scores, floor)
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


def _smallest_visible(scores: _Scores, floor: float | None) -> str:
    if not scores.counted:
        return "without item counts the smallest visible change is not known"
    n, base = float(np.median(scores.trials)), floor or 0.0
    if base == 0:
        return f"with {n:.0f} items a true rate below {3 / n:.2g} reads zero more often than not in 1 of 20 scores"
    return f"with {n:.0f} items a score must pass chance by {1.645 * np.sqrt(base * (1 - base) / n):.2g} to show"


def _natural(place: float, log_x: bool, flipped: bool) -> float:
    place = -place if flipped else place
    if not log_x:
        return float(place)
    return float(10.0**place) if place < 300 else float("inf")


def _naturally(band: Band, log_x: bool, flipped: bool) -> Band:
    a, b = _natural(band.low, log_x, flipped), _natural(band.high, log_x, flipped)
    return Band(_natural(band.estimate, log_x, flipped), min(a, b), max(a, b), band.level)


def _band_text(low: float, high: float) -> str:
    if not np.isfinite(high):
        return f"above {low:.3g}" if np.isfinite(low) and low > 0 else "not bounded"
    if not np.isfinite(low) or low <= 0:
        return f"below {high:.3g}"
    return f"{low:.3g} to {high:.3g}"


def _plain(value: Any) -> Any:
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    number = float(value)
    return number if np.isfinite(number) else None
