"""Tables for people (rich) and for scripts (CSV).  Rich is imported only when something is printed."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from ..compare import Row

if TYPE_CHECKING:
    from rich.console import Console

TABLE_WIDTH = 100


def ranked(rows: Sequence[Row]) -> list[Row]:
    """Best first: wins and losses in one order."""
    return sorted(rows, key=lambda row: -row.mean)


def percent(mean: float, ci95: float | None) -> str:
    """A share as '97.5 ± 0.5' percent.

    >>> percent(0.9753, 0.0053), percent(0.5, None)
    ('97.5 ± 0.5', '50.0')
    """
    return f"{100 * mean:.1f}" if ci95 is None else f"{100 * mean:.1f} ± {100 * ci95:.1f}"


def print_table(rows: Sequence[Row], console: Console | None = None) -> None:
    """Print a comparison, best first, ours in bold."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        box=None,
        pad_edge=False,
        header_style="bold underline",
        title=f"{rows[0].dataset}, {rows[0].scenario}: {rows[0].metric}, mean and 95 % interval",
    )
    table.add_column("method")
    table.add_column("profile", no_wrap=True)
    for heading in ("accuracy %", "seeds", "weight\nbytes", "state\nbytes", "macs a\nsample", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in ranked(rows):
        numbers = (row.seeds, row.weight_bytes, row.state_bytes, row.macs_per_sample)
        cells = [row.method, row.profile, percent(row.mean, row.ci95), *map(str, numbers), f"{row.seconds:.2f}"]
        table.add_row(*cells, style="bold" if row.family == "ours" else None)
    shown = console or Console()
    shown.print(table, width=max(shown.width, TABLE_WIDTH))


def table_csv(rows: Sequence[Row]) -> bytes:
    """A comparison as CSV, one column a key of the contract."""
    return csv_bytes([field.name for field in fields(Row)], [list(asdict(row).values()) for row in rows])


def csv_bytes(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """A header and rows as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()
