"""Flash and EEPROM that the firmware writes in the simulator: what is allowed, what it takes, what it wears."""

from __future__ import annotations

import json
import struct
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner
from firmware_tools import compiled, digits_model, digits_stream, learnt_digest, needed

import firmware_sim
from firmware_sim import errors
from firmware_sim.catalogue import board_names, load_board, load_board_file
from firmware_sim.machine import Machine
from firmware_sim.peripherals import chip_of, eeprom_of
from firmware_sim.profile import mark, profile
from firmware_sim.report import report
from firmware_sim.tables import show
from firmware_sim.wear import Page, Wear
from ska_edge import Network, codec, lower
from ska_edge.cli import main
from ska_edge.data import load_dataset
from ska_edge.device import Device
from ska_edge.errors import FitError
from ska_edge.firmware import build, store_of
from ska_edge.program import Program
from ska_edge.simulation import SimulatedLink, simulate
from ska_edge.toolchain import find_compiler
from ska_edge.verify import stream_of
from ska_edge.wear import saves_of, slot_bytes

SAVES, LEARNT = 4, 5
NORDIC = ("microbit_v1", "microbit_v2", "nrf52840_dk")
STATE_BYTES = 1238  # digits, 64-16-10 w8d8: the docs' figure
PAGE = 0x20000  # of the bare firmware below; a page starts there on every chip here
CORES = {"microbit_v1": "cortex_m0", "microbit_v2": "cortex_m4", "nrf52840_dk": "cortex_m4"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needed(lambda: find_compiler("zig"))
    return tmp_path_factory.mktemp("wear")


# --- the real firmware -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NORDIC)
def test_a_state_outlives_the_power(name: str, folder: Path) -> None:
    stream = digits_stream()
    done = simulate(digits_model(), name, stream["x"], stream["label"], folder / name, LEARNT, predicted=0, saves=SAVES)
    found = done.snapshots
    assert done.equal and found is not None and found.equal
    assert found.state_digest == learnt_digest(LEARNT + SAVES - 1) != done.state_digest
    board, store = load_board(name), store_of(digits_model(), load_board(name))
    words = 1 + 6 + -(-STATE_BYTES // 4)  # mark, header, state
    wear = found.wear
    assert (wear.units, wear.erasures) == (SAVES * words, SAVES * store.slot_bytes // store.page_bytes)
    assert sorted(wear.pages) == list(range(store.base, store.base + 2 * store.slot_bytes, store.page_bytes))
    assert {page.erased for page in wear.pages.values()} == {SAVES // 2}
    assert not wear.beyond.count and not wear.unset.count
    assert found.saves_until_worn == saves_of(digits_model(), board).saves
    nvmc = chip_of(board).nvmc
    assert nvmc is not None and board.clock.hz is not None
    seconds = wear.units * nvmc.write_us * 1e-6 + wear.erasures * nvmc.erase_ms * 1e-3
    assert wear.busy.nominal == pytest.approx(seconds * board.clock.hz, rel=1e-3)
    assert SAVES * found.per_save.nominal > wear.busy.nominal
    assert found.per_save.low <= found.per_save.nominal <= found.per_save.high


@cache
def image_with_snapshots(folder: Path) -> Path:
    return build(digits_model(), "nrf52840_dk", folder / "counted", snapshots=True).elf


def test_wear_is_what_unicorn_saw(folder: Path) -> None:
    """Against Unicorn's own hook on each store, and the calls of the port's function that erases."""
    from unicorn import UC_HOOK_MEM_WRITE

    machine = Machine(image_with_snapshots(folder), "nrf52840_dk")
    stores: Counter[int] = Counter()

    def on_store(engine: object, access: int, address: int, size: int, value: int, nothing: object) -> None:
        stores[address & ~0xFFF] += 1

    machine._engine.hook_add(UC_HOOK_MEM_WRITE, on_store, begin=0, end=0xFFFFF)
    machine.run()
    stream = digits_stream()
    with Device(digits_model(), SimulatedLink(machine), 600.0, 0, "nrf52840_dk") as device:
        for row in range(3):
            device.learn(stream["x"][row], int(stream["label"][row]))
            device.save_in_flash()
    found = report(machine)
    assert found.wear is not None
    assert {page: count.written for page, count in found.wear.pages.items()} == dict(stores)
    assert found.wear.erasures == found.functions["ska_erase"].calls == 3
    assert found.wear.most_erased == 2
    first = min(found.wear.pages)
    fourth = struct.unpack("<I", machine.read(first, 4))[0]
    assert fourth == 0x3A96C55A  # the mark that snapshot.h names
    assert machine.read(first - 16, 16) == b"\xff" * 16  # never written, never part of the image


def test_time_stood_still_is_attributed(folder: Path) -> None:
    machine = Machine(image_with_snapshots(folder), "nrf52840_dk")
    machine.run()
    with Device(digits_model(), SimulatedLink(machine), 600.0, 0, "nrf52840_dk") as device:
        device.hello()
        device.save_in_flash()
        start, clock = mark(machine), machine.cycles
        device.save_in_flash()
        found = profile(machine, None, start)
    assert found.cycles.nominal == pytest.approx(machine.cycles - clock)
    assert sum(found.stacks.values()) == pytest.approx(found.cycles.nominal)
    assert sum(share.cycles.nominal for share in found.functions.values()) == pytest.approx(found.cycles.nominal)
    assert found.functions["ska_erase"].cycles.nominal > 85e-3 * 64e6
    wear = report(machine, since=start).wear
    assert wear is not None and wear.erasures == 1
    ours = report(machine).energy
    assert ours is not None
    busy = report(machine).wear.busy.nominal  # type: ignore[union-attr]
    assert ours.joules.nominal == pytest.approx((report(machine).cycles.nominal - busy) * ours.joules_per_cycle)


# --- the controller's rules --------------------------------------------------------------------------------------

SOURCE = """
#define PAGE 0x20000u
#define NVMC(offset) (*(volatile unsigned *)(0x4001E000u + (offset)))
#define WORD(address) (*(volatile unsigned *)(address))
#define CASE(name, ...) __attribute__((used, noinline)) void name(void) { __VA_ARGS__; }
#define MOVE_AND_RETURN(n) (0x47702000u | (n)) /* movs r0, #n; bx lr */
#define RUN ((unsigned (*)(void))(PAGE | 1))()
static void config(unsigned mode) { NVMC(0x504) = mode; while (!(NVMC(0x400) & 1)) { } }
static void erase(unsigned at) { config(2); NVMC(0x508) = at; config(0); }
static void put(unsigned at, unsigned value) { config(1); WORD(at) = value; config(0); }
volatile unsigned seen[4];
__attribute__((used)) const volatile unsigned stored = 0x0F0F0F0F;
CASES
int main(void) { seen[0] = stored; return 0; }
void Reset_Handler(void) { main(); for (;;) { } }
"""
FAULTS = {
    "off": ("WORD(PAGE) = 1", errors.BusFault, "cannot be written while NVMC.CONFIG is 0"),
    "erasing": ("config(2); WORD(PAGE) = 1", errors.BusFault, "while NVMC.CONFIG is 2.*to 1 first"),
    "half": ("config(1); *(volatile short *)PAGE = 1", errors.BusFault, "writes 2 bytes.*whole words of 4"),
    "byte": ("config(1); *(volatile char *)(PAGE + 1) = 1", errors.BusFault, "writes 1 bytes.*whole words"),
    "no_erase": ("NVMC(0x508) = PAGE", errors.FlashError, "erases 0x00020000 while NVMC.CONFIG is 0"),
    "write_erase": ("config(1); NVMC(0x508) = PAGE", errors.FlashError, "must set it .0x4001e504. to 2"),
    "no_page": ("erase(PAGE + 4)", errors.FlashError, "starts of pages of"),
    "outside": ("erase(0x20000000)", errors.FlashError, "starts of pages of"),
    "everything": ("config(2); NVMC(0x50C) = 1", errors.FlashError, "ERASEALL, which is not simulated"),
    "own_page": ("erase(0)", errors.SelfModifyingError, "a page that holds its own code"),
    "own_code": ("put((unsigned)&config & ~3u, 0)", errors.SelfModifyingError, "its own code, config"),
    "erase_what_ran": ("put(PAGE, MOVE_AND_RETURN(7)); RUN; erase(PAGE)", errors.SelfModifyingError, "code has run"),
    "change_what_ran": (
        "put(PAGE, MOVE_AND_RETURN(7)); RUN; put(PAGE, MOVE_AND_RETURN(1))",
        errors.SelfModifyingError,
        "code has run",
    ),
}
CASES = {
    "bits": """
        seen[0] = WORD(PAGE); put(PAGE, 0xFFFF0F0Fu); put(PAGE, 0xFFFFFFF0u); seen[1] = WORD(PAGE);
        put(PAGE + 4, 0xAAAAAAAAu); erase(PAGE); seen[2] = WORD(PAGE); put(PAGE, 0x12345678u); seen[3] = WORD(PAGE)
    """,
    "twice": "put(PAGE, 0xFFFFFFFEu); put(PAGE, 0xFFFFFFFCu)",
    "once_more": "put(PAGE, 0xFFFFFFF8u)",
    "clear_page": "erase(PAGE)",
    "change_stored": "put((unsigned)&stored, stored & ~0xFu); seen[0] = stored",
    "multiple": """
        config(1); __asm__ volatile("movs r1, #1\\n\\tmovs r2, #2\\n\\tmovs r3, #3\\n\\tmov r0, %0\\n\\t"
        "stmia r0!, {r1, r2, r3}" : : "r"(PAGE) : "r0", "r1", "r2", "r3", "memory"); config(0)
    """,
    "run_written": "put(PAGE, MOVE_AND_RETURN(7)); erase(PAGE); put(PAGE, MOVE_AND_RETURN(9)); seen[0] = RUN",
    "remember": "seen[0] = WORD(PAGE); if (seen[0] == 0xFFFFFFFFu) { put(PAGE, 42); config(1); }",
}


@cache
def bare_image(folder: Path, core: str) -> Path:
    bodies = {**CASES, **{name: body for name, (body, _, _) in FAULTS.items()}}
    cases = "\n".join(f"CASE({name}, {' '.join(body.split())})" for name, body in bodies.items())
    return compiled(folder, f"bare_{core}", SOURCE.replace("CASES", cases), core)


def ran(folder: Path, *cases: str, board: str = "nrf52840_dk", clock_hz: int | None = None) -> Machine:
    """A board on which these functions were called, one after the other."""
    machine = Machine(bare_image(folder, CORES[board]), board, clock_hz, budget=200_000_000)
    assert machine.run() == "halted"
    for case in cases:
        machine.call(case)
    return machine


def seen(machine: Machine) -> tuple[int, ...]:
    return struct.unpack("<4I", machine.read("seen", 16))


@pytest.mark.parametrize("board", ["microbit_v1", "nrf52840_dk"])
@pytest.mark.parametrize("name", FAULTS)
def test_what_the_controller_does_not_take(name: str, board: str, folder: Path) -> None:
    _, kind, words = FAULTS[name]
    with pytest.raises(kind, match=words) as caught:
        ran(folder, name, board=board)
    assert caught.value.exit_code == 1
    assert ".c:" in str(caught.value)
    assert any(where in str(caught.value) for where in (name, "erase", "put"))


def test_a_bit_comes_back_by_erasing_only(folder: Path) -> None:
    machine = ran(folder, "bits")
    assert seen(machine) == (0xFFFFFFFF, 0xFFFF0F00, 0xFFFFFFFF, 0x12345678)
    wear = wear_of(machine)
    assert wear.unset.count == 1
    assert "put" in wear.unset.first and ".c:" in wear.unset.first
    assert wear.beyond.count == 0
    assert wear.pages == {PAGE: Page(erased=1, written=4)}


def test_more_writes_of_a_word_than_allowed_are_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = ran(folder, "twice", "once_more", "clear_page", "twice")
    wear = wear_of(machine)
    assert wear.writes_per_word == 2
    assert wear.beyond.count == 1
    assert "put" in wear.beyond.first
    show(report(machine))
    assert "1 writes beyond the 2 allowed a word" in capsys.readouterr().out
    assert wear_of(ran(folder, "twice", "clear_page", "twice")).beyond.count == 0


def test_what_the_image_stores_was_written_once(folder: Path) -> None:
    machine = ran(folder, "change_stored")
    assert seen(machine)[0] == 0x0F0F0F00
    assert wear_of(machine).beyond.count == 0
    machine.call("change_stored")
    assert wear_of(machine).beyond.count == 1


@pytest.mark.parametrize("board", NORDIC)
def test_words_and_pages_take_the_data_sheets_time(board: str, folder: Path) -> None:
    figures = {"microbit_v1": (46.3, 22.3), "microbit_v2": (42.5, 87.5), "nrf52840_dk": (41, 85)}
    microseconds, milliseconds = figures[board]
    clock = load_board(board).clock.hz
    assert clock is not None
    for hz in (clock, clock // 4):
        start, words, page = (
            ran(folder, *cases, board=board, clock_hz=hz).cycles for cases in ((), ("twice",), ("clear_page",))
        )
        assert words - start == pytest.approx(2 * microseconds * 1e-6 * hz, abs=100)
        assert page - start == pytest.approx(milliseconds * 1e-3 * hz, abs=100)


def test_store_multiple_writes_each_word(folder: Path) -> None:
    for board in ("microbit_v1", "nrf52840_dk"):
        machine = ran(folder, "multiple", board=board)
        assert struct.unpack("<3I", machine.read(PAGE, 12)) == (1, 2, 3)
        assert wear_of(machine).units == 3


def test_code_that_was_written_runs(folder: Path) -> None:
    """A loader's case: code written over code that never ran."""
    assert seen(ran(folder, "run_written"))[0] == 9


def test_power_takes_ram_and_leaves_flash(folder: Path) -> None:
    machine = ran(folder, "remember")
    assert seen(machine)[0] == 0xFFFFFFFF
    before = machine.cycles
    machine.power_up()
    assert seen(machine) == (0xA5A5A5A5,) * 4
    assert machine.registers.read(0x4001E504, 4) == 0
    assert machine.run() == "halted"
    machine.call("remember")
    assert seen(machine)[0] == 42
    assert machine.cycles > before
    assert wear_of(machine).units == 1


def wear_of(machine: Machine) -> Wear:
    found = report(machine).wear
    assert found is not None
    return found


# --- boards ------------------------------------------------------------------------------------------------------


def test_without_a_controller_the_error_names_the_remedy(folder: Path, tmp_path: Path) -> None:
    text = (Path(firmware_sim.__file__).parent / "boards" / "nrf52840_dk.toml").read_text()
    other = tmp_path / "nrf52840_dk.toml"
    other.write_text(text.replace('mcu = "nRF52840"', 'mcu = "nRF52832"'))
    machine = Machine(bare_image(folder, "cortex_m4"), load_board_file(other))
    words = r"no flash controller of nRF52832 is modelled .of nRF51, nRF52833, nRF52840.; keep the state on the host"
    with pytest.raises(errors.BusFault, match=words):
        machine.call("off")


def test_without_a_store_the_error_names_the_remedy(folder: Path, tmp_path: Path) -> None:
    text = (Path(firmware_sim.__file__).parent / "boards" / "nrf52840_dk.toml").read_text()
    start, end = text.index("[store]"), text.index("[[upload]]")
    bare = tmp_path / "nrf52840_dk.toml"
    bare.write_text(text[:start] + text[end:])
    machine = Machine(bare_image(folder, "cortex_m4"), load_board_file(bare))
    with pytest.raises(errors.BusFault, match=r"names no page size; add \[store\] with memory, erase_bytes"):
        machine.call("off")


def test_every_figure_has_a_source() -> None:
    boards = [load_board(name) for name in board_names()]
    modelled = [nvmc for nvmc in (chip_of(board).nvmc for board in boards) if nvmc]
    assert len(modelled) >= 5
    for nvmc in modelled:
        assert nvmc.writes_per_word >= 1 and 0 < nvmc.write_us < 1000 and 1 < nvmc.erase_ms < 1000
        for source in (nvmc.writes_source, nvmc.write_source, nvmc.erase_source):
            assert source.startswith(("checked: ", "cited: ")) and len(source) > 30
    eeproms = [eeprom_of(board) for board in boards if board.core.name.startswith("avr")]
    assert all(each and each.source.startswith("checked: ") for each in eeproms)
    assert all(board.store and board.store.erase_bytes for board in boards if chip_of(board).nvmc)


def test_firmware_that_writes_nothing_says_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(ran(folder))
    assert found.wear is None
    assert found.to_json()["wear"] is None
    show(found)
    assert "Wear" not in capsys.readouterr().out


# --- AVR ---------------------------------------------------------------------------------------------------------

AVR_SOURCE = """
#include <avr/eeprom.h>
#include <avr/io.h>
volatile unsigned char read[8];
int main(void) { BODY return 0; }
"""


def avr_image(folder: Path, name: str, body: str) -> Path:
    needed(lambda: find_compiler("avr-gcc"))
    if not Path("/usr/include/simavr/sim_avr.h").exists():
        pytest.skip("libsimavr-dev is not installed")
    source, elf = folder / f"{name}.c", folder / f"{name}.elf"
    source.write_text(AVR_SOURCE.replace("BODY", body))
    find_compiler("avr-gcc").compile([source], elf, ["-mmcu=atmega328p", "-Os", "-gdwarf-2", "-DF_CPU=16000000UL"])
    return elf


def test_eeprom_writes_are_counted_and_take_their_time(folder: Path) -> None:
    """avr-libc's own functions write; the core polls until each byte is done."""
    body = """
    unsigned char i;
    for (i = 0; i < 20; i++) { eeprom_write_byte((unsigned char *)100 + i, i); }
    eeprom_write_byte((unsigned char *)103, 77);
    eeprom_update_byte((unsigned char *)103, 77);
    eeprom_busy_wait();
    """
    found = firmware_sim.run(avr_image(folder, "bytes", body), "arduino_uno")
    wear = found.wear
    assert wear is not None
    assert {address: page.written for address, page in wear.pages.items()} == {
        100 + i: 2 if i == 3 else 1 for i in range(20)
    }
    assert wear.units == wear.erasures == 21
    assert wear.endurance_used == 2 / 100_000
    byte = 3.3e-3 * 16e6
    assert 21 * byte <= found.cycles.nominal <= 21 * byte + 10_000
    assert wear.busy.nominal == 21 * byte
    silent = firmware_sim.run(avr_image(folder, "silent", "read[0] = 1;"), "arduino_uno")
    assert silent.wear is None


def test_eeprom_in_use_is_an_error(folder: Path) -> None:
    body = """
    unsigned char i;
    for (i = 0; i < 2; i++) { EEAR = i; EEDR = 1; EECR |= 1 << EEMPE; EECR |= 1 << EEPE; }
    """
    with pytest.raises(errors.FlashError, match="wait until EEPE of EECR is 0") as caught:
        firmware_sim.run(avr_image(folder, "hasty", body), "arduino_uno")
    assert "main" in str(caught.value)


@cache
def small_model() -> Program:
    """The widest 8-bit digits network of which two states fit an Uno's EEPROM."""
    return lower(Network((64, 6, 10)), "w8d8", load_dataset("digits").samples[:200])


def test_an_uno_keeps_its_state(folder: Path) -> None:
    needed(lambda: find_compiler("avr-gcc"))
    if not Path("/usr/include/simavr/sim_avr.h").exists():
        pytest.skip("libsimavr-dev is not installed")
    program = small_model()
    stream = stream_of(program, load_dataset("digits"))
    done = simulate(program, "arduino_uno", stream["x"], stream["label"], folder / "uno", 3, predicted=0, saves=2)
    found = done.snapshots
    assert done.equal and found is not None and found.equal
    assert found.state_digest != done.state_digest
    wear = saves_of(program, load_board("arduino_uno"))
    state = wear.slot_bytes - slot_bytes(0, 1, 1)
    assert found.wear.units == 2 * (4 + 4 + 24 + state)  # the mark is cleared first and set last
    assert len(found.wear.pages) == 2 * wear.slot_bytes
    assert found.wear.most_erased == 2
    assert found.saves_until_worn == wear.saves == 100_000
    assert found.per_save.nominal == pytest.approx(found.wear.busy.nominal / 2, rel=0.05)


# --- command line ------------------------------------------------------------------------------------------------


def test_snapshots_from_the_command_line(tmp_path: Path, folder: Path) -> None:
    model = tmp_path / "m.ska"
    codec.save(digits_model(), model)
    words = ["simulate", str(model), "--dataset", "digits", "--samples", "2", "--predictions", "1", "--quiet"]
    done = CliRunner().invoke(main, [*words, "--board", "microbit_v1", "--snapshots", "3", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)["snapshots"]
    assert found["equal"] and found["saves"] == 3
    assert found["saves_until_worn"] is None  # an odd number wears the slots unevenly
    assert found["seconds_per_save"]["nominal"] == pytest.approx(found["cycles_per_save"]["nominal"] / 16e6)
    wear = found["wear"]
    assert (wear["units_written"], wear["pages_erased"], wear["most_erased"]) == (3 * 317, 6, 2)
    assert sum(row["pages"] * row["erased"] for row in wear["pages"]) == 6
    assert sum(row["pages"] * row["written"] for row in wear["pages"]) == 3 * 317
    assert wear["endurance_used"] == 2 / 20_000
    shown = CliRunner().invoke(main, [*words, "--board", "microbit_v1", "--snapshots", "2"])
    assert shown.exit_code == 0
    for text in ("Cycles a save", "Cycles a load", "4 erasures of pages of 1,024 bytes", "equal to the one saved last"):
        assert text in shown.output
    refused = CliRunner().invoke(main, [*words, "--board", "rpi_pico", "--snapshots", "2"])
    assert refused.exit_code == 2
    assert "no port writes its flash yet" in refused.output
    large = CliRunner().invoke(main, [*words, "--board", "arduino_uno", "--snapshots", "2"])
    assert large.exit_code == FitError.exit_code
    assert "two snapshots take" in large.output
