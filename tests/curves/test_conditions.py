"""Where a method begins to help, the class of tasks, metrics, calibration, red-teaming: on data whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from scaling.curves.conditions import classify_tasks, difference_of_conditions
from scaling.curves.depth_width import depth_width
from scaling.curves.emergence import emergence
from scaling.curves.onsets import compare_onset, published_onsets
from scaling.curves.red_team import red_team
from scaling.curves.rescoring import edit_distance, rescore, score_choices, score_probabilities, score_text
from scaling.curves.self_knowledge import calibration, self_knowledge
from scaling.curves.theory import in_context_baselines, needed_snr, second_descent, second_descent_crossing
from scaling.errors import LawError, RunsError

FLOPS = np.geomspace(1e20, 1e24, 12)
DECADE = np.log10(FLOPS)


def pairs(effect: np.ndarray, seed: int, n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    base = 0.3 + 0.05 * (DECADE - 20)
    return pd.DataFrame(
        {
            "flops": FLOPS,
            "score_with": rng.binomial(n, np.clip(base + effect, 0, 1)) / n,
            "score_without": rng.binomial(n, base) / n,
        }
    )


def test_the_crossing_of_a_hinge_is_covered():
    effect = -0.06 + 0.15 * np.maximum(DECADE - 22, 0)
    found = [difference_of_conditions(pairs(effect, s), n_items=300, n_draws=199) for s in range(40)]
    assert sum(f.verdict == "helps beyond a scale" for f in found) >= 38
    assert sum(f.crossing.low <= 10**22.4 <= f.crossing.high for f in found) >= 34
    assert sum(f.corner.low <= 1e22 <= f.corner.high for f in found) >= 34
    assert "helps beyond flops" in found[0].finding


def test_no_effect_claims_no_scale():
    nothing = [difference_of_conditions(pairs(0 * DECADE, s), n_items=300, n_draws=199) for s in range(60)]
    assert sum(f.p_change < 0.05 for f in nothing) <= 8  # a 5 % test: more than 8 of 60 happens once in 300
    assert not any(f.verdict == "helps beyond a scale" for f in nothing[:40])
    assert difference_of_conditions(pairs(0 * DECADE - 0.15, 0), n_items=300).verdict == "hurts"
    assert difference_of_conditions(pairs(0 * DECADE + 0.15, 0)).verdict == "helps everywhere"


def test_tasks_are_classed():
    rng = np.random.default_rng(1)
    curves = {
        "flat": np.full(12, 0.25),
        "smooth": 0.25 + 0.65 * expit((DECADE - 22) * 1.6),
        "sharp": np.where(DECADE > 22.05, 0.85, 0.25),
    }
    table = pd.concat(
        pd.DataFrame({"task": k, "flops": FLOPS, "score": rng.binomial(1000, v) / 1000}) for k, v in curves.items()
    )
    short = pd.DataFrame({"task": "short", "flops": FLOPS[:2], "score": 0.3})
    found = classify_tasks(pd.concat([table, short]), n_items=1000, floor=0.25).set_index("task")["class"]
    assert found.to_dict() == {"flat": "flat", "sharp": "sharp", "short": "unknown", "smooth": "smooth"}


def test_scores_of_single_outputs_are_as_defined():
    assert edit_distance("kitten", "sitting") == 3 and edit_distance("", "abc") == 3
    scored = score_text(["abcd", "abxd"], ["abcd", "abcd"])
    assert scored.to_numpy().tolist() == [[1, 1, 1], [0, 0.75, 0.5]]
    assert score_probabilities([np.log([0.5, 0.5])]).to_numpy()[0] == pytest.approx([0.25, 0.5])
    assert score_choices(np.array([[0.8, 0.2], [0.4, 0.6]]), [0, 0]).to_numpy().tolist() == pytest.approx(
        np.array([[1, 0.96], [0, 0.64]])
    )


def outputs(rate, n_tokens: int, scale: np.ndarray) -> pd.DataFrame:
    rng, parts = np.random.default_rng(0), []
    for c in scale:
        right = rng.random((300, n_tokens)) < rate(np.log10(c))
        rates = {"exact_match": right.all(axis=1) * 1.0, "per_token": right.mean(axis=1)}
        parts.append(pd.DataFrame({"flops": c, **rates}))
    return pd.concat(parts, ignore_index=True)


def test_a_jump_of_the_metric_is_told_from_one_of_the_ability():
    scale = np.geomspace(1e19, 1e23, 16)
    steady = rescore(outputs(lambda t: np.clip((t - 19) / 3.5, 0, 1), 40, scale), n_draws=99)
    assert steady.metrics.set_index("metric")["verdict"].to_dict() == {"exact_match": "sudden", "per_token": "gradual"}
    assert steady.verdict == "metric" and "belongs to the metric" in steady.finding
    jump = rescore(outputs(lambda t: 0.4 if t < 21 else 0.99, 40, scale), n_draws=99)
    assert jump.verdict == "ability"
    slow = rescore(outputs(lambda t: np.exp(-0.03 * 10 ** (-0.8 * (t - 21))), 60, scale), n_draws=99)
    assert slow.verdict == "gradual", "with a power law of loss exact match is as wide as the rate, only later"


def test_calibration_by_hand():
    found = calibration([0.1, 0.1, 0.9, 0.9], [0, 1, 1, 1], n_bins=2)
    assert found.ece == pytest.approx((0.4 + 0.1) / 2)
    assert found.reliability == pytest.approx((0.16 + 0.01) / 2) and found.uncertainty == pytest.approx(0.1875)
    assert found.brier == pytest.approx(np.mean([0.01, 0.81, 0.01, 0.01]))
    assert found.auroc == pytest.approx((2 * 1 + 1 * 0.5) / 3)
    rng = np.random.default_rng(0)
    p = rng.random(20000)
    perfect = calibration(p, (rng.random(20000) < p).astype(float))
    assert perfect.ece < 2 * perfect.ece_of_perfect and perfect.auroc == pytest.approx(5 / 6, abs=0.01)


def answers(gain: float, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    parts = []
    for i, n in enumerate(np.geomspace(1e8, 1e11, 9)):
        p = rng.random(800)
        right = rng.random(800) < expit((0.4 + gain * i) * np.log(p / (1 - p)))
        parts.append(
            pd.DataFrame(
                {"model": f"m{i}", "n_params": n, "probability": p, "correct": right * 1, "family": f"f{i % 3}"}
            )
        )
    return pd.concat(parts)


def test_calibration_that_improves_with_size_is_found_and_none_is_not():
    better = self_knowledge(answers(0.08), family="family")
    slopes = better.trends.set_index("measure")
    assert slopes["high"]["ece"] < 0 < slopes["low"]["auroc"] and "clustered by family" in better.finding
    claims = [self_knowledge(answers(0.0, s)).trends.set_index("measure")["p_value"]["auroc"] < 0.05 for s in range(20)]
    assert sum(claims) <= 5  # a 5 % test, 20 times


def attacks(slopes: tuple[float, float], seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    skill = 0.8 * rng.standard_normal(100)
    rows = [
        (size, int(rng.random() < expit(-0.5 + slope * (np.log10(size) - 10) + skill[a])), name, a)
        for name, slope in zip(("plain", "rlhf"), slopes, strict=True)
        for size in (2.7e9, 1.3e10, 5.2e10)
        for a in range(100)
        for _ in range(2)
    ]
    return pd.DataFrame(rows, columns=["n_params", "success", "intervention", "attacker"])


def test_the_mixed_logit_covers_its_slopes_and_the_spread_of_attackers():
    found = [red_team(attacks((0.0, -0.8), s)) for s in range(30)]
    for k, truth in enumerate((0.0, -0.8)):
        assert sum(f.slopes["low"][k] <= truth <= f.slopes["high"][k] for f in found) >= 25
    assert np.mean([f.tau for f in found]) == pytest.approx(0.8, abs=0.08)
    ahead = found[0].forecast([1e12])
    assert (ahead["low"] < ahead["success"]).all() and (ahead["beyond"] > 1).all()
    assert "falls for rlhf" in found[0].finding and found[0].p_equal < 0.05


def test_the_mixed_logit_agrees_with_an_ordinary_one_where_attackers_are_alike():
    from statsmodels.api import Logit, add_constant

    table = attacks((0.3, -0.8), 5)
    rng = np.random.default_rng(2)
    slope = np.where(table["intervention"] == "plain", 0.3, -0.8)
    table["success"] = (rng.random(len(table)) < expit(-0.5 + slope * (np.log10(table["n_params"]) - 10))).astype(int)
    found = red_team(table)
    for k, name in enumerate(("plain", "rlhf")):
        part = table[table["intervention"] == name]
        ordinary = Logit(part["success"], add_constant(np.log10(part["n_params"].to_numpy()))).fit(disp=0)
        assert found.slopes["slope"][k] == pytest.approx(ordinary.params.iloc[1], abs=0.02)


def test_a_task_of_depth_is_told_from_one_of_parameters():
    rng = np.random.default_rng(0)
    depth, width = (v.ravel().astype(float) for v in np.meshgrid([4, 8, 16, 32], [256, 512, 1024, 2048]))
    logits = {
        "facts": 0.5 * np.log(depth) + 1.0 * np.log(width) - 8,
        "steps": 1.4 * np.log(depth) + 0.3 * np.log(width) - 5,
    }
    table = pd.concat(
        pd.DataFrame({"task": k, "n_layers": depth, "d_model": width, "score": rng.binomial(2000, expit(v)) / 2000})
        for k, v in logits.items()
    )
    found = depth_width(table, task="task", n_items=2000)
    share = found.trade.set_index("task")
    assert share["p_value"]["facts"] > 0.05 and share["depth_share"]["facts"] == pytest.approx(1 / 3, abs=0.05)
    assert share["p_value"]["steps"] < 1e-6 and "steps gains more from depth" in found.finding
    with pytest.raises(RunsError, match="do not vary apart"):
        depth_width(
            table[table["task"] == "facts"]
            .iloc[::5]
            .pipe(lambda t: pd.concat([t, t]))
            .assign(n_layers=lambda t: t["d_model"] / 64)
        )


def test_the_second_descent_pays_when_the_signal_is_stronger_than_the_noise():
    table = second_descent([0.5, 2.0, 50.0])
    assert table["useful"].tolist() == [False, True, True]
    assert needed_snr() == pytest.approx(1.0, abs=0.01)  # Hastie et al.: a minimum beyond the threshold for SNR > 1


def test_in_context_errors_are_those_of_simulated_least_squares():
    rng = np.random.default_rng(0)
    table = in_context_baselines([0, 10, 20, 40], 20, 0.1).set_index("n_examples")["least_squares"]
    assert table[0] == 1 and table[20] == np.inf
    for k in (10, 40):
        x = rng.standard_normal((3000, k, 20))
        w = rng.standard_normal((3000, 20)) / np.sqrt(20)
        y = np.einsum("bkd,bd->bk", x, w) + np.sqrt(0.1) * rng.standard_normal((3000, k))
        off = np.einsum("bdk,bk->bd", np.linalg.pinv(x), y) - w
        assert table[k] == pytest.approx((off**2).sum(axis=1).mean(), rel=0.03)


def test_the_fitted_crossing_lies_beyond_the_peak():
    class Peaked:
        from scaling.laws.double_descent import double_descent_law

        law = double_descent_law("width", "test_loss", (1.0, 1000.0))
        theta = np.array([0.1, 2.0, 0.5, 0.3, 60.0, 1.5, 0.05])

    at = second_descent_crossing(Peaked(), np.geomspace(1, 1e5, 4000))
    y = Peaked.law.predict({"width": np.geomspace(1, 60, 2000)}, Peaked.theta)
    assert 60 < at < 1e5
    assert Peaked.law.predict({"width": np.array([at])}, Peaked.theta)[0] == pytest.approx(y.min(), rel=0.01)


def test_published_onsets_stand_beside_ones_own():
    rate = np.where(DECADE > 22.05, 0.8, 0.0)
    found = emergence(pd.DataFrame({"flops": FLOPS, "score": rate}), n_items=500, n_draws=99)
    table = compare_onset(found)
    near = table.set_index("task")["decades"]
    assert near["addition and subtraction, 3 digits"] == pytest.approx(np.log10(2.3e22 / found.onset.estimate))
    assert len(published_onsets()) == 15 and not table["flops"].isna().any()


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: difference_of_conditions(pairs(0 * DECADE, 0), x="size"), "no column 'size'"),
        (lambda: difference_of_conditions(pairs(0 * DECADE, 0).head(3)), "3 different scales"),
        (lambda: difference_of_conditions(pairs(0 * DECADE, 0) * 100), "outside"),
        (lambda: classify_tasks(pd.DataFrame({"task": []})), "no column"),
        (lambda: rescore(pd.DataFrame({"flops": [1.0], "exact_match": [1.0]})), "two columns"),
        (lambda: score_text(["a"], []), "1 outputs and 0 targets"),
        (lambda: score_probabilities([np.array([0.5])]), "positive log probability"),
        (lambda: score_choices(np.ones((2, 2)), [0, 1]), "distributions"),
        (lambda: calibration([0.5, 2.0], [1, 0]), "row 1"),
        (lambda: self_knowledge(answers(0).query("model < 'm2'")), "2 models"),
        (lambda: red_team(attacks((0, 0), 0).query("n_params < 3e9")), "a slope needs two"),
        (lambda: red_team(attacks((0, 0), 0).assign(success=0.5)), "row 0"),
    ],
)
def test_bad_input_says_what_to_do(act, words):
    with pytest.raises(RunsError, match=words):
        act()


def test_theory_refuses_what_has_no_meaning():
    with pytest.raises(LawError, match="positive"):
        second_descent([0.0])
    with pytest.raises(LawError, match="dimension"):
        in_context_baselines([1], 0)
