"""The best of a search, learnt from all learning rows, built, and run in the cycle simulator: what it really takes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..learner import Learner
from ..simulation import Simulation, simulate
from .budget import Needs, stack_bytes
from .hunt import Search, Trial
from .learning import Context, Job, learn

SIMULATED_SAMPLES = 20
SIMULATED_PREDICTIONS = 5


@dataclass(frozen=True)
class Verified:
    """A trial's model and what the simulator says of its image.  `needs`: measured there; its time is the nominal one.

    `test_accuracy`: on the test rows, opened here for the first time and used for no choice.
    """

    trial: Trial
    model: Learner
    test_accuracy: float | None
    simulation: Simulation
    needs: Needs
    stack_bytes: int
    keeps: bool

    def to_json(self) -> dict[str, Any]:
        """What was measured, as JSON-ready data."""
        return {
            "trial": self.trial.number,
            "program_digest": self.simulation.image.program_digest,
            "state_digest": self.simulation.state_digest,
            "equal": self.simulation.equal,
            "keeps_limits": self.keeps,
            "ram_bytes": self.needs.ram_bytes,
            "static_ram_bytes": self.simulation.learning.ram_bytes,
            "stack_bytes": self.stack_bytes,
            "flash_bytes": self.needs.flash_bytes,
            "cycles_per_sample": self.simulation.per_sample.to_json(),
            "milliseconds": self.needs.milliseconds,
            "milliseconds_estimated": self.trial.needs.milliseconds,
            "core_status": self.simulation.learning.core_status,
            "test_accuracy": self.test_accuracy,
        }


def verify_front(found: Search, count: int, advance: Callable[[int], None] = lambda count: None) -> list[Verified]:
    """The most accurate `count` of the front, and further ones until one keeps the limits; the best first.

    Raises what `simulate` raises.
    """
    done: list[Verified] = []
    for each in _verify(found):
        done.append(each)
        advance(1)
        if len(done) >= count and any(one.keeps for one in done):
            break
    return done


def _verify(found: Search) -> Iterator[Verified]:
    data, rows = found.data, found.rows
    labels = data.labels
    assert labels is not None
    for trial in found.front:
        model = learn(Context(data, found.plan.passes), Job(trial.candidate, found.plan.seed), rows.learn)
        program = model.snapshot()
        with tempfile.TemporaryDirectory(prefix="ska-edge-search-") as folder:
            picked = rows.learn[: SIMULATED_SAMPLES + SIMULATED_PREDICTIONS]
            simulation = simulate(
                program,
                found.board,
                model.encode(data.samples[picked]),
                labels[picked],
                Path(folder),
                SIMULATED_SAMPLES,
                SIMULATED_PREDICTIONS,
            )
        tested = model.accuracy(data.samples[rows.test], labels[rows.test]) if len(rows.test) else None
        report = simulation.learning
        stack = stack_bytes(report)
        milliseconds = 1e3 * simulation.per_sample.nominal / report.clock_hz if report.clock_hz else None
        needs = Needs(report.ram_bytes + stack, report.flash_bytes, milliseconds)
        keeps = simulation.equal and not needs.excess(found.plan.limits)
        yield Verified(trial, model, tested, simulation, needs, stack, keeps)
