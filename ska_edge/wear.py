"""How often a board's flash or EEPROM lets a model be saved (`csrc/device/snapshot.h`)."""

from __future__ import annotations

from dataclasses import dataclass

from firmware_sim.catalogue import Board

from .errors import FitError
from .plan import plan
from .program import Program

MARK_BYTES = 4
HEADER_BYTES = 24
SLOTS = 2


@dataclass(frozen=True)
class Wear:
    """Where a model's snapshots go on a board and how many there can be.

    Each of two slots takes `pages` pages of `page_bytes`.  `saves`: saves until the first page has been erased as often
    as its maker guarantees; None where the board's endurance is not known.
    """

    slot_bytes: int
    page_bytes: int
    pages: int
    unit_bytes: int
    saves: int | None


def slot_bytes(state_bytes: int, unit_bytes: int, page_bytes: int) -> int:
    """Bytes of a slot: mark, header and state, each in whole program units, all in whole pages.

    >>> slot_bytes(1238, 4, 1024), slot_bytes(1238, 1, 1)
    (2048, 1266)
    """
    used = sum(_up(part, unit_bytes) for part in (MARK_BYTES, HEADER_BYTES, state_bytes))
    return _up(used, max(page_bytes, unit_bytes))


def saves_of(program: Program, board: Board) -> Wear:
    """The wear of a Program's snapshots on a board.  Raises FitError where they have no place.

    A page is erased at every other save, because two slots take turns: n erasures give 2 n saves.  In EEPROM, which
    erases byte by byte, the four bytes of the mark are written twice a save: n writes give n saves.

    >>> from firmware_sim.catalogue import load_board
    >>> from ska_edge import Network, lower
    >>> saves_of(lower(Network((64, 16, 10))), load_board("microbit_v1")).saves
    40000
    """
    store = board.store
    if store is None or store.erase_bytes is None or store.write_bytes is None:
        raise FitError(f"{board.name}: the catalogue knows no memory for snapshots; keep the state on the host")
    layout = plan(program)
    state = layout.fixed_bytes - layout.state_start
    size = slot_bytes(state, store.write_bytes, store.erase_bytes)
    region = board.memory(store.memory)
    room = board.usable(region)[1]
    if SLOTS * size > room:
        raise FitError(
            f"{board.name}: two snapshots take {SLOTS * size:,} bytes of {store.memory} ({state:,} of state each), "
            f"there are {room:,}; use a narrower profile, smaller layers or keep the state on the host"
        )
    overwritten = store.erase_bytes == 1
    endured = store.endurance_cycles
    saves = None if endured is None else endured if overwritten else SLOTS * endured
    return Wear(size, store.erase_bytes, size // store.erase_bytes, store.write_bytes, saves)


def _up(value: int, step: int) -> int:
    return -(-value // step) * step


__all__ = ["Wear", "saves_of", "slot_bytes"]
