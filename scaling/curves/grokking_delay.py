"""How the step of generalisation moves with a setting, with unfinished runs as lower bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from scaling.curves.plain import records
from scaling.errors import RunsError
from scaling.laws.law import Array


@dataclass(frozen=True)
class DelayLaw:
    """How the generalisation step moves with a setting, with unfinished runs as lower bounds.

    models : model, equation, n_coefs, log_likelihood, aicc; the best first.
    coefs : of each model, coefficient, estimate, low, high (normal interval from the observed information; nan where
        the runs do not determine it).
    """

    over: str
    models: pd.DataFrame
    coefs: pd.DataFrame
    n_runs: int
    n_censored: int
    level: float

    @property
    def best(self) -> str:
        """Name of the form with the least AICc."""
        return str(self.models["model"].iloc[0])

    @property
    def finding(self) -> str:
        """One sentence."""
        rows = self.coefs[self.coefs["model"] == self.best].set_index("coef")
        slope = rows.loc[{"power": "k", "exponential": "s", "critical": "k"}[self.best]]
        name = {"power": "falls as the power", "exponential": "falls at the rate", "critical": "diverges with power"}
        return (
            f"The step of generalisation {name[self.best]} {slope['estimate']:.3g} ({slope['low']:.3g} to "
            f"{slope['high']:.3g}) of {self.over}, from {self.n_runs} runs of which {self.n_censored} had not "
            f"generalised; the form with the least AICc is {self.models['equation'].iloc[0]}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able values; nan and infinities become None."""
        return {
            "finding": self.finding,
            "over": self.over,
            "models": records(self.models),
            "coefs": records(self.coefs),
            "n_runs": self.n_runs,
            "n_censored": self.n_censored,
            "level": self.level,
        }

    def __str__(self) -> str:
        tables = [t.to_string(index=False, float_format=lambda v: f"{v:.4g}") for t in (self.models, self.coefs)]
        return "\n\n".join([self.finding, *tables])


def delay_law(runs: pd.DataFrame, over: str, *, level: float = 0.95) -> DelayLaw:
    """Generalisation step t against a setting v: t = c v^-k, t = c exp(-s v), t = c (v - v_c)^-k, by AICc.

    Parameters
    ----------
    runs : columns `over` (positive), `generalised` (nan: not yet) and `last_step`; for example `Grokking.runs` with the
        setting joined on.

    v is counted from the smallest setting that generalised, so that c is a number of steps: the equations of the result
    say so. Log-normal scatter about the law with right-censored likelihood. Raises RunsError when fewer than 4 runs have
    generalised, or the setting takes fewer than 3 values.
    Source: Power et al. 2022 (exponential in the data fraction); the divergence at a critical value is this package's.
    """
    from scipy.optimize import minimize
    from scipy.special import log_ndtr, ndtri

    for column in (over, "generalised", "last_step"):
        if column not in runs:
            raise RunsError(f"no column {column!r} in the table of runs; columns: {', '.join(map(str, runs.columns))}.")
    v = runs[over].to_numpy(float)
    seen = runs["generalised"].notna().to_numpy()
    t = np.where(seen, runs["generalised"], runs["last_step"]).astype(float)
    if not (np.isfinite(v) & (v > 0) & np.isfinite(t) & (t > 0)).all():
        raise RunsError(
            f"{over!r} and the steps must be positive numbers in every run: leave runs at zero out (--where '{over}>0')."
        )
    if seen.sum() < 4 or len(np.unique(v)) < 3:
        raise RunsError(
            f"a law over {over!r} needs at least 4 runs that generalised and 3 values of {over!r}; there are "
            f"{int(seen.sum())} and {len(np.unique(v))}."
        )
    y, edge = np.log(t), float(v[seen].min())

    def cost(q: Array, name: str) -> float:
        z = (y - _log_step(name, q, v, edge)) * np.exp(-q[-1])
        return float(-np.sum(np.where(seen, -0.5 * z**2 - q[-1] - 0.5 * np.log(2 * np.pi), log_ndtr(-z))))

    equations = {
        "power": (f"t = c (v / {edge:.4g})^-k", ("c", "k")),
        "exponential": (f"t = c exp(-s (v - {edge:.4g}))", ("c", "s")),
        "critical": (f"t = c ((v - v_c) / {edge:.4g})^-k", ("c", "k", "v_c")),
    }
    z_level = float(ndtri(0.5 + level / 2))
    n = len(v)
    models, coefs = [], []
    for name, (equation, names) in equations.items():
        fits = []
        for guess in _guesses(name, v, y, edge):
            options = {"maxiter": 4000, "maxfev": 4000, "xatol": 1e-8, "fatol": 1e-10}
            fits.append(minimize(cost, guess, args=(name,), method="Nelder-Mead", options=options))
        best = min(fits, key=lambda f: f.fun)
        q, k = best.x, len(best.x)
        error = _standard_errors(lambda p, name=name: cost(p, name), q)
        aicc = 2 * best.fun + 2 * k + (2 * k * (k + 1) / (n - k - 1) if n > k + 1 else np.inf)
        models.append(
            {"model": name, "equation": equation, "n_coefs": k, "log_likelihood": -best.fun, "aicc": float(aicc)}
        )
        for m, coef in enumerate(names):
            bounds = np.array([q[m], q[m] - z_level * error[m], q[m] + z_level * error[m]])
            if coef == "v_c":
                bounds = edge / (1 + np.exp(-np.clip(bounds, -50, 50)))
            if coef == "c":  # at the smallest setting that generalised, where it has a unit of steps
                bounds = np.exp(bounds)
            coefs.append({"model": name, "coef": coef, **dict(zip(("estimate", "low", "high"), bounds, strict=True))})
    return DelayLaw(
        over=over,
        models=pd.DataFrame(models).sort_values("aicc", kind="stable", ignore_index=True),
        coefs=pd.DataFrame(coefs),
        n_runs=n,
        n_censored=int((~seen).sum()),
        level=level,
    )


