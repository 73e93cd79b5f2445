"""`ska-edge flash` end to end without hardware: a bootloader in simavr, QEMU's gdb stub, a drive that is a folder."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from firmware_tools import digits_model, digits_stream, learnt_digest, needed
from flash_tools import empty_qemu, empty_uno, fake_tool, make_elf

from firmware_sim.catalogue import METHODS as CATALOGUE_METHODS
from firmware_sim.catalogue import board_names, load_board, method_of
from ska_edge import codec, elf, flashers
from ska_edge.chips import crc32, read_esp_image
from ska_edge.cli import main
from ska_edge.device import Device, open_link
from ska_edge.errors import FileError, MissingError
from ska_edge.firmware import build
from ska_edge.flashers import FlashError, ImageError, MethodError, PortError, Where, base, uf2
from ska_edge.toolchain import find_compiler

ARM, AVR = 40, 83
SAMPLES = 40
THOROUGH = os.environ.get("SKA_EDGE_THOROUGH") == "1"
MORE = ("qemu_m4", "qemu_m7", "qemu_stm32f100", "qemu_stm32f405")
QEMU = ["qemu_m0", "qemu_m3", "qemu_m33", "qemu_rv32", *(MORE if THOROUGH else ())]


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["flash", *map(str, words)])


def done(*words: object) -> dict[str, object]:
    result = call(*words, "--json")
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def refused(code: int, *words: object) -> str:
    result = call(*words)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    return result.stderr


def tool(name: str) -> Callable[[], object]:
    return lambda: flashers.METHODS[name].tool.find(required=True)  # type: ignore[attr-defined]


def learns_equally(port: str) -> None:
    """Over the line the image was flashed through, or the one beside it: the chip learns what the oracle learns."""
    program, stream = digits_model(), digits_stream()
    with Device(program, open_link(port)) as device:
        device.hello(timeout=0.5, retries=40)
        for row in range(SAMPLES):
            device.learn(stream["x"][row], int(stream["label"][row]))
        assert program.digest_of(device.snapshot()) == learnt_digest(SAMPLES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flash")


@pytest.fixture(scope="module")
def uno(folder: Path) -> Path:
    needed(lambda: find_compiler("avr-gcc"))
    return build(digits_model(), "arduino_uno", folder / "uno").elf


@pytest.fixture(scope="module")
def cortex_m3(folder: Path) -> Path:
    needed(lambda: find_compiler("zig"))
    return build(digits_model(), "qemu_m3", folder / "m3").elf


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for fake tools, in front of PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'tools'}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "tools"


class TestAvrdude:
    def test_bootloader_then_protocol_on_the_same_line(self, uno: Path, folder: Path) -> None:
        needed(tool("avrdude"))
        with empty_uno(folder) as port:
            result = done(uno, "--board", "arduino_uno", "--port", port)
            assert result["verified"]
            assert result["bytes"] == sum(len(data) for _, data in elf.read_elf(uno).segments)
            learns_equally(port)

    def test_without_reading_back(self, uno: Path, folder: Path) -> None:
        needed(tool("avrdude"))
        with empty_uno(folder) as port:
            result = call(uno, "--board", "arduino_uno", "--port", port, "--no-verify")
            assert result.exit_code == 0, result.output
            assert "verifying" not in result.stderr
            assert "not read back" in result.stderr

    def test_a_worn_byte_is_noticed(self, uno: Path, folder: Path) -> None:
        needed(tool("avrdude"))
        code = elf.read_elf(uno).binary()[1]
        at = next(at for at in range(5000, len(code)) if code[at] != 0xFF)
        with empty_uno(folder, str(at)) as port:
            error = refused(1, uno, "--board", "arduino_uno", "--port", port, "--quiet")
        assert "avrdude: failed with 1" in error and "verification mismatch" in error, error

    def test_a_model_is_built_first(self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        needed(tool("avrdude"))
        needed(lambda: find_compiler("avr-gcc"))
        monkeypatch.chdir(tmp_path)
        codec.save(digits_model(), "digits.ska")
        with empty_uno(folder) as port:
            result = done("digits.ska", "--board", "arduino_uno", "--port", port)
        assert result["model"] == "digits.ska"
        assert Path(str(result["image"])) == tmp_path / "digits-arduino_uno/firmware.elf"

    def test_no_bootloader_answers(self, uno: Path) -> None:
        """A line where nobody speaks: avrdude gives up by itself, or our limit ends it."""
        needed(tool("avrdude"))
        ours, theirs = os.openpty()
        try:
            error = refused(1, uno, "--board", "arduino_uno", "--port", os.ttyname(theirs), "--timeout", "2")
            assert "avrdude: not done after 2 s" in error
        finally:
            os.close(ours)
            os.close(theirs)


class TestGdb:
    @pytest.mark.parametrize("name", QEMU)
    def test_load_compare_run(self, name: str, folder: Path, tmp_path: Path) -> None:
        needed(tool("gdb"))
        needed(lambda: find_compiler("zig"))
        built = build(digits_model(), name, folder / name).elf
        with empty_qemu(name, tmp_path, tcp=name == "qemu_m3") as (target, port):
            result = call(built, "--board", name, "--target", target)
            assert result.exit_code == 0, result.output
            assert ": matched." in result.stderr
            assert "read back and equal" in result.stdout
            learns_equally(port)

    def test_nobody_listens(self, cortex_m3: Path) -> None:
        needed(tool("gdb"))
        error = refused(1, cortex_m3, "--board", "qemu_m3", "--target", "127.0.0.1:1", "--quiet")
        assert "gdb-multiarch: failed with 1" in error
        assert "127.0.0.1:1: Connection" in error

    @pytest.mark.parametrize(
        ("said", "why"),
        [
            ("Section .text, range 0x0 -- 0x10: matched.", "nothing was loaded"),
            ("Loading section .text, size 0x10 lma 0x0\nLoad failed", "nothing was loaded"),
            (
                "Loading section .text, size 0x10 lma 0x0\nTransfer rate: 1\n"
                "Section .text, range 0x0 -- 0x10: MIS-MATCHED!",
                r"does not hold what was loaded: \.text differ",
            ),
            (
                "Loading section .text, size 0x10 lma 0x0\nLoading section .data, size 0x10 lma 0x0\nTransfer rate: 1\n"
                "Section .text, range 0x0 -- 0x10: matched.",
                r"does not hold what was loaded: \.data differ",
            ),
        ],
    )
    def test_words_not_exit_codes(self, said: str, why: str, tools: Path, tmp_path: Path) -> None:
        fake_tool(tools, "gdb-multiarch", f"cat <<'END'\n{said}\nEND")
        made = make_elf(tmp_path / "m.elf", ARM, [(0, bytes(64))])
        with pytest.raises(FlashError, match=why):
            flashers.flash(made, load_board("qemu_m3"), "gdb", Where(target="localhost:1234"))

    @pytest.mark.parametrize("target", ["localhost", "a b:1", "localhost:123456", "|rm -rf", "localhost:1\nshell ls"])
    def test_targets_that_are_none(self, target: str, tmp_path: Path) -> None:
        made = make_elf(tmp_path / "m.elf", ARM, [(0, bytes(64))])
        with pytest.raises(MethodError, match="HOST:NUMBER"):
            flashers.flash(made, load_board("qemu_m3"), "gdb", Where(target=target))


def read_uf2(data: bytes) -> tuple[dict[int, bytes], set[int]]:
    """Written from the public specification alone: payloads by address, and the families."""
    payloads: dict[int, bytes] = {}
    families = set()
    assert len(data) % 512 == 0
    for start in range(0, len(data), 512):
        block = data[start : start + 512]
        assert block[:4] == b"UF2\n"
        first, second, flags, address, size, number, count, family = struct.unpack_from("<8I", block)
        assert (first, second) == (0x0A324655, 0x9E5D5157)
        assert struct.unpack_from("<I", block, 508) == (0x0AB16F30,)
        assert (number, count) == (start // 512, len(data) // 512)
        assert flags & ~0x2000 == 0 and flags & 0x2000
        assert size == 256 and address % 256 == 0 and address not in payloads
        assert not any(block[32 + size : 508])
        payloads[address] = block[32 : 32 + size]
        families.add(family)
    return payloads, families


def second_stage() -> bytes:
    """252 bytes of no meaning and their checksum, by long division bit by bit, unlike the code it judges."""
    body = random.Random(1).randbytes(252)
    bits = int.from_bytes(bytes(value ^ (255 if at < 4 else 0) for at, value in enumerate(body)), "big") << 32
    for at in range(bits.bit_length() - 1, 31, -1):
        if bits >> at & 1:
            bits ^= 0x104C11DB7 << (at - 32)
    return body + bits.to_bytes(4, "little")


class TestUf2:
    FAMILY = 0xE48BFF56

    @pytest.fixture
    def drive(self, tmp_path: Path) -> Path:
        (tmp_path / "drive").mkdir()
        info = "UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: RPI-RP2\n"
        (tmp_path / "drive/INFO_UF2.TXT").write_text(info)
        return tmp_path / "drive"

    @pytest.fixture
    def pico(self, tmp_path: Path) -> Path:
        """In flash, with a second stage, an odd length and a gap."""
        chance = random.Random(2)
        code = second_stage() + chance.randbytes(9001)
        return make_elf(tmp_path / "pico.elf", ARM, [(0x10000000, code), (0x10004000, chance.randbytes(77))])

    def test_copied_and_read_by_another(self, pico: Path, drive: Path) -> None:
        result = done(pico, "--board", "rpi_pico", "--mount", drive)
        assert result["verified"]
        assert sorted(path.name for path in drive.iterdir()) == ["INFO_UF2.TXT", "pico.uf2"]
        payloads, families = read_uf2((drive / "pico.uf2").read_bytes())
        assert families == {self.FAMILY}
        memory = {at + k: value for at, data in payloads.items() for k, value in enumerate(data)}
        for address, data in elf.read_elf(pico).segments:
            stored = [address + k for k in range(len(data))]
            assert bytes(memory.pop(at) for at in stored) == data
        assert set(memory.values()) == {0xFF}
        assert {at // 4096 for at in payloads} == {0x10000, 0x10001, 0x10002, 0x10004}
        assert len(payloads) == 4 * 16  # whole sectors: the boot ROM erases a sector at a time

    def test_read_by_a_package(self, pico: Path, drive: Path) -> None:
        package = pytest.importorskip("uf2utils.file", reason="uf2utils is not installed; pip install uf2utils")
        done(pico, "--board", "rpi_pico", "--mount", drive)
        blocks = package.UF2File.readBlocks(str(drive / "pico.uf2"))
        payloads, _ = read_uf2((drive / "pico.uf2").read_bytes())
        assert {block.header.board_family for block in blocks} == {self.FAMILY}
        assert {block.header.address: bytes(block.payload) for block in blocks} == payloads

    @pytest.mark.parametrize("name", ["rpi_pico", "rpi_pico2"])
    def test_a_built_image_is_what_the_drive_gets(self, name: str, drive: Path, folder: Path) -> None:
        needed(lambda: find_compiler("zig"))
        if name == "rpi_pico2":
            (drive / "INFO_UF2.TXT").write_text("Board-ID: RP2350\n")
        built = build(digits_model(), name, folder / name).elf
        done(built, "--board", name, "--mount", drive)
        payloads, _ = read_uf2((drive / "firmware.uf2").read_bytes())
        memory = b"".join(payloads[at] for at in sorted(payloads))
        start, binary = elf.read_elf(built).binary()
        assert min(payloads) == start == 0x10000000
        assert memory[: len(binary)] == binary and set(memory[len(binary) :]) <= {0xFF}

    def test_in_ram(self, drive: Path, tmp_path: Path) -> None:
        made = make_elf(tmp_path / "ram.elf", ARM, [(0x20000000, bytes(range(200)))], 0x20000001)
        done(made, "--board", "rpi_pico", "--mount", drive)
        payloads, _ = read_uf2((drive / "ram.uf2").read_bytes())
        assert list(payloads) == [0x20000000]
        later = make_elf(tmp_path / "later.elf", ARM, [(0x20000000, bytes(range(200)))], 0x20000041)
        assert "entered at its first byte, 0x20000000" in refused(2, later, "--board", "rpi_pico", "--mount", drive)

    @pytest.mark.parametrize(
        ("address", "data"),
        [(0x10000100, bytes(64)), (0x10000000, bytes(600)), (0x10000000, bytes(range(256)) * 2), (0x10000000, b"x")],
    )
    def test_what_the_boot_rom_would_not_start(self, address: int, data: bytes, drive: Path, tmp_path: Path) -> None:
        made = make_elf(tmp_path / "m.elf", ARM, [(address, data)])
        for method in ("uf2", "openocd", "pyocd"):
            assert "second stage" in refused(2, made, "--board", "rpi_pico", "--dry-run", "--method", method)
        assert not (drive / "m.uf2").exists()

    def test_pico_2(self, drive: Path, tmp_path: Path) -> None:
        (drive / "INFO_UF2.TXT").write_text("Board-ID: RP2350\n")
        words = ["--board", "rpi_pico2", "--mount", drive]
        bare = make_elf(tmp_path / "bare.elf", ARM, [(0x10000000, bytes(600))])
        assert "no image definition" in refused(2, bare, *words)
        with_it = bytes(272) + bytes.fromhex("d3deffff") + bytes(30)
        done(make_elf(tmp_path / "whole.elf", ARM, [(0x10000000, with_it)]), *words)
        assert read_uf2((drive / "whole.uf2").read_bytes())[1] == {0xE48BFF59}

    def test_drives(self, pico: Path, drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        words = [pico, "--board", "rpi_pico"]
        monkeypatch.setattr(uf2, "DRIVES", (str(tmp_path / "*"),))
        assert done(*words)["place"] == str(drive)
        shutil.copytree(drive, tmp_path / "another")
        assert "2 drives 'RPI-RP2' are mounted" in refused(3, *words)
        monkeypatch.setattr(uf2, "DRIVES", ())
        assert "hold BOOTSEL" in refused(3, *words)
        assert "has no INFO_UF2.TXT" in refused(3, *words, "--mount", tmp_path)
        (drive / "INFO_UF2.TXT").write_text("Board-ID: RP2350\n")
        assert "is the drive of a board 'RP2350', this one is 'RPI-RP2'" in refused(2, *words, "--mount", drive)

    def test_a_drive_that_goes_and_one_that_is_full(
        self, pico: Path, drive: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        words = [pico, "--board", "rpi_pico", "--mount", drive]

        def gone(number: int) -> None:
            shutil.rmtree(drive)
            raise OSError(5, "Input/output error")

        def full(number: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        assert "No space left" in refused(2, *words)
        monkeypatch.setattr(os, "fsync", gone)
        result = call(*words)
        assert result.exit_code == 0, result.output
        assert "the board has restarted" in result.stderr and "not compared" in result.stdout

    def test_checksum_of_the_second_stage(self) -> None:
        """Two ways to the same number."""
        sound = second_stage()
        assert crc32(sound[:-4]) == int.from_bytes(sound[-4:], "little")


class TestCommandLines:
    """What is only built as a command line here, for want of a probe or a chip."""

    def line(self, machine: int, board: str, *words: str, folder: Path) -> list[list[str]]:
        made = make_elf(folder / "m.elf", machine, [(load_board(board).flash_bytes and _origin(board), bytes(300))])
        result = call(made, "--board", board, "--dry-run", *words)
        assert result.exit_code == 0, result.output
        return [shlex.split(line) for line in result.stdout.splitlines()]

    def test_pyocd(self, tmp_path: Path) -> None:
        (write, compare) = self.line(ARM, "microbit_v2", "--port", "0123", folder=tmp_path)
        assert write[1:] == ["load", "--no-wait", "-t", "nrf52833", "-u", "0123", str(tmp_path / "m.elf")]
        assert compare[-4:] == ["-c", f'compare 0x0 "{tmp_path / "m.bin"}"', "-c", "reset"]
        assert len(self.line(ARM, "microbit_v2", "--no-verify", folder=tmp_path)) == 1

    def test_openocd(self, tmp_path: Path) -> None:
        ((_, *words),) = self.line(ARM, "nucleo_f446re", "--port", "066F", folder=tmp_path)
        probe = ["-c", "adapter serial 066F"]
        files = ["-f", "interface/stlink.cfg", *probe, "-f", "target/stm32f4x.cfg"]
        assert words == [*files, "-c", f"program {{{tmp_path / 'm.elf'}}} verify reset exit"]
        ((*_, program),) = self.line(ARM, "nucleo_f446re", "--no-verify", folder=tmp_path)
        assert program.endswith("} reset exit")

    def test_esptool(self, folder: Path, tmp_path: Path) -> None:
        """The file that esptool gets is in the boot ROM's own format, with all bytes of the ELF in it."""
        needed(lambda: find_compiler("zig"))
        built = build(digits_model(), "esp32c3_devkit", folder / "esp32c3").elf
        result = call(built, "--board", "esp32c3_devkit", "--port", "/dev/ttyUSB0", "--dry-run")
        line = ["--chip", "esp32c3", "--port", "/dev/ttyUSB0", "--baud", "460800"]
        file = built.with_suffix(".bin")
        assert [shlex.split(words)[1:] for words in result.stdout.splitlines()] == [
            [*line, "write-flash", "0x0", str(file)],
            [*line, "verify-flash", "0x0", str(file)],
        ]
        number, _, segments = read_esp_image(file.read_bytes())
        binary = elf.read_elf(built).binary()[1]
        assert number == 5 and b"".join(data for _, data in segments)[: len(binary)] == binary
        bare = make_elf(tmp_path / "m.elf", 243, [(_origin("esp32c3_devkit"), bytes(300))])
        words = ["--board", "esp32c3_devkit", "--port", "/dev/ttyUSB0", "--dry-run"]
        assert "no section .text" in refused(2, bare, *words)

    @pytest.mark.parametrize("name", [name for name in board_names() if name != "esp32c3_devkit"])
    def test_every_method_of_every_board(self, name: str, tmp_path: Path) -> None:
        board = load_board(name)
        machine = {"c": ARM, "a": AVR, "r": 243}[board.core.name[0]]
        data = second_stage() + bytes.fromhex("d3deffff") if name.startswith("rpi") else bytes(300)
        made = make_elf(tmp_path / "m.elf", machine, [(_origin(name), data)])
        places = {"port": ["--port", "x"], "target": ["--target", "h:1"], "mount": []}
        for upload in board.uploads:
            method = method_of(upload)
            words = ["--method", method, *places[flashers.METHODS[method].option]]
            result = done(made, "--board", name, *words, "--dry-run")
            assert result["dry_run"] and not result["verified"] and result["commands"]

    def test_every_method_of_the_catalogue_has_a_module(self) -> None:
        assert set(flashers.METHODS) == set(CATALOGUE_METHODS)

    def test_openocd_must_say_so(self, tools: Path, tmp_path: Path) -> None:
        made = make_elf(tmp_path / "m.elf", ARM, [(0x08000000, bytes(300))])
        fake_tool(tools, "openocd", "echo '** Programming Finished **'")
        board = load_board("nucleo_f446re")
        with pytest.raises(FlashError, match="Verified OK"):
            flashers.flash(made, board, "openocd")
        assert not flashers.flash(made, board, "openocd", verify=False).verified
        fake_tool(tools, "openocd", "echo '** Verified OK **'")
        assert flashers.flash(made, board, "openocd").verified

    def test_pyocd_must_say_so(self, tools: Path, tmp_path: Path) -> None:
        made = make_elf(tmp_path / "m.elf", ARM, [(0, bytes(300))])
        board = load_board("microbit_v2")
        fake_tool(tools, "pyocd", "echo 'Mismatched byte at 0x0'")
        with pytest.raises(FlashError, match=r"does not hold the image: Mismatched byte"):
            flashers.flash(made, board, "pyocd")
        fake_tool(tools, "pyocd", "echo 'All 300 bytes match.'")
        assert flashers.flash(made, board, "pyocd").verified


