"""A learner over exported models, and its state on disk."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ...codec import write_atomically
from ...errors import FileError, ProgramError, SkaError
from ...fixed import IntArray
from ...learner import Learner
from ...operations import Role
from ...program import Program
from .executors import Run
from .graph import stored_dtype
from .models import program_of
from .runtime import RuntimeExecutor, SessionRun, open_session
from .translate import Translation, translate

DIGEST = "program_digest"
FILES = {"learn": "learn_step.onnx", "infer": "infer_step.onnx"}


class OnnxLearner(Learner):
    """Learns and predicts with the files that `ska-edge export onnx` wrote, in ONNX Runtime.

    `folder` holds them; `state` is a file that `save_state` wrote.  `save` writes a `.ska`, which any backend takes up.
    Raises FileError where a file is missing, damaged, or belongs to another Program.
    """

    def __init__(self, folder: str | Path, state: str | Path | None = None) -> None:
        path = Path(folder)
        super().__init__(load_program(path / FILES["learn"]), "onnxruntime")
        self.executor = ExportedExecutor(self.program, path)
        if state is not None:
            self.load_state(state)

    def save_state(self, path: str | Path) -> None:
        """Write the state as NPZ: every state tensor by name, and the Program's digest."""
        write_state(path, self.program, self.executor.state())

    def load_state(self, path: str | Path) -> None:
        """Go on from a state.  Raises FileError for a state of another Program."""
        self.executor.load_state(read_state(path, self.program))


class ExportedExecutor(RuntimeExecutor):
    """Streams run in the exported files; single operations in models made for them."""

    def __init__(self, program: Program, folder: Path) -> None:
        super().__init__(program)
        self._folder = folder

    def stream(
        self, section: str, inputs: Mapping[str, IntArray], collect: Sequence[str] = (), last: int | None = None
    ) -> dict[str, IntArray]:
        """`infer` takes all rows in one Run."""
        if section != "infer" or last is not None:
            return super().stream(section, inputs, collect, last)
        translation, run = self._load(section, 0, None, collect)
        fed = {translation.inputs[name].name: rows for name, rows in self._rows(inputs).items()}
        states = {value.name: self.memory[n] for n, value in translation.inputs.items() if n not in inputs}
        found = dict(zip(translation.outputs, run({**fed, **states}), strict=True))
        return {name: found[name].astype(np.int64) for name in collect}

    def _load(
        self, section: str, first: int, last: int | None, collect: Sequence[str] | None
    ) -> tuple[Translation, Run]:
        outputs = {tensor.name for tensor in self.program.of_role(Role.OUTPUT)}
        if first or last is not None or collect is None or not set(collect) <= outputs:
            return super()._load(section, first, last, collect)
        key = (section, 0, -1, None)
        if key not in self._loaded:
            kept = [tensor.name for tensor in self.program.of_role(Role.STATE, Role.OUTPUT)]
            translation = translate(self.program, section, collect=kept, batched=section == "infer")
            self._loaded[key] = (
                translation,
                SessionRun(_session(self._folder / FILES[section], self.program, translation)),
            )
        return self._loaded[key]


def load_program(path: Path) -> Program:
    """The Program inside a learn_*.onnx.  Raises FileError."""
    return program_of(load_model(path), str(path))


def load_model(path: Path) -> onnx.ModelProto:
    """Any ONNX file with all its data.  Raises FileError."""
    try:
        return onnx.load(str(path))
    except FileNotFoundError as error:
        missing = error.filename or path
        raise FileError(f"{path}: cannot be read ({missing} does not exist)") from None
    except Exception as error:  # protobuf's, onnx's checker's and the file system's have no common base
        raise FileError(
            f"{path}: no ONNX model ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        ) from None


def write_state(path: str | Path, program: Program, state: Mapping[str, IntArray]) -> None:
    """A state as NPZ, written beside its name and renamed."""
    arrays: dict[str, Any] = {
        tensor.name: state[tensor.name].astype(stored_dtype(tensor.format)) for tensor in program.of_role(Role.STATE)
    }
    arrays[DIGEST] = np.array(program.program_digest)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_atomically(Path(path), buffer.getvalue())


def read_state(path: str | Path, program: Program) -> dict[str, IntArray]:
    """A state of this Program.  Raises FileError for another's, or a file that is none."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # zipfile's and NumPy's
        raise FileError(f"{path}: no state file ({error})") from None
    digest = str(arrays.pop(DIGEST, "")) if DIGEST in arrays else "none"
    if digest != program.program_digest:
        raise FileError(
            f"{path}: a state of program {digest[:16]}; this model is {program.program_digest[:16]}; "
            "export that program again, or start without a state"
        )
    try:
        carried = program.with_state(arrays)
    except (ProgramError, SkaError) as error:
        raise FileError(f"{path}: {error}") from None
    return carried.initial_state()


def _session(path: Path, program: Program, translation: Translation) -> Any:
    """A session of an exported file that is this Program's.  Raises FileError."""
    model = load_model(path)
    notes = {entry.key: entry.value for entry in model.metadata_props}
    digest = notes.get("ska_edge.program_digest", "none")
    names = [value.name for value in model.graph.input], [value.name for value in model.graph.output]
    wanted = [v.name for v in translation.inputs.values()], [v.name for v in translation.outputs.values()]
    if digest != program.program_digest or names != wanted:
        raise FileError(
            f"{path}: written for program {digest[:16]}, wanted is {program.program_digest[:16]}; export again"
        )
    return open_session(model.SerializeToString())