def _log_step(form: str, q: Array, v: Array, edge: float) -> Array:
    """ln t (n,) at settings v (n,); `edge` is the smallest of them that generalised."""
    if form == "power":
        return q[0] - q[1] * np.log(v / edge)
    if form == "exponential":
        return q[0] - q[1] * (v - edge)
    # the critical value lies below the smallest setting that generalised; runs at or below it never do
    distance = np.maximum(v - edge / (1 + np.exp(-np.clip(q[2], -50, 50))), 1e-12 * edge)
    return q[0] - q[1] * np.log(distance / edge)


def _guesses(form: str, v: Array, y: Array, edge: float) -> list[list[float]]:
    """Starts of a form: its straight line through y = ln t, the log of the scatter, and places of the critical value."""
    if form == "exponential":
        slope, start = np.polyfit(v - edge, y, 1)
        return [[start, -slope, 0.0]]
    slope, start = np.polyfit(np.log(v / edge), y, 1)
    if form == "power":
        return [[start, -slope, 0.0]]
    return [[start, -slope / 2, place, 0.0] for place in (-3.0, 0.0, 2.0, 4.0)]


def _standard_errors(cost: Any, q: Array) -> Array:
    """Square roots of the diagonal of the inverse Hessian (central differences); nan where it is not positive."""
    k, h = len(q), 1e-4 * np.maximum(np.abs(q), 1.0)
    hessian = np.empty((k, k))
    for a in range(k):
        for b in range(a, k):
            ea, eb = np.eye(k)[a] * h, np.eye(k)[b] * h
            second = cost(q + ea + eb) - cost(q + ea - eb) - cost(q - ea + eb) + cost(q - ea - eb)
            hessian[a, b] = hessian[b, a] = second / (4 * h[a] * h[b])
    values = np.linalg.eigvalsh(hessian)
    if not np.isfinite(values).all() or values.min() <= 1e-10 * values.max():
        return np.full(k, np.nan)
    return np.sqrt(np.diag(np.linalg.inv(hessian)))
