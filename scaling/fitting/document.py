"""A fit as one JSON document, `scaling.fit/1`, and back; its schema is scaling/schemas/fit.schema.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from scaling.errors import FitError
from scaling.fitting.objective import OBJECTIVES, Objective
from scaling.fitting.result import FitResult, FitStatus, FitWarning
from scaling.laws.law import Array

SCHEMA = "scaling.fit/1"


def document(result: FitResult, level: float = 0.95) -> dict[str, Any]:
    """The document of one fit, with intervals at `level`; a batch of groups gives {"fits": [...]}."""
    point = result.point
    if point.shape:
        return {"schema": SCHEMA, "fits": [document(result.group(i), level) for i in range(point.shape[0])]}
    low, high = result.interval(level)
    coefs = {
        name: {
            "estimate": _number(point.theta[i]),
            "low": _number(low[i]),
            "high": _number(high[i]),
            "level": level,
        }
        for i, name in enumerate(result.law.coef_names)
    }
    derived: dict[str, Any] = {}
    for name, function in result.law.derived.items():
        entry = {"estimate": _number(function(point.theta))}
        if result.of is not None:
            values = function(result.theta[result.converged])
            entry["low"], entry["high"] = (
                map(_number, np.quantile(values, [0.5 - level / 2, 0.5 + level / 2])) if len(values) else (None, None)
            )
        derived[name] = entry
    group = {} if point.groups is None else {str(k): _plain(v) for k, v in point.groups.iloc[0].items()}
    out: dict[str, Any] = {
        "schema": SCHEMA,
        "law": result.law.name,
        "equation": result.law.equation,
        "group": group,
        "n_runs": int(point.n_runs),
        "n_rows_dropped": int(result.provenance.get("n_rows_dropped", 0)),
        "objective": {
            **result.objective.to_dict(float(np.ravel(point.delta)[0])),
            "value": _number(point.objective_value),
        },
        "status": str(point.status),
        "message": str(point.message),
        "starts": {"tried": int(point.starts_tried), "agreeing": int(point.starts_agreeing)},
        "coefs": coefs,
        "fixed": dict(result.fixed),
        "derived": derived,
        "fit": {k: _number(v) for k, v in point.summary.items()},
        "gradient": _number(point.gradient),
        "condition": _number(point.condition),
        "covariance": {
            "coordinates": list(result.coordinates.names),
            "matrix": [[_number(v) for v in r] for r in point.covariance],
        },
        "domain": {k: [float(v[0]), float(v[1])] for k, v in point.domain.items()},
        "warnings": [{"code": w.code, "message": w.message} for w in point.warnings],
        "provenance": {
            "files": list(result.provenance.get("files", [])),
            "version": result.provenance.get("version", ""),
            "seed": result.seed,
            "loss_unit": result.loss_unit,
        },
    }
    if result.of is not None:
        kept = result.theta[result.converged]
        out["resamples"] = {
            "drawn": int(result.shape[0]),
            "converged": int(result.converged.sum()),
            "theta": [[float(v) for v in row] for row in kept],
        }
    return out


def load_fit(source: str | Path | Mapping[str, Any]) -> FitResult:
    """A fit saved as JSON (a file or the document itself): coefficients, covariance and resamples, without the runs.

    Raises FitError naming the file and what is wrong with it.
    """
    from scaling.laws import get

    label = "the document"
    if isinstance(source, Mapping):
        saved: Any = source
    else:
        label = str(source)
        try:
            saved = json.loads(Path(source).read_text(encoding="utf-8"))
        except OSError as error:
            raise FitError(f"cannot read the fit {label!r}: {error.strerror or error}.") from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise FitError(
                f"{label!r} is not the JSON of a fit ({error}). Make one with: scaling fit RUNS --json."
            ) from error
    if not isinstance(saved, Mapping) or saved.get("schema") != SCHEMA:
        found = saved.get("schema") if isinstance(saved, Mapping) else type(saved).__name__
        raise FitError(f"{label!r} is not a fit: its schema is {found!r}, expected {SCHEMA!r}.")
    if "fits" in saved:
        fits = saved["fits"]
        if len(fits) != 1:
            names = "; ".join(str(f.get("group")) for f in fits[:5])
            raise FitError(
                f"{label!r} holds {len(fits)} fits ({names}, ...): save the one you mean in a file of its own."
            )
        saved = fits[0]
    try:
        law = get(saved["law"])
        spec = saved["objective"]
        base = OBJECTIVES.get(spec["name"], Objective(spec["name"], spec["of"]))
        objective = replace(base, of=spec["of"], quantile=spec.get("quantile", base.quantile))
        theta = np.array([saved["coefs"][name]["estimate"] for name in law.coef_names], dtype=float)
        if not np.isfinite(theta).all():
            raise FitError(
                f"{label!r}: a coefficient is missing or not a number; this fit did not succeed ({saved['status']})."
            )
        matrix = np.array([[np.nan if v is None else v for v in r] for r in saved["covariance"]["matrix"]], dtype=float)
        point = FitResult(
            law=law,
            objective=objective,
            theta=theta,
            objective_value=np.asarray(np.nan if spec["value"] is None else spec["value"]),
            status=np.array(FitStatus(saved["status"]), dtype=object)[()],
            message=saved.get("message", ""),
            gradient=np.asarray(saved.get("gradient") or 0.0),
            iterations=np.asarray(0),
            starts_tried=int(saved["starts"]["tried"]),
            starts_agreeing=np.asarray(saved["starts"]["agreeing"]),
            condition=np.asarray(saved.get("condition") or np.nan),
            covariance=matrix,
            delta=np.array([spec.get("delta", np.inf)], dtype=float),
            domain={k: (float(v[0]), float(v[1])) for k, v in saved["domain"].items()},
            n_runs=np.asarray(saved["n_runs"]),
            fixed={k: float(v) for k, v in saved.get("fixed", {}).items()},
            warnings=tuple(FitWarning(w["code"], w["message"]) for w in saved["warnings"]),
            provenance={**saved["provenance"], "n_rows_dropped": saved["n_rows_dropped"]},
            seed=saved["provenance"].get("seed"),
            summary={k: (np.nan if v is None else float(v)) for k, v in saved["fit"].items()},
        )
        draws = saved.get("resamples")
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


def _number(value: Any) -> float | None:
    value = float(value)
    return value if np.isfinite(value) else None


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
