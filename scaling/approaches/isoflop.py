"""Chinchilla's approach 2: at each compute budget the best size, and how it grows with compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.allocation import Fitted, allocate
from scaling.approaches.profiles import CURVES, Profiles, optima_of_draws, profiles
from scaling.compute import DENSE, Accounting
from scaling.errors import FitError, RunsError
from scaling.fitting.result import FitWarning
from scaling.progress import Bar, Report

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
SCHEMA = "scaling.isoflop/1"
GAP = 0.2  # in ln FLOPs: runs further apart belong to different budgets
SPREAD = 0.5  # in ln FLOPs: a budget wider than this is no budget
MIN_SIZES = 4  # different sizes in a budget; three leave nothing to check a curve with
OUTER = 0.2  # share of the grid's width at each end where a minimum is poorly enclosed
BUDGETS_TO_RESAMPLE = 6  # below it there are too few budgets to draw from: the runs within them are perturbed
BIAS_WORTH_SAYING = 0.02


@dataclass(frozen=True)
class PowerLaw:
    """size = exp(log_k) * (flops / pivot)^exponent, with its draws; `dof` of the Student's t behind the intervals."""

    exponent: float
    log_k: float
    pivot: float
    draws: Array  # (R, 2): log_k and exponent
    dof: int

    def at(self, flops: Any, level: float) -> tuple[Array, Array, Array]:
        """(estimate, low, high), each like flops."""
        from scipy.special import stdtrit

        x = np.log(np.asarray(flops, dtype=float) / self.pivot)
        middle = self.log_k + self.exponent * x
        half = stdtrit(self.dof, 0.5 + level / 2) * np.std(self.draws[:, :1] + self.draws[:, 1:] * np.ravel(x), axis=0)
        half = half.reshape(x.shape)
        return np.exp(middle), np.exp(middle - half), np.exp(middle + half)

    def exponent_interval(self, level: float) -> tuple[float, float]:
        from scipy.special import stdtrit

        half = float(stdtrit(self.dof, 0.5 + level / 2) * np.std(self.draws[:, 1]))
        return self.exponent - half, self.exponent + half


