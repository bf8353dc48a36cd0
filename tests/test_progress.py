"""Long work says how far it is, never goes back, ends at the end, and stops when asked to."""

from __future__ import annotations

import inspect
import json
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import scaling
from scaling.curves.double_descent import double_descents
from scaling.curves.grokking import grokking
from scaling.curves.mirage import mirage, one_curve, pass_law
from scaling.designing import design, ladder_for
from scaling.progress import UNITS, Bar

DATA = Path(__file__).resolve().parents[1] / "data"


class Enough(Exception):
    """Raised by who watches."""


# --- the bar ---------------------------------------------------------------------------------------------------------


def test_parts_share_the_bar_by_size_and_their_parts_share_them():
    seen = []
    first, second = Bar(lambda done, total: seen.append((done, total))).parts(1, 3)
    first(1, 2)
    first(1, 1)
    for part in second.each(3):
        part(1, 2)
    assert seen == [(u, UNITS) for u in (125, 250, 375, 500, 625, 750, 875, 1000)]


def test_a_bar_never_goes_back_and_never_passes_its_end():
    seen = []
    bar = Bar(lambda done, _: seen.append(done))
    first, second = bar.parts(1, 1)
    second(1, 2)
    first(1, 1)
    second(5, 2)
    bar(0, 0)  # nothing to do is all done
    assert seen == [750, 750, 1000, 1000]


@pytest.mark.parametrize("n", [1, 3, 7, 11, 49, 333])
def test_the_last_of_many_parts_ends_at_the_end(n):
    seen = []
    for outer in Bar(lambda done, _: seen.append(done)).each(n):
        for _ in outer.each(7):
            pass
    assert seen[-1] == UNITS
    assert seen == sorted(seen)


def test_a_bar_that_nobody_watches_does_nothing():
    bar = Bar(None)
    bar(1, 2)
    assert [part(1, 1) for part in bar.each(3)] == [None] * 3


# --- every function that lasts ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scores():
    rng = np.random.default_rng(3)
    flops = np.repeat(np.geomspace(1e18, 1e24, 9), 2)
    rate = 1 / (1 + (3e20 / flops) ** 0.7)
    table = pd.DataFrame({"flops": flops, "n_items": 400, "per_token": rate**0.2, "family": ["a", "b"] * 9})
    table["successes"] = rng.binomial(400, rate)
    return table.assign(score=table["successes"] / 400, samples=400)


@pytest.fixture(scope="module")
def widths():
    table = pd.read_csv(DATA / "double_descent" / "width.csv")
    return table[(table["ridge"] == 0) & (table["label_noise"] > 0)]


@pytest.fixture(scope="module")
def ladder():
    return scaling.read_runs([str(DATA / "ladder" / "runs.csv")])


@pytest.fixture(scope="module")
def fitted(ladder):
    return scaling.fit("chinchilla", ladder)


@pytest.fixture
def work(request, scores, widths, ladder, fitted):
    """One of the functions on a small table: takes progress=..., gives plain values."""
    noise = widths["label_noise"].iloc[0]
    items = {"n_items": "n_items", "n_draws": 40}
    return {
        "emergence": lambda **k: scaling.emergence(scores, **items, **k).to_dict(),
        "mirage": lambda **k: mirage(scores, exact="score", per_token="per_token", **items, **k).to_dict(),
        "one_curve": lambda **k: str(one_curve(scores, by="family", x="flops", **items, **k)),
        "pass_law": lambda **k: pass_law(scores, x="flops", n_draws=40, **k).to_dict(),
        "double_descent": lambda **k: scaling.double_descent(
            widths[widths["label_noise"] == noise], "width", "test_loss", **k
        ).to_dict(),
        "double_descents": lambda **k: [
            d.to_dict() for d in double_descents(widths, "label_noise", axis="width", value="test_loss", **k).values()
        ],
        "grokking": lambda **k: grokking(pd.read_csv(DATA / "grokking" / "curves.csv"), **k).to_dict(),
        "compare": lambda **k: scaling.compare(
            ["chinchilla", "kaplan"], ladder, n_folds=3, n_resamples=50, **k
        ).to_dict(),
        "isoflop": lambda **k: scaling.isoflop(ladder, n_resamples=200, **k).to_dict(),
        "design": lambda **k: design(fitted, 1e18, 1e17, **k).to_dict(),
        "design of sweeps": lambda **k: design(fitted, 1e18, 1e17, kind="isoflop", **k).to_dict(),
        "ladder_for": lambda **k: ladder_for(fitted, 1e18, 0.06, kind="isoflop", **k).to_dict(),
        "bootstrap": lambda **k: scaling.bootstrap(fitted, 200, **k).theta.tolist(),
    }[request.param]


