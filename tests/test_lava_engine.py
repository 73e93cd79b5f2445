"""The NumPy replica of the learning engine against Lava's own run, and what the mode refuses."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from firmware_tools import needed

from ska_edge import Network, lower
from ska_edge.backends.lava.compat import require
from ska_edge.backends.lava.engine import EngineExecutor, EngineSynapses, Scale, scale_of
from ska_edge.backends.lava.engine_cost import cost_of_engine
from ska_edge.cli import main
from ska_edge.data import Dataset, load_dataset
from ska_edge.errors import FitError
from ska_edge.operations import OuterUpdate
from ska_edge.program import Program
from ska_edge.rules import rule_named
from ska_edge.verify import stream_of

EPOCHS = 200


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


def program_of(digits: Dataset, profile: str = "w8d8", centred: bool = False, rate: float = 0.03) -> Program:
    network = Network((64, 16, 10), rule_named("guided", rate=rate))
    return lower(network, profile, digits.samples[:300], digits.labels, digits.encoding(centred=centred))


_IN_LAVA = """
import sys
import numpy as np
from ska_edge.backends.lava.engine import Scale
from ska_edge.backends.lava.engine_process import learning_dense
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source

with np.load(sys.argv[1]) as told:
    told = dict(told)
epochs, neurons = told["y1"].shape
dense = learning_dense(told["start"], Scale(*told["scale"].tolist()), int(told["seed"]))
nothing = np.zeros((epochs, neurons), int)
played = ((told["x"], 0, dense.s_in), (told["y1"], 1, dense.s_in_y1), (told["y2"], 1, dense.s_in_y2),
          (nothing, 0, dense.s_in_y3), (nothing, 0, dense.s_in_bap))
sources = []
for rows, at, port in played:
    data = np.zeros((rows.shape[1], 2 * epochs), int)
    data[:, at::2] = rows.T
    sources.append(Source(data=data))
    sources[-1].s_out.connect(port)
sink = Sink(shape=(neurons,), buffer=2 * epochs)
dense.a_out.connect(sink.a_in)
dense.run(RunSteps(num_steps=2 * epochs), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
np.savez(sys.argv[2], weights=dense.weights.get(), sums=sink.data.get()[:, 1::2].T)
dense.stop()
"""


def play_to_lava(folder: Path, **told: object) -> dict[str, np.ndarray]:
    """Epochs shown to a LearningDense of Lava's, in a process group that is ended with the test."""
    needed(require)
    np.savez(folder / "told.npz", **told)  # type: ignore[arg-type]
    command = [sys.executable, "-c", _IN_LAVA, str(folder / "told.npz"), str(folder / "shown.npz")]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    try:
        _, errors = process.communicate(timeout=90)
        assert process.returncode == 0, errors
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    with np.load(folder / "shown.npz") as shown:
        return dict(shown)


def test_the_replica_is_lava_on_digits(digits: Dataset, tmp_path: Path) -> None:
    """What the replica was shown in a closed loop, shown to Lava, makes the same sums and the same weights."""
    program = program_of(digits)
    executor = EngineExecutor(program, seed=5, record="W1")
    executor.stream("learn", {name: values[:EPOCHS] for name, values in stream_of(program, digits).items()})
    synapses, epochs = executor.synapses["W1"], executor.epochs
    start = 2 * np.array(program.values["W1"])
    assert (synapses.weights != start).mean() > 0.2
    shown = play_to_lava(
        tmp_path,
        start=start,
        scale=[synapses.scale.factor_shift, synapses.scale.exponent],
        seed=5,
        x=[epoch.x for epoch in epochs],
        y1=[epoch.y1 for epoch in epochs],
        y2=[epoch.y2 for epoch in epochs],
    )
    assert (shown["sums"] == [epoch.sums for epoch in epochs]).all()
    assert (shown["weights"] == synapses.weights).all()


def test_the_replica_is_lava_on_extremes(tmp_path: Path) -> None:
    """Largest spikes and traces, saturated weights, both parts of the third factor at once."""
    chance = np.random.default_rng(3)
    scale, epochs, shape = Scale(0, 3), 60, (7, 9)
    x = chance.choice([0, 1, 2, 3, 127, 128, 254, 255], (epochs, shape[1]))
    y1, y2 = (chance.choice([0, 1, 63, 126, 127], (epochs, shape[0])) for _ in range(2))
    start = 2 * chance.integers(-128, 128, shape)
    synapses = EngineSynapses(start, scale, 11)
    sums = []
    for row in range(epochs):
        sums.append(synapses.arrive(x[row]))
        synapses.learn(y1[row], y2[row])
    assert {-256, 255} <= set(synapses.weights.reshape(-1).tolist())
    shown = play_to_lava(tmp_path, start=start, scale=[0, 3], seed=11, x=x, y1=y1, y2=y2)
    assert (shown["sums"] == sums).all()
    assert (shown["weights"] == synapses.weights).all()


def test_the_scale_holds_the_largest_factor(digits: Dataset) -> None:
    program = program_of(digits)
    op = next(op for op in program.sections["learn"] if isinstance(op, OuterUpdate) and op.w == "W1")
    scale = scale_of(program, op)
    fmt = program.by_name[op.s].format
    assert fmt.hi >> (scale.factor_shift + 1) <= 127
    # an input of 255 and the largest trace move a weight as far as the Program would, in half LSBs
    moved = (127 * 127 >> 3 << (scale.exponent + 7)) / 128
    exact = 2 * 255 * (127 << scale.factor_shift) / 2**op.shift
    assert moved == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize(
    ("profile", "centred", "words"),
    [("w16d8", False, "16 bits; the engine's weights have 8"), ("w8d8", True, "do not centre the features")],
)
def test_what_the_engine_cannot_hold(digits: Dataset, profile: str, centred: bool, words: str) -> None:
    with pytest.raises(FitError, match=words):
        EngineExecutor(program_of(digits, profile, centred))


def test_the_table(digits: Dataset) -> None:
    """At a working rate the engine moves weights as the exact rule does, for a few points at most."""
    found = cost_of_engine(2, 1, [0.06, 0.03])
    for row in found["rows"]:
        assert row["correlation"] > 0.7
        assert row["weights_changed"] > 0.2
        assert abs(row["cost"]) < 0.08
        assert 0 < row["nonzero_traces"] < 1
    assert found["smallest_usable_rate"] in (0.06, 0.03, None)


def test_a_rate_too_small_for_the_engine_is_said_to_be() -> None:
    found = cost_of_engine(1, 1, [0.0002])
    assert not found["rows"] and "needs dw scaled by 2^-" in found["refused"][0]["reason"]


@pytest.mark.parametrize("arguments", [["--rate", "9"], ["--seeds", "0"], ["--passes", "many"]])
def test_bad_arguments(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, ["lava", "engine", *arguments]).exit_code == 2
