"""Compiled kernels, one a primitive, in the order of SPEC 5.  They know rows of numbers, not Programs.

`mem` is the address of the arena (constants behind it).  `T` has a row per tensor: kind, byte offset, elements,
columns, lowest and highest raw value; `view` turns a row into a tuple whose address is absolute.
`p` is an operation's row as `machine.py` writes it.  The range proof (SPEC 4.4) is why plain int64 sums are exact.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .memory import (
    peek_s8,
    peek_s16,
    peek_s32,
    peek_s64,
    peek_u8,
    peek_u16,
    peek_u32,
    poke_8,
    poke_16,
    poke_32,
    poke_64,
)

S4, U4, S8, U8, S16, U16, S32, U32, S64 = range(9)
FLOOR, HALF, LATTICE_ROUNDING = range(3)
(CONTRACT, SCALE, LUT, FLOW, OUTER_UPDATE, UPDATE, LATTICE, GATHER, POOL, SELECT, ARG, ADVANCE) = range(12)
ONE = 1 << 15
STEP_I = 53685  # the lattice's A: from one input to the next
AXES = 24  # where a contraction's loops start in its row: first count of output axes, count of summed axes
ADDRESS, KIND, SIZE, COLUMNS, LO, HI = range(6)  # fields of a view

inlined = njit(cache=True, forceinline=True)
compiled = njit(cache=True)


@inlined
def view(mem, T, tensor):
    """(address, kind, elements, columns, lo, hi) of a tensor."""
    return mem + T[tensor, 1], T[tensor, 0], T[tensor, 2], T[tensor, 3], T[tensor, 4], T[tensor, 5]


@inlined
def load_at(a, k):
    """Element at memory index k, as int64."""
    kind, address = a[KIND], a[ADDRESS]
    if kind == S16:
        return peek_s16(address + 2 * k)
    if kind == S8:
        return peek_s8(address + k)
    if kind == U8:
        return peek_u8(address + k)
    if kind == U16:
        return peek_u16(address + 2 * k)
    if kind == S32:
        return peek_s32(address + 4 * k)
    if kind == U32:
        return peek_u32(address + 4 * k)
    if kind == S64:
        return peek_s64(address + 8 * k)
    nibble = (peek_u8(address + (k >> 1)) >> ((k & 1) << 2)) & 15
    if kind == S4:
        return (nibble ^ 8) - 8
    return nibble


@inlined
def store_at(a, k, value):
    """Store a value that fits the tensor's format at memory index k."""
    kind, address = a[KIND], a[ADDRESS]
    if kind == S16 or kind == U16:
        poke_16(address + 2 * k, value)
    elif kind == S8 or kind == U8:
        poke_8(address + k, value)
    elif kind == S32 or kind == U32:
        poke_32(address + 4 * k, value)
    elif kind == S64:
        poke_64(address + 8 * k, value)
    else:
        at = address + (k >> 1)
        high = (k & 1) << 2
        poke_8(at, (peek_u8(at) & (0xF0 >> high)) | ((value & 15) << high))


@inlined
def _padded(a, k):
    """Index in memory of flat element k: odd rows of 4-bit tensors carry one padding nibble."""
    if a[KIND] <= U4 and a[COLUMNS] & 1:
        return k + k // a[COLUMNS]
    return k


@inlined
def load(a, k):
    """Flat element k, as int64."""
    return load_at(a, _padded(a, k))


@inlined
def store(a, k, value):
    """Store flat element k."""
    store_at(a, _padded(a, k), value)


@inlined
def load_broadcast(a, k):
    """Flat element k of an operand that repeats (SPEC 4.5)."""
    return load(a, k if k < a[SIZE] else k % a[SIZE])


@inlined
def saturate(value, lo, hi):
    """SPEC 2.1."""
    return min(max(value, lo), hi)


@inlined
def offset(i, j, t, n):
    """SPEC 3, scaled to the shift n."""
    raw = (i * STEP_I + j * 43977 + t * 36025) & 0xFFFF
    return (raw << max(n - 16, 0)) >> max(16 - n, 0)


@inlined
def half(n):
    """2^(n-1), and 0 for n = 0: what rounds a shift by n half up."""
    return (np.int64(1) << n) >> 1


