"""One line of the comparison."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from firmware_sim.timing import Cycles


@dataclass(frozen=True)
class Row:
    """One learner on one board.  Bytes; cycles lowest, nominal, highest; None is unknown or not run.

    `learning_state_bytes`: beyond weights, biases and the sample.  `equal`: the simulated run left the bits that the
    run on this machine left.  `accuracies`: on test rows, one a split; none for what learns no classes.  `rates`: those
    picked, of backprop's.
    """

    sweep: str
    method: str
    schedule: str
    shape: str
    board: str
    profile: str
    weight_bytes: int
    learning_state_bytes: int
    static_ram_bytes: int
    flash_bytes: int | None = None
    stack_bytes: int | None = None
    cycles_per_sample: Cycles | None = None
    cycles_per_prediction: Cycles | None = None
    joules_per_sample: Cycles | None = None
    accuracies: tuple[float, ...] = ()
    rates: tuple[float, ...] = ()
    equal: bool | None = None
    compiler: str = ""
    flags: tuple[str, ...] = field(default=(), repr=False)

    @property
    def ram_bytes(self) -> int:
        """Static and stack."""
        return self.static_ram_bytes + (self.stack_bytes or 0)

    @property
    def accuracy(self) -> float | None:
        """The mean over the splits."""
        return sum(self.accuracies) / len(self.accuracies) if self.accuracies else None

    @property
    def name(self) -> str:
        """Method and numbers."""
        return f"{self.method}, {self.profile}"

    @property
    def was_run(self) -> bool:
        """Whether there is an image that ran."""
        return self.cycles_per_sample is not None

    def to_json(self) -> dict[str, Any]:
        """The contract's keys and more."""
        shown = asdict(self)
        for key in ("cycles_per_sample", "cycles_per_prediction", "joules_per_sample"):
            value = getattr(self, key)
            shown[key] = None if value is None else value._asdict()
        return {**shown, "ram_bytes": self.ram_bytes, "accuracy": self.accuracy}
