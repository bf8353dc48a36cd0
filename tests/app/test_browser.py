"""What only a real browser shows: pages draw, nothing leaves the machine, uploads and links work, hostile text is inert."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from browser import CHROMIUM, FLAGS, OUTSIDE, PAGES, go, link, serving, settle

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


def run_of(point) -> str:
    """The name of the run behind a mark, as a screen reader hears it."""
    return re.search(r"run: ([^;]+)", point.get_attribute("aria-label")).group(1)


def mark_of(chart, run):
    return next(p for p in chart.locator(".layer_1_marks path").all() if run_of(p) == run)


def apart(chart) -> set[str]:
    """Runs whose marks lie apart from all others, so that a click meets them alone."""
    points = chart.locator(".layer_1_marks path").all()
    at = [(b["x"] + b["width"] / 2, b["y"] + b["height"] / 2) for b in (p.bounding_box() for p in points)]
    return {
        run_of(p)
        for i, p in enumerate(points)
        if all(max(abs(at[i][0] - x), abs(at[i][1] - y)) > 14 for j, (x, y) in enumerate(at) if j != i)
    }


@pytest.mark.parametrize(("clicked", "other"), [("fit_chart", "residuals"), ("residuals", "fit_chart")])
def test_a_point_clicked_is_marked_in_both_charts_left_out_and_taken_back(opened, clicked, other):
    page = opened(1440, 2600)
    go(page, "Fit")
    chart, linked = (drawn(page, key) for key in (clicked, other))
    points = chart.locator(".layer_1_marks path")
    points.first.wait_for(timeout=60_000)
    assert points.count() == 38
    rings = {"fit_chart": ".layer_4_marks path", "residuals": ".layer_2_marks path"}
    assert chart.locator(rings[clicked]).count() == linked.locator(rings[other]).count() == 0
    run = sorted(apart(chart) & apart(linked))[0]
    mark_of(chart, run).click(force=True)
    button = page.get_by_role("button", name="Leave out and refit")
    button.wait_for(timeout=60_000)
    settle(page)
    assert run in page.get_by_test_id("stMultiSelect").last.inner_text()
    for each, key in ((chart, clicked), (linked, other)):
        each.locator(rings[key]).first.wait_for(state="attached", timeout=30_000)
        assert each.locator(rings[key]).count() == 1
    # a second click, in the other chart, takes the mark back; a third sets it again
    mark_of(linked, run).click(force=True)
    button.wait_for(state="detached", timeout=60_000)
    settle(page)
    mark_of(linked, run).click(force=True)
    button.wait_for(timeout=60_000)
    settle(page)
    button.click()
    page.get_by_test_id("stAlert").filter(has_text="Runs left out by you: 1.").wait_for(timeout=60_000)
    settle(page)
    left = drawn(page, clicked).locator(".layer_1_marks path")
    left.first.wait_for(timeout=30_000)
    assert left.count() == 37
    assert run not in [run_of(p) for p in left.all()]
    go(page, "Runs")
    page.get_by_test_id("stMetricValue").first.get_by_text("37", exact=True).wait_for(timeout=30_000)
    page.get_by_role("button", name="Take them back").click()
    page.get_by_test_id("stMetricValue").first.get_by_text("38", exact=True).wait_for(timeout=30_000)


def drawn(page, key):
    """The chart of a key, whichever runs it shows."""
    return page.locator(f"[class*=st-key-{key}_]:has([data-testid=stVegaLiteChart])")


@pytest.mark.parametrize(
    ("kind", "opening"), [("SVG", b"<svg"), ("PNG", b"\x89PNG"), ("HTML", b"<!DOCTYPE html>"), ("CSV", b"run,")]
)
def test_a_chart_is_taken_along_as_a_file(page, kind, opening):
    go(page, "Fit")
    with page.expect_download() as download:
        page.locator(f".st-key-fit_chart_{kind.lower()} button").locator("visible=true").click()
    assert download.value.path().read_bytes().startswith(opening)
    assert download.value.suggested_filename == f"fit_chart.{kind.lower()}"


@pytest.mark.parametrize(
    ("title", "key", "words"),
    [("Start", "start", "Train "), ("Emergence", "emergence_page", "The answer and its parts")],
)
def test_a_page_is_taken_along_as_a_report_that_opens_offline(page, tmp_path, title, key, words):
    go(page, title)
    with page.expect_download() as download:
        page.locator(f".st-key-{key}_report button").locator("visible=true").click()
    download.value.save_as(tmp_path / "report.html")
    offline = page.context.browser.new_context(offline=True).new_page()
    offline.goto((tmp_path / "report.html").as_uri())
    offline.locator("svg.marks").first.wait_for(timeout=30_000)
    assert words in offline.inner_text("body")
    offline.context.close()


# what a keyboard must reach: all that is shown and can be worked, but what an input beside it does as well
INPUTS = """() => {
  const look = e => { const out = []; for (let x = e, k = 0; x && k < 4; x = x.parentElement, k++) {
    const s = getComputedStyle(x); out.push(s.outline, s.boxShadow, s.borderColor, s.backgroundColor); } return out.join('|'); };
  const shown = e => { const r = e.getBoundingClientRect(), s = getComputedStyle(e);
    return r.width > 1 && r.height > 1 && s.visibility !== 'hidden' && s.opacity !== '0' && !e.disabled && !e.closest('[inert]'); };
  window.look = look;
  return [...document.querySelectorAll('input,button,textarea,a[href],summary,[role=slider]')].filter(e => shown(e) && e.tabIndex >= 0)
    .map((e, i) => { e.dataset.walk = i; return {
      look: look(e), name: (e.getAttribute('aria-label') || e.innerText || '').trim(), group: e.closest('[data-testid=stButtonGroup]') !== null }; });
}"""
HERE = """() => { const e = document.activeElement; return !e || e === document.body ? null :
  { walk: e.dataset.walk === undefined ? null : Number(e.dataset.walk), look: window.look(e) }; }"""


@pytest.mark.parametrize("title", PAGES)
def test_every_input_is_reached_by_tab_and_shows_it(page, address, title):
    page.goto(link(address, title))
    settle(page)
    page.wait_for_timeout(1500)  # charts draw after the script has ended
    for chart in page.get_by_test_id("stVegaLiteChart").all():
        assert len(chart.get_attribute("aria-label").split()) > 2
    inputs = page.evaluate(INPUTS)
    assert len(inputs) > len(PAGES)
    reached: dict[int, str] = {}
    for _ in range(3 * len(inputs) + 60):  # tables take a step or more each
        page.keyboard.press("Tab")
        here = page.evaluate(HERE)
        if here and here["walk"] is not None and here["look"] == inputs[here["walk"]]["look"]:
            page.wait_for_timeout(400)  # a border changes its colour slowly
            here = page.evaluate(HERE)
        if here is None and reached:
            break
        if here and here["walk"] is not None:
            if here["walk"] in reached and len(reached) > 5 and here["walk"] == min(reached):
                break
            reached.setdefault(here["walk"], here["look"])
    # of a group of buttons Tab reaches one; the arrow keys move within it
    missed = [e["name"] for i, e in enumerate(inputs) if i not in reached and not e["group"]]
    assert missed == []
    assert [inputs[i]["name"] for i, look in reached.items() if look == inputs[i]["look"]] == []


def test_arrow_keys_move_within_a_group_of_buttons(page):
    go(page, "Plan")
    first = page.get_by_test_id("stButtonGroup").last.get_by_role("radio").first
    first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    settle(page)
    page.wait_for_url(re.compile("view=Equal"))


def test_long_work_shows_how_far_it_is_ends_on_cancel_and_begins_again_when_asked(page, tmp_path):
    rows = ["flops,seed,score,n_items"]
    for k in range(60):
        for seed in range(5):
            right = round(500 / (1 + 10 ** (3 - k / 10))) + seed
            rows.append(f"{10 ** (18 + k / 10)},{seed},{min(right, 500) / 500},500")
    (tmp_path / "scores.csv").write_text("\n".join(rows))
    go(page, "Emergence")
    page.locator("input[type=file]").set_input_files(tmp_path / "scores.csv")
    bar = page.get_by_test_id("stProgress").filter(has_text=re.compile(r"Fitting curves to scores.*: \d+%"))
    bar.wait_for(timeout=60_000)
    page.get_by_role("button", name="Cancel", exact=True).click()
    said = page.get_by_test_id("stAlert").filter(has_text="Cancelled: nothing was computed.")
    said.wait_for(timeout=30_000)
    settle(page)
    assert bar.count() == 0
    assert page.get_by_test_id("stVegaLiteChart").count() == 0
    go(page, "Grokking")  # another page works, and this one has not begun again meanwhile
    go(page, "Emergence")
    said.wait_for(timeout=30_000)
    page.get_by_role("button", name="Run it", exact=True).click()
    bar.wait_for(timeout=60_000)
    page.get_by_test_id("stVegaLiteChart").first.wait_for(timeout=120_000)
    settle(page)
    assert said.count() == bar.count() == 0
    assert page.get_by_role("button", name="Cancel", exact=True).count() == 0
