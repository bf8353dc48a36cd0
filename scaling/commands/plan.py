"""`scaling plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.commands.shared import (
    _options,
    fit_law,
    fit_options,
    fixed_coefs,
    json_option,
    pairs,
    print_json,
    read,
    reading_line,
    report_option,
    runs_options,
    write_report,
)

if TYPE_CHECKING:
    import pandas as pd

    from scaling.compute import Accounting

budget_options = _options(
    click.option("--flops", multiple=True, metavar="X", help="Budget in FLOPs, e.g. 5.76e23; repeatable."),
    click.option("--gpus", metavar="N", help="How many accelerators."),
    click.option("--accelerator", metavar="NAME", help="Which, e.g. H100; list them with `scaling accelerators`."),
    click.option("--days", metavar="D", help="Length of the training, e.g. 30d."),
    click.option("--deadline", metavar="DATE", help="Or the day it must be done, e.g. 2027-03-31."),
    click.option("--start", metavar="DATE", help="The day it begins; default today."),
    click.option("--mfu", metavar="M", help="Share of peak FLOP/s that is reached; default 40%."),
    click.option("--usd", metavar="X", help="Budget in dollars, e.g. '$2.5M'."),
    click.option("--usd-per-hour", metavar="X", help="Price of one accelerator for an hour."),
    click.option("--pricing", type=click.Choice(["listed", "reserved", "on-demand"]), help="Which listed price to take."),
    click.option("--overhead", metavar="P", help="Added to the price for storage, network, failed runs, e.g. 15%."),
    click.option("--kwh", metavar="X", help="Budget of energy, e.g. '500 MWh'."),
    click.option("--pue", metavar="R", help="Power of the building over that of the machines; default 1.15."),
    click.option("--power-share", metavar="P", help="Share of the board's power that is drawn; default 80%."),
    click.option("--loss", metavar="L", help="Wanted loss; the least compute that reaches it is found."),
    click.option("--score", metavar="S", help="Wanted score on a task, through --link."),
    click.option("--compute", metavar="NAME", help="How FLOPs are counted: dense (6 N D, default), kaplan, hoffmann, deepseek, ...; or logged, as the FLOPs column of RUNS has them."),
    click.option("--link", metavar="LINK", help="From loss to score: a saved fit, a published law, or NAME:coef=value,..."),
)  # fmt: skip
constraint_options = _options(
    click.option("--n-params", metavar="N", help="Fix the model size."),
    click.option("--n-tokens", metavar="D", help="Fix the training tokens."),
    click.option("--tokens-per-param", metavar="R", help="Fix the tokens per parameter."),
    click.option("--max-params", metavar="N", help="At most so many parameters."),
    click.option("--min-params", metavar="N", help="At least so many parameters."),
    click.option("--max-tokens", metavar="D", help="At most so many training tokens."),
    click.option("--min-tokens", metavar="D", help="At least so many training tokens."),
    click.option("--min-tokens-per-param", metavar="R", help="At least so many tokens per parameter (to serve cheaply)."),
    click.option("--max-tokens-per-param", metavar="R", help="At most so many tokens per parameter."),
    click.option("--unique-tokens", metavar="U", help="Text at hand: repeats are weighed by a law of repeated data, else it is a limit on tokens."),
    click.option("--repeats", is_flag=True, help="Weigh repeats under any law, with published constants."),
    click.option("--max-epochs", metavar="E", help="At most so many passes over --unique-tokens."),
    click.option("--inference-tokens", metavar="T", help="Tokens served over the model's life: the budget pays for training and serving."),
    click.option("--serving-accelerator", metavar="NAME", help="What serves; default the one that trains."),
    click.option("--serving-mfu", metavar="M", help="Share of peak that serving reaches; default that of training."),
    click.option("--serving-usd-per-hour", metavar="X", help="Price of a serving accelerator for an hour."),
    click.option("--serving-count", metavar="N", help="Accelerators that one copy of the model may take."),
    click.option("--serving-memory", metavar="X", help="Memory that the served weights must fit in, e.g. 80GB."),
    click.option("--serving-speed", metavar="V", help="Tokens a second that one user must get."),
    click.option("--active-share", metavar="P", help="Active over total parameters of a mixture of experts, e.g. 10%."),
    click.option("--law-counts", type=click.Choice(["total", "active"]), default="total", show_default=True, help="Which of them the law's size is."),
    click.option("--max-total-params", metavar="N", help="At most so many parameters in all."),
    click.option("--max-active-params", metavar="N", help="At most so many active parameters."),
    click.option("--train-bits", metavar="B", help="Bits of training, e.g. 8."),
    click.option("--serve-bits", metavar="B", help="Bits of the weights that are served, e.g. 4."),
    click.option("--input", "more_inputs", multiple=True, metavar="NAME=VALUE", help="Value of another input of the law; repeatable."),
)  # fmt: skip


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUNS...]")
@click.option("--fit", "fit_file", metavar="FILE", help="A fit saved by `scaling fit --json` or --out.")
@click.option("--published", "key", metavar="KEY", help="A published law; list them with `scaling published`.")
@click.option("--law", metavar="NAME", help="The law to fit to RUNS; default chinchilla.")
@click.option(
    "--also", multiple=True, metavar="LAW", help="Plan under this saved fit or published law too; repeatable."
)
@runs_options
@fit_options
@budget_options
@constraint_options
@click.option(
    "--band",
    default=0.8,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Level of the bands.",
)
@click.option(
    "--family", default="modern", show_default=True, metavar="NAME", help="Proportions of the proposed shape."
)
@click.option(
    "--context", default=2048, show_default=True, type=click.IntRange(1), help="Sequence length of the layout."
)
@click.option("--brief", is_flag=True, help="Leave out shape, layout, settings, other sizes and known models.")
@report_option
@json_option
def plan(
    runs: tuple[str, ...], fit_file: str | None, key: str | None, law: str | None, also: tuple[str, ...], objective: str,
    fixed: tuple[str, ...], resamples: int, kind: str, clusters: str, seed: int, flops: tuple[str, ...], gpus: str | None,
    band: float, as_json: bool, columns: tuple[str, ...], where: tuple[str, ...], meta: str | None, loss_unit: str | None,
    format: str | None, bytes_per_token: float | None, unfinished: bool | None, link: str | None, family: str, context: int,
    brief: bool, report: str | None, more_inputs: tuple[str, ...], **request: Any,
) -> None:  # fmt: skip
    """Which model size and how many tokens for a budget, with bands, cost and caveats."""
    sources = [name for name, given in (("--fit", fit_file), ("--published", key), ("RUNS", runs)) if given]
    if len(sources) != 1:
        raise click.UsageError(
            f"a plan needs one law: --fit FILE, --published KEY, or RUNS with --law ({'none' if not sources else ' and '.join(sources)} given); "
            "further ones go to --also."
        )
    import scaling
    from scaling.planning import plan as make_plan

    source: Any
    if fit_file:
        name, source = fit_file, scaling.load_fit(fit_file)
    elif key:
        source = scaling.published(key)
        name = source.key
    else:
        chosen = scaling.get(law or "chinchilla")
        name = f"{chosen.name}, your runs"
        table = read(
            runs, columns, where, meta, loss_unit, format=format, bytes_per_token=bytes_per_token, unfinished=unfinished,
            target=chosen.target, required=chosen.inputs,
        )  # fmt: skip
        source = fit_law(chosen.name, table, (), objective, fixed_coefs(fixed), resamples, kind, clusters, seed)
    request |= {"flops": list(flops) or None, "count": gpus, "band": band}
    if request["compute"] is None:
        del request["compute"]
    else:
        request["compute"] = _accounting(request["compute"], table if runs else None)
    request["inputs"] = {k: _number(k, v) for k, v in pairs(more_inputs, "--input", "n_experts=8").items()}
    if link is not None:
        request["link"] = _link(link)
    if also:
        _several({name: source} | dict(_law(a) for a in also), request, as_json, report)
        return
    made = make_plan(source, **request)
    write_report(report, made, *([source] if isinstance(source, scaling.FitResult) else []))
    advice = []
    if not brief:
        from scaling.planning.advice import advise

        advice = [advise(made, i, family=family, context=context) for i in range(len(made.steps))]
    if as_json:
        document = made.to_dict()
        for part, a in zip(document.get("plans", [document]), advice, strict=False):
            part["training"] = a.to_dict()
        print_json(document)
        return
    if len(made.steps) == 1 and advice:
        from scaling.planning.page import page

        click.echo(page(made, made.steps[0], advice[0].lines()))
    else:
        click.echo(str(made))
    if runs:
        click.echo(f"\nThe law it stands on, {reading_line(table)}\n\n{source}")


def _several(sources: dict[str, Any], request: dict[str, Any], as_json: bool, report: str | None) -> None:
    from scaling.planning.spread import plan_each

    spread = plan_each(sources, **request)
    write_report(report, spread)
    if as_json:
        print_json(spread.to_dict())
    else:
        click.echo(str(spread))


def _law(name: str) -> tuple[str, Any]:
    """A saved fit or a published law by what was written."""
    import scaling

    if Path(name).suffix == ".json" or Path(name).is_file():
        return name, scaling.load_fit(name)
    found = scaling.published(name)
    return found.key, found


def _accounting(name: str, runs: pd.DataFrame | None) -> Accounting:
    """A way to count FLOPs by name, or the one that the logged FLOPs of the runs follow."""
    from scaling.compute import accounting, logged

    if name.lower() != "logged":
        return accounting(name)
    if runs is None:
        raise click.UsageError("--compute logged reads the FLOPs of RUNS: give the log, not --fit or --published.")
    if runs.attrs["read"]["filled"].get("flops"):
        raise click.UsageError(
            "--compute logged needs a column with the FLOPs of every run: this log has none, or rows without "
            "(name it with --column flops=HEADER, take those rows out)."
        )
    return logged(runs["n_params"], runs["n_tokens"], runs["flops"])


def _number(name: str, value: str) -> float:
    from scaling.quantities import parse_quantity

    return parse_quantity(value, "number", name=f"--input {name}")


def _link(text: str) -> Any:
    """A saved fit, a published law, or a law of the loss with its coefficients: score_sigmoid:floor=0.25,ceiling=1,k=3,L0=2."""
    law_name, sign, values = text.partition(":")
    if not sign or Path(text).is_file():
        return _law(text)[1]
    import scaling
    from scaling.planning.score import link_of

    coefs = pairs([v for v in values.split(",") if v.strip()], "--link", "score_sigmoid:floor=0.25,ceiling=1,k=3,L0=2")
    return link_of(scaling.get(law_name), {k: _number(k, v) for k, v in coefs.items()})
