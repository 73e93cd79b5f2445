"""Stochastic gradient descent with backprop, batch 1, float32, in place: the baseline that hurts most.

Written as good embedded C would be: flat arrays, no gradient buffer, and each layer's error takes the place of its own
activations, so that learning needs one float per neuron beyond the weights.  Weights lie [inputs, outputs], so that
every loop runs along a row, and silent units cost nothing.  Hidden units are sigmoid or ReLU; the output is softmax
with cross-entropy.  The functions below are plain Python; `learn` has Numba compile them.

Direct feedback alignment (Nokland, arXiv 1609.01596) differs in one line: a hidden unit's error is a fixed random
projection of the output's, not the transposed weights' of the layer above.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import NetworkError
from ..fixed import IntArray
from ..start import NormalStream
from . import FLOAT_BYTES, Cost, Float32Array, Rows, Setting
from .descent import Descent, Recipe

UNITS = ("sigmoid", "relu")

_Array = npt.NDArray[Any]


@dataclass
class Mlp:
    """A perceptron in three flat arrays, as C would hold it.

    `widths` [layers + 1]; `weights`: row-major [inputs, outputs] matrices one after the other; `biases` and `units`
    likewise, `units` beginning with the sample.  float32 in use; the gradient check gives them float64.  `feedback`:
    empty for backprop; for alignment one row of `classes` weights a hidden unit.
    """

    widths: npt.NDArray[np.int64]
    weights: _Array
    biases: _Array
    units: _Array
    relu: bool
    feedback: _Array = field(default_factory=lambda: np.zeros(0, np.float32))

    @classmethod
    def start(cls, shape: tuple[int, ...], hidden: str, seed: int = 0, gain: float = 1.0) -> Mlp:
        """The random stream our own networks start from, in the same order; biases are zero.

        Standard deviation 1 / sqrt(inputs), or sqrt(2 / inputs) before ReLU; `gain` multiplies that of hidden layers.
        """
        if hidden not in UNITS:
            raise NetworkError(f"hidden units {hidden!r}: allowed are {', '.join(UNITS)}")
        gains = [gain * (math.sqrt(2.0) if hidden == "relu" else 1.0)] * (len(shape) - 2) + [1.0]
        stream, pairs = NormalStream(seed), zip(shape[:-1], shape[1:], strict=True)
        starts = [stream.take(pair) * each / math.sqrt(pair[0]) for each, pair in zip(gains, pairs, strict=True)]
        return cls(
            np.array(shape, np.int64),
            np.concatenate([start.ravel() for start in starts]).astype(np.float32),
            np.zeros(sum(shape[1:]), np.float32),
            np.zeros(sum(shape), np.float32),
            hidden == "relu",
        )

    def layers(self) -> list[tuple[_Array, _Array]]:
        """Views of each layer's weights [inputs, outputs] and biases [outputs]."""
        views, w, b = [], 0, 0
        for fan_in, width in zip(self.widths[:-1], self.widths[1:], strict=True):
            views.append((self.weights[w : w + fan_in * width].reshape(fan_in, width), self.biases[b : b + width]))
            w, b = w + fan_in * width, b + width
        return views

    def activations(self, samples: _Array) -> list[_Array]:
        """Units of every layer for rows of samples, the samples first, the linear output last."""
        units = [samples]
        for weights, biases in self.layers():
            z = units[-1] @ weights + biases
            if len(units) < len(self.widths) - 1:
                z = np.maximum(z, 0) if self.relu else 1 / (1 + np.exp(-np.maximum(z, -80)))
            units.append(z)
        return units

    def decide(self, samples: Float32Array) -> npt.NDArray[np.int64]:
        """Classes of rows of samples."""
        return np.asarray(self.activations(samples)[-1].argmax(axis=1), np.int64)

    def learn(self, rows: Rows, order: npt.NDArray[np.int64], rate: float | Float32Array) -> None:
        """One step of descent for every row that `order` names, at one rate or one each."""
        descend = _compiled(_descend)
        rates = np.broadcast_to(np.float32(rate), len(order)).astype(np.float32)
        mlp = (self.widths, self.weights, self.biases, self.units)
        descend(*mlp, rows.samples, rows.labels, order, rates, self.relu, self.feedback)


class InPlace(Descent):
    """Backprop, batch 1, updates made as soon as they are known."""

    def __init__(self, setting: Setting, recipe: Recipe) -> None:
        super().__init__(setting, recipe)
        self.mlp = Mlp.start(setting.shape, recipe.hidden, setting.seed, recipe.gain)
        self.cost = cost(setting.shape, recipe.hidden)

    def descend(self, rows: Rows, rates: Float32Array) -> None:
        """One step a row."""
        self.mlp.learn(rows, np.arange(len(rows.labels)), rates)

    def decide(self, samples: Float32Array) -> IntArray:
        """Classes of rows."""
        return self.mlp.decide(samples)


