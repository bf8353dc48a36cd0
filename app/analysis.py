"""The shape that the three pages of curve analyses share: files, columns, a finding, a chart, a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cache
import pandas as pd
import show
import streamlit as st
import uploads
import words

import scaling
from scaling.sections import section


def page(title: str, key: str, sample: str, about: str) -> tuple[list[tuple[str, bytes]], pd.DataFrame]:
    """Heading, uploader, and the table as it stands."""
    st.title(title)
    st.write(about)
    files = uploads.upload(key, sample, "Your own table: CSV, TSV, JSON lines or Parquet")
    with words.sentences():
        return files, cache.table_of(cache.content_key(files), files)


def column(label: str, table: pd.DataFrame, preferred: tuple[str, ...], key: str, help: str) -> str:
    """A numeric column, the first preferred one that is there by default."""
    names = [str(c) for c in table if pd.api.types.is_numeric_dtype(table[c])]
    if not names:
        st.error("The table has no column of numbers.")
        words.stop()
    start = next((names.index(p) for p in preferred if p in names), 0)
    return st.selectbox(label, names, index=start, key=key, help=help, bind="query-params")


NONE = "none"


def optional(label: str, names: list[str], default: str | None, key: str, help: str) -> str | None:
    """One of these columns, or none."""
    names = [NONE, *names]
    start = names.index(default) if default in names else 0
    chosen = st.selectbox(label, names, index=start, key=key, help=help, bind="query-params")
    return None if chosen == NONE else chosen


def rows(table: pd.DataFrame, where: tuple[tuple[str, str], ...]) -> pd.DataFrame:
    """The rows that `keep` chose."""
    for name, value in where:
        table = table[table[name].astype(str) == value]
    return table


def keep(table: pd.DataFrame, key: str, preferred: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Rows to keep, by columns with few values."""
    few = [str(c) for c in table if 1 < table[c].nunique() <= 12]
    kept = []
    with st.expander("Which rows", expanded=False):
        st.caption("Rows that share these values are analysed; mixing settings can hide or feign an effect.")
        for name in few:
            values = sorted(table[name].astype(str).unique())
            default = preferred.get(name, "all")
            choice = st.selectbox(
                words.escape(name),
                ["all", *values],
                index=(["all", *values].index(default) if default in values else 0),
                key=f"{key}_{name}",
                help="Keep the rows with this value of the column.",
                bind="query-params",
            )
            if choice != "all":
                kept.append((name, choice))
    return tuple(kept)


def present(
    name: str,
    files: list[tuple[str, bytes]],
    options: dict[str, Any],
    draw: Any,
    table: Any,
    where: tuple[tuple[str, str], ...] = (),
    report: bool = True,
) -> Any:
    """Run the analysis and show finding, chart and downloads, `table` of the result as CSV; returns the result.

    report : offer the report here; a page that has more to say offers its own below.
    """
    with words.sentences():
        result = cache.analyse(name, cache.content_key(files), tuple(sorted(options.items())), files, where)
    st.success(words.escape(result.finding))
    try:
        picture = draw(result)
    except scaling.ScalingError as error:
        st.info(words.escape(error))
        picture = None
    if picture is not None:
        show.chart(picture, f"{name}_chart", result.finding, titled=False)  # the finding stands above
    drawn = () if picture is None else (picture,)
    parts = (lambda: [replace(section(result), charts=drawn)]) if report else None
    show.downloads(name, table(result), result.to_dict(), parts)
    return result
