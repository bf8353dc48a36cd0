"""Altair charts from results and tables: the same picture in a notebook, a report and the app."""

from scaling.charts.analyses import compare_chart, envelope_chart, isoflop_chart, isoflop_page, profiles_chart
from scaling.charts.axes import MOST_MARKS
from scaling.charts.curves import continuous_chart, descent_chart, drift_chart, emergence_chart, grokking_chart
from scaling.charts.files import encoded, save, script_json
from scaling.charts.fits import exponents_chart, fit_chart, residual_chart
from scaling.charts.plans import (
    capability_chart,
    contour_chart,
    design_chart,
    frontier,
    frontier_of,
    plan_chart,
    ratio_chart,
    trade_off_chart,
)
from scaling.charts.runs import runs_chart, thinned, training_curves

__all__ = [
    "MOST_MARKS", "capability_chart", "compare_chart", "continuous_chart", "contour_chart", "descent_chart", "design_chart", "drift_chart", "emergence_chart", "encoded", "envelope_chart", "exponents_chart", "fit_chart",
    "frontier", "frontier_of", "grokking_chart", "isoflop_chart", "isoflop_page", "plan_chart", "profiles_chart", "ratio_chart", "residual_chart", "runs_chart", "save", "script_json", "thinned", "trade_off_chart", "training_curves",
]  # fmt: skip
