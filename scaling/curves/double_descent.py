"""Is there a second descent? Where is the peak, how tall, and which side of it is better?

The claim does not rest on a picture nor on one curve family: a peak is a rise followed by a fall, both larger than noise
makes on *any* curve that only falls, only rises, or is U-shaped (`peak_test`). Its place, height and width come from a
power law with the variance peak of ridge regression, compared with curves that have no peak. Complexity can be measured by
effective parameters instead of size (Curth et al. 2023, arXiv:2310.18988).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from scaling.curves.emergence import Band
from scaling.curves.peak_profile import place_of_top
from scaling.errors import FitError, RunsError
from scaling.fitting import Squared, fit
from scaling.fitting.problem import Problem
from scaling.fitting.scale import Coordinates
from scaling.fitting.solver import solve
from scaling.laws.broken_power_law import broken_power_law
from scaling.laws.double_descent import double_descent_law, ridge_variance, u_shaped_law
from scaling.laws.law import Array, Law
from scaling.progress import Bar, Report

SCHEMA = "scaling.descent/1"
VALUE_COLUMNS = ("test_loss", "test_error", "val_loss", "validation_loss", "loss")
AXIS_COLUMNS = ("width", "n_params", "params", "epoch", "step", "n_samples", "n_tokens")
FEWEST_POINTS = 6
MOST_POINTS = 40  # longer curves are averaged in bins even in log x: their neighbours are not independent
WINDOWS = (1, 2, 3, 5)  # points averaged on each side of a contrast
FEWEST_REPLICATES = 8  # degrees of freedom from which replicates give the noise
N_NULL = 4000
NOISE_FLOOR = 1e-12  # relative noise below which a curve is exact to rounding


@dataclass(frozen=True)
class PeakTest:
    """A rise and then a fall, against every curve without one.

    z : the smaller of the two in standard errors, at the best place and window. p_value : share of noise alone (with the
    noise estimated in the same way) whose largest fall is at least z: no monotone or U-shaped curve does it more often.
    rise, fall : in units of log value. left, peak, right : indices of the window centres. noise : standard deviation of
    one observation of the log value; from_replicates : whether it comes from repeats or from neighbouring points; dof :
    its degrees of freedom, 0 where it comes from neighbours.
    """

    z: float
    p_value: float
    rise: float
    fall: float
    left: int
    peak: int
    right: int
    noise: float
    from_replicates: bool
    dof: int = 0


@dataclass(frozen=True)
class DoubleDescent:
    """What a sweep says about double descent.

    points : axis, value (geometric mean or median over repeats), low, high (interval from the noise), n, and expected
        (the curve with the peak). models : model, n_coefs, rmse_log, aicc, weight; the best first.
    test : the evidence for a peak. found : p_value at most 1 - level.
    peak_at, peak_value : the highest observed point between the two descents; peak_range
    : the stretch of points about it that noise may hide the highest of. fold : observed peak
    over the least value before it, interval from the noise. before, after : (x, value) of the least
        observed value on each side of it. better : "after", "before" or "undecided" at `level`.
    location : where the fitted curve is highest between its two descents, in units of the axis, with the places that the
        runs allow (profile of the fit). Given whether or not a peak is `found`: where it would be if there is one. nan at an
        end that they leave open.
    height, width : of the fitted peak: value at the peak over the trend there; decades over which more than half of the
        excess remains. Intervals from curves simulated from the fit.
    first_rate, second_rate : slopes of ln value in ln axis down to the first minimum and down from the peak.
    recovers_at : smallest x beyond the peak with a value below the least before it; nan where there is none.
    threshold : smallest x at which the training set is fitted; nan where not given. n_samples : as given.
    """

    axis: str
    value: str
    points: pd.DataFrame
    models: pd.DataFrame
    test: PeakTest
    found: bool
    peak_at: float
    peak_range: tuple[float, float]
    peak_value: float
    fold: Band
    before: tuple[float, float]
    after: tuple[float, float]
    better: str
    location: Band
    height: Band
    width: Band
    first_rate: Band
    second_rate: Band
    recovers_at: float
    threshold: float
    n_samples: float
    level: float
    theta: Mapping[str, Array] = field(repr=False)
    laws: Mapping[str, Law] = field(repr=False)
    warnings: tuple[str, ...] = ()

    @property
    def finding(self) -> str:
        """One sentence."""
        sure = f"p = {self.test.p_value:.2g}" if self.test.p_value > 1 / N_NULL else f"p < {1 / N_NULL:.2g}"
        if not self.found:
            best = self.models["model"].iloc[0] if len(self.models) else "none"
            return (
                f"No double descent in {self.value} along {self.axis}: no rise followed by a fall that noise does not "
                f"make ({sure}); the curve with the least AICc is {best.replace('_', ' ')}."
            )
        side = {
            "after": f"the far side is better ({self.after[1]:.3g} at {self.after[0]:.4g} against {self.before[1]:.3g} at "
            f"{self.before[0]:.4g})",
            "before": f"the near side is better ({self.before[1]:.3g} at {self.before[0]:.4g} against {self.after[1]:.3g} "
            f"at {self.after[0]:.4g})",
            "undecided": f"neither side is clearly better ({self.before[1]:.3g} at {self.before[0]:.4g}, "
            f"{self.after[1]:.3g} at {self.after[0]:.4g})",
        }[self.better]
        return (
            f"Double descent: {self.value} peaks at {self.axis} = {self.peak_at:.4g}, {self.fold.estimate:.3g} times its earlier "
            f"minimum ({sure}); {side}."
        )

    def expected(self, x: Array) -> Array:
        """Values (m,) of the fitted curve with a peak at axis values x (m,)."""
        with np.errstate(over="ignore"):
            return self.laws["double_descent"].predict({self.axis: np.asarray(x, float)}, self.theta["double_descent"])

    def worse_than_smaller(self) -> list[tuple[float, float]]:
        """Stretches (from, to) of the axis where the observed value is above its best at smaller x."""
        x, y = self.points[self.axis].to_numpy(float), self.points["value"].to_numpy(float)
        above = y > np.minimum.accumulate(y)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], above.astype(int), [0]])))
        return [(float(x[a]), float(x[b - 1])) for a, b in zip(edges[::2], edges[1::2], strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able values; nan and infinities become None."""
        bands = ("fold", "location", "height", "width", "first_rate", "second_rate")
        return {
            "schema": SCHEMA,
            "finding": self.finding,
            "axis": self.axis,
            "value": self.value,
            "found": self.found,
            "level": self.level,
            "test": {k: _plain(getattr(self.test, k)) for k in PeakTest.__dataclass_fields__},
            "peak": {"at": _plain(self.peak_at), "range": list(self.peak_range), "value": _plain(self.peak_value)},
            "before": {"at": _plain(self.before[0]), "value": _plain(self.before[1])},
            "after": {"at": _plain(self.after[0]), "value": _plain(self.after[1])},
            "better": self.better,
            **{k: getattr(self, k).to_dict() for k in bands},
            "recovers_at": _plain(self.recovers_at),
            "threshold": _plain(self.threshold),
            "n_samples": _plain(self.n_samples),
            "worse_than_smaller": [list(s) for s in self.worse_than_smaller()],
            "coefs": {k: dict(zip(self.laws[k].coef_names, map(float, v), strict=True)) for k, v in self.theta.items()},
            "models": _records(self.models),
            "points": _records(self.points),
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        lines = [self.finding, ""]
        if self.found:
            lines.append(
                f"{'peak':<12} {self.peak_at:.4g}  ({self.peak_range[0]:.4g} to {self.peak_range[1]:.4g}), observed"
            )
            for name in ("fold", "location", "height", "width", "first_rate", "second_rate"):
                b = getattr(self, name)
                low, high = (f"{end:.4g}" if np.isfinite(end) else "open" for end in (b.low, b.high))
                lines.append(f"{name.replace('_', ' '):<12} {b.estimate:.4g}  ({low} to {high})")
            if np.isfinite(self.threshold):
                lines.append(f"{'threshold':<12} {self.threshold:.4g}  (training set fitted)")
            if np.isfinite(self.n_samples):
                lines.append(f"{'n samples':<12} {self.n_samples:.4g}")
            lines.append("")
        lines.append(self.models.to_string(index=False, float_format=lambda v: f"{v:.4g}"))
        return "\n".join([*lines, *(f"note: {w}" for w in self.warnings)])


def double_descent(
    table: pd.DataFrame,
    axis: str | None = None,
    value: str | None = None,
    *,
    replicate: str | None = None,
    centre: str = "mean",
    train: str | None = None,
    fitted_at: float | None = None,
    n_samples: float | None = None,
    level: float = 0.95,
    n_resamples: int = 200,
    rng: int = 0,
    progress: Report | None = None,
) -> DoubleDescent:
    """Test for, locate and measure a double descent along one axis (size, training time or samples).

    Parameters
    ----------
    table : one row per run (or per run and epoch). axis, value : columns, both positive; by default the first of
        AXIS_COLUMNS and VALUE_COLUMNS in the table. Rows with the same axis value are repeats; a warning names columns
        that look like conditions of an experiment among them. An accuracy is analysed as the error 1 - accuracy.
    replicate : column that names the repeat ('seed' when there is one); used when a long curve is averaged in bins.
    centre : "mean" (of logs) or "median" over repeats, for heavy tails.
    train : column of training accuracy (its name holds 'acc') or training error; the threshold is where its centre
        first passes `fitted_at` (0.99, or 0.01 for an error or loss).
    n_samples : training-set size, reported beside the peak. n_resamples : simulated curves behind the intervals.
    progress : called with (work done, work in all); what it raises ends the work.

    Raises RunsError for missing columns, values that are not positive, or fewer than 6 distinct axis values.
    """
    axis = axis or _first(table, AXIS_COLUMNS, "axis")
    value = value or _first(table, VALUE_COLUMNS, "value")
    warnings: list[str] = []
    if value in table and _is_accuracy(value):
        table, value = _as_error(table, value, warnings)
    if centre not in ("mean", "median"):
        raise RunsError(f"centre is 'mean' or 'median', not {centre!r}.")
    if not 0 < level < 1:
        raise RunsError(f"level lies between 0 and 1, not {level}.")
    if replicate is None and "seed" in table:
        replicate = "seed"
    for column in (axis, value, *((train,) if train else ()), *((replicate,) if replicate else ())):
        if column not in table:
            raise RunsError(f"no column {column!r}; columns: {', '.join(map(str, table.columns))}.")
    if pooled := _pooled(table, axis, (value, train, replicate)):
        warnings.append(
            f"rows with the same {axis} differ in {', '.join(pooled)}, and were averaged as repeats: keep one condition "
            f"(--where {pooled[0].partition(' ')[0]}=...) or analyse each (--by {pooled[0].partition(' ')[0]})."
        )
    x_all, y_all = _positive(table, axis), np.log(_positive(table, value))
    x, logs = _collect(x_all, y_all, table[replicate].to_numpy() if replicate else None, warnings)
    if len(x) < FEWEST_POINTS:
        raise RunsError(f"{len(x)} distinct values of {axis!r}; at least {FEWEST_POINTS} are needed to see a peak.")
    bar = Bar(progress)
    of_test, of_families, of_simulated, of_place = bar.parts(1, 6, 1, 3)
    test = peak_test(x, logs, centre=centre)
    of_test(1, 1)
    middle = np.array([np.median(v) if centre == "median" else np.mean(v) for v in logs])
    counts = _effective_counts(logs, centre)
    found = test.p_value <= 1 - level
    if not test.from_replicates:
        warnings.append("no repeats: the noise is estimated from neighbouring points, as if they were independent.")

    y = np.exp(middle)
    inside = slice(test.left, test.right + 1)
    peak = test.left + int(np.argmax(y[inside])) if found else int(np.argmax(y))
    before, after = _least(x, y, 0, peak), _least(x, y, peak + 1, len(x))
    laws, theta, models = _compare(x, y, counts, axis, value, of_families)
    spread = np.maximum(test.noise, NOISE_FLOOR) / np.sqrt(counts)
    draws = _simulate(laws, theta, x, y, axis, spread, n_resamples if found else 0, rng)
    of_simulated(1, 1)
    height, width = _peak_bands(theta.get("double_descent"), draws, x, level)
    location = Band(np.nan, np.nan, np.nan, level)
    if "double_descent" in theta:
        variance = max(test.noise, NOISE_FLOOR) ** 2 if test.from_replicates else 0.0
        place = place_of_top(x, middle, counts, variance, test.dof, level, theta["double_descent"], of_place)
        location = Band(place.estimate, place.low, place.high, level)
    threshold = np.nan
    if train is not None:
        threshold = _threshold(table, x_all, train, fitted_at, warnings)
    z = _normal(0.5 + level / 2)
    expected = np.full(len(x), np.nan)
    if "double_descent" in theta:
        with np.errstate(over="ignore"):
            expected = laws["double_descent"].predict({axis: x}, theta["double_descent"])
    points = pd.DataFrame(
        {
            axis: x,
            "value": y,
            "low": np.exp(middle - z * spread),
            "high": np.exp(middle + z * spread),
            "n": [len(v) for v in logs],
            "expected": expected,
        }
    )
    if found and len(models) and not models["model"].iloc[0].startswith(("double", "broken")):
        warnings.append(
            f"the curve family with the least AICc is {models['model'].iloc[0]}, which has no peak: "
            "trust the observed place more than the fitted one."
        )
    if found and "double_descent" in theta and theta["double_descent"][-1] < 1e-5:
        warnings.append(
            "the fitted peak has no rounded top: its height follows from where the axis happens to be sampled."
        )
    bar(1, 1)
    first_end = int(np.argmin(y[: peak + 1]))
    lower = x > x[peak]
    recovered = np.flatnonzero(lower & (y < before[1])) if np.isfinite(before[1]) else np.array([], int)
    return DoubleDescent(
        axis=axis,
        value=value,
        points=points,
        models=models,
        test=test,
        found=found,
        peak_at=float(x[peak]),
        peak_range=_peak_range(x, middle, counts, test.noise, peak, level),
        peak_value=float(y[peak]),
        fold=_fold(middle, counts, test.noise, peak, level),
        before=before,
        after=after,
        better=_better(logs, middle, counts, test.noise, peak, level),
        location=location,
        height=height,
        width=width,
        first_rate=_rate(x[: first_end + 1], y[: first_end + 1], level),
        second_rate=_rate(x[peak:], y[peak:], level),
        recovers_at=float(x[recovered[0]]) if len(recovered) else np.nan,
        threshold=threshold,
        n_samples=np.nan if n_samples is None else float(n_samples),
        level=level,
        theta=theta,
        laws=laws,
        warnings=tuple(warnings),
    )


def double_descents(
    table: pd.DataFrame, by: str | Sequence[str], *, progress: Report | None = None, **options: Any
) -> dict[Any, DoubleDescent]:
    """`double_descent` for each group of a table (label noise, penalty, ...): {group: result}, groups sorted.

    progress : called with (work done, work in all); what it raises ends the work.
    """
    columns = [by] if isinstance(by, str) else list(by)
    for column in columns:
        if column not in table:
            raise RunsError(f"no column {column!r} to group by; columns: {', '.join(map(str, table.columns))}.")
    groups = list(table.groupby(columns, sort=True))
    return {
        (key[0] if len(columns) == 1 else key): double_descent(rows, **options, progress=part)
        for (key, rows), part in zip(groups, Bar(progress).each(len(groups)), strict=True)
    }


# --- the test ---------------------------------------------------------------------------------------------------------


def peak_test(x: Array, logs: Sequence[Array], *, centre: str = "mean") -> PeakTest:
    """Does the curve rise and then fall by more than noise does on a curve without a peak?

    Parameters
    ----------
    x : (n,) increasing positive axis values. logs : n arrays, the repeats of the log value at each x.

    For each window length and middle window, the contrast with the lowest earlier window (rise) and with the lowest later
    one (fall) in standard errors; the smaller of the two, at its largest. On a curve that only falls then rises, one of the
    two is a fall of pure noise or less, wherever the curve is flat at the most: so the largest fall within independent
    noise, simulated with the same counts and the same estimate of its size, bounds the false claims at every such curve.
    """
    x = np.asarray(x, float)
    middle = np.array([np.median(v) if centre == "median" else np.mean(v) for v in logs])
    counts = _effective_counts(logs, centre)
    df = sum(len(v) - 1 for v in logs)
    replicated = df >= FEWEST_REPLICATES
    if replicated:
        if centre == "median":
            deviations = np.concatenate([v - np.median(v) for v in logs if len(v) > 1])
            noise = float(1.4826 * np.median(np.abs(deviations)) * np.sqrt(len(deviations) / df))
            df = int(0.37 * df)  # efficiency of the median absolute deviation
        else:
            noise = float(np.sqrt(sum(((v - v.mean()) ** 2).sum() for v in logs) / df))
    else:
        noise = float(_neighbour_noise(x, middle[None], counts)[0])
    noise = max(noise, NOISE_FLOOR)

    best: tuple[float, ...] = (-np.inf, 0.0, 0.0, 0, 0, 0)
    for w in _windows(len(x)):
        mean, total = _smooth(middle[None], counts, w)
        mean = mean[0]
        error = noise * np.sqrt(1 / total[:, None] + 1 / total)
        contrast = (mean[:, None] - mean) / error  # [j, k]: window j above window k
        n = len(mean)
        distance = np.arange(n) - np.arange(n)[:, None]
        rise = np.where(distance <= -w, contrast, -np.inf)
        fall = np.where(distance >= w, contrast, -np.inf)
        i, k = rise.argmax(1), fall.argmax(1)
        each = np.minimum(rise.max(1), fall.max(1))
        j = int(each.argmax())
        if each[j] > best[0]:
            h = w // 2
            best = (each[j], mean[j] - mean[i[j]], mean[j] - mean[k[j]], i[j] + h, j + h, k[j] + h)
    null = _null_falls(tuple(np.log(x / x[0])) if not replicated else len(x), tuple(counts), df if replicated else 0)
    p_value = (1 + np.count_nonzero(null >= best[0])) / (1 + len(null))
    return PeakTest(
        z=float(best[0]),
        p_value=float(p_value),
        rise=float(best[1]),
        fall=float(best[2]),
        left=int(best[3]),
        peak=int(best[4]),
        right=int(best[5]),
        noise=noise,
        from_replicates=replicated,
        dof=df if replicated else 0,
    )


@lru_cache(maxsize=256)
def _null_falls(log_x: tuple[float, ...] | int, counts: tuple[float, ...], df: int) -> Array:
    """Largest fall (in estimated standard errors) within noise alone, (N_NULL,): the worst case of curves without a peak."""
    rng = np.random.default_rng(0)
    c = np.array(counts)
    noise = rng.standard_normal((N_NULL, len(c))) / np.sqrt(c)
    if df:
        size = np.sqrt(rng.chisquare(df, N_NULL) / df)
    else:
        assert not isinstance(log_x, int)
        size = _neighbour_noise(np.exp(np.array(log_x)), noise, c)
    largest = np.full(N_NULL, -np.inf)
    for w in _windows(len(c)):
        mean, total = _smooth(noise, c, w)
        for k in range(w, mean.shape[1]):
            falls = (mean[:, : k - w + 1] - mean[:, k : k + 1]) / np.sqrt(1 / total[: k - w + 1] + 1 / total[k])
            np.maximum(largest, falls.max(1), out=largest)
    return largest / size


def _windows(n: int) -> list[int]:
    return [w for w in WINDOWS if w <= max(n // 4, 1)]


def _smooth(values: Array, counts: Array, w: int) -> tuple[Array, Array]:
    """Weighted means (B, n - w + 1) over w neighbours, and the counts in each."""
    total = np.convolve(counts, np.ones(w), "valid")
    cumulative = np.cumsum(np.pad(values * counts, ((0, 0), (1, 0))), axis=1)
    return (cumulative[:, w:] - cumulative[:, :-w]) / total, total


def _neighbour_noise(x: Array, values: Array, counts: Array) -> Array:
    """Noise of one observation (B,) from how far points (B, n) lie off the line through their neighbours in ln x.

    The median of the distances: a peak of a few points does not count; curvature elsewhere errs on the large side.
    """
    t = np.log(x)
    share = (t[1:-1] - t[:-2]) / (t[2:] - t[:-2])
    off = values[:, 1:-1] - (1 - share) * values[:, :-2] - share * values[:, 2:]
    size = np.sqrt(1 / counts[1:-1] + (1 - share) ** 2 / counts[:-2] + share**2 / counts[2:])
    return np.median(np.abs(off) / size, axis=1) / 0.6745


def _effective_counts(logs: Sequence[Array], centre: str) -> Array:
    """Repeats at each point; a median of three or more is worth 2 / pi of a mean."""
    n = np.array([len(v) for v in logs], float)
    return np.where(n > 2, n * 2 / np.pi, n) if centre == "median" else n


# --- curves to compare ------------------------------------------------------------------------------------------------


def _compare(
    x: Array, y: Array, counts: Array, axis: str, value: str, bar: Bar
) -> tuple[dict[str, Law], dict[str, Array], pd.DataFrame]:
    """Fits of each family to the centres in log value, and the table that ranks them."""
    span = (float(x[0]), float(x[-1]))
    laws = {
        "power_law": broken_power_law(0, axis, value, span),
        "u_shaped": u_shaped_law(axis, value),
        "double_descent": double_descent_law(axis, value, span),
        "broken_power_law_2": broken_power_law(2, axis, value, span),
    }
    table = pd.DataFrame({axis: x, value: y})
    theta: dict[str, Array] = {}
    rows = []
    n = len(x)
    for (name, law), _ in zip(laws.items(), bar.each(len(laws)), strict=True):
        try:
            with np.errstate(all="ignore"):  # a coefficient that the sweep does not determine runs to its bound
                result = fit(law, table, Squared(of="log"), weights=counts / counts.mean())
        except FitError:  # too few points for this family
            continue
        if not np.isfinite(result.theta).all():
            continue
        with np.errstate(over="ignore"):  # far from a steep peak its slopes are 0 / inf
            predicted = law.predict({axis: x}, result.theta)
        if not (predicted > 0).all():
            continue
        theta[name] = result.theta
        mean_square = float(np.average((np.log(y) - np.log(predicted)) ** 2, weights=counts))
        k = len(law.coefs) + 1  # and the noise
        aicc = (
            n * np.log(max(mean_square, NOISE_FLOOR**2))
            + 2 * k
            + (2 * k * (k + 1) / (n - k - 1) if n > k + 1 else np.inf)
        )
        rows.append({"model": name, "n_coefs": k - 1, "rmse_log": np.sqrt(mean_square), "aicc": float(aicc)})
    models = pd.DataFrame(rows, columns=["model", "n_coefs", "rmse_log", "aicc"])
    models = models.sort_values("aicc", kind="stable", ignore_index=True)
    weight = np.exp(-0.5 * (models["aicc"] - models["aicc"].min()).to_numpy(float)) if len(models) else np.array([])
    models["weight"] = weight / weight.sum() if len(weight) and np.isfinite(weight).all() else np.nan
    return laws, theta, models


def _simulate(
    laws: Mapping[str, Law], theta: Mapping[str, Array], x: Array, y: Array, axis: str, spread: Array, n: int, rng: int
) -> Array:
    """Coefficients (n, P) of the peaked curve refitted to curves drawn from it.

    The noise is that of the sweep, or the misfit of the curve where that is larger.
    """
    if "double_descent" not in theta or n < 1:
        return np.empty((0, 7))
    law, at = laws["double_descent"], theta["double_descent"]
    with np.errstate(over="ignore"):
        expected = law.predict({axis: x}, at)
    misfit = np.sqrt(np.mean(np.log(y / np.maximum(expected, 1e-300)) ** 2))
    scatter = np.maximum(spread, misfit)[None] * np.random.default_rng(rng).standard_normal((n, len(x)))
    drawn = expected * np.exp(scatter)
    coordinates = Coordinates(law, {})
    upper = np.array([c.upper for c in law.coefs])  # a coefficient at its bound has no working coordinate
    u = coordinates.to_working(np.clip(at, 1e-12, upper * (1 - 1e-6))[None])
    weights = np.broadcast_to((spread.mean() / spread) ** 2, (n, len(x))).copy()
    with np.errstate(all="ignore"):
        solution = solve(
            coordinates, Squared(of="log"), Problem({axis: x}, drawn, weights), np.repeat(u, n, 0), np.ones((n, 1)), 60
        )
        draws = coordinates.to_theta(solution.u)[0]
    return draws[np.isfinite(draws).all(-1)]


def _peak_bands(best: Array | None, draws: Array, x: Array, level: float) -> tuple[Band, Band]:
    """Height and width of the fitted peak, with the spread of the curves drawn from it."""
    if best is None:
        nothing = Band(np.nan, np.nan, np.nan, level)
        return nothing, nothing
    estimates = _describe(best[None], x)
    spread = _describe(draws, x) if len(draws) else tuple(np.full(1, np.nan) for _ in estimates)
    bands = []
    for one, many in zip(estimates, spread, strict=True):
        low, high = np.quantile(many, [0.5 - level / 2, 0.5 + level / 2])
        bands.append(Band(float(one[0]), float(low), float(high), level))
    return bands[0], bands[1]


def _describe(theta: Array, x: Array) -> tuple[Array, Array]:
    """Height over the trend (a ratio) and full width at half excess [decades] of peaks, theta (R, 7).

    Height is the largest over the observed axis values x (n,): between two of them a curve may rise without bound.
    """
    e, a, alpha, tau, place, nu, ridge = np.moveaxis(theta, -1, 0)[..., None]
    with np.errstate(all="ignore"):
        v = ridge_variance((x / place) ** nu, ridge)
        height = np.nanmax(1 + tau * v / (e + a * x**-alpha), axis=-1)
        top = np.nanmax(v, axis=-1)
        nu, ridge = nu[:, 0], ridge[:, 0]
        # V(g) = h  <=>  (1 + g + ridge)^2 (1 - 1 / (2h + 1)^2) = 4 g, a quadratic whose two roots are the flanks
        share = 1 - 1 / (top + 1) ** 2
        b = 2 * (1 + ridge) - 4 / share
        root = np.sqrt(np.maximum(b**2 - 4 * (1 + ridge) ** 2, 0))
        width = np.log10((-b + root) / np.maximum(-b - root, 1e-300)) / nu
    return height, width


# --- observed quantities ----------------------------------------------------------------------------------------------


def _least(x: Array, y: Array, start: int, stop: int) -> tuple[float, float]:
    if stop <= start:
        return (np.nan, np.nan)
    i = start + int(np.argmin(y[start:stop]))
    return float(x[i]), float(y[i])


def _peak_range(x: Array, middle: Array, counts: Array, noise: float, peak: int, level: float) -> tuple[float, float]:
    """Points whose value is not below the highest by more than the noise of a comparison with every other point."""
    behind = (middle[peak] - middle) / (noise * np.sqrt(1 / counts + 1 / counts[peak]))
    close = np.flatnonzero(behind < _normal(1 - (1 - level) / max(len(x) - 1, 1)))
    return float(x[close[0]]), float(x[close[-1]])


def _fold(middle: Array, counts: Array, noise: float, peak: int, level: float) -> Band:
    if peak == 0:
        return Band(np.nan, np.nan, np.nan, level)
    i = int(np.argmin(middle[:peak]))
    up = middle[peak] - middle[i]
    reach = _normal(0.5 + level / 2) * noise * np.sqrt(1 / counts[i] + 1 / counts[peak])
    return Band(float(np.exp(up)), float(np.exp(up - reach)), float(np.exp(up + reach)), level)


def _better(logs: Sequence[Array], middle: Array, counts: Array, noise: float, peak: int, level: float) -> str:
    """Which minimum is lower: by the spread at the two points where both have repeats (a peak is noisier than they are)."""
    from scipy.special import stdtrit

    if peak in (0, len(middle) - 1):
        return "undecided"
    i, k = int(np.argmin(middle[:peak])), peak + 1 + int(np.argmin(middle[peak + 1 :]))
    # minima are chosen, so noise pulls both down: ask for the level of a comparison of all pairs
    q = 1 - (1 - level) / (2 * max(peak, len(middle) - peak - 1))
    bar = _normal(q)
    if min(len(logs[i]), len(logs[k])) > 2:
        df = len(logs[i]) + len(logs[k]) - 2
        noise = float(np.sqrt(sum(((logs[j] - logs[j].mean()) ** 2).sum() for j in (i, k)) / df))
        bar = float(stdtrit(df, q))
    difference = middle[i] - middle[k]
    reach = bar * noise * np.sqrt(1 / counts[i] + 1 / counts[k])
    return "after" if difference > reach else "before" if difference < -reach else "undecided"


def _rate(x: Array, y: Array, level: float) -> Band:
    """Slope of ln y in ln x with its t interval; nan with fewer than 3 points."""
    from scipy.special import stdtrit

    if len(x) < 3:
        return Band(np.nan, np.nan, np.nan, level)
    t, z = np.log(x) - np.log(x).mean(), np.log(y)
    slope = float(t @ z / (t @ t))
    residual = z - z.mean() - slope * t
    reach = float(stdtrit(len(x) - 2, 0.5 + level / 2)) * np.sqrt(residual @ residual / (len(x) - 2) / (t @ t))
    return Band(slope, slope - reach, slope + reach, level)


def _threshold(table: pd.DataFrame, x: Array, train: str, fitted_at: float | None, warnings: list[str]) -> float:
    accuracy = "acc" in train.lower()
    bar = (0.99 if accuracy else 0.01) if fitted_at is None else fitted_at
    values = pd.to_numeric(table[train], errors="coerce").groupby(x).median()
    passed = values.index[(values >= bar) if accuracy else (values <= bar)]
    if not len(passed):
        warnings.append(f"the training set is never fitted: {train} does not pass {bar:g}.")
        return np.nan
    return float(passed[0])


# --- effective parameters ---------------------------------------------------------------------------------------------


def effective_parameters(smoother: Array) -> float:
    """Generalised effective parameters of a linear smoother on a set of points.

    smoother : (m, n), rows are the weights of the n training targets in the prediction at each of m points: n times the
    mean squared length of a row. On the training points of least squares it is the number of features up to n; on new points
    it grows without bound at the threshold and falls beyond it: replotted against it, double descent folds back.
    Raises RunsError unless the matrix is 2-dimensional and finite. Source: Curth et al. 2023, arXiv:2310.18988, eq. 5.
    """
    s = np.asarray(smoother, float)
    if s.ndim != 2 or 0 in s.shape or not np.isfinite(s).all():
        raise RunsError(f"a smoother is a finite matrix (points, training points), not an array of shape {s.shape}.")
    return float(s.shape[1] * np.mean((s**2).sum(axis=1)))


def least_squares_smoother(features: Array, at: Array, ridge: float = 0.0) -> Array:
    """Weights (m, n) of least squares: features (n, p) of the training points, `at` (m, p) of the points predicted.

    ridge = 0 is the minimum-norm solution X0 X^+; otherwise X0 (X'X + n ridge I)^-1 X'.
    """
    x, x0 = np.asarray(features, float), np.asarray(at, float)
    if x.ndim != 2 or x0.ndim != 2 or x.shape[1] != x0.shape[1]:
        raise RunsError(f"features are (n, p) and (m, p); got {x.shape} and {x0.shape}.")
    if ridge < 0:
        raise RunsError(f"a ridge penalty is at least 0, not {ridge}.")
    if ridge == 0:
        return x0 @ np.linalg.pinv(x)
    n, p = x.shape
    if p <= n:
        return x0 @ np.linalg.solve(x.T @ x + n * ridge * np.eye(p), x.T)
    return x0 @ x.T @ np.linalg.inv(x @ x.T + n * ridge * np.eye(n))


def neighbours_smoother(points: Array, at: Array, k: int) -> Array:
    """Weights (m, n) of the mean of the k nearest training points: points (n, d), at (m, d)."""
    x, x0 = np.asarray(points, float), np.asarray(at, float)
    if not 1 <= k <= len(x):
        raise RunsError(f"k neighbours lie between 1 and the {len(x)} training points, not {k}.")
    distance = ((x0[:, None] - x) ** 2).sum(-1)
    out = np.zeros(distance.shape)
    np.put_along_axis(out, np.argsort(distance, axis=1, kind="stable")[:, :k], 1 / k, axis=1)
    return out


# --- input and output -------------------------------------------------------------------------------------------------


def _first(table: pd.DataFrame, names: Sequence[str], option: str) -> str:
    for name in names:
        if name in table:
            return name
    raise RunsError(
        f"none of the columns {', '.join(names)} is in the table ({', '.join(map(str, table.columns))}). "
        f"Name yours with {option}=."
    )


def _is_accuracy(column: str) -> bool:
    return any(word in str(column).lower() for word in ("acc", "score"))


def _as_error(table: pd.DataFrame, value: str, warnings: list[str]) -> tuple[pd.DataFrame, str]:
    """A peak of an accuracy would be its best place: turn it into the error, whose peak is the worst."""
    error = f"error (1 - {value})"
    rate = pd.to_numeric(table[value], errors="coerce")
    if not rate.between(0, 1).all() or (rate == 1).any():
        raise RunsError(
            f"column {value!r} is an accuracy, and double descent is one of an error: 1 - {value} must be positive in "
            "every row. Give rates between 0 and 1, drop rows without any error, or use a loss."
        )
    warnings.append(f"{value} rises as a model improves: its error 1 - {value} is analysed.")
    return table.assign(**{error: 1 - rate}), error


def _pooled(table: pd.DataFrame, axis: str, known: Sequence[str | None]) -> list[str]:
    """Columns that take several values at one axis value, each of them at half of the axis values or more.

    So does a setting that was crossed with the axis; an outcome takes too many values, and what goes with the axis
    takes one at each place.
    """
    out = []
    n_places = table[axis].nunique()
    for column in table.columns:
        if column in (axis, *known) or str(column).lower() in ("seed", "run", "run_id", "replicate", "fold"):
            continue
        places = table.groupby(column, dropna=False)[axis].nunique()
        if len(places) > 1 and (places >= max(2, n_places / 2)).all():
            out.append(f"{column} ({len(places)} values)")
    return out


def _positive(table: pd.DataFrame, column: str) -> Array:
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(float)
    bad = ~(np.isfinite(values) & (values > 0))
    if bad.any():
        row = table.index[bad][0]
        raise RunsError(
            f"column {column!r}, row {row}: {table[column].iloc[int(np.flatnonzero(bad)[0])]!r} is not a positive number "
            f"({int(bad.sum())} such rows). Drop these rows, or name the column you meant."
        )
    return values


def _collect(x: Array, y: Array, replicate: Array | None, warnings: list[str]) -> tuple[Array, list[Array]]:
    """Distinct axis values (n,) and the repeats at each; a long curve is averaged in bins, per repeat."""
    distinct = np.unique(x)
    if len(distinct) <= MOST_POINTS + 1:
        return distinct, [y[x == v] for v in distinct]
    edges = np.geomspace(distinct[0], distinct[-1] * (1 + 1e-9), MOST_POINTS + 1)
    bins = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, MOST_POINTS - 1)
    table = pd.DataFrame({"bin": bins, "x": np.log(x), "y": y, "run": 0 if replicate is None else replicate})
    each = table.groupby(["bin", "run"], sort=True)[["x", "y"]].mean().reset_index()
    warnings.append(f"{len(distinct)} axis values were averaged in {each['bin'].nunique()} bins even in its logarithm.")
    groups = [part for _, part in each.groupby("bin", sort=True)]
    return np.exp([part["x"].mean() for part in groups]), [part["y"].to_numpy(float) for part in groups]


def _normal(q: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(q))


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): _plain(v) for k, v in row.items()} for row in table.to_dict("records")]
