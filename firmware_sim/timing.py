"""Cycles of instructions: a core's table, the rules that hold between two neighbours, and what memory adds.

A core is one TOML file in `cores/`: rows by kind of instruction and rules by name, each with [lowest, nominal, highest]
cycles and the place in the manual or the measurement that says so.  What a rule's name means stands here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .catalogue import Board, Memory
from .decode import BRANCH, NEXT, Instruction
from .errors import BoardError, InstructionError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CORES = Path(__file__).parent / "cores"
STATUSES = ("published", "measured by others", "estimate")
LINE_BYTES = 8
"""Bytes that a flash with wait states hands over at once: 64 bits, the narrowest prefetch buffer on these boards."""


class Cycles(NamedTuple):
    """Lowest, nominal and highest count."""

    low: float
    nominal: float
    high: float

    def __add__(self, other: object) -> Cycles:
        """Both, one after the other."""
        assert isinstance(other, tuple)
        return Cycles(self.low + other[0], self.nominal + other[1], self.high + other[2])

    def times(self, count: int) -> Cycles:
        """So often."""
        return Cycles(self.low * count, self.nominal * count, self.high * count)

    def to_json(self) -> dict[str, float]:
        """Whole numbers where they are."""
        return {name: int(value) if value == int(value) else value for name, value in self._asdict().items()}


NONE = Cycles(0, 0, 0)


@dataclass(frozen=True)
class Row:
    """Cycles of a kind of instruction, with those for each register it moves and, for branches, those when taken."""

    cycles: Cycles
    taken: Cycles
    per_register: int
    section: str


@dataclass(frozen=True)
class Rule:
    """Cycles to add wherever the relation of that name holds between two instructions in a row."""

    name: str
    cycles: Cycles
    section: str


@dataclass(frozen=True)
class Core:
    """A core's table.  `status`: published by the maker, measured by others, or an estimate."""

    name: str
    title: str
    status: str
    source: str
    assumes: str
    rows: Mapping[str, Row]
    rules: tuple[Rule, ...]


def load_core(board: Board) -> Core:
    """The table of a board's core: one that names its chip, else one that names its core.  BoardError without any."""
    tables = {path: tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(CORES.glob("*.toml"))}
    fitting = {path: table for path, table in tables.items() if board.core.name in table["cores"]}
    for path, table in fitting.items():
        if any(board.mcu.startswith(mcu) for mcu in table.get("mcus", ())):
            return _core(path, table)
    for path, table in fitting.items():
        if "mcus" not in table:
            return _core(path, table)
    known = sorted({name for table in tables.values() for name in table["cores"]})
    raise BoardError(f"{board.name}: no cycle table for {board.core.name}; tables exist for {', '.join(known)}")


def load_core_file(path: Path) -> Core:
    """One table by its file."""
    return _core(path, tomllib.loads(path.read_text(encoding="utf-8")))


def _core(path: Path, table: Mapping[str, Any]) -> Core:
    if table["status"] not in STATUSES:
        raise BoardError(f"{path}: status {table['status']!r}; allowed are {', '.join(STATUSES)}")
    rows = {}
    for row in table["row"]:
        cycles = Cycles(*row["cycles"])
        made = Row(cycles, Cycles(*row.get("taken", cycles)), row.get("per_register", 0), row["section"])
        for kind in row["kinds"]:
            if kind in rows:
                raise BoardError(f"{path}: kind {kind!r} has two rows")
            rows[kind] = made
    rules = tuple(Rule(rule["name"], Cycles(*rule["cycles"]), rule["section"]) for rule in table.get("rule", ()))
    for rule in rules:
        if rule.name not in RELATIONS and rule.name not in _TARGETS:
            raise BoardError(f"{path}: rule {rule.name!r}; known are {', '.join([*RELATIONS, *_TARGETS])}")
    return Core(path.stem, table["title"], table["status"], table["source"], table["assumes"], rows, rules)


# --- what the rules mean -----------------------------------------------------------------------------------------

_LOADS = ("load", "load_literal")
_MACS = ("multiply_add", "multiply_long_add", "multiply_dsp_add", "multiply_dsp", "multiply", "multiply_long")
_FLOATS = ("float", "float_multiply_add", "float_divide")


def _uses(first: Instruction, second: Instruction) -> bool:
    return bool(first.writes & second.address_registers)


def _loads_chain(first: Instruction, second: Instruction) -> bool:
    return first.kind in _LOADS and second.kind in _LOADS and not _uses(first, second)


