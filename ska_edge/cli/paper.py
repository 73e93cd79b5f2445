"""`ska-edge paper`: both papers reproduced."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from .common import CHECK_FAILED, emit, json_option, quiet_option


@click.command()
@click.option(
    "--out", default="out/paper", show_default=True, type=click.Path(), help="Folder for everything it writes."
)
@click.option(
    "--data",
    type=click.Path(),
    help="Folder of the published histories.  [default: SKA_EDGE_DATA, else key figures in the code]",
)
@click.option("--quick", is_flag=True, help="Fewer rates, seeds and integer runs.")
@click.option("--integers/--no-integers", default=True, show_default=True, help="Run the profiles in integers too.")
@quiet_option
@json_option
def paper(out: str, data: str | None, quick: bool, integers: bool, quiet: bool, as_json: bool) -> None:
    """Reproduce every published curve in float64 and in integers, and say what holds and what does not.

    Exit code 1 where a history, a minimum, a sign change or a profile's bar is missed.
    """
    from ..paper import run_paper
    from ..report.paper import print_claims

    started = time.perf_counter()
    result = run_paper(
        Path(out),
        data=Path(data) if data else None,
        quick=quick,
        integers=None if integers else (),
        progress=not (quiet or as_json),
    )

    def human() -> None:
        print_claims(result)
        print(f"\nTook {time.perf_counter() - started:.0f} s.  Open {Path(out) / 'index.html'}")

    emit(as_json, result.to_json(), human)
    if not all(check.holds for check in result.checks):
        sys.exit(CHECK_FAILED)
