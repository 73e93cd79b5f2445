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
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import codec
from .segments import Ledger, unlink

if TYPE_CHECKING:
    from .session import Session

_LOOK_S = 0.02
_OWN_WORDS_S = 0.5  # how long an exception here waits for the one in an actor that may have caused it
_LONGEST = 3000  # characters of a traceback: one write to a pipe, so that two cannot mix


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


class ActorWatch:
    """Tells the starter of a failure in any of Lava's processes: Lava itself may wait for an answer without end.

    The models send their exceptions here by a pipe; Lava's own pipes are read by Lava, and by nobody else.
    """

    def __init__(self, tell: Callable[..., None]) -> None:
        self.told = threading.Event()
        self._tell = tell
        self._ended = threading.Event()
        self._complaints, theirs = Pipe(duplex=False)
        from .processes.base import PartModel

        PartModel.complain = staticmethod(lambda name, text: theirs.send((name, text[-_LONGEST:])))
        self._thread = threading.Thread(target=self._watch, name="actors", daemon=True)
        self._session: Session | None = None

    def start(self, session: Session) -> None:
        """Watch from now on."""
        self._session = session
        self._thread.start()

    def end(self) -> None:
        """Watch no longer: the actors are about to end."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        assert self._session is not None
        named = list(zip([*self._session.process_names(), "runtime service"], self._session.actors(), strict=False))
        while not self._ended.is_set():
            if self._complaints.poll(_LOOK_S):
                self._tell("failed", *self._complaints.recv())
                self.told.set()
                return
            for name, actor in named:
                with suppress(ValueError):  # Lava has joined it
                    if actor.exitcode is not None and not self._complaints.poll(10 * _LOOK_S):
                        self._tell("failed", name, f"ended with code {actor.exitcode}")
                        self.told.set()
                        return


def serve(connection: Connection, data: bytes, counting: bool) -> None:
    """Open a session, carry out requests one by one."""
    import lava.magma.runtime.message_infrastructure.multiprocessing as infrastructure

    infrastructure.SharedMemoryManager = NamedMemory
    from .session import Session

    sending = threading.Lock()

    def reply(*answer: Any) -> None:
        with sending:
            connection.send(answer)

    watch = ActorWatch(reply)
    session = Session(codec.decode(data), counting)
    watch.start(session)
    reply("done", session.start_s)
    while True:
        verb, arguments = connection.recv()
        try:
            if verb == "stop":
                watch.end()
                reply("done", session.stop())
                return
            if verb == "stream":
                section, inputs, collect, last = arguments
                reply("done", session.stream(section, inputs, collect, last, lambda rows: reply("alive", rows)))
            else:
                reply("done", getattr(session, verb)(*arguments))
        except Exception:
            if not watch.told.wait(_OWN_WORDS_S):
                reply("failed", "host", traceback.format_exc())
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
