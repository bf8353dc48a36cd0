"""Is one architecture, optimiser or corpus worth more compute than another, and do their exponents differ?

Three nested descriptions of the same runs: one surface for all, shared exponents with efficiency factors for each group
(and then floors of their own), and a surface for each group. The factors give a compute multiplier that holds at every
loss; where the exponents differ there is none, and the multiplier is given at stated budgets. Source: Volkova et al. 2026,
arXiv:2602.07712; Tay et al. 2022, arXiv:2207.10551.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from scaling.errors import FitError, RunsError
from scaling.fitting import FitResult, Squared, fit
from scaling.fitting.objective import Objective
from scaling.laws.efficiency import efficiency_law
from scaling.laws.law import Array
from scaling.uncertainty import interval

FEWEST_RUNS = 8  # of a group: a surface of its own has five coefficients


@dataclass(frozen=True)
class GroupComparison:
    """What separates groups of runs.

    factors : one row per group: group, runs, rho_N, rho_D and multiplier (compute of the reference worth one FLOP of the
        group at equal loss), each with _low and _high at `level`; the first row is the reference, all ones.
    models : model ("one surface", "efficiency factors", "factors and floors", "separate surfaces"), n_coefs, rmse_log, aicc,
        and p_value of the step from the row above it (F test on log losses).
    exponents_differ : p-value of separate exponents against shared ones, with floors of their own in both.
    at_budgets : group, flops, multiplier from the separate surfaces at budgets that both groups span.
    """

    by: str
    factors: pd.DataFrame
    models: pd.DataFrame
    exponents_differ: float
    at_budgets: pd.DataFrame
    level: float
    shared: FitResult = field(repr=False)
    separate: FitResult = field(repr=False)

    @property
    def finding(self) -> str:
        """One sentence."""
        reference = self.factors["group"].iloc[0]
        parts = []
        for row in self.factors.iloc[1:].to_dict("records"):
            parts.append(
                f"one FLOP of {row['group']} is worth {row['multiplier']:.3g} of {reference} "
                f"({row['multiplier_low']:.3g} to {row['multiplier_high']:.3g})"
            )
        floors = float(self.models["p_value"].iloc[2])
        if self.exponents_differ < 1 - self.level:
            tail = f"but the exponents differ (p = {self.exponents_differ:.2g}), so it changes with scale"
        elif floors < 1 - self.level:
            tail = f"but their irreducible losses differ (p = {floors:.2g}), so it changes with scale"
        else:
            tail = f"and nothing says that the exponents differ (p = {self.exponents_differ:.2g})"
        text = f"At equal loss {', '.join(parts)}, {tail}."
        return text[0].upper() + text[1:]

    def __str__(self) -> str:
        tables = [t.to_string(index=False, float_format=lambda v: f"{v:.4g}") for t in (self.factors, self.models)]
        return "\n\n".join([self.finding, *tables])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able values; nan becomes None."""
        return {
            "schema": "scaling.groups/1",
            "finding": self.finding,
            "by": self.by,
            "level": self.level,
            "exponents_differ": float(self.exponents_differ),
            **{name: _records(getattr(self, name)) for name in ("factors", "models", "at_budgets")},
        }


def compare_groups(
    runs: pd.DataFrame,
    by: str,
    *,
    reference: str | None = None,
    objective: Objective | str | None = None,
    level: float = 0.95,
    budgets: Sequence[float] = (),
) -> GroupComparison:
    """Efficiency factors and the compute multiplier of groups of runs, and a test of whether exponents are shared.

    Parameters
    ----------
    runs : n_params, n_tokens, loss and the column `by`, all on one evaluation text and tokenizer.
    reference : the group that the others are held against; default the one with the most runs.
    objective : of all fits; default least squares on log loss, which the F tests assume.
    budgets : FLOPs at which the separate surfaces are compared; default three within the budgets that all groups span.

    Raises RunsError for a missing column, a single group, or a group of fewer than 8 runs.
    """
    objective = Squared(of="log") if objective is None else objective
    for column in (by, "n_params", "n_tokens", "loss"):
        if column not in runs:
            raise RunsError(f"no column {column!r}; columns: {', '.join(map(str, runs.columns))}.")
    used = runs.dropna(subset=[by, "n_params", "n_tokens", "loss"]).reset_index(drop=True)
    counts = used[by].astype(str).value_counts()
    if len(counts) < 2:
        raise RunsError(f"column {by!r} holds {len(counts)} group: a comparison needs two.")
    if (few := counts[counts < FEWEST_RUNS]).size:
        raise RunsError(
            f"group {few.index[0]!r} of column {by!r} has {few.iloc[0]} runs, and a surface needs {FEWEST_RUNS}: "
            "leave the group out."
        )
    first = str(counts.index[0]) if reference is None else str(reference)
    if first not in counts.index:
        raise RunsError(f"no group {first!r} in column {by!r}; there are {', '.join(counts.index)}.")
    names = [first, *sorted(set(counts.index) - {first})]
    used["group"] = used[by].astype(str).map({name: float(i) for i, name in enumerate(names)})
    g = len(names)

    pooled = fit("chinchilla", used, objective)
    shared = _fit_shared(used, g, pooled, objective, own_floor=False)
    floors = _fit_shared(used, g, pooled, objective, own_floor=True)
    separate = fit("chinchilla", used, objective, by="group")
    log_loss = np.log(used["loss"].to_numpy(float))
    code = used["group"].to_numpy(int)
    columns = {c: used[c].to_numpy(float) for c in ("n_params", "n_tokens", "group")}

    def misfit(result: FitResult) -> float:
        predicted = result.law.predict(columns, result.theta)
        return float(((np.log(predicted) - log_loss) ** 2).sum())

    own = np.array([float(separate.law.predict({k: v[i : i + 1] for k, v in columns.items()}, separate.theta[c])[0])
                    for i, c in enumerate(code)])  # fmt: skip
    sums = [misfit(pooled), misfit(shared), misfit(floors), float(((np.log(own) - log_loss) ** 2).sum())]
    n_coefs = [5, 5 + 2 * (g - 1), 5 + 3 * (g - 1), 5 * g]
    models = _models(sums, n_coefs, len(used))
    return GroupComparison(
        by=by,
        factors=_factors(shared, names, counts, g, level),
        models=models,
        exponents_differ=float(models["p_value"].iloc[-1]),
        at_budgets=_at_budgets(separate, names, used, budgets),
        level=level,
        shared=shared,
        separate=separate,
    )


