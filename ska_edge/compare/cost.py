"""What a Program costs: bytes, and multiplications counted from its operations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..baselines import Cost
from ..operations import Contract, Flow, Lut, Op, OuterUpdate, Scale
from ..plan import learning_bytes, weight_bytes
from ..program import Program

_FLOW_PRODUCTS = 6  # a step and neuron: interpolation, D(1-D), zD', drive D', rate, entropy (SPEC 5.4)


def program_cost(program: Program) -> Cost:
    """Weights, learning memory and multiplications of a Program's `learn` section."""
    return Cost(weight_bytes(program), learning_bytes(program), macs(program, program.sections["learn"]))


def macs(program: Program, ops: Sequence[Op]) -> int:
    """Multiplications in a run of operations.

    One a product of a `contract`; one a weight of an `outer_update`; one an element of a `scale` by a tensor and of a
    `lut` (interpolation); a `flow` two a neuron and six a neuron and step.  The others only add, shift or compare.
    """
    return sum(_products(program, op) for op in ops)


def _products(program: Program, op: Op) -> int:
    tensors = program.by_name
    if isinstance(op, Contract):
        operands, _ = op.axes.split("->")
        extents: dict[str, int] = {}
        for letters, name in zip(operands.split(","), (op.a, op.b), strict=True):
            extents.update(zip(letters, tensors[name].shape, strict=True))
        return int(np.prod(list(extents.values()), dtype=np.int64))
    if isinstance(op, OuterUpdate):
        return tensors[op.w].size
    if isinstance(op, Flow):
        return tensors[op.z].size * (2 + _FLOW_PRODUCTS * op.steps)
    if isinstance(op, Lut) or (isinstance(op, Scale) and op.b is not None):
        return tensors[op.out].size
    return 0
