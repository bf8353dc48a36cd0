"""What only a real browser shows: pages draw, nothing leaves the machine, uploads and links work, hostile text is inert."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from browser import CHROMIUM, FLAGS, OUTSIDE, PAGES, go, serving, settle

HOSTILE = "<img src=http://203.0.113.7/x.png onerror=alert(1)> ![y](http://203.0.113.7/y.png)"
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A running app on a free port."""
    with serving(tmp_path_factory.mktemp("server") / "log.txt") as (where, _):
        yield where


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
def opened(chromium, address):
    """Opens pages that at the end have asked nothing of any other machine and reported no error."""
    contexts, outside, errors = [], [], []

    def open_page(width: int = 1440, height: int = 1800, scheme: str = "light"):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, reduced_motion="reduce", locale="en-US", color_scheme=scheme
        )
        contexts.append(context)
        context.route(OUTSIDE, lambda r: (outside.append(r.request.url), r.abort()))
        page = context.new_page()
        # by link, the framework asks for its own files under the page's path first
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" and "404" not in m.text else None)
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.goto(address)
        settle(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert outside == []
    assert errors == []


@pytest.fixture
def page(opened):
    return opened()


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


@pytest.mark.parametrize(("width", "scheme"), [(1440, "dark"), (390, "light")])
def test_every_page_draws_in_the_dark_and_on_a_telephone(opened, width, scheme):
    page = opened(width, 1600, scheme)
    for title in PAGES:
        go(page, title)
        # what is drawn stays inside the window; only tables scroll within themselves
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_point_clicked_is_left_out_and_taken_back(page):
    go(page, "Fit")
    before = page.get_by_test_id("stMetricValue").count()
    chart = page.get_by_test_id("stVegaLiteChart").filter(has=page.locator(".mark-symbol")).nth(2)
    chart.scroll_into_view_if_needed()
    chart.locator(".mark-symbol path").first.click(force=True)
    button = page.get_by_role("button", name="Leave out and refit")
    button.wait_for(timeout=30_000)
    button.click()
    page.get_by_test_id("stAlert").filter(has_text="Runs left out by you: 1.").wait_for(timeout=60_000)
    settle(page)
    go(page, "Runs")
    page.get_by_test_id("stMetricValue").first.get_by_text("37", exact=True).wait_for(timeout=30_000)
    page.get_by_role("button", name="Take them back").click()
    page.get_by_test_id("stMetricValue").first.get_by_text("38", exact=True).wait_for(timeout=30_000)
    assert before == 0
