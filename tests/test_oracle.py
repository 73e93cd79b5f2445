"""What the oracle promises beside the vectors: what it refuses, and where its shortcuts end."""

from __future__ import annotations

import numpy as np
import pytest

from ska_edge.errors import ProgramError
from ska_edge.fixed import Format
from ska_edge.interpreter import Interpreter, requantise, scaled_offset, scaled_offsets
from ska_edge.operations import Role, Scale, Tensor
from ska_edge.program import Program


@pytest.mark.parametrize(("shift", "result"), [(0, 5), (-1, 10), (1, 4), (2, 2)])
def test_what_is_added_counts_only_before_a_shift_to_the_right(shift: int, result: int) -> None:
    assert requantise(5, shift, 3, -128, 127) == result


def test_a_row_of_offsets_longer_than_the_lattice() -> None:
    row = scaled_offsets(60_000, 3, 7, 16)
    assert len(row) == 60_000
    assert row[-1] == scaled_offset(59_999, 3, 7, 16)


@pytest.mark.parametrize("values", [[-129, 0], [0, -129], [128, 0], [0, 128], [1], [1, 2, 3]], ids=str)
def test_a_value_that_does_not_fit_is_an_error(values: list[int]) -> None:
    """The proof says it cannot happen; the oracle looks."""
    tensors = (Tensor("x", (2,), Format(8, 0), Role.INPUT), Tensor("y", (2,), Format(8, 0), Role.SCRATCH))
    oracle = Interpreter(Program(tensors, {"learn": (Scale("y", "x"),)}, {}))
    with pytest.raises(ProgramError, match=r"^y: \d values"):
        oracle._put("y", values)
    oracle._put("y", [-128, 127])
    assert oracle.read("y").tolist() == [-128, 127]


def test_reading_gives_a_tensor_its_shape() -> None:
    tensors = (Tensor("w", (2, 3), Format(8, 0), Role.STATE), Tensor("x", (1, 2), Format(8, 0), Role.INPUT))
    oracle = Interpreter(Program(tensors, {}, {"w": np.arange(6).reshape(2, 3)}))
    oracle.write("x", np.array([[3, 4]]))
    assert oracle.read("w").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert oracle.read("x").tolist() == [[3, 4]]
    assert oracle.memory["w"] == [0, 1, 2, 3, 4, 5]
