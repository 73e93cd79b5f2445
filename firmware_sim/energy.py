"""Energy of a run, where a document names the chip's current; elsewhere unknown stays unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .catalogue import Board
from .timing import Cycles


@dataclass(frozen=True)
class Energy:
    """Joules of the chip alone while its core runs.  `source` and `conditions` are those of the current.

    The current is taken to be proportional to the clock where the run's differs from the document's: charge a cycle
    stays the same.  That leaves out what flows at standstill, so at lower clocks it is too little.
    """

    joules: Cycles
    joules_per_cycle: float
    scaled: bool
    conditions: str
    source: str

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "joules": self.joules._asdict(),
            "joules_per_cycle": self.joules_per_cycle,
            "scaled_to_clock": self.scaled,
            "conditions": self.conditions,
            "source": self.source,
        }


def energy(board: Board, cycles: Cycles, clock_hz: int | None) -> Energy | None:
    """Energy of so many cycles, or None where no current is known."""
    if not board.run_currents:
        return None
    wanted = clock_hz or board.clock.hz or 0
    current = min(board.run_currents, key=lambda one: abs(one.clock_hz - wanted))
    each = current.milliamperes * 1e-3 * current.volts / current.clock_hz
    return Energy(
        Cycles(*(count * each for count in cycles)),
        each,
        current.clock_hz != wanted,
        current.conditions,
        current.source,
    )
