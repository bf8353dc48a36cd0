"""What a page shows of a result: tables, charts, and the files of either.

Libraries of tables and charts are loaded when they are used: the first page does without them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st
from words import escape

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

ICON = ":material/download:"
CHART_FILES = (  # kind, media type, help
    ("svg", "image/svg+xml", "This chart as a drawing that stays sharp at any size."),
    ("png", "image/png", "This chart as an image."),
    ("html", "text/html", "This chart as one page that opens offline, with values under the pointer."),
)


def table(rows: pd.DataFrame) -> None:
    """A table whose large, small and missing numbers are text: the browser rounds integers above 2^53, writes 1e-9 in full
    and shows what is missing as None."""
    import pandas as pd

    from scaling.report import written

    shown = rows.copy()
    right = {}  # numbers written as text stand as numbers do
    for column in shown.columns:
        size = shown[column].abs() if pd.api.types.is_float_dtype(shown[column]) else pd.Series(dtype=float)
        if size.max() >= 1e4 or size[size > 0].min() < 1e-3 or size.isna().any():
            shown[column] = [written(str(column), v) for v in shown[column]]
            right[column] = st.column_config.TextColumn(alignment="right")
        elif shown[column].dtype == object:
            shown[column] = shown[column].astype(str)
    st.dataframe(shown, hide_index=True, column_config=right)


def chart(
    drawing: alt.TopLevelMixin,
    key: str,
    what: str,
    titled: bool = True,
    rows: pd.DataFrame | None = None,
    widget: str | None = None,
    **options: Any,
) -> Any:
    """A chart with its title as text above it, where it wraps on a narrow window; parts side by side stack there.

    Below it, its files: `rows` are what it draws, as CSV. widget : key of the chart itself where it differs from `key`.
    """
    import altair as alt

    whole, drawing = drawing, drawing.copy(deep=False)
    title = drawing.title
    if isinstance(title, alt.Title):
        drawing.title = alt.Undefined
    if isinstance(title, alt.Title) and titled:
        text, subtitle = (" ".join(t) if isinstance(t, list) else t for t in (title.text, title.subtitle))
        what = f"{what}. {text}"
        heading(text, subtitle)
    event = None
    if isinstance(drawing, alt.HConcatChart):
        for i, (column, part) in enumerate(zip(st.columns(len(drawing.hconcat)), drawing.hconcat, strict=True)):
            part = part.copy(deep=False)
            if part.data is alt.Undefined:  # parts of one table leave it to the whole
                part.data = drawing.data
            column.altair_chart(part, key=f"{key}_{i}", alt=what)
    else:
        event = st.altair_chart(drawing, key=widget or key, alt=what, **options)
    chart_files(key, lambda: whole, None if rows is None else lambda: rows)
    return event


def heading(text: str, subtitle: Any = None) -> None:
    """The title of a chart and what stands below it."""
    st.markdown(f"**{escape(text)}**")
    if isinstance(subtitle, str):
        st.caption(escape(subtitle))


def chart_files(
    key: str, draw: Callable[[], alt.TopLevelMixin], rows: Callable[[], pd.DataFrame] | None = None
) -> None:
    """The files of a chart, each made when it is asked for."""
    row = st.container(horizontal=True, gap="small")
    if rows is not None:
        _file(
            row, "CSV", lambda: _csv(rows()), f"{key}.csv", "text/csv", f"{key}_csv",
            "What this chart draws, as a table.", type="tertiary", icon=ICON,
        )  # fmt: skip
    for kind, mime, words in CHART_FILES:
        _file(
            row, kind.upper(), lambda kind=kind: _encoded(draw(), kind), f"{key}.{kind}", mime, f"{key}_{kind}",
            words, type="tertiary", icon=ICON,
        )  # fmt: skip


def downloads(
    key: str,
    rows: pd.DataFrame | None = None,
    document: Any = None,
    report: Callable[[], Sequence[Any]] | None = None,
    named: str = "Report",
) -> None:
    """The numbers of a page as CSV and JSON, and its report: parts as `scaling.report.report` takes them.

    document : of the JSON, or what makes it; without one the JSON has the rows.
    """
    row = st.container(horizontal=True)
    if rows is not None:
        _file(
            row, "CSV", lambda: _csv(rows), f"{key}.csv", "text/csv", f"{key}_table_csv", "The table, one row a line."
        )
    if document is not None:
        make = document if callable(document) else lambda: document
        _file(
            row, "JSON", lambda: json.dumps(make(), allow_nan=False), f"{key}.json", "application/json",
            f"{key}_json", "Every number with its interval, as the command prints it with --json.",
        )  # fmt: skip
    elif rows is not None:
        _file(
            row, "JSON", lambda: rows.to_json(orient="records", double_precision=15, date_format="iso"), f"{key}.json",
            "application/json", f"{key}_json", "The table, one object for each row.",
        )  # fmt: skip
    if report is not None:
        _file(
            row, f"{named} (HTML)", lambda: _report(report()), f"{key}.html", "text/html", f"{key}_report",
            "Findings, charts and tables of this page in one file that opens offline.",
        )  # fmt: skip


def _file(
    place: Any, label: str, make: Callable[[], Any], name: str, mime: str, key: str, help: str, **looks: Any
) -> None:
    # "ignore": the rerun that a click otherwise begins can take the file away before the browser has it
    place.download_button(label, make, name, mime, key=key, on_click="ignore", help=help, **looks)


def _csv(rows: pd.DataFrame) -> str:
    from scaling.refitting.changes import safe_cell

    return rows.map(safe_cell).to_csv(index=False)


def _encoded(drawing: alt.TopLevelMixin, kind: str) -> bytes:
    from scaling.charts import encoded

    return encoded(drawing, kind)


def _report(parts: Sequence[Any]) -> str:
    from scaling.report import report

    return report(*parts)
