"""Formats, quantisation, packing: known answers, and the ways they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from ska_edge.errors import ProgramError
from ska_edge.fixed import Format, byte_count, dequantise, lattice_offset, pack, quantise, unpack


@pytest.mark.parametrize(
    ("fmt", "lo", "hi", "stored", "text"),
    [
        (Format(2, 0), -2, 1, 4, "s2 Q1.0"),
        (Format(2, 0, signed=False), 0, 3, 4, "u2 Q2.0"),
        (Format(4, -3), -8, 7, 4, "s4 Q0.3"),
        (Format(5, 0), -16, 15, 8, "s5 Q4.0"),
        (Format(8, -8, signed=False), 0, 255, 8, "u8 Q0.8"),
        (Format(9, 0), -256, 255, 16, "s9 Q8.0"),
        (Format(16, -12), -32768, 32767, 16, "s16 Q3.12"),
        (Format(17, 3), -65536, 65535, 32, "s17 Q19.-3"),
        (Format(32, 0), -(1 << 31), (1 << 31) - 1, 32, "s32 Q31.0"),
        (Format(33, 0), -(1 << 32), (1 << 32) - 1, 64, "s33 Q32.0"),
        (Format(63, -64, signed=False), 0, (1 << 63) - 1, 64, "u63 Q-1.64"),
        (Format(64, 64), -(1 << 63), (1 << 63) - 1, 64, "s64 Q127.-64"),
    ],
    ids=str,
)
def test_formats(fmt: Format, lo: int, hi: int, stored: int, text: str) -> None:
    assert (fmt.lo, fmt.hi, fmt.stored_bits, str(fmt)) == (lo, hi, stored, text)


def test_the_real_value_of_a_step() -> None:
    assert (Format(8, -3).lsb, Format(8, 0).lsb, Format(8, 2).lsb) == (0.125, 1.0, 4.0)
    assert dequantise([3, -1], Format(8, -2)).tolist() == [0.75, -0.25]


@pytest.mark.parametrize(
    ("bits", "exponent", "signed"), [(1, 0, True), (65, 0, True), (64, 0, False), (8, -65, True), (8, 65, True)]
)
def test_formats_there_are_not(bits: int, exponent: int, signed: bool) -> None:
    with pytest.raises(ProgramError, match=r"^format: "):
        Format(bits, exponent, signed)


def test_quantise_rounds_half_up_and_saturates() -> None:
    halves = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]
    assert quantise(halves, Format(8, 0)).tolist() == [-2, -1, 0, 1, 2, 3]
    assert quantise([0.49, 0.51, 0.74, 0.76], Format(8, -1)).tolist() == [1, 1, 1, 2]
    assert quantise([-9.0, 9.0, 1e300], Format(4, 0)).tolist() == [-8, 7, 7]
    assert quantise([-1.0, 300.0], Format(8, 0, signed=False)).tolist() == [0, 255]
    assert quantise(12.0, Format(8, 2)).tolist() == 3


def test_quantise_takes_what_a_float_holds() -> None:
    assert int(quantise(1e30, Format(53, 0))) == (1 << 52) - 1
    with pytest.raises(ProgramError, match=r"s54 Q53\.0 holds more than float64's 53 bits"):
        quantise(0.0, Format(54, 0))


@pytest.mark.parametrize(
    ("i", "j", "t", "offset"),
    [
        (0, 0, 0, 0),
        (1, 0, 0, 53685),
        (0, 1, 0, 43977),
        (0, 0, 1, 36025),
        (2, 0, 0, 41834),
        (1, 2, 3, 53106),
        (65535, 65535, 65535, 62921),
    ],
)
def test_the_lattice(i: int, j: int, t: int, offset: int) -> None:
    assert int(lattice_offset(i, j, t)) == offset


def test_the_lattice_of_a_matrix() -> None:
    j, i = np.mgrid[0:2, 0:3]
    assert lattice_offset(i, j, 1).tolist() == [[36025, 24174, 12323], [14466, 2615, 56300]]


@pytest.mark.parametrize(
    ("fmt", "values", "packed"),
    [
        (Format(4, 0), [[1, -1, 2]], "f102"),
        (Format(4, 0), [[1, -1], [7, -8]], "f187"),
        (Format(4, 0), [[-1], [-8], [7]], "0f0807"),
        (Format(4, 0, signed=False), [[15, 8, 9], [1, 2, 3]], "8f092103"),
        (Format(3, 0), [-4, 3], "3c"),
        (Format(4, 0), -5, "0b"),
        (Format(4, 0), [[[1, 2, 3]], [[4, 5, 6]]], "21035406"),
        (Format(8, 0), [1, -1], "01ff"),
        (Format(8, 0, signed=False), [255], "ff"),
        (Format(12, 0), [-2, 2047], "feffff07"),
        (Format(16, 0, signed=False), [[65535], [258]], "ffff0201"),
        (Format(32, 0), [-2], "feffffff"),
        (Format(63, 0, signed=False), [(1 << 63) - 1], "ffffffffffffff7f"),
        (Format(64, 0), [-(1 << 63)], "0000000000000080"),
    ],
    ids=str,
)
def test_packing(fmt: Format, values: object, packed: str) -> None:
    array = np.array(values, np.int64)
    data = pack(array, fmt)
    assert data.hex() == packed
    assert byte_count(array.shape, fmt) == len(data)
    again = unpack(data, array.shape, fmt)
    assert again.shape == array.shape
    assert again.tolist() == array.tolist()


@pytest.mark.parametrize(
    ("packed", "shape", "fmt", "message"),
    [
        ("01", (2,), Format(8, 0), r"1 bytes, shape \(2,\) as s8 Q7.0 takes 2"),
        ("010203", (2,), Format(8, 0), "3 bytes"),
        ("21", (3,), Format(4, 0), "1 bytes"),
        ("2113", (3,), Format(4, 0), "padding nibble"),
        ("f0", (), Format(4, 0), "padding nibble"),
        ("04", (1,), Format(3, 0), "4 to 4 does not fit s3"),
        ("0b", (1,), Format(3, 0), "-5 to -5 does not fit s3"),
        ("04", (1,), Format(2, 0, signed=False), "4 to 4 does not fit u2"),
        ("10", (1,), Format(5, 0), "16 to 16 does not fit s5"),
        ("0000000000000080", (1,), Format(63, 0, signed=False), "does not fit u63"),
    ],
)
def test_bytes_that_are_no_tensor(packed: str, shape: tuple[int, ...], fmt: Format, message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        unpack(bytes.fromhex(packed), shape, fmt)


def test_ends_of_a_format_are_no_errors() -> None:
    assert unpack(bytes.fromhex("4b"), (2,), Format(4, 0)).tolist() == [-5, 4]
    assert unpack(bytes.fromhex("34"), (2,), Format(3, 0, signed=False)).tolist() == [4, 3]
    assert unpack(bytes.fromhex("3c"), (2,), Format(3, 0)).tolist() == [-4, 3]
