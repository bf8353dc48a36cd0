"""`scaling refit`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import click

from scaling.commands.shared import (
    EXIT_PARTIAL,
    MOST_RESAMPLES,
    Progress,
    check_writable,
    json_option,
    objective_option,
    pairs,
    print_json,
    runs_options,
    seed_option,
    warn,
)
from scaling.errors import ScalingError

EXIT_CHANGED = 4  # of --changed --exit-code: something moved, fails, recovers, is new or gone


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
@click.option("--scheduler", metavar="ADDRESS", help="A dask scheduler instead, such as tcp://host:8786.")
@click.option("--verify", is_flag=True, help="Look at the content of every file, whatever its size and times say.")
@seed_option
@runs_options
@click.option("--log", type=click.Choice(["text", "json"]), help="Lines on standard error for each step.")
@click.option("--status", "show_status", is_flag=True, help="Print the state of the store, fit nothing.")
@click.option("--history", "show_history", is_flag=True, help="Print every refit of the store, fit nothing.")
@click.option("--changed", "show_changed", is_flag=True, help="Print what the last refit changed, fit nothing.")
@click.option(
    "--since", type=click.IntRange(1), metavar="N", help="With --changed: against refit N, not the one before."
)
@click.option(
    "--relative",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0),
    help="With --changed: smaller moves do not count.",
)
@click.option(
    "--bare",
    default=0.05,
    show_default=True,
    type=click.FloatRange(0),
    help="With --changed: a coefficient that had no interval has moved when it differs by more than this.",
)
@click.option("--disjoint", is_flag=True, help="With --changed: only intervals without a common point count as moved.")
@click.option("--exit-code", is_flag=True, help=f"With --changed: exit with {EXIT_CHANGED} when anything changed.")
@click.option("--export", "export_to", metavar="FILE", help="Write the fits to a .csv or .parquet, fit nothing.")
@json_option
def refit(
    sources: tuple[str, ...], laws: tuple[str, ...], by: tuple[str, ...], store: str | None, objective: str, resamples: int,
    workers: int | None, scheduler: str | None, verify: bool, seed: int, columns: tuple[str, ...], log: str | None,
    show_status: bool, show_history: bool, show_changed: bool, since: int | None, relative: float, bare: float, disjoint: bool,
    exit_code: bool, export_to: str | None, as_json: bool, **reading: Any,
) -> int:  # fmt: skip
    """Fit laws x groups x files into a store; a second call computes only what changed. For every night."""
    from scaling import refitting

    options: dict[str, Any] = {
        "sources": list(sources), "laws": list(laws), "by": list(by), "store": store, "objective": objective,
        "resamples": resamples, "seed": seed, "workers": workers, "scheduler": scheduler,
        "reading": {**reading, "columns": pairs(columns, "--column", "loss=eval/loss")},
    }  # fmt: skip
    if len(sources) == 1 and sources[0].endswith(".toml"):
        options = _of_study(refitting.read_study(sources[0]), options)
    if not options["store"]:
        raise click.UsageError("no store: name the directory of the fits with --store.")
    if export_to:
        check_writable(export_to, "--export")
        refitting.export(options["store"], export_to)
        if not as_json:
            click.echo(f"{export_to} written")
        return 0
    if show_status or show_history or show_changed:
        if show_changed:
            table = refitting.changed(options["store"], relative, disjoint, since, bare)
        else:
            table = (refitting.status if show_status else refitting.history)(options["store"])
        if as_json:
            click.echo(table.to_json(orient="records"))
        elif show_changed:
            click.echo("\n".join(map(_change, table.to_dict("records"))) or "nothing")
        else:
            click.echo(table.fillna("").to_string(index=False) if len(table) else "nothing")
            if show_status:
                _explain(options["store"])
        return EXIT_CHANGED if show_changed and exit_code and len(table) else 0
    if not options["sources"] or not options["laws"]:
        raise click.UsageError("a refit needs runs and at least one --law (or a study file that names them).")
    say = _logger(log) if log else None
    try:
        with Progress("refitting") as progress:
            report = refitting.refit(**options, verify=verify, progress=None if log else progress, log=say)
    except (ScalingError, KeyboardInterrupt) as error:
        if say is None or log != "json":
            raise
        # every line on standard error is JSON then, the last one too
        stopped = isinstance(error, KeyboardInterrupt)
        say({"event": "error", "message": "interrupted." if stopped else str(error)})
        raise click.exceptions.Exit(130 if stopped else 2) from None
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
        message = (
            f"fits that failed: {report.n_failed}; `scaling refit --store {options['store']} --status` names them."
        )
        if say is not None and log == "json":
            say({"event": "warning", "message": message})
        else:
            warn(message)
    return EXIT_PARTIAL if report.n_failed else 0


def _change(row: Mapping[Any, Any]) -> str:
    """One line of --changed: what, where, and of a coefficient both values and why it counts."""
    where = f"{row['what']}: {row['law']} {row['group']}"
    if isinstance(row["coef"], str):
        values = " -> ".join("none" if v != v or v is None else f"{v:.6g}" for v in (row["before"], row["after"]))
        where += f" {row['coef']} {values}"
    return where + (f": {row['message']}" if isinstance(row["message"], str) and row["message"] else "")


def _explain(store: str) -> None:
    """Under the counts: when the refit was, whether a later one did not end, and why fits failed."""
    from scaling import refitting

    passes = refitting.history(store).to_dict("records")
    ended = [p for p in passes if p["finished"]]
    if ended:
        last = ended[-1]
        click.echo(
            f"\nrefit {last['refit']} ended {last['finished']}: {last['fits']} fits, {last['computed']} computed"
        )
    if passes and not passes[-1]["finished"]:
        click.echo(
            f"refit {passes[-1]['refit']} began {passes[-1]['started']} and has not ended: it runs, or was stopped"
        )
    bad = refitting.failures(store)
    for row in bad.to_dict("records"):
        click.echo(f"failed: {row['law']} {row['group']}: {row['message'] or row['status']}")
    if ended and len(bad) < ended[-1]["failed"]:
        click.echo(f"... and {ended[-1]['failed'] - len(bad)} more: --export lists them all")


def _of_study(study: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The study's entries; what the command line says instead of a default goes before."""
    options = dict(vars(study))
    source = click.get_current_context().get_parameter_source
    for name in ("store", "objective", "resamples", "seed", "workers", "scheduler", "laws", "by"):
        if source(name) is click.core.ParameterSource.COMMANDLINE:
            options[name] = given[name]
    said = {k: v for k, v in given["reading"].items() if v is not None and v != () and v != {}}
    return {**options, "reading": {**study.reading, **said}}


def _logger(kind: str) -> Callable[[dict[str, Any]], None]:
    from datetime import UTC, datetime

    def write(event: dict[str, Any]) -> None:
        """One event as one line on standard error."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        if kind == "json":
            line = json.dumps({"time": time, **event})
        else:  # quoted, so that a name with a line break stays one line
            line = f"{time} {event['event']} " + " ".join(f"{k}={v!r}" for k, v in event.items() if k != "event")
        print(line, file=sys.stderr, flush=True)

    return write
