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
    half = build.half
    positive = build.scratch(f"{own.name}.positive", own.shape, own.format, Kind.OTHER, own.layer or 0)
    build.select(section, positive, own, "lt", half, half, own)
    build.scale(section, out, half, gain=-1, c=positive)


@dataclass(frozen=True)
class View:
    """What a layer sees of the decisions below: rows that an index picks, one a field or place; or everything."""

    layer: Layer
    index: Tensor | None

    @classmethod
    def declare(cls, build: Builder, number: int, layer: Layer, grid: Grid, x: Tensor) -> View:
        """The view of layer `number` on x."""
        found = layer.index(grid)
        if found is None and len(x.shape) > 1 and not isinstance(layer, Dense):
            found = np.arange(grid.size)[None, :]  # one field of everything: only its one row is in the way
        return cls(layer, None if found is None else build.indices(f"index{number}", found, grid.size, number))

    def see(self, build: Builder, section: str, x: Tensor) -> Tensor:
        """What is seen of x: [fields or places, inputs of a patch], or x itself."""
        if self.index is None:
            return x
        number = self.index.layer or 0
        seen = build.scratch(f"seen{number}", self.index.shape, x.format, x.kind, number)
        return build.gather(section, seen, x, self.index)

    def axes(self, seen: Tensor) -> str:
        """Of weights times what is seen."""
        if isinstance(self.layer, Convolution):
            return "fi,pi->pf"
        if isinstance(self.layer, Dense):
            letters = "abc"[: len(seen.shape)]
            return f"n{letters},{letters}->n"
        return "ngi,gi->ng" if self.index else "ngi,i->ng"

    def weights_shape(self, start: FloatArray, x: Tensor) -> tuple[int, ...]:
        """Shape of the weights: a dense layer's rows have the axes of x."""
        return (start.shape[0], *x.shape) if isinstance(self.layer, Dense) else start.shape


@dataclass(frozen=True)
class Stage:
    """Weights W, biases b and knowledge z of one layer."""

    view: View
    weights: Tensor
    bias: Tensor
    knowledge: Tensor

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
        view = View.declare(build, number, layer, grid, x)
        neurons = layer.shape(grid)
        bias_shape = neurons[-1:] if isinstance(layer, Convolution) else neurons
        fmt = Format(4 if fixed else build.profile.weight_bits, exponent)
        declare = build.constant if fixed else build.state
        weights = declare(f"{prefix}W{number}", start.reshape(view.weights_shape(start, x)), fmt, kind, number)
        bias_format = Format(16, exponent if fixed else max(BIAS_EXPONENT, exponent + x.format.exponent))
        zeros = np.zeros(bias_shape)
        bias = declare(f"{prefix}b{number}", zeros, bias_format, Kind.BIAS, number)
        z = build.scratch(f"{prefix}z{number}", neurons, KNOWLEDGE, Kind.KNOWLEDGE, number)
        return cls(view, weights, bias, z)

    @property
    def number(self) -> int:
        """The layer, counted from 1."""
        return self.weights.layer or 0

    @property
    def shared(self) -> bool:
        """Whether all places share the weights."""
        return isinstance(self.view.layer, Convolution)

    def forward(self, build: Builder, section: str, seen: Tensor) -> Tensor:
        """Z = W x + b."""
        return build.contract(section, self.knowledge, self.weights, seen, self.view.axes(seen), c=self.bias)

    def learn(self, build: Builder, section: str, factor: Tensor, seen: Tensor) -> None:
        """W += factor x^T and b += factor; where weights are shared, the sum over all places."""
        if self.shared:
            build.learn_batch(section, self.weights, factor, seen, "pf,pi->fi", 1.0)
            build.learn_batch(section, self.bias, factor, None, "pf,->f", 1.0, row=self.weights.shape[-1])
        else:
            build.learn_dense(section, self.weights, self.bias, factor, seen)

    def factor(self, build: Builder, seen: Tensor, coarsest: int) -> Tensor:
        """The third factor s, fine enough for the update unless its range needs the exponent `coarsest`."""
        fmt = Format(FACTOR_BITS, coarsest) if self.shared else build.factor_format(self.weights, seen, coarsest)
        return build.scratch(f"s{self.number}", self.knowledge.shape, fmt, Kind.FACTOR, self.number)

    def rate(self, build: Builder, section: str, seen: Tensor, rate: float) -> Tensor:
        """The normalised rate: by the mean square norm of the fields, or by that of all places together."""
        rows = self.view.index.shape[0] if self.view.index else 1
        return build.normalised_rate(
            section, f"x{self.number}", seen, rate, self.number, rows=rows, mean=not self.shared
        )
