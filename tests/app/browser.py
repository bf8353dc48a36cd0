"""A running app and a real browser: what the browser tests, the screenshots and the speed benchmark share."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars"]  # fmt: skip
OUTSIDE = re.compile(r"^(?!http://127\.0\.0\.1|ws://127\.0\.0\.1|data:|blob:)")
PAGES = ("Start", "Runs", "Fit", "Plan", "Double descent", "Emergence", "Grokking", "Batch", "Library")
ADDRESS = {"Start": "", "Double descent": "descent"}  # of a page; else its title in small letters


@contextmanager
def serving(log: Path, installed: Path | None = None) -> Iterator[tuple[str, int]]:
    """The app on a free port: its address and process id; the output of the server goes to `log`.

    installed : a folder with an unpacked wheel; it is imported from there, and this checkout is not in sight.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "scaling", "app", "--port", str(port), "--no-browser"]
    with log.open("wb") as out:
        server = subprocess.Popen(
            command, stdout=out, stderr=out, start_new_session=True, cwd=installed,
            env=None if installed is None else os.environ | {"PYTHONPATH": str(installed)},
        )  # fmt: skip
    try:
        for _ in range(600):
            if server.poll() is not None:
                raise RuntimeError(f"the app ended: {log.read_text()}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1) as answer:
                    if answer.read() == b"ok":
                        break
            except (URLError, OSError):
                time.sleep(0.05)
        else:
            raise RuntimeError(f"the app did not answer: {log.read_text()}")
        yield f"http://127.0.0.1:{port}", server.pid
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(10)


def settle(page, exceptions: bool = False):
    """Wait until nothing runs; then no exception may be on screen."""
    page.get_by_role("heading", level=1).first.wait_for(timeout=60_000)
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=60_000)
    page.wait_for_function(
        "() => !document.querySelector('[data-stale=true],[data-testid=stSkeleton],[data-testid=stSpinner]')",
        timeout=60_000,
    )
    assert exceptions or page.get_by_test_id("stException").count() == 0


def go(page, title):
    """To a page by the navigation at the side."""
    if not page.get_by_test_id("stSidebarNav").is_visible():
        page.get_by_test_id("stExpandSidebarButton").click()
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=title, exact=True).click()
    if title != "Start":
        page.get_by_role("heading", name=title, level=1, exact=True).wait_for(timeout=60_000)
    settle(page)


def link(address: str, title: str) -> str:
    return f"{address}/{ADDRESS.get(title, title.lower())}"
