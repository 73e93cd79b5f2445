"""`ska-edge demo`: the main job."""

from __future__ import annotations

import time
from pathlib import Path

import click

from .common import emit, json_option, quiet_option


@click.command()
@click.option(
    "--out", default="out/demo", show_default=True, type=click.Path(), help="Folder for everything it writes."
)
@click.option(
    "--seeds", default=10, show_default=True, type=click.IntRange(2, 1000), help="Repetitions, for the intervals."
)
@click.option("--passes", default=20, show_default=True, type=click.IntRange(1, 1000), help="Passes over the samples.")
@quiet_option
@json_option
def demo(out: str, seeds: int, passes: int, quiet: bool, as_json: bool) -> None:
    """Learn scikit-learn's digits in 8-bit integers, compare, and write a model, figures and a page."""
    from ..demo import run_demo
    from ..report.tables import print_table

    started = time.perf_counter()
    result = run_demo(Path(out), seeds=seeds, passes=passes, progress=not (quiet or as_json))

    def human() -> None:
        print_table(result.rows)
        print(f"\n{result.summary}\n")
        print(f"Took {time.perf_counter() - started:.0f} s.  Open {Path(out) / 'index.html'}")

    emit(as_json, result.to_json(), human)
