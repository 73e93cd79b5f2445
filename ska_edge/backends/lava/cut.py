"""A Program cut into a connection and a soma a layer, and the messages that pass between them.

Operations go where their layer and site say.  Operations of no layer (a counter's advance, a mask for the input) are
done again by every part that needs them, as every core counts its own time steps.  What one part writes and another
reads becomes a message along one of three kinds of wire:

    connection n -> soma n          what the synapses sum up
    soma n -> connection n          the third factor, and whatever else synapses work with
    soma n -> connection n + 1      decisions, the only thing that crosses layers

Each section becomes a fixed list of instructions a part: send, receive, do.  All lists follow one total order, so that
parts which run by themselves and block on messages cannot wait for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from ...errors import FitError
from ...operations import Op, OuterUpdate, Role, Site, Update
from ...program import Program

Key: TypeAlias = "tuple[int, int]"
_DO, _DONE = 1 << 20, (1 << 20) + 1  # hops of a message sort before the operation that needs it


class Wire(str, Enum):
    """Where a message goes, seen from the part that sends it."""

    PEER = "peer"
    ABOVE = "above"


@dataclass(frozen=True, order=True)
class Part:
    """One process: the synapses of a layer, or its somas."""

    layer: int
    site: Site

    @property
    def name(self) -> str:
        """`connection1`, `soma1`."""
        return f"{'connection' if self.site is Site.SYNAPSE else 'soma'}{self.layer}"


@dataclass(frozen=True)
class Message:
    """Tensors that travel together.  `position`: the operation for whose sake; it is sent only where that is run."""

    source: Part
    target: Part
    position: int
    tensors: tuple[str, ...]

    @property
    def wire(self) -> Wire:
        """Which of the sender's wires."""
        return Wire.PEER if self.source.layer == self.target.layer else Wire.ABOVE


@dataclass(frozen=True)
class Do:
    """An operation of the Program; `learning`: it is done in Lava's learning phase."""

    position: int
    op: Op
    learning: bool = False


@dataclass(frozen=True)
class Send:
    """Put a message on its wire."""

    message: Message


@dataclass(frozen=True)
class Receive:
    """Take a message from its wire."""

    message: Message


Instruction: TypeAlias = "Do | Send | Receive"


def position_of(instruction: Instruction) -> int:
    """The operation that an instruction belongs to."""
    return instruction.position if isinstance(instruction, Do) else instruction.message.position


@dataclass(frozen=True)
class Cut:
    """Parts, instructions by section and part, which tensors each part holds, and who has the last word on each.

    `homes`: the part that holds a tensor's value after a section.  `writers`: by section and position, the part that
    did the operation.  `wires`: elements of the longest message on each (source, target).
    """

    program: Program
    parts: tuple[Part, ...]
    instructions: dict[str, dict[Part, tuple[Instruction, ...]]]
    held: dict[Part, frozenset[str]]
    homes: dict[str, Part]
    writers: dict[str, tuple[Part, ...]]
    wires: dict[tuple[Part, Part], int]

    def messages(self, section: str) -> Iterator[Message]:
        """Every message of a run of the section."""
        for instructions in self.instructions[section].values():
            yield from (each.message for each in instructions if isinstance(each, Send))

    def most_messages(self) -> int:
        """The most messages that one wire carries in one run: what its buffer must hold."""
        counts: dict[tuple[str, Part, Part], int] = {}
        for section in self.instructions:
            for message in self.messages(section):
                wire = (section, message.source, message.target)
                counts[wire] = counts.get(wire, 0) + 1
        return max(counts.values(), default=1)


