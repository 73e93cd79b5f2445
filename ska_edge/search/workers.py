"""Where jobs run: in this process, in several of this machine, or on a Dask cluster.  Results come as they are done;
who asks puts them in order, so that nothing depends on which was first.

A worker that dies costs its job a second try elsewhere, five at most.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from types import TracebackType

from ..errors import MissingError, SkaError
from ..store import source_digest
from .learning import Context, Job, Score, judge

TRIES = 5
CONNECT_SECONDS = 10
_SOURCES = ("search", "rules", "backends.jit", "lowering", "network", "layers", "builder", "reference.stream", "data")


class Workers(ABC):
    """Runs jobs in one context."""

    words: str

    @abstractmethod
    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Score]]:
        """(position, score) of every job, in any order."""

    @abstractmethod
    def close(self) -> None:
        """Let the workers go."""

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Here(Workers):
    """This process, one job after the other."""

    words = "one process"

    def __init__(self, context: Context) -> None:
        self.context = context

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Score]]:
        """(position, score), in order."""
        for position, job in enumerate(jobs):
            yield position, judge(self.context, job)

    def close(self) -> None:
        """Nothing to let go."""


class Processes(Workers):
    """So many processes of this machine."""

    def __init__(self, context: Context, count: int) -> None:
        self.context, self.count, self.words = context, count, f"{count} processes"
        self._pool: ProcessPoolExecutor | None = None

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Score]]:
        """(position, score) as they are done.  Raises SkaError where processes die again and again."""
        left = dict(enumerate(jobs))
        for _ in range(TRIES):
            try:
                futures = {self._started().submit(_judge, job): position for position, job in left.items()}
                for future in _as_done(futures):
                    position = futures[future]
                    yield position, future.result()
                    del left[position]
            except BrokenProcessPool:
                self.close()  # all its processes have ended; what they had not finished is run again
                continue
            return
        raise SkaError(f"search: worker processes died {TRIES} times (out of memory?); use fewer --workers")

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.shutdown(wait=True, cancel_futures=True)

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self.count, get_context("spawn"), _share, (self.context,))
        return self._pool


class Cluster(Workers):
    """The workers of a Dask scheduler, however many there are and become."""

    def __init__(self, context: Context, address: str) -> None:
        """Connect.  Raises MissingError without `distributed`, a scheduler or workers; SkaError for other sources."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                from distributed import Client
        except ImportError as error:
            raise MissingError(f"{error.name}: not installed; pip install 'ska_edge[search]'") from None
        self.context = context
        try:
            self._client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise MissingError(
                f"scheduler {address}: not reachable within {CONNECT_SECONDS} s ({_first_line(error)}); start one with "
                "`dask scheduler`, workers with `dask worker tcp://HOST:8786`, and give --scheduler tcp://HOST:8786"
            ) from None
        try:
            self._check(address)
        except BaseException:
            self.close()
            raise

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Score]]:
        """(position, score) as they are done.  Raises MissingError where every worker has gone."""
        from distributed import CancelledError, as_completed
        from distributed.scheduler import KilledWorker

        left = dict(enumerate(jobs))
        for _ in range(TRIES):
            shared = self._client.scatter(self.context, broadcast=True, hash=False)
            futures = {self._client.submit(judge, shared, job, pure=False): at for at, job in left.items()}
            for future in as_completed(list(futures), loop=self._client.loop):
                try:
                    score = future.result()
                except (KilledWorker, CancelledError):
                    continue  # its worker died, and the scheduler gave it up: run it again
                yield futures[future], score
                del left[futures[future]]
            if not left:
                return
            self._wait()
        raise SkaError(f"search: workers died {TRIES} times with the same jobs (out of memory?); give them more memory")

    def close(self) -> None:
        """Disconnect; the cluster stays."""
        self._client.close()

    def _check(self, address: str) -> None:
        self._wait()
        here = sources()
        try:
            others = [name for name, digest in self._client.run(sources).items() if digest != here]
        except Exception as error:
            raise MissingError(
                f"scheduler {address}: its workers cannot import this ska_edge ({_first_line(error)}); install the "
                "same version, with the extra `search`, where they run"
            ) from None
        if others:
            raise SkaError(f"scheduler {address}: worker {others[0]} has another ska_edge; install this one there")
        count = len(self._client.nthreads())
        self.words = f"{count} Dask workers"

    def _wait(self) -> None:
        try:
            self._client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError:
            raise MissingError(
                f"scheduler {self._client.scheduler.address}: no worker within {CONNECT_SECONDS} s; start some with "
                f"`dask worker {self._client.scheduler.address}`"
            ) from None


def open_workers(context: Context, count: int, scheduler: str | None) -> Workers:
    """One process, several, or a cluster."""
    if scheduler is not None:
        return Cluster(context, scheduler)
    return Processes(context, count) if count > 1 else Here(context)


_shared: Context


def _share(context: Context) -> None:
    """What a fresh process is told first.  Ctrl-C is its parent's to handle."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    global _shared
    _shared = context


def _judge(job: Job) -> Score:
    return judge(_shared, job)


def _as_done(futures: dict[Future[Score], int]) -> Iterator[Future[Score]]:
    left = set(futures)
    while left:
        done, left = wait(left, return_when=FIRST_COMPLETED)
        yield from sorted(done, key=futures.__getitem__)


def sources() -> str:
    """Digest of what decides a score: equal on two machines, or their scores cannot be mixed."""
    return source_digest(_SOURCES)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


__all__ = ["Cluster", "Here", "Processes", "Workers", "open_workers"]
