"""The cycle simulator: it counts what runs, sees what goes wrong, and needs nothing of ska_edge."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner
from firmware_tools import compiled, digits_model, digits_stream, learnt_digest, needed

import firmware_sim
from firmware_sim import errors
from firmware_sim.activity import load_activity
from firmware_sim.avr import AvrMachine
from firmware_sim.catalogue import board_names, load_board
from firmware_sim.machine import Machine
from firmware_sim.pictures import flame_graph, residency, timeline, trace
from firmware_sim.profile import mark, profile
from firmware_sim.report import report
from firmware_sim.stack import stack_bound
from firmware_sim.timing import CORES, load_core, load_core_file
from ska_edge import codec
from ska_edge.cli import main
from ska_edge.simulation import Simulation, SimulationError, simulate
from ska_edge.toolchain import find_compiler

ROOT = Path(__file__).parent.parent
SAMPLES = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needed(lambda: find_compiler("zig"))
    return tmp_path_factory.mktemp("simulator")


@cache
def simulated(folder: Path, board: str) -> Simulation:
    stream = digits_stream()
    return simulate(digits_model(), board, stream["x"], stream["label"], folder / board, SAMPLES, 2)


def test_imports_nothing_of_ska_edge() -> None:
    for file in (ROOT / "firmware_sim").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "ska_edge" for name in names), file


def test_every_board_has_a_table_or_simavr() -> None:
    for name in board_names():
        board = load_board(name)
        if not board.core.name.startswith("avr"):
            assert load_core(board).rows


@pytest.mark.parametrize("file", sorted(CORES.glob("*.toml")), ids=lambda path: path.stem)
def test_tables_are_ordered_and_sourced(file: Path) -> None:
    core = load_core_file(file)
    assert len(core.source) > 20
    for row in core.rows.values():
        assert row.cycles.low <= row.cycles.nominal <= row.cycles.high
        assert row.taken.low <= row.taken.nominal <= row.taken.high
        assert row.section
    for rule in core.rules:
        assert rule.cycles.low <= rule.cycles.nominal <= rule.cycles.high
        assert rule.section


@pytest.mark.parametrize("board", ["qemu_m4", "qemu_m3", "rpi_pico", "longan_nano"])
def test_learns_the_oracles_bits_and_counts(board: str, folder: Path) -> None:
    done = simulated(folder, board)
    assert done.equal
    assert done.state_digest == learnt_digest(SAMPLES)
    assert done.per_sample.low <= done.per_sample.nominal <= done.per_sample.high
    assert 10_000 < done.per_sample.nominal < 120_000
    learning = done.learning
    assert learning.functions["ska_learn"].calls == SAMPLES
    operations = sum(share.cycles.nominal for share in learning.operations.values())
    whole = operations + learning.outside.cycles.nominal
    assert whole == pytest.approx(learning.cycles.nominal)
    assert sum(learning.stacks.values()) == pytest.approx(learning.cycles.nominal)
    assert sum(share.cycles.nominal for share in learning.functions.values()) == pytest.approx(learning.cycles.nominal)
    assert operations > 0.8 * learning.functions["ska_learn"].total.nominal
    assert set(learning.phases()) == {"forward", "flow", "update"}


def needs_simavr() -> None:
    needed(lambda: find_compiler("gcc"))
    if not Path("/usr/include/simavr/sim_avr.h").exists():
        pytest.skip("libsimavr-dev is not installed")


def test_avr_learns_the_oracles_bits(folder: Path) -> None:
    needs_simavr()
    done = simulated(folder, "arduino_uno")
    assert done.equal
    assert done.per_sample.low == done.per_sample.high > 100_000
    assert done.learning.functions["ska_learn"].calls == SAMPLES


def machine(folder: Path, board: str = "qemu_m4") -> Machine:
    made = Machine(simulated(folder, board).image.elf, board)
    assert made.run() == "idle"
    return made


def test_counts_every_instruction(folder: Path) -> None:
    """Against Unicorn's own hook on each instruction; Thumb-1 has no predicated ones, which that hook leaves out."""
    from unicorn import UC_HOOK_CODE

    made = Machine(simulated(folder, "rpi_pico").image.elf, "rpi_pico")
    counted = [0]

    def on_instruction(*_: object) -> None:
        counted[0] += 1

    made._engine.hook_add(UC_HOOK_CODE, on_instruction)
    made.run()
    before, counted[0] = made.instructions, 0
    made.call("ska_predict", made.image.symbol("ska_memory").address)
    assert made.instructions - before == counted[0] > 1000


def test_counts_the_same_twice(folder: Path) -> None:
    results = []
    for _ in range(2):
        made = machine(folder)
        place = made.image.symbol("ska_memory").address
        made.call("ska_learn", place, 3)
        results.append((made.instructions, made.cycles, made.stack_used))
    assert results[0] == results[1]


