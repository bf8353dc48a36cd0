"""What a comparison of laws found: the score of each law, the ranking, the sentence, and predictions averaged over laws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import FitError, LawError, RunsError
from scaling.fitting.objective import Objective
from scaling.fitting.result import FitResult
from scaling.laws.law import Array, Law

if TYPE_CHECKING:
    import pandas as pd


SCHEMA = "scaling.compare/1"
LEVEL = 0.95  # of the intervals, and of "worse by more than chance" over all laws together
MINOR = 0.01  # differences below this share of the error are of no consequence, however sure
SIX_N_D = "6 n_params n_tokens"


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
