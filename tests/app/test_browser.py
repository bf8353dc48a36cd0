"""What only a real browser shows: pages draw, nothing leaves the machine, uploads and links work, hostile text is inert."""

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
from urllib.error import URLError

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars"]  # fmt: skip
PAGES = ("Start", "Runs", "Fit", "Plan", "Double descent", "Emergence", "Grokking", "Batch", "Library")
HOSTILE = "<img src=http://203.0.113.7/x.png onerror=alert(1)> ![y](http://203.0.113.7/y.png)"
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A running app on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "scaling", "app", "--port", str(port), "--no-browser"],
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        for _ in range(120):
            if server.poll() is not None:
                pytest.fail(f"the app ended: {log.read_text()}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1) as answer:
                    if answer.read() == b"ok":
                        break
            except (URLError, OSError):
                time.sleep(0.25)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(10)


@pytest.fixture(scope="module")
def chromium():
    if CHROMIUM is None or not _installed():
        message = "the browser tests need chromium and playwright"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


def _installed() -> bool:
    from importlib.util import find_spec

    return find_spec("playwright") is not None


@pytest.fixture
def page(chromium, address):
    """A page that at the end has asked nothing of any other machine and reported no error."""
    context = chromium.new_context(viewport={"width": 1440, "height": 1800}, reduced_motion="reduce", locale="en-US")
    outside, errors = [], []
    context.route(
        re.compile(r"^(?!http://127\.0\.0\.1|ws://127\.0\.0\.1|data:|blob:)"),
        lambda r: (outside.append(r.request.url), r.abort()),
    )
    page = context.new_page()
    # by link, the framework asks for its own files under the page's path first
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" and "404" not in m.text else None)
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.goto(address)
    settle(page)
    yield page
    context.close()
    assert outside == []
    assert errors == []


def settle(page):
    page.get_by_role("heading", level=1).first.wait_for(timeout=60_000)
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=60_000)
    page.wait_for_function(
        "() => !document.querySelector('[data-stale=true],[data-testid=stSkeleton],[data-testid=stSpinner]')",
        timeout=60_000,
    )
    assert page.get_by_test_id("stException").count() == 0


def go(page, title):
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=title, exact=True).click()
    if title != "Start":
        page.get_by_role("heading", name=title, level=1, exact=True).wait_for(timeout=60_000)
    settle(page)


def test_every_page_draws(page):
    for title in PAGES:
        go(page, title)
        if title not in ("Batch", "Library"):
            page.get_by_test_id("stVegaLiteChart").first.wait_for(timeout=30_000)


def test_an_upload_is_fitted_planned_and_downloaded_and_its_text_is_inert(page, tmp_path):
    rows = ["run,params,tokens,loss"]
    for n in (1e7, 3e7, 1e8, 3e8, 1e9):
        for d in (1e9, 3e9, 1e10, 3e10):
            rows.append(f'"{HOSTILE} {n:.0e} {d:.0e}",{n},{d},{1.8 + 480 * n**-0.35 + 2100 * d**-0.37}')
    (tmp_path / "sweep.csv").write_text("\n".join(rows))
    go(page, "Runs")
    page.locator("input[type=file]").set_input_files(tmp_path / "sweep.csv")
    page.get_by_test_id("stMetricValue").first.get_by_text("20", exact=True).wait_for(timeout=30_000)
    settle(page)
    go(page, "Plan")
    box = page.get_by_role("textbox", name=re.compile("Training compute"))
    box.fill("1e22")
    box.press("Enter")
    answer = page.get_by_test_id("stAlert").filter(has_text="Train ")
    answer.wait_for(timeout=60_000)
    page.wait_for_url(re.compile("flops=1e22"))
    settle(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON", exact=True).click()
    assert "scaling.plan/1" in download.value.path().read_text()


def test_a_link_shows_the_same_plan(page, address):
    page.goto(f"{address}/plan?sources=besiroglu2024&flops=1e23")
    settle(page)
    page.get_by_test_id("stAlert").filter(has_text="Train 29").wait_for(timeout=30_000)
