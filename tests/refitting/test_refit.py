"""A refit gives what direct fits give, computes only what changed, and survives bad files and hostile names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scaling.errors import RunsError
from scaling.fitting import fit, load_fit
from scaling.refitting import changed, export, read_study, refit, status
from scaling.refitting.store import Store


def _write(path: Path, seed: int, floor: float = 1.7) -> None:
    rng = np.random.default_rng(seed)
    n, d = 10 ** rng.uniform(7, 10, 30), 10 ** rng.uniform(9, 12, 30)
    loss = (floor + 400 / n**0.34 + 410 / d**0.28) * np.exp(rng.normal(0, 0.003, 30))
    pd.DataFrame({"run": [f"r{i}" for i in range(30)], "n_params": n, "n_tokens": d, "loss": loss}).to_csv(
        path, index=False
    )


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    for i in range(3):
        _write(folder / f"{i}.csv", i)
    return folder


def test_a_refit_equals_direct_fits_and_a_second_one_computes_nothing(logs: Path, tmp_path: Path) -> None:
    first = refit(logs, "chinchilla", store=tmp_path / "s", workers=1)
    assert (first.n_fits, first.n_computed) == (3, 3)
    direct = fit("chinchilla", pd.read_csv(logs / "1.csv"))
    mine = first.coefs[first.coefs["group"].str.contains("1.csv", regex=False)]
    np.testing.assert_allclose(mine["estimate"].to_numpy(float), direct.theta, rtol=1e-6)  # same optimum, other batch
    assert refit(logs, "chinchilla", store=tmp_path / "s", workers=1).n_computed == 0
    assert changed(tmp_path / "s").empty


def test_only_a_changed_file_is_fitted_again_and_the_move_is_reported(logs: Path, tmp_path: Path) -> None:
    refit(logs, "chinchilla", store=tmp_path / "s", workers=1, resamples=20)
    _write(logs / "2.csv", 2, floor=2.4)
    report = refit(logs, "chinchilla", store=tmp_path / "s", workers=1, resamples=20)
    assert report.n_computed == 1
    key = report.coefs.loc[report.coefs["group"].str.contains("2.csv", regex=False), "key"].iloc[0]
    moved = changed(tmp_path / "s")
    assert "E" in set(moved["coef"])
    assert moved["group"].str.contains("2.csv", regex=False).all()
    with Store(tmp_path / "s") as store:
        assert store.draws(key).shape == (20, 5)
        assert load_fit(store.document(key)).theta[0] == moved.set_index("coef")["after"]["E"]


def test_a_bad_file_is_a_row_with_a_sentence(logs: Path, tmp_path: Path) -> None:
    (logs / "bad.csv").write_bytes(b"\x00\xff\x00garbage")
    report = refit(logs, "chinchilla", store=tmp_path / "s", workers=1)
    bad = report.coefs[report.coefs["status"] == "unreadable"]
    assert len(bad) == 1
    assert len(bad["message"].iloc[0]) > 20
    assert report.n_fits == 4
    assert status(tmp_path / "s")["fits"].sum() == 4


def test_two_refits_of_one_store_do_not_meet(logs: Path, tmp_path: Path) -> None:
    with Store(tmp_path / "s", create=True) as store, store.writing(), pytest.raises(RunsError, match="another refit"):
        refit(logs, "chinchilla", store=tmp_path / "s", workers=1)


def test_hostile_group_names_stay_text(logs: Path, tmp_path: Path) -> None:
    runs = pd.read_csv(logs / "0.csv").assign(team='=cmd()\n"../../x')
    refit(runs, "chinchilla", by="team", store=tmp_path / "s", workers=1, resamples=5)
    out = pd.read_csv(export(tmp_path / "s", tmp_path / "out.csv"))
    assert not out["group"].str.match(r"[=+\-@]").any()
    assert {p.name for p in tmp_path.iterdir()} == {"logs", "s", "out.csv"}


def test_a_study_names_its_mistake(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('sources = "logs"\nlaws = ["chinchilla"]\nstore = "fits"\n')
    assert read_study(path).store == str(tmp_path / "fits")
    path.write_text('sources = "logs"\nlwas = "x"\nstore = "fits"\n')
    with pytest.raises(RunsError, match="lwas"):
        read_study(path)
