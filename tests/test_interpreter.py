"""The oracle against the hand-computed vectors and tables of SPEC.md, and its own manners as an executor."""

from __future__ import annotations

import math
import re
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vectors import SECTION, Vector, check_vector, load_table, load_vectors

import ska_edge
from ska_edge.errors import ProgramError
from ska_edge.fixed import Format, pack
from ska_edge.interpreter import (
    Interpreter,
    bounds,
    offset,
    requantise,
    rounding_term,
    scaled_offset,
    scaled_offsets,
    sums_of_products,
)
from ska_edge.operations import OPS, Kind, OuterUpdate, Role, Rounding, Scale, Tensor
from ska_edge.program import Program

SPEC = Path(ska_edge.__file__).with_name("SPEC.md")
VECTORS = list(load_vectors())


# --- vectors and tables -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS, ids=attrgetter("name"))
def test_vector(vector: Vector) -> None:
    check_vector(Interpreter, vector)


def test_every_primitive_has_a_vector() -> None:
    assert {vector.program.sections[SECTION][0].verb for vector in VECTORS} == set(OPS)


@pytest.mark.parametrize("row", load_table("requantise"), ids=str)
def test_requantise(row: dict[str, Any]) -> None:
    term = rounding_term(Rounding(row["rounding"]), row["shift"], row.get("row", 0), row.get("k", 0), row.get("t", 0))
    lo, hi = bounds(Format(row["bits"], 0, row["signed"]))
    assert requantise(row["v"], row["shift"], term, lo, hi) == row["result"]


@pytest.mark.parametrize("row", load_table("lattice"), ids=str)
def test_lattice(row: dict[str, Any]) -> None:
    i, j, t = row["i"], row["j"], row["t"]
    assert offset(i, j, t) == row["offset"]
    for n, expected in row["scaled"].items():
        assert scaled_offset(i, j, t, int(n)) == expected, f"scaled to {n}"


@pytest.mark.parametrize("row", load_table("packing"), ids=str)
def test_packing(row: dict[str, Any]) -> None:
    assert pack(np.array(row["values"], np.int64), Format(row["bits"], 0, row["signed"])).hex() == row["bytes"]


def test_tables_of_the_spec_are_in_the_vectors() -> None:
    """A number changed in SPEC.md and not here, or here and not there, would leave two normative texts."""
    text = SPEC.read_text()
    quoted = re.findall(r"^\| (-?\d+) \| (-?\d+) \| (floor|half|lattice) \| ([su])(\d+) \| (-?\d+) \|$", text, re.M)
    keys = ("v", "shift", "rounding", "signed", "bits", "result")
    ours = {tuple(row[key] for key in keys) for row in load_table("requantise")}
    assert quoted
    assert {(int(v), int(n), mode, sign == "s", int(bits), int(y)) for v, n, mode, sign, bits, y in quoted} <= ours
    quoted_offsets = re.findall(r"^\| (\d+), (\d+), (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", text, re.M)
    our_offsets = {
        (row["i"], row["j"], row["t"], row["offset"], row["scaled"]["20"], row["scaled"]["4"])
        for row in load_table("lattice")
    }
    assert quoted_offsets
    assert {tuple(map(int, row)) for row in quoted_offsets} <= our_offsets


# --- the shortcuts say what the definitions say -----------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0, 1, 8, 15, 16, 17, 30])
def test_a_row_of_offsets_is_the_offsets(shift: int) -> None:
    for j, t in ((0, 0), (3, 7), (70000, 2**32 - 1)):
        assert scaled_offsets(50, j, t, shift) == [scaled_offset(i, j, t, shift) for i in range(50)]


@pytest.mark.parametrize(
    ("a_axes", "b_axes", "out_axes"),
    [("oi", "i", "o"), ("io", "i", "o"), ("poi", "oi", "p"), ("iop", "i", "op"), ("iop", "io", "p")],
)
def test_rows_and_columns_are_the_general_contraction(a_axes: str, b_axes: str, out_axes: str) -> None:
    """The same sum with its operands exchanged takes the general way."""
    extents = {letter: {"o": 3, "i": 5, "p": 2}[letter] for letter in a_axes}
    generator = np.random.default_rng(0)
    a, b = (
        generator.integers(-99, 99, math.prod(extents[letter] for letter in axes)).tolist() for axes in (a_axes, b_axes)
    )
    fast = sums_of_products(a, b, f"{a_axes},{b_axes}->{out_axes}", extents)
    assert fast == sums_of_products(b, a, f"{b_axes},{a_axes}->{out_axes}", extents)


# --- memory and sections ----------------------------------------------------------------------------------------------


def _program(**outer: Any) -> Program:
    """out = 2x; w learns from it; t counts."""
    s8, u16 = Format(8, 0), Format(16, 0, signed=False)
    tensors = (
        Tensor("x", (2,), s8, Role.INPUT),
        Tensor("s", (2,), s8, Role.SCRATCH),
        Tensor("w", (2, 2), s8, Role.STATE),
        Tensor("t", (), u16, Role.STATE, Kind.COUNTER),
    )
    ops = (Scale("s", "x", gain=2), OuterUpdate("w", "s", "x", "t", shift=0))
    return Program(tensors, {SECTION: ops}, {"w": np.zeros((2, 2), np.int64), "t": np.array(0, np.int64)}, **outer)


def test_reading_what_was_never_written_is_an_error() -> None:
    oracle = Interpreter(_program())
    for name in ("s", "x", "nothing"):
        with pytest.raises(ProgramError, match=name):
            oracle.read(name)
    oracle.write("x", np.array([1, 2]))
    with pytest.raises(ProgramError, match="s: read before"):
        oracle.run(SECTION, 1)


def test_an_unknown_section_is_an_error() -> None:
    with pytest.raises(ProgramError, match="this Program has learn"):
        Interpreter(_program()).run("infer")


def test_writing_a_scratch_tensor_or_a_wrong_value_is_an_error() -> None:
    oracle = Interpreter(_program())
    for name, values in (("s", [1, 2]), ("x", [1, 2, 3]), ("x", [1, 128])):
        with pytest.raises(ProgramError):
            oracle.write(name, np.array(values))


def test_a_section_can_be_run_operation_by_operation() -> None:
    whole, stepped = Interpreter(_program()), Interpreter(_program())
    for oracle in (whole, stepped):
        oracle.write("x", np.array([3, -4]))
    whole.run(SECTION)
    stepped.run(SECTION, 0, 1)
    assert stepped.read("s").tolist() == [6, -8]
    assert not stepped.read("w").any()
    stepped.run(SECTION, 1, 2)
    assert stepped.read("w").tolist() == whole.read("w").tolist() == [[18, -24], [-24, 32]]


def test_memory_is_the_executors_own() -> None:
    program = _program()
    oracle, other = Interpreter(program), Interpreter(program)
    given = np.array([1, 1])
    oracle.write("x", given)
    given[0] = 99
    oracle.run(SECTION)
    oracle.read("w")[0, 0] = 99
    assert oracle.read("w").tolist() == [[2, 2], [2, 2]]
    assert not other.read("w").any() and not program.values["w"].any()


def test_state_can_be_taken_and_given_back() -> None:
    oracle = Interpreter(_program())
    before = oracle.state()
    rows = np.array([[1, 2], [3, 4]])
    collected = oracle.stream(SECTION, {"x": rows}, collect=["s", "w"])
    assert collected["s"].tolist() == (2 * rows).tolist()
    assert collected["w"][1].tolist() == oracle.read("w").tolist()
    oracle.load_state(before)
    assert oracle.program.digest_of(oracle.state()) == oracle.program.state_digest
