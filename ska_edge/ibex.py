"""Ibex's own RTL, run by Verilator: the reference for RISC-V cycles that knows nothing of any table."""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from firmware_sim.machine import RETURN_PAGE, Machine
from firmware_sim.profile import mark, profile
from firmware_sim.timing import Cycles

from .errors import MissingError, SkaError
from .toolchain import INCLUDE

PACKAGE = "pythondata_cpu_ibex"
PAGE = 4096
STACK_BYTES = 4 * PAGE
PACKAGES = ("util", "count", "ram_1p", "secded", "mubi", "cipher")
SMALL = ("RV32E", "BranchTargetALU", "WritebackStage", "ICache", "BranchPredictor", "SecureIbex")
"""What Ibex's configuration `small` leaves out; its multiplier, RV32MFast, is the default."""


@dataclass(frozen=True)
class Counted:
    """One call, here and in RTL: instructions and cycles of each."""

    instructions: int
    cycles: Cycles
    rtl_instructions: int
    rtl_cycles: int


@dataclass(frozen=True)
class Ibex:
    """Ibex, configuration small, as a program of this machine.  `version`: of the RTL."""

    runner: Path
    version: str

    def call(self, machine: Machine, name: str, *arguments: int) -> Counted:
        """Call a function in the simulator and, from the same registers and memory, in RTL.

        Raises SkaError where the two leave other bytes behind.
        """
        machine_registers = machine.core_registers()
        registers = [machine_registers[f"x{n}"] for n in range(32)]
        registers[10 : 10 + len(arguments)] = arguments
        registers[1] = RETURN_PAGE
        parts = _parts(machine, registers[2])
        state, after = self.runner.with_name("state.bin"), self.runner.with_name("after.bin")
        numbers = [*registers, machine.image.symbol(name).address, len(parts)]
        content = struct.pack(f"<{len(numbers)}I", *(number & 0xFFFFFFFF for number in numbers))
        for address, size in parts:
            content += struct.pack("<II", address, size) + machine.read(address, size)
        state.write_bytes(content)
        since, before = mark(machine), machine.instructions
        machine.call(name, *arguments)
        cycles = profile(machine, None, since).cycles
        done = subprocess.run(
            [str(self.runner), str(state), str(after)], capture_output=True, text=True, check=False, timeout=600
        )
        if done.returncode:
            raise SkaError(f"{name} in Ibex's RTL: {done.stderr.strip()}")
        if after.read_bytes() != b"".join(machine.read(*part) for part in parts):
            raise SkaError(f"{name}: Ibex's RTL leaves other bytes behind; one of the two is wrong")
        counted = json.loads(done.stdout)
        return Counted(machine.instructions - before, cycles, counted["instructions"], counted["cycles"])


def _parts(machine: Machine, stack: int) -> list[tuple[int, int]]:
    """Memory the call may use: code and variables, and the stack around the pointer."""
    start = machine.board.code.origin
    end = -(-max(machine.image.static_end, start + machine.image.stored_bytes) // PAGE) * PAGE
    low = (stack - STACK_BYTES) // PAGE * PAGE
    return [(start, end - start), (low, machine.stack_top - low)]


def build_ibex(folder: Path) -> Ibex:
    """Compile the RTL, which takes about a minute.  Raises MissingError for what is not installed."""
    if importlib.util.find_spec(PACKAGE) is None:
        raise MissingError(f"Ibex's RTL: {PACKAGE} is not installed; pip install pythondata-cpu-ibex")
    for tool, package in (("verilator", "verilator"), ("make", "make"), ("g++", "g++")):
        if shutil.which(tool) is None:
            raise MissingError(f"Ibex's RTL: {tool} is not installed; Debian package {package}")
    found = importlib.import_module(PACKAGE)
    root = Path(found.data_location)
    cells = root / "vendor" / "lowrisc_ip" / "ip" / "prim" / "rtl"
    host = INCLUDE / "host"
    command = [
        *("verilator", "--cc", "--exe", "--build", "-O3", "-Wno-fatal", "-Wno-lint", "-Wno-style"),
        *("--top-module", "ibex_top", "-DRVFI", "-DSYNTHESIS", *(f"-G{name}=0" for name in SMALL)),
        *("--Mdir", str(folder / "ibex"), "-o", "ibex_truth"),
        *(f"-I{cells}", f"-I{root / 'vendor' / 'lowrisc_ip' / 'dv' / 'sv' / 'dv_utils'}"),
        *("-y", str(root / "rtl"), "-y", str(cells)),
        *(str(cells / f"prim_{name}_pkg.sv") for name in PACKAGES),
        *(str(root / "rtl" / "ibex_pkg.sv"), str(host / "ibex_cells.sv"), str(root / "rtl" / "ibex_top.sv")),
        str((host / "ibex_truth.cpp").absolute()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        wrong = [line for line in done.stderr.splitlines() if "rror" in line]
        raise SkaError(f"Ibex's RTL does not build: {(wrong or done.stderr.splitlines())[:1]}")
    return Ibex(folder / "ibex" / "ibex_truth", str(found.data_git_describe))
