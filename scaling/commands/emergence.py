"""`scaling emergence`."""

from __future__ import annotations

import click

from scaling.commands.shared import chart_option, json_option, seed_option, show, table_of, where_option


@click.command()
@click.argument("evals", nargs=-1, metavar="EVALS...")
@click.option("--x", default="flops", show_default=True, metavar="COLUMN", help="Scale: compute, size or loss.")
@click.option("--score", default="score", show_default=True, metavar="COLUMN", help="Share of items solved.")
@click.option("--items", metavar="COLUMN|N", help="Items behind each score; without it the scatter is estimated.")
@click.option(
    "--chance", default=0.0, show_default=True, type=click.FloatRange(0, 1, max_open=True), help="Score of guessing."
)
@where_option
@seed_option
@chart_option
@json_option
def emergence(
    evals: tuple[str, ...],
    x: str,
    score: str,
    items: str | None,
    chance: float,
    where: tuple[str, ...],
    seed: int,
    as_json: bool,
    chart: str | None,
) -> None:
    """When does a score rise with scale, is it sudden, and which budget reaches it?"""
    from scaling.curves.emergence import emergence as analyse

    count = int(items) if items is not None and items.isdigit() else items
    show(
        analyse(table_of(evals, where), x=x, score=score, n_items=count, floor=chance, rng=seed),
        as_json,
        chart,
        "emergence_chart",
    )
