"""contract and scale (SPEC 5.1, 5.2)."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from ...axes import split_axes
from ...operations import Contract, Scale
from ...proof import Bound
from .graph import Graph, Value
from .scope import Scope, dtype_for

DOUBLE_BITS = 54  # with a sign: integers to 2^53
SAMPLES = "0"  # the letter of the batch axis, which SPEC's letters cannot be


def contract(scope: Scope, op: Contract, bound: Bound) -> None:
    """A product of matrices, in integers wide enough for any order of summation."""
    dtype = dtype_for(bound)
    a, b = scope.as_dtype(op.a, dtype), scope.as_dtype(op.b, dtype)
    if (a.batched or b.batched) and bound.need_bits <= DOUBLE_BITS:  # integers in float64: exact, and faster by far
        real = product(scope.graph, scope.graph.cast(a, np.float64), scope.graph.cast(b, np.float64), op.axes)
        _finish(scope, op, bound, scope.graph.cast(real, dtype))
    else:
        _finish(scope, op, bound, product(scope.graph, a, b, op.axes))


def scale(scope: Scope, op: Scale, bound: Bound) -> None:
    """Element by element; ONNX broadcasts suffixes as SPEC 4.5 does."""
    dtype = dtype_for(bound)
    value = scope.as_dtype(op.a, dtype)
    if op.b is not None:
        value = scope.graph.mul(value, scope.as_dtype(op.b, dtype))
    _finish(scope, op, bound, value)


def _finish(scope: Scope, op: Contract | Scale, bound: Bound, value: Value) -> None:
    """Gain * value + (c << c_shift), requantised."""
    graph, out = scope.graph, scope.tensor(op.out)
    value = graph.mul(value, op.gain)
    if op.c is not None:
        value = graph.add(value, graph.shift_left(scope.as_dtype(op.c, value.dtype), op.c_shift))
    value = graph.expand(value, out.shape)
    value = scope.requantised(value, op.shift, op.rounding, op.row, op.t, out.size)
    scope.put_saturated(op.out, value, bound)


def product(graph: Graph, a: Value, b: Value, axes: str) -> Value:
    """The sum of a*b over the letters missing from the output: transpose, reshape, MatMul, and back."""
    a_axes, b_axes, out_axes = split_axes(axes)
    if b.batched and not a.batched:  # samples are rows
        a, b, a_axes, b_axes = b, a, b_axes, a_axes
    extents = dict(zip(a_axes + b_axes, a.shape + b.shape, strict=True))
    a, a_axes = _summed_alone(graph, a, a_axes, b_axes + out_axes)
    b, b_axes = _summed_alone(graph, b, b_axes, a_axes + out_axes)
    if a.batched:
        a_axes = SAMPLES + a_axes
    if b.batched:
        b_axes = SAMPLES + b_axes
    samples = SAMPLES if a.batched or b.batched else ""
    whole_out = samples + out_axes
    both = [letter for letter in whole_out if letter in a_axes and letter in b_axes]
    only_a = [letter for letter in whole_out if letter not in b_axes]
    only_b = [letter for letter in whole_out if letter not in a_axes]
    summed = [letter for letter in a_axes if letter in b_axes and letter not in whole_out]
    left = _arranged(graph, a, a_axes, [both, only_a, summed], extents)
    right = _arranged(graph, b, b_axes, [both, summed, only_b], extents)
    rows, columns = (prod(extents.get(letter, 1) for letter in part) for part in (only_a, only_b))
    operator = "MatMul" if summed else "Mul"  # nothing to sum: [m, 1] times [1, n]
    shape = ((prod(extents.get(x, 1) for x in both),) if both else ()) + (rows, columns)
    joined = graph.emit(operator, [left, right], a.dtype, shape, batched=False)
    order = [*both, *only_a, *only_b]
    dims = [-1 if letter == SAMPLES else extents[letter] for letter in order]
    back = [order.index(letter) for letter in whole_out]
    out_shape = tuple(extents[letter] for letter in order if letter != SAMPLES)
    batched = bool(samples)
    if dims == [_extent(part, extents) for number, part in enumerate((both, only_a, only_b)) if part or number]:
        value = replace(joined, shape=out_shape, batched=batched)
    else:
        flat = graph.constant(dims, np.int64, "shape")
        value = graph.emit("Reshape", [joined, flat], a.dtype, out_shape, batched)
    out_shape = tuple(extents[letter] for letter in out_axes)
    if back != sorted(back):
        value = graph.emit("Transpose", [value], a.dtype, out_shape, batched, perm=back)
    return value


def _summed_alone(graph: Graph, value: Value, axes: str, others: str) -> tuple[Value, str]:
    """Sum out the letters that nothing else has, by a product with ones: ReduceSum of integers is not exact in ORT."""
    alone = [letter for letter in axes if letter not in others]
    if not alone:
        return value, axes
    kept = [letter for letter in axes if letter in others]
    extents = dict(zip(axes, value.shape, strict=True))
    first = 1 if value.batched else 0
    order = [axes.index(letter) for letter in kept + alone]
    if order != sorted(order):
        perm = [*range(first), *(first + place for place in order)]
        moved = tuple(value.shape[place] for place in order)
        value = graph.emit("Transpose", [value], value.dtype, moved, perm=perm)
    kept_shape = tuple(extents[letter] for letter in kept)
    count = prod(extents[letter] for letter in alone)
    value = graph.reshape(value, (prod(kept_shape), count))
    ones = graph.constant(np.ones((count, 1)), value.dtype, "ones")
    value = graph.emit("MatMul", [value, ones], value.dtype, (prod(kept_shape), 1))
    return graph.reshape(value, kept_shape), "".join(kept)


def _arranged(graph: Graph, value: Value, axes: str, parts: list[list[str]], extents: dict[str, int]) -> Value:
    """The value with its axes in the order of the parts, each part one axis (an empty first part none)."""
    order = [axes.index(letter) for part in parts for letter in part]
    if order != sorted(order):
        value = graph.emit("Transpose", [value], value.dtype, value.shape, perm=order)
    dims = [_extent(part, extents) for number, part in enumerate(parts) if part or number]
    if dims == [extents.get(letter, -1) for part in parts for letter in part]:
        return value
    shape = graph.constant(dims, np.int64, "shape")
    return graph.emit("Reshape", [value, shape], value.dtype, tuple(d for d in dims if d > 0), batched=False)


def _extent(part: list[str], extents: dict[str, int]) -> int:
    return -1 if SAMPLES in part else prod(extents[letter] for letter in part)
