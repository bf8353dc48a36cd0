"""Do depth and width trade off alike for every task? Scores on ln depth and ln width, with their interaction.

Knowledge grows with parameters however arranged; tasks of several steps want depth. Sources: Allen-Zhu and Li 2024,
arXiv:2404.05405; Levine et al. 2020, arXiv:2006.12467.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scaling.errors import RunsError

FEWEST_MODELS = 6


@dataclass(frozen=True)
class DepthWidth:
    """coefs : task, term ("depth", "width", "depth x width"), estimate (logits of the score per factor e), low, high, p_value.

    trade : task, log ratio of the depth effect over the width effect per parameter (a layer adds parameters once, width
    twice): `depth_share`, share of the two effects that is depth's (1/3 where only parameters count), with p_value of that
    one third. Effects are at the mean shape.
    """

    coefs: pd.DataFrame
    trade: pd.DataFrame
    level: float

    @property
    def finding(self) -> str:
        """One sentence."""
        parts = []
        for row in self.trade.to_dict("records"):
            if row["p_value"] >= 1 - self.level:
                parts.append(f"{row['task']} follows parameters however arranged")
            else:
                parts.append(
                    f"{row['task']} gains more from {'depth' if row['depth_share'] > 1 / 3 else 'width'} than parameters tell"
                )
        return f"{'; '.join(parts)}."

    def __str__(self) -> str:
        return f"{self.finding}\n\n{self.coefs.to_string(index=False, float_format=lambda v: f'{v:.4g}')}"


def depth_width(
    table: pd.DataFrame,
    *,
    depth: str = "n_layers",
    width: str = "d_model",
    score: str = "score",
    task: str | None = None,
    floor: float = 0.0,
    n_items: int | None = None,
    level: float = 0.95,
) -> DepthWidth:
    """Two-predictor fit of scores with interaction, per task; errors allow each model its own variance (HC3).

    table : one row per model (and task): depth, width, score in [0, 1]. floor : chance score; scores are put on the logit
    scale after removing it. n_items : bounds scores away from floor and 1 by half an item (default 0.5 %).
    Raises RunsError for fewer than 6 models, or shapes that vary along one line only.
    """
    from statsmodels.api import OLS, add_constant

    columns = [depth, width, score, *([task] if task else [])]
    if missing := [c for c in columns if c not in table]:
        raise RunsError(f"no column {missing[0]!r}; columns: {', '.join(map(str, table.columns))}.")
    rows, trades = [], []
    groups = table.groupby(task, sort=True) if task else [(score, table)]
    for name, part in groups:
        used = part[[depth, width, score]].dropna().astype(float)
        if len(used) < FEWEST_MODELS:
            raise RunsError(
                f"task {name!r} has {len(used)} models; two effects and their interaction need {FEWEST_MODELS}."
            )
        if ((used[score] < 0) | (used[score] > 1)).any() or (used[[depth, width]] <= 0).any(axis=None):
            raise RunsError(f"task {name!r} has a score outside [0, 1], or a shape that is not positive.")
        edge = 0.005 if n_items is None else 0.5 / n_items
        rate = np.clip((used[score].to_numpy() - floor) / (1 - floor), edge, 1 - edge)
        d, w = (np.log(used[c].to_numpy()) for c in (depth, width))
        d, w = d - d.mean(), w - w.mean()
        design = np.column_stack([d, w, d * w])
        if np.linalg.matrix_rank(design - design.mean(axis=0)) < 3:
            raise RunsError(
                f"task {name!r}: depth and width do not vary apart from each other; add shapes off the line."
            )
        fitted = OLS(np.log(rate / (1 - rate)), add_constant(design)).fit(cov_type="HC3", use_t=True)
        bands = fitted.conf_int(1 - level)
        for k, term in enumerate(("depth", "width", "depth x width"), start=1):
            rows.append((name, term, fitted.params[k], bands[k][0], bands[k][1], fitted.pvalues[k]))
        # parameters go like depth width^2: if only they count, the effect of width is twice that of depth
        test = fitted.t_test(np.array([0.0, 2.0, -1.0, 0.0]))
        total = fitted.params[1] + fitted.params[2]
        trades.append((name, fitted.params[1] / total if total else np.nan, float(test.pvalue)))
    return DepthWidth(
        pd.DataFrame(rows, columns=["task", "term", "estimate", "low", "high", "p_value"]),
        pd.DataFrame(trades, columns=["task", "depth_share", "p_value"]),
        level,
    )
