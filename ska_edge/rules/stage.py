"""A layer's tensors in a Program, and its two halves: forward, and the learning of its synapses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..builder import BIAS_EXPONENT, FACTOR_BITS, KNOWLEDGE, Builder
from ..fixed import FloatArray, Format
from ..layers import Convolution, Dense, Grid, Layer
from ..operations import Kind, Tensor

OWN_DECISION = Format(16, -15)
"""A layer keeps its own decisions in 15 bits, whatever it hands on."""


def rectified(build: Builder) -> Format:
    """Format of a rectified decision, max(D - 1/2, 0): all the profile's bits for 0 .. 1/2."""
    bits = build.profile.decision.bits
    return Format(bits, -1 - bits, signed=False) if bits <= 8 else Format(bits, -bits)


def hand_on(build: Builder, section: str, out: Tensor, own: Tensor) -> None:
    """Out = max(D - 1/2, 0): a layer hands on only what it decides for."""
    half = build.constant("half", 0.5, OWN_DECISION, Kind.OTHER)
    positive = build.scratch(f"{own.name}.positive", own.shape, own.format, Kind.OTHER, own.layer or 0)
    build.select(section, positive, own, "lt", half, half, own)
    build.scale(section, out, half, gain=-1, c=positive)


@dataclass(frozen=True)
class Stage:
    """Weights W, biases b and knowledge z of one layer; `index` says what it sees of the decisions below."""

    layer: Layer
    weights: Tensor
    bias: Tensor
    knowledge: Tensor
    index: Tensor | None
    prefix: str = ""

    @classmethod
    def declare(
        cls,
        build: Builder,
        number: int,
        layer: Layer,
        grid: Grid,
        x: Tensor,
        start: FloatArray,
        exponent: int,
        *,
        prefix: str = "",
        kind: Kind = Kind.WEIGHT,
        fixed: bool = False,
    ) -> Stage:
        """Declare a layer above x.  `prefix` tells a head from the layer it belongs to; `fixed` weights are codes."""
        seen = layer.index(grid)
        index = None
        if seen is not None:
            fmt = Format(max(grid.size - 1, 3).bit_length(), 0, signed=False)
            index = build.constant(f"{prefix}index{number}", seen, fmt, Kind.OTHER, number)
        shape = (start.shape[0], *x.shape) if isinstance(layer, Dense) else start.shape
        neurons = layer.shape(grid)
        bias_shape = neurons[-1:] if isinstance(layer, Convolution) else neurons
        fmt = Format(4 if fixed else build.profile.weight_bits, exponent)
        declare = build.constant if fixed else build.state
        weights = declare(f"{prefix}W{number}", start.reshape(shape), fmt, kind, number)
        bias_format = Format(16, exponent if fixed else max(BIAS_EXPONENT, exponent + x.format.exponent))
        zeros = np.zeros(bias_shape)
        bias = declare(f"{prefix}b{number}", zeros, bias_format, Kind.BIAS, number)
        z = build.scratch(f"{prefix}z{number}", neurons, KNOWLEDGE, Kind.KNOWLEDGE, number)
        return cls(layer, weights, bias, z, index, prefix)

    @property
    def number(self) -> int:
        """The layer, counted from 1."""
        return self.weights.layer or 0

    def see(self, build: Builder, section: str, x: Tensor) -> Tensor:
        """What the layer sees of x: [fields or places, inputs of a patch], or x itself."""
        if self.index is None:
            return x
        # under a name of its own where a section sees more than one x
        seen = build.scratch(f"{self.prefix}seen{self.number}", self.index.shape, x.format, x.kind, self.number)
        return build.gather(section, seen, x, self.index)

    def forward(self, build: Builder, section: str, seen: Tensor) -> Tensor:
        """Z = W x + b."""
        return build.contract(section, self.knowledge, self.weights, seen, self._axes(seen), c=self.bias)

    def learn(self, build: Builder, section: str, factor: Tensor, seen: Tensor) -> None:
        """W += factor x^T and b += factor; where weights are shared, the sum over all places."""
        if isinstance(self.layer, Convolution):
            build.learn_batch(section, self.weights, factor, seen, "pf,pi->fi", 1.0)
            build.learn_batch(section, self.bias, factor, None, "pf,->f", 1.0, row=self.weights.shape[-1])
        else:
            build.learn_dense(section, self.weights, self.bias, factor, seen)

    def factor(self, build: Builder, seen: Tensor, coarsest: int) -> Tensor:
        """The third factor s, fine enough for the update unless its range needs the exponent `coarsest`."""
        if isinstance(self.layer, Convolution):
            fmt = Format(FACTOR_BITS, coarsest)
        else:
            fmt = build.factor_format(self.weights, seen, coarsest)
        return build.scratch(f"s{self.number}", self.knowledge.shape, fmt, Kind.FACTOR, self.number)

    def rate(self, build: Builder, section: str, seen: Tensor, rate: float) -> Tensor:
        """The normalised rate: by the mean square norm of the fields, or by that of all places together."""
        rows = 1 if self.index is None else self.index.shape[0]
        mean = not isinstance(self.layer, Convolution)
        return build.normalised_rate(section, f"x{self.number}", seen, rate, self.number, rows=rows, mean=mean)

    def _axes(self, seen: Tensor) -> str:
        if isinstance(self.layer, Convolution):
            return "fi,pi->pf"
        letters = "abc"[: len(seen.shape)]
        inputs = len(seen.shape) if isinstance(self.layer, Dense) else 1
        neurons = "nm"[: len(self.weights.shape) - inputs]
        if isinstance(self.layer, Dense):
            return f"{neurons}{letters},{letters}->{neurons}"
        return "ngi,gi->ng" if len(seen.shape) == 2 else "ngi,i->ng"
