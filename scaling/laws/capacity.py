"""Knowledge capacity: bits of fact that a model can hold."""

from __future__ import annotations

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack


def _bits(x: Inputs, theta: Array) -> Array:
    (bits_per_param,) = split(theta)
    room = bits_per_param * x["n_params"]
    return np.where(np.real(room) < x["corpus_bits"], room, x["corpus_bits"])


def _bits_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    (bits_per_param,) = split(theta)
    room = bits_per_param * x["n_params"]
    fits = room < x["corpus_bits"]
    return np.where(fits, room, x["corpus_bits"]), stack(np.where(fits, x["n_params"], 0.0))


KNOWLEDGE_CAPACITY = Law(
    name="knowledge_capacity",
    title="Allen-Zhu and Li, knowledge capacity",
    equation="bits(N) = min(bits_per_param N, corpus bits)",
    latex=r"\mathrm{bits}(N) = \min\left(c\,N,\ \mathrm{bits\ in\ the\ corpus}\right)",
    inputs=("n_params", "corpus_bits"),
    target="knowledge_bits",
    coefs=(Coef("bits_per_param", "bits that a parameter holds [bits]", starts=(0.05, 5.0)),),
    formula=_bits,
    jacobian=_bits_jacobian,
    domain="facts seen often enough (2 bits at about 1000 exposures, 1 at 100), 8 bits per stored parameter or more",
    source="Allen-Zhu and Li 2024, arXiv:2404.05405, result 1",
)


def facts_held(n_params: Array, bits_per_fact: Array, bits_per_param: float = 2.0) -> Array:
    """How many facts of so many bits a model of n_params can hold at most."""
    return bits_per_param * np.asarray(n_params, dtype=float) / np.asarray(bits_per_fact, dtype=float)
