"""Programs as ONNX models: the same bits in every runtime, by operation, in exported files, after a restart."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from firmware_tools import digits_model, digits_stream, needed
from programs import VERBS, Wanted, case_of, check_case, check_in_step, seed_in_message, seeds
from vectors import Vector, check_vector, load_vectors

from ska_edge import Learner, Network, codec, lower
from ska_edge.backends import open_executor
from ska_edge.backends.onnx.executors import Run
from ska_edge.backends.onnx.learner import OnnxLearner
from ska_edge.backends.onnx.models import models, program_of
from ska_edge.backends.onnx.runtime import RuntimeExecutor, open_session
from ska_edge.cli import main
from ska_edge.data import Dataset, load_dataset
from ska_edge.errors import FileError
from ska_edge.export.onnx import export_onnx
from ska_edge.fixed import IntArray
from ska_edge.learner import encode
from ska_edge.network import parse_shape
from ska_edge.operations import Role
from ska_edge.profiles import PROFILES
from ska_edge.program import Program
from ska_edge.rules import PublishedBatch, rule_named
from ska_edge.schedule import BatchLearner
from ska_edge.toolchain import find_compiler
from ska_edge.verify import stream_of

LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")
SAMPLES = 1000
OTHERS = ("onnx-reference", "onnx-node", "onnx-wasm", "emx-c")


class Checked(RuntimeExecutor):
    """Every model passes the checker, with shapes and types inferred."""

    def load(self, model: onnx.ModelProto) -> Run:
        onnx.checker.check_model(model, full_check=True)
        standard = {node.domain for node in model.graph.node} | {
            node.domain for f in model.functions for node in f.node
        }
        assert standard <= {"", "ska_edge"}
        return super().load(model)


@cache
def digits() -> Dataset:
    return load_dataset("digits")


@cache
def model(rule: str = "guided", profile: str = "w8d8", shape: tuple[int, ...] = (64, 16, 10)) -> Program:
    data = digits()
    return lower(Network(shape, rule_named(rule)), profile, data.samples[:200], data.labels[:200], data.encoding())  # type: ignore[index]


@cache
def learnt(rule: str = "guided", profile: str = "w8d8") -> Program:
    """After 1,000 samples, so that no test runs on start weights."""
    program = model(rule, profile)
    executor = open_executor("numba", program)
    executor.stream("learn", rows_of(program, SAMPLES))
    state = executor.state()
    assert program.weights_changed(state) > 0.2
    return program.with_state(state)


def rows_of(program: Program, count: int) -> dict[str, IntArray]:
    """Samples and labels, every seventh absent."""
    inputs = {name: values[:count].copy() for name, values in stream_of(program, digits()).items()}
    if "label" in inputs:
        inputs["label"][3::7] = -1
    return inputs


def typed(session: Any, values: dict[str, IntArray]) -> dict[str, Any]:
    """Feeds in a session's own types."""
    types = {value.name: value.type[len("tensor(") : -1] for value in session.get_inputs()}
    return {name: np.asarray(values[name]).astype(kind) for name, kind in types.items()}


def state_of(program: Program) -> dict[str, IntArray]:
    return {tensor.name: program.values[tensor.name] for tensor in program.of_role(Role.STATE)}


# --- one primitive, one Program, at a time ----------------------------------------------------------------------------


@pytest.mark.parametrize("vector", list(load_vectors()), ids=attrgetter("name"))
def test_vector(vector: Vector) -> None:
    check_vector(Checked, vector)


def test_random_programs() -> None:
    for seed in seeds(120):
        with seed_in_message(seed):
            check_case(Checked, case_of(seed))


@pytest.mark.parametrize("verb", VERBS)
def test_every_primitive_by_itself(verb: str) -> None:
    for seed in seeds(12):
        with seed_in_message(seed):
            check_case(Checked, case_of(seed, Wanted([verb], (1, 1))))


