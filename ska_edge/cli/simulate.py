"""`ska-edge simulate`: a model's real firmware, learning real samples, with every cycle counted."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import CHECK_FAILED, data_options, emit, json_option, load_data, options, quiet_option

if TYPE_CHECKING:
    from ..simulation import Simulation, Snapshots

build_options = options(
    click.option("--compiler", type=click.Choice(["zig", "gcc"]), help="[default: zig; gcc for AVR]"),
    click.option("--optimise", type=click.Choice(["0", "1", "2", "3", "s", "z"]), help="-O.  [default: by core]"),
)


@click.command()
@click.argument("model", type=click.Path())
@click.option("--board", required=True, help="A board of the catalogue (ska-edge boards) or a board's TOML file.")
@data_options
@click.option("--samples", type=click.IntRange(1), default=100, show_default=True, help="Samples to learn.")
@click.option("--predictions", type=click.IntRange(0), default=20, show_default=True, help="Samples to decide after.")
@click.option(
    "--snapshots",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Then save the state so often in the chip's own memory, cut the power and load it.",
)
@build_options
@click.option("--clock", "clock_hz", type=click.IntRange(1_000), help="Core clock, Hz.  [default: the firmware's]")
@click.option("--flame", type=click.Path(), help="Write a flame graph of learning (SVG).")
@click.option("--trace", "trace_file", type=click.Path(), help="Write a trace for Perfetto (JSON).")
@click.option("--timeline", type=click.Path(), help="Draw the RAM held while one sample is learnt (PNG or SVG).")
@click.option("--out", type=click.Path(file_okay=False), help="Keep the image in this folder.")
@quiet_option
@json_option
def simulate(
    model: str,
    board: str,
    dataset: str | None,
    file: str | None,
    label_column: str,
    samples: int,
    predictions: int,
    snapshots: int,
    compiler: str | None,
    optimise: str | None,
    clock_hz: int | None,
    flame: str | None,
    trace_file: str | None,
    timeline: str | None,
    out: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Build the firmware, run that very image in the simulator, and say what learning a sample takes.

    With --snapshots also what a save takes and wears, and whether the state survives the power.

    Cycles come as lowest, nominal and highest; what is published, what is an estimate is said with them.
    """
    from firmware_sim.catalogue import load_board, load_board_file
    from firmware_sim.errors import SimError

    from .. import codec
    from ..errors import SkaError
    from ..progress import bar
    from ..simulation import simulate as run
    from ..verify import stream_of

    program = codec.load(model)
    try:
        found = load_board_file(board) if board.endswith(".toml") else load_board(board)
    except SimError as error:
        raise SkaError(str(error)) from None
    stream = stream_of(program, load_data(dataset, file, label_column))
    rows = next(iter(stream.values()))
    labels = stream.get("label", -1 + 0 * rows[:, 0])
    with (
        tempfile.TemporaryDirectory(prefix="ska-edge-simulate-") as temporary,
        bar("simulate", samples + predictions, not (quiet or as_json)) as advance,
    ):
        done = run(
            program,
            found,
            rows,
            labels,
            out or temporary,
            samples,
            predictions,
            clock_hz,
            advance,
            snapshots,
            compiler=compiler,
            optimise=optimise,
        )
        files = _draw(done, flame, trace_file, timeline)
    emit(as_json, {"model": model, **done.to_json(), "files": files}, lambda: _print(done))
    if not done.equal or (done.snapshots and not done.snapshots.equal):
        raise SystemExit(CHECK_FAILED)


def _draw(done: Simulation, flame: str | None, trace_file: str | None, timeline: str | None) -> list[str]:
    from firmware_sim import pictures
    from firmware_sim.activity import load_activity
    from firmware_sim.errors import SimError

    from .. import codec
    from ..errors import SkaError

    try:
        if flame:
            codec.write_atomically(Path(flame), pictures.flame_graph(done.learning).encode())
        if trace_file:
            codec.write_atomically(Path(trace_file), pictures.trace(done.machine).encode())
        if timeline:
            activity = load_activity(done.image.elf)
            assert activity is not None
            calls = done.learning.functions["ska_learn"].calls
            moments = pictures.residency(done.learning, activity, "learn", calls)
            other = done.learning.ram_bytes - activity.bytes
            title = f"{done.image.board.name}: RAM while one sample is learnt"
            suffix = Path(timeline).suffix.lstrip(".").lower()
            drawn = pictures.timeline(moments, other, done.image.board.ram_bytes, title, suffix)
            codec.write_atomically(Path(timeline), drawn)
    except SimError as error:
        raise SkaError(str(error)) from None
    return [name for name in (flame, trace_file, timeline) if name]


def _print(done: Simulation) -> None:
    from firmware_sim.tables import show

    show(done.learning)
    clock = done.learning.clock_hz
    for words, cycles in (("learnt sample", done.per_sample), ("prediction", done.per_prediction)):
        if cycles is not None:
            time = f", {1e3 * cycles.nominal / clock:,.3f} ms at {clock / 1e6:g} MHz" if clock else ""
            print(f"Cycles a {words}: {cycles.low:,.0f} / {cycles.nominal:,.0f} / {cycles.high:,.0f}{time}")
    equal = "equal to" if done.equal else "NOT equal to"
    print(f"State {done.state_digest[:16]} after {done.samples} samples, {equal} the judge's")
    if done.snapshots:
        _print_snapshots(done.snapshots, clock, done.learning.wear is not None)


def _print_snapshots(found: Snapshots, clock: int | None, shown: bool) -> None:
    from firmware_sim.tables import show_wear

    for words, cycles in (("save", found.per_save), ("load", found.per_load)):
        time = f", {1e3 * cycles.nominal / clock:,.3f} ms" if clock else ""
        print(f"Cycles a {words}: {cycles.low:,.0f} / {cycles.nominal:,.0f} / {cycles.high:,.0f}{time}")
    if not shown:  # an AVR's report is on the whole run
        show_wear(found.wear)
    if found.saves_until_worn is not None:
        print(f"Saves until the first erasure beyond those guaranteed: {found.saves_until_worn:,}")
    equal = "equal to" if found.equal else "NOT equal to"
    print(f"State {found.state_digest[:16]} loaded after the power was cut, {equal} the one saved last")