def cut(program: Program) -> Cut:
    """Cut a Program by layer and site.

    Raises FitError where one layer writes what a layer below it, or a layer further up, reads.
    """
    ops = [op for section in program.sections.values() for op in section]
    layers = sorted({op.layer for op in ops if op.layer is not None}) or [1]
    parts = tuple(Part(layer, site) for layer in layers for site in (Site.SYNAPSE, Site.SOMA))
    common = _common(program)
    homes: dict[str, Part] = {}
    assigned: dict[str, list[tuple[Part, ...]]] = {}
    for section, section_ops in program.sections.items():
        assigned[section] = [()] * len(section_ops)
        part = parts[0]
        for position, op in enumerate(section_ops):
            part = part if op.layer is None else Part(op.layer, op.site)
            if op not in common:
                assigned[section][position] = (part,)
                for name in op.outputs().values():
                    homes.setdefault(name, part)
    keepers: dict[str, tuple[Part, ...]] = {name: (home,) for name, home in homes.items()}
    keepers |= _share(program, parts, assigned)
    homes |= {name: own[0] for name, own in keepers.items() if name not in homes}
    written = {name for op in ops for name in op.outputs().values()}
    instructions: dict[str, dict[Part, tuple[Instruction, ...]]] = {}
    wires: dict[tuple[Part, Part], int] = {}
    for section, section_ops in program.sections.items():
        schedule = _Schedule(program, section_ops, assigned[section], parts, homes, keepers, written)
        instructions[section] = schedule.instructions()
        for message in schedule.messages:
            ends = message.source, message.target
            size = sum(program.by_name[name].size for name in message.tensors)
            wires[ends] = max(wires.get(ends, 0), size)
    writers = {section: tuple(parts[0] for parts in each) for section, each in assigned.items()}
    held = {part: frozenset(_held(instructions, part)) for part in parts}
    for tensor in program.tensors:  # what nobody computes is read where it is held
        holder = next((part for part in parts if tensor.name in held[part]), parts[0])
        homes.setdefault(tensor.name, holder)
    held = {part: names | {name for name, home in homes.items() if home == part} for part, names in held.items()}
    return Cut(program, parts, instructions, held, homes, writers, wires)


def _common(program: Program) -> set[Op]:
    """Operations of no layer that depend on nothing but constants, inputs and each other."""
    ops = [op for section in program.sections.values() for op in section]
    common = {op for op in ops if op.layer is None}
    while True:
        foreign = {name for op in ops if op not in common for name in op.outputs().values()}
        bad = {op for op in common if foreign & {*op.inputs().values(), *op.outputs().values()}}
        if not bad:
            return common
        common -= bad


def _share(
    program: Program, parts: tuple[Part, ...], assigned: dict[str, list[tuple[Part, ...]]]
) -> dict[str, tuple[Part, ...]]:
    """Give every common operation to all parts that need what it writes, at least to one; who keeps which tensor."""
    needs: dict[Part, set[str]] = {part: set() for part in parts}
    for section, ops in program.sections.items():
        for op, own in zip(ops, assigned[section], strict=True):
            for part in own:
                needs[part] |= set(op.inputs().values())
    shared = [(section, position) for section, each in assigned.items() for position, own in enumerate(each) if not own]
    growing = True
    while growing:  # an operation that one part needs makes its operands needed there
        growing = False
        for section, position in shared:
            op = program.sections[section][position]
            reads, writes = set(op.inputs().values()), set(op.outputs().values())
            for part in parts:
                if writes & needs[part] and not reads <= needs[part]:
                    needs[part] |= reads
                    growing = True
    keepers: dict[str, tuple[Part, ...]] = {}
    for section, position in shared:
        writes = set(program.sections[section][position].outputs().values())
        own = tuple(part for part in parts if writes & needs[part]) or parts[:1]
        assigned[section][position] = own
        keepers |= dict.fromkeys(writes, own)
    return keepers


def _held(instructions: dict[str, dict[Part, tuple[Instruction, ...]]], part: Part) -> Iterator[str]:
    for by_part in instructions.values():
        for each in by_part[part]:
            if isinstance(each, Do):
                yield from each.op.inputs().values()
                yield from each.op.outputs().values()
            else:
                yield from each.message.tensors


