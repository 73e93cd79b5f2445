"""Few-shot: every learning row has its label and is seen once a pass, one sample at a time, in the same order for all.

Data: MNIST, 100 images a class, 784-256-128-64-10, 40 passes; digits, four fifths of 1,797 images, 64-16-10, 20 passes.
The seed draws start weights, orders and, for the digits, the split.  Metric: accuracy.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ..baselines import Classifier, Outcome, pass_orders
from ..network import parse_shape
from . import others, ours
from .rows import Comparison, difference
from .scenario import Contestant, Goal, Scenario
from .splits import SHAPES, data_of

FIELDS = "784-16x16f10-128-64-10"
"""Ours on MNIST: layers as wide as backprop's, the first one in fields."""
VOID_BELOW = {"plain": 0.908, "masked": 0.924}
"""MNIST, test rows: a table whose best backprop is below this has not been fair to it."""


@dataclass(frozen=True)
class FewShot(Scenario):
    """Classifiers, all labels."""

    name: ClassVar[str] = "few-shot"
    default_passes: ClassVar[Mapping[str, int]] = {"mnist": 40, "digits": 20}
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    rival_words: ClassVar[str] = "the best backprop"

    def contestants(self) -> list[Contestant]:
        """Ours, backprop in every form, two other rules, controls."""
        return [
            *(self._guided(profile) for profile in ("w16d15", "w8d8", "w4d8")),
            ours.read_out("published", "w8d8"),
            *others.backprops(self.name, self.dataset),
            *others.other_rules(self.name, self.dataset),
            *others.readouts(self.dataset),
        ]

    def _guided(self, profile: str) -> Contestant:
        if self.dataset == "mnist":
            parameters = ours.WIDE_4_BITS if profile == "w4d8" else ours.WIDE
            return ours.classifier("guided", profile, shape=parse_shape(FIELDS), **parameters)
        return ours.classifier("guided", profile)

    def run(self, contestant: Contestant, seed: int) -> Outcome:
        """All passes, then the test rows."""
        data = data_of(self.dataset, seed, self.final)
        rows = len(data.learn.labels)
        learner: Classifier = contestant.make(data.setting(SHAPES[self.dataset], seed, rows * self.passes))
        started = time.perf_counter()
        for order in pass_orders(rows, self.passes, seed):
            learner.learn_many(data.learn.samples[order], data.learn.labels[order])
        seconds = time.perf_counter() - started
        right = learner.predict_many(data.test.samples) == data.test.labels
        return Outcome(float(right.mean()), learner.cost, seconds)

    def goals(self, comparison: Comparison) -> list[Goal]:
        """Backprop good enough to compare with; ours at least as good; narrow weights not far behind."""
        if self.dataset != "mnist":
            return []
        goals = []
        for kind, bar in VOID_BELOW.items() if self.final else ():
            found = [r.mean for r in comparison.results if r.method.family == "backprop" and _is(kind, r.method.name)]
            best = max(found, default=0.0)
            verdict = "" if best >= bar else ": the table is void"
            goals.append(Goal(f"the best {kind} backprop reaches {best:.3f}, {bar} wanted{verdict}", best >= bar))
        mine = [r for r in comparison.results if r.method.family == "ours"]
        wide = max((r for r in mine if r.method.profile == "w16d15"), key=lambda r: r.mean, default=None)
        rival = self.rival(comparison)
        if wide is None or rival is None:
            return goals
        gap = difference(wide, rival)
        goals.append(Goal(f"{gap.in_words()}; not below is wanted", gap.points >= 0))
        for profile, allowed in (("w8d8", 0.5), ("w4d8", 2.5)):
            narrow = [r for r in mine if (r.method.name, r.method.profile) == (wide.method.name, profile)]
            for result in narrow:
                gap = difference(result, wide)
                goals.append(Goal(f"{gap.in_words()}; at most {allowed} below is wanted", gap.points >= -allowed))
        return goals


def _is(kind: str, name: str) -> bool:
    return ("masked" in name) == (kind == "masked")
