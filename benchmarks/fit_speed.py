"""The global Chinchilla fit, from table to result, beside what a user would write with scipy; all timed in one run.

    python benchmarks/fit_speed.py [--quick] [--data FILE]

scipy's L-BFGS-B from each of Hoffmann's 4,500 starts, with the analytic gradient (all starts, or a sample with --quick)
and with numeric gradients (always a sample of the starts). A time extrapolated from a sample says so. Seconds are of one
core's CPU, so that another program on the machine does not count.
"""

# ruff: noqa: E402
from __future__ import annotations

import os

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # one core for everyone; before numpy is imported

import argparse
import time
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from scaling.fitting import FitResult, fit

DATA = Path(__file__).resolve().parents[2] / "shared" / "reference-data" / "chinchilla-epoch" / "runs.csv"
DELTA = 1e-3
Array = np.ndarray


def read(path: Path) -> pd.DataFrame:
    """The 240 runs of the replication of Hoffmann et al. (Besiroglu et al. 2024), as canonical columns."""
    runs = pd.read_csv(path)
    return runs[~runs["excluded_in_paper"].astype(bool)].rename(columns={"params": "n_params", "tokens": "n_tokens"})


def hoffmann_starts() -> Array:
    """(4500, 5) starts (a, b, e, alpha, beta): the grid of Hoffmann et al. 2022, arXiv:2203.15556, app. D.3."""
    amplitudes, exponents = np.arange(0.0, 26.0, 5.0), np.arange(0.0, 2.1, 0.5)
    return np.array(list(product(amplitudes, amplitudes, np.arange(-1.0, 1.1, 0.5), exponents, exponents)))


class LogSumExp:
    """The objective as Hoffmann et al. state it: sum of weight x Huber(log L - logsumexp(...)), and its gradient."""

    def __init__(self, runs: pd.DataFrame, weights: Array | float = 1.0) -> None:
        self.log_n, self.log_d = np.log(runs["n_params"].to_numpy()), np.log(runs["n_tokens"].to_numpy())
        self.log_loss, self.weights = np.log(runs["loss"].to_numpy()), weights

    def _residual(self, v: Array) -> tuple[Array, tuple[Array, Array, Array], Array]:
        a, b, e, alpha, beta = v
        terms = np.exp(a - alpha * self.log_n), np.exp(b - beta * self.log_d), np.exp(e) * np.ones_like(self.log_n)
        total = terms[0] + terms[1] + terms[2]
        return np.log(total) - self.log_loss, terms, total

    def value(self, v: Array) -> float:
        r = np.abs(self._residual(v)[0])
        return float((self.weights * np.where(r <= DELTA, 0.5 * r * r, DELTA * (r - 0.5 * DELTA))).sum())

    def value_and_gradient(self, v: Array) -> tuple[float, Array]:
        r, (size, data, floor), total = self._residual(v)
        magnitude = np.abs(r)
        loss = self.weights * np.where(magnitude <= DELTA, 0.5 * r * r, DELTA * (magnitude - 0.5 * DELTA))
        slope = self.weights * np.clip(r, -DELTA, DELTA) / total
        by_size, by_data = slope * size, slope * data
        gradient = [by_size.sum(), by_data.sum(), slope @ floor, -by_size @ self.log_n, -by_data @ self.log_d]
        return float(loss.sum()), np.array(gradient)


def from_starts(objective: LogSumExp, starts: Array, analytic: bool) -> tuple[float, float]:
    """Seconds for these starts, and the lowest objective they reach."""
    function = objective.value_and_gradient if analytic else objective.value
    clock = time.process_time()
    with np.errstate(all="ignore"):
        best = min(float(minimize(function, s, jac=analytic, method="L-BFGS-B").fun) for s in starts)
    return time.process_time() - clock, best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="300 analytic and 60 numeric starts instead of 4,500 and 300"
    )
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()

    runs = read(options.data)
    starts = hoffmann_starts()
    objective = LogSumExp(runs)
    rng = np.random.default_rng(0)
    n_analytic, n_numeric = (300, 60) if options.quick else (len(starts), 300)

    fit("chinchilla", runs)  # imports and caches, which no fit in a session pays twice
    times = []

    def ours_again() -> FitResult:
        for _ in range(15):
            clock = time.process_time()
            result = fit("chinchilla", runs, "hoffmann")
            times.append(time.process_time() - clock)
        return result

    result = ours_again()
    theta = dict(zip(result.law.coef_names, result.theta, strict=True))
    at = np.array([*np.log([theta["A"], theta["B"], theta["E"]]), theta["alpha"], theta["beta"]])

    rows = []
    for label, analytic, n in (("analytic", True, n_analytic), ("numeric", False, n_numeric)):
        sample = starts if n == len(starts) else starts[rng.choice(len(starts), n, replace=False)]
        seconds, best = from_starts(objective, sample, analytic)
        note = "all starts" if n == len(starts) else f"{n} random starts took {seconds:.2f} s; scaled to 4,500"
        rows.append((f"scipy L-BFGS-B, {label} gradient, 4,500 starts", seconds * len(starts) / n, best, note))

    ours_again()  # before and after: the machine's mood changes
    ours = float(np.median(times))
    note = f"{result.starts_tried} grid points, {int(result.starts_agreeing)} polished starts agreeing; median of {len(times)}"
    rows.insert(0, ("scaling.fit, global search", ours, objective.value(at), note))

    print(
        f"{len(runs)} runs; gradient of our result {float(result.gradient):.0e}, {int(result.starts_agreeing)} polished starts agree"
    )
    print("| method | CPU seconds | ratio | objective | how |\n| --- | --- | --- | --- | --- |")
    for label, seconds, value, note in rows:
        print(f"| {label} | {seconds:.4f} | {seconds / ours:,.0f} | {value:.12f} | {note} |")
    # the floor: one evaluation of the law is two exponentials per run
    x = np.outer(np.ones(int(result.starts_tried)), np.log(runs["n_params"]))
    clock = time.process_time()
    np.exp(-0.3 * x)
    np.exp(-0.4 * x)
    bare = time.process_time() - clock
    print(f"\nbare exponentials of the grid search: {1e3 * bare:.2f} ms, {bare / ours:.0%} of the fit")


if __name__ == "__main__":
    main()
