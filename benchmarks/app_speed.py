"""What a visitor of the app waits for, measured in a real browser on this machine (chromium and playwright needed).

    python benchmarks/app_speed.py [--quick] [--visitors 10]

Start of the command to the first page drawn (median of 5 starts); one change of the budget on Plan to the new answer (median of 20); a fit of
250 runs with 1,000 resamples; a log of 100 MB from upload to what was understood, and the server's peak memory; and a
number of visitors at once, each of whom opens three pages (bounded, loopback only). Times are of the wall clock.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "app"))
WAIT = 60_000  # milliseconds


def main() -> None:
    from browser import CHROMIUM, FLAGS, go, link, serving, settle
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5 changes, 10 MB, 3 visitors")
    parser.add_argument("--visitors", type=int, default=10)
    args = parser.parse_args()
    changes, megabytes, visitors = (5, 10, min(3, args.visitors)) if args.quick else (20, 100, min(50, args.visitors))
    rows: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as p:
        place = Path(scratch)
        browser = p.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        starts = [_start(browser, serving, settle, place) for _ in range(2 if args.quick else 5)]
        for what, seconds in zip(
            ("the first heading", "the first page whole, its chart drawn"), zip(*starts, strict=True), strict=True
        ):
            figures = f"{statistics.median(seconds):.2f} s (median of {len(seconds)}; {min(seconds):.2f} to {max(seconds):.2f})"
            rows.append((f"start of the command to {what}", figures))
        page = browser.new_page(viewport={"width": 1440, "height": 1800})
        with serving(place / "log.txt") as (address, pid):
            page.goto(address)
            settle(page)
            rows.append(("change of the budget on Plan to the new answer", _plan(page, go, settle, changes)))
            rows.append(
                ("fit of 250 runs with 1,000 resamples, click to chart", _fit(page, go, settle, place, address))
            )
            rows.append(
                (f"log of {megabytes} MB, upload to what was understood", _upload(page, go, settle, place, megabytes))
            )
            rows.append(("peak memory of the server", f"{_peak(pid):.0f} MB"))
            page.close()
            failures = _visit(visitors, address, link)
            rows.append(
                (
                    f"{visitors} visitors at once, three pages each",
                    "no error" if not failures else f"{len(failures)} failed: {failures[0]}",
                )
            )
        browser.close()
    print("| what | measured |\n| --- | --- |")
    for what, figure in rows:
        print(f"| {what} | {figure} |")


def _start(browser, serving, settle, place: Path) -> tuple[float, float]:
    """Seconds from the start of the command to the first heading, and to the page with its chart."""
    page = browser.new_page(viewport={"width": 1440, "height": 1800})
    began = time.perf_counter()
    with serving(place / "log.txt") as (address, _):
        page.goto(address)
        page.get_by_role("heading", level=1).first.wait_for(timeout=WAIT)
        heading = time.perf_counter() - began
        page.locator("[data-testid=stVegaLiteChart] svg").first.wait_for(timeout=WAIT)
        settle(page)
        whole = time.perf_counter() - began
    page.close()
    return heading, whole


def _plan(page, go, settle, changes: int) -> str:
    go(page, "Plan")
    answer = page.get_by_test_id("stAlert").filter(has_text="Train ")
    box = page.get_by_role("textbox", name="Training compute [FLOPs]")
    seconds = []
    for i in range(changes):
        old = answer.inner_text()
        box.fill(f"{1.3 + 0.37 * i:.2f}e13")
        began = time.perf_counter()
        box.press("Enter")
        page.wait_for_function(
            "old => [...document.querySelectorAll('[data-testid=stAlert]')].some(e => e.innerText.includes('Train ') && e.innerText !== old)",
            arg=old, timeout=WAIT, polling=20,
        )  # fmt: skip
        seconds.append(time.perf_counter() - began)
        settle(page)
    return f"{1000 * statistics.median(seconds):.0f} ms (median of {changes}; slowest {1000 * max(seconds):.0f} ms)"


def _fit(page, go, settle, place: Path, address: str) -> str:
    rng = np.random.default_rng(0)
    n, d = np.exp(rng.uniform(np.log(1e7), np.log(1e10), 250)), np.exp(rng.uniform(np.log(1e9), np.log(1e12), 250))
    loss = (1.8 + 480 * n**-0.35 + 2100 * d**-0.37) * np.exp(rng.normal(0, 0.005, 250))
    pd.DataFrame({"run": np.arange(250), "params": n, "tokens": d, "loss": loss}).to_csv(place / "250.csv", index=False)
    go(page, "Runs")
    page.locator("input[type=file]").set_input_files(place / "250.csv")
    page.get_by_test_id("stMetricValue").first.get_by_text("250", exact=True).wait_for(timeout=WAIT)
    settle(page)
    go(page, "Fit")
    slider = page.get_by_role("slider", name="Resamples")
    slider.focus()
    began = time.perf_counter()
    slider.press("ArrowRight")  # 300 to 1,000
    page.get_by_text("1000 resamples").first.wait_for(timeout=WAIT)
    return f"{time.perf_counter() - began:.2f} s"


def _upload(page, go, settle, place: Path, megabytes: int) -> str:
    steps = 5000
    step = np.arange(1, steps + 1)
    with (place / "big.csv").open("w") as out:
        run = 0
        out.write("run,step,params,tokens,loss\n")
        while out.tell() < megabytes * 1e6:
            n = 1e7 * 1.02**run
            tokens = step * 1e6
            pd.DataFrame({"run": f"r{run}", "step": step, "params": n, "tokens": tokens, "loss": 1.8 + 480 * n**-0.35 + 2100 * tokens**-0.37}).to_csv(out, index=False, header=False)  # fmt: skip
            run += 1
    go(page, "Runs")
    began = time.perf_counter()
    page.locator("input[type=file]").set_input_files(place / "big.csv")
    page.get_by_test_id("stMetricValue").first.get_by_text(str(run), exact=True).wait_for(timeout=2 * WAIT)
    return f"{time.perf_counter() - began:.2f} s ({run} runs, {run * steps:,} rows)"


def _peak(pid: int) -> float:
    """Largest memory of the server and its children [MB]; Linux."""
    peaks = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:  # the process has ended
            continue
        if str(pid) in (lines["Pid"].strip(), lines["PPid"].strip()) and "VmHWM" in lines:
            peaks.append(int(lines["VmHWM"].split()[0]) / 1024)
    return max(peaks)


def _visit(visitors: int, address: str, link) -> list[str]:
    """Each visitor opens three pages in a browser of its own context; what went wrong."""
    failures: list[str] = []
    lock = threading.Lock()

    def one(i: int) -> None:
        from browser import CHROMIUM, FLAGS, settle
        from playwright.sync_api import sync_playwright

        try:
            with sync_playwright() as p:
                browser = p.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
                page = browser.new_page()
                for title in ("Start", "Fit", "Plan"):
                    page.goto(link(address, title))
                    settle(page)
                browser.close()
        except Exception as error:
            with lock:
                failures.append(f"visitor {i}: {error}")

    threads = [threading.Thread(target=one, args=(i,)) for i in range(visitors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


if __name__ == "__main__":
    main()
