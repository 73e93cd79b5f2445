"""`ska-edge flash`: an image, or a model that is built first, onto a board."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import emit, json_option, quiet_option, warn

if TYPE_CHECKING:
    from firmware_sim.catalogue import Board

    from ..flashers import Flashed


@click.command()
@click.argument("image_or_model", type=click.Path())
@click.option("--board", required=True, help="A board of the catalogue (ska-edge boards) or a board's TOML file.")
@click.option("--method", help="uf2, pyocd, openocd, avrdude, esptool or gdb.  [default: the board's first]")
@click.option("--port", help="avrdude, esptool: serial port.  pyocd, openocd: the probe's serial number, if several.")
@click.option("--mount", help="uf2: folder where the board's drive is mounted.  [default: found]")
@click.option("--target", metavar="HOST:NUMBER", help="gdb: where a stub listens; also the path of a socket.")
@click.option("--verify/--no-verify", default=True, show_default=True, help="Read back and compare.")
@click.option(
    "--timeout", default=180.0, show_default=True, type=click.FloatRange(0.1, 3600), help="Seconds for one tool call."
)
@click.option("--dry-run", is_flag=True, help="Build and convert, then only say what would be done.")
@quiet_option
@json_option
def flash(
    image_or_model: str,
    board: str,
    method: str | None,
    port: str | None,
    mount: str | None,
    target: str | None,
    verify: bool,
    timeout: float,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Put firmware.elf, or a model (.ska) that is built first, onto a board, and read it back.

    An image for another board, or one that does not fit, is refused before anything is written.
    What the tool says goes to standard error.
    """
    from .. import flashers

    found = _board(board)
    flashers.find_flasher(found, method)  # before a minute is spent on building
    image = _built(image_or_model, found) if image_or_model.endswith(".ska") else Path(image_or_model)
    done = flashers.flash(
        image,
        found,
        method,
        flashers.Where(port, mount, target),
        verify,
        timeout,
        dry_run,
        (lambda text: None) if quiet else _say,
    )
    if not (done.verified or dry_run):
        warn(f"{done.board}: written, but not read back and compared")
    model = {"model": image_or_model} if image_or_model.endswith(".ska") else {}
    emit(as_json, {**model, **done.to_json()}, lambda: _print(done))


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _board(name: str) -> Board:
    from firmware_sim.catalogue import load_board, load_board_file
    from firmware_sim.errors import SimError

    from ..errors import SkaError

    try:
        return load_board_file(name) if name.endswith(".toml") else load_board(name)
    except SimError as error:
        raise SkaError(str(error)) from None


def _built(model: str, board: Board) -> Path:
    """The model's image, in the folder where `ska-edge build` would put it."""
    from .. import codec, firmware

    program = codec.load(model)
    print(f"building {model} for {board.name}", file=sys.stderr)
    image = firmware.build(program, board, f"{Path(model).stem}-{board.name}")
    if not image.ran:
        warn(f"{board.name}: this port has been built but has never run, neither on the board nor in an emulator")
    return image.elf


def _print(done: Flashed) -> None:
    if done.dry_run:
        for command in done.commands:
            print(shlex.join(command))
        return
    compared = "read back and equal" if done.verified else "not compared"
    print(f"{done.image}: {done.bytes:,} bytes on {done.board} by {done.method}, {compared}, {done.seconds:.1f} s")
