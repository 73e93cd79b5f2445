"""The least image around a learner, ours or backprop's, in the simulator: start-up, main, and nothing to talk to.

Both sides get the same start-up, the same main, the same compiler and flags, so that bytes and cycles differ by the
learner alone.  `ska-edge simulate` is for the firmware that will be flashed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from firmware_sim.catalogue import Board
from firmware_sim.errors import SimError
from firmware_sim.machine import Machine
from firmware_sim.profile import Mark, mark, visits
from firmware_sim.stack import stack_bound
from firmware_sim.timing import NONE, Cycles

from .backends.c.generate import generate
from .baselines import embedded
from .baselines.embedded import Descent
from .elf import read_elf
from .errors import MissingError, SkaError
from .firmware import GCC, HELPERS, PORTS, default_level, family, linker_script, machine_flags, start_files
from .fixed import pack, unpack
from .network import Network
from .operations import Kind, Role
from .plan import plan
from .program import Program
from .simulation import SimulationError
from .toolchain import Compiler, find_compiler

COMPILERS = ("gcc", "zig")
FLOATS_FLAGS = {
    "gcc": ("-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
    "zig": ("-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m4+vfp4d16sp"),
}


@dataclass(frozen=True)
class BareImage:
    """A learner's image: bytes stored, bytes of variables, and how it was built."""

    elf: Path
    board: Board
    flash_bytes: int
    static_ram_bytes: int
    compiler: str
    flags: tuple[str, ...]


@dataclass(frozen=True)
class BareRun:
    """What learning some samples one by one took.

    `per_sample`: cycles of one call of learn, the mean.  `state`: the memory of what was learnt.
    """

    per_sample: Cycles
    per_prediction: Cycles
    stack_bytes: int
    stack_bound_bytes: int | None
    state: bytes
    choices: tuple[int, ...]


def has_floats(board: Board) -> bool:
    """Whether the core has a unit for float32 whose cycles the simulator knows: the Cortex-M4F's."""
    return board.core.fpu == "single" and board.core.name == "cortex-m4"


def check_board(board: Board) -> None:
    """Raise SkaError for a board whose core gets no bare image."""
    if family(board) == "avr":
        raise SkaError(f"{board.name}: bare images are for Arm and RISC-V; its firmware runs in `ska-edge simulate`")


def build_ours(program: Program, board: Board, folder: Path, compiler: str = "gcc") -> BareImage:
    """A Program's kernels and model, alone.  Raises what compilers raise."""
    return _build(generate(program), [folder / "model.c"], board, folder, compiler, (), ())


def build_backprop(
    network: Network, descent: Descent, board: Board, folder: Path, compiler: str = "gcc", hard: bool = False
) -> BareImage:
    """Backprop's C for a network; `hard` uses the core's unit for floats.  Raises SkaError where it has none."""
    if hard and not has_floats(board):
        raise SkaError(f"{board.name} ({board.core.name}): no unit for float32 that is simulated here; Cortex-M4F has")
    flags = ["-DBARE_BACKPROP", f"-I{embedded.SOURCES}", "-ffp-contract=off"]
    flags += ["-DBARE_FLOATS=1", "-DBP_HARD_ROOT=1", "-fno-math-errno"] if hard else ["-DBARE_FLOATS=0"]
    sources = [descent.source, folder / "start.c"]
    machine = FLOATS_FLAGS[compiler] if hard else ()
    return _build(embedded.sources(network, descent), sources, board, folder, compiler, flags, machine)


