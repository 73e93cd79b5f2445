"""SKA beside backprop: the C's bits here and in the simulator, its bytes, gradients that are gradients, the verb."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from firmware_tools import needed

from ska_edge.bare import build_backprop, run_bare
from ska_edge.baselines.embedded import Descent, HostRun, as_bytes, patches_of, start_weights, state_bytes
from ska_edge.cli import main
from ska_edge.data import load_dataset
from ska_edge.errors import NetworkError, SkaError
from ska_edge.footprint import Backprop, Bench, Job, Ours, board_named
from ska_edge.network import Network, parse_shape
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


def test_rows_hold_what_was_measured() -> None:
    bench, board = Bench(load_dataset("digits"), passes=1, samples=2), board_named("nucleo_g071rb")
    ours, theirs = (
        bench.measure(Job("methods", each, "64-4-10", board))
        for each in (Ours("guided", "w8d8"), Backprop(Descent("int16", 0.0625)))
    )
    assert ours.equal and theirs.equal
    assert ours.static_ram_bytes < theirs.static_ram_bytes
    assert theirs.weight_bytes == 2 * (65 * 4 + 5 * 10)
    assert ours.accuracy is not None and theirs.accuracy is not None and theirs.accuracy > 0.2


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
    done = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "page.md"), "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    keys = {"method", "schedule", "shape", "board", "profile", "flash_bytes", "static_ram_bytes", "stack_bytes"}
    keys |= {"learning_state_bytes", "cycles_per_sample", "accuracy"}
    assert all(keys <= set(row) for row in result["rows"])
    assert {row["schedule"] for row in result["rows"]} == {"layerwise", "paper", "backprop"}
    assert not result["skipped"]
    assert [Path(name).name for name in result["files"]] == ["page-parts.svg", "page.md"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--shape", "63-4-10"], "digits has 64 features"),
        (["--board", "abacus"], "abacus"),
        (["--sweep", "height"], "sweep 'height': allowed are width"),
    ],
)
def test_bad_input(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["memory", *arguments, "--out", str(tmp_path), "--json"])
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
