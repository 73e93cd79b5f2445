"""Few labels in an unlabelled stream: features learn without labels; then a readout gets 5 or 10 labels a class.

Data: MNIST, features learn from 4,000 unlabelled images, labels are drawn from 100 images a class, judged on the test
rows (while choices are made, on the images of those 1,000 whose label was not drawn); digits, features learn from the
learning rows, labels are drawn among them.  Features are learnt once a seed; labels are drawn five times, the same for
every method.  The readout is the same for all: ridge regression, its strength chosen by leave-one-out on the drawn
labels.  The seed draws start weights, the order of the stream and the digits' split.  Metrics: accuracy with 5 and
with 10 labels a class, the mean over the draws.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ..baselines import FeatureLearner, Outcome, Setting, controls, pass_orders
from ..fixed import FloatArray, IntArray
from ..network import parse_shape
from . import others, ours
from .rows import Comparison, Result, difference
from .scenario import Contestant, Goal, Scenario
from .splits import Data, data_of

LABELS_A_CLASS = (5, 10)
DRAWS = 5
UNITS = {"mnist": 256, "digits": 64}
"""Hidden units of every method that has any."""
SHAPES = {"mnist": ("784-16x16k14-10", "784-16x16f10"), "digits": ("64-9x8k4-10", "64-4x16f5")}
"""Of the competitive and of the homeostatic rule; the competitive one's class layer gets no labels."""
WANTED_POINTS = {"mnist": 4.0, "digits": 0.0}


@dataclass(frozen=True)
class FewLabels(Scenario):
    """Feature learners."""

    name: ClassVar[str] = "few-labels"
    default_passes: ClassVar[Mapping[str, int]] = {"mnist": 1, "digits": 5}
    metrics: ClassVar[tuple[str, ...]] = ("accuracy, 5 labels a class", "accuracy, 10 labels a class")
    rival_words: ClassVar[str] = "the better untrained control"

    def contestants(self) -> list[Contestant]:
        """Ours without labels, the published rule, and features that learn nothing or only what is linear."""
        fields, dense = (parse_shape(text) for text in SHAPES[self.dataset])
        return [
            *(ours.feature_learner("competitive", profile, shape=fields) for profile in ("w16d15", "w8d8", "w4d8")),
            ours.feature_learner("homeostatic", "w8d8", shape=dense),
            ours.feature_learner("published", "w8d8"),
            *others.feature_controls(self.dataset),
        ]

    def run(self, contestant: Contestant, seed: int) -> Outcome:
        """Learn the stream; then draw labels and read out."""
        data = data_of(self.dataset, seed, self.final)
        stream = data.unlabelled
        shape = (stream.shape[1], UNITS[self.dataset], 10)
        encoding = replace(data.dataset, samples=stream, labels=None).encoding()
        setting = Setting(shape, encoding, stream, None, seed, len(stream) * self.passes)
        learner: FeatureLearner = contestant.make(setting)
        started = time.perf_counter()
        for order in pass_orders(len(stream), self.passes, seed):
            learner.learn_many(stream[order])
        seconds = time.perf_counter() - started
        unlabelled, learn = learner.features(stream), learner.features(data.learn.samples)
        test = None if self._judged_by_rest else learner.features(data.test.samples)
        scores = []
        for count in LABELS_A_CLASS:
            found = [self._score(data, learn, test, unlabelled, count, draw) for draw in range(DRAWS)]
            scores.append(float(np.mean(found)))
        return Outcome(scores[0], learner.cost, seconds, tuple(scores[1:]))

    @property
    def _judged_by_rest(self) -> bool:
        return self.dataset == "mnist" and not self.final

    def _score(
        self, data: Data, learn: FloatArray, test: FloatArray | None, unlabelled: FloatArray, count: int, draw: int
    ) -> float:
        picked = drawn(data.learn.labels, count, draw)
        labels = data.learn.labels
        rest = np.setdiff1d(np.arange(len(labels)), picked)
        judged, right = (learn[rest], labels[rest]) if test is None else (test, data.test.labels)
        choices = controls.ridge_readout(learn[picked], labels[picked], judged, unlabelled)
        return float((choices == right).mean())

    def rival(self, comparison: Comparison) -> Result | None:
        """The better of the untrained features, dense and local."""
        found = [result for result in comparison.results if result.method.name.startswith("untrained")]
        return max(found, key=lambda result: result.mean, default=None)

    def goals(self, comparison: Comparison) -> list[Goal]:
        """Features without labels that beat untrained ones."""
        rival, wanted = self.rival(comparison), WANTED_POINTS[self.dataset]
        mine = comparison.best("ours")
        if rival is None or mine is None:
            return []
        goals = []
        for metric, name in enumerate(self.metrics):
            gap = difference(mine, rival, metric)
            above_zero = gap.ci95 is not None and gap.points - gap.ci95 > 0
            words = f"{name}: {gap.in_words()}; at least {wanted:g} above, interval above zero, is wanted"
            goals.append(Goal(words, gap.points >= wanted and above_zero))
        return goals


def drawn(labels: IntArray, count: int, draw: int) -> IntArray:
    """Rows of `count` labels of each class.

    >>> sorted(drawn(np.array([0, 1, 1, 0]), 1, 0) % 3 > 0)
    [np.False_, np.True_]
    """
    random = np.random.default_rng(draw)
    classes = range(int(labels.max()) + 1)
    return np.concatenate([random.choice(np.flatnonzero(labels == c), count, replace=False) for c in classes])
