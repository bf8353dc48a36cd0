"""Sizes of known models, counted from their shapes."""

from __future__ import annotations

import tomllib

import pytest

from scaling.errors import PlanError
from scaling.laws.published import STATUSES
from scaling.training.known_runs import KNOWN_RUNS
from scaling.training.known_shapes import KNOWN_SHAPES, known_shape


@pytest.mark.parametrize("known", KNOWN_SHAPES.values(), ids=KNOWN_SHAPES)
def test_the_size_follows_from_the_shape(known):
    # BLOOM's checkpoint has one more norm, after the embedding: 1.6e-7 of its size
    assert known.miss == pytest.approx(0, abs=1e-6 if known.source == "released checkpoint" else 0.005)
    if known.n_active is not None:
        assert known.shape.n_active == pytest.approx(known.n_active, rel=0.01)
    assert known.status in STATUSES


def test_most_of_them_are_counted_to_the_last_parameter():
    assert len(KNOWN_SHAPES) >= 30
    assert sum(known.shape.n_params == known.n_params for known in KNOWN_SHAPES.values()) >= 25


def test_shapes_and_sizes_are_the_compiled_facts(science):
    facts = {f["name"]: f for f in tomllib.loads(science("compute.toml").read_text())["shape"]}
    assert set(facts) == set(KNOWN_SHAPES)
    for name, fact in facts.items():
        known = KNOWN_SHAPES[name]
        assert known.n_params == pytest.approx(fact["total"], rel=1e-3)
        for key in ("n_layers", "d_model", "n_heads", "vocab", "gated", "tied"):
            assert getattr(known.shape, key) == fact[key]
        assert (known.shape.n_kv_heads or known.shape.n_heads) == fact["n_kv_heads"]


def test_runs_of_known_shapes_have_their_size():
    both = sorted(set(KNOWN_RUNS) & set(KNOWN_SHAPES))
    assert len(both) >= 10
    for name in both:
        assert KNOWN_RUNS[name].n_params == pytest.approx(KNOWN_SHAPES[name].n_params, rel=0.01)


@pytest.mark.parametrize(
    ("name", "key"), [("llama-3-8b", "Llama 3 8B"), ("GPT3 175B", "GPT-3 175B"), ("qwen2.5 72b", "Qwen2.5 72B")]
)
def test_names_are_forgiven(name, key):
    assert known_shape(name).name == key


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(PlanError, match="did you mean .*Llama 3 8B"):
        known_shape("llama 3 9b")
    with pytest.raises(PlanError, match="there are: GPT-3 175B"):
        known_shape("?")


def test_the_page_of_counts_is_what_its_command_writes_today():
    """The tables in docs/compute.md are made, not typed."""
    import importlib.util
    from pathlib import Path

    docs = Path(__file__).resolve().parents[2] / "docs"
    spec = importlib.util.spec_from_file_location("compute_tables", docs / "compute_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.page() == (docs / "compute.md").read_text(encoding="utf-8")
