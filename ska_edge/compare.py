"""Methods compared on equal terms: same splits, encoded inputs, passes and orders, and results paired by seed."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from .baselines import Cost, Outcome, Rows, backprop, controls, pass_orders
from .data import Dataset, Split, split
from .errors import DataError
from .fixed import FloatArray, IntArray, dequantise
from .learner import Learner
from .lowering import lower
from .network import Network
from .operations import Contract, Flow, Kind, Lut, Op, OuterUpdate, Role, Scale
from .plan import learning_bytes, weight_bytes
from .program import Program
from .reference.stream import FloatLearner
from .rules import rule_named

SCENARIO = "all-labels"  # every learning row has its label, and is seen once a pass
ALLOWED_POINTS = {"w8d8": 1.0, "w4d8": 5.0}
"""Profile -> points of accuracy by which guided learning may fall short of the best backprop."""
SLOW_METHOD_SEEDS = 3  # float64 one NumPy call at a time takes ten times as long as all the others
_WORD_BYTES = {"float32": 4, "float64": 8}
_FLOW_PRODUCTS = 6  # a step and neuron: interpolation, D(1-D), zD', drive D', rate, entropy (SPEC 5.4)


@dataclass(frozen=True)
class Row:
    """One line of a comparison, with the contract's keys.

    `mean` is the metric over `seeds` seeds and `ci95` the half-width of its 95 % interval (Student's t; None for a
    single seed).  Bytes and multiplications are those of `baselines.Cost`.  `seconds`: median wall time of a run's
    learning on the host.
    """

    dataset: str
    scenario: str
    method: str
    family: str
    profile: str
    seeds: int
    metric: str
    mean: float
    ci95: float | None
    weight_bytes: int
    state_bytes: int
    macs_per_sample: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The row as a JSON object."""
        return asdict(self)


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


@dataclass(frozen=True)
class Method:
    """A way to learn.  `run` takes one trial; `most_seeds` limits the slow ones; `readable` is its name in pictures."""

    name: str
    family: str
    profile: str
    readable: str
    run: Callable[[Trial], Outcome]
    most_seeds: int | None = None


@dataclass(frozen=True)
class Result:
    """A method and its outcome for seed 0, 1, 2, ..."""

    method: Method
    outcomes: tuple[Outcome, ...]

    @property
    def accuracies(self) -> list[float]:
        """Accuracy by seed."""
        return [outcome.accuracy for outcome in self.outcomes]

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return statistics.fmean(self.accuracies)


@dataclass(frozen=True)
class Difference:
    """Paired difference of accuracy over the seeds both have, in points, and half its 95 % interval."""

    ours: str
    other: str
    points: float
    ci95: float | None
    seeds: int

    def in_words(self) -> str:
        """One sentence.

        >>> Difference("A", "B", -0.25, 0.5, 10).in_words()
        'A is 0.25 points below B (95 % interval of the paired difference -0.75 to +0.25, 10 seeds)'
        """
        if self.points == 0:
            relation = f"{self.ours} equals {self.other}"
        else:
            side = "above" if self.points > 0 else "below"
            relation = f"{self.ours} is {abs(self.points):.2f} points {side} {self.other}"
        if self.ci95 is None:
            return f"{relation} (one seed, no interval)"
        low, high = self.points - self.ci95, self.points + self.ci95
        return f"{relation} (95 % interval of the paired difference {low:+.2f} to {high:+.2f}, {self.seeds} seeds)"


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


@dataclass(frozen=True)
class Comparison:
    """All results on one data set."""

    dataset: str
    scenario: str
    results: tuple[Result, ...]

    @property
    def rows(self) -> list[Row]:
        """One row a method, in the order they were given."""
        return [self.row(result) for result in self.results]

    def row(self, result: Result) -> Row:
        """A result as a line of the table."""
        return Row(
            dataset=self.dataset,
            scenario=self.scenario,
            method=result.method.name,
            family=result.method.family,
            profile=result.method.profile,
            seeds=len(result.outcomes),
            metric="accuracy",
            mean=result.mean,
            ci95=half_width(result.accuracies),
            **asdict(result.outcomes[0].cost),
            seconds=statistics.median(outcome.seconds for outcome in result.outcomes),
        )

    def of(self, name: str, profile: str) -> Result:
        """The result of a method."""
        return next(r for r in self.results if (r.method.name, r.method.profile) == (name, profile))

    def best_backprop(self) -> Result:
        """The backprop with the highest mean test accuracy: chosen in hindsight, which favours it."""
        return max((r for r in self.results if r.method.family == "backprop"), key=lambda result: result.mean)

    def bars(self) -> list[Bar]:
        """The promises of ALLOWED_POINTS."""
        best = self.best_backprop()
        return [Bar(p, points, difference(self.of("guided", p), best)) for p, points in ALLOWED_POINTS.items()]


