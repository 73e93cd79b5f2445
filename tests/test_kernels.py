"""The kernels up close, fast enough to judge mutants: vectors, the corners of their loops, a few random Programs.

With NUMBA_DISABLE_JIT set the kernels are plain Python, and every load and store is held against the tensors that its
operation names: a kernel that reads one element too far computes nothing wrong, and is wrong all the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from programs import VERBS, Wanted, case_of, check_in_step, check_stream, seed_in_message
from vectors import SECTION, Vector, check_vector, load_vectors

from ska_edge.backends.jit import NumbaExecutor, kernels, wide
from ska_edge.errors import ProgramError
from ska_edge.fixed import Format, IntArray
from ska_edge.operations import Contract, Flow, Kind, Op, OuterUpdate, Role, Rounding, Scale, Select, Tensor, Update
from ska_edge.program import Program

PLAIN = bool(numba.config.DISABLE_JIT)
S8, U8, S16, S32 = Format(8, 0), Format(8, 0, signed=False), Format(16, 0), Format(32, 0)
COUNTER = Format(16, 0, signed=False)


# --- plain kernels under guard ----------------------------------------------------------------------------------------


class Guarded(NumbaExecutor):
    """Knows which bytes the operation that runs may read and write."""

    readable: tuple[range, ...] = ()
    writable: tuple[range, ...] = ()

    def run(self, section: str, first: int = 0, last: int | None = None) -> None:
        for position in range(len(self.program.sections[section]))[first:last]:
            op = self.program.sections[section][position]
            Guarded.writable = tuple(self._bytes(section, name) for name in op.outputs().values())
            Guarded.writable += (self._from_arena(self._work_start, self._work_end),)
            Guarded.readable = (*(self._bytes(section, name) for name in op.inputs().values()), *Guarded.writable)
            if isinstance(op, Flow):
                start = self._pair_tables[op.table]
                pairs = 4 * (self.program.by_name[op.table].size - 1)
                Guarded.readable += (self._from_arena(start, start + pairs),)
            super().run(section, position, position + 1)

    def _bytes(self, section: str, name: str) -> range:
        tensor = self.program.by_name[name]
        start = self._offsets.get(name, self.plan.scratch[section].get(name, 0))
        return self._from_arena(start, start + tensor.byte_count)

    def _from_arena(self, start: int, end: int) -> range:
        return range(self.memory.ctypes.data + start, self.memory.ctypes.data + end)


@pytest.fixture(autouse=True)
def guard(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every load and store of a plain kernel asks first, and no number overflows or is divided by zero."""
    if not PLAIN:
        yield
        return
    for module in (kernels, wide):
        for name in dir(module):
            if name.startswith(("peek_", "poke_")):
                monkeypatch.setattr(module, name, _asking(name, getattr(module, name)))
    with np.errstate(all="raise"):
        yield


def _asking(name: str, access: Callable[..., Any]) -> Callable[..., Any]:
    size = int(name.lstrip("pekous_")) // 8

    def checked(address: int, *value: int) -> Any:
        allowed = Guarded.writable if value else Guarded.readable
        assert any(place.start <= address and address + size <= place.stop for place in allowed), name
        return access(address, *value)

    return checked


EXECUTOR = Guarded if PLAIN else NumbaExecutor


def check(program: Program, *runs: dict[str, IntArray]) -> None:
    """The kernels against the oracle, operation by operation."""
    check_in_step(EXECUTOR(program), program, SECTION, runs)


def test_plain_kernels_do_the_same() -> None:
    """This file once more, without the compiler."""
    if PLAIN:
        pytest.skip("this is it")
    root = Path(__file__).resolve().parent
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join([str(root.parent), str(root)])}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


# --- vectors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", list(load_vectors()), ids=attrgetter("name"))
def test_vector(vector: Vector) -> None:
    check_vector(EXECUTOR, vector)


# --- corners ----------------------------------------------------------------------------------------------------------


def _program(ops: tuple[Op, ...], tensors: dict[str, Any], **values: Any) -> Program:
    """Tensors in this order, each a shape and a format; given values make constants, what is updated a state."""
    written = {name for op in ops for name in op.outputs().values()}
    states = {name for op in ops if isinstance(op, OuterUpdate | Update) for name in op.outputs().values()} | {"t"}
    declared, given = [], {name: np.array(value, np.int64) for name, value in values.items()}
    for name, (shape, fmt) in tensors.items():
        if name in states:
            role = Role.STATE
            given.setdefault(name, np.zeros(shape, np.int64))
        else:
            role = Role.CONST if name in given else Role.SCRATCH if name in written else Role.INPUT
        declared.append(Tensor(name, shape, fmt, role, Kind.COUNTER if name == "t" else Kind.OTHER))
    return Program(tuple(declared), {SECTION: ops}, given)


