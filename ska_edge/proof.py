"""The range proof: no accumulator of a Program can overflow, whatever it learns (SPEC 4.4).

Interval arithmetic in Python integers.  Constants enter with their values, inputs and state with their whole format,
so the proof holds for every sample and every state, and costs microseconds an operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from .axes import split_axes
from .errors import ProgramError
from .fixed import Format
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


@dataclass(frozen=True)
class _Facts:
    """What is known before an operation: ranges of all tensors, and the steepest step of every possible table."""

    program: Draft
    ranges: dict[str, Range]
    slopes: Mapping[str, int]


def prove(program: Draft) -> tuple[Bound, ...]:
    """Bound every operation of every section; ProgramError names the first that could overflow."""
    bounds: list[Bound] = []
    slopes = {
        tensor.name: int(np.abs(np.diff(program.values[tensor.name])).max())
        for tensor in program.of_role(Role.CONST)
        if len(tensor.shape) == 1 and tensor.size >= 2
    }
    declared = {tensor.name: _declared(program, tensor) for tensor in program.tensors}
    for section, ops in program.sections.items():
        facts = _Facts(program, dict(declared), slopes)
        for position, op in enumerate(ops):
            bounds.append(_bound(facts, section, position, op))
    return tuple(bounds)


def _bound(facts: _Facts, section: str, position: int, op: Op) -> Bound:
    """Bound one operation and note what it leaves in the tensors it writes."""
    tensor, value, need, allowed = _RULES[type(op)](facts, op)
    fmt = facts.program.by_name[tensor].format
    beyond = value[0] < fmt.lo or value[1] > fmt.hi
    bound = Bound(section, position, op, tensor, *value, need, allowed, beyond)
    where = f"{section}[{position}] {op.verb} -> {tensor}"
    if bound.margin_bits < 0:
        raise ProgramError(
            f"{where}: the accumulator needs {need} bits, {allowed} are allowed; narrow a format, "
            "split the layer or raise the shift before it"
        )
    if beyond and isinstance(op, Select | Gather | Pool | Lattice | Arg):
        raise ProgramError(f"{where}: values {value[0]} to {value[1]} do not fit {fmt}")
    left = {tensor: value}
    if isinstance(op, Flow):
        left |= {op.decision: _flow_decision(facts, op), op.entropy: _flow_entropy(facts, op)}
    for name, span in left.items():
        declared = facts.program.by_name[name]
        if declared.role in (Role.SCRATCH, Role.OUTPUT):
            facts.ranges[name] = _clamped(span, declared.format)
    return bound


def _clamped(span: Range, fmt: Format) -> Range:
    return min(max(span[0], fmt.lo), fmt.hi), min(max(span[1], fmt.lo), fmt.hi)


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


def _sum(facts: _Facts, op: Contract | Scale, product: Range) -> _Result:
    scaled = _times(product, (op.gain, op.gain))
    carried = facts.ranges[op.c] if op.c else (0, 0)
    biased = _plus(scaled, _shifted(carried, -op.c_shift))
    rounded = _plus(biased, _rounding(op.shift, op.rounding))
    value = _shifted(rounded, op.shift)
    # partial sums of a contraction start at zero and may be taken in any order
    widest = [*_with_zero(product), *_with_zero(scaled), *_shifted(carried, -op.c_shift), *biased, *rounded]
    if op.shift < 0:
        widest += value
    return op.out, value, bits_of(*widest), op.acc_bits


def _contract(facts: _Facts, op: Contract) -> _Result:
    a_axes, b_axes, out_axes = split_axes(op.axes)
    extents = dict(zip(a_axes, facts.program.by_name[op.a].shape, strict=True))
    extents.update(zip(b_axes, facts.program.by_name[op.b].shape, strict=True))
    terms = 1
    for axis, extent in extents.items():
        terms *= 1 if axis in out_axes else extent
    product = _times(facts.ranges[op.a], facts.ranges[op.b])
    if op.a == op.b and a_axes == b_axes:
        product = max(product[0], 0), product[1]
    total = (min(product[0] * terms, product[0]), max(product[1] * terms, product[1]))
    return _sum(facts, op, total)


def _scale(facts: _Facts, op: Scale) -> _Result:
    product = _times(facts.ranges[op.a], facts.ranges[op.b]) if op.b else facts.ranges[op.a]
    return _sum(facts, op, product)


def _lut(facts: _Facts, op: Lut) -> _Result:
    table = facts.program.values[op.table]
    steepest = facts.slopes[op.table]
    largest = max(abs(int(table.min())), abs(int(table.max())))
    domain = _plus(facts.ranges[op.x], (-op.lo, -op.lo))
    need = bits_of(((largest + steepest + 1) << op.width), *domain, (len(table) - 1) << op.width)
    rounded = _plus((int(table.min()), int(table.max())), _rounding(op.shift, Rounding.HALF))
    return op.out, _shifted(rounded, op.shift), max(need, bits_of(*rounded)), 64


def _flow_decision(facts: _Facts, op: Flow) -> Range:
    table = facts.program.values[op.table]
    value = (int(table.min()), int(table.max()))
    if op.decision_shift:
        value = _shifted(_plus(value, _rounding(op.decision_shift, Rounding.HALF)), op.decision_shift)
    return value


def _flow_entropy(facts: _Facts, op: Flow) -> Range:
    z, table = facts.program.by_name[op.z], facts.program.values[op.table]
    furthest = int(table.max()) - int(table.min())
    return _times(_times((z.format.lo, z.format.hi), (-furthest, furthest)), (op.steps * z.size,) * 2)


def _flow(facts: _Facts, op: Flow) -> _Result:
    z = facts.program.by_name[op.z].format
    fraction = -z.exponent
    q = (z.lo, z.hi)  # the flow may take z anywhere in its format
    table = facts.program.values[op.table]
    decisions = (int(table.min()), int(table.max()))
    steepest = facts.slopes[op.table]
    domain = (q[0] - op.lo, q[1] - op.lo, (len(table) - 1) << op.width)
    lookup = bits_of((decisions[1] + steepest + 1) << op.width, *domain)
    shift_in_decision = (decisions[0] - decisions[1], decisions[1] - decisions[0])
    slope = (0, (ONE * ONE // 4 + (1 << 14)) >> 15)  # D(1-D) <= 1/4
    mean = facts.ranges[op.mean] if op.mean else (0, 0)
    drive = facts.ranges[op.drive] if op.drive else (0, 0)
    measured = _plus(q, (-mean[1], -mean[0]))
    sloped, shifted, pull = _times(measured, slope), _shifted(shift_in_decision, -fraction), _times(drive, slope)
    own = _plus(sloped, shifted)
    pulled = _plus(_shifted(own, op.entropy_shift), (-pull[1], -pull[0]))
    rounded = _plus(pulled, (1 << (fraction - 1),) * 2)
    v = _shifted(rounded, fraction)
    rated = _times(v, (op.rate, op.rate))
    step = _plus(rated, (1 << (op.rate_shift - 1),) * 2)
    y = (z.lo << op.guard, (z.hi << op.guard) + (1 << op.guard) - 1)
    moved = _plus(y, _shifted(step, op.rate_shift))
    total = _times(v, (op.steps, op.steps))
    half = 1 << (op.guard - 1)
    steepest_slope = ONE * ONE // 4 + (1 << 14)  # D (ONE - D) + 2^14
    spans = (measured, sloped, shifted, pull, own, pulled, rounded, v, rated, step, moved, _with_zero(total))
    narrow = bits_of(*(end for span in spans for end in span), steepest_slope, y[0] + half, y[1] + half)
    if max(narrow, lookup) > 32:
        return op.factor, (0, 0), max(narrow, lookup), 32
    entropy = _flow_entropy(facts, op)
    factor = _plus(_times(_with_zero(total), facts.ranges[op.gain]), _rounding(op.shift, Rounding.LATTICE))
    emitted = _plus(decisions, _rounding(op.decision_shift, Rounding.HALF))
    need = max(narrow, lookup, bits_of(*factor, *entropy, *emitted))
    return op.factor, _shifted(factor, op.shift), need, 64


def _outer_update(facts: _Facts, op: OuterUpdate) -> _Result:
    aim, less = _shifted(facts.ranges[op.x], -op.x_shift), (0, 0)
    if op.towards:
        low, high = _shifted(facts.ranges[op.w], -op.w_shift)
        less = (-high, -low)
    drawn = _plus(aim, less)
    product = _times(facts.ranges[op.s], drawn)
    rounded = _plus(product, _rounding(op.shift, Rounding.LATTICE))
    value = _plus(facts.ranges[op.w], _shifted(rounded, op.shift))
    return op.w, value, bits_of(*aim, *less, *drawn, *product, *rounded, *value), 64


def _update(facts: _Facts, op: Update) -> _Result:
    carried = _shifted(facts.ranges[op.v], -op.v_shift)
    rounded = _plus(carried, _rounding(op.shift, Rounding.LATTICE))
    value = _plus(facts.ranges[op.p], _shifted(rounded, op.shift))
    return op.p, value, bits_of(*carried, *rounded, *value), 64


def _lattice(facts: _Facts, op: Lattice) -> _Result:
    return op.out, (0, 0xFFFF), 17, 32


def _gather(facts: _Facts, op: Gather | Pool) -> _Result:
    return op.out, facts.ranges[op.a], bits_of(*facts.ranges[op.a]), 64


def _select(facts: _Facts, op: Select) -> _Result:
    value = _hull(facts.ranges[op.a], facts.ranges[op.b])
    return op.out, value, bits_of(*value, *facts.ranges[op.p], *facts.ranges[op.q]), 64


def _arg(facts: _Facts, op: Arg) -> _Result:
    last = facts.program.by_name[op.a].shape[-1] - 1
    return op.out, (0, last), bits_of(*facts.ranges[op.a], last), 64


def _advance(facts: _Facts, op: Advance) -> _Result:
    return op.t, facts.ranges[op.t], bits_of(facts.ranges[op.t][1] + 1), 64


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
