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
from .wide import (
    BLOCK,
    DRIVE,
    ENTROPY_HIGH,
    ENTROPY_WRAPPED,
    FIRST,
    LANES,
    LAST,
    MEAN,
    MOVED,
    NEURONS,
    ROWS,
    Z,
    flow_lanes,
    learn_4,
    learn_8,
    learn_16,
    scale_16,
    split_16,
    tile_4,
    tile_8,
    tile_16,
    tile_16_planes,
    tile_16_planes_pair,
)

S4, U4, S8, U8, S16, U16, S32, U32, S64 = range(9)
FLOOR, HALF, LATTICE_ROUNDING = range(3)
(CONTRACT, SCALE, LUT, FLOW, OUTER_UPDATE, UPDATE, LATTICE, GATHER, POOL, SELECT, ARG, ADVANCE) = range(12)
STEP_I = 53685  # the lattice's A: from one input to the next
AXES = 24  # where a contraction's loops start in its row: first count of output axes, count of summed axes
MATRIX = 48  # where what `matrix` needs starts in it
PANEL = 16  # rows of a matrix that stay in the nearest cache: 32 KiB for a thousand elements of 16 bits
ADDRESS, KIND, SIZE, COLUMNS, LO, HI = range(6)  # fields of a view

inlined = njit(cache=True, forceinline=True)
compiled = njit(cache=True)


@inlined
def view(mem, T, tensor):
    """(address, kind, elements, columns, lo, hi) of a tensor."""
    return mem + T[tensor, 1], T[tensor, 0], T[tensor, 2], T[tensor, 3], T[tensor, 4], T[tensor, 5]


@inlined
def known_s16(a):
    """The same view with a kind that the compiler knows: where it is inlined, a load is one instruction."""
    return a[ADDRESS], S16, a[SIZE], a[COLUMNS], a[LO], a[HI]


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
def repeated(a, k):
    """Which flat element of an operand that repeats stands at k (SPEC 4.5)."""
    return k if k < a[SIZE] else k % max(a[SIZE], 1)


@inlined
def load_broadcast(a, k):
    """Flat element k of an operand that repeats."""
    return load(a, repeated(a, k))


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
def optional(mem, T, tensor):
    """The view of an operand that may be absent; one without elements, which nothing reads, where it is."""
    return view(mem, T, tensor) if tensor >= 0 else (mem, 0, 0, 1, 0, 0)


@inlined
def _tail(mem, T, p):
    """What contract and scale share, read once: Numba counts references each time an element looks at T or p."""
    t = counter(mem, T, p[5])
    return view(mem, T, p[1]), optional(mem, T, p[4]), p[6], p[7], p[8], p[9], p[10], t


@inlined
def _finish(tail, k, at_c, value):
    """The tail itself: gain, carried operand, requantise, store."""
    out, c, c_shift, gain, shift, rounding, row, t = tail
    value *= gain
    if c[SIZE] > 0:
        value += load(c, at_c) << c_shift
    store(out, k, requantise(value, shift, rounding, row, k, t, out[LO], out[HI]))


@inlined
def pack(operand, rows, row_step, step, count, planes, to):
    """Rows of an operand as 16-bit lanes, each filled up with zeros to whole steps of the wide loops.

    One plane holds the numbers themselves, two hold their low bytes and their high bytes.
    """
    if operand[KIND] == S16 and step == 1 and planes == 2:
        whole, padded = whole_steps(count), whole_steps(count + LANES - 1)
        for row in range(rows):
            low = to + 4 * row * padded
            split_16(operand[ADDRESS] + 2 * row * row_step, low, low + 2 * padded, whole)
        _pack(operand, rows, row_step, step, count, planes, to, whole)
    elif operand[KIND] == S16:
        _pack(known_s16(operand), rows, row_step, step, count, planes, to, 0)
    else:
        _pack(operand, rows, row_step, step, count, planes, to, 0)