@dataclass(frozen=True)
class IsoFlop:
    """Optimal size and tokens per budget, and their growth with compute.

    n_opt, d_opt : N_opt(C) [parameters] and D_opt(C) [tokens]. budgets : one row per budget, see `budget_table`.
    curve : which curve the headline stands on. resampled : 'budgets' or 'runs', what the intervals come from.
    sum_exponents : a + b and its interval at `level`; 1 when C = 6 N D holds for every run.
    parabola_exponent : a of the plain parabola beside it. shape : alpha, beta of the asymmetric curve.
    """

    n_opt: PowerLaw
    d_opt: PowerLaw
    budgets: pd.DataFrame
    curve: str
    resampled: str
    weights: str
    level: float
    sum_exponents: tuple[float, float, float]
    parabola_exponent: float
    shape: tuple[float, float] | None
    noise: float
    n_resamples: int
    seed: int | None
    warnings: tuple[FitWarning, ...] = ()
    runs: pd.DataFrame | None = field(default=None, repr=False)

    @property
    def a(self) -> float:
        """Exponent of N_opt(C)."""
        return self.n_opt.exponent

    @property
    def b(self) -> float:
        """Exponent of D_opt(C)."""
        return self.d_opt.exponent

    @property
    def domain(self) -> dict[str, tuple[float, float]]:
        """The budgets the power laws stand on."""
        used = self.budgets.loc[self.budgets["used"], "flops"]
        return {"flops": (float(used.min()), float(used.max()))}

    def predict(self, flops: float | Sequence[float] | Array, level: float | None = None) -> pd.DataFrame:
        """Best size and tokens at each budget [FLOPs]: estimates, low and high, and how far beyond the budgets it is."""
        import pandas as pd

        level = self.level if level is None else level
        _check_level(level)
        c = np.atleast_1d(np.asarray(flops, dtype=float))
        if not (np.isfinite(c) & (c > 0)).all():
            raise FitError(f"a budget must be a positive number of FLOPs, not {c[~((c > 0) & np.isfinite(c))][0]}.")
        n, n_low, n_high = self.n_opt.at(c, level)
        d, d_low, d_high = self.d_opt.at(c, level)
        low, high = self.domain["flops"]
        return pd.DataFrame(
            {
                "flops": c,
                "n_params": n, "n_params_low": n_low, "n_params_high": n_high,
                "n_tokens": d, "n_tokens_low": d_low, "n_tokens_high": d_high,
                "tokens_per_param": d / n,
                "extrapolation": np.maximum(np.maximum(c / high, low / c), 1.0),
            }
        )  # fmt: skip

    def budget_table(self) -> pd.DataFrame:
        """One row per budget: optimum by the chosen curve and by the parabola, verdict, and the reason in words."""
        return self.budgets.copy()

    def coef_table(self, level: float | None = None) -> pd.DataFrame:
        """Exponents a and b, a + b, and the optimum at the middle of the budgets, each with low and high."""
        import pandas as pd

        level = self.level if level is None else level
        _check_level(level)
        rows: list[tuple[str, float, float, float, str]] = []
        for name, law, meaning in (("a", self.n_opt, "N_opt(C)"), ("b", self.d_opt, "D_opt(C)")):
            low, high = law.exponent_interval(level)
            rows.append((name, law.exponent, low, high, f"exponent of {meaning}"))
        total = _sum_exponents(self.n_opt, self.d_opt, level)
        rows.append(("a + b", *total, "1 when C = 6 N D holds for every run"))
        for name, law in (("n_params", self.n_opt), ("n_tokens", self.d_opt)):
            estimate, low_v, high_v = (float(v) for v in law.at(law.pivot, level))
            rows.append((name, estimate, low_v, high_v, f"optimum at {law.pivot:.3g} FLOPs"))
        return pd.DataFrame(rows, columns=["coef", "estimate", "low", "high", "meaning"])

    def to_dict(self) -> dict[str, Any]:
        """The whole answer as plain numbers, schema 'scaling.isoflop/1'."""

        def law(p: PowerLaw) -> dict[str, Any]:
            low, high = p.exponent_interval(self.level)
            return {"exponent": p.exponent, "low": low, "high": high, "at": p.pivot, "value": float(np.exp(p.log_k))}

        return {
            "schema": SCHEMA,
            "finding": self.finding,
            "n_opt": law(self.n_opt),
            "d_opt": law(self.d_opt),
            "sum_exponents": dict(zip(("estimate", "low", "high"), self.sum_exponents, strict=True)),
            "parabola_exponent": _number(self.parabola_exponent),
            "curve": self.curve,
            "shape": None if self.shape is None else {"alpha": self.shape[0], "beta": self.shape[1]},
            "noise": _number(self.noise),
            "resampled": self.resampled,
            "n_resamples": self.n_resamples,
            "seed": self.seed,
            "weights": self.weights,
            "level": self.level,
            "budgets": [{k: _plain(v) for k, v in row.items()} for row in self.budgets.to_dict("records")],
            "warnings": [{"code": w.code, "message": w.message} for w in self.warnings],
        }

    @property
    def finding(self) -> str:
        """The answer in one sentence."""
        low, high = self.n_opt.exponent_interval(self.level)
        if low > 0.5:
            lean = "size should grow faster than data"
        elif high < 0.5:
            lean = "data should grow faster than size"
        else:
            lean = "growing size and data alike is within the interval"
        used = int(self.budgets["used"].sum())
        return (
            f"The best model size grows as C^{self.a:.3f} ({self.level:.0%} interval {low:.3f} to {high:.3f}) and the "
            f"tokens as C^{self.b:.3f} over {used} budgets: {lean}."
        )

    def __str__(self) -> str:
        columns = ["flops", "runs", "n_params", "n_tokens", "parabola_n_params", "used", "verdict"]
        how = "whole budgets drawn again" if self.resampled == "budgets" else "residuals of the runs within budgets"
        lines = [
            self.finding, "",
            self.coef_table().to_string(index=False, float_format=lambda v: f"{v:.4g}"), "",
            self.budgets[columns].to_string(index=False, float_format=lambda v: f"{v:.4g}"), "",
            f"Curve: {self.curve}. Intervals: {how}, {self.n_resamples} times.",
        ]  # fmt: skip
        return "\n".join([*lines, *(f"Warning ({w.code}): {w.message}" for w in self.warnings)])


