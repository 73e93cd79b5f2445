"""ONNX models that others made: read, checked, run with any of their values in view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from ...errors import DataError, FileError
from ...fixed import FloatArray
from .learner import load_model

OPSETS = range(7, 26)


@dataclass(frozen=True)
class Foreign:
    """A model with one input: `shape` is that of one sample; `batch` what the first axis must be, None for any."""

    path: str
    model: onnx.ModelProto
    input: str
    shape: tuple[int, ...]
    batch: int | None

    @property
    def features(self) -> int:
        """Numbers of a sample."""
        return int(np.prod(self.shape, dtype=np.int64))

    def describe(self, node: onnx.NodeProto) -> str:
        """A node, for messages."""
        return f"{self.path}: node {node.name or node.output[0]!r} ({node.op_type})"

    def values(self, names: Sequence[str], rows: FloatArray) -> list[FloatArray]:
        """Any values of the graph for rows of features, [rows, ...] each."""
        return list(self.session(names)(rows))

    def session(self, names: Sequence[str]) -> Any:
        """A function from rows of features to the values of these names."""
        from .runtime import open_session

        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        try:
            session = open_session(model.SerializeToString())
        except Exception as error:  # onnxruntime's own have no common base
            raise FileError(f"{self.path}: ONNX Runtime refuses it ({str(error).splitlines()[0]})") from None
        step = self.batch or 256

        def run(rows: FloatArray) -> list[FloatArray]:
            found: list[list[FloatArray]] = [[] for _ in names]
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                missing = (self.batch or len(part)) - len(part)
                padded = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
                feed = padded.reshape(len(padded), *self.shape).astype(np.float32)
                try:
                    out = session.run(None, {self.input: feed})
                except Exception as error:
                    raise FileError(f"{self.path}: ONNX Runtime failed ({str(error).splitlines()[0]})") from None
                for values, kept in zip(out, found, strict=True):
                    kept.append(np.asarray(values, np.float64)[: len(part)])
            return [np.concatenate(parts) for parts in found]

        return run


def read_foreign(path: str | Path) -> Foreign:
    """An ONNX file with one input of numbers, checked.  Raises FileError."""
    name, model = str(path), load_model(Path(path))
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset not in OPSETS:
        raise FileError(
            f"{name}: opset {opset}; allowed are {OPSETS.start} to {OPSETS.stop - 1}; see onnx.version_converter"
        )
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # the checker's and shape inference's
        raise FileError(f"{name}: {str(error).splitlines()[0]}") from None
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise FileError(f"{name}: weights {tensor.name!r} hold NaN or infinity; train again, or export again")
    known = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in known]
    if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        raise FileError(f"{name}: inputs {', '.join(v.name for v in inputs)}; wanted is one, of float32")
    dims = inputs[0].type.tensor_type.shape.dim
    if len(dims) < 2 or any(not d.dim_value for d in dims[1:]):
        shape = [d.dim_value or d.dim_param or "?" for d in dims]
        raise FileError(f"{name}: input {inputs[0].name} of shape {shape}; wanted is a batch axis and known extents")
    return Foreign(name, model, inputs[0].name, tuple(d.dim_value for d in dims[1:]), dims[0].dim_value or None)


def features_of(foreign: Foreign, samples: FloatArray) -> FloatArray:
    """Rows that fit the model.  Raises DataError."""
    rows = np.asarray(samples, np.float64).reshape(len(samples), -1)
    if rows.shape[1] != foreign.features:
        raise DataError(f"samples: {rows.shape[1]} features; {foreign.path} takes {foreign.features}, {foreign.shape}")
    if not np.isfinite(rows).all():
        raise DataError("samples: NaN or infinity; only finite numbers can be fed")
    return rows
