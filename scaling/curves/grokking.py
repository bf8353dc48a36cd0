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

from scaling.errors import RunsError
from scaling.laws.law import Array
from scaling.progress import Bar, Report

SCHEMA = "scaling.grokking/1"
TRAIN_COLUMNS = ("train_acc", "train_accuracy", "acc_train")
VALIDATION_COLUMNS = ("val_acc", "validation_acc", "val_accuracy", "valid_acc", "test_acc", "test_accuracy")
RUN_COLUMNS = ("run", "run_id", "run_name")
STATUSES = ("grokked", "prompt", "memorised only", "not memorised")
LEAST_RATIO = 2.0  # validation this many times later than training, to be called late
LEAST_GAP = 0.2  # accuracy by which validation trails on average (in log time) during the delay
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
            "share": dict(zip(("estimate", "low", "high"), map(_plain, self.share), strict=True)),
            "typical_ratio": dict(zip(("estimate", "low", "high"), map(_plain, self.typical_ratio), strict=True)),
            "level": self.level,
            "thresholds": {
                "train": self.train_threshold,
                "validation": self.threshold,
                "sustain": self.sustain,
                "least_ratio": self.least_ratio,
            },
            "runs": _records(self.runs),
            "survival": _records(self.survival),
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
                f"run {name!r} has {len(one)} logged steps; at least {max(FEWEST_STEPS, sustain)} are needed. "
                "Log more often, or drop the run."
            )
        steps, known, held = (one[c].to_numpy(float) for c in ("step", "train", "validation"))
        rows.append({"run": name, **_measure(steps, known, held, train_threshold, threshold, sustain, least_ratio)})
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
        survival=_survival(memorised["generalised"], memorised["last_step"]),
        share=_share(int((runs["status"] == "grokked").sum()), len(memorised), level),
        typical_ratio=_typical(memorised, level, rng),
        train_threshold=train_threshold,
        threshold=threshold,
        sustain=sustain,
        least_ratio=least_ratio,
        level=level,
        warnings=tuple(warnings),
    )


def sustained(steps: Array, values: Array, threshold: float, count: int) -> int:
    """Index of the first of `count` consecutive values at or above the threshold, or -1. steps, values : (n,)."""
    above = np.concatenate([[0], np.cumsum(np.asarray(values) >= threshold)])
    if len(values) < count:
        return -1
    starts = np.flatnonzero(above[count:] - above[:-count] == count)
    return int(starts[0]) if len(starts) else -1


def _measure(
    steps: Array, train: Array, val: Array, train_threshold: float, threshold: float, sustain: int, least_ratio: float
) -> dict[str, Any]:
    i, j = sustained(steps, train, train_threshold, sustain), sustained(steps, val, threshold, sustain)
    first_positive = steps[steps > 0][0]

    def before(k: int) -> float:
        return max(steps[k - 1] if k else 0.0, first_positive)

    def at(k: int) -> float:
        return max(steps[k], first_positive)

    out: dict[str, Any] = {
        "memorised": steps[i] if i >= 0 else np.nan,
        "generalised": steps[j] if j >= 0 else np.nan,
        "delay": steps[j] - steps[i] if min(i, j) >= 0 else np.nan,
        "ratio": np.nan,
        "ratio_low": np.nan,
        "ratio_high": np.nan,
        "gap": np.nan,
        "status": "not memorised",
    }
    if i >= 0:
        until = j if j >= 0 else len(steps) - 1
        out["ratio_low"] = (before(j) if j >= 0 else at(until)) / at(i)
        out["ratio_high"] = at(j) / before(i) if j >= 0 else np.inf
        out["ratio"] = at(j) / at(i) if j >= 0 else np.nan
        if until > i:
            t = np.log(np.maximum(steps[i : until + 1], first_positive))
            trailing = train[i : until + 1] - val[i : until + 1]
            span = t[-1] - t[0]
            out["gap"] = float(np.sum((trailing[1:] + trailing[:-1]) / 2 * np.diff(t)) / span) if span > 0 else 0.0
        else:
            out["gap"] = 0.0
        late = out["ratio_low"] >= least_ratio and out["gap"] >= LEAST_GAP
        out["status"] = "memorised only" if j < 0 else "grokked" if late else "prompt"
    out["sharpness"] = _sharpness(steps, val, j, sustain, first_positive)
    above = np.flatnonzero(val >= 0.99)
    after = val[j:] if j >= 0 else np.array([])
    return out | {
        "first_99": steps[above[0]] if len(above) else np.nan,
        "maximum": val.max(),
        "final": val[-1],
        "lowest_after": after.min() if len(after) else np.nan,
        "drops_95": float((after < 0.95).sum()) if len(after) else np.nan,
        "drops_90": float((after < 0.90).sum()) if len(after) else np.nan,
        "last_step": steps[-1],
    }


