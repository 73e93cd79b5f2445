"""Programs as ONNX models: operation by operation, nothing but standard operators (opset 21, IR 10).

A section becomes a graph whose inputs are what it reads before writing and whose outputs are what it leaves behind.
A tensor that is both, as every learnt one, comes out under another name: `W1` goes in, `W1.next` comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import helper

from ...errors import ProgramError
from ...operations import (
    Advance,
    Arg,
    Contract,
    Flow,
    Gather,
    Lattice,
    Lut,
    Op,
    OuterUpdate,
    Pool,
    Role,
    Scale,
    Select,
    Update,
)
from ...program import Program
from ...proof import Bound, prove
from . import choices, sums, tables, updates
from . import quantised as quantised_form
from .graph import IR_VERSION, OPSET, Graph, Value, stored_dtype
from .quantised import QuantisedScope
from .scope import Scope

NEXT = ".next"
WRITTEN_OUT = 8  # flows of up to so many steps; a Loop costs a few microseconds a turn, a node less than one

_RULES: dict[type[Op], Callable[[Scope, Any, Bound], None]] = {
    Contract: sums.contract,
    Scale: sums.scale,
    Lut: tables.lut,
    Flow: tables.flow,
    OuterUpdate: updates.outer_update,
    Update: updates.update,
    Lattice: updates.lattice,
    Gather: choices.gather,
    Pool: choices.pool,
    Select: choices.select,
    Arg: choices.arg,
    Advance: updates.advance,
}
_QUANTISED: dict[type[Op], Callable[[Scope, Any, Bound], None]] = {
    **_RULES,
    Contract: quantised_form.contract,
    Scale: quantised_form.scale,
    Lut: quantised_form.lut,
    Select: quantised_form.select,
}


@dataclass
class Translation:
    """A section as a graph.  `inputs`, `outputs`: tensor of the Program -> value at the graph's border."""

    program: Program
    graph: Graph
    inputs: dict[str, Value] = field(default_factory=dict)
    outputs: dict[str, Value] = field(default_factory=dict)

    def model(self, name: str, doc: str = "", functions: Sequence[onnx.FunctionProto] = ()) -> onnx.ModelProto:
        """The model, not yet checked."""
        graph = helper.make_graph(
            self.graph.nodes,
            name,
            [value.info() for value in self.inputs.values()],
            [value.info() for value in self.outputs.values()],
            list(self.graph.constants.values()),
            doc_string=doc,
        )
        domains = {node.domain for node in self.graph.nodes} - {""}
        imports = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(domain, 1) for domain in sorted(domains))]
        return helper.make_model(
            graph, opset_imports=imports, ir_version=IR_VERSION, functions=functions, producer_name="ska_edge"
        )


def translate(
    program: Program,
    section: str,
    first: int = 0,
    last: int | None = None,
    *,
    collect: Sequence[str] | None = None,
    baked: bool = False,
    batched: bool = False,
    written_out: int = WRITTEN_OUT,
    quantised: bool = False,
) -> Translation:
    """Operations first to last - 1 of a section.

    `collect`: the tensors to give out; without, every one that is written.  `baked`: state becomes constants.
    `batched`: the section's inputs get a batch axis in front; only where no state is written.  `quantised`: in the form
    that runtimes fuse; the same bits.
    """
    graph = Graph()
    scope = (QuantisedScope if quantised else Scope)(program, graph, written_out)
    done = Translation(program, graph)
    span = range(*slice(first, last).indices(len(program.sections[section])))
    reads, writes = borders(program, section, span)
    if batched and any(program.by_name[name].role is Role.STATE for name in writes):
        raise ProgramError(f"section {section}: writes state, so its samples come one after the other, not as a batch")
    for tensor in program.tensors:
        if tensor.name not in reads:
            continue
        dtype = stored_dtype(tensor.format)
        if tensor.role is Role.CONST or (baked and tensor.role is Role.STATE):
            scope.values[tensor.name] = graph.constant(program.values[tensor.name], dtype, tensor.name)
        else:
            name = graph.unique(tensor.name)
            value = Value(name, dtype, tensor.shape, batched and tensor.role is Role.INPUT)
            done.inputs[tensor.name] = scope.values[tensor.name] = value
    wanted = [name for name in writes if collect is None or name in collect]
    names = {name: graph.unique(name + NEXT if name in done.inputs else name) for name in wanted}
    bounds = {bound.position: bound for bound in prove(program) if bound.section == section}
    emit(scope, section, span, bounds)
    graph.group, graph.scope, graph.remark = "", "out", ""
    for name in wanted:
        value = scope.values[name]
        border = stored_dtype(program.by_name[name].format)
        done.outputs[name] = graph.cast(value, border, names[name])
    graph.prune(value.name for value in done.outputs.values())
    return done


def emit(scope: Scope, section: str, span: range, bounds: dict[int, Bound]) -> None:
    """Every operation of the span, in order, into the scope's graph."""
    graph = scope.graph
    for position in span:
        op = scope.program.sections[section][position]
        graph.group = f"layer_{op.layer}" if op.layer is not None else ""
        graph.scope = f"{section}_{position}_{op.verb}"
        graph.remark = f"{section}[{position}] {op.verb} -> {', '.join(op.outputs().values())}"
        rules = _QUANTISED if isinstance(scope, QuantisedScope) else _RULES
        rules[type(op)](scope, op, bounds[position])


def borders(program: Program, section: str, span: range) -> tuple[set[str], list[str]]:
    """What the operations of a span read before they write it, and what they write, in order of declaration."""
    reads: set[str] = set()
    writes: set[str] = set()
    for position in span:
        op = program.sections[section][position]
        reads |= set(op.inputs().values()) - writes
        writes |= set(op.outputs().values())
    return reads, [tensor.name for tensor in program.tensors if tensor.name in writes]
