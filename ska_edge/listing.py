"""A Program in words: tensors, operations with their proved margins, memory by part."""

from __future__ import annotations

from typing import Any

from .operations import Op, op_to_json, tensor_to_json
from .plan import learning_bytes, memory
from .program import Program
from .proof import Bound, prove

TABLE_WIDTH = 132


def listing(program: Program) -> dict[str, Any]:
    """Everything `show` knows, as JSON-ready data."""
    return {
        "program_digest": program.program_digest,
        "state_digest": program.state_digest,
        "meta": dict(program.meta),
        "tensors": [{**tensor_to_json(tensor), "bytes": tensor.byte_count} for tensor in program.tensors],
        "sections": {name: [op_to_json(op) for op in ops] for name, ops in program.sections.items()},
        "proof": [_bound_to_json(bound) for bound in prove(program)],
        "memory": memory(program),
        "learning_bytes": learning_bytes(program),
    }


def _bound_to_json(bound: Bound) -> dict[str, Any]:
    return {
        "section": bound.section,
        "position": bound.position,
        "op": bound.op.verb,
        "tensor": bound.tensor,
        "lo": bound.lo,
        "hi": bound.hi,
        "need_bits": bound.need_bits,
        "acc_bits": bound.acc_bits,
        "margin_bits": bound.margin_bits,
        "saturates": bound.saturates,
    }


def print_listing(name: str, program: Program) -> None:
    """Print the Program as tables."""
    from rich.console import Console

    console = Console()
    console = Console(width=max(console.width, TABLE_WIDTH))
    console.print(f"[bold]{name}[/]  program {program.program_digest[:16]}  state {program.state_digest[:16]}")
    if program.meta:
        console.print("  ".join(f"{key} {value}" for key, value in program.meta.items()), markup=False)
    console.print(_tensor_table(program))
    bounds = prove(program)
    for section in program.sections:
        console.print(_op_table(section, [bound for bound in bounds if bound.section == section]))
    console.print(_memory_table(program))
    console.print("Every accumulator fits, for every sample and every state: the range proof holds.")


def _tensor_table(program: Program) -> Any:
    from rich.table import Table

    table = Table("tensor", "shape", "format", "role", "kind", "layer", "bytes", title="Tensors")
    for tensor in program.tensors:
        shape = "x".join(map(str, tensor.shape)) or "1"
        layer = "" if tensor.layer is None else str(tensor.layer)
        words = (tensor.name, shape, str(tensor.format), tensor.role.value, tensor.kind.value, layer)
        table.add_row(*words, str(tensor.byte_count))
    return table


def _op_table(section: str, bounds: list[Bound]) -> Any:
    from rich.table import Table

    columns = ("", "layer", "operation", "reads", "writes", "range before saturation", "bits", "of", "margin")
    table = Table(*columns, title=f"Section {section}")
    for bound in bounds:
        op: Op = bound.op
        layer = "" if op.layer is None else str(op.layer)
        reads, writes = ", ".join(op.inputs().values()), ", ".join(op.outputs().values())
        span = f"{bound.lo} .. {bound.hi}{' (saturates)' if bound.saturates else ''}"
        bits = (str(bound.need_bits), str(bound.acc_bits), str(bound.margin_bits))
        table.add_row(str(bound.position), layer, op.verb, reads, writes, span, *bits)
    return table


def _memory_table(program: Program) -> Any:
    from rich.table import Table

    table = Table("part", "bytes", title="Memory")
    parts = memory(program)
    for part, count in parts.items():
        table.add_row(part.replace("_", " "), f"{count:,}")
    table.add_section()
    ram = sum(count for part, count in parts.items() if part != "constants")
    table.add_row("RAM, all of it", f"{ram:,}")
    table.add_row("of it learning beyond weights, buffers, entropies", f"{learning_bytes(program):,}")
    return table
