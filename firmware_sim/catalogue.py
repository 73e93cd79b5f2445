"""The board catalogue: one TOML file a board in `boards/`, checked when it is read, as frozen dataclasses.

Every table that holds a number holds a `source` beside it (`table` says what a source is).  A number nobody could vouch
for is left out: absent means unknown, never zero.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from .errors import BoardError
from .table import Table, read_table

BOARDS = Path(__file__).parent / "boards"

CORES = (
    *("cortex-m0", "cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33"),
    *("rv32imc", "rv32ec", "rv32imac", "avr5", "avr6"),
)
FPUS = ("none", "single", "double")
KINDS = ("ram", "flash", "rom", "eeprom")
ROLES = ("code", "data", "both", "spare")
SPACES = ("unified", "program", "data", "eeprom")
ACCESSES = ("direct", "wait-states", "cached", "xip-cached", "unknown")
ENDS = ("start", "end")
SERIALS = ("uart", "usb-cdc", "semihosting")
EMULATORS = ("qemu", "simavr")

LARGEST_REGION = 1 << 30
ADDRESSES = 1 << 32
T = TypeVar("T")


@dataclass(frozen=True)
class Core:
    """The processor core.  `dsp`: has the packed 16-bit instructions (SMLAD, PKHTB, QADD16)."""

    name: str
    fpu: str
    dsp: bool
    source: str


@dataclass(frozen=True)
class Clock:
    """Core clock in Hz that the firmware sets, which need not be the fastest allowed.  None: the machine has none."""

    hz: int | None
    source: str


@dataclass(frozen=True)
class Memory:
    """One region: `bytes` from `origin`, in address space `space` (AVR has three, all others one).

    `role`: `code` holds code and constants, `data` all that is written, `both` does both, `spare` is not used by our
    linker scripts.  `access`: `direct` at the core's speed; `wait-states`, `wait_states` of them a fetch at `Clock.hz`
    before any prefetch or cache; `cached`, on-chip memory behind a cache; `xip-cached`, a serial chip behind a cache.
    """

    name: str
    kind: str
    role: str
    space: str
    origin: int
    bytes: int
    access: str
    wait_states: int | None
    note: str
    source: str


@dataclass(frozen=True)
class Reserved:
    """Bytes at one end of a region that are not ours: a bootloader, a second stage, the boot ROM's variables."""

    memory: str
    at: str
    bytes: int
    what: str
    source: str


@dataclass(frozen=True)
class Store:
    """Where snapshots go and how it is written.

    `erase_bytes`: the unit of erasure at the end of the region, 1 where bytes are overwritten one by one.
    `write_bytes`: the smallest write.  `endurance_cycles`: erasures of one unit, guaranteed.  None is unknown.
    """

    memory: str
    erase_bytes: int | None
    write_bytes: int | None
    endurance_cycles: int | None
    note: str
    source: str
    endurance_source: str


@dataclass(frozen=True)
class Uf2:
    """Copy a UF2 file onto the drive `volume`; blocks carry `family_id`."""

    family_id: int
    volume: str
    note: str
    source: str


@dataclass(frozen=True)
class Pyocd:
    """`pyocd flash --target TARGET`."""

    target: str
    note: str
    source: str


@dataclass(frozen=True)
class Openocd:
    """`openocd -f INTERFACE -f TARGET`."""

    interface: str
    target: str
    note: str
    source: str


@dataclass(frozen=True)
class Avrdude:
    """`avrdude -p PART -c PROGRAMMER -b BAUD`."""

    part: str
    programmer: str
    baud: int
    note: str
    source: str


@dataclass(frozen=True)
class Esptool:
    """`esptool --chip CHIP --baud BAUD write_flash OFFSET`."""

    chip: str
    baud: int
    offset: int
    note: str
    source: str


@dataclass(frozen=True)
class Gdb:
    """`load` of gdb, through the stub of the board's emulator or debug server."""

    note: str
    source: str


Upload = Uf2 | Pyocd | Openocd | Avrdude | Esptool | Gdb
METHODS: Mapping[str, type[Upload]] = {
    "uf2": Uf2,
    "pyocd": Pyocd,
    "openocd": Openocd,
    "avrdude": Avrdude,
    "esptool": Esptool,
    "gdb": Gdb,
}


@dataclass(frozen=True)
class Serial:
    """A line to the host.  `driver` names the register layout, `base` the peripheral's address; pins as the chip's."""

    kind: str
    driver: str
    peripheral: str
    base: int | None
    tx: str
    rx: str
    baud: int | None
    note: str
    source: str


@dataclass(frozen=True)
class RunCurrent:
    """Supply current of the chip alone while it computes, in mA at `clock_hz` and `volts`, under `conditions`."""

    milliamperes: float
    clock_hz: int
    volts: float
    conditions: str
    source: str


@dataclass(frozen=True)
class Emulator:
    """An emulator that runs this board's images: `program` with `machine` (QEMU) or the MCU's name (simavr)."""

    kind: str
    program: str
    machine: str
    note: str
    source: str


