"""How often does the emergence analysis claim what is not there, and how often does it find what is?

Scores are simulated at item level along compute and put through `emergence`. Null truths rise over at least one decade
(or not at all): a claim of "sudden" is false, and at the smooth ones so is a corner. Sudden truths have the size that
the table states. Run:

    python benchmarks/false_claims_emergence.py            # 400 simulations a truth, some minutes
    python benchmarks/false_claims_emergence.py --quick    # 60
    python benchmarks/false_claims_emergence.py --csv out.csv

With --csv each truth is written as soon as it is done, and truths that the file holds already are not run again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scaling.curves import binomial as curves
from scaling.curves.emergence import emergence

X = np.linspace(19.0, 23.0, 12)  # log10 of compute: 12 models over four decades
MOST_FALSE, LEAST_POWER = 0.05, 0.90


@dataclass(frozen=True)
class Truth:
    """`kind` is "null" (no suddenness), "sudden" or "corner"; `smooth` truths have no corner either."""

    name: str
    kind: str
    mean: Callable[[np.ndarray], np.ndarray]
    n_items: int = 500
    dispersion: float = 1.0
    counted: bool = True
    floor: float = 0.25
    smooth: bool = True


def _curve(
    shape: curves.Shape, middle: float, width: float, floor: float, ceiling: float
) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: curves.mean(shape, x, np.array([middle, width, floor, ceiling]))


def _power_law_answer(alpha: float, tokens: int, middle: float) -> Callable[[np.ndarray], np.ndarray]:
    """Exact match of an answer of many tokens, whose loss per token falls as a power law of compute."""
    return lambda x: np.exp(-tokens * (np.log(2) / tokens) * 10 ** (-alpha * (x - middle)))


LOGISTIC, RATE, MANY, RAMP = curves.LOGISTIC, curves.POWER_OF_RATE, curves.MANY_WAYS, curves.RAMP
TRUTHS = (
    Truth("constant at chance", "null", lambda x: np.full_like(x, 0.25)),
    Truth("constant, 100 items", "null", lambda x: np.full_like(x, 0.25), n_items=100),
    Truth("logistic over 1 decade (the limit)", "null", _curve(LOGISTIC, 21.0, 1.0, 0.25, 0.8)),
    Truth("logistic over 1 decade, 100 items", "null", _curve(LOGISTIC, 21.0, 1.0, 0.25, 0.8), n_items=100),
    Truth("logistic over 1.5 decades", "null", _curve(LOGISTIC, 21.2, 1.5, 0.25, 0.8)),
    Truth("logistic over 3 decades", "null", _curve(LOGISTIC, 21.2, 3.0, 0.25, 0.9)),
    Truth("logistic over 1.5 decades, variance x 4", "null", _curve(LOGISTIC, 21.0, 1.5, 0.25, 0.8), dispersion=4.0),
    Truth("logistic over 1.5 decades, no counts", "null", _curve(LOGISTIC, 21.0, 1.5, 0.25, 0.8), counted=False),
    Truth("late logistic over 1.5 decades", "null", _curve(LOGISTIC, 23.0, 1.5, 0.25, 0.9)),
    Truth("exact match of 20 tokens, loss C^-0.5", "null", _power_law_answer(0.5, 20, 21.5), floor=0.0),
    Truth("exact match of 5 tokens, loss C^-1", "null", _power_law_answer(1.0, 5, 21.2), floor=0.0),
    Truth("power-law rise over 2 decades", "null", _curve(MANY, 21.3, 2.0, 0.0, 0.9), floor=0.0),
    Truth("logistic over 0.3 decades, rise .4", "sudden", _curve(LOGISTIC, 21.1, 0.3, 0.25, 0.65)),
    Truth("step of .25 between two scales", "sudden", lambda x: np.where(x > 21.05, 0.5, 0.25), smooth=False),
    Truth("step of .4, 200 items", "sudden", lambda x: np.where(x > 21.05, 0.65, 0.25), n_items=200, smooth=False),
    Truth("exact match 0 to .5 over 0.4 decades", "sudden", _curve(RATE, 21.0, 0.4, 0.0, 0.5), floor=0.0),
    Truth("step of .4, variance x 4", "sudden", lambda x: np.where(x > 21.05, 0.65, 0.25), dispersion=4.0, smooth=False),
    Truth("step of .4, no counts", "sudden", lambda x: np.where(x > 21.05, 0.65, 0.25), counted=False, smooth=False),
    Truth("flat, then linear: corner, 2000 items", "corner", _curve(RAMP, 21.6, 1.6, 0.25, 0.9), n_items=2000, smooth=False),
)  # fmt: skip


def simulate_one(truth: Truth, n: int, n_draws: int, seed: int) -> dict[str, object]:
    """Rates of the claims "sudden" and "corner" over n simulated tables of one truth."""
    rng = np.random.default_rng([seed, TRUTHS.index(truth)])
    mu = truth.mean(X)
    counts = np.full(len(X), float(truth.n_items))
    rows = curves.simulate(mu, counts, truth.dispersion, n, rng) / counts
    started = time.perf_counter()
    sudden = corner = gradual = 0
    for rates in rows:
        found = emergence(
            pd.DataFrame({"flops": 10**X, "score": rates}),
            n_items=truth.n_items if truth.counted else None,
            floor=truth.floor,
            n_draws=n_draws,
            rng=rng,
        )
        sudden += found.verdict == "sudden"
        gradual += found.verdict == "gradual"
        corner += found.p_corner < 0.05
    seconds = (time.perf_counter() - started) / n
    return {
        "truth": truth.name,
        "kind": truth.kind,
        "items": truth.n_items if truth.counted else "not given",
        "sudden": sudden / n,
        "gradual": gradual / n,
        "corner": corner / n,
        "simulations": n,
        "seconds_each": round(seconds, 3),
    }


def misses(table: pd.DataFrame) -> list[str]:
    """The truths whose claims leave the stated bounds by more than two standard errors of the simulation."""
    out = []
    smooth = {t.name for t in TRUTHS if t.smooth}
    for row in table.to_dict("records"):
        n = row["simulations"]
        slack_false = 2 * np.sqrt(MOST_FALSE * (1 - MOST_FALSE) / n)
        slack_power = 2 * np.sqrt(LEAST_POWER * (1 - LEAST_POWER) / n)
        if row["kind"] == "null" and row["sudden"] > MOST_FALSE + slack_false:
            out.append(f"{row['truth']}: called sudden in {row['sudden']:.1%}")
        if row["truth"] in smooth and row["corner"] > MOST_FALSE + slack_false:
            out.append(f"{row['truth']}: a corner in {row['corner']:.1%}")
        if row["kind"] in ("sudden", "corner") and row[row["kind"]] < LEAST_POWER - slack_power:
            out.append(f"{row['truth']}: {row['kind']} found in {row[row['kind']]:.1%} only")
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="60 simulations a truth instead of 400")
    parser.add_argument("--n", type=int, help="simulations a truth")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="+", help="numbers of the truths to run, from 0")
    parser.add_argument("--csv", help="write the table here")
    options = parser.parse_args()
    n = options.n or (60 if options.quick else 400)
    rows: list[dict] = []
    if options.csv and os.path.exists(options.csv):
        rows = pd.read_csv(options.csv, keep_default_na=False).to_dict("records")
    done = {row["truth"] for row in rows}
    for truth in TRUTHS if options.only is None else [TRUTHS[i] for i in options.only]:
        if truth.name in done:
            continue
        rows.append(simulate_one(truth, n, 99 if options.quick else 199, options.seed))
        print(", ".join(f"{k} {v:.3f}" if isinstance(v, float) else str(v) for k, v in rows[-1].items()), flush=True)
        if options.csv:
            pd.DataFrame(rows).to_csv(options.csv, index=False)
    table = pd.DataFrame(rows)
    print("\n" + table.to_string(index=False))
    failed = misses(table)
    print("\n" + ("\n".join(failed) if failed else "every rate lies within its bound (false claims 5 %, power 90 %)"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
