"""`scaling check`."""

from __future__ import annotations

from typing import Any

import click

from scaling.commands.shared import json_option, print_json, read, runs_options


@click.command()
@click.argument("runs", nargs=-1, metavar="RUNS...")
@runs_options
@json_option
def check(runs: tuple[str, ...], as_json: bool, **reading: Any) -> None:
    """What was found in the logs: columns, units, rows dropped and why, design warnings."""
    from scaling.logs import check_runs, describe_read

    table = read(runs, **reading)
    if as_json:
        print_json({"schema": "scaling.check/1", **table.attrs["read"], "warnings": check_runs(table)})
    else:
        click.echo(describe_read(table))