@dataclass
class _Schedule:
    """One section being cut.  `fresh`: by tensor, the parts that hold its value now, and since when."""

    program: Program
    ops: tuple[Op, ...]
    assigned: list[tuple[Part, ...]]
    parts: tuple[Part, ...]
    homes: dict[str, Part]
    keepers: dict[str, tuple[Part, ...]]
    written: set[str]
    fresh: dict[str, dict[Part, Key]] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    _timed: dict[Part, list[tuple[Key, int, Instruction]]] = field(default_factory=dict)
    _last: dict[tuple[Part, Part], tuple[Key, Key]] = field(default_factory=dict)  # sent and received, by wire

    def instructions(self) -> dict[Part, tuple[Instruction, ...]]:
        """Every part's list, in order."""
        start = (-1, _DONE)
        self._timed = {part: [] for part in self.parts}
        for tensor in self.program.tensors:
            everywhere = tensor.name not in self.written or tensor.role is Role.INPUT
            at_first = self.parts if everywhere else self.keepers[tensor.name]
            self.fresh[tensor.name] = dict.fromkeys(at_first, start)
        for position, (op, own) in enumerate(zip(self.ops, self.assigned, strict=True)):
            for part in own:
                for name in op.inputs().values():
                    self._fetch(name, part, position)
            for part in own:
                self._timed[part].append(((position, _DO), 2, Do(position, op)))
            for name in op.outputs().values():
                self.fresh[name] = dict.fromkeys(own, (position, _DONE))
                if self.program.by_name[name].role is Role.STATE and self.homes[name] not in own:
                    self._carry(name, self.homes[name], position, _DONE)
        lists = {}
        for part, timed in self._timed.items():
            ordered = [each for _, _, each in sorted(timed, key=lambda entry: entry[:2])]
            lists[part] = tuple(_learning_last(ordered) if part.site is Site.SYNAPSE else ordered)
        return lists

    def _fetch(self, name: str, part: Part, position: int) -> None:
        if part not in self.fresh[name]:
            self._carry(name, part, position, 0)

    def _carry(self, name: str, target: Part, position: int, hop: int) -> None:
        """Send a tensor along the wires from whoever holds it, and with it what the receiver will need anyway."""
        paths = [path for source in self.fresh[name] if (path := _path(source, target))]
        if not paths:
            holder = next(iter(self.fresh[name]))
            raise FitError(
                f"Lava: {target.name} reads {name}, which {holder.name} writes; only decisions cross layers, and only "
                "to the next one up"
            )
        path = min(paths, key=len)
        for source, to in zip(path, path[1:], strict=False):
            hop += 1
            names = [name, *(other for other in self._wanted(source, to, position) if other != name)]
            if hop > _DONE:
                names = [name]
            message = Message(source, to, position, tuple(names))
            self.messages.append(message)
            # a wire keeps its order: neither sent nor received before the message planned before
            sent, received = self._last.get((source, to), ((-1, 0), (-1, 0)))
            since = max(sent, *(self.fresh[each][source] for each in names))
            at = max(received, (position, hop))
            hop = max(hop, at[1])
            self._last[source, to] = since, at
            self._timed[source].append((since, 1, Send(message)))
            self._timed[to].append((at, 0, Receive(message)))
            for each in names:
                self.fresh[each][to] = at

    def _wanted(self, source: Part, target: Part, position: int) -> Iterator[str]:
        """Tensors the source holds, the target does not, and one of its operations will read as they are now."""
        stale: set[str] = set()
        seen: set[str] = set()
        for op, own in zip(self.ops[position:], self.assigned[position:], strict=True):
            if target in own:
                for name in op.inputs().values():
                    holders = self.fresh[name]
                    if name not in stale | seen and source in holders and target not in holders:
                        seen.add(name)
                        yield name
            stale |= set(op.outputs().values())


def _path(source: Part, target: Part) -> list[Part] | None:
    """The parts a message passes, along the wires there are; None where none lead there."""
    if source == target:
        return [source]
    if source.layer == target.layer:
        return [source, target]
    if target.layer != source.layer + 1:
        return None
    path = [source] if source.site is Site.SOMA else [source, Part(source.layer, Site.SOMA)]
    path.append(Part(target.layer, Site.SYNAPSE))
    return path if target.site is Site.SYNAPSE else [*path, target]


def _learning_last(ordered: list[Instruction]) -> Iterator[Instruction]:
    """Move what changes the state behind everything else, into the learning phase, where no later instruction minds."""
    kept: list[Instruction] = []
    learning: list[Instruction] = []
    reads: set[str] = set()
    writes: set[str] = set()
    for each in reversed(ordered):
        its_reads, its_writes = _touched(each)
        learns = isinstance(each, Do) and (isinstance(each.op, OuterUpdate | Update) or each.op.verb == "advance")
        if isinstance(each, Do) and learns and not its_writes & (reads | writes) and not its_reads & writes:
            learning.append(Do(each.position, each.op, learning=True))
        else:
            kept.append(each)
            reads |= its_reads
            writes |= its_writes
    yield from reversed(kept)
    if any(isinstance(each.op, OuterUpdate | Update) for each in learning if isinstance(each, Do)):
        yield from reversed(learning)
    else:  # time alone is no learning
        yield from (Do(each.position, each.op) for each in reversed(learning) if isinstance(each, Do))


def _touched(each: Instruction) -> tuple[set[str], set[str]]:
    if isinstance(each, Do):
        return set(each.op.inputs().values()), set(each.op.outputs().values())
    names = set(each.message.tensors)
    return (names, set()) if isinstance(each, Send) else (set(), names)
