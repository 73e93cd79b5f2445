"""A board that runs an image: memory as the board's file maps it, a core in Unicorn, a serial line, and counters."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import engine
from .calltree import CallTree, History
from .catalogue import Board, load_board
from .decode import JUMP, Instruction, open_decoder
from .errors import (
    BudgetError,
    BusFault,
    ImageError,
    InstructionError,
    MissingError,
    RunError,
    SelfModifyingError,
    SimError,
    StackOverflowError,
)
from .flash import ERASED, Flash
from .image import Image, Segment
from .peripherals import Line, Registers, nvmc_chips
from .timing import Cycles, Fetch, Timing, load_core

DEFAULT_CYCLES = 20_000_000_000
PAINT = 0xA5
RETURN_PAGE = 0x1FFF0000
PAGE = {"arm": 0x400, "riscv": 0x1000}
ENDED = ("idle", "halted", "returned", "exited")
BREAKPOINT_SEMIHOSTING = 0xAB


@dataclass(frozen=True)
class Block:
    """Instructions that run as one, as Unicorn cuts them."""

    address: int
    instructions: tuple[Instruction, ...]
    data: bytes

    @property
    def lowest(self) -> int:
        """How far below its value at the block's start the stack pointer goes, in bytes."""
        at = deepest = 0
        for one in self.instructions:
            at += one.stack or 0
            deepest = min(deepest, at)
        return -deepest

    @property
    def moves_stack(self) -> bool:
        """Whether it touches the stack pointer at all."""
        return any(one.stack != 0 for one in self.instructions)


