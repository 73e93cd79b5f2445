"""A Program as tables of numbers, and the executor that runs them in the planned arena."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import ProgramError
from ...executor import Executor, row_count
from ...fixed import IntArray, pack, unpack
from ...operations import (
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
from ...plan import plan
from ...program import Program
from ...wellformed import split_axes
from . import kernels

_ROW = 64
_KINDS = {
    (4, True): kernels.S4,
    (4, False): kernels.U4,
    (8, True): kernels.S8,
    (8, False): kernels.U8,
    (16, True): kernels.S16,
    (16, False): kernels.U16,
    (32, True): kernels.S32,
    (32, False): kernels.U32,
    (64, True): kernels.S64,
    (64, False): kernels.S64,  # at most 63 bits, so the sign bit is free
}
_ROUNDINGS = {
    Rounding.FLOOR: kernels.FLOOR,
    Rounding.HALF: kernels.HALF,
    Rounding.LATTICE: kernels.LATTICE_ROUNDING,
}


class NumbaExecutor(Executor):
    """The compiled core.  Its memory is exactly the plan's arena, constants behind it.

    `memory` is that array of bytes; nothing else is allocated while it learns.
    """

    name = "numba"

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.plan = plan(program)
        const_start = -(-self.plan.arena_bytes // 8) * 8
        self.memory = np.zeros(-(-(const_start + self.plan.const_bytes) // 8) * 8, np.uint8)
        self._address = self.memory.ctypes.data
        self._index = {tensor.name: i for i, tensor in enumerate(program.tensors)}
        self._offsets = {**self.plan.fixed, **{n: const_start + at for n, at in self.plan.const.items()}}
        self._tables: dict[str, IntArray] = {}
        self._ops: dict[str, IntArray] = {}
        for section, ops in program.sections.items():
            places = {**self._offsets, **self.plan.scratch[section]}
            self._tables[section] = np.array(
                [_tensor_row(t, places.get(t.name, -1)) for t in program.tensors], np.int64
            )
            rows = [self._row(op) for op in ops]
            self._ops[section] = np.array(rows, np.int64).reshape(len(rows), _ROW)
        self._last_section = next(iter(program.sections), "")
        for tensor in program.of_role(Role.CONST, Role.STATE):
            self._put(tensor, self._offsets[tensor.name], program.values[tensor.name])

    def write(self, tensor: str, values: IntArray) -> None:
        """Set an input or state tensor."""
        checked = self.check_write(tensor, values)
        self._put(self.program.by_name[tensor], self._offsets[tensor], checked)

    def read(self, tensor: str) -> IntArray:
        """The raw integers in the arena; scratch as the section run last left it."""
        declared = self.program.by_name.get(tensor)
        if declared is None:
            raise ProgramError(f"{tensor}: no tensor of this Program")
        start = self._offsets.get(tensor, self.plan.scratch.get(self._last_section, {}).get(tensor))
        if start is None:
            raise ProgramError(f"{tensor}: section {self._last_section!r} does not use it")
        stored = self.memory[start : start + declared.byte_count].copy()
        columns = declared.shape[-1] if declared.shape else 1
        if declared.role is Role.SCRATCH and declared.format.stored_bits == 4 and columns % 2:
            stored.reshape(-1, columns // 2 + 1)[:, -1] &= 15  # padding holds what lay there before
        return unpack(stored.tobytes(), declared.shape, declared.format)

    def run(self, section: str, first: int = 0, last: int | None = None) -> None:
        """Run a section once."""
        ops = self._section(section)
        start, stop, _ = slice(first, last).indices(len(ops))  # a kernel would read what lies behind the table
        kernels.run(self._address, self._tables[section], ops, start, stop)

    def stream(
        self, section: str, inputs: Mapping[str, IntArray], collect: Sequence[str] = (), last: int | None = None
    ) -> dict[str, IntArray]:
        """All rows in one compiled call."""
        ops, rows = self._section(section)[:last], row_count(inputs)
        fed = []
        for name in {*inputs, *collect}:
            if name not in self._offsets and name not in self.plan.scratch[section]:
                raise ProgramError(f"{name}: section {section!r} does not use it")
        for name, values in inputs.items():
            declared = self.program.by_name[name]
            array = np.ascontiguousarray(values, np.int64)
            fits = declared.role is Role.INPUT and array.shape[1:] == declared.shape
            if not fits or (rows and (array.min() < declared.format.lo or array.max() > declared.format.hi)):
                raise ProgramError(
                    f"{name}: rows of shape {array.shape[1:]} do not fit {declared.shape} {declared.format}"
                )
            fed.append(array.reshape(rows, declared.size))
        sizes = [self.program.by_name[name].size for name in collect]
        tapped = np.zeros((rows, sum(sizes)), np.int64)
        table = self._tables[section]
        kernels.stream(
            self._address,
            table,
            ops,
            self._indices(inputs),
            np.concatenate(fed, axis=1),
            self._indices(collect),
            tapped,
        )
        starts = np.cumsum([0, *sizes])
        return {
            name: tapped[:, starts[i] : starts[i + 1]].reshape(rows, *self.program.by_name[name].shape)
            for i, name in enumerate(collect)
        }

    def _section(self, section: str) -> IntArray:
        if section not in self._ops:
            raise ProgramError(f"section {section!r}: this Program has {', '.join(self._ops)}")
        self._last_section = section
        return self._ops[section]

    def _indices(self, names: Sequence[str] | Mapping[str, Any]) -> IntArray:
        return np.array([self._index[name] for name in names], np.int64)

    def _put(self, tensor: Tensor, start: int, values: IntArray) -> None:
        packed = np.frombuffer(pack(values, tensor.format), np.uint8)
        self.memory[start : start + len(packed)] = packed

    def _id(self, name: str | None) -> int:
        return -1 if name is None else self._index[name]

    def _row(self, op: Op) -> list[int]:
        """The operation's numbers, in the order its kernel reads them."""
        row = _ENCODERS[type(op)](self, op)
        return row + [0] * (_ROW - len(row))

    def _contract(self, op: Contract) -> list[int]:
        row = self._sum(kernels.CONTRACT, op)
        row += [0] * (kernels.AXES - len(row))
        a_axes, b_axes, out_axes = split_axes(op.axes)
        a_steps, b_steps = self._steps(op.a, a_axes), self._steps(op.b, b_axes)
        extents = dict(zip(a_axes + b_axes, self._shape(op.a) + self._shape(op.b), strict=True))
        # the axis walked in the innermost loop comes last: one both operands step through by 1, if there is one
        summed = sorted(set(extents) - set(out_axes), key=lambda axis: -(a_steps.get(axis, 0) + b_steps.get(axis, 0)))
        row += [len(out_axes), max(len(summed), 1)]
        for axis in (*out_axes, *summed):
            row += [extents[axis], a_steps.get(axis, 0), b_steps.get(axis, 0)]
        return row if summed else [*row, 1, 0, 0]

    def _scale(self, op: Scale) -> list[int]:
        return self._sum(kernels.SCALE, op)

    def _sum(self, verb: int, op: Contract | Scale) -> list[int]:
        names = [self._id(name) for name in (op.out, op.a, op.b, op.c, op.t)]
        return [verb, *names, op.c_shift, op.gain, op.shift, _ROUNDINGS[op.rounding], op.row]

    def _shape(self, name: str) -> tuple[int, ...]:
        return self.program.by_name[name].shape

    def _steps(self, name: str, axes: str) -> dict[str, int]:
        """Memory elements from one index to the next, per axis; 4-bit rows are padded to even length."""
        tensor = self.program.by_name[name]
        steps, step = {}, 1
        for axis, extent in zip(reversed(axes), reversed(tensor.shape), strict=True):
            steps[axis] = step
            step *= extent + extent % 2 if step == 1 and tensor.format.stored_bits == 4 else extent
        return steps

    def _lut(self, op: Lut) -> list[int]:
        return [kernels.LUT, self._id(op.out), self._id(op.x), self._id(op.table), op.lo, op.width, op.shift]

    def _flow(self, op: Flow) -> list[int]:
        names = (op.factor, op.decision, op.entropy, op.z, op.gain, op.table, op.t, op.mean, op.drive)
        numbers = (op.lo, op.width, op.steps, op.rate, op.rate_shift, op.shift, op.row, op.guard, op.entropy_shift)
        fraction = -self.program.by_name[op.z].format.exponent
        return [
            kernels.FLOW,
            *map(self._id, names),
            *numbers,
            int(op.emit_first),
            op.decision_shift,
            fraction,
        ]

    def _outer_update(self, op: OuterUpdate) -> list[int]:
        return [kernels.OUTER_UPDATE, self._id(op.w), self._id(op.s), self._id(op.x), self._id(op.t), op.shift]

    def _update(self, op: Update) -> list[int]:
        names = [self._id(op.p), self._id(op.v), self._id(op.t)]
        return [kernels.UPDATE, *names, op.shift, op.v_shift, op.row, len(self._shape(op.p))]

    def _lattice(self, op: Lattice) -> list[int]:
        return [kernels.LATTICE, self._id(op.out), self._id(op.t), op.neuron]

    def _gather(self, op: Gather) -> list[int]:
        return [kernels.GATHER, self._id(op.out), self._id(op.a), self._id(op.index)]

    def _pool(self, op: Pool) -> list[int]:
        return [kernels.POOL, self._id(op.out), self._id(op.a), self._id(op.windows)]

    def _select(self, op: Select) -> list[int]:
        names = [self._id(name) for name in (op.out, op.p, op.q, op.a, op.b)]
        return [kernels.SELECT, *names, int(op.relation == "lt")]

    def _arg(self, op: Arg) -> list[int]:
        return [kernels.ARG, self._id(op.out), self._id(op.a), int(op.largest)]

    def _advance(self, op: Advance) -> list[int]:
        return [kernels.ADVANCE, self._id(op.t)]


_ENCODERS: dict[type[Op], Callable[[NumbaExecutor, Any], list[int]]] = {
    Contract: NumbaExecutor._contract,
    Scale: NumbaExecutor._scale,
    Lut: NumbaExecutor._lut,
    Flow: NumbaExecutor._flow,
    OuterUpdate: NumbaExecutor._outer_update,
    Update: NumbaExecutor._update,
    Lattice: NumbaExecutor._lattice,
    Gather: NumbaExecutor._gather,
    Pool: NumbaExecutor._pool,
    Select: NumbaExecutor._select,
    Arg: NumbaExecutor._arg,
    Advance: NumbaExecutor._advance,
}


def _tensor_row(tensor: Tensor, start: int) -> list[int]:
    kind = _KINDS[tensor.format.stored_bits, tensor.format.signed]
    columns = tensor.shape[-1] if tensor.shape else 1
    return [kind, start, tensor.size, columns, tensor.format.lo, tensor.format.hi]
