"""The image to be flashed: a whole ELF file, of the board's architecture, built for it, within its flash."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from firmware_sim.catalogue import Board

from .. import elf
from ..chips import BOOT2_BYTES, IMAGE_DEFINITION, IMAGE_DEFINITION_WITHIN, ChipError, check_boot2
from ..errors import FileError, SkaError
from ..firmware import BUILT_FOR, family

_MACHINES = {40: "arm", 83: "avr", 243: "riscv"}
_HEADER_BYTES = 52
_IMAGE_DEFINITION = IMAGE_DEFINITION[0].to_bytes(4, "little")
_BUILT_FOR = re.compile(rb"\0" + BUILT_FOR.encode() + rb"([a-z0-9_]{1,60})\0")


class ImageError(SkaError):
    """An image that this board must not get: the message has names and bytes."""


@dataclass(frozen=True)
class Image:
    """An image that may go onto its board.  `segments`: (address, bytes) of all that is stored."""

    path: Path
    segments: tuple[tuple[int, bytes], ...]
    entry: int
    read: elf.Elf

    @property
    def size_bytes(self) -> int:
        """Bytes to be stored."""
        return sum(len(data) for _, data in self.segments)

    def lies_in(self, region: Region) -> bool:
        """Whether all of it does."""
        return all(region.holds(address, len(data)) for address, data in self.segments)

    def converted(self, suffix: str, content: bytes) -> Path:
        """The image as another file format, beside the ELF: the file that the build made, if it is the same.

        Somebody else's file of that name is left alone; then ours has `.flash` before its suffix.
        """
        path = self.path.with_suffix(suffix)
        try:
            if path.exists() and path.read_bytes() != content:
                path = self.path.with_suffix(f".flash{suffix}")
            if not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)
        except OSError as error:
            raise FileError(f"{path}: cannot be written: {error.strerror}") from None
        return path

    def binary(self) -> tuple[int, Path]:
        """Lowest address, and the raw bytes from there on as a file."""
        start, data = self.read.binary()
        return start, self.converted(".bin", data)

    def hex(self) -> Path:
        """As Intel HEX."""
        return self.converted(".hex", self.read.intel_hex().encode())


@dataclass(frozen=True)
class Region:
    """Addresses that a flasher may write."""

    name: str
    start: int
    bytes: int

    @classmethod
    def flash(cls, board: Board) -> Region:
        """Where code goes, without what is reserved; a second stage that an image must bring along is its own."""
        start, size = board.usable(board.code)
        if board.mcu == "RP2040":
            start, size = board.code.origin, size + start - board.code.origin
        return cls(board.code.name, start, size)

    @classmethod
    def ram(cls, board: Board) -> Region:
        """Where data go."""
        return cls(board.data.name, *board.usable(board.data))

    def holds(self, address: int, size: int) -> bool:
        """Whether all these bytes are inside."""
        return self.start <= address and address + size <= self.start + self.bytes


def read_image(path: str | Path, board: Board, regions: Sequence[Region]) -> Image:
    """Read an ELF image and refuse what the board must not get.  Raises ImageError, FileError."""
    path = Path(path).absolute()
    machine, entry, built = _header(path)
    wanted = family(board)
    found = _MACHINES.get(machine, f"machine {machine}")
    if found != wanted:
        raise ImageError(f"{path.name}: an image for {found}, but {board.name} is {wanted} ({board.core.name})")
    if built not in ("", board.name):
        raise ImageError(f"{path.name}: built for {built}, not for {board.name}; build it anew")
    try:
        read = elf.read_elf(path)
    except SkaError:
        raise
    except Exception as error:  # pyelftools raises whatever a damaged table leads it into
        raise ImageError(f"{path.name}: damaged: {error}; build or copy it anew") from None
    if not read.segments:
        raise ImageError(f"{path.name}: holds nothing to be stored; was it linked?")
    for address, data in read.segments:
        _check_place(path, board, regions, address, len(data))
    image = Image(path, tuple(sorted(read.segments)), entry, read)
    _check_bootable(image, board)
    return image


def _check_place(path: Path, board: Board, regions: Sequence[Region], address: int, size: int) -> None:
    over = {}
    for region in regions:
        if region.holds(address, size):
            return
        inside = min(address + size, region.start + region.bytes) - max(address, region.start)
        if inside > 0:
            over[region.name] = size - inside
    may = " or ".join(f"{r.name} ({r.bytes:,} bytes from 0x{r.start:X})" for r in regions)
    much = "; ".join(f"{size:,} bytes are outside {name}" for name, size in over.items()) or "none of them is inside"
    raise ImageError(
        f"{path.name}: {size:,} bytes from 0x{address:X} do not fit {board.name}'s {may}: {much}; "
        "use a narrower profile, smaller layers or a larger board"
    )


def _check_bootable(image: Image, board: Board) -> None:
    """Refuse what Raspberry Pi's boot ROMs would not run; the other chips run what stands at the start of flash."""
    name, start = image.path.name, image.segments[0][0]
    if board.mcu == "RP2040" and image.lies_in(Region.ram(board)):
        if image.entry & ~1 != start:
            raise ImageError(
                f"{name}: an image in RAM is entered at its first byte, 0x{start:X}; "
                f"this one begins at 0x{image.entry & ~1:X}"
            )
    elif board.mcu == "RP2040":
        first = image.read.binary()[1][:BOOT2_BYTES] if start == board.code.origin else b""
        try:
            check_boot2(first)
        except ChipError as error:
            raise ImageError(
                f"{name}: {error} at 0x{board.code.origin:X}, so the RP2040's boot ROM would not start this image; "
                "build it anew, or link a second stage in front"
            ) from None
    elif board.mcu.startswith("RP2350") and _IMAGE_DEFINITION not in image.read.binary()[1][:IMAGE_DEFINITION_WITHIN]:
        raise ImageError(
            f"{name}: no image definition in its first {IMAGE_DEFINITION_WITHIN} bytes, so the RP2350's boot ROM "
            "would not start this image; build it anew, or link one in"
        )


def _header(path: Path) -> tuple[int, int, str]:
    """Machine, entry and board of a whole 32-bit little-endian ELF file; images of others do not name a board."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from None
    if data[:4] != b"\x7fELF":
        raise ImageError(f"{path.name}: no ELF file; give the firmware.elf of ska-edge build, or a model (.ska)")
    if len(data) < _HEADER_BYTES or data[4:6] != b"\1\1":
        raise ImageError(f"{path.name}: no 32-bit little-endian ELF file of {_HEADER_BYTES} bytes or more")
    machine, entry, programs, sections = struct.unpack_from("<2xH4x3I", data, 16)
    each_program, program_count, each_section, section_count = struct.unpack_from("<4H", data, 42)
    ends = [programs + each_program * program_count, sections + each_section * section_count]
    if ends[0] <= len(data) and each_program >= 32:
        for at in range(programs, ends[0], each_program):
            offset, _, _, size = struct.unpack_from("<4I", data, at + 4)
            ends.append(offset + size)
    if max(ends) > len(data):
        raise ImageError(f"{path.name}: cut off: {len(data):,} bytes of at least {max(ends):,}; build or copy it anew")
    built = _BUILT_FOR.search(data)
    return machine, entry, built.group(1).decode() if built else ""
