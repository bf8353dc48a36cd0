"""Coefficients as published: what N counts, where they hold, and how well each number is attested.

One entry per fit. Values are unrounded wherever the authors give them: three printed digits of an exponent move an
optimum at 1e25 FLOPs by tens of percent. Fits of which only exponents were printed are not here: they predict nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

import numpy as np

from scaling.errors import LawError
from scaling.laws.annealing import ANNEALING
from scaling.laws.broken_power_law import broken_power_law
from scaling.laws.capacity import KNOWLEDGE_CAPACITY
from scaling.laws.chinchilla import CHINCHILLA
from scaling.laws.data_constrained import DATA_CONSTRAINED
from scaling.laws.distillation import DISTILLATION, SUPERVISED
from scaling.laws.downstream import ERROR_EXPONENTIAL
from scaling.laws.farseer import FARSEER
from scaling.laws.granularity import FINE_GRAINED_MOE
from scaling.laws.henighan import HENIGHAN_LAWS
from scaling.laws.kaplan import KAPLAN, KAPLAN_C, KAPLAN_CRITICAL_BATCH, KAPLAN_D, KAPLAN_N, KAPLAN_STEPS
from scaling.laws.law import Array, Inputs, Law
from scaling.laws.overtraining import OVERTRAINING
from scaling.laws.power_law import POWER_LAWS
from scaling.laws.precision import PRECISION_POST, PRECISION_TRAINING
from scaling.laws.rosenfeld import ROSENFELD
from scaling.laws.routed import JOINT_MOE, ROUTED
from scaling.laws.sparse_autoencoder import SAE_LATENTS
from scaling.laws.sparsity import SPARSE_MOE, WEIGHT_SPARSITY
from scaling.laws.transfer import TRANSFER
from scaling.laws.tuning import (
    ADAMW_TIMESCALE,
    CRITICAL_BATCH_D,
    CRITICAL_BATCH_N,
    DEEPSEEK_BATCH,
    DEEPSEEK_LR,
    OPTIMAL_D,
    OPTIMAL_N,
    STEP_LAW_BATCH,
    STEP_LAW_LR,
)
from scaling.laws.vocabulary import VOCABULARY

STATUSES = {
    "primary": "read in the paper's own text or the authors' code or data, or recomputed from them",
    "secondary": "two independent transcriptions of the paper agree, or one and a numerical check",
    "secondary1": "one transcription of the paper",
    "unverified": "at least one number from memory",
}
PF_DAY = 1e15 * 86400.0  # FLOPs; Kaplan et al. measure compute in it


@dataclass(frozen=True, eq=False)
class PublishedLaw:
    """A law with coefficients that someone published; usable wherever a fit is.

    theta : (P,) read-only, in the order of `law.coefs`.
    n_counts, d_counts : what N and D mean here; empty where the law has none.
    domain : {column: (low, high)} covered by the runs behind the fit, as far as known.
    status : a key of STATUSES, how well the numbers are attested.
    se, ci : printed standard errors and intervals by coefficient, or 'a' for the exponent of N_opt(C).
    """

    key: str
    law: Law
    theta: Array
    title: str
    source: str
    status: str
    n_counts: str = ""
    d_counts: str = ""
    domain: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    data: str = ""
    loss_unit: str = "nats/token"
    se: Mapping[str, float] = field(default_factory=dict)
    ci: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    ci_kind: str = ""
    notes: str = ""

    @property
    def coefs(self) -> dict[str, float]:
        """Coefficients by name."""
        return dict(zip(self.law.coef_names, self.theta.tolist(), strict=True))

    def predict(self, x: Inputs) -> Array:
        """The law's target at inputs x, each (n,) or (..., n)."""
        return self.law.predict({k: np.asarray(v, dtype=float) for k, v in x.items()}, self.theta)

    def __repr__(self) -> str:
        return f"PublishedLaw({self.key}: {self.law.equation})"


def _entry(
    key: str, law: Law, coefs: Mapping[str, float], title: str, source: str, status: str, **facts: Any
) -> PublishedLaw:
    theta = np.array([coefs[name] for name in law.coef_names], dtype=float)
    theta.flags.writeable = False
    for name in ("domain", "se", "ci"):
        facts[name] = MappingProxyType(dict(facts.get(name, {})))
    return PublishedLaw(key, law, theta, title, source, status, **facts)


# --- Kaplan et al. 2020 ------------------------------------------------------------------------------------------------

_KAPLAN: dict[str, Any] = {"n_counts": "non-embedding", "data": "WebText2, 50257-token BPE, context 1024"}
_KAPLAN_N = {"n_params": (768, 1.5e9)}
_KAPLAN_D = {"n_tokens": (2.2e7, 2.3e10)}
_UNIQUE = "unique tokens, training over several epochs and stopped early"


def _kaplan(
    suffix: str, law: Law, coefs: dict[str, float], what: str, where: str, status: str = "secondary", **facts: Any
) -> PublishedLaw:
    source = f"Kaplan et al. 2020, arXiv:2001.08361, {where}"
    return _entry(f"kaplan2020-{suffix}", law, coefs, f"Kaplan et al., {what}", source, status, **{**_KAPLAN, **facts})


