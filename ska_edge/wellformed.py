"""The rules a Program must keep before its ranges are looked at: names, shapes, order, locality (SPEC 4.1 to 4.5)."""

from __future__ import annotations

import math
from collections.abc import Callable

from .axes import split_axes
from .errors import ProgramError
from .operations import (
    MAX_ELEMENTS,
    MAX_STEPS,
    MAX_WORK,
    SECTIONS,
    Advance,
    Arg,
    Contract,
    Draft,
    Flow,
    Gather,
    Kind,
    Lattice,
    Lut,
    Op,
    OuterUpdate,
    Pool,
    Role,
    Scale,
    Select,
    Tensor,
    Update,
)

MAX_TENSORS = 4096
MAX_OPS = 65536
MAX_SHIFT = 62


def check(program: Draft) -> None:
    """Raise ProgramError at the first broken rule; the message names section, operation and tensor."""
    if len(program.tensors) > MAX_TENSORS or sum(map(len, program.sections.values())) > MAX_OPS:
        raise ProgramError(f"Program: more than {MAX_TENSORS} tensors or {MAX_OPS} operations")
    if sum(tensor.size for tensor in program.tensors) > MAX_ELEMENTS:
        raise ProgramError(f"Program: more than {MAX_ELEMENTS} elements in all tensors together")
    _check_tensors(program)
    for section, ops in program.sections.items():
        if section not in SECTIONS:
            raise ProgramError(f"section {section!r}: allowed are {', '.join(SECTIONS)}")
        _check_section(program, section, ops)
        if (work := sum(_work(program, op) for op in ops)) > MAX_WORK:
            raise ProgramError(f"section {section}: {work} elementary steps a run; allowed are {MAX_WORK}")


def _work(program: Draft, op: Op) -> int:
    """Elementary steps of one run, for the bound against hostile files."""
    if isinstance(op, Contract):
        a_axes, b_axes, _ = split_axes(op.axes)
        extents = dict(zip(a_axes + b_axes, program.by_name[op.a].shape + program.by_name[op.b].shape, strict=True))
        return math.prod(extents.values())
    if isinstance(op, Flow):
        return program.by_name[op.z].size * op.steps
    names = (*op.inputs().values(), *op.outputs().values())
    return max(program.by_name[name].size for name in names)


def _check_tensors(program: Draft) -> None:
    if len(program.by_name) != len(program.tensors):
        raise ProgramError("Program: two tensors share a name")
    for tensor in program.tensors:
        if not tensor.name or not tensor.name.isascii() or not tensor.name.replace("_", "").replace(".", "").isalnum():
            raise ProgramError(f"tensor {tensor.name!r}: names are ASCII letters, digits, '_' and '.'")
        if len(tensor.shape) > 3 or any(extent < 1 for extent in tensor.shape):
            raise ProgramError(f"{tensor.name}: shape {tensor.shape}; 0 to 3 axes of at least 1")
        if tensor.layer is not None and not 1 <= tensor.layer <= 255:
            raise ProgramError(f"{tensor.name}: layer {tensor.layer}; layers count from 1 to 255")
        has_values = tensor.name in program.values
        if has_values != (tensor.role in (Role.CONST, Role.STATE)):
            raise ProgramError(f"{tensor.name}: a {tensor.role.value} tensor {'has' if has_values else 'lacks'} values")
        if has_values:
            values = program.values[tensor.name]
            if values.shape != tensor.shape:
                raise ProgramError(f"{tensor.name}: values of shape {values.shape}, declared {tensor.shape}")
            if values.min() < tensor.format.lo or values.max() > tensor.format.hi:
                raise ProgramError(f"{tensor.name}: values {values.min()} to {values.max()} do not fit {tensor.format}")
    extra = set(program.values) - set(program.by_name)
    if extra:
        raise ProgramError(f"values for unknown tensors: {', '.join(sorted(extra))}")


