"""Charts as files: SVG, PNG, and HTML that opens offline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import altair as alt

from scaling.errors import ScalingError

KINDS = ("svg", "png", "html")


def encoded(chart: alt.TopLevelMixin, kind: str) -> bytes:
    """A chart as the bytes of a file: kind "svg", "png" (two dots for each unit) or "html" (opens offline).

    Raises ScalingError for any other kind, and where vl-convert-python is not installed.
    """
    if kind not in KINDS:
        raise ScalingError(f"{kind!r}: a chart is written as .svg, .png or .html.")
    try:
        import vl_convert  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise ScalingError("drawing to a file needs vl-convert-python: pip install 'scaling-laws[report]'.") from None
    spec = chart.to_dict()
    if kind == "svg":
        return vl_convert.vegalite_to_svg(spec).encode()
    if kind == "png":
        return vl_convert.vegalite_to_png(spec, scale=2)
    return _page(spec, vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")).encode()


def save(chart: alt.TopLevelMixin, path: str | Path) -> None:
    """Write a chart as .svg, .png or .html (one file that opens offline)."""
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in KINDS:
        raise ScalingError(f"{str(path)!r}: a chart is written as .svg, .png or .html.")
    path.write_bytes(encoded(chart, kind))


def script_json(document: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(document).replace("<", "\\u003c")


def _page(spec: dict[str, Any], library: str) -> str:
    """One HTML file that opens offline. No text of the specification can end its script: every < is written as an escape."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>scaling</title></head><body><div id="chart"></div>\n'
        f'<script type="module">{library}</script>\n'
        f'<script type="module">window.vegaEmbed("#chart", {script_json(spec)}, '
        '{actions: false, renderer: "svg"});</script>\n</body></html>\n'
    )
