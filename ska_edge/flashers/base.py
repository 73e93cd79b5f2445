"""What all flashers share: where the chip is, calling a tool with a time limit, judging what it says."""

from __future__ import annotations

import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from firmware_sim.catalogue import Board

from ..errors import MissingError, SkaError
from .image import Image, Region

CHUNK_BYTES = 65536
SHOWN_LINES = 8
T = TypeVar("T")


class FlashError(SkaError):
    """The tool failed or hung, or the chip holds something else afterwards; the end of its output is in the message."""

    exit_code = 1


class MethodError(SkaError):
    """A method that the board does not have, or a place that the method cannot use."""


class PortError(SkaError):
    """The port or drive is not there."""

    exit_code = 3


@dataclass(frozen=True)
class Where:
    """Where the chip is: a serial port (or a probe's serial number), a mounted drive, or a debug server."""

    port: str | None = None
    mount: str | None = None
    target: str | None = None


@dataclass(frozen=True)
class Job:
    """One image for one board at one place."""

    board: Board
    image: Image
    place: str
    verify: bool
    seconds: float
    said: Callable[[str], None]

    def upload(self, method: type[T]) -> T:
        """The board's parameters of a method, which `find_flasher` has seen."""
        upload = self.board.upload(method)
        assert upload is not None
        return upload


@dataclass(frozen=True)
class Step:
    """One call of a tool.  `check` raises FlashError where its output says what its exit code does not."""

    command: tuple[str, ...]
    check: Callable[[str], None] = field(default=lambda output: None)


@dataclass(frozen=True)
class Flashed:
    """What was done.  `verified`: it was read back from the chip (from the drive, with UF2) and is equal."""

    image: str
    board: str
    method: str
    place: str
    bytes: int
    commands: tuple[tuple[str, ...], ...]
    verified: bool
    dry_run: bool
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """For scripts; commands as lists of words."""
        return asdict(self)


@dataclass(frozen=True)
class Tool:
    """A program that others wrote: its names, the first one found is taken, and the package that has it."""

    names: tuple[str, ...]
    package: str

    def find(self, required: bool) -> str:
        """Its path, beside our Python too; the plain name where it need not be there.  Raises MissingError."""
        beside = str(Path(sys.executable).parent)
        for name in self.names:
            path = shutil.which(name) or shutil.which(name, path=beside)
            if path:
                return path
        if required:
            raise MissingError(f"{self.names[0]}: not installed; {self.package}")
        return self.names[0]


class Flasher(ABC):
    """One method.  `option` names the place it wants, `how` says how to find it; `how` is empty where it needs none."""

    method: ClassVar[str]
    option: ClassVar[str]
    how: ClassVar[str]

    def place(self, board: Board, where: Where, dry_run: bool) -> str:
        """The place out of what was given.  Raises MethodError for another option or none, PortError if not there."""
        for option, value in asdict(where).items():
            if value is not None and option != self.option:
                raise MethodError(f"{board.name}: method {self.method} takes --{self.option}, not --{option}")
        given = getattr(where, self.option)
        if given is None:
            return self.find_place(board, dry_run)
        self.check_place(board, str(given), dry_run)
        return str(given)

    def find_place(self, board: Board, dry_run: bool) -> str:
        """The place where none was given."""
        if self.how:
            raise MethodError(f"{board.name}: method {self.method} needs --{self.option}: {self.how}{self.seen()}")
        return ""

    def seen(self) -> str:
        """What is there now, for the message."""
        return ""

    def check_place(self, board: Board, place: str, dry_run: bool) -> None:
        """Raise PortError where the place is not there; some find out only by trying."""
        return

    def regions(self, board: Board) -> list[Region]:
        """Addresses an image may lie at: the usable flash."""
        return [Region.flash(board)]

    @abstractmethod
    def flash(self, job: Job, dry_run: bool) -> Flashed:
        """Do it, or with `dry_run` say what would be done."""


class ToolFlasher(Flasher):
    """A method around somebody else's program."""

    tool: ClassVar[Tool]

    @abstractmethod
    def steps(self, job: Job, tool: str) -> list[Step]:
        """The calls, in order."""

    def flash(self, job: Job, dry_run: bool) -> Flashed:
        """Call the tool step by step."""
        begin = time.monotonic()
        steps = self.steps(job, self.tool.find(required=not dry_run))
        for step in () if dry_run else steps:
            job.said(f"$ {shlex.join(step.command)}\n")
            step.check(call(step.command, job.seconds, job.said))
        return Flashed(
            image=str(job.image.path),
            board=job.board.name,
            method=self.method,
            place=job.place,
            bytes=job.image.size_bytes,
            commands=tuple(step.command for step in steps),
            verified=job.verify and not dry_run,
            dry_run=dry_run,
            seconds=round(time.monotonic() - begin, 3),
        )


class SerialFlasher(ToolFlasher):
    """A method over a serial port."""

    option = "port"
    how = "the board's serial port, often /dev/ttyACM0 or /dev/ttyUSB0 (on a Mac /dev/cu.usb*, on Windows COM3)"

    def seen(self) -> str:
        """The ports there are now."""
        try:
            from serial.tools.list_ports import comports
        except ImportError:
            return ""
        ports = ", ".join(f"{port.device} ({port.description})" for port in comports() if port.hwid != "n/a")
        return f"; there are now: {ports}" if ports else "; there is none now: is the board plugged in?"

    def check_place(self, board: Board, place: str, dry_run: bool) -> None:
        """A device file must be there."""
        if not dry_run and place.startswith("/") and not Path(place).exists():
            raise PortError(f"{board.name}: port {place} is not there{self.seen()}")


def call(command: Sequence[str], seconds: float, said: Callable[[str], None]) -> str:
    """Run a tool in its own process group, pass on what it says, and return that.

    Raises FlashError with the last lines where it fails or takes longer than `seconds`; then its whole group is ended.
    """
    name = Path(command[0]).name
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise FlashError(f"{name}: cannot be started: {error.strerror}") from None
    assert process.stdout is not None
    heard = bytearray()
    try:
        with process.stdout as pipe:
            _listen(process, pipe.fileno(), time.monotonic() + seconds, heard, said)
    except TimeoutError:
        raise FlashError(
            f"{name}: not done after {seconds:g} s, ended; is it the right port, and the board ready?{tail(heard)}"
        ) from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode:
        raise FlashError(f"{name}: failed with {process.returncode}{tail(heard)}")
    return heard.decode(errors="replace")


def _listen(
    process: subprocess.Popen[bytes], pipe: int, until: float, heard: bytearray, said: Callable[[str], None]
) -> None:
    while True:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if select.select([pipe], [], [], min(left, 0.1))[0]:
            data = os.read(pipe, CHUNK_BYTES)
            heard += data
            said(data.decode(errors="replace"))
            if not data:
                break
        elif process.poll() is not None:  # a child that the tool has left behind holds the pipe
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return
    try:
        process.wait(max(until - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None


def tail(heard: bytes | bytearray) -> str:
    """The last lines of a tool's output, for a message."""
    lines = [line.rstrip() for line in heard.decode(errors="replace").replace("\r", "\n").splitlines() if line.strip()]
    return "".join(f"\n  {line}" for line in ["it said:", *lines[-SHOWN_LINES:]]) if lines else "; it said nothing"
