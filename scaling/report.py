"""A report in one HTML file that opens offline: findings, charts, tables, and what to beware of."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import ScalingError
from scaling.quantities import format_quantity
from scaling.sections import MOST_ROWS, Section, section

if TYPE_CHECKING:
    import pandas as pd

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff; }
table { border-collapse: collapse; display: block; overflow: auto; max-height: 40rem; } th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd; }
th { position: sticky; top: 0; background: #fff; white-space: nowrap; } td { white-space: nowrap; } .words { text-align: left; white-space: normal; min-width: 8rem; }
pre { white-space: pre-wrap; }
.chart { overflow-x: auto; } .note { color: #555; } .warning { border-left: 4px solid #d62728; padding-left: .8rem; }
"""


def report(*parts: Any, title: str = "Scaling laws") -> str:
    """The report as HTML text, one section for each part, in their order.

    parts : results of the package (fits, plans, comparisons, analyses of curves), tables of runs, laws, the directory of a
    refit store as a Path, or a `Section` of one's own. All text is escaped; nothing is loaded from elsewhere. Tables show
    their first 1,000 rows and say so. Raises ScalingError without a part, and for a part that has no section.
    """
    if not parts:
        raise ScalingError("a report needs at least one fit, plan or other result.")
    sections = [section(part) for part in parts]
    body = [f"<h1>{escape(title)}</h1>"]
    charts: list[Any] = []
    for each in sections:
        body += _opening(each)
        for chart in each.charts:
            body.append(f'<div class="chart" id="chart{len(charts)}"></div>')
            charts.append(chart)
        body += _rest(each)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + (_scripts(charts) if charts else "")
        + "\n</body></html>\n"
    )


def _opening(part: Section) -> list[str]:
    lines = [f"<h2>{escape(part.heading)}</h2>"]
    if part.equation:
        lines.append(f"<p><code>{escape(part.equation)}</code></p>")
    if part.finding:
        lines.append(f"<p>{escape(part.finding)}</p>")
    return [*lines, *(f'<p class="warning">{escape(w)}</p>' for w in part.warnings)]


def _rest(part: Section) -> list[str]:
    lines = [f"<pre>{escape(part.text)}</pre>"] if part.text else []
    for caption, table in part.tables:
        lines.append(f"<h3>{escape(caption)}</h3>{_table(table)}")
    return [*lines, *(f'<p class="note">{escape(n)}</p>' for n in part.notes)]


def _scripts(charts: list[Any]) -> str:
    import vl_convert

    from scaling.charts import script_json

    library = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    embeds = "".join(
        f'window.vegaEmbed("#chart{i}", {script_json(chart.to_dict())}, {{actions: false, renderer: "svg"}});'
        for i, chart in enumerate(charts)
    )
    return f'\n<script type="module">{library}</script>\n<script type="module">{embeds}</script>'


COUNTED = ("n_params", "n_tokens", "tokens_per_param")  # columns whose large numbers read best as 1.2B


def written(column: str, value: Any) -> str:
    """One cell as a reader takes it: 1.2B for sizes and tokens, four digits for other numbers, nothing for no number."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        value = float(value)
        if np.isnan(value):
            return ""
        if any(part in column for part in COUNTED) and 1e4 <= abs(value) < np.inf:
            return format_quantity(value, digits=4)
        return f"{value:.4g}"
    return "" if value is None else str(value)


def _table(table: pd.DataFrame) -> str:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if table.empty:
        return '<p class="note">No rows.</p>'
    words = [not is_numeric_dtype(kind) or is_bool_dtype(kind) for kind in table.dtypes]
    head = _row(table.columns, words, "th")
    shown = table.head(MOST_ROWS)
    names = [str(c) for c in table]
    rows = "".join(
        _row([written(c, v) for c, v in zip(names, row, strict=True)], words, "td")
        for row in shown.itertuples(index=False, name=None)
    )
    cut = f'<p class="note">The first {MOST_ROWS:,} of {len(table):,} rows.</p>' if len(table) > MOST_ROWS else ""
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>{cut}"


def _row(cells: Iterable[object], words: list[bool], kind: str) -> str:
    """A line of a table; columns of words stand to the left."""
    marks = (' class="words"' if w else "" for w in words)
    return (
        "<tr>" + "".join(f"<{kind}{m}>{escape(str(c))}</{kind}>" for c, m in zip(cells, marks, strict=True)) + "</tr>"
    )
