"""Lines of published models: the proportions of a shape of any size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.compute.per_parameter import Array, floats
from scaling.compute.shape import Shape, near
from scaling.errors import PlanError


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
        log_n = np.log(floats(n_non_embedding))
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
        n = floats(n_params)
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


def family_named(name: str | Family) -> Family:
    """A family by name; PlanError with the nearest names when there is none."""
    if isinstance(name, Family):
        return name
    if name.lower() not in FAMILIES:
        raise PlanError(f"no family of shapes is called {name[:40]!r}; {near(name, FAMILIES)}")
    return FAMILIES[name.lower()]
