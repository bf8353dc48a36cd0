"""Grokking: does generalisation come long after memorisation?"""

import analysis
import inputs

from scaling import charts

files, _ = analysis.page(
    "Grokking",
    "grokking",
    "grokking/curves.csv",
    "Steps at which training and validation accuracy are reached, run by run; runs that ended first are counted as such.",
)
result = analysis.show("grokking", files, {}, charts.grokking_chart)
inputs.show_table(result.runs)