def _filled(shape: tuple[int, ...], fmt: Format, seed: int = 0) -> IntArray:
    return np.random.default_rng(seed).integers(fmt.lo, fmt.hi, shape, np.int64, endpoint=True)


@pytest.mark.parametrize("formats", [(S8, U8), (S16, U8), (S16, S16), (U8, S8), (U8, U8), (S8, S8), (S16, S8)], ids=str)
@pytest.mark.parametrize(
    ("axes", "a_shape", "b_shape", "shape"),
    [
        ("oi,i->o", (3, 5), (5,), (3,)),
        ("io,i->o", (5, 2), (5,), (2,)),  # a by steps of 2, b by 1
        ("i,io->o", (5,), (5, 2), (2,)),
        ("io,iz->oz", (5, 2), (5, 2), (2, 2)),
        ("oi,->o", (3, 5), (), (3,)),  # b by steps of 0
        (",oi->o", (), (3, 5), (3,)),
        ("i,j->", (3,), (4,), ()),
        ("o,i->oi", (2,), (3,), (2, 3)),  # nothing summed
        ("oi,oi->o", (3, 4), (3, 4), (3,)),
        ("oij,ij->o", (2, 3, 4), (3, 4), (2,)),
        ("ijo,ji->o", (3, 4, 2), (4, 3), (2,)),
        ("abc,cba->", (2, 3, 4), (4, 3, 2), ()),
        ("abc,bd->adc", (2, 3, 4), (3, 2), (2, 2, 4)),
        ("abc,def->", (2, 3, 2), (2, 2, 3), ()),
        ("i,i->", (1,), (1,), ()),
    ],
)
def test_contractions(
    axes: str,
    a_shape: tuple[int, ...],
    b_shape: tuple[int, ...],
    shape: tuple[int, ...],
    formats: tuple[Format, Format],
) -> None:
    op = Contract("y", "a", "b", axes)
    tensors = {"a": (a_shape, formats[0]), "b": (b_shape, formats[1]), "y": (shape, S32)}
    check(_program((op,), tensors), {"a": _filled(a_shape, formats[0]), "b": _filled(b_shape, formats[1], 1)})


@pytest.mark.parametrize("columns", [1, 2, 3])
@pytest.mark.parametrize("signed", [False, True])
def test_nibbles(signed: bool, columns: int) -> None:
    """Rows of odd and even length, as operands, as a sum's, and as what is written."""
    fmt = Format(4, 0, signed)
    shape = (3, columns)
    tensors = {
        "w": (shape, fmt),
        "y": (shape, fmt),
        "z": (shape, fmt),
        "sum": ((3,), S16),
        "turned": ((columns,), S16),
    }
    ops = (
        Scale("y", "w", c="w", gain=-2),
        Scale("z", "y", "w", shift=2, rounding=Rounding.HALF),
        Contract("sum", "w", "z", "oi,oi->o"),
        Contract("turned", "w", "z", "oi,oi->i"),
    )
    check(_program(ops, tensors), {"w": _filled(shape, fmt)}, {"w": _filled(shape, fmt, 1)})


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("shift", [-3, -1, 0, 1, 2, 15, 16, 17, 18])
def test_shifts(rounding: Rounding, shift: int) -> None:
    """Ties of both signs, t as the first of all tensors, and rows and columns that enter the lattice."""
    ties = [half * (1 << max(shift - 1, 0)) for half in (-5, -3, -2, -1, 0, 1, 2, 3, 5)]
    dithered = rounding is Rounding.LATTICE
    tensors = {"t": ((), COUNTER), "x": ((9,), Format(24, 0)), "y": ((9,), Format(6, 0)), "c": ((), S8)}
    op = Scale("y", "x", c="c", t="t" if dithered else None, c_shift=2, shift=shift, rounding=rounding, row=3)
    check(
        _program((op,), tensors, t=777),
        {"x": np.array(ties), "c": np.array(0)},
        {"x": np.array(ties), "c": np.array(1)},
    )


