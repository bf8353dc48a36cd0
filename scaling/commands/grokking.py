"""`scaling grokking`."""

from __future__ import annotations

import click

from scaling.commands.shared import chart_option, json_option, show, table_of, where_option


@click.command()
@click.argument("curves", nargs=-1, metavar="CURVES...")
@click.option("--train", metavar="COLUMN", help="Training accuracy; default: found by name.")
@click.option("--validation", metavar="COLUMN", help="Validation accuracy; default: found by name.")
@click.option("--run", metavar="COLUMN", help="Which training a row belongs to; default: found by name.")
@where_option
@chart_option
@json_option
def grokking(
    curves: tuple[str, ...],
    train: str | None,
    validation: str | None,
    run: str | None,
    where: tuple[str, ...],
    as_json: bool,
    chart: str | None,
) -> None:
    """Does generalisation come long after memorisation?"""
    from scaling.curves.grokking import grokking as analyse

    show(
        analyse(table_of(curves, where), train=train, validation=validation, run=run), as_json, chart, "grokking_chart"
    )
