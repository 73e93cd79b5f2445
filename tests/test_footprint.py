"""SKA beside backprop: the C's bits here and in the simulator, its bytes, gradients that are gradients, the verb."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from firmware_tools import needed

from firmware_sim.timing import Cycles
from ska_edge.bare import build_backprop, run_bare
from ska_edge.baselines.embedded import Descent, HostRun, as_bytes, patches_of, start_weights, state_bytes
from ska_edge.cli import main
from ska_edge.data import load_dataset
from ska_edge.errors import NetworkError, SkaError
from ska_edge.footprint import OURS, Backprop, Bench, Job, Measuring, Ours, RandomFeatures, Row, Sweep, board_named
from ska_edge.footprint.accuracy import Score, Trial, judge
from ska_edge.network import Network, parse_shape
from ska_edge.report.ratios import break_even, ratio_table, standard_error, statement
from ska_edge.toolchain import find_compiler

SHAPES = ("64-5-10", "64-6-5-10", "64-4x3f5-10", "64-3c3s2-10", "64-3c3s1-2c3s2-10", "64-3c3s2-2x4f2-10")
IN_PLACE = Descent("float32", 0.0625)


@pytest.fixture(autouse=True)
def _tools() -> None:
    for name in ("gcc", "arm-none-eabi-gcc"):
        needed(lambda name=name: find_compiler(name))  # type: ignore[misc]


def digits(centred: bool) -> tuple[np.ndarray, np.ndarray]:
    data = load_dataset("digits")
    assert data.labels is not None
    return as_bytes(data.samples, data.encoding(centred=centred)), data.labels


def step_in_numpy(network: Network, weights: np.ndarray, row: np.ndarray, label: int, rate: float) -> np.ndarray:
    """One step of descent in float64, gathered patch by patch: another way to the same numbers."""
    layers, at, views = patches_of(network), 0, []
    for layer in layers:
        groups = 1 if layer.shared else layer.groups
        count = groups * (layer.taps + 1) * layer.neurons
        views.append(weights[at : at + count].reshape(groups, layer.taps + 1, layer.neurons))
        at += count
    units, seen = [row], []
    for layer, w in zip(layers, views, strict=True):
        taps = np.add.outer(np.arange(layer.rows) * layer.stride, np.arange(layer.run)).ravel()
        index = np.add.outer(np.array(layer.bases or (0,)), taps)
        x = np.concatenate([units[-1][index], np.ones((layer.groups, 1))], axis=1)
        z = np.einsum("gi,gin->gn", x, np.broadcast_to(w, (layer.groups, *w.shape[1:])))
        seen.append((index, x))
        units.append((z if layer is layers[-1] else np.maximum(z, 0)).ravel())
    e = np.exp(units[-1] - units[-1].max())
    e = e / e.sum() - np.eye(len(e))[label]
    moved = []
    for layer, w, (index, x), below in zip(layers[::-1], views[::-1], seen[::-1], units[-2::-1], strict=True):
        errors = e.reshape(layer.groups, layer.neurons)
        gradient = np.einsum("gi,gn->gin", x, errors)
        moved.append((w - rate * (gradient.sum(axis=0, keepdims=True) if layer.shared else gradient)).ravel())
        e = np.zeros(len(below))
        back = np.einsum("gin,gn->gi", np.broadcast_to(w, (layer.groups, *w.shape[1:])), errors)[:, :-1]
        np.add.at(e, index, back)
        e *= below > 0
    return np.concatenate(moved[::-1])


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_c_descends_the_gradient(shape: str, centred: bool, tmp_path: Path) -> None:
    network, (rows, labels) = Network(parse_shape(shape), seed=3), digits(centred)
    for numbers, tolerance in (("float32", 1e-5), ("int16", 0.05)):
        descent = Descent(numbers, IN_PLACE.rate, centred=centred)
        folder = tmp_path / numbers
        folder.mkdir()
        scale, kind = (1.0, np.float32) if numbers == "float32" else (4096.0, np.int16)
        before, off = start_weights(network, descent).astype(np.float64) / scale, []
        for sample, label in zip(rows[:5], labels.tolist(), strict=False):
            host = HostRun(network, descent, folder)
            host.learn(sample[None], np.array([label]))
            after = np.frombuffer(host.weights(), kind).astype(np.float64) / scale
            row = sample.view(np.int8) / 128 if centred else sample / 256
            expected = step_in_numpy(network, before, row, label, descent.rate)
            off.append(float(np.linalg.norm(after - expected) / np.linalg.norm(expected - before)))
        # the median: where int16 rounds a unit near zero to the other side, one step differs by far more
        assert np.median(off) < tolerance, f"{shape}, {numbers}: {off} of the step"


DESCENTS = (
    IN_PLACE,
    Descent("float32", 0.05, "sgd", 3),
    Descent("float32", 0.05, "momentum", 3, centred=True),
    Descent("float32", 0.01, "adam", 3),
    Descent("int16", 0.0625),
    Descent("int16", 0.03125, centred=True),
)


@pytest.mark.parametrize(("board", "hard"), [("nrf52840_dk", True), ("nucleo_g071rb", False)])
@pytest.mark.parametrize("descent", DESCENTS, ids=lambda each: f"{each.numbers}, {each.method}")
def test_the_chip_learns_what_the_computer_learns(descent: Descent, board: str, hard: bool, tmp_path: Path) -> None:
    hard = hard and descent.numbers == "float32"
    network, (rows, labels) = Network(parse_shape("64-3c3s2-6-10")), digits(descent.centred)
    image = build_backprop(network, descent, board_named(board), tmp_path, hard=hard)
    weights, state = state_bytes(network, descent)
    run = run_bare(image, [bytes(row) for row in rows[:6]], labels[:6].tolist(), ("bp_weights", 0, weights))
    host = HostRun(network, descent, tmp_path)
    host.learn(rows[:6], labels[:6])
    assert run.state == host.weights() != start_weights(network, descent).tobytes()
    assert run.stack_bound_bytes is None or run.stack_bytes <= run.stack_bound_bytes
    # beyond weights, state and the sample: the harness's 8 bytes, int16's tables are in flash, and alignment
    assert 0 <= image.static_ram_bytes - weights - state - 64 <= 24


def test_the_float_unit_is_used(tmp_path: Path) -> None:
    network, board, (rows, labels) = Network((64, 8, 10)), board_named("nrf52840_dk"), digits(False)
    cycles = []
    for hard in (False, True):
        image = build_backprop(network, IN_PLACE, board, tmp_path, hard=hard)
        run = run_bare(image, [bytes(rows[0])], [int(labels[0])], ("bp_weights", 0, 4))
        cycles.append(run.per_sample.nominal)
    assert cycles[0] > 3 * cycles[1]


INT16 = Backprop(Descent("int16", 0.0625))


def test_rows_hold_what_was_measured(tmp_path: Path) -> None:
    bench, board = Bench(load_dataset("digits"), passes=1, samples=2, runs=tmp_path), board_named("nucleo_g071rb")
    learners = (Ours("guided", "w8d8"), RandomFeatures("w8d8"), INT16)
    measuring = Measuring(bench, [Job("methods", each, "64-4-10", board) for each in learners], splits=2)
    advanced: list[int] = []
    (ours, random, theirs), refused = measuring.run(advance=advanced.append)
    assert not refused and len(advanced) == len(measuring) == 9
    assert ours.equal and random.equal and theirs.equal
    assert random.static_ram_bytes < ours.static_ram_bytes < theirs.static_ram_bytes
    assert theirs.weight_bytes == 2 * (65 * 4 + 5 * 10) and random.weight_bytes == 4 * 10 + 2 * 10
    assert [len(row.accuracies) for row in (ours, random, theirs)] == [2, 2, 2]
    assert random.accuracy < ours.accuracy > 0.2 and theirs.accuracy > 0.2  # type: ignore[operator]
    assert len(theirs.rates) == 2 and not ours.rates
    assert Measuring(bench, measuring.todo, splits=2).run(workers=2) == ([ours, random, theirs], {})


def test_an_accuracy_found_before_is_not_learnt_for_again(tmp_path: Path) -> None:
    data, shape = load_dataset("digits"), "64-4-10"
    for contestant in (INT16, Ours("guided", "w8d8")):
        bench, trial = Bench(data, passes=1, runs=tmp_path / contestant.profile), Trial.of(contestant, shape, 1)
        before = judge(bench, trial)
        (file,) = (tmp_path / contestant.profile).rglob("*.json")
        file.write_text(json.dumps({**json.loads(file.read_text()), "outcome": {"accuracy": 0.5, "rate": None}}))
        assert judge(bench, trial) == Score(0.5)
        assert judge(replace(bench, runs=None), trial) == before
        for other in (replace(bench, passes=2), replace(bench, data=replace(data, samples=data.samples + 0.5))):
            assert judge(other, trial) != Score(0.5)
    assert Trial.of(Backprop(INT16.descent, hard=True), shape, 1) == Trial.of(INT16, shape, 1)


def test_what_cannot_be_measured_says_why() -> None:
    bench, board = Bench(load_dataset("digits"), passes=1, samples=1), board_named("stm32f103_bluepill")
    rows, refused = Measuring(bench, [Job("methods", INT16, "64-4x4f4-2x2f2-10", board)], splits=1).run()
    assert (
        not rows
        and "patches above fields" in refused["backprop, in place, int16, 64-4x4f4-2x2f2-10, " + board.name + ", gcc"]
    )


def _row(sweep: Sweep, shape: str, contestant: Any, ram: int, cycles: float, accuracies: tuple[float, ...]) -> Row:
    each = Cycles(cycles, cycles, cycles)
    numbers = (0, 0, ram, 0, 0, each)
    return Row(sweep.name, contestant.method, "", shape, "b", contestant.profile, *numbers, accuracies=accuracies)


def test_the_statement_names_what_is_lost() -> None:
    sweep = Sweep("width", "neurons", ("64-4-10", "64-8-10"), (4, 8))
    rows = [
        *(_row(sweep, "64-4-10", *each) for each in ((OURS, 100, 10, (0.9, 0.8)), (INT16, 150, 20, (0.8, 0.9)))),
        *(_row(sweep, "64-8-10", *each) for each in ((OURS, 200, 40, (0.9, 0.9)), (INT16, 300, 30, (0.94, 0.92)))),
    ]
    said = statement(rows, [sweep])
    assert "RAM: backprop takes 1.50 times ours; ours wins." in said
    assert (
        "Cycles a sample: backprop takes 0.75 to 2.00 times ours; ours wins on 64-4-10 and **loses** on 64-8-10" in said
    )
    assert "Accuracy: ours is 0.0 to 3.0 points less accurate than backprop." in said
    # single splits differ by +10 and -10 points, then by -4 and -2
    assert standard_error(rows, [sweep]) == pytest.approx(math.sqrt((200 / 2 + 2 / 2) / 2))
    assert break_even([(4, 2.0), (8, 0.75)], "neurons") in ratio_table(rows, [sweep])


def test_the_verb(tmp_path: Path) -> None:
    arguments = [
        "memory",
        "--quick",
        "--shape",
        "64-4-10",
        "--board",
        "nrf52840_dk",
        "--sweep",
        "batch",
        "--samples",
        "2",
    ]
    files = ["--out", str(tmp_path / "page.md"), "--runs", str(tmp_path / "runs")]
    done = CliRunner().invoke(main, [*arguments, *files, "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    keys = {"method", "schedule", "shape", "board", "profile", "flash_bytes", "static_ram_bytes", "stack_bytes"}
    keys |= {"learning_state_bytes", "cycles_per_sample", "accuracy"}
    assert all(keys <= set(row) for row in result["rows"])
    assert {row["schedule"] for row in result["rows"]} == {"layerwise", "control", "paper", "backprop"}
    assert not result["skipped"]
    assert [Path(name).name for name in result["files"]] == ["page-parts.svg", "page.md"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--shape", "63-4-10"], "digits has 64 features"),
        (["--board", "abacus"], "abacus"),
        (["--board", "arduino_uno"], "bare images are for Arm and RISC-V"),
        (["--sweep", "height"], "sweep 'height': allowed are width"),
        (["--dataset", "letters"], "letters"),
        (["--workers", "0"], "workers"),
        (["--out", "/dev/null/page.md"], "/dev/null: cannot be written"),
    ],
)
def test_bad_input(arguments: list[str], words: str, tmp_path: Path) -> None:
    folders = ["--out", str(tmp_path), "--runs", str(tmp_path)]
    done = CliRunner().invoke(main, ["memory", *folders, *arguments, "--json"])
    assert done.exit_code == 2
    assert words in json.loads(done.stdout)["error"]


def test_descents_that_cannot_be() -> None:
    for wrong in ({"rate": 0.3}, {"rate": 2.0**-9}, {"batch": 8}):
        with pytest.raises(NetworkError, match="int16"):
            replace(Descent("int16", 0.25), **wrong)
    with pytest.raises(NetworkError, match="adam"):
        Descent("float32", 0.1, "adam")
    with pytest.raises(NetworkError, match="above fields"):
        patches_of(Network(parse_shape("64-4x4f4-2x2f2-10")))
    with pytest.raises(SkaError, match="M4F"):
        build_backprop(Network((64, 4, 10)), IN_PLACE, board_named("rpi_pico"), Path("."), hard=True)
