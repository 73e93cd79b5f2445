"""Wear of a memory that the firmware writes: how often each page was erased, of how many times that are guaranteed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from .catalogue import Board
from .timing import NONE, Cycles


@dataclass(frozen=True)
class Page:
    """What one unit of erasure went through."""

    erased: int = 0
    written: int = 0


@dataclass(frozen=True)
class Breach:
    """How often something went against the data sheet without a fault, and where it did so first."""

    count: int = 0
    first: str = ""


@dataclass(frozen=True)
class Wear:
    """What was written to a memory that wears, by page: the unit of erasure, a byte of EEPROM.

    `units`: of `unit_bytes`, the smallest write.  `pages`: those that were touched, by address.  `busy`: cycles that
    the memory took, part of the run's: the core stands still for flash, and asks again and again for EEPROM.
    `beyond`: writes of a word more often between two erasures than `writes_per_word` allows.  `unset`: writes that
    asked for a 1 where only an erasure brings it back; it stayed 0.
    """

    memory: str
    unit_bytes: int
    page_bytes: int
    pages: Mapping[int, Page]
    endurance_cycles: int | None
    endurance_source: str
    busy: Cycles = NONE
    writes_per_word: int | None = None
    beyond: Breach = field(default_factory=Breach)
    unset: Breach = field(default_factory=Breach)

    @property
    def units(self) -> int:
        """Smallest writes, all pages together."""
        return sum(page.written for page in self.pages.values())

    @property
    def erasures(self) -> int:
        """Erasures, all pages together; in EEPROM every write is one."""
        return sum(page.erased for page in self.pages.values())

    @property
    def most_erased(self) -> int:
        """Erasures of the page that had most."""
        return max((page.erased for page in self.pages.values()), default=0)

    @property
    def endurance_used(self) -> float | None:
        """The largest share of the guaranteed erasures that any page has spent; None where none are guaranteed."""
        return self.most_erased / self.endurance_cycles if self.endurance_cycles else None

    def to_json(self) -> dict[str, Any]:
        """For scripts; neighbouring pages with the same counts share a row."""
        rows = []
        for _, run in groupby(
            enumerate(sorted(self.pages)), lambda at: (at[1] - at[0] * self.page_bytes, self._of(at))
        ):
            addresses = [address for _, address in run]
            page = self.pages[addresses[0]]
            row = {"address": f"{addresses[0]:#010x}", "pages": len(addresses)}
            rows.append({**row, "erased": page.erased, "written": page.written})
        return {
            "memory": self.memory,
            "unit_bytes": self.unit_bytes,
            "page_bytes": self.page_bytes,
            "units_written": self.units,
            "pages_erased": self.erasures,
            "pages": rows,
            "most_erased": self.most_erased,
            "endurance_cycles": self.endurance_cycles,
            "endurance_source": self.endurance_source,
            "endurance_used": self.endurance_used,
            "busy_cycles": self.busy.to_json(),
            "writes_per_word": self.writes_per_word,
            "writes_beyond": {"count": self.beyond.count, "first": self.beyond.first},
            "bits_not_set": {"count": self.unset.count, "first": self.unset.first},
        }

    def _of(self, at: tuple[int, int]) -> Page:
        return self.pages[at[1]]


def eeprom_wear(board: Board, writes: Mapping[int, int], cycles: int) -> Wear | None:
    """Wear of an EEPROM from writes by address, each of so many cycles; None where nothing was written."""
    if not writes:
        return None
    store = board.store
    known = store is not None and board.memory(store.memory).kind == "eeprom"
    return Wear(
        next((memory.name for memory in board.memories if memory.kind == "eeprom"), "eeprom"),
        1,
        1,
        {address: Page(count, count) for address, count in sorted(writes.items())},
        store.endurance_cycles if store and known else None,
        store.endurance_source if store and known else "",
        Cycles(cycles, cycles, cycles).times(sum(writes.values())),
    )
