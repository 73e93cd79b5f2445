"""The range proof against brute force: no value the oracle ever computes leaves what was proved of its operation.

The oracle runs on integers that note every sum, product and shift they go through, so that nothing is worked out here a
second time.  Formats of a few bits are tried with all their values, larger ones with their extremes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice, product
from math import prod
from typing import Any

import numpy as np
import pytest
from programs import VERBS, Wanted, case_of, seed_in_message, seeds
from vectors import SECTION

from ska_edge import interpreter
from ska_edge.errors import ProgramError
from ska_edge.fixed import Format, IntArray
from ska_edge.operations import (
    Advance,
    Contract,
    Flow,
    Gather,
    Kind,
    Lut,
    Op,
    OuterUpdate,
    Role,
    Rounding,
    Scale,
    Select,
    Tensor,
    Update,
)
from ska_edge.program import Program
from ska_edge.proof import Bound, bits_of, prove

S8, U8, S16, S32, S64 = Format(8, 0), Format(8, 0, signed=False), Format(16, 0), Format(32, 0), Format(64, 0)
COUNTER = Tensor("t", (), Format(16, 0, signed=False), Role.STATE, Kind.COUNTER)
TRIES = 200  # states and inputs of one small Program


# --- integers that note what happens to them --------------------------------------------------------------------------


class Noted(int):
    """An integer whose sums, differences, products and shifts are Noted too, and widen `Noted.seen`."""

    seen: tuple[int, int] = (0, 0)


def _noted(name: str) -> Callable[[Noted, int], Any]:
    plain = getattr(int, name)

    def operate(self: Noted, other: int) -> Any:
        value = plain(self, other)
        low, high = Noted.seen
        if not low <= value <= high:
            Noted.seen = (min(low, value), max(high, value))
        return Noted(value)

    return operate


for _name in ("add", "sub", "mul", "lshift", "rshift"):
    setattr(Noted, f"__{_name}__", _noted(f"__{_name}__"))
    setattr(Noted, f"__r{_name}__", _noted(f"__r{_name}__"))


class NotingOracle(interpreter.Interpreter):
    """The oracle with Noted integers in its memory; a counter's stay plain, for offsets are taken modulo 2^16."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        for name in program.values:
            self._note(name)

    def write(self, tensor: str, values: IntArray) -> None:
        super().write(tensor, values)
        self._note(tensor)

    def _put(self, name: str, values: list[int]) -> None:
        super()._put(name, values)
        self._note(name)

    def _note(self, name: str) -> None:
        kind = int if self.program.by_name[name].kind is Kind.COUNTER else Noted
        self.memory[name] = [kind(value) for value in self.memory[name]]


