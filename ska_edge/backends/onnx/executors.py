"""What executors over ONNX models share: the same generated graphs, whatever runtime carries them out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx

from ...errors import ProgramError
from ...executor import Executor, row_count
from ...fixed import IntArray
from ...operations import Role
from ...program import Program
from .graph import stored_dtype
from .translate import Translation, translate

Array: TypeAlias = "npt.NDArray[Any]"
Run: TypeAlias = "Callable[[dict[str, Array]], list[Array]]"
"""Inputs by name to outputs in the model's order."""


class OnnxExecutor(Executor):
    """Tensors in arrays; each section, or piece of one, is a model that the runtime loads when it is first run."""

    written_out: ClassVar[int] = 8

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.memory: dict[str, Array] = {
            tensor.name: program.values[tensor.name].astype(stored_dtype(tensor.format))
            for tensor in program.of_role(Role.STATE)
        }
        self._loaded: dict[tuple[str, int, int, tuple[str, ...] | None], tuple[Translation, Run]] = {}

    @abstractmethod
    def load(self, model: onnx.ModelProto) -> Run:
        """A model ready to run."""

    def write(self, tensor: str, values: IntArray) -> None:
        """Set an input or state tensor."""
        checked = self.check_write(tensor, values)
        self.memory[tensor] = checked.astype(stored_dtype(self.program.by_name[tensor].format))

    def read(self, tensor: str) -> IntArray:
        """The raw integers a tensor holds now.  ProgramError where nothing has been written to it."""
        if tensor not in self.program.by_name:
            raise ProgramError(f"{tensor}: no tensor of this Program")
        if tensor in self.program.values and tensor not in self.memory:
            return self.program.values[tensor]
        if tensor not in self.memory:
            raise ProgramError(f"{tensor}: read before anything was written to it")
        return self.memory[tensor].astype(np.int64)

    def run(self, section: str, first: int = 0, last: int | None = None) -> None:
        """Run a section once, every tensor that it writes being kept."""
        translation, run = self._load(section, first, last, None)
        out = run({value.name: self.memory[name] for name, value in translation.inputs.items()})
        self.memory.update(zip(translation.outputs, out, strict=True))

    def stream(
        self, section: str, inputs: Mapping[str, IntArray], collect: Sequence[str] = (), last: int | None = None
    ) -> dict[str, IntArray]:
        """Run a section for every row of the inputs; only state and what is collected leaves the runtime."""
        translation, run = self._load(section, 0, last, collect)
        rows = row_count(inputs)
        fed = self._rows(inputs)
        collected = {name: np.zeros((rows, *self.program.by_name[name].shape), np.int64) for name in collect}
        for row in range(rows):
            self.memory.update((name, np.asarray(values[row])) for name, values in fed.items())
            out = run({value.name: self.memory[name] for name, value in translation.inputs.items()})
            self.memory.update(zip(translation.outputs, out, strict=True))
            for name, target in collected.items():
                target[row] = self.memory[name]
        return collected

    def _rows(self, inputs: Mapping[str, IntArray]) -> dict[str, Array]:
        """Rows of inputs as the models take them, checked."""
        fed = {}
        for name, values in inputs.items():
            for values_of_row in values:
                self.check_write(name, values_of_row)
            fed[name] = np.asarray(values).astype(stored_dtype(self.program.by_name[name].format))
        return fed

    def _load(
        self, section: str, first: int, last: int | None, collect: Sequence[str] | None
    ) -> tuple[Translation, Run]:
        """The model of a piece; `collect` None keeps all that is written, else state and those."""
        if section not in self.program.sections:
            raise ProgramError(f"section {section!r}: this Program has {', '.join(self.program.sections)}")
        start, stop, _ = slice(first, last).indices(len(self.program.sections[section]))
        key = (section, start, stop, None if collect is None else tuple(collect))
        if key not in self._loaded:
            states = [tensor.name for tensor in self.program.of_role(Role.STATE)]
            wanted = None if collect is None else [*states, *collect]
            translation = translate(self.program, section, start, stop, collect=wanted, written_out=self.written_out)
            run = self.load(translation.model(f"{section}_{start}_{stop}")) if translation.outputs else _nothing
            self._loaded[key] = translation, run
        return self._loaded[key]


def _nothing(feeds: dict[str, Array]) -> list[Array]:
    """A piece of a section that leaves nothing behind: some runtimes refuse a model without outputs."""
    return []


class ReferenceExecutor(OnnxExecutor):
    """`onnx-reference`: the evaluator in onnx itself, slow and independent."""

    name = "onnx-reference"
    verified_samples = 100  # a tenth of a second each

    def load(self, model: onnx.ModelProto) -> Run:
        """An evaluator."""
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(model)
        return lambda feeds: list(evaluator.run(None, feeds))
