"""The models that learn: one step, many samples in one Run, and the papers' steps in one Run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper

from ...operations import Role
from ...program import Program
from .borders import layers_as_functions, made, renamed
from .graph import INT64, Graph, Value
from .translate import NEXT, WRITTEN_OUT, Translation, translate

ROWS = "samples"
STEPS = "steps"


def step_model(
    program: Program, section: str, name: str, doc: str, *, functions: bool, written_out: int = WRITTEN_OUT
) -> onnx.ModelProto:
    """One run of a section: state in, state out."""
    done = translate(program, section, collect=_kept(program), written_out=written_out)
    local = layers_as_functions(done.graph, section, [v.name for v in done.outputs.values()]) if functions else []
    return done.model(name, doc, local)


def samples_model(program: Program, name: str, doc: str) -> onnx.ModelProto:
    """`learn` for many samples in one Run: a Scan over rows of samples and labels that carries the state."""
    each = translate(program, "learn", collect=_kept(program))
    outer = _Outer(program)
    fed = [t for t in each.inputs if program.by_name[t].role is Role.INPUT]
    carried = [t for t in each.inputs if t in each.outputs]
    collected = [t for t in each.outputs if t not in carried]
    body = outer.body("each", each, [*carried, *fed], [*carried, *collected])
    starts = [outer.input(t, each) for t in carried]
    rows = [outer.rows(t, each) for t in fed]
    for tensor in each.inputs:  # state that is only read: the body sees it from outside
        if tensor not in carried and tensor not in fed:
            outer.input(tensor, each)
    ends = [outer.output(t, each) for t in carried]
    out = [outer.output(t, each, ROWS) for t in collected]
    node = helper.make_node(
        "Scan", [*starts, *rows], [*ends, *out], name="learn_samples", body=body, num_scan_inputs=len(rows)
    )
    return outer.model([node], name, doc)


def paper_model(program: Program, name: str, doc: str) -> onnx.ModelProto:
    """`prime`, then `step` as often as the input `steps` says: the papers' K forward passes are K - 1 steps."""
    prime, step = (translate(program, section, collect=_kept(program)) for section in ("prime", "step"))
    outer = _Outer(program)
    states = [t for t in step.outputs if program.by_name[t].role is Role.STATE]
    for tensor in dict.fromkeys((*prime.inputs, *step.inputs)):
        outer.input(tensor, prime if tensor in prime.inputs else step)
    primed = outer.inlined("prime", prime)
    carried = [t for t in states if t in step.inputs]
    collected = [t for t in step.outputs if t not in states]
    number = Value("step/number", INT64, ())
    go_on = Value("step/go_on", np.dtype(bool), ())
    still = Value("step/still", np.dtype(bool), ())
    body = outer.body("step", step, carried, [*carried, *collected], [number, go_on], [still])
    body.node.insert(0, helper.make_node("Identity", [go_on.name], [still.name]))
    outer.graph_inputs.append(helper.make_tensor_value_info(STEPS, onnx.TensorProto.INT64, []))
    true = outer.graph.constant(np.array(True), bool)
    ends = [outer.output(t, step) for t in carried]
    out = [outer.output(t, step, STEPS) for t in collected]
    first = [primed.get(t, t) for t in carried]
    loop = helper.make_node("Loop", [STEPS, true.name, *first], [*ends, *out], name="steps_of_the_batch", body=body)
    return outer.model([*outer.nodes, loop], name, doc)


def _kept(program: Program) -> list[str]:
    return [tensor.name for tensor in program.of_role(Role.STATE, Role.OUTPUT)]


class _Outer:
    """The graph around bodies.  Names inside a body get the body's name in front: ONNX has no shadowing."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.graph = Graph()
        self.nodes: list[onnx.NodeProto] = []
        self.graph_inputs: list[onnx.ValueInfoProto] = []
        self.graph_outputs: list[onnx.ValueInfoProto] = []

    def input(self, tensor: str, inside: Translation) -> str:
        """A graph input named after its tensor."""
        value = inside.inputs[tensor]
        self.graph_inputs.append(Value(tensor, value.dtype, value.shape).info())
        return tensor

    def rows(self, tensor: str, inside: Translation) -> str:
        """A graph input with one row a sample."""
        value = inside.inputs[tensor]
        info = helper.make_tensor_value_info(tensor, helper.np_dtype_to_tensor_dtype(value.dtype), [ROWS, *value.shape])
        self.graph_inputs.append(info)
        return tensor

    def output(self, tensor: str, inside: Translation, rows: str | None = None) -> str:
        """A graph output; with `rows`, one row a turn."""
        value = inside.outputs[tensor]
        name = tensor + NEXT if rows is None else tensor
        dims = [*([rows] if rows else []), *value.shape]
        info = helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), dims)
        self.graph_outputs.append(info)
        return name

    def inlined(self, prefix: str, inside: Translation) -> dict[str, str]:
        """The nodes of a translation in this graph; tensor -> the name of what it leaves."""
        names = self._names(prefix, inside, ())
        self.nodes += renamed(inside.graph.nodes, names)
        return {tensor: names[value.name] for tensor, value in inside.outputs.items()}

    def body(
        self,
        prefix: str,
        inside: Translation,
        taken: Sequence[str],
        given: Sequence[str],
        before: Sequence[Value] = (),
        first: Sequence[Value] = (),
    ) -> onnx.GraphProto:
        """A translation as a body that takes and gives these tensors; it reads the others from this graph."""
        names = self._names(prefix, inside, taken)

        def info(value: Value) -> onnx.ValueInfoProto:
            return Value(names.get(value.name, value.name), value.dtype, value.shape, value.batched).info()

        return helper.make_graph(
            renamed(inside.graph.nodes, names),
            prefix,
            [info(v) for v in (*before, *(inside.inputs[t] for t in taken))],
            [info(v) for v in (*first, *(inside.outputs[t] for t in given))],
        )

    def model(self, nodes: list[onnx.NodeProto], name: str, doc: str) -> onnx.ModelProto:
        """The whole."""
        done = Translation(self.program, self.graph)
        self.graph.nodes = nodes
        model = done.model(name, doc)
        model.graph.input.extend(self.graph_inputs)
        model.graph.output.extend(self.graph_outputs)
        return model

    def _names(self, prefix: str, inside: Translation, taken: Sequence[str]) -> dict[str, str]:
        own = [*made(inside.graph.nodes), *(inside.inputs[t].name for t in taken)]
        names = {name: f"{prefix}/{name}" for name in own}
        for name, tensor in inside.graph.constants.items():
            names[name] = f"{prefix}/{name}"
            copy = onnx.TensorProto()
            copy.CopyFrom(tensor)
            copy.name = names[name]
            self.graph.constants[names[name]] = copy
        names |= {value.name: t for t, value in inside.inputs.items() if t not in taken}
        return names
