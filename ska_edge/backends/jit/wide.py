"""The loops that must be wide, as vectors of LLVM's own: no processor is named, and every processor gives equal bits.

Three of them carry a stream: `tile_*` (products with four rows at once), `flow_lanes` (32 neurons at once) and
`learn_*` (a row of weights).  LLVM would not make these of plain loops: it cannot tell that two addresses differ, and
Numba widens every sum to 64 bits.  With NUMBA_DISABLE_JIT set, the same names do the same one element at a time.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from .memory import peek_s8, peek_s16, peek_s32, peek_s64, peek_u8, peek_u32, poke_8, poke_16, poke_32, poke_64

LANES = 16  # elements a step of `tile_*` and `learn_*` takes: what they are given is a multiple of it
ROWS = 4  # rows of weights that share one load of x
BLOCK = 2048  # elements of a tile at most: 128 steps, in each of which 2 products of 23 bits enter a lane of 32
NEURONS = (
    32  # neurons a call of `flow_lanes` takes; more than a register holds, so that one's waiting is another's work
)
# int32 vectors in the block that `flow_lanes` works on: three it reads, five it writes
Z, MEAN, DRIVE, MOVED, FIRST, LAST, ENTROPY_WRAPPED, ENTROPY_HIGH = range(8)

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


# --- vectors of LLVM --------------------------------------------------------------------------------------------------


class _Code:
    """Writes vector code; numbers become splats of the other operand's type."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def splat(self, value: Any, element: Any, lanes: int) -> Any:
        """A scalar of 64 bits, or a Python number, in every lane."""
        vector = ir.VectorType(element, lanes)
        if isinstance(value, int):
            return ir.Constant(vector, [value] * lanes)
        narrow = value if value.type == element else self.builder.trunc(value, element)
        first = self.builder.insert_element(ir.Constant(vector, ir.Undefined), narrow, ir.Constant(_I32, 0))
        return self.pick(first, [0] * lanes)

    def pick(self, vector: Any, lanes: Sequence[int], other: Any = None) -> Any:
        """Lanes of a vector, or of two."""
        mask = ir.Constant(ir.VectorType(_I32, len(lanes)), list(lanes))
        return self.builder.shuffle_vector(vector, other if other is not None else vector, mask)

    def widened(self, vector: Any, element: Any) -> Any:
        """Lanes with sign in wider ones."""
        return self.builder.sext(vector, ir.VectorType(element, vector.type.count))

    def narrowed(self, vector: Any, element: Any) -> Any:
        """The low bits of every lane."""
        return self.builder.trunc(vector, ir.VectorType(element, vector.type.count))

    def at(self, start: Any, step: Any) -> Any:
        """An address so many bytes further on."""
        step = ir.Constant(_I64, step) if isinstance(step, int) else step
        return self.builder.add(start, step)

    def load(self, address: Any, element: Any, lanes: int) -> Any:
        """Lanes from memory."""
        vector = ir.VectorType(element, lanes)
        pointer = self.builder.inttoptr(address, vector.as_pointer())
        return self.builder.load(pointer, align=max(element.width // 8, 1))

    def store(self, vector: Any, address: Any) -> None:
        """Lanes to memory."""
        pointer = self.builder.inttoptr(address, vector.type.as_pointer())
        self.builder.store(vector, pointer, align=vector.type.element.width // 8)

    def called(self, name: str, result: Any, *arguments: Any) -> Any:
        """A function that LLVM has on every processor."""
        of = ir.FunctionType(result, [argument.type for argument in arguments])
        known = self.builder.module.globals.get(name)
        return self.builder.call(known or ir.Function(self.builder.module, of, name), arguments)

    def least(self, a: Any, b: Any) -> Any:
        """The smaller of each lane."""
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    def most(self, a: Any, b: Any) -> Any:
        """The larger of each lane."""
        return self.builder.select(self.builder.icmp_signed(">", a, b), a, b)

    def loop(self, count: Any, carried: Sequence[Any], body: Callable[[Any, list[Any]], Sequence[Any]]) -> list[Any]:
        """Run `body(index, carried) -> carried` so many times; what it left."""
        builder = self.builder
        before, head = builder.block, builder.append_basic_block("head")
        inside, after = builder.append_basic_block("inside"), builder.append_basic_block("after")
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(_I64)
        values = [builder.phi(value.type) for value in carried]
        builder.cbranch(builder.icmp_signed("<", index, count), inside, after)
        builder.position_at_end(inside)
        left = body(index, values)
        following = builder.add(index, ir.Constant(_I64, 1))
        for phi, start, end in zip([index, *values], [ir.Constant(_I64, 0), *carried], [following, *left], strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(end, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return values


def _written(arguments: int, write: Callable[..., None]) -> Callable[..., None]:
    """A function of so many int64 whose body `write(code, *arguments)` writes."""
    takes = [types.int64] * arguments

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        write(_Code(builder), *values)
        return context.get_dummy_value()

    def typing(typing_context: Any, *given: Any) -> Any:
        return types.void(*takes), generate

    # Numba would make one tuple of *given: it must see a name for each
    names = ("typing_context", *(f"argument{number}" for number in range(arguments)))
    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in names]
    typing.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return cast(Callable[..., None], intrinsic(typing))


# --- products with four rows (SPEC 5.1) -------------------------------------------------------------------------------


def _weights(code: _Code, address: Any, bits: int, lanes: int) -> Any:
    """Weights of a row as 16-bit lanes."""
    if bits == 16:
        return code.load(address, _I16, lanes)
    if bits == 8:
        return code.widened(code.load(address, _I8, lanes), _I16)
    half = lanes // 2
    pairs, four = code.load(address, _I8, half), code.splat(4, _I8, half)
    low = code.builder.ashr(code.builder.shl(pairs, four), four)
    high = code.builder.ashr(pairs, four)
    return code.widened(code.pick(low, [lane for pair in range(half) for lane in (pair, pair + half)], high), _I16)


def _pair_sums(code: _Code, a: Any, b: Any) -> Any:
    """a[2k]*b[2k] + a[2k+1]*b[2k+1] in 32 bits: one instruction on most processors."""
    products = code.builder.mul(code.widened(a, _I32), code.widened(b, _I32))
    even, odd = (code.pick(products, range(start, LANES, 2)) for start in (0, 1))
    return code.builder.add(even, odd)


def _split() -> Callable[..., None]:
    """split_16(x, low, high, elements): low and high bytes of 16-bit numbers, each in lanes of 16 bits."""
    if config.DISABLE_JIT:

        def plain(x: int, low: int, high: int, count: int) -> None:
            for at in range(0, 2 * count, 2):
                poke_16(low + at, peek_s16(x + at) & 255)
                poke_16(high + at, peek_s16(x + at) >> 8)

        return plain

    def write(code: _Code, x: Any, low: Any, high: Any, count: Any) -> None:
        builder = code.builder

        def body(index: Any, carried: list[Any]) -> list[Any]:
            at = builder.mul(index, ir.Constant(_I64, 2 * LANES))
            numbers = code.load(code.at(x, at), _I16, LANES)
            code.store(builder.and_(numbers, code.splat(255, _I16, LANES)), code.at(low, at))
            code.store(builder.ashr(numbers, code.splat(8, _I16, LANES)), code.at(high, at))
            return []

        code.loop(builder.sdiv(count, ir.Constant(_I64, LANES)), [], body)

    return _written(4, write)


def _tile(bits: int, planes: int, columns: int = 1) -> Callable[..., None]:
    """tile(row 0, row 1, row 2, row 3, x of each column, bytes from plane to plane, elements, out).

    Adds to out[column, r], int64, the products of row r with x, whose planes are 16-bit lanes: one that holds bytes
    with or without sign, or the low and the high bytes of numbers of 16 bits.  Elements: a multiple of LANES, at most
    BLOCK.
    """
    if config.DISABLE_JIT:

        def plain(*arguments: int) -> None:
            rows, xs, (step, count, out) = arguments[:ROWS], arguments[ROWS : ROWS + columns], arguments[-3:]
            for place, (x, row) in enumerate((x, row) for x in xs for row in rows):
                total = peek_s64(out + 8 * place)
                for plane in range(planes):
                    start = x + plane * step
                    total += sum(_weight(row, k, bits) * peek_s16(start + 2 * k) for k in range(count)) << 8 * plane
                poke_64(out + 8 * place, total)

        return plain

    def write(code: _Code, *arguments: Any) -> None:
        builder = code.builder
        rows, xs, (step, count, out) = arguments[:ROWS], arguments[ROWS : ROWS + columns], arguments[-3:]
        places = [[x] if planes == 1 else [x, code.at(x, step)] for x in xs]

        def body(index: Any, sums: list[Any]) -> list[Any]:
            first = builder.mul(index, ir.Constant(_I64, LANES))
            inputs = [[code.load(code.at(x, _bytes(code, first, 16)), _I16, LANES) for x in xs] for xs in places]
            weights = [_weights(code, code.at(row, _bytes(code, first, bits)), bits, LANES) for row in rows]
            products = [_pair_sums(code, w, x) for column in inputs for w in weights for x in column]
            return [builder.add(old, new) for old, new in zip(sums, products, strict=True)]

        steps = builder.sdiv(count, ir.Constant(_I64, LANES))
        nothing = [code.splat(0, _I32, LANES // 2)] * (ROWS * columns * planes)
        sums = code.loop(steps, nothing, body)
        for place in range(ROWS * columns):
            pointer = builder.inttoptr(code.at(out, 8 * place), _I64.as_pointer())
            low, *high = (code.widened(lanes, _I64) for lanes in sums[place * planes : (place + 1) * planes])
            for lanes in high:
                low = builder.add(low, builder.shl(lanes, code.splat(8, _I64, LANES // 2)))
            total = code.called(f"llvm.vector.reduce.add.v{LANES // 2}i64", _I64, low)
            builder.store(builder.add(builder.load(pointer), total), pointer)

    return _written(ROWS + columns + 3, write)


def _weight(row: int, k: int, bits: int) -> int:
    """Weight k of a row."""
    if bits == 16:
        return int(peek_s16(row + 2 * k))
    if bits == 8:
        return int(peek_s8(row + k))
    return _signed(peek_u8(row + (k >> 1)) >> (4 * (k & 1)), 4)


def _signed(value: int, bits: int) -> int:
    """The low bits of a number, two's complement."""
    return ((value + (1 << bits - 1)) & ((1 << bits) - 1)) - (1 << bits - 1)


# --- a row of weights learns (SPEC 5.5) -------------------------------------------------------------------------------


def _learn(bits: int) -> Callable[..., None]:
    """learn(row, x, s, offset of the row's first element, the lattice's step, elements), at a shift of 16.

    x: 16-bit lanes with sign; s fits 16 bits; weights have all the `bits` they are stored in.  Elements: a multiple of
    LANES.  s*x + offset carries into bit 16 where the low halves do, so 16-bit lanes are enough for all of it.
    """
    if config.DISABLE_JIT:

        def plain(row: int, x: int, s: int, start: int, step: int, count: int) -> None:
            for k in range(count):
                delta = (s * peek_s16(x + 2 * k) + ((start + k * step) & 0xFFFF)) >> 16
                learnt = min(max(_weight(row, k, bits) + delta, -(1 << bits - 1)), (1 << bits - 1) - 1)
                if bits == 16:
                    poke_16(row + 2 * k, learnt)
                elif bits == 8:
                    poke_8(row + k, learnt)
                else:
                    at, high = row + (k >> 1), 4 * (k & 1)
                    poke_8(at, (peek_u8(at) & (0xF0 >> high)) | ((learnt & 15) << high))

        return plain

    def write(code: _Code, row: Any, x: Any, s: Any, start: Any, step: Any, count: Any) -> None:
        builder = code.builder
        numbers = ir.Constant(ir.VectorType(_I16, 2 * LANES), list(range(2 * LANES)))
        steps = builder.mul(code.splat(step, _I16, 2 * LANES), numbers)
        offsets = builder.add(code.splat(start, _I16, 2 * LANES), steps)
        done = ir.Constant(_I64, 0)
        for lanes in (2 * LANES, LANES):  # the widest registers first, then what is left
            width = ir.Constant(_I64, lanes)
            loops = builder.sdiv(builder.sub(count, done), width)
            body = _learning(code, code.at(row, _bytes(code, done, bits)), code.at(x, _bytes(code, done, 16)), s, step)
            first = code.pick(offsets, range(lanes))
            (offsets,) = code.loop(loops, [first], partial(body, bits, lanes))
            done = builder.add(done, builder.mul(loops, width))

    return _written(6, write)


def _bytes(code: _Code, elements: Any, bits: int) -> Any:
    """Bytes that elements take, whole ones."""
    return code.builder.ashr(code.builder.mul(elements, ir.Constant(_I64, bits)), ir.Constant(_I64, 3))


def _learning(code: _Code, row: Any, x: Any, s: Any, step: Any) -> Callable[..., list[Any]]:
    """The body of the loop over a row."""
    builder = code.builder

    def body(bits: int, lanes: int, index: Any, carried: list[Any]) -> list[Any]:
        (offset,) = carried
        first = builder.mul(index, ir.Constant(_I64, lanes))
        w = _weights(code, code.at(row, _bytes(code, first, bits)), bits, lanes)
        inputs = code.load(code.at(x, _bytes(code, first, 16)), _I16, lanes)
        factor = code.splat(s, _I16, lanes)
        product = builder.mul(code.widened(factor, _I32), code.widened(inputs, _I32))
        upper = code.narrowed(builder.ashr(product, code.splat(16, _I32, lanes)), _I16)
        lower = builder.add(builder.mul(factor, inputs), offset)
        one_more = builder.add(upper, code.splat(1, _I16, lanes))
        delta = builder.select(builder.icmp_unsigned("<", lower, offset), one_more, upper)
        learnt = code.called(f"llvm.sadd.sat.v{lanes}i16", w.type, w, delta)
        _keep(code, code.at(row, _bytes(code, first, bits)), learnt, bits)
        return [builder.add(offset, code.splat(builder.mul(step, ir.Constant(_I64, lanes)), _I16, lanes))]

    return body


def _keep(code: _Code, address: Any, lanes: Any, bits: int) -> None:
    """Saturate weights and store them where `_weights` found them."""
    builder, count = code.builder, lanes.type.count
    if bits < 16:
        low, high = code.splat(-(1 << bits - 1), _I16, count), code.splat((1 << bits - 1) - 1, _I16, count)
        lanes = code.narrowed(code.least(code.most(lanes, low), high), _I8)
    if bits == 4:
        even, odd = (code.pick(lanes, range(start, count, 2)) for start in (0, 1))
        low = builder.and_(even, code.splat(15, _I8, count // 2))
        lanes = builder.or_(low, builder.shl(odd, code.splat(4, _I8, count // 2)))
    code.store(lanes, address)


# --- a batch is scaled (SPEC 5.2) -------------------------------------------------------------------------------------


def _scale() -> Callable[..., None]:
    """scale_16(a, bytes a step, b, bytes a step, c, bytes a step, out, elements, gain, c_shift, r, shift, lo, hi).

    All of 16 bits with sign; an operand that goes 0 bytes a step is LANES times the same number.  `shift` is not
    negative, r is what it rounds by.  Elements: a multiple of LANES.
    """
    if config.DISABLE_JIT:

        def plain(*arguments: int) -> None:
            a, a_step, b, b_step, c, c_step, out, count, gain, c_shift, r, shift, lo, hi = arguments
            for first in range(0, count, LANES):
                step = first // LANES
                for lane in range(0, 2 * LANES, 2):
                    product = peek_s16(a + step * a_step + lane) * peek_s16(b + step * b_step + lane)
                    total = gain * product + (peek_s16(c + step * c_step + lane) << c_shift)
                    poke_16(out + 2 * first + lane, min(max((total + r) >> shift, lo), hi))

        return plain

    def write(code: _Code, *arguments: Any) -> None:
        a, a_step, b, b_step, c, c_step, out, count, *numbers = arguments
        gain, c_shift, r, shift, lo, hi = (code.splat(number, _I64, LANES) for number in numbers)
        builder = code.builder

        def body(index: Any, carried: list[Any]) -> list[Any]:
            places = [code.at(at, builder.mul(index, step)) for at, step in ((a, a_step), (b, b_step), (c, c_step))]
            x, y, z = (code.widened(code.load(place, _I16, LANES), _I32) for place in places)
            product = code.widened(builder.mul(x, y), _I64)
            carry = builder.shl(code.widened(z, _I64), c_shift)
            total = builder.add(builder.add(builder.mul(gain, product), carry), r)
            value = code.least(code.most(builder.ashr(total, shift), lo), hi)
            code.store(code.narrowed(value, _I16), code.at(out, builder.mul(index, ir.Constant(_I64, 2 * LANES))))
            return []

        code.loop(builder.sdiv(count, ir.Constant(_I64, LANES)), [], body)

    return _written(14, write)


# --- 32 neurons flow (SPEC 5.4) ---------------------------------------------------------------------------------------

ONE = 1 << 15
FLOW_ARGUMENTS = 14


def _flow() -> Callable[..., None]:
    """flow_lanes(block, neurons, table, lo, width, last, steps, rate, rate_shift, guard, entropy_shift, fraction,
    lowest y, highest y).

    `block`: eight vectors of NEURONS int32.  `table`: an entry T[i] + (T[i+1] << 16) for i = 0 .. last - 1.
    The entropy of lane j is ENTROPY_HIGH[j] * 2^16 + ((ENTROPY_WRAPPED[j] - ENTROPY_HIGH[j] * 2^16) mod 2^32): the
    first sums what is above 16 bits, the second everything, and what lies between grows by less than 2^16 a step.
    """
    if config.DISABLE_JIT:
        return _plain_flow
    return _written(FLOW_ARGUMENTS, _write_flow)


def _write_flow(code: _Code, block: Any, neurons: Any, table: Any, *numbers: Any) -> None:
    builder = code.builder
    entries = builder.inttoptr(table, _I32.as_pointer())
    lo, width, last, _, rate, rate_shift, guard, entropy_shift, fraction, y_lo, y_hi = (
        code.splat(number, _I32, NEURONS) for number in numbers
    )
    steps, z_hi = numbers[3], builder.ashr(y_hi, guard)
    one, zero = code.splat(1, _I32, NEURONS), code.splat(0, _I32, NEURONS)

    def half(shift: Any) -> Any:
        return builder.ashr(builder.shl(one, shift), one)

    end, last_entry = builder.shl(last, width), builder.sub(last, one)
    half_width, half_guard, half_rate, half_fraction = map(half, (width, guard, rate_shift, fraction))

    def place(vector: int) -> Any:
        return code.at(block, 4 * NEURONS * vector)

    def sigma(q: Any) -> Any:
        d = code.least(code.most(builder.sub(q, lo), zero), end)
        i = code.least(builder.ashr(d, width), last_entry)
        f = builder.sub(d, builder.shl(i, width))
        entry = _gathered(code, entries, i)
        left = builder.and_(entry, code.splat(0xFFFF, _I32, NEURONS))
        slope = builder.sub(builder.lshr(entry, code.splat(16, _I32, NEURONS)), left)
        line = builder.add(builder.shl(left, width), builder.mul(slope, f))
        return builder.ashr(builder.add(line, half_width), width)

    z, mean, drive = (code.load(place(vector), _I32, NEURONS) for vector in (Z, MEAN, DRIVE))
    first = sigma(z)

    def body(_: Any, carried: list[Any]) -> list[Any]:
        y, moved, before, wrapped, high = carried
        q = code.least(builder.ashr(builder.add(y, half_guard), guard), z_hi)  # y is never below y_lo
        now = sigma(q)
        product = builder.mul(now, builder.sub(code.splat(ONE, _I32, NEURONS), now))
        fifteen = code.splat(15, _I32, NEURONS)
        slope = builder.ashr(builder.add(product, code.splat(ONE // 2, _I32, NEURONS)), fifteen)
        change = builder.sub(now, before)
        own = builder.add(builder.mul(builder.sub(q, mean), slope), builder.shl(change, fraction))
        pulled = builder.sub(builder.ashr(own, entropy_shift), builder.mul(drive, slope))
        v = builder.ashr(builder.add(pulled, half_fraction), fraction)
        entropy = builder.mul(q, builder.sub(before, now))
        step = builder.ashr(builder.add(builder.mul(v, rate), half_rate), rate_shift)
        y = code.least(code.most(builder.add(y, step), y_lo), y_hi)
        high = builder.add(high, builder.ashr(entropy, code.splat(16, _I32, NEURONS)))
        return [y, builder.add(moved, v), now, builder.add(wrapped, entropy), high]

    _, moved, before, wrapped, high = code.loop(steps, [builder.shl(z, guard), zero, first, zero, zero], body)
    for vector, lanes in ((MOVED, moved), (FIRST, first), (LAST, before)):
        code.store(lanes, place(vector))
    for vector, lanes in ((ENTROPY_WRAPPED, wrapped), (ENTROPY_HIGH, high)):
        code.store(lanes, place(vector))


def _gathered(code: _Code, entries: Any, index: Any) -> Any:
    """entries[index] for every lane."""
    builder, lanes = code.builder, index.type.count
    pointers = builder.gep(entries, [index], source_etype=_I32)
    pointers.type = ir.VectorType(entries.type, lanes)
    every = ir.Constant(ir.VectorType(ir.IntType(1), lanes), [1] * lanes)
    align, nothing = ir.Constant(_I32, 4), code.splat(0, _I32, lanes)
    return code.called(f"llvm.masked.gather.v{lanes}i32.v{lanes}p0", index.type, pointers, align, every, nothing)


def _plain_flow(block: int, neurons: int, table: int, *numbers: int) -> None:
    lo, width, last, steps, rate, rate_shift, guard, entropy_shift, fraction, y_lo, y_hi = numbers

    def sigma(q: int) -> int:
        d = min(max(q - lo, 0), last << width)
        i = min(d >> width, last - 1)
        entry = peek_u32(table + 4 * i)
        left, right = entry & 0xFFFF, entry >> 16
        return int((left << width) + (right - left) * (d - (i << width)) + (1 << width >> 1)) >> width

    for lane in range(neurons):
        z, mean, drive = (peek_s32(block + 4 * (vector * NEURONS + lane)) for vector in (Z, MEAN, DRIVE))
        y, moved, wrapped, high = z << guard, 0, 0, 0
        first = before = sigma(z)
        for _ in range(steps):
            q = min((y + (1 << guard >> 1)) >> guard, y_hi >> guard)
            now = sigma(q)
            slope = (now * (ONE - now) + ONE // 2) >> 15
            own = (q - mean) * slope + ((now - before) << fraction)
            v = ((own >> entropy_shift) - drive * slope + (1 << fraction >> 1)) >> fraction
            moved += v
            wrapped += q * (before - now)
            high += q * (before - now) >> 16
            y = min(max(y + ((v * rate + (1 << rate_shift >> 1)) >> rate_shift), y_lo), y_hi)
            before = now
        left = {MOVED: moved, FIRST: first, LAST: before, ENTROPY_WRAPPED: _signed(wrapped, 32), ENTROPY_HIGH: high}
        for vector, value in left.items():
            poke_32(block + 4 * (vector * NEURONS + lane), value)


flow_lanes = _flow()
split_16 = _split()
tile_4, tile_8, tile_16 = _tile(4, 1), _tile(8, 1), _tile(16, 1)
tile_16_planes, tile_16_planes_pair = _tile(16, 2), _tile(16, 2, columns=2)
scale_16 = _scale()
learn_16, learn_8, learn_4 = _learn(16), _learn(8), _learn(4)