def test_random_programs_in_the_reference_evaluator() -> None:
    for seed in seeds(40):
        with seed_in_message(seed):
            check_case(lambda program: open_executor("onnx-reference", program), case_of(seed))


# --- learning, in every runtime ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("profile", PROFILES)
def test_learn_step_learns_a_thousand_samples(profile: str, level: str) -> None:
    """In the exported model itself, with its functions, at every level of optimisation."""
    program = model("guided", profile)
    inputs = rows_of(program, SAMPLES)
    session = open_session(models(program)["learn_step"].SerializeToString(), level)
    outputs = [value.name for value in session.get_outputs()]
    feeds = typed(session, {**state_of(program), **{name: values[0] for name, values in inputs.items()}})
    choices = []
    for row in range(SAMPLES):
        feeds.update({name: np.asarray(values[row], feeds[name].dtype) for name, values in inputs.items()})
        out = dict(zip(outputs, session.run(None, feeds), strict=True))
        feeds.update({name.removesuffix(".next"): value for name, value in out.items() if name.endswith(".next")})
        choices.append(int(out["choice"]))
    expected = open_executor("numba", program)
    wanted = expected.stream("learn", inputs, ["choice"])["choice"]
    state = {name: np.asarray(feeds[name], np.int64) for name in state_of(program)}
    assert program.digest_of(state) == program.digest_of(expected.state())
    assert choices == wanted.tolist()
    assert program.weights_changed(state) > 0.2


@pytest.mark.parametrize("rule", ["guided", "published"])
def test_every_operation_of_a_network(rule: str) -> None:
    program = model(rule, "w8d8", (64, 12, 8, 10))
    inputs = rows_of(program, 6)
    runs = [{name: values[row] for name, values in inputs.items()} for row in range(6)]
    check_in_step(Checked(program), program, "learn", runs)


@pytest.mark.parametrize("rule", ["guided", "homeostatic"])
def test_fields_learn_the_same(rule: str) -> None:
    """Gathered patches, tensors of three axes, running means: nothing here was made for a rule."""
    data, shape = digits(), parse_shape("64-4x8f6-10")
    program = lower(Network(shape, rule_named(rule)), "w4d8", data.samples[:100], data.labels[:100], data.encoding())  # type: ignore[index]
    inputs = rows_of(program, 100)
    found, expected = Checked(program), open_executor("numba", program)
    for each in (found, expected):
        each.stream("learn", inputs)
    assert program.digest_of(found.state()) == program.digest_of(expected.state())
    assert program.weights_changed(found.state()) > 0.2


@pytest.mark.parametrize("name", OTHERS)
def test_other_runtimes_learn_the_same(name: str) -> None:
    program, count = model(), SAMPLES if name == "onnx-node" else 100
    needed(lambda: open_executor(name, program))
    executor, expected = open_executor(name, program), open_executor("numba", program)
    inputs = rows_of(program, count)
    found, wanted = (each.stream("learn", inputs, ["decision", "choice"]) for each in (executor, expected))
    assert (found["decision"] == wanted["decision"]).all()
    assert program.digest_of(executor.state()) == program.digest_of(expected.state())


@pytest.mark.parametrize("rule", ["guided", "published"])
def test_learn_loop_is_its_samples(rule: str) -> None:
    """Many samples in one Run, which also takes the flow as a Loop for the published rule's 49 steps."""
    program = model(rule)
    inputs = rows_of(program, 60)
    session = open_session(models(program)["learn_loop"].SerializeToString())
    outputs = [value.name for value in session.get_outputs()]
    out = dict(zip(outputs, session.run(None, typed(session, {**state_of(program), **inputs})), strict=True))
    expected = open_executor("numba", program)
    wanted = expected.stream("learn", inputs, ["decision", "choice", "entropy1"])
    for name, values in wanted.items():
        assert (out[name] == values).all(), name
    assert program.digest_of({name: out[f"{name}.next"] for name in state_of(program)}) == program.digest_of(
        expected.state()
    )


