"""A Program in a running Lava network, driven from this process: what an executor needs.  Importing it needs Lava."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...executor import row_count
from ...fixed import IntArray
from ...operations import Role
from ...program import Program
from .commands import EVENTS, PAYLOAD, ROWS, Command, Verb
from .cut import Part
from .network import SkaNetwork

from lava.magma.core.run_conditions import RunSteps  # isort: skip

_BUFFER = 2  # commands, or answers, on their way


class Session:
    """Lava started with a Program; `stop` ends it.  `start_s`: seconds it took."""

    def __init__(self, program: Program, counting: bool = False) -> None:
        began = time.perf_counter()
        self.program = program
        self.network = SkaNetwork(program, next(iter(program.sections)), counting)
        self.cut = self.network.cut
        for part in self.network.parts:
            part.host_in.flag_external_pipe(buffer_size=_BUFFER)
            part.host_out.flag_external_pipe(buffer_size=_BUFFER)
        self._process = self.network.parts[0]  # any of them runs and stops all
        self._number = {tensor.name: number for number, tensor in enumerate(program.tensors)}
        self._inputs = [t for t in program.tensors if t.role is Role.INPUT]
        self._holder: dict[str, Part] = {}
        room = {"pypy_channel_size": max(4, self.cut.most_messages() + 1)}
        self._process.create_runtime(run_cfg=SkaNetwork.run_config(), compile_config=room)
        self._step(Command(Verb.COLLECT, (0,)))  # a runtime that has never run waits for ever when it is stopped
        self.start_s = time.perf_counter() - began

    def process_names(self) -> list[str]:
        """Names of Lava's actors, in its own order; the last is its runtime service."""
        builders = self._process.runtime._executable.proc_builders
        return [process.name for process in builders]

    def actors(self) -> list[Any]:
        """Lava's operating system processes, the parts first."""
        return list(self._process.runtime._messaging_infrastructure.actors)

    def stop(self) -> float:
        """End Lava; seconds it took."""
        began = time.perf_counter()
        self._process.stop()
        return time.perf_counter() - began

    # -- an executor's verbs --------------------------------------------------------------------------------------

    def write(self, name: str, values: IntArray) -> None:
        """An input or state tensor, wherever it is held."""
        self._write(self._number[name], values.reshape(-1))

    def read(self, name: str) -> IntArray:
        """A tensor from the part that wrote it last."""
        tensor = self.program.by_name[name]
        part = self._holder.get(name, self.cut.homes[name])
        return self._read(self._number[name], part, tensor.size).reshape(tensor.shape)

    def run(self, section: str, first: int = 0, last: int | None = None) -> None:
        """A section, or some operations of it, on the inputs that were written."""
        self._run(section, first, last, 0)

    def stream(
        self,
        section: str,
        inputs: Mapping[str, IntArray],
        collect: Sequence[str],
        last: int | None,
        alive: Callable[[int], None] = lambda rows: None,
    ) -> dict[str, IntArray]:
        """A section for every row; what `collect` names, row by row.  `alive` is told of every piece done."""
        rows = row_count(inputs)
        joined = np.concatenate([np.reshape(inputs[t.name], (rows, -1)) for t in self._inputs if t.name in inputs], 1)
        self._note(section, 0, last)
        holders = {name: self._holder.get(name, self.cut.homes[name]) for name in collect}
        pairs = [n for name in collect for n in (self._number[name], self.cut.parts.index(holders[name]))]
        self._step(Command(Verb.COLLECT, (len(collect),), np.array(pairs, np.int64)))
        sizes = dict.fromkeys(self.cut.parts, 0)
        for name in collect:
            sizes[holders[name]] += self.program.by_name[name].size
        pieces: dict[str, list[IntArray]] = {name: [] for name in collect}
        at_once = max(1, PAYLOAD // joined.shape[1])
        for start in range(0, rows, at_once):
            piece = joined[start : start + at_once]
            self._write(ROWS, piece.reshape(-1))
            self._run(section, 0, last, len(piece))
            for part, size in sizes.items():
                if size:
                    values = self._read(ROWS, part, len(piece) * size).reshape(len(piece), size)
                    at = 0
                    for name in collect:
                        if holders[name] == part:
                            tensor = self.program.by_name[name]
                            pieces[name].append(values[:, at : at + tensor.size].reshape(-1, *tensor.shape))
                            at += tensor.size
            alive(len(piece))
        self._step(Command(Verb.COLLECT, (0,)))
        return {name: np.concatenate(found) for name, found in pieces.items()}

    def events(self) -> dict[str, Any]:
        """What every part has counted, by its name."""
        found = {}
        for part in self.cut.parts:
            length = int(self._read(EVENTS, part, 1)[0])
            text = self._read(EVENTS, part, length + 1)[1:]
            found[part.name] = json.loads(bytes(text.astype(np.uint8)))
        return found

    # -- commands -------------------------------------------------------------------------------------------------

    def _step(self, command: Command, steps: int = 1) -> None:
        vector = command.vector()
        for part in self.network.parts:
            part.host_in.external_pipe_csp_send_port.send(vector)
        self._process.run(RunSteps(num_steps=steps))

    def _run(self, section: str, first: int, last: int | None, rows: int) -> None:
        number = list(self.program.sections).index(section)
        self._step(Command(Verb.RUN, (number, first, -1 if last is None else last, rows)), max(rows, 1))
        self._note(section, first, last)

    def _note(self, section: str, first: int, last: int | None) -> None:
        """Who holds what these operations write."""
        ops = self.program.sections[section]
        for op, part in list(zip(ops, self.cut.writers[section], strict=True))[first:last]:
            for name in op.outputs().values():
                kept = self.program.by_name[name].role is Role.STATE
                self._holder[name] = self.cut.homes[name] if kept else part

    def _write(self, number: int, values: IntArray) -> None:
        for start in range(0, len(values), PAYLOAD):
            piece = values[start : start + PAYLOAD]
            self._step(Command(Verb.WRITE, (number, start, len(piece)), piece))

    def _read(self, number: int, part: Part, size: int) -> IntArray:
        pieces = []
        for start in range(0, size, PAYLOAD):
            count = min(PAYLOAD, size - start)
            index = self.cut.parts.index(part)
            self._step(Command(Verb.READ, (number, index, start, count)))
            answer = self.network.parts[index].host_out.external_pipe_csp_recv_port.recv()
            pieces.append(np.asarray(answer[:count], np.int64))
        return np.concatenate(pieces)
