"""Random Programs for every backend's tests, and a way to run two executors in step.

    @examples(500)
    @given(cases())
    def test_equal(case): check_case(MyExecutor, case)

A Program is built operation by operation out of a budget of bits, so that the range proof refuses few; operands are
older tensors as often as new ones, so that scratch lives, dies and is overlaid.  `cases()` is a Hypothesis strategy: it
shrinks what fails to a few numbers.  `case_of(seed)` draws the same from one seed, in a tenth of the time.
`HYPOTHESIS_PROFILE=thorough` makes twenty times as many, and other ones each time.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from math import prod
from typing import TypeVar

import numpy as np
from hypothesis import HealthCheck, reject, settings
from hypothesis import strategies as st
from vectors import SECTION, differences

from ska_edge.errors import ProgramError
from ska_edge.executor import Executor
from ska_edge.fixed import Format, IntArray
from ska_edge.interpreter import Interpreter
from ska_edge.operations import (
    OPS,
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
    Rounding,
    Scale,
    Select,
    Tensor,
    Update,
    op_to_json,
)
from ska_edge.program import Program

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
VERBS = tuple(OPS)

_T = TypeVar("_T")
_BITS = (2, 3, 4, 7, 8, 8, 9, 15, 16, 16, 17, 31, 32, 33, 63, 64)
_EXTENTS = (1, 2, 3, 4, 5, 7, 16, 33)
_BUDGETS = (30, 62, 62, 62, 62, 62, 62, 63, 64)  # at 63 and 64 the proof may refuse
_ROWS = (0, 1, 77, (1 << 24) - 1)
_MAX_SIZE = 80
_MAX_WORK = 700  # products of one contraction: the oracle takes a microsecond each
_ONE = 1 << 15


def seeds(count: int) -> range:
    """Seeds for `case_of`: always the same, unless a thorough run is wanted."""
    start = random.SystemRandom().randrange(1 << 40) if THOROUGH else 0
    return range(start, start + count * (20 if THOROUGH else 1))


@contextmanager
def seed_in_message(seed: int) -> Iterator[None]:
    """Failures inside name the seed."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"seed {seed}: {error}") from error


