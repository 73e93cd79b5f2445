"""Class-incremental: classes come one after the other, each sample once; what is left of the first at the end?

Data: digits, 64-16-10, classes in the order 0 to 9, two at a time and one at a time; the seed shuffles the rows of a
task, and draws the split and the start weights.  Nobody is told where a task ends.  Metrics: accuracy over all classes
at the end, and forgetting: how far the accuracy on a task's classes falls from just after it was learnt to the end, the
mean over all tasks but the last.  Rows of all classes calibrate, as a designer would have them.  The logistic
regression keeps every sample and starts anew after each task: what could be had, by no stream.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..baselines import Classifier, Outcome
from ..network import parse_shape
from . import others, ours
from .rows import Comparison, Result, difference
from .scenario import Contestant, Goal, Scenario
from .splits import SHAPES, Data, data_of

CLASSES = 10
FIELDS = "64-9x8k4-10"
"""Of the competitive rule."""
WANTED_POINTS = 20.0


@dataclass(frozen=True)
class ClassIncremental(Scenario):
    """Classifiers, classes in order."""

    name: ClassVar[str] = "class-incremental"
    default_passes: ClassVar[Mapping[str, int]] = {"digits": 1}
    metrics: ClassVar[tuple[str, ...]] = (
        "accuracy, two classes at a time",
        "forgetting, two classes at a time",
        "accuracy, one class at a time",
        "forgetting, one class at a time",
    )
    rival_words: ClassVar[str] = "in-place SGD backprop"
    default_seeds: ClassVar[int] = 10

    def contestants(self) -> list[Contestant]:
        """Those that learn a stream; and what could be had by keeping every sample."""
        return [
            *(
                ours.classifier("competitive", profile, shape=parse_shape(FIELDS), rate=0.02)
                for profile in ("w16d15", "w8d8", "w4d8")
            ),
            *(ours.classifier("guided", profile) for profile in ("w16d15", "w8d8", "w4d8")),
            *others.backprops(self.name, self.dataset),
            *others.prototypes(),
            *others.readouts(self.dataset)[:1],
        ]

    def run(self, contestant: Contestant, seed: int) -> Outcome:
        """Two streams, each from the start."""
        data = data_of(self.dataset, seed, self.final)
        started = time.perf_counter()
        found = [self._stream(contestant, data, seed, together) for together in (2, 1)]
        seconds = (time.perf_counter() - started) / len(found)
        (accuracy, forgetting, learner), (single_accuracy, single_forgetting, _) = found
        return Outcome(accuracy, learner.cost, seconds, (forgetting, single_accuracy, single_forgetting))

    def _stream(self, contestant: Contestant, data: Data, seed: int, together: int) -> tuple[float, float, Classifier]:
        learner: Classifier = contestant.make(data.setting(SHAPES[self.dataset], seed))
        random = np.random.default_rng(seed)
        tasks = [range(first, first + together) for first in range(0, CLASSES, together)]
        after = []
        for task in tasks:
            rows = random.permutation(np.flatnonzero(np.isin(data.learn.labels, task)))
            learner.learn_many(data.learn.samples[rows], data.learn.labels[rows])
            after.append(_accuracy(learner, data, task))
        at_end = [_accuracy(learner, data, task) for task in tasks]
        falls = [then - now for then, now in zip(after[:-1], at_end[:-1], strict=True)]
        return _accuracy(learner, data, range(CLASSES)), float(np.mean(falls)), learner

    def rival(self, comparison: Comparison) -> Result | None:
        """In-place SGD, the better of its hidden units."""
        found = [r for r in comparison.results if r.method.name.startswith("SGD backprop")]
        return max(found, key=lambda result: result.mean, default=None)

    def goals(self, comparison: Comparison) -> list[Goal]:
        """Far above backprop."""
        rival, mine = self.rival(comparison), comparison.best("ours")
        if rival is None or mine is None:
            return []
        gap = difference(mine, rival)
        return [Goal(f"{gap.in_words()}; at least {WANTED_POINTS:g} above is wanted", gap.points >= WANTED_POINTS)]


def _accuracy(learner: Classifier, data: Data, classes: range) -> float:
    rows = np.isin(data.test.labels, classes)
    return float((learner.predict_many(data.test.samples[rows]) == data.test.labels[rows]).mean())
