"""refit: read files, find what changed, fit it in batches on any executor, and commit chunk by chunk."""

from __future__ import annotations

import glob
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.errors import RunsError
from scaling.refitting.changes import GOOD, table_of
from scaling.refitting.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fitting.objective import Objective
    from scaling.laws.law import Law

CHUNK = 500  # groups: the unit of work, of progress and of commit
UNREADABLE = "unreadable"


@dataclass(frozen=True)
class RefitReport:
    """coefs: a row per coefficient; n_fits: slots in all; n_computed: fits made now, the rest was known; n_failed."""

    coefs: pd.DataFrame
    n_fits: int
    n_computed: int
    n_failed: int


def refit(
    sources: str | Path | pd.DataFrame | Sequence[str | Path],
    laws: str | Law | Sequence[str | Law],
    *,
    store: str | Path,
    by: str | Sequence[str] = (),
    objective: Objective | str = "hoffmann",
    resamples: int = 0,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
    seed: int = 0,
) -> RefitReport:
    """Fit every law to every group of the sources; what the store already knows is not computed again.

    sources : files, globs, directories, or a runs table. by : columns that separate groups; () makes one group per file.
    resamples : bootstrap resamples of each fit; their seed follows from `seed` and the content, not from the order.
    executor : any concurrent.futures.Executor; default `workers` processes, or this one process for workers=1.
    progress : called with (fits committed, fits to make).
    Raises RunsError for a store that is in use or full and for sources without files; a bad file or group is a row.
    """
    from scaling.fitting.objective import get_objective
    from scaling.laws import get
    from scaling.laws.law import Law

    chosen = [law if isinstance(law, Law) else get(law) for law in ([laws] if isinstance(laws, str | Law) else laws)]
    columns = [by] if isinstance(by, str) else list(by)
    resolved = get_objective(objective)
    with Store(store, create=True) as opened, opened.writing():
        number = opened.begin()
        own = executor is None and workers != 1
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _quiet_blas) if own else executor
        try:
            computed = 0
            work: list[tuple[Law, list[tuple[str, str, pd.DataFrame]]]] = []
            for law in chosen:
                groups, bad = _groups(sources, law, columns, pool)
                keyed = [
                    (_key(table, law, resolved, resamples, seed), _slot(law, group), table) for group, table in groups
                ]
                have = opened.known(k for k, _, _ in keyed)
                opened.mark(number, {s: k for k, s, _ in keyed if k in have})
                todo = [item for item in keyed if item[0] not in have]
                work += [(law, todo[i : i + CHUNK]) for i in range(0, len(todo), CHUNK)]
                if bad:
                    opened.commit(
                        number, [_unfitted(_digest(law.name, str(g), m), law, _slot(law, g), m) for g, m in bad]
                    )
            total = sum(len(items) for _, items in work)
            # a registered law travels by name: its functions need not be picklable
            jobs = [(_by_name(law), items, resolved, resamples, seed) for law, items in work]
            for fits in _run(jobs, pool):
                opened.commit(number, fits)
                computed += len(fits)
                if progress is not None:
                    progress(computed, total)
        finally:
            if own and pool is not None:
                pool.shutdown(cancel_futures=True)
        opened.finish(number)
        final = opened.fits_of(number)
    failed = sum(f["status"] not in GOOD for f in final.values())
    return RefitReport(table_of(final), len(final), computed, failed)


def _by_name(law: Law) -> Law | str:
    from scaling.laws import LAWS

    return law.name if LAWS.get(law.name) is law else law


def _quiet_blas() -> None:
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"


def _run(jobs: list[tuple[Any, ...]], pool: Executor | None) -> Iterable[list[dict[str, Any]]]:
    if pool is None:
        yield from (fit_chunk(*job) for job in jobs)
        return
    for future in as_completed([pool.submit(fit_chunk, *job) for job in jobs]):
        try:
            yield future.result()
        except BrokenExecutor as error:
            raise RunsError(
                "a worker process died: what was committed is safe; run the refit again to finish."
            ) from error


def _files(sources: Any) -> list[str]:
    found: list[str] = []
    for source in [sources] if isinstance(sources, str | Path) else sources:
        if Path(source).is_dir():
            found += sorted(str(p) for p in Path(source).rglob("*") if p.is_file() and not p.name.startswith("."))
        elif Path(source).exists():
            found.append(str(source))
        else:
            found += sorted(glob.glob(str(source), recursive=True))
    if not found:
        raise RunsError(f"no files at {sources!r}: check the path or the pattern.")
    return list(dict.fromkeys(found))


