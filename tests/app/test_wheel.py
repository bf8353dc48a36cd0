"""What is installed from a wheel is the whole app: every view, its configuration and its sample data, started from there."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from browser import serving

ROOT = Path(__file__).resolve().parents[2]
VIEWS = sorted(p.stem for p in (ROOT / "app" / "views").glob("*.py"))
OPEN_EACH = """
import sys
from pathlib import Path
import scaling
from streamlit.testing.v1 import AppTest
main = Path(scaling.__file__).parent / "_app" / "main.py"
print(main)
at = AppTest.from_file(str(main), default_timeout=120).run()
for name in sys.argv[1:]:
    at.switch_page(f"views/{name}.py").run()
    print(name, len(at.exception), len(at.error), bool(at.title[0].value))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds nothing but the unpacked wheel of this checkout."""
    if find_spec("hatchling") is None:
        message = "building the wheel needs hatchling, the build backend"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    out, site = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("site")
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", build, str(out)], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)
    return site


def test_the_wheel_holds_every_view_the_configuration_and_the_samples(installed):
    app = installed / "scaling" / "_app"
    assert (app / ".streamlit" / "config.toml").read_text() == (ROOT / "app" / ".streamlit" / "config.toml").read_text()
    assert sorted(p.stem for p in (app / "views").glob("*.py")) == VIEWS
    assert sorted(p.name for p in app.glob("*.py")) == sorted(p.name for p in (ROOT / "app").glob("*.py"))
    assert (app / "sample.json").is_file()
    for sample in ("ladder/runs.csv", "double_descent/width.csv", "emergence/addition.csv", "grokking/curves.csv"):
        assert (installed / "scaling" / "_data" / sample).is_file()
    assert not list(installed.rglob("__pycache__"))


def test_the_command_of_the_wheel_serves_the_first_page(installed, tmp_path):
    log = tmp_path / "log.txt"
    with serving(log, installed) as (address, _), urllib.request.urlopen(address, timeout=30) as answer:
        assert answer.status == 200
        assert b"<html" in answer.read()
    assert "Traceback" not in log.read_text()


def test_every_page_of_the_wheel_opens_with_its_own_samples(installed):
    done = subprocess.run(
        [sys.executable, "-c", OPEN_EACH, *VIEWS], cwd=installed, env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    first, *pages = [line for line in done.stdout.splitlines() if line]
    assert Path(first).is_relative_to(installed)
    assert pages == [f"{name} 0 0 True" for name in VIEWS]
