"""gather, pool, select and arg (SPEC 5.8 to 5.11)."""

from __future__ import annotations

import numpy as np

from ...fixed import IntArray
from ...operations import Arg, Gather, Pool, Select
from ...proof import Bound
from .graph import INT32, INT64, Value, wire_dtype
from .scope import Scope


def gather(scope: Scope, op: Gather, bound: Bound) -> None:
    """Flat indices into the flattened operand."""
    scope.put(op.out, _picked(scope, op.a, scope.constant_values(op.index), op.index))


def pool(scope: Scope, op: Pool, bound: Bound) -> None:
    """The largest of what every window's first, second, ... place holds."""
    graph, windows = scope.graph, scope.constant_values(op.windows)
    places = [_picked(scope, op.a, windows[..., place], op.windows) for place in range(windows.shape[-1])]
    while len(places) > 1:
        pairs = zip(places[0::2], places[1::2], strict=False)
        places = [graph.larger(a, b) for a, b in pairs] + places[len(places) - len(places) % 2 :]
    scope.put(op.out, places[0])


def select(scope: Scope, op: Select, bound: Bound) -> None:
    """Compare, then choose."""
    graph = scope.graph
    compared = _common(scope, op.p, op.q)
    p, q = (scope.as_dtype(name, compared) for name in (op.p, op.q))
    condition = graph.equal(p, q) if op.relation == "eq" else graph.less(p, q)
    dtype = _common(scope, op.a, op.b)
    scope.put(op.out, graph.where(condition, scope.as_dtype(op.a, dtype), scope.as_dtype(op.b, dtype), dtype))


def arg(scope: Scope, op: Arg, bound: Bound) -> None:
    """The first of equals, as both ONNX and SPEC want it."""
    a = scope.get(op.a)
    operator = "ArgMax" if op.largest else "ArgMin"
    index = scope.graph.emit(operator, [a], INT64, a.shape[:-1], axis=-1, keepdims=0, select_last_index=0)
    scope.put(op.out, index)


def _picked(scope: Scope, source: str, index: IntArray, name: str) -> Value:
    graph = scope.graph
    flat = graph.reshape(scope.get(source), (scope.tensor(source).size,))
    places = graph.constant(index, INT32, name)
    return graph.emit("Gather", [flat, places], flat.dtype, index.shape, axis=1 if flat.batched else 0)


def _common(scope: Scope, *names: str) -> np.dtype[np.signedinteger]:
    dtypes = {wire_dtype(scope.tensor(name).format) for name in names}
    return INT64 if INT64 in dtypes else INT32
