"""A model's real firmware in the cycle simulator: built, fed with real samples over its line, counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from firmware_sim.catalogue import Board, load_board
from firmware_sim.errors import SimError
from firmware_sim.timing import Cycles

from .backends import open_executor
from .device import Device, Link, LinkError
from .device.protocol import DeviceError
from .emulator import SIMAVR_BAUD
from .errors import MissingError, SkaError
from .firmware import Image, build
from .fixed import IntArray
from .operations import Kind
from .program import Program
from .wear import SLOTS

if TYPE_CHECKING:
    from firmware_sim.avr import AvrMachine
    from firmware_sim.machine import Machine
    from firmware_sim.report import Report
    from firmware_sim.wear import Wear

ANSWER_SECONDS = 600.0
JUDGE = "numba"


class SimulationError(SkaError):
    """The firmware did in the simulator what it must not, or cannot be simulated; the message is the simulator's."""


class SimulatedLink(Link):
    """The serial line of a simulated board: what is written runs the firmware until it waits for more."""

    def __init__(self, machine: Machine | AvrMachine) -> None:
        self.machine = machine
        self._said = bytearray()

    def write(self, data: bytes) -> None:
        """Send, and run."""
        self._said += self.machine.send(data)

    def read(self, timeout: float) -> bytes:
        """What it said meanwhile.  Raises LinkError where it said nothing: no time will change that."""
        if not self._said:
            raise LinkError(f"{self.machine.board.name}: the firmware waits and has not answered")
        said = bytes(self._said)
        self._said.clear()
        return said

    def close(self) -> None:
        """Nothing to let go."""


@dataclass(frozen=True)
class Snapshots:
    """A state that was saved `saves` times in the chip's own memory, each time after another sample, lost with the
    power, and loaded.

    `per_save`, `per_load`: cycles of one, the memory's own time included.  `equal`: what was loaded is what was saved
    last.  `saves_until_worn`: by this wear, as many as the maker guarantees; None for an odd number of saves, which
    wears the two slots unevenly, and where no endurance is known.
    """

    saves: int
    per_save: Cycles
    per_load: Cycles
    wear: Wear
    equal: bool
    state_digest: str

    @property
    def saves_until_worn(self) -> int | None:
        """See above."""
        endured = self.wear.endurance_cycles
        return None if endured is None or self.saves % SLOTS else endured * self.saves // self.wear.most_erased

    def to_json(self, clock_hz: int | None) -> dict[str, Any]:
        """For scripts."""
        seconds = Cycles(*(count / clock_hz for count in self.per_save)) if clock_hz else None
        return {
            "saves": self.saves,
            "equal": self.equal,
            "state_digest": self.state_digest,
            "cycles_per_save": self.per_save.to_json(),
            "cycles_per_load": self.per_load.to_json(),
            "seconds_per_save": seconds and seconds._asdict(),
            "saves_until_worn": self.saves_until_worn,
            "wear": self.wear.to_json(),
        }


@dataclass(frozen=True)
class Simulation:
    """Firmware that learnt `samples` samples and decided `predictions` others.

    `per_sample` and `per_prediction`: cycles of one call of `ska_learn` and `ska_predict`, the mean of all.
    `learning`: the report on learning alone (on AVR, on the whole run), but its stack is the whole run's.  `equal`: the
    weights learnt are those of the judge, Numba.  `snapshots`: where the state was also saved and loaded.
    """

    image: Image
    learning: Report
    samples: int
    predictions: int
    per_sample: Cycles
    per_prediction: Cycles | None
    state_digest: str
    equal: bool
    correct: int
    machine: Machine | AvrMachine
    snapshots: Snapshots | None = None

    def to_json(self) -> dict[str, Any]:
        """The simulator's keys, and those of the model."""
        clock = self.learning.clock_hz
        return {
            **self.learning.to_json(),
            "program_digest": self.image.program_digest,
            "state_digest": self.state_digest,
            "equal": self.equal,
            "compiler": self.image.compiler,
            "flags": list(self.image.flags),
            "samples": self.samples,
            "predictions": self.predictions,
            "accuracy": self.correct / self.predictions if self.predictions else None,
            "cycles_per_sample": self.per_sample.to_json(),
            "cycles_per_prediction": self.per_prediction and self.per_prediction.to_json(),
            "seconds_per_sample": Cycles(*(count / clock for count in self.per_sample))._asdict() if clock else None,
            "snapshots": self.snapshots and self.snapshots.to_json(clock),
        }


