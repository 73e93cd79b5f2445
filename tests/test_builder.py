"""The builder against numbers worked out by hand: tables, shifts, rates, and what operation each method writes."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import pytest

from ska_edge.builder import ENTROPY, KNOWLEDGE, Builder
from ska_edge.errors import NetworkError
from ska_edge.fixed import Format, IntArray, pack
from ska_edge.lowering import lower
from ska_edge.network import Network
from ska_edge.operations import (
    Advance,
    Contract,
    Flow,
    Kind,
    Lut,
    Op,
    OuterUpdate,
    Role,
    Rounding,
    Scale,
    Select,
    Site,
    Tensor,
    Update,
)
from ska_edge.profiles import PROFILES, Profile
from ska_edge.program import Encoding, Program

SIGMOID_D8 = "8ab006062da91ccc154444e7700902f508e213f0b297b8e321d7acfc34c8b9cf"
SIGMOID_D15 = "5ec149f4aaa7d9c91d60c63c3f9436e051ac8d08e4b6807d9bcba8835b5bf405"
LN2 = math.log(2.0)
D8 = PROFILES["w8d8"].decision


def builder(profile: str = "w8d8") -> Builder:
    return Builder(PROFILES[profile])


def scratch(build: Builder, name: str, fmt: Format, shape: tuple[int, ...] = (3,), layer: int = 1) -> Tensor:
    return build.scratch(name, shape, fmt, Kind.OTHER, layer)


def given(build: Builder, name: str, fmt: Format, shape: tuple[int, ...] = (3,)) -> Tensor:
    return build.tensor(name, shape, fmt, Role.INPUT, Kind.OTHER, 1)


def built(build: Builder) -> Program:
    return build.program(Encoding(), {})


def only_op(build: Builder) -> Op:
    (op,) = built(build).sections["learn"]
    return op


def decide(build: Builder) -> None:
    """An operation that reads the sigmoid: constants that nothing reads are left out."""
    z = build.tensor("z", (1,), KNOWLEDGE, Role.INPUT, Kind.KNOWLEDGE, 1)
    build.sigmoid("infer", build.scratch("D", (1,), build.profile.decision, Kind.DECISION, 1), z)


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "entries", "digest"),
    [
        ("w4d8", 129, SIGMOID_D8),
        ("w8d8", 129, SIGMOID_D8),
        ("w16d8", 129, SIGMOID_D8),
        ("w16d15", 257, SIGMOID_D15),
    ],
)
def test_the_sigmoid_table(profile: str, entries: int, digest: str) -> None:
    """sigmoid(0) is 1/2; sigmoid(1) = 0.7310586, sigmoid(-8) = 0.00033535 and sigmoid(4) = 0.9820138, times 2^15."""
    build = builder(profile)
    decide(build)
    program = built(build)
    table, tensor = program.values["sigmoid"], program.by_name["sigmoid"]
    assert (tensor.format, tensor.role, tensor.kind, tensor.layer) == (Format(16, -15), Role.CONST, Kind.TABLE, None)
    a_unit = (entries - 1) // 16
    assert table.shape == (entries,)
    assert table[8 * a_unit] == 16384
    assert table[9 * a_unit] == round(0.7310586 * 32768) == 23955
    assert table[12 * a_unit] == round(0.9820138 * 32768) == 32179
    assert table[0] == 11
    assert table[-1] == 32768 - 11
    assert (np.abs(table + table[::-1] - 32768) <= 1).all()
    assert (np.diff(table) >= 0).all()
    assert hashlib.sha256(pack(table, tensor.format)).hexdigest() == digest


def test_the_counter() -> None:
    program = built(builder())
    assert program.by_name["t"] == Tensor("t", (), Format(16, 0, signed=False), Role.STATE, Kind.COUNTER)
    assert program.values["t"] == 0


@pytest.mark.parametrize(("profile", "width", "shift"), [("w8d8", 9, 7), ("w16d15", 8, 0)])
def test_sigmoid(profile: str, width: int, shift: int) -> None:
    build = builder(profile)
    z = given(build, "z", KNOWLEDGE)
    build.sigmoid("learn", scratch(build, "d", build.profile.decision), z)
    assert Format(16, -12) == KNOWLEDGE
    assert only_op(build) == Lut("d", "z", "sigmoid", -32768, width, shift, layer=1)


def test_a_decision_of_14_bits_has_the_wider_segments() -> None:
    build = Builder(Profile("w8d14", 8, Format(16, -14)))
    decide(build)
    assert built(build).values["sigmoid"].shape == (129,)


def test_biases_are_no_finer_than_they_need_to_be() -> None:
    """Products of eight-bit weights and inputs are finer than 2^-11."""
    program = lower(Network((64, 16, 10)), "w8d8")
    for name in ("b1", "head_b1"):
        assert program.by_name[name].format == Format(16, -11)
    assert program.by_name["W1"].format.exponent + program.by_name["x"].format.exponent < -11


def rates_of(build: Builder, x: Tensor, rate: float) -> tuple[Program, IntArray]:
    build.normalised_rate("learn", "n", x, rate, 1)
    program = built(build)
    return program, program.values["n.rates"]


def test_the_table_of_rates() -> None:
    """64 inputs below 1: 1 + |x|^2 < 65 < 2^7, so that a segment is 2 wide; 3/4 over 2, 2, 4, 6 ... 128, times 2^16."""
    build = builder()
    program, rates = rates_of(build, given(build, "x", D8, (64,)), 0.75 * LN2)
    assert program.by_name["n.norm"].format == Format(16, -9, signed=False)
    assert program.by_name["n.norm"].kind is Kind.NORM
    assert program.by_name["n.rate"].format == program.by_name["n.rates"].format == Format(16, -16)
    assert rates.tolist()[:5] == [24576, 24576, 12288, 8192, 6144]
    assert len(rates) == 65
    assert rates[64] == 384
    assert (int(program.values["n.one"]), program.by_name["n.one"].format) == (1, Format(2, 0, signed=False))
    norm, lookup = program.sections["learn"]
    assert norm == Contract(
        *("n.norm", "x", "x", "i,i->"), c="n.one", c_shift=16, shift=7, rounding=Rounding.HALF, layer=1,
        site=Site.SYNAPSE, acc_bits=32,
    )  # fmt: skip
    assert lookup == Lut("n.rate", "n.norm", "n.rates", 0, 10, layer=1)


@pytest.mark.parametrize(
    ("inputs", "exponent"),
    [(1, -15), (2, -14), (3, -14), (4, -13), (31, -11), (32, -10), (255, -8), (784, -6)],
)
def test_the_norm_holds_the_largest_sample(inputs: int, exponent: int) -> None:
    """1 + n (255/256)^2, and the power of two above it."""
    build = builder()
    program, _ = rates_of(build, given(build, "x", D8, (inputs,)), 0.01)
    assert program.by_name["n.norm"].format.exponent == exponent
    assert 1 + inputs * (255 / 256) ** 2 <= 65536 * 2.0**exponent < 2 * (1 + inputs * (255 / 256) ** 2)


def test_the_norm_is_a_sum_of_squares() -> None:
    """Three inputs below 4: 1 + 3 * 3.984375^2 is 48.6."""
    build = builder()
    program, _ = rates_of(build, given(build, "x", Format(8, -6, signed=False)), 0.01)
    assert program.by_name["n.norm"].format.exponent == 6 - 16


@pytest.mark.parametrize(
    ("rate", "exponent", "first"), [(0.76, -16, 24904), (0.49, -17, 32113), (0.51, -16, 16712), (2.0, -15, 32767)]
)
def test_the_first_rate_takes_all_bits(rate: float, exponent: int, first: int) -> None:
    """rate / 2, in the smallest power of two above it."""
    build = builder()
    program, rates = rates_of(build, given(build, "x", D8, (64,)), rate * LN2)
    assert (program.by_name["n.rates"].format.exponent, rates[0]) == (exponent, first)


# --- sums -------------------------------------------------------------------------------------------------------------


def test_contract() -> None:
    """Exponents -5 and -8 make a product of -13: out of -4 takes a shift of 9, c of -11 one of 2 to the left."""
    build = builder()
    a, b, c = given(build, "a", Format(8, -5), (2, 3)), given(build, "b", D8), given(build, "c", Format(16, -11), (2,))
    build.contract("learn", scratch(build, "y", Format(16, -4), (2,)), a, b, "oi,i->o", c=c, gain=-3)
    assert only_op(build) == Contract(
        "y", "a", "b", "oi,i->o", c="c", c_shift=2, gain=-3, shift=9, rounding=Rounding.HALF, layer=1,
        site=Site.SYNAPSE, acc_bits=32,
    )  # fmt: skip


def test_contract_without_a_carried_operand() -> None:
    build = builder()
    a, b = given(build, "a", Format(8, -5)), given(build, "b", D8)
    build.contract("learn", scratch(build, "y", Format(16, -4), ()), a, b, "i,i->", site=Site.SOMA)
    assert only_op(build) == Contract(
        "y", "a", "b", "i,i->", shift=9, rounding=Rounding.HALF, layer=1, site=Site.SOMA, acc_bits=32
    )


def test_scale() -> None:
    build = builder()
    a, b, c = given(build, "a", Format(8, -5)), given(build, "b", D8), given(build, "c", Format(8, -10))
    build.scale("learn", scratch(build, "y", Format(16, -4)), a, b, c=c, gain=-1, dither_row=7)
    assert only_op(build) == Scale(
        "y", "a", "b", c="c", t="t", c_shift=3, gain=-1, shift=9, rounding=Rounding.LATTICE, row=7, layer=1,
        acc_bits=32,
    )  # fmt: skip


def test_scale_of_one_operand() -> None:
    build = builder()
    a = given(build, "a", Format(8, -5))
    build.scale("learn", scratch(build, "y", Format(16, -7)), a)
    assert only_op(build) == Scale("y", "a", shift=-2, rounding=Rounding.HALF, layer=1, acc_bits=32)


def test_scale_dithered_as_the_first_row() -> None:
    build = builder()
    build.scale("learn", scratch(build, "y", Format(16, -4)), given(build, "a", Format(8, -5)), dither_row=0)
    op = only_op(build)
    assert isinstance(op, Scale)
    assert (op.t, op.row, op.rounding) == ("t", 0, Rounding.LATTICE)


@pytest.mark.parametrize(("bits", "acc_bits"), [(16, 32), (17, 64)])
def test_accumulators_are_narrowed_where_32_bits_hold_them(bits: int, acc_bits: int) -> None:
    """-2^15 times -2^15 takes 32 bits with its sign; one bit more takes 33."""
    build = builder()
    a, b = given(build, "a", Format(bits, 0)), given(build, "b", Format(16, 0))
    build.scale("learn", scratch(build, "y", Format(16, 0)), a, b)
    op = only_op(build)
    assert isinstance(op, Scale)
    assert op.acc_bits == acc_bits


def test_select_and_finish() -> None:
    build = builder()
    p, q = given(build, "p", D8), given(build, "q", D8)
    build.select("learn", scratch(build, "y", D8), p, "lt", q, q, p)
    build.finish("learn")
    assert built(build).sections["learn"] == (Select("y", "p", "q", "q", "p", "lt", layer=1), Advance("t"))


# --- flow and updates -------------------------------------------------------------------------------------------------


def flow_of(rate: float, profile: str = "w8d8", **more: Any) -> Flow:
    """A flow whose factor has exponent -20 and whose gain has -12."""
    build = builder(profile)
    z, gain = given(build, "z", KNOWLEDGE), given(build, "gain", Format(16, -12), ())
    if more.pop("with_drive", False):
        more["drive"] = given(build, "drive", KNOWLEDGE)
    factor, decision = scratch(build, "s", Format(16, -20)), scratch(build, "d", build.profile.decision)
    build.flow("learn", factor, decision, z, gain, steps=7, rate=rate, row=65, **more)
    op = only_op(build)
    assert isinstance(op, Flow)
    assert built(build).by_name["entropy1"] == Tensor("entropy1", (), ENTROPY, Role.OUTPUT, Kind.ENTROPY, 1)
    return op


def test_flow() -> None:
    """Guard 12, z of 12 and decisions of 15 fraction bits: rate / ln 2 * 2^9, in 13 bits: 512 * 2^3 for ln 2."""
    assert Format(64, -27) == ENTROPY
    assert flow_of(LN2) == Flow(
        "s", "d", "entropy1", "z", "gain", "sigmoid", "t", -32768, 9, 7, 4096, 3, 7, 65, guard=12, decision_shift=7,
        layer=1,
    )  # fmt: skip


def test_flow_with_everything() -> None:
    assert flow_of(LN2, "w16d15", with_drive=True, entropy_shift=5, emit_first=True) == Flow(
        "s", "d", "entropy1", "z", "gain", "sigmoid", "t", -32768, 8, 7, 4096, 3, 7, 65, guard=12, decision_shift=0,
        drive="drive", entropy_shift=5, emit_first=True, layer=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rate", "raw", "shift"),
    [
        (0.03, 5673, 8),  # 22.1597 * 256
        (0.001, 6051, 13),  # 0.738657 * 8192
        (8190.4 / 4 / 512 * LN2, 8190, 2),  # nearly 8191: two bits fit, all 13 are taken
        (8191.6 / 4 / 512 * LN2, 4096, 1),
        (1e-9, 793, 30),  # 7.38657e-7 * 2^30
        (5.5, 8125, 1),
    ],
)
def test_the_rate_of_a_flow_takes_13_bits(rate: float, raw: int, shift: int) -> None:
    op = flow_of(rate)
    assert (op.rate, op.rate_shift) == (raw, shift)


def test_a_rate_that_no_shift_holds_is_refused() -> None:
    with pytest.raises(NetworkError, match=r"rate 5\.6: too large"):
        flow_of(5.6)


def test_clamped_entropy() -> None:
    build = builder()
    build.clamped_entropy("learn", given(build, "z", KNOWLEDGE), given(build, "e", Format(16, -8)))
    op = only_op(build)
    assert isinstance(op, Contract)
    assert (op.out, op.axes, op.shift, op.site) == ("entropy_class", "c,c->", -7, Site.SOMA)


@pytest.mark.parametrize(("bias", "shift", "v_shift"), [(-11, 4, 0), (-15, 0, 0), (-17, 0, 2)])
def test_learn_dense(bias: int, shift: int, v_shift: int) -> None:
    """Weights of -7, a factor of -15 and inputs of -8: 16 to shift; the bias is input 5, after five of 0 to 4."""
    build = builder()
    w = build.state("w", np.zeros((3, 5)), Format(8, -7), Kind.WEIGHT, 1)
    b = build.state("b", np.zeros(3), Format(16, bias), Kind.BIAS, 1)
    build.learn_dense("learn", w, b, given(build, "s", Format(16, -15)), given(build, "x", D8, (5,)))
    assert built(build).sections["learn"] == (
        OuterUpdate("w", "s", "x", "t", 16, layer=1, site=Site.SYNAPSE),
        Update("b", "s", "t", shift, v_shift, 5, layer=1),
    )


@pytest.mark.parametrize(("coarsest", "exponent"), [(-30, -15), (-15, -15), (-14, -14)])
def test_factor_format(coarsest: int, exponent: int) -> None:
    """Weights of -7, inputs of -8: a factor of -15 makes the shift 16."""
    build = builder()
    weights, x = given(build, "w", Format(8, -7)), given(build, "x", D8)
    assert build.factor_format(weights, x, coarsest) == Format(16, exponent)


def test_coarsened() -> None:
    """From -15 to -7 are 8 bits; a quarter of the weight's LSB is two fewer."""
    build = builder()
    factor, weights = given(build, "s", Format(16, -15)), given(build, "w", Format(8, -7))
    x = given(build, "x", D8)
    assert build.coarsened("learn", factor, weights, x, 0.25).format == factor.format
    coarse, again = built(build).sections["learn"]
    assert coarse == Scale("s.coarse", "s", shift=6, rounding=Rounding.HALF, layer=1, acc_bits=32)
    assert again == Scale("s.grained", "s.coarse", shift=-6, rounding=Rounding.HALF, layer=1, acc_bits=32)
    assert built(build).by_name["s.coarse"].format == Format(16, -9)


