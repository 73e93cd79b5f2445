"""Flash that the firmware writes itself: Nordic's controller, its rules, and the time it takes.

Flash is mapped without the right to be written, so reading it costs nothing and every store to it is told.  What the
controller allows is then done from here; what it does not allow is a fault.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .catalogue import Store
from .errors import BusFault, FlashError, SelfModifyingError
from .timing import NONE, Cycles
from .wear import Breach, Page, Wear

if TYPE_CHECKING:
    from .machine import Block, Machine
    from .peripherals import Nvmc

READY, READY_NEXT, CONFIG = 0x400, 0x408, 0x504
ERASE_PAGE = (0x508, 0x510)  # ERASEPAGE, also called ERASEPCR1; ERASEPCR0
NOT_MODELLED = {0x50C: "ERASEALL", 0x514: "ERASEUICR", 0x518: "ERASEPAGEPARTIAL"}
READING, WRITING, ERASING = range(3)
WORD_BYTES = 4
ERASED = 0xFF


@dataclass(frozen=True)
class Log:
    """What a flash went through so far.  `writes` and `erasures` by page; `halts` by place in the call tree, block and
    kind of operation; `beyond` and `unset` by where they happened.
    """

    writes: Counter[int] = field(default_factory=Counter)
    erasures: Counter[int] = field(default_factory=Counter)
    halts: Counter[tuple[int, int, int]] = field(default_factory=Counter)
    beyond: Counter[str] = field(default_factory=Counter)
    unset: Counter[str] = field(default_factory=Counter)

    def copy(self) -> Log:
        """As it is now."""
        return Log(*(Counter(each) for each in self._all()))

    def since(self, before: Log | None) -> Log:
        """What was added since a copy."""
        return self if before is None else Log(*(a - b for a, b in zip(self._all(), before._all(), strict=True)))

    def _all(self) -> tuple[Counter[Any], ...]:
        return self.writes, self.erasures, self.halts, self.beyond, self.unset


class Flash:
    """Nordic's NVMC and the flash behind it."""

    def __init__(self, machine: Machine, nvmc: Nvmc, store: Store) -> None:
        assert store.erase_bytes
        self.memory = machine.board.memory(store.memory)
        self.log = Log()
        self._machine, self._nvmc, self._store, self._page = machine, nvmc, store, store.erase_bytes
        self._mode = READING
        self._written: dict[int, int] = {}
        clock = machine.clock_hz or 0
        self._cost = {WRITING: round(nvmc.write_us * 1e-6 * clock), ERASING: round(nvmc.erase_ms * 1e-3 * clock)}

    def power_up(self) -> None:
        """The registers as after a reset; what was written stays."""
        self._mode = READING

    def holds(self, address: int) -> bool:
        """Whether an address lies in this flash."""
        return 0 <= address - self.memory.origin < self.memory.bytes

    def cost(self, kind: int) -> Cycles:
        """Cycles that the core stands still for one operation; its data sheet gives one figure, hence no range."""
        return Cycles(*(self._cost[kind],) * 3)

    # --- the firmware's side -------------------------------------------------------------------------------------

    def read_register(self, address: int) -> int | None:
        """What a register of the controller reads as; None where it is none of its own."""
        offset = address - self._nvmc.base
        return 1 if offset in (READY, READY_NEXT) else self._mode if offset == CONFIG else None

    def write_register(self, address: int, value: int) -> bool:
        """Whether it was a register of the controller, and what it does is done."""
        offset = address - self._nvmc.base
        if offset == CONFIG:
            self._mode = value & 7
        elif offset in ERASE_PAGE:
            self._erase(value)
        elif offset in NOT_MODELLED:
            raise FlashError(
                f"{self._storing()}: starts NVMC.{NOT_MODELLED[offset]}, which is not simulated; "
                "erase page by page with ERASEPAGE"
            )
        return offset == CONFIG or offset in ERASE_PAGE

    def store_word(self, address: int, size: int, value: int) -> None:
        """A store to the flash.  Raises BusFault where the controller does not take it."""
        machine = self._machine
        said = f"{machine.where()}: writes {size} bytes at {address:#010x} in {self.memory.name}"
        inside = machine.image.function_at(address) if self._is_code(address, address + size) else None
        if inside is not None and (not inside.bytes or address < inside.address + inside.bytes):
            raise SelfModifyingError(f"{said}, its own code, {inside.name}")
        if self._mode != WRITING:
            raise BusFault(
                f"{said}, which cannot be written while NVMC.CONFIG is {self._mode}; "
                f"the firmware must set it ({self._nvmc.base + CONFIG:#010x}) to {WRITING} first"
            )
        if size != WORD_BYTES or address % WORD_BYTES:
            raise BusFault(f"{said}; the controller takes whole words of {WORD_BYTES} bytes at multiples of them")
        old = struct.unpack("<I", machine.read(address, WORD_BYTES))[0]
        wanted = value & 0xFFFFFFFF
        now = struct.pack("<I", old & wanted)
        self._refuse_code_that_ran(address, now, said)
        machine.write(address, now)
        count = self._written.get(address, self._stored(address)) + 1
        self._written[address] = count
        self.log.writes[self._page_of(address)] += 1
        if count > self._nvmc.writes_per_word:
            self.log.beyond[machine.where()] += 1
        if wanted & ~old:
            self.log.unset[machine.where()] += 1
        self._halt(WRITING)

    def _erase(self, address: int) -> None:
        machine, page = self._machine, self._page_of(address)
        said = f"{self._storing()}: erases {address:#010x}"
        if self._mode != ERASING:
            raise FlashError(
                f"{said} while NVMC.CONFIG is {self._mode}, which does nothing; "
                f"the firmware must set it ({self._nvmc.base + CONFIG:#010x}) to {ERASING} first"
            )
        if not self.holds(address) or address != page:
            raise FlashError(
                f"{said}; allowed are starts of pages of {self._page:,} bytes from {self.memory.origin:#010x} to "
                f"{self.memory.origin + self.memory.bytes - self._page:#010x}"
            )
        if self._is_code(page, page + self._page):
            raise SelfModifyingError(f"{said}, a page that holds its own code")
        blank = bytes([ERASED]) * self._page
        self._refuse_code_that_ran(page, blank, said)
        machine.write(page, blank)
        self._written.update(dict.fromkeys(range(page, page + self._page, WORD_BYTES), 0))
        self.log.erasures[page] += 1
        self._halt(ERASING)

    def _halt(self, kind: int) -> None:
        place, block = self._machine.halt(self._cost[kind])
        self.log.halts[place, block, kind] += 1

    # --- where things are ----------------------------------------------------------------------------------------

    def _page_of(self, address: int) -> int:
        return address - (address - self.memory.origin) % self._page

    def _stored(self, address: int) -> int:
        """How often a word was written when the image was flashed."""
        return int(any(s.load <= address < s.load + len(s.data) for s in self._machine.image.segments))

    def _is_code(self, start: int, end: int) -> bool:
        sections = self._machine.image.sections
        return any(s.executable and s.address < end and start < s.address + s.bytes for s in sections)

    def _refuse_code_that_ran(self, address: int, data: bytes, said: str) -> None:
        """Instructions that ran were counted for what they were; those of a second image may have come by writing."""
        for block in self._machine.blocks.values():
            start, end = max(address, block.address), min(address + len(data), block.address + len(block.data))
            if start < end and data[start - address : end - address] != _part(block, start, end):
                raise SelfModifyingError(f"{said}, where code has run; cycles are counted for code that stays as it is")

    def _storing(self) -> str:
        """Where the store to a register stands: the one store of the block that runs, or the block's start."""
        block = self._machine.current_block
        stores = [one.address for one in block.instructions if one.kind == "store"] if block else []
        return self._machine.where(stores[0] if len(stores) == 1 else block.address if block else None)

    # --- what came of it -----------------------------------------------------------------------------------------

    def halted(self, since: Log | None = None) -> Cycles:
        """Cycles that the core stood still."""
        total = NONE
        for (_, _, kind), count in self.log.since(since).halts.items():
            total = total + self.cost(kind).times(count)
        return total

    def wear(self, since: Log | None = None) -> Wear | None:
        """What was written, or written since a copy of the log; None where nothing was."""
        log = self.log.since(since)
        touched = sorted({*log.writes, *log.erasures})
        if not touched:
            return None
        return Wear(
            self.memory.name,
            WORD_BYTES,
            self._page,
            {page: Page(log.erasures[page], log.writes[page]) for page in touched},
            self._store.endurance_cycles,
            self._store.endurance_source,
            self.halted(since),
            self._nvmc.writes_per_word,
            _breach(log.beyond),
            _breach(log.unset),
        )


def _part(block: Block, start: int, end: int) -> bytes:
    return block.data[start - block.address : end - block.address]


def _breach(found: Counter[str]) -> Breach:
    return Breach(found.total(), next(iter(found), ""))
