"""Fits of one chunk of groups: the work that travels to a process or a machine."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.errors import RunsError
from scaling.fitting.objective import Objective
from scaling.laws.law import Law
from scaling.refitting.store import Fitted


@dataclass(frozen=True)
class Group:
    """The rows of one group: content holds n_rows x columns little-endian float64, row by row."""

    key: str
    n_rows: int
    content: bytes


@dataclass(frozen=True)
class Task:
    """What to fit and how; columns name those of the content. A registered law travels by its name."""

    law: Law | str
    columns: tuple[str, ...]
    objective: Objective
    resamples: int
    seed: int
    version: str
    level: float = 0.95


def digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def installed() -> str:
    from importlib import metadata

    return metadata.version("scaling-laws")


def fit_chunk(task: Task, groups: list[Group]) -> list[Fitted]:
    """Fit groups as batches of about one size; a group that breaks its batch is found by halving it.

    Raises RunsError when this process has another version of the package than the one that sent the task.
    """
    if task.version != installed():
        raise RunsError(
            f"a worker has version {installed()} of scaling-laws, the refit is made with {task.version}: install the same on all."
        )
    sizes: dict[int, list[Group]] = {}
    for group in groups:
        sizes.setdefault(max(group.n_rows - 1, 0).bit_length(), []).append(group)  # padded to at most twice its rows
    return [f for size in sorted(sizes) for f in _fit_batch(task, sizes[size])]


def _fit_batch(task: Task, groups: list[Group]) -> list[Fitted]:
    import pandas as pd

    from scaling.fitting import fit
    from scaling.laws import get

    law = get(task.law) if isinstance(task.law, str) else task.law
    numbers = np.frombuffer(b"".join(g.content for g in groups), "<f8").reshape(-1, len(task.columns)).astype(float)
    runs = pd.DataFrame(numbers, columns=list(task.columns))
    runs["_group"] = np.repeat(np.arange(len(groups)), [g.n_rows for g in groups])
    try:
        batch = fit(law, runs, task.objective, by="_group")
        return [_one(task, law, group, batch.group(i)) for i, group in enumerate(groups)]
    except (ValueError, ArithmeticError) as error:
        if len(groups) == 1:
            return [Fitted(groups[0].key, law.name, "unusable", str(error), groups[0].n_rows)]
        half = len(groups) // 2
        return [*_fit_batch(task, groups[:half]), *_fit_batch(task, groups[half:])]


def _one(task: Task, law: Law, group: Group, result: Any) -> Fitted:
    from scaling.uncertainty import bootstrap

    draws = None
    if task.resamples and bool(result.converged):
        result = bootstrap(result, task.resamples, rng=int(digest(group.key, str(task.seed))[:15], 16))
        draws = np.where(result.converged[:, None], result.theta, np.nan)
    document = result.to_dict(task.level)
    document.pop("resamples", None)  # they are in the file of draws
    document["group"] = {}  # equal rows are one fit, whatever their groups are called
    # a fit that failed has no coefficients, rather than five without a value
    coefs = tuple(
        (name, c["estimate"], c["low"], c["high"]) for name, c in document["coefs"].items() if c["estimate"] is not None
    )
    return Fitted(
        group.key, law.name, document["status"], document["message"], document["n_runs"], document, coefs, draws
    )
