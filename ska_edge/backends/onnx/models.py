"""Every model that a Program is written as, checked, with its papers in the metadata."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import onnx

from ... import codec
from ...errors import FileError
from ...operations import Role
from ...program import Program
from .graph import stored_dtype
from .learning import paper_model, samples_model, step_model
from .real import translate_real
from .translate import NEXT, translate

PREFIX = "ska_edge."
PROGRAM = f"{PREFIX}program"
ALWAYS = 1 << 30  # steps: write every flow out
ROUNDING = (
    "requantise(v; n) = saturate((v + r) >> n), an arithmetic shift, floor; r = 2^(n-1): ties go up; or a lattice "
    "offset(i, j, t) = (53685 i + 43977 j + 36025 t) mod 2^16"
)

_INFER = "Decisions of a batch; the state is inside."
_LEARN = "One sample is learnt: every state NAME goes in and comes out as NAME.next.  A missing label is -1."
_LOOP = "Samples are learnt one after the other, in one Run; outputs have a row a sample, taken before it was learnt."
_PAPER = "The papers' schedule: the batch, and `steps` steps of all layers, in one Run."


def models(program: Program) -> dict[str, onnx.ModelProto]:
    """File name without ending -> model.  A Program of the papers' schedule has no `infer`, and its own loop."""
    made: dict[str, Callable[[], onnx.ModelProto]]
    if "learn" in program.sections:
        made = {
            "infer_f32": lambda: translate_real(program, _given(program)).model(
                "infer_f32", f"{_INFER}  In float32, from features as they are: what the integers stand for."
            ),
            "infer_exact": lambda: _infer(program, "infer_exact", f"{_INFER}  In integers.", baked=True),
            "infer_qdq": lambda: _infer(
                program,
                "infer_qdq",
                f"{_INFER}  The same bits, in the form that runtimes fuse.",
                baked=True,
                fused=True,
            ),
            "infer_step": lambda: _infer(program, "infer_step", "Decisions of a batch; the state goes in by name."),
            "learn_step": lambda: step_model(program, "learn", "learn_step", _LEARN, functions=True),
            "learn_step_inline": lambda: step_model(
                program,
                "learn",
                "learn_step_inline",
                f"{_LEARN}  Without functions and loops.",
                functions=False,
                written_out=ALWAYS,
            ),
            "learn_loop": lambda: samples_model(program, "learn_loop", _LOOP),
        }
    else:
        made = {
            "prime": lambda: step_model(program, "prime", "prime", "The first forward pass: fills D.", functions=True),
            "learn_step": lambda: step_model(program, "step", "learn_step", "One step of all layers.", functions=True),
            "learn_step_inline": lambda: step_model(
                program, "step", "learn_step_inline", "One step of all layers.  Without functions.", functions=False
            ),
            "learn_loop": lambda: paper_model(program, "learn_loop", _PAPER),
        }
    return {name: _finished(program, name, make()) for name, make in made.items()}


def program_of(model: onnx.ModelProto, name: str) -> Program:
    """The Program that a model of ours carries.  Raises FileError where it carries none, or a broken one."""
    notes = {entry.key: entry.value for entry in model.metadata_props}
    if PROGRAM not in notes:
        raise FileError(f"{name}: carries no Program; wanted is a learn_*.onnx that `ska-edge export onnx` wrote")
    try:
        return codec.decode(base64.b64decode(notes[PROGRAM], validate=True))
    except ValueError:
        raise FileError(f"{name}: the Program in its metadata is not base64; export it again") from None


def _given(program: Program) -> list[str]:
    """The outputs that `infer` writes."""
    written = {name for op in program.sections["infer"] for name in op.outputs().values()}
    return [tensor.name for tensor in program.of_role(Role.OUTPUT) if tensor.name in written]


def _infer(program: Program, name: str, doc: str, baked: bool = False, fused: bool = False) -> onnx.ModelProto:
    done = translate(program, "infer", collect=_given(program), baked=baked, batched=True, quantised=fused)
    return done.model(name, doc)


def _finished(program: Program, name: str, model: onnx.ModelProto) -> onnx.ModelProto:
    """Notes, then the checker, which also infers every shape and type."""
    by_name = program.by_name
    for value in (*model.graph.input, *model.graph.output):
        tensor = by_name.get(value.name) or by_name.get(value.name.removesuffix(NEXT))
        if tensor is not None:
            value.doc_string = f"{tensor.kind.value}, {tensor.format}"
    encoding = {"low": program.encoding.low, "high": program.encoding.high, "centre": list(program.encoding.centre)}
    carried = {value.name for value in model.graph.input}
    formats = {t.name: str(t.format) for t in program.of_role(Role.INPUT, Role.OUTPUT, Role.STATE)}
    notes = {
        "program_digest": program.program_digest,
        "state_digest": program.state_digest,
        "rounding": ROUNDING,
        "formats": json.dumps(formats),
        "encoding": json.dumps(encoding),
    }
    if carried & {t.name for t in program.of_role(Role.STATE)}:
        notes["state"] = json.dumps({t.name: str(stored_dtype(t.format)) for t in program.of_role(Role.STATE)})
    if name.startswith("learn"):
        notes["program"] = base64.b64encode(codec.encode(program)).decode("ascii")
    onnx.helper.set_model_props(model, {PREFIX + key: value for key, value in notes.items()})
    onnx.checker.check_model(model, full_check=True)
    return model
