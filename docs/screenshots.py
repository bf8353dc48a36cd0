"""Pictures of the app's pages as a browser shows them.

python docs/screenshots.py              the few that the walk-through shows, into docs/pages/
python docs/screenshots.py --all DIR    every page, light, dark and 390 px wide, to look at
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "app"))

SHOWN = ("Runs", "Fit", "Plan")


def main() -> None:
    from browser import CHROMIUM, FLAGS, PAGES, link, serving, settle
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", metavar="DIR", type=Path, help="every page in every view, into DIR")
    parser.add_argument("--page", action="append", metavar="TITLE", help="only this page; repeatable")
    args = parser.parse_args()
    out = args.all or HERE / "pages"
    out.mkdir(parents=True, exist_ok=True)
    views = (
        [("light", 1200, 1500)]
        if args.all is None
        else [("light", 1440, 2600), ("dark", 1440, 2600), ("light", 390, 3200)]
    )
    pages = args.page or (SHOWN if args.all is None else PAGES)
    with (
        tempfile.TemporaryDirectory() as scratch,
        serving(Path(scratch) / "log.txt") as (address, _),
        sync_playwright() as p,
    ):
        browser = p.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        for scheme, width, height in views:
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, locale="en-US"
            )
            page = context.new_page()
            for title in pages:
                page.goto(link(address, title))
                settle(page)
                page.evaluate("document.fonts.ready")
                page.wait_for_timeout(700)  # charts draw after the script has ended
                name = title.lower().replace(" ", "_") + ("" if args.all is None else f"-{scheme}-{width}")
                page.screenshot(path=out / f"{name}.png")
                print(out / f"{name}.png")
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
