"""`scaling report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from scaling.commands.shared import chart_path, fit_law, fit_options, fixed_coefs, law_option, read, runs_options, write


@click.command()
@click.argument("runs", nargs=-1, metavar="RUNS...")
@law_option
@click.option("--flops", metavar="X", help="Also plan for this budget.")
@runs_options
@fit_options
@click.option("--out", required=True, metavar="FILE", help="The .html file to write.")
def report(
    runs: tuple[str, ...], laws: tuple[str, ...], flops: str | None, objective: str, fixed: tuple[str, ...], resamples: int,
    kind: str, clusters: str, seed: int, out: str, **reading: Any,
) -> None:  # fmt: skip
    """Fits, charts and a plan as one HTML file that opens offline."""
    if Path(out).suffix.lower() != ".html":
        raise click.UsageError(f"--out {out!r}: a report is written as .html.")
    chart_path(out)
    from scaling.laws import get
    from scaling.logs import describe_read
    from scaling.planning import plan as make_plan
    from scaling.report import report as write_report

    chosen = [get(name) for name in dict.fromkeys(laws)]
    needed = list(dict.fromkeys(c for law in chosen for c in law.inputs))
    table = read(runs, **reading, target=chosen[0].target, required=needed)
    values = fixed_coefs(fixed)
    results = [fit_law(law.name, table, (), objective, values, resamples, kind, clusters, seed) for law in chosen]
    plans = [make_plan(results[0], flops=flops)] if flops else []
    write(out, write_report(results, plans=plans, read=describe_read(table)))
    click.echo(f"{out} written")
