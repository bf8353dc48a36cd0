"""Smoother matrices give the model's own predictions, and effective parameters what theory says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scaling.curves.smoothers import (
    boosting_smoother,
    effective_parameters,
    forest_smoother,
    kernel_smoother,
    least_squares_smoother,
    replot,
    smoother_of,
    tree_smoother,
)
from scaling.errors import RunsError

DATA = Path(__file__).resolve().parents[2] / "data" / "double_descent"
RNG = np.random.default_rng(0)
X, X0, Y = RNG.standard_normal((40, 3)), RNG.standard_normal((15, 3)), RNG.standard_normal(40)


def test_a_tree_averages_its_leaves_and_uses_one_parameter_a_leaf():
    leaves = np.arange(40) % 8
    smoother = tree_smoother(leaves, leaves)
    assert smoother @ Y == pytest.approx([Y[leaves == leaf].mean() for leaf in leaves])
    assert effective_parameters(smoother) == pytest.approx(8)


def test_a_forest_is_the_mean_of_its_trees_and_bootstrap_counts_weigh():
    leaves = RNG.integers(0, 4, (40, 5))
    trees = [tree_smoother(leaves[:, t], leaves[:, t]) for t in range(5)]
    assert forest_smoother(leaves, leaves) == pytest.approx(np.mean(trees, axis=0))
    drawn = np.ones((40, 5), int)
    drawn[0] = 0
    assert (forest_smoother(leaves, leaves[1:], drawn)[:, 0] == 0).all()


def test_boosting_is_the_recursion_over_what_is_left():
    leaves, asked = RNG.integers(0, 4, (40, 6)), RNG.integers(0, 4, (15, 6))
    inside, out = np.full(40, Y.mean()), np.full(15, Y.mean())
    for t in range(6):
        left = Y - inside
        means = np.array([left[leaves[:, t] == leaf].mean() for leaf in range(4)])
        inside, out = inside + 0.3 * means[leaves[:, t]], out + 0.3 * means[asked[:, t]]
    assert boosting_smoother(leaves, asked, 0.3) @ Y == pytest.approx(out)


def test_kernel_and_ridge_agree_on_a_linear_kernel():
    assert kernel_smoother(X @ X.T, X0 @ X.T, 4.0) == pytest.approx(least_squares_smoother(X, X0, 4.0 / 40))
    full = X @ X.T + np.eye(40)
    assert kernel_smoother(full, full) @ Y == pytest.approx(Y), "without a penalty it interpolates"


def test_fitted_models_are_read():
    linear_model = pytest.importorskip("sklearn.linear_model")
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.tree import DecisionTreeRegressor

    for model in (
        DecisionTreeRegressor(max_leaf_nodes=7),
        RandomForestRegressor(20, max_leaf_nodes=9, random_state=0),
        GradientBoostingRegressor(n_estimators=15, max_leaf_nodes=5, random_state=0),
        linear_model.Ridge(2.0),
        linear_model.LinearRegression(fit_intercept=False),
        KNeighborsRegressor(3),
        KernelRidge(alpha=0.5, kernel="rbf"),
    ):
        model.fit(X, Y)
        assert smoother_of(model, X, X0) @ Y == pytest.approx(model.predict(X0)), model


def test_an_intercept_is_part_of_the_smoother():
    class Ridge:  # the attributes that scikit-learn's class of this name has
        alpha, fit_intercept = 2.0, True

    smoother = smoother_of(Ridge(), X, X0)
    centre = X.mean(axis=0)
    slopes = np.linalg.solve((X - centre).T @ (X - centre) + 2 * np.eye(3), (X - centre).T @ (Y - Y.mean()))
    assert smoother @ Y == pytest.approx(Y.mean() + (X0 - centre) @ slopes)
    assert smoother.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.2])
def test_the_peak_in_width_folds_back_against_effective_parameters(noise):
    table = pd.read_csv(DATA / "width.csv").query(f"ridge == 0 and label_noise == {noise}")
    found = replot(table)
    assert found.verdict == "one U"
    share = found.axes.set_index("axis")["u_share"]
    assert share["p_test"] > 0.85 and share["width"] < 0.4
    assert "no second descent is left" in str(found)


def test_without_a_peak_there_is_nothing_to_fold():
    table = pd.read_csv(DATA / "width.csv").query("ridge == 0.01 and label_noise == 0.1")
    assert replot(table).verdict == "no peak"


def test_an_axis_that_repeats_the_size_folds_nothing():
    table = pd.read_csv(DATA / "width.csv").query("ridge == 0 and label_noise == 0.1")
    again = replot(table.assign(copy=2.0 * table["width"]), effective=("copy",))
    assert again.verdict == "no fold"


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: tree_smoother(np.array([0, 1]), np.array([2])), "holds no training point"),
        (lambda: forest_smoother(np.zeros((3, 2)), np.zeros((3, 1))), r"\(points, trees\)"),
        (lambda: kernel_smoother(np.eye(3), np.eye(2)), "kernels are"),
        (lambda: kernel_smoother(np.eye(2), np.eye(2), -1.0), "at least 0"),
        (lambda: smoother_of(object(), X, X0), "smoother of a object"),
        (lambda: replot(pd.DataFrame({"width": [1.0]})), "no column"),
        (
            lambda: replot(pd.DataFrame({c: [1.0, 2.0] for c in ("width", "test_loss", "p_train", "p_test")})),
            "2 distinct",
        ),
    ],
)
def test_bad_input_says_what_to_do(act, words):
    with pytest.raises(RunsError, match=words):
        act()
