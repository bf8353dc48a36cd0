"""What to set: learning rate and batch by size, data and compute; critical batch size; size and data for a budget."""

from __future__ import annotations

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack
from scaling.laws.power_law import product_law

_STEP_LAW = "Li et al. 2025, arXiv:2503.04715, eq. 1"
_DEEPSEEK = "DeepSeek LLM 2024, arXiv:2401.02954"
_ADAMW = "AdamW, N without embeddings, best rate and batch of a grid at each (N, D)"

STEP_LAW_LR = product_law(
    "step_law_lr",
    "lr",
    (("n_params", "N", "p", 1, (-1.5, 0.2)), ("n_tokens", "D", "q", 1, (-0.3, 0.9))),
    title="Step law, learning rate",
    amplitude=("k", "peak learning rate at N = D = 1"),
    letters=("lr(N, D)", r"\eta(N, D)"),
    domain=f"{_ADAMW}, cosine to a fixed 1e-5",
    source=_STEP_LAW,
)
STEP_LAW_BATCH = product_law(
    "step_law_batch",
    "batch_tokens",
    (("n_tokens", "D", "r", 1, (0.2, 1.0)),),
    title="Step law, batch size",
    amplitude=("k", "batch at D = 1 [tokens]"),
    letters=("B(D)", "B(D)"),
    domain=f"{_ADAMW}; published exponents of D run from 0.38 to 0.57",
    source=_STEP_LAW,
)
DEEPSEEK_LR = product_law(
    "deepseek_lr",
    "lr",
    (("flops", "C", "p", -1, (0.02, 0.5)),),
    title="DeepSeek, learning rate",
    amplitude=("k", "peak learning rate at C = 1"),
    letters=("lr(C)", r"\eta(C)"),
    domain="compute-optimal runs, C = non-embedding FLOPs per token times tokens",
    source=f"{_DEEPSEEK}, eq. 1",
)
DEEPSEEK_BATCH = product_law(
    "deepseek_batch",
    "batch_tokens",
    (("flops", "C", "q", 1, (0.05, 0.8)),),
    title="DeepSeek, batch size",
    amplitude=("k", "batch at C = 1 [tokens]"),
    letters=("B(C)", "B(C)"),
    domain="compute-optimal runs, C = non-embedding FLOPs per token times tokens",
    source=f"{_DEEPSEEK}, eq. 1",
)
CRITICAL_BATCH_N = product_law(
    "critical_batch_n",
    "critical_batch_tokens",
    (("n_params", "N", "p", 1, (0.02, 1.0)),),
    title="Zhang et al., critical batch size against model size",
    amplitude=("k", "critical batch at N = 1 [tokens]"),
    letters=("B_crit(N)", r"B_{\rm crit}(N)"),
    domain="largest batch that needs at most 20 % more steps than linear scaling; D grows with N, hence a law in D",
    source="Zhang et al. 2024, arXiv:2410.21676, sec. 3",
)
CRITICAL_BATCH_D = product_law(
    "critical_batch_d",
    "critical_batch_tokens",
    (("n_tokens", "D", "p", 1, (0.1, 1.0)),),
    title="Bergsma et al., critical batch size against data",
    amplitude=("k", "critical batch at D = 1 [tokens]"),
    letters=("B_crit(D)", r"B_{\rm crit}(D)"),
    domain="D = tokens that a small batch needs for the same loss",
    source="Bergsma et al. 2025, arXiv:2505.13738, sec. 4",
)
ADAMW_TIMESCALE = product_law(
    "adamw_timescale",
    "timescale",
    (("tokens_per_param", "M", "p", -1, (0.1, 1.0)),),
    title="Bergsma et al., AdamW time-scale",
    amplitude=("k", "time-scale at one token per parameter [share of the run]"),
    letters=("tau(M)", r"\tau(M)"),
    domain="M = D/N; time-scale = batch / (learning rate * weight decay * D), all in tokens",
    source="Bergsma et al. 2025, arXiv:2505.13738, sec. 3",
)
OPTIMAL_N = product_law(
    "optimal_n",
    "n_params",
    (("flops", "C", "a", 1, (0.2, 0.9)),),
    title="Compute-optimal model size",
    amplitude=("k", "model size at C = 1 [parameters; FLOPs per token in DeepSeek's count]"),
    letters=("N_opt(C)", r"N_{\rm opt}(C)"),
    domain="optima of isoFLOP profiles or envelopes; a is for the count of N and C that the runs use",
    source=f"Hoffmann et al. 2022, arXiv:2203.15556, sec. 3; {_DEEPSEEK}, eq. 4",
)
OPTIMAL_D = product_law(
    "optimal_d",
    "n_tokens",
    (("flops", "C", "b", 1, (0.2, 0.9)),),
    title="Compute-optimal data",
    amplitude=("k", "tokens at C = 1"),
    letters=("D_opt(C)", r"D_{\rm opt}(C)"),
    domain="optima of isoFLOP profiles or envelopes",
    source=f"Hoffmann et al. 2022, arXiv:2203.15556, sec. 3; {_DEEPSEEK}, eq. 4; Llama 3, arXiv:2407.21783, sec. 3.2.1",
)