@inlined
def requantise(value, shift, rounding, row, k, t, lo, hi):
    """SPEC 2.2.  To the left where `shift` is negative; what is added is 0 where nothing is shifted out."""
    out = max(shift, 0)
    value <<= max(-shift, 0)
    if rounding == HALF:
        value += half(out)
    elif rounding == LATTICE_ROUNDING:
        value += offset(row, k, t, out)
    return saturate(value >> out, lo, hi)


@inlined
def counter(mem, T, tensor):
    """t, or where an operation has none, a number that it does not use."""
    return load(view(mem, T, tensor), 0) if tensor >= 0 else np.int64(tensor)


@inlined
def _finish(mem, T, p, out, k, value, t):
    """The tail that contract and scale share: gain, carried operand, requantise, store."""
    value *= p[7]
    if p[4] >= 0:
        value += load_broadcast(view(mem, T, p[4]), k) << p[6]
    store(out, k, requantise(value, p[8], p[9], p[10], k, t, out[LO], out[HI]))


@inlined
def _dot(a, at_a, step_a, b, at_b, step_b, n):
    """Exact sum of n products; loops of their own for the pairs that learning lives on."""
    total = np.int64(0)
    kind_a, kind_b = a[KIND], b[KIND]
    plain = step_a == 1 and step_b == 1
    if plain and kind_a == S8 and kind_b == U8:
        for k in range(n):
            total += peek_s8(a[ADDRESS] + at_a + k) * peek_u8(b[ADDRESS] + at_b + k)
    elif plain and kind_a == S16 and kind_b == U8:
        for k in range(n):
            total += peek_s16(a[ADDRESS] + 2 * (at_a + k)) * peek_u8(b[ADDRESS] + at_b + k)
    elif plain and kind_a == S16 and kind_b == S16:
        for k in range(n):
            total += peek_s16(a[ADDRESS] + 2 * (at_a + k)) * peek_s16(b[ADDRESS] + 2 * (at_b + k))
    else:
        for k in range(n):
            total += load_at(a, at_a + k * step_a) * load_at(b, at_b + k * step_b)
    return total


@compiled
def contract(mem, T, p):
    """SPEC 5.1.  The row's loops: (extent, step in a, step in b), output axes first, then summed axes."""
    out, a, b = view(mem, T, p[1]), view(mem, T, p[2]), view(mem, T, p[3])
    outs, sums = p[AXES], p[AXES + 1]
    first_sum = AXES + 2 + 3 * outs
    inner = sums - 1  # the last summed axis is walked in _dot
    last = first_sum + 3 * inner
    outer = np.int64(1)
    for axis in range(inner):
        outer *= p[first_sum + 3 * axis]
    t = counter(mem, T, p[5])
    for k in range(out[SIZE]):
        at_a, at_b, rest = np.int64(0), np.int64(0), np.int64(k)
        for axis in range(outs - 1, -1, -1):
            loop = AXES + 2 + 3 * axis
            index = rest % p[loop]
            rest //= p[loop]
            at_a += index * p[loop + 1]
            at_b += index * p[loop + 2]
        total = np.int64(0)
        for step in range(outer):
            from_a, from_b, rest = at_a, at_b, np.int64(step)
            for axis in range(inner):
                loop = first_sum + 3 * axis
                index = rest % p[loop]
                rest //= p[loop]
                from_a += index * p[loop + 1]
                from_b += index * p[loop + 2]
            total += _dot(a, from_a, p[last + 1], b, from_b, p[last + 2], p[last])
        _finish(mem, T, p, out, k, total, t)


@compiled
def scale(mem, T, p):
    """SPEC 5.2."""
    out, a = view(mem, T, p[1]), view(mem, T, p[2])
    t = counter(mem, T, p[5])
    for k in range(out[SIZE]):
        value = load_broadcast(a, k)
        if p[3] >= 0:
            value *= load_broadcast(view(mem, T, p[3]), k)
        _finish(mem, T, p, out, k, value, t)


@inlined
def interpolate(table, x, lo, width):
    """SPEC 5.3, before its requantise."""
    last = table[SIZE] - 1
    d = min(max(x - lo, 0), last << width)
    i = min(d >> width, last - 1)
    f = d - (i << width)
    left = load(table, i)
    right = load(table, i + 1)
    return ((left << width) + (right - left) * f + half(width)) >> width


