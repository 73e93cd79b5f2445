"""What a rule is: parameters, a check, and how it writes itself into a Program."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..builder import BIAS_EXPONENT, FACTOR_BITS, KNOWLEDGE, Builder
from ..errors import NetworkError
from ..fixed import FloatArray, Format
from ..operations import Kind, Role, Tensor

MAX_FORWARD_STEPS = 1024
MAX_RATE = 5.0


@dataclass(frozen=True)
class Rule(ABC):
    """A local, forward-only learning rule.

    `rate`: rho = eta * (1 + |x|^2), the share by which one forward step moves a neuron's knowledge, the same for every
    sample (a normalised rate).  `forward_steps`: K, forward passes of one sample through a layer; K - 1 updates.
    """

    name: ClassVar[str]
    schedule: ClassVar[str] = "layerwise"
    """`layerwise`: one sample, layer by layer; `paper`: one batch, all layers in every step."""
    centred_inputs: ClassVar[bool] = False
    """Whether samples learn better with each feature's mean subtracted."""
    rate: float
    forward_steps: int

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise NetworkError for absurd parameters."""
        if not (math.isfinite(self.rate) and 0 < self.rate < MAX_RATE):
            raise NetworkError(f"rule {self.name}: rate {self.rate}; allowed is more than 0 and less than {MAX_RATE:g}")
        if not 2 <= self.forward_steps <= MAX_FORWARD_STEPS:
            raise NetworkError(
                f"rule {self.name}: {self.forward_steps} forward steps; allowed are 2 to {MAX_FORWARD_STEPS} "
                "(the first only fills D)"
            )

    @abstractmethod
    def start_std(self, fan_in: int) -> float:
        """Standard deviation of the start weights."""

    def input_shape(self, features: int) -> tuple[int, ...]:
        """Shape of the Program's input: one sample."""
        return (features,)

    @abstractmethod
    def learnt_matrices(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        """Names of the learnt matrices of a network of these widths.

        Calibration gives `emit` an exponent for each and one for its factor: "W1" and "s1", "H1" and "hs1".
        """

    @abstractmethod
    def emit(self, build: Builder, starts: Sequence[FloatArray], x: Tensor, exponents: Mapping[str, int]) -> None:
        """Write the sections `infer` and `learn`, ending in outputs `decision` and `choice`.

        `starts`: start weights, one [outputs, inputs] matrix per pair of widths.
        """


@dataclass(frozen=True)
class DenseLayer:
    """The tensors of one dense layer: W [neurons, inputs], b, z, D and the factor s."""

    weights: Tensor
    bias: Tensor
    knowledge: Tensor
    decision: Tensor

    @property
    def learnt(self) -> bool:
        """Whether the weights are state, not codes."""
        return self.weights.role is Role.STATE

    @classmethod
    def declare(
        cls,
        build: Builder,
        layer: int,
        x: Tensor,
        start: FloatArray,
        exponent: int,
        *,
        prefix: str = "",
        kind: Kind = Kind.WEIGHT,
        decision: Tensor | None = None,
    ) -> DenseLayer:
        """Declare a layer above x; `prefix` tells a head from the layer it belongs to."""
        width = start.shape[0]
        fmt = Format(build.profile.weight_bits, exponent)
        weights = build.state(f"{prefix}W{layer}", start, fmt, kind, layer)
        bias_format = Format(16, max(BIAS_EXPONENT, exponent + x.format.exponent))
        bias = build.state(f"{prefix}b{layer}", [0.0] * width, bias_format, Kind.BIAS, layer)
        z = build.scratch(f"{prefix}z{layer}", (width,), KNOWLEDGE, Kind.KNOWLEDGE, layer)
        if decision is None:
            decision = build.scratch(f"{prefix}D{layer}", (width,), build.profile.decision, Kind.DECISION, layer)
        return cls(weights, bias, z, decision)

    @classmethod
    def fixed(cls, build: Builder, layer: int, x: Tensor, codes: FloatArray, *, prefix: str) -> DenseLayer:
        """A layer of constants: codes."""
        weights = build.constant(f"{prefix}W{layer}", codes, Format(4, -2), Kind.HEAD, layer)
        bias = build.constant(
            f"{prefix}b{layer}", [0.0] * len(codes), Format(16, weights.format.exponent), Kind.BIAS, layer
        )
        z = build.scratch(f"{prefix}z{layer}", (codes.shape[0],), KNOWLEDGE, Kind.KNOWLEDGE, layer)
        decision = build.scratch(f"{prefix}D{layer}", z.shape, build.profile.decision, Kind.DECISION, layer)
        return cls(weights, bias, z, decision)

    def forward(self, build: Builder, section: str, x: Tensor) -> None:
        """Z = W x + b; D = sigmoid(z)."""
        build.contract(section, self.knowledge, self.weights, x, "oi,i->o", c=self.bias)
        build.sigmoid(section, self.decision, self.knowledge)


def check_names(found: Sequence[str], allowed: Sequence[str], what: str) -> None:
    """Raise NetworkError where a name is not among those allowed."""
    for name in found:
        if name not in allowed:
            raise NetworkError(f"{what} {name!r}: allowed are {', '.join(allowed)}")


__all__ = ["FACTOR_BITS", "DenseLayer", "Rule", "check_names"]
