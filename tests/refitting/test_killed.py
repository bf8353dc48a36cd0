"""kill -9 at any moment loses at most the chunk in flight; processes give what one process gives."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scaling.refitting import refit
from scaling.refitting.store import Store

SCRIPT = """
import sys, pandas as pd
import scaling.refitting.run as run
run.CHUNK = 1
runs = pd.read_csv(sys.argv[1])
run.refit(runs, "chinchilla", by="team", store=sys.argv[2], workers=1, resamples=20, progress=lambda *a: print(*a, flush=True))
"""


@pytest.fixture
def runs() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n, d = 10 ** rng.uniform(7, 10, 200), 10 ** rng.uniform(9, 12, 200)
    loss = (1.7 + 400 / n**0.34 + 410 / d**0.28) * np.exp(rng.normal(0, 0.003, 200))
    return pd.DataFrame({"team": [f"t{i % 8}" for i in range(200)], "n_params": n, "n_tokens": d, "loss": loss})


def test_a_killed_refit_resumes_to_the_same_fits(runs: pd.DataFrame, tmp_path: Path) -> None:
    whole = refit(runs, "chinchilla", by="team", store=tmp_path / "whole", workers=1, resamples=20).coefs
    runs.to_csv(tmp_path / "runs.csv", index=False)
    for delay in np.random.default_rng(1).uniform(0, 0.1, 3):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / "runs.csv"), str(tmp_path / "s")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()  # at least one more group is committed
            time.sleep(float(delay))
            process.kill()
    with Store(tmp_path / "s") as store:
        done = store.db.execute("SELECT count(*) FROM fits").fetchone()[0]
    assert done >= 3
    again = refit(
        pd.read_csv(tmp_path / "runs.csv"), "chinchilla", by="team", store=tmp_path / "s", workers=1, resamples=20
    )
    assert again.n_computed == 8 - done
    sort = ["group", "coef"]
    one, two = (t.sort_values(sort)["estimate"].to_numpy(float) for t in (whole, again.coefs))
    np.testing.assert_allclose(one, two, rtol=1e-6)  # chunks of another size: the same optimum


def test_processes_give_the_same_digits(runs: pd.DataFrame, tmp_path: Path) -> None:
    one = refit(runs, "chinchilla", by="team", store=tmp_path / "a", workers=1).coefs
    two = refit(runs, "chinchilla", by="team", store=tmp_path / "b", workers=2).coefs
    pd.testing.assert_frame_equal(
        one.sort_values(["group", "coef"], ignore_index=True), two.sort_values(["group", "coef"], ignore_index=True)
    )