@inlined
def _pack(operand, rows, row_step, step, count, planes, to, start):
    padded = whole_steps(count + LANES - 1)
    for first in range(start, padded, LANES):  # so that a transposed operand is read a few lines of memory at a time
        for row in range(rows):
            address = to + 2 * (row * planes * padded + first)
            for k in range(first, first + LANES):
                value = load_at(operand, row * row_step + k * step) if k < count else np.int64(0)
                if planes == 2:
                    poke_16(address, value & 255)
                    poke_16(address + 2 * padded, value >> 8)
                else:
                    poke_16(address, value)
                address += 2


@inlined
def whole_steps(count):
    """The largest multiple of LANES that is not above a count."""
    return count & -LANES


@inlined
def _tile(bits, planes, pair, rows, row, last, row_bytes, x, x_bytes, plane_bytes, count, totals):
    """Four rows from `row` on (where there are fewer, the last again) times x, or times a pair of them."""
    w0, w1 = rows + row * row_bytes, rows + min(row + 1, last) * row_bytes
    w2, w3 = rows + min(row + 2, last) * row_bytes, rows + min(row + 3, last) * row_bytes
    if pair:
        tile_16_planes_pair(w0, w1, w2, w3, x, x + x_bytes, plane_bytes, count, totals)
    elif planes == 2:
        tile_16_planes(w0, w1, w2, w3, x, plane_bytes, count, totals)
    elif bits == 16:
        tile_16(w0, w1, w2, w3, x, plane_bytes, count, totals)
    elif bits == 8:
        tile_8(w0, w1, w2, w3, x, plane_bytes, count, totals)
    else:
        tile_4(w0, w1, w2, w3, x, plane_bytes, count, totals)


@compiled
def matrix(mem, T, p):
    """SPEC 5.1 where one axis is summed: rows of a times rows of b, four of the one with one of the other at a time.

    Rows of a are taken where they are if they lie in one piece, else packed; rows of b are always packed, in two
    planes if their elements are wider than bytes.  A product with a byte has 23 bits at most, so lanes of 32 bits
    hold the sums of a BLOCK.  A PANEL of rows stays near while all rows of b pass.
    """
    a, b, tail = view(mem, T, p[2]), view(mem, T, p[3]), _tail(mem, T, p)
    rows, row_step, step, out_row = p[MATRIX + 1], p[MATRIX + 2], p[MATRIX + 3], p[MATRIX + 4]
    columns, column_step, b_step, out_column = p[MATRIX + 5], p[MATRIX + 6], p[MATRIX + 7], p[MATRIX + 8]
    count, planes, bits, totals = p[MATRIX + 9], p[MATRIX + 10], p[MATRIX + 11], mem + p[MATRIX + 12]
    c_row, c_column, a_column = p[MATRIX + 13], p[MATRIX + 14], p[MATRIX + 15]
    padded = whole_steps(count + LANES - 1)
    packed_b = totals + 2 * 8 * ROWS
    pack(b, columns, column_step, b_step, count, planes, packed_b)
    start, row_bytes, width, whole = a[ADDRESS], (row_step * bits) >> 3, bits, whole_steps(count)
    if bits == 0:
        start, row_bytes, width, whole = packed_b + columns * 2 * planes * padded, 2 * padded, np.int64(16), padded
        pack(a, rows, row_step, step, count, np.int64(1), start)
    x_bytes = 2 * planes * padded
    for panel in range(0, rows, PANEL):
        column = np.int64(0)
        while column < columns:
            pair = planes == 2 and column + 1 < columns and a_column == 0
            x = packed_b + column * x_bytes
            own = start + ((column * a_column * bits) >> 3)
            for row in range(panel, min(panel + PANEL, rows), ROWS):
                for each in range(2 * ROWS):
                    poke_64(totals + 8 * each, 0)
                for first in range(0, whole, BLOCK):
                    begin, from_x, block = own + ((first * width) >> 3), x + 2 * first, min(whole - first, BLOCK)
                    _tile(
                        width, planes, pair, begin, row, rows - 1, row_bytes, from_x, x_bytes, 2 * padded, block, totals
                    )
                for j in range(column, column + 1 + pair):
                    for i in range(row, min(row + ROWS, rows)):
                        total = peek_s64(totals + 8 * ((j - column) * ROWS + i - row))
                        for k in range(whole, count):
                            at_a = i * row_step + j * a_column + k
                            total += load_at(a, at_a) * load_at(b, j * column_step + k * b_step)
                        _finish(tail, i * out_row + j * out_column, i * c_row + j * c_column, total)
            column += 1 + pair


