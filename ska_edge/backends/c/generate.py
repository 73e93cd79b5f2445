"""Program -> C99: names, formats and numbers for the templates; the kernels themselves stand in `csrc/kernels`.

Each kernel is a file that is included once for every combination of formats a Program uses it with.  Nothing is decided
here but widths: 32-bit arithmetic wherever the range proof allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from ...axes import memory_steps, merge_axes, split_axes
from ...errors import ProgramError
from ...fixed import pack
from ...operations import (
    Advance,
    Arg,
    Contract,
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
from ...plan import Plan, plan
from ...program import Program
from ...proof import bits_of, prove

KERNELS = Path(str(resources.files("ska_edge"))) / "csrc" / "kernels"
BYTES_A_LINE = 16


@dataclass(frozen=True)
class Instance:
    """One inclusion of a kernel's file with some macros set."""

    kernel: str
    macros: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """The function it defines: the kernel and what it was told, as in contract_s8_u8_s16_32."""
        return "_".join((self.kernel, *(value.lower().replace("-", "m") for _, value in self.macros)))


@dataclass(frozen=True)
class Call:
    """One operation: a kernel's instance and the text of its arguments."""

    instance: Instance
    arguments: tuple[str, ...]
    comment: str


@dataclass(frozen=True)
class Place:
    """A tensor in the arena (or in flash) as the C source names it."""

    name: str
    offset: int
    comment: str


@dataclass(frozen=True)
class Constant:
    """A constant in flash: its C type and raw elements (bytes, where it is packed two a byte)."""

    name: str
    type: str
    values: tuple[int, ...]
    comment: str


@dataclass
class Source:
    """What the templates are filled with."""

    program: Program
    plan: Plan
    places: list[Place] = field(default_factory=list)
    constants: list[Constant] = field(default_factory=list)
    instances: list[Instance] = field(default_factory=list)
    sections: dict[str, list[Call]] = field(default_factory=dict)
    loops: list[Constant] = field(default_factory=list)
    names: dict[tuple[str, str], str] = field(default_factory=dict)


def generate(program: Program) -> dict[str, str]:
    """The files `model.h` and `model.c` of a Program, by name.  Raises ProgramError for what C cannot hold yet."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    source = describe(program)
    environment = Environment(
        loader=PackageLoader("ska_edge", "csrc/templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["rows"] = _rows
    context = {
        "source": source,
        "program": program,
        "plan": source.plan,
        "state": tuple(state_image(program, source.plan)),
        "sample": next((t for t in program.of_kind(Kind.SAMPLE) if t.role is Role.INPUT), None),
        "label": next((t for t in program.of_kind(Kind.LABEL) if t.role is Role.INPUT), None),
        "decision": next((t for t in program.of_kind(Kind.DECISION) if t.role is Role.OUTPUT), None),
        "choice": next((t for t in program.of_kind(Kind.CHOICE) if t.role is Role.OUTPUT), None),
        "entropies": [t for t in program.of_kind(Kind.ENTROPY) if t.role is Role.OUTPUT],
        "c_type": c_type,
        "macro": lambda tensor: source.names["", tensor.name],
    }
    files = ("model.h", "model.c")
    return {name: environment.get_template(f"{name}.j2").render(context) for name in files}


def describe(program: Program) -> Source:
    """Names, places, instances and calls of a Program."""
    layout = plan(program)
    source = Source(program, layout)
    for tensor in program.tensors:
        name = _identifier(tensor.name)
        if tensor.role is Role.CONST:
            source.names["", tensor.name] = f"ska_const_{name}"
            source.constants.append(_constant(f"ska_const_{name}", tensor, program))
        elif tensor.role is not Role.SCRATCH:
            source.names["", tensor.name] = f"SKA_AT_{name}"
            source.places.append(Place(f"SKA_AT_{name}", layout.fixed[tensor.name], _words(tensor)))
    for section in program.sections:
        for tensor_name, offset in layout.scratch[section].items():
            name = f"SKA_{section.upper()}_{_identifier(tensor_name)}"
            source.names[section, tensor_name] = name
            source.places.append(Place(name, offset, _words(program.by_name[tensor_name])))
    if len(set(source.names.values())) != len(source.names):
        raise ProgramError("C: two tensors have names that differ only in '.' and '_'; rename one")
    bits = {(bound.section, bound.position): bound.need_bits for bound in prove(program)}
    for section, ops in program.sections.items():
        writer = _Writer(source, section)
        calls = [writer.call(op, 32 if bits[section, at] <= 32 else 64) for at, op in enumerate(ops)]
        source.sections[section] = calls
    every = (call.instance for calls in source.sections.values() for call in calls)
    source.instances = list(dict.fromkeys(every))
    return source


def c_type(tensor: Tensor) -> str:
    """The C type of one stored element; bytes where two share one."""
    bits = tensor.format.stored_bits
    return "uint8_t" if bits == 4 else f"{'' if tensor.format.signed or bits == 64 else 'u'}int{bits}_t"


def token(tensor: Tensor) -> str:
    """How the kernels name a tensor's format: s8, u4, fs16 for a constant."""
    bits = tensor.format.stored_bits
    sign = "s" if tensor.format.signed or bits == 64 else "u"
    return f"{'f' if tensor.role is Role.CONST else ''}{sign}{bits}"


