"""Does a design keep its promise, and how much does it save over repeating the ladder?

The ladder: five budgets from 1e17 to 1e19 FLOPs, seven sizes each a factor of two apart, from Chinchilla's law with noise.
Each simulation makes a ladder, fits it, designs further runs at the ladder's own cost, makes them, fits all runs, and
compares the band that came out with the promised one, the scatter of the estimates with the truth, and the same for
the ladder repeated once.

    python benchmarks/design_promise.py [--sims 200] [--seed 0] [--cases 0 2] [--csv FILE]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd

import scaling
from scaling.designing import band_with, design

THETA = np.array([1.8, 480.0, 2100.0, 0.35, 0.37])
LEVEL = 0.8
CASES = (
    ("n_params", "free", "squared-log", 0.004), ("tokens_per_param", "free", "squared-log", 0.004),
    ("loss", "free", "squared-log", 0.004), ("n_params", "isoflop", "squared-log", 0.004),
    ("n_params", "free", "robust", 0.004), ("n_params", "free", "squared-log", 0.02),
)  # fmt: skip
TARGET = 1e24


def ladder() -> pd.DataFrame:
    rows = [
        (n, c / 6 / n) for c in 10.0 ** np.arange(17, 19.5, 0.5) for n in np.sqrt(c / 120) * 2.0 ** np.arange(-3, 4)
    ]
    return pd.DataFrame(rows, columns=["n_params", "n_tokens"])


def made(runs: pd.DataFrame, noise: float, rng: np.random.Generator) -> pd.DataFrame:
    runs = runs.loc[runs.index.repeat(runs["count"])] if "count" in runs else runs
    table = runs[["n_params", "n_tokens"]].reset_index(drop=True)
    table["flops"] = 6 * table["n_params"] * table["n_tokens"]
    return scaling.simulate(scaling.CHINCHILLA, table, theta=THETA, noise=noise, rng=rng)


class Truth:
    law, theta = scaling.CHINCHILLA, THETA


def one(quantity: str, kind: str, objective: str, noise: float, rng: np.random.Generator) -> dict[str, float]:
    """One simulation: log widths promised and realised, and log errors, of the design and of the ladder repeated."""
    first = made(ladder(), noise, rng)
    fitted = scaling.fit("chinchilla", first, objective)
    spend = float(first["flops"].sum())
    best = design(fitted, TARGET, spend, quantity=quantity, kind=kind, level=LEVEL)
    truth = float(getattr(scaling.allocate(Truth(), TARGET), quantity)[0])
    out = {
        "now": np.log(best.width_now),
        "promised": np.log(best.width_then),
        "repeat_promised": np.log(best.width_repeated),
    }
    for name, runs in (("", best.runs), ("repeat_", ladder())):
        both = pd.concat([first, made(runs, noise, rng)], ignore_index=True)
        after = scaling.fit("chinchilla", both, objective)
        out[f"{name}realised"] = np.log(band_with(after, runs.head(0), TARGET, quantity=quantity, level=LEVEL))
        out[f"{name}error"] = float(np.log(getattr(scaling.allocate(after, TARGET), quantity)[0] / truth))
        out[f"{name}covered"] = float(abs(out[f"{name}error"]) <= out[f"{name}realised"] / 2)
    return out


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--sims", type=int, default=200)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--cases", type=int, nargs="*", default=range(len(CASES)), help="which, counted from 0")
    options.add_argument("--csv")
    chosen = options.parse_args()
    rows = []
    for quantity, kind, objective, noise in (CASES[i] for i in chosen.cases):
        start, failed, sims = time.process_time(), 0, []
        for rng in np.random.default_rng(chosen.seed).spawn(chosen.sims):
            try:
                sims.append(one(quantity, kind, objective, noise, rng))
            except ValueError:  # a ladder from which nothing can be designed is counted, not hidden
                failed += 1
        s = pd.DataFrame(sims)
        rows.append(
            {
                "quantity": quantity, "kind": kind, "objective": objective, "noise": noise, "sims": len(s), "failed": failed,
                "now": np.exp(s["now"].median() / 2) - 1, "promised": np.exp(s["promised"].median() / 2) - 1,
                "realised": np.exp(s["realised"].median() / 2) - 1,
                "repeated": np.exp(s["repeat_realised"].median() / 2) - 1,
                "realised/promised": (s["realised"] / s["promised"]).median(),
                "10%": (s["realised"] / s["promised"]).quantile(0.1), "90%": (s["realised"] / s["promised"]).quantile(0.9),
                "scatter/promised": s["error"].quantile([0.1, 0.9]).diff().iloc[-1] / s["promised"].median(),
                "covered": s["covered"].mean(), "narrower": (s["repeat_realised"] / s["realised"]).median(),
                "scatter narrower": s["repeat_error"].abs().median() / s["error"].abs().median(),
                "cpu s": (time.process_time() - start) / chosen.sims,
            }
        )  # fmt: skip
        print(pd.DataFrame(rows[-1:]).to_string(index=False, float_format="%.3g"), flush=True)
    table = pd.DataFrame(rows)
    print("\n" + table.to_string(index=False, float_format="%.3g"))
    if chosen.csv:
        table.to_csv(chosen.csv, index=False)


if __name__ == "__main__":
    main()
