"""Ports of real boards: every board builds, images lie where chips start, boot ROMs find what they want."""

from __future__ import annotations

import importlib.util
import json
import struct
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from firmware_tools import digits_model, digits_stream, learnt_digest, needed

from firmware_sim.catalogue import board_names, load_board
from ska_edge import Network, chips, emulator, lower
from ska_edge.chips import (
    CHIPS,
    IMAGE_DEFINITION,
    IMAGE_DEFINITION_WITHIN,
    ChipError,
    check_boot2,
    chip_of,
    pin_number,
    read_esp_image,
    sealed_boot2,
)
from ska_edge.device import Device, ProcessLink
from ska_edge.elf import Elf, read_elf
from ska_edge.emulator import Emulation, command, find_emulator
from ska_edge.errors import FitError
from ska_edge.firmware import Image, build, chip, family, line, stack_bytes
from ska_edge.toolchain import INCLUDE, CompilerError, find_compiler

ROOT = Path(__file__).parent.parent
REAL = [name for name in board_names() if load_board(name).silicon]
QEMU_STM32 = ("qemu_stm32f405", "qemu_stm32f100")
_FOLDER = tempfile.TemporaryDirectory(prefix="ska-edge-ports-")


@cache
def built(name: str) -> Image:
    board = load_board(name)
    needed(lambda: find_compiler("avr-gcc" if family(board) == "avr" else "zig"))
    return build(digits_model(), board, Path(_FOLDER.name) / name)


def symbols(image: Image) -> dict[str, int]:
    """All of the image's, the linker script's too, which have no type."""
    from elftools.elf.elffile import ELFFile

    with image.elf.open("rb") as file:
        elf = ELFFile(file)
        found = {s.name: s["st_value"] for s in elf.get_section_by_name(".symtab").iter_symbols()}
        return {**found, "entry": elf.header["e_entry"]}


def words(read: Elf, address: int, count: int) -> tuple[int, ...]:
    """What stands in the image at a load address."""
    start, data = read.binary()
    return struct.unpack_from(f"<{count}I", data, address - start)


class TestEveryRealBoard:
    @pytest.mark.parametrize("name", REAL)
    def test_builds_and_lies_where_it_may(self, name: str) -> None:
        image = built(name)
        board, read = image.board, read_elf(image.elf)
        assert digits_model().program_digest.encode() in image.binary.read_bytes()
        print(f"{name}: {sum(image.flash_bytes.values())} stored, {image.ram_bytes}")
        assert image.ram_bytes["left for the stack"] >= stack_bytes(board)
        code, size = board.usable(board.code)
        if chip(board).boot2:
            code, size = board.code.origin, board.code.bytes
        for address, data in read.segments:
            assert code <= address
            assert address + len(data) <= code + size
        if family(board) == "avr":
            return
        fetched = code + chip(board).fetch_offset
        regions = [(code, size), board.usable(board.data), (fetched, size)]
        for section in read.sections:
            assert any(at <= section.address and section.address + section.bytes <= at + n for at, n in regions)
        data_at, data_bytes = board.usable(board.data)
        top = symbols(image)["ska_stack_top"]
        assert data_at < top <= data_at + data_bytes
        assert top % 8 == 0

    @pytest.mark.parametrize("name", [n for n in REAL if family(load_board(n)) != "avr"])
    def test_starts_at_the_beginning(self, name: str) -> None:
        image = built(name)
        found, code = symbols(image), image.board.usable(image.board.code)[0]
        if family(image.board) == "arm":
            stack, *handlers = words(read_elf(image.elf), code, 16)
            assert stack == found["ska_stack_top"]
            assert handlers[0] == found["entry"] | 1 == found["Reset_Handler"] | 1
            assert all(handler & 1 for handler in handlers)
        else:
            assert found["entry"] == found["Reset_Handler"] == code + chip(image.board).fetch_offset

    @pytest.mark.parametrize("name", REAL)
    def test_says_its_clock(self, name: str) -> None:
        image = built(name)
        assert image.to_json()["clock_hz"] == image.clock_hz
        assert image.clock_hz is None or image.clock_hz <= (image.board.clock.hz or 0)
        assert image.clock_hz is not None or name == "esp32c3_devkit"
        if family(image.board) != "avr":
            assert f"-DSKA_CLOCK_HZ={image.clock_hz or 0}UL" in image.flags

    def test_what_does_not_fit_is_refused_by_name(self, tmp_path: Path) -> None:
        with pytest.raises(FitError, match=r"ch32v003.*needed|ch32v003"):
            build(lower(Network((64, 64, 10))), "ch32v003", tmp_path)
        assert not list(tmp_path.iterdir())


