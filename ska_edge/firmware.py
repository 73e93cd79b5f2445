"""A Program as a firmware image for a board: sources, start-up code, linker script, sizes.

Everything about hardware comes from the board's file in `firmware_sim`; here stands only which compiler flags a core
needs and which of our ports drives a line.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firmware_sim.catalogue import Board, Serial, load_board

from . import elf
from .activity import activity
from .backends.c.generate import generate
from .chips import Chip, boot2_source, chip_of, sealed_boot2, section_bytes
from .errors import FitError, SkaError
from .fits import check_fit
from .plan import memory, plan
from .program import Program
from .toolchain import INCLUDE, Compiler, find_compiler
from .wear import SLOTS, saves_of

DEVICE = INCLUDE / "device"
PORTS = INCLUDE / "ports"
PAINTED_BYTES = 8192
SMALL_RAM_BYTES = 4096
SMALL_FLASH_BYTES = 32768
PARTS_OF_MODEL = ("weights", "heads", "biases", "other_state", "inputs", "outputs", "entropies", "scratch", "padding")


class FirmwareError(SkaError):
    """An image cannot be built: no port for the board, or no such compiler for it."""


@dataclass(frozen=True)
class _Driver:
    """A port: its file, and whether it has run in an emulator or has only been built."""

    file: str
    ran: bool


_DRIVERS = {
    "cmsdk-uart": _Driver("cmsdk_uart.c", True),
    "nrf-uart": _Driver("nrf_uart.c", True),
    "ns16550": _Driver("ns16550.c", True),
    "avr-usart": _Driver("avr_usart.c", True),
    "stm32-usart-v1": _Driver("stm32_usart_v1.c", True),
    "stm32-usart-v2": _Driver("stm32_usart_v2.c", False),
    "stm32-usart-v3": _Driver("stm32_usart_v2.c", False),
    "pl011": _Driver("pl011.c", True),
    "esp-uart": _Driver("esp_uart.c", False),
}
_STORES = {"ATmega": "avr_eeprom.c", "nRF5": "nrf_nvmc.c"}  # by the start of the chip's name
_STORED_BY = "ATmega (EEPROM) and nRF51, nRF52 (NVMC)"
GCC = {"arm": "arm-none-eabi-gcc", "riscv": "riscv64-unknown-elf-gcc", "avr": "avr-gcc"}
HELPERS = {"zig": ("-rtlib=compiler-rt",), "gcc": ("-lgcc",)}  # 64-bit products and shifts of the small cores
_START = {
    "arm": ("startup_cortex_m.c", "startup.c", "memory.c"),
    "riscv": ("startup_rv32.S", "startup.c", "memory.c"),
    "avr": (),
}
_EXTENSIONS = {"rv32imac": "+m+a+c", "rv32imc": "+m+c", "rv32ec": "+e+c"}
_MCUS = {"ATmega328P": "atmega328p", "ATmega2560": "atmega2560"}
_PIN = re.compile(r"P([01])\.(\d+)")  # Nordic's names
COMPILERS = ("zig", "gcc")
LEVELS = ("0", "1", "2", "3", "s", "z")
BUILT_FOR = "ska_built_for_"
"""With the board's name, a symbol of every image: `ska-edge flash` refuses one that was built for another board."""


@dataclass(frozen=True)
class Image:
    """A built image and what is in it.  `ran`: whether this port has ever run anywhere (in an emulator, so far).

    `clock_hz`: what the port runs the core at, which may be less than the chip can; None where the boot ROM decides.
    """

    elf: Path
    binary: Path
    hex: Path
    board: Board
    program_digest: str
    compiler: str
    flags: tuple[str, ...]
    sections: Mapping[str, int]
    ram_bytes: Mapping[str, int]
    flash_bytes: Mapping[str, int]
    functions: Mapping[str, int]
    ran: bool
    clock_hz: int | None

    def to_json(self) -> dict[str, Any]:
        """The contract's keys."""
        return {
            "elf": str(self.elf),
            "binary": str(self.binary),
            "hex": str(self.hex),
            "board": self.board.name,
            "program_digest": self.program_digest,
            "compiler": self.compiler,
            "flags": list(self.flags),
            "sections": dict(self.sections),
            "ram_bytes": dict(self.ram_bytes),
            "flash_bytes": dict(self.flash_bytes),
            "functions": dict(self.functions),
            "ran_in_emulator": self.ran,
            "clock_hz": self.clock_hz,
        }


def default_level(board: Board) -> str:
    """The level of -O that a board gets: s on the smallest cores and flashes, else 2."""
    small = board.flash_bytes <= SMALL_FLASH_BYTES or board.core.name.startswith(("cortex-m0", "avr"))
    return "s" if small else "2"


