"""Firmware in an emulator: a board's image, run by QEMU or simavr, its serial line a link like any other."""

from __future__ import annotations

import shutil
import weakref
from pathlib import Path

from firmware_sim.catalogue import Board, load_board

from .device import Device, DeviceTimeoutError, ProcessLink
from .errors import MissingError
from .firmware import build_temporary
from .program import Program
from .toolchain import INCLUDE, find_compiler

START_SECONDS = 20
ANSWER_SECONDS = 10.0
ANSWER_RETRIES = 2
SIMAVR_HEADER = Path("/usr/include/simavr/sim_avr.h")
SIMAVR_BAUD = 500_000
"""Of simavr's line: 320 cycles a byte leave the core the time to take each one."""
BOARDS = {
    "qemu-m0": "qemu_m0",
    "qemu-m3": "qemu_m3",
    "qemu-m4": "qemu_m4",
    "qemu-m7": "qemu_m7",
    "qemu-m33": "qemu_m33",
    "qemu-rv32": "qemu_rv32",
    "simavr-atmega328p": "arduino_uno",
}
"""Boards by the names of their executors."""
_PACKAGES = {
    "qemu-system-arm": "Debian package qemu-system-arm",
    "qemu-system-riscv32": "Debian package qemu-system-misc",
}


class Emulation:
    """A Program's firmware running in an emulator.  A context manager; at the latest the emulator ends with Python.

    `name` is an executor's, as in qemu-m3.  Raises MissingError where emulator or compiler are not installed, FitError
    where the Program does not fit, LinkError or DeviceTimeoutError where the emulator dies or the firmware is silent.
    """

    def __init__(
        self,
        program: Program,
        name: str,
        stepped: bool = False,
        compiler: str | None = None,
        optimise: str | None = None,
    ) -> None:
        board = load_board(BOARDS[name])
        find_emulator(board)
        baud = SIMAVR_BAUD if name.startswith("simavr") else None
        self.folder, self.image = build_temporary(
            program, board.name, stepped=stepped, compiler=compiler, optimise=optimise, baud=baud
        )
        folder = Path(self.folder.name)
        self.link = ProcessLink(command(board, self.image.elf, folder), name, folder)
        self._finish = weakref.finalize(self, self.link.close)
        self.device = Device(program, self.link, ANSWER_SECONDS, ANSWER_RETRIES, name)
        try:
            self.device.hello(timeout=1.0, retries=START_SECONDS)
            self.device.repeats = 0  # a hello said before the firmware listens is no fault of the line
        except DeviceTimeoutError as error:
            words = self.link.last_words()
            self.close()
            raise DeviceTimeoutError(f"{error}{words}") from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the emulator.  May be called twice."""
        self._finish()
        self.folder.cleanup()

    def __enter__(self) -> Emulation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def command(board: Board, elf: Path, folder: Path) -> list[str]:
    """How to run an image of a board in its emulator, its line at standard input and output.

    `folder` is where the runner for simavr is built.  Raises MissingError where the emulator is not installed.
    """
    program = find_emulator(board)
    assert board.emulator is not None
    if board.emulator.kind == "simavr":
        runner = folder / "simavr_runner"
        if not runner.exists():
            source = INCLUDE / "host" / "simavr_runner.c"
            find_compiler("gcc").compile([source], runner, ["-O2"], ["-lsimavr"])
        return [str(runner), str(elf), board.emulator.machine, str(board.clock.hz)]
    options = ["-nodefaults", "-display", "none", "-monitor", "none"]
    bios = ["-bios", "none"] if board.emulator.machine == "virt" else []
    line = ["-chardev", "stdio,id=line,signal=off", "-serial", "chardev:line"]
    return [program, "-M", board.emulator.machine, *options, *bios, *line, "-kernel", str(elf)]


def find_emulator(board: Board) -> str:
    """The board's emulator.  Raises MissingError with the package that has it."""
    if board.emulator is None:
        raise MissingError(f"{board.name}: no emulator runs this board; take one of the qemu boards, or the real one")
    if board.emulator.kind == "simavr":
        if not SIMAVR_HEADER.exists():
            raise MissingError(f"{board.name}: simavr's library is not installed; Debian package libsimavr-dev")
        return "simavr"
    path = shutil.which(board.emulator.program)
    if path is None:
        package = _PACKAGES.get(board.emulator.program, "QEMU")
        raise MissingError(f"{board.name}: {board.emulator.program} is not installed; {package}")
    return path
