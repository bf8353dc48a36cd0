"""Learning curves, breaks, double descent, grokking."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from scaling.curves.double_descent import double_descent, peak_test
from scaling.curves.grokking import grokking
from scaling.fitting import Squared, fit
from scaling.laws import broken_power_law
from targets.rows import README, Row, coefs_of, read, rows_of


def broken(folder: Path) -> list[Row]:
    """Caballero et al. 2022: 14 points before and after a sharp break extrapolate to three more."""
    name = "bnsl-4digit-addition"
    runs = read(folder, name)
    # least squares of ln(1 + y), as the authors: the same law of 1 + y, whose floor is 1 + a
    table = pd.DataFrame({"dataset_size": runs["dataset_size"].astype(float), "loss_plus_one": 1 + runs["loss"]})
    known = (runs["split"] == "fit").to_numpy()
    law = broken_power_law(1, x="dataset_size", target="loss_plus_one", x_range=(100.0, 2000.0))
    result = fit(law, table[known], Squared("log"))
    miss = np.log(result.predict(table) / table["loss_plus_one"].to_numpy())
    ours = coefs_of(result)
    error = [float(np.sqrt(np.mean(miss[part] ** 2))) for part in (known, ~known)]
    return [
        Row(name, "RMSLE of the 14 fitted points", 0.00060, error[0], "at most", 0.01, "two digits printed", README),
        Row(name, "RMSLE of the 3 extrapolated points", 0.0109, error[1], "at most", 5e-3, "three digits printed", README),
        Row(name, "place of the break", 612.6, ours["d1"], "rel", 2e-3, "flat optimum: their grid search stops near it", README),
    ]  # fmt: skip


def descent_polynomial(folder: Path) -> list[Row]:
    """Schaeffer et al. 2023: least squares with Legendre polynomials on 15 points."""
    name = "double-descent-polynomial"
    result = double_descent(
        read(folder, name).rename(columns={"n_params": "features"}), "features", centre="median", train="train_loss", fitted_at=1e-6,
        n_samples=15, n_resamples=20,
    )  # fmt: skip
    at_200 = float(result.points.set_index("features").loc[200, "value"])
    return [
        Row(name, "features at the peak", 15, result.peak_at, "abs", 0, "a count"),
        Row(name, "features at which the points are interpolated", 15, result.threshold, "abs", 0, "a count"),
        Row(name, "least median before the peak", 0.511, result.before[1], "abs", 5.1e-4, "the digits printed", README),
        Row(name, "median with 200 features", 0.556, at_200, "abs", 5.1e-4, "the digits printed", README),
        Row(name, "median at the peak", 6.7e6, result.peak_value, "rel", 0.02, "ours is the geometric mean of the two middle repeats", README),
    ]  # fmt: skip


def descent_width(folder: Path) -> list[Row]:
    """Width sweeps on MNIST and CIFAR-10."""
    name = "double-descent-width"
    table = read(folder, name)
    mnist = double_descent(table[table["group"] == "mnist_fc_noise20_4000ep"], "width", train="train_acc", n_samples=4000, n_resamples=20)  # fmt: skip
    cifar = double_descent(table[table["group"] == "cifar10_cnn_noise20_100ep"], "width", n_resamples=20)
    clean = double_descent(table[table["group"] == "cifar10_cnn_noise0_100ep"], "width", n_resamples=20)
    out = [Row(name, "MNIST, 20 % noise: peak where the training set is fitted", mnist.threshold, mnist.peak_at, "abs", 0, "one width of the sweep")]  # fmt: skip
    pairs: list[tuple[str, float, float]] = []
    for title, found, printed in (
        ("MNIST, 20 % noise", mnist, (13, 2.5445, 4, 1.0795, 1000, 0.5465)),
        ("CIFAR-10, 20 % noise", cifar, (14, 2.4663, 4, 1.2059, 64, 0.9676)),
    ):
        ours = (found.peak_at, found.peak_value, *found.before, *found.after)
        labels = ("width at the peak", "loss at the peak", "width of the least before", "least loss before", "width of the least after", "least loss after")  # fmt: skip
        pairs += [(f"{title}: {w}", p, o) for w, p, o in zip(labels, printed, ours, strict=True)]
    out += rows_of(name, pairs, "abs", 5.1e-5, "the digits printed", origin=README)
    out.append(Row(name, "CIFAR-10 without noise: peaks found", 0, float(clean.found), "abs", 0, "the negative control", README))  # fmt: skip
    seeds = read(folder, name, "runs_seeds_epochs.csv.gz")
    last = seeds[seeds["epoch"] == seeds["epoch"].max()]
    means = last.groupby("width")["test_loss"].mean()
    test = peak_test(means.index.to_numpy(float), [np.log(v["test_loss"].to_numpy()) for _, v in last.groupby("width")])
    out.append(Row(name, "ten seeds: p-value of the peak", 0.001, test.p_value, "at most", 0, "a picture is no test; the README has no value", README))  # fmt: skip
    pairs = [("ten seeds: width at the peak", 12, float(means.idxmax())), ("ten seeds: mean loss there", 2.591, float(means.max()))]  # fmt: skip
    return out + rows_of(name, pairs, "abs", 5.1e-4, "the digits printed", origin=README)


def delays(folder: Path) -> list[Row]:
    """Grokking: every value of the authors' table."""
    name = "grokking-adamw"
    printed = read(folder, name, "published_summary.csv").set_index("run_name")
    ours = grokking(read(folder, name, "runs.csv.gz")).runs.set_index("run").loc[printed.index]
    pairs = {
        "sustained_99p9_train_step": "memorised", "sustained_95_test_step": "generalised", "memorization_plateau_steps": "delay",
        "first_99_test_step": "first_99", "maximum_test_accuracy": "maximum", "final_test_accuracy": "final",
        "minimum_post_grokking_test_accuracy": "lowest_after", "post_grokking_below_95_count": "drops_95",
        "post_grokking_below_90_count": "drops_90",
    }  # fmt: skip
    out = []
    for theirs, mine in pairs.items():
        both = pd.DataFrame({"theirs": printed[theirs], "ours": ours[mine]})
        either = both.dropna(how="all")
        same = np.isclose(either["theirs"], either["ours"], rtol=0, atol=1e-15 if "accuracy" in theirs else 0)
        out.append(Row(name, f"{theirs}: values equal", len(either), float(same.sum()), "abs", 0, "steps and counts are exact, accuracies to the last bit"))  # fmt: skip
    count = int(printed[list(pairs)].notna().sum().sum())
    out.append(Row(name, "values compared", 58, count, "at least", 0, "the README compares 58", README))
    return out


