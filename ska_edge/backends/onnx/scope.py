"""One section of a Program while it becomes a graph: what each tensor is called now, and what is proved of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...fixed import LATTICE_A, LATTICE_B, LATTICE_C, IntArray
from ...operations import Rounding, Tensor
from ...program import Program
from ...proof import Bound
from .graph import INT32, INT64, Graph, Value, wire_dtype


@dataclass
class Scope:
    """Where the translation of each primitive reads and writes.

    `unroll`: flows of at most so many steps are written out, longer ones become a Loop.
    """

    program: Program
    graph: Graph
    unroll: int = 8
    values: dict[str, Value] = field(default_factory=dict)
    _phases: dict[str, Value] = field(default_factory=dict)

    def tensor(self, name: str) -> Tensor:
        """A tensor's declaration."""
        return self.program.by_name[name]

    def get(self, name: str) -> Value:
        """What a tensor holds now, as int32 or int64."""
        value = self.values[name]
        wanted = wire_dtype(self.tensor(name).format)
        if value.dtype != wanted:
            value = self.values[name] = self.graph.cast(value, wanted)
        return value

    def as_dtype(self, name: str, dtype: np.dtype[np.signedinteger]) -> Value:
        """What a tensor holds now, in the type an operation computes in."""
        return self.graph.cast(self.get(name), dtype)

    def put(self, name: str, value: Value) -> None:
        """A tensor's new value, of its whole shape."""
        tensor = self.tensor(name)
        value = self.graph.expand(value, tensor.shape)
        value = self.graph.cast(value, wire_dtype(tensor.format))
        self.values[name] = self.graph.renamed(value, name)

    def put_saturated(self, name: str, value: Value, bound: Bound | None = None) -> None:
        """A tensor's new value, saturated unless the proof says that it cannot be needed (SPEC 2.1, 4.4)."""
        if bound is None or bound.saturates:
            fmt = self.tensor(name).format
            value = self.graph.clip(value, fmt.lo, fmt.hi)
        self.put(name, value)

    def constant_values(self, name: str) -> IntArray:
        """The values of a constant."""
        return self.program.values[name]

    # -- rounding (SPEC 2.2, 3) ---------------------------------------------------------------------------------

    def offsets(self, i: IntArray | int, j: IntArray | int, t: str) -> Value:
        """offset(i, j, t) for arrays of indices, int32, 0 to 65535."""
        fixed = (np.asarray(i) * LATTICE_A + np.asarray(j) * LATTICE_B) & 0xFFFF
        moved = self.graph.add(self.graph.constant(fixed, INT32, "lattice"), self._phase(t))
        return self.graph.bit_and(moved, 0xFFFF)

    def scaled_offsets(self, offsets: Value, n: int, dtype: np.dtype[np.signedinteger]) -> Value:
        """offset(i, j, t; n), 0 to 2^n - 1."""
        if n < 16:
            return self.graph.cast(self.graph.quotient(offsets, 16 - n), dtype)
        return self.graph.shift_left(self.graph.cast(offsets, dtype), n - 16)

    def requantised(self, value: Value, shift: int, rounding: Rounding, row: int, t: str | None, size: int) -> Value:
        """(value + r) >> shift, or value << -shift, before saturation; `size` elements are written."""
        if shift <= 0:
            return self.graph.shift_left(value, -shift)
        if rounding is Rounding.HALF:
            value = self.graph.add(value, 1 << (shift - 1))
        elif rounding is Rounding.LATTICE and t is not None:
            offsets = self.offsets(row, np.arange(size).reshape(value.shape), t)
            value = self.graph.add(value, self.scaled_offsets(offsets, shift, value.dtype))
        return self.graph.shift_right(value, shift)

    def _phase(self, t: str) -> Value:
        """T * C modulo 2^16, or less a multiple of that: the factor is C - 2^16, so that int32 holds the product."""
        counter = self.get(t)
        if counter.name not in self._phases:
            low = self.graph.cast(self.graph.bit_and(counter, 0xFFFF), INT32)
            self._phases[counter.name] = self.graph.mul(low, LATTICE_C - (1 << 16))
        return self._phases[counter.name]


def dtype_for(bound: Bound) -> np.dtype[np.signedinteger]:
    """The narrowest type in which no intermediate of an operation overflows (SPEC 4.4)."""
    return INT32 if bound.need_bits <= 32 else INT64