class TestRp2040:
    def test_checksum(self) -> None:
        assert chips.crc32(b"123456789") == 0x0376E6E7  # CRC-32/MPEG-2's published check value

    def test_second_stage(self) -> None:
        image = built("rpi_pico")
        start, data = read_elf(image.elf).binary()
        assert start == 0x10000000
        assert data == image.binary.read_bytes()
        check_boot2(data[:256])
        flash_command, vectors = struct.pack("<I", 0x03000218), struct.pack("<I", 0x10000100)
        assert flash_command in data[:256]
        assert vectors in data[:256]

    @pytest.mark.parametrize("at", [0, 40, 251, 252, 255])
    def test_a_flipped_bit_is_noticed(self, at: int) -> None:
        boot2 = bytearray(built("rpi_pico").binary.read_bytes()[:256])
        boot2[at] ^= 4
        with pytest.raises(ChipError, match="checksum"):
            check_boot2(bytes(boot2))

    def test_sizes(self) -> None:
        check_boot2(sealed_boot2(bytes(252)))
        with pytest.raises(ChipError, match="253 bytes; the boot ROM takes 252"):
            sealed_boot2(bytes(253))
        with pytest.raises(ChipError, match="expected 256"):
            check_boot2(bytes(255))


class TestRp2350:
    def test_image_definition(self) -> None:
        data = built("rpi_pico2").binary.read_bytes()
        at = data.find(struct.pack("<5I", *IMAGE_DEFINITION))
        assert 0 < at < IMAGE_DEFINITION_WITHIN - 20
        assert at % 4 == 0


class TestEsp32C3:
    def test_image(self) -> None:
        image = built("esp32c3_devkit")
        number, entry, segments = read_esp_image(image.binary.read_bytes())
        (text_at, text), (rest_at, _) = segments
        assert (number, entry, text_at) == (5, 0x40380000, 0x40380000)
        assert rest_at == 0x3FC80000 + len(text)  # the same memory: one behind the other
        start, data = read_elf(image.elf).binary()
        assert start == 0x3FC80000
        assert b"".join(part for _, part in segments)[: len(data)] == data

    @pytest.mark.parametrize(("at", "why"), [(0, "0xE9"), (5000, "checksum"), (-1, "checksum"), (30, "the file ends")])
    def test_a_changed_byte_is_noticed(self, at: int, why: str) -> None:
        data = bytearray(built("esp32c3_devkit").binary.read_bytes())
        data[at] ^= 0x40
        with pytest.raises(ChipError, match=why):
            read_esp_image(bytes(data))

    def test_an_independent_reader(self) -> None:
        if importlib.util.find_spec("esptool") is None:
            pytest.skip("esptool is not installed; pip install 'esptool>=5'")
        command = [sys.executable, "-m", "esptool", "--chip", "esp32c3", "image-info"]
        path = str(built("esp32c3_devkit").binary)
        done = subprocess.run([*command, path], capture_output=True, text=True, check=True, timeout=60)
        assert "(valid)" in done.stdout
        assert "Entry point: 0x40380000" in done.stdout

    def test_one_speed(self, tmp_path: Path) -> None:
        with pytest.raises(ChipError, match="9600 baud; the line stays at the boot ROM's 115200"):
            build(digits_model(), "esp32c3_devkit", tmp_path, baud=9600)


