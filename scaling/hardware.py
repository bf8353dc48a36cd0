"""Accelerators: dense peak, memory, power, and an assumed price, each with its source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

from scaling.errors import PlanError

READ_ON = "2026-11"  # when the figures were read


@dataclass(frozen=True)
class Accelerator:
    """One accelerator.

    bf16, fp8 : dense peak [FLOP/s] (figures "with sparsity" are twice these); None where it has no such unit.
    memory [bytes], bandwidth [bytes/s], power [W] of the board at most; None where not known.
    usd_per_hour : an assumption for rental as of `checked`, not a quotation: give your own; None where there is none.
    usd_range : the same from reserved or spot to on demand at a large cloud. Both rest on no contract.
    status : how well the figures are attested, in the words of scaling.laws.published.STATUSES.
    matmul_share : best measured rate of large bf16 matrix products over the peak, a ceiling for any MFU.
    """

    key: str
    title: str
    bf16: float
    fp8: float | None
    memory: float
    bandwidth: float
    power: float | None
    usd_per_hour: float | None
    source: str
    status: str
    note: str = ""
    usd_range: tuple[float, float] | None = None
    matmul_share: float | None = None
    checked: str = READ_ON


_ALL = (
    Accelerator("V100-SXM2-32GB", "NVIDIA V100 SXM2 32 GB", bf16=125e12, fp8=None, memory=32e9, bandwidth=0.9e12, power=300, usd_per_hour=0.8, source="published runs and data sheets (NVIDIA V100 data sheet: 125 TFLOP/s, 300 W); memory and bandwidth from memory", status="secondary1", note="fp16 tensor cores; no bf16", usd_range=(0.3, 3.0)),
    Accelerator("A100-SXM-40GB", "NVIDIA A100 SXM 40 GB", bf16=312e12, fp8=None, memory=40e9, bandwidth=1.555e12, power=400, usd_per_hour=1.3, source="stas00/ml-engineering accelerator tables (Aug 2026), published runs and data sheets; bandwidth from memory", status="secondary", usd_range=(0.8, 3.7)),
    Accelerator("A100-SXM-80GB", "NVIDIA A100 SXM 80 GB", bf16=312e12, fp8=None, memory=80e9, bandwidth=2e12, power=400, usd_per_hour=1.6, source="stas00/ml-engineering accelerator tables (Aug 2026), pytorch/torchtitan peak table (Aug 2026), published runs and data sheets", status="secondary", usd_range=(1.0, 4.0), matmul_share=0.869),
    Accelerator("A100-PCIe-80GB", "NVIDIA A100 PCIe 80 GB", bf16=312e12, fp8=None, memory=80e9, bandwidth=1.94e12, power=300, usd_per_hour=None, source="stas00/ml-engineering accelerator tables (Aug 2026)", status="secondary1"),
    Accelerator("H100-SXM", "NVIDIA H100 SXM", bf16=989e12, fp8=1979e12, memory=80e9, bandwidth=3.35e12, power=700, usd_per_hour=2.5, source="stas00/ml-engineering accelerator tables (Aug 2026), pytorch/torchtitan peak table (Aug 2026), published runs and data sheets", status="secondary", usd_range=(1.8, 6.0), matmul_share=0.803),
    Accelerator("H100-PCIe", "NVIDIA H100 PCIe", bf16=756e12, fp8=1513e12, memory=80e9, bandwidth=2e12, power=350, usd_per_hour=2.2, source="stas00/ml-engineering accelerator tables (Aug 2026), pytorch/torchtitan peak table (Aug 2026); power from memory", status="secondary", usd_range=(1.6, 4.0)),
    Accelerator("H100-NVL", "NVIDIA H100 NVL", bf16=835e12, fp8=None, memory=94e9, bandwidth=3.9e12, power=400, usd_per_hour=None, source="pytorch/torchtitan peak table (Aug 2026), stas00/ml-engineering accelerator tables (Aug 2026); bandwidth from memory", status="secondary1"),
    Accelerator("H800-SXM", "NVIDIA H800 SXM", bf16=989e12, fp8=1979e12, memory=80e9, bandwidth=3.35e12, power=700, usd_per_hour=None, source="from memory (H100 compute, reduced NVLink)", status="unverified"),
    Accelerator("H20", "NVIDIA H20", bf16=148e12, fp8=296e12, memory=96e9, bandwidth=4e12, power=400, usd_per_hour=None, source="pytorch/torchtitan peak table (Aug 2026) (bf16); rest from memory", status="secondary1"),
    Accelerator("H200-SXM", "NVIDIA H200 SXM", bf16=989e12, fp8=1979e12, memory=141e9, bandwidth=4.8e12, power=700, usd_per_hour=3.2, source="stas00/ml-engineering accelerator tables (Aug 2026), pytorch/torchtitan peak table (Aug 2026)", status="secondary", usd_range=(2.2, 7.0)),
    Accelerator("GH200", "NVIDIA GH200", bf16=989e12, fp8=1979e12, memory=96e9, bandwidth=4e12, power=700, usd_per_hour=None, source="stas00/ml-engineering accelerator tables (Aug 2026); power from memory", status="secondary1", note="up to 900-1000 W for the superchip"),
    Accelerator("B200-SXM", "NVIDIA B200 SXM", bf16=2250e12, fp8=4500e12, memory=180e9, bandwidth=8e12, power=1000, usd_per_hour=4.5, source="stas00/ml-engineering accelerator tables (Aug 2026), pytorch/torchtitan peak table (Aug 2026)", status="secondary", usd_range=(3.0, 9.0), matmul_share=0.776),
    Accelerator("GB200", "NVIDIA GB200 (per GPU)", bf16=2500e12, fp8=5000e12, memory=186e9, bandwidth=8e12, power=1200, usd_per_hour=5.5, source="stas00/ml-engineering accelerator tables (Aug 2026), pytorch/torchtitan peak table (Aug 2026)", status="secondary", note="counts are per one of the two GPUs of the superchip", usd_range=(3.5, 11.0), matmul_share=0.729),
    Accelerator("B300-SXM", "NVIDIA B300 SXM", bf16=2250e12, fp8=4500e12, memory=288e9, bandwidth=8e12, power=1000, usd_per_hour=None, source="stas00/ml-engineering accelerator tables (Aug 2026)", status="secondary1", note="DGX B300 power-capping guide; 1100-1400 W is quoted for other integrations", matmul_share=0.786),
    Accelerator("GB300", "NVIDIA GB300 (per GPU)", bf16=2500e12, fp8=5000e12, memory=288e9, bandwidth=8e12, power=1400, usd_per_hour=None, source="stas00/ml-engineering accelerator tables (Aug 2026); memory from memory", status="secondary1", note="counts are per one GPU"),
    Accelerator("MI250X", "AMD MI250X (per package)", bf16=383e12, fp8=None, memory=128e9, bandwidth=3.28e12, power=560, usd_per_hour=None, source="stas00/ml-engineering accelerator tables (Aug 2026); pytorch/torchtitan peak table (Aug 2026) lists 191.5e12 per die", status="secondary", note="500 W TDP, 560 W peak board"),
    Accelerator("MI300X", "AMD MI300X", bf16=1307e12, fp8=2615e12, memory=192e9, bandwidth=5.3e12, power=750, usd_per_hour=2.2, source="stas00/ml-engineering accelerator tables (Aug 2026) (1300/2610 in its table, 1307 computed), pytorch/torchtitan peak table (Aug 2026)", status="secondary", usd_range=(1.5, 6.0), matmul_share=0.514),
    Accelerator("MI325X", "AMD MI325X", bf16=1307e12, fp8=2615e12, memory=256e9, bandwidth=6e12, power=1000, usd_per_hour=None, source="stas00/ml-engineering accelerator tables (Aug 2026)", status="secondary", matmul_share=0.604),
    Accelerator("MI355X", "AMD MI355X", bf16=2500e12, fp8=5000e12, memory=288e9, bandwidth=8e12, power=1400, usd_per_hour=None, source="stas00/ml-engineering accelerator tables (Aug 2026), pytorch/torchtitan peak table (Aug 2026)", status="secondary", matmul_share=0.68),
    Accelerator("TPU-v3", "Google TPU v3", bf16=123e12, fp8=None, memory=32e9, bandwidth=0.9e12, power=450, usd_per_hour=None, source="published runs and data sheets (Patterson et al. 2021 table 4: 123 TFLOP/s, 450 W); jax-ml/scaling-book gives 140e12", status="secondary"),
    Accelerator("TPU-v4", "Google TPU v4", bf16=275e12, fp8=None, memory=32e9, bandwidth=1.2e12, power=None, usd_per_hour=2.2, source="stas00/ml-engineering accelerator tables (Aug 2026), jax-ml/scaling-book, pytorch/torchtitan peak table (Aug 2026), PaLM App. B", status="secondary", note="no official TDP; PaLM reports 378.5 W measured system power per chip", usd_range=(1.4, 3.3)),
    Accelerator("TPU-v5e", "Google TPU v5e", bf16=197e12, fp8=None, memory=16e9, bandwidth=0.81e12, power=None, usd_per_hour=0.8, source="stas00/ml-engineering accelerator tables (Aug 2026), jax-ml/scaling-book, pytorch/torchtitan peak table (Aug 2026)", status="secondary", usd_range=(0.5, 1.2)),
    Accelerator("TPU-v5p", "Google TPU v5p", bf16=459e12, fp8=None, memory=95e9, bandwidth=2.76e12, power=None, usd_per_hour=2.9, source="stas00/ml-engineering accelerator tables (Aug 2026), jax-ml/scaling-book, pytorch/torchtitan peak table (Aug 2026)", status="secondary", usd_range=(1.9, 4.2)),
    Accelerator("TPU-v6e", "Google TPU v6e", bf16=918e12, fp8=None, memory=32e9, bandwidth=1.6e12, power=None, usd_per_hour=1.9, source="stas00/ml-engineering accelerator tables (Aug 2026), jax-ml/scaling-book, pytorch/torchtitan peak table (Aug 2026)", status="secondary", usd_range=(1.2, 2.7)),
    Accelerator("TPU-v7", "Google TPU v7", bf16=2307e12, fp8=4614e12, memory=192e9, bandwidth=7.37e12, power=None, usd_per_hour=None, source="stas00/ml-engineering accelerator tables (Aug 2026), pytorch/torchtitan peak table (Aug 2026); memory and bandwidth from several public transcriptions (launch text says 7.2e12)", status="secondary"),
    Accelerator("Trainium2", "AWS Trainium2", bf16=667e12, fp8=1299e12, memory=96e9, bandwidth=2.9e12, power=None, usd_per_hour=None, source="stas00/ml-engineering accelerator tables (Aug 2026)", status="secondary1"),
)  # fmt: skip
ACCELERATORS: dict[str, Accelerator] = {a.key: a for a in _ALL}
#: what people say for the usual variant
_USUAL = {
    "a100": "A100-SXM-80GB", "h100": "H100-SXM", "h10080gb": "H100-SXM", "h200": "H200-SXM", "h200141gb": "H200-SXM",
    "b200": "B200-SXM", "b300": "B300-SXM", "h800": "H800-SXM", "v100": "V100-SXM2-32GB", "trn2": "Trainium2",
    "v5litepod": "TPU-v5e", "ironwood": "TPU-v7", "trillium": "TPU-v6e",
}  # fmt: skip


def accelerator(name: str) -> Accelerator:
    """The accelerator of that name, however it is written: 'H100', 'h100-sxm5', 'A100 40GB', 'TPU v5p'.

    A name that fits several variants means the one on the large boards (SXM, 80 GB). PlanError when there is none.
    """
    wanted = _squash(name)
    known = {_squash(key): a for key, a in ACCELERATORS.items()} | {k: ACCELERATORS[v] for k, v in _USUAL.items()}
    if wanted in known:
        return known[wanted]
    words = [_squash(w) for w in re.split(r"[^0-9A-Za-z]+", name) if _squash(w)]
    fitting = [
        a for key, a in ACCELERATORS.items() if words and all(w in _squash(key) for w in words) and len(wanted) >= 4
    ]
    if len(fitting) > 1:
        fitting = [a for a in fitting if a.key in _USUAL.values()] or fitting
    if len(fitting) == 1:
        return fitting[0]
    near = [a.key for a in fitting] or [known[k].key for k in get_close_matches(wanted, known, n=2, cutoff=0.6)]
    hint = f"did you mean {' or '.join(dict.fromkeys(near))}?" if near else f"there are: {', '.join(ACCELERATORS)}."
    raise PlanError(f"no accelerator is called {name[:40]!r}; {hint}")


def _squash(name: str) -> str:
    bare = "".join(c for c in re.sub(r"sxm\d\b", "sxm", name.lower()) if c.isalnum())
    for maker in ("nvidia", "amd", "google", "aws", "instinct", "tesla"):
        bare = bare.removeprefix(maker)
    return bare
