"""Every page works at first load with the sample, by link, and with bad input, without an exception on screen."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

APP = Path(__file__).resolve().parents[2] / "app"
PAGES = sorted(p.stem for p in (APP / "views").glob("*.py"))


def opened(page: str = "start", upload: tuple[str, bytes] | None = None, **query: str) -> AppTest:
    at = AppTest.from_file(str(APP / "main.py"), default_timeout=60)
    for key, value in query.items():
        at.query_params[key] = value
    if upload:
        at.session_state["files_runs"] = [upload]
    at.run()
    if page != "start":
        at.switch_page(f"views/{page}.py").run()
    return at


@pytest.mark.parametrize("page", PAGES)
def test_every_page_works_at_first_load(page):
    at = opened(page)
    assert not at.exception, at.exception
    assert not at.error
    assert at.title[0].value


def test_a_link_reproduces_a_plan():
    at = opened("plan", sources="besiroglu2024", flops="1e23")
    assert not at.exception
    assert at.text_input(key="flops").value == "1e23"
    assert "29" in at.success[0].value


def test_a_bad_budget_is_one_sentence():
    at = opened("plan")
    at.text_input(key="flops").set_value("5,000").run()
    assert not at.exception
    assert "5" in at.error[0].value
    at.text_input(key="flops").set_value("1e14").run()
    assert not at.error
    assert at.success[0].value.startswith("Train")


def test_laws_side_by_side_are_compared():
    at = opened("fit")
    at.multiselect(key="laws").set_value(["chinchilla", "kaplan"]).run()
    assert not at.exception
    assert any("cannot tell" in str(w.value) for w in at.markdown)


def test_an_upload_is_read_fitted_and_its_text_is_inert():
    hostile = "[x](http://example.org/leak)<script>alert(1)</script>"
    lines = ["run,params,tokens,loss"]
    for i, n in enumerate((1e7, 3e7, 1e8, 3e8)):
        for d in (1e9, 3e9, 1e10):
            lines.append(f"{hostile}{i}-{d:.0e},{n},{d},{1.8 + 480 * n**-0.35 + 2100 * d**-0.37}")
    lines.append("broken,1e8,1e9,-3")
    at = opened("runs", ("sweep.csv", "\n".join(lines).encode()))
    assert not at.exception
    assert at.metric[0].value == "12"
    assert all("](http" not in str(m.value) and "<script>" not in str(m.value) for m in at.markdown)
    at.switch_page("views/fit.py").run()
    assert not at.exception
    assert not at.error


def test_a_file_that_is_no_log_is_one_sentence():
    at = opened("runs", ("bad.csv", b"\x00\x01\x02"))
    assert not at.exception
    assert len(at.error) == 1


def test_a_store_shows_its_state_coefficients_over_time_and_changes():
    at = opened("batch")
    at.button(key="sample_store").click().run(timeout=120)
    assert not at.exception
    assert not at.error
    assert {"law", "status", "fits"} <= set(at.dataframe[0].value.columns)
    assert len(at.dataframe[1].value) == 2  # two nights
    at.selectbox(key="batch_coef").set_value("alpha").run()
    assert not at.exception


def test_a_store_that_is_not_there_is_one_sentence():
    at = opened("batch", store="/nowhere/at/all")
    assert not at.exception
    assert "no directory" in at.error[0].value
