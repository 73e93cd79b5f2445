"""What one learner takes on one board: bytes are the linker's, cycles and stack the simulator's, of the very image."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from firmware_sim.energy import energy

from ..bare import BareImage, BareRun, build_backprop, build_ours, digest_of, run_bare, run_ours
from ..baselines.embedded import HostRun, as_bytes, state_bytes
from ..baselines.random_features import random_features
from ..data import Dataset, split
from ..errors import DataError
from ..fixed import IntArray
from ..learner import Learner, encode
from ..lowering import lower
from ..network import Network, parse_shape
from ..operations import Kind
from ..plan import learning_bytes, plan, weight_bytes
from ..program import Program
from .contestants import Backprop, Contestant, Job, Lowered, Ours, Paper, RandomFeatures
from .rows import Row


@dataclass(frozen=True)
class Part:
    """The rows of one split: those to learn in the order drawn, those to test, and the former cut once more."""

    learnt: IntArray
    tested: IntArray

    @property
    def inner(self) -> IntArray:
        """To learn while a rate is picked."""
        return self.learnt[len(self.learnt) // 5 :]

    @property
    def kept(self) -> IntArray:
        """Judge the rates; they are in no other part of `inner`, nor among the test rows."""
        return self.learnt[: len(self.learnt) // 5]


@dataclass(frozen=True)
class Bench:
    """What is learnt.  `passes` over the rows give the accuracy; `samples` are learnt in the simulator, of split 0.

    `runs`: folder of accuracies found before.  Raises DataError without labels.
    """

    data: Dataset
    passes: int = 20
    samples: int = 8
    runs: Path | None = None

    def __post_init__(self) -> None:
        if self.data.labels is None:
            raise DataError(
                f"{self.data.name}: no labels; backprop cannot learn from it, so there is nothing to compare"
            )

    @cached_property
    def labels(self) -> IntArray:
        """One a row."""
        assert self.data.labels is not None
        return self.data.labels

    def part(self, number: int) -> Part:
        """A split."""
        rows = split(self.data, number)
        return Part(np.random.RandomState(number).permutation(rows.learn), rows.test)

    def orders(self, rows: IntArray) -> Iterator[IntArray]:
        """Every pass in an order of its own, the same for everyone."""
        for number in range(self.passes):
            yield np.random.RandomState(number).permutation(rows)

    def network(self, shape: str, number: int = 0, **given: Any) -> Network:
        """The network to compare on, its start weights drawn anew for each split.  Raises SkaError for wrong widths."""
        network = Network(parse_shape(shape), seed=number, **given)
        features, classes = self.data.samples.shape[1], int(self.labels.max()) + 1
        if network.widths[0] != features or network.widths[-1] < classes:
            raise DataError(f"shape {shape}: {self.data.name} has {features} features and {classes} classes")
        return network

    def program(self, contestant: Lowered, shape: str, number: int = 0) -> Program:
        """The lowered network."""
        rule, learnt = contestant.made(), self.part(number).learnt
        encoding = self.data.encoding(learnt, centred=rule.centred_inputs)
        network = self.network(shape, number, rule=rule)
        program = lower(network, contestant.profile, self.data.samples[learnt], self.labels[learnt], encoding)
        return random_features(program) if isinstance(contestant, RandomFeatures) else program

    def bytes(self, part: Part, centred: bool) -> Any:
        """All samples as backprop's C takes them."""
        return as_bytes(self.data.samples, self.data.encoding(part.learnt, centred=centred))

    # -- images -----------------------------------------------------------------------------------------------------

    def measure(self, job: Job, rate: float | None = None) -> Row:
        """A row without accuracies.  Raises SkaError where the network cannot be learnt so, or does not fit the board.

        `rate`: backprop's.
        """
        contestant = job.contestant
        if isinstance(contestant, Paper):
            return self._paper(job, contestant)
        with tempfile.TemporaryDirectory(prefix="ska-edge-memory-") as name:
            if isinstance(contestant, Backprop):
                return self._backprop(job, contestant, rate, Path(name))
            return self._ours(job, contestant, Path(name))

    def _ours(self, job: Job, contestant: Ours | RandomFeatures, folder: Path) -> Row:
        program = self.program(contestant, job.shape)
        image = build_ours(program, job.board, folder, job.compiler)
        first = self.part(0).learnt[: self.samples]
        raw, labels = encode(program, self.data.samples[first]), self.labels[first]
        name = next(program.of_kind(Kind.SAMPLE)).name
        run = run_ours(image, program, [{name: row} for row in raw], labels.tolist())
        judge = Learner(program)
        judge.learn_many(self.data.samples[first], labels)
        equal = digest_of(program, run.state) == judge.snapshot().state_digest
        found = _row(job, contestant, image, run, equal)
        return replace(found, weight_bytes=weight_bytes(program), learning_state_bytes=learning_bytes(program))

    def _paper(self, job: Job, contestant: Paper) -> Row:
        program = self.program(contestant, job.shape)
        held = next(program.of_kind(Kind.SAMPLE)).byte_count - self.data.samples.shape[1]
        return Row(
            job.sweep,
            contestant.method,
            "paper",
            job.shape,
            job.board.name,
            contestant.profile,
            weight_bytes(program),
            learning_bytes(program) + held,
            plan(program).arena_bytes,
        )

    def _backprop(self, job: Job, contestant: Backprop, rate: float | None, folder: Path) -> Row:
        network = self.network(job.shape)
        descent = replace(contestant.descent, rate=rate or contestant.descent.rate)
        image = build_backprop(network, descent, job.board, folder, job.compiler, contestant.hard)
        weights, state = state_bytes(network, descent)
        count = -(-self.samples // descent.batch) * descent.batch
        part = self.part(0)
        first = part.learnt[np.arange(count) % len(part.learnt)]
        rows = self.bytes(part, descent.centred)[first]
        packed = [bytes(row) for row in rows]
        run = run_bare(image, packed, self.labels[first].tolist(), ("bp_weights", 0, weights))
        host = HostRun(network, descent, folder)
        host.learn(rows, self.labels[first])
        row = _row(job, contestant, image, run, host.weights() == run.state)
        return replace(row, weight_bytes=weights, learning_state_bytes=state)


def _row(job: Job, contestant: Contestant, image: BareImage, run: BareRun, equal: bool) -> Row:
    used = energy(job.board, run.per_sample, job.board.clock.hz)
    return Row(
        job.sweep,
        contestant.method,
        {Backprop: "backprop", RandomFeatures: "control"}.get(type(contestant), "layerwise"),
        job.shape,
        job.board.name,
        contestant.profile,
        0,
        0,
        image.static_ram_bytes,
        image.flash_bytes,
        run.stack_bytes,
        run.per_sample,
        run.per_prediction,
        used.joules if used else None,
        equal=equal,
        compiler=image.compiler,
        flags=image.flags,
    )
