"""`scaling grokking`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from scaling.commands.columns import check_columns, in_options
from scaling.commands.shared import (
    Progress,
    chart_option,
    json_option,
    print_json,
    report_option,
    show,
    table_of,
    where_option,
    write_report,
)

if TYPE_CHECKING:
    import pandas as pd

    from scaling.curves.grokking import DelayLaw, Grokking

SPELLED = {
    "with train=.": "with --train.",
    "with validation=.": "with --validation.",
    "name the column you meant.": "name the column you meant with --train, --validation or --step.",
    "Give each seed its own run name, or drop the repeats.": (
        "Name the column that tells the runs apart with --run, or leave the repeats out with --where."
    ),
}


@click.command()
@click.argument("curves", nargs=-1, metavar="CURVES...")
@click.option("--train", metavar="COLUMN", help="Training accuracy; default: found by name.")
@click.option("--validation", metavar="COLUMN", help="Validation accuracy; default: found by name.")
@click.option("--step", default="step", show_default=True, metavar="COLUMN", help="Training step or epoch of a row.")
@click.option("--run", metavar="COLUMN", help="Which training a row belongs to; default: found by name.")
@click.option(
    "--over", metavar="COLUMN", help="Delay as a law of this setting, e.g. the share of data or weight decay."
)
@where_option
@chart_option
@report_option
@json_option
def grokking(
    curves: tuple[str, ...],
    train: str | None,
    validation: str | None,
    step: str,
    run: str | None,
    over: str | None,
    where: tuple[str, ...],
    as_json: bool,
    chart: str | None,
    report: str | None,
) -> None:
    """Does generalisation come long after memorisation?"""
    from scaling.curves.grokking import grokking as analyse

    table = table_of(curves, where)
    named = {"--train": train, "--validation": validation, "--step": step, "--run": run, "--over": over}
    check_columns(table, named)
    with in_options(SPELLED), Progress("measuring") as progress:
        found = analyse(table, train=train, validation=validation, step=step, run=run, progress=progress)
    if over is None:
        show(found, as_json, chart, "grokking_chart", report)
        return
    law, mixed = _delay(table, found, run, over)
    write_report(report, found, law)
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