def isoflop(
    runs: pd.DataFrame,
    *,
    curve: str | None = None,
    weights: str = "variance",
    resample: str | None = None,
    n_resamples: int = 1000,
    rng: int | np.random.Generator = 0,
    level: float = 0.95,
    compute: Accounting = DENSE,
    progress: Report | None = None,
) -> IsoFlop:
    """Optimal size and tokens at every compute budget, and the power laws through them.

    Parameters
    ----------
    runs : final losses with n_params, loss, and two of n_params, n_tokens, flops (the third follows from `compute`).
        Budgets are found as clusters of flops.
    curve : 'asymmetric' (the default where enough runs are there), 'parabola' (as in the literature), or 'akima'.
    weights : 'variance' weights each budget's optimum by its variance, 'equal' takes all alike.
    resample : 'budgets' draws whole budgets, and covers errors that the runs of a budget share; 'runs' perturbs runs by
        their residuals, each with a random sign. Default: 'budgets' from 6 budgets on, else 'runs'.
    rng : seed or generator; equal seeds give equal intervals.
    progress : called with (work done, work in all); what it raises ends the work.

    Intervals are Student's t on the spread of the draws. Raises RunsError for runs that are no isoFLOP sweep, FitError
    when fewer than two budgets enclose a minimum.
    Source: Hoffmann et al. 2022, arXiv:2203.15556, sec. 3.2.
    """
    import pandas as pd

    _check_level(level)
    if curve is not None and curve not in CURVES:
        raise FitError(f"unknown curve {curve!r}; choose one of {', '.join(CURVES)}.")
    if weights not in ("variance", "equal"):
        raise FitError(f"unknown weights {weights!r}; choose 'variance' or 'equal'.")
    if resample not in (None, "budgets", "runs"):
        raise FitError(f"unknown resample {resample!r}; choose 'budgets' or 'runs'.")
    if n_resamples < 20:
        raise FitError(f"n_resamples must be at least 20 for an interval, not {n_resamples}.")
    of_curves, of_draws = Bar(progress).parts(1, n_resamples / 1000)
    table = _complete(runs, compute)
    groups = _cluster(table["flops"].to_numpy())
    log_n, log_d = np.log(table["n_params"].to_numpy()), np.log(table["n_tokens"].to_numpy())
    loss, log_c = table["loss"].to_numpy(), np.log(table["flops"].to_numpy())
    sizes = np.array([_different(log_n[g]) for g in groups])
    enough = sizes >= MIN_SIZES
    if enough.sum() < 2:
        raise FitError(
            f"{len(groups)} budgets were found and {int(enough.sum())} of them have {MIN_SIZES} or more different sizes; "
            "at least two must. Log more sizes per budget, or fit a law of the whole surface instead (scaling fit)."
        )
    kept = [g for g, ok in zip(groups, enough, strict=True) if ok]
    n_sizes, d_sizes, losses = [log_n[g] for g in kept], [log_d[g] for g in kept], [loss[g] for g in kept]
    warnings = [FitWarning("several_experiments", sentence)] if (sentence := _mixed(table, kept)) else []
    spare = sum(map(len, kept)) - 3 * len(kept) - 2
    if curve is None:
        curve = "asymmetric" if spare >= 4 else "parabola"
        if curve == "parabola":
            warnings.append(FitWarning("parabola_only", "too few runs to fit an asymmetric curve: the parabola's minimum is displaced on wide grids."))  # fmt: skip
    elif curve == "asymmetric" and spare < 1:
        raise FitError("the asymmetric curve needs more runs than 3 per budget plus 2; ask for curve='parabola'.")
    of_curves(1, 3)
    by_n, by_d = profiles(curve, n_sizes, losses), profiles(curve, d_sizes, losses)
    plain = by_n if curve == "parabola" else profiles("parabola", n_sizes, losses)
    of_curves(1, 1)

    verdicts = [_verdict(by_n, k, x) for k, x in enumerate(n_sizes)]
    inside_d = [x.min() <= by_d.log_optimum[k] <= x.max() for k, x in enumerate(d_sizes)]
    used = np.array([v[0] for v in verdicts]) & np.array(inside_d)
    if used.sum() < 2:
        reasons = "; ".join(f"{np.exp(log_c[g].mean()):.3g} FLOPs: {v[2]}" for g, v in zip(kept, verdicts, strict=True))
        raise FitError(
            f"only {int(used.sum())} of {len(kept)} budgets enclose a minimum of the loss, and a power law needs two ({reasons}). "
            "Add runs beyond the ends of these grids."
        )
    budget_c = np.array([np.exp(log_c[g].mean()) for g in kept])
    pivot = float(np.exp(np.log(budget_c[used]).mean()))
    x = np.log(budget_c / pivot)
    seed = int(rng) if isinstance(rng, int | np.integer) else None
    generator = np.random.default_rng(rng)
    resample = resample or ("budgets" if used.sum() >= BUDGETS_TO_RESAMPLE or curve == "akima" else "runs")
    if resample == "runs" and curve == "akima":
        raise FitError("an interpolation has no residuals to resample: use resample='budgets', or another curve.")
    w_n, w_d = (_line_weights(p.variance[used], weights) for p in (by_n, by_d))
    line_n, line_d = (
        _line(x[used], by_n.log_optimum[used][None], w_n)[0],
        _line(x[used], by_d.log_optimum[used][None], w_d)[0],
    )
    draws_n, draws_d, dof = _draw(
        resample, curve, (by_n, by_d), (n_sizes, d_sizes), losses, used, x, (w_n, w_d), n_resamples, generator, of_draws
    )
    n_law = PowerLaw(float(line_n[1]), float(line_n[0]), pivot, draws_n, dof)
    d_law = PowerLaw(float(line_d[1]), float(line_d[0]), pivot, draws_d, dof)

    parabola_ok = used & np.isfinite(plain.log_optimum)
    parabola_a = np.nan
    if parabola_ok.sum() >= 2:
        wp = _line_weights(plain.variance[parabola_ok], weights)
        parabola_a = float(_line(x[parabola_ok], plain.log_optimum[parabola_ok][None], wp)[0][1])
    rows = []
    position = {id(g): k for k, g in enumerate(kept)}
    for g in groups:
        k = position.get(id(g))
        row: dict[str, Any] = {"flops": float(np.exp(log_c[g].mean())), "runs": len(g), "sizes": _different(log_n[g])}
        if k is None:
            sentence = f"{row['sizes']} different sizes; {MIN_SIZES} are needed to check a curve"
            rows.append(row | {"used": False, "verdict": "too few sizes", "reason": sentence})
            continue
        _, verdict, reason = verdicts[k]
        if verdicts[k][0] and not inside_d[k]:
            verdict, reason = "minimum outside", "the minimum over tokens lies outside the tokens that were tried"
        row |= {
            "n_params": float(np.exp(by_n.log_optimum[k])), "n_tokens": float(np.exp(by_d.log_optimum[k])),
            "log_std_error": float(np.sqrt(by_n.variance[k])), "loss": float(by_n.loss[k]),
            "curvature_t": float(by_n.curvature_t[k]), "parabola_n_params": float(np.exp(plain.log_optimum[k])),
            "parabola_bias": float(np.expm1(plain.log_optimum[k] - by_n.log_optimum[k])),
        }  # fmt: skip
        rows.append(row | {"used": bool(used[k]), "verdict": verdict, "reason": reason})
    budgets = pd.DataFrame(rows)
    warnings += _warnings(budgets, curve, n_law, d_law, level, parabola_a)
    return IsoFlop(
        n_opt=n_law, d_opt=d_law, budgets=budgets, curve=curve, resampled=resample, weights=weights, level=level,
        sum_exponents=_sum_exponents(n_law, d_law, level), parabola_exponent=parabola_a, shape=by_n.shape, noise=by_n.noise,
        n_resamples=n_resamples, seed=seed, warnings=tuple(warnings), runs=table,
    )  # fmt: skip


