"""`scaling published`."""

from __future__ import annotations

from typing import Any

import click

from scaling.commands.shared import json_option, print_json, table_text


@click.command()
@click.argument("key", required=False)
@json_option
def published(key: str | None, as_json: bool) -> None:
    """Published coefficients, or one set of them with what its N counts and where it holds."""
    from scaling.laws.published import PUBLISHED
    from scaling.laws.published import published as find

    entries = [find(key)] if key else list(PUBLISHED.values())
    if as_json:
        documents = [_published_entry(e) for e in entries]
        print_json(documents[0] if key else documents)
    elif key:
        (entry,) = entries
        click.echo(f"{entry.key}: {entry.title}\n  {entry.law.equation}\n")
        click.echo(
            table_text(
                [(c.name, f"{v:.6g}", c.meaning) for c, v in zip(entry.law.coefs, entry.theta, strict=True)],
                ("coefficient", "value", "meaning"),
            )
        )
        said = {
            "N counts": entry.n_counts,
            "D counts": entry.d_counts,
            "data": entry.data,
            "unit": entry.loss_unit,
            "source": entry.source,
            "numbers": entry.status,
        }
        click.echo("\n" + "\n".join(f"{k:<9} {v}" for k, v in said.items() if v))
        for column, (low, high) in entry.domain.items():
            click.echo(f"{column:<9} {low:.3g} to {high:.3g}")
    else:
        click.echo(table_text([(e.key, e.law.name, e.title) for e in entries], ("key", "law", "")))


def _published_entry(entry: Any) -> dict[str, Any]:
    return {
        "key": entry.key, "law": entry.law.name, "title": entry.title,
        "coefs": dict(zip(entry.law.coef_names, map(float, entry.theta), strict=True)), "n_counts": entry.n_counts,
        "d_counts": entry.d_counts, "domain": {k: list(v) for k, v in entry.domain.items()}, "data": entry.data,
        "loss_unit": entry.loss_unit, "source": entry.source, "status": entry.status,
    }  # fmt: skip
