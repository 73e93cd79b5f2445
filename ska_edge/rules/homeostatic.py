"""The homeostatic rule: the published rule, with knowledge measured from each neuron's habit.

    g = -(1/ln 2) ((z - m) D' + dD),  m = logit of the running mean of D

The published rule minimises H(D|x), the entropy of a decision given its sample, and every neuron drifts to one side.
z - m adds the entropy of the habit: it maximises H(D) - H(D|x), the neuron's information about its input (design 3.4).
One scalar of state a neuron.  Bound: the logit's table is clamped at +-LIMIT and |z| < 8, so |(z - m) D'| stays below
(8 + LIMIT) / 4, and |g| < 6.2.  The mean is held during the flow; it follows the last decision on each sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..builder import KNOWLEDGE, Builder
from ..errors import NetworkError
from ..fixed import Format
from ..operations import Kind, Lut, Tensor
from .published import Published

if TYPE_CHECKING:
    from ..network import Network

MEAN = Format(16, -15)
LIMIT = 5.2  # what a mean of 15 bits allows: logit(1 - 2^-7.5)
_SEGMENT_WIDTH = 8  # 128 segments over 0 .. 1


@dataclass(frozen=True)
class Homeostatic(Published):
    """Maximises a neuron's information about its input.  The mean follows D over about `2^memory` samples."""

    name: ClassVar[str] = "homeostatic"
    centred_inputs: ClassVar[bool] = True
    rate: float = 0.02
    forward_steps: int = 8
    memory: int = 8

    def check(self, network: Network) -> None:
        """Raise NetworkError for absurd parameters, or layers that the rule cannot teach."""
        super().check(network)
        if not 1 <= self.memory <= 15:
            raise NetworkError(f"rule {self.name}: memory {self.memory}; allowed are 1 to 15")

    def start_std(self, fan_in: int, layer: int) -> float:
        """1 / sqrt(inputs)."""
        return 1.0 / math.sqrt(fan_in)

    def habit(self, build: Builder, z: Tensor) -> Tensor:
        """The logit of the running mean."""
        layer = z.layer or 0
        d = np.clip(np.arange(129) / 128, 1 / (1 + math.exp(LIMIT)), 1 / (1 + math.exp(-LIMIT)))
        logit = build.constant("logit", np.log(d / (1 - d)), KNOWLEDGE, Kind.TABLE)
        mean = self._mean(build, z)
        habit = build.scratch(f"habit{layer}", z.shape, KNOWLEDGE, Kind.KNOWLEDGE, layer)
        build.emit("learn", Lut(habit.name, mean.name, logit.name, 0, _SEGMENT_WIDTH, layer=layer))
        return habit

    def learn_habit(self, build: Builder, decision: Tensor) -> None:
        """Mean += (D - mean) / 2^memory, dithered."""
        layer, mean = decision.layer or 0, self._mean(build, decision)
        away = build.scratch(f"away{layer}", mean.shape, MEAN, Kind.OTHER, layer)
        build.scale("learn", away, mean, gain=-1, c=decision)
        build.follow("learn", mean, away, self.memory)

    def _mean(self, build: Builder, like: Tensor) -> Tensor:
        layer = like.layer or 0
        return build.state(f"mean{layer}", np.full(like.shape, 0.5), MEAN, Kind.MEAN, layer)
