"""The float declaration: a shape, a rule, a seed.  `lower` turns it into a Program."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .errors import NetworkError
from .fixed import FloatArray
from .rules import Rule, rule_named
from .start import NormalStream

MAX_LAYERS = 64


@dataclass(frozen=True)
class Network:
    """A dense network: inputs, hidden layers, classes (or last decisions), and the rule that teaches it.

    >>> Network((64, 16, 10)).weight_count
    1184
    """

    shape: tuple[int, ...]
    rule: Rule = field(default_factory=lambda: rule_named("guided"))
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= len(self.shape) <= MAX_LAYERS + 1 or any(not 1 <= width <= 1 << 16 for width in self.shape):
            raise NetworkError(f"shape {self.shape}: 2 to {MAX_LAYERS + 1} widths, each of 1 to 65536")
        if not 0 <= self.seed < 1 << 32:
            raise NetworkError(f"seed {self.seed}: allowed are 0 to 2^32 - 1")
        self.rule.check(self.shape)

    @property
    def weight_count(self) -> int:
        """Weights between consecutive widths."""
        return sum(a * b for a, b in zip(self.shape[:-1], self.shape[1:], strict=True))

    def start_weights(self) -> list[FloatArray]:
        """One [outputs, inputs] array a layer, drawn in the papers' order ([inputs, outputs], one stream)."""
        stream = NormalStream(self.seed)
        pairs = zip(self.shape[:-1], self.shape[1:], strict=True)
        return [stream.take((fan_in, fan_out)).T * self.rule.start_std(fan_in) for fan_in, fan_out in pairs]


def parse_shape(text: str) -> tuple[int, ...]:
    """'64-16-10' to (64, 16, 10).

    >>> parse_shape("64-16-10")
    (64, 16, 10)
    """
    try:
        shape = tuple(int(width) for width in text.split("-"))
    except ValueError:
        shape = ()
    if len(shape) < 2 or math.prod(width > 0 for width in shape) == 0:
        raise NetworkError(f"shape {text!r}: wanted widths joined by '-', as in 64-16-10")
    return shape
