"""Backprop in 16-bit integers, batch 1, in place: what our integers would do if they ran backprop.

Weights, biases, units, errors and factors are int16 with fixed exponents; sums are exact; forward sums are rounded
half up; errors, factors and updates are dithered by the lattice of SPEC 3, as ours are.  Only the softmax is computed
in float64 and then rounded to 14 fraction bits, which favours it (a device would use a table).  The functions below
are plain Python; Numba compiles them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ..fixed import LATTICE_A, LATTICE_B, LATTICE_C, Format, IntArray, quantise
from . import Cost, Float32Array, Rows, Setting
from .backprop import Mlp, cost
from .descent import Descent, Recipe

WORD_BYTES = 2
WEIGHT = BIAS = Format(16, -12)  # within 8: float32 weights reach 6.4 on the digits
SAMPLE = Format(16, -15)
UNIT = Format(16, -11)  # ReLU units and every layer's sum: within 16
ERROR = Format(16, -14)
_A, _B, _C = LATTICE_A, LATTICE_B, LATTICE_C
_W, _E, _U = WEIGHT.exponent, ERROR.exponent, UNIT.exponent


class Integers(Descent):
    """An `Mlp` of int16."""

    def __init__(self, setting: Setting, recipe: Recipe) -> None:
        super().__init__(setting, recipe)
        start = Mlp.start(setting.shape, recipe.hidden, setting.seed, recipe.gain)
        self.relu = start.relu
        self.widths = start.widths
        self.weights = quantise(start.weights, WEIGHT).astype(np.int16)
        self.biases = np.zeros(len(start.biases), np.int16)
        self.units = np.zeros(len(start.units), np.int16)
        self.errors = np.zeros(len(start.units), np.int16)
        self.sums = np.zeros(max(setting.shape), np.int64)
        self.counter = 0
        # the largest factor: the rate times an error of 2, the most that int16 holds
        self.factor = Format(16, math.ceil(math.log2(2 * recipe.rate)) - 15)
        self.rate = Format(16, math.ceil(math.log2(recipe.rate)) - 15 + 1)
        floats = cost(setting.shape, recipe.hidden)
        # beyond a word for every unit's error, the widest layer's exact sums: 6 bytes hold 41 bits
        self.cost = Cost(floats.weight_bytes // 2, floats.state_bytes // 2 + 6 * max(setting.shape[1:]), 0)
        factors = sum(setting.shape[1:]) - setting.shape[-1]  # each layer's errors times the rate
        self.cost += Cost(0, 0, floats.macs_per_sample + factors)

    def descend(self, rows: Rows, rates: Float32Array) -> None:
        """One step a row."""
        run = _compiled(_descend)
        self.counter = run(
            self.widths,
            self.weights,
            self.biases,
            self.units,
            self.errors,
            self.sums,
            quantise(rows.samples, SAMPLE).astype(np.int16),
            rows.labels,
            quantise(rates, self.rate),
            self.relu,
            self.counter,
            np.array([self.factor.exponent, self.rate.exponent]),
        )

    def decide(self, samples: Float32Array) -> IntArray:
        """Classes of rows."""
        choose: Callable[..., IntArray] = _compiled(_choose)
        raw = quantise(samples, SAMPLE).astype(np.int16)
        return choose(self.widths, self.weights, self.biases, self.units, self.sums, raw, self.relu)


# -- compiled ---------------------------------------------------------------------------------------------------


def _saturate(value: Any) -> int:
    return int(max(-32768, min(32767, value)))


def _half(value: int, shift: int) -> int:
    """Requantise, half up (SPEC 2.2)."""
    return _saturate((value + (1 << (shift - 1))) >> shift)


def _sigmoid(z: int) -> int:
    """Of a unit's sum, with 15 fraction bits."""
    return min(32767, int(np.floor(32768.0 / (1.0 + math.exp(-z / 2048.0)) + 0.5)))


def _dithered(value: Any, shift: int, i: int, j: int, t: int) -> int:
    """Requantise without saturation, dithered (SPEC 2.2, 3)."""
    offset = (i * _A + j * _B + t * _C) & 0xFFFF
    offset = offset << (shift - 16) if shift >= 16 else offset >> (16 - shift)
    return int((value + offset) >> shift)


def _unit_exponent(layer: int, relu: bool) -> int:
    """Exponent of layer 0's units, the sample, or of a hidden layer's."""
    return _U if layer and relu else -15


