"""The oracle: every primitive of SPEC 5 in unbounded Python integers, slow and obvious.

It judges the other backends, so it shares no arithmetic with them or with `fixed.py`: rounding, saturation and the
lattice are written once more below, straight from SPEC 2 and 3.  Nothing can overflow here, no tensor shares storage
with another, and a value that does not fit its tensor is an error, whatever the proof said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, cycle, islice, product
from operator import eq, lt, mul
from typing import Any, ClassVar

import numpy as np

from .axes import split_axes
from .errors import ProgramError
from .executor import Executor
from .fixed import Format, IntArray
from .operations import (
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
    Role,
    Rounding,
    Scale,
    Select,
    Tensor,
    Update,
)
from .program import Program

ONE = 1 << 15  # a decision of 1.0 inside the flow (SPEC 5.4)


# --- SPEC 1 to 3: ranges, rounding, the lattice -----------------------------------------------------------------------


def bounds(fmt: Format) -> tuple[int, int]:
    """Smallest and largest raw integer of a format (SPEC 1.1)."""
    return (-(2 ** (fmt.bits - 1)), 2 ** (fmt.bits - 1) - 1) if fmt.signed else (0, 2**fmt.bits - 1)


def saturate(v: int, lo: int, hi: int) -> int:
    """min(max(v, lo), hi) (SPEC 2.1)."""
    return lo if v < lo else hi if v > hi else v


def saturate_all(values: list[int], lo: int, hi: int) -> list[int]:
    """Every value saturated (SPEC 2.1), without a call an element."""
    return [lo if v < lo else hi if v > hi else v for v in values]


def requantise(v: int, shift: int, r: int, lo: int, hi: int) -> int:
    """saturate((v + r) >> shift), or saturate(v << -shift) for shift <= 0, where r plays no part (SPEC 2.2)."""
    return saturate((v + r) >> shift if shift > 0 else v << -shift, lo, hi)


def rounding_term(rounding: Rounding, shift: int, row: int, k: int, t: int) -> int:
    """The r of SPEC 2.2 for element k of the output; 0 where there is nothing to round."""
    if shift <= 0 or rounding is Rounding.FLOOR:
        return 0
    return half(shift) if rounding is Rounding.HALF else scaled_offset(row, k, t, shift)


def half(shift: int) -> int:
    """2^(shift-1), or 0 where nothing is shifted out (SPEC 2.2)."""
    return 1 << (shift - 1) if shift > 0 else 0


def offset(i: int, j: int, t: int) -> int:
    """The 16-bit lattice offset of input i, neuron j, update t (SPEC 3)."""
    return (i * 53685 + j * 43977 + t * 36025) % 65536


def scaled_offset(i: int, j: int, t: int, n: int) -> int:
    """The lattice offset scaled to a shift of n: 0 to 2^n - 1 (SPEC 3)."""
    return offset(i, j, t) << (n - 16) if n >= 16 else offset(i, j, t) >> (16 - n)


def scaled_offsets(count: int, j: int, t: int, n: int) -> list[int]:
    """scaled_offset(i, j, t, n) for i = 0 to count - 1, without a call an element: weights spend their time here."""
    first = offset(0, j, t)
    sums = range(first, first + count * 53685, 53685)  # i * 53685 + first
    return [v % 65536 << (n - 16) for v in sums] if n >= 16 else [v % 65536 >> (16 - n) for v in sums]


def interpolate(x: int, table: Sequence[int], lo: int, width: int) -> int:
    """The y of SPEC 5.3: the table at x, clamped to its domain, linear between entries, rounded half up."""
    last = len(table) - 1
    d = min(max(x - lo, 0), last << width)
    i = min(d >> width, last - 1)
    f = d - (i << width)
    return ((table[i] << width) + (table[i + 1] - table[i]) * f + half(width)) >> width


# --- SPEC 5.1: sums of products ---------------------------------------------------------------------------------------


def sums_of_products(a: Sequence[int], b: Sequence[int], axes: str, extents: dict[str, int]) -> list[int]:
    """For every output element in row-major order, the sum of a*b over the letters missing from the output (SPEC 5.1).

    `extents` gives the length of each letter's axis.
    """
    a_axes, b_axes, out_axes = split_axes(axes)
    if a_axes == out_axes + b_axes:  # a matrix times a vector: whole rows
        return [sum(map(mul, a[k : k + len(b)], b)) for k in range(0, len(a), len(b))]
    if a_axes == b_axes + out_axes:  # a transposed matrix times a vector: whole columns
        columns = len(a) // len(b)
        return [sum(map(mul, a[k::columns], b)) for k in range(columns)]
    summed = "".join(letter for letter in extents if letter not in out_axes)
    out_a, out_b = positions(out_axes, a_axes, extents), positions(out_axes, b_axes, extents)
    sum_a, sum_b = positions(summed, a_axes, extents), positions(summed, b_axes, extents)
    pairs = list(zip(sum_a, sum_b, strict=True))
    return [sum(a[p + r] * b[q + s] for r, s in pairs) for p, q in zip(out_a, out_b, strict=True)]


def positions(letters: str, axes: str, extents: dict[str, int]) -> list[int]:
    """How far into a row-major tensor with these axes each assignment of the letters leads, the last letter fastest."""
    steps, step = {}, 1
    for letter in reversed(axes):
        steps[letter] = step
        step *= extents[letter]
    ranges = (range(extents[letter]) for letter in letters)
    return [
        sum(index * steps.get(letter, 0) for letter, index in zip(letters, indices, strict=True))
        for indices in product(*ranges)
    ]


# --- the executor -----------------------------------------------------------------------------------------------------


class Interpreter(Executor):
    """Runs a Program on flat lists of Python integers, one operation after the other, one element after the other."""

    name: ClassVar[str] = "oracle"

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.memory: dict[str, list[int]] = {
            tensor.name: program.values[tensor.name].reshape(-1).tolist()
            for tensor in program.of_role(Role.CONST, Role.STATE)
        }

    def write(self, tensor: str, values: IntArray) -> None:
        """Set an input or state tensor to raw integers of its shape."""
        self.memory[tensor] = self.check_write(tensor, values).reshape(-1).tolist()

    def read(self, tensor: str) -> IntArray:
        """A copy of the raw integers a tensor holds now.  ProgramError where nothing has been written to it."""
        if tensor not in self.program.by_name:
            raise ProgramError(f"{tensor}: no tensor of this Program")
        return np.array(self._get(tensor), np.int64).reshape(self.program.by_name[tensor].shape)

    def run(self, section: str, first: int = 0, last: int | None = None) -> None:
        """Run a section once, or only its operations first to last - 1 (SPEC 4.2)."""
        if section not in self.program.sections:
            raise ProgramError(f"section {section!r}: this Program has {', '.join(sorted(self.program.sections))}")
        for op in self.program.sections[section][first:last]:
            _METHODS[type(op)](self, op)

    # Memory: the only way in and out of it for the primitives.

    def _get(self, name: str) -> list[int]:
        """The elements of a tensor, row-major."""
        if name not in self.memory:
            raise ProgramError(f"{name}: read before anything was written to it")
        return self.memory[name]

    def _get_scalar(self, name: str | None) -> int:
        """The one element of a tensor without axes; 0 for an operand that is absent."""
        return self._get(name)[0] if name is not None else 0

    def _get_broadcast(self, name: str | None, out: Tensor, absent: int) -> Iterator[int]:
        """Element k mod size for every k of the output (SPEC 4.5)."""
        return islice(cycle(self._get(name) if name is not None else [absent]), out.size)

    def _put(self, name: str, values: list[int]) -> None:
        """Replace a tensor.  The proof says that this fits; the oracle does not take its word."""
        tensor = self.program.by_name[name]
        lo, hi = bounds(tensor.format)
        if len(values) != tensor.size or min(values) < lo or max(values) > hi:
            raise ProgramError(f"{name}: {len(values)} values, {min(values)} to {max(values)}, for {tensor}")
        self.memory[name] = values

    def _put_requantised(self, op: Contract | Scale, sums: Iterator[int]) -> None:
        """Out = requantise(gain * sum + (c << c_shift)): what 5.1 and 5.2 share."""
        out = self.program.by_name[op.out]
        lo, hi = bounds(out.format)
        t = self._get_scalar(op.t)
        values = []
        for k, (v, c) in enumerate(zip(sums, self._get_broadcast(op.c, out, 0), strict=True)):
            r = rounding_term(op.rounding, op.shift, op.row, k, t)
            values.append(requantise(op.gain * v + (c << op.c_shift), op.shift, r, lo, hi))
        self._put(op.out, values)

    # The primitives, in the order of SPEC 5.

    def _contract(self, op: Contract) -> None:
        """SPEC 5.1: shapes by `axes`, each letter one axis; c [suffix of out]."""
        a_axes, b_axes, _ = split_axes(op.axes)
        a, b = self.program.by_name[op.a], self.program.by_name[op.b]
        extents = dict(chain(zip(a_axes, a.shape, strict=True), zip(b_axes, b.shape, strict=True)))
        self._put_requantised(op, iter(sums_of_products(self._get(op.a), self._get(op.b), op.axes, extents)))

    def _scale(self, op: Scale) -> None:
        """SPEC 5.2: a, b and c [suffixes of out]; b absent means 1, c absent means 0."""
        out = self.program.by_name[op.out]
        self._put_requantised(op, map(mul, self._get_broadcast(op.a, out, 0), self._get_broadcast(op.b, out, 1)))

    def _lut(self, op: Lut) -> None:
        """SPEC 5.3: x and out of one shape, table [n]."""
        lo, hi = bounds(self.program.by_name[op.out].format)
        table = self._get(op.table)
        ys = [interpolate(x, table, op.lo, op.width) for x in self._get(op.x)]
        self._put(op.out, [requantise(y, op.shift, half(op.shift), lo, hi) for y in ys])

    def _flow(self, op: Flow) -> None:
        """SPEC 5.4: z, mean, drive, factor and decision [neurons]; table [n]; gain, t and entropy scalars."""
        table, gain, t = self._get(op.table), self._get_scalar(op.gain), self._get_scalar(op.t)
        z = self._get(op.z)
        means = self._get(op.mean) if op.mean is not None else [0] * len(z)
        drives = self._get(op.drive) if op.drive is not None else [0] * len(z)
        z_format = self.program.by_name[op.z].format
        factor_lo, factor_hi = bounds(self.program.by_name[op.factor].format)
        decision_lo, decision_hi = bounds(self.program.by_name[op.decision].format)
        factors, decisions, entropy = [], [], 0
        for j, (zj, m, d) in enumerate(zip(z, means, drives, strict=True)):
            s, e, d_first, d_last = flow_of_neuron(op, z_format, table, zj, m, d)
            r = rounding_term(Rounding.LATTICE, op.shift, op.row, j, t)
            factors.append(requantise(s * gain, op.shift, r, factor_lo, factor_hi))
            emitted = d_first if op.emit_first else d_last
            shift = op.decision_shift
            decisions.append(requantise(emitted, shift, half(shift), decision_lo, decision_hi))
            entropy += e
        self._put(op.factor, factors)
        self._put(op.decision, decisions)
        self._put(op.entropy, [entropy])

    def _outer_update(self, op: OuterUpdate) -> None:
        """SPEC 5.5: s has the first axes of w, x the last ones, t scalar."""
        w, s_of, x, t, shift = self._get(op.w), self._get(op.s), self._get(op.x), self._get_scalar(op.t), op.shift
        lo, hi = bounds(self.program.by_name[op.w].format)
        n = len(w) // len(s_of)
        learnt: list[int] = []
        for j, s in enumerate(s_of):
            row = w[j * n : (j + 1) * n]
            from_x = j * n % len(x)
            inputs = x[from_x : from_x + n]
            if op.towards:
                inputs = [(v << op.x_shift) - (q << op.w_shift) for v, q in zip(inputs, row, strict=True)]
            offsets = scaled_offsets(n, j, t, shift)
            moved = [q + ((s * v + r) >> shift) for q, v, r in zip(row, inputs, offsets, strict=True)]
            learnt += saturate_all(moved, lo, hi)
        self._put(op.w, learnt)

    def _update(self, op: Update) -> None:
        """SPEC 5.6: p and v of one shape of at most two axes, t scalar."""
        p, v, t, shift = self._get(op.p), self._get(op.v), self._get_scalar(op.t), op.shift
        lo, hi = bounds(self.program.by_name[op.p].format)
        shape = self.program.by_name[op.p].shape
        if len(shape) == 2:
            indices = [(i, j) for j in range(shape[0]) for i in range(shape[1])]
        else:
            indices = [(op.row, k) for k in range(len(p))]
        offsets = [scaled_offset(i, j, t, shift) for i, j in indices]
        moved = [q + (((u << op.v_shift) + r) >> shift) for q, u, r in zip(p, v, offsets, strict=True)]
        self._put(op.p, saturate_all(moved, lo, hi))

    def _lattice(self, op: Lattice) -> None:
        """SPEC 5.7: out [inputs], t scalar."""
        t = self._get_scalar(op.t)
        self._put(op.out, [offset(i, op.neuron, t) for i in range(self.program.by_name[op.out].size)])

    def _gather(self, op: Gather) -> None:
        """SPEC 5.8: index and out of one shape, a of any."""
        a = self._get(op.a)
        self._put(op.out, [a[k] for k in self._get(op.index)])

    def _pool(self, op: Pool) -> None:
        """SPEC 5.9: windows [shape of out, p], a of any shape."""
        a, windows = self._get(op.a), self._get(op.windows)
        p = self.program.by_name[op.windows].shape[-1]
        self._put(op.out, [max(a[k] for k in windows[start : start + p]) for start in range(0, len(windows), p)])

    def _select(self, op: Select) -> None:
        """SPEC 5.10: p, q, a and b [suffixes of out]."""
        out = self.program.by_name[op.out]
        relation = {"eq": eq, "lt": lt}[op.relation]
        operands = (self._get_broadcast(name, out, 0) for name in (op.p, op.q, op.a, op.b))
        self._put(op.out, [a if relation(p, q) else b for p, q, a, b in zip(*operands, strict=True)])

    def _arg(self, op: Arg) -> None:
        """SPEC 5.11: a [shape of out, n]; list.index finds the first of equals."""
        a, best = self._get(op.a), max if op.largest else min
        n = self.program.by_name[op.a].shape[-1]
        rows = [a[start : start + n] for start in range(0, len(a), n)]
        self._put(op.out, [row.index(best(row)) for row in rows])

    def _advance(self, op: Advance) -> None:
        """SPEC 5.12: t scalar."""
        bits = self.program.by_name[op.t].format.bits
        self._put(op.t, [(self._get_scalar(op.t) + 1) % 2**bits])


def flow_of_neuron(
    op: Flow, z_format: Format, table: Sequence[int], z: int, m: int, d: int
) -> tuple[int, int, int, int]:
    """The loop of SPEC 5.4 for one neuron: S, E, D0 and the last Dp.  Names are the SPEC's in lower case."""
    f, g = -z_format.exponent, op.guard
    z_lo, z_hi = bounds(z_format)
    y_lo, y_hi = z_lo << g, (z_hi << g) + (1 << g) - 1
    y, s, e = z << g, 0, 0
    d_first = d_previous = interpolate(z, table, op.lo, op.width)
    for _ in range(op.steps):
        q = saturate((y + half(g)) >> g, z_lo, z_hi)
        d_now = interpolate(q, table, op.lo, op.width)
        p = (d_now * (ONE - d_now) + half(15)) >> 15
        drift = ((q - m) * p + ((d_now - d_previous) << f)) >> op.entropy_shift
        v = (drift - d * p + half(f)) >> f
        s += v
        e -= q * (d_now - d_previous)
        y = saturate(y + ((v * op.rate + half(op.rate_shift)) >> op.rate_shift), y_lo, y_hi)
        d_previous = d_now
    return s, e, d_first, d_previous


_METHODS: dict[type[Op], Callable[[Interpreter, Any], None]] = {
    Contract: Interpreter._contract,
    Scale: Interpreter._scale,
    Lut: Interpreter._lut,
    Flow: Interpreter._flow,
    OuterUpdate: Interpreter._outer_update,
    Update: Interpreter._update,
    Lattice: Interpreter._lattice,
    Gather: Interpreter._gather,
    Pool: Interpreter._pool,
    Select: Interpreter._select,
    Arg: Interpreter._arg,
    Advance: Interpreter._advance,
}
