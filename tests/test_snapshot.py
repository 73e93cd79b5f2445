"""Snapshots under power cuts: a save interrupted anywhere, in any way, leaves the last or the one before."""

from __future__ import annotations

import ctypes
import json
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest
from firmware_tools import DEVICE, LossyLink, build_host, digits_model, digits_stream, learnt_digest
from test_c import installed

from firmware_sim.catalogue import board_names, load_board
from ska_edge import Network, lower
from ska_edge.device import Device, DeviceError, ProcessLink, RefusedError
from ska_edge.errors import FitError
from ska_edge.toolchain import INCLUDE, find_compiler
from ska_edge.wear import saves_of, slot_bytes

HARNESS = Path(__file__).with_name("snapshot_cuts.c")
SOURCE = INCLUDE / "device" / "snapshot.c"
DIGEST = "00112233445566778899aabbccddeeff" * 2
OTHER = "ff" * 32
MODEL = """
#include <stdint.h>
#define SKA_PROGRAM_DIGEST "{digest}"
#define SKA_STATE_BYTES (test_state_bytes)
extern uint32_t test_state_bytes;
uint8_t *ska_state(void);
void ska_reset(void);
"""
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
DONE, NONE, FOREIGN, FAILED, PORT = range(5)
CUT = -1
NEVER = 2**32 - 1
HEADER_BYTES = 24


def build(folder: Path, flags: tuple[str, ...], digest: str = DIGEST, source: Path = SOURCE) -> Path:
    installed("gcc")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.h").write_text(MODEL.format(digest=digest))
    out = folder / "cuts"
    device = f"-I{INCLUDE / 'device'}"
    find_compiler("gcc").compile([HARNESS, source], out, ["-O2", "-g", f"-I{folder}", device, *flags])
    return out


def sweep(program: Path, *words: int) -> dict[str, int]:
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("cuts"), SANITIZED)


@pytest.mark.parametrize(
    ("state", "unit", "saves"), [(1, 1, 3), (37, 1, 3), (129, 1, 2), (256, 2, 2), (1238, 16, 2), (5000, 128, 2)]
)
def test_a_cut_at_every_operation(cuts: Path, state: int, unit: int, saves: int) -> None:
    """Program units `unit` to 256, pages 64 to 4096, EEPROM, with and without error-correcting codes."""
    found = sweep(cuts, state, unit, saves)
    assert found["lost"] == found["violations"] == 0, found
    assert found["cuts"] > 2000
    assert found["cut_twice"] == found["cuts"]
    assert min(found["last"], found["before"]) > found["cuts"] // 2, found


