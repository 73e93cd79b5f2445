"""`ska-edge loihi`: a model on the cores of neuromorphic hardware."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import SkaError
from .common import CHECK_FAILED, emit, json_option

if TYPE_CHECKING:
    from ..loihi.mapping import Map


@click.group()
def loihi() -> None:
    """Map a model onto neuromorphic cores, and estimate its time and energy there."""


def _limits(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, int]:
    limits = {}
    for each in given:
        name, _, value = each.partition("=")
        if not value.isdigit():
            raise SkaError(f"limit {each!r}: wanted NAME=NUMBER, as in neurons=512")
        limits[name] = int(value)
    return limits


hardware_option = click.option(
    "--hardware", default="loihi1", show_default=True, help="loihi1, loihi1-sanafe, loihi2, or a TOML file of your own."
)
limit_option = click.option(
    "--limit", "limits", multiple=True, callback=_limits, metavar="NAME=NUMBER", help="Set a limit of the hardware."
)


@loihi.command("map")
@click.argument("model", type=click.Path())
@hardware_option
@limit_option
@click.option("--out", type=click.Path(path_type=Path), help="Folder for map.json and floorplan.svg.")
@json_option
def map_(model: str, hardware: str, limits: dict[str, int], out: Path | None, as_json: bool) -> None:
    """Split MODEL over cores and place them on the mesh.

    Exit code 1 where a limit of the hardware is broken; what would have to shrink is printed then.
    """
    from .. import codec
    from ..loihi.mapping import map_program, open_hardware
    from ..loihi.remedies import remedies
    from ..report.files import claim, write_files
    from ..report.floorplan import floorplan_picture

    chosen = open_hardware(hardware, limits)
    program = codec.load(model)
    if out:
        claim(out)
    found = map_program(program, chosen)
    ways = remedies(found)
    result = {**found.to_json(), "model": model, "remedies": ways}
    files: tuple[Path, ...] = ()
    if out:
        contents = {"map.json": (json.dumps(result, indent=1) + "\n").encode()}
        if not found.violations:
            contents["floorplan.svg"] = floorplan_picture(found).svg
        files = write_files(out, contents)
    emit(as_json, result, lambda: _print_map(model, found, ways, files))
    for violation in found.violations:
        print(f"{chosen.name}: {violation}", file=sys.stderr)
    if found.violations:
        sys.exit(CHECK_FAILED)


def _print_map(model: str, found: Map, ways: list[str], files: tuple[Path, ...]) -> None:
    headings = ("core", "layer", "neurons", "synaptic bytes", "axons in", "axons out", "tile")
    rows = [
        (
            str(number),
            str(core.layer),
            str(core.neurons),
            f"{core.synaptic_bytes:,}",
            f"{core.in_axons:,}",
            f"{core.out_axons:,}",
            "" if (tile := found.tile(core)) is None else f"{tile[0]}, {tile[1]}",
        )
        for number, core in enumerate(found.cores)
    ]
    _table(f"{model} on {found.hardware.title}", headings, rows)
    shares = ", ".join(f"{name.replace('_', ' ')} {share:.1%}" for name, share in found.utilisation().items())
    print(f"Fullest core, or chip, of what is allowed: {shares}.")
    placement = found.placement
    if placement and placement.distance is not None:
        print(f"Axons times hops: {placement.distance:,g}; placed one after the other: {placement.in_order:,g}.")
    for way in ways:
        print(f"would fit with: {way}")
    if found.violations and not ways:
        print("No single change of weights, inputs, layers or hardware would make it fit.")
    for path in files:
        print(path)


def _table(title: str, headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..listing import TABLE_WIDTH

    table = Table(*headings, title=title)
    for row in rows:
        table.add_row(*row)
    console = Console()
    Console(width=max(console.width, TABLE_WIDTH)).print(table)
