"""The command `scaling`: thin over the library. Heavy imports stand inside the commands that need them."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from scaling import __version__
from scaling.errors import QuantityError, RunsError, ScalingError

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fitting import FitResult

EXIT_BAD_INPUT, EXIT_PARTIAL, EXIT_INTERRUPTED = 2, 3, 130
RESAMPLES = 1000
MOST_RESAMPLES = 1_000_000
OBJECTIVES = ("hoffmann", "robust", "huber", "squared", "squared-log", "absolute", "asymmetric")
CHART_KINDS = (".svg", ".png", ".html")


class _Group(click.Group):
    """Commands in the order they were written, and one place where errors become a sentence and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        try:
            code = super().main(*args, **kwargs)
            sys.stdout.flush()
            sys.exit(code if isinstance(code, int) else 0)
        except click.exceptions.Exit as stop:
            sys.exit(stop.exit_code)
        except (click.Abort, KeyboardInterrupt):
            _stop("interrupted.", EXIT_INTERRUPTED)
        except click.ClickException as error:
            _stop(_usage(error), EXIT_BAD_INPUT)
        except ScalingError as error:
            _stop(str(error), EXIT_BAD_INPUT)
        except BrokenPipeError:  # the reader has left, as in `| head`; nothing more may be written, not even at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        except OSError as error:
            where = f" {error.filename!r}" if error.filename else ""
            _stop(f"cannot read or write{where}: {error.strerror or error}.", EXIT_BAD_INPUT)
        except MemoryError:
            _stop("out of memory: use fewer rows (--where) or fewer resamples (--resamples).", EXIT_BAD_INPUT)


def _usage(error: click.ClickException) -> str:
    text = error.format_message()
    if isinstance(error, click.UsageError) and error.ctx is not None:
        text += f" See: {error.ctx.command_path} --help"
    return text


def _stop(message: str, code: int) -> NoReturn:
    with contextlib.suppress(OSError):
        click.echo(f"scaling: error: {message}", err=True)
    sys.exit(code)


def _warn(message: str) -> None:
    click.echo(f"scaling: warning: {message}", err=True)


def _print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=1, allow_nan=False))


class Quantity(click.ParamType):
    """A quantity as people write it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.name = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from scaling.quantities import parse_quantity

        try:
            return parse_quantity(value, self.kind)
        except QuantityError as error:
            self.fail(str(error), param, ctx)


# --- what commands share ---------------------------------------------------------------------------------------------


def _options(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def apply(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


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
    click.option("--objective", default="hoffmann", show_default=True, type=click.Choice(OBJECTIVES), help="What is minimised."),
    click.option("--fix", "fixed", multiple=True, metavar="COEF=VALUE", help="Hold a coefficient at a value; repeatable."),
    click.option("--resamples", default=RESAMPLES, show_default=True, type=click.IntRange(0, MOST_RESAMPLES), help="Bootstrap resamples; 0 takes the sandwich interval instead."),
    click.option("--resample", "kind", default="cases", show_default=True, type=click.Choice(["cases", "clusters", "strata", "wild"]), help="Draw runs; whole clusters; runs within budgets; or keep the design and change signs of residuals."),
    click.option("--clusters", default="run", show_default=True, metavar="COLUMN", help="Column that names the clusters."),
    click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Of every random step."),
)  # fmt: skip
chart_option = click.option(
    "--chart", metavar="FILE", callback=lambda _c, _p, value: _chart_path(value), help="Draw it: .svg, .png or .html."
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON document on standard output, nothing else."
)


def _pairs(items: Sequence[str], option: str, example: str) -> dict[str, str]:
    out = {}
    for item in items:
        name, sign, value = item.partition("=")
        if not (sign and name.strip() and value.strip()):
            raise click.UsageError(f"{option} {item!r} is not of the form NAME=VALUE, such as {example}.")
        if name.strip() in out:
            raise click.UsageError(f"{option} names {name.strip()!r} twice.")
        out[name.strip()] = value.strip()
    return out


def _read(
    sources: Sequence[str], columns: Sequence[str], where: Sequence[str], meta: str | None, loss_unit: str | None,
    **more: Any,
) -> pd.DataFrame:  # fmt: skip
    from scaling.logs import read_runs

    if not sources:
        raise click.UsageError("no runs were named: give a file, a glob, or - for standard input.")
    return read_runs(
        list(sources), columns=_pairs(columns, "--column", "loss=eval/loss"), where=list(where), meta=meta,
        loss_unit=loss_unit, **more,
    )  # fmt: skip


def _fixed(items: Sequence[str]) -> dict[str, float]:
    from scaling.quantities import parse_quantity

    return {k: parse_quantity(v, "number", name=f"--fix {k}") for k, v in _pairs(items, "--fix", "alpha=0.34").items()}


def _fit(
    law_name: str, runs: pd.DataFrame, by: Sequence[str], objective: str, fixed: dict[str, float], resamples: int,
    kind: str, clusters: str, seed: int,
) -> FitResult:  # fmt: skip
    from scaling.fitting import fit
    from scaling.uncertainty import bootstrap

    result = fit(law_name, runs, objective, by=list(by), fixed=fixed)
    if not resamples or not bool(result.converged.any()):
        return result
    with _Progress(f"resampling {law_name}") as progress:
        return bootstrap(result, resamples, seed, kind=kind, clusters=clusters, progress=progress)


class _Progress:
    """A progress bar on standard error, on a terminal only, once the work has taken two seconds."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.bar: Any = None

    def __enter__(self) -> Callable[[int, int], None]:
        import time

        started = time.monotonic()

        def advance(done: int, total: int) -> None:
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


