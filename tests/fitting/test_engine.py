"""The engine: one code path for one fit and for a batch, proofs of convergence, honest statuses."""

import numpy as np
import pandas as pd
import pytest

from scaling.errors import FitError, LawError, RunsError
from scaling.fitting import OBJECTIVES, AbsoluteError, Huber, Squared, fit, load_fit
from scaling.fitting.covariance import classical
from scaling.laws.chinchilla import CHINCHILLA
from scaling.laws.law import Coef, Law
from scaling.uncertainty import bootstrap, interval

TRUTH = np.array([1.7, 400.0, 900.0, 0.34, 0.31])


def ladder(noise=0.0, seed=0, budgets=6, sizes=8):
    """An isoFLOP ladder from known coefficients, sizes within a factor 8 of the middle of each budget."""
    rng = np.random.default_rng(seed)
    rows = []
    for c in np.geomspace(1e18, 1e21, budgets):
        for offset in np.linspace(-np.log(8), np.log(8), sizes):
            n = 0.3 * np.sqrt(c / 6) * np.exp(offset)
            rows.append((n, c / (6 * n), c))
    runs = pd.DataFrame(rows, columns=["n_params", "n_tokens", "flops"])
    loss = CHINCHILLA.predict({k: runs[k].to_numpy() for k in CHINCHILLA.inputs}, TRUTH)
    runs["loss"] = loss * np.exp(noise * rng.standard_normal(len(runs)))
    return runs


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_every_objective_recovers_the_coefficients_of_noise_free_runs(objective):
    result = fit(CHINCHILLA, ladder(), objective)
    # 1e-6: residuals of rounding size leave the flat direction (A, alpha) that loose
    np.testing.assert_allclose(result.theta, TRUTH, rtol=1e-5)
    assert result.converged


@pytest.mark.parametrize("objective", ["hoffmann", "huber", "squared", "squared-log", "absolute"])
def test_gradient_is_zero_to_rounding(objective):
    result = fit(CHINCHILLA, ladder(0.01), objective)
    assert result.status == "converged"
    assert result.gradient < 1e-8


def test_shuffling_rows_moves_nothing():
    runs = ladder(0.01)
    first, second = (fit(CHINCHILLA, r).theta for r in (runs, runs.sample(frac=1, random_state=1)))
    np.testing.assert_allclose(first, second, rtol=1e-9)


def test_units_of_the_inputs_only_rescale_the_amplitudes():
    runs = ladder(0.01)
    scaled = runs.assign(n_params=runs.n_params / 1e6, n_tokens=runs.n_tokens / 1e9)
    plain, other = fit(CHINCHILLA, runs).theta, fit(CHINCHILLA, scaled).theta
    E, A, B, alpha, beta = plain
    expected = [E, A * 1e6**-alpha, B * 1e9**-beta, alpha, beta]
    np.testing.assert_allclose(other, expected, rtol=1e-8)


def test_least_squares_agrees_with_scipy():
    from scipy.optimize import least_squares

    runs = ladder(0.01)
    result = fit(CHINCHILLA, runs, Squared("log"))
    x = {k: runs[k].to_numpy() for k in CHINCHILLA.inputs}
    found = least_squares(
        lambda u: np.log(CHINCHILLA.predict(x, np.exp(u))) - np.log(runs.loss),
        np.log(TRUTH), x_scale="jac", xtol=1e-15, ftol=1e-15, gtol=1e-15,
    )  # fmt: skip
    np.testing.assert_allclose(result.objective_value, found.cost, rtol=1e-10)
    np.testing.assert_allclose(result.theta, np.exp(found.x), rtol=1e-6)  # scipy's own gradient tolerance


