"""A transformer's shape: its parameters, and what a token costs it by the methods of the literature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from scaling.compute.per_parameter import Array, floats
from scaling.errors import PlanError


@dataclass(frozen=True)
class Shape:
    """A decoder-only transformer.

    d_ff : width of the feed-forward layer, of one expert where n_experts > 0.
    n_kv_heads, head_dim : n_heads and d_model / n_heads unless given.
    gated : three feed-forward matrices rather than two. tied : one matrix for input embedding and output head.
    positions : learned position vectors; relative_positions : a d x (n_heads head_dim) map per layer (Transformer-XL).
    biases : on every linear map; qkv_bias : on those of queries, keys and values alone. layer_norm : norms with a bias.
    n_active_experts : experts a token uses; n_shared_experts : experts beside them that every token uses.
    """

    n_layers: int
    d_model: int
    d_ff: int
    n_heads: int
    vocab: int
    n_kv_heads: int | None = None
    head_dim: int | None = None
    gated: bool = True
    tied: bool = False
    n_experts: int = 0
    n_active_experts: int = 0
    n_shared_experts: int = 0
    positions: int = 0
    relative_positions: bool = False
    biases: bool = False
    qkv_bias: bool = False
    layer_norm: bool = False
    norms_per_layer: int = 2
    qk_norm: bool = False

    def __post_init__(self) -> None:
        for name in ("n_layers", "d_model", "d_ff", "n_heads", "vocab"):
            if not np.all(np.real(getattr(self, name)) > 0):
                raise PlanError(f"a shape needs {name} above zero, not {getattr(self, name)!r}.")
        if self.n_experts and not 0 < self.n_active_experts <= self.n_experts:
            raise PlanError(
                f"{self.n_active_experts} active of {self.n_experts} experts: a token uses at least one and at most all of them."
            )

    @property
    def _heads(self) -> tuple[Any, Any]:
        """Widths of all query heads and of all key (or value) heads."""
        head = self.d_model / self.n_heads if self.head_dim is None else self.head_dim
        groups = self.n_heads if self.n_kv_heads is None else self.n_kv_heads
        return self.n_heads * head, groups * head

    @property
    def attention_width(self) -> Any:
        """n_heads x head_dim."""
        return self._heads[0]

    def _layer(self, experts: int) -> Any:
        """Parameters of a layer that holds so many experts (0 for a dense layer)."""
        d, (queries, keys) = self.d_model, self._heads
        total = 2 * d * queries + 2 * d * keys
        if self.biases or self.qkv_bias:
            total = total + queries + 2 * keys
        if self.biases:
            total = total + d
        if self.relative_positions:
            total = total + d * queries
        expert = (3 if self.gated else 2) * d * self.d_ff
        if self.biases:
            expert = expert + (2 if self.gated else 1) * self.d_ff + d
        if self.n_experts:
            total = total + (experts + self.n_shared_experts) * expert + d * self.n_experts  # with the router
        else:
            total = total + expert
        total = total + self.norms_per_layer * d * (2 if self.layer_norm else 1)
        if self.qk_norm:
            total = total + 2 * (queries / self.n_heads)
        return total

    @property
    def n_per_layer(self) -> Any:
        """Parameters of one layer, all its experts included."""
        return self._layer(self.n_experts)

    @property
    def kv_width(self) -> Any:
        """Width of all keys of a token, and of all its values: n_kv_heads x head_dim."""
        return self._heads[1]

    @property
    def n_embedding(self) -> Any:
        """Parameters of embedding, output head and learned positions."""
        return self.vocab * self.d_model * (1 if self.tied else 2) + self.positions * self.d_model

    @property
    def n_non_embedding(self) -> Any:
        """Parameters without embedding, head and positions: Kaplan's N."""
        return self.n_layers * self._layer(self.n_experts) + self.d_model * (2 if self.layer_norm else 1)

    @property
    def n_params(self) -> Any:
        """All parameters."""
        return self.n_non_embedding + self.n_embedding

    @property
    def n_active_non_embedding(self) -> Any:
        """Parameters outside the embeddings that a token uses."""
        return self.n_layers * self._layer(self.n_active_experts) + self.d_model * (2 if self.layer_norm else 1)

    @property
    def n_active(self) -> Any:
        """Parameters that a token uses, embeddings included; n_params for a dense model."""
        return self.n_active_non_embedding + self.n_embedding

    @property
    def aspect(self) -> Any:
        """d_model / n_layers."""
        return self.d_model / self.n_layers

    def flops_per_token(self, context: int = 2048, method: str = "dense") -> Any:
        """Training FLOPs per token (forward and backward) at a context length, by a method of METHODS."""
        return method_named(method).per_token(self, context)

    def inference_flops_per_token(self, context: int = 0) -> Any:
        """Forward FLOPs of one more token after `context` others: 2 per active parameter, and attention to them."""
        return 2 * self.n_active + 4 * self.n_layers * self.attention_width * context

    def kv_cache_bytes(self, context: int, bytes_per_value: float = 2.0) -> Any:
        """Bytes that the keys and values of one sequence take."""
        return 2 * self.n_layers * self._heads[1] * context * bytes_per_value

    def __str__(self) -> str:
        kv = self.n_heads if self.n_kv_heads is None else self.n_kv_heads
        experts = f", {self.n_active_experts} of {self.n_experts} experts" if self.n_experts else ""
        return (
            f"{self.n_layers} layers x {self.d_model}, feed-forward {self.d_ff}, {self.n_heads} heads ({kv} kv), "
            f"vocabulary {self.vocab}{experts}: {self.n_params / 1e9:.4g}B parameters"
            + (f", {self.n_active / 1e9:.4g}B active" if self.n_experts else "")
        )


