"""One part at work: its memory, its instructions, what it counts.  Lava's models and the tests run this same code.

A part knows no Lava: it sends and receives flat int64 vectors through two functions that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from ...fixed import IntArray
from ...operations import Contract, Flow, Kind, Op, OuterUpdate, Role, Update
from .cut import Cut, Do, Instruction, Message, Part, Receive, Send, position_of
from .primitives import Memory, compile_op

Sender: TypeAlias = "Callable[[Message, IntArray], None]"
Receiver: TypeAlias = "Callable[[Message], IntArray]"
Action: TypeAlias = "Callable[[], None]"


@dataclass
class Count:
    """Events of one operation over all its runs.

    `inputs`: nonzero elements of x, the spikes (graded) that arrive; `synaptic_ops`: weights that a nonzero input
    meets; `factors`: nonzero third factors; `synapse_updates`: weights at a nonzero input, whatever the factor;
    `moved`: weights with a nonzero input and a nonzero factor; `neuron_steps`: neurons times forward steps.
    """

    runs: int = 0
    inputs: int = 0
    synaptic_ops: int = 0
    factors: int = 0
    synapse_updates: int = 0
    moved: int = 0
    neuron_steps: int = 0


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
    traffic: dict[str, Traffic] = field(default_factory=dict)

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

    # -- instructions -------------------------------------------------------------------------------------------

    def _action(self, section: str, each: Instruction) -> Action:
        if isinstance(each, Send):
            return self._sender(each.message)
        if isinstance(each, Receive):
            return self._receiver(each.message)
        step, memory = compile_op(each.op, self.cut.program.by_name), self.memory
        if not self.counting:
            return lambda: step(memory)
        count = self.counts.setdefault((section, each.position), Count())
        note = _counter(each.op, self.cut, count)

        def counted() -> None:
            count.runs += 1
            note(memory)
            step(memory)

        return counted

    def _sender(self, message: Message) -> Action:
        names, memory, send = message.tensors, self.memory, self.send
        traffic = self.traffic.setdefault(message.target.name, Traffic()) if self.counting else None

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


def _counter(op: Op, cut: Cut, count: Count) -> Callable[[Memory], None]:
    """What an operation adds to its count, from its operands before it runs."""
    tensors = cut.program.by_name
    if isinstance(op, Contract):
        weights = [name for name in (op.a, op.b) if tensors[name].kind in (Kind.WEIGHT, Kind.HEAD)]
        if len(weights) == 1:
            w = tensors[weights[0]]
            x = op.b if w.name == op.a else op.a
            operands = op.axes.partition("->")[0].split(",")
            w_axes, x_axes = operands if w.name == op.a else operands[::-1]
            met = int(np.prod([size for axis, size in zip(w_axes, w.shape, strict=True) if axis not in x_axes]))

            def synapses(memory: Memory) -> None:
                arriving = int(np.count_nonzero(memory[x]))
                count.inputs += arriving
                count.synaptic_ops += arriving * met

            return synapses
    if isinstance(op, OuterUpdate):
        neurons, own = tensors[op.w].shape[0], len(tensors[op.x].shape) == 2

        def update(memory: Memory) -> None:
            arriving = np.asarray(memory[op.x]) != 0
            pulled = np.asarray(memory[op.s]) != 0
            count.inputs += int(arriving.sum())
            count.factors += int(pulled.sum())
            count.synapse_updates += int(arriving.sum()) * (1 if own else neurons)
            count.moved += int((arriving & pulled[:, np.newaxis]).sum())

        return update
    if isinstance(op, Update):
        kind, size = tensors[op.p].kind, tensors[op.p].size

        def weights_of_a_batch(memory: Memory) -> None:
            count.factors += int(np.count_nonzero(memory[op.v]))
            if kind in (Kind.WEIGHT, Kind.HEAD):
                count.synapse_updates += size

        return weights_of_a_batch
    if isinstance(op, Flow):
        steps = tensors[op.z].size * op.steps

        def soma(memory: Memory) -> None:
            count.neuron_steps += steps

        return soma

    def nothing(memory: Memory) -> Any:
        return None

    return nothing
