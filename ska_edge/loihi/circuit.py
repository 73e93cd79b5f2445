"""A Program seen as a neuromorphic core sees it: populations of neurons, connections between them, a timetable.

A *population* is all vectors that the Program's element-wise operations tie together, neuron by neuron.  A *connection*
is a matrix of weights in one direction of use: its synapses live with the neurons they end on.  A learnt head that is
also read the other way, to guide the layer below it, is two connections, and the second one is a copy that has to
learn the same: no core can read another's memory.

The *timetable* of a section says what happens in which timestep of one sample.  A message takes one timestep; what is
element-wise happens in the timestep its operands are there; each step of a flow takes one.  Layers overlap wherever
the Program's dependencies allow it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..axes import split_axes
from ..errors import MappingError
from ..fixed import IntArray
from ..operations import (
    Advance,
    Arg,
    Contract,
    Flow,
    Gather,
    Kind,
    Lattice,
    Op,
    OuterUpdate,
    Pool,
    Role,
    Tensor,
    Update,
)
from ..program import Program

SECTIONS = ("infer", "learn")
_CARRIER_BITS = 2  # of a synapse that only hands on: its weight is one
WORKING_BYTES = 4
"""Knowledge and decision of a neuron at the peak; factor and drive take their places (SPEC 7)."""


@dataclass(frozen=True)
class Population:
    """Neurons that share vectors.  `forward_steps`: K of its flow, 1 without one.  The host's has no layer."""

    name: str
    layer: int | None
    neurons: int
    state_bytes: int
    forward_steps: int

    @property
    def on_chip(self) -> bool:
        """False for the samples, which the host sends."""
        return self.layer is not None


@dataclass(frozen=True)
class Connection:
    """Synapses from one population to another; `matrix` is the tensor of their weights.

    `index` [targets, fan-in]: the source of each synapse; None where every source reaches every target.
    `copy`: the weights also live elsewhere, and learn there.
    """

    name: str
    matrix: str
    layer: int
    source: str
    target: str
    sources: int
    targets: int
    weight_bits: int
    learnt: bool
    copy: bool
    index: IntArray | None = None

    @property
    def synapses(self) -> int:
        """How many."""
        return self.targets * self.sources if self.index is None else int(self.index.size)

    def fan_out(self, start: int, stop: int) -> IntArray:
        """How many synapses each source has on the targets start to stop - 1: [sources]."""
        if self.index is None:
            return np.full(self.sources, stop - start, np.int64)
        return np.bincount(self.index[start:stop].ravel(), minlength=self.sources)


@dataclass(frozen=True)
class Send:
    """The nonzero values of a vector reach the synapses of a connection in this timestep."""

    step: int
    connection: str
    values: str


@dataclass(frozen=True)
class Sum:
    """A sum of products without weights, or a search for the largest, one operation a nonzero value: on the first core
    of its layer, or, where every target has one of its own, along the synapses of a connection.

    Without `values`: over the weights of the connection themselves, all of them.
    """

    step: int
    layer: int
    values: str | None
    connection: str | None


@dataclass(frozen=True)
class Work:
    """A population's neurons are updated in this timestep."""

    step: int
    population: str


@dataclass(frozen=True)
class Learn:
    """A connection's weights move by the product of two vectors.  `sent`: one of them comes by message for this alone.

    `pre` is indexed by sources, `post` by targets; None where every value counts: a weight that moves towards its
    input moves at an input of zero as well.
    """

    step: int
    connection: str
    pre: str | None
    post: str | None
    sent: bool


Event = Send | Sum | Work | Learn


@dataclass(frozen=True)
class Timetable:
    """What happens in one run of a section.  `recorded`: where to read each vector: name -> tensor, operation.

    An operation of -1 means an input.
    """

    steps: int
    events: tuple[Event, ...]
    recorded: Mapping[str, tuple[str, int]]


