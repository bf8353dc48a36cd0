"""`scaling report`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from scaling.commands.shared import (
    Progress,
    fit_law,
    fit_options,
    fixed_coefs,
    law_option,
    read,
    report_path,
    runs_options,
    write,
)

DRAWS = 100  # of the comparison and of the budgets, as on the page Fit


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUNS...]")
@law_option
@click.option("--flops", metavar="X", help="Also plan for this budget.")
@click.option(
    "--store", metavar="DIR", type=click.Path(exists=True, file_okay=False), help="Of a refit store, in place of RUNS."
)
@runs_options
@fit_options
@click.option("--out", required=True, metavar="FILE", help="The .html file to write.")
def report(
    runs: tuple[str, ...], laws: tuple[str, ...], flops: str | None, store: str | None, objective: str, fixed: tuple[str, ...],
    resamples: int, kind: str, clusters: str, seed: int, out: str, **reading: Any,
) -> None:  # fmt: skip
    """Fits, charts, a comparison of laws, budgets and a plan, or the state of a refit store, as one HTML file that opens offline."""
    report_path(out, "--out")
    if store is not None and (runs or flops):
        raise click.UsageError("a report is of RUNS or of a --store, not both.")
    from scaling.report import report as write_report

    if store is not None:
        write(out, write_report(Path(store)))
    else:
        parts = _of_runs(runs, laws, flops, objective, fixed, resamples, kind, clusters, seed, reading)
        write(out, write_report(*parts))
    click.echo(f"{out} written")


def _of_runs(
    runs: tuple[str, ...], laws: tuple[str, ...], flops: str | None, objective: str, fixed: tuple[str, ...], resamples: int,
    kind: str, clusters: str, seed: int, reading: dict[str, Any],
) -> list[Any]:  # fmt: skip
    from scaling.approaches import isoflop
    from scaling.errors import ScalingError
    from scaling.laws import get
    from scaling.planning import plan as make_plan
    from scaling.selection import compare

    chosen = [get(name) for name in dict.fromkeys(laws)]
    needed = list(dict.fromkeys(c for law in chosen for c in law.inputs))
    table = read(runs, **reading, target=chosen[0].target, required=needed)
    values = fixed_coefs(fixed)
    results = [fit_law(law.name, table, (), objective, values, resamples, kind, clusters, seed) for law in chosen]
    parts: list[Any] = [make_plan(results[0], flops=flops)] if flops else []
    parts += results
    if len(chosen) > 1:
        with Progress("comparing") as progress:
            parts.append(compare(chosen, table, objective, n_resamples=DRAWS, rng=seed, progress=progress))
    with suppress(ScalingError):  # runs without budgets have no best size of each
        parts.append(isoflop(table, n_resamples=DRAWS, rng=seed))
    return [*parts, table]