def test_the_papers_steps_in_one_run() -> None:
    batch = digits().samples[:40] / 16
    program = lower(Network((64, 12, 10), PublishedBatch(batch=40)), "w8d8", batch)
    made = models(program)
    assert set(made) == {"prime", "learn_step", "learn_step_inline", "learn_loop"}
    session = open_session(made["learn_loop"].SerializeToString())
    steps, x = np.array(20), encode(program, batch)
    outputs = [value.name for value in session.get_outputs()]
    out = dict(
        zip(outputs, session.run(None, typed(session, {**state_of(program), "x": x, "steps": steps})), strict=True)
    )
    learner = BatchLearner(program, "oracle")
    learner.prime(batch)
    for step in range(20):
        learner.step()
        assert out["entropy1"][step] == learner.executor.read("entropy1")
    state = {name: out[f"{name}.next"] for name in state_of(program)}
    assert program.digest_of(state) == program.digest_of(learner.executor.state())


# --- inference --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_ALL"])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("rule", ["guided", "published"])
def test_inference_has_no_differing_output(rule: str, profile: str, level: str) -> None:
    """8,000 rows of 10 decisions each, in 16 combinations and two models: 2.5 million outputs, extremes among them."""
    program = learnt(rule, profile)
    fmt, chance = program.by_name["x"].format, np.random.default_rng(1)
    rows = chance.integers(fmt.lo, fmt.hi + 1, (8000, 64))
    rows[:2000] = chance.choice([fmt.lo, fmt.hi, 0], (2000, 64))
    rows[2000:3797] = encode(program, digits().samples)
    wanted = open_executor("numba", program).stream("infer", {"x": rows}, ["decision", "choice"])
    for name in ("infer_exact", "infer_qdq"):
        session = open_session(models(program)[name].SerializeToString(), level)
        decisions, choices = session.run(["decision", "choice"], typed(session, {"x": rows}))
        assert int((decisions != wanted["decision"]).sum()) == 0, name
        assert (choices == wanted["choice"]).all(), name


@pytest.mark.parametrize("profile", ["w8d8", "w4d8"])
def test_narrow_layers_take_the_form_that_fuses(profile: str) -> None:
    operators = [node.op_type for node in models(learnt("guided", profile))["infer_qdq"].graph.node]
    assert operators.count("QuantizeLinear") == 2 and operators.count("DequantizeLinear") == 4


def test_the_real_model_is_what_the_integers_stand_for() -> None:
    program, data = learnt("guided", "w16d15"), digits()
    session = open_session(models(program)["infer_f32"].SerializeToString())
    decisions, choices = session.run(["decision", "choice"], {"x": data.samples.astype(np.float32)})
    learner = Learner(program)
    assert np.abs(decisions - learner.decide_many(data.samples)).max() < 2e-3
    assert (choices == learner.predict_many(data.samples)).mean() > 0.995


CONTROL = """
import sys, hashlib, numpy as np, onnxruntime as ort
folder = sys.argv[1]
data = np.load(folder + "/rows.npz")
def session(name):
    options = ort.SessionOptions(); options.intra_op_num_threads = 1; options.log_severity_level = 4
    return ort.InferenceSession(f"{folder}/{name}.onnx", options, providers=["CPUExecutionProvider"])
for name in ("infer_exact", "infer_qdq"):
    print(hashlib.sha256(session(name).run(["decision"], {"x": data["x"]})[0].tobytes()).hexdigest())
step = session("learn_step")
feeds = {v.name: data[v.name] for v in step.get_inputs() if v.name != "x" and v.name != "label"}
for x, label in zip(data["x"][:30], data["label"]):
    out = dict(zip([v.name for v in step.get_outputs()], step.run(None, {**feeds, "x": x, "label": np.asarray(label)})))
    feeds = {name: out[name + ".next"] for name in feeds}
print(hashlib.sha256(b"".join(feeds[name].tobytes() for name in sorted(feeds))).hexdigest())
a, b = np.full((1, 64), 255, np.uint8), np.full((64, 16), 127, np.int8)
print(int((session("control").run(None, {"a": a, "b": b})[0] != 255 * 127 * 64).sum()))
"""


