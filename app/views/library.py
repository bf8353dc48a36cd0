"""Every law with its source, published coefficients, accelerators."""

import inputs
import pandas as pd
import streamlit as st

from scaling.hardware import ACCELERATORS
from scaling.laws import LAWS
from scaling.laws.published import PUBLISHED

st.title("Library")
law = LAWS[st.selectbox("Law", list(LAWS), key="law", bind="query-params")]
st.subheader(law.title)
st.latex(law.latex)
st.write(inputs.escape(f"Holds for {law.domain}. Source: {law.source}."))
inputs.show_table(pd.DataFrame([(c.name, c.meaning) for c in law.coefs], columns=["coefficient", "meaning"]))
st.subheader("Published coefficients")
sets = [e for e in PUBLISHED.values() if e.law.name == law.name]
if sets:
    table = pd.DataFrame(
        [
            {
                "key": e.key,
                "title": e.title,
                **dict(zip(law.coef_names, e.theta, strict=True)),
                "N counts": e.n_counts,
                "source": e.source,
                "numbers": e.status,
            }
            for e in sets
        ]
    )
    inputs.show_table(table)
    inputs.downloads("published", table)
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
inputs.show_table(chips)
inputs.downloads("accelerators", chips)
