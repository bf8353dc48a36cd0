"""What commands share: options, reading runs, printing, writing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.errors import RunsError

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fitting import FitResult

RESAMPLES = 1000
MOST_RESAMPLES = 1_000_000
OBJECTIVES = ("robust", "hoffmann", "huber", "squared", "squared-log", "absolute", "asymmetric")
CHART_KINDS = (".svg", ".png", ".html")
EXIT_PARTIAL = 3


def _options(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def apply(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


seed_option = click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Of every random step."
)
objective_option = click.option(
    "--objective", default="robust", show_default=True, type=click.Choice(OBJECTIVES), help="What is minimised."
)
law_option = click.option(
    "--law", "laws", multiple=True, default=("chinchilla",), show_default=True, metavar="NAME", help="Which law; repeatable."
)  # fmt: skip
where_option = click.option("--where", multiple=True, metavar="CONDITION", help="Keep rows that meet it; repeatable.")
runs_options = _options(
    click.option("--column", "columns", multiple=True, metavar="NAME=HEADER", help="Which column is what, e.g. loss=eval/loss; repeatable."),
    click.option("--where", multiple=True, metavar="CONDITION", help="Keep rows that meet it, e.g. 'loss<5' or dataset=web; repeatable."),
    click.option("--meta", metavar="FILE", help="Table with n_params, n_tokens, ... joined by run name."),
    click.option("--loss-unit", metavar="UNIT", help="nats, bits, perplexity, bits_per_byte, nats_per_byte or other; default: as the column's name says, else nats."),
    click.option("--format", metavar="NAME", help="Which tool wrote the log; default: told by its content. One of wandb, mlflow, lightning, ..., or table."),
    click.option("--bytes-per-token", type=click.FloatRange(0, min_open=True), metavar="B", help="Turns a loss per byte into one per token."),
    click.option("--unfinished/--finished", default=None, help="Keep, or drop, runs that stopped before their planned end."),
)  # fmt: skip
fit_options = _options(
    objective_option,
    click.option("--fix", "fixed", multiple=True, metavar="COEF=VALUE", help="Hold a coefficient at a value; repeatable."),
    click.option("--resamples", default=RESAMPLES, show_default=True, type=click.IntRange(0, MOST_RESAMPLES), help="Bootstrap resamples; 0 takes the sandwich interval instead."),
    click.option("--resample", "kind", default="cases", show_default=True, type=click.Choice(["cases", "clusters", "strata", "wild"]), help="Draw runs; whole clusters; runs within budgets; or keep the design and change signs of residuals."),
    click.option("--clusters", default="run", show_default=True, metavar="COLUMN", help="Column that names the clusters."),
    seed_option,
)  # fmt: skip
chart_option = click.option(
    "--chart", metavar="FILE", callback=lambda _c, _p, value: chart_path(value), help="Draw it: .svg, .png or .html."
)
report_option = click.option(
    "--report", metavar="FILE", callback=lambda _c, _p, value: report_path(value, "--report"), help="Write finding, charts and tables as one .html that opens offline."
)  # fmt: skip
json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON document on standard output, nothing else."
)


def print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=1, allow_nan=False))


def warn(message: str) -> None:
    click.echo(f"scaling: warning: {message}", err=True)


def pairs(items: Sequence[str], option: str, example: str) -> dict[str, str]:
    """NAME=VALUE items of a repeatable option as {name: value}; click.UsageError for another form or a name given twice."""
    out = {}
    for item in items:
        name, sign, value = item.partition("=")
        if not (sign and name.strip() and value.strip()):
            raise click.UsageError(f"{option} {item!r} is not of the form NAME=VALUE, such as {example}.")
        if name.strip() in out:
            raise click.UsageError(f"{option} names {name.strip()!r} twice.")
        out[name.strip()] = value.strip()
    return out


def read(
    sources: Sequence[str], columns: Sequence[str], where: Sequence[str], meta: str | None, loss_unit: str | None,
    **more: Any,
) -> pd.DataFrame:  # fmt: skip
    """The runs table of the sources named, by the options of `runs_options`; click.UsageError without a source."""
    from scaling.logs import read_runs

    if not sources:
        raise click.UsageError("no runs were named: give a file, a glob, or - for standard input.")
    with Progress("reading") as progress:
        return read_runs(
            list(sources), columns=pairs(columns, "--column", "loss=eval/loss"), where=list(where), meta=meta,
            loss_unit=loss_unit, progress=progress, **more,
        )  # fmt: skip


def fixed_coefs(items: Sequence[str]) -> dict[str, float]:
    from scaling.quantities import parse_quantity

    return {k: parse_quantity(v, "number", name=f"--fix {k}") for k, v in pairs(items, "--fix", "alpha=0.34").items()}


def fit_law(
    law_name: str, runs: pd.DataFrame, by: Sequence[str], objective: str, fixed: dict[str, float], resamples: int,
    kind: str, clusters: str, seed: int,
) -> FitResult:  # fmt: skip
    """Fit, then resample where resamples are asked for and any fit converged: a bootstrap, or the fit alone."""
    from scaling.fitting import fit
    from scaling.uncertainty import bootstrap

    result = fit(law_name, runs, objective, by=list(by), fixed=fixed)
    if not resamples or not bool(result.converged.any()):
        return result
    with Progress(f"resampling {law_name}") as progress:
        return bootstrap(result, resamples, seed, kind=kind, clusters=clusters, progress=progress)


class Progress:
    """A progress bar on standard error, on a terminal only, once the work has taken two seconds."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.bar: Any = None

    def __enter__(self) -> Callable[[int, int], None]:
        import time

        started = time.monotonic()

        def advance(done: int, total: int) -> None:
            """Draw `done` of `total`, once two seconds have passed."""
            if not sys.stderr.isatty():
                return
            if self.bar is None and time.monotonic() - started > 2 and done < total:
                self.bar = click.progressbar(length=total, label=self.label, file=sys.stderr)
                self.bar.__enter__()
                self.bar.update(done)
            elif self.bar is not None:
                self.bar.update(done - self.bar.pos)

        return advance

    def __exit__(self, *error: Any) -> None:
        if self.bar is not None:
            self.bar.__exit__(*error)


