"""Work that is kept between reruns, per visitor, keyed by the content of the files and the options."""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
import weakref
from collections import OrderedDict
from pathlib import Path, PurePath
from typing import Any

import pandas as pd
import streamlit as st

import scaling


def content_key(files: list[tuple[str, bytes]]) -> str:
    digest = hashlib.sha256()
    for name, content in files:
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()


class _Named(io.BytesIO):
    """Bytes with the name they were uploaded under."""

    def __init__(self, name: str, content: bytes) -> None:
        super().__init__(content)
        self.name = name


LARGE = 32_000_000  # bytes: a longer upload is read from disk, in blocks


def opened(files: list[tuple[str, bytes]]) -> list[_Named | str]:
    """What the readers take: content under its name, or where a large one lies for as long as the visit lasts."""
    return [_Named(name, content) if len(content) <= LARGE else _on_disk(name, content) for name, content in files]


class _Folder:
    """A folder on disk, removed with the object."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="scaling-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def folder() -> Path:
    """A folder of this visit."""
    if "folder" not in st.session_state:
        st.session_state["folder"] = _Folder()
    return st.session_state["folder"].path


def _on_disk(name: str, content: bytes) -> str:
    folder = st.session_state.setdefault(
        "uploads", tempfile.TemporaryDirectory(prefix="scaling-")
    )  # goes with the visit
    path = Path(folder.name) / hashlib.sha256(content).hexdigest()[:16] / (PurePath(name).name or "log")
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return str(path)


def read(files: list[tuple[str, bytes]], mapping: dict[str, str]) -> pd.DataFrame:
    """The runs table of files (name, content), one row for each run."""
    return _read(content_key(files), tuple(sorted(mapping.items())), files)


@st.cache_data(scope="session", max_entries=8, show_spinner="Reading")
def _read(key: str, mapping: tuple[tuple[str, str], ...], _files: list[tuple[str, bytes]]) -> pd.DataFrame:
    return scaling.read_runs(opened(_files), columns=dict(mapping))


@st.cache_data(scope="session", max_entries=8, show_spinner="Reading")
def preview(key: str, _files: list[tuple[str, bytes]]) -> pd.DataFrame:
    """The first rows as they stand in the file; all headers."""
    from scaling.logs import read_table

    name, content = _files[0]
    if len(content) > LARGE and PurePath(name).suffix.lower() in (".csv", ".tsv", ".txt", ".jsonl"):
        return read_table([_Named(name, content[: content.rindex(b"\n", 0, 200_000) + 1])]).head(5)
    return read_table(opened(_files)).head(5)


def curves(files: list[tuple[str, bytes]], mapping: dict[str, str]) -> pd.DataFrame | None:
    """Rows of the training curves, as many of each run as a chart can show; None where the logs are too large for it."""
    if sum(len(content) for _, content in files) > LARGE:
        return None
    return _curves(content_key(files), tuple(sorted(mapping.items())), files)


@st.cache_data(scope="session", max_entries=8, show_spinner="Reading")
def _curves(key: str, mapping: tuple[tuple[str, str], ...], _files: list[tuple[str, bytes]]) -> pd.DataFrame:
    from scaling.charts import thinned

    return thinned(scaling.read_runs(opened(_files), columns=dict(mapping), final=False))


def runs_key(runs: pd.DataFrame) -> str:
    return hashlib.sha256(pd.util.hash_pandas_object(runs, index=False).to_numpy().tobytes()).hexdigest()


FITS_KEPT = 32  # of one visitor


def fit(law: str, runs: pd.DataFrame, objective: str, resamples: int) -> Any:
    """A fit with its resamples. Kept by hand, so that a bar shows how far it is and Stop ends it between batches."""
    fits: OrderedDict[tuple[Any, ...], Any] = st.session_state.setdefault("fits", OrderedDict())
    key = (runs_key(runs), law, objective, resamples)
    if key not in fits:
        with st.spinner("Fitting"):
            result = scaling.fit(law, runs, objective)
        if resamples and bool(result.converged):
            bar = st.progress(0.0, f"Resampling {law}")
            result = scaling.bootstrap(
                result, resamples, progress=lambda done, total: bar.progress(done / total, f"Resampling {law}")
            )
            bar.empty()
        fits[key] = result
        if len(fits) > FITS_KEPT:
            fits.popitem(last=False)
    return fits[key]


def fit_groups(law: str, runs: pd.DataFrame, objective: str, by: str) -> Any:
    """One fit for each value of a column, in one batch."""
    return _fit_groups(runs_key(runs), law, objective, by, runs)


@st.cache_resource(scope="session", max_entries=8, show_spinner="Fitting each group")
def _fit_groups(key: str, law: str, objective: str, by: str, _runs: pd.DataFrame) -> Any:
    return scaling.fit(law, _runs, objective, by=[by])


def score_link(files: list[tuple[str, bytes]]) -> Any:
    """From loss to score, by the evaluations of the page Emergence."""
    table = table_of(content_key(files), files)
    score = next((c for c in ("score", "exact_match", "accuracy") if c in table), None)
    if score is None or "loss" not in table:
        raise scaling.RunsError(
            "a plan for a score needs evaluations with the columns loss and score on the page Emergence."
        )
    items = (("n_items", "n_items"),) if "n_items" in table else ()
    options = tuple(sorted((("n_draws", 100), ("score", score), ("x", "loss"), *items)))
    return analyse("emergence", content_key(files), options, files)


def design(result: Any, flops: float, spend: float, quantity: str) -> Any:
    """The next runs to do."""
    return _design(runs_key(result.point.runs), result.law.name, flops, spend, quantity, result)


@st.cache_resource(scope="session", max_entries=8, show_spinner="Choosing runs")
def _design(key: str, law: str, flops: float, spend: float, quantity: str, _result: Any) -> Any:
    from scaling.design import design as choose

    return choose(_result.point, flops, spend, quantity=quantity)


def compare(laws: list[str], runs: pd.DataFrame, objective: str) -> Any:
    """Laws ranked by how well they predict the largest scales."""
    return _compare(runs_key(runs), tuple(laws), objective, runs)


@st.cache_resource(scope="session", max_entries=8, show_spinner="Comparing on held-out scales")
def _compare(key: str, laws: tuple[str, ...], objective: str, _runs: pd.DataFrame) -> Any:
    return scaling.compare(list(laws), _runs, objective, n_resamples=100)


def isoflop(runs: pd.DataFrame) -> Any:
    """The best size of each budget."""
    return _isoflop(runs_key(runs), runs)


@st.cache_resource(scope="session", max_entries=8, show_spinner="Reading off the budgets")
def _isoflop(key: str, _runs: pd.DataFrame) -> Any:
    return scaling.isoflop(_runs, n_resamples=200)


@st.cache_resource(scope="session", max_entries=16, show_spinner="Analysing")
def analyse(
    name: str,
    key: str,
    options: tuple[tuple[str, Any], ...],
    _files: list[tuple[str, bytes]],
    where: tuple[tuple[str, str], ...] = (),
) -> Any:
    """One of the curve analyses on uploaded files; `where` keeps rows by the text of a column."""
    from scaling.logs import read_table

    table = read_table(opened(_files))
    for column, value in where:
        table = table[table[column].astype(str) == value]
    return getattr(scaling, name)(table.reset_index(drop=True), **dict(options))


@st.cache_resource(scope="session", max_entries=4, show_spinner="Comparing the answer with its parts")
def parts(key: str, options: tuple[tuple[str, Any], ...], _files: list[tuple[str, bytes]]) -> Any:
    """A score of whole answers held against the rate of their right parts."""
    from scaling.curves.mirage import mirage
    from scaling.logs import read_table

    return mirage(read_table(opened(_files)), **dict(options))


@st.cache_data(scope="session", max_entries=16, show_spinner="Reading")
def table_of(key: str, _files: list[tuple[str, bytes]]) -> pd.DataFrame:
    from scaling.logs import read_table

    return read_table(opened(_files))