def parabola_bias(
    fitted: Fitted,
    flops: Any,
    grid: float | Sequence[float] | Array = 8.0,
    *,
    curve: str = "parabola",
    points: int = 9,
    compute: Accounting = DENSE,
) -> pd.DataFrame:
    """How far a per-budget curve's minimum lies from the optimum of a fitted surface, without any noise.

    fitted : a law of n_params and n_tokens with its coefficients, such as an approach-3 fit or a published law.
    flops : (K,) budgets. grid : the sizes tried, as a factor either side of the optimum (8 is from 1/8 to 8 times it, in
    `points` equal steps of ln N) or as ratios (m,) to the optimum, off centre if you like.

    Returns one row per budget: flops, n_params (true optimum), curve_n_params, bias (relative).
    """
    import pandas as pd

    budgets = np.atleast_1d(np.asarray(flops, dtype=float))
    if np.ndim(grid) == 0:
        if not float(np.asarray(grid)) > 1:
            raise FitError(f"grid as a factor must be above 1 (8 is from 1/8 to 8 times the optimum), not {grid}.")
        half = np.log(float(np.asarray(grid)))
        ratios = np.exp(np.linspace(-half, half, points))
    else:
        ratios = np.asarray(grid, dtype=float)
    if len(ratios) < MIN_SIZES or not (ratios > 0).all():
        raise FitError(f"a grid needs {MIN_SIZES} or more positive ratios to the optimum, not {len(ratios)}.")
    best = np.asarray(allocate(fitted, flops=budgets, compute=compute).n_params, dtype=float).reshape(len(budgets))
    sizes = best[:, None] * ratios
    tokens = compute.n_tokens(sizes, budgets[:, None])
    losses = np.asarray(
        fitted.law.predict({"n_params": sizes, "n_tokens": tokens}, fitted.theta[..., None, :]), dtype=float
    )
    found = profiles(curve, list(np.log(sizes)), list(losses)).log_optimum
    return pd.DataFrame(
        {"flops": budgets, "n_params": best, "curve_n_params": np.exp(found), "bias": np.expm1(found - np.log(best))}
    )


