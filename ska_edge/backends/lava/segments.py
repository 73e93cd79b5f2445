"""What a Lava run leaves on the machine if it is killed, and how the next run finds it: shared memory and processes.

Every run has a ledger in a folder of the user's: the names of its shared memory, one a line, and two locks.  The
starter holds one lock, the processes of the run the other (they inherit it).  A ledger whose starter's lock is free
belongs to nobody: whoever finds it ends what still holds the second lock, unlinks the memory and removes the ledger.
Nothing is told apart by process numbers, which are used again, or by patterns of names, which others may use.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from ...errors import MissingError

_END_S = 5.0


def folder() -> Path:
    """Where this user's ledgers are; made if need be.  Raises MissingError where the folder is someone else's."""
    path = Path(tempfile.gettempdir()) / f"ska_edge-lava-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise MissingError(f"{path}: not a folder of yours; set TMPDIR to one that is")
    return path


class Ledger:
    """One run's ledger.  The starter makes it; the run's first process joins it."""

    def __init__(self, stem: Path) -> None:
        self.stem = stem
        self._starter_lock: int | None = None

    @classmethod
    def start(cls) -> Ledger:
        """A new ledger, locked by this process."""
        ledger = cls(folder() / secrets.token_hex(5))
        ledger._starter_lock = _open(ledger._starter)
        fcntl.flock(ledger._starter_lock, fcntl.LOCK_EX)
        ledger._names.touch()
        return ledger

    @property
    def _starter(self) -> Path:
        return self.stem.with_suffix(".starter")

    @property
    def _run(self) -> Path:
        return self.stem.with_suffix(".run")

    @property
    def _names(self) -> Path:
        return self.stem.with_suffix(".names")

    # -- in the run ---------------------------------------------------------------------------------------------

    def join(self) -> None:
        """Lock the ledger for this process and all it forks, and note the process group."""
        lock = _open(self._run)
        os.set_inheritable(lock, True)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.pwrite(lock, str(os.getpgid(0)).encode(), 0)

    def next_name(self, number: int) -> str:
        """A name for a piece of shared memory, noted before it exists."""
        name = f"ska{self.stem.name}_{number}"
        with self._names.open("a") as names:
            names.write(name + "\n")
        return name

    # -- after the run ------------------------------------------------------------------------------------------

    def clean(self) -> bool:
        """End the run's processes, unlink its memory, remove the ledger; whether any process was left."""
        left = self._end_processes()
        if self._names.exists():
            for name in self._names.read_text().split():
                unlink(name)
        for path in (self._run, self._names, self._starter):
            path.unlink(missing_ok=True)
        if self._starter_lock is not None:
            os.close(self._starter_lock)
            self._starter_lock = None
        return left

    def _end_processes(self) -> bool:
        if not self._run.exists() or not _held(self._run):
            return False
        group = int(self._run.read_text() or 0)
        if group > 1 and group != os.getpgid(0):  # the lock is held, so the group is still the run's
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        until = time.monotonic() + _END_S
        while _held(self._run) and time.monotonic() < until:
            time.sleep(0.005)
        return True

    @property
    def orphaned(self) -> bool:
        """Whether its starter is gone."""
        return not self._starter.exists() or not _held(self._starter)


def sweep() -> int:
    """Clean up after runs whose starter is gone; how many there were.  Leaves everyone else's alone."""
    count = 0
    for path in folder().glob("*.names"):
        ledger = Ledger(path.with_suffix(""))
        if ledger.orphaned:
            ledger.clean()
            count += 1
    return count


def unlink(name: str) -> None:
    """Remove a piece of shared memory if it exists."""
    import _posixshmem  # what multiprocessing.shared_memory calls; its own classes insist on mapping the memory first

    with suppress(FileNotFoundError):
        _posixshmem.shm_unlink("/" + name)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _held(path: Path) -> bool:
    """Whether some process holds the lock."""
    try:
        descriptor = _open(path)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
