"""`scaling descent`."""

from __future__ import annotations

import click

from scaling.commands.shared import chart_option, json_option, seed_option, show, table_of, where_option


@click.command()
@click.argument("runs", nargs=-1, metavar="RUNS...")
@click.option("--axis", metavar="COLUMN", help="Size, training time or samples; default: found by name.")
@click.option("--value", metavar="COLUMN", help="Test error or loss; default: found by name.")
@where_option
@seed_option
@chart_option
@json_option
def descent(
    runs: tuple[str, ...],
    axis: str | None,
    value: str | None,
    where: tuple[str, ...],
    seed: int,
    as_json: bool,
    chart: str | None,
) -> None:
    """Is this double descent, where is the peak, and what follows it?"""
    from scaling.curves.double_descent import double_descent

    show(double_descent(table_of(runs, where), axis, value, rng=seed), as_json, chart, "descent_chart")
