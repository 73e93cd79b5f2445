"""The simulator against the truth: independent emulators, and cycles that others measured on silicon and published.

Nothing here ran on silicon of ours.  What has no reference is in the table too, labelled `unvalidated`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from firmware_sim.avr import build_runner
from firmware_sim.catalogue import Board, load_board
from firmware_sim.errors import SimError
from firmware_sim.machine import Machine
from firmware_sim.profile import mark, profile, visits
from firmware_sim.timing import CORES, load_core_file

from .data import load_dataset
from .device.protocol import HELLO, LEARN, VERSION, encode_frame
from .emulator import SIMAVR_BAUD
from .errors import MissingError, SkaError
from .firmware import build, machine_flags
from .fixed import pack
from .ibex import build_ibex
from .lowering import lower
from .network import Network
from .operations import Kind
from .profiles import PROFILES
from .program import Program
from .simulation import simulate
from .toolchain import INCLUDE, Compiler, find_compiler
from .verify import stream_of

RP2040JS = "npm install --prefix out/rp2040js rp2040js@1.4.1"
PACKAGES = "SKA_EDGE_RP2040JS"
CALLS = 3
BACK = 0x1FFF0000


@dataclass(frozen=True)
class Row:
    """One comparison.  `truth` None: there is no reference, and `source` says why or what the numbers rest on.

    `low`, `simulated`, `high`: lowest, nominal and highest cycles.  `bar`: the largest relative error that passes.
    """

    reference: str
    core: str
    kernel: str
    source: str
    quoted: str
    simulated: float | None
    low: float | None
    high: float | None
    truth: float | None
    bar: float | None = None
    note: str = ""

    @property
    def relative_error(self) -> float | None:
        """(simulated - truth) / truth."""
        if self.truth is None or self.simulated is None:
            return None
        return (self.simulated - self.truth) / self.truth

    @property
    def holds(self) -> bool:
        """Whether the bar is kept, where there is one."""
        return self.bar is None or self.relative_error is None or abs(self.relative_error) <= self.bar

    def to_json(self) -> dict[str, Any]:
        """The contract's keys and more."""
        validated = self.truth is not None
        return {**asdict(self), "relative_error": self.relative_error, "validated": validated, "holds": self.holds}


def truths(skipped: dict[str, str], packages: Path | None = None) -> Iterator[Row]:
    """Every comparison that can be made on this machine; `skipped` gets the others, with what is missing."""
    groups: dict[str, Callable[[Path], Iterator[Row]]] = {
        "rp2040js": lambda folder: _rp2040js(folder, packages),
        "simavr": _simavr,
        "Ibex RTL": _ibex,
        "published cycles": _published,
    }
    for name, rows in groups.items():
        with tempfile.TemporaryDirectory(prefix="ska-edge-truth-") as folder:
            try:
                yield from rows(Path(folder))
            except MissingError as error:
                skipped[name] = str(error)
    yield from _unvalidated()


def _models() -> Iterator[tuple[str, Program, Any]]:
    data = load_dataset("digits")
    for bits in PROFILES:
        program = lower(Network((64, 16, 10)), bits, data.samples[:200])
        yield bits, program, stream_of(program, data)


# --- independent emulators ----------------------------------------------------------------------------------------