def test_a_processor_without_vnni(tmp_path: Path) -> None:
    """On an emulated Haswell, where products of u8 and s8 saturate: the last line shows that it does."""
    qemu = shutil.which("qemu-x86_64")
    if qemu is None:
        reason = "qemu-x86_64 is not installed; Debian package qemu-user"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    program = learnt()
    folder = tmp_path / "onnx"
    export_onnx(program, folder, "digits")
    inputs = rows_of(program, 200)
    state = {t.name: program.values[t.name].astype(kind) for t, kind in _state_types(program)}
    np.savez(folder / "rows.npz", x=inputs["x"].astype(np.int8), label=inputs["label"].astype(np.int16), **state)
    types = (onnx.TensorProto.UINT8, onnx.TensorProto.INT8, onnx.TensorProto.INT32)
    shapes = ([1, 64], [64, 16], [1, 16])
    a, b, y = (onnx.helper.make_tensor_value_info(*both) for both in zip("aby", types, shapes, strict=True))
    control = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMulInteger", ["a", "b"], ["y"])], "control", [a, b], [y]
    )
    onnx.save(
        onnx.helper.make_model(control, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10),
        folder / "control.onnx",
    )
    paths = [path for path in sys.path if path.endswith("site-packages")]
    script = f"import sys; sys.path[:0] = {paths!r}\n{CONTROL}"
    python = os.path.realpath(sys.executable)
    lines = []
    for command in ([], [qemu, "-cpu", "Haswell"]):
        done = subprocess.run(
            [*command, python, "-c", script, str(folder)], capture_output=True, text=True, check=False, timeout=500
        )
        assert done.returncode == 0, done.stderr[-2000:]
        lines.append(done.stdout.split())
    assert lines[1][:3] == lines[0][:3]
    assert lines[1][0] == lines[1][1]
    assert int(lines[1][3]) > 0


def _state_types(program: Program) -> list[tuple[Any, str]]:
    notes = {entry.key: entry.value for entry in models(program)["learn_step"].metadata_props}
    kinds = json.loads(notes["ska_edge.state"])
    return [(program.by_name[name], kind) for name, kind in kinds.items()]


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "digits_onnx"
    export_onnx(model(), out, "digits")
    return out


def test_what_a_folder_holds(folder: Path) -> None:
    manifest = json.loads((folder / "ska-edge.json").read_text())
    program = model()
    assert manifest["program_digest"] == program.program_digest
    ska, state = (folder / "model.ska").read_bytes(), (folder / "state.bin").read_bytes()
    assert codec.decode(ska).state_digest == program.state_digest
    for entry in manifest["state"]:
        part = np.frombuffer(state, entry["dtype"], int(np.prod(entry["shape"])), entry["offset"])
        assert (part == program.values[entry["name"]].reshape(-1)).all(), entry["name"]
    for name in (
        "infer_f32",
        "infer_exact",
        "infer_qdq",
        "infer_step",
        "learn_step",
        "learn_step_inline",
        "learn_loop",
    ):
        read = onnx.load(folder / f"{name}.onnx")
        onnx.checker.check_model(read, full_check=True)
        notes = {entry.key: entry.value for entry in read.metadata_props}
        assert notes["ska_edge.program_digest"] == program.program_digest
        assert (read.opset_import[0].version, read.ir_version) == (21, 10)
    assert [f.name for f in onnx.load(folder / "learn_step.onnx").functions] == ["learn_layer_1"]
    inline = onnx.load(folder / "learn_step_inline.onnx")
    assert not inline.functions and not {node.op_type for node in inline.graph.node} & {"Loop", "Scan", "If"}
    batch = onnx.load(folder / "infer_exact.onnx").graph.input[0].type.tensor_type.shape.dim[0]
    assert batch.dim_param == "batch"


