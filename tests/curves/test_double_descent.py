"""Double descent: published peaks, closed forms, effective parameters, false claims and bad input."""

from __future__ import annotations

import json
import tomllib

import numpy as np
import pandas as pd
import pytest

from scaling.curves.double_descent import (
    double_descent,
    double_descents,
    effective_parameters,
    least_squares_smoother,
    neighbours_smoother,
    peak_test,
)
from scaling.errors import LawError, RunsError
from scaling.laws.double_descent import (
    RIDGELESS,
    double_descent_law,
    random_features_risk,
    ridge_risk,
    ridge_variance,
    ridgeless_risk,
)

X = np.geomspace(4, 1000, 24)
TREND = 0.3 + 2 * X**-0.5


def _peaked(place=60.0, tau=0.3, ridge=0.05):
    return double_descent_law("width", "test_loss", (4, 1000)).predict(
        {"width": X}, np.array([0.3, 2.0, 0.5, tau, place, 1.5, ridge])
    )


def _table(curve, noise=0.03, repeats=3, seed=0):
    rng = np.random.default_rng(seed)
    x, s = (v.ravel() for v in np.meshgrid(X, np.arange(repeats), indexing="ij"))
    y = np.repeat(curve, repeats) * np.exp(noise * rng.standard_normal(len(x)))
    return pd.DataFrame({"width": x, "seed": s, "test_loss": y})


@pytest.fixture(scope="module")
def vectors(reference):
    path = reference("INDEX.md").parents[1] / "science" / "test_vectors.toml"
    return tomllib.loads(path.read_text())


# --- published ---


def test_the_width_sweep_peaks_where_published(reference):
    table = pd.read_csv(reference("double-descent-width") / "runs.csv")
    mnist = double_descent(
        table[table["group"] == "mnist_fc_noise20_4000ep"], "width", train="train_acc", n_samples=4000, n_resamples=50
    )
    assert mnist.found
    assert mnist.test.p_value < 0.001
    assert mnist.peak_at == 13
    assert mnist.threshold == 13  # training accuracy first at least 0.99
    assert mnist.peak_value == pytest.approx(2.5445, abs=5e-5)
    assert mnist.before == (4, pytest.approx(1.0795, abs=5e-5))
    assert mnist.after == (1000, pytest.approx(0.5465, abs=5e-5))
    assert mnist.better == "after"
    cifar = double_descent(table[table["group"] == "cifar10_cnn_noise20_100ep"], "width", n_resamples=50)
    assert cifar.found
    assert cifar.peak_at == 14
    assert cifar.peak_value == pytest.approx(2.4663, abs=5e-5)
    assert cifar.before == (4, pytest.approx(1.2059, abs=5e-5))
    assert cifar.after == (64, pytest.approx(0.9676, abs=5e-5))
    # the fitted place agrees with the observed one to within the spacing of the sweep
    assert cifar.location.low - 1 <= 14 <= cifar.location.high + 1


def test_without_label_noise_no_peak_is_claimed(reference):
    table = pd.read_csv(reference("double-descent-width") / "runs.csv")
    clean = double_descent(table[table["group"] == "cifar10_cnn_noise0_100ep"], "width")
    assert not clean.found
    assert clean.test.p_value > 0.5
    assert "No double descent" in clean.finding


def test_ten_seeds_peak_at_width_12(reference):
    table = pd.read_csv(reference("double-descent-width") / "runs_seeds_epochs.csv.gz")
    last = table[table["epoch"] == table["epoch"].max()]
    logs = [np.log(v["test_loss"].to_numpy()) for _, v in last.groupby("width")]
    test = peak_test(np.unique(last["width"]).astype(float), logs)
    means = last.groupby("width")["test_loss"].mean()
    assert test.from_replicates
    assert test.p_value < 0.001
    assert means.idxmax() == 12
    assert means.max() == pytest.approx(2.591, abs=5e-4)


def test_polynomial_least_squares_peaks_where_features_equal_points(reference):
    table = pd.read_csv(reference("double-descent-polynomial") / "runs.csv")
    result = double_descent(
        table, "params", centre="median", train="train_loss", fitted_at=1e-6, n_samples=15, n_resamples=20
    )
    assert result.found
    assert result.peak_at == 15
    assert result.peak_range == (15, 15)
    assert result.threshold == 15
    assert result.peak_value == pytest.approx(
        6.7e6, rel=0.02
    )  # between the two middle repeats: ours the geometric mean
    assert result.before[1] == pytest.approx(0.511, abs=5e-4)
    at_200 = result.points.set_index("params").loc[200, "value"]
    assert at_200 == pytest.approx(0.556, abs=5e-4)


