"""Do attacks succeed less often against larger models? A mixed logit of attack success in the log of size, per intervention.

logit p = b0_g + b1_g log10 N + u_attacker, u ~ Normal(0, tau^2): attackers differ in skill, and one attacker's attempts are
not independent. The likelihood integrates over u by Gauss-Hermite quadrature. Source: Ganguli et al. 2022, arXiv:2209.07858.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from scaling.errors import FitError, RunsError
from scaling.laws.law import Array

N_NODES = 15  # quadrature nodes; 25 change the slopes by less than a thousandth of their errors
MOST_LOG_TAU = 3.0


@dataclass(frozen=True)
class RedTeam:
    """Attack success against size, per intervention.

    slopes : intervention, slope [logit per decade of size] with low, high, p_value (of no slope), success at the
        smallest and the largest size, attacks. tau : standard deviation between attackers, in logits.
    p_equal : of one slope for all interventions (Wald).
    """

    slopes: pd.DataFrame
    tau: float
    p_equal: float
    level: float
    names: tuple[str, ...]
    theta: Array = field(repr=False)
    covariance: Array = field(repr=False)
    middle: float
    sizes: tuple[float, float]
    by: str
    n_attackers: int

    @property
    def finding(self) -> str:
        """One sentence."""
        parts = []
        for row in self.slopes.to_dict("records"):
            clear = row["p_value"] < 1 - self.level
            turn = ("falls" if row["slope"] < 0 else "rises") if clear else "does not clearly change"
            parts.append(f"{turn} for {row[self.by]} ({row['slope']:+.3g} logits per decade, p = {row['p_value']:.2g})")
        return f"With size, attack success {', '.join(parts)}."

    def forecast(self, n_params: Any, level: float | None = None) -> pd.DataFrame:
        """Success of the median attacker at sizes (m,) per intervention: intervention, n_params, success, low, high.

        `beyond` is how many decades a size lies outside the data.
        """
        level = self.level if level is None else level
        at = np.log10(np.atleast_1d(np.asarray(n_params, float)))
        rows = []
        for i, name in enumerate(self.names):
            design = np.zeros((len(at), len(self.theta)))
            design[:, 2 * i], design[:, 2 * i + 1] = 1.0, at - self.middle
            middle = design @ self.theta
            reach = _normal(0.5 + level / 2) * np.sqrt(np.einsum("mp,pq,mq->m", design, self.covariance, design))
            beyond = np.maximum(np.maximum(at - self.sizes[1], self.sizes[0] - at), 0.0)
            for j, a in enumerate(at):
                low, mid, high = _sigmoid(middle[j] - reach[j]), _sigmoid(middle[j]), _sigmoid(middle[j] + reach[j])
                rows.append((name, 10**a, mid, low, high, beyond[j]))
        return pd.DataFrame(rows, columns=[self.by, "n_params", "success", "low", "high", "beyond"])

    def __str__(self) -> str:
        table = self.slopes.to_string(index=False, float_format=lambda v: f"{v:.4g}")
        return (
            f"{self.finding}\n\n{table}\nbetween {self.n_attackers} attackers: {self.tau:.3g} logits; "
            f"p of one slope for all: {self.p_equal:.2g}"
        )


def red_team(
    attacks: pd.DataFrame,
    *,
    n_params: str = "n_params",
    success: str = "success",
    intervention: str = "intervention",
    attacker: str = "attacker",
    level: float = 0.95,
) -> RedTeam:
    """Mixed logit of attack success, with a slope test per safety intervention.

    attacks : one row per attack (success 0 or 1), or per cell with successes and a column `attempts`.
    Errors of the slopes are from the likelihood, with the attackers' spread estimated. Raises RunsError for missing
    columns, a value that is not 0 or 1, or an intervention tried at fewer than 2 sizes; FitError if no optimum is found.
    """
    columns = [n_params, success, intervention, attacker]
    if missing := [c for c in columns if c not in attacks]:
        raise RunsError(f"no column {missing[0]!r}; columns: {', '.join(map(str, attacks.columns))}.")
    used = attacks.dropna(subset=columns)
    y = used[success].to_numpy(float)
    n = used["attempts"].to_numpy(float) if "attempts" in used else np.ones(len(used))
    size = used[n_params].to_numpy(float)
    bad = ~((y >= 0) & (y <= n) & (size > 0)) | (y != np.round(y))
    if bad.any():
        row = used.index[int(np.argmax(bad))]
        raise RunsError(
            f"row {row} has a success of {used.loc[row, success]!r}, or a size of 0 or less: give counts and sizes."
        )
    names = tuple(sorted(used[intervention].astype(str).unique()))
    group = used[intervention].astype(str).map({g: i for i, g in enumerate(names)}).to_numpy()
    for i, name in enumerate(names):
        if len(np.unique(size[group == i])) < 2:
            raise RunsError(f"intervention {name!r} was attacked at one size: a slope needs two.")
    log_n = np.log10(size)
    middle = float((log_n.min() + log_n.max()) / 2)
    labels = np.unique(used[attacker].astype(str).to_numpy(), return_inverse=True)[1]
    # attacks of one attacker on one model under one intervention share everything: one row, far fewer of them
    key = (
        pd.DataFrame({"a": labels, "g": group, "x": log_n, "y": y, "n": n})
        .groupby(["a", "g", "x"], as_index=False)
        .sum()
    )
    x = key["x"].to_numpy(float) - middle
    design = np.zeros((len(key), 2 * len(names)))
    code = key["g"].to_numpy(int)
    design[np.arange(len(key)), 2 * code] = 1.0
    design[np.arange(len(key)), 2 * code + 1] = x
    theta, covariance = _maximise(design, key["y"].to_numpy(float), key["n"].to_numpy(float), key["a"].to_numpy(int))
    k = 2 * len(names)
    errors = np.sqrt(np.diag(covariance)[:k])
    z = _normal(0.5 + level / 2)
    rows = []
    for i, name in enumerate(names):
        slope, error, mine = theta[2 * i + 1], errors[2 * i + 1], group == i
        low, high = log_n[mine].min(), log_n[mine].max()
        ends = [float(_sigmoid(theta[2 * i] + slope * (v - middle))) for v in (low, high)]
        rows.append(
            {
                intervention: name,
                "slope": slope,
                "low": slope - z * error,
                "high": slope + z * error,
                "p_value": 2 * _tail(abs(slope) / error),
                "success_smallest": ends[0],
                "success_largest": ends[1],
                "attacks": int(n[mine].sum()),
            }
        )
    return RedTeam(
        slopes=pd.DataFrame(rows),
        tau=float(np.exp(theta[k])),
        p_equal=_wald_equal(theta[1:k:2], covariance[1:k:2, 1:k:2]),
        level=level,
        names=names,
        theta=theta[:k],
        covariance=covariance[:k, :k],
        middle=middle,
        sizes=(float(log_n.min()), float(log_n.max())),
        by=intervention,
        n_attackers=int(labels.max()) + 1,
    )


def _maximise(design: Array, y: Array, n: Array, attacker: Array) -> tuple[Array, Array]:
    """Coefficients (k + 1,), the last ln tau, and their covariance from the observed information."""
    from scipy.optimize import minimize
    from scipy.special import roots_hermitenorm

    nodes, weights = roots_hermitenorm(N_NODES)
    log_weights = np.log(weights) - 0.5 * np.log(2 * np.pi)
    order = np.argsort(attacker, kind="stable")
    design, y, n, attacker = design[order], y[order], n[order], attacker[order]
    starts = np.flatnonzero(np.diff(attacker, prepend=-1))
    k = design.shape[1]

    def value_and_gradient(theta: Array) -> tuple[float, Array]:
        """Negative log likelihood of all attackers at theta (k + 1,), and its derivative (k + 1,)."""
        tau = np.exp(theta[k])
        eta = (design @ theta[:k])[:, None] + tau * nodes  # (rows, nodes)
        each = y[:, None] * eta - n[:, None] * np.logaddexp(0.0, eta)
        total = np.add.reduceat(each, starts, axis=0) + log_weights  # (attackers, nodes)
        top = total.max(axis=1, keepdims=True)
        share = np.exp(total - top)
        size = share.sum(axis=1, keepdims=True)
        posterior = np.repeat(share / size, np.diff(np.append(starts, len(y))), axis=0)
        off = (y[:, None] - n[:, None] * _sigmoid(eta)) * posterior
        gradient = np.append(design.T @ off.sum(axis=1), tau * (off @ nodes).sum())
        return -float((np.log(size) + top).sum()), -gradient

    best = None
    for log_tau in (-2.0, 0.0):  # with the spread between attackers small, and large, at the start
        first = np.append(np.zeros(k), log_tau)
        found = minimize(
            value_and_gradient, first, jac=True, method="L-BFGS-B", bounds=[(-50.0, 50.0)] * k + [(-6.0, MOST_LOG_TAU)],
            options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-8},
        )  # fmt: skip
        best = found if best is None or found.fun < best.fun else best
    assert best is not None
    theta = best.x
    step = 1e-4
    columns = [
        (value_and_gradient(theta + step * e)[1] - value_and_gradient(theta - step * e)[1]) / (2 * step)
        for e in np.eye(k + 1)
    ]
    information = 0.5 * (np.array(columns) + np.array(columns).T)
    free = np.arange(k + 1) if theta[k] > -5.9 else np.arange(k)  # at its bound tau is zero: known, not estimated
    try:
        inverse = np.linalg.inv(information[np.ix_(free, free)])
    except np.linalg.LinAlgError as error:
        raise FitError("the attacks do not determine a slope for each intervention: pool interventions.") from error
    covariance = np.zeros((k + 1, k + 1))
    covariance[np.ix_(free, free)] = inverse
    if not (np.isfinite(covariance).all() and (np.diag(covariance)[:k] > 0).all()):
        raise FitError(
            "the attacks do not determine a slope for each intervention: one may have only failures or successes."
        )
    return theta, covariance


def _wald_equal(slopes: Array, covariance: Array) -> float:
    from scipy.special import chdtrc

    if len(slopes) < 2:
        return float("nan")
    contrast = np.column_stack([np.ones(len(slopes) - 1), -np.eye(len(slopes) - 1)])
    off = contrast @ slopes
    return float(chdtrc(len(off), off @ np.linalg.solve(contrast @ covariance @ contrast.T, off)))


def _sigmoid(z: Any) -> Any:
    from scipy.special import expit

    return expit(z)


def _normal(q: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(q))


def _tail(z: float) -> float:
    from scipy.special import ndtr

    return float(ndtr(-z))