def _hoffmann_layers(shape: Shape, context: int) -> Any:
    """Forward FLOPs per token of the layers, Hoffmann et al. App. F."""
    d, (queries, keys), s = shape.d_model, shape._heads, context
    heads = shape.n_heads
    maps = 2 * d * (queries + 2 * keys) + 2 * queries * d
    scores = 2 * s * queries + 3 * heads * s + 2 * s * queries  # logits, softmax, reduction
    width = shape.d_ff * (shape.n_active_experts + shape.n_shared_experts if shape.n_experts else 1)
    feed_forward = 2 * (3 if shape.gated else 2) * d * width + 2 * d * shape.n_experts
    return shape.n_layers * (maps + scores + feed_forward)


@dataclass(frozen=True)
class Method:
    """A count of training FLOPs per token of a shape; `equation` in the letters of its source."""

    per_token: Callable[[Shape, int], Any]
    equation: str
    source: str


METHODS: Mapping[str, Method] = {
    "dense": Method(lambda shape, s: 6 * shape.n_active, "6 N per token", "Hoffmann et al. 2022, arXiv:2203.15556; Kaplan et al. 2020"),
    "non-embedding": Method(
        lambda shape, s: 6 * shape.n_active_non_embedding, "6 N per token, N without embeddings", "Kaplan et al. 2020, arXiv:2001.08361, sec. 2.1"
    ),
    "kaplan": Method(
        lambda shape, s: 6 * shape.n_active_non_embedding + 6 * shape.n_layers * s * shape.attention_width,
        "6 N + 6 n_layers d_model context per token, N without embeddings", "Kaplan et al. 2020, arXiv:2001.08361, table 1",
    ),
    "palm": Method(
        lambda shape, s: 6 * shape.n_active + 12 * shape.n_layers * shape.attention_width * s,
        "6 N + 12 n_layers d_attention context per token", "Chowdhery et al. 2022, arXiv:2204.02311, App. B",
    ),
    "palm-causal": Method(
        lambda shape, s: 6 * shape.n_active + 6 * shape.n_layers * shape.attention_width * s,
        "6 N + 6 n_layers d_attention context per token: what fused causal attention executes", "half of the attention of arXiv:2204.02311, App. B",
    ),
    "deepseek": Method(
        lambda shape, s: 72 * shape.n_layers * shape.d_model**2 + 12 * shape.n_layers * shape.d_model * s,
        "72 n_layers d_model^2 + 12 n_layers d_model context per token", "DeepSeek LLM 2024, arXiv:2401.02954, sec. 3.2",
    ),
    "hoffmann": Method(
        lambda shape, s: 3 * (_hoffmann_layers(shape, s) + 4 * shape.vocab * shape.d_model),
        "every matrix of the forward pass, with embedding and head, times 3", "Hoffmann et al. 2022, arXiv:2203.15556, App. F",
    ),
    "hoffmann-table": Method(
        lambda shape, s: 3 * _hoffmann_layers(shape, s),
        "every matrix of the layers, without embedding and head, times 3: what the paper's table A4 holds", "Hoffmann et al. 2022, arXiv:2203.15556, table A4",
    ),
}  # fmt: skip


def method_named(name: str) -> Method:
    """A method by its name in METHODS; PlanError with the nearest names when there is none."""
    if name not in METHODS:
        raise PlanError(f"FLOPs are not counted by {name!r}; {near(name, METHODS)}")
    return METHODS[name]


def near(name: str, known: Mapping[str, Any]) -> str:
    """'did you mean x or y?' of the names spelled alike, or all that there are."""
    close = get_close_matches(name.lower(), known, n=2, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(known)}."


def mfu(tokens_per_second: Any, flops_per_token: Any, n_accelerators: Any, peak_flops_per_second: Any) -> Array:
    """Model FLOPs utilisation: useful FLOPs per second over the dense peak of all accelerators. PaLM, App. B."""
    return floats(tokens_per_second) * flops_per_token / (floats(n_accelerators) * peak_flops_per_second)