def _build(
    files: Mapping[str, str],
    sources: list[Path],
    board: Board,
    folder: Path,
    compiler: str,
    extra: list[str] | tuple[str, ...],
    machine: tuple[str, ...],
) -> BareImage:
    check_board(board)
    tool: Compiler = find_compiler("zig" if compiler == "zig" else GCC[family(board)])
    for name, text in files.items():
        (folder / name).write_text(text)
    script = folder / "board.ld"
    script.write_text(linker_script(board))
    flags = (
        *(*machine_flags(board, compiler), *machine, f"-O{default_level(board)}", "-ffreestanding"),
        *("-ffunction-sections", "-fdata-sections", "-g"),
    )
    links = (
        *("-nostdlib", "-Wl,--gc-sections", "-Wl,--entry=Reset_Handler", "-Wl,-z,max-page-size=16", "-T", str(script)),
        *(() if compiler == "zig" else ("-nostartfiles",)),
    )
    image = folder / "bare.elf"
    parts = [*sources, embedded.SOURCES / "bare.c", *(PORTS / name for name in start_files(board))]
    defines = () if extra else ("-DBARE_FLOATS=0",)
    tool.compile(parts, image, [*flags, *extra, *defines, f"-I{folder}", *links], HELPERS[compiler])
    found = read_elf(image)
    stored = sum(section.bytes for section in found.sections if section.stored)
    written = sum(section.bytes for section in found.sections if section.writable or section.name.startswith(".bss"))
    return BareImage(image, board, stored, written, f"{tool.name} {tool.version}", (*flags, *extra))


def run_bare(
    image: BareImage,
    samples: list[bytes],
    labels: list[int],
    state: tuple[str, int, int],
    predicted: int = 2,
    advance: Callable[[int], None] = lambda count: None,
) -> BareRun:
    """Learn samples, decide the first `predicted` of them again, and count.

    `state`: symbol, offset and bytes of what is learnt.  Raises SimulationError for whatever the simulator finds.
    """
    try:
        machine = Machine(image.elf, image.board)
        machine.run()
        place, choices = int.from_bytes(machine.read("bare_sample"), "little"), []
        start = mark(machine)
        for sample, label in zip(samples, labels, strict=True):
            machine.write(place, sample)
            choices.append(_signed(machine.call("bare_learn", label)))
            advance(1)
        learning, middle = _cycles(machine, start), mark(machine)
        symbol, offset, size = state
        learnt = machine.read(machine.image.symbol(symbol).address + offset, size)
        for sample in samples[:predicted]:
            machine.write(place, sample)
            machine.call("bare_predict")
        deciding = _cycles(machine, middle)
    except SimError as error:
        kind = MissingError if error.exit_code == 3 else SimulationError
        raise kind(str(error)) from None
    bound = stack_bound(machine.image)
    return BareRun(
        _mean(learning, len(samples)),
        _mean(deciding, predicted),
        machine.stack_used,
        bound.bytes,
        learnt,
        tuple(choices),
    )


def run_ours(
    image: BareImage,
    program: Program,
    rows: list[dict[str, object]],
    labels: list[int],
    advance: Callable[[int], None] = lambda count: None,
) -> BareRun:
    """Our learner over raw samples, dictionaries of one array by the sample's name."""
    sample = next(program.of_kind(Kind.SAMPLE))
    layout = plan(program)
    state = ("ska_memory", layout.state_start, layout.fixed_bytes - layout.state_start)
    packed = [pack(row[sample.name], sample.format) for row in rows]  # type: ignore[arg-type]
    return run_bare(image, packed, labels, state, advance=advance)


def digest_of(program: Program, state: bytes) -> str:
    """State digest of a device's state memory."""
    layout = plan(program)
    found = {}
    for tensor in program.of_role(Role.STATE):
        start = layout.fixed[tensor.name] - layout.state_start
        found[tensor.name] = unpack(state[start : start + tensor.byte_count], tensor.shape, tensor.format)
    return program.digest_of(found)


def _cycles(machine: Machine, since: Mark) -> Cycles:
    total = NONE
    for visit in visits(machine, since):
        for cost in visit.cycles:
            total = total + cost.times(visit.count)
    return total


def _mean(total: Cycles, count: int) -> Cycles:
    return Cycles(*(each / max(count, 1) for each in total))


def _signed(value: int) -> int:
    return (value & 0xFFFF) - ((value & 0x8000) << 1)
