"""Boards without hardware for the flashing tests: an AVR with its bootloader on a line, QEMU with its gdb stub; tools
that misbehave; ELF files of our own making."""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from firmware_tools import needed

from firmware_sim.catalogue import load_board
from ska_edge import elf
from ska_edge.emulator import find_emulator
from ska_edge.errors import MissingError
from ska_edge.toolchain import INCLUDE, find_compiler

OPTIBOOT = Path("/usr/share/arduino/hardware/arduino/avr/bootloaders/optiboot/optiboot.c")
START_SECONDS = 10.0


def find_optiboot() -> None:
    if not OPTIBOOT.is_file():
        raise MissingError("optiboot: not installed; Debian package arduino-core-avr")


@cache
def bootloader(folder: Path) -> Path:
    """Arduino's optiboot for the ATmega328P at 16 MHz, compiled from the source that Debian ships.

    Debian 12's own optiboot_atmega328.hex cannot be used: its compiler made 532 bytes of it, the boot section has 512.
    Without the three flashes of the LED at start, the same source needs 496.
    """
    needed(find_optiboot)
    needed(lambda: find_compiler("avr-gcc"))
    out = folder / "optiboot.elf"
    options = ["-Os", "-fno-inline-small-functions", "-fno-split-wide-types", "-mshort-calls", "-mmcu=atmega328p"]
    values = ["-DF_CPU=16000000L", "-DBAUD_RATE=115200", "-DLED_START_FLASHES=0", "-nostdlib", "-nostartfiles"]
    links = ["-Wl,--section-start=.text=0x7e00,--section-start=.version=0x7ffe,--relax"]
    compiler = find_compiler("avr-gcc").command
    subprocess.run([*compiler, *options, *values, *links, str(OPTIBOOT), "-o", str(out)], check=True, timeout=60)
    read = elf.read_elf(out)
    assert all(address >= 0x7E00 and address + len(data) <= 0x8000 for address, data in read.segments)
    assert sum(len(data) for _, data in read.segments) <= 512
    out.with_suffix(".hex").write_text(read.intel_hex())
    return out.with_suffix(".hex")


@cache
def avr_board(folder: Path) -> Path:
    """The runner."""
    board = load_board("arduino_uno")
    needed(lambda: find_emulator(board))
    needed(lambda: find_compiler("gcc"))
    runner = folder / "simavr_board"
    find_compiler("gcc").compile([INCLUDE / "host/simavr_board.c"], runner, ["-O2"], ["-lsimavr"])
    return runner


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A child that ends with the block."""
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


@contextmanager
def empty_uno(folder: Path, *worn: str) -> Iterator[str]:
    """An Arduino Uno with a bootloader and nothing else, perhaps a worn byte; gives its serial port."""
    with running([str(avr_board(folder)), str(bootloader(folder)), "atmega328p", "16000000", *worn]) as child:
        assert child.stdout is not None
        assert select.select([child.stdout], [], [], START_SECONDS)[0], "the board does not start"
        port = child.stdout.readline().decode().strip()
        assert port.startswith("/dev/"), port
        yield port


@contextmanager
def empty_qemu(name: str, folder: Path, tcp: bool) -> Iterator[tuple[str, str]]:
    """A QEMU board with nothing in its memory, stopped; gives the target of its gdb stub and its line."""
    board = load_board(name)
    needed(lambda: find_emulator(board))
    assert board.emulator is not None
    line, stub = folder / "line", folder / "stub"
    if tcp:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            target = f"127.0.0.1:{free.getsockname()[1]}"
        gdb = ["-gdb", f"tcp:{target}"]
    else:
        target = str(stub)
        gdb = ["-chardev", f"socket,id=stub,path={stub},server=on,wait=off", "-gdb", "chardev:stub"]
    serial = ["-chardev", f"socket,id=line,path={line},server=on,wait=off", "-serial", "chardev:line"]
    options = ["-nodefaults", "-display", "none", "-monitor", "none", "-S"]
    bios = ["-bios", "none"] if board.emulator.machine == "virt" else []
    machine = [find_emulator(board), "-M", board.emulator.machine]
    with running([*machine, *options, *bios, *gdb, *serial]) as child:
        until = time.monotonic() + START_SECONDS
        while not (line.exists() and (stub.exists() or (tcp and listens(target)))):
            assert time.monotonic() < until and child.poll() is None, "QEMU does not start"
            time.sleep(0.02)
        yield target, f"unix:{line}"


def listens(target: str) -> bool:
    """Whether a port is taken, without connecting: QEMU's stub would take that for its debugger."""
    number = int(target.rpartition(":")[2])
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(int(row[1].rpartition(":")[2], 16) == number and row[3] == "0A" for row in rows)


def make_elf(path: Path, machine: int, segments: list[tuple[int, bytes]], entry: int = 0) -> Path:
    """A linked ELF file without sections: header, program headers, contents."""
    at = 52 + 32 * len(segments)
    heads, contents = b"", b""
    for address, data in segments:
        heads += struct.pack("<8I", 1, at + len(contents), address, address, len(data), len(data), 5, 1)
        contents += data
    ident = b"\x7fELF\1\1\1" + bytes(9)
    head = struct.pack("<2H5I6H", 2, machine, 1, entry, 52, 0, 0, 52, 32, len(segments), 40, 0, 0)
    path.write_bytes(ident + head + heads + contents)
    return path


def fake_tool(folder: Path, name: str, script: str) -> Path:
    """A tool of that name that does what the shell script says; put its folder into PATH."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    os.chmod(folder / name, 0o755)
    return folder