def _chart_path(path: str | None) -> str | None:
    """Refuse a chart that could not be written before any work is done."""
    if path is not None and Path(path).suffix.lower() not in CHART_KINDS:
        raise click.UsageError(f"--chart {path!r}: the name must end in {', '.join(CHART_KINDS)}.")
    _check_writable(path, "--chart")
    if path is not None:
        from importlib.util import find_spec

        if missing := [m for m in ("altair", "vl_convert") if find_spec(m) is None]:
            raise click.UsageError(f"--chart needs {' and '.join(missing)}: pip install 'scaling-laws[report]'.")
    return path


def _check_writable(path: str | None, option: str) -> None:
    if path is not None and not Path(path).absolute().parent.is_dir():
        raise click.UsageError(f"{option} {path!r}: the folder {str(Path(path).absolute().parent)!r} does not exist.")


def _write(path: str, text: str) -> None:
    """Whole or not at all."""
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    widths = [max(len(r[i]) for r in (header, *rows)) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in (header, *rows)]
    return "\n".join(lines)


# --- commands --------------------------------------------------------------------------------------------------------


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="scaling")
def main() -> None:
    """Scaling laws from logged training runs, and plans from scaling laws."""


@main.command()
@click.argument("runs", nargs=-1, metavar="RUNS...")
@runs_options
@json_option
def check(runs: tuple[str, ...], as_json: bool, **reading: Any) -> None:
    """What was found in the logs: columns, units, rows dropped and why, design warnings."""
    from scaling.logs import check_runs, describe_read

    table = _read(runs, **reading)
    if as_json:
        _print_json({"schema": "scaling.check/1", **table.attrs["read"], "warnings": check_runs(table)})
    else:
        click.echo(describe_read(table))


