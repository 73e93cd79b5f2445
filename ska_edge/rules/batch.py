"""The papers' own schedule: one batch, and every layer moves in every step (arXiv 2503.13942, 2504.03214).

    z = W x + b;  D = sigmoid(z);  dD = D - D_(k-1)
    W <- W + (eta / ln 2) mean over the batch of (z D' + dD) x_prev^T

x is the batch for layer 1, else D_k of the layer below; x_prev is the batch, else the D_(k-1) of the layer below.
Section `prime` is the first forward pass, which only fills D; the host runs `step` K - 1 times.  A layer keeps its own
decisions in 15 bits, as the flow does; what it hands on has the profile's width.  Bound: |z D' + dD| <= 1.224.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..builder import ENTROPY, KNOWLEDGE, LN2, Builder
from ..errors import NetworkError
from ..fixed import FloatArray, Format
from ..layers import Dense
from ..operations import Kind, Role, Tensor
from .base import Rule, check_layers
from .stage import OWN_DECISION
from .watch import Watch

if TYPE_CHECKING:
    from ..network import Network

MAX_BATCH = 1 << 14
PULL = Format(16, -14)  # of z D' + dD


@dataclass(frozen=True)
class PublishedBatch(Rule):
    """The published rule as published.  `rate` is the papers' eta; `batch` samples are held and moved together."""

    name: ClassVar[str] = "published"
    schedule: ClassVar[str] = "paper"
    rate: float = 0.01
    forward_steps: int = 50
    batch: int = 1000

    def check(self, network: Network) -> None:
        """Raise NetworkError for absurd parameters, or layers that the rule cannot teach."""
        super().check(network)
        check_layers(self, network.layers, (Dense,))
        if not 1 <= self.batch <= MAX_BATCH:
            raise NetworkError(f"rule {self.name}, paper schedule: batch of {self.batch}; allowed are 1 to {MAX_BATCH}")

    def start_std(self, fan_in: int, layer: int) -> float:
        """The papers start at 0.01, whatever the layer."""
        return 0.01

    def learnt_matrices(self, network: Network) -> tuple[str, ...]:
        """W1, W2, ..."""
        return tuple(f"W{layer}" for layer in range(1, len(network.shape)))

    def input_shape(self, features: int) -> tuple[int, ...]:
        """The whole batch."""
        return self.batch, features

    def emit(self, build: Builder, network: Network, x: Tensor, exponents: Mapping[str, int]) -> None:
        """Write the sections `prime` and `step`."""
        starts = network.start_weights()
        layers = [
            _Layer.declare(build, number, start, self.batch, exponents, last=number == len(starts))
            for number, start in enumerate(starts, start=1)
        ]
        for section in ("prime", "step"):
            below: _Layer | None = None
            for layer in layers:
                layer.forward(build, section, below.handed_on if below else x)
                if section == "step":
                    layer.learn(build, below.handed_on_before if below else x, self.rate / LN2 / self.batch)
                if below:
                    below.remember(build, section)
                below = layer
            layers[-1].remember(build, section)
        build.finish("step")


@dataclass(frozen=True)
class _Layer:
    """One layer's tensors.  [batch, neurons]: z, own and handed-on D, D before; W [neurons, inputs]; b [neurons]."""

    weights: Tensor
    bias: Tensor
    knowledge: Tensor
    own: Tensor
    before: Tensor
    handed_on: Tensor
    handed_on_before: Tensor

    @classmethod
    def declare(
        cls, build: Builder, layer: int, start: FloatArray, batch: int, exponents: Mapping[str, int], last: bool
    ) -> _Layer:
        shape, profile = (batch, len(start)), build.profile
        fmt = Format(profile.weight_bits, exponents[f"W{layer}"])
        weights = build.state(f"W{layer}", start, fmt, Kind.WEIGHT, layer)
        bias_format = Format(16, exponents[f"b{layer}"])
        bias = build.state(f"b{layer}", [0.0] * len(start), bias_format, Kind.BIAS, layer)
        before = build.state(f"before{layer}", np.zeros(shape), OWN_DECISION, Kind.DECISION, layer)
        knowledge = build.scratch(f"z{layer}", shape, KNOWLEDGE, Kind.KNOWLEDGE, layer)
        role = Role.OUTPUT if last else Role.SCRATCH
        own = build.tensor("decision" if last else f"own{layer}", shape, OWN_DECISION, role, Kind.DECISION, layer)
        if last or profile.decision == OWN_DECISION:
            return cls(weights, bias, knowledge, own, before, own, before)
        handed_on = build.scratch(f"D{layer}", shape, profile.decision, Kind.DECISION, layer)
        handed_on_before = build.scratch(f"D{layer}.before", shape, profile.decision, Kind.DECISION, layer)
        return cls(weights, bias, knowledge, own, before, handed_on, handed_on_before)

    def forward(self, build: Builder, section: str, x: Tensor) -> None:
        """Z = x W^T + b; D = sigmoid(z), in 15 bits and as it is handed on."""
        build.contract(section, self.knowledge, x, self.weights, "ni,oi->no", c=self.bias)
        build.sigmoid(section, self.own, self.knowledge)
        if self.handed_on is not self.own:
            build.scale(section, self.handed_on, self.own)
            if section == "step":
                build.scale(section, self.handed_on_before, self.before)

    def learn(self, build: Builder, x_before: Tensor, rate: float) -> None:
        """The entropy of this step, and the batch's mean gradient into weights and biases."""
        z, d = self.knowledge, self.own
        layer, shape = z.layer or 0, z.shape
        shift = build.scratch(f"dD{layer}", shape, OWN_DECISION, Kind.OTHER, layer)
        build.scale("step", shift, self.before, gain=-1, c=d)
        entropy = build.tensor(f"entropy{layer}", (), ENTROPY, Role.OUTPUT, Kind.ENTROPY, layer)
        build.contract("step", entropy, z, shift, "no,no->", gain=-1)
        if build.watched:
            moved = build.scratch(f"dz{layer}", shape, KNOWLEDGE, Kind.OTHER, layer)
            build.scale("step", moved, self.knowledge_before(build), gain=-1, c=z)
            Watch.before(build, "step", z, d).after_step(build, "step", moved, shift)
        slope = build.scratch(f"slope{layer}", shape, OWN_DECISION, Kind.OTHER, layer)
        build.scale("step", slope, d, d, gain=-1, c=d)
        pull = build.scratch(f"pull{layer}", shape, PULL, Kind.FACTOR, layer)
        build.scale("step", pull, z, slope, c=shift)
        build.learn_batch("step", self.weights, pull, x_before, "no,ni->oi", rate)
        build.learn_batch("step", self.bias, pull, None, "no,->o", rate, row=self.weights.shape[1])

    def remember(self, build: Builder, section: str) -> None:
        """D becomes the D before, once the layer above has read it; so does z where it is watched."""
        build.scale(section, self.before, self.own)
        if build.watched:
            build.scale(section, self.knowledge_before(build), self.knowledge)

    def knowledge_before(self, build: Builder) -> Tensor:
        """Z of the step before, which only a monitor needs."""
        z = self.knowledge
        return build.state(f"{z.name}.before", np.zeros(z.shape), KNOWLEDGE, Kind.KNOWLEDGE, z.layer or 0)
