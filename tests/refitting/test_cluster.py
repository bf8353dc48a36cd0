"""Past one process: workers that do not see the files, file systems of fsspec, and a dask cluster of separate processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scaling.errors import RunsError
from scaling.refitting import fits, refit, run, sources
from scaling.refitting.sources import FileRead, Reading, Source


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(60):
        n, d = 10 ** rng.uniform(7, 10, 30), 10 ** rng.uniform(9, 12, 30)
        loss = (1.7 + 400 / n**0.34 + 410 / d**0.28) * np.exp(rng.normal(0, 0.003, 30))
        table = pd.DataFrame({"run": [f"r{k}" for k in range(30)], "n_params": n, "n_tokens": d, "loss": loss})
        table.to_csv(folder / f"{i:03d}.csv", index=False)
    return folder


class Elsewhere(Executor):
    """Runs a job here, as a machine would that sees none of our files unless they were sent."""

    def __init__(self, blind: str = "size") -> None:
        self.shipped = 0
        self.blind = blind

    def submit(self, function: Any, /, *args: Any, **more: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if function is sources.read_files:
            some: list[Source] = args[0]
            self.shipped += sum(s.content is not None for s in some)
            if some[0].content is None:
                moved = [
                    Source(**{**vars(s), self.blind: 3 if self.blind == "size" else s.path + ".not"}) for s in some
                ]
                found = [FileRead(s.path, **_but_path(f)) for s, f in zip(some, function(moved, args[1]), strict=True)]
                future.set_result(found)
                return future
        future.set_result(function(*args))
        return future


def _but_path(found: FileRead) -> dict[str, Any]:
    return {k: v for k, v in vars(found).items() if k != "path"}


@pytest.mark.parametrize("blind", ["size", "path"])
def test_what_workers_do_not_see_is_sent_to_them(logs: Path, tmp_path: Path, blind: str) -> None:
    """Neither a file that is absent there nor another one under the same name is taken for it."""
    pool = Elsewhere(blind)
    other = refit(logs, "chinchilla", store=tmp_path / "b", executor=pool).coefs
    assert pool.shipped == 60
    here = refit(logs, "chinchilla", store=tmp_path / "a", workers=1).coefs
    pd.testing.assert_frame_equal(here, other, check_exact=True)


def test_a_worker_with_another_version_is_refused(logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits, "installed", lambda: "0.0.1")
    with pytest.raises(RunsError, match=r"version 0\.0\.1"):
        refit(logs, "chinchilla", store=tmp_path / "s", executor=Elsewhere())


def test_files_of_an_object_store(logs: Path, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    try:
        for i in range(3):
            memory.pipe(f"/bucket/{i}.csv", (logs / f"{i:03d}.csv").read_bytes())
        first = refit("memory://bucket/*.csv", "chinchilla", store=tmp_path / "s", workers=1)
        assert (first.n_fits, first.n_failed) == (3, 0)
        here = refit([logs / f"{i:03d}.csv" for i in range(3)], "chinchilla", store=tmp_path / "t", workers=1)
        np.testing.assert_array_equal(first.coefs["estimate"], here.coefs["estimate"])
        memory.pipe("/bucket/1.csv", (logs / "009.csv").read_bytes())
        assert refit("memory://bucket/", "chinchilla", store=tmp_path / "s", workers=1).n_computed == 1
        # other processes do not see this one's memory: the content is sent
        sent = refit("memory://bucket/*.csv", "chinchilla", store=tmp_path / "u", workers=2)
        assert (sent.n_fits, sent.n_failed) == (3, 0)
        with pytest.raises(RunsError, match="no files at"):
            refit("memory://nothing/*.csv", "chinchilla", store=tmp_path / "s", workers=1)
        with pytest.raises(RunsError, match="cannot be opened"):
            refit("nosuch://bucket/*.csv", "chinchilla", store=tmp_path / "s", workers=1)
    finally:
        memory.rm("/bucket", recursive=True)


def test_a_digest_of_reading_tells_options_and_sidecars_apart() -> None:
    meta = pd.DataFrame({"run": ["a"], "n_params": [1e9]})
    ways = [
        Reading(("n_params", "loss"), "loss", by, options).digest
        for by in ((), ("team",))
        for options in ({}, {"meta": meta}, {"meta": meta.assign(n_params=2e9)}, {"where": ["loss<5"]})
    ]
    assert len(set(ways)) == 8
    assert Reading(("n_params", "loss"), "loss", (), {"meta": meta.copy()}).digest == ways[1]


class Cluster:
    """A scheduler and workers, each a process of its own, started as on a cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        self._start("scheduler", "--port", "0", "--no-dashboard", "--host", "127.0.0.1", "--scheduler-file", str(file))
        import json

        for _ in range(200):
            if file.exists() and file.stat().st_size:
                break
            time.sleep(0.1)
        self.address = str(json.loads(file.read_text())["address"])

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "dask", *arguments]
        with open(self.folder / f"{len(self.processes)}.log", "wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=self.folder)
        self.processes.append(process)
        return process

    def worker(self) -> subprocess.Popen[bytes]:
        return self._start(
            "worker", self.address, "--nthreads", "1", "--no-dashboard", "--no-nanny", "--host", "127.0.0.1",
            "--local-directory", str(self.folder),
        )  # fmt: skip

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    pytest.importorskip("distributed")
    folder = tmp_path / "dask"
    folder.mkdir()
    running = Cluster(folder)
    try:
        yield running
    finally:
        running.stop()


@pytest.mark.filterwarnings("default")  # of the cluster's own libraries
def test_a_dask_cluster_gives_the_same_digits_and_survives_a_killed_worker(
    cluster: Cluster, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "CHUNK", 10)
    workers = [cluster.worker(), cluster.worker()]
    from distributed import Client

    with Client(cluster.address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
    here = refit(logs, "chinchilla", store=tmp_path / "a", workers=1, resamples=20).coefs
    killed = threading.Event()

    def kill(event: dict[str, Any]) -> None:
        if event["event"] == "commit" and not killed.is_set():
            killed.set()  # a chunk is committed, the others are in flight
            workers[0].send_signal(signal.SIGKILL)

    there = refit(logs, "chinchilla", store=tmp_path / "b", scheduler=cluster.address, resamples=20, log=kill)
    assert killed.is_set() and workers[0].wait() == -signal.SIGKILL
    assert there.n_computed == 60
    pd.testing.assert_frame_equal(here, there.coefs, check_exact=True)
    shutil.rmtree(tmp_path / "b")


def test_a_scheduler_that_is_not_there_is_a_sentence(
    tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")

    def refuse(address: str, **_: Any) -> None:
        raise OSError(f"Timed out trying to connect to {address}")

    monkeypatch.setattr(distributed, "Client", refuse)
    with pytest.raises(RunsError, match="does not answer"):
        refit(logs, "chinchilla", store=tmp_path / "s", scheduler="tcp://127.0.0.1:1")