def _complete(runs: pd.DataFrame, compute: Accounting) -> pd.DataFrame:
    """n_params, n_tokens, flops and loss as positive numbers; of the first three, one may be missing."""
    table = runs.reset_index(drop=True).copy()
    if "loss" not in table:
        raise RunsError("isoFLOP analysis needs a column 'loss'; name yours with --column loss=HEADER.")
    missing = [c for c in ("n_params", "n_tokens", "flops") if c not in table]
    if len(missing) > 1:
        raise RunsError(f"isoFLOP analysis needs two of n_params, n_tokens, flops; missing are {', '.join(missing)}.")
    for column in ("n_params", "n_tokens", "flops", "loss"):
        if column in missing:
            continue
        values = table[column].to_numpy(dtype=float)
        bad = ~(np.isfinite(values) & (values > 0))
        if bad.any():
            raise RunsError(
                f"column {column!r} has {int(bad.sum())} values that are not positive numbers (first in row "
                f"{int(np.argmax(bad)) + 1}: {values[np.argmax(bad)]}); drop these rows."
            )
        table[column] = values
    if missing == ["flops"]:
        table["flops"] = compute.flops(table["n_params"].to_numpy(), table["n_tokens"].to_numpy())
    elif missing == ["n_tokens"]:
        table["n_tokens"] = compute.n_tokens(table["n_params"].to_numpy(), table["flops"].to_numpy())
    elif missing == ["n_params"]:
        table["n_params"] = compute.n_params(table["n_tokens"].to_numpy(), table["flops"].to_numpy())
    return table


def _cluster(flops: Array) -> list[Array]:
    """Rows of each budget, smallest budget first."""
    if not len(flops):
        raise RunsError("there are no runs to find budgets in.")
    log_c = np.log(flops)
    order = np.argsort(log_c, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(log_c[order]) > GAP) + 1)
    for g in groups:
        low, high = flops[g].min(), flops[g].max()
        if np.log(high / low) > SPREAD:
            raise RunsError(
                f"the FLOPs of {len(g)} rows run on from {low:.3g} to {high:.3g} without a gap: these are not runs at fixed "
                "budgets. Keep the last row of each run, use envelope for training curves, or fit a law of the whole surface."
            )
    if len(groups) < 2:
        raise RunsError(
            f"all runs have about the same FLOPs ({flops.mean():.3g}): growth with compute needs two or more budgets."
        )
    return groups


