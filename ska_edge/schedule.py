"""The papers' schedule in integers: a batch is held, every layer moves in every step, the host counts the steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .backends import open_executor
from .errors import DataError, SkaError
from .executor import Executor
from .fixed import FloatArray, IntArray, dequantise
from .learner import encode
from .lowering import lower
from .network import Network
from .operations import Kind, Role, Update
from .program import Program
from .reference.papers import PAPER_RATE, PAPER_SEED, PAPER_SHAPE, PAPER_STEPS
from .rules import PublishedBatch

ROUNDINGS = ("lattice", "random", "half")


@dataclass(frozen=True)
class IntegerRun:
    """The papers' run in integers, by layer.

    `entropy` (bits) and `flow` (Phi, per unit of eta) have an entry for steps 1 to K - 1; `output`, the mean decision
    of each output neuron, for steps 0 to K - 1.  `weights_changed`: share of weights that differ from the start.
    """

    profile: str
    rounding: str
    entropy: list[list[float]]
    flow: list[list[float]]
    output: list[FloatArray]
    weights_changed: float


@dataclass
class Step:
    """What one step left behind: per layer the entropy in bits and Z [batch, neurons]; decisions of the last layer."""

    entropy: list[float] = field(default_factory=list)
    knowledge: list[FloatArray] = field(default_factory=list)
    decision: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))


class BatchLearner:
    """A Program of the papers' schedule in an executor.

    `rounding` "lattice" is the Program itself.  "random" (a draw per weight) and "half" (nearest) are there to compare
    with: the host then does the weight updates and the executor everything else.

    >>> from ska_edge import Network, lower
    >>> from ska_edge.rules import PublishedBatch
    >>> batch = np.eye(4)
    >>> program = lower(Network((4, 3, 2), PublishedBatch(batch=4)), "w16d15", batch)
    >>> learner = BatchLearner(program, "oracle")
    >>> len(learner.prime(batch).entropy), len(learner.step().entropy)
    (0, 2)
    """

    def __init__(self, program: Program, executor: str = "numba", rounding: str = "lattice", seed: int = 0) -> None:
        if not {"prime", "step"} <= set(program.sections):
            raise SkaError(
                f"Program: sections {', '.join(program.sections)}; the papers' schedule needs prime and step"
            )
        if rounding not in ROUNDINGS:
            raise SkaError(f"rounding {rounding!r}: allowed are {', '.join(ROUNDINGS)}")
        self.program = program
        self.executor: Executor = open_executor(executor, program)
        self.rounding = rounding
        self._random = np.random.default_rng(seed)
        self._input = next(program.of_kind(Kind.SAMPLE))
        self._entropies = [t for t in program.of_kind(Kind.ENTROPY) if t.role is Role.OUTPUT]

    def prime(self, samples: npt.ArrayLike) -> Step:
        """Take a batch [batch, features] and fill its decisions: the first forward pass, which learns nothing."""
        rows = encode(self.program, samples)
        if len(rows) != self._input.shape[0]:
            raise DataError(f"batch: {len(rows)} samples; this Program holds {self._input.shape[0]}")
        self.executor.write(self._input.name, rows)
        return self._run("prime")

    def step(self) -> Step:
        """One forward pass and one update of every layer."""
        done = self._run("step")
        done.entropy = [
            float(dequantise(self.executor.read(t.name), t.format)) / math.log(2.0) for t in self._entropies
        ]
        return done

    def _run(self, section: str) -> Step:
        """Run a section in pieces: a stop after each Z, and where the host does the rounding, before each update."""
        ops = self.program.sections[section]
        done, start = Step(), 0
        for position, op in enumerate(ops):
            if isinstance(op, Update) and self.rounding != "lattice":
                self.executor.run(section, start, position)
                self._update(op)
                start = position + 1
                continue
            written = self.program.by_name[next(iter(op.outputs().values()))]
            if written.kind is Kind.KNOWLEDGE:
                self.executor.run(section, start, position + 1)
                done.knowledge.append(dequantise(self.executor.read(written.name), written.format))
                start = position + 1
        self.executor.run(section, start)
        output = self.program.by_name["decision"]
        done.decision = dequantise(self.executor.read(output.name), output.format)
        return done

    def _update(self, op: Update) -> None:
        """SPEC 5.6 with another rounding."""
        fmt = self.program.by_name[op.p].format
        v: IntArray = self.executor.read(op.v) << op.v_shift
        r = self._random.integers(0, 1 << op.shift, v.shape) if self.rounding == "random" else (1 << op.shift) >> 1
        self.executor.write(op.p, np.clip(self.executor.read(op.p) + ((v + r) >> op.shift), fmt.lo, fmt.hi))


def run_integers(
    batch: FloatArray,
    profile: str,
    rounding: str = "lattice",
    rate: float = PAPER_RATE,
    steps: int = PAPER_STEPS,
    advance: Callable[[int], None] | None = None,
    executor: str = "numba",
    shape: tuple[int, ...] = PAPER_SHAPE,
) -> IntegerRun:
    """The papers' experiment, lowered to integers: `batch` [samples, inputs] 0 to 1, from the papers' start weights.

    `advance` is told of every step.  Raises DataError for a bad batch, NetworkError for a bad rate or step count.
    """
    network = Network(shape, PublishedBatch(rate=rate, forward_steps=steps, batch=len(batch)), PAPER_SEED)
    learner = BatchLearner(lower(network, profile, batch), executor, rounding)
    before = learner.prime(batch)
    run = IntegerRun(profile, rounding, [[] for _ in shape[1:]], [[] for _ in shape[1:]], [], 0.0)
    run.output.append(before.decision.mean(axis=0))
    for _ in range(steps - 1):
        now = learner.step()
        for layer, (entropy, z, z_before) in enumerate(zip(now.entropy, now.knowledge, before.knowledge, strict=True)):
            run.entropy[layer].append(entropy)
            run.flow[layer].append(float(np.linalg.norm(z - z_before)) / rate)
        run.output.append(now.decision.mean(axis=0))
        before = now
        if advance:
            advance(1)
    changed = learner.program.weights_changed(learner.executor.state())
    return IntegerRun(profile, rounding, run.entropy, run.flow, run.output, changed)
