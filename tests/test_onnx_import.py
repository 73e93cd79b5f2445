"""Models that others made: imported and going on learning, probed, or refused with the node's name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from ska_edge import Learner, codec
from ska_edge.backends.onnx.importing import import_model
from ska_edge.backends.onnx.probe import probe
from ska_edge.cli import main
from ska_edge.data import Dataset, load_dataset, split
from ska_edge.errors import DataError, FileError


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="module")
def trained(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64-32-10 by scikit-learn on raw pixels, 0 to 16, from the first 900 rows."""
    from sklearn.neural_network import MLPClassifier

    labels = digits.labels
    assert labels is not None
    learner = MLPClassifier((32,), activation="logistic", max_iter=400, random_state=0, tol=1e-3)
    learner.fit(digits.samples[:900] / 16, labels[:900])
    (w1, w2), (b1, b2) = learner.coefs_, learner.intercepts_
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["z1"], name="first"),
        helper.make_node("Sigmoid", ["z1"], ["d1"], name="hidden"),
        helper.make_node("MatMul", ["d1", "w2"], ["m2"]),
        helper.make_node("Add", ["m2", "b2"], ["z2"]),
        helper.make_node("Softmax", ["z2"], ["p"]),
    ]
    path = tmp_path_factory.mktemp("foreign") / "mlp.onnx"
    return saved(path, nodes, {"w1": w1 / 16, "b1": b1, "w2": w2, "b2": b2}, [64])


def saved(
    path: Path, nodes: Sequence[onnx.NodeProto], weights: dict[str, Any], shape: list[int], opset: int = 17
) -> Path:
    initializers = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])
    p = helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 10])
    graph = helper.make_graph(list(nodes), "foreign", [x], [p], initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def dense(hidden: str = "Sigmoid", **weights: Any) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    chance = np.random.default_rng(0)
    nodes = [
        helper.make_node("Gemm", ["x", "w1"], ["z1"]),
        helper.make_node(hidden, ["z1"], ["d1"], name="hidden"),
        helper.make_node("Gemm", ["d1", "w2"], ["p"]),
    ]
    return nodes, {"w1": chance.normal(size=(64, 8)) / 50, "w2": chance.normal(size=(8, 10)), **weights}


def test_goes_on_learning(trained: Path, digits: Dataset) -> None:
    """It decides as before; what it learns from rows it had not seen makes it better on others."""
    done = import_model(trained, digits)
    assert done.shape == (64, 32, 10)
    assert done.agreement > 0.99 and done.clipped < 0.01
    assert done.accuracy is not None and done.float_accuracy is not None
    assert abs(done.accuracy - done.float_accuracy) < 0.005
    labels = digits.labels
    assert labels is not None
    parts = split(digits, 0)
    fresh = parts.learn[parts.learn >= 900]
    tested = parts.test[parts.test >= 900]
    learner = Learner(done.program)
    before = learner.accuracy(digits.samples[tested], labels[tested])
    learner.learn_many(digits.samples[fresh], labels[fresh], passes=5)
    assert learner.accuracy(digits.samples[tested], labels[tested]) > before + 0.01
    assert learner.weights_changed() > 0.2


def test_a_convolution_becomes_what_it_computes(digits: Dataset, tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "k", "kb"], ["z1"]),
        helper.make_node("Sigmoid", ["z1"], ["d1"]),
        helper.make_node("AveragePool", ["d1"], ["a"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["a"], ["f"]),
        helper.make_node("Gemm", ["f", "w2"], ["p"]),
    ]
    weights = {"k": chance.normal(size=(4, 1, 3, 3)) / 16, "kb": np.zeros(4), "w2": chance.normal(size=(36, 10))}
    path = saved(tmp_path / "conv.onnx", nodes, weights, [1, 8, 8])
    done = import_model(path, digits, "w16d15")
    assert done.shape == (64, 144, 10)
    assert done.agreement > 0.98


def test_commands(trained: Path, tmp_path: Path) -> None:
    target = tmp_path / "mlp.ska"
    done = CliRunner().invoke(main, ["import", str(trained), "--dataset", "digits", "--out", str(target), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["program_digest"] == codec.load(target).program_digest
    picture = tmp_path / "signal.svg"
    command = ["probe", str(trained), "--dataset", "digits", "--samples", "40", "--picture", str(picture), "--json"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    (layer,) = json.loads(done.output)["layers"]
    assert layer["name"] == "hidden" and layer["neurons"] == 32 and len(layer["steps"]["entropy"]) == 39
    assert b"hidden" in picture.read_bytes() or picture.stat().st_size > 10_000


def test_signals_are_the_papers(trained: Path, digits: Dataset) -> None:
    """Against the formulas, computed here from the weights."""
    rows = digits.samples[:30]
    (layer,) = probe(trained, rows)
    model = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(trained).graph.initializer}
    z = rows @ model["w1"].astype(np.float64) + model["b1"]
    change = np.diff(1.0 / (1.0 + np.exp(-z)), axis=0)
    entropy = -(z[1:] * change).sum(axis=1) / np.log(2.0)
    np.testing.assert_allclose(layer.entropy, entropy, atol=1e-3)
    cosine = (z[1:] * change).sum(axis=1) / np.linalg.norm(z[1:], axis=1) / np.linalg.norm(change, axis=1)
    np.testing.assert_allclose(layer.cosine, cosine, atol=1e-4)
    np.testing.assert_allclose(layer.knowledge_norm, np.linalg.norm(z[1:], axis=1), rtol=1e-4)


def test_an_unsupported_operator_is_named(digits: Dataset, tmp_path: Path) -> None:
    nodes, weights = dense()
    relu = [nodes[0], nodes[1], helper.make_node("Relu", ["d1"], ["r1"], name="extra"), nodes[2]]
    relu[3] = helper.make_node("Gemm", ["r1", "w2"], ["p"])
    path = saved(tmp_path / "relu.onnx", relu, weights, [64])
    with pytest.raises(FileError, match=r"node 'extra' \(Relu\): not supported"):
        import_model(path, digits)


def test_refusals(digits: Dataset, tmp_path: Path) -> None:
    nodes, weights = dense()
    path = saved(tmp_path / "old.onnx", nodes, weights, [64], opset=6)
    with pytest.raises(FileError, match="opset 6; allowed are 7"):
        import_model(path, digits)
    broken = saved(tmp_path / "nan.onnx", nodes, {**weights, "w2": np.full((8, 10), np.nan)}, [64])
    with pytest.raises(FileError, match="'w2' hold NaN"):
        import_model(broken, digits)
    relu, weights = dense("Relu")
    with pytest.raises(FileError, match="Relu"):
        import_model(saved(tmp_path / "relu.onnx", relu, weights, [64]), digits)
    with pytest.raises(FileError, match="no Sigmoid in it, only Gemm, Relu"):
        list(probe(tmp_path / "relu.onnx", digits.samples))
    nodes, weights = dense(w1=np.zeros((63, 8)))
    with pytest.raises(DataError, match=r"64 features; .* takes 63"):
        import_model(saved(tmp_path / "narrow.onnx", nodes, weights, [63]), digits)
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(FileError, match="no ONNX model"):
        import_model(tmp_path / "text.onnx", digits)


def test_external_data_that_is_missing(digits: Dataset, tmp_path: Path) -> None:
    nodes, weights = dense()
    path = saved(tmp_path / "whole.onnx", nodes, weights, [64])
    apart = tmp_path / "apart.onnx"
    onnx.save(onnx.load(path), apart, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert import_model(apart, digits).agreement > 0.9
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(FileError, match=r"weights\.bin"):
        import_model(apart, digits)
