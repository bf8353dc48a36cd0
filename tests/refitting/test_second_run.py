"""A second run reads only files that changed, notices every change, and says what it did."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scaling.errors import RunsError
from scaling.refitting import changed, drift, export, history, refit, run, sources
from scaling.refitting.store import Fitted, Store


def table(seed: int, floor: float = 1.7, size: int = 30) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n, d = 10 ** rng.uniform(7, 10, size), 10 ** rng.uniform(9, 12, size)
    loss = (floor + 400 / n**0.34 + 410 / d**0.28) * np.exp(rng.normal(0, 0.003, size))
    return pd.DataFrame(
        {
            "run": [f"r{seed}-{i}" for i in range(size)],
            "n_params": n,
            "n_tokens": d,
            "loss": loss,
            "team": "ab"[seed % 2],
        }
    )


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sources, "SETTLED", -1.0)  # files written a moment ago count as left alone
    folder = tmp_path / "logs"
    folder.mkdir()
    for i in range(4):
        table(i).to_csv(folder / f"{i}.csv", index=False)
    return folder


def test_an_unchanged_file_is_not_read_again(logs: Path, tmp_path: Path) -> None:
    def again(**more: Any) -> tuple[int, int]:
        report = refit(logs, "chinchilla", store=tmp_path / "s", workers=1, **more)
        assert report.n_files == 4
        return report.n_read, report.n_computed

    assert again() == (4, 4)
    assert again() == (0, 0)
    os.utime(logs / "1.csv")  # touched, not changed: read, not fitted
    assert again() == (1, 0)
    assert again() == (0, 0)
    assert again(verify=True) == (4, 0)
    text = (logs / "2.csv").read_bytes()
    before = os.stat(logs / "2.csv")
    (logs / "2.csv").write_bytes(text.replace(b"2.", b"3."))  # as long as before, and its time of writing set back
    os.utime(logs / "2.csv", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert os.stat(logs / "2.csv").st_size == before.st_size
    assert again() == (1, 1)


def test_a_file_written_just_now_is_looked_at_again(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "SETTLED", 3600.0)
    assert refit(logs, "chinchilla", store=tmp_path / "s", workers=1).n_read == 4
    second = refit(logs, "chinchilla", store=tmp_path / "s", workers=1)
    assert (second.n_read, second.n_computed) == (4, 0)


def test_a_group_over_many_files_is_fitted_again_from_the_store(logs: Path, tmp_path: Path) -> None:
    first = refit(logs, "chinchilla", by="team", store=tmp_path / "s", workers=1)
    assert first.n_fits == 2
    table(5, floor=2.2).to_csv(logs / "1.csv", index=False)
    second = refit(logs, "chinchilla", by="team", store=tmp_path / "s", workers=1)
    assert (second.n_read, second.n_computed) == (1, 1)  # team b: files 1 and 3, the rows of 3 from the store
    whole = refit(
        pd.concat([pd.read_csv(logs / f"{i}.csv") for i in range(4)], ignore_index=True),
        "chinchilla", by="team", store=tmp_path / "t", workers=1,
    )  # fmt: skip
    np.testing.assert_allclose(second.coefs["estimate"], whole.coefs["estimate"], rtol=1e-7)
    (logs / "1.csv").unlink()
    (logs / "3.csv").unlink()
    assert refit(logs, "chinchilla", by="team", store=tmp_path / "s", workers=1).n_fits == 1
    assert changed(tmp_path / "s")["what"].tolist() == ["gone"]


def test_what_moves_fails_recovers_and_the_thresholds(logs: Path, tmp_path: Path) -> None:
    store = tmp_path / "s"

    def again() -> pd.DataFrame:
        refit(logs, "chinchilla", store=store, workers=1)
        return changed(store)

    refit(logs, "chinchilla", store=store, workers=1)
    table(1, floor=1.8).to_csv(logs / "1.csv", index=False)
    moved = again()
    assert set(moved["what"]) == {"moved"}
    assert "E" in set(moved["coef"])
    assert set(changed(store, relative=0.02)["coef"]) <= set(moved["coef"])
    assert "E" not in set(changed(store, relative=0.2)["coef"])
    assert len(changed(store, disjoint=True)) <= len(moved)
    table(1, floor=2.9).to_csv(logs / "1.csv", index=False)
    again()
    assert "E" in set(changed(store, disjoint=True)["coef"])
    (logs / "1.csv").write_text("n_params,n_tokens,loss\n1,2,3\n")
    fails = again()
    assert fails["what"].tolist() == ["fails"]
    assert "too few" in fails["message"].iloc[0]
    table(1, floor=1.8).to_csv(logs / "1.csv", index=False)
    assert again()["what"].tolist() == ["recovers"]
    assert set(changed(store, since=1)["coef"]) == set(moved["coef"])
    table(9).to_csv(logs / "9.csv", index=False)
    (logs / "0.csv").write_bytes(b"\x00\xff\x00")
    what = again()
    assert sorted(what["what"]) == ["fails", "new"]  # the file's own name stands for its group
    with pytest.raises(RunsError, match="no earlier refit 77"):
        changed(store, since=77)
    past = history(store)
    assert past["refit"].tolist() == [1, 2, 3, 4, 5, 6]
    assert past["failed"].tolist() == [0, 0, 0, 1, 0, 1]
    floors = drift(store, "chinchilla", "E")
    mine = floors[floors["group"].str.contains("/1.csv", regex=False)]
    assert mine["first"].tolist() == [1, 2, 3, 5]  # the failing fit of the fourth has no coefficients
    assert mine["estimate"].iloc[1] == mine["estimate"].iloc[3]  # the same content: the same fit


Interval = tuple[float | None, float | None, float | None]


def _after(tmp_path: Path, old: Interval | None, new: Interval | None, **how: Any) -> list[tuple[str, str]]:
    """(what, message) of two refits of one group whose coefficient E is as given; None: the fit lacks it."""
    with Store(tmp_path / "s", create=True) as opened:
        for number, value in ((1, old), (2, new)):
            opened.begin()
            coefs = (("A", 1.0, 0.9, 1.1), *((("E", *value),) if value is not None else ()))
            made = Fitted(f"key {number}", "chinchilla", "converged", "", 30, {}, coefs)
            opened.commit(number, [("chinchilla", "{}", made.key)], [made])
            opened.finish(number, 1, ["any"])
    found = changed(tmp_path / "s", **how)
    assert set(found["coef"]) <= {"E"}
    return list(zip(found["what"], found["message"], strict=True))


def test_a_coefficient_without_an_interval_is_not_skipped(tmp_path: Path) -> None:
    within, wide = (2.0, 1.9, 2.1), (2.04, 1.0, 3.0)
    cases: list[tuple[Interval | None, Interval | None, dict[str, Any], list[str]]] = [
        (within, wide, {}, []),
        (within, (2.04, None, None), {}, ["loses interval"]),
        (within, (2.3, None, None), {}, ["loses interval", "moved"]),
        (within, (2.3, None, None), {"disjoint": True}, ["loses interval", "moved"]),  # a point, which is not in it
        (within, (2.3, None, None), {"relative": 0.2}, ["loses interval"]),
        ((2.0, None, None), (2.04, 1.9, 2.1), {}, ["gains interval"]),
        ((2.0, None, None), (2.3, 2.2, 2.4), {}, ["gains interval", "moved"]),
        ((2.0, None, None), (2.09, None, None), {}, []),  # 4.5 %
        ((2.0, None, None), (2.11, None, None), {}, ["moved"]),  # 5.5 %
        ((2.0, None, None), (2.11, None, None), {"bare": 0.06}, []),
        ((2.0, None, None), (2.02, None, None), {"bare": 0.0}, ["moved"]),
        ((2.0, None, None), (2.11, None, None), {"relative": 0.2}, []),
        ((2.0, None, None), (2.0, None, None), {"bare": 0.0}, []),
        ((0.0, None, None), (0.1, None, None), {}, ["moved"]),
        ((2.0, 1.9, None), (2.3, 1.9, None), {}, ["moved"]),  # half an interval is none
        (within, None, {}, ["loses value"]),
        (None, within, {}, ["gains value"]),
    ]
    for i, (old, new, how, expected) in enumerate(cases):
        found = _after(tmp_path / str(i), old, new, **how)
        assert [what for what, _ in found] == expected, (old, new, how)
    words = dict(_after(tmp_path / "words", within, (2.3, None, None)))
    assert words["loses interval"] == "it was 1.9 to 2.1; the new estimate has none."
    assert words["moved"] == "by 15.00%, out of the old interval 1.9 to 2.1."
    ((_, bare),) = _after(tmp_path / "bare", (2.0, None, None), (2.3, None, None))
    assert bare == "by 15.00%, more than 5.00%; there was no interval to hold it against."


def test_a_store_within_the_sources_and_its_sidecar_are_no_sources(logs: Path, tmp_path: Path) -> None:
    for i in range(4):
        whole = table(i)
        whole[["run", "loss"]].to_csv(logs / f"{i}.csv", index=False)
    meta = pd.concat([table(i)[["run", "n_params", "n_tokens"]] for i in range(4)])
    meta.to_csv(logs / "runs.csv", index=False)
    options = {"meta": str(logs / "runs.csv"), "where": ["loss<100"]}
    for computed in (4, 0):
        report = refit(logs, "chinchilla", store=logs / "s", workers=1, reading=options)
        assert (report.n_fits, report.n_failed, report.n_computed) == (4, 0, computed)
    with pytest.raises(RunsError, match="wher"):
        refit(logs, "chinchilla", store=logs / "s", workers=1, reading={"wher": "x"})


def test_groups_of_many_sizes_and_a_group_that_breaks_its_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "CHUNK", 7)
    parts = [table(i, size=8 + 3 * i).assign(team=f"g{i:02d}") for i in range(20)]
    parts.append(table(50).assign(team="few").head(3))
    parts.append(table(51).assign(team="negative", loss=-1.0))
    report = refit(pd.concat(parts, ignore_index=True), ["chinchilla"], by="team", store=tmp_path / "s", workers=1)
    assert (report.n_fits, report.n_failed) == (22, 2)
    bad = report.coefs[report.coefs["status"].isin(["too_few_runs", "unusable"])].drop_duplicates("group")
    assert bad["group"].tolist() == ['{"team": "few"}', '{"team": "negative"}']
    assert bad["message"].str.len().min() > 20


def test_equal_groups_are_one_fit(tmp_path: Path) -> None:
    two = pd.concat([table(0).assign(team=t) for t in ("x", "y")], ignore_index=True)
    report = refit(two, "chinchilla", by="team", store=tmp_path / "s", workers=1)
    assert (report.n_fits, report.n_computed) == (2, 1)
    assert report.coefs.groupby("coef")["estimate"].nunique().max() == 1


def test_losses_in_different_units_are_not_mixed(tmp_path: Path) -> None:
    for i, name in enumerate(("loss", "bits_per_byte")):
        table(i).assign(team="a").rename(columns={"loss": name}).to_csv(tmp_path / f"{i}.csv", index=False)
    report = refit(str(tmp_path / "*.csv"), "chinchilla", by="team", store=tmp_path / "s", workers=1)
    assert report.coefs["status"].tolist() == ["unusable"]
    assert "different units" in report.coefs["message"].iloc[0]


def test_an_export_is_whole_and_both_kinds_agree(logs: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    coefs = refit(logs, ["chinchilla", "power_c"], store=tmp_path / "s", workers=1).coefs
    csv = pd.read_csv(export(tmp_path / "s", tmp_path / "o.csv"))
    parquet = pd.read_parquet(export(tmp_path / "s", tmp_path / "o.parquet"))
    np.testing.assert_array_equal(csv["estimate"], coefs["estimate"])
    np.testing.assert_array_equal(parquet["estimate"], coefs["estimate"])
    assert set(csv["law"]) == {"chinchilla", "power_c"}
    with pytest.raises(RunsError, match=r"\.csv or \.parquet"):
        export(tmp_path / "s", tmp_path / "o.xls")
    with pytest.raises(RunsError, match="cannot write"):
        export(tmp_path / "s", tmp_path / "missing" / "o.csv")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["logs", "o.csv", "o.parquet", "s"]


def test_a_store_of_another_schema_is_refused(logs: Path, tmp_path: Path) -> None:
    refit(logs, "chinchilla", store=tmp_path / "s", workers=1)
    with Store(tmp_path / "s") as store, store.db:
        store.db.execute("UPDATE about SET value = '99' WHERE name = 'schema'")
    with pytest.raises(RunsError, match="schema 99"):
        refit(logs, "chinchilla", store=tmp_path / "s", workers=1)


def test_many_unchanged_files_cost_little(logs: Path, tmp_path: Path) -> None:
    for i in range(4, 200):
        (logs / f"{i}.csv").write_bytes((logs / f"{i % 4}.csv").read_bytes() + b"\n" * (i // 4))
    begin = time.process_time()
    refit(logs, "chinchilla", store=tmp_path / "s", workers=1)
    first, begin = time.process_time() - begin, time.process_time()
    assert refit(logs, "chinchilla", store=tmp_path / "s", workers=1).n_read == 0
    assert time.process_time() - begin < first / 3