_KAPLAN_SETS = (
    _kaplan("n", KAPLAN_N, {"N_c": 8.8e13, "alpha_N": 0.076}, "model size", "eq. 1.1", domain=_KAPLAN_N),
    _kaplan("d", KAPLAN_D, {"D_c": 5.4e13, "alpha_D": 0.095}, "data", "eq. 1.2", domain=_KAPLAN_D, n_counts="", d_counts=_UNIQUE),
    _kaplan("c", KAPLAN_C, {"C_c": 3.1e8 * PF_DAY, "alpha_C": 0.050}, "compute at a small batch", "eq. 1.3",
            notes="C is C_min: 6 N D without embeddings, corrected to a batch far below critical"),
    _kaplan("c-fixed-batch", KAPLAN_C, {"C_c": 1.6e7 * PF_DAY, "alpha_C": 0.057}, "compute at a batch of 5e5 tokens",
            "App. A, table 5", "unverified", notes="the exponent was read in one transcription, C_c is from memory"),
    _kaplan("nd", KAPLAN, {"N_c": 6.4e13, "D_c": 1.8e13, "alpha_N": 0.076, "alpha_D": 0.103}, "size and data", "eq. 1.5, table 2",
            domain=_KAPLAN_N | _KAPLAN_D, d_counts=f"{_UNIQUE}, 10 % dropout"),
    _kaplan("ns", KAPLAN_STEPS, {"N_c": 6.5e13, "S_c": 2.1e3, "alpha_N": 0.077, "alpha_S": 0.76}, "size and steps", "eq. 1.6, table 3",
            domain=_KAPLAN_N, notes="S is S_min: steps at a batch far above critical"),
    _kaplan("critical-batch", KAPLAN_CRITICAL_BATCH, {"B_star": 2.1e8, "alpha_B": 0.21}, "critical batch size",
            "eq. 1.4 (prints 2e8), App. A (2.1e8)", n_counts="", loss_unit="tokens"),
    _kaplan("optimal-n", OPTIMAL_N, {"k": 1.3e9 / PF_DAY**0.73, "a": 0.73}, "compute-optimal size", "App. A, table 6", loss_unit="parameters"),
    _kaplan("optimal-d", OPTIMAL_D, {"k": 2.0e10 / PF_DAY**0.27, "b": 0.27}, "compute-optimal data", "App. A, table 6",
            n_counts="", d_counts="tokens", loss_unit="tokens"),
)  # fmt: skip


# --- single scales: Hestness, Henighan, Rosenfeld, broken power law ----------------------------------------------------

_HENIGHAN_N, _, _HENIGHAN_C = HENIGHAN_LAWS
_POWER = {law.name: law for law in POWER_LAWS}
# modality: alpha, A = x0^alpha, L_inf; table 1, with A as compiled in the Epoch table of scaling laws
_HENIGHAN_BY_N = {
    "language": (0.070, 9.810, 0.0), "image-8x8": (0.24, 2.862, 3.12), "image-16x16": (0.22, 3.454, 2.64),
    "image-32x32": (0.13, 1.713, 2.20), "image-vq-16x16": (0.13, 3.767, 3.99), "image-vq-32x32": (0.14, 3.972, 3.07),
    "text-to-image-text": (0.037, 2.107, 0.0), "text-to-image-image": (0.16, 3.919, 2.0),
    "image-to-text-text": (0.039, 2.212, 0.0), "image-to-text-image": (0.15, 3.639, 2.0), "video": (0.24, 12.48, 1.01),
    "math": (0.16, 4.432, 0.28),
}  # fmt: skip
_HENIGHAN_BY_C = {
    "language": (0.048, 23.27, 0.0), "image-8x8": (0.19, 207.2, 3.13), "image-16x16": (0.16, 87.59, 2.64),
    "image-32x32": (0.10, 14.10, 2.21), "image-vq-16x16": (0.11, 32.31, 4.09), "image-vq-32x32": (0.12, 52.74, 3.17),
    "text-to-image": (0.15, 130.8, 1.93), "image-to-text": (0.16, 181.1, 1.97), "video": (0.14, 137.7, 0.95),
    "math": (0.17, 366.4, 0.14),
}  # fmt: skip


def _henighan(letter: str, modality: str, alpha: float, A: float, L_inf: float) -> PublishedLaw:
    scaled = _HENIGHAN_N if letter == "n" else _HENIGHAN_C
    # without a floor the law is the bare power law: a coefficient of zero would sit on its bound
    law, coefs = (scaled, {"L_inf": L_inf, "x0": A ** (1 / alpha), "alpha": alpha}) if L_inf else (
        _POWER[f"power_{letter}"], {"A": A, "alpha": alpha})  # fmt: skip
    return _entry(
        f"henighan2020-{letter}-{modality}", law, coefs, f"Henighan et al., {modality.replace('-', ' ')} by {'model size' if letter == 'n' else 'compute'}",
        "Henighan et al. 2020, arXiv:2010.14701, table 1; amplitude as in Epoch's table of scaling laws", "secondary1",
        n_counts="non-embedding", data=modality.replace("-", " "), loss_unit="nats per element as in the paper",
    )  # fmt: skip


