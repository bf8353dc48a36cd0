"""What pages share: quantities typed as people write them, uploads, downloads, sentences instead of tracebacks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import altair as alt
import pandas as pd
import streamlit as st
from link import PageEnd
from streamlit.errors import StreamlitAPIException

import scaling
from scaling.charts import encoded
from scaling.errors import ScalingError
from scaling.fitting import OBJECTIVES
from scaling.laws import LAWS
from scaling.laws.published import PUBLISHED
from scaling.quantities import parse_quantity
from scaling.refitting.changes import safe_cell

MOST_ROWS = 200_000  # of an uploaded table
_HERE = Path(__file__).resolve().parent
DATA = _HERE.parent / "_data" if (_HERE.parent / "_data").is_dir() else _HERE.parent / "data"


def escape(text: object) -> str:
    """Text from a file as it may stand in Markdown: shown as written, never as a link, an image or a formula."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|<>~:$&])", r"\\\1", str(text).replace("\n", " "))


def stop() -> NoReturn:
    """End the page here."""
    raise PageEnd


def sentence(text: object) -> str:
    """The same, its first letter large."""
    return escape(str(text)[:1].upper() + str(text)[1:])


@contextmanager
def sentences() -> Iterator[None]:
    """Errors of the package become a sentence on the page, and the page ends there."""
    try:
        yield
    except ScalingError as error:
        st.error(sentence(error))
        raise PageEnd from None


def quantity(label: str, kind: str, key: str, default: str = "", help: str | None = None) -> float | None:
    """A quantity as people write it; None when left empty. The text stands in the address."""
    text = st.text_input(label, default, key=key, help=help, bind="query-params")
    if not text or not text.strip():
        return None
    with sentences():
        return parse_quantity(text, kind, name=label)


def text(label: str, key: str, default: str = "", help: str | None = None) -> str | None:
    """Text that the library reads itself; None when left empty. It stands in the address."""
    typed = st.text_input(label, default, key=key, help=help, bind="query-params")
    return typed.strip() or None if typed else None


def show_table(table: pd.DataFrame) -> None:
    """A table whose large and small numbers are text: the browser rounds integers above 2^53 and writes 1e-9 in full."""
    shown = table.copy()
    right = {}  # numbers written as text stand as numbers do
    for column in shown.columns:
        size = shown[column].abs() if pd.api.types.is_float_dtype(shown[column]) else pd.Series(dtype=float)
        if size.max() >= 1e4 or size[size > 0].min() < 1e-3:
            counted = any(part in str(column) for part in ("n_params", "n_tokens", "tokens_per_param"))
            write = (lambda v: scaling.format_quantity(v, digits=4)) if counted else "{:.4g}".format
            shown[column] = ["" if pd.isna(v) else write(v) for v in shown[column]]
            right[column] = st.column_config.TextColumn(alignment="right")
        elif shown[column].dtype == object:
            shown[column] = shown[column].astype(str)
    st.dataframe(shown, hide_index=True, column_config=right)


def show_chart(
    chart: alt.TopLevelMixin,
    key: str,
    what: str,
    titled: bool = True,
    table: pd.DataFrame | None = None,
    widget: str | None = None,
    **options: Any,
) -> Any:
    """A chart with its title as text above it, where it wraps on a narrow window; parts side by side stack there.

    Below it, its files: `table` is what it draws, as CSV. widget : key of the chart itself where it differs from `key`.
    """
    whole, chart = chart, chart.copy(deep=False)
    title = chart.title
    if isinstance(title, alt.Title):
        chart.title = alt.Undefined
    if isinstance(title, alt.Title) and titled:
        text, subtitle = (" ".join(t) if isinstance(t, list) else t for t in (title.text, title.subtitle))
        what = f"{what}. {text}"
        st.markdown(f"**{escape(text)}**")
        if isinstance(subtitle, str):
            st.caption(escape(subtitle))
    event = None
    if isinstance(chart, alt.HConcatChart):
        for i, (column, part) in enumerate(zip(st.columns(len(chart.hconcat)), chart.hconcat, strict=True)):
            part = part.copy(deep=False)
            if part.data is alt.Undefined:  # parts of one table leave it to the whole
                part.data = chart.data
            column.altair_chart(part, key=f"{key}_{i}", alt=what)
    else:
        event = st.altair_chart(chart, key=widget or key, alt=what, **options)
    row = st.container(horizontal=True, gap="small")
    if table is not None:
        row.download_button(
            "CSV", lambda: table.map(safe_cell).to_csv(index=False), f"{key}.csv", "text/csv", key=f"{key}_csv", type="tertiary", icon=ICON,
            on_click="ignore", help="What this chart draws, as a table.",
        )  # fmt: skip
    for kind, mime, words in CHART_FILES:
        row.download_button(
            kind.upper(), lambda kind=kind: encoded(whole, kind), f"{key}.{kind}", mime, key=f"{key}_{kind}", type="tertiary", icon=ICON,
            on_click="ignore", help=words,
        )  # fmt: skip
    return event


ICON = ":material/download:"
CHART_FILES = (  # kind, media type, help
    ("svg", "image/svg+xml", "This chart as a drawing that stays sharp at any size."),
    ("png", "image/png", "This chart as an image."),
    ("html", "text/html", "This chart as one page that opens offline, with values under the pointer."),
)