@pytest.mark.parametrize("first", ["a", "b", "c", "y"])
def test_any_operand_may_be_the_first_tensor(first: str) -> None:
    """Tensors are known by number; 0 is one, -1 is none."""
    tensors = {first: ((3,), S8)} | {name: ((3,), S8) for name in ("a", "b", "c", "y")} | {"last": ((3,), S8)}
    ops = (Scale("y", "a", "b", c="c"), Scale("last", "y"))
    check(_program(ops, tensors), {name: _filled((3,), S8, i) for i, name in enumerate(n for n in "abc")})


def test_absent_operands_are_absent() -> None:
    """-1 read as a number would be the last tensor, which holds nines."""
    z = Format(16, -12)
    tensors = {
        "a": ((3,), z),
        "y": ((3,), z),
        "gain": ((), S8),
        "t": ((), COUNTER),
        "table": ((3,), Format(17, 0)),
        "factor": ((3,), S16),
        "decision": ((3,), S16),
        "entropy": ((), Format(64, 0)),
        "nines": ((3,), z),
    }
    flow = Flow("factor", "decision", "entropy", "a", "gain", "table", "t", -16384, 14, 5, 100, 8, 3, 1)
    ops = (Scale("y", "a"), Contract("y", "a", "gain", "i,->i"), flow, Scale("y", "nines"))
    program = _program(ops, tensors, table=[0, 9000, 32768], nines=[9999] * 3)
    check(program, {"a": np.array([-8000, 100, 9000]), "gain": np.array(50)})


@pytest.mark.parametrize("first", ["mean", "drive"])
def test_mean_and_drive_may_be_the_first_tensor(first: str) -> None:
    z = Format(16, -12)
    tensors = {first: ((3,), z)} | {
        "z": ((3,), z),
        "mean": ((3,), z),
        "drive": ((3,), z),
        "gain": ((), S8),
        "t": ((), COUNTER),
        "table": ((3,), Format(17, 0)),
        "factor": ((3,), S16),
        "decision": ((3,), S16),
        "entropy": ((), Format(64, 0)),
    }
    flow = Flow(
        *("factor", "decision", "entropy", "z", "gain", "table", "t", -16384, 14, 5, 100, 8, 3, 1),
        mean="mean",
        drive="drive",
    )
    values = {name: _filled((3,), z, i) for i, name in enumerate(("z", "mean", "drive"))}
    check(_program((flow,), tensors, table=[0, 9000, 32768], t=5), values | {"gain": np.array(-3)})


@pytest.mark.parametrize("w", [Format(4, 0), S8, S16, S32, U8], ids=str)
@pytest.mark.parametrize("x", [U8, S8, S16], ids=str)
@pytest.mark.parametrize("shift", [15, 16, 17, 0])
def test_outer_updates(w: Format, x: Format, shift: int) -> None:
    """The loops of their own take bytes without sign at a shift of 16 alone."""
    tensors = {"t": ((), COUNTER), "w": ((4, 5), w), "s": ((4,), S16), "x": ((5,), x)}
    program = _program((OuterUpdate("w", "s", "x", "t", shift),), tensors, t=12345, w=_filled((4, 5), w))
    runs = [{"s": s, "x": _filled((5,), x, seed)} for seed, s in enumerate(([-32768, 32767, 0, 1], [-1, 300, -300, 2]))]
    check(program, *({name: np.array(value) for name, value in run.items()} for run in runs))


@pytest.mark.parametrize("w", [S8, S16, S32], ids=str)
def test_every_bit_of_an_offset_counts(w: Format) -> None:
    """s x = -offset modulo 2^16: one less, and the sum no longer reaches the next integer."""
    t = 4321
    offsets = [(j * 43977 + t * 36025) % 65536 for j in range(32)]
    s = np.array([-each if each <= 32768 else 65536 - each for each in offsets])
    tensors = {"t": ((), COUNTER), "w": ((32, 1), w), "s": ((32,), S16), "x": ((1,), U8)}
    program = _program((OuterUpdate("w", "s", "x", "t", 16),), tensors, t=t)
    check(program, {"s": s, "x": np.array([1])}, {"s": np.clip(s - 1, -32768, 32767), "x": np.array([1])})