def test_covariance_agrees_with_statsmodels_for_a_linear_law():
    import statsmodels.api as sm

    line = Law(
        name="line", equation="y = m + k t", inputs=("t",), target="y",
        coefs=(Coef("m", "level", (-1, 1), lower=-np.inf), Coef("k", "slope", (-1, 1), lower=-np.inf)),
        formula=lambda x, theta: theta[..., 0:1] + theta[..., 1:2] * x["t"], linear=("m", "k"),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    t = rng.uniform(1, 5, 40)
    y = 2 + 3 * t + t * rng.standard_normal(40)
    result = fit(line, {"t": t, "y": y}, Squared())
    reference = sm.OLS(y, sm.add_constant(t)).fit()
    np.testing.assert_allclose(result.theta, reference.params, rtol=1e-9)
    np.testing.assert_allclose(np.sqrt(np.diag(result.covariance)), reference.HC3_se, rtol=1e-6)
    u = result.coordinates.to_working(result.theta)[None]
    plain = classical(result.coordinates, result.objective, result.problem, u)[0]
    np.testing.assert_allclose(np.sqrt(np.diag(plain)), reference.bse, rtol=1e-8)


def test_groups_in_a_batch_equal_groups_alone():
    runs = pd.concat(
        [ladder(0.01, s).assign(family=f"f{s}") for s in range(3)] + [ladder(0.01, 3, budgets=4).assign(family="short")]
    )
    batch = fit(CHINCHILLA, runs, by="family")
    assert batch.shape == (4,)
    for i, name in enumerate(batch.groups["family"]):
        alone = fit(CHINCHILLA, runs[runs.family == name])
        np.testing.assert_allclose(batch.theta[i], alone.theta, rtol=1e-9)
        np.testing.assert_allclose(batch[i].theta, alone.theta, rtol=1e-9)
        np.testing.assert_allclose(np.diag(batch.covariance[i]), np.diag(alone.covariance), rtol=1e-5)


def test_a_bad_group_is_a_status_and_the_others_are_complete():
    runs = pd.concat([ladder(0.01).assign(family="good"), ladder(0.01).iloc[:4].assign(family="tiny")])
    result = fit(CHINCHILLA, runs, by="family")
    assert list(result.status) == ["converged", "too_few_runs"]
    assert np.isfinite(result.theta[0]).all()
    assert np.isnan(result.theta[1]).all()
    assert "4 runs are too few" in result.message[1]
    assert bootstrap(result, 20).theta.shape == (20, 2, 5)


def test_fixed_coefficients_stay_and_the_rest_adapt():
    runs = ladder(0.01)
    result = fit(CHINCHILLA, runs, fixed={"alpha": 0.5})
    assert result.theta[3] == 0.5
    assert result.objective_value > fit(CHINCHILLA, runs).objective_value
    assert result.std_error()[3] == 0


def test_weights_count_runs():
    runs = ladder(0.01)
    doubled = pd.concat([runs, runs.iloc[:10]])
    weights = np.ones(len(runs))
    weights[:10] = 2
    weighted, repeated = fit(CHINCHILLA, runs, "hoffmann", weights=weights), fit(CHINCHILLA, doubled, "hoffmann")
    np.testing.assert_allclose(weighted.theta, repeated.theta, rtol=1e-8)


def test_robust_objectives_shrug_off_an_outlier():
    runs = ladder(0.003)
    runs.loc[5, "loss"] *= 1.5
    squared, robust = (np.abs(np.log(fit(CHINCHILLA, runs, o).theta / TRUTH)) for o in (Squared("log"), Huber()))
    assert robust[3] < 0.1
    assert squared[3] > 2 * robust[3]


def test_absolute_error_beats_every_nearby_point():
    runs = ladder(0.01)
    result = fit(CHINCHILLA, runs, AbsoluteError())
    x = {k: runs[k].to_numpy() for k in CHINCHILLA.inputs}

    def total(theta):
        return np.abs(np.log(CHINCHILLA.predict(x, theta)) - np.log(runs.loss.to_numpy())).sum()

    rng = np.random.default_rng(0)
    here = total(result.theta)
    for size in (1e-2, 1e-4):
        others = [total(result.theta * np.exp(size * rng.standard_normal(5))) for _ in range(200)]
        assert here <= min(others) + 1e-6


class TestDesignsThatCannotAnswer:
    def test_one_ratio_of_tokens_to_parameters(self):
        runs = ladder(0.01)
        runs["n_tokens"] = 20 * runs["n_params"]
        result = fit(CHINCHILLA, runs)
        assert result.status == "undetermined"
        assert "tokens per parameter" in result.message or "one line" in result.message

    def test_one_budget(self):
        runs = ladder(0.01)
        result = fit(CHINCHILLA, runs[runs.flops == runs.flops.max()])
        assert result.status == "undetermined"
        assert "same compute" in result.message

    def test_a_constant_input(self):
        runs = ladder(0.01).assign(n_params=1e9)
        assert "same n_params" in fit(CHINCHILLA, runs).message

    def test_a_floor_that_is_not_there(self):
        runs = ladder(0.0)
        x = {k: runs[k].to_numpy() for k in CHINCHILLA.inputs}
        runs["loss"] = CHINCHILLA.predict(x, np.array([0.0, 400.0, 900.0, 0.34, 0.31]))
        result = fit(CHINCHILLA, runs)
        assert result.status == "at_bound"
        assert "E went to the bound" in result.message

    def test_a_law_that_the_runs_contradict(self):
        runs = ladder(0.003)
        runs["loss"] *= 1 + 0.02 * np.log(runs.n_tokens / runs.n_params / 20) ** 2
        assert "lack_of_fit" in [w.code for w in fit(CHINCHILLA, runs, "huber").warnings]

    def test_no_false_alarm_on_the_right_law(self):
        alarms = sum(
            "lack_of_fit" in [w.code for w in fit(CHINCHILLA, ladder(0.005, s), "huber").warnings] for s in range(40)
        )
        assert alarms <= 3  # 1 to 2 % expected; 3 of 40 has probability below 0.1 %


class TestBadInput:
    def test_missing_column_names_what_there_is(self):
        with pytest.raises(RunsError, match=r"needs the column 'n_tokens'.*'n_params'"):
            fit(CHINCHILLA, ladder().drop(columns="n_tokens"))

    def test_text_in_loss(self):
        with pytest.raises(RunsError, match="'loss' is not numeric"):
            fit(CHINCHILLA, ladder().assign(loss="3.2"))

    @pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0])
    def test_losses_that_have_no_log(self, value):
        runs = ladder()
        runs.loc[7, "loss"] = value
        with pytest.raises(RunsError, match=r"rows 7"):
            fit(CHINCHILLA, runs)

    def test_too_few_runs(self):
        with pytest.raises(FitError, match="6 runs are too few"):
            fit(CHINCHILLA, ladder().iloc[:6])

    def test_empty(self):
        with pytest.raises(RunsError, match="empty"):
            fit(CHINCHILLA, ladder().iloc[:0])

    def test_unknown_names(self):
        with pytest.raises(LawError, match="chinchilla"):
            fit("chinchila", ladder())
        with pytest.raises(FitError, match="hoffmann"):
            fit(CHINCHILLA, ladder(), "hofmann")
        with pytest.raises(FitError, match="cannot fix 'gamma'"):
            fit(CHINCHILLA, ladder(), fixed={"gamma": 1})

    def test_weights_of_the_wrong_length(self):
        with pytest.raises(FitError, match="weights must be 48"):
            fit(CHINCHILLA, ladder(), weights=np.ones(3))


