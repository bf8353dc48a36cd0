"""Beside a plan: a shape of that size, how to lay it out, settings by the published laws, other sizes, and what others trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaling.compute import Lifetime, Shape, expert_shapes_for, shapes_for, splits_evenly
from scaling.errors import ScalingError
from scaling.planning.result import Plan
from scaling.quantities import format_quantity
from scaling.training import Settings, TradeOff, settings, trade_off
from scaling.training.known_runs import beside_known
from scaling.training.memory import Layout, layout

if TYPE_CHECKING:
    import pandas as pd

RATIOS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)  # sizes over the best one that a page shows
FLOPS_BY = "palm"  # the count of a shape's FLOPs with attention
NEAREST = 5  # known runs that a page shows
BEYOND_USE = 1e5  # times beyond a law's runs, past which a page does not repeat what it says
ALIKE = 1e3  # times apart in compute, past which a known run says nothing about a planned one
SETTINGS = (
    ("lr", "learning rate", ""), ("batch_tokens", "batch", " tokens"), ("critical_batch_tokens", "critical batch", " tokens"),
    ("weight_decay", "weight decay", ""),
)  # fmt: skip


@dataclass(frozen=True)
class Advice:
    """What goes with a plan's step; None where it cannot be said, with the reason in `notes`.

    shapes : of about the planned size, the best match first. layout : on the planned accelerators, or the fewest in which
    it fits. settings : learning rate, batch and weight decay, labelled by law. trade_off : smaller and larger models.
    known : runs of others, the nearest first.
    """

    shapes: tuple[Shape, ...]
    layout: Layout | None
    settings: Settings | None
    trade_off: TradeOff | None
    known: pd.DataFrame | None
    notes: tuple[str, ...]
    context: int = 2048

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        known = None
        if self.known is not None:
            table = self.known.head(NEAREST).astype(object)
            known = table.where(table.notna(), None).to_dict("records")
        return {
            "shapes": [
                {"title": str(s), "n_layers": int(s.n_layers), "d_model": int(s.d_model), "d_ff": int(s.d_ff), "n_heads": int(s.n_heads), "n_kv_heads": int(s.n_heads if s.n_kv_heads is None else s.n_kv_heads), "vocab": int(s.vocab), "n_params": float(s.n_params), "n_active": float(s.n_active), "n_experts": int(s.n_experts), "n_active_experts": int(s.n_active_experts), "splits_evenly": splits_evenly(s), "context": self.context, "flops_per_token": float(s.flops_per_token(self.context, FLOPS_BY)), "flops_per_token_6n": float(s.flops_per_token(self.context))}
                for s in self.shapes
            ],
            "layout": None if self.layout is None else self.layout.to_dict(),
            "settings": None if self.settings is None else self.settings.to_dict(),
            "trade_off": None if self.trade_off is None else self.trade_off.to_dict(),
            "known": known,
            "notes": list(self.notes),
        }  # fmt: skip

    def lines(self) -> list[str]:
        """The paragraphs of a page."""
        out: list[str] = []
        if self.shapes or self.settings:
            out += ["", "To train it, by published laws and shapes and not by the runs of this law:"]
        if self.shapes:
            out.append(f"  shape           {self.shapes[0]}")
            even = next((s for s in self.shapes[1:] if splits_evenly(s)), None)
            if even is not None and not splits_evenly(self.shapes[0]):
                out.append(f"  splits evenly   {even}")
            out.append(f"  its FLOPs       {self._flops()}")
        if self.layout is not None:
            out.append(f"  layout          {self.layout}")
        out += self._settings()
        out += self._trade_off()
        out += self._known()
        return [*out, *(["", *(f"note: {n}" for n in self.notes)] if self.notes else [])]

    def _flops(self) -> str:
        """What a token of the first shape costs, and how much attention adds to 6 N."""
        dense, counted = (float(self.shapes[0].flops_per_token(self.context, m)) for m in ("dense", FLOPS_BY))
        return f"{counted:.4g} per token at a context of {self.context:,}, attention counted: {counted / dense - 1:+.1%} on 6 N"

    def _settings(self) -> list[str]:
        if self.settings is None:
            return []
        out: list[str] = []
        for name, words, unit in SETTINGS:
            said = [s for s in self.settings.suggestions if s.setting == name and _times_beyond(s.beyond) < BEYOND_USE]
            if name == "weight_decay" and not any(line.split()[0] == "learning" for line in out):
                continue  # it rests on the learning rate
            values = "; ".join(
                f"{format_quantity(s.value) if unit else f'{s.value:.3g}'}{unit} ({s.title.split(',')[0]}{_stretch(s.beyond)})"
                for s in said
            )
            if values:
                out.append(f"  {words:<15} {values}")
        batches = [
            s.value
            for s in self.settings.suggestions
            if s.setting == "batch_tokens" and _times_beyond(s.beyond) < BEYOND_USE
        ]
        if batches:
            steps = sorted(self.settings.n_tokens / b for b in batches)
            out.append(
                f"  steps           {steps[0]:,.0f}"
                + (f" to {steps[-1]:,.0f}" if len(steps) > 1 else "")
                + " at these batches"
            )
        return out

    def _trade_off(self) -> list[str]:
        if self.trade_off is None:
            return []
        t = self.trade_off.of or self.trade_off  # the point estimate, not each draw
        rows = [("size", "parameters", "tokens", "loss", "compute for the same loss", "cost to serve")]
        for i, ratio in enumerate(t.ratio):
            over = float(t.overhead[i])
            same = f"{1 + over:.2f} times" if over == over and over < 1000 else "beyond reach"
            rows.append(
                (f"{ratio:.2f}", format_quantity(float(t.n_params[i])), format_quantity(float(t.n_tokens[i])), f"{float(t.penalty[i]):+.4f}", same, f"{ratio:.2f} times")
            )  # fmt: skip
        wide = [max(len(r[k]) for r in rows) for k in range(len(rows[0]))]
        title = "Smaller or larger at the same training compute, against the best size without constraints:"
        return ["", title, *("  " + "  ".join(c.rjust(w) for c, w in zip(r, wide, strict=True)) for r in rows)]

    def _known(self) -> list[str]:
        if self.known is None or self.known.empty:
            return []
        rows = [("what others trained", "parameters", "tokens", "tokens/param", "compute")]
        near = self.known[self.known["flops_ratio"].between(1 / ALIKE, ALIKE)]
        if near.empty:
            return ["", "No known run is within a factor of 1,000 in compute."]
        for r in near.head(NEAREST).to_dict("records"):
            rows.append(
                (str(r["name"]), format_quantity(r["n_active"]), format_quantity(r["n_tokens"]), f"{r['n_tokens'] / r['n_active']:.3g}", f"{r['flops']:.3g}")
            )  # fmt: skip
        wide = [max(len(r[k]) for r in rows) for k in range(len(rows[0]))]
        return ["", *("  ".join(c.ljust(w) if k == 0 else c.rjust(w) for k, (c, w) in enumerate(zip(r, wide, strict=True))) for r in rows)]  # fmt: skip


def _times_beyond(beyond: Mapping[str, float]) -> float:
    return max((max(v, 1 / v) for v in beyond.values()), default=1.0)


def _stretch(beyond: Mapping[str, float]) -> str:
    far = _times_beyond(beyond)
    return f", {far:.2g} times beyond its runs" if far > 1 else ""


def advise(plan: Plan, i: int = 0, *, family: str = "modern", context: int = 2048) -> Advice:
    """What goes with step i of a plan: `family` is the line of shapes, `context` the sequence length.

    Whatever cannot be said (no shape of that size; too few accelerators for any layout) is a note.
    """
    step = plan.steps[i]
    notes: list[str] = []
    n, d = step.n_params.estimate, step.n_tokens.estimate
    active = n if step.n_active is None else step.n_active

    def attempt(make: Any) -> Any:
        """What `make` gives; None, and a note of the reason, where it refuses."""
        try:
            return make()
        except ScalingError as error:
            notes.append(str(error))
            return None

    shapes: tuple[Shape, ...] = ()
    if step.n_active is not None and step.n_total is not None:
        total = step.n_total
        shapes = attempt(lambda: expert_shapes_for(total, active, family)) or ()
    else:
        shapes = attempt(lambda: shapes_for(n, family)) or ()
    dense = shapes[0] if shapes and step.n_active is None else None
    suggested = attempt(lambda: settings(active, d, shape=dense, family=family))
    laid_out = None
    if step.hardware is not None and shapes:
        critical = [s.value for s in suggested.suggestions if s.setting == "critical_batch_tokens"] if suggested else []
        count = step.hardware.count if plan.request is not None and plan.request.count is not None else None
        chip = step.hardware.accelerator
        laid_out = attempt(
            lambda: layout(shapes[0], chip, count, context=context, batch_tokens=min(critical) if critical else None)
        )
    accounting = plan.request.compute if plan.request else plan.allocation.compute
    base = accounting.base if isinstance(accounting, Lifetime) else accounting
    others = attempt(
        lambda: trade_off(
            plan.allocation.fitted, float(base.flops(n, d)), RATIOS, compute=base, inputs=plan.allocation.inputs,
            inference_tokens=(plan.request.inference_tokens or 0.0) if plan.request else 0.0,
        )
    )  # fmt: skip
    known = attempt(lambda: beside_known(active, d))
    return Advice(tuple(shapes), laid_out, suggested, others, known, tuple(notes), context)