@main.command("fit")
@click.argument("runs", nargs=-1, metavar="RUNS...")
@click.option(
    "--law",
    "laws",
    multiple=True,
    default=("chinchilla",),
    show_default=True,
    metavar="NAME",
    help="Which law; repeatable.",
)
@click.option("--by", multiple=True, metavar="COLUMN", help="Fit each group of rows that share its value; repeatable.")
@runs_options
@fit_options
@json_option
@click.option("--out", metavar="FILE", help="Also save the fit as JSON, for `scaling plan --fit FILE`.")
@click.option("--chart", metavar="FILE", help="Draw data and fit: .svg, .png or .html.")
def fit_command(
    runs: tuple[str, ...], laws: tuple[str, ...], by: tuple[str, ...], objective: str, fixed: tuple[str, ...], resamples: int,
    kind: str, clusters: str, seed: int, as_json: bool, out: str | None, chart: str | None, **reading: Any,
) -> int:  # fmt: skip
    """Fit a law to runs: coefficients with intervals, and what is wrong with them."""
    from scaling.laws import get

    chosen = [get(name) for name in dict.fromkeys(laws)]
    _chart_path(chart)
    _check_writable(out, "--out")
    if chart and (len(chosen) > 1 or by):
        raise click.UsageError("--chart draws one fit: give one --law and no --by.")
    targets = {law.target for law in chosen}
    if len(targets) > 1:
        raise click.UsageError(
            f"these laws explain different columns ({', '.join(sorted(targets))}): fit them one at a time."
        )
    needed = list(dict.fromkeys(c for law in chosen for c in law.inputs))
    table = _read(runs, **reading, target=targets.pop(), required=needed)
    missing = [c for c in by if c not in table]
    if missing:
        raise RunsError(
            f"--by {missing[0]}: there is no such column; the runs have {', '.join(map(str, table.columns))}."
        )
    values = _fixed(fixed)
    results = [_fit(law.name, table, by, objective, values, resamples, kind, clusters, seed) for law in chosen]
    documents = [_document(r) for r in results]
    document = (
        documents[0]
        if len(documents) == 1
        else {"schema": "scaling.fit/1", "fits": [f for d in documents for f in d.get("fits", [d])]}
    )
    if out:
        _write(out, json.dumps(document, allow_nan=False))
    if as_json:
        _print_json(document)
    else:
        click.echo(_reading_line(table))
        for result in results:
            click.echo()
            click.echo(str(result))
            if not result.point.shape:
                for budget, r in _ratios(result).items():
                    span = "" if r["low"] is None else f" [{r['low']:.3g}, {r['high']:.3g}]"
                    click.echo(f"best at {budget} FLOPs: {r['estimate']:.3g} tokens per parameter{span}")
    if chart:
        from scaling import charts

        charts.save(charts.fit_chart(results[0]), chart)
    for result in results:
        point = result.point
        failed = point.failed
        if point.shape and failed.any():
            for i in failed.nonzero()[0]:
                assert point.groups is not None
                _warn(f"{result.law.name}: group {_named(point.groups.iloc[i])} failed: {point.message[i]}")
            return EXIT_PARTIAL
        if not point.shape and failed:
            _warn(f"{result.law.name}: {point.message}")
            return EXIT_PARTIAL
    return 0


def _document(result: FitResult) -> dict[str, Any]:
    """The JSON of a fit, with the tokens per parameter it asks for."""
    document = result.to_dict()
    if not result.point.shape and (ratios := _ratios(result)):
        document["derived"]["tokens_per_param_at"] = ratios
    return document


def _ratios(result: FitResult) -> dict[str, dict[str, float | None]]:
    """Tokens per parameter at the power of ten next to the largest run, and a hundred times beyond."""
    import math

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


def _reading_line(table: pd.DataFrame) -> str:
    read = table.attrs["read"]
    names = ", ".join(f["name"] for f in read["files"][:3]) + (", ..." if len(read["files"]) > 3 else "")
    dropped = sum(d["count"] for d in read["dropped"])
    lost = (
        ""
        if not dropped
        else f"; {dropped} rows dropped (" + ", ".join(f"{d['count']}: {d['reason']}" for d in read["dropped"]) + ")"
    )
    return f"{names}: {len(table)} runs{lost}"


