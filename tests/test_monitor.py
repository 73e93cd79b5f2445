"""Monitors: the sums are what they say, watching changes nothing, and every sign is shown by a stream that has it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import published
import pytest

from ska_edge import Learner, Network, lower, rule_named
from ska_edge.data import load_dataset, split
from ska_edge.errors import SkaError
from ska_edge.fixed import FloatArray, dequantise
from ska_edge.monitor import PATIENCE, Event, Monitor, Sign
from ska_edge.operations import Role
from ska_edge.profiles import PROFILES
from ska_edge.program import Program
from ska_edge.reference.papers import PAPER_SEED, PAPER_SHAPE, paper_weights, trajectory
from ska_edge.rules import PublishedBatch
from ska_edge.schedule import BatchLearner

SHAPE = (6, 5, 4, 3)


def rows(count: int = 40) -> FloatArray:
    return np.asarray(np.random.default_rng(1).random((count, SHAPE[0])))


def labels(count: int = 40) -> list[int]:
    return [row % 3 for row in range(count)]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("rule", ["guided", "published"])
def test_watching_changes_nothing_that_is_learnt(profile: str, rule: str) -> None:
    states = []
    for watched in (False, True):
        network = Network(SHAPE, rule_named(rule), 2)
        learner = Learner(lower(network, profile, rows(), np.array(labels()), watched=watched))
        learner.learn_many(rows(), labels(), passes=2)
        states.append(learner.executor.state())
    assert states[0].keys() == states[1].keys()
    assert all((states[0][name] == states[1][name]).all() for name in states[0])


@pytest.mark.parametrize("profile", PROFILES)
def test_executors_agree_on_the_sums(profile: str) -> None:
    program = lower(Network(SHAPE, rule_named("guided"), 2), profile, rows(), np.array(labels()), watched=True)
    learners = [Learner(program, name) for name in ("oracle", "numba")]
    for learner in learners:
        learner.learn_many(rows(), labels())
    sums = [t.name for t in program.of_role(Role.OUTPUT) if t.name.startswith("watch")]
    assert len(sums) == 10
    for name in sums:
        assert learners[0].executor.read(name) == learners[1].executor.read(name)


def paper_program(batch: FloatArray, shape: tuple[int, ...], rate: float, seed: int) -> Program:
    return lower(Network(shape, PublishedBatch(rate, batch=len(batch)), seed), "w16d15", batch, watched=True)


def test_the_sums_are_the_papers_metrics() -> None:
    """Cosine alignment, knowledge norm, knowledge flow and tensor net, against float64."""
    rate, batch = 0.1, rows(60)
    exact = trajectory(batch, paper_weights(SHAPE, 5), rate, 20)
    program = paper_program(batch, SHAPE, rate, 5)
    learner = BatchLearner(program, "oracle")
    learner.prime(batch)
    for step in range(19):
        learner.step()

        def total(layer: int, name: str) -> float:
            tensor = program.by_name[f"watch{layer}.{name}.sum"]
            return float(dequantise(learner.executor.read(tensor.name), tensor.format))

        for layer in (1, 2) if step > 5 else ():  # at first, nearly nothing moves
            square = total(layer, "knowledge")
            cosine = total(layer, "alignment") / math.sqrt(square * total(layer, "shift"))
            assert math.sqrt(square) == pytest.approx(exact.knowledge_norm[layer - 1][step + 1], rel=0.01)
            assert math.sqrt(total(layer, "movement")) / rate == pytest.approx(exact.flow[layer - 1][step], rel=0.02)
            assert cosine == pytest.approx(exact.cosine[layer - 1][step], abs=0.02)
            net = exact.tensor_net[layer - 1]
            assert total(layer, "net") == pytest.approx(net[step], abs=0.05 * max(map(abs, net)))


def test_onset_on_the_published_run() -> None:
    """The tensor net of layers 1 and 3 has its old sign last in steps 24 and 23 (published; arXiv 2504.03214)."""
    batch = published.batch()
    learner = BatchLearner(paper_program(batch, PAPER_SHAPE, 0.01, PAPER_SEED))
    monitor = Monitor(learner.program, window=1)
    learner.prime(batch)
    events: list[Event] = []
    for _ in range(26):
        learner.step()
        events += monitor.observe({name: int(learner.executor.read(name)) for name in monitor.names})
    onsets = {event.layer: event.seen for event in events if event.sign is Sign.ONSET}
    assert onsets[1] == 25
    assert onsets[3] == 24


def test_growth_where_the_published_rule_saturates() -> None:
    """On a stream the published rule drives every neuron beyond |z| = 4; the monitor says so."""
    digits = load_dataset("digits")
    picked = split(digits, 0).learn
    samples = digits.samples[picked]
    network = Network((64, 16, 10), rule_named("published"))
    program = lower(network, "w16d15", samples, None, digits.encoding(picked, centred=False), watched=True)
    learner = Learner(program, monitor=Monitor(program, 256))
    learner.learn_many(samples, passes=2)
    assert {event.layer for event in learner.events if event.sign is Sign.GROWTH} == {1, 2}
    assert learner.saturated(samples[:200]) > 0.5


def test_completion_on_the_digits() -> None:
    """A guided learner settles, not at once, and is then as good as it will be, to two points."""
    digits = load_dataset("digits")
    rows = split(digits, 0)
    samples, known = (
        digits.samples[rows.learn],
        (digits.labels if digits.labels is not None else np.zeros(0))[rows.learn],
    )
    program = lower(Network((64, 16, 10)), "w8d8", samples, known, digits.encoding(rows.learn), watched=True)
    learner = Learner(program, monitor=Monitor(program, len(samples)))
    for _ in range(20):
        learner.learn_many(samples, known)
        if learner.monitor and learner.monitor.complete:
            break
    assert PATIENCE < learner.samples_learnt / len(samples) < 20
    assert learner.accuracy(samples, known) > 0.96


# -- made-up streams ----------------------------------------------------------------------------------------------


def watch(story: Callable[[int, int], dict[str, int]], windows: int, layers: int = 2, window: int = 3) -> list[Event]:
    """The events of a stream in which layer l of window k has the sums story(l, k)."""
    shape = tuple(range(layers + 3, 1, -1))
    monitor = Monitor(lower(Network(shape), watched=True), window)
    events = []
    for k in range(windows):
        for _ in range(window):
            sums = dict.fromkeys(monitor.names, 0)
            for layer in range(1, layers + 1):
                for name, value in story(layer, k).items():
                    sums[f"entropy{layer}" if name == "entropy" else f"watch{layer}.{name}.sum"] = value
            events += monitor.observe(sums)
    return events


def alive(**changes: int) -> dict[str, int]:
    """A healthy layer: aligned, moving."""
    return {
        "entropy": -1000,
        "knowledge": 10**6,
        "movement": 10**6,
        "shift": 10**6,
        "alignment": 10**8,
        "net": 5,
    } | changes


def test_a_settled_stream_is_complete() -> None:
    events = watch(lambda layer, k: alive(entropy=-3000 if k < 3 else -1000, movement=4000 if k < 3 else 1000), 12)
    assert [(event.layer, event.sign, event.seen) for event in events] == [
        (1, Sign.COMPLETE, 3 * (4 + PATIENCE)),
        (2, Sign.COMPLETE, 3 * (4 + PATIENCE)),
    ]


def test_a_stream_that_never_moved_is_on_a_plateau_not_complete() -> None:
    events = watch(lambda layer, k: alive(alignment=0), 12)
    assert {event.sign for event in events} == {Sign.PLATEAU}
    assert not watch(lambda layer, k: alive(), 12)  # aligned: it is going somewhere


def test_a_norm_that_grows_without_bound() -> None:
    def story(layer: int, k: int) -> dict[str, int]:
        return alive(entropy=-1000 << k, knowledge=(1 << 30 if layer == 1 else 1 << 20) * (10 + k))

    assert [(event.layer, event.sign) for event in watch(story, 12)] == [(1, Sign.GROWTH)]


def test_layers_out_of_step() -> None:
    """Layer 1 has settled while layer 2 moves more and more."""

    def story(layer: int, k: int) -> dict[str, int]:
        if layer == 1:
            return alive(entropy=-3000 if k < 2 else -1000, movement=4000 if k < 2 else 1000)
        return alive(entropy=-1000 * (k + 1), movement=1000 * (k + 1))

    assert [(event.layer, event.sign) for event in watch(story, 12)] == [(1, Sign.COMPLETE), (1, Sign.OUT_OF_STEP)]


def test_onset_is_a_change_of_sign_and_is_said_once() -> None:
    events = watch(lambda layer, k: alive(entropy=-1000 * (k + 1), net=(-1) ** (k // 4)), 10, layers=1)
    assert [(event.sign, event.seen) for event in events] == [(Sign.ONSET, 15)]


def test_bad_input_is_named() -> None:
    with pytest.raises(SkaError, match="watched=True"):
        Monitor(lower(Network((4, 3, 2))))
    with pytest.raises(SkaError, match="window 0"):
        Monitor(lower(Network((4, 3, 2)), watched=True), 0)
