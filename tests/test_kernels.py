"""The kernels up close, fast enough to judge mutants: vectors, the corners of their loops, a few random Programs.

With NUMBA_DISABLE_JIT set the kernels are plain Python, and every load and store is held against the tensors that its
operation names: a kernel that reads one element too far computes nothing wrong, and is wrong all the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from programs import VERBS, Wanted, case_of, check_in_step, check_stream, seed_in_message
from vectors import SECTION, Vector, check_vector, load_vectors

from ska_edge.backends.jit import NumbaExecutor, kernels
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
            Guarded.readable = (*(self._bytes(section, name) for name in op.inputs().values()), *Guarded.writable)
            super().run(section, position, position + 1)

    def _bytes(self, section: str, name: str) -> range:
        tensor = self.program.by_name[name]
        start = self._offsets.get(name, self.plan.scratch[section].get(name, 0)) + self.memory.ctypes.data
        return range(start, start + tensor.byte_count)


@pytest.fixture(autouse=True)
def guard(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every load and store of a plain kernel asks first, and no number overflows or is divided by zero."""
    if not PLAIN:
        yield
        return
    for name in dir(kernels):
        if name.startswith(("peek_", "poke_")):
            monkeypatch.setattr(kernels, name, _asking(name, getattr(kernels, name)))
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
