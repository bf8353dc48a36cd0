"""Does a network generalise long after it has memorised? When, how late, how fast, and how the delay moves.

From curves of training and validation accuracy: the step from which the training set is known, the step from which the
rule is, their ratio, and a survival view in which a run that has not generalised by its last step is censored, never
dropped. Measures: Power et al. 2022, arXiv:2201.02177; sustained thresholds as in the logs of the "post-grokking
collapse" study (Na00s/muon-grokking).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from scaling.curves.grokking_delay import DelayLaw, delay_law
from scaling.curves.grokking_measures import LEAST_GAP, measures_of_run, sustained
from scaling.curves.grokking_survival import median_ratio, share_interval, survival_table
from scaling.curves.plain import plain, records, shown
from scaling.errors import RunsError
from scaling.progress import Bar, Report

__all__ = [
    "LEAST_GAP",
    "LEAST_RATIO",
    "RUN_COLUMNS",
    "STATUSES",
    "TRAIN_COLUMNS",
    "VALIDATION_COLUMNS",
    "DelayLaw",
    "Grokking",
    "delay_law",
    "grokking",
    "sustained",
]

SCHEMA = "scaling.grokking/1"
TRAIN_COLUMNS = ("train_acc", "train_accuracy", "acc_train")
VALIDATION_COLUMNS = ("val_acc", "validation_acc", "val_accuracy", "valid_acc", "test_acc", "test_accuracy")
RUN_COLUMNS = ("run", "run_id", "run_name")
STATUSES = ("grokked", "prompt", "memorised only", "not memorised")
LEAST_RATIO = 2.0  # validation this many times later than training, to be called late
FEWEST_STEPS = 10


@dataclass(frozen=True)
class Grokking:
    """What training curves say about delayed generalisation.

    runs : one row per run, in the order of appearance:
        memorised, generalised : first logged step of `sustain` consecutive values at or above the threshold; nan: never.
        delay, ratio : generalised - memorised, generalised / memorised (memorised counted as at least the first
            positive logged step). ratio_low, ratio_high : bounds from the spacing of the log; for a run that has
            memorised only, its last step gives ratio_low and ratio_high is inf.
        gap : training minus validation accuracy, averaged over log steps between the two.
        sharpness : decades of steps in which validation goes from 10 to 90 % of its way.
        first_99, maximum, final, lowest_after, drops_95, drops_90 : of validation; the last three over the steps from
            `generalised` on. last_step : where the run ends. status : one of STATUSES.
    share : share of memorising runs that generalise late, with an exact binomial interval (low, high).
    typical_ratio : median of generalised / memorised with unfinished runs censored (Kaplan-Meier), and its interval
        over runs; inf where fewer than half of the runs have generalised.
    survival : step, at_risk, generalised, not_yet: the share of runs not yet generalised by step.
    """

    runs: pd.DataFrame
    survival: pd.DataFrame
    share: tuple[float, float, float]
    typical_ratio: tuple[float, float, float]
    train_threshold: float
    threshold: float
    sustain: int
    least_ratio: float
    level: float
    warnings: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Runs per status."""
        return {s: int((self.runs["status"] == s).sum()) for s in STATUSES}

    @property
    def found(self) -> bool:
        """Whether any run generalised late."""
        return self.counts["grokked"] > 0

    @property
    def finding(self) -> str:
        """One sentence."""
        n, c = len(self.runs), self.counts
        words = f"{n} run{'s' if n > 1 else ''}"
        waiting = c["memorised only"]
        censored = f"; {waiting} memorised and had not generalised by the last step" if waiting else ""
        if not self.found:
            if waiting == 0 and c["prompt"] == 0:
                return f"No grokking in {words}: no run memorises its training set."
            prompt = f"{c['prompt']} generalised with or soon after the training set" if c["prompt"] else "none so far"
            return f"No grokking in {words}: {prompt}{censored}."
        grokked = self.runs[self.runs["status"] == "grokked"]["ratio"]
        middle = np.exp(np.median(np.log(grokked)))
        spread = f" ({grokked.min():.3g} to {grokked.max():.3g})" if len(grokked) > 1 else ""
        return (
            f"Grokking in {c['grokked']} of {words}: validation reaches {self.threshold:.3g} at {middle:.3g} times the "
            f"step of memorisation{spread}{censored}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able values; nan and infinities become None."""
        return {
            "schema": SCHEMA,
            "finding": self.finding,
            "found": self.found,
            "counts": self.counts,
            "share": dict(zip(("estimate", "low", "high"), map(plain, self.share), strict=True)),
            "typical_ratio": dict(zip(("estimate", "low", "high"), map(plain, self.typical_ratio), strict=True)),
            "level": self.level,
            "thresholds": {
                "train": self.train_threshold,
                "validation": self.threshold,
                "sustain": self.sustain,
                "least_ratio": self.least_ratio,
            },
            "runs": records(self.runs),
            "survival": records(self.survival),
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        columns = ["run", "status", "memorised", "generalised", "ratio", "ratio_low", "ratio_high", "sharpness"]
        lines = [self.finding, "", self.runs[columns].to_string(index=False, float_format=lambda v: f"{v:.4g}")]
        if np.isfinite(self.share[0]):
            middle, low, high = self.typical_ratio
            ratio = f"{middle:.3g} ({low:.3g} to {high:.3g})" if np.isfinite(middle) else "not reached by half of them"
            lines += [
                "",
                f"late among runs that memorise: {self.share[0]:.0%} ({self.share[1]:.0%} to {self.share[2]:.0%}); median "
                f"ratio, unfinished runs censored: {ratio}",
            ]
        return "\n".join([*lines, *(f"note: {w}" for w in self.warnings)])


def grokking(
    curves: pd.DataFrame,
    *,
    train: str | None = None,
    validation: str | None = None,
    step: str = "step",
    run: str | None = None,
    train_threshold: float = 0.999,
    threshold: float = 0.95,
    sustain: int = 5,
    least_ratio: float = LEAST_RATIO,
    level: float = 0.95,
    rng: int = 0,
    progress: Report | None = None,
) -> Grokking:
    """Memorisation, generalisation and the delay between them, for each run of a table of accuracy curves.

    Parameters
    ----------
    curves : one row per (run, step), accuracies in [0, 1]. train, validation, run : column names; by default the first
        of TRAIN_COLUMNS, VALIDATION_COLUMNS and RUN_COLUMNS in the table (without a run column: one run).
    train_threshold, threshold : accuracies that count as memorised and generalised.
    sustain : consecutive logged values at or above the threshold; the step reported is the first of them.
    least_ratio : generalisation at this multiple of the memorisation step, or later, is late.
    progress : called with (work done, work in all); what it raises ends the work.

    A run "grokked" when the ratio is at least `least_ratio` for every pair of steps the spacing of the log allows and
    validation accuracy trailed by LEAST_GAP on average in between: noise around the threshold is no delay.
    Raises RunsError for missing columns, accuracies outside [0, 1], steps repeated in a run, fewer than 10 steps.
    """
    train = train or _first(curves, TRAIN_COLUMNS, "training accuracy", "train")
    validation = validation or _first(curves, VALIDATION_COLUMNS, "validation accuracy", "validation")
    run = run or next((c for c in RUN_COLUMNS if c in curves), None)
    if not (0 < threshold <= 1 and 0 < train_threshold <= 1 and sustain >= 1 and least_ratio > 1 and 0 < level < 1):
        raise RunsError(
            "thresholds are accuracies in (0, 1], sustain at least 1, least_ratio above 1 and level between 0 and 1."
        )
    table = _checked(curves, step, train, validation, run)
    warnings = []
    rows = []
    each = table.groupby("run", sort=False)
    for (name, one), _ in zip(each, Bar(progress).each(each.ngroups), strict=True):
        one = one.sort_values("step")
        if len(one) < max(FEWEST_STEPS, sustain):
            raise RunsError(
                f"run {shown(name)} has {len(one)} logged steps; at least {max(FEWEST_STEPS, sustain)} are needed. "
                "Log more often, or drop the run."
            )
        steps, known, held = (one[c].to_numpy(float) for c in ("step", "train", "validation"))
        rows.append(
            {"run": name, **measures_of_run(steps, known, held, train_threshold, threshold, sustain, least_ratio)}
        )
    runs = pd.DataFrame(rows)
    if (n := int((runs["status"] == "not memorised").sum())) > 0:
        warnings.append(
            f"{n} run(s) never hold a training accuracy of {train_threshold:g}; they tell nothing of delay."
        )
    if (n := int((runs["drops_95"] > 0).sum())) > 0:
        warnings.append(f"{n} run(s) fall below 0.95 again after generalising.")
    memorised = runs[runs["status"] != "not memorised"]
    return Grokking(
        runs=runs,
        survival=survival_table(memorised["generalised"], memorised["last_step"]),
        share=share_interval(int((runs["status"] == "grokked").sum()), len(memorised), level),
        typical_ratio=median_ratio(memorised, level, rng),
        train_threshold=train_threshold,
        threshold=threshold,
        sustain=sustain,
        least_ratio=least_ratio,
        level=level,
        warnings=tuple(warnings),
    )


def _first(table: pd.DataFrame, names: Sequence[str], what: str, option: str) -> str:
    for name in names:
        if name in table:
            return name
    raise RunsError(
        f"no column of {what} (looked for {', '.join(names)}); columns: {', '.join(map(str, table.columns))}. "
        f"Name it with {option}=."
    )


def _checked(curves: pd.DataFrame, step: str, train: str, validation: str, run: str | None) -> pd.DataFrame:
    for column in (step, train, validation, *((run,) if run else ())):
        if column not in curves:
            raise RunsError(f"no column {column!r}; columns: {', '.join(map(str, curves.columns))}.")
    table = pd.DataFrame({"run": curves[run].to_numpy() if run else "run"}, index=curves.index)
    for name, column in (("step", step), ("train", train), ("validation", validation)):
        table[name] = pd.to_numeric(curves[column], errors="coerce").to_numpy(float)
        bad = ~np.isfinite(table[name]) | (table[name] < 0)
        if name != "step":
            bad |= table[name] > 1
        if bad.any():
            row = table.index[bad][0]
            want = "a step of at least 0" if name == "step" else "an accuracy between 0 and 1"
            raise RunsError(
                f"column {column!r}, row {row}: {shown(curves[column].loc[row])} is not {want} ({int(bad.sum())} such rows). "
                "Drop these rows, or name the column you meant."
            )
    if table.empty:
        raise RunsError("the table of curves has no rows.")
    if (twice := table.duplicated(["run", "step"])).any():
        row = table.index[twice][0]
        raise RunsError(
            f"row {row}: step {table['step'].loc[row]:g} of run {shown(table['run'].loc[row])} appears twice. "
            "Give each seed its own run name, or drop the repeats."
        )
    if (table.groupby("run")["step"].max() <= 0).any():
        raise RunsError(f"a run has no step above 0 in column {step!r}; delays are ratios of steps.")
    return table
