"""The executor `lava`: a Program in Lava's processes, with learning in their learning phase."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ...errors import ProgramError
from ...executor import Executor, row_count
from ...fixed import IntArray
from ...operations import Role
from ...program import Program
from .commands import PAYLOAD
from .cut import cut
from .events import by_section
from .supervisor import LIMIT_S, Supervisor


class LavaExecutor(Executor):
    """A Program in Lava.  Ends with its `with` block, at the latest with Python.

    `counting`: whether events are counted; `limit_s`: seconds without a sign of life before the run is ended.
    Raises MissingError without Lava, FitError where the Program's layers share more than decisions, LavaError where
    the run fails.
    """

    name: ClassVar[str] = "lava"

    def __init__(self, program: Program, counting: bool = False, limit_s: float = LIMIT_S) -> None:
        super().__init__(program)
        self.cut = cut(program)
        self.counting = counting
        self.samples: dict[str, int] = {}
        self.supervisor = Supervisor(program, counting, limit_s)
        self._written: dict[str, IntArray] = {}
        self._known = set(program.values)
        self._close = weakref.finalize(self, self.supervisor.close)

    def __enter__(self) -> LavaExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop Lava."""
        self._close()

    def write(self, tensor: str, values: IntArray) -> None:
        """Set an input or state tensor."""
        array = self.check_write(tensor, values)
        if self.program.by_name[tensor].role is Role.INPUT:
            self._written[tensor] = array.copy()
        self.supervisor.ask("write", tensor, array)

    def read(self, tensor: str) -> IntArray:
        """The raw integers a tensor holds now.  ProgramError where nothing has been written to it."""
        if tensor not in self.program.by_name:
            raise ProgramError(f"{tensor}: no tensor of this Program")
        role = self.program.by_name[tensor].role
        if role is Role.CONST:
            return np.array(self.program.values[tensor])
        if role is Role.INPUT and tensor in self._written:
            return self._written[tensor].copy()
        if tensor not in self._known:
            raise ProgramError(f"{tensor}: read before anything was written to it")
        return np.asarray(self.supervisor.ask("read", tensor), np.int64)

    def run(self, section: str, first: int = 0, last: int | None = None) -> None:
        """Run a section once: a time step of Lava's."""
        self._check_section(section)
        self.supervisor.ask("run", section, first, last)
        self._note(section, first, last, int(first == 0))

    def stream(
        self, section: str, inputs: Mapping[str, IntArray], collect: Sequence[str] = (), last: int | None = None
    ) -> dict[str, IntArray]:
        """As everywhere; a time step a row, with nothing but the network's own messages in between."""
        self._check_section(section)
        declared = {tensor.name for tensor in self.program.of_role(Role.INPUT)}
        rows = row_count(inputs)
        if set(inputs) != declared or not rows or sum(self.program.by_name[n].size for n in declared) > PAYLOAD:
            return super().stream(section, inputs, collect, last)
        for name, values in inputs.items():
            for row in values:
                self.check_write(name, row)
            self._written[name] = np.array(values[-1], np.int64)
        fed = {name: np.asarray(values, np.int64) for name, values in inputs.items()}
        # `collect` may name an input or a constant, which no part computes
        ask = [name for name in collect if self.program.by_name[name].role not in (Role.INPUT, Role.CONST)]
        out: dict[str, IntArray] = self.supervisor.ask("stream", section, fed, ask, last)
        self._note(section, 0, last, rows)
        for name in set(collect) - set(ask):
            out[name] = fed[name] if name in fed else np.stack([self.program.values[name]] * rows)
        return out

    def events(self) -> dict[str, Any]:
        """What happened since the start, by section and layer: see docs/lava.md.  Needs `counting`."""
        return by_section(self.cut, self.supervisor.ask("events"), self.samples)

    def _check_section(self, section: str) -> None:
        if section not in self.program.sections:
            raise ProgramError(f"section {section!r}: this Program has {', '.join(sorted(self.program.sections))}")

    def _note(self, section: str, first: int, last: int | None, samples: int) -> None:
        self.samples[section] = self.samples.get(section, 0) + samples
        for op in self.program.sections[section][first:last]:
            self._known.update(op.outputs().values())