# data set: alpha, b, beta, c_inf, eta, eps0
_ROSENFELD_SETS = {
    "imagenet": (0.75, 0.76, 0.61, 3.63, 18.50, 1.0), "cifar10": (0.66, 5.87e-2, 0.53, 7.14e-14, 19.77, 1.0),
    "cifar100": (0.70, 0.15, 0.51, 0.71, 6.93, 1.0), "dtd": (0.40, 4.30e-5, 1.16, 1.27e-9, 0.85, 1.0),
    "aircraft": (1.10, 3.47e-3, 0.83, 5.16e-10, 1.13, 1.0), "ucf101": (0.93, 4.68e-2, 0.54, 1.16e-9, 2.98, 1.0),
    "ptb": (0.81, 0.15, 0.34, 5.00, 6.27, 6.10), "wikitext2": (1.01, 0.99, 0.22, 8.23, 10.38, 6.21),
    "wikitext103": (0.74, 0.33, 0.56, 9.04, 16.34, 6.60),
}  # fmt: skip
_SINGLE_SETS = (
    _entry(
        "hestness2017-word", _POWER["power_d"], {"A": 11.9, "alpha": 0.066}, "Hestness et al., word language model",
        "Hestness et al. 2017, arXiv:1712.00409", "secondary1", d_counts="training words", loss_unit="nats/word",
        data="Billion Word", notes="the other tasks of the paper have printed exponents only",
    ),
    *(_henighan("n", modality, *row) for modality, row in _HENIGHAN_BY_N.items()),
    *(_henighan("c", modality, *row) for modality, row in _HENIGHAN_BY_C.items()),
    *(
        _entry(
            f"rosenfeld2020-{name}", ROSENFELD, dict(zip(ROSENFELD.coef_names, row, strict=True)), f"Rosenfeld et al., {name}",
            "Rosenfeld et al. 2020, arXiv:1909.12673, table 2", "secondary", n_counts="share of the largest model of the sweep",
            d_counts="share of the full training set", domain={"n_params": (0.0, 1.0), "n_tokens": (0.0, 1.0)}, data=name,
            loss_unit="nats/token" if row[-1] > 1 else "top-1 error",
        )
        for name, row in _ROSENFELD_SETS.items()
    ),
    _entry(
        "caballero2022-addition", broken_power_law(1, "n_samples", x_range=(144, 928), name="bnsl1_n_samples"),
        {"a": 0.41388453071629455, "b": 2.2772722897737556, "c0": 0.055077348404973955, "c1": 5.662903816010331,
         "d1": 612.5836172918001, "f1": 0.059193036393742314},
        "Caballero et al., 4-digit addition", "Caballero et al. 2022, arXiv:2210.14891, fig. 4; the authors' repository", "primary",
        d_counts="training examples, in n_samples", domain={"n_samples": (144, 928)}, data="4-digit addition",
    ),
)  # fmt: skip


# --- size and data: the Chinchilla family ------------------------------------------------------------------------------

_HOFFMANN: dict[str, Any] = {
    "n_counts": "total", "d_counts": "tokens, one epoch", "data": "MassiveText, 32k SentencePiece",
    "domain": {"n_params": (4.4e7, 1.6e10), "n_tokens": (5e9, 5e11)},
    "ci": {"a": (0.454, 0.455)}, "ci_kind": "10th to 90th percentile of bootstraps; known to be far too narrow (besiroglu2024)",
}  # fmt: skip
_BESIROGLU: dict[str, Any] = {
    "n_counts": "total, as plotted by Hoffmann et al.", "d_counts": "C / (6 N), one epoch",
    "domain": {"n_params": (4.4e7, 1.6e10), "flops": (6e18, 3e21)},
    "data": "240 of the 245 points read off Hoffmann et al., fig. 4 (without the five highest losses)",
}  # fmt: skip


def _chinchilla(E: float, A: float, B: float, alpha: float, beta: float) -> dict[str, float]:
    return {"E": E, "A": A, "B": B, "alpha": alpha, "beta": beta}


def _from_logs(e: float, a: float, b: float, alpha: float, beta: float) -> dict[str, float]:
    """Coefficients from the logarithms that approach 3 fits."""
    return _chinchilla(float(np.exp(e)), float(np.exp(a)), float(np.exp(b)), alpha, beta)


