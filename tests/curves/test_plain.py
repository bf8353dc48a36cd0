"""Documents and error sentences hold Python's own values, whatever numpy calls their type."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from scaling.curves.double_descent import double_descent
from scaling.curves.grokking import grokking
from scaling.curves.plain import plain, records, shown
from scaling.errors import RunsError


@pytest.mark.parametrize(
    ("value", "same"),
    [(np.float64(0.5), 0.5), (np.int64(3), 3), (np.bool_(True), True), (np.nan, None), (np.float64(-np.inf), None), ("a", "a"), (None, None)],
)  # fmt: skip
def test_a_value_is_plain(value, same):
    assert plain(value) == same
    assert type(plain(value)) is type(same)


def test_rows_of_a_table_survive_a_strict_document():
    table = pd.DataFrame({"n": [1, 2], "loss": [0.5, np.nan], "name": ["a", None], "used": [True, False]})
    assert json.loads(json.dumps(records(table), allow_nan=False)) == [
        {"n": 1, "loss": 0.5, "name": "a", "used": True},
        {"n": 2, "loss": None, "name": None, "used": False},
    ]


def test_a_cell_is_shown_without_the_name_of_its_type():
    assert [shown(v) for v in (np.float64(0.0), np.int64(3), "x", np.nan)] == ["0.0", "3", "'x'", "nan"]


def test_an_error_about_a_cell_shows_the_number_alone():
    sweep = pd.DataFrame({"width": np.arange(1.0, 9.0), "test_loss": [3.0, 2.0, 0.0, 2.0, 3.0, 2.0, 1.0, 0.5]})
    with pytest.raises(RunsError, match=r"column 'test_loss', row 2: 0\.0 is not a positive number"):
        double_descent(sweep)
    curves = pd.DataFrame({"run": 7, "step": np.arange(3), "train_acc": 2.0, "val_acc": 0.5})
    with pytest.raises(RunsError, match=r"column 'train_acc', row 0: 2\.0 is not an accuracy"):
        grokking(curves)
    with pytest.raises(RunsError, match="run 7 has 3 logged steps"):
        grokking(curves.assign(train_acc=0.5))
