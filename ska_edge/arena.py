"""Executors whose memory is the planned arena, in a shared library or on a chip at the end of a wire."""

from __future__ import annotations

from abc import abstractmethod

from .errors import ProgramError
from .executor import Executor
from .fixed import IntArray, pack, unpack
from .operations import Role
from .plan import plan
from .program import Program


class ArenaExecutor(Executor):
    """Reads and writes tensors as packed bytes at the offsets of the plan (SPEC 1.2, 7)."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.plan = plan(program)
        self._last_section = next(iter(program.sections), "")

    @abstractmethod
    def peek(self, start: int, count: int) -> bytes:
        """Bytes of the arena."""

    @abstractmethod
    def poke(self, start: int, data: bytes) -> None:
        """Overwrite bytes of the arena."""

    @abstractmethod
    def run_operations(self, section: int, first: int, last: int) -> None:
        """Run operations first to last - 1 of the section of that number, in order of declaration."""

    def write(self, tensor: str, values: IntArray) -> None:
        """Set an input or state tensor."""
        checked = self.check_write(tensor, values)
        self.poke(self.plan.fixed[tensor], pack(checked, self.program.by_name[tensor].format))

    def read(self, tensor: str) -> IntArray:
        """The raw integers in the arena; scratch as the section run last left it."""
        declared = self.program.by_name.get(tensor)
        if declared is None:
            raise ProgramError(f"{tensor}: no tensor of this Program")
        if declared.role is Role.CONST:
            return self.program.values[tensor]
        start = self.plan.fixed.get(tensor, self.plan.scratch.get(self._last_section, {}).get(tensor))
        if start is None:
            raise ProgramError(f"{tensor}: section {self._last_section!r} does not use it")
        stored = bytearray(self.peek(start, declared.byte_count))
        columns = declared.shape[-1] if declared.shape else 1
        if declared.role is Role.SCRATCH and declared.format.stored_bits == 4 and columns % 2:
            for end in range(columns // 2, len(stored), columns // 2 + 1):
                stored[end] &= 15  # padding holds what lay there before
        return unpack(bytes(stored), declared.shape, declared.format)

    def run(self, section: str, first: int = 0, last: int | None = None) -> None:
        """Run a section once."""
        if section not in self.program.sections:
            raise ProgramError(f"section {section!r}: this Program has {', '.join(self.program.sections)}")
        self._last_section = section
        start, stop, _ = slice(first, last).indices(len(self.program.sections[section]))
        self.run_operations(list(self.program.sections).index(section), start, stop)