_MUENNIGHOFF = _from_logs(
    0.6254804, 6.255414, 7.3049974, 0.3526596, 0.3526596
)  # as the authors' repository prints them
_SARDANA_SETS = {
    "100": _chinchilla(0.17, 7.199, 25.97, 0.08, 0.13), "250": _chinchilla(0.98, 14.23, 39.54, 0.13, 0.16),
    "500": _chinchilla(0.95, 17.07, 35.80, 0.13, 0.16), "all": _chinchilla(1.45, 33.66, 138.9, 0.18, 0.24),
}  # fmt: skip
_GADRE_SETS = {  # corpus: E, a, b, eta
    "c4": (1.508, 141.3, 189.5, 0.1212), "redpajama": (1.837, 212.2, 366.7, 0.1364), "refinedweb": (1.734, 157.1, 246.2, 0.1272),
}  # fmt: skip
_GADRE_ERRORS = {  # corpus and tasks: eps, k, gamma
    "c4-error17": (0.8497, 2.079, 0.7561), "redpajama-error17": (0.8570, 2.206, 0.7146),
    "refinedweb-error17": (0.8653, 2.215, 0.7070), "c4-error46": (0.7589, 1.289, 0.9722),
    "refinedweb-error46": (0.7677, 1.128, 0.8215),
}  # fmt: skip
_GADRE = "Gadre et al. 2024, arXiv:2403.08540; refitted with the authors' code and data"
_CZECH = "Czech 2026, arXiv:2603.22339; Open-Athena/scaling-law-analysis"
_SIZE_AND_DATA_SETS = (
    _entry(
        "hoffmann2022-3", CHINCHILLA, _chinchilla(1.69337369, 406.401018, 410.722827, 0.33917084, 0.2849083),
        "Hoffmann et al., approach 3, unrounded", "Hoffmann et al. 2022, arXiv:2203.15556, comments in its TeX source", "primary", **_HOFFMANN,
    ),
    _entry(
        "hoffmann2022-3-printed", CHINCHILLA, _chinchilla(1.69, 406.4, 410.7, 0.34, 0.28), "Hoffmann et al., approach 3, as printed",
        "Hoffmann et al. 2022, arXiv:2203.15556, eq. 10", "primary", **_HOFFMANN,
        notes="rounded: do not plan with it, use hoffmann2022-3 or besiroglu2024",
    ),
    _entry(
        "besiroglu2024", CHINCHILLA,
        _from_logs(0.5971119597824348, 6.177955975826981, 7.6427323622433505, 0.34781302903942635, 0.3658541172951044),
        "Besiroglu et al., Chinchilla replicated", "Besiroglu et al. 2024, arXiv:2404.10102, table 1; the authors' notebook", "primary", **_BESIROGLU,
        se={"E": 0.02566, "A": 124.52, "B": 1293.28, "alpha": 0.01540, "beta": 0.02060, "a": 0.020},
        ci={"E": (1.769, 1.871), "A": (285.2, 743.6), "B": (1042.4, 5810.3), "alpha": (0.317, 0.373), "beta": (0.331, 0.415)},
        ci_kind="2.5 to 97.5 percentile of 4000 bootstraps; se = bootstrap standard error",
        notes="maximises a Huber likelihood with a free scale; besiroglu2024-huber minimises Hoffmann's own objective on the same points",
    ),
    _entry(
        "besiroglu2024-huber", CHINCHILLA, _chinchilla(1.8172181, 477.8259, 2143.4173, 0.3473105, 0.3671724),
        "Chinchilla replicated, Hoffmann's objective", "recomputed from the data of Besiroglu et al. 2024, arXiv:2404.10102; their notebook prints the same optimum",
        "primary", **_BESIROGLU,
    ),
    _entry(
        "besiroglu2024-all245", CHINCHILLA, _chinchilla(1.89, 463.3, 12530.0, 0.345, 0.452), "Besiroglu et al., no point left out",
        "Besiroglu et al. 2024, arXiv:2404.10102, table 3", "secondary1",
        **{**_BESIROGLU, "data": "all 245 points read off Hoffmann et al., fig. 4"},
        se={"E": 0.044, "A": 145.0, "B": 61650.0, "alpha": 0.018, "beta": 0.054, "a": 0.032},
    ),
    _entry(
        "muennighoff2023-base", CHINCHILLA, _MUENNIGHOFF, "Muennighoff et al., single epoch",
        "Muennighoff et al. 2023, arXiv:2305.16264, App. B; huggingface/datablations", "primary", n_counts="total",
        d_counts="tokens, one epoch", data="C4, 54 runs, GPT-2 tokenizer", domain={"n_params": (7e6, 9e9)},
    ),
    _entry(
        "muennighoff2023", DATA_CONSTRAINED, _MUENNIGHOFF | {"Rd": 15.387756, "Rn": 5.309743}, "Muennighoff et al., repeated data",
        "Muennighoff et al. 2023, arXiv:2305.16264, eqs. 5, 6, 16, 17; huggingface/datablations", "primary", n_counts="total",
        d_counts="tokens seen; n_unique_tokens are those available", data="C4 and OSCAR, 182 runs for Rd and Rn",
        domain={"n_params": (7e6, 9e9), "epochs": (1, 500)},
    ),
    *(
        _entry(
            f"sardana2023-{limit}", CHINCHILLA, coefs, f"Sardana et al., {'all runs' if limit == 'all' else f'up to {limit} tokens per parameter'}",
            "Sardana et al. 2023, arXiv:2401.00448, table 1", "secondary1", n_counts="total", d_counts="tokens, one epoch",
            data="47 runs, MPT architecture",
            domain={"n_params": (1.5e8, 6e9), "tokens_per_param": (10, 1e4 if limit == "all" else float(limit))},
        )
        for limit, coefs in _SARDANA_SETS.items()
    ),
    *(
        _entry(
            f"gadre2024-{corpus}", OVERTRAINING, dict(zip(("E", "a", "b", "eta"), row, strict=True)), f"Gadre et al., over-training on {corpus}",
            _GADRE, "primary", n_counts="total", d_counts="tokens, one epoch", data=f"{corpus}, GPT-NeoX tokenizer",
            loss_unit="nats/token on C4 validation", domain={"n_params": (1.1e7, 4.11e8), "tokens_per_param": (5, 640)},
        )
        for corpus, row in _GADRE_SETS.items()
    ),
    *(
        _entry(
            f"gadre2024-{name}", ERROR_EXPONENTIAL, dict(zip(("eps", "k", "gamma"), row, strict=True)),
            f"Gadre et al., mean error of {name[-2:]} tasks from loss, {name.split('-')[0]}", _GADRE, "primary",
            data=f"{name.split('-')[0]}, top-1 error against C4 validation loss", loss_unit="mean top-1 error; the loss in nats/token on C4 validation",
        )
        for name, row in _GADRE_ERRORS.items()
    ),
    _entry(
        "czech2026-llama3", CHINCHILLA, _chinchilla(0.6047, 59.1, 155.1, 0.3100, 0.3136), "Llama 3's isoFLOP points, refitted", _CZECH, "primary",
        data="Llama 3 isoFLOP points read off the figure", loss_unit="as plotted by Llama 3", n_counts="as plotted by Llama 3", d_counts="tokens",
    ),
    _entry(
        "czech2026-soda", CHINCHILLA, _chinchilla(3.169, 215886.0, 4750.0, 0.684, 0.439), "SODA, audio and text",
        f"{_CZECH}, quoting arXiv:2602.16687", "secondary1", d_counts="tokens",
    ),
    _entry(
        "czech2026-multimodal", CHINCHILLA, _chinchilla(2.158, 381773.0, 4659.0, 0.710, 0.372), "Sparse native multimodal models",
        f"{_CZECH}, quoting arXiv:2504.07951", "secondary1", d_counts="tokens",
    ),
    _entry(
        "krajewski2024-dense", CHINCHILLA, _chinchilla(0.47, 16.3, 26.7, 0.126, 0.127), "Krajewski et al., dense baseline",
        "Krajewski et al. 2024, arXiv:2402.07871, table 1", "primary", n_counts="non-embedding", d_counts="tokens", data="C4",
        domain={"n_tokens": (1.6e10, 1.3e11)},
    ),
    _entry(
        "busbridge2025-supervised", SUPERVISED, {"E": 1.220, "A": 3355.0, "B": 18186.0, "alpha": 0.408, "beta": 0.431, "gamma": 0.452},
        "Busbridge et al., supervised", "Busbridge et al. 2025, arXiv:2502.08606, eq. 1, App. F, table 6", "primary", n_counts="non-embedding",
        d_counts="tokens", data="C4, vocabulary 32168, muP, 73 runs", domain={"n_params": (1.43e8, 1.26e10)},
        ci={"E": (1.190, 1.247), "A": (3346.0, 3360.0), "B": (18157.0, 18236.0), "alpha": (0.405, 0.411), "beta": (0.428, 0.433), "gamma": (0.442, 0.461)},
        ci_kind="90 %, 4096 bootstraps", notes="the domain of N is from memory",
    ),
    _entry(
        "busbridge2025-student", DISTILLATION,
        {"A": 2243.0, "B": 24181.0, "alpha": 0.321, "beta": 0.637, "gamma": 0.764, "c0": 2.549, "c1": 522.6, "f1": 0.090, "d1": 1.315},
        "Busbridge et al., distilled student", "Busbridge et al. 2025, arXiv:2502.08606, eq. 8, App. F, table 6", "primary",
        n_counts="non-embedding, of the student", d_counts="tokens of the teacher's logits", data="C4, vocabulary 32168, muP, 697 runs",
        domain={"n_params": (1.43e8, 1.26e10)},
        ci={"A": (2227.0, 2255.0), "B": (24084.0, 24266.0), "alpha": (0.319, 0.324), "beta": (0.634, 0.640), "gamma": (0.732, 0.788),
            "c0": (2.425, 2.615), "f1": (0.088, 0.093), "d1": (1.302, 1.327)},
        ci_kind="90 %, 4096 bootstraps", notes="supervised_loss comes from busbridge2025-supervised; the domain of N is from memory",
    ),
    _entry(
        "farseer2025", FARSEER,
        {"a1": -0.124, "alpha": 0.123, "b1": 0.424, "a2": 88.01, "beta": -0.1, "b2": -6.287, "a3": -0.021, "gamma": 0.169, "b3": -0.091},
        "Farseer", "Li et al. 2025, arXiv:2506.10972, eq. 15", "primary", n_counts="non-embedding", d_counts="tokens",
        loss_unit="bits per character", domain={"n_params": (2.01e8, 6.4e9)},
        notes="printed to 3 digits; the lower end of the domain is from memory; the authors predict a 25.1B model to 0.5 %",
    ),
)  # fmt: skip


