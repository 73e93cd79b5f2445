"""Layers whose neurons compete: the one that matches best moves towards its input.  No label is needed.

    match_j = (w_j . x - |w_j|^2 / 2) / 2^h        higher where w_j is nearer to x
    z_j = match_j - mean of the field's matches    knowledge, relative to the field
    winner: w += rate (x - w);  judged by match + conscience, which sinks with every win and rises without

Within a field the decisions are those of a mixture whose H(D|x) falls as prototypes move onto what they win, and whose
H(D), the entropy of who wins, the conscience keeps high (DeSieno 1988): it is the homeostasis of `homeostatic`, for a
group.  h scales squared distances of a field to the range of z.  Moving towards a sample is stable in narrow weights:
rounding noise does not add up, as every step forgets `rate` of it.

Bound: |w_i|, |x_i| <= u, so |w - x| <= 2u, and a weight never leaves the range of its inputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..builder import KNOWLEDGE, Builder
from ..fixed import FloatArray, Format
from ..layers import Fields, Grid
from ..operations import Kind, Site, Tensor
from .stage import OWN_DECISION, hand_on, rectified

MATCH = Format(16, -11)  # -16 .. 16
CLOSE = 0.06
"""Share of the largest squared norm that a typical squared distance within a field is."""
_RATE_BITS = 16
_CONSCIENCE_SHIFT = 8


@dataclass(frozen=True)
class Matching:
    """Prototypes W [neurons, fields, inputs] above x, their biases -|w|^2 / 2^(h+1), and how well each matches."""

    weights: Tensor
    bias: Tensor
    match: Tensor
    index: Tensor | None
    halvings: int
    unit: float

    @classmethod
    def declare(
        cls, build: Builder, number: int, start: FloatArray, x: Tensor, index: Tensor | None = None, prefix: str = ""
    ) -> Matching:
        """`start` in units of the inputs' largest value; its last axes are those of what is seen."""
        unit = 2.0 ** math.ceil(math.log2(x.format.hi * x.format.lsb))
        fan_in = start.shape[-1] if index is not None else x.size
        halvings = max(0, round(math.log2(fan_in * unit**2 * CLOSE)))
        bits = build.profile.weight_bits
        fmt = Format(bits, round(math.log2(unit)) - (bits - 1))
        kind = Kind.HEAD if prefix else Kind.WEIGHT
        weights = build.state(f"{prefix}W{number}", start * unit, fmt, kind, number)
        neurons = start.shape[: len(start.shape) - (1 if index is not None else len(x.shape))]
        squares = (start * unit).reshape(*neurons, -1)
        product = fmt.exponent + x.format.exponent - halvings
        norms = (squares**2).sum(-1) / 2 ** (halvings + 1)
        bias_format = Format(16, max(MATCH.exponent, product))  # no finer than what it is added to
        bias = build.state(f"{prefix}b{number}", -norms, bias_format, Kind.BIAS, number)
        match = build.scratch(f"{prefix}match{number}", neurons, MATCH, Kind.OTHER, number)
        return cls(weights, bias, match, index, halvings, unit)

    def see(self, build: Builder, section: str, x: Tensor) -> Tensor:
        """What the fields see of x."""
        if self.index is None:
            return x
        number = self.weights.layer or 0
        seen = build.scratch(f"seen{number}", self.index.shape, x.format, x.kind, number)
        return build.gather(section, seen, x, self.index)

    def forward(self, build: Builder, section: str, seen: Tensor) -> None:
        """The matches."""
        letters = "abc"[: len(seen.shape)]
        neurons = "no"[: len(self.match.shape)]
        axes = "ngi,gi->ng" if self.index is not None else f"{neurons}{letters},{letters}->{neurons}"
        build.contract(section, self.match, self.weights, seen, axes, c=self.bias, halvings=self.halvings)

    def know(self, build: Builder, section: str, z: Tensor) -> Tensor:
        """Knowledge: the match less the mean match of the field (of all, on one axis)."""
        number, count = z.layer or 0, self.match.shape[0]
        share = build.constant(f"share{count}", 1.0 / count, Format(16, -15), Kind.OTHER)
        fields = self.match.shape[1:]
        mean = build.scratch(f"{z.name}.mean", fields, MATCH, Kind.OTHER, number)
        letters = "g" * len(fields)
        build.contract(section, mean, self.match, share, f"n{letters},->{letters}", site=Site.SOMA)
        return build.scale(section, z, mean, gain=-1, c=self.match)

    def move(self, build: Builder, factor: Tensor, seen: Tensor) -> None:
        """Neurons with a factor move towards what they see, and all biases follow the weights."""
        build.learn_towards("learn", self.weights, factor, seen)
        neurons, inputs = "no"[: len(self.match.shape)], "abc"[: len(self.weights.shape) - len(self.match.shape)]
        every = neurons + inputs
        build.contract(
            "learn",
            self.bias,
            self.weights,
            self.weights,
            f"{every},{every}->{neurons}",
            gain=-1,
            halvings=self.halvings + 1,
        )

    def factor(self, build: Builder, seen: Tensor) -> Format:
        """Format of the winner's factor: the finest that makes the update's shift 16, and holds rates up to 1/2."""
        finest = self.weights.format.exponent - min(self.weights.format.exponent, seen.format.exponent)
        return Format(_RATE_BITS, max(finest - 16, -_RATE_BITS))


