"""The twelve primitives in NumPy, for Lava's processes: SPEC 2, 3 and 5 written a third time.

Nothing here is shared with the oracle or the compiled core; if it were, equality would prove nothing.  The range proof
says that every intermediate fits int64.  Each operation becomes one function on a part's memory, its constants worked
out beforehand: a sample of a small network passes through some fifty of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ...fixed import Format, IntArray
from ...operations import (
    Advance,
    Arg,
    Contract,
    Flow,
    Gather,
    Lattice,
    Lut,
    Op,
    OuterUpdate,
    Pool,
    Rounding,
    Scale,
    Select,
    Tensor,
    Update,
)

Memory: TypeAlias = "dict[str, IntArray]"
Step: TypeAlias = "Callable[[Memory], None]"
_Requantise: TypeAlias = "Callable[[Any, Memory], IntArray]"
_PER_INPUT, _PER_NEURON, _PER_UPDATE, _MASK = 53685, 43977, 36025, 0xFFFF  # SPEC 3


def compile_op(op: Op, tensors: Mapping[str, Tensor]) -> Step:
    """One operation as a function that reads and replaces tensors of a memory."""
    return _COMPILERS[type(op)](op, tensors)


# --- SPEC 2 and 3: rounding -------------------------------------------------------------------------------------------


def _limit(fmt: Format) -> Callable[[Any], Any]:
    """Saturation (SPEC 2.1)."""
    lo, hi = fmt.lo, fmt.hi

    def limit(v: Any) -> Any:
        return np.minimum(np.maximum(v, lo), hi)

    return limit


def _nearest(shift: int) -> int:
    """What `half` adds before a shift (SPEC 2.2)."""
    return 1 << shift >> 1 if shift > 0 else 0


def _dither(phases: Any, shift: int) -> Callable[[Any], Any]:
    """Offsets scaled to a shift, for the elements whose share of i and j is `phases` (SPEC 3)."""

    def offsets(t: Any) -> Any:
        raw = (phases + t * _PER_UPDATE) & _MASK
        return raw << (shift - 16) if shift >= 16 else raw >> (16 - shift)

    return offsets


def _along(row: int, out: Tensor) -> Any:
    """Shares of i = row and j = flat index (SPEC 2.2, 5.6)."""
    return (row * _PER_INPUT + np.arange(out.size, dtype=np.int64) * _PER_NEURON).reshape(out.shape)


def _over(shape: tuple[int, ...], neurons: int) -> Any:
    """Shares of i and j where every neuron has a row of inputs (SPEC 5.5, 5.6)."""
    j, i = np.ogrid[:neurons, : math.prod(shape) // neurons]
    return (i.astype(np.int64) * _PER_INPUT + j.astype(np.int64) * _PER_NEURON).reshape(shape)


def _requantiser(op: Contract | Scale, out: Tensor) -> _Requantise:
    """Saturate((v + r) >> shift) with the operation's rounding (SPEC 2.2)."""
    limit, shift, name = _limit(out.format), op.shift, op.t
    if shift <= 0:
        return lambda v, memory: limit(v << -shift)
    if op.rounding is Rounding.LATTICE and name is not None:
        offsets, counter = _dither(_along(op.row, out), shift), name
        return lambda v, memory: limit((v + offsets(memory[counter])) >> shift)
    r = _nearest(shift) if op.rounding is Rounding.HALF else 0
    return lambda v, memory: limit((v + r) >> shift)


def _finish(op: Contract | Scale, tensors: Mapping[str, Tensor]) -> Callable[[Any, Memory], None]:
    """What 5.1 and 5.2 share: gain, the added operand, requantisation."""
    out, gain, c, c_shift = tensors[op.out], op.gain, op.c, op.c_shift
    requantise, name, shape = _requantiser(op, out), op.out, out.shape

    def finish(v: Any, memory: Memory) -> None:
        if gain != 1:
            v = v * gain
        if c is not None:
            v = v + (memory[c] << c_shift)
        v = requantise(v, memory)
        memory[name] = v if v.shape == shape else np.broadcast_to(v, shape)

    return finish


# --- SPEC 5 -----------------------------------------------------------------------------------------------------------


