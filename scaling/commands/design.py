"""`scaling design`."""

from __future__ import annotations

from typing import Any

import click

from scaling.commands.shared import (
    Progress,
    chart_option,
    fixed_coefs,
    json_option,
    objective_option,
    print_json,
    read,
    reading_line,
    report_option,
    runs_options,
    seed_option,
    write_report,
)


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUNS...]")
@click.option("--fit", "fit_file", metavar="FILE", help="A fit saved by `scaling fit --json`, in place of RUNS.")
@click.option("--law", default="chinchilla", show_default=True, metavar="NAME", help="The law to fit to RUNS.")
@runs_options
@objective_option
@click.option("--fix", "fixed", multiple=True, metavar="COEF=VALUE", help="Hold a coefficient at a value; repeatable.")
@click.option("--flops", required=True, metavar="X", help="Budget of the decision, e.g. 5.76e23.")
@click.option("--spend", metavar="Y", help="Compute at hand for more runs [FLOPs].")
@click.option("--gpu-hours", metavar="H", help="Or as hours of one accelerator, with --accelerator.")
@click.option("--usd", metavar="X", help="Or as money, with --accelerator.")
@click.option("--accelerator", metavar="NAME", help="Which, e.g. H100; list them with `scaling accelerators`.")
@click.option("--usd-per-hour", metavar="X", help="Price of one accelerator for an hour; default the listed one.")
@click.option("--mfu", default="40%", show_default=True, metavar="M", help="Share of peak FLOP/s that is reached.")
@click.option("--reach", metavar="P", help="Or how much is needed for a band of +- P, e.g. 10%.")
@click.option(
    "--limit", metavar="Y", help="With --reach: most compute to consider [FLOPs]; default that of the decision."
)
@click.option(
    "--quantity", default="n_params", show_default=True, type=click.Choice(["n_params", "tokens_per_param", "loss"]),
    help="What the band is of.",
)  # fmt: skip
@click.option(
    "--kind",
    default="free",
    show_default=True,
    type=click.Choice(["free", "isoflop"]),
    help="Any runs, or sweeps at equal compute.",
)
@click.option(
    "--band",
    default=0.8,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Level of the band.",
)
@click.option("--largest", metavar="X", help="Dearest single run [FLOPs]; default a quarter of the spend.")
@click.option("--smallest", metavar="X", help="Cheapest single run [FLOPs]; default that of RUNS.")
@click.option("--most-runs", default=64, show_default=True, type=click.IntRange(1, 1000), help="How many runs at most.")
@click.option("--tokens-per-param", metavar="LOW:HIGH", help="Of the runs; default the range of RUNS.")
@click.option(
    "--floor",
    default="0",
    metavar="P",
    help="Error of the quantity that no run removes, +- P, e.g. the spread over laws.",
)
@seed_option
@chart_option
@report_option
@json_option
def design(
    runs: tuple[str, ...], fit_file: str | None, law: str, objective: str, fixed: tuple[str, ...], flops: str, spend: str | None,
    gpu_hours: str | None, usd: str | None, accelerator: str | None, usd_per_hour: str | None, mfu: str, reach: str | None,
    limit: str | None, quantity: str, kind: str, band: float, largest: str | None, smallest: str | None, most_runs: int,
    tokens_per_param: str | None, floor: str, seed: int, as_json: bool, chart: str | None, report: str | None, columns: tuple[str, ...], where: tuple[str, ...],
    meta: str | None, loss_unit: str | None, format: str | None, bytes_per_token: float | None, unfinished: bool | None,
) -> None:  # fmt: skip
    """Which runs to do next: those that narrow the band of a decision most for the compute at hand."""
    if bool(fit_file) == bool(runs):
        raise click.UsageError("a design needs one fit: name RUNS, or --fit FILE.")
    given = [
        name
        for name, value in (("--spend", spend), ("--gpu-hours", gpu_hours), ("--usd", usd), ("--reach", reach))
        if value
    ]
    if len(given) != 1:
        raise click.UsageError(
            f"say what there is to spend (--spend, --gpu-hours or --usd) or what to reach (--reach): "
            f"{' and '.join(given) + ' were' if given else 'none was'} given."
        )
    if reach and largest:
        raise click.UsageError(
            "--largest goes with a spend; with --reach the dearest run is a quarter of what is found."
        )
    if limit and not reach:
        raise click.UsageError("--limit goes with --reach.")
    import scaling
    from scaling.designing import design as make_design
    from scaling.designing import ladder_for
    from scaling.quantities import parse_quantity

    if fit_file:
        result = scaling.load_fit(fit_file)
        line = f"the fit in {fit_file}"
    else:
        chosen = scaling.get(law)
        table = read(
            runs, columns, where, meta, loss_unit, format=format, bytes_per_token=bytes_per_token, unfinished=unfinished,
            target=chosen.target, required=chosen.inputs,
        )  # fmt: skip
        result = scaling.fit(chosen.name, table, objective, fixed=fixed_coefs(fixed))
        line = reading_line(table)
    options: dict[str, Any] = {
        "quantity": quantity, "kind": kind, "level": band, "smallest": smallest, "most_runs": most_runs, "rng": seed,
        "tokens_per_param": _range(tokens_per_param),
        "floor": (1 + parse_quantity(floor, "fraction", name="--floor", zero=True)) ** 2,
    }  # fmt: skip
    made: Any
    if reach:
        wanted = parse_quantity(reach, "fraction", name="--reach")
        with Progress("choosing runs") as progress:
            made = ladder_for(result, flops, wanted, limit=limit, **options, progress=progress)
    else:
        amount = spend if spend else _flops_of(gpu_hours, usd, accelerator, usd_per_hour, mfu)
        with Progress("choosing runs") as progress:
            made = make_design(result, flops, amount, largest=largest, **options, progress=progress)
    if as_json:
        print_json(made.to_dict())
    else:
        click.echo(f"{made}\n\nThe law it stands on, {line}\n\n{result}")
    if chart:
        from scaling import charts

        charts.save(charts.design_chart(getattr(made, "design", made), result), chart)
    write_report(report, made, result)


def _range(text: str | None) -> tuple[float, float] | None:
    from scaling.quantities import parse_quantity

    if text is None:
        return None
    low, sign, high = text.partition(":")
    if not sign:
        raise click.UsageError(f"--tokens-per-param {text!r} is not of the form LOW:HIGH, such as 2:200.")
    return tuple(parse_quantity(v, "number", name="--tokens-per-param") for v in (low, high))  # type: ignore[return-value]


def _flops_of(
    gpu_hours: str | None, usd: str | None, name: str | None, usd_per_hour: str | None, mfu: str
) -> float:  # fmt: skip
    """FLOPs that accelerator hours, or money, pay for."""
    from scaling.hardware import accelerator
    from scaling.quantities import parse_quantity

    if name is None:
        raise click.UsageError("--gpu-hours and --usd need --accelerator, e.g. --accelerator H100.")
    chip = accelerator(name)
    if usd is not None:
        price = parse_quantity(usd_per_hour, "usd", name="--usd-per-hour") if usd_per_hour else chip.usd_per_hour
        if price is None:
            raise click.UsageError(f"no price is listed for {chip.title}: give --usd-per-hour.")
        hours = parse_quantity(usd, "usd", name="--usd") / price
    else:
        hours = parse_quantity(gpu_hours, "count", name="--gpu-hours")
    return hours * 3600 * chip.bf16 * parse_quantity(mfu, "fraction", name="--mfu")