def chart_path(path: str | None) -> str | None:
    """Refuse a chart that could not be written before any work is done."""
    if path is not None and Path(path).suffix.lower() not in CHART_KINDS:
        raise click.UsageError(f"--chart {path!r}: the name must end in {', '.join(CHART_KINDS)}.")
    return _drawable(path, "--chart")


def report_path(path: str | None, option: str) -> str | None:
    """Refuse a report that could not be written before any work is done."""
    if path is not None and Path(path).suffix.lower() != ".html":
        raise click.UsageError(f"{option} {path!r}: a report is written as .html.")
    return _drawable(path, option)


def _drawable(path: str | None, option: str) -> str | None:
    check_writable(path, option)
    if path is not None:
        from importlib.util import find_spec

        if missing := [m for m in ("altair", "vl_convert") if find_spec(m) is None]:
            raise click.UsageError(f"{option} needs {' and '.join(missing)}: pip install 'scaling-laws[report]'.")
    return path


def check_writable(path: str | None, option: str) -> None:
    if path is not None and not Path(path).absolute().parent.is_dir():
        raise click.UsageError(f"{option} {path!r}: the folder {str(Path(path).absolute().parent)!r} does not exist.")


def write(path: str, text: str) -> None:
    """Whole or not at all."""
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def table_text(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    widths = [max(len(r[i]) for r in (header, *rows)) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in (header, *rows)]
    return "\n".join(lines)


def show(result: Any, as_json: bool, chart: str | None = None, draw: str = "", report: str | None = None) -> None:
    """Print a result; `draw` names the function of charts that draws it. report : file that takes it along."""
    if as_json:
        print_json(result.to_dict())
    else:
        click.echo(str(result))
    if chart:
        from scaling import charts

        charts.save(getattr(charts, draw)(result), chart)
    write_report(report, result)


def write_report(path: str | None, *parts: Any) -> None:
    """The report of these results, where one was asked for."""
    if path is not None:
        from scaling.report import report

        write(path, report(*parts))


def table_of(sources: Sequence[str], where: Sequence[str]) -> pd.DataFrame:
    """A table that is not one of runs, its columns by their own names."""
    from scaling.logs import read_table
    from scaling.logs.conditions import kept_by

    if not sources:
        raise click.UsageError("no file was named: give a file, a glob, or - for standard input.")
    table = read_table(list(sources))
    for condition in where:
        table = table[kept_by(condition, table)]
    if table.empty:
        raise RunsError("no rows are left" + (" after --where." if where else ": the input is empty."))
    return table.reset_index(drop=True)


def reading_line(table: pd.DataFrame) -> str:
    """One line on what was read: files, runs, and rows dropped with their reasons."""
    read = table.attrs["read"]
    names = ", ".join(f["name"] for f in read["files"][:3]) + (", ..." if len(read["files"]) > 3 else "")
    dropped = sum(d["count"] for d in read["dropped"])
    lost = (
        ""
        if not dropped
        else f"; {dropped} rows dropped (" + ", ".join(f"{d['count']}: {d['reason']}" for d in read["dropped"]) + ")"
    )
    return f"{names}: {len(table)} runs{lost}"
