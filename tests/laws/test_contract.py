"""What every registered law must satisfy; a new law is covered the moment it is listed in LAWS."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from scaling.errors import LawError
from scaling.laws import LAWS, broken_power_law, get, mixing_law, multi_power_law
from scaling.laws.law import complex_step

N_RUNS = 12
# where runs of each column plausibly lie; drawn log-uniformly when the low end is positive
RANGES: dict[str, tuple[float, float]] = {
    "n_params": (1e7, 1e11),
    "n_params_non_vocab": (1e7, 1e11),
    "n_params_vocab": (1e6, 1e9),
    "n_tokens": (1e9, 1e13),
    "n_unique_tokens": (1e9, 1e12),
    "flops": (1e17, 1e25),
    "step": (1e2, 1e6),
    "loss": (1.5, 4.0),
    "teacher_loss": (1.7, 3.0),
    "n_samples": (1e1, 1e7),
    "n_experts": (1.0, 256.0),
    "granularity": (1.0, 16.0),
    "sparsity": (0.0, 0.95),
    "bits_weights": (3.0, 16.0),
    "bits_activations": (3.0, 16.0),
    "bits_kv_cache": (3.0, 16.0),
    "bits_post": (2.0, 8.0),
    "lr_sum": (0.5, 20.0),
    "lr_annealed": (0.0, 0.3),
    "n_latents": (1e3, 1e7),
    "n_active_latents": (8.0, 512.0),
    "sqrt_kl": (0.3, 8.0),
    "batch_tokens": (1e4, 1e8),
    "critical_batch_tokens": (1e4, 1e8),
    "corpus_bits": (1e6, 1e12),
    "supervised_loss": (1.7, 3.0),
    "tokens_per_param": (1.0, 1e3),
    "schedule": (0.0, 1.99),
    "source_loss": (1.5, 4.0),
    "n_attempts": (1.0, 1e4),
    "web": (0.0, 0.5),
    "code": (0.0, 0.5),
}

STEPS = np.arange(1_000_001)
# the registered laws, and one of each family whose members are made on demand
EVERY = LAWS | {
    "multi_power": multi_power_law(
        [
            np.select([STEPS < 50, STEPS < 1e3, STEPS < 1e4], [STEPS / 50 * 3e-4, 3e-4, 1e-4], 3e-5),
            np.select([STEPS < 2e2, STEPS < 1e5], [3e-4, 1e-4], 2e-4),
        ]
    ),
    "mixing": mixing_law(["books", "web", "code"]),
    "bnsl2_of_data": broken_power_law(2, x="n_tokens", x_range=(1e9, 1e13), name="bnsl2_of_data"),
}
WITH_LINEAR = [name for name in sorted(EVERY) if EVERY[name].linear]


@pytest.fixture(params=sorted(EVERY))
def law(request):
    return EVERY[request.param]


@pytest.fixture(params=WITH_LINEAR)
def linear_law(request):
    return EVERY[request.param]


def _rng(law):
    return np.random.default_rng(zlib.crc32(law.name.encode()))


def _draw(low, high, rng, size):
    return np.exp(rng.uniform(np.log(low), np.log(high), size)) if low > 0 else rng.uniform(low, high, size)


def inputs(law, rng, shape=(N_RUNS,)):
    """Plausible values of every input column of a law."""
    return {c: _draw(*RANGES[c], rng, shape) for c in law.inputs}


def coefficients(law, rng, shape=()):
    """Coefficients from the middle 80 % of the ranges that the search covers."""
    columns = []
    for c in law.coefs:
        low, high = c.starts
        logs = low > 0
        a, b = (np.log(low), np.log(high)) if logs else (low, high)
        u = rng.uniform(a + 0.1 * (b - a), b - 0.1 * (b - a), shape)
        columns.append(np.exp(u) if logs else u)
    return np.stack(columns, axis=-1)


def test_a_law_says_what_it_is(law):
    for words in (law.title, law.equation, law.latex, law.domain, law.source, law.target):
        assert words.strip()
    assert "=" in law.equation
    assert law.inputs
    assert law.target not in law.inputs
    for c in law.coefs:
        assert c.meaning.strip()
        assert c.lower <= c.starts[0] < c.starts[1] <= c.upper
        assert np.isfinite(c.starts).all()
    assert set(law.linear) <= set(law.coef_names)


def test_the_equation_names_every_coefficient(law):
    """As printed by `scaling laws`: a coefficient in the tables can be found in the formula."""
    words = law.equation
    for c in law.coefs:
        assert c.name in words, f"{c.name} is nowhere in {words}"


def test_predictions_have_the_shape_of_the_runs_and_are_finite(law):
    rng = _rng(law)
    x, theta = inputs(law, rng), coefficients(law, rng)
    value = law.predict(x, theta)
    assert value.shape == (N_RUNS,)
    assert value.dtype == float
    assert np.isfinite(value).all()


def test_the_analytic_derivative_is_the_derivative(law):
    rng = _rng(law)
    assert law.jacobian is not None, "a registered law states its derivative"
    for _ in range(25):  # some draws make a term negligible
        x, theta = inputs(law, rng), coefficients(law, rng)
        value, slope = law.jacobian(x, theta)
        expected_value, expected = complex_step(law.formula, x, theta)
        assert slope.shape == (N_RUNS, len(law.coefs))
        np.testing.assert_allclose(value, expected_value, rtol=1e-12)
        # to rounding of the prediction itself, where the terms of a derivative cancel
        rounding = 1e-11 * np.abs(value)[:, None] / np.maximum(np.abs(theta), 1e-6)
        np.testing.assert_array_less(np.abs(slope - expected), 1e-8 * np.abs(expected) + rounding + 1e-200)


def test_the_complex_step_itself_agrees_with_differences(law):
    """The reference of the test above is no reference where a formula drops imaginary parts (abs, where, real)."""
    rng = _rng(law)
    x, theta = inputs(law, rng), coefficients(law, rng)
    _, slope = complex_step(law.formula, x, theta)
    for p in range(len(law.coefs)):
        h = 1e-5 * max(abs(theta[p]), 1e-3)
        up, down = theta.copy(), theta.copy()
        up[p], down[p] = up[p] + h, down[p] - h
        difference = (law.predict(x, up) - law.predict(x, down)) / (2 * h)
        noise = 1e-14 * np.abs(law.predict(x, theta)) / h
        np.testing.assert_array_less(
            np.abs(difference - slope[:, p]),
            2e-5 * np.abs(slope[:, p]) + 1e2 * noise + 1e-6 * np.abs(slope[:, p]).max(),
        )


def test_a_batch_is_a_loop(law):
    rng = _rng(law)
    x, theta = inputs(law, rng), coefficients(law, rng, (3, 2))
    value, slope = law.value_and_jacobian(x, theta)
    predicted = law.predict(x, theta)
    assert value.shape == predicted.shape == (3, 2, N_RUNS)
    assert slope.shape == (3, 2, N_RUNS, len(law.coefs))
    for i in np.ndindex(3, 2):
        one_value, one_slope = law.value_and_jacobian(x, theta[i])
        np.testing.assert_allclose(predicted[i], law.predict(x, theta[i]), rtol=1e-12)
        np.testing.assert_allclose(value[i], one_value, rtol=1e-12)
        np.testing.assert_allclose(slope[i], one_slope, rtol=1e-9, atol=1e-300)


def test_runs_may_differ_from_row_to_row(law):
    rng = _rng(law)
    x, theta = inputs(law, rng, (3, N_RUNS)), coefficients(law, rng, (3,))
    value = law.predict(x, theta)
    assert value.shape == (3, N_RUNS)
    for i in range(3):
        np.testing.assert_allclose(value[i], law.predict({k: v[i] for k, v in x.items()}, theta[i]), rtol=1e-12)


def test_linear_coefficients_are_linear(linear_law):
    """The global search eliminates them: the prediction is their derivative times them, plus what does not hold any."""
    law, rng = linear_law, _rng(linear_law)
    x, theta = inputs(law, rng), coefficients(law, rng)
    at = [law.coef_names.index(c) for c in law.linear]
    other = theta.copy()
    other[at] *= rng.uniform(0.5, 2.0, len(at))
    value, slope = law.value_and_jacobian(x, theta)
    moved, same_slope = law.value_and_jacobian(x, other)
    np.testing.assert_allclose(slope[:, at], same_slope[:, at], rtol=1e-9)
    np.testing.assert_allclose(
        moved - value, slope[:, at] @ (other - theta)[at], rtol=1e-7, atol=1e-9 * np.abs(value).max()
    )


def test_linear_coefficients_may_be_zero(linear_law):
    """The elimination reads the basis off the derivative at zero."""
    law, rng = linear_law, _rng(linear_law)
    x, theta = inputs(law, rng), coefficients(law, rng)
    at = [law.coef_names.index(c) for c in law.linear]
    theta[at] = 0.0
    with np.errstate(all="ignore"):
        value, slope = law.value_and_jacobian(x, theta)
    assert np.isfinite(value).all()
    assert np.isfinite(slope[:, at]).all()
    # and the bounds of the search's least squares are zero or none
    assert all(law.coefs[i].lower in (0.0, -np.inf) for i in at)


def test_derived_quantities_follow_from_coefficients_of_any_shape(law):
    rng = _rng(law)
    theta = coefficients(law, rng, (3, 2))
    for name, quantity in law.derived.items():
        value = quantity(theta)
        assert value.shape == (3, 2), name
        np.testing.assert_allclose(value[1, 1], quantity(theta[1, 1]), rtol=1e-12)


def test_names_are_unique_and_found():
    assert all(get(name) is law and law.name == name for name, law in LAWS.items())
    assert len({law.title for law in LAWS.values()}) == len(LAWS)


def test_a_misspelt_name_is_answered_with_the_right_one():
    with pytest.raises(LawError, match="chinchilla"):
        get("chinchila")


def test_a_family_is_answered_with_the_function_that_makes_its_members():
    for name, maker in (("multi_power", "multi_power_law"), ("bnsl", "broken_power_law"), ("mixing", "mixing_law")):
        with pytest.raises(LawError, match=maker):
            get(name)


@pytest.mark.parametrize("name", [law.name for law in LAWS.values() if law.second is not None])
def test_stated_second_derivatives_are_differences_of_the_first(name):
    law = LAWS[name]
    rng = np.random.default_rng(5)
    x = inputs(law, rng, (20,))
    theta = coefficients(law, rng, (3,))
    size = np.maximum(np.abs(theta), 1e-2)  # each entry in units of its coefficients
    weights = rng.normal(size=(3, 20))
    stated = law.second(x, theta, weights) * size[:, :, None] * size[:, None]
    for k in range(len(law.coefs)):
        h = 1e-6 * size[:, [k]] * np.eye(len(law.coefs))[k]
        up, down = (law.value_and_jacobian(x, theta + s * h)[1] for s in (1, -1))
        differences = np.einsum("bn,bnp->bp", weights, up - down) / 2e-6 * size
        largest = np.abs(stated).max((1, 2))[:, None]
        np.testing.assert_allclose(stated[:, k] / largest, differences / largest, rtol=1e-6, atol=1e-8)
