"""Shapes that can be built, with a given number of parameters: dense, and mixtures of experts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scaling.compute.families import Family, family_named
from scaling.compute.shape import Shape
from scaling.errors import PlanError


def shapes_for(
    n_params: float, family: str | Family = "modern", count: int = 3, vocab: int | None = None
) -> tuple[Shape, ...]:
    """Shapes with about n_params parameters (all of them), the best match of size and proportions first.

    family : a key of FAMILIES or a Family. vocab : instead of the family's.
    Widths are multiples of the head size (64 at least; 128 from 2048); the feed-forward width bends by up to 15 % to meet the
    size. Where the best match does not split evenly over 8 accelerators and 4 stages (heads a multiple of 8, layers of 4,
    width of 256), the second is the best one that does, where there is one.
    Raises PlanError when the size is not positive or so small that the vocabulary leaves no room for layers.
    """
    chosen = family_named(family)
    if vocab is not None:
        chosen = replace(chosen, vocab=vocab)
    n = float(n_params)
    if not (np.isfinite(n) and 0 < n <= 1e14):
        raise PlanError(f"a shape needs a size above zero and up to 1e14 parameters, not {n_params!r}.")
    found = _candidates(chosen, n)
    if not found:
        raise PlanError(
            f"no {chosen.name} shape has {n:.3g} parameters: with the vocabulary of {chosen.vocab} alone the narrowest has "
            f"{chosen.shape(1, 64).n_params:.3g}. Give a smaller vocabulary or another family."
        )
    ranked = [shape for _, shape in sorted(found, key=lambda pair: pair[0])]
    even = next((s for s in ranked if splits_evenly(s) and abs(s.n_params / n - 1) < 0.03), None)
    if even is not None and not splits_evenly(ranked[0]):
        ranked.remove(even)
        ranked.insert(1, even)
    return tuple(ranked[:count])


def expert_shapes_for(
    n_total: float, n_active: float, family: str | Family = "modern", count: int = 3, vocab: int | None = None
) -> tuple[Shape, ...]:
    """Mixtures of experts with about n_total parameters of which a token uses about n_active, the best match first.

    The dense shapes of n_active, with the feed-forward layer cut into 8, 4, 2 or 1 experts that a token uses, of as many
    (a multiple of 8) as make the total; 8 of 64 and more (DeepSeek-V3, Qwen3) before 2 of 8 (Mixtral) where both fit.
    Raises PlanError where n_active is not below n_total, or where no such shape comes within 10 % of both.
    """
    if not 0 < n_active < n_total:
        raise PlanError(
            f"{n_active:.3g} active of {n_total:.3g} parameters: a mixture of experts uses fewer than it has."
        )
    found: list[tuple[float, Shape]] = []
    for rank, dense in enumerate(shapes_for(n_active, family, 12, vocab)):
        for used in (8, 4, 2, 1):
            step = 128 if dense.d_ff / used >= 1024 else 64
            width = round(dense.d_ff / used / step) * step
            if width == 0:
                continue
            one = replace(dense, d_ff=width, n_experts=used, n_active_experts=used)
            matrices = dense.n_layers * (3 if dense.gated else 2) * dense.d_model
            held = 8 * round((used + (n_total - one.n_params) / (matrices * width)) / 8)
            if held <= used:
                continue
            shape = replace(one, n_experts=held)
            miss = abs(np.log(shape.n_params / n_total)) + abs(np.log(shape.n_active / n_active))
            coarse = 0.02 * np.log2(8 / used) + (0.1 if held > 512 else 0.0)  # more than were trained
            if abs(shape.n_params / n_total - 1) < 0.1 and abs(shape.n_active / n_active - 1) < 0.1:
                found.append((float(10 * miss + coarse + 0.05 * rank), shape))
    if not found:
        raise PlanError(
            f"no mixture of experts of {family_named(family).name} shapes has {n_total:.3g} parameters and {n_active:.3g} active: "
            "give another active share or another family."
        )
    return tuple(shape for _, shape in sorted(found, key=lambda pair: pair[0])[:count])


def splits_evenly(shape: Shape) -> bool:
    """Whether the shape divides over 8 accelerators by heads and over 4 pipeline stages by layers."""
    return shape.d_model % 256 == 0 and shape.n_heads % 8 == 0 and shape.n_layers % 4 == 0


def _candidates(chosen: Family, n: float) -> list[tuple[float, Shape]]:
    """(badness, shape) of the shapes within 10 % of the size and near the family's aspect ratio."""
    width = float(chosen.continuous(n).d_model)
    found = []
    for d_model in _widths(width / 1.5, width * 1.5):
        plain = chosen.shape(1, d_model)
        layer = chosen.shape(2, d_model).n_params - plain.n_params
        middle = (n - plain.n_params) / layer + 1
        depths = {
            int(np.floor(middle)),
            int(np.ceil(middle)),
            4 * int(np.floor(middle / 4)),
            4 * int(np.ceil(middle / 4)),
        }
        for n_layers in sorted(depths):
            if n_layers < 1:
                continue
            missing = (n - chosen.shape(n_layers, d_model).n_params) / (n_layers * (3 if chosen.gated else 2) * d_model)
            shape = chosen.shape(n_layers, d_model, plain.d_ff + missing)
            if shape.d_ff < 1:
                continue
            miss = abs(np.log(shape.n_params / n))
            stretched = abs(np.log(shape.d_ff / plain.d_ff))
            bent = abs(np.log(shape.aspect / chosen.aspect_at(shape.n_non_embedding)))
            # shallow models have no aspect ratio close by: one layer more or less is a large step
            if miss < 0.1 and stretched < 0.18 and bent < np.log(1.6) + 2.0 / n_layers:
                # 2 % of size weigh as much as 20 % of aspect ratio, over which the loss is flat (Kaplan et al., fig. 5)
                odd = 0.03 * (shape.n_heads % 2 + n_layers % 2)  # odd counts split over nothing
                groups = 0.2 * abs(
                    np.log((shape.n_kv_heads or 1) / min(chosen.kv_heads or shape.n_heads, shape.n_heads))
                )
                found.append((float(10 * miss + bent + stretched + odd + groups), shape))
    return found


def _widths(low: float, high: float) -> list[int]:
    """Multiples of 64 below 2048 and of 128 from there on; of 512 past 16384, so that the search stays short."""
    out, d = [], 64
    while d <= high:
        if d >= low:
            out.append(d)
        d += 64 if d < 2048 else 128 if d < 16384 else 512
    return out