def _check_section(program: Draft, section: str, ops: tuple[Op, ...]) -> None:
    defined = {t.name for t in program.of_role(Role.INPUT, Role.CONST, Role.STATE)}
    for position, op in enumerate(ops):
        where = f"{section}[{position}] {op.verb}"
        for name in (*op.inputs().values(), *op.outputs().values()):
            if name not in program.by_name:
                raise ProgramError(f"{where}: no tensor named {name!r}")
        for name in op.inputs().values():
            if name not in defined:
                raise ProgramError(f"{where}: reads {name} before anything wrote it")
        written = list(op.outputs().values())
        if len(set(written)) != len(written):
            raise ProgramError(f"{where}: writes {written[0]} twice")
        for name in written:
            if program.by_name[name].role in (Role.INPUT, Role.CONST):
                raise ProgramError(f"{where}: writes {name}, which is a {program.by_name[name].role.value}")
        if set(written) & set(op.inputs().values()) and not isinstance(op, OuterUpdate | Update | Advance):
            raise ProgramError(f"{where}: writes a tensor it reads")
        _check_locality(program, where, op)
        _CHECKS[type(op)](program, where, op)
        defined.update(written)


def _check_locality(program: Draft, where: str, op: Op) -> None:
    for name in op.inputs().values():
        tensor = program.by_name[name]
        from_below = op.layer is not None and tensor.layer == op.layer - 1 and tensor.kind is Kind.DECISION
        if tensor.layer not in (None, op.layer) and not from_below:
            raise ProgramError(
                f"{where}: an operation of layer {op.layer} reads {name} of layer {tensor.layer}; "
                "only decisions of the layer below may cross"
            )
    for name in op.outputs().values():
        tensor = program.by_name[name]
        if tensor.layer not in (None, op.layer):
            raise ProgramError(f"{where}: an operation of layer {op.layer} writes {name} of layer {tensor.layer}")


def _require(condition: bool, where: str, what: str) -> None:
    if not condition:
        raise ProgramError(f"{where}: {what}")


def _suffix(program: Draft, where: str, name: str | None, out: Tensor) -> None:
    if name is not None:
        shape = program.by_name[name].shape
        fits = len(shape) <= len(out.shape) and out.shape[len(out.shape) - len(shape) :] == shape
        _require(fits, where, f"{name} of shape {shape} is no suffix of {out.name}'s {out.shape}")


def _shift(where: str, lowest: int = 0, **shifts: int) -> None:
    for name, value in shifts.items():
        _require(lowest <= value <= MAX_SHIFT, where, f"{name} {value}; allowed are {lowest} to {MAX_SHIFT}")


def _counter(program: Draft, where: str, name: str | None, needed: bool = True) -> None:
    _require((name is not None) == needed, where, "a lattice needs t, and only a lattice may have it")
    if name is not None:
        t = program.by_name[name]
        good = t.kind is Kind.COUNTER and not t.shape and not t.format.signed and 16 <= t.format.bits <= 32
        _require(good, where, f"{name} is no counter: one element of 16 to 32 bits without sign")


def _sums(program: Draft, where: str, op: Contract | Scale) -> None:
    out = program.by_name[op.out]
    _suffix(program, where, op.c, out)
    _shift(where, c_shift=op.c_shift)
    _shift(where, -MAX_SHIFT, shift=op.shift)
    _require(op.acc_bits in (32, 64), where, f"accumulator of {op.acc_bits} bits; allowed are 32 and 64")
    _require(-(1 << 31) <= op.gain < 1 << 31, where, f"gain {op.gain} does not fit 32 bits")
    _require(0 <= op.row < 1 << 24, where, f"row {op.row}; allowed are 0 to 2^24 - 1")
    _counter(program, where, op.t, op.rounding.value == "lattice")


def _contract(program: Draft, where: str, op: Contract) -> None:
    _sums(program, where, op)
    a_axes, b_axes, out_axes = split_axes(op.axes)
    extents: dict[str, int] = {}
    for name, axes in ((op.a, a_axes), (op.b, b_axes), (op.out, out_axes)):
        shape = program.by_name[name].shape
        distinct = len(set(axes)) == len(axes) and len(axes) == len(shape)
        _require(distinct, where, f"{name} of shape {shape} does not match axes {axes!r} of {op.axes!r}")
        for letter, extent in zip(axes, shape, strict=True):
            _require(
                extents.setdefault(letter, extent) == extent, where, f"axis {letter} is {extent} and {extents[letter]}"
            )
    _require(set(out_axes) <= set(a_axes) | set(b_axes), where, f"an output axis of {op.axes!r} is in no operand")


