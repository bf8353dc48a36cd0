"""Bad files and hostile names are rows with a sentence; nothing is lost, nothing is written outside the store."""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scaling.errors import RunsError
from scaling.refitting import export, refit, sources
from scaling.refitting.sources import Reading, find_files, look, read_files, read_here

READING = Reading(("n_params", "n_tokens", "loss"), "loss", ())


def write(path: Path, seed: int = 0, size: int = 30) -> Path:
    rng = np.random.default_rng(seed)
    n, d = 10 ** rng.uniform(7, 10, size), 10 ** rng.uniform(9, 12, size)
    loss = (1.7 + 400 / n**0.34 + 410 / d**0.28) * np.exp(rng.normal(0, 0.003, size))
    table = pd.DataFrame({"run": [f"r{i}" for i in range(size)], "n_params": n, "n_tokens": d, "loss": loss})
    table.to_csv(path, index=False)
    return path


def bad_rows(report: object) -> pd.DataFrame:
    coefs: pd.DataFrame = report.coefs  # type: ignore[attr-defined]
    return coefs[coefs["status"] == "unreadable"]


def test_one_percent_garbage_loses_nothing(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    rng = np.random.default_rng(0)
    for i in range(300):
        write(logs / f"{i:03d}.csv", i)
    junk = [
        lambda: rng.bytes(2000), lambda: b"", lambda: b"\x1f\x8b" + rng.bytes(50),
        lambda: gzip.compress(write(tmp_path / "x.csv").read_bytes())[:-20],
    ]  # fmt: skip
    bad = sorted(rng.choice(300, 4, replace=False).tolist())
    for i, content in zip(bad, junk, strict=True):
        (logs / f"{i:03d}.csv").write_bytes(content())
    report = refit(logs, "chinchilla", store=tmp_path / "s", workers=1)
    assert (report.n_fits, report.n_failed) == (300, 4)
    rows = bad_rows(report)
    assert [Path(eval_group(g)).name for g in rows["group"]] == [f"{i:03d}.csv" for i in bad]
    assert rows["message"].str.endswith(".").all()


def eval_group(text: str) -> str:
    import json

    return str(json.loads(text)["file"])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    write(tmp_path / "a.csv")
    write(tmp_path / "b.csv", 1).chmod(0)
    report = refit(str(tmp_path / "*.csv"), "chinchilla", store=tmp_path / "s", workers=1)
    assert "Permission denied" in bad_rows(report)["message"].iloc[0]


def test_files_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.csv")
    (tmp_path / "dangling.csv").symlink_to(tmp_path / "nowhere.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    real = sources._bytes_of

    def refuse(path: str) -> bytes:
        if path.endswith("b.csv"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    write(tmp_path / "b.csv", 1)
    monkeypatch.setattr(sources, "_bytes_of", refuse)
    report = refit(str(tmp_path / "*.csv"), "chinchilla", store=tmp_path / "s", workers=1)
    said = {
        Path(eval_group(g)).name: m for g, m in zip(*bad_rows(report)[["group", "message"]].to_numpy().T, strict=True)
    }
    assert set(said) == {"b.csv", "dangling.csv", "pipe.csv"}
    assert "Permission denied" in said["b.csv"]
    assert "No such file" in said["dangling.csv"]
    assert "no regular file" in said["pipe.csv"]
    monkeypatch.undo()  # a bad file is looked at again, though its size and times are what they were
    again = refit(str(tmp_path / "*.csv"), "chinchilla", store=tmp_path / "s", workers=1)
    assert (again.n_failed, again.n_computed) == (2, 1)


@pytest.mark.parametrize("how", ["truncated", "grown", "replaced"])
def test_a_file_that_changes_while_it_is_read_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    path = write(tmp_path / "a.csv")
    last = write(tmp_path / "new.csv", seed=7, size=30).read_bytes()
    real: Callable[[str], bytes] = sources._bytes_of
    reads = []

    def read(name: str) -> bytes:
        reads.append(name)
        if len(reads) > 1:
            return real(name)
        before = real(name)
        if how == "replaced":
            (tmp_path / "new.csv").replace(path)
        else:
            path.write_bytes(last if how == "grown" else last[: len(last) // 2])
        return before[: len(before) // 2] + last[len(before) // 2 :]  # half of each

    monkeypatch.setattr(sources, "_bytes_of", read)
    report = refit(path, "chinchilla", store=tmp_path / "s", workers=1)
    assert len(reads) == 2
    monkeypatch.setattr(sources, "_bytes_of", real)
    assert refit(path, "chinchilla", store=tmp_path / "s", workers=1).n_computed == 0
    clean = refit(path, "chinchilla", store=tmp_path / "t", workers=1)
    pd.testing.assert_frame_equal(report.coefs, clean.coefs, check_exact=True)


def test_a_file_that_never_stands_still_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.csv")
    real: Callable[[str], bytes] = sources._bytes_of

    def read(name: str) -> bytes:
        content = real(name)
        with open(name, "a") as stream:
            stream.write("\n")
        return content

    monkeypatch.setattr(sources, "_bytes_of", read)
    _, found = read_here(str(path), READING)
    assert "changed while it was read" in found.error


def test_a_bomb_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    import resource

    with gzip.open(tmp_path / "bomb.csv.gz", "wb", compresslevel=9) as stream:
        stream.write(b"n_params,n_tokens,loss\n")
        for _ in range(200):
            stream.write(b"1," * 500_000)
    assert (tmp_path / "bomb.csv.gz").stat().st_size < 1_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = read_files([look(str(tmp_path / "bomb.csv.gz"))], Reading(READING.needed, "loss", (), max_bytes=20_000_000))
    assert "more than 2e+07 bytes" in found[0].error
    unit = 1 if sys.platform == "darwin" else 1024
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit < 100e6


def test_a_huge_cell_and_very_many_columns(tmp_path: Path) -> None:
    good = pd.read_csv(write(tmp_path / "a.csv"))
    note = ["x" * 50_000_000, *[""] * 29]
    good.assign(note=note).to_csv(tmp_path / "cell.csv", index=False)
    many = pd.DataFrame(np.zeros((30, 10_000)), columns=[f"m{i}" for i in range(10_000)])
    pd.concat([good, many], axis=1).to_csv(tmp_path / "many.csv", index=False)
    found = read_files([look(str(tmp_path / f"{n}.csv")) for n in ("a", "cell", "many")], READING)
    assert [f.error for f in found] == ["", "", ""]
    assert all(f.parts is not None and f.parts[0].n_rows == 30 for f in found)
    assert len({f.parts[0].digest for f in found if f.parts}) == 1


HOSTILE = (
    "line\nbreak.csv",
    "quote'\".csv",
    "=cmd.csv",
    "-rf.csv",
    "[a-z]*.csv",
    "%s{0}.csv",
    "ü\u202e.csv",
    "a;DROP TABLE fits.csv",
)


def test_hostile_names_neither_break_nor_escape(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    for i, name in enumerate(HOSTILE):
        write(logs / name, i)
    os.rename(write(logs / "x.csv", 90), os.fsencode(logs) + b"/\xff\xfe.csv")
    report = refit(logs, "chinchilla", store=tmp_path / "s", workers=1, resamples=5)
    assert (report.n_fits, report.n_failed) == (len(HOSTILE) + 1, 0)
    out = export(tmp_path / "s", tmp_path / "out.csv")
    assert pd.read_csv(out)["group"].nunique() == len(HOSTILE) + 1
    assert {p.name for p in tmp_path.iterdir()} == {"logs", "s", "out.csv"}
    assert {p.parent for p in (tmp_path / "s").rglob("*") if p.is_file()} == {tmp_path / "s", tmp_path / "s" / "draws"}


@pytest.mark.parametrize("value", ["=1+1", "+1", "-1", "@x", "\tx", "../../etc/passwd", 'a"b', "a\nb", "x" * 10_000])
def test_hostile_groups_stay_text(tmp_path: Path, value: str) -> None:
    runs = pd.read_csv(write(tmp_path / "a.csv")).assign(**{f"={value[:5]}": value})
    refit(runs, "chinchilla", by=f"={value[:5]}", store=tmp_path / "s", workers=1, resamples=3)
    cells = pd.read_csv(export(tmp_path / "s", tmp_path / "out.csv"), dtype=str, keep_default_na=False)
    for column in ("law", "group", "status", "message", "coef"):
        assert not cells[column].str.match(r"[=+\-@\t\r\n]").any()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "out.csv", "s"]


def test_a_message_that_begins_as_a_formula_is_quoted(tmp_path: Path) -> None:
    from scaling.refitting.changes import safe_cell

    assert safe_cell("=HYPERLINK(1)") == "'=HYPERLINK(1)"
    assert safe_cell(-1.5) == -1.5


def test_a_folder_that_cannot_be_entered_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "logs" / "closed").mkdir(parents=True)
    write(tmp_path / "logs" / "a.csv")
    real = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found, closed = find_files(tmp_path / "logs")
    assert [Path(f).name for f in found] == ["a.csv"]
    assert "Permission denied" in closed[0][1]
    report = refit(tmp_path / "logs", "chinchilla", store=tmp_path / "s", workers=1)
    assert (report.n_fits, report.n_failed) == (2, 1)


def test_no_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunsError, match="no files at"):
        refit(str(tmp_path / "*.csv"), "chinchilla", store=tmp_path / "s", workers=1)


def test_an_mlflow_store_is_read_as_one(reference: Callable[[str], Path], tmp_path: Path) -> None:
    run_folder = tmp_path / "mlruns" / "0" / ("a" * 32)
    (run_folder / "metrics").mkdir(parents=True)
    (run_folder / "params").mkdir()
    (run_folder / "meta.yaml").write_text("run_name: one\n")
    (run_folder / "metrics" / "loss").write_text("1700000000000 3.5 1\n1700000001000 3.1 2\n")
    (run_folder / "params" / "n_params").write_text("1000000")
    (run_folder / "params" / "n_tokens").write_text("1000000000")
    for again in (1, 0):
        report = refit(tmp_path / "mlruns", "chinchilla", store=tmp_path / "s", workers=1)
        assert report.n_files == 1
        assert report.coefs["status"].tolist()[0] in ("too_few_runs",)
        assert report.n_computed == again


def test_an_object_that_is_too_large_is_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe("/big/a.csv", b"n_params,n_tokens,loss\n" + b"1e8,1e9,3\n" * 1000)
    fetched: list[str] = []
    whole = sources._bytes_of
    monkeypatch.setattr(sources, "_bytes_of", lambda path: fetched.append(path) or whole(path))
    try:
        for most, count, said in ((9_000, 0, "'memory://big/a.csv' holds more than 9e+03 bytes"), (20_000, 1, "")):
            how = Reading(READING.needed, "loss", (), max_bytes=most)
            _, found = read_here("memory://big/a.csv", how)
            assert (len(fetched), found.error[: len(said)]) == (count, said)
    finally:
        memory.rm("/big", recursive=True)
