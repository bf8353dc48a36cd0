"""Threshold curves against closed forms and published figures."""

from __future__ import annotations

import numpy as np
import pytest

from scaling import bootstrap, fit, grid_design, published, simulate
from scaling.calculators import compare_thresholds, threshold
from scaling.errors import LawError, PlanError


@pytest.mark.parametrize(
    ("key", "flops"), [("hoffmann2022-3", 7.8e22), ("besiroglu2024", 2.44e23), ("muennighoff2023-base", 1.56e24)]
)
def test_the_least_compute_is_that_of_the_closed_form(key, flops):
    law = published(key)
    found = threshold(law, 2.0)
    c = law.coefs
    a, b = c["alpha"], c["beta"]
    g = (a * c["A"] / (b * c["B"])) ** (1 / (a + b))
    k, gamma = c["A"] * g**-a + c["B"] * g**b, a * b / (a + b)
    row = found.cheapest.iloc[0]
    assert row["flops"] == pytest.approx(6 * ((2 - c["E"]) / k) ** (-1 / gamma), rel=1e-6)
    assert row["flops"] == pytest.approx(flops, rel=0.005)
    assert found.reducible_per_doubling == pytest.approx(1 - 2**-gamma, rel=1e-3)
    assert row["flops"] <= found.curve["flops"].min() * (1 + 1e-9)
    for table in (found.curve, found.over_trained):
        x = {c: table[c].to_numpy() for c in ("n_params", "n_tokens")}
        assert law.predict(x) == pytest.approx(2.0, abs=1e-9), "every model of the curve has the loss"
    assert found.over_trained["extra"].min() >= 1 - 1e-9


def test_a_bootstrap_gives_intervals_that_hold_the_truth():
    design = grid_design(np.geomspace(5e7, 5e9, 6), np.geomspace(1e9, 2e11, 6))
    runs = simulate(published("besiroglu2024"), design, noise=0.003, rng=1)
    draws = bootstrap(fit("chinchilla", runs), n_resamples=60)
    found = threshold(draws, 2.2, level=0.95)
    truth = threshold(published("besiroglu2024"), 2.2).cheapest.iloc[0]
    row = found.cheapest.iloc[0]
    for name in ("flops", "n_params", "n_tokens"):
        assert row[f"{name}_low"] < truth[name] < row[f"{name}_high"]
    over = found.over_trained.iloc[1]
    assert over["n_params_low"] < over["n_params"] < over["n_params_high"]
    assert "decades beyond" in str(threshold(draws, 1.95))


def test_laws_are_compared_and_an_unreached_loss_is_said():
    table = compare_thresholds({"h": published("hoffmann2022-3"), "m": published("muennighoff2023-base")}, 1.8)
    assert np.isfinite(table["flops"][0]) and np.isnan(table["flops"][1]), "1.8 lies below the second floor"
    with pytest.raises(PlanError, match="cannot be reached"):
        threshold(published("muennighoff2023-base"), 1.8)
    with pytest.raises(LawError, match="n_params and n_tokens alone"):
        threshold(published("muennighoff2023"), 2.0)
    with pytest.raises(PlanError, match="level"):
        threshold(published("besiroglu2024"), 2.0, level=1.0)
