"""`scaling descent`."""

from __future__ import annotations

from typing import Any

import click

from scaling.commands.shared import (
    chart_option,
    json_option,
    print_json,
    seed_option,
    show,
    table_of,
    where_option,
)


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
) -> None:
    """Is this double descent, where is the peak, and what follows it?"""
    from scaling.curves.double_descent import double_descent, double_descents

    if by and chart:
        raise click.UsageError("--chart draws one condition: leave --by away and keep it with --where.")
    table = table_of(runs, where)
    options: dict[str, Any] = {"axis": axis, "value": value, "train": train, "n_samples": n_samples, "rng": seed}
    if not by:
        show(double_descent(table, **options), as_json, chart, "descent_chart")
        return
    found = {
        key if isinstance(key, tuple) else (key,): each for key, each in double_descents(table, by, **options).items()
    }
    names = {key: ", ".join(f"{c} = {v}" for c, v in zip(by, key, strict=True)) for key in found}
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
