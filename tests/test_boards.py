"""The board catalogue: every file loads, every number has a source, nothing overlaps, every mistake is named."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from firmware_sim.catalogue import (
    BOARDS,
    CORES,
    Avrdude,
    Board,
    Openocd,
    Pyocd,
    Uf2,
    board_names,
    load_board,
    load_board_file,
)
from firmware_sim.errors import BoardError, SimError
from firmware_sim.table import SOURCES, tomllib
from ska_edge.cli import main
from ska_edge.fits import RESERVES

ROOT = Path(__file__).parent.parent
NAMES = board_names()
PICO = (BOARDS / "rpi_pico.toml").read_text()


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def tables(content: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every table of a parsed TOML file, with its place."""
    if isinstance(content, dict):
        yield where, content
        for key, value in content.items():
            yield from tables(value, f"{where}/{key}")
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from tables(value, f"{where}[{number}]")


class TestEveryBoard:
    def test_those_asked_for_are_there(self) -> None:
        wanted = """rpi_pico rpi_pico2 microbit_v1 microbit_v2 nrf52840_dk arduino_uno arduino_mega arduino_nano33ble
        stm32f103_bluepill nucleo_f446re nucleo_l476rg nucleo_h743zi nucleo_g071rb esp32c3_devkit ch32v003 longan_nano
        qemu_m0 qemu_m3 qemu_m4 qemu_m7 qemu_m33 qemu_rv32"""
        assert set(wanted.split()) <= set(NAMES)
        assert len(NAMES) >= 18
        assert {load_board(name).core.name for name in NAMES} == set(CORES)

    @pytest.mark.parametrize("name", NAMES)
    def test_loads_and_has_reserves(self, name: str) -> None:
        board = load_board(name)
        assert board.name == name
        assert board.core.name in RESERVES
        assert 0 < board.ram_bytes <= board.data.bytes
        assert 0 < board.flash_bytes <= board.code.bytes
        assert board.silicon or board.emulator

    @pytest.mark.parametrize("name", NAMES)
    def test_every_number_has_a_source_beside_it(self, name: str) -> None:
        content = tomllib.loads((BOARDS / f"{name}.toml").read_text())
        numbers = 0
        for where, table in tables(content):
            values = [v for v in table.values() if isinstance(v, (int, float)) and not isinstance(v, bool)]
            numbers += len(values)
            assert not values or "source" in table, where
            for key in ("source", "endurance_source"):
                assert str(table.get(key, SOURCES[0])).startswith(SOURCES), where
        assert numbers >= 6

    @pytest.mark.parametrize("name", NAMES)
    def test_no_overlaps_and_reservations_stay_inside(self, name: str) -> None:
        board = load_board(name)
        for space in {memory.space for memory in board.memories}:
            taken = sorted((m.origin, m.origin + m.bytes) for m in board.memories if m.space == space)
            assert all(a[1] <= b[0] for a, b in zip(taken[:-1], taken[1:], strict=True)), space
        for memory in board.memories:
            origin, size = board.usable(memory)
            assert memory.origin <= origin
            assert origin + size <= memory.origin + memory.bytes

    @pytest.mark.parametrize("name", NAMES)
    def test_no_address_of_a_package_registry(self, name: str) -> None:
        assert "http" not in (BOARDS / f"{name}.toml").read_text()

    def test_json_round_trip(self) -> None:
        for name in NAMES:
            assert json.loads(json.dumps(load_board(name).to_json()))["name"] == name


