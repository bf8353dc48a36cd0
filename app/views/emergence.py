"""Emergence: when does a score rise with scale, and is it sudden?"""

from typing import Any

import analysis
import cache
import inputs
import numpy as np
import pandas as pd
import show
import streamlit as st
import words

import scaling
from scaling import charts
from scaling.sections import Section

PARTS = ("per_token", "per_digit", "token_accuracy")  # rates of right parts of an answer
CONTINUOUS = ("log_prob", "logprob", "brier", "brier_score", *PARTS, "loss")  # the first that is there is drawn

files, table = analysis.page(
    "Emergence",
    "emergence",
    "emergence/addition.csv",
    "Scores against scale, with binomial errors: place and width of the rise, and whether 'sudden' stands up to the evidence.",
)
columns = st.columns(4)
with columns[0]:
    x = analysis.column(
        "Scale", table, ("flops", "n_params", "loss"), "emergence_x", "Compute, model size, tokens or loss."
    )
with columns[1]:
    score = analysis.column(
        "Score", table, ("score", "exact_match", "accuracy"), "emergence_score", "Share of items solved, 0 to 1."
    )
with columns[2]:
    items = analysis.column(
        "Items", table, ("n_items",), "emergence_items", "How many test items stand behind each score."
    )
with columns[3]:
    chance = st.number_input(
        "Chance", 0.0, 0.99, 0.0, 0.01, key="chance", help="Score of guessing.", bind="query-params"
    )
result = analysis.present(
    "emergence",
    files,
    {"x": x, "score": score, "n_items": items, "floor": chance, "n_draws": 100},
    charts.emergence_chart,
    lambda r: r.points,
    report=False,
)
st.caption(words.sentence(result.reason))
parts: list[Any] = [result]  # of the report
continuous = analysis.optional(
    "Continuous score", [str(c) for c in table if pd.api.types.is_numeric_dtype(table[c]) and c not in (x, score, items)],
    next((c for c in CONTINUOUS if c in table and c not in (x, score)), None), "emergence_continuous",
    "Log-probability of the right answer, Brier score, or the rate of right tokens or digits: where it moves smoothly while the score jumps, the jump belongs to the metric.",
)  # fmt: skip
if continuous:
    with words.sentences():
        beside = charts.continuous_chart(table, x, continuous, result.log_x)
        parts.append(Section(continuous, charts=(beside,)))
        show.chart(beside, "continuous_chart", f"{continuous} against {x}", rows=table[[x, continuous]])
        if continuous in PARTS:
            whole = cache.parts(
                cache.content_key(files),
                (("exact", score), ("n_draws", 100), ("n_items", items), ("per_token", continuous), ("x", x)), files,
            )  # fmt: skip
            st.write(words.sentence(whole.finding))
            parts.append(whole)
st.caption("Curves compared: the lower the AICc the better; weight is the share of the evidence.")
show.table(result.models)
st.caption("Scores: exact interval of each, what the best curve expects, and whether it lies inside the rise.")
show.table(result.points)
show.downloads("emergence_page", report=lambda: parts)

if "loss" in table and x != "loss":
    st.subheader("Forecast along the frontier")
    st.caption(
        "Scale to loss by a law, loss to score by these rows: which score a budget buys at its best model. Both must speak of the same loss."
    )
    one, two = st.columns([3, 2])
    law = one.selectbox(
        "Law of the loss", [inputs.OWN, *inputs.published_laws()], key="forecast_law", bind="query-params",
        help="Your fit is the one of the page Fit.",
    )  # fmt: skip
    if law == inputs.OWN:
        inputs.own_fit(inputs.current_runs())
        if "files_runs" not in st.session_state or "files_emergence" not in st.session_state:
            st.warning(
                "The sample runs and the sample scores come from different tasks, and their losses cannot be compared: "
                "until both are yours, this forecast only shows what the page does."
            )
    with two:
        wanted = inputs.quantity(
            "Score to reach", "fraction", "wanted", "50%", "The least budget that reaches it is found."
        )
    with words.sentences():
        link = cache.analyse(
            "emergence", cache.content_key(files),
            (("floor", chance), ("n_draws", 100), ("n_items", items), ("score", score), ("x", "loss")), files,
        )  # fmt: skip
        source = inputs.law_in_use(law)
        largest = source.domain["flops"][1] if source.domain.get("flops") else float(table[x].max())
        along = scaling.score_along(scaling.allocate(source, np.geomspace(largest / 1e3, largest * 1e3, 25)), link)
        picture = charts.capability_chart(along)
        show.chart(picture, "forecast", along.finding)
        if wanted is not None:
            st.write(words.sentence(str(along.reaches(wanted))))
    for warning in along.warnings:
        st.warning(words.sentence(warning))
    show.downloads(
        "forecast", along.table(), along.to_dict(), lambda: [along, *([source] if law == inputs.OWN else [])]
    )
