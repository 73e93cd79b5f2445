"""Competing layers and nearest prototypes in float64 (`rules.competition`), one sample at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..fixed import FloatArray, IntArray
from ..layers import Grid, Layer
from ..rules.competition import CLOSE
from .knowledge import sigmoid


@dataclass
class FloatPrototypes:
    """W [neurons, fields, inputs of a field]; `unit`: the inputs' largest value; `conscience` [neurons, fields]."""

    weights: FloatArray
    unit: float
    index: IntArray | None
    conscience: FloatArray

    @classmethod
    def of(cls, layer: Layer, grid: Grid, start: FloatArray, unit: float) -> FloatPrototypes:
        """With the start weights."""
        return cls(start * unit, unit, layer.index(grid), np.zeros(layer.shape(grid)))

    def see(self, x: FloatArray) -> FloatArray:
        """[fields, inputs] of one sample."""
        flat = x.reshape(-1)
        return flat[None, :] if self.index is None else flat[self.index]

    def match(self, seen: FloatArray) -> FloatArray:
        """(w . x - |w|^2 / 2) / 2^h, [neurons, fields]."""
        halvings = round(math.log2(self.weights.shape[-1] * self.unit**2 * CLOSE))
        nearness = (self.weights * seen).sum(axis=-1) - (self.weights**2).sum(axis=-1) / 2
        return np.asarray(nearness / 2.0**halvings)

    def decide(self, x: FloatArray) -> FloatArray:
        """Decisions D, [neurons, fields]."""
        match = self.match(self.see(x))
        return sigmoid(match - match.mean(axis=0))

    def learn(self, x: FloatArray, rate: float, cost: float) -> None:
        """The winner of every field moves towards what it sees; a win costs `cost` of conscience."""
        seen = self.see(x)
        judged = self.match(seen) + self.conscience
        won = judged == judged.max(axis=0)
        self.weights += rate * won[..., None] * (seen - self.weights)
        self.conscience += cost * (1.0 / len(judged) - won)