@compiled
def lut(mem, T, p):
    """SPEC 5.3."""
    out, x, table = view(mem, T, p[1]), view(mem, T, p[2]), view(mem, T, p[3])
    for k in range(out[SIZE]):
        y = interpolate(table, load(x, k), p[4], p[5])
        store(out, k, saturate((y + half(p[6])) >> p[6], out[LO], out[HI]))


@compiled
def flow(mem, T, p):
    """SPEC 5.4."""
    factor, decision, entropy = view(mem, T, p[1]), view(mem, T, p[2]), view(mem, T, p[3])
    z, table = view(mem, T, p[4]), view(mem, T, p[6])
    gain, t = load(view(mem, T, p[5]), 0), counter(mem, T, p[7])
    lo, width, steps, rate, rate_shift, shift, row = p[10], p[11], p[12], p[13], p[14], p[15], p[16]
    guard, entropy_shift, emit_first, decision_shift, fraction = p[17], p[18], p[19], p[20], p[21]
    y_lo, y_hi = z[LO] << guard, (z[HI] << guard) + (np.int64(1) << guard) - 1
    half_guard, half_fraction, half_rate = half(guard), half(fraction), half(rate_shift)
    entropy_sum = np.int64(0)
    for j in range(z[SIZE]):
        start = load(z, j)
        mean = load(view(mem, T, p[8]), j) if p[8] >= 0 else np.int64(0)
        drive = load(view(mem, T, p[9]), j) if p[9] >= 0 else np.int64(0)
        y = start << guard
        moved = np.int64(0)
        first = interpolate(table, start, lo, width)
        before = first
        for _ in range(steps):
            q = saturate((y + half_guard) >> guard, z[LO], z[HI])
            now = interpolate(table, q, lo, width)
            slope = (now * (ONE - now) + (1 << 14)) >> 15
            own = (q - mean) * slope + ((now - before) << fraction)
            v = ((own >> entropy_shift) - drive * slope + half_fraction) >> fraction
            moved += v
            entropy_sum -= q * (now - before)
            y = saturate(y + ((v * rate + half_rate) >> rate_shift), y_lo, y_hi)
            before = now
        emitted = first if emit_first else before
        total = (moved * gain + offset(row, j, t, shift)) >> shift
        store(factor, j, saturate(total, factor[LO], factor[HI]))
        store(decision, j, saturate((emitted + half(decision_shift)) >> decision_shift, decision[LO], decision[HI]))
    store(entropy, 0, entropy_sum)


