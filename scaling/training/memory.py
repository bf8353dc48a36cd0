"""What a training run keeps on each accelerator, and a layout of tensor, pipeline and data parallelism in which it fits.

Per-parameter bytes after Rajbhandari et al. 2020 (ZeRO, arXiv:1910.02054), activations after Korthikanti et al. 2022
(arXiv:2205.05198), generalised to gated layers, grouped heads and experts. Estimates to plan with: allocators fragment,
kernels need workspace, and implementations differ by some 10 %, which HEADROOM covers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import product
from types import MappingProxyType
from typing import Any

from scaling.compute import Shape
from scaling.errors import PlanError
from scaling.hardware import Accelerator
from scaling.hardware import accelerator as find_accelerator

HEADROOM = 1.1  # memory wanted over memory counted: fragments, workspace, communication buffers
NODE = 8  # accelerators on one fast network: tensor parallelism stays inside it
NETWORK = 50e9  # bytes/s of an accelerator to other nodes: 400 Gbit/s, an assumption that only orders layouts
INSIDE = 400e9  # bytes/s within a node
LONG = 32_768  # tokens of context from which context parallelism is tried
MOST = 1_000_000  # accelerators searched
RECOMPUTE = ("none", "selective", "full")


@dataclass(frozen=True)
class Precision:
    """Bytes per parameter of weights, gradients and optimiser states (master weights among them)."""

    weights: float
    gradients: float
    optimiser: float
    title: str

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimiser


PRECISIONS: Mapping[str, Precision] = MappingProxyType(
    {
        "bf16": Precision(2, 2, 12, "bf16 weights and gradients; Adam with float32 master weights and moments"),
        "bf16-fp32-gradients": Precision(2, 4, 12, "as bf16, gradients summed in float32"),
        "fp32": Precision(4, 4, 8, "float32 throughout, Adam"),
        "adam-8bit": Precision(2, 2, 6, "bf16 weights and gradients; float32 master weights, 8-bit moments"),
        "muon": Precision(2, 2, 8, "bf16 weights and gradients; float32 master weights and one moment"),
    }
)


@dataclass(frozen=True)
class Memory:
    """Bytes on the fullest accelerator. working : what is there for a moment only: gathered weights, a layer recomputed."""

    weights: float
    gradients: float
    optimiser: float
    activations: float
    working: float = 0.0

    @property
    def total(self) -> float:
        """Bytes in all, without headroom."""
        return self.weights + self.gradients + self.optimiser + self.activations + self.working

    def fits(self, accelerator: Accelerator) -> bool:
        """Whether the accelerator holds it with HEADROOM to spare."""
        return self.total * HEADROOM <= accelerator.memory

    def to_dict(self) -> dict[str, float]:
        """Bytes by item, and `total`."""
        return {**asdict(self), "total": self.total}

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {value / 1e9:.3g}" for name, value in asdict(self).items() if value)
        return f"{self.total / 1e9:.3g} GB an accelerator ({parts})"


def memory(
    shape: Shape,
    *,
    tensor: int = 1,
    pipeline: int = 1,
    data: int = 1,
    context_parallel: int = 1,
    sharding: int = 0,
    micro_batch: int = 1,
    context: int = 2048,
    recompute: str = "selective",
    precision: str | Precision = "bf16",
    micro_batches: int | None = None,
    interleave: int = 1,
) -> Memory:
    """Bytes on the fullest of tensor x pipeline x data x context_parallel accelerators.

    Parameters
    ----------
    tensor, pipeline, data : ways that a layer's matrices, the layers, and the batch are split. Tensor parallelism is taken
        with sequence parallelism, so that it splits every activation; the experts of a layer are split like its matrices.
    context_parallel : ways that each sequence is split, beside all of these; the states are sharded over these ranks too.
    sharding : what the data-parallel ranks share out: 0 nothing, 1 optimiser states, 2 gradients too, 3 weights too
        (ZeRO stages, arXiv:1910.02054).
    micro_batch : sequences of `context` tokens in one forward pass of one rank.
    recompute : 'none' keeps all activations, 'selective' drops the attention scores (what fused attention does), 'full'
        keeps a layer's input alone and runs the layer forward again.
    precision : a key of PRECISIONS, or a Precision. Activations are bf16 in each (float32 under 'fp32').
    micro_batches : in one step of one rank; with fewer than pipeline stages, fewer are in flight. None: enough to fill it.
    interleave : pieces of the model that each stage holds (the interleaved schedule); more keeps more activations.

    Raises PlanError for counts below one, more stages than layers, or an unknown word.
    Source: Korthikanti et al. 2022, arXiv:2205.05198, eqs. 1 to 4: s b d (34 + 5 h s / d) bytes a layer for d_ff = 4 d.
    """
    for name, value in (
        ("tensor", tensor), ("pipeline", pipeline), ("data", data), ("micro_batch", micro_batch), ("context", context),
        ("context_parallel", context_parallel), ("interleave", interleave),
    ):  # fmt: skip
        if not (1 <= value < math.inf and value == int(value)):
            raise PlanError(f"{name} must be a whole number from 1 on, not {value}.")
    if pipeline > shape.n_layers:
        raise PlanError(
            f"pipeline: {shape.n_layers} layers cannot be split into {pipeline} stages; take at most as many."
        )
    if sharding not in (0, 1, 2, 3):
        raise PlanError(f"sharding is 0, 1, 2 or 3 (what the data-parallel ranks share out), not {sharding!r}.")
    if recompute not in RECOMPUTE:
        raise PlanError(f"recompute is one of {', '.join(RECOMPUTE)}, not {recompute!r}.")
    held = precision_of(precision)

    layers = math.ceil(shape.n_layers / pipeline)
    ends = shape.n_embedding if pipeline == 1 else (shape.vocab + shape.positions) * shape.d_model
    last = shape.d_model * (2 if shape.layer_norm else 1)
    params = (layers * shape.n_per_layer + ends + last) / tensor
    wide = 2.0 if held.weights >= 4 else 1.0  # float32 activations take twice the bytes
    tokens = micro_batch * context / context_parallel
    layer = wide * tokens * _layer_bytes(shape, context, recompute) / tensor
    in_flight = pipeline if interleave == 1 else pipeline + (pipeline - 1) / interleave
    if micro_batches:
        in_flight = min(in_flight, micro_batches)
    logits = 6 * tokens * shape.vocab / tensor
    # the first stage holds the most micro-batches, the last one the logits of one
    activations = max(in_flight * layers * layer + (logits if pipeline == 1 else 0), layers * layer + logits)
    working = wide * tokens * _layer_bytes(shape, context, "selective") / tensor if recompute == "full" else 0.0
    shards = data * context_parallel
    if sharding == 3 and shards > 1:
        working += 2 * held.weights * shape.n_per_layer / tensor  # this layer gathered, and the next on its way
    return Memory(
        weights=held.weights * params / (shards if sharding >= 3 else 1),
        gradients=held.gradients * params / (shards if sharding >= 2 else 1),
        optimiser=held.optimiser * params / (shards if sharding >= 1 else 1),
        activations=activations,
        working=working,
    )


def precision_of(name: str | Precision) -> Precision:
    """A Precision by name; PlanError when there is none."""
    if isinstance(name, Precision):
        return name
    if name not in PRECISIONS:
        raise PlanError(f"no precision is called {str(name)[:40]!r}; there are: {', '.join(PRECISIONS)}.")
    return PRECISIONS[name]


def _layer_bytes(shape: Shape, context: int, recompute: str) -> float:
    """bf16 bytes that one layer keeps of one token: 34 d (+ 5 heads x context) for d_ff = 4 d, plain and full heads."""
    d, queries, keys = shape.d_model, shape.attention_width, shape.kv_width
    if recompute == "full":
        return float(2 * d)
    norms = 4 * d
    attention = (
        2 * d + 2 * queries + 2 * (2 * keys) + 2 * queries + d
    )  # input, Q, K and V, input of the output map, mask
    used = shape.n_active_experts + shape.n_shared_experts if shape.n_experts else 1
    # a copy of the input for each expert; gate, up and their product, or before and after the non-linearity; mask
    feed_forward = used * (2 * d + 2 * (3 if shape.gated else 2) * shape.d_ff) + d
    scores = 5 * shape.n_heads * context if recompute == "none" else 0
    return float(norms + attention + feed_forward + scores)


# --- a layout that fits ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """How to split a run over accelerators.

    count = tensor x pipeline x data x context_parallel; micro_batches : forward passes of a rank in one step, of micro_batch sequences each.
    batch_tokens : tokens of one step. least : the smallest number of these accelerators in which any layout fits.
    slowdown : estimated time over that of a run without bubbles, recomputation and communication; a judgement to rank
        layouts with, not a measurement.
    """

    accelerator: str
    count: int
    tensor: int
    pipeline: int
    data: int
    context_parallel: int
    sharding: int
    recompute: str
    interleave: int
    micro_batch: int
    micro_batches: int
    context: int
    precision: str
    memory: Memory
    capacity: float
    least: int
    slowdown: float

    @property
    def batch_tokens(self) -> int:
        return self.data * self.micro_batch * self.micro_batches * self.context

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dictionary; bytes under `memory`."""
        return {**asdict(self), "memory": self.memory.to_dict(), "batch_tokens": self.batch_tokens}

    def __str__(self) -> str:
        stage = {
            0: "",
            1: ", optimiser states sharded",
            2: ", optimiser and gradients sharded",
            3: ", all states sharded",
        }
        again = {"none": "", "selective": ", attention recomputed", "full": ", every layer recomputed"}
        long = f" x context {self.context_parallel}" if self.context_parallel > 1 else ""
        pieces = f" ({self.interleave} pieces a stage)" if self.interleave > 1 else ""
        return (
            f"{self.count:,} {self.accelerator}: tensor {self.tensor} x pipeline {self.pipeline}{pieces} x data {self.data}{long}"
            f"{stage[self.sharding]}{again[self.recompute]}; {self.micro_batches} x {self.micro_batch} sequences of "
            f"{self.context:,} a step and rank: {self.memory} of {self.capacity / 1e9:.4g} GB. The least that fits: {self.least:,}."
        )


