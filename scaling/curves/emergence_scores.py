"""A table of scores at rising scales, read as counts of right answers, and what it takes to be read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from scaling.errors import RunsError
from scaling.laws.law import Array

FEWEST_POINTS = 5
FEWEST_SCALES = 4


@dataclass(frozen=True)
class Scores:
    """The table as arrays: working position, successes, trials."""

    table: pd.DataFrame
    x: Array
    successes: Array
    trials: Array
    counted: bool


def exact_interval(successes: Array, trials: Array, level: float = 0.95) -> tuple[Array, Array]:
    """Clopper and Pearson's interval (n,), (n,) for the rate behind each count; zero right answers give (0, about 3.7 / n)."""
    y, n = np.asarray(successes, float), np.asarray(trials, float)
    tail = (1 - level) / 2
    low = np.where(y > 0, special.betaincinv(np.maximum(y, 1e-9), n - y + 1, tail), 0.0)
    high = np.where(y < n, special.betaincinv(y + 1, np.maximum(n - y, 1e-9), 1 - tail), 1.0)
    return low, high


def is_loss_column(column: str) -> bool:
    """Whether a scale falls as models improve, by its name."""
    words = column.lower().replace("/", "_").split("_")
    return "loss" in words or "bpb" in words or "nll" in words


def check_levels(floor: float | None, ceiling: float | None) -> None:
    """Raises RunsError unless 0 <= floor < ceiling <= 1, of those that are given."""
    if floor is not None and not 0 <= floor < 1:
        raise RunsError(
            f"floor must lie in [0, 1), not {floor}: it is the score of guessing, such as 0.25 for four options."
        )
    if ceiling is not None and not (floor or 0.0) < ceiling <= 1:
        raise RunsError(f"ceiling must lie above the floor and at most at 1, not {ceiling}.")


def scores_of(table: pd.DataFrame, x: str, score: str, n_items: int | str | None, log_x: bool, flipped: bool) -> Scores:
    """The complete rows of a table as counts; trials are 1 without n_items. Raises RunsError as `emergence` does."""
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
    return Scores(used, -at if flipped else at, rate * trials, trials, n_items is not None)


def _refuse(used: pd.DataFrame, bad: Array, column: str, what: str, way_out: str) -> None:
    if bad.any():
        rows = ", ".join(str(i) for i in used.index[bad][:5])
        values = ", ".join(f"{v:g}" for v in used[column].to_numpy(float)[bad][:5])
        raise RunsError(f"column {column!r} has {int(bad.sum())} values {what}: rows {rows} ({values}). {way_out}.")


def below_chance(scores: Scores, floor: float) -> int:
    """How many scores are four standard errors or more below guessing."""
    error = np.sqrt(floor * (1 - floor) / scores.trials)
    return int((scores.successes / scores.trials < floor - 4 * error).sum())


def notes_on(table: pd.DataFrame, scores: Scores) -> list[str]:
    """What a reader should know of how the table was read."""
    notes = []
    if dropped := len(table) - len(scores.table):
        notes.append(f"{dropped} of {len(table)} rows have no score or no scale and were left out")
    if not scores.counted:
        notes.append("no number of items given: the noise is taken from the scatter around the curves")
    return notes
