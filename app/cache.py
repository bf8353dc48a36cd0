"""Work that is kept between reruns, per visitor, keyed by the content of the files and the options."""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path, PurePath
from typing import Any

import pandas as pd
import streamlit as st
from uploads import DATA, RUNS, UNIT
from words import stop

import scaling
from scaling.progress import Bar, Report


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


def read(files: list[tuple[str, bytes]], reading: dict[str, str]) -> pd.DataFrame:
    """The runs table of files (name, content), one row for each run; reading : as `uploads.reading` has it."""
    sources, chosen = opened(files), _chosen(reading)
    key = ("read", content_key(files), *sorted(reading.items()))
    return _kept(key, "Reading", lambda p: scaling.read_runs(sources, progress=p, **chosen))


def _chosen(reading: dict[str, str]) -> dict[str, Any]:
    columns = dict(reading)
    return {"loss_unit": columns.pop(UNIT, None), "columns": columns}


@st.cache_data(scope="session", max_entries=8, show_spinner="Reading")
def preview(key: str, _files: list[tuple[str, bytes]]) -> pd.DataFrame:
    """The first rows as they stand in the file; all headers."""
    from scaling.logs import read_table

    name, content = _files[0]
    if len(content) > LARGE and PurePath(name).suffix.lower() in (".csv", ".tsv", ".txt", ".jsonl"):
        return read_table([_Named(name, content[: content.rindex(b"\n", 0, 200_000) + 1])]).head(5)
    return read_table(opened(_files)).head(5)


def curves(files: list[tuple[str, bytes]], reading: dict[str, str]) -> pd.DataFrame | None:
    """Rows of the training curves, as many of each run as a chart can show; None where the logs are too large for it."""
    if sum(len(content) for _, content in files) > LARGE:
        return None
    from scaling.charts import thinned

    sources, chosen = opened(files), _chosen(reading)
    key = ("curves", content_key(files), *sorted(reading.items()))
    return _kept(
        key, "Reading curves", lambda p: thinned(scaling.read_runs(sources, final=False, progress=p, **chosen))
    )


def runs_key(runs: pd.DataFrame) -> str:
    return hashlib.sha256(pd.util.hash_pandas_object(runs, index=False).to_numpy().tobytes()).hexdigest()


RESULTS_KEPT = 32  # of one visitor
PATIENCE, EVERY = 0.3, 0.1  # seconds before a bar is drawn, and between its changes


def _kept(key: tuple[Any, ...], doing: str, work: Callable[[Report], Any]) -> Any:
    """What `work` makes, once for each key of this visitor; the key starts with the name of the work.

    While it lasts a bar shows how far it is, and a button ends it. Work that was ended is not begun again by the page, but
    by the visitor.
    """
    results: OrderedDict[tuple[Any, ...], Any] = st.session_state.setdefault("results", OrderedDict())
    cancelled: set[tuple[Any, ...]] = st.session_state.setdefault("cancelled", set())
    if key not in results:
        name = f"{key[0]}_{hashlib.sha256(repr(key).encode()).hexdigest()[:12]}"
        if key in cancelled:
            st.info("Cancelled: nothing was computed.")
            st.button("Run it", key=f"run_{name}", on_click=cancelled.discard, args=(key,))
            stop()
        results[key] = _watched(doing, f"cancel_{name}", lambda: cancelled.add(key), work)
    results.move_to_end(key)
    if len(results) > RESULTS_KEPT:
        results.popitem(last=False)
    return results[key]


class _Ended(Exception):
    """Nobody waits for this work any more."""


def _watched(doing: str, button: str, cancel: Callable[[], None], work: Callable[[Report], Any]) -> Any:
    """Does the work in a thread of its own and draws how far it is.

    So the page answers at once also where the work says nothing for a while: a click on the button, or on anything else
    of the page, reruns it, and the work ends at its next word. `cancel` is called before the page runs again.
    """
    place, bar, share, ended = st.empty(), None, 0.0, threading.Event()
    made: Future[Any] = Future()

    def progress(done: int, total: int) -> None:
        nonlocal share
        if ended.is_set():
            raise _Ended
        share = done / total

    def run() -> None:
        try:
            made.set_result(work(progress))
        except BaseException as error:
            made.set_exception(error)  # raised again on the page

    threading.Thread(target=run, daemon=True).start()
    try:
        while not wait([made], PATIENCE if bar is None else EVERY).done:
            said = f"{doing}: {share:.0%}" if share else doing
            if bar is None:
                row = place.container(horizontal=True, vertical_alignment="center")
                bar = row.progress(share, said)
                row.button(
                    "Cancel", key=button, on_click=cancel, help="Ends this work; what was computed before stays."
                )
            else:
                bar.progress(share, said)
        return made.result()
    finally:
        ended.set()
        place.empty()


