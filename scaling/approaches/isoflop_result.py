"""What an isoFLOP sweep says: the best size and tokens per budget, and the power laws through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import FitError
from scaling.fitting.result import FitWarning
from scaling.laws.law import Array

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "scaling.isoflop/1"


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
        """(low, high) of the exponent."""
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
        check_level(level)
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
        check_level(level)
        rows: list[tuple[str, float, float, float, str]] = []
        for name, law, meaning in (("a", self.n_opt, "N_opt(C)"), ("b", self.d_opt, "D_opt(C)")):
            low, high = law.exponent_interval(level)
            rows.append((name, law.exponent, low, high, f"exponent of {meaning}"))
        total = sum_of_exponents(self.n_opt, self.d_opt, level)
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
            "parabola_exponent": _plain(self.parabola_exponent),
            "curve": self.curve,
            "shape": None if self.shape is None else {"alpha": self.shape[0], "beta": self.shape[1]},
            "noise": _plain(self.noise),
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


def sum_of_exponents(n_law: PowerLaw, d_law: PowerLaw, level: float) -> tuple[float, float, float]:
    """a + b with its interval: 1 where size and tokens at a budget multiply to it."""
    from scipy.special import stdtrit

    total = n_law.exponent + d_law.exponent
    half = float(stdtrit(n_law.dof, 0.5 + level / 2) * np.std(n_law.draws[:, 1] + d_law.draws[:, 1]))
    return total, total - half, total + half


def check_level(level: float) -> None:
    """Raises FitError unless 0 < level < 1."""
    if not 0 < level < 1:
        raise FitError(f"level must lie between 0 and 1 (0.95 is 95 %), not {level}.")


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value
