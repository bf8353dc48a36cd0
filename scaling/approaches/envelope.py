"""Chinchilla's approach 1: the lower envelope of training curves, and which size and tokens reach it at each budget."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.compute import DENSE, Accounting
from scaling.errors import FitError, RunsError
from scaling.fitting.result import FitWarning

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
SCHEMA = "scaling.envelope/1"


@dataclass(frozen=True)
class Envelope:
    """N_opt = exp(log_n) (C / pivot)^a and D_opt likewise with b, through the lower envelope of training curves.

    points : flops, n_params, n_tokens, loss, run of each point of the frontier that was kept.
    a_interval, b_interval : quantiles over resampled runs. thirds : a over the first, middle and last third of ln C.
    """

    a: float
    b: float
    log_n: float
    log_d: float
    pivot: float
    a_interval: tuple[float, float]
    b_interval: tuple[float, float]
    thirds: tuple[float, float, float]
    points: pd.DataFrame
    level: float
    n_resamples: int
    warnings: tuple[FitWarning, ...] = ()

    def predict(self, flops: Any) -> pd.DataFrame:
        """Best size and tokens at each budget [FLOPs]."""
        import pandas as pd

        c = np.atleast_1d(np.asarray(flops, dtype=float))
        if not (np.isfinite(c) & (c > 0)).all():
            raise FitError("a budget must be a positive number of FLOPs.")
        x = np.log(c / self.pivot)
        return pd.DataFrame(
            {"flops": c, "n_params": np.exp(self.log_n + self.a * x), "n_tokens": np.exp(self.log_d + self.b * x)}
        )

    def to_dict(self) -> dict[str, Any]:
        """The answer as plain numbers, schema 'scaling.envelope/1'."""
        return {
            "schema": SCHEMA, "finding": self.finding, "a": self.a, "b": self.b, "at": self.pivot, "n_params": float(np.exp(self.log_n)),
            "n_tokens": float(np.exp(self.log_d)), "a_interval": list(self.a_interval), "b_interval": list(self.b_interval),
            "thirds": [v if np.isfinite(v) else None for v in self.thirds], "level": self.level, "n_resamples": self.n_resamples,
            "warnings": [{"code": w.code, "message": w.message} for w in self.warnings],
        }  # fmt: skip

    @property
    def finding(self) -> str:
        """The answer in one sentence."""
        (low, high), n = self.a_interval, self.points["run"].nunique()
        return (
            f"Along the lower envelope the best size grows as C^{self.a:.3f} ({self.level:.0%} interval {low:.3f} to "
            f"{high:.3f}) and the tokens as C^{self.b:.3f}; {n} runs touch it."
        )

    def coef_table(self) -> pd.DataFrame:
        """Exponents a and b and their sum, and the optimum at the middle of the frontier; low and high where known."""
        import pandas as pd

        at = f"optimum at {self.pivot:.3g} FLOPs"
        return pd.DataFrame(
            [
                ("a", self.a, *self.a_interval, "exponent of N_opt(C)"),
                ("b", self.b, *self.b_interval, "exponent of D_opt(C)"),
                ("a + b", self.a + self.b, np.nan, np.nan, "1 when C = 6 N D holds for every run"),
                ("n_params", float(np.exp(self.log_n)), np.nan, np.nan, at),
                ("n_tokens", float(np.exp(self.log_d)), np.nan, np.nan, at),
            ],
            columns=["coef", "estimate", "low", "high", "meaning"],
        )

    def frontier_table(self) -> pd.DataFrame:
        """One row for each stretch of budgets that one run holds: run, from, to [FLOPs], n_params, n_tokens, loss at its end."""
        stretch = (self.points["run"] != self.points["run"].shift()).cumsum()
        parts = self.points.groupby(stretch, sort=True)
        table = parts.agg(
            run=("run", "last"), start=("flops", "first"), end=("flops", "last"), n_params=("n_params", "last"),
            n_tokens=("n_tokens", "last"), loss=("loss", "last"),
        )  # fmt: skip
        return table.rename(columns={"start": "from", "end": "to"}).reset_index(drop=True)

    def __str__(self) -> str:
        coefs = self.coef_table().to_string(index=False, na_rep="", float_format=lambda v: f"{v:.4g}")
        frontier = self.frontier_table()
        shown = frontier.iloc[np.unique(np.linspace(0, len(frontier) - 1, min(len(frontier), 20)).astype(int))]
        lines = [self.finding, "", coefs, "", shown.to_string(index=False, float_format=lambda v: f"{v:.4g}")]
        if len(shown) < len(frontier):
            lines.append(f"({len(shown)} of {len(frontier)} stretches of the frontier)")
        return "\n".join([*lines, *(f"Warning ({w.code}): {w.message}" for w in self.warnings)])


def envelope(
    curves: pd.DataFrame,
    *,
    window: float = 10.0,
    n_flops: int = 1500,
    last: float = 0.15,
    n_resamples: int = 200,
    rng: int | np.random.Generator = 0,
    level: float = 0.95,
    compute: Accounting = DENSE,
) -> Envelope:
    """Lower envelope of training curves and the power laws along it.

    curves : run, n_params, n_tokens, loss and maybe flops; several rows a run. A column `horizon` [tokens] says what each
    run's schedule was set to; without it, its last row. window : Gaussian smoothing, standard deviation in rows.
    n_flops : budgets at which the lowest curve is taken. last : only points in this last share of a run's horizon count,
    since before that its learning rate has not come down.
    Raises RunsError for tables without curves, FitError when fewer than two sizes touch the envelope.
    Source: Hoffmann et al. 2022, arXiv:2203.15556, sec. 3.1.
    """
    import pandas as pd

    if not 0 < level < 1:
        raise FitError(f"level must lie between 0 and 1 (0.95 is 95 %), not {level}.")
    if not 0 < last <= 1 or window < 0 or n_flops < 10 or n_resamples < 20:
        raise FitError("last must lie in (0, 1], window be 0 or more, n_flops at least 10, n_resamples at least 20.")
    if missing := [c for c in ("run", "n_params", "n_tokens", "loss") if c not in curves]:
        raise RunsError(
            f"training curves need the column {missing[0]!r}; name yours with --column {missing[0]}=HEADER."
        )
    table = curves.assign(
        flops=curves["flops"] if "flops" in curves else compute.flops(curves["n_params"], curves["n_tokens"])
    )
    for c in ("n_params", "n_tokens", "loss", "flops"):
        v = table[c].to_numpy(dtype=float)
        if (bad := ~(np.isfinite(v) & (v > 0))).any():
            raise RunsError(f"column {c!r} has {int(bad.sum())} values that are not positive numbers (first in row {int(np.argmax(bad)) + 1}); drop these rows.")  # fmt: skip
    pieces = [
        g.sort_values("flops").drop_duplicates("flops", keep="last")
        for _, g in table.groupby(["run", "n_params"], sort=False)
    ]
    pieces = [g for g in pieces if len(g) >= 3]
    if len(pieces) < 2:
        raise RunsError(
            "fewer than two runs have three or more rows: approach 1 needs training curves; use isoflop for final losses."
        )
    grid = np.linspace(
        np.log(min(g["flops"].min() for g in pieces)), np.log(max(g["flops"].max() for g in pieces)), n_flops
    )
    heights, log_n, log_d = (
        np.full((len(pieces), n_flops), np.inf),
        np.zeros(len(pieces)),
        np.zeros((len(pieces), n_flops)),
    )
    late = np.zeros((len(pieces), n_flops), dtype=bool)
    for i, g in enumerate(pieces):
        x, tokens = np.log(g["flops"].to_numpy(float)), np.log(g["n_tokens"].to_numpy(float))
        inside = (grid >= x[0]) & (grid <= x[-1] + 1e-12)
        heights[i, inside] = np.interp(grid[inside], x, _smooth(np.log(g["loss"].to_numpy(float)), window))
        log_d[i], log_n[i] = np.interp(grid, x, tokens), np.log(float(g["n_params"].iloc[0]))
        horizon = np.log(float(g["horizon"].iloc[0])) if "horizon" in g else tokens[-1]
        late[i] = log_d[i] >= horizon + (np.log1p(-last) if last < 1 else -np.inf)

    def frontier(rows: Array) -> tuple[Array, Array]:
        best = rows[np.argmin(heights[rows], axis=0)]
        at = np.arange(n_flops)
        lowest = heights[best, at]
        # Where a long curve runs on alone it is the lowest of one: no envelope, if a smaller budget has done better.
        keep = np.isfinite(lowest) & late[best, at] & (lowest <= np.minimum.accumulate(lowest))
        return best[keep], at[keep]

    best, at = frontier(np.arange(len(pieces)))
    if len(np.unique(log_n[best])) < 2:
        raise FitError(f"{len(np.unique(log_n[best]))} model sizes touch the envelope in the last {last:.0%} of their horizon; two are needed. Add runs of other sizes and horizons, or raise last.")  # fmt: skip
    pivot = float(grid[at].mean())
    x = grid - pivot
    (a, k_n), (b, k_d) = np.polyfit(x[at], log_n[best], 1), np.polyfit(x[at], log_d[best, at], 1)
    generator, slopes = np.random.default_rng(rng), []
    for _ in range(n_resamples):
        rows = np.unique(generator.integers(len(pieces), size=len(pieces)))
        r, t = frontier(rows)
        if len(np.unique(log_n[r])) >= 2:
            slopes.append((np.polyfit(x[t], log_n[r], 1)[0], np.polyfit(x[t], log_d[r, t], 1)[0]))
    q = (
        np.quantile(slopes, [0.5 - level / 2, 0.5 + level / 2], axis=0)
        if len(slopes) > n_resamples / 2
        else np.full((2, 2), np.nan)
    )
    edges, thirds = np.linspace(grid[at].min(), grid[at].max() + 1e-9, 4), []
    for low, high in pairwise(edges):
        some = (grid[at] >= low) & (grid[at] < high)
        thirds.append(
            float(np.polyfit(x[at[some]], log_n[best[some]], 1)[0]) if len(np.unique(log_n[best[some]])) > 1 else np.nan
        )
    warnings = [
        FitWarning(
            "lucky_minimum",
            "the lowest of many noisy curves favours lucky runs: isoflop or a fitted law is less biased.",
        )
    ]
    if np.isfinite(thirds).sum() >= 2 and np.nanmax(thirds) - np.nanmin(thirds) > max(0.1, q[1, 0] - q[0, 0]):
        warnings.append(FitWarning("curved_frontier", f"the exponent of size differs along the frontier ({', '.join(f'{v:.2f}' if np.isfinite(v) else 'one size only' for v in thirds)} over its thirds): do not extrapolate it as one power law."))  # fmt: skip
    points = pd.DataFrame({
        "flops": np.exp(grid[at]), "n_params": np.exp(log_n[best]), "n_tokens": np.exp(log_d[best, at]),
        "loss": np.exp(heights[best, at]), "run": [pieces[i]["run"].iloc[0] for i in best],
    })  # fmt: skip
    return Envelope(float(a), float(b), float(k_n), float(k_d), float(np.exp(pivot)), (float(q[0, 0]), float(q[1, 0])), (float(q[0, 1]), float(q[1, 1])), (thirds[0], thirds[1], thirds[2]), points, level, n_resamples, tuple(warnings))  # fmt: skip


def _smooth(y: Array, window: float) -> Array:
    """Gaussian average over rows; at the ends the weights of the rows that exist are renormalised."""
    if window == 0:
        return y
    reach = int(min(np.ceil(4 * window), len(y) - 1))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / window) ** 2)
    # a line through the ends is taken out first, so that a falling curve is not pulled up at its last row
    line = np.interp(np.arange(len(y)), [0, len(y) - 1], [y[0], y[-1]])
    full = np.convolve(y - line, kernel)[reach : reach + len(y)]
    return line + full / np.convolve(np.ones(len(y)), kernel)[reach : reach + len(y)]
