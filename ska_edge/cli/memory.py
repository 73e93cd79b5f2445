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
@click.option("--quick", is_flag=True, help="Few methods, few points of a sweep, one pass.")
@click.option(
    "--out",
    default="out/memory",
    show_default=True,
    type=click.Path(),
    help="Folder for memory.md, or a page's name ending in .md.",
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
    quick: bool,
    out: str,
    quiet: bool,
    as_json: bool,
) -> None:
    """Compare our rules with backprop in C, in the simulator: flash, RAM, stack, cycles, energy, accuracy.

    Without options: the digits, 64-16-10 on two boards, and sweeps over width, depth, fields, convolution and batch on
    the first of them (about a quarter of an hour).  Exit code 1 where a simulated run leaves other bits than the
    computer.
    """
    from ..data import load_dataset
    from ..errors import SkaError
    from ..footprint import BOARDS, Bench, board_named, everyone, jobs, measure_all, rivals, sweeps
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
    passes = 1 if quick else passes
    bench = Bench(data, passes, samples)
    default = (f"{data.samples.shape[1]}-16-{int(max(bench.labels)) + 1}",)
    found = [board_named(name) for name in boards or BOARDS]
    todo = jobs(found, compilers or ("gcc",), wanted, shapes or default, rivals if quick else everyone)
    for shape in {job.shape for job in todo}:
        bench.network(shape)
    claim(page.parent)
    skipped: dict[str, str] = {}
    with bar("measuring", len(todo), not (quiet or as_json)) as advance:
        rows = measure_all(bench, todo, skipped, advance)
    for name, reason in skipped.items():
        warn(f"{name}: skipped: {reason}")
    told = {"dataset": dataset, "passes": passes, "tested": len(bench.tested)}
    command = shlex.join(["ska-edge", *(sys.argv[1:] or ["memory"])])
    written = write_files(page.parent, files(rows, wanted, page, command, told))

    def human() -> None:
        print_rows(rows)
        print(f"Page: {page}")

    result = {"rows": [row.to_json() for row in rows], "skipped": skipped, "files": [str(path) for path in written]}
    emit(as_json, result, human)
    if any(row.equal is False for row in rows) or (skipped and os.environ.get("CI") == "true"):
        raise SystemExit(CHECK_FAILED)
