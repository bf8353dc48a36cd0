"""How many facts a model can hold, and how large a model some facts need. Source: Allen-Zhu and Li 2024, arXiv:2404.05405."""

from __future__ import annotations

from typing import Any

import numpy as np

from scaling.errors import PlanError
from scaling.laws.law import Array

#: bits that a parameter holds after so many exposures of each fact (results 1 and 2 of the paper)
BITS_AT_EXPOSURES = {1000.0: 2.0, 100.0: 1.0}
#: share of those bits that remains at a precision of the stored weights [bits]
KEPT_AT_BITS = {16.0: 1.0, 8.0: 1.0, 4.0: 0.35}


def bits_per_param(exposures: float = 1000.0, bits_stored: float = 16.0) -> float:
    """Bits of fact per parameter: linear in the log of exposures between the two measured ones, constant beyond 1000.

    Raises PlanError below 100 exposures and below 4 bits per weight, where nothing was measured.
    """
    if exposures < 100 or bits_stored < 4:
        raise PlanError("capacity was measured from 100 exposures of a fact and 4 bits per weight upward, not below.")
    times, held = zip(*sorted(BITS_AT_EXPOSURES.items()), strict=True)
    bits, kept = zip(*sorted(KEPT_AT_BITS.items()), strict=True)
    return float(np.interp(np.log(exposures), np.log(times), held) * np.interp(bits_stored, bits, kept))


def capacity_bits(n_params: Any, *, exposures: float = 1000.0, bits_stored: float = 16.0) -> Array:
    """Bits of knowledge (m,) that models of n_params (m,) hold at most."""
    return bits_per_param(exposures, bits_stored) * np.asarray(n_params, float)


def params_for_facts(
    n_facts: Any, bits_per_fact: float, *, exposures: float = 1000.0, bits_stored: float = 16.0
) -> Array:
    """Parameters (m,) that so many facts (m,) need at least."""
    if bits_per_fact <= 0:
        raise PlanError(f"a fact has a positive number of bits, not {bits_per_fact}.")
    return np.asarray(n_facts, float) * bits_per_fact / bits_per_param(exposures, bits_stored)