def test_a_flow_saturates_at_the_last_fraction_of_its_range() -> None:
    """Found by search: the upper bound one more, one less or none changes what some neuron learns."""
    z, wide = Format(4, -1), Format(32, 0)
    tensors = {
        "z": ((64,), z),
        "mean": ((64,), z),
        "drive": ((64,), z),
        "gain": ((), S8),
        "t": ((), COUNTER),
        "table": ((2,), S16),
        "factor": ((64,), wide),
        "decision": ((64,), wide),
        "entropy": ((), Format(64, 0)),
    }
    flow = Flow(
        *("factor", "decision", "entropy", "z", "gain", "table", "t", 3, 2, 4, 250, 10, 0, 0),
        mean="mean",
        drive="drive",
        guard=1,
    )
    cases = [(each, m, d) for each in range(-8, 8) for m, d in ((0, 0), (-8, 0), (0, 7), (7, -8))]
    values = {name: np.array([case[i] for case in cases]) for i, name in enumerate(("z", "mean", "drive"))}
    check(_program((flow,), tensors, table=[235, 0]), values | {"gain": np.array(1)})


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("w", [S8, S16], ids=str)
def test_outer_updates_with_inputs_of_their_own(w: Format, rows: int) -> None:
    tensors = {"t": ((), COUNTER), "w": ((rows, 5), w), "s": ((rows,), S16), "x": ((rows, 5), U8)}
    program = _program((OuterUpdate("w", "s", "x", "t", 16),), tensors, t=999)
    check(program, {"s": _filled((rows,), S16), "x": _filled((rows, 5), U8)})


def test_the_first_of_equals_and_the_relations() -> None:
    tensors = {name: ((2, 3), S8) for name in ("p", "q", "less", "same")} | {"s": ((), S8), "last": ((3,), S8)}
    ops = (Select("less", "p", "q", "s", "last", "lt"), Select("same", "p", "q", "last", "s"))
    values = {"p": np.array([[1, 2, 3], [-1, 0, 5]]), "q": np.array([[2, 2, 2], [-1, -1, 6]])}
    check(_program(ops, tensors), values | {"s": np.array(7), "last": np.array([10, 20, 30])})


# --- wide loops -------------------------------------------------------------------------------------------------------

S4, U4, U16, S64 = Format(4, 0), Format(4, 0, signed=False), Format(16, 0, signed=False), Format(64, 0)
FILLS = ("random", "lowest", "highest", "mixed")


def _few(values: Sequence[Any], count: int) -> Sequence[Any]:
    """The first of a test's parameters where kernels are plain: thousands of mutants wait for them."""
    return values[:count] if PLAIN else values


def _fill(kind: str, shape: tuple[int, ...], fmt: Format, seed: int = 0) -> IntArray:
    """Random numbers, or one end of the format everywhere, or both ends in turn."""
    if kind == "random":
        return _filled(shape, fmt, seed)
    ends = {"lowest": (fmt.lo,), "highest": (fmt.hi,), "mixed": (fmt.lo, fmt.hi, fmt.hi)}[kind]
    return np.resize(np.array(ends, np.int64), shape)


def _every_fill(a_shape: tuple[int, ...], a: Format, b_shape: tuple[int, ...], b: Format) -> list[dict[str, IntArray]]:
    return [
        {"a": _fill(kind, a_shape, a), "b": _fill(other, b_shape, b, 1)}
        for kind, other in zip(FILLS * 2, (*FILLS, *FILLS[::-1]), strict=True)
    ]


@pytest.mark.parametrize("b", _few([S16, U8, U16, S8, S4, U4], 2), ids=str)
@pytest.mark.parametrize("a", _few([S16, S8, S4, U8, U4, U16], 4), ids=str)
@pytest.mark.parametrize(("rows", "length"), _few([(1, 1), (5, 33), (4, 17), (2, 15), (3, 16), (9, 32)], 3))
def test_rows_times_a_vector(a: Format, b: Format, rows: int, length: int) -> None:
    """Whole and broken steps, fewer rows than a tile has, and every pair of kinds that lanes or planes hold."""
    tensors = {"a": ((rows, length), a), "b": ((length,), b), "y": ((rows,), S64)}
    program = _program((Contract("y", "a", "b", "oi,i->o"),), tensors)
    check(program, *_few(_every_fill((rows, length), a, (length,), b), 3))


