"""What must not matter does not: the order of the rows, the units of sizes, tokens and loss."""

import numpy as np
import pandas as pd
import pytest

from scaling.fitting import fit
from scaling.laws import get
from scaling.uncertainty import interval

MOVES = 1e-9
OBJECTIVES = ("robust", "hoffmann", "huber", "squared-log")
#: law -> coefficients, column that each coefficient multiplies with the exponent it goes with, and those in units of loss
LAWS = {
    "chinchilla": ([1.7, 400.0, 900.0, 0.34, 0.31], {"A": ("n_params", "alpha"), "B": ("n_tokens", "beta")}, {"E", "A", "B"}),
    "power_n": ([400.0, 0.34], {"A": ("n_params", "alpha")}, {"A"}),
    "power_n_floor": ([1.7, 400.0, 0.34], {"A": ("n_params", "alpha")}, {"E", "A"}),
    "power_d": ([900.0, 0.31], {"A": ("n_tokens", "alpha")}, {"A"}),
    "power_d_floor": ([1.7, 900.0, 0.31], {"A": ("n_tokens", "alpha")}, {"E", "A"}),
}  # fmt: skip
FACTORS = {"n_params": 1e6, "n_tokens": 1e9}


def runs_of(law, theta, seed=0, noise=0.004):
    rng = np.random.default_rng(seed)
    n, c = np.meshgrid(np.linspace(-2, 2, 9), np.geomspace(1e18, 1e21, 6))
    n = 0.3 * np.sqrt(c / 6) * np.exp(n)
    runs = pd.DataFrame({"n_params": n.ravel(), "n_tokens": (c / 6 / n).ravel()})
    x = {k: runs[k].to_numpy() for k in law.inputs}
    runs["loss"] = law.predict(x, np.array(theta)) * np.exp(noise * rng.standard_normal(len(runs)))
    runs.loc[7, "loss"] *= 1.05  # one run far off, so that robust weights matter
    return runs


def same(first, second):
    np.testing.assert_allclose(first, second, rtol=MOVES)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", LAWS)
def test_row_order_moves_nothing(name, objective):
    law = get(name)
    runs = runs_of(law, LAWS[name][0])
    first, second = (fit(law, r, objective) for r in (runs, runs.sample(frac=1, random_state=1)))
    same(first.theta, second.theta)
    x = {k: np.geomspace(1e8, 1e12, 5) for k in law.inputs}
    same(first.predict(x, level=0.95).to_numpy(), second.predict(x, level=0.95).to_numpy())


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", LAWS)
def test_units_of_sizes_and_tokens_only_rescale_the_amplitudes(name, objective):
    law = get(name)
    theta, terms, _ = LAWS[name]
    runs = runs_of(law, theta)
    scaled = runs.assign(**{k: runs[k] / f for k, f in FACTORS.items()})
    plain, other = fit(law, runs, objective), fit(law, scaled, objective)
    at = dict(zip(law.coef_names, plain.theta, strict=True))
    expected = [at[c] * FACTORS[terms[c][0]] ** -at[terms[c][1]] if c in terms else at[c] for c in law.coef_names]
    same(other.theta, expected)
    x = {k: np.geomspace(1e8, 1e12, 5) for k in law.inputs}
    there = {k: v / FACTORS[k] for k, v in x.items()}
    same(other.predict(there), plain.predict(x))


@pytest.mark.parametrize("objective", ["robust", "hoffmann"])
@pytest.mark.parametrize("name", LAWS)
def test_bits_or_nats_only_rescale_the_loss(name, objective):
    law = get(name)
    theta, _, in_loss = LAWS[name]
    runs = runs_of(law, theta)
    plain, bits = fit(law, runs, objective), fit(law, runs.assign(loss=runs.loss / np.log(2)), objective)
    expected = [t / np.log(2) if c in in_loss else t for c, t in zip(law.coef_names, plain.theta, strict=True)]
    same(bits.theta, expected)


@pytest.mark.parametrize("objective", ["robust", "hoffmann"])
def test_intervals_do_not_depend_on_order_or_units(objective):
    law = get("chinchilla")
    runs = runs_of(law, LAWS["chinchilla"][0])
    plain = interval(fit(law, runs, objective), "a")
    moved = runs.assign(**{k: runs[k] / f for k, f in FACTORS.items()}).sample(frac=1, random_state=3)
    other = interval(fit(law, moved, objective), "a")
    # the sandwich is a product of ill-conditioned inverses, and loses digits that the coefficients keep
    np.testing.assert_allclose([other.low, other.high], [plain.low, plain.high], rtol=1e-6)
