"""What lies beside core and memory: serial lines that are always ready, and registers that remember.

Enough for firmware to start and to talk, and no more: no timers, no interrupts.  A line takes and gives bytes without
time passing, so cycles hold what the core does, never what it waits for.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .catalogue import Board

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from .flash import Flash

CHIPS = Path(__file__).parent / "chips.toml"
ARM_PRIVATE = ("private peripherals", 0xE0000000, 0x100000)
PATIENCE = 64
"""A core that asks an empty line so often in a row, and does nothing else to it, is idle."""


@dataclass(frozen=True)
class Nvmc:
    """Nordic's flash controller: where its registers lie, how often a word may be written between two erasures, and
    how long a word and a page take; a source for each.
    """

    base: int
    writes_per_word: int
    writes_source: str
    write_us: float
    write_source: str
    erase_ms: float
    erase_source: str


@dataclass(frozen=True)
class Eeprom:
    """How long an AVR's EEPROM takes to write a byte."""

    write_ms: float
    source: str


@dataclass(frozen=True)
class Chip:
    """A chip's register windows, its registers with a will of their own, second addresses of its memory, and its flash
    controller where that is modelled.
    """

    windows: tuple[tuple[str, int, int], ...]
    atomic: tuple[tuple[int, int], ...]
    registers: Mapping[int, Mapping[str, int]]
    aliases: tuple[tuple[int, int, int], ...]
    nvmc: Nvmc | None


def chip_of(board: Board) -> Chip:
    """What is known of a board's chip; an unknown chip has its serial line and nothing else."""
    found, nvmc = _table("chip", board), _table("nvmc", board)
    windows = [tuple(window) for window in found.get("windows", ())]
    if not windows:
        windows = [("serial line", each.base & ~0xFFF, 0x1000) for each in board.serials if each.base is not None]
    if board.core.name.startswith("cortex-"):
        windows.append(ARM_PRIVATE)
    return Chip(
        tuple(windows),
        tuple((low, high) for low, high in found.get("atomic", ())),
        {row["at"]: row for row in found.get("register", ())},
        tuple((at, of, size) for at, of, size in found.get("alias", ())),
        Nvmc(**nvmc) if nvmc else None,
    )


def nvmc_chips() -> list[str]:
    """The chips whose flash controller is modelled."""
    return [mcu for table in _tables()["nvmc"] for mcu in table["mcus"]]


def eeprom_of(board: Board) -> Eeprom | None:
    """What is known of the timing of a board's EEPROM."""
    found = _table("eeprom", board)
    return Eeprom(**found) if found else None


def _tables() -> dict[str, list[dict[str, Any]]]:
    return tomllib.loads(CHIPS.read_text(encoding="utf-8"))


def _table(kind: str, board: Board) -> dict[str, Any]:
    """The first table of a kind that names the board's chip, without those names."""
    found = next((t for t in _tables()[kind] if any(board.mcu.startswith(mcu) for mcu in t["mcus"])), {})
    return {key: value for key, value in found.items() if key != "mcus"}


class Line:
    """The far end of a serial line: what waits to be received, what was sent.  `on_idle` hears of patience lost."""

    def __init__(self, on_idle: Callable[[], None]) -> None:
        self.waiting: deque[int] = deque()
        self.sent = bytearray()
        self._on_idle, self._asked = on_idle, 0

    def has(self) -> bool:
        """Whether a byte waits."""
        if self.waiting:
            self._asked = 0
            return True
        self._asked += 1
        if self._asked >= PATIENCE:
            self._asked = 0
            self._on_idle()
        return False

    def clear(self) -> None:
        """Nothing waits, nothing was said."""
        self.waiting.clear()
        self.sent.clear()
        self._asked = 0

    def take(self) -> int:
        """The next byte, 0 where there is none."""
        return self.waiting.popleft() if self.waiting else 0

    def send(self, byte: int) -> None:
        """What the firmware sends."""
        self._asked = 0
        self.sent.append(byte & 255)


