"""What a fit returns: coefficients, how they were found, and what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import FitError, RunsError
from scaling.fitting.objective import OBJECTIVES, Objective
from scaling.fitting.problem import Problem
from scaling.fitting.scale import Coordinates
from scaling.laws.law import Array, Law

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "scaling.fit/1"
SUP_DRAWS = 10_000  # of a simultaneous band: its width is known to half a percent
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
        import pandas as pd
        from scipy.special import stdtrit

        estimate = self.law.predict(inputs, point.theta)
        log = self.objective.of == "log"
        noise = point.noise if kind == "prediction" else 0.0
        if self.of is not None:
            draws = self.law.predict(inputs, self.theta[self.converged])
            if kind == "simultaneous":
                moved = np.log(draws / estimate) if log else draws - estimate
                return _band(estimate, _sup_width(moved, np.sqrt(np.square(moved).mean(0)), level), log)
            if noise:
                rng = np.random.default_rng(0)
                scatter = noise * rng.choice(point.standardised_residuals, size=draws.shape)
                draws = draws * np.exp(scatter) if log else draws + scatter
            low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2], axis=0)
        else:
            coordinates = self.coordinates
            u = coordinates.to_working(self.theta)
            theta, slope = coordinates.to_theta(u[None])
            value, jacobian = self.law.value_and_jacobian(inputs, theta)
            gradient = jacobian[0][:, coordinates.free] * slope[0]
            if log:
                gradient = gradient / value[0][:, None]
            error = np.sqrt(np.einsum("np,pq,nq->n", gradient, self.covariance, gradient) + noise**2)
            dof = max(int(self.n_runs) - u.shape[-1], 1)
            if kind == "simultaneous":
                rng = np.random.default_rng(0)
                heavy = np.sqrt(dof / rng.chisquare(dof, SUP_DRAWS))
                values, vectors = np.linalg.eigh(np.nan_to_num(self.covariance))
                normal = rng.standard_normal((SUP_DRAWS, len(values))) * np.sqrt(np.maximum(values, 0.0))
                half = _sup_width(heavy[:, None] * normal @ (gradient @ vectors).T, error, level)
            else:
                half = stdtrit(dof, 0.5 + level / 2) * error
            return _band(estimate, half, log)
        return pd.DataFrame({"predicted": estimate, "low": low, "high": high})

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
        """The JSON document of product.md (`scaling.fit/1`) for one fit; a batch of groups gives {"fits": [...]}."""
        point = self.point
        if point.shape:
            return {"schema": SCHEMA, "fits": [self.group(i).to_dict(level) for i in range(point.shape[0])]}
        low, high = self.interval(level)
        coefs = {
            name: {
                "estimate": _number(point.theta[i]),
                "low": _number(low[i]),
                "high": _number(high[i]),
                "level": level,
            }
            for i, name in enumerate(self.law.coef_names)
        }
        derived: dict[str, Any] = {}
        for name, function in self.law.derived.items():
            entry = {"estimate": _number(function(point.theta))}
            if self.of is not None:
                values = function(self.theta[self.converged])
                entry["low"], entry["high"] = (
                    map(_number, np.quantile(values, [0.5 - level / 2, 0.5 + level / 2]))
                    if len(values)
                    else (None, None)
                )
            derived[name] = entry
        group = {} if point.groups is None else {str(k): _plain(v) for k, v in point.groups.iloc[0].items()}
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "law": self.law.name,
            "equation": self.law.equation,
            "group": group,
            "n_runs": int(point.n_runs),
            "n_rows_dropped": int(self.provenance.get("n_rows_dropped", 0)),
            "objective": {
                **self.objective.to_dict(float(np.ravel(point.delta)[0])),
                "value": _number(point.objective_value),
            },
            "status": str(point.status),
            "message": str(point.message),
            "starts": {"tried": int(point.starts_tried), "agreeing": int(point.starts_agreeing)},
            "coefs": coefs,
            "fixed": dict(self.fixed),
            "derived": derived,
            "fit": {k: _number(v) for k, v in point.summary.items()},
            "gradient": _number(point.gradient),
            "condition": _number(point.condition),
            "covariance": {
                "coordinates": list(self.coordinates.names),
                "matrix": [[_number(v) for v in r] for r in point.covariance],
            },
            "domain": {k: [float(v[0]), float(v[1])] for k, v in point.domain.items()},
            "warnings": [{"code": w.code, "message": w.message} for w in point.warnings],
            "provenance": {
                "files": list(self.provenance.get("files", [])),
                "version": self.provenance.get("version", ""),
                "seed": self.seed,
                "loss_unit": self.loss_unit,
            },
        }
        if self.of is not None:
            kept = self.theta[self.converged]
            document["resamples"] = {
                "drawn": int(self.shape[0]),
                "converged": int(self.converged.sum()),
                "theta": [[float(v) for v in row] for row in kept],
            }
        return document

    def __str__(self) -> str:
        point = self.point
        if point.shape:
            table = self.coef_table()
            wide = table.pivot_table(
                index=list(point.groups.columns) if point.groups is not None else None,
                columns="coef",
                values="estimate",
                sort=False,
            )
            statuses = self.fit_table()[
                [*(point.groups.columns if point.groups is not None else []), "n_runs", "status"]
            ]
            return f"{self.law.equation}\n{wide.to_string()}\n{statuses.to_string(index=False)}"
        low, high = self.interval(0.95)
        width = max(len(n) for n in self.law.coef_names)
        lines = [
            self.law.equation,
            f"{int(point.n_runs)} runs, objective {_objective_words(point)}",
        ]
        for i, c in enumerate(self.law.coefs):
            interval = "fixed" if c.name in self.fixed else f"[{_short(low[i])}, {_short(high[i])}]"
            lines.append(
                f"  {c.name:<{width}}  {_short(point.theta[i]):>10}  {interval:<24}  {c.meaning.replace('target unit', self.loss_unit)}"
            )
        for name, function in self.law.derived.items():
            span = ""
            if self.of is not None and self.converged.any():
                ends = np.quantile(function(self.theta[self.converged]), [0.025, 0.975])
                span = f"[{_short(ends[0])}, {_short(ends[1])}]"
            lines.append(
                f"  {name:<{width}}  {_short(float(function(point.theta))):>10}  {span:<24}  follows from the others".rstrip()
            )
        kind = f"{self.shape[0]} resamples" if self.of is not None else "HC3 sandwich, Student t"
        lines.append(f"95 % intervals: {kind}")
        lines.append(f"{str(point.status).replace('_', ' ')}: {point.message}")
        lines += [f"warning ({w.code}): {w.message}" for w in point.warnings]
        return "\n".join(lines)

    __repr__ = __str__


def load_fit(source: str | Path | Mapping[str, Any]) -> FitResult:
    """A fit saved as JSON (a file or the document itself): coefficients, covariance and resamples, without the runs.

    Raises FitError naming the file and what is wrong with it.
    """
    from scaling.laws import get

    label = "the document"
    if isinstance(source, Mapping):
        document: Any = source
    else:
        label = str(source)
        try:
            document = json.loads(Path(source).read_text(encoding="utf-8"))
        except OSError as error:
            raise FitError(f"cannot read the fit {label!r}: {error.strerror or error}.") from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise FitError(
                f"{label!r} is not the JSON of a fit ({error}). Make one with: scaling fit RUNS --json."
            ) from error
    if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, Mapping) else type(document).__name__
        raise FitError(f"{label!r} is not a fit: its schema is {found!r}, expected {SCHEMA!r}.")
    if "fits" in document:
        fits = document["fits"]
        if len(fits) != 1:
            names = "; ".join(str(f.get("group")) for f in fits[:5])
            raise FitError(
                f"{label!r} holds {len(fits)} fits ({names}, ...): save the one you mean in a file of its own."
            )
        document = fits[0]
    try:
        law = get(document["law"])
        spec = document["objective"]
        base = OBJECTIVES.get(spec["name"], Objective(spec["name"], spec["of"]))
        objective = replace(base, of=spec["of"], quantile=spec.get("quantile", base.quantile))
        theta = np.array([document["coefs"][name]["estimate"] for name in law.coef_names], dtype=float)
        if not np.isfinite(theta).all():
            raise FitError(
                f"{label!r}: a coefficient is missing or not a number; this fit did not succeed ({document['status']})."
            )
        matrix = np.array(
            [[np.nan if v is None else v for v in r] for r in document["covariance"]["matrix"]], dtype=float
        )
        point = FitResult(
            law=law,
            objective=objective,
            theta=theta,
            objective_value=np.asarray(np.nan if spec["value"] is None else spec["value"]),
            status=np.array(FitStatus(document["status"]), dtype=object)[()],
            message=document.get("message", ""),
            gradient=np.asarray(document.get("gradient") or 0.0),
            iterations=np.asarray(0),
            starts_tried=int(document["starts"]["tried"]),
            starts_agreeing=np.asarray(document["starts"]["agreeing"]),
            condition=np.asarray(document.get("condition") or np.nan),
            covariance=matrix,
            delta=np.array([spec.get("delta", np.inf)], dtype=float),
            domain={k: (float(v[0]), float(v[1])) for k, v in document["domain"].items()},
            n_runs=np.asarray(document["n_runs"]),
            fixed={k: float(v) for k, v in document.get("fixed", {}).items()},
            warnings=tuple(FitWarning(w["code"], w["message"]) for w in document["warnings"]),
            provenance={**document["provenance"], "n_rows_dropped": document["n_rows_dropped"]},
            seed=document["provenance"].get("seed"),
            summary={k: (np.nan if v is None else float(v)) for k, v in document["fit"].items()},
        )
        draws = document.get("resamples")
        if not draws or not draws["theta"]:
            return point
        thetas = np.array(draws["theta"], dtype=float).reshape(-1, len(theta))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, FitError):
            raise
        raise FitError(f"{label!r} says it is a fit but {type(error).__name__}: {error}.") from error
    n = len(thetas)

    def fill(value: Any) -> Array:
        return np.full(n, value)

    return replace(
        point, theta=thetas, of=point, objective_value=fill(np.nan), status=np.full(n, FitStatus.CONVERGED, dtype=object),
        message=np.full(n, "", dtype=object), gradient=fill(0.0), iterations=fill(0), starts_agreeing=fill(1),
        condition=fill(np.nan), covariance=np.broadcast_to(point.covariance, (n, *point.covariance.shape)),
        delta=np.broadcast_to(point.delta, (n, 1)), n_runs=fill(int(point.n_runs)),
    )  # fmt: skip


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


def _number(value: Any) -> float | None:
    value = float(value)
    return value if np.isfinite(value) else None


def _sup_width(moved: Array, error: Array, level: float) -> Array:
    """Half widths (n,) in proportion to error (n,) that enclose a share `level` of the curves moved (R, n) everywhere (sup-t)."""
    furthest = np.max(np.abs(moved) / np.maximum(error, 1e-300), axis=-1)
    return error * float(np.quantile(furthest, level))


def _band(estimate: Array, half: Array, log: bool) -> pd.DataFrame:
    import pandas as pd

    low, high = (estimate * np.exp(-half), estimate * np.exp(half)) if log else (estimate - half, estimate + half)
    return pd.DataFrame({"predicted": estimate, "low": low, "high": high})


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _short(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else "open"


def _objective_words(point: FitResult) -> str:
    objective, bend = point.objective, float(np.ravel(point.delta)[0])
    log = objective.of == "log"
    words = f"{objective.name} on {'log ' if log else ''}residuals"
    if not objective.redescends:
        return words + (f", delta {bend:.3g}" if np.isfinite(bend) else "")
    noise = float(np.median(point.delta)) / objective.scales
    size = f"{noise:.2%}" if log else f"{noise:.3g}"
    decade = float(10.0 ** float(np.ravel(point.summary.get("noise_slope", 0.0))[0]))
    trend = "" if abs(decade - 1) < 0.005 else f" at the middle run, {decade:.2g} times that per decade of compute"
    return f"{words}: far runs have no influence, noise {size}{trend}"
