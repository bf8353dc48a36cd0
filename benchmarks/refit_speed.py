"""Seconds of a nightly refit, beside a bare loop that reads, the engine alone, and scipy with random starts.

Part 1: CSV files of 250 runs, Chinchilla, 200 resamples each; the same again with nothing and with 1 % of the files changed.
Part 2: 10,000 groups of 30 runs in one table. --quick: a twentieth of both.
--store N: what the main process costs with N groups, the fits left out. --curves GB: one large file of training curves, whose
learning rate stays or, with --varying, changes in every row. --paper: what the table "On paper" of docs/refit.md starts from.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from scaling.fitting import fit
from scaling.refitting import refit
from scaling.refitting.fits import fit_chunk
from scaling.refitting.run import CHUNK
from scaling.refitting.store import Fitted, Store
from scaling.uncertainty import bootstrap

ROWS, RESAMPLES, STARTS, DELTA = 250, 200, 200, 1e-3
OBJECTIVE = "hoffmann"  # Huber with DELTA on log loss, which scipy minimises here, too
SAMPLE_STARTS, SAMPLE_RESAMPLES, SAMPLE_FILES = 20, 10, 3  # of the scipy loop; the figures are scaled up


def make(seed: int, rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n, d = 10 ** rng.uniform(7, 10, rows), 10 ** rng.uniform(9, 12, rows)
    loss = (1.7 + 400 / n**0.34 + 410 / d**0.28) * np.exp(rng.normal(0, 0.003, rows))
    return pd.DataFrame({"run": [f"r{i}" for i in range(rows)], "n_params": n, "n_tokens": d, "loss": loss})


@contextmanager
def timed(label: str, seconds: dict[str, tuple[float, float]]) -> Iterator[None]:
    wall, cpu = time.perf_counter(), _cpu()
    yield
    seconds[label] = (time.perf_counter() - wall, _cpu() - cpu)
    print(f"| {label} | {seconds[label][0]:.2f} | {seconds[label][1]:.2f} |", flush=True)


def _cpu() -> float:
    """CPU seconds of this process and of those it waited for."""
    return sum(
        u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def scipy_seconds(part: pd.DataFrame, analytic: bool) -> float:
    """CPU seconds of one file: 200 starts, then 200 resamples from the best, each with L-BFGS-B on the Huber objective."""
    ln, ld, ll = (np.log(part[c].to_numpy()) for c in ("n_params", "n_tokens", "loss"))
    rng = np.random.default_rng(0)

    def objective(weights: np.ndarray) -> Callable[[np.ndarray], Any]:
        def value(u: np.ndarray) -> Any:
            terms = np.array([np.full_like(ln, u[0]), u[1] - u[3] * ln, u[2] - u[4] * ld])
            top = terms.max(0)
            parts = np.exp(terms - top)
            total = parts.sum(0)
            r = top + np.log(total) - ll
            small = np.abs(r) <= DELTA
            loss = weights @ np.where(small, r * r / 2, DELTA * (np.abs(r) - DELTA / 2))
            if not analytic:
                return loss
            slope = weights * np.where(small, r, DELTA * np.sign(r)) / total
            e, a, b = slope * parts
            return loss, np.array([e.sum(), a.sum(), b.sum(), -(a @ ln), -(b @ ld)])

        return value

    def solve(start: np.ndarray, weights: np.ndarray) -> Any:
        return minimize(objective(weights), start, jac=analytic, method="L-BFGS-B")

    ones = np.ones(len(ll))
    begin = time.process_time()
    found = [solve(rng.uniform([-1, 0, 0, 0, 0], [1, 25, 25, 2, 2]), ones) for _ in range(SAMPLE_STARTS)]
    starts = (time.process_time() - begin) * STARTS / SAMPLE_STARTS
    best = min(found, key=lambda f: f.fun).x
    begin = time.process_time()
    for _ in range(SAMPLE_RESAMPLES):
        solve(best, rng.multinomial(len(ll), ones / len(ll)).astype(float))
    return starts + (time.process_time() - begin) * RESAMPLES / SAMPLE_RESAMPLES


def files(count: int) -> None:
    seconds: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        logs = Path(folder) / "logs"
        logs.mkdir()
        for i in range(count):
            make(i, ROWS).to_csv(logs / f"{i:05d}.csv", index=False)
        time.sleep(2.5)  # files written a moment ago would be read again
        paths = sorted(logs.iterdir())
        print(f"{count} files x {ROWS} runs, {RESAMPLES} resamples\n\n| step | wall s | CPU s |\n| --- | --- | --- |")
        with timed("pandas.read_csv, a bare loop", seconds):
            tables = [pd.read_csv(p) for p in paths]
        with timed("the engine alone: fit in batches, bootstrap", seconds):
            for first in range(0, count, CHUNK):
                part = pd.concat([t.assign(file=i) for i, t in enumerate(tables[first : first + CHUNK])])
                bootstrap(fit("chinchilla", part, OBJECTIVE, by="file"), RESAMPLES)

        def again(label: str, store: str, workers: int) -> None:
            with timed(label, seconds):
                report = refit(
                    logs,
                    "chinchilla",
                    store=Path(folder) / store,
                    objective=OBJECTIVE,
                    resamples=RESAMPLES,
                    workers=workers,
                )
            assert (report.n_fits, report.n_failed) == (count, 0)
            print(f"|   of it: {report.n_read} files read, {report.n_computed} fits made | | |")

        again("refit, 1 process", "one", 1)
        again("refit, 2 processes", "two", 2)
        again("second refit, nothing changed, 1 process", "one", 1)
        for i in range(max(1, count // 100)):
            make(count + i, ROWS).to_csv(paths[i], index=False)
        time.sleep(2.5)
        again("third refit, 1 % of the files changed, 1 process", "one", 1)
        size = sum(p.stat().st_size for p in (Path(folder) / "one").rglob("*") if p.is_file())
        scipy = {a: np.mean([scipy_seconds(tables[i], a) for i in range(SAMPLE_FILES)]) * count for a in (False, True)}
    read, engine = (seconds[k] for k in list(seconds)[:2])
    print(f"\nstore: {size / count / 1e3:.1f} kB a fit, draws and rows included")
    for label, both in list(seconds.items())[2:4]:
        print(
            f"{label}: {both[0] / (read[0] + engine[0]):.2f} of the wall time and {both[1] / (read[1] + engine[1]):.2f} of the "
            f"CPU time of pandas + engine; {both[0] / (2.5 * read[0] + engine[0]):.2f} of 2.5 x pandas + engine (wall)"
        )
    one, two, third = (
        seconds["refit, 1 process"],
        seconds["refit, 2 processes"],
        seconds["third refit, 1 % of the files changed, 1 process"],
    )
    print(f"1 % changed: {third[1] / one[1]:.2%} of the first refit's CPU time")
    for analytic, total in scipy.items():
        print(
            f"scipy L-BFGS-B, {'analytic' if analytic else 'numeric'} gradient, {STARTS} starts, {RESAMPLES} resamples from the best: "
            f"{total:.0f} CPU s, {total / one[1]:.0f} times the refit's CPU time in 1 process, {total / two[0]:.0f} times its wall time in 2 (from {SAMPLE_FILES} files, {SAMPLE_STARTS} starts and "
            f"{SAMPLE_RESAMPLES} resamples of each, scaled up)"
        )


def groups(count: int) -> None:
    runs = make(0, 30 * count).assign(team=np.repeat(np.arange(count), 30))
    seconds: dict[str, tuple[float, float]] = {}
    print(f"\n{count} groups x 30 runs in one table, no resamples\n\n| step | wall s | CPU s |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for label in ("first refit, 1 process", "second refit, 1 process"):
            with timed(label, seconds):
                refit(runs, "chinchilla", by="team", store=folder, objective=OBJECTIVE, workers=1)
        with timed("first refit, 2 processes", seconds):
            refit(runs, "chinchilla", by="team", store=Path(folder) / "two", objective=OBJECTIVE, workers=2)
    print(f"\npeak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


class Canned(Executor):
    """Reads for real and fits nothing: what is left is the main process's own work."""

    def __init__(self, fit: Fitted) -> None:
        self.fit = fit

    def submit(self, function: Any, /, *args: Any, **_: Any) -> Future[Any]:
        future: Future[Any] = Future()
        work = [replace(self.fit, key=g.key) for g in args[1]] if function is fit_chunk else function(*args)
        future.set_result(work)
        return future


