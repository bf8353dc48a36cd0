"""Published scales at which abilities were first seen, to hold an onset of your own against.

Source: Wei et al. 2022, arXiv:2206.07682, table 1, and the papers named in the rows.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from scaling.curves.emergence import Emergence
from scaling.errors import RunsError

_WEI = "Wei et al. 2022, arXiv:2206.07682, table 1"
#: task, training FLOPs, parameters, model, source
ONSETS = (
    ("addition and subtraction, 3 digits", 2.3e22, 13e9, "GPT-3", _WEI),
    ("addition and subtraction, 4 to 5 digits", 3.1e23, 175e9, "GPT-3", _WEI),
    ("MMLU (57 topics)", 3.1e23, 175e9, "GPT-3", _WEI),
    ("toxicity classification (CivilComments)", 1.3e22, 7.1e9, "Gopher", _WEI),
    ("truthfulness (TruthfulQA)", 5.0e23, 280e9, "Gopher", _WEI),
    ("MMLU (30 topics)", 5.0e23, 70e9, "Chinchilla", _WEI),
    ("grounded conceptual mappings", 3.1e23, 175e9, "GPT-3", _WEI),
    ("word in context (WiC)", 2.5e24, 540e9, "PaLM", _WEI),
    ("instruction following", 1.3e23, 68e9, "FLAN", _WEI),
    ("scratchpad: 8-digit addition", 8.9e19, 40e6, "LaMDA", _WEI),
    ("chain of thought: math word problems", 1.3e23, 68e9, "LaMDA", _WEI),
    ("chain of thought: StrategyQA", 2.9e23, 62e9, "PaLM", _WEI),
    ("self-calibration (P(True))", 2.6e23, 52e9, "Anthropic", _WEI),
    ("zero-shot chain of thought", 3.1e23, 175e9, "GPT-3", _WEI),
    ("tool use", np.nan, 775e6, "Toolformer", "Schick et al. 2023, arXiv:2302.04761, sec. 4.4"),
)


def published_onsets() -> pd.DataFrame:
    """task, flops, n_params, model, source; the onset belongs to a model family, not to the task alone."""
    return pd.DataFrame(ONSETS, columns=["task", "flops", "n_params", "model", "source"])


def compare_onset(found: Emergence) -> pd.DataFrame:
    """Published onsets beside the one of an analysis: `decades` from it (negative: earlier than yours) and `inside` its interval.

    found : an Emergence along flops or n_params. Raises RunsError for another axis.
    """
    if found.x not in ("flops", "n_params"):
        raise RunsError(f"published onsets are in flops and n_params; this analysis is along {found.x!r}.")
    table = published_onsets().dropna(subset=[found.x]).reset_index(drop=True)
    onset = found.onset
    with np.errstate(divide="ignore"):
        table["decades"] = np.log10(table[found.x] / onset.estimate) if onset.estimate > 0 else np.nan
    table["inside"] = (table[found.x] >= onset.low) & (table[found.x] <= onset.high)
    return table.sort_values(found.x, kind="stable", ignore_index=True)
