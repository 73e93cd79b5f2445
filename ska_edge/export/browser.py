"""A model as a page that learns: static files, ONNX Runtime Web beside them, no server of ours."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Dataset, load_dataset
from ..errors import DataError, MissingError, ProgramError
from ..operations import Kind
from ..program import Program
from .example import held_out_rows
from .folder import MANIFEST, write_folder
from .onnx import SKA, STATE, digests, manifest, onnx_files

FORMAT = "browser"
PAGE = Path(__file__).with_name("page")
PACKAGE = "onnxruntime-web"
RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
MODELS = ("learn_step.onnx", "infer_step.onnx")
HELD_OUT = "held_out.json"
SIDE = 8
MAX_CLASSES = 10  # a key and a button each
MAX_HELD_OUT = 400


@dataclass(frozen=True)
class ExportedPage:
    """A folder that was written: `files` are SHA-256 digests by path; `held_out` counts the page's test samples."""

    out: Path
    program: Program
    files: dict[str, str]
    held_out: int

    def to_json(self) -> dict[str, Any]:
        """Everything a script may want to know."""
        return {
            "format": FORMAT,
            "out": str(self.out),
            "program_digest": self.program.program_digest,
            "state_digest": self.program.state_digest,
            "held_out": self.held_out,
            "files": self.files,
        }


def export_browser(
    program: Program, out: str | Path, name: str, data: Dataset | None = None, force: bool = False
) -> ExportedPage:
    """Write a Program that reads 8 x 8 pictures as a page into the folder `out`, all of it or nothing.

    The page counts how many held-out pictures it decides rightly: rows of `data`, or, without, those of the digits that
    `ska-edge train` held out from this model.  Raises ProgramError for a Program that cannot learn drawings, DataError
    for `data` that is no 8 x 8 pictures with labels, MissingError without onnx or ONNX Runtime Web, FileError where
    `out` cannot be written.
    """
    check_program(program)
    samples = held_out(program, data)
    made, _ = onnx_files(program)
    contents = {file: made[file] for file in (*MODELS, STATE, SKA)}
    contents.update({path.name: path.read_bytes() for path in sorted(PAGE.iterdir()) if path.is_file()})
    contents.update({f"runtime/{file}": content for file, content in runtime_files().items()})
    contents[HELD_OUT] = json.dumps(samples, separators=(",", ":")) + "\n"
    files = digests(contents)
    contents[MANIFEST] = json.dumps({**manifest(program, FORMAT, name), "files": files}, indent=2) + "\n"
    write_folder(Path(out), contents, force)
    return ExportedPage(Path(out), program, files, len(samples["labels"]))


def check_program(program: Program) -> None:
    """Raise ProgramError unless the Program learns 8 x 8 pictures, one by one, with labels of 2 to 10 classes."""
    remedy = "train one with: ska-edge train --dataset digits"
    if not {"infer", "learn"} <= set(program.sections) or "prime" in program.sections:
        raise ProgramError(
            f"export browser: sections {', '.join(program.sections)}; a page learns one sample at a time; {remedy}"
        )
    features = next(program.of_kind(Kind.SAMPLE)).size
    if features != SIDE * SIDE:
        raise ProgramError(f"export browser: {features} features; a drawing has {SIDE * SIDE}; {remedy}")
    missing = [wanted for wanted in ("label", "decision", "choice") if wanted not in program.by_name]
    if missing:
        raise ProgramError(f"export browser: the Program has no {', '.join(missing)}; {remedy}")
    classes = program.by_name["decision"].size
    if not 2 <= classes <= MAX_CLASSES:
        raise ProgramError(f"export browser: {classes} classes; a page has buttons for 2 to {MAX_CLASSES}; {remedy}")


def held_out(program: Program, data: Dataset | None = None) -> dict[str, Any]:
    """Pictures [n, 64] as measured and labels that the model has not learnt; empty where nobody knows which."""
    from ..learner import check_labels, encode

    if data is None:
        data = load_dataset("digits")
        rows = held_out_rows(program, data) if program.meta.get("dataset") == data.name else None
        if rows is None:
            return {"samples": [], "labels": []}
    else:
        rows = np.arange(len(data.samples))
    encode(program, data.samples)
    labels = check_labels(data.labels, len(data.samples), program.by_name["decision"].size)
    rows = rows[labels[rows] >= 0][:MAX_HELD_OUT]
    if not len(rows):
        raise DataError(f"{data.name}: no sample has a label; held-out samples need one")
    return {"samples": data.samples[rows].tolist(), "labels": labels[rows].tolist()}


def runtime_files() -> dict[str, bytes]:
    """ONNX Runtime Web as npm installed it.  Raises MissingError with the command that gets it."""
    try:
        javascript = import_module("ska_edge.backends.onnx.javascript")
    except ImportError as error:
        raise MissingError(f"export browser: {error.name} is not installed; pip install 'ska_edge[onnx]'") from None
    folder = javascript.folder_with(PACKAGE) / "node_modules" / PACKAGE / "dist"
    try:
        return {file: (folder / file).read_bytes() for file in RUNTIME}
    except OSError as error:
        raise MissingError(
            f"{PACKAGE}: {error.filename} cannot be read ({error.strerror}); {PACKAGE}@{javascript.VERSION} has it"
        ) from None
