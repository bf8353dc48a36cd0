"""`scaling emergence`."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import click

from scaling.commands.columns import check_columns, choose, in_options, shares
from scaling.commands.shared import (
    Progress,
    chart_option,
    json_option,
    print_json,
    report_option,
    seed_option,
    show,
    table_of,
    where_option,
    write_report,
)

if TYPE_CHECKING:
    from scaling.capability import Budget
    from scaling.curves.emergence import Emergence

LEVEL = 0.9
N_BUDGETS = 97
SPELLED = {
    "n_items must": "--items must",
    "ceiling must lie above the floor": "--ceiling must lie above --chance",
    "Drop these rows, or pass log_x=False": "Leave these rows out with --where, or name another scale with --x",
}


@click.command()
@click.argument("evals", nargs=-1, metavar="EVALS...")
@click.option("--x", default="flops", show_default=True, metavar="COLUMN", help="Scale: compute, size or loss.")
@click.option("--score", default="score", show_default=True, metavar="COLUMN", help="Share of items solved.")
@click.option("--items", metavar="COLUMN|N", help="Items behind each score; without it the scatter is estimated.")
@click.option(
    "--chance", default=0.0, show_default=True, type=click.FloatRange(0, 1, max_open=True), help="Score of guessing."
)
@click.option(
    "--ceiling", type=click.FloatRange(0, 1, min_open=True), help="Highest score possible; default: estimated."
)
@click.option("--parts", metavar="COLUMN", help="Rate of right tokens or digits: does the metric make it sudden?")
@click.option(
    "--parts-per-item",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="Tokens of an item.",
)
@click.option("--by", metavar="COLUMN", help="Families of models: does one curve serve them all?")
@click.option(
    "--reach",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="S",
    help="Where this score is reached.",
)
@click.option(
    "--fit", "fit_file", metavar="FILE", help="With --x loss: a saved law of the loss, which gives the budget."
)
@click.option("--published", "key", metavar="KEY", help="With --x loss: or a published one.")
@where_option
@seed_option
@chart_option
@report_option
@json_option
def emergence(
    evals: tuple[str, ...],
    x: str,
    score: str,
    items: str | None,
    chance: float,
    ceiling: float | None,
    parts: str | None,
    parts_per_item: float,
    by: str | None,
    reach: float | None,
    fit_file: str | None,
    key: str | None,
    where: tuple[str, ...],
    seed: int,
    as_json: bool,
    chart: str | None,
    report: str | None,
) -> None:
    """When does a score rise with scale, is it sudden, and which budget reaches it?"""
    from scaling.curves.emergence import emergence as analyse
    from scaling.curves.mirage import mirage, one_curve
    from scaling.progress import Bar

    if fit_file and key:
        raise click.UsageError("the law of the loss is --fit or --published, not both.")
    if (fit_file or key) and reach is None:
        raise click.UsageError("a law of the loss says which budget reaches a score: name it with --reach, e.g. 0.5.")
    if (fit_file or key) and "loss" not in x.lower():
        raise click.UsageError(
            f"a law of the loss needs the scores over a loss, not over {x!r}: name its column with --x."
        )
    if parts and items is None:
        raise click.UsageError("--parts needs the number of test items: --items.")
    count = int(items) if items is not None and items.isdigit() else items
    table = table_of(evals, where)
    other = [c for c in shares(table) if c != x]
    check_columns(
        table,
        {
            "--score": score,
            "--x": x,
            "--items": count if isinstance(count, str) else None,
            "--parts": parts,
            "--by": by,
        },
        {"--score": other, "--parts": [c for c in other if c != score]},
    )
    more: dict[str, Any] = {}
    hints = {
        f"column {score!r} h": "" if score in other else choose("--score", other),
        f"column {parts!r} h": "" if parts in other else choose("--parts", [c for c in other if c != score]),
        "groups with at least": "Name the column of the families of models with --by, or leave it away.",
    }
    with in_options(SPELLED, hints), Progress("analysing") as progress:
        of_score, of_parts, of_groups = Bar(progress).parts(1, 2 if parts else 0, 1 if by else 0)
        found = analyse(
            table, x=x, score=score, n_items=count, floor=chance, ceiling=ceiling, rng=seed, progress=of_score
        )
        if parts and count is not None:
            more["mirage"] = mirage(
                table, x=x, exact=score, per_token=parts, n_items=count, n_tokens_per_item=parts_per_item, rng=seed,
                progress=of_parts,
            )  # fmt: skip
        if by:
            more["one_curve"] = one_curve(
                table, by=by, x=x, score=score, n_items=count, floor=chance, ceiling=ceiling, rng=seed,
                progress=of_groups,
            )  # fmt: skip
    write_report(report, found, *more.values())
    budget = _budget(found, reach, fit_file, key, seed) if reach is not None and (fit_file or key) else None
    if as_json:
        document = found.to_dict()
        if "mirage" in more:
            document["mirage"] = more["mirage"].to_dict()
        if "one_curve" in more:
            same = more["one_curve"]
            document["one_curve"] = {"finding": same.finding, "by": by, "p_value": same.p_value}
        if reach is not None:
            document["reaches"] = {"score": reach, **found.reaches(reach, level=LEVEL).to_dict()}
        if budget is not None:
            document["budget"] = _plain(budget)
        print_json(document)
        _draw(found, chart)
        return
    show(found, False, chart, "emergence_chart")
    for result in more.values():
        click.echo("\n" + result.finding)
    if budget is not None:
        click.echo(f"\nUnder {key or fit_file}, trained compute-optimally, {budget}")
        click.echo("The law's loss and the column of losses must be of the same text and tokenizer.")
    elif reach is not None:
        place = found.reaches(reach, level=LEVEL)
        if not isfinite(place.estimate):
            click.echo(f"\nA score of {reach:g} is not reached by the curves that these scores speak for.")
            return
        click.echo(
            f"\nA score of {reach:g} is reached at {x} = {place.estimate:.3g} ({LEVEL:.0%}: {place.low:.3g} to {place.high:.3g})."
        )


def _budget(found: Emergence, score: float, fit_file: str | None, key: str | None, seed: int) -> Budget:
    """The compute-optimal budget at which the score is expected, with the doubt of both steps."""
    import numpy as np

    from scaling.capability import score_along
    from scaling.fitting import load_fit
    from scaling.laws.published import published

    law: Any = load_fit(fit_file) if fit_file else published(str(key))
    domain = dict(law.domain)
    ends = [domain.get(c) for c in ("n_params", "n_tokens")]
    known = [e for e in ends if e is not None and np.isfinite(e).all()]
    low, high = (6 * known[0][k] * known[1][k] for k in (0, 1)) if len(known) == 2 else (1e17, 1e24)
    budgets = np.geomspace(low / 10, high * 1e6, N_BUDGETS)
    return score_along(law, found, flops=budgets, level=LEVEL, rng=seed).reaches(score)


def _plain(budget: Budget) -> dict[str, float | None]:
    from dataclasses import asdict

    return {k: float(v) if isfinite(v) else None for k, v in asdict(budget).items()}


def _draw(found: Emergence, chart: str | None) -> None:
    from scaling import charts

    if chart is not None:
        charts.save(charts.emergence_chart(found), chart)
