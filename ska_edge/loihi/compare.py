"""One table: a learning sample on neuromorphic cores and on microcontrollers that hold the model.

A board's time is its cycles a sample over its clock, its energy those cycles times the charge a cycle of its run
current, as far as the catalogue knows one.  Cycles come from the cycle simulator, from its lowest to its highest, or
from a file; without them a board's row says `unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from firmware_sim.catalogue import Board, board_names, load_board

from ..errors import DataError, SkaError
from ..fits import fit
from ..fixed import IntArray
from ..operations import Kind
from ..program import Program
from .counts import read_json
from .estimate import Estimate

Span = tuple[float, float]


@dataclass(frozen=True)
class Row:
    """Time and energy of one learning sample; None is unknown.  `static`: what the chip takes merely for being on.

    A microcontroller's energy holds everything that its supply delivers, so nothing is added to it.
    """

    name: str
    kind: str
    time_s: Span | None
    energy_j: Span | None
    static_energy_j: Span | None
    complete: bool
    note: str

    def to_json(self) -> dict[str, Any]:
        """Spans as `low` and `high`, null where unknown."""
        spans = {name: _span(getattr(self, name)) for name in ("time_s", "energy_j", "static_energy_j")}
        return {"name": self.name, "kind": self.kind, **spans, "complete": self.complete, "note": self.note}


def _span(span: Span | None) -> dict[str, float | None]:
    return {"low": span[0] if span else None, "high": span[1] if span else None}


def rows(program: Program, found: Estimate, cycles: Mapping[str, Span], only: bool = False) -> list[Row]:
    """The neurocore hardware first, then every board one can buy that holds the model; or `only` those with cycles."""
    if only:
        return [_neurocore(found), *(_board(load_board(name), span) for name, span in cycles.items())]
    boards = [board for board in map(load_board, board_names()) if board.silicon or board.name in cycles]
    fitting = [board for board in boards if fit(program, board).fits]
    return [_neurocore(found), *(_board(board, cycles.get(board.name)) for board in fitting)]


def _neurocore(found: Estimate) -> Row:
    learning = found.to_json()
    time, energy, static = (_known(learning[name]) for name in ("time_s", "energy_j", "static_energy_j"))
    unpriced = learning["unpriced"]["energy_pj"]
    note = f"not priced: {', '.join(unpriced).replace('_', ' ')}" if unpriced else ""
    return Row(found.map.hardware.name, "neurocore", time, energy, static, not unpriced, note)


def _known(span: Mapping[str, float | None]) -> Span | None:
    low, high = span["low"], span["high"]
    return None if low is None or high is None else (low, high)


def _board(board: Board, cycles: Span | None) -> Row:
    current = next(iter(board.run_currents), None)
    hertz = board.clock.hz
    time = energy = None
    if cycles and hertz:
        time = (cycles[0] / hertz, cycles[1] / hertz)
    if cycles and current:
        joules = current.milliamperes * 1e-3 * current.volts / current.clock_hz  # a cycle
        energy = (cycles[0] * joules, cycles[1] * joules)
    missing = [*([] if cycles else ["cycles a sample"]), *([] if current else ["run current"])]
    note = f"unknown: {', '.join(missing)}" if missing else "chip alone, at its typical run current"
    return Row(board.name, "microcontroller", time, energy, None, complete=not missing, note=note)


def simulated_cycles(
    program: Program,
    boards: Sequence[str],
    inputs: Mapping[str, IntArray],
    samples: int,
    advance: Callable[[int], None] = lambda count: None,
) -> dict[str, Span]:
    """Cycles a learning sample by board, lowest and highest: its firmware, built and run in the cycle simulator.

    `inputs` are raw, as `verify.stream_of` makes them.  Raises what `simulation.simulate` raises, and SkaError where
    the firmware's weights are not the judge's.
    """
    from ..simulation import simulate

    vectors = inputs[next(program.of_kind(Kind.SAMPLE)).name]
    labels = inputs.get("label", np.full(len(vectors), -1))
    found = {}
    for name in boards:
        with TemporaryDirectory(prefix="ska-edge-loihi-") as folder:
            done = simulate(program, name, vectors, labels, folder, samples, 0, advance=advance)
        if not done.equal:
            raise SkaError(f"{name}: learnt other weights in the simulator than the judge; its cycles mean nothing")
        found[name] = (done.per_sample.low, done.per_sample.high)
    return found


def board_list(text: str) -> list[str]:
    """Names of boards, joined by commas.  Raises SkaError for one that is not in the catalogue."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in board_names():
            raise SkaError(f"board {name[:60]!r}: not in the catalogue; allowed are {', '.join(board_names())}")
    return names


def load_cycles(path: Path) -> dict[str, Span]:
    """Cycles a learning sample by board: `{"rpi_pico": {"low": 1, "high": 2}, ...}`.

    What `ska-edge simulate --json` prints is accepted as well.
    Raises FileError or DataError that names what is wrong.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: wanted an object, board names to low and high")
    if "cycles_per_sample" in content:
        content = {str(content.get("board")): content["cycles_per_sample"]}
    return {name: _cycles(path, name, span) for name, span in content.items()}


def _cycles(path: Path, name: str, span: Any) -> Span:
    if name not in board_names():
        raise DataError(f"{path}: board {name[:60]!r} is not in the catalogue")
    ends = (span.get("low"), span.get("high")) if isinstance(span, dict) else ()
    numbers = [float(end) for end in ends if isinstance(end, (int, float)) and not isinstance(end, bool)]
    if len(numbers) != 2 or not 0 < numbers[0] <= numbers[1]:
        raise DataError(f"{path}: {name}: wanted low and high, cycles a sample, low above 0 and at most high")
    return numbers[0], numbers[1]
