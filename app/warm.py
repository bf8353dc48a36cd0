"""Loads the libraries of fits and charts once the first page stands, so that the next page finds them loaded."""

from __future__ import annotations

import sys
import threading
from importlib import import_module

PAUSE = 0.5  # seconds in which the first page reaches the browser: loading holds up the server
NEEDED = ("pandas", "pyarrow", "altair", "scaling.charts", "scaling.planning", "scaling.sections")


def later() -> None:
    """Begin soon, in the background; once in the life of the server, and not where a page has loaded them already."""
    if "pandas" in sys.modules or any(t.name == __name__ for t in threading.enumerate()):
        return
    timer = threading.Timer(PAUSE, lambda: [import_module(name) for name in NEEDED])
    timer.name, timer.daemon = __name__, True
    timer.start()
