"""Novelty: learn what is normal, without labels, and flag the rest.

One field over all inputs; its neurons compete (`competition`) and become prototypes of what was seen.  The score of a
sample is half its squared distance to the nearest one,

    score = |x|^2 / 2 - max_j (w_j . x - |w_j|^2 / 2)     scaled by 2^-h

and the threshold is learnt on the device: the running quantile of the scores of what was learnt, by
threshold += step * (share - 1) where a score lies below it, + step * share where above; at rest, `share` lies above.
A sample labelled 1 (known not to be normal) is not learnt from.

Outputs: `decision` [1], the score; `choice`, 1 where it is above the threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..builder import FACTOR_BITS, Builder
from ..errors import NetworkError
from ..fixed import Format
from ..layers import Fields
from ..operations import Kind, Role, Tensor
from .base import Rule
from .competition import MATCH, Competition

if TYPE_CHECKING:
    from ..network import Network

START_STD = 0.05
_THRESHOLD_SHIFT = 8


@dataclass(frozen=True)
class Novelty(Rule):
    """`rate`: the winner's; `share`: of normal samples that lie above the threshold; `step`: how fast it is learnt."""

    name: ClassVar[str] = "novelty"
    centred_inputs: ClassVar[bool] = True
    rate: float = 0.1
    forward_steps: int = 2
    conscience: float = 0.0
    share: float = 0.05
    step: float = 0.02

    def check(self, network: Network) -> None:
        """Raise NetworkError for absurd parameters, or layers that the rule cannot teach."""
        super().check(network)
        for value, what, most in (
            (self.rate, "rate", 0.5),
            (self.share, "share", 1.0),
            (self.step, "step", 0.1),
        ):
            if not 0 < value < most:
                raise NetworkError(f"rule {self.name}: {what} {value}; allowed is more than 0, less than {most}")
        if (
            len(network.layers) != 1
            or not network.layers[0].competes
            or network.layers[0].index(network.grids[0]) is not None
        ):
            raise NetworkError(
                f"rule {self.name}: shape {network}; needs inputs and one field of them all whose neurons compete, "
                "as in 140-1x32k140"
            )

    def start_std(self, fan_in: int, layer: int) -> float:
        """Of prototypes, in units of their inputs' range."""
        return START_STD

    def learnt_matrices(self, network: Network) -> tuple[str, ...]:
        """None whose range must be found."""
        return ()

    def emit(self, build: Builder, network: Network, x: Tensor, exponents: Mapping[str, int]) -> None:
        """Match, score, compare; then learn prototypes and threshold."""
        competition = Competition(self.rate, self.conscience)
        layer, grid, start = network.layers[0], network.grids[0], network.start_weights()[0]
        assert isinstance(layer, Fields)
        made = competition.declare(build, 1, layer, grid, start, x)
        best = build.scratch("best1", made.match.shape[1:], MATCH, Kind.OTHER, 1)
        windows = np.arange(made.match.size)[None, :]
        rivals = build.constant(
            "rivals1", windows, Format(max(windows.size - 1, 3).bit_length(), 0, signed=False), Kind.OTHER, 1
        )
        size = build.scratch("size", (1,), MATCH, Kind.NORM, 1)
        ones = build.constant("one.row", [1.0], Format(2, 0), Kind.OTHER)
        square = build.scratch("square", (), MATCH, Kind.NORM, 1)
        score = build.tensor("decision", (1,), MATCH, Role.OUTPUT, Kind.DECISION, 1)
        threshold = build.state("threshold", [0.0], MATCH, Kind.MEAN, 1)
        choice = build.tensor("choice", (), Format(FACTOR_BITS, 0), Role.OUTPUT, Kind.CHOICE, 1)
        sides = build.scratch("sides", (1,), Format(2, 0), Kind.OTHER, 1)
        zero = build.constant("zero", 0.0, Format(2, 0), Kind.OTHER)
        one = build.constant("one", 1.0, Format(2, 0), Kind.OTHER)
        for section in ("infer", "learn"):
            made.forward(build, section, x)
            build.pool(section, best, made.match, rivals)
            build.contract(section, square, x, x, "i,i->", halvings=made.halvings + 1)
            build.scale(section, size, ones, square)
            build.scale(section, score, best, gain=-1, c=size)
            build.select(section, sides, threshold, "lt", score, one, zero)
            build.contract(section, choice, sides, ones, "a,a->")
        label = build.tensor("label", (), Format(16, 0), Role.INPUT, Kind.LABEL)
        factor = competition.winners(build, 1, made, layer, x)
        normal = build.scratch("s1.normal", factor.shape, factor.format, Kind.FACTOR, 1)
        build.select("learn", normal, zero, "lt", label, zero, factor)
        made.move(build, normal, x)
        fine = Format(16, MATCH.exponent - _THRESHOLD_SHIFT)
        up = build.constant("up", self.step * (1.0 - self.share), fine, Kind.OTHER)
        down = build.constant("down", -self.step * self.share, fine, Kind.OTHER)
        side = build.scratch("side", (1,), fine, Kind.OTHER, 1)
        build.select("learn", side, threshold, "lt", score, up, down)
        moved = build.scratch("side.normal", (1,), fine, Kind.OTHER, 1)
        build.select("learn", moved, zero, "lt", label, zero, side)
        build.follow("learn", threshold, moved, _THRESHOLD_SHIFT)
        build.finish("learn")
