"""`scaling descent`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from scaling.commands.columns import check_columns, choose, in_options, several_values
from scaling.commands.shared import (
    Progress,
    chart_option,
    json_option,
    print_json,
    report_option,
    seed_option,
    show,
    table_of,
    where_option,
    write_report,
)

SPELLED = {
    "with axis=.": "with --axis.",
    "with value=.": "with --value.",
    "name the column you meant.": "name the column you meant with --axis or --value.",
    "or use a loss.": "or name a loss with --value.",
}


@click.command()
@click.argument("runs", nargs=-1, metavar="RUNS...")
@click.option("--axis", metavar="COLUMN", help="Size, training time or samples; default: found by name.")
@click.option("--value", metavar="COLUMN", help="Test error or loss; default: found by name.")
@click.option("--train", metavar="COLUMN", help="Training accuracy or error: where it is fitted is the threshold.")
@click.option("--n-samples", type=click.FloatRange(0, min_open=True), metavar="N", help="Size of the training set.")
@click.option("--by", multiple=True, metavar="COLUMN", help="Analyse each of its values, e.g. label_noise; repeatable.")
@where_option
@seed_option
@chart_option
@report_option
@json_option
def descent(
    runs: tuple[str, ...],
    axis: str | None,
    value: str | None,
    train: str | None,
    n_samples: float | None,
    by: tuple[str, ...],
    where: tuple[str, ...],
    seed: int,
    as_json: bool,
    chart: str | None,
    report: str | None,
) -> None:
    """Is this double descent, where is the peak, and what follows it?"""
    from scaling.curves.double_descent import FEWEST_POINTS, double_descent, double_descents

    if by and chart:
        raise click.UsageError("--chart draws one condition: leave --by away and keep it with --where.")
    table = table_of(runs, where)
    check_columns(table, {"--axis": axis, "--value": value, "--train": train})
    for column in by:
        check_columns(table, {"--by": column})
    options: dict[str, Any] = {"axis": axis, "value": value, "train": train, "n_samples": n_samples, "rng": seed}
    hints = {"distinct values of": choose("--axis", several_values(table, FEWEST_POINTS))}
    with in_options(SPELLED, hints), Progress("looking for a peak") as progress:
        alone = None if by else double_descent(table, **options, progress=progress)
        groups_found = double_descents(table, by, **options, progress=progress) if by else {}
    if alone is not None:
        show(alone, as_json, chart, "descent_chart", report)
        return
    found = {key if isinstance(key, tuple) else (key,): each for key, each in groups_found.items()}
    names = {key: ", ".join(f"{c} = {v}" for c, v in zip(by, key, strict=True)) for key in found}
    if report is not None:
        from scaling.sections import section

        write_report(report, *(replace(section(each), heading=names[key]) for key, each in found.items()))
    finding = f"Double descent in {sum(r.found for r in found.values())} of {len(found)} conditions."
    if as_json:
        groups = [
            {"group": {c: str(v) for c, v in zip(by, key, strict=True)}, **each.to_dict()}
            for key, each in found.items()
        ]
        print_json({"schema": "scaling.descents/1", "finding": finding, "by": list(by), "groups": groups})
    else:
        click.echo("\n".join([finding, "", *(f"{names[key]}: {each.finding}" for key, each in found.items())]))
        for key, each in found.items():
            click.echo(f"\n{names[key]}\n{str(each).split(chr(10), 2)[2]}")
