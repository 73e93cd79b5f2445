"""An ONNX classifier with sigmoid layers, trained anywhere, as a Program that goes on learning.

What lies between two sigmoids must be affine: dense layers, convolutions, averages, reshapes.  Its matrix is measured,
column by column, so every way of writing it is understood.  A convolution becomes a dense layer whose weights start
equal and then learn for themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from ...data import Dataset
from ...errors import FileError
from ...fixed import FloatArray, dequantise, quantise
from ...lowering import lower
from ...network import Network
from ...program import Encoding, Program
from ...rules import Guided
from .foreign import Foreign, features_of, read_foreign

AFFINE = frozenset(
    [
        "Add",
        "AveragePool",
        "BatchNormalization",
        "Cast",
        "Constant",
        "Conv",
        "Div",
        "Dropout",
        "Flatten",
        "Gemm",
        "GlobalAveragePool",
        "Identity",
        "MatMul",
        "Mul",
        "Pad",
        "Reshape",
        "Shape",
        "Squeeze",
        "Sub",
        "Transpose",
        "Unsqueeze",
    ]
)
LAST = frozenset(["Softmax", "LogSoftmax", "Sigmoid", "ArgMax", "Identity"])
MAX_WEIGHTS = 1 << 22
TOLERANCE = 1e-3


@dataclass(frozen=True)
class GivenRule(Guided):
    """The guided rule whose class layer starts from given weights, and reads decisions with their sign."""

    class_weights: FloatArray = field(default_factory=lambda: np.zeros((0, 0)), compare=False)
    rectified: bool = False

    def start_heads(self, network: Network) -> list[FloatArray]:
        """Fresh heads, and the given class layer."""
        return [*super().start_heads(network)[:-1], self.class_weights]


@dataclass(frozen=True)
class GivenNetwork(Network):
    """A network that starts from given weights, one [outputs, inputs] matrix a layer, in units of its own inputs."""

    weights: tuple[FloatArray, ...] = field(default=(), compare=False)

    def start_weights(self) -> list[FloatArray]:
        """The given ones."""
        return list(self.weights)


@dataclass(frozen=True)
class Imported:
    """A Program and how well it stands for its model: the share of rows on which both choose the same class.

    `accuracy` and `float_accuracy` are None without labels; `clipped` is the share of weights beyond their format.
    """

    program: Program
    shape: tuple[int, ...]
    agreement: float
    accuracy: float | None
    float_accuracy: float | None
    clipped: float


def import_model(path: str | Path, data: Dataset, profile: str = "w8d8") -> Imported:
    """Lower an ONNX classifier; `data` gives the features' range, centres, and what calibrates and compares.

    Raises FileError, naming the node, for what cannot be honoured; DataError for data that does not fit.
    """
    foreign = read_foreign(path)
    rows = features_of(foreign, data.samples)
    layers, choose = _layers(foreign)
    encoding = data.encoding()
    weights, biases = _in_units(layers, encoding, foreign.features)
    shape = (foreign.features, *(len(matrix) for matrix in weights))
    network = GivenNetwork(shape, GivenRule(class_weights=weights[-1]), weights=tuple(weights))
    meta = {"imported": Path(path).name, "dataset": data.name}
    fresh = lower(network, profile, rows, data.labels, encoding, meta)
    program, clipped = _with_weights(fresh, weights, biases)

    from ...learner import Learner

    chosen = Learner(program).predict_many(rows)
    wanted = foreign.values([choose], rows)[0].reshape(len(rows), -1).argmax(axis=1)
    right = (
        None if data.labels is None else (float((chosen == data.labels).mean()), float((wanted == data.labels).mean()))
    )
    return Imported(program, shape, float((chosen == wanted).mean()), right and right[0], right and right[1], clipped)


def _layers(foreign: Foreign) -> tuple[list[tuple[FloatArray, FloatArray]], str]:
    """(matrix, bias) of everything between sigmoids, and the name of the values that choose the class."""
    graph = foreign.model.graph
    nodes, end = list(graph.node), graph.output[0].name
    choose = end
    while nodes and nodes[-1].output[0] == choose and nodes[-1].op_type in LAST:
        choose = nodes.pop().input[0]
    hidden = [node for node in nodes if node.op_type == "Sigmoid"]
    for node in nodes:
        if node.op_type not in AFFINE | {"Sigmoid"}:
            allowed = ", ".join(sorted(AFFINE | LAST))
            raise FileError(f"{foreign.describe(node)}: not supported; between sigmoids allowed are {allowed}")
    if not hidden:
        raise FileError(f"{foreign.path}: no hidden Sigmoid layer; wanted are sigmoid layers and a class layer")
    starts = [foreign.input, *(node.output[0] for node in hidden)]
    ends = [*(node.input[0] for node in hidden), choose]
    return [_affine(foreign, start, end) for start, end in zip(starts, ends, strict=True)], choose


def _affine(foreign: Foreign, start: str, end: str) -> tuple[FloatArray, FloatArray]:
    """The matrix and bias from one value to another, by feeding unit vectors; checked on random ones."""
    shape = foreign.shape
    if start != foreign.input:
        shape = foreign.values([start], np.zeros((1, foreign.features)))[0].shape[1:]
    model = onnx.ModelProto()
    model.CopyFrom(foreign.model)
    if start != foreign.input:
        kept = [node for node in model.graph.node if start not in node.output]
        del model.graph.node[:]
        model.graph.node.extend(_needed(kept, end))
        del model.graph.input[:]
        dims = [foreign.batch or "batch", *shape]
        model.graph.input.append(onnx.helper.make_tensor_value_info(start, onnx.TensorProto.FLOAT, dims))
    else:
        kept = _needed(list(model.graph.node), end)
        del model.graph.node[:]
        model.graph.node.extend(kept)
    piece = Foreign(foreign.path, model, start, tuple(shape), foreign.batch)
    width = piece.features
    run = piece.session([end])
    zero = run(np.zeros((1, width)))[0].reshape(-1)
    if zero.size * width > MAX_WEIGHTS:
        raise FileError(
            f"{foreign.path}: {start} to {end} has {zero.size} x {width} weights; allowed are {MAX_WEIGHTS}"
        )
    matrix = run(np.eye(width))[0].reshape(width, -1) - zero
    trial = np.random.default_rng(0).standard_normal((4, width))
    error = np.abs(run(trial)[0].reshape(4, -1) - (trial @ matrix + zero)).max()
    if not error <= TOLERANCE * (1.0 + np.abs(matrix).sum(axis=0).max()):
        raise FileError(
            f"{foreign.path}: {start} to {end} is not affine (off by {error:.3g}); its layers cannot be honoured"
        )
    return matrix.T, zero


def _needed(nodes: list[onnx.NodeProto], end: str) -> list[onnx.NodeProto]:
    """The nodes that a value depends on."""
    wanted, kept = {end}, []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1]


def _in_units(
    layers: list[tuple[FloatArray, FloatArray]], encoding: Encoding, features: int
) -> tuple[list[FloatArray], list[FloatArray]]:
    """The same functions of what a Program's layers read: u - centre instead of x, D - 1/2 instead of D."""
    span = encoding.high - encoding.low
    centre = np.broadcast_to(np.asarray(encoding.centre), (features,))
    weights, biases = [], []
    for number, (matrix, bias) in enumerate(layers):
        if number == 0:
            weights.append(matrix * span)
            biases.append(bias + matrix @ (encoding.low + span * centre))
        else:
            weights.append(matrix)
            biases.append(bias + 0.5 * matrix.sum(axis=1))
    return weights, biases


def _with_weights(program: Program, weights: list[FloatArray], biases: list[FloatArray]) -> tuple[Program, float]:
    """The Program with these weights and biases for its state, and the share that its formats clip."""
    state = program.initial_state()
    last = len(weights) - 1
    clipped = total = 0
    for number, (matrix, bias) in enumerate(zip(weights, biases, strict=True), start=1):
        names = (f"W{number}", f"b{number}") if number <= last else (f"head_W{last}", f"head_b{last}")
        for name, values in zip(names, (matrix, bias), strict=True):
            fmt = program.by_name[name].format
            state[name] = quantise(values, fmt)
            clipped += int((np.abs(dequantise(state[name], fmt) - values) > fmt.lsb).sum())
            total += values.size
    return program.with_state(state), clipped / total


__all__ = ["Imported", "import_model"]