@pytest.fixture
def unsaturated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every value the oracle is about to saturate, in order."""
    values: list[int] = []
    requantise, saturate_all = interpreter.requantise, interpreter.saturate_all

    def noting_requantise(v: int, shift: int, r: int, lo: int, hi: int) -> int:
        values.append((v + r) >> shift if shift > 0 else v << -shift)
        return requantise(v, shift, r, lo, hi)

    def noting_saturate_all(them: list[int], lo: int, hi: int) -> list[int]:
        values.extend(them)
        return saturate_all(them, lo, hi)

    monkeypatch.setattr(interpreter, "requantise", noting_requantise)
    monkeypatch.setattr(interpreter, "saturate_all", noting_saturate_all)
    return values


def check_run(oracle: NotingOracle, bounds: tuple[Bound, ...], unsaturated: list[int]) -> None:
    """Run a section; every operation keeps what was proved of it."""
    for bound in bounds:
        unsaturated.clear()
        Noted.seen = (0, 0)
        oracle.run(bound.section, bound.position, bound.position + 1)
        # a flow requantises factor and decision by turns; what only copies saturates nothing
        values = unsaturated[::2] if isinstance(bound.op, Flow) else unsaturated or oracle.memory[bound.tensor]
        assert bound.lo <= min(values), f"{bound}: {min(values)}"
        assert max(values) <= bound.hi, f"{bound}: {max(values)}"
        assert bits_of(*Noted.seen) <= bound.need_bits, f"{bound}: {Noted.seen}"
        declared = oracle.program.by_name[bound.tensor].format
        assert bound.saturates or declared.lo <= min(values) <= max(values) <= declared.hi, f"{bound}"


def settings_of(program: Program, seed: int) -> Iterator[Mapping[str, IntArray]]:
    """Values for every input and state: all there are, if few; else all lowest, all highest, and extremes at random."""
    tensors = [*program.of_role(Role.INPUT, Role.STATE)]
    ends = [(t.format.lo, t.format.hi) for t in tensors for _ in range(t.size)]
    if len(ends) <= 4 and prod(hi - lo + 1 for lo, hi in ends) <= TRIES:
        chosen: Iterator[tuple[int, ...]] = product(*(range(lo, hi + 1) for lo, hi in ends))
    else:
        chosen = _extremes(ends, random.Random(seed))
    for numbers in islice(chosen, TRIES):
        rest = iter(numbers)
        yield {t.name: np.array([next(rest) for _ in range(t.size)], np.int64).reshape(t.shape) for t in tensors}


def _extremes(ends: list[tuple[int, int]], source: random.Random) -> Iterator[tuple[int, ...]]:
    yield tuple(lo for lo, _ in ends)
    yield tuple(hi for _, hi in ends)
    while True:
        yield tuple(source.choice((lo, hi, lo, hi, source.randint(lo, hi))) for lo, hi in ends)


# --- what was proved holds --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_small_programs_of_one_operation(verb: str, unsaturated: list[int]) -> None:
    """Formats of 2 to 5 bits where the primitive allows them."""
    wanted = Wanted([verb], (1, 1), most_bits=5)
    for seed in seeds(12):
        with seed_in_message(seed):
            program = case_of(seed, wanted).program
            bounds = prove(program)
            oracle = NotingOracle(program)
            for values in settings_of(program, seed):
                for name, each in values.items():
                    oracle.write(name, each)
                check_run(oracle, bounds, unsaturated)


def test_programs_of_many_operations(unsaturated: list[int]) -> None:
    """Ranges go from one operation to the next."""
    for seed in seeds(1500):
        with seed_in_message(seed):
            case = case_of(seed, Wanted(operations=(1, 12)))
            oracle, bounds = NotingOracle(case.program), prove(case.program)
            for inputs in case.runs:
                for name, values in inputs.items():
                    oracle.write(name, values)
                check_run(oracle, bounds, unsaturated)


def test_a_step_of_a_flow_keeps_32_bits() -> None:
    """The entropy and the factor's product with the gain alone may take 64, and do not yet in the first step."""
    for seed in seeds(150):
        with seed_in_message(seed):
            program = case_of(seed, Wanted(["flow"], (1, 1))).program
            for op in program.sections[SECTION]:
                if isinstance(op, Flow):
                    _check_step(program, replace(op, steps=1), random.Random(seed))


def _check_step(program: Program, op: Flow, source: random.Random) -> None:
    fmt = program.by_name[op.z].format
    table = [Noted(value) for value in program.values[op.table]]
    for _ in range(30):
        z, m, d = (Noted(source.choice((fmt.lo, fmt.hi, 0, source.randint(fmt.lo, fmt.hi)))) for _ in range(3))
        Noted.seen = (0, 0)
        interpreter.flow_of_neuron(op, fmt, table, z, m if op.mean else 0, d if op.drive else 0)
        assert bits_of(*Noted.seen) <= 32, f"{op}: z {z}, mean {m}, drive {d}: {Noted.seen}"


def test_bounds_of_a_scale_are_reached() -> None:
    """A proof that allowed anything would pass everything above."""
    (bound,) = prove(_one(Scale("y", "x", "x2", c="c", c_shift=3, gain=-2, shift=1), x=S8, x2=S8, c=S8, y=S8))
    assert (bound.lo, bound.hi) == ((-2 * 16384 - 1024) >> 1, (2 * 128 * 127 + 127 * 8) >> 1)
    assert bound.need_bits == bits_of(-2 * 16384 - 1024)
    assert bound.saturates


def test_bounds_of_a_contraction_are_reached() -> None:
    op = Contract("y", "a", "b", "oi,i->o", shift=2, rounding=Rounding.HALF)
    (bound,) = prove(_one(op, a=(S8, (2, 3)), b=(U8, (3,)), y=(S16, (2,))))
    assert (bound.lo, bound.hi) == ((3 * -128 * 255 + 2) >> 2, (3 * 127 * 255 + 2) >> 2)
    assert bound.need_bits == bits_of(3 * -128 * 255)
    assert not bound.saturates


