"""Seconds for a refit of many groups, a second refit, and (extrapolated) a loop of scipy fits. --quick: 200 groups."""

from __future__ import annotations

import argparse
import tempfile
import time

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from scaling.refitting import refit

SAMPLE, STARTS = 3, 20  # of the scipy loop; the figure is extrapolated to all groups


def make(groups: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    size = groups * 30
    n, d = 10 ** rng.uniform(7, 10, size), 10 ** rng.uniform(9, 12, size)
    loss = (1.7 + 400 / n**0.34 + 410 / d**0.28) * np.exp(rng.normal(0, 0.003, size))
    return pd.DataFrame({"team": np.repeat(np.arange(groups), 30), "n_params": n, "n_tokens": d, "loss": loss})


def scipy_fit(part: pd.DataFrame, rng: np.random.Generator) -> None:
    ln, ld, ll = (np.log(part[c].to_numpy()) for c in ("n_params", "n_tokens", "loss"))

    def residuals(u: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            terms = np.array([np.full_like(ln, u[0]), u[1] - u[3] * ln, u[2] - u[4] * ld])
            return np.logaddexp.reduce(terms, axis=0) - ll

    for _ in range(STARTS):
        start = rng.uniform([-1, 0, 0, 0.1, 0.1], [1, 9, 9, 0.8, 0.8])
        least_squares(residuals, start, loss="huber", f_scale=1e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    groups = 200 if parser.parse_args().quick else 10_000
    runs = make(groups)
    with tempfile.TemporaryDirectory() as folder:
        for label in ("first refit", "second refit, nothing changed"):
            begin = time.perf_counter()
            report = refit(runs, "chinchilla", by="team", store=folder, workers=1)
            print(
                f"{label}: {groups} groups, {report.n_computed} computed, {time.perf_counter() - begin:.2f} s",
                flush=True,
            )
    begin, rng = time.perf_counter(), np.random.default_rng(1)
    for team in range(SAMPLE):
        scipy_fit(runs[runs["team"] == team], rng)
    each = (time.perf_counter() - begin) / SAMPLE
    print(
        f"scipy, {STARTS} starts: {each:.2f} s a group, {each * groups:.0f} s for all (extrapolated from {SAMPLE} groups)"
    )


if __name__ == "__main__":
    main()
