"""What a page shows is what the command prints for the same input and seed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import scaling
from scaling.cli import main

sys.path.insert(0, str(Path(__file__).parent))
from test_pages import nothing_unforeseen, opened  # noqa: F401  (a fixture of every test here)

RUNS = str(Path(__file__).resolve().parents[2] / "data" / "ladder" / "runs.csv")


def printed(*words: str) -> dict:
    done = CliRunner().invoke(main, [*words, "--json"], prog_name="scaling")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("law", ["chinchilla", "kaplan"])
def test_coefficients_and_their_intervals(law):
    page = opened("fit", laws=law, resamples="300")
    assert not page.exception
    table = next(d.value for d in page.dataframe if {"coef", "estimate", "low", "high"} <= set(d.value.columns))
    command = printed("fit", RUNS, "--law", law, "--resamples", "300")["coefs"]
    for row in table.to_dict("records"):
        for column in ("estimate", "low", "high"):
            assert float(row[column]) == pytest.approx(command[row["coef"]][column], rel=1e-3)  # the table has 4 digits


def test_a_plan_and_its_bands():
    page = opened("plan", flops="1e14", accelerator="H100-SXM", count="8", mfu="35%")
    assert not page.exception
    command = printed(
        "plan", RUNS, "--law", "chinchilla", "--resamples", "300", "--flops", "1e14", "--accelerator", "H100-SXM", "--gpus", "8", "--mfu", "35%"
    )  # fmt: skip
    shown = {m.label: (m.value, m.delta) for m in page.metric}
    for label, name, kind in (
        ("Model size", "n_params", "params"), ("Training tokens", "n_tokens", "tokens"), ("Tokens per parameter", "tokens_per_param", "count"),
    ):  # fmt: skip
        value = command[name]
        assert shown[label][0] == scaling.format_quantity(value["estimate"], kind, digits=3)
        low, high = (scaling.format_quantity(value[k], kind, digits=3) for k in ("low", "high"))
        assert shown[label][1] == f"{low} to {high}"
    assert float(shown["Days"][0]) == pytest.approx(command["hardware"]["days"], rel=1e-2)


def test_the_analyses_find_the_same():
    page = opened("descent")
    data = str(Path(RUNS).parents[1] / "double_descent" / "width.csv")
    command = printed(
        "descent", data, "--axis", "width", "--value", "test_loss", "--where", "ridge=0.0", "--where", "label_noise=0.1"
    )
    assert command["finding"].split(" (")[0] in page.success[0].value.replace("\\", "")