class TestFacts:
    """Numbers that other parts lean on, so that a slip of the keyboard shows."""

    def test_pico(self) -> None:
        board = load_board("rpi_pico")
        assert board.usable(board.code) == (0x10000100, (2 << 20) - 256)
        assert board.ram_bytes == 264 << 10
        uf2 = board.upload(Uf2)
        assert uf2 is not None
        assert (uf2.family_id, uf2.volume) == (0xE48BFF56, "RPI-RP2")
        assert board.upload(Avrdude) is None

    def test_uno(self) -> None:
        board = load_board("arduino_uno")
        assert board.usable(board.code) == (0, 32256)
        assert board.usable(board.data) == (0x100, 2048)
        avrdude = board.upload(Avrdude)
        assert avrdude is not None
        assert (avrdude.part, avrdude.programmer, avrdude.baud) == ("m328p", "arduino", 115200)

    def test_nano33ble_starts_behind_its_bootloader(self) -> None:
        board = load_board("arduino_nano33ble")
        assert board.usable(board.code) == (0x10000, 983040)

    def test_debuggers(self) -> None:
        pyocd, openocd = load_board("microbit_v1").upload(Pyocd), load_board("nucleo_f446re").upload(Openocd)
        assert pyocd is not None
        assert pyocd.target == "nrf51822"
        assert openocd is not None
        assert openocd.target == "target/stm32f4x.cfg"

    @pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("qemu_")])
    def test_qemu_has_that_memory(self, name: str) -> None:
        board = load_board(name)
        assert board.emulator is not None
        program = shutil.which(board.emulator.program)
        if program is None:
            if os.environ.get("CI") == "true":
                pytest.fail(f"{board.emulator.program} is missing")
            pytest.skip(f"{board.emulator.program} is not installed")
        command = [program, "-M", board.emulator.machine, "-display", "none", "-serial", "none", "-S"]
        firmware = board.emulator.note.split()
        done = subprocess.run(
            [*command, "-monitor", "stdio", *firmware],
            input="info mtree -f\nquit\n",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        ranges = sorted(
            (int(start, 16), int(end, 16) + 1)
            for start, end, kind in re.findall(r"^\s+([0-9a-f]{16})-([0-9a-f]{16}) \(prio (.*)$", done.stdout, re.M)
            if ", ram)" in kind or "rom" in kind or "tz-mpc-upstream" in kind
        )
        for memory in board.memories:
            reached = memory.origin
            for start, end in ranges:
                if start <= reached < end:
                    reached = end
            assert reached >= memory.origin + memory.bytes, f"{memory.name}: QEMU ends at {reached:#x}"


def broken(tmp_path: Path, old: str, new: str) -> str:
    """The message for a Pico's file with one text replaced."""
    assert old in PICO
    path = tmp_path / "rpi_pico.toml"
    path.write_text(PICO.replace(old, new, 1))
    with pytest.raises(BoardError) as caught:
        load_board_file(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


class TestMistakes:
    def test_a_copy_loads(self, tmp_path: Path) -> None:
        path = tmp_path / "rpi_pico.toml"
        path.write_text(PICO)
        assert load_board_file(path) == load_board("rpi_pico")

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            ('title = "Raspberry Pi Pico"\n', "", ["title", "missing"]),
            ("hz = 125_000_000\n", "", ["[clock]", "'hz'", "missing"]),
            ("hz = 125_000_000", "hz = 12", ["hz = 12", "32768"]),
            ("hz = 125_000_000", 'hz = "fast"', ["'fast'", "a whole number"]),
            ("hz = 125_000_000", "hz = true", ["True", "a whole number"]),
            ("silicon = true", "silicon = 1", ["silicon", "true or false"]),
            ("silicon = true", "silicon = true\ncolour = 1", ["unknown key 'colour'", "title"]),
            ('fpu = "none"', 'fpu = "some"', ["fpu", "'some'", "single"]),
            ('name = "cortex-m0plus"', 'name = "cortex-m5"', ["cortex-m5", "cortex-m0plus"]),
            ('source = "cited: RP2040 datasheet, section 2.4 Cortex-M0+"', "", ["[core]", "'source'"]),
            ("cited: RP2040 datasheet, section 2.4", "a friend said: section 2.4", ["checked: ", "cited: "]),
            ('"cited: RP2040 datasheet, section 2.4 Cortex-M0+"', '"cited: "', ["cited: "]),
            ('source = "checked: pyOCD', 'sauce = "checked: pyOCD', ["[[upload]] 3", "'source'"]),
            ("origin = 0x20000000", "origin = 0x10000010", ["'sram' overlaps 'flash'"]),
            ("bytes = 270_336", "bytes = 2_147_483_648", ["[[memory]] 2", "2147483648", "1073741824"]),
            ("bytes = 270_336", "bytes = 0", ["bytes = 0", "16"]),
            ("origin = 0x20000000", "origin = 0xFFFFFF00", ["origin + bytes", "0x100000000"]),
            ('role = "data"', 'role = "spare"', ["'data'", "none", "exactly one"]),
            ('role = "spare"', 'role = "data"', ["'data'", "rom"]),
            ('name = "sram"', 'name = "flash"', ["'flash' stands there 2 times"]),
            ("bytes = 256\n", "bytes = 2_097_152\n", ["'flash'", "leave nothing"]),
            ('[[reserved]]\nmemory = "flash"', '[[reserved]]\nmemory = "disk"', ["[reserved]", "'disk'", "sram"]),
            ('[store]\nmemory = "flash"', '[store]\nmemory = "sram"', ["[store]", "'sram'", "without power"]),
            ('[store]\nmemory = "flash"', "[[store]]", ["store", "a table"]),
            ('endurance_source = "cited', 'origin = "cited', ["endurance_source", "missing"]),
            ('method = "uf2"', 'method = "drone"', ["'drone'", "avrdude"]),
            ('method = "uf2"', 'method = "avrdude"', ["'part'", "missing"]),
            ('volume = "RPI-RP2"', 'volume = ""', ["volume is empty"]),
            ('driver = "pl011"', "", ["[[serial]] 1", "'driver'"]),
            ("baud = 115_200", "baud = 1", ["baud = 1", "300"]),
            ('access = "direct"', 'access = "direct"\nwait_states = 2', ["wait_states", "wait-states"]),
            ('name = "rpi_pico"', 'name = "pico"', ["'pico'", "'rpi_pico'"]),
            ("[clock]", "[clock", ["no TOML"]),
        ],
    )
    def test_is_named(self, tmp_path: Path, old: str, new: str, words: list[str]) -> None:
        message = broken(tmp_path, old, new)
        for word in words:
            assert word in message

    def test_memory_missing_altogether(self, tmp_path: Path) -> None:
        path = tmp_path / "empty.toml"
        path.write_text("")
        with pytest.raises(BoardError, match="missing"):
            load_board_file(path)

    def test_not_text(self, tmp_path: Path) -> None:
        path = tmp_path / "noise.toml"
        path.write_bytes(bytes(range(256)))
        with pytest.raises(BoardError, match="UTF-8"):
            load_board_file(path)

    @pytest.mark.parametrize("name", ["", "../rpi_pico", "rpi_pcio", "x" * 500])
    def test_unknown_board(self, name: str) -> None:
        with pytest.raises(SimError, match="not in the catalogue") as caught:
            load_board(name)
        assert caught.value.exit_code == 2
        if name == "rpi_pcio":
            assert "rpi_pico" in str(caught.value).split("nearest: ")[1]