def _fit_shared(
    used: pd.DataFrame, g: int, pooled: FitResult, objective: Objective | str, own_floor: bool
) -> FitResult:
    """The grouped law from the pooled surface with equal groups: close to every optimum that compares like with like."""
    law = efficiency_law(g, own_floor=own_floor)
    at = dict(zip(pooled.law.coef_names, pooled.theta, strict=True))
    start = {
        c.name: float(at[c.name]) if c.name in at else float(at["E"]) if c.name.startswith("E") else 1.0
        for c in law.coefs
    }
    result = fit(law, used, objective, start=start)
    if not np.isfinite(result.theta).all():
        raise FitError(f"the surface with efficiency factors could not be fitted: {result.message}")
    return result


def _models(sums: list[float], n_coefs: list[int], n: int) -> pd.DataFrame:
    from scipy.special import fdtrc

    names = ("one surface", "efficiency factors", "factors and floors", "separate surfaces")
    rows = []
    for i, (name, s, k) in enumerate(zip(names, sums, n_coefs, strict=True)):
        p = np.nan
        if i and n > k:
            gain = max(sums[i - 1] - s, 0.0) / (k - n_coefs[i - 1])
            p = float(fdtrc(k - n_coefs[i - 1], n - k, gain / max(s / (n - k), 1e-300)))
        q = k + 1  # and the noise
        aicc = n * np.log(max(s / n, 1e-300)) + 2 * q + (2 * q * (q + 1) / (n - q - 1) if n > q + 1 else np.inf)
        rows.append({"model": name, "n_coefs": k, "rmse_log": np.sqrt(s / n), "aicc": aicc, "p_value": p})
    return pd.DataFrame(rows)


def _factors(shared: FitResult, names: list[str], counts: pd.Series, g: int, level: float) -> pd.DataFrame:
    at = {name: i for i, name in enumerate(shared.law.coef_names)}
    rows: list[dict[str, Any]] = [{"group": names[0], "runs": int(counts[names[0]])}]
    for word in ("rho_N", "rho_D", "multiplier"):
        rows[0] |= {word: 1.0, f"{word}_low": 1.0, f"{word}_high": 1.0}
    for i in range(1, g):
        row: dict[str, Any] = {"group": names[i], "runs": int(counts[names[i]])}
        places = [at[f"rho_N_{i}"], at[f"rho_D_{i}"]]
        for word, which in (("rho_N", places[:1]), ("rho_D", places[1:]), ("multiplier", places)):
            band = interval(shared, partial(_product, places=tuple(which)), level, log=True)
            row |= {
                word: float(band.estimate[0]),
                f"{word}_low": float(band.low[0]),
                f"{word}_high": float(band.high[0]),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def _product(theta: Array, places: tuple[int, ...]) -> Array:
    return np.prod(theta[..., list(places)], axis=-1)


def _at_budgets(separate: FitResult, names: list[str], used: pd.DataFrame, budgets: Sequence[float]) -> pd.DataFrame:
    """Compute of the reference that reaches each group's best loss at a budget, over that budget (C = 6 N D)."""
    flops = 6 * used["n_params"].to_numpy(float) * used["n_tokens"].to_numpy(float)
    if not len(budgets):
        spans = pd.Series(flops).groupby(used["group"].to_numpy()).agg(["min", "max"])
        low, high = float(spans["min"].max()), float(spans["max"].min())
        budgets = np.geomspace(low, high, 3).tolist() if high > low else [float(np.exp(np.log(flops).mean()))]
    rows = []
    for i, name in enumerate(names[1:], start=1):
        for c in budgets:
            reached = _best_loss(separate.theta[i], float(c))
            rows.append(
                {"group": name, "flops": float(c), "multiplier": _flops_at(separate.theta[0], reached) / float(c)}
            )
    return pd.DataFrame(rows)


def _frontier(theta: Array) -> tuple[float, float, float]:
    """E, K and gamma of the best loss E + K (C / 6)^-gamma. Hoffmann et al. 2022, arXiv:2203.15556, eq. 4."""
    E, A, B, alpha, beta = (float(v) for v in theta)
    log_g = np.log(alpha * A / (beta * B)) / (alpha + beta)
    return E, A * np.exp(-alpha * log_g) + B * np.exp(beta * log_g), alpha * beta / (alpha + beta)


def _best_loss(theta: Array, flops: float) -> float:
    E, K, gamma = _frontier(theta)
    return E + K * (flops / 6) ** -gamma


def _flops_at(theta: Array, loss: float) -> float:
    E, K, gamma = _frontier(theta)
    return 6 * ((loss - E) / K) ** (-1 / gamma) if loss > E else np.inf


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    def plain(v: Any) -> Any:
        v = v.item() if isinstance(v, np.generic) else v
        return None if isinstance(v, float) and not np.isfinite(v) else v

    return [{str(k): plain(v) for k, v in row.items()} for row in table.to_dict("records")]
