"""Where every tensor lives: one arena, scratch overlaid by lifetime (SPEC 7).

The plan is the memory: the Numba core allocates exactly this arena, and so will the firmware.  State comes first (the
snapshot is one piece), then inputs, outputs and entropy sums, then scratch.  Constants live apart, in flash.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .operations import Kind, Op, Role, Tensor
from .program import Program

_WEIGHTS = (Kind.WEIGHT, Kind.HEAD, Kind.BIAS)


@dataclass(frozen=True)
class Plan:
    """Byte offsets: `fixed` for state, inputs and outputs, `scratch` by section, `const` in a pool of its own."""

    fixed: Mapping[str, int]
    scratch: Mapping[str, Mapping[str, int]]
    const: Mapping[str, int]
    state_bytes: int
    fixed_bytes: int
    arena_bytes: int
    const_bytes: int

    def offset(self, section: str, tensor: str) -> int:
        """Arena offset of a tensor that is no constant."""
        return self.fixed[tensor] if tensor in self.fixed else self.scratch[section][tensor]


def plan(program: Program) -> Plan:
    """Lay out a Program."""
    fixed, state_bytes = _stack(program.of_role(Role.STATE), 0)
    buffers, fixed_bytes = _stack(program.of_role(Role.INPUT, Role.OUTPUT), state_bytes)
    const, const_bytes = _stack(program.of_role(Role.CONST), 0)
    scratch: dict[str, dict[str, int]] = {}
    end = fixed_bytes
    for section, ops in program.sections.items():
        scratch[section], section_end = _overlay(program, ops, fixed_bytes)
        end = max(end, section_end)
    return Plan({**fixed, **buffers}, scratch, const, state_bytes, fixed_bytes, end, const_bytes)


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


def _overlay(program: Program, ops: tuple[Op, ...], base: int) -> tuple[dict[str, int], int]:
    """Place each scratch tensor when it is first written, in the lowest gap among those still to be read."""
    last_use = {name: i for i, op in enumerate(ops) for name in (*op.inputs().values(), *op.outputs().values())}
    offsets: dict[str, int] = {}
    live: dict[str, int] = {}
    end = base
    for position, op in enumerate(ops):
        for output_field, name in op.outputs().items():
            tensor = program.by_name[name]
            if tensor.role is not Role.SCRATCH or name in offsets:
                continue
            heir = _takes_over(program, op, output_field, live, last_use, position)
            offset = _lowest_gap(program, tensor, live, base) if heir is None else live.pop(heir)
            offsets[name] = live[name] = offset
            end = max(end, offset + tensor.byte_count)
        live = {name: offset for name, offset in live.items() if last_use[name] > position}
    return offsets, end


def _takes_over(
    program: Program, op: Op, output_field: str, live: Mapping[str, int], last_use: Mapping[str, int], position: int
) -> str | None:
    """A scratch operand of the same count and no narrower element that dies at this very operation."""
    out = program.by_name[op.outputs()[output_field]]
    if out.format.stored_bits == 4:
        return None
    for input_field in op.elementwise.get(output_field, ()):
        name = op.inputs().get(input_field)
        if name is not None and name in live and last_use[name] == position:
            operand = program.by_name[name]
            if operand.shape == out.shape and operand.format.stored_bits >= out.format.stored_bits:
                return name
    return None


def _lowest_gap(program: Program, tensor: Tensor, live: Mapping[str, int], base: int) -> int:
    offset = _aligned(base, _alignment(tensor))
    for name in sorted(live, key=lambda name: live[name]):
        if offset + tensor.byte_count <= live[name]:
            break
        offset = max(offset, _aligned(live[name] + program.by_name[name].byte_count, _alignment(tensor)))
    return offset
