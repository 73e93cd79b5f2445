"""Images: what builds, for which board, with which compiler, and what is in it."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from firmware_tools import DEVICE, build_host, digits_model, digits_stream, learnt_digest, needed

from firmware_sim.catalogue import board_names, load_board
from ska_edge import Network, codec, lower
from ska_edge.backends.c.generate import generate
from ska_edge.cli import main
from ska_edge.device import Device, DeviceError, ProcessLink
from ska_edge.elf import read_elf
from ska_edge.emulator import SIMAVR_BAUD, command, find_emulator
from ska_edge.errors import FileError, FitError, SkaError
from ska_edge.firmware import FirmwareError, Image, build, family, line, linker_script, machine_flags, store_of
from ska_edge.toolchain import INCLUDE, WARNINGS, find_compiler

GCC = {"arm": "arm-none-eabi-gcc", "riscv": "riscv64-unknown-elf-gcc", "avr": "avr-gcc"}
ZIG_BOARDS = ("qemu_m0", "qemu_m4", "qemu_m7", "qemu_m33", "qemu_rv32", "ch32v003")
OTHERWISE_LAID_OUT = {"rpi_pico", "esp32c3_devkit"}  # by what their boot ROMs want: tests/test_ports.py
PORTED = sorted(set(board_names()) - OTHERWISE_LAID_OUT)


def built(board: str, folder: Path, compiler: str) -> Image:
    needed(lambda: find_compiler("zig" if compiler == "zig" else GCC[family(load_board(board))]))
    return build(digits_model(), board, folder, compiler)


def check_image(image: Image) -> None:
    board, read = image.board, read_elf(image.elf)
    assert digits_model().program_digest.encode() in image.binary.read_bytes()
    regions = [(*board.usable(board.code), "code"), (*board.usable(board.data), "data")]
    start, data = read.binary()
    assert start == regions[0][0]
    assert len(data) <= regions[0][1]
    assert data == image.binary.read_bytes()
    if family(board) != "avr":
        for section in read.sections:
            assert any(
                at <= section.address and section.address + section.bytes <= at + size for at, size, _ in regions
            )
    assert sum(image.ram_bytes.values()) + (len(data) if board.shared else 0) in range(
        board.ram_bytes - 8, board.ram_bytes + 1
    )
    assert abs(sum(image.flash_bytes.values()) - len(data)) <= 16
    assert image.sections[".text"] > 2000
    assert not {"malloc", "free", "__aeabi_fadd", "__addsf3", "printf"} & set(image.functions)


class TestImages:
    @pytest.mark.parametrize("board", ZIG_BOARDS)
    def test_zig(self, board: str, tmp_path: Path) -> None:
        check_image(built(board, tmp_path, "zig"))

    @pytest.mark.parametrize("board", PORTED)
    def test_gcc(self, board: str, tmp_path: Path) -> None:
        image = built(board, tmp_path, "gcc")
        check_image(image)
        assert "gcc" in image.compiler

    def test_kernels_of_the_smallest_core_take_at_most_4_kib(self, tmp_path: Path) -> None:
        assert built("qemu_m0", tmp_path, "zig").flash_bytes["kernels"] <= 4096

    def test_the_uno_keeps_room_for_the_stack(self, tmp_path: Path) -> None:
        image = built("arduino_uno", tmp_path, "gcc")
        assert image.ram_bytes["left for the stack"] >= 400
        assert sum(image.flash_bytes.values()) <= 32256

    def test_intel_hex_is_the_image(self, tmp_path: Path) -> None:
        needed(lambda: find_compiler("avr-gcc"))
        if shutil.which("avr-objcopy") is None:
            pytest.skip("avr-objcopy is not installed")
        image = built("arduino_uno", tmp_path, "gcc")
        back = tmp_path / "back.bin"
        subprocess.run(["avr-objcopy", "-I", "ihex", "-O", "binary", image.hex, back], check=True)
        assert back.read_bytes() == image.binary.read_bytes()

    def test_high_addresses_in_hex(self, tmp_path: Path) -> None:
        image = built("qemu_rv32", tmp_path, "gcc")
        if shutil.which("objcopy") is None:
            pytest.skip("objcopy is not installed")
        back = tmp_path / "back.bin"
        subprocess.run(["objcopy", "-I", "ihex", "-O", "binary", image.hex, back], check=True)
        assert back.read_bytes() == image.binary.read_bytes()

    def test_fits_to_the_byte_or_not_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(FitError, match=r"remedy"):
            build(lower(Network((64, 40, 10))), "arduino_uno", tmp_path)
        assert not list(tmp_path.iterdir())

    def test_linker_script_has_the_boards_memory(self) -> None:
        script = linker_script(load_board("microbit_v1"))
        assert "code (rx) : ORIGIN = 0x00000000, LENGTH = 262144" in script
        assert "data (rw) : ORIGIN = 0x20000000, LENGTH = 16384" in script


class TestRefusals:
    def test_no_port(self) -> None:
        board = load_board("rpi_pico")
        with pytest.raises(FirmwareError, match=r"rpi_pico \(RP2040\): usb-cdc; ports exist for"):
            line(replace(board, serials=board.serials[1:]))

    @pytest.mark.parametrize(
        ("options", "why"),
        [
            ({"compiler": "tcc"}, "allowed are zig, gcc"),
            ({"optimise": "9"}, "allowed are 0, 1"),
            ({"compiler": "zig"}, "AVR"),
        ],
    )
    def test_options(self, tmp_path: Path, options: dict[str, str], why: str) -> None:
        with pytest.raises(FirmwareError, match=why):
            build(digits_model(), "arduino_uno", tmp_path, **options)

    def test_no_elf(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(b"not an image")
        with pytest.raises(FileError, match="no ELF image"):
            read_elf(tmp_path / "x")


class TestSources:
    """Every file of the device side is clean under every compiler, with and without the test bench."""

    @pytest.mark.parametrize("stepped", [(), ("-DSKA_STEPPED",)], ids=["plain", "stepped"])
    @pytest.mark.parametrize("compiler", ["gcc", "clang"])
    def test_host_compilers(self, compiler: str, stepped: tuple[str, ...], tmp_path: Path) -> None:
        needed(lambda: find_compiler(compiler))
        for name, text in generate(digits_model()).items():
            (tmp_path / name).write_text(text)
        for source in DEVICE:
            find_compiler(compiler).compile([source], tmp_path / "x.o", ["-c", "-O2", f"-I{tmp_path}", *stepped])

    def test_static_analyser(self, tmp_path: Path) -> None:
        if shutil.which("cppcheck") is None:
            pytest.skip("cppcheck is not installed; Debian package cppcheck")
        build_host(digits_model(), tmp_path)
        checks = ["--enable=warning,portability,performance", "--error-exitcode=1", "--inline-suppr", "--std=c99", "-q"]
        include = [f"-I{INCLUDE}", f"-I{INCLUDE / 'device'}", f"-I{tmp_path}"]
        done = subprocess.run(
            ["cppcheck", *checks, *include, *map(str, DEVICE), str(tmp_path / "model.c")],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr

    def test_warnings_are_errors(self) -> None:
        assert {"-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Werror"} <= set(WARNINGS)

    @pytest.mark.parametrize("name", ["qemu_m0", "qemu_m33", "qemu_rv32", "ch32v003", "arduino_uno"])
    def test_flags_name_the_core(self, name: str) -> None:
        board = load_board(name)
        assert any(flag.startswith(("-mcpu=", "-march=", "-mmcu=")) for flag in machine_flags(board, "gcc"))


class TestCommandLine:
    def test_build(self, tmp_path: Path) -> None:
        needed(lambda: find_compiler("avr-gcc"))
        model, out = tmp_path / "m.ska", tmp_path / "out"
        codec.save(digits_model(), model)
        words = ["build", str(model), "--board", "arduino_uno", "--out", str(out)]
        done = CliRunner().invoke(main, [*words, "--json"])
        assert done.exit_code == 0, done.output
        result = json.loads(done.stdout)
        assert {"elf", "program_digest", "compiler", "flags", "sections", "ram_bytes", "flash_bytes"} <= set(result)
        assert Path(result["elf"]).is_file()
        assert result["ram_bytes"]["weights"] == 1024
        assert "-mmcu=atmega328p" in result["flags"]
        assert "left for the stack" in CliRunner().invoke(main, words).stdout

    def test_refusals(self, tmp_path: Path) -> None:
        model = tmp_path / "m.ska"
        codec.save(digits_model(), model)
        done = CliRunner().invoke(main, ["build", str(model), "--board", "arduino_un"])
        assert done.exit_code == SkaError.exit_code
        assert "arduino_uno" in done.stderr


class TestSnapshotsInFlash:
    """The ports that write a chip's own memory, in an emulator of it."""

    @pytest.mark.parametrize("name", ["microbit_v1", "arduino_mega"])
    def test_a_state_is_saved_and_comes_back(self, tmp_path: Path, name: str) -> None:
        board, program = load_board(name), digits_model()
        needed(lambda: find_emulator(board))
        needed(lambda: find_compiler("zig" if name == "microbit_v1" else "avr-gcc"))
        baud = SIMAVR_BAUD if name == "arduino_mega" else None
        image = build(program, board, tmp_path / "image", snapshots=True, baud=baud)
        stream = digits_stream()
        with ProcessLink(command(board, image.elf, tmp_path), name) as link:
            device = Device(program, link, 10.0, 3, name)
            device.hello(timeout=1.0, retries=20)
            with pytest.raises(DeviceError):
                device.load_from_flash()  # nothing was ever saved
            digests = []
            for turn in range(3):  # both slots, and the first again
                for row in range(10 * turn, 10 * turn + 10):
                    device.learn(stream["x"][row], int(stream["label"][row]))
                device.save_in_flash()
                digests.append(program.digest_of(device.snapshot()))
            device.reset()
            assert program.digest_of(device.snapshot()) == program.state_digest
            device.load_from_flash()
            assert program.digest_of(device.snapshot()) == digests[-1] == learnt_digest(30)
            assert len(set(digests)) == 3

    def test_a_chip_without_a_port_and_one_without_the_room(self, tmp_path: Path) -> None:
        with pytest.raises(FirmwareError, match="no port writes its flash yet"):
            build(digits_model(), "rpi_pico", tmp_path, snapshots=True)
        with pytest.raises(FitError, match="two snapshots take"):
            build(digits_model(), "arduino_uno", tmp_path, snapshots=True)

    def test_the_linker_keeps_code_out_of_the_slots(self) -> None:
        store = store_of(digits_model(), load_board("microbit_v1"))
        assert store.base + 2 * store.slot_bytes == 262144
        script = linker_script(load_board("microbit_v1"), store.flash_bytes)
        assert f"LENGTH = {262144 - 2 * store.slot_bytes}" in script
