"""How complex is a fitted model really? Smoother matrices of trees, forests, kernels and ridge, and error against them.

A second descent can appear because the axis changes its meaning half-way: past the threshold more raw size adds no
complexity on new points. Measured by generalised effective parameters the curve may fold back into one U; `replot` says
whether it does on the runs at hand. Source: Curth, Jeffares and van der Schaar 2023, arXiv:2310.18988.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from scaling.curves.effective_parameters import effective_parameters, least_squares_smoother, neighbours_smoother
from scaling.curves.peak_evidence import peak_test
from scaling.curves.sweep_points import FEWEST_POINTS
from scaling.errors import RunsError
from scaling.laws.law import Array

__all__ = [
    "Replot", "boosting_smoother", "effective_parameters", "forest_smoother", "kernel_smoother", "least_squares_smoother", "neighbours_smoother",
    "replot", "smoother_of", "tree_smoother",
]  # fmt: skip


def tree_smoother(leaves: Array, at: Array) -> Array:
    """Weights (m, n) of one tree: each prediction is the mean of the training points in its leaf.

    leaves (n,) : leaf of each training point, as any labels; at (m,) : leaf of each point predicted.
    Raises RunsError for a leaf without a training point, of which no tree that was grown on them can be made.
    """
    grown, asked = np.asarray(leaves), np.asarray(at)
    if grown.ndim != 1 or asked.ndim != 1:
        raise RunsError(f"leaves are one label per point, not arrays of shapes {grown.shape} and {asked.shape}.")
    together = (asked[:, None] == grown).astype(float)
    size = together.sum(axis=1)
    if (size == 0).any():
        empty = asked[size == 0][0]
        raise RunsError(
            f"leaf {empty!r} of a predicted point holds no training point: give the leaves of the data the tree was grown on."
        )
    return together / size[:, None]


def forest_smoother(leaves: Array, at: Array, drawn: Array | None = None) -> Array:
    """Weights (m, n) of a forest, the mean over its trees: leaves (n, t), at (m, t).

    drawn (n, t) : how often each tree's bootstrap sample holds each training point; None when every tree saw all once.
    """
    grown, asked = np.asarray(leaves), np.asarray(at)
    if grown.ndim != 2 or asked.ndim != 2 or grown.shape[1] != asked.shape[1] or grown.shape[1] == 0:
        raise RunsError(f"leaves of a forest are (points, trees) on both sides; got {grown.shape} and {asked.shape}.")
    counts = np.ones(grown.shape) if drawn is None else np.asarray(drawn, float)
    if counts.shape != grown.shape or (counts < 0).any():
        raise RunsError(f"drawn counts are not negative and of shape {grown.shape}; got shape {counts.shape}.")
    out = np.zeros((len(asked), len(grown)))
    for tree in range(grown.shape[1]):
        weight = (asked[:, tree, None] == grown[:, tree]) * counts[:, tree]
        size = weight.sum(axis=1, keepdims=True)
        if (size == 0).any():
            raise RunsError(f"tree {tree} has a leaf that holds a predicted point and none of its training points.")
        out += weight / size
    return out / grown.shape[1]


def boosting_smoother(leaves: Array, at: Array, learning_rate: float, *, centred: bool = True) -> Array:
    """Weights (m, n) of gradient boosting for squared loss: leaves (n, t) and at (m, t) of its trees in the order grown.

    Each tree is fitted to what the ones before it leave: S_t = S_(t-1) + rate T_t (I - S_(t-1)). centred : the first prediction is
    the mean of the targets, otherwise zero.
    """
    grown, asked = np.asarray(leaves), np.asarray(at)
    if grown.ndim != 2 or asked.ndim != 2 or grown.shape[1] != asked.shape[1]:
        raise RunsError(
            f"leaves of boosted trees are (points, trees) on both sides; got {grown.shape} and {asked.shape}."
        )
    n = len(grown)
    first = 1 / n if centred else 0.0
    inside, out = np.full((n, n), first), np.full((len(asked), n), first)
    for tree in range(grown.shape[1]):
        left = np.eye(n) - inside
        out = out + learning_rate * tree_smoother(grown[:, tree], asked[:, tree]) @ left
        inside = inside + learning_rate * tree_smoother(grown[:, tree], grown[:, tree]) @ left
    return out


def kernel_smoother(kernel: Array, at: Array, penalty: float = 0.0) -> Array:
    """Weights (m, n) of kernel ridge regression, K0 (K + penalty I)^-1; penalty 0 is the least-norm interpolant.

    kernel (n, n) among the training points, at (m, n) between the points predicted and them.
    """
    k, k0 = np.asarray(kernel, float), np.asarray(at, float)
    if k.ndim != 2 or k.shape[0] != k.shape[1] or k0.ndim != 2 or k0.shape[1] != len(k):
        raise RunsError(f"kernels are (n, n) and (m, n); got {k.shape} and {k0.shape}.")
    if penalty < 0:
        raise RunsError(f"a penalty is at least 0, not {penalty}.")
    if penalty == 0:
        return k0 @ np.linalg.pinv(k, hermitian=True)
    return np.linalg.solve(k.T + penalty * np.eye(len(k)), k0.T).T


def smoother_of(model: Any, train: Array, at: Array) -> Array:
    """Weights (m, n) of a fitted model of a known kind, read from the attributes scikit-learn gives it.

    train (n, d) : what the model was fitted on; at (m, d) : points predicted. Known: decision trees, forests (with their
    bootstrap samples where `estimators_samples_` tells them), gradient boosting of squared loss, ridge and least squares with or without an intercept,
    k nearest neighbours with equal weights, kernel ridge. Raises RunsError for another kind: give its matrix instead.
    """
    x, x0 = np.asarray(train, float), np.asarray(at, float)
    kind = type(model).__name__
    if (hasattr(model, "estimators_") and hasattr(model, "apply") and "Forest" in kind) or kind.startswith(
        "ExtraTrees"
    ):
        drawn = None
        if getattr(model, "bootstrap", False):
            samples = getattr(model, "estimators_samples_", None)
            if samples is None:
                raise RunsError("this forest does not tell its bootstrap samples: use forest_smoother with `drawn`.")
            drawn = np.stack([np.bincount(s, minlength=len(x)) for s in samples], axis=1)
        return forest_smoother(model.apply(x), model.apply(x0), drawn)
    if kind == "GradientBoostingRegressor" and model.loss == "squared_error" and model.subsample == 1:
        return boosting_smoother(model.apply(x), model.apply(x0), float(model.learning_rate))
    if hasattr(model, "tree_"):
        return tree_smoother(model.apply(x), model.apply(x0))
    if kind in ("Ridge", "LinearRegression"):
        penalty = float(getattr(model, "alpha", 0.0)) / len(x)
        if not model.fit_intercept:
            return least_squares_smoother(x, x0, penalty)
        middle = x.mean(axis=0)
        slopes = least_squares_smoother(x - middle, x0 - middle, penalty)
        # the targets are centred too: what the slopes give to their mean comes back through the intercept
        return slopes + (1 - slopes.sum(axis=1, keepdims=True)) / len(x)
    if kind == "KNeighborsRegressor" and model.weights == "uniform":
        return neighbours_smoother(x, x0, int(model.n_neighbors))
    if kind == "KernelRidge" and np.ndim(model.alpha) == 0 and hasattr(model, "_get_kernel"):
        return kernel_smoother(model._get_kernel(x), model._get_kernel(x0, x), float(model.alpha))
    raise RunsError(
        f"the smoother of a {kind} is not known here: pass its matrix (points, training points) to effective_parameters."
    )


@dataclass(frozen=True)
class Replot:
    """Error against raw size and against effective parameters.

    points : one row per raw size: the axis, p_train and p_test where given, value (geometric mean).
    axes : one row per axis: axis, p_peak (of a rise and fall, see `peak_test`), peak_at, u_share (part of the variance of
        log value that the best curve that falls and then rises explains). verdict : "one U" where no peak is left along
        p_test, "closer to one U" where a U explains more along it than along the raw size, else "no fold", or
        "no peak" where the raw curve has none to explain away.
    """

    points: pd.DataFrame
    axes: pd.DataFrame
    verdict: str
    raw: str
    against: str

    @property
    def finding(self) -> str:
        """One sentence."""
        row = self.axes.set_index("axis")
        a, b = float(row["u_share"][self.raw]), float(row["u_share"][self.against])
        said = f"one U explains {a:.0%} of the log error along {self.raw} and {b:.0%} along {self.against}"
        return {
            "one U": f"Against {self.against} no second descent is left: {said}.",
            "closer to one U": f"Against {self.against} the curve folds back, not without a remaining peak: {said}.",
            "no fold": f"Effective parameters do not explain the second descent away: {said}.",
            "no peak": f"There is no second descent along {self.raw} to explain: {said}.",
        }[self.verdict]

    def __str__(self) -> str:
        return f"{self.finding}\n\n{self.axes.to_string(index=False, float_format=lambda v: f'{v:.4g}')}"


def replot(
    table: pd.DataFrame,
    axis: str = "width",
    value: str = "test_loss",
    *,
    effective: Sequence[str] = ("p_train", "p_test"),
    level: float = 0.95,
) -> Replot:
    """Does the second descent remain when error is plotted against effective parameters?

    table : one row per run with the raw axis, a positive error and columns of effective parameters (as
    `effective_parameters` gives for the smoother on training and on new points); rows of one raw size are repeats, whose
    effective parameters are averaged in log. The last of `effective` decides. Raises RunsError for missing columns, values
    that are not positive, or fewer than 6 sizes.
    """
    columns = [axis, value, *effective]
    if not effective:
        raise RunsError("name at least one column of effective parameters.")
    if missing := [c for c in columns if c not in table]:
        raise RunsError(f"no column {missing[0]!r}; columns: {', '.join(map(str, table.columns))}.")
    numbers = table[columns].apply(pd.to_numeric, errors="coerce")
    bad = ~(np.isfinite(numbers) & (numbers > 0)).all(axis=1)
    if bad.any():
        row = numbers.index[bad][0]
        raise RunsError(f"row {row} has a value that is not positive in {', '.join(columns)}; drop it, or mend it.")
    logs = np.log(numbers).groupby(numbers[axis], sort=True)
    if logs.ngroups < FEWEST_POINTS:
        raise RunsError(
            f"{logs.ngroups} distinct values of {axis!r}; at least {FEWEST_POINTS} are needed to see a peak."
        )
    centre = np.exp(logs[columns].mean()).reset_index(drop=True)
    repeats = [g.to_numpy(float) for _, g in logs[value]]
    rows = []
    for name in (axis, *effective):
        x = centre[name].to_numpy(float)
        # sizes past the threshold share one p_train: they are one point of that axis, and their runs its repeats
        places, group = np.unique(np.round(np.log(x), 6), return_inverse=True)
        merged = [np.concatenate([repeats[i] for i in np.flatnonzero(group == k)]) for k in range(len(places))]
        if len(places) >= FEWEST_POINTS:
            test = peak_test(np.exp(places), merged)
            p, at = test.p_value, float(np.exp(places[test.peak]))
        else:
            p, at = np.nan, np.nan
        middle, counts = np.array([m.mean() for m in merged]), np.array([len(m) for m in merged], float)
        rows.append(
            {"axis": name, "points": len(places), "p_peak": p, "peak_at": at, "u_share": _u(middle, counts, merged)}
        )
    axes = pd.DataFrame(rows)
    raw, last = axes.iloc[0], axes.iloc[-1]
    if raw["p_peak"] > 1 - level:
        verdict = "no peak"
    elif last["p_peak"] > 1 - level:
        verdict = "one U"
    else:
        verdict = "closer to one U" if last["u_share"] > raw["u_share"] else "no fold"
    return Replot(centre.rename(columns={value: "value"}), axes, verdict, axis, effective[-1])


def _u(middle: Array, counts: Array, merged: list[Array]) -> float:
    """Share of the variance between all runs' log values that the best falling-then-rising curve of the axis explains."""
    from scipy.optimize import isotonic_regression

    every = np.concatenate(merged)
    n_runs = len(every)
    total = float(((every - every.mean()) ** 2).sum())
    within = sum(float(((m - m.mean()) ** 2).sum()) for m in merged)
    least = np.inf
    for k in range(len(middle) + 1):
        off = 0.0
        for part, rising in ((slice(0, k), False), (slice(k, None), True)):
            if len(middle[part]):
                fitted = isotonic_regression(middle[part], weights=counts[part], increasing=rising).x
                off += float((counts[part] * (middle[part] - fitted) ** 2).sum())
        least = min(least, off)
    return 1 - (least + within) / total if total > 0 and n_runs > 1 else 1.0