@compiled
def contract(mem, T, p):
    """SPEC 5.1.  The row's loops: (extent, step in a, step in b), output axes first, then summed axes."""
    a, b, tail, size = view(mem, T, p[2]), view(mem, T, p[3]), _tail(mem, T, p), T[p[1], SIZE]
    outs, sums = p[AXES], p[AXES + 1]
    first_sum = AXES + 2 + 3 * outs
    inner = sums - 1  # the last summed axis has a loop of its own
    last = first_sum + 3 * inner
    extent, step_a, step_b = p[last], p[last + 1], p[last + 2]
    outer = np.int64(1)
    for axis in range(inner):
        outer *= p[first_sum + 3 * axis]
    for k in range(size):
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
            for each in range(extent):
                total += load_at(a, from_a + each * step_a) * load_at(b, from_b + each * step_b)
        _finish(tail, k, repeated(tail[1], k), total)


@compiled
def scale(mem, T, p):
    """SPEC 5.2.  A batch goes the wide way: 16 bits, whole operands or scalars, no lattice."""
    a, b, tail = view(mem, T, p[2]), optional(mem, T, p[3]), _tail(mem, T, p)
    out, c, c_shift, gain, shift, rounding, _, _ = tail
    whole = np.int64(0)
    if p[11] and out[SIZE] >= LANES:
        whole = whole_steps(out[SIZE])
        at_a, a_step = _lanes_of(a, mem + p[11], 0)
        at_b, b_step = _lanes_of(b, mem + p[11] + 2 * LANES, 1)
        at_c, c_step = _lanes_of(c, mem + p[11] + 4 * LANES, 0)
        r = half(shift) if rounding == HALF else np.int64(0)
        scale_16(
            at_a, a_step, at_b, b_step, at_c, c_step, out[ADDRESS], whole, gain, c_shift, r, shift, out[LO], out[HI]
        )
    for k in range(whole, out[SIZE]):
        value = load_broadcast(a, k)
        if b[SIZE] > 0:
            value *= load_broadcast(b, k)
        _finish(tail, k, repeated(c, k), value)


@inlined
def _lanes_of(a, work, absent):
    """Where the lanes of an operand stand, and how far apart; a scalar, and what is absent, fill a step of them."""
    if a[SIZE] > 1:
        return a[ADDRESS], 2 * LANES
    value = load(a, 0) if a[SIZE] == 1 else np.int64(absent)
    for each in range(LANES):
        poke_16(work + 2 * each, value)
    return work, 0


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
    if out[KIND] == S16 and x[KIND] == S16 and table[KIND] == S16:
        _lut(known_s16(out), known_s16(x), known_s16(table), p[4], p[5], p[6])
    else:
        _lut(out, x, table, p[4], p[5], p[6])


@inlined
def _lut(out, x, table, lo, width, shift):
    for k in range(out[SIZE]):
        y = interpolate(table, load(x, k), lo, width)
        store(out, k, saturate((y + half(shift)) >> shift, out[LO], out[HI]))


