"""`scaling isoflop`."""

from __future__ import annotations

from typing import Any

import click

from scaling.commands.columns import in_options
from scaling.commands.shared import (
    MOST_RESAMPLES,
    RESAMPLES,
    Progress,
    chart_option,
    json_option,
    read,
    report_option,
    runs_options,
    seed_option,
    show,
)

SPELLED = {
    "curve='parabola'": "--curve parabola",
    "use envelope for training curves": "use --envelope for training curves",
    "use isoflop for final losses": "leave --envelope away for final losses",
}
HINTS = {
    "missing are": "Name yours with --column n_params=HEADER and --column n_tokens=HEADER, or join them with --meta FILE."
}


@click.command()
@click.argument("runs", nargs=-1, metavar="RUNS...")
@runs_options
@click.option(
    "--curve",
    type=click.Choice(["asymmetric", "parabola", "akima"]),
    help="Curve of each budget; default: as the runs allow.",
)
@click.option("--envelope", "as_envelope", is_flag=True, help="Approach 1: the lower envelope of training curves.")
@click.option(
    "--resamples",
    default=RESAMPLES,
    show_default=True,
    type=click.IntRange(20, MOST_RESAMPLES),
    help="Draws for the intervals.",
)
@seed_option
@chart_option
@report_option
@json_option
def isoflop(
    runs: tuple[str, ...],
    curve: str | None,
    as_envelope: bool,
    resamples: int,
    seed: int,
    as_json: bool,
    chart: str | None,
    report: str | None,
    **reading: Any,
) -> None:
    """Approaches 1 and 2: the best size of each budget, read off the runs."""
    from scaling.approaches import envelope
    from scaling.approaches import isoflop as fit_profiles

    table = read(runs, **reading, final=not as_envelope)
    with in_options(SPELLED, HINTS), Progress("drawing budgets again") as progress:
        found: Any = (
            envelope(table, n_resamples=resamples, rng=seed)
            if as_envelope
            else fit_profiles(table, curve=curve, n_resamples=resamples, rng=seed, progress=progress)
        )
    show(found, as_json, chart, "envelope_chart" if as_envelope else "isoflop_page", report)
