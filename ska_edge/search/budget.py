"""What a candidate would need on a board, before it is learnt or built.

RAM is the plan's arena, to the byte, and what a first image of the same profile needs beside it: variables and stack.
Flash is that image's, with other tables, another start state, and an estimate for every further operation.  Time is an
estimate: the work of each operation, weighted, times the cycles that the first image took a unit in the simulator.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from firmware_sim.catalogue import Board

from ..activity import work
from ..errors import FitError, SkaError
from ..fits import RESERVES, Fit, fit
from ..lowering import lower
from ..operations import Kind
from ..plan import memory, plan
from ..profiles import PROFILES, profile_named
from ..program import Encoding, Program
from .space import START_WIDTH, Candidate, Space

_WEIGHT_OF_WORK = {"contract": 13, "scale": 25, "lut": 35, "flow": 200, "outer_update": 16, "update": 20, "lattice": 4}
_OTHER_WORK = 8
"""Cycles an element on an AVR, roughly (SPEC 5, table): here only their ratios count."""
_STORED = ("constants", "start_state")
_RESERVED = ("port", "stack", "code")
"""Parts of a `Fit`: what the image carries of the model; what is an estimate there and measured here."""
_SAMPLES = 3


@dataclass(frozen=True)
class Limits:
    """Bytes of RAM (stack included) and flash, and milliseconds a learnt sample (None: any)."""

    ram_bytes: int
    flash_bytes: int
    milliseconds: float | None = None


@dataclass(frozen=True)
class Needs:
    """What a candidate needs; `milliseconds` a learnt sample, None where no clock is known."""

    ram_bytes: int
    flash_bytes: int
    milliseconds: float | None

    def excess(self, limits: Limits) -> float:
        """By what share it breaks the limits, all summed; 0 where it keeps them.

        >>> Needs(1500, 100, 2.0).excess(Limits(1000, 1000))
        0.5
        """
        pairs = [(self.ram_bytes, limits.ram_bytes), (self.flash_bytes, limits.flash_bytes)]
        if limits.milliseconds is not None and self.milliseconds is not None:
            pairs.append((self.milliseconds, limits.milliseconds))  # type: ignore[arg-type]
        return sum(max(0.0, need / limit - 1.0) for need, limit in pairs)


@dataclass(frozen=True)
class Measured:
    """A first image of one profile, built and simulated: bytes beside the model, and cycles a unit of weighted work."""

    shape: str
    ram_beside_bytes: int
    flash_beside_bytes: int
    operations: int
    cycles_a_unit: float
    clock_hz: int | None


@dataclass(frozen=True)
class Gauge:
    """Judges candidates for one board by one measured image a profile."""

    board: Board
    measured: Mapping[str, Measured]

    def needs(self, program: Program, profile: str) -> Needs:
        """What a Program needs; time is an estimate.  Raises FitError where `build` would refuse it."""
        found = fit(program, self.board)
        if profile not in self.measured or not found.fits:
            raise FitError(f"{self.board.name}: does not hold this network in {profile}")
        first, parts = self.measured[profile], dict(part for need in found.needs for part in need.parts.items())
        stored = sum(map(parts.pop, _STORED))
        arena = sum(count for part, count in parts.items() if part not in _RESERVED)
        operations = sum(map(len, program.sections.values()))
        further = max(0, operations - first.operations) * RESERVES[self.board.core.name].code_per_operation
        cycles = weighted_work(program) * first.cycles_a_unit
        return Needs(
            arena + first.ram_beside_bytes,
            stored + first.flash_beside_bytes + further,
            1e3 * cycles / first.clock_hz if first.clock_hz else None,
        )

    def to_json(self) -> dict[str, Any]:
        """The measured images, to be kept with a study."""
        return {name: asdict(one) for name, one in self.measured.items()}

    @classmethod
    def from_json(cls, board: Board, kept: Mapping[str, Any]) -> Gauge:
        """What `to_json` kept."""
        return cls(board, {name: Measured(**one) for name, one in kept.items()})


def draft(candidate: Candidate, encoding: Encoding) -> Program:
    """A candidate lowered without samples: every size is right, exponents are not."""
    return lower(candidate.network(0), candidate.profile, encoding=encoding)


def weighted_work(program: Program) -> float:
    """Work of one learnt sample in units that take about the same time each."""
    return float(sum(_WEIGHT_OF_WORK.get(op.verb, _OTHER_WORK) * work(program, op) for op in program.sections["learn"]))


def measure(board: Board, space: Space, encoding: Encoding, advance: Callable[[int], None]) -> Gauge:
    """Build and simulate one image a profile: the plain network, or the widest below it that the board holds.

    A profile in which the board holds no network is left out.  Raises FitError where that is every one, and what
    `simulate` raises.
    """
    found: dict[str, Measured] = {}
    for profile in PROFILES:
        first = _first(board, space, encoding, profile)
        if first is not None:
            found[profile] = _measure(board, *first)
        advance(1)
    if not found:
        least = space.smallest("w4d8")
        raise FitError(
            f"{board.name}: holds no network for {space.features} features; the nearest, {least.shape} in w4d8, "
            f"{_words(fit(draft(least, encoding), board))}; take a larger board or fewer features"
        )
    return Gauge(board, found)


def holds_weights(candidate: Candidate, limits: Limits) -> bool:
    """Whether the weights alone fit the RAM; a cheap look before a network is lowered."""
    return candidate.network(0).weight_count * profile_named(candidate.profile).weight_bits <= 8 * limits.ram_bytes


def check_limits(gauge: Gauge, space: Space, encoding: Encoding, limits: Limits) -> None:
    """Raise FitError, with the nearest candidate, where not even the smallest networks keep the limits."""
    smallest = [space.smallest(profile) for profile in gauge.measured]
    pairs = [(gauge.needs(draft(one, encoding), one.profile), one) for one in smallest]
    need, nearest = min(pairs, key=lambda pair: pair[0].excess(limits))
    if not need.excess(limits):
        return
    broken = [f"{need.ram_bytes:,} bytes of RAM of {limits.ram_bytes:,} allowed"] * (need.ram_bytes > limits.ram_bytes)
    broken += [f"{need.flash_bytes:,} of flash of {limits.flash_bytes:,}"] * (need.flash_bytes > limits.flash_bytes)
    if limits.milliseconds and need.milliseconds and need.milliseconds > limits.milliseconds:
        broken.append(f"about {need.milliseconds:.3g} ms a sample of {limits.milliseconds:g}")
    raise FitError(
        f"budget: no network fits; the nearest, {nearest.shape} in {nearest.profile}, needs {', '.join(broken)} "
        f"on {gauge.board.name}; allow that much, or take another board"
    )


def _first(board: Board, space: Space, encoding: Encoding, profile: str) -> tuple[str, Program] | None:
    """The plain network, or the widest below it that the board holds."""
    for width in reversed([each for each in space.ladder if each <= START_WIDTH] or space.ladder[:1]):
        candidate = space.plain(profile, width)
        program = draft(candidate, encoding)
        if fit(program, board).fits:
            return candidate.shape, program
    return None


def _measure(board: Board, shape: str, program: Program) -> Measured:
    from ..simulation import simulate

    sample = next(program.of_kind(Kind.SAMPLE))
    chance = np.random.default_rng(0)
    samples = chance.integers(sample.format.lo, sample.format.hi + 1, (_SAMPLES, sample.size))
    labels = np.arange(_SAMPLES) % program.by_name["decision"].size
    with tempfile.TemporaryDirectory(prefix="ska-edge-search-") as folder:
        done = simulate(program, board, samples, labels, folder, learnt=_SAMPLES, predicted=0)
    if not done.equal:
        raise SkaError(f"{board.name}: the simulated firmware did not learn the judge's bits; see ska-edge simulate")
    return Measured(
        shape,
        done.learning.ram_bytes + stack_bytes(done.learning) - plan(program).arena_bytes,
        done.learning.flash_bytes - _stored_bytes(program),
        sum(map(len, program.sections.values())),
        done.per_sample.nominal / weighted_work(program),
        done.learning.clock_hz,
    )


def stack_bytes(report: Any) -> int:
    """The stack's bound where there is one, else the deepest that was seen."""
    return int(report.stack_bound.bytes or report.stack_bytes)


def _stored_bytes(program: Program) -> int:
    """Tables, and the start state that the image carries."""
    layout = plan(program)
    return memory(program)["constants"] + layout.fixed_bytes - layout.state_start


def _words(found: Fit) -> str:
    need = found.tightest
    return f"needs {need.needed:,} bytes of {need.resource} of {need.available:,}"
