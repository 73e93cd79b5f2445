"""`emx-c`: the models as C, written by emx-onnx-cgen, compiled by gcc and called by ctypes."""

from __future__ import annotations

import ctypes
import tempfile
from pathlib import Path

import numpy as np
import onnx
from emx_onnx_cgen.compiler import Compiler, CompilerOptions

from ...errors import SkaError
from ...program import Program
from ...toolchain import find_compiler
from .executors import Array, OnnxExecutor, Run

FLAGS = ("-w", "-std=c11", "-O1", "-fwrapv", "-shared", "-fPIC")  # -fwrapv: ONNX's integers wrap
OPTIONS = CompilerOptions(large_temp_threshold_bytes=0, large_weight_threshold=0, restrict_arrays=False)


class EmxExecutor(OnnxExecutor):
    """A Program in C by way of ONNX.  Its flows are written out: the generator knows loops of a few forms only."""

    name = "emx-c"
    written_out = 1 << 30
    traced = False  # one operation after the other would be generated and compiled by itself: minutes

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        find_compiler("gcc")
        self._folder = tempfile.TemporaryDirectory(prefix="ska-edge-emx-")
        self._count = 0

    def load(self, model: onnx.ModelProto) -> Run:
        """A function of a shared library: inputs, then outputs, as arrays."""
        self._count += 1
        source = Path(self._folder.name) / f"model{self._count}.c"
        try:
            source.write_text(Compiler(OPTIONS).compile(model))
        except Exception as error:  # the generator's own have no common base
            raise SkaError(f"emx-onnx-cgen: {error}") from None
        library = source.with_suffix(".so")
        find_compiler("gcc").compile([source], library, FLAGS, ["-lm"])
        function = ctypes.CDLL(str(library)).model
        names = [value.name for value in model.graph.input]
        results = [_empty(value) for value in model.graph.output]

        def run(feeds: dict[str, Array]) -> list[Array]:
            given = [np.array(feeds[name], order="C") for name in names]
            function(*(ctypes.c_void_p(array.ctypes.data) for array in (*given, *results)))
            return [array.copy() for array in results]

        return run


def _empty(value: onnx.ValueInfoProto) -> Array:
    tensor = value.type.tensor_type
    shape = [dimension.dim_value for dimension in tensor.shape.dim]
    return np.zeros(shape, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
