"""The one place that calls a compiler."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from .errors import MissingError, SkaError

INCLUDE = Path(str(resources.files("ska_edge"))) / "csrc"
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Werror")
COMPILE_SECONDS = 300


class CompilerError(SkaError):
    """A compiler refused our source: a defect of ours, or flags of the user's."""


@dataclass(frozen=True)
class Compiler:
    """A compiler that is installed: its name, how it is called and what it says of its version."""

    name: str
    command: tuple[str, ...]
    version: str

    def compile(self, sources: Sequence[Path], out: Path, flags: Sequence[str], libraries: Sequence[str] = ()) -> None:
        """Compile and link `sources` into `out`, with every warning an error.  Raises CompilerError with the first."""
        command = [*self.command, *WARNINGS, f"-I{INCLUDE}", *flags, *map(str, sources), *libraries, "-o", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMPILE_SECONDS)
        if done.returncode:
            said = [text for text in done.stderr.splitlines() if "collect2" not in text]
            lines = [text for text in said if "error" in text] or said
            raise CompilerError(f"{self.name}: {lines[0] if lines else 'failed without a word'}")


@dataclass(frozen=True)
class _Known:
    command: str
    package: str


_KNOWN = {
    "gcc": _Known("gcc", "Debian package gcc"),
    "clang": _Known("clang", "Debian package clang"),
    "arm-none-eabi-gcc": _Known("arm-none-eabi-gcc", "Debian package gcc-arm-none-eabi"),
    "avr-gcc": _Known("avr-gcc", "Debian packages gcc-avr and avr-libc"),
    "riscv64-unknown-elf-gcc": _Known("riscv64-unknown-elf-gcc", "Debian package gcc-riscv64-unknown-elf"),
    "zig": _Known("", "pip install ziglang"),
}
NAMES = tuple(_KNOWN)


@functools.cache
def find_compiler(name: str) -> Compiler:
    """A compiler by name.  Raises SkaError for an unknown name, MissingError with the package that has it."""
    if name not in _KNOWN:
        raise SkaError(f"compiler {name!r}: allowed are {', '.join(NAMES)}")
    known = _KNOWN[name]
    if name == "zig":
        if importlib.util.find_spec("ziglang") is None:
            raise MissingError(f"compiler zig: not installed; {known.package}")
        zig = (sys.executable, "-m", "ziglang")
        return Compiler(name, (*zig, "cc"), _version(*zig, "version"))
    path = shutil.which(known.command)
    if path is None:
        raise MissingError(f"compiler {name}: not installed; {known.package}")
    return Compiler(name, (path,), _version(path, "--version"))


def _version(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMPILE_SECONDS)
    return done.stdout.splitlines()[0] if done.stdout else "unknown version"
