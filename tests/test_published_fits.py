"""The fit of Hoffmann et al.'s runs, as read by Besiroglu et al. 2024, is a global one; the numbers are in test_reproduced."""

from __future__ import annotations

import pandas as pd

from scaling.fitting import fit
from scaling.fitting.starts import search
from scaling.laws.chinchilla import CHINCHILLA


def test_every_polished_start_reaches_the_same_chinchilla_optimum(reference):
    runs = pd.read_csv(reference("chinchilla-epoch") / "runs.csv").rename(
        columns={"params": "n_params", "tokens": "n_tokens"}
    )
    result = fit(CHINCHILLA, runs[~runs["excluded_in_paper"].astype(bool)], "hoffmann")
    polished = search(result.coordinates, result.objective, result.problem)[0]
    assert len(polished) >= 4
    assert result.starts_agreeing == len(polished)
