"""A shadow price is what really happens to the best loss when a limit moves: solved again, a little to either side."""

from __future__ import annotations

import numpy as np
import pytest

import scaling
from scaling.allocation import Constraints, Limit, allocate, shadow_prices
from scaling.compute import DENSE, ActiveExperts, Lifetime, OfFamily

STEP = 1e-4  # relative, of the differences: their error is 1e-8 of the price
LAW = scaling.published("besiroglu2024")
CASES = {
    "the budget alone": ({}, {}, ()),
    "size": ({"max_params": 1e9}, {}, ()),
    "tokens": ({"max_tokens": 1e11}, {}, ()),
    "both, and money left": ({"max_params": 1e9, "max_tokens": 1e11}, {}, ()),
    "a ratio": ({"min_tokens_per_param": 200.0}, {}, ()),
    "a fixed size": ({"n_params": 3e11}, {}, ()),
    "fixed tokens": ({"n_tokens": 3e11}, {}, ()),
    "a fixed ratio and a limit on tokens": ({"tokens_per_param": 100.0, "max_tokens": 1e11}, {}, ()),
    "the least size and the most ratio": ({"min_params": 1e11, "max_tokens_per_param": 1.0}, {}, ()),
    "a limit that is loose": ({"max_params": 1e14}, {}, ()),
    "serving": ({}, {"compute": Lifetime(DENSE, 1e12)}, ()),
    "experts": ({"max_params": 5e9}, {"compute": ActiveExperts(0.1)}, ()),
    "shapes of a family": ({}, {"compute": OfFamily("palm")}, ()),
    "time before money": ({}, {"compute": Lifetime(DENSE, 1e12)}, (Limit("days", 2e22, DENSE),)),
    "time as well as money": ({}, {"compute": Lifetime(DENSE, 3e12)}, (Limit("days", 4.5e22, DENSE),)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_shadow_price_is_the_change_of_the_best_loss(case):
    bounds, options, limits = CASES[case]

    def loss(flops=1e23, limits=limits, served=1.0, **moved):
        more = dict(options)
        if isinstance(more.get("compute"), Lifetime):
            more["compute"] = Lifetime(DENSE, more["compute"].inference_tokens * served)
        return float(allocate(LAW, flops, constraints=Constraints(**bounds | moved), limits=limits, **more).loss[0])

    def slope(at):
        return (at(1 + STEP) - at(1 - STEP)) / (2 * STEP)

    prices = shadow_prices(allocate(LAW, 1e23, constraints=Constraints(**bounds), limits=limits, **options))
    expected = {"flops": slope(lambda k: loss(1e23 * k))}
    expected |= {name: slope(lambda k, n=name: loss(**{n: bounds[n] * k})) for name in bounds}
    expected |= {x.name: slope(lambda k, x=x: loss(limits=(Limit(x.name, x.flops * k, x.compute),))) for x in limits}
    if isinstance(options.get("compute"), Lifetime):
        expected["inference_tokens"] = slope(lambda k: loss(served=k))
    assert set(prices) == set(expected)
    for name, value in expected.items():
        assert prices[name][0] == pytest.approx(value, abs=2e-7), name


def test_more_text_is_worth_what_the_law_of_repeats_says():
    law = scaling.published("muennighoff2023")

    def loss(unique):
        return float(allocate(law, 9.3e21, inputs={"n_unique_tokens": unique}).loss[0])

    price = shadow_prices(allocate(law, 9.3e21, inputs={"n_unique_tokens": 25e9}))["n_unique_tokens"][0]
    assert price == pytest.approx((loss(25e9 * (1 + STEP)) - loss(25e9 * (1 - STEP))) / (2 * STEP), abs=2e-7)
    assert price < 0
    plenty = shadow_prices(allocate(law, 1e20, inputs={"n_unique_tokens": 1e13}))
    assert plenty["n_unique_tokens"][0] == 0


def test_prices_of_draws_have_the_shape_of_the_draws():
    rng = np.random.default_rng(0)
    draws = type("Draws", (), {"law": LAW.law, "theta": LAW.theta * np.exp(rng.normal(0, 0.02, (30, 5))), "of": None})()
    best = allocate(draws, [1e21, 1e23], constraints=Constraints(max_params=1e10))
    prices = shadow_prices(best)
    assert prices["flops"].shape == (30, 2)
    assert (prices["flops"] < 0).all()
    assert (prices["max_params"] <= 0).all()
    assert ((prices["max_params"] < 0) == (best.binding == "max_params")).all()
