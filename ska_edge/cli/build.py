"""`ska-edge build`: a model as a firmware image for a board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import emit, json_option, warn

if TYPE_CHECKING:
    from ..firmware import Image


FUNCTIONS_NAMED = 5


@click.command()
@click.argument("model", type=click.Path())
@click.option("--board", required=True, help="A board of the catalogue (ska-edge boards) or a board's TOML file.")
@click.option("--compiler", type=click.Choice(["zig", "gcc"]), help="[default: zig; gcc for AVR]")
@click.option("--optimise", type=click.Choice(["0", "1", "2", "3", "s", "z"]), help="Level of -O.  [default: by core]")
@click.option("--baud", type=click.IntRange(1200, 4_000_000), help="Speed of the line.  [default: the board's]")
@click.option("--stepped", is_flag=True, help="Add single operations and the whole arena, for the test bench.")
@click.option("--snapshots", is_flag=True, help="Keep snapshots in the chip's own flash, safe from power cuts.")
@click.option("--out", type=click.Path(file_okay=False), help="Folder to write to.  [default: MODEL-BOARD]")
@json_option
def build(
    model: str,
    board: str,
    compiler: str | None,
    optimise: str | None,
    baud: int | None,
    stepped: bool,
    snapshots: bool,
    out: str | None,
    as_json: bool,
) -> None:
    """Build an image that learns on a board: ELF, binary, Intel HEX, C sources and a treemap of sizes.

    What does not fit is refused before anything is compiled, with the bytes by tensor and what would help.
    """
    from firmware_sim.catalogue import load_board, load_board_file
    from firmware_sim.errors import SimError

    from .. import codec, firmware
    from ..errors import SkaError
    from ..report.sizes import sizes_picture

    program = codec.load(model)
    try:
        found = load_board_file(board) if board.endswith(".toml") else load_board(board)
    except SimError as error:
        raise SkaError(str(error)) from None
    folder = out or f"{Path(model).stem}-{found.name}"
    image = firmware.build(program, found, folder, compiler, optimise, stepped, baud, snapshots)
    if not image.ran:
        warn(f"{found.name}: this port has been built but has never run, neither on the board nor in an emulator")
    drawn = sizes_picture(image)
    for suffix, content in (("svg", drawn.svg), ("png", drawn.png)):
        codec.write_atomically(Path(folder) / f"sizes.{suffix}", content)
    emit(as_json, {"model": model, **image.to_json()}, lambda: _print(image))


def _print(image: Image) -> None:
    from rich.console import Console
    from rich.table import Table

    print(f"{image.elf}  ({image.compiler})")
    print(f"program {image.program_digest}")
    for title, parts in (("RAM", image.ram_bytes), ("flash", image.flash_bytes)):
        table = Table(title, "bytes")
        table.columns[1].justify = "right"
        for part, size in parts.items():
            table.add_row(part, f"{size:,}")
        table.add_section()
        table.add_row("all", f"{sum(parts.values()):,}")
        Console().print(table)
    largest = ", ".join(
        f"{name.partition('.')[0]} {size:,}" for name, size in list(image.functions.items())[:FUNCTIONS_NAMED]
    )
    print(f"Largest functions: {largest}.  Treemaps: {image.elf.parent / 'sizes.svg'}")