def keep(count: int) -> None:
    """The store alone, with `count` groups in files of 1,000 groups of 30 runs: memory, seconds and bytes a group."""
    from scaling.refitting import run

    part = make(0, 30_000).assign(team=np.repeat(np.arange(1000), 30)).round({"loss": 4})
    with tempfile.TemporaryDirectory() as folder:
        logs = Path(folder) / "logs"
        logs.mkdir()
        one = refit(part.head(60), "chinchilla", by="team", store=Path(folder) / "one", workers=1)
        with run.Store(Path(folder) / "one") as opened:
            row = opened.db.execute("SELECT law, status, message, n_runs, document FROM fits").fetchone()
        coefs = tuple(map(tuple, one.coefs.head(5)[["coef", "estimate", "low", "high"]].itertuples(index=False)))
        canned = Canned(Fitted("", *row[:4], json.loads(row[4]), coefs))
        for i in range(count // 1000):
            part.assign(team=part["team"] + 1000 * i, loss=part["loss"] + 1e-6 * i).to_csv(
                logs / f"{i:05d}.csv", index=False
            )
        time.sleep(2.5)
        for label in ("first", "second"):
            wall, cpu = time.perf_counter(), _cpu()
            report = refit(logs, "chinchilla", by="team", store=Path(folder) / "s", executor=canned)
            cpu, wall = _cpu() - cpu, time.perf_counter() - wall
            print(
                f"{count} groups, no fits, {label} run: {report.n_fits} slots, {cpu / count * 1e3:.2f} ms of CPU time and "
                f"{wall / count * 1e3:.2f} ms of wall time a group, peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB",
                flush=True,
            )
        size = sum(p.stat().st_size for p in (Path(folder) / "s").rglob("*") if p.is_file())
        print(f"store: {size / count / 1e3:.2f} kB a group")


def _committed(made: list[Fitted]) -> tuple[float, float]:
    """CPU seconds and bytes a group to commit a chunk of fits, over ten chunks."""
    with tempfile.TemporaryDirectory() as folder, Store(folder, create=True) as opened:
        number = opened.begin()
        chunks = [[replace(f, key=f"{i} {f.key}") for f in made] for i in range(10)]
        begin = time.process_time()
        for chunk in chunks:
            opened.commit(number, [("chinchilla", f.key, f.key) for f in chunk], chunk)
        spent = time.process_time() - begin
        size = sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file())
        return spent / 10 / len(made), size / 10 / len(made)


