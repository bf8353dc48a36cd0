"""Scores of small networks of rising size on three-digit addition: exact answers and single digits.

Each network reads two numbers of three digits (one-hot) and gives the four digits of their sum. One hidden layer of 2 to
512 units, Adam with a cosine schedule, the same fresh random sums for the same seed; numpy alone, about ten minutes on
one core:

    python data/make/emergence.py            # writes data/emergence/addition.csv
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

WIDTHS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
SEEDS = (0, 1, 2)
STEPS = 3000
BATCH = 256
PEAK_RATE = 1e-2
N_ITEMS = 2000
DIGITS_IN, DIGITS_OUT, BASE = 6, 4, 10
COLUMNS = (
    "run", "width", "seed", "n_params", "n_samples", "flops", "loss", "exact_match", "per_digit", "n_exact", "n_items",
)  # fmt: skip

Weights = list[np.ndarray]


def sums(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """n random sums: one-hot digits of both numbers (n, 60) and the digits of the sum (n, 4), most significant first."""
    a, b = rng.integers(0, BASE**3, size=(2, n))
    digits = np.stack([v // BASE**k % BASE for v in (a, b) for k in (2, 1, 0)], axis=1)
    out = np.stack([(a + b) // BASE**k % BASE for k in (3, 2, 1, 0)], axis=1)
    return np.eye(BASE, dtype=np.float32)[digits].reshape(n, -1), out


def start(rng: np.random.Generator, width: int) -> Weights:
    """Weights and biases of both layers, scaled to the number of inputs."""
    first = rng.normal(0, np.sqrt(2 / DIGITS_IN), size=(DIGITS_IN * BASE, width))
    second = rng.normal(0, np.sqrt(1 / width), size=(width, DIGITS_OUT * BASE))
    return [v.astype(np.float32) for v in (first, np.zeros(width), second, np.zeros(DIGITS_OUT * BASE))]


def forward(weights: Weights, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hidden activities (n, width) and log probabilities of the digits (n, 4, 10)."""
    hidden = np.maximum(x @ weights[0] + weights[1], 0)
    logits = (hidden @ weights[2] + weights[3]).reshape(len(x), DIGITS_OUT, BASE)
    logits -= logits.max(axis=-1, keepdims=True)
    return hidden, logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def gradients(weights: Weights, x: np.ndarray, y: np.ndarray) -> Weights:
    """Derivative of the mean cross-entropy per digit."""
    hidden, log_p = forward(weights, x)
    error = np.exp(log_p)
    np.put_along_axis(error, y[..., None], np.take_along_axis(error, y[..., None], -1) - 1, -1)
    error = error.reshape(len(x), -1) / y.size
    back = (error @ weights[2].T) * (hidden > 0)
    return [x.T @ back, back.sum(axis=0), hidden.T @ error, error.sum(axis=0)]


def train(width: int, seed: int) -> Weights:
    """Adam from a fresh start."""
    rng = np.random.default_rng([seed, width])
    stream = np.random.default_rng([seed, 10**6])  # the same sums for every width of a seed
    weights = start(rng, width)
    first = [np.zeros_like(w) for w in weights]
    second = [np.zeros_like(w) for w in weights]
    for step in range(1, STEPS + 1):
        rate = PEAK_RATE * min(1.0, step / 100) * 0.5 * (1 + np.cos(np.pi * step / STEPS))
        for w, m, v, g in zip(weights, first, second, gradients(weights, *sums(stream, BATCH)), strict=True):
            m += 0.1 * (g - m)
            v += 0.01 * (g * g - v)
            w -= rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.99**step)) + 1e-8)
    return weights


def score(weights: Weights, x: np.ndarray, y: np.ndarray) -> tuple[float, int, float]:
    """Cross-entropy per digit [nats], number of wholly right sums, share of right digits."""
    log_p = forward(weights, x)[1]
    right = log_p.argmax(axis=-1) == y
    loss = -float(np.take_along_axis(log_p, y[..., None], -1).mean(dtype=float))
    return loss, int(right.all(axis=1).sum()), float(right.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=str(Path(__file__).parents[1] / "emergence" / "addition.csv"))
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS))
    options = parser.parse_args()
    items = sums(np.random.default_rng(2**31), N_ITEMS)
    with open(options.out, "w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for width in options.widths:
            for seed in SEEDS:
                loss, n_exact, per_digit = score(train(width, seed), *items)
                n_params = (DIGITS_IN * BASE + 1) * width + (width + 1) * DIGITS_OUT * BASE
                samples = STEPS * BATCH
                row = (f"w{width}-s{seed}", width, seed, n_params, samples, 6 * n_params * samples)
                writer.writerow((*row, f"{loss:.6f}", n_exact / N_ITEMS, f"{per_digit:.6f}", n_exact, N_ITEMS))
                stream.flush()
                print(
                    f"width {width} seed {seed}: loss {loss:.4f}, exact {n_exact / N_ITEMS:.4f}, digits {per_digit:.4f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
