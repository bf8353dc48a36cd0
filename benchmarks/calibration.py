"""Do 95 % intervals hold the truth in 95 of 100 sweeps, and how much wider than need be are they?

Run:

    python benchmarks/calibration.py                      # 400 sweeps a scenario, 100 of them resampled; writes docs/calibration.md
    python benchmarks/calibration.py --quick              # 6 and 2, printed only
    python benchmarks/calibration.py --sets 1000 --resampled 1000 --jobs 8 --csv out.csv

Each set is a simulated isoFLOP sweep from a Chinchilla law whose coefficients are drawn anew, fitted through the public
interface. Widths and interval scores (width plus 40 times the miss; Gneiting and Raftery 2007) are given in units of the
ideal ones: those of an estimator which knows the size, shape and sharing of the noise (its Fisher information) and misses
the truth in 5 of 100 sweeps. Sweeps that cannot answer (a collinear design, another law) measure how often that is said.
The scenarios "random" draw designs and noise anew for every sweep; they were run once, after the method was settled.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from itertools import repeat
from pathlib import Path

import numpy as np
import pandas as pd

from scaling.errors import ScalingError
from scaling.fitting import FitResult, fit
from scaling.laws import get
from scaling.laws.chinchilla import CHINCHILLA
from scaling.simulation import simulate
from scaling.uncertainty import Interval, bootstrap, interval
from scaling.uncertainty.bootstrap import bca
from scaling.uncertainty.profile import profile

LEVEL = 0.95
LARGEST = 1e21  # FLOPs of the largest budget
SHOWN_FROM = 40  # sweeps of a method in a scenario, below which the page leaves it out
IDEAL_SCORE = 4.675  # expected score of the ideal interval, in standard deviations: 2 phi(1.96) / 0.025
QUANTITIES = ("alpha", "a", "N_opt at 10x", "loss at 100x")
UNDER_TRAINED = 0.04  # share of runs that end 1 to 4 % above their loss where there are outliers
DOCS = Path(__file__).resolve().parent.parent / "docs" / "calibration.md"


@dataclass(frozen=True)
class Scenario:
    """A design and its noise. `shown` says so in the table; noise (small, large budget) is the standard deviation of ln L."""

    name: str
    shown: str
    budgets: int = 7
    sizes: int = 9
    factor: float = 8.0  # largest size over the middle one, in each budget
    drift: float = (
        1.0  # the middle lies off the optimum by this factor, under it at the smallest budget, over at the largest
    )
    noise: tuple[float, float] = (0.003, 0.003)
    edge: float = 1.0  # the noise at the smallest and largest size of a budget, over that at the middle one
    outliers: bool = False
    shared: float = 0.0
    decades: float = 3.0  # of compute
    kind: str = (
        "intervals"  # or what should be flagged: "collinear", "kaplan", "sum of powers"; or "random": drawn anew
    )


SCENARIOS = (
    Scenario("iid", "63 runs, 7 budgets, noise 0.3 %"),
    Scenario("heteroscedastic", "noise 0.6 % at the smallest budget to 0.15 % at the largest", noise=(0.006, 0.0015)),
    Scenario("outliers", "as before, Student t with 4 degrees of freedom, 4 % of the runs 1 to 4 % too high", noise=(0.006, 0.0015), outliers=True),
    Scenario("shared", "noise 0.3 %, and 0.15 % shared by all runs of a budget", shared=0.0015),
    Scenario("small", "35 runs, 5 budgets", budgets=5, sizes=7),
    Scenario("narrow", "56 runs, sizes within a factor of 2 of the middle", sizes=8, factor=2.0),
    Scenario("off-centre", "the middle size drifts from half the optimum to twice", drift=2.0),
    Scenario("random", "4 to 9 budgets over 2 to 4 decades, 6 to 11 sizes within a factor of 2.5 to 16 of a middle that drifts by up to 2.5, noise 0.1 to 0.8 % at the smallest budget and 0.3 to 1 times that at the largest, outliers in a third of the sweeps; all drawn anew for each", kind="random"),
    Scenario("random, shared", "as random, without outliers, and an error shared by each budget of 0.3 to 0.8 times the smaller noise", shared=1.0, kind="random"),
    Scenario("collinear", "36 runs whose tokens follow their parameters as a power law, to within 15 %", kind="collinear"),
    Scenario("wrong law: Kaplan", "the design of iid, from Kaplan's law (2020), which has no floor, fitted with Chinchilla's", kind="kaplan"),
    Scenario("wrong law: sum of powers", "the design of iid, from L = E + (A/N^alpha + B/D^beta)^gamma with gamma 0.4 to 0.6, fitted with Chinchilla's", kind="sum of powers"),
    Scenario("uneven", "63 runs, noise 0.2 % at the middle size of a budget and 0.8 % at its ends, which a trend in compute cannot take up", noise=(0.002, 0.002), edge=4.0),
)  # fmt: skip
FLAGS = ("undetermined", "lack_of_fit", "outliers", "one_run_decides", "weakly_determined")  # raised on sweeps


def quantities(theta: np.ndarray) -> np.ndarray:
    """alpha, a, ln N_opt at 10 times and the loss at 100 times the largest budget: (..., 5) -> (..., 4)."""
    E, A, B, alpha, beta = np.moveaxis(theta, -1, 0)
    a = beta / (alpha + beta)

    def best(flops: float) -> np.ndarray:
        return (np.log(alpha * A) - np.log(beta * B)) / (alpha + beta) + a * np.log(flops / 6)

    n = best(100 * LARGEST)
    loss = E + A * np.exp(-alpha * n) + B * np.exp(-beta * (np.log(100 * LARGEST / 6) - n))
    return np.stack([alpha, a, best(10 * LARGEST), loss], -1)


def draw_truth(rng: np.random.Generator) -> np.ndarray:
    """Coefficients (5,) of a plausible language-model law: terms of 0.25 to 0.6 nats at 1e9 parameters and 2e10 tokens."""
    E, model, data = rng.uniform(1.5, 2.0), rng.uniform(0.25, 0.45), rng.uniform(0.35, 0.6)
    alpha, beta = rng.uniform(0.28, 0.42), rng.uniform(0.26, 0.40)
    return np.array([E, model * 1e9**alpha, data * 2e10**beta, alpha, beta])


def draw_runs(scenario: Scenario, truth: np.ndarray, rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    """A sweep, and the standard deviation (4,) of the quantities for an estimator that knows its noise."""
    if scenario.kind == "random":
        return draw_runs(draw_scenario(scenario, rng), truth, rng)
    flops = np.geomspace(LARGEST / 10**scenario.decades, LARGEST, scenario.budgets)
    _, A, B, alpha, beta = truth
    position = np.linspace(0, 1, scenario.budgets)
    middle = (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * (flops / 6) ** (beta / (alpha + beta))
    middle = middle * scenario.drift ** (2 * position - 1)
    n_params = middle[:, None] * np.geomspace(1 / scenario.factor, scenario.factor, scenario.sizes)
    design = pd.DataFrame({
        "n_params": n_params.ravel(),
        "n_tokens": (flops[:, None] / 6 / n_params).ravel(),
        "flops": np.repeat(flops, scenario.sizes),
        "budget": np.repeat(np.arange(scenario.budgets), scenario.sizes),
    })  # fmt: skip
    small, large = scenario.noise
    sigma = np.repeat(small * (large / small) ** position, scenario.sizes)
    sigma = sigma * np.tile(scenario.edge ** np.abs(np.linspace(-1, 1, scenario.sizes)), scenario.budgets)
    runs = simulate(
        CHINCHILLA, design, theta=truth, noise=sigma, tail_df=4.0 if scenario.outliers else None,
        shared={"budget": scenario.shared} if scenario.shared else None, rng=rng,
    )  # fmt: skip
    information = 1 / sigma**2
    if scenario.outliers:
        late = rng.random(len(runs)) < UNDER_TRAINED
        runs["loss"] *= np.exp(late * rng.uniform(0.01, 0.04, len(runs)))
        # Student's t of scale s has information (v + 1) / (v + 3) / s^2, and s = sigma sqrt((v - 2) / v)
        information = information * 2 * (5 / 7) * (1 - UNDER_TRAINED)
    value, jac = CHINCHILLA.value_and_jacobian({k: runs[k].to_numpy() for k in CHINCHILLA.inputs}, truth)
    jac = jac * truth / value[:, None]  # of ln loss in ln coefficients
    same = runs["budget"].to_numpy()[:, None] == runs["budget"].to_numpy()
    covariance = np.diag(1 / information) + scenario.shared**2 * same
    step = 1e-30
    gradient = np.imag(quantities(truth * np.exp(1j * step * np.eye(5)))).T / step  # (4, 5)
    variance = gradient @ np.linalg.inv(jac.T @ np.linalg.solve(covariance, jac)) @ gradient.T
    return runs, np.sqrt(np.diagonal(variance))


def draw_scenario(scenario: Scenario, rng: np.random.Generator) -> Scenario:
    """A design and a noise within the ranges that `shown` of the random scenarios states."""
    small = np.exp(rng.uniform(np.log(0.001), np.log(0.008)))
    large = small * rng.uniform(0.3, 1.0)
    return replace(
        scenario, kind="intervals", budgets=int(rng.integers(4, 10)), sizes=int(rng.integers(6, 12)),
        factor=float(np.exp(rng.uniform(np.log(2.5), np.log(16)))), drift=float(np.exp(rng.uniform(-1, 1) * np.log(2.5))),
        decades=float(rng.uniform(2, 4)), noise=(small, large),
        outliers=not scenario.shared and bool(rng.random() < 1 / 3),
        shared=large * rng.uniform(0.3, 0.8) if scenario.shared else 0.0,
    )  # fmt: skip


def draw_unanswerable(scenario: Scenario, rng: np.random.Generator) -> pd.DataFrame:
    """A sweep that must be flagged: a collinear design, or runs of another law than the fitted one."""
    truth = draw_truth(rng)
    if scenario.kind == "collinear":
        n = np.geomspace(3e7, 3e9, 36)
        slope = rng.uniform(0.8, 1.2)
        tokens = np.exp(rng.uniform(np.log(5), np.log(100))) * 1e9 * (n / 1e9) ** slope
        design = pd.DataFrame({"n_params": n, "n_tokens": tokens * np.exp(rng.uniform(-0.15, 0.15, len(n)))})
        return simulate(CHINCHILLA, design, theta=truth, noise=0.003, rng=rng)
    design, _ = draw_runs(replace(scenario, kind="intervals"), truth, rng)
    if scenario.kind == "kaplan":
        law, theta = get("kaplan"), np.array([8.8e13, 5.4e13, 0.076, 0.095]) * rng.uniform(0.85, 1.15, 4)
    else:
        law, gamma = get("supervised"), rng.uniform(0.4, 0.6)
        E, A, B, alpha, beta = truth
        theta = np.array([E, A ** (1 / gamma), B ** (1 / gamma), alpha / gamma, beta / gamma, gamma])
    return simulate(law, design.drop(columns="loss"), theta=theta, noise=0.003, rng=rng)


def flag_rows(scenario: Scenario, number: int, result: FitResult) -> list[dict[str, object]]:
    """Which of FLAGS a fit raised, as rows of scenario, set, method "flags", quantity, covered (1: raised)."""
    raised = {w.code for w in result.warnings} | ({"undetermined"} if result.status == "undetermined" else set())
    return [
        {"scenario": scenario.name, "set": number, "method": "flags", "quantity": flag, "refused": False, "covered": float(flag in raised)}
        for flag in FLAGS
    ]  # fmt: skip


def methods(result: FitResult, resamples: int, seed: int) -> dict[str, Callable[[], Interval]]:
    """Name -> how to get the interval of `quantities`; those that resample only where resamples > 0."""
    found: dict[str, Callable[[], Interval]] = {
        "recommended": lambda: interval(result, quantities, LEVEL),
        "HC3, t": lambda: interval(result, quantities, LEVEL, method="hc3"),
    }
    if resamples:
        found["profile"] = lambda: profile(result, quantities, LEVEL)
        cases = cache(lambda: bootstrap(result, resamples, seed))  # the time of the refits is that of the first use
        found |= {
            "cases": lambda: interval(cases(), quantities, LEVEL),
            "cases, BCa": lambda: bca(cases(), quantities, LEVEL),
            "wild": lambda: interval(bootstrap(result, resamples, seed, "wild"), quantities, LEVEL),
            "strata (budgets)": lambda: interval(bootstrap(result, resamples, seed, "strata"), quantities, LEVEL),
            "clusters (budgets)": lambda: interval(bootstrap(result, resamples, seed, "clusters", "budget"), quantities, LEVEL),
        }  # fmt: skip
    return found


def one_set(scenario: Scenario, number: int, resamples: int, seed: int, objective: str) -> list[dict[str, object]]:
    """Every method's intervals on one simulated sweep, and the flags its fit raised.

    Rows of scenario, set, method, quantity, refused, covered, width and score (over the ideal ones), seconds.
    """
    rng = np.random.default_rng([seed, SCENARIOS.index(scenario), number])
    if scenario.kind not in ("intervals", "random"):
        return flag_rows(scenario, number, fit(CHINCHILLA, draw_unanswerable(scenario, rng), objective))
    truth = draw_truth(rng)
    runs, ideal = draw_runs(scenario, truth, rng)
    right = quantities(truth)
    result = fit(CHINCHILLA, runs, objective)
    rows = flag_rows(scenario, number, result)
    for name, make in methods(result, resamples, number).items():
        began = time.process_time()
        try:
            found = make()
            low, high = found.low, found.high
        except ScalingError:  # a refusal is counted, not hidden
            low = high = np.full(len(right), np.nan)
        seconds = time.process_time() - began
        for k, quantity in enumerate(QUANTITIES):
            refused = not low[k] <= high[k]  # nan at either end
            miss = max(low[k] - right[k], right[k] - high[k], 0.0)
            rows.append({
                "scenario": scenario.name, "set": number, "method": name, "quantity": quantity, "refused": refused,
                "covered": np.nan if refused else float(low[k] <= right[k] <= high[k]),
                "width": (high[k] - low[k]) / (2 * 1.959964 * ideal[k]),
                "score": (high[k] - low[k] + 2 / (1 - LEVEL) * miss) / (IDEAL_SCORE * ideal[k]), "seconds": seconds,
            })  # fmt: skip
    return rows


def measure(options: argparse.Namespace, sets: int, resampled: int) -> pd.DataFrame:
    """All rows of `one_set`; the first `resampled` sets of each scenario are resampled too. Saved after every scenario."""
    parts: list[pd.DataFrame] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for scenario in (s for s in SCENARIOS if s.name in options.scenario):
            began = time.perf_counter()
            counts = [options.resamples if k < resampled else 0 for k in range(sets)]
            done = pool.map(
                one_set, repeat(scenario), range(sets), counts, repeat(options.seed), repeat(options.objective)
            )
            parts.append(pd.DataFrame([row for found in done for row in found]))
            print(f"{scenario.name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
            if options.csv:
                pd.concat(parts).to_csv(options.csv, index=False)
    return pd.concat(parts)


def table(rows: pd.DataFrame) -> str:
    """Coverage in % and, in brackets, the mean interval score over the ideal, per scenario and method."""
    rows = rows[rows["method"] != "flags"]
    lines = [
        f"| scenario | method | {' | '.join(QUANTITIES)} | sets | without interval |",
        f"| --- | --- |{' --- |' * (len(QUANTITIES) + 2)}",
    ]
    for (scenario, method), part in rows.groupby(["scenario", "method"], sort=False):
        by = part.groupby("quantity")
        covered, score = by["covered"].mean(), by["score"].mean()
        cells = " | ".join(f"{100 * covered[q]:.1f} ({score[q]:.2f})" for q in QUANTITIES)
        count = part["set"].nunique()
        lines.append(f"| {scenario} | {method} | {cells} | {count} | {part['refused'].mean():.1%} |")
    return "\n".join(lines)


def flag_table(rows: pd.DataFrame) -> str:
    """Share of sweeps in % on which each flag was raised."""
    rows = rows[rows["method"] == "flags"]
    lines = [f"| scenario | {' | '.join(FLAGS)} | sets |", f"| --- |{' --- |' * (len(FLAGS) + 1)}"]
    for scenario, part in rows.groupby("scenario", sort=False):
        share = part.groupby("quantity")["covered"].mean()
        lines.append(f"| {scenario} | {' | '.join(f'{100 * share[q]:.1f}' for q in FLAGS)} | {part['set'].nunique()} |")
    return "\n".join(lines)


def page(rows: pd.DataFrame, resamples: int, seed: int, objective: str) -> str:
    """The text of docs/calibration.md."""
    every, flags, rows = rows, flag_table(rows), rows[rows["method"] != "flags"]
    size = rows.groupby(["method", "scenario"])["set"].transform("nunique")
    if size.max() >= SHOWN_FROM:  # a handful of sweeps says nothing about coverage
        rows = rows[size >= SHOWN_FROM]
    counts = rows.groupby(["method", "scenario"])["set"].nunique().unique()
    errors = ", ".join(f"{100 * np.sqrt(LEVEL * (1 - LEVEL) / n):.1f} points with {n} sweeps" for n in sorted(counts))
    sizes = every.groupby("scenario", sort=False)["set"].nunique()
    few_of = every[every["method"] == "cases"].groupby("scenario")["set"].nunique()
    plan = pd.DataFrame({"sets": sizes, "resampled": few_of.reindex(sizes.index, fill_value=0)})
    commands = "\n".join(
        f"    python benchmarks/calibration.py --sets {size} --resampled {few} --resamples {resamples} --seed {seed} "
        f"--objective {objective} --scenario {' '.join(repr(str(n)) if ' ' in str(n) else str(n) for n in part.index)}"
        for (size, few), part in plan.groupby(["sets", "resampled"], sort=False)
    )
    mean = rows.groupby(["method", "scenario", "quantity"], sort=False)["covered"].mean()
    calm = [s.name for s in SCENARIOS if not s.shared and s.edge == 1 and s.name in set(rows["scenario"])]
    summary = ["| method | independent errors: mean, worst | shared errors: mean, worst | CPU seconds per sweep |", "| --- | --- | --- | --- |"]  # fmt: skip
    for method in rows["method"].unique():
        cells = []
        for group in (calm, [s.name for s in SCENARIOS if s.shared]):
            part = mean[method][mean[method].index.get_level_values("scenario").isin(group)]
            cells.append("" if part.empty else f"{100 * part.mean():.1f}, {100 * part.min():.1f}")
        seconds = rows.loc[rows["method"] == method, "seconds"].median()
        summary.append(f"| {method} | {cells[0]} | {cells[1]} | {seconds:.3f} |")
    designs = "\n".join(f"* **{s.name}**: {s.shown}." for s in SCENARIOS)
    return f"""# Do the intervals cover?