class TestCommand:
    def test_all(self) -> None:
        result = call("boards")
        assert result.exit_code == 0, result.output
        assert all(name in result.stdout for name in NAMES)
        rows = json.loads(call("boards", "--json").stdout)["boards"]
        assert [row["name"] for row in rows] == NAMES
        keys = "name title mcu core clock_hz ram_bytes flash_bytes upload emulator silicon"
        assert set(keys.split()) <= set(rows[0])

    @pytest.mark.parametrize("name", NAMES)
    def test_one(self, name: str) -> None:
        result = call("boards", name)
        assert result.exit_code == 0, result.output
        assert load_board(name).title in result.stdout
        assert "checked:" in result.stdout
        assert json.loads(call("boards", name, "--json").stdout)["name"] == name

    def test_a_file_of_ones_own(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.toml"
        path.write_text(PICO.replace('name = "rpi_pico"', 'name = "mine"'))
        assert json.loads(call("boards", path, "--json").stdout)["name"] == "mine"

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (["rpi_pcio"], "nearest: rpi_pico"),
            (["nowhere.toml"], "cannot be read"),
            (["--fits", "nowhere.ska"], "cannot be read"),
        ],
    )
    def test_bad_input(self, words: list[str], expected: str) -> None:
        result = call("boards", *words)
        assert result.exit_code == 2
        assert expected in result.stderr
        assert not result.stdout
        assert expected in json.loads(call("boards", *words, "--json").stdout)["error"]

    def test_broken_files(self, tmp_path: Path) -> None:
        board, model = tmp_path / "rpi_pico.toml", tmp_path / "broken.ska"
        board.write_text(PICO.replace("hz = 125_000_000\n", ""))
        model.write_bytes(b"no model at all")
        assert "'hz' is missing" in call("boards", board).stderr
        result = call("boards", "--fits", model)
        assert (result.exit_code, bool(result.stdout)) == (2, False)
        assert "not a .ska file" in result.stderr or "too few" in result.stderr


def documented(board: Board) -> str:
    """A board's row in docs/boards.md."""
    clock = "" if board.clock.hz is None else f"{board.clock.hz / 1e6:g}"
    flash = "the same" if board.shared else f"{board.flash_bytes:,}"
    return f"| `{board.name}` | {board.mcu} | {board.core.name} | {clock} | {board.ram_bytes:,} | {flash} |"


def test_documentation_has_these_numbers() -> None:
    page = (ROOT / "docs" / "boards.md").read_text()
    for name in NAMES:
        assert documented(load_board(name)) in page
