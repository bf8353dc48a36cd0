"""A link makes the same view: settings of the fit, runs left out and rows chosen stand in it; what no input takes is named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from test_pages import APP, nothing_unforeseen, opened  # noqa: F401  (a fixture of every test here)

RUN = "c3.16e10-d8-l2-s0"


@pytest.mark.parametrize(
    ("page", "given"),
    [("plan", {"sources": "nonsense", "flops": "abc"}), ("descent", {"descent_axis": "zzz"}), ("descent", {"descent_train": "q[x](y)"}), ("runs", {"map_loss": "zzz"}),
     ("fit", {"laws": "zzz", "resamples": "77"}), ("fit", {"objective": "zzz"}), ("emergence", {"emergence_continuous": "zzz"}), ("emergence", {"chance": "7"}), ("library", {"law": "q[x](y)"})],
)  # fmt: skip
def test_a_value_that_no_input_takes_is_named(page, given):
    at = opened(page, **given)
    assert not at.exception
    note = at.info[0].value
    assert "Left out of the link" in note
    (key, value) = next(iter(given.items()))
    assert key.replace("_", r"\_") in note
    assert "](" not in note
    assert value[:1] in note


def test_a_value_that_an_input_takes_is_not_named():
    at = opened("plan", sources="besiroglu2024", flops="1e23", band="0.9", objective="hoffmann")
    assert not [i for i in at.info if "Left out" in i.value]


def test_a_link_to_a_plan_brings_the_fit_it_stands_on():
    plain, kaplan = opened("plan").success[0].value, opened("plan", laws="kaplan").success[0].value
    assert plain != kaplan
    at = opened("fit")
    at.multiselect(key="laws").set_value(["kaplan"]).run()
    at.switch_page("views/plan.py").run()
    assert at.success[0].value == kaplan
    at.switch_page("views/fit.py").run()
    assert at.multiselect(key="laws").value == ["kaplan"]


def test_runs_left_out_stand_in_the_address():
    at = opened("runs", without=RUN)
    assert at.metric[0].value == "37"
    at.button[[b.label for b in at.button].index("Take them back")].click().run()
    assert at.metric[0].value == "38"
    assert "without" not in at.query_params


def test_rows_of_a_curve_analysis_stand_in_the_address():
    clean, noisy = (opened("descent", descent_label_noise=v).success[0].value for v in ("0.0", "0.1"))
    assert clean != noisy


def test_a_header_of_a_file_is_no_link_in_a_label():
    lines = ["width,test_loss,[x](http://203.0.113.7/y)"]
    lines += [f"{w},{1 / w + (w == 8)},{g}" for w in (1, 2, 4, 8, 16, 32, 64) for g in "ab"]
    at = opened("start")
    at.session_state["files_descent"] = [("t.csv", "\n".join(lines).encode())]
    at.switch_page("views/descent.py").run()
    assert not at.exception
    assert any("203" in s.label for s in at.selectbox)
    assert all("](" not in s.label for s in at.selectbox)


def test_half_an_accelerator_is_refused():
    at = opened("plan", accelerator="H100-SXM", count="2.5")
    assert "whole number" in at.error[0].value
    assert not at.exception


@pytest.mark.parametrize("page", sorted(p.stem for p in (APP / "views").glob("*.py")))
def test_every_input_has_a_help_line(page):
    at = opened(page)
    for kind in ("selectbox", "multiselect", "text_input", "number_input", "select_slider"):
        assert [w.label for w in getattr(at, kind) if not w.help] == []


def test_runs_that_no_law_takes_leave_the_ways_onward_open():
    at = opened("start", ("t.csv", b"run,loss,n_params\na,2,1e6\nb,1.9,2e6\n"))
    assert not at.exception
    assert at.warning[0].value.startswith("t")


def test_columns_and_units_chosen_on_the_page_runs_stand_in_every_address():
    plain = opened("fit").dataframe[0].value
    at = opened("fit", map_loss="train_loss")
    assert not at.exception
    assert "train_loss" in at.query_params["map_loss"]
    assert not at.dataframe[0].value.equals(plain)
    assert opened("runs", loss_unit="bits").dataframe[1].value.set_index("column").loc["loss", "unit"] == (
        "nats/token (converted from bits/token)"
    )


def test_a_column_that_the_files_do_not_have_is_named_and_left_out():
    at = opened("fit", map_loss="zzz", loss_unit="zzz")
    assert not at.error
    assert "map\\_loss=zzz" in at.info[0].value and "loss\\_unit=zzz" in at.info[0].value
    assert "map_loss" not in at.query_params
