"""What connections and somas have in common: the host's port, a user's ports, the phases of a time step."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var

from ska_edge.backends.lava.commands import EVENTS, HEADER, PAYLOAD, ROWS, Command, Verb
from ska_edge.backends.lava.cut import Cut, Message, Part
from ska_edge.backends.lava.part import Worker
from ska_edge.fixed import IntArray
from ska_edge.operations import Kind, Role


class PartProcess(AbstractProcess):
    """One part of a Program.  All ports carry int64; those that are not connected are not used.

    `x_in`, `label_in`: the Program's inputs, [features] and [1], in someone else's Lava program.
    `out`: the outputs this part computes, one after the other (`outputs` says which), sent every time step.
    `state_out`: all its state (`states`), as it is when the time step begins.
    `section`: index of the section that a time step runs, in `sections`.
    """

    def __init__(self, cut: Cut, part: Part, section: str, counting: bool = False) -> None:
        super().__init__(name=part.name, cut=cut, part=part, counting=counting)
        tensors = cut.program.tensors
        held, homes = cut.held[part], cut.homes
        inputs = [t for t in tensors if t.role is Role.INPUT and t.name in held]
        self.part = part
        self.sections = list(cut.program.sections)
        self.samples = [t.name for t in inputs if t.kind is not Kind.LABEL]
        self.labels = [t.name for t in inputs if t.kind is Kind.LABEL]
        self.outputs = [t.name for t in tensors if t.role is Role.OUTPUT and homes.get(t.name) == part]
        self.states = [t.name for t in tensors if t.role is Role.STATE and homes.get(t.name) == part]
        self.proc_params["names"] = (self.samples, self.labels, self.outputs, self.states)

        def shape(names: list[str]) -> tuple[int]:
            return (max(1, sum(cut.program.by_name[name].size for name in names)),)

        self.section = Var(shape=(1,), init=self.sections.index(section))
        self.x_in = InPort(shape=shape(self.samples))
        self.label_in = InPort(shape=shape(self.labels))
        self.out = OutPort(shape=shape(self.outputs))
        self.state_out = OutPort(shape=shape(self.states))
        self.host_in = InPort(shape=(HEADER + PAYLOAD,))
        self.host_out = OutPort(shape=(PAYLOAD,))


def wire_shape(cut: Cut, source: Part, target: Part) -> tuple[int]:
    """The longest message of a wire; 1 where there is none."""
    return (cut.wires.get((source, target), 1),)


class PartModel(PyLoihiProcessModel):
    """The phases of a time step: in SPK everything but learning, in LRN what changes the synapses."""

    section: np.ndarray = LavaPyType(np.ndarray, np.int64)
    x_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int64)
    label_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int64)
    out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int64)
    state_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int64)
    host_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int64)
    host_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int64)

    complain: ClassVar[Callable[[str, str], None] | None] = None
    """Where a supervised run wants to hear of exceptions: the part's name and the traceback."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._cut: Cut = proc_params["cut"]
        self._part: Part = proc_params["part"]
        self._names: tuple[list[str], ...] = proc_params["names"]
        self._tensors = self._cut.program.tensors
        self._sections = list(self._cut.program.sections)
        self._inputs = [t for t in self._tensors if t.role is Role.INPUT]
        self._row_size = sum(t.size for t in self._inputs)
        self._worker = Worker(self._cut, self._part, self._send, self._receive, proc_params["counting"])
        self._range: tuple[str, int, int | None] = (self._sections[0], 0, None)
        self._running = False
        self._rows: IntArray = np.zeros(0, np.int64)
        self._row, self._rows_left = 0, 0
        self._collect: list[str] = []
        self._collected: list[IntArray] = []
        self._padded: dict[str, IntArray] = {}

    def port_of(self, message: Message) -> str:
        """Which port a message leaves or enters by."""
        raise NotImplementedError

    # -- Lava's phases ------------------------------------------------------------------------------------------

    def run_spk(self) -> None:
        """Take a command, or the inputs, and run the section but for its learning."""
        with self._complaining():
            self._spike_phase()

    def _spike_phase(self) -> None:
        if self._rows_left:
            self._rows_left -= 1
            self._take_row()
            self._start()
        elif self.host_in.csp_ports:
            self._obey(Command.of(self.host_in.recv()))
        else:
            self._range = (self._sections[int(self.section[0])], 0, None)
            samples, labels = self._names[:2]
            for port, names in ((self.x_in, samples), (self.label_in, labels)):
                if port.csp_ports:
                    self._worker.write(names, np.asarray(port.recv(), np.int64))
            self._start()

    def lrn_guard(self) -> bool:
        """Whether this time step has a learning phase."""
        return self._running and self._worker.learns(self._range[0])

    def run_lrn(self) -> None:
        """Change the synapses."""
        section, first, last = self._range
        with self._complaining():
            self._worker.run(section, first, last, learning=True)
            self._end()

    @contextmanager
    def _complaining(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            if PartModel.complain is not None:
                PartModel.complain(self._part.name, traceback.format_exc())
            raise

    def _start(self) -> None:
        """Probes are sent in SPK, where Lava's processes receive: nobody may wait in one phase for another."""
        self._running = True
        section, first, last = self._range
        outputs, states = self._names[2:]
        if self.state_out.csp_ports:
            self.state_out.send(self._worker.read(states))
        self._worker.run(section, first, last)
        if self.out.csp_ports:
            self.out.send(self._worker.read(outputs))
        if not self._worker.learns(section):
            self._end()

    def _end(self) -> None:
        """After the last phase: note what the host collects."""
        self._running = False
        if self._collect:
            self._collected.append(self._worker.read(self._collect))

    # -- messages -----------------------------------------------------------------------------------------------

    def _send(self, message: Message, vector: IntArray) -> None:
        name = self.port_of(message)
        padded = self._padded.get(name)
        if padded is None:
            padded = self._padded[name] = np.zeros(self._cut.wires[message.source, message.target], np.int64)
        padded[: len(vector)] = vector
        getattr(self, name).send(padded)

    def _receive(self, message: Message) -> IntArray:
        return np.asarray(getattr(self, self.port_of(message)).recv(), np.int64)

    # -- the host -----------------------------------------------------------------------------------------------

    def _obey(self, command: Command) -> None:
        numbers, payload = command.numbers, command.payload
        if payload is None:
            return
        if command.verb is Verb.RUN:
            section, first, last, rows = numbers[:4]
            self._range = (self._sections[section], first, None if last < 0 else last)
            self._row, self._rows_left = 0, max(rows - 1, 0)
            self._collected = []
            if rows:
                self._take_row()
            self._start()
        elif command.verb is Verb.WRITE:
            tensor, offset, count = numbers[:3]
            self._put(tensor, offset, payload[:count])
        elif command.verb is Verb.READ:
            tensor, part, offset, count = numbers[:4]
            if self._cut.parts[part] == self._part:
                self._answer(self._get(tensor)[offset : offset + count])
        else:
            pairs = payload[: 2 * numbers[0]].reshape(-1, 2).tolist()
            own = self._cut.parts.index(self._part)
            self._collect = [self._tensors[tensor].name for tensor, part in pairs if part == own]

    def _answer(self, values: IntArray) -> None:
        answer = np.zeros(PAYLOAD, np.int64)
        answer[: len(values)] = values
        self.host_out.send(answer)

    def _take_row(self) -> None:
        row = self._rows[self._row * self._row_size :]
        self._row += 1
        at = 0
        for tensor in self._inputs:
            if self._worker.holds(tensor.name):
                self._worker.write([tensor.name], row[at : at + tensor.size])
            at += tensor.size

    def _put(self, number: int, offset: int, values: IntArray) -> None:
        if number == ROWS:
            self._rows = np.concatenate([self._rows[:offset], values])
            return
        tensor = self._tensors[number]
        if self._worker.holds(tensor.name):
            whole = np.array(self._worker.read([tensor.name]))
            whole[offset : offset + len(values)] = values
            self._worker.write([tensor.name], whole)

    def _get(self, number: int) -> IntArray:
        if number == ROWS:
            return np.concatenate(self._collected) if self._collected else np.zeros(0, np.int64)
        if number == EVENTS:
            text = json.dumps(self._worker.told()).encode()
            return np.array([len(text), *text], np.int64)
        return self._worker.read([self._tensors[number].name])


__all__ = ["PartModel", "PartProcess", "wire_shape"]