def _steps(x: Inputs, theta: Array) -> Array:
    S_min, B_crit = split(theta)
    return S_min * (1 + B_crit / x["batch_tokens"])


def _steps_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    S_min, B_crit = split(theta)
    factor = 1 + B_crit / x["batch_tokens"]
    return S_min * factor, stack(factor, S_min / x["batch_tokens"])


BATCH_TRADE_OFF = Law(
    name="batch_trade_off",
    title="McCandlish et al., steps against batch size",
    equation="S(B) = S_min (1 + B_crit / B)",
    latex=r"S(B) = S_{\min} \left(1 + \frac{B_{\rm crit}}{B}\right)",
    inputs=("batch_tokens",),
    target="step",
    coefs=(
        Coef("S_min", "steps to the same loss at an unlimited batch [steps]", starts=(1e1, 1e6)),
        Coef("B_crit", "batch at which steps and examples cost equally [tokens]", starts=(1e3, 1e8)),
    ),
    linear=("S_min",),
    formula=_steps,
    jacobian=_steps_jacobian,
    domain="steps of one model to one loss, learning rate tuned at each batch",
    source="McCandlish et al. 2018, arXiv:1812.06162, eq. 2.11",
)


def noise_scale(small_batch: float, small_norm2: Array, large_batch: float, large_norm2: Array) -> Array:
    """The simple noise scale tr(Sigma)/|G|^2 [unit of the batches] from squared gradient norms at two batch sizes.

    The norms are averaged over repeats (along their last axis, if they have one) before the ratio, which is biased otherwise.
    McCandlish et al. 2018, App. A.
    """
    small, large = (np.mean(np.atleast_1d(np.asarray(n, dtype=float)), axis=-1) for n in (small_norm2, large_norm2))
    gradient = (large_batch * large - small_batch * small) / (large_batch - small_batch)
    noise = (small - large) / (1 / small_batch - 1 / large_batch)
    return noise / gradient


def weight_decay(lr: Array, batch_tokens: Array, n_tokens: Array, n_params: Array) -> Array:
    """AdamW's weight decay at the best time-scale of Bergsma et al.: B / (lr D tau), tau = 1.084 (D/N)^-0.527."""
    n_tokens = np.asarray(n_tokens, dtype=float)
    tau = ADAMW_TIMESCALE.predict({"tokens_per_param": n_tokens / n_params}, np.array([1.084, 0.527]))
    return np.asarray(batch_tokens) / (np.asarray(lr) * n_tokens * tau)


TUNING_LAWS = (
    STEP_LAW_LR,
    STEP_LAW_BATCH,
    DEEPSEEK_LR,
    DEEPSEEK_BATCH,
    CRITICAL_BATCH_N,
    CRITICAL_BATCH_D,
    BATCH_TRADE_OFF,
    ADAMW_TIMESCALE,
    OPTIMAL_N,
    OPTIMAL_D,
)