def start_files(board: Board) -> tuple[str, ...]:
    """What runs before main, in `csrc/ports`; avr-libc brings its own."""
    return _START[family(board)]


def family(board: Board) -> str:
    """arm, riscv or avr."""
    name = board.core.name
    return "arm" if name.startswith("cortex-") else "avr" if name.startswith("avr") else "riscv"


def build(
    program: Program,
    board: Board | str,
    out: str | Path,
    compiler: str | None = None,
    optimise: str | None = None,
    stepped: bool = False,
    baud: int | None = None,
    snapshots: bool = False,
) -> Image:
    """Build the firmware of a Program for a board into the folder `out`.

    `compiler` is zig (the default but for AVR) or gcc; `optimise` the level of -O (the default is s for the smallest
    cores and flashes, else 2).  `stepped` adds what the test bench needs: single operations and the whole arena;
    `snapshots` two slots in the chip's own flash or EEPROM, where a state outlives the power.
    Raises FirmwareError where the board has no port, FitError where the Program does not fit, MissingError without the
    compiler.
    """
    board = load_board(board) if isinstance(board, str) else board
    kind = family(board)
    chosen = compiler or ("gcc" if kind == "avr" else "zig")
    if chosen not in COMPILERS:
        raise FirmwareError(f"compiler {chosen!r}: allowed are {', '.join(COMPILERS)}")
    if chosen == "zig" and kind == "avr":
        raise FirmwareError(f"{board.name}: zig has no start-up code for AVR; use --compiler gcc")
    level = optimise or default_level(board)
    if level not in LEVELS:
        raise FirmwareError(f"optimisation {level!r}: allowed are {', '.join(LEVELS)}")
    serial, driver = line(board)
    check_fit(program, board)
    store = store_of(program, board) if snapshots else None
    tool = find_compiler("zig" if chosen == "zig" else GCC[kind])
    folder = Path(out).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    flags = (
        *machine_flags(board, chosen),
        f"-O{level}",
        "-ffreestanding",
        "-ffunction-sections",
        "-fdata-sections",
        "-gdwarf-2" if kind == "avr" else "-g",  # Debian's avr-gcc would write stabs
    )
    defines = (*_defines(board, serial, tool, level, stepped, baud), *(store.defines() if store else ()))
    sources = generate(program)
    for name, text in sources.items():
        (folder / name).write_text(text)
    objects = _compile(tool, folder, [*flags, *defines], _sources(driver, board, store), chip(board))
    image, links = folder / "firmware.elf", _link_flags(board, chosen, folder, store.flash_bytes if store else 0)
    libraries = () if kind == "avr" else HELPERS[chosen]
    tool.compile(list(objects.values()), image, [*machine_flags(board, chosen), *links], libraries)
    image.with_suffix(".map.json").write_text(json.dumps(activity(program, sources["model.c"])))
    return _describe(program, board, tool, (*flags, *defines, *links), image, objects, driver)


@dataclass(frozen=True)
class Store:
    """Two slots for snapshots: the port that writes them, bytes of one, their pages, and where they lie.

    `flash_bytes`: how much of the region that holds code they take.
    """

    file: str
    slot_bytes: int
    page_bytes: int
    base: int
    flash_bytes: int

    def defines(self) -> tuple[str, ...]:
        """What the port is told."""
        numbers = (f"SLOT={self.slot_bytes}UL", f"PAGE={self.page_bytes}UL", f"BASE=0x{self.base:X}UL")
        return ("-DSKA_SNAPSHOTS", *(f"-DSKA_STORE_{number}" for number in numbers))


def store_of(program: Program, board: Board) -> Store:
    """Where a board keeps snapshots.  Raises FirmwareError without a port for it, FitError without the room."""
    file = next((file for name, file in _STORES.items() if board.mcu.startswith(name)), None)
    if file is None or board.store is None:
        raise FirmwareError(f"{board.name} ({board.mcu}): no port writes its flash yet; ports exist for {_STORED_BY}")
    wear = saves_of(program, board)
    region = board.memory(board.store.memory)
    origin, size = board.usable(region)
    both = SLOTS * wear.slot_bytes
    return Store(file, wear.slot_bytes, wear.page_bytes, origin + size - both, both if region == board.code else 0)


def line(board: Board) -> tuple[Serial, _Driver]:
    """The first serial line of a board that a port of ours drives.  Raises FirmwareError where there is none."""
    for serial in board.serials:
        if serial.driver in _DRIVERS:
            chip_of(board, serial)
            return serial, _DRIVERS[serial.driver]
    found = ", ".join(serial.driver or serial.kind for serial in board.serials) or "no line"
    raise FirmwareError(f"{board.name} ({board.mcu}): {found}; ports exist for {', '.join(_DRIVERS)}")


