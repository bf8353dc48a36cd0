"""What the app does, the sample already fitted, and the way to each page."""

import cache
import inputs
import streamlit as st

from scaling import charts
from scaling.planning import plan

st.title("Scaling laws from your training runs")
st.write(
    "Fit a law to logged runs, see how sure each number is, and turn it into a plan: which model size and how many tokens for this compute, money or time."
)
left, right = st.columns([3, 2])
with inputs.sentences():
    result = cache.fit("chinchilla", inputs.current_runs(), "hoffmann", 300)
with left, inputs.sentences():
    inputs.show_chart(
        charts.fit_chart(result), "start_chart", "Loss against model size, one curve for each compute budget"
    )
with right:
    st.subheader(
        "Fitted to " + inputs.escape(", ".join(name for name, _ in inputs.files_in_use("runs", "ladder/runs.csv")))
    )
    inputs.show_table(result.coef_table()[["coef", "estimate", "low", "high"]])
    with inputs.sentences():
        budget = 10 * result.domain["flops"][1]
        st.write(
            inputs.escape(str(plan(result, flops=budget)).splitlines()[0])
            + " That is ten times the largest run's compute."
        )
for page, label, words in (
    ("runs", "Runs", "upload your logs and see what was understood"), ("fit", "Fit", "laws side by side, with bands and residuals"),
    ("plan", "Plan", "budget to model size, tokens, loss, cost"), ("descent", "Double descent", "is there a peak, and where"),
    ("emergence", "Emergence", "when a score rises, and whether it is sudden"), ("grokking", "Grokking", "delay between memorising and generalising"),
    ("batch", "Batch", "results of a nightly refit"), ("library", "Library", "every law, published coefficients, accelerators"),
):  # fmt: skip
    st.page_link(f"views/{page}.py", label=f"**{label}**: {words}")
