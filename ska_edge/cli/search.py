"""`ska-edge search`: the best network for a board and a data set."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import CHECK_FAILED, data_options, emit, json_option, load_data, quiet_option, warn

if TYPE_CHECKING:
    from ..search.hunt import Plan, Search
    from ..search.winner import Verified


@click.command()
@click.option("--board", required=True, help="A board of the catalogue (ska-edge boards) or a board's TOML file.")
@data_options
@click.option("--ram", type=click.IntRange(1), help="Bytes of RAM, stack included.  [default: the board's]")
@click.option("--flash", type=click.IntRange(1), help="Bytes of flash.  [default: the board's]")
@click.option("--milliseconds", type=click.FloatRange(0, min_open=True), help="For a learnt sample.  [default: any]")
@click.option("--trials", type=click.IntRange(1, 100_000), default=60, show_default=True, help="Networks to learn.")
@click.option("--seeds", type=click.IntRange(2, 100), default=3, show_default=True, help="Splits that judge each.")
@click.option(
    "--passes", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Passes over the samples."
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of all that is drawn.")
@click.option(
    "--test-share", default=0.2, show_default=True, type=click.FloatRange(0, 0.9), help="Rows that no choice sees."
)
@click.option(
    "--workers", type=click.IntRange(1, 1024), default=1, show_default=True, help="Processes of this machine."
)
@click.option("--scheduler", metavar="ADDRESS", help="Learn on a Dask cluster, as in tcp://10.0.0.1:8786.")
@click.option(
    "--study", type=click.Path(dir_okay=False), help="Journal to keep and go on from.  [default: OUT.journal]"
)
@click.option("--verify", "verified", type=click.IntRange(1), default=3, show_default=True, help="Of the front, built.")
@click.option("--out", type=click.Path(dir_okay=False), default="best.ska", show_default=True, help="Model to write.")
@quiet_option
@json_option
def search(
    board: str,
    dataset: str | None,
    file: str | None,
    label_column: str,
    ram: int | None,
    flash: int | None,
    milliseconds: float | None,
    workers: int,
    scheduler: str | None,
    study: str | None,
    verified: int,
    out: str,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Find the network, profile and rule parameters that learn a data set best within a board's budget.

    Judged on learning rows that were not learnt; the test rows stay closed to every choice.  The winners are built and
    run in the cycle simulator.  Ctrl-C keeps what is done; the same command goes on.
    """
    from firmware_sim.catalogue import load_board, load_board_file
    from firmware_sim.errors import SimError

    from ..errors import SkaError
    from ..search.budget import Limits
    from ..search.hunt import Plan

    try:
        found = load_board_file(board) if board.endswith(".toml") else load_board(board)
    except SimError as error:
        raise SkaError(str(error)) from None
    if scheduler is not None and workers > 1:
        raise SkaError("search: --workers are processes of this machine, --scheduler has its own; give one of them")
    data = load_data(dataset, file, label_column)
    limits = Limits(ram or found.ram_bytes, flash or found.flash_bytes, milliseconds)
    journal = Path(study) if study else Path(out).with_suffix(".journal")
    plan = Plan(limits, workers=workers, scheduler=scheduler, study=journal, **options)
    try:
        result, images, winner = _run(found, data, plan, verified, progress=not (quiet or as_json))
    except KeyboardInterrupt:
        warn(f"interrupted; what has been learnt is in {journal}, and the same command goes on from there")
        raise
    files = _write(Path(out), result, images, winner)

    def human() -> None:
        from ..report.search import print_search

        print_search(result, images, winner)
        print(f"Written: {', '.join(files)}")

    emit(as_json, _json(result, images, winner, files), human)
    if winner is None or not all(each.simulation.equal for each in images):
        raise SystemExit(CHECK_FAILED)


def _run(
    board: Any, data: Any, plan: Plan, count: int, progress: bool
) -> tuple[Search, list[Verified], Verified | None]:
    from ..progress import bar
    from ..search.hunt import PROFILES_MEASURED, Progress
    from ..search.hunt import search as run
    from ..search.winner import verify_front

    total = PROFILES_MEASURED + plan.trials * plan.seeds + count
    with bar(f"search {board.name}", total, progress) as advance:
        found = run(board, data, plan, Progress(advance, advance))
        images = verify_front(found, count, advance)
    return found, images, next((each for each in images if each.keeps), None)


def _write(out: Path, found: Search, images: list[Verified], winner: Verified | None) -> list[str]:
    """The model, the picture, the page: each whole or not at all."""
    from .. import codec
    from ..report.search import markdown, pareto

    picture, page = out.with_suffix(".svg"), out.with_suffix(".md")
    written = [picture, page]
    if winner is not None:
        meta = {"dataset": found.data.name, "seed": found.plan.seed, "test_share": found.plan.test_share}
        winner.model.save(out, {**meta, "passes": found.plan.passes, "search": winner.trial.to_json()})
        written.insert(0, out)
    codec.write_atomically(picture, pareto(found, winner).svg)
    command = shlex.join(["ska-edge", *sys.argv[1:]])
    codec.write_atomically(page, markdown(found, images, winner, command, picture.name).encode())
    return list(map(str, written))


def _json(found: Search, images: list[Verified], winner: Verified | None, files: list[str]) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "board": found.board.name,
        "dataset": found.data.name,
        "limits": asdict(found.plan.limits),
        "best": winner and {**winner.trial.to_json(), "verified": winner.to_json()},
        "front": [trial.to_json() for trial in found.front],
        "verified": [each.to_json() for each in images],
        "trials": [trial.to_json() for trial in found.trials],
        "unfit": found.unfit,
        "from_journal": found.kept,
        "exhausted": found.exhausted,
        "workers": found.workers,
        "work_seconds": found.work_seconds,
        "wall_seconds": found.wall_seconds,
        "files": files,
    }