Made by

{commands}

Simulated isoFLOP sweeps over three decades of compute up to {LARGEST:.0e} FLOPs, from Chinchilla laws with coefficients drawn
anew for every sweep. Each is fitted with the {objective} objective through the public interface, and every method gives its
{LEVEL:.0%} interval for alpha, a = beta / (alpha + beta), ln N_opt at 10 times the largest budget and the loss at 100 times.
Bootstraps have {resamples} resamples. The Monte-Carlo standard error of a coverage near {LEVEL:.0%} is {errors}.

{designs}

## In short

Coverage in %, averaged over quantities and scenarios, and the worst single one (of many: a little below 95 is expected). The scenario
`uneven`, whose noise the robust fit's model cannot describe, stands in the table below alone.
The time of BCa is that of its refits without each run alone: its resamples are those of the case bootstrap.

{chr(10).join(summary)}

## In full

Coverage in % and, in brackets, the interval score (width plus {2 / (1 - LEVEL):.0f} times the miss, on average) over that of the
ideal interval: an estimator that knows the size, shape and sharing of the noise, and so cannot be had. 1 is ideal. A single
quantity's score is uncertain by about 0.03 with 1000 sweeps and 0.1 with 60.

{table(rows)}

## Flags

Share of sweeps, in %, on which a fit said so. `undetermined` is its status. Under independent errors and Chinchilla's own law,
`lack_of_fit` and `undetermined` are false alarms; where there are outliers, `outliers` is right.

