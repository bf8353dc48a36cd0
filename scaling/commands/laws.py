"""`scaling laws`."""

from __future__ import annotations

from typing import Any

import click

from scaling.commands.shared import json_option, print_json, report_option, table_text, write_report


@click.command()
@click.argument("name", required=False)
@report_option
@json_option
def laws(name: str | None, report: str | None, as_json: bool) -> None:
    """The laws that can be fitted, or one of them with its coefficients and source."""
    from scaling.laws import LAWS, get

    if report and name is None:
        raise click.UsageError("--report is of one law: name it.")
    if name is not None:
        law = get(name)
        write_report(report, law)
        entry = _law_entry(law)
        if as_json:
            print_json(entry)
            return
        click.echo(f"{law.name}: {law.title}\n  {law.equation}\n")
        click.echo(table_text([(c.name, c.meaning) for c in law.coefs], ("coefficient", "meaning")))
        click.echo(
            f"\ninputs   {', '.join(law.inputs)}\nexplains {law.target}\nholds    {law.domain}\nsource   {law.source}"
        )
    elif as_json:
        print_json([_law_entry(law) for law in LAWS.values()])
    else:
        click.echo(table_text([(law.name, law.equation, law.title) for law in LAWS.values()], ("law", "equation", "")))


def _law_entry(law: Any) -> dict[str, Any]:
    return {
        "name": law.name, "title": law.title, "equation": law.equation, "latex": law.latex, "inputs": list(law.inputs),
        "target": law.target, "coefs": [{"name": c.name, "meaning": c.meaning} for c in law.coefs],
        "domain": law.domain, "source": law.source,
    }  # fmt: skip
