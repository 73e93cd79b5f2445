"""What a run showed, for scripts and for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .activity import Activity, Operation, load_activity
from .energy import Energy, energy
from .machine import Machine
from .profile import Mark, Profile, Share, profile
from .stack import StackBound, stack_bound
from .timing import NONE, Cycles
from .wear import Wear


@dataclass(frozen=True)
class Report:
    """A run in numbers.  Cycles are those of `core`, at `clock_hz`; `ended` says how the run came to its end.

    `stack_bytes`: the deepest that was seen.  `stack_bound`: the deepest that can be, from the instructions.
    `ram_bytes`: variables.  `flash_bytes`: what is stored.  `unmodelled`: registers used that only remember.
    `wear`: of the flash or EEPROM that the firmware wrote; None where it wrote none.
    """

    image: str
    board: str
    core: str
    core_status: str
    clock_hz: int | None
    ended: str
    output: bytes
    instructions: int
    cycles: Cycles
    stack_bytes: int
    stack_bound: StackBound
    ram_bytes: int
    flash_bytes: int
    functions: dict[str, Share]
    operations: dict[Operation, Share] = field(default_factory=dict)
    outside: Share = field(default_factory=Share)
    stacks: dict[tuple[str, ...], float] = field(default_factory=dict)
    energy: Energy | None = None
    unmodelled: dict[int, int] = field(default_factory=dict)
    exit_code: int | None = None
    wear: Wear | None = None

    @property
    def seconds(self) -> Cycles | None:
        """Time at the clock; None where no clock is known."""
        if not self.clock_hz:
            return None
        return Cycles(*(count / self.clock_hz for count in self.cycles))

    def phases(self) -> dict[str, Share]:
        """Shares by phase of the operations of section learn, and of those of others by the section's name."""
        return self._by(lambda one: one.phase if one.section == "learn" else one.section)

    def layers(self) -> dict[str, Share]:
        """Shares by layer."""
        return self._by(lambda one: "none" if one.layer is None else str(one.layer))

    def _by(self, key: Any) -> dict[str, Share]:
        found: dict[str, Share] = {}
        for operation, share in self.operations.items():
            found.setdefault(key(operation), Share()).add(share.instructions, share.cycles)
        return found

    def to_json(self) -> dict[str, Any]:
        """The contract's keys and more."""
        seconds = self.seconds
        return {
            "image": self.image,
            "board": self.board,
            "core": self.core,
            "core_status": self.core_status,
            "clock_hz": self.clock_hz,
            "ended": self.ended,
            "exit_code": self.exit_code,
            "instructions": self.instructions,
            "cycles": self.cycles.to_json(),
            "seconds": None if seconds is None else seconds._asdict(),
            "stack_bytes": self.stack_bytes,
            "stack_bound_bytes": self.stack_bound.bytes,
            "stack_bound": self.stack_bound.words,
            "ram_bytes": self.ram_bytes,
            "flash_bytes": self.flash_bytes,
            "functions": [
                {
                    "name": name,
                    "calls": share.calls,
                    "instructions": share.instructions,
                    "cycles": share.cycles.to_json(),
                    "total_cycles": share.total.to_json(),
                }
                for name, share in sorted(self.functions.items(), key=lambda item: -item[1].cycles.nominal)
            ],
            "phases": {name: _share(share) for name, share in self.phases().items()},
            "layers": {name: _share(share) for name, share in self.layers().items()},
            "operations": [
                {
                    "section": one.section,
                    "name": one.name,
                    "verb": one.verb,
                    "layer": one.layer,
                    "phase": one.phase,
                    "work": one.work,
                    **_share(share),
                }
                for one, share in self.operations.items()
            ],
            "outside_operations": _share(self.outside),
            "energy": self.energy and self.energy.to_json(),
            "wear": self.wear and self.wear.to_json(),
            "unmodelled_registers": {f"{address:#010x}": count for address, count in sorted(self.unmodelled.items())},
        }


def _share(share: Share) -> dict[str, Any]:
    return {"instructions": share.instructions, "cycles": share.cycles.to_json()}


def report(
    machine: Machine,
    ended: str = "running",
    activity: Activity | None = None,
    since: Mark | None = None,
) -> Report:
    """What a machine has done so far, or since a `profile.mark`."""
    activity = activity or load_activity(machine.image.path)
    found: Profile = profile(machine, activity, since)
    wear = machine.flash.wear(since.flash if since else None) if machine.flash else None
    halted = wear.busy if wear else NONE
    computing = Cycles(*(a - b for a, b in zip(found.cycles, halted, strict=True)))
    return Report(
        str(machine.image.path),
        machine.board.name,
        machine.core.title,
        machine.core.status,
        machine.clock_hz,
        ended,
        bytes(machine.output),
        found.instructions,
        found.cycles,
        machine.stack_used,
        stack_bound(machine.image),
        machine.image.static_bytes,
        machine.image.stored_bytes,
        found.functions,
        found.operations,
        found.outside,
        found.stacks,
        energy(machine.board, computing, machine.clock_hz),
        dict(machine.registers.touched),
        machine.exit_code,
        wear,
    )
