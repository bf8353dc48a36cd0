"""Double descent: is there a peak, where, and which side is better?"""

import analysis
import inputs
import streamlit as st

from scaling import charts

files, table = analysis.page(
    "Double descent",
    "descent",
    "double_descent/width.csv",
    "Test error that falls, rises to a peak where the model just fits its training set, and falls again: along size, training time or samples. Is there such a peak, where, and which side of it is better?",
)
one, two = st.columns(2)
with one:
    axis = analysis.column(
        "Axis", table, ("width", "n_params", "epoch", "n_samples"), "descent_axis", "Size, epochs or samples."
    )
with two:
    value = analysis.column(
        "Error",
        table,
        ("test_loss", "test_error", "loss"),
        "descent_value",
        "Test error or loss: the lower the better.",
    )
where = analysis.keep(table, "descent", {"ridge": "0.0", "label_noise": "0.1"})
result = analysis.show(
    "double_descent", files, {"axis": axis, "value": value}, charts.descent_chart, lambda r: r.points, where
)
st.caption("Curves compared: the lower the AICc the better; weight is the share of the evidence.")
inputs.show_table(result.models)
st.caption("Points: mean over repeats, its interval from the noise, and what the best curve expects.")
inputs.show_table(result.points)
