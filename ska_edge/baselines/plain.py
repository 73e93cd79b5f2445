"""The published rule as one would write it in NumPy: float32, every forward step and every update made one by one.

What `ska-edge bench` measures itself against.  Nothing is left out and nothing is done twice; work arrays are allocated
once, products go to BLAS.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..fixed import FloatArray
from . import Float32Array

KNOWLEDGE_LIMIT = np.float32(8.0)
_ONE = np.float32(1.0)
_LN2 = np.float32(np.log(2.0))


def sigmoid(z: Float32Array, out: Float32Array) -> Float32Array:
    """1 / (1 + exp(-z)), written to `out`."""
    np.negative(z, out=out)
    np.exp(out, out=out)
    np.add(out, _ONE, out=out)
    return np.divide(_ONE, out, out=out)


class PlainLayer:
    """One layer: W [outputs, inputs], b."""

    def __init__(self, start: FloatArray) -> None:
        self.weights = np.ascontiguousarray(start, np.float32)
        width = len(start)
        self.bias = np.zeros(width, np.float32)
        self.z, self.decision, self.before, self.change, self.step = np.zeros((5, width), np.float32)
        self.outer = np.zeros_like(self.weights)

    def learn(self, x: Float32Array, rate: float, forward_steps: int) -> Float32Array:
        """Hold x for K forward steps; the first only fills D.  Returns the last D."""
        eta = np.float32(rate / (1.0 + float(x @ x)))
        for number in range(forward_steps):
            np.matmul(self.weights, x, out=self.z)
            np.add(self.z, self.bias, out=self.z)
            self.before, self.decision = self.decision, self.before
            sigmoid(self.z, self.decision)
            if number:
                self._update(x, eta)
        return self.decision

    def _update(self, x: Float32Array, eta: np.float32) -> None:
        """W -= eta g x^T with g = -(1/ln 2) (z D' + dD)."""
        np.subtract(_ONE, self.decision, out=self.step)
        np.multiply(self.step, self.decision, out=self.step)
        np.multiply(self.step, self.z, out=self.step)
        np.subtract(self.decision, self.before, out=self.change)
        np.add(self.step, self.change, out=self.step)
        np.multiply(self.step, eta / _LN2, out=self.step)
        np.multiply(self.step[:, None], x, out=self.outer)
        np.add(self.weights, self.outer, out=self.weights)
        np.add(self.bias, self.step, out=self.bias)


class PlainStream:
    """One sample at a time, layer after layer: each is done with a sample before the next sees its last D."""

    def __init__(self, starts: Sequence[FloatArray], rate: float, forward_steps: int) -> None:
        self.layers = [PlainLayer(start) for start in starts]
        self.rate, self.forward_steps = rate, forward_steps

    def learn_one(self, x: Float32Array) -> None:
        """One sample, features 0 to 1."""
        for layer in self.layers:
            x = layer.learn(x, self.rate, self.forward_steps)


class PlainBatch:
    """One batch held over all steps, all layers a step (the papers' schedule); `step` is one of them.

    D of the first step only fills the past; every later one learns: W -= eta * mean over the batch of g x^T.
    """

    def __init__(self, starts: Sequence[FloatArray], batch: Float32Array, rate: float) -> None:
        self.weights = [np.ascontiguousarray(start, np.float32) for start in starts]
        self.biases = [np.zeros(len(start), np.float32) for start in starts]
        self.batch = batch
        self.rate = np.float32(rate / len(batch)) / _LN2
        shapes = [(len(batch), len(start)) for start in starts]
        self.z, self.decisions, self.before, self.g = ([np.zeros(s, np.float32) for s in shapes] for _ in range(4))
        self.entropies = [0.0 for _ in starts]

    def step(self, learns: bool = True) -> None:
        """One forward step of all layers, and its updates."""
        x = self.batch
        for layer, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            z, g = self.z[layer], self.g[layer]
            self.before[layer], self.decisions[layer] = self.decisions[layer], self.before[layer]
            now, before = self.decisions[layer], self.before[layer]
            np.matmul(x, w.T, out=z)
            np.add(z, b, out=z)
            sigmoid(z, now)
            if learns:
                np.subtract(now, before, out=before)  # the past is not needed again
                self.entropies[layer] = -float(np.vdot(z, before) / _LN2)
                np.subtract(_ONE, now, out=g)
                np.multiply(g, now, out=g)
                np.multiply(g, z, out=g)
                np.add(g, before, out=g)
                w += self.rate * (g.T @ x)
                b += self.rate * g.sum(axis=0)
            x = now
