"""Learning-engine mode: the same update in the sum-of-products language of Loihi's learning engine, as Lava models it.

    dw = -2^a x0 x1 y1 + 2^a x0 x1 y2

x1 is the input's trace, y1 and y2 are the third factor's negative and positive part.  Traces have 7 bits without sign,
weights 8 bits and a sign, the accumulator 15; weights are rounded by chance, with one draw for all of them.  That is
tolerance, not equality.  `EngineSynapses` is what Lava computes, in NumPy; a test holds the two together, bit by bit.
`EngineExecutor` is a whole Program in which every layer that can learns this way.  A layer that reads signed numbers
(centred features, or D - 1/2) cannot: a trace has no sign.

Scales come from the range proof: the third factor's largest possible value becomes the largest trace.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ...errors import FitError
from ...executor import Executor
from ...fixed import IntArray, lattice_offset
from ...operations import Contract, Kind, OuterUpdate, Role, Tensor
from ...program import Program
from ...proof import bits_of, prove
from .primitives import Memory, Step, compile_op

TRACE_BITS = 7
WEIGHT_BITS = 8
ACCUMULATOR_BITS = 15
EPOCH = 2  # time steps: the sample comes in the first, the third factor in the second
X_TAU = 1 << 30  # no decay to speak of; 0 would mean no trace
_Y_TAU = 65535  # what Lava's Loihi3FLearningRule sets
_PRODUCT_SHIFT = 3  # two traces of 7 bits and a mantissa of 4, into an accumulator of 15
_EXPONENTS = (-7, 8)


@dataclass(frozen=True)
class Scale:
    """How one matrix learns in the engine.

    `factor_shift`: bits dropped from the third factor to make a trace; `exponent`: the a of dw.
    """

    factor_shift: int
    exponent: int

    @property
    def rule(self) -> str:
        """The dw of `Loihi3FLearningRule`.

        >>> Scale(8, -3).rule
        '-2^-3*x0*x1*y1 + 2^-3*x0*x1*y2'
        """
        return f"-2^{self.exponent}*x0*x1*y1 + 2^{self.exponent}*x0*x1*y2"


def scale_of(program: Program, op: OuterUpdate) -> Scale:
    """The scale of an update by the range proof.  Raises FitError where the engine cannot hold it, saying why."""
    w, x, where = program.by_name[op.w], program.by_name[op.x], f"Lava's learning engine: {op.w}"
    if w.format.bits != WEIGHT_BITS:
        raise FitError(f"{where} has {w.format.bits} bits; the engine's weights have {WEIGHT_BITS}: take profile w8d8")
    if w.kind is not Kind.WEIGHT or op.towards:
        raise FitError(f"{where} is read in two directions, or moves towards its input; the engine learns neither")
    if x.format.signed or x.format.bits > 8 or len(x.shape) != 1:
        raise FitError(
            f"{where} reads {op.x}, {x.format}; a trace holds 8 bits without sign: do not centre the features"
        )
    bounds = [bound for bound in prove(program) if bound.section == "learn" and bound.tensor == op.s]
    fmt = program.by_name[op.s].format
    largest = max(min(-bounds[-1].lo, -fmt.lo), min(bounds[-1].hi, fmt.hi))
    factor_shift = max(bits_of(largest) - 1 - TRACE_BITS, 0)
    # a weight's LSB here is half the Program's: |dw| = 2 s x / 2^shift = (x / 2)(s / 2^f) 2^(a + 7 - 3 - 7)
    exponent = factor_shift + 5 - op.shift
    lowest, highest = _EXPONENTS
    if not lowest <= exponent <= highest:
        raise FitError(f"{where} needs dw scaled by 2^{exponent}; the engine has 2^{lowest} to 2^{highest}")
    return Scale(factor_shift, exponent)


class EngineSynapses:
    """The synapses of one LearningDense, epoch by epoch.  `weights`: int [neurons, inputs], -256 to 255."""

    def __init__(self, weights: IntArray, scale: Scale, seed: int = 0) -> None:
        self.weights = np.clip(weights, -256, 255) >> 1 << 1  # Lava drops the last bit of a mixed-sign weight at first
        self.scale = scale
        self._x_random, self._y_random = np.random.default_rng(seed), np.random.default_rng(seed + 2)
        self._weight_random = np.random.default_rng(2)
        for source in (self._x_random, self._y_random, self._weight_random):
            source.random()

    def arrive(self, x: IntArray) -> IntArray:
        """First time step: graded spikes, 0 to 255 [inputs]; what they sum up to [neurons]."""
        self._spiked = x != 0
        self._x = np.round(x / 2).astype(np.int64)
        return np.asarray(self.weights @ x, np.int64)

    def learn(self, y1: IntArray, y2: IntArray) -> None:
        """Second time step and learning phase: traces 0 to 127 [neurons]."""
        x_draw, y_draw = self._x_random.random(4)[-1], self._y_random.random(4)[-1]
        x = np.minimum(_decayed(self._x, X_TAU, x_draw), (1 << TRACE_BITS) - 1) * self._spiked
        bound = 1 << ACCUMULATOR_BITS
        total = self.weights << (ACCUMULATOR_BITS - WEIGHT_BITS)
        for y, sign in ((y1, -1), (y2, 1)):
            product = sign * np.outer(_decayed(y, _Y_TAU, y_draw), x) >> _PRODUCT_SHIFT
            product = np.clip(product << (self.scale.exponent + 7), -bound - 1, bound - 1)
            total = np.clip(total + product, -bound - 1, bound - 1)
        kept = 1 << (ACCUMULATOR_BITS - WEIGHT_BITS)
        up = self._weight_random.random() < (total % kept) / kept
        self.weights = np.clip((total // kept) + up, -256, 255)


def _is_forward(op: Contract) -> bool:
    """Whether a matrix is read along its rows."""
    operands, _, out = op.axes.partition("->")
    a_axes, _, b_axes = operands.partition(",")
    return a_axes == out + b_axes


def _decayed(trace: IntArray, tau: int, draw: float) -> IntArray:
    """A trace one time step on, rounded by chance."""
    left = np.exp(-1 / tau) * trace
    return np.asarray(np.floor(left) + (draw < left % 1), np.int64)


@dataclass(frozen=True)
class Epoch:
    """What one matrix was shown in one epoch: x [inputs], traces y1 and y2 [neurons], and what it summed up."""

    x: IntArray
    y1: IntArray
    y2: IntArray
    sums: IntArray


class EngineExecutor(Executor):
    """A Program whose unsigned 8-bit layers learn in the engine and everything else exactly.

    `record`: epochs of the matrix of that name are kept in `epochs`, to be played to Lava itself.
    Raises FitError where no layer can learn in the engine; the message is the first layer's.
    """

    name: ClassVar[str] = "lava-engine"

    def __init__(self, program: Program, seed: int = 0, record: str | None = None) -> None:
        super().__init__(program)
        self.memory: Memory = {name: np.array(values) for name, values in program.values.items()}
        self.synapses: dict[str, EngineSynapses] = {}
        self.epochs: list[Epoch] = []
        self.traces = self.nonzero_traces = 0
        self._record = record
        self._seen: dict[str, tuple[IntArray, IntArray]] = {}
        refused: list[FitError] = []
        self._updates = [op for op in program.sections["learn"] if isinstance(op, OuterUpdate)]
        for op in self._updates:
            try:
                scale = scale_of(program, op)
            except FitError as error:
                refused.append(error)
                continue
            self.synapses[op.w] = EngineSynapses(2 * np.array(program.values[op.w]), scale, seed)
        if not self.synapses:
            raise refused[0]
        self._steps = {section: [self._step(op) for op in ops] for section, ops in program.sections.items()}

    def write(self, tensor: str, values: IntArray) -> None:
        """Set an input or state tensor."""
        self.memory[tensor] = self.check_write(tensor, values).copy()
        if tensor in self.synapses:
            self.synapses[tensor].weights = 2 * self.memory[tensor]

    def read(self, tensor: str) -> IntArray:
        """A tensor; weights that learn in the engine rounded to the Program's LSB."""
        if tensor in self.synapses:
            fmt = self.program.by_name[tensor].format
            return np.asarray(np.clip((self.synapses[tensor].weights + 1) >> 1, fmt.lo, fmt.hi), np.int64)
        return np.asarray(self.memory[tensor], np.int64).reshape(self.program.by_name[tensor].shape)

    def run(self, section: str, first: int = 0, last: int | None = None) -> None:
        """Run a section once."""
        for step in self._steps[section][first:last]:
            step(self.memory)

    def _step(self, op: object) -> Step:
        if isinstance(op, OuterUpdate) and op.w in self.synapses:
            return self._learner(op)
        if isinstance(op, Contract) and op.a in self.synapses and _is_forward(op):
            return self._adder(op)
        return compile_op(op, self.program.by_name)  # type: ignore[arg-type]

    def _adder(self, op: Contract) -> Step:
        """SPEC 5.1 on a sum that the engine's synapses have made, in half LSBs of the weight."""
        synapses, out = self.synapses[op.a], self.program.by_name[op.out]
        sums = Tensor("sums", out.shape, replace(out.format, bits=64, signed=True), Role.SCRATCH, Kind.OTHER)
        one = Tensor("one", (), replace(out.format, bits=2), Role.CONST, Kind.OTHER)
        finish = replace(op, a="sums", b="one", axes="o,->o", shift=op.shift + 1, c_shift=op.c_shift + 1)
        step = compile_op(finish, {**self.program.by_name, "sums": sums, "one": one})

        def add(memory: Memory) -> None:
            x = np.asarray(memory[op.b])
            memory["sums"], memory["one"] = synapses.arrive(x), np.array(1)
            self._seen[op.a] = x, memory["sums"]
            step(memory)

        return add

    def _learner(self, op: OuterUpdate) -> Step:
        """The third factor as two traces, dithered by the lattice, and an epoch's learning."""
        synapses, shift = self.synapses[op.w], self.synapses[op.w].scale.factor_shift
        neurons = np.arange(self.program.by_name[op.s].size)

        def learn(memory: Memory) -> None:
            s = np.asarray(memory[op.s])
            offsets = lattice_offset(0, neurons, int(memory[op.t])) >> (16 - shift) if shift else 0
            y = np.minimum((np.abs(s) + offsets) >> shift, (1 << TRACE_BITS) - 1)
            y1, y2 = np.where(s < 0, y, 0), np.where(s > 0, y, 0)
            self.traces += y.size
            self.nonzero_traces += int(np.count_nonzero(y))
            synapses.learn(y1, y2)
            if op.w == self._record:
                self.epochs.append(Epoch(self._seen[op.w][0], y1, y2, self._seen[op.w][1]))

        return learn


def correlation(start: IntArray, exact: IntArray, engine: IntArray) -> float:
    """Pearson's, of how far two runs have moved every weight of a matrix from one start."""
    moved, its = exact - start, engine - start
    return float(np.corrcoef(moved.reshape(-1), its.reshape(-1))[0, 1]) if moved.std() and its.std() else 0.0
