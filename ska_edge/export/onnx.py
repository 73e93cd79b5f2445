"""A model as a folder of ONNX files, with the state it starts from and what a program in any language must know."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from .. import __version__, codec
from ..errors import MissingError
from ..fixed import byte_count
from ..operations import Kind, Role
from ..program import Program
from .folder import MANIFEST, write_folder

FORMAT = "onnx"
SKA = "model.ska"
STATE = "state.bin"


@dataclass(frozen=True)
class ExportedOnnx:
    """A folder that was written: `files` are SHA-256 digests by name; `nodes` counts the nodes of every model."""

    out: Path
    name: str
    program: Program
    files: dict[str, str]
    nodes: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Everything a script may want to know."""
        return {
            "format": FORMAT,
            "out": str(self.out),
            "name": self.name,
            "program_digest": self.program.program_digest,
            "state_digest": self.program.state_digest,
            "files": self.files,
            "nodes": self.nodes,
        }


def export_onnx(program: Program, out: str | Path, name: str, force: bool = False) -> ExportedOnnx:
    """Write a Program as ONNX models into the folder `out`, all of it or nothing.

    Raises MissingError without the package onnx, FileError where `out` cannot be written or holds something already.
    """
    contents, nodes = onnx_files(program)
    files = digests(contents)
    contents[MANIFEST] = json.dumps({**manifest(program, FORMAT, name), "files": files}, indent=2) + "\n"
    write_folder(Path(out), contents, force)
    return ExportedOnnx(Path(out), name, program, files, nodes)


def onnx_files(program: Program) -> tuple[dict[str, str | bytes], dict[str, int]]:
    """Models, state and `.ska` by file name, and how many nodes each model has.  Raises MissingError without onnx."""
    try:
        writer = import_module("ska_edge.backends.onnx.models")
    except ImportError as error:
        raise MissingError(f"export onnx: {error.name} is not installed; pip install 'ska_edge[onnx]'") from None
    made = writer.models(program)
    contents: dict[str, str | bytes] = {
        f"{file}.onnx": model.SerializeToString(deterministic=True) for file, model in made.items()
    }
    state = list(state_layout(program))
    contents[SKA] = codec.encode(program)
    contents[STATE] = b"".join(program.values[entry["name"]].astype(entry["dtype"]).tobytes() for entry in state)
    nodes = {file: len(model.graph.node) + sum(len(f.node) for f in model.functions) for file, model in made.items()}
    return contents, nodes


def manifest(program: Program, format: str, name: str) -> dict[str, Any]:
    """What a program in any language must know to run the models and to write a `.ska`."""
    sample = next(program.of_kind(Kind.SAMPLE))
    return {
        "format": format,
        "ska_edge": __version__,
        "name": name,
        "program_digest": program.program_digest,
        "state_digest": program.state_digest,
        "encoding": {
            "low": program.encoding.low,
            "high": program.encoding.high,
            "centre": list(program.encoding.centre),
            "exponent": sample.format.exponent,
            "lo": sample.format.lo,
            "hi": sample.format.hi,
            "formula": "clip(floor((clip((x - low) / (high - low), 0, 1) - centre) * 2^-exponent + 1/2), lo, hi)",
        },
        "inputs": [_border(program, t.name) for t in program.of_role(Role.INPUT)],
        "outputs": [_border(program, t.name) for t in program.of_role(Role.OUTPUT)],
        "state": list(state_layout(program)),
    }


def digests(contents: Mapping[str, str | bytes]) -> dict[str, str]:
    """SHA-256 of every file, by name."""
    return {path: hashlib.sha256(_bytes(content)).hexdigest() for path, content in sorted(contents.items())}


def state_layout(program: Program) -> Iterator[dict[str, Any]]:
    """Every state tensor: what it is in ONNX, where it lies in `state.bin` and, packed (SPEC 1.2), in `model.ska`."""
    encoded = codec.encode(program)
    offset, at = 16 + int.from_bytes(encoded[12:16], "little"), 0
    for tensor in program.of_role(Role.CONST, Role.STATE):
        if tensor.role is Role.STATE:
            border = _border(program, tensor.name)
            size = tensor.size * int(border["dtype"].lstrip("uint")) // 8
            yield {
                **border,
                "next": f"{tensor.name}.next",
                "offset": at,
                "bytes": size,
                "ska": {"offset": offset, "bytes": tensor.byte_count, "bits": tensor.format.stored_bits},
            }
            at += size
        offset += byte_count(tensor.shape, tensor.format)


def _border(program: Program, name: str) -> dict[str, Any]:
    from ..backends.onnx.graph import stored_dtype

    tensor = program.by_name[name]
    return {
        "name": name,
        "dtype": str(stored_dtype(tensor.format)),
        "shape": list(tensor.shape),
        "kind": tensor.kind.value,
        "exponent": tensor.format.exponent,
    }


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content
