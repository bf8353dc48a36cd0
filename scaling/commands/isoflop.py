"""`scaling isoflop`."""

from __future__ import annotations

from typing import Any

import click

from scaling.commands.shared import (
    MOST_RESAMPLES,
    RESAMPLES,
    chart_option,
    json_option,
    read,
    runs_options,
    seed_option,
    show,
)


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
@json_option
def isoflop(
    runs: tuple[str, ...],
    curve: str | None,
    as_envelope: bool,
    resamples: int,
    seed: int,
    as_json: bool,
    chart: str | None,
    **reading: Any,
) -> None:
    """Approaches 1 and 2: the best size of each budget, read off the runs."""
    from scaling.approaches import envelope
    from scaling.approaches import isoflop as fit_profiles

    table = read(runs, **reading, final=not as_envelope)
    if as_envelope:
        show(envelope(table, n_resamples=resamples, rng=seed), as_json, chart, "envelope_chart")
    else:
        show(fit_profiles(table, curve=curve, n_resamples=resamples, rng=seed), as_json, chart, "isoflop_page")
