"""Which law? Judge several laws on the same runs, above all by how well they predict scales they were not shown.

Every law is fitted to all runs, to the complement of each fold, and to the runs below each compute cutoff: one batched
call per law, the parts being its groups. Then the runs are resampled: those below a cutoff refit the law, those above it
score it, with the same draws for every law. A law trained on other small runs would have extrapolated otherwise, and that
moves all its held-out errors together; resampling the held-out runs alone would miss it and name winners by luck.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import FitError, LawError, RunsError
from scaling.fitting.diagnose import _centred, _residual_squares
from scaling.fitting.engine import fit
from scaling.fitting.objective import Objective, get_objective, robust_scale
from scaling.fitting.problem import Problem
from scaling.fitting.result import FitResult, FitStatus
from scaling.fitting.solver import CHUNK_ELEMENTS, evaluate, solve
from scaling.laws.law import Array, Law

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "scaling.compare/1"
TRAINING_SHARES = (0.5, 0.65, 0.8)  # of the runs, by compute, below the default cutoffs
LEAST_HELD_OUT = 3  # runs above a default cutoff
LEVEL = 0.95  # of the intervals, and of "worse by more than chance" over all laws together
SAME = 1e-9  # differences of error below this are rounding
MINOR = 0.01  # differences below this share of the error are of no consequence, however sure
WORST_LOG = 10.0  # no log residual counts for more: a prediction off by a factor of 20,000 can be off by anything
MISFIT = 6.63  # difference of -2 log likelihood that the folds need behind them: chi square of one, 1 %
TREND_LEVEL = 0.01
GAP = 0.2  # jump of ln C that separates two budgets
SIX_N_D = "6 n_params n_tokens"
_PART = "part of the comparison"


@dataclass(frozen=True)
class LawScore:
    """How one law did. Errors are mean absolute residuals of the objective: relative errors for log residuals.

    fit : the law fitted to all runs. draws (R, P) : the same, refitted to resampled runs (rows that failed left out).
    deviance, aicc, bic : -2 log likelihood and the criteria from it, on the likelihood that Comparison.likelihood names;
        n counts independent runs.
    kfold_error, kfold_std_error : over runs left out at random.
    held_out, bias (Q,) : error and mean signed residual above each cutoff, trained below it. error : mean of held_out
        (of the folds where no cutoff was possible), with interval low, high over resampled runs.
    excess, excess_low, excess_high : error minus that of the best law, paired over the same resamples; the interval is
        simultaneous over all laws. kfold_excess, _low, _high : the same for the folds.
    ruled_out : another law is better by more than chance on one of the two, and not worse by more than chance on the other.
        The folds count only where that law also has the clearly higher likelihood: a law with a coefficient too many
        predicts left-out runs a little worse without being wrong. why : which law and on what.
    weight : share of the resamples in which this law has the lowest error of those not ruled out.
    lack_of_fit : sentence, or empty. trends : p value of a linear and quadratic trend of the residuals along each axis,
        beyond what the law can take up. tail_share, heavy_tails : runs beyond three robust standard deviations.
    cluster_p : p value of equal mean residuals over clusters (nan where there are none).
    """

    law: Law
    fit: FitResult
    draws: Array
    deviance: float
    aicc: float
    bic: float
    kfold_error: float
    kfold_std_error: float
    held_out: Array
    bias: Array
    error: float
    low: float
    high: float
    excess: float
    excess_low: float
    excess_high: float
    kfold_excess: float
    kfold_excess_low: float
    kfold_excess_high: float
    ruled_out: bool
    why: str
    weight: float
    lack_of_fit: str
    trends: Mapping[str, float]
    tail_share: float
    heavy_tails: bool
    cluster_p: float
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.law.name


@dataclass(frozen=True)
class Comparison:
    """Laws ranked by how well they extrapolate, and what the runs can say about the ranking.

    scores : laws that are not ruled out first, then by error. left_out : name of a law -> why it was not compared. cutoffs (Q,) : compute below which a law
    was trained; decades, n_train, n_held_out (Q,) : how far the held-out runs reach beyond it, and how many there are.
    scale : the column (or '6 n_params n_tokens') that the cutoffs cut. ranked_by : 'held-out largest scales' or 'K-fold'.
    """

    scores: tuple[LawScore, ...]
    left_out: dict[str, str]
    objective: Objective
    likelihood: str
    scale: str
    cutoffs: Array
    decades: Array
    n_train: Array
    n_held_out: Array
    n_runs: int
    n_clusters: int
    n_folds: int
    n_resamples: int
    ranked_by: str
    target: str
    axes: dict[str, tuple[float, float]]
    notes: tuple[str, ...] = ()
    seed: int | None = None
    largest: dict[str, float] = field(default_factory=dict)  # inputs of the run with the most compute
    largest_scale: float = float("nan")  # and that compute

    @property
    def best(self) -> LawScore:
        """The law with the lowest held-out error of those not ruled out."""
        return self.scores[0]

    @property
    def supported(self) -> tuple[str, ...]:
        """Laws that no other beats by more than chance, best first."""
        return tuple(s.name for s in self.scores if not s.ruled_out)

    @property
    def decided(self) -> bool:
        """True where one law of several is left."""
        return len(self.scores) > 1 and len(self.supported) == 1

    @property
    def weights(self) -> dict[str, float]:
        """How much each law counts in `predict`: the share of resamples in which it extrapolates best."""
        return {s.name: s.weight for s in self.scores}

    def __getitem__(self, name: str) -> LawScore:
        """The score of one law."""
        for s in self.scores:
            if s.name == name:
                return s
        why = f": {self.left_out[name]}" if name in self.left_out else ""
        raise LawError(f"{name!r} is not among the laws compared ({', '.join(s.name for s in self.scores)}){why}.")

    # --- predictions ---------------------------------------------------------------------------------------------------

    def predict(self, x: Mapping[str, Any], level: float | None = None, kind: str = "confidence") -> Any:
        """Averaged prediction of all laws at inputs x, each law counted with its weight.

        Without level: an array (n,), the weighted mean (of logs, for log residuals). With level: a table predicted, low,
        high, spread; the band is the quantile range of all laws' resamples together, so it holds both what each law does
        not know and what the laws disagree on. kind "prediction" adds the scatter of one run. spread is the ratio (or
        difference) of the highest and lowest law with a weight of at least 1 %. decades is how far x lies beyond the run
        with the most compute (nan where x has no such column), and held_out what the best law's error was at the cutoff
        nearest to that distance: no band holds what all laws get wrong, and that error shows its size.
        Raises RunsError for inputs that are missing, FitError for a level outside (0, 1).
        """
        used = [s for s in self.scores if s.weight > 0]
        needed = dict.fromkeys(k for s in used for k in s.law.inputs)
        if missing := [k for k in needed if k not in x]:
            raise RunsError(
                f"the averaged prediction of {', '.join(s.name for s in used)} needs {', '.join(needed)}; missing: {', '.join(missing)}."
            )
        if kind not in ("confidence", "prediction"):
            raise FitError(f"kind={kind!r}: choose 'confidence' (the law's value) or 'prediction' (one new run).")
        inputs = {k: np.atleast_1d(np.asarray(x[k], dtype=float)) for k in needed}
        log = self.objective.of == "log"
        weights = np.array([s.weight for s in used])
        points = np.stack([np.asarray(s.law.predict(inputs, s.fit.theta)) for s in used])  # (K, n)
        mean = np.exp(weights @ np.log(points)) if log else weights @ points
        if level is None:
            return mean
        if not 0 < level < 1:
            raise FitError(f"level must lie between 0 and 1 (0.95 is 95 %), not {level}.")
        import pandas as pd

        rng = np.random.default_rng(0)
        values, mass = [], []
        for s, weight in zip(used, weights, strict=True):
            with np.errstate(all="ignore"):
                drawn = np.asarray(s.law.predict(inputs, s.draws))  # (R, n)
            if kind == "prediction":
                scatter = s.fit.noise * rng.choice(s.fit.standardised_residuals, size=drawn.shape)
                drawn = drawn * np.exp(scatter) if log else drawn + scatter
            drawn = drawn[np.isfinite(drawn).all(-1)]
            values.append(drawn)
            mass.append(np.full(len(drawn), weight / max(len(drawn), 1)))
        low, high = _weighted_quantiles(
            np.concatenate(values), np.concatenate(mass), (0.5 - level / 2, 0.5 + level / 2)
        )
        strong = points[weights >= 0.01]
        spread = strong.max(0) / strong.min(0) if log else strong.max(0) - strong.min(0)
        decades = self._decades(x, len(mean))
        held_out = np.full(len(mean), np.nan)
        beyond = decades > 0
        if len(self.cutoffs) and beyond.any():
            nearest = np.abs(decades[beyond, None] - self.decades).argmin(-1)
            held_out[beyond] = self.best.held_out[nearest]
        return pd.DataFrame({
            "predicted": mean, "low": np.minimum(low, mean), "high": np.maximum(high, mean), "spread": spread,
            "decades": decades, "held_out": held_out,
        })  # fmt: skip

    def _decades(self, x: Mapping[str, Any], n: int) -> Array:
        """(n,) log10 of the compute of x over the largest of the runs; nan where x does not say."""
        if self.scale in x:
            amount = np.asarray(x[self.scale], dtype=float)
        elif self.scale in ("flops", SIX_N_D) and "n_params" in x and "n_tokens" in x:
            amount = 6 * np.asarray(x["n_params"], dtype=float) * np.asarray(x["n_tokens"], dtype=float)
        else:
            return np.full(n, np.nan)
        with np.errstate(all="ignore"):
            return np.broadcast_to(np.log10(np.atleast_1d(amount) / self.largest_scale), (n,)).copy()

    def disagreement(self, factor: float = 10.0) -> float:
        """Ratio minus one (or difference) of the supported laws' predictions at `factor` times the largest compute.

        The largest run scaled up: n_params and n_tokens by sqrt(factor), flops by factor; nan for laws of other inputs.
        """
        grow = {"n_params": factor**0.5, "n_tokens": factor**0.5, "flops": factor}
        supported = [s for s in self.scores if not s.ruled_out]
        if len(supported) < 2 or not all(k in grow for s in supported for k in s.law.inputs):
            return float("nan")
        x = {k: np.array([v * grow[k]]) for k, v in self.largest.items() if k in grow}
        with np.errstate(all="ignore"):
            values = np.array([np.asarray(s.law.predict(x, s.fit.theta))[0] for s in supported])
        return float(values.max() / values.min() - 1) if self.objective.of == "log" else float(np.ptp(values))

    # --- words and tables ----------------------------------------------------------------------------------------------

    @property
    def finding(self) -> str:
        """One or a few sentences: what the runs can and cannot tell apart."""
        best = self.best
        show = _percent if self.objective.of == "log" else _short
        where = (
            f"predicting runs up to {self.decades.max():.1f} decades of compute beyond the training part"
            if self.ranked_by != "K-fold"
            else f"predicting runs left out in {self.n_folds} folds (the runs allow no compute cutoff, so extrapolation is untested)"
        )
        if len(self.scores) == 1:
            text = (
                f"Only {best.name} could be compared: its error is {show(best.error)} "
                f"[{show(best.low)}, {show(best.high)}] {where}."
            )
        elif self.decided:
            others = self.scores[1:]
            text = f"{best.name} is the one law left: error {show(best.error)} {where}; {_reasons(others)}."
        else:
            names = list(self.supported)
            errors = ", ".join(show(self[n].error) for n in names)
            text = f"The runs cannot tell {_and(names)} apart: errors {errors}, {where}, differ by no more than chance."
            if ruled := [s for s in self.scores if s.ruled_out]:
                text += f" Ruled out: {_reasons(ruled)}."
            apart = self.disagreement()
            if np.isfinite(apart):
                text += (
                    f" At 10 times the largest compute the laws that are left differ by {show(apart)}: "
                    + ("runs there would tell them apart." if apart > 2 * best.fit.noise else "not even runs there would tell them apart.")
                )  # fmt: skip
        nearer = min(self.scores, key=lambda s: s.error)
        if nearer.error < (1 - MINOR) * best.error and nearer.ruled_out:
            text += f" On the held-out scales alone {nearer.name} errs less ({show(nearer.error)}), within what chance allows."
        if best.lack_of_fit:
            text += f" Even {best.name} leaves a trend in its residuals over all runs: none of these laws is the whole story."
        return text

    def table(self) -> pd.DataFrame:
        """One row per law, best extrapolation first, then the laws that were left out with the reason in `note`."""
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for rank, s in enumerate(self.scores, 1):
            rows.append({
                "rank": rank, "law": s.name, "n_coefs": len(s.law.coefs), "error": s.error, "low": s.low, "high": s.high,
                "excess": s.excess, "excess_low": s.excess_low, "excess_high": s.excess_high, "ruled_out": s.ruled_out,
                "weight": s.weight, "kfold_error": s.kfold_error, "kfold_excess": s.kfold_excess, "aicc": s.aicc, "bic": s.bic, "lack_of_fit": bool(s.lack_of_fit),
                "status": str(s.fit.status), "note": "; ".join([*([s.why] if s.why else []), *s.notes]),
            })  # fmt: skip
        table = pd.DataFrame(rows)
        table["rank"] = table["rank"].astype("Int64")
        if self.left_out:
            extra = pd.DataFrame({"law": list(self.left_out), "note": list(self.left_out.values())})
            extra = extra.reindex(columns=table.columns)
            table = pd.concat([table.astype(object), extra.astype(object)], ignore_index=True)
        return table

    def cutoff_table(self) -> pd.DataFrame:
        """One row per law and cutoff: how many runs trained and scored it, decades beyond the cutoff, error, bias."""
        import pandas as pd

        return pd.DataFrame([
            {"law": s.name, "cutoff": self.cutoffs[q], "n_train": int(self.n_train[q]), "n_held_out": int(self.n_held_out[q]),
             "decades": self.decades[q], "error": s.held_out[q], "bias": s.bias[q]}
            for s in self.scores for q in range(len(self.cutoffs))
        ], columns=["law", "cutoff", "n_train", "n_held_out", "decades", "error", "bias"])  # fmt: skip

    def residual_table(self) -> pd.DataFrame:
        """One row per law: p values of trends along each axis and of shared errors, tails, lack of fit in words."""
        import pandas as pd

        return pd.DataFrame([
            {"law": s.name, **{f"trend_{k}": p for k, p in s.trends.items()}, "tail_share": s.tail_share,
             "heavy_tails": s.heavy_tails, "cluster_p": s.cluster_p, "lack_of_fit": s.lack_of_fit}
            for s in self.scores
        ])  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able document (`scaling.compare/1`)."""
        return {
            "schema": SCHEMA,
            "finding": self.finding,
            "decided": self.decided,
            "supported": list(self.supported),
            "ranked_by": self.ranked_by,
            "target": self.target,
            "objective": self.objective.to_dict(float("inf" if self.objective.delta is None else self.objective.delta)),
            "likelihood": self.likelihood,
            "n_runs": self.n_runs,
            "n_clusters": self.n_clusters,
            "n_folds": self.n_folds,
            "n_resamples": self.n_resamples,
            "level": LEVEL,
            "seed": self.seed,
            "cutoffs": [
                {"scale": self.scale, "below": float(c), "n_train": int(a), "n_held_out": int(b), "decades": float(d)}
                for c, a, b, d in zip(self.cutoffs, self.n_train, self.n_held_out, self.decades, strict=True)
            ],
            "domain": {k: [lo, hi] for k, (lo, hi) in self.axes.items()},
            "laws": [
                {
                    "law": s.name,
                    "equation": s.law.equation,
                    "coefs": {k: _number(v) for k, v in zip(s.law.coef_names, s.fit.theta, strict=True)},
                    "status": str(s.fit.status),
                    "error": _number(s.error),
                    "low": _number(s.low),
                    "high": _number(s.high),
                    "excess": _number(s.excess),
                    "excess_low": _number(s.excess_low),
                    "excess_high": _number(s.excess_high),
                    "kfold_excess": _number(s.kfold_excess),
                    "kfold_excess_low": _number(s.kfold_excess_low),
                    "kfold_excess_high": _number(s.kfold_excess_high),
                    "ruled_out": s.ruled_out,
                    "why": s.why,
                    "weight": _number(s.weight),
                    "held_out": [_number(v) for v in s.held_out],
                    "bias": [_number(v) for v in s.bias],
                    "kfold_error": _number(s.kfold_error),
                    "kfold_std_error": _number(s.kfold_std_error),
                    "aicc": _number(s.aicc),
                    "bic": _number(s.bic),
                    "lack_of_fit": s.lack_of_fit,
                    "trends": {k: _number(p) for k, p in s.trends.items()},
                    "tail_share": _number(s.tail_share),
                    "heavy_tails": s.heavy_tails,
                    "cluster_p": _number(s.cluster_p),
                    "notes": list(s.notes),
                }
                for s in self.scores
            ],
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        show = _percent if self.objective.of == "log" else _short
        width = max(len(s.name) for s in self.scores)
        lines = [self.finding, ""]
        lines.append(
            f"{'law':<{width}}  {'error':>9}  {'95 % interval':<20}  {'weight':>6}  {'K-fold':>9}  {'AICc':>9}  {'BIC':>9}"
        )
        for s in self.scores:
            interval = f"[{show(s.low)}, {show(s.high)}]"
            lines.append(
                f"{s.name:<{width}}  {show(s.error):>9}  {interval:<20}  {s.weight:>6.2f}  {show(s.kfold_error):>9}  {s.aicc:>9.1f}  {s.bic:>9.1f}"
                + ("  ruled out" if s.ruled_out else "")
                + ("  lack of fit" if s.lack_of_fit else "")
            )
        lines += [f"{name}: left out, {why}" for name, why in self.left_out.items()]
        if len(self.cutoffs):
            parts = ", ".join(
                f"{c:.3g} ({a} runs below, {b} above)"
                for c, a, b in zip(self.cutoffs, self.n_train, self.n_held_out, strict=True)
            )
            lines.append(f"trained below {self.scale} = {parts}")
        lines.append(f"AICc and BIC: {self.likelihood}")
        lines += [f"{s.name}: {note}" for s in self.scores for note in s.notes]
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)

    __repr__ = __str__


