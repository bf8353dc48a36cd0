"""Where the work of a refit runs: this process, processes of this machine, any Executor, or a dask cluster."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from itertools import chain, islice
from types import TracebackType
from typing import Any

from scaling.errors import RunsError

AHEAD = 3  # jobs in flight for each worker: enough to keep it busy, few enough to hold in memory
RESTARTS = 3
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_SAFE = "what was committed is safe; run the refit again to finish."

Job = tuple[Callable[..., Any], tuple[Any, ...]]


class Workers:
    """Runs jobs, a bounded number ahead; a local process that dies is replaced and its jobs are done again."""

    def __init__(
        self, workers: int | None = None, executor: Executor | None = None, scheduler: str | None = None
    ) -> None:
        self._client: Any = None
        self._own = executor is None and scheduler is None and workers != 1
        self._count = workers or os.cpu_count() or 1
        self._environment: dict[str, str | None] = {}
        self.restarts = 0
        self._started: Any = None  # shared memory: 1 once a process of our own has started
        self._pool: Executor | None = executor
        if scheduler is not None:
            self._pool, self._count = self._connect(scheduler)
        elif executor is not None:
            self._count = workers or getattr(executor, "_max_workers", None) or os.cpu_count() or 1

    @property
    def remote(self) -> bool:
        """Whether jobs may run where this machine's files are not seen."""
        return self._pool is not None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._own and self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if self._client is not None:
            self._client.close()

    def _connect(self, address: str) -> tuple[Executor, int]:
        try:
            from distributed import Client
        except ImportError as error:
            raise RunsError(
                "a scheduler needs the package distributed: pip install 'scaling-laws[cluster]'."
            ) from error
        try:
            self._client = Client(address, timeout=20, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise RunsError(f"the scheduler {address!r} does not answer: {error or 'no answer in 20 s'}.") from error
        threads = sum(self._client.nthreads().values())
        if not threads:
            self._client.close()
            raise RunsError(f"the scheduler {address!r} has no workers: start them with `dask worker {address}`.")
        executor: Executor = self._client.get_executor(pure=False, retries=RESTARTS)
        return executor, threads

    def _start(self) -> Executor | None:
        if self._own and self._pool is None:
            # BLAS reads these when a process loads it, so the new processes must inherit them
            for name in _THREADS:
                self._environment.setdefault(name, os.environ.get(name))
                os.environ[name] = "1"
            # not forked: threads of the caller would be forked with it
            context = multiprocessing.get_context("spawn")
            self._started = context.RawValue("b", 0)
            self._pool = ProcessPoolExecutor(self._count, context, _mark, (self._started,))
        return self._pool

    def run(self, jobs: Iterator[tuple[Any, Job]]) -> Iterator[tuple[Any, Any]]:
        """(label, result) of (label, (function, arguments)), in the order in which they end."""
        waiting = list(islice(jobs, 2))
        alone = self._own and self._pool is None and len(waiting) < 2  # one job is not worth the start of a process
        pool = None if alone else self._start()
        if pool is None:
            for label, (function, arguments) in chain(waiting, jobs):
                yield label, function(*arguments)
            return
        flying: dict[Future[Any], tuple[Any, Job]] = {}
        while True:
            while len(flying) < AHEAD * self._count:
                item = waiting.pop() if waiting else next(jobs, None)
                if item is None:
                    break
                try:
                    flying[pool.submit(item[1][0], *item[1][1])] = item
                except BrokenExecutor as error:
                    waiting.append(item)
                    if not flying:
                        pool = self._replaced(error)
                    break
            if not flying and not waiting:
                return
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                item = flying.pop(future)
                try:
                    result = future.result()
                except BrokenExecutor as error:
                    waiting.append(item)
                    waiting += flying.values()
                    flying.clear()
                    pool = self._replaced(error)
                    break
                except (CancelledError, OSError) as error:
                    raise RunsError(f"the workers were lost ({type(error).__name__}: {error}): {_SAFE}") from error
                except Exception as error:
                    if type(error).__module__.startswith("distributed"):
                        raise RunsError(f"the cluster gave a chunk up ({error}): {_SAFE}") from error
                    raise
                yield item[0], result

    def _replaced(self, error: BaseException) -> Executor:
        """Another pool for one whose process died. Raises RunsError at once where none of its processes could start."""
        if self._started is not None and not self._started.value:
            raise RunsError(f"worker processes cannot start: {_why_none_starts()} {_SAFE.capitalize()}") from None
        self.restarts += 1
        if not self._own or self.restarts > RESTARTS:
            raise RunsError(
                f"worker processes died {self.restarts} times (for want of memory? then fewer --workers need less): {_SAFE}"
            ) from error
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = None
        pool = self._start()
        assert pool is not None
        return pool


def _mark(started: Any) -> None:
    """The first thing that a new process does."""
    started.value = 1


def _why_none_starts() -> str:
    """The likely cause, and the way out: a new process imports the program that started it."""
    program = getattr(sys.modules.get("__main__"), "__file__", None)
    alone = "or pass workers=1, which works in this process alone."
    streamlit = sys.modules.get("streamlit.runtime")
    if streamlit is not None and streamlit.exists():
        return f"each one imports the page of the web app that called refit. Run `scaling refit` in a shell, {alone}"
    if program is not None and not os.path.isfile(program):
        return f"each one imports the program that called refit, and {program!r} is no file. Save it as one, {alone}"
    if program is not None:
        return (
            f"each one imports {os.path.basename(program)!r} first, which calls refit itself or fails (its error stands above). "
            f"Put the call below `if __name__ == '__main__':`, {alone}"
        )
    return f"the system may refuse new processes. Ask for fewer --workers, {alone}"


def refuse_in_a_starting_worker() -> None:
    """Raise RunsError in a process that is being started and imports the program that called refit: it would start others."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RunsError(
            "a worker process imports the program that called refit, which calls refit again: put the call below "
            "`if __name__ == '__main__':`."
        )