def read_file(path: str, required: Sequence[str], target: str) -> pd.DataFrame | str:
    """The runs table of one file, or a sentence saying why there is none: one bad file must not lose the others."""
    from scaling.logs import read_runs

    try:
        return read_runs(glob.escape(path), required=required, target=target)
    except (ValueError, OSError) as error:
        return str(error)


def _groups(
    sources: Any, law: Law, by: list[str], pool: Executor | None
) -> tuple[list[tuple[dict[str, Any], pd.DataFrame]], list[tuple[dict[str, Any], str]]]:
    """Groups as (name, table), and files that could not be read as (name, sentence)."""
    import pandas as pd

    needed = (*law.inputs, law.target)
    bad: list[tuple[dict[str, Any], str]] = []
    if isinstance(sources, pd.DataFrame):
        tables = [("", sources)]
    else:
        paths = _files(sources)
        arguments = (paths, [law.inputs] * len(paths), [law.target] * len(paths))
        read = list(pool.map(read_file, *arguments)) if pool is not None else list(map(read_file, *arguments))
        bad = [({"file": p}, r) for p, r in zip(paths, read, strict=True) if isinstance(r, str)]
        tables = [(p, r) for p, r in zip(paths, read, strict=True) if not isinstance(r, str)]
    if not by:
        return [({"file": p} if p else {}, t[list(needed)]) for p, t in tables], bad
    for p, t in list(tables):
        if missing := [c for c in by if c not in t]:
            bad.append(({"file": p}, f"column {missing[0]!r} to group by is not in {p!r}."))
    tables = [(p, t) for p, t in tables if all(c in t for c in by)]
    if not tables:
        return [], bad
    whole = pd.concat([t[[*dict.fromkeys((*needed, *by))]] for _, t in tables], ignore_index=True)
    out = []
    for key, part in whole.groupby(by, sort=True, dropna=False):
        values = key if isinstance(key, tuple) else (key,)
        out.append(({c: str(v) for c, v in zip(by, values, strict=True)}, part[list(needed)]))
    return out, bad


def _slot(law: Law, group: dict[str, Any]) -> str:
    return json.dumps({"law": law.name, "group": group}, sort_keys=True)


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _key(table: pd.DataFrame, law: Law, objective: Objective, resamples: int, seed: int) -> str:
    version = metadata.version("scaling-laws")
    content = hashlib.sha256()
    for name in table.columns:
        content.update(json.dumps(str(name)).encode())
        content.update(table[name].to_numpy(float).tobytes())
    return _digest(content.hexdigest(), law.name, law.equation, repr(objective), str(resamples), str(seed), version)


def _unfitted(key: str, law: Law, slot: str, message: str, status: str = UNREADABLE) -> dict[str, Any]:
    return {
        "key": key,
        "law": law.name,
        "slot": slot,
        "status": status,
        "message": message,
        "document": {},
        "draws": None,
    }


def fit_chunk(
    law: Law | str, items: list[tuple[str, str, pd.DataFrame]], objective: Objective, resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Fit one chunk of (key, slot, table) as one batch; where a table breaks the batch, one by one."""
    import pandas as pd

    from scaling.fitting import fit
    from scaling.laws import get
    from scaling.uncertainty import bootstrap

    law = get(law) if isinstance(law, str) else law
    tables = [table.assign(_group=i) for i, (_, _, table) in enumerate(items)]
    try:
        batch = fit(law, pd.concat(tables, ignore_index=True), objective, by="_group")
    except ValueError as error:
        if len(items) == 1:
            key, slot, _ = items[0]
            return [_unfitted(key, law, slot, str(error), "unusable")]
        return [f for item in items for f in fit_chunk(law, [item], objective, resamples, seed)]
    out = []
    for i, (key, slot, _) in enumerate(items):
        one, draws = batch.group(i), None
        if resamples and bool(one.converged):
            one = bootstrap(one, resamples, rng=int(_digest(key, str(seed))[:15], 16))
            draws = one.theta
        document = one.to_dict()
        document.pop("resamples", None)  # they are in the file of draws
        out.append(
            {"key": key, "law": law.name, "slot": slot, "status": document["status"], "message": document["message"],
             "document": document, "draws": draws}
        )  # fmt: skip
    return out
