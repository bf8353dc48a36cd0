"""`scaling grokking`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from scaling.commands.shared import chart_option, json_option, print_json, show, table_of, where_option

if TYPE_CHECKING:
    import pandas as pd

    from scaling.curves.grokking import DelayLaw, Grokking


@click.command()
@click.argument("curves", nargs=-1, metavar="CURVES...")
@click.option("--train", metavar="COLUMN", help="Training accuracy; default: found by name.")
@click.option("--validation", metavar="COLUMN", help="Validation accuracy; default: found by name.")
@click.option("--run", metavar="COLUMN", help="Which training a row belongs to; default: found by name.")
@click.option(
    "--over", metavar="COLUMN", help="Delay as a law of this setting, e.g. the share of data or weight decay."
)
@where_option
@chart_option
@json_option
def grokking(
    curves: tuple[str, ...],
    train: str | None,
    validation: str | None,
    run: str | None,
    over: str | None,
    where: tuple[str, ...],
    as_json: bool,
    chart: str | None,
) -> None:
    """Does generalisation come long after memorisation?"""
    from scaling.curves.grokking import grokking as analyse

    table = table_of(curves, where)
    found = analyse(table, train=train, validation=validation, run=run)
    if over is None:
        show(found, as_json, chart, "grokking_chart")
        return
    law, mixed = _delay(table, found, run, over)
    if as_json:
        print_json({**found.to_dict(), "delay_law": {**law.to_dict(), "also_varying": mixed}})
    else:
        click.echo(f"{found}\n\n{law}")
        if mixed:
            click.echo(
                f"note: {', '.join(mixed)} differ between runs of the same {over} and are not in the law: "
                f"keep one value with --where {mixed[0]}=..."
            )
    if chart:
        from scaling import charts

        charts.save(charts.grokking_chart(found), chart)


def _delay(table: pd.DataFrame, found: Grokking, run: str | None, over: str) -> tuple[DelayLaw, list[str]]:
    """The law of the delay, and the settings other than `over` that differ between runs with the same value of it."""
    from scaling.curves.grokking import RUN_COLUMNS, delay_law
    from scaling.errors import RunsError

    if over not in table:
        raise RunsError(f"no column {over!r} in the table; columns: {', '.join(map(str, table.columns))}.")
    name = run or next((c for c in RUN_COLUMNS if c in table), None)
    if name is None:
        raise RunsError("a law of the delay needs several runs: name the column that tells them apart with --run.")
    each = table.groupby(name, sort=False)
    if (moving := each[over].nunique(dropna=False) > 1).any():
        raise RunsError(f"{over!r} changes within run {moving.idxmax()!r}: it must be one setting of the whole run.")
    settings = [c for c in table.columns if c not in (name, over) and "seed" not in str(c).lower()]
    fixed = [c for c in settings if (each[c].nunique(dropna=False) == 1).all()]
    first = each.first()
    mixed = [c for c in fixed if (first.groupby(over)[c].nunique() > 1).any()]
    return delay_law(found.runs.assign(**{over: found.runs["run"].map(first[over])}), over), mixed
