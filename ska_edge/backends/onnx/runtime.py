"""`onnxruntime`: Programs in InferenceSessions on one thread of the CPU, learning without a copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import onnx

from ...executor import row_count
from ...fixed import IntArray
from .executors import Array, OnnxExecutor, Run
from .translate import Translation

DEVICE = "cpu"


def open_session(model: bytes | str, optimisation: str = "ORT_ENABLE_ALL") -> Any:
    """An InferenceSession of a model's bytes or file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, optimisation)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class RuntimeExecutor(OnnxExecutor):
    """Sections as sessions.  A stream binds its arrays once: the state goes to and fro between two sets of them."""

    name = "onnxruntime"
    optimisation: ClassVar[str] = "ORT_ENABLE_ALL"

    def load(self, model: onnx.ModelProto) -> Run:
        """A session."""
        return SessionRun(open_session(model.SerializeToString(), self.optimisation))

    def stream(
        self, section: str, inputs: Mapping[str, IntArray], collect: Sequence[str] = (), last: int | None = None
    ) -> dict[str, IntArray]:
        """Run a section for every row of the inputs."""
        translation, run = self._load(section, 0, last, collect)
        rows, fed = row_count(inputs), self._rows(inputs)
        collected = {name: np.zeros((rows, *self.program.by_name[name].shape), np.int64) for name in collect}
        if not isinstance(run, SessionRun) or not rows:
            return super().stream(section, inputs, collect, last)
        bound = BoundSession(run.session, translation, self.memory, fed)
        for row in range(rows):
            bound.run({name: values[row] for name, values in fed.items()})
            for name, target in collected.items():
                target[row] = bound.arrays[name]
        self.memory.update({name: array.copy() for name, array in bound.arrays.items()})
        return collected


class SessionRun:
    """A session as a function of its inputs."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def __call__(self, feeds: dict[str, Array]) -> list[Array]:
        """All outputs, in order."""
        return list(self.session.run(None, feeds))


class BoundSession:
    """A session bound to arrays that stay where they are.

    What a run writes and the next one reads has two arrays: odd runs read the first and write the second, even runs the
    other way round.  `arrays`: what every tensor holds now, valid until the next run.
    """

    def __init__(
        self, session: Any, translation: Translation, memory: Mapping[str, Array], fed: Mapping[str, Array]
    ) -> None:
        self._session = session
        self._inputs = {name: np.zeros(values.shape[1:], values.dtype) for name, values in fed.items()}
        given = {name: self._inputs.get(name, memory.get(name)) for name in translation.inputs}
        first = {name: np.array(array, order="C") for name, array in given.items() if name not in self._inputs}
        first |= self._inputs
        second = {name: np.zeros(value.shape, value.dtype) for name, value in translation.outputs.items()}
        written = [name for name in translation.outputs if name not in translation.inputs]
        first |= {name: second[name] for name in written}
        self._sets = (first, {**first, **second})
        self._bindings = tuple(self._bind(translation, self._sets[turn], self._sets[1 - turn]) for turn in (0, 1))
        self._turn = 0
        self.arrays: Mapping[str, Array] = first

    def run(self, inputs: Mapping[str, Array]) -> None:
        """One run with these inputs."""
        for name, values in inputs.items():
            self._inputs[name][...] = values
        self._session.run_with_iobinding(self._bindings[self._turn])
        self._turn = 1 - self._turn
        self.arrays = self._sets[self._turn]

    def _bind(self, translation: Translation, reads: Mapping[str, Array], writes: Mapping[str, Array]) -> Any:
        binding = self._session.io_binding()
        for name, value in translation.inputs.items():
            array = reads[name]
            binding.bind_input(value.name, DEVICE, 0, array.dtype, array.shape, array.ctypes.data)
        for name, value in translation.outputs.items():
            array = writes[name]
            binding.bind_output(value.name, DEVICE, 0, array.dtype, array.shape, array.ctypes.data)
        return binding