@pytest.mark.skipif(PLAIN, reason="millions of products")
@pytest.mark.parametrize("b", [S16, U8, S8], ids=str)
@pytest.mark.parametrize("a", [S16, S8, S4], ids=str)
@pytest.mark.parametrize("length", _few([*range(1, 41), 784, 2047, 2048, 2049, 4096 + 17], 1))
def test_no_length_overflows(a: Format, b: Format, length: int) -> None:
    """More than a BLOCK of the largest products of either sign."""
    tensors = {"a": ((3, length), a), "b": ((length,), b), "y": ((3,), S64)}
    check(_program((Contract("y", "a", "b", "oi,i->o"),), tensors), *_every_fill((3, length), a, (length,), b))


@pytest.mark.parametrize(
    "formats",
    _few([(S16, S16), (S4, U8), (S16, U8), (S8, U8), (S8, S16), (S4, S16), (U16, S8)], 2),
    ids=str,
)
@pytest.mark.parametrize(("n", "o", "i"), _few([(3, 2, 17), (18, 3, 4), (5, 17, 2), (1, 1, 33), (6, 5, 16)], 2))
@pytest.mark.parametrize("axes", ["ni,oi->no", "ni,oi->on", "no,ni->oi", "no,ni->io", "in,oi->no", "in,io->on"])
def test_matrices(axes: str, n: int, o: int, i: int, formats: tuple[Format, Format]) -> None:
    """Both operands by rows and by columns, either one the larger, with every kind of carried operand."""
    extent = {"n": n, "o": o, "i": i}
    first, second, out = axes.replace("->", ",").split(",")
    a_shape, b_shape, shape = (tuple(extent[letter] for letter in letters) for letters in (first, second, out))
    for c_shape in (None, (), shape[1:], shape):
        op = Contract("y", "a", "b", axes, c=None if c_shape is None else "c", c_shift=3, gain=-3, shift=2)
        tensors = {"a": (a_shape, formats[0]), "b": (b_shape, formats[1]), "y": (shape, S64)}
        given = {"a": _filled(a_shape, formats[0]), "b": _filled(b_shape, formats[1], 1)}
        if c_shape is not None:
            tensors["c"] = (c_shape, S16)
            given["c"] = _filled(c_shape, S16, 2)
        check(_program((op,), tensors), given)


@pytest.mark.skipif(PLAIN, reason="many products")
@pytest.mark.parametrize("axes", ["ni,oi->no", "no,ni->oi"])
@pytest.mark.parametrize(("n", "o", "i"), [(40, 33, 70), (2049, 3, 2), (3, 2, 2065), (70, 40, 2)])
def test_large_matrices(axes: str, n: int, o: int, i: int) -> None:
    """More rows than a panel, sums longer than a block."""
    extent = {"n": n, "o": o, "i": i}
    first, second, out = axes.replace("->", ",").split(",")
    a_shape, b_shape, shape = (tuple(extent[letter] for letter in letters) for letters in (first, second, out))
    program = _program((Contract("y", "a", "b", axes),), {"a": (a_shape, S16), "b": (b_shape, S16), "y": (shape, S64)})
    check(program, *_every_fill(a_shape, S16, b_shape, S16)[:5])


@pytest.mark.parametrize("formats", [(S16, S16), (S8, U8), (S4, S4), (S16, S4)], ids=str)
@pytest.mark.parametrize("shape", [(3, 5), (4, 16), (2, 3, 7)])
def test_all_of_one_with_all_of_the_other(shape: tuple[int, ...], formats: tuple[Format, Format]) -> None:
    axes = "abc"[: len(shape)]
    tensors = {"a": (shape, formats[0]), "b": (shape, formats[1]), "y": ((), S64)}
    program = _program((Contract("y", "a", "b", f"{axes},{axes}->"),), tensors)
    check(program, *_every_fill(shape, formats[0], shape, formats[1])[:4])


@pytest.mark.parametrize("w", _few([S16, S8, S4, Format(7, 0), Format(15, 0), Format(3, 0), U8], 4), ids=str)
@pytest.mark.parametrize("x", _few([S16, U8, S8, U16, S4], 2), ids=str)
@pytest.mark.parametrize("columns", _few([51, 17, 15, 16, 33, 48], 1))
@pytest.mark.parametrize("own", [False, True])
def test_rows_that_learn(w: Format, x: Format, columns: int, own: bool) -> None:
    """Steps of both widths and what is left; formats narrower than what they are stored in."""
    x_shape = (3, columns) if own else (columns,)
    tensors = {"t": ((), COUNTER), "w": ((3, columns), w), "s": ((3,), S16), "x": (x_shape, x)}
    for kind in FILLS[:: 2 if PLAIN else 1]:
        program = _program((OuterUpdate("w", "s", "x", "t", 16),), tensors, t=54321, w=_fill(kind, (3, columns), w))
        factors = ([-32768, 32767, 0], [-1, 1, 300], [-300, 2, -2])
        check(program, *({"s": np.array(s), "x": _fill(kind, x_shape, x, i)} for i, s in enumerate(factors)))