def fit(law: str, runs: pd.DataFrame, objective: str, resamples: int) -> Any:
    """A fit with its resamples."""

    def work(progress: Report) -> Any:
        result = scaling.fit(law, runs, objective)
        if not resamples or not bool(result.converged):
            return result
        return scaling.bootstrap(result, resamples, progress=progress)

    doing = f"Fitting and resampling {law}" if resamples else f"Fitting {law}"
    return _kept(("fit", runs_key(runs), law, objective, resamples), doing, work)


def fit_groups(law: str, runs: pd.DataFrame, objective: str, by: str) -> Any:
    """One fit for each value of a column, in one batch."""
    key = ("fit_groups", runs_key(runs), law, objective, by)
    return _kept(key, "Fitting each group", lambda _: scaling.fit(law, runs, objective, by=[by]))


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
    from scaling.designing import design as choose

    key = ("design", runs_key(result.point.runs), result.law.name, flops, spend, quantity)
    return _kept(key, "Choosing runs", lambda p: choose(result.point, flops, spend, quantity=quantity, progress=p))


def compare(laws: list[str], runs: pd.DataFrame, objective: str) -> Any:
    """Laws ranked by how well they predict the largest scales."""
    key = ("compare", runs_key(runs), tuple(laws), objective)
    return _kept(
        key,
        "Comparing laws on held-out scales",
        lambda p: scaling.compare(list(laws), runs, objective, n_resamples=100, progress=p),
    )


def sample_store() -> str:
    """A refit store of the sample runs after two nights, so that there is something to compare; where it lies."""
    store = str(folder() / "store")

    def work(progress: Report) -> str:
        for seed, night in enumerate(Bar(progress).parts(1, 1)):
            scaling.refit(
                [str(DATA / RUNS)], ["chinchilla", "kaplan"], store=store, resamples=200, seed=seed, workers=1, progress=night
            )  # fmt: skip
        return store

    return _kept(("sample_store",), "Refitting", work)


def isoflop(runs: pd.DataFrame) -> Any:
    """The best size of each budget."""
    key = ("isoflop", runs_key(runs))
    return _kept(key, "Reading off the budgets", lambda p: scaling.isoflop(runs, n_resamples=200, progress=p))


DOING = {
    "emergence": "Fitting curves to scores, real and simulated",
    "double_descent": "Looking for a peak that is no noise",
    "grokking": "Measuring delays",
}


def analyse(
    name: str,
    key: str,
    options: tuple[tuple[str, Any], ...],
    files: list[tuple[str, bytes]],
    where: tuple[tuple[str, str], ...] = (),
) -> Any:
    """One of the curve analyses on uploaded files; `where` keeps rows by the text of a column."""

    table = table_of(key, files)
    for column, value in where:
        table = table[table[column].astype(str) == value]
    table = table.reset_index(drop=True)
    analysis = getattr(scaling, name)
    return _kept((name, key, options, where), DOING[name], lambda p: analysis(table, **dict(options), progress=p))


def parts(key: str, options: tuple[tuple[str, Any], ...], files: list[tuple[str, bytes]]) -> Any:
    """A score of whole answers held against the rate of their right parts."""
    from scaling.curves.mirage import mirage

    table = table_of(key, files)
    doing = "Comparing the answer with its parts"
    return _kept(("parts", key, options), doing, lambda p: mirage(table, **dict(options), progress=p))


@st.cache_data(scope="session", max_entries=16, show_spinner="Reading")
def table_of(key: str, _files: list[tuple[str, bytes]]) -> pd.DataFrame:
    from scaling.logs import read_table

    return read_table(opened(_files))
