"""Backprop over batches, float32: plain, with momentum, or Adam (Kingma and Ba, arXiv 1412.6980).

On a device the gradient of a batch is summed one sample at a time, so it takes one float32 a weight, momentum one more,
Adam two more.  Here NumPy takes the whole batch at once, which gives the same sums.
"""

from __future__ import annotations

import numpy as np

from ..fixed import IntArray
from . import FLOAT_BYTES, Cost, Float32Array, Setting
from .backprop import Mlp, cost
from .descent import Batched, Recipe

OPTIMISERS = ("sgd", "momentum", "adam")
_MOMENTS = {"sgd": 0, "momentum": 1, "adam": 2}
_ADAM_FIRST, _ADAM_SECOND, _ADAM_FLOOR = 0.9, 0.999, 1e-8  # the paper's


class Minibatch(Batched):
    """Mean gradient of a batch, then one step."""

    def __init__(self, setting: Setting, recipe: Recipe, optimiser: str = "sgd") -> None:
        super().__init__(setting, recipe)
        self.optimiser = optimiser
        self.mlp = Mlp.start(setting.shape, recipe.hidden, setting.seed, recipe.gain)
        self.layers = self.mlp.layers()
        self.first = [np.zeros_like(p) for pair in self.layers for p in pair]
        self.second = [np.zeros_like(p) for pair in self.layers for p in pair]
        self.steps = 0
        plain = cost(setting.shape, recipe.hidden)
        elements = plain.weight_bytes // FLOAT_BYTES
        buffers = 1 + _MOMENTS[optimiser]
        per_step = {"sgd": 1, "momentum": 2, "adam": 6}[optimiser] * elements / recipe.batch
        self.cost = plain + Cost(0, buffers * FLOAT_BYTES * elements, round(per_step))

    def decide(self, samples: Float32Array) -> IntArray:
        """Classes of rows."""
        return self.mlp.decide(samples)

    def step(self, samples: Float32Array, labels: IntArray, rate: float) -> None:
        """One step for one batch."""
        self.steps += 1
        for place, gradient in self.gradients(samples, labels):
            parameter = self.layers[place // 2][place % 2]
            parameter -= np.float32(rate) * self._direction(place, gradient)

    def gradients(self, samples: Float32Array, labels: IntArray) -> list[tuple[int, Float32Array]]:
        """(place, mean gradient) of every weight matrix (even places) and bias (odd)."""
        units = self.mlp.activations(samples)
        shifted = np.exp(units[-1] - units[-1].max(axis=1, keepdims=True))
        error = shifted / shifted.sum(axis=1, keepdims=True)
        error[np.arange(len(labels)), labels] -= 1.0
        error /= np.float32(len(labels))
        found: list[tuple[int, Float32Array]] = []
        for layer in reversed(range(len(self.layers))):
            found += [(2 * layer, units[layer].T @ error), (2 * layer + 1, error.sum(axis=0))]
            if layer:
                below = units[layer]
                slope = below > 0 if self.mlp.relu else below * (1 - below)
                error = (error @ self.layers[layer][0].T) * slope
        return found

    def _direction(self, place: int, gradient: Float32Array) -> Float32Array:
        """What to subtract, at rate 1."""
        if self.optimiser == "sgd":
            return gradient
        first = self.first[place]
        if self.optimiser == "momentum":
            first *= np.float32(self.recipe.momentum)
            first += gradient
            return first
        second = self.second[place]
        first += np.float32(1 - _ADAM_FIRST) * (gradient - first)
        second += np.float32(1 - _ADAM_SECOND) * (gradient * gradient - second)
        unbias = np.sqrt(1 - _ADAM_SECOND**self.steps) / (1 - _ADAM_FIRST**self.steps)
        return np.asarray(np.float32(unbias) * first / (np.sqrt(second) + np.float32(_ADAM_FLOOR)), np.float32)
