"""Drift: midway through the stream the images change for good, and so do the test rows; how soon is it learnt again?

Data: digits, 64-16-10, and MNIST, 784-256-128-64-10; `passes` over the learning rows, half of them before the change.
Three scenarios: shifted (an eighth of the image's width to the right and down; what leaves is lost), scaled (all values
halved, a sensor that fades) and rotated (by 30 degrees, linear interpolation).  Rates do not decay: nobody knows when a
stream ends.  Metrics: accuracy at the end, before the change, just after it, and samples until it is back within two
points of what it was before (looked at every 100 samples; the length of the second half where it never is).
The seed draws start weights, orders and, for the digits, the split.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..baselines import Classifier, Outcome, pass_orders
from ..fixed import FloatArray
from . import others, ours
from .scenario import Contestant, Scenario
from .splits import SHAPES, data_of

LOOK_EVERY = 100
BACK_WITHIN = 0.02


@dataclass(frozen=True)
class Shifted(Scenario):
    """Images moved to the right and down."""

    name: ClassVar[str] = "drift-shifted"
    default_passes: ClassVar[Mapping[str, int]] = {"digits": 6, "mnist": 10}
    metrics: ClassVar[tuple[str, ...]] = ("accuracy at the end", "before", "just after", "samples to recover")
    rival_words: ClassVar[str] = "the best backprop"

    def contestants(self) -> list[Contestant]:
        """Those that learn a stream."""
        return [
            *(ours.classifier("guided", profile) for profile in ("w16d15", "w8d8", "w4d8")),
            *others.backprops(self.name, self.dataset),
            *others.prototypes(),
        ]

    def changed(self, samples: FloatArray) -> FloatArray:
        """Rows of images after the change."""
        images = _images(samples)
        by = images.shape[1] // 8
        moved = np.zeros_like(images)
        moved[:, by:, by:] = images[:, :-by, :-by]
        return moved.reshape(samples.shape)

    def run(self, contestant: Contestant, seed: int) -> Outcome:
        """Half the passes, the change, the other half."""
        data = data_of(self.dataset, seed, self.final)
        rows, test = data.learn, data.test
        learner: Classifier = contestant.make(data.setting(SHAPES[self.dataset], seed))
        half = max(1, self.passes // 2)
        orders = pass_orders(len(rows.labels), 2 * half, seed)
        started = time.perf_counter()
        for order in orders[:half]:
            learner.learn_many(rows.samples[order], rows.labels[order])
        before = float((learner.predict_many(test.samples) == test.labels).mean())
        samples, judged = self.changed(rows.samples), self.changed(test.samples)
        after = [float((learner.predict_many(judged) == test.labels).mean())]
        order = np.concatenate(orders[half:])
        for first in range(0, len(order), LOOK_EVERY):
            picked = order[first : first + LOOK_EVERY]
            learner.learn_many(samples[picked], rows.labels[picked])
            after.append(float((learner.predict_many(judged) == test.labels).mean()))
        seconds = time.perf_counter() - started
        back = np.flatnonzero(np.array(after) >= before - BACK_WITHIN)
        recovered = min(int(back[0]) * LOOK_EVERY, len(order)) if len(back) else len(order)
        return Outcome(after[-1], learner.cost, seconds, (before, after[0], float(recovered)))


@dataclass(frozen=True)
class Scaled(Shifted):
    """A sensor that fades."""

    name: ClassVar[str] = "drift-scaled"

    def changed(self, samples: FloatArray) -> FloatArray:
        """Half of every value."""
        return samples / 2


@dataclass(frozen=True)
class Rotated(Shifted):
    """A sensor mounted askew."""

    name: ClassVar[str] = "drift-rotated"

    def changed(self, samples: FloatArray) -> FloatArray:
        """Turned by 30 degrees."""
        from scipy.ndimage import rotate

        turned = rotate(_images(samples), 30, axes=(2, 1), reshape=False, order=1)
        return np.asarray(turned.reshape(samples.shape), np.float64)


def _images(samples: FloatArray) -> FloatArray:
    side = round(samples.shape[1] ** 0.5)
    return samples.reshape(-1, side, side)
