"""Fit scaling laws to logged training runs, say how sure each number is, and turn a law into a plan.

runs = scaling.read_runs("runs.csv")
result = scaling.fit("chinchilla", runs)
draws = scaling.bootstrap(result)
scaling.plan(scaling.allocate(draws, flops="1e21"), accelerator="H100-SXM", count=256, mfu=0.4)
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

#: public name -> the module it lives in; loaded at first use, so that `import scaling` costs next to nothing
_HOME = {
    "scaling.allocation": ["Allocation", "Constraints", "Limit", "allocate", "flops_for_loss", "flops_for_params", "shadow_prices"],
    "scaling.compute": ["ACCOUNTINGS", "DENSE", "Shape", "accounting", "expert_shapes_for", "shapes_for"],
    "scaling.errors": ["FitError", "LawError", "PlanError", "QuantityError", "RunsError", "ScalingError"],
    "scaling.fitting": [
        "OBJECTIVES", "AbsoluteError", "Asymmetric", "FitResult", "FitStatus", "FitWarning", "Huber", "Objective", "Squared",
        "fit", "load_fit",
    ],
    "scaling.hardware": ["ACCELERATORS", "Accelerator", "accelerator"],
    "scaling.laws": ["LAWS", "get"],
    "scaling.laws.chinchilla": ["CHINCHILLA"],
    "scaling.laws.kaplan": ["KAPLAN"],
    "scaling.laws.law": ["Coef", "Law"],
    "scaling.laws.published": ["PUBLISHED", "PublishedLaw", "published"],
    "scaling.logs": ["check_runs", "read_runs"],
    "scaling.planning": ["Advice", "Plan", "Spread", "advise", "average", "plan", "plan_each"],
    "scaling.quantities": ["format_quantity", "parse_quantity"],
    "scaling.simulation": ["grid_design", "isoflop_design", "simulate"],
    "scaling.approaches": ["Envelope", "IsoFlop", "envelope", "isoflop", "parabola_bias"],
    "scaling.refitting": ["refit"],
    "scaling.selection": ["Comparison", "compare"],
    "scaling.capability": ["Capability", "link_draws", "score_along", "score_at"],
    "scaling.calculators": ["alternatives", "best_mixture", "break_even", "compare_thresholds", "data_transferred", "safe_kl", "threshold"],
    "scaling.designing": ["Design", "band_with", "design", "ladder_for"],
    "scaling.groups": ["GroupComparison", "compare_groups"],
    "scaling.curves.conditions": ["classify_tasks", "difference_of_conditions"],
    "scaling.curves.red_team": ["red_team"],
    "scaling.curves.rescoring": ["rescore"],
    "scaling.curves.self_knowledge": ["self_knowledge"],
    "scaling.curves.smoothers": ["replot"],
    "scaling.curves.double_descent": ["DoubleDescent", "double_descent"],
    "scaling.curves.emergence": ["Emergence", "emergence"],
    "scaling.curves.grokking": ["Grokking", "grokking"],
    "scaling.training": [
        "KNOWN_RUNS", "KNOWN_SHAPES", "Layout", "Memory", "Settings", "TradeOff", "beside_known", "known_shape", "layout", "memory",
        "serving_memory", "settings", "trade_off",
    ],
    "scaling.uncertainty": [
        "Drift", "Interval", "bca", "best_size", "bootstrap", "draws", "drift", "held_out_errors", "influence", "interval",
        "intervals_table", "jackknife", "outliers", "profile",
    ],
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
_MODULES = ("charts",)  # offered as scaling.charts

__all__ = ["__version__", *_MODULES, *sorted(_MODULE_OF)]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"scaling.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'scaling' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
