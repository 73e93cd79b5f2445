"""How a baseline descends: one recipe for backprop and its relatives, and what they share as classifiers.

A `Recipe` names everything that is free.  `chosen.py` holds those that validation preferred.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from ..errors import NetworkError
from ..fixed import FloatArray, IntArray
from . import Classifier, Float32Array, Rows, Setting

DECAYS = ("constant", "linear")


@dataclass(frozen=True)
class Recipe:
    """Free choices of a descent.

    `hidden`: relu or sigmoid.  `decay`: of the rate, constant, or linear to zero over a stream of known length.
    `masked`: share of the inputs set to zero at random while learning; when deciding, all are multiplied by the share
    kept.  `centred`: whether each feature's mean is subtracted.  `batch`: samples a step.  `momentum`: of plain
    descent.  `gain`: of the hidden layers' start weights over 1 / sqrt(inputs), or over sqrt(2 / inputs) for ReLU.
    """

    hidden: str
    rate: float
    decay: str = "linear"
    masked: float = 0.0
    centred: bool = False
    batch: int = 1
    momentum: float = 0.0
    gain: float = 1.0

    def __post_init__(self) -> None:
        if self.decay not in DECAYS:
            raise NetworkError(f"recipe: decay {self.decay!r}; allowed are {', '.join(DECAYS)}")
        if not 0 <= self.masked < 1 or self.rate <= 0 or self.batch < 1:
            raise NetworkError(f"recipe: {self}; masked in 0 .. 1, a positive rate, and batches of at least 1")

    def in_words(self) -> str:
        """Every field, briefly.

        >>> Recipe("relu", 0.02, masked=0.3, batch=20).in_words()
        'ReLU, rate 0.02 falling to 0, plain inputs, 30 % of them masked, batches of 20'
        """
        words = ["ReLU" if self.hidden == "relu" else self.hidden]
        words.append(f"rate {self.rate:g}{' falling to 0' if self.decay == 'linear' else ''}")
        words.append("centred inputs" if self.centred else "plain inputs")
        words += [f"{self.masked:.0%} of them masked".replace("%", " %")] if self.masked else []
        words += [f"batches of {self.batch}"] if self.batch > 1 else []
        words += [f"momentum {self.momentum:g}"] if self.momentum else []
        words += [f"start weights times {self.gain:g}"] if self.gain != 1 else []
        return ", ".join(words)

    def rates(self, first: int, count: int, stream: int | None) -> Float32Array:
        """Rates of samples first to first + count - 1 of a stream.

        >>> Recipe("relu", 1.0).rates(2, 2, 4).tolist()
        [0.5, 0.25]
        """
        if self.decay == "constant" or stream is None:
            return np.full(count, self.rate, np.float32)
        left = 1.0 - np.arange(first, first + count) / stream
        return (self.rate * np.maximum(left, 0.0)).astype(np.float32)


class Descent(Classifier):
    """Encodes, masks, counts and decays; a subclass takes the steps."""

    def __init__(self, setting: Setting, recipe: Recipe) -> None:
        self.setting, self.recipe = setting, recipe
        self.seen = 0
        self._random = np.random.default_rng(setting.seed)

    def learn_many(self, samples: FloatArray, labels: IntArray) -> None:
        """Learn the labelled rows; the others teach nothing."""
        known = labels >= 0
        if not known.any():
            return
        x = self.setting.encode(samples[known], centred=self.recipe.centred)
        if self.recipe.masked:
            x *= self._random.random(x.shape, np.float32) >= self.recipe.masked
        rates = self.recipe.rates(self.seen, len(x), self.setting.stream)
        self.seen += len(x)
        self.descend(Rows(x, labels[known]), rates)

    def predict_many(self, samples: FloatArray) -> IntArray:
        """Classes of rows: nothing is masked, but inputs are scaled to their mean while learning."""
        x = self.setting.encode(samples, centred=self.recipe.centred)
        return self.decide(x * np.float32(1 - self.recipe.masked))

    @abstractmethod
    def descend(self, rows: Rows, rates: Float32Array) -> None:
        """Learn encoded rows one after the other."""

    @abstractmethod
    def decide(self, samples: Float32Array) -> IntArray:
        """Classes of encoded rows."""


class Batched(Descent):
    """Descends whole batches; they span calls, and the rate is that of a batch's last sample."""

    def __init__(self, setting: Setting, recipe: Recipe) -> None:
        super().__init__(setting, recipe)
        self._waiting: list[tuple[Float32Array, int, float]] = []

    def descend(self, rows: Rows, rates: Float32Array) -> None:
        """Whole batches; what is left over waits."""
        self._waiting += zip(rows.samples, rows.labels.tolist(), rates.tolist(), strict=True)
        size = self.recipe.batch
        whole = len(self._waiting) // size * size
        for first in range(0, whole, size):
            samples, labels, each = zip(*self._waiting[first : first + size], strict=True)
            self.step(np.stack(samples), np.array(labels), each[-1])
        del self._waiting[:whole]

    @abstractmethod
    def step(self, samples: Float32Array, labels: IntArray, rate: float) -> None:
        """One step for one batch."""
