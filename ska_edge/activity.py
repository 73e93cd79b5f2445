"""What the simulator is told about an image: a file beside it, never an import.

`ska-edge build` writes `firmware.map.json`: which line of `model.c` carries out which operation, in which layer and
phase, over how much work, and which tensors of the arena hold something meanwhile.
"""

from __future__ import annotations

import math
import re
from typing import Any

from .axes import split_axes
from .errors import SkaError
from .operations import Contract, Flow, Kind, Op, OuterUpdate, Role
from .plan import plan
from .program import Program

ARENA = "ska_memory"
PHASES = ("forward", "flow", "update")
_UPDATES = (Kind.NORM, Kind.RATE, Kind.FACTOR, Kind.WEIGHT, Kind.HEAD, Kind.BIAS, Kind.MEAN, Kind.COUNTER)
_FLOWS = (Kind.ERROR, Kind.DRIVE, Kind.ENTROPY)


def activity(program: Program, source: str) -> dict[str, Any]:
    """The content of that file.  `source`: the text of `model.c`."""
    layout = plan(program)
    tensors = [{"name": t.name, "role": t.role.value, "bytes": t.byte_count} for t in program.tensors]
    operations = []
    for section, ops in program.sections.items():
        lines = _call_lines(source, section)
        if len(lines) != len(ops):
            raise SkaError(f"model.c: {len(lines)} calls in section {section}; the Program has {len(ops)} operations")
        alive = _alive(program, ops)
        for op, line, names in zip(ops, lines, alive, strict=True):
            operations.append(
                {
                    "file": "model.c",
                    "line": line,
                    "section": section,
                    "name": ", ".join(op.outputs().values()),
                    "verb": op.verb,
                    "layer": op.layer,
                    "phase": phase(program, op),
                    "work": work(program, op),
                    "alive": {name: layout.offset(section, name) for name in names},
                }
            )
    return {
        "program_digest": program.program_digest,
        "arena": {"symbol": ARENA, "bytes": layout.arena_bytes},
        "tensors": tensors,
        "operations": operations,
    }


def phase(program: Program, op: Op) -> str:
    """forward, flow or update, by what an operation is and what it writes."""
    if isinstance(op, Flow):
        return "flow"
    kinds = {program.by_name[name].kind for name in op.outputs().values()}
    return "update" if kinds & {*_UPDATES} else "flow" if kinds & {*_FLOWS} else "forward"


def work(program: Program, op: Op) -> int:
    """Multiply-accumulates of a contraction, weights of an update, steps of a flow's neurons, else elements written."""
    size = max(program.by_name[name].size for name in op.outputs().values())
    if isinstance(op, Contract):
        extents: dict[str, int] = {}
        a_axes, b_axes, _ = split_axes(op.axes)
        for axes, name in ((a_axes, op.a), (b_axes, op.b)):
            extents.update(zip(axes, program.by_name[name].shape, strict=True))
        return math.prod(extents.values())
    if isinstance(op, Flow):
        return program.by_name[op.z].size * op.steps
    if isinstance(op, OuterUpdate):
        return program.by_name[op.w].size
    return size


def _call_lines(source: str, section: str) -> list[int]:
    """Lines on which the operations of a section are called, in order."""
    lines = source.splitlines()
    start = lines.index(f"static void ska_section_{section}(void)")
    found = []
    for number, text in enumerate(lines[start + 1 :], start + 2):
        if text == "}":
            break
        if re.match(r"    \w+\(.*\);$", text):
            found.append(number)
    return found


def _alive(program: Program, ops: tuple[Op, ...]) -> list[list[str]]:
    """At each operation, the tensors of the arena that hold something: all but scratch before and after its use."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for position, op in enumerate(ops):
        for name in (*op.inputs().values(), *op.outputs().values()):
            first.setdefault(name, position)
            last[name] = position
    kept = [t.name for t in program.tensors if t.role in (Role.STATE, Role.INPUT, Role.OUTPUT)]
    scratch = [t.name for t in program.of_role(Role.SCRATCH) if t.name in first]
    return [kept + [name for name in scratch if first[name] <= at <= last[name]] for at in range(len(ops))]
