"""Forward-Forward (Hinton, arXiv 2212.13345): no backward pass; each layer tells samples with their own label from
samples with a wrong one.

The label is written into the input as `classes` extra features.  A layer's goodness is the mean square of its ReLU
units; it descends softplus(theta - goodness) for the right label and softplus(goodness - theta) for a wrong one, and
hands on its units divided by their root mean square, so that the next cannot read the goodness.  The class is the label
with the largest goodness, summed over all layers but the first (over all where there is only one).  The network's last
width, the classes, has no layer of its own.  Adam steps a batch, as in the paper.
"""

from __future__ import annotations

import numpy as np

from ..fixed import IntArray
from . import FLOAT_BYTES, Cost, Float32Array, Setting
from .descent import Batched, Recipe

THRESHOLD = np.float32(8.0)
"""Theta.  On rows for choices of MNIST 8 gives 0.837, 4 0.824, 2 0.790 and 16 0.799, at a rate of 0.003."""
_FLOOR = np.float32(1e-4)
_FIRST, _SECOND = np.float32(0.9), np.float32(0.999)


class _Layer:
    """W [inputs, units], b, and Adam's moments of both as one matrix with the bias as its last row."""

    def __init__(self, random: np.random.Generator, fan_in: int, width: int) -> None:
        self.weights = np.zeros((fan_in + 1, width), np.float32)
        self.weights[:-1] = random.normal(size=(fan_in, width)) * np.sqrt(2.0 / fan_in)
        self.first, self.second = np.zeros_like(self.weights), np.zeros_like(self.weights)

    def forward(self, x: Float32Array) -> Float32Array:
        return np.asarray(np.maximum(x @ self.weights[:-1] + self.weights[-1], 0), np.float32)

    def learn(self, x: Float32Array, right: Float32Array, rate: float, step: int) -> Float32Array:
        """One step; `right` is 1 for rows with their own label, -1 for the others.  Returns units before it."""
        units = self.forward(x)
        margin = right * ((units**2).mean(axis=1) - THRESHOLD)
        pull = -right / (1 + np.exp(np.minimum(margin, 80)))  # slope of softplus(-margin) by goodness
        error = pull[:, None] * units * np.float32(2.0 / (units.shape[1] * len(x)))
        gradient = np.vstack([x.T @ error, error.sum(axis=0)])
        self.first += (1 - _FIRST) * (gradient - self.first)
        self.second += (1 - _SECOND) * (gradient * gradient - self.second)
        unbias = rate * np.sqrt(1 - float(_SECOND) ** step) / (1 - float(_FIRST) ** step)
        self.weights -= np.float32(unbias) * self.first / (np.sqrt(self.second) + np.float32(1e-8))
        return units


class ForwardForward(Batched):
    """A stack of layers that each learn alone; a wrong label is drawn at random for every sample."""

    def __init__(self, setting: Setting, recipe: Recipe) -> None:
        super().__init__(setting, recipe)
        self.classes, widths = setting.shape[-1], setting.shape[1:-1]
        random = np.random.default_rng([setting.seed, 2])
        inputs = [setting.shape[0] + self.classes, *widths[:-1]]
        self.layers = [_Layer(random, fan_in, width) for fan_in, width in zip(inputs, widths, strict=True)]
        self.steps = 0
        self._labels = np.random.default_rng([setting.seed, 3])
        elements = sum(layer.weights.size for layer in self.layers)
        products = sum(layer.weights[:-1].size for layer in self.layers)
        # a right and a wrong label: forward and update twice; gradient and two moments a weight
        steps = 6 * elements / recipe.batch
        state = FLOAT_BYTES * (3 * elements + sum(widths))
        self.cost = Cost(FLOAT_BYTES * elements, state, round(4 * products + steps))

    def step(self, samples: Float32Array, labels: IntArray, rate: float) -> None:
        """One step of every layer."""
        self.steps += 1
        wrong = (labels + self._labels.integers(1, self.classes, len(labels))) % self.classes
        x = np.vstack([self._with_label(samples, labels), self._with_label(samples, wrong)])
        right = np.repeat(np.array([1, -1], np.float32), len(samples))
        for layer in self.layers:
            x = _normalised(layer.learn(x, right, rate, self.steps))

    def decide(self, samples: Float32Array) -> IntArray:
        """Every label is tried."""
        goodness = np.stack([self._goodness(samples, label) for label in range(self.classes)], axis=1)
        return np.asarray(goodness.argmax(axis=1), np.int64)

    def _goodness(self, samples: Float32Array, label: int) -> Float32Array:
        x = self._with_label(samples, np.full(len(samples), label))
        found = []
        for layer in self.layers:
            units = layer.forward(x)
            found.append((units**2).mean(axis=1))
            x = _normalised(units)
        return np.asarray(sum(found[1:] if len(found) > 1 else found), np.float32)

    def _with_label(self, samples: Float32Array, labels: IntArray) -> Float32Array:
        """Input of the first layer, its length normalised; the label as strong as the sample's largest feature."""
        top = np.abs(samples).max(axis=1, keepdims=True)
        return _normalised(np.hstack([samples, top * np.eye(self.classes, dtype=np.float32)[labels]]))


def _normalised(units: Float32Array) -> Float32Array:
    scale = np.sqrt((units**2).mean(axis=1, keepdims=True))
    return np.asarray(units / (scale + _FLOOR), np.float32)
