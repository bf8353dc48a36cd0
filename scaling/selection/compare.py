"""Which law? Judge several laws on the same runs, above all by how well they predict scales they were not shown.

Every law is fitted to all runs, to the complement of each fold, and to the runs below each compute cutoff: one batched
call per law, the parts being its groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import FitError, RunsError
from scaling.fitting.objective import Objective, get_objective
from scaling.fitting.result import FitResult
from scaling.laws.law import Array, Law
from scaling.progress import Bar, Report
from scaling.selection.checks import likelihood_words
from scaling.selection.held_out import draw_counts, fit_parts, rank, score
from scaling.selection.result import SIX_N_D, Comparison

if TYPE_CHECKING:
    import pandas as pd


TRAINING_SHARES = (0.5, 0.65, 0.8)  # of the runs, by compute, below the default cutoffs
LEAST_HELD_OUT = 3  # runs above a default cutoff


def compare(
    laws: Sequence[Law | str],
    runs: pd.DataFrame | Mapping[str, Any],
    objective: Objective | str = "robust",
    *,
    cutoffs: Sequence[float] | None = None,
    n_folds: int = 10,
    n_resamples: int = 1000,
    rng: int | np.random.Generator = 0,
    progress: Report | None = None,
) -> Comparison:
    """Compare laws on the same runs: information criteria, folds, held-out largest scales, residual checks.

    Parameters
    ----------
    laws : Laws or names of registered ones.
    runs : table (or mapping of columns) with the target and the inputs. Rows of one training (equal values of a column
        `run`) stay together in folds and resamples.
    objective : as for `fit`; its residuals are also the errors that are reported.
    cutoffs : values of compute (flops; 6 N D without that column; the laws' input without either): a law is trained on
        runs up to the cutoff and predicts those above. Default: the compute below which 50, 65 and 80 % of the runs lie.
    n_folds : parts of the random cross-validation. n_resamples : draws of the runs for uncertainty and weights.
    rng : seed or generator; equal seeds give equal results.
    progress : called with (work done, work in all); what it raises ends the work.

    Returns a Comparison. A law that these runs cannot judge (an input is missing, too few runs below a cutoff, no fit) is
    in `left_out` with the reason. Raises FitError when no law is left or a cutoff holds out nothing, RunsError when the
    table is empty.
    Practice: docs on model choice; held-out largest scales as the criterion that counts, weights from them and not from AIC.
    """
    import pandas as pd

    objective = get_objective(objective)
    if n_folds < 2:
        raise FitError(f"n_folds must be at least 2, not {n_folds}.")
    if n_resamples < 20:
        raise FitError(f"n_resamples must be at least 20 to give an interval, not {n_resamples}.")
    seed = int(rng) if isinstance(rng, int | np.integer) else None
    generator = np.random.default_rng(rng)
    table = runs if isinstance(runs, pd.DataFrame) else pd.DataFrame({k: np.asarray(v) for k, v in runs.items()})
    candidates, left_out = _candidates(laws, table)
    table, notes = _shared_rows(candidates, table, objective)
    scale, amount = _compute_of(candidates, table)
    labels = _clusters(table)
    n, n_clusters = len(table), int(labels.max()) + 1

    least = min(len(law.coefs) for law in candidates) + 2
    if n < least:
        raise FitError(
            f"{n} runs are too few for any of {', '.join(law.name for law in candidates)}: at least {least} are needed. "
            "Add runs, or compare laws with fewer coefficients."
        )
    cut = _cutoffs(cutoffs, amount, scale, least)
    below = amount <= cut[:, None] * (1 + 1e-12)  # (Q, n)
    n_folds = min(n_folds, n_clusters)
    fold = generator.permutation(np.arange(n_clusters) % n_folds)[labels]
    trained = np.concatenate([np.ones((1, n), bool), fold != np.arange(n_folds)[:, None], below])

    # about the time that each takes: fits search from many starts, resamples start from the fit
    of_fits, of_scores = Bar(progress).parts(1, n_resamples / 500)
    fitted: list[tuple[Law, list[FitResult]]] = []
    for law, _ in zip(candidates, of_fits.each(len(candidates)), strict=True):
        reason, parts = fit_parts(law, table, objective, trained, n_folds)
        if reason:
            left_out[law.name] = reason
        else:
            fitted.append((law, parts))
    if not fitted:
        raise FitError("none of the laws can be compared: " + " ".join(f"{k}: {v}." for k, v in left_out.items()))

    counts = draw_counts(labels, n_resamples, generator)  # (R, n), the same for every law
    ranked_by = "held-out largest scales" if len(cut) else "K-fold"
    scored = [
        score(law, parts, table, objective, fold, below, counts, labels, amount, bar)
        for (law, parts), bar in zip(fitted, of_scores.each(len(fitted)), strict=True)
    ]
    scores = rank([s for s, _, _ in scored], np.stack([e for _, e, _ in scored]), np.stack([e for _, _, e in scored]))
    decades = np.array([np.log10(amount.max() / c) for c in cut])
    top = int(amount.argmax())
    numeric = dict.fromkeys(k for law, _ in fitted for k in law.inputs)
    return Comparison(
        scores=tuple(scores), left_out=left_out, objective=objective, likelihood=likelihood_words(objective, n, n_clusters),
        scale=scale, cutoffs=cut, decades=decades, n_train=below.sum(-1), n_held_out=(~below).sum(-1), n_runs=n,
        n_clusters=n_clusters, n_folds=n_folds, n_resamples=n_resamples, ranked_by=ranked_by, target=fitted[0][0].target,
        axes={k: (float(table[k].min()), float(table[k].max())) for k in numeric}, notes=tuple(notes), seed=seed,
        largest={k: float(table[k].iloc[top]) for k in numeric}, largest_scale=float(amount.max()),
    )  # fmt: skip


def _candidates(laws: Sequence[Law | str], table: pd.DataFrame) -> tuple[list[Law], dict[str, str]]:
    """The laws whose columns are there and that predict the same target; for the others, why not."""
    from scaling.laws import get

    if isinstance(laws, str | Law):
        laws = [laws]
    found = {law.name: law for law in (get(v) if isinstance(v, str) else v for v in laws)}
    if not found:
        raise FitError("name at least one law to compare; scaling.LAWS has them all.")
    if not len(table):
        raise RunsError("there are no runs to compare laws on: the table is empty.")
    keep, left_out = [], {}
    for law in found.values():
        missing = [c for c in (*law.inputs, law.target) if c not in table or not table[c].notna().any()]
        if missing:
            left_out[law.name] = f"needs {', '.join(missing)}, which the runs do not have"
        else:
            keep.append(law)
    targets = [law.target for law in keep]
    if targets:
        target = max(dict.fromkeys(targets), key=targets.count)
        for law in keep:
            if law.target != target:
                left_out[law.name] = (
                    f"predicts {law.target}, the others {target}: errors of different quantities have no order"
                )
        keep = [law for law in keep if law.target == target]
    if not keep:
        raise FitError("none of the laws can be compared: " + " ".join(f"{k} {v}." for k, v in left_out.items()))
    return keep, left_out


def _shared_rows(laws: Sequence[Law], table: pd.DataFrame, objective: Objective) -> tuple[pd.DataFrame, list[str]]:
    """The rows that every law can use: laws are compared on the same runs or not at all."""
    import pandas as pd

    columns = dict.fromkeys(k for law in laws for k in (*law.inputs, law.target))
    for name in columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise RunsError(
                f"column {name!r} is not numeric (dtype {table[name].dtype}): read the runs with read_runs, or convert it."
            )
    good = np.isfinite(table[list(columns)].to_numpy(float)).all(-1)
    if objective.of == "log":
        good &= table[laws[0].target].to_numpy(float) > 0
    notes = []
    if not good.any():
        raise RunsError(f"no row has usable values of all of {', '.join(columns)}: nothing to compare laws on.")
    if not good.all():
        notes.append(
            f"{int((~good).sum())} of {len(good)} rows lack a usable value of {', '.join(columns)} and were left out for every law"
        )
    return table[good].reset_index(drop=True), notes


def _compute_of(laws: Sequence[Law], table: pd.DataFrame) -> tuple[str, Array]:
    """What 'scale' means for these runs: flops, else 6 N D, else the first positive input of the laws."""
    for name in ("flops",):
        if name in table:
            values = table[name].to_numpy(float)
            if np.isfinite(values).all() and (values > 0).all():
                return name, values
    if {"n_params", "n_tokens"} <= set(table.columns):
        values = 6 * table["n_params"].to_numpy(float) * table["n_tokens"].to_numpy(float)
        if np.isfinite(values).all() and (values > 0).all():
            return SIX_N_D, values
    for law in laws:
        for name in law.inputs:
            values = table[name].to_numpy(float)
            if (values > 0).all():
                return name, values
    raise RunsError(
        f"no input of {', '.join(law.name for law in laws)} is positive throughout: there is no scale to hold out."
    )


def _clusters(table: pd.DataFrame) -> Array:
    """(n,) labels of runs: equal where rows come from one training, so that they never part."""
    if "run" not in table or not table["run"].notna().all():
        return np.arange(len(table))
    labels = np.unique(table["run"].to_numpy().astype(str), return_inverse=True)[1]
    return labels if labels.max() > 0 else np.arange(len(table))


def _cutoffs(asked: Sequence[float] | None, amount: Array, scale: str, least: int) -> Array:
    """Cutoffs (Q,), ascending."""
    if asked is not None:
        cut = np.unique(np.asarray(list(asked), dtype=float))
        for c in cut:
            n_below, n_above = int((amount <= c).sum()), int((amount > c).sum())
            if not (n_below and n_above):
                raise FitError(
                    f"cutoff {c:g} leaves {n_below} runs below and {n_above} above: {scale} runs from {amount.min():.3g} to {amount.max():.3g}."
                )
        return cut
    ordered = np.sort(amount)
    places = [ordered[max(int(np.ceil(share * len(ordered))) - 1, 0)] for share in TRAINING_SHARES]
    cut = np.unique(places)
    keep = [(amount <= c).sum() >= least and (amount > c).sum() >= LEAST_HELD_OUT for c in cut]
    return cut[np.array(keep, bool)]
