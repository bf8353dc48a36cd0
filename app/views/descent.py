"""Double descent: is there a peak, where, and which side is better?"""

import analysis
import pandas as pd
import show
import streamlit as st
import words

from scaling import charts

files, table = analysis.page(
    "Double descent",
    "descent",
    "double_descent/width.csv",
    "Test error that falls, rises to a peak where the model just fits its training set, and falls again: along size, training time or samples. Is there such a peak, where, and which side of it is better?",
)
one, two, three = st.columns(3)
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
trained = [
    str(c)
    for c in table
    if "train" in str(c).lower() and c not in (axis, value) and pd.api.types.is_numeric_dtype(table[c])
]
trained = [c for c in trained if any(part in c.lower() for part in ("loss", "err", "acc"))]
with three:
    train = analysis.optional(
        "Training error", trained, value.replace("test", "train").replace("val", "train"), "descent_train",
        "Drawn beside the test error; where it is fitted is the interpolation threshold, at which the peak is expected.",
    )  # fmt: skip
where = analysis.keep(table, "descent", {"ridge": "0.0", "label_noise": "0.1"})
result = analysis.present(
    "double_descent",
    files,
    {"axis": axis, "value": value} | ({"train": train} if train else {}),
    lambda r: charts.descent_chart(r, analysis.rows(table, where)[[axis, train]] if train else None),
    lambda r: r.points,
    where,
)
if train:
    st.caption(
        "Green: " + words.escape(train) + "; where it falls far below the test error it is drawn at the lower edge."
    )
for note in result.warnings:
    st.caption(words.sentence(note))
st.caption("Curves compared: the lower the AICc the better; weight is the share of the evidence.")
show.table(result.models)
st.caption("Points: mean over repeats, its interval from the noise, and what the best curve expects.")
show.table(result.points)
