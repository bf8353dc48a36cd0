"""Training compute from model size and tokens, each way round; parameters and FLOPs of a transformer's shape.

An accounting says what a token costs a model of N parameters. DENSE, C = 6 N D, is the usual one; the others need to know
the shape that goes with a size, which a Family supplies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Protocol

import numpy as np

from scaling.errors import PlanError

Array = np.ndarray


class Accounting(Protocol):
    """Training compute as a function of N and D, and its two inverses. Arguments broadcast."""

    @property
    def name(self) -> str: ...

    @property
    def equation(self) -> str: ...

    def flops(self, n_params: Any, n_tokens: Any) -> Array: ...

    def n_tokens(self, n_params: Any, flops: Any) -> Array: ...

    def n_params(self, n_tokens: Any, flops: Any) -> Array: ...


def _floats(value: Any) -> Array:
    """As floats; complex numbers stay, because allocation differentiates accountings by the complex step."""
    value = np.asarray(value)
    return value if np.iscomplexobj(value) else value.astype(float)


@dataclass(frozen=True)
class PerParameter:
    """C = k N D: each parameter takes part in k FLOPs per token (2 forward, 4 backward)."""

    flops_per_param_token: float = 6.0

    @property
    def name(self) -> str:
        return f"{self.flops_per_param_token:g}ND"

    @property
    def equation(self) -> str:
        return f"C = {self.flops_per_param_token:g} N D"

    def flops(self, n_params: Any, n_tokens: Any) -> Array:
        """FLOPs of training n_params on n_tokens."""
        return self.flops_per_param_token * _floats(n_params) * _floats(n_tokens)

    def n_tokens(self, n_params: Any, flops: Any) -> Array:
        """Tokens that a budget buys for a model size."""
        return _floats(flops) / (self.flops_per_param_token * _floats(n_params))

    def n_params(self, n_tokens: Any, flops: Any) -> Array:
        """Model size that a budget can train on so many tokens."""
        return _floats(flops) / (self.flops_per_param_token * _floats(n_tokens))


DENSE = PerParameter()
FROZEN = PerParameter(4.0)  # fine-tuning adapters: no gradients of the frozen weights
INFERENCE = PerParameter(2.0)  # forward only


@dataclass(frozen=True)
class ActiveExperts:
    """C = 6 (share N) D for a mixture of experts whose law counts all N but a token uses only a share of them.

    Where the law's N is already the active one, DENSE is the accounting.
    """

    active_share: float

    def __post_init__(self) -> None:
        if not 0 < self.active_share <= 1:
            raise PlanError(
                f"active_share {self.active_share!r} is no share of the parameters: it lies in (0, 1], active / total."
            )

    @property
    def name(self) -> str:
        return f"6ND, {self.active_share:.3g} of N active"

    @property
    def equation(self) -> str:
        return f"C = 6 ({self.active_share:.4g} N) D"

    @property
    def _dense(self) -> PerParameter:
        return PerParameter(6.0 * self.active_share)

    def flops(self, n_params: Any, n_tokens: Any) -> Array:
        return self._dense.flops(n_params, n_tokens)

    def n_tokens(self, n_params: Any, flops: Any) -> Array:
        return self._dense.n_tokens(n_params, flops)

    def n_params(self, n_tokens: Any, flops: Any) -> Array:
        return self._dense.n_params(n_tokens, flops)


@dataclass(frozen=True)
class Recomputed:
    """What the hardware executes when activations are recomputed: the forward pass twice, 4/3 of the compute of `of`."""

    of: Accounting = DENSE

    @property
    def name(self) -> str:
        return f"{self.of.name}, activations recomputed"

    @property
    def equation(self) -> str:
        return f"{self.of.equation}, times 4/3"

    def flops(self, n_params: Any, n_tokens: Any) -> Array:
        return self.of.flops(n_params, n_tokens) * 4 / 3

    def n_tokens(self, n_params: Any, flops: Any) -> Array:
        return self.of.n_tokens(n_params, _floats(flops) * 3 / 4)

    def n_params(self, n_tokens: Any, flops: Any) -> Array:
        return self.of.n_params(n_tokens, _floats(flops) * 3 / 4)


@dataclass(frozen=True)
class Lifetime:
    """Compute of training plus serving: the base accounting and 2 FLOPs per parameter for each token served.

    A budget is then what the model costs over its life. Source: Sardana et al. 2023, arXiv:2401.00448.
    """

    base: Accounting
    inference_tokens: float

    @property
    def name(self) -> str:
        return f"{self.base.name} + 2N T"

    @property
    def equation(self) -> str:
        return f"{self.base.equation} for training, plus 2 N T for serving T = {self.inference_tokens:.3g} tokens"

    def flops(self, n_params: Any, n_tokens: Any) -> Array:
        """FLOPs of training and serving."""
        return self.base.flops(n_params, n_tokens) + INFERENCE.flops(n_params, self.inference_tokens)

    def n_tokens(self, n_params: Any, flops: Any) -> Array:
        """Training tokens left in a budget after serving; negative where serving alone costs more."""
        return self.base.n_tokens(n_params, _floats(flops) - INFERENCE.flops(n_params, self.inference_tokens))

    def n_params(self, n_tokens: Any, flops: Any) -> Array:
        """Model size that a budget can train on so many tokens and serve: by bisection in its logarithm."""
        high = np.log(self.base.n_params(n_tokens, flops))
        low = np.full(high.shape, -10.0)
        for _ in range(80):
            middle = (low + high) / 2
            fits = self.flops(np.exp(middle), n_tokens) <= _floats(flops)
            low, high = np.where(fits, middle, low), np.where(fits, high, middle)
        return np.exp(low)


@dataclass(frozen=True)
class Logged:
    """C = k N^p D, read off runs that logged their own FLOPs.

    scatter : standard deviation of ln(logged / computed) over those runs.
    """

    k: float
    power: float
    scatter: float = 0.0

    @property
    def name(self) -> str:
        return "as logged"

    @property
    def equation(self) -> str:
        return f"C = {self.k:.4g} N^{self.power:.4g} D"

    def flops(self, n_params: Any, n_tokens: Any) -> Array:
        return self.k * _floats(n_params) ** self.power * _floats(n_tokens)

    def n_tokens(self, n_params: Any, flops: Any) -> Array:
        return _floats(flops) / (self.k * _floats(n_params) ** self.power)

    def n_params(self, n_tokens: Any, flops: Any) -> Array:
        return (_floats(flops) / (self.k * _floats(n_tokens))) ** (1 / self.power)


def logged(n_params: Any, n_tokens: Any, flops: Any) -> Logged:
    """The accounting that logged runs follow: least squares of ln(C / D) on ln N. All (n,), positive.

    Sizes within 1 % of each other cannot show a power: then it is 1 and k is the geometric mean of C / (N D).
    Raises PlanError without a run, or when a value is not positive and finite, or when compute falls as models grow.
    """
    n, d, c = (np.ravel(_floats(v)) for v in (n_params, n_tokens, flops))
    if not n.size or not (n.size == d.size == c.size):
        raise PlanError(
            f"an accounting needs size, tokens and FLOPs of the same runs, not {n.size}, {d.size} and {c.size} of them."
        )
    if not all(np.isfinite(v).all() and (v > 0).all() for v in (n, d, c)):
        raise PlanError(
            "an accounting needs sizes, tokens and FLOPs that are positive and finite; drop the runs where they are not."
        )
    log_n, per_token = np.log(n), np.log(c / d)
    centre = log_n.mean()
    spread = log_n - centre
    power = float(spread @ (per_token - per_token.mean()) / (spread @ spread)) if np.ptp(log_n) > 0.01 else 1.0
    if power <= 0:
        raise PlanError(
            f"the logged FLOPs per token fall as models grow (power {power:.3g}); check the units of the FLOPs column."
        )
    log_k = float(per_token.mean() - power * centre)
    return Logged(float(np.exp(log_k)), power, float(np.std(per_token - log_k - power * log_n)))


# --- shapes ------------------------------------------------------------------------------------------------------------


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
        return _method(method).per_token(self, context)

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


def _method(name: str) -> Method:
    if name not in METHODS:
        raise PlanError(f"FLOPs are not counted by {name!r}; {_near(name, METHODS)}")
    return METHODS[name]


def _near(name: str, known: Mapping[str, Any]) -> str:
    near = get_close_matches(name.lower(), known, n=2, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(known)}."


def mfu(tokens_per_second: Any, flops_per_token: Any, n_accelerators: Any, peak_flops_per_second: Any) -> Array:
    """Model FLOPs utilisation: useful FLOPs per second over the dense peak of all accelerators. PaLM, App. B."""
    return _floats(tokens_per_second) * flops_per_token / (_floats(n_accelerators) * peak_flops_per_second)


# --- shapes that go with a size ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Family:
    """The proportions of a line of models.

    aspect : ((N without embeddings, d_model / n_layers), ...), interpolated in ln N and level outside.
    ff_ratio : d_ff / d_model. kv_heads : key-value heads, None for as many as heads. step : what widths are multiples of.
    """

    name: str
    aspect: tuple[tuple[float, float], ...]
    ff_ratio: float
    vocab: int
    gated: bool
    tied: bool
    source: str
    head_dim: int = 128
    kv_heads: int | None = None
    ff_step: int = 256
    positions: int = 0
    relative_positions: bool = False
    biases: bool = False
    qkv_bias: bool = False
    layer_norm: bool = False

    def aspect_at(self, n_non_embedding: Any) -> Array:
        """d_model / n_layers at a size."""
        sizes, ratios = np.array(self.aspect, dtype=float).T
        knots = np.log(sizes)
        log_n = np.log(_floats(n_non_embedding))
        # np.interp by hand: it takes no complex numbers
        left = np.clip(np.searchsorted(knots, np.real(log_n)) - 1, 0, len(knots) - 2)
        between = ratios[left] + (log_n - knots[left]) * (
            (ratios[left + 1] - ratios[left]) / (knots[left + 1] - knots[left])
        )
        return np.where(
            np.real(log_n) <= knots[0], ratios[0], np.where(np.real(log_n) >= knots[-1], ratios[-1], between)
        )

    def _head(self, d_model: int) -> int:
        """Head size: as the family has it; narrow models take smaller heads, down to 32, so as to have several."""
        fits = (h for h in (self.head_dim, 64, 32) if h <= self.head_dim and d_model >= 8 * h and d_model % h == 0)
        return next(fits, 32)

    def shape(self, n_layers: int, d_model: int, d_ff: float | None = None) -> Shape:
        """The family's shape of this depth and width; d_ff, rounded and at most 15 % off, instead of the family's ratio."""
        head = self._head(d_model)
        heads = d_model // head
        kv = (
            heads
            if self.kv_heads is None
            else max(k for k in range(1, min(self.kv_heads, heads) + 1) if heads % k == 0)
        )
        step = self.ff_step if d_model >= 2048 else 64
        usual = self.ff_ratio * d_model
        d_ff = usual if d_ff is None else min(max(d_ff, 0.85 * usual), 1.15 * usual)
        d_ff = max(1, round(d_ff / step)) * step
        return Shape(
            n_layers, d_model, d_ff, heads, self.vocab, kv, head, self.gated, self.tied, positions=self.positions,
            relative_positions=self.relative_positions, biases=self.biases, qkv_bias=self.qkv_bias, layer_norm=self.layer_norm,
        )  # fmt: skip

    def continuous(self, n_params: Any, counts: str = "total") -> Shape:
        """A shape of real-valued depth and width with exactly this size up to norms and biases; arrays throughout.

        It makes FLOPs a smooth function of N; `shapes_for` gives shapes that can be built.
        """
        n = _floats(n_params)
        total = counts == "total"
        ratio = self.aspect_at(n)
        kv_share = self._kv_share(n)
        per_layer = 2 + 2 * kv_share + (3 if self.gated else 2) * self.ff_ratio + (1 if self.relative_positions else 0)
        cubic, linear = per_layer / ratio, (self.vocab * (1 if self.tied else 2) + self.positions) * float(total)
        # cubic d^3 + linear d = n has one positive root; Newton descends to it from either term's own root
        d = np.minimum(np.cbrt(np.real(n / cubic)), np.real(n) / linear if total else np.inf)
        for _ in range(60):
            step = (np.real(cubic) * d**3 + linear * d - np.real(n)) / (3 * np.real(cubic) * d**2 + linear)
            d = d - step
            if np.all(np.abs(step) <= 1e-15 * d):
                break
        if np.iscomplexobj(n):  # one complex step of Newton from the real root carries the derivative exactly
            d = d - (cubic * d**3 + linear * d - n) / (3 * np.real(cubic) * d**2 + linear)
        heads = d / self.head_dim
        return Shape(
            d / ratio, d, self.ff_ratio * d, heads, self.vocab, heads * kv_share, self.head_dim, self.gated, self.tied,
            positions=self.positions, relative_positions=self.relative_positions, norms_per_layer=0,
        )  # fmt: skip

    def _kv_share(self, n: Array) -> Array:
        """Key-value heads per head at a size, from the width that the size would have without embeddings."""
        if self.kv_heads is None:
            return np.ones_like(n)
        share = self.kv_heads * self.head_dim / (n * self.aspect_at(n) / 12) ** (1 / 3)
        return np.where(np.real(share) < 1, share, 1.0)


_GROWING = ((1e8, 64.0), (1e9, 100.0), (5e9, 128.0))
FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family("llama3", ((1e9, 128.0), (8e9, 128.0), (70e9, 102.4), (405e9, 130.0)), 3.5, 128256, True, False,
               "Llama 3 2024, arXiv:2407.21783, table 3", kv_heads=8),
        Family("llama", ((6.7e9, 128.0), (13e9, 128.0), (32e9, 111.0), (65e9, 102.4)), 8 / 3, 32000, True, False,
               "Touvron et al. 2023, arXiv:2302.13971, table 2"),
        Family("qwen2.5", ((4e8, 37.3), (7e9, 128.0), (31e9, 80.0), (72e9, 102.4)), 5.4, 152064, True, False,
               "Qwen2.5 2024, arXiv:2412.15115; configurations of the released models", kv_heads=8, qkv_bias=True),
        Family("gpt3", ((1e8, 64.0), (1.3e9, 85.3), (6.7e9, 128.0), (175e9, 128.0)), 4.0, 50257, False, True,
               "Brown et al. 2020, arXiv:2005.14165, table 2.1", positions=2048, biases=True, layer_norm=True),
        Family("chinchilla", ((7e7, 64.0), (1.6e9, 73.1), (7e9, 89.6), (70e9, 102.4)), 4.0, 32000, False, True,
               "Hoffmann et al. 2022, arXiv:2203.15556, tables 4 and A9", relative_positions=True),
        Family("pythia", ((8.5e7, 64.0), (1.2e9, 85.3), (2.5e9, 80.0), (6.4e9, 128.0), (11.3e9, 142.2)), 4.0, 50432, False, False,
               "Biderman et al. 2023, arXiv:2304.01373, table 1", biases=True, layer_norm=True),
        Family("modern", _GROWING, 8 / 3, 32000, True, False, "depth and width after the aspect ratios of published models", kv_heads=8),
    )
}  # fmt: skip


def _family(name: str | Family) -> Family:
    """A family by name; PlanError with the nearest names when there is none."""
    if isinstance(name, Family):
        return name
    if name.lower() not in FAMILIES:
        raise PlanError(f"no family of shapes is called {name[:40]!r}; {_near(name, FAMILIES)}")
    return FAMILIES[name.lower()]


def shapes_for(
    n_params: float, family: str | Family = "modern", count: int = 3, vocab: int | None = None
) -> tuple[Shape, ...]:
    """Shapes with about n_params parameters (all of them), the best match of size and proportions first.

    family : a key of FAMILIES or a Family. vocab : instead of the family's.
    Widths are multiples of the head size (64 at least; 128 from 2048); the feed-forward width bends by up to 15 % to meet the
    size. Where the best match does not split evenly over 8 accelerators and 4 stages (heads a multiple of 8, layers of 4,
    width of 256), the second is the best one that does, where there is one.
    Raises PlanError when the size is not positive or so small that the vocabulary leaves no room for layers.
    """
    chosen = _family(family)
    if vocab is not None:
        chosen = replace(chosen, vocab=vocab)
    n = float(n_params)
    if not (np.isfinite(n) and 0 < n <= 1e14):
        raise PlanError(f"a shape needs a size above zero and up to 1e14 parameters, not {n_params!r}.")
    found = _candidates(chosen, n)
    if not found:
        raise PlanError(
            f"no {chosen.name} shape has {n:.3g} parameters: with the vocabulary of {chosen.vocab} alone the narrowest has "
            f"{chosen.shape(1, 64).n_params:.3g}. Give a smaller vocabulary or another family."
        )
    ranked = [shape for _, shape in sorted(found, key=lambda pair: pair[0])]
    even = next((s for s in ranked if splits_evenly(s) and abs(s.n_params / n - 1) < 0.03), None)
    if even is not None and not splits_evenly(ranked[0]):
        ranked.remove(even)
        ranked.insert(1, even)
    return tuple(ranked[:count])


def expert_shapes_for(
    n_total: float, n_active: float, family: str | Family = "modern", count: int = 3, vocab: int | None = None
) -> tuple[Shape, ...]:
    """Mixtures of experts with about n_total parameters of which a token uses about n_active, the best match first.

    The dense shapes of n_active, with the feed-forward layer cut into 8, 4, 2 or 1 experts that a token uses, of as many
    (a multiple of 8) as make the total; 8 of 64 and more (DeepSeek-V3, Qwen3) before 2 of 8 (Mixtral) where both fit.
    Raises PlanError where n_active is not below n_total, or where no such shape comes within 10 % of both.
    """
    if not 0 < n_active < n_total:
        raise PlanError(
            f"{n_active:.3g} active of {n_total:.3g} parameters: a mixture of experts uses fewer than it has."
        )
    found: list[tuple[float, Shape]] = []
    for rank, dense in enumerate(shapes_for(n_active, family, 12, vocab)):
        for used in (8, 4, 2, 1):
            step = 128 if dense.d_ff / used >= 1024 else 64
            width = round(dense.d_ff / used / step) * step
            if width == 0:
                continue
            one = replace(dense, d_ff=width, n_experts=used, n_active_experts=used)
            matrices = dense.n_layers * (3 if dense.gated else 2) * dense.d_model
            held = 8 * round((used + (n_total - one.n_params) / (matrices * width)) / 8)
            if held <= used:
                continue
            shape = replace(one, n_experts=held)
            miss = abs(np.log(shape.n_params / n_total)) + abs(np.log(shape.n_active / n_active))
            coarse = 0.02 * np.log2(8 / used) + (0.1 if held > 512 else 0.0)  # more than were trained
            if abs(shape.n_params / n_total - 1) < 0.1 and abs(shape.n_active / n_active - 1) < 0.1:
                found.append((float(10 * miss + coarse + 0.05 * rank), shape))
    if not found:
        raise PlanError(
            f"no mixture of experts of {_family(family).name} shapes has {n_total:.3g} parameters and {n_active:.3g} active: "
            "give another active share or another family."
        )
    return tuple(shape for _, shape in sorted(found, key=lambda pair: pair[0])[:count])


def splits_evenly(shape: Shape) -> bool:
    """Whether the shape divides over 8 accelerators by heads and over 4 pipeline stages by layers."""
    return shape.d_model % 256 == 0 and shape.n_heads % 8 == 0 and shape.n_layers % 4 == 0


def _candidates(chosen: Family, n: float) -> list[tuple[float, Shape]]:
    """(badness, shape) of the shapes within 10 % of the size and near the family's aspect ratio."""
    width = float(chosen.continuous(n).d_model)
    found = []
    for d_model in _widths(width / 1.5, width * 1.5):
        plain = chosen.shape(1, d_model)
        layer = chosen.shape(2, d_model).n_params - plain.n_params
        middle = (n - plain.n_params) / layer + 1
        depths = {
            int(np.floor(middle)),
            int(np.ceil(middle)),
            4 * int(np.floor(middle / 4)),
            4 * int(np.ceil(middle / 4)),
        }
        for n_layers in sorted(depths):
            if n_layers < 1:
                continue
            missing = (n - chosen.shape(n_layers, d_model).n_params) / (n_layers * (3 if chosen.gated else 2) * d_model)
            shape = chosen.shape(n_layers, d_model, plain.d_ff + missing)
            if shape.d_ff < 1:
                continue
            miss = abs(np.log(shape.n_params / n))
            stretched = abs(np.log(shape.d_ff / plain.d_ff))
            bent = abs(np.log(shape.aspect / chosen.aspect_at(shape.n_non_embedding)))
            # shallow models have no aspect ratio close by: one layer more or less is a large step
            if miss < 0.1 and stretched < 0.18 and bent < np.log(1.6) + 2.0 / n_layers:
                # 2 % of size weigh as much as 20 % of aspect ratio, over which the loss is flat (Kaplan et al., fig. 5)
                odd = 0.03 * (shape.n_heads % 2 + n_layers % 2)  # odd counts split over nothing
                groups = 0.2 * abs(
                    np.log((shape.n_kv_heads or 1) / min(chosen.kv_heads or shape.n_heads, shape.n_heads))
                )
                found.append((float(10 * miss + bent + stretched + odd + groups), shape))
    return found


