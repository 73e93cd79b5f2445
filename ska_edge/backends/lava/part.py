"""One part at work: its memory, its instructions, what it counts.  Lava's models and the tests run this same code.

A part knows no Lava: it sends and receives flat int64 vectors through two functions that it is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

import numpy as np

from ...fixed import IntArray
from ...operations import Contract, Flow, Gather, Kind, Op, OuterUpdate, Pool, Role, Tensor, Update
from .cut import Cut, Do, Instruction, Message, Part, Receive, Send, position_of
from .primitives import Memory, compile_op

Sender: TypeAlias = "Callable[[Message, IntArray], None]"
Receiver: TypeAlias = "Callable[[Message], IntArray]"
Action: TypeAlias = "Callable[[], None]"


@dataclass
class Count:
    """Events of one operation over all its runs.

    `inputs`: nonzero elements that arrive at a matrix; `synaptic_ops`: weights that a nonzero input meets;
    `messages`: nonzero values sent to a matrix; `neuron_updates`: forward steps of neurons; `factors`: nonzero third
    factors; `synapse_visits`: weights at a nonzero input, whatever the factor; `synapse_updates`: only those of
    neurons whose factor is not zero.  A weight that moves towards its input is visited whatever the input is.
    """

    runs: int = 0
    inputs: int = 0
    synaptic_ops: int = 0
    messages: int = 0
    neuron_updates: int = 0
    factors: int = 0
    synapse_visits: int = 0
    synapse_updates: int = 0


@dataclass
class Traffic:
    """Messages of one wire of a part: how many vectors, how many elements, how many of them not zero."""

    messages: int = 0
    elements: int = 0
    nonzero: int = 0


@dataclass
class Worker:
    """A part with its memory.  `counting`: whether events are counted (it costs a few percent)."""

    cut: Cut
    part: Part
    send: Sender
    receive: Receiver
    counting: bool = False
    memory: Memory = field(init=False)
    counts: dict[tuple[str, int], Count] = field(default_factory=dict)
    traffic: dict[tuple[str, str], Traffic] = field(default_factory=dict)  # by section and receiver

    def __post_init__(self) -> None:
        program = self.cut.program
        held = self.cut.held[self.part]
        self.memory = {
            tensor.name: np.array(program.values[tensor.name])
            for tensor in program.of_role(Role.CONST, Role.STATE)
            if tensor.name in held
        }
        self._actions = {
            section: [(position_of(each), _learns(each), self._action(section, each)) for each in by_part[self.part]]
            for section, by_part in self.cut.instructions.items()
        }
        self._whole = {
            (section, learning): [action for _, learns, action in actions if learns == learning]
            for section, actions in self._actions.items()
            for learning in (False, True)
        }

    def learns(self, section: str) -> bool:
        """Whether a section has anything for the learning phase."""
        return bool(self._whole[section, True])

    def run(self, section: str, first: int = 0, last: int | None = None, learning: bool = False) -> None:
        """One phase of a section, or only what belongs to its operations first to last - 1."""
        if first == 0 and last is None:
            for action in self._whole[section, learning]:
                action()
            return
        for position, learns, action in self._actions[section]:
            if learns == learning and first <= position and (last is None or position < last):
                action()

    def holds(self, name: str) -> bool:
        """Whether this part has any use for a tensor."""
        return name in self.cut.held[self.part]

    def read(self, names: Sequence[str]) -> IntArray:
        """Tensors one after the other as one vector; zeros for what nothing has been written to."""
        shapes = self.cut.program.by_name
        parts = [np.reshape(self.memory[n], -1) if n in self.memory else np.zeros(shapes[n].size) for n in names]
        return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)

    def write(self, names: Sequence[str], values: IntArray) -> None:
        """The inverse of `read`: a vector's elements into tensors, as many as there are."""
        at = 0
        for name in names:
            tensor = self.cut.program.by_name[name]
            self.memory[name] = values[at : at + tensor.size].reshape(tensor.shape)
            at += tensor.size

    def told(self) -> dict[str, Any]:
        """What was counted, JSON-ready."""
        return {
            "operations": [
                {"section": section, "position": position, **asdict(count)}
                for (section, position), count in self.counts.items()
            ],
            "wires": [{"section": section, "to": to, **asdict(each)} for (section, to), each in self.traffic.items()],
        }

    # -- instructions -------------------------------------------------------------------------------------------

    def _action(self, section: str, each: Instruction) -> Action:
        if isinstance(each, Send):
            return self._sender(section, each.message)
        if isinstance(each, Receive):
            return self._receiver(each.message)
        step, memory = compile_op(each.op, self.cut.program.by_name), self.memory
        if not self.counting:
            return lambda: step(memory)
        count = self.counts.setdefault((section, each.position), Count())
        note = _counter(each.op, self.cut.program.sections[section], self.cut.program.by_name, count)

        def counted() -> None:
            count.runs += 1
            note(memory)
            step(memory)

        return counted

    def _sender(self, section: str, message: Message) -> Action:
        names, memory, send = message.tensors, self.memory, self.send
        traffic = self.traffic.setdefault((section, message.target.name), Traffic()) if self.counting else None

        def action() -> None:
            vector = np.concatenate([np.reshape(memory[name], -1) for name in names])
            if traffic:
                traffic.messages += 1
                traffic.elements += vector.size
                traffic.nonzero += int(np.count_nonzero(vector))
            send(message, vector)

        return action

    def _receiver(self, message: Message) -> Action:
        tensors = [self.cut.program.by_name[name] for name in message.tensors]
        ends = np.cumsum([0, *(tensor.size for tensor in tensors)]).tolist()
        slots = [(t.name, a, b, t.shape) for t, a, b in zip(tensors, ends, ends[1:], strict=False)]
        memory, receive = self.memory, self.receive

        def action() -> None:
            vector = receive(message)
            for name, start, end, shape in slots:
                memory[name] = vector[start:end].reshape(shape)

        return action


