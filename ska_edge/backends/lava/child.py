"""The process that Lava runs in: started by `supervisor`, obeys it, and ends with it.

    python -m ska_edge.backends.lava.child CONNECTION LIFELINE LEDGER

CONNECTION and LIFELINE are inherited descriptors.  The lifeline's other end is open in the starter alone: every process
of the run watches it, and ends when it closes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import codec
from .segments import Ledger, unlink

if TYPE_CHECKING:
    from .session import Session

_LOOK_S = 0.02


class NamedMemory:
    """Stands in for Lava's manager of shared memory: every name is in the ledger before it exists."""

    ledger: Ledger
    made = 0

    def __init__(self) -> None:
        self._handles: list[SharedMemory] = []

    def start(self) -> None:
        """Nothing to start: no server process is needed."""

    def create_shared_memory(self, size: int) -> SharedMemory:
        """A new piece of `size` bytes."""
        handle = SharedMemory(self.ledger.next_name(NamedMemory.made), create=True, size=max(size, 1))
        NamedMemory.made += 1
        self._handles.append(handle)
        return handle

    def shutdown(self) -> None:
        """Unlink everything.  Arrays may still look at a piece; it goes with the last of them."""
        for handle in self._handles:
            handle.unlink()
        self._handles.clear()


def watch(lifeline: int) -> None:
    """End this process when the lifeline closes."""

    def wait() -> None:
        os.read(lifeline, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def watch_leader(lifeline: int, ledger: Ledger) -> None:
    """In the run's first process: when the starter is gone, leave nothing behind."""

    def wait() -> None:
        os.read(lifeline, 1)
        for name in ledger.stem.with_suffix(".names").read_text().split():
            unlink(name)
        for suffix in (".names", ".run", ".starter"):
            ledger.stem.with_suffix(suffix).unlink(missing_ok=True)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def failure(session: Session) -> tuple[str, str] | None:
    """Name of the first of Lava's processes that failed, and its own words."""
    for name, actor in zip([*session.process_names(), "runtime service"], session.actors(), strict=False):
        failed = actor.exception  # also after Lava has joined it
        if failed:
            return name, failed[1]
        if not actor._is_done and actor.exitcode not in (None, 0):
            return name, f"ended with code {actor.exitcode}"
    return None


def watch_actors(session: Session, tell: Callable[..., None]) -> None:
    """Tell the starter of a failure in any of Lava's processes: Lava itself may wait for an answer without end."""

    def look() -> None:
        while not any(actor._is_done for actor in session.actors()):
            failed = failure(session)
            if failed:
                tell("failed", *failed)
                return
            time.sleep(_LOOK_S)

    threading.Thread(target=look, name="actors", daemon=True).start()


def serve(connection: Connection, data: bytes, counting: bool) -> None:
    """Open a session, carry out requests one by one."""
    import lava.magma.runtime.message_infrastructure.multiprocessing as infrastructure

    infrastructure.SharedMemoryManager = NamedMemory
    from .session import Session

    sending = threading.Lock()

    def reply(*answer: Any) -> None:
        with sending:
            connection.send(answer)

    session = Session(codec.decode(data), counting)
    watch_actors(session, reply)
    reply("done", session.start_s)
    while True:
        verb, arguments = connection.recv()
        try:
            if verb == "stop":
                reply("done", session.stop())
                return
            if verb == "stream":
                section, inputs, collect, last = arguments
                reply("done", session.stream(section, inputs, collect, last, lambda rows: reply("alive", rows)))
            else:
                reply("done", getattr(session, verb)(*arguments))
        except Exception:
            reply("failed", *(failure(session) or ("host", traceback.format_exc())))
            raise


def main(connection_number: int, lifeline: int, stem: str) -> None:
    """Run until told to stop; every error goes to the starter."""
    from .compat import prepare

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the starter's to handle
    NamedMemory.ledger = Ledger(Path(stem))
    NamedMemory.ledger.join()
    watch_leader(lifeline, NamedMemory.ledger)
    os.register_at_fork(after_in_child=lambda: watch(lifeline))
    connection = Connection(connection_number)
    try:
        prepare()
        data, counting = connection.recv()
        serve(connection, data, counting)
    except EOFError:
        pass
    except Exception:
        connection.send(("failed", "host", traceback.format_exc()))  # unless told better before
        raise


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