def chip(board: Board) -> Chip:
    """What the board's port sets up beside the line, and at which clock it runs."""
    return chip_of(board, line(board)[0])


def frame_bytes(board: Board) -> int:
    """The longest frame a board's firmware takes: what its RAM can spare."""
    return 112 if board.ram_bytes <= SMALL_RAM_BYTES else 256 if board.ram_bytes <= 2 * SMALL_RAM_BYTES else 1024


def stack_bytes(board: Board) -> int:
    """Stack that an image must leave free."""
    return 320 if board.ram_bytes <= SMALL_RAM_BYTES else 1024


def machine_flags(board: Board, compiler: str) -> tuple[str, ...]:
    """What tells a compiler which core it compiles for."""
    core = board.core.name
    if family(board) == "arm":
        if compiler == "zig":
            cpu = core.replace("-", "_") + ("+dsp" if board.core.dsp else "")  # no Cortex-M33 has it by that name alone
            return ("-target", "thumb-freestanding-eabi", f"-mcpu={cpu}", "-fno-sanitize=undefined")
        return (f"-mcpu={core}", "-mthumb")
    if family(board) == "riscv":
        if compiler == "zig":
            return (
                *("-target", "riscv32-freestanding-none", f"-mcpu=generic_rv32{_EXTENSIONS[core]}"),
                *("-fno-sanitize=undefined", "-mno-relax"),
            )
        abi = "ilp32e" if core.startswith("rv32e") else "ilp32"
        march = core if core.startswith("rv32e") else f"{core}_zicsr"  # Debian's gcc finds RV32E's library only so
        return (f"-march={march}", f"-mabi={abi}", "-mno-relax")
    return (f"-mmcu={_mcu(board)}",)


def _mcu(board: Board) -> str:
    if board.mcu not in _MCUS:
        raise FirmwareError(
            f"{board.name}: avr-gcc's name of {board.mcu} is not known here; known are {', '.join(_MCUS)}"
        )
    return _MCUS[board.mcu]


def _defines(
    board: Board, serial: Serial, tool: Compiler, level: str, stepped: bool, baud: int | None
) -> tuple[str, ...]:
    said = f"{board.name}, {tool.name} {tool.version}, -O{level}".replace('"', "'")
    defines = [
        f'-DSKA_BUILD="{said}"',
        f"-DSKA_FRAME_BYTES={frame_bytes(board)}",
        f"-DSKA_CLOCK_HZ={chip(board).clock_hz or 0}UL",
        f"-DSKA_BAUD={chip(board).speed(baud, serial)}UL",
        f"-DSKA_UART_BASE=0x{serial.base or 0:X}UL",
    ]
    for name, pin in (("TX", serial.tx), ("RX", serial.rx)):
        number = _PIN.fullmatch(pin)
        if number:
            defines.append(f"-DSKA_UART_{name}={32 * int(number[1]) + int(number[2])}U")
    defines += chip(board).defines(serial)
    return (*defines, *(("-DSKA_STEPPED",) if stepped else ()))


def _sources(driver: _Driver, board: Board, store: Store | None) -> list[Path]:
    device = [DEVICE / "main.c", DEVICE / "protocol.c", DEVICE / "frame.c"]
    saved = [DEVICE / "snapshot.c", PORTS / store.file] if store else []
    return [*device, *saved, *(PORTS / name for name in (driver.file, *chip(board).files, *start_files(board)))]


def _compile(tool: Compiler, folder: Path, flags: list[str], parts: list[Path], made: Chip) -> dict[str, Path]:
    sources = [folder / "model.c", *parts]
    if made.boot2:
        bare = folder / "boot2_bare.o"
        tool.compile([PORTS / made.boot2], bare, [*flags, "-c"])
        sources.append(folder / "boot2.S")
        sources[-1].write_text(boot2_source(sealed_boot2(section_bytes(bare, ".boot2"))))
    objects = {source.stem: folder / f"{source.stem}.o" for source in sources}

    def one(source: Path) -> None:
        tool.compile([source], objects[source.stem], [*flags, f"-I{folder}", f"-I{DEVICE}", "-c"])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, sources))
    return objects