# --- closed forms ---


def test_closed_forms_match_the_golden_numbers(vectors):
    v = vectors["ridge_variance_peak"][0]
    np.testing.assert_allclose(ridge_variance(np.array(v["gamma"]), np.array(v["lam"])), v["V"], rtol=v["rtol"])
    v = vectors["ridgeless"][0]
    np.testing.assert_allclose(ridgeless_risk(v["gamma"], 2, 0.49), v["risk"], rtol=v["rtol"])
    v = vectors["random_features"][0]
    np.testing.assert_allclose(random_features_risk(v["psi1"], 3, 1.6589, 1, 0, 0.2), v["risk"], rtol=v["rtol"])


def test_ridgeless_risk_is_what_least_squares_does():
    rng = np.random.default_rng(0)
    n, signal, noise = 200, 2.0, 0.5
    for gamma in (0.5, 2.0, 4.0):
        p = int(gamma * n)
        risks = []
        for _ in range(10):
            beta = rng.standard_normal(p)
            beta *= np.sqrt(signal) / np.linalg.norm(beta)
            x = rng.standard_normal((n, p))
            hat = np.linalg.lstsq(x, x @ beta + np.sqrt(noise) * rng.standard_normal(n), rcond=None)[0]
            risks.append(((hat - beta) ** 2).sum())
        # the standard deviation of one run is about 10 % at n = 200
        assert np.mean(risks) == pytest.approx(float(ridgeless_risk(gamma, signal, noise)), rel=0.12)


def test_ridge_risk_tends_to_ridgeless_and_the_best_ridge_has_no_peak():
    gamma = np.array([0.2, 0.7, 1.5, 4.0])
    np.testing.assert_allclose(ridge_risk(gamma, 2, 0.49, 1e-9), ridgeless_risk(gamma, 2, 0.49), rtol=1e-5)
    gamma = np.linspace(0.05, 5, 100)
    best = ridge_risk(gamma, 2, 0.49, 0.49 * gamma / 2)
    assert (np.diff(best) > 0).all()
    assert (best <= ridge_risk(gamma, 2, 0.49, 0.3 * gamma)).all()
    assert np.isinf(ridgeless_risk(1.0, 2, 0.49))
    # a missed share of the signal is bias and noise
    np.testing.assert_allclose(ridgeless_risk(0.5, 2, 0.49, used=0.75), 0.5 + (0.5 + 0.49), rtol=1e-12)
    with pytest.raises(LawError, match="above 0"):
        ridgeless_risk(-1.0, 2, 0.49)
    with pytest.raises(LawError, match="ridgeless_risk"):
        ridge_risk(1.0, 2, 0.49, 0.0)


def test_the_law_of_ridgeless_test_error_is_the_risk_plus_the_noise():
    x = {"n_params": np.array([50.0, 90.0, 150.0, 900.0]), "n_samples": np.full(4, 100.0)}
    expected = ridgeless_risk(x["n_params"] / 100, 2, 0.49) + 0.49
    np.testing.assert_allclose(RIDGELESS.predict(x, np.array([2, 0.49])), expected, rtol=1e-12)


# --- effective parameters ---


def test_effective_parameters_count_features_then_samples():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 100))
    for p in (5, 20, 40, 80):
        assert effective_parameters(least_squares_smoother(x[:, :p], x[:, :p])) == pytest.approx(min(p, 40), rel=1e-6)


def test_on_new_points_they_rise_to_the_threshold_and_fall_beyond():
    rng = np.random.default_rng(1)
    n = 60
    x, x0 = rng.standard_normal((n, 400)), rng.standard_normal((200, 400))
    at = {p: effective_parameters(least_squares_smoother(x[:, :p], x0[:, :p])) for p in (10, 40, 60, 120, 400)}
    assert at[10] < at[40] < at[60]
    assert at[60] > at[120] > at[400]
    # isotropic features: n E|s|^2 = n p / (n - p - 1), exactly
    assert at[10] == pytest.approx(n * 10 / (n - 10 - 1), rel=0.15)
    assert at[60] > 10 * n


