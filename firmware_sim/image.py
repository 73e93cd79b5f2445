"""An ELF image: what lies where, which symbol and which source line an address belongs to."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .errors import ImageError, MissingError

MACHINES = {"EM_ARM": "arm", "EM_RISCV": "riscv", "EM_AVR": "avr"}
EXECUTABLE, WRITABLE, ALLOCATED = 4, 1, 2


@dataclass(frozen=True)
class Segment:
    """Stored bytes: loaded at `load`, and expected at `address` when the program runs."""

    load: int
    address: int
    data: bytes


@dataclass(frozen=True)
class Section:
    """A section that takes up memory: `stored` where it also takes up bytes of the image."""

    name: str
    address: int
    bytes: int
    stored: bool
    writable: bool
    executable: bool


@dataclass(frozen=True)
class Symbol:
    """A named function or object: its first address (without Thumb's lowest bit) and its bytes."""

    name: str
    address: int
    bytes: int
    function: bool


@dataclass(frozen=True)
class Frame:
    """One step of how an instruction came to be: `function`, inlined or not, called at `file`:`line` of its caller.

    The innermost function's frame has no call: there, file and line are the instruction's own.
    """

    function: str
    file: str
    line: int


class Image:
    """An ELF file that has been read.  Raises ImageError where it is none, or of a machine no simulator here knows."""

    def __init__(self, path: str | Path) -> None:
        try:
            from elftools.common.exceptions import ELFError
            from elftools.elf.elffile import ELFFile
        except ImportError:
            raise MissingError("ELF: pyelftools is not installed; pip install 'ska_edge[simulate]'") from None
        self.path = Path(path)
        try:
            self._file = self.path.open("rb")
            self._elf = ELFFile(self._file)
        except OSError as error:
            raise ImageError(f"{path}: cannot be read ({error.strerror})") from None
        except ELFError as error:
            raise ImageError(f"{path}: no ELF image ({error}); build one with debugging information, -g") from None
        machine = self._elf["e_machine"]
        if machine not in MACHINES:
            raise ImageError(f"{path}: an image for {machine}; simulated are {', '.join(MACHINES)}")
        self.machine = MACHINES[machine]
        self.entry: int = self._elf["e_entry"]
        self.flags: int = self._elf["e_flags"]
        self.segments = tuple(
            Segment(segment["p_paddr"], segment["p_vaddr"], segment.data())
            for segment in self._elf.iter_segments()
            if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]
        )
        if not self.segments:
            raise ImageError(f"{path}: nothing to load; an object file must be linked first")
        self.sections = tuple(
            Section(
                section.name,
                section["sh_addr"],
                section["sh_size"],
                section["sh_type"] != "SHT_NOBITS",
                bool(section["sh_flags"] & WRITABLE),
                bool(section["sh_flags"] & EXECUTABLE),
            )
            for section in self._elf.iter_sections()
            if section["sh_flags"] & ALLOCATED and section["sh_size"]
        )
        self.symbols = self._read_symbols()
        if not any(symbol.function for symbol in self.symbols):
            raise ImageError(f"{path}: no symbols of functions; link it without -s and do not strip it")
        self.by_name = {symbol.name: symbol for symbol in self.symbols}
        functions = sorted((s for s in self.symbols if s.function), key=lambda s: (s.address, -s.bytes))
        self.code_marks, self.data_marks = self._read_marks()
        self._functions = list({symbol.address: symbol for symbol in reversed(functions)}.values())[::-1]
        self._starts = [symbol.address for symbol in self._functions]

    def _read_symbols(self) -> tuple[Symbol, ...]:
        table = self._elf.get_section_by_name(".symtab")
        odd = self.machine == "arm"
        found = []
        for symbol in table.iter_symbols() if table else ():
            kind = symbol["st_info"]["type"]
            if not symbol.name or symbol.name.startswith(("$", ".L")) or symbol["st_shndx"] == "SHN_UNDEF":
                continue
            if kind in ("STT_FUNC", "STT_OBJECT", "STT_NOTYPE"):
                function = kind == "STT_FUNC" or (kind == "STT_NOTYPE" and self._executable(symbol))
                address = symbol["st_value"] & ~1 if function and odd else symbol["st_value"]
                found.append(Symbol(symbol.name, address, symbol["st_size"], function))
        return tuple(found)

    def _read_marks(self) -> tuple[list[int], list[int]]:
        """Where code and where data begin between the instructions (ELF for the Arm Architecture, mapping symbols)."""
        table = self._elf.get_section_by_name(".symtab")
        marks: dict[str, list[int]] = {"$t": [], "$d": []}
        for symbol in table.iter_symbols() if table else ():
            if symbol.name[:2] in marks:
                marks[symbol.name[:2]].append(symbol["st_value"] & ~1)
        return sorted(marks["$t"]), sorted(marks["$d"])

    def _executable(self, symbol: Any) -> bool:
        """Labels of assembly carry no type."""
        index = symbol["st_shndx"]
        return isinstance(index, int) and bool(self._elf.get_section(index)["sh_flags"] & EXECUTABLE)

    def symbol(self, name: str) -> Symbol:
        """A symbol by name.  Raises ImageError with names that are there."""
        if name not in self.by_name:
            known = ", ".join(sorted(s.name for s in self.symbols if s.function)[:12])
            raise ImageError(f"{self.path}: no symbol {name!r}; functions there are {known} ...")
        return self.by_name[name]

    def function_at(self, address: int) -> Symbol | None:
        """The function an address lies in; None below the first one."""
        at = bisect.bisect_right(self._starts, address) - 1
        return self._functions[at] if at >= 0 else None

    def starts_function(self, address: int) -> bool:
        """Whether a function begins at this address."""
        at = bisect.bisect_left(self._starts, address)
        return at < len(self._starts) and self._starts[at] == address

    def where(self, address: int) -> str:
        """An address in words: function, offset, file and line, as far as they are known."""
        function, (file, line) = self.function_at(address), self.line(address)
        words = f"{address:#010x}"
        if function is not None:
            inner = self.frames(address)[-1].function
            words += f" in {inner}, inlined into" if inner != function.name else " in"
            words += f" {function.name}+{address - function.address}"
        return f"{words} ({file}:{line})" if file else words

    def object_at(self, address: int) -> Symbol | None:
        """The variable that covers an address."""
        return next(
            (s for s in self.symbols if not s.function and s.bytes and s.address <= address < s.address + s.bytes), None
        )

    @property
    def static_bytes(self) -> int:
        """Bytes of RAM taken by variables: every section that is writable or not stored."""
        return sum(s.bytes for s in self.sections if s.writable or not s.stored)

    @property
    def stored_bytes(self) -> int:
        """Bytes the image takes in flash, start values of variables included."""
        return sum(s.bytes for s in self.sections if s.stored)

    @property
    def static_end(self) -> int:
        """The first address after the variables."""
        ends = [s.address + s.bytes for s in self.sections if s.writable or not s.stored]
        return max(ends, default=0)

    # --- source lines -------------------------------------------------------------------------------------------

    def line(self, address: int) -> tuple[str, int]:
        """File and line of an instruction; ("", 0) without debugging information."""
        starts, rows = self._lines
        at = bisect.bisect_right(starts, address) - 1
        return rows[at] if at >= 0 else ("", 0)

    @cached_property
    def _lines(self) -> tuple[list[int], list[tuple[str, int]]]:
        found: dict[int, tuple[str, int]] = {}
        for unit in self._units:
            program = unit.dwarfinfo.line_program_for_CU(unit)
            if program is None:
                continue
            names = _file_names(program)
            sequence: list[tuple[int, tuple[str, int]]] = []
            for entry in program.get_entries():
                state = entry.state
                if state is None:
                    continue
                sequence.append((state.address, (names(state.file), state.line)))
                if state.end_sequence:
                    if self._kept(sequence[0][0]):
                        found.update(sequence[:-1])
                        found.setdefault(state.address, ("", 0))
                    sequence = []
        ordered = sorted(found)
        return ordered, [found[address] for address in ordered]

    @cached_property
    def _units(self) -> list[Any]:
        if not self._elf.has_dwarf_info():
            return []
        units = []
        for unit in self._elf.get_dwarf_info().iter_CUs():
            top = unit.get_top_DIE()
            low = top.attributes.get("DW_AT_low_pc")
            if any(self._kept(start) for start, _ in _ranges(unit, top, low.value if low else 0)):
                units.append(unit)
        return units

    def _kept(self, address: int) -> bool:
        """Whether code lies there: what the linker dropped keeps its lines, from address 0 or -1 on."""
        function = self.function_at(address)
        return function is not None and function.address <= address < function.address + max(function.bytes, 1)

    def frames(self, address: int) -> tuple[Frame, ...]:
        """How an instruction came to be there, outermost function first, inlined ones after it."""
        chain = [name_and_call for low, high, name_and_call in self._inlined if low <= address < high]
        file, line = self.line(address)
        function = self.function_at(address)
        frames = [Frame(function.name if function else "?", file, line)]
        for name, called_file, called_line in chain:
            frames[-1] = Frame(frames[-1].function, called_file, called_line)
            frames.append(Frame(name, file, line))
        return tuple(frames)

    @cached_property
    def _inlined(self) -> list[tuple[int, int, tuple[str, str, int]]]:
        """Every range of every inlined call, outer before inner."""
        found = []
        for unit in self._units:
            program = unit.dwarfinfo.line_program_for_CU(unit)
            names = _file_names(program) if program is not None else lambda index: ""
            base = unit.get_top_DIE().attributes.get("DW_AT_low_pc")
            stack = [(unit.get_top_DIE(), 0)]
            while stack:
                die, depth = stack.pop()
                if die.tag == "DW_TAG_subprogram" and not any(
                    self._kept(low) for low, _ in _ranges(unit, die, base.value if base else 0)
                ):
                    continue
                if die.tag == "DW_TAG_inlined_subroutine":
                    call = (
                        _name_of(die),
                        names(_value(die, "DW_AT_call_file")),
                        _value(die, "DW_AT_call_line"),
                    )
                    for low, high in _ranges(unit, die, base.value if base else 0):
                        found.append((depth, low, high, call))
                stack.extend((child, depth + 1) for child in die.iter_children())
        return [(low, high, call) for _, low, high, call in sorted(found, key=lambda row: row[0])]


