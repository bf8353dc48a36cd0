"""`scaling refit`."""

from __future__ import annotations

from typing import Any

import click

from scaling.commands.shared import (
    EXIT_PARTIAL,
    MOST_RESAMPLES,
    Progress,
    check_writable,
    json_option,
    objective_option,
    print_json,
    seed_option,
    warn,
)


@click.command()
@click.argument("sources", nargs=-1, metavar="[STUDY.toml | RUNS...]")
@click.option("--law", "laws", multiple=True, metavar="NAME", help="A law to fit; repeatable.")
@click.option(
    "--by", multiple=True, metavar="COLUMN", help="Columns that separate groups; without it each file is one."
)
@click.option("--store", metavar="DIR", help="Where fits are kept; what is known there is not computed again.")
@objective_option
@click.option(
    "--resamples",
    default=0,
    show_default=True,
    type=click.IntRange(0, MOST_RESAMPLES),
    help="Bootstrap resamples of each fit.",
)
@click.option("--workers", type=click.IntRange(1, 1024), help="Processes; default: one for each core.")
@seed_option
@click.option("--status", "show_status", is_flag=True, help="Print the state of the store, fit nothing.")
@click.option("--changed", "show_changed", is_flag=True, help="Print what the last refit changed, fit nothing.")
@click.option("--export", "export_to", metavar="FILE", help="Write the fits to a .csv or .parquet, fit nothing.")
@json_option
def refit(
    sources: tuple[str, ...], laws: tuple[str, ...], by: tuple[str, ...], store: str | None, objective: str, resamples: int,
    workers: int | None, seed: int, show_status: bool, show_changed: bool, export_to: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Fit laws x groups x files into a store; a second call computes only what changed. For every night."""
    from scaling import refitting

    options: dict[str, Any] = {
        "sources": list(sources), "laws": list(laws), "by": list(by), "store": store, "objective": objective,
        "resamples": resamples, "seed": seed,
    }  # fmt: skip
    if len(sources) == 1 and sources[0].endswith(".toml"):
        options = vars(refitting.read_study(sources[0])) | ({"store": store} if store else {})
    if not options["store"]:
        raise click.UsageError("no store: name the directory of the fits with --store.")
    if show_status or show_changed:
        table = refitting.status(options["store"]) if show_status else refitting.changed(options["store"])
        click.echo(table.to_json(orient="records") if as_json else table.to_string(index=False))
        return 0
    if export_to:
        check_writable(export_to, "--export")
        refitting.export(options["store"], export_to)
        return 0
    if not options["sources"] or not options["laws"]:
        raise click.UsageError("a refit needs runs and at least one --law (or a study file that names them).")
    with Progress("refitting") as progress:
        report = refitting.refit(**options, workers=workers, progress=progress)
    if as_json:
        print_json(
            {
                "schema": "scaling.refit/1",
                "fits": report.n_fits,
                "computed": report.n_computed,
                "failed": report.n_failed,
            }
        )
    else:
        click.echo(f"{report.n_fits} fits, {report.n_computed} computed, {report.n_failed} failed; {options['store']}")
    if report.n_failed:
        warn(f"{report.n_failed} fits failed: `scaling refit --store {options['store']} --status` counts them.")
    return EXIT_PARTIAL if report.n_failed else 0
