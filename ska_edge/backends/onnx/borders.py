"""Between a graph and a model: layers as functions, sections as loop bodies, names made to fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

import onnx
from onnx import AttributeProto, helper

from .graph import OPSET, Graph, names_read

DOMAIN = "ska_edge"


def renamed(nodes: Sequence[onnx.NodeProto], names: Mapping[str, str]) -> list[onnx.NodeProto]:
    """Copies of nodes with other names, bodies included."""
    copies = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [names.get(name, name) for name in node.input]
        copy.output[:] = [names.get(name, name) for name in node.output]
        for attribute in copy.attribute:
            if attribute.type == AttributeProto.GRAPH:
                body = attribute.g
                inner = renamed(body.node, names)
                del body.node[:]
                body.node.extend(inner)
                for value in (*body.input, *body.output):
                    value.name = names.get(value.name, value.name)
        copies.append(copy)
    return copies


def made(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    """Every name that nodes make, bodies included."""
    for node in nodes:
        yield from node.output
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from (value.name for value in attribute.g.input)
                yield from made(attribute.g.node)


def layers_as_functions(graph: Graph, section: str, wanted: Iterable[str]) -> list[onnx.FunctionProto]:
    """Replace every run of nodes of one layer by a call of a local function; `wanted` are the graph's outputs.

    Constants move into the function, so that its signature is what passes between layers, and state.
    """
    runs = [
        (key, [node for _, node in group])
        for key, group in groupby(zip(graph.groups, graph.nodes, strict=True), lambda pair: pair[0])
    ]
    functions, nodes, groups = [], [], []
    names: dict[str, int] = {}
    for number, (group, inside) in enumerate(runs):
        if not group:
            nodes += inside
            groups += [group] * len(inside)
            continue
        own = set(made(inside))
        read = list(dict.fromkeys(name for name in names_read(inside) if name not in own))
        later = {name for _, after in runs[number + 1 :] for name in names_read(after)} | set(wanted)
        constants = [name for name in read if name in graph.constants]
        inputs = [name for name in read if name not in graph.constants]
        outputs = [name for node in inside for name in node.output if name in later]
        names[group] = names.get(group, 0) + 1
        title = f"{section}_{group}" + (f"_{names[group]}" if names[group] > 1 else "")
        values = [helper.make_node("Constant", [], [name], value=graph.constants[name]) for name in constants]
        function = helper.make_function(
            DOMAIN, title, inputs, outputs, [*values, *inside], [helper.make_opsetid("", OPSET)]
        )
        function.doc_string = f"Section {section}, {group.replace('_', ' ')}: {len(inside)} nodes"
        functions.append(function)
        nodes.append(helper.make_node(title, inputs, outputs, name=title, domain=DOMAIN))
        groups.append("")
    graph.nodes, graph.groups = nodes, groups
    used = set(names_read(nodes))
    graph.constants = {name: tensor for name, tensor in graph.constants.items() if name in used}
    return functions
