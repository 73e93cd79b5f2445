"""Layers whose neurons compete: the one that matches best moves towards its input.  No label is needed.

    match_j = (w_j . x - |w_j|^2 / 2) / 2^h        higher where w_j is nearer to x
    z_j = match_j - mean of the field's matches    knowledge, relative to the field
    winner: w += rate (x - w);  judged by match + conscience, which sinks with every win and rises without

Within a field the decisions are those of a mixture whose H(D|x) falls as prototypes move onto what they win, and whose
H(D), the entropy of who wins, the conscience keeps high (DeSieno 1988): it is the homeostasis of `homeostatic`, for a
group.  h scales squared distances of a field to the range of z; below 0 where few or small inputs come in.  Moving
towards a sample is stable in narrow weights: rounding noise does not add up, as every step forgets `rate` of it.

Bound: |w_i|, |x_i| <= u, so |w - x| <= 2u, and a weight never leaves the range of its inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..builder import KNOWLEDGE, Builder
from ..errors import NetworkError
from ..fixed import FloatArray, Format
from ..layers import Grid, Layer
from ..operations import Kind, Site, Tensor
from .stage import OWN_DECISION, View, hand_on, rectified

MATCH = Format(16, -11)  # -16 .. 16
CLOSE = 0.06
"""Share of the largest squared norm that a typical squared distance within a field is."""
MAX_RATE = 0.5
MAX_CONSCIENCE = 0.05
_RATE_BITS = 16
_CONSCIENCE_SHIFT = 8


@dataclass(frozen=True)
class Matching:
    """Prototypes W above x, a layer's or the classes', their biases -|w|^2 / 2^(h+1), and how well each matches."""

    view: View
    weights: Tensor
    bias: Tensor
    match: Tensor
    halvings: int

    @classmethod
    def declare(
        cls, build: Builder, number: int, layer: Layer, grid: Grid, x: Tensor, start: FloatArray, *, prefix: str = ""
    ) -> Matching:
        """`start` [neurons .., inputs] in units of the inputs' largest value."""
        view = View.declare(build, number, layer, grid, x)
        unit = 2.0 ** math.ceil(math.log2(x.format.hi * x.format.lsb))
        halvings = round(math.log2(start.shape[-1] * unit**2 * CLOSE))
        bits = build.profile.weight_bits
        fmt = Format(bits, round(math.log2(unit)) - (bits - 1))
        kind = Kind.HEAD if prefix else Kind.WEIGHT
        values = start.reshape(view.weights_shape(start, x)) * unit
        weights = build.state(f"{prefix}W{number}", values, fmt, kind, number)
        product = fmt.exponent + x.format.exponent - halvings
        norms = ((start * unit) ** 2).sum(-1) / 2 ** (halvings + 1)
        bias_format = Format(16, max(MATCH.exponent, product))  # no finer than what it is added to
        bias = build.state(f"{prefix}b{number}", -norms, bias_format, Kind.BIAS, number)
        match = build.scratch(f"{prefix}match{number}", norms.shape, MATCH, Kind.OTHER, number)
        return cls(view, weights, bias, match, halvings)

    def forward(self, build: Builder, section: str, seen: Tensor) -> None:
        """The matches."""
        axes = self.view.axes(seen)
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
        neurons = "no"[: len(self.match.shape)]
        every = neurons + "abc"[: len(self.weights.shape) - len(neurons)]
        axes, halvings = f"{every},{every}->{neurons}", self.halvings + 1
        build.contract("learn", self.bias, self.weights, self.weights, axes, gain=-1, halvings=halvings)

    def factor(self, seen: Tensor) -> Format:
        """Format of the winner's factor: the finest that makes the update's shift 16, and holds rates up to 1/2."""
        finest = self.weights.format.exponent - min(self.weights.format.exponent, seen.format.exponent)
        return Format(_RATE_BITS, max(finest - 16, -_RATE_BITS))


def _as_it_is(value: Tensor) -> Tensor:
    return value


@dataclass(frozen=True)
class Competition:
    """How the neurons of a field compete: the winner's rate, and by how much a win lowers its chances (a match's)."""

    rate: float
    conscience: float

    def check(self, rule: str) -> None:
        """Raise NetworkError for absurd parameters."""
        if not 0 < self.rate < MAX_RATE:
            raise NetworkError(f"rule {rule}: rate of competition {self.rate}; allowed is more than 0, less than 0.5")
        if not 0 <= self.conscience <= MAX_CONSCIENCE:
            raise NetworkError(f"rule {rule}: conscience {self.conscience}; allowed are 0 to {MAX_CONSCIENCE}")

    def layer(
        self, build: Builder, number: int, layer: Layer, grid: Grid, start: FloatArray, below: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Write a layer; `below` and the result: what is read, and handed on, in `infer` and in `learn`."""
        made = Matching.declare(build, number, layer, grid, below[0], start)
        shape = made.match.shape
        z = build.scratch(f"z{number}", shape, KNOWLEDGE, Kind.KNOWLEDGE, number)
        own = build.scratch(f"D{number}", shape, OWN_DECISION, Kind.OTHER, number)
        signal = build.scratch(f"C{number}", shape, rectified(build), Kind.DECISION, number)
        for section, x in zip(("infer", "learn"), below, strict=True):
            seen = made.view.see(build, section, x)
            made.forward(build, section, seen)
            hand_on(build, section, signal, build.sigmoid(section, own, made.know(build, section, z)))
        made.move(build, self.winners(build, made, seen), seen)
        return signal, signal

    def winners(
        self, build: Builder, made: Matching, seen: Tensor, allowed: Callable[[Tensor], Tensor] = _as_it_is
    ) -> Tensor:
        """The rate where a neuron wins its field, else 0; and the conscience follows.

        `allowed` gives what becomes of the constants that move anything.
        """
        number, shape, judged = made.match.layer or 0, made.match.shape, made.match
        conscience = None
        if self.conscience:
            conscience = build.state(f"conscience{number}", np.zeros(shape), MATCH, Kind.MEAN, number)
            judged = build.scratch(f"judged{number}", shape, MATCH, Kind.OTHER, number)
            build.scale("learn", judged, made.match, c=conscience)
        best = build.scratch(f"best{number}", shape[1:], MATCH, Kind.OTHER, number)
        rivals = np.arange(judged.size).reshape(shape).T
        build.pool("learn", best, judged, build.indices(f"rivals{number}", rivals, judged.size, number))

        factor_format = made.factor(seen)
        rate = allowed(build.constant(f"rate{number}", self.rate, factor_format, Kind.RATE, number))
        factor = build.scratch(f"s{number}", shape, factor_format, Kind.FACTOR, number)
        build.select("learn", factor, judged, "eq", best, rate, build.zero)
        if conscience is not None:
            fine = Format(16, MATCH.exponent - _CONSCIENCE_SHIFT)
            share = 1.0 / shape[0]
            won = build.constant(f"won{number}", self.conscience * (share - 1.0), fine, Kind.OTHER, number)
            lost = build.constant(f"lost{number}", self.conscience * share, fine, Kind.OTHER, number)
            feels = build.scratch(f"feels{number}", shape, fine, Kind.OTHER, number)
            build.select("learn", feels, judged, "eq", best, allowed(won), allowed(lost))
            build.follow("learn", conscience, feels, _CONSCIENCE_SHIFT)
        return factor