def simulate(
    program: Program,
    board: Board | str,
    samples: IntArray,
    labels: IntArray,
    folder: str | Path,
    learnt: int = 100,
    predicted: int = 20,
    clock_hz: int | None = None,
    advance: Callable[[int], None] = lambda count: None,
    saves: int = 0,
    **options: Any,
) -> Simulation:
    """Build a Program for a board into `folder`, learn the first `learnt` samples, decide the `predicted` after them.

    `saves`: then save the state so often in the chip's own memory, with a sample learnt after each save but the last,
    cut the power and load it.

    `samples` are raw, [n, features]; `labels` [n], -1 for none.  `clock_hz`: another clock than the firmware sets.
    `options` go to `firmware.build`.  `advance` is told of every sample.

    Raises SimulationError for whatever the simulator finds wrong, and what `build` raises.
    """
    board = load_board(board) if isinstance(board, str) else board
    avr = board.core.name.startswith("avr")
    if avr:
        options.setdefault("baud", SIMAVR_BAUD)
    image = build(program, board, folder, snapshots=saves > 0, **options)
    clock = clock_hz or image.clock_hz
    try:
        return _run(program, image, board, samples, labels, learnt, predicted, clock, advance, saves)
    except SimError as error:
        kind = MissingError if error.exit_code == 3 else SimulationError
        raise kind(str(error)) from None


def _run(
    program: Program,
    image: Image,
    board: Board,
    samples: IntArray,
    labels: IntArray,
    learnt: int,
    predicted: int,
    clock_hz: int | None,
    advance: Callable[[int], None],
    saves: int,
) -> Simulation:
    from firmware_sim.avr import AvrMachine, avr_report
    from firmware_sim.machine import Machine
    from firmware_sim.profile import mark
    from firmware_sim.report import report

    avr = board.core.name.startswith("avr")
    machine: Machine | AvrMachine = (
        AvrMachine(image.elf, board, clock_hz) if avr else Machine(image.elf, board, clock_hz)
    )
    machine.run()
    with Device(program, SimulatedLink(machine), ANSWER_SECONDS, 0, board.name) as device:
        device.hello()
        start = mark(machine) if isinstance(machine, Machine) else None
        for row in range(learnt):
            device.learn(samples[row % len(samples)], int(labels[row % len(labels)]))
            advance(1)
        learning = report(machine, "idle", since=start) if isinstance(machine, Machine) else None
        digest = program.digest_of(device.snapshot())
        middle = mark(machine) if isinstance(machine, Machine) else None
        correct = 0
        for row in range(learnt, learnt + predicted):
            correct += device.predict(samples[row % len(samples)]) == int(labels[row % len(labels)])
            advance(1)
        kept, loaded = "", ""
        if saves:
            rows = np.arange(learnt + predicted, learnt + predicted + saves - 1) % len(samples)
            kept, loaded = _save_and_load(device, machine, samples[rows], labels[rows])
    after = report(machine, "idle", since=middle) if isinstance(machine, Machine) else avr_report(machine, "idle")
    learning = replace(learning, stack_bytes=after.stack_bytes) if learning else after
    snapshots = None
    if saves:
        assert after.wear is not None
        per_save, per_load = _each(after, "ska_snapshot_save"), _each(after, "ska_snapshot_restore")
        snapshots = Snapshots(saves, per_save, per_load, after.wear, kept == loaded, loaded)
    if isinstance(machine, AvrMachine):
        machine.close()
    return Simulation(
        image,
        learning,
        learnt,
        predicted,
        _each(learning, "ska_learn"),
        _each(after, "ska_predict") if predicted else None,
        digest,
        digest == _judged(program, samples, labels, learnt),
        correct,
        machine,
        snapshots,
    )


def _save_and_load(
    device: Device, machine: Machine | AvrMachine, samples: IntArray, labels: IntArray
) -> tuple[str, str]:
    """State digests at the last save and, with the power cut in between, after loading.  A sample between two saves."""
    try:
        device.save_in_flash()
        for sample, label in zip(samples, labels, strict=True):
            device.learn(sample, int(label))
            device.save_in_flash()
        kept = device.program.digest_of(device.snapshot())
        machine.power_up()
        machine.run()
        device.hello()
        if device.program.digest_of(device.snapshot()) != device.program.state_digest:
            raise SimulationError(f"{device.label}: after the power came back it has not the state it was built with")
        device.load_from_flash()
        loaded = device.program.digest_of(device.snapshot())
    except DeviceError as error:
        raise SimulationError(str(error)) from None
    return kept, loaded


def _each(found: Report, name: str) -> Cycles:
    share = found.functions[name]
    return Cycles(*(count / max(share.calls, 1) for count in share.total))


def _judged(program: Program, samples: IntArray, labels: IntArray, learnt: int) -> str:
    """State digest after the same samples in Numba, which the tests hold equal to the oracle."""
    executor = open_executor(JUDGE, program)
    rows = np.arange(learnt)
    inputs = {next(program.of_kind(Kind.SAMPLE)).name: samples[rows % len(samples)]}
    if "label" in program.by_name:
        inputs["label"] = labels[rows % len(labels)]
    executor.stream("learn", inputs)
    return program.digest_of(executor.state())