NO_CRC = (" || ~crc != ska_get_number(header + SKA_SUMMED_BYTES)", "")
MARK_FIRST = (
    "    if (ska_clear(flash, slot) || ",
    "    uint8_t mark[4];\n    ska_put_number(mark, SKA_SNAPSHOT_MARK);\n"
    "    if (ska_clear(flash, slot) || ska_program(flash, slot, mark, 4)) {\n        return SKA_SNAPSHOT_FAILED;\n"
    "    }\n    if (",
)
NO_MARK_LAST = ("return ska_program(flash, slot, header, 4) || ", "return ")
MISTAKES = {
    "the mark is written twice": [MARK_FIRST],
    "the mark is written first, and the CRC not looked at": [NO_CRC, MARK_FIRST, NO_MARK_LAST],
    "the newest is overwritten": [("slot = i ? 0 : flash->slot_bytes", "slot = i ? flash->slot_bytes : 0")],
    "always the first slot": [("ska_later(sequence[1], sequence[0])", "ska_later(sequence[0], sequence[1])")],
    "not everything is erased": [("at < flash->slot_bytes; at +=", "at < flash->page_bytes; at +=")],
    "the last unit is not padded but read on": [("if (count - done < flash->unit_bytes)", "if (0)")],
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_sweep_sees_mistakes(tmp_path: Path, mistake: str) -> None:
    text = SOURCE.read_text()
    for right, wrong in MISTAKES[mistake]:
        assert text.count(right) == 1, right
        text = text.replace(right, wrong)
    changed = tmp_path / "snapshot.c"
    changed.write_text(text)
    program = build(tmp_path, ("-fsanitize=address", "-Wno-error"), source=changed)
    done = subprocess.run([program, "150", "4", "2"], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode, done.stdout


class Flash:
    """The harness as a library: one flash, shared by programs with different digests."""

    def __init__(self, folder: Path, digest: str = DIGEST) -> None:
        flags = ("-shared", "-fPIC", "-fsanitize=undefined", "-fno-sanitize-recover=all", "-static-libubsan")
        self.c = ctypes.CDLL(str(build(folder, flags, digest)))
        self.setup()

    def setup(self, page: int = 128, unit: int = 4, state: int = 100, slot: int | None = None) -> None:
        step = page or unit
        wanted = slot_bytes(state, unit, step) if slot is None else slot
        self.slot, self.unit, self.state_bytes = wanted, unit, state
        self.c.test_setup(wanted, page, unit, state)

    def array(self, name: str, count: int, kind: Any = ctypes.c_uint8) -> Any:
        return (kind * count).in_dll(self.c, name)

    @property
    def content(self) -> Any:
        return self.array("test_memory", 2 * self.slot)

    def save(self, content: bytes, cut_at: int = NEVER, kind: int = 0) -> int:
        self.array("test_state", self.state_bytes)[:] = list(content)
        return int(self.c.test_save(ctypes.c_uint32(cut_at), kind))

    def restore(self) -> tuple[int, bytes]:
        self.array("test_state", self.state_bytes)[:] = [0x55] * self.state_bytes
        status = int(self.c.test_restore())
        return status, bytes(self.array("test_state", self.state_bytes))

    def set(self, name: str, value: int) -> None:
        ctypes.c_uint32.in_dll(self.c, name).value = value

    def header_at(self, slot: int) -> int:
        return slot * self.slot + max(4, self.unit)

    def state_at(self, slot: int) -> int:
        return self.header_at(slot) + -(-HEADER_BYTES // self.unit) * self.unit

    def sequence(self, slot: int) -> int:
        return int.from_bytes(bytes(self.content)[self.header_at(slot) + 4 :][:4], "little")

    def set_sequence(self, slot: int, number: int) -> None:
        """Renumber a slot, its CRC included: as if so many saves had gone before."""
        at = self.header_at(slot)
        self.content[at + 4 : at + 8] = list(number.to_bytes(4, "little"))
        raw = bytes(self.content)
        state = raw[self.state_at(slot) :][: self.state_bytes]
        self.content[at + 20 : at + 24] = list(zlib.crc32(raw[at : at + 20] + state).to_bytes(4, "little"))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Flash:
    return Flash(tmp_path_factory.mktemp("library"))


@pytest.fixture
def flash(library: Flash) -> Flash:
    library.setup()
    return library


def content(n: int, count: int = 100) -> bytes:
    return bytes((7 * i + 85 * n) % 256 for i in range(count))


@pytest.mark.parametrize("unit", [1, 2, 4, 8, 32, 256])
def test_the_layout_is_what_the_header_file_says(flash: Flash, unit: int) -> None:
    flash.setup(page=512, unit=unit)
    assert flash.save(content(1)) == DONE
    raw = bytes(flash.content)
    assert slot_bytes(100, unit, 512) == flash.slot
    slot = 0 if raw[0] != 0xFF else 1
    header = raw[flash.header_at(slot) :][:HEADER_BYTES]
    assert raw[slot * flash.slot :][:4] == (0x3A96C55A).to_bytes(4, "little")
    assert header[:4] == b"SKA\x01"
    assert header[4:12] == (1).to_bytes(4, "little") + (100).to_bytes(4, "little")
    assert header[12:20] == bytes.fromhex(DIGEST)[:8]
    state = raw[flash.state_at(slot) :][:100]
    assert state == content(1)
    assert header[20:] == zlib.crc32(header[:20] + state).to_bytes(4, "little")
    assert set(raw[flash.state_at(slot) + 100 : (slot + 1) * flash.slot]) <= {0xFF}


def test_blank(flash: Flash) -> None:
    assert flash.restore() == (NONE, b"\x55" * 100)


@pytest.mark.parametrize("byte", [0x00, 0x5A])
def test_never_erased_but_not_ours(flash: Flash, byte: int) -> None:
    flash.content[:] = [byte] * (2 * flash.slot)
    assert flash.restore() == (NONE, b"\x55" * 100)
    assert flash.save(content(1)) == DONE
    assert flash.restore() == (DONE, content(1))


def test_slots_take_turns_and_each_page_is_erased_once_a_save(flash: Flash) -> None:
    for n in range(1, 9):
        assert flash.save(content(n)) == DONE
        assert flash.restore() == (DONE, content(n))
    pages = 2 * flash.slot // 128
    assert list(flash.array("test_erasures", pages, ctypes.c_uint32)) == [4] * pages
    assert {flash.sequence(0), flash.sequence(1)} == {7, 8}


def test_eeprom_writes_each_byte_once_a_save(flash: Flash) -> None:
    flash.setup(page=0, unit=1)
    for n in range(1, 9):
        assert flash.save(content(n)) == DONE
        assert flash.restore() == (DONE, content(n))
    written = list(flash.array("test_erasures", flash.slot, ctypes.c_uint32))
    assert written == [8] * 4 + [4] * (flash.slot - 4), "the mark is written twice, all else once"


@pytest.mark.parametrize("start", [2**31 - 2, 2**32 - 3])
def test_the_sequence_number_wraps_around(flash: Flash, start: int) -> None:
    assert flash.save(content(0)) == DONE
    slot = 0 if flash.sequence(0) == 1 else 1
    flash.set_sequence(slot, start)
    for n in range(1, 7):
        assert flash.save(content(n), cut_at=3) == CUT
        assert flash.restore() == (DONE, content(n - 1))
        assert flash.save(content(n)) == DONE
        assert flash.restore() == (DONE, content(n))
        assert (start + n) % 2**32 in (flash.sequence(0), flash.sequence(1))


def newest(flash: Flash) -> int:
    blank = NEVER
    return max((0, 1), key=lambda slot: -1 if flash.sequence(slot) == blank else flash.sequence(slot))


def test_every_flipped_bit_of_the_newest_falls_back_to_the_other(flash: Flash) -> None:
    assert [flash.save(content(n)) for n in (1, 2)] == [DONE, DONE]
    slot = newest(flash)
    used = flash.state_at(slot) + 100
    for bit in range(8 * slot * flash.slot, 8 * used):
        flash.content[bit // 8] ^= 1 << bit % 8
        assert flash.restore() == (DONE, content(1)), bit
        flash.content[bit // 8] ^= 1 << bit % 8
    assert flash.restore() == (DONE, content(2))


def test_a_rotten_newest_is_what_the_next_save_overwrites(flash: Flash) -> None:
    assert [flash.save(content(n)) for n in (1, 2)] == [DONE, DONE]
    slot = newest(flash)
    flash.content[flash.state_at(slot) + 50] ^= 4
    assert flash.save(content(3), cut_at=5) == CUT
    assert flash.restore() == (DONE, content(1))


def test_both_rotten(flash: Flash) -> None:
    assert [flash.save(content(n)) for n in (1, 2)] == [DONE, DONE]
    for slot in (0, 1):
        flash.content[flash.state_at(slot)] ^= 1
    assert flash.restore() == (NONE, b"\x55" * 100)
    assert flash.save(content(3)) == DONE
    assert flash.restore() == (DONE, content(3))


def test_an_absurd_length_reads_nothing_outside(flash: Flash) -> None:
    assert flash.save(content(1)) == DONE
    slot = newest(flash)
    at = flash.header_at(slot) + 8
    for length in (2**32 - 1, 2**31, flash.slot, 101, 99, 0):
        flash.content[at : at + 4] = list(length.to_bytes(4, "little"))
        assert flash.restore()[0] == NONE
        assert ctypes.c_uint32.in_dll(flash.c, "test_violations").value == 0


def test_another_program_is_refused_and_then_replaced(flash: Flash, tmp_path: Path) -> None:
    other = Flash(tmp_path, OTHER)
    assert other.save(content(9)) == DONE
    flash.content[:] = list(other.content)
    assert flash.restore() == (FOREIGN, b"\x55" * 100)
    assert flash.save(content(1)) == DONE
    assert flash.restore() == (DONE, content(1))
    other.content[:] = list(flash.content)
    assert other.restore() == (DONE, content(9)), "the other program's last snapshot outlives our first save"
    assert flash.save(content(2)) == DONE
    assert flash.restore() == (DONE, content(2))


def test_another_size_of_state_is_refused(flash: Flash) -> None:
    assert flash.save(content(1)) == DONE
    flash.set("test_state_bytes", 96)
    assert flash.c.test_restore() == FOREIGN


@pytest.mark.parametrize("operation", range(5))
def test_a_flash_that_reports_failure_keeps_the_last(flash: Flash, operation: int) -> None:
    assert flash.save(content(1)) == DONE
    flash.set("test_fail_at", operation)
    assert flash.save(content(2)) == FAILED
    assert flash.restore() == (DONE, content(1))
    flash.set("test_fail_at", NEVER)
    assert flash.save(content(3)) == DONE
    assert flash.restore() == (DONE, content(3))


def test_a_flash_that_fails_while_it_is_copied(flash: Flash) -> None:
    """The check has passed, the copy cannot be read: nothing half restored is left behind."""
    assert flash.save(content(1)) == DONE
    found = set()
    for reads in range(30):
        flash.set("test_read_fails_at", reads)
        status, state = flash.restore()
        assert (status, state) in ((NONE, b"\x55" * 100), (FAILED, b"\xee" * 100), (DONE, content(1))), reads
        found.add(status)
    assert found == {NONE, FAILED, DONE}


SENSELESS = [
    (128, 3, 256),
    (128, 512, 1024),
    (128, 0, 256),
    (100, 8, 200),
    (128, 4, 200),
    (128, 8, 128),
    (0, 4, 130),
    (0, 4, 2),
]


@pytest.mark.parametrize(("page", "unit", "slot"), SENSELESS)
def test_a_port_that_makes_no_sense_writes_nothing(flash: Flash, page: int, unit: int, slot: int) -> None:
    flash.setup(page=page, unit=4, slot=slot)
    flash.c.test_setup(slot, page, unit, 100)
    assert flash.c.test_save(ctypes.c_uint32(NEVER), 0) == PORT
    assert flash.c.test_restore() == PORT
    assert ctypes.c_uint32.in_dll(flash.c, "test_operations").value == 0


@pytest.mark.parametrize(
    ("compiler", "flags", "most"),
    [
        ("arm-none-eabi-gcc", ("-mcpu=cortex-m0plus", "-mthumb", "-Os"), 1400),
        ("avr-gcc", ("-mmcu=atmega2560", "-Os"), 3800),
        ("riscv64-unknown-elf-gcc", ("-march=rv32imc", "-mabi=ilp32", "-Os"), 1700),
        ("clang", ("-O2",), None),
    ],
)
def test_it_compiles_for_chips_without_static_ram(
    tmp_path: Path, compiler: str, flags: tuple[str, ...], most: int | None
) -> None:
    installed(compiler)
    text = MODEL.format(digest=DIGEST).replace("(test_state_bytes)", "1238U")
    (tmp_path / "model.h").write_text(text)
    out = tmp_path / "snapshot.o"
    find_compiler(compiler).compile([SOURCE], out, [f"-I{tmp_path}", "-ffreestanding", "-c", *flags])
    if most is not None:
        from ska_edge.elf import read_elf

        sections = {s.name: s.bytes for s in read_elf(out).sections}
        assert sum(size for name, size in sections.items() if name.startswith((".data", ".bss"))) == 0, sections
        assert sum(size for name, size in sections.items() if name.startswith((".text", ".rodata", ".progmem"))) <= most


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = (*DEVICE, SOURCE, INCLUDE / "ports/host.c", INCLUDE / "ports/host_flash.c")
    return build_host(digits_model(), tmp_path_factory.mktemp("device"), "-DSKA_SNAPSHOTS", *SANITIZED, sources=files)


class TestOverTheLine:
    """Commands save and load, to the device's own C in a process whose flash is a file."""

    @pytest.fixture(autouse=True)
    def memory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        path = tmp_path / "flash"
        path.write_bytes(b"")
        monkeypatch.setenv("SKA_FLASH_FILE", str(path))
        return path

    def learn(self, device: Device, first: int, last: int) -> None:
        stream = digits_stream()
        for n in range(first, last):
            device.learn(stream["x"][n], int(stream["label"][n]))

    def test_what_was_saved_survives_a_restart(self, device: Path) -> None:
        program = digits_model()
        with Device(program, ProcessLink([str(device)])) as before:
            before.hello()
            self.learn(before, 0, 30)
            before.save_in_flash()
            self.learn(before, 30, 35)
        with Device(program, ProcessLink([str(device)])) as after:
            after.hello()
            after.load_from_flash()
            assert program.digest_of(after.snapshot()) == learnt_digest(30)
            self.learn(after, 30, 40)
            after.save_in_flash()
            after.reset()
            after.load_from_flash()
            assert program.digest_of(after.snapshot()) == learnt_digest(40)

    def test_a_lost_answer_saves_once(self, device: Path, memory: Path) -> None:
        with Device(digits_model(), LossyLink(ProcessLink([str(device)]), 0.2, 3), timeout=0.2, retries=40) as talking:
            talking.hello()
            for _ in range(6):
                talking.save_in_flash()
            numbers = [memory.read_bytes()[slot + 12 :][:4] for slot in (0, len(memory.read_bytes()) // 2)]
        assert sorted(int.from_bytes(number, "little") for number in numbers) == [5, 6]

    def test_nothing_there(self, device: Path) -> None:
        with Device(digits_model(), ProcessLink([str(device)])) as talking:
            talking.hello()
            with pytest.raises(DeviceError, match="there is no snapshot"):
                talking.load_from_flash()

    def test_a_board_without_flash(self, device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("SKA_FLASH_FILE")
        with Device(digits_model(), ProcessLink([str(device)])) as talking:
            talking.hello()
            with pytest.raises(RefusedError, match="no such command"):
                talking.save_in_flash()

    def test_a_file_that_cannot_be_written(self, device: Path, memory: Path) -> None:
        memory.unlink()
        with Device(digits_model(), ProcessLink([str(device)])) as talking:
            talking.hello()
            with pytest.raises(DeviceError, match="reports an error"):
                talking.save_in_flash()


class TestWear:
    def test_saves_by_hand(self) -> None:
        """The Pico: 1238 bytes of state in one 4 KiB page a slot, 100,000 erasures a page, every other save."""
        program = lower(Network((64, 16, 10)))
        wear = saves_of(program, load_board("rpi_pico"))
        assert (wear.slot_bytes, wear.pages) == (4096, 1)
        assert wear.saves == 200_000

    def test_eeprom_counts_the_mark_twice(self) -> None:
        wear = saves_of(lower(Network((64, 16, 10))), load_board("arduino_mega"))
        assert wear.slot_bytes == 4 + 24 + 1238
        assert wear.saves == 100_000

    def test_too_small_a_store_is_refused_with_the_bytes(self) -> None:
        with pytest.raises(FitError, match=r"arduino_uno: .* 2,532 bytes .* 1,024"):
            saves_of(lower(Network((64, 16, 10))), load_board("arduino_uno"))

    def test_every_board_has_an_answer(self) -> None:
        program = lower(Network((8, 4, 2)))
        found = {name: saves_of(program, load_board(name)) for name in board_names() if load_board(name).store}
        assert len(found) > 12
        for wear in found.values():
            assert wear.slot_bytes % wear.page_bytes == 0
            assert wear.saves is None or wear.saves > 0
        for name in set(board_names()) - set(found):
            with pytest.raises(FitError, match=name):
                saves_of(program, load_board(name))

    def test_the_table_in_the_docs_is_up_to_date(self) -> None:
        page = (Path(__file__).parent.parent / "docs" / "snapshots.md").read_text()
        program = lower(Network((64, 16, 10)))
        for name in board_names():
            board = load_board(name)
            if board.silicon:
                try:
                    wear = saves_of(program, board)
                except FitError:
                    assert f"None on `{name}`" in page
                    continue
                saves = "not known" if wear.saves is None else f"{wear.saves:,}"
                assert f"| `{name}` | {wear.slot_bytes:,} | {wear.page_bytes:,} | {saves} |" in page, name
