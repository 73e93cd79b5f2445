"""The least that learns on random features: a guided Program whose hidden layers neither learn nor make ready to.

An honest rival of learning hidden layers: hidden weights are constants, and nothing is computed but a forward pass and
what the class layer learns by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..operations import Contract, Flow, Kind, Lut, Op, Role, Scale
from ..program import Program
from .controls import frozen


def random_features(program: Program) -> Program:
    """A frozen Program without all that its class layer does not need.  Raises ProgramError where nothing is learnt.

    The flow's decision gives way to the layer's own, which has the same bits, so that the class layer learns, to the
    bit, what it learns in `frozen(program)`.  Entropies are not kept.
    """
    found = frozen(program)
    sections = {name: _once(program, _without_flow(program, ops)) for name, ops in found.sections.items()}
    wanted = {tensor.name for tensor in program.of_role(Role.OUTPUT) if tensor.kind is not Kind.ENTROPY}
    wanted |= {name for op in sections["infer"] for name in op.inputs().values()}
    kept = {name: _needed(ops, wanted) for name, ops in sections.items()}
    written = {name for ops in kept.values() for op in ops for name in op.outputs().values()}
    used = written | {name for ops in kept.values() for op in ops for name in op.inputs().values()}
    tensors = tuple(
        replace(tensor, role=Role.CONST) if tensor.role is Role.STATE and tensor.name not in written else tensor
        for tensor in program.tensors
        if tensor.name in used
    )
    values = {tensor.name: program.values[tensor.name] for tensor in tensors if tensor.name in program.values}
    return replace(program, tensors=tensors, sections=kept, values=values)


def _without_flow(program: Program, ops: Sequence[Op]) -> list[Op]:
    """What follows reads the decision before the flow, which is the one a flow hands on that emits its first."""
    own = {(op.x, op.table): op.out for op in ops if isinstance(op, Lut)}
    pairs = ((op.decision, own.get((op.z, op.table))) for op in ops if isinstance(op, Flow) and op.emit_first)
    formats = {tensor.name: tensor.format for tensor in program.tensors}
    twins = {name: twin for name, twin in pairs if twin is not None and formats[name] == formats[twin]}
    return [_reading(op, twins) for op in ops]


def _once(program: Program, ops: Sequence[Op]) -> list[Op]:
    """The same sum or product of the same scratch is computed once."""
    found: list[Op] = []
    first, twins = dict[Op, str](), dict[str, str]()
    for op in ops:
        op = _reading(op, twins)
        if isinstance(op, Contract | Scale) and op.t is None and _is_fixed(program, op):
            out = program.by_name[op.out]
            same = first.setdefault(replace(op, out=""), op.out)
            if same != op.out and program.by_name[same].format == out.format:
                twins[op.out] = same
                continue
        found.append(op)
    return found


def _is_fixed(program: Program, op: Op) -> bool:
    """Whether nothing writes again what it reads, and its result, within a section."""
    names = (*op.inputs().values(), *op.outputs().values())
    return all(program.by_name[name].role in (Role.CONST, Role.SCRATCH) for name in names)


def _reading(op: Op, instead: Mapping[str, str]) -> Op:
    other: dict[str, Any] = {field: instead[name] for field, name in op.inputs().items() if name in instead}
    return replace(op, **other)


def _needed(ops: Sequence[Op], wanted: set[str]) -> tuple[Op, ...]:
    """The operations that what is wanted comes from, sample after sample."""
    wanted, known = set(wanted), -1
    while len(wanted) != known:
        known = len(wanted)
        for op in ops:
            if wanted & set(op.outputs().values()):
                wanted |= set(op.inputs().values())
    return tuple(op for op in ops if wanted & set(op.outputs().values()))