def _mixed(table: pd.DataFrame, budgets: list[Array]) -> str:
    """A sentence where a column tells several whole sweeps apart: each of its values with sizes to choose from at two or
    more budgets, and the same budgets under more than one value."""
    known = {"run", "n_params", "n_tokens", "flops", "loss", "step", "seed"}
    found = []
    for column in table.columns:
        if column in known or "seed" in str(column).lower():
            continue
        sweeps: dict[Any, int] = {}
        shared = 0
        for g in budgets:
            part = table.iloc[g]
            sizes = part.groupby(column)["n_params"].agg(lambda v: _different(np.log(v.to_numpy(float))))
            whole = sizes[sizes >= MIN_SIZES].index
            shared += len(whole) > 1
            for value in whole:
                sweeps[value] = sweeps.get(value, 0) + 1
        if shared and (several := sum(n > 1 for n in sweeps.values())) > 1:
            found.append(f"{several} values of {column!r}")
    if not found:
        return ""
    return (
        f"the runs at a budget mix {', '.join(found)}, each a sweep of its own: if they are different experiments, their "
        "optima are averaged here; keep one with --where."
    )


def _different(log_sizes: Array) -> int:
    """How many sizes differ by more than 0.1 %."""
    return 1 + int((np.diff(np.sort(log_sizes)) > 1e-3).sum())


def _verdict(p: Profiles, k: int, log_size: Array) -> tuple[bool, str, str]:
    """(used, verdict, reason) of one budget."""
    at, low, high = p.log_optimum[k], log_size.min(), log_size.max()
    if not np.isfinite(at):
        return (
            False,
            "no minimum",
            "the loss has no minimum within these sizes: it is flat, or falls or rises throughout",
        )
    if not low <= at <= high:
        side = "smaller" if at < low else "larger"
        return (
            False,
            "minimum outside",
            f"the curve's minimum lies outside the sizes that were tried: add {side} models",
        )
    if np.isfinite(p.curvature_t[k]) and p.dof:
        from scipy.special import stdtrit

        if p.curvature_t[k] < stdtrit(p.dof, 0.975):
            return True, "flat", "the curvature does not stand out from the noise: the minimum could be far away"
    place = (at - low) / (high - low)
    if place < OUTER or place > 1 - OUTER:
        side = "smaller" if place < OUTER else "larger"
        return True, "near the edge", f"the minimum lies in the outer fifth of the sizes: add {side} models"
    return True, "ok", "the minimum is enclosed"


def _line_weights(variance: Array, kind: str) -> Array:
    """(K,) one over variance, where variances are known; no budget counts more than 25 times the typical one."""
    if kind == "equal" or not np.isfinite(variance).all() or not (variance > 0).any():
        return np.ones(len(variance))
    typical = np.median(variance)
    return typical / np.maximum(variance, max(typical, 1e-300) / 25)


def _line(x: Array, y: Array, w: Array) -> Array:
    """(R, 2) intercept and slope of weighted lines: x (K,), y (R, K), w (K,) or (R, K)."""
    w = np.broadcast_to(w, y.shape)
    total = w.sum(axis=1)
    mx, my = (w * x).sum(axis=1) / total, (w * y).sum(axis=1) / total
    dx = x - mx[:, None]
    slope = (w * dx * (y - my[:, None])).sum(axis=1) / (w * dx**2).sum(axis=1)
    return np.stack([my - slope * mx, slope], axis=1)