def compare(
    dataset: Dataset,
    methods: Sequence[Method],
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


def seeds_of(method: Method, seeds: int) -> int:
    """How many of so many seeds a method runs."""
    return min(seeds, method.most_seeds or seeds)


def standard_methods(passes: int) -> list[Method]:
    """The demo's methods: ours first, then backprop, the controls and the published rule."""
    return [
        Method("guided", "ours", "w8d8", "guided, 8-bit weights", lambda trial: _guided(trial, "w8d8")),
        Method("guided", "ours", "w4d8", "guided, 4-bit weights", lambda trial: _guided(trial, "w4d8")),
        Method("guided", "ours", "w16d15", "guided, 16-bit weights", lambda trial: _guided(trial, "w16d15")),
        Method("guided", "ours", "float64", "guided, float64", _guided_in_floats, SLOW_METHOD_SEEDS),
        Method("SGD backprop, sigmoid", "backprop", "float32", "SGD backprop, sigmoid", lambda t: _sgd(t, "sigmoid")),
        Method("SGD backprop, ReLU", "backprop", "float32", "SGD backprop, ReLU", lambda t: _sgd(t, "relu")),
        Method("raw input + logistic", "control", "float32", "no hidden layer, logistic", _raw_input),
        Method("untrained + logistic", "control", "w8d8", "untrained features, logistic", _untrained_readout),
        Method("untrained + class layer", "control", "w8d8", "untrained features, our class layer", _untrained),
        *(_published_method(count) for count in sorted({1, passes})),
    ]


def _published_method(passes: int) -> Method:
    count = f"{passes} pass{'es' if passes > 1 else ''}"
    run = partial(_published, passes=passes)
    return Method(
        f"published + logistic, {count}", "published", "w8d8", f"published rule, {count}", run, SLOW_METHOD_SEEDS
    )


def half_width(values: Sequence[float]) -> float | None:
    """Half the 95 % interval of the mean by Student's t; None for one value.

    >>> round(half_width([0.90, 0.92, 0.94]), 4)
    0.0497
    """
    if len(values) < 2:
        return None
    from scipy.stats import t

    return float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))


def difference(ours: Result, other: Result) -> Difference:
    """Ours minus the other, seed by seed."""
    pairs = list(zip(ours.accuracies, other.accuracies, strict=False))  # a slow method has fewer seeds
    points = [100.0 * (a - b) for a, b in pairs]
    names = [f"{result.method.name} {result.method.profile}" for result in (ours, other)]
    return Difference(names[0], names[1], statistics.fmean(points), half_width(points), len(points))


# -- cost -------------------------------------------------------------------------------------------------------


def program_cost(program: Program) -> Cost:
    """Weights, learning memory and multiplications of a Program's `learn` section."""
    return Cost(weight_bytes(program), learning_bytes(program), macs(program, program.sections["learn"]))


def macs(program: Program, ops: Sequence[Op]) -> int:
    """Multiplications in a run of operations.

    One a product of a `contract`; one a weight of an `outer_update`; one an element of a `scale` by a tensor and of a
    `lut` (interpolation); a `flow` two a neuron and six a neuron and step.  The others only add, shift or compare.
    """
    return sum(_products(program, op) for op in ops)


def _products(program: Program, op: Op) -> int:
    tensors = program.by_name
    if isinstance(op, Contract):
        operands, _ = op.axes.split("->")
        extents: dict[str, int] = {}
        for letters, name in zip(operands.split(","), (op.a, op.b), strict=True):
            extents.update(zip(letters, tensors[name].shape, strict=True))
        return int(np.prod(list(extents.values()), dtype=np.int64))
    if isinstance(op, OuterUpdate):
        return tensors[op.w].size
    if isinstance(op, Flow):
        return tensors[op.z].size * (2 + _FLOW_PRODUCTS * op.steps)
    if isinstance(op, Lut) or (isinstance(op, Scale) and op.b is not None):
        return tensors[op.out].size
    return 0


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
    return backprop.run(trial.network, hidden, trial.learn, trial.test, trial.orders)


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
    return Outcome(readout.accuracy, cost + readout.cost, seconds + readout.seconds)