def _learns(each: Instruction) -> bool:
    return isinstance(each, Do) and each.learning


def _counter(op: Op, section: Sequence[Op], tensors: Mapping[str, Tensor], count: Count) -> Callable[[Memory], None]:
    """What an operation adds to its count, from its operands before it runs."""
    if isinstance(op, Contract) and (matrix := _matrix(op, tensors)):
        return _synapses(op, matrix, section, tensors, count)
    if isinstance(op, Gather):
        readers = sum(isinstance(each, Contract) and _vector(each, tensors) == op.out for each in section)
        return _patches(op, readers, count)
    if isinstance(op, OuterUpdate):
        return _learning(op, tensors, count)
    if isinstance(op, Update) and tensors[op.p].kind in (Kind.WEIGHT, Kind.HEAD):
        return _batch(op, tensors, count)
    if isinstance(op, Flow):
        return _forward_steps(tensors[op.z].size * (op.steps + 1), count)
    if isinstance(op, Contract | Pool):
        return lambda memory: None
    below = [name for name in op.inputs().values() if (op.layer or 0) - (tensors[name].layer or op.layer or 0) == 1]
    return _one_to_one(below, count)


def _matrix(op: Contract, tensors: Mapping[str, Tensor]) -> str | None:
    """The operand that holds weights, if one does."""
    weights = [name for name in (op.a, op.b) if tensors[name].kind in (Kind.WEIGHT, Kind.HEAD)]
    return weights[0] if len(weights) == 1 else None


def _vector(op: Contract, tensors: Mapping[str, Tensor]) -> str | None:
    """What the weights are read with."""
    matrix = _matrix(op, tensors)
    return None if matrix is None else op.b if matrix == op.a else op.a


def _synapses(
    op: Contract, matrix: str, section: Sequence[Op], tensors: Mapping[str, Tensor], count: Count
) -> Callable[[Memory], None]:
    """Weights that nonzero values meet.  Values of patches have been counted as messages where they were gathered."""
    x = op.b if matrix == op.a else op.a
    operands = op.axes.partition("->")[0].split(",")
    w_axes, x_axes = operands if matrix == op.a else operands[::-1]
    met = math.prod(n for axis, n in zip(w_axes, tensors[matrix].shape, strict=True) if axis not in x_axes)
    sent = not any(isinstance(each, Gather) and each.out == x for each in section)
    flowing = {name for each in section if isinstance(each, Flow) for name in (each.z, each.drive)}
    neurons = 0 if op.out in flowing else tensors[op.out].size  # a flow counts its own

    def note(memory: Memory) -> None:
        arriving = int(np.count_nonzero(memory[x]))
        count.inputs += arriving
        count.synaptic_ops += arriving * met
        count.messages += arriving * sent
        count.neuron_updates += neurons

    return note


def _patches(op: Gather, readers: int, count: Count) -> Callable[[Memory], None]:
    """Values in any patch, once for every matrix that reads them."""

    def note(memory: Memory) -> None:
        seen = np.unique(memory[op.index])
        count.messages += readers * int(np.count_nonzero(memory[op.a].take(seen)))

    return note


def _learning(op: OuterUpdate, tensors: Mapping[str, Tensor], count: Count) -> Callable[[Memory], None]:
    shape, neurons = tensors[op.w].shape, tensors[op.s].shape
    ahead = (*neurons, *(1 for _ in shape[len(neurons) :]))

    def note(memory: Memory) -> None:
        arriving = np.asarray(memory[op.x]) != 0
        visited = np.broadcast_to(arriving | op.towards, shape)
        pulled = np.asarray(memory[op.s]) != 0
        count.inputs += int(arriving.sum())
        count.factors += int(pulled.sum())
        count.synapse_visits += int(visited.sum())
        count.synapse_updates += int((visited & pulled.reshape(ahead)).sum())

    return note


def _batch(op: Update, tensors: Mapping[str, Tensor], count: Count) -> Callable[[Memory], None]:
    """Weights that learn from a summed gradient."""

    def note(memory: Memory) -> None:
        moved = int(np.count_nonzero(memory[op.v]))
        count.factors += moved
        count.synapse_visits += tensors[op.p].size
        count.synapse_updates += moved

    return note


def _forward_steps(each: int, count: Count) -> Callable[[Memory], None]:
    def note(memory: Memory) -> None:
        count.neuron_updates += each

    return note


def _one_to_one(below: Sequence[str], count: Count) -> Callable[[Memory], None]:
    """Decisions of the layer below that are not summed: as if along one synapse each."""

    def note(memory: Memory) -> None:
        for name in below:
            arriving = int(np.count_nonzero(memory[name]))
            count.synaptic_ops += arriving
            count.messages += arriving

    return note
