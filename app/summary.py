"""What the page Start says of runs: their fit in a chart and a table, and a plan at ten times the compute.

The summary of the sample is shipped beside it, so that the first page stands before numpy, pandas and Altair are loaded.
`python app/summary.py` makes it anew; a test holds it against the fit.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uploads

if TYPE_CHECKING:
    from scaling.fitting import FitResult

LAW, OBJECTIVE, RESAMPLES = "chinchilla", "robust", 300
SHIPPED = Path(__file__).with_name("sample.json")
DIGITS = 5  # of the numbers in a drawing


def shipped() -> dict[str, Any]:
    """The summary of the sample runs."""
    return json.loads(SHIPPED.read_text(encoding="utf-8"))


def sample_fit() -> FitResult:
    """The fit that the shipped summary is of."""
    import scaling

    return scaling.bootstrap(scaling.fit(LAW, scaling.read_runs(uploads.DATA / uploads.RUNS), OBJECTIVE), RESAMPLES)


def budget(result: FitResult) -> float:
    """Ten times the compute of the largest run [FLOPs]."""
    return 10 * result.domain["flops"][1]


def summary(result: FitResult) -> dict[str, Any]:
    """chart: a Vega-Lite specification that holds its data; title, subtitle: of the chart; table: rows of coefficients, as
    text; plan: the question and its answer, each a sentence.

    Raises ScalingError where the law has no plan.
    """
    import scaling
    from scaling.charts import fit_chart
    from scaling.report import written

    flops = budget(result)
    answer = str(scaling.plan(result, flops=flops)).splitlines()[0]
    spec = fit_chart(result).to_dict()
    title = spec.pop("title")
    columns = ["coef", "estimate", "low", "high", "meaning"]
    rows = result.coef_table()[columns].itertuples(index=False)
    return {
        "title": " ".join(title["text"]) if isinstance(title["text"], list) else title["text"],
        "subtitle": " ".join(title["subtitle"]) if isinstance(title["subtitle"], list) else title["subtitle"],
        "chart": _with_data(spec),
        "table": [columns, *([written(c, v) for c, v in zip(columns, row, strict=True)] for row in rows)],
        "question": f"With ten times the largest run's compute, {scaling.format_quantity(flops, 'flops')}:",
        "answer": answer,
    }


def _with_data(spec: dict[str, Any]) -> dict[str, Any]:
    """The same drawing with the data in its layers: the framework hands those on without loading a library of tables."""
    data = spec.pop("datasets")
    layers = [
        layer | {"data": {"values": [_short(row) for row in data[layer["data"]["name"]]]}} for layer in spec["layer"]
    ]
    return spec | {"layer": layers}


def _short(row: dict[str, Any]) -> dict[str, Any]:
    return {k: float(f"{v:.{DIGITS}g}") if isinstance(v, float) else v for k, v in row.items()}


if __name__ == "__main__":
    SHIPPED.write_text(json.dumps(summary(sample_fit()), separators=(",", ":"), allow_nan=False) + "\n")
