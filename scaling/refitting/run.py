"""refit: read files that changed, fit groups that changed in batches on any executor, and commit chunk by chunk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.errors import RunsError
from scaling.refitting.changes import table_of
from scaling.refitting.executors import Job, Workers, refuse_in_a_starting_worker
from scaling.refitting.fits import Group, Task, digest, fit_chunk, installed
from scaling.refitting.sources import (
    MAX_BYTES,
    TABLE,
    FileRead,
    Reading,
    Source,
    find_files,
    group_text,
    load,
    look,
    name_of,
    read_files,
    read_here,
    split,
)
from scaling.refitting.store import Fitted, Store

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fitting.objective import Objective
    from scaling.laws.law import Law

CHUNK = 100  # groups: the unit of work and of commit; fixed, so that a resumed refit batches as an uninterrupted one
FILES = 40  # files read by one job,
PIECE = 1 << 24  # or fewer when they hold more bytes than this
READING_OPTIONS = ("columns", "where", "meta", "loss_unit", "format", "bytes_per_token", "unfinished")


@dataclass(frozen=True)
class RefitReport:
    """n_fits: slots (law x group) in all; n_computed: fits made now; n_failed: slots without an estimate; n_files: files
    looked at; n_read: files whose content was read now. coefs: a row per coefficient, from the store when asked for."""

    store: Path
    number: int
    n_fits: int
    n_computed: int
    n_failed: int
    n_files: int = 0
    n_read: int = 0

    @cached_property
    def coefs(self) -> pd.DataFrame:
        with Store(self.store) as opened:
            return table_of(opened, self.number)


def refit(
    sources: str | Path | pd.DataFrame | Sequence[str | Path],
    laws: str | Law | Sequence[str | Law],
    *,
    store: str | Path,
    by: str | Sequence[str] = (),
    objective: Objective | str = "robust",
    resamples: int = 0,
    workers: int | None = None,
    executor: Executor | None = None,
    scheduler: str | None = None,
    reading: Mapping[str, Any] | None = None,
    verify: bool = False,
    max_bytes: int = MAX_BYTES,
    progress: Callable[[int, int], None] | None = None,
    log: Callable[[dict[str, Any]], None] | None = None,
    seed: int = 0,
) -> RefitReport:
    """Fit every law to every group of the sources; what the store already knows is not computed again.

    sources : files, globs, directories, addresses of fsspec (s3://...), or a runs table.
    by : columns that separate groups, across all files; () makes one group per file. A run lies in one file.
    resamples : bootstrap resamples of each fit; their seed follows from `seed` and the content, not from the order.
    workers, executor, scheduler : processes of this machine (default: one for each core; 1: this process alone), or any
        concurrent.futures.Executor, or the address of a dask scheduler (tcp://...).
    reading : options of read_runs: columns, where, meta, loss_unit, format, bytes_per_token, unfinished.
    verify : hash the content of every file, whatever its size and times say. max_bytes : most that one file may hold.
    progress : called with (slots done, slots in all). log : called with a dict for each step of the work.
    Raises RunsError for a store that is in use or full and for sources without files; a bad file or group is a row.
    """
    import pandas as pd

    from scaling.fitting.objective import get_objective
    from scaling.laws import get
    from scaling.laws.law import Law

    refuse_in_a_starting_worker()
    chosen = [law if isinstance(law, Law) else get(law) for law in ([laws] if isinstance(laws, str | Law) else laws)]
    columns = (by,) if isinstance(by, str) else tuple(by)
    options, beside = _options(reading)
    if isinstance(sources, pd.DataFrame) and options:
        raise RunsError("options of reading are for files: prepare a table with read_runs.")
    version = installed()
    by_digest: dict[str, tuple[Reading, list[Law]]] = {}
    for law in chosen:
        how = Reading((*law.inputs, law.target), law.target, columns, options, version, max_bytes)
        by_digest.setdefault(how.digest, (how, []))[1].append(law)
    work = list(by_digest.values())
    say = _sayer(log)
    begin = time.monotonic()
    with Store(store, create=True) as opened, opened.writing():
        paths: list[str] = []
        closed: list[tuple[str, str]] = []
        if not isinstance(sources, pd.DataFrame):
            paths, closed = find_files(sources, without=[store, *beside])
        number = opened.begin()
        say("begin", refit=number, files=len(paths), laws=[law.name for law in chosen], store=str(store))
        computed = n_read = 0
        with Workers(workers, executor, scheduler) as pool:
            opened.use_files([TABLE] if isinstance(sources, pd.DataFrame) else map(name_of, paths))
            for how, _ in work:
                if isinstance(sources, pd.DataFrame):
                    _take_table(opened, sources, how)
                else:
                    n_read += _read_changed(opened, paths, how, pool, verify, say)
            total = sum(opened.count_groups(how.digest) * len(some) for how, some in work)
            say("read", files=len(paths), read=n_read, slots=total, seconds=round(time.monotonic() - begin, 3))
            done = 0
            for how, some in work:
                for path, sentence in (*opened.bad_files(how.digest), *((name_of(p), m) for p, m in closed)):
                    say("bad file", file=path, message=sentence)
                    for law in some:
                        opened.commit(number, *_unreadable(law, path, sentence))
                tasks = [(law, _task(law, how, get_objective(objective), resamples, seed, version)) for law in some]

                def known(slots: int) -> None:
                    nonlocal done
                    done += slots
                    if slots and progress is not None:
                        progress(done, total)

                for slots, fits in pool.run(_jobs(opened, number, how, tasks, known)):
                    opened.commit(number, slots, fits)
                    computed += len(fits)
                    known(len(slots))
                    say("commit", fits=len(fits), done=done, of=total)
            restarts = pool.restarts
        n_fits, n_failed = opened.finish(number, computed, list(by_digest))
        say("end", refit=number, fits=n_fits, computed=computed, failed=n_failed, files=len(paths), read=n_read,
            workers_replaced=restarts, seconds=round(time.monotonic() - begin, 3))  # fmt: skip
    return RefitReport(Path(store), number, n_fits, computed, n_failed, len(paths), n_read)


def _sayer(log: Callable[[dict[str, Any]], None] | None) -> Callable[..., None]:
    def say(event: str, **what: Any) -> None:
        if log is not None:
            log({"event": event, **what})

    return say


def _options(reading: Mapping[str, Any] | None) -> tuple[dict[str, Any], list[str]]:
    """Options of read_runs as they travel to workers, a sidecar table read once, here; and the file it was read from."""
    from scaling.logs import read_table

    given = {
        k: v for k, v in (reading or {}).items() if v is not None and not (isinstance(v, list | tuple | dict) and not v)
    }
    if unknown := sorted(set(given) - set(READING_OPTIONS)):
        raise RunsError(f"unknown option of reading {unknown[0]!r}; known: {', '.join(READING_OPTIONS)}.")
    meta = given.get("meta")
    if isinstance(meta, str | Path):
        given["meta"] = read_table(str(meta))
        return given, [str(meta)]
    return given, []


# --- reading -----------------------------------------------------------------------------------------------------------


def _take_table(opened: Store, table: pd.DataFrame, how: Reading) -> None:
    parts = split(table, how, TABLE)
    content = digest(*(p.grp + p.digest for p in parts))
    same = content == opened.known_file(TABLE, how.digest)[1]
    opened.put_files(how.digest, [(TABLE, "", content, "", None if same else parts)])


def _read_changed(
    opened: Store, paths: list[str], how: Reading, pool: Workers, verify: bool, say: Callable[..., None]
) -> int:
    """Bring the store's rows of these files up to date; returns how many were read."""
    changed: list[Source] = []
    for path in paths:
        identity, sha256 = opened.known_file(name_of(path), how.digest)
        try:
            seen = look(path)
        except (OSError, RunsError):
            seen = Source(path)  # why it cannot be looked at is said by the reader
        if verify or not identity or identity != seen.identity:
            changed.append(Source(**{**vars(seen), "sha256": sha256}))
    elsewhere: list[Source] = []
    first = ((part, (read_files, (part, how))) for part in _pieces(changed))
    for part, found in pool.run(first):
        elsewhere += [s for s, f in zip(part, found, strict=True) if f.elsewhere]
        opened.put_files(how.digest, [_row(s, f) for s, f in zip(part, found, strict=True) if not f.elsewhere])
        say("files", read=sum(not f.elsewhere for f in found))
    stay: list[Source] = []  # to be read here: workers cannot have them

    def shipped() -> Iterator[tuple[list[Source], Job]]:
        for source in elsewhere:
            held = load(source) if pool.remote else None
            if held is None:
                stay.append(source)
            else:
                before = Source(**{**vars(held[0]), "sha256": source.sha256})
                sent = Source(**{**vars(before), "content": held[1]})
                yield [before], (read_files, ([sent], how))

    for part, found in pool.run(shipped()):
        opened.put_files(how.digest, [_row(s, f) for s, f in zip(part, found, strict=True)])
        say("files", read=len(part), shipped=len(part))
    for source in stay:
        opened.put_files(how.digest, [_row(*read_here(source.path, how, source.sha256))])
        say("files", read=1)
    return len(changed)


def _pieces(items: list[Source]) -> Iterator[list[Source]]:
    piece: list[Source] = []
    for item in items:
        piece.append(item)
        if len(piece) == FILES or sum(s.size for s in piece) > PIECE:
            yield piece
            piece = []
    if piece:
        yield piece


def _row(seen: Source, found: FileRead) -> tuple[str, str, str, str, Any]:
    # a bad file, and one that was written just now, is looked at again next time
    identity = seen.identity if seen.settled and not found.error else ""
    return name_of(seen.path), identity, found.sha256, found.error, found.parts


# --- fitting -----------------------------------------------------------------------------------------------------------


def _task(law: Law, how: Reading, objective: Objective, resamples: int, seed: int, version: str) -> Task:
    from scaling.laws import LAWS

    # a registered law travels by name: its functions need not be picklable
    return Task(law.name if LAWS.get(law.name) is law else law, how.needed, objective, resamples, seed, version)


def _jobs(
    opened: Store, number: int, how: Reading, tasks: list[tuple[Law, Task]], known: Callable[[int], None]
) -> Iterator[tuple[list[tuple[str, str, str]], Job]]:
    """A job for each law and chunk of groups with fits that are not known; what is known is marked as seen on the way."""
    for chunk in opened.group_chunks(how.digest, CHUNK):
        for law, task in tasks:
            keyed = [(grp, _key(law, task, parts), parts) for grp, parts in chunk]
            have = opened.known([key for _, key, _ in keyed])
            slots = [(law.name, grp, key) for grp, key, _ in keyed if key in have]
            todo = [(grp, key, parts) for grp, key, parts in keyed if key not in have]
            mixed = {key: _units(parts) for _, key, parts in todo if len({p[2] for p in parts}) > 1}
            refused = [Fitted(key, law.name, "unusable", sentence) for key, sentence in mixed.items()]
            slots += [(law.name, grp, key) for grp, key, _ in todo if key in mixed]
            if slots:
                opened.commit(number, slots, refused)
                known(len(slots))
            todo = [item for item in todo if item[1] not in mixed]
            groups = {
                key: Group(key, sum(p[3] for p in parts), opened.content([p[0] for p in parts]))
                for _, key, parts in todo
            }
            if groups:
                yield [(law.name, grp, key) for grp, key, _ in todo], (fit_chunk, (task, list(groups.values())))


def _units(parts: list[tuple[int, str, str, int, str]]) -> str:
    units = {unit: path for _, _, unit, _, path in reversed(parts)}
    said = " and ".join(f"{unit} in {path!r}" for unit, path in sorted(units.items()))
    return f"the files of this group state their losses in different units ({said}): refit them apart, or give the loss unit."


def _key(law: Law, task: Task, parts: list[tuple[int, str, str, int, str]]) -> str:
    content = [f"{p[1]} {p[2]}" for p in parts]
    return digest(
        *content, law.name, law.equation, repr(law.coefs), repr(task.objective), str(task.resamples), str(task.seed),
        str(task.level), task.version,
    )  # fmt: skip


def _unreadable(law: Law, path: str, sentence: str) -> tuple[list[tuple[str, str, str]], list[Fitted]]:
    grp = group_text({"file": path})
    key = digest(law.name, grp, sentence)
    return [(law.name, grp, key)], [Fitted(key, law.name, "unreadable", sentence)]
