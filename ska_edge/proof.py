"""The range proof: no accumulator of a Program can overflow, whatever it learns (SPEC 4.4).

Interval arithmetic in Python integers.  Constants enter with their values, inputs and state with their whole format,
so the proof holds for every sample and every state, and costs microseconds an operation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from .errors import ProgramError
from .operations import (
    Advance,
    Arg,
    Contract,
    Draft,
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
from .wellformed import split_axes

Range: TypeAlias = "tuple[int, int]"
ONE = 1 << 15


@dataclass(frozen=True)
class Bound:
    """What is proved of one operation.

    `lo`, `hi`: value before saturation, in raw units of the tensor written; `need_bits`: signed bits its widest
    intermediate takes; `acc_bits`: what it may take; `saturates`: whether saturation can be reached at all.
    """

    section: str
    position: int
    op: Op
    tensor: str
    lo: int
    hi: int
    need_bits: int
    acc_bits: int
    saturates: bool

    @property
    def margin_bits(self) -> int:
        """Unused accumulator bits."""
        return self.acc_bits - self.need_bits


def prove(program: Draft) -> tuple[Bound, ...]:
    """Bound every operation of every section; ProgramError names the first that could overflow."""
    bounds: list[Bound] = []
    for section, ops in program.sections.items():
        ranges = {tensor.name: _declared(program, tensor) for tensor in program.tensors}
        for position, op in enumerate(ops):
            tensor, value, need, allowed = _RULES[type(op)](program, ranges, op)
            declared = program.by_name[tensor].format
            bound = Bound(
                section, position, op, tensor, *value, need, allowed, value[0] < declared.lo or value[1] > declared.hi
            )
            where = f"{section}[{position}] {op.verb} -> {tensor}"
            if bound.margin_bits < 0:
                raise ProgramError(
                    f"{where}: the accumulator needs {need} bits, {allowed} are allowed; narrow a format, "
                    "split the layer or raise the shift before it"
                )
            if bound.saturates and isinstance(op, Select | Gather | Pool | Lattice | Arg):
                raise ProgramError(f"{where}: values {value[0]} to {value[1]} do not fit {declared}")
            bounds.append(bound)
            if program.by_name[tensor].role in (Role.SCRATCH, Role.OUTPUT):
                ranges[tensor] = (max(value[0], declared.lo), min(value[1], declared.hi))
            if isinstance(op, Flow):
                ranges[op.decision] = _flow_decision(program, op)
    return tuple(bounds)


def bits_of(*values: int) -> int:
    """Signed bits that hold all the values.

    >>> bits_of(127, -128), bits_of(128), bits_of(0)
    (8, 9, 1)
    """
    return max((value if value >= 0 else ~value).bit_length() for value in values) + 1


def _declared(program: Draft, tensor: Tensor) -> Range:
    if tensor.role is Role.CONST:
        values = program.values[tensor.name]
        return int(values.min()), int(values.max())
    return tensor.format.lo, tensor.format.hi


def _times(x: Range, y: Range) -> Range:
    products = [a * b for a in x for b in y]
    return min(products), max(products)


def _plus(x: Range, y: Range) -> Range:
    return x[0] + y[0], x[1] + y[1]


def _hull(*ranges: Range) -> Range:
    return min(r[0] for r in ranges), max(r[1] for r in ranges)


def _with_zero(x: Range) -> Range:
    return min(x[0], 0), max(x[1], 0)


def _shifted(x: Range, shift: int) -> Range:
    return (x[0] >> shift, x[1] >> shift) if shift >= 0 else (x[0] << -shift, x[1] << -shift)


def _rounding(shift: int, rounding: Rounding) -> Range:
    if shift <= 0 or rounding is Rounding.FLOOR:
        return 0, 0
    if rounding is Rounding.HALF:
        return 1 << (shift - 1), 1 << (shift - 1)
    return 0, (1 << shift) - 1


_Result: TypeAlias = "tuple[str, Range, int, int]"


def _sum(program: Draft, ranges: dict[str, Range], op: Contract | Scale, product: Range) -> _Result:
    scaled = _times(product, (op.gain, op.gain))
    carried = ranges[op.c] if op.c else (0, 0)
    biased = _plus(scaled, _shifted(carried, -op.c_shift))
    rounded = _plus(biased, _rounding(op.shift, op.rounding))
    value = _shifted(rounded, op.shift)
    # partial sums of a contraction start at zero and may be taken in any order
    widest = [*_with_zero(product), *_with_zero(scaled), *_shifted(carried, -op.c_shift), *biased, *rounded]
    if op.shift < 0:
        widest += value
    return op.out, value, bits_of(*widest), op.acc_bits


def _contract(program: Draft, ranges: dict[str, Range], op: Contract) -> _Result:
    a_axes, b_axes, out_axes = split_axes(op.axes)
    extents = dict(zip(a_axes, program.by_name[op.a].shape, strict=True))
    extents.update(zip(b_axes, program.by_name[op.b].shape, strict=True))
    terms = 1
    for axis, extent in extents.items():
        terms *= 1 if axis in out_axes else extent
    product = _times(ranges[op.a], ranges[op.b])
    if op.a == op.b and a_axes == b_axes:
        product = max(product[0], 0), product[1]
    total = (min(product[0] * terms, product[0]), max(product[1] * terms, product[1]))
    return _sum(program, ranges, op, total)


def _scale(program: Draft, ranges: dict[str, Range], op: Scale) -> _Result:
    product = _times(ranges[op.a], ranges[op.b]) if op.b else ranges[op.a]
    return _sum(program, ranges, op, product)


def _lut(program: Draft, ranges: dict[str, Range], op: Lut) -> _Result:
    table = program.values[op.table]
    steepest = max(abs(int(b) - int(a)) for a, b in zip(table[:-1], table[1:], strict=True))
    largest = max(abs(int(table.min())), abs(int(table.max())))
    domain = _plus(ranges[op.x], (-op.lo, -op.lo))
    need = bits_of(((largest + steepest + 1) << op.width), *domain, (len(table) - 1) << op.width)
    value = (int(table.min()), int(table.max()))
    if op.shift:
        value = _shifted(_plus(value, _rounding(op.shift, Rounding.HALF)), op.shift)
    return op.out, value, need, 64


def _flow_decision(program: Draft, op: Flow) -> Range:
    table = program.values[op.table]
    value = (int(table.min()), int(table.max()))
    if op.decision_shift:
        value = _shifted(_plus(value, _rounding(op.decision_shift, Rounding.HALF)), op.decision_shift)
    declared = program.by_name[op.decision].format
    return max(value[0], declared.lo), min(value[1], declared.hi)


def _flow(program: Draft, ranges: dict[str, Range], op: Flow) -> _Result:
    z = program.by_name[op.z].format
    fraction = -z.exponent
    q = (z.lo, z.hi)  # the flow may take z anywhere in its format
    table = program.values[op.table]
    decisions = (int(table.min()), int(table.max()))
    steepest = max(abs(int(b) - int(a)) for a, b in zip(table[:-1], table[1:], strict=True))
    domain = (q[0] - op.lo, q[1] - op.lo, (len(table) - 1) << op.width)
    lookup = bits_of((decisions[1] + steepest + 1) << op.width, *domain)
    shift_in_decision = (decisions[0] - decisions[1], decisions[1] - decisions[0])
    slope = (0, (ONE * ONE // 4 + (1 << 14)) >> 15)  # D(1-D) <= 1/4
    mean = ranges[op.mean] if op.mean else (0, 0)
    drive = ranges[op.drive] if op.drive else (0, 0)
    own = _plus(_times(_plus(q, (-mean[1], -mean[0])), slope), _shifted(shift_in_decision, -fraction))
    pulled = _plus(_shifted(own, op.entropy_shift), _times((-drive[1], -drive[0]), slope))
    rounded = _plus(pulled, (1 << (fraction - 1),) * 2)
    v = _shifted(rounded, fraction)
    step = _plus(_times(v, (op.rate, op.rate)), (1 << (op.rate_shift - 1),) * 2)
    y = (z.lo << op.guard, (z.hi << op.guard) + (1 << op.guard) - 1)
    moved = _plus(y, _shifted(step, op.rate_shift))
    total = _times(v, (op.steps, op.steps))
    half = 1 << (op.guard - 1)
    narrow = bits_of(*own, *rounded, *step, *moved, *_with_zero(total), y[0] + half, y[1] + half)
    if max(narrow, lookup) > 32:
        return op.factor, (0, 0), max(narrow, lookup), 32
    entropy = _times(_times(q, shift_in_decision), (op.steps * program.by_name[op.z].size,) * 2)
    factor = _plus(_times(_with_zero(total), ranges[op.gain]), _rounding(op.shift, Rounding.LATTICE))
    return op.factor, _shifted(factor, op.shift), bits_of(*factor, *entropy), 64


def _outer_update(program: Draft, ranges: dict[str, Range], op: OuterUpdate) -> _Result:
    product = _times(ranges[op.s], ranges[op.x])
    rounded = _plus(product, _rounding(op.shift, Rounding.LATTICE))
    value = _plus(ranges[op.w], _shifted(rounded, op.shift))
    return op.w, value, bits_of(*product, *rounded, *value), 64


def _update(program: Draft, ranges: dict[str, Range], op: Update) -> _Result:
    carried = _shifted(ranges[op.v], -op.v_shift)
    rounded = _plus(carried, _rounding(op.shift, Rounding.LATTICE))
    value = _plus(ranges[op.p], _shifted(rounded, op.shift))
    return op.p, value, bits_of(*carried, *rounded, *value), 64


def _lattice(program: Draft, ranges: dict[str, Range], op: Lattice) -> _Result:
    return op.out, (0, 0xFFFF), 17, 32


def _gather(program: Draft, ranges: dict[str, Range], op: Gather | Pool) -> _Result:
    return op.out, ranges[op.a], bits_of(*ranges[op.a]), 64


def _select(program: Draft, ranges: dict[str, Range], op: Select) -> _Result:
    value = _hull(ranges[op.a], ranges[op.b])
    return op.out, value, bits_of(*value, *ranges[op.p], *ranges[op.q]), 64


def _arg(program: Draft, ranges: dict[str, Range], op: Arg) -> _Result:
    last = program.by_name[op.a].shape[-1] - 1
    return op.out, (0, last), bits_of(*ranges[op.a], last), 64


def _advance(program: Draft, ranges: dict[str, Range], op: Advance) -> _Result:
    return op.t, ranges[op.t], bits_of(ranges[op.t][1] + 1), 64


_RULES: dict[type[Op], Callable[..., _Result]] = {
    Contract: _contract,
    Scale: _scale,
    Lut: _lut,
    Flow: _flow,
    OuterUpdate: _outer_update,
    Update: _update,
    Lattice: _lattice,
    Gather: _gather,
    Pool: _gather,
    Select: _select,
    Arg: _arg,
    Advance: _advance,
}
