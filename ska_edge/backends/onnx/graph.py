"""A small vocabulary of exact integer arithmetic over ONNX's standard operators (opset 21).

Every value is int32 or int64 inside a graph.  What a signed right shift and a lattice need, ONNX does not have; here is
the one place where they are spelt.  Arithmetic wraps in two's complement, so a sum whose exact value fits is right
whatever its parts did.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from ...fixed import Format

OPSET = 21
IR_VERSION = 10
BATCH = "batch"
INT32 = np.dtype(np.int32)
INT64 = np.dtype(np.int64)


@dataclass(frozen=True)
class Value:
    """A named tensor inside a graph.  `shape` is without the batch axis, which a `batched` value has in front."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    batched: bool = False

    @property
    def size(self) -> int:
        """Elements, of one sample."""
        return prod(self.shape)

    @property
    def dims(self) -> list[int | str]:
        """Dimensions as a model declares them."""
        return [*([BATCH] if self.batched else []), *self.shape]

    def info(self) -> onnx.ValueInfoProto:
        """The declaration of a graph's input or output."""
        return helper.make_tensor_value_info(self.name, helper.np_dtype_to_tensor_dtype(self.dtype), self.dims)


Operand: TypeAlias = "Value | int"


def stored_dtype(fmt: Format) -> np.dtype[Any]:
    """How a tensor of this format crosses a graph's border: the narrowest type of ONNX; 4 bits take 8.

    >>> stored_dtype(Format(4, 0)), stored_dtype(Format(16, 0, signed=False)), stored_dtype(Format(63, 0, signed=False))
    (dtype('int8'), dtype('uint16'), dtype('int64'))
    """
    bits = max(fmt.stored_bits, 8)
    return np.dtype(f"{'i' if fmt.signed or bits == 64 else 'u'}{bits // 8}")


def wire_dtype(fmt: Format) -> np.dtype[Any]:
    """What a tensor of this format is inside a graph: int32 where that holds it, else int64."""
    return INT32 if fmt.lo >= -(1 << 31) and fmt.hi < 1 << 31 else INT64