RELATIONS: Mapping[str, Callable[[Instruction, Instruction], bool]] = {
    "load-follows-load": _loads_chain,
    "store-follows-load": lambda a, b: (
        a.kind in _LOADS and b.kind == "store" and not b.register_offset and not _uses(a, b)
    ),
    "nop-follows-load": lambda a, b: a.kind in _LOADS and b.kind == "nop",
    "load-follows-store": lambda a, b: a.kind == "store" and b.kind in ("load", "load_literal", "load_multiple"),
    "store-register-offset": lambda a, b: a.kind == "store" and a.register_offset and b.kind != "nop",
    "address-from-last-result": lambda a, b: (
        a.kind not in _LOADS
        and b.kind in ("load", "store", "load_multiple", "store_multiple")
        and bool((a.writes - {"sp"}) & b.address_registers)
        and not a.indexed
    ),
    "same-base-indexed": lambda a, b: (
        _loads_chain(a, b) and a.indexed and bool(a.address_registers & b.address_registers)
    ),
    "indexed-loads": lambda a, b: _loads_chain(a, b) and b.indexed,
    "it-folds": lambda a, b: a.narrow and b.kind == "it",
    "load-to-use": lambda a, b: a.kind in _LOADS and bool(a.writes & b.reads) and b.kind not in ("store", *_MACS),
    "multiply-to-use": lambda a, b: a.kind in _MACS and bool(a.writes & b.reads) and b.kind not in ("store", *_MACS),
    "shifted-to-use": lambda a, b: a.shifted and bool(a.writes & b.reads),
    "result-to-float-add": lambda a, b: (
        a.kind in _FLOATS and b.kind == "float_multiply_add" and bool(a.writes & b.reads)
    ),
}
"""By name: does it hold between an instruction and the next one?"""

_TARGETS = ("wide-target-unaligned",)


class Fetch:
    """Wait states of the memory that code lies in, at a clock; a flash is no slower than its file says at full clock.

    Lowest: prefetch or cache hide everything.  Highest: every line and every literal waits.  Nominal: behind a cache,
    nothing waits (loops fit); with plain wait states, a jump waits in full and the next lines as far as the
    instructions of the line before do not hide it.
    """

    def __init__(self, board: Board, clock_hz: int | None) -> None:
        self._regions: list[tuple[int, int, int, bool]] = []
        for memory in board.memories:
            waits = wait_states(board, memory, clock_hz)
            if waits:
                self._regions.append(
                    (memory.origin, memory.origin + memory.bytes, waits, memory.access != "wait-states")
                )

    def of(self, block: Sequence[Instruction], own: Cycles, jumped: bool) -> Cycles:
        """What a block adds to its own cycles, when it was jumped to or run into."""
        start, end = block[0].address, block[-1].next_address
        for low, high, waits, cached in self._regions:
            if low <= start < high:
                lines = (end - 1) // LINE_BYTES - start // LINE_BYTES + 1
                rest = lines - (1 if jumped else 0)
                literals = sum(one.kind == "load_literal" for one in block)
                hidden = own.nominal / lines
                nominal = 0.0 if cached else waits * (jumped + literals) + rest * max(0.0, waits + 1 - hidden)
                loads = sum(one.kind.startswith("load") for one in block)
                return Cycles(0, nominal, waits * (lines + loads))
        return NONE


def wait_states(board: Board, memory: Memory, clock_hz: int | None) -> int:
    """Wait states of a region at a clock, in proportion to those at the board's own; none where none are named."""
    if not memory.wait_states or board.clock.hz is None:
        return 0
    return -(-(memory.wait_states + 1) * (clock_hz or board.clock.hz) // board.clock.hz) - 1


class Timing:
    """Cycles of blocks and of the edges between them, for one core and one memory."""

    def __init__(self, core: Core, fetch: Fetch) -> None:
        self.core, self._fetch = core, fetch
        self._rules = [(RELATIONS[rule.name], rule.cycles) for rule in core.rules if rule.name in RELATIONS]
        self._unaligned = next((rule.cycles for rule in core.rules if rule.name in _TARGETS), NONE)

    def instruction(self, one: Instruction, taken: bool = False) -> Cycles:
        """Cycles of an instruction by itself.  Raises InstructionError for a kind the core does not have."""
        row = self.core.rows.get(one.kind)
        if row is None:
            raise InstructionError(
                f"{one.address:#x}: {one.text}: {self.core.title} has no such instruction ({one.kind})"
            )
        cycles = row.taken if taken else row.cycles
        if row.per_register:
            cycles = cycles + (row.per_register * one.registers,) * 3
        return Cycles(min(cycles.low, 1), cycles.nominal, cycles.high) if one.predicated else cycles

    def pair(self, first: Instruction, second: Instruction) -> Cycles:
        """What the neighbourhood of two instructions adds."""
        total = NONE
        for holds, cycles in self._rules:
            if holds(first, second):
                total = total + cycles
        return total

    def each(self, block: Sequence[Instruction], after: Instruction | None) -> list[Cycles]:
        """Cycles of every instruction of a block that goes on at `after`; memory not included."""
        last = block[-1]
        on = after is not None and after.address == last.next_address
        found = [
            self.instruction(one) + self.pair(one, follower) for one, follower in zip(block, block[1:], strict=False)
        ]
        end = self.instruction(last, last.ends == BRANCH and not on)
        if last.ends != NEXT and last.ends != BRANCH and on and last.predicated:
            end = Cycles(1, 1, 1)
        if after is not None and on:
            end = end + self.pair(last, after)
        jumps = not on or (last.ends not in (NEXT, BRANCH) and not last.predicated)  # a jump may lead to the next one
        if after is not None and jumps and not after.narrow and after.address & 2:
            end = end + self._unaligned
        return [*found, end]

    def edge(self, block: Sequence[Instruction], after: Instruction | None, jumped: bool) -> Cycles:
        """Cycles of a block that was jumped to, or run into, and goes on at `after`."""
        total = NONE
        for cycles in self.each(block, after):
            total = total + cycles
        return total + self._fetch.of(block, total, jumped)