# --- experts, sparsity, precision, vocabulary --------------------------------------------------------------------------

_CLARK = "Clark et al. 2022, arXiv:2202.01169, table 3"
_CLARK_SETS = {
    "s-base": (-0.082, -0.108, 0.009, 1.104, 1.847, 314.478), "rl-r": (-0.083, -0.126, 0.012, 1.111, 1.880, 469.982),
    "hash": (-0.087, -0.136, 0.012, 1.157, 4.175, 477.741),
}  # fmt: skip
_KUMAR = {"A": 4.299e3, "alpha": 0.4965, "B": 1.806e4, "beta": 0.4965, "E": 2.7648}
_KUMAR_FACTS: dict[str, Any] = {
    "n_counts": "non-embedding", "d_counts": "tokens", "data": "Dolma, OLMo architecture, integer quantisation",
    "notes": "alpha tied to beta; additive offsets of the fitted exponentials are left out, as in the main formula; "
    "the authors expect the constants not to transfer",
}  # fmt: skip
_VARIANT_SETS = (
    *(
        _entry(
            f"clark2022-{name}", ROUTED, dict(zip(ROUTED.coef_names, row, strict=True)), f"Clark et al., {name} routing", _CLARK, "secondary",
            n_counts="used per token", d_counts="130e9 tokens throughout", data="MassiveText, routing in every second block, one expert per token",
            domain={"n_params": (1.5e7, 1.3e9), "n_experts": (1, 512)},
        )
        for name, row in _CLARK_SETS.items()
    ),
    _entry(
        "clark2022-dense", KAPLAN_N, {"N_c": 3.568e13, "alpha_N": 0.078}, "Clark et al., dense baseline", _CLARK, "secondary",
        n_counts="used per token", d_counts="130e9 tokens throughout", data="MassiveText", domain={"n_params": (1.5e7, 1.3e9)},
    ),
    _entry(
        "krajewski2024", FINE_GRAINED_MOE, {"c": 0.47, "g": 2.1, "gamma": 0.58, "a": 18.1, "alpha": 0.115, "b": 30.8, "beta": 0.147},
        "Krajewski et al., fine-grained experts", "Krajewski et al. 2024, arXiv:2402.07871, eq. 9, table 1", "primary",
        n_counts="total non-embedding (not active), expansion rate 64", d_counts="tokens", data="C4",
        domain={"n_params": (1.29e8, 3.7e9), "n_tokens": (1.6e10, 1.3e11), "granularity": (1, 16)},
    ),
    _entry(
        "ludziejewski2025", JOINT_MOE,
        {"a": 35.91, "alpha": -0.1889, "delta": -0.2285, "gamma": 0.0098, "b": 35.98, "beta": -0.1775, "omega": 0.5529, "zeta": -0.0259,
         "E_start": 2.0732, "E_max": 290.4521, "c": 1.3637},
        "Ludziejewski et al., size, data and experts", "Ludziejewski et al. 2025, arXiv:2502.05172, App. B, table 3", "primary",
        n_counts="active non-embedding", d_counts="tokens", domain={"n_experts": (1, 32)},
    ),
    _entry(
        "abnar2025", SPARSE_MOE,
        {"a": 16612.50, "alpha": 0.5962, "b": 5455.67, "beta": 0.3954, "c": 0.4598, "lam": -0.1666, "d": 17.26, "delta": 0.1603,
         "gamma": 0.1595, "e": 0.94},
        "Abnar et al., sparsity of experts", "Abnar et al. 2025, arXiv:2501.12370, eq. 6, table 3", "secondary", n_counts="total",
        d_counts="tokens", notes="held-out R2 at a sparsity of 0.98 is 68 % by the authors",
    ),
    *(
        _entry(
            f"frantar2023-{name}", WEIGHT_SPARSITY, dict(zip(WEIGHT_SPARSITY.coef_names, row, strict=True)), f"Frantar et al., {what}",
            "Frantar et al. 2023, arXiv:2309.08520", "secondary1", n_counts="non-zero", d_counts=counts, data=what,
        )
        for name, what, counts, row in (
            ("vit", "ViT on JFT-4B", "images", (2.94e2, 0.821, 4.68e2, 0.392, 2.37e8, 0.890, 4.517)),
            ("t5", "T5 on C4", "tokens", (1.68e1, 0.722, 4.50e1, 0.245, 6.90e8, 0.203, 0.651)),
        )
    ),
    _entry(
        "kumar2024", PRECISION_TRAINING, _KUMAR | {"gamma_w": 2.6745, "gamma_a": 2.2102, "gamma_kv": 0.9578}, "Kumar et al., training in few bits",
        "Kumar et al. 2024, arXiv:2411.04330, App. K, table 2", "primary", **_KUMAR_FACTS,
        domain={"n_params": (3e7, 1.7e9), "n_tokens": (1.5e9, 2.6e10), **{f"bits_{b}": (3, 16) for b in ("weights", "activations", "kv_cache")}},
    ),
    _entry(
        "kumar2024-post", PRECISION_POST, _KUMAR | {"C_T": 0.0598, "gamma_D": 0.5068, "gamma_N": 0.3439, "gamma_post": 0.5907},
        "Kumar et al., quantised after training", "Kumar et al. 2024, arXiv:2411.04330, App. K, table 2", "primary", **_KUMAR_FACTS,
        domain={"n_params": (3e7, 1.7e9), "n_tokens": (1.5e9, 2.6e10), "bits_post": (3, 16)},
    ),
    _entry(
        "tao2024", VOCABULARY,
        {"E": 5.5327846803337435, "A1": 1.8313851559554126, "A2": 0.19584238398665638, "B": 2.1241123120064955,
         "alpha1": 0.44660634152009615, "alpha2": 0.6707374679896795},
        "Tao et al., vocabulary", "Tao et al. 2024, arXiv:2407.13623; sail-sg/scaling-with-vocab", "primary",
        n_counts="outside and inside the vocabulary, apart", d_counts="tokens", data="SlimPajama",
        loss_unit="nats/token, normalised by unigrams (negative)", domain={"n_params_non_vocab": (3.3e7, 3e9), "vocab_size": (4096, 96256)},
    ),
)  # fmt: skip


