"""Compute accounting and its inverses; parameters and FLOPs of published models; shapes for a size."""

from __future__ import annotations

import tomllib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.compute import (
    ACCOUNTINGS,
    DENSE,
    FAMILIES,
    FROZEN,
    METHODS,
    ActiveExperts,
    Lifetime,
    Logged,
    OfFamily,
    PerParameter,
    Recomputed,
    Shape,
    logged,
    mfu,
    shapes_for,
)
from scaling.errors import PlanError

OF_FAMILIES = {
    f"{method}-{family}-{counts}": OfFamily(method, family, 4096, counts)
    for method, family, counts in (
        *((method, "modern", "total") for method in METHODS),
        *(("palm", family, "non-embedding") for family in FAMILIES),
        *(("hoffmann", family, "total") for family in FAMILIES),
    )
}
ALL = {
    **ACCOUNTINGS, **OF_FAMILIES, "experts": ActiveExperts(37 / 671), "logged": Logged(8.0, 0.97), "8ND": PerParameter(8.0),
    "recomputed-palm": Recomputed(OfFamily()), "serving": Lifetime(DENSE, 1e9),
}  # fmt: skip
every_accounting = pytest.mark.parametrize("accounting", ALL.values(), ids=ALL)


# --- accountings -------------------------------------------------------------------------------------------------------


@every_accounting
def test_each_inverse_undoes_the_compute(accounting):
    n, d = np.geomspace(1e6, 1e13, 29)[:, None], np.geomspace(1e9, 1e14, 7)
    c = accounting.flops(n, d)
    assert c.shape == (29, 7)
    np.testing.assert_allclose(accounting.n_tokens(n, c), np.broadcast_to(d, c.shape), rtol=1e-9)
    np.testing.assert_allclose(accounting.n_params(d, c), np.broadcast_to(n, c.shape), rtol=1e-9)


@every_accounting
def test_more_parameters_and_more_tokens_cost_more(accounting):
    n, d = np.geomspace(1e5, 1e13, 200), 1e11
    assert (np.diff(accounting.flops(n, d)) > 0).all()
    assert accounting.flops(1e9, 2e11) > accounting.flops(1e9, 1e11)
    assert accounting.name
    assert accounting.equation.startswith("C = ")


@every_accounting
def test_the_complex_step_differentiates_the_tokens(accounting):
    """Allocation follows a budget with it."""
    log_n, c, h = np.log(np.geomspace(3e6, 7e12, 41)), 1e30, 1e-5
    exact = np.imag(np.log(accounting.n_tokens(np.exp(log_n + 1e-100j), c))) / 1e-100
    ends = [np.log(accounting.n_tokens(np.exp(log_n + s * h), c)) for s in (1, -1)]
    np.testing.assert_allclose(
        exact, (ends[0] - ends[1]) / (2 * h), rtol=1e-6, atol=1e-8
    )  # truncation and rounding of h


@pytest.mark.parametrize(
    ("accounting", "k"), [(DENSE, 6), (FROZEN, 4), (Recomputed(DENSE), 8), (ActiveExperts(0.25), 1.5)]
)
def test_flops_per_parameter_and_token(accounting, k):
    assert accounting.flops(7e9, 2e12) == pytest.approx(k * 7e9 * 2e12)


@given(
    st.floats(1e-3, 1e3), st.floats(0.5, 1.5), st.lists(st.floats(6, 12), min_size=2, max_size=20, unique=True), st.floats(8, 13)
)  # fmt: skip
def test_logged_flops_give_back_the_accounting_that_made_them(k, power, log_sizes, log_tokens):
    n, d = 10 ** np.array(log_sizes), 10**log_tokens
    c = k * n**power * d
    found = logged(n, np.full(n.size, d), c)
    np.testing.assert_allclose(found.flops(n, d), c, rtol=1e-6)
    if np.ptp(np.log(n)) > 0.1:
        assert found.power == pytest.approx(power, rel=1e-6)
    assert found.scatter < 1e-2