def examples(count: int) -> settings:
    """Settings of a test: this many examples, always the same ones, unless a thorough run is wanted."""
    return settings(
        max_examples=count * (20 if THOROUGH else 1),
        derandomize=not THOROUGH,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


@dataclass(frozen=True)
class Case:
    """A Program with one section, and the inputs of some runs of it, one after the other."""

    program: Program
    runs: tuple[dict[str, IntArray], ...]


# --- strategies -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """What Programs to make: which primitives, how many operations (at least, about at most), how wide formats."""

    verbs: Sequence[str] = VERBS
    operations: tuple[int, int] = (1, 8)
    most_bits: int = 64
    runs: tuple[int, int] = (1, 3)


ANYTHING = Wanted()


@st.composite
def drafts(draw: st.DrawFn, wanted: Wanted = ANYTHING) -> Draft:
    """Tensors and operations that are well-formed."""
    number: Callable[[int, int], int] = partial(_drawn, draw)
    return _made(number, wanted)


def _drawn(draw: st.DrawFn, lo: int, hi: int) -> int:
    return draw(_integers(lo, hi))


@st.composite
def cases(draw: st.DrawFn, wanted: Wanted = ANYTHING) -> Case:
    """Proved Programs with inputs.  What the proof refuses is drawn again."""
    try:
        program = program_of(draw(drafts(wanted)))
    except ProgramError:
        reject()
    runs = draw(st.lists(st.integers(0, 2**32 - 1), min_size=wanted.runs[0], max_size=wanted.runs[1]))
    return Case(program, tuple(inputs_of(program, seed) for seed in runs))


def program_of(draft: Draft) -> Program:
    """The Program of a draft.  Raises ProgramError where it is refused."""
    return Program(draft.tensors, draft.sections, draft.values)


def draft_of(seed: int, wanted: Wanted = ANYTHING) -> Draft:
    """What `case_of` tries first, well-formed; the proof has not seen it."""
    return _made(random.Random(seed).randint, wanted)


def case_of(seed: int, wanted: Wanted = ANYTHING) -> Case:
    """A proved Program with inputs, from a seed; without Hypothesis and its shrinking, so much faster."""
    source = random.Random(seed)
    while True:
        try:
            program = program_of(_made(source.randint, wanted))
        except ProgramError:
            continue
        runs = source.randint(*wanted.runs)
        return Case(program, tuple(inputs_of(program, source.getrandbits(32)) for _ in range(runs)))


def _made(integer: Callable[[int, int], int], wanted: Wanted) -> Draft:
    maker = _Maker(integer, wanted.most_bits)
    count = maker.number(*wanted.operations)
    while len(maker.ops) < count:
        maker.enter_layer()
        _METHODS[maker.one_of(wanted.verbs)](maker)
    return Draft(tuple(maker.tensors), {SECTION: tuple(maker.ops)}, maker.values)


def inputs_of(program: Program, seed: int) -> dict[str, IntArray]:
    """Inputs for one run, biased to extremes; all zero for seed 0."""
    source = random.Random(seed)
    inputs = {}
    for tensor in program.of_role(Role.INPUT):
        own_seed = 0 if seed == 0 else source.getrandbits(32)
        inputs[tensor.name] = raw_values(own_seed, tensor.shape, tensor.format.lo, tensor.format.hi)
    return inputs


def raw_values(seed: int, shape: tuple[int, ...], lo: int, hi: int) -> IntArray:
    """Integers from lo to hi, often lo, hi, 0, -1 and multiples of powers of two (ties); all near zero for seed 0."""
    source = random.Random(seed)
    size = prod(shape)
    style = 0 if seed == 0 else source.randrange(1, 16)
    if style == 0:
        values = [_clamp(0, lo, hi)] * size
    elif style == 1:
        values = [lo] * size
    elif style == 2:
        values = [hi] * size
    else:
        values = [_raw_value(source, lo, hi) for _ in range(size)]
    return np.array(values, np.int64).reshape(shape)


def _raw_value(source: random.Random, lo: int, hi: int) -> int:
    kind = source.randrange(9)
    if kind >= 6:
        return source.randint(lo, hi)
    if kind == 5:  # an odd multiple of a power of two: half way between two multiples of the next
        odd = 2 * source.randint(-4, 4) + 1
        return _clamp(odd << source.randrange(max(hi - lo, 1).bit_length()), lo, hi)
    return (lo, hi, _clamp(0, lo, hi), _clamp(-1, lo, hi), _clamp(source.randint(-3, 3), lo, hi))[kind]


def _clamp(value: int, lo: int, hi: int) -> int:
    return min(max(value, lo), hi)


def bits_taken(fmt: Format) -> int:
    """Bits of a two's complement that holds every value of a format."""
    return fmt.bits + (0 if fmt.signed else 1)


@lru_cache(maxsize=1 << 14)
def _formats(most: int, bits: int, lo: int, hi: int, usual: bool) -> tuple[tuple[int, bool], ...]:
    """(bits, signed) of `most` bits of a two's complement, `bits` of its own, that hold lo to hi."""
    every = _BITS if usual else range(2, 65)
    found = []
    for width in every:
        for signed in (True, False):
            if width > bits or (width == 64 and not signed) or width + (not signed) > most:
                continue
            fmt = Format(width, 0, signed)
            if fmt.lo <= lo and hi <= fmt.hi:
                found.append((width, signed))
    return tuple(found) or (_formats(most, bits, lo, hi, False) if usual else ())


_integers = lru_cache(maxsize=1 << 12)(st.integers)


@dataclass
class _Maker:
    """A Program in the making.  Every method named after a primitive appends one such operation, or a few."""

    integer: Callable[[int, int], int]
    most_bits: int
    tensors: list[Tensor] = field(default_factory=list)
    values: dict[str, IntArray] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    readable: set[str] = field(default_factory=set)
    layer: int | None = None

    # Small choices.

    def number(self, lo: int, hi: int) -> int:
        """An integer from lo to hi."""
        return self.integer(lo, hi) if lo < hi else lo

    def one_of(self, choices: Sequence[_T]) -> _T:
        """One of these."""
        return choices[self.number(0, len(choices) - 1)]

    def chance(self, one_in: int) -> bool:
        """True once in so many."""
        return self.number(0, one_in - 1) == one_in - 1

    def shape(self, least: int = 0, most: int = 3, size: int = _MAX_SIZE) -> tuple[int, ...]:
        """A shape of some axes and at most `size` elements."""
        shape: tuple[int, ...] = ()
        for _ in range(self.number(least, most)):
            allowed = [extent for extent in _EXTENTS if extent * prod(shape) <= size]
            shape += (self.one_of(allowed),)
        return shape

    def format(self, most: int = 64, bits: int = 64, lo: int = 0, hi: int = 0) -> Format:
        """A format of at most so many bits that holds lo to hi; lo and hi go before `most_bits`."""
        usual = not self.chance(3)
        choices = _formats(min(most, self.most_bits), bits, lo, hi, usual) or _formats(most, bits, lo, hi, usual)
        width, signed = self.one_of(choices)
        return Format(width, self.one_of((0, -8, -15, 5)), signed)

    def enter_layer(self) -> None:
        """Now and then the following operations belong to the next layer."""
        if self.layer is None or self.layer < 3:
            self.layer = (self.layer or 0) + 1 if self.chance(6) else self.layer

    # Tensors.

    def declare(
        self, shape: tuple[int, ...], fmt: Format, role: Role, kind: Kind = Kind.OTHER, layer: int | None = None
    ) -> Tensor:
        """A new tensor."""
        tensor = Tensor(f"{role.value[0]}{len(self.tensors)}", shape, fmt, role, kind, layer)
        self.tensors.append(tensor)
        return tensor

    def give_values(self, tensor: Tensor, values: IntArray) -> Tensor:
        """Values for a constant or a state, which may then be read."""
        self.values[tensor.name] = values
        self.readable.add(tensor.name)
        return tensor

    def fresh(self, shape: tuple[int, ...], fmt: Format, roles: Sequence[Role]) -> Tensor:
        """A new tensor to read from."""
        tensor = self.declare(shape, fmt, self.one_of(roles), layer=self.one_of((None, self.layer)))
        if tensor.role is Role.INPUT:
            self.readable.add(tensor.name)
            return tensor
        return self.give_values(tensor, raw_values(self.number(0, 2**32 - 1), shape, fmt.lo, fmt.hi))

    def constant(self, values: IntArray, fmt: Format) -> Tensor:
        """A constant of given values."""
        return self.give_values(self.declare(values.shape, fmt, Role.CONST, layer=self.layer), values)

    def readable_here(self, wanted: Callable[[Tensor], bool]) -> list[Tensor]:
        """The tensors an operation may read now."""
        below = None if self.layer is None else self.layer - 1
        return [
            t
            for t in self.tensors
            if t.name in self.readable
            and (t.layer in (None, self.layer) or (t.layer == below and t.kind is Kind.DECISION))
            and wanted(t)
        ]

    def operand(self, shape: tuple[int, ...], most: int = 64, bits: int = 64, fmt: Format | None = None) -> Tensor:
        """Something to read, often an older tensor."""

        def wanted(t: Tensor) -> bool:
            narrow = bits_taken(t.format) <= most and t.format.bits <= bits
            return t.shape == shape and narrow and fmt in (None, t.format)

        old = self.readable_here(wanted)
        if old and not self.chance(4):
            return self.one_of(old[::-1])
        return self.fresh(shape, fmt or self.format(most, bits), (Role.INPUT, Role.STATE, Role.CONST))

    def suffix(self, shape: tuple[int, ...], most: int = 64) -> Tensor:
        """Something to read whose shape is the end of `shape`."""
        return self.operand(shape[self.number(0, len(shape)) :] if self.chance(3) else shape, most)

    def state(self, shape: tuple[int, ...], most: int, fmt: Format | None = None) -> Tensor:
        """A state to change."""
        old = [
            t
            for t in self.tensors
            if t.role is Role.STATE and t.shape == shape and bits_taken(t.format) <= most
            if t.layer in (None, self.layer) and fmt in (None, t.format)
        ]
        if old and self.chance(2):
            return self.one_of(old)
        return self.fresh(shape, fmt or self.format(most), (Role.STATE,))

    def counter(self) -> Tensor:
        """t."""
        old = [t for t in self.tensors if t.kind is Kind.COUNTER]
        if old and not self.chance(4):
            return self.one_of(old)
        fmt = Format(self.one_of((16, 16, 17, 24, 32)), 0, signed=False)
        seed = self.number(0, 2**32 - 1)
        return self.give_values(self.declare((), fmt, Role.STATE, Kind.COUNTER), raw_values(seed, (), 0, fmt.hi))

    def result(
        self,
        shape: tuple[int, ...],
        reads: Sequence[Tensor | None],
        fmt: Format | None = None,
        lo: int = 0,
        hi: int = 0,
    ) -> Tensor:
        """Something to write that holds lo to hi: new, or an older tensor this operation does not read."""
        names = {t.name for t in reads if t is not None}
        old = [
            t
            for t in self.tensors
            if t.role in (Role.SCRATCH, Role.OUTPUT, Role.STATE) and t.shape == shape and t.layer in (None, self.layer)
            if t.name not in names and t.format.lo <= lo and hi <= t.format.hi and fmt in (None, t.format)
        ]
        if old and self.chance(6):
            return self.one_of(old)
        role = self.one_of((Role.SCRATCH,) * 6 + (Role.OUTPUT, Role.STATE))
        kind = Kind.DECISION if self.chance(4) else Kind.OTHER
        tensor = self.declare(shape, fmt or self.format(lo=lo, hi=hi), role, kind, self.one_of((None, self.layer)))
        if role is Role.STATE:
            seed = self.number(0, 2**32 - 1)
            self.values[tensor.name] = raw_values(seed, shape, tensor.format.lo, tensor.format.hi)
        return tensor

    def emit(self, op: Op) -> None:
        """Append an operation of the current layer; what it writes may be read from now on."""
        layer = None if isinstance(op, Advance) else self.layer
        self.ops.append(replace(op, layer=layer))
        self.readable.update(op.outputs().values())

    # Operations.

    def contract(self) -> None:
        a_axes, b_axes, out_axes, extents = self.axes()
        terms = prod(extent for letter, extent in extents.items() if letter not in out_axes)
        budget = self.one_of(_BUDGETS)
        room = min(budget - (terms - 1).bit_length(), 2 * self.most_bits)
        a = self.operand(tuple(extents[letter] for letter in a_axes), room - 2)
        b = self.operand(tuple(extents[letter] for letter in b_axes), room - bits_taken(a.format))
        used = bits_taken(a.format) + bits_taken(b.format) + (terms - 1).bit_length()
        shape = tuple(extents[letter] for letter in out_axes)
        self.sums(partial(Contract, axes=f"{a_axes},{b_axes}->{out_axes}"), shape, a, b, used, budget)

    def axes(self) -> tuple[str, str, str, dict[str, int]]:
        """Letters of a, b and out in any order, and every letter's extent: summed or not, in one operand or in both."""
        places: list[list[str]] = [[], [], []]
        extents: dict[str, int] = {}
        for letter in "ioxyzw"[: self.number(0, 5)]:
            in_a, in_b, in_out = self.one_of(_MEMBERSHIPS)
            taken = [place for place, member in zip(places, (in_a, in_b, in_out), strict=True) if member]
            allowed = [extent for extent in _EXTENTS if extent * prod(extents.values()) <= _MAX_WORK]
            if any(len(place) == 3 for place in taken) or not allowed:
                continue
            extents[letter] = self.one_of(allowed)
            for place in taken:
                place.insert(self.number(0, len(place)), letter)
        a, b, out = ("".join(place) for place in places)
        return a, b, out, extents

    def scale(self) -> None:
        self.scale_into(self.shape(), None)

    def scale_into(self, shape: tuple[int, ...], fmt: Format | None) -> Tensor:
        """A scale whose output has a given format, if one is given."""
        budget = self.one_of(_BUDGETS)
        a = self.suffix(shape, min(budget - 2, self.most_bits))
        b = self.suffix(shape, budget - bits_taken(a.format)) if self.chance(2) else None
        used = bits_taken(a.format) + (bits_taken(b.format) if b else 0)
        return self.sums(Scale, shape, a, b, used, budget, fmt)

    def sums(
        self,
        op: Callable[..., Contract | Scale],
        shape: tuple[int, ...],
        a: Tensor,
        b: Tensor | None,
        used: int,
        budget: int,
        fmt: Format | None = None,
    ) -> Tensor:
        """What contract and scale share: gain, carried operand, shift, rounding."""
        gain, used = self.gain(used, budget)
        c, c_shift = None, 0
        if self.chance(2):
            c = self.suffix(shape, min(budget, self.most_bits))
            c_shift = self.one_of((0, 0, self.number(0, min(budget - bits_taken(c.format), 62))))
            used = max(used, bits_taken(c.format) + c_shift) + 1
        rounding = self.one_of(list(Rounding))
        t = self.counter() if rounding is Rounding.LATTICE else None
        out = self.result(shape, (a, b, c, t), fmt)
        self.emit(
            op(
                out.name,
                a.name,
                b.name if b else None,
                c=c.name if c else None,
                t=t.name if t else None,
                c_shift=c_shift,
                gain=gain,
                shift=self.sum_shift(used, budget, out),
                rounding=rounding,
                row=self.one_of(_ROWS),
                acc_bits=32 if budget == 30 else 64,
            )
        )
        return out

    def gain(self, used: int, budget: int) -> tuple[int, int]:
        """A gain, and the bits used with it."""
        most = max(min(budget - used, 31), 0)
        bits = self.one_of((0, 0, self.number(0, most), most))
        return self.one_of((min(1 << bits, (1 << 31) - 1), -(1 << bits), max((1 << bits) - 3, 1))), used + bits

    def sum_shift(self, used: int, budget: int, out: Tensor) -> int:
        """A shift that leaves about the bits of the output, or any, or a negative one."""
        fitting = used - out.format.bits + self.number(-2, 2)
        wanted = self.one_of((0, fitting, fitting, fitting, self.number(0, 61), -self.number(0, 62)))
        return _clamp(wanted, min(used - budget, 0), min(budget - 1, 61))

    def table(self, lo: int, hi: int, bits: int, domain: Format) -> tuple[Tensor, int, int]:
        """A table, its start and its width; its domain is about that of a format."""
        size = self.one_of((2, 3, 5, 9, 17))
        fmt = self.format(bits=bits) if lo == hi else self.format(bits=bits, lo=lo, hi=hi)
        lo, hi = (fmt.lo, fmt.hi) if lo == hi else (lo, hi)
        values = raw_values(self.number(0, 2**32 - 1), (size,), lo, hi)
        if self.chance(2):
            values = np.sort(values)
        width = _clamp(domain.bits - size.bit_length() + self.number(0, 2), 0, 14)
        start = domain.lo + (0 if self.chance(2) else self.number(-(1 << width), 1 << width))
        return self.constant(values, fmt), start, width

    def lut(self) -> None:
        x = self.operand(self.shape(), bits=40)
        table, start, width = self.table(0, 0, 32, x.format)
        if self.chance(4):
            start, width = self.one_of((1 - (1 << 40), (1 << 40) - 1, -1, 0)), self.number(0, 30)
        out = self.result(x.shape, (x, table))
        fitting = max(table.format.bits - out.format.bits, 0)
        shift = self.one_of((0, fitting, fitting, self.number(0, 62)))
        self.emit(Lut(out.name, x.name, table.name, start, width, shift))

    def flow(self) -> None:
        """Rates and steps as far as the sums of 32 bits allow."""
        shape = self.shape(1, 2, 33)
        fraction = self.number(1, 15)
        fmt = Format(self.one_of((16, 16, 16, 12, 8, 4, 2)), -fraction)
        z = self.scale_into(shape, fmt) if self.chance(2) else self.operand(shape, fmt=fmt)
        mean = self.operand(shape, fmt=fmt) if self.chance(3) else None
        drive = None
        if self.chance(2):
            drive = self.scale_into(shape, fmt) if self.chance(2) else self.operand(shape, fmt=fmt)
        table, start, width = self.table(0, _ONE, 32, fmt)
        gain, t = self.operand((), bits=16), self.counter()
        entropy_shift = self.one_of((0, 0, 1, 5, 30))
        q, p = 1 << (fmt.bits - 1), 1 << 13  # largest |z|, largest D (1 - D)
        own = q * p * (2 if mean else 1) + (_ONE << fraction) >> entropy_shift
        v = (own + (q * p if drive else 0) + (1 << fraction) >> fraction) + 2
        rate_shift = self.one_of((1, 14, 15, 16, self.number(1, 30)))
        rate = min(8191, ((1 << 31) - (1 << rate_shift) - 1) // v)
        reads = (z, mean, drive, table, gain, t)
        factor = self.result(shape, reads)
        decision = self.result(shape, (*reads, factor))
        entropy = self.result((), (*reads, factor, decision), Format(64, -27))
        fitting = max(31 + gain.format.bits - factor.format.bits + self.number(-16, 1), 0)
        self.emit(
            Flow(
                factor.name,
                decision.name,
                entropy.name,
                z.name,
                gain.name,
                table.name,
                t.name,
                start,
                width,
                steps=min(self.one_of((1, 2, 7, 7, 20, 60)), ((1 << 31) - 1) // v),
                rate=self.one_of((rate, self.number(0, rate))),
                rate_shift=rate_shift,
                shift=self.one_of((0, fitting, fitting, self.number(0, 61))),
                row=self.one_of(_ROWS),
                mean=mean.name if mean else None,
                drive=drive.name if drive else None,
                guard=self.one_of((12, 1, 14, self.number(1, 14))),
                entropy_shift=entropy_shift,
                emit_first=self.chance(2),
                decision_shift=self.one_of((0, 7, 14, self.number(0, 61))),
            )
        )

    def outer_update(self) -> None:
        """Half of them of the widths with a loop of their own; x of all, of some, or of the last axes of w."""
        shape = self.shape(2, 3)
        rows = self.number(1, len(shape) - 1)
        inputs = shape[-self.number(len(shape) - rows, len(shape)) :]
        if self.chance(2):
            w = self.state(shape, 62, Format(self.one_of((8, 16)), -8))
            x = self.operand(inputs, fmt=Format(8, -8, signed=False))
            s, shift = self.operand(shape[:rows], 50), 16
        else:
            w = self.state(shape, 58)
            x = self.operand(inputs, 58)
            s = self.operand(shape[:rows], 60 - max(bits_taken(x.format), bits_taken(w.format)))
            shift = self.one_of((0, 1, 15, 16, 17, self.number(0, 30)))
        if not self.chance(3):
            self.emit(OuterUpdate(w.name, s.name, x.name, self.counter().name, shift))
            return
        room = 61 - bits_taken(s.format)
        x_shift, w_shift = (self.number(0, max(0, min(30, room - bits_taken(each.format)))) for each in (x, w))
        self.emit(OuterUpdate(w.name, s.name, x.name, self.counter().name, shift, True, x_shift, w_shift))

    def update(self) -> None:
        shape = self.shape(0, 2)
        p, v = self.state(shape, 62), self.operand(shape, 62)
        v_shift = self.one_of((0, self.number(0, min(62 - bits_taken(v.format), 30))))
        shift = self.one_of((0, 1, 8, 16, 17, self.number(0, 30)))
        self.emit(Update(p.name, v.name, self.counter().name, shift, v_shift, self.one_of(_ROWS)))

    def lattice(self) -> None:
        t = self.counter()
        out = self.result(self.shape(1, 1), (t,), hi=0xFFFF)
        self.emit(Lattice(out.name, t.name, self.one_of(_ROWS)))

    def indices(self, shape: tuple[int, ...], count: int) -> Tensor:
        """A constant of indices below `count`."""
        return self.constant(raw_values(self.number(0, 2**32 - 1), shape, 0, count - 1), self.format(hi=count - 1))

    def gather(self) -> None:
        a, shape = self.operand(self.shape()), self.shape()
        index = self.indices(shape, a.size)
        out = self.result(shape, (a, index), lo=a.format.lo, hi=a.format.hi)
        self.emit(Gather(out.name, a.name, index.name))

    def pool(self) -> None:
        a, shape = self.operand(self.shape()), self.shape(0, 2, 20)
        windows = self.indices((*shape, self.number(1, 5)), a.size)
        out = self.result(shape, (a, windows), lo=a.format.lo, hi=a.format.hi)
        self.emit(Pool(out.name, a.name, windows.name))

    def select(self) -> None:
        shape = self.shape()
        p, a = self.suffix(shape), self.suffix(shape)
        b, q = self.suffix(shape, 63 if a.format.signed else 64), self.suffix(shape)
        lo, hi = min(a.format.lo, b.format.lo), max(a.format.hi, b.format.hi)
        if not _formats(self.most_bits, 64, lo, hi, True):
            b = a
            lo, hi = a.format.lo, a.format.hi
        out = self.result(shape, (p, q, a, b), lo=lo, hi=hi)
        self.emit(Select(out.name, p.name, q.name, a.name, b.name, self.one_of(("eq", "lt"))))

    def arg(self) -> None:
        a = self.operand(self.shape(1, 3))
        out = self.result(a.shape[:-1], (a,), hi=a.shape[-1] - 1)
        self.emit(Arg(out.name, a.name, largest=self.chance(2)))

    def advance(self) -> None:
        self.emit(Advance(self.counter().name))


_MEMBERSHIPS = (
    (True, True, False),  # summed over both
    (True, True, False),
    (True, False, True),
    (False, True, True),
    (True, True, True),
    (True, False, False),  # summed in one operand alone
    (False, True, False),
)
_METHODS: dict[str, Callable[[_Maker], None]] = {verb: getattr(_Maker, verb) for verb in VERBS}


# --- running in step --------------------------------------------------------------------------------------------------


def check_case(make: Callable[[Program], Executor], case: Case) -> None:
    """An executor against the oracle, operation by operation, then in one go; AssertionError names every difference."""
    check_in_step(make(case.program), case.program, SECTION, case.runs)
    if case.runs and case.runs[0]:
        check_stream(make(case.program), case)


def check_in_step(
    executor: Executor, program: Program, section: str, runs: Sequence[Mapping[str, IntArray]]
) -> Interpreter:
    """After every operation, whatever is still alive must be equal; after every run, the state digests."""
    oracle = Interpreter(program)
    ops = program.sections[section]
    for number, inputs in enumerate(runs):
        for name, values in inputs.items():
            oracle.write(name, values)
            executor.write(name, values)
        for position, alive in enumerate(alive_after(program, section)):
            oracle.run(section, position, position + 1)
            executor.run(section, position, position + 1)
            found = [line for name in alive for line in differences(name, oracle.read(name), executor.read(name))]
            assert not found, "\n".join(
                [f"{executor.name}, run {number}, {section}[{position}] {op_to_json(ops[position])}:", *found]
            )
        assert program.digest_of(oracle.state()) == program.digest_of(executor.state()), f"state after run {number}"
    return oracle


def alive_after(program: Program, section: str) -> list[list[str]]:
    """For every operation, what can be read right after it: what it wrote, and what a later operation still reads."""
    ops = program.sections[section]
    written: set[str] = set()
    alive = []
    for position, op in enumerate(ops):
        written |= set(op.outputs().values())
        later = {name for other in ops[position + 1 :] for name in other.inputs().values()}
        kept = {t.name for t in program.of_role(Role.STATE, Role.OUTPUT, Role.CONST)}
        alive.append(sorted(set(op.outputs().values()) | (written & (later | kept))))
    return alive


def check_stream(executor: Executor, case: Case) -> None:
    """All runs by `stream`: the outputs of each, and the state after them."""
    oracle = Interpreter(case.program)
    rows = {name: np.stack([run[name] for run in case.runs]) for name in case.runs[0]}
    written = {name for op in case.program.sections[SECTION] for name in op.outputs().values()}
    wanted = [t.name for t in case.program.of_role(Role.OUTPUT, Role.STATE) if t.name in written]
    expected, actual = (each.stream(SECTION, rows, wanted) for each in (oracle, executor))
    found = [line for name in wanted for line in differences(name, expected[name], actual[name])]
    assert not found, "\n".join([f"{executor.name}, stream:", *found])
    assert case.program.digest_of(oracle.state()) == case.program.digest_of(executor.state()), "state after stream"
