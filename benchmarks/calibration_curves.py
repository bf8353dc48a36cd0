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
from pathlib import Path

import numpy as np
import pandas as pd

from scaling.approaches import isoflop
from scaling.capability import score_at
from scaling.curves import binomial
from scaling.curves.double_descent import double_descent
from scaling.curves.emergence import emergence
from scaling.errors import ScalingError
from scaling.fitting import fit
from scaling.laws import get
from scaling.laws.chinchilla import CHINCHILLA
from scaling.simulation import simulate
from scaling.uncertainty import draws

LEVEL = 0.95
HEADING = "## Curves"
#: quantity -> (truth, low, high); nan ends are refusals
Found = dict[str, tuple[float, float, float]]


def chinchilla(rng: np.random.Generator) -> np.ndarray:
    """Coefficients (5,) of a plausible language-model law: terms of 0.25 to 0.6 nats at 1e9 parameters and 2e10 tokens."""
    model, data = rng.uniform(0.25, 0.45), rng.uniform(0.35, 0.6)
    alpha, beta = rng.uniform(0.28, 0.42), rng.uniform(0.26, 0.40)
    return np.array([rng.uniform(1.5, 2.0), model * 1e9**alpha, data * 2e10**beta, alpha, beta])


def peak(rng: np.random.Generator) -> Found:
    """Where a double descent peaks: 30 sizes, 3 seeds, noise of 3 to 8 %."""
    law = get("double_descent")
    x = np.geomspace(1e4, 1e8, 30)
    at = float(np.exp(rng.uniform(np.log(2e5), np.log(5e6))))
    # E, A, alpha, tau (height), peak, nu (steepness), ridge (rounding)
    theta = np.array([rng.uniform(0.1, 0.3), rng.uniform(2, 5), rng.uniform(0.15, 0.3), rng.uniform(0.05, 0.15), at, rng.uniform(0.8, 1.3), rng.uniform(0.02, 0.1)])  # fmt: skip
    design = pd.DataFrame({"n_params": np.tile(x, 3), "seed": np.repeat([0, 1, 2], len(x))})
    runs = simulate(law, design, theta=theta, noise=rng.uniform(0.03, 0.08), rng=rng)
    fine = np.geomspace(at / 10, at * 10, 20001)
    value = law.predict({"n_params": fine}, theta)
    top = 1 + int(np.argmax(value[1:-1] - np.minimum.accumulate(value)[1:-1]))  # the local maximum above the valley
    found = double_descent(runs, "n_params", "loss", rng=int(rng.integers(2**31)))
    if not found.found:
        return {"double-descent peak": (fine[top], np.nan, np.nan)}
    return {"double-descent peak": (fine[top], found.location.low, found.location.high)}


def threshold(rng: np.random.Generator) -> Found:
    """Middle, width and onset of the rise of a score: 14 models over four decades, 300 items of 4 options."""
    x = np.linspace(19.0, 23.0, 14)
    middle, width, ceiling = rng.uniform(20.2, 21.8), rng.uniform(0.6, 2.0), rng.uniform(0.6, 0.95)
    theta = np.array([middle, width, 0.25, ceiling])
    rate = binomial.mean(binomial.LOGISTIC, x, theta)
    table = pd.DataFrame({"flops": 10**x, "score": rng.binomial(300, rate) / 300})
    found = emergence(table, n_items=300, floor=0.25, rng=rng)
    fine = np.linspace(17, 24, 70001)
    onset = 10 ** fine[np.argmax(binomial.mean(binomial.LOGISTIC, fine, theta) > 0.25 + found.onset_gain)]
    return {
        "emergence threshold (middle)": (10**middle, found.middle.low, found.middle.high),
        "emergence sharpness (width)": (width, found.width.low, found.width.high),
        "emergence onset": (onset, found.onset.low, found.onset.high),
    }


