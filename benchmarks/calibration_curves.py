"""Do the intervals of curves cover: peaks, thresholds, best sizes and two-step score forecasts?

Run:

    python benchmarks/calibration_curves.py                # 300 simulated tables a problem; prints the section
    python benchmarks/calibration_curves.py --quick        # 4 a problem
    python benchmarks/calibration_curves.py --sets 1000 --append docs/calibration.md

Every table has coefficients drawn anew and independent errors, and is analysed through the public interface.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
import pandas as pd

from scaling.approaches import isoflop
from scaling.capability import score_at
from scaling.curves import binomial
from scaling.curves.double_descent import double_descent
from scaling.curves.emergence import emergence
from scaling.errors import FitError, ScalingError
from scaling.fitting import fit
from scaling.laws import get
from scaling.laws.chinchilla import CHINCHILLA
from scaling.simulation import simulate

LEVEL = 0.95
HEADING = "## Curves"
#: quantity -> (truth, low, high); nan ends are refusals
Found = dict[str, tuple[float, float, float]]


def chinchilla(rng: np.random.Generator) -> np.ndarray:
    """Coefficients (5,) of a plausible language-model law: terms of 0.25 to 0.6 nats at 1e9 parameters and 2e10 tokens."""
    model, data = rng.uniform(0.25, 0.45), rng.uniform(0.35, 0.6)
    alpha, beta = rng.uniform(0.28, 0.42), rng.uniform(0.26, 0.40)
    return np.array([rng.uniform(1.5, 2.0), model * 1e9**alpha, data * 2e10**beta, alpha, beta])


def peak(rng: np.random.Generator, drawn: bool = False) -> Found:
    """Where a double descent peaks: 30 sizes over 4 decades, 3 seeds, noise of 3 to 8 %. Drawn: 18 to 40 sizes over 3 to
    5 decades, 1 to 5 seeds, noise of 2 to 10 %."""
    law, decades = get("double_descent"), rng.uniform(3, 5) if drawn else 4.0
    sizes, seeds = (int(rng.integers(18, 41)), int(rng.integers(1, 6))) if drawn else (30, 3)
    x = np.geomspace(1e6 / 10 ** (decades / 2), 1e6 * 10 ** (decades / 2), sizes)
    at = float(np.exp(rng.uniform(np.log(2e5), np.log(5e6))))
    # E, A, alpha, tau (height), peak, nu (steepness), ridge (rounding)
    theta = np.array([rng.uniform(0.1, 0.3), rng.uniform(2, 5), rng.uniform(0.15, 0.3), rng.uniform(0.05, 0.15), at, rng.uniform(0.8, 1.3), rng.uniform(0.02, 0.1)])  # fmt: skip
    design = pd.DataFrame({"n_params": np.tile(x, seeds), "seed": np.repeat(np.arange(seeds), sizes)})
    runs = simulate(law, design, theta=theta, noise=rng.uniform(*((0.02, 0.10) if drawn else (0.03, 0.08))), rng=rng)
    fine = np.geomspace(at / 10, at * 10, 20001)
    value = law.predict({"n_params": fine}, theta)
    top = 1 + int(np.argmax(value[1:-1] - np.minimum.accumulate(value)[1:-1]))  # the local maximum above the valley
    found = double_descent(runs, "n_params", "loss", rng=int(rng.integers(2**31)))
    return {"double-descent peak": (fine[top], found.location.low, found.location.high)}


def threshold(rng: np.random.Generator, drawn: bool = False) -> Found:
    """Middle, width and onset of the rise of a score: 14 models over four decades, 300 items of 4 options, a logistic
    rise. Drawn: 9 to 24 models over 3 to 5 decades, 100 to 1,000 items, chance at 0, 0.25 or 0.5, any of the smooth curves."""
    decades = rng.uniform(3, 5) if drawn else 4.0
    x = np.linspace(21 - decades / 2, 21 + decades / 2, int(rng.integers(9, 25)) if drawn else 14)
    middle, width, ceiling = rng.uniform(20.2, 21.8), rng.uniform(0.6, 2.0), rng.uniform(0.6, 0.95)
    items, floor = (int(rng.integers(100, 1001)), float(rng.choice([0.0, 0.25, 0.5]))) if drawn else (300, 0.25)
    shape = binomial.SMOOTH[int(rng.integers(len(binomial.SMOOTH)))] if drawn else binomial.LOGISTIC
    theta = np.array([middle, width, floor, max(ceiling, floor + 0.2)])
    rate = binomial.mean(shape, x, theta)
    table = pd.DataFrame({"flops": 10**x, "score": rng.binomial(items, rate) / items})
    found = emergence(table, n_items=items, floor=floor, rng=rng)
    fine = np.linspace(15, 25, 100001)
    onset = 10 ** fine[np.argmax(binomial.mean(shape, fine, theta) > floor + found.onset_gain)]
    return {
        "emergence threshold (middle)": (10**middle, found.middle.low, found.middle.high),
        "emergence sharpness (width)": (width, found.width.low, found.width.high),
        "emergence onset": (onset, found.onset.low, found.onset.high),
    }


def best_of(theta: np.ndarray, flops: np.ndarray) -> np.ndarray:
    """Compute-optimal sizes [parameters] of a Chinchilla law at budgets [FLOPs]."""
    _, A, B, alpha, beta = theta
    return (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * (flops / 6) ** (beta / (alpha + beta))


def sweep(rng: np.random.Generator, theta: np.ndarray, drawn: bool, noise: float, shift: float) -> pd.DataFrame:
    """An isoFLOP sweep up to 1e21 FLOPs: 7 budgets over 3 decades, 9 sizes within a factor of 8 of exp(shift) times the best."""
    budgets, sizes = (int(rng.integers(4, 10)), int(rng.integers(6, 12))) if drawn else (7, 9)
    factor, decades = (rng.uniform(3, 16), rng.uniform(2, 4)) if drawn else (8.0, 3.0)
    flops = np.geomspace(1e21 / 10**decades, 1e21, budgets)
    n = best_of(theta, flops)[:, None] * np.geomspace(1 / factor, factor, sizes) * np.exp(shift)
    design = pd.DataFrame({"n_params": n.ravel(), "n_tokens": (flops[:, None] / 6 / n).ravel()})
    return simulate(CHINCHILLA, design, theta=theta, noise=noise, rng=rng)


def best_size(rng: np.random.Generator, drawn: bool = False) -> Found:
    """N_opt from isoFLOP profiles, at the largest budget and ten times beyond: 7 budgets, 9 sizes within a factor of 8,
    noise 0.2 to 0.4 %. Drawn: 4 to 9 budgets over 2 to 4 decades, 6 to 11 sizes within a factor of 3 to 16, noise 0.1 to 0.8 %."""
    theta = chinchilla(rng)
    noise = rng.uniform(*((0.001, 0.008) if drawn else (0.002, 0.004)))
    runs = sweep(rng, theta, drawn, noise, rng.uniform(-0.3, 0.3))
    names = [("the largest budget", 1e21), ("10x", 1e22)]
    answers: Found = {f"isoFLOP N_opt at {name}": (float(best_of(theta, c)), np.nan, np.nan) for name, c in names}
    answers["isoFLOP exponent a"] = (theta[4] / (theta[3] + theta[4]), np.nan, np.nan)
    try:
        found = isoflop(runs, level=LEVEL, rng=rng, n_resamples=300)
    except FitError:
        return answers
    at = found.predict([c for _, c in names])
    for k, (name, _) in enumerate(names):
        key = f"isoFLOP N_opt at {name}"
        answers[key] = (answers[key][0], float(at["n_params_low"].iloc[k]), float(at["n_params_high"].iloc[k]))
    return answers | {"isoFLOP exponent a": (answers["isoFLOP exponent a"][0], *found.n_opt.exponent_interval(LEVEL))}


def chained(rng: np.random.Generator, drawn: bool = False) -> Found:
    """Score of a compute-optimal model at 10 and 100 times the largest budget: loss law, then score against loss. 7 budgets,
    9 sizes, noise 0.3 %, 0.008 on scores. Drawn: designs as for the best size, noise 0.1 to 0.6 %, 0.004 to 0.02 on scores."""
    theta = chinchilla(rng)
    noise, error = (rng.uniform(0.001, 0.006), rng.uniform(0.004, 0.02)) if drawn else (0.003, 0.008)
    runs = sweep(rng, theta, drawn, noise, 0.0)
    link, middle = get("score_sigmoid"), float(np.quantile(runs["loss"], 0.2)) - rng.uniform(0.0, 0.1)
    truth = np.array([0.25, rng.uniform(0.8, 0.95), rng.uniform(6, 12), middle])
    scored = runs.copy()
    scored["score"] = link.predict({"loss": runs["loss"].to_numpy()}, truth) + rng.normal(0, error, len(runs))
    surface = fit(CHINCHILLA, runs, "robust")
    curve = fit(link, scored, "squared", fixed={"floor": 0.25})
    at = np.array([1e22, 1e23])
    size = best_of(theta, at)
    forecast = score_at(surface, curve, n_params=size, n_tokens=at / 6 / size, level=LEVEL, rng=rng)
    right = link.predict({"loss": CHINCHILLA.predict({"n_params": size, "n_tokens": at / 6 / size}, theta)}, truth)
    return {
        f"score forecast at {name}": (float(right[k]), float(forecast.low[k]), float(forecast.high[k]))
        for k, name in enumerate(["10x", "100x"])
    }


PROBLEMS: dict[str, Callable[..., Found]] = {
    "peak": peak, "threshold": threshold, "best size": best_size, "chained": chained,
}  # fmt: skip


def one_set(problem: str, number: int, seed: int, drawn: bool) -> list[dict[str, object]]:
    """Rows of problem, designs, set, quantity, truth, low, high, covered (nan: no interval), relative width, CPU seconds."""
    rng = np.random.default_rng([seed, list(PROBLEMS).index(problem), number, *([1] if drawn else [])])
    began = time.process_time()
    try:
        found = PROBLEMS[problem](rng, True) if drawn else PROBLEMS[problem](rng)
    except ScalingError:  # a refusal of the whole analysis is counted, not hidden
        found = {"(refused)": (np.nan, np.nan, np.nan)}
    seconds = time.process_time() - began
    rows: list[dict[str, object]] = []
    for quantity, (truth, low, high) in found.items():
        answered = low <= high
        rows.append({
            "problem": problem, "designs": "drawn" if drawn else "stated", "set": number, "quantity": quantity,
            "truth": truth, "low": low, "high": high, "covered": float(low <= truth <= high) if answered else np.nan,
            "width": (high - low) / abs(truth) if answered and np.isfinite(high - low) else np.nan, "seconds": seconds,
        })  # fmt: skip
    return rows


def measure(problem: str, sets: int, seed: int, drawn: bool = False, jobs: int = 1) -> pd.DataFrame:
    """All rows of `one_set`; over processes where jobs > 1."""
    work = (repeat(problem), range(sets), repeat(seed), repeat(drawn))
    if jobs == 1:
        return pd.DataFrame([row for found in map(one_set, *work) for row in found])
    with ProcessPoolExecutor(jobs) as pool:
        return pd.DataFrame([row for found in pool.map(one_set, *work, chunksize=5) for row in found])


def table(rows: pd.DataFrame) -> str:
    """Coverage, width, refusals and time per quantity."""
    lines = [
        "| quantity | covers, % | median width over the value | no interval, % | sets | CPU seconds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for quantity, part in rows.groupby("quantity", sort=False):
        lines.append(
            f"| {quantity} | {100 * part['covered'].mean():.1f} | {part['width'].median():.3g} | {100 * part['covered'].isna().mean():.1f} "
            f"| {len(part)} | {part['seconds'].median():.2f} |"
        )
    return "\n".join(lines)


def section(rows: pd.DataFrame, command: str) -> str:
    """The text on curves."""
    designs = "\n".join(
        f"* **{name}**: {' '.join((function.__doc__ or '').split())}" for name, function in PROBLEMS.items()
    )
    tables = {
        "stated": "On the designs stated:",
        "drawn": 'On designs drawn anew for every table, from the ranges after "Drawn":',
    }
    shown = "\n\n".join(f"{tables[str(kind)]}\n\n{table(part)}" for kind, part in rows.groupby("designs", sort=False))
    return f"""{HEADING}