def _origin(name: str) -> int:
    """Where an image of that board begins; an RP2040's with its second stage."""
    board = load_board(name)
    return board.code.origin if name.startswith("rpi") else board.usable(board.code)[0]


class TestImages:
    def refusal(self, path: Path, board: str = "arduino_uno") -> str:
        with pytest.raises((ImageError, FileError)) as error:
            flashers.flash(path, load_board(board), where=Where(port="x"), dry_run=True)
        return str(error.value)

    def test_another_architecture(self, tmp_path: Path) -> None:
        made = make_elf(tmp_path / "m.elf", ARM, [(0, bytes(64))])
        assert "an image for arm, but arduino_uno is avr (avr5)" in self.refusal(made)
        assert "machine 3" in self.refusal(make_elf(tmp_path / "m.elf", 3, [(0, bytes(64))]))

    def test_files_of_others_are_left_alone(self, tmp_path: Path) -> None:
        made = make_elf(tmp_path / "m.elf", AVR, [(0, bytes(64))])
        (tmp_path / "m.hex").write_text("mine")
        for _ in range(2):
            commands = flashers.flash(made, load_board("arduino_uno"), where=Where(port="x"), dry_run=True).commands
            assert commands[0][-1] == f"flash:w:{tmp_path / 'm.flash.hex'}:i"
        assert (tmp_path / "m.hex").read_text() == "mine"

    def test_another_board(self, cortex_m3: Path) -> None:
        error = refused(2, cortex_m3, "--board", "qemu_m4", "--target", "localhost:1")
        assert "built for qemu_m3, not for qemu_m4" in error

    @pytest.mark.parametrize(
        ("address", "size", "why"),
        [
            (
                0,
                32257,
                "32,257 bytes from 0x0 do not fit arduino_uno's flash (32,256 bytes from 0x0): 1 bytes are outside",
            ),
            (0x7E00, 512, "none of them is inside"),
            (0x810000, 4, "none of them is inside"),
        ],
    )
    def test_too_large(self, address: int, size: int, why: str, tmp_path: Path) -> None:
        assert why in self.refusal(make_elf(tmp_path / "m.elf", AVR, [(address, bytes(size))]))

    def test_fits_to_the_last_byte(self, tmp_path: Path) -> None:
        made = make_elf(tmp_path / "m.elf", AVR, [(0, bytes(32256))])
        done_ = flashers.flash(made, load_board("arduino_uno"), where=Where(port="x"), dry_run=True)
        assert done_.bytes == 32256

    def test_cut_off_anywhere(self, uno: Path, tmp_path: Path) -> None:
        whole = uno.read_bytes()
        for size in [*range(0, 200, 7), *range(200, len(whole), len(whole) // 150), len(whole) - 1]:
            (tmp_path / "cut.elf").write_bytes(whole[:size])
            assert "cut.elf" in self.refusal(tmp_path / "cut.elf")

    def test_damaged_anywhere(self, uno: Path, tmp_path: Path) -> None:
        """A typed error or an image, never a traceback."""
        whole, chance = uno.read_bytes(), random.Random(3)
        sections = struct.unpack_from("<I", whole, 32)[0]
        for _ in range(150):
            damaged = bytearray(whole)
            for _ in range(3):
                at = chance.choice([chance.randrange(180), chance.randrange(sections, len(whole))])
                damaged[at] = chance.randrange(256)
            (tmp_path / "damaged.elf").write_bytes(damaged)
            with suppress(ImageError, FileError):
                flashers.flash(tmp_path / "damaged.elf", load_board("arduino_uno"), where=Where(port="x"), dry_run=True)

    def test_not_an_elf(self, tmp_path: Path) -> None:
        (tmp_path / "firmware.hex").write_text(":00000001FF\n")
        assert "no ELF file; give the firmware.elf" in self.refusal(tmp_path / "firmware.hex")
        assert "cannot be read: No such file" in self.refusal(tmp_path / "none.elf")
        assert "holds nothing" in self.refusal(make_elf(tmp_path / "m.elf", AVR, []))


class TestPlaces:
    @pytest.fixture
    def made(self, tmp_path: Path) -> Path:
        return make_elf(tmp_path / "m.elf", AVR, [(0, bytes(300))])

    def test_unknown_board_and_method(self, made: Path) -> None:
        assert "nearest: arduino_uno" in refused(2, made, "--board", "arduino_un")
        error = refused(2, made, "--board", "arduino_uno", "--method", "magic")
        assert "method 'magic' is unknown; allowed are avrdude" in error
        error = refused(2, made, "--board", "arduino_uno", "--method", "uf2")
        assert "known, but not for this board; allowed are avrdude" in error

    def test_no_port(self, made: Path) -> None:
        error = refused(2, made, "--board", "arduino_uno")
        assert "needs --port" in error and "/dev/ttyACM0" in error and "there" in error
        error = refused(2, made, "--board", "qemu_m3")
        assert "needs --target" in error and "-S -gdb tcp::1234" in error

    def test_another_place_than_the_method_takes(self, made: Path) -> None:
        error = refused(2, made, "--board", "arduino_uno", "--mount", "/media")
        assert "method avrdude takes --port, not --mount" in error

    def test_no_such_port(self, made: Path) -> None:
        error = refused(3, made, "--board", "arduino_uno", "--port", "/dev/ttyNONE")
        assert "port /dev/ttyNONE is not there" in error
        with pytest.raises(PortError, match="socket /nowhere is not there"):
            flashers.flash(made, load_board("qemu_m3"), where=Where(target="/nowhere"))


class TestTools:
    @pytest.fixture
    def words(self, tmp_path: Path) -> list[object]:
        made = make_elf(tmp_path / "m.elf", AVR, [(0, bytes(300))])
        return [made, "--board", "arduino_uno", "--port", "/dev/null"]

    def test_missing(self, words: list[object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert "avrdude: not installed; Debian package avrdude" in refused(3, *words)
        assert call(*words, "--dry-run").stdout.startswith("avrdude -p m328p")
        beside = Path(sys.executable).parent  # where a tool of the environment is found without PATH
        for method in {"pyocd", "openocd", "esptool", "gdb"} - {path.name for path in beside.iterdir()}:
            with pytest.raises(MissingError, match=r"not installed; (Debian package|pip install)"):
                tool(method)()

    def test_failing(self, words: list[object], tools: Path) -> None:
        fake_tool(tools, "avrdude", "seq 100; echo 'stk500_getsync(): not in sync' >&2; exit 7")
        error = refused(1, *words, "--quiet")
        assert error.startswith("ska-edge: avrdude: failed with 7\n  it said:\n  94\n")
        assert error.endswith("not in sync\n")

    def test_silent(self, words: list[object], tools: Path) -> None:
        fake_tool(tools, "avrdude", "exit 1")
        assert "failed with 1; it said nothing" in refused(1, *words)

    def test_killed(self, words: list[object], tools: Path) -> None:
        fake_tool(tools, "avrdude", "kill -9 $$")
        assert "failed with -9" in refused(1, *words)

    @pytest.mark.parametrize("script", ["sleep 60", "sleep 60 & wait", "exec >&-; exec 2>&-; sleep 60"])
    def test_hanging(self, script: str, words: list[object], tools: Path) -> None:
        fake_tool(tools, "avrdude", f"echo connecting; echo $$ > {tools}/pid; {script}")
        begin = time.monotonic()
        error = refused(1, *words, "--timeout", "0.5")
        assert "avrdude: not done after 0.5 s" in error and "connecting" in error
        assert time.monotonic() - begin < 5
        group = int((tools / "pid").read_text())
        left = subprocess.run(["ps", "-o", "pid=,stat=", "-g", str(group)], capture_output=True, text=True, check=False)
        assert all("Z" in line for line in left.stdout.splitlines())

    def test_a_child_left_behind_is_ended(self, words: list[object], tools: Path) -> None:
        fake_tool(tools, "avrdude", "sleep 60 & echo started")
        begin = time.monotonic()
        assert call(*words).exit_code == 0
        assert time.monotonic() - begin < 5

    def test_not_executable(self, words: list[object], tools: Path) -> None:
        fake_tool(tools, "avrdude", "").joinpath("avrdude").write_text("no script")
        assert "cannot be started: Exec format error" in refused(1, *words)

    def test_output_that_is_no_text(self) -> None:
        heard: list[str] = []
        assert base.call(["printf", "\\377\\000x"], 5, heard.append) == "".join(heard) == "\ufffd\x00x"
