"""What a fit returns: coefficients, how they were found, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import FitError, RunsError
from scaling.fitting.bands import bands
from scaling.fitting.objective import Objective
from scaling.fitting.page import page
from scaling.fitting.problem import Problem
from scaling.fitting.scale import Coordinates
from scaling.laws.law import Array, Law

if TYPE_CHECKING:
    import pandas as pd

#: fields with one entry per row of the batch
PER_ROW = (
    "theta", "objective_value", "status", "message", "gradient", "iterations", "starts_agreeing", "condition", "covariance",
    "delta", "n_runs",
)  # fmt: skip


class FitStatus(StrEnum):
    """How a row ended, worst first in the order of `STATUS_RANK`."""

    CONVERGED = "converged"
    AT_BOUND = "at_bound"
    UNDETERMINED = "undetermined"
    MAX_ITERATIONS = "max_iterations"
    NOT_FINITE = "not_finite"
    TOO_FEW_RUNS = "too_few_runs"


@dataclass(frozen=True)
class FitWarning:
    """Something the reader of a fit must know; `code` is stable, `message` a sentence."""

    code: str
    message: str


@dataclass(frozen=True)
class FitResult:
    """A fit, or a batch of fits along leading axes: none, groups, resamples, or resamples x groups.

    theta (..., P) coefficients in natural units; covariance (..., p, p) of the free coefficients in working coordinates
    (see `coordinates.names`); objective_value, gradient (scaled, rounding level when converged), condition, status,
    message and starts_agreeing all (...). `of` is the fit that was resampled, for a bootstrap.
    """

    law: Law
    objective: Objective
    theta: Array
    objective_value: Array
    status: Array
    message: Array
    gradient: Array
    iterations: Array
    starts_tried: int
    starts_agreeing: Array
    condition: Array
    covariance: Array
    delta: Array
    domain: dict[str, tuple[float, float]]
    n_runs: Array
    fixed: dict[str, float] = field(default_factory=dict)
    warnings: tuple[Any, ...] = ()  # of FitWarning; for groups one such tuple per group
    problem: Problem | None = None
    runs: pd.DataFrame | None = None
    rows_of_group: tuple[Array, ...] | None = None
    groups: pd.DataFrame | None = None
    of: FitResult | None = None
    seed: int | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)  # figures of merit, float or (groups,)

    @property
    def shape(self) -> tuple[int, ...]:
        """The leading axes."""
        return self.theta.shape[:-1]

    @property
    def converged(self) -> Array:
        """(...) True where the gradient is zero to rounding, whatever else the status warns of."""
        return ~np.isin(self.status, [FitStatus.MAX_ITERATIONS, FitStatus.NOT_FINITE, FitStatus.TOO_FEW_RUNS])

    @property
    def coordinates(self) -> Coordinates:
        return Coordinates(self.law, dict(self.fixed))

    @property
    def point(self) -> FitResult:
        """The fit itself: the one that was resampled, or this."""
        return self if self.of is None else self.of

    @property
    def failed(self) -> Array:
        """(...) True where there is no usable estimate."""
        return ~self.converged

    def __getitem__(self, index: int) -> FitResult:
        """One row of the leading axis."""
        if not self.shape:
            raise IndexError("this result is a single fit: there is no row to take.")
        index = range(self.shape[0])[index]
        rows = self.rows_of_group[index] if self.rows_of_group is not None else None
        if self.groups is not None and len(self.shape) == 2:
            raise IndexError("take groups of a bootstrap with result.group(i).")
        grouped = self.groups is not None
        warnings: Any = self.warnings[index] if grouped and self.warnings else ()
        runs = self.runs.iloc[rows] if grouped and self.runs is not None and rows is not None else self.runs
        problem = self.problem
        if problem is not None and grouped:
            n = len(rows) if rows is not None else problem.n_points

            def own(v: Array) -> Array:
                return v if v.ndim == 1 else v[index, :n]

            problem = Problem(
                {k: own(v) for k, v in problem.x.items()}, own(problem.y), problem.weights[index : index + 1, :n]
            )
        elif problem is not None:
            problem = problem.take(np.array([index]))
        per_row = {name: getattr(self, name)[index] for name in PER_ROW}
        if (
            grouped and problem is not None and np.size(per_row["delta"]) > 1
        ):  # a bend for each run: those of padding go
            per_row["delta"] = per_row["delta"][: problem.n_points]
        domain = domain_of(runs, self.law) if grouped and runs is not None else self.domain
        return replace(
            self,
            **per_row,
            warnings=warnings,
            runs=runs,
            problem=problem,
            rows_of_group=None,
            groups=self.groups.iloc[[index]] if self.groups is not None else None,
            of=None,
            domain=domain,
            summary=_summary_of(self.summary, index),
        )

    @property
    def loss_unit(self) -> str:
        """Unit of the target, as the runs were read; nats/token when nothing says otherwise."""
        return str(self.provenance.get("loss_unit", "nats/token")) if self.law.target == "loss" else self.law.target

    def group(self, index: int) -> FitResult:
        """One group, with its resamples when this is a bootstrap of groups."""
        if self.of is None or self.groups is None:
            return self[index]
        take = {name: getattr(self, name)[:, index] for name in PER_ROW}
        point = self.of[index]
        return replace(
            self,
            **take,
            of=point,
            groups=None,
            rows_of_group=None,
            problem=None,
            runs=point.runs,
            warnings=point.warnings,
            domain=point.domain,
            summary=point.summary,
        )

    # --- intervals ---------------------------------------------------------------------------------------------------

    def interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """(low, high), each (..., P): quantiles of the resamples for a bootstrap, else sandwich (HC3) with Student's t.

        For a bootstrap the resample axis is gone. Fixed coefficients have zero width; a coefficient at its bound has
        an open interval (nan) when no resamples say better.
        """
        _check_level(level)
        if self.of is not None:
            good = np.where(self.converged[..., None], self.theta, np.nan)
            if np.isnan(good).all():
                return np.full(self.of.theta.shape, np.nan), np.full(self.of.theta.shape, np.nan)
            low, high = np.nanquantile(good, [0.5 - level / 2, 0.5 + level / 2], axis=0)
            return low, high
        from scipy.special import stdtrit

        coordinates = self.coordinates
        u = coordinates.to_working(self.theta)
        dof = np.maximum(np.asarray(self.n_runs) - u.shape[-1], 1)
        half = stdtrit(dof, 0.5 + level / 2)[..., None] * np.sqrt(np.diagonal(self.covariance, axis1=-2, axis2=-1))
        half = np.where(half == 0, np.nan, half)  # held at a bound
        with np.errstate(over="ignore"):  # an interval may be open
            low, high = coordinates.to_theta(u - half)[0], coordinates.to_theta(u + half)[0]
        return np.minimum(low, high), np.maximum(low, high)

    def std_error(self) -> Array:
        """(..., P) standard errors in natural units: spread of the resamples, or delta method on the sandwich."""
        if self.of is not None:
            return np.nanstd(np.where(self.converged[..., None], self.theta, np.nan), axis=0, ddof=1)
        coordinates = self.coordinates
        _, slope = coordinates.to_theta(coordinates.to_working(self.theta))
        out = np.zeros(self.theta.shape)
        out[..., coordinates.free] = np.abs(slope) * np.sqrt(np.diagonal(self.covariance, axis1=-2, axis2=-1))
        return out

    # --- tables ------------------------------------------------------------------------------------------------------

    def coef_table(self, level: float = 0.95) -> pd.DataFrame:
        """One row per (group and) coefficient: estimate, std_error, low, high, meaning."""
        import pandas as pd

        point, (low, high), error = self.point, self.interval(level), self.std_error()
        blocks = []
        for index in np.ndindex(point.shape):
            block = pd.DataFrame(
                {
                    "coef": self.law.coef_names,
                    "estimate": point.theta[index],
                    "std_error": error[index],
                    "low": low[index],
                    "high": high[index],
                    "meaning": [c.meaning.replace("target unit", self.loss_unit) for c in self.law.coefs],
                }
            )
            if point.groups is not None and index:
                for column in reversed(point.groups.columns):
                    block.insert(0, column, point.groups[column].iloc[index[0]])
            blocks.append(block)
        return pd.concat(blocks, ignore_index=True)

    def fit_table(self) -> pd.DataFrame:
        """One row per fit: law, runs, objective, fit quality, status and sentence."""
        import pandas as pd

        point = self.point
        shape = point.shape or (1,)
        data: dict[str, Any] = {
            "law": np.full(shape, self.law.name),
            "n_runs": np.reshape(point.n_runs, shape),
            "objective": np.full(shape, self.objective.name),
            "value": np.reshape(point.objective_value, shape),
            **{k: np.reshape(v, shape) for k, v in point.summary.items()},
            "condition": np.reshape(point.condition, shape),
            "gradient": np.reshape(point.gradient, shape),
            "starts_agreeing": np.reshape(point.starts_agreeing, shape),
            "status": np.reshape(point.status, shape).astype(str),
            "message": np.reshape(point.message, shape),
        }
        table = pd.DataFrame(data)
        if point.groups is not None and point.shape:
            table = pd.concat([point.groups.reset_index(drop=True), table], axis=1)
        return table

    def run_table(self) -> pd.DataFrame:
        """The runs used, each with `predicted` and `residual` (of the log or of the target, as the objective has it)."""
        point = self.point
        if point.runs is None:
            raise FitError("this fit was loaded from a file: the runs are not in it.")
        import pandas as pd

        parts = []
        for index in np.ndindex(point.shape):
            rows = (
                point.rows_of_group[index[0]]
                if index and point.rows_of_group is not None
                else np.arange(len(point.runs))
            )
            part = point.runs.iloc[rows].copy()
            if not np.isfinite(point.theta[index]).all():
                part["predicted"], part["residual"] = np.nan, np.nan
            else:
                x = {k: part[k].to_numpy(float) for k in self.law.inputs}
                part["predicted"] = self.law.predict(x, point.theta[index])
                part["residual"] = self.objective.residuals(
                    part["predicted"].to_numpy(), part[self.law.target].to_numpy(float)
                )[0]
            parts.append(part)
        return pd.concat(parts)

    def predict(
        self, x: Mapping[str, Any] | pd.DataFrame, level: float | None = None, kind: str = "confidence"
    ) -> Array | pd.DataFrame:
        """Predicted target at inputs x.

        Without level: an array (..., n). With level: a table predicted, low, high; kind "confidence" bounds the law's
        value at each x, "simultaneous" its values at all of them at once (the curve leaves the band anywhere in 1 - level of
        sweeps), "prediction" the result of one new run (adds the residual scatter). Bands come from the resamples
        for a bootstrap, else from the delta method on the sandwich covariance. One fit only (take a group first).
        """
        missing = [c for c in self.law.inputs if c not in x]
        if missing:
            raise RunsError(
                f"predicting with {self.law.name!r} needs {', '.join(self.law.inputs)}; missing: {', '.join(missing)}."
            )
        inputs = {k: np.atleast_1d(np.asarray(x[k], dtype=float)) for k in self.law.inputs}
        point = self.point
        if level is None:
            return self.law.predict(inputs, point.theta)
        _check_level(level)
        if kind not in ("confidence", "simultaneous", "prediction"):
            raise FitError(
                f"kind={kind!r}: choose 'confidence' (the law's value at each point), 'simultaneous' (at all points at once) "
                "or 'prediction' (one new run)."
            )
        if point.shape:
            raise FitError("bands are for one fit: take a group first, result.group(i).")
        return bands(self, inputs, level, kind)

    @cached_property
    def residuals(self) -> Array:
        """(n,) residuals of a single fit."""
        if self.problem is None:
            raise FitError("this fit was loaded from a file: the runs are not in it.")
        predicted = self.law.predict(self.problem.x, self.theta)
        return np.ravel(self.objective.residuals(predicted, self.problem.y)[0])

    @property
    def noise(self) -> float:
        """Standard deviation of one run around the law (root mean square residual, degrees of freedom taken off)."""
        return float(self.summary.get("noise", np.nan))

    @property
    def standardised_residuals(self) -> Array:
        """Residuals of a single fit, centred and scaled to unit variance: what one new run's error looks like."""
        if self.problem is None:
            return np.linspace(-1.7, 1.7, 101)  # runs not at hand: a flat stand-in of unit variance
        r = self.residuals - self.residuals.mean()
        spread = r.std()
        return r / spread if spread > 0 else r

    # --- documents ---------------------------------------------------------------------------------------------------

    def to_dict(self, level: float = 0.95) -> dict[str, Any]:
        """The JSON document `scaling.fit/1` for one fit; a batch of groups gives {"fits": [...]}."""
        from scaling.fitting.document import document

        return document(self, level)

    def __str__(self) -> str:
        return page(self)

    __repr__ = __str__


def domain_of(runs: pd.DataFrame, law: Law) -> dict[str, tuple[float, float]]:
    """Range of every law input, and of flops where the runs have it."""
    columns = [c for c in dict.fromkeys((*law.inputs, "n_params", "n_tokens", "flops")) if c in runs]
    out = {}
    for c in columns:
        v = runs[c].to_numpy(float)
        v = v[np.isfinite(v)]
        if len(v):
            out[c] = (float(v.min()), float(v.max()))
    return out


def _summary_of(summary: Mapping[str, Any], index: int) -> dict[str, Any]:
    return {k: (v[index] if np.ndim(v) else v) for k, v in summary.items()}


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise FitError(f"level must lie between 0 and 1 (0.95 is 95 %), not {level}.")
