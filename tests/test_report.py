"""A report is one file that says what the numbers say, and in which nothing from a log is alive."""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import scaling
from scaling.errors import ScalingError
from scaling.planning import plan
from scaling.report import report, written
from scaling.sections import Section

HOSTILE = "</script><script>document.title='broken'</script>"


@pytest.fixture(scope="module")
def result():
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(1e9, 1e11, 6)))
    loss = (1.8 + 480 * n**-0.35 + 2100 * d**-0.37) * np.exp(np.random.default_rng(0).normal(0, 0.003, n.size))
    runs = pd.DataFrame(
        {
            "run": [f"{HOSTILE}{i}" for i in range(n.size)],
            "n_params": n,
            "n_tokens": d,
            "flops": 6 * n * d,
            "loss": loss,
        }
    )
    return scaling.bootstrap(scaling.fit("chinchilla", runs), 50)


def test_it_answers_first_and_then_shows_the_fit(result):
    page = report(plan(result, flops="1e22"), result, Section("Read", text="36 rows"))
    assert page.index("Train ") < page.index("chart0") < page.index("irreducible loss") < page.index("36 rows")
    assert page.count("<script") == 2
    assert not re.search(r"(src|href)=.?https?:", page)


def test_text_from_logs_is_inert(result):
    table = pd.DataFrame({HOSTILE: [HOSTILE]})
    hostile = Section(HOSTILE, HOSTILE, HOSTILE, (), ((HOSTILE, table),), HOSTILE, (HOSTILE,), (HOSTILE,))
    page = report(result, hostile, title=HOSTILE)
    assert HOSTILE not in page
    assert page.count("</script>") == 2


def test_nothing_and_strangers_are_refused():
    with pytest.raises(ScalingError, match="at least one"):
        report()
    with pytest.raises(ScalingError, match="no section for int"):
        report(3)


def test_groups_stand_in_one_table():
    runs = pd.DataFrame({"n_params": np.geomspace(1e6, 1e9, 8).tolist() * 2, "g": list("a" * 8 + "b" * 8)})
    runs["loss"] = 9 * runs["n_params"] ** -0.1
    page = report(scaling.fit("power_n", runs, by="g"))
    assert "2 of 2 groups converged" in page


def test_a_long_table_says_how_much_of_it_is_shown():
    page = report(Section("Long", tables=(("All", pd.DataFrame({"x": np.arange(1500.0)})),)))
    assert "The first 1,000 of 1,500 rows." in page
    assert page.count("<tr>") == 1001


def test_cells_read_as_people_write_them():
    assert written("n_params", 7.1e9) == "7.1B"
    assert written("n_params_low", float("inf")) == "inf"
    assert written("flops", 5.76e23) == "5.76e+23"
    assert written("loss", float("nan")) == written("note", None) == ""
    assert written("inside", np.bool_(True)) == "yes"


@pytest.mark.browser
@pytest.mark.skipif(
    shutil.which("chromium") is None or find_spec("playwright") is None, reason="needs chromium and playwright"
)
def test_it_opens_from_disk_and_draws(result, tmp_path: Path):
    from playwright.sync_api import sync_playwright

    path = tmp_path / "report.html"
    path.write_text(report(result, Section(HOSTILE, text=HOSTILE)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), headless=True, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        asked, errors = [], []
        page.on("request", lambda r: asked.append(r.url))
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.goto(path.as_uri())
        page.wait_for_function("() => document.querySelectorAll('svg.marks').length === 3", timeout=30_000)
        assert asked == [path.as_uri()]
        assert errors == []
        assert page.title() == "Scaling laws"
        browser.close()
