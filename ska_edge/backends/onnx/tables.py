"""lut and flow (SPEC 5.3, 5.4)."""

from __future__ import annotations

import numpy as np
from onnx import helper

from ...fixed import IntArray
from ...operations import Flow, Lut, Rounding
from ...proof import Bound
from .graph import INT32, INT64, Graph, Value
from .scope import Scope, dtype_for

ONE = 1 << 15


def lut(scope: Scope, op: Lut, bound: Bound) -> None:
    """The interpolated table, then its requantisation."""
    value = interpolated(scope.graph, scope.as_dtype(op.x, dtype_for(bound)), scope.constant_values(op.table), op)
    scope.put_saturated(op.out, scope.requantised(value, op.shift, Rounding.HALF, 0, None, value.size), bound)


def interpolated(graph: Graph, x: Value, table: IntArray, op: Lut | Flow) -> Value:
    """The y of SPEC 5.3.  Inside segment i it is (base[i] + slope[i] * d) >> width, with what is constant in base."""
    width, last = op.width, len(table) - 1
    slopes = np.diff(table)
    half = (1 << width) >> 1
    bases = [
        (int(v) << width) - int(s) * (i << width) + half for i, (v, s) in enumerate(zip(table, slopes, strict=False))
    ]
    d = graph.clip(graph.sub(x, op.lo), 0, last << width)
    segment = graph.quotient(d, width)
    segment = graph.clip(segment, 0, last - 1)
    base = graph.take(np.array(bases, object), segment, x.dtype, f"{op.table}.base")
    slope = graph.take(slopes, segment, x.dtype, f"{op.table}.slope")
    return graph.shift_right(graph.add(base, graph.mul(slope, d)), width)


def flow(scope: Scope, op: Flow, bound: Bound) -> None:
    """K - 1 steps in int32, written out or as a Loop; entropy in int64 (SPEC 4.4)."""
    graph, fmt = scope.graph, scope.tensor(op.z).format
    z = scope.as_dtype(op.z, INT32)
    step = _Step(scope, op, fmt.lo, fmt.hi, -fmt.exponent)
    first = step.decision(z)
    zero = graph.sub(first, first)  # of the same, perhaps batched, shape
    carried = [graph.shift_left(z, op.guard), first, zero, graph.cast(zero, INT64)]
    if op.steps <= scope.unroll:
        for _ in range(op.steps):
            carried = step.take(carried)
    else:
        carried = _looped(graph, step, carried, op.steps)
    _, last, total, entropies = carried
    gain = scope.as_dtype(op.gain, INT64)
    factor = graph.mul(graph.cast(total, INT64), gain)
    scope.put_saturated(op.factor, scope.requantised(factor, op.shift, Rounding.LATTICE, op.row, op.t, z.size), bound)
    emitted = graph.cast(first if op.emit_first else last, INT64 if op.decision_shift > 30 else INT32)
    emitted = scope.requantised(emitted, op.decision_shift, Rounding.HALF, 0, None, z.size)
    scope.put_saturated(op.decision, emitted)
    ones = graph.constant(np.ones((z.size, 1)), INT64, "ones")
    row = graph.reshape(entropies, (1, z.size))
    scope.put(op.entropy, graph.reshape(graph.emit("MatMul", [row, ones], INT64, (1, 1)), ()))


class _Step:
    """One forward step and its drift; the names are those of SPEC 5.4."""

    def __init__(self, scope: Scope, op: Flow, z_lo: int, z_hi: int, fraction: int) -> None:
        self.graph, self.op, self.fraction = scope.graph, op, fraction
        self.z_lo, self.z_hi = z_lo, z_hi
        self.table = scope.constant_values(op.table)
        self.mean = scope.as_dtype(op.mean, INT32) if op.mean is not None else None
        self.drive = scope.as_dtype(op.drive, INT32) if op.drive is not None else None

    def decision(self, q: Value) -> Value:
        """sigma(q)."""
        return interpolated(self.graph, q, self.table, self.op)

    def take(self, carried: list[Value]) -> list[Value]:
        """(y, D before, S, E) after one more step."""
        g, op, f = self.graph, self.op, self.fraction
        y, before, total, entropy = carried
        q = g.shift_right(g.add(y, 1 << (op.guard - 1)), op.guard)
        q = g.clip(q, self.z_lo, self.z_hi)
        decided = self.decision(q)
        slope = g.quotient(g.add(g.mul(decided, g.sub(ONE, decided)), ONE >> 1), 15)
        moved = g.sub(decided, before)
        own = g.mul(g.sub(q, self.mean), slope) if self.mean else g.mul(q, slope)
        drift = g.shift_right(g.add(own, g.shift_left(moved, f)), op.entropy_shift)
        if self.drive:
            drift = g.sub(drift, g.mul(self.drive, slope))
        drift = g.shift_right(g.add(drift, 1 << (f - 1)), f)
        total = g.add(total, drift)
        entropy = g.sub(entropy, g.cast(g.mul(q, moved), INT64))
        move = g.shift_right(g.add(g.mul(drift, op.rate), 1 << (op.rate_shift - 1)), op.rate_shift)
        lo, hi = self.z_lo << op.guard, (self.z_hi << op.guard) + (1 << op.guard) - 1
        return [g.clip(g.add(y, move), lo, hi), decided, total, entropy]


def _looped(graph: Graph, step: _Step, carried: list[Value], steps: int) -> list[Value]:
    """The same step as the body of a Loop."""
    names = ("y", "D", "S", "E")
    inside = [
        Value(graph.unique(f"{graph.scope}/{n}"), v.dtype, v.shape, v.batched)
        for n, v in zip(names, carried, strict=True)
    ]
    number = Value(graph.unique(f"{graph.scope}/step"), INT64, ())
    go_on = Value(graph.unique(f"{graph.scope}/go_on"), np.dtype(bool), ())
    with graph.body() as nodes:
        still = graph.emit("Identity", [go_on], go_on.dtype, ())
        after = step.take(inside)
    body = helper.make_graph(
        nodes, f"{graph.scope}_step", [v.info() for v in (number, go_on, *inside)], [v.info() for v in (still, *after)]
    )
    done = [
        Value(graph.unique(f"{graph.scope}/{n}.last"), v.dtype, v.shape, v.batched)
        for n, v in zip(names, carried, strict=True)
    ]
    trips = graph.constant(steps, INT64)
    true = graph.constant(np.array(True), bool)
    graph.append("Loop", [trips, true, *carried], done, body=body)
    return done
