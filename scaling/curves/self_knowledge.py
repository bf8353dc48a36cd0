"""Does a model know what it knows? Calibration error, Brier score and its parts, ranking, and their trend with scale.

Source: Kadavath et al. 2022, arXiv:2207.05221; Murphy 1973 (decomposition of the Brier score).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scaling.curves.band import Band
from scaling.errors import RunsError
from scaling.laws.law import Array

MEASURES = ("ece", "brier", "reliability", "resolution", "auroc")


@dataclass(frozen=True)
class Calibration:
    """How stated probabilities hold against outcomes.

    ece : expected calibration error, mean gap between stated probability and frequency over bins of equal size; with few
        answers it is above zero for a perfect model, and `ece_of_perfect` says how much.
    brier = reliability - resolution + uncertainty, with the answers' probabilities replaced by their bin's mean.
    auroc : chance that a right answer was given more probability than a wrong one; nan if all are right or wrong.
    bins : probability, frequency, n of each bin.
    """

    ece: float
    ece_of_perfect: float
    brier: float
    reliability: float
    resolution: float
    uncertainty: float
    auroc: float
    n: int
    bins: pd.DataFrame


def calibration(probability: Array, correct: Array, n_bins: int = 10) -> Calibration:
    """Calibration of stated probabilities (n,) in [0, 1] against outcomes (n,) of 0 and 1.

    Bins hold equal numbers of answers; answers of one probability are never split between two. Raises RunsError for values
    out of range or no answers.
    """
    p, y = np.asarray(probability, float), np.asarray(correct, float)
    if p.shape != y.shape or p.ndim != 1 or not len(p):
        raise RunsError(
            f"probabilities and outcomes are one column each of one length; got shapes {p.shape} and {y.shape}."
        )
    bad = ~((p >= 0) & (p <= 1) & ((y == 0) | (y == 1)))
    if bad.any():
        i = int(np.argmax(bad))
        raise RunsError(f"row {i}: probability {p[i]!r} and outcome {y[i]!r}; give values in [0, 1], and 0 or 1.")
    if n_bins < 1:
        raise RunsError(f"n_bins must be at least 1, not {n_bins}.")
    order = np.argsort(p, kind="stable")
    p, y = p[order], y[order]
    starts = np.unique(np.searchsorted(p, p[(np.arange(n_bins) * len(p)) // n_bins], side="left"))
    counts = np.diff(np.append(starts, len(p)))
    mean_p, mean_y = np.add.reduceat(p, starts) / counts, np.add.reduceat(y, starts) / counts
    share, base = counts / len(p), y.mean()
    reliability = float(share @ (mean_p - mean_y) ** 2)
    resolution = float(share @ (mean_y - base) ** 2)
    uncertainty = float(base * (1 - base))
    # E|Z| = sqrt(2 / pi) of the frequency's error in each bin
    perfect = float(share @ np.sqrt(2 / np.pi * mean_p * (1 - mean_p) / counts))
    return Calibration(
        ece=float(share @ np.abs(mean_p - mean_y)),
        ece_of_perfect=perfect,
        brier=reliability - resolution + uncertainty,
        reliability=reliability,
        resolution=resolution,
        uncertainty=uncertainty,
        auroc=_auroc(p, y),
        n=len(p),
        bins=pd.DataFrame({"probability": mean_p, "frequency": mean_y, "n": counts}),
    )


def _auroc(p: Array, y: Array) -> float:
    """Rank form of the area, ties counted as one half; p sorted."""
    right = int(y.sum())
    if right in (0, len(y)):
        return float("nan")
    _, first, counts = np.unique(p, return_index=True, return_counts=True)
    rank = np.repeat(first + (counts + 1) / 2, counts)
    return float((rank[y == 1].sum() - right * (right + 1) / 2) / (right * (len(y) - right)))


@dataclass(frozen=True)
class SelfKnowledge:
    """Calibration per model and its trend.

    models : one row per model: model, scale, n and the measures. trends : one row per measure: measure, slope (per
    unit of ln scale, or of the loss), low, high, p_value, errors clustered by family where there are enough.
    """

    models: pd.DataFrame
    trends: pd.DataFrame
    x: str
    level: float
    clusters: str

    @property
    def finding(self) -> str:
        """One sentence."""
        unit = f"per unit of {self.x}" if _is_loss(self.x) else f"per factor e in {self.x}"
        words = {"ece": "the calibration error", "auroc": "the ranking of right over wrong (AUROC)"}
        parts = []
        for row in self.trends[self.trends["measure"].isin(words)].to_dict("records"):
            clear = row["p_value"] < 1 - self.level
            turn = ("rises" if row["slope"] > 0 else "falls") if clear else "does not clearly change"
            parts.append(f"{words[row['measure']]} {turn} ({row['slope']:+.3g} {unit}, p = {row['p_value']:.2g})")
        return f"With {self.x}, {' and '.join(parts)}; errors {self.clusters}."

    def __str__(self) -> str:
        tables = [t.to_string(index=False, float_format=lambda v: f"{v:.4g}") for t in (self.models, self.trends)]
        return "\n\n".join([self.finding, *tables])


def self_knowledge(
    table: pd.DataFrame,
    *,
    model: str = "model",
    x: str = "n_params",
    probability: str = "probability",
    correct: str = "correct",
    family: str | None = None,
    n_bins: int = 10,
    level: float = 0.95,
) -> SelfKnowledge:
    """Calibration of every model of a table of answers, and its trend with size or loss.

    table : one row per answer: the model, its scale, the probability it gave to being right, whether it was (0 or 1).
    family : column of models that share a recipe; their errors are clustered when there are 3 families or more, otherwise
        errors allow each model its own variance (HC3). Intervals are from the t distribution.
    Raises RunsError for missing columns, or fewer than 3 models.
    """
    columns = [model, x, probability, correct, *([family] if family else [])]
    if missing := [c for c in columns if c not in table]:
        raise RunsError(f"no column {missing[0]!r}; columns: {', '.join(map(str, table.columns))}.")
    rows = []
    for name, part in table.groupby(model, sort=True):
        found = calibration(part[probability].to_numpy(float), part[correct].to_numpy(float), n_bins)
        row = {model: name, x: float(part[x].iloc[0]), "n": found.n, "ece_of_perfect": found.ece_of_perfect}
        row |= {m: getattr(found, m) for m in MEASURES}
        rows.append(row | ({family: part[family].iloc[0]} if family else {}))
    models = pd.DataFrame(rows).sort_values(x, kind="stable", ignore_index=True)
    if len(models) < 3:
        raise RunsError(f"{len(models)} models; a trend needs three.")
    at = models[x].to_numpy(float) if _is_loss(x) else np.log(models[x].to_numpy(float))
    labels = models[family].astype("category").cat.codes.to_numpy() if family else None
    if labels is not None and labels.max() < 2:
        labels = None
    trends = [{"measure": m, **_trend(at, models[m].to_numpy(float), labels, level)} for m in MEASURES]
    return SelfKnowledge(
        models=models,
        trends=pd.DataFrame(trends),
        x=x,
        level=level,
        clusters=f"clustered by {family}" if labels is not None else "allow each model its own variance",
    )


def trend(x: Array, y: Array, clusters: Array | None = None, level: float = 0.95) -> Band:
    """Slope of y (n,) in x (n,) with errors clustered by labels (n,), or of each point's own variance (HC3)."""
    found = _trend(np.asarray(x, float), np.asarray(y, float), clusters, level)
    return Band(found["slope"], found["low"], found["high"], level)


def _trend(x: Array, y: Array, labels: Array | None, level: float) -> dict[str, float]:
    from statsmodels.api import OLS, add_constant

    keep = np.isfinite(x) & np.isfinite(y)
    if keep.sum() < 3 or np.ptp(x[keep]) == 0:
        return dict.fromkeys(("slope", "low", "high", "p_value"), float("nan"))
    options = (
        {"cov_type": "HC3", "use_t": True}
        if labels is None
        else {"cov_type": "cluster", "cov_kwds": {"groups": labels[keep]}, "use_t": True}
    )
    fitted = OLS(y[keep], add_constant(x[keep])).fit(**options)
    low, high = fitted.conf_int(1 - level)[1]
    return {
        "slope": float(fitted.params[1]),
        "low": float(low),
        "high": float(high),
        "p_value": float(fitted.pvalues[1]),
    }


def _is_loss(column: str) -> bool:
    return "loss" in column.lower().replace("/", "_").split("_")