class Alignment(InPlace):
    """Direct feedback alignment, in place: fixed random weights carry the output's error to every hidden unit.

    They are drawn with standard deviation 1 / sqrt(classes) and counted as weights in the cost.
    """

    def __init__(self, setting: Setting, recipe: Recipe) -> None:
        super().__init__(setting, recipe)
        classes, hidden_units = setting.shape[-1], sum(setting.shape[1:-1])
        random = np.random.default_rng([setting.seed, 1])
        self.mlp.feedback = (random.normal(size=hidden_units * classes) / math.sqrt(classes)).astype(np.float32)
        above_first = sum(a * b for a, b in zip(setting.shape[1:-1], setting.shape[2:], strict=True))
        extra = hidden_units * classes
        self.cost = self.cost + Cost(FLOAT_BYTES * extra, 0, extra - above_first)


def cost(shape: tuple[int, ...], hidden: str) -> Cost:
    """Bytes and multiplications of the code below.

    State: one float32 for every neuron, hidden and output; errors overwrite activations, gradients are never stored.
    Multiplications of a step: forward and update one a weight each, backward one a weight above the first layer; a
    sigmoid's slope two a neuron, and the classes' errors are scaled by the rate once.

    >>> cost((64, 16, 10), "sigmoid")
    Cost(weight_bytes=4840, state_bytes=104, macs_per_sample=2570)
    """
    weights = [a * b for a, b in zip(shape[:-1], shape[1:], strict=True)]
    neurons, hidden_neurons = sum(shape[1:]), sum(shape[1:-1])
    macs = 2 * sum(weights) + sum(weights[1:]) + shape[-1] + (2 * hidden_neurons if hidden == "sigmoid" else 0)
    return Cost(FLOAT_BYTES * (sum(weights) + neurons), FLOAT_BYTES * neurons, macs)


# -- compiled: parameters are Mlp's -----------------------------------------------------------------------------


def _forward(widths: _Array, weights: _Array, biases: _Array, units: _Array, relu: bool) -> None:
    """Fill `units` from the sample upward; the output stays linear."""
    w, b, u = 0, 0, 0
    for layer in range(1, len(widths)):
        fan_in, width = widths[layer - 1], widths[layer]
        above = u + fan_in
        for j in range(width):
            units[above + j] = biases[b + j]
        for i in range(fan_in):
            unit = units[u + i]
            if unit != 0.0:
                for j in range(width):
                    units[above + j] += unit * weights[w + i * width + j]
        if layer < len(widths) - 1:
            for j in range(width):
                z = units[above + j]
                units[above + j] = max(z, 0.0) if relu else 1.0 / (1.0 + math.exp(-z))
        w, b, u = w + fan_in * width, b + width, above


def _clamp(logits: _Array, label: int) -> None:
    """Logits to softmax minus one-hot label: the error of the cross-entropy, in place."""
    top = logits.max()
    total = 0.0
    for c in range(len(logits)):
        logits[c] = math.exp(logits[c] - top)
        total += logits[c]
    for c in range(len(logits)):
        logits[c] = logits[c] / total
    logits[label] -= 1.0


def _backward(
    widths: _Array,
    weights: _Array,
    biases: _Array,
    units: _Array,
    label: int,
    rate: Any,
    relu: bool,
    feedback: _Array,
) -> None:
    """Errors downward, already times the rate; weights move on the way; each error overwrites its unit."""
    u, classes = len(units) - widths[-1], widths[-1]
    top, f = u, len(feedback)
    w, b = len(weights), len(biases)
    _clamp(units[u:], label)
    for c in range(widths[-1]):
        units[u + c] *= rate  # backprop is linear in the error: one product here saves one a weight
    for layer in range(len(widths) - 1, 0, -1):
        fan_in, width = widths[layer - 1], widths[layer]
        w, b, below = w - fan_in * width, b - width, u - fan_in
        if layer > 1:
            f -= fan_in * classes
        for j in range(width):
            biases[b + j] -= units[u + j]
        for i in range(fan_in):  # unit i gives way to its error as soon as its own weights are done
            unit, error = units[below + i], np.float32(0.0)
            k = w + i * width
            if layer > 1:  # nothing below the first layer wants an error
                slope = (1.0 if unit > 0.0 else 0.0) if relu else unit * (1.0 - unit)
                if slope != 0.0 and len(feedback):
                    for c in range(classes):
                        error += feedback[f + i * classes + c] * units[top + c]
                elif slope != 0.0:
                    for j in range(width):
                        error += weights[k + j] * units[u + j]
                units[below + i] = error * slope
            if unit != 0.0:
                for j in range(width):
                    weights[k + j] -= unit * units[u + j]
        u = below


def _descend(
    widths: _Array,
    weights: _Array,
    biases: _Array,
    units: _Array,
    samples: _Array,
    labels: _Array,
    order: _Array,
    rates: _Array,
    relu: bool,
    feedback: _Array,
) -> None:
    """Learn the rows `order` names, one after the other."""
    for position in range(len(order)):
        row = order[position]
        units[: widths[0]] = samples[row]
        _forward(widths, weights, biases, units, relu)
        _backward(widths, weights, biases, units, labels[row], rates[position], relu, feedback)


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled by Numba on first use: importing this module stays cheap."""
    from numba import njit
    from numba.extending import register_jitable

    for part in (_forward, _clamp, _backward):
        register_jitable(part)
    # a compiler may reorder a C float sum only if told so; telling it lets the dot products use vector registers
    compiled: Callable[..., Any] = njit(cache=True, fastmath={"reassoc", "contract"})(function)
    return compiled
