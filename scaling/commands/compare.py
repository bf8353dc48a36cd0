"""`scaling compare`."""

from __future__ import annotations

from typing import Any

import click

from scaling.commands.shared import (
    MOST_RESAMPLES,
    RESAMPLES,
    chart_option,
    json_option,
    objective_option,
    read,
    runs_options,
    seed_option,
    show,
)


@click.command()
@click.argument("runs", nargs=-1, metavar="RUNS...")
@click.option("--law", "laws", multiple=True, required=True, metavar="NAME", help="A law to compare; repeatable.")
@runs_options
@objective_option
@click.option(
    "--resamples",
    default=RESAMPLES,
    show_default=True,
    type=click.IntRange(20, MOST_RESAMPLES),
    help="Draws of the runs.",
)
@seed_option
@chart_option
@json_option
def compare(
    runs: tuple[str, ...],
    laws: tuple[str, ...],
    objective: str,
    resamples: int,
    seed: int,
    as_json: bool,
    chart: str | None,
    **reading: Any,
) -> None:
    """Which law extrapolates best: information criteria, folds and held-out largest scales."""
    from scaling.laws import get
    from scaling.selection import compare as compare_laws

    chosen = [get(name) for name in dict.fromkeys(laws)]
    targets = {law.target for law in chosen}
    if len(targets) > 1:
        raise click.UsageError(
            f"these laws explain different columns ({', '.join(sorted(targets))}) and cannot be compared."
        )
    table = read(runs, **reading, target=targets.pop())
    show(compare_laws(chosen, table, objective, n_resamples=resamples, rng=seed), as_json, chart, "compare_chart")