@compiled
def outer_update(mem, T, p):
    """SPEC 5.5.  The offset of the next input is one addition on; loops of their own for the common widths."""
    w, s_of, x, shift = view(mem, T, p[1]), view(mem, T, p[2]), view(mem, T, p[3]), p[5]
    t = counter(mem, T, p[4])
    columns = w[COLUMNS]
    own_inputs = x[SIZE] == w[SIZE]
    lo, hi = w[LO], w[HI]
    common = x[KIND] == U8 and (w[KIND] == S8 or w[KIND] == S16) and shift == 16
    for j in range(w[SIZE] // columns):
        s = load(s_of, j)
        if s == 0:  # an offset alone is below 2^shift: it moves nothing
            continue
        at_w = j * columns
        at_x = at_w if own_inputs else np.int64(0)
        start = offset(0, j, t, 16)
        from_x = x[ADDRESS] + at_x
        if common and w[KIND] == S8:
            from_w = w[ADDRESS] + at_w
            for i in range(columns):
                delta = (s * peek_u8(from_x + i) + ((start + i * STEP_I) & 0xFFFF)) >> 16
                poke_8(from_w + i, saturate(peek_s8(from_w + i) + delta, lo, hi))
        elif common:
            from_w = w[ADDRESS] + 2 * at_w
            for i in range(columns):
                delta = (s * peek_u8(from_x + i) + ((start + i * STEP_I) & 0xFFFF)) >> 16
                poke_16(from_w + 2 * i, saturate(peek_s16(from_w + 2 * i) + delta, lo, hi))
        else:
            for i in range(columns):
                delta = (s * load(x, at_x + i) + offset(i, j, t, shift)) >> shift
                store(w, at_w + i, saturate(load(w, at_w + i) + delta, lo, hi))


@compiled
def update(mem, T, p):
    """SPEC 5.6."""
    target, v, shift, v_shift, row, axes = view(mem, T, p[1]), view(mem, T, p[2]), p[4], p[5], p[6], p[7]
    t = counter(mem, T, p[3])
    for k in range(target[SIZE]):
        i, j = (k % target[COLUMNS], k // target[COLUMNS]) if axes == 2 else (row, np.int64(k))
        delta = ((load(v, k) << v_shift) + offset(i, j, t, shift)) >> shift
        store(target, k, saturate(load(target, k) + delta, target[LO], target[HI]))


@compiled
def lattice(mem, T, p):
    """SPEC 5.7."""
    out, t = view(mem, T, p[1]), counter(mem, T, p[2])
    for i in range(out[SIZE]):
        store(out, i, offset(i, p[3], t, 16))


@compiled
def gather(mem, T, p):
    """SPEC 5.8."""
    out, a, index = view(mem, T, p[1]), view(mem, T, p[2]), view(mem, T, p[3])
    for k in range(out[SIZE]):
        store(out, k, load(a, load(index, k)))


@compiled
def pool(mem, T, p):
    """SPEC 5.9."""
    out, a, windows = view(mem, T, p[1]), view(mem, T, p[2]), view(mem, T, p[3])
    count = windows[COLUMNS]
    for k in range(out[SIZE]):
        best = load(a, load(windows, k * count))
        for each in range(count):
            best = max(best, load(a, load(windows, k * count + each)))
        store(out, k, best)


@compiled
def select(mem, T, p):
    """SPEC 5.10."""
    out, left, right = view(mem, T, p[1]), view(mem, T, p[2]), view(mem, T, p[3])
    a, b, less = view(mem, T, p[4]), view(mem, T, p[5]), p[6]
    for k in range(out[SIZE]):
        x, y = load_broadcast(left, k), load_broadcast(right, k)
        yes, no = load_broadcast(a, k), load_broadcast(b, k)
        store(out, k, yes if (x < y if less else x == y) else no)


@compiled
def arg(mem, T, p):
    """SPEC 5.11."""
    out, a, largest = view(mem, T, p[1]), view(mem, T, p[2]), p[3]
    for k in range(out[SIZE]):
        first = k * a[COLUMNS]
        best = np.int64(0)
        for i in range(a[COLUMNS]):
            new, old = load(a, first + i), load(a, first + best)
            if (new > old) if largest else (new < old):
                best = np.int64(i)
        store(out, k, best)


@compiled
def advance(mem, T, p):
    """SPEC 5.12."""
    t = view(mem, T, p[1])
    store(t, 0, (load(t, 0) + 1) & t[HI])


@compiled
def run(mem, T, ops, first, last):
    """Operations first to last - 1, in order."""
    for index in range(first, last):
        p = ops[index]
        verb = p[0]
        if verb == CONTRACT:
            contract(mem, T, p)
        elif verb == SCALE:
            scale(mem, T, p)
        elif verb == LUT:
            lut(mem, T, p)
        elif verb == FLOW:
            flow(mem, T, p)
        elif verb == OUTER_UPDATE:
            outer_update(mem, T, p)
        elif verb == UPDATE:
            update(mem, T, p)
        elif verb == LATTICE:
            lattice(mem, T, p)
        elif verb == GATHER:
            gather(mem, T, p)
        elif verb == POOL:
            pool(mem, T, p)
        elif verb == SELECT:
            select(mem, T, p)
        elif verb == ARG:
            arg(mem, T, p)
        elif verb == ADVANCE:
            advance(mem, T, p)


@compiled
def stream(mem, T, ops, feeds, fed, taps, tapped):
    """Run all operations once a row: `fed` rows go into the tensors `feeds`, those of `taps` are kept in `tapped`."""
    for row in range(fed.shape[0]):
        column = 0
        for tensor in feeds:
            target = view(mem, T, tensor)
            for k in range(target[SIZE]):
                store(target, k, fed[row, column + k])
            column += target[SIZE]
        run(mem, T, ops, 0, ops.shape[0])
        column = 0
        for tensor in taps:
            source = view(mem, T, tensor)
            for k in range(source[SIZE]):
                tapped[row, column + k] = load(source, k)
            column += source[SIZE]