def _scale(program: Draft, where: str, op: Scale) -> None:
    _sums(program, where, op)
    for name in (op.a, op.b):
        _suffix(program, where, name, program.by_name[op.out])


def _table(program: Draft, where: str, name: str, width: int) -> None:
    table = program.by_name[name]
    _require(table.role is Role.CONST and len(table.shape) == 1 and table.size >= 2, where, f"{name} is no table")
    _shift(where, width=width)
    _require(width <= 30 and table.format.bits <= 32, where, "a table has at most 32 bits and segments of 2^30")


def _lut(program: Draft, where: str, op: Lut) -> None:
    _table(program, where, op.table, op.width)
    _shift(where, shift=op.shift)
    _require(abs(op.lo) < 1 << 40, where, f"table starts at {op.lo}; allowed are 40 bits")
    _require(program.by_name[op.x].format.bits <= 40, where, f"{op.x} has more than 40 bits")
    out, x = program.by_name[op.out], program.by_name[op.x]
    _require(out.shape == x.shape, where, f"{op.out} and {op.x} differ in shape")


def _flow(program: Draft, where: str, op: Flow) -> None:
    z = program.by_name[op.z]
    _require(bool(z.shape) and z.format.signed and z.format.bits <= 16, where, f"{op.z}: an axis, 16 bits, signed")
    pulls = [name for name in (op.mean, op.drive) if name is not None]
    for name in (op.factor, op.decision, *pulls):
        _require(program.by_name[name].shape == z.shape, where, f"{name} and {op.z} differ in shape")
    for name in pulls:
        _require(program.by_name[name].format == z.format, where, f"{name} and {op.z} differ in format")
    gain, entropy, table = (program.by_name[name] for name in (op.gain, op.entropy, op.table))
    _require(not gain.shape and gain.format.bits <= 16, where, f"{op.gain}: one element of at most 16 bits")
    _require(not entropy.shape and entropy.format.bits == 64, where, f"{op.entropy}: one element of 64 bits")
    _table(program, where, op.table, op.width)
    values = program.values[table.name]
    _require(values.min() >= 0 and values.max() <= 1 << 15, where, f"{op.table}: decisions lie in 0 .. 2^15")
    _require(-(1 << 16) <= op.lo <= 1 << 16, where, f"table starts at {op.lo}; allowed are 17 bits")
    _require(op.width <= 14, where, f"segments of 2^{op.width}; allowed are up to 2^14")
    _require(1 <= op.steps <= MAX_STEPS, where, f"{op.steps} steps; allowed are 1 to {MAX_STEPS}")
    _require(0 <= op.rate < 1 << 13, where, f"rate {op.rate}; allowed are 0 to 8191")
    _require(1 <= op.rate_shift <= 30, where, f"rate_shift {op.rate_shift}; allowed are 1 to 30")
    _require(1 <= -z.format.exponent <= 15, where, f"{op.z} has exponent {z.format.exponent}; allowed are -15 to -1")
    _require(1 <= op.guard <= 14, where, f"guard {op.guard}; allowed are 1 to 14")
    _require(0 <= op.entropy_shift <= 30, where, f"entropy_shift {op.entropy_shift}; allowed are 0 to 30")
    _require(0 <= op.row < 1 << 24, where, f"row {op.row}; allowed are 0 to 2^24 - 1")
    _shift(where, shift=op.shift, decision_shift=op.decision_shift)
    _counter(program, where, op.t)


