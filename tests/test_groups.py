"""Compute multipliers between groups: recovered where exponents are shared, refused where they are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scaling.errors import LawError, RunsError
from scaling.groups import compare_groups
from scaling.laws.efficiency import efficiency_law
from scaling.laws.law import complex_step


def two(rho_n: float, rho_d: float, alpha: float = 0.34, floor: float = 1.8, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    parts = []
    for name, n, d, a, e in (("transformer", 1.0, 1.0, 0.34, 1.8), ("mamba", rho_n, rho_d, alpha, floor)):
        size = 10 ** rng.uniform(7, 9, 40)
        tokens = size * 10 ** rng.uniform(0.5, 2.3, 40)
        scale = 400 * 1e8 ** (a - 0.34)
        loss = e + scale * (n * size) ** -a + 1200 * (d * tokens) ** -0.33
        parts.append(pd.DataFrame({"n_params": size, "n_tokens": tokens, "loss": loss, "arch": name}))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(loss=table["loss"] * np.exp(0.003 * rng.standard_normal(len(table))))


def test_the_multiplier_is_recovered_in_most_simulations():
    inside, rejected = 0, 0
    for seed in range(30):
        found = compare_groups(two(1.3, 1.2, seed=seed), "arch", reference="transformer")
        row = found.factors.iloc[1]
        inside += row["multiplier_low"] <= 1.56 <= row["multiplier_high"]
        rejected += found.exponents_differ < 0.05
    assert inside >= 25  # 95 % intervals: fewer than 25 of 30 happens once in 300
    assert rejected <= 5  # a 5 % test: more than 5 of 30 happens once in 300


def test_different_exponents_and_floors_are_found_and_said():
    found = compare_groups(two(1, 1, alpha=0.42), "arch", reference="transformer")
    assert found.exponents_differ < 1e-4 and "exponents differ" in found.finding
    assert found.at_budgets["multiplier"].is_monotonic_increasing, "the steeper surface gains with scale"
    floors = compare_groups(two(1, 1, floor=1.9), "arch", reference="transformer")
    assert "irreducible losses differ" in floors.finding


def test_the_law_derives_and_reduces_to_chinchilla():
    x = {"n_params": np.geomspace(1e7, 1e9, 12), "n_tokens": np.geomspace(1e9, 1e10, 12), "group": np.arange(12.0) % 3}
    theta = np.array([1.8, 1.9, 1.7, 400, 900, 0.34, 0.3, 1.2, 0.8, 0.9, 1.5])
    law = efficiency_law(3, own_floor=True)
    value, jac = law.value_and_jacobian(x, theta)
    assert jac == pytest.approx(complex_step(law.formula, x, theta)[1], rel=1e-12)
    one = x["group"] == 1
    shifted = 1.9 + 400 * (1.2 * x["n_params"]) ** -0.34 + 900 * (0.9 * x["n_tokens"]) ** -0.3
    assert value[one] == pytest.approx(shifted[one])
    with pytest.raises(LawError, match="two groups"):
        efficiency_law(1)


def test_bad_groups_are_refused():
    table = two(1, 1)
    with pytest.raises(RunsError, match="no column 'kind'"):
        compare_groups(table, "kind")
    with pytest.raises(RunsError, match="holds 1 group"):
        compare_groups(table[table["arch"] == "mamba"], "arch")
    with pytest.raises(RunsError, match="has 5 runs"):
        compare_groups(pd.concat([table[table["arch"] == "mamba"], table.iloc[:5]]), "arch")
    with pytest.raises(RunsError, match="no group 'rwkv'"):
        compare_groups(table, "arch", reference="rwkv")
    assert compare_groups(table, "arch").to_dict()["schema"] == "scaling.groups/1"