def _widths(low: float, high: float) -> list[int]:
    """Multiples of 64 below 2048 and of 128 from there on; of 512 past 16384, so that the search stays short."""
    out, d = [], 64
    while d <= high:
        if d >= low:
            out.append(d)
        d += 64 if d < 2048 else 128 if d < 16384 else 512
    return out


@dataclass(frozen=True)
class OfFamily:
    """C = f(N) D, with f the FLOPs per token, by a method, of the family's shape of size N.

    counts : what the law's N is, 'total' or 'non-embedding'. context : tokens that attention sees.
    """

    method: str = "palm"
    family: str | Family = "modern"
    context: int = 2048
    counts: str = "total"

    def __post_init__(self) -> None:
        _method(self.method)
        _family(self.family)
        if self.counts not in ("total", "non-embedding"):
            raise PlanError(f"counts is 'total' or 'non-embedding', not {self.counts!r}.")
        if self.context < 0:
            raise PlanError(f"context {self.context!r} is no number of tokens.")

    @property
    def name(self) -> str:
        return f"{self.method}, {_family(self.family).name} shapes, context {self.context}"

    @property
    def equation(self) -> str:
        return (
            f"C = D times {_method(self.method).equation} ({_family(self.family).name} shapes, context {self.context})"
        )

    def per_token(self, n_params: Any) -> Array:
        """Training FLOPs per token of a model of this size."""
        return _floats(
            _family(self.family).continuous(n_params, self.counts).flops_per_token(self.context, self.method)
        )

    def flops(self, n_params: Any, n_tokens: Any) -> Array:
        """FLOPs of training n_params on n_tokens."""
        return self.per_token(n_params) * _floats(n_tokens)

    def n_tokens(self, n_params: Any, flops: Any) -> Array:
        """Tokens that a budget buys for a model size."""
        return _floats(flops) / self.per_token(n_params)

    def n_params(self, n_tokens: Any, flops: Any) -> Array:
        """Model size that a budget can train on so many tokens, by bisection in ln N: per_token rises with N."""
        wanted = np.log(_floats(flops) / _floats(n_tokens))
        low, high = np.full_like(wanted, np.log(1e1)), np.full_like(wanted, np.log(1e20))
        for _ in range(60):  # 60 halvings of ln(1e19) leave less than rounding
            middle = 0.5 * (low + high)
            below = np.log(self.per_token(np.exp(middle))) < wanted
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return np.exp(0.5 * (low + high))


ACCOUNTINGS: Mapping[str, Accounting] = {
    "dense": DENSE,
    "recomputed": Recomputed(DENSE),
    "frozen": FROZEN,
    "non-embedding": OfFamily("non-embedding"),
    "kaplan": OfFamily("kaplan", "gpt3", 1024, "non-embedding"),
    "palm": OfFamily("palm"),
    "hoffmann": OfFamily("hoffmann", "chinchilla"),
    "deepseek": OfFamily("deepseek", "llama", 4096, "non-embedding"),
}


def accounting(name: str) -> Accounting:
    """A way to count FLOPs by its name in ACCOUNTINGS; PlanError with the nearest names when there is none."""
    if name.lower() not in ACCOUNTINGS:
        raise PlanError(f"FLOPs are not counted by {name[:40]!r}; {_near(name, ACCOUNTINGS)}")
    return ACCOUNTINGS[name.lower()]
