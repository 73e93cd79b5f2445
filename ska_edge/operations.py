"""What Programs are written in: tensors and the twelve operations (SPEC 4 and 5).

`SPEC.md` beside this file says what each operation means; the classes below only say what each one names.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from functools import cached_property
from typing import Any, ClassVar

from .fixed import Format, IntArray, byte_count

MAX_ELEMENTS = 1 << 25  # of all tensors together: a hostile file cannot ask for more than 256 MB
MAX_STEPS = 1 << 12
MAX_WORK = 1 << 32  # elementary steps of one run of a section: seconds, not hours


class Role(str, Enum):
    """What a tensor is to the machine that runs the Program (SPEC 4.1)."""

    INPUT = "input"
    OUTPUT = "output"
    CONST = "const"
    STATE = "state"
    SCRATCH = "scratch"


class Kind(str, Enum):
    """What a tensor is to the reader, in the words of the papers (SPEC 4.1)."""

    SAMPLE = "sample"
    LABEL = "label"
    WEIGHT = "weight"
    BIAS = "bias"
    HEAD = "head"
    MEAN = "mean"
    COUNTER = "counter"
    KNOWLEDGE = "knowledge"
    DECISION = "decision"
    ERROR = "error"
    DRIVE = "drive"
    FACTOR = "factor"
    ENTROPY = "entropy"
    CHOICE = "choice"
    NORM = "norm"
    RATE = "rate"
    TABLE = "table"
    OTHER = "other"


class Site(str, Enum):
    """Where an operation happens on a neuromorphic core."""

    SYNAPSE = "synapse"
    SOMA = "soma"


class Rounding(str, Enum):
    """What is added before a right shift (SPEC 2.2)."""

    FLOOR = "floor"
    HALF = "half"
    LATTICE = "lattice"


@dataclass(frozen=True)
class Tensor:
    """A named array of raw integers.  `layer` owns it; None means the whole Program does."""

    name: str
    shape: tuple[int, ...]
    format: Format
    role: Role
    kind: Kind = Kind.OTHER
    layer: int | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def byte_count(self) -> int:
        """Bytes in memory, packed (SPEC 1.2)."""
        return byte_count(self.shape, self.format)


@dataclass(frozen=True)
class Op:
    """Base of all operations.  `reads` and `writes` name the fields that hold tensor names."""

    reads: ClassVar[tuple[str, ...]] = ()
    writes: ClassVar[tuple[str, ...]] = ("out",)
    elementwise: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Output field -> input fields whose storage it may take over: element k is read before element k is written."""

    layer: int | None = field(kw_only=True, default=None)
    site: Site = field(kw_only=True, default=Site.SOMA)

    @property
    def verb(self) -> str:
        """Name of the primitive in SPEC.md."""
        return VERBS[type(self)]

    def inputs(self) -> dict[str, str]:
        """Field -> tensor name, for the tensors read; absent optional operands are left out."""
        return {f: getattr(self, f) for f in self.reads if getattr(self, f) is not None}

    def outputs(self) -> dict[str, str]:
        """Field -> tensor name, for the tensors written."""
        return {f: getattr(self, f) for f in self.writes}


@dataclass(frozen=True)
class Contract(Op):
    """out = requantise(gain * sum a*b + (c << c_shift)), summed over the axes missing from the output (SPEC 5.1)."""

    reads = ("a", "b", "c", "t")
    out: str
    a: str
    b: str
    axes: str
    c: str | None = None
    t: str | None = None
    c_shift: int = 0
    gain: int = 1
    shift: int = 0
    rounding: Rounding = Rounding.FLOOR
    row: int = 0
    acc_bits: int = 64


@dataclass(frozen=True)
class Scale(Op):
    """out = requantise(gain * a*b + (c << c_shift)), element by element (SPEC 5.2)."""

    reads = ("a", "b", "c", "t")
    elementwise = {"out": ("a", "b", "c")}
    out: str
    a: str
    b: str | None = None
    c: str | None = None
    t: str | None = None
    c_shift: int = 0
    gain: int = 1
    shift: int = 0
    rounding: Rounding = Rounding.FLOOR
    row: int = 0
    acc_bits: int = 64


@dataclass(frozen=True)
class Lut(Op):
    """out = table at x, clamped to the table's domain, linearly interpolated (SPEC 5.3)."""

    reads = ("x", "table")
    elementwise = {"out": ("x",)}
    out: str
    x: str
    table: str
    lo: int
    width: int
    shift: int = 0


