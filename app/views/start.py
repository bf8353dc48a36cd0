"""What the app does, the sample already fitted, and the way to each page."""

import streamlit as st

st.title("Scaling laws from your training runs")
st.write(
    "Fit a law to logged runs, see how sure each number is, and turn it into a plan: which model size and how many tokens for this compute, money or time."
)

# loaded after the first words are shown: two seconds on a small machine
import cache  # noqa: E402
import inputs  # noqa: E402

import scaling  # noqa: E402
from scaling import charts  # noqa: E402
from scaling.planning import plan  # noqa: E402

inputs.upload("runs", "ladder/runs.csv")
names = inputs.escape(", ".join(name for name, _ in inputs.files_in_use("runs", "ladder/runs.csv")))
try:
    result = cache.fit("chinchilla", inputs.current_runs(), "robust", 300)
    budget = 10 * result.domain["flops"][1]
    answer = str(plan(result, flops=budget)).splitlines()[0]
    drawn = charts.fit_chart(result)
except scaling.ScalingError as error:  # the ways onward below stay open
    st.warning(f"{names}: {inputs.sentence(error)} See the pages Runs and Fit.")
else:
    left, right = st.columns([3, 2])
    with left:
        inputs.show_chart(
            drawn, "start_chart", "Loss against model size, one curve for each compute budget", table=result.run_table()
        )
    with right:
        st.subheader("Fitted to " + names)
        inputs.show_table(result.coef_table()[["coef", "estimate", "low", "high", "meaning"]])
        st.write(
            inputs.escape(f"With ten times the largest run's compute, {scaling.format_quantity(budget, 'flops')}:")
        )
        st.success(inputs.escape(answer))
for page, label, words in (
    ("runs", "Runs", "your logs, and what was understood"), ("fit", "Fit", "laws with bands and residuals"),
    ("plan", "Plan", "budget to size, tokens, loss, cost"), ("descent", "Double descent", "is there a peak, and where"),
    ("emergence", "Emergence", "when a score rises, how suddenly"), ("grokking", "Grokking", "late generalisation"),
    ("batch", "Batch", "results of nightly refits"), ("library", "Library", "laws, coefficients, accelerators"),
):  # fmt: skip
    st.page_link(f"views/{page}.py", label=f"**{label}**: {words}", icon=":material/arrow_forward:")