@dataclass(frozen=True)
class Board:
    """A board, as its file says.  `silicon` is False for machines that exist only in an emulator."""

    name: str
    title: str
    mcu: str
    silicon: bool
    notes: str
    core: Core
    clock: Clock
    memories: tuple[Memory, ...]
    reserved: tuple[Reserved, ...]
    store: Store | None
    uploads: tuple[Upload, ...]
    serials: tuple[Serial, ...]
    run_currents: tuple[RunCurrent, ...]
    emulator: Emulator | None

    @property
    def code(self) -> Memory:
        """The region of code and constants."""
        return next(memory for memory in self.memories if memory.role in ("code", "both"))

    @property
    def data(self) -> Memory:
        """The region of everything that is written."""
        return next(memory for memory in self.memories if memory.role in ("data", "both"))

    @property
    def shared(self) -> bool:
        """Whether code and data share one region."""
        return self.code is self.data

    @property
    def ram_bytes(self) -> int:
        """RAM that an image may use: one region, because its tensors lie in one piece."""
        return self.usable(self.data)[1]

    @property
    def flash_bytes(self) -> int:
        """Bytes that code and constants may use."""
        return self.usable(self.code)[1]

    def memory(self, name: str) -> Memory:
        """The region of that name, which the checks of `load_board_file` have seen."""
        return next(memory for memory in self.memories if memory.name == name)

    def usable(self, memory: Memory) -> tuple[int, int]:
        """Origin and bytes of a region without what is reserved."""
        taken = {end: sum(r.bytes for r in self.reserved if (r.memory, r.at) == (memory.name, end)) for end in ENDS}
        return memory.origin + taken["start"], memory.bytes - taken["start"] - taken["end"]

    def upload(self, method: type[T]) -> T | None:
        """The parameters of an upload method, or None.

        >>> load_board("arduino_uno").upload(Avrdude).part
        'm328p'
        """
        return next((upload for upload in self.uploads if isinstance(upload, method)), None)

    def to_json(self) -> dict[str, Any]:
        """Everything known, and the sums, as JSON-ready data; methods by name, absent numbers null."""
        result = asdict(self)
        result["uploads"] = [{"method": method_of(upload), **asdict(upload)} for upload in self.uploads]
        return {**result, "ram_bytes": self.ram_bytes, "flash_bytes": self.flash_bytes}


def method_of(upload: Upload) -> str:
    """Name of an upload method."""
    return next(name for name, kind in METHODS.items() if isinstance(upload, kind))


def board_names() -> list[str]:
    """Names of all boards in the catalogue, in order.

    >>> "rpi_pico" in board_names()
    True
    """
    return sorted(path.stem for path in BOARDS.glob("*.toml"))


def load_board(name: str) -> Board:
    """A board of the catalogue, or a BoardError with the nearest names.

    >>> load_board("arduino_uno").ram_bytes
    2048
    """
    names = board_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"nearest: {', '.join(near)}" if near else f"known are {', '.join(names)}"
        raise BoardError(f"board {name[:60]!r}: not in the catalogue; {hint}")
    return load_board_file(BOARDS / f"{name}.toml")


def load_board_file(path: str | Path) -> Board:
    """Read and check a board's file.  Raises BoardError that names file, key, what was found and what is allowed."""
    path = Path(path)
    return _board(read_table(path, BoardError), path.stem)


def _board(top: Table, stem: str) -> Board:
    core = top.table("core")
    clock = top.table("clock")
    store = top.optional_table("store")
    emulator = top.optional_table("emulator")
    board = Board(
        name=top.text("name"),
        title=top.text("title"),
        mcu=top.text("mcu"),
        silicon=top.flag("silicon"),
        notes=top.text("notes", ""),
        core=core.done(Core(core.choice("name", CORES), core.choice("fpu", FPUS), core.flag("dsp"), core.source())),
        clock=clock.done(Clock(clock.optional("hz", 32_768, 2_000_000_000), clock.source())),
        memories=top.tables("memory", _memory, least=1),
        reserved=top.tables("reserved", _reserved),
        store=store.done(_store(store)) if store else None,
        uploads=top.tables("upload", _upload, least=1),
        serials=top.tables("serial", _serial, least=1),
        run_currents=top.tables("run_current", _run_current),
        emulator=emulator.done(_emulator(emulator)) if emulator else None,
    )
    top.done(board)
    if board.name != stem or not re.fullmatch(r"[a-z0-9_]+", stem):
        raise top.fail(f"name = {board.name!r}; expected the file's own name, {stem!r}, in a-z, 0-9 and _")
    if board.silicon and board.clock.hz is None:
        raise top.fail("[clock]: key 'hz' is missing; only machines of an emulator may do without")
    _check_memories(top, board)
    return board


