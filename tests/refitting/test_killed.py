"""kill -9 at any moment loses at most the chunk in flight, and the resumed refit is the uninterrupted one, digit for digit."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scaling.errors import RunsError
from scaling.refitting import changed, executors, refit, run, status
from scaling.refitting.executors import Workers
from scaling.refitting.store import Store

SCRIPT = """
import sys, pandas as pd
import scaling.refitting.run as run
run.CHUNK = 2
runs = pd.read_csv(sys.argv[1])
run.refit(runs, "chinchilla", by="team", store=sys.argv[2], workers=1, resamples=20,
          log=lambda e: e["event"] == "commit" and print("commit", flush=True))
"""


@pytest.fixture
def runs() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n, d = 10 ** rng.uniform(7, 10, 200), 10 ** rng.uniform(9, 12, 200)
    loss = (1.7 + 400 / n**0.34 + 410 / d**0.28) * np.exp(rng.normal(0, 0.003, 200))
    return pd.DataFrame({"team": [f"t{i % 8}" for i in range(200)], "n_params": n, "n_tokens": d, "loss": loss})


def _draws(store: Path, keys: pd.Series) -> dict[str, np.ndarray]:
    with Store(store) as opened:
        return {k: opened.draws(k) for k in keys.unique()}


def test_a_killed_refit_resumes_to_the_same_digits(
    runs: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "CHUNK", 2)
    runs.to_csv(tmp_path / "runs.csv", index=False)
    table = pd.read_csv(tmp_path / "runs.csv")
    whole = refit(table, "chinchilla", by="team", store=tmp_path / "whole", workers=1, resamples=20).coefs
    killed = 0
    for delay in np.random.default_rng(1).uniform(0, 0.1, 3):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / "runs.csv"), str(tmp_path / "s")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()  # at least one more chunk is committed, or all were
            time.sleep(float(delay))
            process.kill()
            killed += process.wait() == -signal.SIGKILL
    assert killed
    with Store(tmp_path / "s") as store:
        done = store.db.execute("SELECT count(*) FROM fits").fetchone()[0]
        assert store.db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert len(store.passes()) <= 1
    again = refit(table, "chinchilla", by="team", store=tmp_path / "s", workers=1, resamples=20)
    assert again.n_computed == 8 - done
    assert done >= 2
    pd.testing.assert_frame_equal(whole, again.coefs, check_exact=True)
    kept = _draws(tmp_path / "s", whole["key"])
    for key, draws in _draws(tmp_path / "whole", whole["key"]).items():
        np.testing.assert_array_equal(draws, kept[key])
    assert not list((tmp_path / "s" / "draws").glob(".*"))


def test_processes_give_the_same_digits(runs: pd.DataFrame, tmp_path: Path) -> None:
    one = refit(runs, "chinchilla", by="team", store=tmp_path / "a", workers=1).coefs
    two = refit(runs, "chinchilla", by="team", store=tmp_path / "b", workers=2).coefs
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_an_unfinished_refit_goes_on_under_its_number(runs: pd.DataFrame, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(event: dict[str, object]) -> None:
        if event["event"] == "commit":
            raise Stop

    refit(runs, "chinchilla", by="team", store=tmp_path / "s", workers=1)
    later = runs.assign(loss=runs["loss"] * 1.01)
    with pytest.raises(Stop):
        refit(later, "chinchilla", by="team", store=tmp_path / "s", workers=1, log=stop)
    assert status(tmp_path / "s")["fits"].sum() == 8  # the finished one still stands
    gone = later[later["team"] != "t0"]  # and before it goes on, a group disappears
    report = refit(gone, "chinchilla", by="team", store=tmp_path / "s", workers=1)
    assert (report.number, report.n_fits) == (2, 7)
    what = changed(tmp_path / "s")
    assert what.loc[what["what"] == "gone", "group"].tolist() == ['{"team": "t0"}']


def _die(path: str) -> str:
    """Kill this process the first time."""
    if not os.path.exists(path):
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def _always_die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_process_that_dies_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "RESTARTS", 1)
    with Workers(2) as pool:
        jobs = iter([(i, (_die, (str(tmp_path / "died"),))) for i in range(3)])
        assert sorted(pool.run(jobs)) == [(i, "done") for i in range(3)]
        assert pool.restarts >= 1
    with Workers(2) as pool, pytest.raises(RunsError, match="run the refit again"):
        list(pool.run(iter([(i, (_always_die, ())) for i in range(2)])))


def test_any_executor_will_do(runs: pd.DataFrame, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        other = refit(runs, "chinchilla", by="team", store=tmp_path / "b", executor=pool).coefs
    one = refit(runs, "chinchilla", by="team", store=tmp_path / "a", workers=1).coefs
    pd.testing.assert_frame_equal(one, other, check_exact=True)


FULL = """
import resource, signal, sys, pandas as pd
from scaling.refitting import refit
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    refit(pd.read_csv(sys.argv[1]), "chinchilla", by="team", store=sys.argv[2], workers=1, resamples=200)
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit of file sizes on this system")
@pytest.mark.parametrize("room", [20_000, 90_000])
def test_a_full_disk_is_a_sentence_and_the_store_still_opens(runs: pd.DataFrame, tmp_path: Path, room: int) -> None:
    runs.to_csv(tmp_path / "runs.csv", index=False)
    table = pd.read_csv(tmp_path / "runs.csv")
    first = refit(table[table["team"] == "t0"], "chinchilla", by="team", store=tmp_path / "s", workers=1)
    command = [sys.executable, "-c", FULL, str(tmp_path / "runs.csv"), str(tmp_path / "s"), str(room)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith("RunsError: cannot ")
    assert "ree space" in said
    assert status(tmp_path / "s")["fits"].sum() == 1
    after = refit(table, "chinchilla", by="team", store=tmp_path / "s", workers=1)
    assert after.n_fits == 8
    assert set(first.coefs["key"]) < set(after.coefs["key"])


def test_a_store_without_room_for_an_index_is_still_read(
    runs: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refit(runs, "chinchilla", by="team", store=tmp_path / "s", workers=1)
    real: Callable[..., sqlite3.Connection] = sqlite3.connect
    calls = []

    class Full(sqlite3.Connection):
        def execute(self, *arguments: object) -> sqlite3.Cursor:  # type: ignore[override]
            if len(calls) == 1 and "sqlite_master" in str(arguments[0]):
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(*arguments)  # type: ignore[arg-type]

    def connect(*arguments: object, **more: object) -> sqlite3.Connection:
        calls.append(arguments)
        return real(*arguments, **more, factory=Full)  # type: ignore[arg-type]

    monkeypatch.setattr(sqlite3, "connect", connect)
    assert status(tmp_path / "s")["fits"].sum() == 8
    assert len(calls) == 2
