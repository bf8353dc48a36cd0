"""`scaling refit`: a study file, logs that a machine reads, and exit codes that a scheduler acts on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from scaling.cli import main
from scaling.errors import RunsError
from scaling.refitting import read_study
from scaling.refitting.store import Store


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def write(path: Path, seed: int, floor: float = 1.7) -> None:
    rng = np.random.default_rng(seed)
    n, d = 10 ** rng.uniform(7, 10, 30), 10 ** rng.uniform(9, 12, 30)
    loss = (floor + 400 / n**0.34 + 410 / d**0.28) * np.exp(rng.normal(0, 0.003, 30))
    pd.DataFrame({"run": [f"r{i}" for i in range(30)], "eval/ce": loss, "size": n, "D": d}).to_csv(path, index=False)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    for i in range(3):
        write(tmp_path / "logs" / f"{i}.csv", i)
    path = tmp_path / "study.toml"
    path.write_text(
        'sources = ["logs/*.csv"]\nlaws = ["chinchilla"]\nstore = "fits"\nworkers = 1\nresamples = 30\n'
        '[reading]\nwhere = ["loss<20"]\n[reading.columns]\nloss = "eval/ce"\nn_params = "size"\nn_tokens = "D"\n'
    )
    return path


def test_a_study_runs_each_night_and_says_what_changed(study: Path, tmp_path: Path) -> None:
    first = call("refit", study, "--log", "json")
    assert first.exit_code == 0, first.output
    events = [json.loads(line) for line in first.stderr.splitlines()]
    assert events[0]["event"] == "begin" and events[-1]["event"] == "end"
    assert (events[-1]["computed"], events[-1]["failed"]) == (3, 0)
    assert all(e["time"].endswith("+00:00") for e in events)
    assert call("refit", study, "--changed").exit_code == 2  # there is nothing to compare with yet
    second = call("refit", study, "--log", "text")
    assert " end " in second.stderr and "computed=0" in second.stderr
    same = call("refit", study, "--changed", "--exit-code")
    assert (same.exit_code, same.stdout.strip()) == (0, "nothing")
    write(tmp_path / "logs" / "1.csv", 1, floor=2.5)
    assert call("refit", study).exit_code == 0
    moved = call("refit", study, "--changed", "--exit-code", "--json")
    assert moved.exit_code == 4
    assert {"what": "moved", "coef": "E"}.items() <= json.loads(moved.stdout)[0].items()
    assert call("refit", study, "--changed", "--exit-code", "--relative", "0.9").exit_code in (0, 4)
    (tmp_path / "logs" / "bad\nname.csv").write_bytes(b"\x00\x01")
    failed = call("refit", study, "--log", "text")
    assert failed.exit_code == 3
    assert "fits that failed: 1;" in failed.stderr
    assert sum("bad file" in line for line in failed.stderr.splitlines()) == 1  # a name with a line break is one line
    said = call("refit", "--store", tmp_path / "fits", "--status").stdout
    assert "unreadable" in said and "refit 4 ended 20" in said
    assert "bad\\nname.csv" in said.split("failed: ")[1] and "but no rows" in said  # which one, and why
    assert len(json.loads(call("refit", "--store", tmp_path / "fits", "--history", "--json").stdout)) == 4
    out = tmp_path / "out.csv"
    assert call("refit", study, "--export", out).exit_code == 0
    assert set(pd.read_csv(out)["coef"].dropna()) == {"E", "A", "B", "alpha", "beta"}


def test_with_json_every_line_on_standard_error_is_json(study: Path, tmp_path: Path) -> None:
    (tmp_path / "logs" / "bad.csv").write_text("x,y\n1,2\n")
    part = call("refit", study, "--log", "json")
    events = [json.loads(line) for line in part.stderr.splitlines()]
    assert part.exit_code == 3 and [e["event"] for e in events[-2:]] == ["end", "warning"]
    with Store(tmp_path / "fits") as opened, opened.writing():
        refused = call("refit", study, "--log", "json")
        plain = call("refit", study, "--log", "text")
    (event,) = [json.loads(line) for line in refused.stderr.splitlines()]
    assert refused.exit_code == 2 and event["event"] == "error"
    assert event["message"].startswith("another refit is writing to ")
    assert plain.exit_code == 2 and plain.stderr.startswith("scaling: error: another refit is writing to ")


def test_changes_are_lines_that_say_what_and_why(study: Path, tmp_path: Path) -> None:
    assert call("refit", study).exit_code == 0
    write(tmp_path / "logs" / "1.csv", 1, floor=2.5)
    write(tmp_path / "logs" / "9.csv", 9)
    (tmp_path / "logs" / "0.csv").write_text("size,D,eval/ce\n1,2,3\n")
    assert call("refit", study).exit_code == 3
    said = call("refit", study, "--changed").stdout.splitlines()
    assert sum(line.startswith("new: chinchilla ") for line in said) == 1
    assert any(line.startswith("fails: chinchilla ") and "too few" in line for line in said)
    moved = next(line for line in said if line.startswith("moved: ") and " E " in line)
    assert " -> " in moved and "out of the old interval" in moved
    assert call("refit", study, "--export", tmp_path / "a.csv").stdout == f"{tmp_path / 'a.csv'} written\n"
    quiet = call("refit", study, "--export", tmp_path / "a.csv", "--json")
    assert (quiet.exit_code, quiet.stdout) == (0, "")


def test_the_command_line_goes_before_the_study(study: Path, tmp_path: Path) -> None:
    assert call("refit", study, "--store", tmp_path / "other", "--resamples", 0, "--law", "power_c").exit_code == 0
    assert "power_c" in call("refit", "--store", tmp_path / "other", "--status").stdout
    assert not (tmp_path / "other" / "draws").exists() or not list((tmp_path / "other" / "draws").iterdir())
    assert not (tmp_path / "fits").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sources = 3", "sources must be"),
        ("workers = 0", "workers must be at least 1"),
        ("workers = 1.5", "workers must be a whole number"),
        ("resamples = -1", "resamples must be at least 0"),
        ("[reading]\nwhre = 1", "unknown entry of [reading] 'whre'"),
        ("[reading]\ncolumns = 1", "columns of [reading] must be a table"),
        ("[reading]\nunfinished = 1", "unfinished of [reading] must be true or false"),
        ("x = [", "cannot read the study"),
    ],
)
def test_a_study_with_a_mistake_is_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    start = "" if text.startswith("sources") else 'sources = "logs"\n'
    (tmp_path / "s.toml").write_text(f'laws = ["chinchilla"]\nstore = "fits"\n{start}{text}\n')
    with pytest.raises(RunsError) as caught:
        read_study(tmp_path / "s.toml")
    assert said in str(caught.value)
    assert call("refit", tmp_path / "s.toml").exit_code == 2


def test_addresses_in_a_study_are_not_paths(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('sources = ["s3://bucket/*.csv", "a"]\nlaws = "chinchilla"\nstore = "fits"\n')
    assert read_study(tmp_path / "s.toml").sources == ("s3://bucket/*.csv", str(tmp_path / "a"))
