"""Is there a rise and then a fall, both larger than noise makes on any curve without a peak?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from scaling.laws.law import Array

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
    counts = effective_counts(logs, centre)
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


def effective_counts(logs: Sequence[Array], centre: str) -> Array:
    """Repeats at each point; a median of three or more is worth 2 / pi of a mean."""
    n = np.array([len(v) for v in logs], float)
    return np.where(n > 2, n * 2 / np.pi, n) if centre == "median" else n
