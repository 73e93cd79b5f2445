"""Lava at arm's length: in a process group of its own, with a time limit, cleaned up after whatever happens to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from multiprocessing import Pipe
from typing import Any

from ...codec import encode
from ...errors import LavaError
from ...program import Program
from .compat import require
from .segments import Ledger, sweep

LIMIT_S = 120.0
_STOP_S = 10.0


class Supervisor:
    """A Program in Lava in a child process.  `limit_s`: seconds without a sign of life before it is given up.

    Raises MissingError without Lava, LavaError where the run fails, with the name of the process and its own words.
    """

    def __init__(self, program: Program, counting: bool = False, limit_s: float = LIMIT_S) -> None:
        require()
        sweep()
        self.limit_s = limit_s
        self.stop_s = 0.0
        self._ledger: Ledger | None = Ledger.start()
        self._connection, theirs = Pipe()
        watched, self._lifeline = os.pipe()  # its writing end stays here
        descriptors = (theirs.fileno(), watched)
        command = [sys.executable, "-m", f"{__package__}.child", *map(str, descriptors), str(self._ledger.stem)]
        try:
            self._process = subprocess.Popen(
                command,
                pass_fds=descriptors,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        finally:
            theirs.close()
            os.close(watched)
        try:
            self._connection.send((encode(program), counting))
            self.start_s: float = self._answer("start")
        except BaseException:
            self.kill()
            raise

    @property
    def group(self) -> int:
        """The run's process group."""
        return self._process.pid

    def ask(self, verb: str, *arguments: Any) -> Any:
        """Have the session do something.  Whatever goes wrong ends the run first and is raised then."""
        if self._ledger is None:
            raise LavaError("Lava: this run has ended; open a new executor")
        try:
            self._connection.send((verb, arguments))
            return self._answer(verb)
        except BaseException:
            self.kill()
            raise

    def close(self) -> None:
        """Stop Lava properly; after a while improperly."""
        if self._ledger is None:
            return
        limit, self.limit_s = self.limit_s, _STOP_S
        try:
            self.stop_s = self.ask("stop")
            self._process.wait(_STOP_S)
        except (LavaError, subprocess.TimeoutExpired):
            pass
        finally:
            self.limit_s = limit
            self.kill()

    def kill(self) -> None:
        """End every process of the run and remove what it left.  Does nothing the second time."""
        if self._ledger is None:
            return
        ledger, self._ledger = self._ledger, None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.group, signal.SIGKILL)
        self._process.wait()
        ledger.clean()
        os.close(self._lifeline)
        self._connection.close()

    def _answer(self, verb: str) -> Any:
        while True:
            if not self._connection.poll(self.limit_s):
                raise LavaError(f"Lava: no answer to {verb} for {self.limit_s:g} s; the run was ended")
            try:
                kind, *rest = self._connection.recv()
            except (EOFError, ConnectionResetError):
                raise LavaError(f"Lava: its process ended during {verb}; perhaps it ran out of memory") from None
            if kind == "done":
                return rest[0]
            if kind == "failed":
                name, text = rest
                raise LavaError(f"Lava: process {name} failed during {verb}:\n{text.rstrip()}")