def test_live_clock_is_the_sum_of_the_edges(folder: Path) -> None:
    made = machine(folder)
    start, clock = mark(made), made.cycles
    made.call("ska_learn", made.image.symbol("ska_memory").address, 1)
    assert profile(made, None, start).cycles.nominal == pytest.approx(made.cycles - clock)


def test_fast_enough(folder: Path) -> None:
    """The goal is 10 M instructions a second; a busy machine gets half of it."""
    import time

    made = machine(folder)
    place = made.image.symbol("ska_memory").address
    made.call("ska_learn", place, 1)
    before, start = made.instructions, time.process_time()
    for _ in range(300):
        made.call("ska_learn", place, 1)
    assert (made.instructions - before) / (time.process_time() - start) > 5e6


@pytest.mark.parametrize("board", ["qemu_m4", "qemu_m3", "rpi_pico", "longan_nano"])
def test_ram_is_the_linkers_and_the_stack_below_its_bound(board: str, folder: Path) -> None:
    done = simulated(folder, board)
    planned = done.image.ram_bytes
    left = planned["left for the stack"]
    if not done.image.board.shared:
        assert sum(planned.values()) - left == done.learning.ram_bytes
    bound = done.learning.stack_bound
    assert bound is not None
    if bound.bytes is not None:
        assert done.learning.stack_bytes <= bound.bytes
    else:
        assert bound.words


def test_pictures(folder: Path) -> None:
    done = simulated(folder, "qemu_m4")
    drawn = flame_graph(done.learning)
    assert drawn.startswith("<svg") and "ska_section_learn" in drawn
    activity = load_activity(done.image.elf)
    assert activity is not None
    moments = residency(done.learning, activity, "learn", SAMPLES)
    assert len(moments) == len(digits_model().sections["learn"])
    assert all(b.start == a.end for a, b in zip(moments, moments[1:], strict=False))
    assert max(sum(moment.held.values()) for moment in moments) <= activity.bytes
    assert timeline(moments, 100, 4096, "a title", "png").startswith(b"\x89PNG")
    with pytest.raises(errors.SimError, match="allowed are png and svg"):
        timeline(moments, 100, 4096, "a title", "bmp")


@pytest.mark.parametrize("board", ["qemu_m4", "arduino_uno"])
def test_trace_is_balanced(board: str, folder: Path) -> None:
    made: Machine | AvrMachine
    if board == "arduino_uno":
        needs_simavr()
        made = simulated(folder, board).machine
    else:
        made = machine(folder)
        made.call("ska_learn", made.image.symbol("ska_memory").address, 1)
    traced = json.loads(trace(made))
    events = traced["traceEvents"]
    assert traced["otherData"]["complete"]
    assert all(a["ts"] <= b["ts"] for a, b in pairwise(events))
    inside: list[tuple[str, float]] = []
    learning = []
    for event in events:
        if event["ph"] == "B":
            inside.append((event["name"], event["ts"]))
        else:
            name, entered = inside.pop()
            learning += [event["ts"] - entered] if name == "ska_learn" else []
    assert not inside
    assert len(learning) == (SAMPLES if board == "arduino_uno" else 1)
    if board == "arduino_uno":
        report_of = simulated(folder, board).learning
        assert sum(learning) * (report_of.clock_hz or 0) / 1e6 == report_of.functions["ska_learn"].total.nominal


# --- what goes wrong ---------------------------------------------------------------------------------------------

BAD = {
    "wild": ("*(volatile int *)0x90000000 = 1;", errors.BusFault, "writes 4 bytes at 0x90000000"),
    "wild read": ("(void)*(volatile int *)0x90000004;", errors.BusFault, "reads 4 bytes at 0x90000004"),
    "flash": ("*(volatile int *)(200 * 1024) = 1;", errors.BusFault, "cannot be written"),
    "loop": ("for (volatile int i = 0;; i++) { }", errors.BudgetError, "raise the budget"),
    "self": ("*(volatile short *)((unsigned)&main & ~1u) = 0x4770;", errors.SelfModifyingError, "its own code, main"),
    "jump": ("((void (*)(void))0x90000001)();", errors.BusFault, "goes on at"),
    "stack": ("deep(100000);", errors.StackOverflowError, "into "),
    "undefined": ('__asm__ volatile("udf #0");', errors.InstructionError, ""),
}
SOURCE = """
static volatile char statics[4000000];
int main(void);
__attribute__((noinline)) int deep(int n) { volatile int kept[8]; kept[0] = n; return n ? deep(n - 1) + kept[0] : 0; }
int main(void) { statics[0] = 1; BODY return 0; }
void Reset_Handler(void) { main(); for (;;) { } }
"""


@pytest.mark.parametrize("name", BAD)
def test_what_firmware_must_not_do(name: str, folder: Path) -> None:
    body, kind, words = BAD[name]
    elf = compiled(folder, name.replace(" ", "_"), SOURCE.replace("BODY", body))
    with pytest.raises(kind, match=words) as caught:
        firmware_sim.run(elf, "qemu_m4", cycles=20_000_000)
    assert caught.value.exit_code == 1
    if name != "jump":
        assert "main" in str(caught.value) or "deep" in str(caught.value)
        assert ".c:" in str(caught.value)


