"""Fixed point: formats, saturation, shifts, the lattice, quantisation and packing (SPEC 1 to 3).

This is the only rounding code besides the oracle's own (`interpreter.py`) and each backend's kernels.  It serves the
parts that turn real numbers into integers and back: `lower`, the codec and the learner.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .errors import ProgramError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

LATTICE_A = 53685  # 2^16 * 0.8192, 0.6710, 0.5497: inverse powers of the three-dimensional golden ratio, made odd
LATTICE_B = 43977
LATTICE_C = 36025

_STORED_BITS = (4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Format:
    """An integer format: the real value of a raw integer q is q * 2**exponent (SPEC 1.1).

    >>> d8 = Format(8, -8, signed=False)
    >>> (d8.lo, d8.hi, d8.stored_bits)
    (0, 255, 8)
    >>> str(Format(16, -12)), str(d8)
    ('s16 Q3.12', 'u8 Q0.8')
    """

    bits: int
    exponent: int
    signed: bool = True

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 64 or (self.bits == 64 and not self.signed):
            raise ProgramError(f"format: {self.bits} bits, allowed are 2 to 64 signed and 2 to 63 unsigned")
        if not -64 <= self.exponent <= 64:
            raise ProgramError(f"format: exponent {self.exponent}, allowed are -64 to 64")

    @property
    def lo(self) -> int:
        """Smallest raw integer."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def hi(self) -> int:
        """Largest raw integer."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @property
    def lsb(self) -> float:
        """Real value of one raw step."""
        return 2.0**self.exponent

    @property
    def stored_bits(self) -> int:
        """Bits one element takes in memory: the next of 4, 8, 16, 32, 64 (SPEC 1.2)."""
        return next(width for width in _STORED_BITS if width >= self.bits)

    def __str__(self) -> str:
        integer_bits = self.bits + self.exponent - int(self.signed)
        return f"{'s' if self.signed else 'u'}{self.bits} Q{integer_bits}.{-self.exponent}"


def byte_count(shape: tuple[int, ...], fmt: Format) -> int:
    """Bytes a tensor takes: 4-bit rows (the last axis) are padded to whole bytes (SPEC 1.2).

    >>> byte_count((10, 15), Format(4, -3)), byte_count((3,), Format(16, -12))
    (80, 6)
    """
    if fmt.stored_bits == 4:
        columns = shape[-1] if shape else 1
        return _count(shape[:-1]) * ((columns + 1) // 2)
    return _count(shape) * fmt.stored_bits // 8


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for extent in shape:
        total *= extent
    return total


def quantise(values: npt.ArrayLike, fmt: Format) -> IntArray:
    """Real numbers to raw integers: nearest, ties up, saturated (SPEC 2.3).  Formats of at most 53 bits.

    >>> quantise([-1.0, -0.5, 0.5, 300.0], Format(8, 0)).tolist()
    [-1, 0, 1, 127]
    """
    if fmt.bits > 53:
        raise ProgramError(f"quantise: {fmt} holds more than float64's 53 bits")
    scaled = np.floor(np.ldexp(np.asarray(values, np.float64), -fmt.exponent) + 0.5)
    return np.asarray(np.clip(scaled, float(fmt.lo), float(fmt.hi)), np.int64)


def dequantise(raw: npt.ArrayLike, fmt: Format) -> FloatArray:
    """Raw integers to real numbers."""
    return np.asarray(np.ldexp(np.asarray(raw, np.float64), fmt.exponent), np.float64)


def lattice_offset(i: npt.ArrayLike, j: npt.ArrayLike, t: int) -> IntArray:
    """The 16-bit lattice offset of input i, neuron j, update t (SPEC 3).

    >>> int(lattice_offset(1, 2, 3))
    53106
    """
    mixed = np.asarray(i, np.int64) * LATTICE_A + np.asarray(j, np.int64) * LATTICE_B + t * LATTICE_C
    return np.asarray(mixed & 0xFFFF, np.int64)


def pack(values: IntArray, fmt: Format) -> bytes:
    """Raw integers to little-endian bytes; 4-bit values go two a byte, low nibble first (SPEC 1.2).

    >>> pack(np.array([[1, -1, 2]]), Format(4, 0)).hex()
    'f102'
    """
    if fmt.stored_bits == 4:
        rows = values.reshape(-1, values.shape[-1] if values.ndim else 1)
        padded = np.zeros((rows.shape[0], (rows.shape[1] + 1) // 2 * 2), np.uint8)
        padded[:, : rows.shape[1]] = rows & 15
        return (padded[:, 0::2] | (padded[:, 1::2] << 4)).tobytes()
    return values.astype(_dtype(fmt)).tobytes()


def unpack(data: bytes, shape: tuple[int, ...], fmt: Format) -> IntArray:
    """The inverse of `pack`.  Raises ProgramError where the length or a padding nibble is wrong."""
    if len(data) != byte_count(shape, fmt):
        raise ProgramError(f"tensor data: {len(data)} bytes, shape {shape} as {fmt} takes {byte_count(shape, fmt)}")
    if fmt.stored_bits != 4:
        values = np.frombuffer(data, _dtype(fmt)).astype(np.int64).reshape(shape)
    else:
        columns = shape[-1] if shape else 1
        packed = np.frombuffer(data, np.uint8).reshape(-1, (columns + 1) // 2).astype(np.int64)
        nibbles = np.stack([packed & 15, packed >> 4], axis=-1).reshape(packed.shape[0], -1)
        if columns % 2 and nibbles[:, columns:].any():
            raise ProgramError("tensor data: a padding nibble is not zero")
        nibbles = nibbles[:, :columns]
        values = (np.where(nibbles > 7, nibbles - 16, nibbles) if fmt.signed else nibbles).reshape(shape)
    if values.size and (values.min() < fmt.lo or values.max() > fmt.hi):
        raise ProgramError(f"tensor data: {values.min()} to {values.max()} does not fit {fmt}")
    return values


def _dtype(fmt: Format) -> np.dtype[np.signedinteger[npt.NBitBase]] | np.dtype[np.unsignedinteger[npt.NBitBase]]:
    return np.dtype(f"<{'i' if fmt.signed else 'u'}{fmt.stored_bits // 8}")
