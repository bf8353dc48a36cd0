"""Every law of the registry recovers the coefficients that made simulated runs.

Nothing here is written for one law: the design covers the range of each input, and the coefficients are drawn from the
law's own plausible ranges. A new law is tested by being registered; a new input column may need its range in `RANGES`.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import qmc

from scaling.fitting import fit
from scaling.fitting.scale import Coordinates
from scaling.laws import LAWS
from scaling.laws.law import Law
from scaling.simulation import simulate

every_law = pytest.mark.parametrize("name", LAWS)

#: (low, high) of each input in a simulated sweep, evenly covered on a log scale; a low of 0 means evenly as it is
RANGES = {
    "n_params": (1e7, 1e11),
    "n_tokens": (1e8, 1e13),
    "n_samples": (1e2, 1e8),
    "flops": (1e17, 1e24),
    "step": (1e2, 1e6),
    "loss": (1.5, 6.0),
    "n_experts": (1.0, 512.0),
    "granularity": (1.0, 16.0),
    "sparsity": (0.0, 0.97),
    "batch_tokens": (1e4, 1e7),
    "bits_weights": (2.0, 16.0),
    "bits_activations": (2.0, 16.0),
    "bits_kv_cache": (2.0, 16.0),
    "bits_post": (2.0, 16.0),
    "n_params_non_vocab": (1e7, 1e10),
    "n_params_vocab": (1e6, 1e9),
    "teacher_loss": (1.6, 3.5),
    "supervised_loss": (1.8, 4.0),
    "n_latents": (1e3, 1e7),
    "n_active_latents": (8.0, 512.0),
    "lr_sum": (0.3, 300.0),
    "lr_annealed": (1e-3, 0.1),
    "sqrt_kl": (0.3, 12.0),
    "corpus_bits": (1e7, 1e12),
}
OTHER = (1.0, 1e3)  # of a column not named above
DRAWS = 512  # candidate sets of coefficients
DETERMINED = 1e5  # condition number up to which noise-free runs must give back 6 digits

#: from cold, three breaks end in another optimum here: they start from values read off a plot, as their authors do, within
#: a tenth of the truth
ROUGH_START = ("bnsl3",)


def refit(name: str, truth: np.ndarray, runs: pd.DataFrame, **options):
    """Least squares of the log where the target has one, with no help but for the law of three breaks."""
    law = LAWS[name]
    if name in ROUGH_START:
        off = 1 + 0.1 * np.cos(np.arange(len(truth)))
        options["start"] = dict(zip(law.coef_names, (truth * off).tolist(), strict=True))
    return fit(law, runs, objective_for(law, runs), **options)


def objective_for(law: Law, runs: pd.DataFrame) -> str:
    return "squared-log" if (runs[law.target] > 0).all() else "squared"


def design_of(law: Law) -> pd.DataFrame:
    """Runs that cover the range of every input: 240 for one input, 256 in a low-discrepancy set for more."""
    if "n_unique_tokens" in law.inputs:
        # repeats 1 to 64 times of what is unique, so that both tokens and epochs vary
        base = _cover([c for c in law.inputs if c != "n_unique_tokens"] + ["epochs"])
        return base.assign(n_unique_tokens=base["n_tokens"] / base["epochs"])
    return _cover(list(law.inputs))


def _cover(columns: list[str]) -> pd.DataFrame:
    ranges = RANGES | {"epochs": (1.0, 64.0)}
    if len(columns) == 1:
        unit = np.linspace(0, 1, 240)[:, None]
    else:
        unit = qmc.Halton(len(columns), scramble=False).random(257)[1:]  # the first point is a corner
    table = {}
    for c, u in zip(columns, unit.T, strict=True):
        low, high = ranges.get(c, OTHER)
        table[c] = low * (high / low) ** u if low > 0 else high * u
    return pd.DataFrame(table)


@cache
def truth_of(name: str) -> tuple[np.ndarray, float]:
    """Coefficients from the inner part of the law's plausible ranges, and the condition number of fitting them.

    Of all draws the one that the runs determine best, so that a failure to recover it is the fit's and not the data's.
    """
    law = LAWS[name]
    x = columns(law, design_of(law))
    unit = 0.1 + 0.8 * qmc.Sobol(len(law.coefs), seed=1).random(DRAWS)
    theta = np.empty_like(unit)
    for i, c in enumerate(law.coefs):
        low, high = c.starts
        theta[:, i] = low * (high / low) ** unit[:, i] if low > 0 else low + (high - low) * unit[:, i]
    coordinates = Coordinates(law, {})
    found: dict[bool, tuple[float, int]] = {}  # target positive everywhere? -> (condition, draw)
    with np.errstate(all="ignore"):
        for i, t in enumerate(theta):
            value, jac = law.value_and_jacobian(x, t)
            positive = bool((value > 0).all())
            slope = coordinates.to_theta(coordinates.to_working(t[None]))[1][0]
            relative = jac * slope / (value[:, None] if positive else value.std())
            if not np.isfinite(relative).all() or (positive and not value.max() < 1e9 * value.min()):
                continue
            condition = np.linalg.cond(relative / np.maximum(np.linalg.norm(relative, axis=0), 1e-300))
            # also well seen: a coefficient that moves no run by a percent cannot be found under noise
            condition /= min(np.abs(relative).max(0).min(), 1.0)
            found[positive] = min(found.get(positive, (np.inf, -1)), (float(condition), i))
    assert found, f"no draw of {name!r} gives a finite target over the whole design"
    condition, best = found[True] if True in found else found[False]
    return theta[best], condition


def equivalents(law: Law, theta: np.ndarray, x: dict[str, np.ndarray]) -> list[np.ndarray]:
    """theta, and every renumbering of its numbered terms (c1, d1, f1 <-> c2, d2, f2) that leaves the law the same."""
    numbers = sorted({m.group(1) for c in law.coef_names if (m := re.fullmatch(r"[a-z]+([1-9])", c))})
    out = []
    for order in permutations(numbers):
        renamed = dict(zip(numbers, order, strict=True))
        index = [
            law.coef_names.index(c[:-1] + renamed[c[-1]]) if re.fullmatch(r"[a-z]+[1-9]", c) else i
            for i, c in enumerate(law.coef_names)
        ]
        with np.errstate(all="ignore"):  # a renumbering that is another law may be anything
            same = np.allclose(law.predict(x, theta[index]), law.predict(x, theta), rtol=1e-10)
        if same:
            out.append(theta[index])
    return out


def nearest(law: Law, found: np.ndarray, truth: np.ndarray, x: dict[str, np.ndarray]) -> np.ndarray:
    return min(equivalents(law, truth, x), key=lambda t: float(np.abs(found / t - 1).max()))


def columns(law: Law, runs: pd.DataFrame) -> dict[str, np.ndarray]:
    return {c: runs[c].to_numpy() for c in law.inputs}


@every_law
def test_noise_free_runs_give_back_the_coefficients_that_made_them(name):
    law = LAWS[name]
    truth, condition = truth_of(name)
    runs = simulate(law, design_of(law), theta=truth, noise=0)
    result = refit(name, truth, runs)
    expected = nearest(law, result.theta, truth, columns(law, runs))
    # rounding of the runs, 1e-16, is amplified by the condition number and no more
    assert condition < DETERMINED, "the simulated design does not determine this law: widen RANGES"
    np.testing.assert_allclose(result.theta, expected, rtol=1e-6)
    np.testing.assert_allclose(result.predict(runs), runs[law.target], rtol=1e-9)


@every_law
def test_noisy_runs_have_the_truth_inside_a_wide_interval(name):
    law = LAWS[name]
    truth, condition = truth_of(name)
    noise = min(1e-3, 3 / condition)  # small enough for the law to be straight across it, as the intervals assume
    runs = simulate(law, design_of(law), theta=truth, noise=noise, rng=11)
    result = refit(name, truth, runs)
    assert result.converged
    expected = nearest(law, result.theta, truth, columns(law, runs))
    low, high = result.interval(0.9999)
    outside = {c: (lo, t, hi) for c, lo, t, hi in zip(law.coef_names, low, expected, high, strict=True) if not lo <= t <= hi}  # fmt: skip
    assert not outside
    # the fit is no worse than the law that made the runs, and its values lie closer to that law than any one run does
    exact = law.predict(columns(law, runs), truth)
    errors, _ = result.objective.residuals(exact, runs[law.target].to_numpy())
    assert result.objective_value <= 0.5 * float((errors**2).sum()) * (1 + 1e-9)
    assert result.noise == pytest.approx(errors.std(), rel=0.1)
    missed, _ = result.objective.residuals(result.predict(runs), exact)
    assert np.sqrt(np.mean(missed**2)) < 2 * errors.std() * np.sqrt(len(law.coefs) / len(runs))


@every_law
def test_groups_fitted_together_equal_groups_fitted_alone(name):
    law = LAWS[name]
    truth, condition = truth_of(name)
    noise, design = min(3e-3, 3 / condition), design_of(law)
    one = simulate(law, design, theta=truth, noise=noise, rng=1).assign(corpus="one")
    two = simulate(law, design.iloc[::2], theta=truth, noise=noise, rng=2).assign(corpus="two")  # ragged on purpose
    mixed = pd.concat([one, two], ignore_index=True).sample(frac=1, random_state=3)
    together = refit(name, truth, mixed, by="corpus")
    for i, part in enumerate((one, two)):
        alone = refit(name, truth, mixed[mixed["corpus"] == part["corpus"].iloc[0]])
        assert together.status[i] == alone.status
        np.testing.assert_allclose(
            together.objective_value[i], alone.objective_value, rtol=1e-10
        )  # sums in another order
        np.testing.assert_allclose(together.theta[i], alone.theta, rtol=1e-6)
        np.testing.assert_allclose(together[i].predict(part), alone.predict(part), rtol=1e-9)
