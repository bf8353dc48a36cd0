"""Simulated runs follow the law, and their noise is what was asked for."""

from __future__ import annotations

import json

import numpy as np
import pytest

from scaling.errors import LawError, RunsError
from scaling.fitting import fit
from scaling.laws.chinchilla import CHINCHILLA
from scaling.simulation import grid_design, isoflop_design, simulate
from scaling.uncertainty import bootstrap

THETA = np.array([1.8, 480.0, 2100.0, 0.35, 0.37])


def errors(runs):
    """Log of the simulated loss over the law's own value."""
    exact = 1.8 + 480 / runs["n_params"] ** 0.35 + 2100 / runs["n_tokens"] ** 0.37
    return np.log(runs["loss"] / exact).to_numpy()


def test_an_isoflop_design_spends_each_budget_exactly_at_every_size():
    design = isoflop_design([1e18, 1e20], n_points=7, tokens_per_param=(2, 200))
    assert len(design) == 14
    np.testing.assert_allclose(6 * design["n_params"] * design["n_tokens"], design["flops"], rtol=1e-12)
    for _, sweep in design.groupby("flops"):
        assert sweep["n_params"].is_monotonic_increasing
        ratio = sweep["n_tokens"] / sweep["n_params"]
        np.testing.assert_allclose([ratio.min(), ratio.max()], [2, 200], rtol=1e-12)


def test_a_grid_design_pairs_every_size_with_every_token_count():
    design = grid_design([1e7, 1e8, 1e9], [1e9, 1e10], flops_per_param_token=8)
    assert {(n, d) for n, d in zip(design["n_params"], design["n_tokens"], strict=True)} == {
        (n, d) for n in (1e7, 1e8, 1e9) for d in (1e9, 1e10)
    }
    np.testing.assert_allclose(design["flops"], 8 * design["n_params"] * design["n_tokens"])


def test_without_noise_the_runs_lie_on_the_law():
    runs = simulate(CHINCHILLA, isoflop_design([1e18, 1e19]), theta=THETA, noise=0)
    assert np.abs(errors(runs)).max() < 1e-14


@pytest.mark.parametrize("tail_df", [None, 5.0])
def test_the_noise_has_the_standard_deviation_asked_for(tail_df):
    design = isoflop_design(np.geomspace(1e18, 1e22, 400), n_points=50)
    e = errors(simulate(CHINCHILLA, design, theta=THETA, noise=0.02, tail_df=tail_df, rng=3))
    # 20,000 draws: the standard error of the deviation is 0.5 % for the Gaussian and about 1 % for t with 5 df
    assert e.std() == pytest.approx(0.02, rel=0.04)
    assert abs(e.mean()) < 4 * 0.02 / np.sqrt(len(e))
    kurtosis = np.mean(e**4) / np.mean(e**2) ** 2
    assert (kurtosis > 4.5) == (tail_df is not None)


def test_noise_may_differ_from_run_to_run():
    design = isoflop_design([1e18, 1e21], n_points=2000)
    scale = np.where(design["flops"] == 1e18, 0.03, 0.003)
    e = errors(simulate(CHINCHILLA, design, theta=THETA, noise=scale, rng=1))
    assert e[:2000].std() == pytest.approx(0.03, rel=0.1)
    assert e[2000:].std() == pytest.approx(0.003, rel=0.1)


def test_shared_noise_is_one_error_per_value_of_its_column():
    design = isoflop_design(np.geomspace(1e18, 1e22, 500), n_points=3)
    runs = simulate(CHINCHILLA, design, theta=THETA, noise=0, shared={"flops": 0.01}, rng=2)
    runs["error"] = errors(runs)
    by_budget = runs.groupby("flops")["error"]
    assert by_budget.std().max() < 1e-13
    assert by_budget.mean().std() == pytest.approx(0.01, rel=0.15)


def test_equal_seeds_give_equal_runs_and_others_do_not():
    design = isoflop_design([1e18, 1e19])
    one, same, other = (simulate(CHINCHILLA, design, theta=THETA, rng=seed)["loss"] for seed in (7, 7, 8))
    assert (one == same).all()
    assert (one != other).all()


def test_a_fit_and_its_bootstrap_simulate_with_the_fitted_coefficients():
    design = isoflop_design([1e18, 1e19, 1e20])
    fitted = fit(CHINCHILLA, simulate(CHINCHILLA, design, theta=THETA, noise=0.003))
    again = simulate(fitted, design, noise=0)
    np.testing.assert_allclose(again["loss"], fitted.predict(design), rtol=1e-14)
    np.testing.assert_array_equal(simulate(bootstrap(fitted, 3), design, noise=0)["loss"], again["loss"])


def test_the_design_is_left_alone_and_its_columns_are_kept():
    design = isoflop_design([1e18]).assign(corpus="web", run=[f"r{i}" for i in range(9)])
    runs = simulate(CHINCHILLA, design, theta=dict(zip(CHINCHILLA.coef_names, THETA, strict=True)))
    assert "loss" not in design
    assert list(runs["run"]) == [f"r{i}" for i in range(9)]
    assert set(runs["corpus"]) == {"web"}
    assert simulate(CHINCHILLA, design.drop(columns="run"), theta=THETA)["run"].is_unique
    assert json.loads(json.dumps(runs.attrs["simulated"]))["theta"]["alpha"] == 0.35


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({}, LawError, "alone has no coefficients: give theta=\\(E, A, B, alpha, beta\\)"),
        ({"theta": THETA[:3]}, LawError, "one set of 5 coefficients"),
        ({"theta": np.tile(THETA, (2, 1))}, LawError, "one group or resample"),
        ({"theta": {"E": 1.0}}, LawError, "theta names E"),
        ({"theta": THETA * np.nan}, LawError, "finite coefficients"),
        ({"theta": THETA, "noise": -0.1}, RunsError, "standard deviation"),
        ({"theta": THETA, "tail_df": 2}, RunsError, "above 2"),
        ({"theta": THETA, "shared": {"seed": 0.1}}, RunsError, "no column 'seed'"),
        ({"theta": THETA, "shared": {"flops": -1}}, RunsError, "shared\\['flops'\\]"),
    ],
)
def test_what_cannot_be_simulated_is_refused_with_a_sentence(arguments, error, says):
    with pytest.raises(error, match=says):
        simulate(CHINCHILLA, isoflop_design([1e18]), **arguments)


def test_a_design_the_law_has_no_value_at_is_refused_with_its_row():
    design = isoflop_design([1e18])
    design.loc[4, "n_tokens"] = -1.0
    with pytest.raises(RunsError, match=r"row 4 of the design \(n_params = .*, n_tokens = -1\)"):
        simulate(CHINCHILLA, design, theta=THETA)
    with pytest.raises(RunsError, match="no column 'n_tokens'"):
        simulate(CHINCHILLA, design.drop(columns="n_tokens"), theta=THETA)


@pytest.mark.parametrize("make", [lambda: isoflop_design([0.0]), lambda: isoflop_design([1e18], n_points=0),
                                  lambda: grid_design([1e8], [-1e9]), lambda: grid_design([np.nan], [1e9])])  # fmt: skip
def test_designs_without_sense_are_refused(make):
    with pytest.raises(RunsError):
        make()