def _value(die: Any, name: str) -> int:
    attribute = die.attributes.get(name)
    return int(attribute.value) if attribute else 0


def _name_of(die: Any) -> str:
    origin = die
    for _ in range(4):  # an inlined call refers to its abstract function, which may refer to a declaration
        if "DW_AT_name" in origin.attributes:
            return str(origin.attributes["DW_AT_name"].value.decode())
        link = next((k for k in ("DW_AT_abstract_origin", "DW_AT_specification") if k in origin.attributes), None)
        if link is None:
            break
        origin = origin.get_DIE_from_attribute(link)
    return "?"


def _ranges(unit: Any, die: Any, base: int) -> list[tuple[int, int]]:
    attributes = die.attributes
    if "DW_AT_low_pc" in attributes and "DW_AT_high_pc" in attributes:
        low, high = attributes["DW_AT_low_pc"].value, attributes["DW_AT_high_pc"]
        return [(low, high.value if high.form == "DW_FORM_addr" else low + high.value)]
    if "DW_AT_ranges" not in attributes:
        return []
    lists = unit.dwarfinfo.range_lists()
    found = []
    for entry in lists.get_range_list_at_offset(attributes["DW_AT_ranges"].value, unit):
        if hasattr(entry, "base_address"):
            base = entry.base_address
        else:
            shift = 0 if getattr(entry, "is_absolute", False) else base
            found.append((entry.begin_offset + shift, entry.end_offset + shift))
    return found


def _file_names(program: Any) -> Any:
    """Names of a line program's files by number, which DWARF 5 counts from 0 and older versions from 1."""
    header = program.header
    entries = header["file_entry"]
    first = 0 if header["version"] >= 5 else 1

    def name(index: int) -> str:
        at = index - first
        return Path(entries[at].name.decode()).name if 0 <= at < len(entries) else ""

    return name