class Graph:
    """Nodes, constants and names in the making."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.groups: list[str] = []
        """For every node, the group it belongs to: a layer's step may become a function."""
        self.group = ""
        self.scope = ""
        self.remark = ""
        self._names: set[str] = set()
        self._known: dict[tuple[str, tuple[int, ...], bytes], Value] = {}

    # -- names, constants, nodes --------------------------------------------------------------------------------

    def unique(self, name: str) -> str:
        """This name, or with a number behind it where it is taken."""
        found, number = name, 1
        while found in self._names:
            number += 1
            found = f"{name}.{number}"
        self._names.add(found)
        return found

    def constant(self, values: npt.ArrayLike, dtype: npt.DTypeLike, name: str = "") -> Value:
        """An initializer; the same values are stored once.  What does not fit wraps."""
        array = np.array(_wrapped(np.asarray(values), np.dtype(dtype)), order="C")
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            hint = (
                f"{array.dtype.name}.{array.item()}".replace("-", "minus_") if array.ndim == 0 else name or "constant"
            )
            unique = self.unique(hint)
            self.constants[unique] = numpy_helper.from_array(array, unique)
            self._known[key] = Value(unique, array.dtype, array.shape)
        return self._known[key]

    def emit(
        self,
        operator: str,
        inputs: Sequence[Value],
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        batched: bool | None = None,
        name: str = "",
        **attributes: Any,
    ) -> Value:
        """Append a node of one output; a `name` given is one that `unique` has given before."""
        if batched is None:
            batched = any(value.batched for value in inputs)
        out = Value(name or self.unique(f"{self.scope}/{operator}"), dtype, shape, batched)
        self.append(operator, inputs, [out], **attributes)
        return out

    def append(self, operator: str, inputs: Sequence[Value], outputs: Sequence[Value], **attributes: Any) -> None:
        """Append a node; the first output names it."""
        names = [value.name for value in outputs]
        node = helper.make_node(operator, [v.name for v in inputs], names, name=names[0], **attributes)
        node.doc_string = self.remark
        self.nodes.append(node)
        self.groups.append(self.group)

    @contextmanager
    def body(self) -> Iterator[list[onnx.NodeProto]]:
        """Nodes emitted inside go to a list of their own, the body of a Loop or Scan."""
        outside = self.nodes, self.groups
        self.nodes, self.groups = [], []
        try:
            yield self.nodes
        finally:
            self.nodes, self.groups = outside

    # -- arithmetic ---------------------------------------------------------------------------------------------

    def cast(self, value: Value, dtype: npt.DTypeLike, name: str = "") -> Value:
        """The value in another type; nothing is emitted where it has that type and no name is wanted."""
        wanted = np.dtype(dtype)
        if value.dtype == wanted:
            return self.emit("Identity", [value], wanted, value.shape, name=name) if name else value
        tensor_type = helper.np_dtype_to_tensor_dtype(wanted)
        return self.emit("Cast", [value], wanted, value.shape, name=name, to=tensor_type)

    def add(self, a: Operand, b: Operand) -> Value:
        """A + b."""
        return a if b == 0 and isinstance(a, Value) else self._binary("Add", a, b)

    def sub(self, a: Operand, b: Operand) -> Value:
        """A - b."""
        return a if b == 0 and isinstance(a, Value) else self._binary("Sub", a, b)

    def mul(self, a: Operand, b: Operand) -> Value:
        """A * b."""
        return a if b == 1 and isinstance(a, Value) else self._binary("Mul", a, b)

    def bit_and(self, a: Operand, b: Operand) -> Value:
        """A & b."""
        return self._binary("BitwiseAnd", a, b)

    def shift_left(self, value: Value, n: int) -> Value:
        """Value << n."""
        return self.mul(value, 1 << n)

    def shift_right(self, value: Value, n: int) -> Value:
        """Value >> n, floor, for n >= 0: the low bits are cleared, then the quotient is exact.

        Division of a multiple rounds nowhere, so it matters not that ONNX's truncates and NumPy's floors.
        """
        n = min(n, value.dtype.itemsize * 8 - 1)
        if n == 0:
            return value
        if n == value.dtype.itemsize * 8 - 1:
            return self.where(self.less(value, 0), -1, 0, value.dtype)
        return self._binary("Div", self.bit_and(value, -1 << n), 1 << n)

    def quotient(self, value: Value, n: int) -> Value:
        """Value >> n where value is known not to be negative."""
        return self._binary("Div", value, 1 << n) if n else value

    def clip(self, value: Value, lo: int, hi: int) -> Value:
        """min(max(value, lo), hi); nothing where the type itself is no wider.

        Of int64 by comparing: ONNX Runtime's Clip, Max, Min and ReduceMax of int64 are wrong where two values differ
        in their high halves (1.31.1 on x86-64: Clip(4294967295, 0, 65536) among many elements).
        """
        limits = np.iinfo(value.dtype)
        lo, hi = max(lo, limits.min), min(hi, limits.max)
        if value.dtype == INT32:
            if lo == limits.min and hi == limits.max:
                return value
            return self.emit("Clip", [value, *(self.constant(v, INT32) for v in (lo, hi))], INT32, value.shape)
        if hi < limits.max:
            value = self.where(self.less(value, hi), value, hi, value.dtype)
        return self.where(self.less(value, lo), lo, value, value.dtype) if lo > limits.min else value

    def larger(self, a: Value, b: Value) -> Value:
        """max(a, b)."""
        if a.dtype == INT32:
            return self._binary("Max", a, b)
        return self.where(self.less(a, b), b, a, a.dtype)

    def less(self, a: Operand, b: Operand) -> Value:
        """A < b."""
        return self._binary("Less", a, b, np.dtype(bool))

    def equal(self, a: Operand, b: Operand) -> Value:
        """A == b."""
        return self._binary("Equal", a, b, np.dtype(bool))

    def where(self, condition: Value, a: Operand, b: Operand, dtype: np.dtype[Any]) -> Value:
        """A where the condition holds, else b."""
        first, second = (x if isinstance(x, Value) else self.constant(x, dtype) for x in (a, b))
        values = self.aligned(condition, first, second)
        shape = np.broadcast_shapes(*(value.shape for value in values))
        return self.emit("Where", values, dtype, shape)

    def take(self, table: npt.ArrayLike, index: Value, dtype: npt.DTypeLike, name: str = "table") -> Value:
        """A constant table at every index."""
        constant = self.constant(table, dtype, name)
        return self.emit("Gather", [constant, index], constant.dtype, index.shape, axis=0)

    def look_up(self, table: npt.ArrayLike, index: Value, dtype: npt.DTypeLike, name: str) -> Value:
        """The same for large batches: ONNX Runtime's GatherElements takes a third of its Gather's time an element."""
        constant = self.constant(table, dtype, name)
        wanted = self.constant([-1], INT64, "shape")
        flat = self.emit("Reshape", [index, wanted], index.dtype, (index.size,), batched=False)
        found = self.emit("GatherElements", [constant, flat], constant.dtype, flat.shape, batched=False, axis=0)
        shape = self.constant([*([-1] if index.batched else []), *index.shape], INT64, "shape")
        return self.emit("Reshape", [found, shape], constant.dtype, index.shape, index.batched)

    # -- shapes -------------------------------------------------------------------------------------------------

    def reshape(self, value: Value, shape: tuple[int, ...]) -> Value:
        """The same elements in another shape; a batch axis stays in front."""
        if value.shape == shape:
            return value
        wanted = self.constant([*([-1] if value.batched else []), *shape], INT64, "shape")
        return self.emit("Reshape", [value, wanted], value.dtype, shape)

    def expand(self, value: Value, shape: tuple[int, ...]) -> Value:
        """Suffix broadcast (SPEC 4.5) to a shape."""
        if value.shape == shape:
            return value
        if value.batched:
            value = self.reshape(value, (1,) * (len(shape) - len(value.shape)) + value.shape)
        wanted = self.constant([*([1] if value.batched else []), *shape], INT64, "shape")
        return self.emit("Expand", [value, wanted], value.dtype, shape)

    def aligned(self, *values: Value) -> list[Value]:
        """Values whose batch axes meet: a batched one of lower rank gets ones behind its batch axis."""
        rank = max(len(value.shape) for value in values)
        if not any(value.batched for value in values):
            return list(values)
        return [
            self.reshape(v, (1,) * (rank - len(v.shape)) + v.shape) if v.batched and len(v.shape) < rank else v
            for v in values
        ]

    def renamed(self, value: Value, name: str) -> Value:
        """The value under a name for people: the last node's output is called so, where that is what it is."""
        last = self.nodes[-1] if self.nodes else None
        if last is None or list(last.output) != [value.name] or value.name.split("/")[0] != self.scope:
            return value
        unique = self.unique(name)
        last.output[0] = last.name = unique
        return replace(value, name=unique)

    def prune(self, wanted: Iterable[str]) -> None:
        """Drop nodes and constants that no wanted value needs."""
        needed, kept = set(wanted), []
        for node, group in zip(reversed(self.nodes), reversed(self.groups), strict=True):
            if needed & set(node.output):
                needed |= set(names_read([node]))
                kept.append((node, group))
        self.nodes, self.groups = [node for node, _ in reversed(kept)], [group for _, group in reversed(kept)]
        self.constants = {name: tensor for name, tensor in self.constants.items() if name in needed}

    def _binary(self, operator: str, a: Operand, b: Operand, dtype: np.dtype[Any] | None = None) -> Value:
        given = next(x.dtype for x in (a, b) if isinstance(x, Value))
        values = self.aligned(*(x if isinstance(x, Value) else self.constant(x, given) for x in (a, b)))
        if values[0].dtype != values[1].dtype:
            raise TypeError(f"{operator} of {values[0]} and {values[1]}")
        shape = np.broadcast_shapes(values[0].shape, values[1].shape)
        return self.emit(operator, values, dtype or given, shape)


def names_read(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    """Every name that nodes read, bodies included, in order; those that a body makes itself too."""
    for node in nodes:
        yield from node.input
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from names_read(attribute.g.node)
                yield from (value.name for value in attribute.g.output)


def _wrapped(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Integers modulo the type's range, two's complement; Python integers of any size included."""
    if dtype.kind not in "iu" or values.dtype == dtype:
        return values.astype(dtype)
    bits = dtype.itemsize * 8
    if values.dtype == object or values.ndim == 0:
        flat = [int(v) & ((1 << bits) - 1) for v in values.reshape(-1)]
        return np.array(flat, np.dtype(f"u{bits // 8}")).astype(dtype).reshape(values.shape)
    return values.astype(dtype)
