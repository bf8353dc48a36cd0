"""Grokking: published transition steps, simulated delays, censoring and bad input."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from scaling.curves.grokking import delay_law, grokking, sustained
from scaling.errors import RunsError

STEPS = np.concatenate([[0.0], np.unique(np.geomspace(10, 1e5, 200).round())])


def _rise(middle, width=0.15, top=1.0):
    return top / (1 + np.exp(-(np.log(np.maximum(STEPS, 1.0)) - np.log(middle)) / width))


def _curves(delays, noise=0.0, rng=None):
    """One run per delay; inf never generalises."""
    rng = rng or np.random.default_rng(0)
    parts = []
    for k, delay in enumerate(delays):
        train = _rise(300.0)
        train = np.where(train > 0.997, 1.0, train)
        val = _rise(300.0 * delay) if np.isfinite(delay) else np.full(len(STEPS), 0.01)
        val = np.clip(val + noise * rng.standard_normal(len(STEPS)), 0, 1)
        parts.append(pd.DataFrame({"run": f"r{k}", "step": STEPS, "train_acc": train, "val_acc": val}))
    return pd.concat(parts, ignore_index=True)


def test_every_value_of_the_published_table_is_reproduced(reference):
    folder = reference("grokking-adamw")
    printed = pd.read_csv(folder / "published_summary.csv").set_index("run_name")
    ours = grokking(pd.read_csv(folder / "runs.csv.gz")).runs.set_index("run").loc[printed.index]
    pairs = {
        "sustained_99p9_train_step": "memorised",
        "sustained_95_test_step": "generalised",
        "memorization_plateau_steps": "delay",
        "first_99_test_step": "first_99",
        "maximum_test_accuracy": "maximum",
        "final_test_accuracy": "final",
        "minimum_post_grokking_test_accuracy": "lowest_after",
        "post_grokking_below_95_count": "drops_95",
        "post_grokking_below_90_count": "drops_90",
    }
    compared = 0
    for theirs, name in pairs.items():
        # steps and counts are exact; accuracies are printed with 16 decimals
        tolerance = 1e-15 if "accuracy" in theirs else 0.0
        np.testing.assert_allclose(ours[name], printed[theirs], rtol=0, atol=tolerance, equal_nan=True, err_msg=name)
        compared += int(printed[theirs].notna().sum())
    assert compared >= 58


def test_published_runs_that_never_generalise_are_censored_and_said(reference):
    result = grokking(pd.read_csv(reference("grokking-adamw") / "runs.csv.gz"))
    assert result.counts == {"grokked": 7, "prompt": 0, "memorised only": 3, "not memorised": 2}
    assert result.found
    assert "7 of 12 runs" in result.finding
    assert "3 memorised and had not generalised" in result.finding
    waiting = result.runs[result.runs["status"] == "memorised only"]
    assert np.isinf(waiting["ratio_high"]).all()
    # the last step over the step of memorisation
    np.testing.assert_allclose(waiting["ratio_low"], 100_000 / waiting["memorised"])


def test_sustained_is_the_first_of_consecutive_values():
    values = np.array([0, 1, 1, 0, 1, 1, 1, 0, 1.0])
    steps = np.arange(9.0)
    assert sustained(steps, values, 0.5, 1) == 1
    assert sustained(steps, values, 0.5, 3) == 4
    assert sustained(steps, values, 0.5, 4) == -1
    assert sustained(steps, values, 0.5, 99) == -1


@pytest.mark.parametrize("delay", [4.0, 20.0, 100.0])
def test_the_bounds_contain_the_true_delay(delay):
    row = grokking(_curves([delay]), train_threshold=0.95).runs.iloc[0]
    # both curves have one shape on a log axis, so crossings of one level lie exactly `delay` apart
    assert row["ratio_low"] <= delay <= row["ratio_high"]
    assert row["status"] == "grokked"
    # 10 to 90 % of a logistic of width 0.15 in ln step
    assert row["sharpness"] == pytest.approx(2 * np.log(9) * 0.15 / np.log(10), abs=0.1)


def test_curves_that_rise_together_are_seldom_called_late_and_late_ones_are_found():
    rng = np.random.default_rng(1)
    n = 40
    false = sum(grokking(_curves([1.0, 1.0], 0.03, rng)).found for _ in range(n))
    true = sum(grokking(_curves([5.0], 0.01, rng)).found for _ in range(n))
    assert false <= 0.05 * n
    assert true >= 0.9 * n


def test_noise_about_the_threshold_is_no_delay():
    """Validation that levels off at the threshold crosses it late by chance; it never trailed."""
    rng = np.random.default_rng(2)
    found = []
    for _ in range(30):
        curves = _curves([1.0])
        curves["val_acc"] = np.clip(_rise(300.0, top=0.955) + 0.01 * rng.standard_normal(len(STEPS)), 0, 1)
        found.append(grokking(curves).found)
    assert sum(found) <= 1


def test_the_typical_ratio_counts_unfinished_runs():
    finished = grokking(_curves([5.0, 5.0, 5.0]))
    unfinished = grokking(_curves([5.0, np.inf, np.inf]))
    assert np.isfinite(finished.typical_ratio[0])
    assert np.isinf(unfinished.typical_ratio[0])
    assert unfinished.share[0] == pytest.approx(1 / 3)
    assert list(unfinished.survival["not_yet"]) == pytest.approx([2 / 3])


def test_the_share_has_the_exact_binomial_interval():
    from scipy.stats import binomtest

    result = grokking(_curves([5.0, 5.0, 1.0, np.inf]))
    expected = binomtest(2, 4).proportion_ci(0.95, "exact")
    np.testing.assert_allclose(result.share, (0.5, expected.low, expected.high), rtol=1e-9)


def _settings(law, v, noise, censored_at, rng):
    t = np.exp(np.log(law(v)) + noise * rng.standard_normal(len(v)))
    return pd.DataFrame({"fraction": v, "generalised": np.where(t <= censored_at, t, np.nan), "last_step": censored_at})


def test_the_delay_law_recovers_a_power_and_an_exponential():
    rng = np.random.default_rng(3)
    v = np.repeat(np.linspace(0.3, 0.9, 13), 3)
    power = delay_law(_settings(lambda f: 1e3 * f**-4, v, 0.1, 1e9, rng), "fraction")
    exponential = delay_law(_settings(lambda f: 1e6 * np.exp(-12 * f), v, 0.1, 1e9, rng), "fraction")
    k = power.coefs.query("model == 'power' and coef == 'k'").iloc[0]
    s = exponential.coefs.query("model == 'exponential' and coef == 's'").iloc[0]
    assert k["low"] <= 4 <= k["high"]
    assert s["low"] <= 12 <= s["high"]
    assert k["high"] - k["low"] < 1
    assert power.best == "power"
    assert exponential.best == "exponential"


def test_censored_runs_move_the_delay_law_where_dropping_them_would_bias_it():
    rng = np.random.default_rng(4)
    v = np.repeat(np.linspace(0.3, 0.9, 13), 6)
    runs = _settings(lambda f: 1e3 * f**-4, v, 0.5, 2e4, rng)
    assert runs["generalised"].isna().sum() > 10
    kept = delay_law(runs, "fraction")
    dropped = delay_law(runs.dropna(), "fraction")
    assert kept.n_censored == runs["generalised"].isna().sum()

    def slope(law):
        return law.coefs.query("model == 'power' and coef == 'k'")["estimate"].iloc[0]

    assert abs(slope(kept) - 4) < abs(slope(dropped) - 4)
    assert "had not generalised" in kept.finding


def test_without_censoring_the_power_law_is_least_squares():
    rng = np.random.default_rng(5)
    v = np.linspace(0.3, 0.9, 20)
    runs = _settings(lambda f: 1e3 * f**-2, v, 0.2, 1e9, rng)
    k = delay_law(runs, "fraction").coefs.query("model == 'power' and coef == 'k'")["estimate"].iloc[0]
    assert k == pytest.approx(-np.polyfit(np.log(v), np.log(runs["generalised"]), 1)[0], abs=1e-4)


def test_the_result_is_plain_json():
    out = json.loads(json.dumps(grokking(_curves([5.0, np.inf])).to_dict(), allow_nan=False))
    assert out["schema"] == "scaling.grokking/1"
    assert out["found"] is True
    assert out["runs"][1]["generalised"] is None
    assert out["finding"] in str(grokking(_curves([5.0, np.inf])))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="val_acc"), "validation="),
        (lambda t: t.assign(val_acc=t["val_acc"] * 100), "between 0 and 1"),
        (lambda t: t.assign(step=0.0), "appears twice"),
        (lambda t: t.head(3), "3 logged steps"),
        (lambda t: t.assign(train_acc="high"), "'high' is not an accuracy"),
        (lambda t: t.head(0), "no rows"),
    ],
)
def test_bad_curves_are_refused_with_the_way_out(change, words):
    with pytest.raises(RunsError, match=words):
        grokking(change(_curves([5.0])))


def test_a_delay_law_needs_runs_that_generalised():
    runs = pd.DataFrame({"fraction": [0.3, 0.4, 0.5], "generalised": [np.nan, 1e3, np.nan], "last_step": 1e4})
    with pytest.raises(RunsError, match="at least 4 runs"):
        delay_law(runs, "fraction")
    with pytest.raises(RunsError, match="'decay'"):
        delay_law(runs, "decay")


def test_the_equation_of_a_delay_law_gives_the_steps_with_the_coefficients_beside_it():
    v = np.repeat([0.4, 0.5, 0.6, 0.8], 3)
    runs = pd.DataFrame({"fraction": v, "generalised": 1e3 * v**-3.0, "last_step": 1e6})
    law = delay_law(runs, "fraction")
    assert law.best == "power"
    c, k = law.coefs.query("model == 'power'")["estimate"]
    assert law.models["equation"].iloc[0] == "t = c (v / 0.4)^-k"
    np.testing.assert_allclose(c * (v / 0.4) ** -k, runs["generalised"], rtol=1e-3)


def test_the_command_gives_the_law_of_the_delay(tmp_path):
    from click.testing import CliRunner

    from scaling.commands.grokking import grokking as command

    parts = []
    for i, fraction in enumerate(np.repeat([0.3, 0.4, 0.5, 0.6], 2)):
        one = _curves([fraction**-3])
        parts.append(one.assign(run=f"r{i}", fraction=fraction, decay=i % 2))
    pd.concat(parts).to_csv(tmp_path / "curves.csv", index=False)
    path = str(tmp_path / "curves.csv")
    text = CliRunner().invoke(command, [path, "--over", "fraction"])
    assert text.exit_code == 0, text.output
    assert "The step of generalisation" in text.stdout
    assert "note: decay differ" in text.stdout
    document = json.loads(CliRunner().invoke(command, [path, "--over", "fraction", "--json"]).stdout)
    assert document["delay_law"]["n_runs"] == 8
    assert document["delay_law"]["also_varying"] == ["decay"]
    slope = [c for c in document["delay_law"]["coefs"] if c["model"] == "power" and c["coef"] == "k"]
    assert slope[0]["estimate"] == pytest.approx(3, abs=0.5)
    for wrong, words in (("nothing", "column 'nothing' is not in the table"), ("val_acc", "changes within run")):
        with pytest.raises(RunsError, match=words):
            CliRunner().invoke(command, [path, "--over", wrong], catch_exceptions=False)


def test_the_text_gives_share_and_median_ratio_over_runs():
    result = grokking(_curves([5.0, 6.0, 7.0]))
    middle, low, high = result.typical_ratio
    assert "late among runs that memorise: 100%" in str(result)
    assert f"unfinished runs censored: {middle:.3g} ({low:.3g} to {high:.3g})" in str(result)
    assert "not reached by half of them" in str(grokking(_curves([5.0, np.inf, np.inf])))