def test_a_recursion_has_no_bound(folder: Path) -> None:
    from firmware_sim.image import Image as Elf

    elf = compiled(folder, "recursion", SOURCE.replace("BODY", "return deep(3);"))
    bound = stack_bound(Elf(elf))
    assert bound is not None and bound.bytes is None
    assert "calls itself" in bound.words


def test_bad_images(folder: Path, tmp_path: Path) -> None:
    if shutil.which("arm-none-eabi-strip") is None:
        pytest.skip("arm-none-eabi-strip is not installed (Debian: binutils-arm-none-eabi)")
    elf = simulated(folder, "qemu_m4").image.elf
    other = tmp_path / "no.elf"
    other.write_bytes(b"no ELF at all")
    with pytest.raises(errors.ImageError, match="no ELF image"):
        firmware_sim.run(other, "qemu_m4")
    with pytest.raises(errors.ImageError, match="cannot be read"):
        firmware_sim.run(tmp_path / "absent.elf", "qemu_m4")
    with pytest.raises(errors.ImageError, match="an image for arm"):
        firmware_sim.run(elf, "qemu_rv32")
    with pytest.raises(errors.ImageError, match="an image for arm"):
        firmware_sim.run(elf, "arduino_uno")
    with pytest.raises(errors.ImageError, match="has no memory"):
        firmware_sim.run(elf, "stm32f103_bluepill")
    with pytest.raises(errors.BoardError, match="nearest"):
        firmware_sim.run(elf, "rpi_pic")
    stripped = tmp_path / "stripped.elf"
    done = subprocess.run(["arm-none-eabi-strip", str(elf), "-o", str(stripped)], check=False, capture_output=True)
    if done.returncode == 0:
        with pytest.raises(errors.ImageError, match="no symbols"):
            firmware_sim.run(stripped, "qemu_m4")


def test_a_broken_description_is_refused(folder: Path, tmp_path: Path) -> None:
    elf = tmp_path / "firmware.elf"
    elf.write_bytes(simulated(folder, "qemu_m4").image.elf.read_bytes())
    elf.with_suffix(".map.json").write_text('{"tensors": 3}')
    with pytest.raises(errors.ImageError, match="description"):
        firmware_sim.run(elf, "qemu_m4")


# --- command lines ------------------------------------------------------------------------------------------------


def test_anyones_image_from_the_command_line(folder: Path) -> None:
    elf = simulated(folder, "qemu_m4").image.elf
    command = [sys.executable, "-m", "firmware_sim", str(elf), "--board"]
    done = subprocess.run([*command, "qemu_m4", "--json"], capture_output=True, text=True, check=True, cwd=ROOT)
    result = json.loads(done.stdout)
    assert {"instructions", "cycles", "stack_bytes", "ram_bytes", "flash_bytes", "functions"} <= set(result)
    assert set(result["cycles"]) == {"low", "nominal", "high"}
    bad = subprocess.run([*command, "qemu_rv32", "--json"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert bad.returncode == 2
    assert "an image for arm" in json.loads(bad.stdout)["error"]


def test_simulate_from_the_command_line(tmp_path: Path, folder: Path) -> None:
    model = tmp_path / "m.ska"
    codec.save(digits_model(), model)
    words = [
        "simulate",
        str(model),
        "--board",
        "qemu_m4",
        "--dataset",
        "digits",
        "--samples",
        "3",
        "--predictions",
        "1",
    ]
    files = [tmp_path / name for name in ("f.svg", "t.json", "r.png")]
    drawn = ["--flame", str(files[0]), "--trace", str(files[1]), "--timeline", str(files[2])]
    done = CliRunner().invoke(main, [*words, *drawn, "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["equal"] and result["state_digest"] == learnt_digest(3)
    assert result["cycles_per_sample"]["nominal"] > 1000
    assert all(file.stat().st_size > 1000 for file in files)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--board", "nowhere"], "not in the catalogue"),
        (["--board", "qemu_m4", "--data", "absent.csv"], "give either"),
    ],
)
def test_simulate_refuses(extra: list[str], words: str, tmp_path: Path) -> None:
    model = tmp_path / "m.ska"
    codec.save(digits_model(), model)
    done = CliRunner().invoke(main, ["simulate", str(model), "--dataset", "digits", *extra])
    assert done.exit_code == 2
    assert words in done.output


def test_a_silent_firmware_is_an_error(folder: Path) -> None:
    assert issubclass(SimulationError, Exception)
    elf = compiled(folder, "silent", SOURCE.replace("BODY", ""))
    made = Machine(elf, "qemu_m4")
    assert made.run() == "halted"
    assert report(made, "halted").stack_bytes > 0
