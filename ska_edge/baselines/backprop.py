"""Stochastic gradient descent with backprop, batch 1, float32, in place: the baseline that hurts most.

Written as good embedded C would be: flat arrays, no gradient buffer, and each layer's error takes the place of its own
activations, so that learning needs one float per neuron beyond the weights.  Hidden units are sigmoid or ReLU; the
output is softmax with cross-entropy.  The functions below are plain Python; `learn` has Numba compile them.

Learning rates were chosen on learning rows only, by `python -m ska_edge.baselines.backprop` (a minute; see `RATES`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data import Dataset, load_dataset, split
from ..errors import DataError, NetworkError
from ..network import Network
from . import Cost, Float32Array, Outcome, Rows, pass_orders

UNITS = ("sigmoid", "relu")
GRID = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
RATES: dict[tuple[tuple[int, ...], str], float] = {
    ((64, 16, 10), "sigmoid"): 0.2,
    ((64, 16, 10), "relu"): 0.1,
}
"""Shape and hidden units -> learning rate.  20 passes over digits, ten seeds, mean accuracy on validation rows:

rate      0.001  0.002  0.005  0.01   0.02   0.05   0.1    0.2    0.5    1
sigmoid   0.7285 0.8344 0.9184 0.9444 0.9590 0.9681 0.9712 0.9733 0.9705 0.9670
relu      0.9104 0.9396 0.9573 0.9646 0.9698 0.9708 0.9715 0.9649 0.5073 0.1003
"""
FLOAT_BYTES = 4

_Array = npt.NDArray[Any]


@dataclass
class Mlp:
    """A perceptron in three flat arrays, as C would hold it.

    `widths` [layers + 1]; `weights`: row-major [outputs, inputs] matrices one after the other; `biases` and `units`
    likewise, `units` beginning with the sample.  float32 in use; the gradient check gives them float64.
    """

    widths: npt.NDArray[np.int64]
    weights: _Array
    biases: _Array
    units: _Array
    relu: bool

    @classmethod
    def start(cls, network: Network, hidden: str) -> Mlp:
        """The network's shape and random stream; standard deviation 1 / sqrt(inputs), for ReLU sqrt(2 / inputs)."""
        if hidden not in UNITS:
            raise NetworkError(f"hidden units {hidden!r}: allowed are {', '.join(UNITS)}")
        gains = [math.sqrt(2.0) if hidden == "relu" else 1.0] * (len(network.shape) - 2) + [1.0]
        starts = [gain * start for gain, start in zip(gains, network.start_weights(), strict=True)]
        return cls(
            np.array(network.shape, np.int64),
            np.concatenate([start.ravel() for start in starts]).astype(np.float32),
            np.zeros(sum(network.shape[1:]), np.float32),
            np.zeros(sum(network.shape), np.float32),
            hidden == "relu",
        )

    def decide(self, samples: Float32Array) -> npt.NDArray[np.int64]:
        """Classes of rows of samples."""
        choose: Callable[..., npt.NDArray[np.int64]] = _compiled(_choose)
        return choose(self.widths, self.weights, self.biases, self.units, samples, self.relu)

    def learn(self, rows: Rows, order: npt.NDArray[np.int64], rate: float) -> None:
        """One step of descent for every row that `order` names."""
        descend = _compiled(_descend)
        step = np.float32(rate)
        descend(self.widths, self.weights, self.biases, self.units, rows.samples, rows.labels, order, step, self.relu)


def run(network: Network, hidden: str, learn: Rows, test: Rows, orders: Sequence[npt.NDArray[np.int64]]) -> Outcome:
    """Learn in the given orders, one a pass, at the stored rate; test at the end."""
    mlp = Mlp.start(network, hidden)
    rate = default_rate(network.shape, hidden)
    started = time.perf_counter()
    for order in orders:
        mlp.learn(learn, order, rate)
    seconds = time.perf_counter() - started
    return Outcome(float((mlp.decide(test.samples) == test.labels).mean()), cost(network.shape, hidden), seconds)


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


def default_rate(shape: tuple[int, ...], hidden: str) -> float:
    """The rate `validate_rates` found best for this shape; NetworkError where nobody has looked yet."""
    if (shape, hidden) not in RATES:
        name = "-".join(map(str, shape))
        raise NetworkError(
            f"backprop {name}, {hidden}: no learning rate chosen yet; validate_rates() tells which belongs into RATES"
        )
    return RATES[shape, hidden]


# -- compiled: parameters are Mlp's -----------------------------------------------------------------------------