def test_a_square_is_not_negative() -> None:
    (bound,) = prove(_one(Contract("y", "x", "x", "i,i->"), x=(S8, (3,)), y=S32))
    assert (bound.lo, bound.hi) == (0, 3 * 128 * 128)


def test_a_constant_enters_with_its_values() -> None:
    (bound,) = prove(_one(Scale("y", "k", "x"), {"k": np.array([2, 3])}, k=(S8, (2,)), x=S8, y=(S16, (2,))))
    assert (bound.lo, bound.hi) == (3 * -128, 3 * 127)


def test_what_lies_wholly_beyond_a_format_becomes_its_end() -> None:
    """The scratch is 127 whatever happens; then -2^63 + 127 + x cannot overflow, and with x of 9 bits it can."""
    tensors = {"k": S64, "low": S64, "x": Format(7, 0), "end": S8, "sum": S64, "y": S64}
    values = {"k": np.array(1 << 40), "low": np.array(-(1 << 63))}
    ops = (Scale("end", "k"), Scale("sum", "x", c="end"), Scale("y", "sum", c="low"))
    bounds = prove(_program(ops, values, **tensors))
    assert (bounds[1].lo, bounds[1].hi) == (127 - 64, 127 + 63)
    with pytest.raises(ProgramError, match=r"learn\[2\] scale -> y: the accumulator needs 65 bits, 64 are allowed"):
        _program(ops, values, **{**tensors, "x": Format(9, 0)})


def test_an_entropy_forgets_what_its_tensor_held_before() -> None:
    z = Format(16, -12)
    tensors = (
        Tensor("z", (2,), z, Role.INPUT),
        Tensor("table", (3,), Format(17, 0), Role.CONST),
        COUNTER,
        Tensor("s", (2,), S16, Role.SCRATCH),
        Tensor("d", (2,), S16, Role.SCRATCH),
        Tensor("e", (), S64, Role.SCRATCH),
        Tensor("y", (), S64, Role.SCRATCH),
        Tensor("one", (), S8, Role.CONST),
    )
    flow = Flow("s", "d", "e", "z", "one", "table", "t", -4, 2, 7, 8, 3, 20, 0)
    values = {"table": np.array([0, 16384, 32768]), "t": np.array(0), "one": np.array(1)}
    ops = (Scale("e", "one"), flow, Scale("y", "e"))
    bounds = prove(Program(tensors, {SECTION: ops}, values))
    assert (bounds[2].lo, bounds[2].hi) != (1, 1)


# --- what cannot fit is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "tensors", "message"),
    [
        (Scale("y", "a", "b"), {"a": S64, "b": S8, "y": S8}, "scale -> y: .* needs 72 bits, 64 "),
        (Scale("y", "a", "b", gain=2), {"a": S32, "b": S32, "y": S8}, "scale -> y: .* needs 65 bits, 64 "),
        (Scale("y", "a", c="c"), {"a": S64, "c": S8, "y": S8}, "scale -> y: .* needs 65 bits, 64 "),
        (Scale("y", "a", c="a", c_shift=2), {"a": S64, "y": S8}, "scale -> y: .* needs 67 bits, 64 "),
        (Scale("y", "a", shift=-2), {"a": Format(63, 0), "y": S8}, "scale -> y: .* needs 65 bits, 64 "),
        (
            Scale("y", "a", shift=1, rounding=Rounding.HALF),
            {"a": S64, "y": S8},
            "scale -> y: .* needs 65 bits, 64 ",
        ),
        (
            Scale("y", "a", "b", acc_bits=32),
            {"a": S16, "b": Format(17, 0), "y": S8},
            "scale -> y: .* needs 33 bits, 32 ",
        ),
        (
            Contract("y", "a", "b", "i,i->"),
            {"a": (S32, (2,)), "b": (S32, (2,)), "y": S8},
            "contract -> y: .* needs 65 bits, 64 ",
        ),
        (
            Contract("y", "a", "b", "i,i->", acc_bits=32),
            {"a": (S16, (3,)), "b": (S16, (3,)), "y": S8},
            "contract -> y: .* needs 33 bits, 32 ",
        ),
        (
            OuterUpdate("w", "s", "x", "t", 0),
            {"w": (S8, (1, 1)), "s": (S64, (1,)), "x": (S8, (1,)), "t": COUNTER},
            "outer_update -> w: .* needs 72 bits, 64 ",
        ),
        (
            OuterUpdate("w", "s", "x", "t", 0),
            {"w": (S64, (1, 1)), "s": (S8, (1,)), "x": (S8, (1,)), "t": COUNTER},
            "outer_update -> w: .* needs 65 bits, 64 ",
        ),
        (Update("p", "v", "t", 0, 2), {"p": S8, "v": S64, "t": COUNTER}, "update -> p: .* needs 67 bits, 64 "),
        (Update("p", "v", "t", 0), {"p": S64, "v": S64, "t": COUNTER}, "update -> p: .* needs 65 bits, 64 "),
    ],
    ids=str,
)
def test_an_accumulator_that_cannot_fit_is_refused(op: Op, tensors: dict[str, Any], message: str) -> None:
    with pytest.raises(ProgramError, match=rf"^learn\[0\] {message}"):
        _one(op, **tensors)