def _outer_update(program: Draft, where: str, op: OuterUpdate) -> None:
    w, s, x = (program.by_name[name] for name in (op.w, op.s, op.x))
    _require(w.role is Role.STATE, where, f"{op.w} is no state")
    rows, inputs = len(s.shape), len(x.shape)
    fits = 1 <= rows < len(w.shape) and s.shape == w.shape[:rows]
    _require(fits, where, f"{op.w} {w.shape} does not fit {op.s} {s.shape}")
    fits = len(w.shape) - rows <= inputs <= len(w.shape) and x.shape == w.shape[-inputs:]
    _require(fits, where, f"{op.w} {w.shape} does not fit {op.x} {x.shape}")
    shifts = (op.shift, op.x_shift, op.w_shift)
    _require(all(0 <= shift <= 30 for shift in shifts), where, f"shifts {shifts}; allowed are 0 to 30")
    _require(op.towards or shifts[1:] == (0, 0), where, "x_shift and w_shift belong to `towards`")
    _counter(program, where, op.t)


def _update(program: Draft, where: str, op: Update) -> None:
    p, v = program.by_name[op.p], program.by_name[op.v]
    _require(p.role is Role.STATE and len(p.shape) <= 2, where, f"{op.p}: a state tensor of at most two axes")
    _require(p.shape == v.shape, where, f"{op.p} and {op.v} differ in shape")
    _require(0 <= op.shift <= 30 and 0 <= op.v_shift <= 30, where, "shifts are 0 to 30")
    _require(0 <= op.row < 1 << 24, where, f"row {op.row}; allowed are 0 to 2^24 - 1")
    _counter(program, where, op.t)


def _lattice(program: Draft, where: str, op: Lattice) -> None:
    out = program.by_name[op.out]
    _require(len(out.shape) == 1 and out.format.hi >= 0xFFFF, where, f"{op.out}: one axis, holding 0 to 65535")
    _require(0 <= op.neuron < 1 << 24, where, f"neuron {op.neuron}; allowed are 0 to 2^24 - 1")
    _counter(program, where, op.t)


def _indices(program: Draft, where: str, name: str, source: str) -> None:
    tensor = program.by_name[name]
    _require(tensor.role is Role.CONST, where, f"{name} is no constant")
    values, size = program.values[name], program.by_name[source].size
    _require(values.min() >= 0 and values.max() < size, where, f"{name}: an index beyond {source}'s {size} elements")


def _gather(program: Draft, where: str, op: Gather) -> None:
    _indices(program, where, op.index, op.a)
    index, out = program.by_name[op.index], program.by_name[op.out]
    _require(index.shape == out.shape, where, "index and output differ in shape")


def _pool(program: Draft, where: str, op: Pool) -> None:
    _indices(program, where, op.windows, op.a)
    windows, out = program.by_name[op.windows].shape, program.by_name[op.out].shape
    _require(bool(windows) and windows[:-1] == out, where, "windows and output differ in shape")


def _select(program: Draft, where: str, op: Select) -> None:
    _require(op.relation in ("eq", "lt"), where, f"relation {op.relation!r}; allowed are eq and lt")
    for name in (op.p, op.q, op.a, op.b):
        _suffix(program, where, name, program.by_name[op.out])


def _arg(program: Draft, where: str, op: Arg) -> None:
    a, out = program.by_name[op.a], program.by_name[op.out]
    _require(bool(a.shape) and out.shape == a.shape[:-1], where, f"{op.out} is not {op.a} without its last axis")
    _require(a.shape[-1] - 1 <= out.format.hi, where, f"{op.out} cannot hold index {a.shape[-1] - 1}")


def _advance(program: Draft, where: str, op: Advance) -> None:
    _require(program.by_name[op.t].role is Role.STATE, where, f"{op.t} is no state")
    _require(op.layer is None, where, "advance belongs to no layer")
    _counter(program, where, op.t)


_CHECKS: dict[type[Op], Callable[..., None]] = {
    Contract: _contract,
    Scale: _scale,
    Lut: _lut,
    Flow: _flow,
    OuterUpdate: _outer_update,
    Update: _update,
    Lattice: _lattice,
    Gather: _gather,
    Pool: _pool,
    Select: _select,
    Arg: _arg,
    Advance: _advance,
}
