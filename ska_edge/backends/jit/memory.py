"""Loads and stores by address: the arena is one block of bytes that holds elements of every width.

NumPy views would do, but Numba counts references at each use of one, with two atomic operations an element.  Addresses
come from the plan alone, and the range proof and `wellformed` bound every index, so nothing outside is ever touched.
With NUMBA_DISABLE_JIT set (the mutation test), the same names do the same through ctypes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic


def _peek(bits: int, signed: bool) -> Callable[[Any], Any]:
    if config.DISABLE_JIT:
        element = getattr(ctypes, f"c_{'' if signed else 'u'}int{bits}")
        return lambda address: int(element.from_address(int(address)).value)

    @intrinsic
    def peek(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (start,) = arguments
            pointer = builder.inttoptr(start, ir.IntType(bits).as_pointer())
            return (builder.sext if signed else builder.zext)(builder.load(pointer), ir.IntType(64))

        return types.int64(types.int64), generate

    return cast(Callable[[Any], Any], peek)


def _poke(bits: int) -> Callable[[Any, Any], None]:
    if config.DISABLE_JIT:
        element = getattr(ctypes, f"c_int{bits}")

        def store(address: int, value: int) -> None:
            element.from_address(int(address)).value = int(value)

        return store

    @intrinsic
    def poke(typing_context: Any, address: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            start, number = arguments
            pointer = builder.inttoptr(start, ir.IntType(bits).as_pointer())
            builder.store(builder.trunc(number, ir.IntType(bits)), pointer)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), generate

    return cast(Callable[[Any, Any], None], poke)


peek_s8, peek_u8 = _peek(8, True), _peek(8, False)
peek_s16, peek_u16 = _peek(16, True), _peek(16, False)
peek_s32, peek_u32 = _peek(32, True), _peek(32, False)
peek_s64 = _peek(64, True)
poke_8, poke_16, poke_32, poke_64 = _poke(8), _poke(16), _poke(32), _poke(64)