def _contract(op: Contract, tensors: Mapping[str, Tensor]) -> Step:
    """SPEC 5.1."""
    finish, a, b, axes = _finish(op, tensors), op.a, op.b, op.axes
    operands, _, result = axes.partition("->")
    a_axes, _, b_axes = operands.partition(",")
    if a_axes == result + b_axes:  # a matrix times a vector

        def matrix(memory: Memory) -> None:
            finish(np.dot(memory[a].reshape(-1, memory[b].size), memory[b].reshape(-1)).reshape(shape), memory)

        shape = tensors[op.out].shape
        return matrix
    return lambda memory: finish(np.einsum(axes, memory[a], memory[b]), memory)


def _scale(op: Scale, tensors: Mapping[str, Tensor]) -> Step:
    """SPEC 5.2."""
    finish, a, b = _finish(op, tensors), op.a, op.b
    if b is None:
        return lambda memory: finish(memory[a], memory)
    return lambda memory: finish(memory[a] * memory[b], memory)


def _interpolator(lo: int, width: int) -> Callable[[Any, IntArray], Any]:
    """The y of SPEC 5.3."""
    r = _nearest(width)

    def interpolate(x: Any, table: IntArray) -> Any:
        d = np.minimum(np.maximum(x - lo, 0), (len(table) - 1) << width)
        i = np.minimum(d >> width, len(table) - 2)
        left = table[i]
        return ((left << width) + (table[i + 1] - left) * (d - (i << width)) + r) >> width

    return interpolate


@dataclass
class _Everywhere:
    """A function of one tensor and a constant table, worked out for every value of at most 16 bits at the first call.

    What a core with a look-up table does; wider tensors are worked out as they come.
    """

    fmt: Format
    function: Callable[[Any, IntArray], Any]
    values: IntArray | None = None

    def __call__(self, x: Any, table: IntArray) -> Any:
        if self.fmt.bits > 16:
            return self.function(x, table)
        if self.values is None:
            self.values = np.asarray(self.function(np.arange(self.fmt.lo, self.fmt.hi + 1, dtype=np.int64), table))
        return self.values.take(x - self.fmt.lo if self.fmt.lo else x)


def _lut(op: Lut, tensors: Mapping[str, Tensor]) -> Step:
    """SPEC 5.3."""
    interpolate, limit = _interpolator(op.lo, op.width), _limit(tensors[op.out].format)
    out, x, table, shift, r = op.out, op.x, op.table, op.shift, _nearest(op.shift)
    look_up = _Everywhere(tensors[x].format, lambda q, entries: limit((interpolate(q, entries) + r) >> shift))

    def lut(memory: Memory) -> None:
        memory[out] = look_up(memory[x], memory[table])

    return lut


def _flow(op: Flow, tensors: Mapping[str, Tensor]) -> Step:
    """SPEC 5.4.  y never falls below zlo << G, so that of q's two bounds only the upper one can be met."""
    z_tensor = tensors[op.z]
    fmt, g, rate, rate_shift = z_tensor.format, op.guard, op.rate, op.rate_shift
    f, one, highest_z = -fmt.exponent, 1 << 15, fmt.hi
    lowest, highest = fmt.lo << g, (fmt.hi << g) + (1 << g) - 1
    half_g, half_f, half_rate = 1 << g >> 1, 1 << f >> 1, 1 << rate_shift >> 1
    limit_s, limit_d = (_limit(tensors[name].format) for name in (op.factor, op.decision))
    offsets = _dither(_along(op.row, z_tensor), op.shift)
    interpolate = _interpolator(op.lo, op.width)

    def slope_of(q: Any, table: IntArray) -> Any:
        d = interpolate(q, table)
        return (d * (one - d) + (1 << 14)) >> 15

    decide, slope_at = _Everywhere(fmt, interpolate), _Everywhere(fmt, slope_of)

    def flow(memory: Memory) -> None:
        z, table = memory[op.z], memory[op.table]
        m = memory[op.mean] if op.mean is not None else None
        d = memory[op.drive] if op.drive is not None else None
        y = z << g
        total = np.zeros_like(z)
        entropy = 0
        first = before = decide(z, table)
        for _ in range(op.steps):
            q = np.minimum((y + half_g) >> g, highest_z)
            now = decide(q, table)
            slope = slope_at(q, table)
            moved = now - before
            pull = ((q if m is None else q - m) * slope + (moved << f)) >> op.entropy_shift
            v = ((pull if d is None else pull - d * slope) + half_f) >> f
            total += v
            entropy -= int(np.vdot(q, moved))
            y = np.minimum(np.maximum(y + ((v * rate + half_rate) >> rate_shift), lowest), highest)
            before = now
        left = total * memory[op.gain]
        memory[op.factor] = limit_s((left + offsets(memory[op.t])) >> op.shift if op.shift else left)
        emitted = first if op.emit_first else before
        memory[op.decision] = limit_d((emitted + _nearest(op.decision_shift)) >> op.decision_shift)
        memory[op.entropy] = np.array(entropy, np.int64)

    return flow


