"""An image onto a chip: one module a method, each around the tool that already knows how."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from firmware_sim.catalogue import Board, method_of

from .avrdude import Avrdude
from .base import Flashed, Flasher, FlashError, Job, MethodError, PortError, Where
from .esptool import Esptool
from .gdb import Gdb
from .image import ImageError, read_image
from .openocd import Openocd
from .pyocd import Pyocd
from .uf2 import Uf2

METHODS: dict[str, Flasher] = {
    flasher.method: flasher for flasher in (Uf2(), Pyocd(), Openocd(), Avrdude(), Esptool(), Gdb())
}
SECONDS = 180.0
"""How long one call of a tool may take, unless said otherwise."""


def find_flasher(board: Board, method: str | None = None) -> Flasher:
    """The flasher of a method, or of the first in the board's file.  Raises MethodError with those allowed."""
    allowed = [method_of(upload) for upload in board.uploads]
    chosen = method or allowed[0]
    if chosen not in allowed:
        known = "known, but not for this board" if chosen in METHODS else "unknown"
        raise MethodError(f"{board.name}: method {chosen!r} is {known}; allowed are {', '.join(allowed)}")
    return METHODS[chosen]


def flash(
    image: str | Path,
    board: Board,
    method: str | None = None,
    where: Where | None = None,
    verify: bool = True,
    seconds: float = SECONDS,
    dry_run: bool = False,
    said: Callable[[str], None] = lambda text: None,
) -> Flashed:
    """Put an ELF image onto a board.

    `where` is the port, drive or debug server; `seconds` the limit of one call of the tool; `said` hears its progress.
    With `dry_run` nothing is touched but the image's folder, where the tool's own file format is written.

    Raises:
        ImageError: no whole ELF, of another architecture, built for another board, or beyond the flash.
        MethodError: a method or place that the board or the method does not have.
        PortError: nobody is there.
        MissingError: the tool is not installed.
        FlashError: the tool failed or hung, or the chip holds something else afterwards.
    """
    flasher = find_flasher(board, method)
    place = flasher.place(board, where or Where(), dry_run)
    read = read_image(image, board, flasher.regions(board))
    return flasher.flash(Job(board, read, place, verify, seconds, said), dry_run)


__all__ = [
    "METHODS",
    "SECONDS",
    "FlashError",
    "Flashed",
    "Flasher",
    "ImageError",
    "MethodError",
    "PortError",
    "Where",
    "find_flasher",
    "flash",
    "read_image",
]
