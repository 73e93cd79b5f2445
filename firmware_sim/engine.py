"""The part that runs with the processor: counts every edge between two blocks, in machine code.

Unicorn calls `_on_block` before each block.  It is compiled by Numba and knows one table: (block before, this block,
place in the call tree) -> how often, nominal cycles, next place.  What is not in the table yet is asked of Python once.
Blocks without stores to it cost some 5 ns; the clock, the stack's depth and the budget are exact at every block.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

TICKS = 64
"""Units of the clock in a cycle: dual issue makes halves and quarters."""

BLOCK_HOOK = 8  # UC_HOOK_BLOCK
SLOT_BITS = 18
SLOTS = 1 << SLOT_BITS
NODES = 1 << 16
EVENTS = 1 << 20
POINTERS = 16

# Fields of the header.
PREVIOUS, NODE, CLOCK, BUDGET, STOP, SKIP, EVENT, STACK_LIMIT, WANTED = range(9)
HEADER = 16

# Why it stopped.
RUNNING, ASKED, SPENT, OVERFLOWN, FAILED, HALTED = range(6)

# Columns of the table: a key in two words, and what was found.
KEY_EDGE, KEY_NODE, COUNT, COST, GOES_TO, DEPTH, BYTES, COLUMNS = range(8)
NO_STACK = -1
NOWHERE = -1
"""The block before the first."""

Table = NDArray[np.int64]


class Counters:
    """The memory that `_on_block` works in.

    `header`: the fields above.  `table`: one row an edge.  `lowest`: the lowest stack pointer by place in the call
    tree.  `events`: (clock, place) whenever the place changes, as far as there is room.
    """

    def __init__(self) -> None:
        self.header = np.zeros(HEADER, np.int64)
        self.table = np.zeros((SLOTS, COLUMNS), np.int64)
        self.lowest = np.full(NODES, np.iinfo(np.int64).max, np.int64)
        self.events = np.zeros((EVENTS, 2), np.int64)
        self.word = np.zeros(1, np.int64)
        self.pointers = np.zeros(POINTERS, np.int64)
        arrays = (self.header, self.table, self.lowest, self.events, self.word)
        self.pointers[: len(arrays)] = [array.ctypes.data for array in arrays]
        self.header[SKIP] = -1
        self.header[PREVIOUS] = NOWHERE

    def rows(self) -> Iterator[tuple[int, int, int, int]]:
        """(block before, block, place, count) of every edge that came from a block."""
        taken = (self.table[:, COUNT] > 0) & (self.table[:, KEY_EDGE] >> 32 != NOWHERE)
        for row in self.table[taken]:
            yield (
                int(row[KEY_EDGE]) >> 32 & 0xFFFFFFFF,
                int(row[KEY_EDGE]) & 0xFFFFFFFF,
                int(row[KEY_NODE]) - 1,
                int(row[COUNT]),
            )


def attach(engine: int, library: Any, counters: Counters, stack_register: int, ask: Callable[..., int]) -> object:
    """Hook into a Unicorn engine.  Returns what must stay alive as long as it runs.

    `ask(before, block, bytes, place, slot)` fills in a new row of the table and returns 0, or else a reason to stop.
    """
    on_block = _compiled()
    asked = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 5)(ask)
    functions = [
        ctypes.cast(each, ctypes.c_void_p).value or 0 for each in (asked, library.uc_emu_stop, library.uc_reg_read)
    ]
    counters.pointers[5:9] = [*functions, stack_register]
    handle = ctypes.c_size_t()
    error = library.uc_hook_add(
        ctypes.c_void_p(engine),
        ctypes.cast(ctypes.byref(handle), library.uc_hook_add.argtypes[1]),
        ctypes.c_int(BLOCK_HOOK),
        ctypes.c_void_p(on_block.address),
        ctypes.c_void_p(counters.pointers.ctypes.data),
        ctypes.c_ulong(1),
        ctypes.c_ulong(0),
    )
    if error:
        raise RuntimeError(f"Unicorn refuses the hook: error {error}")
    return on_block, asked


@cache
def _compiled() -> Any:
    """The callback: (engine, address, bytes of the block, our pointers)."""
    from numba import carray, cfunc, types

    array, call = _intrinsics()

    @cfunc(types.void(types.int64, types.int64, types.int32, types.int64))
    def on_block(engine, address, size, pointers):  # type: ignore[no-untyped-def]
        places = carray(array(pointers), POINTERS)
        header = carray(array(places[0]), HEADER)
        if header[SKIP] == address:  # it was stopped here before this block ran, and goes on with it
            header[SKIP] = -1
            return
        header[SKIP] = -1
        table = carray(array(places[1]), (SLOTS, COLUMNS))
        before, node = header[PREVIOUS], header[NODE]
        edge = (before << 32) | address
        mixed = (np.uint64(edge) ^ (np.uint64(node) << np.uint64(17))) * np.uint64(0x9E3779B97F4A7C15)
        slot = np.int64(mixed >> np.uint64(64 - SLOT_BITS))
        while table[slot, KEY_NODE] and (table[slot, KEY_EDGE] != edge or table[slot, KEY_NODE] != node + 1):
            slot = (slot + 1) & (SLOTS - 1)
        if not table[slot, KEY_NODE] or table[slot, BYTES] != size:
            reason = call(places[5], before, address, np.int64(size), node, slot)
            if reason:
                header[STOP] = reason
                call(places[6], engine, 0, 0, 0, 0)
                return
            table[slot, KEY_EDGE] = edge
            table[slot, KEY_NODE] = node + 1
            table[slot, BYTES] = size
        table[slot, COUNT] += 1
        header[CLOCK] += table[slot, COST]
        header[PREVIOUS] = address
        goes_to = table[slot, GOES_TO]
        if goes_to != node:
            header[NODE] = goes_to
            at = header[EVENT]
            if at < EVENTS:
                events = carray(array(places[3]), (EVENTS, 2))
                events[at, 0] = header[CLOCK]
                events[at, 1] = goes_to
                header[EVENT] = at + 1
        depth = table[slot, DEPTH]
        if depth != NO_STACK:
            word = carray(array(places[4]), 1)
            call(places[7], engine, places[8], places[4], 0, 0)
            pointer = word[0] - depth
            lowest = carray(array(places[2]), NODES)
            if pointer < lowest[goes_to]:
                lowest[goes_to] = pointer
                if pointer < header[STACK_LIMIT]:
                    header[STOP] = OVERFLOWN
                    call(places[6], engine, 0, 0, 0, 0)
                    return
        if header[CLOCK] >= header[BUDGET]:
            header[STOP] = SPENT
            call(places[6], engine, 0, 0, 0, 0)
        elif header[WANTED]:
            header[WANTED] = 0
            header[STOP] = ASKED
            header[SKIP] = address
            call(places[6], engine, 0, 0, 0, 0)

    return on_block


def _intrinsics() -> tuple[Any, Any]:
    """Two things Numba has no words for: an address as a pointer, and a call by address."""
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    @intrinsic
    def array(typing_context, address):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(types.int64)(types.int64), generate

    @intrinsic
    def call(typing_context, function, a, b, c, d, e):  # type: ignore[no-untyped-def]
        word = ir.IntType(64)

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            pointer = builder.inttoptr(arguments[0], ir.FunctionType(word, [word] * 5).as_pointer())
            return builder.call(pointer, arguments[1:])

        return types.int64(*[types.int64] * 6), generate

    return array, call
