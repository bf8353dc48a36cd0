"""`scaling plan`."""

from __future__ import annotations

from typing import Any

import click

from scaling.commands.shared import (
    fit_law,
    fit_options,
    fixed_coefs,
    json_option,
    print_json,
    read,
    reading_line,
    runs_options,
)


@click.command()
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
        table = read(
            runs, columns, where, meta, loss_unit, format=format, bytes_per_token=bytes_per_token, unfinished=unfinished,
            target=chosen.target, required=chosen.inputs,
        )  # fmt: skip
        source = fit_law(chosen.name, table, (), objective, fixed_coefs(fixed), resamples, kind, clusters, seed)
    made = make_plan(source, flops=list(flops) or None, count=gpus, band=band, **request)
    if as_json:
        print_json(made.to_dict())
        return
    click.echo(str(made))
    if runs:
        click.echo(f"\nThe law it stands on, {reading_line(table)}\n\n{source}")
