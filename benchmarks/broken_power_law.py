"""Broken power laws of one and two breaks on many curves, beside scipy's curve_fit from 200 random starts for each curve.

    python benchmarks/broken_power_law.py [--quick | --sample N] [--data DIR]

The 17 points of Caballero et al. and 100 learning curves of LCDB, each law in one call over all curves. Both minimise the
squared error of ln y in the same coordinates (logs of a, b, d and f). curve_fit runs with its defaults; a start is drawn
in the ranges that a user reads off a plot, with b such that the curve begins at the first point. With --sample scipy's time
is that of some curves, scaled, and the table says so. Seconds are of one core's CPU.
"""

# ruff: noqa: E402
from __future__ import annotations

import os

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # one core for everyone; before numpy is imported

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import OptimizeWarning, curve_fit

from scaling.fitting import FitResult, fit
from scaling.laws import broken_power_law

DATA = Path(__file__).resolve().parents[2] / "shared" / "reference-data"
ADDITION = "4_digit_addition"
N_CURVES = 100  # of LCDB, beside the one of addition
MIN_POINTS = 14  # two more than the coefficients of three breaks: the same curves serve every law
NO_WORSE = 1e-3  # relative excess of the objective that counts as the same fit
Array = np.ndarray


def read(folder: Path) -> pd.DataFrame:
    """The curves, long: group, dataset_size, loss. Of LCDB the first 100 by name that are long enough and never zero."""
    addition = pd.read_csv(folder / "bnsl-4digit-addition" / "runs.csv")[["group", "dataset_size", "loss"]]
    lcdb = pd.read_csv(folder / "lcdb-learning-curves" / "runs.csv.gz").rename(columns={"error_rate": "loss"})
    by_group = lcdb.groupby("group")
    usable = (by_group.size() >= MIN_POINTS) & (by_group["loss"].min() > 0)
    names = sorted(usable.index[usable])
    # spread over data sets and learners: every k-th name
    chosen = [names[i] for i in np.linspace(0, len(names) - 1, N_CURVES).round().astype(int)]
    return pd.concat([addition, lcdb[lcdb["group"].isin(chosen)][["group", "dataset_size", "loss"]]], ignore_index=True)


def log_curve(log_x: Array, *u: float) -> Array:
    """ln y for u = (ln a, ln b, c0, then c, ln d, ln f of each break), as a user of scipy writes it."""
    log_a, log_b, c0, *breaks = u
    out = log_b - c0 * log_x
    for c, log_d, log_f in zip(breaks[::3], breaks[1::3], breaks[2::3], strict=True):
        f = np.exp(log_f)
        out = out - c * f * np.logaddexp(0.0, (log_x - log_d) / f)
    return np.logaddexp(log_a, out)


def random_start(log_x: Array, log_y: Array, n_breaks: int, rng: np.random.Generator) -> Array:
    """Floor below the lowest point, breaks inside the curve, exponents and widths of plausible size."""
    start = [log_y.min() + np.log(rng.uniform(0.01, 1.0)), 0.0, rng.uniform(0.0, 1.0)]
    for _ in range(n_breaks):
        start += [
            rng.uniform(-1.0, 2.0),
            rng.uniform(log_x.min(), log_x.max()),
            np.log(0.05) + rng.uniform() * np.log(40.0),
        ]
    start[1] = log_y[0] - (log_curve(log_x[:1], -np.inf, *start[1:])[0])
    return np.array(start)


def by_scipy(curve: pd.DataFrame, n_breaks: int, n_starts: int, rng: np.random.Generator) -> float:
    """Lowest half sum of squares of ln y that curve_fit reaches from any of the random starts."""
    log_x, log_y = np.log(curve["dataset_size"].to_numpy(float)), np.log(curve["loss"].to_numpy(float))
    best = np.inf
    for _ in range(n_starts):
        start = random_start(log_x, log_y, n_breaks, rng)
        try:
            u, _ = curve_fit(log_curve, log_x, log_y, p0=start)
        except (RuntimeError, ValueError):  # no convergence within its evaluations
            continue
        value = 0.5 * float(((log_curve(log_x, *u) - log_y) ** 2).sum())
        best = min(best, value) if np.isfinite(value) else best
    return best


def by_us(runs: pd.DataFrame, n_breaks: int) -> tuple[float, FitResult]:
    """CPU seconds, and the fits of all curves."""
    law = broken_power_law(n_breaks, x="dataset_size")
    clock = time.process_time()
    result = fit(law, runs, "squared-log", by="group")
    return time.process_time() - clock, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="9 curves and 20 starts: does it run?")
    parser.add_argument("--sample", type=int, help="curves that scipy fits; all 101 without")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()

    runs = read(options.data).sort_values(["group", "dataset_size"], ignore_index=True)
    names = sorted(runs["group"].unique())
    if options.quick:
        names = [ADDITION, *names[1::12][:8]]
        runs = runs[runs["group"].isin(names)].reset_index(drop=True)
    n_starts = 20 if options.quick else 200
    rng = np.random.default_rng(0)
    n_sampled = min(options.sample or len(names), len(names))
    sample = [ADDITION, *rng.permutation([n for n in names if n != ADDITION])[: n_sampled - 1]]
    curves = dict(list(runs.groupby("group")))
    fit(broken_power_law(1, x="dataset_size"), curves[ADDITION], "squared-log")  # imports, which no session pays twice

    rows, totals, ratios = [], np.zeros(2), []
    for n_breaks in (1, 2):
        seconds, result = by_us(runs, n_breaks)
        assert result.groups is not None
        ours = dict(zip(result.groups["group"], result.objective_value, strict=True))
        clock = time.process_time()
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimizeWarning)  # a covariance that could not be estimated
            theirs = {name: by_scipy(curves[name], n_breaks, n_starts, rng) for name in sample}
        taken = time.process_time() - clock
        scipy_seconds = taken * len(names) / len(sample)
        ratio = np.array([ours[n] / theirs[n] for n in sample])
        totals += seconds, scipy_seconds
        ratios.append(ratio)
        note = "all curves" if len(sample) == len(names) else f"{len(sample)} curves took {taken:.1f} s; scaled"
        rows.append(
            f"| {n_breaks} | {len(names)} | {seconds:.2f} | {scipy_seconds:.1f} | {scipy_seconds / seconds:.0f} "
            f"| {np.mean(ratio <= 1 + NO_WORSE):.0%} | {np.mean(ratio < 1 - NO_WORSE):.0%} "
            f"| {ours[ADDITION] / theirs[ADDITION]:.4f} | {np.max(ratio):.3f} | {note} |"
        )
    every = np.concatenate(ratios)
    rows.append(
        f"| both | {2 * len(names)} | {totals[0]:.2f} | {totals[1]:.1f} | {totals[1] / totals[0]:.0f} | {np.mean(every <= 1 + NO_WORSE):.1%} "
        f"| {np.mean(every < 1 - NO_WORSE):.0%} | | {every.max():.3f} | |"
    )
    print(f"{len(runs)} points; curve_fit from {n_starts} random starts for each curve, on {len(sample)} curves")
    print(
        "| breaks | curves | scaling.fit s | curve_fit s | times | no worse | better | addition: ours / scipy | largest ours / scipy "
        "| how |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    print("\n".join(rows))


if __name__ == "__main__":
    main()
