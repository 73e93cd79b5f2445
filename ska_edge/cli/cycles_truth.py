"""`ska-edge cycles-truth`: the simulator against emulators of others and cycles published for silicon."""

from __future__ import annotations

import os
from pathlib import Path

import click

from .common import CHECK_FAILED, emit, json_option


@click.command("cycles-truth")
@click.option("--rp2040js", "packages", type=click.Path(), help="Folder that holds node_modules/rp2040js.")
@click.option("--table", type=click.Path(), help="Write the table as Markdown.")
@json_option
def cycles_truth(packages: str | None, table: str | None, as_json: bool) -> None:
    """Compare simulated cycles with every reference there is; exit code 1 where a bar is missed."""
    from .. import codec
    from ..truth import Row, truths

    skipped: dict[str, str] = {}
    rows = list(truths(skipped, Path(packages) if packages else None))
    if table:
        codec.write_atomically(Path(table), markdown(rows).encode())

    def human() -> None:
        from rich.console import Console
        from rich.table import Table

        shown = Table("reference", "core", "kernel", "simulated", "truth", "error")
        for row in rows:
            shown.add_row(row.reference, row.core, row.kernel, *_numbers(row))
        Console().print(shown)
        for name, reason in skipped.items():
            print(f"{name}: skipped: {reason}")

    def failed(row: Row) -> bool:
        return not row.holds

    emit(as_json, {"rows": [row.to_json() for row in rows], "skipped": skipped}, human)
    if any(map(failed, rows)) or (skipped and os.environ.get("CI") == "true"):
        raise SystemExit(CHECK_FAILED)


def markdown(rows: list) -> str:  # type: ignore[type-arg]
    """The table for docs/simulator.md."""
    lines = ["| reference | core | kernel | simulated | truth | error | source |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        quoted = f'; "{row.quoted}"' if row.quoted else ""
        cells = (row.reference, row.core, row.kernel, *_numbers(row), f"{row.source}{quoted}")
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _numbers(row) -> tuple[str, str, str]:  # type: ignore[no-untyped-def]
    if row.truth is None:
        return "", "none", row.note
    interval = "" if row.low == row.high else f" ({row.low:,.6g} to {row.high:,.6g})"
    error = "equal" if row.simulated == row.truth else f"{row.relative_error:+.2%}"
    return f"{row.simulated:,.6g}{interval}", f"{row.truth:,.6g}", error
