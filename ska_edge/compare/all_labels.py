"""The demo's scenario: every learning row has its label and is seen once a pass; accuracy on a stratified fifth.

Methods on equal terms: same splits, encoded inputs, passes and orders, and results paired by seed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from ..baselines import Cost, Outcome, Rows, Setting, controls, pass_orders
from ..baselines.backprop import InPlace
from ..baselines.chosen import KINDS, recipe_of
from ..data import Dataset, Split, split
from ..errors import DataError
from ..fixed import FloatArray, IntArray, dequantise
from ..learner import Learner
from ..lowering import lower
from ..network import Network
from ..operations import Kind, Op, Role
from ..program import Program
from ..reference.stream import FloatLearner
from ..rules import rule_named
from .cost import macs, program_cost
from .rows import Comparison, Difference, Method, Result, difference, seeds_of

SCENARIO = "all-labels"
ALLOWED_POINTS = {"w8d8": 1.0, "w4d8": 5.0}
"""Profile -> points of accuracy by which guided learning may fall short of the best backprop."""
SLOW_METHOD_SEEDS = 3  # float64 one NumPy call at a time takes ten times as long as all the others
_WORD_BYTES = {"float32": 4, "float64": 8}


@dataclass(frozen=True)
class Trial:
    """What every method gets for one seed: the seed decides split, start weights and orders alike."""

    dataset: Dataset
    shape: tuple[int, ...]
    passes: int
    seed: int
    _programs: dict[tuple[str, str], Program] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def split(self) -> Split:
        """Row numbers to learn from and to test on."""
        return split(self.dataset, self.seed)

    @cached_property
    def orders(self) -> list[IntArray]:
        """One order of the learning rows a pass."""
        return pass_orders(len(self.split.learn), self.passes, self.seed)

    @property
    def labels(self) -> IntArray:
        """Labels of all rows.  Raises DataError where there are none."""
        if self.dataset.labels is None:
            raise DataError(f"{self.dataset.name}: no labels; a comparison of accuracies needs them")
        return self.dataset.labels

    @property
    def network(self) -> Network:
        """The guided network to start from; others take its start weights."""
        return Network(self.shape, rule_named("guided"), self.seed)

    @cached_property
    def learn(self) -> Rows:
        """Encoded learning rows, float32."""
        return self.rows(self._encoded, self.split.learn)

    @cached_property
    def test(self) -> Rows:
        """Encoded test rows, float32."""
        return self.rows(self._encoded, self.split.test)

    def rows(self, features: FloatArray, picked: IntArray) -> Rows:
        """Some rows of features of all samples, with their labels."""
        return Rows(features[picked].astype(np.float32), self.labels[picked])

    def program(self, profile: str, rule: str = "guided") -> Program:
        """The network lowered for the learning rows, calibrated once a profile.

        Guided: the whole network.  Published: the hidden layers, without labels.
        """
        if (profile, rule) not in self._programs:
            learn = self.split.learn
            guided = rule == "guided"
            network = Network(self.shape if guided else self.shape[:-1], rule_named(rule), self.seed)
            labels = self.labels[learn] if guided else None
            encoding = self.dataset.encoding(learn)
            self._programs[profile, rule] = lower(network, profile, self.dataset.samples[learn], labels, encoding)
        return self._programs[profile, rule]

    @cached_property
    def _encoded(self) -> FloatArray:
        return self.dataset.encoding(self.split.learn).unit(self.dataset.samples)


@dataclass(frozen=True, kw_only=True)
class TrialMethod(Method):
    """A method of this scenario: `run` takes one trial."""

    run: Callable[[Trial], Outcome]


@dataclass(frozen=True)
class Bar:
    """What we promise: `ours` at most `allowed` points below the best backprop, in the mean over seeds."""

    profile: str
    allowed: float
    difference: Difference

    @property
    def holds(self) -> bool:
        """Whether the mean keeps the promise."""
        return self.difference.points >= -self.allowed

    def to_json(self) -> dict[str, Any]:
        """The bar as a JSON object."""
        found = self.difference
        return {
            "ours": found.ours,
            "other": found.other,
            "points": found.points,
            "ci95": found.ci95,
            "seeds": found.seeds,
            "allowed_points_below": self.allowed,
            "holds": self.holds,
            "words": found.in_words(),
        }


def bars(comparison: Comparison) -> list[Bar]:
    """The promises of ALLOWED_POINTS."""
    best = comparison.best_backprop()
    return [Bar(p, points, difference(comparison.of("guided", p), best)) for p, points in ALLOWED_POINTS.items()]


def compare(
    dataset: Dataset,
    methods: Sequence[TrialMethod],
    shape: tuple[int, ...],
    seeds: int,
    passes: int,
    advance: Callable[[int], None] = lambda count: None,
) -> Comparison:
    """Run every method for seeds 0 to seeds - 1; `advance` is told of every finished run."""
    outcomes: dict[int, list[Outcome]] = {index: [] for index in range(len(methods))}
    for seed in range(seeds):
        trial = Trial(dataset, shape, passes, seed)
        for index, method in enumerate(methods):
            if seed < seeds_of(method, seeds):
                outcomes[index].append(method.run(trial))
                advance(1)
    results = tuple(Result(method, tuple(outcomes[index])) for index, method in enumerate(methods))
    return Comparison(dataset.name, SCENARIO, results)


def standard_methods(passes: int) -> list[TrialMethod]:
    """The demo's methods: ours first, then backprop, the controls and the published rule."""
    logistic, guided = "no hidden layer, logistic", "our class layer"
    return [
        TrialMethod("guided", "ours", "w8d8", "guided, 8-bit weights", run=lambda trial: _guided(trial, "w8d8")),
        TrialMethod("guided", "ours", "w4d8", "guided, 4-bit weights", run=lambda trial: _guided(trial, "w4d8")),
        TrialMethod("guided", "ours", "w16d15", "guided, 16-bit weights", run=lambda trial: _guided(trial, "w16d15")),
        TrialMethod("guided", "ours", "float64", "guided, float64", SLOW_METHOD_SEEDS, run=_guided_in_floats),
        _sgd_method("sigmoid", "sigmoid"),
        _sgd_method("relu", "ReLU"),
        TrialMethod("raw input + logistic", "control", "float32", logistic, run=_raw_input),
        TrialMethod("untrained + logistic", "control", "w8d8", "untrained features, logistic", run=_untrained_readout),
        TrialMethod("untrained + class layer", "control", "w8d8", f"untrained features, {guided}", run=_untrained),
        *(_published_method(count) for count in sorted({1, passes})),
    ]


