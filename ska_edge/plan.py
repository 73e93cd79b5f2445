"""Where every tensor lives: one arena, scratch overlaid by lifetime (SPEC 7).

The plan is the memory: the firmware allocates exactly this arena, the Numba core also a workspace for wide loops.
Inputs, outputs and entropy sums come first, then state (the snapshot is one piece), then scratch.  Constants live
apart, in flash.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .operations import Kind, Op, Role, Tensor
from .program import Program

_WEIGHTS = (Kind.WEIGHT, Kind.HEAD, Kind.BIAS)


@dataclass(frozen=True)
class Plan:
    """Byte offsets: `fixed` for state, inputs and outputs, `scratch` by section, `const` in a pool of its own.

    State lies between `state_start` and `fixed_bytes`, scratch from there to `arena_bytes`.
    """

    fixed: Mapping[str, int]
    scratch: Mapping[str, Mapping[str, int]]
    const: Mapping[str, int]
    state_start: int
    fixed_bytes: int
    arena_bytes: int
    const_bytes: int

    def offset(self, section: str, tensor: str) -> int:
        """Arena offset of a tensor that is no constant."""
        return self.fixed[tensor] if tensor in self.fixed else self.scratch[section][tensor]


def plan(program: Program) -> Plan:
    """Lay out a Program."""
    buffers, buffer_bytes = _stack(program.of_role(Role.INPUT, Role.OUTPUT), 0)
    state, fixed_bytes = _stack(program.of_role(Role.STATE), buffer_bytes)
    const, const_bytes = _stack(program.of_role(Role.CONST), 0)
    scratch: dict[str, dict[str, int]] = {}
    end = fixed_bytes
    for section, ops in program.sections.items():
        scratch[section], section_end = _overlay(program, ops, fixed_bytes)
        end = max(end, section_end)
    return Plan({**buffers, **state}, scratch, const, buffer_bytes, fixed_bytes, end, const_bytes)


def memory(program: Program) -> dict[str, int]:
    """Bytes by part.

    `weights`, `heads`, `biases`: what is learnt.  `other_state`: means and t.  `inputs`, `outputs`: buffers the host
    fills and reads.  `entropies`: one sum a layer.  `scratch`: the peak of everything else, overlaid.  `constants`:
    tables and codes, in flash.  `padding`: alignment.  All but `constants` add up to the arena.
    """
    layout = plan(program)
    entropies = sum(t.byte_count for t in program.of_kind(Kind.ENTROPY) if t.role is Role.OUTPUT)
    parts = {
        "weights": _total(program.of_kind(Kind.WEIGHT), Role.STATE),
        "heads": _total(program.of_kind(Kind.HEAD), Role.STATE),
        "biases": _total(program.of_kind(Kind.BIAS), Role.STATE),
        "other_state": sum(t.byte_count for t in program.of_role(Role.STATE) if t.kind not in _WEIGHTS),
        "inputs": sum(t.byte_count for t in program.of_role(Role.INPUT)),
        "outputs": sum(t.byte_count for t in program.of_role(Role.OUTPUT)) - entropies,
        "entropies": entropies,
        "scratch": layout.arena_bytes - layout.fixed_bytes,
    }
    parts["padding"] = layout.arena_bytes - sum(parts.values())
    parts["constants"] = layout.const_bytes
    return parts


def weight_bytes(program: Program) -> int:
    """Bytes of what is learnt: weights, heads and biases."""
    return sum(t.byte_count for t in program.of_role(Role.STATE) if t.kind in _WEIGHTS)


def learning_bytes(program: Program) -> int:
    """Bytes learning needs beyond weights, buffers and entropy sums: scratch at its peak, means, t and padding."""
    parts = memory(program)
    return parts["scratch"] + parts["other_state"] + parts["padding"]


def _total(tensors: Iterable[Tensor], role: Role) -> int:
    return sum(tensor.byte_count for tensor in tensors if tensor.role is role)


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


def _alignment(tensor: Tensor) -> int:
    return max(tensor.format.stored_bits // 8, 1)


def _stack(tensors: Iterable[Tensor], start: int) -> tuple[dict[str, int], int]:
    """One after the other, widest elements first, so that padding is rare."""
    offsets: dict[str, int] = {}
    for tensor in sorted(tensors, key=_alignment, reverse=True):
        offsets[tensor.name] = _aligned(start, _alignment(tensor))
        start = offsets[tensor.name] + tensor.byte_count
    return offsets, start


@dataclass
class _Place:
    """Storage that one scratch tensor after another uses, from operation `first` to `last`, both included."""

    tensors: list[Tensor]
    first: int
    last: int

    @property
    def size(self) -> int:
        return max(tensor.byte_count for tensor in self.tensors)

    @property
    def alignment(self) -> int:
        return max(_alignment(tensor) for tensor in self.tensors)


def _overlay(program: Program, ops: tuple[Op, ...], base: int) -> tuple[dict[str, int], int]:
    """Offsets of a section's scratch tensors: the largest place first, each as low as those alive at its time allow."""
    placed: list[tuple[int, int, int, int]] = []  # start, end, first, last: by start
    offsets: dict[str, int] = {}
    for place in sorted(_places(program, ops), key=lambda place: (-place.size, place.first)):
        size, alignment = place.size, place.alignment
        offset = _aligned(base, alignment)
        for start, end, first, last in placed:
            if last < place.first or place.last < first or end <= offset:
                continue
            if offset + size <= start:
                break
            offset = _aligned(end, alignment)
        insort(placed, (offset, offset + size, place.first, place.last))
        offsets.update((tensor.name, offset) for tensor in place.tensors)
    return offsets, max((end for _, end, _, _ in placed), default=base)


def _places(program: Program, ops: tuple[Op, ...]) -> list[_Place]:
    """Lifetimes; a tensor moves into the place of an operand that it may take over."""
    last_use = {name: i for i, op in enumerate(ops) for name in (*op.inputs().values(), *op.outputs().values())}
    of: dict[str, _Place] = {}
    places: list[_Place] = []
    for position, op in enumerate(ops):
        dying = {name for name in op.inputs().values() if name in of and last_use[name] == position}
        for output_field, name in op.outputs().items():
            tensor = program.by_name[name]
            if tensor.role is not Role.SCRATCH or name in of:
                continue
            heir = _takes_over(program, op, output_field, dying)
            if heir is None:
                of[name] = _Place([tensor], position, last_use[name])
                places.append(of[name])
            else:
                dying.remove(heir)
                of[name] = of[heir]
                of[name].tensors.append(tensor)
                of[name].last = last_use[name]
    return places


def _takes_over(program: Program, op: Op, output_field: str, dying: set[str]) -> str | None:
    """A scratch operand of the same count and no narrower element that dies at this very operation."""
    out = program.by_name[op.outputs()[output_field]]
    if out.format.stored_bits == 4:
        return None
    for input_field in op.elementwise.get(output_field, ()):
        name = op.inputs().get(input_field)
        if name is not None and name in dying:
            operand = program.by_name[name]
            if operand.shape == out.shape and operand.format.stored_bits >= out.format.stored_bits:
                return name
    return None