# --- optima, learning rates, batch sizes, transfer, interpretability ---------------------------------------------------

_DEEPSEEK = "DeepSeek LLM 2024, arXiv:2401.02954"
_FLOPS_PER_TOKEN = "M, non-embedding FLOPs per token: 72 n_layers d_model^2 + 12 n_layers d_model context; C = M D"
_ADAMW = "non-embedding"
_SEQUENCE_ZHANG, _SEQUENCE_BERGSMA = 512, 2048  # tokens: the papers count batches in sequences
_SETTING_SETS = (
    _entry(
        "deepseek2024-optimal-n", OPTIMAL_N, {"k": 0.1715, "a": 0.5243}, "DeepSeek, compute-optimal size", f"{_DEEPSEEK}, eq. 4", "secondary",
        n_counts=_FLOPS_PER_TOKEN, domain={"flops": (1e17, 3e20)}, data="in-house bilingual text", loss_unit="FLOPs per token",
    ),
    _entry(
        "deepseek2024-optimal-d", OPTIMAL_D, {"k": 5.8316, "b": 0.4757}, "DeepSeek, compute-optimal data", f"{_DEEPSEEK}, eq. 4", "secondary",
        d_counts="tokens; C = M D with M in FLOPs per token", domain={"flops": (1e17, 3e20)}, data="in-house bilingual text", loss_unit="tokens",
    ),
    _entry(
        "llama3-2024-optimal-d", OPTIMAL_D, {"k": 0.299, "b": 0.537}, "Llama 3, compute-optimal data",
        "Llama 3 2024, arXiv:2407.21783, fig. 3 (the text rounds to 0.29 and 0.53)", "secondary", d_counts="tokens",
        domain={"flops": (6e18, 1e22)}, loss_unit="tokens", notes="the paper writes N*(C) for tokens; the rounded text misses its own 16.55e12 at 3.8e25",
    ),
    _entry(
        "deepseek2024-lr", DEEPSEEK_LR, {"k": 0.3118, "p": 0.1250}, "DeepSeek, learning rate", f"{_DEEPSEEK}, eq. 1", "secondary",
        domain={"flops": (1e17, 2e19)}, loss_unit="learning rate", notes="C = M D without embeddings",
    ),
    _entry(
        "deepseek2024-batch", DEEPSEEK_BATCH, {"k": 0.2920, "q": 0.3271}, "DeepSeek, batch size", f"{_DEEPSEEK}, eq. 1", "secondary",
        domain={"flops": (1e17, 2e19)}, loss_unit="tokens", notes="C = M D without embeddings",
    ),
    _entry(
        "li2025-lr", STEP_LAW_LR, {"k": 1.79, "p": -0.713, "q": 0.307}, "Step law, learning rate",
        "Li et al. 2025, arXiv:2503.04715; bootstrap file of step-law/steplaw", "primary", n_counts=_ADAMW, d_counts="tokens",
        domain={"n_params": (6e7, 1e9), "n_tokens": (2e9, 1e11)}, loss_unit="peak learning rate", se={"p": 0.030, "q": 0.019},
        ci={"p": (-0.774, -0.655), "q": (0.271, 0.345)}, ci_kind="2.5 to 97.5 percentile of the authors' 1000 bootstraps",
    ),
    _entry(
        "li2025-batch", STEP_LAW_BATCH, {"k": 0.58, "r": 0.571}, "Step law, batch size",
        "Li et al. 2025, arXiv:2503.04715; bootstrap file of step-law/steplaw", "primary", d_counts="tokens",
        domain={"n_params": (6e7, 1e9), "n_tokens": (2e9, 1e11)}, loss_unit="tokens", se={"r": 0.019}, ci={"r": (0.534, 0.606)},
        ci_kind="2.5 to 97.5 percentile of the authors' 1000 bootstraps",
    ),
    *(
        _entry(
            f"tissue2024-{size}", ANNEALING, dict(zip(ANNEALING.coef_names, row, strict=True)), f"Tissue et al., annealing of a {size.upper()} model",
            "form of Tissue et al. 2024, arXiv:2408.11029; refitted to the curves of Luo et al. 2025, arXiv:2503.12811", "primary",
            n_counts=f"one model of {size.upper()}", data="cosine, constant and two-stage curves of 24000 steps, peak rate 3e-4",
            notes="decay 0.999; rates in absolute units, summed over steps from the first of the warm-up; mean relative error on unseen "
            "schedules 8e-4 (warm-up, stable, decay) to 4.5e-3 (three times as long)",
        )
        for size, row in (
            ("25m", (3.1583, 0.5136, 0.5134, 0.4019)), ("100m", (2.7889, 0.5926, 0.4550, 0.4812)), ("400m", (2.5246, 0.6536, 0.4205, 0.5700)),
        )
    ),
    *(
        _entry(
            f"zhang2024-{name}", CRITICAL_BATCH_N, {"k": k * _SEQUENCE_ZHANG / 1e6**p, "p": p}, f"Zhang et al., critical batch, {what}",
            "Zhang et al. 2024, arXiv:2410.21676, secs. 3.2 and 3.3", "secondary", n_counts="total", domain={"n_params": (8.5e7, 1.2e9)},
            data="C4, Adam, weights averaged", loss_unit="tokens", notes="batch that needs 20 % more steps than linear scaling; sequences of 512 tokens",
        )
        for name, what, k, p in (("cbs", "data grows with size", 93.20, 0.47), ("cbs-fixed-d", "3e9 tokens throughout", 621.341, 0.087))
    ),
    _entry(
        "bergsma2025-cbs", CRITICAL_BATCH_D, {"k": 0.0471 * _SEQUENCE_BERGSMA, "p": 0.462}, "Bergsma et al., critical batch",
        "Bergsma et al. 2025, arXiv:2505.13738, sec. 4", "unverified", d_counts="tokens at a small batch", loss_unit="tokens",
        notes="the amplitude and its unit are from memory",
    ),
    _entry(
        "bergsma2025-timescale", ADAMW_TIMESCALE, {"k": 1.084, "p": 0.527}, "Bergsma et al., AdamW time-scale",
        "Bergsma et al. 2025, arXiv:2505.13738, sec. 3", "secondary", loss_unit="share of the run",
    ),
    *(
        _entry(
            f"hernandez2021-{name}", TRANSFER, {"k": k, "alpha": alpha, "beta": 0.38}, f"Hernandez et al., {what}",
            "Hernandez et al. 2021, arXiv:2102.01293, table 1", "secondary", n_counts="non-embedding", d_counts="characters of Python, in n_samples",
            loss_unit="characters",
        )
        for name, what, k, alpha in (("text", "text to Python", 1.9e4, 0.18), ("text-and-code", "text and code to Python", 2.1e5, 0.096))
    ),
    _entry(
        "gao2024-sae", SAE_LATENTS, {"alpha": -0.50, "beta_k": 0.26, "beta_n": -0.017, "gamma": -0.042, "zeta": -1.32, "eta": -0.085},
        "Gao et al., sparse autoencoders", "Gao et al. 2024, arXiv:2406.04093, sec. 3.2", "secondary1", data="residual stream of a GPT-4-class model",
        loss_unit="normalised mean squared error",
    ),
    _entry(
        "allenzhu2024", KNOWLEDGE_CAPACITY, {"bits_per_param": 2.0}, "Allen-Zhu and Li, two bits per parameter",
        "Allen-Zhu and Li 2024, arXiv:2404.05405, result 1", "secondary1", n_counts="total", data="synthetic biographies, 1000 exposures",
        loss_unit="bits",
    ),
)  # fmt: skip