def _link_flags(board: Board, compiler: str, folder: Path, kept_bytes: int) -> tuple[str, ...]:
    shared = ("-Wl,--gc-sections",)
    if family(board) == "avr":
        lengths = (
            f"--defsym=__TEXT_REGION_LENGTH__={board.flash_bytes},--defsym=__DATA_REGION_LENGTH__={board.ram_bytes}"
        )
        return (*shared, f"-Wl,{lengths},--defsym={BUILT_FOR}{board.name}=0")
    script = folder / "board.ld"
    script.write_text(linker_script(board, kept_bytes))
    flags = (
        "-ffreestanding",
        "-nostdlib",
        *shared,
        "-Wl,--entry=Reset_Handler",
        "-Wl,-z,max-page-size=16",
        "-T",
        str(script),
    )
    return flags if compiler == "zig" else (*flags, "-nostartfiles")


def linker_script(board: Board, kept_bytes: int = 0) -> str:
    """Where everything goes, from the board's memory regions; `kept_bytes` at the end of flash are for snapshots."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ska_edge", "csrc/templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    code, data = board.usable(board.code), board.usable(board.data)
    return environment.get_template("board.ld.j2").render(
        board=board,
        chip=chip(board),
        code_origin=code[0],
        code_bytes=code[1] - kept_bytes,
        data_origin=data[0],
        data_bytes=data[1],
        stack_bytes=stack_bytes(board),
        painted_bytes=PAINTED_BYTES,
        built_for=BUILT_FOR + board.name,
    )


def _describe(
    program: Program,
    board: Board,
    tool: Compiler,
    flags: tuple[str, ...],
    image: Path,
    objects: Mapping[str, Path],
    driver: _Driver,
) -> Image:
    read = elf.read_elf(image)
    image.with_suffix(".bin").write_bytes(chip(board).binary(image, read))
    image.with_suffix(".hex").write_text(read.intel_hex())
    owners = {symbol.name: stem for stem, path in objects.items() for symbol in elf.read_elf(path).symbols}
    functions = {s.name: s.bytes for s in read.symbols if s.function}
    code = _by_part((owners.get(s.name, "compiler's helpers"), s) for s in read.symbols if s.section in _STORED)
    stored = sum(section.bytes for section in read.sections if section.stored)
    code["alignment and the rest"] = stored - sum(code.values())
    ram = {name: size for name, size in memory(program).items() if name in PARTS_OF_MODEL and size}
    written = sum(section.bytes for section in read.sections if section.writable or section.name.startswith(".bss"))
    arena = plan(program).arena_bytes
    ram["frame buffer"] = frame_bytes(board)
    ram["other variables"] = written - arena - frame_bytes(board)
    ram["left for the stack"] = board.ram_bytes - written - (stored if board.shared else 0)
    if ram["left for the stack"] < stack_bytes(board):
        raise FitError(
            f"{board.name}: {ram['left for the stack']} bytes are left for the stack, {stack_bytes(board)} are needed; "
            "use a narrower profile, smaller layers or a larger board"
        )
    return Image(
        elf=image,
        binary=image.with_suffix(".bin"),
        hex=image.with_suffix(".hex"),
        board=board,
        program_digest=program.program_digest,
        compiler=f"{tool.name} {tool.version}",
        flags=flags,
        sections={section.name: section.bytes for section in read.sections},
        ram_bytes=ram,
        flash_bytes=code,
        functions=dict(sorted(functions.items(), key=lambda item: -item[1])),
        ran=(driver.ran and board.emulator is not None) or chip(board).ran != "",
        clock_hz=chip(board).clock_hz,
    )


_STORED = (".text", ".data", ".rodata", ".vectors", ".boot2")


def _by_part(owned: Iterable[tuple[str, elf.Symbol]]) -> dict[str, int]:
    """Bytes of flash by part, biggest first; aliases of one address count once."""
    parts: dict[str, int] = {}
    seen: set[tuple[str, int]] = set()
    for owner, symbol in owned:
        if (symbol.section, symbol.address & ~1) in seen or not symbol.bytes:
            continue
        seen.add((symbol.section, symbol.address & ~1))
        if owner == "model":
            part = "kernels" if symbol.function else "start state" if symbol.name == "ska_start" else "constants"
        elif owner in ("protocol", "frame", "main"):
            part = "protocol"
        elif owner == "boot2" or any(PORTS.glob(f"{owner}.[cS]")):
            part = "port and start-up"
        else:
            part = owner
        parts[part] = parts.get(part, 0) + symbol.bytes
    return dict(sorted(parts.items(), key=lambda item: -item[1]))


def build_temporary(program: Program, board: str, **options: Any) -> tuple[tempfile.TemporaryDirectory[str], Image]:
    """An image in a folder of its own, which goes when the first value does."""
    folder: tempfile.TemporaryDirectory[str] = tempfile.TemporaryDirectory(prefix="ska-edge-firmware-")
    return folder, build(program, board, folder.name, **options)


__all__ = ["FirmwareError", "Image", "build", "build_temporary", "linker_script"]
