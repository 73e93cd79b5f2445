"""`ska-edge memory`: what learning costs on a chip, by our rules and by backprop."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from .common import CHECK_FAILED, emit, json_option, quiet_option, warn


@click.command()
@click.option("--dataset", default="digits", show_default=True, metavar="NAME", help="digits, mnist or ecg.")
@click.option("--shape", "shapes", multiple=True, help="Networks to compare every method on.  [default: 64-16-10]")
@click.option("--board", "boards", multiple=True, help="Boards.  [default: nrf52840_dk and nucleo_g071rb]")
@click.option("--compiler", "compilers", multiple=True, type=click.Choice(["gcc", "zig"]), help="[default: gcc]")
@click.option("--sweep", "chosen", multiple=True, help="Sweeps by name, none or all (digits).  [default: all]")
@click.option("--passes", type=click.IntRange(1, 1000), default=20, show_default=True, help="For the accuracy.")
@click.option(
    "--samples", type=click.IntRange(1, 1000), default=8, show_default=True, help="To learn in the simulator."
)
@click.option(
    "--splits", type=click.IntRange(1, 100), default=3, show_default=True, help="Into rows to learn and test, averaged."
)
@click.option(
    "--workers", type=click.IntRange(1, 1024), default=1, show_default=True, help="Processes of this machine."
)
@click.option("--quick", is_flag=True, help="Few methods, few points of a sweep, one pass, one split.")
@click.option(
    "--out",
    default="out/memory",
    show_default=True,
    type=click.Path(),
    help="Folder for memory.md, or a page's name ending in .md.",
)
@click.option(
    "--runs",
    default="out/memory/runs",
    show_default=True,
    type=click.Path(),
    help="Folder of accuracies found before, which are not learnt for again.",
)
@quiet_option
@json_option
def memory(
    dataset: str,
    shapes: tuple[str, ...],
    boards: tuple[str, ...],
    compilers: tuple[str, ...],
    chosen: tuple[str, ...],
    passes: int,
    samples: int,
    splits: int,
    workers: int,
    quick: bool,
    out: str,
    runs: str,
    quiet: bool,
    as_json: bool,
) -> None:
    """Compare our rules with backprop in C, in the simulator: flash, RAM, stack, cycles, energy, accuracy.

    Without options: the digits, 64-16-10 on two boards, and sweeps over width, depth, fields, convolution and batch on
    the first of them.  The same command goes on after Ctrl-C.  Exit code 1 where a simulated run leaves other bits than
    the computer.
    """
    from ..data import load_dataset
    from ..errors import SkaError
    from ..footprint import BOARDS, Bench, Measuring, board_named, everyone, jobs, rivals, sweeps
    from ..progress import bar
    from ..report.files import claim, write_files
    from ..report.memory import files, print_rows

    known = {sweep.name: sweep for sweep in sweeps(quick)} if dataset == "digits" else {}
    for name in chosen:
        if name not in (*known, "all", "none"):
            raise SkaError(
                f"sweep {name!r}: allowed are {', '.join([*known, 'all', 'none'])}; sweeps are of the digits"
            )
    wanted = [each for name, each in known.items() if not chosen or name in chosen or "all" in chosen]
    page = Path(out) if out.endswith(".md") else Path(out) / "memory.md"
    data = load_dataset(dataset)
    if quick:
        passes = splits = 1
    bench = Bench(data, passes, samples, Path(runs))
    default = (f"{data.samples.shape[1]}-16-{int(max(bench.labels)) + 1}",)
    found = [board_named(name) for name in boards or BOARDS]
    todo = jobs(found, compilers or ("gcc",), wanted, shapes or default, rivals if quick else everyone)
    for shape in {job.shape for job in todo}:
        bench.network(shape)
    claim(page.parent)
    claim(Path(runs), "--runs")
    measuring = Measuring(bench, todo, splits)
    with bar("measuring", len(measuring), not (quiet or as_json)) as advance:
        rows, refused = measuring.run(workers, advance)
    for name, reason in refused.items():
        warn(f"{name}: not measured: {reason}")
    told = {"dataset": dataset, "passes": passes, "splits": splits, "tested": len(bench.part(0).tested)}
    command = shlex.join(["ska-edge", *(sys.argv[1:] or ["memory"])])
    written = write_files(page.parent, files(rows, wanted, page, command, told, refused))

    def human() -> None:
        print_rows(rows)
        print(f"Page: {page}")

    result = {"rows": [row.to_json() for row in rows], "skipped": refused, "files": [str(path) for path in written]}
    emit(as_json, result, human)
    if any(row.equal is False for row in rows) or (refused and os.environ.get("CI") == "true"):
        raise SystemExit(CHECK_FAILED)