def test_a_penalty_and_neighbours_have_fewer_effective_parameters():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((30, 10))
    assert effective_parameters(least_squares_smoother(x, x, ridge=0.5)) < 10
    # both forms of the ridge solution, n < p and n > p, against the normal equations
    for shape in ((30, 10), (10, 30)):
        x = rng.standard_normal(shape)
        n, p = shape
        expected = x @ np.linalg.inv(x.T @ x + n * 0.1 * np.eye(p)) @ x.T
        np.testing.assert_allclose(least_squares_smoother(x, x, 0.1), expected, atol=1e-10)
    for k in (1, 3, 10):
        s = neighbours_smoother(rng.standard_normal((30, 2)), rng.standard_normal((50, 2)), k)
        assert effective_parameters(s) == pytest.approx(30 / k)
        np.testing.assert_allclose(s.sum(1), 1)


def test_bad_smoothers_are_refused():
    with pytest.raises(RunsError, match="finite matrix"):
        effective_parameters(np.ones(3))
    with pytest.raises(RunsError, match="at least 0"):
        least_squares_smoother(np.ones((3, 2)), np.ones((3, 2)), -1.0)
    with pytest.raises(RunsError, match="between 1 and the 3"):
        neighbours_smoother(np.ones((3, 2)), np.ones((3, 2)), 4)


# --- false claims and power ---


@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("null", ["falling", "u-shaped", "plateau"])
def test_curves_without_a_peak_are_seldom_claimed(null, repeats):
    curve = {
        "falling": TREND,
        "u-shaped": 0.3 + 2 / X + 2e-3 * X**0.9,
        "plateau": 0.5 + 1 / (1 + (40 / X) ** 4),  # the worst case: a true rise, then flat
    }[null]
    rng = np.random.default_rng(0)
    n = 100
    logs = np.log(curve)[:, None] + 0.05 * rng.standard_normal((n, len(X), repeats))
    claimed = sum(peak_test(X, list(one)).p_value <= 0.05 for one in logs)
    assert claimed <= 11  # 95 %-level tests claim 12 or more of 100 with probability 0.4 %


@pytest.mark.parametrize(("repeats", "fold"), [(1, 1.5), (3, 1.25)])
def test_a_peak_of_the_stated_size_is_found(repeats, fold):
    """fold: the peak over the least value before it, with noise of 5 % on each run."""
    rng = np.random.default_rng(1)
    v = ridge_variance((X / 60) ** 1.5, np.array(0.05))
    curves = TREND + np.geomspace(0.01, 10, 2000)[:, None] * v
    top = v.argmax()
    curve = curves[np.argmin(np.abs(curves[:, top] / curves[:, : top + 1].min(1) - fold))]
    logs = np.log(curve)[:, None] + 0.05 * rng.standard_normal((100, len(X), repeats))
    assert sum(peak_test(X, list(one)).p_value <= 0.05 for one in logs) >= 90


# --- the analysis ---


@pytest.fixture(scope="module")
def simulated():
    return double_descent(_table(_peaked()), n_resamples=100)


def test_a_simulated_peak_is_located_and_measured(simulated):
    assert simulated.found
    assert simulated.models["model"].iloc[0] == "double_descent"
    # largest at (1 + ridge)^(1 / nu) times the threshold
    assert simulated.location.low <= 60 * 1.05 ** (1 / 1.5) <= simulated.location.high
    assert simulated.location.high / simulated.location.low < 1.2
    v = ridge_variance((X / 60) ** 1.5, np.array(0.05))
    assert simulated.height.low <= np.max(1 + 0.3 * v / TREND) <= simulated.height.high
    top = v.max()
    fine = np.geomspace(1, 1e4, 20001)
    above = fine[ridge_variance((fine / 60) ** 1.5, np.array(0.05)) >= top / 2]
    assert simulated.width.low <= np.log10(above[-1] / above[0]) <= simulated.width.high
    assert simulated.better == "after"
    assert simulated.second_rate.high < 0
    assert simulated.fold.low > 1
    assert simulated.recovers_at > simulated.peak_at
    (start, stop), *_ = simulated.worse_than_smaller()
    assert start <= simulated.peak_at <= stop


def test_the_result_is_plain_json(simulated):
    out = json.loads(json.dumps(simulated.to_dict(), allow_nan=False))
    assert out["schema"] == "scaling.descent/1"
    assert out["found"] is True
    assert out["threshold"] is None
    assert len(out["points"]) == len(X)
    assert simulated.finding in str(simulated)
    assert "far side is better" in simulated.finding


def test_groups_are_told_apart():
    table = pd.concat([_table(TREND).assign(label_noise=0.0), _table(_peaked()).assign(label_noise=0.2)])
    results = double_descents(table.reset_index(drop=True), "label_noise", n_resamples=10)
    assert list(results) == [0.0, 0.2]
    assert [r.found for r in results.values()] == [False, True]