def _sharpness(steps: Array, val: Array, j: int, sustain: int, first_positive: float) -> float:
    """Decades from 10 to 90 % of the way between the start and the level reached when the threshold is held."""
    if j < 0:
        return np.nan
    start, top = val[0], np.median(val[j : j + sustain])
    low, high = (start + share * (top - start) for share in (0.1, 0.9))
    reached = np.flatnonzero(val[: j + 1] >= high)
    end = reached[0] if len(reached) else j
    below = np.flatnonzero(val[: end + 1] <= low)
    begin = below[-1] if len(below) else 0
    t = np.log10(np.maximum(steps[[begin, end]], first_positive))
    return float(t[1] - t[0])


# --- many runs --------------------------------------------------------------------------------------------------------


def _survival(event: pd.Series, last: pd.Series) -> pd.DataFrame:
    """Kaplan-Meier: the share of runs not yet generalised after each step at which one does."""
    time, seen = event.fillna(last).to_numpy(float), event.notna().to_numpy()
    steps = np.unique(time[seen])
    at_risk = np.array([(time >= s).sum() for s in steps], dtype=float)
    events = np.array([((time == s) & seen).sum() for s in steps], dtype=float)
    not_yet = np.cumprod(1 - events / at_risk) if len(steps) else np.array([])
    return pd.DataFrame({"step": steps, "at_risk": at_risk, "generalised": events, "not_yet": not_yet})


def _typical(memorised: pd.DataFrame, level: float, rng: int, n_resamples: int = 1000) -> tuple[float, float, float]:
    """Median ratio with unfinished runs censored, and its interval over resampled runs."""
    if memorised.empty:
        return (np.nan, np.nan, np.nan)
    seen = memorised["generalised"].notna().to_numpy()
    ratio = np.where(seen, memorised["ratio"], memorised["ratio_low"]).astype(float)

    # in order of ratio, what happened before what was only waited for: tied events then multiply to the same share
    order = np.lexsort((~seen, ratio))
    ratio, seen = ratio[order], seen[order]
    n = len(ratio)

    def medians(counts: Array) -> Array:
        at_risk = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]
        not_yet = np.cumprod(1 - np.where(seen, counts, 0) / np.maximum(at_risk, 1), axis=1)
        passed = not_yet <= 0.5 + 1e-12
        return np.where(passed.any(1), ratio[passed.argmax(1)], np.inf)

    middle = float(medians(np.ones((1, n)))[0])
    if n == 1:
        return (middle, float(memorised["ratio_low"].iloc[0]), float(memorised["ratio_high"].iloc[0]))
    generator = np.random.default_rng(rng)
    draws = np.sort(medians(generator.multinomial(n, np.full(n, 1 / n), n_resamples).astype(float)))
    # order statistics, not interpolation: a median may be infinite
    low, high = (draws[round(q * (n_resamples - 1))] for q in (0.5 - level / 2, 0.5 + level / 2))
    return (middle, float(low), float(high))


def _share(k: int, n: int, level: float) -> tuple[float, float, float]:
    """k / n with the exact (Clopper-Pearson) interval."""
    from scipy.special import betaincinv

    if n == 0:
        return (np.nan, 0.0, 1.0)
    tail = (1 - level) / 2
    low = float(betaincinv(k, n - k + 1, tail)) if k else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return (k / n, low, high)