def stride(tensor: Tensor) -> int:
    """Memory elements from one row (last axis) to the next: 4-bit rows are padded to whole bytes."""
    columns = tensor.shape[-1] if tensor.shape else 1
    return columns + columns % 2 if tensor.format.stored_bits == 4 else columns


class _Writer:
    """Writes the calls of one section."""

    def __init__(self, source: Source, section: str) -> None:
        self.source, self.section = source, section

    def call(self, op: Op, bits: int) -> Call:
        instance, arguments = _CALLS[type(op)](self, op, bits)
        reads = ", ".join(op.inputs().values())
        return Call(instance, tuple(arguments), f"{', '.join(op.outputs().values())} <- {op.verb}({reads})")

    def tensor(self, name: str) -> Tensor:
        return self.source.program.by_name[name]

    def at(self, name: str | None) -> str:
        """The address of a tensor; 0 for an operand that is absent."""
        if name is None:
            return "0"
        names = self.source.names
        return names.get((self.section, name)) or names["", name]

    def scalar(self, name: str | None) -> str:
        """The value of a tensor without axes, read when the call is made."""
        return "0" if name is None else f"SKA_LOAD({token(self.tensor(name))}, {self.at(name)}, 0)"

    def counter(self, name: str | None) -> str:
        return "0" if name is None else f"(uint32_t){self.scalar(name)}"

    def flat(self, *names: str | None) -> None:
        """Refuse 4-bit tensors whose flat index is not their place in memory."""
        for name in names:
            tensor = self.tensor(name) if name else None
            if tensor and tensor.size > (tensor.shape or (1,))[-1] != stride(tensor):
                raise ProgramError(f"{name}: 4-bit rows of odd length among flat elements have no C kernel yet")

    def limits(self, name: str, bits: int) -> list[str]:
        """Lowest and highest raw value of a tensor, no wider than the arithmetic."""
        fmt, end = self.tensor(name).format, 1 << (bits - 1)
        return [literal(max(fmt.lo, -end), bits), literal(min(fmt.hi, end - 1), bits)]

    # The operations, in the order of SPEC 5.

    def sums(self, op: Contract | Scale, bits: int) -> tuple[int, list[str], list[str]]:
        """Bits, formats of carried operand and output, and the arguments that contract and scale share."""
        if max(op.shift, -op.shift, op.c_shift) > 31:
            bits = 64
        self.flat(op.out, op.c)
        c = self.tensor(op.c) if op.c else None
        tail = [str(c.size if c else 0), str(op.c_shift), literal(op.gain, 32), str(op.shift), f"{op.row}U"]
        return bits, [token(c) if c else "u8"], [*tail, self.counter(op.t), *self.limits(op.out, bits)]

    def contract(self, op: Contract, bits: int) -> tuple[Instance, list[str]]:
        axes, a, b, out = merge_axes(op.axes, *(self.tensor(name) for name in (op.a, op.b, op.out)))
        a_axes, b_axes, out_axes = split_axes(axes)
        addresses = [self.at(op.out), self.at(op.a), self.at(op.b), self.at(op.c)]
        last = out_axes[-1:]
        if last not in a_axes:  # rows that share an operand share b
            a, b, a_axes, b_axes = b, a, b_axes, a_axes
            addresses[1:3] = addresses[2], addresses[1]
        a_steps, b_steps = memory_steps(a, a_axes), memory_steps(b, b_axes)
        extents = dict(zip(a_axes + b_axes, a.shape + b.shape, strict=True))
        summed = "".join(axis for axis in extents if axis not in out_axes)
        run = summed[-1:]
        bits, c_format, tail = self.sums(op, bits)
        products = [x * y for x in (a.format.lo, a.format.hi) for y in (b.format.lo, b.format.hi)]
        terms = math.prod(extents[axis] for axis in summed)
        product, total = (
            32 if bits_of(min(products) * count, max(products) * count) <= 32 else bits for count in (1, terms)
        )
        macros = [("A", token(a)), ("B", token(b)), ("C", c_format[0]), ("OUT", token(out))]
        macros += [(f"{letter}_STEP", str(steps.get(run, 0))) for letter, steps in (("A", a_steps), ("B", b_steps))]
        macros += [("BITS", str(bits)), ("PRODUCT", str(product)), ("TOTAL", str(total))]
        macros += [("ROUNDING", op.rounding.name)]
        rows = [str(steps.get(last, 0)) for steps in (a_steps, b_steps)]
        n = str(extents.get(run, 1))
        fields = out_axes[1:]
        in_turn = len(out_axes) == 2 and a_axes == out_axes + summed and b_axes == fields + summed and len(summed) == 1
        if (len(out_axes) <= 1 and len(summed) <= 1) or in_turn:
            shape = [str(out.size), n, *rows, str(extents[fields] if in_turn else out.size)]
            return _instance("contract", macros), [*addresses, *shape, *tail]
        loops = [(extents[x], a_steps.get(x, 0), b_steps.get(x, 0)) for x in (*out_axes[:-1], *summed[:-1])]
        name = f"ska_loops_{len(self.source.loops)}"
        self.source.loops.append(Constant(name, "uint32_t", tuple(v for loop in loops for v in loop), op.axes))
        counts = [name, str(len(out_axes[:-1])), str(len(summed[:-1])), str(extents.get(last, 1)), n, *rows]
        return _instance("contract_any", macros), [*addresses, *counts, *tail]

    def scale(self, op: Scale, bits: int) -> tuple[Instance, list[str]]:
        self.flat(op.a, op.b)
        a, out = self.tensor(op.a), self.tensor(op.out)
        b = self.tensor(op.b) if op.b else None
        bits, c_format, tail = self.sums(op, bits)
        formats = [("A", token(a)), ("B", token(b) if b else "u8"), ("C", c_format[0]), ("OUT", token(out))]
        macros = [*formats, ("BITS", str(bits)), ("ROUNDING", op.rounding.name)]
        addresses = [self.at(name) for name in (op.out, op.a, op.b, op.c)]
        return _instance("scale", macros), [*addresses, str(out.size), str(a.size), str(b.size if b else 0), *tail]

    def lut(self, op: Lut, bits: int) -> tuple[Instance, list[str]]:
        self.flat(op.out, op.x)
        x, table, out = self.tensor(op.x), self.tensor(op.table), self.tensor(op.out)
        bits = 64 if op.shift > 31 or op.width > 30 else bits
        macros = [("X", token(x)), ("TABLE", token(table)), ("OUT", token(out)), ("BITS", str(bits))]
        numbers = [str(x.size), literal(op.lo, bits), str(op.width), str(table.size - 1), str(op.shift)]
        addresses = [self.at(name) for name in (op.out, op.x, op.table)]
        return _instance("lut", macros), [*addresses, *numbers, *self.limits(op.out, bits)]

    def flow(self, op: Flow, bits: int) -> tuple[Instance, list[str]]:
        z, table = self.tensor(op.z), self.tensor(op.table)
        self.flat(op.z, op.mean, op.drive, op.factor, op.decision)
        optional = [token(self.tensor(name)) if name else "s16" for name in (op.mean, op.drive)]
        macros = [
            ("Z", token(z)),
            ("MEAN", optional[0]),
            ("DRIVE", optional[1]),
            ("TABLE", token(table)),
            ("OUT", token(self.tensor(op.factor))),
            ("DECISION", token(self.tensor(op.decision))),
            ("BITS", "32"),
        ]
        addresses = [self.at(n) for n in (op.factor, op.decision, op.entropy, op.z, op.mean, op.drive, op.table)]
        numbers = [
            f"(int32_t){self.scalar(op.gain)}",
            self.counter(op.t),
            str(z.size),
            literal(op.lo, 32),
            str(op.width),
            str(table.size - 1),
            str(op.steps),
            literal(op.rate, 32),
            str(op.rate_shift),
            str(op.shift),
            f"{op.row}U",
            str(op.guard),
            str(-z.format.exponent),
            str(min(op.entropy_shift, 31)),  # of a 32-bit number no further shift leaves more than its sign
            str(int(op.emit_first)),
            str(min(op.decision_shift, 30)),  # 0 from there on
        ]
        ends = [end for name in (op.z, op.factor, op.decision) for end in self.limits(name, 32)]
        return _instance("flow", macros), [*addresses, *numbers, *ends]

    def outer_update(self, op: OuterUpdate, bits: int) -> tuple[Instance, list[str]]:
        w, s, x = self.tensor(op.w), self.tensor(op.s), self.tensor(op.x)
        macros = [("W", token(w)), ("S", token(s)), ("X", token(x)), ("BITS", str(bits))]
        macros += [("TOWARDS", "1")] if op.towards else []
        row = w.size // s.size
        if row != w.shape[-1]:
            self.flat(op.w, op.x)
        of_w, of_x = (stride(t) * row // t.shape[-1] for t in (w, x))
        numbers = [s.size, row, of_w, of_x, x.size // row, op.shift]
        towards = [str(op.x_shift), str(op.w_shift)] if op.towards else []
        addresses = [self.at(name) for name in (op.w, op.s, op.x)]
        arguments = [*addresses, *map(str, numbers), self.counter(op.t), *towards]
        return _instance("outer_update", macros), [*arguments, *self.limits(op.w, bits)]

    def update(self, op: Update, bits: int) -> tuple[Instance, list[str]]:
        p, v = self.tensor(op.p), self.tensor(op.v)
        macros = [("P", token(p)), ("X", token(v)), ("BITS", str(bits))]
        rows, columns = p.shape if len(p.shape) == 2 else (1, p.size)
        numbers = [rows, columns, stride(p), stride(v), int(len(p.shape) < 2), op.v_shift, op.shift]
        arguments = [self.at(op.p), self.at(op.v), *map(str, numbers), f"{op.row}U", self.counter(op.t)]
        return _instance("update", macros), [*arguments, *self.limits(op.p, bits)]

    def lattice(self, op: Lattice, bits: int) -> tuple[Instance, list[str]]:
        out = self.tensor(op.out)
        arguments = [self.at(op.out), str(out.size), f"{op.neuron}U", self.counter(op.t)]
        return _instance("lattice", [("OUT", token(out))]), arguments

    def gather(self, op: Gather, bits: int) -> tuple[Instance, list[str]]:
        self.flat(op.out, op.a, op.index)
        a, index, out = self.tensor(op.a), self.tensor(op.index), self.tensor(op.out)
        macros = [("A", token(a)), ("INDEX", token(index)), ("OUT", token(out))]
        return _instance("gather", macros), [*(self.at(n) for n in (op.out, op.a, op.index)), str(out.size)]

    def pool(self, op: Pool, bits: int) -> tuple[Instance, list[str]]:
        self.flat(op.out, op.a, op.windows)
        a, windows, out = self.tensor(op.a), self.tensor(op.windows), self.tensor(op.out)
        macros = [("A", token(a)), ("INDEX", token(windows)), ("OUT", token(out)), ("BITS", str(bits))]
        addresses = [self.at(name) for name in (op.out, op.a, op.windows)]
        return _instance("pool", macros), [*addresses, str(out.size), str(windows.shape[-1])]

    def select(self, op: Select, bits: int) -> tuple[Instance, list[str]]:
        names = (op.p, op.q, op.a, op.b)
        self.flat(op.out, *names)
        macros = [(letter, token(self.tensor(name))) for letter, name in zip("PQAB", names, strict=True)]
        macros += [("OUT", token(self.tensor(op.out))), ("BITS", str(bits))]
        sizes = [str(self.tensor(name).size) for name in (op.out, *names)]
        addresses = [self.at(name) for name in (op.out, *names)]
        return _instance("select", macros), [*addresses, *sizes, str(int(op.relation == "lt"))]

    def arg(self, op: Arg, bits: int) -> tuple[Instance, list[str]]:
        a, out = self.tensor(op.a), self.tensor(op.out)
        macros = [("A", token(a)), ("OUT", token(out)), ("BITS", str(bits))]
        numbers = [out.size, a.shape[-1], stride(a), int(op.largest)]
        return _instance("arg", macros), [self.at(op.out), self.at(op.a), *map(str, numbers)]

    def advance(self, op: Advance, bits: int) -> tuple[Instance, list[str]]:
        t = self.tensor(op.t)
        return _instance("advance", [("OUT", token(t))]), [self.at(op.t), f"{t.format.hi}U"]


_CALLS: dict[type[Op], Callable[[_Writer, Any, int], tuple[Instance, list[str]]]] = {
    Contract: _Writer.contract,
    Scale: _Writer.scale,
    Lut: _Writer.lut,
    Flow: _Writer.flow,
    OuterUpdate: _Writer.outer_update,
    Update: _Writer.update,
    Lattice: _Writer.lattice,
    Gather: _Writer.gather,
    Pool: _Writer.pool,
    Select: _Writer.select,
    Arg: _Writer.arg,
    Advance: _Writer.advance,
}


def literal(value: int, bits: int) -> str:
    """An integer constant of so many bits; C has no negative literals, hence the lowest number needs care.

    >>> literal(5, 32), literal(-(1 << 31), 32)
    ('INT32_C(5)', '(-INT32_C(2147483647) - 1)')
    """
    if value == -(1 << (bits - 1)):
        return f"(-INT{bits}_C({-value - 1}) - 1)"
    return f"INT{bits}_C({value})" if value >= 0 else f"-INT{bits}_C({-value})"


def _instance(kernel: str, macros: Sequence[tuple[str, str]]) -> Instance:
    return Instance(kernel, tuple((name, value) for name, value in macros))


def _identifier(name: str) -> str:
    return name.replace(".", "_")


def _words(tensor: Tensor) -> str:
    shape = "x".join(map(str, tensor.shape)) or "scalar"
    owner = "" if tensor.layer is None else f", layer {tensor.layer}"
    return f"{tensor.kind.value} {shape}, {tensor.format}{owner}"


def _constant(name: str, tensor: Tensor, program: Program) -> Constant:
    values = program.values[tensor.name]
    if tensor.format.stored_bits == 4:
        return Constant(name, "uint8_t", tuple(pack(values, tensor.format)), _words(tensor))
    return Constant(name, c_type(tensor), tuple(values.reshape(-1).tolist()), _words(tensor))


def state_image(program: Program, layout: Plan) -> bytes:
    """The state as it lies in the arena, padding included."""
    image = bytearray(layout.fixed_bytes - layout.state_start)
    for tensor in program.of_role(Role.STATE):
        packed = pack(program.values[tensor.name], tensor.format)
        start = layout.fixed[tensor.name] - layout.state_start
        image[start : start + len(packed)] = packed
    return bytes(image)


def _rows(values: Sequence[int]) -> list[Sequence[int]]:
    """Values cut into lines of a readable length."""
    return [values[start : start + BYTES_A_LINE] for start in range(0, len(values), BYTES_A_LINE)]


__all__ = ["KERNELS", "describe", "generate"]