class Machine:
    """A board with an image in its memory, reset and ready.

    `clock_hz`: the core's clock where it is not the board's; wait states follow it.  `budget`: nominal cycles of all
    runs together.

    Raises ImageError where the image does not suit the board, MissingError without Unicorn or capstone.
    """

    def __init__(
        self, elf: str | Path | Image, board: str | Board, clock_hz: int | None = None, budget: int = DEFAULT_CYCLES
    ) -> None:
        self.image = elf if isinstance(elf, Image) else Image(elf)
        self.board = load_board(board) if isinstance(board, str) else board
        self.core = load_core(self.board)
        self.clock_hz = clock_hz or self.board.clock.hz
        self._unicorn, self._library = _unicorn()
        self._check_image()
        self.timing = Timing(self.core, Fetch(self.board, clock_hz))
        self.tree = CallTree(self.image)
        self.blocks: dict[int, Block] = {}
        self.line = Line(self._want_stop)
        self.registers = Registers(self.board, self.line)
        self.flash = self._new_flash()
        self.registers.flash = self.flash
        self.output = bytearray()
        self.counters = engine.Counters()
        self._decoder = open_decoder(self.image.machine)
        self._failure: BaseException | None = None
        self._exit: int | None = None
        self._fault: tuple[str, int, int] | None = None
        self._map: list[tuple[int, int, str]] = []
        self._arm = self.image.machine == "arm"
        self._engine = self._new_engine()
        self._load()
        self._keep = engine.attach(
            self._engine._uch.value, self._library, self.counters, self._stack_register, self._ask_safely
        )
        self.counters.header[engine.BUDGET] = budget * engine.TICKS
        self._cold = self._engine.context_save()
        self._reset()

    # --- setting up -------------------------------------------------------------------------------------------

    def _check_image(self) -> None:
        machine = "arm" if self.board.core.name.startswith("cortex-") else "riscv"
        if self.board.core.name.startswith("avr"):
            machine = "avr"
        if machine != self.image.machine:
            raise ImageError(
                f"{self.image.path}: an image for {self.image.machine}; {self.board.name} has a {self.board.core.name}"
            )
        if machine == "avr":
            raise ImageError(f"{self.board.name}: AVR runs in simavr; use firmware_sim.run or firmware_sim.avr")

    def _new_engine(self) -> Any:
        unicorn = self._unicorn
        if self._arm:
            made = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
            made.ctl_set_cpu_model(getattr(unicorn.arm_const, _MODELS[self.board.core.name]))
            self._pc, self._stack_register = unicorn.arm_const.UC_ARM_REG_PC, unicorn.arm_const.UC_ARM_REG_SP
        else:
            made = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32)
            self._pc, self._stack_register = unicorn.riscv_const.UC_RISCV_REG_PC, unicorn.riscv_const.UC_RISCV_REG_SP
        page, read, write, run = (
            PAGE[self.image.machine],
            unicorn.UC_PROT_READ,
            unicorn.UC_PROT_WRITE,
            unicorn.UC_PROT_EXEC,
        )
        for memory in self.board.memories:
            rights = read | run if memory.role == "code" or memory.kind in ("flash", "rom") else read | write | run
            made.mem_map(memory.origin, -(-memory.bytes // page) * page, rights)
            self._map.append((memory.origin, memory.origin + memory.bytes, memory.name))
        chip = self.registers.chip
        for name, origin, size in chip.windows:
            made.mmio_map(origin, size, self._on_register_read, origin, self._on_register_write, origin)
            self._map.append((origin, origin + size, name))
        self._map_aliases(made, read | write | run)
        made.mem_map(RETURN_PAGE, page, read | run)
        invalid = (
            unicorn.UC_HOOK_MEM_UNMAPPED | unicorn.UC_HOOK_MEM_PROT  # unmapped, or without the right
        )
        made.hook_add(invalid, self._on_fault)
        made.hook_add(unicorn.UC_HOOK_INTR, self._on_interrupt)
        return made

    def _map_aliases(self, made: Any, rights: int) -> None:
        """Memory that answers at two addresses: one piece of ours behind both."""
        import ctypes

        self._aliased = []
        for at, of, size in self.registers.chip.aliases:
            memory = next(m for m in self.board.memories if m.origin <= of < m.origin + m.bytes)
            page = PAGE[self.image.machine]
            made.mem_unmap(memory.origin, -(-memory.bytes // page) * page)
            shared = ctypes.create_string_buffer(memory.bytes + page)
            address = -(-ctypes.addressof(shared) // page) * page
            made.mem_map_ptr(memory.origin, memory.bytes, rights, ctypes.c_void_p(address))
            made.mem_map_ptr(at, size, rights, ctypes.c_void_p(address + of - memory.origin))
            self._map.append((at, at + size, f"{memory.name}'s second address"))
            self._aliased.append(shared)

    def _new_flash(self) -> Flash | None:
        nvmc, store = self.registers.chip.nvmc, self.board.store
        return Flash(self, nvmc, store) if nvmc and store and store.erase_bytes else None

    def _load(self) -> None:
        for memory in self.board.memories:
            if memory.kind == "flash":
                self._engine.mem_write(memory.origin, bytes([ERASED]) * memory.bytes)
        self._paint()
        self._load_segments(self.image.segments)

    def _paint(self) -> None:
        data = self.board.data
        self._engine.mem_write(data.origin, bytes([PAINT]) * data.bytes if data.bytes <= 1 << 23 else b"\0")

    def _load_segments(self, segments: Sequence[Segment]) -> None:
        for segment in segments:
            where = segment.load
            if self.region(where) is None or self.region(where + len(segment.data) - 1) is None:
                regions = ", ".join(f"{name} {low:#x} to {high:#x}" for low, high, name in self._map)
                raise ImageError(
                    f"{self.image.path}: {len(segment.data)} bytes for {where:#010x}, where {self.board.name} has no "
                    f"memory; it has {regions}"
                )
            self._engine.mem_write(where, segment.data)

    def _reset(self) -> None:
        top = self.board.usable(self.board.data)
        self.stack_top, entry = top[0] + top[1], self.image.entry
        if self._arm:
            for origin in (self.board.usable(self.board.code)[0], self.board.code.origin):
                stack, reset = struct.unpack("<II", self._engine.mem_read(origin, 8))
                if reset | 1 == entry | 1:
                    self.stack_top = stack
                    break
            entry |= 1
        self._engine.reg_write(self._stack_register, self.stack_top)
        self._next = entry
        end = self.image.static_end
        self.stack_bottom = end if top[0] <= end <= self.stack_top else top[0]
        self.counters.header[engine.STACK_LIMIT] = self.stack_bottom

    def power_up(self) -> None:
        """Cut the power and give it back: RAM and registers are lost; flash, its wear and all counts stay."""
        self._engine.context_restore(self._cold)
        self._paint()
        kept = [m for m in self.board.memories if m.kind != "ram"]
        self._load_segments(
            [s for s in self.image.segments if not any(m.origin <= s.load < m.origin + m.bytes for m in kept)]
        )
        self.registers.power_up()
        self.line.clear()
        if self.flash is not None:
            self.flash.power_up()
        header = self.counters.header
        header[engine.PREVIOUS], header[engine.NODE], header[engine.SKIP] = engine.NOWHERE, 0, -1
        self._note()
        self._reset()

    def region(self, address: int) -> str | None:
        """The name of what lies at an address."""
        return next((name for low, high, name in self._map if low <= address < high), None)

    # --- running ------------------------------------------------------------------------------------------------

    def run(self) -> str:
        """Go on until the firmware waits for what does not come, ends, or calls its host's exit.

        Returns idle (it sleeps, or polls its line in vain), halted (it jumps to itself for good), or exited
        (semihosting).  Raises a RunError where it does what it must not, BudgetError when the cycles are spent.
        """
        while True:
            why = self._start(self._next)
            if why != "idle" or not self.line.waiting:
                return why

    def send(self, data: bytes) -> bytes:
        """Put bytes onto the line, run until the firmware waits for more, and return what it said."""
        self.line.waiting.extend(data)
        self.run()
        said = bytes(self.line.sent)
        self.line.sent.clear()
        return said

    def call(self, name: str, *arguments: int) -> int:
        """Call a function by name with up to four integers, run until it returns, and give its result.

        Memory and variables are as the runs before left them: to call into firmware that has started, `run` first.
        """
        function = self.image.symbol(name)
        registers = self._argument_registers()
        for register, value in zip(registers, arguments, strict=False):
            self._engine.reg_write(register, value & 0xFFFFFFFF)
        if len(arguments) > len(registers):
            raise RunError(f"{name}: {len(arguments)} arguments; at most {len(registers)} go in registers")
        self._engine.reg_write(self._link_register(), RETURN_PAGE | self._arm)
        going_on, place = self._next, int(self.counters.header[engine.NODE])
        before = int(self.counters.header[engine.PREVIOUS])
        self.counters.header[engine.PREVIOUS] = engine.NOWHERE
        self.counters.header[engine.NODE] = self.tree.child(0, function.address, -2, RETURN_PAGE)
        self._note()
        why = self._start(function.address | self._arm)
        if why != "returned":
            raise RunError(f"{name}: it did not return ({why} at {self.where()})")
        self._next = going_on
        self.counters.header[engine.NODE], self.counters.header[engine.PREVIOUS] = place, before
        self._note()
        return int(self._engine.reg_read(registers[0]))

    def _note(self) -> None:
        """Put the place and the clock into the record of events, as the engine does at every change."""
        header = self.counters.header
        at = int(header[engine.EVENT])
        if at < engine.EVENTS:
            self.counters.events[at] = header[engine.CLOCK], header[engine.NODE]
            header[engine.EVENT] = at + 1

    def _start(self, address: int) -> str:
        header = self.counters.header
        header[engine.STOP] = engine.RUNNING
        self._fault = None
        error = None
        try:
            self._engine.emu_start(address, RETURN_PAGE)
        except self._unicorn.UcError as raised:
            error = raised
        here = int(self._engine.reg_read(self._pc))
        self._next = here | self._arm
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        self._raise_stop(int(header[engine.STOP]), here)
        if self._fault is not None or error is not None:
            raise self._explain(here, error)
        if self._exit is not None:
            return "exited"
        if here == RETURN_PAGE:
            self._finish(here)
            return "returned"
        return "halted" if header[engine.STOP] == engine.HALTED else "idle"

    def _finish(self, here: int) -> None:
        """Count the block that led out: nothing ran after it to be asked about."""
        callback = self._keep[0]  # type: ignore[index]
        callback.ctypes(self._engine._uch.value, here, 0, self.counters.pointers.ctypes.data)

    def _raise_stop(self, stop: int, here: int) -> None:
        if stop == engine.SPENT:
            spent = int(self.counters.header[engine.BUDGET]) // engine.TICKS
            raise BudgetError(
                f"{self.where(here)}: still running after {spent:,} cycles; "
                "an endless loop, or raise the budget (--cycles)"
            )
        if stop == engine.OVERFLOWN:
            lowest = int(self.counters.lowest.min())
            victim = self.image.object_at(lowest)
            into = f"into {victim.name}" if victim else "below its end"
            raise StackOverflowError(
                f"{self.where(here)}: the stack reaches {lowest:#010x}, {into}; "
                f"variables end at {self.stack_bottom:#010x}. "
                "Use a board with more RAM, or smaller frames"
            )

    def _explain(self, here: int, error: Any) -> RunError:
        if self._fault is None:
            return InstructionError(f"{self.where(here)}: {error}; the core is a {self.core.title}")
        what, address, size = self._fault
        if what == "fetch":
            return BusFault(f"{self.where(here)}: goes on at {address:#010x}, where {self.board.name} has no memory")
        if what.startswith("exception"):
            return InstructionError(f"{self.where(here)}: {what}, which nobody handles")
        if what == "write" and self.region(address) is not None:
            inside = self.image.function_at(address)
            where = next(
                (s.name for s in self.image.sections if s.executable and s.address <= address < s.address + s.bytes), ""
            )
            if where and inside is not None:
                return SelfModifyingError(
                    f"{self.where(here)}: writes {size} bytes into its own code, {inside.name} at {address:#010x}"
                )
            return BusFault(
                f"{self.where(here)}: writes {size} bytes at {address:#010x} in {self.region(address)}, "
                f"which cannot be written{self._why_not(address)}"
            )
        verb = "reads" if what == "read" else "writes"
        near = min(self._map, key=lambda one: min(abs(address - one[0]), abs(address - one[1])))
        return BusFault(
            f"{self.where(here)}: {verb} {size} bytes at {address:#010x}, where {self.board.name} has nothing; "
            f"nearest is {near[2]}, {near[0]:#010x} to {near[1]:#010x}"
        )

    def _why_not(self, address: int) -> str:
        """What is missing, where flash cannot be written here."""
        kinds = {memory.kind for memory in self.board.memories if 0 <= address - memory.origin < memory.bytes}
        if "flash" not in kinds or self.flash is not None:
            return ""
        if self.registers.chip.nvmc is None:
            known = ", ".join(nvmc_chips())
            return f": no flash controller of {self.board.mcu} is modelled (of {known}); keep the state on the host"
        return (
            f": {self.board.name} names no page size; add [store] with memory, erase_bytes and write_bytes to its file"
        )

    def where(self, address: int | None = None) -> str:
        """An address, or where it stands, in words."""
        return self.image.where(int(self._engine.reg_read(self._pc)) if address is None else address)

    # --- what Unicorn tells -----------------------------------------------------------------------------------

    def _want_stop(self) -> None:
        self.counters.header[engine.WANTED] = 1

    def _on_fault(self, made: Any, access: int, address: int, size: int, value: int, nothing: Any) -> bool:
        unicorn = self._unicorn
        reads = (unicorn.UC_MEM_READ_UNMAPPED, unicorn.UC_MEM_READ_PROT)
        fetches = (unicorn.UC_MEM_FETCH_UNMAPPED, unicorn.UC_MEM_FETCH_PROT)
        if access == unicorn.UC_MEM_WRITE_PROT and self.flash is not None and self.flash.holds(address):
            try:
                self.flash.store_word(address, size, value)
                return True
            except BaseException as failure:
                self._failure = failure
                return False
        self._fault = ("read" if access in reads else "fetch" if access in fetches else "write", address, size)
        return False

    def _on_register_read(self, made: Any, offset: int, size: int, origin: int) -> int:
        return self.registers.read(origin + offset, size)

    def _on_register_write(self, made: Any, offset: int, size: int, value: int, origin: int) -> None:
        try:
            self.registers.write(origin + offset, size, value)
        except BaseException as failure:
            self._failure = failure
            made.emu_stop()

    def _on_interrupt(self, made: Any, number: int, nothing: Any) -> None:
        if self._arm and number == _EXCEPTION_BREAKPOINT and self._semihosting():
            return
        self._fault = (f"exception {number}", 0, 0)
        made.emu_stop()

    def _semihosting(self) -> bool:
        """Arm semihosting: write a character, a text, or exit.  True where it was one of those."""
        at = int(self._engine.reg_read(self._pc)) & ~1
        if self._engine.mem_read(at, 2)[0] != BREAKPOINT_SEMIHOSTING:
            at -= 2
            if self._engine.mem_read(at, 2)[0] != BREAKPOINT_SEMIHOSTING:
                return False
        arm = self._unicorn.arm_const
        asked, argument = (int(self._engine.reg_read(r)) for r in (arm.UC_ARM_REG_R0, arm.UC_ARM_REG_R1))
        if asked == 3:
            self.output += self._engine.mem_read(argument, 1)
        elif asked == 4:
            while (byte := self._engine.mem_read(argument, 1)) != b"\0":
                self.output += byte
                argument += 1
        elif asked in (0x18, 0x20):
            self._exit = 0 if asked == 0x18 else struct.unpack("<I", self._engine.mem_read(argument + 4, 4))[0]
            self._engine.emu_stop()
        else:
            return False
        self._engine.reg_write(self._pc, (at + 2) | 1)
        return True

    def _ask_safely(self, before: int, address: int, size: int, place: int, slot: int) -> int:
        try:
            return self._ask(before, address, size, place, slot)
        except BaseException as failure:
            self._failure = failure
            return engine.FAILED

    def _ask(self, before: int, address: int, size: int, place: int, slot: int) -> int:
        """A new edge: what the block before cost on this way out, where in the call tree it leads."""
        table = self.counters.table
        block = self._block(address, size)
        came = self.blocks[before & 0xFFFFFFFF] if before != engine.NOWHERE else None
        goes_to = place
        cost = 0.0
        if came is not None and came.instructions:
            last = came.instructions[-1]
            if last.ends == JUMP and last.target == address == came.address and len(came.instructions) == 1:
                return engine.HALTED
            goes_to = self.tree.after(place, last, address)
            cost = self.edge_cycles(came, address).nominal
        if len(self.tree.places) >= engine.NODES or self._rows > engine.SLOTS * 3 // 4:
            raise RunError("the call tree or the table of edges is full: this firmware branches more than was foreseen")
        dynamic = came is not None and any(one.stack is None for one in came.instructions)
        table[slot, engine.COST] = round(cost * engine.TICKS)
        table[slot, engine.GOES_TO] = goes_to
        table[slot, engine.DEPTH] = block.lowest if block.moves_stack or dynamic else engine.NO_STACK
        self._rows += 1
        return engine.RUNNING

    _rows = 0

    def _block(self, address: int, size: int) -> Block:
        data = bytes(self._engine.mem_read(address, size)) if size else b""
        known = self.blocks.get(address)
        if known is not None and known.data == data:
            return known
        if known is not None and not (known.data.startswith(data) or data.startswith(known.data)):
            raise SelfModifyingError(
                f"{self.image.where(address)}: these instructions are not those that ran here before; "
                "cycles are counted for code that stays as it is"
            )
        if known is not None and size:
            raise RunError(
                f"{self.image.where(address)}: Unicorn cut this block anew, {len(known.data)} then {size} bytes"
            )
        found = tuple(self._decoder.decode(data, address))
        if sum(one.bytes for one in found) != size:
            raise InstructionError(f"{self.image.where(address)}: not all of {data.hex()} are instructions known here")
        self.blocks[address] = Block(address, found, data)
        return self.blocks[address]

    def edge_cycles(self, block: Block, address: int) -> Cycles:
        """Cycles of a block that goes on at an address."""
        follower = self.blocks[address].instructions if address in self.blocks else ()
        return self.timing.edge(block.instructions, follower[0] if follower else None, True)

    # --- standing still -----------------------------------------------------------------------------------------

    @property
    def current_block(self) -> Block | None:
        """The block that runs."""
        return self.blocks.get(int(self.counters.header[engine.PREVIOUS]) & 0xFFFFFFFF)

    def halt(self, cycles: int) -> tuple[int, int]:
        """Let the core stand still for so many cycles.  Returns where: the place in the call tree, and the block."""
        header = self.counters.header
        header[engine.CLOCK] += cycles * engine.TICKS
        return int(header[engine.NODE]), int(header[engine.PREVIOUS]) & 0xFFFFFFFF

    # --- memory -------------------------------------------------------------------------------------------------

    def read(self, address: int | str, size: int | None = None) -> bytes:
        """Bytes of memory, at an address or of a symbol."""
        if isinstance(address, str):
            symbol = self.image.symbol(address)
            address, size = symbol.address, size or symbol.bytes
        return bytes(self._engine.mem_read(address, size or 4))

    def write(self, address: int | str, data: bytes) -> None:
        """Put bytes into memory."""
        where = self.image.symbol(address).address if isinstance(address, str) else address
        self._engine.mem_write(where, data)

    def core_registers(self) -> dict[str, int]:
        """The core's registers by name, for another emulator to start from."""
        if self._arm:
            arm = self._unicorn.arm_const
            names = {f"r{n}": getattr(arm, f"UC_ARM_REG_R{n}") for n in range(13)}
            names |= {"sp": arm.UC_ARM_REG_SP, "lr": arm.UC_ARM_REG_LR, "xpsr": arm.UC_ARM_REG_XPSR}
        else:
            riscv = self._unicorn.riscv_const
            names = {f"x{n}": getattr(riscv, f"UC_RISCV_REG_X{n}") for n in range(32)}
        return {name: int(self._engine.reg_read(register)) for name, register in names.items()}

    def _argument_registers(self) -> list[int]:
        if self._arm:
            return [getattr(self._unicorn.arm_const, f"UC_ARM_REG_R{n}") for n in range(4)]
        return [getattr(self._unicorn.riscv_const, f"UC_RISCV_REG_A{n}") for n in range(4)]

    def _link_register(self) -> int:
        return int(self._unicorn.arm_const.UC_ARM_REG_LR if self._arm else self._unicorn.riscv_const.UC_RISCV_REG_RA)

    # --- what was counted -------------------------------------------------------------------------------------

    @property
    def cycles(self) -> float:
        """Nominal cycles so far."""
        return float(self.counters.header[engine.CLOCK]) / engine.TICKS

    @property
    def instructions(self) -> int:
        """Instructions so far; those whose condition failed count, as they take their cycle."""
        blocks = self.blocks
        return sum(len(blocks[before].instructions) * count for before, _, _, count in self.counters.rows())

    @property
    def core_title(self) -> str:
        """The core in words."""
        return self.core.title

    def history(self) -> History:
        """When it was in which function."""
        count = int(self.counters.header[engine.EVENT])
        moments = [(float(clock) / engine.TICKS, int(place)) for clock, place in self.counters.events[:count]]
        places = {number: (one.parent, one.function) for number, one in enumerate(self.tree.places)}
        return History(moments, places, count < engine.EVENTS)

    @property
    def stack_used(self) -> int:
        """Bytes of stack at the deepest so far."""
        lowest = int(self.counters.lowest.min())
        return self.stack_top - lowest if lowest < np.iinfo(np.int64).max else 0

    @property
    def exit_code(self) -> int | None:
        """What the firmware gave to semihosting's exit."""
        return self._exit


_EXCEPTION_BREAKPOINT = 7
_MODELS = {
    "cortex-m0": "UC_CPU_ARM_CORTEX_M0",
    "cortex-m0plus": "UC_CPU_ARM_CORTEX_M0",
    "cortex-m3": "UC_CPU_ARM_CORTEX_M3",
    "cortex-m4": "UC_CPU_ARM_CORTEX_M4",
    "cortex-m7": "UC_CPU_ARM_CORTEX_M7",
    "cortex-m33": "UC_CPU_ARM_CORTEX_M33",
}


def _unicorn() -> tuple[Any, Any]:
    try:
        import unicorn
        from unicorn import arm_const, riscv_const  # noqa: F401 - reached through the package
        from unicorn.unicorn_py3.unicorn import uclib
    except ImportError:
        raise MissingError("Unicorn is not installed; pip install 'ska_edge[simulate]'") from None
    return unicorn, uclib


__all__ = ["Machine", "SimError"]
