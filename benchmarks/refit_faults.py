"""What a refit survives, tried for real: kill -9 at random moments, a full disk, garbage, files that change, two at once, a
lost worker of a cluster. Prints a table; exits with 1 when anything was lost. --quick: fewer of each.
"""

from __future__ import annotations

import argparse
import json
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import gzip
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scaling.errors import RunsError
from scaling.refitting import refit, run, status
from scaling.refitting.store import Store

FILES, RESAMPLES = 400, 50
REFIT = """
import sys
from scaling.refitting import refit, run
run.CHUNK = 20
refit(sys.argv[1], "chinchilla", store=sys.argv[2], resamples=int(sys.argv[3]), workers=int(sys.argv[4]))
"""


def make(folder: Path, count: int) -> Path:
    folder.mkdir()
    for i in range(count):
        rng = np.random.default_rng(i)
        n, d = 10 ** rng.uniform(7, 10, 60), 10 ** rng.uniform(9, 12, 60)
        loss = (1.7 + 400 / n**0.34 + 410 / d**0.28) * np.exp(rng.normal(0, 0.003, 60))
        table = pd.DataFrame({"run": [f"r{k}" for k in range(60)], "n_params": n, "n_tokens": d, "loss": loss})
        table.to_csv(folder / f"{i:04d}.csv", index=False)
    return folder


def start(logs: Path, store: Path, resamples: int = RESAMPLES, workers: int = 1) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", REFIT, str(logs), str(store), str(resamples), str(workers)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)


def same(one: Path, two: Path) -> bool:
    """Whether the latest refits of two stores agree in every digit, resamples included."""
    with Store(one) as a, Store(two) as b:
        tables = [run.table_of(s, s.passes()[-1]) for s in (a, b)]
        if not tables[0].equals(tables[1]):
            return False
        good = tables[0].loc[tables[0]["coef"].notna(), "key"].unique()
        return all(np.array_equal(a.draws(k), b.draws(k), equal_nan=True) for k in good)


def killed(work: Path, logs: Path, whole: Path, times: int) -> tuple[bool, str]:
    """kill -9 of the refit and its processes at random moments, each followed by another refit, the last one undisturbed."""
    rng = np.random.default_rng(0)
    begin = time.monotonic()
    start(logs, work / "timed").communicate()
    whole_time = time.monotonic() - begin  # of this machine as busy as it is
    store, landed, tried, lost, seen = work / "killed", 0, 0, 0, 0
    stages: list[int] = []
    while landed < times:
        tried += 1
        process = start(logs, store, workers=1 + tried % 2)
        time.sleep(float(rng.uniform(0.1, 0.9) * whole_time))
        if process.poll() is None:
            landed += 1
            os.killpg(process.pid, signal.SIGKILL)  # the session that was started here, and nothing else
        process.communicate()
        if (store / "fits.sqlite").exists():
            with Store(store, create=True) as opened:
                now = opened.db.execute("SELECT count(*) FROM fits").fetchone()[0]
                ok = opened.db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            lost += now < seen or not ok
            seen = now
            stages.append(now)
            if now >= FILES:  # all fitted: begin again, so that every kill has something to hit
                shutil.rmtree(store)
                seen = 0
    run.CHUNK = 20
    refit(logs, "chinchilla", store=store, resamples=RESAMPLES, workers=1)
    equal = same(store, whole)
    left = len(list((store / "draws").glob(".*")))
    words = f"{landed} of {tried} kills hit a running refit, with {min(stages)} to {max(stages)} of {FILES} fits committed; "
    words += (
        f"committed fits lost: {lost}; resumed equals uninterrupted in every digit: {equal}; half files left: {left}"
    )
    return landed > 0 and equal and not lost and not left, words


def full_disk(work: Path, logs: Path, whole: Path) -> tuple[bool, str]:
    """A file system of 1 MB that fills up, then gets room."""
    disk = work / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True).returncode:
        return True, "not tried: mounting a small tmpfs was not permitted (a limit of file sizes is tried in the tests)"
    try:
        process = start(logs, disk / "s")
        said = process.communicate()[1].decode().strip().splitlines()[-1]
        opens = True
        try:
            status(disk / "s")
        except RunsError as error:
            opens, said = False, f"{said} / opening: {error}"
        shutil.copytree(disk / "s", work / "rescued")
        refit(logs, "chinchilla", store=work / "rescued", resamples=RESAMPLES, workers=1)
        equal = same(work / "rescued", whole)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    words = f"said {said!r}; the full store opens: {opens}; finished elsewhere, it equals an uninterrupted one: {equal}"
    return "free space" in said.lower() and opens and equal, words.replace(str(work), "")


