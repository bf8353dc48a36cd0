"""Many runs: how long until they generalise, where runs that have not are censored and never dropped."""

from __future__ import annotations

import numpy as np
import pandas as pd

from scaling.laws.law import Array


def survival_table(event: pd.Series, last: pd.Series) -> pd.DataFrame:
    """Kaplan-Meier: the share of runs not yet generalised after each step at which one does."""
    time, seen = event.fillna(last).to_numpy(float), event.notna().to_numpy()
    steps = np.unique(time[seen])
    at_risk = np.array([(time >= s).sum() for s in steps], dtype=float)
    events = np.array([((time == s) & seen).sum() for s in steps], dtype=float)
    not_yet = np.cumprod(1 - events / at_risk) if len(steps) else np.array([])
    return pd.DataFrame({"step": steps, "at_risk": at_risk, "generalised": events, "not_yet": not_yet})


def median_ratio(
    memorised: pd.DataFrame, level: float, rng: int, n_resamples: int = 1000
) -> tuple[float, float, float]:
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
        """Censored median of each row of counts (R, n); inf where fewer than half have happened."""
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


def share_interval(k: int, n: int, level: float) -> tuple[float, float, float]:
    """k / n with the exact (Clopper-Pearson) interval."""
    from scipy.special import betaincinv

    if n == 0:
        return (np.nan, 0.0, 1.0)
    tail = (1 - level) / 2
    low = float(betaincinv(k, n - k + 1, tail)) if k else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return (k / n, low, high)
