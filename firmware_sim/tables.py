"""A report as tables in a terminal."""

from __future__ import annotations

from typing import Any

from .report import Report
from .timing import Cycles
from .wear import Wear

FUNCTIONS_SHOWN = 12


def show(report: Report) -> None:
    """Print a report."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    print(f"{report.image} on {report.board}: {report.core} ({report.core_status}); {report.ended}")
    if report.output:
        print(f"it said: {report.output[:200]!r}")
    table = Table("", "lowest", "nominal", "highest")
    _right(table, 1, 2, 3)
    table.add_row("instructions", "", f"{report.instructions:,}", "")
    table.add_row("cycles", *_interval(report.cycles))
    if report.seconds is not None:
        table.add_row(f"ms at {(report.clock_hz or 0) / 1e6:g} MHz", *(f"{1e3 * each:,.3f}" for each in report.seconds))
    if report.energy is not None:
        table.add_row("uJ, the chip alone", *(f"{1e6 * each:,.2f}" for each in report.energy.joules))
    console.print(table)
    if report.energy is None:
        print("Energy: unknown; no document known here names this chip's current.")
    bound = report.stack_bound
    words = "" if bound is None else f"; bound {bound.bytes if bound.bytes is not None else 'unknown'} ({bound.words})"
    print(f"RAM: {report.ram_bytes:,} bytes of variables, {report.stack_bytes:,} of stack at the deepest{words}")
    print(f"Flash: {report.flash_bytes:,} bytes")
    if report.wear is not None:
        show_wear(report.wear)
    _shares(console, "function", report.functions, report, FUNCTIONS_SHOWN)
    if report.operations:
        _shares(console, "phase", report.phases(), report, FUNCTIONS_SHOWN)
        table = Table("operation", "layer", "phase", "cycles", "work a run")
        _right(table, 3, 4)
        for one, share in sorted(report.operations.items(), key=lambda item: -item[1].cycles.nominal)[:FUNCTIONS_SHOWN]:
            name = f"{one.section}: {one.name} <- {one.verb}"
            table.add_row(name, str(one.layer or ""), one.phase, f"{share.cycles.nominal:,.0f}", f"{one.work:,}")
        console.print(table)
    if report.unmodelled:
        names = ", ".join(f"{address:#010x}" for address in sorted(report.unmodelled)[:8])
        print(f"Registers that only remember what was written: {len(report.unmodelled)} ({names} ...)")


def show_wear(wear: Wear) -> None:
    """Print what was written to a memory that wears."""
    worn = max(wear.pages, key=lambda page: wear.pages[page].erased)
    used = wear.endurance_used
    of = f"{used:.3%} of the {wear.endurance_cycles:,} guaranteed" if used is not None else "guaranteed are unknown"
    units = {1: "bytes", 4: "words"}.get(wear.unit_bytes, f"units of {wear.unit_bytes} bytes")
    erased = "" if wear.page_bytes == 1 else f", {wear.erasures:,} erasures of pages of {wear.page_bytes:,} bytes"
    print(f"Written to {wear.memory}: {wear.units:,} {units}{erased}; busy for {wear.busy.nominal:,.0f} cycles")
    print(f"Wear: {len(wear.pages):,} {'bytes' if wear.page_bytes == 1 else 'pages'}, most at {worn:#x}:")
    print(f"  {wear.most_erased:,} erasures, {of}")
    if wear.beyond.count:
        print(
            f"TOO OFTEN: {wear.beyond.count:,} writes beyond the {wear.writes_per_word} allowed a word between two "
            f"erasures, first in {wear.beyond.first}"
        )
    if wear.unset.count:
        print(f"NOT SET: {wear.unset.count:,} writes of a 1 over a 0, which stays, first in {wear.unset.first}")


def _shares(console: Any, title: str, shares: dict[str, Any], report: Report, most: int) -> None:
    from rich.table import Table

    table = Table(title, "calls", "instructions", "own cycles", "share", "with what it calls")
    _right(table, 1, 2, 3, 4, 5)
    whole = report.cycles.nominal or 1.0
    for name, share in sorted(shares.items(), key=lambda item: -item[1].cycles.nominal)[:most]:
        own = share.cycles.nominal
        total = f"{share.total.nominal:,.0f}" if share.total.nominal else ""
        table.add_row(
            name,
            f"{share.calls:,}" if share.calls else "",
            f"{share.instructions:,}",
            f"{own:,.0f}",
            f"{own / whole:.1%}",
            total,
        )
    console.print(table)


def _interval(cycles: Cycles) -> list[str]:
    return [f"{each:,.0f}" for each in cycles]


def _right(table: Any, *columns: int) -> None:
    for column in columns:
        table.columns[column].justify = "right"
