"""Bytes on each accelerator follow the published counts; a layout fits, and no smaller number of accelerators does."""

from __future__ import annotations

import json
import math
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.compute import Shape, shapes_for
from scaling.errors import PlanError
from scaling.hardware import accelerator
from scaling.training.memory import HEADROOM, PRECISIONS, layout, memory, serving_memory

GPT3 = Shape(96, 12288, 49152, 96, 50257, gated=False, tied=True, positions=2048, biases=True, layer_norm=True)
MT_NLG = Shape(105, 20480, 81920, 128, 50257, gated=False, tied=True, positions=2048, biases=True, layer_norm=True)
BLOOM = Shape(70, 14336, 57344, 112, 250880, gated=False, tied=True, biases=True, layer_norm=True)
LLAMA_8B = Shape(32, 4096, 14336, 32, 128256, 8)
LLAMA_70B = Shape(80, 8192, 28672, 64, 128256, 8)
LLAMA_405B = Shape(126, 16384, 53248, 128, 128256, 8)
QWEN_235B = Shape(94, 4096, 1536, 64, 151936, 4, 128, n_experts=128, n_active_experts=8, qk_norm=True)


def states(m):
    return m.weights + m.gradients + m.optimiser


# --- bytes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("precision", "bytes_per_param"),
    [("bf16", 16), ("bf16-fp32-gradients", 18), ("fp32", 16), ("adam-8bit", 10), ("muon", 12)],
)
def test_states_take_the_published_bytes_per_parameter(precision, bytes_per_param):
    assert set(PRECISIONS) == {"bf16", "bf16-fp32-gradients", "fp32", "adam-8bit", "muon"}
    assert states(memory(LLAMA_8B, precision=precision)) == pytest.approx(
        bytes_per_param * LLAMA_8B.n_params, rel=1e-12
    )


@pytest.mark.parametrize("ranks", [2, 8, 64])
def test_sharding_shares_out_the_states_as_zero_does(ranks):
    """arXiv:1910.02054, fig. 1: 4 + 12/n, 2 + 14/n, 16/n bytes for each parameter."""
    n = GPT3.n_params
    per_param = [states(memory(GPT3, data=ranks, sharding=stage)) / n for stage in (0, 1, 2, 3)]
    assert per_param == pytest.approx([16, 4 + 12 / ranks, 2 + 14 / ranks, 16 / ranks], rel=1e-12)


@pytest.mark.parametrize("shape", [GPT3, MT_NLG], ids=["GPT-3", "MT-NLG"])
@pytest.mark.parametrize(("tensor", "batch"), [(1, 1), (8, 4)])
def test_activations_are_those_of_korthikanti(shape, tensor, batch):
    """arXiv:2205.05198, eqs. 1 to 6: s b h (34 + 5 a s / h) a layer, 34 without the scores, 2 recomputed; over t."""
    s, d = 2048, shape.d_model
    logits = 6 * batch * s * shape.vocab / tensor
    for recompute, factor in (("none", 34 + 5 * shape.n_heads * s / d), ("selective", 34), ("full", 2)):
        held = memory(shape, tensor=tensor, micro_batch=batch, context=s, recompute=recompute)
        assert held.activations == pytest.approx(shape.n_layers * batch * s * d * factor / tensor + logits, rel=1e-12)
    assert held.working == pytest.approx(batch * s * d * 34 / tensor)  # the one layer that is being recomputed


def test_selective_recomputation_saves_the_printed_share():
    """arXiv:2205.05198, sec. 5: 70 % of the activations of GPT-3 and 65 % of those of MT-NLG."""
    for shape, saved in ((GPT3, 0.70), (MT_NLG, 0.65)):
        logits = 6 * 2048 * shape.vocab
        kept, dropped = (
            memory(shape, recompute=r, micro_batch=1).activations - logits for r in ("selective", "none")
        )  # fmt: skip
        assert 1 - kept / dropped == pytest.approx(saved, abs=0.006)


def test_a_pipeline_s_first_stage_keeps_the_micro_batches_in_flight():
    """One forward, one backward: p micro-batches of L / p layers, so that the stage keeps as much as the whole model."""
    whole = memory(GPT3).activations - 6 * 2048 * GPT3.vocab
    assert memory(GPT3, pipeline=8).activations == pytest.approx(whole, rel=1e-12)
    assert memory(GPT3, pipeline=8, micro_batches=2).activations == pytest.approx(whole / 4, rel=1e-12)
    # arXiv:2205.05198, sec. 4.2.3: interleaving m pieces a stage keeps 1 + (p - 1) / (p m) times as much
    assert memory(GPT3, pipeline=8, interleave=3).activations == pytest.approx(whole * (1 + 7 / 24), rel=1e-12)