@dataclass(frozen=True)
class Competition:
    """How the neurons of a field compete: the winner's rate, and by how much a win lowers its chances (a match's)."""

    rate: float
    conscience: float

    def layer(
        self, build: Builder, number: int, layer: Fields, grid: Grid, start: FloatArray, below: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Write a layer; `below` and the result: what is read, and handed on, in `infer` and in `learn`."""
        made = self.declare(build, number, layer, grid, start, below[0])
        shape = layer.shape(grid)
        z = build.scratch(f"z{number}", shape, KNOWLEDGE, Kind.KNOWLEDGE, number)
        own = build.scratch(f"D{number}", shape, OWN_DECISION, Kind.OTHER, number)
        signal = build.scratch(f"C{number}", shape, rectified(build), Kind.DECISION, number)
        for section, x in zip(("infer", "learn"), below, strict=True):
            seen = made.see(build, section, x)
            made.forward(build, section, seen)
            hand_on(build, section, signal, build.sigmoid(section, own, made.know(build, section, z)))
        made.move(build, self.winners(build, number, made, layer, seen), seen)
        return signal, signal

    def declare(self, build: Builder, number: int, layer: Fields, grid: Grid, start: FloatArray, x: Tensor) -> Matching:
        """The prototypes of a layer above x."""
        found = layer.index(grid)
        index = None
        if found is not None:
            fmt = Format(max(grid.size - 1, 3).bit_length(), 0, signed=False)
            index = build.constant(f"index{number}", found, fmt, Kind.OTHER, number)
        return Matching.declare(build, number, start, x, index)

    def winners(self, build: Builder, number: int, made: Matching, layer: Fields, seen: Tensor) -> Tensor:
        """The rate where a neuron wins its field, else 0; and the conscience follows."""
        shape, judged = made.match.shape, made.match
        conscience = None
        if self.conscience:
            conscience = build.state(f"conscience{number}", np.zeros(shape), MATCH, Kind.MEAN, number)
            judged = build.scratch(f"judged{number}", shape, MATCH, Kind.OTHER, number)
            build.scale("learn", judged, made.match, c=conscience)
        best = build.scratch(f"best{number}", shape[1:], MATCH, Kind.OTHER, number)
        n, g = np.mgrid[0 : layer.neurons, 0 : layer.fields]
        windows = (n * layer.fields + g).T
        fmt = Format(max(windows.size - 1, 3).bit_length(), 0, signed=False)
        rivals = build.constant(f"rivals{number}", windows, fmt, Kind.OTHER, number)
        build.pool("learn", best, judged, rivals)
        factor = build.scratch(f"s{number}", shape, made.factor(build, seen), Kind.FACTOR, number)
        rate = build.constant(f"rate{number}", self.rate, factor.format, Kind.RATE, number)
        nothing = build.constant("zero", 0.0, Format(2, 0), Kind.OTHER)
        build.select("learn", factor, judged, "eq", best, rate, nothing)
        if conscience is not None:
            fine = Format(16, MATCH.exponent - _CONSCIENCE_SHIFT)
            share = 1.0 / layer.neurons
            won = build.constant(f"won{number}", self.conscience * (share - 1.0), fine, Kind.OTHER, number)
            lost = build.constant(f"lost{number}", self.conscience * share, fine, Kind.OTHER, number)
            feels = build.scratch(f"feels{number}", shape, fine, Kind.OTHER, number)
            build.select("learn", feels, judged, "eq", best, won, lost)
            build.follow("learn", conscience, feels, _CONSCIENCE_SHIFT)
        return factor