WORKS = ("emergence", "mirage", "one_curve", "pass_law", "double_descent", "double_descents", "grokking", "compare",
         "isoflop", "design", "design of sweeps", "ladder_for", "bootstrap")  # fmt: skip


@pytest.mark.parametrize("work", WORKS, indirect=True)
def test_progress_rises_to_the_end_and_changes_no_digit(work):
    seen = []
    watched = work(progress=lambda done, total: seen.append((done, total)))
    done, totals = zip(*seen, strict=True)
    assert list(done) == sorted(done)
    assert set(totals) == {totals[-1]}
    assert done[-1] == totals[-1] > 0
    assert done[0] >= 0
    assert json.dumps(watched, default=str) == json.dumps(work(), default=str)


@pytest.mark.parametrize("work", WORKS, indirect=True)
def test_what_progress_raises_ends_the_work_within_a_second(work):
    asked = calls = 0.0

    def stop(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if time.process_time() > asked:
            raise Enough

    began = time.process_time()
    asked = began + 0.05
    with suppress(Enough):  # work that ends sooner is not asked to
        work(progress=stop)
    assert calls
    assert time.process_time() - asked < 1.0

    asked = 0.0  # the first word is heard as well
    with pytest.raises(Enough):
        work(progress=stop)


@pytest.mark.parametrize(
    "function",
    [
        scaling.emergence, scaling.double_descent, double_descents, mirage, one_curve, grokking, scaling.compare,
        scaling.isoflop, design, ladder_for, scaling.bootstrap, scaling.refit,
    ],
)  # fmt: skip
def test_every_function_that_lasts_takes_progress_by_keyword_and_says_so(function):
    parameter = inspect.signature(function).parameters["progress"]
    assert parameter.default is None
    assert "progress :" in function.__doc__


# --- commands --------------------------------------------------------------------------------------------------------

LADDER, WIDTH = str(DATA / "ladder" / "runs.csv"), str(DATA / "double_descent" / "width.csv")
COMMANDS = {
    "descent": [WIDTH, "--axis", "width", "--value", "test_loss", "--where", "ridge=0", "--where", "label_noise=0.1"],
    "emergence": [str(DATA / "emergence" / "addition.csv"), "--score", "exact_match", "--items", "n_items"],
    "grokking": [str(DATA / "grokking" / "curves.csv")],
    "compare": [LADDER, "--law", "chinchilla", "--law", "kaplan", "--resamples", "50"],
    "design": [LADDER, "--flops", "1e18", "--spend", "1e17"],
    "isoflop": [LADDER, "--resamples", "100"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_hands_its_bar_to_the_work(command, monkeypatch):
    from importlib import import_module

    from scaling.cli import main

    seen = []

    class Watched:
        def __init__(self, label: str) -> None:
            assert label

        def __enter__(self):
            return lambda done, total: seen.append(done / total)

        def __exit__(self, *error) -> None:
            seen.append("closed")

    monkeypatch.setattr(import_module(f"scaling.commands.{command}"), "Progress", Watched)
    result = CliRunner().invoke(main, [command, *COMMANDS[command]])
    assert result.exit_code == 0, result.output
    assert seen[-1] == "closed"
    assert seen[-2] == 1.0
    assert seen[:-1] == sorted(seen[:-1])