def _rp2040js(folder: Path, packages: Path | None) -> Iterator[Row]:
    """The same call, from the same registers and memory, in rp2040js: instructions, cycles, and memory afterwards."""
    node = shutil.which("node")
    packages = packages or Path(os.environ.get(PACKAGES, "out/rp2040js"))
    if node is None:
        raise MissingError("rp2040js: node is not installed; Debian package nodejs")
    if not (packages / "node_modules" / "rp2040js").is_dir():
        raise MissingError(f"rp2040js: not in {packages}; {RP2040JS}, or set {PACKAGES}")
    board = load_board("rpi_pico")
    ram = board.data
    for bits, program, stream in _models():
        image = build(program, board, folder / bits)
        machine = Machine(image.elf, board)
        machine.run()
        sample = next(program.of_kind(Kind.SAMPLE))
        place = machine.image.symbol("ska_memory").address + _offset(program, sample.name)
        for name in ("ska_learn", "ska_predict"):
            machine.write(place, pack(stream["x"][0], sample.format))
            before = machine.read(ram.origin, ram.bytes)
            start, since = (machine.instructions, machine.cycles), mark(machine)
            registers = machine.core_registers() | {"r0": place, "r1": int(stream["label"][0])}
            result = machine.call(name, place, int(stream["label"][0]))
            counted = (machine.instructions - start[0], machine.cycles - start[1])
            pushes = sum(
                visit.count
                for visit in visits(machine, since)
                for one in visit.instructions
                if one.text.startswith("push") and "lr" in one.text
            )
            other, after = _carried_on(node, packages, folder, image.binary, before, registers, machine, name)
            if after != machine.read(ram.origin, ram.bytes) or (other["result"] & 0xFFFF) != (result & 0xFFFF):
                raise SkaError(f"{name} of {bits}: rp2040js leaves other bytes behind; one of the two is wrong")
            kernel = f"{name}, digits 64-16-10 {bits}"
            for unit, mine, theirs, bar in (
                ("instructions", counted[0], other["instructions"], 0.0),
                ("cycles as it counts them", counted[1], other["cycles"], None),
                (f"cycles, LR counted in each of {pushes:,} PUSH", counted[1], other["cycles"] + pushes, 0.003),
            ):
                yield Row(
                    "rp2040js", "cortex-m0plus", f"{kernel}: {unit}", _RP2040JS, "", mine, mine, mine, theirs, bar
                )


_RP2040JS = (
    "rp2040js 1.4.1 from the same registers and memory, memory afterwards equal; its PUSH costs nothing for LR, "
    "Arm's 1 + N counts it"
)


