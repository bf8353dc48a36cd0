"""Every page can be taken along as one HTML file, which says what the library's own report says."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

import scaling
from scaling.report import report

sys.path.insert(0, str(Path(__file__).parent))
from test_pages import APP, nothing_unforeseen, opened  # noqa: F401  (a fixture of every test here)

DATA = APP.parent / "data"
SAID = {  # page -> what its report must speak of
    "start": ("Train ", "model-size exponent"),
    "runs": ("38 runs", "456 rows read"),
    "fit": ("model-size exponent", "Best size of each budget", "456 rows read"),
    "plan": ("Train ", "What binds", "model-size exponent"),
    "descent": ("Double descent: test_loss peaks", "Curves compared"),
    "emergence": ("Sudden: exact_match", "The answer and its parts"),
    "grokking": ("Grokking in 4 of 24 runs", "Share not yet generalised"),
    "library": ("besiroglu2024", "H100-SXM", "compute-optimal"),
    "batch": ("Coefficients over time", "State of each group"),
}


@pytest.fixture
def files(monkeypatch):
    """key -> what makes the file of a download button, of every page run after."""
    from streamlit.delta_generator import DeltaGenerator

    made = {}
    original = DeltaGenerator.download_button

    def noted(self, label, data, *args, **options):
        made[options["key"]] = data
        return original(self, label, data, *args, **options)

    monkeypatch.setattr(DeltaGenerator, "download_button", noted)
    return made


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A refit store of two nights."""
    path = tmp_path_factory.mktemp("nights") / "s"
    for seed in (0, 1):
        scaling.refit(
            [str(DATA / "ladder" / "runs.csv")], ["kaplan"], store=path, resamples=20, seed=seed, workers=1
        )  # fmt: skip
    return str(path)


@pytest.mark.parametrize("page", SAID)
def test_of_every_page(files, page, store):
    query = {"store": store} if page == "batch" else {}
    at = opened(page, **query)
    assert not at.exception
    beside = {"start_report", "forecast_report"} if page != "start" else set()
    (key,) = (k for k in files if k.endswith("_report") and k not in beside)
    text = files[key]()
    for words in SAID[page]:
        assert words in text
    assert 'id="chart0"' in text
    assert not re.search(r"(src|href)=.?https?:", text)


def test_of_the_forecast(files):
    opened("emergence")
    assert "Score along the frontier" in files["forecast_report"]()


@pytest.mark.parametrize(
    ("view", "words"),
    [("Equal loss", "Equal loss"), ("Smaller or larger", "Smaller or larger"), ("Shape, memory, settings", "critical batch"), ("Which runs next", "should narrow")],
)  # fmt: skip
def test_of_what_a_plan_shows_below(files, view, words):
    opened("plan", view=view)
    text = files["plan_report"]()
    assert words in text
    assert "Train " in text


def test_is_the_same_as_of_the_library(files):
    opened("fit", resamples="100")
    runs = scaling.read_runs(DATA / "ladder" / "runs.csv")
    fitted = scaling.bootstrap(scaling.fit("chinchilla", runs), 100)
    ours, theirs = (re.findall(r"<td.*?</td>", t)[:25] for t in (files["report_report"](), report(fitted)))
    assert ours == theirs


def test_other_files_are_made_when_asked_for(files):
    opened("descent")
    assert json.loads(files["double_descent_json"]())["found"]
    assert files["double_descent_chart_svg"]().startswith(b"<svg")
    assert files["double_descent_table_csv"]().startswith("width,")


@pytest.mark.parametrize("page", SAID)
def test_every_page_gives_its_numbers_as_json(files, page, store):
    query = {"store": store} if page == "batch" else {}
    opened(page, **query)
    made = [k for k in files if k.endswith("_json") and (page == "start") == (k == "start_json")]
    assert made
    documents = [json.loads(files[k]()) for k in made]
    assert all(isinstance(d, dict | list) for d in documents)
    assert any(documents)  # nights that changed nothing give an empty list beside the coefficients