def layout(
    shape: Shape,
    accelerator: str | Accelerator,
    count: int | None = None,
    *,
    context: int = 2048,
    batch_tokens: float | None = None,
    precision: str = "bf16",
) -> Layout:
    """A sane layout on `count` accelerators, or on the smallest number in which the run fits.

    Tensor parallelism stays inside a node of 8 and divides the heads, pipeline stages divide the layers as evenly as they can,
    the rest is data parallelism. Of the layouts that fit, the one with the least estimated slowdown.
    count : accelerators at hand; up to 5 % of them stay idle where the rest makes more even a split, more only where no
        layout uses as many.
    batch_tokens : most tokens of one step, such as the critical batch size; it bounds data parallelism. None: no bound.

    Raises PlanError with the smallest number that fits where `count` is too few, or with the way out where none is enough.
    """
    chip = find_accelerator(accelerator) if isinstance(accelerator, str) else accelerator
    if count is not None and not (1 <= count <= MOST and count == int(count)):
        raise PlanError(f"count: {count} is not a whole number of accelerators from 1 to {MOST:,}.")
    if batch_tokens is not None and math.isinf(batch_tokens):
        batch_tokens = None
    if batch_tokens is not None and not batch_tokens >= context:  # nan too
        raise PlanError(
            f"a batch of {batch_tokens:.3g} tokens is less than one sequence of {context} tokens; give a larger one."
        )
    least, smallest = _least(shape, chip, context, batch_tokens, precision)
    if least is None:
        raise PlanError(_none_fits(shape, chip, context, batch_tokens, smallest))
    if count is not None and count < least:
        raise PlanError(
            f"{count:,} {chip.key} of {chip.memory / 1e9:.4g} GB cannot hold a run of {shape.n_params / 1e9:.4g}B parameters: "
            f"the smallest number that fits is {least:,}."
        )
    for counts in _near(least, count):
        options = [
            (slowdown / n, slowdown, n, chosen)
            for n in counts
            for slowdown, chosen in _options(shape, chip, n, context, batch_tokens)
        ]
        for _, slowdown, n, chosen in sorted(options, key=lambda row: row[0]):  # the fastest first
            held = memory(shape, **chosen, context=context, precision=precision)
            if held.fits(chip):
                return Layout(
                    accelerator=chip.key, count=n, precision=precision, context=context, capacity=chip.memory, least=least,
                    slowdown=slowdown, memory=held, **chosen,
                )  # fmt: skip
    raise AssertionError("the smallest number that fits has a layout")


