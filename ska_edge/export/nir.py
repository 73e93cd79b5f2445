"""A model as a graph of the Neuromorphic Intermediate Representation: one affine node a layer, for inference.

NIR has no sigmoid and no learning, so the graph says what is multiplied, and a file beside it (`NAME.nir.json`) says
the rest: what a layer decides and hands on, every format, the rule as operations, and whatever state inference does not
need.  The two together are the model: `read` gives back the same Program, with the same digests.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .. import codec
from ..errors import FileError, MissingError, SkaError
from ..fixed import FloatArray, Format, IntArray, dequantise
from ..loihi.circuit import Connection, Send, circuit
from ..operations import Contract, Lut, Op, Role, Scale, Select
from ..program import Program

VERSION = 1


@dataclass(frozen=True)
class Layer:
    """An affine node: weights (spread out to a matrix where they are patches), bias, and what its input is."""

    node: str
    connection: Connection
    bias: str | None
    reads: str
    minus: float | None
    rectified: bool
    source: str


def export_nir(program: Program, path: Path, force: bool = False) -> tuple[Path, Path]:
    """Write the graph and the file beside it; returns both paths.

    Raises FileError where one of them exists (unless `force`) or cannot be written, MissingError without `nir`,
    MappingError for a Program that cannot be cut into connections.
    """
    beside = path.with_name(f"{path.name}.json")
    for each in (path, beside):
        if each.exists() and not force:
            raise FileError(f"{each}: exists; give another name with --out, or --force to replace it")
    layers = _layers(program)
    graph, description = _graph(program, layers), _describe(program, layers)
    codec.write_atomically(path, graph)
    codec.write_atomically(beside, (json.dumps(description, indent=1) + "\n").encode())
    return path, beside


def read_nir(path: Path) -> Program:
    """The Program that a graph and the file beside it hold.  Raises FileError where they do not belong together."""
    library = _library()
    beside = path.with_name(f"{path.name}.json")
    try:
        description = json.loads(beside.read_text(encoding="utf-8"))
        graph = library.read(path)
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, KeyError, AssertionError) as error:
        raise FileError(f"{path}: no NIR graph with its description beside it ({error})") from None
    try:
        return _rebuilt(graph.nodes, description)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise FileError(f"{beside}: {error!r} is missing or not what it should be") from None
    except SkaError as error:
        raise FileError(f"{path}: {error}") from None


def _library() -> ModuleType:
    try:
        import nir
    except ImportError:
        raise MissingError("NIR: the library nir is not installed; pip install 'ska_edge[nir]'") from None
    return nir  # type: ignore[no-any-return]


# -- writing -----------------------------------------------------------------------------------------------------------


def _layers(program: Program) -> list[Layer]:
    """The connections of inference, in order."""
    found = circuit(program)
    if "infer" not in found.timetables:
        raise SkaError("Program: no section infer; a NIR graph describes inference")
    makers = {name: op for op in program.sections["infer"] for name in op.outputs().values()}
    layers: list[Layer] = []
    for event in found.timetables["infer"].events:
        if not isinstance(event, Send):
            continue
        connection = found.connections[event.connection]
        if connection.matrix not in program.values:
            raise SkaError(
                f"layer {connection.layer}: {connection.matrix} adds up heads' votes; NIR has no node for it"
            )
        op = next(
            op for op in program.sections["infer"] if isinstance(op, Contract) and connection.matrix in (op.a, op.b)
        )
        source = next((layer.node for layer in layers if layer.connection.target == connection.source), "input")
        minus, rectified = (0.0, False) if source == "input" else _handed_on(program, makers, event.values)
        layers.append(Layer(connection.name, connection, op.c, event.values, minus, rectified, source))
    return layers


def _handed_on(program: Program, makers: Mapping[str, Op], name: str) -> tuple[float | None, bool]:
    """What is subtracted from sigmoid(Wx + b) before it is handed on, and whether only what is above zero is.

    None where it is not that simple, as in layers that compete.
    """
    maker, minus, rectified = makers[name], 0.0, False
    if isinstance(maker, Scale) and maker.b is None and maker.c is not None and abs(maker.gain) == 1:
        constants = [each for each in (maker.a, maker.c) if program.by_name[each].role is Role.CONST]
        subtracted = [each for each in constants if not program.by_name[each].shape]
        if len(subtracted) != 1:
            return None, False
        raw, fmt = program.values[subtracted[0]], program.by_name[subtracted[0]].format
        minus = float(dequantise(raw, fmt)) * (1 if subtracted[0] == maker.a and maker.gain == -1 else -1)
        maker = makers[maker.c if subtracted[0] == maker.a else maker.a]
        if isinstance(maker, Select) and (maker.p, maker.relation, maker.q) == (maker.b, "lt", maker.a):
            rectified = maker.a == subtracted[0]
            maker = makers[maker.b]
    plain = isinstance(maker, Lut) and isinstance(makers.get(maker.x), Contract)
    return (minus, rectified) if plain else (None, False)


def _matrix(program: Program, layer: Layer) -> FloatArray:
    """Weights as [neurons, inputs], zeros where there is no synapse."""
    index = layer.connection.index
    raw = program.values[layer.connection.matrix].reshape(layer.connection.targets, -1)
    if index is not None:
        if any(len(set(row)) < len(row) for row in index.tolist()):
            raise SkaError(f"layer {layer.connection.layer}: two synapses from one input to one neuron; NIR has one")
        spread = np.zeros((layer.connection.targets, layer.connection.sources), np.int64)
        np.put_along_axis(spread, index, raw, axis=1)
        raw = spread
    return dequantise(raw, program.by_name[layer.connection.matrix].format)


def _graph(program: Program, layers: list[Layer]) -> bytes:
    """The graph as HDF5.  Raw integers times powers of two: 32-bit floats hold them exactly."""
    library = _library()
    nodes: dict[str, Any] = {"input": library.Input(input_type={"input": np.array([layers[0].connection.sources])})}
    edges = []
    for layer in layers:
        weight = _matrix(program, layer).astype(np.float32)
        bias = np.zeros(len(weight), np.float32)
        if layer.bias is not None:
            fmt = program.by_name[layer.bias].format
            bias = dequantise(program.values[layer.bias], fmt).astype(np.float32).reshape(-1)
        nodes[layer.node] = library.Affine(weight=weight, bias=bias)
        edges.append((layer.source, layer.node))
    nodes["output"] = library.Output(output_type={"output": np.array([layers[-1].connection.targets])})
    edges.append((layers[-1].node, "output"))
    buffer = io.BytesIO()
    library.write(buffer, library.NIRGraph(nodes=nodes, edges=edges))
    return buffer.getvalue()


def _describe(program: Program, layers: list[Layer]) -> dict[str, Any]:
    """What the graph cannot say."""
    inside = {name for layer in layers for name in (layer.connection.matrix, layer.bias) if name}
    kept = [t.name for t in program.of_role(Role.CONST, Role.STATE) if t.name not in inside]
    return {
        "format": "ska_edge beside NIR",
        "version": VERSION,
        "program_digest": program.program_digest,
        "state_digest": program.state_digest,
        "layers": [_layer(program, layer) for layer in layers],
        "meta": dict(program.meta),
        "program": program.structure(),
        "values": {name: program.values[name].tolist() for name in kept},
    }


def _layer(program: Program, layer: Layer) -> dict[str, Any]:
    index = layer.connection.index
    return {
        "node": layer.node,
        "layer": layer.connection.layer,
        "weights": {"tensor": layer.connection.matrix, **_format(program, layer.connection.matrix)},
        "bias": layer.bias and {"tensor": layer.bias, **_format(program, layer.bias)},
        "input": {
            "from": layer.source,
            "function": None if layer.source == "input" or layer.minus is None else "sigmoid",
            "minus": layer.minus,
            "rectified": layer.rectified,
            **_format(program, layer.reads),
        },
        "index": None if index is None else index.tolist(),
    }


def _format(program: Program, tensor: str) -> dict[str, Any]:
    fmt = program.by_name[tensor].format
    return {"bits": fmt.bits, "exponent": fmt.exponent, "signed": fmt.signed}


# -- reading -----------------------------------------------------------------------------------------------------------


def _rebuilt(nodes: Mapping[str, Any], description: Any) -> Program:
    if (description["format"], description["version"]) != ("ska_edge beside NIR", VERSION):
        raise FileError(f"not written by this ska_edge: {str(description['format'])[:60]!r}")
    tensors, sections, encoding = codec.read_structure(description["program"])
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    values = {name: np.array(raw, np.int64).reshape(shapes[name]) for name, raw in description["values"].items()}
    for layer in description["layers"]:
        node = nodes[layer["node"]]
        weight = np.asarray(node.weight)
        if layer["index"] is not None:
            weight = np.take_along_axis(weight, np.array(layer["index"], np.int64), axis=1)
        for real, described in ((weight, layer["weights"]), (np.asarray(node.bias), layer["bias"])):
            if described:
                values[described["tensor"]] = _raw(real, described).reshape(shapes[described["tensor"]])
    program = Program(tensors, sections, values, encoding, description["meta"])
    for name in ("program_digest", "state_digest"):
        if getattr(program, name) != description[name]:
            raise FileError(f"{name} differs: the graph and its description do not belong together")
    return program


def _raw(real: FloatArray, described: Mapping[str, Any]) -> IntArray:
    """The raw integers behind exact floats.  Raises FileError where there are none."""
    fmt = Format(described["bits"], described["exponent"], described["signed"])
    raw = np.asarray(real, np.float64) / fmt.lsb
    if not (np.isfinite(raw).all() and (raw == np.floor(raw)).all()):
        raise FileError(f"{described['tensor']}: values that are no multiples of {fmt.lsb:g}")
    return raw.astype(np.int64)
