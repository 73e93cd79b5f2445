"""What our rules are compared with: backprop as good embedded C would do it, other rules, and controls that learn less.

A baseline is one of three kinds, and so are our own rules when they are compared: a `Classifier` learns a stream of
labelled samples, a `FeatureLearner` an unlabelled one, a `Detector` learns what is normal.  All take samples as
measured; a `Setting` tells what may be known before the first of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..fixed import FloatArray, IntArray
from ..program import Encoding

Float32Array = npt.NDArray[np.float32]
FLOAT_BYTES = 4


class Rows(NamedTuple):
    """Samples [n, features] as a network sees them (`Encoding.unit`), and labels [n]."""

    samples: Float32Array
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Cost:
    """What a method needs on the device.

    `weight_bytes`: all that is learnt or used to decide.  `state_bytes`: what learning needs beyond it, input and
    output buffers apart.  `macs_per_sample`: multiplications in one learning step (no exp, division or addition).
    """

    weight_bytes: int
    state_bytes: int
    macs_per_sample: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.weight_bytes + other.weight_bytes,
            self.state_bytes + other.state_bytes,
            self.macs_per_sample + other.macs_per_sample,
        )


@dataclass(frozen=True)
class Outcome:
    """One run of one method: its score (for an accuracy 0 to 1), cost, and seconds of wall time on the host.

    `others`: further scores, in the order of the scenario's metrics.
    """

    score: float
    cost: Cost
    seconds: float
    others: tuple[float, ...] = ()

    @property
    def scores(self) -> tuple[float, ...]:
        """All scores, one a metric of the scenario."""
        return (self.score, *self.others)


@dataclass(frozen=True)
class Setting:
    """What a method may know before it learns.

    `shape`: widths from features to classes.  `encoding`: of the samples, centred on the mean of `samples`, the rows
    [n, features] that may calibrate; `labels` [n] of them or None.  `stream`: samples that will come in all, every pass
    counted, or None where nobody knows.
    """

    shape: tuple[int, ...]
    encoding: Encoding
    samples: FloatArray
    labels: IntArray | None
    seed: int
    stream: int | None = None

    def encode(self, samples: FloatArray, *, centred: bool = True) -> Float32Array:
        """Samples as a network sees them: within 0 to 1, or that minus the mean."""
        encoding = self.encoding if centred else Encoding(self.encoding.low, self.encoding.high)
        return encoding.unit(samples).astype(np.float32)


class Classifier(ABC):
    """Learns a stream of samples with labels, and decides."""

    cost: Cost

    @abstractmethod
    def learn_many(self, samples: FloatArray, labels: IntArray) -> None:
        """Learn rows [n, features] in the order given; label -1 means none."""

    @abstractmethod
    def predict_many(self, samples: FloatArray) -> IntArray:
        """Classes of rows."""

    def learn_one(self, sample: FloatArray, label: int = -1) -> None:
        """Learn one sample."""
        self.learn_many(sample[np.newaxis], np.array([label], np.int64))


class FeatureLearner(ABC):
    """Learns features from a stream without labels."""

    cost: Cost

    @abstractmethod
    def learn_many(self, samples: FloatArray) -> None:
        """Learn rows [n, features] in the order given."""

    @abstractmethod
    def features(self, samples: FloatArray) -> FloatArray:
        """Features [n, any number] of rows."""


class Detector(ABC):
    """Learns what is normal, and says how far a sample is from it."""

    cost: Cost

    @abstractmethod
    def learn_many(self, samples: FloatArray) -> None:
        """Learn normal rows [n, features] in the order given."""

    @abstractmethod
    def scores(self, samples: FloatArray) -> FloatArray:
        """Novelty of rows [n]: the larger, the less normal."""


_ORDER_STRIDE = 1 << 16  # as `train` draws its orders, so that the demo's model is `train`'s to the bit


def pass_orders(rows: int, passes: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """One random order of the rows a pass, the same for every method with the same seed.

    >>> [sorted(order.tolist()) for order in pass_orders(3, 2, seed=0)]
    [[0, 1, 2], [0, 1, 2]]
    """
    seeds = [(seed + number * _ORDER_STRIDE) % 2**32 for number in range(passes)]
    return [np.random.RandomState(each).permutation(rows).astype(np.int64) for each in seeds]
