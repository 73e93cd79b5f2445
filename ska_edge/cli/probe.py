"""`ska-edge probe`: local entropy, alignment and knowledge in any ONNX model with sigmoid layers."""

from __future__ import annotations

from pathlib import Path

import click

from .common import data_options, emit, json_option, load_data


@click.command()
@click.argument("model", type=click.Path())
@data_options
@click.option("--samples", type=click.IntRange(2), help="Feed only so many rows.  [default: all]")
@click.option("--picture", type=click.Path(), help="Draw the signals into this file, .svg or .png.")
@json_option
def probe(
    model: str,
    dataset: str | None,
    file: str | None,
    label_column: str,
    samples: int | None,
    picture: str | None,
    as_json: bool,
) -> None:
    """Feed rows to MODEL, an ONNX file, and print the signals of every sigmoid layer.

    Entropy in bits, cosine alignment of knowledge and decision shift, and the knowledge's norm: one step a row, means
    in the table, every step with --json.
    """
    from ..codec import write_atomically
    from ..errors import FileError
    from ..report.probe import draw
    from .common import needs

    kind = Path(picture).suffix if picture else ".svg"
    if kind not in (".svg", ".png"):
        raise FileError(f"{picture}: pictures end in .svg or .png")
    probing = needs("ska_edge.backends.onnx.probe", "onnx")
    data = load_data(dataset, file, label_column)
    layers = list(probing.probe(model, data.samples[:samples]))
    if picture:
        drawn = draw(layers)
        write_atomically(Path(picture), drawn.svg if kind == ".svg" else drawn.png)

    def human() -> None:
        from rich.console import Console
        from rich.table import Table

        table = Table("layer", "neurons", "entropy, bits", "cosine", "knowledge norm")
        for layer in layers:
            means = (layer.entropy.mean(), layer.cosine.mean(), layer.knowledge_norm.mean())
            table.add_row(layer.name, str(layer.neurons), *(f"{value:.4g}" for value in means))
        Console().print(table)
        print(f"{len(data.samples[:samples])} rows of {data.name}" + (f"; picture: {picture}" if picture else ""))

    emit(as_json, {"model": model, "data": data.name, "layers": [layer.to_json() for layer in layers]}, human)