# --- the delay as a law -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DelayLaw:
    """How the generalisation step moves with a setting, with unfinished runs as lower bounds.

    models : model, equation, n_coefs, log_likelihood, aicc; the best first.
    coefs : of each model, coefficient, estimate, low, high (normal interval from the observed information; nan where
        the runs do not determine it).
    """

    over: str
    models: pd.DataFrame
    coefs: pd.DataFrame
    n_runs: int
    n_censored: int
    level: float

    @property
    def best(self) -> str:
        return str(self.models["model"].iloc[0])

    @property
    def finding(self) -> str:
        """One sentence."""
        rows = self.coefs[self.coefs["model"] == self.best].set_index("coef")
        slope = rows.loc[{"power": "k", "exponential": "s", "critical": "k"}[self.best]]
        name = {"power": "falls as the power", "exponential": "falls at the rate", "critical": "diverges with power"}
        return (
            f"The step of generalisation {name[self.best]} {slope['estimate']:.3g} ({slope['low']:.3g} to "
            f"{slope['high']:.3g}) of {self.over}, from {self.n_runs} runs of which {self.n_censored} had not "
            f"generalised; the form with the least AICc is {self.models['equation'].iloc[0]}."
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "finding": self.finding,
            "over": self.over,
            "models": _records(self.models),
            "coefs": _records(self.coefs),
            "n_runs": self.n_runs,
            "n_censored": self.n_censored,
            "level": self.level,
        }

    def __str__(self) -> str:
        tables = [t.to_string(index=False, float_format=lambda v: f"{v:.4g}") for t in (self.models, self.coefs)]
        return "\n\n".join([self.finding, *tables])


def delay_law(runs: pd.DataFrame, over: str, *, level: float = 0.95) -> DelayLaw:
    """Generalisation step t against a setting v: t = c v^-k, t = c exp(-s v), t = c (v - v_c)^-k, by AICc.

    Parameters
    ----------
    runs : columns `over` (positive), `generalised` (nan: not yet) and `last_step`; for example `Grokking.runs` with the
        setting joined on.

    v is counted from the smallest setting that generalised, so that c is a number of steps: the equations of the result
    say so. Log-normal scatter about the law with right-censored likelihood. Raises RunsError when fewer than 4 runs have
    generalised, or the setting takes fewer than 3 values.
    Source: Power et al. 2022 (exponential in the data fraction); the divergence at a critical value is this package's.
    """
    from scipy.optimize import minimize
    from scipy.special import log_ndtr, ndtri

    for column in (over, "generalised", "last_step"):
        if column not in runs:
            raise RunsError(f"no column {column!r} in the table of runs; columns: {', '.join(map(str, runs.columns))}.")
    v = runs[over].to_numpy(float)
    seen = runs["generalised"].notna().to_numpy()
    t = np.where(seen, runs["generalised"], runs["last_step"]).astype(float)
    if not (np.isfinite(v) & (v > 0) & np.isfinite(t) & (t > 0)).all():
        raise RunsError(
            f"{over!r} and the steps must be positive numbers in every run: leave runs at zero out (--where '{over}>0')."
        )
    if seen.sum() < 4 or len(np.unique(v)) < 3:
        raise RunsError(
            f"a law over {over!r} needs at least 4 runs that generalised and 3 values of {over!r}; there are "
            f"{int(seen.sum())} and {len(np.unique(v))}."
        )
    y, edge = np.log(t), float(v[seen].min())

    def mean(name: str, q: Array) -> Array:
        if name == "power":
            return q[0] - q[1] * np.log(v / edge)
        if name == "exponential":
            return q[0] - q[1] * (v - edge)
        # the critical value lies below the smallest setting that generalised; runs at or below it never do
        distance = np.maximum(v - edge / (1 + np.exp(-np.clip(q[2], -50, 50))), 1e-12 * edge)
        return q[0] - q[1] * np.log(distance / edge)

    def cost(q: Array, name: str) -> float:
        z = (y - mean(name, q)) * np.exp(-q[-1])
        return float(-np.sum(np.where(seen, -0.5 * z**2 - q[-1] - 0.5 * np.log(2 * np.pi), log_ndtr(-z))))

    equations = {
        "power": (f"t = c (v / {edge:.4g})^-k", ("c", "k")),
        "exponential": (f"t = c exp(-s (v - {edge:.4g}))", ("c", "s")),
        "critical": (f"t = c ((v - v_c) / {edge:.4g})^-k", ("c", "k", "v_c")),
    }
    slope, level_at = np.polyfit(np.log(v / edge), y, 1)
    z_level = float(ndtri(0.5 + level / 2))
    n = len(v)
    models, coefs = [], []
    for name, (equation, names) in equations.items():
        guesses = [[level_at, -slope, 0.0]]
        if name == "exponential":
            slope_linear = np.polyfit(v - edge, y, 1)
            guesses = [[slope_linear[1], -slope_linear[0], 0.0]]
        if name == "critical":
            guesses = [[level_at, -slope / 2, w, 0.0] for w in (-3.0, 0.0, 2.0, 4.0)]
        fits = []
        for guess in guesses:
            options = {"maxiter": 4000, "maxfev": 4000, "xatol": 1e-8, "fatol": 1e-10}
            fits.append(minimize(cost, guess, args=(name,), method="Nelder-Mead", options=options))
        best = min(fits, key=lambda f: f.fun)
        q, k = best.x, len(best.x)
        error = _standard_errors(lambda p, name=name: cost(p, name), q)
        aicc = 2 * best.fun + 2 * k + (2 * k * (k + 1) / (n - k - 1) if n > k + 1 else np.inf)
        models.append(
            {"model": name, "equation": equation, "n_coefs": k, "log_likelihood": -best.fun, "aicc": float(aicc)}
        )
        for m, coef in enumerate(names):
            bounds = np.array([q[m], q[m] - z_level * error[m], q[m] + z_level * error[m]])
            if coef == "v_c":
                bounds = edge / (1 + np.exp(-np.clip(bounds, -50, 50)))
            if coef == "c":  # at the smallest setting that generalised, where it has a unit of steps
                bounds = np.exp(bounds)
            coefs.append({"model": name, "coef": coef, **dict(zip(("estimate", "low", "high"), bounds, strict=True))})
    return DelayLaw(
        over=over,
        models=pd.DataFrame(models).sort_values("aicc", kind="stable", ignore_index=True),
        coefs=pd.DataFrame(coefs),
        n_runs=n,
        n_censored=int((~seen).sum()),
        level=level,
    )