@dataclass(frozen=True)
class Circuit:
    """Populations and connections by name, in the Program's order, and a timetable a section."""

    populations: Mapping[str, Population]
    connections: Mapping[str, Connection]
    timetables: Mapping[str, Timetable]

    @property
    def on_chip(self) -> list[Population]:
        """All populations but the samples."""
        return [population for population in self.populations.values() if population.on_chip]

    def into(self, population: str) -> list[Connection]:
        """Connections that end on a population."""
        return [each for each in self.connections.values() if each.target == population]

    def out_of(self, population: str) -> list[Connection]:
        """Connections that start from a population."""
        return [each for each in self.connections.values() if each.source == population]


def circuit(program: Program) -> Circuit:
    """Cut a Program into populations, connections and timetables.

    Raises MappingError for Programs that hold a batch, and for operations that no core can do.

    >>> from ska_edge import Network, lower
    >>> found = circuit(lower(Network((64, 16, 10))))
    >>> [(each.name, each.source, each.target, each.synapses) for each in found.connections.values()]
    [('W1', 'x', 'z1', 1024), ('head_W1', 'z1', 'head_z1', 160), ('head_W1.back', 'head_z1', 'z1', 160)]
    >>> found.timetables["learn"].steps
    9
    """
    sections = [name for name in SECTIONS if name in program.sections]
    if not sections:
        raise MappingError(
            f"Program: sections {', '.join(program.sections)}; a core holds one sample at a time, the papers' schedule "
            "a whole batch; lower the network with a layerwise rule"
        )
    return _Cut(program, sections).circuit()


