"""What the firmware's tests share: a model, the device code built for this machine, tools that may be absent."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ska_edge import Network, lower
from ska_edge.backends import open_executor
from ska_edge.backends.c.generate import generate
from ska_edge.data import load_dataset
from ska_edge.device import Link, ProcessLink
from ska_edge.errors import MissingError
from ska_edge.fixed import IntArray
from ska_edge.program import Program
from ska_edge.toolchain import INCLUDE, find_compiler
from ska_edge.verify import stream_of

DEVICE = (INCLUDE / "device/main.c", INCLUDE / "device/protocol.c", INCLUDE / "device/frame.c")


def needed(open_tool: Callable[[], object]) -> None:
    """Skip by name where a tool is missing; fail in CI."""
    try:
        open_tool()
    except MissingError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@cache
def digits_model() -> Program:
    """The default network, not yet learnt."""
    data = load_dataset("digits")
    return lower(Network((64, 16, 10)), "w8d8", data.samples[:200])


@cache
def digits_stream() -> dict[str, IntArray]:
    return stream_of(digits_model(), load_dataset("digits"))


@cache
def learnt_digest(samples: int) -> str:
    """State digest of the oracle's judge after so many samples: Numba, which other tests hold equal to the oracle."""
    program = digits_model()
    executor = open_executor("oracle" if samples <= 40 else "numba", program)
    executor.stream("learn", {name: values[:samples] for name, values in digits_stream().items()})
    state = executor.state()
    if samples >= 20:
        assert program.weights_changed(state) > 0.2
    return program.digest_of(state)


def build_host(program: Program, folder: Path, *flags: str, sources: tuple[Path, ...] = ()) -> Path:
    """The device code as a process of this machine."""
    needed(lambda: find_compiler("gcc"))
    for name, text in generate(program).items():
        (folder / name).write_text(text)
    program_file = folder / "device"
    files = sources or (*DEVICE, INCLUDE / "ports/host.c")
    find_compiler("gcc").compile(
        [*files, folder / "model.c"], program_file, ["-O1", f"-I{folder}", f"-I{INCLUDE / 'device'}", *flags]
    )
    return program_file


class LossyLink(Link):
    """Drops, cuts, doubles and flips what passes, both ways, at a rate per write or read."""

    def __init__(self, link: Link, rate: float, seed: int) -> None:
        self.link, self.rate, self.damaged = link, rate, 0
        self._random = random.Random(seed)

    def write(self, data: bytes) -> None:
        self.link.write(self._damage(data))

    def read(self, timeout: float) -> bytes:
        until = time.monotonic() + timeout
        data = self._damage(self.link.read(timeout))
        return data or (self.read(until - time.monotonic()) if until > time.monotonic() else b"")

    def close(self) -> None:
        self.link.close()

    def _damage(self, data: bytes) -> bytes:
        chance = self._random
        if not data or chance.random() >= self.rate:
            return data
        self.damaged += 1
        kind = chance.randrange(5)
        if kind == 0:
            return b""
        if kind == 1:
            return data[: chance.randrange(len(data))]
        if kind == 2:
            return data + data
        if kind == 3:
            return bytes(chance.randrange(256) for _ in range(chance.randrange(1, 40))) + data
        at = chance.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def connect(program_file: Path) -> ProcessLink:
    return ProcessLink([str(program_file)], "host device")


def noise(program: Program, rows: int, seed: int = 0) -> dict[str, IntArray]:
    """Random raw inputs for a learn section."""
    chance = np.random.default_rng(seed)
    sample = next(t for t in program.tensors if t.name == "x")
    inputs = {"x": chance.integers(sample.format.lo, sample.format.hi + 1, (rows, *sample.shape))}
    if "label" in program.by_name:
        inputs["label"] = chance.integers(-1, program.by_name["decision"].size, rows)
    return inputs


SCRIPT = "SECTIONS { .text 0x0 : { KEEP(*(.vectors)) *(.text*) *(.rodata*) } .bss 0x20000000 : { *(.bss*) *(COMMON) } }"


def compiled(folder: Path, name: str, source: str, core: str = "cortex_m4") -> Path:
    """Bare C that begins at Reset_Handler, as an image for a board with flash at 0 and RAM at 0x20000000."""
    needed(lambda: find_compiler("zig"))
    file, script, elf = folder / f"{name}.c", folder / "bare.ld", folder / f"{name}.elf"
    file.write_text(source)
    script.write_text(SCRIPT)
    flags = ["-target", "thumb-freestanding-eabi", f"-mcpu={core}", "-O1", "-g", "-ffreestanding", "-nostdlib"]
    flags += ["-fno-sanitize=undefined", "-Wno-everything", "-Wl,--entry=Reset_Handler", "-Wl,-z,max-page-size=16"]
    find_compiler("zig").compile([file], elf, [*flags, "-fno-optimize-sibling-calls", "-T", str(script)])
    return elf
