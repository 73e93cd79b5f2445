"""A Program as tables of numbers, and the executor that runs them in the planned arena."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arena import ArenaExecutor
from ...axes import memory_steps, merge_axes, split_axes
from ...errors import ProgramError
from ...executor import row_count
from ...fixed import IntArray, pack
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
from ...program import Program
from . import kernels, wide

_ROW = 64
_LINE = 64  # bytes of a line of cache
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


class NumbaExecutor(ArenaExecutor):
    """The compiled core.  Its memory is the plan's arena, constants behind it, and a workspace.

    `memory` is that array of bytes; nothing else is allocated while it learns.  The workspace holds what wide loops
    want in another form than the arena's: a flow's table as pairs, 32 neurons as int32, a sample as 16-bit lanes, and
    for a batch contraction both operands, which is more than the arena itself.  It keeps nothing between operations.
    """

    name = "numba"

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        const_start = -(-self.plan.arena_bytes // 8) * 8
        self._work_start = _aligned(const_start + self.plan.const_bytes)
        self._pair_tables: dict[str, int] = {}
        for op in (op for ops in program.sections.values() for op in ops if isinstance(op, Flow)):
            if op.table not in self._pair_tables:
                self._pair_tables[op.table] = self._work_start
                self._work_start += _aligned(4 * program.by_name[op.table].size)
        self._work_end = self._work_start
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
        self.memory = self._block()
        self._address = self.memory.ctypes.data
        for name, at in self._pair_tables.items():
            table = program.values[name]
            pairs = (table[:-1] + (table[1:] << 16)).astype("<u4")
            self.memory[at : at + pairs.nbytes] = pairs.view(np.uint8)
        for tensor in program.of_role(Role.CONST, Role.STATE):
            self.poke(self._offsets[tensor.name], pack(program.values[tensor.name], tensor.format))

    def _block(self) -> npt.NDArray[np.uint8]:
        """The memory, placed so that the largest state starts a line of cache: wide loops then cross fewer of them."""
        block = np.zeros(self._work_end + _LINE, np.uint8)
        states = sorted(self.program.of_role(Role.STATE), key=lambda tensor: -tensor.byte_count)
        largest = self.plan.fixed[states[0].name] if states else 0
        skip = -(block.ctypes.data + largest) % _LINE
        return block[skip : skip + self._work_end]

    def peek(self, start: int, count: int) -> bytes:
        """Bytes of the arena."""
        return self.memory[start : start + count].tobytes()

    def poke(self, start: int, data: bytes) -> None:
        """Overwrite bytes of the arena."""
        self.memory[start : start + len(data)] = np.frombuffer(data, np.uint8)

    def run_operations(self, section: int, first: int, last: int) -> None:
        """Run operations first to last - 1 of a section."""
        name = list(self._ops)[section]
        kernels.run(self._address, self._tables[name], self._ops[name], first, last)

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

    def _id(self, name: str | None) -> int:
        return -1 if name is None else self._index[name]

    def _row(self, op: Op) -> list[int]:
        """The operation's numbers, in the order its kernel reads them."""
        row = _ENCODERS[type(op)](self, op)
        return row + [0] * (_ROW - len(row))

    def _work(self, size: int) -> int:
        """Where the workspace starts; it is made to hold so many bytes."""
        self._work_end = max(self._work_end, self._work_start + _aligned(size))
        return self._work_start

    def _contract(self, op: Contract) -> list[int]:
        matrix = self._matrix(op)
        if matrix is None:
            turned_axes = "{1},{0}->{2}".format(*split_axes(op.axes))
            turned = replace(op, a=op.b, b=op.a, axes=turned_axes)
            matrix = self._matrix(turned)
            op = op if matrix is None else turned
        row = self._sum(kernels.CONTRACT, op)
        row += [0] * (kernels.AXES - len(row))
        axes, a, b, _ = self._merged(op)
        a_axes, b_axes, out_axes = split_axes(axes)
        a_steps, b_steps = memory_steps(a, a_axes), memory_steps(b, b_axes)
        extents = dict(zip(a_axes + b_axes, a.shape + b.shape, strict=True))
        # the axis walked in the innermost loop comes last: one both operands step through by 1, if there is one
        summed = sorted(set(extents) - set(out_axes), key=lambda axis: -(a_steps.get(axis, 0) + b_steps.get(axis, 0)))
        row += [len(out_axes), max(len(summed), 1)]
        for axis in (*out_axes, *summed):
            row += [extents[axis], a_steps.get(axis, 0), b_steps.get(axis, 0)]
        row += [] if summed else [1, 0, 0]
        return row + [0] * (kernels.MATRIX - len(row)) + (matrix or [0])

    def _matrix(self, op: Contract) -> list[int] | None:
        """What `kernels.matrix` needs; None unless a is the larger, and its rows meet rows of b along one axis.

        16-bit lanes with sign hold the elements of a, lanes or two planes of bytes those of b.  Every row of b meets
        all rows of a, or (an axis of both that is not summed: fields) rows of its own.
        """
        axes, a, b, out = self._merged(op)
        a_axes, b_axes, out_axes = split_axes(axes)
        if a_axes == b_axes and not out_axes and min(a.format.stored_bits, b.format.stored_bits) >= 8:
            a, b = (replace(each, shape=(each.size,)) for each in (a, b))  # all of one with all of the other
            a_axes = b_axes = "i"
        fields = set(a_axes) & set(b_axes) & set(out_axes)
        summed = (set(a_axes) & set(b_axes)) - fields
        rows, columns = set(a_axes) - summed - fields, set(b_axes) - summed
        apart = len(summed) == 1 and len(rows) < 2 and len(columns) < 2 and rows | columns == set(out_axes)
        narrow = _fits_lanes(a) and (_fits_lanes(b) or b.format.stored_bits == 16)
        if not (apart and narrow and (a.size >= b.size or not _fits_lanes(b))):
            return None
        a_steps, b_steps = memory_steps(a, a_axes), memory_steps(b, b_axes)
        axis, row, column = summed.pop(), "".join(rows), "".join(columns)
        count, planes = a.shape[a_axes.index(axis)], 1 if b.format.stored_bits <= 8 else 2
        b_rows = b.size // count
        a_rows = a.size // count // (b_rows if fields else 1)
        as_it_is = a_steps[axis] == 1 and a.format.signed and (planes == 1 or a.format.stored_bits == 16)
        if fields and not (as_it_is and columns == fields):
            return None
        padded = -(-count // wide.LANES) * wide.LANES
        size = 2 * 8 * wide.ROWS + 2 * padded * (b_rows * planes + (0 if as_it_is else a_rows))
        out_row, out_column = (b_rows, 1) if out_axes == row + column else (1, a_rows)  # flat, without padding
        numbers = [a_rows, a_steps.get(row, 0), a_steps[axis], out_row]
        numbers += [b_rows, b_steps.get(column, 0), b_steps[axis], out_column]
        c_size = self.program.by_name[op.c].size if op.c else 1
        c_row, c_column = (out_row, out_column) if c_size == out.size else (0, 0)
        if 1 < c_size < out.size:  # one for each index of the last axis
            if c_size != out.shape[-1]:
                return None
            c_row, c_column = int(out_axes[-1] == row), int(out_axes[-1] == column)
        numbers += [count, planes, a.format.stored_bits if as_it_is else 0, self._work(size), c_row, c_column]
        return [1, *numbers, a_steps[column] if fields else 0]

    def _merged(self, op: Contract) -> tuple[str, Tensor, Tensor, Tensor]:
        return merge_axes(op.axes, *(self.program.by_name[name] for name in (op.a, op.b, op.out)))

    def _scale(self, op: Scale) -> list[int]:
        operands = [self.program.by_name[name] for name in (op.a, op.b, op.c) if name]
        out = self.program.by_name[op.out]
        narrow = all(t.format.stored_bits == 16 and t.format.signed for t in (out, *operands))
        whole = all(t.size in (1, out.size) for t in operands)
        fits = narrow and whole and op.rounding is not Rounding.LATTICE and op.shift >= 0
        return [*self._sum(kernels.SCALE, op), self._work(3 * 2 * wide.LANES) if fits else 0]

    def _sum(self, verb: int, op: Contract | Scale) -> list[int]:
        names = [self._id(name) for name in (op.out, op.a, op.b, op.c, op.t)]
        return [verb, *names, op.c_shift, op.gain, op.shift, _ROUNDINGS[op.rounding], op.row]

    def _shape(self, name: str) -> tuple[int, ...]:
        return self.program.by_name[name].shape

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
            self._work(8 * 4 * wide.NEURONS),
            self._pair_tables[op.table],
        ]

    def _outer_update(self, op: OuterUpdate) -> list[int]:
        w, s, x = (self.program.by_name[name] for name in (op.w, op.s, op.x))
        full = w.format.signed and w.format.bits == w.format.stored_bits
        row, unpadded = w.size // s.size, w.format.stored_bits > 4 or w.shape[-1] % 2 == 0
        fits = op.shift == 16 and full and not op.towards and all(_fits_lanes(each) for each in (w, s, x))
        fits = fits and (row == w.shape[-1] or unpadded)
        names = [self._id(name) for name in (op.w, op.s, op.x, op.t)]
        wide = [w.format.stored_bits if fits else 0, self._work(2 * row)]
        return [kernels.OUTER_UPDATE, *names, op.shift, *wide, int(op.towards), op.x_shift, op.w_shift]

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


def _aligned(size: int) -> int:
    """Up to a whole line of cache."""
    return -(-size // _LINE) * _LINE


def _fits_lanes(tensor: Tensor) -> bool:
    """Whether 16-bit lanes with sign hold every element."""
    return tensor.format.stored_bits <= (16 if tensor.format.signed else 8)


def _tensor_row(tensor: Tensor, start: int) -> list[int]:
    kind = _KINDS[tensor.format.stored_bits, tensor.format.signed]
    columns = tensor.shape[-1] if tensor.shape else 1
    return [kind, start, tensor.size, columns, tensor.format.lo, tensor.format.hi]