def lcdb(folder: Path) -> list[Row]:
    """Mohr et al. 2022: which learning curve extrapolates best? 275 curves, four laws, one call each."""
    name = "lcdb-learning-curves"
    runs = read(folder, name, "runs.csv.gz").rename(columns={"dataset_size": "n_samples", "error_rate": "error", "group": "run"})  # fmt: skip
    place, length = runs.groupby("run").cumcount(), runs.groupby("run")["run"].transform("size")
    train, last = runs[place < np.ceil(0.7 * length)], runs[place == length - 1].set_index("run")
    train = train[train.groupby("run")["run"].transform("size") >= 5]
    errors = {}
    for form in ("mmf4", "pow3", "exp3", "log2"):
        result = fit(f"curve_{form}", train[["run", "n_samples", "error"]], Squared(), by="run")
        assert result.groups is not None
        ends = last.loc[result.groups["run"]]
        x = {"n_samples": ends["n_samples"].to_numpy(dtype=float)[:, None]}
        errors[form] = (result.law.predict(x, result.theta)[:, 0] - ends["error"].to_numpy()) ** 2
    names = list(train["run"].drop_duplicates())
    errors["last1"] = (train.groupby("run")["error"].last().loc[names] - last.loc[names, "error"]).to_numpy() ** 2
    median = {form: float(np.median(e)) for form, e in errors.items()}
    others = min(v for form, v in median.items() if form != "mmf4")
    printed = {"mmf4": 2.8e-4, "last1": 6.9e-4, "pow3": 8.0e-4, "exp3": 1.7e-3, "log2": 9.4e-3}
    return [
        Row(name, "curves", 275, len(names), "abs", 0, "a count", README),
        Row(name, "median squared error of mmf4 over the least of the others", 1.0, median["mmf4"] / others, "at most", 0, "mmf4 extrapolates best, as published"),
        *(Row(name, f"median squared error of {f}", p, median[f], "at most", 0.02, "two digits printed; a fit that finds the optimum does no worse", README)
          for f, p in printed.items()),
    ]  # fmt: skip