def _draw(
    resample: str,
    curve: str,
    found: tuple[Profiles, Profiles],
    sizes: tuple[list[Array], list[Array]],
    losses: list[Array],
    used: Array,
    x: Array,
    weights: tuple[Array, Array],
    n: int,
    rng: np.random.Generator,
    bar: Bar,
) -> tuple[Array, Array, int]:
    """Draws (R, 2) of both lines, scaled so that their spread is that of the estimate, and the degrees of freedom."""
    k_used = int(used.sum())
    every = np.ones((n, len(losses)))
    if resample == "budgets":
        # A line needs two different budgets; draws without are drawn again.
        counts = rng.multinomial(k_used, np.full(k_used, 1 / k_used), size=n).astype(float)
        while (few := (counts > 0).sum(axis=1) < min(3, k_used)).any():
            counts[few] = rng.multinomial(k_used, np.full(k_used, 1 / k_used), size=int(few.sum()))
        every[:, used] = counts
        dof = max(k_used - 2, 1)
        stretch = np.sqrt(k_used / dof)  # residuals of a line are smaller than the errors they stand for
        noisy: tuple[list[Array], list[Array]] = (losses, losses)
    else:
        counts = np.ones((n, k_used))
        signs = [rng.choice([-1.0, 1.0], size=(n, len(y))) for y in losses]
        noisy = tuple(  # type: ignore[assignment]
            [
                fitted + s * (y - fitted) / (1 - np.minimum(h, 0.9))
                for fitted, h, s, y in zip(p.fitted, p.leverage, signs, losses, strict=True)
            ]
            for p in found
        )
        dof, stretch = max(found[0].dof, 1), 1.0
    out = []
    for size, y, w, part in zip(sizes, noisy, weights, bar.each(2), strict=True):
        optima = optima_of_draws(curve, size, y, every, part)[:, used]
        known = np.isfinite(optima)  # a draw may lose a minimum; it then stands on the other budgets
        optima = np.where(known, optima, 0.0)
        w_draw = counts * w * known
        ok = (w_draw > 0).sum(axis=1) >= 2
        lines = _line(x[used], optima[ok], w_draw[ok])
        if len(lines) < n / 2:
            raise FitError(
                "more than half of the resamples have no minimum in two budgets: the sweep does not determine an optimum. Add runs."
            )
        out.append(lines.mean(axis=0) + stretch * (lines - lines.mean(axis=0)))
    m = min(map(len, out))
    return out[0][:m], out[1][:m], dof


def _sum_exponents(n_law: PowerLaw, d_law: PowerLaw, level: float) -> tuple[float, float, float]:
    from scipy.special import stdtrit

    total = n_law.exponent + d_law.exponent
    half = float(stdtrit(n_law.dof, 0.5 + level / 2) * np.std(n_law.draws[:, 1] + d_law.draws[:, 1]))
    return total, total - half, total + half


def _warnings(
    budgets: pd.DataFrame, curve: str, n_law: PowerLaw, d_law: PowerLaw, level: float, parabola_a: float
) -> list[FitWarning]:
    out = []
    for verdict in ("too few sizes", "no minimum", "minimum outside", "flat", "near the edge"):
        some = budgets[budgets["verdict"] == verdict]
        if len(some):
            which = ", ".join(f"{c:.3g}" for c in some["flops"])
            fate = "kept" if some["used"].all() else "left out"
            out.append(
                FitWarning(verdict.replace(" ", "_"), f"{verdict} at {which} FLOPs ({fate}): {some['reason'].iloc[0]}.")
            )
    total, low, high = _sum_exponents(n_law, d_law, level)
    if abs(total - 1) > 0.01 and not low <= 1 <= high:
        out.append(FitWarning("sum_of_exponents", f"a + b is {total:.3f}, not 1: the budgets are not 6 N D for every run, so N and D at a budget do not multiply to it."))  # fmt: skip
    bias = budgets.loc[budgets["used"], "parabola_bias"].to_numpy(dtype=float)
    if (
        curve == "asymmetric"
        and np.isfinite(bias).any()
        and abs(typical := float(np.nanmedian(bias))) > BIAS_WORTH_SAYING
    ):
        out.append(FitWarning("parabola_bias", f"a parabola would put the best size {abs(typical):.1%} too {'high' if typical > 0 else 'low'} (median over budgets) and its exponent at {parabola_a:.3f}: the loss rises unequally on the two sides."))  # fmt: skip
    if int(budgets["used"].sum()) < 4:
        out.append(FitWarning("few_budgets", f"the power laws stand on {int(budgets['used'].sum())} budgets: whether growth is a power law cannot be seen."))  # fmt: skip
    return out


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise FitError(f"level must lie between 0 and 1 (0.95 is 95 %), not {level}.")


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value