def best_size(rng: np.random.Generator) -> Found:
    """N_opt from isoFLOP profiles, at the largest budget and ten times beyond: 7 budgets, 9 sizes, noise 0.2 to 0.4 %."""
    theta = chinchilla(rng)
    _, A, B, alpha, beta = theta
    flops = np.geomspace(1e18, 1e21, 7)

    def optimum(c: np.ndarray) -> np.ndarray:
        return (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * (c / 6) ** (beta / (alpha + beta))

    n = optimum(flops)[:, None] * np.geomspace(1 / 8, 8, 9) * np.exp(rng.uniform(-0.3, 0.3))
    design = pd.DataFrame({"n_params": n.ravel(), "n_tokens": (flops[:, None] / 6 / n).ravel()})
    runs = simulate(CHINCHILLA, design, theta=theta, noise=rng.uniform(0.002, 0.004), rng=rng)
    found = isoflop(runs, level=LEVEL, rng=rng, n_resamples=300)
    at = found.predict([1e21, 1e22])
    return {
        f"isoFLOP N_opt at {name}": (float(optimum(c)), float(at["n_params_low"].iloc[k]), float(at["n_params_high"].iloc[k]))
        for k, (name, c) in enumerate([("the largest budget", np.array(1e21)), ("10x", np.array(1e22))])
    } | {"isoFLOP exponent a": (beta / (alpha + beta), *found.n_opt.exponent_interval(LEVEL))}  # fmt: skip


def chained(rng: np.random.Generator) -> Found:
    """Score of a compute-optimal model at 10 and 100 times the largest budget: loss law, then score against loss."""
    theta = chinchilla(rng)
    _, A, B, alpha, beta = theta
    flops = np.repeat(np.geomspace(1e18, 1e21, 7), 9)
    optimum = (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * (flops / 6) ** (beta / (alpha + beta))
    n = optimum * np.tile(np.geomspace(1 / 8, 8, 9), 7)
    runs = simulate(CHINCHILLA, {"n_params": n, "n_tokens": flops / 6 / n}, theta=theta, noise=0.003, rng=rng)
    link, middle = get("score_sigmoid"), float(np.quantile(runs["loss"], 0.2)) - rng.uniform(0.0, 0.1)
    truth = np.array([0.25, rng.uniform(0.8, 0.95), rng.uniform(6, 12), middle])
    scored = runs.copy()
    scored["score"] = link.predict({"loss": runs["loss"].to_numpy()}, truth) + rng.normal(0, 0.008, len(runs))
    surface = fit(CHINCHILLA, runs, "robust")
    curve = fit(link, scored, "squared", fixed={"floor": 0.25})
    at = np.array([1e22, 1e23])
    size = (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * (at / 6) ** (beta / (alpha + beta))
    forecast = score_at(
        draws(surface, 1000, rng), draws(curve, 1000, rng), n_params=size, n_tokens=at / 6 / size, level=LEVEL, rng=rng
    )
    right = link.predict({"loss": CHINCHILLA.predict({"n_params": size, "n_tokens": at / 6 / size}, theta)}, truth)
    return {
        f"score forecast at {name}": (float(right[k]), float(forecast.low[k]), float(forecast.high[k]))
        for k, name in enumerate(["10x", "100x"])
    }


PROBLEMS: dict[str, Callable[[np.random.Generator], Found]] = {
    "peak": peak, "threshold": threshold, "best size": best_size, "chained": chained,
}  # fmt: skip


def measure(problem: str, sets: int, seed: int) -> pd.DataFrame:
    """Rows of problem, set, quantity, covered (nan: no interval), relative width of the interval, seconds of CPU."""
    rows = []
    for number in range(sets):
        rng = np.random.default_rng([seed, list(PROBLEMS).index(problem), number])
        began = time.process_time()
        try:
            found = PROBLEMS[problem](rng)
        except ScalingError:  # a refusal of the whole analysis is counted, not hidden
            found = {"(refused)": (np.nan, np.nan, np.nan)}
        seconds = time.process_time() - began
        for quantity, (truth, low, high) in found.items():
            answered = low <= high
            rows.append({
                "problem": problem, "set": number, "quantity": quantity, "seconds": seconds,
                "covered": float(low <= truth <= high) if answered else np.nan,
                "width": (high - low) / abs(truth) if answered and np.isfinite(high - low) else np.nan,
            })  # fmt: skip
    return pd.DataFrame(rows)


def section(rows: pd.DataFrame, command: str) -> str:
    """The text on curves."""
    lines = [
        "| quantity | covers, % | median width over the value | no interval, % | sets | CPU seconds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for quantity, part in rows.groupby("quantity", sort=False):
        lines.append(
            f"| {quantity} | {100 * part['covered'].mean():.1f} | {part['width'].median():.3g} | {100 * part['covered'].isna().mean():.1f} "
            f"| {len(part)} | {part['seconds'].median():.2f} |"
        )
    designs = "\n".join(f"* **{name}**: {function.__doc__}" for name, function in PROBLEMS.items())
    return f"""{HEADING}

Made by `{command}`: {LEVEL:.0%} intervals of curves on simulated tables with independent errors, coefficients drawn anew for each.

{designs}

{chr(10).join(lines)}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="4 tables a problem")
    parser.add_argument("--sets", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--problem", nargs="+", choices=list(PROBLEMS), default=list(PROBLEMS))
    parser.add_argument("--append", type=Path, help="replace or add the section in this page")
    parser.add_argument("--csv", type=Path, help="every interval as a row; saved after each problem")
    options = parser.parse_args()
    sets = 4 if options.quick else options.sets
    parts = []
    for problem in options.problem:
        parts.append(measure(problem, sets, options.seed))
        if options.csv:
            pd.concat(parts).to_csv(options.csv, index=False)
    text = section(pd.concat(parts), f"python benchmarks/calibration_curves.py --sets {sets} --seed {options.seed}")
    print(text)
    if options.append:
        page = options.append.read_text(encoding="utf-8").split(HEADING)[0].rstrip()
        options.append.write_text(f"{page}\n\n{text}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
