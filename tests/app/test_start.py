"""The first page: the sample stands before any library of tables is loaded, and what is shipped is what the fit gives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

APP = Path(__file__).parents[2] / "app"
sys.path.insert(0, str(Path(__file__).parent))
from test_pages import nothing_unforeseen, opened  # noqa: E402, F401  (a fixture of every test here)

SWEEP = "run,params,tokens,loss\n" + "\n".join(
    f"r{n:.0e}-{d:.0e},{n},{d},{1.8 + 480 * n**-0.35 + 2100 * d**-0.37}"
    for n in (1e7, 1e8, 1e9)
    for d in (1e9, 3e9, 1e10)
)


@pytest.fixture
def summary(monkeypatch):
    """The module of the app."""
    monkeypatch.syspath_prepend(str(APP))
    import summary

    return summary


def close(a, b):
    """The same document, numbers to four digits."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(close, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a == pytest.approx(b, rel=2e-4)
    return a == b


def test_the_shipped_summary_is_what_the_sample_gives(summary):
    now = json.loads(json.dumps(summary.summary(summary.sample_fit())))
    assert close(summary.shipped(), now), "make it anew: python app/summary.py"


def test_the_first_page_waits_for_no_library_of_tables():
    program = (
        "import sys; sys.path[:0] = ['app']; from streamlit.testing.v1 import AppTest; "
        "AppTest.from_file('app/main.py', default_timeout=60).run(); "
        "print(sorted({'pandas', 'altair', 'numpy', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=APP.parent, check=True)
    assert done.stdout.strip() == "[]"


def test_own_runs_get_the_same_page(summary):
    sample, own = opened(), opened(upload=("sweep.csv", SWEEP.encode()))
    assert "Fitted to runs" in sample.subheader[0].value
    assert "Fitted to sweep" in own.subheader[0].value
    for kind in ("title", "subheader", "markdown", "caption", "success"):
        assert len(sample.get(kind)) == len(own.get(kind)), kind
    assert sample.success[0].value != own.success[0].value