@dataclass(frozen=True)
class Flow(Op):
    """The flow map: K forward steps of one sample through the neurons of one layer (SPEC 5.4, arXiv 2504.03214)."""

    reads = ("z", "gain", "table", "t", "mean", "drive")
    writes = ("factor", "decision", "entropy")
    elementwise = {"factor": ("z",), "decision": ("drive",)}
    factor: str
    decision: str
    entropy: str
    z: str
    gain: str
    table: str
    t: str
    lo: int
    width: int
    steps: int
    rate: int
    rate_shift: int
    shift: int
    row: int
    mean: str | None = None
    drive: str | None = None
    guard: int = 12
    entropy_shift: int = 0
    emit_first: bool = False
    decision_shift: int = 0


@dataclass(frozen=True)
class OuterUpdate(Op):
    """w[j,i] <- saturate(w[j,i] + ((s[j]*x[i] + offset(i,j,t)) >> shift)), the learning of a synapse (SPEC 5.5).

    `towards`: x << x_shift less w << w_shift takes the place of x.
    """

    reads = ("w", "s", "x", "t")
    writes = ("w",)
    w: str
    s: str
    x: str
    t: str
    shift: int
    towards: bool = False
    x_shift: int = 0
    w_shift: int = 0


@dataclass(frozen=True)
class Update(Op):
    """p <- saturate(p + (((v << v_shift) + offset) >> shift)) (SPEC 5.6)."""

    reads = ("p", "v", "t")
    writes = ("p",)
    p: str
    v: str
    t: str
    shift: int
    v_shift: int = 0
    row: int = 0


@dataclass(frozen=True)
class Lattice(Op):
    """out[i] = offset(i, neuron, t), 16 bits without sign (SPEC 5.7)."""

    reads = ("t",)
    out: str
    t: str
    neuron: int = 0


@dataclass(frozen=True)
class Gather(Op):
    """out[k] = a[index[k]], the index a constant (SPEC 5.8)."""

    reads = ("a", "index")
    out: str
    a: str
    index: str


@dataclass(frozen=True)
class Pool(Op):
    """out[k] = max over p of a[windows[k,p]], the windows a constant (SPEC 5.9)."""

    reads = ("a", "windows")
    out: str
    a: str
    windows: str


@dataclass(frozen=True)
class Select(Op):
    """out = a where p relation q, else b; relation is `eq` or `lt` (SPEC 5.10)."""

    reads = ("p", "q", "a", "b")
    elementwise = {"out": ("a", "b", "p", "q")}
    out: str
    p: str
    q: str
    a: str
    b: str
    relation: str = "eq"


@dataclass(frozen=True)
class Arg(Op):
    """out = index of the first minimum or maximum along the last axis (SPEC 5.11)."""

    reads = ("a",)
    out: str
    a: str
    largest: bool = True


@dataclass(frozen=True)
class Advance(Op):
    """t <- (t + 1) mod 2^bits (SPEC 5.12)."""

    reads = ("t",)
    writes = ("t",)
    t: str


VERBS: dict[type[Op], str] = {
    Contract: "contract",
    Scale: "scale",
    Lut: "lut",
    Flow: "flow",
    OuterUpdate: "outer_update",
    Update: "update",
    Lattice: "lattice",
    Gather: "gather",
    Pool: "pool",
    Select: "select",
    Arg: "arg",
    Advance: "advance",
}
OPS: dict[str, type[Op]] = {verb: op for op, verb in VERBS.items()}
SECTIONS = ("infer", "learn", "prime", "step")


@dataclass(frozen=True)
class Draft:
    """Tensors, sections of operations, and the values of constants and state: a Program not yet checked."""

    tensors: tuple[Tensor, ...]
    sections: Mapping[str, tuple[Op, ...]]
    values: Mapping[str, IntArray]

    @cached_property
    def by_name(self) -> dict[str, Tensor]:
        """Tensor by name."""
        return {tensor.name: tensor for tensor in self.tensors}

    def of_role(self, *roles: Role) -> Iterator[Tensor]:
        """The tensors of these roles, in order of declaration."""
        return (tensor for tensor in self.tensors if tensor.role in roles)

    def of_kind(self, *kinds: Kind) -> Iterator[Tensor]:
        """The tensors of these kinds, in order of declaration."""
        return (tensor for tensor in self.tensors if tensor.kind in kinds)


def tensor_to_json(tensor: Tensor) -> dict[str, Any]:
    """A tensor's declaration as JSON-ready data."""
    return {
        "bits": tensor.format.bits,
        "exponent": tensor.format.exponent,
        "kind": tensor.kind.value,
        "layer": tensor.layer,
        "name": tensor.name,
        "role": tensor.role.value,
        "shape": list(tensor.shape),
        "signed": tensor.format.signed,
    }


def op_to_json(op: Op) -> dict[str, Any]:
    """An operation as JSON-ready data: its verb and every field."""
    data: dict[str, Any] = {"op": op.verb}
    for each in fields(op):
        value = getattr(op, each.name)
        data[each.name] = value.value if isinstance(value, Enum) else value
    return data