def _sgd_method(hidden: str, readable: str) -> TrialMethod:
    name = f"SGD backprop, {readable}"
    return TrialMethod(name, "backprop", "float32", name, run=lambda trial: _sgd(trial, hidden))


def _published_method(passes: int) -> TrialMethod:
    count = f"{passes} pass{'es' if passes > 1 else ''}"
    return TrialMethod(
        f"published + logistic, {count}",
        "published",
        "w8d8",
        f"published rule, {count}",
        SLOW_METHOD_SEEDS,
        run=partial(_published, passes=passes),
    )


# -- ours -------------------------------------------------------------------------------------------------------


def learn_passes(learner: Learner, trial: Trial, passes: int | None = None, *, labelled: bool = True) -> float:
    """Learn the first passes of a trial (all, if None); returns seconds."""
    started = time.perf_counter()
    for order in trial.orders[:passes]:
        rows = trial.split.learn[order]
        learner.learn_many(trial.dataset.samples[rows], trial.labels[rows] if labelled else None)
    return time.perf_counter() - started


def _guided(trial: Trial, profile: str) -> Outcome:
    return _learnt(trial, trial.program(profile), program_cost(trial.program(profile)))


def _learnt(trial: Trial, program: Program, cost: Cost) -> Outcome:
    learner, test = Learner(program), trial.split.test
    seconds = learn_passes(learner, trial)
    return Outcome(learner.accuracy(trial.dataset.samples[test], trial.labels[test]), cost, seconds)


