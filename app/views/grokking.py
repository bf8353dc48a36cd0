"""Grokking: does generalisation come long after memorisation?"""

import analysis
import show
import streamlit as st

from scaling import charts

files, _ = analysis.page(
    "Grokking",
    "grokking",
    "grokking/curves.csv",
    "A run memorises when its training accuracy is high and generalises when its validation accuracy is. Grokking: the second comes long after the first. Runs that ended before it are counted as such.",
)
result = analysis.present("grokking", files, {}, charts.grokking_chart, lambda r: r.runs)
st.caption("Run by run: steps of memorisation and generalisation; ratio is the second over the first, with its bounds.")
show.table(result.runs)
