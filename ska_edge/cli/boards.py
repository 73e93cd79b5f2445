"""`ska-edge boards`: the catalogue, one board, or what fits where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..errors import SkaError
from .common import emit, json_option

if TYPE_CHECKING:
    from firmware_sim.catalogue import Board

    from ..fits import Fit


@click.command()
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--fits", "model", type=click.Path(), metavar="MODEL", help="What holds this .ska, by what margin.")
@json_option
def boards(name: str | None, model: str | None, as_json: bool) -> None:
    """List the boards, or show one with all sources, or say which boards hold a model.

    NAME is a board of the catalogue or a path to a board's TOML file.
    """
    from firmware_sim.catalogue import board_names, load_board, load_board_file
    from firmware_sim.errors import SimError

    try:
        chosen = [load_board_file(name) if name.endswith(".toml") else load_board(name)] if name else []
        known = chosen or [load_board(each) for each in board_names()]
    except SimError as error:
        raise SkaError(str(error)) from None
    if model is not None:
        _show_fits(model, known, bool(chosen), as_json)
    elif chosen:
        emit(as_json, chosen[0].to_json(), lambda: _print_board(chosen[0]))
    else:
        emit(as_json, {"boards": [_summary(board) for board in known]}, lambda: _print_boards(known))


def _show_fits(model: str, known: list[Board], alone: bool, as_json: bool) -> None:
    from .. import codec
    from ..fits import fit, remedies

    program = codec.load(model)
    found = sorted((fit(program, board) for board in known), key=lambda one: (one.board.ram_bytes, one.board.name))
    rows = [one.to_json() for one in found]
    if alone and not found[0].fits:
        ways = remedies(program, found[0].board)
        rows[0]["remedies"] = [vars(way) for way in ways]
    result = {"model": model, "program_digest": program.program_digest, "boards": rows}

    def human() -> None:
        _print_fits(model, found)
        if alone:
            _print_parts(found[0])
        for way in rows[0].get("remedies", []):
            print(f"remedy: {way['text']}")

    emit(as_json, result, human)


def _summary(board: Board) -> dict[str, Any]:
    from firmware_sim.catalogue import method_of

    return {
        "name": board.name,
        "title": board.title,
        "mcu": board.mcu,
        "core": board.core.name,
        "clock_hz": board.clock.hz,
        "ram_bytes": board.ram_bytes,
        "flash_bytes": board.flash_bytes,
        "upload": [method_of(upload) for upload in board.uploads],
        "emulator": board.emulator and f"{board.emulator.kind} {board.emulator.machine}",
        "silicon": board.silicon,
    }


def _print_boards(known: list[Board]) -> None:
    from rich.table import Table

    table = Table("board", "chip", "core", "MHz", "RAM", "flash", "upload", "emulator", title="Boards")
    table.columns[0].no_wrap = True
    for board in sorted(known, key=lambda board: (not board.silicon, board.name)):
        row = _summary(board)
        flash = "the same" if board.shared else f"{board.flash_bytes:,}"
        numbers = (_mhz(board), f"{board.ram_bytes:,}", flash)
        table.add_row(board.name, board.mcu, board.core.name, *numbers, ", ".join(row["upload"]), row["emulator"] or "")
    _print(table)
    print("RAM: the one region that holds the arena.  Bytes, without bootloaders.  Sources: `ska-edge boards NAME`.")


def _print_board(board: Board) -> None:
    from rich.table import Table

    from firmware_sim.catalogue import method_of

    table = Table("", "", "source", title=f"{board.title} ({board.name}): {board.mcu}", show_lines=True)
    packed = "packed 16-bit instructions" if board.core.dsp else "no packed instructions"
    table.add_row("core", f"{board.core.name}, FPU {board.core.fpu}, {packed}", board.core.source)
    table.add_row("clock", f"{_mhz(board)} MHz" if board.clock.hz else "none", board.clock.source)
    for memory in board.memories:
        waits = "" if memory.wait_states is None else f" ({memory.wait_states})"
        space = "" if memory.space == "unified" else f" of {memory.space} space"
        words = f"{memory.bytes:,} bytes of {memory.kind} at {memory.origin:#010x}{space}, {memory.access}{waits}"
        table.add_row(f"memory {memory.name}: {memory.role}", _noted(words, memory.note), memory.source)
    for taken in board.reserved:
        table.add_row(
            f"reserved in {taken.memory}", f"{taken.bytes:,} bytes at its {taken.at}: {taken.what}", taken.source
        )
    if board.store:
        store = board.store
        words = f"erase {_known(store.erase_bytes)}, write {_known(store.write_bytes)}"
        words = f"{words}, {_known(store.endurance_cycles, 'cycles')}"
        sources = "; ".join(filter(None, (store.source, store.endurance_source)))
        table.add_row(f"snapshots in {store.memory}", _noted(words, store.note), sources)
    for upload in board.uploads:
        fields = {key: value for key, value in vars(upload).items() if key not in ("note", "source")}
        words = ", ".join(f"{key} {_shown(key, value)}" for key, value in fields.items())
        table.add_row(f"upload: {method_of(upload)}", _noted(words, upload.note), upload.source)
    for serial in board.serials:
        at = "" if serial.base is None else f" at {serial.base:#x} ({serial.driver})"
        pins = f", TX {serial.tx}, RX {serial.rx}" if serial.tx else ""
        words = f"{serial.peripheral}{at}{pins}"
        table.add_row(f"serial: {serial.kind}", _noted(words, serial.note), serial.source)
    for current in board.run_currents:
        words = f"{current.milliamperes} mA at {current.clock_hz / 1e6:g} MHz, {current.volts} V: {current.conditions}"
        table.add_row("run current", words, current.source)
    if board.emulator:
        words = f"{board.emulator.program}, {board.emulator.machine}"
        table.add_row("emulator", _noted(words, board.emulator.note), board.emulator.source)
    _print(table)
    if board.notes:
        print(board.notes)
    print(f"Ours: {board.ram_bytes:,} bytes of RAM, {board.flash_bytes:,} bytes for code and constants.")


def _print_fits(model: str, found: list[Fit]) -> None:
    from rich.table import Table

    from ..fits import RESERVES_MEASURED

    headings = ("fits", "RAM: needs / has", "margin", "flash: needs / has", "margin", "tightest", "snapshots")
    table = Table("board", *headings, title=f"{model}: bytes, reserves included")
    for one in found:
        cells = [words for need in one.needs for words in (f"{need.needed:,} / {need.available:,}", f"{need.margin:,}")]
        cells += ["in RAM", ""] if one.board.shared else []
        kept = {None: "unknown", True: "yes", False: "no"}[one.snapshots_fit]
        tight = f"{one.tightest.resource} {one.tightest.share_left:.0%}" if one.fits else one.tightest.resource
        table.add_row(one.board.name, "yes" if one.fits else "[bold]no[/]", *cells, tight, kept)
    _print(table)
    if not RESERVES_MEASURED:
        print("Tensors are planned to the byte; code, stack and the port's variables are reserves, not yet measured.")
    print("Tightest: the memory with the smallest share left.  Snapshots: do two power-fail-safe slots fit beside it?")


def _print_parts(one: Fit) -> None:
    for need in one.needs:
        parts = ", ".join(f"{part.replace('_', ' ')} {count:,}" for part, count in need.parts.items() if count)
        print(f"{need.resource}: {parts}")


def _print(table: Any) -> None:
    from rich.console import Console

    from ..listing import TABLE_WIDTH

    console = Console()
    Console(width=max(console.width, TABLE_WIDTH)).print(table)


def _mhz(board: Board) -> str:
    return "" if board.clock.hz is None else f"{board.clock.hz / 1e6:g}"


def _noted(words: str, note: str) -> str:
    return f"{words}; {note}" if words and note else words or note


def _known(count: int | None, unit: str = "bytes") -> str:
    return f"unknown {unit}" if count is None else f"{count:,} {unit if count != 1 else unit.rstrip('s')}"


def _shown(key: str, value: object) -> str:
    return f"{value:#x}" if key in ("family_id", "offset") else str(value)