Made by `{command}`: {LEVEL:.0%} intervals of curves on simulated tables with independent errors, coefficients drawn anew for
each. Coverage is that of the intervals given; tables on which none was given are counted beside it.

{designs}

{shown}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="4 tables a problem")
    parser.add_argument("--sets", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--problem", nargs="+", choices=list(PROBLEMS), default=list(PROBLEMS))
    parser.add_argument("--designs", nargs="+", choices=["stated", "drawn"], default=["stated", "drawn"])
    parser.add_argument("--rows", type=Path, nargs="+", help="make the section from saved rows instead of measuring")
    parser.add_argument("--append", type=Path, help="replace or add the section in this page")
    parser.add_argument("--csv", type=Path, help="every interval as a row; saved after each problem")
    options = parser.parse_args()
    sets = 4 if options.quick else options.sets
    if options.rows:
        rows = pd.concat([pd.read_csv(path) for path in options.rows])
        sets = int(rows.groupby(["problem", "designs"])["set"].nunique().min())
    else:
        parts = []
        for designs in options.designs:
            for problem in options.problem:
                parts.append(measure(problem, sets, options.seed, designs == "drawn", options.jobs))
                if options.csv:
                    pd.concat(parts).to_csv(options.csv, index=False)
        rows = pd.concat(parts)
    text = section(rows, f"python benchmarks/calibration_curves.py --sets {sets} --seed {options.seed}")
    print(text)
    if options.append:
        page = options.append.read_text(encoding="utf-8").split(HEADING)[0].rstrip()
        options.append.write_text(f"{page}\n\n{text}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
