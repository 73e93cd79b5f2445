"""Kinds of layers: who sees what.  How a kind learns is the rule's affair.

    128         dense: 128 neurons, each sees everything
    16x12f10    16 fields of 10 x 10 inputs, 12 neurons on each; side by side, overlapping, evenly over the grid
    16x12k10    the same, but the neurons of a field compete, and learn without labels
    8c5s2       convolution: 8 filters of 5 x 5 (times what comes in), every 2 inputs, weights shared by all places

Inputs lie on a square grid if their number is a square (64, 784), else on a line; a convolution's decisions lie on the
grid of its places, with one channel a filter.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from .errors import NetworkError
from .fixed import IntArray
from .operations import MAX_ELEMENTS

MAX_WIDTH = 1 << 16


@dataclass(frozen=True)
class Grid:
    """Where the inputs of a layer lie: rows x columns places, `channels` numbers at each.

    >>> Grid.of(784), Grid.of(140)
    (Grid(rows=28, columns=28, channels=1), Grid(rows=1, columns=140, channels=1))
    """

    rows: int
    columns: int
    channels: int = 1

    @classmethod
    def of(cls, features: int) -> Grid:
        """A square, or a line."""
        side = math.isqrt(features)
        return cls(side, side) if side * side == features and side > 1 else cls(1, features)

    @property
    def size(self) -> int:
        """Numbers in all."""
        return self.rows * self.columns * self.channels

    def patch_size(self, side: int) -> int:
        """Numbers in a patch: on a line it is one row high."""
        return min(side, self.rows) * side * self.channels

    def patches(self, side: int, tops: IntArray, lefts: IntArray) -> IntArray:
        """Flat indices of the patch at every pair of top and left, [pairs, inputs of a patch]."""
        height = min(side, self.rows)
        r, c, k = np.mgrid[0:height, 0:side, 0 : self.channels]
        within = ((r * self.columns + c) * self.channels + k).ravel()
        return np.asarray((tops * self.columns + lefts)[:, None] * self.channels + within[None, :], np.int64)


class Layer(ABC):
    """A kind of layer, above inputs on some grid."""

    @abstractmethod
    def shape(self, grid: Grid) -> tuple[int, ...]:
        """Shape of its decisions."""

    @abstractmethod
    def start_shape(self, grid: Grid) -> tuple[int, ...]:
        """Shape of its weights; the inputs of a neuron along the last axis."""

    @abstractmethod
    def index(self, grid: Grid) -> IntArray | None:
        """Flat indices of the inputs that it sees, a row a field or place; None for all of them."""

    @abstractmethod
    def check(self, grid: Grid) -> None:
        """Raise NetworkError where it does not fit its inputs."""

    @property
    def competes(self) -> bool:
        """Whether its neurons compete, and learn without labels."""
        return False

    def out_grid(self, grid: Grid) -> Grid:
        """Where its decisions lie."""
        return Grid.of(math.prod(self.shape(grid)))

    def fan_in(self, grid: Grid) -> int:
        """Inputs of a neuron."""
        return self.start_shape(grid)[-1]


@dataclass(frozen=True)
class Dense(Layer):
    """Every neuron sees every input."""

    width: int

    def __str__(self) -> str:
        return str(self.width)

    def shape(self, grid: Grid) -> tuple[int, ...]:
        """[neurons]."""
        return (self.width,)

    def start_shape(self, grid: Grid) -> tuple[int, ...]:
        """[neurons, inputs]."""
        return self.width, grid.size

    def index(self, grid: Grid) -> IntArray | None:
        """All of them."""
        return None

    def check(self, grid: Grid) -> None:
        """Raise NetworkError for no neurons, or too many."""
        _check_width(self, self.width)


@dataclass(frozen=True)
class Fields(Layer):
    """`fields` overlapping patches of side x side, `neurons` on each, all with weights of their own.

    Decisions and weights are [neurons, fields] and [neurons, fields, inputs of a patch].

    >>> Fields(16, 16, 10).fan_in(Grid.of(784))
    100
    """

    fields: int
    neurons: int
    side: int
    competing: bool = False

    @property
    def competes(self) -> bool:
        """Whether its neurons compete, and learn without labels."""
        return self.competing

    def __str__(self) -> str:
        return f"{self.fields}x{self.neurons}{'k' if self.competing else 'f'}{self.side}"

    def shape(self, grid: Grid) -> tuple[int, ...]:
        """[neurons, fields]."""
        return self.neurons, self.fields

    def start_shape(self, grid: Grid) -> tuple[int, ...]:
        """[neurons, fields, inputs of a patch]."""
        return self.neurons, self.fields, grid.patch_size(self.side)

    def check(self, grid: Grid) -> None:
        """Raise NetworkError where it does not fit its inputs."""
        _check_width(self, self.fields * self.neurons)
        if min(self.fields, self.neurons, self.side) < 1 or self.side > grid.columns:
            raise NetworkError(
                f"layer {self}: its inputs lie on a grid of {grid.rows} x {grid.columns}; allowed are patches of "
                f"1 to {grid.columns}, at least one field, and one neuron on each"
            )
        if self.competing and self.neurons < 2:
            raise NetworkError(f"layer {self}: one neuron cannot compete; at least 2 a field")

    def index(self, grid: Grid) -> IntArray | None:
        """[fields, inputs of a patch]; None where the one field is everything."""
        height = min(self.side, grid.rows)
        if self.fields == 1 and height == grid.rows and self.side == grid.columns:
            return None
        down = math.ceil(math.sqrt(self.fields)) if grid.rows > 1 else 1
        across = np.diff(np.arange(down + 1) * self.fields // down)  # rows of fields may differ by one
        tops = np.repeat(_spread(down, grid.rows - height), across)
        lefts = np.concatenate([_spread(count, grid.columns - self.side) for count in across])
        return grid.patches(self.side, tops, lefts)


@dataclass(frozen=True)
class Convolution(Layer):
    """Filters of side x side (all channels), every `stride` inputs; weights [filters, inputs of a patch].

    Decisions are [places, filters]: the channels lie innermost.

    >>> Convolution(8, 5, 2).shape(Grid.of(784))
    (144, 8)
    """

    filters: int
    side: int
    stride: int = 1

    def __str__(self) -> str:
        return f"{self.filters}c{self.side}s{self.stride}"

    def places(self, grid: Grid) -> tuple[int, int]:
        """Rows and columns of places."""
        height = min(self.side, grid.rows)
        return (grid.rows - height) // self.stride + 1, (grid.columns - self.side) // self.stride + 1

    def shape(self, grid: Grid) -> tuple[int, ...]:
        """[places, filters]."""
        return math.prod(self.places(grid)), self.filters

    def out_grid(self, grid: Grid) -> Grid:
        """One channel a filter."""
        return Grid(*self.places(grid), self.filters)

    def start_shape(self, grid: Grid) -> tuple[int, ...]:
        """[filters, inputs of a filter]."""
        return self.filters, grid.patch_size(self.side)

    def check(self, grid: Grid) -> None:
        """Raise NetworkError where it does not fit its inputs."""
        _check_width(self, self.filters)
        if min(self.side, self.stride) < 1 or self.side > grid.columns:
            raise NetworkError(
                f"layer {self}: its inputs lie on a grid of {grid.rows} x {grid.columns}; allowed are filters of "
                f"1 to {grid.columns}, and a stride of at least 1"
            )
        seen = math.prod(self.places(grid)) * grid.patch_size(self.side)
        if seen > MAX_ELEMENTS:
            raise NetworkError(f"layer {self}: its places see {seen} inputs in all; allowed are {MAX_ELEMENTS}")

    def index(self, grid: Grid) -> IntArray | None:
        """[places, inputs of a filter]."""
        down, across = self.places(grid)
        tops, lefts = np.divmod(np.arange(down * across), across)
        return grid.patches(self.side, tops * self.stride, lefts * self.stride)


def _check_width(layer: Layer, width: int) -> None:
    if not 1 <= width <= MAX_WIDTH:
        raise NetworkError(f"layer {layer}: {width} neurons; allowed are 1 to {MAX_WIDTH}")


_FORMS: dict[str, Callable[..., Layer]] = {
    r"(\d+)": Dense,
    r"(\d+)x(\d+)f(\d+)": Fields,
    r"(\d+)x(\d+)k(\d+)": partial(Fields, competing=True),
    r"(\d+)c(\d+)s(\d+)": Convolution,
}


def parse_layer(text: str) -> Layer:
    """A layer from its text.

    >>> parse_layer("16x12f10")
    Fields(fields=16, neurons=12, side=10, competing=False)
    """
    for form, kind in _FORMS.items():
        if (found := re.fullmatch(form, text, re.ASCII)) and len(text) < 40:
            return kind(*map(int, found.groups()))
    raise NetworkError(f"layer {text!r}: wanted a width (128), fields (16x12f10, 16x12k10) or filters (8c5s2)")


def _spread(count: int, room: int) -> IntArray:
    """So many starts, evenly from 0 to the last that has room."""
    return np.asarray(np.round(np.linspace(0, room, count)), np.int64) if count > 1 else np.array([room // 2])