def compare(
    laws: Sequence[Law | str],
    runs: pd.DataFrame | Mapping[str, Any],
    objective: Objective | str = "hoffmann",
    *,
    cutoffs: Sequence[float] | None = None,
    n_folds: int = 10,
    n_resamples: int = 1000,
    rng: int | np.random.Generator = 0,
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

    fitted: list[tuple[Law, list[FitResult]]] = []
    for law in candidates:
        reason, parts = _fit_parts(law, table, objective, trained, n_folds)
        if reason:
            left_out[law.name] = reason
        else:
            fitted.append((law, parts))
    if not fitted:
        raise FitError("none of the laws can be compared: " + " ".join(f"{k}: {v}." for k, v in left_out.items()))

    counts = _draw_counts(labels, n_resamples, generator)  # (R, n), the same for every law
    ranked_by = "held-out largest scales" if len(cut) else "K-fold"
    scored = [_score(law, parts, table, objective, fold, below, counts, labels, amount) for law, parts in fitted]
    scores = _rank([s for s, _, _ in scored], np.stack([e for _, e, _ in scored]), np.stack([e for _, _, e in scored]))
    decades = np.array([np.log10(amount.max() / c) for c in cut])
    top = int(amount.argmax())
    numeric = dict.fromkeys(k for law, _ in fitted for k in law.inputs)
    return Comparison(
        scores=tuple(scores), left_out=left_out, objective=objective, likelihood=_likelihood_words(objective, n, n_clusters),
        scale=scale, cutoffs=cut, decades=decades, n_train=below.sum(-1), n_held_out=(~below).sum(-1), n_runs=n,
        n_clusters=n_clusters, n_folds=n_folds, n_resamples=n_resamples, ranked_by=ranked_by, target=fitted[0][0].target,
        axes={k: (float(table[k].min()), float(table[k].max())) for k in numeric}, notes=tuple(notes), seed=seed,
        largest={k: float(table[k].iloc[top]) for k in numeric}, largest_scale=float(amount.max()),
    )  # fmt: skip


# --- what is compared --------------------------------------------------------------------------------------------------


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


def _draw_counts(labels: Array, n_resamples: int, rng: np.random.Generator) -> Array:
    """(R, n) how often each run is drawn; rows of one cluster together."""
    n_clusters = int(labels.max()) + 1
    drawn = rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=n_resamples)
    return drawn[:, labels].astype(float)


