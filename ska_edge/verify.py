"""Does every executor learn the same?  The oracle leads; the others are compared with it, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .backends import NAMES, open_executor
from .data import Dataset
from .errors import FitError, MissingError, SkaError
from .executor import Executor
from .fixed import IntArray
from .learner import check_labels, encode
from .operations import Kind, Role
from .program import Program

TRACED_SAMPLES = 4
CHUNK = 256
REFERENCE = "oracle"


@dataclass
class Result:
    """One executor's outcome.  `mismatches`: elements that differ from the oracle's; `first`: where it first does.

    `samples`: how many it learnt; `traced`: how many of them were compared after every operation.
    """

    samples: int
    traced: int
    weight_updates: int
    weights_changed: float
    mismatches: int
    state_digest: str
    first: str | None = None


@dataclass
class Verification:
    """Results by executor name, and why others were skipped."""

    executors: dict[str, Result] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        """Whether every executor that ran agrees with the oracle everywhere."""
        return all(result.mismatches == 0 for result in self.executors.values())

    @property
    def shortened(self) -> list[str]:
        """What slow executors were spared, in words."""
        most = max((result.samples for result in self.executors.values()), default=0)
        lines = []
        for name, result in self.executors.items():
            if result.samples < most:
                lines.append(f"{name}: slow; only the first {result.samples:,} of {most:,} samples (--full: all)")
            if not result.traced:
                lines.append(f"{name}: slow; not compared after every operation (--full: compared)")
        return lines

    def to_json(self) -> dict[str, Any]:
        """The contract's keys."""
        return {"executors": {name: asdict(result) for name, result in self.executors.items()}, "skipped": self.skipped}

    def print(self) -> None:
        """A table for people."""
        from rich.console import Console
        from rich.table import Table

        from .listing import TABLE_WIDTH

        table = Table("executor", "samples", "weight updates", "changed", "mismatches", "state digest")
        for name, result in self.executors.items():
            changed, digest = f"{result.weights_changed:.0%}", result.state_digest[:16]
            updates = f"{result.weight_updates:,}"
            table.add_row(name, f"{result.samples:,}", updates, changed, str(result.mismatches), digest)
        console = Console()
        Console(width=max(console.width, TABLE_WIDTH)).print(table)
        for name, result in self.executors.items():
            if result.first:
                console.print(f"{name}: first difference: {result.first}", markup=False)
        for line in self.shortened:
            console.print(line, markup=False)
        for name, reason in self.skipped.items():
            console.print(f"{name}: skipped: {reason}", markup=False)
        console.print("every bit equal" if self.equal else "NOT equal", markup=False)


def stream_of(program: Program, data: Dataset) -> dict[str, IntArray]:
    """A data set as the inputs of a Program's `learn` section.  Raises DataError where they do not fit."""
    inputs = {next(program.of_kind(Kind.SAMPLE)).name: encode(program, data.samples)}
    if "label" in program.by_name:
        inputs["label"] = check_labels(data.labels, len(data.samples), program.by_name["decision"].size)
    return inputs


def executor_names(against: str) -> tuple[str, ...]:
    """'all' or names joined by commas, the oracle first.  Raises SkaError for an unknown name."""
    names = NAMES if against == "all" else tuple(name.strip() for name in against.split(","))
    for name in names:
        if name not in NAMES:
            raise SkaError(f"executor {name!r}: allowed are {', '.join(NAMES)}, or all")
    return (REFERENCE, *(name for name in dict.fromkeys(names) if name != REFERENCE))


def verify(
    program: Program,
    names: Sequence[str],
    inputs: Mapping[str, IntArray],
    samples: int,
    advance: Callable[[int], None] = lambda count: None,
    full: bool = False,
) -> Verification:
    """Learn the same `samples` rows (the inputs, repeated as needed) in every executor and compare with the oracle.

    The first few samples are compared after every operation, everything else by outputs and, at the end, state.
    Executors that say they are slow stop earlier, and are compared with the oracle's state at that sample, unless
    `full`; what they learnt stands in their results.  `advance` is told how many samples have been done.
    """
    verification = Verification()
    running: dict[str, Executor] = {}
    for name in names:
        try:
            running[name] = open_executor(name, program)
        except (MissingError, FitError) as error:
            verification.skipped[name] = str(error).splitlines()[0]
    differences: dict[str, list[str]] = {name: [] for name in running}
    counts = dict.fromkeys(running, 0)

    def compare(place: str, values: Mapping[str, IntArray]) -> None:
        for name, found in values.items():
            different = np.argwhere(np.atleast_1d(found != values[REFERENCE]))
            if len(different):
                at = tuple(int(i) for i in different[0])
                expected = np.atleast_1d(values[REFERENCE])[at]
                differences[name].append(f"{place}{list(at)}: expected {expected}, found {np.atleast_1d(found)[at]}")
                counts[name] += len(different)

    rows = len(next(iter(inputs.values())))
    ends = {name: samples if full else min(samples, each.verified_samples or samples) for name, each in running.items()}
    traced = min(TRACED_SAMPLES, samples)
    stepping = {name: each for name, each in running.items() if full or each.traced}
    for sample in range(traced):
        fed = {name: values[sample % rows] for name, values in inputs.items()}
        for executor in stepping.values():
            for name, values in fed.items():
                executor.write(name, values)
        for position, op in enumerate(program.sections["learn"]):
            for executor in stepping.values():
                executor.run("learn", position, position + 1)
            for tensor in op.outputs().values():
                place = f"sample {sample}, learn[{position}] {op.verb}, {tensor}"
                compare(place, {name: executor.read(tensor) for name, executor in stepping.items()})
        advance(1)
    for name, executor in running.items():
        if name not in stepping:
            executor.stream("learn", {tensor: values[np.arange(traced) % rows] for tensor, values in inputs.items()})
    outputs = [tensor.name for tensor in program.of_role(Role.OUTPUT)]
    borders = sorted({traced, *range(traced, samples, CHUNK), *(end for end in ends.values() if end > traced)})
    start = traced
    for stop in borders:
        if stop > start:
            picked = np.arange(start, stop) % rows
            fed = {name: values[picked] for name, values in inputs.items()}
            alive = {name: executor for name, executor in running.items() if ends[name] > start}
            streams = {name: executor.stream("learn", fed, outputs) for name, executor in alive.items()}
            for tensor in outputs:
                compare(f"samples from {start}, {tensor}", {name: out[tensor] for name, out in streams.items()})
            advance(stop - start)
        ended = {name: executor.state() for name, executor in running.items() if max(ends[name], traced) == stop}
        states = {REFERENCE: running[REFERENCE].state(), **ended}
        for tensor in states[REFERENCE]:
            compare(f"state {tensor}", {name: state[tensor] for name, state in states.items()})
        for name, state in ended.items():
            verification.executors[name] = Result(
                max(ends[name], traced),
                traced if name in stepping else 0,
                max(ends[name], traced) * program.updates_per_run(),
                program.weights_changed(state),
                counts[name],
                program.digest_of(state),
                differences[name][0] if differences[name] else None,
            )
        start = stop
    verification.executors = {name: verification.executors[name] for name in running}
    return verification
