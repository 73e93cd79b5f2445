"""Novelty: learn what is normal from normal samples only, and flag the rest.

Data: ECG5000's 500 training beats of 140 samples, 292 of them normal.  Seed s: `RandomState(s)` shuffles the normal
beats; 150 are learnt, `passes` times, without labels; the other 142 and all 208 that are not normal are judged.  20
seeds, 0 to 19.  Metric: area under the ROC curve of the novelty score.  No rows are left for choices: what was chosen
here was chosen on these splits, for every method.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from ..baselines import Detector, Outcome, Setting, pass_orders
from ..data import Dataset, load_dataset
from . import others, ours
from .rows import Comparison, Result, difference
from .scenario import Contestant, Goal, Scenario

NORMAL_BEATS = 150
UNITS = 32
"""Hidden units offered to a rule; what statistics does needs none."""
PROTOTYPES = 24
MEMORY_BYTES = 6 * 1024


@dataclass(frozen=True)
class Novelty(Scenario):
    """Detectors."""

    name: ClassVar[str] = "novelty"
    default_passes: ClassVar[Mapping[str, int]] = {"ecg": 10}
    metrics: ClassVar[tuple[str, ...]] = ("AUC",)
    rival_words: ClassVar[str] = "full-covariance Mahalanobis"
    default_seeds: ClassVar[int] = 20

    def contestants(self) -> list[Contestant]:
        """Prototypes that learn on the device, the published rule's decisions, and what statistics offers."""
        return [
            *(ours.prototypes(profile, PROTOTYPES) for profile in ("w16d15", "w8d8", "w4d8")),
            ours.detector("published", "w8d8"),
            *others.detectors(),
        ]

    def run(self, contestant: Contestant, seed: int) -> Outcome:
        """Learn the normal beats; rank the others."""
        from sklearn.metrics import roc_auc_score

        data = _ecg()
        novel = np.asarray(data.labels) == 1
        normal = np.random.RandomState(seed).permutation(np.flatnonzero(~novel))
        learn, judged = normal[:NORMAL_BEATS], np.concatenate([normal[NORMAL_BEATS:], np.flatnonzero(novel)])
        samples = data.samples[learn]
        shape = (samples.shape[1], UNITS, 2)
        setting = Setting(shape, data.encoding(learn), samples, None, seed, NORMAL_BEATS * self.passes)
        detector: Detector = contestant.make(setting)
        started = time.perf_counter()
        for order in pass_orders(NORMAL_BEATS, self.passes, seed):
            detector.learn_many(samples[order])
        seconds = time.perf_counter() - started
        auc = roc_auc_score(novel[judged], detector.scores(data.samples[judged]))
        return Outcome(float(auc), detector.cost, seconds)

    def rival(self, comparison: Comparison) -> Result | None:
        """Mahalanobis."""
        return next((r for r in comparison.results if r.method.name == "Mahalanobis"), None)

    def goals(self, comparison: Comparison) -> list[Goal]:
        """Not below Mahalanobis, in little memory."""
        rival = self.rival(comparison)
        small = [r for r in comparison.results if r.method.family == "ours" and _bytes(r) <= MEMORY_BYTES]
        mine = max(small, key=lambda result: result.mean, default=None) or comparison.best("ours")
        if rival is None or mine is None:
            return []
        gap, size = difference(mine, rival), _bytes(mine)
        return [
            Goal(f"{gap.in_words()}; not below is wanted", gap.points >= 0),
            Goal(f"it takes {size:,} bytes; at most {MEMORY_BYTES:,} is wanted", size <= MEMORY_BYTES),
        ]


def _bytes(result: Result) -> int:
    cost = result.outcomes[0].cost
    return cost.weight_bytes + cost.state_bytes


@cache
def _ecg() -> Dataset:
    return load_dataset("ecg")