def test_logged_flops_of_one_size_are_proportional_to_it():
    found = logged([1e9, 1e9], [1e10, 2e10], [7e19, 1.4e20])
    assert (found.k, found.power, found.scatter) == (pytest.approx(7), 1, pytest.approx(0, abs=1e-12))


def test_logged_flops_that_make_no_sense_are_refused():
    with pytest.raises(PlanError, match="of the same runs, not 0, 0 and 0"):
        logged([], [], [])
    with pytest.raises(PlanError, match="positive and finite"):
        logged([1e9, 2e9], [1e10, 1e10], [6e19, np.nan])
    with pytest.raises(PlanError, match="fall as models grow"):
        logged([1e8, 1e9], [1e10, 1e10], [6e19, 6e18])


def test_the_attention_term_of_kaplan_is_context_over_12_d():
    """Kaplan et al. sec. 2.1, relative to 2 N: s / (12 d) when d_ff = 4 d; PaLM's is twice that."""
    shape = Shape(24, 2048, 8192, 16, 50257, gated=False, norms_per_layer=0)
    core = 6 * 12 * 24 * 2048**2
    assert shape.flops_per_token(1024, "kaplan") / core - 1 == pytest.approx(1024 / (12 * 2048), rel=1e-4)
    attention = shape.flops_per_token(1024, "palm") - shape.flops_per_token(1024, "dense")
    assert attention / core == pytest.approx(1024 / (6 * 2048), rel=1e-4)
    assert shape.flops_per_token(1024, "palm-causal") - 6 * shape.n_params == pytest.approx(attention / 2)


def test_deepseek_counts_between_the_kaplan_extremes():
    """arXiv:2401.02954, table 3: 6 N without embeddings is 0.43 to 0.92 of M over their shapes, at a context of 4096."""
    small = Shape(8, 512, 1365, 8, 102400)  # gated at 8/3 d: 12 n_layers d^2 as in a plain one of 4 d
    large = Shape(60, 4096, 10923, 32, 102400)
    ratios = [s.flops_per_token(4096, "non-embedding") / s.flops_per_token(4096, "deepseek") for s in (small, large)]
    assert ratios == pytest.approx([0.43, 0.857], abs=0.01)


def test_unknown_methods_and_families_are_refused_with_the_nearest():
    shape = Shape(2, 64, 256, 2, 1000)
    with pytest.raises(PlanError, match="not counted by 'hofman'; did you mean hoffmann"):
        shape.flops_per_token(2048, "hofman")
    with pytest.raises(PlanError, match=r"did you mean llama3"):
        shapes_for(1e9, "lama3")
    with pytest.raises(PlanError, match="'total' or 'non-embedding'"):
        OfFamily(counts="all")
    with pytest.raises(PlanError, match=r"active_share 1\.5"):
        ActiveExperts(1.5)
    with pytest.raises(PlanError, match="context -1"):
        OfFamily(context=-1)


# --- published models --------------------------------------------------------------------------------------------------

