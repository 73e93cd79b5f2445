"""The compiled core against the oracle: random Programs, the hand-computed vectors and whole networks, every tensor.

The two share nothing but the Program, so what they agree on is either right or wrong in SPEC.md itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter

import numpy as np
import pytest
from hypothesis import given
from programs import (
    VERBS,
    Case,
    Wanted,
    case_of,
    cases,
    check_case,
    check_in_step,
    draft_of,
    examples,
    program_of,
    seed_in_message,
    seeds,
)
from vectors import Vector, check_vector, load_vectors

from ska_edge.backends.jit import NumbaExecutor
from ska_edge.data import Dataset, load_dataset
from ska_edge.errors import ProgramError
from ska_edge.fixed import IntArray
from ska_edge.layers import Layer
from ska_edge.learner import encode
from ska_edge.lowering import lower
from ska_edge.network import Network, parse_shape
from ska_edge.operations import Kind
from ska_edge.profiles import PROFILES
from ska_edge.program import Program
from ska_edge.rules import Rule, rule_named

SAMPLES = 60
RULES = {
    "published": ((64, 12, 10), rule_named("published", forward_steps=12)),
    "guided": ((64, 12, 8, 10), rule_named("guided")),
    "guided-code": ((64, 12, 8, 10), rule_named("guided", heads="code", unlabelled="entropy")),
}


# --- vectors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", list(load_vectors()), ids=attrgetter("name"))
def test_vector(vector: Vector) -> None:
    check_vector(NumbaExecutor, vector)


# --- random Programs --------------------------------------------------------------------------------------------------


def test_many_random_programs() -> None:
    for seed in seeds(2500):
        with seed_in_message(seed):
            check_case(NumbaExecutor, case_of(seed))


def test_programs_whose_scratch_comes_and_goes() -> None:
    """More operations than the others, so that places in the arena are used again and again."""
    for seed in seeds(350):
        with seed_in_message(seed):
            check_case(NumbaExecutor, case_of(seed, Wanted(operations=(10, 20), runs=(2, 2))))


@pytest.mark.parametrize("verb", VERBS)
def test_every_primitive_by_itself(verb: str) -> None:
    for seed in seeds(150):
        with seed_in_message(seed):
            check_case(NumbaExecutor, case_of(seed, Wanted([verb], (1, 1))))


@examples(300)
@given(cases())
def test_random_programs_that_shrink(case: Case) -> None:
    """Fewer, but a failure is cut down to the smallest Program that still shows it."""
    check_case(NumbaExecutor, case)


def test_the_proof_refuses_few_random_programs() -> None:
    """Otherwise the tests above would not test what they seem to."""
    refused = sum(_refused(seed) for seed in range(400))
    assert refused < 20


def _refused(seed: int) -> bool:
    try:
        program_of(draft_of(seed))
    except ProgramError:
        return True
    return False


SMALL = {
    "published-fields": ("64-4x3f4-10", rule_named("published", forward_steps=6)),
    "homeostatic": ("64-9x3f4-6", rule_named("homeostatic")),
    "guided-fields": ("64-4x4f4-1x6f4-10", rule_named("guided", mask=0.3, anneal=4)),
    "guided-competing": ("64-4x4k4-1x4k4-8-10", rule_named("guided", mask=0.3)),
    "guided-convolution": ("64-3c3s1-4c2s2-6-10", rule_named("guided", readout="sum")),
    "guided-on-filters": ("64-3c3s2-4x2f2-2x3k2-6-10", rule_named("guided")),
    "competitive": ("64-4x4k4-1x4k4-10", rule_named("competitive")),
    "novelty": ("64-1x6k8", rule_named("novelty", conscience=0.003)),
}


# --- networks on digits -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    ("name", "centred"),
    [("published", False), ("guided", False), ("guided", True), ("guided-code", True)],
    ids=["published", "guided", "guided-centred", "guided-code-centred"],
)
def test_networks_learn_the_same(digits: Dataset, name: str, profile: str, centred: bool) -> None:
    shape, rule = RULES[name]
    program = _lowered(digits, shape, rule, profile, centred)
    runs = list(_inputs(program, digits, SAMPLES))
    check_in_step(NumbaExecutor(program), program, "learn", runs)
    check_in_step(NumbaExecutor(program), program, "infer", [{"x": run["x"]} for run in runs[:10]])


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", SMALL)
def test_every_rule_and_kind_of_layer(digits: Dataset, name: str, profile: str) -> None:
    text, rule = SMALL[name]
    program = _lowered(digits, parse_shape(text), rule, profile, rule.centred_inputs)
    runs = list(_inputs(program, digits, 12))
    check_in_step(NumbaExecutor(program), program, "learn", runs)
    check_in_step(NumbaExecutor(program), program, "infer", [{"x": run["x"]} for run in runs[:3]])


@pytest.mark.parametrize("name", RULES)
def test_a_stream_is_its_samples(digits: Dataset, name: str) -> None:
    """One compiled call for all samples leaves what one call an operation leaves."""
    shape, rule = RULES[name]
    program = _lowered(digits, shape, rule, "w8d8", False)
    runs = list(_inputs(program, digits, SAMPLES))
    single, streamed = NumbaExecutor(program), NumbaExecutor(program)
    check_in_step(single, program, "learn", runs)
    collected = streamed.stream("learn", {key: np.stack([run[key] for run in runs]) for key in runs[0]}, ["choice"])
    assert streamed.program.digest_of(streamed.state()) == program.digest_of(single.state())
    assert collected["choice"][-1] == single.read("choice")


def _lowered(digits: Dataset, shape: tuple[int | Layer, ...], rule: Rule, profile: str, centred: bool) -> Program:
    assert digits.labels is not None
    encoding = digits.encoding(centred=centred)
    return lower(Network(shape, rule), profile, digits.samples[:200], digits.labels[:200], encoding)


def _inputs(program: Program, digits: Dataset, count: int) -> Iterator[dict[str, IntArray]]:
    """Samples, and labels where the rule takes them, every seventh of them absent."""
    assert digits.labels is not None
    rows = encode(program, digits.samples[:count])
    for number, x in enumerate(rows):
        label = -1 if number % 7 == 3 else digits.labels[number]
        if program.by_name["decision"].size == 1:
            label = label == 3  # one kind of digit is known to be none of the normal ones
        yield {"x": x, **({"label": np.array(label, np.int64)} if any(program.of_kind(Kind.LABEL)) else {})}
