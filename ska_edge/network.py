"""The float declaration: layers, a rule, a seed.  `lower` turns it into a Program."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

from .errors import NetworkError
from .fixed import FloatArray
from .layers import Dense, Grid, Layer, parse_layer
from .operations import MAX_ELEMENTS
from .rules import Rule, rule_named
from .start import NormalStream

MAX_LAYERS = 64


@dataclass(frozen=True)
class Network:
    """Inputs, hidden layers, classes (or last decisions), and the rule that teaches them.

    `shape`: the number of inputs, then a width or a `Layer` each.

    >>> Network((64, 16, 10)).weight_count
    1184
    >>> Network(parse_shape("784-16x16f10-64-10")).widths
    (784, 256, 64, 10)
    """

    shape: tuple[int | Layer, ...]
    rule: Rule = field(default_factory=lambda: rule_named("guided"))
    seed: int = 0

    def __post_init__(self) -> None:
        named = "-".join(map(str, self.shape))
        features = self.shape[0] if self.shape else 0
        if not 2 <= len(self.shape) <= MAX_LAYERS + 1 or not isinstance(features, int) or not 1 <= features <= 1 << 16:
            raise NetworkError(f"shape {named}: 1 to 65536 inputs, and 1 to {MAX_LAYERS} layers")
        if not 0 <= self.seed < 1 << 32:
            raise NetworkError(f"seed {self.seed}: allowed are 0 to 2^32 - 1")
        for layer, grid in zip(self.layers, self.grids, strict=True):
            layer.check(grid)
        if self.weight_count > MAX_ELEMENTS:
            raise NetworkError(f"shape {named}: {self.weight_count} weights; allowed are {MAX_ELEMENTS}")
        self.rule.check(self)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer above the inputs."""
        return tuple(Dense(each) if isinstance(each, int) else each for each in self.shape[1:])

    @cached_property
    def grids(self) -> tuple[Grid, ...]:
        """Where the inputs of each layer lie."""
        features = self.shape[0]
        grids = [Grid.of(features if isinstance(features, int) else 1)]
        for layer in self.layers[:-1]:
            layer.check(grids[-1])
            grids.append(layer.out_grid(grids[-1]))
        return tuple(grids)

    @property
    def widths(self) -> tuple[int, ...]:
        """Inputs, and decisions of every layer."""
        decisions = (layer.shape(grid) for layer, grid in zip(self.layers, self.grids, strict=True))
        return (self.grids[0].size, *(math.prod(shape) for shape in decisions))

    @property
    def weight_count(self) -> int:
        """Weights of all layers."""
        return sum(math.prod(layer.start_shape(grid)) for layer, grid in zip(self.layers, self.grids, strict=True))

    def start_weights(self) -> list[FloatArray]:
        """One array a layer, drawn in the papers' order ([inputs, neurons], one stream)."""
        stream, starts = NormalStream(self.seed), []
        for number, (layer, grid) in enumerate(zip(self.layers, self.grids, strict=True), start=1):
            shape = layer.start_shape(grid)
            drawn = stream.take((shape[-1], math.prod(shape[:-1]))).T
            starts.append(drawn.reshape(shape) * self.rule.start_std(shape[-1], number))
        return starts

    def __str__(self) -> str:
        return "-".join(map(str, self.shape))


def parse_widths(text: str) -> tuple[int, ...]:
    """A shape of dense layers only.

    >>> parse_widths("64-16-10")
    (64, 16, 10)
    """
    shape = parse_shape(text)
    widths = tuple(each for each in shape if isinstance(each, int))
    if len(widths) < len(shape):
        raise NetworkError(f"shape {text}: dense layers only, here")
    return widths


def parse_shape(text: str) -> tuple[int | Layer, ...]:
    """'64-16-10' to (64, 16, 10); other layers as in `layers`.

    >>> parse_shape("64-16-10")
    (64, 16, 10)
    """
    first, *rest = text.split("-")
    if not rest or not (first.isascii() and first.isdigit() and len(first) < 9):
        raise NetworkError(f"shape {text!r}: wanted inputs and layers joined by '-', as in 64-16-10")
    layers = [parse_layer(each) for each in rest]
    return (int(first), *(each.width if isinstance(each, Dense) else each for each in layers))
