"""`ska-edge export`: a model as a library for people who do not have ska_edge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import data_options, emit, json_option, load_data

if TYPE_CHECKING:
    from ..data import Dataset
    from ..program import Program


@click.command()
@click.argument("format")
@click.argument("model", type=click.Path())
@click.option("--out", type=click.Path(), help="Folder to write to.  [default: MODEL_FORMAT]")
@click.option("--name", help="What the library is called.  [default: the model's file name]")
@click.option("--force", is_flag=True, help="Replace what an earlier export wrote, with all that is in the folder.")
@data_options
@json_option
def export(
    format: str,
    model: str,
    out: str | None,
    name: str | None,
    force: bool,
    dataset: str | None,
    file: str | None,
    label_column: str,
    as_json: bool,
) -> None:
    """Write MODEL as FORMAT: a library (c, arduino, platformio, zephyr), ONNX models (onnx), a page that learns
    (browser), or a NIR graph (nir).

    A library's example learns a few samples and checks its own state against the oracle's.  They come from --dataset or
    --data; without, from the digits where the model learnt those, else they are made up.  nir is for inference, two
    files: --out names the graph, and the rest lies beside it.
    """
    from .. import codec
    from ..errors import SkaError
    from ..export import FORMATS
    from ..export import export as write

    if format not in (*FORMATS, "onnx", "browser", "nir"):
        raise SkaError(f"format {format!r}: allowed are {', '.join(FORMATS)}, onnx, browser, nir")
    if format == "nir":
        _export_nir(model, out, force, as_json)
        return
    program = codec.load(model)
    if format == "onnx":
        _export_onnx(program, model, out or f"{Path(model).stem}_onnx", name or Path(model).stem, force, as_json)
        return
    data = None if dataset is None and file is None else load_data(dataset, file, label_column)
    stem = Path(model).stem
    if format == "browser":
        _export_browser(program, model, out or f"{stem}_browser", name or stem, data, force, as_json)
        return
    done = write(program, format, out or f"{stem}_{format}", name or stem, data, force)

    def human() -> None:
        example = done.example
        print(f"{done.out}: {done.name}, {len(done.files)} files; README.md says how to build")
        print(f"  example: {len(example.labels)} samples ({example.source}); its state must have CRC-32 ", end="")
        print(f"{example.state_crc:08x}")
        print(f"  program {program.program_digest[:16]}  state {program.state_digest[:16]}")

    emit(as_json, {"model": model, **done.to_json()}, human)


def _export_nir(model: str, out: str | None, force: bool, as_json: bool) -> None:
    from .. import codec
    from ..export.nir import export_nir

    program = codec.load(model)
    files = [str(path) for path in export_nir(program, Path(out or f"{Path(model).stem}.nir"), force)]
    digests = {"program_digest": program.program_digest, "state_digest": program.state_digest}
    emit(as_json, {"model": model, "format": "nir", "files": files, **digests}, lambda: print(*files, sep="\n"))


def _export_onnx(program: Program, model: str, out: str, name: str, force: bool, as_json: bool) -> None:
    from ..export.onnx import export_onnx

    done = export_onnx(program, out, name, force)

    def human() -> None:
        print(f"{done.out}: {len(done.nodes)} models, checked")
        for file, nodes in done.nodes.items():
            print(f"  {file}.onnx: {nodes} nodes")
        print(f"  program {program.program_digest[:16]}  state {program.state_digest[:16]}")

    emit(as_json, {"model": model, **done.to_json()}, human)


def _export_browser(
    program: Program, model: str, out: str, name: str, data: Dataset | None, force: bool, as_json: bool
) -> None:
    from ..export.browser import export_browser

    done = export_browser(program, out, name, data, force)

    def human() -> None:
        size = sum(path.stat().st_size for path in done.out.rglob("*") if path.is_file())
        print(f"{done.out}: {len(done.files)} static files, {size / 1e6:.1f} MB, {done.held_out} held-out samples")
        print(f"  python -m http.server --directory {done.out}   and open http://localhost:8000")
        print(f"  program {program.program_digest[:16]}  state {program.state_digest[:16]}")

    emit(as_json, {"model": model, **done.to_json()}, human)
