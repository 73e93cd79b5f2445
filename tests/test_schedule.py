"""The papers' schedule in integers: `prime` and `step`, oracle against Numba and both against float64."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import published
import pytest

from ska_edge import Network, lower
from ska_edge.backends import open_executor
from ska_edge.builder import Builder
from ska_edge.errors import DataError, NetworkError, SkaError
from ska_edge.fixed import FloatArray, Format, dequantise, quantise
from ska_edge.lowering import input_format
from ska_edge.operations import Kind, Role
from ska_edge.profiles import PROFILES, profile_named
from ska_edge.program import Encoding, Program
from ska_edge.reference.papers import paper_weights, trajectory
from ska_edge.reference.stream import flow
from ska_edge.rules import PublishedBatch, Rule, rule_named
from ska_edge.schedule import BatchLearner, run_integers

SHAPE = (12, 9, 7, 5)
BATCH = 17


def batch(seed: int = 0) -> FloatArray:
    return np.asarray(np.random.default_rng(seed).random((BATCH, SHAPE[0])))


def lowered(profile: str, steps: int = 30) -> Program:
    return lower(Network(SHAPE, PublishedBatch(rate=0.05, forward_steps=steps, batch=BATCH), 3), profile, batch())


@pytest.mark.parametrize("profile", PROFILES)
def test_every_executor_takes_the_same_steps(profile: str) -> None:
    program = lowered(profile)
    learners = [BatchLearner(program, name) for name in ("oracle", "numba")]
    for learner in learners:
        learner.prime(batch())
        for _ in range(12):
            learner.step()
    states = [learner.executor.state() for learner in learners]
    assert len({program.digest_of(state) for state in states}) == 1
    assert program.weights_changed(states[0]) > 0.2
    for t in program.of_role(Role.OUTPUT):
        assert len({learner.executor.read(t.name).tobytes() for learner in learners}) == 1


def test_every_operation_of_a_step_equals_the_oracle() -> None:
    program = lowered("w8d8")
    oracle, numba = (open_executor(name, program) for name in ("oracle", "numba"))
    for executor in (oracle, numba):
        executor.write("x", quantise(batch(), program.by_name["x"].format))
    for section in ("prime", "step", "step"):
        for position, op in enumerate(program.sections[section]):
            for executor in (oracle, numba):
                executor.run(section, position, position + 1)
            for name in op.outputs().values():
                assert (oracle.read(name) == numba.read(name)).all(), f"{section}[{position}] {op.verb} -> {name}"


def test_sixteen_bits_follow_float64() -> None:
    """Every layer's entropy, flow and mean output, on a batch of seventeen."""
    exact = trajectory(batch(), paper_weights(SHAPE, 42), 0.05, 30)
    run = run_integers(batch(), "w16d15", rate=0.05, steps=30, shape=SHAPE)
    for ours, theirs in ((run.entropy, exact.entropy), (run.flow, exact.flow)):
        for layer, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert np.abs(np.array(a) - b).max() < 0.05 * np.abs(b).max(), f"layer {layer + 1}"
    assert np.abs(np.array(run.output) - exact.output).max() < 1e-3


def test_weights_after_one_step_are_the_equations() -> None:
    """One step of one layer, written out: z, D, dD, g, W + eta/ln 2 mean(g x), to the rounding of each tensor."""
    rate, rows = 0.5, batch()
    program = lower(Network(SHAPE[:2], PublishedBatch(rate=rate, batch=BATCH), 3), "w16d15", rows)
    weights, bias = program.by_name["W1"], program.by_name["b1"]
    w = dequantise(program.values["W1"], weights.format)
    learner = BatchLearner(program, "oracle")
    learner.prime(rows)
    learner.step()  # dD is 0 in the first step
    z = rows @ w.T
    d = 1.0 / (1.0 + np.exp(-z))
    pull = z * d * (1.0 - d)
    moved = dequantise(learner.executor.read("W1"), weights.format) - w
    assert np.abs(moved - rate / math.log(2.0) * pull.T @ rows / BATCH).max() < 3 * weights.format.lsb
    moved = dequantise(learner.executor.read("b1"), bias.format)
    assert np.abs(moved - rate / math.log(2.0) * pull.mean(axis=0)).max() < 3 * bias.format.lsb + 1e-4


def test_dithering_beats_half_up_where_updates_are_small() -> None:
    """Half-up rounding loses updates below half an LSB; the lattice and random draws keep them in the mean."""
    exact = np.array(trajectory(batch(), paper_weights(SHAPE, 42), 0.05, 30).entropy[0])
    errors = {}
    for rounding in ("lattice", "random", "half"):
        run = run_integers(batch(), "w4d8", rounding, rate=0.05, steps=30, shape=SHAPE)
        errors[rounding] = np.abs(np.array(run.entropy[0]) - exact).max()
        assert (run.weights_changed == 0.0) == (rounding == "half")
    assert errors["lattice"] < errors["half"]
    assert errors["random"] < errors["half"]


