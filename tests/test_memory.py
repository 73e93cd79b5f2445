"""Loads, stores and wide loops by address: the right bytes, the right sign, nothing beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import config, njit

from ska_edge.backends.jit import memory, wide
from ska_edge.backends.jit.wide import LANES

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


# --- wide loops, compiled: without the compiler they are judged by test_kernels -------------------------------------

RANDOM = np.random.default_rng(0)
COUNT = 80  # whole steps of both widths, and one left over
compiled_only = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="the compiler's side of it")


def packed(values: Any, bits: int) -> Any:
    """Rows of weights as the arena holds them."""
    if bits > 4:
        return values.astype(f"<i{bits // 8}")
    return ((values[..., ::2] & 15) | (values[..., 1::2] << 4 & 0xF0)).astype(np.uint8)


def numbers(bits: int, *shape: int) -> Any:
    """Both ends of the range first, then anything."""
    values = RANDOM.integers(-(1 << bits - 1), 1 << bits - 1, shape)
    values[..., :3] = -(1 << bits - 1)
    values[..., 3:6] = (1 << bits - 1) - 1
    return values


@compiled_only
@pytest.mark.parametrize(
    ("name", "bits", "planes", "columns"),
    [
        ("tile_4", 4, 1, 1),
        ("tile_8", 8, 1, 1),
        ("tile_16", 16, 1, 1),
        ("tile_16_planes", 16, 2, 1),
        ("tile_16_planes_pair", 16, 2, 2),
    ],
)
def test_tiles(name: str, bits: int, planes: int, columns: int) -> None:
    tile: Any = getattr(wide, name)
    w, x = numbers(bits, wide.ROWS, COUNT), numbers(16 if planes == 2 else 8, columns, COUNT)
    rows = packed(w, bits)
    lanes = np.stack([x & 255, x >> 8] if planes == 2 else [x], axis=1).astype("<i2")
    totals = np.arange(columns * wide.ROWS)
    starts = [rows[r].ctypes.data for r in range(wide.ROWS)]
    step, out = 2 * COUNT, totals.ctypes.data
    if columns == 1:
        njit(lambda a, b, c, d, x, step, n, out: tile(a, b, c, d, x, step, n, out))(
            *starts, lanes.ctypes.data, step, COUNT, out
        )
    else:
        njit(lambda a, b, c, d, x, y, step, n, out: tile(a, b, c, d, x, y, step, n, out))(
            *starts, lanes[0].ctypes.data, lanes[1].ctypes.data, step, COUNT, out
        )
    assert totals.tolist() == ((x @ w.T).reshape(-1) + np.arange(totals.size)).tolist()


@compiled_only
@pytest.mark.parametrize("bits", [4, 8, 16])
def test_rows_that_learn(bits: int) -> None:
    learn: Any = getattr(wide, f"learn_{bits}")
    compiled = njit(lambda row, x, s, start, step, n: learn(row, x, s, start, step, n))
    x = numbers(16, COUNT)
    for s in (-32768, -300, -1, 1, 7, 32767):
        w = numbers(bits, COUNT)
        row, lanes = packed(w, bits), x.astype("<i2")
        compiled(row.ctypes.data, lanes.ctypes.data, s, 60000, 53685, COUNT)
        offsets = (60000 + 53685 * np.arange(COUNT)) & 0xFFFF
        learnt = np.clip(w + ((s * x + offsets) >> 16), -(1 << bits - 1), (1 << bits - 1) - 1)
        assert row.tolist() == packed(learnt, bits).tolist()


@compiled_only
def test_wide_scale_and_split() -> None:
    scale: Any = wide.scale_16
    a, b, c = numbers(16, COUNT), numbers(16, COUNT)[::-1].copy(), numbers(16, COUNT)
    arrays = [each.astype("<i2") for each in (a, b, c, c)]
    out = np.zeros(COUNT, "<i2")
    step = 2 * wide.LANES
    addresses = [each.ctypes.data for each in arrays]

    @njit
    def both(a: int, b: int, c: int, c_step: int, out: int, n: int) -> None:
        scale(a, 2 * LANES, b, 2 * LANES, c, c_step, out, n, -3, 2, 1 << 13, 14, -32768, 32000)

    for c_step, carried in ((step, c), (0, np.tile(c[: wide.LANES], COUNT // wide.LANES))):
        both(addresses[0], addresses[1], addresses[2], c_step, out.ctypes.data, COUNT)
        wanted = np.clip((-3 * a * b + (carried << 2) + (1 << 13)) >> 14, -32768, 32000)
        assert out.tolist() == wanted.tolist()

    split: Any = wide.split_16
    low, high = np.zeros((2, COUNT), "<i2")
    njit(lambda x, low, high, n: split(x, low, high, n))(addresses[0], low.ctypes.data, high.ctypes.data, COUNT)
    assert low.tolist() == (a & 255).tolist()
    assert high.tolist() == (a >> 8).tolist()


@compiled_only
@pytest.mark.parametrize("entropy_shift", [0, 3])
def test_flow_lanes(entropy_shift: int) -> None:
    """Against the SPEC's loop in arrays of 64 bits, all neurons at once."""
    flow: Any = wide.flow_lanes
    table = np.array([0, 100, 16384, 32000, 32768], np.int64)
    pairs = (table[:-1] + (table[1:] << 16)).astype("<u4")
    lo, width, steps, rate, rate_shift, guard, fraction = -30000, 13, 300, 3000, 11, 4, 12
    y_lo, y_hi = -32768 << guard, (32767 << guard) + (1 << guard) - 1
    block = np.zeros((8, wide.NEURONS), "<i4")
    block[: wide.Z + 3] = [numbers(16, wide.NEURONS) for _ in range(3)]
    z, mean, drive = block[:3].astype(np.int64)

    @njit
    def compiled(block: int, n: int, table: int, last: int, steps: int, shift: int, y_lo: int, y_hi: int) -> None:
        flow(block, n, table, -30000, 13, last, steps, 3000, 11, 4, shift, 12, y_lo, y_hi)

    def sigma(q: Any) -> Any:
        d = np.clip(q - lo, 0, 4 << width)
        i = np.minimum(d >> width, 3)
        return ((table[i] << width) + (table[i + 1] - table[i]) * (d - (i << width)) + (1 << width - 1)) >> width

    compiled(block.ctypes.data, wide.NEURONS, pairs.ctypes.data, 4, steps, entropy_shift, y_lo, y_hi)
    y, moved, entropy = z << guard, 0 * z, 0 * z
    first = before = sigma(z)
    for _ in range(steps):
        q = np.clip((y + (1 << guard - 1)) >> guard, -32768, 32767)
        now = sigma(q)
        slope = (now * ((1 << 15) - now) + (1 << 14)) >> 15
        own = ((q - mean) * slope + ((now - before) << fraction)) >> entropy_shift
        v = (own - drive * slope + (1 << fraction - 1)) >> fraction
        moved, entropy = moved + v, entropy - q * (now - before)
        y = np.clip(y + ((v * rate + (1 << rate_shift - 1)) >> rate_shift), y_lo, y_hi)
        before = now
    high = block[wide.ENTROPY_HIGH].astype(np.int64) << 16
    found = high + ((block[wide.ENTROPY_WRAPPED] - high) & 0xFFFFFFFF)
    assert [block[k].tolist() for k in (wide.MOVED, wide.FIRST, wide.LAST)] == [
        each.tolist() for each in (moved, first, before)
    ]
    assert found.tolist() == entropy.tolist()