def _guided_in_floats(trial: Trial) -> Outcome:
    """What the integers cost: the same rule without rounding.

    Bytes are those of `w16d15` with eight bytes for every element of two.
    """
    learner = FloatLearner(trial.network)
    started = time.perf_counter()
    for order in trial.orders:
        for row in order:
            learner.learn_one(trial.learn.samples[row].astype(np.float64), int(trial.learn.labels[row]))
    seconds = time.perf_counter() - started
    same = program_cost(trial.program("w16d15"))
    cost = Cost(_elements(trial.program("w16d15")) * _WORD_BYTES["float64"], same.state_bytes * 4, same.macs_per_sample)
    accuracy = (learner.predict(trial.test.samples.astype(np.float64)) == trial.test.labels).mean()
    return Outcome(float(accuracy), cost, seconds)


def _elements(program: Program) -> int:
    """Weights, heads and biases."""
    return sum(t.size for t in program.of_role(Role.STATE) if t.kind in (Kind.WEIGHT, Kind.HEAD, Kind.BIAS))


# -- others -----------------------------------------------------------------------------------------------------


def _sgd(trial: Trial, hidden: str) -> Outcome:
    learn = trial.split.learn
    setting = Setting(trial.shape, trial.dataset.encoding(learn), trial.dataset.samples[learn], None, trial.seed)
    kind = next(kind for kind in KINDS if kind.hidden == hidden)
    learner = InPlace(setting, recipe_of(SCENARIO, trial.dataset.name, kind))
    started = time.perf_counter()
    for order in trial.orders:
        rows = Rows(trial.learn.samples[order], trial.learn.labels[order])
        learner.descend(rows, learner.recipe.rates(0, len(order), None))
    seconds = time.perf_counter() - started
    return Outcome(float((learner.decide(trial.test.samples) == trial.test.labels).mean()), learner.cost, seconds)


def _raw_input(trial: Trial) -> Outcome:
    return controls.logistic_readout(trial.learn, trial.test)


def _untrained(trial: Trial) -> Outcome:
    """Our own integer class layer on the same network's untrained hidden layer.

    The Program still runs the hidden layers' flow, for nothing; the multiplications given leave that out: deciding,
    the class layer's update and its rate.
    """
    program = controls.frozen(trial.program("w8d8"))
    classes, features = trial.shape[-1], trial.shape[-2]
    needed = macs(program, program.sections["infer"]) + classes * (features + 1) + features
    return _learnt(trial, program, replace(program_cost(program), macs_per_sample=needed))


def _untrained_readout(trial: Trial) -> Outcome:
    """Logistic regression on what the same network's hidden layers decide untrained, in the integers of w8d8."""
    program = trial.program("w8d8")
    hidden = list(program.of_kind(Kind.WEIGHT))
    biases = [program.by_name[f"b{tensor.layer}"] for tensor in hidden]
    decide = _until(program, f"D{len(hidden)}")
    cost = Cost(sum(tensor.byte_count for tensor in (*hidden, *biases)), 0, macs(program, decide))
    learner = Learner(program)
    inputs = {"x": learner.encode(trial.dataset.samples)}
    raw = learner.executor.stream("infer", inputs, [f"D{len(hidden)}"], len(decide))[f"D{len(hidden)}"]
    return _read_out(trial, dequantise(raw, program.by_name[f"D{len(hidden)}"].format), cost, 0.0)


def _until(program: Program, tensor: str) -> tuple[Op, ...]:
    """The operations of `infer` up to the one that first writes a tensor."""
    ops = program.sections["infer"]
    last = next(position for position, op in enumerate(ops) if tensor in op.outputs().values())
    return ops[: last + 1]


def _published(trial: Trial, passes: int) -> Outcome:
    """The published rule, unlabelled, on the hidden layers alone; then logistic regression on what they decide."""
    program = trial.program("w8d8", "published")
    learner = Learner(program)
    seconds = learn_passes(learner, trial, passes, labelled=False)
    return _read_out(trial, learner.decide_many(trial.dataset.samples), program_cost(program), seconds)


def _read_out(trial: Trial, features: FloatArray, cost: Cost, seconds: float) -> Outcome:
    """Add a logistic readout to features of all samples."""
    learn, test = (trial.rows(features, rows) for rows in (trial.split.learn, trial.split.test))
    readout = controls.logistic_readout(learn, test)
    return Outcome(readout.score, cost + readout.cost, seconds + readout.seconds)