# Parameters to the last one, as the released checkpoints hold them (model cards and safetensors indices on the hub).
EXACT = {
    "GPT-2": (Shape(12, 768, 3072, 12, 50257, gated=False, tied=True, positions=1024, biases=True, layer_norm=True), 124_439_808),
    "Pythia 6.9B": (Shape(32, 4096, 16384, 32, 50432, gated=False, biases=True, layer_norm=True), 6_857_302_016),
    "Pythia 12B": (Shape(36, 5120, 20480, 40, 50688, gated=False, biases=True, layer_norm=True), 11_846_072_320),
    "LLaMA 7B": (Shape(32, 4096, 11008, 32, 32000), 6_738_415_616),
    "Mistral 7B": (Shape(32, 4096, 14336, 32, 32000, 8), 7_241_732_096),
    "Llama 3.2 1B": (Shape(16, 2048, 8192, 32, 128256, 8, tied=True), 1_235_814_400),
    "Llama 3 8B": (Shape(32, 4096, 14336, 32, 128256, 8), 8_030_261_248),
    "Llama 3 70B": (Shape(80, 8192, 28672, 64, 128256, 8), 70_553_706_496),
    "Llama 3.1 405B": (Shape(126, 16384, 53248, 128, 128256, 8), 405_853_388_800),
    "Qwen2.5 0.5B": (Shape(24, 896, 4864, 14, 151936, 2, tied=True, qkv_bias=True), 494_032_768),
    "Qwen2.5 7B": (Shape(28, 3584, 18944, 28, 152064, 4, qkv_bias=True), 7_615_616_512),
    "Qwen3 0.6B": (Shape(28, 1024, 3072, 16, 151936, 8, 128, tied=True, qk_norm=True), 596_049_920),
    "Qwen3 8B": (Shape(36, 4096, 12288, 32, 151936, 8, 128, qk_norm=True), 8_190_735_360),
    "Mixtral 8x7B": (Shape(32, 4096, 14336, 32, 32000, 8, n_experts=8, n_active_experts=2), 46_702_792_704),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_a_released_model_is_counted_to_the_last_parameter(name):
    shape, printed = EXACT[name]
    assert shape.n_params == printed
    assert shape.n_params == shape.n_non_embedding + shape.n_embedding


def shape_of(fact: dict) -> Shape:
    names = {
        "n_active_experts",
        "n_experts",
        "positions",
        "relative_positions",
        "head_dim",
        "n_kv_heads",
        "tied",
        "gated",
    }
    return Shape(
        fact["n_layers"], fact["d_model"], fact.get("d_ff", fact.get("d_ff_expert")), fact["n_heads"], fact["vocab"],
        **{k: v for k, v in fact.items() if k in names},
    )  # fmt: skip


def test_every_published_model_is_counted_within_1_percent(science):
    facts = tomllib.loads(science("compute.toml").read_text())["shape"]
    assert len(facts) >= 30
    off = {f["name"]: shape_of(f).n_params / f["total"] - 1 for f in facts}
    assert {k: v for k, v in off.items() if abs(v) > 0.01} == {}
    active = {f["name"]: shape_of(f).n_active / f["active"] - 1 for f in facts if "active" in f}
    assert len(active) == 3
    assert max(map(abs, active.values())) < 0.01


# name: parameters (active), tokens, FLOPs as the authors print them, accounting; sources in the trailing comments
TRAINED = {
    "GPT-3 175B": (174.6e9, 300e9, 3.14e23, DENSE),  # arXiv:2005.14165, App. D
    "Chinchilla 70B": (70e9, 1.4e12, 5.76e23, DENSE),  # arXiv:2203.15556, table 4: "the same budget as Gopher"
    "PaLM 540B": (540.35e9, 780e9, 2.527e24, DENSE),  # arXiv:2204.02311, App. B
    "BloombergGPT 50B": (50.6e9, 569e9, 2.36e23, Recomputed(DENSE)),  # arXiv:2303.17564, table 4, counts recomputation
    "Llama 3.1 405B": (405.85e9, 15.6e12, 3.8e25, DENSE),  # arXiv:2407.21783
    "Nemotron-4 340B": (341e9, 9e12, 1.8e25, DENSE),  # arXiv:2406.11704, as read by Epoch
    "Qwen2.5 72B": (72.7e9, 18e12, 7.8e24, DENSE),  # Epoch
}


@pytest.mark.parametrize("name", TRAINED)
def test_reported_compute_follows_within_5_percent(name):
    n, d, reported, accounting = TRAINED[name]
    assert accounting.flops(n, d) == pytest.approx(reported, rel=0.05)


def test_gopher_s_own_figure_is_of_no_accounting_here():
    """arXiv:2112.11446 prints 6.31e23 for 300e9 tokens, Chinchilla's paper 5.76e23 for the same run; 6 N D is 5.04e23."""
    gopher = Shape(80, 16384, 65536, 128, 32000, gated=False, tied=True, relative_positions=True)
    assert 6 * gopher.n_params * 300e9 == pytest.approx(5.04e23, rel=0.01)
    counted = [gopher.flops_per_token(2048, method) * 300e9 for method in METHODS]
    assert max(counted) < 5.2e23
    # with recomputation, which Gopher used, the hardware executed about what the paper prints
    assert max(counted) * 4 / 3 > 6.31e23


# Hoffmann et al. 2022, table A4: layers, d_model, d_ff, heads, head size; ratio to 6 N D at 2048 tokens
TABLE_A4 = (
    (10, 640, 2560, 10, 64, 1.03), (20, 1024, 4096, 16, 64, 1.10), (24, 1280, 5120, 10, 128, 1.08),
    (26, 1792, 7168, 14, 128, 1.04), (28, 2048, 8192, 16, 128, 1.03), (40, 3584, 14336, 28, 128, 0.99),
)  # fmt: skip


@pytest.mark.parametrize("row", TABLE_A4)
def test_hoffmann_s_table_of_ratios_is_reproduced_to_its_digits(row):
    *dims, heads, head, printed = row
    shape = Shape(*dims, heads, 32000, head_dim=head, gated=False, tied=True, relative_positions=True)
    ratio = shape.flops_per_token(2048, "hoffmann-table") / (6 * shape.n_params)
    assert ratio == pytest.approx(printed, abs=0.0051)  # half a unit of the last digit
    # the appendix's text also counts embedding and head, which the table leaves out
    assert shape.flops_per_token(2048, "hoffmann") > 1.03 * shape.flops_per_token(2048, "hoffmann-table")


def test_the_fifty_chinchilla_shapes_have_the_printed_sizes(reference):
    """Table A9; a few sizes there are rounded to two digits, hence the width of the tail."""
    table = pd.read_csv(reference("chinchilla-tables") / "architectures.csv")
    assert len(table) == 50
    off = []
    for row in table.itertuples():
        shape = Shape(
            row.n_layers, row.d_model, row.ffw_size, row.n_heads, 32000, head_dim=row.kv_size, gated=False, tied=True,
            relative_positions=True,
        )  # fmt: skip
        off.append(shape.n_params / row.params - 1)
    assert np.median(np.abs(off)) < 0.005
    assert np.quantile(np.abs(off), 0.9) < 0.01


def test_palm_s_utilisation_is_the_printed_one():
    """arXiv:2204.02311, sec. 4.1: 45.7 % without attention and 46.2 % with, at 238.3k tokens/s on 6144 chips of 275 TFLOP/s."""
    palm = Shape(118, 18432, 73728, 48, 256000, 1, 256, tied=True)
    n = 540.35e9
    attention = palm.flops_per_token(2048, "palm") - palm.flops_per_token(2048, "dense")
    assert mfu(238.3e3, 6 * n, 6144, 275e12) == pytest.approx(0.457, abs=5e-4)
    assert mfu(238.3e3, 6 * n + attention, 6144, 275e12) == pytest.approx(0.462, abs=5e-4)


def test_serving_a_token_costs_the_forward_pass_and_its_attention():
    shape = EXACT["Llama 3 8B"][0]
    assert shape.inference_flops_per_token() == 2 * 8_030_261_248
    assert shape.inference_flops_per_token(8192) == 2 * 8_030_261_248 + 4 * 32 * 4096 * 8192
    assert shape.kv_cache_bytes(8192) == 2**30  # 2 x 32 layers x 1024 wide x 8192 tokens x 2 bytes: 1 GiB


def test_experts_are_counted_in_all_or_as_active():
    mixtral, _ = EXACT["Mixtral 8x7B"]
    assert mixtral.n_active == pytest.approx(12.88e9, rel=1e-3)  # arXiv:2401.04088: "13B active"
    assert mixtral.flops_per_token(2048, "dense") == 6 * mixtral.n_active
    share = ActiveExperts(mixtral.n_active / mixtral.n_params)
    assert share.flops(mixtral.n_params, 1e12) == pytest.approx(6 * mixtral.n_active * 1e12)
    one_shared = Shape(32, 4096, 14336, 32, 32000, 8, n_experts=8, n_active_experts=2, n_shared_experts=1)
    assert one_shared.n_active - mixtral.n_active == one_shared.n_params - mixtral.n_params == 32 * 3 * 4096 * 14336


def test_shapes_that_cannot_be_are_refused():
    with pytest.raises(PlanError, match="n_layers above zero"):
        Shape(0, 64, 256, 1, 100)
    with pytest.raises(PlanError, match="9 active of 8 experts"):
        Shape(2, 64, 256, 1, 100, n_experts=8, n_active_experts=9)


# --- shapes for a size -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=30)  # each of 7 families; a proposal takes tens of milliseconds
@given(log_n=st.floats(8.5, 12))
def test_a_proposed_shape_has_the_size_and_the_proportions_asked_for(name, log_n):
    n = 10**log_n
    family = FAMILIES[name]
    shapes = shapes_for(n, name)
    assert len(shapes) == 3
    assert len(set(shapes)) == 3
    for shape in shapes:
        assert shape.n_params == pytest.approx(n, rel=0.05)
        assert shape.d_model % (128 if shape.d_model >= 2048 else 64) == 0
        assert shape.n_heads * shape.head_dim == shape.d_model
        assert shape.n_heads % shape.n_kv_heads == 0
        assert shape.d_ff % (family.ff_step if shape.d_model >= 2048 else 64) == 0
        assert shape.d_ff / shape.d_model == pytest.approx(family.ff_ratio, rel=0.25)
        assert abs(np.log(shape.aspect / family.aspect_at(shape.n_non_embedding))) < np.log(1.6) + 2 / shape.n_layers
    assert shapes[0].n_params == pytest.approx(n, rel=0.02)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_second_best_splits_evenly_where_the_best_does_not(name):
    for n in (3e9, 7e9, 30e9, 70e9, 200e9):
        shapes = shapes_for(n, name)
        assert any(s.d_model % 256 == 0 and s.n_heads % 8 == 0 and s.n_layers % 4 == 0 for s in shapes[:2]), n


def test_the_llama_3_family_gives_about_its_own_members():
    for n, layers, width in ((8.03e9, 32, 4096), (70.55e9, 80, 8192), (405.9e9, 126, 16384)):
        best = shapes_for(n, "llama3")[0]
        assert best.n_layers == pytest.approx(layers, rel=0.15)
        assert best.d_model == pytest.approx(width, rel=0.08)


def test_a_size_below_the_vocabulary_is_refused_with_the_way_out():
    with pytest.raises(PlanError, match=r"vocabulary of 128256 alone .* smaller vocabulary"):
        shapes_for(2e7, "llama3")
    assert shapes_for(2e7, "llama3", vocab=8192)[0].n_params == pytest.approx(2e7, rel=0.1)
    for bad in (0, -1e9, np.nan, np.inf):
        with pytest.raises(PlanError, match="above zero"):
            shapes_for(bad)


def test_the_smooth_shape_of_a_family_has_the_size_it_was_made_for():
    n = np.geomspace(1e7, 1e13, 31)
    for family in FAMILIES.values():
        np.testing.assert_allclose(
            family.continuous(n).n_params, n, rtol=2e-4
        )  # the final norm is left out of the size
        np.testing.assert_allclose(family.continuous(n, "non-embedding").n_non_embedding, n, rtol=2e-4)
