"""What the app does, the sample already fitted, and the way to each page."""

from __future__ import annotations

from typing import Any

import show
import streamlit as st
import summary
import uploads
import words

from scaling.errors import ScalingError

st.title("Scaling laws from your training runs")
st.write(
    "Fit a law to logged runs, see how sure each number is, and turn it into a plan: which model size and how many tokens for this compute, money or time."
)


def fitted() -> Any:
    """The fit of the visitor's own runs."""
    import cache
    import inputs

    return cache.fit(summary.LAW, inputs.current_runs(), summary.OBJECTIVE, summary.RESAMPLES)


def drawing(result: Any) -> Any:
    """The chart of a fit."""
    from scaling.charts import fit_chart

    return fit_chart(result)


def planned(result: Any) -> Any:
    """The plan at ten times the compute."""
    import scaling

    return scaling.plan(result, flops=summary.budget(result))


files = uploads.upload("runs", uploads.RUNS)
names = words.escape(", ".join(name for name, _ in files))
try:
    if uploads.untouched():  # what is known of the sample needs no library
        of, said = summary.sample_fit, summary.shipped()
    else:
        own = fitted()
        of, said = lambda: own, summary.summary(own)
except ScalingError as error:  # the ways onward below stay open
    st.warning(f"{names}: {words.sentence(error)} See the pages Runs and Fit.")
else:
    left, right = st.columns([3, 2])
    with left:
        show.heading(said["title"], said["subtitle"])
        st.vega_lite_chart(
            spec=said["chart"],
            key="start_chart",
            alt=f"Loss against model size, one curve for each compute budget. {said['title']}",
        )
        show.chart_files("start_chart", lambda: drawing(of()), lambda: of().run_table())
    with right:
        st.subheader("Fitted to " + names)
        head, *rows = (" | ".join(map(words.escape, row)) for row in said["table"])
        st.markdown("\n".join([f"| {head} |", "| --- | ---: | ---: | ---: | --- |", *(f"| {row} |" for row in rows)]))
        st.write(words.escape(said["question"]))
        st.success(words.escape(said["answer"]))
        show.downloads("start", document=lambda: of().to_dict(), report=lambda: (planned(of()), of()))
for page, label, about in (
    ("runs", "Runs", "your logs, and what was understood"), ("fit", "Fit", "laws with bands and residuals"),
    ("plan", "Plan", "budget to size, tokens, loss, cost"), ("descent", "Double descent", "is there a peak, and where"),
    ("emergence", "Emergence", "when a score rises, how suddenly"), ("grokking", "Grokking", "late generalisation"),
    ("batch", "Batch", "results of nightly refits"), ("library", "Library", "laws, coefficients, accelerators"),
):  # fmt: skip
    st.page_link(f"views/{page}.py", label=f"**{label}**: {about}", icon=":material/arrow_forward:")