@pytest.mark.parametrize("s", [S8, U8, S4, U16, Format(17, 0)], ids=str)
def test_factors_of_other_kinds(s: Format) -> None:
    tensors = {"t": ((), COUNTER), "w": ((4, 17), S16), "s": ((4,), s), "x": ((17,), S16)}
    program = _program((OuterUpdate("w", "s", "x", "t", 16),), tensors, t=7, w=_filled((4, 17), S16))
    check(program, *({"s": _fill(kind, (4,), s), "x": _fill(kind, (17,), S16, 1)} for kind in FILLS))


@pytest.mark.parametrize("size", _few([17, 15, 16, 40], 2))
@pytest.mark.parametrize("rounding", [Rounding.FLOOR, Rounding.HALF])
@pytest.mark.parametrize(
    ("b", "c"), [(None, None), ("whole", None), (None, "whole"), ("scalar", "scalar"), ("whole", "scalar")]
)
def test_wide_scales(size: int, rounding: Rounding, b: str | None, c: str | None) -> None:
    """Absent, scalar and whole operands, one output a row of zeros and the next saturated."""
    shapes = {"whole": (size,), "scalar": ()}
    for gain, shift, fmt in ((1, 0, S16), (-3, 13, S16), (2, 1, Format(12, 0))):
        tensors = {"a": ((size,), S16), "y": ((size,), fmt)}
        tensors |= {name: (shapes[kind], S16) for name, kind in (("b", b), ("c", c)) if kind}
        op = Scale(
            "y", "a", "b" if b else None, c="c" if c else None, gain=gain, c_shift=5, shift=shift, rounding=rounding
        )
        inputs = {name: shape for name, (shape, _) in tensors.items() if name != "y"}
        runs = [{n: _fill(kind, shape, S16, i) for i, (n, shape) in enumerate(inputs.items())} for kind in FILLS]
        check(_program((op,), tensors), *runs)


@pytest.mark.parametrize("absent", ["a", "b", "c"])
def test_scales_that_are_not_alike(absent: str) -> None:
    """One operand of another width, or shorter: the others alone do not make it wide."""
    for shape, fmt in (((17,), S8), ((2, 17), S32), ((17,), S16), ((2, 17), U16)):
        tensors = {name: ((2, 17), S16) for name in "abc"} | {absent: (shape, fmt), "y": ((2, 17), S16)}
        op = Scale("y", "a", "b", c="c", shift=15)
        values = {name: _filled(tensors[name][0], tensors[name][1], i) for i, name in enumerate("abc")}
        check(_program((op,), tensors), values)
        dithered = replace(op, rounding=Rounding.LATTICE, t="t", row=5)
        check(_program((dithered,), {"t": ((), COUNTER), **tensors}, t=99), values)
        check(_program((replace(op, shift=-2),), tensors), values)


@pytest.mark.parametrize("neurons", _few([33, 1, 31, 32, 65], 2))
@pytest.mark.parametrize("fmt", _few([Format(16, -12), Format(4, -1), Format(8, -4)], 1), ids=str)
@pytest.mark.parametrize("optional", [(), ("mean",), ("drive",), ("mean", "drive")], ids=str)
def test_flows_of_many_neurons(neurons: int, fmt: Format, optional: tuple[str, ...]) -> None:
    """A block, more and less; steep and flat tables; z at both ends of its range."""
    names = ("z", *optional)
    tensors = {name: ((neurons,), fmt) for name in names} | {
        "gain": ((), S16),
        "t": ((), COUNTER),
        "table": ((5,), Format(17, 0)),
        "factor": ((neurons,), S16),
        "decision": ((neurons,), S16),
        "entropy": ((), Format(64, 0)),
    }
    width = fmt.bits - 2
    for table, steps, rate in (([0, 900, 16384, 31000, 32768], 7, 1000), ([32768, 0, 32768, 0, 1], 12, 250)):
        flow = Flow(
            *("factor", "decision", "entropy", "z", "gain", "table", "t", fmt.lo, width, steps, rate, 9, 12, 1),
            **{name: name for name in optional},
            guard=3,
            entropy_shift=2,
        )
        kinds = FILLS[:: 3 if PLAIN else 1]
        runs = [{n: _fill(kind, (neurons,), fmt, i) for i, n in enumerate(names)} for kind in kinds]
        program = _program((flow,), tensors, table=table, t=33)
        check(program, *({**run, "gain": np.array(gain)} for run, gain in zip(runs, (77, -5, 1, -1), strict=False)))


