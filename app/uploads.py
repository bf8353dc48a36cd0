"""The files a visitor works on: their own or the sample, which column is what, and the runs they leave out.

Loaded before anything is shown, so nothing slow is imported here.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import streamlit as st

_HERE = Path(__file__).resolve().parent
DATA = _HERE.parent / "_data" if (_HERE.parent / "_data").is_dir() else _HERE.parent / "data"
RUNS = "ladder/runs.csv"  # the sample of every page that needs runs
MAPPED = ("n_params", "n_tokens", "flops", "loss")  # columns that a visitor may choose
UNIT = "loss_unit"


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


def reading() -> dict[str, str]:
    """How the visitor has the files read, where they chose: the column for each of MAPPED, and the unit of the loss."""
    return dict(st.session_state.get("reading", {}))


def excluded() -> set[str]:
    """Names of the runs this visitor leaves out."""
    return st.session_state.get("excluded", set())


def exclude(names: Iterable[str]) -> None:
    """Leave these runs out from now on, beside those left out before; none: take all back."""
    new = set(names)
    st.session_state["excluded"] = excluded() | new if new else set()


def untouched() -> bool:
    """Whether the visitor works on the sample runs as they are shipped."""
    return "files_runs" not in st.session_state and not reading() and not excluded()
