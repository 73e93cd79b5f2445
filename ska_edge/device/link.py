"""Where bytes go in and out: a child process's pipes, a socket, a terminal line or a serial port."""

from __future__ import annotations

import atexit
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import termios
import time
import tty
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import MissingError, SkaError

CHUNK_BYTES = 65536
TAIL_BYTES = 2000
STOP_SECONDS = 2.0


class LinkError(SkaError):
    """A line cannot be opened, or has broken: the message says which, and the last that was heard on it."""

    exit_code = 3


class Link(ABC):
    """Bytes out and bytes in.  A context manager: leaving it closes the line."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send all bytes.  Raises LinkError where nobody is there."""

    @abstractmethod
    def read(self, timeout: float) -> bytes:
        """What has come, at least one byte, or b"" when `timeout` seconds have passed.  Raises LinkError at the end."""

    @abstractmethod
    def close(self) -> None:
        """Let go; may be called twice."""

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _FileLink(Link):
    """Two file descriptors, non-blocking on the way out."""

    label: str

    def __init__(self, reader: int, writer: int, timeout: float = 10.0) -> None:
        self._reader, self._writer, self._timeout = reader, writer, timeout
        os.set_blocking(writer, False)

    def write(self, data: bytes) -> None:
        """Send all bytes."""
        until = time.monotonic() + self._timeout
        view = memoryview(data)
        while view:
            left = until - time.monotonic()
            if left <= 0 or not select.select([], [self._writer], [], left)[1]:
                raise LinkError(f"{self.label}: takes no bytes for {self._timeout:g} s{self.last_words()}")
            try:
                view = view[os.write(self._writer, view) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise LinkError(f"{self.label}: {error.strerror}{self.last_words()}") from None

    def read(self, timeout: float) -> bytes:
        """What has come."""
        if not select.select([self._reader], [], [], max(timeout, 0))[0]:
            return b""
        try:
            data = os.read(self._reader, CHUNK_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise LinkError(f"{self.label}: {error.strerror}{self.last_words()}") from None
        if not data:
            raise LinkError(f"{self.label}: the other side has gone{self.last_words()}")
        return data

    def last_words(self) -> str:
        """What the other side said last, where it has a second voice."""
        return ""


class ProcessLink(_FileLink):
    """A child's standard input and output, in a process group of its own; its messages are kept for the error.

    The child and its children end with the link, with this process, or with an error.  Where `setpriv` (util-linux) is
    there, the child also ends when this process is killed outright, and lives no longer than the thread that made it.
    """

    _running: weakref.WeakSet[ProcessLink] = weakref.WeakSet()

    def __init__(self, command: Sequence[str], label: str = "", folder: Path | None = None) -> None:
        self.label = label or Path(command[0]).name
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        try:
            self._process = subprocess.Popen(
                [*_leash(), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._messages,
                start_new_session=True,
                cwd=folder,
            )
        except OSError as error:
            self._messages.close()
            raise LinkError(f"{self.label}: cannot start {command[0]}: {error.strerror}") from None
        ProcessLink._running.add(self)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        super().__init__(self._process.stdout.fileno(), self._process.stdin.fileno())

    @property
    def running(self) -> bool:
        """Whether the child is alive."""
        return self._process.poll() is None

    def last_words(self) -> str:
        """How the child ended and the end of what it wrote as messages."""
        if self._messages.closed:
            return "; closed"
        try:
            code: int | None = self._process.wait(0.2)
        except subprocess.TimeoutExpired:
            code = None
        size = os.fstat(self._messages.fileno()).st_size
        text = os.pread(self._messages.fileno(), TAIL_BYTES, max(size - TAIL_BYTES, 0)).decode(errors="replace").strip()
        return ("" if code is None else f"; ended with {code}") + (f"; it said: {text}" if text else "")

    def close(self) -> None:
        """End the child's whole group: politely, then not."""
        if self._messages.closed:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                break
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(STOP_SECONDS)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._messages.close()


def _leash() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


@atexit.register
def _close_children() -> None:
    for link in list(ProcessLink._running):
        link.close()


class SocketLink(_FileLink):
    """A TCP or Unix-domain socket somebody listens at."""

    def __init__(self, address: tuple[str, int] | str, timeout: float = 10.0) -> None:
        self.label = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(address)
        except OSError as error:
            self._socket.close()
            raise LinkError(f"{self.label}: cannot connect: {error.strerror or error}") from None
        if family == socket.AF_INET:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(self._socket.fileno(), self._socket.fileno(), timeout)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class TerminalLink(_FileLink):
    """A pseudo-terminal, or a serial device left at the speed it has: raw bytes, no echo, no flow control."""

    def __init__(self, path: str) -> None:
        self.label = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            tty.setraw(self._file)
            termios.tcflush(self._file, termios.TCIOFLUSH)
        except (OSError, termios.error) as error:
            raise LinkError(f"{path}: cannot open: {error}") from None
        super().__init__(self._file, self._file)

    def close(self) -> None:
        """Close the line."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class SerialLink(Link):
    """A real serial port, by pyserial (`pip install pyserial`)."""

    def __init__(self, port: str, baud: int) -> None:
        try:
            import serial
        except ImportError:
            raise MissingError("serial port: pyserial is not installed; pip install pyserial") from None
        self._errors: type[Exception] = serial.SerialException
        self._port = port
        try:
            self._serial: Any = serial.Serial(port, baud, timeout=0, write_timeout=10)
            self._serial.reset_input_buffer()
        except (OSError, ValueError) as error:
            raise LinkError(f"{port}: cannot open at {baud} baud: {error}") from None

    def write(self, data: bytes) -> None:
        """Send all bytes."""
        try:
            self._serial.write(data)
        except (OSError, self._errors) as error:
            raise LinkError(f"{self._port}: {error}") from None

    def read(self, timeout: float) -> bytes:
        """What has come."""
        try:
            self._serial.timeout = max(timeout, 0)
            first = self._serial.read(1)
            return bytes(first + self._serial.read(self._serial.in_waiting)) if first else b""
        except (OSError, self._errors) as error:
            raise LinkError(f"{self._port}: {error}") from None

    def close(self) -> None:
        """Close the port."""
        self._serial.close()


def open_link(port: str, baud: int = 115200) -> Link:
    """A line by name: `tcp:HOST:NUMBER`, `unix:PATH`, a pseudo-terminal `/dev/pts/N`, or a serial port."""
    kind, _, rest = port.partition(":")
    if kind == "tcp":
        host, _, number = rest.rpartition(":")
        if not number.isdecimal():
            raise LinkError(f"port {port!r}: allowed is tcp:HOST:NUMBER, as in tcp:localhost:4000")
        return SocketLink((host or "localhost", int(number)))
    if kind == "unix":
        return SocketLink(rest)
    if os.path.realpath(port).startswith("/dev/pts/"):
        return TerminalLink(port)
    return SerialLink(port, baud)
