"""Double descent measured: random features and a small network on scikit-learn's digits with wrong labels.

Four sweeps, 400 training digits and 500 test digits of 8 x 8 pixels, ten classes, squared error of one-hot targets:
width-wise and sample-wise random ReLU features (ridge 0 and 0.01, 0, 10 and 20 % wrong labels, five seeds), and a network of one
hidden layer whose training is followed over epochs and widths. Effective parameters (Curth et al. 2023) of each
least-squares run on training and test points. numpy and scikit-learn's data alone, a few minutes on one core:

    python data/make/double_descent.py            # writes data/double_descent/*.csv
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from scaling.curves.double_descent import effective_parameters, least_squares_smoother

N_TRAIN, CLASSES = 400, 10
NOISES, RIDGES, SEEDS = (0.0, 0.1, 0.2), (0.0, 0.01), (0, 1, 2, 3, 4)
WIDTHS = (10, 20, 40, 70, 120, 180, 250, 300, 340, 370, 385, 400, 415, 430, 460, 520, 640, 900, 1400, 2400)
SIZES = (60, 100, 150, 200, 240, 270, 285, 300, 315, 330, 360, 420, 520, 700, 950, 1200)
FEATURES_OF_SIZES = 300
HIDDEN = (1, 2, 3, 4, 6, 8, 11, 16, 24, 40, 64, 128)
EPOCHS, BATCH, RATE, NET_SEEDS = 800, 50, 3e-3, (0, 1, 2)
LOGGED = tuple(sorted({round(e) for e in np.geomspace(1, EPOCHS, 40)}))

Arrays = tuple[np.ndarray, ...]


def digits(seed: int, n_train: int, noise: float) -> Arrays:
    """Training points (n, 64), one-hot noisy labels (n, 10), test points and labels; the same split for a seed."""
    from sklearn.datasets import load_digits

    data = load_digits()
    rng = np.random.default_rng([seed, 7])
    order = rng.permutation(len(data.target))
    x = data.data[order] / 16.0
    x = (x - x.mean()) / x.std()
    y = data.target[order]
    # the test points are the same for every training size: the last 500
    labels = y[:n_train].copy()
    wrong = rng.random(len(y))[:n_train] < noise
    shift = rng.integers(1, CLASSES, len(y))[:n_train]
    labels[wrong] = (labels[wrong] + shift[wrong]) % CLASSES
    eye = np.eye(CLASSES)
    return x[:n_train], eye[labels], x[-500:], eye[y[-500:]]


def random_features(seed: int, width: int, x: np.ndarray) -> np.ndarray:
    """ReLU of fixed random projections, (n, width); narrower sets are the first columns of wider ones."""
    weights = np.random.default_rng([seed, 11]).standard_normal((max(WIDTHS), x.shape[1])) / np.sqrt(x.shape[1])
    return np.maximum(x @ weights[:width].T, 0) * np.sqrt(2 / width)


def scores(predicted: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """Squared error summed over classes, and accuracy."""
    right = predicted.argmax(1) == target.argmax(1)
    return float(((predicted - target) ** 2).sum(1).mean()), float(right.mean())


def least_squares(sweep: str, settings: list[tuple[int, int]]) -> list[dict[str, object]]:
    """One row per (width, n), label noise, ridge and seed."""
    rows: list[dict[str, object]] = []
    for seed in SEEDS:
        for width, n in settings:
            for ridge in RIDGES:
                x, _, x_test, _ = digits(seed, n, 0.0)
                f, f_test = random_features(seed, width, x), random_features(seed, width, x_test)
                # the fit of the labels is the smoother times them: one matrix serves every label noise
                both = least_squares_smoother(f, np.concatenate([f, f_test]), ridge)
                train, test = both[:n], both[n:]
                p_train, p_test = effective_parameters(train), effective_parameters(test)
                for noise in NOISES:
                    _, y, _, y_test = digits(seed, n, noise)
                    train_loss, train_acc = scores(train @ y, y)
                    test_loss, test_acc = scores(test @ y, y_test)
                    rows.append(
                        {
                            "run": f"{sweep}-w{width}-n{n}-noise{noise:g}-ridge{ridge:g}-s{seed}",
                            "width": width, "n_samples": n, "label_noise": noise, "ridge": ridge, "seed": seed,
                            "train_loss": train_loss, "train_acc": train_acc, "test_loss": test_loss,
                            "test_acc": test_acc, "p_train": p_train, "p_test": p_test,
                        }
                    )  # fmt: skip
    return rows


def network(width: int, noise: float, seed: int) -> list[dict[str, object]]:
    """Train 64 -> width -> 10 with Adam on squared error; one row per logged epoch."""
    x, y, x_test, y_test = digits(seed, N_TRAIN, noise)
    rng = np.random.default_rng([seed, 13, width])
    w = [
        rng.standard_normal((64, width)) * np.sqrt(2 / 64), np.zeros(width),
        rng.standard_normal((width, CLASSES)) * np.sqrt(1 / width), np.zeros(CLASSES),
    ]  # fmt: skip
    m, v, t = [np.zeros_like(a) for a in w], [np.zeros_like(a) for a in w], 0
    rows: list[dict[str, object]] = []
    for epoch in range(1, EPOCHS + 1):
        order = rng.permutation(len(x))
        for k in range(0, len(x), BATCH):
            xb, yb = x[order[k : k + BATCH]], y[order[k : k + BATCH]]
            h = np.maximum(xb @ w[0] + w[1], 0)
            d = 2 * (h @ w[2] + w[3] - yb) / len(xb)
            dh = (d @ w[2].T) * (h > 0)
            t += 1
            for i, g in enumerate((xb.T @ dh, dh.sum(0), h.T @ d, d.sum(0))):
                m[i] = 0.9 * m[i] + 0.1 * g
                v[i] = 0.999 * v[i] + 0.001 * g * g
                w[i] -= RATE * (m[i] / (1 - 0.9**t)) / (np.sqrt(v[i] / (1 - 0.999**t)) + 1e-8)
        if epoch in LOGGED:
            train_loss, train_acc = scores(np.maximum(x @ w[0] + w[1], 0) @ w[2] + w[3], y)
            test_loss, test_acc = scores(np.maximum(x_test @ w[0] + w[1], 0) @ w[2] + w[3], y_test)
            rows.append(
                {
                    "run": f"net-w{width}-noise{noise:g}-s{seed}", "width": width,
                    "n_params": 64 * width + width + width * CLASSES + CLASSES, "epoch": epoch, "label_noise": noise,
                    "seed": seed, "train_loss": train_loss, "train_acc": train_acc, "test_loss": test_loss,
                    "test_acc": test_acc,
                }
            )  # fmt: skip
    return rows


def write(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="") as f:
        writer = csv.DictWriter(f, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    print(f"{path}: {len(rows)} rows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "double_descent")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    write(out / "width.csv", least_squares("width", [(w, N_TRAIN) for w in WIDTHS]))
    write(out / "samples.csv", least_squares("samples", [(FEATURES_OF_SIZES, n) for n in SIZES]))
    nets = [row for w in HIDDEN for noise in (0.0, 0.2) for seed in NET_SEEDS for row in network(w, noise, seed)]
    write(out / "network.csv", nets)


if __name__ == "__main__":
    main()
