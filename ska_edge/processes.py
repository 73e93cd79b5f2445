"""Jobs in several processes of this machine.  A process that dies costs its jobs a second try, five at most."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Generic, TypeVar

from .errors import SkaError

TRIES = 5
Context = TypeVar("Context")
Job = TypeVar("Job")
Result = TypeVar("Result")


class Processes(Generic[Context, Job, Result]):
    """`function(context, job)` in `count` processes, in this one where that is 1.  Both must be picklable."""

    def __init__(self, function: Callable[[Context, Job], Result], context: Context, count: int) -> None:
        self.function, self.context, self.count = function, context, count
        self._pool: ProcessPoolExecutor | None = None

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Result]]:
        """(position, result) as they are done.  Raises SkaError where processes die again and again."""
        if self.count == 1:
            for position, job in enumerate(jobs):
                yield position, self.function(self.context, job)
            return
        left = dict(enumerate(jobs))
        for _ in range(TRIES):
            try:
                futures = {self._started().submit(_call, job): position for position, job in left.items()}
                for future in _as_done(futures):
                    position = futures[future]
                    yield position, future.result()
                    del left[position]
            except BrokenProcessPool:
                self.close()  # all its processes have ended; what they had not finished is run again
                continue
            return
        raise SkaError(f"worker processes died {TRIES} times (out of memory?); use fewer --workers")

    def close(self) -> None:
        """End the processes, when what they are at is done."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Processes[Context, Job, Result]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            told = (self.function, self.context)
            self._pool = ProcessPoolExecutor(self.count, get_context("spawn"), _share, told)
        return self._pool


_shared: tuple[Callable[[Any, Any], Any], Any]


def _share(function: Callable[[Any, Any], Any], context: Any) -> None:
    """What a fresh process is told first.  Ctrl-C is its parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    global _shared
    _shared = function, context


def _call(job: Any) -> Any:
    function, context = _shared
    return function(context, job)


def _as_done(futures: dict[Future[Any], int]) -> Iterator[Future[Any]]:
    left = set(futures)
    while left:
        done, left = wait(left, return_when=FIRST_COMPLETED)
        yield from sorted(done, key=futures.__getitem__)
