"""Worker processes that cannot start: said at once, with the likely cause and the way out, and not tried again."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest

from scaling.errors import RunsError
from scaling.refitting import executors, refit, run

_CALL = 'import scaling as sl\nsl.refit("logs", "chinchilla", store="fits", workers=2)\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    for i in range(run.FILES + 5):  # two jobs: one alone needs no processes
        (tmp_path / "logs" / f"{i}.csv").write_text("n_params,n_tokens,loss\n1e8,1e9,3\n")
    return tmp_path


def _python(folder: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, input=stdin, capture_output=True, text=True, timeout=120
    )


def test_a_script_without_a_main_guard_is_told_so_once(folder: Path) -> None:
    (folder / "nightly.py").write_text(_CALL)
    done = _python(folder, "nightly.py")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "worker processes cannot start: each one imports 'nightly.py' first" in last
    assert "Put the call below `if __name__ == '__main__':`, or pass workers=1" in last
    # each of the two that may have started says why, and none was started anew
    assert 1 <= done.stderr.count("a worker process imports the program that called refit") <= 2
    guarded = "import scaling as sl\nif __name__ == '__main__':\n    sl.refit('logs', 'chinchilla', store='fits', workers=2)\n"
    (folder / "nightly.py").write_text(guarded)
    done = _python(folder, "nightly.py")  # the store that the failed one left goes on
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_that_is_no_file_is_told_so(folder: Path) -> None:
    done = _python(folder, "-", stdin=_CALL)
    assert done.returncode == 1
    assert "'<stdin>' is no file. Save it as one, or pass workers=1" in done.stderr.strip().splitlines()[-1]


def test_within_a_web_app_the_shell_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "streamlit.runtime", types.SimpleNamespace(exists=lambda: True))
    assert "imports the page of the web app" in executors._why_none_starts()
    assert "Run `scaling refit` in a shell, or pass workers=1" in executors._why_none_starts()
    monkeypatch.setitem(sys.modules, "streamlit.runtime", types.SimpleNamespace(exists=lambda: False))
    assert "web app" not in executors._why_none_starts()


def test_workers_that_never_start_are_not_started_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "app.py"
    program.write_text("raise SystemExit('not as a worker')\n")
    main = types.ModuleType("__main__")
    main.__file__ = str(program)
    monkeypatch.setitem(sys.modules, "__main__", main)
    with (
        pytest.raises(
            RunsError, match=r"cannot start: each one imports 'app\.py' first, which calls refit itself or fails"
        ),
        executors.Workers(2) as pool,
    ):
        list(pool.run(iter([(i, (abs, (i,))) for i in range(9)])))
    assert pool.restarts == 0
    monkeypatch.undo()
    assert refit(folder / "logs", "chinchilla", store=folder / "fits", workers=1).n_fits == run.FILES + 5
