"""The encoding of SPEC 6.3 in 32-bit integers: multiply, add, shift."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..fixed import quantise
from ..operations import Kind
from ..program import Program

MOST_STEPS = 1 << 15
WORD_BITS = 30
LARGEST = float(1 << 30)


@dataclass(frozen=True)
class IntegerEncoding:
    """raw = (clip(x, low, high) - low) * factor + offset[i] >> shift, saturated; x counts steps of 2^-`scale`.

    `low` to `high` are whole numbers of steps.  `differing`: of all `checked` pairs of x and feature, how many give
    another raw number than SPEC 6.3 in float64; never by more than `most_apart`.
    """

    scale: int
    low: int
    high: int
    factor: int
    shift: int
    offsets: tuple[int, ...]
    raw_low: int
    raw_high: int
    checked: int
    differing: int
    most_apart: int


def integer_encoding(program: Program) -> IntegerEncoding:
    """The encoding of a Program, checked against float64 for every x in its range and every feature.

    Where low and high are whole numbers not too far apart, x is a whole number of the data's own units; else it counts
    steps of a power of two.  Features that share a centre are one check.
    """
    encoding, fmt = program.encoding, next(program.of_kind(Kind.SAMPLE)).format
    width = encoding.high - encoding.low
    largest = max(abs(encoding.low), abs(encoding.high))
    whole = encoding.low == round(encoding.low) and encoding.high == round(encoding.high) and 1 <= width <= MOST_STEPS
    scale = 0 if whole and largest < LARGEST else math.floor(math.log2(MOST_STEPS / width))
    scale = min(scale, math.floor(math.log2(LARGEST / largest)))  # low and high themselves are 32-bit numbers
    low, high = (round(math.ldexp(end, scale)) for end in (encoding.low, encoding.high))
    fraction = -fmt.exponent
    shift = WORD_BITS - fraction
    # x - low <= steps, so the product stays within 2^30 + steps / 2, the offset within 2^30: 32 bits hold the sum.
    factor = round((1 << WORD_BITS) / max(high - low, 1))
    centres = np.asarray(encoding.centre)
    offsets = np.floor(np.ldexp(0.5 - np.ldexp(centres, fraction), shift) + 0.5).astype(np.int64)
    steps = np.arange(low, high + 1, dtype=np.int64)
    u = np.clip((np.ldexp(steps.astype(np.float64), -scale) - encoding.low) / width, 0.0, 1.0)
    differing = most = 0
    for centre, offset in zip(centres, offsets, strict=True):
        ours = np.clip((steps - low) * factor + offset >> shift, fmt.lo, fmt.hi)
        apart = np.abs(ours - quantise(u - centre, fmt))
        differing += int((apart > 0).sum())
        most = max(most, int(apart.max()))
    return IntegerEncoding(
        *(scale, low, high, factor, shift, tuple(offsets.tolist()), fmt.lo, fmt.hi),
        *(len(steps) * len(centres), differing, most),
    )
