"""One set of outputs under four metrics: is the jump in the model or in the metric?

Exact match and the multiple choice grade are steps in the underlying probabilities, edit distance and the Brier score
are not. The same curve family is fitted to each metric of the same outputs. Source: Schaeffer et al. 2023, arXiv:2304.15004.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from scaling.curves.emergence import Emergence, emergence
from scaling.errors import RunsError
from scaling.laws.law import Array

SHARP_METRICS = ("exact_match", "grade")


@dataclass(frozen=True)
class Rescored:
    """The verdict of `emergence` under each metric.

    scores : scale and one column per metric, one row per model, each in [0, 1] and rising with ability.
    metrics : metric, kind ("all or nothing" or "graded"), verdict, width [decades] with bounds, p_change.
    verdict : "metric" where an all-or-nothing metric is sudden and no graded one is, each graded one surely gradual or
        rising; "ability" where a graded metric is sudden too; "gradual" where none is sudden; else "undecided".
    """

    scores: pd.DataFrame
    metrics: pd.DataFrame
    verdict: str
    results: dict[str, Emergence] = field(repr=False)

    @property
    def finding(self) -> str:
        """One sentence."""
        said = ", ".join(f"{m}: {v}" for m, v in zip(self.metrics["metric"], self.metrics["verdict"], strict=True))
        return {
            "metric": "The suddenness belongs to the metric",
            "ability": "The rise is sudden under a graded metric too",
            "gradual": "The rise is sudden under no metric",
            "undecided": "Not decided whether the metric makes the rise sudden",
        }[self.verdict] + f" ({said})."

    def __str__(self) -> str:
        return f"{self.finding}\n\n{self.metrics.to_string(index=False, float_format=lambda v: f'{v:.4g}')}"


def score_text(outputs: Sequence[str | Sequence[str]], targets: Sequence[str | Sequence[str]]) -> pd.DataFrame:
    """exact_match, edit_similarity and prefix of each output against its target, one row per item.

    Texts are compared by character, lists by token. edit_similarity is 1 - distance / length of the longer, prefix the
    share of the target that is right before the first error. Raises RunsError for lists of unequal length.
    """
    if len(outputs) != len(targets):
        raise RunsError(f"{len(outputs)} outputs and {len(targets)} targets: give one output for each target.")
    rows = []
    for out, target in zip(outputs, targets, strict=True):
        longest = max(len(out), len(target), 1)
        same = next(
            (i for i, (a, b) in enumerate(zip(out, target, strict=False)) if a != b), min(len(out), len(target))
        )
        rows.append(
            (
                float(list(out) == list(target)),
                1 - edit_distance(out, target) / longest,
                same / max(len(target), 1),
            )
        )
    return pd.DataFrame(rows, columns=["exact_match", "edit_similarity", "prefix"])


def score_probabilities(token_log_probs: Sequence[Array]) -> pd.DataFrame:
    """likelihood (of the whole target) and per_token (its geometric mean) of items' log probabilities [nats] per token."""
    totals = np.array([float(np.sum(t)) for t in token_log_probs])
    lengths = np.array([max(np.size(t), 1) for t in token_log_probs])
    if (totals > 1e-9).any() or not np.isfinite(lengths).all():
        raise RunsError(
            f"item {int(np.argmax(totals > 1e-9))} has a positive log probability: give natural logs of probabilities."
        )
    return pd.DataFrame({"likelihood": np.exp(totals), "per_token": np.exp(totals / lengths)})


def score_choices(probabilities: Array, correct: Array) -> pd.DataFrame:
    """grade (the right choice is the likeliest) and brier_skill (1 - Brier / 2) of choices (n, k), correct (n,) indices.

    The Brier score over k choices lies between 0 and 2. Raises RunsError unless each row is a distribution.
    """
    p, right = np.asarray(probabilities, float), np.asarray(correct, int)
    if p.ndim != 2 or len(p) != len(right) or not np.allclose(p.sum(axis=1), 1, atol=1e-4) or (p < 0).any():
        raise RunsError(f"choices are distributions (n, k) with one right index each; got shape {p.shape}.")
    one = np.eye(p.shape[1])[right]
    return pd.DataFrame(
        {"grade": (p.argmax(axis=1) == right).astype(float), "brier_skill": 1 - ((p - one) ** 2).sum(axis=1) / 2}
    )


def edit_distance(a: str | Sequence[Any], b: str | Sequence[Any]) -> int:
    """Least number of insertions, deletions and replacements between two sequences (Levenshtein)."""
    last = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        row = [i]
        for j, right in enumerate(b, start=1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (left != right)))
        last = row
    return last[-1]


def rescore(
    items: pd.DataFrame,
    *,
    x: str = "flops",
    metrics: Sequence[str] | None = None,
    floors: dict[str, float] | None = None,
    sharp: Sequence[str] = SHARP_METRICS,
    n_draws: int = 199,
    **options: Any,
) -> Rescored:
    """The same test under every metric of one set of outputs.

    items : one row per model and item: the scale and one column per metric in [0, 1] (see `score_text`,
        `score_probabilities`, `score_choices`). metrics : default every other numeric column in [0, 1].
    floors : score of guessing per metric, default 0 for those of `sharp` and unknown (estimated) for graded ones.
    sharp : metrics that are all or nothing per item; their noise is binomial. The noise of the others comes from the
        scatter between models. options : as for `emergence`.
    """
    if x not in items:
        raise RunsError(f"no column {x!r}; columns: {', '.join(map(str, items.columns))}.")
    numeric = items.select_dtypes("number")
    names = list(metrics or [c for c in numeric.columns if c != x and numeric[c].between(0, 1).all()])
    if missing := [c for c in names if c not in items]:
        raise RunsError(f"no column {missing[0]!r}; columns: {', '.join(map(str, items.columns))}.")
    if len(names) < 2:
        raise RunsError("a comparison of metrics needs two columns of scores between 0 and 1.")
    grouped = items.groupby(x, sort=True)
    scores = grouped[names].mean().reset_index()
    scores["n_items"] = grouped.size().to_numpy()
    results, rows = {}, []
    for name in names:
        all_or_nothing = name in sharp
        floor = (floors or {}).get(name, 0.0 if all_or_nothing else None)
        found = emergence(
            scores,
            x=x,
            score=name,
            n_items="n_items" if all_or_nothing else None,
            floor=floor,
            n_draws=n_draws,
            **options,
        )
        results[name] = found
        rows.append(
            {
                "metric": name,
                "kind": "all or nothing" if all_or_nothing else "graded",
                "verdict": found.verdict,
                "width": found.width.estimate,
                "width_low": found.width.low,
                "width_high": found.width.high,
                "p_change": found.p_change,
            }
        )
    table = pd.DataFrame(rows)
    return Rescored(scores, table, _verdict(table), results)


def _verdict(table: pd.DataFrame) -> str:
    graded = table["kind"] == "graded"
    sudden = table["verdict"] == "sudden"
    if (graded & sudden).any():
        return "ability"
    if (~graded & sudden).any():
        return "metric" if (table["verdict"][graded] == "gradual").any() else "undecided"
    return "gradual" if (table["verdict"] == "gradual").all() else "undecided"
