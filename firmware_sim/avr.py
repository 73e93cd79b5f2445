"""AVR through simavr, whose cycles are exact: a child process runs the image and counts by address and call path."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path

from .activity import Activity, Operation, load_activity
from .calltree import History
from .catalogue import Board, load_board
from .energy import energy
from .errors import BudgetError, FlashError, ImageError, InstructionError, MissingError, RunError, StackOverflowError
from .image import Image
from .peripherals import eeprom_of
from .profile import Share
from .report import Report
from .stack import stack_bound
from .timing import Cycles
from .wear import eeprom_wear

RUNNER = Path(__file__).parent / "avr_runner.c"
HEADER = Path("/usr/include/simavr/sim_avr.h")
DATA_SPACE = 0x800000  # where avr-gcc's ELF files put what lies in RAM
ASLEEP, CRASHED, SPENT, OVERFLOWN, HALTED, MISUSED = range(6)
ALL_COUNTS = 0xFFFFFFFF
POWER_UP = 0xFFFFFFFE
EVENTS = 1 << 20
DEFAULT_CYCLES = 20_000_000_000


class AvrMachine:
    """An ATmega with an image, reset and ready; the same verbs as `machine.Machine`, as far as simavr has them.

    `core_title`: the core in words.

    Raises MissingError without libsimavr or a compiler, ImageError where the image is not for AVR.
    """

    core_title = "AVR in simavr"

    def __init__(
        self, elf: str | Path | Image, board: str | Board, clock_hz: int | None = None, budget: int = DEFAULT_CYCLES
    ) -> None:
        self.image = elf if isinstance(elf, Image) else Image(elf)
        self.board = load_board(board) if isinstance(board, str) else board
        if self.image.machine != "avr" or not self.board.core.name.startswith("avr"):
            raise ImageError(
                f"{self.image.path}: an image for {self.image.machine}; {self.board.name} has a {self.board.core.name}"
            )
        self.clock_hz = clock_hz or self.board.clock.hz
        self.budget = budget
        self.cycles = self.instructions = 0
        self.output = bytearray()
        eeprom = eeprom_of(self.board)
        self.eeprom_cycles = round(eeprom.write_ms * 1e-3 * (self.clock_hz or 0)) if eeprom else 0
        self.eeprom_writes: dict[int, int] = {}
        """Writes by address, known when the run has ended: after `counts`."""
        self._lowest = self._pc = 0
        self._folder = tempfile.TemporaryDirectory(prefix="firmware-sim-")
        folder = Path(self._folder.name)
        runner = build_runner(RUNNER, folder)
        starts = folder / "starts.bin"
        functions = [s.address for s in self.image.symbols if s.function]
        starts.write_bytes(struct.pack(f"<{len(functions)}I", *functions))
        mcu = self.board.emulator.machine if self.board.emulator else self.board.mcu.lower()
        self.stack_bottom = max(self.image.static_end - DATA_SPACE, self.board.data.origin)
        self.stack_top = self.board.data.origin + self.board.data.bytes - 1
        numbers = (self.clock_hz, budget, self.stack_bottom)
        self._events, self._history = folder / "events.bin", History((), {}, True)
        self._child = subprocess.Popen(
            [
                *(str(runner), str(self.image.path), mcu, *map(str, numbers), str(starts)),
                *(str(self._events), str(EVENTS), str(self.eeprom_cycles)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._finish = weakref.finalize(self, _end, self._child)

    def run(self) -> str:
        """Run until the core sleeps for good: idle; or jumps to itself: halted.  Raises a RunError otherwise."""
        return self._ask(b"")[0]

    def send(self, data: bytes) -> bytes:
        """Put bytes onto USART0, run until the core waits for more, and return what it said."""
        return self._ask(data)[1]

    def power_up(self) -> None:
        """Cut the power and give it back: RAM and registers are lost, EEPROM and all counts stay."""
        self._write(struct.pack("<I", POWER_UP))

    def _ask(self, data: bytes) -> tuple[str, bytes]:
        self._write(struct.pack("<I", len(data)) + data)
        sent = self._line("sent ")
        why, cycles, instructions, lowest, pc = map(int, self._line("ran ").split())
        self.cycles, self.instructions, self._pc = cycles, instructions, pc
        self._lowest = lowest if lowest != ALL_COUNTS else 0
        where = self.image.where(pc)
        if why == CRASHED:
            raise InstructionError(
                f"{where}: simavr stopped the core: an illegal instruction, or a jump beyond its flash"
            )
        if why == SPENT:
            raise BudgetError(
                f"{where}: still running after {self.budget:,} cycles; an endless loop, or raise the budget (--cycles)"
            )
        if why == OVERFLOWN:
            raise StackOverflowError(
                f"{where}: the stack reaches {lowest:#06x}; variables end at {self.stack_bottom:#06x}. "
                "Use a board with more RAM, or smaller frames"
            )
        if why == MISUSED:
            raise FlashError(
                f"{where}: reads or writes the EEPROM while a byte is being written, which takes "
                f"{self.eeprom_cycles:,} cycles; wait until EEPE of EECR is 0"
            )
        return ("halted" if why == HALTED else "idle"), bytes.fromhex(sent)

    @property
    def stack_used(self) -> int:
        """Bytes of stack at the deepest so far."""
        return self.stack_top - self._lowest if self._lowest else 0

    def counts(self) -> dict[int, tuple[int, int, int, dict[int, tuple[int, int]]]]:
        """Places of the call tree: parent, function, site, {address: (instructions, cycles)}.  Ends the run."""
        self._write(struct.pack("<I", ALL_COUNTS))
        found: dict[int, tuple[int, int, int, dict[int, tuple[int, int]]]] = {}
        rows: dict[int, tuple[int, int]] = {}
        while (line := self._line("")) != "end":
            words = line.split()
            if words[0] == "eeprom":
                self.eeprom_writes[int(words[1])] = int(words[2])
            elif words[0] == "place":
                number, parent, function, site, _ = map(int, words[1:])
                rows = {}
                found[number] = (parent, function, site, rows)
            else:
                rows[int(words[0])] = (int(words[1]), int(words[2]))
        moments = list(struct.iter_unpack("<QQ", self._events.read_bytes()))
        places = {number: (parent, function) for number, (parent, function, _, _) in found.items()}
        self._history = History(moments, places, len(moments) < EVENTS)
        return found

    def history(self) -> History:
        """When it was in which function; known once `counts` has ended the run."""
        return self._history

    def _write(self, data: bytes) -> None:
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(data)
            self._child.stdin.flush()
        except OSError:
            raise self._gone() from None

    def _line(self, start: str) -> str:
        assert self._child.stdout is not None
        while line := self._child.stdout.readline().decode():
            if line.startswith(start):  # simavr itself says what it loads
                return line[len(start) :].strip()
        raise self._gone()

    def _gone(self) -> RunError:
        assert self._child.stderr is not None
        self._child.kill()
        return RunError(f"simavr has ended: {self._child.stderr.read().decode().strip() or 'without a word'}")

    def close(self) -> None:
        """End the child; may be called twice."""
        self._finish()
        self._folder.cleanup()

    def __enter__(self) -> AvrMachine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def build_runner(source: Path, folder: Path) -> Path:
    """Compile a runner against libsimavr.  Raises MissingError with the package that is not there."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise MissingError("AVR: no C compiler for simavr's runner; Debian package gcc")
    if not HEADER.exists():
        raise MissingError("AVR: simavr's library is not installed; Debian package libsimavr-dev")
    out = folder / source.stem
    command = [compiler, "-O2", "-std=c99", str(source), "-lsimavr", "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise MissingError(f"AVR: simavr's runner does not build: {done.stderr.strip().splitlines()[:1]}")
    return out


def avr_report(machine: AvrMachine, ended: str) -> Report:
    """What an AVR has done so far; its child ends with it."""
    activity = load_activity(machine.image.path)
    lines = {(one.file, one.line): one for one in activity.operations} if activity else {}
    places = machine.counts()
    functions: dict[str, Share] = {}
    operations: dict[Operation, Share] = {}
    outside = Share()
    stacks: dict[tuple[str, ...], float] = {}
    paths: dict[int, tuple[list[str], tuple[str, ...], Operation | None]] = {}
    frames: dict[int, tuple[tuple[str, ...], Operation | None]] = {}

    def at(address: int) -> tuple[tuple[str, ...], Operation | None]:
        if address not in frames:
            chain = machine.image.frames(address)
            operation = next((lines[f.file, f.line] for f in chain if (f.file, f.line) in lines), None)
            frames[address] = (tuple(frame.function for frame in chain), operation)
        return frames[address]

    def path(number: int) -> tuple[list[str], tuple[str, ...], Operation | None]:
        if number not in paths:
            if number <= 0:
                paths[number] = ([], (), None)
            else:
                parent, function, site, _ = places[number]
                above, stack, operation = path(parent)
                inner, own = at(site) if site != ALL_COUNTS else ((), None)
                symbol = machine.image.function_at(function)
                paths[number] = ([*above, symbol.name if symbol else "?"], (*stack, *inner), operation or own)
        return paths[number]

    for number, (_, function, _, rows) in places.items():
        names, stack, operation = path(number)
        if number and function in rows:
            functions.setdefault(names[-1], Share()).calls += rows[function][0]
        for address, (count, cycles) in rows.items():
            inner, own = at(address)
            cost = Cycles(cycles, cycles, cycles)
            symbol = machine.image.function_at(address)
            name = symbol.name if symbol else "?"
            functions.setdefault(name, Share()).add(count, cost)
            for each in {*names, name}:
                share = functions.setdefault(each, Share())
                share.total = share.total + cost
            found = operation or own
            (outside if found is None else operations.setdefault(found, Share())).add(count, cost)
            whole = (*stack, *inner)
            stacks[whole] = stacks.get(whole, 0.0) + cycles
    total = Cycles(machine.cycles, machine.cycles, machine.cycles)
    return Report(
        str(machine.image.path),
        machine.board.name,
        machine.core_title,
        "published",
        machine.clock_hz,
        ended,
        bytes(machine.output),
        machine.instructions,
        total,
        machine.stack_used,
        stack_bound(machine.image),
        machine.image.static_bytes,
        machine.image.stored_bytes,
        functions,
        operations,
        outside,
        stacks,
        energy(machine.board, total, machine.clock_hz),
        wear=eeprom_wear(machine.board, machine.eeprom_writes, machine.eeprom_cycles),
    )


def run_avr(
    elf: str | Path, board: Board, inputs: bytes, cycles: int, clock_hz: int | None
) -> tuple[Report, AvrMachine]:
    """Run an image and report, as `firmware_sim.run`; the machine has ended and knows its history."""
    with AvrMachine(elf, board, clock_hz, cycles) as machine:
        ended = machine.run()
        if inputs:
            machine.output += machine.send(inputs)
        return avr_report(machine, ended), machine


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    for stream in (child.stdin, child.stdout, child.stderr):
        with suppress(OSError):
            stream.close()  # type: ignore[union-attr]


__all__ = ["Activity", "AvrMachine", "avr_report", "build_runner", "run_avr"]