@main.command()
@click.argument("runs", nargs=-1, metavar="[RUNS...]")
@click.option("--fit", "fit_file", metavar="FILE", help="A fit saved by `scaling fit --json` or --out.")
@click.option("--published", "key", metavar="KEY", help="A published law; list them with `scaling published`.")
@click.option("--law", metavar="NAME", help="The law to fit to RUNS; default chinchilla.")
@runs_options
@fit_options
@click.option("--flops", multiple=True, metavar="X", help="Budget in FLOPs, e.g. 5.76e23; repeatable.")
@click.option("--gpus", metavar="N", help="How many accelerators.")
@click.option("--accelerator", metavar="NAME", help="Which, e.g. H100; list them with `scaling accelerators`.")
@click.option("--days", metavar="D", help="Length of the training, e.g. 30d.")
@click.option("--mfu", metavar="M", help="Share of peak FLOP/s that is reached; default 40%.")
@click.option("--usd", metavar="X", help="Budget in dollars, e.g. '$2.5M'.")
@click.option("--usd-per-hour", metavar="X", help="Price of one accelerator for an hour.")
@click.option("--loss", metavar="L", help="Wanted loss; the least compute that reaches it is found.")
@click.option("--n-params", metavar="N", help="Fix the model size.")
@click.option("--tokens-per-param", metavar="R", help="Fix the tokens per parameter.")
@click.option("--max-tokens", metavar="D", help="At most so many training tokens.")
@click.option("--max-params", metavar="N", help="At most so many parameters.")
@click.option("--min-tokens-per-param", metavar="R", help="At least so many tokens per parameter (to serve cheaply).")
@click.option(
    "--unique-tokens",
    metavar="U",
    help="Text at hand: repeats are weighed by a law of repeated data, else it is a limit on tokens.",
)
@click.option(
    "--inference-tokens",
    metavar="T",
    help="Tokens served over the model's life: the budget pays for training and serving.",
)
@click.option(
    "--band",
    default=0.8,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Level of the bands.",
)
@json_option
def plan(
    runs: tuple[str, ...], fit_file: str | None, key: str | None, law: str | None, objective: str, fixed: tuple[str, ...],
    resamples: int, kind: str, clusters: str, seed: int, flops: tuple[str, ...], gpus: str | None, band: float, as_json: bool,
    columns: tuple[str, ...], where: tuple[str, ...], meta: str | None, loss_unit: str | None, format: str | None,
    bytes_per_token: float | None, unfinished: bool | None, **request: Any,
) -> None:  # fmt: skip
    """Which model size and how many tokens for a budget, with bands, cost and caveats."""
    sources = [name for name, given in (("--fit", fit_file), ("--published", key), ("RUNS", runs)) if given]
    if len(sources) != 1:
        raise click.UsageError(
            f"a plan needs one law: --fit FILE, --published KEY, or RUNS with --law ({'none' if not sources else ' and '.join(sources)} given)."
        )
    import scaling
    from scaling.planning import plan as make_plan

    source: Any
    if fit_file:
        source = scaling.load_fit(fit_file)
    elif key:
        source = scaling.published(key)
    else:
        chosen = scaling.get(law or "chinchilla")
        table = _read(
            runs, columns, where, meta, loss_unit, format=format, bytes_per_token=bytes_per_token, unfinished=unfinished,
            target=chosen.target, required=chosen.inputs,
        )  # fmt: skip
        source = _fit(chosen.name, table, (), objective, _fixed(fixed), resamples, kind, clusters, seed)
    made = make_plan(source, flops=list(flops) or None, count=gpus, band=band, **request)
    if as_json:
        _print_json(made.to_dict())
        return
    click.echo(str(made))
    if runs:
        click.echo(f"\nThe law it stands on, {_reading_line(table)}\n\n{source}")


@main.command()
@click.argument("runs", nargs=-1, metavar="RUNS...")
@click.option("--law", "laws", multiple=True, required=True, metavar="NAME", help="A law to compare; repeatable.")
@runs_options
@click.option(
    "--objective", default="hoffmann", show_default=True, type=click.Choice(OBJECTIVES), help="What is minimised."
)
@click.option(
    "--resamples",
    default=RESAMPLES,
    show_default=True,
    type=click.IntRange(20, MOST_RESAMPLES),
    help="Draws of the runs.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Of every random step.")
