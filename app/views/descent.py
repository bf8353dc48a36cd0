"""Double descent: is there a peak, where, and which side is better?"""

import analysis
import inputs
import streamlit as st

from scaling import charts

files, table = analysis.page(
    "Double descent",
    "descent",
    "double_descent/width.csv",
    "Test error that rises and falls again along size, training time or samples: tested, located and measured.",
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
result = analysis.show("double_descent", files, {"axis": axis, "value": value}, charts.descent_chart, where)
inputs.show_table(result.models)
inputs.show_table(result.points)
