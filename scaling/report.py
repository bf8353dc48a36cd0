"""A report in one HTML file that opens offline: what was read, the fits, the charts, a plan."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from scaling.errors import ScalingError
from scaling.fitting.result import FitResult
from scaling.planning import Plan

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff; }
table { border-collapse: collapse; display: block; overflow-x: auto; } th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; } pre { white-space: pre-wrap; } .warning { border-left: 4px solid #d62728; padding-left: .8rem; }
"""


def report(
    results: Sequence[FitResult],
    *,
    plans: Sequence[Plan] = (),
    charts: Sequence[alt.TopLevelMixin] | None = None,
    read: str = "",
    title: str = "Scaling laws",
) -> str:
    """The report as HTML text.

    results : fits or bootstraps, each one fit (of a group: result.group(i)). plans : what to train, the first first.
    charts : drawn below the fits; default: the chart of each fit that has its runs.
    read : what was understood of the logs, as text. All text is escaped; nothing is loaded from elsewhere.
    """
    import vl_convert

    from scaling.charts import fit_chart, script_json

    if not results:
        raise ScalingError("a report needs at least one fit.")
    if any(r.point.shape for r in results):
        raise ScalingError("a report shows single fits: take groups first, result.group(i).")
    drawn = [fit_chart(r) for r in results if r.point.runs is not None] if charts is None else list(charts)
    parts = [f"<h1>{escape(title)}</h1>"]
    for plan in plans:
        answer, *rest = str(plan).splitlines()
        parts += [f"<h2>{escape(answer)}</h2>", f"<pre>{escape(chr(10).join(rest).strip())}</pre>"]
    parts += [f'<div id="chart{i}"></div>' for i in range(len(drawn))]
    for result in results:
        point = result.point
        parts += [f"<h2>{escape(result.law.title)}</h2>", f"<p><code>{escape(result.law.equation)}</code></p>"]
        parts += [_table(result.coef_table()), f"<p>{escape(str(point.status))}: {escape(str(point.message))}</p>"]
        parts += [f'<p class="warning">{escape(w.message)}</p>' for w in point.warnings]
        parts.append(f"<p>Source: {escape(result.law.source)}</p>")
    if read:
        parts += ["<h2>What was read</h2>", f"<pre>{escape(read)}</pre>"]
    library = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;") if drawn else ""
    embeds = "".join(
        f'window.vegaEmbed("#chart{i}", {script_json(chart.to_dict())}, {{actions: false, renderer: "svg"}});'
        for i, chart in enumerate(drawn)
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + f'\n<script type="module">{library}</script>\n<script type="module">{embeds}</script>\n</body></html>\n'
    )


def _table(table: pd.DataFrame) -> str:
    def cell(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    head = "".join(f"<th>{escape(str(c))}</th>" for c in table)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell(v))}</td>" for v in row) + "</tr>" for row in table.itertuples(index=False)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