def test_a_users_own_law_needs_no_derivative():
    own = Law(
        name="mine", equation="L(N) = E + A N^-alpha", inputs=("n_params",),
        coefs=(Coef("E", "floor", (0.1, 5)), Coef("A", "amplitude", (1, 1e5)), Coef("alpha", "exponent", (0.05, 1))),
        formula=lambda x, theta: theta[..., 0:1] + theta[..., 1:2] * x["n_params"] ** -theta[..., 2:3],
    )  # fmt: skip
    n = np.geomspace(1e6, 1e10, 20)
    result = fit(own, {"n_params": n, "loss": 1.5 + 200 * n**-0.3})
    np.testing.assert_allclose(result.theta, [1.5, 200, 0.3], rtol=1e-5)


def test_a_saved_fit_predicts_as_the_one_that_was_saved(tmp_path):
    import json

    result = fit(CHINCHILLA, ladder(0.01))
    for saved in (result, bootstrap(result, 100)):
        path = tmp_path / "fit.json"
        path.write_text(json.dumps(saved.to_dict()))
        again = load_fit(path)
        where = {"n_params": [7e9, 7e10], "n_tokens": [1.4e11, 1.4e12]}
        pd.testing.assert_frame_equal(again.predict(where, level=0.9), saved.predict(where, level=0.9))
        np.testing.assert_array_equal(again.interval(0.9), saved.interval(0.9))
        assert again.to_dict()["coefs"] == saved.to_dict()["coefs"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": "scaling.fit/1"}', '{"schema": "scaling.plan/1"}', "\x00"])
def test_what_is_not_a_fit_is_refused_with_the_files_name(tmp_path, text):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(FitError, match=r"broken\.json"):
        load_fit(path)


def test_a_group_shorter_than_its_batch_can_be_taken_out_and_analysed():
    runs = pd.concat([ladder(0.003, 0).assign(g="long"), ladder(0.003, 1).iloc[:30].assign(g="short")])
    alone = fit(CHINCHILLA, runs[runs["g"] == "short"], "robust")
    taken = fit(CHINCHILLA, runs, "robust", by="g")[1]
    ours, theirs = (interval(r, "a") for r in (taken, alone))
    np.testing.assert_allclose([ours.low, ours.high], [theirs.low, theirs.high], rtol=1e-4)
