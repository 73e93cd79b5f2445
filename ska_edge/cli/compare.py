"""`ska-edge compare`: the learning benchmark."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from .common import CHECK_FAILED, emit, json_option, quiet_option


@click.command()
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    default=("digits",),
    help="digits, mnist, ecg or all; repeatable.  [default: digits]",
)
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    help="few-shot, few-labels, class-incremental, drift, novelty, ablation; repeatable.  [default: all but ablation]",
)
@click.option("--seeds", type=click.IntRange(1, 1000), help="Repetitions.  [default: the scenario's]")
@click.option("--passes", type=click.IntRange(1, 1000), help="Passes over the samples.  [default: the scenario's]")
@click.option("--only", multiple=True, help="Methods whose name or profile contains this, or a family; repeatable.")
@click.option("--final", is_flag=True, help="Open the test rows; without it, rows for choices judge.")
@click.option(
    "--out",
    default="out/compare",
    show_default=True,
    type=click.Path(),
    help="Folder for benchmark.md, or a page's name ending in .md.",
)
@click.option(
    "--runs",
    default="out/compare/runs",
    show_default=True,
    type=click.Path(),
    help="Folder of finished runs, which are not made again.",
)
@quiet_option
@json_option
def compare(
    datasets: tuple[str, ...],
    scenarios: tuple[str, ...],
    seeds: int | None,
    passes: int | None,
    only: tuple[str, ...],
    final: bool,
    out: str,
    runs: str,
    quiet: bool,
    as_json: bool,
) -> None:
    """Compare our rules with backprop, other rules and controls: table, pictures and a page.

    A run that was cut short is taken up again by the same command.  Exit code 1 where a goal is missed with --final.
    """
    from ..compare.benchmark import DATASETS, Choice, run_benchmark
    from ..errors import DataError
    from ..report.benchmark import files, print_finding
    from ..report.files import claim, write_files

    for name in datasets:
        if name not in (*DATASETS, "all"):
            raise DataError(f"data set {name!r}: allowed are {', '.join(DATASETS)}, all")
    page = Path(out) if out.endswith(".md") else Path(out) / "benchmark.md"
    claim(page.parent)
    claim(Path(runs), "--runs")
    chosen = tuple(name for name in DATASETS if name in datasets or "all" in datasets)
    benchmark = run_benchmark(
        Choice(chosen, scenarios, only, seeds, passes, final), Path(runs), progress=not (quiet or as_json)
    )
    command = shlex.join(["ska-edge", *_arguments(datasets, scenarios, seeds, passes, only, final, out)])
    written = write_files(page.parent, files(benchmark, page, command))

    def human() -> None:
        for finding in benchmark.findings:
            print_finding(finding)
        print(f"Page: {page}")

    result = benchmark.to_json()
    emit(as_json, {**result, "files": [str(path) for path in written]}, human)
    if final and not all(goal["holds"] for goal in result["goals"]):
        sys.exit(CHECK_FAILED)


def _arguments(
    datasets: tuple[str, ...],
    scenarios: tuple[str, ...],
    seeds: int | None,
    passes: int | None,
    only: tuple[str, ...],
    final: bool,
    out: str,
) -> list[str]:
    """The command line that gives this page again, defaults left out."""
    found = ["compare"]
    for name in datasets:
        found += ["--dataset", name]
    for scenario in scenarios:
        found += ["--scenario", scenario]
    found += [] if seeds is None else ["--seeds", str(seeds)]
    found += [] if passes is None else ["--passes", str(passes)]
    for word in only:
        found += ["--only", word]
    return [*found, *(["--final"] if final else []), "--out", out]