@pytest.mark.skipif(PLAIN, reason="thousands of steps")
def test_long_flows_do_not_lose_entropy() -> None:
    """4,096 steps that go to and fro: the sums of 32 bits wrap, the sum of 64 does not."""
    fmt = Format(16, -12)
    tensors = {
        "z": ((40,), fmt),
        "drive": ((40,), fmt),
        "gain": ((), S8),
        "t": ((), COUNTER),
        "table": ((3,), Format(17, 0)),
        "factor": ((40,), S16),
        "decision": ((40,), S16),
        "entropy": ((), Format(64, 0)),
    }
    flow = Flow(
        *("factor", "decision", "entropy", "z", "gain", "table", "t", -32768, 15 - 1, 4096, 8191, 1, 3, 1),
        drive="drive",
    )
    program = _program((flow,), tensors, table=[0, 32768, 0])
    runs = [
        {"z": _filled((40,), fmt, i), "drive": _fill(k, (40,), fmt), "gain": np.array(1)} for i, k in enumerate(FILLS)
    ]
    check(program, *runs)


# --- random Programs --------------------------------------------------------------------------------------------------


def _random(count: int, wanted: Wanted) -> Iterator[None]:
    for seed in range(count):
        with seed_in_message(seed):
            case = case_of(seed, wanted)
            check(case.program, *case.runs)
            yield


@pytest.mark.parametrize("verb", VERBS)
def test_each_primitive(verb: str) -> None:
    assert sum(1 for _ in _random(12, Wanted([verb], (1, 1)))) == 12


def test_mixed() -> None:
    assert sum(1 for _ in _random(25, Wanted())) == 25


def test_streams() -> None:
    Guarded.readable = Guarded.writable = (range(1 << 64),)
    for seed in range(12):
        case = case_of(seed, Wanted(runs=(2, 3)))
        if case.runs[0]:
            check_stream(NumbaExecutor(case.program), case)


# --- manners of the executor ------------------------------------------------------------------------------------------


def test_what_the_program_does_not_have_is_refused() -> None:
    program = _program((Scale("y", "x"),), {"x": ((2,), S8), "y": ((2,), S8)})
    other = Program(program.tensors, {SECTION: program.sections[SECTION], "infer": ()}, {})
    executor = NumbaExecutor(other)
    for name in ("ghost", "y"):
        with pytest.raises(ProgramError, match=name):
            executor.write(name, np.array([1, 2]))
        with pytest.raises(ProgramError, match=name):
            executor.stream("infer", {"x": np.array([[1, 2]])}, [name])
    with pytest.raises(ProgramError, match="ghost"):
        executor.read("ghost")
    with pytest.raises(ProgramError, match="this Program has"):
        executor.run("prime")
    with pytest.raises(ProgramError, match="y: section 'infer' does not use it"):
        executor.read("y")


def test_operations_that_are_not_there_are_not_run() -> None:
    Guarded.readable = Guarded.writable = (range(1 << 64),)
    program = _program((Scale("y", "x"),), {"x": ((2,), S8), "y": ((2,), S8)})
    executor = NumbaExecutor(program)
    executor.write("x", np.array([1, 2]))
    for first, last in ((1, 9), (5, 7), (0, 0)):
        executor.run(SECTION, first, last)
        assert not executor.read("y").any()
    executor.run(SECTION, -1, 100)
    assert executor.read("y").tolist() == [1, 2]


def test_a_program_without_sections_can_be_read() -> None:
    program = Program((Tensor("w", (2,), S8, Role.STATE),), {}, {"w": np.array([3, -4])})
    assert NumbaExecutor(program).read("w").tolist() == [3, -4]
