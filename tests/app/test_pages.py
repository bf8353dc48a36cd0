"""Every page works at first load with the sample, by link, and with bad input, without an exception on screen."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from scaling import charts

APP = Path(__file__).resolve().parents[2] / "app"
DRAWN = {
    "descent": 1,
    "emergence": 3,
    "fit": 5,
    "grokking": 1,
    "library": 1,
    "plan": 1,
    "runs": 1,
    "start": 1,
}  # charts
PAGES = sorted(p.stem for p in (APP / "views").glob("*.py"))


@pytest.fixture(autouse=True)
def nothing_unforeseen(caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest):
    """No page may meet an exception that it turns into the sentence for what nobody foresaw, unless the test is of that."""
    yield
    if "unforeseen" not in request.node.name:
        assert [r.getMessage() for r in caplog.get_records("call") if r.name == "scaling.app"] == []


def opened(page: str = "start", upload: tuple[str, bytes] | None = None, **query: str) -> AppTest:
    at = AppTest.from_file(str(APP / "main.py"), default_timeout=60)
    if upload:
        at.session_state["files_runs"] = [upload]
    if page != "start":
        at.run()
        at.switch_page(f"views/{page}.py")
    for key, value in query.items():
        at.query_params[key] = value
    at.run()
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


def specs(at: AppTest) -> list[str]:
    return [c.proto.spec for c in at.get("vega_lite_chart")]


def files_of(at: AppTest) -> list[str]:
    return [b.proto.label for b in at.get("download_button")]


@pytest.mark.parametrize("page", sorted(DRAWN))
def test_every_chart_has_its_files_and_a_text_for_those_who_cannot_see_it(page):
    at = opened(page)
    drawn = at.get("vega_lite_chart")
    assert len(drawn) >= DRAWN[page]
    assert all(c.proto.alt.strip() for c in drawn)
    labels = files_of(at)
    assert labels.count("SVG") == labels.count("PNG") == labels.count("HTML") >= DRAWN[page]
    assert page in ("library", "start") or {"CSV", "JSON"} <= set(labels)
    assert page not in ("fit", "plan") or "Report (HTML)" in labels


def test_an_unforeseen_error_is_one_sentence_for_the_visitor_and_the_whole_story_for_the_server(monkeypatch, caplog):
    def broken(*_, **__):
        raise KeyError("inside story")

    monkeypatch.setattr(charts, "residual_chart", broken)
    at = opened("fit")
    assert not at.exception
    (said,) = at.error
    assert "did not foresee" in said.value and "KeyError" in said.value and "report it" in said.value
    assert "inside" not in said.value
    (kept,) = [r for r in caplog.records if r.name == "scaling.app"]
    assert "inside story" in str(kept.exc_info[1])
    monkeypatch.undo()
    at.run()
    assert not at.error


def test_the_training_error_stands_beside_the_test_error():
    at = opened("descent")
    assert at.selectbox(key="descent_train").value == "train_loss"
    assert "train_loss" in specs(at)[0]
    tables = at.get("vega_lite_chart")[0].proto.datasets
    assert any(b"training set fitted" in t.data.data for t in tables)
    at.selectbox(key="descent_train").set_value("none").run()
    assert "train_loss" not in specs(at)[0]
    assert not at.error


def test_a_continuous_score_stands_beside_the_accuracy():
    at = opened("emergence")
    assert at.selectbox(key="emergence_continuous").value == "per_digit"
    assert any(
        "per_digit rises with n" in m.value.replace("\\", "")
        or "per_digit rises with flops" in m.value.replace("\\", "")
        for m in at.markdown
    )
    assert any("exact = per-token rate to the power" in m.value.replace("\\", "") for m in at.markdown)
    at.selectbox(key="emergence_continuous").set_value("loss").run()
    assert any("loss falls" in m.value for m in at.markdown)
    assert not at.error


def test_a_run_chosen_is_marked_in_both_charts_and_left_out():
    at = opened("fit")
    count = len(at.multiselect(key="leave_out").options)
    run = at.multiselect(key="leave_out").options[0]
    plain = specs(at)
    at.multiselect(key="leave_out").set_value([run]).run()
    marked = specs(at)
    assert [run in a and run not in b for a, b in zip(marked, plain, strict=True)].count(True) == 2
    at.button(key="exclude").click().run()
    assert not at.exception
    assert len(at.multiselect(key="leave_out").options) == count - 1
    assert at.multiselect(key="leave_out").value == []
    assert "1" in next(i.value for i in at.info if "left out" in i.value)