def _standard_errors(cost: Any, q: Array) -> Array:
    """Square roots of the diagonal of the inverse Hessian (central differences); nan where it is not positive."""
    k, h = len(q), 1e-4 * np.maximum(np.abs(q), 1.0)
    hessian = np.empty((k, k))
    for a in range(k):
        for b in range(a, k):
            ea, eb = np.eye(k)[a] * h, np.eye(k)[b] * h
            second = cost(q + ea + eb) - cost(q + ea - eb) - cost(q - ea + eb) + cost(q - ea - eb)
            hessian[a, b] = hessian[b, a] = second / (4 * h[a] * h[b])
    values = np.linalg.eigvalsh(hessian)
    if not np.isfinite(values).all() or values.min() <= 1e-10 * values.max():
        return np.full(k, np.nan)
    return np.sqrt(np.diag(np.linalg.inv(hessian)))


# --- input and output -------------------------------------------------------------------------------------------------


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
                f"column {column!r}, row {row}: {curves[column].loc[row]!r} is not {want} ({int(bad.sum())} such rows). "
                "Drop these rows, or name the column you meant."
            )
    if table.empty:
        raise RunsError("the table of curves has no rows.")
    if (twice := table.duplicated(["run", "step"])).any():
        row = table.index[twice][0]
        raise RunsError(
            f"row {row}: step {table['step'].loc[row]:g} of run {table['run'].loc[row]!r} appears twice. "
            "Give each seed its own run name, or drop the repeats."
        )
    if (table.groupby("run")["step"].max() <= 0).any():
        raise RunsError(f"a run has no step above 0 in column {step!r}; delays are ratios of steps.")
    return table


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): _plain(v) for k, v in row.items()} for row in table.to_dict("records")]
