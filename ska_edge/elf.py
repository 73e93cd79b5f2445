"""What an ELF image holds: sections, symbols, and the bytes to be put into memory, also as binary or Intel HEX."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import FileError, MissingError

HEX_ROW_BYTES = 16


@dataclass(frozen=True)
class Section:
    """A section that takes up memory on the chip.  `stored`: it also takes up bytes of the image."""

    name: str
    address: int
    bytes: int
    stored: bool
    writable: bool


@dataclass(frozen=True)
class Symbol:
    """A function or an object, and the section it lies in."""

    name: str
    address: int
    bytes: int
    function: bool
    section: str


@dataclass(frozen=True)
class Elf:
    """An image that has been read.  `segments`: (load address, bytes) of everything that is stored."""

    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    segments: tuple[tuple[int, bytes], ...]

    def binary(self) -> tuple[int, bytes]:
        """Lowest load address and everything from there on, gaps filled with 0xFF as in erased flash."""
        start = min(address for address, _ in self.segments)
        image = bytearray()
        for address, data in sorted(self.segments):
            image += b"\xff" * (address - start - len(image))
            image[address - start : address - start + len(data)] = data
        return start, bytes(image)

    def intel_hex(self) -> str:
        """Intel HEX with extended linear addresses."""
        rows, upper = [], 0
        for address, data in sorted(self.segments):
            at = 0
            while at < len(data):
                where = address + at
                if where >> 16 != upper:
                    upper = where >> 16
                    rows.append(_record(4, 0, upper.to_bytes(2, "big")))
                size = min(HEX_ROW_BYTES, 0x10000 - (where & 0xFFFF), len(data) - at)
                rows.append(_record(0, where & 0xFFFF, data[at : at + size]))
                at += size
        return "\n".join([*rows, _record(1, 0, b"")]) + "\n"


def read_elf(path: str | Path) -> Elf:
    """Read an image.  Raises FileError where it is none, MissingError without pyelftools."""
    try:
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile
    except ImportError:
        raise MissingError("ELF: pyelftools is not installed; pip install pyelftools") from None
    try:
        with Path(path).open("rb") as file:
            return _read(ELFFile(file))
    except (OSError, ELFError) as error:
        raise FileError(f"{path}: no ELF image: {error}") from None


def _read(elf: Any) -> Elf:
    names = [section.name for section in elf.iter_sections()]
    sections = tuple(
        Section(
            section.name,
            section["sh_addr"],
            section["sh_size"],
            section["sh_type"] != "SHT_NOBITS",
            bool(section["sh_flags"] & 1),
        )
        for section in elf.iter_sections()
        if section["sh_flags"] & 2 and section["sh_size"]
    )
    table = elf.get_section_by_name(".symtab")
    symbols = tuple(
        Symbol(
            symbol.name,
            symbol["st_value"],
            symbol["st_size"],
            symbol["st_info"]["type"] == "STT_FUNC",
            names[symbol["st_shndx"]],
        )
        for symbol in (table.iter_symbols() if table else ())
        if isinstance(symbol["st_shndx"], int) and symbol["st_info"]["type"] in ("STT_FUNC", "STT_OBJECT")
    )
    segments = tuple(
        (segment["p_paddr"], segment.data())
        for segment in elf.iter_segments()
        if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]
    )
    return Elf(sections, symbols, segments)


def _record(kind: int, address: int, data: bytes) -> str:
    body = bytes([len(data), address >> 8, address & 255, kind]) + data
    return f":{body.hex().upper()}{-sum(body) & 255:02X}"