def _forward(widths: _Array, weights: _Array, biases: _Array, units: _Array, relu: bool) -> None:
    """Fill `units` from the sample upward; the output stays linear."""
    w, b, u = 0, 0, 0
    for layer in range(1, len(widths)):
        fan_in, width = widths[layer - 1], widths[layer]
        for j in range(width):
            z = biases[b + j]
            for i in range(fan_in):
                z += weights[w + j * fan_in + i] * units[u + i]
            if layer < len(widths) - 1:
                z = max(z, 0.0) if relu else 1.0 / (1.0 + math.exp(-z))
            units[u + fan_in + j] = z
        w, b, u = w + fan_in * width, b + width, u + fan_in


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
    widths: _Array, weights: _Array, biases: _Array, units: _Array, label: int, rate: Any, relu: bool
) -> None:
    """Errors downward, already times the rate; weights move on the way; each error overwrites its unit."""
    u = len(units) - widths[-1]
    w, b = len(weights), len(biases)
    _clamp(units[u:], label)
    for c in range(widths[-1]):
        units[u + c] *= rate  # backprop is linear in the error: one product here saves one a weight
    for layer in range(len(widths) - 1, 0, -1):
        fan_in, width = widths[layer - 1], widths[layer]
        w, b, below = w - fan_in * width, b - width, u - fan_in
        for j in range(width):
            biases[b + j] -= units[u + j]
            if layer == 1:  # nothing below wants an error: rows, which lie together
                for i in range(fan_in):
                    weights[w + j * fan_in + i] -= units[u + j] * units[below + i]
        if layer > 1:  # columns, so that unit i can give way to its error as soon as its own weights are done
            for i in range(fan_in):
                unit, error = units[below + i], 0.0
                for j in range(width):
                    k = w + j * fan_in + i
                    error += weights[k] * units[u + j]
                    weights[k] -= units[u + j] * unit
                slope = (1.0 if unit > 0.0 else 0.0) if relu else unit * (1.0 - unit)
                units[below + i] = error * slope
        u = below


def _descend(
    widths: _Array,
    weights: _Array,
    biases: _Array,
    units: _Array,
    samples: _Array,
    labels: _Array,
    order: _Array,
    rate: Any,
    relu: bool,
) -> None:
    """Learn the rows `order` names, one after the other."""
    for row in order:
        units[: widths[0]] = samples[row]
        _forward(widths, weights, biases, units, relu)
        _backward(widths, weights, biases, units, labels[row], rate, relu)


def _choose(
    widths: _Array, weights: _Array, biases: _Array, units: _Array, samples: _Array, relu: bool
) -> npt.NDArray[np.int64]:
    """Index of the largest output, row by row."""
    choices = np.zeros(len(samples), np.int64)
    for row in range(len(samples)):
        units[: widths[0]] = samples[row]
        _forward(widths, weights, biases, units, relu)
        choices[row] = units[len(units) - widths[-1] :].argmax()
    return choices


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


# -- choosing the rate ------------------------------------------------------------------------------------------


def validate_rates(
    dataset: Dataset, shape: tuple[int, ...], hidden: str, passes: int = 20, seeds: int = 10
) -> dict[float, float]:
    """Mean accuracy by rate on validation rows: a fifth of the learning rows of each seed's split, test rows unseen."""
    found: dict[float, list[float]] = {rate: [] for rate in GRID}
    for seed in range(seeds):
        learn, held_out = _validation_rows(dataset, seed)
        orders = pass_orders(len(learn.labels), passes, seed)
        for rate in GRID:
            mlp = Mlp.start(Network(shape, seed=seed), hidden)
            for order in orders:
                mlp.learn(learn, order, rate)
            found[rate].append(float((mlp.decide(held_out.samples) == held_out.labels).mean()))
    return {rate: float(np.mean(scores)) for rate, scores in found.items()}


def _validation_rows(dataset: Dataset, seed: int) -> tuple[Rows, Rows]:
    """The learning rows of a seed, split once more."""
    if dataset.labels is None:
        raise DataError(f"{dataset.name}: no labels to validate with")
    outer = split(dataset, seed).learn
    inner = split(replace(dataset, samples=dataset.samples[outer], labels=dataset.labels[outer]), seed)
    encoding = dataset.encoding(outer[inner.learn])
    parts = [outer[inner.learn], outer[inner.test]]
    rows = [Rows(encoding.unit(dataset.samples[part]).astype(np.float32), dataset.labels[part]) for part in parts]
    return rows[0], rows[1]


if __name__ == "__main__":
    for units in UNITS:
        for tried, accuracy in validate_rates(load_dataset("digits"), (64, 16, 10), units).items():
            print(f"{units:8} rate {tried:<6g} validation accuracy {accuracy:.4f}")
