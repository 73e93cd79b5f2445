"""`ska-edge import`: an ONNX classifier, or a state learnt in ONNX, as a `.ska`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .common import data_options, emit, json_option, load_data, needs, warn

AGREES_AT_LEAST = 0.95


@click.command("import")
@click.argument("model", type=click.Path())
@data_options
@click.option("--profile", default="w8d8", show_default=True, help="w16d15, w16d8, w8d8 or w4d8.")
@click.option("--state", type=click.Path(), help="A state that was learnt in MODEL, a learn_*.onnx of our own export.")
@click.option("--out", type=click.Path(), help="Model to write.  [default: NAME.ska]")
@json_option
def import_model(
    model: str,
    dataset: str | None,
    file: str | None,
    label_column: str,
    profile: str,
    state: str | None,
    out: str | None,
    as_json: bool,
) -> None:
    """Turn MODEL, an ONNX classifier with sigmoid layers, into a .ska that goes on learning.

    --dataset or --data gives the range of features and what calibrates.  With --state, MODEL is the learn_step.onnx (or
    the folder) of `ska-edge export onnx`, and its Program comes back with that state.
    """
    from .. import codec

    target = Path(out) if out else Path(f"{Path(model).stem}.ska")
    if state is not None:
        learnt = needs("ska_edge.backends.onnx.learner", "onnx")
        path = Path(model) / learnt.FILES["learn"] if Path(model).is_dir() else Path(model)
        program = learnt.load_program(path)
        program = program.with_state(learnt.read_state(state, program))
        codec.save(program, target)
        result: dict[str, Any] = {"state": state}
        words = f"state of {state}"
    else:
        importing = needs("ska_edge.backends.onnx.importing", "onnx")
        done = importing.import_model(model, load_data(dataset, file, label_column), profile)
        program = done.program
        codec.save(program, target)
        result = {
            "shape": list(done.shape),
            "agreement": done.agreement,
            "accuracy": done.accuracy,
            "float_accuracy": done.float_accuracy,
            "clipped": done.clipped,
        }
        accuracy = (
            "" if done.accuracy is None else f"; accuracy {done.accuracy:.4f}, in float {done.float_accuracy:.4f}"
        )
        words = f"{'-'.join(map(str, done.shape))}, the same class on {done.agreement:.1%} of the rows{accuracy}"
        if done.agreement < AGREES_AT_LEAST:
            warn(f"{done.agreement:.1%} of the rows are decided as in float32; try --profile w16d15")
    digests = {"program_digest": program.program_digest, "state_digest": program.state_digest}

    def human() -> None:
        print(f"{target}: {words}")
        print(f"  program {program.program_digest[:16]}  state {program.state_digest[:16]}")

    emit(as_json, {"model": str(target), "source": model, **result, **digests}, human)
