"""A plan as one JSON document, `scaling.plan/1`; its schema is scaling/schemas/plan.schema.json."""

from __future__ import annotations

import math
from typing import Any

from scaling.planning.result import QUANTITIES, Band, Plan, Step

SCHEMA = "scaling.plan/1"


def document(plan: Plan) -> dict[str, Any]:
    """The document of one budget; several give {"plans": [...]}."""
    documents = [_one(plan, step) for step in plan.steps]
    return documents[0] if len(documents) == 1 else {"schema": SCHEMA, "plans": documents}


def _one(plan: Plan, step: Step) -> dict[str, Any]:
    def band(b: Band | None) -> dict[str, Any] | None:
        return (
            None if b is None else {"estimate": _number(b.estimate), "low": b.low, "high": b.high, "level": plan.level}
        )

    request = plan.request
    out: dict[str, Any] = {
        "schema": SCHEMA,
        "law": plan.allocation.law.name,
        "title": plan.law_title,
        "flops": band(step.flops_band or Band(step.flops)),
        **{name: band(getattr(step, name)) for name in QUANTITIES},
        "score": band(step.score),
        "loss_unit": plan.loss_unit,
        "accounting": plan.accounting,
        "constraints": {k: float(v) for k, v in plan.allocation.constraints.given.items()},
        "binding": list(step.binding),
        "budget": step.budget,
        "budgets": {b.name: b.amount for b in request.budgets} if request else {},
        "prices": [
            {"name": p.name, "limit": _number(p.limit), "unit": p.unit, "loss_per_unit": _number(p.loss_per_unit), "loss_per_tenth": _number(p.loss_per_tenth)}
            for p in step.prices
        ],
        "repeats": None if step.repeats is None else dict(vars(step.repeats)),
        "n_active": step.n_active,
        "n_total": step.n_total,
        "extrapolation": step.extrapolation,
        "hardware": None,
        "serving": None,
        "warnings": [{"code": w.code, "message": w.message} for w in step.warnings],
        "caveats": list(plan.caveats),
    }  # fmt: skip
    if step.hardware is not None:
        h = step.hardware
        out["hardware"] = {
            "accelerator": h.accelerator.key, "count": h.count, "mfu": h.mfu, "usd_per_hour": h.usd_per_hour,
            "gpu_hours": h.gpu_hours, "days": h.days, "usd": h.usd, "kwh": h.kwh, "overhead": h.overhead,
            "days_band": band(h.days_band), "usd_band": band(h.usd_band),
        }  # fmt: skip
        if request is not None and h.serving_hours is not None and request.serving is not None:
            out["serving"] = {
                "tokens": request.inference_tokens, "accelerator": request.serving.accelerator.key,
                "mfu": request.serving.mfu, "gpu_hours": h.serving_hours, "usd": h.serving_usd, "kwh": h.serving_kwh,
            }  # fmt: skip
    return out


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
