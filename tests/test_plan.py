"""The memory plan: nothing alive is overwritten, the arena is what is allocated, and learning takes what is promised.

Lifetimes are worked out once more here, pair by pair, from SPEC 4.2 and 5 alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pytest
from programs import Wanted, case_of, seed_in_message, seeds

from ska_edge.backends.jit import NumbaExecutor
from ska_edge.fixed import Format
from ska_edge.layers import Convolution
from ska_edge.lowering import lower
from ska_edge.network import Network, parse_shape
from ska_edge.operations import Flow, Kind, Op, Role, Scale, Select, Tensor
from ska_edge.plan import learning_bytes, memory, plan, weight_bytes
from ska_edge.profiles import PROFILES
from ska_edge.program import Program
from ska_edge.rules import rule_named

SHAPES = ((64, 16, 10), (64, 8, 10), (100, 3, 2), (64, 16, 16, 10), (784, 256, 128, 64, 10))
RULES = {
    "published": rule_named("published"),
    "guided": rule_named("guided"),
    "guided-code": rule_named("guided", heads="code"),
    "guided-entropy": rule_named("guided", unlabelled="entropy"),
}


# --- nothing alive is overwritten -------------------------------------------------------------------------------------


def check_plan(program: Program) -> None:
    """Places are aligned and inside; state and buffers share with nothing; scratch shares only what is dead."""
    layout = plan(program)
    fixed = [(layout.fixed[t.name], t) for t in program.of_role(Role.STATE, Role.INPUT, Role.OUTPUT)]
    constants = [(layout.const[t.name], t) for t in program.of_role(Role.CONST)]
    for places, end in ((fixed, layout.fixed_bytes), (constants, layout.const_bytes)):
        for start, tensor in places:
            check_place(start, tensor, 0, end)
        for (at, first), (other, second) in combinations(places, 2):
            assert not overlap(at, first, other, second), f"{first.name} and {second.name}"
    assert all(start >= layout.state_start for start, t in fixed if t.role is Role.STATE)
    for section in program.sections:
        check_scratch(program, section, layout.scratch[section], layout.fixed_bytes, layout.arena_bytes)


def check_scratch(program: Program, section: str, places: Mapping[str, int], begin: int, end: int) -> None:
    """Every pair of scratch tensors of a section."""
    ops = program.sections[section]
    lives = {name: lifetime(ops, name) for name in places}
    assert set(places) == {n for op in ops for n in op.outputs().values() if program.by_name[n].role is Role.SCRATCH}
    for name, start in places.items():
        check_place(start, program.by_name[name], begin, end)
    for first, second in combinations(sorted(places, key=lambda name: lives[name]), 2):
        old, new = program.by_name[first], program.by_name[second]
        if lives[first][1] < lives[second][0] or not overlap(places[first], old, places[second], new):
            continue
        where = f"{section}: {first} at {places[first]}, {second} at {places[second]}; alive {lives}"
        assert lives[first][1] == lives[second][0], where
        op = ops[lives[second][0]]
        assert places[first] == places[second] and may_take_over(op, old, new), where


def lifetime(ops: tuple[Op, ...], name: str) -> tuple[int, int]:
    """From the operation that writes a tensor first to the last one that touches it."""
    touched = [i for i, op in enumerate(ops) if name in op.inputs().values() or name in op.outputs().values()]
    return touched[0], touched[-1]


def may_take_over(op: Op, old: Tensor, new: Tensor) -> bool:
    """Whether an operation may write `new` where `old` lies while it reads it: element k lands on none after k."""
    fields = [field for field, name in op.outputs().items() if name == new.name]
    sources = {op.inputs().get(source) for field in fields for source in op.elementwise.get(field, ())}
    narrow = 4 < new.format.stored_bits <= old.format.stored_bits
    return old.name in sources and old.shape == new.shape and narrow


def check_place(start: int, tensor: Tensor, begin: int, end: int) -> None:
    """Aligned to its elements, inside its part."""
    assert begin <= start and start + tensor.byte_count <= end, tensor.name
    assert start % max(tensor.format.stored_bits // 8, 1) == 0, tensor.name


def overlap(at: int, first: Tensor, other: int, second: Tensor) -> bool:
    """Whether two places share a byte."""
    return at < other + second.byte_count and other < at + first.byte_count


def test_random_programs() -> None:
    for seed in seeds(600):
        with seed_in_message(seed):
            check_plan(case_of(seed).program)


def test_random_programs_with_many_lifetimes() -> None:
    for seed in seeds(250):
        with seed_in_message(seed):
            check_plan(case_of(seed, Wanted(operations=(12, 30))).program)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("rule", RULES)
def test_networks(rule: str, profile: str) -> None:
    check_plan(lower(Network((20, 7, 5, 3), RULES[rule]), profile))


def test_an_output_does_not_enter_what_is_left_of_an_operand_taken_over() -> None:
    """z is 16 bits wide; its place goes to a factor of 8, and neuron j+1 of z is read after decision j is written."""
    z, narrow = Format(16, -12), Format(8, -8)
    tensors = (
        Tensor("x", (8,), z, Role.INPUT),
        Tensor("z", (8,), z, Role.SCRATCH),
        Tensor("sigmoid", (5,), Format(17, -15), Role.CONST),
        Tensor("gain", (), narrow, Role.INPUT),
        Tensor("t", (), Format(16, 0, signed=False), Role.STATE, Kind.COUNTER),
        Tensor("s", (8,), narrow, Role.SCRATCH),
        Tensor("D", (8,), Format(8, -8, signed=False), Role.SCRATCH),
        Tensor("entropy", (), Format(64, -27), Role.OUTPUT),
    )
    flow = Flow("s", "D", "entropy", "z", "gain", "sigmoid", "t", -32768, 14, 3, 100, 10, 20, 0, decision_shift=7)
    values = {"sigmoid": np.arange(5) * 8192, "t": np.array(0)}
    check_plan(Program(tensors, {"learn": (Scale("z", "x"), flow)}, values))


def test_a_dying_operand_hands_on_its_place() -> None:
    """The saving the plan is for: z, its successor and the one after that share one place."""
    fmt = Format(16, 0)
    names = ("z", "next", "last")
    tensors = (Tensor("x", (5,), fmt, Role.INPUT), *(Tensor(name, (5,), fmt, Role.SCRATCH) for name in names))
    ops = (Scale("z", "x"), Scale("next", "z", "z"), Select("last", "x", "next", "next", "x"))
    program = Program(tensors, {"learn": ops}, {})
    check_plan(program)
    assert memory(program)["scratch"] == 10


# --- what is allocated, and how it adds up ----------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("rule", RULES)
def test_the_core_keeps_every_tensor_in_the_arena(rule: str, profile: str) -> None:
    program = lower(Network((20, 7, 5, 3), RULES[rule]), profile)
    layout, parts = plan(program), memory(program)
    executor = NumbaExecutor(program)
    before = executor.memory[layout.arena_bytes :].copy()
    for tensor in program.of_role(Role.INPUT, Role.STATE):
        executor.write(tensor.name, np.zeros(tensor.shape, np.int64))
    assert (executor.memory[layout.arena_bytes :] == before).all()  # constants and workspace lie behind it
    assert sum(parts.values()) - parts["constants"] == layout.arena_bytes
    assert parts["constants"] == layout.const_bytes
    assert all(part >= 0 for part in parts.values())
    assert parts["weights"] + parts["heads"] + parts["biases"] == weight_bytes(program)


def test_the_parts_of_a_known_network() -> None:
    """64-16-10, weights of 8 bits: counted by hand."""
    parts = memory(lower(Network((64, 16, 10)), "w8d8"))
    assert parts["weights"] == 64 * 16
    assert parts["heads"] == 16 * 10
    assert parts["biases"] == 2 * (16 + 10)
    assert parts["other_state"] == 2  # t
    assert parts["inputs"] == 64 + 2  # a sample and its label
    assert parts["outputs"] == 10 + 2  # decisions and choice
    assert parts["entropies"] == 2 * 8


def test_the_parts_of_a_network_of_four_bits() -> None:
    parts = memory(lower(Network((9, 7, 3)), "w4d8"))
    assert parts["weights"] == 7 * 5  # nine nibbles take five bytes
    assert parts["heads"] == 3 * 4


# --- the promise: four bytes a neuron ---------------------------------------------------------------------------------


def neurons(shape: tuple[int, ...], rule: str) -> int:
    """Neurons of a network; the head of every hidden layer has one a class, the last head being the class layer."""
    hidden, classes = shape[1:-1], shape[-1]
    return sum(hidden) + classes * (max(len(hidden), 1) if rule.startswith("guided") else 1)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape)))
@pytest.mark.parametrize("rule", RULES)
def test_learning_takes_four_bytes_a_neuron(rule: str, shape: tuple[int, ...], profile: str) -> None:
    program = lower(Network(shape, RULES[rule]), profile)
    assert learning_bytes(program) <= 4 * neurons(shape, rule), memory(program)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    ("text", "rule", "a_neuron"),
    [
        ("64-4x3f4-10", "published", 4),
        ("784-16x16f10-10", "homeostatic", 8),  # two of them the mean
        ("784-16x12k10-9x8k6-10", "competitive", 8),  # two of them the conscience
        ("784-16x12f10-64-10", "guided", 4),
        ("784-16x12k10-64-10", "guided", 8),
        ("784-8c5s2-64-10", "guided", 4),
        ("64-4c3s1-8c2s2-16-10", "guided", 4),
        ("140-1x32k140", "novelty", 4),
        ("64-1x8k8", "novelty", 4),
    ],
)
def test_learning_takes_so_many_bytes_a_neuron_beside_what_is_seen(
    text: str, rule: str, a_neuron: int, profile: str
) -> None:
    """Fields and filters also hold a copy of what they see, one layer at a time, and shared weights a 32-bit sum."""
    network = Network(parse_shape(text), rule_named(rule))
    program = lower(network, profile)
    seen = [program.by_name.get(f"seen{number}") for number in range(1, len(network.layers) + 1)]
    copies = max((tensor.byte_count for tensor in seen if tensor), default=0)
    sums = [4 * math.prod(layer.start_shape(grid)) for layer, grid in zip(network.layers, network.grids, strict=True)
            if isinstance(layer, Convolution)]  # fmt: skip
    allowed = copies + max(sums, default=0) + a_neuron * neurons(network.widths, rule)
    assert learning_bytes(program) <= allowed, memory(program)


# --- a plan takes no time ---------------------------------------------------------------------------------------------


def test_many_scratch_tensors_are_planned_quickly() -> None:
    """4,096 tensors are allowed, a file of them has two megabytes, and whoever opens it waits for its plan."""
    fmt, count = Format(8, 0), 1000
    names = [f"s{i}" for i in range(count)]
    tensors = (Tensor("x", (), fmt, Role.INPUT), *(Tensor(name, (), fmt, Role.SCRATCH) for name in names))
    ops = (*(Scale(name, "x") for name in names), *(Scale(a, b) for a, b in zip(names, names[::-1], strict=True)))
    program = Program(tensors, {"learn": tuple(op for op in ops if op.out != op.a)}, {})
    start = time.perf_counter()
    plan(program)
    assert time.perf_counter() - start < 10.0  # a hang, not a speed