def _forward(widths: Any, weights: Any, biases: Any, units: Any, sums: Any, relu: bool) -> None:
    w, b, u = 0, 0, 0
    for layer in range(1, len(widths)):
        fan_in, width = widths[layer - 1], widths[layer]
        exponent = _W + _unit_exponent(layer - 1, relu)
        for j in range(width):
            sums[j] = np.int64(biases[b + j]) << (_W - exponent)
        for i in range(fan_in):
            unit = np.int32(units[u + i])
            if unit != 0:
                for j in range(width):
                    sums[j] += np.int32(unit * np.int32(weights[w + i * width + j]))
        for j in range(width):
            z = _half(sums[j], _U - exponent)
            if layer < len(widths) - 1:
                z = max(z, 0) if relu else _sigmoid(z)
            units[u + fan_in + j] = z
        w, b, u = w + fan_in * width, b + width, u + fan_in


def _surprise(units: Any, errors: Any, label: int, classes: int) -> None:
    """Softmax minus one-hot label, as errors of the output layer."""
    first = len(units) - classes
    top = units[first:].max()
    total = 0.0
    for c in range(classes):
        total += math.exp((units[first + c] - top) / 2048.0)
    for c in range(classes):
        share = math.exp((units[first + c] - top) / 2048.0) / total
        errors[first + c] = int(np.floor((share - (1.0 if c == label else 0.0)) * 16384.0 + 0.5))


def _backward(
    widths: Any,
    weights: Any,
    biases: Any,
    units: Any,
    errors: Any,
    sums: Any,
    rate: int,
    relu: bool,
    t: int,
    exponents: Any,
) -> None:
    factor_exponent, rate_exponent = exponents[0], exponents[1]
    u, w, b = len(units) - widths[-1], len(weights), len(biases)
    for layer in range(len(widths) - 1, 0, -1):
        fan_in, width = widths[layer - 1], widths[layer]
        w, b, below = w - fan_in * width, b - width, u - fan_in
        for j in range(width):  # sums holds the factor rate * error, negative: what to add
            product = -np.int64(errors[u + j]) * rate
            sums[j] = _saturate(_dithered(product, factor_exponent - _E - rate_exponent, fan_in + 1, j, t))
            step = _dithered(sums[j], _W - factor_exponent, fan_in, j, t)
            biases[b + j] = _saturate(np.int64(biases[b + j]) + step)
        shift = _W - (factor_exponent + _unit_exponent(layer - 1, relu))
        for i in range(fan_in):
            unit = np.int32(units[below + i])
            k = w + i * width
            if layer > 1 and (unit > 0 or not relu):
                error = np.int64(0)
                for j in range(width):
                    error += np.int32(np.int32(weights[k + j]) * np.int32(errors[u + j]))
                if not relu:
                    error = (error * ((np.int64(unit) * (32768 - unit)) >> 15)) >> 15
                errors[below + i] = _saturate(_dithered(error, -_W, i, layer, t))
            elif layer > 1:
                errors[below + i] = 0
            if unit != 0:
                for j in range(width):
                    offset = (i * _A + j * _B + t * _C) & 0xFFFF
                    offset = offset << (shift - 16) if shift >= 16 else offset >> (16 - shift)
                    moved = weights[k + j] + ((unit * np.int32(sums[j]) + offset) >> shift)
                    weights[k + j] = max(-32768, min(32767, moved))
        u = below


def _descend(
    widths: Any,
    weights: Any,
    biases: Any,
    units: Any,
    errors: Any,
    sums: Any,
    samples: Any,
    labels: Any,
    rates: Any,
    relu: bool,
    t: int,
    exponents: Any,
) -> int:
    """Learn rows one after the other; returns the update counter."""
    for row in range(len(samples)):
        units[: widths[0]] = samples[row]
        _forward(widths, weights, biases, units, sums, relu)
        _surprise(units, errors, labels[row], widths[-1])
        _backward(widths, weights, biases, units, errors, sums, rates[row], relu, t, exponents)
        t += 1
    return t


def _choose(widths: Any, weights: Any, biases: Any, units: Any, sums: Any, samples: Any, relu: bool) -> IntArray:
    """Index of the largest output, row by row."""
    choices = np.zeros(len(samples), np.int64)
    for row in range(len(samples)):
        units[: widths[0]] = samples[row]
        _forward(widths, weights, biases, units, sums, relu)
        choices[row] = units[len(units) - widths[-1] :].argmax()
    return choices


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled by Numba on first use."""
    from numba import njit
    from numba.extending import register_jitable

    for part in (_saturate, _half, _sigmoid, _dithered, _unit_exponent, _forward, _surprise, _backward):
        register_jitable(part)
    compiled: Callable[..., Any] = njit(cache=True)(function)
    return compiled