# --- fits ----------------------------------------------------------------------------------------------------------------


def _fit_parts(
    law: Law, table: pd.DataFrame, objective: Objective, trained: Array, n_folds: int
) -> tuple[str, list[FitResult]]:
    """The law fitted to every part (rows of `trained`) in one batch; or the reason why it cannot be compared."""
    import pandas as pd

    needed = len(law.coefs) + 2
    sizes = trained.sum(-1)
    if sizes.min() < needed:
        worst = int(sizes.argmin())
        where = "of the table" if worst == 0 else "outside one fold" if worst <= n_folds else "below the lowest cutoff"
        return f"its {len(law.coefs)} coefficients need {needed} runs, and the part {where} has {sizes[worst]}", []
    slim = table[[*law.inputs, law.target]]
    stacked = pd.concat([slim[used].assign(**{_PART: i}) for i, used in enumerate(trained)], ignore_index=True)
    try:
        with np.errstate(all="ignore"):  # far starts may overflow; they are rejected
            batch = fit(law, stacked, objective, by=_PART)
    except np.linalg.LinAlgError as error:  # one law must not cost the comparison of the others
        return f"the search for its coefficients broke down ({error})", []
    parts = [batch[i] for i in range(len(trained))]
    for i, part in enumerate(parts):
        if not np.isfinite(part.theta).all() or part.status == FitStatus.NOT_FINITE:
            where = "all runs" if i == 0 else "one fold's complement" if i <= n_folds else "the runs below a cutoff"
            return f"no fit to {where}: {part.message}", []
    return "", parts


