"""What known models were trained with: size, tokens, FLOPs, accelerators and hours, as their authors print them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.compute import DENSE, mfu
from scaling.errors import PlanError
from scaling.hardware import accelerator as find_accelerator

if TYPE_CHECKING:
    import pandas as pd

HOUR = 3600.0


@dataclass(frozen=True)
class KnownRun:
    """A training run somebody published.

    n_active : parameters a token uses, for a mixture of experts; None for a dense model.
    flops_reported : as printed, under the authors' own accounting. gpu_hours : of `accelerator`, downtime included.
    mfu : (low, high) model FLOPs utilisation that is stated for the run.
    grade : A explicit in the authors' paper or model card; B bounded, rounded or partly assumed.
    status : how well the numbers are attested, a key of scaling.laws.published.STATUSES.
    """

    name: str
    n_params: float
    n_tokens: float
    source: str
    status: str
    grade: str
    n_active: float | None = None
    flops_reported: float | None = None
    accelerator: str | None = None
    count: int | None = None
    gpu_hours: float | None = None
    mfu: tuple[float, float] | None = None
    note: str = ""

    @property
    def flops(self) -> float:
        """Training FLOPs, 6 N D with the active parameters."""
        return float(DENSE.flops(self.n_params if self.n_active is None else self.n_active, self.n_tokens))

    @property
    def tokens_per_param(self) -> float:
        return self.n_tokens / self.n_params

    @property
    def utilisation(self) -> float | None:
        """6 N D over gpu_hours at the dense bf16 peak, end to end; None without hours. Below the stated MFU: runs stop."""
        if self.gpu_hours is None or self.accelerator is None:
            return None
        return float(mfu(1 / (self.gpu_hours * HOUR), self.flops, 1, find_accelerator(self.accelerator).bf16))

    def hours_at(self, share: float) -> float | None:
        """Accelerator hours that the run takes at a share of the dense bf16 peak; None without an accelerator."""
        if not 0 < share <= 1:
            raise PlanError(f"a share of the peak lies in (0, 1], not {share}.")
        return (
            None if self.accelerator is None else self.flops / (find_accelerator(self.accelerator).bf16 * share * HOUR)
        )

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        derived = {"flops": self.flops, "tokens_per_param": self.tokens_per_param, "utilisation": self.utilisation}
        return asdict(self) | derived | {"mfu": None if self.mfu is None else list(self.mfu)}

    def __str__(self) -> str:
        hours = "" if self.gpu_hours is None else f", {self.gpu_hours:.3g} {self.accelerator} hours"
        active = "" if self.n_active is None else f" ({self.n_active:.3g} active)"
        return f"{self.name}: {self.n_params:.4g} parameters{active} on {self.n_tokens:.4g} tokens, {self.flops:.3g} FLOPs{hours}"


_ALL = (
    KnownRun("GPT-3 175B", 1.746e11, 3e11, source="arXiv:2005.14165 App. D; chip-hours not published; MFU: PaLM arXiv:2204.02311 table 3", status="secondary", grade="B", flops_reported=3.14e23, accelerator="V100-SXM2-32GB", mfu=(0.213, 0.213)),
    KnownRun("Gopher 280B", 2.8e11, 3e11, source="arXiv:2112.11446 table 1, A27; FLOPs as read by Epoch; MFU: PaLM table 3", status="secondary", grade="A", flops_reported=6.31e23, accelerator="TPU-v3", count=4096, gpu_hours=3.768e6, mfu=(0.325, 0.325), note="Hoffmann et al. print 5.76e23 FLOPs for it"),
    KnownRun("Chinchilla 70B", 7e10, 1.4e12, source="arXiv:2203.15556 (same budget as Gopher); no chip-hours published", status="secondary", grade="B", flops_reported=5.76e23),
    KnownRun("Megatron-Turing NLG 530B", 5.3e11, 2.7e11, source="arXiv:2201.11990; MFU: PaLM table 3", status="secondary", grade="A", accelerator="A100-SXM-80GB", count=2240, gpu_hours=2.568e6, mfu=(0.302, 0.302), note="hours from the printed 60.1 s for each step of 3932160 tokens, without downtime"),
    KnownRun("PaLM 540B", 5.4035e11, 7.8e11, source="arXiv:2204.02311 App. B; MFU: PaLM sec. 4.1", status="primary", grade="A", flops_reported=2.527e24, accelerator="TPU-v4", count=6144, gpu_hours=8.405e6, mfu=(0.462, 0.462)),
    KnownRun("OPT 175B", 1.746e11, 1.8e11, source="arXiv:2205.01068 and Epoch; chip-hours as assumed in the LLaMA paper; tokens are the corpus size, about 300e9 seen", status="secondary1", grade="B", flops_reported=4.3e23, accelerator="A100-SXM-80GB", count=992, gpu_hours=8.09e5),
    KnownRun("BLOOM 176B", 1.76247e11, 3.66e11, source="arXiv:2211.05100, arXiv:2211.02001; throughput: notes of the BigScience workshop", status="secondary", grade="A", accelerator="A100-SXM-80GB", count=384, gpu_hours=1.08299e6, mfu=(0.36, 0.375), note="150 to 156 TFLOP/s with activations recomputed, of which 3/4 count"),
    KnownRun("GLM-130B", 1.3e11, 4e11, source="arXiv:2210.02414 (60-day window, upper bound); MFU: arXiv:2210.02414", status="secondary1", grade="B", accelerator="A100-SXM-40GB", count=768, gpu_hours=1.106e6, mfu=(0.325, 0.325)),
    KnownRun("LLaMA 7B", 6.7e9, 1e12, source="arXiv:2302.13971 table 2, 15", status="secondary", grade="A", accelerator="A100-SXM-80GB", gpu_hours=82432),
    KnownRun("LLaMA 13B", 1.3e10, 1e12, source="arXiv:2302.13971 table 2, 15", status="secondary", grade="A", accelerator="A100-SXM-80GB", gpu_hours=1.35168e5),
    KnownRun("LLaMA 33B", 3.25e10, 1.4e12, source="arXiv:2302.13971 table 2, 15", status="secondary", grade="A", accelerator="A100-SXM-80GB", gpu_hours=5.30432e5),
    KnownRun("LLaMA 65B", 6.52e10, 1.4e12, source="arXiv:2302.13971 table 2, 15, sec. 2.4", status="secondary", grade="A", accelerator="A100-SXM-80GB", count=2048, gpu_hours=1.022362e6, mfu=(0.476, 0.476), note="MFU from the printed 380 tokens/s for each accelerator"),
    KnownRun("Llama 2 7B", 6.738e9, 2e12, source="arXiv:2307.09288 table 1, 2", status="secondary", grade="A", accelerator="A100-SXM-80GB", gpu_hours=1.8432e5),
    KnownRun("Llama 2 13B", 1.302e10, 2e12, source="arXiv:2307.09288 table 1, 2", status="secondary", grade="A", accelerator="A100-SXM-80GB", gpu_hours=3.6864e5),
    KnownRun("Llama 2 70B", 6.898e10, 2e12, source="arXiv:2307.09288 table 1, 2", status="secondary", grade="A", accelerator="A100-SXM-80GB", gpu_hours=1.72032e6),
    KnownRun("Llama 3.1 8B", 8.03e9, 1.5e13, source="Llama 3.1 model card (tokens '15T+')", status="secondary1", grade="B", accelerator="H100-SXM", gpu_hours=1.46e6),
    KnownRun("Llama 3.1 70B", 7.055e10, 1.5e13, source="Llama 3.1 model card (tokens '15T+')", status="secondary1", grade="B", accelerator="H100-SXM", gpu_hours=7e6),
    KnownRun("Llama 3.1 405B", 4.0585e11, 1.56e13, source="arXiv:2407.21783, model card; MFU: arXiv:2407.21783 table 4", status="secondary", grade="A", flops_reported=3.8e25, accelerator="H100-SXM", count=16384, gpu_hours=3.084e7, mfu=(0.38, 0.43)),
    KnownRun("Falcon 180B", 1.795e11, 3.5e12, source="arXiv:2311.16867 (tokens, chips), release blog (chip-hours, one digit)", status="secondary1", grade="B", accelerator="A100-SXM-40GB", count=4096, gpu_hours=7e6),
    KnownRun("MPT 7B", 6.7e9, 1e12, source="MosaicML blog (9.5 days)", status="secondary1", grade="A", accelerator="A100-SXM-40GB", count=440, gpu_hours=1.0032e5),
    KnownRun("BloombergGPT 50B", 5.06e10, 5.69e11, source="arXiv:2303.17564 table 4 (C counts recomputation)", status="secondary1", grade="A", flops_reported=2.36e23, accelerator="A100-SXM-40GB", count=512, gpu_hours=6.51264e5, mfu=(0.245, 0.245), note="102 TFLOP/s with activations recomputed, of which 3/4 count"),
    KnownRun("StarCoderBase 15.5B", 1.55e10, 1e12, source="arXiv:2305.06161", status="secondary1", grade="A", accelerator="A100-SXM-80GB", count=512, gpu_hours=3.20256e5),
    KnownRun("Pythia 12B", 1.1842e10, 2.99892736e11, source="arXiv:2304.01373 table 5", status="secondary1", grade="A", accelerator="A100-SXM-40GB", count=256, gpu_hours=72300),
    KnownRun("Nemotron-4 340B", 3.41e11, 9e12, source="Epoch (FLOPs, accelerators, MFU); tokens from memory", status="secondary1", grade="B", flops_reported=1.8e25, accelerator="H100-SXM", count=6144, mfu=(0.41, 0.41)),
    KnownRun("DeepSeek-V3", 6.71e11, 1.48e13, source="arXiv:2412.19437 table 1", status="secondary", grade="A", n_active=3.7e10, accelerator="H800-SXM", count=2048, gpu_hours=2.664e6, note="fp8 mixed; 2.788e6 accelerator hours with context extension and post-training"),
    KnownRun("OLMo 2 7B", 7.298e9, 4.05e12, source="arXiv:2501.00656 (energy table; chip-hours not published)", status="secondary1", grade="A", accelerator="H100-SXM", note="131 MWh of accelerator energy"),
    KnownRun("OLMo 2 13B", 1.372e10, 5.6e12, source="arXiv:2501.00656", status="secondary1", grade="A", accelerator="H100-SXM", note="257 MWh of accelerator energy"),
    KnownRun("SmolLM3 3B", 3.08e9, 1.12e13, source="release blog (24 days)", status="secondary1", grade="A", accelerator="H100-SXM", count=384, gpu_hours=2.21184e5),
    KnownRun("Qwen2.5 72B", 7.27e10, 1.8e13, source="Epoch AI, notable models", status="secondary1", grade="B", flops_reported=7.8e24),
)  # fmt: skip
KNOWN_RUNS: Mapping[str, KnownRun] = MappingProxyType({run.name: run for run in _ALL})


def beside_known(n_params: float, n_tokens: float, count: int | None = None) -> pd.DataFrame:
    """Known runs beside a planned one, the nearest in size and tokens first.

    Returns one row per run: name, n_params, n_active, n_tokens, tokens_per_param, flops, the planned run over each
    (params_ratio, tokens_ratio, flops_ratio), accelerator, gpu_hours, utilisation, mfu_low, mfu_high, source, status.
    n_params, where a mixture of experts is planned: its active parameters; they are set against those of others.
    Raises PlanError when a number is not positive and finite.
    """
    import pandas as pd

    for name, value in (("n_params", n_params), ("n_tokens", n_tokens)):
        if not (math.isfinite(value) and value > 0):
            raise PlanError(f"{name} must be a positive number, not {value}.")
    rows = []
    for run in _ALL:
        active = run.n_params if run.n_active is None else run.n_active
        low, high = run.mfu or (math.nan, math.nan)
        rows.append(
            {
                "name": run.name, "n_params": run.n_params, "n_active": active, "n_tokens": run.n_tokens,
                "tokens_per_param": run.tokens_per_param, "flops": run.flops, "params_ratio": n_params / active,
                "tokens_ratio": n_tokens / run.n_tokens, "flops_ratio": float(DENSE.flops(n_params, n_tokens)) / run.flops,
                "accelerator": run.accelerator, "gpu_hours": math.nan if run.gpu_hours is None else run.gpu_hours,
                "utilisation": math.nan if run.utilisation is None else run.utilisation, "mfu_low": low, "mfu_high": high,
                "source": run.source, "status": run.status,
            }
        )  # fmt: skip
    table = pd.DataFrame(rows)
    away = np.hypot(np.log(table["params_ratio"]), np.log(table["tokens_ratio"]))
    nearest = table.iloc[np.argsort(away.to_numpy(), kind="stable")].reset_index(drop=True)
    return nearest if count is None else nearest.head(count)