@pytest.mark.parametrize(
    ("shape", "split", "chip"),
    [
        # arXiv:2201.11990: tensor 8, pipeline 35, 280 nodes of A100-80GB
        (MT_NLG, {"tensor": 8, "pipeline": 35, "data": 8, "recompute": "full"}, "A100-SXM-80GB"),
        # arXiv:2211.05100, sec. 3.4: tensor 4, pipeline 12, data 8, optimiser states sharded, 384 A100-80GB
        (BLOOM, {"tensor": 4, "pipeline": 12, "data": 8, "sharding": 1, "micro_batch": 2, "recompute": "full"}, "A100-SXM-80GB"),
        # arXiv:2407.21783, table 4: tensor 8, pipeline 16, data 128 at 8192 tokens; and with context 16 at 131072
        (LLAMA_405B, {"tensor": 8, "pipeline": 16, "data": 128, "sharding": 2, "context": 8192}, "H100-SXM"),
        (LLAMA_405B, {"tensor": 8, "pipeline": 16, "data": 8, "context_parallel": 16, "sharding": 2, "context": 131072}, "H100-SXM"),
    ],
    ids=["MT-NLG", "BLOOM", "Llama 405B", "Llama 405B long"],
)  # fmt: skip
def test_layouts_that_ran_are_counted_as_fitting_and_would_not_fit_unsplit(shape, split, chip):
    assert memory(shape, **split).total <= accelerator(chip).memory
    assert memory(shape, **{**split, "pipeline": 1}).total > accelerator(chip).memory


@given(
    st.sampled_from([GPT3, LLAMA_8B, LLAMA_405B, QWEN_235B]), st.sampled_from([1, 2, 4]), st.integers(1, 30),
    st.integers(1, 64), st.integers(0, 3), st.sampled_from(["none", "selective", "full"]),
)  # fmt: skip
def test_splitting_further_never_takes_more(shape, tensor, pipeline, data, sharding, recompute):
    split = {"tensor": tensor, "pipeline": pipeline, "data": data}
    before = memory(shape, **split, sharding=sharding, recompute=recompute)
    assert memory(shape, **{**split, "tensor": 2 * tensor}, sharding=sharding, recompute=recompute).total < before.total
    if data > 1:
        more = memory(shape, **{**split, "data": 2 * data}, sharding=sharding, recompute=recompute).total
        assert more == before.total if sharding == 0 else more < before.total
    assert states(memory(shape, **split, sharding=min(sharding + 1, 3))) <= states(before)
    assert memory(shape, **split, sharding=sharding, recompute=recompute, micro_batch=2).activations == pytest.approx(
        2 * before.activations
    )


def test_experts_are_held_in_all_and_computed_as_active():
    dense = Shape(94, 4096, 1536 * 8, 64, 151936, 4, 128, qk_norm=True)  # as wide as the active experts together
    held = memory(QWEN_235B)
    assert held.weights == pytest.approx(2 * QWEN_235B.n_params)
    more = held.activations - memory(dense).activations
    assert more == pytest.approx(94 * 2048 * 2 * 4096 * 7)  # seven more copies of the input


def test_serving_takes_the_weights_and_the_cache():
    assert serving_memory(LLAMA_8B, context=8192, sequences=4, bits=8) == LLAMA_8B.n_params + 4 * 2**30
    assert serving_memory(LLAMA_8B, sequences=0, bits=4) == LLAMA_8B.n_params / 2
    with pytest.raises(PlanError, match="cannot be negative"):
        serving_memory(LLAMA_8B, sequences=-1)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"tensor": 0}, "tensor must be a whole number from 1 on, not 0"),
        ({"context": 0.5}, "context must be a whole number"),
        ({"pipeline": 33}, "32 layers cannot be split into 33 stages"),
        ({"sharding": 4}, "sharding is 0, 1, 2 or 3"),
        ({"recompute": "some"}, "one of none, selective, full"),
        ({"precision": "fp3"}, "no precision is called 'fp3'; there are: bf16"),
    ],
)
def test_impossible_splits_are_refused(wrong, words):
    with pytest.raises(PlanError, match=words):
        memory(LLAMA_8B, **wrong)


# --- layouts -----------------------------------------------------------------------------------------------------------