@pytest.mark.parametrize(
    ("op", "tensors"),
    [
        (Scale("y", "a", "b"), {"a": S32, "b": S32, "y": S8}),
        (Scale("y", "a", shift=-1), {"a": Format(63, 0), "y": S8}),
        (Scale("y", "a", "b", acc_bits=32), {"a": S16, "b": S16, "y": S8}),
        (Contract("y", "a", "b", "i,i->"), {"a": (S32, (2,)), "b": (Format(31, 0), (2,)), "y": S8}),
        (OuterUpdate("w", "s", "x", "t", 0), {"w": (S8, (1, 1)), "s": (S32, (1,)), "x": (S32, (1,)), "t": COUNTER}),
        (Update("p", "v", "t", 0, 1), {"p": S8, "v": Format(62, 0), "t": COUNTER}),
    ],
    ids=str,
)
def test_the_widest_that_fits_is_not(op: Op, tensors: dict[str, Any]) -> None:
    (bound,) = prove(_one(op, **tensors))
    assert bound.margin_bits == 0


def _flow(**changes: Any) -> Program:
    """A flow at the edge of 32 bits in every sum."""
    z = Format(16, -12)
    tensors = {
        "z": (z, (2,)),
        "table": (Format(17, 0), (3,)),
        "gain": S16,
        "t": COUNTER,
        "factor": (S16, (2,)),
        "decision": (S16, (2,)),
        "entropy": S64,
    }
    given = {"lo": -4, "width": 2, "steps": 7, "rate": 8, "rate_shift": 3, "shift": 20, "row": 0} | changes
    op = Flow("factor", "decision", "entropy", "z", "gain", "table", "t", **given)
    return _one(op, {"table": np.array([0, 16384, 32768])}, **tensors)


@pytest.mark.parametrize("changes", [{"rate": 8191}, {"steps": 4096}, {"width": 14, "lo": 0, "guard": 14}], ids=str)
def test_a_flow_at_the_edge_of_its_32_bits_is_allowed(changes: dict[str, int]) -> None:
    assert prove(_flow(**changes))[0].need_bits > 32


def test_a_flow_beyond_its_32_bits_is_refused() -> None:
    z = Format(16, -1)
    with pytest.raises(ProgramError, match=r"learn\[0\] flow -> factor: the accumulator needs 4\d bits, 32 are"):
        _one(
            Flow("factor", "decision", "entropy", "z", "gain", "table", "t", 0, 0, 7, 8191, 3, 0, 0),
            {"table": np.array([0, 32768])},
            z=(z, (2,)),
            table=(Format(17, 0), (2,)),
            gain=S16,
            t=COUNTER,
            factor=(S16, (2,)),
            decision=(S16, (2,)),
            entropy=S64,
        )


