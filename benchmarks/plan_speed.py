"""How long does planning take: 1,000 draws x 200 budgets x 3 constraints at once, and one plan after import?

    python benchmarks/plan_speed.py [--quick]

Beside it, what a user would write otherwise: scipy's bounded scalar minimisation, one problem at a time (a sample, scaled
up and saying so). Seconds are CPU seconds of one core. The answers of both are compared.
"""

# ruff: noqa: E402
from __future__ import annotations

import os

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # one core for everyone; before numpy is imported

import argparse
import resource
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

import scaling
from scaling.allocation import Allocation, Constraints, allocate, shadow_prices

Array = np.ndarray
DRAWS, BUDGETS = 1000, np.geomspace(1e19, 1e26, 200)
MAX_PARAMS = np.array([3e9, 7e10, 1e15])[:, None, None]  # three constraints: binds early, late, never
MAX_TOKENS = 2e13


@dataclass(frozen=True)
class Draws:
    """A law with draws of its coefficients."""

    law: Any
    theta: Array
    of: Any = None


def peak() -> float:
    """MB of the process at its largest."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ours(draws: Draws, rounds: int) -> tuple[float, float, Allocation]:
    constraints = Constraints(max_params=MAX_PARAMS, max_tokens=MAX_TOKENS)
    times = []
    for _ in range(rounds):
        clock = time.process_time()
        best = allocate(draws, BUDGETS, constraints=constraints)
        times.append(time.process_time() - clock)
    clock = time.process_time()
    shadow_prices(best)
    return median(times), time.process_time() - clock, best


def scipys(draws: Draws, best: Allocation, n: int) -> tuple[float, float]:
    """Seconds for all problems, scaled up from n of them, and the largest difference in ln N."""
    rng = np.random.default_rng(1)
    worst, clock = 0.0, time.process_time()
    for _ in range(n):
        k, i, j = rng.integers(3), rng.integers(DRAWS), rng.integers(len(BUDGETS))
        _, A, B, alpha, beta = draws.theta[i]
        c = BUDGETS[j]
        low, high = np.log(max(1.0, c / 6 / MAX_TOKENS)), np.log(min(MAX_PARAMS[k, 0, 0], c / 6))

        def loss(x: float, A: float = A, B: float = B, a: float = alpha, b: float = beta, c: float = c) -> float:
            return A * np.exp(-a * x) + B * (c / 6 / np.exp(x)) ** -b

        if low >= high:  # the limits stop the run first
            x = np.log(MAX_PARAMS[k, 0, 0])
        else:
            x = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-9}).x
        worst = max(worst, abs(x - np.log(best.n_params[k, i, j])))
    return (time.process_time() - clock) / n * 3 * DRAWS * len(BUDGETS), worst


def single(rounds: int) -> tuple[float, float]:
    """Seconds of one plan: of a published law, and of a fit with 1,000 resamples."""
    law = scaling.published("besiroglu2024")
    rng = np.random.default_rng(0)
    theta = law.theta * np.exp(rng.normal(0, 0.02, (DRAWS, 5)))
    resampled = Draws(law.law, theta, Draws(law.law, law.theta))
    out = []
    for source in (law, resampled):
        scaling.plan(source, flops=1e23)  # what import and first use cost once
        times = []
        for i in range(rounds):
            clock = time.process_time()
            text = str(scaling.plan(source, usd=2e6 * (1 + i / rounds), accelerator="H100", count=256, days="30d", inference_tokens="1T"))  # fmt: skip
            times.append(time.process_time() - clock)
            assert text.startswith("Train")
        out.append(median(times))
    return out[0], out[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    options = parser.parse_args()
    law = scaling.published("besiroglu2024")
    theta = law.theta * np.exp(np.random.default_rng(0).normal(0, 0.02, (DRAWS, 5)))
    draws = Draws(law.law, theta)
    before = peak()
    seconds, prices, best = ours(draws, 2 if options.quick else 7)
    memory = peak()
    scaled, worst = scipys(draws, best, 300 if options.quick else 3000)
    bare, resampled = single(20 if options.quick else 100)
    n = best.n_params.size
    print(
        f"{n:,} problems; largest difference in ln N from scipy's answers {worst:.0e}; {(best.binding != '').mean():.0%} bound"
    )
    print("| what | CPU seconds | ratio | how |\n| --- | --- | --- | --- |")
    print(
        f"| scaling.allocate, 1,000 draws x 200 budgets x 3 constraints | {seconds:.2f} | 1 | peak {memory:.0f} MB, of which {before:.0f} MB before |"
    )
    print(f"| shadow prices of all of them | {prices:.2f} | {prices / seconds:.1f} | 3 prices each |")
    print(
        f"| scipy minimize_scalar, bounded | {scaled:.0f} | {scaled / seconds:,.0f} | a sample of {300 if options.quick else 3000:,} problems, scaled up |"
    )
    print(f"| scaling.plan, published law, two budgets and serving | {bare:.4f} | | CPU, median, with its page |")
    print(f"| scaling.plan, 1,000 resamples, the same | {resampled:.4f} | | CPU, median, with its page |")


if __name__ == "__main__":
    main()
