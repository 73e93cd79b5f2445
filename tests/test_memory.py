"""Loads and stores by address, compiled or not: the right bytes, the right sign, nothing beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit

from ska_edge.backends.jit import memory

PATTERNS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x0123456789ABCDEF)
WIDE = (1 << 63, (1 << 64) - 1)
START = 16


@pytest.mark.parametrize("name", [n for n in dir(memory) if n.startswith("peek_")])
def test_peek(name: str) -> None:
    peek: Any = getattr(memory, name)
    load = njit(lambda address: peek(address))
    bits, signed = int(name[6:]), name[5] == "s"
    for pattern in (*PATTERNS, *WIDE):
        block = np.full(40, 0xA5, np.uint8)
        stored = (pattern & ((1 << bits) - 1)).to_bytes(bits // 8, "little")
        block[START : START + bits // 8] = list(stored)
        value = load(block.ctypes.data + START)
        assert value == int.from_bytes(stored, "little", signed=signed), hex(pattern)
        assert isinstance(value, int)


@pytest.mark.parametrize("name", [n for n in dir(memory) if n.startswith("poke_")])
def test_poke(name: str) -> None:
    poke: Any = getattr(memory, name)
    store = njit(lambda address, value: poke(address, value))
    bits = int(name[5:])
    for pattern in PATTERNS:
        for value in (pattern, -pattern, ~pattern):
            block = np.full(40, 0xA5, np.uint8)
            store(block.ctypes.data + START, value)
            expected = (value & ((1 << bits) - 1)).to_bytes(bits // 8, "little")
            assert block[START : START + bits // 8].tobytes() == expected, hex(value)
            assert (np.delete(block, range(START, START + bits // 8)) == 0xA5).all()


def test_every_width_is_there() -> None:
    assert [n for n in dir(memory) if n[:5] in ("peek_", "poke_")] == [
        *("peek_s16", "peek_s32", "peek_s64", "peek_s8", "peek_u16", "peek_u32", "peek_u8"),
        *("poke_16", "poke_32", "poke_64", "poke_8"),
    ]