{flags}

## Methods

* **recommended**: `interval(result, quantity)`: for a robust fit, the sandwich pooled over runs in units of their own noise, widened
  where HC3 says more than chance would, with Student's t; where runs of a budget seem to share errors (p < 0.3), the wider of that and
  a mixed model.
* **HC3, t**: `interval(result, quantity, method="hc3")`: the sandwich alone.
* **profile**: `profile(result, quantity)`: drop of the objective, scaled to the sandwich variance (`scaling/uncertainty/profile.py`).
* **cases**, **wild**, **strata**, **clusters**: `bootstrap(result, kind=...)`, quantiles of the resamples. Clusters are budgets.
* **cases, BCa**: `bca(bootstrap(result), quantity)`: bias-corrected and accelerated quantiles.

Only the recommended interval and whole-budget resampling allow for errors that the runs of a budget share; the others take runs
as independent, and show what that costs in the scenario where they are not. Quantiles of resamples have no allowance for few runs,
as Student's t has, and the robust fit's weights are not estimated anew in each; whole budgets are few to draw from.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="6 sweeps a scenario, 2 resampled; print, write nothing")
    parser.add_argument("--sets", type=int, default=400, help="sweeps per scenario")
    parser.add_argument("--resampled", type=int, default=100, help="how many of them are bootstrapped too")
    parser.add_argument("--resamples", type=int, default=400, help="resamples of each bootstrap")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--objective", default="robust")
    parser.add_argument(
        "--scenario", nargs="+", choices=[s.name for s in SCENARIOS], default=[s.name for s in SCENARIOS]
    )
    parser.add_argument("--csv", type=Path, help="every interval as a row; saved after each scenario")
    parser.add_argument(
        "--rows", type=Path, nargs="+", help="make the page from saved rows of this seed instead of measuring"
    )
    parser.add_argument("--docs", type=Path, default=DOCS, help="the page to write")
    options = parser.parse_args()
    sets, resampled = (6, 2) if options.quick else (options.sets, min(options.resampled, options.sets))
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    if options.rows:
        rows = pd.concat([pd.read_csv(path) for path in options.rows])
        order = {s.name: k for k, s in enumerate(SCENARIOS)}
        rows = rows.sort_values("scenario", key=lambda names: names.map(order), kind="stable")
    else:
        rows = measure(options, sets, resampled)
    print(table(rows), flag_table(rows), sep="\n\n")
    if not options.quick:
        text = page(rows, options.resamples, options.seed, options.objective)
        options.docs.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