@compiled
def flow(mem, T, p):
    """SPEC 5.4, NEURONS at a time: widened into the workspace, moved there, rounded and stored one by one."""
    factor, decision, entropy = view(mem, T, p[1]), view(mem, T, p[2]), view(mem, T, p[3])
    z, gain, t = view(mem, T, p[4]), load(view(mem, T, p[5]), 0), counter(mem, T, p[7])
    lo, width, steps, rate, rate_shift, shift, row = p[10], p[11], p[12], p[13], p[14], p[15], p[16]
    guard, entropy_shift, decision_shift, fraction = p[17], p[18], p[20], p[21]
    block, table, last = mem + p[22], mem + p[23], T[p[6], 2] - 1
    y_lo, y_hi = z[LO] << guard, (z[HI] << guard) + (np.int64(1) << guard) - 1
    emitted = FIRST if p[19] else LAST
    mean, drive = optional(mem, T, p[8]), optional(mem, T, p[9])
    entropy_sum = np.int64(0)
    for first in range(0, z[SIZE], NEURONS):
        neurons = min(z[SIZE] - first, NEURONS)
        for j in range(neurons):
            poke_32(lane(block, Z, j), load(z, first + j))
            poke_32(lane(block, MEAN, j), load(mean, first + j) if mean[SIZE] > 0 else np.int64(0))
            poke_32(lane(block, DRIVE, j), load(drive, first + j) if drive[SIZE] > 0 else np.int64(0))
        flow_lanes(
            block, neurons, table, lo, width, last, steps, rate, rate_shift, guard, entropy_shift, fraction, y_lo, y_hi
        )
        for j in range(neurons):
            moved, left = peek_s32(lane(block, MOVED, j)), peek_s32(lane(block, emitted, j))
            total = (moved * gain + offset(row, first + j, t, shift)) >> shift
            store(factor, first + j, saturate(total, factor[LO], factor[HI]))
            left = (left + half(decision_shift)) >> decision_shift
            store(decision, first + j, saturate(left, decision[LO], decision[HI]))
            high = peek_s32(lane(block, ENTROPY_HIGH, j)) << 16
            entropy_sum += high + ((peek_s32(lane(block, ENTROPY_WRAPPED, j)) - high) & 0xFFFFFFFF)
    store(entropy, 0, entropy_sum)


@inlined
def lane(block, vector, j):
    """Address of a neuron's number in the flow's block."""
    return block + 4 * (vector * NEURONS + j)


@compiled
def outer_update(mem, T, p):
    """SPEC 5.5.  At a shift of 16 and the profiles' widths, whole steps of a row go the wide way."""
    w, s_of, x, shift = view(mem, T, p[1]), view(mem, T, p[2]), view(mem, T, p[3]), p[5]
    bits, widened, t = p[6], mem + p[7], counter(mem, T, p[4])
    towards, x_shift, w_shift = p[8], p[9], p[10]
    columns = w[SIZE] // s_of[SIZE]
    fields = x[SIZE] // columns  # how many rows of inputs there are
    whole = whole_steps(columns) if bits > 0 else np.int64(0)
    row_bytes = ((columns + (columns & 1)) * 4 if bits == 4 else columns * bits) >> 3
    for j in range(s_of[SIZE]):
        s = load(s_of, j)
        if s == 0 and fields > 1:  # an offset alone is below 2^shift: it moves nothing
            continue
        at_x = (j % fields) * columns
        lanes = x[ADDRESS] + 2 * at_x
        if x[KIND] != S16:
            lanes = widened
            if fields > 1 or j == 0:
                for i in range(whole):
                    poke_16(widened + 2 * i, load(x, at_x + i))
        if s == 0:
            continue
        from_w, start = w[ADDRESS] + j * row_bytes, offset(0, j, t, 16)
        if bits == 16:
            learn_16(from_w, lanes, s, start, STEP_I, whole)
        elif bits == 8:
            learn_8(from_w, lanes, s, start, STEP_I, whole)
        elif bits == 4:
            learn_4(from_w, lanes, s, start, STEP_I, whole)
        for i in range(whole, columns):
            at_w = j * columns + i
            aim = load(x, at_x + i)
            if towards:
                aim = (aim << x_shift) - (load(w, at_w) << w_shift)
            delta = (s * aim + offset(i, j, t, shift)) >> shift
            store(w, at_w, saturate(load(w, at_w) + delta, w[LO], w[HI]))


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
        if verb == CONTRACT and p[MATRIX]:
            matrix(mem, T, p)
        elif verb == CONTRACT:
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
