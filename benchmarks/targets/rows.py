"""One published number beside ours, and what the data sets' functions share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scaling.fitting import FitResult
from scaling.laws.law import Array, Coef, Law

NAMES = {"params": "n_params", "tokens": "n_tokens"}
PAPER, README = "paper", "README"  # who printed a target: the authors, or the data set's README from a refit of its own


@dataclass(frozen=True)
class Row:
    """One target.

    how : 'rel' or 'abs' is the largest difference allowed, 'at most' and 'at least' a bound on ours (with the tolerance,
        relative, beyond it). tolerance : in those terms. why : the reason for the tolerance.
    origin : PAPER when the authors printed the number, README when only the README of the data gives it, from a plain refit.
    reproducible : False where the released runs are known not to give the printed number: the row must then fail its
        tolerance, and would be news if it did not.
    """

    data: str
    target: str
    published: float
    ours: float
    how: str
    tolerance: float
    why: str
    origin: str = PAPER
    reproducible: bool = True

    @property
    def difference(self) -> float:
        """Ours against the published number, relative unless the tolerance is absolute or the published number is 0."""
        gap = self.ours - self.published
        return gap if self.how == "abs" or self.published == 0 else gap / abs(self.published)

    @property
    def met(self) -> bool:
        """Within the tolerance."""
        if not math.isfinite(self.ours):
            return False
        slack = self.tolerance * (1 + 1e-9) + 1e-15
        if self.how == "at most":
            return bool(self.difference <= slack)
        if self.how == "at least":
            return bool(self.difference >= -slack)
        return bool(abs(self.difference) <= slack)

    @property
    def as_stated(self) -> bool:
        """The row came out as it should: met, or not met where the source is known not to give it."""
        return self.met is self.reproducible


def rows_of(
    data: str, pairs: Iterable[tuple[str, float, float]], how: str, tolerance: float, why: str, **more: Any
) -> list[Row]:
    """Rows that share a tolerance, from (target, published, ours)."""
    return [Row(data, t, float(p), float(o), how, tolerance, why, **more) for t, p, o in pairs]


def coefs_of(result: FitResult) -> dict[str, float]:
    return dict(zip(result.law.coef_names, result.theta.tolist(), strict=True))


def against(
    ours: Mapping[str, float], printed: Mapping[str, float], prefix: str = ""
) -> list[tuple[str, float, float]]:
    """(target, published, ours) of each printed name."""
    return [(f"{prefix}{name}", value, ours[name]) for name, value in printed.items()]


def read(folder: Path, name: str, file: str = "runs.csv") -> pd.DataFrame:
    return pd.read_csv(folder / name / file).rename(columns=NAMES)


def huber(law: Law, runs: pd.DataFrame, theta: Any) -> float:
    """Hoffmann's objective at given coefficients, written out: the sum of Huber(1e-3) of log residuals."""
    predicted = law.predict({c: runs[c].to_numpy() for c in law.inputs}, np.asarray(theta, dtype=float))
    r = np.abs(np.log(predicted / runs[law.target].to_numpy()))
    return float(np.where(r <= 1e-3, r**2 / 2, 1e-3 * (r - 1e-3 / 2)).sum())


def power(x: str, y: str) -> Law:
    """y = k x^p between two columns, as a user would write it."""

    def formula(inputs: Any, theta: Array) -> Array:
        k, p = np.moveaxis(theta, -1, 0)[..., None]
        return k * np.exp(p * np.log(inputs[x]))

    return Law(
        name=f"{y}_of_{x}",
        equation=f"{y} = k {x}^p",
        inputs=(x,),
        target=y,
        coefs=(Coef("k", "at one", (1e-6, 1e6)), Coef("p", "exponent", (-1.0, 1.5), lower=-np.inf)),
        linear=("k",),
        formula=formula,
    )
