"""From a budget to model size, tokens, loss and cost, under the user's fit and published laws side by side."""

from dataclasses import replace

import cache
import inputs
import pandas as pd
import request
import show
import streamlit as st
import uploads
import words

import scaling
from scaling import charts
from scaling.fitting import FitResult
from scaling.planning import advise, plan, plan_each
from scaling.sections import Section, section
from scaling.training import trade_off

FRONTIER, EQUAL, SIZES, TRAINING, SENSITIVITY, NEXT = (
    "Frontier", "Equal loss", "Smaller or larger", "Shape, memory, settings", "If MFU or price differ", "Which runs next",
)  # fmt: skip

st.title("Plan")
one, two = st.columns([3, 2])
sources = one.multiselect(
    "Laws",
    [inputs.OWN, *inputs.published_laws()],
    default=[inputs.OWN],
    key="sources",
    bind="query-params",
    help="Your fit is the one of the page Fit; published laws stand beside it. With several, their average is planned too.",
)
level = two.select_slider(
    "Level of the bands", [0.5, 0.8, 0.9, 0.95], 0.8, key="band", bind="query-params",
    help="A band of 0.8 should hold the true value in 80 of 100 cases, if the law is right.",
)  # fmt: skip
runs = inputs.current_runs()
if inputs.OWN in sources:
    inputs.own_fit(runs)
asked = request.budget(runs) | request.constraints()
asked = {k: v for k, v in asked.items() if v is not None}
if not sources:
    st.info("Choose a law.")
    words.stop()
with words.sentences():
    if "score" in asked:
        asked["link"] = cache.score_link(uploads.files_in_use("emergence", "emergence/addition.csv"))
    laws = {name: inputs.law_in_use(name) for name in sources}
    if len(laws) == 1:
        (name,) = laws
        made, spread = plan(laws[name], band=level, **asked), None
    else:
        spread = plan_each(laws, band=level, **asked)
        name = next(iter(spread.plans))
        made = spread.plans[name]
(step,) = made.steps
(st.success if step.determined else st.warning)(words.escape(str(made).splitlines()[0]))


def metric(column, label: str, band, kind: str, help: str, digits: int = 3) -> None:
    """A number with its band below it."""
    span = None
    if band.low is not None:
        span = " to ".join(scaling.format_quantity(v, kind, digits=digits) for v in (band.low, band.high))
    column.metric(
        label,
        scaling.format_quantity(band.estimate, kind, digits=digits),
        span,
        delta_color="off",
        delta_arrow="off",
        help=help,
    )


answers = st.columns(5 if step.score is not None else 4)
metric(answers[0], "Model size", step.n_params, "params", "Parameters of the model, N; below it the band.")
metric(answers[1], "Training tokens", step.n_tokens, "tokens", "Tokens seen in training, D, repeats included.")
metric(
    answers[2],
    "Tokens per parameter",
    step.tokens_per_param,
    "count",
    "D / N: about 20 is called Chinchilla-optimal; models that serve many users train longer.",
)
metric(
    answers[3],
    f"Loss [{made.loss_unit}]",
    step.loss,
    "loss",
    "What the law expects on held-out text at the end of training.",
    4,
)
if step.score is not None:
    metric(answers[4], "Score", step.score, "fraction", "By the evaluations of the page Emergence.")
if step.hardware:
    h = step.hardware
    cost = st.columns(4)
    cost[0].metric("Accelerator-hours", scaling.format_quantity(h.gpu_hours))
    cost[1].metric(
        "Days", f"{h.days:.3g}", f"on {h.count:,} at {h.mfu:.0%} of peak", delta_color="off", delta_arrow="off"
    )
    if h.usd is not None:
        cost[2].metric("Money", scaling.format_quantity(h.usd, "usd"), f"at ${h.usd_per_hour:.2f} an hour", delta_color="off", delta_arrow="off")  # fmt: skip
    if h.kwh is not None:
        cost[3].metric("Energy", f"{h.kwh / 1000:,.3g} MWh")
binding = [b for b in (step.budget, *step.binding) if b]
st.write("What binds: " + words.escape(", ".join(binding) if binding else "nothing") + ".")
prices = [p for p in step.prices if p.binds]
if prices:
    show.table(
        pd.DataFrame(
            [(p.name, scaling.format_quantity(p.limit), p.unit, f"{p.loss_per_tenth:+.4f}") for p in prices],
            columns=["limit", "now", "unit", "change of the loss for a tenth more"],
        )
    )  # fmt: skip