class TestChips:
    def test_a_chip_nobody_knows(self) -> None:
        board = replace(load_board("nucleo_f446re"), mcu="STM32U575ZI")
        with pytest.raises(ChipError, match=r"STM32U575ZI are not known here; known are RP2040"):
            line(board)

    @pytest.mark.parametrize("name", REAL)
    def test_pins_of_lines_that_need_them(self, name: str) -> None:
        board = load_board(name)
        serial, _ = line(board)
        if chip_of(board, serial).files:
            assert pin_number(serial.tx) is not None
            assert pin_number(serial.rx) is not None
            assert pin_number(serial.tx) != pin_number(serial.rx)

    @pytest.mark.parametrize("chip", [chip for chip in CHIPS if chip.files], ids=lambda chip: chip.name)
    @pytest.mark.parametrize("compiler", ["gcc", "clang"])
    def test_another_clock_does_not_compile(self, compiler: str, chip: chips.Chip, tmp_path: Path) -> None:
        needed(lambda: find_compiler(compiler))
        source = INCLUDE / "ports" / chip.files[0]
        name = chip.name.replace("-", "")
        flags = ["-c", f"-DSKA_CHIP_{name}", "-DSKA_UART_BASE=0x40004400UL", "-DSKA_UART_TX=2U", "-DSKA_UART_RX=3U"]
        find_compiler(compiler).compile([source], tmp_path / "x.o", [*flags, f"-DSKA_CLOCK_HZ={chip.clock_hz}UL"])
        with pytest.raises(CompilerError, match="another clock"):
            find_compiler(compiler).compile([source], tmp_path / "x.o", [*flags, "-DSKA_CLOCK_HZ=1000000UL"])


def set_up(name: str, folder: Path, begin: tuple[str, ...] = ()) -> dict[str, int]:
    """The registers a board's chip has after its set-up, run here."""
    needed(lambda: find_compiler("gcc"))
    board = load_board(name)
    serial, _ = line(board)
    made = chip(board)
    program = folder / "chip"
    file = f'-DSKA_CHIP_FILE="{INCLUDE / "ports" / made.files[0]}"'
    flags = [file, f"-DSKA_CLOCK_HZ={made.clock_hz}UL", f"-DSKA_UART_BASE=0x{serial.base or 0:X}UL"]
    find_compiler("gcc").compile([ROOT / "tests/chip_registers.c"], program, [*flags, *made.defines(serial)])
    done = subprocess.run([program, *begin], capture_output=True, text=True, check=True, timeout=20)
    registers: dict[str, int] = json.loads(done.stdout)
    return registers


class TestSetUps:
    """What each set-up leaves in RCC and GPIO, against values written by hand: they catch slips, not wrong ideas."""

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            (
                "stm32f103_bluepill",
                {"40021018": 1 << 14 | 1 << 2, "40010804": 0x4444_48B4, "4001080C": 1 << 10},
            ),
            ("longan_nano", {"40021018": 1 << 14 | 1 << 2, "40010804": 0x4444_48B4, "4001080C": 1 << 10}),
            (
                "ch32v003",
                {"40021004": 0, "40021018": 1 << 14 | 1 << 5, "40011400": 0x48B4_4444, "4001140C": 1 << 6},
            ),
            (
                "nucleo_f446re",
                {"40023830": 1, "40023840": 1 << 17, "40020000": 0xA0, "4002000C": 0x40, "40020020": 0x7700},
            ),
            (
                "nucleo_g071rb",
                {"40021034": 1, "4002103C": 1 << 17, "50000000": 0xA0, "5000000C": 0x40, "50000020": 0x1100},
            ),
            (
                "nucleo_h743zi",
                {"580244E0": 8, "580244E8": 1 << 18, "58020C00": 0xA0000, "58020C0C": 0x40000, "58020C24": 0x77},
            ),
            (
                "nucleo_l476rg",
                {
                    **{"40021000": 1 << 10 | 1 << 8, "40021008": 1, "4002104C": 1, "40021058": 1 << 17},
                    **{"48000000": 0xA0, "4800000C": 0x40, "48000020": 0x7700},
                },
            ),
            (
                "qemu_stm32f405",
                {"40023830": 1, "40023844": 1 << 4, "40020000": 0x280000, "4002000C": 0x100000, "40020024": 0x770},
            ),
        ],
    )
    def test_stm32_and_its_kin(self, name: str, expected: dict[str, int], tmp_path: Path) -> None:
        reset = ("40010804=44444444", "40011400=44444444", "40021004=20", "40021000=400")
        begin = tuple(word for word in reset if word[:8] in expected)
        assert set_up(name, tmp_path, begin) == expected

    @pytest.mark.parametrize(
        ("name", "bases", "in_reset"),
        [
            ("rpi_pico", (0x40008000, 0x4000C000, 0x40014000, 0x4001C000, 0x40024000, 0x40028000), (5, 8, 22)),
            ("rpi_pico2", (0x40010000, 0x40020000, 0x40028000, 0x40038000, 0x40048000, 0x40050000), (6, 9, 26)),
        ],
    )
    def test_rp2xxx(self, name: str, bases: tuple[int, ...], in_reset: tuple[int, ...], tmp_path: Path) -> None:
        clocks, resets, io, pads, xosc, pll = bases
        ready = {xosc + 4: 1 << 31, clocks + 0x44: 3, clocks + 0x38: 4, resets + 8: 0xFFFFFFFF, pll: 1 << 31}
        found = set_up(name, tmp_path, tuple(f"{address:X}:{value:X}" for address, value in ready.items()))
        assert found[f"{pll:08X}"] & 0x1FF == 1  # the reference is the crystal, undivided
        divider = found[f"{pll + 12:08X}"]
        made = 12_000_000 * found[f"{pll + 8:08X}"] // (divider >> 16 & 7) // (divider >> 12 & 7)
        assert made == chip(load_board(name)).clock_hz
        assert found[f"{resets + 0x3000:08X}"] == sum(1 << bit for bit in in_reset)  # the last ones cleared
        assert (found[f"{io + 4:08X}"], found[f"{io + 12:08X}"]) == (2, 2)
        assert (found[f"{pads + 4:08X}"], found[f"{pads + 8:08X}"]) == (0x52, 0x5A)
        assert found[f"{clocks + 0x48:08X}"] == 1 << 11


