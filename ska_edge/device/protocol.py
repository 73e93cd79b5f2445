"""The host's side of the device protocol (csrc/device/protocol.h): frames, retries, and a device as an object."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import ProgramError, SkaError
from ..fixed import IntArray, pack, unpack
from ..operations import Kind, Role
from ..plan import plan
from ..program import Program
from .link import Link

VERSION = 1
HEADER_BYTES = 4
CRC_BYTES = 4
ANSWER = 0x80
HELLO, SAMPLE, LEARN, PREDICT, DECISIONS, ENTROPIES, STATE_OUT, STATE_IN, RESET, STACK, PEEK, POKE, RUN = range(1, 14)
SAVE, LOAD = 14, 15
DONE, UNKNOWN, MALFORMED, RANGE, OTHER_VERSION, RESTARTED = range(6)
_STATUS = {
    UNKNOWN: "its build has no such command",
    MALFORMED: "the data are too short or too long",
    RANGE: "an offset, count or label is beyond what it has",
}
_COMMANDS = (
    "",
    "hello",
    "sample",
    "learn",
    "predict",
    "decisions",
    "entropies",
    "state out",
    "state in",
    "reset",
    "stack",
    "peek",
    "poke",
    "run",
    "save",
    "load",
)

_SNAPSHOTS = (
    "done",
    "there is no snapshot in its flash",
    "the snapshot in its flash is of another Program",
    "its flash reports an error, or does not hold what was written",
    "its flash is too small for the state, or its port is wrong",
)


class DeviceError(SkaError):
    """A device does not do what was asked of it."""

    exit_code = 1


class DeviceTimeoutError(DeviceError):
    """No answer, although the request was repeated."""


class RefusedError(DeviceError):
    """The device answered that it cannot: the message names command and reason."""


class RestartedError(DeviceError):
    """The device was reset in between; what it had learnt since the last snapshot is gone."""


class DigestError(DeviceError):
    """The device runs another Program than the model given."""


def encode_frame(payload: bytes) -> bytes:
    """COBS of the payload and its CRC-32, between zeros.

    >>> encode_frame(bytes([1, 0])).hex(" ")
    '00 02 01 05 be 23 c2 58 00'
    """
    data = payload + zlib.crc32(payload).to_bytes(CRC_BYTES, "little")
    out = bytearray(1)
    for block in (data + b"\0").split(b"\0")[:-1]:
        while len(block) >= 254:
            out += b"\xff" + block[:254]
            block = block[254:]
        out += bytes([len(block) + 1]) + block
    return bytes(out) + b"\0"


def decode_frame(stuffed: bytes) -> bytes | None:
    """The payload of what stood between two zeros; None where it is damaged.

    >>> decode_frame(encode_frame(b"abc")[1:-1])
    b'abc'
    """
    data = bytearray()
    at = 0
    while at < len(stuffed):
        code = stuffed[at]
        if at + code > len(stuffed):
            return None
        data += stuffed[at + 1 : at + code]
        at += code
        if code != 255 and at < len(stuffed):
            data.append(0)
    payload, crc = bytes(data[:-CRC_BYTES]), data[-CRC_BYTES:]
    return payload if payload and zlib.crc32(payload).to_bytes(CRC_BYTES, "little") == crc else None


@dataclass(frozen=True)
class Hello:
    """What a device says of itself."""

    stepped: bool
    learns: bool
    predicts: bool
    feature_bytes: int
    data_bytes: int
    program_digest: str
    sample_bytes: int
    classes: int
    decision_bytes: int
    entropies: int
    arena_bytes: int
    state_bytes: int
    build: str


class Device:
    """A device at the end of a link, running the firmware of `program`.

    `timeout` is the time one request may take, the device's computing included; a request is repeated `retries` times.
    """

    def __init__(
        self, program: Program, link: Link, timeout: float = 2.0, retries: int = 10, label: str = "device"
    ) -> None:
        self.program, self.link, self.label = program, link, label
        self.timeout, self.retries = timeout, retries
        self.repeats = 0
        self._sequence = os.urandom(1)[0]
        self._received = bytearray()
        self._plan = plan(program)
        self._sample = next(program.of_kind(Kind.SAMPLE))
        self._hello: Hello | None = None

    # --- requests -----------------------------------------------------------------------------------------------------

    def request(
        self, command: int, data: bytes = b"", timeout: float | None = None, retries: int | None = None
    ) -> bytes:
        """Send one request until it is answered; returns the answer's data.

        Raises:
            DeviceTimeoutError: no answer.
            RefusedError: the device cannot.
            RestartedError: it has been reset in between.
        """
        self._sequence = (self._sequence + 1) % 256
        head = bytes([VERSION, self._sequence, command, 0])
        frame = encode_frame(head + data)
        timeout = self.timeout if timeout is None else timeout
        tries = 1 + (self.retries if retries is None else retries)
        for attempt in range(tries):
            self.repeats += attempt > 0
            self.link.write(frame)
            until = time.monotonic() + timeout
            for answer in self._answers(until):
                if answer[1] == self._sequence and answer[2] == command | ANSWER:
                    if answer[0] != VERSION or answer[3] == OTHER_VERSION:
                        raise DeviceError(
                            f"{self.label}: speaks protocol {answer[0]}, this is {VERSION}; build it anew"
                        )
                    return self._judge(command, answer[3], answer[HEADER_BYTES:])
        name = _COMMANDS[command]
        raise DeviceTimeoutError(f"{self.label}: no answer to {name}, asked {tries} times over {tries * timeout:g} s")

    def _judge(self, command: int, status: int, data: bytes) -> bytes:
        if status == DONE:
            return data
        if status == RESTARTED:
            self._hello = None  # the next call says hello anew
            raise RestartedError(
                f"{self.label}: was reset in between; restore the last snapshot and learn on from there"
            )
        reason = _STATUS.get(status, f"status {status}")
        raise RefusedError(f"{self.label}: refuses {_COMMANDS[command]}: {reason}")

    def _answers(self, until: float) -> Iterator[bytes]:
        """Whole and undamaged frames that come until then."""
        while True:
            *frames, rest = self._received.split(b"\0")
            self._received = bytearray(rest)
            for frame in frames:
                payload = decode_frame(bytes(frame)) if frame else None
                if payload is not None and len(payload) >= HEADER_BYTES:
                    yield payload
            left = until - time.monotonic()
            if left <= 0:
                return
            self._received += self.link.read(left)

    # --- what users want ----------------------------------------------------------------------------------------------

    def hello(self, timeout: float | None = None, retries: int | None = None) -> Hello:
        """Who is there.  Raises DigestError where it runs another Program."""
        data = self.request(HELLO, timeout=timeout, retries=retries)
        if len(data) < 53:
            raise DeviceError(f"{self.label}: a hello of {len(data)} bytes, at least 53 expected; build it anew")

        def number(start: int, count: int) -> int:
            return int.from_bytes(data[start : start + count], "little")

        hello = Hello(
            stepped=bool(data[0] & 1),
            learns=bool(data[0] & 2),
            predicts=bool(data[0] & 4),
            feature_bytes=data[1],
            data_bytes=number(2, 2),
            program_digest=data[4:36].hex(),
            sample_bytes=number(36, 4),
            classes=number(40, 2),
            decision_bytes=data[42],
            entropies=data[43],
            arena_bytes=number(44, 4),
            state_bytes=number(48, 4),
            build=data[52:].decode("ascii", "replace"),
        )
        if hello.program_digest != self.program.program_digest:
            raise DigestError(
                f"{self.label}: runs program {hello.program_digest}, the model is {self.program.program_digest}; "
                "build and flash this model, or use the model the device was built from"
            )
        self._hello = hello
        return hello

    @property
    def known(self) -> Hello:
        """The hello, asked for once."""
        return self._hello or self.hello()

    def learn(self, x_q: IntArray, label: int = -1) -> int:
        """Learn one encoded sample; returns the class decided before it was learnt."""
        return self._choice(LEARN, label.to_bytes(2, "little", signed=True), x_q)

    def predict(self, x_q: IntArray) -> int:
        """The class of one encoded sample."""
        return self._choice(PREDICT, b"", x_q)

    def _choice(self, command: int, head: bytes, x_q: IntArray) -> int:
        sample = pack(self._checked(x_q), self._sample.format)
        if len(head) + len(sample) > self.known.data_bytes:
            self._send(SAMPLE, sample)
            sample = b""
        return int.from_bytes(self.request(command, head + sample), "little", signed=True)

    def _checked(self, x_q: IntArray) -> IntArray:
        values, declared = np.asarray(x_q, np.int64), self._sample
        if values.shape != declared.shape:
            raise ProgramError(f"{declared.name}: shape {values.shape}, the Program wants {declared.shape}")
        if values.size and (values.min() < declared.format.lo or values.max() > declared.format.hi):
            raise ProgramError(f"{declared.name}: values {values.min()} to {values.max()} do not fit {declared.format}")
        return values

    def decisions(self) -> IntArray:
        """Decisions of the last layer from the call before, raw."""
        tensor = self.program.by_name["decision"]
        return unpack(self._fetch(DECISIONS, 0, tensor.byte_count), tensor.shape, tensor.format)

    def entropies(self) -> list[int]:
        """Entropy sums of the last sample learnt, in the order of the model.h: raw units of each tensor's format."""
        count = self.known.entropies
        at_once = self.known.data_bytes // 8
        data = b"".join(
            self.request(ENTROPIES, bytes([first, min(at_once, count - first)])) for first in range(0, count, at_once)
        )
        return [int(value) for value in np.frombuffer(data, "<i8")]

    def snapshot(self) -> dict[str, IntArray]:
        """Every state tensor."""
        data = self._fetch(STATE_OUT, 0, self.known.state_bytes)
        state = {}
        for tensor in self.program.of_role(Role.STATE):
            start = self._plan.fixed[tensor.name] - self._plan.state_start
            state[tensor.name] = unpack(data[start : start + tensor.byte_count], tensor.shape, tensor.format)
        return state

    def restore(self, state: Mapping[str, IntArray]) -> None:
        """Replace the state and read it back.  Raises DeviceError where it did not arrive."""
        data = bytearray(self._fetch(STATE_OUT, 0, self.known.state_bytes))
        for tensor in self.program.of_role(Role.STATE):
            start = self._plan.fixed[tensor.name] - self._plan.state_start
            data[start : start + tensor.byte_count] = pack(np.asarray(state[tensor.name], np.int64), tensor.format)
        self._send(STATE_IN, bytes(data))
        if self._fetch(STATE_OUT, 0, len(data)) != data:
            raise DeviceError(f"{self.label}: the state read back is not the one sent")

    def reset(self) -> None:
        """Start again from the state the model was built with."""
        self.request(RESET)

    def stack(self) -> tuple[int, int]:
        """Bytes of stack there are and how many were ever used; zeros where nobody painted it."""
        data = self.request(STACK)
        return int.from_bytes(data[:4], "little"), int.from_bytes(data[4:], "little")

    def save_in_flash(self) -> None:
        """Save the state in the device's own flash.  Raises DeviceError where it cannot, RefusedError without flash."""
        self._in_flash(SAVE)

    def load_from_flash(self) -> None:
        """Bring back the newest snapshot in the device's own flash.  Raises DeviceError where there is none."""
        self._in_flash(LOAD)

    def _in_flash(self, command: int) -> None:
        status = self.request(command)[0]
        if status:
            words = _SNAPSHOTS[status] if status < len(_SNAPSHOTS) else f"status {status}"
            raise DeviceError(f"device: {_COMMANDS[command]}: {words}")

    # --- the test bench -----------------------------------------------------------------------------------------------

    def peek(self, start: int, count: int) -> bytes:
        """Bytes of the arena."""
        return self._fetch(PEEK, start, count)

    def poke(self, start: int, data: bytes) -> None:
        """Overwrite bytes of the arena."""
        self._send(POKE, data, start)

    def run(
        self, section: int, first: int, last: int, peek: tuple[int, int] = (0, 0), poke: tuple[int, bytes] = (0, b"")
    ) -> bytes:
        """Poke, run operations first to last - 1 of a section, peek: in one request where they fit into one."""
        start, count = peek
        place, data = poke
        room = self.known.data_bytes
        if 15 + len(data) > room:
            self.poke(place, data)
            data = b""
        now = count if count <= room else 0
        head = b"".join(
            value.to_bytes(size, "little")
            for value, size in ((section, 1), (first, 2), (last, 2), (start, 4), (now, 2), (place, 4))
        )
        answer = self.request(RUN, head + data)
        return answer if now == count else self.peek(start, count)

    def _fetch(self, command: int, start: int, count: int) -> bytes:
        room = self.known.data_bytes
        pieces = []
        for at in range(0, count, room):
            size = min(room, count - at)
            pieces.append(self.request(command, (start + at).to_bytes(4, "little") + size.to_bytes(2, "little")))
        return b"".join(pieces)

    def _send(self, command: int, data: bytes, start: int = 0) -> None:
        room = self.known.data_bytes - 4
        for at in range(0, len(data), room):
            self.request(command, (start + at).to_bytes(4, "little") + data[at : at + room])

    def close(self) -> None:
        """Close the link."""
        self.link.close()

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
