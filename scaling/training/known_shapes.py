"""Shapes of known models, as their papers and released configurations give them, with the size that is printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from scaling.compute import Shape
from scaling.errors import PlanError


@dataclass(frozen=True)
class KnownShape:
    """A published shape and its size.

    n_params, n_active : parameters as printed (n_active for a mixture of experts), not as counted from the shape.
    source : 'released checkpoint', whose tensors hold n_params to the last one, or 'paper', which rounds.
    status : how well the numbers are attested, a key of scaling.laws.published.STATUSES.
    """

    name: str
    shape: Shape
    n_params: float
    source: str
    status: str
    n_active: float | None = None

    @property
    def miss(self) -> float:
        """The size counted from the shape over the printed one, less one."""
        return float(self.shape.n_params / self.n_params - 1)


_ALL = (
    KnownShape("GPT-3 175B", Shape(96, 12288, 49152, 96, 50257, gated=False, tied=True, positions=2048, biases=True, layer_norm=True), 1.746e11, "paper", "secondary"),
    KnownShape("Gopher 280B", Shape(80, 16384, 65536, 128, 32000, gated=False, tied=True, relative_positions=True), 2.797e11, "paper", "primary"),
    KnownShape("Chinchilla 70B", Shape(80, 8192, 32768, 64, 32000, gated=False, tied=True, relative_positions=True), 7.006e10, "paper", "primary"),
    KnownShape("Megatron-Turing NLG 530B", Shape(105, 20480, 81920, 128, 50257, gated=False, tied=True, positions=2048, biases=True, layer_norm=True), 5.296e11, "paper", "secondary"),
    KnownShape("PaLM 540B", Shape(118, 18432, 73728, 48, 256000, n_kv_heads=1, head_dim=256, tied=True), 5.404e11, "paper", "secondary"),
    KnownShape("OPT 175B", Shape(96, 12288, 49152, 96, 50272, gated=False, tied=True, positions=2050, biases=True, layer_norm=True), 1.746e11, "paper", "secondary"),
    KnownShape("BLOOM 176B", Shape(70, 14336, 57344, 112, 250880, gated=False, tied=True, biases=True, layer_norm=True), 176_247_271_424, "released checkpoint", "secondary"),
    KnownShape("Falcon 40B", Shape(60, 8192, 32768, 128, 65024, n_kv_heads=8, head_dim=64, gated=False, tied=True, layer_norm=True), 41_303_293_952, "released checkpoint", "secondary"),
    KnownShape("LLaMA 7B", Shape(32, 4096, 11008, 32, 32000), 6_738_415_616, "released checkpoint", "secondary"),
    KnownShape("LLaMA 13B", Shape(40, 5120, 13824, 40, 32000), 13_015_864_320, "released checkpoint", "secondary"),
    KnownShape("LLaMA 33B", Shape(60, 6656, 17920, 52, 32000), 32_528_943_616, "released checkpoint", "secondary"),
    KnownShape("LLaMA 65B", Shape(80, 8192, 22016, 64, 32000), 65_285_660_672, "released checkpoint", "secondary"),
    KnownShape("Llama 2 70B", Shape(80, 8192, 28672, 64, 32000, n_kv_heads=8), 68_976_648_192, "released checkpoint", "secondary"),
    KnownShape("Llama 3.2 1B", Shape(16, 2048, 8192, 32, 128256, n_kv_heads=8, tied=True), 1_235_814_400, "released checkpoint", "secondary"),
    KnownShape("Llama 3.2 3B", Shape(28, 3072, 8192, 24, 128256, n_kv_heads=8, tied=True), 3_212_749_824, "released checkpoint", "secondary"),
    KnownShape("Llama 3 8B", Shape(32, 4096, 14336, 32, 128256, n_kv_heads=8), 8_030_261_248, "released checkpoint", "secondary"),
    KnownShape("Llama 3 70B", Shape(80, 8192, 28672, 64, 128256, n_kv_heads=8), 70_553_706_496, "released checkpoint", "secondary"),
    KnownShape("Llama 3.1 405B", Shape(126, 16384, 53248, 128, 128256, n_kv_heads=8), 405_853_388_800, "released checkpoint", "secondary"),
    KnownShape("Mistral 7B", Shape(32, 4096, 14336, 32, 32000, n_kv_heads=8), 7_241_732_096, "released checkpoint", "secondary"),
    KnownShape("Qwen2.5 0.5B", Shape(24, 896, 4864, 14, 151936, n_kv_heads=2, tied=True, qkv_bias=True), 494_032_768, "released checkpoint", "secondary"),
    KnownShape("Qwen2.5 7B", Shape(28, 3584, 18944, 28, 152064, n_kv_heads=4, qkv_bias=True), 7_615_616_512, "released checkpoint", "secondary"),
    KnownShape("Qwen2.5 32B", Shape(64, 5120, 27648, 40, 152064, n_kv_heads=8, qkv_bias=True), 32_763_876_352, "released checkpoint", "secondary"),
    KnownShape("Qwen2.5 72B", Shape(80, 8192, 29568, 64, 152064, n_kv_heads=8, qkv_bias=True), 72_706_203_648, "released checkpoint", "secondary"),
    KnownShape("Qwen3 0.6B", Shape(28, 1024, 3072, 16, 151936, n_kv_heads=8, head_dim=128, tied=True, qk_norm=True), 596_049_920, "released checkpoint", "secondary"),
    KnownShape("Qwen3 8B", Shape(36, 4096, 12288, 32, 151936, n_kv_heads=8, head_dim=128, qk_norm=True), 8_190_735_360, "released checkpoint", "secondary"),
    KnownShape("Qwen3 32B", Shape(64, 5120, 25600, 64, 151936, n_kv_heads=8, head_dim=128, qk_norm=True), 32_762_123_264, "released checkpoint", "secondary"),
    KnownShape("Qwen3 30B-A3B", Shape(48, 2048, 768, 32, 151936, n_kv_heads=4, head_dim=128, n_experts=128, n_active_experts=8, qk_norm=True), 30_532_122_624, "released checkpoint", "secondary", n_active=3.35e9),
    KnownShape("Qwen3 235B-A22B", Shape(94, 4096, 1536, 64, 151936, n_kv_heads=4, head_dim=128, n_experts=128, n_active_experts=8, qk_norm=True), 235_093_634_560, "released checkpoint", "secondary", n_active=2.22e10),
    KnownShape("Mixtral 8x7B", Shape(32, 4096, 14336, 32, 32000, n_kv_heads=8, n_experts=8, n_active_experts=2), 46_702_792_704, "released checkpoint", "secondary", n_active=1.288e10),
    KnownShape("Pythia 6.9B", Shape(32, 4096, 16384, 32, 50432, gated=False, biases=True, layer_norm=True), 6_857_302_016, "released checkpoint", "secondary"),
    KnownShape("Pythia 12B", Shape(36, 5120, 20480, 40, 50688, gated=False, biases=True, layer_norm=True), 11_846_072_320, "released checkpoint", "secondary"),
    KnownShape("OLMo 2 7B", Shape(32, 4096, 11008, 32, 100352, qk_norm=True), 7.298e9, "paper", "primary"),
    KnownShape("OLMo 2 13B", Shape(40, 5120, 13824, 40, 100352, qk_norm=True), 1.372e10, "paper", "primary"),
    KnownShape("Gemma 2 9B", Shape(42, 3584, 14336, 16, 256000, n_kv_heads=8, head_dim=256, tied=True, norms_per_layer=4), 9_241_705_984, "released checkpoint", "secondary"),
    KnownShape("Gemma 2 27B", Shape(46, 4608, 36864, 32, 256000, n_kv_heads=16, head_dim=128, tied=True, norms_per_layer=4), 27_227_128_320, "released checkpoint", "secondary"),
)  # fmt: skip
KNOWN_SHAPES: Mapping[str, KnownShape] = MappingProxyType({known.name: known for known in _ALL})


def known_shape(name: str) -> KnownShape:
    """The known shape of that name, however it is written: 'llama-3-8b', 'GPT3 175B'. PlanError with the nearest names."""
    found = {_squash(known): known for known in KNOWN_SHAPES}
    wanted = _squash(name)
    if wanted in found:
        return KNOWN_SHAPES[found[wanted]]
    near = [found[k] for k in get_close_matches(wanted, found, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(KNOWN_SHAPES)}."
    raise PlanError(f"no known model is called {name[:40]!r}; {hint}")


def _squash(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
