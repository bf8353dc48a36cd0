"""Grokking measured: modular addition learned by a small network, with runs that never generalise.

a + b mod 31 from one-hot a and b: one hidden layer of quadratic units on summed embeddings, squared error, full-batch AdamW
(decoupled weight decay); data fractions, weight decays and seeds are varied. numpy alone, a few minutes on one core:

    python data/make/grokking.py            # writes data/grokking/curves.csv
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

MODULUS, HIDDEN = 31, 96
RATE, STEPS = 3e-3, 4000
LOG_EVERY = 20  # steps until 400; then every 100
SETTINGS = (
    *((f, 0.3, s) for f in (0.3, 0.4, 0.5, 0.6, 0.7) for s in (0, 1, 2)),
    *((0.5, d, s) for d in (0.0, 0.1, 1.0) for s in (0, 1, 2)),
)
COLUMNS = (
    "run", "train_fraction", "weight_decay", "seed", "step", "train_loss", "train_acc", "val_loss", "val_acc",
    "weight_norm",
)  # fmt: skip


def train(fraction: float, decay: float, seed: int, steps: int = STEPS) -> list[tuple[object, ...]]:
    """One run: rows of COLUMNS."""
    rng = np.random.default_rng([seed, 17])
    a, b = (v.ravel() for v in np.meshgrid(np.arange(MODULUS), np.arange(MODULUS), indexing="ij"))
    eye = np.eye(MODULUS, dtype=np.float32)
    x, y, label = np.concatenate([eye[a], eye[b]], 1), eye[(a + b) % MODULUS], (a + b) % MODULUS
    order = rng.permutation(len(a))
    known, held = np.split(order, [round(fraction * len(a))])
    w = [
        rng.standard_normal((2 * MODULUS, HIDDEN)).astype(np.float32),
        (rng.standard_normal((HIDDEN, MODULUS)) / np.sqrt(HIDDEN)).astype(np.float32),
    ]
    m, v = [np.zeros_like(p) for p in w], [np.zeros_like(p) for p in w]
    xk, yk = x[known], y[known]
    rows: list[tuple[object, ...]] = []
    for step in range(steps + 1):
        if step % (LOG_EVERY if step <= 400 else 100) == 0:
            out = (x @ w[0]) ** 2 @ w[1]
            loss, right = ((out - y) ** 2).sum(1), out.argmax(1) == label
            norm = float(np.sqrt(sum(np.sum(p.astype(float) ** 2) for p in w)))
            rows.append(
                (
                    f"f{fraction:g}-wd{decay:g}-s{seed}", fraction, decay, seed, step, float(loss[known].mean()),
                    float(right[known].mean()), float(loss[held].mean()), float(right[held].mean()), norm,
                )
            )  # fmt: skip
        pre = xk @ w[0]
        h = pre**2
        d = (2 / len(xk)) * (h @ w[1] - yk)
        grads = (xk.T @ ((d @ w[1].T) * 2 * pre), h.T @ d)
        for i, g in enumerate(grads):
            m[i] = 0.9 * m[i] + 0.1 * g
            v[i] = 0.98 * v[i] + 0.02 * g * g
            change = (m[i] / (1 - 0.9 ** (step + 1))) / (np.sqrt(v[i] / (1 - 0.98 ** (step + 1))) + 1e-8)
            w[i] -= np.float32(RATE) * (change + np.float32(decay) * w[i])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "grokking")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    path = out / "curves.csv"
    with path.open("w", newline="") as f:
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow(COLUMNS)
        for setting in SETTINGS:
            for row in train(*setting):
                writer.writerow([f"{v:.6g}" if isinstance(v, float) else v for v in row])
            f.flush()
    print(path)


if __name__ == "__main__":
    main()