def test_the_unit_of_the_axis_and_of_the_value_do_not_matter(simulated):
    table = _table(_peaked())
    table["width"] *= 64
    table["test_loss"] *= 7
    scaled = double_descent(table, n_resamples=0)
    assert scaled.test.p_value == simulated.test.p_value
    assert scaled.test.z == pytest.approx(simulated.test.z, rel=1e-9)
    assert scaled.peak_at == pytest.approx(64 * simulated.peak_at)


def test_a_long_training_curve_is_binned_by_repeat():
    rng = np.random.default_rng(3)
    epochs = np.arange(1, 401.0)
    v = ridge_variance((epochs / 60) ** 1.5, np.array(0.05))
    parts = [
        pd.DataFrame(
            {
                "epoch": epochs,
                "seed": s,
                "test_loss": (0.3 + 2 * epochs**-0.5 + 0.3 * v) * np.exp(0.05 * rng.standard_normal(400)),
            }
        )
        for s in range(4)
    ]
    result = double_descent(pd.concat(parts, ignore_index=True), "epoch", n_resamples=0)
    assert result.found
    assert len(result.points) <= 40
    assert (result.points["n"] == 4).all()
    assert result.peak_at == pytest.approx(60, rel=0.25)
    assert any("bins" in w for w in result.warnings)


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda t: t.rename(columns={"width": "w"}), {}, "axis="),
        (lambda t: t.rename(columns={"test_loss": "t"}), {}, "value="),
        (lambda t: t.assign(test_loss=-t["test_loss"]), {}, "is not a positive number"),
        (lambda t: t.head(12), {}, "4 distinct values"),
        (lambda t: t, {"centre": "mode"}, "'mean' or 'median'"),
        (lambda t: t, {"train": "train_acc"}, "no column 'train_acc'"),
        (lambda t: t, {"level": 1.5}, "level"),
    ],
)
def test_bad_input_is_refused_with_the_way_out(change, options, words):
    with pytest.raises(RunsError, match=words):
        double_descent(change(_table(_peaked())), **options)


def test_conditions_averaged_together_are_named():
    table = _table(_peaked())
    both = pd.concat([table.assign(ridge=0.0), table.assign(ridge=0.1)])
    assert any("ridge (2 values)" in w for w in double_descent(both).warnings)
    one = double_descent(both[both["ridge"] == 0])
    assert not any("averaged as repeats" in w for w in one.warnings)
    # what goes with the axis, and an outcome, are no conditions
    extra = table.assign(params=lambda t: 3 * t.iloc[:, 0], other=np.arange(len(table)) / 7)
    assert not any("averaged as repeats" in w for w in double_descent(extra).warnings)


def test_an_accuracy_is_analysed_as_its_error():
    table = _table(_peaked())
    axis, value = (c for c in table.columns if c != "seed")
    scale = 0.5 / table[value].max()
    accurate = table.assign(test_acc=1 - scale * table[value])[[*(c for c in table.columns if c != value), "test_acc"]]
    by_error, by_accuracy = double_descent(table), double_descent(accurate, axis, "test_acc")
    assert by_error.found
    assert by_accuracy.found
    assert by_accuracy.peak_at == by_error.peak_at
    assert by_accuracy.fold.estimate == pytest.approx(by_error.fold.estimate, rel=1e-6)
    assert any("1 - test_acc" in w for w in by_accuracy.warnings)
    with pytest.raises(RunsError, match="accuracy"):
        double_descent(accurate.assign(test_acc=100 * accurate["test_acc"]), axis, "test_acc")


def test_the_command_analyses_each_condition(tmp_path):
    from click.testing import CliRunner

    from scaling.commands.descent import descent

    peaked, smooth = _table(_peaked()), _table(TREND)
    pd.concat([peaked.assign(noise=0.2), smooth.assign(noise=0.0)]).to_csv(tmp_path / "runs.csv", index=False)
    arguments = [str(tmp_path / "runs.csv"), "--by", "noise", "--n-samples", "60"]
    text = CliRunner().invoke(descent, arguments)
    assert text.exit_code == 0, text.output
    assert text.stdout.startswith("Double descent in 1 of 2 conditions.")
    document = json.loads(CliRunner().invoke(descent, [*arguments, "--json"]).stdout)
    assert [(g["group"]["noise"], g["found"]) for g in document["groups"]] == [("0.0", False), ("0.2", True)]
    assert document["groups"][1]["n_samples"] == 60
