"""Cycle-level simulation of the real firmware.  Imports nothing from ska_edge: its independence makes it evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from .catalogue import Board
    from .report import Report

DEFAULT_CYCLES = 20_000_000_000


def run(
    elf: str | Path,
    board: str | Board,
    inputs: bytes = b"",
    cycles: int = DEFAULT_CYCLES,
    clock_hz: int | None = None,
) -> Report:
    """Run an image on a board until it waits, ends or has spent its cycles, and report.

    `inputs`: bytes that come over its serial line.  `cycles`: nominal cycles it may take.  `clock_hz`: the core's
    clock, where the image sets another than the board's file names.

    Raises ImageError, BoardError and MissingError for what cannot be run, a RunError for what went wrong on the way.
    """
    from .catalogue import load_board
    from .machine import Machine
    from .report import report

    found = load_board(board) if isinstance(board, str) else board
    if found.core.name.startswith("avr"):
        from .avr import run_avr

        return run_avr(elf, found, inputs, cycles, clock_hz)[0]
    machine = Machine(elf, found, clock_hz, cycles)
    ended = machine.run()
    if inputs:
        machine.output += machine.send(inputs)
    return report(machine, ended)
