"""4,000 converged resamples of the Chinchilla fit, beside scipy's L-BFGS-B on the same resamples, and the recommended
intervals of all coefficients and exponents, which need none; timed in one run.

    python benchmarks/bootstrap_speed.py [--quick] [--data FILE]

Every method starts at the fitted coefficients. scipy works through a random sample of the resamples and its time is
scaled to all of them; at its default tolerances it is quick and stops short, so it is shown at tight ones as well.
All are judged by the same function: how many resamples end above the lowest objective that any method reached.
Seconds are of one core's CPU, so that another program on the machine does not count.
"""

# ruff: noqa: E402
from __future__ import annotations

import os

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # one core for everyone; before numpy is imported

import argparse
import resource
import time
from pathlib import Path

import numpy as np
from fit_speed import DATA, LogSumExp, read
from scipy.optimize import minimize

from scaling.fitting import fit
from scaling.uncertainty import bootstrap, intervals_table

Array = np.ndarray
N_RESAMPLES = 4000
TIGHT = {"ftol": 1e-15, "gtol": 1e-12, "maxiter": 20000, "maxfun": 20000}


def working(theta: Array) -> Array:
    """(E, A, B, alpha, beta) as the five numbers that scipy works on: (a, b, e, alpha, beta)."""
    return np.stack([*np.log(theta[..., [1, 2, 0]]).T, theta[..., 3], theta[..., 4]], axis=-1)


def peak_megabytes() -> float:
    """Largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="scipy on 40 resamples instead of 400")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    n_sample = 40 if options.quick else 400

    runs = read(options.data)
    before = peak_megabytes()
    result = fit("chinchilla", runs, "hoffmann")
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # one core for everybody; the chunks of a batch would otherwise use them all
    times = []
    for _ in range(5):
        clock = time.process_time()
        draws = bootstrap(result, N_RESAMPLES, rng=42)
        times.append(time.process_time() - clock)
    ours, peak = float(np.median(times)), peak_megabytes()

    # the same draws for scipy: runs drawn with replacement, the seed is ours
    n = len(runs)
    drawn = np.random.default_rng(42).integers(n, size=(N_RESAMPLES, n)) + n * np.arange(N_RESAMPLES)[:, None]
    weights = np.bincount(drawn.ravel(), minlength=N_RESAMPLES * n).reshape(N_RESAMPLES, n).astype(float)
    chosen = np.sort(np.random.default_rng(0).choice(N_RESAMPLES, n_sample, replace=False))
    objectives = [LogSumExp(runs, weights[i]) for i in chosen]
    mine = np.array([o.value(v) for o, v in zip(objectives, working(draws.theta[chosen]), strict=True)])
    if not np.allclose(mine, draws.objective_value[chosen], rtol=1e-9):
        raise SystemExit("the resamples given to scipy are not those of the bootstrap: the comparison would be void")

    begin = working(result.theta)
    rows = [
        (
            "scaling.bootstrap",
            ours,
            mine,
            f"median of {len(times)}; {int(draws.converged.sum())} of {N_RESAMPLES} converged",
        )
    ]
    for label, settings in (("default tolerances", {}), ("tight tolerances", TIGHT)):
        clock = time.process_time()
        found = np.array([
            minimize(o.value_and_gradient, begin, jac=True, method="L-BFGS-B", options=settings).fun for o in objectives
        ])  # fmt: skip
        seconds = time.process_time() - clock
        note = f"{n_sample} random resamples took {seconds:.2f} s; scaled to {N_RESAMPLES:,}"
        rows.append((f"scipy L-BFGS-B, analytic gradient, {label}", seconds * N_RESAMPLES / n_sample, found, note))

    lowest = np.min([values for _, _, values, _ in rows], axis=0)
    print(f"{len(runs)} runs; largest scaled gradient of our resamples {draws.gradient[draws.converged].max():.0e}")
    print(f"peak memory: {peak:.0f} MB, of which {before:.0f} MB before the fit (Python, numpy, pandas, scipy)\n")
    print("| method | CPU seconds | ratio | mean objective | resamples above the lowest by 1e-6 | how |")
    print("| --- " * 6 + "|")
    for label, seconds, values, note in rows:
        above = np.mean(values > lowest * (1 + 1e-6))
        print(f"| {label} | {seconds:.3f} | {seconds / ours:.1f} | {values.mean():.12f} | {above:.0%} | {note} |")

    robust, times = fit("chinchilla", runs), []
    for _ in range(20):
        clock = time.process_time()
        table = intervals_table(robust)
        times.append(time.process_time() - clock)
    print(
        f"\nrecommended intervals of {len(table)} quantities after the fit: {1000 * np.median(times):.1f} ms (median of 20)"
    )

    os.sched_setaffinity(0, cores)
    clock = time.perf_counter()
    bootstrap(result, N_RESAMPLES, rng=42)
    print(f"\non {len(cores)} cores: {time.perf_counter() - clock:.3f} s of wall time")

    # the floor: what the exponentials alone of the same iterations cost
    evaluations = int(draws.iterations.sum()) + N_RESAMPLES
    block = np.random.default_rng(1).uniform(-9, -6, (2, len(runs), 100))
    clock = time.process_time()
    for _ in range(20):
        np.exp(block)
    bare = (time.process_time() - clock) / 2000 * evaluations
    print(
        f"\n{evaluations / N_RESAMPLES:.1f} evaluations per resample; their bare exponentials: {bare:.3f} s, {bare / ours:.0%} of the time"
    )


if __name__ == "__main__":
    main()
