"""What every backend offers: memory by tensor name, and running a section.  The learner and `verify` know only this."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from .errors import ProgramError
from .fixed import IntArray
from .operations import Role
from .program import Program


class Executor(ABC):
    """One Program loaded into one backend, with memory of its own."""

    name: ClassVar[str]
    verified_samples: ClassVar[int | None] = None
    """The most samples that `verify` gives it by default, where it is slow; None: as many as anybody."""
    traced: ClassVar[bool] = True
    """Whether `verify` by default compares its first samples after every operation."""

    def __init__(self, program: Program) -> None:
        self.program = program

    @abstractmethod
    def write(self, tensor: str, values: IntArray) -> None:
        """Copy raw integers of its shape into an input or state tensor."""

    @abstractmethod
    def read(self, tensor: str) -> IntArray:
        """The raw integers a tensor holds now."""

    @abstractmethod
    def run(self, section: str, first: int = 0, last: int | None = None) -> None:
        """Run a section once, or only its operations first to last - 1."""

    def stream(
        self, section: str, inputs: Mapping[str, IntArray], collect: Sequence[str] = (), last: int | None = None
    ) -> dict[str, IntArray]:
        """Run a section, or its first `last` operations, for every row of the inputs; returns the tensors of `collect`.

        Scratch is overlaid: to see it, stop right after the operation that writes it.  Backends override this where
        they can stay in compiled code.
        """
        rows = row_count(inputs)
        collected = {name: np.zeros((rows, *self.program.by_name[name].shape), np.int64) for name in collect}
        for row in range(rows):
            for name, values in inputs.items():
                self.write(name, values[row])
            self.run(section, 0, last)
            for name, target in collected.items():
                target[row] = self.read(name)
        return collected

    def state(self) -> dict[str, IntArray]:
        """A copy of every state tensor."""
        return {tensor.name: self.read(tensor.name).copy() for tensor in self.program.of_role(Role.STATE)}

    def load_state(self, state: Mapping[str, IntArray]) -> None:
        """Replace the whole state."""
        for tensor in self.program.of_role(Role.STATE):
            self.write(tensor.name, state[tensor.name])

    def check_write(self, tensor: str, values: IntArray) -> IntArray:
        """The values as int64 of the tensor's shape; ProgramError where they do not fit it."""
        declared = self.program.by_name.get(tensor)
        if declared is None or declared.role not in (Role.INPUT, Role.STATE):
            raise ProgramError(f"{tensor}: not an input or state tensor of this Program")
        if np.asarray(values).dtype.kind not in "iu":
            raise ProgramError(f"{tensor}: values of type {np.asarray(values).dtype}; only whole numbers")
        array = np.asarray(values, np.int64)
        if array.shape != declared.shape:
            raise ProgramError(f"{tensor}: shape {array.shape}, the Program wants {declared.shape}")
        if array.size and (array.min() < declared.format.lo or array.max() > declared.format.hi):
            raise ProgramError(f"{tensor}: values {array.min()} to {array.max()} do not fit {declared.format}")
        return array


def row_count(inputs: Mapping[str, IntArray]) -> int:
    """The common number of rows of a stream's inputs."""
    counts = {len(values) for values in inputs.values()}
    if len(counts) != 1:
        raise ProgramError(f"stream: inputs of {sorted(counts)} rows, all must have the same number")
    return counts.pop()
