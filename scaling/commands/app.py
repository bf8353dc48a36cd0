"""`scaling app`."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.option("--port", default=8501, show_default=True, type=click.IntRange(1, 65535), help="Port on this machine.")
@click.option("--browser/--no-browser", default=True, show_default=True, help="Open a browser window.")
def app(port: int, browser: bool) -> None:
    """Start the dashboard; it listens on this machine only."""
    from importlib.util import find_spec

    if missing := [m for m in ("streamlit", "altair", "vl_convert") if find_spec(m) is None]:
        raise click.UsageError(f"the app needs {', '.join(missing)}: pip install 'scaling-laws[app]'.")
    here = Path(__file__).resolve().parents[1]
    script = next((p for p in (here / "_app" / "main.py", here.parent / "app" / "main.py") if p.is_file()), None)
    if script is None:
        raise click.UsageError("the app is not part of this installation: install the wheel, or work in a checkout.")
    from streamlit.web import cli

    options = [f"--server.port={port}", f"--server.headless={'false' if browser else 'true'}"]
    options += ["--server.address=127.0.0.1", "--browser.gatherUsageStats=false"]
    sys.argv = ["streamlit", "run", str(script), *options]
    sys.exit(cli.main())
