"""What a report says of each kind of result: a heading, its finding, charts, tables, and what to beware of."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import singledispatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from scaling import charts
from scaling.approaches import Envelope, IsoFlop
from scaling.capability import Capability
from scaling.curves.double_descent import DoubleDescent
from scaling.curves.emergence import Emergence
from scaling.curves.grokking import DelayLaw, Grokking
from scaling.curves.mirage import Mirage, OneCurve
from scaling.designing import Design, Ladder
from scaling.errors import FitError, ScalingError
from scaling.fitting.result import FitResult
from scaling.laws.law import Law
from scaling.planning import Plan, Spread
from scaling.selection import Comparison

if TYPE_CHECKING:
    import altair as alt

MOST_ROWS = 1000  # of a table in a report
MOST_DRIFTS = 12  # charts of coefficients over time


@dataclass(frozen=True)
class Section:
    """A part of a report.

    heading, finding : text. equation : of a law, as text. charts : Altair charts. tables : pairs of caption and table.
    text : lines kept as they are. warnings, notes : sentences.
    """

    heading: str
    finding: str = ""
    equation: str = ""
    charts: tuple[alt.TopLevelMixin, ...] = ()
    tables: tuple[tuple[str, pd.DataFrame], ...] = ()
    text: str = ""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@singledispatch
def section(part: Any) -> Section:
    """The section of a result: a fit, a plan, plans side by side, an analysis of curves, a comparison, runs, a law, or the
    directory of a refit store (a `Path`). A Section is taken as it stands.

    Raises ScalingError for anything else.
    """
    raise ScalingError(
        f"a report has no section for {type(part).__name__}: give results of the package, runs, or a Section."
    )


@section.register
def _(part: Section) -> Section:
    return part


@section.register
def _(result: FitResult) -> Section:
    law, point = result.law, result.point
    if point.shape:
        return Section(
            law.title,
            f"{int(point.converged.sum())} of {point.converged.size} groups converged.",
            law.equation,
            tables=(("Coefficients of each group", result.fit_table()),),
            notes=(f"Source: {law.source}",),
        )
    drawn = []
    if point.runs is not None:
        for draw in (charts.fit_chart, charts.exponents_chart, charts.residual_chart):
            try:
                drawn.append(draw(result))
            except FitError:  # a law with one exponent, or no resamples: nothing to show
                continue
    return Section(
        law.title,
        f"{point.status}: {point.message}",
        law.equation,
        charts=tuple(drawn),
        tables=(("Coefficients", result.coef_table()),),
        warnings=tuple(w.message for w in point.warnings),
        notes=(f"Source: {law.source}",),
    )


@section.register
def _(plan: Plan) -> Section:
    answer, *rest = str(plan).splitlines()
    drawn: tuple[alt.TopLevelMixin, ...] = ()
    with suppress(ScalingError):  # a law with no best size at a budget alone has no frontier to draw
        drawn = (charts.plan_chart(plan),)
    return Section(answer, charts=drawn, tables=(("Plan", plan.table()),), text="\n".join(rest).strip("\n"))


@section.register
def _(spread: Spread) -> Section:
    answer, *rest = str(spread).splitlines()
    return Section(
        answer,
        tables=(("Side by side", spread.table()),),
        text="\n".join(rest).strip("\n"),
        warnings=tuple(f"{name}: {why}" for name, why in spread.refused.items()),
    )


@section.register
def _(result: Comparison) -> Section:
    return Section(
        "Which law extrapolates best?",
        result.finding,
        charts=(charts.compare_chart(result),),
        tables=(
            ("Laws, best first", result.table()),
            ("Held-out largest scales, cutoff by cutoff", result.cutoff_table()),
        ),
        notes=(*(f"{s.name}: {note}" for s in result.scores for note in s.notes), *result.notes),
    )


@section.register
def _(result: IsoFlop) -> Section:
    return Section(
        "Best size of each budget",
        result.finding,
        charts=(charts.isoflop_page(result),),
        tables=(("Coefficients", result.coef_table()), ("Budgets", result.budget_table())),
        warnings=tuple(w.message for w in result.warnings),
    )


@section.register
def _(result: Envelope) -> Section:
    return Section(
        "Envelope of training curves",
        result.finding,
        charts=(charts.envelope_chart(result),),
        tables=(("Coefficients", result.coef_table()), ("Frontier", result.frontier_table())),
        warnings=tuple(w.message for w in result.warnings),
    )


@section.register
def _(made: Ladder) -> Section:
    if made.design is None:
        return Section("Which runs next", made.message)
    return replace(section(made.design), finding=made.message)


@section.register
def _(made: Design) -> Section:
    return Section(
        "Which runs next",
        made.finding,
        tables=(("Runs", made.runs),),
        warnings=tuple(c.message for c in made.caveats),
    )


@section.register
def _(result: DoubleDescent) -> Section:
    return Section(
        "Double descent",
        result.finding,
        charts=(charts.descent_chart(result),),
        tables=(("Curves compared", result.models), ("Points", result.points)),
        warnings=result.warnings,
    )


@section.register
def _(result: Emergence) -> Section:
    return Section(
        "Emergence",
        result.finding,
        charts=(charts.emergence_chart(result),),
        tables=(("Curves compared", result.models), ("Scores", result.points)),
        warnings=result.warnings,
        notes=(result.reason,),
    )


@section.register
def _(result: Mirage) -> Section:
    return Section("The answer and its parts", result.finding, tables=(("Scores", result.table),))


@section.register
def _(result: OneCurve) -> Section:
    return Section(f"One curve for each {result.by}?", result.finding, tables=(("Scores", result.table),))


@section.register
def _(law: DelayLaw) -> Section:
    return Section("Law of the delay", law.finding, tables=(("Laws compared", law.models), ("Coefficients", law.coefs)))


@section.register
def _(result: Grokking) -> Section:
    return Section(
        "Grokking",
        result.finding,
        charts=(charts.grokking_chart(result),),
        tables=(("Runs", result.runs), ("Share not yet generalised, by step", result.survival)),
        warnings=result.warnings,
    )


@section.register
def _(result: Capability) -> Section:
    return Section(
        "Score along the frontier",
        result.finding,
        charts=(charts.capability_chart(result),),
        tables=(("Forecast", result.table()),),
        warnings=result.warnings,
    )


@section.register
def _(runs: pd.DataFrame) -> Section:
    from scaling.logs import check_runs, describe_read

    read = runs.attrs.get("read")
    plane = {"n_params", "n_tokens", "loss"} <= set(runs)
    return Section(
        "What was read" if read else "Runs",
        charts=(charts.runs_chart(runs, read["loss_unit"] if read else "nats"),) if plane else (),
        tables=(("Runs", runs),),
        text=describe_read(runs) if read else "",
        warnings=() if read else tuple(p["message"] for p in check_runs(runs)),  # the text of what was read holds them
    )


@section.register
def _(law: Law) -> Section:
    from scaling.laws.published import PUBLISHED

    coefs = pd.DataFrame([(c.name, c.meaning) for c in law.coefs], columns=["coefficient", "meaning"])
    tables = [("Coefficients", coefs)]
    sets = {k: e for k, e in PUBLISHED.items() if e.law.name == law.name}
    drawn: tuple[alt.TopLevelMixin, ...] = ()
    if sets:
        tables.append(("Published coefficients", published_table(law)))
        if set(law.inputs) == {"n_params", "n_tokens"} and law.target == "loss":
            drawn = (charts.ratio_chart(sets),)
    return Section(
        law.title, f"Holds for {law.domain}.", law.equation, drawn, tuple(tables), notes=(f"Source: {law.source}",)
    )


def published_table(law: Law) -> pd.DataFrame:
    """Published sets of coefficients of a law, one row each: key, title, coefficients, what N counts, source, how sure
    the numbers are. No row where none is known."""
    from scaling.laws.published import PUBLISHED

    return pd.DataFrame(
        [
            {"key": e.key, "title": e.title} | dict(zip(law.coef_names, e.theta, strict=True))
            | {"N counts": e.n_counts, "source": e.source, "numbers": e.status}
            for e in PUBLISHED.values()
            if e.law.name == law.name
        ]
    )  # fmt: skip


@section.register
def _(store: Path) -> Section:
    from scaling import refitting

    drift = refitting.drift(store)
    drawn, left = [], 0
    if not drift.empty:
        by = ["law", "group", "coef"]
        for i, ((_, _, coef), rows) in enumerate(drift.groupby(by, sort=False)):
            if i < MOST_DRIFTS:
                drawn.append(charts.drift_chart(rows, str(coef)))
            else:
                left += 1
    tables = [
        ("State of each group", refitting.status(store)),
        ("Refits", refitting.history(store)),
        ("Coefficients over time", drift),
    ]
    if int((refitting.history(store)["finished"] != "").sum()) > 1:
        tables.append(("What the last refit changed", refitting.changed(store)))
    return Section(
        "Refit store",
        charts=tuple(drawn),
        tables=tuple(tables),
        notes=(f"{left} more coefficients over time stand in the table and are not drawn.",) if left else (),
    )
