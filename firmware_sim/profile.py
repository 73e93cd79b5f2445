"""Where the cycles went: by function, by operation, layer and phase, and as call stacks for a flame graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .activity import Activity, Operation
from .decode import Instruction
from .flash import Log
from .machine import Machine
from .timing import NONE, Cycles

OUTSIDE = "outside the operations"


@dataclass
class Share:
    """What one function, operation or stack took."""

    instructions: int = 0
    cycles: Cycles = NONE
    total: Cycles = NONE
    calls: int = 0

    def add(self, instructions: int, cycles: Cycles) -> None:
        """So much more."""
        self.instructions += instructions
        self.cycles = self.cycles + cycles


@dataclass(frozen=True)
class Profile:
    """Shares by name.  `functions`: a function's own, `total` with what it called.  `operations`: by operation, with
    what its call called.  `stacks`: by call stack, inlined functions among them, nominal cycles.
    """

    instructions: int
    cycles: Cycles
    functions: dict[str, Share]
    operations: dict[Operation, Share]
    outside: Share
    stacks: dict[tuple[str, ...], float]


@dataclass(frozen=True)
class Visit:
    """A block that ran `count` times in one place of the call tree, with cycles by instruction.

    `goes_to`: the place it led to; `entered`: that is a function just called.
    """

    place: int
    count: int
    instructions: tuple[Instruction, ...]
    cycles: list[Cycles]
    goes_to: int
    entered: bool


@dataclass(frozen=True)
class Mark:
    """All counts up to a moment: edges by their blocks and place, and what the flash went through."""

    edges: Mapping[tuple[int, int, int], int]
    flash: Log | None


def visits(machine: Machine, since: Mark | None = None) -> Iterator[Visit]:
    """Every edge that was taken, as the block it began in.  `since`: counts to be left out, see `mark`."""
    known = since.edges if since else {}
    for before, address, place, count in machine.counters.rows():
        count -= known.get((before, address, place), 0)
        block = machine.blocks[before]
        if count <= 0 or not block.instructions:
            continue
        follower = machine.blocks[address].instructions if address in machine.blocks else ()
        each = machine.timing.each(block.instructions, follower[0] if follower else None)
        whole = machine.edge_cycles(block, address)
        rest = tuple(a - sum(b) for a, b in zip(whole, zip(*each, strict=True), strict=True))
        each[0] = each[0] + rest  # waiting for memory, at the block's start
        goes_to = machine.tree.after(place, block.instructions[-1], address)
        entered = goes_to != place and machine.tree.places[goes_to].function == address
        yield Visit(place, count, block.instructions, each, goes_to, entered)


def mark(machine: Machine) -> Mark:
    """All counts up to now, for a profile of what comes after."""
    edges = {(before, address, place): count for before, address, place, count in machine.counters.rows()}
    return Mark(edges, machine.flash.log.copy() if machine.flash else None)


def profile(machine: Machine, activity: Activity | None, since: Mark | None = None) -> Profile:
    """Attribute everything that ran (since a `mark`)."""
    names = _Names(machine, activity)
    found = Profile(0, NONE, {}, {}, Share(), {})
    instructions, cycles = 0, NONE
    for visit in visits(machine, since):
        path = names.path(visit.place)
        own = names.function(visit.instructions[0].address)
        sums: dict[tuple[tuple[str, ...], Operation | None], tuple[int, Cycles]] = {}
        for one, cost in zip(visit.instructions, visit.cycles, strict=True):
            key = names.of(visit.place, one.address)
            old = sums.get(key, (0, NONE))
            sums[key] = (old[0] + 1, old[1] + cost)
        block = NONE
        for (stack, operation), (count, cost) in sums.items():
            cost = cost.times(visit.count)
            block = block + cost
            _attribute(found, stack, operation, count * visit.count, cost)
        _charge(found, path, own, len(visit.instructions) * visit.count, block)
        if visit.entered:
            found.functions.setdefault(names.path(visit.goes_to)[-1], Share()).calls += visit.count
        instructions += len(visit.instructions) * visit.count
        cycles = cycles + block
    for place, address, cost in _halts(machine, since):
        _attribute(found, *names.of(place, address), 0, cost)
        _charge(found, names.path(place), names.function(address), 0, cost)
        cycles = cycles + cost
    return Profile(instructions, cycles, found.functions, found.operations, found.outside, found.stacks)


def _attribute(
    found: Profile, stack: tuple[str, ...], operation: Operation | None, instructions: int, cost: Cycles
) -> None:
    """To a call stack and an operation."""
    found.stacks[stack] = found.stacks.get(stack, 0.0) + cost.nominal
    target = found.outside if operation is None else found.operations.setdefault(operation, Share())
    target.add(instructions, cost)


def _charge(found: Profile, path: list[str], own: str, instructions: int, cost: Cycles) -> None:
    """To a function, and to the total of each that called it."""
    found.functions.setdefault(own, Share()).add(instructions, cost)
    for name in {*path, own}:
        share = found.functions.setdefault(name, Share())
        share.total = share.total + cost


def _halts(machine: Machine, since: Mark | None) -> Iterator[tuple[int, int, Cycles]]:
    """Where the core stood still for its flash: place in the call tree, block, cycles."""
    if machine.flash is not None:
        for (place, block, kind), count in machine.flash.log.since(since.flash if since else None).halts.items():
            yield place, block, machine.flash.cost(kind).times(count)


class _Names:
    """Names of places and addresses, looked up once."""

    def __init__(self, machine: Machine, activity: Activity | None) -> None:
        self._machine, self._activity = machine, activity
        self._lines = {(one.file, one.line): one for one in activity.operations} if activity else {}
        self._known: dict[tuple[int, int], tuple[tuple[str, ...], Operation | None]] = {}
        self._frames: dict[int, tuple[tuple[str, ...], Operation | None]] = {}
        self._paths: dict[int, tuple[list[str], tuple[str, ...], Operation | None]] = {}

    def function(self, address: int) -> str:
        """The function an address lies in."""
        function = self._machine.image.function_at(address)
        return function.name if function is not None else "?"

    def path(self, place: int) -> list[str]:
        """Functions from the outermost call to this place."""
        return self._place(place)[0]

    def of(self, place: int, address: int) -> tuple[tuple[str, ...], Operation | None]:
        """Call stack and operation of an instruction that runs in a place."""
        key = (place, address)
        if key not in self._known:
            _, stack, operation = self._place(place)
            inner, own = self._at(address)
            self._known[key] = ((*stack, *inner), operation or own)
        return self._known[key]

    def _place(self, place: int) -> tuple[list[str], tuple[str, ...], Operation | None]:
        if place not in self._paths:
            if place <= 0:
                self._paths[place] = ([], (), None)
            else:
                here = self._machine.tree.places[place]
                functions, stack, operation = self._place(here.parent)
                inner, own = self._at(here.site) if here.site >= 0 else ((), None)
                self._paths[place] = (
                    [*functions, self.function(here.function)],
                    (*stack, *inner),
                    operation or own,
                )
        return self._paths[place]

    def _at(self, address: int) -> tuple[tuple[str, ...], Operation | None]:
        if address not in self._frames:
            frames = self._machine.image.frames(address)
            operation = next((self._lines[f.file, f.line] for f in frames if (f.file, f.line) in self._lines), None)
            self._frames[address] = (tuple(frame.function for frame in frames), operation)
        return self._frames[address]
