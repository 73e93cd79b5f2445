"""NIR graphs: read back equal, decide like the Program, refuse what does not belong together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from firmware_tools import needed
from test_cli import call_json, refused
from test_loihi_map import patches

from ska_edge import Learner, Network, codec, lower, rule_named
from ska_edge.data import load_dataset
from ska_edge.errors import FileError, MappingError, MissingError, SkaError
from ska_edge.export import nir as export
from ska_edge.export.nir import export_nir, read_nir
from ska_edge.layers import Layer
from ska_edge.network import parse_shape
from ska_edge.program import Program
from ska_edge.rules import PublishedBatch

needed(export._library)
import nir  # noqa: E402


def learnt(
    shape: tuple[int | Layer, ...] = (64, 16, 10), profile: str = "w8d8", rule: str = "guided", **more: Any
) -> Program:
    data = load_dataset("digits")
    network = Network(shape, rule_named(rule, **more))
    encoding = data.encoding(centred=network.rule.centred_inputs)
    program = lower(network, profile, data.samples[:300], data.labels[:300], encoding)
    learner = Learner(program)
    learner.learn_many(data.samples[:800], data.labels[:800], passes=3)
    return learner.snapshot({"rule": rule})


PROGRAMS: dict[str, Callable[[], Program]] = {
    "digits": learnt,
    "deep": lambda: learnt((64, 24, 16, 10), heads="code"),
    "w16d15": lambda: learnt(profile="w16d15"),
    "w4d8": lambda: learnt(profile="w4d8"),
    "published": lambda: learnt((64, 12, 10), rule="published", forward_steps=4),
    "fields": lambda: learnt(parse_shape("64-4x6f5-8-10")),
    "signed": lambda: learnt((64, 12, 10), rectified=False),
    "competing": lambda: learnt(parse_shape("64-4x6k5-10"), rule="competitive"),
    "patches": patches,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_read_back_equal(name: str, tmp_path: Path) -> None:
    program = PROGRAMS[name]()
    path, beside = export_nir(program, tmp_path / "model.nir")
    assert beside == tmp_path / "model.nir.json"
    again = read_nir(path)
    assert (again.program_digest, again.state_digest) == (program.program_digest, program.state_digest)
    assert codec.encode(again) == codec.encode(program)


def decide(path: Path, samples: Any, program: Program) -> Any:
    """Choices in floating point, from the graph and its description alone."""
    graph = nir.read(path)
    layers = json.loads(path.with_name(f"{path.name}.json").read_text())["layers"]
    values = {"input": program.encoding.unit(samples)}
    for layer in layers:
        source = layer["input"]
        x = values[source["from"]]
        if source["function"] == "sigmoid":
            x = 1 / (1 + np.exp(-x)) - source["minus"]
            x = np.maximum(x, 0) if source["rectified"] else x
        node = graph.nodes[layer["node"]]
        values[layer["node"]] = x @ node.weight.T + node.bias
    return values[layers[-1]["node"]].argmax(axis=1)


@pytest.mark.parametrize("name", ["digits", "deep", "w16d15", "w4d8", "fields", "signed"])
def test_the_graph_decides_like_the_program(name: str, tmp_path: Path) -> None:
    """In floats, but for samples whose largest decisions tie in the few bits of the model: there the first wins."""
    program = PROGRAMS[name]()
    path, _ = export_nir(program, tmp_path / "model.nir")
    data, learner = load_dataset("digits"), Learner(program)
    theirs, ours = decide(path, data.samples, program), learner.predict_many(data.samples)
    decisions = np.sort(learner.decide_many(data.samples), axis=1)
    clear = decisions[:, -1] > decisions[:, -2]
    assert clear.mean() > 0.9
    assert (theirs == ours)[clear].mean() > 0.999
    assert len(set(ours)) > 5


def test_what_is_in_the_graph(tmp_path: Path) -> None:
    program = learnt((64, 12, 8, 10))
    path, beside = export_nir(program, tmp_path / "model.nir")
    graph = nir.read(path)
    assert [type(node).__name__ for node in graph.nodes.values()].count("Affine") == 3
    assert set(graph.edges) == {("input", "W1"), ("W1", "W2"), ("W2", "head_W2"), ("head_W2", "output")}
    assert graph.nodes["W2"].weight.shape == (8, 12)
    description = json.loads(beside.read_text())
    assert {"head_W1", "head_b1", "t", "sigmoid"} <= set(description["values"])
    inputs = [layer["input"] for layer in description["layers"]]
    assert [(each["minus"], each["rectified"]) for each in inputs] == [(0.0, False), (0.5, False), (0.5, False)]
    assert [op["op"] for op in description["program"]["sections"]["learn"]].count("flow") == 2


def test_patches_become_a_sparse_matrix(tmp_path: Path) -> None:
    path, _ = export_nir(patches(), tmp_path / "model.nir")
    weight = nir.read(path).nodes["W1"].weight
    assert weight.shape == (12, 64) and (weight != 0).sum() <= 108


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(version=2), "not written by this"),
        (lambda d: d.update(state_digest="0" * 64), "state_digest differs"),
        (lambda d: d["layers"][0].update(node="W9"), "W9"),
        (lambda d: d["layers"][0]["weights"].update(exponent=3), "no multiples"),
        (lambda d: d["values"].pop("t"), "t"),
        (lambda d: d["values"].update(t=[1, 2]), "not what it should be"),
        (lambda d: d["program"].pop("tensors"), "tensors"),
        (lambda d: d["program"]["sections"]["infer"][0].update(op="sing"), "sing"),
        (lambda d: d.pop("layers"), "'layers'"),
    ],
)
def test_descriptions_that_do_not_fit(change: Callable[[Any], Any], words: str, tmp_path: Path) -> None:
    path, beside = export_nir(lower(Network((8, 4, 2))), tmp_path / "model.nir")
    description = json.loads(beside.read_text())
    change(description)
    beside.write_text(json.dumps(description))
    with pytest.raises(FileError) as caught:
        read_nir(path)
    assert words in str(caught.value) and str(path) in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    path, beside = export_nir(lower(Network((8, 4, 2))), tmp_path / "model.nir")
    for content in (b"", bytes(range(256)), path.read_bytes()[:500]):
        path.write_bytes(content)
        with pytest.raises(FileError):
            read_nir(path)
    beside.unlink()
    with pytest.raises(FileError, match="cannot be read"):
        read_nir(path)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    program = lower(Network((8, 4, 2)))
    path, _ = export_nir(program, tmp_path / "model.nir")
    before = path.read_bytes()
    with pytest.raises(FileError, match="exists"):
        export_nir(lower(Network((8, 5, 2))), path)
    assert path.read_bytes() == before
    path.unlink()
    with pytest.raises(FileError, match="json: exists"):
        export_nir(program, path)
    export_nir(program, path, force=True)
    assert read_nir(path).program_digest == program.program_digest
    with pytest.raises(FileError, match="cannot be written"):
        export_nir(program, tmp_path / "nowhere" / "model.nir")


def test_votes_are_refused(tmp_path: Path) -> None:
    network = Network((16, 6, 5, 3), rule_named("guided", readout="sum"))
    with pytest.raises(SkaError, match="vote1 adds up"):
        export_nir(lower(network), tmp_path / "model.nir")
    assert not list(tmp_path.iterdir())


def test_a_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="a whole batch"):
        export_nir(lower(Network((9, 4, 3), PublishedBatch(batch=5))), tmp_path / "model.nir")
    assert not list(tmp_path.iterdir())


def test_without_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nir", None)
    with pytest.raises(MissingError, match="pip install"):
        export_nir(lower(Network((8, 4, 2))), tmp_path / "model.nir")
    assert not list(tmp_path.iterdir())


def test_command(tmp_path: Path) -> None:
    model = tmp_path / "digits.ska"
    codec.save(lower(Network((64, 16, 10))), model)
    found = call_json("export", "nir", model, "--out", tmp_path / "digits.nir")
    assert found["files"] == [str(tmp_path / "digits.nir"), str(tmp_path / "digits.nir.json")]
    assert read_nir(tmp_path / "digits.nir").program_digest == found["program_digest"]
    assert "exists" in refused("export", "nir", model, "--out", tmp_path / "digits.nir")
    assert "nir" in refused("export", "nri", model)
    (tmp_path / "noise.ska").write_bytes(bytes(50))
    assert "noise.ska" in refused("export", "nir", tmp_path / "noise.ska")