class Registers:
    """Registers of a chip by address, its serial line among them, and its flash controller where it has one here."""

    def __init__(self, board: Board, line: Line) -> None:
        self.chip = chip_of(board)
        self.line = line
        self.flash: Flash | None = None
        self.touched: dict[int, int] = {}
        """Registers that were used and that nothing here models, and how often."""
        self._values: dict[int, int] = {}
        self._lines = {
            each.base: DRIVERS[each.driver] for each in board.serials if each.base and each.driver in DRIVERS
        }

    def power_up(self) -> None:
        """Forget what was written."""
        self._values.clear()

    def read(self, address: int, size: int) -> int:
        """What a read gives."""
        found = self._line_of(address)
        if found is not None:
            value = found[0].read(found[1], self.line)
            if value is not None:
                return value & ((1 << 8 * size) - 1)
        if self.flash is not None and (value := self.flash.read_register(address)) is not None:
            return value
        return self._plain(address & ~3) >> 8 * (address & 3) & ((1 << 8 * size) - 1)

    def write(self, address: int, size: int, value: int) -> None:
        """What a write does."""
        found = self._line_of(address)
        if found is not None and found[0].write(found[1], value, self.line):
            return
        if self.flash is not None and self.flash.write_register(address, value):
            return
        for low, high in self.chip.atomic:
            if low <= address < high:
                kind, address = address >> 12 & 3, address & ~0x3000
                old = self._values.get(address, 0)
                value = (value, old ^ value, old | value, old & ~value)[kind]
        mask = (1 << 8 * size) - 1
        shift = 8 * (address & 3)
        old = self._values.get(address & ~3, 0)
        self._values[address & ~3] = old & ~(mask << shift) | (value & mask) << shift
        self._touch(address & ~3)

    def _plain(self, address: int) -> int:
        known = self.chip.registers.get(address)
        value = self._values.get(address, 0)
        if known is None:
            self._touch(address)
            return value
        if "not_of" in known:
            return ~self._values.get(known["not_of"], 0) & 0xFFFFFFFF
        if "one_hot_of" in known:
            return 1 << (self._values.get(known["one_hot_of"], 0) & (1 << known["bits"]) - 1)
        return value | known["or"]

    def _touch(self, address: int) -> None:
        if not ARM_PRIVATE[1] <= address < ARM_PRIVATE[1] + ARM_PRIVATE[2]:
            self.touched[address] = self.touched.get(address, 0) + 1

    def _line_of(self, address: int) -> tuple[Driver, int] | None:
        for base, driver in self._lines.items():
            if 0 <= address - base < driver.bytes:
                return driver, address - base
        return None


@dataclass(frozen=True)
class Driver:
    """A serial line's registers.  `read` and `write` say None or False where a register merely remembers."""

    bytes: int
    read: Callable[[int, Line], int | None]
    write: Callable[[int, int, Line], bool]


def _simple(
    bytes_: int, data_in: int, data_out: int, status: int, idle: int, ready: int | None, empty: int = 0
) -> Driver:
    """A line with one register for bytes each way and one of flags: `idle` bits always set, `ready` with a byte,
    `empty` without.
    """

    def read(offset: int, line: Line) -> int | None:
        if offset == status:
            return idle | ((ready or 0) if line.has() else empty)
        return line.take() if offset == data_in else None

    def write(offset: int, value: int, line: Line) -> bool:
        if offset == data_out:
            line.send(value)
        return offset == data_out

    return Driver(bytes_, read, write)


def _nordic() -> Driver:
    """Events instead of flags: RXDRDY comes with a byte and again after each one read; TXDRDY after each one sent."""

    def read(offset: int, line: Line) -> int | None:
        if offset == 0x108:
            return int(line.has())
        return line.take() if offset == 0x518 else 1 if offset == 0x11C else None

    def write(offset: int, value: int, line: Line) -> bool:
        if offset == 0x51C:
            line.send(value)
        return offset in (0x51C, 0x108, 0x11C)

    return Driver(0x600, read, write)


def _esp() -> Driver:
    def read(offset: int, line: Line) -> int | None:
        if offset == 0x1C:
            return min(len(line.waiting), 127) if line.has() else 0
        return line.take() if offset == 0 else None

    def write(offset: int, value: int, line: Line) -> bool:
        if offset == 0:
            line.send(value)
        return offset == 0

    return Driver(0x80, read, write)


DRIVERS: Mapping[str, Driver] = {
    "cmsdk-uart": _simple(0x1000, 0x00, 0x00, 0x04, 0, 2),
    "stm32-usart-v1": _simple(0x1C, 0x04, 0x04, 0x00, 0xC0, 0x20),
    "stm32-usart-v2": _simple(0x2C, 0x24, 0x28, 0x1C, 0xC0, 0x20),
    "stm32-usart-v3": _simple(0x2C, 0x24, 0x28, 0x1C, 0xC0, 0x20),
    "pl011": _simple(0x1000, 0x00, 0x00, 0x18, 0x80, 0, 0x10),
    "ns16550": _simple(8, 0, 0, 5, 0x60, 1),
    "nrf-uart": _nordic(),
    "esp-uart": _esp(),
}