@pytest.mark.parametrize("name", QEMU_STM32)
def test_usart_version_1_in_qemu_equals_the_oracle(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    needed(lambda: find_emulator(load_board(name)))
    needed(lambda: find_compiler("zig"))
    monkeypatch.setitem(emulator.BOARDS, name, name)
    program, stream, samples = digits_model(), digits_stream(), 30
    with Emulation(program, name) as running:
        for row in range(samples):
            running.device.learn(stream["x"][row], int(stream["label"][row]))
        assert program.digest_of(running.device.snapshot()) == learnt_digest(samples)
        total, used = running.device.stack()
        assert 0 < used < total - 100
        assert running.device.repeats == 0


@pytest.mark.parametrize("compiler", ["zig", "gcc"])
@pytest.mark.parametrize("core", ["rv32ec", "rv32imc"])
def test_code_of_other_rv32_cores_in_qemu_equals_the_oracle(core: str, compiler: str, tmp_path: Path) -> None:
    """CH32V003's and ESP32-C3's instructions, on a machine that has more of them: 16 registers, no multiplier."""
    machine = load_board("qemu_rv32")
    board = replace(machine, core=replace(machine.core, name=core))
    needed(lambda: find_emulator(board))
    needed(lambda: find_compiler("zig" if compiler == "zig" else "riscv64-unknown-elf-gcc"))
    program, stream, samples = digits_model(), digits_stream(), 30
    image = build(program, board, tmp_path, compiler)
    with ProcessLink(command(board, image.elf, tmp_path), core, tmp_path) as link:
        device = Device(program, link, 10.0, 2, core)
        device.hello(timeout=1.0, retries=20)
        for row in range(samples):
            device.learn(stream["x"][row], int(stream["label"][row]))
        assert program.digest_of(device.snapshot()) == learnt_digest(samples)


def documented(name: str) -> str:
    """How a board's row begins in docs/ports.md."""
    board = load_board(name)
    clock = chip(board).clock_hz
    mega = "the boot ROM's" if clock is None else f"{clock / 1e6:g}"
    return f"| `{name}` | {line(board)[0].driver} | {mega} |"


def test_documentation_has_every_board() -> None:
    page = (ROOT / "docs" / "ports.md").read_text()
    for name in (*REAL, *QEMU_STM32):
        assert documented(name) in page