@chart_option
@json_option
def compare(
    runs: tuple[str, ...],
    laws: tuple[str, ...],
    objective: str,
    resamples: int,
    seed: int,
    as_json: bool,
    chart: str | None,
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
    table = _read(runs, **reading, target=targets.pop())
    _show(compare_laws(chosen, table, objective, n_resamples=resamples, rng=seed), as_json, chart, "compare_chart")


@main.command()
@click.argument("runs", nargs=-1, metavar="RUNS...")
@runs_options
@click.option(
    "--curve",
    type=click.Choice(["asymmetric", "parabola", "akima"]),
    help="Curve of each budget; default: as the runs allow.",
)
@click.option("--envelope", "as_envelope", is_flag=True, help="Approach 1: the lower envelope of training curves.")
@click.option(
    "--resamples",
    default=RESAMPLES,
    show_default=True,
    type=click.IntRange(20, MOST_RESAMPLES),
    help="Draws for the intervals.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Of every random step.")
@chart_option
@json_option
def isoflop(
    runs: tuple[str, ...],
    curve: str | None,
    as_envelope: bool,
    resamples: int,
    seed: int,
    as_json: bool,
    chart: str | None,
    **reading: Any,
) -> None:
    """Approaches 1 and 2: the best size of each budget, read off the runs."""
    from scaling.approaches import envelope
    from scaling.approaches import isoflop as fit_profiles

    table = _read(runs, **reading, final=not as_envelope)
    if as_envelope:
        if chart:
            raise click.UsageError("--chart draws isoFLOP profiles: leave --envelope away.")
        _show(envelope(table, n_resamples=resamples, rng=seed), as_json)
    else:
        _show(fit_profiles(table, curve=curve, n_resamples=resamples, rng=seed), as_json, chart, "isoflop_chart")


def _show(result: Any, as_json: bool, chart: str | None = None, draw: str = "") -> None:
    """Print a result; `draw` names the function of charts that draws it."""
    if as_json:
        _print_json(result.to_dict())
    else:
        click.echo(str(result))
    if chart:
        from scaling import charts

        charts.save(getattr(charts, draw)(result), chart)


@main.command()
@click.argument("runs", nargs=-1, metavar="RUNS...")
@click.option("--axis", metavar="COLUMN", help="Size, training time or samples; default: found by name.")
@click.option("--value", metavar="COLUMN", help="Test error or loss; default: found by name.")
@click.option("--where", multiple=True, metavar="CONDITION", help="Keep rows that meet it; repeatable.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Of every random step.")
@chart_option
@json_option
def descent(
    runs: tuple[str, ...],
    axis: str | None,
    value: str | None,
    where: tuple[str, ...],
    seed: int,
    as_json: bool,
    chart: str | None,
) -> None:
    """Is this double descent, where is the peak, and what follows it?"""
    from scaling.curves.double_descent import double_descent

    _show(double_descent(_table_of(runs, where), axis, value, rng=seed), as_json, chart, "descent_chart")


@main.command()
@click.argument("evals", nargs=-1, metavar="EVALS...")
@click.option("--x", default="flops", show_default=True, metavar="COLUMN", help="Scale: compute, size or loss.")
@click.option("--score", default="score", show_default=True, metavar="COLUMN", help="Share of items solved.")
@click.option("--items", metavar="COLUMN|N", help="Items behind each score; without it the scatter is estimated.")
@click.option(
    "--chance", default=0.0, show_default=True, type=click.FloatRange(0, 1, max_open=True), help="Score of guessing."
)
@click.option("--where", multiple=True, metavar="CONDITION", help="Keep rows that meet it; repeatable.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Of every random step.")
@chart_option
@json_option
def emergence(
    evals: tuple[str, ...],
    x: str,
    score: str,
    items: str | None,
    chance: float,
    where: tuple[str, ...],
    seed: int,
    as_json: bool,
    chart: str | None,
) -> None:
    """When does a score rise with scale, is it sudden, and which budget reaches it?"""
    from scaling.curves.emergence import emergence as analyse

    count = int(items) if items is not None and items.isdigit() else items
    _show(
        analyse(_table_of(evals, where), x=x, score=score, n_items=count, floor=chance, rng=seed),
        as_json,
        chart,
        "emergence_chart",
    )


@main.command()
@click.argument("curves", nargs=-1, metavar="CURVES...")
@click.option("--train", metavar="COLUMN", help="Training accuracy; default: found by name.")
@click.option("--validation", metavar="COLUMN", help="Validation accuracy; default: found by name.")
@click.option("--run", metavar="COLUMN", help="Which training a row belongs to; default: found by name.")
@click.option("--where", multiple=True, metavar="CONDITION", help="Keep rows that meet it; repeatable.")
@chart_option
@json_option
def grokking(
    curves: tuple[str, ...],
    train: str | None,
    validation: str | None,
    run: str | None,
    where: tuple[str, ...],
    as_json: bool,
    chart: str | None,
) -> None:
    """Does generalisation come long after memorisation?"""
    from scaling.curves.grokking import grokking as analyse

    _show(
        analyse(_table_of(curves, where), train=train, validation=validation, run=run), as_json, chart, "grokking_chart"
    )


def _table_of(sources: Sequence[str], where: Sequence[str]) -> pd.DataFrame:
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


@main.command()
@click.argument("sources", nargs=-1, metavar="[STUDY.toml | RUNS...]")
@click.option("--law", "laws", multiple=True, metavar="NAME", help="A law to fit; repeatable.")
@click.option(
    "--by", multiple=True, metavar="COLUMN", help="Columns that separate groups; without it each file is one."
)
@click.option("--store", metavar="DIR", help="Where fits are kept; what is known there is not computed again.")
@click.option(
    "--objective", default="hoffmann", show_default=True, type=click.Choice(OBJECTIVES), help="What is minimised."
)
@click.option(
    "--resamples",
    default=0,
    show_default=True,
    type=click.IntRange(0, MOST_RESAMPLES),
    help="Bootstrap resamples of each fit.",
)
@click.option("--workers", type=click.IntRange(1, 1024), help="Processes; default: one for each core.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Of every random step.")
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
        _check_writable(export_to, "--export")
        refitting.export(options["store"], export_to)
        return 0
    if not options["sources"] or not options["laws"]:
        raise click.UsageError("a refit needs runs and at least one --law (or a study file that names them).")
    with _Progress("refitting") as progress:
        report = refitting.refit(**options, workers=workers, progress=progress)
    if as_json:
        _print_json(
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
        _warn(f"{report.n_failed} fits failed: `scaling refit --store {options['store']} --status` counts them.")
    return EXIT_PARTIAL if report.n_failed else 0


@main.command()
@click.argument("runs", nargs=-1, metavar="RUNS...")
@click.option(
    "--law",
    "laws",
    multiple=True,
    default=("chinchilla",),
    show_default=True,
    metavar="NAME",
    help="Which law; repeatable.",
)
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
    _chart_path(out)
    from scaling.laws import get
    from scaling.logs import describe_read
    from scaling.planning import plan as make_plan
    from scaling.report import report as write_report

    chosen = [get(name) for name in dict.fromkeys(laws)]
    needed = list(dict.fromkeys(c for law in chosen for c in law.inputs))
    table = _read(runs, **reading, target=chosen[0].target, required=needed)
    values = _fixed(fixed)
    results = [_fit(law.name, table, (), objective, values, resamples, kind, clusters, seed) for law in chosen]
    plans = [make_plan(results[0], flops=flops)] if flops else []
    _write(out, write_report(results, plans=plans, read=describe_read(table)))
    click.echo(f"{out} written")


@main.command()
@click.option("--port", default=8501, show_default=True, type=click.IntRange(1, 65535), help="Port on this machine.")
@click.option("--browser/--no-browser", default=True, show_default=True, help="Open a browser window.")
def app(port: int, browser: bool) -> None:
    """Start the dashboard; it listens on this machine only."""
    from importlib.util import find_spec

    if missing := [m for m in ("streamlit", "altair", "vl_convert") if find_spec(m) is None]:
        raise click.UsageError(f"the app needs {', '.join(missing)}: pip install 'scaling-laws[app]'.")
    here = Path(__file__).resolve().parent
    script = next((p for p in (here / "_app" / "main.py", here.parent / "app" / "main.py") if p.is_file()), None)
    if script is None:
        raise click.UsageError("the app is not part of this installation: install the wheel, or work in a checkout.")
    import subprocess

    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(script),
        "--server.address=127.0.0.1",
        f"--server.port={port}",
    ]
    command += ["--browser.gatherUsageStats=false", f"--server.headless={'false' if browser else 'true'}"]
    sys.exit(subprocess.run(command, check=False).returncode)


@main.command()
@click.argument("name", required=False)
@json_option
def laws(name: str | None, as_json: bool) -> None:
    """The laws that can be fitted, or one of them with its coefficients and source."""
    from scaling.laws import LAWS, get

    if name is not None:
        law = get(name)
        entry = _law_entry(law)
        if as_json:
            _print_json(entry)
            return
        click.echo(f"{law.name}: {law.title}\n  {law.equation}\n")
        click.echo(_table([(c.name, c.meaning) for c in law.coefs], ("coefficient", "meaning")))
        click.echo(
            f"\ninputs   {', '.join(law.inputs)}\nexplains {law.target}\nholds    {law.domain}\nsource   {law.source}"
        )
    elif as_json:
        _print_json([_law_entry(law) for law in LAWS.values()])
    else:
        click.echo(_table([(law.name, law.equation, law.title) for law in LAWS.values()], ("law", "equation", "")))


def _law_entry(law: Any) -> dict[str, Any]:
    return {
        "name": law.name, "title": law.title, "equation": law.equation, "latex": law.latex, "inputs": list(law.inputs),
        "target": law.target, "coefs": [{"name": c.name, "meaning": c.meaning} for c in law.coefs],
        "domain": law.domain, "source": law.source,
    }  # fmt: skip


@main.command()
@click.argument("key", required=False)
@json_option
def published(key: str | None, as_json: bool) -> None:
    """Published coefficients, or one set of them with what its N counts and where it holds."""
    from scaling.laws.published import PUBLISHED
    from scaling.laws.published import published as find

    entries = [find(key)] if key else list(PUBLISHED.values())
    if as_json:
        documents = [_published_entry(e) for e in entries]
        _print_json(documents[0] if key else documents)
    elif key:
        (entry,) = entries
        click.echo(f"{entry.key}: {entry.title}\n  {entry.law.equation}\n")
        click.echo(
            _table(
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
        click.echo(_table([(e.key, e.law.name, e.title) for e in entries], ("key", "law", "")))


def _published_entry(entry: Any) -> dict[str, Any]:
    return {
        "key": entry.key, "law": entry.law.name, "title": entry.title,
        "coefs": dict(zip(entry.law.coef_names, map(float, entry.theta), strict=True)), "n_counts": entry.n_counts,
        "d_counts": entry.d_counts, "domain": {k: list(v) for k, v in entry.domain.items()}, "data": entry.data,
        "loss_unit": entry.loss_unit, "source": entry.source, "status": entry.status,
    }  # fmt: skip


@main.command()
@json_option
def accelerators(as_json: bool) -> None:
    """Accelerators with peak, memory, power, and the price assumed."""
    from dataclasses import asdict

    from scaling.hardware import ACCELERATORS

    chips = list(ACCELERATORS.values())
    if as_json:
        _print_json([asdict(c) for c in chips])
        return

    def shown(value: float | None, scale: float, form: str = ".0f") -> str:
        return "-" if value is None else f"{value / scale:{form}}"

    rows = [
        (c.key, shown(c.bf16, 1e12), shown(c.fp8, 1e12), shown(c.memory, 1e9), shown(c.bandwidth, 1e12, ".2f"), shown(c.power, 1),
         shown(c.usd_per_hour, 1, ".2f"))
        for c in chips
    ]  # fmt: skip
    click.echo(_table(rows, ("accelerator", "bf16 TFLOP/s", "fp8 TFLOP/s", "memory GB", "TB/s", "W", "$/h (assumed)")))