def test_the_same_program_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    export_onnx(model(), tmp_path / "again", "digits")
    for path in folder.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_round_trip(folder: Path, tmp_path: Path) -> None:
    """500 samples in ONNX Runtime, a restart, back to `.ska`, on in Numba and in C: as if it had stayed."""
    needed(lambda: find_compiler("gcc"))
    data = digits()
    labels = data.labels
    assert labels is not None
    first = OnnxLearner(folder)
    first.learn_many(data.samples[:500], labels[:500])
    first.save_state(tmp_path / "learnt.npz")
    again = OnnxLearner(folder, tmp_path / "learnt.npz")
    done = CliRunner().invoke(
        main,
        [
            "import",
            str(folder),
            "--state",
            str(tmp_path / "learnt.npz"),
            "--out",
            str(tmp_path / "learnt.ska"),
            "--json",
        ],
    )
    assert done.exit_code == 0, done.output
    stayed = Learner(model())
    stayed.learn_many(data.samples[:500], labels[:500])
    assert json.loads(done.output)["state_digest"] == stayed.snapshot().state_digest
    assert (again.predict_many(data.samples) == stayed.predict_many(data.samples)).all()
    stayed.learn_many(data.samples[500:600], labels[500:600])
    for executor in ("numba", "c-gcc", "onnxruntime"):
        moved = Learner.load(tmp_path / "learnt.ska", executor)
        moved.learn_many(data.samples[500:600], labels[500:600])
        assert moved.snapshot().state_digest == stayed.snapshot().state_digest, executor
    again.learn_one(data.samples[500], int(labels[500]))
    assert again.predict_one(data.samples[0]) in range(10)


def test_on_in_emulated_firmware(folder: Path, tmp_path: Path) -> None:
    program, stream = digits_model(), digits_stream()
    needed(lambda: open_executor("qemu-m3", program))
    executor = open_executor("onnxruntime", program)
    executor.stream("learn", {name: values[:500] for name, values in stream.items()})
    rest = {name: values[500:530] for name, values in stream.items()}
    chip, stayed = open_executor("qemu-m3", program.with_state(executor.state())), open_executor("numba", program)
    chip.stream("learn", rest)
    stayed.stream("learn", {name: values[:530] for name, values in stream.items()})
    assert program.digest_of(chip.state()) == program.digest_of(stayed.state())


# --- bad input --------------------------------------------------------------------------------------------------------


def test_a_state_of_another_program(folder: Path, tmp_path: Path) -> None:
    export_onnx(model("published"), tmp_path / "other", "other")
    OnnxLearner(tmp_path / "other").save_state(tmp_path / "other.npz")
    with pytest.raises(FileError, match="a state of program"):
        OnnxLearner(folder, tmp_path / "other.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK\3\4 no archive")
    with pytest.raises(FileError, match="no state file"):
        OnnxLearner(folder, tmp_path / "broken.npz")


def test_files_of_two_programs(folder: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(folder, mixed)
    export_onnx(model("published"), tmp_path / "other", "other")
    shutil.copy(tmp_path / "other" / "infer_step.onnx", mixed)
    with pytest.raises(FileError, match="written for program"):
        OnnxLearner(mixed).predict_one(digits().samples[0])


def test_no_program_inside(folder: Path) -> None:
    with pytest.raises(FileError, match="carries no Program"):
        program_of(onnx.load(folder / "infer_f32.onnx"), "infer_f32.onnx")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "onnx", "missing.ska"], "cannot be read"),
        (["export", "onix", "missing.ska"], "allowed are c, arduino, platformio, zephyr, onnx"),
        (["import", "missing.onnx", "--dataset", "digits"], "cannot be read"),
        (["import", "missing.onnx"], "give either --dataset"),
        (["probe", "missing.onnx", "--dataset", "digits", "--picture", "x.gif"], "pictures end in"),
    ],
)
def test_bad_commands(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert message in done.output
