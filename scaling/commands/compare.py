"""`scaling compare`."""

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
    objective_option,
    read,
    report_option,
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
@report_option
@json_option
def compare(
    runs: tuple[str, ...],
    laws: tuple[str, ...],
    objective: str,
    resamples: int,
    seed: int,
    as_json: bool,
    chart: str | None,
    report: str | None,
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
    missing = next((c for law in chosen for c in law.inputs if c not in table), "n_params")
    way_out = f"Name yours with --column {missing}=HEADER, or join it with --meta FILE."
    with in_options({}, {"which the runs do not have": way_out}), Progress("comparing") as progress:
        found = compare_laws(chosen, table, objective, n_resamples=resamples, rng=seed, progress=progress)
    show(found, as_json, chart, "compare_chart", report)
