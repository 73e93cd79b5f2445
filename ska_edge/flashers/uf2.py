"""Boards that show up as a drive: the image as UF2 (github.com/microsoft/uf2, README), copied onto it."""

from __future__ import annotations

import glob
import os
import struct
import time
from contextlib import suppress
from pathlib import Path

from firmware_sim import catalogue
from firmware_sim.catalogue import Board

from ..errors import FileError
from .base import Flashed, Flasher, FlashError, Job, MethodError, PortError
from .image import Region

BLOCK_BYTES, PAYLOAD_BYTES = 512, 256
MAGIC, MAGIC_TOO, MAGIC_END = 0x0A324655, 0x9E5D5157, 0x0AB16F30
FAMILY_FLAG = 0x2000
INFO = "INFO_UF2.TXT"
DRIVES = ("/media/*", "/media/*/*", "/run/media/*/*", "/mnt", "/mnt/*", "/Volumes/*")


def encode(segments: tuple[tuple[int, bytes], ...], family_id: int, unit: int = PAYLOAD_BYTES) -> bytes:
    """Segments (address, bytes) as UF2 blocks of 256 bytes each, whole units of erasure, gaps 0xFF as in erased flash.

    >>> len(encode(((0x10000000, b"abc"),), 0xE48BFF56))
    512
    """
    pages: dict[int, bytearray] = {}
    for address, data in segments:
        last = -(-(address + len(data)) // unit) * unit
        for page in range(address // unit * unit, last, PAYLOAD_BYTES):
            pages.setdefault(page, bytearray(b"\xff" * PAYLOAD_BYTES))
        for at in range(len(data)):
            where = address + at
            pages[where - where % PAYLOAD_BYTES][where % PAYLOAD_BYTES] = data[at]
    blocks = []
    for number, (address, payload) in enumerate(sorted(pages.items())):
        head = (MAGIC, MAGIC_TOO, FAMILY_FLAG, address, PAYLOAD_BYTES, number, len(pages), family_id)
        blocks.append(struct.pack("<8I476sI", *head, bytes(payload), MAGIC_END))
    return b"".join(blocks)


def board_id(drive: Path) -> str | None:
    """What a drive's INFO_UF2.TXT says of its board; None where there is no such file."""
    try:
        lines = (drive / INFO).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.lower().startswith("board-id:")), "")


class Uf2(Flasher):
    """A copy; what is read back is the file, for the chip behind the drive cannot be read."""

    method = "uf2"
    option = "mount"
    how = "the folder where the board's drive is mounted, the one with INFO_UF2.TXT in it"

    def find_place(self, board: Board, dry_run: bool) -> str:
        """The one mounted drive of this kind of board."""
        wanted = self._volume(board)
        found = [path for pattern in DRIVES for path in glob.glob(pattern) if board_id(Path(path)) == wanted]
        if len(found) == 1:
            return found[0]
        if dry_run and not found:
            return f"/media/{wanted}"
        note = board.upload(catalogue.Uf2)
        hint = f" ({note.note})" if note and note.note else ""
        several = f": there are {', '.join(found)}" if found else ""
        raise PortError(
            f"{board.name}: {len(found)} drives {wanted!r} are mounted{several}; say --mount, {self.how}{hint}"
        )

    def check_place(self, board: Board, place: str, dry_run: bool) -> None:
        """The drive must be there and that of this kind of board."""
        if dry_run:
            return
        found, wanted = board_id(Path(place)), self._volume(board)
        if found is None:
            raise PortError(f"{board.name}: {place} has no {INFO}; --mount is {self.how}")
        if found != wanted:
            raise MethodError(f"{board.name}: {place} is the drive of a board {found!r}, this one is {wanted!r}")

    def regions(self, board: Board) -> list[Region]:
        """Flash, or RAM, from where an image runs until the power goes."""
        return [Region.flash(board), Region.ram(board)]

    def flash(self, job: Job, dry_run: bool) -> Flashed:
        """Write the whole file under another name, then rename it: a reader sees all of it or none."""
        begin = time.monotonic()
        store = job.board.store
        erased = store is not None and job.image.lies_in(Region.flash(job.board))
        unit = store.erase_bytes if store is not None and erased else None
        content = encode(job.image.segments, job.upload(catalogue.Uf2).family_id, unit or PAYLOAD_BYTES)
        file = job.image.converted(".uf2", content)
        target = Path(job.place) / file.name
        command = ("cp", str(file), str(target))
        equal = False
        if not dry_run:
            job.said(f"$ {' '.join(command)}\n")
            equal = _copy(content, target, job)
        return Flashed(
            image=str(job.image.path),
            board=job.board.name,
            method=self.method,
            place=job.place,
            bytes=job.image.size_bytes,
            commands=(command,),
            verified=equal and job.verify,
            dry_run=dry_run,
            seconds=round(time.monotonic() - begin, 3),
        )

    @staticmethod
    def _volume(board: Board) -> str:
        upload = board.upload(catalogue.Uf2)
        assert upload is not None
        return upload.volume


def _copy(content: bytes, target: Path, job: Job) -> bool:
    """Whether the file is there afterwards and equal.  A board that restarts takes its drive away: that is no error."""
    part = target.with_name(target.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
        if not job.verify:
            return False
        if target.read_bytes() != content:
            raise FlashError(f"{target}: differs from what was written; copy it again")
        return True
    except OSError as error:
        if board_id(target.parent) is None:
            job.said("the drive has gone: the board has restarted; ask it with `ska-edge device MODEL hello`\n")
            return False
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise FileError(f"{target}: cannot be written: {error.strerror}") from None
