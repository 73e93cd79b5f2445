"""`ska-edge loihi`: a model on the cores of neuromorphic hardware."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from ..errors import SkaError
from .common import CHECK_FAILED, data_options, emit, json_option, load_data, quiet_option


@click.group()
def loihi() -> None:
    """Map a model onto neuromorphic cores, and estimate its time and energy there."""


def _limits(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, int]:
    limits = {}
    for each in given:
        name, _, value = each.partition("=")
        if not value.isdecimal() or len(value) > 15:
            raise SkaError(f"limit {each[:60]!r}: wanted NAME=NUMBER, as in neurons=512")
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
    from ..loihi.summary import print_map
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
    emit(as_json, result, lambda: print_map(model, found, ways, files))
    for violation in found.violations:
        print(f"{chosen.name}: {violation}", file=sys.stderr)
    if found.violations:
        sys.exit(CHECK_FAILED)


@loihi.command()
@click.argument("model", type=click.Path())
@hardware_option
@limit_option
@data_options
@click.option("--samples", type=click.IntRange(1), default=500, show_default=True, help="How many to learn.")
@click.option(
    "--boards",
    is_flag=False,
    flag_value="all",
    metavar="[NAMES]",
    help="Compare with the boards that hold the model; those named, joined by commas, run in the cycle simulator.",
)
@click.option("--board-samples", type=click.IntRange(1), default=20, show_default=True, help="Samples a board learns.")
@click.option(
    "--cycles",
    type=click.Path(path_type=Path),
    multiple=True,
    help="JSON: what `ska-edge simulate --json` says of a board, or cycles a learning sample, by board.",
)
@click.option("--against", type=click.Path(path_type=Path), help="counts.json of others, of the same samples.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for map.json, activity.npz and counts.json.")
@quiet_option
@json_option
def simulate(
    model: str,
    hardware: str,
    limits: dict[str, int],
    dataset: str | None,
    file: str | None,
    label_column: str,
    samples: int,
    boards: str | None,
    board_samples: int,
    cycles: tuple[Path, ...],
    against: Path | None,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Count what MODEL does on cores while it learns and decides real samples; estimate time and energy.

    Data defaults to the digits.  Several profiles, joined by commas: the first one's cores, each cost an interval over
    all their sources.  What no source prices is named and left out of the sums; unknown stays unknown.
    Exit code 1 where events differ from those of --against.
    """
    import tempfile

    from .. import codec
    from ..loihi.compare import board_list, load_cycles, rows, simulated_cycles
    from ..loihi.counts import differences, load_counts
    from ..loihi.estimate import estimate
    from ..loihi.mapping import open_hardware
    from ..loihi.summary import print_boards, print_estimate
    from ..progress import bar
    from ..report.files import claim, write_files
    from ..verify import stream_of

    chosen = open_hardware(hardware, limits)
    program = codec.load(model)
    data = load_data(dataset if dataset or file else "digits", file, label_column)
    known = {name: span for path in cycles for name, span in load_cycles(path).items()}
    named = board_list(boards) if boards and boards != "all" else []
    expected = load_counts(against) if against else {}
    if out:
        claim(out)
    count = min(samples, len(data.samples))
    with tempfile.TemporaryDirectory() as spare, bar("recording", 2 * count, not (quiet or as_json)) as advance:
        found = estimate(program, chosen, data, count, out or Path(spare), advance=advance)
    if named:
        inputs = stream_of(program, data)
        with bar("simulating boards", len(named) * board_samples, not (quiet or as_json)) as advance:
            known |= simulated_cycles(program, named, inputs, board_samples, advance)
    compared = rows(program, found, known, only=bool(named)) if boards or cycles else []
    counts = {name: section["counts"] for name, section in found.sections.items()}
    wrong = differences(counts, expected)
    result = {"model": model, "data": data.name, **found.to_json(), "rows": [row.to_json() for row in compared]}
    if against:
        result["differences"] = wrong
    if out:
        write_files(out, {"counts.json": (json.dumps(counts, indent=1) + "\n").encode()})

    def human() -> None:
        print_estimate(f"{model} on {chosen.title}, {count} samples of {data.name}", found)
        if compared:
            print_boards(compared)
        if against and not wrong:
            print(f"Events equal to those of {against}.")

    emit(as_json, result, human)
    for line in wrong:
        print(f"{against}: {line}", file=sys.stderr)
    if wrong:
        sys.exit(CHECK_FAILED)