@pytest.mark.parametrize(
    ("op", "values"),
    [
        (Gather("y", "a", "index"), {"index": np.array([0, 1])}),
        (Select("y", "a", "a", "a", "b"), {}),
    ],
    ids=["gather", "select"],
)
def test_what_only_copies_must_fit(op: Op, values: dict[str, IntArray]) -> None:
    tensors = {"a": (S16, (2,)), "b": (S8, (2,)), "index": (S8, (2,)), "y": (S8, (2,))}
    used = {name: tensors[name] for name in ("y", "a", "b", "index") if name in str(op) or name == "a"}
    with pytest.raises(ProgramError, match=rf"learn\[0\] {op.verb} -> y: values -32768 to 32767 do not fit s8"):
        _one(op, values, **used)


# --- locality ---------------------------------------------------------------------------------------------------------


def _layers(op: Op, kind: Kind = Kind.DECISION, **layers: int | None) -> Program:
    """One operation among tensors of given layers; x is what it reads."""
    tensors = (
        Tensor("x", (), S8, Role.INPUT, kind, layers.get("x")),
        Tensor("y", (), S8, Role.SCRATCH, layer=layers.get("y")),
        Tensor("t", (), COUNTER.format, Role.STATE, Kind.COUNTER),
    )
    return Program(tensors, {SECTION: (op,)}, {"t": np.array(0)})


@pytest.mark.parametrize("x", [None, 1, 2])
def test_an_operation_reads_its_layer_the_decisions_below_and_what_nobody_owns(x: int | None) -> None:
    _layers(Scale("y", "x", layer=2), x=x, y=2)


@pytest.mark.parametrize(
    ("layer", "kind", "x", "y", "message"),
    [
        (2, Kind.KNOWLEDGE, 1, 2, "layer 2 reads x of layer 1; only decisions of the layer below may cross"),
        (2, Kind.ERROR, 1, 2, "layer 2 reads x of layer 1"),
        (2, Kind.DECISION, 3, 2, "layer 2 reads x of layer 3"),
        (3, Kind.DECISION, 1, 3, "layer 3 reads x of layer 1"),
        (None, Kind.DECISION, 1, None, "layer None reads x of layer 1"),
        (2, Kind.DECISION, 2, 1, "layer 2 writes y of layer 1"),
        (2, Kind.DECISION, 2, 3, "layer 2 writes y of layer 3"),
        (None, Kind.DECISION, None, 1, "layer None writes y of layer 1"),
    ],
)
def test_breaking_locality_is_refused(
    layer: int | None, kind: Kind, x: int | None, y: int | None, message: str
) -> None:
    with pytest.raises(ProgramError, match=rf"learn\[0\] scale: an operation of {message}"):
        _layers(Scale("y", "x", layer=layer), kind, x=x, y=y)


def test_advance_belongs_to_no_layer() -> None:
    _layers(Advance("t"))
    with pytest.raises(ProgramError, match=r"learn\[0\] advance: advance belongs to no layer"):
        _layers(Advance("t", layer=1))


# --- Programs of one operation ----------------------------------------------------------------------------------------


def _one(op: Op, values: Mapping[str, IntArray] | None = None, **tensors: Any) -> Program:
    """A Program of one operation: tensors as a format, a format and a shape, or a Tensor."""
    return _program((op,), values or {}, **tensors)


def _program(ops: tuple[Op, ...], values: Mapping[str, IntArray], **tensors: Any) -> Program:
    """Given values make constants; what is written is scratch, or state where the operation needs that."""
    declared = []
    given = dict(values)
    written = {name: op for op in ops for name in op.outputs().values()}
    for name, what in tensors.items():
        if isinstance(what, Tensor):
            declared.append(what)
            given[name] = np.zeros(what.shape, np.int64)
            continue
        fmt, shape = what if isinstance(what, tuple) else (what, ())
        if name in values:
            role = Role.CONST
        elif isinstance(written.get(name), OuterUpdate | Update):
            role = Role.STATE
            given[name] = np.zeros(shape, np.int64)
        else:
            role = Role.SCRATCH if name in written else Role.INPUT
        declared.append(Tensor(name, shape, fmt, role))
    return Program(tuple(declared), {SECTION: ops}, given)


def test_a_lut_is_bounded_by_its_table() -> None:
    values = {"table": np.array([-5, 90, 12])}
    (bound,) = prove(_one(Lut("y", "x", "table", -2, 1), values, x=S8, table=(S8, (3,)), y=S8))
    assert (bound.lo, bound.hi, bound.saturates) == (-5, 90, False)
