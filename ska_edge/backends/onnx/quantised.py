"""`infer` in the form that runtimes fuse: DequantizeLinear, MatMul, QuantizeLinear, and tables (docs/onnx.md).

Still to the bit.  A layer's sums of products are multiples of one LSB below 2^23, so float32 holds them and half an LSB
beside them exactly, in any order of summation.  QuantizeLinear rounds ties to even where SPEC 2.2 rounds them up: half
an LSB more in the bias, and there are no ties.  What cannot be proved so small is translated as in `infer_exact`.

Both operands are stored without sign, 128 higher, with a zero point of 128: products of u8 and s8 saturate on x86-64
without VNNI.  The bias is subtracted, not added: ONNX Runtime takes a MatMul and an Add for a Gemm, whose bias it
rounds to whole LSBs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...axes import split_axes
from ...fixed import IntArray
from ...operations import Contract, Lut, Role, Rounding, Scale, Select
from ...proof import Bound
from . import choices, sums, tables
from .graph import INT32, Value, stored_dtype
from .scope import Scope

EXACT = 1 << 23  # integers and a half below it are float32
FLOAT = np.dtype(np.float32)
U8 = np.dtype(np.uint8)


@dataclass
class QuantisedScope(Scope):
    """`lookups`: tensors that are a function of one 16-bit knowledge, as the index into a table, and the table.

    `fused`: the outputs of the layers that were put in this form, for the report.
    """

    lookups: dict[str, tuple[Value, IntArray]] = field(default_factory=dict)
    fused: list[str] = field(default_factory=list)


def contract(scope: Scope, op: Contract, bound: Bound) -> None:
    """DequantizeLinear, MatMul, Add, QuantizeLinear, if the sums are small enough; else integers."""
    assert isinstance(scope, QuantisedScope)
    if not _fits(scope, op):
        sums.contract(scope, op, bound)
        return
    graph, out = scope.graph, scope.tensor(op.out)
    a, b = scope.tensor(op.a).format, scope.tensor(op.b).format
    weights = scope.constant_values(op.a).T
    lsb = 2.0 ** (a.exponent + b.exponent)
    ties = 0.0 if op.shift <= 0 else 0.5 + (0 if op.rounding is Rounding.HALF else -(1 << (op.shift - 1)))
    carried = np.asarray(scope.constant_values(op.c) << op.c_shift if op.c else 0)
    x, zero = _unsigned(scope, op.b)
    real = _dequantised(scope, x, b.exponent, zero)
    matrix = graph.constant(weights + 128, U8, f"{op.a}.plus_128")
    floats = _dequantised(scope, matrix, a.exponent, 128)
    product = graph.emit("MatMul", [real, floats], FLOAT, out.shape, x.batched)
    less = graph.constant((np.broadcast_to(carried, out.shape) + ties) * -lsb, FLOAT, f"{op.out}.minus_bias")
    total = graph.sub(product, less)
    border = np.dtype(f"u{out.format.stored_bits // 8}")
    middle = -out.format.lo
    ends = [graph.constant(lsb * 2.0**op.shift, FLOAT), graph.constant(middle, border)]
    quantised = graph.emit("QuantizeLinear", [total, *ends], border, out.shape)
    index = graph.cast(quantised, INT32)
    scope.lookups[op.out] = index, np.arange(out.format.lo, out.format.hi + 1)
    scope.fused.append(op.out)
    scope.put(op.out, graph.sub(index, middle))


def scale(scope: Scope, op: Scale, bound: Bound) -> None:
    """Of one looked-up tensor and constants: another table."""
    assert isinstance(scope, QuantisedScope)
    names = [name for name in (op.a, op.b, op.c) if name is not None]
    found = [scope.lookups[name][0] for name in names if name in scope.lookups]
    known = all(name in scope.lookups or _is_scalar_constant(scope, name) for name in names)
    if not found or not known or any(index != found[0] for index in found) or op.rounding is Rounding.LATTICE:
        sums.scale(scope, op, bound)
        return
    index = found[0]
    a, b, c = (_known(scope, name) for name in (op.a, op.b, op.c))
    value = op.gain * a * (b if op.b else 1) + (c << op.c_shift)
    half = (1 << op.shift) >> 1 if op.rounding is Rounding.HALF and op.shift > 0 else 0
    _look_up(scope, op.out, index, (value + half) >> op.shift if op.shift >= 0 else value << -op.shift)


def lut(scope: Scope, op: Lut, bound: Bound) -> None:
    """Of a looked-up tensor: the interpolation done beforehand, for every value."""
    assert isinstance(scope, QuantisedScope)
    if op.x not in scope.lookups:
        tables.lut(scope, op, bound)
        return
    index, x = scope.lookups[op.x]
    knots = scope.constant_values(op.table)
    d = np.clip(x - op.lo, 0, (len(knots) - 1) << op.width)
    i = np.minimum(d >> op.width, len(knots) - 2)
    f = d - (i << op.width)
    y = ((knots[i] << op.width) + (knots[i + 1] - knots[i]) * f + ((1 << op.width) >> 1)) >> op.width
    _look_up(scope, op.out, index, (y + ((1 << op.shift) >> 1)) >> op.shift)


def select(scope: Scope, op: Select, bound: Bound) -> None:
    """Of one looked-up tensor and constants: another table."""
    assert isinstance(scope, QuantisedScope)
    names = (op.p, op.q, op.a, op.b)
    found = [scope.lookups[name][0] for name in names if name in scope.lookups]
    known = all(name in scope.lookups or _is_scalar_constant(scope, name) for name in names)
    if not found or not known or any(index != found[0] for index in found):
        choices.select(scope, op, bound)
        return
    p, q, a, b = (_known(scope, name) for name in names)
    _look_up(scope, op.out, found[0], np.where(p == q if op.relation == "eq" else p < q, a, b))


def _known(scope: QuantisedScope, name: str | None) -> IntArray:
    """The table of a looked-up tensor, or a constant; 0 for an operand that is absent."""
    if name is None:
        return np.zeros((), np.int64)
    return scope.lookups[name][1] if name in scope.lookups else scope.constant_values(name)


def _is_scalar_constant(scope: Scope, name: str) -> bool:
    return scope.tensor(name).role is Role.CONST and not scope.tensor(name).shape


def _look_up(scope: QuantisedScope, name: str, index: Value, table: IntArray) -> None:
    fmt = scope.tensor(name).format
    table = np.clip(table, fmt.lo, fmt.hi)
    value = scope.graph.look_up(table, index, stored_dtype(fmt), f"{name}.table")
    scope.lookups[name] = index, table
    scope.values[name] = scope.graph.renamed(value, name)


def _unsigned(scope: QuantisedScope, name: str) -> tuple[Value, int]:
    """A tensor of 8 bits as u8, and its zero point."""
    graph, value = scope.graph, scope.graph.cast(scope.values[name], stored_dtype(scope.tensor(name).format))
    if value.dtype == U8:
        return value, 0
    if name in scope.lookups:
        index, table = scope.lookups[name]
        return graph.look_up(table + 128, index, U8, f"{name}.plus_128"), 128
    flipped = graph.constant(128, U8)
    return graph.emit("BitwiseXor", [graph.cast(value, U8), flipped], U8, value.shape), 128


def _dequantised(scope: Scope, value: Value, exponent: int, zero: int) -> Value:
    ends = [scope.graph.constant(2.0**exponent, FLOAT), scope.graph.constant(zero, value.dtype)]
    return scope.graph.emit("DequantizeLinear", [value, *ends], FLOAT, value.shape)


def _fits(scope: Scope, op: Contract) -> bool:
    """Whether this is a matrix of constants times a vector, in 8 bits, and small enough to be exact in float32."""
    a, b, out = (scope.tensor(name) for name in (op.a, op.b, op.out))
    a_axes, b_axes, out_axes = split_axes(op.axes)
    values = scope.program.values
    known = a.role in (Role.CONST, Role.STATE) and (op.c is None or op.c in values)
    narrow = a.format.bits <= 8 and a.format.signed and b.format.bits <= 8 and out.format.bits in (8, 16)
    plain = a_axes == out_axes + b_axes and len(out_axes) == len(b_axes) == 1
    rounded = op.rounding is not Rounding.LATTICE and op.gain == 1
    if not (known and narrow and plain and rounded) or b.name in values:
        return False
    largest = max(-b.format.lo, b.format.hi) * np.abs(values[op.a]).sum(axis=1)
    if op.c is not None:
        largest = largest + (np.abs(values[op.c].astype(object)) << op.c_shift)
    small = int(np.max(largest)) + (1 << max(op.shift, 0)) < EXACT
    return small and max(map(abs, (a.format.exponent + b.format.exponent, op.shift))) < 60