# -- the published run itself -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exact() -> FloatArray:
    return np.array(trajectory(published.batch(), paper_weights()).entropy)


@pytest.mark.parametrize(
    ("profile", "largest_error", "correlation", "minima"),
    [("w16d15", 0.01, 0.9999, 1), ("w8d8", 0.06, 0.998, None), ("w4d8", None, 0.96, None)],
)
def test_bars_of_the_published_run(
    exact: FloatArray, profile: str, largest_error: float | None, correlation: float, minima: int | None
) -> None:
    run = run_integers(published.batch(), profile)
    ours = np.array(run.entropy)
    assert run.weights_changed > 0.2
    assert min(np.corrcoef(a, b)[0, 1] for a, b in zip(ours, exact, strict=True)) >= correlation
    if largest_error is not None:
        assert (np.abs(ours - exact).max(axis=1) / np.abs(exact).max(axis=1)).max() <= largest_error
    if minima is not None:
        assert np.abs(ours.argmin(axis=1) - exact.argmin(axis=1)).max() <= minima


# -- one rounding against forty-nine ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Started(Network):
    """One layer with given start weights."""

    start: FloatArray | None = None

    def start_weights(self) -> list[FloatArray]:
        assert self.start is not None
        return [self.start]


def assembled(rule: Rule, profile: str, start: FloatArray, exponents: dict[str, int]) -> Program:
    """One layer with given exponents, so that two rules can have the same."""
    build = Builder(profile_named(profile))
    shape = rule.input_shape(start.shape[1])
    x = build.tensor("x", shape, input_format(build.profile, Encoding()), Role.INPUT, Kind.SAMPLE)
    network = Started((start.shape[1], start.shape[0]), rule, start=start)
    rule.emit(build, network, x, exponents)
    return build.program(Encoding(), {})


def on_a_knot(x: FloatArray, fmt: Format) -> FloatArray:
    """x scaled down so that the rate's table has 1 + |x|^2 as an entry: no interpolation in the comparison."""
    largest = 1.0 + x.size * (fmt.hi * fmt.lsb) ** 2
    knot = 2.0 ** (math.ceil(math.log2(largest)) - 6)
    wanted = knot * math.floor((1.0 + x @ x) / knot) - 1.0
    return np.asarray(x * math.sqrt(wanted / (x @ x)))


@pytest.mark.parametrize("profile", PROFILES)
def test_the_flow_map_is_nearer_to_float64_than_rounding_every_step(profile: str) -> None:
    """49 updates of one sample: one rounding a weight (SPEC 5.4, 5.5) against 49, same formats, same start."""
    rho, forward_steps, features, neurons = 0.02, 50, 64, 32
    chosen = profile_named(profile)
    weights = Format(chosen.weight_bits, -chosen.weight_bits)
    x_format = input_format(chosen, Encoding())
    squares = np.zeros(2)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        start = dequantise(quantise(rng.normal(0, 0.1, (neurons, features)), weights), weights)
        x_q = quantise(on_a_knot(rng.random(features), x_format), x_format)
        x = dequantise(x_q, x_format)
        eta = rho / (1.0 + x @ x)
        total, _, _ = flow(start @ x, rho, forward_steps - 1)
        exact = start + eta / math.log(2.0) * np.outer(total, x)
        exponents = {"W1": weights.exponent, "s1": -20, "b1": max(-18, weights.exponent + x_format.exponent)}
        held = assembled(rule_named("published", rate=rho, forward_steps=forward_steps), profile, start, exponents)
        stepped = assembled(PublishedBatch(eta, forward_steps, 1), profile, start, exponents)
        one, many = (open_executor("numba", program) for program in (held, stepped))
        one.write("x", x_q)
        one.run("learn")
        many.write("x", x_q[np.newaxis])
        many.run("prime")
        for _ in range(forward_steps - 1):
            many.run("step")
        errors = [dequantise(executor.read("W1"), weights) - exact for executor in (one, many)]
        squares += [float((error**2).mean()) for error in errors]
    assert squares[0] < squares[1]


# -- bad input ----------------------------------------------------------------------------------------------------


def test_bad_input_is_named() -> None:
    program = lowered("w8d8")
    learner = BatchLearner(program, "oracle")
    with pytest.raises(DataError, match="16 samples; this Program holds 17"):
        learner.prime(batch()[1:])
    with pytest.raises(DataError, match="rows of 12"):
        learner.prime(batch()[:, 1:])
    rows = batch()
    rows[3, 2] = np.nan
    with pytest.raises(DataError, match="row 3, feature 2 is nan"):
        learner.prime(rows)
    with pytest.raises(SkaError, match="lattice, random, half"):
        BatchLearner(program, "oracle", "up")
    with pytest.raises(SkaError, match="needs prime and step"):
        BatchLearner(lower(Network((4, 3, 2))), "oracle")
    with pytest.raises(NetworkError, match="batch of 0"):
        Network(SHAPE, PublishedBatch(batch=0))
    with pytest.raises(NetworkError, match="forward steps"):
        run_integers(batch(), "w8d8", steps=1, shape=SHAPE)