class _Cut:
    """One Program being cut."""

    def __init__(self, program: Program, sections: list[str]) -> None:
        self.program = program
        self.sections = sections
        self.parent: dict[str, str] = {}
        self.gathered: dict[str, dict[str, tuple[str, IntArray]]] = {section: {} for section in sections}
        self.connections: dict[str, Connection] = {}
        self.used: dict[tuple[str, str, str], str] = {}  # matrix, source, target -> connection

    def ops(self) -> Iterator[tuple[str, Op]]:
        for section in self.sections:
            for op in self.program.sections[section]:
                yield section, op

    def circuit(self) -> Circuit:
        for section, op in self.ops():
            self._tie(op, self.gathered[section])
        names = self._names()
        for section, op in self.ops():
            if isinstance(op, Contract) and self.matrix(op):
                self._connect(op, names, section)
            for name in self.handed_up(op):
                self._connect_one_to_one(op, name, names)
        flows = {names[self.root(op.z)]: op.steps + 1 for _, op in self.ops() if isinstance(op, Flow)}
        populations = {name: self._population(root, name, flows.get(name, 1)) for root, name in names.items()}
        ends = {end for each in self.connections.values() for end in (each.source, each.target)}
        kept = {name: each for name, each in populations.items() if name in ends}
        if not self.connections:
            raise MappingError("Program: no weights that lead from one vector to another; there is nothing to map")
        return Circuit(kept, self.connections, {section: self._timetable(section, names) for section in self.sections})

    # -- populations --------------------------------------------------------------------------------------------

    def root(self, name: str) -> str:
        while self.parent.get(name, name) != name:
            name = self.parent[name]
        return name

    def _tie(self, op: Op, gathered: dict[str, tuple[str, IntArray]]) -> None:
        """Tie the vectors of an element-wise operation together; note where gathered ones come from."""
        tensors = self.program.by_name
        if isinstance(op, Update) and tensors[op.p].kind in (Kind.WEIGHT, Kind.HEAD):
            raise MappingError(
                f"layer {op.layer}: {op.p} learns from a gradient summed over a batch, or over all places of a "
                "convolution, and a synapse has no room for one; take fields, as in 16x12f10, or a dense layer"
            )
        if isinstance(op, Gather):
            source, index = op.a, self.program.values[op.index]
            if source in gathered:
                source, earlier = gathered[source]
                index = earlier.ravel()[index]
            gathered[op.out] = (source, index)
            return
        if isinstance(op, OuterUpdate | Lattice | Pool | Arg | Advance):
            return
        outputs = [tensors[name] for name in op.outputs().values()]
        main = outputs[0]
        operands = [op.c] if isinstance(op, Contract) else list(op.inputs().values())
        vectors = [tensors[name] for name in operands if name is not None] + outputs
        through = next((name for name in operands if name in gathered), None)
        if through is not None:
            gathered[main.name] = gathered[through]
            return
        for tensor in vectors:
            own = tensor.role != Role.CONST and tensor.name not in self.handed_up(op)
            if own and main.shape and tensor.shape == main.shape:
                self.parent[self.root(tensor.name)] = self.root(main.name)

    def handed_up(self, op: Op) -> list[str]:
        """Decisions of the layer below that an element-wise operation reads: no weights, a message a neuron."""
        if isinstance(op, Contract | OuterUpdate | Gather | Pool) or op.layer is None:
            return []
        found = [self.program.by_name[name] for name in op.inputs().values()]
        return [tensor.name for tensor in found if tensor.layer is not None and tensor.layer < op.layer]

    def _names(self) -> dict[str, str]:
        """Root -> name: the sample's or the knowledge's, else that of the first tensor that is no state."""
        groups: dict[str, list[Tensor]] = {}
        for tensor in self.program.tensors:
            groups.setdefault(self.root(tensor.name), []).append(tensor)
        names = {}
        for root, group in groups.items():
            kinds = {tensor.kind: tensor.name for tensor in reversed(group)}
            passing = [tensor.name for tensor in group if tensor.role is not Role.STATE]
            names[root] = kinds.get(Kind.SAMPLE) or kinds.get(Kind.KNOWLEDGE) or [*passing, group[0].name][0]
        return names

    def _population(self, root: str, name: str, forward_steps: int) -> Population:
        group = [tensor for tensor in self.program.tensors if self.root(tensor.name) == root]
        host = any(tensor.kind is Kind.SAMPLE for tensor in group)
        state = sum(-(-tensor.format.bits // 8) for tensor in group if tensor.role is Role.STATE)
        tensor = self.program.by_name[name]
        layer = None if host else next((each.layer for each in group if each.layer is not None), None)
        return Population(name, layer, tensor.size, 0 if host else state + WORKING_BYTES, forward_steps)

    # -- connections --------------------------------------------------------------------------------------------

    def matrix(self, op: Contract) -> Tensor | None:
        """The operand that holds weights, if one does."""
        found = [self.program.by_name[name] for name in (op.a, op.b)]
        weights = [tensor for tensor in found if tensor.kind in (Kind.WEIGHT, Kind.HEAD) and len(tensor.shape) > 1]
        return weights[0] if len(weights) == 1 else None

    def origin(self, name: str, section: str) -> str:
        """The vector whose values travel when this tensor is read by synapses."""
        gathered = self.gathered[section]
        return gathered[name][0] if name in gathered else name

    def ends(self, op: Contract, names: Mapping[str, str], section: str) -> tuple[Tensor, str, str, str]:
        """The matrix, the vector that is sent, and the names of source and target populations."""
        matrix = self.matrix(op)
        if matrix is None:
            raise MappingError(f"layer {op.layer}: {op.axes!r} has no weights")
        vector = op.b if matrix.name == op.a else op.a
        return matrix, vector, names[self.root(self.origin(vector, section))], names[self.root(op.out)]

    def _connect(self, op: Contract, names: Mapping[str, str], section: str) -> None:
        matrix, vector, source, target = self.ends(op, names, section)
        if (matrix.name, source, target) in self.used:
            return
        a_axes, b_axes, out_axes = split_axes(op.axes)
        letters, other = (a_axes, b_axes) if matrix.name == op.a else (b_axes, a_axes)
        if not out_axes or op.layer is None:
            raise MappingError(f"layer {op.layer}: {op.axes!r} on {matrix.name} leads from no vector to a vector")
        gathered = self.gathered[section].get(vector)
        sources = self.program.by_name[self.origin(vector, section)].size
        shared = set(out_axes) - set(letters)
        index = None
        if gathered is not None or shared or set(letters) != {*out_axes, *other} or set(out_axes) & set(other):
            seen = np.arange(sources) if gathered is None else gathered[1]
            extents = dict(zip(other, self.program.by_name[vector].shape, strict=True))
            extents |= dict(zip(letters, matrix.shape, strict=True))
            index = _sources(seen, other, out_axes, extents)
        backwards = not letters.startswith(out_axes) and not shared
        copy = any(matrix.name == known for known, *_ in self.used)
        name = f"{matrix.name}.back" if backwards else matrix.name
        name = f"{name}.{source}" if name in self.connections else name
        learnt = any(isinstance(each, OuterUpdate) and each.w == matrix.name for _, each in self.ops())
        targets, bits = self.program.by_name[op.out].size, matrix.format.bits
        self.used[matrix.name, source, target] = name
        self.connections[name] = Connection(
            name, matrix.name, op.layer, source, target, sources, targets, bits, learnt, copy and learnt, index
        )

    def _connect_one_to_one(self, op: Op, vector: str, names: Mapping[str, str]) -> None:
        """A synapse of its own for every value that is handed up without weights."""
        size, layer = self.program.by_name[vector].size, op.layer
        source, target = (names[self.root(name)] for name in (vector, next(iter(op.outputs().values()))))
        if layer is None or (vector, source, target) in self.used:
            return
        name = f"{vector}.up"
        self.used[vector, source, target] = name
        each_its_own = np.arange(size)[:, np.newaxis]
        self.connections[name] = Connection(
            name, vector, layer, source, target, size, size, _CARRIER_BITS, False, False, each_its_own
        )

    # -- the timetable ------------------------------------------------------------------------------------------

    def _timetable(self, section: str, names: Mapping[str, str]) -> Timetable:
        clock = _Clock(self, names, section)
        for position, op in enumerate(self.program.sections[section]):
            clock.add(position, op)
        works = [Work(step, population) for population in clock.works for step in sorted(clock.works[population])]
        events = sorted([*clock.events, *works], key=lambda event: event.step)
        return Timetable(max(event.step for event in events), tuple(events), clock.recorded)


class _Clock:
    """Walks one section and notes in which timestep each value is there."""

    def __init__(self, cut: _Cut, names: Mapping[str, str], section: str) -> None:
        self.cut = cut
        self.names = names
        self.section = section
        self.ready: dict[str, int] = {}
        self.version: dict[str, str] = {}
        self.writer: dict[str, tuple[str, int]] = {}
        self.events: list[Event] = []
        self.works: dict[str, set[int]] = {}
        self.recorded: dict[str, tuple[str, int]] = {}

    def add(self, position: int, op: Op) -> None:
        """One more operation."""
        step = max((self.ready.get(name, 0) for name in op.inputs().values()), default=0)
        handed_up = self.cut.handed_up(op)
        if isinstance(op, Contract):
            step += 1
            if self.cut.matrix(op):
                self._send(op, step)
            else:
                self._sum(op, step)
        elif isinstance(op, Pool) and op.layer is not None:
            step += 1
            self.events.append(Sum(step, op.layer, self._record(op.a), None))
        elif handed_up:
            step = max(step, *(self.ready.get(name, 0) + 1 for name in handed_up))
            for name in handed_up:
                ends = [self.names[self.cut.root(each)] for each in (name, next(iter(op.outputs().values())))]
                self.events.append(Send(step, self.cut.used[name, ends[0], ends[1]], self._record(name)))
        elif isinstance(op, OuterUpdate):
            self._learn(op, step)
        elif isinstance(op, Flow):
            self._flow(op, position, step)
            return
        for name in op.outputs().values():
            self._write(name, position, step)

    def _write(self, name: str, position: int, step: int) -> None:
        self.ready[name] = step
        self.version[name] = name if name not in self.version else f"{name}@{position}"
        self.writer[self.version[name]] = (name, position)

    def _record(self, tensor: str) -> str:
        """Have a vector recorded as it is now; its name in the recording."""
        name = self.version.get(tensor, tensor)
        self.recorded[name] = self.writer.get(name, (tensor, -1))
        return name

    def _work(self, population: str, *steps: int) -> None:
        self.works.setdefault(population, set()).update(steps)

    def _send(self, op: Contract, step: int) -> None:
        matrix, vector, source, target = self.cut.ends(op, self.names, self.section)
        values = self._record(self.cut.origin(vector, self.section))
        self.events.append(Send(step, self.cut.used[matrix.name, source, target], values))
        self._work(target, step)

    def _sum(self, op: Contract, step: int) -> None:
        """On the layer's first core; along synapses where every neuron sums what it alone sees, or its weights."""
        if op.layer is None:
            return
        if op.a == op.b and (own := next((name for (w, *_), name in self.cut.used.items() if w == op.a), None)):
            self.events.append(Sum(step, op.layer, None, own))
            return
        seen = op.a in self.cut.gathered[self.section] and bool(self.cut.program.by_name[op.out].shape)
        target = self.names[self.cut.root(op.out)]
        along = next((each.name for each in self.cut.connections.values() if each.target == target), None)
        values = self._record(self.cut.origin(op.a, self.section))
        self.events.append(Sum(step, op.layer, values, along if seen else None))

    def _flow(self, op: Flow, position: int, step: int) -> None:
        """K - 1 steps: none before the timestep after z is there, the first in that of the drive and the rate."""
        known = self.ready.get(op.z, 0)
        first = max(known + 1, step)
        last = first + op.steps - 1
        self._work(self.names[self.cut.root(op.z)], *range(first, last + 1))
        self._write(op.factor, position, last)
        self._write(op.decision, position, known if op.emit_first else last)
        self._write(op.entropy, position, last)

    def _learn(self, op: OuterUpdate, step: int) -> None:
        """The weights where they are, and every copy: there the vectors change places, and one has to be sent."""
        post, pre = self._record(op.s), None if op.towards else self._record(self.cut.origin(op.x, self.section))
        for (matrix, *_), name in self.cut.used.items():
            if matrix == op.w and self.cut.connections[name].copy:
                self.events.append(Learn(step + 1, name, post, pre, sent=True))
            elif matrix == op.w:
                self.events.append(Learn(step, name, pre, post, sent=False))


def _sources(seen: IntArray, axes: str, out: str, extents: Mapping[str, int]) -> IntArray:
    """The source of every synapse [targets, fan-in]: `seen` holds, along `axes`, which one is read at each place.

    >>> _sources(np.array([[0, 1], [1, 2]]), "gi", "ng", {"n": 2, "g": 2, "i": 2}).tolist()
    [[0, 1], [1, 2], [0, 1], [1, 2]]
    """
    order = out + "".join(letter for letter in extents if letter not in out)
    places = seen.reshape([extents[letter] for letter in axes])
    places = places.transpose([axes.index(letter) for letter in order if letter in axes])
    spread = places.reshape([extents[letter] if letter in axes else 1 for letter in order])
    whole = np.broadcast_to(spread, [extents[letter] for letter in order])
    return np.asarray(whole.reshape(math.prod(extents[letter] for letter in out), -1))


def to_json(found: Circuit) -> dict[str, Any]:
    """Populations, connections and timetables as JSON-ready data: what the neurocore machine reads."""
    return {
        "populations": [
            {"name": each.name, "layer": each.layer, "neurons": each.neurons} for each in found.populations.values()
        ],
        "connections": [
            {
                "name": each.name,
                "layer": each.layer,
                "source": each.source,
                "target": each.target,
                "copy": each.copy,
                "index": None if each.index is None else each.index.tolist(),
            }
            for each in found.connections.values()
        ],
        "timetables": {
            section: {"steps": table.steps, "events": [_event(event) for event in table.events]}
            for section, table in found.timetables.items()
        },
    }


def _event(event: Event) -> dict[str, Any]:
    return {"event": type(event).__name__.lower(), **vars(event)}