def _refit(parts: Sequence[FitResult], trained: Array, counts: Array) -> Array:
    """theta (S, R, P) of S parts refitted to resampled runs; nan where that failed.

    trained (S, n) are the runs of each part, counts (R, n) how often each run is drawn. All refits are rows of one batch
    over the same points, and run to convergence: a refit that stops where it started understates the spread. Each starts
    from its part's fit. Rows with no more distinct runs than coefficients are not fitted.
    """
    law, objective, coordinates = parts[0].law, parts[0].objective, parts[0].coordinates
    whole = parts[0].problem
    assert whole is not None
    x, y = {k: v.reshape(-1) for k, v in whole.x.items()}, whole.y.reshape(-1)
    n = len(y)
    base, delta = np.zeros((len(parts), n)), np.ones((len(parts), n))
    for k, (part, used) in enumerate(zip(parts, trained, strict=True)):
        assert part.problem is not None
        base[k, used] = part.problem.weights[0]
        own = np.atleast_1d(part.delta)
        delta[k, used] = own[: used.sum()] if len(own) > 1 else own[0]
    if all(np.ndim(part.delta) == 0 or np.size(part.delta) == 1 for part in parts):
        delta = delta[np.arange(len(parts)), trained.argmax(-1)][:, None]
    with np.errstate(all="ignore"):  # a coefficient at its bound may be zero to the last bit
        u0 = coordinates.to_working(np.stack([part.theta for part in parts]))
    u0 = np.nan_to_num(u0, neginf=-700.0, posinf=700.0)
    theta = np.full((len(parts), len(counts), len(law.coefs)), np.nan)
    distinct = np.stack([np.count_nonzero(counts * b, axis=-1) for b in base])
    part_of, draw_of = np.nonzero(distinct > u0.shape[-1])
    block = max(1, 4 * CHUNK_ELEMENTS // n)
    for first in range(0, len(part_of), block):
        i, r = part_of[first : first + block], draw_of[first : first + block]
        with np.errstate(all="ignore"):  # trial steps may overflow; they are rejected
            found = solve(coordinates, objective, Problem(x, y, counts[r] * base[i]), u0[i], delta[i])
        finite = np.isfinite(found.u).all(-1)
        theta[i[finite], r[finite]] = coordinates.to_theta(found.u[finite])[0]
    return theta


def _score(
    law: Law, parts: list[FitResult], table: pd.DataFrame, objective: Objective, fold: Array, below: Array, counts: Array,
    labels: Array, amount: Array,
) -> tuple[LawScore, Array, Array]:  # fmt: skip
    """Everything about one law that needs no other law; its error and its K-fold error in each resample, both (R,)."""
    x = {k: table[k].to_numpy(float) for k in law.inputs}
    y = table[law.target].to_numpy(float)
    n_folds = len(parts) - 1 - len(below)
    whole, folds, cuts = parts[0], parts[1 : 1 + n_folds], parts[1 + n_folds :]

    def residuals(theta: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(objective.residuals(np.asarray(law.predict(x, theta), dtype=float), y)[0])

    worst = WORST_LOG if objective.of == "log" else 100 * float(np.ptp(y)) + 1e-300
    left = np.stack([residuals(part.theta) for part in folds])[fold, np.arange(len(y))]
    cv = np.minimum(np.where(np.isfinite(left), np.abs(left), worst), worst)
    cluster_cv = np.bincount(labels, cv) / np.bincount(labels)
    kfold_errors = counts @ cv / counts.sum(-1)
    kfold, kfold_se = float(cv.mean()), float(cluster_cv.std(ddof=1) / np.sqrt(len(cluster_cv)))

    refits = _refit([whole, *cuts], np.concatenate([np.ones((1, len(y)), bool), below]), counts)
    held_out, bias, per_cut = np.empty(len(cuts)), np.empty(len(cuts)), []
    for q, part in enumerate(cuts):
        above = ~below[q]
        r = residuals(part.theta)[above]
        r = np.clip(np.where(np.isfinite(r), r, worst), -worst, worst)
        held_out[q], bias[q] = np.abs(r).mean(), r.mean()
        with np.errstate(all="ignore"):
            drawn = np.abs(residuals(refits[1 + q]))[:, above]
            # a prediction that overflows is as wrong as can be; a refit that was not made is no prediction
            drawn = np.minimum(np.where(np.isfinite(drawn), drawn, worst), worst)
            drawn[~np.isfinite(refits[1 + q]).all(-1)] = np.nan
            share = counts[:, above]
            per_cut.append((share * drawn).sum(-1) / share.sum(-1))
    if len(cuts):
        error, errors = float(held_out.mean()), np.mean(per_cut, axis=0)
    else:
        error, errors = kfold, kfold_errors

    draws = refits[0]
    failed = ~np.isfinite(draws).all(-1)
    draws = draws[~failed]
    notes = []
    if failed.mean() > 0.01:
        notes.append(f"{failed.mean():.0%} of the resamples could not be refitted")
    if whole.status != FitStatus.CONVERGED:
        notes.append(str(whole.message).rstrip("."))
    if len(draws) < 2:  # nothing to draw a band from: the fit alone
        draws = np.tile(whole.theta, (2, 1))
        notes.append("no resample could be refitted: its band is missing from the average")

    axes = {"ln C": np.log(amount)}
    for name, letter in (("n_params", "ln N"), ("n_tokens", "ln D")):
        if name in table and (table[name].to_numpy(float) > 0).all():
            axes[letter] = np.log(table[name].to_numpy(float))
    residual, jac, used = _residuals_and_slopes(whole)
    trends = {k: _trend_p(residual[used], jac[:, used], t[used]) for k, t in axes.items()}
    groups = labels if labels.max() + 1 < len(y) else _budgets(amount)
    scaled = residual / np.maximum(robust_scale(residual[None], np.ones((1, len(y))))[0], 1e-300)
    tail_share, heavy = _tails(scaled)
    deviance = _log_likelihood(whole, residual, y, objective)
    n, k = int(labels.max()) + 1, len(law.coefs) + 1
    deviance = -2 * deviance * n / len(y)
    low, high = _interval_of(errors, error, LEVEL)
    low = max(low, 0.0)
    score = LawScore(
        law=law, fit=whole, draws=draws, deviance=deviance,
        aicc=deviance + 2 * k + (2 * k * (k + 1) / (n - k - 1) if n > k + 1 else np.inf), bic=deviance + k * float(np.log(n)),
        kfold_error=kfold, kfold_std_error=kfold_se, held_out=held_out, bias=bias, error=error, low=low, high=high,
        excess=0.0, excess_low=0.0, excess_high=0.0, kfold_excess=0.0, kfold_excess_low=0.0, kfold_excess_high=0.0, ruled_out=False,
        why="", weight=1.0,
        lack_of_fit=next((w.message for w in whole.warnings if w.code == "lack_of_fit"), ""),
        trends=trends, tail_share=tail_share, heavy_tails=heavy, cluster_p=_cluster_p(residual, groups), notes=tuple(notes),
    )  # fmt: skip
    return score, errors, kfold_errors


def _rank(scores: list[LawScore], replicates: Array, kfold_replicates: Array) -> list[LawScore]:
    """Scores in order, with what was ruled out, the excess over the best, and the weights.

    replicates, kfold_replicates (K, R) : the errors of each law in each resample.
    """
    k = len(scores)
    error, kfold = np.array([s.error for s in scores]), np.array([s.kfold_error for s in scores])
    # Bonferroni over laws and both criteria: one false exclusion in 20 comparisons, not one in 20 laws
    level = 1 - (1 - LEVEL) / max(2 * (k - 1), 1)

    def worse(i: int, j: int, value: Array, draws: Array) -> tuple[float, float]:
        return (0.0, 0.0) if i == j else _difference(draws[i] - draws[j], value[i] - value[j], level)

    def matrix(value: Array, draws: Array) -> Array:
        surely = np.array([[worse(i, j, value, draws)[0] > SAME for j in range(k)] for i in range(k)])
        return surely & (value[:, None] - value > MINOR * value)

    deviance = np.array([s.deviance for s in scores])
    far, near = matrix(error, replicates), matrix(kfold, kfold_replicates)
    near &= deviance[:, None] - deviance > MISFIT
    beaten = (far & ~near.T) | (near & ~far.T)  # [i, j]: i is worse than j on one criterion and better on none
    out = beaten.any(1)
    if out.all():  # a circle: each beats the next
        out[:] = False
    order = np.lexsort((error, out))
    best = order[0]

    # a resample in which a law could not be refitted counts against that law
    filled = np.where(np.isfinite(replicates) & ~out[:, None], replicates, np.inf)
    some = np.isfinite(filled).any(0)
    wins = np.bincount(filled[:, some].argmin(0), minlength=k).astype(float) if some.any() else (~out).astype(float)
    weights = wins / wins.sum()
    ranked = []
    for i in order:
        low, high = worse(i, best, error, replicates)
        kfold_low, kfold_high = worse(i, best, kfold, kfold_replicates)
        why = ""
        if out[i]:
            j = best if beaten[i, best] else int(np.flatnonzero(beaten[i])[error[beaten[i]].argmin()])
            where = " and ".join(["on the held-out scales"] * bool(far[i, j]) + ["in the folds"] * bool(near[i, j]))
            why = f"worse than {scores[j].name} {where}"
        ranked.append(replace(
            scores[i], excess=float(error[i] - error[best]), excess_low=low, excess_high=high,
            kfold_excess=float(kfold[i] - kfold[best]), kfold_excess_low=kfold_low, kfold_excess_high=kfold_high,
            ruled_out=bool(out[i]), why=why, weight=float(weights[i]),
        ))  # fmt: skip
    return ranked


def _interval_of(replicates: Array, value: float, level: float) -> tuple[float, float]:
    """Spread of the replicates put around the observed value.

    Refits to resampled runs predict a little worse than the fit, by a like amount for like laws: the replicates tell the
    spread, the runs themselves the centre.
    """
    kept = replicates[np.isfinite(replicates)]
    if len(kept) < 20:
        return float("nan"), float("nan")
    low, middle, high = np.quantile(kept, [0.5 - level / 2, 0.5, 0.5 + level / 2])
    return float(value - (middle - low)), float(value + (high - middle))


def _difference(replicates: Array, value: float, level: float) -> tuple[float, float]:
    """Interval of a difference between two laws, symmetric around the observed one.

    Where a law contains the other, most resamples may differ by nothing at all and the rest in one direction only:
    quantiles of each side would call any difference sure on the other side.
    """
    kept = replicates[np.isfinite(replicates)]
    if len(kept) < 20:
        return float("-inf"), float("inf")
    half = float(np.quantile(np.abs(kept - np.median(kept)), level))
    return float(value - half), float(value + half)


# --- criteria and residual checks ------------------------------------------------------------------------------------


def _log_likelihood(part: FitResult, residual: Array, y: Array, objective: Objective) -> float:
    """Highest log likelihood of the residuals under the density that makes this fit its maximum.

    That density is exp(-loss(r) / tau) / Z(tau), with tau estimated: normal for least squares, nearly Laplace for a Huber
    loss whose bend is far inside the noise. The bisquare has no density; its Huber stand-in (95 % efficient) is used.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import erf

    delta = float(np.median(part.delta))
    if objective.redescends:
        objective = Objective("huber", objective.of)
        delta *= 1.345 / 4.685
    total = float(np.sum(objective.loss(residual, delta)))
    n = len(residual)

    def normaliser(tau: float) -> float:
        if not np.isfinite(delta):
            return float(np.sqrt(2 * np.pi * tau))
        bend = delta**2 / (2 * tau)
        return float(np.sqrt(2 * np.pi * tau) * erf(np.sqrt(bend)) + 2 * tau / delta * np.exp(-bend))

    def deviance(log_tau: float) -> float:
        tau = float(np.exp(log_tau))
        # a tilted loss is the loss of tau / tilt on each side
        sides = (2 * (1 - objective.quantile), 2 * objective.quantile)
        z = 0.5 * sum(normaliser(tau / side) for side in sides)
        return total / tau + n * float(np.log(z))

    # tau lies between its values for least squares (loss / n, twice) and for absolute deviations (loss / n), both widened
    middle = float(np.log(max(total / n, 1e-300)))
    found = minimize_scalar(deviance, bounds=(middle - 4, middle + 4), method="bounded", options={"xatol": 1e-9})
    value = -float(found.fun)
    return value - float(np.log(y).sum()) if objective.of == "log" else value


def _likelihood_words(objective: Objective, n: int, n_clusters: int) -> str:
    what = "log residuals" if objective.of == "log" else "residuals"
    if objective.redescends:
        kind = f"a Huber density of the {what} (the bisquare has none)"
    elif objective.delta is not None and np.isinf(objective.delta):
        kind = f"normal {what}"
    else:
        kind = f"{what} with density proportional to exp(-loss / tau) of the objective, nearly Laplace where the bend is inside the noise"
    text = f"{kind}; the scale is estimated and counted"
    if n_clusters < n:
        text += f"; {n} rows of {n_clusters} runs, the log likelihood scaled to the number of runs"
    return text


def _residuals_and_slopes(part: FitResult) -> tuple[Array, Array, Array]:
    """Residuals (n,), their derivative (p, n) in working coordinates, and which runs count."""
    assert part.problem is not None
    u = part.coordinates.to_working(part.theta)[None]
    residual, jac = evaluate(part.coordinates, part.objective, part.problem, u)
    return residual[0], np.nan_to_num(jac[0]), part.problem.weights[0] > 0


def _trend_p(residual: Array, jac: Array, t: Array) -> float:
    """p value of t and t^2 in the residuals beyond what the law can take up; outliers down-weighted at three robust sd."""
    from scipy.special import fdtrc

    scale = float(robust_scale(residual[None], np.ones((1, len(residual))))[0])
    if scale <= 1e-10 or np.ptp(t) < 1e-9:
        return 1.0
    t = _centred(t)
    weight = np.minimum(1.0, 3 * scale / np.maximum(np.abs(residual), 1e-300)) ** 0.5
    base = (jac / np.maximum(np.linalg.norm(jac, axis=1, keepdims=True), 1e-300) * weight).T
    full = np.concatenate([base, (np.stack([t, t**2]) * weight).T], axis=1)
    before, rank_before = _residual_squares(base, residual * weight)
    after, rank_after = _residual_squares(full, residual * weight)
    added, dof = rank_after - rank_before, len(residual) - rank_after
    if added <= 0 or dof <= 0 or after <= 0:
        return 1.0
    return float(fdtrc(added, dof, max(before - after, 0.0) / added / (after / dof)))


def _tails(scaled: Array) -> tuple[float, bool]:
    """Share of runs beyond three robust standard deviations, and whether it is too many for a normal (p < 0.01)."""
    from scipy.special import bdtrc

    beyond = int((np.abs(scaled) > 3).sum())
    # 0.27 % beyond three sd, doubled because the scale is estimated
    return beyond / len(scaled), bool(beyond > 0 and bdtrc(beyond - 1, len(scaled), 0.0054) < TREND_LEVEL)


def _cluster_p(residual: Array, groups: Array) -> float:
    """p value of equal mean residuals over clusters (one-way analysis of variance); nan without clusters."""
    from scipy.special import fdtrc

    groups = np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(groups)
    k, n = len(sizes), len(residual)
    if k < 3 or k > n / 2:
        return float("nan")
    means = np.bincount(groups, residual) / sizes
    within = float(((residual - means[groups]) ** 2).sum())
    between = float((sizes * (means - residual.mean()) ** 2).sum())
    return float(fdtrc(k - 1, n - k, between / (k - 1) / (within / (n - k)))) if within > 0 else float("nan")


def _budgets(amount: Array) -> Array:
    """(n,) labels of compute budgets: sorted compute split where its log jumps."""
    order = np.argsort(amount, kind="stable")
    labels = np.empty(len(amount), int)
    labels[order] = np.concatenate([[0], np.cumsum(np.diff(np.log(amount[order])) > GAP)])
    return labels


# --- words ---------------------------------------------------------------------------------------------------------------


def _weighted_quantiles(values: Array, mass: Array, at: Sequence[float]) -> list[Array]:
    """Quantiles over the first axis of values (M, n) with weights (M,)."""
    order = np.argsort(values, axis=0)
    ordered = np.take_along_axis(values, order, 0)
    cumulative = np.cumsum(mass[order], axis=0)
    cumulative /= cumulative[-1]
    return [np.take_along_axis(ordered, (cumulative >= q).argmax(0)[None], 0)[0] for q in at]


def _reasons(scores: Sequence[LawScore]) -> str:
    """'kaplan and power_c are worse than chinchilla in the folds; ...': laws that share a reason together."""
    by_reason: dict[str, list[str]] = {}
    for s in scores:
        by_reason.setdefault(s.why, []).append(s.name)
    return "; ".join(f"{_and(names)} {'is' if len(names) == 1 else 'are'} {why}" for why, names in by_reason.items())


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _percent(value: float) -> str:
    return f"{100 * value:.2g} %" if abs(value) < 0.0995 else f"{100 * value:.0f} %"


def _short(value: float) -> str:
    return f"{value:.3g}"


def _number(value: Any) -> float | None:
    value = float(value)
    return value if np.isfinite(value) else None