for warning in step.warnings:
    st.warning(words.sentence(warning.message))
for caveat in made.caveats:
    st.caption(words.sentence(caveat))
if spread:
    st.subheader("Side by side")
    beside = spread.table()
    show.table(beside)
    for refused, why in spread.refused.items():
        st.warning(words.escape(f"{refused}: {why}"))
else:
    beside = made.table().assign(law=name)

views = [FRONTIER, EQUAL, SIZES, TRAINING, SENSITIVITY, *([NEXT] if name == inputs.OWN else [])]
view = (
    st.segmented_control(
        "Show", views, default=FRONTIER, key="view", bind="query-params", help="What is drawn below of this plan."
    )
    or FRONTIER
)
law = laws[name]
drawn: list[Section] = []  # of the report, beside the plan itself
train_flops = 6 * step.n_params.estimate * step.n_tokens.estimate
with words.sentences():
    if view == FRONTIER:
        best = charts.frontier_of(made)
        picture = charts.frontier(best, made.allocation.fitted if name == inputs.OWN else None, level)
        show.chart(picture, "frontier", "Best model size and tokens against compute", rows=best.table(level))
    elif view == EQUAL:
        picture = charts.contour_chart(law, train_flops, unit=made.loss_unit)
        drawn.append(Section(EQUAL, charts=(picture,)))
        show.chart(picture, "contours", "Lines of equal loss over model size and tokens, with the budget")
    elif view == SIZES:
        exchange = trade_off(law, train_flops, inference_tokens=asked.get("inference_tokens", 0.0))
        picture = charts.trade_off_chart(exchange, level)
        drawn.append(Section(SIZES, charts=(picture,), tables=((SIZES, exchange.table(level)),)))
        show.chart(picture, "sizes", "Loss and compute of models smaller and larger than the best", rows=exchange.table(level))  # fmt: skip
        show.table(exchange.table(level))
    elif view == TRAINING:
        advice = "\n".join(advise(made).lines())
        st.code(advice, language=None, wrap_lines=True)
        drawn.append(Section(TRAINING, text=advice))
    elif view == SENSITIVITY:
        if step.hardware is None:
            st.info("Choose an accelerator above: then time and money depend on these.")
        else:
            rows = []
            for mfu in (0.3, 0.35, 0.4, 0.45, 0.5):
                for share in (0.8, 1.0, 1.2):
                    price = None if step.hardware.usd_per_hour is None else share * step.hardware.usd_per_hour
                    if price is None and share != 1.0:
                        continue
                    varied = plan(law, band=level, **asked | {"mfu": mfu, "usd_per_hour": price})
                    rows.append(varied.table().assign(mfu=f"{mfu:.0%}", usd_per_hour=price))
            table = pd.concat(rows, ignore_index=True)
            table = table[["mfu", "usd_per_hour", "n_params", "n_tokens", "loss", "gpu_hours", "days", "usd", "kwh"]]
            show.table(table)
            drawn.append(Section(SENSITIVITY, tables=((SENSITIVITY, table),)))
    else:
        spend = inputs.quantity("Compute for further runs [FLOPs]", "flops", "spend", f"{float(runs['flops'].sum()) if 'flops' in runs else 1e19:.1e}".replace("e+", "e"), "As much again as all runs so far, unless you say otherwise.")  # fmt: skip
        of = st.selectbox(
            "Narrow the band of",
            ["n_params", "tokens_per_param", "loss"],
            key="narrow",
            bind="query-params",
            help="The runs are chosen so that this number of the plan becomes as sure as the compute allows.",
        )
        if spend is not None:
            design = cache.design(law, train_flops, spend, of)
            st.write(words.escape(design.finding))
            picture = charts.design_chart(design, law)
            drawn.append(replace(section(design), charts=(picture,)))
            show.chart(picture, "next", "Runs done, runs to do next, and the best runs up to the budget")
            show.table(design.runs)
            show.downloads("design", design.runs, design.to_dict())
show.downloads(
    "plan", beside, made.to_dict() if spread is None else spread.to_dict(),
    report=lambda: [spread or made, *drawn, *(fit for fit in laws.values() if isinstance(fit, FitResult))],
)  # fmt: skip
