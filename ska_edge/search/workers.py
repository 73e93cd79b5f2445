"""Where jobs run: in this process, in several of this machine, or on a Dask cluster.  Results come as they are done;
who asks puts them in order, so that nothing depends on which was first.

A worker that dies costs its job a second try elsewhere, five at most.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from types import TracebackType

from ..errors import MissingError, SkaError
from ..processes import TRIES, Processes
from ..store import source_digest
from .learning import Context, Job, Score, judge

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


class Local(Workers):
    """This process, or so many of this machine."""

    def __init__(self, context: Context, count: int) -> None:
        self.words = "one process" if count == 1 else f"{count} processes"
        self._processes = Processes(judge, context, count)

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Score]]:
        """(position, score) as they are done.  Raises SkaError where processes die again and again."""
        return self._processes.run(jobs)

    def close(self) -> None:
        """End the processes."""
        self._processes.close()


class Cluster(Workers):
    """The workers of a Dask scheduler, however many there are and become."""

    def __init__(self, context: Context, address: str) -> None:
        """Connect.  Raises MissingError without `distributed`, a scheduler or workers; SkaError for other sources."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                from distributed import Client
                from distributed.comm import resolve_address
        except ImportError as error:
            raise MissingError(f"{error.name}: not installed; pip install 'ska_edge[search]'") from None
        self.context = context
        try:
            resolve_address(address)  # a client of no address ends in a traceback
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
    return Local(context, count)


def sources() -> str:
    """Digest of what decides a score: equal on two machines, or their scores cannot be mixed."""
    return source_digest(_SOURCES)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


__all__ = ["Cluster", "Local", "Workers", "open_workers"]