def test_one_bit_coarser_is_coarser() -> None:
    build = builder()
    factor, weights = given(build, "s", Format(16, -15)), given(build, "w", Format(8, -7))
    build.coarsened("learn", factor, weights, given(build, "x", D8), 2.0**-7)
    assert built(build).by_name["s.coarse"].format == Format(16, -14)


@pytest.mark.parametrize(("grain", "finer"), [(0.0, 8), (2.0**-8, 8), (2.0**-9, 8), (1.0, 0)])
def test_what_is_coarse_enough_is_left_alone(grain: float, finer: int) -> None:
    build = builder()
    factor, weights = given(build, "s", Format(16, -7 - finer)), given(build, "w", Format(8, -7))
    assert build.coarsened("learn", factor, weights, given(build, "x", D8), grain) is factor


# --- tensors ----------------------------------------------------------------------------------------------------------


def test_a_tensor_declared_twice_is_one_or_an_error() -> None:
    build = builder()
    assert scratch(build, "y", D8) == scratch(build, "y", D8)
    with pytest.raises(NetworkError, match="y: declared twice, differently"):
        scratch(build, "y", KNOWLEDGE)


def test_constants_and_states_are_quantised() -> None:
    build = builder()
    build.constant("c", [0.5, -0.26], Format(8, -2), Kind.OTHER, 2)
    build.state("w", [[0.5, -0.26]], Format(8, -2), Kind.WEIGHT, 3)
    build.scale("infer", build.scratch("out", (2,), Format(8, -2), Kind.OTHER, 2), build.named("c"))
    program = built(build)
    assert program.values["c"].tolist() == [2, -1]
    assert program.values["w"].tolist() == [[2, -1]]
    assert program.by_name["c"] == Tensor("c", (2,), Format(8, -2), Role.CONST, Kind.OTHER, 2)
    assert program.by_name["w"] == Tensor("w", (1, 2), Format(8, -2), Role.STATE, Kind.WEIGHT, 3)
