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
from ..operations import Kind, Role, Tensor
from .base import Rule, check_range
from .competition import MATCH, Competition, Matching

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
        Competition(self.rate, self.conscience).check(self.name)
        check_range(self, "share", 0, 1)
        check_range(self, "step", 0, 0.05)
        layer, *more = network.layers
        if more or not layer.competes or layer.index(network.grids[0]) is not None:
            raise NetworkError(
                f"rule {self.name}: shape {network}; needs inputs and one field of them all whose neurons compete, "
                "as in 140-1x32k140"
            )

    def start_std(self, fan_in: int, layer: int) -> float:
        """Of prototypes, in units of their inputs' range."""
        return START_STD

    def emit(self, build: Builder, network: Network, x: Tensor, exponents: Mapping[str, int]) -> None:
        """Match, score, compare; then learn prototypes and threshold."""
        competition = Competition(self.rate, self.conscience)
        made = Matching.declare(build, 1, network.layers[0], network.grids[0], x, network.start_weights()[0])
        everyone = build.indices("everyone", np.arange(made.match.size), made.match.size, 1)
        nearest = build.scratch("nearest", (), MATCH, Kind.OTHER, 1)
        square = build.scratch("square", (), MATCH, Kind.NORM, 1)
        score = build.scratch("score", (), MATCH, Kind.OTHER, 1)
        decision = build.tensor("decision", (1,), MATCH, Role.OUTPUT, Kind.DECISION, 1)
        threshold = build.state("threshold", 0.0, MATCH, Kind.MEAN, 1)
        choice = build.tensor("choice", (), Format(FACTOR_BITS, 0), Role.OUTPUT, Kind.CHOICE, 1)
        one = build.constant("one", 1.0, Format(2, 0), Kind.OTHER)
        for section in ("infer", "learn"):
            made.forward(build, section, x)
            build.pool(section, nearest, made.match, everyone)
            build.contract(section, square, x, x, "i,i->", halvings=made.halvings + 1)
            build.scale(section, score, nearest, gain=-1, c=square)
            build.scale(section, decision, score)
            build.select(section, choice, threshold, "lt", score, one, build.zero)
        label = build.label

        def allowed(value: Tensor) -> Tensor:
            """0 where the sample is known not to be normal."""
            out = build.scratch(f"{value.name}.allowed", (), value.format, value.kind, 1)
            return build.select("learn", out, build.zero, "lt", label, build.zero, value)

        made.move(build, competition.winners(build, made, x, allowed), x)
        fine = Format(16, MATCH.exponent - _THRESHOLD_SHIFT)
        up = build.constant("up", self.step * (1.0 - self.share), fine, Kind.OTHER)
        down = build.constant("down", -self.step * self.share, fine, Kind.OTHER)
        side = build.scratch("side", (), fine, Kind.OTHER, 1)
        build.select("learn", side, threshold, "lt", score, allowed(up), allowed(down))
        build.follow("learn", threshold, side, _THRESHOLD_SHIFT)
        build.finish("learn")
