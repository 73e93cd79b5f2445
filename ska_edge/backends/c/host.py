"""The firmware's C on this machine: generated, compiled by gcc or clang as a shared library, called by ctypes.

It is the source that goes onto a chip, with one addition: operations can be run one by one (`SKA_STEPPED`).
"""

from __future__ import annotations

import ctypes
import tempfile
from pathlib import Path
from typing import ClassVar

from ...arena import ArenaExecutor
from ...program import Program
from ...toolchain import find_compiler
from .generate import generate

FLAGS = ("-O2", "-g", "-shared", "-fPIC", "-DSKA_STEPPED")


class HostExecutor(ArenaExecutor):
    """A Program compiled for this machine.  `flags` replace the optimisation and add sanitizers."""

    compiler: ClassVar[str]

    def __init__(self, program: Program, flags: tuple[str, ...] = ()) -> None:
        super().__init__(program)
        self._folder = tempfile.TemporaryDirectory(prefix="ska-edge-c-")
        folder = Path(self._folder.name)
        for name, text in generate(program).items():
            (folder / name).write_text(text)
        library = folder / "model.so"
        find_compiler(self.compiler).compile([folder / "model.c"], library, [*FLAGS, *flags])
        self._library = ctypes.CDLL(str(library))
        self._library.ska_arena.restype = ctypes.c_void_p
        self._library.ska_run.argtypes = (ctypes.c_uint8, ctypes.c_uint32, ctypes.c_uint32)
        self._library.ska_reset()
        self._arena = self._library.ska_arena()

    def peek(self, start: int, count: int) -> bytes:
        """Bytes of the arena."""
        return ctypes.string_at(self._arena + start, count)

    def poke(self, start: int, data: bytes) -> None:
        """Overwrite bytes of the arena."""
        ctypes.memmove(self._arena + start, data, len(data))

    def run_operations(self, section: int, first: int, last: int) -> None:
        """Run operations first to last - 1 of a section."""
        self._library.ska_run(section, first, last)


class GccExecutor(HostExecutor):
    """`c-gcc`."""

    name = "c-gcc"
    compiler = "gcc"


class ClangExecutor(HostExecutor):
    """`c-clang`."""

    name = "c-clang"
    compiler = "clang"
