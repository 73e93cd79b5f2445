"""Reads `vectors.json`, the hand-computed vectors of SPEC.md, and holds an executor against them.

Every backend's test uses this module:

    @pytest.mark.parametrize("vector", load_vectors(), ids=attrgetter("name"))
    def test_vector(vector): check_vector(MyExecutor, vector)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ska_edge.executor import Executor
from ska_edge.fixed import Format, IntArray
from ska_edge.operations import OPS, Kind, Op, Role, Rounding, Tensor
from ska_edge.program import Program

SECTION = "learn"
_PATH = Path(__file__).with_name("vectors.json")


class Vector(NamedTuple):
    """A Program of one operation in section "learn", the inputs to write, and what its tensors must then hold."""

    name: str
    program: Program
    inputs: dict[str, IntArray]
    expect: dict[str, IntArray]


def load_vectors() -> Iterator[Vector]:
    """Every vector, as (name, Program, inputs, expect)."""
    return map(_vector, _document()["vectors"])


def load_table(name: str) -> list[dict[str, Any]]:
    """The rows of a table of a pure function: "requantise" (SPEC 2.2), "lattice" (SPEC 3) or "packing" (SPEC 1.2)."""
    rows: list[dict[str, Any]] = _document()[name]
    return rows


def check_vector(make: Callable[[Program], Executor], vector: Vector) -> None:
    """Run one vector; AssertionError names tensor, index, expected and actual value of every difference."""
    executor = make(vector.program)
    for name, values in vector.inputs.items():
        executor.write(name, values)
    executor.run(SECTION)
    found = [line for name, values in vector.expect.items() for line in differences(name, values, executor.read(name))]
    assert not found, f"{vector.name} on {executor.name}:\n" + "\n".join(found)


def differences(tensor: str, expected: IntArray, actual: IntArray) -> list[str]:
    """One line for every element that is not as expected."""
    if expected.shape != actual.shape:
        return [f"  {tensor}: shape {actual.shape}, expected {expected.shape}"]
    return [
        f"  {tensor}{list(index)}: {int(actual[index])}, expected {int(expected[index])}"
        for index in np.ndindex(expected.shape)
        if actual[index] != expected[index]
    ]


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_PATH.read_text("ascii"))
    return document


def _vector(entry: dict[str, Any]) -> Vector:
    tensors = tuple(_tensor(name, data) for name, data in entry["tensors"].items())
    by_role: dict[Role, dict[str, IntArray]] = {role: {} for role in Role}
    for tensor in tensors:
        if "values" in entry["tensors"][tensor.name]:
            by_role[tensor.role][tensor.name] = np.array(entry["tensors"][tensor.name]["values"], np.int64)
    program = Program(tensors, {SECTION: (_op(entry),)}, by_role[Role.CONST] | by_role[Role.STATE])
    expect = {name: np.array(values, np.int64) for name, values in entry["expect"].items()}
    return Vector(entry["name"], program, by_role[Role.INPUT], expect)


def _tensor(name: str, data: dict[str, Any]) -> Tensor:
    fmt = Format(data["bits"], data["exponent"], data["signed"])
    return Tensor(name, tuple(data["shape"]), fmt, Role(data["role"]), Kind(data.get("kind", "other")))


def _op(entry: dict[str, Any]) -> Op:
    fields = dict(entry["fields"])
    if "rounding" in fields:
        fields["rounding"] = Rounding(fields["rounding"])
    return OPS[entry["op"]](**fields)
