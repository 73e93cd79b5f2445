"""The Program: named integer tensors and straight-line integer operations (SPEC 4 to 6).

A Program is the one thing every backend runs.  It is immutable, holds no float, and cannot exist in a broken state:
its constructor checks shapes, order of definition and locality, and has `proof.prove` show that no accumulator can
overflow.  `SPEC.md` beside this file says what each operation means; the classes below only say what each one names.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from .errors import ProgramError
from .fixed import FloatArray, Format, IntArray, byte_count, pack

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
    """w[j,i] <- saturate(w[j,i] + ((s[j]*x[i] + offset(i,j,t)) >> shift)), the learning of a synapse (SPEC 5.5)."""

    reads = ("w", "s", "x", "t")
    writes = ("w",)
    w: str
    s: str
    x: str
    t: str
    shift: int


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
class Encoding:
    """How the host turns a real feature into a raw input (SPEC 6.3).

    u = (x - low) / (high - low), clipped to 0 .. 1; raw = quantise(u - centre), with one centre for all features or
    one each.
    """

    low: float = 0.0
    high: float = 1.0
    centre: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ProgramError(f"encoding: low {self.low}, high {self.high}; both finite, low less than high")
        if not self.centre or not all(0.0 <= value <= 1.0 for value in self.centre):
            raise ProgramError("encoding: centres lie in 0 .. 1, one or one a feature")

    def unit(self, samples: FloatArray) -> FloatArray:
        """Features as the network sees them, before rounding: u - centre, row by row."""
        scaled = np.clip((samples - self.low) / (self.high - self.low), 0.0, 1.0)
        return np.asarray(scaled - np.asarray(self.centre), np.float64)


@dataclass(frozen=True)
class Program:
    """A network lowered to integers: tensors, sections of operations, constants and the state it starts from.

    `values` holds every constant and the current state, raw, by name.  `meta` is free text for people; it is in no
    digest.  Raises ProgramError unless every rule of SPEC 4 holds and `proof.prove` succeeds.
    """

    tensors: tuple[Tensor, ...]
    sections: Mapping[str, tuple[Op, ...]]
    values: Mapping[str, IntArray]
    encoding: Encoding = Encoding()
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from . import proof, wellformed  # both read Programs; the constructor calls them so that none is unproved

        object.__setattr__(self, "sections", MappingProxyType(dict(self.sections)))
        object.__setattr__(
            self, "values", MappingProxyType({name: _frozen(name, v) for name, v in self.values.items()})
        )
        wellformed.check(self)
        proof.prove(self)

    @cached_property
    def by_name(self) -> dict[str, Tensor]:
        """Tensor by name."""
        return {tensor.name: tensor for tensor in self.tensors}

    def of_role(self, *roles: Role) -> Iterator[Tensor]:
        """The tensors of these roles, in the Program's order."""
        return (tensor for tensor in self.tensors if tensor.role in roles)

    def of_kind(self, *kinds: Kind) -> Iterator[Tensor]:
        """The tensors of these kinds, in the Program's order."""
        return (tensor for tensor in self.tensors if tensor.kind in kinds)

    def initial_state(self) -> dict[str, IntArray]:
        """A fresh, writable copy of the state the Program carries."""
        return {tensor.name: self.values[tensor.name].copy() for tensor in self.of_role(Role.STATE)}

    def with_state(self, state: Mapping[str, IntArray], meta: Mapping[str, Any] | None = None) -> Program:
        """The same Program carrying another state (and, if given, other notes)."""
        wanted = {tensor.name for tensor in self.of_role(Role.STATE)}
        if set(state) != wanted:
            raise ProgramError(f"state: tensors {sorted(state)}, the Program has {sorted(wanted)}")
        values = {**self.values, **{name: np.array(value, np.int64) for name, value in state.items()}}
        return Program(self.tensors, self.sections, values, self.encoding, self.meta if meta is None else meta)

    def structure(self) -> dict[str, Any]:
        """Everything but the values, as JSON-ready data in a fixed order (SPEC 6.1)."""
        return {
            "encoding": [self.encoding.low, self.encoding.high, list(self.encoding.centre)],
            "sections": {name: [op_to_json(op) for op in self.sections[name]] for name in sorted(self.sections)},
            "tensors": [tensor_to_json(tensor) for tensor in self.tensors],
        }

    @cached_property
    def program_digest(self) -> str:
        """SHA-256 of structure and constants: what the network is, not what it has learnt (SPEC 6.2)."""
        digest = hashlib.sha256(canonical_json(self.structure()))
        for tensor in self.of_role(Role.CONST):
            digest.update(pack(self.values[tensor.name], tensor.format))
        return digest.hexdigest()

    @cached_property
    def state_digest(self) -> str:
        """SHA-256 of the state: equal digests have learnt equally (SPEC 6.2)."""
        return self.digest_of(self.values)

    def digest_of(self, state: Mapping[str, IntArray]) -> str:
        """State digest of any state of this Program."""
        digest = hashlib.sha256()
        for tensor in self.of_role(Role.STATE):
            digest.update(pack(state[tensor.name], tensor.format))
        return digest.hexdigest()

    def weights_changed(self, state: Mapping[str, IntArray]) -> float:
        """Share of learnt weights (heads count, biases do not) in which a state differs from the one carried."""
        names = {op.w for op in self.sections.get("learn", ()) if isinstance(op, OuterUpdate)}
        changed = sum(int((state[name] != self.values[name]).sum()) for name in names)
        return changed / max(sum(self.by_name[name].size for name in names), 1)

    def updates_per_sample(self, section: str = "learn") -> int:
        """Weights touched by one run of a section (heads count, biases do not)."""
        return sum(self.by_name[op.w].size for op in self.sections.get(section, ()) if isinstance(op, OuterUpdate))


def _frozen(name: str, values: IntArray) -> IntArray:
    """A private, read-only int64 copy: what was proved stays what is run."""
    if np.asarray(values).dtype.kind not in "iu":
        raise ProgramError(f"{name}: values of type {np.asarray(values).dtype}; only whole numbers")
    copy = np.array(values, np.int64)
    copy.setflags(write=False)
    return copy


def canonical_json(data: Any) -> bytes:
    """JSON with sorted keys and no spaces, as bytes: the form that is hashed and stored (SPEC 6.1)."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


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