def downloads(key: str, table: pd.DataFrame | None = None, document: Any = None) -> None:
    """The numbers of the page as CSV and JSON; charts have their own files below them."""
    row = st.container(horizontal=True)
    if table is not None:
        row.download_button(
            "CSV", lambda: table.map(safe_cell).to_csv(index=False), f"{key}.csv", "text/csv", key=f"{key}_table_csv",
            on_click="ignore", help="The table, one row a line.",
        )  # fmt: skip
    if document is not None:
        row.download_button(
            "JSON", json.dumps(document, allow_nan=False), f"{key}.json", "application/json", key=f"{key}_json",
            on_click="ignore", help="Every number with its interval, as the command prints it with --json.",
        )  # fmt: skip


# --- runs ------------------------------------------------------------------------------------------------------------


def sample(name: str) -> tuple[str, bytes]:
    """A shipped data file: its name and content."""
    path = DATA / name
    return path.name, path.read_bytes()


def files_in_use(key: str, default: str) -> list[tuple[str, bytes]]:
    """Files this visitor uploaded under `key`, else the shipped sample."""
    return st.session_state.get(f"files_{key}") or [sample(default)]


def upload(
    key: str, default: str, label: str = "Your own logs: CSV, TSV, JSON lines or Parquet, also gzipped"
) -> list[tuple[str, bytes]]:
    """An uploader that remembers its files while the visitor walks through the pages."""
    given = st.file_uploader(label, accept_multiple_files=True, key=f"upload_{key}", max_upload_size=200)
    if given:
        st.session_state[f"files_{key}"] = [(f.name, f.getvalue()) for f in given]
    if f"files_{key}" in st.session_state and st.button("Back to the sample", key=f"back_{key}"):
        del st.session_state[f"files_{key}"]
        st.rerun()
    return files_in_use(key, default)


def current_runs() -> pd.DataFrame:
    """The runs every page works on: uploaded or sample, with this visitor's mapping, without the runs they excluded."""
    import cache

    with sentences():
        runs = cache.read(files_in_use("runs", "ladder/runs.csv"), dict(st.session_state.get("mapping", {})))
        if len(runs) > MOST_ROWS:
            raise scaling.RunsError(
                f"the log has {len(runs):,} rows; the app takes {MOST_ROWS:,}. Use the command `scaling` for more."
            )
    if excluded():
        read = runs.attrs
        runs = runs[~runs["run"].isin(excluded())]
        runs.attrs = read
    return runs


def excluded() -> set[str]:
    """Names of the runs this visitor leaves out."""
    return st.session_state.get("excluded", set())


def exclude(names: Iterable[str]) -> None:
    """Leave these runs out from now on, beside those left out before; none: take all back."""
    new = set(names)
    st.session_state["excluded"] = excluded() | new if new else set()


OWN = "your fit"


def fit_settings(runs: pd.DataFrame, *places: Any) -> tuple[list[str], str, int]:
    """Laws, objective and resamples of the visitor's fit, on every page that uses it: so its link makes the same fit."""
    able = [n for n, law in LAWS.items() if law.target == "loss" and set(law.inputs) <= set(runs.columns)]
    if not able:
        st.warning("No law fits these columns: map n_params, n_tokens or flops on the page Runs.")
        stop()
    one, two, three = places
    kept = st.session_state.setdefault("own_fit", {})
    for key, value in kept.items() if st.session_state.get("arrived") else ():
        if key not in st.query_params:  # the framework forgets an input that another page shows as well
            st.session_state[key] = value
            with suppress(StreamlitAPIException):  # still bound to the input of the other page, which keeps it there
                st.query_params[key] = [str(v) for v in value] if isinstance(value, list) else str(value)
    laws = [n for n in ("chinchilla",) if n in able] or able[:1]
    chosen = one.multiselect(
        "Laws", able, default=None if "laws" in st.session_state else laws,
        key="laws", bind="query-params",
        help="The first is drawn; all are compared. Each law with its formula is on the page Library.",
    )  # fmt: skip
    objective = two.selectbox(
        "Objective", list(OBJECTIVES), key="objective", bind="query-params",
        help="What is minimised: robust takes the size of the noise from the runs and gives far outliers no weight; hoffmann is Huber 1e-3 on log loss, as in the literature.",
    )  # fmt: skip
    resamples = three.select_slider(
        "Resamples", [0, 100, 300, 1000, 4000], None if "resamples" in st.session_state else 300, key="resamples", bind="query-params",
        help="Refits on runs drawn anew; intervals come from them.",
    )  # fmt: skip
    st.session_state["own_fit"] = {"laws": chosen, "objective": objective, "resamples": resamples}
    return chosen, objective, resamples


def own_fit(runs: pd.DataFrame) -> None:
    """The settings of the visitor's fit on a page that uses it, folded away."""
    with st.expander("Your fit"):
        fit_settings(runs, *st.columns([3, 1, 1]))


PLANNABLE = ("chinchilla", "kaplan", "overtraining", "farseer")  # laws of size and tokens that a page Fit may hold


def published_laws() -> list[str]:
    """Keys of the published laws of loss over model size and tokens."""
    return [k for k, e in PUBLISHED.items() if {"n_params", "n_tokens"} == set(e.law.inputs) and e.law.target == "loss"]


def law_in_use(name: str) -> Any:
    """A published law, or the fit of the page Fit with its resamples."""
    import cache

    if name != OWN:
        return PUBLISHED[name]
    fitted = [n for n in st.session_state.get("laws", []) if n in PLANNABLE]
    return cache.fit(
        fitted[0] if fitted else "chinchilla",
        current_runs(),
        st.session_state.get("objective", "robust"),
        st.session_state.get("resamples", 300) or 300,
    )
