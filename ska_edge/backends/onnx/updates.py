"""outer_update, update, lattice and advance (SPEC 5.5 to 5.7, 5.12)."""

from __future__ import annotations

import numpy as np

from ...operations import Advance, Lattice, OuterUpdate, Update
from ...proof import Bound
from .graph import INT64
from .scope import Scope, dtype_for


def outer_update(scope: Scope, op: OuterUpdate, bound: Bound) -> None:
    """The outer product, dithered, onto the weights; s has the first axes of w, x the last ones."""
    graph, dtype = scope.graph, dtype_for(bound)
    shape, w = scope.tensor(op.w).shape, scope.as_dtype(op.w, dtype)
    s, x = scope.as_dtype(op.s, dtype), scope.as_dtype(op.x, dtype)
    neurons = s.size
    if op.towards:
        x = graph.sub(graph.shift_left(x, op.x_shift), graph.shift_left(w, op.w_shift))
    moved = graph.mul(graph.reshape(s, s.shape + (1,) * (len(shape) - len(s.shape))), x)
    if op.shift:
        inputs = np.arange(w.size // neurons).reshape(shape[len(s.shape) :])
        rows = np.arange(neurons).reshape(s.shape + (1,) * inputs.ndim)
        moved = graph.add(moved, scope.scaled_offsets(scope.offsets(inputs, rows, op.t), op.shift, dtype))
        moved = graph.shift_right(moved, op.shift)
    scope.put_saturated(op.w, graph.add(w, moved), bound)


def update(scope: Scope, op: Update, bound: Bound) -> None:
    """One vector, dithered, onto another; or a matrix onto a matrix."""
    graph, dtype, shape = scope.graph, dtype_for(bound), scope.tensor(op.p).shape
    moved = graph.shift_left(scope.as_dtype(op.v, dtype), op.v_shift)
    if op.shift:
        if len(shape) == 2:
            offsets = scope.offsets(np.arange(shape[1]), np.arange(shape[0]).reshape(-1, 1), op.t)
        else:
            offsets = scope.offsets(op.row, np.arange(moved.size).reshape(shape), op.t)
        moved = graph.shift_right(graph.add(moved, scope.scaled_offsets(offsets, op.shift, dtype)), op.shift)
    scope.put_saturated(op.p, graph.add(scope.as_dtype(op.p, dtype), moved), bound)


def lattice(scope: Scope, op: Lattice, bound: Bound) -> None:
    """The offsets themselves."""
    scope.put(op.out, scope.offsets(np.arange(scope.tensor(op.out).size), op.neuron, op.t))


def advance(scope: Scope, op: Advance, bound: Bound) -> None:
    """The one operation that wraps."""
    counter = scope.graph.add(scope.as_dtype(op.t, INT64), 1)
    scope.put(op.t, scope.graph.bit_and(counter, (1 << scope.tensor(op.t).format.bits) - 1))
