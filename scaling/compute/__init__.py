"""Training compute from model size and tokens, each way round; parameters and FLOPs of a transformer's shape.

An accounting says what a token costs a model of N parameters. DENSE, C = 6 N D, is the usual one; the others need to know
the shape that goes with a size, which a Family supplies.
"""

from __future__ import annotations

from scaling.compute.by_shape import ACCOUNTINGS, OfFamily, accounting
from scaling.compute.families import FAMILIES, Family
from scaling.compute.per_parameter import (
    DENSE,
    FROZEN,
    INFERENCE,
    Accounting,
    ActiveExperts,
    Lifetime,
    Logged,
    PerParameter,
    Recomputed,
    logged,
)
from scaling.compute.shape import METHODS, Method, Shape, mfu
from scaling.compute.sizes import expert_shapes_for, shapes_for, splits_evenly

__all__ = [
    "ACCOUNTINGS", "DENSE", "FAMILIES", "FROZEN", "INFERENCE", "METHODS", "Accounting", "ActiveExperts", "Family", "Lifetime",
    "Logged", "Method", "OfFamily", "PerParameter", "Recomputed", "Shape", "accounting", "expert_shapes_for", "logged", "mfu",
    "shapes_for", "splits_evenly",
]  # fmt: skip
