"""Emergence: when does a score rise with scale, and is it sudden?"""

import analysis
import inputs
import streamlit as st

from scaling import charts

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
result = analysis.show(
    "emergence",
    files,
    {"x": x, "score": score, "n_items": items, "floor": chance, "n_draws": 100},
    charts.emergence_chart,
)
st.caption(inputs.escape(result.reason))
inputs.show_table(result.models)
inputs.show_table(result.points)