def _near(least: int, count: int | None) -> Iterator[list[int]]:
    """Numbers of accelerators to try together: all that there are and rounder ones up to 5 % fewer; then ever fewer."""
    if count is None:
        yield [least]
        return
    top = int(count)
    while top >= least:
        rounder = {step * (top // step) for step in (NODE, 2 * NODE, 8 * NODE, 16 * NODE, 64 * NODE)}
        low = max(least, math.floor(0.95 * top))
        yield sorted({top, *(n for n in rounder if n >= low)})
        top = low - 1 if low > least or top == least else least


def _counts(lowest: int) -> Iterator[int]:
    """Numbers of accelerators that people rent: 1, 2, 4, and whole nodes."""
    for n in (1, 2, 4):
        if n >= lowest:
            yield n
    n = max(1, math.ceil(lowest / NODE)) * NODE
    while n <= MOST:
        yield n
        # past a hundred nodes in steps of 1 %, so that the search stays short
        n += NODE * max(1, n // (100 * NODE))


def _least(
    shape: Shape, chip: Accelerator, context: int, batch: float | None, precision: str
) -> tuple[int | None, float]:
    """The smallest number in which a run fits, None where none does, and the least memory that was found [bytes]."""
    lowest = max(1, math.floor(precision_of(precision).total * shape.n_params * HEADROOM / chip.memory))
    best, relief = math.inf, lowest
    for n in _counts(lowest):
        # past ten times the count of the last relief, activations or the batch are the limit, not the count
        if n > max(10 * relief, 1000):
            break
        for split in _splits(shape, n, context, batch):
            total = min(  # weights sharded out must be gathered: with few layers a stage it is better to keep them
                memory(shape, **split, context=context, sharding=stage, recompute="full", precision=precision).total
                for stage in (2, 3)
            )
            if total * HEADROOM <= chip.memory:
                return n, total
            if total < best * (1 - 1e-6):
                best, relief = total, n
    return None, best


def _splits(shape: Shape, count: int, context: int, batch: float | None) -> Iterator[dict[str, int]]:
    """Ways to split over exactly so many accelerators, one sequence at a time."""
    kv = shape.n_heads if shape.n_kv_heads is None else shape.n_kv_heads
    for tensor in (1, 2, 4, 8):
        if count % tensor or shape.n_heads % tensor or (kv % tensor and tensor % kv) or shape.d_ff % tensor:
            continue
        for long in (1, 2, 4, 8, 16) if context >= LONG else (1,):
            if count % (tensor * long):
                continue
            ranks = count // (tensor * long)
            for pipeline in _stages(shape.n_layers, ranks):
                data = ranks // pipeline
                if batch is None or data * context <= batch:
                    yield {"tensor": tensor, "pipeline": pipeline, "data": data, "context_parallel": long}


def _stages(n_layers: int, ranks: int) -> list[int]:
    """Pipeline stages that divide the ranks and leave no stage more than a tenth fuller than the average."""
    return [
        p for p in range(1, min(n_layers, ranks, 128) + 1)
        if ranks % p == 0 and math.ceil(n_layers / p) * p <= 1.1 * n_layers
    ]  # fmt: skip


def _options(
    shape: Shape, chip: Accelerator, count: int, context: int, batch: float | None
) -> Iterator[tuple[float, dict[str, Any]]]:
    """(slowdown, split) of every layout on exactly so many accelerators, whether it fits or not."""
    for split in _splits(shape, count, context, batch):
        pipeline, shards = split["pipeline"], split["data"] * split["context_parallel"]
        pieces = [v for v in (1, 2, 4) if v == 1 or (pipeline > 1 and shape.n_layers >= v * pipeline)]
        per_rank = None if batch is None else batch / (split["data"] * context)
        for micro_batch in (1, 2, 4, 8, 16):
            if per_rank is not None and micro_batch > per_rank:
                break
            micro_batches = 8 * pipeline if per_rank is None else int(per_rank // micro_batch)
            for recompute, interleave, sharding in product(
                ("selective", "full"), pieces, (0, 1, 2, 3) if shards > 1 else (0,)
            ):
                chosen: dict[str, Any] = {
                    **split, "sharding": sharding, "recompute": recompute, "interleave": interleave,
                    "micro_batch": micro_batch, "micro_batches": micro_batches,
                }  # fmt: skip
                yield _slowdown(shape, chip, context, **chosen), chosen


def _slowdown(
    shape: Shape, chip: Accelerator, context: int, *, tensor: int, pipeline: int, data: int, context_parallel: int,
    sharding: int, recompute: str, interleave: int, micro_batch: int, micro_batches: int,
) -> float:  # fmt: skip
    """Time over that of perfect parallelism: the exact bubble and recomputation, and rough prices of communication.

    Bubble (p - 1) / (m v) with v pieces a stage: Narayanan et al. 2021, arXiv:2104.04473, sec. 2.2. Gradients cross the network once a step (2 bytes
    out and 2 in for each parameter), weights sharded out cross it three times a micro-batch (2 bytes each); half of it hides
    behind 6 FLOPs per parameter and token at half of the peak. 5 % a doubling of tensor parallelism, 3 % a doubling of
    context parallelism, and 3 % a halving of a pass below 4096 tokens are judgements.
    """
    bubble = (pipeline - 1) / (micro_batches * interleave)
    tokens = micro_batch * context / context_parallel  # of one pass of one rank
    shards = data * context_parallel
    exchanged = 0.0
    if shards > 1:
        per_param = 6.0 / tokens if sharding == 3 else 4.0 / (tokens * micro_batches)
        speed = INSIDE if shards * tensor <= NODE else NETWORK
        exchanged = 0.5 * per_param / speed * (0.5 * chip.bf16 / 6) * float(shape.n_params / shape.n_active)
    short = 0.03 * max(0.0, math.log2(4096 * tensor / tokens))  # the matrices of a pass are cut: small ones run slower
    split = (
        0.05 * math.log2(tensor)
        + 0.03 * math.log2(context_parallel)
        + (0.02 + 0.01 * math.log2(pipeline) if pipeline > 1 else 0.0)
    )
    return (
        (4 / 3 if recompute == "full" else 1.0)
        * (1 + bubble)
        * (1 + split + short + exchanged + 0.002 * (sharding + interleave))
    )


def _none_fits(shape: Shape, chip: Accelerator, context: int, batch: float | None, smallest: float) -> str:
    wide = "" if batch is None else f" with steps of at most {batch:.3g} tokens"
    if math.isinf(smallest):
        why = f"the states of so many parameters alone fill more than {MOST:,} of them"
    else:
        why = f"the best one found needs {smallest * HEADROOM / 1e9:.3g} GB on each"
    return (
        f"no layout on {chip.key} of {chip.memory / 1e9:.4g} GB holds a run of {shape.n_params / 1e9:.4g}B parameters at a "
        f"context of {context:,}{wide}: {why}. Take an accelerator with more memory, a shorter context"
        + (", a larger batch" if batch is not None else "")
        + " or a smaller model."
    )


# --- serving -----------------------------------------------------------------------------------------------------------


def serving_memory(
    shape: Shape, *, context: int = 8192, sequences: int = 1, bits: float = 16, cache_bits: float = 16
) -> float:
    """Bytes to serve the model: weights at so many bits, and keys and values of `sequences` of `context` tokens each."""
    if min(context, sequences) < 0 or min(bits, cache_bits) <= 0:
        raise PlanError(
            f"context {context}, sequences {sequences}, bits {bits} and cache_bits {cache_bits} cannot be negative, nor bits zero."
        )
    return float(shape.n_params * bits / 8 + sequences * shape.kv_cache_bytes(context, cache_bits / 8))