#: every published set by key, the size-and-data laws first
PUBLISHED: dict[str, PublishedLaw] = {
    entry.key: entry for entry in (*_SIZE_AND_DATA_SETS, *_KAPLAN_SETS, *_SINGLE_SETS, *_VARIANT_SETS, *_SETTING_SETS)
}

#: what people say, squashed -> the set they mean
_ALIASES = {
    "chinchilla": "hoffmann2022-3", "hoffmann": "hoffmann2022-3", "hoffmann2022": "hoffmann2022-3", "besiroglu": "besiroglu2024",
    "epoch": "besiroglu2024", "kaplan": "kaplan2020-nd", "kaplan2020": "kaplan2020-nd", "muennighoff": "muennighoff2023",
    "llama3": "czech2026-llama3", "steplaw": "li2025-lr",
}  # fmt: skip


def published(key: str) -> PublishedLaw:
    """The published set of that key, spelled any way: 'Hoffmann2022_3', 'besiroglu'. LawError with the nearest when none is."""
    wanted = _squash(key)
    known = {_squash(k): k for k in PUBLISHED} | _ALIASES
    if wanted in known:
        return PUBLISHED[known[wanted]]
    begins = [k for squashed, k in known.items() if len(wanted) >= 4 and squashed.startswith(wanted)]
    if len(set(begins)) == 1:
        return PUBLISHED[begins[0]]
    near = begins or [known[k] for k in get_close_matches(wanted, known, n=3, cutoff=0.5)]
    hint = (
        f"did you mean {' or '.join(dict.fromkeys(near[:6]))}?"
        if near
        else "`scaling published` lists them; among them are hoffmann2022-3, besiroglu2024 and kaplan2020-nd."
    )
    raise LawError(f"no published law is called {key[:60]!r}; {hint}")


def _squash(key: str) -> str:
    return "".join(c for c in key.lower() if c.isalnum())