def brute_force_least(shape, chip, context, batch=math.inf):
    """The smallest of 1, 2, 4 and whole nodes, over every split whatsoever of up to 8 by tensor."""
    for n in (1, 2, 4, *range(8, 2000, 8)):
        for tensor in (t for t in (1, 2, 4, 8) if n % t == 0):
            for pipeline in (p for p in range(1, shape.n_layers + 1) if (n // tensor) % p == 0):
                data = n // tensor // pipeline
                if math.ceil(shape.n_layers / pipeline) * pipeline > 1.1 * shape.n_layers or data * context > batch:
                    continue
                for sharding, recompute in product((0, 1, 2, 3), ("selective", "full")):
                    held = memory(
                        shape,
                        tensor=tensor,
                        pipeline=pipeline,
                        data=data,
                        sharding=sharding,
                        recompute=recompute,
                        context=context,
                    )
                    if held.total * HEADROOM <= chip.memory:
                        return n
    return None


@pytest.mark.parametrize("chip", ["H100-SXM", "A100-SXM-40GB", "B200-SXM", "V100-SXM2-32GB"])
@pytest.mark.parametrize(
    ("shape", "context"), [(LLAMA_8B, 8192), (LLAMA_70B, 4096), (GPT3, 2048), (QWEN_235B, 4096)],
    ids=["8B", "70B", "GPT-3", "235B-A22B"],
)  # fmt: skip
def test_the_smallest_number_that_fits_is_that_of_brute_force(shape, context, chip):
    found = layout(shape, chip, context=context)
    assert found.count == found.least == brute_force_least(shape, accelerator(chip), context)
    assert found.memory.fits(accelerator(chip))
    # the bound that needs no layout: the states alone
    assert found.count >= 16 * shape.n_params / accelerator(chip).memory
    if found.least > 1:
        with pytest.raises(PlanError, match=rf"the smallest number that fits is {found.least:,}"):
            layout(shape, chip, found.least - 1, context=context)


@settings(max_examples=40)
@given(st.floats(8.5, 11.7), st.sampled_from([8, 24, 64, 100, 1000, 1024]), st.sampled_from([5e5, 4e6, 1.6e7]))
def test_a_layout_keeps_its_promises(log_n, count, batch):
    shape = shapes_for(10**log_n, "llama3", count=1)[0]
    least = layout(shape, "H100", context=4096, batch_tokens=batch).least
    if count < least:
        with pytest.raises(PlanError, match="smallest number that fits"):
            layout(shape, "H100", count, context=4096, batch_tokens=batch)
        return
    found = layout(shape, "H100", count, context=4096, batch_tokens=batch)
    assert found.tensor * found.pipeline * found.data * found.context_parallel == found.count <= count
    assert shape.n_heads % found.tensor == 0
    assert found.batch_tokens <= batch
    again = memory(
        shape, tensor=found.tensor, pipeline=found.pipeline, data=found.data, sharding=found.sharding, context=4096,
        micro_batch=found.micro_batch, micro_batches=found.micro_batches, recompute=found.recompute,
        interleave=found.interleave,
    )  # fmt: skip
    assert again == found.memory
    assert again.fits(accelerator("H100"))
    assert found.slowdown >= 1


def test_small_models_are_not_split_and_large_ones_are():
    small = layout(shapes_for(1e9, "llama3")[0], "H100", 64, context=4096, batch_tokens=4e6)
    assert (small.tensor, small.pipeline, small.data, small.recompute) == (1, 1, 64, "selective")
    large = layout(LLAMA_405B, "H100", 16384, context=8192, batch_tokens=16.8e6)
    assert large.tensor == 8  # as Llama 3 had it (arXiv:2407.21783, table 4), within the node
    assert 8 <= large.pipeline <= 32  # Llama 3: 16
    long = layout(LLAMA_405B, "H100", 16384, context=131072, batch_tokens=16.8e6)
    assert long.context_parallel > 1  # Llama 3: 16


def test_an_awkward_number_leaves_a_few_idle_rather_than_split_badly():
    awkward = layout(GPT3, "H100", 1021, batch_tokens=3.2e6)  # a prime
    even = layout(GPT3, "H100", 1016, batch_tokens=3.2e6)
    assert 0.95 * 1021 <= awkward.count < 1021
    assert awkward.slowdown / awkward.count <= even.slowdown / even.count
    with_nodes = layout(GPT3, "H100", 1024, batch_tokens=3.2e6)
    assert with_nodes.count >= 973


def test_a_layout_is_a_sentence_and_json():
    found = layout(LLAMA_70B, "H100", context=8192)
    text = str(found)
    assert f"{found.count:,} H100-SXM: tensor {found.tensor}" in text
    assert "of 80 GB" in text
    assert json.loads(json.dumps(found.to_dict()))["memory"]["total"] == found.memory.total


def test_no_layout_is_a_sentence_with_the_way_out():
    with pytest.raises(
        PlanError, match=r"no layout on TPU-v5e of 16 GB .*needs \d.* GB on each.*shorter context.*larger batch"
    ):
        layout(LLAMA_405B, "TPU v5e", context=16384, batch_tokens=16384)
    with pytest.raises(PlanError, match="alone fill more than 1,000,000"):
        layout(Shape(1000, 10**6, 4 * 10**6, 8192, 128256), "H100")
    with pytest.raises(PlanError, match="less than one sequence of 8192"):
        layout(LLAMA_8B, "H100", context=8192, batch_tokens=100)
    for count in (0.5, 0, -3, math.nan, math.inf, 10**9):
        with pytest.raises(PlanError, match=r"is not a whole number of accelerators from 1 to 1,000,000"):
            layout(LLAMA_8B, "H100", count)
    with pytest.raises(PlanError, match="a batch of nan tokens"):
        layout(LLAMA_8B, "H100", batch_tokens=math.nan)
    assert layout(LLAMA_8B, "H100", 8, batch_tokens=math.inf) == layout(LLAMA_8B, "H100", 8)
