"""Work that is kept between reruns, per visitor, keyed by the content of the files and the options."""

from __future__ import annotations

import hashlib
import io
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


def opened(files: list[tuple[str, bytes]]) -> list[_Named]:
    return [_Named(name, content) for name, content in files]


def read(files: list[tuple[str, bytes]], mapping: dict[str, str], final: bool) -> pd.DataFrame:
    """The runs table of files (name, content)."""
    return _read(content_key(files), tuple(sorted(mapping.items())), final, files)


@st.cache_data(scope="session", max_entries=8, show_spinner="Reading")
def _read(key: str, mapping: tuple[tuple[str, str], ...], final: bool, _files: list[tuple[str, bytes]]) -> pd.DataFrame:
    return scaling.read_runs(opened(_files), columns=dict(mapping), final=final)


def runs_key(runs: pd.DataFrame) -> str:
    return hashlib.sha256(pd.util.hash_pandas_object(runs, index=False).to_numpy().tobytes()).hexdigest()


def fit(law: str, runs: pd.DataFrame, objective: str, resamples: int) -> Any:
    """A fit with its resamples."""
    return _fit(runs_key(runs), law, objective, resamples, runs)


@st.cache_resource(scope="session", max_entries=32, show_spinner="Fitting")
def _fit(key: str, law: str, objective: str, resamples: int, _runs: pd.DataFrame) -> Any:
    result = scaling.fit(law, _runs, objective)
    return scaling.bootstrap(result, resamples) if resamples and bool(result.converged) else result


def fit_groups(law: str, runs: pd.DataFrame, objective: str, by: str) -> Any:
    """One fit for each value of a column, in one batch."""
    return _fit_groups(runs_key(runs), law, objective, by, runs)


@st.cache_resource(scope="session", max_entries=8, show_spinner="Fitting each group")
def _fit_groups(key: str, law: str, objective: str, by: str, _runs: pd.DataFrame) -> Any:
    return scaling.fit(law, _runs, objective, by=[by])


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


@st.cache_data(scope="session", max_entries=16, show_spinner="Reading")
def table_of(key: str, _files: list[tuple[str, bytes]]) -> pd.DataFrame:
    from scaling.logs import read_table

    return read_table(opened(_files))
