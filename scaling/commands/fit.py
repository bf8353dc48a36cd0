"""`scaling fit`."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import click

from scaling.commands.shared import (
    EXIT_PARTIAL,
    chart_option,
    check_writable,
    fit_law,
    fit_options,
    fixed_coefs,
    json_option,
    law_option,
    print_json,
    read,
    reading_line,
    report_option,
    runs_options,
    table_text,
    warn,
    write,
    write_report,
)
from scaling.errors import RunsError

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fitting import FitResult


@click.command("fit")
@click.argument("runs", nargs=-1, metavar="RUNS...")
@law_option
@click.option("--by", multiple=True, metavar="COLUMN", help="Fit each group of rows that share its value; repeatable.")
@runs_options
@fit_options
@click.option(
    "--interval",
    metavar="METHOD",
    help="Also a table of intervals: recommended (by what the residuals show), hc3, mixed, profile, bca, wild, strata, ...",
)
@json_option
@click.option("--out", metavar="FILE", help="Also save the fit as JSON, for `scaling plan --fit FILE`.")
@chart_option
@report_option
def fit_command(
    runs: tuple[str, ...], laws: tuple[str, ...], by: tuple[str, ...], objective: str, fixed: tuple[str, ...], resamples: int,
    kind: str, clusters: str, seed: int, interval: str | None, as_json: bool, out: str | None, chart: str | None, report: str | None, **reading: Any,
) -> int:  # fmt: skip
    """Fit a law to runs: coefficients with intervals, and what is wrong with them."""
    from scaling.laws import get

    chosen = [get(name) for name in dict.fromkeys(laws)]
    check_writable(out, "--out")
    if chart and (len(chosen) > 1 or by):
        raise click.UsageError("--chart draws one fit: give one --law and no --by.")
    if interval is not None:
        from scaling.uncertainty.table import METHODS

        if interval not in METHODS:
            raise click.UsageError(f"--interval {interval!r}: choose {', '.join(METHODS)}.")
    if interval and by:
        raise click.UsageError("--interval is for single fits: leave --by away, or keep one group with --where.")
    targets = {law.target for law in chosen}
    if len(targets) > 1:
        raise click.UsageError(
            f"these laws explain different columns ({', '.join(sorted(targets))}): fit them one at a time."
        )
    needed = list(dict.fromkeys(c for law in chosen for c in law.inputs))
    table = read(runs, **reading, target=targets.pop(), required=needed)
    missing = [c for c in by if c not in table]
    if missing:
        raise RunsError(
            f"--by {missing[0]}: there is no such column; the runs have {', '.join(map(str, table.columns))}."
        )
    values = fixed_coefs(fixed)
    results = [fit_law(law.name, table, by, objective, values, resamples, kind, clusters, seed) for law in chosen]
    documents = [_document(r) for r in results]
    tables = [_intervals(r, interval, clusters, seed) for r in results] if interval else []
    for entry, rows in zip(documents, tables, strict=False):
        entry["intervals"] = [
            {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
            for row in rows.to_dict("records")
        ]
    document = (
        documents[0]
        if len(documents) == 1
        else {"schema": "scaling.fit/1", "fits": [f for d in documents for f in d.get("fits", [d])]}
    )
    if out:
        write(out, json.dumps(document, allow_nan=False))
    if as_json:
        print_json(document)
    else:
        click.echo(reading_line(table))
        for k, result in enumerate(results):
            click.echo()
            click.echo(str(result))
            if tables:
                rows = tables[k]
                shown = [
                    [str(r["quantity"]), f"{r['estimate']:.4g}", f"[{r['low']:.4g}, {r['high']:.4g}]", str(r["method"])]
                    for r in rows.to_dict("records")
                ]
                click.echo(f"\nintervals, {interval} ({rows['level'].iloc[0]:.0%}): {rows['why'].iloc[0]}")
                click.echo(table_text(shown, ("quantity", "estimate", "interval", "method")))
            if not result.point.shape:
                for budget, r in _ratios(result).items():
                    span = "" if r["low"] is None else f" [{r['low']:.3g}, {r['high']:.3g}]"
                    click.echo(f"best at {budget} FLOPs: {r['estimate']:.3g} tokens per parameter{span}")
    if chart:
        from scaling import charts

        charts.save(charts.fit_chart(results[0]), chart)
    write_report(report, *results, table)
    for result in results:
        point = result.point
        failed = point.failed
        if point.shape and failed.any():
            for i in failed.nonzero()[0]:
                assert point.groups is not None
                warn(f"{result.law.name}: group {_named(point.groups.iloc[i])} failed: {point.message[i]}")
            return EXIT_PARTIAL
        if not point.shape and failed:
            warn(f"{result.law.name}: {point.message}")
            return EXIT_PARTIAL
    return 0


def _intervals(result: FitResult, method: str, clusters: str, seed: int) -> pd.DataFrame:
    from scaling.uncertainty import intervals_table

    column = clusters if method == "clusters" else None
    return intervals_table(result.point, method=method, clusters=column, rng=seed)


def _document(result: FitResult) -> dict[str, Any]:
    """The JSON of a fit, with the tokens per parameter it asks for."""
    document = result.to_dict()
    if not result.point.shape and (ratios := _ratios(result)):
        document["derived"]["tokens_per_param_at"] = ratios
    return document


def _ratios(result: FitResult) -> dict[str, dict[str, float | None]]:
    """Tokens per parameter at the power of ten next to the largest run, and a hundred times beyond."""
    from scaling.allocation import tokens_per_param_at

    point, law = result.point, result.law
    if set(law.inputs) != {"n_params", "n_tokens"} or law.target != "loss" or bool(point.failed):
        return {}
    domain = point.domain
    largest = domain["flops"][1] if "flops" in domain else 6 * domain["n_params"][1] * domain["n_tokens"][1]
    decade = round(math.log10(largest))
    return tokens_per_param_at(result, [10.0**decade, 10.0 ** (decade + 2)])


def _named(row: Any) -> str:
    return ", ".join(f"{k}={v}" for k, v in row.items())