def _outer_update(op: OuterUpdate, tensors: Mapping[str, Tensor]) -> Step:
    """SPEC 5.5: s meets the first axes of w, x its last ones."""
    tensor, neurons = tensors[op.w], tensors[op.s]
    limit, offsets = _limit(tensor.format), _dither(_over(tensor.shape, neurons.size), op.shift)
    ahead = (*neurons.shape, *(1 for _ in tensor.shape[len(neurons.shape) :]))
    w, s, x, t, shift, x_shift, w_shift = op.w, op.s, op.x, op.t, op.shift, op.x_shift, op.w_shift

    def outer_update(memory: Memory) -> None:
        moved = memory[s].reshape(ahead) * memory[x] + offsets(memory[t])
        memory[w] = limit(memory[w] + (moved >> shift))

    def towards(memory: Memory) -> None:
        away = (memory[x] << x_shift) - (memory[w] << w_shift)
        moved = memory[s].reshape(ahead) * away + offsets(memory[t])
        memory[w] = limit(memory[w] + (moved >> shift))

    return towards if op.towards else outer_update


def _update(op: Update, tensors: Mapping[str, Tensor]) -> Step:
    """SPEC 5.6."""
    tensor = tensors[op.p]
    phases = _over(tensor.shape, tensor.shape[0]) if len(tensor.shape) == 2 else _along(op.row, tensor)
    limit, offsets = _limit(tensor.format), _dither(phases, op.shift)
    p, v, t, shift, v_shift = op.p, op.v, op.t, op.shift, op.v_shift

    def update(memory: Memory) -> None:
        memory[p] = limit(memory[p] + (((memory[v] << v_shift) + offsets(memory[t])) >> shift))

    return update


def _lattice(op: Lattice, tensors: Mapping[str, Tensor]) -> Step:
    """SPEC 5.7."""
    phases = np.arange(tensors[op.out].size, dtype=np.int64) * _PER_INPUT + op.neuron * _PER_NEURON
    offsets = _dither(phases, 16)

    def lattice(memory: Memory) -> None:
        memory[op.out] = offsets(memory[op.t])

    return lattice


def _gather(op: Gather, tensors: Mapping[str, Tensor]) -> Step:
    """SPEC 5.8."""

    def gather(memory: Memory) -> None:
        memory[op.out] = memory[op.a].take(memory[op.index])

    return gather


def _pool(op: Pool, tensors: Mapping[str, Tensor]) -> Step:
    """SPEC 5.9."""

    def pool(memory: Memory) -> None:
        memory[op.out] = memory[op.a].take(memory[op.windows]).max(axis=-1)

    return pool


def _select(op: Select, tensors: Mapping[str, Tensor]) -> Step:
    """SPEC 5.10."""
    compare = np.equal if op.relation == "eq" else np.less
    shape = tensors[op.out].shape

    def select(memory: Memory) -> None:
        chosen = np.where(compare(memory[op.p], memory[op.q]), memory[op.a], memory[op.b])
        memory[op.out] = np.broadcast_to(chosen, shape)

    return select


def _arg(op: Arg, tensors: Mapping[str, Tensor]) -> Step:
    """SPEC 5.11: NumPy's argmax and argmin find the first of equals."""

    def arg(memory: Memory) -> None:
        a = memory[op.a]
        memory[op.out] = np.asarray(a.argmax(axis=-1) if op.largest else a.argmin(axis=-1), np.int64)

    return arg


def _advance(op: Advance, tensors: Mapping[str, Tensor]) -> Step:
    """SPEC 5.12."""
    mask = (1 << tensors[op.t].format.bits) - 1

    def advance(memory: Memory) -> None:
        memory[op.t] = (memory[op.t] + 1) & mask

    return advance


_COMPILERS: dict[type[Op], Callable[[Any, Mapping[str, Tensor]], Step]] = {
    Contract: _contract,
    Scale: _scale,
    Lut: _lut,
    Flow: _flow,
    OuterUpdate: _outer_update,
    Update: _update,
    Lattice: _lattice,
    Gather: _gather,
    Pool: _pool,
    Select: _select,
    Arg: _arg,
    Advance: _advance,
}
