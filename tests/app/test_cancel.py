"""Long work on a page: a bar with its share, a button that ends it, and results that are kept."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest
from streamlit.delta_generator import DeltaGenerator
from streamlit.testing.v1 import AppTest

import scaling

APP = Path(__file__).resolve().parents[2] / "app"


def opened(page: str) -> AppTest:
    at = AppTest.from_file(str(APP / "main.py"), default_timeout=60).run()
    return at.switch_page(f"views/{page}.py").run()


def key_of(at: AppTest, kind: str) -> tuple:
    (key,) = [k for k in at.session_state["results"] if k[0] == kind]
    return key


@pytest.mark.parametrize(
    ("page", "kind", "function"),
    [
        ("descent", "double_descent", "double_descent"),
        ("emergence", "emergence", "emergence"),
        ("grokking", "grokking", "grokking"),
        ("fit", "fit", "bootstrap"),
        ("fit", "isoflop", "isoflop"),
    ],
)
def test_cancelled_work_waits_for_the_visitor(monkeypatch, page, kind, function):
    at = opened(page)
    assert not at.error
    charts = len(at.get("vega_lite_chart"))
    key = max((k for k in at.session_state["results"] if k[0] == kind), key=repr)
    kept = dict(at.session_state["results"])
    del at.session_state["results"][key]
    at.session_state["cancelled"] = {key}

    real, calls = getattr(scaling, function), []
    monkeypatch.setattr(scaling, function, lambda *a, **k: (calls.append(1), real(*a, **k))[1])
    for _ in range(2):  # the page may run as often as it likes
        at.run()
        assert [i.value for i in at.info] == ["Cancelled: nothing was computed."]
        assert not calls
        assert len(at.get("vega_lite_chart")) < charts
    assert {k: v for k, v in kept.items() if k != key} == dict(at.session_state["results"])

    (again,) = [b for b in at.button if b.label == "Run it"]
    again.click().run()
    assert calls == [1]
    assert len(at.get("vega_lite_chart")) == charts
    assert not [i for i in at.info if "Cancelled" in i.value]
    assert not at.session_state["cancelled"]
    at.run()
    assert calls == [1]  # kept


def test_a_bar_names_the_work_and_its_share_and_a_button_ends_it(monkeypatch):
    opened("start")
    monkeypatch.setattr(sys.modules["cache"], "PATIENCE", 0.0)
    monkeypatch.setattr(sys.modules["cache"], "EVERY", 0.002)
    said, buttons = [], []
    draw, button = DeltaGenerator.progress, DeltaGenerator.button
    monkeypatch.setattr(
        DeltaGenerator, "progress", lambda self, value, text: (said.append((value, text)), draw(self, value, text))[1]
    )
    monkeypatch.setattr(
        DeltaGenerator, "button", lambda self, label, **k: (buttons.append((label, k)), button(self, label, **k))[1]
    )
    at = opened("descent")
    assert not at.error and not at.exception
    shares = [value for value, _ in said]
    assert shares == sorted(shares) and shares[0] < 0.1 and shares[-1] > 0.6 and len(set(shares)) > 5
    assert all(
        text == "Looking for a peak that is no noise" + (f": {value:.0%}" if value else "") for value, text in said
    )
    ((label, options),) = [b for b in buttons if b[0] == "Cancel"]
    assert not at.get("progress")  # at the end both are gone
    assert not [b for b in at.button if b.label == "Cancel"]
    assert not at.session_state["cancelled"]
    options["on_click"]()
    assert at.session_state["cancelled"] == {key_of(at, "double_descent")}


def test_a_page_that_is_left_ends_its_work_at_the_next_word(monkeypatch):
    ended = threading.Event()

    def endless(*_, progress, **__):
        try:
            for k in range(1000):
                progress(k, 1000)
                time.sleep(0.02)
        except Exception:
            ended.set()
            raise

    def left(self, value, text):
        raise sys.modules["words"].PageEnd  # as the framework does when a button was clicked

    opened("start")
    monkeypatch.setattr(sys.modules["cache"], "PATIENCE", 0.1)
    monkeypatch.setattr(scaling, "double_descent", endless)
    monkeypatch.setattr(DeltaGenerator, "progress", left)
    at = opened("descent")
    assert not at.exception and not at.error
    assert ended.wait(2.0)
    assert not [k for k in at.session_state["results"] if k[0] == "double_descent"]


def test_a_visitor_keeps_a_bounded_number_of_results(monkeypatch):
    opened("start")
    monkeypatch.setattr(sys.modules["cache"], "RESULTS_KEPT", 2)
    at = opened("fit")
    for resamples in (100, 0, 100, 300):
        at.select_slider(key="resamples").set_value(resamples).run()
        assert not at.error
        assert len(at.session_state["results"]) == 2


def test_an_analysis_that_fails_leaves_a_sentence_and_no_bar(monkeypatch):
    def failing(*_, progress, **__):
        progress(1, 4)
        raise scaling.RunsError("there is no peak in an empty table.")

    opened("start")
    monkeypatch.setattr(sys.modules["cache"], "PATIENCE", 0.0)
    monkeypatch.setattr(scaling, "double_descent", failing)
    at = opened("descent")
    assert [e.value for e in at.error] == ["There is no peak in an empty table\\."]
    assert not at.get("progress")
    assert not [b for b in at.button if b.label == "Cancel"]
    assert not [k for k in at.session_state["results"] if k[0] == "double_descent"]
