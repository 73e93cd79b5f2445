"""`python -m firmware_sim ELF --board B`: run anyone's image and say what it took."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from . import DEFAULT_CYCLES
from .catalogue import load_board, load_board_file
from .errors import SimError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; typed errors become a message and an exit code."""
    as_json = "--json" in (sys.argv if arguments is None else arguments)
    try:
        simulate.main(arguments, prog_name="firmware_sim", standalone_mode=False)
    except SimError as error:
        _fail(str(error), error.exit_code, as_json)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code, as_json)
    except (click.exceptions.Abort, KeyboardInterrupt):
        _fail("interrupted", 130, as_json)


def _fail(message: str, code: int, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"error": message}))
    print(f"firmware_sim: {message}", file=sys.stderr)
    sys.exit(code)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("elf", type=click.Path())
@click.option("--board", required=True, help="A board of the catalogue, or a board's TOML file.")
@click.option("--clock", "clock_hz", type=click.IntRange(1_000), help="The core's clock in Hz.  [default: the board's]")
@click.option("--cycles", type=click.IntRange(1), default=DEFAULT_CYCLES, help="Nominal cycles the run may take.")
@click.option("--input", "inputs", type=click.Path(), help="A file whose bytes come over the serial line.")
@click.option("--flame", type=click.Path(), help="Write a flame graph (SVG).")
@click.option("--trace", "trace_file", type=click.Path(), help="Write a trace for Perfetto (JSON).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def simulate(
    elf: str,
    board: str,
    clock_hz: int | None,
    cycles: int,
    inputs: str | None,
    flame: str | None,
    trace_file: str | None,
    as_json: bool,
) -> None:
    """Run an image until it waits, ends or has spent its cycles: instructions, cycles, stack, RAM, flash, functions."""
    found = load_board_file(board) if board.endswith(".toml") else load_board(board)
    data = _bytes_of(inputs) if inputs else b""
    result, machine = _run(elf, found, clock_hz, cycles, data)
    if flame:
        from .pictures import flame_graph

        _write(flame, flame_graph(result))
    if trace_file:
        from .pictures import trace

        _write(trace_file, trace(machine))
    if as_json:
        print(json.dumps(result.to_json()))
    else:
        from .tables import show

        show(result)


def _bytes_of(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SimError(f"{path}: cannot be read ({error.strerror})") from None


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise SimError(f"{path}: cannot be written ({error.strerror})") from None


def _run(elf: str, board: Any, clock_hz: int | None, cycles: int, inputs: bytes) -> tuple[Any, Any]:
    if board.core.name.startswith("avr"):
        from .avr import run_avr

        return run_avr(elf, board, inputs, cycles, clock_hz)
    from .machine import Machine
    from .report import report

    machine = Machine(elf, board, clock_hz, cycles)
    ended = machine.run()
    if inputs:
        machine.output += machine.send(inputs)
    return report(machine, ended), machine


if __name__ == "__main__":
    main()