def garbage(work: Path, count: int) -> tuple[bool, str]:
    """1 % of the files are noise, empty, cut off, or may not be read."""
    logs = make(work / "garbage", count)
    rng = np.random.default_rng(5)
    bad = rng.choice(count, count // 100, replace=False)
    for k, i in enumerate(bad):
        path = logs / f"{i:04d}.csv"
        text = path.read_bytes()
        path.write_bytes([rng.bytes(5000), b"", gzip.compress(text)[:-9], text[:40] + b"\0" + text[40:]][k % 4])
    report = refit(logs, "chinchilla", store=work / "garbage-store", workers=1)
    rows = report.coefs[report.coefs["status"] == "unreadable"]
    good = (
        report.n_fits == count
        and report.n_failed == len(bad) == len(rows)
        and bool((rows["message"].str.len() > 20).all())
    )
    return (
        good,
        f"{count} files, {len(bad)} bad: {report.n_fits - report.n_failed} fits, {len(rows)} rows with a sentence",
    )


def writing(work: Path, count: int) -> tuple[bool, str]:
    """Another process rewrites, truncates and appends to the files all the time that they are read."""
    logs = make(work / "writing", count)
    texts = {p: p.read_bytes() for p in logs.iterdir()}
    stop, writes = threading.Event(), 0

    def write() -> None:
        nonlocal writes
        rng = np.random.default_rng(3)
        paths = sorted(texts)
        while not stop.is_set():
            path = paths[rng.integers(len(paths))]
            with open(path, "wb") as stream:  # in place: truncated, then whole in two writes
                stream.write(texts[path][:1500])
                stream.flush()
                stream.write(texts[path][1500:])
            writes += 1
            time.sleep(0.0005)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        first = refit(logs, "chinchilla", store=work / "writing-store", workers=1)
    finally:
        stop.set()
        thread.join()
    time.sleep(2.5)
    refit(logs, "chinchilla", store=work / "writing-store", workers=1)
    refit(logs, "chinchilla", store=work / "still", workers=1)
    with Store(work / "writing-store") as a, Store(work / "still") as b:
        one, two = (run.table_of(s, s.passes()[-1]) for s in (a, b))
    close = np.allclose(one["estimate"], two["estimate"], rtol=1e-6) and list(one["key"]) == list(two["key"])
    words = f"{writes} writes during the refit of {count} files ({first.n_failed} rows failed then); the next refit equals one of still files: {close}"
    return close, words


def two_at_once(work: Path, logs: Path, whole: Path) -> tuple[bool, str]:
    first = start(logs, work / "both")
    while not (work / "both" / "fits.sqlite").exists():
        time.sleep(0.05)
    time.sleep(0.5)
    second = start(logs, work / "both")
    said = second.communicate()[1].decode().strip().splitlines()[-1]
    first.communicate()
    good = "another refit is writing" in said and second.returncode != 0 and first.returncode == 0
    return good and same(work / "both", whole), f"the second said {said!r}; the first ended well".replace(str(work), "")


def cluster(work: Path, logs: Path, whole: Path) -> tuple[bool, str]:
    """A scheduler and three workers; two workers are killed in mid-run and one joins."""
    try:
        from distributed import Client
    except ImportError:
        return True, "not tried: dask is not installed"
    file, processes = work / "scheduler.json", []

    def dask(*arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard", "--host", "127.0.0.1"]
        processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=work))
        return processes[-1]

    try:
        dask("scheduler", "--port", "0", "--scheduler-file", str(file))
        while not (file.exists() and file.stat().st_size):
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        workers = [dask("worker", address, "--nthreads", "1", "--no-nanny") for _ in range(3)]
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(3, timeout=120)
        commits = 0

        def kill(event: dict[str, Any]) -> None:
            nonlocal commits
            commits += event["event"] == "commit"
            if event["event"] == "commit" and commits in (2, 6):
                workers[commits // 4].kill()
            if event["event"] == "commit" and commits == 4:
                dask("worker", address, "--nthreads", "1", "--no-nanny")

        report = refit(logs, "chinchilla", store=work / "cluster", resamples=RESAMPLES, scheduler=address, log=kill)
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()
    equal = same(work / "cluster", whole)
    return (
        equal,
        f"{report.n_computed} fits in {commits} chunks, 2 of 3 workers killed, 1 joined; equals one process in every digit: {equal}",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        logs, whole = make(work / "logs", FILES), work / "whole"
        time.sleep(2.5)
        run.CHUNK = 20
        refit(logs, "chinchilla", store=whole, resamples=RESAMPLES, workers=1)
        trials: list[tuple[str, Callable[[], tuple[bool, str]]]] = [
            ("kill -9", lambda: killed(work, logs, whole, 4 if quick else 20)),
            ("full disk", lambda: full_disk(work, logs, whole)),
            ("garbage", lambda: garbage(work, 200 if quick else 1000)),
            ("files written while read", lambda: writing(work, 100 if quick else 400)),
            ("two refits at once", lambda: two_at_once(work, logs, whole)),
            ("workers lost", lambda: cluster(work, logs, whole)),
        ]
        print("| fault | held | what happened |\n| --- | --- | --- |")
        for name, trial in trials:
            good, words = trial()
            failed += not good
            print(f"| {name} | {'yes' if good else 'NO'} | {words} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