def _carried_on(
    node: str,
    packages: Path,
    folder: Path,
    binary: Path,
    ram: bytes,
    registers: dict[str, int],
    machine: Machine,
    name: str,
) -> tuple[dict[str, int], bytes]:
    before, after, state = folder / "ram.bin", folder / "after.bin", folder / "state.json"
    before.write_bytes(ram)
    content = {
        "flash": str(binary),
        "ram": str(before),
        "after": str(after),
        "ramBytes": len(ram),
        "registers": registers,
        "pc": machine.image.symbol(name).address,
        "back": BACK,
        "most": 100_000_000,
    }
    state.write_text(json.dumps(content))
    command = [node, str(INCLUDE / "host" / "rp2040_truth.mjs"), str(state), str(packages.absolute())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise SkaError(f"rp2040js: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout), after.read_bytes()


def _offset(program: Program, tensor: str) -> int:
    from .plan import plan

    return plan(program).fixed[tensor]


def _simavr(folder: Path) -> Iterator[Row]:
    """The same samples through the same image in simavr alone."""
    board = load_board("arduino_uno")
    try:
        runner = build_runner(INCLUDE / "host" / "simavr_truth.c", folder)
    except SimError as error:
        raise MissingError(str(error)) from None
    for bits, program, stream in _models():
        if bits.startswith("w16"):
            continue  # does not fit 2 KB
        done = simulate(program, board, stream["x"], stream["label"], folder / bits, CALLS, 0, baud=SIMAVR_BAUD)
        sample = next(program.of_kind(Kind.SAMPLE))
        frames = [encode_frame(bytes([VERSION, 0, HELLO, 0]))]
        for row in range(CALLS):
            label = int(stream["label"][row]).to_bytes(2, "little", signed=True)
            frames.append(
                encode_frame(bytes([VERSION, row + 1, LEARN, 0]) + label + pack(stream["x"][row], sample.format))
            )
        from firmware_sim.image import Image

        entry = Image(done.image.elf).symbol("ska_learn").address
        command = [str(runner), str(done.image.elf), "atmega328p", str(board.clock.hz), str(entry), str(CALLS)]
        ran = subprocess.run(command, input=b"".join(frames), capture_output=True, check=False, timeout=300)
        counts = [int(line.split()[1]) for line in ran.stdout.decode().splitlines() if line.startswith("cycles ")]
        if len(counts) != CALLS:
            raise SkaError(f"simavr alone: {len(counts)} calls of ska_learn, {CALLS} expected")
        share = done.learning.functions["ska_learn"]
        mine, theirs = share.total.nominal, float(sum(counts))
        kernel = f"ska_learn, digits 64-16-10 {bits}, {CALLS} samples: cycles"
        source = "simavr's own cycle counter at entry and return, no profile"
        yield Row("simavr", "avr5", kernel, source, "", mine, mine, mine, theirs, 0.0)


def _ibex(folder: Path) -> Iterator[Row]:
    """The same call, from the same registers and memory, in the core's own RTL."""
    ibex, board, tool = build_ibex(folder), load_board("qemu_rv32"), find_compiler("zig")
    source = f"lowRISC, Ibex RTL {ibex.version}, ibex_top in configuration small, compiled by Verilator; {_SAME}"

    def rows(machine: Machine, function: str, kernel: str, *arguments: int) -> Iterator[Row]:
        found = ibex.call(machine, function, *arguments)
        instructions = float(found.instructions)
        for unit, (low, nominal, high), truth in (
            ("instructions", (instructions,) * 3, found.rtl_instructions),
            ("cycles", found.cycles, found.rtl_cycles),
        ):
            title = machine.core.title
            yield Row("Ibex RTL", title, f"{kernel}: {unit}", source, "", nominal, low, high, float(truth), 0.0)

    for bits, program, stream in _models():
        machine = Machine(build(program, board, folder / bits).elf, board)
        machine.run()
        sample = next(program.of_kind(Kind.SAMPLE))
        place = machine.image.symbol("ska_memory").address + _offset(program, sample.name)
        for name in ("ska_learn", "ska_predict"):
            machine.write(place, pack(stream["x"][0], sample.format))
            yield from rows(machine, name, f"{name}, digits 64-16-10 {bits}", place, int(stream["label"][0]))
    every = folder / "every.S"
    every.write_text(_every())
    machine = _assembled(tool, board, every, folder / "every.elf")
    yield from rows(machine, "kernel", "every kind of instruction of the table, 100 turns", 100, 12345, -7)


_SAME = "from the same registers and memory, memory afterwards equal"


def _every() -> str:
    """A loop over all rows of the table: a0 turns, numbers a1 and a2."""
    pairs = ["mul", "mulh", "mulhu", "mulhsu", "div", "divu", "rem", "remu", "add", "sub", "xor", "sll", "sra", "sltu"]
    body = [f"{name} t0, a1, a2" for name in pairs] + ["csrr t0, mscratch", "fence", "nop", "lui t0, 0x12345"]
    body += [
        f"{store} a1, -16(sp)\n    {load} t0, -16(sp)" for store, load in (("sw", "lw"), ("sh", "lhu"), ("sb", "lb"))
    ]
    body += [".balign 4\n    c.nop\n    j 2f\n    c.nop\n2:  add t0, a1, a2"]  # a wide target that is not aligned
    body += [f"{branch} a1, a2, 3f\n    c.nop\n3:  c.nop" for branch in ("beq", "bne", "blt", "bge", "bltu", "bgeu")]
    body += ["jal t1, 4f\n4:  la t1, 5f\n    jalr t2, t1\n5:  c.nop"]
    lines = "\n    ".join(body)
    return (
        f".text\n.balign 4\n.globl kernel\n.type kernel, @function\nkernel:\n1:\n    {lines}\n"
        "    addi a0, a0, -1\n    bnez a0, 1b\n    ret\n.size kernel, . - kernel\n"
    )


# --- published cycles ---------------------------------------------------------------------------------------------

_AES = (
    "P. Schwabe, K. Stoffelen, All the AES You Need on Cortex-M3 and M4 (SAC 2016), "
    "table in the authors' repository Ko-/aes-armcortexm"
)
_READS = 4
"""Cycles between the two reads of the cycle counter that are not the function's: BL (2) and the second LDR (2)."""


@dataclass(frozen=True)
class _Silicon:
    reference: str
    boards: str
    function: str
    kernel: str
    source: str
    quoted: str
    truth: float
    bytes: int | None = None


_KEYS = "AES-128 key expansion | 243.9 | 254.9"
_BLOCK = "AES-128 single block encryption | 639.5 | 644.7"
_CUT = (
    "the instructions rebuilt from the published structure, of the published size; table in flash without wait states"
)
_TI = "TI, SysCtlDelay in StellarisWare and TivaWare driverlib/sysctl.c"
_BLAATSCHAAP = "A. Stomp, Wait a microsecond, blaatschaap.be/wait-a-microsecond"
_NORDIC = "Nordic, nrfx_coredep.h: NRFX_COREDEP_DELAY_US_LOOP_CYCLES"
SILICON = (
    _Silicon("STM32L100C", "qemu_m3", "aes_keys", f"AES-128 key expansion, {_CUT}", _AES, _KEYS, 243.9, 742),
    _Silicon("STM32F407", "qemu_m4", "aes_keys", f"AES-128 key expansion, {_CUT}", _AES, _KEYS, 254.9, 742),
    _Silicon("STM32L100C", "qemu_m3", "aes_block", f"AES-128 of one block, {_CUT}", _AES, _BLOCK, 639.5, 1970),
    _Silicon("STM32F407", "qemu_m4", "aes_block", f"AES-128 of one block, {_CUT}", _AES, _BLOCK, 644.7, 1970),
    _Silicon("Stellaris LM3S", "qemu_m3", "loop", "SUBS, BNE: one turn", _TI, "The loop takes 3 cycles/loop.", 3),
    _Silicon("Tiva TM4C", "qemu_m4", "loop", "SUBS, BNE: one turn", _TI, "The loop takes 3 cycles/loop.", 3),
    _Silicon(
        *("nRF52832, nRF52840", "qemu_m4", "loop", "SUBS, BHI: one turn, from the cache", _NORDIC),
        *("The loop takes 3 cycles: 1 for SUBS, 2 for BHI.", 3),
    ),
    _Silicon(
        *("STM32F072", "qemu_m0", "loop", "SUBS, BHI: one turn, from RAM", _BLAATSCHAAP),
        *("On an STM32F072 (Cortex M0) ... 1 cycle ... 3 cycles", 4),
    ),
    _Silicon(
        *("STM32L051", "rpi_pico", "loop", "SUBS, BHI: one turn, from RAM", _BLAATSCHAAP),
        *("On an STM32L051 (Cortex M0+) ... 1 cycle ... 2 cycles", 3),
    ),
)


def _published(folder: Path) -> Iterator[Row]:
    tool = find_compiler("zig")
    for one in SILICON:
        board = load_board(one.boards)
        source, elf = folder / f"{one.function}.S", folder / f"{one.boards}_{one.function}.elf"
        source.write_text(assembly(one.function))
        machine = _assembled(tool, board, source, elf)
        size = machine.image.symbol("kernel").bytes
        if one.bytes is not None and size != one.bytes:
            raise SkaError(f"{one.kernel}: {size} bytes of code; published are {one.bytes}")
        cycles = _turns(machine) if one.function == "loop" else _call(machine)
        yield Row(
            *(one.reference, machine.core.title, one.kernel, one.source, one.quoted),
            *(cycles[1], cycles[0], cycles[2], one.truth),
        )
    yield from _tables(folder)


def _assembled(tool: Compiler, board: Board, source: Path, elf: Path) -> Machine:
    """A kernel of its own at the start of a board's code memory."""
    script = elf.with_suffix(".ld")
    script.write_text(f"SECTIONS {{ .text 0x{board.usable(board.code)[0]:x} : {{ *(.text) }} }}\n")
    flags = ["-nostdlib", "-Wl,--entry=kernel", "-Wl,-z,max-page-size=16", "-T", str(script)]
    tool.compile([source], elf, [*machine_flags(board, "zig"), *flags])
    return Machine(elf, board)


def _call(machine: Machine) -> tuple[float, float, float]:
    """Cycles of one call as the publication counted them: between two reads of the counter."""
    ram = machine.board.data.origin
    since = mark(machine)
    machine.call("kernel", ram, ram + 0x200, ram + 0x400)
    found = profile(machine, None, since).cycles
    return (found.low + _READS, found.nominal + _READS, found.high + _READS)


def _turns(machine: Machine) -> tuple[float, float, float]:
    """Cycles of one turn of a loop: what a thousand more take, over a thousand."""
    counts = []
    for turns in (1000, 2000):
        since = mark(machine)
        machine.call("kernel", turns)
        counts.append(profile(machine, None, since).cycles)
    low, nominal, high = ((b - a) / 1000 for a, b in zip(*counts, strict=True))
    return low, nominal, high


_IBEX = "lowRISC, Ibex Reference Guide, Pipeline Details: stall cycles by instruction, configuration small"
_RV32 = (
    ("addi; bnez", "", 4, "addi 1, taken branch 3"),
    ("lw; addi; bnez", "lw t0, -16(sp)", 6, "lw 2, addi 1, taken branch 3"),
    ("mul; addi; bnez", "mul t0, a0, a0", 7, "mul 3, addi 1, taken branch 3"),
    ("mulh; sw; addi; bnez", "mulh t0, a0, a0\n    sw t0, -16(sp)", 10, "mulh 4, sw 2, addi 1, taken branch 3"),
)


_NICCLE = (
    "timonvo, niccle, esp/examples/cycle_counting.rs at cc24cf46: loops counted on the chip by its performance "
    "counter, code and data in SRAM; our table rests on it"
)
C3 = (
    ("addi; nop; bnez", "1: addi a0, a0, -1\n    nop\n    bnez a0, 1b", 5, "ADD 1, NOP 1, BRANCH_BACK_TAKEN 3"),
    ("addi; bnez, not aligned", "nop\n1:  addi a0, a0, -1\n    bnez a0, 1b", 4, "ADD 1, BRANCH_BACK_TAKEN 3"),
    (
        *("addi; bnez forward; j", "1: addi a0, a0, -1\n    bnez a0, 2f\n    j 3f\n    .balign 4\n2:  j 1b\n3:"),
        *(6, "ADD 1, BRANCH_FWD_TAKEN 3, JUMP 2"),
    ),
    ("addi; beqz; j", "1: addi a0, a0, -1\n    beqz a0, 2f\n    j 1b\n2:", 4, "ADD 1, BRANCH_FWD_NOT_TAKEN 1, JUMP 2"),
    (
        *("j; addi; nop; bnez", "1: j 2f\n    .balign 16\n2:  addi a0, a0, -1\n    nop\n    bnez a0, 1b"),
        *(7, "JUMP 2, ADD 1, NOP 1, BRANCH_BACK_TAKEN 3"),
    ),
    (
        *("lw; add of it; addi; bnez", "1: lw t0, -16(sp)\n    add t1, t1, t0\n    addi a0, a0, -1\n    bnez a0, 1b"),
        *(7, "LOAD 2, ADD 1, NOP 1, BRANCH_BACK_TAKEN 3"),
    ),
    (
        "xor; sw; nop; nop; addi; nop; bnez",
        "1: xor t1, t1, zero\n    sw zero, -16(sp)\n    nop\n    nop\n    addi a0, a0, -1\n    nop\n    bnez a0, 1b",
        *(9, "STORE 1, XOR 1, NOP 1, NOP 1, ADD 1, NOP 1, BRANCH_BACK_TAKEN 3"),
    ),
)
"""One turn of loops that somebody counted on an ESP32-C3: kernel, our instructions, cycles, the source's sum."""


def _tables(folder: Path) -> Iterator[Row]:
    """RV32: turns of loops, by addition from Ibex's published table, which checks the counting; and of an ESP32-C3."""
    ibex = [
        (kernel, f".option norvc\n1:  {body}\n    addi a0, a0, -1\n    bnez a0, 1b", truth, quoted)
        for kernel, body, truth, quoted in _RV32
    ]
    for board, loops, reference, source, note in (
        ("qemu_rv32", ibex, "Ibex table", _IBEX, "table against table"),
        ("esp32c3_devkit", C3, "ESP32-C3", _NICCLE, ""),
    ):
        for number, (kernel, body, truth, quoted) in enumerate(loops):
            file, elf = folder / f"{board}{number}.S", folder / f"{board}{number}.elf"
            file.write_text(
                f".text\n.balign 4\n.globl kernel\n.type kernel, @function\nkernel:\n    {body}\n    ret\n"
                ".size kernel, . - kernel\n"
            )
            machine = _assembled(find_compiler("zig"), load_board(board), file, elf)
            low, nominal, high = _turns(machine)
            yield Row(reference, machine.core.title, kernel, source, quoted, nominal, low, high, truth, 0.0, note)


def assembly(function: str) -> str:
    """Source of a kernel named `kernel` for Cortex-M: `loop`, `aes_keys` or `aes_block`.

    The two of AES follow the structure the paper describes (one table, rounds unrolled, columns in registers);
    what they compute from an empty table is no AES, but no instruction's time depends on it.
    """
    body = {"loop": _loop, "aes_keys": _aes_keys, "aes_block": _aes_block}[function]()
    lines = "\n".join(f"    {line}" for line in body)
    table = "" if function == "loop" else ".balign 4\ntable: .space 1024\n"
    return (
        f".syntax unified\n.text\n{table}.balign 4\n.globl kernel\n.type kernel, %function\n.thumb_func\nkernel:\n"
        f"{lines}\n.size kernel, . - kernel\n"
    )


def _loop() -> list[str]:
    return ["1: subs r0, r0, #1", "bne 1b", "bx lr"]


def _aes_keys() -> list[str]:
    lines = ["push {r4-r11}", "ldm r0, {r4-r7}", "adr r3, table"]
    for turn in range(10):
        if turn == 8:
            lines.append("add r1, #128")
        lines += [f"uxtb r{8 + n}, r7{f', ror #{shift}' if shift else ''}" for n, shift in enumerate((8, 16, 24, 0))]
        lines += [f"ldrb r{n}, [r3, r{n}, lsl #2]" for n in range(8, 12)]
        lines += ["eor r4, #1", "eor r4, r4, r8", *(f"eor r4, r4, r{9 + n}, lsl #{8 + 8 * n}" for n in range(3))]
        lines += ["eor r5, r4", "eor r6, r5", "eor r7, r6"]
        lines += [f"str r{4 + n}, [r1, #{(turn % 8) * 16 + 4 * n}]" for n in range(4)]
    return [*lines, "pop {r4-r11}", "bx lr"]


def _aes_block() -> list[str]:
    lines = ["push {r2,r4-r11,r14}", "ldm r1, {r4-r7}", "ldmia r0!, {r8-r11}", "mov.w r14, r0", "adr r12, table"]
    lines += [f"eor r{4 + n}, r{8 + n}" for n in range(4)]
    old, new = (4, 5, 6, 7), (8, 9, 10, 11)
    for _ in range(9):
        lines.append(f"ldmia r14!, {{r{new[0]}-r{new[3]}}}")
        for byte in range(4):
            lines += _lookups(old, byte, range(4))
            turned = ("ror #16", "ror #8", "", "ror #24")[byte]
            lines += [f"eor r{w}, r{w}, r{n}, {turned}" if turned else f"eor r{w}, r{n}" for n, w in enumerate(new)]
        old, new = new, old
    lines += _lookups(old, 0, new)
    for byte in range(1, 4):
        lines += _lookups(old, byte, range(4))
        lines += [f"bfi r{w}, r{n}, #{8 * byte}, #8" for n, w in enumerate(new)]
    lines += ["ldmia r14!, {r0-r3}", *(f"eor r{n}, r{n}, r{w}" for n, w in enumerate(new[:3]))]
    return [*lines, "pop.w {r4}", f"eor r3, r3, r{new[3]}", "stm r4, {r0-r3}", "pop {r4-r11,r14}", "bx lr"]


def _lookups(words: tuple[int, ...], byte: int, into: Any) -> list[str]:
    turn = f", ror #{8 * byte}" if byte else ""
    picked = [f"uxtb r{n}, r{words[(n + byte) % 4]}{turn}" for n in range(4)]
    return [*picked, *(f"ldr r{to}, [r12, r{n}, lsl #2]" for n, to in enumerate(into))]


def _unvalidated() -> Iterator[Row]:
    """Cores for which no independent reference was found."""
    for name in ("cortex-m33", "cortex-m7", "qingke-v2", "rv32"):
        core = load_core_file(CORES / f"{name}.toml")
        yield Row(
            "none", core.title, "-", core.source, "", None, None, None, None, None, f"unvalidated ({core.status})"
        )