def paper() -> None:
    """Of one chunk of 100 groups of 30 runs: CPU time of a worker, and the bytes that travel; of files: the time to read one."""
    from pickle import dumps

    from scaling.fitting.objective import get_objective
    from scaling.refitting.fits import Group, Task, installed
    from scaling.refitting.sources import Reading, load, look, read_files

    columns = ("n_params", "n_tokens", "loss")
    parts = [make(i, 30)[list(columns)].to_numpy("<f8").tobytes() for i in range(CHUNK)]
    chunk = [Group(f"{i:064d}", 30, part) for i, part in enumerate(parts)]
    objective = get_objective(inspect.signature(refit).parameters["objective"].default)
    print(f"a chunk of {CHUNK} groups of 30 runs, Chinchilla, in a worker\n")
    print(
        "| resamples | CPU ms a group | kB a group there | kB a group back | main process: CPU ms a group to commit | kB a group kept |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for resamples in (0, RESAMPLES, 1000):
        task = Task("chinchilla", columns, objective, resamples, 0, installed())
        fit_chunk(task, chunk[:2])
        best, made = np.inf, []
        for _ in range(3):
            begin = time.process_time()
            made = fit_chunk(task, chunk)
            best = min(best, time.process_time() - begin)
        there, back = (len(dumps(what)) / CHUNK / 1e3 for what in ((fit_chunk, (task, chunk)), made))
        spent, kept = _committed(made)
        print(
            f"| {resamples} | {best / CHUNK * 1e3:.1f} | {there:.2f} | {back:.2f} | {spent * 1e3:.2f} | {kept / 1e3:.1f} |",
            flush=True,
        )
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.csv" for i in range(100)]
        for i, path in enumerate(paths):
            make(i, ROWS).to_csv(path, index=False)
        how = Reading(columns, "loss", ())
        seen = [look(str(p)) for p in paths]
        read_files(seen[:2], how)
        begin = time.process_time()
        found = read_files(seen, how)
        spent = time.process_time() - begin
        shipped = [load(s) for s in seen]
        size = sum(len(held[1]) for held in shipped if held is not None)
        rows = sum(len(dumps(f)) for f in found)
    print(
        f"\na CSV file of {ROWS} runs: {spent / len(paths) * 1e3:.1f} CPU ms in a worker; {size / len(paths) / 1e3:.1f} kB there where it "
        f"has to be sent, {rows / len(paths) / 1e3:.1f} kB of rows back"
    )


_CHILD = """
import resource, sys, time
import pandas as pd
from scaling.logs import read_runs
wall, cpu = time.perf_counter(), time.process_time()
if sys.argv[1] == "pandas":
    rows = sum(len(chunk) for chunk in pd.read_csv(sys.argv[2], chunksize=1_000_000))
else:
    runs = read_runs(sys.argv[2])
    rows = runs.attrs["read"]["n_rows"]["read"]
    assert len(runs) == int(sys.argv[3]) and (runs["step"] == 2000).all(), runs
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"| {sys.argv[1]} | {rows} | {time.perf_counter() - wall:.1f} | {time.process_time() - cpu:.1f} | {memory:.0f} |", flush=True)
"""


def curves(gigabytes: float, varying: bool) -> None:
    """One CSV of training curves, reduced to the final losses, beside pandas' own chunked read that keeps nothing.

    varying : a warm-up and a cosine, at full length, instead of one learning rate.
    """
    block = 100  # runs
    steps = np.tile(np.arange(1, 2001), block)
    rng = np.random.default_rng(0)
    cosine = 3e-4 * np.minimum(1, steps / 100) * (0.55 + 0.45 * np.cos(np.pi * steps / 2000))
    text = pd.DataFrame(
        {
            "run": np.repeat([f"sweep-#####-{i:03d}" for i in range(block)], 2000), "step": steps,
            "n_params": np.repeat((10 ** rng.uniform(7, 10, block)).round(), 2000), "n_tokens": steps * 524288,
            "loss": (2 + 8 / steps**0.3 + rng.normal(0, 0.01, len(steps))).round(6), "lr": cosine if varying else 3e-4,
        }
    ).to_csv(index=False).encode()  # fmt: skip
    header, rows = text.split(b"\n", 1)
    with tempfile.TemporaryDirectory() as folder:
        path, written = Path(folder) / "curves.csv", 0
        with open(path, "wb") as stream:
            stream.write(header + b"\n")
            while stream.tell() < gigabytes * 1e9:
                stream.write(rows.replace(b"#####", b"%05d" % written))
                written += 1
        print(f"{path.stat().st_size / 1e9:.2f} GB, {written * block} runs\n")
        print("| reader | rows | wall s | CPU s | peak MB |\n| --- | --- | --- | --- | --- |", flush=True)
        for reader in ("pandas", "scaling.read_runs"):
            subprocess.run([sys.executable, "-c", _CHILD, reader, str(path), str(written * block)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--store", type=int, metavar="GROUPS", help="measure the store alone, without fits")
    parser.add_argument("--curves", type=float, metavar="GB", help="reduce one CSV of training curves of that size")
    parser.add_argument("--varying", action="store_true", help="with --curves: another learning rate in every row")
    parser.add_argument("--paper", action="store_true", help="measure what the figures on paper start from")
    arguments = parser.parse_args()
    if arguments.paper:
        return paper()
    if arguments.curves:
        return curves(arguments.curves, arguments.varying)
    if arguments.store:
        return keep(arguments.store)
    quick = arguments.quick
    files(100 if quick else 2000)
    groups(500 if quick else 10_000)
    return None


if __name__ == "__main__":
    main()
