"""Learn and predict with any executor: `learn_one`, `predict_one`, and the same for many."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import codec
from .backends import open_executor
from .errors import DataError, SkaError
from .fixed import FloatArray, IntArray, dequantise, quantise
from .monitor import Event, Monitor
from .operations import Kind, Role
from .program import Program
from .progress import bar

SATURATED_BEYOND = 4.0
_WEIGHTS_A_CHUNK = 20_000_000  # compiled calls stay short enough for Ctrl-C and progress


@dataclass
class History:
    """What a stream looked like while it was learnt, one entry a chunk.

    `samples`: samples seen so far.  `entropy`: mean entropy sum a sample in bits, by output name.  `accuracy`: share of
    labelled samples decided rightly before they were learnt, NaN where none had a label.
    """

    samples: list[int] = field(default_factory=list)
    entropy: dict[str, list[float]] = field(default_factory=dict)
    accuracy: list[float] = field(default_factory=list)


class Learner:
    """A Program in an executor, with real-valued samples outside.

    >>> from ska_edge import Network, lower
    >>> learner = Learner(lower(Network((4, 3, 2))), executor="oracle")
    >>> learner.learn_one([0.0, 1.0, 0.5, 0.25], 1)
    >>> learner.predict_one([0.0, 1.0, 0.5, 0.25]) in (0, 1)
    True
    """

    def __init__(self, program: Program, executor: str = "numba", monitor: Monitor | None = None) -> None:
        """Load a Program; a `monitor` is shown every sample that is learnt.

        Raises SkaError for an unknown executor, MissingError where its library is not installed.
        """
        if not {"infer", "learn"} <= set(program.sections):
            raise SkaError(f"Program: sections {', '.join(program.sections)}; a learner needs infer and learn")
        self.program = program
        self.executor = open_executor(executor, program)
        self.samples_learnt = 0
        self.monitor = monitor
        self.events: list[Event] = []
        """What the monitor has said."""
        self._input = next(program.of_kind(Kind.SAMPLE))
        self._takes_label = "label" in program.by_name
        self._entropies = [t for t in program.of_kind(Kind.ENTROPY) if t.role is Role.OUTPUT]
        self._updates_a_sample = program.updates_per_run()

    @classmethod
    def load(cls, path: str | Path, executor: str = "numba") -> Learner:
        """Resume from a `.ska` file."""
        return cls(codec.load(path), executor)

    @property
    def features(self) -> int:
        """Features of a sample."""
        return self._input.size

    @property
    def classes(self) -> int:
        """Decisions of the last layer; two where it is a single score, on which `choice` says yes or no."""
        return max(2, self.program.by_name["decision"].size)

    @property
    def weight_updates(self) -> int:
        """Weights touched since this learner was made (heads count, biases do not)."""
        return self.samples_learnt * self._updates_a_sample

    # -- one sample ---------------------------------------------------------------------------------------------

    def learn_one(self, x: npt.ArrayLike, y: int | None = None) -> None:
        """Learn one sample of `features` real numbers; without a label the rule decides what it teaches."""
        self.learn_many(np.asarray(x)[np.newaxis], None if y is None else [y])

    def predict_one(self, x: npt.ArrayLike) -> int:
        """The class one sample is decided for."""
        return int(self.predict_many(np.asarray(x)[np.newaxis])[0])

    # -- many ---------------------------------------------------------------------------------------------------

    def learn_many(
        self,
        samples: npt.ArrayLike,
        labels: npt.ArrayLike | None = None,
        passes: int = 1,
        *,
        shuffle_seed: int | None = None,
        progress: bool = False,
        chunk: int | None = None,
    ) -> History:
        """Learn rows one at a time, in order or reshuffled each pass; label -1 means none.

        A KeyboardInterrupt leaves the learner after a whole number of samples.  Raises DataError for bad data.
        """
        if passes < 1:
            raise DataError(f"passes {passes}: at least 1")
        encoded = self.encode(samples)
        given = self.check_labels(labels, len(encoded))
        rows = min(4096, max(1, _WEIGHTS_A_CHUNK // max(self._updates_a_sample, 1))) if chunk is None else chunk
        order_source = np.random.RandomState(shuffle_seed)
        history = History()
        with bar("learning", passes * len(encoded), progress) as advance:
            for _ in range(passes):
                order = np.arange(len(encoded)) if shuffle_seed is None else order_source.permutation(len(encoded))
                for start in range(0, len(order), rows):
                    picked = order[start : start + rows]
                    self._learn_chunk(encoded[picked], given[picked], history)
                    advance(len(picked))
        return history

    def predict_many(self, samples: npt.ArrayLike) -> IntArray:
        """Classes of rows of samples."""
        return self._infer(samples, "choice")

    def decide_many(self, samples: npt.ArrayLike) -> FloatArray:
        """Decisions of the last layer, 0 to 1, [rows, classes]."""
        return dequantise(self._infer(samples, "decision"), self.program.by_name["decision"].format)

    def accuracy(self, samples: npt.ArrayLike, labels: npt.ArrayLike) -> float:
        """Share of rows decided as labelled."""
        given = self.check_labels(labels, len(np.asarray(samples)))
        return float((self.predict_many(samples) == given).mean())

    # -- what it has become -------------------------------------------------------------------------------------

    def snapshot(self, meta: Mapping[str, Any] | None = None) -> Program:
        """The Program carrying what has been learnt so far."""
        return self.program.with_state(self.executor.state(), meta)

    def save(self, path: str | Path, meta: Mapping[str, Any] | None = None) -> Program:
        """Write the snapshot as `.ska` and return it."""
        program = self.snapshot(meta)
        codec.save(program, path)
        return program

    def weights_changed(self) -> float:
        """Share of learnt weights (heads count) that differ from the start."""
        return self.program.weights_changed(self.executor.state())

    def saturated(self, samples: npt.ArrayLike) -> float:
        """Share of hidden decisions with |z| beyond 4 on these samples."""
        x = self.encode(samples)
        beyond = total = 0
        for position, op in enumerate(self.program.sections["infer"]):
            for name in op.outputs().values():
                tensor = self.program.by_name[name]
                if tensor.kind is Kind.KNOWLEDGE and not name.startswith("head_"):
                    z = self.executor.stream("infer", {self._input.name: x}, [name], position + 1)[name]
                    beyond += int((np.abs(dequantise(z, tensor.format)) > SATURATED_BEYOND).sum())
                    total += z.size
        return beyond / max(total, 1)

    # -- data in and out ----------------------------------------------------------------------------------------

    def encode(self, samples: npt.ArrayLike) -> IntArray:
        """Rows of real features as raw inputs (SPEC 6.3).  Raises DataError for NaN, infinity, or a wrong width."""
        return encode(self.program, samples)

    def check_labels(self, labels: npt.ArrayLike | None, rows: int) -> IntArray:
        """Labels as int64, -1 where there is none.  Raises DataError for a wrong count or value."""
        return check_labels(labels, rows, self.classes)

    def _infer(self, samples: npt.ArrayLike, wanted: str) -> IntArray:
        return self.executor.stream("infer", {self._input.name: self.encode(samples)}, [wanted])[wanted]

    def _learn_chunk(self, x: IntArray, labels: IntArray, history: History) -> None:
        inputs = {self._input.name: x, **({"label": labels} if self._takes_label else {})}
        names = ["choice", *(tensor.name for tensor in self._entropies)]
        if self.monitor:
            names += [name for name in self.monitor.names if name not in names]
        out = self.executor.stream("learn", inputs, names)
        if self.monitor:
            self.events += self.monitor.observe_many(out)
        self.samples_learnt += len(x)
        history.samples.append(self.samples_learnt)
        for tensor in self._entropies:
            bits = dequantise(out[tensor.name], tensor.format).mean() / math.log(2.0)
            history.entropy.setdefault(tensor.name, []).append(float(bits))
        labelled = labels >= 0
        right = out["choice"][labelled] == labels[labelled]
        history.accuracy.append(float(right.mean()) if labelled.any() else math.nan)


def encode(program: Program, samples: npt.ArrayLike) -> IntArray:
    """Rows of real features as raw inputs of a Program (SPEC 6.3)."""
    tensor = next(program.of_kind(Kind.SAMPLE))
    array = _numbers(np.asarray(samples), "samples")
    if array.ndim == 1 or array.ndim > 2:
        array = array.reshape(len(array), -1) if array.ndim > 2 else array
    if array.ndim != 2 or array.shape[1] != tensor.shape[-1]:
        raise DataError(f"samples: shape {array.shape}; this model takes rows of {tensor.shape[-1]} features")
    if not len(array):
        raise DataError("samples: none given")
    bad = ~np.isfinite(array)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DataError(
            f"samples: row {row}, feature {column} is {array[row, column]}; only finite numbers can be learnt"
        )
    return quantise(program.encoding.unit(array), tensor.format)


def _numbers(array: npt.NDArray[Any], what: str) -> FloatArray:
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{what}: not numbers") from None


def check_labels(labels: npt.ArrayLike | None, rows: int, classes: int) -> IntArray:
    """Labels as int64, -1 where there is none.  Raises DataError for a wrong count or value."""
    if labels is None:
        return np.full(rows, -1, np.int64)
    array = np.asarray(labels)
    if array.shape != (rows,):
        raise DataError(f"labels: shape {array.shape} for {rows} samples; one label a sample")
    if array.dtype.kind not in "iub":
        as_numbers = _numbers(array, "labels")
        if not np.isfinite(as_numbers).all() or (as_numbers != np.floor(as_numbers)).any():
            raise DataError("labels: whole numbers wanted; -1 means no label")
        array = as_numbers
    if rows and (array.min() < -1 or array.max() >= classes):
        raise DataError(
            f"labels: {array.min():g} to {array.max():g}; this model has classes 0 to {classes - 1}, "
            "and -1 means no label"
        )
    return array.astype(np.int64)