def _check_memories(top: Table, board: Board) -> None:
    """Names once, roles once, no overlap, references that lead somewhere, reservations that leave something."""
    names = [memory.name for memory in board.memories]
    for name in names:
        if names.count(name) > 1:
            raise top.fail(f"memory {name!r} stands there {names.count(name)} times; names are unique")
    for role, roles in (("code", ("code", "both")), ("data", ("data", "both"))):
        found = [memory.name for memory in board.memories if memory.role in roles]
        if len(found) != 1:
            raise top.fail(f"regions of role {role!r}: {', '.join(found) or 'none'}; expected exactly one")
    for number, memory in enumerate(board.memories):
        for other in board.memories[:number]:
            apart = memory.origin + memory.bytes <= other.origin or other.origin + other.bytes <= memory.origin
            if memory.space == other.space and not apart:
                raise top.fail(f"memory {memory.name!r} overlaps {other.name!r} in space {memory.space!r}")
    for table, name in [("reserved", r.memory) for r in board.reserved] + (
        [("store", board.store.memory)] if board.store else []
    ):
        if name not in names:
            raise top.fail(f"[{table}]: memory = {name!r}; allowed are {', '.join(names)}")
    for memory in board.memories:
        if board.usable(memory)[1] <= 0:
            raise top.fail(f"memory {memory.name!r}: reservations leave nothing of its {memory.bytes} bytes")
    if (
        board.store
        and board.store.memory != board.code.name
        and board.memory(board.store.memory).kind not in ("flash", "eeprom")
    ):
        raise top.fail(f"[store]: memory = {board.store.memory!r} forgets without power; expected flash or eeprom")


def _memory(table: Table) -> Memory:
    memory = Memory(
        name=table.text("name"),
        kind=table.choice("kind", KINDS),
        role=table.choice("role", ROLES),
        space=table.choice("space", SPACES, "unified"),
        origin=table.whole("origin", 0, ADDRESSES - 1),
        bytes=table.whole("bytes", 16, LARGEST_REGION),
        access=table.choice("access", ACCESSES),
        wait_states=table.optional("wait_states", 0, 64),
        note=table.text("note", ""),
        source=table.source(),
    )
    if memory.origin + memory.bytes > ADDRESSES:
        raise table.fail(f"origin + bytes = {memory.origin + memory.bytes:#x}; allowed are at most {ADDRESSES:#x}")
    if memory.role in ("data", "both") and memory.kind != "ram":
        raise table.fail(f"role {memory.role!r} of kind {memory.kind!r}; data lie in RAM")
    if memory.wait_states is not None and memory.access != "wait-states":
        raise table.fail(f"wait_states with access {memory.access!r}; they belong to access 'wait-states'")
    return memory


def _reserved(table: Table) -> Reserved:
    return Reserved(
        memory=table.text("memory"),
        at=table.choice("at", ENDS),
        bytes=table.whole("bytes", 1, LARGEST_REGION),
        what=table.text("what"),
        source=table.source(),
    )


def _store(table: Table) -> Store:
    endurance = table.optional("endurance_cycles", 1, 100_000_000)
    return Store(
        memory=table.text("memory"),
        erase_bytes=table.optional("erase_bytes", 1, 1 << 20),
        write_bytes=table.optional("write_bytes", 1, 1 << 16),
        endurance_cycles=endurance,
        note=table.text("note", ""),
        source=table.source(),
        endurance_source="" if endurance is None else table.source("endurance_source"),
    )


def _upload(table: Table) -> Upload:
    method = table.choice("method", tuple(METHODS))
    if method == "uf2":
        return Uf2(table.whole("family_id", 1, ADDRESSES - 1), table.text("volume"), *_rest(table))
    if method == "pyocd":
        return Pyocd(table.text("target"), *_rest(table))
    if method == "openocd":
        return Openocd(table.text("interface"), table.text("target"), *_rest(table))
    if method == "avrdude":
        return Avrdude(table.text("part"), table.text("programmer"), _baud(table), *_rest(table))
    if method == "esptool":
        return Esptool(table.text("chip"), _baud(table), table.whole("offset", 0, LARGEST_REGION), *_rest(table))
    return Gdb(*_rest(table))


def _rest(table: Table) -> tuple[str, str]:
    """Note and source, in the order of every upload method."""
    return table.text("note", ""), table.source()


def _baud(table: Table) -> int:
    return table.whole("baud", 300, 4_000_000)


def _serial(table: Table) -> Serial:
    kind = table.choice("kind", SERIALS)
    wired = kind == "uart"
    return Serial(
        kind=kind,
        driver=table.text("driver", None if wired else ""),
        peripheral=table.text("peripheral", None if wired else ""),
        base=table.whole("base", 0, ADDRESSES - 1) if wired else None,
        tx=table.text("tx", ""),
        rx=table.text("rx", ""),
        baud=table.optional("baud", 300, 4_000_000),
        note=table.text("note", ""),
        source=table.source(),
    )


def _run_current(table: Table) -> RunCurrent:
    return RunCurrent(
        milliamperes=table.real("milliamperes", 0.001, 2000.0),
        clock_hz=table.whole("clock_hz", 32_768, 2_000_000_000),
        volts=table.real("volts", 0.5, 12.0),
        conditions=table.text("conditions"),
        source=table.source(),
    )


def _emulator(table: Table) -> Emulator:
    return Emulator(
        kind=table.choice("kind", EMULATORS),
        program=table.text("program"),
        machine=table.text("machine"),
        note=table.text("note", ""),
        source=table.source(),
    )
