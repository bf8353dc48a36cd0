"""Every law with its source, published coefficients, accelerators."""

import pandas as pd
import show
import streamlit as st
import words

from scaling import charts
from scaling.hardware import ACCELERATORS
from scaling.laws import LAWS
from scaling.laws.published import PUBLISHED
from scaling.logs import COLUMNS
from scaling.sections import Section, published_table

st.title("Library")
law = LAWS[
    st.selectbox("Law", list(LAWS), key="law", bind="query-params", help="Formula, meaning and source appear below.")
]
st.subheader(law.title)
st.latex(law.latex)
st.write(words.escape(f"Holds for {law.domain}. Source: {law.source}."))
show.table(
    pd.DataFrame(
        [(c.name, c.meaning.replace("target unit", "the loss's unit")) for c in law.coefs],
        columns=["coefficient", "meaning"],
    )
)
st.subheader("Published coefficients")
sets = {k: e for k, e in PUBLISHED.items() if e.law.name == law.name}
if sets:
    table = published_table(law)
    show.table(table)
    if set(law.inputs) == {"n_params", "n_tokens"} and law.target == "loss":
        picture = charts.ratio_chart(sets)
        show.chart(picture, "ratios", "Best tokens per parameter against compute under each set of coefficients")
    show.downloads("published", table)
else:
    st.write("None are known for this law.")
st.subheader("Accelerators")
chips = pd.DataFrame(
    [
        (a.key, a.bf16 / 1e12, a.fp8 / 1e12 if a.fp8 else None, a.memory / 1e9, a.power, a.usd_per_hour, a.source)
        for a in ACCELERATORS.values()
    ],
    columns=["accelerator", "bf16 [TFLOP/s]", "fp8 [TFLOP/s]", "memory [GB]", "power [W]", "assumed $/h", "source"],
)
show.table(chips)
show.downloads("accelerators", chips)
st.subheader("Words")
meanings = [(c.name, c.meaning, c.unit or "") for c in COLUMNS.values()] + [
    ("tokens per parameter", "training tokens over model size, D / N", ""),
    ("compute-optimal", "the model size and tokens of lowest loss for the same training compute", ""),
    ("isoFLOP profile", "losses of runs of equal compute against model size; its minimum is the best size", ""),
    (
        "irreducible loss E",
        "what remains with infinite size and data: the entropy of the text under the law",
        "as the loss",
    ),
    ("resample", "a refit on runs drawn anew; the spread of many gives the intervals", ""),
    ("confidence interval", "holds the true value in the stated share of repetitions, if the law is right", ""),
    ("MFU", "model FLOPs utilisation: the part of the accelerator's peak that training reaches", ""),
    ("extrapolation", "how many times the plan's compute exceeds the largest run's", ""),
]
nomenclature = pd.DataFrame(meanings, columns=["word", "meaning", "unit"])
show.table(nomenclature)
show.downloads(
    "library", nomenclature,
    report=lambda: [law, Section("Accelerators", tables=(("Accelerators", chips),)), Section("Words", tables=(("Words", nomenclature),))],
)  # fmt: skip
