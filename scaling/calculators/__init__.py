"""Answers that follow from a fitted or published law by a short calculation: one small file for each question."""

from __future__ import annotations

from scaling.calculators.alternatives import alternatives
from scaling.calculators.cooldown import best_cooldown, schedule, valid_for_fit
from scaling.calculators.experts import best_experts
from scaling.calculators.knowledge import bits_per_param, capacity_bits, params_for_facts
from scaling.calculators.latents import best_latents, latents_for, reconstruction_floor
from scaling.calculators.mixtures import Mixture, best_mixture
from scaling.calculators.reward import SafeKL, safe_kl
from scaling.calculators.thresholds import Threshold, compare_thresholds, threshold
from scaling.calculators.transfer import break_even, data_transferred

__all__ = [
    "Mixture", "SafeKL", "Threshold", "alternatives", "best_cooldown", "best_experts", "best_latents", "best_mixture",
    "bits_per_param", "break_even", "capacity_bits", "compare_thresholds", "data_transferred", "latents_for", "params_for_facts",
    "reconstruction_floor", "safe_kl", "schedule", "threshold", "valid_for_fit",
]  # fmt: skip
