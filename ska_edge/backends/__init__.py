"""Executors.  Each backend alone imports its library; `open_executor` finds one by the name of the contract."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from ..errors import MissingError, SkaError
from ..executor import Executor
from ..program import Program

_EXECUTORS: dict[str, tuple[str, str]] = {
    "oracle": ("ska_edge.interpreter", "Interpreter"),
    "numba": ("ska_edge.backends.jit", "NumbaExecutor"),
    "c-gcc": ("ska_edge.backends.c.host", "GccExecutor"),
    "c-clang": ("ska_edge.backends.c.host", "ClangExecutor"),
    "qemu-m0": ("ska_edge.backends.c.emulated", "QemuM0"),
    "qemu-m3": ("ska_edge.backends.c.emulated", "QemuM3"),
    "qemu-m4": ("ska_edge.backends.c.emulated", "QemuM4"),
    "qemu-m7": ("ska_edge.backends.c.emulated", "QemuM7"),
    "qemu-m33": ("ska_edge.backends.c.emulated", "QemuM33"),
    "qemu-rv32": ("ska_edge.backends.c.emulated", "QemuRv32"),
    "simavr-atmega328p": ("ska_edge.backends.c.emulated", "SimavrAtmega328p"),
    "onnxruntime": ("ska_edge.backends.onnx.runtime", "RuntimeExecutor"),
    "onnx-reference": ("ska_edge.backends.onnx.executors", "ReferenceExecutor"),
    "onnx-node": ("ska_edge.backends.onnx.javascript", "NodeExecutor"),
    "onnx-wasm": ("ska_edge.backends.onnx.javascript", "WasmExecutor"),
    "emx-c": ("ska_edge.backends.onnx.c", "EmxExecutor"),
    "lava": ("ska_edge.backends.lava", "LavaExecutor"),
}
_PACKAGES = {"emx_onnx_cgen": "emx-onnx-cgen"}
NAMES = tuple(_EXECUTORS)


def open_executor(name: str, program: Program) -> Executor:
    """Load a Program into an executor.  Raises SkaError for an unknown name, MissingError without its library."""
    if name not in _EXECUTORS:
        raise SkaError(f"executor {name!r}: allowed are {', '.join(NAMES)}")
    module, attribute = _EXECUTORS[name]
    try:
        executor: Callable[[Program], Executor] = getattr(import_module(module), attribute)
    except ImportError as error:
        raise MissingError(
            f"executor {name}: {error.name} is not installed; pip install {_PACKAGES.get(str(error.name), error.name)}"
        ) from None
    return executor(program)
